package jsonvalue

import (
	"encoding/json"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"testing"
)

// FuzzEdit: an edit gives what the same edit of Go's values gives, and changes nothing else.
func FuzzEdit(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,2,{"c":3}]}}`), "a", 1, "b", []byte(`{"x":1.0}`))
	f.Add([]byte(`[[1],[2,[3]]]`), "", 1, "c", []byte(`null`))
	f.Add([]byte(`{"é\"\n":[{"k":[]}]}`), "é\"\n", 0, "k", []byte(`"\u00e9"`))
	f.Fuzz(func(t *testing.T, doc []byte, first string, index int, last string, with []byte) {
		in, err := Parse(doc)
		if err != nil {
			return
		}
		to, err := Parse(with)
		if err != nil {
			return
		}
		before := in.String()
		for _, path := range [][]Step{{}, {Key(first)}, {Key(first), Key(last)}, {Key(first), At(index)}, {At(index)}, {At(index), Key(last)}, {Key(first), At(index), Key(last)}} {
			got, err := in.SetPath(path, to)
			if in.String() != before {
				t.Fatalf("%v changed the original %s to %s", path, before, in)
			}
			want, ok := set(in.Any(), path, to.Any())
			if ok != (err == nil) {
				t.Fatalf("%v in %s: %v, %s", path, before, err, got)
			}
			if err != nil {
				continue
			}
			if again, err := Parse(got.Raw()); err != nil || again.String() != got.String() {
				t.Fatalf("%v in %s gives %q: %v", path, before, got, err)
			}
			if !reflect.DeepEqual(got.Any(), want) {
				t.Fatalf("%v in %s gives %s, want %v", path, before, got, want)
			}
		}
	})
}

// set is the edit of Go's values: members are made on the way, elements are not.
func set(in any, path []Step, to any) (any, bool) {
	if len(path) == 0 {
		return to, true
	}
	s := path[0]
	if s.IsIndex {
		list, ok := in.([]any)
		if !ok || s.Index < 0 || s.Index >= len(list) {
			return nil, false
		}
		e, ok := set(list[s.Index], path[1:], to)
		list[s.Index] = e
		return list, ok
	}
	object, ok := in.(map[string]any)
	if in == missing {
		object, ok = map[string]any{}, true
	}
	if !ok {
		return nil, false
	}
	m, there := object[utf8Text(s.Name)]
	if !there {
		m = missing
	}
	e, ok := set(m, path[1:], to)
	object[utf8Text(s.Name)] = e
	return object, ok
}

var missing any = new(int)

// utf8Text is a name as a JSON document can hold it.
func utf8Text(s string) string { return string([]rune(s)) }

// FuzzNumbers: numbers are ordered as exact fractions are, and read as integers when they are some.
func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"0", "-0", "1", "1.0", "1e2", "0.1", "9223372036854775807", "9223372036854775808", "-9223372036854775808.0", "12345678901234567890.5", "1e400", "-1E-400", "1e19"} {
		f.Add(s, "100")
		f.Add(s, "1.00000000000000000001")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, okX := Number(a)
		y, okY := Number(b)
		if okX != (json.Valid([]byte(a)) && a != "" && a[0] != '"' && a[0] != '{' && a[0] != '[' && a[0] != 't' && a[0] != 'f' && a[0] != 'n' && !space(a)) {
			t.Fatalf("%q is a number: %v", a, okX)
		}
		if !okX || !okY {
			return
		}
		c := CompareNumbers(x, y)
		if CompareNumbers(y, x) != -c {
			t.Fatalf("%s and %s: %d, and %d the other way", a, b, c, CompareNumbers(y, x))
		}
		if (c == 0) != Equal(x, y) {
			t.Fatalf("%s and %s compare as %d, and are equal: %v", a, b, c, Equal(x, y))
		}
		if !cheapExponent(a) || !cheapExponent(b) {
			return
		}
		p, _ := new(big.Rat).SetString(a)
		q, _ := new(big.Rat).SetString(b)
		if want := p.Cmp(q); c != want {
			t.Fatalf("%s and %s compare as %d, want %d", a, b, c, want)
		}
		i, ok := x.Int()
		if want := p.IsInt() && p.Num().IsInt64() && len(a) <= 64; ok != want || ok && i != p.Num().Int64() {
			t.Fatalf("%s as an integer is %d, %v, want %s, %v", a, i, ok, p, want)
		}
		if fl, err := strconv.ParseFloat(a, 64); err == nil && fl != x.Float() && !math.IsNaN(fl) {
			t.Fatalf("%s as a double is %v, want %v", a, x.Float(), fl)
		}
	})
}

func space(s string) bool {
	for _, r := range s {
		if r == ' ' || r == '\t' || r == '\n' || r == '\r' {
			return true
		}
	}
	return false
}
