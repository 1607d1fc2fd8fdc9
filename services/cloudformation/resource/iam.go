package resource

import (
	"context"
	"slices"
)

var iamRole = &Type{
	Name:       "AWS::IAM::Role",
	Properties: "AssumeRolePolicyDocument!~ Description~ ManagedPolicyArns~ MaxSessionDuration~ Path PermissionsBoundary~ Policies~ RoleName Tags~",
	Attributes: []string{"Arn", "RoleId"},
	IAM:        true, NameOf: "RoleName",
	create: func(ctx context.Context, c *call) error {
		in := c.pick("Description", "MaxSessionDuration", "Path", "PermissionsBoundary")
		in["RoleName"], in["AssumeRolePolicyDocument"] = c.name("RoleName", 64), c.str("AssumeRolePolicyDocument")
		if tags := c.tags(); len(tags) > 0 {
			in["Tags"] = tags
		}
		out, err := c.do(ctx, "iam", "CreateRole", in)
		if err != nil {
			return err
		}
		c.physical = text(in["RoleName"])
		c.attrs = map[string]string{"Arn": text(member(out, "Role", "Arn")), "RoleId": text(member(out, "Role", "RoleId"))}
		return c.rolePolicies(ctx, nil)
	},
	update: func(ctx context.Context, c *call) error {
		if c.changed("AssumeRolePolicyDocument") {
			if _, err := c.do(ctx, "iam", "UpdateAssumeRolePolicy", map[string]any{"RoleName": c.physical, "PolicyDocument": c.str("AssumeRolePolicyDocument")}); err != nil {
				return err
			}
		}
		if c.changed("Description", "MaxSessionDuration") {
			in := c.pick("Description", "MaxSessionDuration")
			in["RoleName"] = c.physical
			if _, err := c.do(ctx, "iam", "UpdateRole", in); err != nil {
				return err
			}
		}
		if c.changed("PermissionsBoundary") {
			op, in := "DeleteRolePermissionsBoundary", map[string]any{"RoleName": c.physical}
			if c.str("PermissionsBoundary") != "" {
				op, in["PermissionsBoundary"] = "PutRolePermissionsBoundary", c.str("PermissionsBoundary")
			}
			if _, err := c.do(ctx, "iam", op, in); err != nil {
				return err
			}
		}
		if dropped := c.droppedTags(); len(dropped) > 0 {
			if _, err := c.do(ctx, "iam", "UntagRole", map[string]any{"RoleName": c.physical, "TagKeys": dropped}); err != nil {
				return err
			}
		}
		if tags := c.tags(); len(tags) > 0 && c.changed("Tags") {
			if _, err := c.do(ctx, "iam", "TagRole", map[string]any{"RoleName": c.physical, "Tags": tags}); err != nil {
				return err
			}
		}
		return c.rolePolicies(ctx, c.old)
	},
	delete: func(ctx context.Context, c *call) error {
		role := map[string]any{"RoleName": c.physical}
		attached, err := c.read(ctx, "iam", "ListAttachedRolePolicies", role)
		if err != nil {
			return gone(err)
		}
		for _, p := range list(attached["AttachedPolicies"]) {
			if _, err := c.do(ctx, "iam", "DetachRolePolicy", map[string]any{"RoleName": c.physical, "PolicyArn": member(p, "PolicyArn")}); gone(err) != nil {
				return err
			}
		}
		inline, err := c.read(ctx, "iam", "ListRolePolicies", role)
		if err != nil {
			return gone(err)
		}
		for _, name := range texts(inline["PolicyNames"]) {
			if _, err := c.do(ctx, "iam", "DeleteRolePolicy", map[string]any{"RoleName": c.physical, "PolicyName": name}); gone(err) != nil {
				return err
			}
		}
		_, err = c.do(ctx, "iam", "DeleteRole", role)
		return gone(err)
	},
}

// rolePolicies gives a role its inline and managed policies and takes those that it had before.
func (c *call) rolePolicies(ctx context.Context, old map[string]any) error {
	var names []string
	for _, p := range list(c.props["Policies"]) {
		name := text(member(p, "PolicyName"))
		names = append(names, name)
		if _, err := c.do(ctx, "iam", "PutRolePolicy", map[string]any{"RoleName": c.physical, "PolicyName": name, "PolicyDocument": text(member(p, "PolicyDocument"))}); err != nil {
			return err
		}
	}
	for _, p := range list(old["Policies"]) {
		if name := text(member(p, "PolicyName")); !slices.Contains(names, name) {
			if _, err := c.do(ctx, "iam", "DeleteRolePolicy", map[string]any{"RoleName": c.physical, "PolicyName": name}); gone(err) != nil {
				return err
			}
		}
	}
	managed := texts(c.props["ManagedPolicyArns"])
	for _, arn := range managed {
		if _, err := c.do(ctx, "iam", "AttachRolePolicy", map[string]any{"RoleName": c.physical, "PolicyArn": arn}); err != nil {
			return err
		}
	}
	for _, arn := range texts(old["ManagedPolicyArns"]) {
		if !slices.Contains(managed, arn) {
			if _, err := c.do(ctx, "iam", "DetachRolePolicy", map[string]any{"RoleName": c.physical, "PolicyArn": arn}); gone(err) != nil {
				return err
			}
		}
	}
	return nil
}

var iamPolicy = &Type{
	Name:       "AWS::IAM::Policy",
	Properties: "PolicyDocument!~ PolicyName! Roles~ Users~",
	Attributes: []string{"Id"},
	IAM:        true,
	create: func(ctx context.Context, c *call) error {
		if len(list(c.props["Roles"]))+len(list(c.props["Users"])) == 0 {
			return failf("At least one of [Groups,Roles,Users] must be non-empty.")
		}
		c.physical = c.name("", 128)
		c.attrs = map[string]string{"Id": c.physical}
		return c.putPolicies(ctx)
	},
	update: func(ctx context.Context, c *call) error {
		if err := c.putPolicies(ctx); err != nil {
			return err
		}
		return c.dropPolicies(ctx, c.old, c.props)
	},
	delete: func(ctx context.Context, c *call) error { return c.dropPolicies(ctx, c.props, nil) },
}

func (c *call) putPolicies(ctx context.Context) error {
	for _, op := range holders(c.props) {
		for _, name := range op.names {
			in := map[string]any{op.member: name, "PolicyName": c.str("PolicyName"), "PolicyDocument": c.str("PolicyDocument")}
			if _, err := c.do(ctx, "iam", "Put"+op.noun+"Policy", in); err != nil {
				return err
			}
		}
	}
	return nil
}

type holder struct {
	noun, member string
	names        []string
}

func holders(props map[string]any) []holder {
	return []holder{{"Role", "RoleName", texts(props["Roles"])}, {"User", "UserName", texts(props["Users"])}}
}

// dropPolicies takes the policy from those who have it in old and not in now.
func (c *call) dropPolicies(ctx context.Context, old, now map[string]any) error {
	kept := holders(now)
	for i, h := range holders(old) {
		for _, name := range h.names {
			if slices.Contains(kept[i].names, name) {
				continue
			}
			if _, err := c.do(ctx, "iam", "Delete"+h.noun+"Policy", map[string]any{h.member: name, "PolicyName": c.str("PolicyName")}); gone(err) != nil {
				return err
			}
		}
	}
	return nil
}

var iamInstanceProfile = &Type{
	Name:       "AWS::IAM::InstanceProfile",
	Properties: "InstanceProfileName Path Roles!~",
	Attributes: []string{"Arn"},
	IAM:        true, NameOf: "InstanceProfileName",
	create: func(ctx context.Context, c *call) error {
		in := c.pick("Path")
		in["InstanceProfileName"] = c.name("InstanceProfileName", 128)
		out, err := c.do(ctx, "iam", "CreateInstanceProfile", in)
		if err != nil {
			return err
		}
		c.physical = text(in["InstanceProfileName"])
		c.attrs = map[string]string{"Arn": text(member(out, "InstanceProfile", "Arn"))}
		return c.profileRoles(ctx, nil, texts(c.props["Roles"]))
	},
	update: func(ctx context.Context, c *call) error {
		return c.profileRoles(ctx, texts(c.old["Roles"]), texts(c.props["Roles"]))
	},
	delete: func(ctx context.Context, c *call) error {
		if err := c.profileRoles(ctx, texts(c.props["Roles"]), nil); err != nil {
			return err
		}
		_, err := c.do(ctx, "iam", "DeleteInstanceProfile", map[string]any{"InstanceProfileName": c.physical})
		return gone(err)
	},
}

func (c *call) profileRoles(ctx context.Context, had, has []string) error {
	for _, r := range had {
		if !slices.Contains(has, r) {
			if _, err := c.do(ctx, "iam", "RemoveRoleFromInstanceProfile", map[string]any{"InstanceProfileName": c.physical, "RoleName": r}); gone(err) != nil {
				return err
			}
		}
	}
	for _, r := range has {
		if !slices.Contains(had, r) {
			if _, err := c.do(ctx, "iam", "AddRoleToInstanceProfile", map[string]any{"InstanceProfileName": c.physical, "RoleName": r}); err != nil {
				return err
			}
		}
	}
	return nil
}
