package cloudformation

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/cfnapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/services/cloudformation/stack"
)

// CreateStack begins to make a stack.
func (s *Service) CreateStack(ctx context.Context, in *api.CreateStackInput) (*api.CreateStackOutput, error) {
	if err := checkName("stackName", in.StackName); err != nil {
		return nil, err
	}
	onFailure := awsapi.Val(in.OnFailure)
	if in.DisableRollback != nil && in.OnFailure != nil {
		return nil, invalid("You can specify either DisableRollback or OnFailure, but not both.")
	}
	switch {
	case awsapi.Val(in.DisableRollback):
		onFailure = "DO_NOTHING"
	case onFailure == "":
		onFailure = "ROLLBACK"
	}
	s.naming.Lock()
	defer s.naming.Unlock()
	p := who(ctx)
	id := fmt.Sprintf("arn:aws:cloudformation:%s:%s:stack/%s/%s", p.Region, p.Account, in.StackName, newID(ctx, in.StackName))
	token := awsapi.Val(in.ClientRequestToken)
	alive, err := s.find(ctx, in.StackName)
	if err != nil {
		return nil, err
	}
	if alive == id {
		return &api.CreateStackOutput{StackId: &id}, nil
	}
	req := request{stackName: in.StackName, stackID: id, body: in.TemplateBody, url: in.TemplateURL, parameters: in.Parameters, capabilities: in.Capabilities, tags: in.Tags,
		notificationARNs: in.NotificationARNs, roleARN: in.RoleARN, rollback: in.RollbackConfiguration, policies: []*string{in.StackPolicyBody, in.StackPolicyURL},
		resourceTypes: in.ResourceTypes}
	if alive != "" {
		return s.createdBefore(ctx, in.StackName, alive, token, req)
	}
	def, err := s.define(ctx, req, nil)
	if err != nil {
		return nil, err
	}
	if _, err := s.give(ctx, id, stack.Input{Create: &stack.Create{ID: id, Name: in.StackName, Account: p.Account, Region: p.Region, Def: def, Token: token,
		OnFailure: onFailure, Timeout: int(awsapi.Val(in.TimeoutInMinutes)), Protected: awsapi.Val(in.EnableTerminationProtection)}}); err != nil {
		return nil, err
	}
	return &api.CreateStackOutput{StackId: &id}, nil
}

var namePattern = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]*$`)

// checkName refuses the name of a new stack or change set that AWS refuses; the models do not say it.
func checkName(member, name string) error {
	switch {
	case len(name) > 128:
		return invalid("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must have length less than or equal to 128", name, member)
	case !namePattern.MatchString(name):
		return invalid("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*", name, member)
	}
	return nil
}

// createdBefore answers a CreateStack whose name is taken: with the same token and the same stack, that stack.
func (s *Service) createdBefore(ctx context.Context, name, id, token string, req request) (*api.CreateStackOutput, error) {
	out := &api.CreateStackOutput{StackId: &id}
	taken := awsapi.Errorf(400, "AlreadyExistsException", "Stack [%s] already exists", name)
	var made stack.Definition
	err := s.view(ctx, id, noStack, func(st *stack.State) error {
		if made = st.Def; token == "" || st.CreateToken != token {
			return taken
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	req.stackID = id
	def, err := s.define(ctx, req, nil)
	if err != nil {
		return nil, err
	}
	if def.Template != made.Template || !slices.Equal(def.Parameters, made.Parameters) {
		return nil, awsapi.Errorf(400, "TokenAlreadyExistsException", "A client request token already exists for a different request: %s", token)
	}
	return out, nil
}

// previous is the id and definition of the stack that an update is for.
func (s *Service) previous(ctx context.Context, name string) (id, stackName string, def *stack.Definition, err error) {
	err = s.view(ctx, name, noStack, func(st *stack.State) error {
		d := st.Def
		id, stackName, def = st.ID, st.Name, &d
		if st.Status == stack.DeleteComplete {
			return noStack(name)
		}
		return nil
	})
	return id, stackName, def, err
}

// UpdateStack begins to change a stack.
func (s *Service) UpdateStack(ctx context.Context, in *api.UpdateStackInput) (*api.UpdateStackOutput, error) {
	id, name, before, err := s.previous(ctx, in.StackName)
	if err != nil {
		return nil, err
	}
	req := request{stackName: name, stackID: id, body: in.TemplateBody, url: in.TemplateURL, usePrevious: awsapi.Val(in.UsePreviousTemplate), parameters: in.Parameters,
		capabilities: in.Capabilities, tags: in.Tags, notificationARNs: in.NotificationARNs, roleARN: in.RoleARN, rollback: in.RollbackConfiguration,
		policies: []*string{in.StackPolicyBody, in.StackPolicyURL, in.StackPolicyDuringUpdateBody, in.StackPolicyDuringUpdateURL}, resourceTypes: in.ResourceTypes}
	if in.Tags == nil { // AWS: what is not given stays.
		req.tags = tags(before.Tags)
	}
	if in.NotificationARNs == nil {
		req.notificationARNs = before.NotificationARNs
	}
	def, err := s.define(ctx, req, before)
	if err != nil {
		return nil, err
	}
	if _, err := s.give(ctx, id, stack.Input{Update: &stack.Update{Def: def, Token: awsapi.Val(in.ClientRequestToken), DisableRollback: awsapi.Val(in.DisableRollback)}}); err != nil {
		return nil, err
	}
	return &api.UpdateStackOutput{StackId: &id}, nil
}

// CancelUpdateStack rolls a running update back.
func (s *Service) CancelUpdateStack(ctx context.Context, in *api.CancelUpdateStackInput) (*api.CancelUpdateStackOutput, error) {
	id, _, _, err := s.previous(ctx, in.StackName)
	if err != nil {
		return nil, err
	}
	_, err = s.give(ctx, id, stack.Input{CancelUpdate: true})
	return &api.CancelUpdateStackOutput{}, err
}

// ContinueUpdateRollback goes on with a roll-back that failed.
func (s *Service) ContinueUpdateRollback(ctx context.Context, in *api.ContinueUpdateRollbackInput) (*api.ContinueUpdateRollbackOutput, error) {
	id, _, _, err := s.previous(ctx, in.StackName)
	if err != nil {
		return nil, err
	}
	if err := s.assumable(ctx, awsapi.Val(in.RoleARN)); err != nil {
		return nil, err
	}
	skip := slices.DeleteFunc(slices.Clone(in.ResourcesToSkip), func(r string) bool { return r == "" })
	_, err = s.give(ctx, id, stack.Input{Continue: &stack.Continue{Token: awsapi.Val(in.ClientRequestToken), RoleARN: awsapi.Val(in.RoleARN), Skip: skip}})
	return &api.ContinueUpdateRollbackOutput{}, err
}

// DeleteStack begins to delete a stack. AWS: one that is not there is a success.
func (s *Service) DeleteStack(ctx context.Context, in *api.DeleteStackInput) (*api.DeleteStackOutput, error) {
	if m := awsapi.Val(in.DeletionMode); m != "" && m != "STANDARD" {
		return nil, invalid("Mayfly does not support DeletionMode %s.", m)
	}
	id, err := s.find(ctx, in.StackName)
	if err != nil || id == "" {
		return &api.DeleteStackOutput{}, err
	}
	if err := s.unused(ctx, id); err != nil {
		return nil, err
	}
	retain := slices.DeleteFunc(slices.Clone(in.RetainResources), func(r string) bool { return r == "" })
	_, err = s.give(ctx, id, stack.Input{Delete: &stack.Delete{Token: awsapi.Val(in.ClientRequestToken), RoleARN: awsapi.Val(in.RoleARN), Retain: retain}})
	return &api.DeleteStackOutput{}, err
}

// unused refuses to delete a stack whose exports others import.
func (s *Service) unused(ctx context.Context, id string) error {
	records, err := s.records(ctx)
	if err != nil {
		return err
	}
	mine := map[string]bool{}
	for _, r := range records {
		if awsapi.Val(r.Stack.StackId) == id && r.Stack.StackStatus != stack.DeleteComplete {
			for _, o := range r.Stack.Outputs {
				mine[awsapi.Val(o.ExportName)] = o.ExportName != nil
			}
		}
	}
	for _, r := range records {
		if awsapi.Val(r.Stack.StackId) == id || r.Stack.StackStatus == stack.DeleteComplete {
			continue
		}
		for _, name := range r.Imports {
			if mine[name] {
				return invalid("Export %s cannot be deleted as it is in use by %s", name, r.Stack.StackName)
			}
		}
	}
	return nil
}

// almost is how long DescribeStacks waits for a stack that is about to finish: clients would look again only after 30 s.
const almost = time.Second

// DescribeStacks shows one stack, or all that are not deleted.
func (s *Service) DescribeStacks(ctx context.Context, in *api.DescribeStacksInput) (*api.DescribeStacksOutput, error) {
	if name := awsapi.Val(in.StackName); name != "" {
		out, err := s.settled(ctx, name)
		return out, err
	}
	records, err := s.records(ctx)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeStacksOutput{Stacks: []api.Stack{}}
	for _, r := range newestFirst(records) {
		if r.Stack.StackStatus != stack.DeleteComplete {
			out.Stacks = append(out.Stacks, r.Stack)
		}
	}
	return out, nil
}

func newestFirst(records []Record) []Record {
	slices.SortStableFunc(records, func(a, b Record) int { return b.Stack.CreationTime.Compare(a.Stack.CreationTime) })
	return records
}

// settled describes a stack. Where it waits for nothing but calls that end at once, it waits a moment for them.
func (s *Service) settled(ctx context.Context, name string) (*api.DescribeStacksOutput, error) {
	over := make(chan struct{})
	timer := s.cfg.Clock.AfterFunc(almost, func() { close(over) })
	defer timer.Stop()
	for {
		var out api.Stack
		soon := false
		changed := make(chan struct{}, 1)
		id, err := s.find(ctx, name)
		if err != nil {
			return nil, err
		}
		stop := s.cfg.Wake.Watch(id, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
		err = s.view(ctx, name, noStackWithID, func(st *stack.State) error {
			out = describe(st)
			soon = st.Op != nil
			for _, r := range st.Resources {
				soon = soon && (r.Work == nil || !r.Work.Waiting)
			}
			return nil
		})
		if err == nil && soon {
			select {
			case <-changed:
				stop()
				continue
			case <-over:
			case <-ctx.Done():
			}
		}
		stop()
		if err != nil {
			return nil, err
		}
		return &api.DescribeStacksOutput{Stacks: []api.Stack{out}}, nil
	}
}

// ListStacks lists stacks, the deleted ones too.
func (s *Service) ListStacks(ctx context.Context, in *api.ListStacksInput) (*api.ListStacksOutput, error) {
	records, err := s.records(ctx)
	if err != nil {
		return nil, err
	}
	out := &api.ListStacksOutput{StackSummaries: []api.StackSummary{}}
	for _, r := range newestFirst(records) {
		st := r.Stack
		if len(in.StackStatusFilter) > 0 && !slices.Contains(in.StackStatusFilter, st.StackStatus) {
			continue
		}
		out.StackSummaries = append(out.StackSummaries, api.StackSummary{StackId: st.StackId, StackName: st.StackName, TemplateDescription: st.Description,
			CreationTime: st.CreationTime, LastUpdatedTime: st.LastUpdatedTime, DeletionTime: st.DeletionTime, StackStatus: st.StackStatus,
			StackStatusReason: st.StackStatusReason, DriftInformation: &api.StackDriftInformationSummary{StackDriftStatus: "NOT_CHECKED"}})
	}
	return out, nil
}

// UpdateTerminationProtection allows or forbids the deletion of a stack.
func (s *Service) UpdateTerminationProtection(ctx context.Context, in *api.UpdateTerminationProtectionInput) (*api.UpdateTerminationProtectionOutput, error) {
	id, _, _, err := s.previous(ctx, in.StackName)
	if err != nil {
		return nil, err
	}
	_, err = s.give(ctx, id, stack.Input{Protect: &in.EnableTerminationProtection})
	return &api.UpdateTerminationProtectionOutput{StackId: &id}, err
}

// CreateChangeSet makes a change set, for a new stack too.
func (s *Service) CreateChangeSet(ctx context.Context, in *api.CreateChangeSetInput) (*api.CreateChangeSetOutput, error) {
	typ := awsapi.Val(in.ChangeSetType)
	if typ == "" {
		typ = "UPDATE"
	}
	if typ == "IMPORT" || len(in.ResourcesToImport) > 0 || awsapi.Val(in.ImportExistingResources) || awsapi.Val(in.DeploymentMode) != "" {
		return nil, invalid("Mayfly does not support the import of existing resources, or drift-aware change sets.")
	}
	s.naming.Lock()
	defer s.naming.Unlock()
	p := who(ctx)
	name, id := in.StackName, ""
	var before *stack.Definition
	found, err := s.find(ctx, in.StackName)
	switch {
	case err != nil:
		return nil, err
	case found != "":
		err := s.view(ctx, found, noStack, func(st *stack.State) error {
			id, name = st.ID, st.Name
			if st.Status != stack.ReviewInProgress {
				d := st.Def
				before = &d
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	case typ == "UPDATE" || strings.HasPrefix(in.StackName, "arn:"):
		return nil, noStack(in.StackName)
	default:
		if err := checkName("stackName", name); err != nil {
			return nil, err
		}
		id = fmt.Sprintf("arn:aws:cloudformation:%s:%s:stack/%s/%s", p.Region, p.Account, name, newID(ctx, name))
	}
	req := request{stackName: name, stackID: id, body: in.TemplateBody, url: in.TemplateURL, usePrevious: awsapi.Val(in.UsePreviousTemplate), parameters: in.Parameters,
		capabilities: in.Capabilities, tags: in.Tags, notificationARNs: in.NotificationARNs, roleARN: in.RoleARN, rollback: in.RollbackConfiguration, resourceTypes: in.ResourceTypes}
	if before != nil {
		if in.Tags == nil {
			req.tags = tags(before.Tags)
		}
		if in.NotificationARNs == nil {
			req.notificationARNs = before.NotificationARNs
		}
	}
	def, err := s.define(ctx, req, before)
	if err != nil {
		return nil, err
	}
	set := fmt.Sprintf("arn:aws:cloudformation:%s:%s:changeSet/%s/%s", p.Region, p.Account, in.ChangeSetName, newID(ctx, "changeSet/"+in.ChangeSetName))
	reply, err := s.give(ctx, id, stack.Input{Review: &stack.Review{StackID: id, Name: name, Account: p.Account, Region: p.Region, ID: set, ChangeSet: in.ChangeSetName,
		Description: awsapi.Val(in.Description), Type: typ, Token: awsapi.Val(in.ClientToken), OnFailure: awsapi.Val(in.OnStackFailure), Def: def}})
	made, err := reviewed(reply, err)
	if err != nil {
		return nil, err
	}
	return &api.CreateChangeSetOutput{Id: &made.ID, StackId: &made.StackID}, nil
}

// changeSet finds a change set by its name and stack, or by its ARN alone.
func (s *Service) changeSet(ctx context.Context, nameOrID string, stackName *string, f func(*stack.State, *stack.ChangeSet) error) error {
	missing := awsapi.Errorf(404, "ChangeSetNotFound", "ChangeSet [%s] does not exist", nameOrID)
	look := func(st *stack.State) error {
		for _, c := range st.ChangeSets {
			if c.Name == nameOrID || c.ID == nameOrID {
				return f(st, c)
			}
		}
		return missing
	}
	if stackName != nil {
		return s.view(ctx, *stackName, noStack, look)
	}
	if !strings.HasPrefix(nameOrID, "arn:") {
		return invalid("StackName must be specified if ChangeSetName is not specified as an ARN.")
	}
	records, err := s.records(ctx)
	if err != nil {
		return err
	}
	for _, r := range records {
		has := false
		err := s.view(ctx, awsapi.Val(r.Stack.StackId), noStack, func(st *stack.State) error {
			for _, c := range st.ChangeSets {
				if c.ID == nameOrID {
					has = true
					return f(st, c)
				}
			}
			return nil
		})
		if has || err != nil {
			return err
		}
	}
	return missing
}

// DescribeChangeSet shows a change set.
func (s *Service) DescribeChangeSet(ctx context.Context, in *api.DescribeChangeSetInput) (*api.DescribeChangeSetOutput, error) {
	var out *api.DescribeChangeSetOutput
	err := s.changeSet(ctx, in.ChangeSetName, in.StackName, func(st *stack.State, c *stack.ChangeSet) error {
		out = &api.DescribeChangeSetOutput{
			ChangeSetName: &c.Name, ChangeSetId: &c.ID, StackId: &st.ID, StackName: &st.Name, Description: opt(c.Description), Parameters: parameters(c.Def.Parameters),
			CreationTime: &c.Created, ExecutionStatus: &c.Execution, Status: &c.Status, StatusReason: opt(c.Reason), NotificationARNs: c.Def.NotificationARNs,
			RollbackConfiguration: &api.RollbackConfiguration{}, Capabilities: c.Def.Capabilities, Tags: tags(c.Def.Tags), Changes: []api.Change{},
			IncludeNestedStacks: awsapi.Ptr(false), OnStackFailure: opt(c.OnFailure),
		}
		for _, ch := range c.Changes {
			rc := &api.ResourceChange{Action: &ch.Action, LogicalResourceId: &ch.Logical, PhysicalResourceId: opt(ch.Physical), ResourceType: &ch.Type,
				Replacement: opt(ch.Replacement), Scope: ch.Scope}
			for _, p := range ch.Properties {
				recreate := map[string]string{"True": "Always", "Conditional": "Conditionally"}[ch.Replacement]
				if recreate == "" {
					recreate = "Never"
				}
				rc.Details = append(rc.Details, api.ResourceChangeDetail{Target: &api.ResourceTargetDefinition{Attribute: awsapi.Ptr("Properties"), Name: awsapi.Ptr(p), RequiresRecreation: &recreate},
					Evaluation: awsapi.Ptr("Static"), ChangeSource: awsapi.Ptr("DirectModification")})
			}
			out.Changes = append(out.Changes, api.Change{Type: awsapi.Ptr("Resource"), ResourceChange: rc})
		}
		return nil
	})
	return out, err
}

// ExecuteChangeSet carries a change set out.
func (s *Service) ExecuteChangeSet(ctx context.Context, in *api.ExecuteChangeSetInput) (*api.ExecuteChangeSetOutput, error) {
	var id, name string
	err := s.changeSet(ctx, in.ChangeSetName, in.StackName, func(st *stack.State, c *stack.ChangeSet) error {
		id, name = st.ID, c.Name
		return nil
	})
	if err != nil {
		return nil, err
	}
	_, err = s.give(ctx, id, stack.Input{Execute: &stack.Execute{ChangeSet: name, Token: awsapi.Val(in.ClientRequestToken), DisableRollback: awsapi.Val(in.DisableRollback)}})
	return &api.ExecuteChangeSetOutput{}, err
}

// DeleteChangeSet forgets a change set. AWS: one that is not there is a success.
func (s *Service) DeleteChangeSet(ctx context.Context, in *api.DeleteChangeSetInput) (*api.DeleteChangeSetOutput, error) {
	var id, name string
	err := s.changeSet(ctx, in.ChangeSetName, in.StackName, func(st *stack.State, c *stack.ChangeSet) error {
		id, name = st.ID, c.Name
		return nil
	})
	if awscall.Code(err) == "ChangeSetNotFound" {
		return &api.DeleteChangeSetOutput{}, nil
	}
	if err != nil {
		return nil, err
	}
	_, err = s.give(ctx, id, stack.Input{Discard: name})
	return &api.DeleteChangeSetOutput{}, err
}

// ListChangeSets lists a stack's change sets.
func (s *Service) ListChangeSets(ctx context.Context, in *api.ListChangeSetsInput) (*api.ListChangeSetsOutput, error) {
	out := &api.ListChangeSetsOutput{Summaries: []api.ChangeSetSummary{}}
	err := s.view(ctx, in.StackName, noStack, func(st *stack.State) error {
		out.Summaries = out.Summaries[:0]
		for _, c := range st.SortedChangeSets() {
			out.Summaries = append(out.Summaries, api.ChangeSetSummary{StackId: &st.ID, StackName: &st.Name, ChangeSetId: &c.ID, ChangeSetName: &c.Name,
				ExecutionStatus: &c.Execution, Status: &c.Status, StatusReason: opt(c.Reason), CreationTime: &c.Created, Description: opt(c.Description)})
		}
		return nil
	})
	return out, err
}

// ListExports lists the exports of all stacks.
func (s *Service) ListExports(ctx context.Context, _ *api.ListExportsInput) (*api.ListExportsOutput, error) {
	known, err := s.exports(ctx)
	if err != nil {
		return nil, err
	}
	out := &api.ListExportsOutput{Exports: []api.Export{}}
	for name, e := range known {
		out.Exports = append(out.Exports, api.Export{ExportingStackId: e.Stack.StackId, Name: &name, Value: &e.value})
	}
	slices.SortFunc(out.Exports, func(a, b api.Export) int { return strings.Compare(*a.Name, *b.Name) })
	return out, nil
}

// ListImports lists the stacks that import an export.
func (s *Service) ListImports(ctx context.Context, in *api.ListImportsInput) (*api.ListImportsOutput, error) {
	records, err := s.records(ctx)
	if err != nil {
		return nil, err
	}
	out := &api.ListImportsOutput{Imports: []string{}}
	for _, r := range records {
		if r.Stack.StackStatus != stack.DeleteComplete && slices.Contains(r.Imports, in.ExportName) {
			out.Imports = append(out.Imports, r.Stack.StackName)
		}
	}
	if len(out.Imports) == 0 {
		return nil, invalid("Export '%s' is not imported by any stack.", in.ExportName)
	}
	return out, nil
}
