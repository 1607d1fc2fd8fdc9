package execution

import (
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/history"
)

const (
	tokenLife = 15 * time.Minute
	maxTokens = 10
)

// Redrivable says why an execution cannot be redriven now, in AWS's words; "" when it can.
func (l Limits) Redrivable(s *Snapshot, now time.Time) string {
	switch {
	case s.Status == Running || s.Status == Succeeded:
		return "Execution is " + string(s.Status) + " and cannot be redriven"
	case l.Events > 0 && s.LastEvent > l.Events-2: // AWS: ExecutionRedriven and an end must have room
		return "Execution history event limit exceeded"
	case l.Duration > 0 && s.Stopped.Sub(s.Started) >= l.Duration:
		return "Execution has exceeded the max execution time"
	case l.RedriveWindow > 0 && now.Sub(s.Stopped) > l.RedriveWindow:
		return "Execution redrivable period exceeded"
	}
	return ""
}

// redrive continues a closed execution where it failed: each frame that was left goes on in its state, with the input
// and the variables that it had.
func (t *turn) redrive(in Redrive) {
	s := t.s
	if s.Status == "" || s.Identity.Express {
		t.d.Reply.Stale = true
		return
	}
	for _, k := range s.RedriveTokens {
		if in.Token != "" && k.Token == in.Token && t.env.Now.Sub(k.At) <= tokenLife {
			t.d.Reply.Redriven = k.At
			return
		}
	}
	if t.d.Reply.Refused = t.c.Limits.Redrivable(s, t.env.Now); t.d.Reply.Refused != "" {
		return
	}
	before := t.m
	if in.Digest != "" && in.Digest != s.Identity.Digest {
		if before = t.c.Machine(s.Identity.Digest); before == nil {
			before = t.m
		}
		if o := Obstacles(s, t.m); len(o) > 0 {
			t.d.Reply.Refused = strings.Join(o, "; ")
			return
		}
	}
	failure := asl.Failure{}
	if s.Failure != nil {
		failure = *s.Failure
	}
	n := &Redriven{Token: in.Token, Digest: in.Digest}
	if limit := t.timeout(s.Identity); limit > 0 {
		n.Deadline = earlier(t.env.Now.Add(seconds(limit)), t.c.Limits.end(false, s.Started))
		t.setTimer(timerExecution, n.Deadline)
	}
	t.emitEvent(Root, &history.Event{ID: s.LastEvent + 1, Previous: s.LastEvent, At: t.env.Now, Type: history.ExecutionRedriven,
		Details: &history.Redrive{Count: s.RedriveCount + 1}}, &Note{Redriven: n})
	t.d.Reply.Redriven = t.env.Now
	t.bound(s.Long)
	var joins, ended, runs []Addr
	for _, a := range s.SortedFrames() {
		f := s.Frames[a]
		r := &Reopened{}
		switch j := f.Await.Join; {
		case f.Outcome != nil: // the history was full before its parent had its output
			ended = append(ended, a)
		case f.Await.Run != nil && f.Await.Run.Anew: // AWS: another run, for what would fail again
			r.Anew = true
			t.wake(a)
		case f.Await.Run != nil:
			runs = append(runs, a)
		case j == nil:
			r.Enter = f.State != "" && stateType(before, f) != stateType(t.m, f)
			t.wake(a)
		case j.ended() && failure.Error == asl.ErrDataLimitExceeded:
			// AWS: all branches or iterations run again when it was the state's own result that was too large.
			r.Anew = true
			t.wake(a)
		default:
			joins = append(joins, a)
		}
		t.note(a, Note{Reopened: r})
	}
	for _, a := range runs {
		if !s.Closed() {
			t.remap(a, s.Frames[a])
		}
	}
	for _, a := range ended {
		if f := s.Frames[a]; !s.Closed() && f != nil && f.Outcome != nil && a != Root {
			t.joined(a)
		}
	}
	for _, a := range joins {
		f := s.Frames[a]
		if s.Closed() || f == nil || f.Await.Join == nil {
			continue
		}
		if _, isMap := t.state(f, f.State).(*asl.MapState); isMap {
			t.iterate(a)
		} else if f.Await.Join.ended() {
			t.finishJoin(a)
		}
	}
}

// ended reports whether all branches or iterations have ended well.
func (j *Join) ended() bool { return j.Next == j.Total && j.Open == 0 }

// stateType is the type of the state that a frame is in, "" when the definition does not have it.
func stateType(m *asl.StateMachine, f *Frame) string {
	if b := m.BlockAt(f.Block); b != nil {
		if st := b.States[f.State]; st != nil {
			return st.Base().Type
		}
	}
	return ""
}

// applyRedriven folds the beginning of a redrive; its frames follow, one Reopened each.
func applyRedriven(s *Snapshot, f Fact) {
	n := f.Note.Redriven
	s.Status, s.Failure, s.Deadline, s.Stopped = Running, nil, n.Deadline, time.Time{}
	if n.Digest != "" {
		s.Identity.Digest = n.Digest
	}
	if f.Event == nil {
		return
	}
	s.RedriveDate = f.Event.At
	if d, ok := f.Event.Details.(*history.Redrive); ok {
		s.RedriveCount = d.Count
	}
	if n.Token != "" {
		s.RedriveTokens = append(slices.Clone(s.RedriveTokens), RedriveToken{n.Token, f.Event.At})
		s.RedriveTokens = s.RedriveTokens[max(0, len(s.RedriveTokens)-maxTokens):]
	}
}

func applyReopened(s *Snapshot, a Addr, fr *Frame, n *Reopened) {
	fr.Retries, fr.Retried, fr.Last = nil, 0, s.LastEvent
	if n.Anew {
		for _, b := range s.subtree(a) {
			delete(s.Frames, b)
		}
		fr.Await = Await{}
	}
	if n.Enter {
		fr.State, fr.Next = "", fr.State
	}
}
