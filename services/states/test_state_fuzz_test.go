package states_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
)

// FuzzTestState: whatever is tested, the answer is one of the four statuses, with output where AWS gives one, or an error of
// the API; what is shown is JSON.
func FuzzTestState(f *testing.F) {
	const body = `"ItemProcessor":{"StartAt":"X","States":{"X":{"Type":"Pass","End":true}}}`
	for _, seed := range [][]string{
		{`{"Type":"Pass","InputPath":"$.a","Parameters":{"x.$":"$.b"},"ResultPath":"$.r","OutputPath":"$.r","Assign":{"v.$":"$.b"},"Next":"N"}`, `{"a":{"b":1}}`, "", `{"v":0}`, "", ""},
		{`{"Type":"Choice","QueryLanguage":"JSONata","Choices":[{"Condition":"{% $v > 1 %}","Next":"A"}],"Default":"B"}`, `{}`, "", `{"v":2}`, "", ""},
		{`{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","Parameters":{"c.$":"$$"},"ResultSelector":{"r.$":"$"},"End":true}`, `[]`, `{"Payload":1}`, "", `{"State":{"RetryCount":2}}`, ""},
		{`{"Type":"Map",` + body + `,"ItemsPath":"$.l","ItemSelector":{"v.$":"$$.Map.Item.Value"},"End":true}`, `{"l":[1,2]}`, `[1]`, "", "", ""},
		{`{"Type":"Map","ItemReader":{"Resource":"arn:aws:states:::s3:getObject","Parameters":{"Bucket":"b","Key":"k"},"ReaderConfig":{"InputType":"CSV","CSVHeaderLocation":"FIRST_ROW"}},"ItemBatcher":{"MaxItemsPerBatch":2},` +
			`"ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"EXPRESS"},"StartAt":"X","States":{"X":{"Type":"Pass","End":true}}},"End":true}`, `{}`, `[1]`, "", "", "a,b\n1,2\n"},
		{`{"Type":"Parallel","Branches":[{"StartAt":"X","States":{"X":{"Type":"Pass","End":true}}}],"Retry":[{"ErrorEquals":["States.ALL"],"JitterStrategy":"FULL"}],"End":true}`, `1`, `[2]`, "", "", ""},
		{`{"Type":"Wait","SecondsPath":"$.s","End":true}`, `{"s":3}`, "", "", "", ""},
		{`{"Type":"Fail","ErrorPath":"States.Format('{}',$.e)"}`, `{"e":"x"}`, "", "", "", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4], seed[5], len(seed[2])%2 == 0)
	}
	f.Fuzz(func(t *testing.T, definition, input, mock, variables, given, data string, fails bool) {
		in := &api.TestStateInput{Definition: definition, Input: &input, Variables: optional(variables), Context: optional(given), RoleArn: awsapi.Ptr(role), InspectionLevel: awsapi.Ptr("TRACE")}
		switch {
		case mock != "" && fails:
			in.Mock = &api.MockInput{ErrorOutput: &api.MockErrorOutput{Error: &mock}}
		case mock != "":
			in.Mock = &api.MockInput{Result: &mock}
		}
		if data != "" {
			in.StateConfiguration = &api.TestStateConfiguration{MapItemReaderData: &data}
		}
		test(t, func(t *testing.T, s *server) {
			out, err := s.TestState(t.Context(), in)
			var known *awsapi.Error
			switch {
			case errors.As(err, &known):
				return
			case err != nil:
				t.Fatalf("an error that is none of the API: %v", err)
			}
			left := out.Output != nil
			switch status := *out.Status; status {
			case "SUCCEEDED", "CAUGHT_ERROR":
				if !left || status == "CAUGHT_ERROR" && out.NextState == nil {
					t.Errorf("%s without output or next state: %+v", status, out)
				}
			case "FAILED", "RETRIABLE":
				if left || out.NextState != nil {
					t.Errorf("%s with an output: %+v", status, out)
				}
			default:
				t.Errorf("status %q", status)
			}
			d := out.InspectionData
			for name, text := range map[string]*string{"output": out.Output, "input": d.Input, "afterInputPath": d.AfterInputPath, "afterParameters": d.AfterParameters, "afterArguments": d.AfterArguments,
				"result": d.Result, "afterResultSelector": d.AfterResultSelector, "afterResultPath": d.AfterResultPath, "afterItemsPath": d.AfterItemsPath,
				"afterItemSelector": d.AfterItemSelector, "afterItemBatcher": d.AfterItemBatcher, "afterItemsPointer": d.AfterItemsPointer, "variables": d.Variables} {
				if text != nil && !json.Valid([]byte(*text)) {
					t.Errorf("%s is no JSON: %q", name, *text)
				}
			}
		})
	})
}
