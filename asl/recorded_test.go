package asl

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// recorded is one execution that AWS ran.
type recorded struct {
	Name       string
	Kind       string
	Definition jsonvalue.Value
	Input      *string
	Expect     struct {
		Status string
		Output jsonvalue.Value
		Error  jsonvalue.Value
		Cause  jsonvalue.Value
	}
}

// run walks through the states that need nothing from outside.
func run(m *StateMachine, input jsonvalue.Value) (jsonvalue.Value, *Failure) {
	vars := map[string]jsonvalue.Value{}
	event := int64(2)
	for name := m.StartAt; ; {
		s := m.States[name]
		v := &Visit{State: s, Entered: event, Input: input, Limits: DefaultLimits, Random: func() uint64 { return 1 },
			Context: jsonvalue.Object(jsonvalue.M("Execution", jsonvalue.Object(jsonvalue.M("Input", input))), jsonvalue.M("State", jsonvalue.Object(jsonvalue.M("Name", jsonvalue.Str(name)))), jsonvalue.M("StateMachine", jsonvalue.MustParse(`{"Name":"<ArnPart_0idx>"}`))),
			Vars:    func(name string) (jsonvalue.Value, bool) { value, ok := vars[name]; return value, ok }}
		event += 2
		if _, ok := s.(*FailState); ok {
			f := v.FailWith()
			return jsonvalue.Value{}, &f
		}
		if _, ok := s.(*WaitState); ok {
			if _, f := v.WaitUntil(time.Unix(1700000000, 0)); f != nil {
				return jsonvalue.Value{}, f
			}
		}
		exit, f := v.Leave()
		if f != nil {
			return jsonvalue.Value{}, f
		}
		for _, a := range exit.Assign {
			vars[a.Name] = a.Value
		}
		if input = exit.Output; exit.Next == "" {
			return input, nil
		}
		name = exit.Next
	}
}

var placeholder = regexp.MustCompile(`<[a-z]+(-[a-z]+)?(:\d+)?>|RandomNumberGenerated|generated-uuid|"date"|arn:`)

// TestRecorded runs what AWS ran, as far as the states need no engine, and compares status, output, error and cause.
func TestRecorded(t *testing.T) {
	ran := 0
	for _, area := range []string{"base", "assign", "choice_operators", "intrinsic_functions", "scenarios", "context_object", "evaluate_jsonata", "outputdecl", "query_language"} {
		text, err := os.ReadFile(shared(t, "asl-cases", area+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Cases []recorded }
		if err := json.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		for _, c := range file.Cases {
			definition := []byte(c.Definition.String())
			if c.Definition.Kind() == jsonvalue.KindString {
				definition = []byte(c.Definition.Str())
			}
			if c.Kind != "execution" || strings.Contains(string(definition), "$$.Execution.Id") || strings.Contains(string(definition), `"Task"`) || strings.Contains(string(definition), `"Map"`) || strings.Contains(string(definition), `"Parallel"`) {
				continue
			}
			m, diagnostics := Parse(definition, ParseOptions{})
			if m == nil {
				t.Errorf("%s: %v", c.Name, diagnostics)
				continue
			}
			input := emptyObject
			if c.Input != nil {
				input = jsonvalue.MustParse(*c.Input)
			}
			output, f := run(m, input)
			ran++
			if f != nil {
				want := c.Expect.Cause.Str()
				got := f.Cause
				if i := strings.Index(want, "<"); i >= 0 {
					want, got = want[:i], got[:min(i, len(got))]
				}
				if c.Expect.Status != "FAILED" || f.Error != c.Expect.Error.Str() || got != want {
					t.Errorf("%s: %s %q; want %s %s %q", c.Name, f.Error, f.Cause, c.Expect.Status, c.Expect.Error, c.Expect.Cause)
				}
				continue
			}
			want := c.Expect.Output
			if want.Kind() == jsonvalue.KindString { // arrays and scalars are recorded as text
				want, _ = jsonvalue.Parse([]byte(want.Str()))
			}
			if c.Expect.Status != "SUCCEEDED" || !jsonvalue.Equal(output, want) && !placeholder.MatchString(c.Expect.Output.String()) {
				t.Errorf("%s: %s; want %s %s", c.Name, output, c.Expect.Status, want)
			}
		}
	}
	t.Log(ran, "executions")
	if ran < 300 {
		t.Errorf("only %d executions ran", ran)
	}
}
