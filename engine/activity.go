package engine

import (
	"context"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// longPoll is how long GetActivityTask waits. AWS: the API's documentation; clients wait a little longer.
const longPoll = 60 * time.Second

// queue is an activity's: the tasks that nobody has taken, oldest first, and the workers that wait. It is derived from
// the executions, whose WorkTaken decides who gets a task; so it needs no record of its own.
type queue struct {
	ready   []taskRef
	waiting []chan struct{} // one wake-up each
	pollers int
}

// ActivityCreated makes an activity known; services/states calls it for each activity that it has, before the loops
// start, and for each new one.
func (e *Engine) ActivityCreated(arn string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.activities[arn] = true
}

// ActivityDeleted forgets an activity: tasks that would be scheduled on it fail.
func (e *Engine) ActivityDeleted(arn string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.activities, arn)
}

func (e *Engine) hasActivity(arn string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.activities[arn]
}

// queue of an activity; e.mu is held.
func (e *Engine) queue(arn string) *queue {
	q := e.queues[arn]
	if q == nil {
		q = &queue{}
		e.queues[arn] = q
	}
	return q
}

// offer puts a task into its activity's queue.
func (e *Engine) offer(arn string, ref taskRef) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q := e.queue(arn)
	if !slices.Contains(q.ready, ref) {
		q.ready = append(q.ready, ref)
	}
	q.wake()
}

func (q *queue) wake() {
	if len(q.waiting) > 0 {
		close(q.waiting[0])
		q.waiting = q.waiting[1:]
	}
}

// ActivityTask waits up to a minute for a task of the activity and gives it to the worker. ok is false when there was
// none. The start is recorded before the worker hears of the task.
func (e *Engine) ActivityTask(ctx context.Context, arn, worker string) (token string, input jsonvalue.Value, ok bool, err error) {
	e.mu.Lock()
	q := e.queue(arn)
	if most := e.cfg.Limits.Pollers; most > 0 && q.pollers >= most {
		e.mu.Unlock()
		return "", input, false, awsapi.Errorf(400, "ActivityWorkerLimitExceeded",
			"The maximum number of workers concurrently polling for activity tasks has been reached.")
	}
	q.pollers++
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		q.pollers--
		e.mu.Unlock()
	}()
	enough := make(chan struct{})
	timer := e.cfg.Clock.AfterFunc(longPoll, func() { close(enough) })
	defer timer.Stop()
	for {
		e.mu.Lock()
		if len(q.ready) == 0 {
			wake := make(chan struct{})
			q.waiting = append(q.waiting, wake)
			e.mu.Unlock()
			var stop error
			select {
			case <-wake:
				continue
			case <-enough:
			case <-ctx.Done():
				stop = context.Cause(ctx)
			case <-e.ctx.Done():
			}
			e.mu.Lock()
			if i := slices.Index(q.waiting, wake); i >= 0 {
				q.waiting = slices.Delete(q.waiting, i, i+1)
			} else if len(q.ready) > 0 {
				q.wake() // it was woken as it left: the next one gets the task
			}
			e.mu.Unlock()
			return "", input, false, stop
		}
		ref := q.ready[0]
		q.ready = q.ready[1:]
		e.mu.Unlock()
		r, err := e.do(ctx, ref.execution, execution.Input{Work: &execution.WorkTaken{Task: ref.task, Worker: worker}})
		if err != nil {
			e.mu.Lock()
			q.ready = slices.Insert(q.ready, 0, ref)
			q.wake()
			e.mu.Unlock()
			return "", input, false, err
		}
		if r.Taken {
			return e.token(ref.execution, ref.task), r.Input, true, nil
		}
	}
}
