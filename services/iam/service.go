package iam

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/iamapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// Config is what the service needs.
type Config struct {
	Store store.Store
	Clock clock.Clock
	Keys  Keys // nil: users have no access keys
}

// Service serves IAM.
type Service struct {
	Config
	mu sync.Mutex // one change at a time
}

// New makes the service.
func New(cfg Config) *Service { return &Service{Config: cfg} }

// API lists the operations.
func (s *Service) API() *awscall.Service {
	a := awscall.NewService("iam")
	awscall.Handle(a, "CreateRole", s.CreateRole)
	awscall.Handle(a, "GetRole", s.GetRole)
	awscall.Handle(a, "ListRoles", s.ListRoles)
	awscall.Handle(a, "DeleteRole", s.DeleteRole)
	awscall.Handle(a, "UpdateRole", s.UpdateRole)
	awscall.Handle(a, "UpdateAssumeRolePolicy", s.UpdateAssumeRolePolicy)
	awscall.Handle(a, "TagRole", s.TagRole)
	awscall.Handle(a, "UntagRole", s.UntagRole)
	awscall.Handle(a, "ListRoleTags", s.ListRoleTags)
	awscall.Handle(a, "PutRolePolicy", s.PutRolePolicy)
	awscall.Handle(a, "GetRolePolicy", s.GetRolePolicy)
	awscall.Handle(a, "ListRolePolicies", s.ListRolePolicies)
	awscall.Handle(a, "DeleteRolePolicy", s.DeleteRolePolicy)
	awscall.Handle(a, "AttachRolePolicy", s.AttachRolePolicy)
	awscall.Handle(a, "DetachRolePolicy", s.DetachRolePolicy)
	awscall.Handle(a, "ListAttachedRolePolicies", s.ListAttachedRolePolicies)
	awscall.Handle(a, "CreatePolicy", s.CreatePolicy)
	awscall.Handle(a, "GetPolicy", s.GetPolicy)
	awscall.Handle(a, "GetPolicyVersion", s.GetPolicyVersion)
	awscall.Handle(a, "ListPolicyVersions", s.ListPolicyVersions)
	awscall.Handle(a, "ListPolicies", s.ListPolicies)
	awscall.Handle(a, "DeletePolicy", s.DeletePolicy)
	awscall.Handle(a, "CreateInstanceProfile", s.CreateInstanceProfile)
	awscall.Handle(a, "GetInstanceProfile", s.GetInstanceProfile)
	awscall.Handle(a, "ListInstanceProfiles", s.ListInstanceProfiles)
	awscall.Handle(a, "ListInstanceProfilesForRole", s.ListInstanceProfilesForRole)
	awscall.Handle(a, "DeleteInstanceProfile", s.DeleteInstanceProfile)
	awscall.Handle(a, "AddRoleToInstanceProfile", s.AddRoleToInstanceProfile)
	awscall.Handle(a, "RemoveRoleFromInstanceProfile", s.RemoveRoleFromInstanceProfile)
	s.users(a)
	return a
}

const service = "iam"

// entity is what roles, policies and instance profiles share.
type entity struct {
	Name    string            `json:"name"`
	Path    string            `json:"path"`
	ID      string            `json:"id"`
	Created time.Time         `json:"created"`
	Tags    map[string]string `json:"tags,omitempty"`
}

type role struct {
	entity
	Trust       string            `json:"trust"`
	Description string            `json:"description,omitempty"`
	Session     int64             `json:"session,omitempty"` // seconds
	Boundary    string            `json:"boundary,omitempty"`
	Inline      map[string]string `json:"inline,omitempty"`
	Attached    []string          `json:"attached,omitempty"` // policy ARNs
}

type policy struct {
	entity
	Document    string `json:"document"`
	Description string `json:"description,omitempty"`
}

type profile struct {
	entity
	Role string `json:"role,omitempty"`
}

// IAM is global: rows have no region.
func rowKey(ctx context.Context, kind, name string) store.Key {
	return store.Key{Account: identity.From(ctx).Account, Service: service, Kind: kind, ID: name}
}

func (s *Service) fresh(prefix, name, path string, tags []iamapi.Tag) entity {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	e := entity{Name: name, Path: path, ID: prefix + base32.StdEncoding.EncodeToString(b[:]), Created: s.Clock.Now().Truncate(time.Second), Tags: map[string]string{}}
	if path == "" {
		e.Path = "/"
	}
	for _, t := range tags {
		e.Tags[t.Key] = t.Value
	}
	return e
}

func arn(ctx context.Context, kind string, e entity) string {
	return "arn:aws:iam::" + identity.From(ctx).Account + ":" + kind + e.Path + e.Name
}

func missing(format string, args ...any) error {
	return awsapi.Errorf(404, "NoSuchEntity", format, args...)
}

func get[T any](ctx context.Context, s *Service, kind, name string, absent error) (T, int64, error) {
	var v T
	row, err := s.Store.Get(ctx, rowKey(ctx, kind, name))
	if errors.Is(err, store.ErrNotFound) {
		return v, 0, absent
	}
	if err != nil {
		return v, 0, fmt.Errorf("read %s %s: %w", kind, name, err)
	}
	return v, row.Version, json.Unmarshal(row.Value, &v)
}

func list[T any](ctx context.Context, s *Service, kind string) ([]T, error) {
	rows, err := s.Store.List(ctx, store.Query{Account: identity.From(ctx).Account, Service: service, Kind: kind})
	if err != nil {
		return nil, fmt.Errorf("list %ss: %w", kind, err)
	}
	out := make([]T, len(rows))
	for i, r := range rows {
		if err := json.Unmarshal(r.Value, &out[i]); err != nil {
			return nil, fmt.Errorf("%s %s: %w", kind, r.Key.ID, err)
		}
	}
	return out, nil
}

// write puts a row: version 0 makes it, another replaces that version.
func (s *Service) write(ctx context.Context, out any, kind, name string, v any, version int64) error {
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if version == 0 {
		version = store.Absent
	}
	return awscall.Commit(ctx, s.Store, out, store.RowChange{Key: rowKey(ctx, kind, name), Value: value, IfVersion: version})
}

// page cuts a listing at the caller's MaxItems; the marker is the name of the last one shown.
func page[T any](all []T, name func(T) string, marker *string, items *int64) (shown []T, truncated *bool, next *string) {
	most := 100
	if items != nil {
		most = int(*items)
	}
	all = slices.DeleteFunc(all, func(x T) bool { return name(x) <= awsapi.Val(marker) && marker != nil })
	if len(all) > most {
		return all[:most], awsapi.Ptr(true), awsapi.Ptr(name(all[most-1]))
	}
	return all, awsapi.Ptr(false), nil
}

func shownTags(tags map[string]string) []iamapi.Tag {
	out := []iamapi.Tag{}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, iamapi.Tag{Key: k, Value: tags[k]})
	}
	return out
}

// encoded is a policy document as IAM's answers carry it. AWS: percent-encoded as RFC 3986 says.
func encoded(document string) string {
	return strings.ReplaceAll(url.QueryEscape(document), "+", "%20")
}

func checkDocument(document string) error {
	var d struct{ Statement any }
	if json.Unmarshal([]byte(document), &d) != nil || d.Statement == nil {
		return awsapi.Errorf(400, "MalformedPolicyDocument", "Syntax errors in policy.")
	}
	return nil
}

// defaults are the roles that EMR's clients take for granted, with the service that assumes them and their policy.
var defaults = map[string]struct{ principal, policy string }{
	"EMR_DefaultRole":             {"elasticmapreduce.amazonaws.com", "service-role/AmazonElasticMapReduceRole"},
	"EMR_EC2_DefaultRole":         {"ec2.amazonaws.com", "service-role/AmazonElasticMapReduceforEC2Role"},
	"EMR_AutoScaling_DefaultRole": {"application-autoscaling.amazonaws.com", "service-role/AmazonElasticMapReduceforAutoScalingRole"},
}

// defaultEntity is the same in each process: its id follows from account and name.
func defaultEntity(ctx context.Context, prefix, name string) entity {
	sum := md5.Sum([]byte(identity.From(ctx).Account + "/" + name))
	return entity{Name: name, Path: "/", ID: prefix + base32.StdEncoding.EncodeToString(sum[:10]), Created: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (s *Service) role(ctx context.Context, name string) (role, int64, error) {
	r, version, err := get[role](ctx, s, "role", name, missing("The role with name %s cannot be found.", name))
	if d, ok := defaults[name]; ok && awscall.Code(err) == "NoSuchEntity" {
		return role{entity: defaultEntity(ctx, "AROA", name), Session: 3600, Attached: []string{managedPrefix + d.policy},
			Trust: fmt.Sprintf(`{"Version":"2008-10-17","Statement":[{"Sid":"","Effect":"Allow","Principal":{"Service":%q},"Action":"sts:AssumeRole"}]}`, d.principal)}, 0, nil
	}
	return r, version, err
}

func (s *Service) shownRole(ctx context.Context, r role) iamapi.Role {
	out := iamapi.Role{Path: r.Path, RoleName: r.Name, RoleId: r.ID, Arn: arn(ctx, "role", r.entity), CreateDate: r.Created,
		AssumeRolePolicyDocument: awsapi.Ptr(encoded(r.Trust)), MaxSessionDuration: &r.Session, Tags: shownTags(r.Tags)}
	if r.Description != "" {
		out.Description = &r.Description
	}
	if r.Boundary != "" {
		out.PermissionsBoundary = &iamapi.AttachedPermissionsBoundary{PermissionsBoundaryType: awsapi.Ptr("Policy"), PermissionsBoundaryArn: &r.Boundary}
	}
	return out
}

// CreateRole makes a role.
func (s *Service) CreateRole(ctx context.Context, in *iamapi.CreateRoleInput) (*iamapi.CreateRoleOutput, error) {
	if err := checkDocument(in.AssumeRolePolicyDocument); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, _, err := s.role(ctx, in.RoleName); err == nil {
		return nil, awsapi.Errorf(409, "EntityAlreadyExists", "Role with name %s already exists.", in.RoleName)
	} else if awscall.Code(err) != "NoSuchEntity" {
		return nil, err
	}
	r := role{entity: s.fresh("AROA", in.RoleName, awsapi.Val(in.Path), in.Tags), Trust: in.AssumeRolePolicyDocument, Description: awsapi.Val(in.Description), Session: 3600, Boundary: awsapi.Val(in.PermissionsBoundary)}
	if in.MaxSessionDuration != nil {
		r.Session = *in.MaxSessionDuration
	}
	shown := s.shownRole(ctx, r)
	out := &iamapi.CreateRoleOutput{Role: &shown}
	return out, s.write(ctx, out, "role", r.Name, r, 0)
}

// GetRole returns a role.
func (s *Service) GetRole(ctx context.Context, in *iamapi.GetRoleInput) (*iamapi.GetRoleOutput, error) {
	r, _, err := s.role(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	shown := s.shownRole(ctx, r)
	return &iamapi.GetRoleOutput{Role: &shown}, nil
}

// ListRoles lists roles by name.
func (s *Service) ListRoles(ctx context.Context, in *iamapi.ListRolesInput) (*iamapi.ListRolesOutput, error) {
	all, err := list[role](ctx, s, "role")
	if err != nil {
		return nil, err
	}
	for name := range defaults {
		if !slices.ContainsFunc(all, func(r role) bool { return r.Name == name }) {
			r, _, err := s.role(ctx, name)
			if err != nil {
				return nil, err
			}
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b role) int { return strings.Compare(a.Name, b.Name) })
	all = slices.DeleteFunc(all, func(r role) bool { return !strings.HasPrefix(r.Path, awsapi.Val(in.PathPrefix)) })
	all, truncated, next := page(all, func(r role) string { return r.Name }, in.Marker, in.MaxItems)
	out := &iamapi.ListRolesOutput{Roles: []iamapi.Role{}, IsTruncated: truncated, Marker: next}
	for _, r := range all {
		out.Roles = append(out.Roles, s.shownRole(ctx, r))
	}
	return out, nil
}

// DeleteRole deletes a role that nothing hangs on.
func (s *Service) DeleteRole(ctx context.Context, in *iamapi.DeleteRoleInput) (*iamapi.DeleteRoleOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, version, err := s.role(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	profiles, err := s.profilesOf(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	switch {
	case len(profiles) > 0:
		return nil, awsapi.Errorf(409, "DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
	case len(r.Attached) > 0 && version != 0:
		return nil, awsapi.Errorf(409, "DeleteConflict", "Cannot delete entity, must detach all policies first.")
	case len(r.Inline) > 0:
		return nil, awsapi.Errorf(409, "DeleteConflict", "Cannot delete entity, must delete policies first.")
	case version == 0:
		return nil, awsapi.Errorf(400, "UnmodifiableEntity", "Role %s exists in each account of Mayfly and cannot be deleted.", in.RoleName)
	}
	out := &iamapi.DeleteRoleOutput{}
	return out, awscall.Commit(ctx, s.Store, out, store.RowChange{Key: rowKey(ctx, "role", in.RoleName), Delete: true})
}

func (s *Service) editRole(ctx context.Context, name string, out any, change func(*role) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, version, err := s.role(ctx, name)
	if err != nil {
		return err
	}
	if r.Tags == nil {
		r.Tags = map[string]string{}
	}
	if r.Inline == nil {
		r.Inline = map[string]string{}
	}
	if err := change(&r); err != nil {
		return err
	}
	return s.write(ctx, out, "role", name, r, version)
}

// UpdateRole changes description and session length.
func (s *Service) UpdateRole(ctx context.Context, in *iamapi.UpdateRoleInput) (*iamapi.UpdateRoleOutput, error) {
	out := &iamapi.UpdateRoleOutput{}
	return out, s.editRole(ctx, in.RoleName, out, func(r *role) error {
		if in.Description != nil {
			r.Description = *in.Description
		}
		if in.MaxSessionDuration != nil {
			r.Session = *in.MaxSessionDuration
		}
		return nil
	})
}

// UpdateAssumeRolePolicy changes who may assume a role.
func (s *Service) UpdateAssumeRolePolicy(ctx context.Context, in *iamapi.UpdateAssumeRolePolicyInput) (*iamapi.UpdateAssumeRolePolicyOutput, error) {
	out := &iamapi.UpdateAssumeRolePolicyOutput{}
	return out, s.editRole(ctx, in.RoleName, out, func(r *role) error {
		r.Trust = in.PolicyDocument
		return checkDocument(in.PolicyDocument)
	})
}

// TagRole adds tags.
func (s *Service) TagRole(ctx context.Context, in *iamapi.TagRoleInput) (*iamapi.TagRoleOutput, error) {
	out := &iamapi.TagRoleOutput{}
	return out, s.editRole(ctx, in.RoleName, out, func(r *role) error {
		for _, t := range in.Tags {
			r.Tags[t.Key] = t.Value
		}
		return nil
	})
}

// UntagRole removes tags.
func (s *Service) UntagRole(ctx context.Context, in *iamapi.UntagRoleInput) (*iamapi.UntagRoleOutput, error) {
	out := &iamapi.UntagRoleOutput{}
	return out, s.editRole(ctx, in.RoleName, out, func(r *role) error {
		for _, k := range in.TagKeys {
			delete(r.Tags, k)
		}
		return nil
	})
}

// ListRoleTags returns a role's tags.
func (s *Service) ListRoleTags(ctx context.Context, in *iamapi.ListRoleTagsInput) (*iamapi.ListRoleTagsOutput, error) {
	r, _, err := s.role(ctx, in.RoleName)
	return &iamapi.ListRoleTagsOutput{Tags: shownTags(r.Tags), IsTruncated: awsapi.Ptr(false)}, err
}

// PutRolePolicy writes an inline policy.
func (s *Service) PutRolePolicy(ctx context.Context, in *iamapi.PutRolePolicyInput) (*iamapi.PutRolePolicyOutput, error) {
	out := &iamapi.PutRolePolicyOutput{}
	return out, s.editRole(ctx, in.RoleName, out, func(r *role) error {
		r.Inline[in.PolicyName] = in.PolicyDocument
		return checkDocument(in.PolicyDocument)
	})
}

// GetRolePolicy returns an inline policy.
func (s *Service) GetRolePolicy(ctx context.Context, in *iamapi.GetRolePolicyInput) (*iamapi.GetRolePolicyOutput, error) {
	r, _, err := s.role(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	document, ok := r.Inline[in.PolicyName]
	if !ok {
		return nil, missing("The role policy with name %s cannot be found.", in.PolicyName)
	}
	return &iamapi.GetRolePolicyOutput{RoleName: r.Name, PolicyName: in.PolicyName, PolicyDocument: encoded(document)}, nil
}

// ListRolePolicies names the inline policies of a role.
func (s *Service) ListRolePolicies(ctx context.Context, in *iamapi.ListRolePoliciesInput) (*iamapi.ListRolePoliciesOutput, error) {
	r, _, err := s.role(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	names, truncated, next := page(slices.Sorted(maps.Keys(r.Inline)), func(n string) string { return n }, in.Marker, in.MaxItems)
	return &iamapi.ListRolePoliciesOutput{PolicyNames: append([]string{}, names...), IsTruncated: truncated, Marker: next}, nil
}

// DeleteRolePolicy deletes an inline policy.
func (s *Service) DeleteRolePolicy(ctx context.Context, in *iamapi.DeleteRolePolicyInput) (*iamapi.DeleteRolePolicyOutput, error) {
	out := &iamapi.DeleteRolePolicyOutput{}
	return out, s.editRole(ctx, in.RoleName, out, func(r *role) error {
		if _, ok := r.Inline[in.PolicyName]; !ok {
			return missing("The role policy with name %s cannot be found.", in.PolicyName)
		}
		delete(r.Inline, in.PolicyName)
		return nil
	})
}

func (s *Service) knows(ctx context.Context, policyARN string) error {
	if isManaged(policyARN) {
		return nil
	}
	_, err := s.policyByARN(ctx, policyARN)
	return err
}

// AttachRolePolicy attaches a managed policy; one that is attached already is a success.
func (s *Service) AttachRolePolicy(ctx context.Context, in *iamapi.AttachRolePolicyInput) (*iamapi.AttachRolePolicyOutput, error) {
	if err := s.knows(ctx, in.PolicyArn); err != nil {
		return nil, err
	}
	out := &iamapi.AttachRolePolicyOutput{}
	return out, s.editRole(ctx, in.RoleName, out, func(r *role) error {
		if !slices.Contains(r.Attached, in.PolicyArn) {
			r.Attached = append(r.Attached, in.PolicyArn)
		}
		return nil
	})
}

// DetachRolePolicy detaches a managed policy.
func (s *Service) DetachRolePolicy(ctx context.Context, in *iamapi.DetachRolePolicyInput) (*iamapi.DetachRolePolicyOutput, error) {
	out := &iamapi.DetachRolePolicyOutput{}
	return out, s.editRole(ctx, in.RoleName, out, func(r *role) error {
		if !slices.Contains(r.Attached, in.PolicyArn) {
			return missing("Policy %s was not found.", in.PolicyArn)
		}
		r.Attached = slices.DeleteFunc(r.Attached, func(a string) bool { return a == in.PolicyArn })
		return nil
	})
}

// ListAttachedRolePolicies lists the managed policies of a role.
func (s *Service) ListAttachedRolePolicies(ctx context.Context, in *iamapi.ListAttachedRolePoliciesInput) (*iamapi.ListAttachedRolePoliciesOutput, error) {
	r, _, err := s.role(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	slices.Sort(r.Attached)
	arns, truncated, next := page(r.Attached, func(a string) string { return a }, in.Marker, in.MaxItems)
	out := &iamapi.ListAttachedRolePoliciesOutput{AttachedPolicies: []iamapi.AttachedPolicy{}, IsTruncated: truncated, Marker: next}
	for _, a := range arns {
		out.AttachedPolicies = append(out.AttachedPolicies, iamapi.AttachedPolicy{PolicyArn: awsapi.Ptr(a), PolicyName: awsapi.Ptr(a[strings.LastIndexByte(a, '/')+1:])})
	}
	return out, nil
}

func (s *Service) policyByARN(ctx context.Context, policyARN string) (policy, error) {
	absent := missing("Policy %s does not exist or is not attachable.", policyARN)
	p, _, err := get[policy](ctx, s, "policy", policyARN[strings.LastIndexByte(policyARN, '/')+1:], absent)
	if err == nil && arn(ctx, "policy", p.entity) != policyARN {
		err = absent
	}
	return p, err
}

func (s *Service) shownPolicy(ctx context.Context, p policy) (iamapi.Policy, error) {
	policyARN := arn(ctx, "policy", p.entity)
	roles, err := list[role](ctx, s, "role")
	count := int64(0)
	for _, r := range roles {
		if slices.Contains(r.Attached, policyARN) {
			count++
		}
	}
	return iamapi.Policy{PolicyName: &p.Name, PolicyId: &p.ID, Arn: &policyARN, Path: &p.Path, DefaultVersionId: awsapi.Ptr("v1"), AttachmentCount: &count, IsAttachable: awsapi.Ptr(true),
		Description: &p.Description, CreateDate: &p.Created, UpdateDate: &p.Created, Tags: shownTags(p.Tags), PermissionsBoundaryUsageCount: awsapi.Ptr(int64(0))}, err
}

// managedPolicy is one of AWS's own.
func managedPolicy(name string) iamapi.Policy {
	path := "/" + name[:strings.LastIndexByte(name, '/')+1]
	created := time.Date(2015, 2, 6, 18, 41, 0, 0, time.UTC)
	return iamapi.Policy{PolicyName: awsapi.Ptr(name[strings.LastIndexByte(name, '/')+1:]), Arn: awsapi.Ptr(managedPrefix + name), Path: &path, DefaultVersionId: awsapi.Ptr("v1"),
		IsAttachable: awsapi.Ptr(true), CreateDate: &created, UpdateDate: &created}
}

// CreatePolicy makes a managed policy of the account.
func (s *Service) CreatePolicy(ctx context.Context, in *iamapi.CreatePolicyInput) (*iamapi.CreatePolicyOutput, error) {
	if err := checkDocument(in.PolicyDocument); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := policy{entity: s.fresh("ANPA", in.PolicyName, awsapi.Val(in.Path), in.Tags), Document: in.PolicyDocument, Description: awsapi.Val(in.Description)}
	if _, _, err := get[policy](ctx, s, "policy", p.Name, missing("")); err == nil {
		return nil, awsapi.Errorf(409, "EntityAlreadyExists", "A policy called %s already exists. Duplicate names are not allowed.", p.Name)
	} else if awscall.Code(err) != "NoSuchEntity" {
		return nil, err
	}
	shown, err := s.shownPolicy(ctx, p)
	if err != nil {
		return nil, err
	}
	out := &iamapi.CreatePolicyOutput{Policy: &shown}
	return out, s.write(ctx, out, "policy", p.Name, p, 0)
}

// GetPolicy describes a managed policy, the account's or AWS's own.
func (s *Service) GetPolicy(ctx context.Context, in *iamapi.GetPolicyInput) (*iamapi.GetPolicyOutput, error) {
	if isManaged(in.PolicyArn) {
		shown := managedPolicy(strings.TrimPrefix(in.PolicyArn, managedPrefix))
		return &iamapi.GetPolicyOutput{Policy: &shown}, nil
	}
	p, err := s.policyByARN(ctx, in.PolicyArn)
	if err != nil {
		return nil, missing("Policy %s was not found.", in.PolicyArn)
	}
	shown, err := s.shownPolicy(ctx, p)
	return &iamapi.GetPolicyOutput{Policy: &shown}, err
}

// GetPolicyVersion returns the document of a policy of the account; it has one version.
func (s *Service) GetPolicyVersion(ctx context.Context, in *iamapi.GetPolicyVersionInput) (*iamapi.GetPolicyVersionOutput, error) {
	if isManaged(in.PolicyArn) {
		return nil, missing("The documents of AWS's own policies are not kept by Mayfly: %s", in.PolicyArn)
	}
	p, err := s.policyByARN(ctx, in.PolicyArn)
	if err != nil || in.VersionId != "v1" {
		return nil, missing("Policy %s version %s does not exist or is not attachable.", in.PolicyArn, in.VersionId)
	}
	return &iamapi.GetPolicyVersionOutput{PolicyVersion: &iamapi.PolicyVersion{Document: awsapi.Ptr(encoded(p.Document)), VersionId: awsapi.Ptr("v1"), IsDefaultVersion: awsapi.Ptr(true), CreateDate: &p.Created}}, nil
}

// ListPolicyVersions lists the one version of a policy of the account.
func (s *Service) ListPolicyVersions(ctx context.Context, in *iamapi.ListPolicyVersionsInput) (*iamapi.ListPolicyVersionsOutput, error) {
	p, err := s.policyByARN(ctx, in.PolicyArn)
	if err != nil {
		return nil, missing("Policy %s was not found.", in.PolicyArn)
	}
	return &iamapi.ListPolicyVersionsOutput{IsTruncated: awsapi.Ptr(false), Versions: []iamapi.PolicyVersion{{VersionId: awsapi.Ptr("v1"), IsDefaultVersion: awsapi.Ptr(true), CreateDate: &p.Created}}}, nil
}

// ListPolicies lists managed policies by name, AWS's own among them unless the scope is Local.
func (s *Service) ListPolicies(ctx context.Context, in *iamapi.ListPoliciesInput) (*iamapi.ListPoliciesOutput, error) {
	var all []iamapi.Policy
	scope := awsapi.Val(in.Scope)
	if scope != "AWS" {
		local, err := list[policy](ctx, s, "policy")
		if err != nil {
			return nil, err
		}
		for _, p := range local {
			shown, err := s.shownPolicy(ctx, p)
			if err != nil {
				return nil, err
			}
			all = append(all, shown)
		}
	}
	if scope != "Local" {
		for _, name := range slices.Sorted(maps.Keys(managed)) {
			all = append(all, managedPolicy(name))
		}
	}
	all = slices.DeleteFunc(all, func(p iamapi.Policy) bool {
		return !strings.HasPrefix(*p.Path, awsapi.Val(in.PathPrefix)) || awsapi.Val(in.OnlyAttached) && awsapi.Val(p.AttachmentCount) == 0
	})
	slices.SortFunc(all, func(a, b iamapi.Policy) int { return strings.Compare(*a.Arn, *b.Arn) })
	out := &iamapi.ListPoliciesOutput{}
	out.Policies, out.IsTruncated, out.Marker = page(all, func(p iamapi.Policy) string { return *p.Arn }, in.Marker, in.MaxItems)
	return out, nil
}

// DeletePolicy deletes a policy that is attached to nothing.
func (s *Service) DeletePolicy(ctx context.Context, in *iamapi.DeletePolicyInput) (*iamapi.DeletePolicyOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.policyByARN(ctx, in.PolicyArn)
	if err != nil {
		return nil, missing("Policy %s was not found.", in.PolicyArn)
	}
	shown, err := s.shownPolicy(ctx, p)
	if err != nil {
		return nil, err
	}
	if *shown.AttachmentCount > 0 {
		return nil, awsapi.Errorf(409, "DeleteConflict", "Cannot delete a policy attached to entities.")
	}
	out := &iamapi.DeletePolicyOutput{}
	return out, awscall.Commit(ctx, s.Store, out, store.RowChange{Key: rowKey(ctx, "policy", p.Name), Delete: true})
}

const defaultProfile = "EMR_EC2_DefaultRole"

func (s *Service) profile(ctx context.Context, name string) (profile, int64, error) {
	p, version, err := get[profile](ctx, s, "instance-profile", name, missing("Instance Profile %s cannot be found.", name))
	if name == defaultProfile && awscall.Code(err) == "NoSuchEntity" {
		return profile{entity: defaultEntity(ctx, "AIPA", name), Role: name}, 0, nil
	}
	return p, version, err
}

func (s *Service) shownProfile(ctx context.Context, p profile) (iamapi.InstanceProfile, error) {
	out := iamapi.InstanceProfile{Path: p.Path, InstanceProfileName: p.Name, InstanceProfileId: p.ID, Arn: arn(ctx, "instance-profile", p.entity), CreateDate: p.Created, Roles: []iamapi.Role{}, Tags: shownTags(p.Tags)}
	if p.Role != "" {
		r, _, err := s.role(ctx, p.Role)
		if err != nil {
			return out, err
		}
		out.Roles = append(out.Roles, s.shownRole(ctx, r))
	}
	return out, nil
}

// CreateInstanceProfile makes an instance profile.
func (s *Service) CreateInstanceProfile(ctx context.Context, in *iamapi.CreateInstanceProfileInput) (*iamapi.CreateInstanceProfileOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, _, err := s.profile(ctx, in.InstanceProfileName); err == nil {
		return nil, awsapi.Errorf(409, "EntityAlreadyExists", "Instance Profile %s already exists.", in.InstanceProfileName)
	} else if awscall.Code(err) != "NoSuchEntity" {
		return nil, err
	}
	p := profile{entity: s.fresh("AIPA", in.InstanceProfileName, awsapi.Val(in.Path), in.Tags)}
	shown, err := s.shownProfile(ctx, p)
	if err != nil {
		return nil, err
	}
	out := &iamapi.CreateInstanceProfileOutput{InstanceProfile: &shown}
	return out, s.write(ctx, out, "instance-profile", p.Name, p, 0)
}

// GetInstanceProfile returns an instance profile with its role.
func (s *Service) GetInstanceProfile(ctx context.Context, in *iamapi.GetInstanceProfileInput) (*iamapi.GetInstanceProfileOutput, error) {
	p, _, err := s.profile(ctx, in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	shown, err := s.shownProfile(ctx, p)
	return &iamapi.GetInstanceProfileOutput{InstanceProfile: &shown}, err
}

func (s *Service) profiles(ctx context.Context) ([]profile, error) {
	all, err := list[profile](ctx, s, "instance-profile")
	if err == nil && !slices.ContainsFunc(all, func(p profile) bool { return p.Name == defaultProfile }) {
		p, _, err := s.profile(ctx, defaultProfile)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
		slices.SortFunc(all, func(a, b profile) int { return strings.Compare(a.Name, b.Name) })
	}
	return all, err
}

func (s *Service) profilesOf(ctx context.Context, roleName string) ([]profile, error) {
	all, err := s.profiles(ctx)
	return slices.DeleteFunc(all, func(p profile) bool { return p.Role != roleName }), err
}

func (s *Service) shownProfiles(ctx context.Context, all []profile) ([]iamapi.InstanceProfile, error) {
	out := []iamapi.InstanceProfile{}
	for _, p := range all {
		shown, err := s.shownProfile(ctx, p)
		if err != nil {
			return nil, err
		}
		out = append(out, shown)
	}
	return out, nil
}

// ListInstanceProfiles lists instance profiles by name.
func (s *Service) ListInstanceProfiles(ctx context.Context, in *iamapi.ListInstanceProfilesInput) (*iamapi.ListInstanceProfilesOutput, error) {
	all, err := s.profiles(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(p profile) bool { return !strings.HasPrefix(p.Path, awsapi.Val(in.PathPrefix)) })
	all, truncated, next := page(all, func(p profile) string { return p.Name }, in.Marker, in.MaxItems)
	shown, err := s.shownProfiles(ctx, all)
	return &iamapi.ListInstanceProfilesOutput{InstanceProfiles: shown, IsTruncated: truncated, Marker: next}, err
}

// ListInstanceProfilesForRole lists the instance profiles that hold a role.
func (s *Service) ListInstanceProfilesForRole(ctx context.Context, in *iamapi.ListInstanceProfilesForRoleInput) (*iamapi.ListInstanceProfilesForRoleOutput, error) {
	if _, _, err := s.role(ctx, in.RoleName); err != nil {
		return nil, err
	}
	all, err := s.profilesOf(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	all, truncated, next := page(all, func(p profile) string { return p.Name }, in.Marker, in.MaxItems)
	shown, err := s.shownProfiles(ctx, all)
	return &iamapi.ListInstanceProfilesForRoleOutput{InstanceProfiles: shown, IsTruncated: truncated, Marker: next}, err
}

// DeleteInstanceProfile deletes an instance profile that holds no role.
func (s *Service) DeleteInstanceProfile(ctx context.Context, in *iamapi.DeleteInstanceProfileInput) (*iamapi.DeleteInstanceProfileOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, _, err := s.profile(ctx, in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	if p.Role != "" {
		return nil, awsapi.Errorf(409, "DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
	}
	out := &iamapi.DeleteInstanceProfileOutput{}
	return out, awscall.Commit(ctx, s.Store, out, store.RowChange{Key: rowKey(ctx, "instance-profile", p.Name), Delete: true})
}

func (s *Service) editProfile(ctx context.Context, name string, out any, change func(*profile) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, version, err := s.profile(ctx, name)
	if err != nil {
		return err
	}
	if err := change(&p); err != nil {
		return err
	}
	return s.write(ctx, out, "instance-profile", name, p, version)
}

// AddRoleToInstanceProfile puts a role into an instance profile, which holds one at most.
func (s *Service) AddRoleToInstanceProfile(ctx context.Context, in *iamapi.AddRoleToInstanceProfileInput) (*iamapi.AddRoleToInstanceProfileOutput, error) {
	if _, _, err := s.role(ctx, in.RoleName); err != nil {
		return nil, err
	}
	out := &iamapi.AddRoleToInstanceProfileOutput{}
	return out, s.editProfile(ctx, in.InstanceProfileName, out, func(p *profile) error {
		if p.Role != "" {
			return awsapi.Errorf(409, "LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
		}
		p.Role = in.RoleName
		return nil
	})
}

// RemoveRoleFromInstanceProfile takes the role out of an instance profile.
func (s *Service) RemoveRoleFromInstanceProfile(ctx context.Context, in *iamapi.RemoveRoleFromInstanceProfileInput) (*iamapi.RemoveRoleFromInstanceProfileOutput, error) {
	out := &iamapi.RemoveRoleFromInstanceProfileOutput{}
	return out, s.editProfile(ctx, in.InstanceProfileName, out, func(p *profile) error {
		if p.Role != in.RoleName {
			return missing("Role with name %s cannot be found in instance profile %s.", in.RoleName, in.InstanceProfileName)
		}
		p.Role = ""
		return nil
	})
}
