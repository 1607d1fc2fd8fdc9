package states_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
)

// TestQuotas: what is refused where there are too many already, and done again where one has gone.
func TestQuotas(t *testing.T) {
	withLimits(t, "machines=2,activities=1,versions=1,aliases=1,tags=2,executions=2,definition=2KiB", func(t *testing.T, s *server) {
		ctx := t.Context()
		m := s.create(t, "m", wait, "STANDARD")
		e := s.create(t, "e", pass, "EXPRESS")
		create := func(name string) error {
			_, err := s.CreateStateMachine(ctx, &api.CreateStateMachineInput{Name: name, Definition: pass, RoleArn: role})
			return err
		}
		fails(t, create("n"), "StateMachineLimitExceeded", "must be deleted")
		if s.create(t, "m", wait, "STANDARD") != m { // repeated: none is made
			t.Error("m is another")
		}
		must(s.DeleteStateMachine(ctx, &api.DeleteStateMachineInput{StateMachineArn: e}))(t)
		if err := create("n"); err != nil {
			t.Errorf("after a deletion: %v", err)
		}

		activity := func(name string, tags ...api.Tag) error {
			_, err := s.CreateActivity(ctx, &api.CreateActivityInput{Name: name, Tags: tags})
			return err
		}
		tag := func(k string) api.Tag { return api.Tag{Key: &k, Value: awsapi.Ptr("v")} }
		fails(t, activity("a", tag("1"), tag("2"), tag("3")), "TooManyTags", "(2)")
		if err := activity("a", tag("1"), tag("2")); err != nil {
			t.Fatal(err)
		}
		fails(t, activity("b"), "ActivityLimitExceeded", "must be deleted")
		must(s.DeleteActivity(ctx, &api.DeleteActivityInput{ActivityArn: prefix + "activity:a"}))(t)
		if err := activity("b"); err != nil {
			t.Errorf("after a deletion: %v", err)
		}

		long := strings.Replace(wait, `{"StartAt"`, `{"Comment":"`+strings.Repeat("x", 2048)+`","StartAt"`, 1)
		_, err := s.UpdateStateMachine(ctx, &api.UpdateStateMachineInput{StateMachineArn: m, Definition: &long})
		fails(t, err, "ValidationException", "less than or equal to 2048")
		_, err = s.ValidateStateMachineDefinition(ctx, &api.ValidateStateMachineDefinitionInput{Definition: long})
		fails(t, err, "ValidationException", "less than or equal to 2048")

		v := must(s.PublishStateMachineVersion(ctx, &api.PublishStateMachineVersionInput{StateMachineArn: m}))(t).StateMachineVersionArn
		must(s.UpdateStateMachine(ctx, &api.UpdateStateMachineInput{StateMachineArn: m, RoleArn: awsapi.Ptr(role + "2")}))(t)
		_, err = s.PublishStateMachineVersion(ctx, &api.PublishStateMachineVersionInput{StateMachineArn: m})
		fails(t, err, "ServiceQuotaExceededException", "has 1 versions")
		alias := func(name string) error {
			_, err := s.CreateStateMachineAlias(ctx, &api.CreateStateMachineAliasInput{Name: name, RoutingConfiguration: []api.RoutingConfigurationListItem{{StateMachineVersionArn: v, Weight: 100}}})
			return err
		}
		if err := alias("one"); err != nil {
			t.Fatal(err)
		}
		fails(t, alias("two"), "ServiceQuotaExceededException", "has 1 aliases")

		begin := func(name string) error {
			_, err := s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Name: &name})
			return err
		}
		for _, name := range []string{"1", "2"} {
			if err := begin(name); err != nil {
				t.Fatal(err)
			}
		}
		fails(t, begin("3"), "ExecutionLimitExceeded", "maximum number of running executions")
		must(s.StopExecution(ctx, &api.StopExecutionInput{ExecutionArn: prefix + "execution:m:1"}))(t)
		if err := begin("4"); err != nil {
			t.Errorf("after one has ended: %v", err)
		}
		_, err = s.RedriveExecution(ctx, &api.RedriveExecutionInput{ExecutionArn: prefix + "execution:m:1"})
		fails(t, err, "ExecutionLimitExceeded", "")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		must(s.RedriveExecution(ctx, &api.RedriveExecutionInput{ExecutionArn: prefix + "execution:m:1"}))(t)
	})
}

// TestQuotasAfterRestart: what counts is counted anew.
func TestQuotasAfterRestart(t *testing.T) {
	restarted(t, "machines=1,activities=1,executions=1",
		func(t *testing.T, s *server) {
			m := s.create(t, "m", wait, "STANDARD")
			must(s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: m}))(t)
			must(s.CreateActivity(t.Context(), &api.CreateActivityInput{Name: "a"}))(t)
		},
		func(t *testing.T, s *server) {
			_, err := s.CreateStateMachine(t.Context(), &api.CreateStateMachineInput{Name: "n", Definition: pass, RoleArn: role})
			fails(t, err, "StateMachineLimitExceeded", "")
			_, err = s.CreateActivity(t.Context(), &api.CreateActivityInput{Name: "b"})
			fails(t, err, "ActivityLimitExceeded", "")
			_, err = s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: prefix + "stateMachine:m"})
			fails(t, err, "ExecutionLimitExceeded", "")
		})
}

// TestPollers: one more worker than may wait for an activity is sent away.
func TestPollers(t *testing.T) {
	withLimits(t, "pollers=1", func(t *testing.T, s *server) {
		a := must(s.CreateActivity(t.Context(), &api.CreateActivityInput{Name: "a"}))(t).ActivityArn
		done := make(chan error)
		go func() {
			_, err := s.GetActivityTask(t.Context(), &api.GetActivityTaskInput{ActivityArn: a})
			done <- err
		}()
		synctest.Wait()
		_, err := s.GetActivityTask(t.Context(), &api.GetActivityTaskInput{ActivityArn: a})
		fails(t, err, "ActivityWorkerLimitExceeded", "")
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestMapRunQuotas: a map run waits until there are fewer, and starts no more children at once than may be.
func TestMapRunQuotas(t *testing.T) {
	withLimits(t, "map-runs=1,map-concurrency=1", func(t *testing.T, s *server) {
		ctx := t.Context()
		s.create(t, "m", mapped, "STANDARD")
		for _, name := range []string{"a", "b"} {
			must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: prefix + "stateMachine:m", Name: &name, Input: awsapi.Ptr(`[1,2]`)}))(t)
			synctest.Wait()
		}
		for range 4 {
			token := <-s.echo.tokens
			synctest.Wait()
			if n := len(s.echo.tokens); n != 0 {
				t.Fatalf("%d children more than one at once", n)
			}
			must(s.SendTaskSuccess(ctx, &api.SendTaskSuccessInput{TaskToken: token, Output: "1"}))(t)
		}
		synctest.Wait()
		for _, name := range []string{"a", "b"} {
			if d := must(s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: prefix + "execution:m:" + name}))(t); d.Status != "SUCCEEDED" {
				t.Errorf("%s: %s", name, d.Status)
			}
		}
	})
}

// TestTestStateLimits: TestState has the limits that executions have.
func TestTestStateLimits(t *testing.T) {
	large := `"` + strings.Repeat("x", 300_000) + `"`
	in := &api.TestStateInput{Definition: `{"Type":"Pass","End":true}`, Input: &large, RoleArn: awsapi.Ptr(role)}
	long := &api.TestStateInput{Definition: `{"Type":"Wait","Seconds":400,"End":true}`, RoleArn: awsapi.Ptr(role)}
	withLimits(t, "aws", func(t *testing.T, s *server) {
		_, err := s.TestState(t.Context(), in)
		fails(t, err, "InvalidExecutionInput", "")
		if out := must(s.TestState(t.Context(), long))(t); awsapi.Val(out.Error) != "States.Timeout" {
			t.Errorf("%+v", out)
		}
	})
	withLimits(t, "relaxed", func(t *testing.T, s *server) {
		if out := must(s.TestState(t.Context(), in))(t); awsapi.Val(out.Output) != large {
			t.Errorf("%+v", awsapi.Val(out.Error))
		}
		if out := must(s.TestState(t.Context(), long))(t); awsapi.Val(out.Status) != "SUCCEEDED" {
			t.Errorf("%+v", out)
		}
	})
}

// TestMapItems: a map run reads no more items than it may have.
func TestMapItems(t *testing.T) {
	withLimits(t, "map-items=2", func(t *testing.T, s *server) {
		s.create(t, "m", strings.Replace(mapped, `"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","Parameters":{"t.$":"$$.Task.Token"}`, `"Type":"Pass"`, 1), "STANDARD")
		x := must(s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: prefix + "stateMachine:m", Input: awsapi.Ptr(`[1,2,3]`)}))(t).ExecutionArn
		synctest.Wait()
		if d := must(s.DescribeExecution(t.Context(), &api.DescribeExecutionInput{ExecutionArn: x}))(t); awsapi.Val(d.Output) != "[1,2]" {
			t.Errorf("%s %s", d.Status, awsapi.Val(d.Output))
		}
	})
}
