package engine

import (
	"context"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/clock"
)

// The pace of polls when nothing wakes them.
const (
	firstPoll = 5 * time.Second
	slowPoll  = 30 * time.Second
)

// poll follows one running job. Its fields are guarded by Engine.mu.
type poll struct {
	ref   taskRef
	job   integration.Job
	stops []func()
	timer clock.Timer
	pace  time.Duration
	busy  bool // a poll is under way
	again bool // something changed meanwhile
	ended bool
}

func (p *poll) end() {
	p.ended = true
	for _, stop := range p.stops {
		stop()
	}
	if p.timer != nil {
		p.timer.Stop()
	}
}

func (e *Engine) job(s *execution.Snapshot, task execution.TaskID, t *execution.Task, r execution.Resource) integration.Job {
	return integration.Job{Execution: s.Identity.ARN, Attempt: task, Resource: r, RoleARN: t.RoleARN, Principal: principal(s), Handle: t.Handle}
}

// watch polls a job from now on: at once, whenever something that it watches changes, and now and then.
func (e *Engine) watch(ref taskRef, job integration.Job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return
	}
	open := e.polls[ref.execution]
	if p := open[ref.task]; p != nil {
		p.job = job
		return
	}
	if open == nil {
		open = map[execution.TaskID]*poll{}
		e.polls[ref.execution] = open
	}
	p := &poll{ref: ref, job: job, pace: firstPoll}
	open[ref.task] = p
	for _, w := range e.cfg.Integrations.Watches(job) {
		p.stops = append(p.stops, e.cfg.Wake.Watch(w, func() { e.due(p) }))
	}
	if e.started { // otherwise Start does it
		e.arm(p, 0)
	}
}

// arm makes the poll due after d.
func (e *Engine) arm(p *poll, d time.Duration) {
	if p.ended || e.stopped {
		return
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	p.timer = e.cfg.Clock.AfterFunc(d, func() { e.due(p) })
}

// due runs a poll now, or once more after the one that is under way.
func (e *Engine) due(p *poll) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case p.ended || e.stopped || !e.started:
	case p.busy:
		p.again = true
	default:
		p.busy = true
		e.polling.Add(1)
		go e.poll(p, p.job)
	}
}

func (e *Engine) poll(p *poll, job integration.Job) {
	defer e.polling.Done()
	next := e.ask(p, job)
	e.mu.Lock()
	defer e.mu.Unlock()
	p.busy = false
	if p.again {
		p.again, next = false, 0
	}
	e.arm(p, next)
}

// ask polls once and says when to ask again. A failing describe fails no task.
func (e *Engine) ask(p *poll, job integration.Job) time.Duration {
	ctx := e.ctx
	r, err := e.cfg.Integrations.Poll(ctx, job)
	if err != nil {
		if ctx.Err() == nil {
			e.cfg.Log.Warn("poll failed", "execution", p.ref.execution, "resource", job.Resource.ARN, "err", err)
		}
		return e.slower(p)
	}
	in := execution.Input{Done: &execution.TaskDone{Task: p.ref.task, Outcome: execution.Outcome{Output: r.Output, Failure: r.Failure}}}
	if r.Running {
		if len(r.Handle) == 0 || string(r.Handle) == string(job.Handle) {
			if r.Again > 0 {
				return r.Again
			}
			return e.slower(p)
		}
		in = execution.Input{Progress: &execution.TaskProgress{Task: p.ref.task, Handle: r.Handle}}
	}
	if err := e.report(ctx, p.ref, in); err != nil && ctx.Err() == nil {
		e.cfg.Log.Warn("result could not be recorded", "execution", p.ref.execution, "err", err)
	}
	return e.slower(p)
}

func (e *Engine) slower(p *poll) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := p.pace
	p.pace = min(p.pace*3/2, slowPoll)
	return d
}

func (e *Engine) report(ctx context.Context, ref taskRef, in execution.Input) error {
	es, err := e.entities(ref.execution)
	if err != nil {
		return err
	}
	_, err = es.Do(ctx, id(ref.execution), durable.Input[execution.Input]{Body: in})
	return err
}
