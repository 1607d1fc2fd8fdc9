package states_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
)

const callback = `{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","Parameters":{"t.$":"$$.Task.Token"},"End":true}}}`

func TestRedriveExecution(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		m := s.create(t, "m", callback, "STANDARD")
		must(s.UpdateStateMachine(ctx, &api.UpdateStateMachineInput{StateMachineArn: m, LoggingConfiguration: &api.LoggingConfiguration{Level: awsapi.Ptr("ALL"),
			Destinations: []api.LogDestination{{CloudWatchLogsLogGroup: &api.CloudWatchLogsLogGroup{LogGroupArn: awsapi.Ptr("arn:aws:logs:us-east-1:000000000000:log-group:g:*")}}}}}))(t)
		x := must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Name: awsapi.Ptr("e")}))(t).ExecutionArn
		describe := func() *api.DescribeExecutionOutput {
			t.Helper()
			return must(s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: x}))(t)
		}
		redrive := func(token string) (*api.RedriveExecutionOutput, error) {
			return s.RedriveExecution(ctx, &api.RedriveExecutionInput{ExecutionArn: x, ClientToken: &token})
		}
		old := <-s.echo.tokens
		if d := describe(); *d.RedriveStatus != "NOT_REDRIVABLE" || *d.RedriveStatusReason != "Execution is RUNNING and cannot be redriven" || *d.RedriveCount != 0 || d.RedriveDate != nil {
			t.Errorf("%+v", d)
		}
		_, err := redrive("k")
		wants(t, err, "ExecutionNotRedrivable", "Execution Not Redrivable: 'Execution is RUNNING and cannot be redriven'")
		must(s.SendTaskFailure(ctx, &api.SendTaskFailureInput{TaskToken: old, Error: awsapi.Ptr("No")}))(t)
		synctest.Wait()
		if d := describe(); d.Status != "FAILED" || *d.RedriveStatus != "REDRIVABLE" || d.RedriveStatusReason != nil || *d.Error != "No" {
			t.Errorf("%+v", d)
		}
		time.Sleep(time.Hour)
		at := must(redrive("k"))(t).RedriveDate
		if !at.Equal(time.Now()) {
			t.Errorf("redriven at %v", at)
		}
		if d := describe(); d.Status != "RUNNING" || *d.RedriveCount != 1 || !d.RedriveDate.Equal(at) || d.StopDate != nil || d.Error != nil {
			t.Errorf("%+v", d)
		}
		if again := must(redrive("k"))(t).RedriveDate; !again.Equal(at) {
			t.Errorf("repeated at %v", again)
		}
		_, err = s.SendTaskSuccess(ctx, &api.SendTaskSuccessInput{TaskToken: old, Output: "1"})
		wants(t, err, "TaskTimedOut", "")
		must(s.SendTaskSuccess(ctx, &api.SendTaskSuccessInput{TaskToken: <-s.echo.tokens, Output: "2"}))(t)
		synctest.Wait() // the token may be back before the submission is known
		if d := describe(); d.Status != "SUCCEEDED" || *d.Output != "2" || *d.RedriveStatusReason != "Execution is SUCCEEDED and cannot be redriven" {
			t.Errorf("%+v", d)
		}
		page := must(s.ListExecutions(ctx, &api.ListExecutionsInput{StateMachineArn: &m, StatusFilter: awsapi.Ptr("SUCCEEDED")}))(t)
		if len(page.Executions) != 1 || *page.Executions[0].RedriveCount != 1 || !page.Executions[0].RedriveDate.Equal(at) {
			t.Errorf("%+v", page)
		}
		var redriven *api.HistoryEvent
		for _, e := range must(s.GetExecutionHistory(ctx, &api.GetExecutionHistoryInput{ExecutionArn: x}))(t).Events {
			if e.Type == "ExecutionRedriven" {
				redriven = &e
			}
		}
		if redriven == nil || *redriven.ExecutionRedrivenEventDetails.RedriveCount != 1 {
			t.Errorf("%+v", redriven)
		}
		synctest.Wait()
		s.logs.mu.Lock()
		lines := strings.Join(s.logs.lines, "\n")
		s.logs.mu.Unlock()
		if strings.Count(lines, `"redrive_count":"0"`) != 7 || strings.Count(lines, `"redrive_count":"1"`) != 7 {
			t.Errorf("logged %s", lines)
		}
		_, err = redrive("another")
		wants(t, err, "ExecutionNotRedrivable", "Execution Not Redrivable: 'Execution is SUCCEEDED and cannot be redriven'")
		_, err = s.RedriveExecution(ctx, &api.RedriveExecutionInput{ExecutionArn: prefix + "execution:m:none"})
		wants(t, err, "ExecutionDoesNotExist", "Execution Does Not Exist: '"+prefix+"execution:m:none'")
		_, err = s.RedriveExecution(ctx, &api.RedriveExecutionInput{ExecutionArn: prefix + "express:m:e:u"})
		wants(t, err, "InvalidArn", "Invalid Arn: 'Resource type not valid in this context: express'")
		_, err = s.RedriveExecution(ctx, &api.RedriveExecutionInput{ExecutionArn: "nope"})
		wants(t, err, "InvalidArn", "Invalid Arn: 'Invalid ARN prefix: nope'")
	})
}

// TestRedrivePeriod: what was stopped can be redriven for fourteen days, and while its state machine is there.
func TestRedrivePeriod(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		m := s.create(t, "m", wait, "STANDARD")
		var arns []string
		for _, name := range []string{"late", "orphan"} {
			x := must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Name: &name}))(t).ExecutionArn
			must(s.StopExecution(ctx, &api.StopExecutionInput{ExecutionArn: x}))(t)
			arns = append(arns, x)
		}
		time.Sleep(14 * 24 * time.Hour)
		must(s.RedriveExecution(ctx, &api.RedriveExecutionInput{ExecutionArn: arns[1]}))(t)
		must(s.StopExecution(ctx, &api.StopExecutionInput{ExecutionArn: arns[1]}))(t)
		time.Sleep(time.Second)
		refused := func(x, reason string) {
			t.Helper()
			if d := must(s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: x}))(t); *d.RedriveStatus != "NOT_REDRIVABLE" || *d.RedriveStatusReason != reason {
				t.Errorf("%+v", d)
			}
			_, err := s.RedriveExecution(ctx, &api.RedriveExecutionInput{ExecutionArn: x})
			wants(t, err, "ExecutionNotRedrivable", "Execution Not Redrivable: '"+reason+"'")
		}
		refused(arns[0], "Execution redrivable period exceeded")
		must(s.DeleteStateMachine(ctx, &api.DeleteStateMachineInput{StateMachineArn: m}))(t)
		refused(arns[1], "State machine is in DELETING status")
	})
}

// TestRedriveRepeated: a call with a request key that is repeated after a crash redrives once.
func TestRedriveRepeated(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		m := s.create(t, "m", wait, "STANDARD")
		x := must(s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: m}))(t).ExecutionArn
		must(s.StopExecution(t.Context(), &api.StopExecutionInput{ExecutionArn: x}))(t)
		ctx := awscall.WithCall(t.Context(), awscall.Call{Service: "states", Operation: "RedriveExecution", RequestKey: "execution/x/7/0"}, time.Now())
		first := must(s.RedriveExecution(ctx, &api.RedriveExecutionInput{ExecutionArn: x}))(t)
		time.Sleep(time.Second)
		second := must(s.RedriveExecution(ctx, &api.RedriveExecutionInput{ExecutionArn: x}))(t)
		if !first.RedriveDate.Equal(second.RedriveDate) {
			t.Errorf("%v, then %v", first.RedriveDate, second.RedriveDate)
		}
	})
}
