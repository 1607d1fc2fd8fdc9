package states

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/store"
)

const aliasKind = "stateMachineAlias"

// alias leads executions to one or two versions of a state machine.
type alias struct {
	ARN         string                             `json:"arn"`
	Name        string                             `json:"name"`
	Description string                             `json:"description,omitempty"`
	Routing     []api.RoutingConfigurationListItem `json:"routing"`
	Created     time.Time                          `json:"created"`
	Updated     time.Time                          `json:"updated"`
}

func unknownResource(arn string) error {
	e := awsapi.Errorf(400, "ResourceNotFound", "Request references a resource that does not exist.")
	e.Fields = map[string]any{"resourceName": arn}
	return e
}

// routing checks where an alias leads to and returns the state machine. AWS: texts and their order are recorded in
// sfn_api_aliasing.json (test_error_create_alias_invalid_router_configs).
func (s *Service) routing(ctx context.Context, routing []api.RoutingConfigurationListItem) (m resource, err error) {
	var arns, weights []string
	var sum int64
	allVersions, distinct := true, true
	for i, to := range routing {
		r, err := parse(to.StateMachineVersionArn, machineKind)
		if err != nil {
			return m, err
		}
		allVersions = allVersions && len(r.names) == 2 && versionNumber(r.names[1]) > 0
		distinct = distinct && (i == 0 || to.StateMachineVersionArn != routing[0].StateMachineVersionArn)
		arns, weights = append(arns, to.StateMachineVersionArn), append(weights, fmt.Sprint(to.Weight))
		sum += to.Weight
	}
	wrong := func(text string, received []string) error {
		return awsapi.Errorf(400, "ValidationException", "%s. Received: [%s]", text, strings.Join(received, ", "))
	}
	switch {
	case !allVersions:
		return m, wrong("Routing configuration must contain state machine version ARNs", arns)
	case !distinct:
		return m, wrong("Routing configuration must contain distinct state machine version ARNs", arns)
	case sum != 100:
		return m, wrong("Sum of routing configuration weights must equal 100", weights)
	}
	for i, to := range routing {
		r, err := parse(to.StateMachineVersionArn, machineKind)
		if err != nil {
			return m, err
		}
		if i > 0 && r.machineARN() != m.machineARN() {
			return m, wrong("Routing configuration must contain versions of the same state machine", arns)
		}
		m = r
		switch _, err := s.find(ctx, to.StateMachineVersionArn, ""); {
		case missingMachine(err):
			return m, unknownResource(to.StateMachineVersionArn)
		case err != nil:
			return m, err
		}
	}
	return m, nil
}

// changeAlias writes an alias with the state machine's row, so that no version goes while an alias comes to lead to it.
func (s *Service) changeAlias(ctx context.Context, r resource, m machine, at int64, a *alias, answer any) error {
	c := store.RowChange{Key: r.key(), Delete: a.Routing == nil}
	c.Key.Kind, c.Key.ID = aliasKind, m.Name+":"+a.Name
	if !c.Delete {
		value, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("write alias %s: %w", a.ARN, err)
		}
		// AWS: aliases are listed by name, whatever the model says of their age. Recorded in sfn_api_aliasing.json.
		c.Value, c.Index = value, []store.IndexEntry{{Name: ofMachine, Sort: m.ARN + " " + a.Name}}
		for _, to := range a.Routing {
			c.Index = append(c.Index, store.IndexEntry{Name: ofMachine, Sort: to.StateMachineVersionArn + " " + a.Name})
		}
	}
	return s.save(ctx, r.key(), m, m.Created, at, answer, c)
}

// aliasesOf names the aliases that lead to a version, or all of a state machine.
func (s *Service) aliasesOf(ctx context.Context, r resource, arn string) (names []string, err error) {
	found, err := s.cfg.Store.List(ctx, store.Query{Account: r.account, Region: r.region, Service: service, Kind: aliasKind, Index: ofMachine, SortPrefix: arn + " "})
	if err != nil {
		return nil, fmt.Errorf("list aliases of %s: %w", arn, err)
	}
	for _, f := range found {
		_, name, _ := strings.Cut(f.Key.ID, ":")
		names = append(names, name)
	}
	return names, nil
}

// CreateStateMachineAlias makes an alias, or answers as the call that made it did.
func (s *Service) CreateStateMachineAlias(ctx context.Context, in *api.CreateStateMachineAliasInput) (*api.CreateStateMachineAliasOutput, error) {
	to, err := s.routing(ctx, in.RoutingConfiguration)
	if err != nil {
		return nil, err
	}
	now, most := s.cfg.Clock.Now(), s.limits().Aliases
	a := &alias{ARN: to.machineARN() + ":" + in.Name, Name: in.Name, Description: awsapi.Val(in.Description), Routing: in.RoutingConfiguration, Created: now, Updated: now}
	var out *api.CreateStateMachineAliasOutput
	err = again(func() error {
		m, r, at, err := s.machineOf(ctx, to.machineARN())
		if err != nil {
			return err
		}
		key := r.key()
		key.Kind, key.ID = aliasKind, m.Name+":"+a.Name
		old, exists, err := load[alias](ctx, s, key)
		if err != nil {
			return err
		}
		names, err := s.aliasesOf(ctx, r, m.ARN)
		if err != nil {
			return err
		}
		out = &api.CreateStateMachineAliasOutput{StateMachineAliasArn: a.ARN, CreationDate: a.Created}
		switch {
		case m.Deleting:
			return deleting(m.ARN)
		case exists != 0 && old.Description == a.Description && reflect.DeepEqual(old.Routing, a.Routing):
			out.CreationDate = old.Created
			return nil
		case exists != 0:
			return awsapi.Errorf(409, "ConflictException", "Failed to create alias because an alias with the same name and a different routing configuration already exists.")
		case most > 0 && len(names) >= most:
			return awsapi.Errorf(402, "ServiceQuotaExceededException", "The state machine has %d aliases, the most that it can have: delete some with DeleteStateMachineAlias.", len(names))
		}
		return s.changeAlias(ctx, r, m, at, a, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// aliasOf reads the alias that an ARN names, with its state machine.
func (s *Service) aliasOf(ctx context.Context, text string) (a alias, m machine, r resource, at int64, err error) {
	if r, err = parse(text, machineKind); err != nil {
		return
	}
	if len(r.names) != 2 || versionNumber(r.names[1]) > 0 {
		err = invalidARN("Invalid ARN: %s", text)
		return
	}
	a, found, err := load[alias](ctx, s, r.qualified(aliasKind))
	if err != nil {
		return
	}
	if found == 0 {
		err = unknownResource(text)
		return
	}
	m, r, at, err = s.machineOf(ctx, r.machineARN())
	if missingMachine(err) || err == nil && m.Deleting {
		err = unknownResource(text)
	}
	return
}

// UpdateStateMachineAlias changes what is given.
func (s *Service) UpdateStateMachineAlias(ctx context.Context, in *api.UpdateStateMachineAliasInput) (*api.UpdateStateMachineAliasOutput, error) {
	if in.Description == nil && in.RoutingConfiguration == nil {
		return nil, invalid("Either the description or the routing configuration must be specified")
	}
	var out *api.UpdateStateMachineAliasOutput
	err := again(func() error {
		a, m, r, at, err := s.aliasOf(ctx, in.StateMachineAliasArn)
		if err != nil {
			return err
		}
		if in.RoutingConfiguration != nil {
			to, err := s.routing(ctx, in.RoutingConfiguration)
			if err != nil {
				return err
			}
			if to.machineARN() != m.ARN {
				return invalid("Routing configuration must contain versions of the alias's state machine %s", m.ARN)
			}
			a.Routing = in.RoutingConfiguration
		}
		if in.Description != nil {
			a.Description = *in.Description
		}
		a.Updated = s.cfg.Clock.Now()
		out = &api.UpdateStateMachineAliasOutput{UpdateDate: a.Updated}
		return s.changeAlias(ctx, r, m, at, &a, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DescribeStateMachineAlias tells of an alias.
func (s *Service) DescribeStateMachineAlias(ctx context.Context, in *api.DescribeStateMachineAliasInput) (*api.DescribeStateMachineAliasOutput, error) {
	a, _, _, _, err := s.aliasOf(ctx, in.StateMachineAliasArn)
	if err != nil {
		return nil, err
	}
	return &api.DescribeStateMachineAliasOutput{StateMachineAliasArn: &a.ARN, Name: &a.Name, Description: optional(a.Description), RoutingConfiguration: a.Routing,
		CreationDate: &a.Created, UpdateDate: &a.Updated}, nil
}

// ListStateMachineAliases lists the aliases of a state machine, or those that lead to a version.
func (s *Service) ListStateMachineAliases(ctx context.Context, in *api.ListStateMachineAliasesInput) (*api.ListStateMachineAliasesOutput, error) {
	if _, err := s.find(ctx, in.StateMachineArn, ""); err != nil {
		return nil, err
	}
	r, err := parse(in.StateMachineArn, machineKind)
	if err != nil {
		return nil, err
	}
	q := store.Query{Account: r.account, Region: r.region, Kind: aliasKind, Index: ofMachine, SortPrefix: in.StateMachineArn + " "}
	found, next, err := page[alias](ctx, s, q, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.ListStateMachineAliasesOutput{StateMachineAliases: []api.StateMachineAliasListItem{}, NextToken: next}
	for _, a := range found {
		out.StateMachineAliases = append(out.StateMachineAliases, api.StateMachineAliasListItem{StateMachineAliasArn: a.ARN, CreationDate: a.Created})
	}
	return out, nil
}

// DeleteStateMachineAlias deletes an alias. Its versions stay.
func (s *Service) DeleteStateMachineAlias(ctx context.Context, in *api.DeleteStateMachineAliasInput) (*api.DeleteStateMachineAliasOutput, error) {
	out := &api.DeleteStateMachineAliasOutput{}
	err := again(func() error {
		a, m, r, at, err := s.aliasOf(ctx, in.StateMachineAliasArn)
		if err != nil {
			return err
		}
		a.Routing = nil
		return s.changeAlias(ctx, r, m, at, &a, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
