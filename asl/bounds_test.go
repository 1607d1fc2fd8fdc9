package asl

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// TestDataIsBounded tables states with which a few bytes of definition and a payload within AWS's limit would take minutes, or
// more memory than there is: paths that meet values again and again, filters that compare all with all, functions and
// templates that copy their input thousands of times, expressions that each spend what they may.
func TestDataIsBounded(t *testing.T) {
	deep := strings.Repeat("[", 200) + `"` + strings.Repeat("x", 200_000) + `"` + strings.Repeat("]", 200)
	big := `{"x":"` + strings.Repeat("x", 100_000) + `"}`
	lists := `{"a":[[` + strings.Repeat("1,", 60_000) + `1]],"b":[` + strings.Repeat("2,", 60_000) + `2],"s":"` + strings.Repeat("a", 10_000) + `"}`
	limits := DefaultLimits
	limits.Expression.Steps = 1_000_000
	many := func(n int, field string) string {
		var fields []string
		for i := range n {
			fields = append(fields, fmt.Sprintf(field, i))
		}
		return "{" + strings.Join(fields, ",") + "}"
	}
	for _, c := range []struct{ name, fields, input, err string }{
		{"nested values, met many times", `"InputPath":"$..*..*"`, deep, ErrRuntime},
		{"members of nested values", `"InputPath":"$..['a','b']"`, strings.Repeat(`{"a":`, 500) + `"` + strings.Repeat("x", 200_000) + `"` + strings.Repeat("}", 500), ErrRuntime},
		{"all with all", `"InputPath":"$.a[?(@ anyof $.b)]"`, lists, ErrRuntime},
		{"all in all", `"InputPath":"$.b[?(@ in $.a[0])]"`, lists, ErrRuntime},
		{"lengths again and again", `"InputPath":"$.b[?(` + strings.Repeat(`$.s.length() == 1 || `, 700) + `@ == 1)]"`, lists, ErrRuntime},
		{"a pattern of many steps", `"InputPath":"$.b[?($.s =~ /` + strings.Repeat("a{0,900}", 8) + `b/)]"`, lists, ErrRuntime},
		{"a format", `"Parameters":{"a.$":"States.Format('` + strings.Repeat("{}", 8000) + `'` + strings.Repeat(",$.x", 8000) + `)"}`, big, ErrIntrinsicFailure},
		{"an array", `"Parameters":{"a.$":"States.Array(` + strings.Repeat("$.x,", 8000) + `$.x)"}`, big, ErrIntrinsicFailure},
		{"escapes of escapes", `"Parameters":{"a.$":"` + strings.Repeat("States.JsonToString(", 10) + `$` + strings.Repeat(")", 10) + `"}`, `{"x":"` + strings.Repeat(`\"`, 100_000) + `"}`, ErrIntrinsicFailure},
		{"a template", `"Parameters":` + many(5000, `"a%d.$":"States.Array($.x)"`), big, ErrDataLimitExceeded},
		{"a template of paths", `"Parameters":` + many(5000, `"a%d.$":"$.x"`), big, ErrDataLimitExceeded},
		{"variables", `"Assign":` + many(5000, `"a%d.$":"$.x"`), big, ErrDataLimitExceeded},
		{"expressions", `"QueryLanguage":"JSONata","Output":` + many(5000, `"a%d":"{%% $states.input.x & '!' %%}"`), big, ErrDataLimitExceeded},
		{"long expressions", `"QueryLanguage":"JSONata","Output":` + many(5000, `"a%d":"{%% $count($map([1..40000], function($x){1})) %%}"`), big, ErrQueryEvaluation},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, d := Parse([]byte(`{"StartAt":"A","States":{"A":{"Type":"Pass",`+c.fields+`,"End":true}}}`), ParseOptions{})
			if m == nil {
				t.Fatal(d)
			}
			v := &Visit{State: m.States["A"], Input: jsonvalue.MustParse(c.input), Limits: limits}
			if _, f := v.Leave(); f == nil || f.Error != c.err {
				t.Fatalf("got %.300v, want %s", f, c.err)
			}
		})
	}
	var states []string
	for i := range 200 {
		states = append(states, fmt.Sprintf(`"S%d":{"Type":"Pass","InputPath":"$.a[?(@ =~ /%s/)]","Next":"S%d"}`, i, strings.Repeat("a{0,900}", 8), i+1))
	}
	if m, d := Parse([]byte(`{"StartAt":"S0","States":{`+strings.Join(states, ",")+`,"S200":{"Type":"Succeed"}}}`), ParseOptions{}); m != nil || !strings.Contains(d[0].Message, "too large together") {
		t.Errorf("regular expressions of 2,000,000 steps are taken: %v", d)
	}
}

// TestLargeDefinitions: reading a definition of up to a megabyte takes time that grows with its length, not with its square.
func TestLargeDefinitions(t *testing.T) {
	var states, bindings strings.Builder
	for i := range 18_000 {
		fmt.Fprintf(&states, `"S%d":{"Type":"Pass","Next":"S%d"},`, i, i+1)
		fmt.Fprintf(&bindings, "$a%d:=1;", i)
	}
	query := func(expression string) string {
		return `{"QueryLanguage":"JSONata","StartAt":"A","States":{"A":{"Type":"Pass","Output":"{% ` + expression + ` %}","End":true}}}`
	}
	for name, definition := range map[string]string{
		"states":     `{"StartAt":"S0","States":{` + states.String() + `"S18000":{"Type":"Succeed"}}}`,
		"steps":      query("$x" + strings.Repeat(".a", 400_000)),
		"scopes":     query("(" + bindings.String() + strings.Repeat("$a0.b;", 30_000) + "1)"),
		"signatures": query("function($x)<" + strings.Repeat("a<", 300_000) + "n" + strings.Repeat(">", 300_000) + ":n>{1}"),
	} {
		if m, d := Parse([]byte(definition), ParseOptions{}); m == nil {
			t.Errorf("%s: refused: %.300v", name, d)
		}
	}
}
