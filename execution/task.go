package execution

import (
	"fmt"
	"strconv"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/history"
)

// schedule asks for a task's work.
func (t *turn) schedule(a Addr, f *Frame) {
	st := t.state(f, f.State).(*asl.TaskState)
	r, err := ParseResource(st.Resource)
	if err != nil {
		t.fail(a, t.runtime(f, err.Error()+"."), "")
		return
	}
	if r.Kind == Activity && t.c.Activity != nil && !t.c.Activity(st.Resource) {
		t.fail(a, t.runtime(f, "The activity "+st.Resource+" does not exist."), "")
		return
	}
	id := t.s.Issued + 1
	v := t.visit(a, f)
	if st.ReadsContext && r.Pattern.Submits() && t.c.Token != nil {
		v.Context = t.contextObject(f, st, t.c.Token(t.s.Identity.ARN, id))
	}
	call, fail := v.Call()
	if fail == nil && t.c.Arguments != nil {
		if err := t.c.Arguments(r, call.Arguments); err != nil { // AWS: nothing has been scheduled then, and nothing catches it
			f := t.runtime(f, fmt.Sprintf("The Parameters '%s' could not be used to start the Task: [%s]", call.Arguments, err))
			fail = &f
		}
	}
	if fail != nil {
		t.fail(a, *fail, "")
		return
	}
	args, role := call.Arguments, call.RoleARN
	n := &Issued{Task: id, Resource: st.Resource, Timeout: int64(call.Timeout / time.Second),
		Heartbeat: int64(call.Heartbeat / time.Second), RoleARN: role}
	switch r.Kind {
	case Function:
		t.emit(a, history.LambdaFunctionScheduled, &history.FunctionSchedule{Resource: st.Resource, Input: args,
			Timeout: n.Timeout, RoleARN: role}, &Note{Issued: n})
	case Activity:
		t.emit(a, history.ActivityScheduled, &history.ActivitySchedule{Resource: st.Resource, Input: args,
			Timeout: n.Timeout, Heartbeat: n.Heartbeat}, &Note{Issued: n})
		t.bound(true)
	default:
		t.emit(a, history.TaskScheduled, &history.TaskSchedule{Resource: named(r), Region: t.s.Identity.Region,
			Parameters: args, Timeout: n.Timeout, Heartbeat: n.Heartbeat, RoleARN: role}, &Note{Issued: n})
	}
	t.d.Commands = append(t.d.Commands, Command{Start: &StartTask{Task: id, State: f.State, Resource: st.Resource,
		Input: args, RoleARN: role}})
	if r.Kind != Activity { // an activity starts when a worker takes it
		t.issued = append(t.issued, id)
	}
}

// startIssued records the start of what this turn has scheduled. AWS: they come after all has been scheduled.
func (t *turn) startIssued() {
	for _, id := range t.issued {
		task := t.s.Tasks[id]
		if task == nil {
			continue
		}
		deadline := t.clock(id, task, "")
		for i := range t.d.Commands {
			if c := t.d.Commands[i].Start; c != nil && c.Task == id {
				c.Deadline = deadline
			}
		}
	}
}

// clock starts a task's time.
func (t *turn) clock(id TaskID, task *Task, worker string) time.Time {
	n := &Clocked{Task: id}
	if task.Timeout > 0 {
		n.Deadline = t.env.Now.Add(seconds(task.Timeout))
	}
	if task.Heartbeat > 0 {
		n.BeatBy = t.env.Now.Add(seconds(task.Heartbeat))
	}
	r := mustResource(task.Resource)
	switch r.Kind {
	case Function:
		t.emit(task.Frame, history.LambdaFunctionStarted, nil, &Note{Clocked: n})
	case Activity:
		t.emit(task.Frame, history.ActivityStarted, &history.ActivityStart{Worker: worker}, &Note{Clocked: n})
	default:
		t.emit(task.Frame, history.TaskStarted, &history.TaskStart{Resource: named(r)}, &Note{Clocked: n})
	}
	if task.Timeout > 0 { // after the event, with which the history may be full: then nothing waits
		t.setTimer(taskTimer(id), n.Deadline)
	}
	if task.Heartbeat > 0 {
		t.setTimer(beatTimer(id), n.BeatBy)
	}
	return n.Deadline
}

func (t *turn) submitted(in TaskSubmitted) {
	task := t.s.Tasks[in.Task]
	if task == nil || task.Phase != Started {
		t.d.Reply.Stale = true
		if task == nil && len(in.Handle) > 0 { // it ended while the call was under way: what was started must end too
			t.d.Commands = append(t.d.Commands, Command{Cancel: &CancelTask{Task: in.Task, Resource: in.Resource, Handle: in.Handle}})
		}
		return
	}
	n := &Handled{Task: in.Task, Handle: in.Handle, BeatBy: task.BeatBy}
	if task.Heartbeat > 0 {
		n.BeatBy = t.env.Now.Add(seconds(task.Heartbeat))
		t.setTimer(beatTimer(in.Task), n.BeatBy)
	}
	t.emit(task.Frame, history.TaskSubmitted, &history.TaskOutput{Resource: named(mustResource(task.Resource)),
		Output: in.Output}, &Note{Handled: n})
	t.bound(true)
	if task.Held != nil {
		t.complete(in.Task, task, *task.Held, false)
	}
}

func (t *turn) done(in TaskDone) {
	task := t.s.Tasks[in.Task]
	if task == nil {
		t.d.Reply.Stale = true
		return
	}
	r := mustResource(task.Resource)
	switch {
	case r.Kind == Activity && task.Phase == Scheduled:
		t.d.Reply.Stale = true // nobody has taken it: its token has not been told to anybody
	case in.ByToken && r.Kind == Service && task.Phase != Submitted:
		if task.Held != nil {
			t.d.Reply.Stale = true // the first completion wins
			return
		}
		t.note(task.Frame, Note{Held: &Held{Task: in.Task, Outcome: in.Outcome}})
	case !in.ByToken && task.Held != nil: // the call failed, but its token has come back: the first completion wins
		t.complete(in.Task, task, *task.Held, false)
	default:
		if in.ByToken && r.Pattern != Callback && r.Kind == Service {
			t.cancel(in.Task, task) // a job finished early by its token goes on no more
		}
		t.complete(in.Task, task, in.Outcome, in.Unsubmitted)
	}
}

// complete ends a task with an outcome and takes the consequences.
func (t *turn) complete(id TaskID, task *Task, o Outcome, unsubmitted bool) {
	a := task.Frame
	r := mustResource(task.Resource)
	if max := t.c.Limits.Data.Payload; o.Failure == nil && max > 0 && o.Output.Size() > max {
		o = Outcome{Failure: &asl.Failure{Error: asl.ErrDataLimitExceeded, Cause: fmt.Sprintf(
			"The state/task '%s' returned a result with a size exceeding the maximum number of bytes service limit.", r.subject())}}
	}
	if o.Failure != nil {
		how := failed
		if unsubmitted && r.Pattern.Submits() {
			how = unsubmittedFailure
		}
		t.endTask(id, task, how, o)
		t.fail(a, *o.Failure, "")
		return
	}
	typ, d := history.TaskSucceeded, history.Details(&history.TaskOutput{Resource: named(r), Output: o.Output})
	switch r.Kind {
	case Function:
		typ, d = history.LambdaFunctionSucceeded, &history.Output{Output: o.Output}
	case Activity:
		typ, d = history.ActivitySucceeded, &history.Output{Output: o.Output}
	}
	t.clearTask(id, task)
	t.emit(a, typ, d, &Note{Completed: &Completed{Task: id}})
	f := t.s.Frames[a]
	exit, fail := t.visit(a, f).Finish(o.Output)
	t.leaveOrFail(a, exit, fail)
}

// ending is how a task ends badly.
type ending int

const (
	failed ending = iota
	unsubmittedFailure
	timedOut
)

// endTask records that a task has ended badly; the consequences are the caller's.
func (t *turn) endTask(id TaskID, task *Task, how ending, o Outcome) {
	r := mustResource(task.Resource)
	d := failureDetails(*o.Failure)
	types := [...]history.Type{history.TaskFailed, history.TaskSubmitFailed, history.TaskTimedOut}
	details := history.Details(&history.TaskFailure{Resource: named(r), Failure: *d})
	switch r.Kind {
	case Function:
		types = [...]history.Type{history.LambdaFunctionFailed, history.LambdaFunctionFailed, history.LambdaFunctionTimedOut}
		details = d
	case Activity:
		types = [...]history.Type{history.ActivityFailed, history.ActivityFailed, history.ActivityTimedOut}
		details = d
	}
	t.clearTask(id, task)
	t.emit(task.Frame, types[how], details, &Note{Completed: &Completed{Task: id, Response: o.Response}})
}

// work gives a scheduled activity task to a worker.
func (t *turn) work(in WorkTaken) {
	task := t.s.Tasks[in.Task]
	if task == nil || task.Phase != Scheduled || mustResource(task.Resource).Kind != Activity {
		t.d.Reply.Stale = true
		return
	}
	t.clock(in.Task, task, in.Worker)
	t.d.Reply.Taken, t.d.Reply.Input = true, task.Input
}

// beat notes a heartbeat once per quarter of the interval. What is noted leaves room for a quarter that is not, so a
// task that beats in time never times out, and one that stops does so at most a quarter late.
func (t *turn) beat(id TaskID) {
	task := t.s.Tasks[id]
	if task == nil || task.Phase == Scheduled {
		t.d.Reply.Stale = true
		return
	}
	if task.BeatBy.IsZero() {
		return
	}
	interval := seconds(task.Heartbeat)
	if by := t.env.Now.Add(interval); by.After(task.BeatBy) {
		t.beatBy(id, task, by.Add(interval/4))
	}
}

func (t *turn) beatBy(id TaskID, task *Task, by time.Time) {
	if by.After(task.BeatBy) {
		t.note(task.Frame, Note{Beaten: &Beaten{Task: id, BeatBy: by}})
		t.setTimer(beatTimer(id), by)
	}
}

// cancel asks that what a task started should end.
func (t *turn) cancel(id TaskID, task *Task) {
	for i, c := range t.d.Commands { // issued in this very turn: it has not left
		if c.Start != nil && c.Start.Task == id {
			t.d.Commands = append(t.d.Commands[:i], t.d.Commands[i+1:]...)
			return
		}
	}
	t.d.Commands = append(t.d.Commands, Command{Cancel: &CancelTask{Task: id, Resource: task.Resource,
		Handle: task.Handle, RoleARN: task.RoleARN}})
}

// clearTask clears a task's timers.
func (t *turn) clearTask(id TaskID, task *Task) {
	if !task.Deadline.IsZero() {
		t.clearTimer(taskTimer(id))
	}
	if !task.BeatBy.IsZero() {
		t.clearTimer(beatTimer(id))
	}
}

func taskTimer(id TaskID) string { return timerTask + strconv.FormatInt(int64(id), 10) }
func beatTimer(id TaskID) string { return timerBeat + strconv.FormatInt(int64(id), 10) }

func named(r Resource) history.Resource {
	return history.Resource{ResourceType: r.Service, Resource: r.name()}
}

func mustResource(arn string) Resource {
	r, err := ParseResource(arn)
	if err != nil {
		panic(err) // a task was scheduled with it
	}
	return r
}

// runtime is a failure that nothing catches, with AWS's beginning.
func (t *turn) runtime(f *Frame, cause string) asl.Failure {
	return asl.Failure{Error: asl.ErrRuntime, Cause: fmt.Sprintf(
		"An error occurred while executing the state '%s' (entered at the event id #%d). %s", f.State, f.Entered, cause)}
}

func failureDetails(f asl.Failure) *history.Failure {
	var d history.Failure
	if f.Error != "" {
		d.Error = &f.Error
	}
	if f.Cause != "" {
		d.Cause = &f.Cause
	}
	return &d
}
