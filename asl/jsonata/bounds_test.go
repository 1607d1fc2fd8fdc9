package jsonata

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// TestWorkIsBounded tables expressions that few characters make very expensive: each is refused by its budget long before
// it has done what it says, which would take minutes to days, or more memory than there is.
func TestWorkIsBounded(t *testing.T) {
	var groups, bindings strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&groups, "(%c)", 'b'+i%20)
		fmt.Fprintf(&bindings, "$name%d := 1;", i)
	}
	input := jsonvalue.MustParse(`{"list":[` + strings.Repeat("0,", 100_000) + `0]}`)
	const text = `$s := $pad('', 1000000, 'a');`
	for _, c := range []struct{ expr, code string }{
		// what is looked at again and again
		{`($z := $map([1..200000], function(){0}); $filter([1..200000], function($x){$z}))`, "D1012"},
		{`($z := $map([1..20000], function(){0}); $y := $map([1..1000], function(){[[$z]]}); $map([1..1000], function(){$boolean($y)}))`, "D1012"},
		{`$map([1..800000], function(){$states.input.list[0]})`, "D2016"},
		{`($z := $map([1..200000], function(){0}); $f := function($a)<a<n>:n>{1}; $map([1..200000], function(){$f($z)}))`, "D1012"},
		{`(` + bindings.String() + `$map([1..800000], function(){$nothing}))`, "D1012"},
		{"($o := {'a': 1}; $map([1..800000], function(){$o.`" + strings.Repeat("n", 100_000) + "`}))", "D1012"},
		// long texts that are equal
		{`(` + text + `$t := 'a' & $s; $u := 'a' & $s; $map([1..100000], function(){$u}) ~> $map(function($x){$x = $t}))`, "D1012"},
		{`(` + text + `$t := 'a' & $s; $u := 'a' & $s; $t & 'b' in $map([1..100000], function(){$u & 'c'}))`, "D2016"},
		{`(` + text + `$t := 'a' & $s; $u := 'a' & $s; $sort($map([1..100000], function($x){$x % 2 = 0 ? $t : $u})))`, "D1012"},
		{`(` + text + `$t := 'a' & $s; $u := 'a' & $s; $map([1..100000], function($x){$x % 2 = 0 ? $t : $u})^($))`, "D1012"},
		{`(` + text + `$distinct($map([1..200000], function($x){$s})))`, "D1012"},
		// values that hold others many times
		{`($d := $reduce([1..60], function($a, $i){[[$a],[$a]]}, 1); -$d)`, "D1002"},
		{`($d := $reduce([1..60], function($a, $i){[[$a],[$a]]}, 1); $string($d))`, "D1012"},
		{`($d := $reduce([1..60], function($a, $i){[[$a],[$a]]}, 1))`, "D1012"},
		{`($d := $reduce([1..60], function($a, $i){[[$a],[$a]]}, 0); $not($d))`, "D1012"},
		{`($d := $reduce([1..60], function($a, $i){[[$a],[$a]]}, 1); $e := $reduce([1..60], function($a, $i){[[$a],[$a]]}, 1); $d = $e)`, "D1012"},
		{`(` + text + `$string($map([1..100000], function(){$s})))`, "D2016"},
		{`(` + text + `$map([1..100000], function(){$s}))`, "D2016"},
		{`(` + text + `$reduce([1..900], function($a, $i){[[$a]]}, $map([1..200], function(){$s})))`, "D1012"},
		{`$string($reduce([1..1900], function($a, $i){[[$a]]}, [1..400000]), true)`, "D2016"},
		// regular expressions
		{`(` + text + `$contains($s, /` + strings.Repeat("a{0,900}", 8) + `b/))`, "D1012"},
		{`(` + text + `$count($match($s, /a|` + groups.String() + `/)))`, "D1012"},
		{`$contains('a', /` + strings.Repeat("a{0,1000}", 100) + `b/)`, "S0303"},
		{`$replace($pad('', 100000, 'a'), /a+/, $pad('', 1000000, '$0'))`, "D2016"},
		// pictures
		{`$formatNumber(1, $pad('0', 1000000, ',0'))`, "D1012"},
		{`$formatNumber(1, $pad('0', 1000001, '0,0'))`, "D1012"},
		{`$formatInteger(1, $pad('0', 1000000, ',0'))`, "D1012"},
		{`$parseInteger($pad('1', 1000000, '1'), $pad('0', 1000000, ',0'))`, "D1012"},
		{`$map([1..10000], function(){$toMillis('1', $pad('', 8001, '[Y1000]'))})`, "D1012"},
		{`$map([1..100000], function(){$toMillis('1', $pad('', 98, '[Y0001]'))})`, "D1012"},
		{`$fromMillis(1, $pad('', 1000000, '[Y0001]'))`, "D1012"},
	} {
		p, err := Compile(c.expr)
		if err == nil {
			_, err = p.Eval(jsonvalue.Value{}, nil, Env{StepFunctions: true, Limits: Limits{Value: 6_990_256},
				States: []jsonvalue.Member{jsonvalue.M("input", input)}})
		}
		var e *Error
		if !errors.As(err, &e) || e.Code != c.code {
			t.Errorf("%.150s: got %.200v, want %s", c.expr, err, c.code)
		}
	}
}
