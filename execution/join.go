package execution

import (
	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// fork starts the branches of a Parallel.
func (t *turn) fork(a Addr, f *Frame, st *asl.ParallelState) {
	input, fail := t.visit(a, f).BranchInput()
	if fail != nil {
		t.fail(a, *fail, "")
		return
	}
	n := &Forked{Input: input}
	for _, b := range st.Branches {
		n.Branches = append(n.Branches, Branch{Block: b.Pointer, StartAt: b.StartAt})
	}
	t.emit(a, history.ParallelStateStarted, nil, &Note{Forked: n})
	for i := range n.Branches {
		t.wake(a.child(i))
	}
}

// bind starts a Map: it fixes the items and begins as many iterations as may run at once.
func (t *turn) bind(a Addr, f *Frame) {
	v := t.visit(a, f)
	effective, fail := v.EffectiveInput()
	var items []jsonvalue.Value
	var most int64
	if fail == nil {
		most, fail = v.MaxConcurrency(effective)
	}
	if fail == nil {
		items, fail = v.Items(effective)
	}
	if fail != nil {
		t.fail(a, *fail, "")
		return
	}
	limit := int64(t.c.Limits.InlineConcurrency)
	if limit == 0 {
		limit = int64(len(items))
	}
	if most <= 0 || most > limit {
		most = limit
	}
	if items == nil {
		items = []jsonvalue.Value{}
	}
	t.emit(a, history.MapStateStarted, &history.Length{Length: int64(len(items))}, &Note{Bound: &Bound{Items: items, Max: int(most)}})
	t.iterate(a)
}

// iterate begins iterations while there are items and room, and ends the Map when all have ended.
func (t *turn) iterate(a Addr) {
	f := t.s.Frames[a]
	st := t.state(f, f.State).(*asl.MapState)
	j := f.Await.Join
	if j.Next < j.Total && j.Open < j.Max {
		v := t.visit(a, f)
		effective, fail := v.EffectiveInput()
		for fail == nil && j.Next < j.Total && j.Open < j.Max {
			var input jsonvalue.Value
			if input, fail = v.ItemInput(effective, asl.MapItem{Index: int64(j.Next), Value: j.Items[j.Next]}); fail != nil {
				break
			}
			index := j.Next
			t.emit(a, history.MapIterationStarted, &history.Iteration{Name: f.State, Index: int64(index)}, &Note{Iterated: &Iterated{
				Branch: Branch{Block: st.Processor.Pointer, StartAt: st.Processor.StartAt}, Index: index, Input: input}})
			t.wake(a.child(index))
		}
		if fail != nil {
			t.abort(a, f.Last, "")
			t.fail(a, *fail, "")
			return
		}
	}
	if j.Next == j.Total && j.Open == 0 {
		t.finishJoin(a)
	}
}

// joined hands the output of a branch or iteration to the state that waits for it.
func (t *turn) joined(a Addr) {
	p, _ := a.Parent()
	parent := t.s.Frames[p]
	index := t.s.Frames[a].Index
	if _, isMap := t.state(parent, parent.State).(*asl.MapState); isMap {
		t.emit(a, history.MapIterationSucceeded, &history.Iteration{Name: parent.State, Index: int64(index)}, &Note{Joined: &Joined{}})
		t.iterate(p)
		return
	}
	t.note(a, Note{Joined: &Joined{}})
	if parent.Await.Join.Open == 0 {
		t.finishJoin(p)
	}
}

// finishJoin leaves a Parallel or Map whose branches or iterations have all ended well.
func (t *turn) finishJoin(a Addr) {
	f := t.s.Frames[a]
	result := jsonvalue.Array(f.Await.Join.Results...)
	t.emit(a, history.Type(t.state(f, f.State).Base().Type+"StateSucceeded"), nil, nil)
	exit, fail := t.visit(a, f).Finish(result)
	t.leaveOrFail(a, exit, fail)
}

// abort ends all that runs below a frame, because of what event last says. AWS: in the order of branches or items, for
// each first the iteration, then the state that it is in, then what is below; the failed one's own state too
// (recorded: timeouts test_service_lambda_map_timeout). The failed iteration has had its own event.
func (t *turn) abort(a Addr, last int64, failed Addr) {
	f := t.s.Frames[a]
	_, isMap := t.state(f, f.State).(*asl.MapState)
	for _, b := range t.s.subtree(a) {
		if p, _ := b.Parent(); p != a {
			continue // below a child: its turn comes with the child
		}
		child := t.s.Frames[b]
		if child.Outcome != nil {
			continue
		}
		if isMap && b != failed {
			t.leaf(b, last, history.MapIterationAborted, &history.Iteration{Name: f.State, Index: int64(child.Index)})
		}
		if child.State == "" {
			continue
		}
		st := t.state(child, child.State)
		switch st.(type) {
		case *asl.TaskState, *asl.WaitState, *asl.ParallelState, *asl.MapState:
			t.leaf(b, last, history.Type(st.Base().Type+"StateAborted"), nil)
		}
		if child.Await.Join != nil && b != failed { // below the failed one all stands still already
			t.abort(b, last, "")
		}
		if run := child.Await.Run; run != nil && !run.Ended {
			t.leaf(b, last, history.MapRunAborted, nil)
		}
		t.release(b, child)
	}
	t.note(a, Note{Halted: &Halted{Last: last}})
}

// release cancels a frame's task and clears its timers.
func (t *turn) release(a Addr, f *Frame) {
	if task := t.s.Tasks[f.Await.Task]; task != nil {
		t.cancel(f.Await.Task, task)
		t.clearTask(f.Await.Task, task)
	}
	if run := f.Await.Run; run != nil && !run.Ended {
		t.d.Commands = append(t.d.Commands, Command{StopMap: &StopMap{Run: run.ARN, Redrives: run.Redrives}})
	}
	if !f.Await.Until.IsZero() || !f.Await.Again.IsZero() {
		t.clearTimer(timerFrame + string(a))
	}
}

// leaf makes an event that no other names as its previous one.
func (t *turn) leaf(a Addr, previous int64, typ history.Type, d history.Details) {
	t.emitEvent(a, &history.Event{ID: t.s.LastEvent + 1, Previous: previous, At: t.env.Now, Type: typ, Details: d}, nil)
}
