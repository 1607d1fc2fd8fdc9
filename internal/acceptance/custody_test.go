package acceptance

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
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

// An execution that is stopped runs no clean-up of its own; what it made ends all the same, and the ledger says why.
func TestStoppedExecutionLeavesNothing(t *testing.T) {
	s, run := prepared(t)
	calls := caller(s.endpoint())
	arn, err := run.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	living := func() int {
		out, err := calls(t.Context(), "elasticmapreduce", "ListClusters", map[string]any{"ClusterStates": []any{"STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"}})
		if err != nil {
			t.Fatal(err)
		}
		l, _ := out["Clusters"].([]any)
		return len(l)
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for range 600 {
			if done() {
				return
			}
			wait(100 * time.Millisecond)
		}
		t.Fatalf("%s did not happen within a minute", what)
	}
	until("the launch of a cluster", func() bool { return living() == 1 })
	if _, err := calls(t.Context(), "states", "StopExecution", map[string]any{"executionArn": arn}); err != nil {
		t.Fatal(err)
	}
	until("the end of the cluster", func() bool { return living() == 0 })
	until("the deletion of its stack", func() bool {
		out, err := calls(t.Context(), "cloudformation", "DescribeStacks", map[string]any{})
		if err != nil {
			t.Fatal(err)
		}
		return len(out["Stacks"].([]any)) == 1 // the pipeline's own
	})
	resp, err := http.Get(s.endpoint() + "/_mayfly/custody")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var ledger []map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&ledger); err != nil {
		t.Fatal(err)
	}
	told, _ := json.Marshal(ledger)
	if !strings.Contains(string(told), arn) {
		t.Errorf("the ledger does not name the execution: %s", told)
	}
	none(t, s.dir, func(p string) bool {
		return strings.Contains(p, "mayfly serve") || strings.Contains(p, "bootstrap")
	})
}
