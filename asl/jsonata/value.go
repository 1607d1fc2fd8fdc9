package jsonata

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// value is what expressions yield: nil (undefined), null, bool, float64, string, *array, *object or *function; in the
// streams of paths that bind variables also *tuple.
type value any

type null struct{}

// array is an array, or a sequence: the result of a path, which is its element when it has only one.
type array struct {
	source jsonvalue.Value // the array as it came in, until its elements are wanted
	items  []value

	sequence      bool
	keepSingleton bool // a sequence that stays an array though it has one element
	constructed   bool // by [...] in a path: not flattened into its result
	outer         bool // wraps the input that is an array
	tuples        bool // items are *tuple
}

func newArray(items ...value) *array    { return &array{items: items} }
func newSequence(items ...value) *array { return &array{items: items, sequence: true} }

func (a *array) elements() []value {
	if !a.source.IsZero() {
		a.items = make([]value, 0, a.source.Len())
		for v := range a.source.Elements() {
			a.items = append(a.items, fromJSON(v))
		}
		a.source = jsonvalue.Value{}
	}
	return a.items
}

func (a *array) len() int {
	if !a.source.IsZero() {
		return a.source.Len()
	}
	return len(a.items)
}

func (a *array) push(v value) { a.items = append(a.items, v) }

// object is a JSON object; it is only changed by the transform operator, in its own copy.
type object struct {
	source jsonvalue.Value // as it came in; then the rest is empty
	keys   []string
	values map[string]value
}

func newObject() *object { return &object{values: map[string]value{}} }

func (o *object) get(key string) value {
	if o.source.IsZero() {
		return o.values[key]
	}
	if v, ok := o.source.Get(key); ok {
		return fromJSON(v)
	}
	return nil
}

func (o *object) len() int {
	if o.source.IsZero() {
		return len(o.keys)
	}
	return o.source.Len()
}

// members yields the members in order.
func (o *object) members(yield func(string, value) bool) {
	if !o.source.IsZero() {
		for k, v := range o.source.Members() {
			if !yield(k, fromJSON(v)) {
				return
			}
		}
		return
	}
	for _, k := range o.keys {
		if !yield(k, o.values[k]) {
			return
		}
	}
}

func (o *object) names() []string {
	if o.source.IsZero() {
		return o.keys
	}
	names := make([]string, 0, o.source.Len())
	for k := range o.source.Members() {
		names = append(names, k)
	}
	return names
}

func (o *object) set(key string, v value) {
	o.own()
	if _, ok := o.values[key]; !ok {
		o.keys = append(o.keys, key)
	}
	o.values[key] = v
}

func (o *object) remove(key string) {
	o.own()
	if _, ok := o.values[key]; ok {
		delete(o.values, key)
		o.keys = slices.DeleteFunc(slices.Clone(o.keys), func(k string) bool { return k == key })
	}
}

// own takes the members out of the source, so that they can change.
func (o *object) own() {
	if o.source.IsZero() {
		return
	}
	source := o.source
	o.source, o.values = jsonvalue.Value{}, make(map[string]value, source.Len())
	for k, v := range source.Members() {
		o.keys = append(o.keys, k)
		o.values[k] = fromJSON(v)
	}
}

// tuple is an item of a path that binds variables: the context and what is bound with it.
type tuple struct {
	context value
	names   []string
	values  []value
}

func (t *tuple) bind(name string, v value) {
	if i := slices.Index(t.names, name); i >= 0 {
		t.values[i] = v
		return
	}
	t.names, t.values = append(t.names, name), append(t.values, v)
}

func (t *tuple) clone() *tuple {
	return &tuple{t.context, slices.Clone(t.names), slices.Clone(t.values)}
}

// frame is a scope of variables.
type frame struct {
	outer  *frame
	names  []string
	values []value
}

func (f *frame) bind(name string, v value) {
	if i := slices.Index(f.names, name); i >= 0 {
		f.values[i] = v
		return
	}
	f.names, f.values = append(f.names, name), append(f.values, v)
}

func (f *frame) lookup(name string) (value, bool) {
	for ; f != nil; f = f.outer {
		if i := slices.Index(f.names, name); i >= 0 {
			return f.values[i], true
		}
	}
	return nil, false
}

// with is the scope in which the variables of t are bound.
func (f *frame) with(t *tuple) *frame { return &frame{outer: f, names: t.names, values: t.values} }

func fromJSON(v jsonvalue.Value) value {
	switch v.Kind() {
	case jsonvalue.KindNull:
		return null{}
	case jsonvalue.KindBool:
		return v.Bool()
	case jsonvalue.KindNumber:
		return v.Float()
	case jsonvalue.KindString:
		return v.Str()
	case jsonvalue.KindArray:
		return &array{source: v}
	case jsonvalue.KindObject:
		return &object{source: v}
	}
	return nil
}

// toJSON is v for the outside. ok is false when a function or a number beyond JSON is in it.
func (e *evaluator) toJSON(v value, depth int) (out jsonvalue.Value, ok bool) {
	e.step(1)
	if depth > jsonvalue.MaxDepth {
		throw(&Error{Code: "D1011"})
	}
	switch v := v.(type) {
	case nil:
		return out, true
	case null:
		return jsonvalue.Null, true
	case bool:
		return jsonvalue.Bool(v), true
	case string:
		e.grow(len(v))
		return jsonvalue.Str(v), true
	case float64:
		if e.env.StepFunctions && v-v != 0 {
			return jsonvalue.Str(nonFinite(v)), true
		}
		return jsonvalue.Number(numberText(v))
	case *array:
		if !v.source.IsZero() {
			e.grow(v.source.Size())
			return v.source, true
		}
		items := make([]jsonvalue.Value, len(v.items))
		for i, x := range v.items {
			if items[i], ok = e.toJSON(x, depth+1); !ok {
				return out, false
			}
			e.step(items[i].Size() / 64) // once more for each level that it is copied into
		}
		return jsonvalue.Array(items...), true
	case *object:
		if !v.source.IsZero() {
			e.grow(v.source.Size())
			return v.source, true
		}
		members := make([]jsonvalue.Member, 0, len(v.keys))
		for _, k := range v.keys {
			x, ok := e.toJSON(v.values[k], depth+1)
			if !ok {
				return out, false
			}
			e.grow(len(k))
			e.step(x.Size() / 64)
			members = append(members, jsonvalue.M(k, x))
		}
		return jsonvalue.Object(members...), true
	}
	return out, false
}

// nonFinite is the name that JavaScript gives to a number that JSON has not. AWS: a result holds it as a string.
func nonFinite(f float64) string {
	switch {
	case f > 0:
		return "Infinity"
	case f < 0:
		return "-Infinity"
	}
	return "NaN"
}

// equal is deep equality; functions are equal to themselves only.
func (e *evaluator) equal(a, b value) bool {
	e.step(1)
	switch a := a.(type) {
	case *array:
		b, ok := b.(*array)
		if a == b {
			return true
		}
		if !ok || a.len() != b.len() {
			return false
		}
		y := b.elements()
		for i, x := range a.elements() {
			if !e.equal(x, y[i]) {
				return false
			}
		}
		return true
	case *object:
		b, ok := b.(*object)
		if a == b {
			return true
		}
		if !ok || a.len() != b.len() {
			return false
		}
		for k, x := range a.members {
			if y := b.get(k); y == nil || !e.equal(x, y) {
				return false
			}
		}
		return true
	}
	if text, ok := a.(string); ok {
		e.step(len(text) / 64)
	}
	return a == b
}

// truth is what $boolean says; undefined counts as false.
func (e *evaluator) truth(v value) bool {
	switch v := v.(type) {
	case bool:
		return v
	case string:
		return v != ""
	case float64:
		return v != 0 && numeric(v)
	case *object:
		return v.len() > 0
	case *array:
		for i, x := range e.elements(v) {
			if i%8 == 0 {
				e.step(1)
			}
			if e.truth(x) {
				return true
			}
		}
	}
	return false
}

// numeric reports whether v is a number; one that is not finite is an error.
func numeric(v value) bool {
	f, ok := v.(float64)
	if ok && f-f != 0 {
		if f != f {
			return false
		}
		fail("D1001", f)
	}
	return ok
}

// asArray is v as an array: undefined has no elements, other values are one.
func asArray(v value) *array {
	switch v := v.(type) {
	case *array:
		return v
	case nil:
		return newSequence()
	}
	return newSequence(v)
}

// compareText orders strings by their UTF-16 units, as JavaScript does.
func compareText(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		if x, y := a[i], b[i]; x != y {
			// Only characters beyond the BMP (first byte F0 and more) sort before U+E000 to U+FFFF (EE, EF).
			if (x >= 0xF0) != (y >= 0xF0) && x >= 0xEE && y >= 0xEE {
				return int(y) - int(x)
			}
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

func utf16Len(s string) int {
	n := 0
	for _, r := range strings.ToValidUTF8(s, "?") {
		n++
		if r >= 0x10000 {
			n++
		}
	}
	return n
}

// characters is the number of code points in s.
func characters(s string) int { return utf8.RuneCountInString(s) }
