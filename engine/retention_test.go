package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

const day = 24 * time.Hour

// keeping is a server that keeps what has ended for 90 days.
func keeping(t *testing.T, st store.Store, f *fake) *server {
	t.Helper()
	return startKeeping(t, st, f, engine.DefaultRetention)
}

// begin starts an execution and waits for its end.
func (s *server) begin(t *testing.T, name, definition, input string) *engine.Description {
	t.Helper()
	if _, err := s.CreateExecution(t.Context(), request(name, definition, input)); err != nil {
		t.Fatal(err)
	}
	d := s.ended(t, arn(name))
	time.Sleep(time.Second) // of the bubble: what it asked for is done
	return d
}

// left are the IDs of rows that tell of executions and map runs.
func left(t *testing.T, st store.Store) (ids []string) {
	t.Helper()
	for _, kind := range []string{"execution", "maprun", "ended"} {
		found, err := st.List(t.Context(), store.Query{Service: "states", Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			ids = append(ids, kind+" "+f.Key.ID)
		}
	}
	return ids
}

// nested is a distributed Map whose children have one each.
var nested = mapOver("STANDARD", "", `"StartAt": "In", "States": {"In": {"Type": "Map", "Label": "in", "ItemsPath": "$", "End": true,
	"ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, `+onePass+`}}}`)

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStore(t)
		fails := true
		f := &fake{start: func(_ context.Context, t integration.Task) (integration.Result, error) {
			if fails {
				return integration.Result{Failure: &asl.Failure{Error: "No"}}, nil
			}
			return integration.Result{Output: t.Input}, nil
		}}
		s := keeping(t, st, f)
		s.begin(t, "plain", threePass, `{"x":1}`)
		s.begin(t, "nested", nested, `[[1,2],[3]]`)
		s.begin(t, "redriven", task("arn:aws:states:::lambda:invoke", ""), `{}`)
		if _, err := s.CreateExecution(t.Context(), request("long", `{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":31536000,"End":true}}}`, `{}`)); err != nil {
			t.Fatal(err)
		}
		run := s.mapRun(t, arn("nested")).ARN
		children, err := s.ListExecutions(t.Context(), run, "", "", 10)
		if err != nil || len(children) != 2 {
			t.Fatalf("children %v, %v", children, err)
		}
		time.Sleep(10 * day)
		fails = false
		if _, err := s.RedriveExecution(t.Context(), engine.Redrive{ARN: arn("redriven")}); err != nil {
			t.Fatal(err)
		}
		s.ended(t, arn("redriven"))
		time.Sleep(79 * day)
		for _, name := range []string{"plain", "nested", "redriven", "long"} {
			s.status(t, arn(name))
		}
		if _, err := s.CreateExecution(t.Context(), request("plain", threePass, `{"x":1}`)); code(err) != "ExecutionAlreadyExists" {
			t.Errorf("a name before its retention has passed: %v", err)
		}

		time.Sleep(2 * day)
		for _, gone := range []string{arn("plain"), arn("nested"), children[0].ARN} {
			if _, err := s.Describe(t.Context(), gone); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v", gone, err)
			}
			if h := s.history(t, gone); h != "" {
				t.Errorf("%s has a history: %s", gone, h)
			}
		}
		if _, err := s.MapRun(t.Context(), run); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", run, err)
		}
		s.status(t, arn("redriven")) // its retention began again
		s.status(t, arn("long"))
		if rows := left(t, st); len(rows) != 3 {
			t.Errorf("left %q", rows)
		}
		if d := s.begin(t, "plain", threePass, `{"x":2}`); d.Input.String() != `{"x":2}` || d.LastEvent != 8 {
			t.Errorf("the name again: %+v", d)
		}
		if h := s.history(t, arn("plain")); h != "ExecutionStarted PassStateEntered PassStateExited PassStateEntered PassStateExited PassStateEntered PassStateExited ExecutionSucceeded" {
			t.Error(h)
		}

		s.stop()
		time.Sleep(400 * day)
		s = keeping(t, st, f) // a sweep begins with the server
		time.Sleep(time.Minute)
		if s.ended(t, arn("long")).Status != execution.TimedOut { // it ends now, open for more than a year: its retention begins
			t.Error("the long one has not ended")
		}
		time.Sleep(89 * day)
		if rows := left(t, st); len(rows) != 2 {
			t.Errorf("left %q", rows)
		}
		time.Sleep(2 * day)
		if rows := left(t, st); len(rows) != 0 {
			t.Errorf("left %q", rows)
		}
		s.stop()
	})
}

// TestRetentionWaitsForAncestors: an execution stays while one above it runs, even if those between have ended.
func TestRetentionWaitsForAncestors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStore(t)
		s := keeping(t, st, &fake{})
		wait := `{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":8640000,"End":true}}}` // 100 days
		for _, x := range []struct{ name, definition, parent string }{{"top", wait, ""}, {"middle", threePass, arn("top")}, {"low", threePass, arn("middle")}} {
			r := request(x.name, x.definition, `{}`)
			r.Identity.Parent = x.parent
			if _, err := s.CreateExecution(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(99 * day)
		s.status(t, arn("low"))
		s.status(t, arn("middle"))
		time.Sleep(2 * day)
		if rows := left(t, st); len(rows) != 2 || rows[0] != "execution "+arn("top") {
			t.Errorf("left %q", rows)
		}
		s.stop()
	})
}

// dying fails every commit after some that forget.
type dying struct {
	store.Store
	left atomic.Int64
}

func (d *dying) CommitAsync(b store.Batch, done func(error)) {
	if d.left.Load() <= 0 || b.Forget != "" && d.left.Add(-1) < 0 {
		go done(errDied)
		return
	}
	d.Store.CommitAsync(b, done)
}

func (d *dying) Commit(ctx context.Context, b store.Batch) error {
	done := make(chan error, 1)
	d.CommitAsync(b, func(err error) { done <- err })
	return <-done
}

var errDied = errors.New("died")

// TestCrashInSweep: whatever was forgotten when the server died, the next one forgets the rest, and leaves an execution
// alone that has got the name meanwhile.
func TestCrashInSweep(t *testing.T) {
	for after := range int64(8) {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := memory.New()
				defer st.Close()
				s := keeping(t, st, &fake{})
				s.begin(t, "x", nested, `[[1,2],[3]]`)
				s.stop()
				time.Sleep(91 * day)
				broken := &dying{Store: st}
				broken.left.Store(after)
				s = keeping(t, broken, &fake{})
				time.Sleep(time.Minute)
				s.stop()

				s = keeping(t, st, &fake{})
				time.Sleep(time.Minute)
				if rows := left(t, st); len(rows) != 0 {
					t.Errorf("left %q", rows)
				}
				again := s.begin(t, "x", nested, `[[4]]`)
				s.stop()
				time.Sleep(time.Hour)
				s = keeping(t, st, &fake{})
				time.Sleep(2 * time.Hour)
				if again.Output.String() != `[[4]]` || s.status(t, arn("x")) != execution.Succeeded {
					t.Errorf("the name again: %s", again.Output)
				}
				if rows := left(t, st); len(rows) != 1+2+2+1 {
					t.Errorf("left %q", rows)
				}
				s.stop()
			})
		})
	}
}

// TestReusedName: a sweep that died after the execution itself comes back when another has its name.
func TestReusedName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStore(t)
		s := keeping(t, st, &fake{})
		s.begin(t, "x", nested, `[[1,2],[3]]`)
		old := left(t, st)
		s.stop()
		time.Sleep(91 * day)
		broken := &dying{Store: st}
		broken.left.Store(1)
		s = keeping(t, broken, &fake{})
		time.Sleep(time.Minute)
		s.stop()

		e := start(t, st, &fake{})
		e.begin(t, "x", nested, `[[4]]`)
		e.stop()
		s = keeping(t, st, &fake{})
		time.Sleep(time.Minute)
		rows := left(t, st)
		for _, row := range rows {
			if slices.Contains(old, row) && row != "execution "+arn("x") {
				t.Errorf("%s is left of the first", row)
			}
		}
		if len(rows) != 1+2+2+1 {
			t.Errorf("left %q", rows)
		}
		s.stop()
	})
}
