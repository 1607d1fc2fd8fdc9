package iam

import (
	"context"
	"testing"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/iamapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store/memory"
)

const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

func open(t *testing.T) (*Service, context.Context) {
	st := memory.New()
	t.Cleanup(func() { st.Close() })
	return New(Config{Store: st, Clock: clock.System{}}), identity.With(t.Context(), identity.Principal{Account: "000000000000", Region: "us-east-1"})
}

func TestRole(t *testing.T) {
	s, ctx := open(t)
	made, err := s.CreateRole(ctx, &iamapi.CreateRoleInput{RoleName: "emr", Path: awsapi.Ptr("/p/"), AssumeRolePolicyDocument: trust, Tags: []iamapi.Tag{{Key: "a", Value: "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if made.Role.Arn != "arn:aws:iam::000000000000:role/p/emr" || *made.Role.AssumeRolePolicyDocument != encoded(trust) || len(made.Role.RoleId) != 20 {
		t.Errorf("%+v", made.Role)
	}
	step := func(name string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = s.PutRolePolicy(ctx, &iamapi.PutRolePolicyInput{RoleName: "emr", PolicyName: "inline", PolicyDocument: trust})
	step("put", err)
	_, err = s.AttachRolePolicy(ctx, &iamapi.AttachRolePolicyInput{RoleName: "emr", PolicyArn: managedPrefix + "service-role/AmazonElasticMapReduceRole"})
	step("attach", err)
	if _, err := s.AttachRolePolicy(ctx, &iamapi.AttachRolePolicyInput{RoleName: "emr", PolicyArn: managedPrefix + "NoSuchPolicy"}); awscall.Code(err) != "NoSuchEntity" {
		t.Errorf("an unknown managed policy: %v", err)
	}
	got, err := s.GetRolePolicy(ctx, &iamapi.GetRolePolicyInput{RoleName: "emr", PolicyName: "inline"})
	if err != nil || got.PolicyDocument != encoded(trust) {
		t.Errorf("%+v %v", got, err)
	}
	attached, err := s.ListAttachedRolePolicies(ctx, &iamapi.ListAttachedRolePoliciesInput{RoleName: "emr"})
	if err != nil || len(attached.AttachedPolicies) != 1 || *attached.AttachedPolicies[0].PolicyName != "AmazonElasticMapReduceRole" {
		t.Errorf("%+v %v", attached, err)
	}
	if _, err := s.DeleteRole(ctx, &iamapi.DeleteRoleInput{RoleName: "emr"}); awscall.Code(err) != "DeleteConflict" {
		t.Errorf("a role with policies is deleted: %v", err)
	}
	_, err = s.DetachRolePolicy(ctx, &iamapi.DetachRolePolicyInput{RoleName: "emr", PolicyArn: managedPrefix + "service-role/AmazonElasticMapReduceRole"})
	step("detach", err)
	_, err = s.DeleteRolePolicy(ctx, &iamapi.DeleteRolePolicyInput{RoleName: "emr", PolicyName: "inline"})
	step("delete the policy", err)
	_, err = s.DeleteRole(ctx, &iamapi.DeleteRoleInput{RoleName: "emr"})
	step("delete", err)
	if _, err := s.GetRole(ctx, &iamapi.GetRoleInput{RoleName: "emr"}); awscall.Code(err) != "NoSuchEntity" {
		t.Errorf("a deleted role: %v", err)
	}
}

func TestInstanceProfileHoldsOneRole(t *testing.T) {
	s, ctx := open(t)
	if _, err := s.CreateRole(ctx, &iamapi.CreateRoleInput{RoleName: "emr", AssumeRolePolicyDocument: trust}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateInstanceProfile(ctx, &iamapi.CreateInstanceProfileInput{InstanceProfileName: "ip"}); err != nil {
		t.Fatal(err)
	}
	add := &iamapi.AddRoleToInstanceProfileInput{InstanceProfileName: "ip", RoleName: "emr"}
	if _, err := s.AddRoleToInstanceProfile(ctx, add); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddRoleToInstanceProfile(ctx, add); awscall.Code(err) != "LimitExceeded" {
		t.Errorf("a second role: %v", err)
	}
	got, err := s.GetInstanceProfile(ctx, &iamapi.GetInstanceProfileInput{InstanceProfileName: "ip"})
	if err != nil || len(got.InstanceProfile.Roles) != 1 || got.InstanceProfile.Roles[0].RoleName != "emr" {
		t.Errorf("%+v %v", got, err)
	}
	for _, call := range []func() error{
		func() error {
			_, err := s.DeleteRole(ctx, &iamapi.DeleteRoleInput{RoleName: "emr"})
			return err
		},
		func() error {
			_, err := s.DeleteInstanceProfile(ctx, &iamapi.DeleteInstanceProfileInput{InstanceProfileName: "ip"})
			return err
		},
	} {
		if err := call(); awscall.Code(err) != "DeleteConflict" {
			t.Errorf("in use: %v", err)
		}
	}
}

func TestWhatEMRsClientsTakeForGranted(t *testing.T) {
	s, ctx := open(t)
	for name := range defaults {
		if _, err := s.GetRole(ctx, &iamapi.GetRoleInput{RoleName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := s.GetInstanceProfile(ctx, &iamapi.GetInstanceProfileInput{InstanceProfileName: defaultProfile})
	if err != nil || len(got.InstanceProfile.Roles) != 1 {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := s.CreateRole(ctx, &iamapi.CreateRoleInput{RoleName: "EMR_DefaultRole", AssumeRolePolicyDocument: trust}); awscall.Code(err) != "EntityAlreadyExists" {
		t.Errorf("made again: %v", err)
	}
	one, err := s.ListRoles(ctx, &iamapi.ListRolesInput{MaxItems: awsapi.Ptr(int64(2))})
	if err != nil || len(one.Roles) != 2 || !*one.IsTruncated {
		t.Fatalf("%+v %v", one, err)
	}
	two, err := s.ListRoles(ctx, &iamapi.ListRolesInput{Marker: one.Marker})
	if err != nil || len(two.Roles) != 1 || *two.IsTruncated {
		t.Errorf("%+v %v", two, err)
	}
}

func TestPolicy(t *testing.T) {
	s, ctx := open(t)
	if _, err := s.CreatePolicy(ctx, &iamapi.CreatePolicyInput{PolicyName: "p", PolicyDocument: "{"}); awscall.Code(err) != "MalformedPolicyDocument" {
		t.Errorf("no JSON: %v", err)
	}
	made, err := s.CreatePolicy(ctx, &iamapi.CreatePolicyInput{PolicyName: "p", PolicyDocument: trust})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.GetPolicyVersion(ctx, &iamapi.GetPolicyVersionInput{PolicyArn: *made.Policy.Arn, VersionId: "v1"})
	if err != nil || *got.PolicyVersion.Document != encoded(trust) {
		t.Errorf("%+v %v", got, err)
	}
	local, err := s.ListPolicies(ctx, &iamapi.ListPoliciesInput{Scope: awsapi.Ptr("Local")})
	if err != nil || len(local.Policies) != 1 {
		t.Errorf("%+v %v", local, err)
	}
	if _, err := s.DeletePolicy(ctx, &iamapi.DeletePolicyInput{PolicyArn: *made.Policy.Arn}); err != nil {
		t.Error(err)
	}
}
