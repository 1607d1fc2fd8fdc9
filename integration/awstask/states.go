package awstask

import (
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

func init() {
	actions["states:startExecution"] = action{
		service: "states", calls: []string{"StartExecution", "DescribeExecution", "StopExecution"},
		start:   startExecution,
		poll:    pollExecution,
		watches: func(h handle) []string { return []string{h.Execution} },
		cancel: func(c *call, h handle) error {
			_, err := c.invoke("StopExecution", map[string]any{"executionArn": h.Execution, "error": asl.ErrTaskFailed,
				"cause": "The execution " + c.task.Execution + ", which waited for this one, has ended or has given up waiting."}, true)
			return err
		},
	}
}

// startExecution starts a nested execution. Its name is made from the request key when the state gives none, so that a
// repeated start finds the first one, on AWS too.
func startExecution(c *call) (integration.Result, error) {
	args := c.task.Input
	in, err := toDocument(input(c.model("StartExecution")), args)
	if err != nil {
		return integration.Result{}, err
	}
	_, named := in["name"]
	if !named {
		in["name"] = c.request()
	}
	doc, err := c.invoke("StartExecution", in, true)
	if !named && awscall.Code(err) == "ExecutionAlreadyExists" { // ours, by an earlier try whose answer was lost
		machine, _ := in["stateMachineArn"].(string)
		doc, err = c.invoke("DescribeExecution", map[string]any{"executionArn": executionARN(machine, c.request())}, false)
	}
	if err != nil {
		return integration.Result{}, err
	}
	arn, _ := doc["executionArn"].(string)
	v, err := old.fromDocument(output(c.model("StartExecution")), doc)
	if err != nil {
		return integration.Result{}, err
	}
	return c.answer(c.withMetadata(v, doc), &handle{Execution: arn}), nil
}

// executionARN is the ARN of a machine's execution; the machine may be named by version or alias.
func executionARN(machine, name string) string {
	parts := strings.Split(machine, ":")
	if len(parts) < 7 {
		return machine
	}
	return strings.Join(append(slices.Clone(parts[:5]), "execution", parts[6], name), ":")
}

// pollExecution waits for the end. AWS: the result is DescribeExecution's whole answer, sorted by name (recorded: credentials
// test_cross_account_states_start_sync_execution).
func pollExecution(c *call, h handle) (integration.Result, error) {
	doc, err := c.invoke("DescribeExecution", map[string]any{"executionArn": h.Execution}, false)
	if awscall.Code(err) == "ExecutionDoesNotExist" {
		f, _ := apiFailure(err, c.service, uuidOf(h.Execution), nil)
		return failed(f), nil
	}
	if err != nil {
		return integration.Result{}, err
	}
	v, err := old.fromDocument(output(c.model("DescribeExecution")), doc)
	if err != nil {
		return integration.Result{}, err
	}
	status := v.Member("Status").Str()
	if status == "RUNNING" || status == "PENDING_REDRIVE" {
		return integration.Result{Running: true}, nil
	}
	var members []jsonvalue.Member
	for name, m := range v.Members() {
		if c.task.Resource.Pattern == execution.Sync2 && (name == "Input" || name == "Output") && status == "SUCCEEDED" {
			if parsed, err := jsonvalue.Parse([]byte(m.Str())); err == nil {
				m = parsed
			}
		}
		members = append(members, jsonvalue.M(name, m))
	}
	out := merge(jsonvalue.Object(), members)
	if status != "SUCCEEDED" {
		return failed(&asl.Failure{Error: asl.ErrTaskFailed, Cause: out.String()}), nil
	}
	return integration.Result{Output: out}, nil
}
