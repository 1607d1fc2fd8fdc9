package ec2

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/ec2api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// rule is one line of a security group: a protocol, its ports and one peer. Nothing here enforces it: what Mayfly runs
// listens on the loopback only.
type rule struct {
	ID          string `json:"id"`
	Egress      bool   `json:"egress,omitempty"`
	Protocol    string `json:"protocol"` // tcp, udp, icmp, icmpv6, a number, or -1 for all
	From        int64  `json:"from"`
	To          int64  `json:"to"`
	CIDR        string `json:"cidr,omitempty"`
	CIDR6       string `json:"cidr6,omitempty"`
	Group       string `json:"group,omitempty"`
	Description string `json:"description,omitempty"`
}

func (r rule) same(o rule) bool {
	r.ID, o.ID, r.Description, o.Description = "", "", "", ""
	return r == o
}

func (r rule) String() string {
	ports := ""
	if r.Protocol != "-1" {
		ports = fmt.Sprintf(", from port: %d, to port: %d", r.From, r.To)
	}
	protocol := strings.ToUpper(r.Protocol)
	if r.Protocol == "-1" {
		protocol = "ALL"
	}
	return fmt.Sprintf("peer: %s, %s%s, ALLOW", r.CIDR+r.CIDR6+r.Group, protocol, ports)
}

// firstRules are what AWS gives a new group: everything may leave; into the default one its own members may come.
func firstRules(id string, isDefault bool) []rule {
	out := []rule{{ID: "sgr-" + strings.TrimPrefix(id, "sg-"), Egress: true, Protocol: "-1", From: -1, To: -1, CIDR: "0.0.0.0/0"}}
	if isDefault {
		out = append(out, rule{ID: "sgr-1" + strings.TrimPrefix(id, "sg-")[1:], Protocol: "-1", From: -1, To: -1, Group: id})
	}
	return out
}

// permissions shows the rules of one direction as AWS does: the peers of the same ports together.
func permissions(p identity.Principal, rules []rule, egress bool) []ec2api.IpPermission {
	out := []ec2api.IpPermission{}
	for _, r := range rules {
		if r.Egress != egress {
			continue
		}
		i := slices.IndexFunc(out, func(x ec2api.IpPermission) bool {
			return *x.IpProtocol == r.Protocol && (r.Protocol == "-1" || *x.FromPort == r.From && *x.ToPort == r.To)
		})
		if i < 0 {
			x := ec2api.IpPermission{IpProtocol: &r.Protocol, IpRanges: []ec2api.IpRange{}, Ipv6Ranges: []ec2api.Ipv6Range{}, PrefixListIds: []ec2api.PrefixListId{}, UserIdGroupPairs: []ec2api.UserIdGroupPair{}}
			if r.Protocol != "-1" {
				x.FromPort, x.ToPort = &r.From, &r.To
			}
			out, i = append(out, x), len(out)
		}
		var text *string
		if r.Description != "" {
			text = &r.Description
		}
		switch {
		case r.CIDR != "":
			out[i].IpRanges = append(out[i].IpRanges, ec2api.IpRange{CidrIp: &r.CIDR, Description: text})
		case r.CIDR6 != "":
			out[i].Ipv6Ranges = append(out[i].Ipv6Ranges, ec2api.Ipv6Range{CidrIpv6: &r.CIDR6, Description: text})
		default:
			out[i].UserIdGroupPairs = append(out[i].UserIdGroupPairs, ec2api.UserIdGroupPair{GroupId: &r.Group, UserId: &p.Account, Description: text})
		}
	}
	return out
}

func malformed(format string, args ...any) error {
	return awsapi.Errorf(400, "InvalidParameterValue", format, args...)
}

func parseCIDR(s string, six bool) (string, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is6() != six {
		return "", malformed("CIDR block %s is malformed", s)
	}
	return p.Masked().String(), nil
}

var protocols = map[string]string{"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "all": "-1"}

// parseRules reads the permissions of a request: the short form of one rule, and the long one.
func parseRules(egress bool, short ec2api.IpPermission, cidr *string, long []ec2api.IpPermission, all []securityGroup) ([]rule, error) {
	if short.IpProtocol != nil || cidr != nil {
		if cidr != nil {
			short.IpRanges = []ec2api.IpRange{{CidrIp: cidr}}
		}
		long = append(slices.Clone(long), short)
	}
	if len(long) == 0 {
		return nil, awsapi.Errorf(400, "MissingParameter", "The request must contain the parameter ipPermissions")
	}
	var out []rule
	for _, x := range long {
		protocol := strings.ToLower(awsapi.Val(x.IpProtocol))
		if p, ok := protocols[protocol]; ok {
			protocol = p
		}
		n, err := strconv.Atoi(protocol)
		named := protocol == "tcp" || protocol == "udp" || protocol == "icmp" || protocol == "icmpv6"
		if !named && (err != nil || n < -1 || n > 255) {
			return nil, awsapi.Errorf(400, "InvalidPermission.Malformed", "Invalid value '%s' for IP protocol. Unknown protocol.", protocol)
		}
		base := rule{Egress: egress, Protocol: protocol, From: -1, To: -1}
		if named {
			if x.FromPort == nil || x.ToPort == nil {
				return nil, malformed("Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
			}
			base.From, base.To = *x.FromPort, *x.ToPort
			if strings.HasPrefix(protocol, "icmp") {
				if base.From < -1 || base.From > 255 || base.To < -1 || base.To > 255 {
					return nil, malformed("ICMP code (%d) out of range", base.From)
				}
			} else if base.From < 0 || base.To > 65535 || base.From > base.To {
				return nil, malformed("Invalid TCP/UDP port range (%d:%d)", base.From, base.To)
			}
		}
		before := len(out)
		for _, r := range x.IpRanges {
			one := base
			if one.CIDR, err = parseCIDR(awsapi.Val(r.CidrIp), false); err != nil {
				return nil, err
			}
			one.Description = awsapi.Val(r.Description)
			out = append(out, one)
		}
		for _, r := range x.Ipv6Ranges {
			one := base
			if one.CIDR6, err = parseCIDR(awsapi.Val(r.CidrIpv6), true); err != nil {
				return nil, err
			}
			one.Description = awsapi.Val(r.Description)
			out = append(out, one)
		}
		for _, r := range x.UserIdGroupPairs {
			g, err := find(all, r.GroupId, r.GroupName)
			if err != nil {
				return nil, err
			}
			one := base
			one.Group, one.Description = all[g].ID, awsapi.Val(r.Description)
			out = append(out, one)
		}
		if len(x.PrefixListIds) > 0 {
			return nil, awsapi.Errorf(400, "InvalidPrefixListID.NotFound", "The prefix list ID '%s' does not exist", awsapi.Val(x.PrefixListIds[0].PrefixListId))
		}
		if len(out) == before {
			return nil, awsapi.Errorf(400, "MissingParameter", "Either 'cidrIp', 'cidrIpv6', 'prefixListId' or a source security group must be specified.")
		}
	}
	return out, nil
}

// find is a group's place by id, or else by name.
func find(all []securityGroup, id, name *string) (int, error) {
	asked := awsapi.Val(id)
	if asked == "" {
		asked = awsapi.Val(name)
	}
	i := slices.IndexFunc(all, func(g securityGroup) bool {
		return id != nil && g.ID == *id || id == nil && name != nil && g.Name == *name
	})
	switch {
	case i >= 0:
		return i, nil
	case asked == "":
		return 0, awsapi.Errorf(400, "MissingParameter", "The request must contain the parameter groupName or groupId")
	}
	return 0, awsapi.Errorf(400, "InvalidGroup.NotFound", "The security group '%s' does not exist", asked)
}

// changeRules is the common part of the four operations: it finds the group, has change make its new rules, and commits.
func (s *Service) changeRules(ctx context.Context, id, name *string, dry *bool, out func(group string, touched []rule) any, change func(securityGroup, []securityGroup) (rules, touched []rule, err error)) error {
	if err := dryRun(dry); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.groups(ctx)
	if err != nil {
		return err
	}
	i, err := find(all, id, name)
	if err != nil {
		return err
	}
	g := all[i]
	rules, touched, err := change(g, all)
	if err != nil {
		return err
	}
	g.Rules = rules
	row := put(rowKey(ctx, "security-group", g.ID), g)
	row.IfVersion = store.AnyVersion
	return awscall.Commit(ctx, s.Store, out(g.ID, touched), row)
}

func authorize(egress bool, short ec2api.IpPermission, cidr *string, long []ec2api.IpPermission) func(securityGroup, []securityGroup) ([]rule, []rule, error) {
	return func(g securityGroup, all []securityGroup) ([]rule, []rule, error) {
		added, err := parseRules(egress, short, cidr, long, all)
		if err != nil {
			return nil, nil, err
		}
		rules := slices.Clone(g.Rules)
		for i := range added {
			if slices.ContainsFunc(rules, added[i].same) {
				return nil, nil, awsapi.Errorf(400, "InvalidPermission.Duplicate", "the specified rule %q already exists", added[i].String())
			}
			added[i].ID = newID("sgr-")
			rules = append(rules, added[i])
		}
		return rules, added, nil
	}
}

func revoke(egress bool, ids []string, short ec2api.IpPermission, cidr *string, long []ec2api.IpPermission) func(securityGroup, []securityGroup) ([]rule, []rule, error) {
	return func(g securityGroup, all []securityGroup) ([]rule, []rule, error) {
		var gone []rule
		rules := slices.Clone(g.Rules)
		drop := func(what string, match func(rule) bool) error {
			i := slices.IndexFunc(rules, match)
			if i < 0 {
				return awsapi.Errorf(400, "InvalidPermission.NotFound", "The specified rule %s does not exist in this security group.", what)
			}
			gone = append(gone, rules[i])
			rules = slices.Delete(rules, i, i+1)
			return nil
		}
		for _, id := range ids {
			if err := drop(id, func(r rule) bool { return r.ID == id && r.Egress == egress }); err != nil {
				return nil, nil, err
			}
		}
		if len(ids) > 0 && short.IpProtocol == nil && cidr == nil && len(long) == 0 {
			return rules, gone, nil
		}
		asked, err := parseRules(egress, short, cidr, long, all)
		if err != nil {
			return nil, nil, err
		}
		for _, r := range asked {
			if err := drop(strconv.Quote(r.String()), r.same); err != nil {
				return nil, nil, err
			}
		}
		return rules, gone, nil
	}
}

func shownRules(p identity.Principal, group string, rules []rule) []ec2api.SecurityGroupRule {
	out := make([]ec2api.SecurityGroupRule, len(rules))
	for i, r := range rules {
		out[i] = ec2api.SecurityGroupRule{SecurityGroupRuleId: &r.ID, GroupId: &group, GroupOwnerId: &p.Account, IsEgress: &r.Egress, IpProtocol: &r.Protocol, FromPort: &r.From, ToPort: &r.To}
		if r.CIDR != "" {
			out[i].CidrIpv4 = &r.CIDR
		}
		if r.CIDR6 != "" {
			out[i].CidrIpv6 = &r.CIDR6
		}
		if r.Group != "" {
			out[i].ReferencedGroupInfo = &ec2api.ReferencedSecurityGroup{GroupId: &r.Group, UserId: &p.Account}
		}
		if r.Description != "" {
			out[i].Description = &r.Description
		}
	}
	return out
}

// AuthorizeSecurityGroupIngress adds rules for what may come in.
func (s *Service) AuthorizeSecurityGroupIngress(ctx context.Context, in *ec2api.AuthorizeSecurityGroupIngressInput) (*ec2api.AuthorizeSecurityGroupIngressOutput, error) {
	short := ec2api.IpPermission{IpProtocol: in.IpProtocol, FromPort: in.FromPort, ToPort: in.ToPort}
	if in.SourceSecurityGroupName != nil {
		short.IpProtocol, short.UserIdGroupPairs = orAll(in.IpProtocol), []ec2api.UserIdGroupPair{{GroupName: in.SourceSecurityGroupName}}
	}
	out := &ec2api.AuthorizeSecurityGroupIngressOutput{Return: awsapi.Ptr(true)}
	return out, s.changeRules(ctx, in.GroupId, in.GroupName, in.DryRun, func(group string, t []rule) any {
		out.SecurityGroupRules = shownRules(identity.From(ctx), group, t)
		return out
	}, authorize(false, short, in.CidrIp, in.IpPermissions))
}

// AuthorizeSecurityGroupEgress adds rules for what may leave.
func (s *Service) AuthorizeSecurityGroupEgress(ctx context.Context, in *ec2api.AuthorizeSecurityGroupEgressInput) (*ec2api.AuthorizeSecurityGroupEgressOutput, error) {
	out := &ec2api.AuthorizeSecurityGroupEgressOutput{Return: awsapi.Ptr(true)}
	return out, s.changeRules(ctx, &in.GroupId, nil, in.DryRun, func(group string, t []rule) any {
		out.SecurityGroupRules = shownRules(identity.From(ctx), group, t)
		return out
	}, authorize(true, ec2api.IpPermission{IpProtocol: in.IpProtocol, FromPort: in.FromPort, ToPort: in.ToPort}, in.CidrIp, in.IpPermissions))
}

// RevokeSecurityGroupIngress takes rules for what may come in away.
func (s *Service) RevokeSecurityGroupIngress(ctx context.Context, in *ec2api.RevokeSecurityGroupIngressInput) (*ec2api.RevokeSecurityGroupIngressOutput, error) {
	short := ec2api.IpPermission{IpProtocol: in.IpProtocol, FromPort: in.FromPort, ToPort: in.ToPort}
	if in.SourceSecurityGroupName != nil {
		short.IpProtocol, short.UserIdGroupPairs = orAll(in.IpProtocol), []ec2api.UserIdGroupPair{{GroupName: in.SourceSecurityGroupName}}
	}
	out := &ec2api.RevokeSecurityGroupIngressOutput{Return: awsapi.Ptr(true)}
	return out, s.changeRules(ctx, in.GroupId, in.GroupName, in.DryRun, func(string, []rule) any { return out }, revoke(false, in.SecurityGroupRuleIds, short, in.CidrIp, in.IpPermissions))
}

// RevokeSecurityGroupEgress takes rules for what may leave away.
func (s *Service) RevokeSecurityGroupEgress(ctx context.Context, in *ec2api.RevokeSecurityGroupEgressInput) (*ec2api.RevokeSecurityGroupEgressOutput, error) {
	out := &ec2api.RevokeSecurityGroupEgressOutput{Return: awsapi.Ptr(true)}
	return out, s.changeRules(ctx, &in.GroupId, nil, in.DryRun, func(string, []rule) any { return out },
		revoke(true, in.SecurityGroupRuleIds, ec2api.IpPermission{IpProtocol: in.IpProtocol, FromPort: in.FromPort, ToPort: in.ToPort}, in.CidrIp, in.IpPermissions))
}

func orAll(protocol *string) *string {
	if protocol == nil {
		return awsapi.Ptr("-1")
	}
	return protocol
}
