package states

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/store"
)

const (
	standard = "STANDARD"
	express  = "EXPRESS"
)

// machine is a state machine's row.
type machine struct {
	ARN        string                    `json:"arn"`
	Name       string                    `json:"name"`
	Definition string                    `json:"definition"`
	RoleARN    string                    `json:"roleArn"`
	Type       string                    `json:"type"`
	Created    time.Time                 `json:"created"`
	Updated    time.Time                 `json:"updated"`
	Revision   string                    `json:"revision,omitempty"` // "" until the first update
	Logging    *api.LoggingConfiguration `json:"logging,omitempty"`
	Tracing    bool                      `json:"tracing,omitempty"`
	Tags       []tag                     `json:"tags,omitempty"`
}

// settings are what a request says of a machine besides definition and role.
type settings struct {
	logging *api.LoggingConfiguration
	tracing bool
}

func (s *Service) settings(ctx context.Context, l *api.LoggingConfiguration, t *api.TracingConfiguration, e *api.EncryptionConfiguration, publish *bool, description *string) (settings, error) {
	if e != nil && e.Type != "AWS_OWNED_KEY" {
		return settings{}, awsapi.Errorf(400, "InvalidEncryptionConfiguration", "Invalid Encryption Configuration: Mayfly does not have customer managed keys.")
	}
	if awsapi.Val(publish) {
		return settings{}, awsapi.Errorf(400, "ValidationException", "Mayfly does not publish versions of state machines yet.")
	}
	if description != nil {
		return settings{}, awsapi.Errorf(400, "ValidationException", "Version description can only be set when publish is true")
	}
	x := settings{tracing: t != nil && awsapi.Val(t.Enabled)}
	if l == nil {
		return x, nil
	}
	x.logging = &api.LoggingConfiguration{Level: awsapi.Ptr("OFF"), IncludeExecutionData: awsapi.Ptr(awsapi.Val(l.IncludeExecutionData)), Destinations: l.Destinations}
	if l.Level != nil {
		x.logging.Level = l.Level
	}
	if *x.logging.Level != "OFF" && len(l.Destinations) != 1 {
		return x, awsapi.Errorf(400, "InvalidLoggingConfiguration", "Invalid Logging Configuration: Must specify exactly one Log Destination.")
	}
	for _, d := range l.Destinations {
		if err := s.checkDestination(ctx, d); err != nil {
			return x, err
		}
	}
	return x, nil
}

func (s *Service) checkDestination(ctx context.Context, d api.LogDestination) error {
	missing := awsapi.Errorf(400, "InvalidLoggingConfiguration", "Invalid Logging Configuration: Log Destination not found.")
	if d.CloudWatchLogsLogGroup == nil {
		return missing
	}
	name, ok := strings.CutSuffix(awsapi.Val(d.CloudWatchLogsLogGroup.LogGroupArn), ":*")
	_, name, ok2 := strings.Cut(name, ":log-group:")
	if !ok || !ok2 {
		return missing
	}
	if s.cfg.Calls == nil {
		return nil
	}
	out, err := s.cfg.Calls.Invoke(ctx, awscall.Call{Principal: who(ctx), Service: "logs", Operation: "DescribeLogGroups", Input: map[string]any{"logGroupNamePrefix": name}})
	if err != nil {
		return fmt.Errorf("look for log group %s: %w", name, err)
	}
	groups, _ := out["logGroups"].([]any)
	for _, g := range groups {
		if g, ok := g.(map[string]any); ok && g["logGroupName"] == name {
			return nil
		}
	}
	return missing
}

// logging is the configuration as it is described.
func (m *machine) logging() *api.LoggingConfiguration {
	if m.Logging == nil {
		return &api.LoggingConfiguration{Level: awsapi.Ptr("OFF"), IncludeExecutionData: awsapi.Ptr(false)}
	}
	if m.Logging.Destinations == nil { // AWS: recorded in sfn_api_logs.json (test_incomplete_logging_configuration)
		m.Logging.Destinations = []api.LogDestination{}
	}
	return m.Logging
}

func (m *machine) tracing() *api.TracingConfiguration {
	return &api.TracingConfiguration{Enabled: awsapi.Ptr(m.Tracing)}
}

// variables are the references that AWS shows, nil when there are none.
func variables(definition string) map[string][]string {
	parsed, _ := asl.Parse([]byte(definition), asl.ParseOptions{})
	if parsed == nil {
		return nil
	}
	if v := parsed.VariableReferences(); len(v) > 0 {
		return v
	}
	return nil
}

func (s *Service) options(kind string) asl.ParseOptions {
	return asl.ParseOptions{Express: kind == express, Resource: s.cfg.Resource, Lacks: s.cfg.Lacks}
}

// checkDefinition refuses a definition with all that is wrong with it.
func (s *Service) checkDefinition(definition, kind string) error {
	_, diagnostics := asl.Parse([]byte(definition), s.options(kind))
	var wrong []string
	for _, d := range diagnostics {
		switch {
		case d.Severity == asl.SeverityError:
			wrong = append(wrong, d.String())
		case d.Code == asl.CodeUnsupported:
			s.cfg.Log.Warn("state machine uses what mayfly lacks", "state", d.Pointer, "err", d.Message)
		}
	}
	if wrong != nil {
		return awsapi.Errorf(400, "InvalidDefinition", "Invalid State Machine Definition: '%s'", strings.Join(wrong[:min(len(wrong), 20)], ", "))
	}
	return nil
}

// CreateStateMachine makes a state machine. AWS: a repeated call with the same name, definition, type, logging and
// tracing is answered as the first was; another role or other tags are ignored then.
func (s *Service) CreateStateMachine(ctx context.Context, in *api.CreateStateMachineInput) (*api.CreateStateMachineOutput, error) {
	if err := checkName(in.Name); err != nil {
		return nil, err
	}
	kind := standard
	if in.Type != nil {
		kind = *in.Type
	}
	x, err := s.settings(ctx, in.LoggingConfiguration, in.TracingConfiguration, in.EncryptionConfiguration, in.Publish, in.VersionDescription)
	if err != nil {
		return nil, err
	}
	if err := s.checkDefinition(in.Definition, kind); err != nil {
		return nil, err
	}
	tags, err := merge(nil, in.Tags, "")
	if err != nil {
		return nil, err
	}
	p, now := who(ctx), s.cfg.Clock.Now()
	m := machine{ARN: arn(p, "stateMachine:"+in.Name), Name: in.Name, Definition: in.Definition, RoleARN: in.RoleArn, Type: kind,
		Created: now, Updated: now, Logging: x.logging, Tracing: x.tracing, Tags: tags}
	r, err := parse(m.ARN, machineKind)
	if err != nil {
		return nil, err
	}
	var out *api.CreateStateMachineOutput
	err = again(func() error {
		old, version, err := load[machine](ctx, s, r.key())
		if err != nil {
			return err
		}
		out = &api.CreateStateMachineOutput{StateMachineArn: m.ARN, CreationDate: m.Created}
		if version != 0 {
			if old.Definition != m.Definition || old.Type != m.Type || old.Tracing != m.Tracing || !reflect.DeepEqual(old.logging(), m.logging()) {
				return awsapi.Errorf(400, "StateMachineAlreadyExists", "State Machine Already Exists: '%s'", m.ARN)
			}
			out.CreationDate = old.Created
			return nil
		}
		if err := s.save(ctx, r.key(), m, m.Created, 0, out, logRow(&m, r)); err != nil {
			return err
		}
		s.setLogging(&m, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// machineOf reads the state machine that an ARN names. Versions and aliases do not exist here.
func (s *Service) machineOf(ctx context.Context, text string) (machine, resource, int64, error) {
	r, err := parse(text, machineKind)
	if err != nil {
		return machine{}, r, 0, err
	}
	var m machine
	var version int64
	if len(r.names) == 1 {
		if m, version, err = load[machine](ctx, s, r.key()); err != nil {
			return m, r, 0, err
		}
	}
	if version == 0 {
		return m, r, 0, awsapi.Errorf(400, "StateMachineDoesNotExist", "State Machine Does Not Exist: '%s'", text)
	}
	return m, r, version, nil
}

// UpdateStateMachine changes what is given. Running executions keep the definition that they began with.
func (s *Service) UpdateStateMachine(ctx context.Context, in *api.UpdateStateMachineInput) (*api.UpdateStateMachineOutput, error) {
	if in.Definition == nil && in.RoleArn == nil && in.LoggingConfiguration == nil && in.TracingConfiguration == nil && in.EncryptionConfiguration == nil {
		return nil, awsapi.Errorf(400, "MissingRequiredParameter", "Either the definition, the role ARN, the LoggingConfiguration, or the TracingConfiguration must be specified")
	}
	x, err := s.settings(ctx, in.LoggingConfiguration, in.TracingConfiguration, in.EncryptionConfiguration, in.Publish, in.VersionDescription)
	if err != nil {
		return nil, err
	}
	var out *api.UpdateStateMachineOutput
	err = again(func() error {
		m, r, version, err := s.machineOf(ctx, in.StateMachineArn)
		if err != nil {
			return err
		}
		before := m
		if in.Definition != nil {
			if err := s.checkDefinition(*in.Definition, m.Type); err != nil {
				return err
			}
			m.Definition = *in.Definition
		}
		if in.RoleArn != nil {
			m.RoleARN = *in.RoleArn
		}
		if in.LoggingConfiguration != nil {
			m.Logging = x.logging
		}
		if in.TracingConfiguration != nil {
			m.Tracing = x.tracing
		}
		// AWS: an update that changes nothing keeps the revision. Recorded in sfn_api.json (test_create_update_state_machine_same_parameters).
		if m.Revision == "" || !reflect.DeepEqual(before, m) {
			m.Revision = uuid(ctx, "revision")
		}
		m.Updated = s.cfg.Clock.Now()
		out = &api.UpdateStateMachineOutput{UpdateDate: m.Updated, RevisionId: &m.Revision}
		if err := s.save(ctx, r.key(), m, m.Created, version, out, logRow(&m, r)); err != nil {
			return err
		}
		s.setLogging(&m, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DescribeStateMachine tells all of a state machine.
func (s *Service) DescribeStateMachine(ctx context.Context, in *api.DescribeStateMachineInput) (*api.DescribeStateMachineOutput, error) {
	m, _, _, err := s.machineOf(ctx, in.StateMachineArn)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeStateMachineOutput{StateMachineArn: m.ARN, Name: m.Name, Status: awsapi.Ptr("ACTIVE"), Definition: m.Definition, RoleArn: m.RoleARN,
		Type: m.Type, CreationDate: m.Created, LoggingConfiguration: m.logging(), TracingConfiguration: m.tracing(), RevisionId: optional(m.Revision), EncryptionConfiguration: ownedKey,
		VariableReferences: variables(m.Definition)}
	if awsapi.Val(in.IncludedData) == "METADATA_ONLY" {
		out.Definition, out.VariableReferences = "{}", nil
	}
	return out, nil
}

// DescribeStateMachineForExecution tells of the definition that an execution runs, which may be older than the machine's.
func (s *Service) DescribeStateMachineForExecution(ctx context.Context, in *api.DescribeStateMachineForExecutionInput) (*api.DescribeStateMachineForExecutionOutput, error) {
	d, err := s.execution(ctx, in.ExecutionArn)
	if err != nil {
		return nil, err
	}
	definition, err := s.cfg.Engine.Definition(ctx, d.Digest)
	if err != nil {
		return nil, fmt.Errorf("read the definition of %s: %w", d.ARN, err)
	}
	out := &api.DescribeStateMachineForExecutionOutput{StateMachineArn: d.MachineARN, Name: d.MachineName, Definition: string(definition), RoleArn: d.RoleARN,
		UpdateDate: d.Started, EncryptionConfiguration: ownedKey, LoggingConfiguration: (&machine{}).logging(), TracingConfiguration: (&machine{}).tracing(), VariableReferences: variables(string(definition))}
	if m, _, _, err := s.machineOf(ctx, d.MachineARN); err == nil { // it may be gone
		out.UpdateDate, out.LoggingConfiguration, out.TracingConfiguration = m.Updated, m.logging(), m.tracing()
		if m.Definition == out.Definition {
			out.RevisionId = optional(m.Revision)
		}
	}
	if awsapi.Val(in.IncludedData) == "METADATA_ONLY" {
		out.Definition, out.VariableReferences = "{}", nil
	}
	return out, nil
}

// ListStateMachines lists them, newest first.
func (s *Service) ListStateMachines(ctx context.Context, in *api.ListStateMachinesInput) (*api.ListStateMachinesOutput, error) {
	found, next, err := list[machine](ctx, s, machineKind, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.ListStateMachinesOutput{StateMachines: []api.StateMachineListItem{}, NextToken: next}
	for _, m := range found {
		out.StateMachines = append(out.StateMachines, api.StateMachineListItem{StateMachineArn: m.ARN, Name: m.Name, Type: m.Type, CreationDate: m.Created})
	}
	return out, nil
}

// DeleteStateMachine deletes a state machine, if it is there. AWS: its running executions are ended. Their histories stay.
func (s *Service) DeleteStateMachine(ctx context.Context, in *api.DeleteStateMachineInput) (*api.DeleteStateMachineOutput, error) {
	out := &api.DeleteStateMachineOutput{}
	r, err := parse(in.StateMachineArn, machineKind)
	if err != nil {
		return nil, err
	}
	if len(r.names) > 1 {
		return nil, awsapi.Errorf(400, "ValidationException", "Mayfly does not have versions and aliases of state machines yet.")
	}
	m, version, err := load[machine](ctx, s, r.key())
	if err != nil || version == 0 {
		return out, err
	}
	if err := s.commit(ctx, store.Batch{Rows: []store.RowChange{{Key: r.key(), Delete: true}, {Key: store.Key{Service: service, Kind: loggedMachine, ID: m.ARN}, Delete: true}}}, out); err != nil {
		return nil, err
	}
	if m.Type == standard {
		for {
			running, err := s.cfg.Engine.ListExecutions(ctx, m.ARN, execution.Running, "", 100)
			if err != nil {
				return nil, fmt.Errorf("list executions of %s: %w", m.ARN, err)
			}
			for _, x := range running {
				if _, err := s.cfg.Engine.StopExecution(ctx, x.ARN, "", "The state machine was deleted."); err != nil && !errors.Is(err, store.ErrNotFound) {
					return nil, fmt.Errorf("stop %s: %w", x.ARN, err)
				}
			}
			if len(running) == 0 {
				break
			}
		}
	}
	return out, nil
}

// ValidateStateMachineDefinition tells what is wrong with a definition.
func (s *Service) ValidateStateMachineDefinition(ctx context.Context, in *api.ValidateStateMachineDefinitionInput) (*api.ValidateStateMachineDefinitionOutput, error) {
	_, found := asl.Parse([]byte(in.Definition), s.options(awsapi.Val(in.Type)))
	out := &api.ValidateStateMachineDefinitionOutput{Result: "OK", Diagnostics: []api.ValidateStateMachineDefinitionDiagnostic{}, Truncated: awsapi.Ptr(false)}
	if slices.ContainsFunc(found, func(d asl.Diagnostic) bool { return d.Severity == asl.SeverityError }) {
		out.Result = "FAIL"
	}
	limit := 100
	if n := awsapi.Val(in.MaxResults); n > 0 {
		limit = int(min(n, 100))
	}
	for _, d := range found {
		if d.Severity == asl.SeverityWarning && awsapi.Val(in.Severity) != string(asl.SeverityWarning) {
			continue
		}
		if len(out.Diagnostics) == limit {
			*out.Truncated = true
			break
		}
		out.Diagnostics = append(out.Diagnostics, api.ValidateStateMachineDefinitionDiagnostic{Severity: string(d.Severity), Code: d.Code, Message: d.Message, Location: awsapi.Ptr(d.Pointer)})
	}
	return out, nil
}
