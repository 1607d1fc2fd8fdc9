package mocktask

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration"
)

// Integration answers for mocked states, and asks next for all others.
func (m *Mocks) Integration(next integration.Integration) integration.Integration {
	if m == nil {
		return next
	}
	return &tasks{mocks: m, next: next}
}

type tasks struct {
	mocks *Mocks
	next  integration.Integration
}

// handle is that of a mocked job: its outcome.
type handle struct {
	Mocked *execution.Outcome `json:"mocked,omitempty"`
}

func (t *tasks) Start(ctx context.Context, task integration.Task) (integration.Result, error) {
	r, ok := t.mocks.machines[task.Mock.Machine][task.Mock.TestCase][task.State]
	if task.Mock.TestCase == "" || !ok {
		return t.next.Start(ctx, task)
	}
	outcome, ok := r.at(task.Mock.Start)
	if !ok {
		outcome, ok = r.at(task.Mock.Retry)
	}
	if !ok {
		outcome.Failure = &asl.Failure{Error: asl.ErrRuntime, Cause: fmt.Sprintf(
			"The mocked response %q has no number %d, which is needed for the state %q: add it to %s.", r.name, task.Mock.Retry, task.State, t.mocks.file)}
	}
	switch f := outcome.Failure; {
	case !task.Resource.Pattern.Submits(),
		f != nil && (f.Error == asl.ErrRuntime || task.Resource.Pattern != execution.Callback && f.Error != asl.ErrTaskFailed):
		// AWS: a job that fails does so as States.TaskFailed; any other error is that of the call that would have begun it.
		return integration.Result{Output: outcome.Output, Failure: f}, nil
	}
	b, err := json.Marshal(handle{&outcome})
	if err != nil {
		return integration.Result{}, fmt.Errorf("write the mocked outcome of %s: %w", task.State, err)
	}
	return integration.Result{Running: true, Output: outcome.Output, Handle: b}, nil
}

// mocked is the outcome in a job's handle; nil for jobs that run.
func mocked(j integration.Job) *execution.Outcome {
	var h handle
	if json.Unmarshal(j.Handle, &h) != nil {
		return nil
	}
	return h.Mocked
}

func (t *tasks) Poll(ctx context.Context, j integration.Job) (integration.Result, error) {
	if o := mocked(j); o != nil {
		return integration.Result{Output: o.Output, Failure: o.Failure}, nil
	}
	return t.next.Poll(ctx, j)
}

func (t *tasks) Cancel(ctx context.Context, j integration.Job) error {
	if mocked(j) != nil {
		return nil
	}
	return t.next.Cancel(ctx, j)
}

func (t *tasks) Watches(j integration.Job) []string {
	if mocked(j) != nil {
		return nil
	}
	return t.next.Watches(j)
}
