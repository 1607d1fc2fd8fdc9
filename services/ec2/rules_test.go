package ec2

import (
	"testing"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/ec2api"
	"github.com/mayfly-run/mayfly/internal/awscall"
)

func tcp(port int64, cidr string) ec2api.IpPermission {
	return ec2api.IpPermission{IpProtocol: awsapi.Ptr("tcp"), FromPort: &port, ToPort: &port, IpRanges: []ec2api.IpRange{{CidrIp: &cidr}}}
}

func TestSecurityGroupRules(t *testing.T) {
	s, ctx := open(t)
	made, err := s.CreateSecurityGroup(ctx, &ec2api.CreateSecurityGroupInput{GroupName: "g", Description: "d"})
	if err != nil {
		t.Fatal(err)
	}
	shown := func(id string) ec2api.SecurityGroup {
		out, err := s.DescribeSecurityGroups(ctx, &ec2api.DescribeSecurityGroupsInput{GroupIds: []string{id}})
		if err != nil || len(out.SecurityGroups) != 1 {
			t.Fatal(out, err)
		}
		return out.SecurityGroups[0]
	}
	added, err := s.AuthorizeSecurityGroupIngress(ctx, &ec2api.AuthorizeSecurityGroupIngressInput{GroupName: awsapi.Ptr("g"), IpPermissions: []ec2api.IpPermission{tcp(22, "10.0.0.0/8"), tcp(22, "192.168.0.1/16")}})
	if err != nil || len(added.SecurityGroupRules) != 2 || *added.SecurityGroupRules[0].GroupId != *made.GroupId {
		t.Fatalf("%+v %v", added, err)
	}
	in := shown(*made.GroupId).IpPermissions
	if len(in) != 1 || len(in[0].IpRanges) != 2 || *in[0].FromPort != 22 || *in[0].IpRanges[1].CidrIp != "192.168.0.0/16" {
		t.Errorf("%+v", in)
	}
	if _, err := s.AuthorizeSecurityGroupIngress(ctx, &ec2api.AuthorizeSecurityGroupIngressInput{GroupId: made.GroupId, IpProtocol: awsapi.Ptr("6"), FromPort: awsapi.Ptr(int64(22)), ToPort: awsapi.Ptr(int64(22)), CidrIp: awsapi.Ptr("10.0.0.0/8")}); awscall.Code(err) != "InvalidPermission.Duplicate" {
		t.Errorf("the same rule again: %v", err)
	}
	if _, err := s.RevokeSecurityGroupIngress(ctx, &ec2api.RevokeSecurityGroupIngressInput{GroupId: made.GroupId, IpPermissions: []ec2api.IpPermission{tcp(23, "10.0.0.0/8")}}); awscall.Code(err) != "InvalidPermission.NotFound" {
		t.Errorf("a rule that is not there: %v", err)
	}
	if _, err := s.RevokeSecurityGroupIngress(ctx, &ec2api.RevokeSecurityGroupIngressInput{GroupId: made.GroupId, SecurityGroupRuleIds: []string{*added.SecurityGroupRules[0].SecurityGroupRuleId}}); err != nil {
		t.Error(err)
	}
	if in = shown(*made.GroupId).IpPermissions; len(in) != 1 || len(in[0].IpRanges) != 1 {
		t.Errorf("%+v", in)
	}
	if _, err := s.RevokeSecurityGroupEgress(ctx, &ec2api.RevokeSecurityGroupEgressInput{GroupId: *made.GroupId, IpPermissions: []ec2api.IpPermission{{IpProtocol: awsapi.Ptr("-1"), IpRanges: []ec2api.IpRange{{CidrIp: awsapi.Ptr("0.0.0.0/0")}}}}}); err != nil {
		t.Error(err)
	}
	if out := shown(*made.GroupId).IpPermissionsEgress; len(out) != 0 {
		t.Errorf("%+v", out)
	}

	first, err := s.DescribeSecurityGroups(ctx, &ec2api.DescribeSecurityGroupsInput{GroupNames: []string{"default"}})
	if err != nil {
		t.Fatal(err)
	}
	id := first.SecurityGroups[0].GroupId
	if _, err := s.AuthorizeSecurityGroupIngress(ctx, &ec2api.AuthorizeSecurityGroupIngressInput{GroupId: id, IpPermissions: []ec2api.IpPermission{tcp(1, "0.0.0.0/0")}}); err != nil {
		t.Fatal(err)
	}
	all, err := s.DescribeSecurityGroups(ctx, &ec2api.DescribeSecurityGroupsInput{})
	if err != nil || len(all.SecurityGroups) != 2 || len(shown(*id).IpPermissions) != 2 {
		t.Errorf("%d groups (%v), the default one with %+v", len(all.SecurityGroups), err, shown(*id).IpPermissions)
	}
}

func TestBadRulesAreRefused(t *testing.T) {
	s, ctx := open(t)
	for _, c := range []struct {
		name, code string
		rule       ec2api.IpPermission
	}{
		{"no peer", "MissingParameter", ec2api.IpPermission{IpProtocol: awsapi.Ptr("-1")}},
		{"no ports", "InvalidParameterValue", ec2api.IpPermission{IpProtocol: awsapi.Ptr("tcp"), IpRanges: []ec2api.IpRange{{CidrIp: awsapi.Ptr("0.0.0.0/0")}}}},
		{"a bad address", "InvalidParameterValue", tcp(1, "10.0.0/8")},
		{"a bad port", "InvalidParameterValue", tcp(65536, "10.0.0.0/8")},
		{"a bad protocol", "InvalidPermission.Malformed", ec2api.IpPermission{IpProtocol: awsapi.Ptr("carrier-pigeon")}},
		{"an unknown group", "InvalidGroup.NotFound", ec2api.IpPermission{IpProtocol: awsapi.Ptr("-1"), UserIdGroupPairs: []ec2api.UserIdGroupPair{{GroupId: awsapi.Ptr("sg-1")}}}},
	} {
		_, err := s.AuthorizeSecurityGroupIngress(ctx, &ec2api.AuthorizeSecurityGroupIngressInput{GroupName: awsapi.Ptr("default"), IpPermissions: []ec2api.IpPermission{c.rule}})
		if awscall.Code(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
}
