package asl

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/cputime"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

func Example() {
	machine, diagnostics := Parse([]byte(`{
	  "StartAt": "Greet",
	  "States": {
	    "Greet": {"Type": "Pass", "Parameters": {"text.$": "States.Format('Hello, {}!', $.name)"}, "ResultPath": "$.greeting", "End": true}
	  }
	}`), ParseOptions{})
	if machine == nil {
		fmt.Println(diagnostics)
		return
	}
	visit := Visit{State: machine.States[machine.StartAt], Input: jsonvalue.MustParse(`{"name": "World"}`)}
	exit, failure := visit.Leave()
	fmt.Println(exit.Output, failure)
	// Output: {"name":"World","greeting":{"text":"Hello, World!"}} <nil>
}

func TestDiagnostics(t *testing.T) {
	_, got := Parse([]byte(`{
 "StartAt": "A",
 "States": {
  "A": {"Type": "Task", "Next": "Nowhere", "Retry": [7, {"ErrorEquals": [], "BackoffRate": 0.5}], "Colour": 1},
  "B": {"Type": "Wait", "Timestamp": "tomorrow", "Seconds": 1, "End": true},
  "C": {"Type": "Pass", "Parameters": {"x.$": "nope"}, "ResultPath": "$.a[*]", "End": true}
 }
}`), ParseOptions{})
	var lines []string
	for _, d := range got {
		lines = append(lines, fmt.Sprintf("%d:%d %s", d.Pos.Line, d.Pos.Column, d))
	}
	want := []string{
		`4:8 SCHEMA_VALIDATION_FAILED: These fields are required: [Resource] at /States/A`,
		`4:33 MISSING_TRANSITION_TARGET: Missing 'Next' target: Nowhere at /States/A/Next`,
		`4:54 SCHEMA_VALIDATION_FAILED: Expected value of type [OBJECT] at /States/A/Retry[0]`,
		`4:73 SCHEMA_VALIDATION_FAILED: Value cannot be empty at /States/A/Retry[1]/ErrorEquals`,
		`4:92 SCHEMA_VALIDATION_FAILED: Minimum value is 1.0 at /States/A/Retry[1]/BackoffRate`,
		`4:99 SCHEMA_VALIDATION_FAILED: Field 'Colour' is not supported at /States/A`,
		`5:3 MISSING_TRANSITION_TARGET: State "B" is not reachable. at /States/B`,
		`5:8 SCHEMA_VALIDATION_FAILED: Only one of these fields may be set: [Seconds, Timestamp, SecondsPath, TimestampPath] at /States/B`,
		`5:38 SCHEMA_VALIDATION_FAILED: String does not match RFC3339 timestamp at /States/B/Timestamp`,
		`6:3 MISSING_TRANSITION_TARGET: State "C" is not reachable. at /States/C`,
		`6:47 SCHEMA_VALIDATION_FAILED: The value for the field 'x.$' must be a valid JSONPath or a valid intrinsic function call at /States/C/Parameters`,
		`6:70 SCHEMA_VALIDATION_FAILED: Value is not a Reference Path: a reference path has names and indexes only, no [*] at /States/C/ResultPath`,
	}
	for _, w := range want {
		if !slices.Contains(lines, w) {
			t.Errorf("missing: %s\ngot:\n%s", w, strings.Join(lines, "\n"))
		}
	}
	for text, want := range map[string]string{
		`not`: `INVALID_JSON_DESCRIPTION: Unrecognized token 'not'`,
		`[]`:  `INVALID_JSON_DESCRIPTION: Definition must be a valid JSON object`,
		`{}`:  `SCHEMA_VALIDATION_FAILED: These fields are required: [States, StartAt] at /`,
		`{"StartAt":"A","States":{"A":{"Type":"X"}}}`:                                 `SCHEMA_VALIDATION_FAILED: The field 'Type' should have one of these values: [Task, Wait, Pass, Succeed, Fail, Choice, Parallel, Map] at /States/A/Type`,
		`{"StartAt":"A","States":{"A":{"Type":"Parallel","Branches":[],"End":true}}}`: `SCHEMA_VALIDATION_FAILED: Value cannot be empty at /States/A/Branches`,
		`{"StartAt":"","States":{"A":{"Type":"Pass","End":true}}}`:                    `MISSING_TRANSITION_TARGET: Missing 'Next' target:  at /StartAt`,
		`{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"A"}}}`:                   `MISSING_END_STATE: Workflow has no terminal state at null`,
	} {
		m, d := Parse([]byte(text), ParseOptions{})
		if m != nil || len(d) == 0 || !strings.HasPrefix(d[0].String(), want) {
			t.Errorf("%s: %v, %v; want %s", text, m, d, want)
		}
	}
}

// TestFlow tables what AWS says of transitions, ends and reach, and where: all that is said, in its order.
func TestFlow(t *testing.T) {
	const choice = `"C":{"Type":"Choice","Choices":[{"Variable":"$.x","IsPresent":true,"Next":"%s"}],"Default":"%s"},"Z":{"Type":"Pass","End":true}`
	for _, c := range []struct{ start, states, want string }{
		{"A", `"A":{"Type":"Pass","Next":"B"},"B":{"Type":"Pass","Next":"A"},"U":{"Type":"Pass","Next":"A"}`, `MISSING_END_STATE: Workflow has no terminal state at null`},
		{"A", `"A":{"Type":"Pass","Next":"B"},"B":{"Type":"Pass","Next":"A"},"C":{"Type":"Pass","End":true}`, `MISSING_TRANSITION_TARGET: State "C" is not reachable. at /States/C`},
		{"A", `"A":{"Type":"Pass","Next":"X"}`, `MISSING_TRANSITION_TARGET: Missing 'Next' target: X at /States/A/Next, MISSING_END_STATE: Workflow has no terminal state at null`},
		{"A", `"A":{"Type":"Pass","Next":"X"},"B":{"Type":"Pass","End":true}`, `MISSING_TRANSITION_TARGET: Missing 'Next' target: X at /States/A/Next, MISSING_TRANSITION_TARGET: State "B" is not reachable. at /States/B`},
		{"X", `"A":{"Type":"Pass","End":true}`, `MISSING_TRANSITION_TARGET: Missing 'Next' target: X at /StartAt, MISSING_TRANSITION_TARGET: State "A" is not reachable. at /States/A`},
		{"C", fmt.Sprintf(choice, "X", "Z"), `MISSING_TRANSITION_TARGET: Missing 'Next' target: X at /States/C/Choices[0]/Next`},
		{"C", fmt.Sprintf(choice, "Z", "X"), `MISSING_TRANSITION_TARGET: Missing 'Next' target: X at /States/C/Default`},
		{"M", `"M":{"Type":"Map","ItemProcessor":{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"},"B":{"Type":"Pass","Next":"A"}}},"End":true}`, ``},
		{"M", `"M":{"Type":"Map","ItemProcessor":{"StartAt":"X","States":{"A":{"Type":"Pass","End":true}}},"End":true}`,
			`MISSING_TRANSITION_TARGET: Missing 'Next' target: X at /States/M/ItemProcessor/StartAt, MISSING_TRANSITION_TARGET: State "A" is not reachable. at /States/M/ItemProcessor/States/A`},
		{"P", `"P":{"Type":"Parallel","Branches":[{"StartAt":"A","States":{"A":{"Type":"Fail"},"U":{"Type":"Succeed"}}}],"End":true}`,
			`MISSING_TRANSITION_TARGET: State "U" is not reachable. at /States/P/Branches[0]/States/U`},
		{"A", `"A":{"Type":"Pass","End":true,"TimeoutSeconds":5}`, `SCHEMA_VALIDATION_FAILED: Field 'TimeoutSeconds' is not supported at /States/A`},
		{"M", `"M":{"Type":"Map","End":true,"MaxConcurrency":-1,"Iterator":{"QueryLanguage":"JSONata","StartAt":"A","States":{"A":{"Type":"Pass","End":true}}}}`,
			`SCHEMA_VALIDATION_FAILED: Minimum value is 0 at /States/M/MaxConcurrency, SCHEMA_VALIDATION_FAILED: Field 'QueryLanguage' is not supported at /States/M/Iterator`},
	} {
		_, diagnostics := Parse([]byte(`{"StartAt":"`+c.start+`","States":{`+c.states+`}}`), ParseOptions{})
		var got []string
		for _, d := range diagnostics {
			got = append(got, d.String())
		}
		if got := strings.Join(got, ", "); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.states, got, c.want)
		}
	}
}

func taskVisit(t *testing.T, fields, input string) *Visit {
	t.Helper()
	m, d := Parse([]byte(`{"StartAt":"T","States":{"T":{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","Next":"E",`+fields+`},"E":{"Type":"Succeed"}}}`), ParseOptions{})
	if m == nil {
		t.Fatal(d)
	}
	return &Visit{State: m.States["T"], Entered: 2, Input: jsonvalue.MustParse(input), Limits: DefaultLimits}
}

// TestBeyond: an index that its array does not have is null in a template, and absent everywhere else.
func TestBeyond(t *testing.T) {
	const input = `{"l":[1]}`
	for path, want := range map[string]string{"$.l[0]": `{"x":1}`, "$.l[1]": `{"x":null}`, "$.l[-2]": `{"x":null}`, "$.l[1].y": "", "$.m[0]": "", "States.Array($.l[1])": ""} {
		v := taskVisit(t, `"Parameters":{"x.$":"`+path+`"}`, input)
		got, f := v.arguments(WorkOf(v.State), v.Input)
		if (f != nil) != (want == "") || f == nil && got.String() != want || f != nil && f.Error != ErrRuntime {
			t.Errorf("%s: %s, %+v; want %s", path, got, f, want)
		}
	}
	if _, f := taskVisit(t, `"InputPath":"$.l[1]"`, input).EffectiveInput(); f == nil || !strings.HasSuffix(f.Cause, "Invalid path '$.l[1]' : No results for path: $['l'][1]") {
		t.Errorf("InputPath: %+v", f)
	}
}

// TestJackson tables the sentences about what is no JSON, with the column up to which Jackson has read.
func TestJackson(t *testing.T) {
	const values = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
	for text, want := range map[string]string{
		`not`:           "Unrecognized token 'not': was expecting " + values + " 4",
		`{"a":tru}`:     "Unrecognized token 'tru': was expecting " + values + " 9",
		`{"a":}`:        "Unexpected character ('}' (code 125)): expected a valid value " + values + " 7",
		`[1,]`:          "Unexpected character (']' (code 93)): expected a valid value " + values + " 5",
		`{name:"x"}`:    "Unexpected character ('n' (code 110)): was expecting double-quote to start field name 3",
		`{"a":1,}`:      "Unexpected character ('}' (code 125)): was expecting double-quote to start field name 9",
		`{'a':1}`:       "Unexpected character (''' (code 39)): was expecting double-quote to start field name 3",
		`{"a" 1}`:       "Unexpected character ('1' (code 49)): was expecting a colon to separate field name and value 7",
		`{"a":1 "b":2}`: "Unexpected character ('\"' (code 34)): was expecting comma to separate Object entries 9",
		`[1 x]`:         "Unexpected character ('x' (code 120)): was expecting comma to separate Array entries 5",
		`[“]`:           "Unexpected character ('“' (code 8220 / 0x201c)): expected a valid value " + values + " 3",
		`{"a":1`:        "Unexpected end-of-input 7",
		``:              "No content to map due to end-of-input 1",
	} {
		_, err := jsonvalue.Parse([]byte(text))
		got := JacksonText([]byte(text), err)
		column := strings.TrimSuffix(got[strings.LastIndex(got, " ")+1:], "]")
		if got = JacksonSentence([]byte(text), err) + " " + column; got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestNumbersByPath: a text that is a number counts as one, whatever the field.
func TestNumbersByPath(t *testing.T) {
	const begin = "An error occurred while executing the state 'S' (entered at the event id #2). "
	for _, c := range []struct{ fields, value, want string }{
		{`"MaxConcurrencyPath":"$.n"`, `"3"`, "3"},
		{`"MaxConcurrencyPath":"$.n"`, `3`, "3"},
		{`"MaxConcurrencyPath":"$.n"`, `"three"`, begin + `The MaxConcurrencyPath field refers to value "three" which is not a valid integer: $.n`},
		{`"MaxConcurrencyPath":"$.n"`, `"1.5"`, begin + `The MaxConcurrencyPath field refers to value "1.5" which is not a valid integer: $.n`},
		{`"TimeoutSecondsPath":"$.n"`, `"3"`, "3"},
		{`"TimeoutSecondsPath":"$.n"`, `"-3"`, begin + `The TimeoutSecondsPath parameter does not reference a positive integer: $.n == -3`},
	} {
		state := `"Type":"Map","ItemProcessor":{"StartAt":"P","States":{"P":{"Type":"Succeed"}}}`
		if strings.Contains(c.fields, "Timeout") {
			state = `"Type":"Task","Resource":"arn:aws:states:::lambda:invoke"`
		}
		m, d := Parse([]byte(`{`+state+`,"End":true,`+c.fields+`}`), ParseOptions{State: "S"})
		if m == nil {
			t.Fatal(d)
		}
		v := &Visit{State: m.States["S"], Entered: 2, Input: jsonvalue.MustParse(`{"n":` + c.value + `}`)}
		var n int64
		var f *Failure
		if task, ok := v.State.(*TaskState); ok {
			var to Timeouts
			to, f = v.timeouts(task, v.Input)
			n = int64(to.Timeout / time.Second)
		} else {
			n, f = v.MaxConcurrency(v.Input)
		}
		got := fmt.Sprint(n)
		if f != nil {
			got = f.Cause
		}
		if got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.fields, c.value, got, c.want)
		}
	}
}

func TestTaskData(t *testing.T) {
	v := taskVisit(t, `"InputPath":"$.a","Parameters":{"p.$":"$.b"},"ResultSelector":{"r.$":"$.Payload.x"},"ResultPath":"$.out","OutputPath":"$.out","Assign":{"all.$":"$.Payload"},"TimeoutSecondsPath":"$.t"`, `{"a":{"b":1,"t":5}}`)
	effective, f := v.EffectiveInput()
	if f != nil {
		t.Fatal(f)
	}
	if args, f := v.arguments(WorkOf(v.State), effective); f != nil || args.String() != `{"p":1}` {
		t.Error(args, f)
	}
	if to, f := v.timeouts(v.State.(*TaskState), effective); f != nil || to.Timeout != 5*time.Second || to.Heartbeat != 0 {
		t.Error(to, f)
	}
	exit, f := v.Finish(jsonvalue.MustParse(`{"Payload":{"x":7}}`))
	if f != nil || exit.Output.String() != `{"r":7}` || exit.Next != "E" || len(exit.Assign) != 1 || exit.Assign[0].Value.String() != `{"x":7}` {
		t.Error(exit, f)
	}
	large := jsonvalue.Str(strings.Repeat("a", 300000))
	if _, f := v.Finish(large); f == nil || f.Error != ErrDataLimitExceeded || !strings.HasPrefix(f.Cause, "The state/task 'lambda' returned") {
		t.Error(f)
	}
	v = taskVisit(t, `"ResultPath":"$.a.b"`, `{"a":1}`)
	if _, f := v.Finish(jsonvalue.Null); f == nil || f.Error != ErrResultPathMatch {
		t.Error(f)
	}
	v = taskVisit(t, `"ResultPath":null,"Catch":[{"ErrorEquals":["A"],"Next":"E","ResultPath":"$.err"},{"ErrorEquals":["States.ALL"],"Next":"E"}]`, `{"a":1}`)
	if exit, f := v.Finish(jsonvalue.Int(9)); f != nil || exit.Output.String() != `{"a":1}` {
		t.Error(exit, f)
	}
	catch := WorkOf(v.State).Catch
	if exit, f := v.Caught(&catch[MatchCatcher(catch, Failure{Error: "A", Cause: "why"})], Failure{Error: "A", Cause: "why"}); f != nil || exit.Output.String() != `{"a":1,"err":{"Error":"A","Cause":"why"}}` {
		t.Error(exit, f)
	}
	if exit, f := v.Caught(&catch[MatchCatcher(catch, Failure{Error: "B"})], Failure{Error: "B"}); f != nil || exit.Output.String() != `{"Error":"B","Cause":null}` {
		t.Error(exit, f)
	}
}

func TestMatching(t *testing.T) {
	for _, c := range []struct {
		names string
		error string
		want  bool
	}{
		{"A", "A", true}, {"A", "B", false}, {ErrAll, "B", true}, {ErrAll, "", true}, {ErrAll, ErrRuntime, false}, {ErrRuntime, ErrRuntime, false},
		{ErrAll, ErrDataLimitExceeded, true}, {ErrDataLimitExceeded, ErrDataLimitExceeded, true}, {ErrTaskFailed, "X", true}, {ErrTaskFailed, ErrTimeout, false},
		{ErrTimeout, ErrHeartbeatTimeout, true}, {ErrAll, ErrTimeout, true},
	} {
		if got := MatchCatcher([]Catcher{{ErrorEquals: []string{c.names}}}, Failure{Error: c.error}) >= 0; got != c.want {
			t.Errorf("%s catches %s: %v", c.names, c.error, got)
		}
	}
	retry := []Retrier{{ErrorEquals: []string{"A"}, MaxAttempts: 1, IntervalSeconds: 2, BackoffRate: 3, MaxDelaySeconds: 10}, {ErrorEquals: []string{ErrAll}, MaxAttempts: 2, IntervalSeconds: 1, BackoffRate: 1, FullJitter: true}}
	if i, ok := MatchRetrier(retry, Failure{Error: "A"}, nil); i != 0 || !ok {
		t.Error(i, ok)
	}
	if i, ok := MatchRetrier(retry, Failure{Error: "A"}, []int{1, 0}); i != 0 || ok {
		t.Error("the first retrier is used up, and the second must not take over", i, ok)
	}
	if i, ok := MatchRetrier(retry, Failure{Error: "B"}, []int{1, 1}); i != 1 || !ok {
		t.Error(i, ok)
	}
	for n, want := range []time.Duration{2, 6, 10, 10} {
		if got := retry[0].Delay(n, 0.9); got != want*time.Second {
			t.Errorf("delay %d is %v", n, got)
		}
	}
	if got := retry[1].Delay(5, 0.25); got != time.Second/4 {
		t.Error(got)
	}
}

func TestWildcard(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{{"log-*.txt", "log-2023.txt", true}, {"log-*.txt", "log.txt", false}, {`a\*b`, "a*b", true}, {`a\*b`, "axb", false}, {"*", "", true}, {"a*b*c", "a--b--c", true}, {"a*b*c", "acb", false}, {"", "", true}, {"*a", "ba", true}, {"ab*ba", "aba", false}} {
		if got := wildcard(c.pattern, c.s); got != c.want {
			t.Errorf("%q ~ %q: %v", c.s, c.pattern, got)
		}
	}
}

func FuzzParseDefinition(f *testing.F) {
	files, _ := filepath.Glob(filepath.Join("..", "..", "shared", "asl-definitions", "valid", "*"))
	for _, name := range files {
		if text, err := os.ReadFile(name); err == nil {
			f.Add(text)
		}
	}
	f.Add([]byte(`{"StartAt":"A","States":{"A":{"Type":"Choice","Choices":[{"Not":{"Variable":"$.a","IsNull":true},"Next":"B"}]},"B":{"Type":"Fail","ErrorPath":"$.x"}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, diagnostics := Parse(text, ParseOptions{Express: len(text)%2 == 0})
		if m == nil && len(diagnostics) == 0 {
			t.Fatal("refused without a word")
		}
		for _, d := range diagnostics {
			if d.Pos.Line < 1 || d.Pos.Column < 1 || d.Pointer == "" && d.Code != CodeMissingEnd || d.Message == "" || d.Code == "" {
				t.Fatalf("incomplete: %+v", d)
			}
		}
		if m == nil {
			return
		}
		for _, name := range m.Order {
			v := &Visit{State: m.States[name], Input: jsonvalue.MustParse(`{"a":[1,{"b":"2020-01-01T00:00:00Z"}]}`), Limits: DefaultLimits}
			switch m.States[name].(type) {
			case *FailState:
				v.FailWith()
			case *PassState, *ChoiceState, *SucceedState, *WaitState:
				v.Leave()
			default:
				v.Finish(jsonvalue.MustParse(`{"x":[]}`))
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text, err := os.ReadFile(shared(b, "asl-definitions", "valid", "asl-validator--job-status-poller.json"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if m, d := Parse(text, ParseOptions{}); m == nil {
			b.Fatal(d)
		}
	}
}

// BenchmarkParseLargest checks the largest definition of the corpus.
func BenchmarkParseLargest(b *testing.B) {
	files, err := filepath.Glob(filepath.Join(shared(b, "asl-definitions"), "corpus", "*.json"))
	if err != nil || len(files) == 0 {
		b.Fatal("no corpus", err)
	}
	var text []byte
	for _, name := range files {
		t, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		if len(t) > len(text) {
			text = t
		}
	}
	text = fill(text)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	defer cputime.Report(b, "op", 1)()
	for b.Loop() {
		if m, d := Parse(text, ParseOptions{}); m == nil {
			b.Fatal(d)
		}
	}
}

func BenchmarkPass(b *testing.B) {
	m, d := Parse([]byte(`{"StartAt":"P","States":{"P":{"Type":"Pass","Parameters":{"a.$":"$.list[1].name","b":{"c.$":"States.Format('{}-{}', $.x, $.y)"}},"ResultPath":"$.out","End":true}}}`), ParseOptions{})
	if m == nil {
		b.Fatal(d)
	}
	v := &Visit{State: m.States["P"], Input: jsonvalue.MustParse(`{"list":[{"name":"one"},{"name":"two"}],"x":1,"y":"z","rest":{"more":[1,2,3,4,5,6,7,8]}}`), Limits: DefaultLimits}
	b.ReportAllocs()
	for b.Loop() {
		if _, f := v.Leave(); f != nil {
			b.Fatal(f)
		}
	}
}

func TestVariableReferences(t *testing.T) {
	m, d := Parse([]byte(`{"StartAt":"A","States":{
	 "A":{"Type":"Choice","Choices":[{"And":[{"Variable":"$guess","StringEqualsPath":"$answer"},{"Variable":"$.x","IsPresent":true}],"Next":"B"}],"Default":"B"},
	 "B":{"Type":"Map","ItemsPath":"$items","ItemSelector":{"a.$":"States.Format('{}',$x.y)"},"ItemProcessor":{"StartAt":"C","States":{"C":{"Type":"Pass","InputPath":"$inner","End":true}}},"End":true}}}`), ParseOptions{})
	if m == nil {
		t.Fatal(d)
	}
	if got := fmt.Sprint(m.VariableReferences()); got != "map[A:[answer guess] B:[items x] C:[inner]]" {
		t.Error(got)
	}
}

// TestSee tables what a visit tells of its way from input to output.
func TestSee(t *testing.T) {
	const task = `{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","End":true`
	visit := func(v *Visit) *Failure {
		f := (*Failure)(nil)
		switch v.State.(type) {
		case *TaskState:
			_, f = v.Call()
		case *ParallelState:
			_, f = v.BranchInput()
		case *MapState:
			effective, _ := v.EffectiveInput()
			var items []jsonvalue.Value
			items, f = v.Items(effective)
			for i, item := range items {
				v.ItemInput(effective, MapItem{Index: int64(i), Value: item})
			}
		case *FailState:
			v.FailWith()
			return nil
		default:
			_, f = v.Leave()
			return f
		}
		if f == nil {
			_, f = v.Finish(jsonvalue.MustParse(`{"r":9}`))
		}
		return f
	}
	for name, c := range map[string]struct{ state, want, fails string }{
		"task": {task + `,"InputPath":"$.a","Parameters":{"p.$":"$.b"},"ResultSelector":{"s.$":"$.r"},"ResultPath":"$.out","OutputPath":"$.out"}`,
			`afterInputPath={"b":1} afterParameters={"p":1} result={"r":9} afterResultSelector={"s":9} afterResultPath={"a":{"b":1},"l":[3,4],"out":{"s":9}}`, ""},
		"task without fields": {task + `}`, `afterInputPath={"a":{"b":1},"l":[3,4]} afterParameters={"a":{"b":1},"l":[3,4]} result={"r":9} afterResultSelector={"r":9} afterResultPath={"r":9}`, ""},
		"task in JSONata":     {task + `,"QueryLanguage":"JSONata","Arguments":{"p":"{% $states.input.a.b %}"},"Output":1}`, `afterArguments={"p":1} result={"r":9}`, ""},
		"up to the failure":   {task + `,"Parameters":{"p.$":"$.none"}}`, `afterInputPath={"a":{"b":1},"l":[3,4]}`, ErrRuntime},
		"no OutputPath":       {task + `,"OutputPath":"$.none"}`, `afterInputPath={"a":{"b":1},"l":[3,4]} afterParameters={"a":{"b":1},"l":[3,4]} result={"r":9} afterResultSelector={"r":9} afterResultPath={"r":9}`, ErrRuntime},
		"no Assign":           {task + `,"InputPath":"$.a","Assign":{"v.$":"$.none"}}`, `afterInputPath={"b":1} afterParameters={"b":1} result={"r":9} afterResultSelector={"r":9}`, ErrRuntime},
		"pass":                {`{"Type":"Pass","Parameters":{"p":2},"ResultPath":"$.l","OutputPath":"$.l","End":true}`, `afterInputPath={"a":{"b":1},"l":[3,4]} afterParameters={"p":2} afterResultSelector={"p":2} afterResultPath={"a":{"b":1},"l":{"p":2}}`, ""},
		"pass with Result":    {`{"Type":"Pass","InputPath":"$.a","Result":5,"End":true}`, `afterInputPath={"b":1} result=5 afterResultSelector=5 afterResultPath=5`, ""},
		"pass in JSONata":     {`{"Type":"Pass","QueryLanguage":"JSONata","Output":5,"End":true}`, ``, ""},
		"succeed":             {`{"Type":"Succeed","InputPath":"$.a"}`, `afterInputPath={"b":1}`, ""},
		"fail":                {`{"Type":"Fail"}`, `afterInputPath={"a":{"b":1},"l":[3,4]}`, ""},
		"parallel":            {`{"Type":"Parallel","Branches":[{"StartAt":"X","States":{"X":{"Type":"Succeed"}}}],"InputPath":"$.a","End":true}`, `afterInputPath={"b":1} afterParameters={"b":1} result={"r":9} afterResultSelector={"r":9} afterResultPath={"r":9}`, ""},
		"map":                 {`{"Type":"Map","ItemProcessor":{"StartAt":"X","States":{"X":{"Type":"Succeed"}}},"ItemsPath":"$.l","ItemSelector":{"v.$":"$$.Map.Item.Value"},"End":true}`, `afterInputPath={"a":{"b":1},"l":[3,4]} afterItemsPath=[3,4] afterItemSelector={"v":3} afterItemSelector={"v":4} result={"r":9} afterResultSelector={"r":9} afterResultPath={"r":9}`, ""},
		"map of its input":    {`{"Type":"Map","ItemProcessor":{"StartAt":"X","States":{"X":{"Type":"Succeed"}}},"InputPath":"$.l","End":true}`, `afterInputPath=[3,4] afterItemsPath=[3,4] result={"r":9} afterResultSelector={"r":9} afterResultPath={"r":9}`, ""},
		"map without items":   {`{"Type":"Map","ItemProcessor":{"StartAt":"X","States":{"X":{"Type":"Succeed"}}},"ItemsPath":"$.a","End":true}`, `afterInputPath={"a":{"b":1},"l":[3,4]}`, ErrRuntime},
	} {
		m, d := Parse([]byte(c.state), ParseOptions{State: "S"})
		if m == nil {
			t.Fatal(name, d)
		}
		var seen []string
		v := &Visit{State: m.States["S"], Input: jsonvalue.MustParse(`{"a":{"b":1},"l":[3,4]}`), Limits: DefaultLimits,
			See: func(step Step, value jsonvalue.Value) { seen = append(seen, string(step)+"="+value.String()) }}
		f := visit(v)
		if got := strings.Join(seen, " "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
		if f == nil && c.fails != "" || f != nil && (f.Error != c.fails || strings.Contains(f.Cause, "entered at the event")) {
			t.Errorf("%s: %v, want %q", name, f, c.fails)
		}
	}
}

// TestParseState tables what is wrong with a state alone, as far as a machine around it would make a difference.
func TestParseState(t *testing.T) {
	for text, want := range map[string]string{
		`{"Type":"Pass","Next":"Elsewhere"}`:                                                                                "",
		`{"Type":"Choice","Choices":[{"Variable":"$.a","IsNull":true,"Next":"A"}],"Default":"B"}`:                           "",
		`{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","Catch":[{"ErrorEquals":["E"],"Next":"C"}],"End":true}`: "",
		`{"Type":"Map","ItemProcessor":{"StartAt":"S","States":{"S":{"Type":"Succeed"}}},"End":true}`:                       "",
		`{"Type":"Map","ItemProcessor":{"StartAt":"S","States":{"S":{"Type":"Pass","Next":"T"}}},"End":true}`:               `MISSING_TRANSITION_TARGET: Missing 'Next' target: T at /ItemProcessor/States/S/Next`,
		`{"Type":"Pass"}`:                          `SCHEMA_VALIDATION_FAILED: One of these fields is required: [Next, End] at /`,
		`{"Type":"Pass","End":true,"Typo":1}`:      `SCHEMA_VALIDATION_FAILED: Field 'Typo' is not supported at /`,
		`{"StartAt":"A","States":{}}`:              `SCHEMA_VALIDATION_FAILED: These fields are required: [Type] at /`,
		`{"Type":"Pass","End":true,"InputPath":3}`: `SCHEMA_VALIDATION_FAILED: Expected value of type [STRING] at /InputPath`,
		`[]`: `INVALID_JSON_DESCRIPTION: Definition must be a valid JSON object at /`,
	} {
		m, d := Parse([]byte(text), ParseOptions{State: "S"})
		got := ""
		if len(d) > 0 {
			got = d[0].String()
		}
		if got != want || (m == nil) != (want != "") || m != nil && m.States["S"] == nil {
			t.Errorf("%s: %v, want %q", text, d, want)
		}
	}
}
