package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// clusterOutput is the key of the output that holds the cluster's id.
const clusterOutput = "EMRClusterID"

// executionTag names the execution on the stack, and so on all that is in it.
const executionTag = "pipeline-execution"

// maxTemplateBody is how long a template may be that is sent along; AWS: a longer one must lie in S3.
const maxTemplateBody = 51200

type launchRequest struct{ Plan Plan }

type launchAnswer struct{ StackId string }

// launch asks for the stack. A repetition asks for the same stack again: name and token come from the execution.
func (a *app) launch(ctx context.Context, in launchRequest) (*launchAnswer, error) {
	p := in.Plan
	template, parameters, err := a.stackParameters(ctx, &p)
	if err != nil {
		return nil, err
	}
	request := map[string]any{
		"StackName": p.StackName, "TemplateBody": template, "Parameters": parameters,
		"Capabilities": []any{"CAPABILITY_IAM"}, "RoleARN": a.stackRole, "NotificationARNs": []any{a.stackTopic},
		"TimeoutInMinutes": int64(55), "OnFailure": "ROLLBACK", "ClientRequestToken": p.StackName,
		"Tags": []any{map[string]any{"Key": executionTag, "Value": p.ExecutionArn}},
	}
	if len(template) > maxTemplateBody {
		delete(request, "TemplateBody")
		request["TemplateURL"] = p.Template.url()
	}
	out, err := a.call(ctx, "cloudformation", "CreateStack", request)
	if refused(err, "AlreadyExistsException") {
		s, found, err := a.describe(ctx, p.StackName)
		if err != nil {
			return nil, err
		}
		if found && s.execution == p.ExecutionArn {
			return &launchAnswer{s.id}, nil
		}
		return nil, failf("Stack.NameTaken", "A stack %s exists and belongs to somebody else.", p.StackName)
	}
	if err != nil {
		return nil, err
	}
	return &launchAnswer{text(out, "StackId")}, nil
}

// stack is what DescribeStacks tells.
type stack struct{ id, status, reason, cluster, execution string }

func (a *app) describe(ctx context.Context, name string) (s stack, found bool, err error) {
	out, err := a.call(ctx, "cloudformation", "DescribeStacks", map[string]any{"StackName": name})
	if refused(err, "does not exist") {
		return stack{}, false, nil
	}
	if err != nil {
		return stack{}, false, err
	}
	all := list(out, "Stacks")
	if len(all) == 0 {
		return stack{}, false, nil
	}
	s = stack{id: text(all[0], "StackId"), status: text(all[0], "StackStatus"), reason: text(all[0], "StackStatusReason")}
	for _, o := range list(all[0], "Outputs") {
		if text(o, "OutputKey") == clusterOutput {
			s.cluster = text(o, "OutputValue")
		}
	}
	for _, t := range list(all[0], "Tags") {
		if text(t, "Key") == executionTag {
			s.execution = text(t, "Value")
		}
	}
	return s, true, nil
}

// reason is the first failure that the stack's events tell; the later ones follow from it.
func (a *app) reason(ctx context.Context, s stack, suffix string) string {
	out, err := a.call(ctx, "cloudformation", "DescribeStackEvents", map[string]any{"StackName": s.id})
	if err != nil {
		return s.reason
	}
	found := s.reason
	for _, e := range list(out, "StackEvents") { // newest first
		if strings.HasSuffix(text(e, "ResourceStatus"), suffix) && text(e, "PhysicalResourceId") != s.id &&
			!strings.Contains(text(e, "ResourceStatusReason"), "cancelled") {
			found = fmt.Sprintf("%s (%s): %s", text(e, "LogicalResourceId"), text(e, "ResourceType"), text(e, "ResourceStatusReason"))
		}
	}
	return found
}

// pending is a task that waits for a stack. It lies in the bucket under the stack's name, because a notification knows
// the stack and not the token.
type pending struct {
	Token    string
	Want     string // create or delete
	StackId  string
	Clusters []string // of the stack, learned before its deletion
}

func (a *app) pendingAt(stackName string) location {
	if parts := strings.Split(stackName, "/"); len(parts) > 1 { // arn:…:stack/NAME/ID
		stackName = parts[1]
	}
	return location{a.bucket, "pending/" + stackName + ".json"}
}

func (a *app) loadPending(ctx context.Context, stackName string) (*pending, error) {
	body, err := a.get(ctx, a.pendingAt(stackName))
	if errors.Is(err, errMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := &pending{}
	return p, json.Unmarshal(body, p)
}

func (a *app) storePending(ctx context.Context, stackName string, p *pending) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return a.put(ctx, a.pendingAt(stackName), "application/json", body)
}

type awaitRequest struct{ StackName, Token string }

// await leaves the token for the notifications, then looks whether there is anything left to wait for: a notification
// that came before the token was there is not missed.
func (a *app) await(ctx context.Context, in awaitRequest) (any, error) {
	p := &pending{Token: in.Token, Want: "create", StackId: in.StackName}
	if err := a.storePending(ctx, in.StackName, p); err != nil {
		return nil, err
	}
	return nil, a.settle(ctx, in.StackName, p)
}

// notification is what Lambda gets from SNS.
type notification struct {
	Records []struct {
		Sns struct{ Message string }
	}
}

// stackEvents answers the task that waits for the stack of a notification, or beats for it.
func (a *app) stackEvents(ctx context.Context, in notification) (any, error) {
	seen := map[string]bool{}
	for _, r := range in.Records {
		id := stackNotification(r.Sns.Message)["StackId"]
		if id == "" || seen[id] {
			continue
		}
		seen[id] = true
		p, err := a.loadPending(ctx, id)
		if err != nil {
			return nil, err
		}
		if p == nil {
			continue // nobody waits
		}
		if err := a.settle(ctx, id, p); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// stackNotification reads the text that CloudFormation publishes: Name='value' on a line each; a value may span lines.
func stackNotification(message string) map[string]string {
	out := map[string]string{}
	for message != "" {
		name, rest, ok := strings.Cut(message, "='")
		if !ok {
			break
		}
		value, after, ok := strings.Cut(rest, "'\n")
		if !ok {
			value, after = strings.TrimSuffix(rest, "'"), ""
		}
		out[strings.TrimSpace(name)], message = value, after
	}
	return out
}

// settle compares what the task waits for with what is, and answers it when there is an answer.
func (a *app) settle(ctx context.Context, name string, p *pending) error {
	if p.StackId != "" {
		name = p.StackId // the ARN is known after the deletion too
	}
	s, found, err := a.describe(ctx, name)
	if err != nil {
		return err
	}
	if !found {
		s.status = "DELETE_COMPLETE"
	}
	if p.Want == "create" {
		switch s.status {
		case "CREATE_COMPLETE":
			if s.cluster == "" {
				return a.fail(ctx, p, name, "Stack.NoCluster", "The stack has no value for the output "+clusterOutput+".")
			}
			return a.succeed(ctx, p, name, map[string]string{"StackId": s.id, "ClusterId": s.cluster})
		case "CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS", "DELETE_IN_PROGRESS", "REVIEW_IN_PROGRESS":
			return a.beat(ctx, p)
		}
		return a.fail(ctx, p, name, "Stack.CreateFailed", fmt.Sprintf("The stack is %s. %s", s.status, a.reason(ctx, s, "CREATE_FAILED")))
	}
	switch {
	case s.status == "DELETE_COMPLETE":
		for _, id := range p.Clusters {
			state, err := a.clusterState(ctx, id)
			if err != nil {
				return err
			}
			if !ending(state) {
				return a.fail(ctx, p, name, "Stack.ClusterAlive", fmt.Sprintf("The stack is gone, yet its cluster %s is %s.", id, state))
			}
		}
		return a.succeed(ctx, p, name, map[string]any{"Status": s.status, "StackId": s.id, "Clusters": p.Clusters})
	case s.status == "DELETE_FAILED":
		return a.fail(ctx, p, name, "Stack.DeleteFailed", "The stack could not be deleted. "+a.reason(ctx, s, "DELETE_FAILED"))
	case strings.HasSuffix(s.status, "_IN_PROGRESS"):
		return a.beat(ctx, p)
	}
	return a.fail(ctx, p, name, "Stack.Busy", fmt.Sprintf("The stack is %s; its deletion has to be asked for again.", s.status))
}

func ending(clusterState string) bool { return strings.HasPrefix(clusterState, "TERMINAT") }

// clusterState is the state of a cluster; one that EMR does not know any more has ended.
func (a *app) clusterState(ctx context.Context, id string) (string, error) {
	out, err := a.call(ctx, "elasticmapreduce", "DescribeCluster", map[string]any{"ClusterId": id})
	if refused(err, "InvalidRequestException", "is not valid") {
		return "TERMINATED", nil
	}
	if err != nil {
		return "", err
	}
	return text(out, "Cluster", "Status", "State"), nil
}

// answered says that the task has been answered or given up: nothing is left to do for it.
func answered(err error) bool {
	return refused(err, "TaskTimedOut", "TaskDoesNotExist", "InvalidToken")
}

func (a *app) beat(ctx context.Context, p *pending) error {
	_, err := a.call(ctx, "states", "SendTaskHeartbeat", map[string]any{"taskToken": p.Token})
	if answered(err) {
		return nil
	}
	return err
}

func (a *app) succeed(ctx context.Context, p *pending, name string, output any) error {
	body, err := json.Marshal(output)
	if err != nil {
		return err
	}
	_, err = a.call(ctx, "states", "SendTaskSuccess", map[string]any{"taskToken": p.Token, "output": string(body)})
	if err != nil && !answered(err) {
		return err
	}
	// What is left would only be in the way of people who read the bucket.
	at := a.pendingAt(name)
	if now, err := a.loadPending(ctx, name); err == nil && now != nil && now.Token == p.Token {
		_, _ = a.call(ctx, "s3", "DeleteObject", map[string]any{"Bucket": at.Bucket, "Key": at.Key})
	}
	return nil
}

// fail leaves the pending task where it is: its next attempt learns the clusters from it.
func (a *app) fail(ctx context.Context, p *pending, _ string, name, cause string) error {
	_, err := a.call(ctx, "states", "SendTaskFailure", map[string]any{"taskToken": p.Token, "error": name, "cause": cause})
	if answered(err) {
		return nil
	}
	return err
}

type deleteRequest struct{ StackName, Level, Token string }

// delete asks for the deletion with the force that its level allows, and leaves the token for the notifications.
//
//	delete  the stack
//	force   the clusters too, directly and against their protection
//	retain  and without what failed to go
func (a *app) delete(ctx context.Context, in deleteRequest) (any, error) {
	p := &pending{Token: in.Token, Want: "delete"}
	before, err := a.loadPending(ctx, in.StackName)
	if err != nil {
		return nil, err
	}
	name := in.StackName
	if before != nil {
		p.Clusters = before.Clusters
		if before.StackId != "" {
			p.StackId, name = before.StackId, before.StackId
		}
	}
	s, found, err := a.describe(ctx, name)
	if err != nil {
		return nil, err
	}
	if found {
		p.StackId = s.id
	}
	var failed []string
	if found && s.status != "DELETE_COMPLETE" {
		resources, err := a.call(ctx, "cloudformation", "DescribeStackResources", map[string]any{"StackName": s.id})
		if err != nil && !refused(err, "does not exist") {
			return nil, err
		}
		for _, r := range list(resources, "StackResources") {
			id := text(r, "PhysicalResourceId")
			if text(r, "ResourceType") == "AWS::EMR::Cluster" && id != "" && !slices.Contains(p.Clusters, id) {
				p.Clusters = append(p.Clusters, id)
			}
			if text(r, "ResourceStatus") == "DELETE_FAILED" {
				failed = append(failed, text(r, "LogicalResourceId"))
			}
		}
	}
	if err := a.storePending(ctx, in.StackName, p); err != nil {
		return nil, err
	}
	if in.Level != "delete" {
		for _, id := range p.Clusters {
			if err := a.endCluster(ctx, id); err != nil {
				return nil, err
			}
		}
	}
	if found && s.status != "DELETE_COMPLETE" && s.status != "DELETE_IN_PROGRESS" {
		request := map[string]any{"StackName": s.id, "RoleARN": a.stackRole}
		if in.Level == "retain" && s.status == "DELETE_FAILED" {
			// Nothing that costs money stays behind: the clusters have been ended above.
			retain := []any{}
			for _, id := range failed {
				retain = append(retain, id)
			}
			request["RetainResources"] = retain
		}
		_, err := a.call(ctx, "cloudformation", "DeleteStack", request)
		var api *awsapi.Error
		if err != nil && !(errors.As(err, &api) && strings.HasSuffix(s.status, "_IN_PROGRESS") && api.Status < 500) {
			return nil, err
		}
		if err != nil {
			return nil, nil // in the middle of something: its end is notified, and then this is asked again
		}
	}
	if p.StackId != "" {
		s, found, err := a.describe(ctx, p.StackId)
		if err != nil {
			return nil, err
		}
		if found && s.status != "DELETE_COMPLETE" {
			return nil, nil // the notifications will tell; DELETE_FAILED may still be the answer to an earlier try
		}
	}
	return nil, a.settle(ctx, in.StackName, p)
}

// endCluster takes a cluster's protection away and ends it.
func (a *app) endCluster(ctx context.Context, id string) error {
	state, err := a.clusterState(ctx, id)
	if err != nil || ending(state) {
		return err
	}
	ids := []any{id}
	if _, err := a.call(ctx, "elasticmapreduce", "SetTerminationProtection", map[string]any{"JobFlowIds": ids, "TerminationProtected": false}); err != nil {
		return err
	}
	_, err = a.call(ctx, "elasticmapreduce", "TerminateJobFlows", map[string]any{"JobFlowIds": ids})
	return err
}
