package jsonata

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/cputime"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

var testEnv = Env{Now: time.Date(2024, 5, 6, 7, 8, 9, 123e6, time.UTC), StepFunctions: true}

func evaluateText(expr, input string) string {
	p, err := Compile(expr)
	if err != nil {
		return err.Error()
	}
	var in jsonvalue.Value
	if input != "" {
		in = jsonvalue.MustParse(input)
	}
	out, err := p.Eval(in, nil, testEnv)
	if err != nil {
		return err.Error()
	}
	if out.IsZero() {
		return "undefined"
	}
	return out.String()
}

// TestCases reads testdata/cases.txt: expression, tab, input, tab, result.
func TestCases(t *testing.T) {
	b, err := os.ReadFile("testdata/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSuffix(line, "\n"); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 3 {
			t.Fatalf("%q has %d fields, not 3", line, len(fields))
		}
		if got := evaluateText(fields[0], fields[1]); got != fields[2] {
			t.Errorf("%s on %s\n\tgot  %s\n\twant %s", fields[0], fields[1], got, fields[2])
		}
		ran++
	}
	if ran < 20 {
		t.Errorf("only %d cases ran", ran)
	}
}

// TestValueLimit tables how large one value may be, with AWS's bound.
func TestValueLimit(t *testing.T) {
	for expr, ok := range map[string]bool{
		"$count([1..873782])": true, "$count([1..873783])": false, "$sum([1..900000])": false,
		"$count($range(1, 360145, 1))": true, "$count($range(1, 360146, 1))": false,
		"$length($reduce([1..22], function($s, $i){$s & $s}, 'x'))": true, "$length($reduce([1..24], function($s, $i){$s & $s}, 'x'))": false,
	} {
		p, err := Compile(expr)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Eval(jsonvalue.Value{}, nil, Env{StepFunctions: true, Limits: Limits{Value: 6_990_256}})
		var e *Error
		if errors.As(err, &e) && e.Code != "D2016" || (err == nil) != ok {
			t.Errorf("%s: %v", expr, err)
		}
	}
}

func TestBudgets(t *testing.T) {
	for _, c := range []struct{ expr, code string }{
		{"($f := function($n){$f($n)}; $f(1))", "D1012"},
		{"($f := function($n){1 + $f($n)}; $f(1))", "D1011"},
		{"$pad('', 1e12)", "D2016"},
		{"$pad('x', -1e9, 'abc')", "D2016"},
		{"$reduce([1..60], function($s, $i){$s & $s}, 'double')", "D2016"},
		{"($d := function($a, $n){$n = 0 ? $a : $d($append($a, $a), $n - 1)}; $d([1], 60))", "D2016"},
		{"[1..1e7].[1..1e7]", "D2016"},
		{"$formatInteger(1e15, 'I')", "D2016"},
		{strings.Repeat("(", 60) + "a" + strings.Repeat(" ?: b)", 60), "D1011"},
		{"($s := $pad('', 1e7); $map([1..1e6], function($x){$contains($s, 'y')}))", "D1012"},
		{"($f := function($a, $n){$n = 0 ? $a = $a : $f([[$a]], $n - 1)}; $f(1, 1e7))", "D2016"},
		{strings.Repeat("(", 100000), "D1011"},
		{strings.Repeat("-", 100000) + "1", "D1011"},
		{strings.Repeat("[", 100000), "D1011"},
	} {
		p, err := Compile(c.expr)
		if err == nil {
			_, err = p.Eval(jsonvalue.Null, nil, Env{})
		}
		var e *Error
		if !errors.As(err, &e) || e.Code != c.code {
			t.Errorf("%.60s: got %v, want %s", c.expr, err, c.code)
		}
	}
}

func TestUnsupportedResult(t *testing.T) {
	for _, expr := range []string{"$sum", "function($x){$x}", "[1, $sum]", `{"a": $sum}`, "/x/"} {
		p, err := Compile(expr)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := p.Eval(jsonvalue.Null, nil, testEnv); !errors.Is(err, ErrUnsupportedResult) {
			t.Errorf("%s: got %v, %v", expr, out, err)
		}
	}
}

func TestVariables(t *testing.T) {
	for _, c := range []struct {
		expr string
		want []string
	}{
		{"$a + $b.c", []string{"a", "b"}},
		{"($x := $a; $x + $y)", []string{"a", "y"}},
		{"function($p){$p + $q}", []string{"q"}},
		{"items@$i[$i.id = $id].{'n': $i}", []string{"id"}},
		{"items#$n.{'n': $n, 'all': $$}", nil},
		{"($f := function($n){$n = 0 ? 1 : $f($n - 1)}; $f(3))", nil},
		{"$states.input ~> $sum", []string{"states"}},
		{"($x := 1) + $x", []string{"x"}},
	} {
		p, err := Compile(c.expr)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Variables(); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.expr, got, c.want)
		}
	}
}

func TestReferences(t *testing.T) {
	p, err := Compile("$states.input.a & $states.`result` & $exists($states) & $states.context[0].b")
	if err != nil {
		t.Fatal(err)
	}
	var members []string
	for _, r := range p.References("states") {
		members = append(members, r.Member)
	}
	if want := []string{"input", "result", "", "context"}; !slices.Equal(members, want) {
		t.Errorf("got %q, want %q", members, want)
	}
}

func TestTopLevel(t *testing.T) {
	for expr, want := range map[string][]string{
		"$states.input.items[value > 3]":                   nil,
		"$states.input.items^(price).{name: $sum(amount)}": nil,
		"phone":       {"phone"},
		"a.b & c & a": {"a", "c"},
		"$map($states.input.a, function($x){ b })": {"b"},
		"[x, {y: z}] ~> $count":                    {"x", "y", "z"},
		"($v := w; $v ? p : q.r)":                  {"w", "p", "q"},
		"$states.input.($$.x)":                     {"$$"},
		"$x ~> |a|{'b': c}|":                       nil,
		"function($a){ $a.b }(1)":                  nil,
	} {
		p, err := Compile(expr)
		if err != nil {
			t.Fatal(expr, err)
		}
		if got := p.TopLevel(); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", expr, got, want)
		}
	}
}

func TestStates(t *testing.T) {
	p, err := Compile("[$states, $states.input.a, $exists($states.result)]")
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Eval(jsonvalue.Value{}, nil, Env{StepFunctions: true, States: []jsonvalue.Member{
		jsonvalue.M("input", jsonvalue.MustParse(`{"a":1.50}`)), jsonvalue.M("context", jsonvalue.MustParse(`{}`)), jsonvalue.M("result", jsonvalue.Value{})}})
	if want := `[{"input":{"a":1.50},"context":{}},1.5,false]`; err != nil || out.String() != want {
		t.Errorf("got %s (%v), want %s", out, err, want)
	}
}

func TestErrorPosition(t *testing.T) {
	_, err := Compile(`"é😂" + ]`)
	var e *Error
	if !errors.As(err, &e) || e.Code != "S0211" || e.Position != 9 {
		t.Errorf("got %+v", err)
	}
}

func FuzzEval(f *testing.F) {
	b, err := os.ReadFile("testdata/cases.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Split(line, "\t"); len(fields) == 3 {
			f.Add(fields[0], fields[1])
		}
	}
	f.Add("Account.Order@$o.Product.{'x': $o, 'y': %.Price}^(>Price)[0]", `{"Account":{"Order":[{"Product":{"Price":1}}]}}`)
	f.Add("$map(a, function($v, $i){$v ~> |b|{'c': $i}, 'd'|})", `{"a":[{"b":[{"d":1}]}]}`)
	f.Add("$toMillis('Wednesday 12th March 2020', '[FNn] [D1o] [MNn] [Y]') ~> $fromMillis('[W] [w] [X] [x] [z] [Z01:01t]', '+0530')", "1")
	f.Add("$formatNumber(-12345.6789, '#,##0.00;(#0.0e0)') & $formatInteger(1999, 'Ww') & $parseInteger('MCM', 'I')", "1")
	f.Fuzz(func(t *testing.T, expr, input string) {
		p, err := Compile(expr)
		if err != nil {
			return
		}
		in, err := jsonvalue.Parse([]byte(input))
		if err != nil {
			in = jsonvalue.Value{}
		}
		env := testEnv
		env.Limits = Limits{Steps: 100_000, Depth: 500, Bytes: 4 << 20}
		out, err := p.Eval(in, nil, env)
		if err == nil && !out.IsZero() {
			if _, err := jsonvalue.Parse(out.Raw()); err != nil {
				t.Errorf("%q gives what is no JSON: %v", expr, err)
			}
		}
		p.Variables()
		p.References("states")
	})
}

func benchmark(b *testing.B, expr, input string) {
	p, err := Compile(expr)
	if err != nil {
		b.Fatal(err)
	}
	in := jsonvalue.MustParse(input)
	b.ReportAllocs()
	defer cputime.Report(b, "op", 1)()
	for b.Loop() {
		if _, err := p.Eval(in, nil, testEnv); err != nil {
			b.Fatal(err)
		}
	}
}

const orders = `{"customer":"Ada","orders":[{"id":1,"price":10.5,"quantity":2,"tags":["a","b"]},{"id":2,"price":3,"quantity":7,"tags":["b"]},` +
	`{"id":3,"price":99.99,"quantity":1,"tags":[]}]}`

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	defer cputime.Report(b, "op", 1)()
	for b.Loop() {
		if _, err := Compile("$sum(orders[quantity > 1].(price * quantity)) > 10 ? {'total': $sum(orders.price)} : null"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPath(b *testing.B) { benchmark(b, "orders.price", orders) }
func BenchmarkAggregate(b *testing.B) {
	benchmark(b, "$sum(orders[quantity > 1].(price * quantity))", orders)
}
func BenchmarkObject(b *testing.B) {
	benchmark(b, "{'name': customer & '!', 'ids': orders.id, 'last': orders^(>price)[0]}", orders)
}
func BenchmarkHigherOrder(b *testing.B) {
	benchmark(b, "$map([1..100], function($v){$v * 2}) ~> $reduce(function($a, $b){$a + $b})", orders)
}
