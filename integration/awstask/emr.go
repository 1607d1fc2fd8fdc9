package awstask

import (
	"fmt"
	"slices"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

const emr = "elasticmapreduce"

// requestTag and requestProperty mark what a request has made, where the service keeps no receipts.
const (
	requestTag      = "mayfly:request"
	requestProperty = "mayfly.request"
)

func init() {
	watchCluster := func(h handle) []string { return []string{h.Cluster} }
	actions[emr+":createCluster"] = action{
		service: emr, calls: []string{"RunJobFlow", "DescribeCluster"}, start: createCluster,
		check: func(args jsonvalue.Value) error { _, err := clusterArguments(args); return err },
		poll: func(c *call, h handle) (integration.Result, error) {
			return c.pollCluster(h, "WAITING")
		},
		watches: watchCluster,
		cancel: func(c *call, h handle) error {
			_, err := c.invoke("TerminateJobFlows", map[string]any{"JobFlowIds": []any{h.Cluster}}, true)
			return err
		},
	}
	actions[emr+":addStep"] = action{
		service: emr, calls: []string{"AddJobFlowSteps", "DescribeStep"}, start: addStep,
		check:   func(args jsonvalue.Value) error { _, err := stepArguments(args); return err },
		poll:    pollStep,
		watches: func(h handle) []string { return []string{h.Cluster + "/" + h.Step} },
		cancel: func(c *call, h handle) error {
			_, err := c.invoke("CancelSteps", map[string]any{"ClusterId": h.Cluster, "StepIds": []any{h.Step},
				"StepCancellationOption": "TERMINATE_PROCESS"}, true)
			return err
		},
	}
	actions[emr+":terminateCluster"] = action{
		service: emr, calls: []string{"TerminateJobFlows", "DescribeCluster"}, check: fields("ClusterId"),
		start: func(c *call) (integration.Result, error) {
			id, err := c.argument("ClusterId")
			if err != nil {
				return integration.Result{}, err
			}
			return c.void("TerminateJobFlows", map[string]any{"JobFlowIds": []any{id}}, &handle{Cluster: id})
		},
		poll: func(c *call, h handle) (integration.Result, error) {
			return c.pollCluster(h, "TERMINATED", "TERMINATED_WITH_ERRORS")
		},
		watches: watchCluster,
	}
	actions[emr+":cancelStep"] = action{service: emr, calls: []string{"CancelSteps"}, check: fields("ClusterId", "StepId"), start: cancelStep}
	actions[emr+":setClusterTerminationProtection"] = action{service: emr, calls: []string{"SetTerminationProtection"},
		check: fields("ClusterId", "TerminationProtected"), start: protect}
	actions[emr+":modifyInstanceGroupByName"] = action{service: emr, calls: []string{"ListInstanceGroups", "ModifyInstanceGroups"},
		check: fields("ClusterId", "InstanceGroupName", "InstanceGroup"),
		start: func(c *call) (integration.Result, error) {
			return c.modifyByName("InstanceGroup", "ListInstanceGroups", "InstanceGroups", func(cluster, id string, change map[string]any) (string, map[string]any) {
				change["InstanceGroupId"] = id
				return "ModifyInstanceGroups", map[string]any{"ClusterId": cluster, "InstanceGroups": []any{change}}
			})
		}}
	actions[emr+":modifyInstanceFleetByName"] = action{service: emr, calls: []string{"ListInstanceFleets", "ModifyInstanceFleet"},
		check: fields("ClusterId", "InstanceFleetName", "InstanceFleet"),
		start: func(c *call) (integration.Result, error) {
			return c.modifyByName("InstanceFleet", "ListInstanceFleets", "InstanceFleets", func(cluster, id string, change map[string]any) (string, map[string]any) {
				change["InstanceFleetId"] = id
				return "ModifyInstanceFleet", map[string]any{"ClusterId": cluster, "InstanceFleet": change}
			})
		}}
}

func missing(name string) error {
	return &badParameter{fmt.Sprintf("The field '%s' is required but was missing", name)}
}

// fields checks that these are the arguments: Step Functions' own, which are no API's.
func fields(names ...string) func(args jsonvalue.Value) error {
	return func(args jsonvalue.Value) error {
		for name := range args.Members() {
			if !slices.Contains(names, name) {
				return unsupported(name)
			}
		}
		for _, name := range names {
			if _, ok := args.Get(name); !ok {
				return missing(name)
			}
		}
		return nil
	}
}

// argument is a required text among the arguments.
func (c *call) argument(name string) (string, error) {
	v, ok := c.task.Input.Get(name)
	if !ok || v.Kind() != jsonvalue.KindString {
		return "", missing(name)
	}
	return v.Str(), nil
}

// void makes a call that answers with nothing but metadata.
func (c *call) void(op string, in map[string]any, h *handle) (integration.Result, error) {
	doc, err := c.invoke(op, in, true)
	if err != nil {
		return integration.Result{}, err
	}
	return c.answer(c.withMetadata(jsonvalue.Object(), doc), h), nil
}

func clusterArguments(args jsonvalue.Value) (map[string]any, error) {
	in, err := toDocument(input(awsapi.Load(emr).Operations["RunJobFlow"]), args)
	if err != nil {
		return nil, err
	}
	if _, ok := in["Steps"]; ok {
		return nil, unsupported("Steps")
	}
	instances, _ := in["Instances"].(map[string]any)
	if keep, _ := instances["KeepJobFlowAliveWhenNoSteps"].(bool); !keep {
		return nil, &badParameter{"The value for the field 'KeepJobFlowAliveWhenNoSteps' must be TRUE"}
	}
	return in, nil
}

// createCluster is RunJobFlow without steps, for a cluster that stays.
func createCluster(c *call) (integration.Result, error) {
	in, err := clusterArguments(c.task.Input)
	if err != nil {
		return integration.Result{}, err
	}
	doc := map[string]any{}
	if c.t.cfg.Remote(emr) {
		doc, err = c.findCluster()
		tags, _ := in["Tags"].([]any)
		in["Tags"] = append(slices.Clone(tags), map[string]any{"Key": requestTag, "Value": c.request()})
	}
	if err == nil && doc["JobFlowId"] == nil {
		doc, err = c.invoke("RunJobFlow", in, true)
	}
	if err != nil {
		return integration.Result{}, err
	}
	id, _ := doc["JobFlowId"].(string)
	members := []jsonvalue.Member{}
	if arn, ok := doc["ClusterArn"].(string); ok {
		members = append(members, jsonvalue.M("ClusterArn", jsonvalue.Str(arn)))
	}
	members = append(members, jsonvalue.M("ClusterId", jsonvalue.Str(id)))
	return c.answer(c.withMetadata(jsonvalue.Object(members...), doc), &handle{Cluster: id}), nil
}

// findCluster looks for the cluster that an earlier try of this request has made.
func (c *call) findCluster() (map[string]any, error) {
	list, err := c.invoke("ListClusters", map[string]any{"ClusterStates": []any{"STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"}}, false)
	if err != nil {
		return nil, err
	}
	for _, x := range items(list["Clusters"]) {
		d, err := c.invoke("DescribeCluster", map[string]any{"ClusterId": x["Id"]}, false)
		if err != nil {
			return nil, err
		}
		cluster, _ := d["Cluster"].(map[string]any)
		for _, tag := range items(cluster["Tags"]) {
			if tag["Key"] == requestTag && tag["Value"] == c.request() {
				return map[string]any{"JobFlowId": x["Id"], "ClusterArn": x["ClusterArn"]}, nil
			}
		}
	}
	return map[string]any{}, nil
}

// items are the structures of a list.
func items(x any) []map[string]any {
	list, _ := x.([]any)
	var out []map[string]any
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// pollCluster waits for one of the states. A cluster that ends otherwise fails the task.
func (c *call) pollCluster(h handle, until ...string) (integration.Result, error) {
	doc, err := c.glance("DescribeCluster", map[string]any{"ClusterId": h.Cluster})
	if err != nil {
		return c.lost(err)
	}
	v, err := old.fromDocument(output(c.model("DescribeCluster")), doc)
	if err != nil {
		return integration.Result{}, err
	}
	switch state := v.Member("Cluster").Member("Status").Member("State").Str(); {
	case slices.Contains(until, state):
		// AWS's own result names the cluster as the plain call does; the description is there for those who need more.
		return integration.Result{Output: merge(v, []jsonvalue.Member{jsonvalue.M("ClusterId", jsonvalue.Str(h.Cluster))})}, nil
	case state == "TERMINATED" || state == "TERMINATED_WITH_ERRORS":
		return failed(&asl.Failure{Error: asl.ErrTaskFailed, Cause: v.String()}), nil
	}
	return integration.Result{Running: true}, nil
}

// describe reads a job.
func (c *call) describe(op string, in map[string]any) (jsonvalue.Value, error) {
	doc, err := c.invoke(op, in, false)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	return old.fromDocument(output(c.model(op)), doc)
}

// lost tells a job that does not exist from a describe that failed.
func (c *call) lost(err error) (integration.Result, error) {
	if code := awscall.Code(err); code == "InvalidRequestException" || code == "ClusterNotFound" {
		f, _ := apiFailure(err, c.service, uuidOf(c.task.Execution), nil)
		return failed(f), nil
	}
	return integration.Result{}, err
}

// stepArguments are those of addStep but the cluster's: the step that is added.
func stepArguments(args jsonvalue.Value) (step any, err error) {
	for name := range args.Members() {
		if name != "ClusterId" && name != "Step" && name != "ExecutionRoleArn" {
			return nil, unsupported(name)
		}
	}
	for _, name := range []string{"ClusterId", "Step"} {
		if _, ok := args.Get(name); !ok {
			return nil, missing(name)
		}
	}
	return toTree(&awsapi.Ref{To: awsapi.Load(emr).Shapes["StepConfig"]}, args.Member("Step"), "Step")
}

// addStep adds one step.
func addStep(c *call) (integration.Result, error) {
	cluster, err := c.argument("ClusterId")
	if err != nil {
		return integration.Result{}, err
	}
	config, err := stepArguments(c.task.Input)
	if err != nil {
		return integration.Result{}, err
	}
	in := map[string]any{"JobFlowId": cluster, "Steps": []any{config}}
	if role := c.task.Input.Member("ExecutionRoleArn").Str(); role != "" {
		in["ExecutionRoleArn"] = role
	}
	id := ""
	if c.t.cfg.Remote(emr) {
		if id, err = c.findStep(cluster); err != nil {
			return integration.Result{}, err
		}
		if jar, ok := config.(map[string]any)["HadoopJarStep"].(map[string]any); ok {
			properties, _ := jar["Properties"].([]any)
			jar["Properties"] = append(slices.Clone(properties), map[string]any{"Key": requestProperty, "Value": c.request()})
		}
	}
	doc := map[string]any{"StepIds": []any{id}}
	if id == "" {
		if doc, err = c.invoke("AddJobFlowSteps", in, true); err != nil {
			return integration.Result{}, err
		}
		ids, _ := doc["StepIds"].([]any)
		if len(ids) != 1 {
			return integration.Result{}, fmt.Errorf("AddJobFlowSteps answered %d steps for one", len(ids))
		}
		id, _ = ids[0].(string)
	}
	return c.answer(c.withMetadata(jsonvalue.Object(jsonvalue.M("StepId", jsonvalue.Str(id))), doc), &handle{Cluster: cluster, Step: id}), nil
}

// findStep looks for the step that an earlier try of this request has added.
func (c *call) findStep(cluster string) (string, error) {
	list, err := c.invoke("ListSteps", map[string]any{"ClusterId": cluster}, false)
	if err != nil {
		return "", err
	}
	for _, x := range items(list["Steps"]) {
		config, _ := x["Config"].(map[string]any)
		properties, _ := config["Properties"].(map[string]any)
		if properties[requestProperty] == c.request() {
			id, _ := x["Id"].(string)
			return id, nil
		}
	}
	return "", nil
}

func pollStep(c *call, h handle) (integration.Result, error) {
	if c.t.cfg.Remote(emr) {
		list, err := c.glance("ListSteps", map[string]any{"ClusterId": h.Cluster})
		if err != nil {
			return c.lost(err)
		}
		for _, x := range items(list["Steps"]) {
			status, _ := x["Status"].(map[string]any)
			if state, _ := status["State"].(string); x["Id"] == h.Step && (state == "PENDING" || state == "RUNNING" || state == "CANCEL_PENDING") {
				return integration.Result{Running: true}, nil
			}
		}
	}
	v, err := c.describe("DescribeStep", map[string]any{"ClusterId": h.Cluster, "StepId": h.Step})
	if err != nil {
		return c.lost(err)
	}
	switch v.Member("Step").Member("Status").Member("State").Str() {
	case "COMPLETED":
		return integration.Result{Output: merge(v, []jsonvalue.Member{jsonvalue.M("StepId", jsonvalue.Str(h.Step))})}, nil
	case "FAILED", "CANCELLED", "INTERRUPTED":
		return failed(&asl.Failure{Error: asl.ErrTaskFailed, Cause: v.Member("Step").String()}), nil
	}
	return integration.Result{Running: true}, nil
}

func cancelStep(c *call) (integration.Result, error) {
	cluster, err := c.argument("ClusterId")
	if err != nil {
		return integration.Result{}, err
	}
	step, err := c.argument("StepId")
	if err != nil {
		return integration.Result{}, err
	}
	op := c.model("CancelSteps")
	doc, err := c.invoke("CancelSteps", map[string]any{"ClusterId": cluster, "StepIds": []any{step}}, true)
	if err != nil {
		return integration.Result{}, err
	}
	v, err := old.fromDocument(output(op), doc)
	if err != nil {
		return integration.Result{}, err
	}
	return c.answer(c.withMetadata(jsonvalue.Object(jsonvalue.M("CancelStepsInfo", v.Member("CancelStepsInfoList").Index(0))), doc), nil), nil
}

func protect(c *call) (integration.Result, error) {
	cluster, err := c.argument("ClusterId")
	if err != nil {
		return integration.Result{}, err
	}
	on, ok := c.task.Input.Get("TerminationProtected")
	if !ok || on.Kind() != jsonvalue.KindBool {
		return integration.Result{}, missing("TerminationProtected")
	}
	return c.void("SetTerminationProtection", map[string]any{"JobFlowIds": []any{cluster}, "TerminationProtected": on.Bool()}, nil)
}

// modifyByName changes the instance group or fleet with a name.
func (c *call) modifyByName(kind, list, member string, change func(cluster, id string, doc map[string]any) (string, map[string]any)) (integration.Result, error) {
	cluster, err := c.argument("ClusterId")
	if err != nil {
		return integration.Result{}, err
	}
	name, err := c.argument(kind + "Name")
	if err != nil {
		return integration.Result{}, err
	}
	arg, ok := c.task.Input.Get(kind)
	if _, named := arg.Get(kind + "Id"); !ok || named {
		return integration.Result{}, &badParameter{fmt.Sprintf("The field '%s' is required, without '%sId'", kind, kind)}
	}
	shape := map[string]string{"InstanceGroup": "InstanceGroupModifyConfig", "InstanceFleet": "InstanceFleetModifyConfig"}[kind]
	doc, err := toTree(&awsapi.Ref{To: awsapi.Load(emr).Shapes[shape]}, arg, kind)
	if err != nil {
		return integration.Result{}, err
	}
	found, err := c.invoke(list, map[string]any{"ClusterId": cluster}, false)
	if err != nil {
		return integration.Result{}, err
	}
	for _, x := range items(found[member]) {
		if x["Name"] == name {
			id, _ := x["Id"].(string)
			op, in := change(cluster, id, doc.(map[string]any))
			return c.void(op, in, nil)
		}
	}
	return integration.Result{}, awsapi.Errorf(400, "InvalidRequestException", "%s %s was not found in cluster %s.", kind, name, cluster)
}
