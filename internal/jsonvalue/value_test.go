package jsonvalue

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{` { "b" : 1.0 , "a" : [ 1e3 , 12345678901234567890 , -0 ] } `, `{"b":1.0,"a":[1e3,12345678901234567890,-0]}`},
		{`"\u0041\/\u00e9\ud83d\ude00\n\u0001\"\\"`, `"A/é😀\n\u0001\"\\"`},
		{`{"a":1,"b":{"x":1,"x":{"y":2}},"a":[{"q":1,"q":2}]}`, `{"a":[{"q":2}],"b":{"x":{"y":2}}}`},
		{`[]`, `[]`}, {`{}`, `{}`}, {` null`, `null`}, {`[[],{},[{}]]`, `[[],{},[{}]]`},
	} {
		v, err := Parse([]byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if v.String() != c.want {
			t.Errorf("%s is %s, want %s", c.in, v, c.want)
		}
		if !reflect.DeepEqual(v.d.tape, indexCompact(v.d.raw)) {
			t.Errorf("%s: indexes differ:\n%v\n%v", c.in, v.d.tape, indexCompact(v.d.raw))
		}
	}
}

func TestRefused(t *testing.T) {
	deep := bytes.Repeat([]byte{'['}, MaxDepth+1)
	deep = append(deep, bytes.Repeat([]byte{']'}, MaxDepth+1)...)
	for _, in := range []string{``, ` `, `{`, `[1,]`, `{"a":1,}`, `{a:1}`, `01`, `1.`, `.5`, `+1`, `1e`, `-`, `"a`, "\"\x01\"", "\"\xff\"", `"\x"`, `"\u12g4"`, `tru`, `1 2`, `[1 2]`, `{"a" 1}`, `NaN`, string(deep)} {
		if v, err := Parse([]byte(in)); err == nil {
			t.Errorf("%.40q parsed as %s", in, v)
		}
	}
	if _, err := ParseLimit([]byte(`[1,2,3]`), 6); err == nil {
		t.Error("limit not kept")
	}
}

func TestAccess(t *testing.T) {
	v := MustParse(`{"a":{"k\"ey":[1,"two",{"three":3}],"n":null},"b":[10,20,30]}`)
	if got, ok := v.Lookup(Key("a"), Key(`k"ey`), At(2), Key("three")); !ok || got.String() != "3" {
		t.Errorf("lookup gave %s, %v", got, ok)
	}
	if got := v.Member("b").Index(2); got.String() != "30" {
		t.Errorf("index gave %s", got)
	}
	if !v.Member("zz").IsZero() || !v.Member("b").Index(3).IsZero() || !v.Index(0).IsZero() || v.Member("a").Member("n").Kind() != KindNull {
		t.Error("absent values")
	}
	for text, want := range map[string]int64{"1": 1, "1.0": 1, "1e2": 100, "-5": -5, "9223372036854775807": 9223372036854775807} {
		if got, ok := MustParse(text).Int(); !ok || got != want {
			t.Errorf("Int of %s is %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"1.5", "9223372036854775808", "1e400", `"1"`, "null"} {
		if got, ok := MustParse(text).Int(); ok {
			t.Errorf("Int of %s is %d", text, got)
		}
	}
	var offsets []int
	p, err := ParseWith([]byte("{ \"a\" :\n [1, {\"b\": 2, \"b\": 3}]}"), Options{Positions: true})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := p.Lookup(Key("a"), At(1), Key("b"))
	offsets = append(offsets, p.Offset(), p.Member("a").Offset(), p.Member("a").Index(0).Offset(), b.Offset())
	if want := []int{0, 9, 10, 27}; !reflect.DeepEqual(offsets, want) {
		t.Errorf("offsets %v, want %v", offsets, want)
	}
}

func TestSetPath(t *testing.T) {
	in := MustParse(`{"a":{"b":1},"l":[{"x":1},2]}`)
	for _, c := range []struct {
		path []Step
		want string
	}{
		{[]Step{Key("a"), Key("b")}, `{"a":{"b":"new"},"l":[{"x":1},2]}`},
		{[]Step{Key("a"), Key("c"), Key("d")}, `{"a":{"b":1,"c":{"d":"new"}},"l":[{"x":1},2]}`},
		{[]Step{Key("z")}, `{"a":{"b":1},"l":[{"x":1},2],"z":"new"}`},
		{[]Step{Key("l"), At(0), Key("x")}, `{"a":{"b":1},"l":[{"x":"new"},2]}`},
		{[]Step{Key("l"), At(1)}, `{"a":{"b":1},"l":[{"x":1},"new"]}`},
		{nil, `"new"`},
		{[]Step{Key("l"), At(2)}, ``},
		{[]Step{Key("a"), Key("b"), Key("c")}, ``},
		{[]Step{Key("a"), At(0)}, ``},
	} {
		got, err := in.SetPath(c.path, Str("new"))
		if (err != nil) != (c.want == "") || got.String() != c.want {
			t.Errorf("%v: %s, %v, want %s", c.path, got, err, c.want)
		}
	}
	part, err := in.Member("a").SetPath([]Step{Key("q")}, Null)
	if err != nil || part.String() != `{"b":1,"q":null}` {
		t.Errorf("part: %s, %v", part, err)
	}
	if in.String() != `{"a":{"b":1},"l":[{"x":1},2]}` {
		t.Errorf("the original changed: %s", in)
	}
}

func TestConstructors(t *testing.T) {
	v := Object(M("a", Array(Int(1), Float(1.5), Str("x\"y"), Bool(true), Null, Value{})), M("gone", Value{}), M("b", Int(1)), M("a", Int(2)))
	if v.String() != `{"a":2,"b":1}` {
		t.Errorf("object is %s", v)
	}
	f, err := From(map[string]any{"z": []any{json.Number("1.0"), "<&>"}, "a": nil})
	if err != nil || f.String() != `{"a":null,"z":[1.0,"<&>"]}` {
		t.Errorf("From gave %s, %v", f, err)
	}
	if !Equal(MustParse(`{"a":[1.0,1e2],"b":"x"}`), MustParse(`{"b":"x","a":[1,100]}`)) || Equal(MustParse(`[1]`), MustParse(`[1,2]`)) || Equal(Null, Value{}) {
		t.Error("Equal")
	}
	var holder struct {
		V Value `json:"v,omitzero"`
		W Value `json:"w"`
	}
	holder.W = Int(3)
	b, err := json.Marshal(holder)
	if err != nil || string(b) != `{"w":3}` {
		t.Errorf("marshalled %s, %v", b, err)
	}
	if err := json.Unmarshal([]byte(`{"v":{"x":[1]},"w":null}`), &holder); err != nil || holder.V.String() != `{"x":[1]}` || holder.W.Kind() != KindNull {
		t.Errorf("unmarshalled %s, %s, %v", holder.V, holder.W, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,null,true,"x\u00e9"],"b":{}}`, `{"a":1,"a":2}`, `"\ud800"`, `[[[[1]]]]`, `1e999`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Parse(b)
		if !json.Valid(b) {
			if err == nil {
				t.Fatalf("%q is no JSON but parsed as %s", b, v)
			}
			return
		}
		if err != nil {
			return // stricter on UTF-8 and depth
		}
		if !json.Valid(v.Raw()) {
			t.Fatalf("%q became %q", b, v.Raw())
		}
		if !reflect.DeepEqual(v.d.tape, indexCompact(v.d.raw)) && len(v.d.raw) > 0 {
			t.Fatalf("%q: indexes differ", b)
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		var want any
		if err := dec.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if got := v.Any(); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %#v, want %#v", b, got, want)
		}
		again, err := Parse(v.Raw())
		if err != nil || again.String() != v.String() || !Equal(again, v) {
			t.Fatalf("%q: %v: not stable: %s", b, err, again)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var buf bytes.Buffer
	buf.WriteString(`{"items":[`)
	for i := range 20 {
		if i > 0 {
			buf.WriteByte(',')
		}
		buf.WriteString(`{"id":12345,"name":"sensor number","tags":["a","b"],"value":17.25,"on":true}`)
	}
	buf.WriteString(`]}`)
	b.SetBytes(int64(buf.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(buf.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSetPath(b *testing.B) {
	v := MustParse(`{"a":{"b":[1,2,3,4,5,6,7,8,9,10]},"c":"text text text text"}`)
	b.ReportAllocs()
	for b.Loop() {
		w, err := v.SetPath([]Step{Key("a"), Key("x")}, Int(1))
		if err != nil || w.Len() != 2 {
			b.Fatal(w, err)
		}
	}
}
