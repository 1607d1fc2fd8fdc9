package jsonata

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"modernc.org/quickjs"

	"github.com/mayfly-run/mayfly/asl/jsonata"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// expression is one of testdata/expressions.json, with its $states as JSON text.
type expression struct{ name, expr, states string }

func expressions(tb testing.TB) (out []expression) {
	b, err := os.ReadFile("testdata/expressions.json")
	if err != nil {
		tb.Fatal(err)
	}
	var in []struct {
		Name, Expr string
		Input      json.RawMessage
	}
	if err := json.Unmarshal(b, &in); err != nil {
		tb.Fatal(err)
	}
	inputs := map[string]string{`"orders"`: orders, `"rows"`: rows()}
	for _, e := range in {
		input := string(e.Input)
		if text, ok := inputs[input]; ok {
			input = text
		}
		out = append(out, expression{e.Name, e.Expr, `{"input":` + input + `}`})
	}
	return out
}

const orders = `{"customer":"Ada","orders":[{"id":1,"price":10.5,"quantity":2,"tags":["a","b"]},{"id":2,"price":3,"quantity":7,"tags":["b"]},` +
	`{"id":3,"price":99.99,"quantity":1,"tags":["a"]}]}`

func rows() string {
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, `,{"n":%d,"name":"row %d","tags":["x","y"],"value":%d.5}`, i, i, i)
	}
	return `{"rows":[` + b.String()[1:] + `]}`
}

// official is the npm package in QuickJS, with all expressions compiled.
func official(tb testing.TB, all []expression) *quickjs.VM {
	file := os.Getenv("JSONATA_JS")
	if file == "" {
		tb.Fatal("JSONATA_JS names no jsonata.js: run make bench-compare")
	}
	source, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	vm, err := quickjs.NewVM()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { vm.Close() })
	text, _ := json.Marshal(texts(all))
	for _, script := range []string{"globalThis.window = globalThis; 0", string(source) + "; 0", `
		globalThis.compiled = ` + string(text) + `.map(function (e) { return jsonata(e) });
		globalThis.out = null;
		globalThis.start = function (i, states) {
			out = null;
			compiled[i].evaluate(null, {states: JSON.parse(states)}).then(
				function (v) { out = v === undefined ? "" : JSON.stringify(v) }, function (e) { out = "error " + e.code + " " + e.message });
		};
		globalThis.result = function () { return out }; 0`} {
		if _, err := vm.Eval(script, quickjs.EvalGlobal); err != nil {
			tb.Fatal(err)
		}
	}
	return vm
}

func texts(all []expression) (out []string) {
	for _, e := range all {
		out = append(out, e.expr)
	}
	return out
}

func evalOfficial(tb testing.TB, vm *quickjs.VM, i int, states string) string {
	if _, err := vm.Call("start", i, states); err != nil {
		tb.Fatal(err)
	}
	if _, err := vm.ExecutePendingJobs(); err != nil {
		tb.Fatal(err)
	}
	out, err := vm.Call("result")
	if err != nil {
		tb.Fatal(err)
	}
	text, ok := out.(string)
	if !ok || strings.HasPrefix(text, "error ") {
		tb.Fatalf("the official implementation says %v", out)
	}
	return text
}

// evalOurs takes text and gives text, as the other does.
func evalOurs(tb testing.TB, p *jsonata.Program, states string) string {
	v, err := jsonvalue.Parse([]byte(states))
	if err != nil {
		tb.Fatal(err)
	}
	out, err := p.Eval(jsonvalue.Null, map[string]jsonvalue.Value{"states": v}, jsonata.Env{})
	if err != nil {
		tb.Fatal(err)
	}
	return out.String()
}

// TestSame: what is compared does the same.
func TestSame(t *testing.T) {
	all := expressions(t)
	vm := official(t, all)
	for i, e := range all {
		p, err := jsonata.Compile(e.expr)
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		ours, theirs := evalOurs(t, p, e.states), evalOfficial(t, vm, i, e.states)
		if json.Unmarshal([]byte(ours), &a) != nil || json.Unmarshal([]byte(theirs), &b) != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%s: %s here, %s there", e.name, ours, theirs)
		}
	}
}

// BenchmarkEval evaluates compiled expressions, from the JSON text of $states to the JSON text of the result.
func BenchmarkEval(b *testing.B) {
	all := expressions(b)
	ratios, counted := 0.0, 0
	for i, e := range all {
		var ours, theirs float64
		b.Run(e.name+"/mayfly", func(b *testing.B) {
			p, err := jsonata.Compile(e.expr)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			defer perOp(b, &ours)()
			for b.Loop() {
				evalOurs(b, p, e.states)
			}
		})
		b.Run(e.name+"/official", func(b *testing.B) {
			vm := official(b, all)
			b.ReportAllocs()
			defer perOp(b, &theirs)()
			for b.Loop() {
				evalOfficial(b, vm, i, e.states)
			}
		})
		if ours > 0 && theirs > 0 {
			ratios, counted = ratios+math.Log(theirs/ours), counted+1
		}
	}
	if counted > 0 {
		fmt.Printf("# the official implementation takes %.0f times Mayfly's CPU time (geometric mean of %d)\n", math.Exp(ratios/float64(counted)), counted)
	}
}

// perOp reports the CPU time of an operation, which other work on the machine changes less than its duration.
func perOp(b *testing.B, out *float64) func() {
	before := cpu(b)
	return func() {
		*out = float64(cpu(b)-before) / float64(b.N)
		b.ReportMetric(*out, "cpu-ns/op")
	}
}

func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkCompile reads an expression.
func BenchmarkCompile(b *testing.B) {
	const expr = "$sum($states.input.orders[quantity > 1].(price * quantity)) > 10 ? {'total': $sum($states.input.orders.price)} : null"
	b.Run("mayfly", func(b *testing.B) {
		for b.Loop() {
			if _, err := jsonata.Compile(expr); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("official", func(b *testing.B) {
		vm := official(b, expressions(b))
		if _, err := vm.Eval("globalThis.compile = function (e) { jsonata(e); return 0 }; 0", quickjs.EvalGlobal); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := vm.Call("compile", expr); err != nil {
				b.Fatal(err)
			}
		}
	})
}
