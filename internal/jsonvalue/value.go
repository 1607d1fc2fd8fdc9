package jsonvalue

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"math/big"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// Kind is what sort of JSON value it is.
type Kind uint8

const (
	KindAbsent Kind = iota // no value at all: the zero Value
	KindNull
	KindBool
	KindNumber
	KindString
	KindArray
	KindObject
)

func (k Kind) String() string {
	return [...]string{"absent", "null", "boolean", "number", "string", "array", "object"}[k]
}

// tok is one value or key in the index of a document. Members of an object are a key token and the value's tokens.
type tok struct {
	start, end uint32 // the text, quotes and brackets included
	next       uint32 // the token after this value and all within it
	n          uint32 // elements or members
	kind       Kind
	escaped    bool // a string with a backslash in its text
}

type document struct {
	raw     []byte
	once    sync.Once
	tape    []tok
	offsets []uint32 // where each token starts in the source text; nil unless Options.Positions
}

// tokens builds the index of a document that was made from valid parts.
func (d *document) tokens() []tok {
	d.once.Do(func() {
		if d.tape == nil {
			d.tape = indexCompact(d.raw)
		}
	})
	return d.tape
}

// Value is an immutable JSON value. The zero Value is absent.
type Value struct {
	d *document
	i uint32
}

// ofText makes a value of text that is known to be compact and canonical.
func ofText(raw []byte) Value { return Value{d: &document{raw: raw}} }

// Null is the JSON value null.
var Null = ofText([]byte("null"))

var (
	trueValue   = ofText([]byte("true"))
	falseValue  = ofText([]byte("false"))
	emptyObject = ofText([]byte("{}"))
	emptyArray  = ofText([]byte("[]"))
)

// Bool is true or false as JSON.
func Bool(b bool) Value {
	if b {
		return trueValue
	}
	return falseValue
}

// Int is i as a JSON number.
func Int(i int64) Value { return ofText(strconv.AppendInt(nil, i, 10)) }

// Float is f as a JSON number, in the shortest form that reads back the same. JSON has no NaN and no infinities:
// they become null, as in JavaScript.
func Float(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Null
	}
	b, _ := json.Marshal(f) // formats as JavaScript does
	return ofText(b)
}

// Number is the number written as text; ok is false when it is no JSON number.
func Number(text string) (v Value, ok bool) {
	if scanNumber([]byte(text), 0) != len(text) || text == "" {
		return Value{}, false
	}
	return ofText([]byte(text)), true
}

// Str is s as a JSON string. Bytes that are no UTF-8 become U+FFFD.
func Str(s string) Value { return ofText(appendString(make([]byte, 0, len(s)+2), s)) }

// Array is a JSON array. Absent elements become null.
func Array(elements ...Value) Value { return ArrayOf(slices.Values(elements)) }

// ArrayOf is a JSON array of what the sequence yields.
func ArrayOf(elements iter.Seq[Value]) Value {
	raw := []byte{'['}
	for e := range elements {
		if len(raw) > 1 {
			raw = append(raw, ',')
		}
		raw = append(raw, e.textOrNull()...)
	}
	return ofText(append(raw, ']'))
}

// Member is one name and value of an object.
type Member struct {
	Name  string
	Value Value
}

// Object is a JSON object with the members in this order. Absent values leave their member out; of members with the
// same name the last counts, at the place of the first.
func Object(members ...Member) Value {
	raw := []byte{'{'}
	var dup bool
	for i, m := range members {
		if m.Value.IsZero() {
			continue
		}
		if len(members) <= 16 {
			for _, o := range members[:i] {
				dup = dup || o.Name == m.Name && !o.Value.IsZero()
			}
		}
		if len(raw) > 1 {
			raw = append(raw, ',')
		}
		raw = appendString(raw, m.Name)
		raw = append(raw, ':')
		raw = append(raw, m.Value.textOrNull()...)
	}
	raw = append(raw, '}')
	if !dup && len(members) > 16 {
		seen := make(map[string]bool, len(members))
		for _, m := range members {
			dup = dup || seen[m.Name]
			seen[m.Name] = true
		}
	}
	if dup {
		v, err := ParseWith(raw, Options{MaxDepth: math.MaxInt32})
		if err != nil {
			panic(fmt.Sprintf("jsonvalue: own text %q: %v", raw, err))
		}
		return v
	}
	return ofText(raw)
}

// M is a Member, short.
func M(name string, v Value) Member { return Member{Name: name, Value: v} }

func (v Value) textOrNull() []byte {
	if v.d == nil {
		return Null.d.raw
	}
	return v.Raw()
}

func (v Value) tok() *tok {
	return &v.d.tokens()[v.i]
}

// IsZero reports whether v is absent. With omitzero, an absent field of a struct is left out by encoding/json.
func (v Value) IsZero() bool { return v.d == nil }

// Kind is what sort of value v is.
func (v Value) Kind() Kind {
	if v.d == nil {
		return KindAbsent
	}
	if v.i == 0 { // spares the index
		switch v.d.raw[0] {
		case '{':
			return KindObject
		case '[':
			return KindArray
		case '"':
			return KindString
		case 't', 'f':
			return KindBool
		case 'n':
			return KindNull
		default:
			return KindNumber
		}
	}
	return v.tok().kind
}

// Raw is the compact text of v, nil when absent. It must not be changed.
func (v Value) Raw() []byte {
	if v.d == nil {
		return nil
	}
	if v.i == 0 {
		return v.d.raw[:len(v.d.raw):len(v.d.raw)]
	}
	t := v.tok()
	return v.d.raw[t.start:t.end:t.end]
}

// String is the compact JSON text of v, empty when absent.
func (v Value) String() string { return string(v.Raw()) }

// Size is the length of the text in bytes.
func (v Value) Size() int { return len(v.Raw()) }

// Offset is where v starts in the text that was parsed with Options.Positions; -1 otherwise.
func (v Value) Offset() int {
	if v.d == nil || v.d.offsets == nil {
		return -1
	}
	return int(v.d.offsets[v.i])
}

// Len is the number of elements or members, 0 for other kinds.
func (v Value) Len() int {
	if k := v.Kind(); k != KindArray && k != KindObject {
		return 0
	}
	return int(v.tok().n)
}

// Index is element i of an array, absent when there is none.
func (v Value) Index(i int) Value {
	if v.Kind() != KindArray || i < 0 {
		return Value{}
	}
	tape := v.d.tokens()
	t := tape[v.i]
	if i >= int(t.n) {
		return Value{}
	}
	if t.next == v.i+1+t.n { // only scalars
		return Value{v.d, v.i + 1 + uint32(i)}
	}
	at := v.i + 1
	for ; i > 0; i-- {
		at = tape[at].next
	}
	return Value{v.d, at}
}

// Get is the member of an object with this name.
func (v Value) Get(name string) (Value, bool) {
	if v.Kind() != KindObject {
		return Value{}, false
	}
	tape := v.d.tokens()
	plain := isPlain(name)
	var key []byte
	if !plain {
		key = appendString(nil, name)
	}
	for at, n := v.i+1, tape[v.i].n; n > 0; n-- {
		t := &tape[at]
		if plain {
			if int(t.end-t.start) == len(name)+2 && string(v.d.raw[t.start+1:t.end-1]) == name {
				return Value{v.d, at + 1}, true
			}
		} else if bytes.Equal(v.d.raw[t.start:t.end], key) {
			return Value{v.d, at + 1}, true
		}
		at = tape[at+1].next
	}
	return Value{}, false
}

// Member is the member of an object with this name, absent when there is none.
func (v Value) Member(name string) Value {
	m, _ := v.Get(name)
	return m
}

// Members yields the members of an object in order; nothing for other kinds.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for k, m := range v.Keyed() {
			if !yield(k.Str(), m) {
				return
			}
		}
	}
}

// Keyed yields members with their names as values, which know their Offset.
func (v Value) Keyed() iter.Seq2[Value, Value] {
	return func(yield func(Value, Value) bool) {
		if v.Kind() != KindObject {
			return
		}
		tape := v.d.tokens()
		for at, n := v.i+1, tape[v.i].n; n > 0; n-- {
			if !yield(Value{v.d, at}, Value{v.d, at + 1}) {
				return
			}
			at = tape[at+1].next
		}
	}
}

// Elements yields the elements of an array; nothing for other kinds.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind() != KindArray {
			return
		}
		tape := v.d.tokens()
		for at, n := v.i+1, tape[v.i].n; n > 0; n-- {
			if !yield(Value{v.d, at}) {
				return
			}
			at = tape[at].next
		}
	}
}

// Children yields elements or the values of members, in order.
func (v Value) Children() iter.Seq[Value] {
	if v.Kind() == KindArray {
		return v.Elements()
	}
	return func(yield func(Value) bool) {
		for _, m := range v.Keyed() {
			if !yield(m) {
				return
			}
		}
	}
}

// Str is the text of a string, "" for other kinds.
func (v Value) Str() string {
	if v.d == nil {
		return ""
	}
	raw := v.Raw()
	if raw[0] != '"' {
		return ""
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	return unescape(raw)
}

// Bool is true for the value true only.
func (v Value) Bool() bool { return v.Kind() == KindBool && v.Raw()[0] == 't' }

// NumberText is the text of a number as it was written, "" for other kinds.
func (v Value) NumberText() string {
	if v.Kind() != KindNumber {
		return ""
	}
	return string(v.Raw())
}

// Float is the number as a double, 0 for other kinds. A number too large for it is an infinity.
func (v Value) Float() float64 {
	f, _ := strconv.ParseFloat(v.NumberText(), 64)
	return f
}

// Int is the number as an integer; ok is false for other kinds, fractions, and what does not fit. 1.0 and 1e2 are
// integers.
func (v Value) Int() (i int64, ok bool) {
	text := v.NumberText()
	if text == "" {
		return 0, false
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i, true
	}
	if f := v.Float(); len(text) > 64 || !strings.ContainsAny(text, ".eE") || math.Abs(f) > 1<<63 || f != math.Trunc(f) {
		return 0, false
	}
	if r, good := new(big.Rat).SetString(text); good && r.IsInt() && r.Num().IsInt64() {
		return r.Num().Int64(), true
	}
	return 0, false
}

// Equal reports whether two values mean the same: numbers by value, objects without regard to order.
func Equal(a, b Value) bool {
	if a.d == b.d && a.i == b.i {
		return true
	}
	k := a.Kind()
	if k != b.Kind() {
		return false
	}
	ra, rb := a.Raw(), b.Raw()
	if bytes.Equal(ra, rb) {
		return true
	}
	switch k {
	case KindNumber:
		return compareNumbers(string(ra), string(rb)) == 0
	case KindArray:
		if a.Len() != b.Len() {
			return false
		}
		next, stop := iter.Pull(b.Elements())
		defer stop()
		for x := range a.Elements() {
			if y, _ := next(); !Equal(x, y) {
				return false
			}
		}
		return true
	case KindObject:
		if a.Len() != b.Len() {
			return false
		}
		if a.Len() <= 16 {
			for name, x := range a.Members() {
				if y, ok := b.Get(name); !ok || !Equal(x, y) {
					return false
				}
			}
			return true
		}
		byName := make(map[string]Value, b.Len())
		for name, y := range b.Members() {
			byName[name] = y
		}
		for name, x := range a.Members() {
			if y, ok := byName[name]; !ok || !Equal(x, y) {
				return false
			}
		}
		return true
	}
	return false
}

// CompareNumbers orders two numbers by value, exactly.
func CompareNumbers(a, b Value) int { return compareNumbers(a.NumberText(), b.NumberText()) }

func compareNumbers(a, b string) int {
	if x, err := strconv.ParseInt(a, 10, 64); err == nil {
		if y, err := strconv.ParseInt(b, 10, 64); err == nil {
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		}
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	if errX == nil && errY == nil && x != y {
		if x < y {
			return -1
		}
		return 1
	}
	if cheapExponent(a) && cheapExponent(b) { // the same double: the text decides
		rx, okX := new(big.Rat).SetString(a)
		ry, okY := new(big.Rat).SetString(b)
		if okX && okY {
			return rx.Cmp(ry)
		}
	}
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// cheapExponent keeps big.Rat from making numbers of a billion digits.
func cheapExponent(s string) bool {
	i := strings.IndexAny(s, "eE")
	if i < 0 {
		return len(s) < 1000
	}
	e, err := strconv.Atoi(s[i+1:])
	return err == nil && e > -400 && e < 400 && i < 1000
}

// From makes a Value of what encoding/json would write for x. A Value and a json.RawMessage are taken as they are.
func From(x any) (Value, error) {
	switch x := x.(type) {
	case nil:
		return Null, nil
	case Value:
		return x, nil
	case string:
		return Str(x), nil
	case bool:
		return Bool(x), nil
	case int:
		return Int(int64(x)), nil
	case int64:
		return Int(x), nil
	case json.RawMessage:
		return Parse(x)
	case map[string]any:
		names := make([]string, 0, len(x))
		for name := range x {
			names = append(names, name)
		}
		sort.Strings(names)
		members := make([]Member, 0, len(x))
		for _, name := range names {
			m, err := From(x[name])
			if err != nil {
				return Value{}, err
			}
			members = append(members, Member{name, m})
		}
		return Object(members...), nil
	case []any:
		elements := make([]Value, 0, len(x))
		for _, e := range x {
			m, err := From(e)
			if err != nil {
				return Value{}, err
			}
			elements = append(elements, m)
		}
		return Array(elements...), nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		return Value{}, err
	}
	return Parse(b.Bytes())
}

// Any is v for code that wants Go values: nil, bool, json.Number, string, []any, map[string]any. Absent is nil.
func (v Value) Any() any {
	switch v.Kind() {
	case KindBool:
		return v.Bool()
	case KindNumber:
		return json.Number(v.NumberText())
	case KindString:
		return v.Str()
	case KindArray:
		a := make([]any, 0, v.Len())
		for e := range v.Elements() {
			a = append(a, e.Any())
		}
		return a
	case KindObject:
		o := make(map[string]any, v.Len())
		for name, m := range v.Members() {
			o[name] = m.Any()
		}
		return o
	}
	return nil
}

// MarshalJSON writes the text of v; absent is null, since encoding/json cannot write nothing.
func (v Value) MarshalJSON() ([]byte, error) { return v.textOrNull(), nil }

// UnmarshalJSON reads v.
func (v *Value) UnmarshalJSON(b []byte) error {
	p, err := Parse(b)
	if err != nil {
		return err
	}
	*v = p
	return nil
}

// Step leads from a value to a member or an element of it.
type Step struct {
	Name    string
	Index   int
	IsIndex bool
}

// Key is the step to the member with this name.
func Key(name string) Step { return Step{Name: name} }

// At is the step to the element with this index.
func At(i int) Step { return Step{Index: i, IsIndex: true} }

// Lookup follows the steps.
func (v Value) Lookup(path ...Step) (Value, bool) {
	for _, s := range path {
		if s.IsIndex {
			v = v.Index(s.Index)
		} else {
			v = v.Member(s.Name)
		}
		if v.IsZero() {
			return v, false
		}
	}
	return v, !v.IsZero()
}

// SetPath is v with the value at the end of path replaced. Missing members are made, with objects on the way to them.
// It fails where a step meets a value of another kind, or an element that does not exist.
func (v Value) SetPath(path []Step, to Value) (Value, error) {
	if len(path) == 0 {
		return to, nil
	}
	if v.IsZero() {
		return Value{}, fmt.Errorf("set path of an absent value")
	}
	at := v
	for n, s := range path {
		var next Value
		switch k := at.Kind(); {
		case s.IsIndex && k == KindArray:
			if next = at.Index(s.Index); next.IsZero() {
				return Value{}, fmt.Errorf("no element %d in an array of %d", s.Index, at.Len())
			}
		case !s.IsIndex && k == KindObject:
			next = at.Member(s.Name)
		case s.IsIndex:
			return Value{}, fmt.Errorf("element %d of a value that is no array but %s", s.Index, k)
		default:
			return Value{}, fmt.Errorf("member %q of a value that is no object but %s", s.Name, k)
		}
		if next.IsZero() { // make the rest inside the object at
			for i := len(path) - 1; i > n; i-- {
				if path[i].IsIndex {
					return Value{}, fmt.Errorf("no element %d in a value that does not exist", path[i].Index)
				}
				to = Object(Member{path[i].Name, to})
			}
			member := appendString(nil, s.Name)
			if at.Len() > 0 {
				member = append([]byte{','}, member...)
			}
			member = append(append(member, ':'), to.textOrNull()...)
			end := len(v.d.raw) - 1
			if at.i != 0 {
				end = int(at.tok().end) - 1
			}
			return v.splice(end, end, member), nil
		}
		at = next
	}
	t := at.tok()
	return v.splice(int(t.start), int(t.end), to.textOrNull()), nil
}

// splice is v with the document's bytes from start to end replaced.
func (v Value) splice(start, end int, with []byte) Value {
	from, to := 0, len(v.d.raw)
	if v.i != 0 {
		t := v.tok()
		from, to = int(t.start), int(t.end)
	}
	raw := make([]byte, 0, to-from+len(with)-(end-start))
	raw = append(raw, v.d.raw[from:start]...)
	raw = append(raw, with...)
	return ofText(append(raw, v.d.raw[end:to]...))
}

func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' {
			return false
		}
	}
	return utf8.ValidString(s)
}
