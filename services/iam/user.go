package iam

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/iamapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// Keys makes and forgets users' access keys; the gateway's key ring does.
type Keys interface {
	IssueUser(ctx context.Context, p identity.Principal) (identity.Credentials, error)
	Revoke(ctx context.Context, accessKeyID string) error
}

type user struct {
	entity
	Keys []accessKey `json:"keys,omitempty"`
}

type accessKey struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

// maxKeys a user may have. AWS: a quota that cannot be raised.
const maxKeys = 2

func (s *Service) users(a *awscall.Service) {
	awscall.Handle(a, "CreateUser", s.CreateUser)
	awscall.Handle(a, "GetUser", s.GetUser)
	awscall.Handle(a, "ListUsers", s.ListUsers)
	awscall.Handle(a, "DeleteUser", s.DeleteUser)
	if s.Keys != nil {
		awscall.Handle(a, "CreateAccessKey", s.CreateAccessKey)
		awscall.Handle(a, "ListAccessKeys", s.ListAccessKeys)
		awscall.Handle(a, "DeleteAccessKey", s.DeleteAccessKey)
	}
}

// user is the one of that name, or who calls: AWS: a call without a name is about the caller.
func (s *Service) user(ctx context.Context, name *string) (user, int64, error) {
	asked := awsapi.Val(name)
	if name == nil {
		p := identity.From(ctx)
		i := strings.LastIndexByte(p.ARN, '/')
		if !strings.Contains(p.ARN, ":user/") {
			return user{}, 0, awsapi.Errorf(400, "ValidationError", "Must specify userName when calling with non-User credentials")
		}
		asked = p.ARN[i+1:]
	}
	return get[user](ctx, s, "user", asked, missing("The user with name %s cannot be found.", asked))
}

func shownUser(ctx context.Context, u user) iamapi.User {
	return iamapi.User{Path: u.Path, UserName: u.Name, UserId: u.ID, Arn: arn(ctx, "user", u.entity), CreateDate: u.Created, Tags: shownTags(u.Tags)}
}

// CreateUser makes a user. What it may do is not limited: policies are not evaluated yet.
func (s *Service) CreateUser(ctx context.Context, in *iamapi.CreateUserInput) (*iamapi.CreateUserOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, _, err := s.user(ctx, &in.UserName); err == nil {
		return nil, awsapi.Errorf(409, "EntityAlreadyExists", "User with name %s already exists.", in.UserName)
	} else if awscall.Code(err) != "NoSuchEntity" {
		return nil, err
	}
	u := user{entity: s.fresh("AIDA", in.UserName, awsapi.Val(in.Path), in.Tags)}
	shown := shownUser(ctx, u)
	out := &iamapi.CreateUserOutput{User: &shown}
	return out, s.write(ctx, out, "user", u.Name, u, 0)
}

// GetUser returns a user; without a name the caller, who may be the account's root.
func (s *Service) GetUser(ctx context.Context, in *iamapi.GetUserInput) (*iamapi.GetUserOutput, error) {
	if p := identity.From(ctx); in.UserName == nil && strings.HasSuffix(p.ARN, ":root") {
		root := defaultEntity(ctx, "", "root")
		return &iamapi.GetUserOutput{User: &iamapi.User{Path: "/", UserName: "root", UserId: p.Account, Arn: p.ARN, CreateDate: root.Created}}, nil
	}
	u, _, err := s.user(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	shown := shownUser(ctx, u)
	return &iamapi.GetUserOutput{User: &shown}, nil
}

// ListUsers lists users by name.
func (s *Service) ListUsers(ctx context.Context, in *iamapi.ListUsersInput) (*iamapi.ListUsersOutput, error) {
	all, err := list[user](ctx, s, "user")
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(u user) bool { return !strings.HasPrefix(u.Path, awsapi.Val(in.PathPrefix)) })
	all, truncated, next := page(all, func(u user) string { return u.Name }, in.Marker, in.MaxItems)
	out := &iamapi.ListUsersOutput{Users: []iamapi.User{}, IsTruncated: truncated, Marker: next}
	for _, u := range all {
		out.Users = append(out.Users, shownUser(ctx, u))
	}
	return out, nil
}

// DeleteUser deletes a user who has no access key any more.
func (s *Service) DeleteUser(ctx context.Context, in *iamapi.DeleteUserInput) (*iamapi.DeleteUserOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, _, err := s.user(ctx, &in.UserName)
	if err != nil {
		return nil, err
	}
	if len(u.Keys) > 0 {
		return nil, awsapi.Errorf(409, "DeleteConflict", "Cannot delete entity, must delete access keys first.")
	}
	out := &iamapi.DeleteUserOutput{}
	return out, awscall.Commit(ctx, s.Store, out, store.RowChange{Key: rowKey(ctx, "user", u.Name), Delete: true})
}

// CreateAccessKey makes a key of the user; the secret is given out this once. The gateway checks what the key signs.
func (s *Service) CreateAccessKey(ctx context.Context, in *iamapi.CreateAccessKeyInput) (*iamapi.CreateAccessKeyOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, version, err := s.user(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	if len(u.Keys) >= maxKeys {
		return nil, awsapi.Errorf(409, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: %d", maxKeys)
	}
	// The key is on somebody's behalf as long as its maker is: a pipeline's user is still the pipeline's.
	p := identity.From(ctx)
	c, err := s.Keys.IssueUser(ctx, p.On(p.Kind, p.Entity, arn(ctx, "user", u.entity)))
	if err != nil {
		return nil, err
	}
	k := accessKey{c.AccessKeyID, s.Clock.Now().Truncate(time.Second)}
	u.Keys = append(u.Keys, k)
	out := &iamapi.CreateAccessKeyOutput{AccessKey: &iamapi.AccessKey{UserName: u.Name, AccessKeyId: k.ID, SecretAccessKey: c.SecretAccessKey, Status: "Active", CreateDate: &k.Created}}
	return out, s.write(ctx, out, "user", u.Name, u, version)
}

// ListAccessKeys lists a user's keys, without their secrets.
func (s *Service) ListAccessKeys(ctx context.Context, in *iamapi.ListAccessKeysInput) (*iamapi.ListAccessKeysOutput, error) {
	out := &iamapi.ListAccessKeysOutput{AccessKeyMetadata: []iamapi.AccessKeyMetadata{}, IsTruncated: awsapi.Ptr(false)}
	if in.UserName == nil && strings.HasSuffix(identity.From(ctx).ARN, ":root") {
		return out, nil
	}
	u, _, err := s.user(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	for _, k := range u.Keys {
		out.AccessKeyMetadata = append(out.AccessKeyMetadata, iamapi.AccessKeyMetadata{UserName: &u.Name, AccessKeyId: &k.ID, Status: awsapi.Ptr("Active"), CreateDate: &k.Created})
	}
	return out, nil
}

// DeleteAccessKey takes a key away; nothing that it signs is accepted any more.
func (s *Service) DeleteAccessKey(ctx context.Context, in *iamapi.DeleteAccessKeyInput) (*iamapi.DeleteAccessKeyOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, version, err := s.user(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(u.Keys, func(k accessKey) bool { return k.ID == in.AccessKeyId })
	if i < 0 {
		return nil, missing("The Access Key with id %s cannot be found", in.AccessKeyId)
	}
	if err := s.Keys.Revoke(ctx, in.AccessKeyId); err != nil {
		return nil, err
	}
	u.Keys = slices.Delete(u.Keys, i, i+1)
	out := &iamapi.DeleteAccessKeyOutput{}
	return out, s.write(ctx, out, "user", u.Name, u, version)
}
