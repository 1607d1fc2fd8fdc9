package execution

import (
	"maps"
	"strings"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Apply folds one fact into s. It is total: what does not fit the state (of a journal from a later version, say)
// changes what it can and no more.
func Apply(s *Snapshot, f Fact) {
	if s.Frames == nil {
		s.Frames = map[Addr]*Frame{}
	}
	if s.Tasks == nil { // also of a state that was written without any
		s.Tasks = map[TaskID]*Task{}
	}
	if f.Note != nil && f.Note.Begun != nil { // before the event, which needs the frame
		b := f.Note.Begun
		s.Identity, s.Deadline, s.Status = b.Identity, b.Deadline, Running
		s.Frames[Root] = &Frame{Block: b.Block, Next: b.StartAt, Vars: maps.Clone(b.Vars)}
	}
	if f.Event != nil {
		applyEvent(s, f.Frame, f.Event)
	}
	if f.Note != nil && f.Note.Begun != nil && !f.Note.Begun.Input.IsZero() {
		s.Frames[Root].Input = f.Note.Begun.Input
	}
	if f.Note != nil {
		applyNote(s, f)
	}
}

func applyEvent(s *Snapshot, addr Addr, e *history.Event) {
	s.LastEvent = e.ID
	if e.Type.Terminal() {
		closeWith(s, e)
		return
	}
	switch e.Type {
	case history.TaskSubmitted, history.ActivityScheduled, history.MapRunStarted:
		s.Long = true
	}
	fr := s.Frames[addr]
	if fr == nil {
		return
	}
	switch d := e.Details.(type) {
	case *history.ExecutionStart:
		s.Started, s.Input, s.Text, fr.Input = e.At, d.Input, d.Text, d.Input
		return // AWS: the first state has no previous event
	case *history.Entered:
		fr.State, fr.Next, fr.Entered, fr.Before, fr.EnteredAt, fr.Input = d.Name, "", e.ID, e.Previous, e.At, d.Input
		fr.Retries, fr.Retried, fr.Await = nil, 0, Await{}
	case *history.Exited:
		for name, v := range d.Assigned.Members() {
			if fr.Vars == nil {
				fr.Vars = map[string]jsonvalue.Value{}
			}
			fr.Vars[name] = v
		}
		fr.State, fr.Input, fr.Await = "", d.Output, Await{}
	}
	if causes(e.Type) {
		fr.Last = e.ID
	}
}

// causes reports whether later events of the frame name this one as their previous event. AWS: a success of a Parallel,
// Map or iteration, a failed iteration and all aborts are leaves; the next event names their own previous one.
func causes(t history.Type) bool {
	switch t {
	case history.ParallelStateSucceeded, history.MapStateSucceeded, history.MapIterationStarted,
		history.MapIterationSucceeded, history.MapIterationFailed:
		return false
	}
	return !strings.HasSuffix(string(t), "Aborted")
}

func closeWith(s *Snapshot, e *history.Event) {
	s.Stopped = e.At
	switch d := e.Details.(type) {
	case *history.Output:
		s.Status, s.Output = Succeeded, d.Output
	case *history.Failure:
		s.Failure = &asl.Failure{Error: deref(d.Error), Cause: deref(d.Cause)}
		switch e.Type {
		case history.ExecutionAborted:
			s.Status = Aborted
		case history.ExecutionTimedOut: // AWS: only the event says States.Timeout
			s.Status, s.Failure = TimedOut, &asl.Failure{}
		default:
			s.Status = Failed
		}
	}
	clear(s.Tasks)
	for _, fr := range s.Frames {
		fr.Await = Await{Join: fr.Await.Join, Run: fr.Await.Run}
	}
}

func applyNote(s *Snapshot, f Fact) {
	fr := s.Frames[f.Frame]
	n := f.Note
	switch {
	case n.Handled != nil:
		if t := s.Tasks[n.Handled.Task]; t != nil {
			t.Handle, t.BeatBy = n.Handled.Handle, n.Handled.BeatBy
			if f.Event != nil {
				t.Phase = Submitted
			}
		}
	case n.Held != nil:
		if t := s.Tasks[n.Held.Task]; t != nil {
			t.Held = &n.Held.Outcome
		}
	case n.Beaten != nil:
		if t := s.Tasks[n.Beaten.Task]; t != nil {
			t.BeatBy = n.Beaten.BeatBy
		}
	case n.Clocked != nil:
		if t := s.Tasks[n.Clocked.Task]; t != nil {
			t.Phase, t.Deadline, t.BeatBy = Started, n.Clocked.Deadline, n.Clocked.BeatBy
		}
	case n.Redriven != nil:
		applyRedriven(s, f)
	case fr == nil:
	case n.Reopened != nil:
		applyReopened(s, f.Frame, fr, n.Reopened)
	case n.Moved != nil:
		if fr.Next = n.Moved.Next; fr.Next == "" {
			fr.Outcome = &Outcome{Output: fr.Input}
		}
	case n.Waiting != nil:
		fr.Await, s.Long = Await{Until: n.Waiting.Until}, s.Long || n.Waiting.Long
	case n.Forked != nil:
		k := len(n.Forked.Branches)
		fr.Await = Await{Join: &Join{Total: k, Next: k, Open: k, Max: k, Results: make([]jsonvalue.Value, k)}}
		for i, b := range n.Forked.Branches {
			s.Frames[f.Frame.child(i)] = &Frame{Block: b.Block, Index: i, Next: b.StartAt, Input: n.Forked.Input, Last: fr.Last}
		}
	case n.Bound != nil:
		k := len(n.Bound.Items)
		fr.Await = Await{Join: &Join{Total: k, Max: n.Bound.Max, Items: n.Bound.Items, Results: make([]jsonvalue.Value, k)}}
	case n.Iterated != nil:
		it := n.Iterated
		if j := fr.Await.Join; j != nil {
			j.Next, j.Open = it.Index+1, j.Open+1
		}
		child := &Frame{Block: it.Block, Index: it.Index, Next: it.StartAt, Input: it.Input}
		if f.Event != nil {
			child.Last = f.Event.ID
		}
		s.Frames[f.Frame.child(it.Index)] = child
	case n.Joined != nil:
		if p, ok := f.Frame.Parent(); ok && s.Frames[p] != nil {
			parent := s.Frames[p]
			parent.Last = fr.Last
			if j := parent.Await.Join; j != nil && fr.Index >= 0 && fr.Index < len(j.Results) {
				j.Open--
				j.Results[fr.Index] = fr.Input
				if f.Event != nil && j.Open == 0 && j.Next == j.Total {
					parent.Last = f.Event.ID // AWS: the end of a Map follows from the success of the last iteration
				}
			}
		}
		delete(s.Frames, f.Frame)
	case n.Halted != nil:
		for _, a := range s.subtree(f.Frame) {
			below := s.Frames[a]
			delete(s.Tasks, below.Await.Task)
			below.Await = Await{Join: below.Await.Join, Run: below.Await.Run}
		}
		fr.Last = n.Halted.Last
	case n.Dropped != nil:
		for _, a := range s.subtree(f.Frame) {
			delete(s.Tasks, s.Frames[a].Await.Task)
			delete(s.Frames, a)
		}
		fr.Await = Await{}
	case n.Issued != nil:
		i := n.Issued
		t := &Task{Frame: f.Frame, Resource: i.Resource, Phase: Scheduled, Timeout: i.Timeout, Heartbeat: i.Heartbeat, RoleARN: i.RoleARN}
		if f.Event != nil {
			t.IssuedAt = f.Event.At
			if d, ok := f.Event.Details.(*history.ActivitySchedule); ok {
				t.Input = d.Input
			}
		}
		if s.Identity.TestCase != "" {
			if s.Starts == nil {
				s.Starts = map[string]int64{}
			}
			t.Start = s.Starts[fr.State]
			s.Starts[fr.State]++
		}
		s.Tasks[i.Task], s.Issued = t, i.Task
		fr.Await = Await{Task: i.Task}
	case n.Completed != nil:
		delete(s.Tasks, n.Completed.Task)
		fr.Await = Await{}
	case n.Mapped != nil, n.Unmapped != nil, n.Remapped != nil:
		applyMapped(fr, n)
	case n.Backoff != nil:
		for len(fr.Retries) <= n.Backoff.Retrier {
			fr.Retries = append(fr.Retries, 0)
		}
		fr.Retries[n.Backoff.Retrier]++
		fr.Retried++
		fr.Await, s.Long = Await{Again: n.Backoff.Until}, s.Long || n.Backoff.Long
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
