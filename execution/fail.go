package execution

import (
	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/history"
)

// fail takes the consequences of a failure of the frame's state: it is retried, caught, or ends the block, and then
// the state that the block belongs to fails. also is a second name that Retry and Catch know the error by.
func (t *turn) fail(a Addr, f asl.Failure, also string) {
	fr := t.s.Frames[a]
	f = t.evaluated(a, f)
	if f.Error == asl.ErrRuntime {
		// AWS: it cannot be caught, and ends the execution from any depth without further events.
		t.closeAs(history.ExecutionFailed, a, f)
		return
	}
	st := t.state(fr, fr.State)
	if w := asl.WorkOf(st); w != nil {
		if i, ok := matchRetrier(w.Retry, f, also, fr.Retries); ok {
			granted := 0
			if i < len(fr.Retries) {
				granted = fr.Retries[i]
			}
			until := ceil(t.env.Now.Add(w.Retry[i].Delay(granted, t.fraction())))
			t.drop(a)
			t.note(a, Note{Backoff: &Backoff{Retrier: i, Until: until, Long: t.outlasts(until)}})
			t.setTimer(timerFrame+string(a), until)
			t.bound(t.outlasts(until))
			return
		}
		last := fr.Last
		t.stateFailed(a, st)
		if c := matchCatcher(w.Catch, f, also); c >= 0 {
			t.drop(a)
			exit, worse := t.visit(a, fr).Caught(&w.Catch[c], f)
			if worse == nil {
				worse = t.overfull(a, exit)
			}
			if worse == nil {
				t.leave(a, exit)
				return
			}
			if f = t.evaluatedAfter(a, *worse, last); f.Error == asl.ErrRuntime {
				t.closeAs(history.ExecutionFailed, a, f)
				return
			}
			t.stateFailed(a, st) // AWS: once more
		}
	}
	p, ok := a.Parent()
	if !ok {
		t.closeAs(history.ExecutionFailed, a, f)
		return
	}
	parent := t.s.Frames[p]
	if _, isMap := t.state(parent, parent.State).(*asl.MapState); isMap {
		t.emit(a, history.MapIterationFailed, &history.Iteration{Name: parent.State, Index: int64(fr.Index)}, nil)
	}
	t.abort(p, fr.Last, a)
	t.fail(p, f, "")
}

// stateFailed makes the event of a Parallel or Map that fails.
func (t *turn) stateFailed(a Addr, st asl.State) {
	switch st.(type) {
	case *asl.ParallelState, *asl.MapState:
		t.emit(a, history.Type(st.Base().Type+"StateFailed"), nil, nil)
	}
}

// evaluated makes the event of an evaluation that has failed, and gives the failure without it. AWS: the event follows
// from what came before the state, unless something has happened in the state; in a Wait it follows from its entry
// (recorded: assign test_undefined_reference, scenarios test_wait_timestamp_jsonata).
func (t *turn) evaluated(a Addr, f asl.Failure) asl.Failure {
	fr := t.s.Frames[a]
	last := fr.Last
	if _, wait := t.state(fr, fr.State).(*asl.WaitState); last == fr.Entered && !wait {
		last = fr.Before
	}
	return t.evaluatedAfter(a, f, last)
}

// evaluatedAfter is evaluated with the event that it follows from. AWS: in a Catcher it is what came before the state's failure.
func (t *turn) evaluatedAfter(a Addr, f asl.Failure, last int64) asl.Failure {
	if f.Evaluation == nil {
		return f
	}
	t.emitEvent(a, &history.Event{ID: t.s.LastEvent + 1, Previous: last, At: t.env.Now, Type: history.EvaluationFailed,
		Details: &history.Evaluation{Failure: *failureDetails(f), State: t.s.Frames[a].State, Location: f.Evaluation.Location}}, nil)
	f.Evaluation = nil
	return f
}

// matchRetrier finds the Retrier for an error with one or two names.
func matchRetrier(retry []asl.Retrier, f asl.Failure, also string, used []int) (int, bool) {
	i, ok := asl.MatchRetrier(retry, f, used)
	if also != "" {
		if k, found := asl.MatchRetrier(retry, asl.Failure{Error: also, Cause: f.Cause}, used); found && (!ok || k < i) {
			return k, true
		}
	}
	return i, ok
}

// matchCatcher finds the first Catcher that knows either name, -1 when there is none.
func matchCatcher(catch []asl.Catcher, f asl.Failure, also string) int {
	i := asl.MatchCatcher(catch, f)
	if also != "" {
		if k := asl.MatchCatcher(catch, asl.Failure{Error: also}); k >= 0 && (i < 0 || k < i) {
			return k
		}
	}
	return i
}

// closeAs ends the execution with a failure.
func (t *turn) closeAs(typ history.Type, a Addr, f asl.Failure) {
	for _, b := range t.s.SortedFrames() {
		t.release(b, t.s.Frames[b])
	}
	e := &history.Event{ID: t.s.LastEvent + 1, At: t.env.Now, Type: typ, Details: failureDetails(f)}
	if fr := t.s.Frames[a]; fr != nil && typ == history.ExecutionFailed {
		if e.Previous = fr.Last; a == Root { // AWS: also what nothing else follows from, such as the success of a Parallel
			e.Previous = t.s.LastEvent
		}
	}
	t.emitEvent(a, e, nil)
	t.closed()
}

// closed clears what no longer counts.
func (t *turn) closed() {
	if !t.s.Deadline.IsZero() || t.s.Long {
		t.clearTimer(timerExecution)
	}
	t.ready, t.issued, t.d.More = nil, nil, false
}

// drop forgets what is below a state that goes on after a failure.
func (t *turn) drop(a Addr) {
	if len(t.s.subtree(a)) > 0 {
		t.note(a, Note{Dropped: &Dropped{}})
	}
}
