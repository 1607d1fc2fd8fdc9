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

func TestTestStateRefuses(t *testing.T) {
	const sync = `{"Type":"Task","Resource":"arn:aws:states:::states:startExecution.sync","Parameters":{"StateMachineArn":"a"},"End":true}`
	for in, want := range map[string][2]string{
		`{"definition":` + quote(sync) + `}`:                                                                                                 {"ValidationException", "RoleArn must be specified when testing a Task state"},
		`{"definition":` + quote(sync) + `,"mock":{}}`:                                                                                       {"ValidationException", "A test mock should have only one of the following fields: [result, errorOutput]."},
		`{"definition":` + quote(sync) + `,"mock":{"result":"{"}}`:                                                                           {"ValidationException", "Mocked result must be valid JSON"},
		`{"definition":` + quote(sync) + `,"mock":{"result":"1"},"context":"{\"State\":{\"x\":1}}"}`:                                         {"ValidationException", "Invalid Context object provided: Field 'x' is not allowed"},
		`{"definition":"{\"Type\":\"Pass\",\"Typo\":1}","input":"{"}`:                                                                        {"InvalidDefinition", ""},
		`{"definition":"{\"Type\":\"Pass\",\"End\":true}","stateConfiguration":{"mapItemReaderData":"` + strings.Repeat("1", 262145) + `"}}`: {"ValidationException", "1 validation error detected: Value at 'stateConfiguration.mapItemReaderData' failed to satisfy constraint: Member must have length less than or equal to 262144"},
		`{"definition":"nonsense"}`:                                                                                                          {"InvalidDefinition", ""},
		`{"definition":"{\"Type\":\"Pass\",\"End\":true}","input":"{"}`:                                                                      {"InvalidExecutionInput", ""},
		`{"definition":` + quote(sync) + `,"roleArn":"r"}`:                                                                                   {"ValidationException", ""},
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
