package engine_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

const twoSteps = `{"StartAt":"Set","States":{
  "Set":{"Type":"Pass","Assign":{"who.$":"$.who"},"Next":"Both"},
  "Both":{"Type":"Parallel","Next":"End","Branches":[
    {"StartAt":"Good","States":{"Good":{"Type":"Pass","Result":"good","End":true}}},
    {"StartAt":"Job","States":{"Job":{"Type":"Task","Resource":"arn:aws:states:::elasticmapreduce:addStep.sync","Parameters":{"who.$":"$who"},"End":true}}}]},
  "End":{"Type":"Succeed"}}}`

// TestRedrive: a closed execution that is read from the store is redriven, its job followed through one more restart,
// and the lists show it where it is.
func TestRedrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, f, ctx := newStore(t), &fake{}, t.Context()
		s := start(t, st, f)
		if _, err := s.CreateExecution(ctx, request("a", twoSteps, `{"who":"Ada"}`)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := s.RedriveExecution(ctx, engine.Redrive{ARN: arn("a")}); code(err) != "ExecutionNotRedrivable" {
			t.Errorf("redriven while it runs: %v", err)
		}
		f.finish("job-Job", integration.Result{Failure: &asl.Failure{Error: "No", Cause: "no"}})
		time.Sleep(time.Minute)
		if d, err := s.Describe(ctx, arn("a")); err != nil || d.Status != execution.Failed || d.NotRedrivable != "" || d.RedriveCount != 0 {
			t.Fatalf("%+v, %v", d, err)
		}
		f.finish("job-Job", integration.Result{Running: true})
		s.stop()
		s = start(t, st, f)
		at, err := s.RedriveExecution(ctx, engine.Redrive{ARN: arn("a"), Token: "k"})
		if err != nil || !at.Equal(time.Now()) {
			t.Fatal(at, err)
		}
		time.Sleep(time.Second)
		if again, err := s.RedriveExecution(ctx, engine.Redrive{ARN: arn("a"), Token: "k"}); err != nil || !again.Equal(at) {
			t.Errorf("repeated: %v, %v", again, err)
		}
		if _, err := s.RedriveExecution(ctx, engine.Redrive{ARN: arn("a"), Token: "l"}); code(err) != "ExecutionNotRedrivable" {
			t.Errorf("redriven while it runs: %v", err)
		}
		s.stop()
		s = start(t, st, f)
		rows, err := s.ListExecutions(ctx, machine, execution.Running, "", 0)
		if err != nil || len(rows) != 1 || rows[0].Redrives != 1 || !rows[0].Redriven.Equal(at) || !rows[0].Stopped.IsZero() {
			t.Errorf("%+v, %v", rows, err)
		}
		f.finish("job-Job", integration.Result{Output: jsonvalue.MustParse(`"done"`)})
		time.Sleep(time.Minute)
		d, err := s.Describe(ctx, arn("a"))
		if err != nil || d.Status != execution.Succeeded || d.Output.String() != `["good","done"]` || d.RedriveCount != 1 || !d.RedriveDate.Equal(at) ||
			d.NotRedrivable != "Execution is SUCCEEDED and cannot be redriven" || d.Failure != nil {
			t.Errorf("%+v, %v", d, err)
		}
		want := "ExecutionStarted PassStateEntered PassStateExited ParallelStateEntered ParallelStateStarted PassStateEntered PassStateExited TaskStateEntered TaskScheduled TaskStarted TaskSubmitted TaskFailed TaskStateAborted ParallelStateFailed ExecutionFailed " +
			"ExecutionRedriven TaskScheduled TaskStarted TaskSubmitted TaskSucceeded TaskStateExited ParallelStateSucceeded ParallelStateExited SucceedStateEntered SucceedStateExited ExecutionSucceeded"
		if got := s.history(t, arn("a")); got != want {
			t.Errorf("history %s", got)
		}
		if len(f.starts) != 2 || len(f.keys) != 2 || f.starts[1].Input.String() != `{"who":"Ada"}` {
			t.Errorf("calls %v", f.starts)
		}
		if _, err := s.RedriveExecution(ctx, engine.Redrive{ARN: arn("nobody")}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("redrive what is not there: %v", err)
		}
		s.stop()
	})
}

// TestClosedAgain: what is sent when an execution closes is sent each time that it does, even when it fails at once.
func TestClosedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New()
		defer st.Close()
		loop := durable.New(durable.Config{Store: st})
		closed := 0
		e, err := engine.New(t.Context(), engine.Config{Store: st, Loop: loop, Integrations: &fake{},
			Closed: func(*execution.Snapshot) []durable.Send { closed++; return nil }})
		if err != nil {
			t.Fatal(err)
		}
		if err := loop.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer loop.Stop()
		defer e.Stop()
		if _, err := e.CreateExecution(t.Context(), request("a", `{"StartAt":"F","States":{"F":{"Type":"Fail"}}}`, `{}`)); err != nil {
			t.Fatal(err)
		}
		if _, err := e.RedriveExecution(t.Context(), engine.Redrive{ARN: arn("a")}); err != nil {
			t.Fatal(err)
		}
		if d, err := e.Describe(t.Context(), arn("a")); err != nil || d.Status != execution.Failed || d.RedriveCount != 1 || closed != 2 {
			t.Errorf("%+v, %v; closed %d times", d, err, closed)
		}
	})
}

// TestEditAndMoment: a changed definition is compared and refused or taken, and an execution begins where another was.
func TestEditAndMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, f, ctx := newStore(t), &fake{}, t.Context()
		s := start(t, st, f)
		defer s.stop()
		const broken = `{"StartAt":"Set","States":{"Set":{"Type":"Pass","Assign":{"who.$":"$.who"},"Next":"Pick"},
		  "Pick":{"Type":"Choice","Choices":[{"Variable":"$.who","StringEquals":"Bob","Next":"End"}]},"End":{"Type":"Pass","Parameters":{"of.$":"$who","from.$":"$$.Execution.Input.who"},"End":true}}}`
		const fixed = `{"StartAt":"Set","States":{"Set":{"Type":"Pass","Assign":{"who.$":"$.who"},"Next":"Pick"},
		  "Pick":{"Type":"Choice","Choices":[{"Variable":"$.who","StringEquals":"Bob","Next":"End"}],"Default":"More"},"More":{"Type":"Pass","Next":"End"},
		  "End":{"Type":"Pass","Parameters":{"of.$":"$who","from.$":"$$.Execution.Input.who"},"End":true}}}`
		if _, err := s.CreateExecution(ctx, request("a", broken, `{"who":"Ada"}`)); err != nil {
			t.Fatal(err)
		}
		edit, err := s.CheckEdit(ctx, arn("a"), []byte(fixed))
		if err != nil || len(edit.Obstacles) != 0 || len(edit.Differences) != 2 ||
			edit.Differences[0] != (execution.Difference{What: "changed", Pointer: "/States/Pick"}) || edit.Differences[1] != (execution.Difference{What: "added", Pointer: "/States/More"}) {
			t.Errorf("%+v, %v", edit, err)
		}
		if edit, err := s.CheckEdit(ctx, arn("a"), []byte(threePass)); err != nil || len(edit.Obstacles) != 1 || len(edit.Differences) != 7 {
			t.Errorf("%+v, %v", edit, err)
		}
		if _, err := s.RedriveExecution(ctx, engine.Redrive{ARN: arn("a"), Definition: []byte(threePass)}); code(err) != "ExecutionNotRedrivable" {
			t.Errorf("redriven into nothing: %v", err)
		}
		if _, err := s.RedriveExecution(ctx, engine.Redrive{ARN: arn("a"), Definition: []byte(`{"StartAt":1}`)}); code(err) != "InvalidDefinition" {
			t.Errorf("redriven with a bad definition: %v", err)
		}
		if _, err := s.RedriveExecution(ctx, engine.Redrive{ARN: arn("a"), Definition: []byte(fixed)}); err != nil {
			t.Fatal(err)
		}
		d, err := s.Describe(ctx, arn("a"))
		if err != nil || d.Status != execution.Succeeded || d.Output.String() != `{"of":"Ada","from":"Ada"}` {
			t.Errorf("%+v, %v", d, err)
		}
		if text, err := s.Definition(ctx, d.Digest); err != nil || string(text) != fixed {
			t.Errorf("%s, %v", text, err)
		}
		m, err := s.Moment(ctx, arn("a"), 0, "End")
		if err != nil || m.State != "End" || m.Block != "" || m.Input.String() != `{"who":"Ada"}` || m.Vars["who"].Str() != "Ada" {
			t.Fatalf("%+v, %v", m, err)
		}
		if by, err := s.Moment(ctx, arn("a"), m.Event, ""); err != nil || by.State != "End" {
			t.Errorf("%+v, %v", by, err)
		}
		for _, none := range []struct {
			event int64
			state string
		}{{1, ""}, {99, ""}, {0, "Nowhere"}} {
			if _, err := s.Moment(ctx, arn("a"), none.event, none.state); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%v: %v", none, err)
			}
		}
		x := request("b", fixed, `{"who":"Original"}`)
		x.StartAt, x.StateInput, x.Vars = m.State, jsonvalue.MustParse(`{"other":1}`), m.Vars
		if _, err := s.CreateExecution(ctx, x); err != nil {
			t.Fatal(err)
		}
		if d, err := s.Describe(ctx, arn("b")); err != nil || d.Output.String() != `{"of":"Ada","from":"Original"}` || d.Input.String() != `{"who":"Original"}` || d.LastEvent != 4 {
			t.Errorf("%+v, %v", d, err)
		}
	})
}
