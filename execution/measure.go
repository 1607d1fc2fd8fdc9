package execution

import (
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/history"
)

// usage is what one visit of a state takes of what limits bound, where they let more than AWS's.
type usage struct {
	asl.Usage
	variables int // bytes of all, with what the visit assigns
	frame     Addr
	state     string
	entered   int64
}

// measure begins to measure a visit; nil: nothing can exceed what AWS allows.
func (t *turn) measure(a Addr, f *Frame) *asl.Usage {
	if t.c.Limits.Data == asl.DefaultLimits {
		return nil
	}
	if t.usage == nil || t.usage.frame != a || t.usage.entered != f.Entered {
		t.measured()
		t.usage = &usage{frame: a, state: f.State, entered: f.Entered}
	}
	return &t.usage.Usage
}

// measured notes where the last visit exceeded what AWS allows.
func (t *turn) measured() {
	u, aws := t.usage, &asl.DefaultLimits
	if t.usage = nil; u == nil {
		return
	}
	for _, x := range []struct {
		limit          string
		found, allowed int
	}{
		{"payload", max(u.Payload, u.Intrinsic.Array), aws.Payload}, {"variable", u.Variable, aws.Variable}, {"variables", u.variables, aws.Variables},
		{"intrinsic-text", u.Intrinsic.Text, aws.IntrinsicString},
		{"expression-depth", u.Expression.Depth, aws.Expression.Depth}, {"expression-value", u.Expression.Value, aws.Expression.Value},
	} {
		if x.found > x.allowed {
			t.note(u.frame, Note{Exceeded: &Exceeded{State: u.state, Entered: u.entered, Limit: x.limit, Found: int64(x.found)}})
		}
	}
}

// end is when an execution that began then has been open for too long; zero: never. AWS: it times out.
func (l *Limits) end(express bool, began time.Time) time.Time {
	most := l.Duration
	if express {
		most = l.ExpressDuration
	}
	if most == 0 {
		return time.Time{}
	}
	return began.Add(most)
}

// earlier is the earlier one of a time and another that may be zero.
func earlier(at, other time.Time) time.Time {
	if !other.IsZero() && other.Before(at) {
		return other
	}
	return at
}

// end is when a running execution has been open for too long; zero: never.
func (t *turn) end() time.Time {
	if t.s.Status != Running {
		return time.Time{}
	}
	return t.c.Limits.end(t.s.Identity.Express, t.s.Started)
}

// expire ends an execution that has been open for too long, whatever comes.
func (t *turn) expire(in Input) {
	if end := t.end(); !end.IsZero() && !t.env.Now.Before(end) && in.Stop == nil && in.Broken == nil {
		t.closeAs(history.ExecutionTimedOut, Root, asl.Failure{Error: asl.ErrTimeout})
	}
}

// bound sets the timer that ends an execution at last, where it begins to wait for what may never come. Most executions do
// not, and need none; others have a deadline.
func (t *turn) bound(long bool) {
	if end := t.end(); long && !end.IsZero() && t.s.Deadline.IsZero() {
		t.setTimer(timerExecution, end)
	}
}

// outlasts reports whether a pause goes on beyond the end.
func (t *turn) outlasts(until time.Time) bool {
	end := t.end()
	return !end.IsZero() && until.After(end)
}
