package states_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	own "github.com/mayfly-run/mayfly/internal/awsapi/mayflyapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
)

// forked leaves variables in the machine and in a branch, and fails in the branch's Choice.
const forked = `{"StartAt":"Set","States":{
  "Set":{"Type":"Pass","Assign":{"who.$":"$.who","n":1},"Next":"P"},
  "P":{"Type":"Parallel","Next":"Last","Branches":[
    {"StartAt":"In","States":{"In":{"Type":"Pass","Assign":{"inner":2},"Next":"Pick"},
      "Pick":{"Type":"Choice","Choices":[{"Variable":"$.who","StringEquals":"Bob","Next":"Done"}]},
      "Done":{"Type":"Pass","Parameters":{"who.$":"$who","n.$":"$n","inner.$":"$inner","began.$":"$$.Execution.Input.who"},"End":true}}}]},
  "Last":{"Type":"Pass","End":true}}}`

const mended = `{"StartAt":"Set","States":{
  "Set":{"Type":"Pass","Assign":{"who.$":"$.who","n":1},"Next":"P"},
  "P":{"Type":"Parallel","Next":"Last","Branches":[
    {"StartAt":"In","States":{"In":{"Type":"Pass","Assign":{"inner":2},"Next":"Pick"},
      "Pick":{"Type":"Choice","Choices":[{"Variable":"$.who","StringEquals":"Bob","Next":"Done"}],"Default":"Done"},
      "Done":{"Type":"Pass","Parameters":{"who.$":"$who","n.$":"$n","inner.$":"$inner","began.$":"$$.Execution.Input.who"},"End":true}}}]},
  "Last":{"Type":"Pass","End":true}}}`

func TestRunFrom(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		m := s.create(t, "m", forked, "STANDARD")
		x := must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Input: awsapi.Ptr(`{"who":"Ada"}`)}))(t).ExecutionArn
		run := func(in own.RunFromInput) (*own.RunFromOutput, *api.DescribeExecutionOutput) {
			t.Helper()
			in.ExecutionArn = x
			out := must(s.RunFrom(ctx, &in))(t)
			synctest.Wait()
			return out, must(s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: out.ExecutionArn}))(t)
		}
		// As it was: it fails as the first did.
		out, d := run(own.RunFromInput{State: awsapi.Ptr("Pick")})
		if d.Status != "FAILED" || *d.Error != "States.Runtime" || out.Block != "/States/P/Branches[0]" || out.EventId != 8 || out.Input != `{"who":"Ada"}` ||
			out.Variables != `{"inner":2,"n":1,"who":"Ada"}` || *d.Input != `{"who":"Ada"}` || d.StateMachineArn != m {
			t.Errorf("%+v\n%+v", out, d)
		}
		// With a changed input, a variable and a name.
		out, d = run(own.RunFromInput{EventId: awsapi.Ptr[int64](8), Input: awsapi.Ptr(`{"who":"Bob"}`), Variables: awsapi.Ptr(`{"n":7}`), Name: awsapi.Ptr("again")})
		if d.Status != "SUCCEEDED" || *d.Output != `{"who":"Ada","n":7,"inner":2,"began":"Ada"}` || out.ExecutionArn != prefix+"execution:m:again" {
			t.Errorf("%+v\n%+v", out, d)
		}
		// With a changed definition, from before the fork.
		if _, d = run(own.RunFromInput{State: awsapi.Ptr("P"), Definition: awsapi.Ptr(mended)}); d.Status != "SUCCEEDED" || *d.Output != `[{"who":"Ada","n":1,"inner":2,"began":"Ada"}]` {
			t.Errorf("%+v", d)
		}
		// At a state that was never entered.
		if out, d = run(own.RunFromInput{State: awsapi.Ptr("Last"), Input: awsapi.Ptr(`{"made":"up"}`)}); d.Status != "SUCCEEDED" || *d.Output != `{"made":"up"}` || out.EventId != 0 {
			t.Errorf("%+v\n%+v", out, d)
		}
		history := must(s.GetExecutionHistory(ctx, &api.GetExecutionHistoryInput{ExecutionArn: out.ExecutionArn}))(t)
		if len(history.Events) != 4 || *history.Events[1].StateEnteredEventDetails.Input != `{"made":"up"}` || *history.Events[0].ExecutionStartedEventDetails.Input != `{"who":"Ada"}` {
			t.Errorf("%+v", history)
		}
		for _, c := range []struct {
			in            own.RunFromInput
			code, message string
		}{
			{own.RunFromInput{}, "ValidationException", "Give either"},
			{own.RunFromInput{State: awsapi.Ptr("P"), EventId: awsapi.Ptr[int64](2)}, "ValidationException", "Give either"},
			{own.RunFromInput{State: awsapi.Ptr("Last")}, "StateNotEntered", "The execution never entered a state Last"},
			{own.RunFromInput{State: awsapi.Ptr("Nowhere"), Input: awsapi.Ptr("{}")}, "ValidationException", "The definition has no state /States/Nowhere."},
			{own.RunFromInput{EventId: awsapi.Ptr[int64](1)}, "StateNotEntered", "Event 1 of the execution entered no state."},
			{own.RunFromInput{EventId: awsapi.Ptr[int64](0)}, "StateNotEntered", "Event 0"},
			{own.RunFromInput{State: awsapi.Ptr("Pick"), Definition: awsapi.Ptr(pass)}, "ValidationException", "The definition has no state /States/P/Branches[0]/States/Pick."},
			{own.RunFromInput{State: awsapi.Ptr("P"), Definition: awsapi.Ptr("{}")}, "InvalidDefinition", "Invalid State Machine Definition"},
			{own.RunFromInput{State: awsapi.Ptr("P"), Input: awsapi.Ptr("{")}, "InvalidExecutionInput", ""},
			{own.RunFromInput{State: awsapi.Ptr("P"), Variables: awsapi.Ptr("[1]")}, "ValidationException", "The variables are no JSON object."},
			{own.RunFromInput{State: awsapi.Ptr("P"), Name: awsapi.Ptr("a b")}, "InvalidName", "Invalid Name: 'a b'"},
			{own.RunFromInput{State: awsapi.Ptr("P"), Name: awsapi.Ptr("again")}, "ExecutionAlreadyExists", ""},
		} {
			c.in.ExecutionArn = x
			_, err := s.RunFrom(ctx, &c.in)
			wants(t, err, c.code, c.message)
		}
		_, err := s.RunFrom(ctx, &own.RunFromInput{ExecutionArn: prefix + "execution:m:none", State: awsapi.Ptr("P")})
		wants(t, err, "ExecutionDoesNotExist", "")
	})
}

func TestRedriveEdited(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		m := s.create(t, "m", forked, "STANDARD")
		x := must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Input: awsapi.Ptr(`{"who":"Ada"}`)}))(t).ExecutionArn
		synctest.Wait()
		redrive := func(definition string, dry bool) (*own.RedriveExecutionOutput, error) {
			return s.RedriveEdited(ctx, &own.RedriveExecutionInput{ExecutionArn: x, Definition: definition, DryRun: &dry, ClientToken: awsapi.Ptr("k")})
		}
		bad := must(redrive(pass, true))(t)
		if len(bad.Obstacles) != 1 || bad.Obstacles[0] != "The execution stands in the state /States/P, which the new definition does not have" || len(bad.Differences) != 9 {
			t.Errorf("%+v", bad)
		}
		_, err := redrive(pass, false)
		wants(t, err, "ExecutionNotRedrivable", "Execution Not Redrivable: 'The execution stands in the state /States/P,")
		_, err = redrive("{}", false)
		wants(t, err, "InvalidDefinition", "Invalid State Machine Definition")
		dry := must(redrive(mended, true))(t)
		if fmt.Sprint(dry.Differences, dry.Obstacles, dry.RedriveDate) != "[{changed /States/P/Branches[0]/States/Pick}] [] <nil>" {
			t.Errorf("%+v", dry)
		}
		if d := must(s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: x}))(t); d.Status != "FAILED" || *d.RedriveCount != 0 {
			t.Errorf("a dry run redrove it: %+v", d)
		}
		first := must(redrive(mended, false))(t)
		second := must(redrive(mended, false))(t)
		if first.RedriveDate == nil || !first.RedriveDate.Equal(*second.RedriveDate) || len(first.Differences) != 1 {
			t.Errorf("%+v, then %+v", first, second)
		}
		synctest.Wait()
		d := must(s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: x}))(t)
		if d.Status != "SUCCEEDED" || *d.Output != `[{"who":"Ada","n":1,"inner":2,"began":"Ada"}]` || *d.RedriveCount != 1 {
			t.Errorf("%+v", d)
		}
		if f := must(s.DescribeStateMachineForExecution(ctx, &api.DescribeStateMachineForExecutionInput{ExecutionArn: x}))(t); f.Definition != mended {
			t.Errorf("the execution runs %s", f.Definition)
		}
		if f := must(s.DescribeStateMachine(ctx, &api.DescribeStateMachineInput{StateMachineArn: m}))(t); f.Definition != forked {
			t.Errorf("the state machine was changed to %s", f.Definition)
		}
		if again := must(redrive(forked, true))(t); len(again.Obstacles) != 1 || again.Obstacles[0] != "Execution is SUCCEEDED and cannot be redriven" {
			t.Errorf("%+v", again)
		}
	})
}
