package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Case is one recorded case. Documents are as encoding/json gives them, with json.Number for numbers.
type Case struct {
	Area            string           `json:"-"`
	Name            string           `json:"name"`
	Recorded        string           `json:"recorded"` // day-month-year
	Kind            string           `json:"kind"`
	Validated       *bool            `json:"aws_validated"`
	Definition      text             `json:"definition"`
	RoleARN         string           `json:"role_arn"`
	Type            string           `json:"type"`
	Input           *string          `json:"input"`
	Needs           []string         `json:"needs"`
	Transformers    []Transformer    `json:"transformers"`
	UIDs            []string         `json:"uids"`
	Setup           []Step           `json:"setup"`
	Steps           []Step           `json:"steps"`
	Lambdas         []Function       `json:"lambdas"`
	Expect          map[string]any   `json:"expect"`
	HistoryParams   map[string]any   `json:"history_params"`
	Stop            map[string]any   `json:"stop"`
	Mocks           map[string][]any `json:"mocks"`
	MocksIncomplete bool             `json:"mocks_incomplete"`
	ExternalWorker  any              `json:"external_worker"`
	Concurrent      bool             `json:"concurrent"`
	EstSeconds      float64          `json:"est_seconds"`
}

// text is the definition as it is sent: a text as it is, a value with its members in the order of the recording.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(t))
	}
	*t = text(b)
	return nil
}

// Step is one call of a case, with the answer where it was recorded.
type Step struct {
	Service     string            `json:"service"`
	Operation   string            `json:"operation"`
	Params      map[string]any    `json:"params"`
	Key         string            `json:"key"`
	Expect      map[string]any    `json:"expect"`
	ExpectError map[string]any    `json:"expect_error"`
	Wait        string            `json:"wait"`
	Returns     map[string]string `json:"returns"`
}

// Function is a Lambda function that a case calls, by what it does.
type Function struct {
	Name      string `json:"name"`
	Behaviour string `json:"behaviour"`
}

// Transformer replaces a varying value before comparing.
type Transformer struct {
	Kind        string `json:"kind"`
	Pattern     string `json:"pattern,omitempty"`
	Replacement string `json:"replacement,omitempty"`
	Path        string `json:"path,omitempty"`
	Key         string `json:"key,omitempty"`
	Function    string `json:"function,omitempty"`
	Text        string `json:"text,omitempty"`
	Arn         string `json:"arn,omitempty"`
	Index       int    `json:"index,omitempty"`
	Reference   *bool  `json:"reference,omitempty"`
}

func (t Transformer) reference(standard bool) bool {
	if t.Reference == nil {
		return standard
	}
	return *t.Reference
}

// Load reads every case file of a folder, in the order of their names.
func Load(dir string) ([]Case, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no case files (*.json)", dir)
	}
	sort.Strings(files)
	var cases []Case
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var f struct {
			Area  string `json:"area"`
			Cases []Case `json:"cases"`
		}
		if err := decode(b, &f); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, c := range f.Cases {
			c.Area = f.Area
			if c.Validated == nil || *c.Validated {
				cases = append(cases, c)
			}
		}
	}
	return cases, nil
}

// recorded is the day of the recording as year-month-day, which sorts.
func (c *Case) recorded() string {
	p := strings.Split(c.Recorded, "-")
	if len(p) != 3 {
		return "2000-01-01"
	}
	return p[2] + "-" + p[1] + "-" + p[0]
}

func decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(v)
}

// dump writes v as the recordings' own tools did: keys sorted, ", " and ": " between, everything beyond ASCII
// escaped. Transformers are regular expressions on that text.
func dump(v any) string {
	var b strings.Builder
	write(&b, v)
	return b.String()
}

func write(b *strings.Builder, v any) {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		b.WriteByte('{')
		for i, k := range keys {
			if i > 0 {
				b.WriteString(", ")
			}
			quote(b, k)
			b.WriteString(": ")
			write(b, v[k])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, x := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			write(b, x)
		}
		b.WriteByte(']')
	case string:
		quote(b, v)
	case json.Number:
		b.WriteString(v.String())
	default:
		j, _ := json.Marshal(v)
		b.Write(j)
	}
}

func quote(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < 0x20 || r > 0x7e && r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		case r >= 0x10000:
			r -= 0x10000
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

// clone copies a document.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = clone(x)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = clone(x)
		}
		return l
	}
	return v
}

func equal(a, b any) bool { return dump(a) == dump(b) }
