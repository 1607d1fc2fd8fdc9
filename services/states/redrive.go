package states

import (
	"context"
	"errors"
	"time"

	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/store"
)

// machineGone is AWS's reason when the state machine is deleted.
const machineGone = "State machine is in DELETING status"

// notRedrivable says why an execution cannot be redriven now, "" when it can.
func (s *Service) notRedrivable(ctx context.Context, d *engine.Description) (string, error) {
	_, _, _, err := s.machineOf(ctx, d.Machine())
	switch code := awscall.Code(err); {
	case code == "StateMachineDoesNotExist", code == "StateMachineDeleting":
		return machineGone, nil
	case err != nil:
		return "", err
	}
	return d.NotRedrivable, nil
}

func refuseRedrive(reason string) error {
	return awsapi.Errorf(400, "ExecutionNotRedrivable", "Execution Not Redrivable: '%s'", reason)
}

// redrive continues a closed execution; definition nil is the one that it has.
func (s *Service) redrive(ctx context.Context, arn string, token *string, definition []byte) (time.Time, error) {
	d, err := s.execution(ctx, arn)
	if err != nil {
		return time.Time{}, err
	}
	if d.MapRun != "" {
		return time.Time{}, refuseRedrive("Execution is part of a Map Run and can only be redriven with its parent execution")
	}
	// The engine knows the rest, and which tokens it has had; but not whether the state machine is there.
	if reason, err := s.notRedrivable(ctx, d); err != nil {
		return time.Time{}, err
	} else if reason == machineGone {
		return time.Time{}, refuseRedrive(reason)
	}
	at, err := s.cfg.Engine.RedriveExecution(ctx, engine.Redrive{ARN: arn, Token: awsapi.Val(token), RequestKey: awscall.RequestKey(ctx), Definition: definition})
	if errors.Is(err, store.ErrNotFound) {
		return at, awsapi.Errorf(400, "ExecutionDoesNotExist", "Execution Does Not Exist: '%s'", arn)
	}
	return at, err
}

// RedriveExecution continues a closed Standard execution where it failed. AWS: a repeated client token is answered as the
// first call was, for a quarter of an hour.
func (s *Service) RedriveExecution(ctx context.Context, in *api.RedriveExecutionInput) (*api.RedriveExecutionOutput, error) {
	at, err := s.redrive(ctx, in.ExecutionArn, in.ClientToken, nil)
	if err != nil {
		return nil, err
	}
	return &api.RedriveExecutionOutput{RedriveDate: at}, nil
}
