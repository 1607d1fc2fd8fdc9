package cloudformation

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/cfnapi"
	"github.com/mayfly-run/mayfly/services/cloudformation/stack"
	"github.com/mayfly-run/mayfly/services/cloudformation/template"
	"github.com/mayfly-run/mayfly/store"
)

func reviewed(reply any, err error) (stack.Reviewed, error) {
	return durable.Reply[stack.Reviewed](reply, err)
}

const eventsPerPage = 100

// DescribeStackEvents lists a stack's events, the newest first.
func (s *Service) DescribeStackEvents(ctx context.Context, in *api.DescribeStackEventsInput) (*api.DescribeStackEventsOutput, error) {
	id, err := s.find(ctx, in.StackName)
	if err != nil {
		return nil, err
	}
	if id == "" {
		return nil, noStack(in.StackName)
	}
	after, err := base64.RawURLEncoding.DecodeString(awsapi.Val(in.NextToken))
	if err != nil {
		return nil, invalid("NextToken is not valid.")
	}
	k := s.key(ctx, "event", "")
	found, err := s.cfg.Store.List(ctx, store.Query{Account: k.Account, Region: k.Region, Service: k.Service, Kind: k.Kind, Prefix: id + "/",
		Descending: true, After: string(after), Limit: eventsPerPage + 1})
	if err != nil {
		return nil, err
	}
	name := stackName(id)
	out := &api.DescribeStackEventsOutput{StackEvents: []api.StackEvent{}}
	for i, f := range found {
		if i == eventsPerPage {
			out.NextToken = awsapi.Ptr(base64.RawURLEncoding.EncodeToString([]byte(found[i-1].Cursor)))
			break
		}
		var e stack.Event
		if err := json.Unmarshal(f.Value, &e); err != nil {
			return nil, fmt.Errorf("event %s: %w", f.Key.ID, err)
		}
		out.StackEvents = append(out.StackEvents, api.StackEvent{StackId: id, EventId: e.ID, StackName: name, LogicalResourceId: &e.Logical, PhysicalResourceId: &e.Physical,
			ResourceType: &e.Type, Timestamp: e.Time, ResourceStatus: &e.Status, ResourceStatusReason: opt(e.Reason), ResourceProperties: opt(string(e.Props)), ClientRequestToken: opt(e.Token)})
	}
	return out, nil
}

// stackName is the name in a stack's id.
func stackName(id string) string {
	parts := strings.SplitN(id, "/", 3)
	if len(parts) < 3 {
		return id
	}
	return parts[1]
}

// shown are the resources of a stack as AWS lists them, by logical id.
func shown(st *stack.State) []*stack.Resource {
	rs := st.Current()
	slices.SortFunc(rs, func(a, b *stack.Resource) int {
		if a.Logical < b.Logical {
			return -1
		}
		return 1
	})
	return rs
}

// DescribeStackResource shows one resource.
func (s *Service) DescribeStackResource(ctx context.Context, in *api.DescribeStackResourceInput) (*api.DescribeStackResourceOutput, error) {
	var out *api.DescribeStackResourceOutput
	err := s.view(ctx, in.StackName, func(n string) error { return invalid("Stack '%s' does not exist", n) }, func(st *stack.State) error {
		r := st.Resources[in.LogicalResourceId]
		if r == nil {
			return invalid("Resource %s does not exist for stack %s", in.LogicalResourceId, st.Name)
		}
		metadata := ""
		if t, err := template.Parse([]byte(st.Def.Template)); err == nil {
			if declared, ok := t.Resource(r.Logical); ok && declared.Metadata != nil {
				b, _ := json.Marshal(declared.Metadata)
				metadata = string(b)
			}
		}
		out = &api.DescribeStackResourceOutput{StackResourceDetail: &api.StackResourceDetail{StackName: &st.Name, StackId: &st.ID, LogicalResourceId: r.Logical,
			PhysicalResourceId: opt(r.Physical), ResourceType: r.Type, LastUpdatedTimestamp: r.Changed, ResourceStatus: r.Status, ResourceStatusReason: opt(r.Reason),
			Metadata: opt(metadata), DriftInformation: &api.StackResourceDriftInformation{StackResourceDriftStatus: "NOT_CHECKED"}}}
		return nil
	})
	return out, err
}

// DescribeStackResources shows a stack's resources; the stack may be found by a physical id.
func (s *Service) DescribeStackResources(ctx context.Context, in *api.DescribeStackResourcesInput) (*api.DescribeStackResourcesOutput, error) {
	name, physical := awsapi.Val(in.StackName), awsapi.Val(in.PhysicalResourceId)
	if name == "" && physical == "" {
		return nil, invalid("Either StackName or PhysicalResourceId must be specified.")
	}
	if name == "" {
		records, err := s.records(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			err := s.view(ctx, *r.Stack.StackId, noStackWithID, func(st *stack.State) error {
				for _, res := range st.Resources {
					if res.Physical == physical && st.Status != stack.DeleteComplete {
						name = st.ID
					}
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		if name == "" {
			return nil, invalid("Stack for %s does not exist", physical)
		}
	}
	out := &api.DescribeStackResourcesOutput{StackResources: []api.StackResource{}}
	err := s.view(ctx, name, noStackWithID, func(st *stack.State) error {
		out.StackResources = out.StackResources[:0]
		for _, r := range shown(st) {
			if l := awsapi.Val(in.LogicalResourceId); l != "" && l != r.Logical {
				continue
			}
			out.StackResources = append(out.StackResources, api.StackResource{StackName: &st.Name, StackId: &st.ID, LogicalResourceId: r.Logical, PhysicalResourceId: opt(r.Physical),
				ResourceType: r.Type, Timestamp: r.Changed, ResourceStatus: r.Status, ResourceStatusReason: opt(r.Reason),
				DriftInformation: &api.StackResourceDriftInformation{StackResourceDriftStatus: "NOT_CHECKED"}})
		}
		return nil
	})
	return out, err
}

// ListStackResources lists a stack's resources.
func (s *Service) ListStackResources(ctx context.Context, in *api.ListStackResourcesInput) (*api.ListStackResourcesOutput, error) {
	out := &api.ListStackResourcesOutput{StackResourceSummaries: []api.StackResourceSummary{}}
	err := s.view(ctx, in.StackName, noStackWithID, func(st *stack.State) error {
		out.StackResourceSummaries = out.StackResourceSummaries[:0]
		for _, r := range shown(st) {
			out.StackResourceSummaries = append(out.StackResourceSummaries, api.StackResourceSummary{LogicalResourceId: r.Logical, PhysicalResourceId: opt(r.Physical),
				ResourceType: r.Type, LastUpdatedTimestamp: r.Changed, ResourceStatus: r.Status, ResourceStatusReason: opt(r.Reason),
				DriftInformation: &api.StackResourceDriftInformationSummary{StackResourceDriftStatus: "NOT_CHECKED"}})
		}
		return nil
	})
	return out, err
}

// GetTemplate answers the template of a stack or change set. Without transforms both stages are the same text.
func (s *Service) GetTemplate(ctx context.Context, in *api.GetTemplateInput) (*api.GetTemplateOutput, error) {
	var body string
	var err error
	switch {
	case in.ChangeSetName != nil:
		err = s.changeSet(ctx, *in.ChangeSetName, in.StackName, func(_ *stack.State, c *stack.ChangeSet) error {
			body = c.Def.Template
			return nil
		})
	case in.StackName != nil:
		err = s.view(ctx, *in.StackName, noStackWithID, func(st *stack.State) error {
			body = st.Def.Template
			return nil
		})
	default:
		err = invalid("StackName is required if ChangeSetName is not specified.")
	}
	if err != nil {
		return nil, err
	}
	return &api.GetTemplateOutput{TemplateBody: &body, StagesAvailable: []string{"Original", "Processed"}}, nil
}

// GetTemplateSummary says what a template wants.
func (s *Service) GetTemplateSummary(ctx context.Context, in *api.GetTemplateSummaryInput) (*api.GetTemplateSummaryOutput, error) {
	body, from := in.TemplateBody, in.TemplateURL
	if in.StackName != nil {
		if body != nil || from != nil {
			return nil, invalid("Only one of StackName, TemplateBody and TemplateURL may be specified.")
		}
		err := s.view(ctx, *in.StackName, noStackWithID, func(st *stack.State) error {
			if st.Status == stack.ReviewInProgress {
				return invalid("GetTemplateSummary cannot be called on REVIEW_IN_PROGRESS stacks.")
			}
			b := st.Def.Template
			body = &b
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	var text string
	var err error
	if in.StackName != nil {
		text = *body
	} else if text, err = s.body(ctx, body, from, false, nil); err != nil {
		return nil, err
	}
	t, err := parse(text)
	if err != nil {
		return nil, err
	}
	caps, why := capabilities(t)
	out := &api.GetTemplateSummaryOutput{Parameters: []api.ParameterDeclaration{}, Description: opt(t.Description), Capabilities: caps, CapabilitiesReason: opt(why)}
	if v, ok := t.Document["AWSTemplateFormatVersion"].(string); ok {
		out.Version = &v
	}
	if t.Metadata != nil {
		b, _ := json.Marshal(t.Metadata)
		out.Metadata = awsapi.Ptr(string(b))
	}
	for _, p := range t.Parameters {
		d := api.ParameterDeclaration{ParameterKey: &p.Name, DefaultValue: p.Default, ParameterType: &p.Type, NoEcho: &p.NoEcho, Description: opt(p.Description)}
		if p.AllowedValues != nil {
			d.ParameterConstraints = &api.ParameterConstraints{AllowedValues: p.AllowedValues}
		}
		out.Parameters = append(out.Parameters, d)
	}
	for _, r := range t.Resources {
		if !slices.Contains(out.ResourceTypes, r.Type) {
			out.ResourceTypes = append(out.ResourceTypes, r.Type)
		}
	}
	return out, nil
}

// ValidateTemplate checks a template.
func (s *Service) ValidateTemplate(ctx context.Context, in *api.ValidateTemplateInput) (*api.ValidateTemplateOutput, error) {
	text, err := s.body(ctx, in.TemplateBody, in.TemplateURL, false, nil)
	if err != nil {
		return nil, err
	}
	t, err := parse(text)
	if err != nil {
		return nil, err
	}
	caps, why := capabilities(t)
	out := &api.ValidateTemplateOutput{Parameters: []api.TemplateParameter{}, Description: opt(t.Description), Capabilities: caps, CapabilitiesReason: opt(why)}
	for _, p := range t.Parameters {
		out.Parameters = append(out.Parameters, api.TemplateParameter{ParameterKey: &p.Name, DefaultValue: p.Default, NoEcho: &p.NoEcho, Description: opt(p.Description)})
	}
	return out, nil
}
