package lambda

import (
	"context"
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/lambdaapi"
	"github.com/mayfly-run/mayfly/internal/identity"
)

// statement is one of a function's policy. It decides on the services that invoke, which have no role of their own; what
// callers with a role or a key may do is not checked yet, as for all of Mayfly.
type statement struct {
	Sid       string                       `json:"Sid"`
	Effect    string                       `json:"Effect"`
	Principal any                          `json:"Principal"`
	Action    string                       `json:"Action"`
	Resource  string                       `json:"Resource"`
	Condition map[string]map[string]string `json:"Condition,omitempty"`
}

var accountID = regexp.MustCompile(`^\d{12}$`)

// AddPermission adds a statement to the function's policy.
func (s *Service) AddPermission(ctx context.Context, in *lambdaapi.AddPermissionInput) (*lambdaapi.AddPermissionOutput, error) {
	return change(ctx, s, in.FunctionName, in.Qualifier, func(f *function) (*lambdaapi.AddPermissionOutput, error) {
		if err := checkPolicyRevision(f, in.RevisionId); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(f.Policy, func(st statement) bool { return st.Sid == in.StatementId }) {
			return nil, awsapi.Errorf(409, "ResourceConflictException", "The statement id (%s) provided already exists. Please provide a new statement id, or remove the existing statement.", in.StatementId)
		}
		st := statement{Sid: in.StatementId, Effect: "Allow", Action: in.Action, Resource: f.arn()}
		switch {
		case in.Principal == "*":
			st.Principal = "*"
		case accountID.MatchString(in.Principal):
			st.Principal = map[string]string{"AWS": "arn:aws:iam::" + in.Principal + ":root"}
		case strings.HasPrefix(in.Principal, "arn:"):
			st.Principal = map[string]string{"AWS": in.Principal}
		case strings.HasSuffix(in.Principal, ".amazonaws.com"):
			st.Principal = map[string]string{"Service": in.Principal}
		default:
			return nil, invalid("The provided principal was invalid. Please check the principal and try again.")
		}
		condition := func(operator, key string, value *string) {
			if value == nil {
				return
			}
			if st.Condition == nil {
				st.Condition = map[string]map[string]string{}
			}
			if st.Condition[operator] == nil {
				st.Condition[operator] = map[string]string{}
			}
			st.Condition[operator][key] = *value
		}
		condition("ArnLike", "AWS:SourceArn", in.SourceArn)
		condition("StringEquals", "AWS:SourceAccount", in.SourceAccount)
		condition("StringEquals", "lambda:EventSourceToken", in.EventSourceToken)
		condition("StringEquals", "aws:PrincipalOrgID", in.PrincipalOrgID)
		condition("StringEquals", "lambda:FunctionUrlAuthType", in.FunctionUrlAuthType)
		text, err := json.Marshal(st)
		if err != nil {
			return nil, err
		}
		f.Policy = append(f.Policy, st)
		f.PolicyRev = uuid.NewString()
		return &lambdaapi.AddPermissionOutput{Statement: awsapi.Ptr(string(text))}, nil
	})
}

// RemovePermission removes a statement.
func (s *Service) RemovePermission(ctx context.Context, in *lambdaapi.RemovePermissionInput) (*lambdaapi.RemovePermissionOutput, error) {
	return change(ctx, s, in.FunctionName, in.Qualifier, func(f *function) (*lambdaapi.RemovePermissionOutput, error) {
		if err := checkPolicyRevision(f, in.RevisionId); err != nil {
			return nil, err
		}
		i := slices.IndexFunc(f.Policy, func(st statement) bool { return st.Sid == in.StatementId })
		if i < 0 {
			return nil, awsapi.Errorf(404, "ResourceNotFoundException", "Statement %s is not found in resource policy.", in.StatementId)
		}
		f.Policy = slices.Delete(f.Policy, i, i+1)
		f.PolicyRev = uuid.NewString()
		return &lambdaapi.RemovePermissionOutput{}, nil
	})
}

// GetPolicy shows the function's policy.
func (s *Service) GetPolicy(ctx context.Context, in *lambdaapi.GetPolicyInput) (*lambdaapi.GetPolicyOutput, error) {
	f, err := s.find(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	if len(f.Policy) == 0 {
		return nil, awsapi.Errorf(404, "ResourceNotFoundException", "The resource you requested does not exist.")
	}
	text, err := json.Marshal(struct {
		Version   string
		Id        string
		Statement []statement
	}{"2012-10-17", "default", f.Policy})
	if err != nil {
		return nil, err
	}
	return &lambdaapi.GetPolicyOutput{Policy: awsapi.Ptr(string(text)), RevisionId: &f.PolicyRev}, nil
}

// permits refuses a service that the function's policy does not let invoke it. AWS: a service needs a statement, in the
// same account too.
func (f *function) permits(p identity.Principal) error {
	if p.Service == "" || slices.ContainsFunc(f.Policy, func(st statement) bool { return st.allows(p) }) {
		return nil
	}
	return awsapi.Errorf(403, "AccessDeniedException",
		"User: %s is not authorized to perform: lambda:InvokeFunction on resource: %s because no resource-based policy allows the lambda:InvokeFunction action", p.Service, f.arn())
}

func (st *statement) allows(p identity.Principal) bool {
	if who, ok := st.Principal.(map[string]any); st.Principal != "*" && (!ok || who["Service"] != p.Service) {
		return false
	}
	if st.Action != "lambda:InvokeFunction" && st.Action != "lambda:*" {
		return false
	}
	for operator, keys := range st.Condition {
		for key, want := range keys {
			switch operator + " " + key {
			case "ArnLike AWS:SourceArn":
				if ok, err := path.Match(want, p.Source); !ok || err != nil { // a topic's ARN has no slash
					return false
				}
			case "StringEquals AWS:SourceAccount":
				if want != p.Account {
					return false
				}
			default: // what these services do not say
				return false
			}
		}
	}
	return true
}

func checkPolicyRevision(f *function, want *string) error {
	if want != nil && *want != f.PolicyRev {
		return awsapi.Errorf(412, "PreconditionFailedException", "The RevisionId provided does not match the latest RevisionId. Call the GetPolicy API to retrieve the latest RevisionId")
	}
	return nil
}
