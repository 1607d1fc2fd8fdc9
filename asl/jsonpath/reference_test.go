package jsonpath

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// TestAgainstReference compares with an evaluator that knows nothing but lists of values: each part of a path makes a list of
// each value, and what a path finds is the list at its end. A definite path fails where that list is empty.
func TestAgainstReference(t *testing.T) {
	for seed := range uint64(3000) {
		againstReference(t, nil, seed)
	}
}

func FuzzAgainstReference(f *testing.F) {
	f.Add([]byte{}, uint64(1))
	f.Fuzz(againstReference)
}

// dice chooses by the bytes of a fuzzer, and at random when there are no more.
type dice struct {
	bytes []byte
	r     *rand.Rand
}

func (d *dice) roll(low, high int) int {
	if len(d.bytes) == 0 {
		return low + d.r.IntN(high-low+1)
	}
	b := d.bytes[0]
	d.bytes = d.bytes[1:]
	return low + int(b)%(high-low+1)
}

func (d *dice) of(choices ...string) string { return choices[d.roll(0, len(choices)-1)] }

// part is a part of a path: its text, and what it makes of one value.
type part struct {
	text       string
	indefinite bool
	of         func(v jsonvalue.Value, last bool) []jsonvalue.Value
}

func againstReference(t *testing.T, bytes []byte, seed uint64) {
	d := &dice{bytes, rand.New(rand.NewPCG(seed, 5))}
	doc := jsonvalue.MustParse(document(d, 5))
	parts := make([]part, d.roll(1, 4))
	for i := range parts {
		parts[i] = anyPart(d)
	}
	text, definite := "$", true
	found := []jsonvalue.Value{doc}
	for i, p := range parts {
		last := i == len(parts)-1
		text += p.text
		definite = definite && !p.indefinite && (last || !strings.Contains(p.text, "','"))
		var next []jsonvalue.Value
		for _, v := range found {
			next = append(next, p.of(v, last)...)
		}
		found = next
	}
	path, err := Parse(text)
	if err != nil {
		t.Fatalf("%s is refused: %v", text, err)
	}
	got, err := path.Eval(doc)
	switch {
	case path.Definite() != definite:
		t.Fatalf("%s: definite is %v", text, path.Definite())
	case !definite && (err != nil || got.String() != jsonvalue.Array(found...).String()):
		t.Fatalf("%s of %s\ngave %s, %v\nwant %s", text, doc, got, err, jsonvalue.Array(found...))
	case definite && len(found) == 0 && err == nil:
		t.Fatalf("%s of %s\ngave %s, want an error", text, doc, got)
	case definite && len(found) > 0 && (err != nil || got.String() != found[0].String()):
		t.Fatalf("%s of %s\ngave %s, %v\nwant %s", text, doc, got, err, found[0])
	}
}

func anyPart(d *dice) part {
	children := func(v jsonvalue.Value) (out []jsonvalue.Value) {
		for m := range v.Children() {
			out = append(out, m)
		}
		return out
	}
	at := func(v jsonvalue.Value, i int) []jsonvalue.Value {
		if v.Kind() != jsonvalue.KindArray {
			return nil
		}
		if i < 0 {
			i += v.Len()
		}
		if list := children(v); i >= 0 && i < len(list) {
			return list[i : i+1]
		}
		return nil
	}
	member := func(v jsonvalue.Value, name string) []jsonvalue.Value {
		for k, m := range v.Members() {
			if k == name {
				return []jsonvalue.Value{m}
			}
		}
		return nil
	}
	var below func(v jsonvalue.Value) []jsonvalue.Value
	below = func(v jsonvalue.Value) []jsonvalue.Value {
		if v.Kind() != jsonvalue.KindArray && v.Kind() != jsonvalue.KindObject {
			return nil
		}
		out := []jsonvalue.Value{v}
		for _, m := range children(v) {
			out = append(out, below(m)...)
		}
		return out
	}
	switch d.roll(0, 7) {
	case 0, 1:
		n := d.of("a", "b", "c")
		return part{d.of("."+n, "['"+n+"']", `["`+n+`"]`, "[ '"+n+"' ]"), false,
			func(v jsonvalue.Value, _ bool) []jsonvalue.Value { return member(v, n) }}
	case 2:
		i := d.roll(-3, 4)
		return part{fmt.Sprintf("[%d]", i), false, func(v jsonvalue.Value, _ bool) []jsonvalue.Value { return at(v, i) }}
	case 3:
		i, j := d.roll(-3, 4), d.roll(-3, 4)
		return part{fmt.Sprintf("[%d,%d]", i, j), true, func(v jsonvalue.Value, _ bool) []jsonvalue.Value {
			return append(at(v, i)[:len(at(v, i)):len(at(v, i))], at(v, j)...)
		}}
	case 4:
		from, to := d.roll(-3, 4), d.roll(-3, 4)
		hasFrom, hasTo := d.roll(0, 1) == 1, d.roll(0, 1) == 1
		text := "["
		if hasFrom {
			text += fmt.Sprint(from)
		}
		text += ":"
		if hasTo {
			text += fmt.Sprint(to)
		}
		return part{text + "]", true, func(v jsonvalue.Value, _ bool) (out []jsonvalue.Value) {
			if v.Kind() != jsonvalue.KindArray {
				return nil
			}
			for i, m := range children(v) {
				low, high := from, to
				if low < 0 {
					low += v.Len()
				}
				if high < 0 {
					high += v.Len()
				}
				if (!hasFrom || i >= low) && (!hasTo || i < high) {
					out = append(out, m)
				}
			}
			return out
		}}
	case 5:
		return part{d.of("[*]", ".*"), true, func(v jsonvalue.Value, _ bool) []jsonvalue.Value { return children(v) }}
	case 6:
		n := d.of("a", "b", "c")
		return part{".." + n, true, func(v jsonvalue.Value, _ bool) (out []jsonvalue.Value) {
			for _, m := range below(v) {
				out = append(out, member(m, n)...)
			}
			return out
		}}
	}
	n, low := d.of("a", "b", "c"), d.roll(-3, 4)
	return part{fmt.Sprintf("[?(@.%s > %d || !(@.%s))]", n, low, n), true, func(v jsonvalue.Value, _ bool) (out []jsonvalue.Value) {
		list := children(v)
		if v.Kind() == jsonvalue.KindObject {
			list = []jsonvalue.Value{v}
		}
		for _, m := range list {
			found := member(m, n)
			if len(found) == 0 || found[0].Kind() == jsonvalue.KindNumber && found[0].Float() > float64(low) {
				out = append(out, m)
			}
		}
		return out
	}}
}

// document is the text of a small document.
func document(d *dice, depth int) string {
	kind := d.roll(0, 7)
	switch depth {
	case 5:
		kind = d.roll(4, 7)
	case 0:
		kind %= 4
	}
	switch kind {
	case 0:
		return "null"
	case 1:
		return `"text"`
	case 2, 3:
		return fmt.Sprint(d.roll(-3, 5))
	case 4, 5:
		var list []string
		for range d.roll(0, 4) {
			list = append(list, document(d, depth-1))
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	var members []string
	for _, name := range []string{"a", "b", "c"} {
		if d.roll(0, 1) == 1 {
			members = append(members, `"`+name+`":`+document(d, depth-1))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}
