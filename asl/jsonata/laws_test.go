package jsonata

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// laws hold for all texts $s and $t, whole numbers $n and $k, values $v and $w, and arrays $a and $b of values, with $f a JSON
// number. Most say that a function undoes another.
var laws = []string{
	`$parse($string({'x': $v})) = {'x': $v}`,
	`$string($parse($string({'x': $v}))) = $string({'x': $v})`,
	`$parse($string({'x': $v}, true)) = $parse($string({'x': $v}))`,
	`[$v] = [$w] or [$v] != [$w]`,
	`([$v] = [$w]) = ([$w] = [$v])`,
	`[$v] = [$v]`,
	`$count($append($a, $b)) = $count($a) + $count($b)`,
	`$reverse($reverse($a)) = $a`,
	`$count($shuffle($a)) = $count($a)`,
	`$count($distinct($a)) <= $count($a)`,
	`$distinct($append($a, $a)) = $distinct($a) or $count($a) < 2`,
	`$count($partition($a, 2)) = $ceil($count($a) / 2)`,
	`$reduce($append([0], $map($partition($a, 3), function($p){$count($p)})), function($x, $y){$x + $y}) = $count($a)`,
	`$count($zip($a, $b)) = $min([$count($a), $count($b)])`,
	`$sort($sort($append([$n, $k], [3, 1, 2]))) = $sort([$n, $k, 1, 2, 3])`,
	`$sum([$n, $k]) = $n + $k`,
	`$average([$n, $k]) = ($n + $k) / 2`,
	`$max([$n, $k]) + $min([$n, $k]) = $n + $k`,
	`$abs(-$n) = $abs($n)`,
	`$floor($n / 2) + $ceil($n / 2) = $n`,
	`$number($string($n)) = $n`,
	`$number('0x' & $formatBase($abs($n), 16)) = $abs($n)`,
	`$parseInteger($formatInteger($n, '0'), '0') = $n`,
	`$parseInteger($formatInteger($n, '#,##0'), '#,##0') = $n`,
	`$parseInteger($formatInteger($abs($n % 4000), 'I'), 'I') = $abs($n % 4000)`,
	`$parseInteger($formatInteger($abs($n), 'w'), 'w') = $abs($n)`,
	`$toMillis($fromMillis($n * 1001)) = $n * 1001`,
	`$toMillis($fromMillis($n * 1000, '[Y0001]-[M01]-[D01] [H01]:[m01]:[s01]'), '[Y0001]-[M01]-[D01] [H01]:[m01]:[s01]') = $n * 1000`,
	`$substring($s, 0, $abs($k % 9)) & $substring($s, $abs($k % 9)) = $s`,
	`$length($s & $t) = $length($s) + $length($t)`,
	`$contains($s & $t, $t)`,
	`$contains($s & 'x' & $t, /x/)`,
	`$join($split($s, ','), ',') = $s`,
	`$join($split($s, /,/), ',') = $s`,
	`$replace($s, ',', ',') = $s`,
	`$replace($s, /[a-z]/, '$0') = $s`,
	`$replace($s, /(,|a)/, function($m){$m.match}) = $s`,
	`$substringBefore($s & '|' & $t, '|') & '|' & $substringAfter($s & '|' & $t, '|') = $s & '|' & $t`,
	`$decodeUrlComponent($encodeUrlComponent($s)) = $s`,
	`$decodeUrl($encodeUrl($s)) = $s or $contains($s, '%')`,
	`$base64decode($base64encode($replace($s, /[^ -~]/, '?'))) = $replace($s, /[^ -~]/, '?')`,
	`$length($pad($s, 20)) = $max([20, $length($s)])`,
	`$trim($pad('x' & $s & 'x', -30)) = $trim('x' & $s & 'x')`,
	`$length($uppercase($lowercase('a' & $s))) >= 1`,
	`$hash($s, 'SHA-256') = $hash($s & '', 'SHA-256')`,
	`$lookup({$s: $n}, $s) = $n or $s = ''`,
	`$merge([{'a': $n}, {'a': $k}]).a = $k`,
	`$keys({'k' & $s: 1, 'l': 2}) = ['k' & $s, 'l'] or $s = 'l'`,
	`({'a': $n, 'b': 1} ~> |$|{'c': $k}, 'b'|) = {'a': $n, 'c': $k}`,
	`$each({'a': $n}, function($x, $name){$name & $x}) = 'a' & $n`,
	`$count([$n..$n + 9]) = 10`,
	`$range(0, 9, 3) = [0, 3, 6, 9]`,
	`$boolean($v) = $not($not($v))`,
	`$type($s) = 'string' and $type($n) = 'number' and $type($a) = 'array'`,
	`$map([$n, $k], function($x){$x * 2}) = [$n * 2, $k * 2]`,
	`$filter([$n, $k, 1], function($x){$x = 1})[0] = 1`,
	`$single([$n, $n + 1], function($x){$x = $n}) = $n`,
}

// TestLaws evaluates each law with random values, and wants true.
func TestLaws(t *testing.T) {
	programs := make([]*Program, len(laws))
	for i, law := range laws {
		p, err := Compile(law)
		if err != nil {
			t.Fatalf("%s: %v", law, err)
		}
		programs[i] = p
	}
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 9))
		text := func() jsonvalue.Value {
			var b strings.Builder
			for range r.IntN(8) {
				b.WriteString([]string{"a", ",", "é", "😂", " ", "{}", "\\", "\"", "'", "\n", "\u2028", "b", "$", "0", "$1", "%", "/", "ß", "İ"}[r.IntN(19)])
			}
			return jsonvalue.Str(b.String())
		}
		var value func(depth int) jsonvalue.Value
		value = func(depth int) jsonvalue.Value {
			switch k := r.IntN(9); {
			case k == 0:
				return jsonvalue.Null
			case k == 1:
				return jsonvalue.Bool(r.IntN(2) == 0)
			case k < 4 || depth == 0:
				return jsonvalue.MustParse([]string{"1", "0", "-0", "1.50", "1e3", "123456789012345678", "0.1", "1e-7", "1e21", "-2.5e-300"}[r.IntN(10)])
			case k < 6:
				return text()
			case k == 6:
				var list []jsonvalue.Value
				for range r.IntN(4) {
					list = append(list, value(depth-1))
				}
				return jsonvalue.Array(list...)
			}
			var members []jsonvalue.Member
			for range r.IntN(4) {
				members = append(members, jsonvalue.M(text().Str(), value(depth-1)))
			}
			return jsonvalue.Object(members...)
		}
		list := func() jsonvalue.Value {
			var out []jsonvalue.Value
			for range r.IntN(6) {
				out = append(out, value(1))
			}
			return jsonvalue.Array(out...)
		}
		number := func() jsonvalue.Value {
			return jsonvalue.Int([]int64{0, 1, -1, 7, 1999, -1 << 31, 1 << 31, int64(r.Int32())}[r.IntN(8)])
		}
		bindings := map[string]jsonvalue.Value{"s": text(), "t": text(), "n": number(), "k": number(), "v": value(3), "w": value(3), "a": list(), "b": list()}
		for i, p := range programs {
			if out, err := p.Eval(jsonvalue.Value{}, bindings, testEnv); err != nil || out.String() != "true" {
				t.Errorf("seed %d: %s gave %s, %v\n\twith %v", seed, laws[i], out, err, bindings)
			}
		}
		if t.Failed() {
			return
		}
	}
}
