package states

import (
	"context"
	"errors"
	"fmt"

	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/maprun"
	"github.com/mayfly-run/mayfly/store"
)

// mapRun reads the map run that an ARN names.
func (s *Service) mapRun(ctx context.Context, text string) (*engine.MapRun, error) {
	if _, err := parse(text, "mapRun"); err != nil {
		return nil, err
	}
	r, err := s.cfg.Engine.MapRun(ctx, text)
	if errors.Is(err, store.ErrNotFound) {
		return nil, missingMapRun(text)
	}
	return r, err
}

func missingMapRun(arn string) error {
	return awsapi.Errorf(400, "ResourceNotFound", "Resource not found: '%s'", arn)
}

// DescribeMapRun tells of a map run, with its items and children by status.
func (s *Service) DescribeMapRun(ctx context.Context, in *api.DescribeMapRunInput) (*api.DescribeMapRunOutput, error) {
	r, err := s.mapRun(ctx, in.MapRunArn)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeMapRunOutput{MapRunArn: r.ARN, ExecutionArn: r.Execution, Status: string(r.Status), StartDate: r.Started, MaxConcurrency: r.Concurrency,
		ToleratedFailureCount: r.Tolerance.Count, ToleratedFailurePercentage: r.Tolerance.Percent, RedriveCount: &r.Redrives}
	i, x := r.Items, r.Executions
	out.ItemCounts = &api.MapRunItemCounts{Pending: i.Pending, Running: i.Running, Succeeded: i.Succeeded, Failed: i.Failed, TimedOut: i.TimedOut, Aborted: i.Aborted,
		Total: i.Total(), ResultsWritten: i.ResultsWritten, FailuresNotRedrivable: &i.FailuresNotRedrivable, PendingRedrive: &i.PendingRedrive}
	out.ExecutionCounts = &api.MapRunExecutionCounts{Pending: x.Pending, Running: x.Running, Succeeded: x.Succeeded, Failed: x.Failed, TimedOut: x.TimedOut, Aborted: x.Aborted,
		Total: x.Total(), ResultsWritten: x.ResultsWritten, FailuresNotRedrivable: &x.FailuresNotRedrivable, PendingRedrive: &x.PendingRedrive}
	if !r.Stopped.IsZero() {
		out.StopDate = &r.Stopped
	}
	if !r.Redriven.IsZero() {
		out.RedriveDate = &r.Redriven
	}
	return out, nil
}

// ListMapRuns lists the map runs of an execution, newest first.
func (s *Service) ListMapRuns(ctx context.Context, in *api.ListMapRunsInput) (*api.ListMapRunsOutput, error) {
	d, err := s.execution(ctx, in.ExecutionArn)
	if err != nil {
		return nil, err
	}
	of := "map runs " + d.ARN
	from, err := after(in.NextToken, of)
	if err != nil {
		return nil, err
	}
	size := pageSize(in.MaxResults)
	rows, err := s.cfg.Engine.ListMapRuns(ctx, d.ARN, from, size+1)
	if err != nil {
		return nil, fmt.Errorf("list the map runs of %s: %w", d.ARN, err)
	}
	out := &api.ListMapRunsOutput{MapRuns: []api.MapRunListItem{}}
	for i, r := range rows {
		if i == size {
			out.NextToken = pageToken{of, rows[i-1].Cursor}.String()
			break
		}
		item := api.MapRunListItem{ExecutionArn: r.Execution, MapRunArn: r.ARN, StateMachineArn: r.MachineARN, StartDate: r.Started}
		if !r.Stopped.IsZero() {
			item.StopDate = &r.Stopped
		}
		out.MapRuns = append(out.MapRuns, item)
	}
	return out, nil
}

// UpdateMapRun changes concurrency and thresholds of a map run while it runs.
func (s *Service) UpdateMapRun(ctx context.Context, in *api.UpdateMapRunInput) (*api.UpdateMapRunOutput, error) {
	if _, err := parse(in.MapRunArn, "mapRun"); err != nil {
		return nil, err
	}
	if in.MaxConcurrency == nil && in.ToleratedFailureCount == nil && in.ToleratedFailurePercentage == nil {
		return nil, refusedUpdate("MISSING_REQUIRED_PARAMETER", "Either maxConcurrency, toleratedFailureCount, or toleratedFailurePercentage must be specified")
	}
	err := s.cfg.Engine.UpdateMapRun(ctx, in.MapRunArn, maprun.Update{Concurrency: in.MaxConcurrency, Count: in.ToleratedFailureCount, Percent: in.ToleratedFailurePercentage})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, missingMapRun(in.MapRunArn)
	case errors.Is(err, engine.ErrClosed):
		return nil, refusedUpdate("CANNOT_UPDATE_COMPLETED_MAP_RUN", "Map Run is already completed and cannot be updated: '"+in.MapRunArn+"'")
	case err != nil:
		return nil, err
	}
	return &api.UpdateMapRunOutput{}, nil
}

func refusedUpdate(reason, message string) error {
	e := awsapi.Errorf(400, "ValidationException", "%s", message)
	e.Fields = map[string]any{"reason": reason}
	return e
}

// listChildren is ListExecutions of a map run. AWS: Express children are not listed.
func (s *Service) listChildren(ctx context.Context, in *api.ListExecutionsInput) (*api.ListExecutionsOutput, error) {
	r, err := s.mapRun(ctx, *in.MapRunArn)
	if err != nil {
		return nil, err
	}
	if r.Express {
		return nil, unsupportedType()
	}
	of := "children " + r.ARN + " " + awsapi.Val(in.StatusFilter) + " " + awsapi.Val(in.RedriveFilter)
	from, err := after(in.NextToken, of)
	if err != nil {
		return nil, err
	}
	var redriven *bool
	if in.RedriveFilter != nil {
		redriven = awsapi.Ptr(*in.RedriveFilter == "REDRIVEN")
	}
	size := pageSize(in.MaxResults)
	rows, err := s.cfg.Engine.ListChildren(ctx, r.ARN, execution.Status(awsapi.Val(in.StatusFilter)), redriven, from, size+1)
	if err != nil {
		return nil, fmt.Errorf("list the children of %s: %w", r.ARN, err)
	}
	return executions(rows, size, of), nil
}
