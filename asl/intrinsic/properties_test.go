package intrinsic

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/asl/jsonpath"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// TestProperties holds the functions against others that do the same, or the opposite, for random arguments.
func TestProperties(t *testing.T) {
	for seed := range uint64(2000) {
		properties(t, seed)
	}
}

func FuzzProperties(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(properties)
}

func properties(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	text := func() string {
		var b strings.Builder
		for range r.IntN(8) {
			b.WriteString([]string{"a", ",", "é", "😂", " ", "{}", "\\", "\"", "'", "\n", "\u2028", "b", ";", "0"}[r.IntN(14)])
		}
		return b.String()
	}
	var value func(depth int) jsonvalue.Value
	value = func(depth int) jsonvalue.Value {
		switch k := r.IntN(8); {
		case k == 0:
			return jsonvalue.Null
		case k == 1:
			return jsonvalue.Bool(r.IntN(2) == 0)
		case k < 5 || depth == 0:
			return jsonvalue.MustParse([]string{"1", "1.0", "1e0", "10e-1", "0", "-0", "0.0", "-0.0", "100", "1e2", "9007199254740993", "9007199254740992", "9007199254740992.0", "1e30", "1000000000000000000000000000000", "1e400", "1.5", "15e-1", "-1"}[r.IntN(19)])
		case k == 5:
			return jsonvalue.Str(text())
		case k == 6:
			var list []jsonvalue.Value
			for range r.IntN(4) {
				list = append(list, value(depth-1))
			}
			return jsonvalue.Array(list...)
		}
		var members []jsonvalue.Member
		for range r.IntN(4) {
			members = append(members, jsonvalue.M([]string{"a", "b", "é\""}[r.IntN(3)], value(depth-1)))
		}
		return jsonvalue.Object(members...)
	}
	var members []jsonvalue.Member
	eval := func(call string) (jsonvalue.Value, error) {
		c, err := Parse(call)
		if err != nil {
			t.Fatalf("seed %d: %s: %v", seed, call, err)
		}
		doc := jsonvalue.Object(members...)
		return c.Eval(Env{Path: func(p *jsonpath.Path) (jsonvalue.Value, error) { return p.Eval(doc) }})
	}
	set := func(values ...jsonvalue.Value) {
		members = nil
		for i, v := range values {
			members = append(members, jsonvalue.M(string(rune('a'+i)), v))
		}
	}
	is := func(call string, want jsonvalue.Value) {
		t.Helper()
		got, err := eval(call)
		if err != nil || got.String() != want.String() {
			t.Fatalf("seed %d: %s of %s gave %s, %v; want %s", seed, call, jsonvalue.Object(members...), got, err, want)
		}
	}

	s, u := text(), text()
	set(jsonvalue.Str(s), jsonvalue.Str(u))
	is("States.Base64Decode(States.Base64Encode($.a))", jsonvalue.Str(s))
	is("States.Format('{}-{}', $.a, $.b)", jsonvalue.Str(s+"-"+u))
	is("States.Format('"+strings.NewReplacer(`\`, `\\`, `'`, `\'`, `{`, `\{`, `}`, `\}`).Replace(s)+"')", jsonvalue.Str(s))
	md, sha, long := md5.Sum([]byte(s)), sha256.Sum256([]byte(s)), sha512.Sum384([]byte(s))
	is("States.Hash($.a, 'MD5')", jsonvalue.Str(hex.EncodeToString(md[:])))
	is("States.Hash($.a, 'SHA-256')", jsonvalue.Str(hex.EncodeToString(sha[:])))
	is("States.Hash($.a, 'SHA-384')", jsonvalue.Str(hex.EncodeToString(long[:])))
	parts, err := eval("States.StringSplit($.a, $.b)")
	if err != nil {
		t.Fatal(err)
	}
	joined := ""
	for p := range parts.Elements() {
		if p.Str() == "" || strings.ContainsAny(p.Str(), u) {
			t.Fatalf("seed %d: %q by %q has the part %s", seed, s, u, p)
		}
		joined += p.Str()
	}
	if want := strings.Map(func(c rune) rune {
		if strings.ContainsRune(u, c) {
			return -1
		}
		return c
	}, s); joined != want {
		t.Fatalf("seed %d: %q by %q has the parts %s", seed, s, u, parts)
	}

	var list []jsonvalue.Value
	for range r.IntN(8) {
		list = append(list, value(2))
	}
	needle := value(2)
	set(jsonvalue.Array(list...), needle)
	is("States.StringToJson(States.JsonToString($.a))", jsonvalue.Array(list...))
	is("States.ArrayLength($.a)", jsonvalue.Int(int64(len(list))))
	var unique []jsonvalue.Value
	contains := func(list []jsonvalue.Value, v jsonvalue.Value) bool {
		for _, m := range list {
			if jsonvalue.Equal(m, v) {
				return true
			}
		}
		return false
	}
	for _, v := range list {
		if !contains(unique, v) {
			unique = append(unique, v)
		}
	}
	is("States.ArrayUnique($.a)", jsonvalue.Array(unique...))
	is("States.ArrayContains($.a, $.b)", jsonvalue.Bool(contains(list, needle)))
	if len(list) > 0 {
		i := r.IntN(len(list))
		is(fmt.Sprintf("States.ArrayGetItem($.a, %d)", i), list[i])
	}
	size := 1 + r.IntN(5)
	chunks, err := eval(fmt.Sprintf("States.ArrayPartition($.a, %d)", size))
	if err != nil {
		t.Fatal(err)
	}
	var all []jsonvalue.Value
	for c := range chunks.Elements() {
		if len(all)%size != 0 || c.Len() == 0 || c.Len() > size {
			t.Fatalf("seed %d: chunks of %d: %s", seed, size, chunks)
		}
		for v := range c.Elements() {
			all = append(all, v)
		}
	}
	if jsonvalue.Array(all...).String() != jsonvalue.Array(list...).String() {
		t.Fatalf("seed %d: chunks of %d: %s", seed, size, chunks)
	}

	number := func() int64 { return []int64{0, 1, -1, 7, 1<<31 - 1, -1 << 31, 1 << 31, int64(r.Int32())}[r.IntN(8)] }
	a, b := number(), number()
	set(jsonvalue.Int(a), jsonvalue.Int(b))
	within := func(n int64) bool { return n == int64(int32(n)) }
	if got, err := eval("States.MathAdd($.a, $.b)"); (err == nil) != (within(a) && within(b) && within(a+b)) || err == nil && got.String() != fmt.Sprint(a+b) {
		t.Fatalf("seed %d: %d + %d gave %s, %v", seed, a, b, got, err)
	}
	first, last, step := r.IntN(20)-10, r.IntN(20)-10, 1+r.IntN(3)
	var numbers []jsonvalue.Value
	for n := first; n <= last; n += step {
		numbers = append(numbers, jsonvalue.Int(int64(n)))
	}
	is(fmt.Sprintf("States.ArrayRange(%d, %d, %d)", first, last, step), jsonvalue.Array(numbers...))

	x, y := value(3), value(3)
	set(x, y)
	got, err := eval("States.JsonMerge($.a, $.b, false)")
	if objects := x.Kind() == jsonvalue.KindObject && y.Kind() == jsonvalue.KindObject; objects != (err == nil) {
		t.Fatalf("seed %d: %s and %s gave %s, %v", seed, x, y, got, err)
	} else if objects {
		want := map[string]json.RawMessage{}
		for _, o := range []jsonvalue.Value{x, y} {
			for name, m := range maps.Collect(o.Members()) {
				want[name] = m.Raw()
			}
		}
		if len(want) != got.Len() {
			t.Fatalf("seed %d: %s and %s gave %s", seed, x, y, got)
		}
		for name, m := range want {
			if got.Member(name).String() != string(m) {
				t.Fatalf("seed %d: %s and %s gave %s", seed, x, y, got)
			}
		}
	}
}
