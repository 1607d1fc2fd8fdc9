package sts

import (
	"context"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/stsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
)

// ring notes for whom it makes keys; roles answers IAM's GetRole.
type ring struct {
	principal identity.Principal
	until     time.Time
}

func (r *ring) IssueUntil(_ context.Context, p identity.Principal, until time.Time) (identity.Credentials, error) {
	r.principal, r.until = p, until
	return identity.Credentials{AccessKeyID: "ASIAMAYFLYX", SecretAccessKey: "secret", SessionToken: "token"}, nil
}

type roles map[string]string

func (r roles) Invoke(_ context.Context, c awscall.Call) (map[string]any, error) {
	id, ok := r[c.Input["RoleName"].(string)]
	if !ok {
		return nil, awsapi.Errorf(404, "NoSuchEntity", "no role")
	}
	return map[string]any{"Role": map[string]any{"RoleId": id}}, nil
}

func TestAssumeRole(t *testing.T) {
	keys := &ring{}
	s := New(Config{Keys: keys, Calls: roles{"deploy": "AROA1"}, Clock: clock.System{}})
	ctx := identity.With(t.Context(), identity.Principal{Kind: identity.User, Account: "000000000000", Region: "eu-west-1", ARN: "arn:aws:iam::000000000000:root", Execution: "arn:x"})
	out, err := s.AssumeRole(ctx, &stsapi.AssumeRoleInput{RoleArn: "arn:aws:iam::000000000000:role/a/deploy", RoleSessionName: "me", DurationSeconds: awsapi.Ptr(int64(900))})
	if err != nil {
		t.Fatal(err)
	}
	const want = "arn:aws:sts::000000000000:assumed-role/deploy/me"
	if out.AssumedRoleUser.Arn != want || out.AssumedRoleUser.AssumedRoleId != "AROA1:me" || out.Credentials.AccessKeyId != "ASIAMAYFLYX" || !out.Credentials.Expiration.Equal(keys.until) {
		t.Errorf("%+v %+v", out.AssumedRoleUser, out.Credentials)
	}
	if keys.principal.ARN != want || keys.principal.Execution != "arn:x" {
		t.Errorf("the key is issued to %+v: who acts through a role acts on the same behalf", keys.principal)
	}
	who, err := s.GetCallerIdentity(identity.With(t.Context(), keys.principal), &stsapi.GetCallerIdentityInput{})
	if err != nil || *who.Arn != want || *who.UserId != "AROAMAYFLY:me" {
		t.Errorf("%+v %v", who, err)
	}
	if _, err := s.AssumeRole(ctx, &stsapi.AssumeRoleInput{RoleArn: "arn:aws:iam::000000000000:role/nope", RoleSessionName: "me"}); awscall.Code(err) != "AccessDenied" {
		t.Errorf("a role that is not there: %v", err)
	}
	if _, err := s.AssumeRole(ctx, &stsapi.AssumeRoleInput{RoleArn: "arn:aws:iam::000000000000:user/nope", RoleSessionName: "me"}); awscall.Code(err) != "ValidationError" {
		t.Errorf("no role: %v", err)
	}
}
