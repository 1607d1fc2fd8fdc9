package jsonpath

import (
	"testing"

	"github.com/mayfly-run/mayfly/internal/cputime"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

const store = `{"store":{"book":[
 {"category":"reference","author":"Nigel","title":"Sayings","price":8.95},
 {"category":"fiction","author":"Evelyn","title":"Sword","price":12.99},
 {"category":"fiction","author":"Herman","title":"Moby","isbn":"0-553","price":8.99}],
 "bicycle":{"color":"red","price":19.95}},"expensive":10,"a b":{"c.d":[1,[2,3],{"x":4}]},"hy-phen":1,"n":null,"s":"text","ünï":5}`

func TestEval(t *testing.T) {
	root := jsonvalue.MustParse(store)
	for _, c := range []struct{ path, want string }{
		{`$.expensive`, `10`},
		{`$['store']['bicycle'].color`, `"red"`},
		{`$["expensive"]`, `10`},
		{`$.store.book[0].title`, `"Sayings"`},
		{`$.store.book[-1].title`, `"Moby"`},
		{`$.store.book[*].author`, `["Nigel","Evelyn","Herman"]`},
		{`$.store.book[0,2].title`, `["Sayings","Moby"]`},
		{`$.store.book[:2].price`, `[8.95,12.99]`},
		{`$.store.book[1:].price`, `[12.99,8.99]`},
		{`$.store.book[-2:].price`, `[12.99,8.99]`},
		{`$.store.book[0:-1].price`, `[8.95,12.99]`},
		{`$..price`, `[8.95,12.99,8.99,19.95]`},
		{`$.store..price`, `[8.95,12.99,8.99,19.95]`},
		{`$..book[0].title`, `["Sayings"]`},
		{`$.store.book[?(@.isbn)].title`, `["Moby"]`},
		{`$.store.book[?(!@.isbn)].title`, `["Sayings","Sword"]`},
		{`$.store.book[?(@.price < $.expensive)].title`, `["Sayings","Moby"]`},
		{`$.store.book[?(@.price < 10 && @.category == 'fiction')].title`, `["Moby"]`},
		{`$.store.book[?(@.category == "reference" || @.price > 12)].price`, `[8.95,12.99]`},
		{`$.store.book[?((@.price > 12 || @.price < 8.96) && @.author != 'Nigel')].price`, `[12.99]`},
		{`$.store.book[?(@.author in ['Nigel','Herman'])].price`, `[8.95,8.99]`},
		{`$.store.book[?(@.title =~ /s.*/i)].title`, `["Sayings","Sword"]`},
		{`$.store.book[?(@.nothing == 1)]`, `[]`},
		{`$.store.bicycle[?(@.color == 'red')].price`, `[19.95]`},
		{`$.store.book.length()`, `3`},
		{`$..price.max()`, `19.95`},
		{`$.store.bicycle['color','price']`, `{"color":"red","price":19.95}`},
		{`$['a b']['c.d'][1][0]`, `2`},
		{`$['a b'].c\.d[2].x`, `4`},
		{`$['a b']..x`, `[4]`},
		{`$.hy-phen`, `1`},
		{`$.n`, `null`},
		{`$.store.book.[0].title`, `"Sayings"`},
		{`$.no[*]`, `[]`},
		{`$.no.items[1:5].x`, `[]`},
		{`$.ünï`, `5`},
		{`$.store.bicycle.*`, `["red",19.95]`},
		{`$`, root.String()},
	} {
		p, err := Parse(c.path)
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		if got, err := p.Eval(root); err != nil || got.String() != c.want {
			t.Errorf("%s gave %s, %v; want %s", c.path, got, err, c.want)
		}
	}
}

// AWS: the sentences after "Invalid path '…' : ", recorded in scenarios.json (test_invalid_jsonpath) or from Jayway's
// JsonPath, which AWS uses.
func TestErrors(t *testing.T) {
	root := jsonvalue.MustParse(store)
	for _, c := range []struct{ path, want string }{
		{`$.NoSuchInputPath`, `No results for path: $['NoSuchInputPath']`},
		{`$.no.such`, `Missing property in path $['no']`},
		{`$.store.book[7]`, `No results for path: $['store']['book'][7]`},
		{`$.store.book[7].title`, `No results for path: $['store']['book'][7]['title']`},
		{`$.s[0]`, `Filter: [0] can only be applied to arrays. Current context is: "text"`},
		{`$.s.x`, `Expected to find an object with property ['x'] in path $['s'] but found 'com.fasterxml.jackson.databind.node.TextNode'. This is not a json object according to the JsonProvider: 'com.jayway.jsonpath.spi.json.JacksonJsonNodeJsonProvider'.`},
	} {
		if got, err := MustParse(c.path).Eval(root); err == nil || err.Error() != c.want {
			t.Errorf("%s gave %s, %v; want %s", c.path, got, err, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, s := range []string{``, `a`, `.a`, `$.`, `$..`, `$a.`, `$[`, `$[]`, `$['a`, `$['a'`, `$[a]`, `$.a b`, `$ .a`, `$.a[?(@.x ==)]`, `$.a[?(@.x]`, `$.a[?@.x]`, `$.a.nofunc()`, `$.a[1,]`, `$.a[0:1`, `$.a.length().b`, `$$$`, `$.a,`, `$.a[?(@.x =~ /(/)]`, `$'a'`, `$.a['b',]`, `$3`, `$.a.[`} {
		if p, err := Parse(s); err == nil {
			t.Errorf("%q was accepted as %s", s, p.compiled())
		}
	}
	for _, s := range []string{`$.a[*]`, `$..a`, `$.a[-1]`, `$.a[0:1]`, `$.a['b','c']`, `$$.a`, `$v.a`, `$.a[?(@.b)]`, `$.a.length()`} {
		if _, err := ParseReference(s); err == nil {
			t.Errorf("%q was accepted as a reference path", s)
		}
	}
	steps, err := ParseReference(`$.a['b c'][0]`)
	if err != nil || len(steps) != 3 || steps[1].Name != "b c" || !steps[2].IsIndex {
		t.Errorf("%v, %v", steps, err)
	}
}

func TestRoots(t *testing.T) {
	for s, want := range map[string]struct {
		root     Root
		variable string
		definite bool
	}{
		`$.a`: {RootInput, "", true}, `$$.Execution.Id`: {RootContext, "", true}, `$x.y[0]`: {RootVariable, "x", true}, `$`: {RootInput, "", true},
		`$x[*]`: {RootVariable, "x", false}, `$$`: {RootContext, "", true}, `$größe`: {RootVariable, "größe", true}, `$..a`: {RootInput, "", false},
	} {
		p, err := Parse(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if root, variable := p.Root(); root != want.root || variable != want.variable || p.Definite() != want.definite || p.String() != s {
			t.Errorf("%s: %v %q %v", s, root, variable, p.Definite())
		}
	}
}

func TestBudget(t *testing.T) {
	var list []jsonvalue.Value
	for range 400 {
		list = append(list, jsonvalue.MustParse(`[1,2,3,4,5,6,7,8]`))
	}
	if _, err := MustParse(`$[?($..[?(@ in [9])])]`).Eval(jsonvalue.Array(list...)); err != errBudget {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`$.a.b[0]`, `$..a[?(@.x > 1 && !(@.y))]`, `$['a','b'][1:2]`, `$$.x`, `$v.x.length()`, `$.a[?(@.s =~ /x/i)]`} {
		f.Add(s)
	}
	root := jsonvalue.MustParse(store)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil {
			return
		}
		if p.String() != s {
			t.Fatalf("%q prints as %q", s, p)
		}
		v, err := p.Eval(root)
		if err == nil && v.IsZero() {
			t.Fatalf("%q gave nothing", s)
		}
		if err == nil && !p.Definite() && v.Kind() != jsonvalue.KindArray {
			t.Fatalf("%q is indefinite and gave %s", s, v)
		}
	})
}

func BenchmarkEval(b *testing.B) {
	root := jsonvalue.MustParse(store)
	for _, path := range []string{"$.store.book[1].title", "$.store.book[*].author", "$.store.book[?(@.price < 10)].title", "$..price", "$.store.book[-1:]"} {
		b.Run(path, func(b *testing.B) {
			p := MustParse(path)
			b.ReportAllocs()
			defer cputime.Report(b, "op", 1)()
			for b.Loop() {
				if _, err := p.Eval(root); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
