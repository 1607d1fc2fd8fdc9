package execution

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"
)

// Expectation is one thing that may come next, and may be given to Decide.
type Expectation struct {
	What  string // "done", "submitted", "map", "work", "beat", "timer", "stop", "continue", "start"
	Task  TaskID
	Timer Timer
	Run   RunRef
}

// Expect lists all that may come next, in a fixed order. It is empty only when the execution is closed.
func Expect(s *Snapshot) []Expectation {
	switch {
	case s.Status == "":
		return []Expectation{{What: "start"}}
	case s.Closed():
		return nil
	}
	out := []Expectation{{What: "stop"}}
	if !s.Deadline.IsZero() {
		out = append(out, Expectation{What: "timer", Timer: Timer{timerExecution, s.Deadline}})
	}
	for _, id := range s.SortedTasks() {
		task := s.Tasks[id]
		r := mustResource(task.Resource)
		switch {
		case r.Kind == Activity && task.Phase == Scheduled:
			out = append(out, Expectation{What: "work", Task: id})
			continue
		case r.Pattern.Submits() && task.Phase != Submitted:
			out = append(out, Expectation{What: "submitted", Task: id})
		}
		out = append(out, Expectation{What: "done", Task: id})
		if !task.BeatBy.IsZero() {
			out = append(out, Expectation{What: "beat", Task: id}, Expectation{What: "timer", Task: id, Timer: Timer{beatTimer(id), task.BeatBy}})
		}
		if !task.Deadline.IsZero() {
			out = append(out, Expectation{What: "timer", Task: id, Timer: Timer{taskTimer(id), task.Deadline}})
		}
	}
	for _, a := range s.SortedFrames() {
		f := s.Frames[a]
		for _, at := range []time.Time{f.Await.Until, f.Await.Again} {
			if !at.IsZero() {
				out = append(out, Expectation{What: "timer", Timer: Timer{timerFrame + string(a), at}})
			}
		}
		if f.Await.Run != nil && !f.Await.Run.Ended {
			out = append(out, Expectation{What: "map", Run: *f.Await.Run})
		}
		if f.Outcome == nil && f.Await.none() {
			out = append(out, Expectation{What: "continue"})
		}
	}
	return out
}

// Digest tells states apart that can go on differently: it leaves out ids, handles and absolute times, and keeps the
// order of deadlines.
func Digest(s *Snapshot) [32]byte {
	var times []time.Time
	visit := func(f func(*time.Time)) func(*Snapshot) {
		return func(s *Snapshot) {
			f(&s.Deadline)
			for _, a := range s.SortedFrames() {
				f(&s.Frames[a].Await.Until)
				f(&s.Frames[a].Await.Again)
			}
			for _, id := range s.SortedTasks() {
				f(&s.Tasks[id].Deadline)
				f(&s.Tasks[id].BeatBy)
			}
		}
	}
	c := s.clone()
	visit(func(at *time.Time) {
		if !at.IsZero() {
			times = append(times, *at)
		}
	})(c)
	slices.SortFunc(times, time.Time.Compare)
	times = slices.CompactFunc(times, time.Time.Equal)
	visit(func(at *time.Time) {
		if i, ok := slices.BinarySearchFunc(times, *at, time.Time.Compare); ok {
			*at = time.Unix(int64(i+1), 0).UTC()
		}
	})(c)
	c.Identity = Identity{Digest: s.Identity.Digest}
	c.Started, c.Stopped, c.LastEvent, c.Issued, c.Long = time.Time{}, time.Time{}, 0, 0, false
	c.RedriveDate, c.RedriveTokens = time.Time{}, nil
	rank := map[TaskID]TaskID{}
	for i, id := range s.SortedTasks() {
		rank[id] = TaskID(i + 1)
	}
	for _, f := range c.Frames {
		f.Entered, f.Before, f.EnteredAt, f.Last, f.Await.Task = 0, 0, time.Time{}, 0, rank[f.Await.Task]
		if run := f.Await.Run; run != nil {
			f.Await.Run = &RunRef{Ended: run.Ended, Anew: run.Anew}
		}
	}
	tasks := c.Tasks
	c.Tasks = map[TaskID]*Task{}
	for id, task := range tasks {
		task.Handle, task.IssuedAt = nil, time.Time{}
		c.Tasks[rank[id]] = task
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // a snapshot always encodes
	}
	return sha256.Sum256(b)
}

// clone copies what Digest changes.
func (s *Snapshot) clone() *Snapshot {
	c := *s
	c.Frames, c.Tasks = map[Addr]*Frame{}, map[TaskID]*Task{}
	for a, f := range s.Frames {
		g := *f
		c.Frames[a] = &g
	}
	for id, task := range s.Tasks {
		u := *task
		c.Tasks[id] = &u
	}
	return &c
}
