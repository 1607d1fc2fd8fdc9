package states_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/services/states"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

// echo is an integration whose calls answer with their input; callbacks wait for their token, which it keeps.
type echo struct{ tokens chan string }

func (e echo) Start(ctx context.Context, t integration.Task) (integration.Result, error) {
	if t.Resource.Pattern.Submits() {
		e.tokens <- t.Token
		return integration.Result{Running: true, Output: t.Input}, nil
	}
	if t.Resource.Service == "http" { // an API that takes its time
		time.Sleep(90 * time.Second)
	}
	return integration.Result{Output: t.Input}, nil
}
func (echo) Poll(context.Context, integration.Job) (integration.Result, error) {
	return integration.Result{Running: true}, nil
}
func (echo) Cancel(context.Context, integration.Job) error { return nil }
func (echo) Watches(integration.Job) []string              { return nil }

type server struct {
	*states.Service
	echo echo
	logs logGroup
	stop func()
}

// logGroup is a log service with one group, "g".
type logGroup struct {
	mu    sync.Mutex
	lines []string
}

func (l *logGroup) Invoke(_ context.Context, c awscall.Call) (map[string]any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch c.Operation {
	case "DescribeLogGroups":
		return map[string]any{"logGroups": []any{map[string]any{"logGroupName": "g"}}}, nil
	case "CreateLogStream":
		return nil, awsapi.Errorf(400, "ResourceAlreadyExistsException", "")
	}
	for _, e := range c.Input["logEvents"].([]any) {
		l.lines = append(l.lines, fmt.Sprint(c.Input["logStreamName"], " ", e.(map[string]any)["message"]))
	}
	return nil, nil
}

func start(t *testing.T, st store.Store) *server { return startWith(t, st, execution.DefaultLimits) }

func startWith(t *testing.T, st store.Store, limits execution.Limits) *server {
	t.Helper()
	s := &server{echo: echo{make(chan string, 10)}}
	loop := durable.New(durable.Config{Store: st})
	expressStore := memory.New()
	express := durable.New(durable.Config{Store: expressStore})
	e, err := engine.New(t.Context(), engine.Config{Store: st, Loop: loop, ExpressLoop: express, Integrations: s.echo, Limits: limits,
		Observe: func(x *execution.Snapshot, facts []execution.Fact) { s.Observe(x, facts) }})
	if err != nil {
		t.Fatal(err)
	}
	s.Service = states.New(states.Config{Store: st, Engine: e, Calls: &s.logs})
	for _, start := range []func(context.Context) error{s.Service.Start, loop.Start, express.Start, e.Start} {
		if err := start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.stop = func() { e.Stop(); loop.Stop(); express.Stop(); expressStore.Close() }
	return s
}

func test(t *testing.T, f func(t *testing.T, s *server)) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New()
		s := start(t, st)
		f(t, s)
		s.stop()
		st.Close()
	})
}

const (
	prefix = "arn:aws:states:us-east-1:000000000000:"
	role   = "arn:aws:iam::000000000000:role/r"
	pass   = `{"StartAt":"A","States":{"A":{"Type":"Pass","Result":{"a":1},"End":true}}}`
	wait   = `{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":600,"End":true}}}`
)

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (s *server) create(t *testing.T, name, definition, kind string) string {
	t.Helper()
	return must(s.CreateStateMachine(t.Context(), &api.CreateStateMachineInput{Name: name, Definition: definition, RoleArn: role, Type: &kind}))(t).StateMachineArn
}

func wants(t *testing.T, err error, code, message string) {
	t.Helper()
	var e *awsapi.Error
	if !errors.As(err, &e) || e.Code != code || !strings.HasPrefix(e.Message, message) {
		t.Errorf("got %v; want %s: %s", err, code, message)
	}
}

func TestMachines(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		m := s.create(t, "one", pass, "STANDARD")
		first := must(s.DescribeStateMachine(ctx, &api.DescribeStateMachineInput{StateMachineArn: m}))(t)
		if first.Definition != pass || *first.Status != "ACTIVE" || first.RevisionId != nil || *first.LoggingConfiguration.Level != "OFF" || first.VariableReferences != nil {
			t.Errorf("%+v", first)
		}
		time.Sleep(time.Second)
		if again := must(s.CreateStateMachine(ctx, &api.CreateStateMachineInput{Name: "one", Definition: pass, RoleArn: role + "/other"}))(t); !again.CreationDate.Equal(first.CreationDate) {
			t.Error("a repeated creation made another machine")
		}
		_, err := s.CreateStateMachine(ctx, &api.CreateStateMachineInput{Name: "one", Definition: pass + " ", RoleArn: role})
		wants(t, err, "StateMachineAlreadyExists", "State Machine Already Exists: '"+m+"'")
		_, err = s.CreateStateMachine(ctx, &api.CreateStateMachineInput{Name: "a b", Definition: pass, RoleArn: role})
		wants(t, err, "InvalidName", "Invalid Name: 'a b'")
		_, err = s.CreateStateMachine(ctx, &api.CreateStateMachineInput{Name: "x", Definition: pass, RoleArn: "arn:aws:iam::000000000000:user/u"})
		wants(t, err, "InvalidArn", "Invalid Role Arn: 'arn:aws:iam::000000000000:user/u'")
		_, err = s.UpdateStateMachine(ctx, &api.UpdateStateMachineInput{StateMachineArn: m, RoleArn: awsapi.Ptr("r")})
		wants(t, err, "InvalidArn", "Invalid Role Arn: 'r'")
		_, err = s.CreateStateMachine(ctx, &api.CreateStateMachineInput{Name: "a\uffff", Definition: pass, RoleArn: role})
		wants(t, err, "InvalidName", "Invalid Name: 'a\uffff'")
		_, err = s.CreateStateMachine(ctx, &api.CreateStateMachineInput{Name: "x", Definition: `{"StartAt":"A"}`, RoleArn: role})
		wants(t, err, "InvalidDefinition", "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: These fields are required: [States] at /'")
		_, err = s.CreateStateMachine(ctx, &api.CreateStateMachineInput{Name: "x", Definition: pass, RoleArn: role, LoggingConfiguration: &api.LoggingConfiguration{Level: awsapi.Ptr("ALL")}})
		wants(t, err, "InvalidLoggingConfiguration", "Invalid Logging Configuration: Must specify exactly one Log Destination.")
		_, err = s.UpdateStateMachine(ctx, &api.UpdateStateMachineInput{StateMachineArn: m})
		wants(t, err, "MissingRequiredParameter", "Either the definition")
		u := must(s.UpdateStateMachine(ctx, &api.UpdateStateMachineInput{StateMachineArn: m, Definition: awsapi.Ptr(wait)}))(t)
		same := must(s.UpdateStateMachine(ctx, &api.UpdateStateMachineInput{StateMachineArn: m, Definition: awsapi.Ptr(wait)}))(t)
		if *u.RevisionId == "" || *u.RevisionId != *same.RevisionId {
			t.Errorf("revisions %v, %v", *u.RevisionId, *same.RevisionId)
		}
		for i := range 5 {
			time.Sleep(time.Second)
			s.create(t, fmt.Sprint("m", i), pass, "STANDARD")
		}
		names := ""
		var token *string
		for {
			page := must(s.ListStateMachines(ctx, &api.ListStateMachinesInput{MaxResults: awsapi.Ptr[int64](2), NextToken: token}))(t)
			for _, x := range page.StateMachines {
				names += x.Name + " "
			}
			if token = page.NextToken; token == nil {
				break
			}
		}
		if names != "m4 m3 m2 m1 m0 one " {
			t.Errorf("listed %s", names)
		}
		_, err = s.ListStateMachines(ctx, &api.ListStateMachinesInput{NextToken: awsapi.Ptr("zzz")})
		wants(t, err, "InvalidToken", "Invalid Token")
		x := must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Name: awsapi.Ptr("running")}))(t)
		for range 2 {
			must(s.DeleteStateMachine(ctx, &api.DeleteStateMachineInput{StateMachineArn: m}))(t)
		}
		_, err = s.DescribeStateMachine(ctx, &api.DescribeStateMachineInput{StateMachineArn: m})
		wants(t, err, "StateMachineDoesNotExist", "State Machine Does Not Exist: '"+m+"'")
		if d := must(s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: x.ExecutionArn}))(t); d.Status != "ABORTED" {
			t.Errorf("after the deletion the execution is %s", d.Status)
		}
		if f := must(s.DescribeStateMachineForExecution(ctx, &api.DescribeStateMachineForExecutionInput{ExecutionArn: x.ExecutionArn}))(t); f.Definition != wait {
			t.Errorf("%+v", f)
		}
		_, err = s.DescribeStateMachine(ctx, &api.DescribeStateMachineInput{StateMachineArn: "nope"})
		wants(t, err, "InvalidArn", "Invalid Arn: 'Invalid ARN prefix: nope'")
		v := must(s.ValidateStateMachineDefinition(ctx, &api.ValidateStateMachineDefinitionInput{Definition: `{"States":{"S":{"Type":"Pass","End":true}}}`}))(t)
		if v.Result != "FAIL" || len(v.Diagnostics) != 1 || *v.Diagnostics[0].Location != "/" || v.Diagnostics[0].Message != "These fields are required: [StartAt]" {
			t.Errorf("%+v", v)
		}
	})
}

func TestExecutions(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		m := s.create(t, "m", pass, "STANDARD")
		started := must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Name: awsapi.Ptr("e"), Input: awsapi.Ptr(` {"x" : 1} `)}))(t)
		if started.ExecutionArn != prefix+"execution:m:e" {
			t.Error(started.ExecutionArn)
		}
		synctest.Wait()
		d := must(s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: started.ExecutionArn}))(t)
		if d.Status != "SUCCEEDED" || *d.Output != `{"a":1}` || *d.RedriveStatusReason != "Execution is SUCCEEDED and cannot be redriven" || d.StopDate == nil {
			t.Errorf("%+v", d)
		}
		for text, want := range map[string]string{"not some json": "Unrecognized token 'not': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')'",
			"{'not': 'json'": "Unexpected character (''' (code 39)): was expecting double-quote to start field name'", "": "Invalid execution input.'"} {
			_, err := s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Input: &text})
			wants(t, err, "InvalidExecutionInput", "Invalid State Machine Execution Input: '"+want)
		}
		_, err := s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m + "x"})
		wants(t, err, "StateMachineDoesNotExist", "State Machine Does Not Exist")
		_, err = s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Name: awsapi.Ptr("e")})
		wants(t, err, "ExecutionAlreadyExists", "Execution Already Exists: '"+started.ExecutionArn+"'")
		_, err = s.StartSyncExecution(ctx, &api.StartSyncExecutionInput{StateMachineArn: m})
		wants(t, err, "StateMachineTypeNotSupported", "This operation is not supported by this type of state machine")
		_, err = s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: prefix + "express:m:e:u"})
		wants(t, err, "InvalidArn", "Invalid Arn: 'Resource type not valid in this context: express'")
		_, err = s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: prefix + "execution:m:none"})
		wants(t, err, "ExecutionDoesNotExist", "Execution Does Not Exist")
		read := func(reverse bool, size int64) (ids string) {
			var token *string
			for {
				page := must(s.GetExecutionHistory(ctx, &api.GetExecutionHistoryInput{ExecutionArn: started.ExecutionArn, ReverseOrder: &reverse, MaxResults: &size, NextToken: token}))(t)
				for _, e := range page.Events {
					ids += fmt.Sprint(e.Id)
				}
				ids += " "
				if token = page.NextToken; token == nil {
					return ids
				}
			}
		}
		if a, b, c := read(false, 3), read(true, 3), read(false, 4); a != "123 4 " || b != "432 1 " || c != "1234 " {
			t.Errorf("pages %q, %q, %q", a, b, c)
		}
		hidden := must(s.GetExecutionHistory(ctx, &api.GetExecutionHistoryInput{ExecutionArn: started.ExecutionArn, IncludeExecutionData: awsapi.Ptr(false)}))(t)
		if e := hidden.Events[0]; e.Type != "ExecutionStarted" || e.ExecutionStartedEventDetails.Input != nil {
			t.Errorf("%+v", e)
		}
		for i := range 4 {
			time.Sleep(time.Second)
			must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Name: awsapi.Ptr(fmt.Sprint("n", i))}))(t)
		}
		synctest.Wait()
		names := ""
		var token *string
		for {
			page := must(s.ListExecutions(ctx, &api.ListExecutionsInput{StateMachineArn: &m, MaxResults: awsapi.Ptr[int64](2), NextToken: token, StatusFilter: awsapi.Ptr("SUCCEEDED")}))(t)
			for _, x := range page.Executions {
				names += x.Name + " "
			}
			if token = page.NextToken; token == nil {
				break
			}
		}
		if names != "n3 n2 n1 n0 e " {
			t.Errorf("listed %s", names)
		}
	})
}

// TestRepeated: a call with a request key that is repeated after a crash finds what the first one made.
func TestRepeated(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		m := s.create(t, "m", pass, "STANDARD")
		ctx := awscall.WithCall(t.Context(), awscall.Call{Service: "states", Operation: "StartExecution", RequestKey: "execution/x/7/0"}, time.Now())
		a := must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m}))(t)
		synctest.Wait()
		b := must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m}))(t)
		if *a != *b {
			t.Errorf("%v, then %v", a, b)
		}
		if page := must(s.ListExecutions(t.Context(), &api.ListExecutionsInput{StateMachineArn: &m}))(t); len(page.Executions) != 1 {
			t.Errorf("%d executions", len(page.Executions))
		}
	})
}

// TestInputAsWritten: the input keeps its blanks while it is only passed on.
func TestInputAsWritten(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		m := s.create(t, "m", `{"StartAt":"P","States":{"P":{"Type":"Pass","Next":"M"},"M":{"Type":"Map","ItemProcessor":{"StartAt":"I","States":{"I":{"Type":"Pass","End":true}}},"End":true}}}`, "STANDARD")
		const text = "[1,\n 2]"
		x := must(s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: m, Input: awsapi.Ptr(text)}))(t)
		synctest.Wait()
		d := must(s.DescribeExecution(t.Context(), &api.DescribeExecutionInput{ExecutionArn: x.ExecutionArn}))(t)
		if *d.Input != text || *d.Output != "[1,2]" {
			t.Errorf("input %q, output %q", *d.Input, *d.Output)
		}
		h := must(s.GetExecutionHistory(t.Context(), &api.GetExecutionHistoryInput{ExecutionArn: x.ExecutionArn}))(t)
		n := len(h.Events)
		if in, out, made := *h.Events[0].ExecutionStartedEventDetails.Input, *h.Events[2].StateExitedEventDetails.Output, *h.Events[n-2].StateExitedEventDetails.Output; in != text || out != text || made != "[1,2]" {
			t.Errorf("started %q, left the Pass %q, left the Map %q", in, out, made)
		}
	})
}

func TestExpress(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		m := s.create(t, "m", `{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":1,"Next":"A"},"A":{"Type":"Pass","Result":{"a":1},"End":true}}}`, "EXPRESS")
		out := must(s.StartSyncExecution(ctx, &api.StartSyncExecutionInput{StateMachineArn: m, Name: awsapi.Ptr("x")}))(t)
		if out.Status != "SUCCEEDED" || *out.Output != `{"a":1}` || *out.BillingDetails.BilledDurationInMilliseconds != 1000 || !strings.HasPrefix(out.ExecutionArn, prefix+"express:m:x:") {
			t.Errorf("%+v", out)
		}
		failing := s.create(t, "f", `{"StartAt":"F","States":{"F":{"Type":"Fail","Error":"E","Cause":"C"}}}`, "EXPRESS")
		out = must(s.StartSyncExecution(ctx, &api.StartSyncExecutionInput{StateMachineArn: failing}))(t)
		if out.Status != "FAILED" || *out.Error != "E" || *out.Cause != "C" || out.Output != nil {
			t.Errorf("%+v", out)
		}
		started := must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m}))(t)
		_, err := s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: started.ExecutionArn})
		wants(t, err, "InvalidArn", "Invalid Arn")
		_, err = s.ListExecutions(ctx, &api.ListExecutionsInput{StateMachineArn: &m})
		wants(t, err, "StateMachineTypeNotSupported", "")
		_, err = s.CreateStateMachine(ctx, &api.CreateStateMachineInput{Name: "s", RoleArn: role, Type: awsapi.Ptr("EXPRESS"),
			Definition: `{"StartAt":"T","States":{"T":{"Type":"Task","Resource":"arn:aws:states:::sns:publish.waitForTaskToken","End":true}}}`})
		wants(t, err, "InvalidDefinition", "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: Express state machine does not support '.waitForTaskToken' service integration  at /States/T/Resource'")
	})
}

func TestTokensAndActivities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New()
		defer st.Close()
		s := start(t, st)
		ctx := t.Context()
		m := s.create(t, "m", `{"StartAt":"T","States":{"T":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","Parameters":{"t.$":"$$.Task.Token"},"Next":"P"},
		 "P":{"Type":"Task","Resource":"`+prefix+`activity:paint","End":true}}}`, "STANDARD")
		a := must(s.CreateActivity(ctx, &api.CreateActivityInput{Name: "paint"}))(t)
		time.Sleep(time.Second)
		if again := must(s.CreateActivity(ctx, &api.CreateActivityInput{Name: "paint"}))(t); !again.CreationDate.Equal(a.CreationDate) {
			t.Error("a repeated creation made another activity")
		}
		x := must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m}))(t)
		token := <-s.echo.tokens
		_, err := s.SendTaskSuccess(ctx, &api.SendTaskSuccessInput{TaskToken: token, Output: "{"})
		wants(t, err, "InvalidOutput", "Invalid Output: ")
		_, err = s.SendTaskSuccess(ctx, &api.SendTaskSuccessInput{TaskToken: "zzz", Output: "{}"})
		wants(t, err, "InvalidToken", "Invalid Token: 'Invalid token'")
		must(s.SendTaskHeartbeat(ctx, &api.SendTaskHeartbeatInput{TaskToken: token}))(t)
		must(s.SendTaskSuccess(ctx, &api.SendTaskSuccessInput{TaskToken: token, Output: `{"colour":"red"}`}))(t)
		_, err = s.SendTaskFailure(ctx, &api.SendTaskFailureInput{TaskToken: token})
		wants(t, err, "TaskTimedOut", "Task Timed Out")
		synctest.Wait()
		s.stop()
		s = start(t, st) // the activity is known again, and its task waits
		defer s.stop()
		work := must(s.GetActivityTask(ctx, &api.GetActivityTaskInput{ActivityArn: a.ActivityArn, WorkerName: awsapi.Ptr("w")}))(t)
		if *work.Input != `{"colour":"red"}` {
			t.Error(*work.Input)
		}
		must(s.SendTaskFailure(ctx, &api.SendTaskFailureInput{TaskToken: *work.TaskToken, Error: awsapi.Ptr("Dry"), Cause: awsapi.Ptr("no paint")}))(t)
		synctest.Wait()
		if d := must(s.DescribeExecution(ctx, &api.DescribeExecutionInput{ExecutionArn: x.ExecutionArn}))(t); d.Status != "FAILED" || *d.Error != "Dry" || *d.Cause != "no paint" {
			t.Errorf("%+v", d)
		}
		if empty := must(s.GetActivityTask(ctx, &api.GetActivityTaskInput{ActivityArn: a.ActivityArn}))(t); empty.TaskToken != nil {
			t.Errorf("%+v", empty)
		}
		if l := must(s.ListActivities(ctx, &api.ListActivitiesInput{}))(t); len(l.Activities) != 1 {
			t.Errorf("%+v", l)
		}
		must(s.DeleteActivity(ctx, &api.DeleteActivityInput{ActivityArn: a.ActivityArn}))(t)
		_, err = s.GetActivityTask(ctx, &api.GetActivityTaskInput{ActivityArn: a.ActivityArn})
		wants(t, err, "ActivityDoesNotExist", "Activity Does Not Exist: '"+a.ActivityArn+"'")
		_, err = s.DescribeActivity(ctx, &api.DescribeActivityInput{ActivityArn: "no"})
		wants(t, err, "InvalidArn", "Invalid Arn: 'Invalid ARN prefix: no'")
	})
}

func TestTags(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		m := s.create(t, "m", pass, "STANDARD")
		tags := func(kv ...string) (out []api.Tag) {
			for i := 0; i < len(kv); i += 2 {
				out = append(out, api.Tag{Key: &kv[i], Value: &kv[i+1]})
			}
			return out
		}
		must(s.TagResource(ctx, &api.TagResourceInput{ResourceArn: m, Tags: tags("a", "1", "b", "2")}))(t)
		must(s.TagResource(ctx, &api.TagResourceInput{ResourceArn: m, Tags: tags("a", "3", "c", "4")}))(t)
		must(s.UntagResource(ctx, &api.UntagResourceInput{ResourceArn: m, TagKeys: []string{"b", "zz"}}))(t)
		got := ""
		for _, tag := range must(s.ListTagsForResource(ctx, &api.ListTagsForResourceInput{ResourceArn: m}))(t).Tags {
			got += *tag.Key + *tag.Value + " "
		}
		if got != "a3 c4 " {
			t.Error(got)
		}
		_, err := s.TagResource(ctx, &api.TagResourceInput{ResourceArn: m + ":1", Tags: tags("a", "1")})
		wants(t, err, "ResourceNotFound", "Resource not found: '"+m+":1'")
		var many []string
		for i := range 60 {
			many = append(many, fmt.Sprint("k", i), "v")
		}
		_, err = s.TagResource(ctx, &api.TagResourceInput{ResourceArn: m, Tags: tags(many...)})
		wants(t, err, "TooManyTags", "")
	})
}

// TestLogLevels tables what each level has logged, with and without data, of both types of machines.
func TestLogLevels(t *testing.T) {
	const definition = `{"StartAt":"P","States":{"P":{"Type":"Pass","Next":"F"},"F":{"Type":"Fail","Error":"E"}}}`
	for _, c := range []struct {
		level string
		data  bool
		want  string
	}{
		{"ALL", true, "ExecutionStarted+ PassStateEntered+ PassStateExited+ FailStateEntered+ ExecutionFailed"},
		{"ALL", false, "ExecutionStarted PassStateEntered PassStateExited FailStateEntered ExecutionFailed"},
		{"ERROR", true, "FailStateEntered+ ExecutionFailed"},
		{"ERROR", false, "FailStateEntered ExecutionFailed"},
		{"FATAL", true, "ExecutionFailed"},
		{"OFF", true, ""},
	} {
		for _, kind := range []string{"STANDARD", "EXPRESS"} {
			synctest.Test(t, func(t *testing.T) {
				st := memory.New()
				defer st.Close()
				s := start(t, st)
				defer s.stop()
				m := must(s.CreateStateMachine(t.Context(), &api.CreateStateMachineInput{Name: "m", Definition: definition, RoleArn: role, Type: &kind,
					LoggingConfiguration: &api.LoggingConfiguration{Level: &c.level, IncludeExecutionData: &c.data, Destinations: []api.LogDestination{{
						CloudWatchLogsLogGroup: &api.CloudWatchLogsLogGroup{LogGroupArn: awsapi.Ptr("arn:aws:logs:us-east-1:000000000000:log-group:g:*")}}}}}))(t).StateMachineArn
				must(s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: m, Input: awsapi.Ptr(`"secret"`)}))(t)
				synctest.Wait()
				s.Stop()
				var got []string
				for _, line := range s.logs.lines {
					_, name, _ := strings.Cut(line, `"type":"`)
					name, _, _ = strings.Cut(name, `"`)
					if strings.Contains(line, "secret") {
						name += "+"
					}
					got = append(got, name)
				}
				if got := strings.Join(got, " "); got != c.want {
					t.Errorf("%s %s %v: %s, want %s", kind, c.level, c.data, got, c.want)
				}
			})
		}
	}
}

func TestLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New()
		defer st.Close()
		s := start(t, st)
		ctx := t.Context()
		logging := func(level, group string) *api.LoggingConfiguration {
			return &api.LoggingConfiguration{Level: &level, IncludeExecutionData: awsapi.Ptr(true), Destinations: []api.LogDestination{{
				CloudWatchLogsLogGroup: &api.CloudWatchLogsLogGroup{LogGroupArn: awsapi.Ptr("arn:aws:logs:us-east-1:000000000000:log-group:" + group + ":*")}}}}
		}
		_, err := s.CreateStateMachine(ctx, &api.CreateStateMachineInput{Name: "m", Definition: pass, RoleArn: role, LoggingConfiguration: logging("ALL", "none")})
		wants(t, err, "InvalidLoggingConfiguration", "Invalid Logging Configuration: Log Destination not found.")
		const fail = `{"StartAt":"F","States":{"F":{"Type":"Fail","Error":"E"}}}`
		m := must(s.CreateStateMachine(ctx, &api.CreateStateMachineInput{Name: "m", Definition: fail, RoleArn: role, LoggingConfiguration: logging("ERROR", "g")}))(t).StateMachineArn
		s.stop()
		s = start(t, st) // it is known after a restart
		defer s.stop()
		must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Name: awsapi.Ptr("e")}))(t)
		synctest.Wait()
		s.Stop()
		if got := s.logs.lines; len(got) != 2 || !strings.Contains(got[0], `"type":"FailStateEntered"`) || !strings.Contains(got[0], `"input":"{}"`) || !strings.HasPrefix(got[1], "states/m/") || !strings.Contains(got[1], `"error":"E"`) {
			t.Errorf("logged %q", got)
		}
		must(s.UpdateStateMachine(ctx, &api.UpdateStateMachineInput{StateMachineArn: m, LoggingConfiguration: &api.LoggingConfiguration{}}))(t)
		must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Name: awsapi.Ptr("f")}))(t)
		synctest.Wait()
		if got := s.logs.lines; len(got) != 2 {
			t.Errorf("logged %q after it was turned off", got[2:])
		}
	})
}
