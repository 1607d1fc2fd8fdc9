package states_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/integration/mocktask"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/services/states"
	"github.com/mayfly-run/mayfly/store/memory"
)

// Twice visits Call two times, and each visit retries once; then it waits for a token.
const twice = `{"StartAt": "Call", "States": {
  "Call": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "f"}, "ResultPath": "$.call", "Next": "Again?",
    "Retry": [{"ErrorEquals": ["Busy"], "MaxAttempts": 2}]},
  "Again?": {"Type": "Choice", "Choices": [{"Variable": "$.call", "NumericEquals": 1, "Next": "Call"}, {"Variable": "$.call", "NumericEquals": 9, "Next": "Worker"}], "Default": "Token"},
  "Token": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "Parameters": {"QueueUrl": "q", "MessageBody": "b"}, "ResultPath": "$.token", "End": true},
  "Worker": {"Type": "Task", "Resource": "arn:aws:states:us-east-1:000000000000:activity:a", "End": true}}}`

const mockFile = `{"StateMachines": {"m": {"TestCases": {
    "fine": {"Call": "busy", "Token": "token"}, "short": {"Call": "short"}, "worker": {"Worker": "token"}, "choice": {"Again?": "token"}, "gone": {"Gone": "token"}}}},
  "MockedResponses": {
    "busy": {"0": {"Throw": {"Error": "Busy", "Cause": ""}}, "1": {"Return": 1}, "2": {"Throw": {"Error": "Busy"}}, "3": {"Return": 2}},
    "short": {"0": {"Throw": {"Error": "Busy"}}},
    "token": {"0": {"Return": {"told": true}}}}}`

func TestMocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "mocks.json")
		if err := os.WriteFile(file, []byte(mockFile), 0o666); err != nil {
			t.Fatal(err)
		}
		mocks, err := mocktask.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		st := memory.New()
		defer st.Close()
		loop := durable.New(durable.Config{Store: st})
		e, err := engine.New(t.Context(), engine.Config{Store: st, Loop: loop, Integrations: mocks.Integration(echo{})})
		if err != nil {
			t.Fatal(err)
		}
		s := &server{Service: states.New(states.Config{Store: st, Engine: e, Mocks: mocks.Check})}
		if err := loop.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer loop.Stop()
		defer e.Stop()
		arn := s.create(t, "m", twice, "STANDARD")
		end := func(testCase string) *api.DescribeExecutionOutput {
			x := must(s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: arn + "#" + testCase}))(t)
			for {
				d := must(s.DescribeExecution(t.Context(), &api.DescribeExecutionInput{ExecutionArn: x.ExecutionArn}))(t)
				if d.Status != "RUNNING" {
					return d
				}
				time.Sleep(time.Second)
			}
		}
		if d := end("fine"); d.Status != "SUCCEEDED" || *d.Output != `{"call":2,"token":{"told":true}}` || d.StateMachineArn != arn {
			t.Errorf("%+v", d)
		}
		if d := end("short"); d.Status != "FAILED" || *d.Error != "States.Runtime" || !strings.Contains(*d.Cause, `"short" has no number 1`) {
			t.Errorf("%s %s", d.Status, *d.Cause)
		}
		for testCase, want := range map[string]string{
			"none": "but choice, fine", "": "must follow the #", "worker": "waits for a worker", "choice": "is no Task", "gone": `has no state "Gone"`,
		} {
			_, err := s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: arn + "#" + testCase})
			fails(t, err, "ValidationException", want)
		}
		s.create(t, "other", pass, "STANDARD")
		_, err = s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: prefix + "stateMachine:other#fine"})
		fails(t, err, "ValidationException", `has no state machine "other", but m`)
	})
}
