package jsonpath

import (
	"errors"
	"fmt"
	"math"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// budget is how many values one evaluation may visit, and the work of filters and the making of results in like units.
const budget = 1_000_000

var errBudget = errors.New("the path visits too many values")

// Work that counts as much as visiting one value.
const (
	copied   = 128 // bytes put into an array or object
	compared = 512 // bytes compared or looked through
	passed   = 64  // members or elements passed by on the way to one
	matched  = 256 // instructions of a regular expression
)

// spend accounts for n units of work.
func (e *evaluation) spend(n int) error {
	if e.spent += n; e.spent > budget || n < 0 {
		return errBudget
	}
	return nil
}

// Eval applies the path to the value of its root. A definite path gives the value or an error in AWS's words; an
// indefinite one gives an array.
func (p *Path) Eval(root jsonvalue.Value) (jsonvalue.Value, error) {
	if root.IsZero() {
		return jsonvalue.Value{}, errors.New("Unable to apply Path transformation to null or empty input.")
	}
	if len(p.tokens) == 0 {
		return root, nil
	}
	e := &evaluation{root: root}
	return e.whole(p, root)
}

type evaluation struct {
	root  jsonvalue.Value
	spent int
}

func (e *evaluation) whole(p *Path, root jsonvalue.Value) (jsonvalue.Value, error) {
	tokens := p.tokens
	call := ""
	if n := len(tokens); n > 0 && tokens[n-1].kind == function {
		call, tokens = tokens[n-1].function, tokens[:n-1]
	}
	definite := p.definite
	if call != "" {
		definite = true
		for i, t := range tokens {
			if t.kind != names && t.kind != indexes || len(t.names) > 1 && i < len(tokens)-1 || len(t.indexes) > 1 {
				definite = false
			}
		}
	}
	var found []jsonvalue.Value
	w := walker{e: e, p: p, tokens: tokens, emit: func(v jsonvalue.Value) error {
		found = append(found, v)
		if definite {
			return nil
		}
		return e.spend(v.Size() / copied)
	}}
	// AWS: an indefinite path that loses its way finds nothing and is no error: recorded in base.json
	// (test_json_path_array_wildcard_or_slice_with_no_input).
	err := w.walk(0, root, definite)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	var result jsonvalue.Value
	switch {
	case !definite:
		result = jsonvalue.Array(found...)
	case len(found) == 0:
		return jsonvalue.Value{}, &NoResult{p.compiled(), w.beyond}
	default:
		result = found[len(found)-1]
	}
	if call != "" {
		if err := e.spend(result.Size() / compared); err != nil {
			return jsonvalue.Value{}, err
		}
		return apply(call, result)
	}
	return result, nil
}

// walker applies tokens to a value and emits all that they lead to.
type walker struct {
	e      *evaluation
	p      *Path
	tokens []token
	emit   func(jsonvalue.Value) error
	beyond bool // the path ends in an index that its array does not have
}

// NoResult is why a definite path gives nothing although all but its end is there.
type NoResult struct {
	path   string
	Beyond bool // it ends in an index that its array does not have
}

func (e *NoResult) Error() string { return "No results for path: " + e.path }

// path is how AWS writes the first n tokens of a definite path.
func (w *walker) path(n int) string {
	s := w.p.rootText()
	for _, t := range w.tokens[:n] {
		s += t.String()
	}
	return s
}

// walk applies the tokens from i on; definite says that only single names and indexes came before.
func (w *walker) walk(i int, v jsonvalue.Value, definite bool) error {
	e := w.e
	if err := e.spend(1); err != nil {
		return err
	}
	if i == len(w.tokens) {
		return w.emit(v)
	}
	t := &w.tokens[i]
	leaf := i == len(w.tokens)-1
	switch t.kind {
	case names:
		if v.Kind() != jsonvalue.KindObject {
			if !definite {
				return nil
			}
			return fmt.Errorf("Expected to find an object with property %s in path %s but found '%s'. This is not a json object according to the JsonProvider: 'com.jayway.jsonpath.spi.json.JacksonJsonNodeJsonProvider'.", t, w.path(i), javaClass(v))
		}
		if len(t.names) > 1 && leaf { // one object of the members that exist
			var members []jsonvalue.Member
			for _, n := range t.names {
				m, ok := v.Get(n)
				if err := e.spend(v.Len()/passed + m.Size()/copied); err != nil {
					return err
				}
				if ok {
					members = append(members, jsonvalue.M(n, m))
				}
			}
			return w.emit(jsonvalue.Object(members...))
		}
		for _, n := range t.names {
			if err := e.spend(v.Len() / passed); err != nil {
				return err
			}
			m, ok := v.Get(n)
			if !ok {
				if !leaf && definite && len(t.names) == 1 {
					return fmt.Errorf("Missing property in path %s", w.path(i+1))
				}
				continue
			}
			if err := w.walk(i+1, m, definite && len(t.names) == 1); err != nil {
				return err
			}
		}
	case indexes, slice:
		if v.Kind() != jsonvalue.KindArray {
			if !definite {
				return nil
			}
			full := ""
			for _, t := range w.tokens[i:] {
				full += t.String()
			}
			return fmt.Errorf("Filter: %s can only be applied to arrays. Current context is: %s", full, clip(v.String()))
		}
		n := v.Len()
		if t.kind == indexes {
			for _, at := range t.indexes {
				if at < 0 {
					at += n
				}
				if at < 0 || at >= n {
					w.beyond = leaf
					continue
				}
				if err := e.spend(at / passed); err != nil {
					return err
				}
				if err := w.walk(i+1, v.Index(at), definite && len(t.indexes) == 1); err != nil {
					return err
				}
			}
			return nil
		}
		from, to := 0, n
		if t.from != nil {
			if from = *t.from; from < 0 {
				from = max(0, from+n)
			}
		}
		if t.to != nil {
			if to = *t.to; to < 0 {
				to += n
			}
		}
		at := 0
		for m := range v.Elements() {
			if at >= to {
				break
			}
			if at >= from {
				if err := w.walk(i+1, m, false); err != nil {
					return err
				}
			}
			at++
		}
	case wildcard:
		for m := range v.Children() {
			if err := w.walk(i+1, m, false); err != nil {
				return err
			}
		}
	case filter:
		switch v.Kind() {
		case jsonvalue.KindArray:
			for m := range v.Elements() {
				ok, err := t.filter.accept(e, m)
				if err != nil {
					return err
				}
				if ok {
					if err := w.walk(i+1, m, false); err != nil {
						return err
					}
				}
			}
		case jsonvalue.KindObject:
			ok, err := t.filter.accept(e, v)
			if err != nil {
				return err
			}
			if ok {
				return w.walk(i+1, v, false)
			}
		default:
			if definite {
				return fmt.Errorf("Filter: [?] can not be applied to primitives. Current context is: %s", clip(v.String()))
			}
		}
	case scan:
		return w.scan(i+1, v)
	}
	return nil
}

func (w *walker) scan(i int, v jsonvalue.Value) error {
	k := v.Kind()
	if k != jsonvalue.KindArray && k != jsonvalue.KindObject {
		return nil
	}
	if err := w.walk(i, v, false); err != nil {
		return err
	}
	for m := range v.Children() {
		if err := w.scan(i, m); err != nil {
			return err
		}
	}
	return nil
}

func javaClass(v jsonvalue.Value) string {
	name := map[jsonvalue.Kind]string{jsonvalue.KindNull: "NullNode", jsonvalue.KindBool: "BooleanNode", jsonvalue.KindString: "TextNode", jsonvalue.KindArray: "ArrayNode", jsonvalue.KindObject: "ObjectNode"}[v.Kind()]
	if v.Kind() == jsonvalue.KindNumber {
		name = "DoubleNode"
		if _, ok := v.Int(); ok {
			name = "IntNode"
		}
	}
	return "com.fasterxml.jackson.databind.node." + name
}

func clip(s string) string {
	if len(s) > 1000 {
		return s[:1000] + "…"
	}
	return s
}

// apply is one of the functions that end a path.
func apply(name string, v jsonvalue.Value) (jsonvalue.Value, error) {
	switch name {
	case "length", "size":
		switch v.Kind() {
		case jsonvalue.KindArray, jsonvalue.KindObject:
			return jsonvalue.Int(int64(v.Len())), nil
		case jsonvalue.KindString:
			return jsonvalue.Int(int64(len([]rune(v.Str())))), nil
		}
		return jsonvalue.Null, nil
	case "keys":
		var keys []jsonvalue.Value
		for k := range v.Members() {
			keys = append(keys, jsonvalue.Str(k))
		}
		return jsonvalue.Array(keys...), nil
	}
	sum, n, low, high := 0.0, 0, math.Inf(1), math.Inf(-1)
	for m := range v.Elements() {
		if m.Kind() == jsonvalue.KindNumber {
			f := m.Float()
			sum, n, low, high = sum+f, n+1, min(low, f), max(high, f)
		}
	}
	if n == 0 {
		return jsonvalue.Value{}, errors.New("Aggregation function attempted to calculate value using empty array")
	}
	return jsonvalue.Float(map[string]float64{"min": low, "max": high, "sum": sum, "avg": sum / float64(n)}[name]), nil
}
