package resource

import (
	"context"
	"encoding/json"
	"slices"
)

const emr = "elasticmapreduce"

var emrCluster = &Type{
	Name: "AWS::EMR::Cluster",
	Properties: "AdditionalInfo Applications AutoScalingRole AutoTerminationPolicy~ BootstrapActions Configurations CustomAmiId EbsRootVolumeIops " +
		"EbsRootVolumeSize EbsRootVolumeThroughput Instances! JobFlowRole! KerberosAttributes LogEncryptionKmsKeyId LogUri ManagedScalingPolicy~ " +
		"Name! OSReleaseLabel PlacementGroupConfigs ReleaseLabel ScaleDownBehavior SecurityConfiguration ServiceRole! StepConcurrencyLevel~ Steps Tags~ VisibleToAllUsers~",
	Attributes: []string{"Id", "MasterPublicDNS"},
	// AWS: of the instances, the protection can be changed while the cluster lives.
	within: func(property string, before, after json.RawMessage) bool {
		a, err := object(before)
		b, err2 := object(after)
		if property != "Instances" || err != nil || err2 != nil {
			return false
		}
		delete(a, "TerminationProtected")
		delete(b, "TerminationProtected")
		return text(a) == text(b)
	},
	create: func(ctx context.Context, c *call) error {
		in := c.pick("AdditionalInfo", "Applications", "AutoScalingRole", "AutoTerminationPolicy", "CustomAmiId", "EbsRootVolumeIops", "EbsRootVolumeSize",
			"EbsRootVolumeThroughput", "JobFlowRole", "KerberosAttributes", "LogEncryptionKmsKeyId", "LogUri", "ManagedScalingPolicy", "Name",
			"OSReleaseLabel", "PlacementGroupConfigs", "ReleaseLabel", "ScaleDownBehavior", "SecurityConfiguration", "ServiceRole", "StepConcurrencyLevel", "VisibleToAllUsers")
		in["BootstrapActions"] = c.props["BootstrapActions"]
		in["Instances"] = instances(c.props["Instances"])
		in["Configurations"] = configurations(c.props["Configurations"])
		in["Steps"] = steps(c.props["Steps"])
		in["Tags"] = append(c.tags(), c.ownTags()...)
		out, err := c.do(ctx, emr, "RunJobFlow", in)
		if err != nil {
			return err
		}
		c.physical = text(out["JobFlowId"])
		c.waiting, c.wake = true, c.physical
		return nil
	},
	update: func(ctx context.Context, c *call) error {
		id := c.physical
		if now := text(member(c.props["Instances"], "TerminationProtected")); now != text(member(c.old["Instances"], "TerminationProtected")) {
			if now == "" {
				now = "false"
			}
			if _, err := c.do(ctx, emr, "SetTerminationProtection", map[string]any{"JobFlowIds": []any{id}, "TerminationProtected": now}); err != nil {
				return err
			}
		}
		if c.changed("VisibleToAllUsers") {
			if _, err := c.do(ctx, emr, "SetVisibleToAllUsers", map[string]any{"JobFlowIds": []any{id}, "VisibleToAllUsers": c.props["VisibleToAllUsers"] == nil || c.str("VisibleToAllUsers") == "true"}); err != nil {
				return err
			}
		}
		if c.changed("StepConcurrencyLevel") {
			level := c.props["StepConcurrencyLevel"]
			if level == nil {
				level = 1
			}
			if _, err := c.do(ctx, emr, "ModifyCluster", map[string]any{"ClusterId": id, "StepConcurrencyLevel": level}); err != nil {
				return err
			}
		}
		for _, policy := range []string{"AutoTerminationPolicy", "ManagedScalingPolicy"} {
			if !c.changed(policy) {
				continue
			}
			op, in := "Remove"+policy, map[string]any{"ClusterId": id}
			if c.props[policy] != nil {
				op, in[policy] = "Put"+policy, c.props[policy]
			}
			if _, err := c.do(ctx, emr, op, in); err != nil {
				return err
			}
		}
		if dropped := c.droppedTags(); len(dropped) > 0 {
			if _, err := c.do(ctx, emr, "RemoveTags", map[string]any{"ResourceId": id, "TagKeys": dropped}); err != nil {
				return err
			}
		}
		if tags := c.tags(); len(tags) > 0 && c.changed("Tags") {
			if _, err := c.do(ctx, emr, "AddTags", map[string]any{"ResourceId": id, "Tags": tags}); err != nil {
				return err
			}
		}
		return nil
	},
	delete: func(ctx context.Context, c *call) error {
		cluster, err := c.cluster(ctx)
		if err != nil || cluster == nil || ended(cluster) {
			return err
		}
		if text(member(cluster, "Status", "State")) != "TERMINATING" {
			if _, err := c.do(ctx, emr, "TerminateJobFlows", map[string]any{"JobFlowIds": []any{c.physical}}); err != nil {
				return err
			}
		}
		c.waiting, c.wake = true, c.physical
		return nil
	},
	poll: func(ctx context.Context, c *call) error {
		cluster, err := c.cluster(ctx)
		if err != nil {
			return err
		}
		if c.Of == "delete" {
			if cluster != nil && !ended(cluster) {
				c.waiting, c.wake = true, c.physical
			}
			return nil
		}
		if cluster == nil {
			return failf("Cluster %s does not exist", c.physical)
		}
		switch state := text(member(cluster, "Status", "State")); state {
		case "RUNNING", "WAITING":
			c.attrs = map[string]string{"Id": c.physical, "MasterPublicDNS": text(cluster["MasterPublicDnsName"])}
		case "TERMINATED", "TERMINATED_WITH_ERRORS":
			reason := member(cluster, "Status", "StateChangeReason")
			return failf("Resource handler returned message: \"Cluster %s is %s: %s: %s\" (RequestToken: %s, HandlerErrorCode: NotStabilized)",
				c.physical, state, text(member(reason, "Code")), text(member(reason, "Message")), token(c.key))
		default:
			c.waiting, c.wake = true, c.physical
		}
		return nil
	},
}

// cluster describes the cluster; nil: there is none of that id.
func (c *call) cluster(ctx context.Context) (map[string]any, error) {
	out, err := c.read(ctx, emr, "DescribeCluster", map[string]any{"ClusterId": c.physical})
	if err != nil {
		if e := apiError(err); e != nil && e.Code == "InvalidRequestException" {
			return nil, nil
		}
		return nil, err
	}
	cluster, _ := out["Cluster"].(map[string]any)
	return cluster, nil
}

func ended(cluster map[string]any) bool {
	return slices.Contains([]string{"TERMINATED", "TERMINATED_WITH_ERRORS"}, text(member(cluster, "Status", "State")))
}

// rename copies an object with some members under another name.
func rename(v any, names map[string]string, values map[string]func(any) any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := make(map[string]any, len(m))
	for k, e := range m {
		if f := values[k]; f != nil {
			e = f(e)
		}
		if n := names[k]; n != "" {
			k = n
		}
		out[k] = e
	}
	return out
}

func each(v any, f func(any) any) any {
	l, ok := v.([]any)
	if !ok {
		return v
	}
	out := make([]any, len(l))
	for i, e := range l {
		out[i] = f(e)
	}
	return out
}

// keyValues is a list of {Key, Value} for what CloudFormation takes as such, or an object.
func keyValues(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := []any{}
	for _, k := range keys {
		out = append(out, map[string]any{"Key": k, "Value": m[k]})
	}
	return out
}

func configurations(v any) any {
	return each(v, func(e any) any {
		return rename(e, map[string]string{"ConfigurationProperties": "Properties"}, map[string]func(any) any{"Configurations": configurations})
	})
}

func jarStep(v any) any {
	return rename(v, map[string]string{"StepProperties": "Properties"}, map[string]func(any) any{"StepProperties": keyValues})
}

func steps(v any) any {
	return each(v, func(e any) any { return rename(e, nil, map[string]func(any) any{"HadoopJarStep": jarStep}) })
}

// instances puts groups and fleets, which CloudFormation names by role, into the lists that the API takes.
func instances(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{
		// AWS: a cluster made by CloudFormation waits for steps, though the API's default is to end.
		"KeepJobFlowAliveWhenNoSteps": true,
	}
	var groups, fleets []any
	add := func(to *[]any, v any, roleName, role, kind string) {
		entry := rename(v, nil, map[string]func(any) any{"Configurations": configurations, "InstanceTypeConfigs": func(v any) any {
			return each(v, func(e any) any { return rename(e, nil, map[string]func(any) any{"Configurations": configurations}) })
		}})
		if e, ok := entry.(map[string]any); ok {
			e[roleName] = role
			if e["Name"] == nil {
				e["Name"] = kind
			}
		}
		*to = append(*to, entry)
	}
	for _, role := range []struct{ name, role, text string }{{"Master", "MASTER", "Master"}, {"Core", "CORE", "Core"}} {
		if g, ok := m[role.name+"InstanceGroup"]; ok {
			add(&groups, g, "InstanceRole", role.role, role.text)
		}
		if f, ok := m[role.name+"InstanceFleet"]; ok {
			add(&fleets, f, "InstanceFleetType", role.role, role.text)
		}
	}
	for _, g := range list(m["TaskInstanceGroups"]) {
		add(&groups, g, "InstanceRole", "TASK", "Task")
	}
	for _, f := range list(m["TaskInstanceFleets"]) {
		add(&fleets, f, "InstanceFleetType", "TASK", "Task")
	}
	for k, e := range m {
		switch k {
		case "MasterInstanceGroup", "CoreInstanceGroup", "TaskInstanceGroups", "MasterInstanceFleet", "CoreInstanceFleet", "TaskInstanceFleets":
		default:
			out[k] = e
		}
	}
	if groups != nil {
		out["InstanceGroups"] = groups
	}
	if fleets != nil {
		out["InstanceFleets"] = fleets
	}
	return out
}

var emrStep = &Type{
	Name:       "AWS::EMR::Step",
	Properties: "ActionOnFailure! HadoopJarStep! JobFlowId! Name!",
	Attributes: []string{"Id"},
	create: func(ctx context.Context, c *call) error {
		if a := c.str("ActionOnFailure"); a != "CONTINUE" && a != "CANCEL_AND_WAIT" {
			return failf("Invalid value for ActionOnFailure: %s. Valid values are CONTINUE and CANCEL_AND_WAIT.", a)
		}
		step := c.pick("ActionOnFailure", "Name")
		step["HadoopJarStep"] = jarStep(c.props["HadoopJarStep"])
		out, err := c.do(ctx, emr, "AddJobFlowSteps", map[string]any{"JobFlowId": c.props["JobFlowId"], "Steps": []any{step}})
		if err != nil {
			return err
		}
		ids := texts(out["StepIds"])
		if len(ids) != 1 {
			return failf("AddJobFlowSteps answered %d step ids", len(ids))
		}
		c.physical = ids[0]
		c.attrs = map[string]string{"Id": c.physical}
		return nil
	},
	// AWS: deleting the resource does nothing to the step.
	delete: func(context.Context, *call) error { return nil },
}
