package gateway_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/snsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

// topics is a service with one operation that changes a row, as a plain service does.
type topics struct {
	store store.Store
	mu    sync.Mutex
	calls []identity.Principal
	fail  error
}

func (s *topics) CreateTopic(ctx context.Context, in *snsapi.CreateTopicInput) (*snsapi.CreateTopicOutput, error) {
	s.mu.Lock()
	s.calls = append(s.calls, identity.From(ctx))
	fail := s.fail
	s.mu.Unlock()
	if in.Name == "panic" {
		panic("boom")
	}
	if fail != nil {
		return nil, fail
	}
	out := &snsapi.CreateTopicOutput{TopicArn: awsapi.Ptr("arn:" + in.Name + ":" + identity.Request(ctx))}
	b := store.Batch{Rows: []store.RowChange{{Key: store.Key{Service: "sns", Kind: "topic", ID: in.Name}, Value: []byte("{}")}}}
	if err := awscall.Receipted(ctx, &b, out); err != nil {
		return nil, err
	}
	if err := s.store.Commit(ctx, b); err != nil {
		return nil, err
	}
	return out, nil
}

func setup(t *testing.T) (*gateway.Gateway, *topics, store.Store) {
	t.Helper()
	st := memory.New()
	g, err := gateway.New(t.Context(), gateway.Config{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	s := &topics{store: st}
	api := awscall.NewService("sns")
	awscall.Handle(api, "CreateTopic", s.CreateTopic)
	g.Register(api)
	return g, s, st
}

func create(name, key string) awscall.Call {
	return awscall.Call{Service: "sns", Operation: "CreateTopic", RequestKey: key, Input: map[string]any{"Name": name}}
}

// TestReceipts: a repeated request key is answered with the first answer, also by racing callers and by a gateway that has
// only the store.
func TestReceipts(t *testing.T) {
	g, s, st := setup(t)
	first, err := g.Invoke(t.Context(), create("a", "e/1/0"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := g.Invoke(t.Context(), create("a", "e/1/0"))
	if err != nil || again["TopicArn"] != first["TopicArn"] || len(s.calls) != 1 {
		t.Errorf("again: %v %v after %d calls, first %v", again, err, len(s.calls), first)
	}
	other, err := g.Invoke(t.Context(), create("a", "e/1/1"))
	if err != nil || other["TopicArn"] == first["TopicArn"] {
		t.Errorf("another key: %v %v", other, err)
	}

	answers := make([]any, 8)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			out, err := g.Invoke(t.Context(), create("race", "e/2/0"))
			if err != nil {
				t.Error(err)
			}
			answers[i] = out["TopicArn"]
		})
	}
	wg.Wait()
	for _, a := range answers {
		if a == nil || a != answers[0] {
			t.Errorf("racing answers: %v", answers)
			break
		}
	}

	later, err := gateway.New(t.Context(), gateway.Config{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	s2 := &topics{store: st, fail: errors.New("must not be called")}
	api := awscall.NewService("sns")
	awscall.Handle(api, "CreateTopic", s2.CreateTopic)
	later.Register(api)
	if out, err := later.Invoke(t.Context(), create("a", "e/1/0")); err != nil || out["TopicArn"] != first["TopicArn"] {
		t.Errorf("after a restart: %v %v", out, err)
	}
}

func TestRefusals(t *testing.T) {
	g, s, _ := setup(t)
	for _, c := range []struct {
		call awscall.Call
		want string
	}{
		{create("", ""), ""},
		{awscall.Call{Service: "sns", Operation: "CreateTopic"}, "ValidationError: 1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null"},
		{awscall.Call{Service: "sns", Operation: "CreateTopic", Input: map[string]any{"Name": "a", "Nmae": 1}}, `SerializationException: CreateTopicInput has no member named "Nmae"`},
		{awscall.Call{Service: "sns", Operation: "Publish"}, "InvalidAction: Mayfly does not implement the operation Publish of Amazon Simple Notification Service."},
		{awscall.Call{Service: "states", Operation: "StartExecution"}, "UnknownServiceException: Mayfly does not have the service states. A server with --remote states sends its calls to AWS."},
		{awscall.Call{Service: "sns", Operation: "Fly"}, "UnknownOperationException: The operation Fly of Amazon Simple Notification Service is not known to Mayfly."},
		{awscall.Call{Service: "dynamodb", Operation: "ListTables"}, "UnknownServiceException: Mayfly does not have the service dynamodb. A server with --remote dynamodb sends its calls to AWS."},
	} {
		_, err := g.Invoke(t.Context(), c.call)
		var e *awsapi.Error
		if c.want == "" {
			continue
		}
		if !errors.As(err, &e) || e.Error() != c.want || e.Status != 400 {
			t.Errorf("%v: %v, want %s", c.call, err, c.want)
		}
	}
	if _, err := g.Invoke(t.Context(), create("panic", "")); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("panic: %v", err)
	}
	s.fail = errors.New("disk /dev/sda1 is on fire")
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/", strings.NewReader("Action=CreateTopic&Version=2010-03-31&Name=x"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	g.ServeHTTP(w, r)
	if w.Code != 500 || strings.Contains(w.Body.String(), "sda1") || !strings.Contains(w.Body.String(), "<Code>InternalFailure</Code>") {
		t.Errorf("internal error: %d %s", w.Code, w.Body)
	}
}

// TestKeys: a key that was issued acts for its principal, over HTTP, after a restart and until it is revoked.
func TestKeys(t *testing.T) {
	g, s, st := setup(t)
	server := httptest.NewServer(g)
	defer server.Close()
	p := identity.Principal{Kind: identity.Invocation, Account: "111122223333", Region: "us-east-1", ARN: "arn:f", Execution: "arn:e1"}
	c, err := g.Keys.Issue(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	call := func(endpoint string, c identity.Credentials) (identity.Principal, error) {
		r := awscall.Remote{Endpoint: endpoint, Region: "eu-west-1", Credentials: awscall.Static(c), Clock: clock.System{}}
		_, err := r.Invoke(t.Context(), create("a", ""))
		return s.calls[len(s.calls)-1], err
	}
	if _, err := g.Invoke(t.Context(), create("first", "")); err != nil || s.calls[0].Account != gateway.DefaultAccount {
		t.Fatal(s.calls, err)
	}
	got, err := call(server.URL, c)
	p.Region = "eu-west-1" // of the signature
	if err != nil || got != p {
		t.Errorf("acts for %+v (%v)", got, err)
	}
	next := p
	next.Execution = "arn:e2"
	g.Keys.Rebind(c.AccessKeyID, next)
	if got, err := call(server.URL, c); err != nil || got != next {
		t.Errorf("rebound, acts for %+v (%v)", got, err)
	}
	wrong := c
	wrong.SecretAccessKey = "x"
	if _, err := call(server.URL, wrong); awscall.Code(err) != "SignatureDoesNotMatch" {
		t.Errorf("wrong secret: %v", err)
	}
	wrong = c
	wrong.SessionToken = "x"
	if _, err := call(server.URL, wrong); awscall.Code(err) != "InvalidClientTokenId" {
		t.Errorf("wrong token: %v", err)
	}
	if got, err := call(server.URL, identity.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}); err != nil || got.Kind != identity.User || got.Execution != "" {
		t.Errorf("a stranger's key: %+v %v", got, err)
	}
	expired, err := g.Keys.IssueUntil(t.Context(), p, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := call(server.URL, expired); awscall.Code(err) != "ExpiredToken" {
		t.Errorf("expired: %v", err)
	}

	later, err := gateway.New(t.Context(), gateway.Config{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	api := awscall.NewService("sns")
	awscall.Handle(api, "CreateTopic", s.CreateTopic)
	later.Register(api)
	restarted := httptest.NewServer(later)
	defer restarted.Close()
	if got, err := call(restarted.URL, c); err != nil || got.Execution != "arn:e1" {
		t.Errorf("after a restart: %+v %v", got, err)
	}
	if err := later.Keys.Revoke(t.Context(), c.AccessKeyID); err != nil {
		t.Fatal(err)
	}
	if err := later.Keys.Revoke(t.Context(), c.AccessKeyID); err != nil {
		t.Errorf("revoked twice: %v", err)
	}
	if _, err := call(restarted.URL, c); awscall.Code(err) != "InvalidClientTokenId" {
		t.Errorf("revoked: %v", err)
	}
}

// TestHosts: StartSyncExecution comes to a host that begins with "sync-"; the operation is served on any.
func TestHosts(t *testing.T) {
	g, _, _ := setup(t)
	api := awscall.NewService("states")
	awscall.Handle(api, "StartSyncExecution", func(_ context.Context, in *statesapi.StartSyncExecutionInput) (*statesapi.StartSyncExecutionOutput, error) {
		return &statesapi.StartSyncExecutionOutput{ExecutionArn: in.StateMachineArn, Status: "SUCCEEDED"}, nil
	})
	g.Register(api)
	for _, host := range []string{"127.0.0.1:4566", "sync-localhost:4566", "sync-states.us-east-1.amazonaws.com"} {
		r := httptest.NewRequest("POST", "http://"+host+"/", strings.NewReader(`{"stateMachineArn":"arn:m"}`))
		r.Header.Set("X-Amz-Target", "AWSStepFunctions.StartSyncExecution")
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		if w.Code != 200 || !strings.Contains(w.Body.String(), `"executionArn":"arn:m"`) {
			t.Errorf("%s: %d %s", host, w.Code, w.Body)
		}
	}
}

func TestOtherPaths(t *testing.T) {
	g, _, _ := setup(t)
	g.Health = func() map[string]any { return map[string]any{"version": "1"} }
	g.Extra("/_mayfly/x/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) }))
	for path, want := range map[string]string{"/_mayfly/health": `{"services":["sns"],"status":"ok","version":"1"}` + "\n", "/_mayfly/x/y": "/_mayfly/x/y"} {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
}

// TestForeignPages: a page in the user's browser cannot make calls, whatever it pretends.
func TestForeignPages(t *testing.T) {
	g, s, _ := setup(t)
	const form = "Action=CreateTopic&Version=2010-03-31&Name=x"
	for _, c := range []struct {
		name, method, host, origin, site string
		want                             int
	}{
		{"the AWS CLI", "POST", "127.0.0.1:4566", "", "", 200},
		{"a form of another site", "POST", "127.0.0.1:4566", "https://evil.example", "cross-site", 403},
		{"an image of another site", "GET", "127.0.0.1:4566", "", "cross-site", 403},
		{"another port", "POST", "localhost:4566", "http://localhost:3000", "same-site", 403},
		{"an old browser", "POST", "127.0.0.1:4566", "https://evil.example", "", 403},
		{"a sandboxed frame", "POST", "127.0.0.1:4566", "null", "", 403},
		{"a name that resolves to here", "POST", "evil.example:4566", "http://evil.example:4566", "same-origin", 403},
		{"the console", "POST", "127.0.0.1:4566", "http://127.0.0.1:4566", "same-origin", 200},
		{"the address bar", "GET", "localhost:4566", "", "none", 200},
	} {
		r := httptest.NewRequest(c.method, "http://"+c.host+"/", strings.NewReader(form))
		if c.method == "GET" {
			r = httptest.NewRequest("GET", "http://"+c.host+"/?"+form, nil)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for k, v := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site} {
			if v != "" {
				r.Header.Set(k, v)
			}
		}
		before := len(s.calls)
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		if w.Code != c.want || (len(s.calls) > before) != (c.want == 200) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
}
