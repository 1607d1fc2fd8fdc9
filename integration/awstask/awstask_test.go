package awstask_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/integration/awstask"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// expected is a call that an integration is expected to make, and its answer.
type expected struct {
	Operation string         `json:"operation"`
	Input     map[string]any `json:"input"`
	Output    map[string]any `json:"output"`
	Error     *struct {
		Status  int
		Code    string
		Message string
	} `json:"error"`
}

type outcome struct {
	Calls        []expected      `json:"calls"`
	Running      bool            `json:"running"`
	Unknown      bool            `json:"unknown"` // the outcome is not known: asked again later
	Output       json.RawMessage `json:"output"`
	Error, Cause string
}

type testCase struct {
	outcome
	Name     string          `json:"name"`
	Resource string          `json:"resource"`
	Input    json.RawMessage `json:"input"`
	Watches  []string        `json:"watches"`
	Polls    []outcome       `json:"polls"`
	Cancel   []expected      `json:"cancel"`
}

const (
	outer      = "arn:aws:states:us-east-1:000000000000:execution:Outer:1"
	requestKey = "execution/" + outer + "/3/0"
)

// script is a Caller that expects calls in order.
type script struct {
	t    *testing.T
	next []expected
	keys []string
}

func (s *script) Invoke(_ context.Context, c awscall.Call) (map[string]any, error) {
	s.t.Helper()
	if len(s.next) == 0 {
		s.t.Fatalf("unexpected call %s %s %v", c.Service, c.Operation, c.Input)
	}
	e := s.next[0]
	s.next = s.next[1:]
	s.keys = append(s.keys, c.RequestKey)
	if c.Principal.Execution != outer {
		s.t.Errorf("%s is called by %+v", c.Operation, c.Principal)
	}
	if got := c.Service + " " + c.Operation; got != e.Operation {
		s.t.Errorf("called %s, want %s", got, e.Operation)
	}
	got, _ := json.Marshal(plain(c.Input))
	var in map[string]any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(got), uuid(), "<request>")), &in); err != nil {
		s.t.Fatal(err)
	}
	if diff := cmp.Diff(e.Input, in); diff != "" {
		s.t.Errorf("%s: input (-want +got):\n%s", e.Operation, diff)
	}
	if e.Error != nil {
		return nil, awsapi.Errorf(e.Error.Status, e.Error.Code, "%s", e.Error.Message)
	}
	return typed(e.Output).(map[string]any), nil
}

// uuid is the id that the integrations make of the request key; one that they print is found in their metadata.
var uuid = func() string {
	c := awstask.New(awstask.Config{Calls: call(func(c awscall.Call) (map[string]any, error) { return nil, awsapi.Errorf(400, "X", "x") })})
	r, _ := c.Start(context.Background(), task("arn:aws:states:::aws-sdk:sns:listTopics", jsonvalue.Object()))
	_, rest, _ := strings.Cut(r.Failure.Cause, "Request ID: ")
	return rest[:36]
}

type call func(awscall.Call) (map[string]any, error)

func (f call) Invoke(_ context.Context, c awscall.Call) (map[string]any, error) { return f(c) }

func task(resource string, input jsonvalue.Value) integration.Task {
	r, err := execution.ParseResource(resource)
	if err != nil {
		panic(err)
	}
	return integration.Task{Execution: outer, Attempt: 1, State: "S", Resource: r, Input: input, RequestKey: requestKey,
		Principal: identity.Principal{Kind: identity.Execution, Account: "000000000000", Region: "us-east-1", Execution: outer}}
}

// plain makes bytes and streams of a call's input text.
func plain(x any) any {
	switch x := x.(type) {
	case []byte:
		return string(x)
	case io.Reader:
		b, _ := io.ReadAll(x)
		return string(b)
	case map[string]any:
		out := map[string]any{}
		for k, v := range x {
			out[k] = plain(v)
		}
		return out
	case []any:
		out := []any{}
		for _, v := range x {
			out = append(out, plain(v))
		}
		return out
	}
	return x
}

// typed makes an answer's values what a Caller gives.
func typed(x any) any {
	switch x := x.(type) {
	case map[string]any:
		if s, ok := x["$bytes"].(string); ok {
			return []byte(s)
		}
		if s, ok := x["$stream"].(string); ok {
			return io.NopCloser(strings.NewReader(s))
		}
		if s, ok := x["$time"].(string); ok {
			at, err := time.Parse(time.RFC3339Nano, s)
			if err != nil {
				panic(err)
			}
			return at
		}
		out := map[string]any{}
		for k, v := range x {
			out[k] = typed(v)
		}
		return out
	case []any:
		out := []any{}
		for _, v := range x {
			out = append(out, typed(v))
		}
		return out
	case float64:
		return int64(x)
	}
	return x
}

// TestCases runs testdata/cases.json: what a state gives, the calls that are made, and what comes of the answers.
func TestCases(t *testing.T) {
	b, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []testCase
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 30 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, x := range cases {
		t.Run(x.Name, func(t *testing.T) {
			if err := awstask.Judge(x.Resource); err != nil {
				t.Errorf("refused: %v", err)
			}
			s := &script{t: t, next: x.Calls}
			tasks := awstask.New(awstask.Config{Calls: s})
			given := task(x.Resource, jsonvalue.MustParse(string(x.Input)))
			unfit := strings.Contains(x.Cause, "could not be used to start the Task")
			if err := awstask.CheckArguments(given.Resource, given.Input); (err != nil) != unfit || unfit && !strings.Contains(x.Cause, "["+err.Error()+"]") {
				t.Errorf("the arguments are judged: %v", err)
			}
			r, err := tasks.Start(t.Context(), given)
			check(t, s, x.outcome, r, err)
			j := integration.Job{Execution: outer, Attempt: 1, Resource: given.Resource, Principal: given.Principal, Handle: r.Handle}
			if x.Watches != nil {
				if diff := cmp.Diff(x.Watches, tasks.Watches(j)); diff != "" {
					t.Errorf("watches (-want +got):\n%s", diff)
				}
			}
			for i, p := range x.Polls {
				s.next = p.Calls
				r, err := tasks.Poll(t.Context(), j)
				t.Logf("poll %d", i)
				check(t, s, p, r, err)
			}
			if x.Cancel != nil {
				s.next = x.Cancel
				j.RequestKey = requestKey + "/cancel"
				if err := tasks.Cancel(t.Context(), j); err != nil || len(s.next) > 0 {
					t.Errorf("cancel: %v, not called: %v", err, s.next)
				}
			}
		})
	}
}

func check(t *testing.T, s *script, want outcome, r integration.Result, err error) {
	t.Helper()
	if want.Unknown {
		if err == nil {
			t.Errorf("the outcome is not known, yet it is %+v", r)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(s.next) > 0 {
		t.Errorf("not called: %v", s.next)
	}
	if r.Running != want.Running {
		t.Errorf("running is %v", r.Running)
	}
	if want.Error != "" {
		if r.Failure == nil {
			t.Fatalf("no failure, but %s", r.Output)
		}
		cause := strings.ReplaceAll(r.Failure.Cause, uuid(), "<request>")
		want.Cause = strings.ReplaceAll(want.Cause, "<execution>", requestOf(cause))
		if r.Failure.Error != want.Error || cause != want.Cause {
			t.Errorf("failure\n%s: %s\nwant\n%s: %s", r.Failure.Error, cause, want.Error, want.Cause)
		}
		return
	}
	if r.Failure != nil {
		t.Fatalf("failure %+v", *r.Failure)
	}
	if want.Output == nil {
		return
	}
	var members []jsonvalue.Member
	out := r.Output
	if out.Kind() == jsonvalue.KindObject {
		for name, v := range out.Members() {
			if name != "SdkHttpMetadata" && name != "SdkResponseMetadata" {
				members = append(members, jsonvalue.M(name, v))
			}
		}
		out = jsonvalue.Object(members...)
	}
	if !jsonvalue.Equal(out, jsonvalue.MustParse(string(want.Output))) {
		t.Errorf("output %s, want %s", out, want.Output)
	}
}

func requestOf(cause string) string {
	_, rest, _ := strings.Cut(cause, "Request ID: ")
	id, _, _ := strings.Cut(rest, ";")
	return id
}

// TestMetadata checks what the optimized integrations tell of the HTTP answer, against a recording of AWS (services
// test_send_message_unsupported_parameters).
func TestMetadata(t *testing.T) {
	tasks := awstask.New(awstask.Config{Calls: call(func(awscall.Call) (map[string]any, error) {
		return map[string]any{"MD5OfMessageBody": strings.Repeat("d", 32), "MessageId": strings.Repeat("m", 36)}, nil
	})})
	r, err := tasks.Start(t.Context(), task("arn:aws:states:::sqs:sendMessage", jsonvalue.MustParse(`{"QueueUrl":"q","MessageBody":"b"}`)))
	if err != nil {
		t.Fatal(err)
	}
	date := r.Output.Member("SdkHttpMetadata").Member("HttpHeaders").Member("Date").Str()
	want := fmt.Sprintf(`{"AllHttpHeaders":{"x-amzn-RequestId":["%[1]s"],"connection":["keep-alive"],"Content-Length":["106"],"Date":["%[2]s"],"Content-Type":["application/x-amz-json-1.0"]},`+
		`"HttpHeaders":{"connection":"keep-alive","Content-Length":"106","Content-Type":"application/x-amz-json-1.0","Date":"%[2]s","x-amzn-RequestId":"%[1]s"},"HttpStatusCode":200}`, uuid(), date)
	if got := r.Output.Member("SdkHttpMetadata"); !jsonvalue.Equal(got, jsonvalue.MustParse(want)) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestKeys checks that what writes carries the request key, and what reads does not.
func TestKeys(t *testing.T) {
	s := &script{t: t, next: []expected{
		{Operation: "elasticmapreduce ListInstanceGroups", Input: map[string]any{"ClusterId": "j"}, Output: map[string]any{"InstanceGroups": []any{map[string]any{"Id": "i", "Name": "n"}}}},
		{Operation: "elasticmapreduce ModifyInstanceGroups", Input: map[string]any{"ClusterId": "j", "InstanceGroups": []any{map[string]any{"InstanceGroupId": "i"}}}},
	}}
	_, err := awstask.New(awstask.Config{Calls: s}).Start(t.Context(), task("arn:aws:states:::elasticmapreduce:modifyInstanceGroupByName",
		jsonvalue.MustParse(`{"ClusterId":"j","InstanceGroupName":"n","InstanceGroup":{}}`)))
	if err != nil || len(s.keys) != 2 || s.keys[0] != "" || s.keys[1] != requestKey {
		t.Errorf("keys %v, %v", s.keys, err)
	}
}

// TestOnAWS checks that a repeated start finds what the first has made, where the service keeps no receipts.
func TestOnAWS(t *testing.T) {
	var cluster map[string]any
	var steps []any
	made := 0
	tasks := awstask.New(awstask.Config{Remote: func(string) bool { return true }, Calls: call(func(c awscall.Call) (map[string]any, error) {
		switch c.Operation {
		case "ListClusters":
			if cluster == nil {
				return map[string]any{}, nil
			}
			return map[string]any{"Clusters": []any{map[string]any{"Id": "j-1", "ClusterArn": "arn:c"}}}, nil
		case "DescribeCluster":
			return map[string]any{"Cluster": map[string]any{"Id": "j-1", "Tags": cluster["Tags"]}}, nil
		case "RunJobFlow":
			made++
			cluster = c.Input
			return nil, errors.New("the answer is lost")
		case "ListSteps":
			return map[string]any{"Steps": steps}, nil
		case "AddJobFlowSteps":
			made++
			jar := c.Input["Steps"].([]any)[0].(map[string]any)["HadoopJarStep"].(map[string]any)
			p := jar["Properties"].([]any)[0].(map[string]any)
			steps = []any{map[string]any{"Id": "s-1", "Config": map[string]any{"Properties": map[string]any{p["Key"].(string): p["Value"]}}}}
			return nil, errors.New("the answer is lost")
		}
		return nil, fmt.Errorf("unexpected %s", c.Operation)
	})})
	for _, x := range []struct{ resource, input, want string }{
		{"createCluster.sync", `{"Name":"c","Instances":{"KeepJobFlowAliveWhenNoSteps":true}}`, `"j-1"`},
		{"addStep.sync", `{"ClusterId":"j-1","Step":{"Name":"s","HadoopJarStep":{"Jar":"x"}}}`, `"s-1"`},
	} {
		made = 0
		given := task("arn:aws:states:::elasticmapreduce:"+x.resource, jsonvalue.MustParse(x.input))
		if _, err := tasks.Start(t.Context(), given); err == nil {
			t.Error("a lost answer is no outcome")
		}
		r, err := tasks.Start(t.Context(), given)
		if err != nil || made != 1 || !strings.Contains(string(r.Handle), x.want) {
			t.Errorf("%s: made %d, handle %s, %v", x.resource, made, r.Handle, err)
		}
	}
}

func TestJudge(t *testing.T) {
	for _, good := range []string{
		"arn:aws:lambda:us-east-1:000000000000:function:f", "arn:aws:lambda:us-east-1:000000000000:function:f:live",
		"arn:aws:states:us-east-1:000000000000:activity:a", "arn:aws:states:::lambda:invoke.waitForTaskToken",
		"arn:aws:states:::states:startExecution.sync:2", "arn:aws:states:::batch:submitJob.sync", "arn:aws:states:::http:invoke",
		"arn:aws:states:::aws-sdk:dynamodb:query", "arn:aws:states:::aws-sdk:sfn:startExecution.waitForTaskToken",
		"arn:aws:states:::aws-sdk:cloudwatchlogs:putLogEvents", "arn:aws-cn:states:::sns:publish",
		"arn:aws:states:us-east-1:000000000000:aws-sdk:transcribe:startTranscriptionJob", "arn:aws:states:us-east-1:000000000000:batch:submitJob.sync",
		"arn:aws:states:::aws-sdk:config:listAggregateDiscoveredResources", "arn:aws:states:::aws-sdk:iotanalytics:batchPutMessage",
		"arn:aws:states:::aws-sdk:sts:getCallerIdentity", "arn:aws:states:::aws-sdk:databasemigration:startReplicationTask",
	} {
		if err := awstask.Judge(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "arn", "arn:aws:states:::dynamodb:query", "arn:aws:states:::lambda:invoke.sync", "arn:aws:states:::sns:publish.sync:2",
		"arn:aws:states:::aws-sdk:nosuchservice:doIt", "arn:aws:states:::aws-sdk:sns:noSuchOperation", "arn:aws:states:::aws-sdk:s3:PutObject",
		"arn:aws:states:::elasticmapreduce:createCluster.sync:2", "arn:aws:states:::aws-sdk:emr:runJobFlow.sync", "arn:aws:s3:::bucket",
		"arn:aws:states:::lambda:invoke.waitForever", "arn:aws:states:us-east-1:000000000000:stateMachine:m", "arn:aws:states:us-east-1:000000000000:execution:m:e",
		"arn:aws:states:::aws-sdk:configservice:putConfigRule", "arn:aws:states:::aws-sdk:sts:assumeRole", "arn:aws:states:::aws-sdk:kinesis:subscribeToShard",
		"arn:aws:states:::states", "arn:aws:states:::events:putEvents.sync",
	} {
		if err := awstask.Judge(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestLacks(t *testing.T) {
	has := func(service, op string) bool { return service != "events" && service != "glue" }
	for arn, want := range map[string]string{
		"arn:aws:states:::lambda:invoke":                   "",
		"arn:aws:states:::aws-sdk:s3:getObject":            "",
		"arn:aws:states:us-east-1:000000000000:activity:a": "",
		"arn:aws:states:::apigateway:invoke":               "Mayfly does not have the integration apigateway:invoke: this state will fail.",
		"arn:aws:states:::aws-sdk:polly:describeVoices":    "Mayfly does not have describeVoices of the service polly: this state will fail.",
		"arn:aws:states:::glue:startJobRun.sync":           "Mayfly does not have StartJobRun of the service glue: this state will fail. A server with --remote glue sends its calls to AWS.",
		"arn:aws:states:::events:putEvents":                "Mayfly does not have PutEvents of the service events: this state will fail. A server with --remote events sends its calls to AWS.",
	} {
		if got := awstask.Lacks(arn, has); got != want {
			t.Errorf("%s: %q, want %q", arn, got, want)
		}
	}
}

// On AWS, the tasks that wait for one cluster have one poller.
func TestOnePollerPerCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		calls := map[string]int{}
		done := false
		tasks := awstask.New(awstask.Config{Remote: func(string) bool { return true }, Calls: call(func(c awscall.Call) (map[string]any, error) {
			mu.Lock()
			calls[c.Operation]++
			states := map[bool]string{false: "RUNNING", true: "COMPLETED"}
			state := states[done]
			mu.Unlock()
			time.Sleep(100 * time.Millisecond) // on the bubble's clock
			step := func(id string) map[string]any {
				return map[string]any{"Id": id, "Status": map[string]any{"State": state}}
			}
			if c.Operation == "ListSteps" {
				return map[string]any{"Steps": []any{step("s-0"), step("s-1"), step("s-2")}}, nil
			}
			return map[string]any{"Step": step(c.Input["StepId"].(string))}, nil
		})})
		resource, err := execution.ParseResource("arn:aws:states:::elasticmapreduce:addStep.sync")
		if err != nil {
			t.Fatal(err)
		}
		poll := func(running bool) {
			t.Helper()
			var all sync.WaitGroup
			for i := range 3 {
				all.Go(func() {
					r, err := tasks.Poll(t.Context(), integration.Job{Execution: outer, Resource: resource, Handle: fmt.Appendf(nil, `{"cluster":"j-1","step":"s-%d"}`, i)})
					if err != nil || r.Running != running {
						t.Errorf("step %d: %+v %v", i, r, err)
					}
				})
			}
			all.Wait()
		}
		poll(true)
		poll(true) // within the moment for which an answer is good
		if want := map[string]int{"ListSteps": 1}; !maps.Equal(calls, want) {
			t.Errorf("calls %v, want %v", calls, want)
		}
		time.Sleep(5 * time.Second)
		done = true
		poll(false)
		if want := map[string]int{"ListSteps": 2, "DescribeStep": 3}; !maps.Equal(calls, want) {
			t.Errorf("calls %v, want %v", calls, want)
		}
	})
}
