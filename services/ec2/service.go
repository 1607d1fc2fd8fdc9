package ec2

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/ec2api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// Config is what the service needs.
type Config struct {
	Store store.Store
	Clock clock.Clock
}

// Service serves EC2.
type Service struct {
	Config
	mu sync.Mutex // one change at a time
}

// New makes the service.
func New(cfg Config) *Service { return &Service{Config: cfg} }

// API lists the operations.
func (s *Service) API() *awscall.Service {
	a := awscall.NewService("ec2")
	awscall.Handle(a, "CreateKeyPair", s.CreateKeyPair)
	awscall.Handle(a, "DescribeKeyPairs", s.DescribeKeyPairs)
	awscall.Handle(a, "DeleteKeyPair", s.DeleteKeyPair)
	awscall.Handle(a, "DescribeVpcs", s.DescribeVpcs)
	awscall.Handle(a, "DescribeSubnets", s.DescribeSubnets)
	awscall.Handle(a, "DescribeSecurityGroups", s.DescribeSecurityGroups)
	awscall.Handle(a, "CreateSecurityGroup", s.CreateSecurityGroup)
	awscall.Handle(a, "DeleteSecurityGroup", s.DeleteSecurityGroup)
	awscall.Handle(a, "AuthorizeSecurityGroupIngress", s.AuthorizeSecurityGroupIngress)
	awscall.Handle(a, "AuthorizeSecurityGroupEgress", s.AuthorizeSecurityGroupEgress)
	awscall.Handle(a, "RevokeSecurityGroupIngress", s.RevokeSecurityGroupIngress)
	awscall.Handle(a, "RevokeSecurityGroupEgress", s.RevokeSecurityGroupEgress)
	awscall.Handle(a, "DescribeAvailabilityZones", s.DescribeAvailabilityZones)
	awscall.Handle(a, "DescribeRegions", s.DescribeRegions)
	return a
}

const service = "ec2"

// keyPair is a key pair's row; the private key is given out once and not kept.
type keyPair struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Fingerprint string            `json:"fingerprint"`
	Created     time.Time         `json:"created"`
	Tags        map[string]string `json:"tags,omitempty"`
}

type securityGroup struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Description string            `json:"description"`
	VPC         string            `json:"vpc"`
	Tags        map[string]string `json:"tags,omitempty"`
	Rules       []rule            `json:"rules"`
}

func rowKey(ctx context.Context, kind, id string) store.Key {
	p := identity.From(ctx)
	return store.Key{Account: p.Account, Region: p.Region, Service: service, Kind: kind, ID: id}
}

func newID(prefix string) string {
	var b [9]byte
	_, _ = rand.Read(b[:]) // never fails
	return prefix + hex.EncodeToString(b[:])[:17]
}

// fixedID is the id of what exists in each account and region from the start.
func fixedID(ctx context.Context, prefix, name string) string {
	p := identity.From(ctx)
	sum := md5.Sum([]byte(p.Account + "/" + p.Region + "/" + name))
	return prefix + hex.EncodeToString(sum[:])[:17]
}

func list[T any](ctx context.Context, s *Service, kind string) ([]T, error) {
	k := rowKey(ctx, kind, "")
	rows, err := s.Store.List(ctx, store.Query{Account: k.Account, Region: k.Region, Service: service, Kind: kind})
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

func put(k store.Key, v any) store.RowChange {
	value, _ := json.Marshal(v) // plain structs
	return store.RowChange{Key: k, Value: value, IfVersion: store.Absent}
}

func dryRun(asked *bool) error {
	if awsapi.Val(asked) {
		return awsapi.Errorf(412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
	}
	return nil
}

func tagsOf(specifications []ec2api.TagSpecification, resource string) (map[string]string, error) {
	tags := map[string]string{}
	for _, ts := range specifications {
		if t := awsapi.Val(ts.ResourceType); t != resource {
			return nil, awsapi.Errorf(400, "InvalidParameterValue", "'%s' is not a valid taggable resource type for this operation.", t)
		}
		for _, t := range ts.Tags {
			tags[awsapi.Val(t.Key)] = awsapi.Val(t.Value)
		}
	}
	return tags, nil
}

func shownTags(tags map[string]string) []ec2api.Tag {
	out := []ec2api.Tag{}
	for k, v := range tags {
		out = append(out, ec2api.Tag{Key: awsapi.Ptr(k), Value: awsapi.Ptr(v)})
	}
	slices.SortFunc(out, func(a, b ec2api.Tag) int { return strings.Compare(*a.Key, *b.Key) })
	return out
}

// matches says that something with these properties and tags passes the filters. AWS: all filters must match, by one of
// their values each; * and ? stand for anything; an unknown filter is refused.
func matches(filters []ec2api.Filter, properties, tags map[string]string) (bool, error) {
	for _, f := range filters {
		name := awsapi.Val(f.Name)
		value, known := properties[name]
		set := known
		if tag, ok := strings.CutPrefix(name, "tag:"); ok {
			value, set = tags[tag]
			known = true
		}
		found := false
		if name == "tag-key" {
			known = true
			for k := range tags {
				found = found || slices.ContainsFunc(f.Values, func(v string) bool { return like(v, k) })
			}
		}
		if !known {
			return false, awsapi.Errorf(400, "InvalidParameterValue", "The filter '%s' is invalid", name)
		}
		if !found && !(set && slices.ContainsFunc(f.Values, func(v string) bool { return like(v, value) })) {
			return false, nil
		}
	}
	return true, nil
}

// like compares with a filter value. path.Match's classes and escapes are no part of EC2's patterns.
func like(pattern, value string) bool {
	pattern = strings.NewReplacer(`\`, `\\`, `[`, `\[`).Replace(pattern)
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(value, "/", "\x00"))
	return err == nil && ok
}

// wanted filters a listing by ids first: an id that is not there is an error, as on AWS.
func wanted[T any](all []T, ids []string, id func(T) string, code, what string, filters []ec2api.Filter, properties func(T) (map[string]string, map[string]string)) ([]T, error) {
	out := []T{}
	for _, want := range ids {
		if !slices.ContainsFunc(all, func(x T) bool { return id(x) == want }) {
			return nil, awsapi.Errorf(400, code, "The %s '%s' does not exist", what, want)
		}
	}
	for _, x := range all {
		p, tags := properties(x)
		ok, err := matches(filters, p, tags)
		if err != nil {
			return nil, err
		}
		if ok && (len(ids) == 0 || slices.Contains(ids, id(x))) {
			out = append(out, x)
		}
	}
	return out, nil
}

var keyName = regexp.MustCompile(`^[\x20-\x7e]{1,255}$`)

// CreateKeyPair makes a 2048-bit RSA key pair and gives out the private key, once.
func (s *Service) CreateKeyPair(ctx context.Context, in *ec2api.CreateKeyPairInput) (*ec2api.CreateKeyPairOutput, error) {
	if !keyName.MatchString(in.KeyName) {
		return nil, awsapi.Errorf(400, "InvalidParameterValue", "Value (%s) for parameter KeyName is invalid. It must be 1 to 255 ASCII characters.", in.KeyName)
	}
	if t, f := awsapi.Val(in.KeyType), awsapi.Val(in.KeyFormat); t != "" && t != "rsa" || f != "" && f != "pem" {
		return nil, awsapi.Errorf(400, "InvalidParameterValue", "Mayfly makes key pairs of type rsa in the format pem only, not %s %s", t, f)
	}
	tags, err := tagsOf(in.TagSpecifications, "key-pair")
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := rowKey(ctx, "key-pair", in.KeyName)
	if _, err := s.Store.Get(ctx, k); err == nil {
		return nil, awsapi.Errorf(400, "InvalidKeyPair.Duplicate", "The keypair already exists")
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read key pair %s: %w", in.KeyName, err)
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	sum := sha1.Sum(pkcs8) // AWS: the SHA-1 of the private key in PKCS#8, with colons
	kp := keyPair{ID: newID("key-"), Name: in.KeyName, Created: s.Clock.Now(), Tags: tags, Fingerprint: colons(sum[:])}
	material := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})
	out := &ec2api.CreateKeyPairOutput{KeyPairId: &kp.ID, KeyName: &kp.Name, KeyFingerprint: &kp.Fingerprint, KeyMaterial: awsapi.Ptr(string(material)), Tags: shownTags(tags)}
	return out, awscall.Commit(ctx, s.Store, out, put(k, kp))
}

func colons(b []byte) string {
	parts := make([]string, len(b))
	for i, x := range b {
		parts[i] = hex.EncodeToString([]byte{x})
	}
	return strings.Join(parts, ":")
}

// DescribeKeyPairs lists key pairs.
func (s *Service) DescribeKeyPairs(ctx context.Context, in *ec2api.DescribeKeyPairsInput) (*ec2api.DescribeKeyPairsOutput, error) {
	all, err := list[keyPair](ctx, s, "key-pair")
	if err != nil {
		return nil, err
	}
	ids, id, code, what := in.KeyNames, func(k keyPair) string { return k.Name }, "InvalidKeyPair.NotFound", "key pair"
	if len(in.KeyPairIds) > 0 {
		ids, id = in.KeyPairIds, func(k keyPair) string { return k.ID }
	}
	found, err := wanted(all, ids, id, code, what, in.Filters, func(k keyPair) (map[string]string, map[string]string) {
		return map[string]string{"key-name": k.Name, "key-pair-id": k.ID, "fingerprint": k.Fingerprint}, k.Tags
	})
	if err != nil {
		return nil, err
	}
	out := &ec2api.DescribeKeyPairsOutput{KeyPairs: []ec2api.KeyPairInfo{}}
	for _, k := range found {
		out.KeyPairs = append(out.KeyPairs, ec2api.KeyPairInfo{KeyPairId: &k.ID, KeyName: &k.Name, KeyFingerprint: &k.Fingerprint, KeyType: awsapi.Ptr("rsa"), CreateTime: &k.Created, Tags: shownTags(k.Tags)})
	}
	return out, nil
}

// DeleteKeyPair deletes a key pair; one that is gone is a success.
func (s *Service) DeleteKeyPair(ctx context.Context, in *ec2api.DeleteKeyPairInput) (*ec2api.DeleteKeyPairOutput, error) {
	if in.KeyName == nil && in.KeyPairId == nil {
		return nil, awsapi.Errorf(400, "MissingParameter", "The request must contain the parameter KeyName or KeyPairId")
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := list[keyPair](ctx, s, "key-pair")
	if err != nil {
		return nil, err
	}
	out := &ec2api.DeleteKeyPairOutput{Return: awsapi.Ptr(true)}
	for _, k := range all {
		if in.KeyName != nil && k.Name == *in.KeyName || in.KeyPairId != nil && k.ID == *in.KeyPairId {
			out.KeyPairId = &k.ID
			return out, awscall.Commit(ctx, s.Store, out, store.RowChange{Key: rowKey(ctx, "key-pair", k.Name), Delete: true})
		}
	}
	return out, nil
}

func vpcID(ctx context.Context) string { return fixedID(ctx, "vpc-", "default") }

// DescribeVpcs shows the default VPC.
func (s *Service) DescribeVpcs(ctx context.Context, in *ec2api.DescribeVpcsInput) (*ec2api.DescribeVpcsOutput, error) {
	p := identity.From(ctx)
	vpc := ec2api.Vpc{VpcId: awsapi.Ptr(vpcID(ctx)), CidrBlock: awsapi.Ptr("172.31.0.0/16"), State: awsapi.Ptr("available"), IsDefault: awsapi.Ptr(true), OwnerId: &p.Account,
		InstanceTenancy: awsapi.Ptr("default"), DhcpOptionsId: awsapi.Ptr(fixedID(ctx, "dopt-", "default")), CidrBlockAssociationSet: []ec2api.VpcCidrBlockAssociation{{
			AssociationId: awsapi.Ptr(fixedID(ctx, "vpc-cidr-assoc-", "default")), CidrBlock: awsapi.Ptr("172.31.0.0/16"), CidrBlockState: &ec2api.VpcCidrBlockState{State: awsapi.Ptr("associated")}}}}
	found, err := wanted([]ec2api.Vpc{vpc}, in.VpcIds, func(v ec2api.Vpc) string { return *v.VpcId }, "InvalidVpcID.NotFound", "vpc ID", in.Filters,
		func(v ec2api.Vpc) (map[string]string, map[string]string) {
			return map[string]string{"vpc-id": *v.VpcId, "is-default": "true", "isDefault": "true", "cidr": *v.CidrBlock, "cidr-block-association.cidr-block": *v.CidrBlock, "state": "available", "owner-id": p.Account}, nil
		})
	return &ec2api.DescribeVpcsOutput{Vpcs: found}, err
}

var zones = []string{"a", "b", "c"}

// DescribeSubnets shows the default subnets, one for each zone.
func (s *Service) DescribeSubnets(ctx context.Context, in *ec2api.DescribeSubnetsInput) (*ec2api.DescribeSubnetsOutput, error) {
	p := identity.From(ctx)
	var all []ec2api.Subnet
	for i, z := range zones {
		id := fixedID(ctx, "subnet-", z)
		all = append(all, ec2api.Subnet{SubnetId: &id, VpcId: awsapi.Ptr(vpcID(ctx)), AvailabilityZone: awsapi.Ptr(p.Region + z), AvailabilityZoneId: awsapi.Ptr(zoneID(p.Region, i)),
			CidrBlock: awsapi.Ptr("172.31." + strconv.Itoa(16*i) + ".0/20"), State: awsapi.Ptr("available"), DefaultForAz: awsapi.Ptr(true), MapPublicIpOnLaunch: awsapi.Ptr(true),
			AvailableIpAddressCount: awsapi.Ptr(int64(4091)), OwnerId: &p.Account, AssignIpv6AddressOnCreation: awsapi.Ptr(false), SubnetArn: awsapi.Ptr("arn:aws:ec2:" + p.Region + ":" + p.Account + ":subnet/" + id)})
	}
	found, err := wanted(all, in.SubnetIds, func(x ec2api.Subnet) string { return *x.SubnetId }, "InvalidSubnetID.NotFound", "subnet ID", in.Filters,
		func(x ec2api.Subnet) (map[string]string, map[string]string) {
			return map[string]string{"subnet-id": *x.SubnetId, "vpc-id": *x.VpcId, "availability-zone": *x.AvailabilityZone, "availabilityZone": *x.AvailabilityZone, "availability-zone-id": *x.AvailabilityZoneId,
				"default-for-az": "true", "defaultForAz": "true", "cidr-block": *x.CidrBlock, "state": "available", "owner-id": p.Account, "map-public-ip-on-launch": "true"}, nil
		})
	return &ec2api.DescribeSubnetsOutput{Subnets: found}, err
}

func zoneID(region string, i int) string {
	parts := strings.Split(region, "-")
	if len(parts) < 3 {
		return region + "-az" + strconv.Itoa(i+1)
	}
	return parts[0] + parts[1][:1] + parts[2] + "-az" + strconv.Itoa(i+1)
}

func (s *Service) groups(ctx context.Context) ([]securityGroup, error) {
	made, err := list[securityGroup](ctx, s, "security-group")
	first := securityGroup{ID: fixedID(ctx, "sg-", "default"), Name: "default", Description: "default VPC security group", VPC: vpcID(ctx)}
	first.Rules = firstRules(first.ID, true)
	if slices.ContainsFunc(made, func(g securityGroup) bool { return g.ID == first.ID }) {
		return made, err // its rules were changed
	}
	return append([]securityGroup{first}, made...), err
}

// DescribeSecurityGroups lists security groups; the default one exists from the start.
func (s *Service) DescribeSecurityGroups(ctx context.Context, in *ec2api.DescribeSecurityGroupsInput) (*ec2api.DescribeSecurityGroupsOutput, error) {
	p := identity.From(ctx)
	all, err := s.groups(ctx)
	if err != nil {
		return nil, err
	}
	ids, id := in.GroupIds, func(g securityGroup) string { return g.ID }
	if len(in.GroupNames) > 0 {
		ids, id = in.GroupNames, func(g securityGroup) string { return g.Name }
	}
	found, err := wanted(all, ids, id, "InvalidGroup.NotFound", "security group", in.Filters, func(g securityGroup) (map[string]string, map[string]string) {
		return map[string]string{"group-id": g.ID, "group-name": g.Name, "vpc-id": g.VPC, "description": g.Description, "owner-id": p.Account}, g.Tags
	})
	if err != nil {
		return nil, err
	}
	out := &ec2api.DescribeSecurityGroupsOutput{SecurityGroups: []ec2api.SecurityGroup{}}
	for _, g := range found {
		shown := ec2api.SecurityGroup{GroupId: &g.ID, GroupName: &g.Name, Description: &g.Description, VpcId: &g.VPC, OwnerId: &p.Account, Tags: shownTags(g.Tags),
			SecurityGroupArn:    awsapi.Ptr(groupARN(p, g.ID)),
			IpPermissions:       permissions(p, g.Rules, false),
			IpPermissionsEgress: permissions(p, g.Rules, true)}
		out.SecurityGroups = append(out.SecurityGroups, shown)
	}
	return out, nil
}

func groupARN(p identity.Principal, id string) string {
	return "arn:aws:ec2:" + p.Region + ":" + p.Account + ":security-group/" + id
}

// CreateSecurityGroup makes a security group in the default VPC.
func (s *Service) CreateSecurityGroup(ctx context.Context, in *ec2api.CreateSecurityGroupInput) (*ec2api.CreateSecurityGroupOutput, error) {
	tags, err := tagsOf(in.TagSpecifications, "security-group")
	if err != nil {
		return nil, err
	}
	if vpc := awsapi.Val(in.VpcId); vpc != "" && vpc != vpcID(ctx) {
		return nil, awsapi.Errorf(400, "InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", vpc)
	}
	if strings.HasPrefix(in.GroupName, "sg-") || in.GroupName == "" || len(in.GroupName) > 255 {
		return nil, awsapi.Errorf(400, "InvalidParameterValue", "Value (%s) for parameter groupName is invalid. Group names may not be in the format sg-* and have 1 to 255 characters.", in.GroupName)
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.groups(ctx)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(all, func(g securityGroup) bool { return g.Name == in.GroupName }) {
		return nil, awsapi.Errorf(400, "InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", in.GroupName, vpcID(ctx))
	}
	g := securityGroup{ID: newID("sg-"), Name: in.GroupName, Description: in.Description, VPC: vpcID(ctx), Tags: tags}
	g.Rules = firstRules(g.ID, false)
	out := &ec2api.CreateSecurityGroupOutput{GroupId: &g.ID, Tags: shownTags(tags), SecurityGroupArn: awsapi.Ptr(groupARN(identity.From(ctx), g.ID))}
	return out, awscall.Commit(ctx, s.Store, out, put(rowKey(ctx, "security-group", g.ID), g))
}

// DeleteSecurityGroup deletes a security group by id, or by name.
func (s *Service) DeleteSecurityGroup(ctx context.Context, in *ec2api.DeleteSecurityGroupInput) (*ec2api.DeleteSecurityGroupOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.groups(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		if in.GroupId != nil && g.ID == *in.GroupId || in.GroupId == nil && in.GroupName != nil && g.Name == *in.GroupName {
			if g.Name == "default" {
				return nil, awsapi.Errorf(400, "CannotDelete", `the specified group: "%s" name: "default" cannot be deleted by a user`, g.ID)
			}
			out := &ec2api.DeleteSecurityGroupOutput{Return: awsapi.Ptr(true), GroupId: &g.ID}
			return out, awscall.Commit(ctx, s.Store, out, store.RowChange{Key: rowKey(ctx, "security-group", g.ID), Delete: true})
		}
	}
	return nil, awsapi.Errorf(400, "InvalidGroup.NotFound", "The security group '%s' does not exist", awsapi.Val(in.GroupId)+awsapi.Val(in.GroupName))
}

// DescribeAvailabilityZones shows the zones of the caller's region.
func (s *Service) DescribeAvailabilityZones(ctx context.Context, in *ec2api.DescribeAvailabilityZonesInput) (*ec2api.DescribeAvailabilityZonesOutput, error) {
	region := identity.From(ctx).Region
	var all []ec2api.AvailabilityZone
	for i, z := range zones {
		all = append(all, ec2api.AvailabilityZone{ZoneName: awsapi.Ptr(region + z), ZoneId: awsapi.Ptr(zoneID(region, i)), RegionName: &region, State: awsapi.Ptr("available"),
			ZoneType: awsapi.Ptr("availability-zone"), OptInStatus: awsapi.Ptr("opt-in-not-required"), GroupName: &region, NetworkBorderGroup: &region, Messages: []ec2api.AvailabilityZoneMessage{}})
	}
	found, err := wanted(all, in.ZoneNames, func(z ec2api.AvailabilityZone) string { return *z.ZoneName }, "InvalidParameterValue", "availability zone", in.Filters,
		func(z ec2api.AvailabilityZone) (map[string]string, map[string]string) {
			return map[string]string{"zone-name": *z.ZoneName, "zone-id": *z.ZoneId, "region-name": region, "state": "available", "zone-type": "availability-zone", "opt-in-status": "opt-in-not-required"}, nil
		})
	return &ec2api.DescribeAvailabilityZonesOutput{AvailabilityZones: found}, err
}

// regions are those that need no opting in.
var regions = []string{"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1",
	"eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2"}

// DescribeRegions lists the regions; every one of them is served here.
func (s *Service) DescribeRegions(_ context.Context, in *ec2api.DescribeRegionsInput) (*ec2api.DescribeRegionsOutput, error) {
	found, err := wanted(regions, in.RegionNames, func(r string) string { return r }, "InvalidParameterValue", "region", in.Filters, func(r string) (map[string]string, map[string]string) {
		return map[string]string{"region-name": r, "opt-in-status": "opt-in-not-required", "endpoint": "ec2." + r + ".amazonaws.com"}, nil
	})
	out := &ec2api.DescribeRegionsOutput{Regions: []ec2api.Region{}}
	for _, r := range found {
		out.Regions = append(out.Regions, ec2api.Region{RegionName: awsapi.Ptr(r), Endpoint: awsapi.Ptr("ec2." + r + ".amazonaws.com"), OptInStatus: awsapi.Ptr("opt-in-not-required")})
	}
	return out, err
}
