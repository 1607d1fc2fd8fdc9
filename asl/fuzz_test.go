package asl

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// A timestamp as the language has it: RFC 3339 with a capital T and Z; seconds may be left out, and there are nine
// decimals at most.
var timestampForm = regexp.MustCompile(`^(\d{4}-\d\d-\d\dT)(\d\d:\d\d)(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$`)

// FuzzTimestamp: what is a timestamp is in its form and is the time that it says, and a time that is written is one.
func FuzzTimestamp(f *testing.F) {
	for _, s := range []string{"2016-08-18T17:33:00Z", "2016-08-18T17:33Z", "2016-02-30T17:33:00Z", "2024-02-29T23:59:59.999999999+23:59", "2016-08-18T7:33:00Z",
		"2016-08-18t17:33:00z", "2016-08-18 17:33:00Z", "2016-08-18T17:33:00,5Z", "2016-08-18T17:33:60Z", "2016-08-18T24:00:00Z", "0000-01-01T00:00:00Z",
		"2016-08-18T17:33:00", "2016-08-18T17:33:00+0100", "2016-08-18T17:33:00.Z", "2016-08-18T17:33:00.1234567891Z", "2016-08-18T17:33:00-24:00"} {
		f.Add(s, int64(1471541580), int64(7))
	}
	f.Fuzz(func(t *testing.T, s string, seconds, nanos int64) {
		at, ok := parseTimestamp(s)
		if form := timestampForm.FindStringSubmatch(s); ok && form == nil {
			t.Fatalf("%q is taken for %s", s, at)
		} else if form != nil {
			clock := form[2] + form[3]
			if form[3] == "" {
				clock += ":00"
			}
			want, err := time.Parse(time.RFC3339Nano, form[1]+clock+form[5])
			if ok != (err == nil) || ok && !at.Equal(want) {
				t.Fatalf("%q is %s, %v; want %s, %v", s, at, ok, want, err)
			}
		}
		when := time.Unix(seconds%(1<<37), nanos).UTC()
		if y := when.Year(); y >= 0 && y <= 9999 {
			if got, ok := parseTimestamp(when.Format(time.RFC3339Nano)); !ok || !got.Equal(when) {
				t.Fatalf("%s is read as %s, %v", when, got, ok)
			}
		}
	})
}

// FuzzJackson: whatever is no JSON gets a sentence with a place within the text.
func FuzzJackson(f *testing.F) {
	for _, s := range []string{`{"a":tru}`, "{\n'a'", `[1,`, "", " \n", `"\x"`, "{\"a\":1,}", "\xff", `nul`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		_, err := jsonvalue.Parse(text)
		if err == nil {
			return
		}
		sentence := JacksonText(text, err)
		if !strings.HasPrefix(sentence, JacksonSentence(text, err)) {
			t.Fatalf("%q does not begin with %q", sentence, JacksonSentence(text, err))
		}
		var line, column int
		if _, err := fmt.Sscanf(sentence[strings.LastIndex(sentence, "line: "):], "line: %d, column: %d]", &line, &column); err != nil {
			t.Fatalf("%q: %v", sentence, err)
		}
		lines := strings.Split(string(text), "\n")
		if line < 1 || line > len(lines) || column < 1 || column > len(lines[line-1])+2 {
			t.Fatalf("%q is at line %d, column %d", text, line, column)
		}
	})
}
