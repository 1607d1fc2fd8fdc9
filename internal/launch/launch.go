package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
)

// Options say what to run and where.
type Options struct {
	Calls    awscall.Caller
	Endpoint string // base URL of the endpoint, for what is no AWS API: the tail of a log, kept mails
	HTTP     *http.Client
	Clock    clock.Clock

	Stack     string            // name of the pipeline's stack; mayfly-pipeline when empty
	Bucket    string            // mayfly-pipeline-ACCOUNT when empty
	Modes     []string          // values of ProcessingMode, passed to the programs
	Fail      string            // a part that shall fail: preprocessing, model, launch, delete; empty: none
	Seed      uint64            // of the generated data
	Nodes     int               // ClusterSize
	Email     string            // who hears of the end
	MailDir   string            // where the endpoint keeps mail; empty when it sends mail
	Functions []byte            // the functions' zip
	Programs  map[string][]byte // instead of the pipeline's own, by name: preprocessing, model
	Poll      time.Duration
	Report    func(View)
}

// Run is one run of the pipeline on an endpoint.
type Run struct {
	Options
	account string
	started time.Time
	outputs map[string]string // of the pipeline's stack
	view    View
	over    map[string]innerRun // inner executions that have ended, by ARN: they are read once
}

// restart is how long the server may be away while a run is followed.
const restart = 30 * time.Second

// call makes one API call; every error says which.
func (r *Run) call(ctx context.Context, service, operation string, in map[string]any) (out map[string]any, err error) {
	err = r.patiently(ctx, func() error {
		out, err = r.Calls.Invoke(ctx, awscall.Call{Service: service, Operation: operation, Input: in})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", service, operation, err)
	}
	return out, nil
}

// patiently does f again while the server restarts and refuses connections: then nothing of it has happened.
func (r *Run) patiently(ctx context.Context, f func() error) error {
	for away := time.Duration(0); ; away += r.Poll {
		err := f()
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) || away > restart {
			return err
		}
		if err := r.pause(ctx, r.Poll); err != nil {
			return err
		}
	}
}

// is says that err is the API error with one of the codes.
func is(err error, codes ...string) bool {
	var api *awsapi.Error
	if !errors.As(err, &api) {
		return false
	}
	for _, c := range codes {
		if api.Code == c {
			return true
		}
	}
	return false
}

// says reports an API error whose message has part in it: CloudFormation tells what matters in words.
func says(err error, part string) bool {
	var api *awsapi.Error
	return errors.As(err, &api) && strings.Contains(api.Message, part)
}

func (r *Run) report(phase, format string, args ...any) {
	now := r.Clock.Now()
	r.view.Phase, r.view.Message = phase, fmt.Sprintf(format, args...)
	r.view.Elapsed, r.view.At = now.Sub(r.started), now
	if r.Report != nil {
		r.Report(r.view)
	}
}

// pause waits for d or the end of ctx.
func (r *Run) pause(ctx context.Context, d time.Duration) error {
	woken := make(chan struct{})
	t := r.Clock.AfterFunc(d, func() { close(woken) })
	defer t.Stop()
	select {
	case <-woken:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// deploy brings the pipeline's stack to template and parameters, as `aws cloudformation deploy` does it: a change set,
// executed, and the wait for its end. It returns the stack's outputs.
func (r *Run) deploy(ctx context.Context, stack, template string, parameters map[string]string) (map[string]string, error) {
	kind := "UPDATE"
	_, err := r.call(ctx, "cloudformation", "DescribeStacks", map[string]any{"StackName": stack})
	switch {
	case says(err, "does not exist"):
		kind = "CREATE"
	case err != nil:
		return nil, err
	}
	var ps []any
	for k, v := range parameters {
		ps = append(ps, map[string]any{"ParameterKey": k, "ParameterValue": v})
	}
	name := fmt.Sprintf("mayfly-run-%d", r.Clock.Now().UnixMilli())
	set, err := r.call(ctx, "cloudformation", "CreateChangeSet", map[string]any{
		"StackName": stack, "ChangeSetName": name, "ChangeSetType": kind, "TemplateURL": template, "Parameters": ps,
		"Capabilities": []any{"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"},
	})
	if err != nil {
		return nil, err
	}
	for {
		d, err := r.call(ctx, "cloudformation", "DescribeChangeSet", map[string]any{"ChangeSetName": set["Id"]})
		if err != nil {
			return nil, err
		}
		status, reason := text(d["Status"]), text(d["StatusReason"])
		if status == "FAILED" && (strings.Contains(reason, "didn't contain changes") || strings.Contains(reason, "No updates are to be performed")) {
			return r.stackOutputs(ctx, stack)
		}
		if status == "FAILED" {
			return nil, fmt.Errorf("the change set of stack %s failed: %s", stack, reason)
		}
		if status == "CREATE_COMPLETE" {
			break
		}
		if err := r.pause(ctx, r.Poll); err != nil {
			return nil, err
		}
	}
	if _, err := r.call(ctx, "cloudformation", "ExecuteChangeSet", map[string]any{"ChangeSetName": set["Id"]}); err != nil {
		return nil, err
	}
	for {
		s, err := r.stack(ctx, text(set["StackId"]))
		if err != nil {
			return nil, err
		}
		switch status := text(s["StackStatus"]); {
		case status == "CREATE_COMPLETE" || status == "UPDATE_COMPLETE" || status == "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS":
			return r.stackOutputs(ctx, stack)
		case !strings.HasSuffix(status, "_IN_PROGRESS"):
			return nil, fmt.Errorf("stack %s ended in %s: %s", stack, status, r.stackFailure(ctx, text(set["StackId"])))
		default:
			r.report("deploy", "stack %s is %s", stack, status)
		}
		if err := r.pause(ctx, r.Poll); err != nil {
			return nil, err
		}
	}
}

func (r *Run) stack(ctx context.Context, name string) (map[string]any, error) {
	out, err := r.call(ctx, "cloudformation", "DescribeStacks", map[string]any{"StackName": name})
	if err != nil {
		return nil, err
	}
	stacks := list(out["Stacks"])
	if len(stacks) == 0 {
		return nil, fmt.Errorf("DescribeStacks answered nothing for %s", name)
	}
	return object(stacks[0]), nil
}

func (r *Run) stackOutputs(ctx context.Context, name string) (map[string]string, error) {
	s, err := r.stack(ctx, name)
	if err != nil {
		return nil, err
	}
	outputs := map[string]string{}
	for _, o := range list(s["Outputs"]) {
		outputs[text(at(o, "OutputKey"))] = text(at(o, "OutputValue"))
	}
	return outputs, nil
}

// stackFailure is the first reason that the stack's events give.
func (r *Run) stackFailure(ctx context.Context, id string) string {
	out, err := r.call(ctx, "cloudformation", "DescribeStackEvents", map[string]any{"StackName": id})
	if err != nil {
		return err.Error()
	}
	reason := ""
	for _, e := range list(out["StackEvents"]) { // newest first
		if strings.HasSuffix(text(at(e, "ResourceStatus")), "_FAILED") {
			reason = text(at(e, "LogicalResourceId")) + ": " + text(at(e, "ResourceStatusReason"))
		}
	}
	return reason
}

// get fetches a page of the endpoint, at most limit bytes of it.
func (r *Run) get(ctx context.Context, url string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := r.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", req.URL.Path, resp.Status)
	}
	return body, err
}

// decoded reads the body of a kept mail.
func decoded(body io.Reader) io.Reader { return quotedprintable.NewReader(body) }

// put writes one object.
func (r *Run) put(ctx context.Context, key string, body []byte) error {
	_, err := r.call(ctx, "s3", "PutObject", map[string]any{"Bucket": r.Bucket, "Key": key, "Body": strings.NewReader(string(body))})
	return err
}
