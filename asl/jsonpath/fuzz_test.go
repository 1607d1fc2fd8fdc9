package jsonpath

import (
	"testing"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// FuzzReference: what a reference path puts into an object is what the same path finds there.
func FuzzReference(f *testing.F) {
	for _, s := range []string{`$`, `$.a`, `$.a.b['c d']`, `$['a']["b"]`, `$.list[0]`, `$.a[0][1]`, `$$.a`, `$v`, `$..a`, `$.a[*]`, `$.a[-1]`, `$['é\'']`, `$.a.length()`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		steps, err := ParseReference(s)
		if err != nil {
			return
		}
		p, err := Parse(s)
		if err != nil || !p.Definite() {
			t.Fatalf("%q is a reference path and no definite path: %v", s, err)
		}
		value := jsonvalue.MustParse(`{"new":[1]}`)
		got, err := jsonvalue.MustParse(`{"a":{"b":1},"list":[[1,2],{"x":0}]}`).SetPath(steps, value)
		if err != nil {
			return // an index that is not there
		}
		if found, err := p.Eval(got); err != nil || !jsonvalue.Equal(found, value) {
			t.Fatalf("%q put %s, and %s (%v) is there", s, value, found, err)
		}
	})
}
