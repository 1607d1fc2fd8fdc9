package states

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	own "github.com/mayfly-run/mayfly/internal/awsapi/mayflyapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/store"
)

// Extensions registers what AWS does not have, as a service of its own with the target prefix Mayfly: no operation of AWS's
// is changed by it.
func (s *Service) Extensions() *awscall.Service {
	a := awscall.NewService("mayfly")
	awscall.Handle(a, "RunFrom", s.RunFrom)
	awscall.Handle(a, "RedriveExecution", s.RedriveEdited)
	awscall.Handle(a, "CheckLimits", s.CheckLimits)
	awscall.Handle(a, "DescribeTaskFailure", s.DescribeTaskFailure)
	return a
}

func invalid(format string, args ...any) error {
	return awsapi.Errorf(400, "ValidationException", format, args...)
}

// DescribeTaskFailure tells how a task failed, and what an HTTP API answered with it: AWS throws that away.
func (s *Service) DescribeTaskFailure(ctx context.Context, in *own.DescribeTaskFailureInput) (*own.DescribeTaskFailureOutput, error) {
	d, err := s.execution(ctx, in.ExecutionArn)
	if err != nil {
		return nil, err
	}
	f, err := s.cfg.Engine.TaskFailure(ctx, d.ARN, awsapi.Val(in.EventId))
	if errors.Is(err, store.ErrNotFound) {
		if in.EventId != nil {
			return nil, awsapi.Errorf(400, "NoTaskFailure", "Event %d of the execution is no failure of a task.", *in.EventId)
		}
		return nil, awsapi.Errorf(400, "NoTaskFailure", "No task of the execution has failed.")
	}
	if err != nil {
		return nil, err
	}
	out := &own.DescribeTaskFailureOutput{EventId: f.Event, Error: optional(f.Error), Cause: optional(f.Cause)}
	if !f.Response.IsZero() {
		out.Response = awsapi.Ptr(f.Response.String())
	}
	return out, nil
}

// RunFrom starts a new execution at a state that another one has entered, with the input and the variables that it had
// there. $$.Execution.Input is the other's.
func (s *Service) RunFrom(ctx context.Context, in *own.RunFromInput) (*own.RunFromOutput, error) {
	d, err := s.execution(ctx, in.ExecutionArn)
	if err != nil {
		return nil, err
	}
	if (in.State == nil) == (in.EventId == nil) {
		return nil, invalid("Give either the name of a state or the number of the event that entered it.")
	}
	if _, _, _, err := s.machineOf(ctx, d.MachineARN); err != nil {
		return nil, err
	}
	var definition []byte
	if in.Definition != nil {
		if err := s.checkDefinition(*in.Definition, standard); err != nil {
			return nil, err
		}
		definition = []byte(*in.Definition)
	} else if definition, err = s.cfg.Engine.Definition(ctx, d.Digest); err != nil {
		return nil, fmt.Errorf("read the definition of %s: %w", d.ARN, err)
	}
	m, err := s.cfg.Engine.Moment(ctx, d.ARN, awsapi.Val(in.EventId), awsapi.Val(in.State))
	if errors.Is(err, store.ErrNotFound) {
		if in.State == nil {
			return nil, awsapi.Errorf(400, "StateNotEntered", "Event %d of the execution entered no state.", *in.EventId)
		}
		if in.Input == nil {
			return nil, awsapi.Errorf(400, "StateNotEntered", "The execution never entered a state %s, so its input is not known: give one.", *in.State)
		}
		m, err = &engine.Moment{State: *in.State}, nil // of the machine itself
	}
	if err != nil {
		return nil, err
	}
	if in.Input != nil {
		if m.Input, err = input(in.Input, s.limits().Data.Payload); err != nil {
			return nil, err
		}
	}
	if m.Vars, err = s.override(m.Vars, in.Variables); err != nil {
		return nil, err
	}
	if ok, err := engine.HasState(definition, m.Block, m.State); err != nil {
		return nil, err
	} else if !ok {
		return nil, invalid("The definition has no state %s/States/%s.", m.Block, m.State)
	}
	n := uuid(ctx, "execution")
	if in.Name != nil {
		n = *in.Name
	}
	if err := checkName(n); err != nil {
		return nil, err
	}
	p := who(ctx)
	x := engine.Execution{Identity: d.Identity, Definition: definition, Input: d.Input, Text: d.Text, RequestKey: awscall.RequestKey(ctx),
		Block: m.Block, StartAt: m.State, StateInput: m.Input, Vars: m.Vars}
	x.Identity.Name, x.Identity.ARN, x.Identity.By, x.Identity.Parent = n, strings.TrimSuffix(d.ARN, d.Name)+n, p, p.Execution
	if in.Definition != nil {
		x.Identity.VersionARN, x.Identity.AliasARN = "", "" // it is not what the version says
	}
	started, err := s.cfg.Engine.CreateExecution(ctx, x)
	if err != nil {
		return nil, err
	}
	var vars []jsonvalue.Member
	for _, name := range slices.Sorted(maps.Keys(m.Vars)) {
		vars = append(vars, jsonvalue.M(name, m.Vars[name]))
	}
	return &own.RunFromOutput{ExecutionArn: x.Identity.ARN, StartDate: started, EventId: m.Event, Block: m.Block, State: m.State, Input: m.Input.String(),
		Variables: jsonvalue.Object(vars...).String()}, nil
}

// override gives variables other values.
func (s *Service) override(vars map[string]jsonvalue.Value, text *string) (map[string]jsonvalue.Value, error) {
	if text == nil {
		return vars, nil
	}
	v, err := jsonvalue.ParseLimit([]byte(*text), s.limits().Data.Payload)
	if err != nil || v.Kind() != jsonvalue.KindObject {
		return nil, invalid("The variables are no JSON object.")
	}
	out := maps.Clone(vars)
	if out == nil {
		out = map[string]jsonvalue.Value{}
	}
	for name, value := range v.Members() {
		out[name] = value
	}
	return out, nil
}

// RedriveEdited continues a closed execution with a changed definition, after a check that says what differs and what is in
// the way. The state machine is not changed.
func (s *Service) RedriveEdited(ctx context.Context, in *own.RedriveExecutionInput) (*own.RedriveExecutionOutput, error) {
	d, err := s.execution(ctx, in.ExecutionArn)
	if err != nil {
		return nil, err
	}
	if err := s.checkDefinition(in.Definition, standard); err != nil {
		return nil, err
	}
	edit, err := s.cfg.Engine.CheckEdit(ctx, d.ARN, []byte(in.Definition))
	if err != nil {
		return nil, err
	}
	out := &own.RedriveExecutionOutput{Differences: []own.Difference{}, Obstacles: []string{}}
	for _, x := range edit.Differences {
		out.Differences = append(out.Differences, own.Difference(x))
	}
	if awsapi.Val(in.DryRun) {
		if reason, err := s.notRedrivable(ctx, d); err != nil {
			return nil, err
		} else if reason == machineGone {
			out.Obstacles = append(out.Obstacles, reason)
		}
		out.Obstacles = append(out.Obstacles, edit.Obstacles...)
		return out, nil
	}
	at, err := s.redrive(ctx, d.ARN, in.ClientToken, []byte(in.Definition))
	if err != nil {
		return nil, err
	}
	out.RedriveDate = &at
	return out, nil
}
