package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/emrapi"
)

// Core decides for clusters.
type Core struct{}

// Decision is what Decide returns.
type Decision = durable.Decision[Fact, Command]

// IdleTimer is the name of the auto-termination timer.
const IdleTimer = "idle"

// MaxSteps is how many steps may be active or pending.
const MaxSteps = 256

// Apply folds one fact.
func (Core) Apply(s *State, f Fact) {
	switch {
	case f.Created != nil:
		*s = State{Spec: f.Created.Spec, Settings: f.Created.Settings, State: Starting, Created: f.Created.At}
	case f.Moved != nil:
		m := f.Moved
		s.State, s.Code, s.Message, s.Final = m.State, m.Code, m.Message, m.Final
		if s.Ready.IsZero() && s.up() {
			s.Ready = m.At
		}
		if s.Ended() {
			s.End = m.At
		}
	case f.Added != nil:
		for _, st := range f.Added {
			s.Steps = append(s.Steps, &st)
		}
	case f.StepMoved != nil:
		m := f.StepMoved
		st := s.Step(m.ID)
		if st == nil {
			return
		}
		st.State, st.Failure = m.State, m.Failure
		if st.State == Running {
			st.Start = m.At
		}
		if st.Ended() {
			st.End = m.At
			s.LastStep = st.State
			s.AnyFail = s.AnyFail || st.State == Failed
		}
	case f.Settings != nil:
		s.Settings = *f.Settings
	case f.Leased != nil:
		s.Spec.Lease, s.Workers = f.Leased, make([]Worker, f.Leased.Workers)
	case f.NodesLost != nil:
		s.lose(f.NodesLost)
	case f.WorkerUp != nil:
		s.Workers[f.WorkerUp.Worker].Starting = false
		s.change(func(_ *Group, n *Instance, i int) {
			if i%len(s.Workers) == f.WorkerUp.Worker {
				n.State, n.Ready = Running, f.WorkerUp.At
			}
		})
	case f.IdleSince != nil:
		s.Idle = *f.IdleSince
	}
}

// lose ends the nodes of a worker, and puts new ones in their places.
func (s *State) lose(l *NodesLost) {
	w := &s.Workers[l.Worker]
	w.Generation++
	w.Starting, w.Down = l.New != nil, l.New == nil
	next := l.New
	s.change(func(g *Group, n *Instance, i int) {
		if i%len(s.Workers) != l.Worker {
			return
		}
		n.State, n.Code, n.Message, n.End = Terminated, l.Code, l.Message, l.At
		if len(next) > 0 {
			g.Gone = append(g.Gone, *n)
			*n, next = next[0], next[1:]
		}
	})
}

// turn is one decision in the making.
type turn struct {
	s   *State
	now time.Time
	rng *rand.Rand
	d   Decision
}

func (t *turn) fact(f Fact) {
	Core{}.Apply(t.s, f)
	t.d.Facts = append(t.d.Facts, f)
}

func (t *turn) move(state, code, message, final string) {
	if t.s.State == state && t.s.Code == code && t.s.Message == message {
		return
	}
	t.fact(Fact{Moved: &Moved{State: state, Code: code, Message: message, Final: final, At: t.now}})
}

func (t *turn) moveStep(id, state string, failure *Failure) {
	t.fact(Fact{StepMoved: &StepMoved{ID: id, State: state, Failure: failure, At: t.now}})
}

func (t *turn) command(c Command) { t.d.Commands = append(t.d.Commands, c) }

// Decide answers one input.
func (Core) Decide(s *State, in durable.Input[Input], env durable.Env) (Decision, error) {
	t := &turn{s: s, now: env.Now, rng: rand.New(rand.NewPCG(env.Seed, 0x6d61796))}
	b := in.Body
	if b.Create == nil && s.State == "" {
		return Decision{Err: awsapi.Errorf(400, "ValidationException", "Specified job flow ID does not exist.")}, nil
	}
	switch {
	case b.Create != nil:
		if s.State != "" {
			return Decision{}, fmt.Errorf("cluster %s is created twice", s.Spec.ID)
		}
		t.fact(Fact{Created: &Created{Spec: b.Create.Spec, Settings: b.Create.Settings, At: t.now}})
		t.add(b.Create.Steps)
		t.command(Command{Reserve: &Reserve{}})
		t.d.Reply = b.Create.Reply
	case b.AddSteps != nil:
		t.addSteps(b.AddSteps.Steps)
	case b.Cancel != nil:
		t.cancel(b.Cancel)
	case b.Terminate != nil:
		t.terminateOnRequest(b.Terminate)
	case b.Change != nil:
		t.change(b.Change)
	case b.Reserved != nil:
		t.reserved(b.Reserved)
	case b.Provisioned != nil:
		if s.State == Starting {
			if t.failed(b.Provisioned) {
				break
			}
			t.move(Bootstrapping, "", "Running bootstrap actions", "")
			t.command(Command{Bootstrap: &struct{}{}})
		}
	case b.Bootstrapped != nil:
		if s.State == Bootstrapping {
			if t.failed(b.Bootstrapped) {
				break
			}
			t.watch()
			t.schedule(true)
		}
	case b.StepEnded != nil:
		t.stepEnded(b.StepEnded)
	case b.Died != nil:
		if !s.Ending() {
			t.end(TerminatedWithErrors, "INSTANCE_FAILURE", b.Died.Message)
		}
	case b.WorkerLost != nil:
		if l := b.WorkerLost; !s.Ending() {
			t.lost(l.Worker, l.Generation, Outcome{"INSTANCE_FAILURE", l.Message})
			if !s.Ending() {
				t.watch()
			}
		}
	case b.Replaced != nil:
		t.replaced(b.Replaced)
	case b.TornDown != nil:
		if s.State == Terminating {
			t.move(s.Final, s.Code, s.Message, "")
		}
	case b.IdleTimer != nil:
		if s.State == Waiting && s.Settings.IdleSeconds > 0 && !s.Idle.IsZero() && !s.Settings.Protected &&
			!t.now.Before(t.idleDue()) {
			// AWS's own reason for this is not published.
			t.end(Terminated, "USER_REQUEST", fmt.Sprintf("Terminated by the auto-termination policy after %d seconds of idle time", s.Settings.IdleSeconds))
		}
	default:
		return Decision{}, fmt.Errorf("empty input for cluster %s", s.Spec.ID)
	}
	t.d.Closed = s.Ended()
	return t.d, nil
}

// failed ends the cluster when what it waited for went wrong.
func (t *turn) failed(o *Outcome) bool {
	if o.Code == "" {
		return false
	}
	t.end(TerminatedWithErrors, o.Code, o.Message)
	return true
}

func (t *turn) reserved(r *Reserved) {
	switch s := t.s; {
	case s.State != Starting || s.Spec.Lease != nil:
	case r.Lease != nil:
		t.fact(Fact{Leased: r.Lease})
		t.move(Starting, "", "", "")
		t.command(Command{Provision: &struct{}{}})
	case r.Waits != "":
		t.move(Starting, "", r.Waits, "")
		t.command(Command{Reserve: &Reserve{Wait: true}})
	default:
		t.failed(&r.Outcome)
	}
}

func (t *turn) watch() { t.command(Command{Watch: &Watch{t.s.Generations()}}) }

// maxReplacements is how often a worker is replaced before its nodes stay away: something here is wrong then.
const maxReplacements = 10

// lost replaces a worker that has ended, as long as another one lives. AWS: a failed core node is replaced by a new
// instance; a cluster without core nodes ends.
func (t *turn) lost(worker, generation int, why Outcome) {
	s := t.s
	if worker < 0 || worker >= len(s.Workers) || s.Workers[worker].Generation != generation || s.Workers[worker].Down {
		return // it was replaced before this was heard
	}
	others := false
	for i, w := range s.Workers {
		others = others || i != worker && !w.Starting && !w.Down
	}
	if !others {
		t.end(TerminatedWithErrors, "INSTANCE_FAILURE", "All core and task nodes were terminated: "+why.Message)
		return
	}
	l := &NodesLost{Worker: worker, Outcome: why, At: t.now}
	if generation < maxReplacements {
		for range s.Spec.NodesOf(worker) {
			l.New = append(l.New, Instance{ID: t.randomID("ci-", alphabet, 13), EC2ID: t.randomID("i-", "0123456789abcdef", 17), IP: "127.0.0.1",
				State: Bootstrapping, Created: t.now})
		}
	} else {
		l.Message += fmt.Sprintf(" (it was replaced %d times)", maxReplacements)
	}
	t.fact(Fact{NodesLost: l})
	if l.New != nil {
		t.command(Command{Replace: &Replace{worker, s.Workers[worker].Generation}})
	}
}

func (t *turn) replaced(r *Replaced) {
	s := t.s
	if s.Ending() || r.Worker >= len(s.Workers) || s.Workers[r.Worker].Generation != r.Generation || !s.Workers[r.Worker].Starting {
		return
	}
	if r.Code != "" {
		t.lost(r.Worker, r.Generation, r.Outcome)
		return
	}
	t.fact(Fact{WorkerUp: &WorkerUp{Worker: r.Worker, At: t.now}})
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func (t *turn) randomID(prefix, alphabet string, n int) string {
	b := []byte(prefix)
	for range n {
		b = append(b, alphabet[t.rng.IntN(len(alphabet))])
	}
	return string(b)
}

func (t *turn) add(configs []emrapi.StepConfig) []string {
	if len(configs) == 0 {
		return nil
	}
	var added []Step
	var ids []string
	for _, c := range configs {
		st := Step{ID: t.randomID("s-", alphabet, 13), Config: c, State: Pending, Created: t.now}
		added, ids = append(added, st), append(ids, st.ID)
	}
	t.fact(Fact{Added: added})
	return ids
}

func refused(code, text string) *awsapi.Error { return awsapi.Errorf(400, code, "%s", text) }

func (t *turn) addSteps(configs []emrapi.StepConfig) {
	s := t.s
	if s.Ending() {
		t.d.Err = refused("ValidationException", "A job flow that is shutting down, terminated, or finished may not be modified.")
		return
	}
	open := 0
	for _, st := range s.Steps {
		if !st.Ended() {
			open++
		}
	}
	if open+len(configs) > MaxSteps {
		t.d.Err = refused("ValidationException", "Maximum number of active and pending steps (256) exceeded.")
		return
	}
	if s.Settings.Concurrency > 1 {
		for _, c := range configs {
			if (&Step{Config: c}).Action() != Continue {
				t.d.Err = refused("ValidationException", "The ActionOnFailure of steps must be CONTINUE while the step concurrency level is greater than 1.")
				return
			}
		}
	}
	t.d.Reply = t.add(configs)
	t.schedule(false)
}

// schedule starts what may start, and says what the cluster then does. first is true when it has just come up.
func (t *turn) schedule(first bool) {
	s := t.s
	if !s.up() && !first {
		return
	}
	running := 0
	for _, st := range s.Steps {
		if st.State == Running || st.State == CancelPending {
			running++
		}
	}
	for _, st := range s.Steps {
		if st.State == Pending && running < s.Settings.Concurrency {
			running++
			t.moveStep(st.ID, Running, nil)
			t.command(Command{RunStep: &RunStep{ID: st.ID}})
		}
	}
	if running > 0 {
		t.move(Running, "", "Running step", "")
		t.busy()
		return
	}
	if !s.Settings.KeepAlive {
		if s.AnyFail {
			t.end(Terminated, "STEP_FAILURE", "Steps completed with errors")
		} else {
			t.end(Terminated, "ALL_STEPS_COMPLETED", "Steps completed")
		}
		return
	}
	message := "Cluster ready to run steps."
	switch s.LastStep {
	case Completed:
		message = "Cluster ready after last step completed."
	case Failed:
		message = "Cluster ready after last step failed."
	case Cancelled, Interrupted:
		message = "Cluster ready after last step cancelled."
	}
	t.move(Waiting, "", message, "")
	if s.Idle.IsZero() {
		t.fact(Fact{IdleSince: &t.now})
	}
	t.idleTimer()
}

func (t *turn) busy() {
	if !t.s.Idle.IsZero() {
		t.fact(Fact{IdleSince: &time.Time{}})
		t.d.ClearTimers = append(t.d.ClearTimers, IdleTimer)
	}
}

func (t *turn) idleDue() time.Time {
	return t.s.Idle.Add(time.Duration(t.s.Settings.IdleSeconds) * time.Second)
}

func (t *turn) idleTimer() {
	switch s := t.s; {
	case s.State != Waiting || s.Idle.IsZero():
	case s.Settings.IdleSeconds <= 0:
		t.d.ClearTimers = append(t.d.ClearTimers, IdleTimer)
	default:
		t.d.SetTimers = append(t.d.SetTimers, durable.Timer{Name: IdleTimer, Due: t.idleDue()})
	}
}

func (t *turn) stepEnded(e *StepEnded) {
	s := t.s
	st := s.Step(e.ID)
	if st == nil || st.Ended() || s.Ending() {
		return
	}
	switch {
	case st.State == CancelPending:
		// AWS: ActionOnFailure does not apply to cancelled steps.
		t.moveStep(st.ID, Cancelled, nil)
	case e.Failure == nil:
		t.moveStep(st.ID, Completed, nil)
	default:
		if st.Action() == CancelAndWait {
			for _, other := range s.Steps {
				if other.State == Pending {
					t.moveStep(other.ID, Cancelled, nil)
				}
			}
		}
		t.moveStep(st.ID, Failed, e.Failure)
		// AWS: a protected cluster stays, and its other steps run.
		if st.Action() == TerminateCluster && !s.Settings.Protected {
			t.end(TerminatedWithErrors, "STEP_FAILURE", "Shut down as step failed")
			return
		}
	}
	t.schedule(false)
}

func (t *turn) cancel(c *Cancel) {
	var infos []emrapi.CancelStepsInfo
	for _, id := range c.Steps {
		info := emrapi.CancelStepsInfo{StepId: awsapi.Ptr(id), Status: awsapi.Ptr("SUBMITTED")}
		st := t.s.Step(id)
		switch {
		case st == nil:
			t.d.Err = refused("InvalidRequestException", "Step id '"+id+"' is not valid.")
			return
		case st.State == Pending:
			t.moveStep(id, Cancelled, nil)
		case st.State == Running:
			t.moveStep(id, CancelPending, nil)
			t.command(Command{CancelStep: &CancelStep{ID: id, Kill: c.Kill}})
		case st.State == CancelPending:
			t.command(Command{CancelStep: &CancelStep{ID: id, Kill: c.Kill}})
		default:
			info.Status = awsapi.Ptr("FAILED")
			info.Reason = awsapi.Ptr("Step is already in a terminal state: " + st.State)
		}
		infos = append(infos, info)
	}
	t.d.Reply = infos
	t.schedule(false)
}

func (t *turn) terminateOnRequest(r *Terminate) {
	s := t.s
	if s.Ending() {
		return
	}
	if s.Settings.Protected && !r.Force {
		t.d.Err = refused("ValidationException", "Could not shut down one or more job flows since they are termination protected.")
		return
	}
	message := r.Message
	if message == "" {
		message = "Terminated by user request"
	}
	t.end(Terminated, "USER_REQUEST", message)
}

// end begins the end: no step runs on, and every process goes.
func (t *turn) end(final, code, message string) {
	var interrupted []string
	for _, st := range t.s.Steps {
		switch st.State {
		case Pending:
			t.moveStep(st.ID, Cancelled, nil)
		case Running:
			t.moveStep(st.ID, Interrupted, nil)
			interrupted = append(interrupted, st.ID)
		case CancelPending:
			t.moveStep(st.ID, Cancelled, nil)
			interrupted = append(interrupted, st.ID)
		}
	}
	t.busy()
	t.move(Terminating, code, message, final)
	t.command(Command{TearDown: &TearDown{Interrupted: interrupted}})
}

func (t *turn) change(c *Change) {
	s := t.s
	if s.Ending() {
		if c.AddTags != nil || c.RemoveTags != nil {
			t.d.Err = refused("InvalidRequestException", "Tags cannot be modified on terminated clusters.")
		} else {
			t.d.Err = refused("ValidationException", "A job flow that is shutting down, terminated, or finished may not be modified.")
		}
		return
	}
	n := s.Settings
	n.Tags = slices.Clone(n.Tags)
	if c.KeepAlive != nil {
		n.KeepAlive = *c.KeepAlive
	}
	if c.Protected != nil {
		n.Protected = *c.Protected
	}
	if c.Visible != nil {
		n.Visible = *c.Visible
	}
	if c.Concurrency != nil {
		n.Concurrency = *c.Concurrency
	}
	if c.IdleSeconds != nil {
		n.IdleSeconds, n.HasPolicy = max(0, *c.IdleSeconds), *c.IdleSeconds > 0
	}
	n.Tags = slices.DeleteFunc(n.Tags, func(tag emrapi.Tag) bool { return slices.Contains(c.RemoveTags, awsapi.Val(tag.Key)) })
	for _, tag := range c.AddTags {
		n.Tags = slices.DeleteFunc(n.Tags, func(old emrapi.Tag) bool { return awsapi.Val(old.Key) == awsapi.Val(tag.Key) })
		n.Tags = append(n.Tags, tag)
	}
	t.fact(Fact{Settings: &n})
	t.schedule(false) // which also sets the idle timer anew
}
