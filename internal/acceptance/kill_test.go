package acceptance

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kills is how often the server is killed.
const kills = 40

// The programs of the kill test do next to nothing: what is tested is everything around them.
var trivial = map[string][]byte{
	"preprocessing": []byte("print('nothing to do')\n"),
	"model": []byte(`import json, os, sys, urllib.parse
import boto3
at = urllib.parse.urlparse(sys.argv[4])
boto3.client("s3").put_object(Bucket=at.netloc, Key=at.path.strip("/") + "/manifest.json", Body=json.dumps({"anomalies": 0, "rows": 0, "days": []}))
`),
}

// TestKill kills the server at random moments of runs. Each run ends in SUCCEEDED or an honest failure; nothing is left, and
// nothing was done twice: executions, stacks, clusters, steps and mails are counted in the services' own ledgers.
func TestKill(t *testing.T) {
	s, run := prepared(t)
	ctx := t.Context()
	calls := caller(s.endpoint())
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	length := 12 * time.Second // of a run; measured by the first
	outcomes := map[string]int{}
	var executions []string
	succeeded := map[string]bool{}
	for n := range kills + 1 { // the first is measured, and left in peace
		began := time.Now()
		arn, err := run.Start(ctx)
		if err != nil {
			t.Fatal(err)
		}
		executions = append(executions, arn)
		if n > 0 {
			wait(time.Duration(random.Int64N(int64(length))))
			s.kill()
			s.start()
		}
		status := s.end(t, arn, 3*time.Minute)
		if n == 0 {
			length = time.Since(began)
		}
		outcomes[status]++
		succeeded[arn] = status == "SUCCEEDED"
		switch d, err := calls(ctx, "states", "DescribeExecution", map[string]any{"executionArn": arn}); {
		case err != nil:
			t.Fatal(err)
		case status == "FAILED" && d["error"] != "" && d["error"] != nil && d["cause"] != nil:
			t.Logf("run %d failed: %v: %v", n, d["error"], d["cause"])
		case status != "SUCCEEDED":
			t.Errorf("run %d is %s: %v %v", n, status, d["error"], d["cause"])
		}
	}
	t.Logf("%d runs of about %s, %d kills: %v", len(executions), length.Round(time.Millisecond), kills, outcomes)
	if outcomes["SUCCEEDED"] < kills/2 {
		t.Errorf("only %d of %d runs succeeded", outcomes["SUCCEEDED"], len(executions))
	}

	// What is left: the server itself, and the functions' warm instances.
	none(t, s.dir, func(p string) bool {
		return strings.Contains(p, "mayfly serve") || strings.Contains(p, "/lambda/") || strings.Contains(p, "bootstrap")
	})
	left(t, s.endpoint())
	count := func(service, operation, list string, in map[string]any) []any {
		t.Helper()
		var all []any
		for {
			out, err := calls(ctx, service, operation, in)
			if err != nil {
				t.Fatal(err)
			}
			l, _ := out[list].([]any)
			all = append(all, l...)
			more := false
			for from, to := range map[string]string{"nextToken": "nextToken", "NextToken": "NextToken", "Marker": "Marker"} {
				if token, ok := out[from].(string); ok && token != "" {
					in[to], more = token, true
				}
			}
			if !more {
				return all
			}
		}
	}
	machine := strings.Replace(executions[0][:strings.LastIndexByte(executions[0], ':')], ":execution:", ":stateMachine:", 1)
	if got := count("states", "ListExecutions", "executions", map[string]any{"stateMachineArn": machine}); len(got) != len(executions) {
		t.Errorf("%d executions are listed, %d were started", len(got), len(executions))
	}
	// Custody's ledger says what each execution has made; the services say the same.
	stacks, clusters := map[string]bool{}, map[string]bool{}
	for _, arn := range executions {
		mine := map[string]map[string]bool{"stack": {}, "cluster": {}} // kind, id: gone
		for _, e := range s.ledger(arn) {
			mine[e.Kind][e.ID] = mine[e.Kind][e.ID] || e.Action == "gone"
		}
		if n, m := len(mine["stack"]), len(mine["cluster"]); n > 1 || m > 1 || succeeded[arn] && (n != 1 || m != 1) {
			t.Errorf("%s made %d stacks and %d clusters", arn, n, m)
		}
		for kind, all := range map[string]map[string]bool{"stack": stacks, "cluster": clusters} {
			for id, gone := range mine[kind] {
				if all[id] = true; !gone {
					t.Errorf("%s left the %s %s", arn, kind, id)
				}
			}
		}
		for id := range mine["cluster"] {
			names := map[string]int{}
			for _, step := range count("elasticmapreduce", "ListSteps", "Steps", map[string]any{"ClusterId": id}) {
				names[step.(map[string]any)["Name"].(string)]++
			}
			for name, n := range names {
				if n != 1 {
					t.Errorf("cluster %s has the step %s %d times", id, name, n)
				}
			}
			if succeeded[arn] && len(names) != 2 {
				t.Errorf("cluster %s of an execution that succeeded has the steps %v", id, names)
			}
		}
	}
	made := map[string]int{}
	for _, x := range count("cloudformation", "ListStacks", "StackSummaries", map[string]any{}) {
		made[x.(map[string]any)["StackName"].(string)]++
	}
	delete(made, "mayfly-pipeline")
	if len(made) != len(stacks) {
		t.Errorf("CloudFormation lists %d stacks, the ledger %d", len(made), len(stacks))
	}
	for name, n := range made {
		if n != 1 {
			t.Errorf("the stack %s was made %d times", name, n)
		}
	}
	if n := len(count("elasticmapreduce", "ListClusters", "Clusters", map[string]any{})); n != len(clusters) {
		t.Errorf("EMR lists %d clusters, the ledger %d", n, len(clusters))
	}
	mails, err := filepath.Glob(filepath.Join(s.dir, "mail", "*.eml"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(mails) - 1; n != len(executions) { // one asked for the confirmation
		t.Errorf("%d mails for %d executions", n, len(executions))
	}
}

// end waits for an execution's last status.
func (s *server) end(t *testing.T, arn string, most time.Duration) string {
	t.Helper()
	calls := caller(s.endpoint())
	for range int(most / (100 * time.Millisecond)) {
		d, err := calls(t.Context(), "states", "DescribeExecution", map[string]any{"executionArn": arn})
		if err != nil {
			t.Fatal(errors.Join(errors.New("a started execution is not known any more"), err))
		}
		if status := d["status"].(string); status != "RUNNING" {
			return status
		}
		wait(100 * time.Millisecond)
	}
	return "RUNNING after " + most.String()
}
