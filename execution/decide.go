package execution

import (
	"fmt"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Core decides. All its functions are pure: they give the same for the same arguments, always.
type Core struct {
	Limits Limits
	// Machine is the definition with this digest. It must be there for every open execution.
	Machine func(digest string) *asl.StateMachine
	// Token is the task token of an attempt.
	Token func(execution string, task TaskID) string
	// Activity reports whether an activity exists; nil: all do.
	Activity func(arn string) bool
	// Arguments says why a task cannot be started with these arguments, nil when nothing speaks against it; nil: any can. It
	// must be pure.
	Arguments func(r Resource, args jsonvalue.Value) error
}

// turn is one decision in the making.
type turn struct {
	c      *Core
	m      *asl.StateMachine
	s      *Snapshot
	env    Env
	rng    uint64
	d      Decision
	ready  []Addr   // frames that can go on
	issued []TaskID // scheduled in this turn, not yet started
	steps  int
	usage  *usage
}

// overLimit is thrown when an event would exceed the history: it ends the turn.
type overLimit struct{ frame Addr }

// Decide answers one input. It folds each fact into s through Apply as it decides. An error is a bug: s must then be
// folded anew from what was committed.
func (c *Core) Decide(s *Snapshot, in Input, env Env) (d Decision, err error) {
	if env.Budget == 0 {
		env.Budget = 1000
	}
	env.Now = env.Now.Truncate(time.Microsecond) // as the journal keeps times
	t := &turn{c: c, s: s, env: env, rng: env.Seed}
	if in.Start != nil {
		t.m = c.Machine(in.Start.Identity.Digest)
	} else if in.Redrive != nil && in.Redrive.Digest != "" {
		t.m = c.Machine(in.Redrive.Digest)
	} else if s.Status == Running || in.Redrive != nil && s.Status != "" {
		t.m = c.Machine(s.Identity.Digest)
	}
	switch {
	case in.Broken != nil && s.Status == "":
		return d, fmt.Errorf("execution was never started: %s", in.Broken.Cause)
	case in.Broken != nil, in.Stop != nil, t.m != nil: // the first two need no definition
	case in.Start != nil, s.Status == Running, in.Redrive != nil && s.Status != "":
		return d, fmt.Errorf("execution %s: its definition is not known", s.Identity.ARN)
	}
	t.run(in)
	t.d.Closed = s.Closed()
	return t.d, nil
}

// run decides, and ends the execution when its history is full.
func (t *turn) run(in Input) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case overLimit:
			t.closeAs(history.ExecutionFailed, r.frame, asl.Failure{Error: asl.ErrRuntime, Cause: fmt.Sprintf(
				"The execution reached the maximum number of history events (%d).", t.c.Limits.events(t.s.Identity.Express))})
			t.d.More = false
			t.measured()
		default:
			panic(r)
		}
	}()
	t.expire(in)
	t.input(in)
	t.advanceAll()
	t.startIssued()
	t.measured()
}

func (t *turn) input(in Input) {
	s := t.s
	switch {
	case in.Start != nil:
		if s.Status != "" {
			t.d.Reply = Reply{Exists: true, Started: s.Started}
			return
		}
		t.begin(*in.Start)
	case in.Stop != nil:
		switch s.Status {
		case "":
			t.d.Reply.Stale = true
		case Running:
			t.closeAs(history.ExecutionAborted, Root, asl.Failure{Error: in.Stop.Error, Cause: in.Stop.Cause})
			fallthrough
		default:
			t.d.Reply.Stopped = s.Stopped
		}
	case in.Broken != nil:
		if s.Status == Running {
			t.closeAs(history.ExecutionFailed, Root, asl.Failure{Error: asl.ErrRuntime,
				Cause: "Mayfly could not go on with this execution: " + in.Broken.Cause})
		}
	case in.Redrive != nil:
		t.redrive(*in.Redrive)
	case in.Submitted != nil:
		t.submitted(*in.Submitted)
	case s.Status != Running:
		t.d.Reply.Stale = true
	case in.Progress != nil:
		if task := s.Tasks[in.Progress.Task]; task != nil && task.Phase == Submitted {
			t.note(task.Frame, Note{Handled: &Handled{Task: in.Progress.Task, Handle: in.Progress.Handle, BeatBy: task.BeatBy}})
		} else {
			t.d.Reply.Stale = true
		}
	case in.Done != nil:
		t.done(*in.Done)
	case in.Map != nil:
		t.mapDone(*in.Map)
	case in.Beat != nil:
		t.beat(in.Beat.Task)
	case in.Work != nil:
		t.work(*in.Work)
	case in.Timer != nil:
		t.timers()
	case in.Resumed != nil:
		for _, id := range s.SortedTasks() {
			if task := s.Tasks[id]; !task.BeatBy.IsZero() {
				t.beatBy(id, task, t.env.Now.Add(seconds(task.Heartbeat)))
			}
		}
	case in.Continue != nil:
		for _, a := range s.SortedFrames() {
			if f := s.Frames[a]; f.Outcome == nil && f.Await.none() {
				t.ready = append(t.ready, a)
			}
		}
	}
}

func (t *turn) begin(st Start) {
	b := &Begun{Identity: st.Identity, Block: st.Block, StartAt: st.StartAt, Vars: st.Vars, Input: st.StateInput}
	if b.StartAt == "" {
		b.StartAt = t.m.StartAt
	}
	limit := t.timeout(st.Identity)
	if limit > 0 {
		b.Deadline = earlier(t.env.Now.Add(seconds(limit)), t.c.Limits.end(st.Identity.Express, t.env.Now))
	} else if st.Identity.Express {
		b.Deadline = t.c.Limits.end(true, t.env.Now)
	}
	if !b.Deadline.IsZero() {
		t.setTimer(timerExecution, b.Deadline)
	}
	t.emit(Root, history.ExecutionStarted, &history.ExecutionStart{Input: st.Input, Text: st.Text, RoleARN: st.Identity.RoleARN,
		AliasARN: st.Identity.AliasARN, VersionARN: st.Identity.VersionARN}, &Note{Begun: b})
	t.d.Reply.Started = t.env.Now
	t.ready = append(t.ready, Root)
}

// timeout is the machine's TimeoutSeconds, 0 for none. It does not count for the children of a map run.
func (t *turn) timeout(x Identity) int64 {
	if x.MapRun != "" {
		return 0
	}
	return t.m.TimeoutSeconds
}

// advanceAll lets frames go on, in order, until each of them waits, has ended, or the budget is spent.
func (t *turn) advanceAll() {
	for len(t.ready) > 0 && !t.s.Closed() {
		if t.steps >= t.env.Budget {
			t.d.More = true
			return
		}
		a := t.ready[0]
		t.ready = t.ready[1:]
		t.advance(a)
	}
}

// advance lets one frame go on.
func (t *turn) advance(a Addr) {
	for !t.s.Closed() {
		f := t.s.Frames[a]
		if f == nil || f.Outcome != nil || !f.Await.none() {
			return
		}
		if t.steps >= t.env.Budget {
			t.ready = slices.Insert(t.ready, 0, a)
			return
		}
		t.steps += 1 + f.Input.Size()/largeInput
		t.step(a, f)
	}
}

// step enters the frame's next state, or does the work of the present one again.
func (t *turn) step(a Addr, f *Frame) {
	if f.State == "" {
		st := t.state(f, f.Next)
		t.emit(a, history.Type(st.Base().Type+"StateEntered"), &history.Entered{Name: f.Next, Input: f.Input}, nil)
	}
	switch st := t.state(f, f.State).(type) {
	case *asl.PassState, *asl.ChoiceState, *asl.SucceedState:
		exit, fail := t.visit(a, f).Leave()
		t.leaveOrFail(a, exit, fail)
	case *asl.WaitState:
		t.wait(a, f)
	case *asl.FailState:
		t.fail(a, t.visit(a, f).FailWith(), "")
	case *asl.TaskState:
		t.schedule(a, f)
	case *asl.ParallelState:
		t.fork(a, f, st)
	case *asl.MapState:
		if st.Distributed != nil {
			t.distribute(a, f, st)
		} else {
			t.bind(a, f)
		}
	}
}

func (t *turn) wait(a Addr, f *Frame) {
	from := f.EnteredAt
	if t.s.RedriveDate.After(from) { // left when the execution closed: a redriven Wait waits its seconds anew
		from = t.s.RedriveDate
	}
	until, fail := t.visit(a, f).WaitUntil(from)
	switch {
	case fail != nil:
		t.fail(a, *fail, "")
	case until.After(t.env.Now):
		until = ceil(until)
		t.note(a, Note{Waiting: &Waiting{Until: until, Long: t.outlasts(until)}})
		t.setTimer(timerFrame+string(a), until)
		t.bound(t.outlasts(until))
	default:
		t.waited(a)
	}
}

// waited leaves a Wait state.
func (t *turn) waited(a Addr) {
	exit, fail := t.visit(a, t.s.Frames[a]).Leave()
	t.leaveOrFail(a, exit, fail)
}

func (t *turn) leaveOrFail(a Addr, exit asl.Exit, fail *asl.Failure) {
	if fail == nil {
		fail = t.overfull(a, exit)
	}
	if fail != nil {
		t.fail(a, *fail, "")
		return
	}
	t.leave(a, exit)
}

// overfull is the failure of an exit with which the variables of the execution would exceed their limit.
func (t *turn) overfull(a Addr, exit asl.Exit) *asl.Failure {
	limit, total := t.c.Limits.Data.Variables, 0
	if limit == 0 && t.usage == nil || len(exit.Assign) == 0 {
		return nil
	}
	for _, f := range t.s.Frames {
		for _, v := range f.Vars {
			total += v.Size()
		}
	}
	f := t.s.Frames[a]
	for _, x := range exit.Assign {
		total += x.Value.Size() - f.Vars[x.Name].Size()
	}
	if t.usage != nil {
		t.usage.variables = total
	}
	if limit == 0 || total <= limit {
		return nil
	}
	return asl.TooManyVariables(t.state(f, f.State))
}

// leave exits the frame's state; a block that ends hands its output to who waits for it.
func (t *turn) leave(a Addr, exit asl.Exit) {
	f := t.s.Frames[a]
	d := &history.Exited{Name: f.State, Output: exit.Output}
	if len(exit.Assign) > 0 {
		members := make([]jsonvalue.Member, len(exit.Assign))
		for i, x := range exit.Assign {
			members[i] = jsonvalue.M(x.Name, x.Value)
		}
		d.Assigned = jsonvalue.Object(members...)
	}
	t.emit(a, history.Type(t.state(f, f.State).Base().Type+"StateExited"), d, &Note{Moved: &Moved{Next: exit.Next}})
	if exit.Next != "" {
		t.wake(a)
		return
	}
	if a == Root {
		t.emit(a, history.ExecutionSucceeded, &history.Output{Output: exit.Output}, nil)
		t.closed()
		return
	}
	t.joined(a)
}

// wake puts a frame on the list of those that can go on.
func (t *turn) wake(a Addr) {
	if !slices.Contains(t.ready, a) {
		t.ready = append(t.ready, a)
	}
}

// state is a state of the frame's block. That it exists was checked when the definition was bound.
func (t *turn) state(f *Frame, name string) asl.State {
	block := t.m.BlockAt(f.Block)
	if block == nil || block.States[name] == nil {
		panic(fmt.Sprintf("execution %s: no state %q in block %q", t.s.Identity.ARN, name, f.Block))
	}
	return block.States[name]
}

// emit makes a public event of a frame, with a note where only we need to know more.
func (t *turn) emit(a Addr, typ history.Type, d history.Details, n *Note) {
	e := &history.Event{ID: t.s.LastEvent + 1, At: t.env.Now, Type: typ, Details: d}
	if f := t.s.Frames[a]; f != nil {
		e.Previous = f.Last
	}
	t.emitEvent(a, e, n)
}

func (t *turn) emitEvent(a Addr, e *history.Event, n *Note) {
	if limit := t.c.Limits.events(t.s.Identity.Express); limit > 0 && e.ID >= limit && !e.Type.Terminal() {
		panic(overLimit{a})
	}
	t.fact(Fact{Frame: a, Event: e, Note: n})
}

func (t *turn) note(a Addr, n Note) { t.fact(Fact{Frame: a, Note: &n}) }

func (t *turn) fact(f Fact) {
	t.d.Facts = append(t.d.Facts, f)
	Apply(t.s, f)
}

const (
	timerExecution = "execution"
	timerFrame     = "frame" // and the address: a Wait or a retry
	timerTask      = "task/"
	timerBeat      = "beat/"
)

func (t *turn) setTimer(name string, due time.Time) {
	t.d.ClearTimers = slices.DeleteFunc(t.d.ClearTimers, func(n string) bool { return n == name })
	t.d.SetTimers = slices.DeleteFunc(t.d.SetTimers, func(x Timer) bool { return x.Name == name })
	t.d.SetTimers = append(t.d.SetTimers, Timer{Name: name, Due: due})
}

func (t *turn) clearTimer(name string) {
	t.d.SetTimers = slices.DeleteFunc(t.d.SetTimers, func(x Timer) bool { return x.Name == name })
	t.d.ClearTimers = append(t.d.ClearTimers, name)
}

// random is the next number drawn from the seed (splitmix64).
func (t *turn) random() uint64 {
	t.rng += 0x9e3779b97f4a7c15
	z := t.rng
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (t *turn) fraction() float64 { return float64(t.random()>>11) / (1 << 53) }

// ceil rounds a time up to what the journal keeps, so that nothing ends early.
func ceil(at time.Time) time.Time {
	return at.Add(time.Microsecond - 1).Truncate(time.Microsecond).UTC()
}

func seconds(n int64) time.Duration { return time.Duration(min(n, maxSeconds)) * time.Second }

const maxSeconds = 99999999 // AWS's largest time-out
