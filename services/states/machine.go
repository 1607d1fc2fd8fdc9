package states

import (
	"cmp"
	"context"
	"encoding/json"
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
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/store"
)

const (
	standard  = "STANDARD"
	express   = "EXPRESS"
	deletions = "deletions" // index: machines whose deletion has begun
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
	Encryption *encryption               `json:"encryption,omitempty"` // nil: AWS's key
	Tags       []tag                     `json:"tags,omitempty"`
	Deleting   bool                      `json:"deleting,omitempty"` // until its executions have ended

	First       *string `json:"first,omitempty"`       // the description of the version that CreateStateMachine published
	LastVersion int64   `json:"lastVersion,omitempty"` // the number given last
	Published   int64   `json:"published,omitempty"`   // the version of this revision; 0: none
	Versions    int     `json:"versions,omitempty"`    // how many there are
}

// encryption is kept and told, as AWS does; nothing is encrypted by it.
type encryption struct {
	Key    string `json:"key"`
	Period int64  `json:"period"` // seconds that a data key is used
}

// settings are what a request says of a machine besides definition and role.
type settings struct {
	logging    *api.LoggingConfiguration
	tracing    bool
	encryption *encryption
}

func (s *Service) settings(ctx context.Context, l *api.LoggingConfiguration, t *api.TracingConfiguration, e *api.EncryptionConfiguration, publish *bool, description *string) (x settings, err error) {
	if description != nil && !awsapi.Val(publish) {
		return x, awsapi.Errorf(400, "ValidationException", "Version description can only be set when publish is true")
	}
	if x.encryption, err = encryptionOf(e); err != nil {
		return x, err
	}
	x.tracing = t != nil && awsapi.Val(t.Enabled)
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

// encryptionOf checks a configuration; nil is AWS's own key.
func encryptionOf(e *api.EncryptionConfiguration) (*encryption, error) {
	wrong := func(what string) (*encryption, error) {
		return nil, awsapi.Errorf(400, "InvalidEncryptionConfiguration", "Invalid Encryption Configuration: %s", what)
	}
	switch {
	case e == nil:
		return nil, nil
	case e.Type == "AWS_OWNED_KEY":
		if e.KmsKeyId != nil || e.KmsDataKeyReusePeriodSeconds != nil {
			return wrong("kmsKeyId and kmsDataKeyReusePeriodSeconds can only be set with the type CUSTOMER_MANAGED_KMS_KEY.")
		}
		return nil, nil
	case awsapi.Val(e.KmsKeyId) == "":
		return wrong("kmsKeyId is required with the type CUSTOMER_MANAGED_KMS_KEY.")
	}
	x := &encryption{Key: *e.KmsKeyId, Period: 300} // AWS: the default (API model)
	if e.KmsDataKeyReusePeriodSeconds != nil {
		x.Period = *e.KmsDataKeyReusePeriodSeconds
	}
	return x, nil
}

func (e *encryption) describe() *api.EncryptionConfiguration {
	if e == nil {
		return ownedKey
	}
	return &api.EncryptionConfiguration{Type: "CUSTOMER_MANAGED_KMS_KEY", KmsKeyId: &e.Key, KmsDataKeyReusePeriodSeconds: &e.Period}
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

// definitionFits refuses a definition that is too large, in the words of the gateway, which knows AWS's limit only.
func (s *Service) definitionFits(definition string) error {
	if most := s.limits().Definition; most > 0 && len(definition) > most {
		return invalid("1 validation error detected: Value at 'definition' failed to satisfy constraint: Member must have length less than or equal to %d", most)
	}
	return nil
}

// checkDefinition refuses a definition with all that is wrong with it.
func (s *Service) checkDefinition(definition, kind string) error {
	_, err := s.definition(definition, s.options(kind))
	return err
}

// definition reads a definition, or refuses it with all that is wrong with it.
func (s *Service) definition(text string, o asl.ParseOptions) (*asl.StateMachine, error) {
	if err := s.definitionFits(text); err != nil {
		return nil, err
	}
	m, diagnostics := asl.Parse([]byte(text), o)
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
		return nil, awsapi.Errorf(400, "InvalidDefinition", "Invalid State Machine Definition: '%s'", strings.Join(wrong[:min(len(wrong), 20)], ", "))
	}
	return m, nil
}

// CreateStateMachine makes a state machine. AWS: a repeated call with the same name, definition, type, logging, tracing,
// encryption and version is answered as the first was; another role or other tags are ignored then.
func (s *Service) CreateStateMachine(ctx context.Context, in *api.CreateStateMachineInput) (*api.CreateStateMachineOutput, error) {
	if err := checkName(in.Name); err != nil {
		return nil, err
	}
	if err := checkRole(in.RoleArn); err != nil {
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
	tags, err := s.merge(nil, in.Tags, "")
	if err != nil {
		return nil, err
	}
	p, now := who(ctx), s.cfg.Clock.Now()
	m := machine{ARN: arn(p, "stateMachine:"+in.Name), Name: in.Name, Definition: in.Definition, RoleARN: in.RoleArn, Type: kind,
		Created: now, Updated: now, Logging: x.logging, Tracing: x.tracing, Encryption: x.encryption, Tags: tags}
	r, err := parse(m.ARN, machineKind)
	if err != nil {
		return nil, err
	}
	var rows []store.RowChange
	var versionARN *string
	if awsapi.Val(in.Publish) {
		m.First = awsapi.Ptr(awsapi.Val(in.VersionDescription))
		v, more, err := m.publish(r, s.limits().Versions, in.VersionDescription, now)
		if err != nil {
			return nil, err
		}
		rows, versionARN = more, &v
	}
	var out *api.CreateStateMachineOutput
	err = again(func() error {
		old, at, err := load[machine](ctx, s, r.key())
		if err != nil {
			return err
		}
		out = &api.CreateStateMachineOutput{StateMachineArn: m.ARN, CreationDate: m.Created, StateMachineVersionArn: versionARN}
		if at != 0 {
			switch {
			case old.Deleting:
				return deleting(m.ARN)
			case !sameMachine(&old, &m):
				return awsapi.Errorf(400, "StateMachineAlreadyExists", "State Machine Already Exists: '%s'", m.ARN)
			}
			out.CreationDate = old.Created
			return nil
		}
		if most := s.limits().Machines; most > 0 && s.census.count(machineKind, r) >= most {
			return awsapi.Errorf(400, "StateMachineLimitExceeded", "The maximum number of state machines has been reached. Existing state machines must be deleted before a new state machine can be created.")
		}
		if err := s.save(ctx, r.key(), m, m.Created, 0, out, append(rows, logRow(m.ARN, &m, r))...); err != nil {
			return err
		}
		s.setLogging(m.ARN, &m, r)
		if versionARN != nil {
			s.setLogging(*versionARN, &m, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// sameMachine reports whether a repeated creation asks for what there is.
func sameMachine(old, m *machine) bool {
	return old.Definition == m.Definition && old.Type == m.Type && old.Tracing == m.Tracing && reflect.DeepEqual(old.logging(), m.logging()) &&
		reflect.DeepEqual(old.Encryption, m.Encryption) && reflect.DeepEqual(old.First, m.First)
}

// deleting is the error of operations on a machine whose deletion has begun.
func deleting(arn string) error {
	return awsapi.Errorf(400, "StateMachineDeleting", "State Machine Deleting: '%s'", arn)
}

// missingMachine reports whether a state machine is not there.
func missingMachine(err error) bool { return awscall.Code(err) == "StateMachineDoesNotExist" }

// machineOf reads the state machine that an ARN without version or alias names.
func (s *Service) machineOf(ctx context.Context, text string) (machine, resource, int64, error) {
	r, err := parse(text, machineKind)
	if err == nil {
		err = r.unlabelled()
	}
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
	if in.RoleArn != nil {
		if err := checkRole(*in.RoleArn); err != nil {
			return nil, err
		}
	}
	var out *api.UpdateStateMachineOutput
	err = again(func() error {
		m, r, at, err := s.machineOf(ctx, in.StateMachineArn)
		if err != nil {
			return err
		}
		if m.Deleting {
			return deleting(m.ARN)
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
		if in.EncryptionConfiguration != nil {
			m.Encryption = x.encryption
		}
		// AWS: an update that changes nothing keeps the revision. Recorded in sfn_api.json (test_create_update_state_machine_same_parameters).
		if !reflect.DeepEqual(before, m) {
			m.Revision, m.Published = uuid(ctx, "revision"), 0
		}
		m.Updated = s.cfg.Clock.Now()
		out = &api.UpdateStateMachineOutput{UpdateDate: m.Updated, RevisionId: optional(m.Revision)}
		rows := []store.RowChange{logRow(m.ARN, &m, r)}
		if awsapi.Val(in.Publish) {
			v, more, err := m.publish(r, s.limits().Versions, in.VersionDescription, m.Updated)
			if err != nil {
				return err
			}
			rows, out.StateMachineVersionArn = append(rows, more...), &v
		}
		if err := s.save(ctx, r.key(), m, m.Created, at, out, rows...); err != nil {
			return err
		}
		s.setLogging(m.ARN, &m, r)
		if out.StateMachineVersionArn != nil && len(rows) > 1 {
			s.setLogging(*out.StateMachineVersionArn, &m, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DescribeStateMachine tells all of a state machine, or of one of its versions; of an alias, what its first route leads to.
func (s *Service) DescribeStateMachine(ctx context.Context, in *api.DescribeStateMachineInput) (*api.DescribeStateMachineOutput, error) {
	of, label, err := labelled(in.StateMachineArn)
	if err != nil {
		return nil, err
	}
	m, err := s.find(ctx, of, "")
	if err != nil {
		return nil, err
	}
	out := &api.DescribeStateMachineOutput{StateMachineArn: m.ARN, Name: m.Name, Status: awsapi.Ptr("ACTIVE"), Definition: m.Definition, RoleArn: m.RoleARN,
		Type: m.Type, CreationDate: m.Created, LoggingConfiguration: m.logging(), TracingConfiguration: m.tracing(), RevisionId: optional(m.Revision),
		EncryptionConfiguration: m.Encryption.describe(), VariableReferences: variables(m.Definition)}
	if m.Deleting {
		out.Status = awsapi.Ptr("DELETING")
	}
	if v := m.version; v != nil {
		out.StateMachineArn, out.CreationDate, out.Description = v.arn(), v.Created, optional(v.Description)
	}
	if label != "" { // AWS: the definition of a labelled ARN is that of the Map's children
		definition, err := jsonvalue.Parse([]byte(m.Definition))
		if err != nil {
			return nil, fmt.Errorf("read the definition of %s: %w", m.ARN, err)
		}
		p, ok := processor(definition, label)
		if !ok {
			return nil, awsapi.Errorf(400, "StateMachineDoesNotExist", "State Machine Does Not Exist: '%s'", in.StateMachineArn)
		}
		out.StateMachineArn, out.Label, out.Definition, out.VariableReferences = in.StateMachineArn, &label, p.String(), variables(p.String())
		return out, nil // AWS: METADATA_ONLY does not apply
	}
	if awsapi.Val(in.IncludedData) == "METADATA_ONLY" {
		out.Definition, out.VariableReferences = "{}", nil
	}
	return out, nil
}

// labelled takes the label of a distributed Map off a state machine's ARN; "" when it has none.
func labelled(text string) (of, label string, err error) {
	r, err := parse(text, machineKind)
	if err != nil || len(r.names) > 1 {
		return text, "", err
	}
	if _, label, ok := r.label(); ok {
		return strings.TrimSuffix(text, "/"+label), label, nil
	}
	return text, "", nil
}

// processor finds the definition of the children of the Map with this label.
func processor(block jsonvalue.Value, label string) (jsonvalue.Value, bool) {
	for _, st := range block.Member("States").Members() {
		var inner []jsonvalue.Value
		for _, field := range []string{"ItemProcessor", "Iterator"} {
			if p, ok := st.Get(field); ok {
				if st.Member("Label").Str() == label {
					return p, true
				}
				inner = append(inner, p)
			}
		}
		for b := range st.Member("Branches").Elements() {
			inner = append(inner, b)
		}
		for _, b := range inner {
			if p, ok := processor(b, label); ok {
				return p, true
			}
		}
	}
	return jsonvalue.Value{}, false
}

// kept are the settings that an execution has as they are at its start: members of a machine.
func (m *machine) kept() string {
	b, err := json.Marshal(struct {
		Updated    time.Time                 `json:"updated"`
		Revision   string                    `json:"revision,omitempty"`
		Logging    *api.LoggingConfiguration `json:"logging,omitempty"`
		Tracing    bool                      `json:"tracing,omitempty"`
		Encryption *encryption               `json:"encryption,omitempty"`
	}{m.Updated, m.Revision, m.Logging, m.Tracing, m.Encryption})
	if err != nil {
		panic(fmt.Sprintf("settings of %s: %v", m.ARN, err)) // texts and times always encode
	}
	return string(b)
}

// DescribeStateMachineForExecution tells of the machine as it was when an execution began.
func (s *Service) DescribeStateMachineForExecution(ctx context.Context, in *api.DescribeStateMachineForExecutionInput) (*api.DescribeStateMachineForExecutionOutput, error) {
	d, err := s.execution(ctx, in.ExecutionArn)
	if err != nil {
		return nil, err
	}
	definition, err := s.cfg.Engine.Definition(ctx, d.Digest)
	if err != nil {
		return nil, fmt.Errorf("read the definition of %s: %w", d.ARN, err)
	}
	m := machine{Definition: string(definition)}
	kept := d.Settings
	var label *string
	if d.MapRun != "" { // AWS: the definition of a child is its processor
		if m.Definition, err = s.cfg.Engine.ProcessorDefinition(ctx, d.MapRun); err != nil {
			return nil, fmt.Errorf("read the definition of %s: %w", d.ARN, err)
		}
		_, l, _ := strings.Cut(d.MachineARN, "/")
		label = &l
		parent, err := s.cfg.Engine.Describe(ctx, d.Parent)
		if err != nil {
			return nil, fmt.Errorf("read the parent of %s: %w", d.ARN, err)
		}
		kept = parent.Settings
	}
	if err := json.Unmarshal([]byte(cmp.Or(kept, "{}")), &m); err != nil {
		return nil, fmt.Errorf("read the settings of %s: %w", d.ARN, err)
	}
	out := &api.DescribeStateMachineForExecutionOutput{StateMachineArn: d.MachineARN, Name: d.MachineName, Definition: m.Definition, RoleArn: d.RoleARN,
		UpdateDate: m.Updated, RevisionId: optional(m.Revision), EncryptionConfiguration: m.Encryption.describe(), LoggingConfiguration: m.logging(),
		TracingConfiguration: m.tracing(), VariableReferences: variables(string(definition)), MapRunArn: optional(d.MapRun), Label: label}
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

// DeleteStateMachine deletes a state machine with its versions and aliases, if it is there. AWS: it is DELETING until its
// running executions, which are ended, are. Their histories stay.
func (s *Service) DeleteStateMachine(ctx context.Context, in *api.DeleteStateMachineInput) (*api.DeleteStateMachineOutput, error) {
	out := &api.DeleteStateMachineOutput{}
	r, err := parse(in.StateMachineArn, machineKind)
	if err == nil {
		err = r.unlabelled()
	}
	if err != nil {
		return nil, err
	}
	if len(r.names) > 1 {
		return nil, invalid("A version is deleted with DeleteStateMachineVersion, an alias with DeleteStateMachineAlias: %s", in.StateMachineArn)
	}
	var m machine
	err = again(func() error {
		var at int64
		if m, at, err = load[machine](ctx, s, r.key()); err != nil || at == 0 || m.Deleting {
			return err
		}
		m.Deleting = true
		value, err := json.Marshal(m)
		if err != nil {
			return fmt.Errorf("write %s: %w", m.ARN, err)
		}
		return s.commit(ctx, store.Batch{Rows: []store.RowChange{{Key: r.key(), Value: value, IfVersion: at, Index: []store.IndexEntry{{Name: deletions}}}}}, out)
	})
	if err != nil || m.ARN == "" {
		return out, err
	}
	return out, s.endDeletion(context.WithoutCancel(ctx), &m) // who asked may leave meanwhile
}

// endDeletion ends what a deleted machine runs and removes what is left of it. It may be repeated.
func (s *Service) endDeletion(ctx context.Context, m *machine) error {
	for m.Type == standard {
		running, err := s.cfg.Engine.ListExecutions(ctx, m.ARN, execution.Running, "", 100)
		if err != nil {
			return fmt.Errorf("list executions of %s: %w", m.ARN, err)
		}
		if len(running) == 0 {
			break
		}
		for _, x := range running {
			if _, err := s.cfg.Engine.StopExecution(ctx, x.ARN, "", "The state machine was deleted."); err != nil && !errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("stop %s: %w", x.ARN, err)
			}
		}
	}
	r, err := parse(m.ARN, machineKind)
	if err != nil {
		return err
	}
	gone := []store.RowChange{{Key: r.key(), Delete: true}, {Key: loggedKey(m.ARN), Delete: true}}
	for _, kind := range []string{versionKind, aliasKind} {
		found, err := s.cfg.Store.List(ctx, store.Query{Account: r.account, Region: r.region, Service: service, Kind: kind, Prefix: m.Name + ":"})
		if err != nil {
			return fmt.Errorf("list what belongs to %s: %w", m.ARN, err)
		}
		for _, f := range found {
			gone = append(gone, store.RowChange{Key: f.Key, Delete: true}, store.RowChange{Key: loggedKey(arnOf(f.Key)), Delete: true})
		}
	}
	if err := s.write(ctx, store.Batch{Rows: gone}); err != nil {
		return fmt.Errorf("delete %s: %w", m.ARN, err)
	}
	for _, c := range gone {
		if c.Key.Kind == loggedMachine {
			s.setLogging(c.Key.ID, &machine{}, r)
		}
	}
	return nil
}

// Resume goes on with deletions that the server's end interrupted. Call it when executions have been recovered.
func (s *Service) Resume(ctx context.Context) error {
	found, err := s.cfg.Store.List(ctx, store.Query{Service: service, Kind: machineKind, Index: deletions})
	if err != nil {
		return fmt.Errorf("list state machines that are being deleted: %w", err)
	}
	for _, f := range found {
		var m machine
		if err := json.Unmarshal(f.Value, &m); err != nil {
			return fmt.Errorf("read %s: %w", f.Key.ID, err)
		}
		if err := s.endDeletion(ctx, &m); err != nil {
			return err
		}
	}
	return nil
}

// ValidateStateMachineDefinition tells what is wrong with a definition.
func (s *Service) ValidateStateMachineDefinition(ctx context.Context, in *api.ValidateStateMachineDefinitionInput) (*api.ValidateStateMachineDefinitionOutput, error) {
	if err := s.definitionFits(in.Definition); err != nil {
		return nil, err
	}
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
		out.Diagnostics = append(out.Diagnostics, api.ValidateStateMachineDefinitionDiagnostic{Severity: string(d.Severity), Code: d.Code, Message: d.Message, Location: optional(d.Pointer)})
	}
	return out, nil
}
