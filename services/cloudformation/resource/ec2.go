package resource

import "context"

var keyPair = &Type{
	Name:       "AWS::EC2::KeyPair",
	Properties: "KeyFormat KeyName! KeyType PublicKeyMaterial Tags",
	Attributes: []string{"KeyFingerprint", "KeyPairId"},
	NameOf:     "KeyName",
	create: func(ctx context.Context, c *call) error {
		op, in := "CreateKeyPair", c.pick("KeyName", "KeyType", "KeyFormat")
		if m := c.str("PublicKeyMaterial"); m != "" {
			op, in = "ImportKeyPair", map[string]any{"KeyName": c.props["KeyName"], "PublicKeyMaterial": []byte(m)}
		}
		if tags := c.tags(); len(tags) > 0 {
			in["TagSpecifications"] = []any{map[string]any{"ResourceType": "key-pair", "Tags": tags}}
		}
		out, err := c.do(ctx, "ec2", op, in)
		if err != nil {
			return err
		}
		c.physical = c.str("KeyName")
		c.attrs = map[string]string{"KeyFingerprint": text(out["KeyFingerprint"]), "KeyPairId": text(out["KeyPairId"])}
		return nil
	},
	delete: func(ctx context.Context, c *call) error {
		_, err := c.do(ctx, "ec2", "DeleteKeyPair", map[string]any{"KeyName": c.physical})
		return gone(err)
	},
}

var securityGroup = &Type{
	Name:       "AWS::EC2::SecurityGroup",
	Properties: "GroupDescription! GroupName SecurityGroupEgress~ SecurityGroupIngress~ Tags VpcId",
	Attributes: []string{"GroupId", "VpcId"},
	NameOf:     "GroupName",
	create: func(ctx context.Context, c *call) error {
		in := map[string]any{"GroupName": c.name("GroupName", 255), "Description": c.props["GroupDescription"], "VpcId": c.props["VpcId"]}
		if tags := c.tags(); len(tags) > 0 {
			in["TagSpecifications"] = []any{map[string]any{"ResourceType": "security-group", "Tags": tags}}
		}
		out, err := c.do(ctx, "ec2", "CreateSecurityGroup", in)
		if err != nil {
			return err
		}
		c.physical = text(out["GroupId"])
		c.attrs = map[string]string{"GroupId": c.physical, "VpcId": c.str("VpcId")}
		return c.rules(ctx, "Authorize", c.props)
	},
	update: func(ctx context.Context, c *call) error {
		if err := c.rules(ctx, "Revoke", c.old); err != nil {
			return err
		}
		return c.rules(ctx, "Authorize", c.props)
	},
	delete: func(ctx context.Context, c *call) error {
		_, err := c.do(ctx, "ec2", "DeleteSecurityGroup", map[string]any{"GroupId": c.physical})
		return gone(err)
	},
}

func (c *call) rules(ctx context.Context, verb string, props map[string]any) error {
	for _, direction := range []string{"Ingress", "Egress"} {
		var permissions []any
		for _, r := range list(props["SecurityGroup"+direction]) {
			rule, ok := r.(map[string]any)
			if !ok {
				return failf("SecurityGroup%s must be a list of objects", direction)
			}
			p := map[string]any{}
			for k, v := range rule {
				described := func(name string, v any) []any {
					e := map[string]any{name: v}
					if d := rule["Description"]; d != nil {
						e["Description"] = d
					}
					return []any{e}
				}
				switch k {
				case "IpProtocol", "FromPort", "ToPort":
					p[k] = v
				case "CidrIp":
					p["IpRanges"] = described("CidrIp", v)
				case "CidrIpv6":
					p["Ipv6Ranges"] = described("CidrIpv6", v)
				case "SourceSecurityGroupId", "DestinationSecurityGroupId":
					p["UserIdGroupPairs"] = described("GroupId", v)
				case "Description":
				default:
					return failf("Encountered unsupported property SecurityGroup%s.%s", direction, k)
				}
			}
			permissions = append(permissions, p)
		}
		if permissions == nil {
			continue
		}
		if _, err := c.do(ctx, "ec2", verb+"SecurityGroup"+direction, map[string]any{"GroupId": c.physical, "IpPermissions": permissions}); err != nil {
			if e := apiError(err); verb == "Revoke" && e != nil && e.Code == "InvalidPermission.NotFound" {
				continue
			}
			return err
		}
	}
	return nil
}
