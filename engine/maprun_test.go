package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/wake"
	"github.com/mayfly-run/mayfly/maprun"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

// mapOver is a machine with one distributed Map; fields are what the Map has besides its processor.
func mapOver(child, fields, states string) string {
	return `{"StartAt": "Each", "States": {"Each": {"Type": "Map", "Label": "each", "ItemProcessor": {
	  "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "` + child + `"}, ` + states + `}, ` + fields + ` "End": true}}}`
}

const onePass = `"StartAt": "One", "States": {"One": {"Type": "Pass", "End": true}}`

// pickyFails is a child that fails for items that say so.
const picky = `"StartAt": "Look", "States": {"Look": {"Type": "Choice", "Choices": [{"Variable": "$.bad", "IsPresent": true, "Next": "No"}], "Default": "Yes"},
  "Yes": {"Type": "Succeed"}, "No": {"Type": "Fail", "Error": "Bad", "Cause": "item"}}`

func (s *server) ended(t *testing.T, arn string) *engine.Description {
	t.Helper()
	for range 10000 {
		d, err := s.Describe(t.Context(), arn)
		if err != nil {
			t.Fatal(err)
		}
		if d.Status != execution.Running {
			return d
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s did not end", arn)
	return nil
}

// mapRun is the newest map run of an execution.
func (s *server) mapRun(t *testing.T, arn string) *engine.MapRun {
	t.Helper()
	rows, err := s.ListMapRuns(t.Context(), arn, "", 10)
	if err != nil || len(rows) == 0 {
		t.Fatalf("map runs of %s: %v %v", arn, rows, err)
	}
	r, err := s.MapRun(t.Context(), rows[0].ARN)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func list(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ",%d", i)
	}
	return "[" + strings.TrimPrefix(b.String(), ",") + "]"
}

func TestMapRuns(t *testing.T) {
	for _, c := range []struct {
		name, fields, states, input string
		status                      execution.Status
		output, failure             string
		executions, items           maprun.Counts
	}{
		{"plain", ``, onePass, `[1,2,3]`, execution.Succeeded, `[1,2,3]`, "", maprun.Counts{Succeeded: 3}, maprun.Counts{Succeeded: 3}},
		{"no items", ``, onePass, `[]`, execution.Succeeded, `[]`, "", maprun.Counts{}, maprun.Counts{}},
		{"many", ``, onePass, list(2500), execution.Succeeded, list(2500), "", maprun.Counts{Succeeded: 2500}, maprun.Counts{Succeeded: 2500}},
		{"one at a time", `"MaxConcurrency": 1,`, onePass, `["a","b"]`, execution.Succeeded, `["a","b"]`, "", maprun.Counts{Succeeded: 2}, maprun.Counts{Succeeded: 2}},
		{"members", ``, onePass, `{"a":1,"b":2}`, execution.Succeeded, `[{"Key":"a","Value":1},{"Key":"b","Value":2}]`, "", maprun.Counts{Succeeded: 2}, maprun.Counts{Succeeded: 2}},
		{"selector", `"ItemsPath": "$.l", "ItemSelector": {"v.$": "$$.Map.Item.Value", "i.$": "$$.Map.Item.Index", "s.$": "$$.Map.Item.Source", "x.$": "$.x"},`, onePass, `{"l":["a"],"x":7}`,
			execution.Succeeded, `[{"v":"a","i":0,"s":"STATE_DATA","x":7}]`, "", maprun.Counts{Succeeded: 1}, maprun.Counts{Succeeded: 1}},
		{"batches", `"ItemBatcher": {"MaxItemsPerBatch": 2, "BatchInput": {"b": 1}},`, onePass, `[1,2,3]`, execution.Succeeded,
			`[{"BatchInput":{"b":1},"Items":[1,2]},{"BatchInput":{"b":1},"Items":[3]}]`, "", maprun.Counts{Succeeded: 2}, maprun.Counts{Succeeded: 3}},
		{"bytes", `"ItemBatcher": {"MaxInputBytesPerBatch": 21},`, onePass, `["aaa","bbb","c"]`, execution.Succeeded,
			`[{"Items":["aaa"]},{"Items":["bbb","c"]}]`, "", maprun.Counts{Succeeded: 2}, maprun.Counts{Succeeded: 3}},
		{"a failure", `"MaxConcurrency": 1,`, picky, `[{},{"bad":1},{}]`, execution.Failed, ``, "States.ExceedToleratedFailureThreshold",
			maprun.Counts{Succeeded: 1, Failed: 1, Pending: 1}, maprun.Counts{Succeeded: 1, Failed: 1, Pending: 1}},
		{"a tolerated failure", `"ToleratedFailureCount": 1,`, picky, `[{},{"bad":1},{"n":2}]`, execution.Succeeded, `[{},{"n":2}]`, "", maprun.Counts{Succeeded: 2, Failed: 1}, maprun.Counts{Succeeded: 2, Failed: 1}},
		{"a tolerated percentage", `"ToleratedFailurePercentage": 50,`, picky, `[{"bad":1},{}]`, execution.Succeeded, `[{}]`, "", maprun.Counts{Succeeded: 1, Failed: 1}, maprun.Counts{Succeeded: 1, Failed: 1}},
		{"all tolerated", `"ToleratedFailurePercentage": 100,`, picky, `[{"bad":1}]`, execution.Succeeded, `[]`, "", maprun.Counts{Failed: 1}, maprun.Counts{Failed: 1}},
		{"large", ``, onePass, `["` + strings.Repeat("x", 150_000) + `","` + strings.Repeat("y", 100_000) + `"]`, execution.Succeeded,
			`["` + strings.Repeat("x", 150_000) + `","` + strings.Repeat("y", 100_000) + `"]`, "", maprun.Counts{Succeeded: 2}, maprun.Counts{Succeeded: 2}},
		{"too large", `"ItemSelector": {"all.$": "$"},`, onePass, `["` + strings.Repeat("x", 150_000) + `","b"]`, execution.Failed, ``, "States.DataLimitExceeded",
			maprun.Counts{Succeeded: 2}, maprun.Counts{Succeeded: 2}},
		{"a path that is not there", `"ItemSelector": {"v.$": "$.no"},`, onePass, `[1]`, execution.Failed, ``, "States.Runtime", maprun.Counts{Pending: 1}, maprun.Counts{Pending: 1}},
	} {
		for _, child := range []string{"STANDARD", "EXPRESS"} {
			t.Run(c.name+"/"+child, func(t *testing.T) {
				s := start(t, newStore(t), &fake{})
				defer s.stop()
				if _, err := s.CreateExecution(t.Context(), request("x", mapOver(child, c.fields, c.states), c.input)); err != nil {
					t.Fatal(err)
				}
				d := s.ended(t, arn("x"))
				got := ""
				if d.Failure != nil {
					got = d.Failure.Error
				}
				if d.Status != c.status || d.Output.String() != c.output && c.output != "" || got != c.failure {
					t.Errorf("%s %.200s %v\n%s", d.Status, d.Output, d.Failure, s.history(t, arn("x")))
				}
				r := s.mapRun(t, arn("x"))
				if r.Executions != c.executions || r.Items != c.items {
					t.Errorf("executions %+v items %+v", r.Executions, r.Items)
				}
				if child == "STANDARD" {
					rows, err := s.ListExecutions(t.Context(), r.ARN, "", "", 10000)
					if n := c.executions.Total() - c.executions.Pending; err != nil || int64(len(rows)) != n {
						t.Errorf("%d children in the list: %v", len(rows), err)
					}
					slices.SortFunc(rows, func(a, b engine.Row) int { return int(a.Child - b.Child) })
					for i := 1; i < len(rows); i++ {
						if rows[i-1].Name >= rows[i].Name {
							t.Errorf("child %d is %s, the next is %s: names are in order", rows[i-1].Child, rows[i-1].Name, rows[i].Name)
						}
					}
				}
			})
		}
	}
}

// TestMapRunEdited redrives a map run with a changed definition: the children that failed go on with it, Standard ones where
// they failed, Express ones from their beginning, and the others keep what they gave.
func TestMapRunEdited(t *testing.T) {
	for _, child := range []string{"STANDARD", "EXPRESS"} {
		t.Run(child, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, newStore(t), &fake{})
				defer s.stop()
				const fields = `"ToleratedFailureCount": 1, "ItemBatcher": {"MaxItemsPerBatch": 2},`
				machine := func(test string) string {
					return mapOver(child, fields, `"StartAt": "Look", "States": {"Look": {"Type": "Choice", "Choices": [{"Variable": "$.Items[0].n", "`+test+`": 3, "Next": "No"}], "Default": "Yes"},
					  "Yes": {"Type": "Pass", "Parameters": {"`+test+`.$": "$.Items[*].n"}, "End": true}, "No": {"Type": "Fail", "Error": "Bad"}}`)
				}
				// Batches of two: the first of items 4 and 5, which is 4, fails, and so does that of 6.
				if _, err := s.CreateExecution(t.Context(), request("x", machine("NumericGreaterThan"), `[{"n":0},{"n":1},{"n":4},{"n":5},{"n":6}]`)); err != nil {
					t.Fatal(err)
				}
				d := s.ended(t, arn("x"))
				synctest.Wait()
				if r := s.mapRun(t, arn("x")); d.Status != execution.Failed || r.Items.Failed != 3 || r.Executions.Failed != 2 || r.Items.Succeeded != 2 {
					t.Fatalf("%+v %+v", d, r)
				}
				time.Sleep(time.Second)
				if _, err := s.RedriveExecution(t.Context(), engine.Redrive{ARN: arn("x"), Definition: []byte(machine("NumericEquals"))}); err != nil {
					t.Fatal(err)
				}
				d = s.ended(t, arn("x"))
				if child == "STANDARD" { // they stand in the Fail state, which fails again
					if r := s.mapRun(t, arn("x")); d.Status != execution.Failed || r.Redrives != 1 || r.Items.Failed != 3 {
						t.Errorf("%+v %+v", d, r)
					}
					return
				}
				const want = `[{"NumericGreaterThan":[0,1]},{"NumericEquals":[4,5]},{"NumericEquals":[6]}]`
				if r := s.mapRun(t, arn("x")); d.Output.String() != want || r.Redrives != 1 || r.Items.Succeeded != 5 || r.Executions.Succeeded != 3 || r.Items.Total() != 5 {
					t.Errorf("%s %v %+v", d.Output, d.Failure, r)
				}
			})
		})
	}
}

// cut is a store that is gone after some commits, as when the server is killed there.
type cut struct {
	store.Store
	mu   sync.Mutex
	left int // commits until then
}

var errKilled = errors.New("killed")

func (c *cut) gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
	return c.left < 0
}

func (c *cut) Commit(ctx context.Context, b store.Batch) error {
	if c.gone() {
		return errKilled
	}
	return c.Store.Commit(ctx, b)
}

func (c *cut) CommitAsync(b store.Batch, done func(error)) {
	if c.gone() {
		go done(errKilled)
		return
	}
	c.Store.CommitAsync(b, done)
}

// TestMapRunKilled kills the server after each commit of a map run, and lets another one go on. The history of the
// execution is the same, each item's work is asked for under one key, and no child is lost.
func TestMapRunKilled(t *testing.T) {
	const work = `"StartAt": "Work", "States": {"Work": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "Next": "Look"},
	  "Look": {"Type": "Choice", "Choices": [{"Variable": "$.bad", "IsPresent": true, "Next": "No"}], "Default": "Yes"},
	  "Yes": {"Type": "Succeed"}, "No": {"Type": "Fail", "Error": "Bad"}}`
	for _, c := range []struct{ name, child, fields, input, output string }{
		{"Standard", "STANDARD", `"MaxConcurrency": 2, "ToleratedFailureCount": 1,`, `[{"n":0},{"n":1},{"bad":1},{"n":3},{"n":4}]`, `[{"n":0},{"n":1},{"n":3},{"n":4}]`},
		{"Express", "EXPRESS", `"MaxConcurrency": 2, "ToleratedFailureCount": 1,`, `[{"n":0},{"n":1},{"bad":1},{"n":3},{"n":4}]`, `[{"n":0},{"n":1},{"n":3},{"n":4}]`},
		{"failing", "STANDARD", `"MaxConcurrency": 2,`, `[{"n":0},{"bad":1},{"n":2},{"n":3}]`, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// tell runs until the end; the first server is killed after some commits.
				tell := func(commits int) (history string, d *engine.Description, r *engine.MapRun, w *world, used int) {
					w = &world{calls: map[string]int{}, state: map[string]int{}, ends: map[string]time.Time{}}
					st := memory.New()
					defer st.Close()
					begin := func(st store.Store) *server {
						s := &server{bus: &wake.Bus{}}
						quiet := slog.New(slog.DiscardHandler)
						s.loop = durable.New(durable.Config{Store: st, Log: quiet, Seed: func() uint64 { return 7 }})
						s.express = durable.New(durable.Config{Store: newStore(t), Log: quiet})
						var err error
						if s.Engine, err = engine.New(t.Context(), engine.Config{Store: st, Loop: s.loop, ExpressLoop: s.express, Integrations: w, Wake: s.bus}); err != nil {
							t.Fatal(err)
						}
						for _, start := range []func(context.Context) error{s.express.Start, s.loop.Start, s.Start} {
							if err := start(t.Context()); err != nil {
								t.Fatal(err)
							}
						}
						return s
					}
					killed := &cut{Store: st, left: commits}
					s := begin(killed)
					x := request("x", mapOver(c.child, c.fields, work), c.input)
					if _, err := s.CreateExecution(t.Context(), x); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
					killed.mu.Lock()
					used = commits - killed.left
					killed.mu.Unlock()
					s.stop()
					s = begin(st)
					defer s.stop()
					d = s.ended(t, arn("x"))
					synctest.Wait()
					var b strings.Builder
					for e, err := range s.History(t.Context(), arn("x")) {
						if err != nil {
							t.Fatal(err)
						}
						fmt.Fprintln(&b, e.Line())
					}
					return b.String(), d, s.mapRun(t, arn("x")), w, used
				}
				want, d, r, calm, commits := tell(1000)
				if d.Output.String() != c.output || commits < 8 || commits > 900 {
					t.Fatalf("%d commits: %s %v\n%s", commits, d.Output, d.Failure, want)
				}
				for k := 2; k < commits; k++ { // the first two: the definition and the start
					got, d, q, stormy, _ := tell(k)
					if got != want || d.Output.String() != c.output {
						t.Errorf("killed after %d of %d commits: %s\n%s\nwithout:\n%s", k, commits, d.Output, got, want)
					}
					if c.name != "failing" && (q.Items != r.Items || q.Executions != r.Executions) {
						t.Errorf("killed after %d of %d commits: %+v, %+v without", k, commits, q.Items, r.Items)
					}
					if q.Items.Total() != r.Items.Total() || q.Items.Running != 0 {
						t.Errorf("killed after %d of %d commits: %+v, %+v without", k, commits, q.Items, r.Items)
					}
					if c.name == "Standard" && fmt.Sprint(stormy.state) != fmt.Sprint(calm.state) {
						t.Errorf("killed after %d of %d commits: asked for %v, %v without", k, commits, stormy.state, calm.state)
					}
				}
			})
		})
	}
}
