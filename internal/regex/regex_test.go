package regex_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/regex"
)

func TestSize(t *testing.T) {
	for text, most := range map[string]int{
		`abc`: 10, `^[a-z]+@[a-z.]+$`: 30, `a{1000}`: 3000, `(a{0,1000})(b{0,1000})`: 5000,
	} {
		if r, err := regex.Parse(text); err != nil || r.Size() > most || r.String() != text || r.Get().String() != text {
			t.Errorf("%s: %v, %v", text, r, err)
		}
	}
	for _, text := range []string{`(a{0,1000}`, `(?=a)`, strings.Repeat(`(a{0,1000})`, 21), `((a{0,30}){0,30})` + strings.Repeat(`((b{0,30}){0,30})`, 30), strings.Repeat(`a`, 30_000), strings.Repeat(`\p{L}`, 1000)} {
		if r, err := regex.Parse(text); err == nil {
			t.Errorf("%.40s is taken, of size %d", text, r.Size())
		}
	}
}

// FuzzParse: what is taken is what Go takes, and is no larger than it says.
func FuzzParse(f *testing.F) {
	for _, text := range []string{`^a(b|c)*d{2,5}?$`, `[^\x{0}-\x{10FFFF}]`, `(?i)\p{Greek}+\b`, `((x{0,9}){0,9}){3,}(y{0,500}){2}`} {
		f.Add(text, "abcdd")
	}
	f.Fuzz(func(t *testing.T, text, s string) {
		r, err := regex.Parse(text)
		want, wrong := regexp.Compile(text)
		if wrong != nil && err == nil {
			t.Fatalf("%q is no regular expression: %v", text, wrong)
		}
		if err == nil && r.Get().MatchString(s) != want.MatchString(s) {
			t.Fatalf("%q matches %q otherwise", text, s)
		}
	})
}
