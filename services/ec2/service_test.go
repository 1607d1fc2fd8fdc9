package ec2

import (
	"context"
	"crypto/sha1"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/ec2api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store/memory"
)

func open(t *testing.T) (*Service, context.Context) {
	st := memory.New()
	t.Cleanup(func() { st.Close() })
	return New(Config{Store: st, Clock: clock.System{}}), identity.With(t.Context(), identity.Principal{Account: "000000000000", Region: "us-east-1"})
}

func filter(name string, values ...string) []ec2api.Filter {
	return []ec2api.Filter{{Name: &name, Values: values}}
}

func TestKeyPair(t *testing.T) {
	s, ctx := open(t)
	made, err := s.CreateKeyPair(ctx, &ec2api.CreateKeyPairInput{KeyName: "emrcluster-launch"})
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode([]byte(*made.KeyMaterial))
	if block == nil || len(rest) != 0 {
		t.Fatalf("the key material is no PEM: %q", *made.KeyMaterial)
	}
	private, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha1.Sum(pkcs8); *made.KeyFingerprint != colons(sum[:]) {
		t.Errorf("the fingerprint %s is not the key's", *made.KeyFingerprint)
	}
	out, err := s.DescribeKeyPairs(ctx, &ec2api.DescribeKeyPairsInput{Filters: filter("key-name", "emr*")})
	if err != nil || len(out.KeyPairs) != 1 || *out.KeyPairs[0].KeyFingerprint != *made.KeyFingerprint {
		t.Errorf("%+v %v", out, err)
	}
	if _, err := s.CreateKeyPair(ctx, &ec2api.CreateKeyPairInput{KeyName: "emrcluster-launch"}); awscall.Code(err) != "InvalidKeyPair.Duplicate" {
		t.Errorf("a second key pair of the name: %v", err)
	}
	for range 2 {
		if _, err := s.DeleteKeyPair(ctx, &ec2api.DeleteKeyPairInput{KeyName: awsapi.Ptr("emrcluster-launch")}); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.DescribeKeyPairs(ctx, &ec2api.DescribeKeyPairsInput{KeyNames: []string{"emrcluster-launch"}}); awscall.Code(err) != "InvalidKeyPair.NotFound" {
		t.Errorf("a deleted key pair: %v", err)
	}
}

func TestDefaultNetwork(t *testing.T) {
	s, ctx := open(t)
	vpcs, err := s.DescribeVpcs(ctx, &ec2api.DescribeVpcsInput{Filters: filter("is-default", "true")})
	if err != nil || len(vpcs.Vpcs) != 1 {
		t.Fatalf("%+v %v", vpcs, err)
	}
	subnets, err := s.DescribeSubnets(ctx, &ec2api.DescribeSubnetsInput{Filters: filter("vpc-id", *vpcs.Vpcs[0].VpcId)})
	if err != nil || len(subnets.Subnets) != 3 {
		t.Fatalf("%+v %v", subnets, err)
	}
	one, err := s.DescribeSubnets(ctx, &ec2api.DescribeSubnetsInput{SubnetIds: []string{*subnets.Subnets[1].SubnetId}})
	if err != nil || len(one.Subnets) != 1 || *one.Subnets[0].AvailabilityZone != "us-east-1b" || *one.Subnets[0].AvailabilityZoneId != "use1-az2" {
		t.Errorf("%+v %v", one, err)
	}
	groups, err := s.DescribeSecurityGroups(ctx, &ec2api.DescribeSecurityGroupsInput{GroupNames: []string{"default"}})
	if err != nil || len(groups.SecurityGroups) != 1 {
		t.Fatalf("%+v %v", groups, err)
	}
	if _, err := s.DeleteSecurityGroup(ctx, &ec2api.DeleteSecurityGroupInput{GroupId: groups.SecurityGroups[0].GroupId}); awscall.Code(err) != "CannotDelete" {
		t.Errorf("the default group: %v", err)
	}
	made, err := s.CreateSecurityGroup(ctx, &ec2api.CreateSecurityGroupInput{GroupName: "emr", Description: "d"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateSecurityGroup(ctx, &ec2api.CreateSecurityGroupInput{GroupName: "emr", Description: "d"}); awscall.Code(err) != "InvalidGroup.Duplicate" {
		t.Errorf("a second group of the name: %v", err)
	}
	all, err := s.DescribeSecurityGroups(ctx, &ec2api.DescribeSecurityGroupsInput{})
	if err != nil || len(all.SecurityGroups) != 2 || *all.SecurityGroups[1].GroupId != *made.GroupId {
		t.Errorf("%+v %v", all, err)
	}
}

func TestFiltersThatNobodyKnowsAreRefused(t *testing.T) {
	s, ctx := open(t)
	if _, err := s.DescribeSubnets(ctx, &ec2api.DescribeSubnetsInput{Filters: filter("colour", "blue")}); awscall.Code(err) != "InvalidParameterValue" {
		t.Error(err)
	}
	if _, err := s.DescribeSubnets(ctx, &ec2api.DescribeSubnetsInput{SubnetIds: []string{"subnet-1"}}); awscall.Code(err) != "InvalidSubnetID.NotFound" {
		t.Error(err)
	}
	if _, err := s.CreateKeyPair(ctx, &ec2api.CreateKeyPairInput{KeyName: "k", KeyType: awsapi.Ptr("ed25519")}); awscall.Code(err) != "InvalidParameterValue" {
		t.Error(err)
	}
	if _, err := s.CreateKeyPair(ctx, &ec2api.CreateKeyPairInput{KeyName: "k", DryRun: awsapi.Ptr(true)}); awscall.Code(err) != "DryRunOperation" {
		t.Error(err)
	}
}
