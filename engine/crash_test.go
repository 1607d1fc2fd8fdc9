package engine_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/internal/wake"
	"github.com/mayfly-run/mayfly/store/memory"
)

// world is what an execution finds outside: it outlives the server, and remembers what was asked of it by request key.
type world struct {
	mu    sync.Mutex
	calls map[string]int       // how often each key came
	state map[string]int       // how many different keys a state has had
	ends  map[string]time.Time // when each job ends
}

func (w *world) Start(ctx context.Context, t integration.Task) (integration.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls[t.RequestKey]++; w.calls[t.RequestKey] == 1 {
		w.state[t.State]++
	}
	switch {
	case t.Resource.Pattern.Submits():
		if w.ends[t.RequestKey].IsZero() {
			w.ends[t.RequestKey] = time.Now().Add(10 * time.Second)
		}
		return integration.Result{Running: true, Output: jsonvalue.MustParse(`{"Id":1}`), Handle: []byte(t.RequestKey)}, nil
	case t.State == "Shaky" && w.state["Shaky"] < 3:
		return integration.Result{Failure: &asl.Failure{Error: "Shaky", Cause: fmt.Sprint("try ", w.state["Shaky"])}}, nil
	}
	return integration.Result{Output: t.Input}, nil
}

func (w *world) Poll(_ context.Context, j integration.Job) (integration.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Now().Before(w.ends[string(j.Handle)]) {
		return integration.Result{Running: true}, nil
	}
	return integration.Result{Output: jsonvalue.MustParse(`{"Job":"done"}`)}, nil
}

func (w *world) Cancel(context.Context, integration.Job) error { return nil }
func (w *world) Watches(integration.Job) []string              { return nil }

const journey = `{"StartAt": "Set", "States": {
  "Set": {"Type": "Pass", "Assign": {"who.$": "$.who"}, "Next": "Rest"},
  "Rest": {"Type": "Wait", "Seconds": 3, "Next": "Shaky"},
  "Shaky": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"who.$": "$who"}, "TimeoutSeconds": 100,
    "Retry": [{"ErrorEquals": ["Shaky"], "IntervalSeconds": 2}], "ResultPath": "$.shaky", "Next": "Step"},
  "Step": {"Type": "Task", "Resource": "arn:aws:states:::elasticmapreduce:addStep.sync", "Parameters": {"Id": 1}, "ResultPath": "$.step", "Next": "Each"},
  "Each": {"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 1, "ItemProcessor": {"StartAt": "One", "States": {
     "One": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "Parameters": {"n.$": "$"}, "Next": "Nap"},
     "Nap": {"Type": "Wait", "Seconds": 1, "End": true}}}, "ResultPath": "$.each", "Next": "Both"},
  "Both": {"Type": "Parallel", "Branches": [
     {"StartAt": "B1", "States": {"B1": {"Type": "Wait", "Seconds": 4, "End": true}}},
     {"StartAt": "B2", "States": {"B2": {"Type": "Wait", "Seconds": 6, "Next": "No"}, "No": {"Type": "Fail", "Error": "No", "Cause": "no"}}}],
     "Catch": [{"ErrorEquals": ["No"], "ResultPath": "$.no", "Next": "End"}], "End": true},
  "End": {"Type": "Succeed"}}}`

// TestCrashAfterEveryCommit runs an execution twice: undisturbed, and with a server that ends after each record and
// begins anew on the same store. The histories are the same, and nothing is asked of the world under two keys.
func TestCrashAfterEveryCommit(t *testing.T) {
	tell := func(t *testing.T, crash bool) (history string, restarts int, w *world) {
		w = &world{calls: map[string]int{}, state: map[string]int{}, ends: map[string]time.Time{}}
		st := memory.New()
		defer st.Close()
		var mu sync.Mutex
		dirty := false
		begin := func() (*engine.Engine, *durable.Loop) {
			loop := durable.New(durable.Config{Store: st})
			e, err := engine.New(t.Context(), engine.Config{Store: st, Loop: loop, Integrations: w, Wake: &wake.Bus{},
				Observe: func(*execution.Snapshot, []execution.Fact) {
					mu.Lock()
					defer mu.Unlock()
					dirty = true
				}})
			if err != nil {
				t.Fatal(err)
			}
			if err := loop.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := e.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			return e, loop
		}
		e, loop := begin()
		if _, err := e.CreateExecution(t.Context(), request("x", journey, `{"who":"Ada","items":[1,2,3]}`)); err != nil {
			t.Fatal(err)
		}
		for range 2000 {
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			again := dirty && crash
			dirty = false
			mu.Unlock()
			if again {
				restarts++
				e.Stop()
				loop.Stop()
				e, loop = begin()
			}
			d, err := e.Describe(t.Context(), arn("x"))
			if err != nil {
				t.Fatal(err)
			}
			if d.Status != execution.Running {
				break
			}
		}
		var b strings.Builder
		for ev, err := range e.History(t.Context(), arn("x")) {
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&b, ev.Line())
		}
		e.Stop()
		loop.Stop()
		return b.String(), restarts, w
	}
	synctest.Test(t, func(t *testing.T) {
		want, _, calm := tell(t, false)
		got, restarts, stormy := tell(t, true)
		if !strings.Contains(want, "ExecutionSucceeded") || restarts < 6 {
			t.Fatalf("%d restarts of\n%s", restarts, want)
		}
		if got != want {
			t.Errorf("with crashes:\n%s\nwithout:\n%s", got, want)
		}
		if fmt.Sprint(stormy.state) != fmt.Sprint(calm.state) {
			t.Errorf("asked for %v with crashes, %v without", stormy.state, calm.state)
		}
	})
}
