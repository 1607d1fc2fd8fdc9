package cloudformation_test

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	api "github.com/mayfly-run/mayfly/internal/awsapi/cfnapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/daemon"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/services/cloudformation/resource"
)

// realWorld is the whole server around CloudFormation.
func realWorld(t *testing.T) *world {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("Python is needed: ", err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := daemon.Start(t.Context(), daemon.Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir(), Python: python}, "test", log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	keys := identity.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}
	return &world{t: t, ctx: t.Context(), fakes: &fakes{}, to: &awscall.Remote{Endpoint: s.Endpoint(), Region: person.Region, Credentials: awscall.Static(keys), HTTP: http.DefaultClient}}
}

// read calls an operation of another service.
func (w *world) read(service, op string, in map[string]any) (map[string]any, error) {
	return w.to.Invoke(w.ctx, awscall.Call{Principal: person, Service: service, Operation: op, Input: in})
}

// Every type but EMR's is made, changed and deleted by the services themselves.
func TestTypes(t *testing.T) {
	w := realWorld(t)
	load := func(name string) *string {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		s := string(b)
		return &s
	}
	before, after := load("types.yaml"), load("types_changed.yaml")
	for _, name := range resource.Names() {
		if !strings.HasPrefix(name, "AWS::EMR::") && !strings.Contains(*before, name+",") && !strings.Contains(*before, name+"\n") {
			t.Errorf("%s is not in types.yaml", name)
		}
	}
	id := *must[api.CreateStackOutput](w, "CreateStack", &api.CreateStackInput{StackName: "types", TemplateBody: before, Capabilities: []string{"CAPABILITY_IAM"}}).StackId
	w.ended(id, "CREATE_COMPLETE")
	physical := func() map[string]string {
		out := map[string]string{}
		for _, r := range must[api.ListStackResourcesOutput](w, "ListStackResources", &api.ListStackResourcesInput{StackName: id}).StackResourceSummaries {
			out[r.LogicalResourceId] = *r.PhysicalResourceId
		}
		return out
	}
	first := physical()
	// look reads one member of each resource from its own service.
	look := func() string {
		var lines []string
		for _, q := range []struct {
			service, op, member string
			in                  map[string]any
		}{
			{"sqs", "GetQueueAttributes", "Attributes.VisibilityTimeout", map[string]any{"QueueUrl": first["Queue"], "AttributeNames": []any{"All"}}},
			{"sns", "GetTopicAttributes", "Attributes.DisplayName", map[string]any{"TopicArn": first["Topic"]}},
			{"sns", "ListSubscriptionsByTopic", "Subscriptions", map[string]any{"TopicArn": first["Topic"]}},
			{"iam", "ListRolePolicies", "PolicyNames", map[string]any{"RoleName": first["Role"]}},
			{"iam", "ListAttachedRolePolicies", "AttachedPolicies", map[string]any{"RoleName": first["Role"]}},
			{"lambda", "GetFunctionConfiguration", "Timeout", map[string]any{"FunctionName": first["Function"]}},
			{"lambda", "GetFunctionConfiguration", "Environment.Variables", map[string]any{"FunctionName": first["Function"]}},
			{"lambda", "Invoke", "Payload", map[string]any{"FunctionName": first["Function"]}},
			{"states", "DescribeStateMachine", "definition", map[string]any{"stateMachineArn": first["Machine"]}},
			{"states", "DescribeStateMachine", "definition", map[string]any{"stateMachineArn": first["Machine2"]}},
			{"s3", "GetBucketTagging", "TagSet", map[string]any{"Bucket": first["Bucket"]}},
			{"s3", "GetBucketPolicy", "Policy", map[string]any{"Bucket": first["Bucket"]}},
			{"logs", "DescribeLogGroups", "logGroups", map[string]any{"logGroupNamePrefix": first["Log"]}},
			{"events", "DescribeConnection", "AuthParameters", map[string]any{"Name": first["Connection"]}},
			{"ec2", "DescribeKeyPairs", "KeyPairs", map[string]any{"KeyNames": []any{first["Key"]}}},
		} {
			out, err := w.read(q.service, q.op, q.in)
			if err != nil {
				lines = append(lines, fmt.Sprintf("%s: %v", q.op, err))
				continue
			}
			var v any = out
			for _, m := range strings.Split(q.member, ".") {
				doc, _ := v.(map[string]any)
				v = doc[m]
			}
			if r, ok := v.(io.ReadCloser); ok {
				b, err := io.ReadAll(r)
				if err != nil {
					t.Error(err)
				}
				r.Close()
				v = string(b)
			}
			switch l := v.(type) {
			case []any:
				if q.op != "ListRolePolicies" && q.op != "GetBucketTagging" {
					v = fmt.Sprint(len(l), " of them")
				}
			case []byte:
				v = string(l)
			}
			text := fmt.Sprint(v)
			for _, name := range slices.Sorted(maps.Keys(first)) {
				text = strings.ReplaceAll(text, first[name], "<"+name+">")
			}
			lines = append(lines, fmt.Sprintf("%s %s: %s", q.op, q.member, text))
		}
		return strings.Join(lines, "\n") + "\n"
	}
	got := "# made\n" + look()

	p := "zwei"
	must[api.UpdateStackOutput](w, "UpdateStack", &api.UpdateStackInput{StackName: "types", TemplateBody: after, Capabilities: []string{"CAPABILITY_IAM"}, Parameters: []api.Parameter{param("P", p)}})
	w.ended(id, "UPDATE_COMPLETE")
	got += "# changed\n" + look()
	second := physical()
	for _, name := range slices.Sorted(maps.Keys(first)) {
		switch {
		case second[name] == "":
			got += name + " is gone\n"
		case second[name] != first[name]:
			got += name + " is replaced\n"
		}
	}
	must[api.DeleteStackOutput](w, "DeleteStack", &api.DeleteStackInput{StackName: "types"})
	w.ended(id, "DELETE_COMPLETE")
	got += "# deleted\n" + look()
	for _, name := range slices.Sorted(maps.Keys(first)) {
		got = strings.ReplaceAll(got, first[name], "<"+name+">")
	}
	golden(t, "testdata/types.txt", got)
}

// ended waits for a status, and says why another one was reached.
func (w *world) ended(id, status string) {
	w.t.Helper()
	s := w.until(id, "CREATE_COMPLETE", "ROLLBACK_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED", "DELETE_COMPLETE", "DELETE_FAILED", "ROLLBACK_FAILED")
	if s.StackStatus == status {
		return
	}
	for _, e := range must[api.DescribeStackEventsOutput](w, "DescribeStackEvents", &api.DescribeStackEventsInput{StackName: id}).StackEvents {
		if e.ResourceStatusReason != nil {
			w.t.Logf("%s %s: %s", *e.LogicalResourceId, *e.ResourceStatus, *e.ResourceStatusReason)
		}
	}
	w.t.Fatalf("%s is %s, not %s", id, s.StackStatus, status)
}

// The shipped templates are ones that we take.
func TestShippedTemplates(t *testing.T) {
	w := newWorld(t)
	for _, file := range []string{"template.yaml", "cluster.yaml"} {
		b, err := os.ReadFile("../../pipelines/emr/" + file)
		if err != nil {
			t.Fatal(err)
		}
		body := string(b)
		out, err := call[api.ValidateTemplateOutput](w, "ValidateTemplate", &api.ValidateTemplateInput{TemplateBody: &body})
		if err != nil {
			t.Errorf("%s: %v", file, err)
		} else if len(out.Parameters) == 0 || !slices.Equal(out.Capabilities, []string{"CAPABILITY_IAM"}) {
			t.Errorf("%s: %+v", file, out)
		}
	}
}

// A resource that stands there already is not taken over, though its API would answer its creation: the roll-back would delete
// it.
func TestWhatIsThereIsNotTaken(t *testing.T) {
	w := realWorld(t)
	const machine = `{"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}}`
	role := "arn:aws:iam::000000000000:role/r"
	cases := []struct {
		service, op string
		in          map[string]any
		resource    string
		look        string
		in2         map[string]any
	}{
		{"s3", "CreateBucket", map[string]any{"Bucket": "mine"}, `{"Type":"AWS::S3::Bucket","Properties":{"BucketName":"mine"}}`, "HeadBucket", map[string]any{"Bucket": "mine"}},
		{"sqs", "CreateQueue", map[string]any{"QueueName": "mine"}, `{"Type":"AWS::SQS::Queue","Properties":{"QueueName":"mine"}}`, "GetQueueUrl", map[string]any{"QueueName": "mine"}},
		{"sns", "CreateTopic", map[string]any{"Name": "mine"}, `{"Type":"AWS::SNS::Topic","Properties":{"TopicName":"mine"}}`, "GetTopicAttributes", map[string]any{"TopicArn": "arn:aws:sns:us-east-1:000000000000:mine"}},
		{"states", "CreateStateMachine", map[string]any{"name": "mine", "definition": machine, "roleArn": role},
			`{"Type":"AWS::StepFunctions::StateMachine","Properties":{"StateMachineName":"mine","RoleArn":"` + role + `","Definition":` + machine + `}}`,
			"DescribeStateMachine", map[string]any{"stateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:mine"}},
		{"states", "CreateActivity", map[string]any{"name": "mine"}, `{"Type":"AWS::StepFunctions::Activity","Properties":{"Name":"mine"}}`,
			"DescribeActivity", map[string]any{"activityArn": "arn:aws:states:us-east-1:000000000000:activity:mine"}},
	}
	for _, c := range cases {
		if _, err := w.read(c.service, c.op, c.in); err != nil {
			t.Fatal(err)
		}
	}
	// AWS tells milliseconds, and what was made within the command's own may be its: another stack comes between.
	other := `{"Resources":{"R":{"Type":"AWS::SNS::Topic"}}}`
	w.ended(*must[api.CreateStackOutput](w, "CreateStack", &api.CreateStackInput{StackName: "between", TemplateBody: &other}).StackId, "CREATE_COMPLETE")
	for _, c := range cases {
		body := `{"Resources":{"R":` + c.resource + `}}`
		id := *must[api.CreateStackOutput](w, "CreateStack", &api.CreateStackInput{StackName: "takes-" + c.op, TemplateBody: &body}).StackId
		w.ended(id, "ROLLBACK_COMPLETE")
		told := ""
		for _, e := range must[api.DescribeStackEventsOutput](w, "DescribeStackEvents", &api.DescribeStackEventsInput{StackName: id}).StackEvents {
			if *e.ResourceStatus == "CREATE_FAILED" {
				told = *e.ResourceStatusReason
			}
		}
		if !strings.Contains(told, "already exists") {
			t.Errorf("%s: %q", c.op, told)
		}
		if _, err := w.read(c.service, c.look, c.in2); err != nil {
			t.Errorf("%s: it is gone: %v", c.op, err)
		}
	}
}
