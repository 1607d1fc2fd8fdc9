package asl

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/asl/jsonata"
	"github.com/mayfly-run/mayfly/internal/cputime"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// TestJSONataDiagnostics tables what is refused: a state S of a machine of JSONata, and all that is said of it.
func TestJSONataDiagnostics(t *testing.T) {
	const task = `"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","End":true`
	const processor = `"ItemProcessor":{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}`
	for state, want := range map[string][]string{
		`{"Type":"Pass","End":true,"Output":{"a":[1,"{% 1 + %}"]}}`:             {`INVALID_JSONATA_EXPRESSION: Unexpected end of expression at /States/S/Output/a[1]`},
		`{"Type":"Pass","End":true,"Output":"{% 10 %"}`:                         {`INVALID_JSONATA_EXPRESSION: The expression begins with '{%' and does not end with '%}' at /States/S/Output`},
		`{"Type":"Pass","End":true,"Output":"{%}"}`:                             {`INVALID_JSONATA_EXPRESSION: The expression begins with '{%' and does not end with '%}' at /States/S/Output`},
		`{"Type":"Pass","End":true,"Output":"{%%}"}`:                            {`INVALID_JSONATA_EXPRESSION: Unexpected end of expression at /States/S/Output`},
		`{"Type":"Pass","End":true,"Output":"{% phone & phone & $$.x %}"}`:      {`UNSUPPORTED_JSONATA_EXPRESSION: Reference to '$$' is not supported. at /States/S/Output`, `UNSUPPORTED_JSONATA_EXPRESSION: Reference to 'phone' at the top level is not supported. at /States/S/Output`},
		`{"Type":"Pass","End":true,"Assign":{"a":"{% $states.result %}"}}`:      {`UNSUPPORTED_JSONATA_EXPRESSION: Field '$states.result' does not exist. at /States/S/Assign/a`},
		`{` + task + `,"Arguments":"{% $states.result & $states.other %}"}`:     {`UNSUPPORTED_JSONATA_EXPRESSION: Field '$states.result' does not exist. at /States/S/Arguments`, `UNSUPPORTED_JSONATA_EXPRESSION: Field '$states.other' does not exist. at /States/S/Arguments`},
		`{` + task + `,"Output":"{% [$states.result, $states.errorOutput] %}"}`: {`UNSUPPORTED_JSONATA_EXPRESSION: Field '$states.errorOutput' does not exist. at /States/S/Output`},
		`{` + task + `,"Catch":[{"ErrorEquals":["A"],"Next":"S","Assign":{"e":"{% $states.errorOutput %}"},"Output":"{% $states.result %}"}]}`: {
			`UNSUPPORTED_JSONATA_EXPRESSION: Field '$states.result' does not exist. at /States/S/Catch[0]/Output`},
		`{"Type":"Pass","End":true,"Parameters":{},"InputPath":"$","Result":1}`: {
			`SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONata', but field 'Parameters' is only supported for the 'JSONPath' QueryLanguage at /States/S`,
			`SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONata', but field 'InputPath' is only supported for the 'JSONPath' QueryLanguage at /States/S`,
			`SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONata', but field 'Result' is only supported for the 'JSONPath' QueryLanguage at /States/S`},
		`{"Type":"Choice","Choices":[{"Variable":"$.a","IsNull":true,"Next":"S"}],"Default":"S"}`: {
			`SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONata', but field 'Variable' is only supported for the 'JSONPath' QueryLanguage at /States/S/Choices[0]`,
			`SCHEMA_VALIDATION_FAILED: Field 'IsNull' is not supported at /States/S/Choices[0]`,
			`SCHEMA_VALIDATION_FAILED: These fields are required: [Condition] at /States/S/Choices[0]`,
			`MISSING_END_STATE: Workflow has no terminal state at null`},
		`{"Type":"Fail","Error":"{% $states.input. %}"}`:                                          {`INVALID_JSONATA_EXPRESSION: Unexpected end of expression at /States/S/Error`},
		`{"Type":"Wait","End":true,"Seconds":"soon"}`:                                             {`SCHEMA_VALIDATION_FAILED: Expected value of type [INTEGER] at /States/S/Seconds`},
		`{"Type":"Wait","End":true,"Timestamp":"{% $states.input.t %}","Seconds":1}`:              {`SCHEMA_VALIDATION_FAILED: Only one of these fields may be set: [Seconds, Timestamp] at /States/S`},
		`{"Type":"Map","End":true,"Items":1,` + processor + `}`:                                   {`SCHEMA_VALIDATION_FAILED: Expected value of type [ARRAY] at /States/S/Items`},
		`{` + task + `,"Credentials":{"RoleArn.$":"$.r"}}`:                                        {`SCHEMA_VALIDATION_FAILED: The field 'RoleArn' is required but was missing at /States/S/Credentials`},
		`{"Type":"Pass","End":true,"QueryLanguage":"JSONPath","Parameters":{"a.$":"$"}}`:          {`SCHEMA_VALIDATION_FAILED: 'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine at /States/S`},
		`{"Type":"Pass","End":true,"QueryLanguage":"JSONPath","Output":1}`:                        {`SCHEMA_VALIDATION_FAILED: 'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine at /States/S`},
		`{"Type":"Pass","End":true,"QueryLanguage":"jsonata"}`:                                    {`SCHEMA_VALIDATION_FAILED: Value should be one of the following: [JSONPath, JSONata] at /States/S/QueryLanguage`},
		`{"Type":"Pass","End":true,"QueryLanguage":1}`:                                            {`SCHEMA_VALIDATION_FAILED: Expected value of type [STRING] at /States/S/QueryLanguage`},
		`{"Type":"Pass","End":true,"Assign":{"states":1,"a.b":2}}`:                                {`SCHEMA_VALIDATION_FAILED: The variable name 'states' is reserved at /States/S/Assign`, `SCHEMA_VALIDATION_FAILED: 'a.b' is not a valid variable name at /States/S/Assign`},
		`{"Type":"Pass","End":true,"Output":{"a.$":"$","b":" {% phone %} ","c":"{% $states %}"}}`: nil,
		`{"Type":"Map","End":true,"Items":{"a":1},"MaxConcurrency":"{% 2 %}",` + processor + `}`:  nil,
	} {
		_, diagnostics := Parse([]byte(`{"QueryLanguage":"JSONata","StartAt":"S","States":{"S":`+state+`}}`), ParseOptions{})
		var got []string
		for _, d := range diagnostics {
			got = append(got, d.String())
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s\n got %s\nwant %s", state, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
}

// TestLanguages tables where which language counts: the states of branches and iterations have that of the machine.
func TestLanguages(t *testing.T) {
	const inner = `{"StartAt":"P","States":{"P":{"Type":"Pass","End":true,%s}}}`
	for _, c := range []struct {
		machine, state, inner string
		want                  bool
	}{
		{"JSONPath", "JSONata", `"Parameters":{"a.$":"$"}`, true},
		{"JSONPath", "JSONata", `"Output":1`, false},
		{"JSONPath", "JSONata", `"Output":1,"QueryLanguage":"JSONata"`, true},
		{"JSONata", "JSONata", `"Output":1`, true},
		{"JSONata", "JSONata", `"Parameters":{}`, false},
	} {
		text := fmt.Sprintf(`{"QueryLanguage":%q,"StartAt":"M","States":{"M":{"Type":"Map","QueryLanguage":%q,"Items":[1],"ItemProcessor":`+inner+`,"Next":"B"},
			"B":{"Type":"Parallel","QueryLanguage":%q,"Output":"{%% $states.result %%}","Branches":[%s],"End":true}}}`, c.machine, c.state, c.inner, c.state, strings.Replace(fmt.Sprintf(inner, c.inner), `"P"`, `"Q"`, 2))
		if m, d := Parse([]byte(text), ParseOptions{}); (m != nil) != c.want {
			t.Errorf("%+v: accepted: %v %v", c, m != nil, d)
		}
	}
}

// visitOf is a visit of the first state of a machine of JSONata.
func visitOf(t testing.TB, state, input string) *Visit {
	t.Helper()
	m, d := Parse([]byte(`{"QueryLanguage":"JSONata","StartAt":"S","States":{"S":`+state+`,"N":{"Type":"Succeed"}}}`), ParseOptions{})
	for _, x := range d {
		if !strings.Contains(x.Message, "reachable") {
			t.Fatal(state, d)
		}
	}
	if m == nil { // N is there for those that go to it
		if m, d = Parse([]byte(`{"QueryLanguage":"JSONata","StartAt":"S","States":{"S":`+state+`}}`), ParseOptions{}); m == nil {
			t.Fatal(state, d)
		}
	}
	vars := map[string]jsonvalue.Value{"v": jsonvalue.Int(7), "floor": jsonvalue.Str("mine"), "n": jsonvalue.Null}
	return &Visit{State: m.States["S"], Entered: 5, Input: jsonvalue.MustParse(input), Context: jsonvalue.MustParse(`{"State":{"Name":"S"}}`), Limits: DefaultLimits,
		Now: time.Unix(1700000000, 0).UTC(), Vars: func(name string) (jsonvalue.Value, bool) { value, ok := vars[name]; return value, ok }}
}

// TestJSONataLeaving tables the way out of states: what stands in Output and Assign, and what of it goes on.
func TestJSONataLeaving(t *testing.T) {
	const begin = "An error occurred while executing the state 'S' (entered at the event id #5). "
	for _, c := range []struct{ state, input, want string }{
		{`{"Type":"Pass","Next":"N"}`, `{"a":1}`, `{"a":1} [] N`},
		{`{"Type":"Pass","Next":"N","Assign":{"v":"{% $states.input.a %}","old":"{% $v %}"},"Output":{"x":"{% $v %}","y":[" {% 1 %}","{%2%}"]}}`, `{"a":1}`, `{"x":7,"y":[" {% 1 %}",2]} [v=1 old=7] N`},
		{`{"Type":"Pass","End":true,"Output":"{% $states %}"}`, `[1.0]`, `{"input":[1.0],"context":{"State":{"Name":"S"}}} [] `},
		// AWS: numbers follow JavaScript's doubles: an integer beyond 2^53 that an expression gives is the nearest one.
		{`{"Type":"Pass","End":true,"Output":"{% $states.input.id %}"}`, `{"id":9007199254740993}`, `9007199254740992 [] `},
		{`{"Type":"Pass","End":true,"Output":"{% $floor %}"}`, `1`, `"mine" [] `},
		{`{"Type":"Pass","End":true,"Output":"{% $now() %}"}`, `1`, `"2023-11-14T22:13:20.000Z" [] `},
		{`{"Type":"Succeed","Output":null}`, `1`, `null [] `},
		{`{"Type":"Wait","Seconds":1,"End":true,"Output":"{% $n %}"}`, `1`, `null [] `},
		{`{"Type":"Choice","Choices":[{"Condition":"{% $states.input > 1 %}","Next":"N","Assign":{"r":1}},{"Condition":true,"Next":"N","Output":"second"}],"Output":"state"}`, `2`, `2 [r=1] N`},
		{`{"Type":"Choice","Choices":[{"Condition":"{% $states.input > 1 %}","Next":"N"},{"Condition":true,"Next":"N","Output":"second"}],"Output":"state"}`, `1`, `"second" [] N`},
		{`{"Type":"Choice","Choices":[{"Condition":false,"Next":"N"}],"Default":"N","Output":"{% $states.input %}","Assign":{"d":2}}`, `1`, `1 [d=2] N`},
		{`{"Type":"Choice","Choices":[{"Condition":false,"Next":"N"}]}`, `1`, `States.Runtime@- ` + begin + `Failed to transition out of the state. The state does not point to a next state.`},
		{`{"Type":"Choice","Choices":[{"Condition":"{% 'yes' %}","Next":"N"}]}`, `1`, `States.QueryEvaluationError@Choices[0]/Condition ` + begin +
			`The JSONata expression ''yes'' specified for the field 'Choices[0]/Condition' returned an unexpected result type. Expected 'boolean', but was 'string' for value: "yes"`},
		{`{"Type":"Choice","Choices":[{"Condition":true,"Next":"N","Assign":{"a":{"b":"{% $nil %}"}}}]}`, `1`, `States.QueryEvaluationError@Choices[0]/Assign/a/b ` + begin +
			`The JSONata expression '$nil' specified for the field 'Choices[0]/Assign/a/b' returned nothing (undefined).`},
		{`{"Type":"Pass","End":true,"Output":["{% function($x){$x} %}"]}`, `1`, `States.QueryEvaluationError@Output[0] ` + begin + `The JSONata expression 'function($x){$x}' specified for the field 'Output[0]' returned an unsupported result type.`},
		{`{"Type":"Pass","End":true,"Output":"{% $eval('1') %}"}`, `1`, `States.QueryEvaluationError@Output ` + begin + `The JSONata expression '$eval('1')' specified for the field 'Output' threw an error during evaluation. T1006: Attempted to invoke a non-function`},
		{`{"Type":"Pass","End":true,"Output":"{% ` + strings.Repeat("(", 100) + `1` + strings.Repeat(")", 100) + ` %}"}`, `1`, `States.QueryEvaluationError@Output ` + begin + `The JSONata expression '` + strings.Repeat("(", 100) + `1` + strings.Repeat(")", 100) +
			`' specified for the field 'Output' threw an error during evaluation: Stack overflow error: Check for non-terminating recursive function. Consider rewriting as tail-recursive. Depth=101 max=100`},
		{`{"Type":"Pass","End":true,"Output":"{% ($f := function($x){ $f($x+1) }; $f(1)) %}"}`, `1`, `States.QueryEvaluationError@Output ` + begin +
			`The JSONata expression '($f := function($x){ $f($x+1) }; $f(1))' specified for the field 'Output' threw an error during evaluation: Expression evaluation timeout: Check for infinite loop`},
		{`{"Type":"Pass","End":true,"Output":"{% [1..900000] ~> $count() %}"}`, `1`, `States.QueryEvaluationError@Output ` + begin +
			`The JSONata expression '[1..900000] ~> $count()' specified for the field 'Output' threw an error during evaluation: Expression evaluation memory limit exceeded: Check for excessive memory usage`},
		{`{"Type":"Pass","End":true,"Output":"{% $pad('', 200000) & $pad('', 200000) %}"}`, `1`, `States.DataLimitExceeded@- The state/task 'S' returned a result with a size exceeding the maximum number of bytes service limit.`},
	} {
		v := visitOf(t, c.state, c.input)
		v.Limits.Expression.Steps = 100_000
		if got := exitText(v.Leave()); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.state, got, c.want)
		}
	}
}

func exitText(e Exit, f *Failure) string {
	if f != nil {
		return failureText(f)
	}
	var assigned []string
	for _, a := range e.Assign {
		assigned = append(assigned, a.Name+"="+a.Value.String())
	}
	return fmt.Sprintf("%s %v %s", e.Output, assigned, e.Next)
}

func failureText(f *Failure) string {
	location := "-"
	if f.Evaluation != nil {
		location = f.Evaluation.Location
	}
	return f.Error + "@" + location + " " + f.Cause
}

// TestJSONataFields tables the fields that want a value of a kind: each state with what one of its steps gives.
func TestJSONataFields(t *testing.T) {
	const task = `"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","End":true`
	const processor = `"ItemProcessor":{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}`
	unexpected := func(field, expr, want, was, value string) string {
		return fmt.Sprintf("States.QueryEvaluationError@%s The JSONata expression '%s' specified for the field '%s' returned an unexpected result type. Expected '%s', but was '%s' for value: %s", field, expr, field, want, was, value)
	}
	steps := map[string]func(*Visit) (any, *Failure){
		"arguments": func(v *Visit) (any, *Failure) { x, f := v.arguments(WorkOf(v.State), v.Input); return x, f },
		"role":      func(v *Visit) (any, *Failure) { x, f := v.role(v.State.(*TaskState), v.Input); return x, f },
		"timeouts":  func(v *Visit) (any, *Failure) { x, f := v.timeouts(v.State.(*TaskState), v.Input); return x, f },
		"items":     func(v *Visit) (any, *Failure) { x, f := v.Items(v.Input); return x, f },
		"item": func(v *Visit) (any, *Failure) {
			x, f := v.ItemInput(v.Input, MapItem{Index: 3, Value: jsonvalue.Str("i")})
			return x, f
		},
		"most":  func(v *Visit) (any, *Failure) { x, f := v.MaxConcurrency(v.Input); return x, f },
		"until": func(v *Visit) (any, *Failure) { x, f := v.WaitUntil(v.Now); return x.Format(time.RFC3339), f },
		"finish": func(v *Visit) (any, *Failure) {
			x, f := v.Finish(jsonvalue.MustParse(`{"r":1}`))
			return exitText(x, f), nil
		},
		"caught": func(v *Visit) (any, *Failure) {
			x, f := v.Caught(&WorkOf(v.State).Catch[0], Failure{Error: "E"})
			return exitText(x, f), nil
		},
		"fail": func(v *Visit) (any, *Failure) {
			if f := v.FailWith(); f.Evaluation != nil {
				return nil, &f
			} else {
				return f.Error + ": " + f.Cause, nil
			}
		},
	}
	for _, c := range []struct{ step, state, input, want string }{
		{"arguments", `{` + task + `}`, `{"a":1}`, `{"a":1}`},
		{"arguments", `{` + task + `,"Arguments":{"p":"{% $states.input.a %}","q":"$.a"}}`, `{"a":1}`, `{"p":1,"q":"$.a"}`},
		{"arguments", `{` + task + `,"Arguments":{"p":"{% $states.input.b %}"}}`, `{"a":1}`, `States.QueryEvaluationError@Arguments/p The JSONata expression '$states.input.b' specified for the field 'Arguments/p' returned nothing (undefined).`},
		{"role", `{` + task + `,"Credentials":{"RoleArn":"{% $states.input %}"}}`, `"r"`, `r`},
		{"role", `{` + task + `,"Credentials":{"RoleArn":"{% $states.input %}"}}`, `1`, `States.QueryEvaluationError@Credentials/RoleArn The Credentials/RoleArn field must be a string, but was 'number' for value: 1`},
		{"timeouts", `{` + task + `,"TimeoutSeconds":"{% $v * 2 %}","HeartbeatSeconds":3}`, `1`, `{14s 3s}`},
		{"timeouts", `{` + task + `,"TimeoutSeconds":"{% 'x' %}"}`, `1`, unexpected("TimeoutSeconds", "'x'", "number", "string", `"x"`)},
		{"timeouts", `{` + task + `,"TimeoutSeconds":"{% 1.5 %}"}`, `1`, `States.QueryEvaluationError@TimeoutSeconds The TimeoutSeconds field cannot be parsed as an integer: 1.5`},
		{"timeouts", `{` + task + `,"HeartbeatSeconds":"{% -1 %}"}`, `1`, `States.QueryEvaluationError@HeartbeatSeconds HeartbeatSeconds must be between 0 and 99999999 but was: -1`},
		{"items", `{"Type":"Map","End":true,` + processor + `}`, `[1,2]`, `[1 2]`},
		{"items", `{"Type":"Map","End":true,` + processor + `}`, `{}`, `States.QueryEvaluationError@ Map state input must be an array but was: {}`},
		{"items", `{"Type":"Map","End":true,"Items":[1,"{% $v %}"],` + processor + `}`, `0`, `[1 7]`},
		{"items", `{"Type":"Map","End":true,"Items":"{% $v %}",` + processor + `}`, `0`, unexpected("Items", "$v", "array", "number", "7")},
		{"item", `{"Type":"Map","End":true,"ItemSelector":{"i":"{% $states.context.Map.Item %}","v":"{% $states.input %}"},` + processor + `}`, `0`, `{"i":{"Index":3,"Value":"i"},"v":0}`},
		{"most", `{"Type":"Map","End":true,"MaxConcurrency":"{% $v %}",` + processor + `}`, `0`, `7`},
		{"most", `{"Type":"Map","End":true,"MaxConcurrency":"{% true %}",` + processor + `}`, `0`, unexpected("MaxConcurrency", "true", "number", "boolean", "true")},
		{"until", `{"Type":"Wait","End":true,"Seconds":"{% $states.input %}"}`, `60`, `2023-11-14T22:14:20Z`},
		{"until", `{"Type":"Wait","End":true,"Seconds":"{% $states.input %}"}`, `1e9`, `States.QueryEvaluationError@Seconds Seconds must be between 0 and 99999999 but was: 1000000000`},
		{"until", `{"Type":"Wait","End":true,"Timestamp":"{% $states.input %}"}`, `"2024-01-01T00:00:00Z"`, `2024-01-01T00:00:00Z`},
		{"until", `{"Type":"Wait","End":true,"Timestamp":"{% $states.input %}"}`, `"soon"`, `States.QueryEvaluationError@Timestamp The Timestamp field cannot be parsed as an ISO-8601 extended offset date-time format string: soon`},
		{"finish", `{` + task + `}`, `0`, `{"r":1} [] `},
		{"finish", `{` + task + `,"Output":"{% $states.input %}","Assign":{"r":"{% $states.result.r %}"}}`, `0`, `0 [r=1] `},
		{"caught", `{` + task + `,"Catch":[{"ErrorEquals":["E"],"Next":"S"}]}`, `0`, `{"Error":"E","Cause":null} [] S`},
		{"caught", `{` + task + `,"Catch":[{"ErrorEquals":["E"],"Next":"S","Output":"{% $states.input %}","Assign":{"e":"{% $states.errorOutput.Error %}"}}]}`, `0`, `0 [e="E"] S`},
		{"fail", `{"Type":"Fail","Error":"{% $states.input %}","Cause":"plain"}`, `"E"`, `E: plain`},
		{"fail", `{"Type":"Fail","Error":"E","Cause":"{% $states.input %}"}`, `1`, unexpected("Cause", "$states.input", "string", "number", "1")},
	} {
		value, f := steps[c.step](visitOf(t, c.state, c.input))
		got := fmt.Sprint(value)
		if f != nil {
			got = strings.Replace(failureText(f), "An error occurred while executing the state 'S' (entered at the event id #5). ", "", 1)
		}
		if got != c.want {
			t.Errorf("%s of %s\n got %s\nwant %s", c.step, c.state, got, c.want)
		}
	}
}

func TestJSONataReferences(t *testing.T) {
	m, d := Parse([]byte(`{"QueryLanguage":"JSONata","StartAt":"A","States":{
	 "A":{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","Arguments":{"a":"{% $x & $sum($y) & $states.input.z %}"},"TimeoutSeconds":"{% $t %}","Catch":[{"ErrorEquals":["E"],"Next":"B","Output":"{% $c %}"}],"Next":"B"},
	 "B":{"Type":"Choice","Choices":[{"Condition":"{% ($local := 1; $local = $g) %}","Next":"C"}],"Default":"C"},"C":{"Type":"Pass","End":true,"Output":"{% $states.context.Execution.Id %}"}}}`), ParseOptions{})
	if m == nil {
		t.Fatal(d)
	}
	if got := fmt.Sprint(m.VariableReferences()); got != "map[A:[c t x y] B:[g]]" {
		t.Error(got)
	}
	for name, want := range map[string]bool{"A": false, "B": false, "C": true} {
		if m.States[name].Base().ReadsContext != want {
			t.Errorf("%s reads the context: %v", name, !want)
		}
	}
}

// FuzzQuery puts an expression into every field that takes one: it is refused with a diagnostic, or evaluated within its
// budget.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{`{% $states.input.a %}`, `{% $states %}`, `{% [1..3].($ * 2) %}`, `{%`, `{% $v := function($x){$x} %}`, `{% $map($states.input.b, function($i){ $i & "x" }) %}`,
		`{% $states.input ~> |a|{"c": 1}| %}`, `{% $uuid() & $random() & $now() %}`, `{% $$ %}`, ` {% 1 %}`, `{% 1/0 %}`, `{% $range(1,1,1) %}`, `{% $states.context.State.Name %}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x := jsonvalue.Str(text).String()
		for _, state := range []string{
			`{"Type":"Pass","End":true,"Output":{"a":[X]},"Assign":{"v":X}}`,
			`{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","End":true,"Arguments":X,"Output":X,"TimeoutSeconds":X,"Credentials":{"RoleArn":X},"Catch":[{"ErrorEquals":["E"],"Next":"S","Output":X}]}`,
			`{"Type":"Wait","End":true,"Timestamp":X}`, `{"Type":"Fail","Error":X,"Cause":X}`, `{"Type":"Choice","Choices":[{"Condition":X,"Next":"S"}],"Default":"S"}`,
			`{"Type":"Map","End":true,"Items":X,"MaxConcurrency":X,"ItemSelector":X,"ItemProcessor":{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}}`,
		} {
			m, diagnostics := Parse([]byte(`{"QueryLanguage":"JSONata","StartAt":"S","States":{"S":`+strings.ReplaceAll(state, "X", x)+`}}`), ParseOptions{})
			for _, d := range diagnostics {
				if d.Pos.Line < 1 || d.Pos.Column < 1 || d.Pointer == "" && d.Code != CodeMissingEnd || d.Message == "" || d.Code == "" {
					t.Fatalf("incomplete: %+v", d)
				}
			}
			if m == nil {
				if len(diagnostics) == 0 {
					t.Fatal("refused without a word")
				}
				continue
			}
			m.VariableReferences()
			v := &Visit{State: m.States["S"], Input: jsonvalue.MustParse(`{"a":1,"b":[1,"2",null]}`), Limits: DefaultLimits}
			v.Limits.Expression = jsonata.Limits{Steps: 20000, Depth: 100, Bytes: 1 << 20}
			switch v.State.(type) {
			case *TaskState:
				v.timeouts(v.State.(*TaskState), v.Input)
				v.arguments(WorkOf(v.State), v.Input)
				v.role(v.State.(*TaskState), v.Input)
				v.Finish(v.Input)
				v.Caught(&WorkOf(v.State).Catch[0], Failure{Error: "E"})
			case *MapState:
				v.MaxConcurrency(v.Input)
				v.Items(v.Input)
				v.ItemInput(v.Input, MapItem{Value: v.Input})
			case *FailState:
				v.FailWith()
			case *WaitState:
				v.WaitUntil(time.Unix(0, 0))
				v.Leave()
			default:
				v.Leave()
			}
		}
	})
}

// BenchmarkQuery measures one Pass state of JSONata with one expression, with states of 1 KB and 200 KB.
func BenchmarkQuery(b *testing.B) {
	for _, size := range []int{1 << 10, 200 << 10} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			v := visitOf(b, `{"Type":"Pass","End":true,"Output":"{% $sum($states.input.orders.(price * quantity)) %}"}`,
				`{"orders":[{"price":10,"quantity":2},{"price":2.5,"quantity":4}],"text":"`+strings.Repeat("x", size)+`"}`)
			b.ReportAllocs()
			defer cputime.Report(b, "op", 1)()
			for b.Loop() {
				if e, f := v.Leave(); f != nil || e.Output.Float() != 30 {
					b.Fatal(e, f)
				}
			}
		})
	}
}
