package acceptance

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/launch"
	"github.com/mayfly-run/mayfly/pipelines/emr"
)

// prepared is a server with the pipeline on it, whose programs do next to nothing.
func prepared(t *testing.T) (*server, *launch.Run) {
	t.Helper()
	needed(t)
	s := serve(t, port(t))
	program, err := os.ReadFile(filepath.Join(root, "bin", "functions", "bootstrap"))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := emr.Bundle(program)
	if err != nil {
		t.Fatal(err)
	}
	run := launch.New(launch.Options{Calls: remote(s.endpoint()), Endpoint: s.endpoint(), HTTP: client, Clock: clock.System{}, Modes: []string{"TRAINING"}, Nodes: 1,
		Seed: 1, Functions: bundle, Programs: trivial, MailDir: filepath.Join(s.dir, "mail")})
	if _, err := run.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, run
}

// entry is a line of custody's ledger.
type entry struct{ Kind, ID, Owner, Action, Reason string }

// ledger is what an execution has made, and what was decided about it; "" asks for everything.
func (s *server) ledger(execution string) (out []entry) {
	s.t.Helper()
	resp, err := client.Get(s.endpoint() + "/_mayfly/custody?execution=" + url.QueryEscape(execution))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		s.t.Fatal(err)
	}
	return out
}

// clusters are the names of those that live.
func (s *server) clusters() map[string]string {
	s.t.Helper()
	out, err := caller(s.endpoint())(s.t.Context(), "elasticmapreduce", "ListClusters", map[string]any{"ClusterStates": []any{"STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"}})
	if err != nil {
		s.t.Fatal(err)
	}
	live := map[string]string{}
	for _, c := range out["Clusters"].([]any) {
		c := c.(map[string]any)
		live[c["Name"].(string)] = c["Id"].(string)
	}
	return live
}

// until waits for what happens within a minute.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 600 {
		if done() {
			return
		}
		wait(100 * time.Millisecond)
	}
	t.Fatalf("%s did not happen within a minute", what)
}

// An execution that is stopped runs no clean-up of its own; what it made ends all the same, and the ledger says why.
func TestStoppedExecutionLeavesNothing(t *testing.T) {
	s, run := prepared(t)
	calls := caller(s.endpoint())
	arn, err := run.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the launch of a cluster", func() bool { return len(s.clusters()) == 1 })
	if _, err := calls(t.Context(), "states", "StopExecution", map[string]any{"executionArn": arn}); err != nil {
		t.Fatal(err)
	}
	until(t, "the end of the cluster", func() bool { return len(s.clusters()) == 0 })
	until(t, "the deletion of its stack", func() bool {
		out, err := calls(t.Context(), "cloudformation", "DescribeStacks", map[string]any{})
		if err != nil {
			t.Fatal(err)
		}
		return len(out["Stacks"].([]any)) == 1 // the pipeline's own
	})
	actions := map[string]string{}
	for _, e := range s.ledger(arn) {
		actions[e.Action] = e.Reason
	}
	if why := actions["delete-stack"]; !strings.Contains(why, arn+" is ABORTED") || actions["held"] == "" || actions["gone"] == "" {
		t.Errorf("the ledger says %v", actions)
	}
	none(t, s.dir, func(p string) bool {
		return strings.Contains(p, "mayfly serve") || strings.Contains(p, "bootstrap")
	})
}

// A cluster ends with the execution that made it and all above it, in whatever way they end. Descendants do not hold it, a
// tag opts out, and what a person's own call made is nobody else's.
func TestCustodyOfClusters(t *testing.T) {
	needed(t)
	s := serve(t, port(t))
	calls := caller(s.endpoint())
	must := func(service, operation string, in map[string]any) map[string]any {
		t.Helper()
		out, err := calls(t.Context(), service, operation, in)
		if err != nil {
			t.Fatalf("%s %s: %v", service, operation, err)
		}
		return out
	}
	cluster := func(name string, tags ...any) map[string]any {
		return map[string]any{"Name": name, "ReleaseLabel": "emr-7.12.0", "ServiceRole": "EMR_DefaultRole", "JobFlowRole": "EMR_EC2_DefaultRole", "Tags": tags,
			"Instances": map[string]any{"InstanceCount": 1, "MasterInstanceType": "m5.xlarge", "KeepJobFlowAliveWhenNoSteps": true}}
	}
	makes := func(name, next string, tags ...any) map[string]any {
		return map[string]any{"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:emr:runJobFlow", "Parameters": cluster(name, tags...), "Next": next}
	}
	start := func(name string, machine map[string]any) string {
		t.Helper()
		arn := must("states", "CreateStateMachine", map[string]any{"name": name, "definition": text(t, machine), "roleArn": role})["stateMachineArn"]
		return must("states", "StartExecution", map[string]any{"stateMachineArn": arn, "name": name})["executionArn"].(string)
	}
	status := func(arn string) string {
		return must("states", "DescribeExecution", map[string]any{"executionArn": arn})["status"].(string)
	}
	waits := map[string]any{"Type": "Wait", "Seconds": 3600, "End": true}
	bug := map[string]any{"Type": "Choice", "Choices": []any{map[string]any{"Variable": "$.no.such.path", "NumericEquals": 1, "Next": "Never"}}}
	end := map[string]any{"Type": "Succeed"}

	must("elasticmapreduce", "RunJobFlow", cluster("persons"))
	stopped := start("stopped", map[string]any{"StartAt": "Make", "States": map[string]any{"Make": makes("stopped", "Wait"), "Wait": waits}})
	timedOut := start("timed-out", map[string]any{"StartAt": "Make", "TimeoutSeconds": 2, "States": map[string]any{"Make": makes("timed-out", "Wait"), "Wait": waits}})
	broken := start("broken", map[string]any{"StartAt": "Make", "States": map[string]any{"Make": makes("broken", "Bug"), "Bug": bug, "Never": end}})
	tagged := start("tagged", map[string]any{"StartAt": "Make", "States": map[string]any{"Make": makes("tagged", "Bug", map[string]any{"Key": "mayfly:custody", "Value": "off"}), "Bug": bug, "Never": end}})
	child := must("states", "CreateStateMachine", map[string]any{"name": "child", "roleArn": role,
		"definition": `{"StartAt":"Make","States":{"Make":` + text(t, makes("childs", "End")) + `,"End":{"Type":"Succeed"}}}`})["stateMachineArn"]
	// The descendant makes nothing and goes on for long: it holds nothing.
	below := must("states", "CreateStateMachine", map[string]any{"name": "below", "roleArn": role, "definition": `{"StartAt":"W","States":{"W":` + text(t, waits) + `}}`})["stateMachineArn"]
	parent := start("parent", map[string]any{"StartAt": "Child", "States": map[string]any{
		"Child": map[string]any{"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2", "Parameters": map[string]any{"StateMachineArn": child}, "Next": "Below"},
		"Below": map[string]any{"Type": "Task", "Resource": "arn:aws:states:::states:startExecution", "Parameters": map[string]any{"StateMachineArn": below}, "Next": "Wait"}, "Wait": waits}})

	gone := func(name string) func() bool {
		return func() bool { _, lives := s.clusters()[name]; return !lives }
	}
	booked := func(execution, action string) string {
		for _, e := range s.ledger(execution) {
			if e.Action == action {
				return e.Reason
			}
		}
		return ""
	}
	for _, c := range []struct{ name, arn, status string }{{"timed-out", timedOut, "TIMED_OUT"}, {"broken", broken, "FAILED"}} {
		until(t, "the end of the execution "+c.name, func() bool { return status(c.arn) == c.status })
		until(t, "the end of the cluster "+c.name, gone(c.name))
		if why := booked(c.arn, "end-cluster"); !strings.HasSuffix(why, " is "+c.status) {
			t.Errorf("%s: the ledger gives the reason %q", c.name, why)
		}
	}
	until(t, "the launch of the cluster of the execution to be stopped", func() bool { return !gone("stopped")() })
	must("states", "StopExecution", map[string]any{"executionArn": stopped})
	until(t, "the end of the stopped execution's cluster", gone("stopped"))

	// Its maker has ended long ago; the one above it has not.
	until(t, "the start of the execution below", func() bool {
		return len(must("states", "ListExecutions", map[string]any{"stateMachineArn": below})["executions"].([]any)) == 1
	})
	for _, name := range []string{"childs", "tagged", "persons"} {
		if gone(name)() {
			t.Errorf("the cluster %s is gone", name)
		}
	}
	must("states", "StopExecution", map[string]any{"executionArn": parent})
	until(t, "the end of the child's cluster", gone("childs"))
	if why := booked(parent, "end-cluster"); !strings.Contains(why, parent+" is ABORTED") {
		t.Errorf("the ledger gives the reason %q", why)
	}
	until(t, "the opt-out's entry", func() bool { return strings.Contains(booked(tagged, "kept"), "mayfly:custody=off") })
	live := s.clusters()
	if live["tagged"] == "" || live["persons"] == "" || len(live) != 2 {
		t.Errorf("clusters live: %v, want the tagged one and the person's", live)
	}
	if slices.ContainsFunc(s.ledger(""), func(e entry) bool { return e.ID == live["persons"] }) {
		t.Error("the ledger has the person's cluster")
	}
	must("elasticmapreduce", "TerminateJobFlows", map[string]any{"JobFlowIds": []any{live["tagged"], live["persons"]}})
	until(t, "the end of all", func() bool { return len(s.clusters()) == 0 })
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
