package durable

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/store"
)

// The pauses after which a failed command is dispatched again: doubled each time.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 30 * time.Second
)

// job is a command on its way.
type job struct {
	id      store.ID
	key     string
	command any
	tries   int
}

// dispatcher carries out the commands of one kind, at most ops.parallel at a time, in their order.
type dispatcher struct {
	loop *Loop
	ops  ops

	mu      sync.Mutex
	running int
	waiting []job
}

func (d *dispatcher) start(j job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running >= d.ops.parallel() {
		d.waiting = append(d.waiting, j)
		return
	}
	d.running++
	d.loop.begin()
	go d.work(j)
}

func (d *dispatcher) work(j job) {
	defer d.loop.end()
	for {
		d.carryOut(j)
		d.mu.Lock()
		if len(d.waiting) == 0 || d.loop.ctx.Err() != nil {
			d.running--
			d.mu.Unlock()
			return
		}
		j, d.waiting = d.waiting[0], d.waiting[1:]
		d.mu.Unlock()
	}
}

// carryOut dispatches one command and hands its result to its entity. Without one, it only marks the command as done.
func (d *dispatcher) carryOut(j job) {
	l := d.loop
	if l.leaving() {
		return // it stays in the outbox
	}
	body, err := d.call(j)
	if err != nil {
		if l.ctx.Err() == nil {
			l.cfg.Log.Warn("command failed", "entity", j.id, "request", j.key, "attempt", j.tries, "err", err)
			d.later(j)
		}
		return
	}
	if body == nil {
		l.begin()
		l.cfg.Store.CommitAsync(store.Batch{Done: []string{j.key}}, func(err error) {
			if err != nil {
				l.fatal(fmt.Errorf("commit the end of %s: %w", j.key, err))
			}
			l.end()
		})
		return
	}
	in := &input{id: j.key, label: j.key, body: body, done: []string{j.key}}
	in.finish = func(_ any, err error) {
		if err != nil && in.failed && !l.leaving() {
			l.cfg.Log.Error("input failed", "entity", j.id, "input", j.key, "what", "result", "err", err)
			d.later(j)
		}
	}
	l.post(j.id, func(p *partition) { p.accept(j.id, in) })
}

func (d *dispatcher) later(j job) {
	pause := min(firstPause<<min(j.tries, 20), longestPause)
	j.tries++
	d.loop.cfg.Clock.AfterFunc(pause, func() {
		if !d.loop.leaving() {
			d.start(j)
		}
	})
}

func (d *dispatcher) call(j job) (body any, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return d.ops.dispatch(d.loop.ctx, j.id, j.key, j.command)
}

// PanicError is a panic of a kind's code, as an error.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }
