package sts

import (
	"context"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/stsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
)

// Keys makes credentials that end at a time; the gateway's key ring does.
type Keys interface {
	IssueUntil(ctx context.Context, p identity.Principal, until time.Time) (identity.Credentials, error)
}

// Config is what the service needs.
type Config struct {
	Keys  Keys
	Calls awscall.Caller // asks IAM whether a role exists
	Clock clock.Clock
}

// Service serves STS.
type Service struct{ Config }

// New makes the service.
func New(cfg Config) *Service { return &Service{cfg} }

// API lists the operations.
func (s *Service) API() *awscall.Service {
	a := awscall.NewService("sts")
	awscall.Handle(a, "GetCallerIdentity", s.GetCallerIdentity)
	awscall.Handle(a, "AssumeRole", s.AssumeRole)
	awscall.Handle(a, "GetSessionToken", s.GetSessionToken)
	return a
}

// GetCallerIdentity says who calls.
func (s *Service) GetCallerIdentity(ctx context.Context, _ *stsapi.GetCallerIdentityInput) (*stsapi.GetCallerIdentityOutput, error) {
	p := identity.From(ctx)
	id := "AIDAMAYFLY"
	if strings.HasSuffix(p.ARN, ":root") {
		id = p.Account
	} else if i := strings.LastIndexByte(p.ARN, '/'); strings.Contains(p.ARN, ":assumed-role/") && i >= 0 {
		id = "AROAMAYFLY:" + p.ARN[i+1:]
	}
	return &stsapi.GetCallerIdentityOutput{Account: &p.Account, Arn: &p.ARN, UserId: &id}, nil
}

func (s *Service) issue(ctx context.Context, p identity.Principal, seconds *int64, normal int64) (*stsapi.Credentials, error) {
	life := normal
	if seconds != nil {
		life = *seconds
	}
	until := s.Clock.Now().Add(time.Duration(life) * time.Second).Truncate(time.Second)
	c, err := s.Keys.IssueUntil(ctx, p, until)
	if err != nil {
		return nil, err
	}
	return &stsapi.Credentials{AccessKeyId: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Expiration: until}, nil
}

// AssumeRole gives out credentials of a role that exists. Who may assume it is not evaluated yet.
func (s *Service) AssumeRole(ctx context.Context, in *stsapi.AssumeRoleInput) (*stsapi.AssumeRoleOutput, error) {
	p := identity.From(ctx)
	parts := strings.SplitN(in.RoleArn, ":", 6)
	if len(parts) != 6 || parts[2] != "iam" || !strings.HasPrefix(parts[5], "role/") {
		return nil, awsapi.Errorf(400, "ValidationError", "%s is invalid", in.RoleArn)
	}
	name := parts[5][strings.LastIndexByte(parts[5], '/')+1:]
	denied := awsapi.Errorf(403, "AccessDenied", "User: %s is not authorized to perform: sts:AssumeRole on resource: %s", p.ARN, in.RoleArn)
	owner := p
	owner.Account = parts[4]
	got, err := s.Calls.Invoke(ctx, awscall.Call{Principal: owner, Service: "iam", Operation: "GetRole", Input: map[string]any{"RoleName": name}})
	if awscall.Code(err) == "NoSuchEntity" {
		return nil, denied // AWS: a role that is not there is told as one that is denied
	}
	if err != nil {
		return nil, err
	}
	role, _ := got["Role"].(map[string]any)
	id, _ := role["RoleId"].(string)
	p.Account = parts[4]
	p.ARN = "arn:aws:sts::" + p.Account + ":assumed-role/" + name + "/" + in.RoleSessionName
	c, err := s.issue(ctx, p, in.DurationSeconds, 3600)
	if err != nil {
		return nil, err
	}
	return &stsapi.AssumeRoleOutput{Credentials: c, AssumedRoleUser: &stsapi.AssumedRoleUser{Arn: p.ARN, AssumedRoleId: id + ":" + in.RoleSessionName}, SourceIdentity: in.SourceIdentity}, nil
}

// GetSessionToken gives out temporary credentials of the caller.
func (s *Service) GetSessionToken(ctx context.Context, in *stsapi.GetSessionTokenInput) (*stsapi.GetSessionTokenOutput, error) {
	c, err := s.issue(ctx, identity.From(ctx), in.DurationSeconds, 43200)
	return &stsapi.GetSessionTokenOutput{Credentials: c}, err
}
