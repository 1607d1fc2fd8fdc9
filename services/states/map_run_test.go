package states_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
)

const mapped = `{"StartAt":"M","States":{"M":{"Type":"Map","Label":"all","MaxConcurrency":2,"ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},
  "StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","Parameters":{"t.$":"$$.Task.Token"},"End":true}}},"End":true}}}`

// TestMapRun follows a map run of three items through an update, a failure and a redrive.
func TestMapRun(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		m := s.create(t, "m", mapped, "STANDARD")
		x := must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Name: awsapi.Ptr("e"), Input: awsapi.Ptr(`[1,2,3]`)}))(t).ExecutionArn
		synctest.Wait()
		runs := must(s.ListMapRuns(ctx, &api.ListMapRunsInput{ExecutionArn: x}))(t).MapRuns
		if len(runs) != 1 || !strings.HasPrefix(runs[0].MapRunArn, prefix+"mapRun:m/all:") || runs[0].ExecutionArn != x || runs[0].StateMachineArn != prefix+"stateMachine:m/all" || runs[0].StopDate != nil {
			t.Fatalf("%+v", runs)
		}
		run := runs[0].MapRunArn
		describe := func() *api.DescribeMapRunOutput {
			t.Helper()
			synctest.Wait()
			return must(s.DescribeMapRun(ctx, &api.DescribeMapRunInput{MapRunArn: run}))(t)
		}
		children := func(status, redriven string) []api.ExecutionListItem {
			t.Helper()
			var out []api.ExecutionListItem
			var token *string
			for {
				in := &api.ListExecutionsInput{MapRunArn: &run, MaxResults: awsapi.Ptr[int64](1), NextToken: token}
				if status != "" {
					in.StatusFilter = &status
				}
				if redriven != "" {
					in.RedriveFilter = &redriven
				}
				page := must(s.ListExecutions(ctx, in))(t)
				out = append(out, page.Executions...)
				if token = page.NextToken; token == nil {
					return out
				}
			}
		}
		if d := describe(); d.Status != "RUNNING" || d.MaxConcurrency != 2 || d.ItemCounts.Running != 2 || d.ItemCounts.Pending != 1 || d.ItemCounts.Total != 3 || d.ExecutionCounts.Total != 3 {
			t.Errorf("%+v %+v", d, d.ItemCounts)
		}
		first, second := <-s.echo.tokens, <-s.echo.tokens
		_, err := s.UpdateMapRun(ctx, &api.UpdateMapRunInput{MapRunArn: run})
		wants(t, err, "ValidationException", "")
		must(s.UpdateMapRun(ctx, &api.UpdateMapRunInput{MapRunArn: run, MaxConcurrency: awsapi.Ptr[int64](5), ToleratedFailureCount: awsapi.Ptr[int64](1)}))(t)
		third := <-s.echo.tokens
		if d := describe(); d.ItemCounts.Running != 3 || d.MaxConcurrency != 5 || d.ToleratedFailureCount != 1 {
			t.Errorf("%+v", d)
		}
		list := children("RUNNING", "")
		if len(list) != 3 || *list[0].MapRunArn != run || *list[0].ItemCount != 1 || !strings.HasPrefix(list[0].ExecutionArn, prefix+"execution:m/all:") {
			t.Fatalf("%+v", list)
		}
		child := must(s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: list[0].ExecutionArn}))(t)
		if child.StateMachineArn != prefix+"stateMachine:m/all" || *child.MapRunArn != run {
			t.Errorf("%+v", child)
		}
		of := must(s.DescribeStateMachineForExecution(ctx, &api.DescribeStateMachineForExecutionInput{ExecutionArn: list[0].ExecutionArn}))(t)
		if *of.MapRunArn != run || *of.Label != "all" || !strings.HasPrefix(of.Definition, `{"ProcessorConfig"`) || of.Name != "m/all" {
			t.Errorf("%+v", of)
		}
		if all := must(s.ListExecutions(ctx, &api.ListExecutionsInput{StateMachineArn: &m}))(t).Executions; len(all) != 1 || all[0].ExecutionArn != x {
			t.Errorf("children are listed with their machine: %+v", all)
		}
		must(s.SendTaskFailure(ctx, &api.SendTaskFailureInput{TaskToken: first, Error: awsapi.Ptr("No")}))(t)
		if d := describe(); d.Status != "RUNNING" || d.ItemCounts.Failed != 1 || d.ItemCounts.Running != 2 {
			t.Errorf("%+v", d.ItemCounts)
		}
		must(s.SendTaskFailure(ctx, &api.SendTaskFailureInput{TaskToken: second, Error: awsapi.Ptr("No")}))(t)
		if d := describe(); d.Status != "FAILED" || d.StopDate == nil || d.ItemCounts.Failed != 2 || d.ItemCounts.Aborted != 1 || d.ItemCounts.Total != 3 {
			t.Errorf("%+v %+v", d, d.ItemCounts)
		}
		_, err = s.SendTaskSuccess(ctx, &api.SendTaskSuccessInput{TaskToken: third, Output: "3"})
		wants(t, err, "TaskTimedOut", "")
		_, err = s.UpdateMapRun(ctx, &api.UpdateMapRunInput{MapRunArn: run, MaxConcurrency: awsapi.Ptr[int64](1)})
		wants(t, err, "ValidationException", "")
		failed := children("FAILED", "")
		if len(failed) != 2 || len(children("ABORTED", "")) != 1 || len(children("", "REDRIVEN")) != 0 {
			t.Errorf("%+v", failed)
		}
		d := must(s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: failed[0].ExecutionArn}))(t)
		if *d.RedriveStatus != "REDRIVABLE_BY_MAP_RUN" || *d.Error != "No" {
			t.Errorf("%+v", d)
		}
		_, err = s.RedriveExecution(ctx, &api.RedriveExecutionInput{ExecutionArn: failed[0].ExecutionArn})
		wants(t, err, "ExecutionNotRedrivable", "")
		parent := must(s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: x}))(t)
		if parent.Status != "FAILED" || *parent.Error != "States.ExceedToleratedFailureThreshold" || *parent.Cause != "The specified tolerated failure threshold was exceeded" {
			t.Errorf("%+v", parent)
		}

		time.Sleep(time.Minute)
		must(s.UpdateStateMachine(ctx, &api.UpdateStateMachineInput{StateMachineArn: m, Definition: awsapi.Ptr(wait)}))(t) // the run keeps its own
		must(s.RedriveExecution(ctx, &api.RedriveExecutionInput{ExecutionArn: x}))(t)
		if d := describe(); d.Status != "RUNNING" || *d.RedriveCount != 1 || d.RedriveDate == nil || d.ItemCounts.Running != 3 || d.ItemCounts.Total != 3 {
			t.Errorf("%+v %+v", d, d.ItemCounts)
		}
		if n := len(children("RUNNING", "REDRIVEN")); n != 3 {
			t.Errorf("%d children are redriven", n)
		}
		for range 3 {
			must(s.SendTaskSuccess(ctx, &api.SendTaskSuccessInput{TaskToken: <-s.echo.tokens, Output: "7"}))(t)
		}
		if d := describe(); d.Status != "SUCCEEDED" || d.ItemCounts.Succeeded != 3 || d.ItemCounts.Total != 3 {
			t.Errorf("%+v %+v", d, d.ItemCounts)
		}
		parent = must(s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: x}))(t)
		if parent.Status != "SUCCEEDED" || *parent.Output != "[7,7,7]" {
			t.Errorf("%+v", parent)
		}
		var types []string
		for _, e := range must(s.GetExecutionHistory(ctx, &api.GetExecutionHistoryInput{ExecutionArn: x}))(t).Events {
			types = append(types, e.Type)
			if e.Type == "MapRunRedriven" && (*e.MapRunRedrivenEventDetails.MapRunArn != run || *e.MapRunRedrivenEventDetails.RedriveCount != 1) {
				t.Errorf("%+v", e.MapRunRedrivenEventDetails)
			}
		}
		if got := strings.Join(types, " "); got != "ExecutionStarted MapStateEntered MapStateStarted MapRunStarted MapRunFailed MapStateFailed ExecutionFailed "+
			"ExecutionRedriven MapRunRedriven MapRunSucceeded MapStateSucceeded MapStateExited ExecutionSucceeded" {
			t.Error(got)
		}
		_, err = s.DescribeMapRun(ctx, &api.DescribeMapRunInput{MapRunArn: run + "x"})
		wants(t, err, "ResourceNotFound", "")
		_, err = s.DescribeMapRun(ctx, &api.DescribeMapRunInput{MapRunArn: x})
		wants(t, err, "InvalidArn", "")
	})
}

// TestMapRunStops: who stops an execution stops its map run and the children.
func TestMapRunStops(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		m := s.create(t, "m", mapped, "STANDARD")
		x := must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Name: awsapi.Ptr("e"), Input: awsapi.Ptr(`[1,2,3]`)}))(t).ExecutionArn
		old := <-s.echo.tokens
		<-s.echo.tokens
		run := must(s.ListMapRuns(ctx, &api.ListMapRunsInput{ExecutionArn: x}))(t).MapRuns[0].MapRunArn
		must(s.StopExecution(ctx, &api.StopExecutionInput{ExecutionArn: x}))(t)
		synctest.Wait()
		d := must(s.DescribeMapRun(ctx, &api.DescribeMapRunInput{MapRunArn: run}))(t)
		if d.Status != "ABORTED" || d.ItemCounts.Aborted != 2 || d.ItemCounts.Pending != 1 || d.ItemCounts.Total != 3 {
			t.Errorf("%+v %+v", d, d.ItemCounts)
		}
		list := must(s.ListExecutions(ctx, &api.ListExecutionsInput{MapRunArn: &run}))(t).Executions
		if len(list) != 2 || list[0].Status != "ABORTED" || list[1].Status != "ABORTED" {
			t.Errorf("%+v", list)
		}
		_, err := s.SendTaskSuccess(ctx, &api.SendTaskSuccessInput{TaskToken: old, Output: "3"})
		wants(t, err, "TaskTimedOut", "")
		must(s.RedriveExecution(ctx, &api.RedriveExecutionInput{ExecutionArn: x}))(t)
		for range 3 {
			must(s.SendTaskSuccess(ctx, &api.SendTaskSuccessInput{TaskToken: <-s.echo.tokens, Output: "7"}))(t)
		}
		synctest.Wait()
		if d := must(s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: x}))(t); d.Status != "SUCCEEDED" || *d.Output != "[7,7,7]" {
			t.Errorf("%+v", d)
		}
	})
}
