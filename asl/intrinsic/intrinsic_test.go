package intrinsic

import (
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/asl/jsonpath"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

var input = jsonvalue.MustParse(`{"name":"World","n":2,"list":[1,2,3,3,"a","a",{"x":1},{"x":1.0}],"o":{"a":{"a1":1},"b":2},"p":{"a":{"a3":3},"c":4},
 "f":1e10,"t":"{\"k\":[1]}","tpl":"{}-\\{\\}","deep":{"s":"x","l":[true,null,1.50]}}`)

func env() Env {
	n := uint64(0)
	return Env{
		Path:    func(p *jsonpath.Path) (jsonvalue.Value, error) { return p.Eval(input) },
		Random:  func() uint64 { n += 0x9e3779b97f4a7c15; return n },
		MaxText: 10000,
	}
}

func TestEval(t *testing.T) {
	for _, c := range []struct{ call, want string }{
		{`States.Format('Hello, {}!', $.name)`, `"Hello, World!"`},
		{`States.Format('\'{}\' \{\} \\ {}', $.name, 1.0)`, `"'World' {} \\ 1.0"`},
		{`States.Format($.tpl, $.n)`, `"2-{}"`},
		{`States.Format('{}', $.deep)`, `"{s=x, l=[true, null, 1.5]}"`},
		{`States.Format('{} {}', $.f, null)`, `"1.0E10 null"`},
		{`States.StringToJson($.t)`, `{"k":[1]}`},
		{`States.StringToJson('')`, `null`},
		{`States.JsonToString($.o)`, `"{\"a\":{\"a1\":1},\"b\":2}"`},
		{`States.Array()`, `[]`},
		{`States.Array(1, 'a' ,$.n,true,null, States.Array())`, `[1,"a",2,true,null,[]]`},
		{`States.ArrayPartition(States.ArrayRange(1,5,1), 2)`, `[[1,2],[3,4],[5]]`},
		{`States.ArrayContains($.list, 3)`, `true`},
		{`States.ArrayContains($.list, 4)`, `false`},
		{`States.ArrayRange(9, 1, -4)`, `[9,5,1]`},
		{`States.ArrayGetItem($.list, 4)`, `"a"`},
		{`States.ArrayLength($.list)`, `8`},
		{`States.ArrayUnique($.list)`, `[1,2,3,"a",{"x":1}]`},
		{`States.Base64Encode('Data to encode')`, `"RGF0YSB0byBlbmNvZGU="`},
		{`States.Base64Decode('RGF0YSB0byBlbmNvZGU=')`, `"Data to encode"`},
		{`States.Hash('input data', 'SHA-1')`, `"aaff4a450a104cd177d28d18d74485e8cae074b7"`},
		{`States.JsonMerge($.o, $.p, false)`, `{"a":{"a3":3},"b":2,"c":4}`},
		{`States.MathAdd(-1.5, 1)`, `0`},
		{`States.MathRandom(5, 6)`, `5`},
		{`States.StringSplit('1,2;;3', ',;')`, `["1","2","3"]`},
		{`States.UUID()`, `"9e3779b9-7f4a-4c15-bc6e-f372fe94f82a"`},
	} {
		call, err := Parse(c.call)
		if err != nil {
			t.Errorf("%s: %v", c.call, err)
			continue
		}
		if got, err := call.Eval(env()); err != nil || got.String() != c.want {
			t.Errorf("%s gave %s, %v; want %s", c.call, got, err, c.want)
		}
	}
	if len(functions) != 18 {
		t.Errorf("%d functions", len(functions))
	}
}

func TestFailures(t *testing.T) {
	for _, s := range []string{`States.Format('{}')`, `States.Format('a', 1)`, `States.StringToJson('{')`, `States.StringToJson(1)`, `States.ArrayPartition($.list, 0)`,
		`States.ArrayPartition($.n, 1)`, `States.ArrayRange(1,2,0)`, `States.ArrayRange(1,2000,1)`, `States.ArrayGetItem($.list, 99)`, `States.ArrayGetItem($.list, -1)`, `States.ArrayLength($.o)`,
		`States.Base64Decode('*')`, `States.Hash('a','X')`, `States.JsonMerge($.o,$.p,true)`, `States.JsonMerge($.o,1,false)`, `States.MathAdd(2147483647, 1)`, `States.MathRandom(2,1)`,
		`States.Base64Encode('` + strings.Repeat("a", 10001) + `')`, `States.Array($.missing)`} {
		call, err := Parse(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		v, err := call.Eval(env())
		if e, ok := err.(*Error); !ok || (e.Path != "") != strings.Contains(s, "missing") {
			t.Errorf("%.80s gave %s, %v", s, v, err)
		}
	}
}

func TestRefused(t *testing.T) {
	deep := `States.Array(`
	for _, s := range []string{``, `States.Nope()`, `States.Format`, `States.Format(`, `States.Format()`, ` States.Array()`, `States.MathAdd(1,'1')`, `States.Array() x`, `States.Array(1`, `States.Array(1,)`, `States.Array(,)`, `States.UUID(1)`,
		`States.Array('a)`, `States.Format('He said, \"x\"')`, `States.Array($.)`, `States.Array(abc)`, `States.MathAdd(1)`, `States.Array("a")`, `States.Array(1 2)`, `States.Format('a\`,
		strings.Repeat(deep, 11) + strings.Repeat(")", 11)} {
		if c, err := Parse(s); err == nil {
			t.Errorf("%q was accepted as %s", s, c)
		}
	}
	if _, err := Parse(strings.Repeat(deep, 10) + strings.Repeat(")", 10)); err != nil {
		t.Error(err)
	}
}

func TestPaths(t *testing.T) {
	c, err := Parse(`States.Format('{} {}', $$.State.Name, States.ArrayGetItem($v.x, $.i))`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for p := range c.Paths() {
		got = append(got, p.String())
	}
	if strings.Join(got, " ") != "$$.State.Name $v.x $.i" || !c.ReturnsString() {
		t.Error(got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`States.Format('a{}\'', $.name)`, `States.Array(1,null,States.UUID())`, `States.ArrayRange(1,9,2)`, `States.JsonMerge($.o,$.p,false)`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Parse(s)
		if err != nil {
			return
		}
		if c.String() != strings.TrimRight(s, " \t\r\n") {
			t.Fatalf("%q prints as %q", s, c)
		}
		v, err := c.Eval(env())
		if _, ok := err.(*Error); err != nil && !ok || err == nil && v.IsZero() {
			t.Fatalf("%q gave %s, %v", s, v, err)
		}
	})
}

func BenchmarkFormat(b *testing.B) {
	c, _ := Parse(`States.Format('s3://{}/{}', $.name, $.n)`)
	e := env()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Eval(e); err != nil {
			b.Fatal(err)
		}
	}
}
