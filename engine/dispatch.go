package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/maprun"
	"github.com/mayfly-run/mayfly/store"
)

// errCancelled is why the context of a call ends whose task has ended.
var errCancelled = errors.New("the task has ended")

// dispatch carries out one command of an execution.
func (e *Engine) dispatch(ctx context.Context, id store.ID, key string, c execution.Command) (*execution.Input, error) {
	switch {
	case c.Start != nil:
		return e.startTask(ctx, id, key, *c.Start)
	case c.Cancel != nil:
		return nil, e.cancelTask(ctx, id, key, *c.Cancel)
	case c.Map != nil:
		return nil, e.runs.create(ctx, id, *c.Map)
	case c.StopMap != nil:
		return nil, e.runs.tell(ctx, c.StopMap.Run, maprun.Input{Stop: &maprun.Stop{Redrives: c.StopMap.Redrives}})
	case c.RedriveMap != nil:
		return nil, e.runs.redrive(ctx, id, *c.RedriveMap)
	}
	return nil, fmt.Errorf("command of %s is of no known kind", id)
}

func (e *Engine) startTask(ctx context.Context, id store.ID, key string, c execution.StartTask) (*execution.Input, error) {
	r, err := execution.ParseResource(c.Resource)
	if err != nil {
		return nil, err
	}
	if r.Kind == execution.Activity {
		return nil, nil // offered to workers, from what was committed
	}
	who, open, mock, err := e.behalf(ctx, id, c.Task)
	if err != nil {
		return nil, err
	}
	if !open && mock.TestCase != "" {
		return nil, nil // its state's numbers are gone with it, and nothing real is at stake
	}
	ref := taskRef{arnOf(id), c.Task}
	if !r.Pattern.Submits() {
		if !open {
			return nil, nil // it has timed out, or its execution has ended: nobody wants the answer
		}
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
		e.mu.Lock()
		e.calls[ref] = cancel
		e.mu.Unlock()
		defer func() {
			e.mu.Lock()
			delete(e.calls, ref)
			e.mu.Unlock()
		}()
	}
	t := integration.Task{Execution: ref.execution, Attempt: c.Task, State: c.State, Resource: r, Input: c.Input,
		RoleARN: c.RoleARN, Principal: who, RequestKey: key, Deadline: c.Deadline, Mock: mock}
	if r.Pattern.Submits() {
		t.Token = e.token(ref.execution, c.Task)
	}
	result, err := e.cfg.Integrations.Start(ctx, t)
	switch {
	case errors.Is(context.Cause(ctx), errCancelled):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("start %s of state %s: %w", c.Resource, c.State, err)
	case result.Running:
		if !r.Pattern.Submits() {
			return nil, fmt.Errorf("start %s of state %s: a running job, though nothing waits for it", c.Resource, c.State)
		}
		return &execution.Input{Submitted: &execution.TaskSubmitted{Task: c.Task, Resource: c.Resource, Output: result.Output, Handle: result.Handle}}, nil
	}
	return &execution.Input{Done: &execution.TaskDone{Task: c.Task, Unsubmitted: true,
		Outcome: execution.Outcome{Output: result.Output, Failure: result.Failure, Response: result.Response}}}, nil
}

func (e *Engine) cancelTask(ctx context.Context, id store.ID, key string, c execution.CancelTask) error {
	e.mu.Lock()
	if cancel := e.calls[taskRef{arnOf(id), c.Task}]; cancel != nil {
		cancel(errCancelled)
	}
	e.mu.Unlock()
	if len(c.Handle) == 0 {
		return nil
	}
	r, err := execution.ParseResource(c.Resource)
	if err != nil {
		return err
	}
	who, _, _, err := e.behalf(ctx, id, c.Task)
	if err != nil {
		return err
	}
	err = e.cfg.Integrations.Cancel(ctx, integration.Job{Execution: arnOf(id), Attempt: c.Task, Resource: r, RoleARN: c.RoleARN,
		Principal: who, RequestKey: key, Handle: c.Handle})
	if err != nil {
		return fmt.Errorf("cancel %s: %w", c.Resource, err)
	}
	return nil
}

// behalf is who the execution's calls are made as, whether the task is open, and how it is mocked.
func (e *Engine) behalf(ctx context.Context, id store.ID, task execution.TaskID) (who identity.Principal, open bool, mock integration.Mock, err error) {
	es, err := e.entities(arnOf(id))
	if err != nil {
		return who, false, mock, err
	}
	err = es.View(ctx, id, func(s *execution.Snapshot) {
		who, mock.TestCase, mock.Machine = principal(s), s.Identity.TestCase, s.Identity.MachineName
		if t := s.Tasks[task]; t != nil {
			open, mock.Start, mock.Retry = true, t.Start, s.Frames[t.Frame].Retried
		}
	})
	return who, open, mock, err
}

// principal is an execution as a caller: its role, assumed.
func principal(s *execution.Snapshot) identity.Principal {
	x := s.Identity
	role := x.RoleARN
	for i := len(role) - 1; i >= 0; i-- {
		if role[i] == '/' {
			role = role[i+1:]
			break
		}
	}
	account := field(x.ARN, 4)
	return identity.Principal{Kind: identity.Execution, Account: account, Region: field(x.ARN, 3), Entity: x.ARN, Execution: x.ARN,
		ARN: "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + x.Name}
}
