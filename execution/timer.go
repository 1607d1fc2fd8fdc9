package execution

import (
	"cmp"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/history"
)

// timers does all that is due. Tasks that time out at the same moment are all recorded before the first of them has
// consequences, as AWS does (recorded: timeouts test_service_lambda_map_timeout).
func (t *turn) timers() {
	now := t.env.Now
	if d := t.s.Deadline; !d.IsZero() && !d.After(now) {
		t.closeAs(history.ExecutionTimedOut, Root, asl.Failure{Error: asl.ErrTimeout})
		return
	}
	type due struct {
		at    time.Time
		id    TaskID
		frame Addr
		beat  bool
	}
	var tasks, frames []due
	for _, id := range t.s.SortedTasks() {
		task := t.s.Tasks[id]
		switch {
		case !task.Deadline.IsZero() && !task.Deadline.After(now):
			tasks = append(tasks, due{at: task.Deadline, id: id, frame: task.Frame})
		case !task.BeatBy.IsZero() && !task.BeatBy.After(now):
			tasks = append(tasks, due{at: task.BeatBy, id: id, frame: task.Frame, beat: true})
		}
	}
	byTime := func(a, b due) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.id, b.id)) }
	slices.SortStableFunc(tasks, byTime)
	for _, d := range tasks {
		task := t.s.Tasks[d.id]
		t.cancel(d.id, task)
		t.endTask(d.id, task, timedOut, Outcome{Failure: &asl.Failure{Error: asl.ErrTimeout}})
	}
	for _, d := range tasks {
		if f := t.s.Frames[d.frame]; t.s.Closed() || f == nil || f.State == "" || !f.Await.none() {
			continue // an earlier one has ended it
		}
		also := ""
		if d.beat {
			also = asl.ErrHeartbeatTimeout
		}
		t.fail(d.frame, asl.Failure{Error: asl.ErrTimeout}, also)
	}
	for _, a := range t.s.SortedFrames() {
		f := t.s.Frames[a]
		for _, at := range []time.Time{f.Await.Until, f.Await.Again} {
			if !at.IsZero() && !at.After(now) {
				frames = append(frames, due{at: at, frame: a})
			}
		}
	}
	slices.SortStableFunc(frames, byTime)
	for _, d := range frames {
		f := t.s.Frames[d.frame]
		switch {
		case t.s.Closed() || f == nil:
		case !f.Await.Until.IsZero():
			t.waited(d.frame)
		case !f.Await.Again.IsZero():
			t.note(d.frame, Note{Dropped: &Dropped{}})
			t.wake(d.frame)
		}
	}
}
