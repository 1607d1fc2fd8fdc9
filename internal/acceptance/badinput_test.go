package acceptance

import (
	"context"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/awscall"
)

const (
	role     = "arn:aws:iam::000000000000:role/x"
	onePass  = `{"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}}`
	goodless = `{"Resources":{"T":{"Type":"AWS::SNS::Topic"}}}`
)

// Each bad input gives the error of AWS's form, with words that say what is wrong, and leaves nothing behind.
func TestBadInput(t *testing.T) {
	needed(t)
	s := serve(t, port(t))
	calls := caller(s.endpoint())
	must := func(service, operation string, in map[string]any) map[string]any {
		t.Helper()
		out, err := calls(t.Context(), service, operation, in)
		if err != nil {
			t.Fatalf("%s %s: %v", service, operation, err)
		}
		return out
	}
	must("s3", "CreateBucket", map[string]any{"Bucket": "inputs"})
	machine := must("states", "CreateStateMachine", map[string]any{"name": "good", "definition": onePass, "roleArn": role})["stateMachineArn"]
	stack := func(template string) map[string]any {
		return map[string]any{"StackName": "bad", "TemplateBody": template}
	}
	for name, c := range map[string]struct {
		service, operation string
		in                 map[string]any
		code, part         string
	}{
		"a definition that is no JSON": {"states", "CreateStateMachine", map[string]any{"name": "bad", "definition": "{", "roleArn": role}, "InvalidDefinition", "INVALID_JSON_DESCRIPTION"},
		"a definition with an unknown field": {"states", "CreateStateMachine", map[string]any{"name": "bad", "definition": strings.Replace(onePass, `"End"`, `"Colour":"blue","End"`, 1), "roleArn": role},
			"InvalidDefinition", "Colour"},
		"a resource that AWS does not have": {"states", "CreateStateMachine", map[string]any{"name": "bad", "roleArn": role,
			"definition": `{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::dynamodb:query","End":true}}}`}, "InvalidDefinition", "dynamodb:query"},
		"an input that is no JSON":       {"states", "StartExecution", map[string]any{"stateMachineArn": machine, "input": "{"}, "InvalidExecutionInput", "Invalid State Machine Execution Input"},
		"an input that is too large":     {"states", "StartExecution", map[string]any{"stateMachineArn": machine, "input": `"` + strings.Repeat("x", 1<<18) + `"`}, "", "input"},
		"a machine that is not there":    {"states", "StartExecution", map[string]any{"stateMachineArn": machine.(string) + "s"}, "StateMachineDoesNotExist", "goods"},
		"a template that is no YAML":     {"cloudformation", "CreateStack", stack("Resources: [unclosed"), "ValidationError", "Template"},
		"a template without resources":   {"cloudformation", "CreateStack", stack("{}"), "ValidationError", "At least one Resources member"},
		"an unknown resource type":       {"cloudformation", "CreateStack", stack(`{"Resources":{"T":{"Type":"AWS::Moon::Base"}}}`), "ValidationError", "AWS::Moon::Base"},
		"an unknown intrinsic":           {"cloudformation", "CreateStack", stack(`{"Resources":{"T":{"Type":"AWS::SNS::Topic","Properties":{"TopicName":{"Fn::Moon":"x"}}}}}`), "ValidationError", "Fn::Moon"},
		"an unknown property":            {"cloudformation", "CreateStack", stack(`{"Resources":{"T":{"Type":"AWS::SNS::Topic","Properties":{"Colour":"blue"}}}}`), "ValidationError", "Colour"},
		"a missing parameter":            {"cloudformation", "CreateStack", stack(`{"Parameters":{"P":{"Type":"String"}},` + goodless[1:]), "ValidationError", "Parameters: [P] must have values"},
		"a template that is not in S3":   {"cloudformation", "CreateStack", map[string]any{"StackName": "bad", "TemplateURL": s.endpoint() + "/inputs/none.yaml"}, "ValidationError", "S3 error"},
		"a bucket that is not there":     {"s3", "PutObject", map[string]any{"Bucket": "elsewhere", "Key": "k", "Body": strings.NewReader("x")}, "NoSuchBucket", "bucket"},
		"an object that is not there":    {"s3", "GetObject", map[string]any{"Bucket": "inputs", "Key": "none"}, "NoSuchKey", "key"},
		"a function that is not there":   {"lambda", "Invoke", map[string]any{"FunctionName": "none"}, "ResourceNotFoundException", "none"},
		"a cluster without a label":      {"elasticmapreduce", "RunJobFlow", map[string]any{"Name": "bad", "Instances": map[string]any{"InstanceCount": 1, "MasterInstanceType": "m5.xlarge"}}, "ValidationException", "release label"},
		"a label that AWS does not have": {"elasticmapreduce", "RunJobFlow", map[string]any{"Name": "bad", "ReleaseLabel": "emr-none", "ServiceRole": "EMR_DefaultRole", "JobFlowRole": "EMR_EC2_DefaultRole", "Instances": map[string]any{"InstanceCount": 1, "MasterInstanceType": "m5.xlarge"}}, "ValidationException", "emr-none"},
		"a cluster that is not there":    {"elasticmapreduce", "DescribeCluster", map[string]any{"ClusterId": "j-NONE"}, "InvalidRequestException", "j-NONE"},
		"an operation not built":         {"elasticmapreduce", "StartNotebookExecution", map[string]any{"ExecutionEngine": map[string]any{"Id": "j-1"}, "ServiceRole": "r"}, "", "StartNotebookExecution"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := calls(t.Context(), c.service, c.operation, c.in)
			if err == nil {
				t.Fatal("it was taken")
			}
			if code := awscall.Code(err); code == "" || c.code != "" && code != c.code {
				t.Errorf("the code is %q, want %q (%v)", code, c.code, err)
			}
			if !strings.Contains(err.Error(), c.part) {
				t.Errorf("%q does not say %q", err, c.part)
			}
		})
	}
	// Nothing is left of what was refused.
	if l := must("states", "ListStateMachines", map[string]any{})["stateMachines"].([]any); len(l) != 1 {
		t.Errorf("state machines: %v", l)
	}
	if l, _ := must("states", "ListExecutions", map[string]any{"stateMachineArn": machine})["executions"].([]any); len(l) != 0 {
		t.Errorf("executions: %v", l)
	}
	if l, _ := must("cloudformation", "DescribeStacks", map[string]any{})["Stacks"].([]any); len(l) != 0 {
		t.Errorf("stacks: %v", l)
	}
	if l, _ := must("elasticmapreduce", "ListClusters", map[string]any{})["Clusters"].([]any); len(l) != 0 {
		t.Errorf("clusters: %v", l)
	}
	if l, _ := must("sns", "ListTopics", map[string]any{})["Topics"].([]any); len(l) != 0 {
		t.Errorf("topics: %v", l)
	}
}

// What Mayfly does not have is refused with a 4xx that names it: clients repeat a 5xx for ten seconds.
func TestUnknownServicesAndBodies(t *testing.T) {
	needed(t)
	s := serve(t, port(t))
	for name, c := range map[string]struct {
		request raw
		part    string
	}{
		"a service that Mayfly lacks": {target("dynamodb", "DynamoDB_20120810.ListTables", "{}"), "ynamo"},
		"an operation that AWS lacks": {target("states", "AWSStepFunctions.FlyToTheMoon", "{}"), "FlyToTheMoon"},
		"a query that AWS lacks":      {query("sns", "Action=FlyToTheMoon&Version=2010-03-31"), "FlyToTheMoon"},
		"a body that is no JSON":      {target("states", "AWSStepFunctions.ListStateMachines", "{"), "erializ"},
		"a body beyond the limit":     {target("states", "AWSStepFunctions.ListStateMachines", `{"nextToken":"`+strings.Repeat("x", 40<<20)+`"}`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			resp, answer := s.send(t, c.request)
			if resp.StatusCode < 400 || resp.StatusCode > 499 || !strings.Contains(answer, c.part) || strings.TrimSpace(answer) == "" {
				t.Errorf("answered %d %.300s, want a 4xx with %q", resp.StatusCode, answer, c.part)
			}
		})
	}
}

// An execution without a processing mode, or with an input that is no object, is refused before a cluster is paid for.
func TestRefusedBeforeAClusterIsPaidFor(t *testing.T) {
	s, run := prepared(t)
	calls := caller(s.endpoint())
	machine := run.StateMachine()
	for name, c := range map[string]struct{ input, part string }{
		"no mode":                     {strings.Replace(string(mustInput(t, run)), `"TRAINING"`, "", 1), "ProcessingMode"},
		"a number":                    {"7", "object"},
		"a wrong bucket":              {strings.ReplaceAll(string(mustInput(t, run)), "mayfly-pipeline-000000000000", "somebody-elses"), "somebody-elses"},
		"a program that is not there": {strings.Replace(string(mustInput(t, run)), "testcode/model.py", "testcode/none.py", 1), "none.py"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := calls(t.Context(), "states", "StartExecution", map[string]any{"stateMachineArn": machine, "input": c.input})
			if err != nil {
				t.Fatal(err)
			}
			arn := out["executionArn"].(string)
			if status := s.end(t, arn, 60e9); status != "FAILED" {
				t.Fatalf("the execution is %s", status)
			}
			d, err := calls(t.Context(), "states", "DescribeExecution", map[string]any{"executionArn": arn})
			if err != nil {
				t.Fatal(err)
			}
			if cause, _ := d["cause"].(string); !strings.Contains(cause, c.part) {
				t.Errorf("the cause %q does not say %q", cause, c.part)
			}
		})
	}
	if out, err := calls(t.Context(), "elasticmapreduce", "ListClusters", map[string]any{}); err != nil || len(out["Clusters"].([]any)) != 0 {
		t.Errorf("clusters were made: %v %v", out, err)
	}
	left(t, s.endpoint())
}

func mustInput(t *testing.T, run interface {
	Input(context.Context) ([]byte, error)
}) []byte {
	t.Helper()
	b, err := run.Input(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}
