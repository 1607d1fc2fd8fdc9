package asl

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// filledIn is what SAM and CloudFormation fill in.
var filledIn = regexp.MustCompile(`"?\$\{[A-Za-z0-9_.:]+\}"?`)

func fill(text []byte) []byte {
	return filledIn.ReplaceAllFunc(text, func(m []byte) []byte {
		before, after := m[0] == '"', m[len(m)-1] == '"'
		switch {
		case before && after:
			return []byte(`"arn:aws:states:::lambda:invoke"`)
		case before:
			return []byte(`"arn:aws:states:::filled`)
		case after:
			return []byte(`filled"`)
		}
		return []byte("1")
	})
}

// Where the checkers and AWS differ, AWS counts.
var otherThanAWS = map[string]string{
	"valid/asl-validator--current-value-predicate.json":                          "a filter compares with a word that has no quotes, which Jayway's JsonPath refuses",
	"valid/language-service--SucceedFailTerminalState.json":                      "AWS: state names are unique in the whole machine",
	"corpus/sfn-iot-data-analytics-dataset--statemachine--statemachine.asl.json": "is no JSON",
	"valid/asl-validator--assign.asl.json":                                       "AWS: a variable's name has no hyphen",
	"valid/asl-validator--map-with-item-batcher-jsonata.json":                    "AWS: a state machine of JSONata has no state of JSONPath",
	"corpus/shared-fallback-state-jsonata--statemachine--statemachine.asl.json":  "a state machine of JSONata with QueryLanguage inside States",
}

// TestDefinitions compares with the verdicts of public checkers.
func TestDefinitions(t *testing.T) {
	dir := shared(t, "asl-definitions")
	counts := map[string]int{}
	for _, verdict := range []string{"valid", "invalid", "corpus"} {
		files, err := filepath.Glob(filepath.Join(dir, verdict, "*"))
		if err != nil || len(files) == 0 {
			t.Fatal(err, verdict)
		}
		for _, f := range files {
			name := verdict + "/" + filepath.Base(f)
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			text = bytes.ReplaceAll(fill(text), []byte(`"foo:bar"`), []byte(`"arn:aws:states:::lambda:invoke"`)) // statelint takes any URI
			m, diagnostics := Parse(text, ParseOptions{})
			var lines []string
			for _, d := range diagnostics {
				lines = append(lines, d.String())
			}
			switch {
			case (m != nil) == (verdict != "invalid"):
				counts[verdict]++
			case otherThanAWS[name] != "":
				counts["other than AWS"]++
			default:
				t.Errorf("%s: accepted: %v\n%s", name, m != nil, strings.Join(lines, "\n"))
			}
		}
	}
	t.Log(counts)
	if counts["valid"] < 50 || counts["invalid"] < 70 || counts["corpus"] < 70 {
		t.Errorf("too few definitions were judged: %v", counts)
	}
}
