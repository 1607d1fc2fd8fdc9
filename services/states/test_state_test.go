package states_test

import (
	"encoding/json"
	"strings"
	"testing"

	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
)

// TestTestState tables what the recorded cases do not show in JSONPath: retries, catchers, variables, waits.
func TestTestState(t *testing.T) {
	const task = `{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","InputPath":"$.a","Parameters":{"n.$":"$.n"},"ResultPath":"$.r",
		"Retry":[{"ErrorEquals":["E"],"IntervalSeconds":3,"MaxAttempts":2}],
		"Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":"$.e","Next":"Caught"}],"Assign":{"v.$":"$.x"},"Next":"N"}`
	for name, c := range map[string]struct{ in, want string }{
		"succeeds": {`{"definition":` + quote(task) + `,"input":"{\"a\":{\"n\":1}}","variables":"{\"u\":0}","inspectionLevel":"DEBUG","mock":{"result":"{\"x\":2}"}}`,
			`{"output":"{\"a\": {\"n\": 1}, \"r\": {\"x\": 2}}","inspectionData":{"input":"{\"a\": {\"n\": 1}}","afterInputPath":"{\"n\": 1}","afterParameters":"{\"n\": 1}",` +
				`"result":"{\"x\": 2}","afterResultSelector":"{\"x\": 2}","afterResultPath":"{\"a\": {\"n\": 1}, \"r\": {\"x\": 2}}","variables":"{\"u\": 0, \"v\": 2}"},"nextState":"N","status":"SUCCEEDED"}`},
		"is retried": {`{"definition":` + quote(task) + `,"input":"{\"a\":{\"n\":1}}","inspectionLevel":"DEBUG","stateConfiguration":{"retrierRetryCount":1},"mock":{"errorOutput":{"error":"E","cause":"c"}}}`,
			`{"error":"E","cause":"c","inspectionData":{"input":"{\"a\": {\"n\": 1}}","afterInputPath":"{\"n\": 1}","afterParameters":"{\"n\": 1}","errorDetails":{"retryIndex":0,"retryBackoffIntervalSeconds":6}},"status":"RETRIABLE"}`},
		"is caught": {`{"definition":` + quote(task) + `,"input":"{\"a\":{\"n\":1}}","mock":{"errorOutput":{"error":"F","cause":"c"}}}`,
			`{"output":"{\"a\": {\"n\": 1}, \"e\": {\"Error\": \"F\", \"Cause\": \"c\"}}","error":"F","cause":"c","nextState":"Caught","status":"CAUGHT_ERROR"}`},
		"no input": {`{"definition":` + quote(task) + `,"mock":{"result":"1"}}`,
			`{"error":"States.Runtime","cause":"Invalid path '$.a' : No results for path: $['a']","status":"FAILED"}`},
		"calls": {`{"definition":` + quote(strings.Replace(task, "$.x", "$.n", 1)) + `,"roleArn":"arn:aws:iam::000000000000:role/r","input":"{\"a\":{\"n\":1,\"x\":0}}"}`,
			`{"output":"{\"a\": {\"n\": 1, \"x\": 0}, \"r\": {\"n\": 1}}","nextState":"N","status":"SUCCEEDED"}`},
		"waits": {`{"definition":"{\"Type\":\"Wait\",\"Seconds\":60,\"Next\":\"N\"}","input":"[1,\"a,:\\\"b\"]"}`,
			`{"output":"[1, \"a,:\\\"b\"]","nextState":"N","status":"SUCCEEDED"}`},
	} {
		t.Run(name, func(t *testing.T) {
			test(t, func(t *testing.T, s *server) {
				var in api.TestStateInput
				if err := json.Unmarshal([]byte(c.in), &in); err != nil {
					t.Fatal(err)
				}
				got, err := json.Marshal(must(s.TestState(t.Context(), &in))(t))
				if err != nil || string(got) != c.want {
					t.Errorf("\n got %s\nwant %s (%v)", got, c.want, err)
				}
			})
		})
	}
}

// TestTestStateMaps tables what a distributed Map makes of its items: by the rules of its reader, selector and batcher.
func TestTestStateMaps(t *testing.T) {
	const object = `"ItemReader":{"Resource":"arn:aws:states:::s3:getObject","Parameters":{"Bucket":"b","Key":"k.gz"},"ReaderConfig":`
	const selector = `,"ItemSelector":{"i.$":"$$.Map.Item.Index","v.$":"$$.Map.Item.Value","f.$":"$$.Map.Item.Source","u.$":"$.u"}`
	for name, c := range map[string]struct{ fields, data, want string }{
		"JSON": {object + `{"InputType":"JSON"}}`, `[1,2]`, `"toleratedFailureCount":1`},
		"pointer": {object + `{"InputType":"JSON","ItemsPointer":"/a/b"}}`, `{"a":{"b":[1,2]}}`,
			`"afterItemsPointer":"[1, 2]","toleratedFailureCount":1`},
		"pointer to an object": {object + `{"InputType":"JSON","ItemsPointer":"/a"}},"ItemBatcher":{"MaxItemsPerBatch":1}`, `{"a":{"x":1,"y":2}}`,
			`"afterItemBatcher":"[{\"Items\": [{\"Key\": \"x\", \"Value\": 1}]}, {\"Items\": [{\"Key\": \"y\", \"Value\": 2}]}]","afterItemsPointer":"{\"x\": 1, \"y\": 2}","toleratedFailureCount":1`},
		"pointer to nothing": {object + `{"InputType":"JSON","ItemsPointer":"/c"}}`, `{"a":[]}`, `States.ItemReaderFailed`},
		"CSV": {object + `{"InputType":"CSV","CSVHeaderLocation":"FIRST_ROW","CSVDelimiter":"PIPE","MaxItems":1}}` + selector, "h|j\n1|\"x|y\"\n2|z\n",
			`"afterItemSelector":"[{\"i\": 0, \"v\": {\"h\": \"1\", \"j\": \"x|y\"}, \"f\": \"s3://b/k.gz\", \"u\": 7}]"`},
		"JSONL": {object + `{"InputType":"JSONL"}},"ItemBatcher":{"MaxItemsPerBatch":2,"BatchInput":{"w.$":"$.u"}}`, "1\n2\n3\n",
			`"afterItemBatcher":"[{\"BatchInput\": {\"w\": 7}, \"Items\": [1, 2]}, {\"BatchInput\": {\"w\": 7}, \"Items\": [3]}]"`},
		"Parquet": {object + `{"InputType":"PARQUET"}},"ItemBatcher":{"MaxInputBytesPerBatch":25}`, `[{"a":1},{"a":2}]`,
			`"afterItemBatcher":"[{\"Items\": [{\"a\": 1}]}, {\"Items\": [{\"a\": 2}]}]"`},
		"no data":     {object + `{"InputType":"JSON"}}`, "", `States.ItemReaderFailed`},
		"not JSON":    {object + `{"InputType":"JSON"}}`, "a,b\n", `States.ItemReaderFailed`},
		"no iterable": {object + `{"InputType":"JSON"}}`, "1", `States.ItemReaderFailed`},
		"own input": {`"ItemsPath":"$.l","ItemBatcher":{"MaxItemsPerBatch":2}` + selector, "",
			`"afterItemsPath":"[5]","afterItemSelector":"[{\"i\": 0, \"v\": 5, \"f\": \"STATE_DATA\", \"u\": 7}]","afterItemBatcher":"[{\"Items\": [{\"i\": 0, \"v\": 5, \"f\": \"STATE_DATA\", \"u\": 7}]}]"`},
	} {
		t.Run(name, func(t *testing.T) {
			test(t, func(t *testing.T, s *server) {
				definition := `{"Type":"Map","End":true,"ToleratedFailureCount":1,"ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}},` + c.fields + `}`
				input, level, result := `{"u":7,"l":[5]}`, "DEBUG", "[]"
				got, err := json.Marshal(must(s.TestState(t.Context(), &api.TestStateInput{Definition: definition, Input: &input, InspectionLevel: &level,
					Mock: &api.MockInput{Result: &result}, StateConfiguration: &api.TestStateConfiguration{MapItemReaderData: &c.data}}))(t))
				if err != nil || !strings.Contains(string(got), c.want) {
					t.Errorf("\n got %s\nwant %s (%v)", got, c.want, err)
				}
				if !strings.Contains(c.fields, "Batcher") && strings.Contains(string(got), "afterItemBatcher") || !strings.Contains(c.fields, "Pointer") && strings.Contains(string(got), "afterItemsPointer") {
					t.Errorf("more is shown than was done: %s", got)
				}
			})
		})
	}
}

// TestTestStateRules tables what the developer guide says of tests, and what follows from the recorded cases: each request
// with parts of its answer, the last of them what is not in it.
func TestTestStateRules(t *testing.T) {
	const lambda = `"Type":"Task","Resource":"arn:aws:states:::lambda:invoke"`
	const branches = `"Branches":[{"StartAt":"X","States":{"X":{"Type":"Succeed"}}}]`
	const processor = `"ItemProcessor":{"StartAt":"X","States":{"X":{"Type":"Succeed"}}}`
	const distributed = `"ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},"StartAt":"X","States":{"X":{"Type":"Pass","End":true}}}`
	const reader = `"ItemReader":{"Resource":"arn:aws:states:::s3:getObject","Parameters":{"Bucket":"b","Key":"k"},"ReaderConfig":{"InputType":"JSON"}}`
	const retry = `"Retry":[{"ErrorEquals":["A"],"MaxAttempts":0},{"ErrorEquals":["B"],"IntervalSeconds":2,"MaxAttempts":3,"BackoffRate":2,"MaxDelaySeconds":7}],"Catch":[{"ErrorEquals":["C"],"Next":"c"},{"ErrorEquals":["States.ALL"],"Next":"all"}]`
	within := func(m, inner string) string {
		return `{"StartAt":"M","States":{"M":{"Type":"Map",` + m + `"StartAt":"S","States":{"S":` + inner + `}},"End":true}}}`
	}
	for name, c := range map[string]struct {
		definition, request string
		want                []string
	}{
		// What is shown, by type of state.
		"parallel shows nothing before its result": {`{"Type":"Parallel",` + branches + `,"InputPath":"$.a","Parameters":{"p":1},"ResultSelector":{"first.$":"$[0]"},"ResultPath":"$.r","End":true}`,
			`"input":"{\"a\":1}","mock":{"result":"[5]"}`, []string{`"inspectionData":{"input":"{\"a\": 1}","afterResultSelector":"{\"first\": 5}","afterResultPath":"{\"a\": 1, \"r\": {\"first\": 5}}"}`, "afterParameters"}},
		"wait": {`{"Type":"Wait","Seconds":0,"InputPath":"$.a","End":true}`, `"input":"{\"a\":1}"`, []string{`"inspectionData":{"input":"{\"a\": 1}","afterInputPath":"1"}`, "afterResultPath"}},
		"pass up to its failure": {`{"Type":"Pass","Parameters":{"x":1},"OutputPath":"$.none","End":true}`, `"input":"{}"`, []string{`"afterParameters":"{\"x\": 1}"`, `"afterResultPath":"{\"x\": 1}"`,
			`"error":"States.Runtime"`, "entered at the event"}},
		"task up to its failure":            {`{` + lambda + `,"ResultSelector":{"x.$":"$.none"},"End":true}`, `"mock":{"result":"{\"y\":1}"}`, []string{`"result":"{\"y\": 1}"`, `"status":"FAILED"`, "afterResultSelector"}},
		"task in JSONata without Arguments": {`{` + lambda + `,"QueryLanguage":"JSONata","End":true}`, `"mock":{"result":"{}"}`, []string{`"inspectionData":{"input":"{}","result":"{}"}`, "after"}},
		"inline map": {`{"Type":"Map",` + processor + `,"ItemsPath":"$.l","ItemSelector":{"i.$":"$$.Map.Item.Index","v.$":"$$.Map.Item.Value"},"MaxConcurrencyPath":"$.m","End":true}`,
			`"input":"{\"l\":[3,4],\"m\":2}","mock":{"result":"[5,6]"}`, []string{`"afterItemsPath":"[3, 4]","afterItemSelector":"[{\"i\": 0, \"v\": 3}, {\"i\": 1, \"v\": 4}]","maxConcurrency":2`, "tolerated"}},
		"map in JSONata": {`{"Type":"Map","QueryLanguage":"JSONata",` + processor + `,"Items":"{% $states.input.l %}","ItemSelector":{"v":"{% $states.context.Map.Item.Value %}"},"End":true}`,
			`"input":"{\"l\":[3]}","mock":{"result":"[5]"}`, []string{`"inspectionData":{"input":"{\"l\": [3]}","afterItemSelector":"[{\"v\": 3}]","maxConcurrency":0}`, "afterItemsPath"}},
		// A state within a Map sees the first item.
		"in an inline map": {within(`"ItemProcessor":{`, `{"Type":"Pass","Parameters":{"m.$":"$$.Map"},"End":true}`), `"stateName":"S","input":"7"`,
			[]string{`"output":"{\"m\": {\"Item\": {\"Index\": 0, \"Value\": 7}}}"`, "Source"}},
		"in a distributed map": {within(`"ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},`, `{"Type":"Pass","QueryLanguage":"JSONata","Output":"{% $states.context.Map.Item %}","End":true}`), `"stateName":"S","input":"7"`,
			[]string{`"output":"{\"Index\": 0, \"Value\": 7, \"Source\": \"STATE_DATA\"}"`, "Key"}},
		"in a branch within a map": {within(`"ItemProcessor":{`, `{"Type":"Parallel","Branches":[{"StartAt":"P","States":{"P":{"Type":"Pass","Parameters":{"i.$":"$$.Map.Item.Index"},"End":true}}}],"End":true}`),
			`"stateName":"P"`, []string{`"output":"{\"i\": 0}"`, "FAILED"}},
		"the map itself": {within(`"ItemSelector":{"i.$":"$$.Map.Item.Index"},"ItemProcessor":{`, `{"Type":"Pass","End":true}`), `"stateName":"M","input":"[7]","mock":{"result":"[8]"}`,
			[]string{`"afterItemSelector":"[{\"i\": 0}]"`, "FAILED"}},
		"a given context has no item": {within(`"ItemProcessor":{`, `{`+lambda+`,"Parameters":{"i.$":"$$.Map.Item.Index"},"End":true}`), `"stateName":"S","context":"{}","mock":{"result":"{}"}`, []string{`"status":"FAILED"`, "SUCCEEDED"}},
		// Retries and catchers.
		"no attempts":                    {`{` + lambda + `,` + retry + `,"End":true}`, `"mock":{"errorOutput":{"error":"A"}}`, []string{`"errorDetails":{"catchIndex":1,"retryIndex":0}`, `"nextState":"all","status":"CAUGHT_ERROR"`, "Backoff"}},
		"first retry":                    {`{` + lambda + `,` + retry + `,"End":true}`, `"mock":{"errorOutput":{"error":"B","cause":"why"}}`, []string{`"error":"B","cause":"why"`, `"errorDetails":{"retryIndex":1,"retryBackoffIntervalSeconds":2}`, `"status":"RETRIABLE"`, "output"}},
		"MaxDelaySeconds":                {`{` + lambda + `,` + retry + `,"End":true}`, `"stateConfiguration":{"retrierRetryCount":2},"mock":{"errorOutput":{"error":"B"}}`, []string{`"retryBackoffIntervalSeconds":7`, "CAUGHT"}},
		"retries used up":                {`{` + lambda + `,` + retry + `,"End":true}`, `"stateConfiguration":{"retrierRetryCount":3},"mock":{"errorOutput":{"error":"B"}}`, []string{`"errorDetails":{"catchIndex":1,"retryIndex":1}`, "Backoff"}},
		"RetryCount of a context":        {`{` + lambda + `,` + retry + `,"End":true}`, `"context":"{\"State\":{\"RetryCount\":3}}","mock":{"errorOutput":{"error":"B"}}`, []string{`"status":"CAUGHT_ERROR"`, "RETRIABLE"}},
		"the count goes before it":       {`{` + lambda + `,` + retry + `,"End":true}`, `"stateConfiguration":{"retrierRetryCount":1},"context":"{\"State\":{\"RetryCount\":3}}","mock":{"errorOutput":{"error":"B"}}`, []string{`"retryBackoffIntervalSeconds":4`, "CAUGHT"}},
		"caught":                         {`{` + lambda + `,` + retry + `,"End":true}`, `"mock":{"errorOutput":{"error":"C"}}`, []string{`"errorDetails":{"catchIndex":0}`, `"output":"{\"Error\": \"C\", \"Cause\": null}"`, "retryIndex"}},
		"nothing catches States.Runtime": {`{` + lambda + `,` + retry + `,"End":true}`, `"mock":{"errorOutput":{"error":"States.Runtime"}}`, []string{`"status":"FAILED"`, "errorDetails"}},
		"a catcher's own failure":        {`{` + lambda + `,"Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":"$.a.b","Next":"n"}],"End":true}`, `"input":"{\"a\":1}","mock":{"errorOutput":{"error":"E"}}`, []string{`"error":"States.ResultPathMatchFailure"`, `"status":"FAILED"`, "errorDetails"}},
		"from within a parallel":         {`{"Type":"Parallel",` + branches + `,` + retry + `,"End":true}`, `"stateConfiguration":{"errorCausedByState":"X"},"mock":{"errorOutput":{"error":"States.TaskFailed"}}`, []string{`"errorDetails":{"catchIndex":1}`, `"nextState":"all"`, "retryIndex"}},
		// Thresholds of a distributed Map.
		"as many as may":    {`{"Type":"Map",` + distributed + `,"ToleratedFailureCount":1,"End":true}`, `"input":"[1,2]","stateConfiguration":{"mapIterationFailureCount":1},"mock":{"result":"[1,2]"}`, []string{`"toleratedFailureCount":1`, `"status":"SUCCEEDED"`, "Percentage"}},
		"more than may":     {`{"Type":"Map",` + distributed + `,"ToleratedFailureCountPath":"$[0]","End":true}`, `"input":"[1,2]","stateConfiguration":{"mapIterationFailureCount":2},"mock":{"result":"[1,2]"}`, []string{`"error":"States.ExceedToleratedFailureThreshold"`, `"toleratedFailureCount":1`, "SUCCEEDED"}},
		"percent that may":  {`{"Type":"Map",` + distributed + `,"ToleratedFailurePercentage":50,"End":true}`, `"input":"[1,2]","stateConfiguration":{"mapIterationFailureCount":1},"mock":{"result":"[1,2]"}`, []string{`"toleratedFailurePercentage":50`, `"status":"SUCCEEDED"`, "FailureCount"}},
		"more percent":      {`{"Type":"Map",` + distributed + `,"ToleratedFailurePercentage":49.5,"End":true}`, `"input":"[1,2]","stateConfiguration":{"mapIterationFailureCount":1},"mock":{"result":"[1,2]"}`, []string{`"error":"States.ExceedToleratedFailureThreshold"`, "SUCCEEDED"}},
		"percent of items":  {`{"Type":"Map",` + distributed + `,"ToleratedFailurePercentage":50,"ResultWriter":{"Resource":"arn:aws:states:::s3:putObject","Parameters":{"Bucket":"b"}},"End":true}`, `"input":"[1,2,3,4]","stateConfiguration":{"mapIterationFailureCount":2},"mock":{"result":"{\"MapRunArn\":\"a\"}"}`, []string{`"status":"SUCCEEDED"`, "FAILED"}},
		"written to output": {`{"Type":"Map",` + distributed + `,"ResultWriter":{"WriterConfig":{"Transformation":"COMPACT","OutputType":"JSON"}},"End":true}`, `"input":"[1]","mock":{"result":"[5]"}`, []string{`"output":"[5]"`, "FAILED"}},
		// Without the reader's data, the input stands for it.
		"items in the input":     {`{"Type":"Map",` + distributed + `,` + reader + `,"ItemsPath":"$.orders","ItemBatcher":{"MaxItemsPerBatch":1},"End":true}`, `"input":"{\"orders\":[3,4]}","mock":{"result":"[1]"}`, []string{`"afterItemsPath":"[3, 4]","afterItemBatcher":"[{\"Items\": [3]}, {\"Items\": [4]}]"`, "FAILED"}},
		"no items there":         {`{"Type":"Map",` + distributed + `,` + reader + `,"ItemBatcher":{"MaxItemsPerBatch":1},"End":true}`, `"input":"{\"Bucket\":\"b\"}","mock":{"result":"[1]"}`, []string{`"status":"SUCCEEDED"`, "afterItemBatcher"}},
		"an activity, mocked":    {`{"Type":"Task","Resource":"arn:aws:states:us-east-1:000000000000:activity:a","HeartbeatSeconds":5,"End":true}`, `"mock":{"result":"[1]"}`, []string{`"output":"[1]"`, "FAILED"}},
		"an activity that fails": {`{"Type":"Task","Resource":"arn:aws:states:us-east-1:000000000000:activity:a",` + retry + `,"End":true}`, `"mock":{"errorOutput":{"error":"States.HeartbeatTimeout"}}`, []string{`"nextState":"all"`, "RETRIABLE"}},
		"a token":                {`{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","Parameters":{"QueueUrl":"q","MessageBody":{"t.$":"$$.Task.Token"}},"End":true}`, `"mock":{"result":"7"}`, []string{`"output":"7"`, `"MessageBody\": {\"t\": \"`, "FAILED"}},
		"a given token":          {`{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","Parameters":{"QueueUrl":"q","MessageBody.$":"$$.Task.Token"},"End":true}`, `"context":"{\"Task\":{\"Token\":\"T\"}}","mock":{"result":"7"}`, []string{`"MessageBody\": \"T\"`, "FAILED"}},
		// Variables.
		"assigned":                  {`{"Type":"Pass","Assign":{"a.$":"$u","b":2},"End":true}`, `"variables":"{\"a\":0,\"u\":{\"x\":1}}"`, []string{`"variables":"{\"a\": {\"x\": 1}, \"u\": {\"x\": 1}, \"b\": 2}"`, "FAILED"}},
		"undeclared":                {`{"Type":"Pass","Parameters":{"a.$":"$u"},"End":true}`, `"variables":"{}"`, []string{`"status":"FAILED"`, "SUCCEEDED"}},
		"a state named as a test's": {`{"Type":"Map",` + strings.ReplaceAll(processor, `"X"`, `"StateName"`) + `,"End":true}`, `"input":"[]","mock":{"result":"[]"}`, []string{`"output":"[]"`, "FAILED"}},
	} {
		t.Run(name, func(t *testing.T) {
			test(t, func(t *testing.T, s *server) {
				var in api.TestStateInput
				if err := json.Unmarshal([]byte(`{"definition":`+quote(c.definition)+`,"inspectionLevel":"DEBUG",`+c.request+`}`), &in); err != nil {
					t.Fatal(err)
				}
				got, err := json.Marshal(must(s.TestState(t.Context(), &in))(t))
				if err != nil {
					t.Fatal(err)
				}
				last := len(c.want) - 1
				for _, want := range c.want[:last] {
					if !strings.Contains(string(got), want) {
						t.Errorf("\n got %s\nlack %s", got, want)
					}
				}
				if strings.Contains(string(got), c.want[last]) {
					t.Errorf("\n got %s\nwhich should have no %s", got, c.want[last])
				}
			})
		})
	}
}

func TestTestStateRefuses(t *testing.T) {
	const activity = `{"Type":"Task","Resource":"arn:aws:states:us-east-1:000000000000:activity:a","End":true}`
	const mapped = `{"Type":"Map","ItemProcessor":{"StartAt":"X","States":{"X":{"Type":"Succeed"}}},"End":true}`
	const sync = `{"Type":"Task","Resource":"arn:aws:states:::states:startExecution.sync","Parameters":{"StateMachineArn":"a"},"End":true}`
	for in, want := range map[string][2]string{
		`{"definition":` + quote(sync) + `}`:                                                                                                 {"ValidationException", "RoleArn must be specified when testing a Task state"},
		`{"definition":` + quote(sync) + `,"mock":{}}`:                                                                                       {"ValidationException", "A test mock should have only one of the following fields: [result, errorOutput]."},
		`{"definition":` + quote(sync) + `,"mock":{"result":"{"}}`:                                                                           {"ValidationException", "Mocked result must be valid JSON"},
		`{"definition":` + quote(sync) + `,"mock":{"result":"1"},"context":"{\"State\":{\"x\":1}}"}`:                                         {"ValidationException", "Invalid Context object provided: Field 'x' is not allowed"},
		`{"definition":"{\"Type\":\"Pass\",\"Typo\":1}","input":"{"}`:                                                                        {"InvalidDefinition", ""},
		`{"definition":"{\"Type\":\"Pass\",\"End\":true}","stateConfiguration":{"mapItemReaderData":"` + strings.Repeat("1", 262145) + `"}}`: {"ValidationException", "1 validation error detected: Value at 'stateConfiguration.mapItemReaderData' failed to satisfy constraint: Member must have length less than or equal to 262144"},
		`{"definition":` + quote(sync) + `,"mock":{"result":"1","errorOutput":{}}}`:                                                          {"ValidationException", "A test mock should have only one of the following fields: [result, errorOutput]."},
		`{"definition":` + quote(sync) + `,"mock":{"errorOutput":{}},"revealSecrets":true}`:                                                  {"ValidationException", "TestState does not support RevealSecrets when a mock is specified."},
		`{"definition":` + quote(sync) + `,"context":"{}"}`:                                                                                  {"ValidationException", "TestState does not support Context when a mock is not specified."},
		`{"definition":` + quote(sync) + `,"mock":{"result":"1"},"context":"[]"}`:                                                            {"ValidationException", "Invalid Context object provided: Context object must be a JSON object"},
		`{"definition":` + quote(sync) + `,"mock":{"result":"1"},"context":"{\"Executor\":{}}"}`:                                             {"ValidationException", "Invalid Context object provided: Field 'Executor' is not allowed"},
		`{"definition":` + quote(sync) + `,"mock":{"result":"1"},"context":"{\"Execution\":1}"}`:                                             {"ValidationException", "Invalid Context object provided: Field 'Execution' must be an object"},
		`{"definition":` + quote(sync) + `,"mock":{"result":"1"},"context":"{\"Execution\":{\"Id\":1}}"}`:                                    {"ValidationException", "Invalid Context object provided: Field 'Id' must be a string"},
		`{"definition":` + quote(sync) + `,"mock":{"result":"1"},"context":"{\"State\":{\"RetryCount\":\"1\"}}"}`:                            {"ValidationException", "Invalid Context object provided: Field 'RetryCount' must be a number"},
		`{"definition":` + quote(sync) + `,"mock":{"result":"1"},"variables":"[]"}`:                                                          {"ValidationException", "Variables must be a JSON object"},
		`{"definition":` + quote(activity) + `,"roleArn":"r"}`:                                                                               {"ValidationException", ""},
		`{"definition":` + quote(activity) + `,"mock":{"result":"1"},"context":"{\"Task\":{}}"}`:                                             {"ValidationException", "Invalid Context object provided: Context object contains 'Task' when state is not a Task state with a '.sync' or '.waitForTaskToken' service integration pattern"},
		`{"definition":` + quote(mapped) + `,"mock":{"result":"{}"}}`:                                                                        {"ValidationException", "Mocked result must be an array."},
		`{"definition":` + quote(mapped) + `,"mock":{"errorOutput":{}},"stateConfiguration":{"errorCausedByState":"Y"}}`:                     {"ValidationException", "ErrorCausedByState must name a state within the Map state, but there is none with the name 'Y'"},
		`{"definition":` + quote(mapped) + `,"input":"[1]","mock":{"result":"[1,2]"},"stateConfiguration":{"mapIterationFailureCount":2}}`:   {"ValidationException", "Map iteration failure count must be less than or equal to the number of Map iterations"},
		`{"definition":` + quote(mapped) + `,"input":"[1]","mock":{"errorOutput":{}},"stateConfiguration":{"mapIterationFailureCount":2}}`:   {"ValidationException", "Map iteration failure count must be less than or equal to the number of Map iterations"},
		`{"definition":` + quote(mapped) + `,"stateName":"X","mock":{"result":"[]"}}`:                                                        {"InvalidDefinition", ""},
		`{"definition":"{\"StartAt\":\"A\",\"States\":{\"A\":{\"Type\":\"Succeed\"}}}"}`:                                                     {"InvalidDefinition", ""},
		`{"definition":"{\"StartAt\":\"A\",\"States\":{\"A\":{\"Type\":\"Succeed\"}}}","stateName":"B"}`:                                     {"ValidationException", "State not found in definition"},
		`{"definition":"nonsense"}`:                                     {"InvalidDefinition", ""},
		`{"definition":"{\"Type\":\"Pass\",\"End\":true}","input":"{"}`: {"InvalidExecutionInput", ""},
		`{"definition":` + quote(sync) + `,"roleArn":"r"}`:              {"ValidationException", ""},
	} {
		test(t, func(t *testing.T, s *server) {
			var req api.TestStateInput
			if err := json.Unmarshal([]byte(in), &req); err != nil {
				t.Fatal(err)
			}
			_, err := s.TestState(t.Context(), &req)
			wants(t, err, want[0], want[1])
		})
	}
}

func quote(s string) string { b, _ := json.Marshal(s); return string(b) }
