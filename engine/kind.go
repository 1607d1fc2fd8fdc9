package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/store"
)

// The lists that an execution's row is on. Sort is the ARN of machine, version or alias, the status in byStatus, and
// the start, between blanks.
const (
	byMachine = "machine"
	byStatus  = "status"
)

// maxCalls bounds the calls of tasks that are under way. It is large: a call may last as long as a function does, and a
// cancellation must not wait behind it.
const maxCalls = 1 << 16

// kind is how executions live on a loop.
func (e *Engine) kind() durable.Kind[execution.Snapshot, execution.Input, execution.Fact, execution.Command] {
	return durable.Kind[execution.Snapshot, execution.Input, execution.Fact, execution.Command]{
		Name:      Kind,
		Core:      core{e},
		New:       func(store.ID) *execution.Snapshot { return &execution.Snapshot{} },
		Dispatch:  e.dispatch,
		Project:   project,
		Sends:     e.sends,
		Timer:     func(name string) execution.Input { return execution.Input{Timer: &execution.TimerFired{Name: name}} },
		Continue:  func() execution.Input { return execution.Input{Continue: &execution.Continue{}} },
		Committed: e.committed,
		Parallel:  maxCalls,
		Opened:    e.opened,
		Broken: func(_ store.ID, err error) *execution.Input {
			return &execution.Input{Broken: &execution.Broken{Cause: err.Error()}}
		},
		MarshalState: func(s *execution.Snapshot) ([]byte, error) { return json.Marshal(s) },
		UnmarshalState: func(_ store.ID, b []byte) (*execution.Snapshot, error) {
			s := &execution.Snapshot{}
			return s, json.Unmarshal(b, s)
		},
	}
}

// core puts the pure core into the loop's terms.
type core struct{ e *Engine }

func (c core) Apply(s *execution.Snapshot, f execution.Fact) { execution.Apply(s, f) }

func (c core) Decide(s *execution.Snapshot, in durable.Input[execution.Input], env durable.Env) (durable.Decision[execution.Fact, execution.Command], error) {
	type decision = durable.Decision[execution.Fact, execution.Command]
	if st := in.Body.Start; st != nil && s.Status != "" {
		// AWS: a repeated start is answered only while the execution runs, and with the same input.
		if s.Status != execution.Running || !jsonvalue.Equal(s.Input, st.Input) || s.Identity.MachineARN != st.Identity.MachineARN {
			return decision{Closed: s.Closed(), Err: awsapi.Errorf(400, "ExecutionAlreadyExists", "Execution Already Exists: '%s'", s.Identity.ARN)}, nil
		}
	}
	d, err := c.e.core.Decide(s, in.Body, execution.Env{Now: env.Now, Seed: env.Seed, Budget: env.Budget})
	if err != nil {
		return decision{}, err
	}
	out := decision{Facts: d.Facts, Commands: d.Commands, ClearTimers: d.ClearTimers, Reply: d.Reply, More: d.More, Closed: d.Closed}
	for _, t := range d.SetTimers {
		out.SetTimers = append(out.SetTimers, durable.Timer{Name: t.Name, Due: t.Due})
	}
	if d.Reply.Refused != "" {
		out.Err = awsapi.Errorf(400, "ExecutionNotRedrivable", "Execution Not Redrivable: '%s'", d.Reply.Refused)
	}
	return out, nil
}

// sends is what a record tells others: that the status has changed.
func (e *Engine) sends(_ store.ID, s *execution.Snapshot, facts []execution.Fact) []durable.Send {
	var out []durable.Send
	for _, f := range facts {
		if f.Event == nil {
			continue
		}
		ended := f.Event.Type.Terminal()
		if e.cfg.Changed != nil && (ended || f.Event.Type == history.ExecutionStarted || f.Event.Type == history.ExecutionRedriven) {
			out = append(out, e.cfg.Changed(s, f.Event)...)
		}
		if e.cfg.Closed != nil && ended {
			out = append(out, e.cfg.Closed(s)...)
		}
	}
	return out
}

// project writes the row that lists show, when it begins, when it ends, and when it is redriven.
func project(id store.ID, s *execution.Snapshot, facts []execution.Fact) []store.RowChange {
	if s.Identity.Express {
		return nil // AWS lists no Express executions
	}
	show := false
	for _, f := range facts {
		show = show || f.Note != nil && (f.Note.Begun != nil || f.Note.Redriven != nil) || f.Event != nil && f.Event.Type.Terminal()
	}
	if !show {
		return nil
	}
	x := s.Identity
	value, err := json.Marshal(Row{ARN: x.ARN, Name: x.Name, MachineARN: x.MachineARN, VersionARN: x.VersionARN, AliasARN: x.AliasARN,
		Parent: x.Parent, MapRun: x.MapRun, Child: x.Child, Items: x.Items, Status: s.Status, Started: s.Started, Stopped: s.Stopped,
		Redrives: s.RedriveCount, Redriven: s.RedriveDate})
	if err != nil {
		panic(fmt.Sprintf("row of %s: %v", id, err)) // strings and times always encode
	}
	c := store.RowChange{Key: executionKey(x.ARN), Value: value}
	started := sortable(s.Started)
	lists := []string{x.MachineARN, x.VersionARN, x.AliasARN}
	if x.MapRun != "" { // AWS: a child is listed with its map run only
		lists = []string{x.MapRun}
	}
	for _, arn := range lists {
		if arn != "" {
			c.Index = append(c.Index, store.IndexEntry{Name: byMachine, Sort: arn + " " + started},
				store.IndexEntry{Name: byStatus, Sort: arn + " " + string(s.Status) + " " + started})
		}
	}
	rows := []store.RowChange{c}
	if x.MapRun == "" && s.Status != execution.Running {
		rows = append(rows, store.RowChange{Key: endedKey(s)})
	}
	return rows
}

func executionKey(arn string) store.Key {
	return store.Key{Account: field(arn, 4), Region: field(arn, 3), Service: "states", Kind: Kind, ID: arn}
}

func sortable(t time.Time) string { return fmt.Sprintf("%020d", t.UnixMicro()) }

// committed keeps what is derived from executions in step with them.
func (e *Engine) committed(id store.ID, s *execution.Snapshot, facts []execution.Fact) {
	if s == nil {
		return
	}
	arn := s.Identity.ARN
	ended := false
	defer func() { e.runs.committed(s, facts) }()
	for _, f := range facts {
		if n := f.Note; n != nil {
			switch {
			case n.Issued != nil:
				e.track(s, n.Issued.Task)
			case n.Handled != nil:
				e.track(s, n.Handled.Task)
			case n.Completed != nil, n.Halted != nil, n.Dropped != nil:
				ended = true
			}
		}
		if f.Event != nil && (f.Event.Type == history.ExecutionStarted || f.Event.Type == history.ExecutionRedriven) {
			e.count(s, 1)
		}
		if f.Event != nil && f.Event.Type.Terminal() {
			e.count(s, -1)
			ended = true
			e.cfg.Log.Info("execution closed", "execution", arn, "status", string(s.Status), "events", s.LastEvent, "took", s.Stopped.Sub(s.Started))
			defer e.closed(arn)
		}
	}
	if ended {
		e.untrack(s)
	}
	if e.cfg.Observe != nil {
		e.cfg.Observe(s, facts)
	}
}

// closed tells those who wait for the end of an execution.
func (e *Engine) closed(arn string) {
	e.mu.Lock()
	for _, ch := range e.waiters[arn] {
		close(ch)
	}
	delete(e.waiters, arn)
	e.mu.Unlock()
	e.cfg.Wake.Changed(arn)
}

// opened finds what a recovered execution waits for.
func (e *Engine) opened(_ context.Context, id store.ID, s *execution.Snapshot) *execution.Input {
	e.count(s, 1)
	beats := false
	for _, task := range s.SortedTasks() {
		e.track(s, task)
		beats = beats || !s.Tasks[task].BeatBy.IsZero()
	}
	if beats {
		return &execution.Input{Resumed: &execution.Resumed{}}
	}
	return nil
}

// track follows an open task: an activity's is offered to workers, a job with a handle is polled.
func (e *Engine) track(s *execution.Snapshot, task execution.TaskID) {
	t := s.Tasks[task]
	if t == nil {
		return
	}
	r, err := execution.ParseResource(t.Resource)
	if err != nil {
		return
	}
	ref := taskRef{s.Identity.ARN, task}
	switch {
	case r.Kind == execution.Activity && t.Phase == execution.Scheduled:
		e.offer(t.Resource, ref)
	case len(t.Handle) > 0 && t.Phase == execution.Submitted:
		e.watch(ref, e.job(s, task, t, r))
	}
}

// untrack forgets the execution's tasks that are not open any more.
func (e *Engine) untrack(s *execution.Snapshot) {
	e.mu.Lock()
	defer e.mu.Unlock()
	open := e.polls[s.Identity.ARN]
	for task, p := range open {
		if s.Tasks[task] == nil {
			p.end()
			delete(open, task)
		}
	}
	if len(open) == 0 {
		delete(e.polls, s.Identity.ARN)
	}
}
