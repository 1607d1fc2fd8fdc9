package emr_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/emrapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/proc"
	"github.com/mayfly-run/mayfly/services/emr"
	"github.com/mayfly-run/mayfly/services/emr/host"
	"github.com/mayfly-run/mayfly/spark"
	"github.com/mayfly-run/mayfly/spark/sparktest"
)

// fake is a server whose Spark does nothing, with a bucket. What its clusters do around Spark is real: steps, bootstrap
// actions, logs, states.
func fake(t *testing.T, change ...func(*emr.Config)) *server {
	t.Helper()
	in := sparktest.Installation(t)
	change = append([]func(*emr.Config){func(c *emr.Config) {
		c.Spark = func() (*spark.Installation, error) { return in, nil }
		c.Budget = host.Budget{Cores: 8, MemoryMB: 18000}
	}}, change...)
	s := start(t, t.TempDir(), "127.0.0.1:0", change...)
	s.change = change
	t.Cleanup(func() { s.stop() })
	call[s3api.CreateBucketOutput](s, "s3", "CreateBucket", &s3api.CreateBucketInput{Bucket: "bucket"})
	return s
}

// restart ends the server and starts it anew, with the same port and data.
func (s *server) restart() {
	s.t.Helper()
	s.stop()
	again := start(s.t, s.dir, s.port, s.change...)
	s.gateway, s.emr, s.stop = again.gateway, again.emr, again.stop
	s.watched = &again.bus
}

// refused is a call that must fail with this text.
func (s *server) refused(op string, in any, want string) {
	s.t.Helper()
	_, err := s.gateway.Invoke(s.t.Context(), awscall.Call{Principal: caller, Service: "elasticmapreduce", Operation: op, Input: awsapi.ToDocument(in)})
	var api *awsapi.Error
	if !errors.As(err, &api) || api.Error() != want || api.Status != 400 {
		s.t.Errorf("%s: %v\nwant %s", op, err, want)
	}
}

// page reads what the service shows over HTTP.
func (s *server) page(path string, v any) {
	s.t.Helper()
	res, err := http.Get("http://" + s.port + emr.Prefix + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		s.t.Fatalf("%s: %s %s %v", path, res.Status, b, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		s.t.Fatalf("%s: %v", b, err)
	}
}

func (s *server) terminate(id string) *emrapi.Cluster {
	s.t.Helper()
	call[emrapi.TerminateJobFlowsOutput](s, "elasticmapreduce", "TerminateJobFlows", &emrapi.TerminateJobFlowsInput{JobFlowIds: []string{id}})
	return s.untilState(id, "TERMINATED")
}

func (s *server) instances(id string, states ...string) []emrapi.Instance {
	s.t.Helper()
	return call[emrapi.ListInstancesOutput](s, "elasticmapreduce", "ListInstances", &emrapi.ListInstancesInput{ClusterId: id, InstanceStates: states}).Instances
}

// untilStep waits for a step's state.
func (s *server) untilStep(id, step, state string) {
	s.t.Helper()
	s.until(id+"/"+step, func() bool { return *s.step(id, step).Status.State == state })
}

// kill ends a process of a cluster, as a machine that goes away would.
func (s *server) kill(id string, path ...string) {
	s.t.Helper()
	p, err := proc.Open(filepath.Join(append([]string{s.dir, "emr", id}, path...)...))
	if err != nil {
		s.t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Stop(s.t.Context(), 0); err != nil {
		s.t.Fatal(err)
	}
}

// soon waits for what nothing tells of; the test's own deadline ends it.
func (s *server) soon(what string, cond func() bool) {
	s.t.Helper()
	for !cond() {
		if s.t.Context().Err() != nil {
			s.t.Fatal(what)
		}
	}
}

// TestWorkersAreReplaced lets worker processes and the master of a cluster end.
func TestWorkersAreReplaced(t *testing.T) {
	s := fake(t, func(c *emr.Config) { c.LogInterval = 10 * time.Millisecond })
	boot := s.put("boot.sh", "#!/bin/sh\necho made\n")
	id := s.run("replaced", 3, func(in *emrapi.RunJobFlowInput) {
		in.BootstrapActions = []emrapi.BootstrapActionConfig{{Name: "boot", ScriptBootstrapAction: &emrapi.ScriptBootstrapActionConfig{Path: boot}}}
	})
	s.untilState(id, "WAITING")
	// Three nodes share two workers; that is shown.
	var shown struct {
		Nodes   int
		Text    string
		Workers []struct {
			State    string
			Replaced int
			Nodes    []string
		}
	}
	s.page(id, &shown)
	before := s.instances(id)
	if shown.Text != "2 workers (1 core, 1616 MiB each) for 3 nodes" {
		t.Errorf("shown: %s", shown.Text)
	}
	if len(before) != 4 || shown.Nodes != 3 || len(shown.Workers) != 2 || len(shown.Workers[0].Nodes) != 2 || shown.Workers[0].Nodes[0] != *before[1].Ec2InstanceId {
		t.Fatalf("%d instances, %+v", len(before), shown)
	}
	log := "logs/" + id + "/node/"
	s.soon("the nodes' logs are not in S3", func() bool { return s.has(log + *before[0].Ec2InstanceId + "/provision-node/controller.gz") })
	if got := s.get(log + *before[0].Ec2InstanceId + "/provision-node/controller.gz"); !strings.Contains(got, "2 worker processes with 1 core and 1616 MiB each, 2000 MiB for a driver; they stand for 3 worker nodes") {
		t.Errorf("the master's log: %s", got)
	}
	s.soon("the shared worker's log", func() bool { return s.has(log + *before[3].Ec2InstanceId + "/provision-node/controller.gz") })
	if got := s.get(log + *before[3].Ec2InstanceId + "/provision-node/controller.gz"); !strings.Contains(got, "2 nodes share the worker process worker-0: "+strings.Join(shown.Workers[0].Nodes, ", ")) {
		t.Errorf("a node's log: %s", got)
	}
	s.soon("the daemons' logs are not in S3", func() bool {
		return s.has(log+*before[1].Ec2InstanceId+"/applications/spark/spark-worker.out.gz") && s.has(log+*before[0].Ec2InstanceId+"/applications/spark/spark-master.out.gz")
	})

	// A step runs while the shared worker ends: it goes on, and two new nodes come, after their bootstrap action.
	step := s.add(id, command("waits", "sh", "-c", "while [ ! -e "+filepath.Join(s.dir, "go")+" ]; do sleep 0.01; done"))[0]
	s.untilStep(id, step, "RUNNING")
	s.kill(id, "spark", "worker-0")
	s.until(id, func() bool {
		s.page(id, &shown)
		return shown.Workers[0].Replaced == 1 && shown.Workers[0].State == "RUNNING"
	})
	os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600)
	if st := s.untilEnded(id, step); *st.Status.State != "COMPLETED" {
		t.Errorf("step %s", *st.Status.State)
	}
	gone, here := s.instances(id, "TERMINATED"), s.instances(id, "RUNNING")
	if len(gone) != 2 || len(here) != 4 || len(s.instances(id)) != 6 {
		t.Fatalf("%d gone, %d here", len(gone), len(here))
	}
	for _, i := range gone {
		if r := i.Status.StateChangeReason; awsapi.Val(r.Code) != "INSTANCE_FAILURE" || awsapi.Val(r.Message) != "Spark's worker-0 ended: signal: killed" ||
			i.Status.Timeline.EndDateTime == nil || *i.Ec2InstanceId != *before[1].Ec2InstanceId && *i.Ec2InstanceId != *before[3].Ec2InstanceId {
			t.Errorf("gone: %s %+v", *i.Ec2InstanceId, r)
		}
	}
	for _, name := range shown.Workers[0].Nodes {
		if got := s.get(log + name + "/bootstrap-actions/1/stdout.gz"); got != "made\n" {
			t.Errorf("the bootstrap action of the new node %s wrote %q", name, got)
		}
	}
	groups := call[emrapi.ListInstanceGroupsOutput](s, "elasticmapreduce", "ListInstanceGroups", &emrapi.ListInstanceGroupsInput{ClusterId: id}).InstanceGroups
	if *groups[1].RequestedInstanceCount != 3 || *groups[1].RunningInstanceCount != 3 {
		t.Errorf("the group has %d of %d", *groups[1].RunningInstanceCount, *groups[1].RequestedInstanceCount)
	}

	// One that ends while the server is down is replaced at the next start.
	s.stop()
	s.kill(id, "spark", "worker-0-1")
	s.stop = func() {}
	s.restart()
	s.until(id, func() bool {
		s.page(id, &shown)
		return shown.Workers[0].Replaced == 2 && shown.Workers[0].State == "RUNNING"
	})

	s.kill(id, "spark", "master")
	c := s.untilState(id, "TERMINATED_WITH_ERRORS")
	if r := c.Status.StateChangeReason; awsapi.Val(r.Code) != "INSTANCE_FAILURE" || awsapi.Val(r.Message) != "The master node was terminated: Spark's master ended: signal: killed" {
		t.Errorf("reason %s %s", awsapi.Val(r.Code), awsapi.Val(r.Message))
	}
	if r := s.instances(id)[0].Status; *r.State != "TERMINATED" || awsapi.Val(r.StateChangeReason.Code) != "CLUSTER_TERMINATED" {
		t.Errorf("master %+v", r)
	}
	noProcessesOf(t, s.dir)
}

func TestLastWorkerEnds(t *testing.T) {
	s := fake(t)
	id := s.run("alone", 1, nil)
	s.untilState(id, "WAITING")
	s.kill(id, "spark", "worker-0")
	c := s.untilState(id, "TERMINATED_WITH_ERRORS")
	if r := c.Status.StateChangeReason; awsapi.Val(r.Code) != "INSTANCE_FAILURE" || awsapi.Val(r.Message) != "All core and task nodes were terminated: Spark's worker-0 ended: signal: killed" {
		t.Errorf("reason %s %s", awsapi.Val(r.Code), awsapi.Val(r.Message))
	}
	noProcessesOf(t, s.dir)
}

// TestAdmission has room for one cluster: the next ones wait, say so, and come up in their order, also across a restart.
func TestAdmission(t *testing.T) {
	s := fake(t, func(c *emr.Config) { c.Budget = host.Budget{Cores: 1, MemoryMB: 3000} })
	ids := []string{s.run("first", 2, nil)}
	s.untilState(ids[0], "WAITING")
	for _, name := range []string{"second", "gives up", "third"} {
		id := s.run(name, 2, nil)
		s.until(id, func() bool { return s.cluster(id).Status.StateChangeReason.Message != nil })
		ids = append(ids, id)
	}
	waits := "Waiting for capacity of this machine: 1 core and 2560 MiB of 1 core and 3000 MiB are held by " + ids[0]
	for i, want := range []string{waits + ".", waits + "; clusters that wait before this one: 1.", waits + "; clusters that wait before this one: 2."} {
		if c := s.cluster(ids[i+1]); *c.Status.State != "STARTING" || *c.Status.StateChangeReason.Message != want {
			t.Errorf("%s: %s\nwant %s", *c.Status.State, *c.Status.StateChangeReason.Message, want)
		}
	}
	s.terminate(ids[2])
	s.restart()
	var state host.State
	s.soon("those who wait", func() bool { s.page("", &state); return len(state.Waiting) == 2 })
	if len(state.Leases) != 1 || state.Leases[0].Cluster != ids[0] || state.Used != (host.Budget{Cores: 1, MemoryMB: 2560}) {
		t.Errorf("%+v", state)
	}
	if *s.cluster(ids[1]).Status.State != "STARTING" {
		t.Errorf("after the restart the second is %s", *s.cluster(ids[1]).Status.State)
	}
	s.terminate(ids[0])
	for _, id := range []string{ids[1], ids[3]} {
		if c := s.untilState(id, "WAITING"); *c.Status.StateChangeReason.Message != "Cluster ready to run steps." {
			t.Errorf("reason %s", *c.Status.StateChangeReason.Message)
		}
		s.terminate(id)
	}
	if s.page("", &state); len(state.Leases) != 0 || len(state.Waiting) != 0 {
		t.Errorf("%+v", state)
	}
	noProcessesOf(t, s.dir)
}

func TestNeverFits(t *testing.T) {
	s := fake(t, func(c *emr.Config) { c.Budget = host.Budget{Cores: 1, MemoryMB: 1000} })
	c := s.untilState(s.run("never", 1, nil), "TERMINATED_WITH_ERRORS")
	if r := c.Status.StateChangeReason; awsapi.Val(r.Code) != "VALIDATION_ERROR" || !strings.HasPrefix(awsapi.Val(r.Message), "The smallest cluster needs 1 core and 2560 MiB") {
		t.Errorf("reason %s %s", awsapi.Val(r.Code), awsapi.Val(r.Message))
	}
}

// TestLogsGrow reads a step's log from S3 while the step runs.
func TestLogsGrow(t *testing.T) {
	s := fake(t, func(c *emr.Config) { c.LogInterval = 10 * time.Millisecond })
	id := s.run("grows", 1, nil)
	step := s.add(id, command("grows", "sh", "-c", "echo one; while [ ! -e "+filepath.Join(s.dir, "go")+" ]; do sleep 0.01; done; echo two"))[0]
	key := "logs/" + id + "/steps/" + step + "/stdout.gz"
	s.untilStep(id, step, "RUNNING")
	s.soon("the log is not copied while the step runs", func() bool { return s.has(key) && s.get(key) == "one\n" })
	if got := *s.step(id, step).Status.State; got != "RUNNING" {
		t.Errorf("the step is %s", got)
	}
	os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600)
	s.untilEnded(id, step)
	if got := s.get(key); got != "one\ntwo\n" {
		t.Errorf("at the end the log is %q", got)
	}
	// What an executor wrote stands where YARN's containers do.
	dir := filepath.Join(s.dir, "emr", id, "spark", "worker-0", "work", "application_20260101000000_0001", "0")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "stderr"), []byte("executor\n"), 0o600)
	s.terminate(id)
	if got := s.get("logs/" + id + "/containers/application_20260101000000_0001/container_20260101000000_0001_01_000002/stderr.gz"); got != "executor\n" {
		t.Errorf("the executor's log is %q", got)
	}
}

func TestLogsCannotBeCopied(t *testing.T) {
	s := fake(t)
	id := s.run("no bucket", 1, func(in *emrapi.RunJobFlowInput) { in.LogUri = awsapi.Ptr("s3://nowhere/logs") })
	step := s.add(id, command("fine", "true"))[0]
	if st := s.untilEnded(id, step); *st.Status.State != "COMPLETED" {
		t.Errorf("step %s", *st.Status.State)
	}
	if got := s.follow(id, step, "controller", ""); strings.Count(got, "the logs could not be copied to s3://nowhere/logs: NoSuchBucket") != 1 {
		t.Errorf("controller %s", got)
	}
}

func TestClusterEnds(t *testing.T) {
	s := fake(t)
	bad := s.put("code/bad.sh", "#!/bin/bash\nexit 7\n")
	for _, c := range []struct {
		name, state, code, message string
		change                     func(*emrapi.RunJobFlowInput)
	}{
		{"its steps are done", "TERMINATED", "ALL_STEPS_COMPLETED", "Steps completed", func(in *emrapi.RunJobFlowInput) {
			in.Instances.KeepJobFlowAliveWhenNoSteps = nil
			in.Steps = []emrapi.StepConfig{command("fine", "true")}
		}},
		{"a step fails", "TERMINATED_WITH_ERRORS", "STEP_FAILURE", "Shut down as step failed", func(in *emrapi.RunJobFlowInput) {
			in.Steps = []emrapi.StepConfig{command("bad", "false")}
			in.Steps[0].ActionOnFailure = awsapi.Ptr("TERMINATE_CLUSTER")
		}},
		{"a bootstrap action fails", "TERMINATED_WITH_ERRORS", "BOOTSTRAP_FAILURE", "bootstrap action 1 returned a non-zero return code", func(in *emrapi.RunJobFlowInput) {
			in.BootstrapActions = []emrapi.BootstrapActionConfig{{Name: "bad", ScriptBootstrapAction: &emrapi.ScriptBootstrapActionConfig{Path: bad}}}
		}},
		{"a bootstrap action is missing", "TERMINATED_WITH_ERRORS", "BOOTSTRAP_FAILURE", "could not be downloaded: NoSuchKey", func(in *emrapi.RunJobFlowInput) {
			in.BootstrapActions = []emrapi.BootstrapActionConfig{{Name: "none", ScriptBootstrapAction: &emrapi.ScriptBootstrapActionConfig{Path: "s3://bucket/none.sh"}}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			id := s.run(c.name, 1, c.change)
			got := s.untilState(id, c.state)
			if code := awsapi.Val(got.Status.StateChangeReason.Code); code != c.code {
				t.Errorf("code %s", code)
			}
			if message := awsapi.Val(got.Status.StateChangeReason.Message); !strings.Contains(message, c.message) {
				t.Errorf("message %q", message)
			}
			noProcessesOf(t, s.dir)
		})
	}
	s.t = t
}
