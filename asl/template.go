package asl

import (
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/mayfly-run/mayfly/asl/intrinsic"
	"github.com/mayfly-run/mayfly/asl/jsonpath"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Expression is a path or a call of an intrinsic function.
type Expression struct {
	path *jsonpath.Path
	call *intrinsic.Call
}

// ParseExpression reads a path or a call.
func ParseExpression(text string) (*Expression, error) {
	if strings.HasPrefix(text, "$") {
		p, err := jsonpath.Parse(text)
		return &Expression{path: p}, err
	}
	c, err := intrinsic.Parse(text)
	return &Expression{call: c}, err
}

// String is the expression as it was written.
func (e *Expression) String() string {
	if e.path != nil {
		return e.path.String()
	}
	return e.call.String()
}

// Paths yields all paths in the expression.
func (e *Expression) Paths() iter.Seq[*jsonpath.Path] {
	if e.call != nil {
		return e.call.Paths()
	}
	return func(yield func(*jsonpath.Path) bool) { yield(e.path) }
}

// Template is a payload template: JSON in which names that end in ".$" hold paths or intrinsic functions, or, in JSONata,
// strings between {% and %} are expressions.
type Template struct {
	source jsonvalue.Value
	root   templateNode // nil: nothing to evaluate
}

// Source is the template as it was written, without blanks.
func (t *Template) Source() jsonvalue.Value { return t.source }

// Paths yields all paths in the template.
func (t *Template) Paths() iter.Seq[*jsonpath.Path] {
	return func(yield func(*jsonpath.Path) bool) {
		if t.root != nil {
			t.root.paths(yield)
		}
	}
}

type templateNode interface {
	eval(v *Visit, input jsonvalue.Value) (jsonvalue.Value, *Failure)
	paths(yield func(*jsonpath.Path) bool) bool
}

type (
	constantNode   struct{ value jsonvalue.Value }
	expressionNode struct {
		field string // with ".$", for AWS's sentence
		*Expression
	}
	arrayNode  []templateNode
	objectNode []memberNode
	memberNode struct {
		name string
		node templateNode
	}
)

// eval fills the template in. input is what $ is in JSONPath, and what v.has says in JSONata.
func (t *Template) eval(v *Visit, input jsonvalue.Value) (jsonvalue.Value, *Failure) {
	if t.root == nil {
		return t.source, nil
	}
	v.made = 0
	return t.root.eval(v, input)
}

// maxMade is how much the expressions of one template may give together, unless a payload may be larger, or of any size: what
// exceeds the limit of payloads by far is not made to its end.
const maxMade = 16 << 20

// gave accounts for what an expression has given.
func (v *Visit) gave(value jsonvalue.Value) *Failure {
	v.made += value.Size()
	if most := v.Limits.Payload; most > 0 && v.made > max(maxMade, 4*most) {
		return v.tooMuch()
	}
	return nil
}

func (n constantNode) eval(*Visit, jsonvalue.Value) (jsonvalue.Value, *Failure) { return n.value, nil }

func (n expressionNode) eval(v *Visit, input jsonvalue.Value) (jsonvalue.Value, *Failure) {
	value, f := v.expression(n.Expression, n.field, input)
	if f == nil {
		f = v.gave(value)
	}
	return value, f
}

func (n arrayNode) eval(v *Visit, input jsonvalue.Value) (jsonvalue.Value, *Failure) {
	out := make([]jsonvalue.Value, len(n))
	for i, m := range n {
		var f *Failure
		if out[i], f = m.eval(v, input); f != nil {
			return out[i], f
		}
	}
	return jsonvalue.Array(out...), nil
}

func (n objectNode) eval(v *Visit, input jsonvalue.Value) (jsonvalue.Value, *Failure) {
	out := make([]jsonvalue.Member, len(n))
	for i, m := range n {
		value, f := m.node.eval(v, input)
		if f != nil {
			return value, f
		}
		out[i] = jsonvalue.M(m.name, value)
	}
	return jsonvalue.Object(out...), nil
}

func (n constantNode) paths(func(*jsonpath.Path) bool) bool { return true }
func (q *query) paths(func(*jsonpath.Path) bool) bool       { return true }
func (n expressionNode) paths(yield func(*jsonpath.Path) bool) bool {
	for p := range n.Paths() {
		if !yield(p) {
			return false
		}
	}
	return true
}
func (n arrayNode) paths(yield func(*jsonpath.Path) bool) bool {
	for _, m := range n {
		if !m.paths(yield) {
			return false
		}
	}
	return true
}
func (n objectNode) paths(yield func(*jsonpath.Path) bool) bool {
	for _, m := range n {
		if !m.node.paths(yield) {
			return false
		}
	}
	return true
}

// compileTemplate reads a template. bad hears of each field whose value is neither path nor call.
func compileTemplate(source jsonvalue.Value, bad func(field string, at jsonvalue.Value, err error)) *Template {
	node, dynamic := compileNode(source, bad)
	t := &Template{source: source}
	if dynamic {
		t.root = node
	}
	return t
}

func compileNode(v jsonvalue.Value, bad func(string, jsonvalue.Value, error)) (node templateNode, dynamic bool) {
	switch v.Kind() {
	case jsonvalue.KindArray:
		out := make(arrayNode, 0, v.Len())
		for m := range v.Elements() {
			n, d := compileNode(m, bad)
			out, dynamic = append(out, n), dynamic || d
		}
		node = out
	case jsonvalue.KindObject:
		out := make(objectNode, 0, v.Len())
		seen := map[string]bool{}
		for key, m := range v.Keyed() {
			field := key.Str()
			name, isExpression := strings.CutSuffix(field, ".$")
			if seen[name] {
				bad(field, key, errRepeated)
			}
			seen[name] = true
			if !isExpression {
				n, d := compileNode(m, bad)
				out, dynamic = append(out, memberNode{name, n}), dynamic || d
				continue
			}
			dynamic = true
			if m.Kind() != jsonvalue.KindString {
				bad(field, m, errors.New("it is no string"))
				continue
			}
			e, err := ParseExpression(m.Str())
			if err != nil {
				bad(field, m, err)
				continue
			}
			out = append(out, memberNode{name, expressionNode{field, e}})
		}
		node = out
	}
	if !dynamic {
		return constantNode{v}, false
	}
	return node, true
}

var errRepeated = errors.New("the field is given twice")

// root is the value that a path begins at.
func (v *Visit) root(p *jsonpath.Path, input jsonvalue.Value) (jsonvalue.Value, error) {
	switch root, name := p.Root(); root {
	case jsonpath.RootContext:
		return v.Context, nil
	case jsonpath.RootVariable:
		if v.Vars != nil {
			if value, ok := v.Vars(name); ok {
				return value, nil
			}
		}
		return jsonvalue.Value{}, fmt.Errorf("The variable '%s' is not defined", name)
	}
	return input, nil
}

func (v *Visit) path(p *jsonpath.Path, input jsonvalue.Value) (jsonvalue.Value, error) {
	root, err := v.root(p, input)
	if err != nil {
		return root, err
	}
	return p.Eval(root)
}

// expression evaluates a path or call that stands in a field.
func (v *Visit) expression(e *Expression, field string, input jsonvalue.Value) (jsonvalue.Value, *Failure) {
	if e.path != nil {
		value, err := v.path(e.path, input)
		if none := (*jsonpath.NoResult)(nil); errors.As(err, &none) && none.Beyond { // AWS: in a template it is null
			return jsonvalue.Null, nil
		}
		if err != nil {
			return value, v.runtime("The JSONPath '%s' specified for the field '%s' could not be found in the input '%s'", e.path, field, input)
		}
		return value, nil
	}
	env := intrinsic.Env{
		Path:    func(p *jsonpath.Path) (jsonvalue.Value, error) { return v.path(p, input) },
		Random:  v.Random,
		MaxText: v.Limits.IntrinsicString, MaxArray: v.Limits.Payload,
	}
	if v.Usage != nil {
		env.Usage = &v.Usage.Intrinsic
	}
	value, err := e.call.Eval(env)
	if err == nil {
		return value, nil
	}
	var why *intrinsic.Error
	if errors.As(err, &why) && why.Path != "" {
		return value, v.runtime("The function '%s' had the following error: The JsonPath argument for the field '%s' could not be found in the input '%s'", e.call, why.Path, input)
	}
	return value, v.failure(ErrIntrinsicFailure, "The function '%s' had the following error: %s", e.call, err)
}

func (v *Visit) runtime(format string, args ...any) *Failure {
	return v.failure(ErrRuntime, format, args...)
}

// failure is one that evaluation itself causes, with the words that AWS puts before it.
func (v *Visit) failure(name, format string, args ...any) *Failure {
	place := ""
	if v.Entered > 0 {
		place = fmt.Sprintf("An error occurred while executing the state '%s' (entered at the event id #%d). ", v.State.Base().Name, v.Entered)
	}
	return &Failure{Error: name, Cause: place + fmt.Sprintf(format, args...)}
}
