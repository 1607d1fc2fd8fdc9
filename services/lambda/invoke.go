package lambda

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/lambdaapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/services/lambda/sandbox"
)

// AWS: how large an event may be.
const (
	maxEvent      = 6291456
	maxAsyncEvent = 1048576
)

// requestSpace makes request ids of request keys, so that a repeated invocation has the id of the first.
var requestSpace = uuid.MustParse("5f0d7b52-6f0e-4c8e-9e55-5f1d3c1f8b61")

func requestID(key string) string {
	if key == "" {
		return uuid.NewString()
	}
	return uuid.NewSHA1(requestSpace, []byte(key)).String()
}

// unqualified names the version that was looked for. AWS: only Invoke does, "Function not found: …:function:f:$LATEST".
func unqualified(err error) error {
	if e := (*awsapi.Error)(nil); errors.As(err, &e) && e.Code == "ResourceNotFoundException" {
		if i := strings.LastIndex(e.Message, ":function:"); i >= 0 && !strings.Contains(e.Message[i+len(":function:"):], ":") {
			return awsapi.Errorf(404, e.Code, "%s:$LATEST", e.Message)
		}
	}
	return err
}

// Invoke runs a function, or accepts an event for it.
func (s *Service) Invoke(ctx context.Context, in *lambdaapi.InvokeInput) (*lambdaapi.InvokeOutput, error) {
	f, err := s.find(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, unqualified(err)
	}
	switch {
	case in.DurableExecutionName != nil:
		return nil, lacking("durable executions")
	case in.TenantId != nil:
		return nil, lacking("tenants")
	}
	if err := f.permits(identity.From(ctx)); err != nil {
		return nil, err
	}
	kind := "RequestResponse"
	if in.InvocationType != nil {
		kind = *in.InvocationType
	}
	limit := maxEvent
	if kind == "Event" {
		limit = maxAsyncEvent
	}
	if len(in.Payload) > limit {
		return nil, awsapi.Errorf(413, "RequestTooLargeException", "%d byte payload is too large for the %s invocation type (limit %d bytes)", len(in.Payload), kind, limit)
	}
	payload := in.Payload
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	if err := json.Unmarshal(payload, new(json.RawMessage)); err != nil {
		return nil, awsapi.Errorf(400, "InvalidRequestContentException", "Could not parse request body into json: Could not parse payload into json: %s", err)
	}
	var client string
	if in.ClientContext != nil {
		b, err := base64.StdEncoding.DecodeString(*in.ClientContext)
		if err != nil || !json.Valid(b) || len(b) > 3583 {
			return nil, awsapi.Errorf(400, "InvalidRequestContentException", "Could not parse client context into json")
		}
		client = string(b)
	}
	ev := event{
		Function: f.arn(), Request: requestID(awscall.RequestKey(ctx)), Payload: payload, Client: client, Caller: identity.From(ctx),
	}
	switch kind {
	case "DryRun":
		return &lambdaapi.InvokeOutput{StatusCode: awsapi.Ptr(int64(204))}, nil
	case "Event":
		if err := s.enqueue(ctx, ev); err != nil {
			return nil, err
		}
		return &lambdaapi.InvokeOutput{StatusCode: awsapi.Ptr(int64(202))}, nil
	}
	r, err := s.run(ctx, f, ev)
	if err != nil {
		return nil, err
	}
	out := &lambdaapi.InvokeOutput{StatusCode: awsapi.Ptr(int64(200)), Payload: r.Payload, ExecutedVersion: awsapi.Ptr("$LATEST")}
	if r.Error != "" {
		out.FunctionError = &r.Error
	}
	if awsapi.Val(in.LogType) == "Tail" {
		out.LogResult = awsapi.Ptr(base64.StdEncoding.EncodeToString(r.tail))
	}
	return out, nil
}

// event is one invocation that is to be made.
type event struct {
	Function string             `json:"function"` // ARN
	Request  string             `json:"request"`
	Payload  json.RawMessage    `json:"payload"`
	Client   string             `json:"client,omitempty"`
	Caller   identity.Principal `json:"caller"`
}

type result struct {
	sandbox.Result
	tail []byte
	err  error
}

// run makes one invocation. AWS: it goes on when its caller has left; only the end of the service breaks it off.
func (s *Service) run(ctx context.Context, f *function, ev event) (result, error) {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return result{}, errStopping
	}
	s.running.Add(1)
	s.mu.Unlock()
	done := make(chan result, 1)
	go func() {
		defer s.running.Done()
		r := s.invoke(f, ev)
		done <- r
		if r.err != nil && ctx.Err() != nil && s.ctx.Err() == nil {
			s.Log.Warn("invocation failed after its caller left", "function", f.Name, "request", ev.Request, "err", r.err)
		}
	}()
	select {
	case r := <-done:
		return r, r.err
	case <-ctx.Done():
		return result{}, context.Cause(ctx)
	}
}

func (s *Service) invoke(f *function, ev event) result {
	i, err := s.acquire(s.ctx, f)
	var bad *fault
	if errors.As(err, &bad) {
		return s.faulted(f, ev, bad)
	}
	if err != nil {
		return result{err: err}
	}
	s.Issuer.Rebind(i.creds.AccessKeyID, f.principal(ev.Caller, ev.Request))
	i.log.begin(ev.Request)
	r, err := i.Invoke(s.ctx, sandbox.Invocation{
		RequestID: ev.Request, ARN: f.arn(), Payload: ev.Payload, ClientContext: ev.Client, Timeout: time.Duration(f.Timeout) * time.Second,
		Trace: "Root=1-" + fmt.Sprintf("%08x", s.Clock.Now().Unix()) + "-" + uuid.NewString()[:8] + uuid.NewString()[24:] + ";Sampled=0",
	})
	if err != nil {
		s.release(f, i, true)
		return result{err: fmt.Errorf("invoke %s: %w", f.Name, err)}
	}
	tail := i.log.report(f, ev.Request, r)
	i.log.flush()
	s.release(f, i, r.Dead)
	if len(r.Payload) == 0 {
		r.Payload = []byte("null")
	}
	s.Log.Debug("invocation", "function", f.Name, "request", ev.Request, "duration", r.Duration, "init", r.Init, "failed", r.Error != "")
	return result{Result: r, tail: tail}
}

// faulted is the invocation of a function that cannot start.
func (s *Service) faulted(f *function, ev event, bad *fault) result {
	log := s.newLogStream(f, uuid.New())
	log.begin(ev.Request)
	log.line("RequestId: " + ev.Request + " Error: " + bad.message)
	log.line(bad.kind)
	r := sandbox.Result{Payload: sandbox.Failure(bad.kind, ev.Request, bad.message), Error: "Unhandled", Dead: true}
	tail := log.report(f, ev.Request, r)
	log.flush()
	return result{Result: r, tail: tail}
}
