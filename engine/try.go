package engine

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Inspection is what a call sent and got; package integration says more.
type Inspection = integration.Inspection

// Try does the work of one task once, outside of any execution, as TestState wants it: nothing of it is recorded. The
// task must be done with the answer of one call. inspect may be nil.
func (e *Engine) Try(ctx context.Context, id execution.Identity, state string, r execution.Resource, args jsonvalue.Value, role string, inspect *Inspection) (jsonvalue.Value, *asl.Failure, error) {
	if r.Kind == execution.Activity || r.Pattern.Submits() {
		return jsonvalue.Value{}, nil, fmt.Errorf("try %s: it is not done with one call", r.ARN)
	}
	result, err := e.cfg.Integrations.Start(ctx, integration.Task{Execution: id.ARN, Attempt: 1, State: state, Resource: r, Input: args,
		RoleARN: role, Principal: principal(&execution.Snapshot{Identity: id}), RequestKey: "try/" + rand.Text(), Inspect: inspect})
	switch {
	case err != nil:
		return jsonvalue.Value{}, nil, fmt.Errorf("try %s: %w", r.ARN, err)
	case result.Running:
		return jsonvalue.Value{}, nil, fmt.Errorf("try %s: a running job, though nothing waits for it", r.ARN)
	}
	return result.Output, result.Failure, nil
}
