package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/pipelines/emr"
)

// aws is a small account: objects, one stack, clusters, and what was sent to tokens.
type aws struct {
	objects  map[string]string // s3://…
	buckets  map[string]bool
	stack    map[string]any // nil: none
	events   []any
	clusters map[string]string
	guarded  map[string]bool
	said     []string // calls that change something
	onDelete func()
	refuse   map[string]error // by operation
}

const arn = "arn:aws:cloudformation:us-east-1:000000000000:stack/emr-x/1"

func newAWS() *aws {
	return &aws{objects: map[string]string{}, buckets: map[string]bool{"bkt": true, "data": true}, clusters: map[string]string{}, guarded: map[string]bool{}, refuse: map[string]error{}}
}

func (w *aws) say(format string, args ...any) { w.said = append(w.said, fmt.Sprintf(format, args...)) }

func (w *aws) Invoke(_ context.Context, c awscall.Call) (map[string]any, error) {
	if err := w.refuse[c.Operation]; err != nil {
		return nil, err
	}
	in := c.Input
	object := fmt.Sprintf("s3://%v/%v", in["Bucket"], in["Key"])
	switch c.Operation {
	case "HeadObject", "GetObject":
		body, ok := w.objects[object]
		if !ok {
			return nil, awsapi.Errorf(404, "NoSuchKey", "The specified key does not exist.")
		}
		return map[string]any{"Body": io.NopCloser(strings.NewReader(body))}, nil
	case "PutObject":
		w.objects[object] = string(in["Body"].([]byte))
		return nil, nil
	case "DeleteObject":
		delete(w.objects, object)
		return nil, nil
	case "ListObjectsV2":
		if !w.buckets[in["Bucket"].(string)] {
			return nil, awsapi.Errorf(404, "NoSuchBucket", "The specified bucket does not exist")
		}
		for k := range w.objects {
			if strings.HasPrefix(k, fmt.Sprintf("s3://%v/%v", in["Bucket"], in["Prefix"])) {
				return map[string]any{"Contents": []any{map[string]any{"Key": k}}}, nil
			}
		}
		return map[string]any{}, nil
	case "CreateStack":
		if w.stack != nil {
			return nil, awsapi.Errorf(400, "AlreadyExistsException", "Stack [%v] already exists", in["StackName"])
		}
		if body, _ := in["TemplateBody"].(string); len(body) > 51200 {
			return nil, awsapi.Errorf(400, "ValidationError", "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to 51200")
		}
		if u, ok := in["TemplateURL"]; ok {
			w.say("TemplateURL %v", u)
		}
		w.say("CreateStack %v %v", in["StackName"], in["Parameters"])
		w.stack = map[string]any{"StackId": arn, "StackStatus": "CREATE_IN_PROGRESS", "Tags": in["Tags"]}
		return map[string]any{"StackId": arn}, nil
	case "DescribeStacks":
		if w.stack == nil || in["StackName"] != arn && w.stack["StackStatus"] == "DELETE_COMPLETE" {
			return nil, awsapi.Errorf(400, "ValidationError", "Stack with id %v does not exist", in["StackName"])
		}
		return map[string]any{"Stacks": []any{w.stack}}, nil
	case "DescribeStackEvents":
		return map[string]any{"StackEvents": w.events}, nil
	case "DescribeStackResources":
		rs := []any{}
		for id := range w.clusters {
			status := "CREATE_COMPLETE"
			if w.stack["StackStatus"] == "DELETE_FAILED" {
				status = "DELETE_FAILED"
			}
			rs = append(rs, map[string]any{"ResourceType": "AWS::EMR::Cluster", "LogicalResourceId": "EMRCluster", "PhysicalResourceId": id, "ResourceStatus": status})
		}
		return map[string]any{"StackResources": rs}, nil
	case "DeleteStack":
		w.say("DeleteStack %v", in["RetainResources"])
		w.stack["StackStatus"] = "DELETE_IN_PROGRESS"
		if w.onDelete != nil {
			w.onDelete()
		}
		return nil, nil
	case "DescribeCluster":
		state, ok := w.clusters[in["ClusterId"].(string)]
		if !ok {
			return nil, awsapi.Errorf(400, "InvalidRequestException", "Cluster id '%v' is not valid.", in["ClusterId"])
		}
		return map[string]any{"Cluster": map[string]any{"Id": in["ClusterId"], "LogUri": "s3n://bkt/logs/", "Status": map[string]any{"State": state}}}, nil
	case "SetTerminationProtection":
		w.say("SetTerminationProtection %v %v", in["JobFlowIds"], in["TerminationProtected"])
		return nil, nil
	case "TerminateJobFlows":
		w.say("TerminateJobFlows %v", in["JobFlowIds"])
		for _, id := range in["JobFlowIds"].([]any) {
			w.clusters[id.(string)] = "TERMINATING"
		}
		return nil, nil
	case "SendTaskSuccess":
		w.say("success %v %v", in["taskToken"], in["output"])
		return nil, nil
	case "SendTaskFailure":
		w.say("failure %v %v: %v", in["taskToken"], in["error"], in["cause"])
		return nil, nil
	case "SendTaskHeartbeat":
		w.say("beat %v", in["taskToken"])
		return nil, nil
	case "StartExecution":
		w.say("StartExecution %v %v", in["name"], in["input"])
		return map[string]any{"executionArn": "x"}, nil
	}
	return nil, awsapi.Errorf(400, "UnknownOperationException", "%s", c.Operation)
}

func (w *aws) app() *app {
	return &app{calls: w, bucket: "bkt", stackRole: "role", stackTopic: "topic", innerMachine: "inner"}
}

func (w *aws) expect(t *testing.T, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, w.said); d != "" {
		t.Errorf("calls (-want +got):\n%s", d)
	}
	w.said = nil
}

const template = `
Parameters:
  ModelName: {Type: String}
  ClusterSize: {Type: Number}
  KeyPair: {Type: String}
  Label: {Type: String, Default: emr-7.12.0}
Resources:
  EMRCluster: {Type: AWS::EMR::Cluster, Properties: {Name: !Ref ModelName}}
Outputs:
  EMRClusterID: {Value: !Ref EMRCluster}
`

// ready is an account in which the pipeline can start.
func ready() *aws {
	w := newAWS()
	w.objects = map[string]string{
		"s3://bkt/testcode/model.py": "x", "s3://bkt/testcode/pre.py": "x", "s3://data/in/part-0.csv": "1",
		"s3://bkt/conf/cluster.yaml": template, "s3://bkt/conf/cluster.json": `[{"ParameterKey":"KeyPair","ParameterValue":"k"}]`,
	}
	return w
}

func goodInput() map[string]any {
	return map[string]any{"ModelName": "PipelineTest_01", "ModelProgram": "s3://bkt/testcode/model.py", "PreProcessingProgram": "s3://bkt/testcode/pre.py",
		"EMRCloudFormation": "https://s3.amazonaws.com/bkt/conf/cluster.yaml", "EMRParameters": "https://bkt.s3.eu-west-1.amazonaws.com/conf/cluster.json",
		"JobInput": "s3://data/in/", "SecurityGroup": "sg-1", "SubNet": "subnet-1", "ClusterSize": "4", "ProcessingMode": []string{"TRAINING", "week days"}}
}

func request(v any) validateRequest {
	b, _ := json.Marshal(v)
	return validateRequest{Input: b, Execution: "run-1", ExecutionArn: "arn:aws:states:us-east-1:000000000000:execution:M:run-1"}
}

func TestPlan(t *testing.T) {
	p, err := ready().app().validate(t.Context(), request(goodInput()))
	if err != nil {
		t.Fatal(err)
	}
	if want := "emr-PipelineTest-01-" + shortHash(p.ExecutionArn); p.StackName != want {
		t.Errorf("stack %s, want %s", p.StackName, want)
	}
	second := p.Modes[1]
	want := []string{"spark-submit", "--deploy-mode", "client", "--master", "yarn", "s3://bkt/testcode/model.py", "s3://data/in/",
		second.Preprocessing.Output, "week days", second.Model.Output}
	if d := cmp.Diff(want, second.Model.Args); d != "" {
		t.Error(d)
	}
	if got, want := p.Modes[0].Model.Output, "s3://bkt/output/run-1/TRAINING/model"; got != want {
		t.Errorf("output %s, want %s", got, want)
	}
	if !strings.HasPrefix(second.Output, "s3://bkt/output/run-1/week-days-") {
		t.Errorf("folder of a mode with a blank: %s", second.Output)
	}
	if a := p.Modes[0].Preprocessing.Args; a[7] != "6" {
		t.Errorf("the largest k is %s and must not be the cluster's size", a[7])
	}
	// Whatever the modes are called, and in whatever order, their folders differ.
	for _, modes := range [][]string{{"a b", "a-b-" + shortHash("a b", "0")}, {"a-b-" + shortHash("a b", "0"), "a b"}, {"a b", "a/b", "a--b", "ä", "ö"}} {
		in := goodInput()
		in["ProcessingMode"] = modes
		p, err := ready().app().validate(t.Context(), request(in))
		if err != nil {
			t.Fatal(err)
		}
		folders := map[string]bool{}
		for _, m := range p.Modes {
			folders[m.Output] = true
		}
		if len(folders) != len(modes) {
			t.Errorf("the modes %q have the folders %v", modes, folders)
		}
	}
	for _, name := range []string{strings.Repeat("9long name ", 11), "-", "日本"} {
		in := goodInput()
		in["ModelName"] = name
		p, err := ready().app().validate(t.Context(), request(in))
		if err != nil || len(p.StackName) > 60 || !strings.HasPrefix(p.StackName, "emr-") {
			t.Errorf("model %q: stack %v, %v", name, p, err)
		}
	}
}

func TestRefusedInput(t *testing.T) {
	for _, c := range []struct {
		name string
		in   map[string]any
		say  string
	}{
		{"no mode", map[string]any{"ProcessingMode": []string{}}, "ProcessingMode is empty"},
		{"empty mode", map[string]any{"ProcessingMode": []string{" "}}, "an empty value"},
		{"a mode twice", map[string]any{"ProcessingMode": []string{"A", "A"}}, "twice"},
		{"a mode that is no list", map[string]any{"ProcessingMode": "A"}, "ProcessingMode must not be a JSON string"},
		{"many modes", map[string]any{"ProcessingMode": strings.Fields(strings.Repeat("a ", 21))}, "more than 20"},
		{"a misspelled member", map[string]any{"Modelname2": "x"}, "Modelname2"},
		{"no name", map[string]any{"ModelName": ""}, "ModelName is missing"},
		{"bad url", map[string]any{"EMRCloudFormation": "https://example.com/b/k"}, "its host is not S3's"},
		{"another's bucket", map[string]any{"ModelProgram": "s3://other/x.py"}, "lies in the bucket other"},
		{"program missing", map[string]any{"ModelProgram": "s3://bkt/none.py"}, "s3://bkt/none.py does not exist"},
		{"template missing", map[string]any{"EMRCloudFormation": "bkt/none.yaml"}, "s3://bkt/none.yaml does not exist"},
		{"no data", map[string]any{"JobInput": "s3://data/none/"}, "nothing lies under"},
		{"no data bucket", map[string]any{"JobInput": "s3://nowhere/in/"}, "the bucket nowhere does not exist"},
		{"size", map[string]any{"ClusterSize": "many"}, "ClusterSize must be a number"},
		{"size 0", map[string]any{"ClusterSize": 0}, "ClusterSize must be a number"},
		{"group", map[string]any{"SecurityGroup": "default"}, "SecurityGroup must be"},
		{"subnet", map[string]any{"SubNet": ""}, "SubNet must be"},
		{"output elsewhere", map[string]any{"OutputRoot": "s3://other/x"}, "OutputRoot lies in the bucket other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := goodInput()
			for k, v := range c.in {
				in[k] = v
			}
			w := ready()
			_, err := w.app().validate(t.Context(), request(in))
			var f *failure
			if !errors.As(err, &f) || f.Name != "Input.Invalid" || !strings.Contains(f.Message, c.say) {
				t.Errorf("%v, want Input.Invalid with %q", err, c.say)
			}
			w.expect(t)
		})
	}
	for _, raw := range []string{`[]`, `"x"`, `null`, `7`} {
		if _, err := ready().app().validate(t.Context(), validateRequest{Input: json.RawMessage(raw), Execution: "e", ExecutionArn: "a"}); err == nil || !strings.Contains(err.Error(), "must be an object") {
			t.Errorf("input %s: %v", raw, err)
		}
	}
}

func TestParameters(t *testing.T) {
	w := ready()
	p, err := w.app().validate(t.Context(), request(goodInput()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.app().launch(t.Context(), launchRequest{*p}); err != nil {
		t.Fatal(err)
	}
	w.expect(t, fmt.Sprintf("CreateStack %s [map[ParameterKey:ClusterSize ParameterValue:4] map[ParameterKey:KeyPair ParameterValue:k] map[ParameterKey:ModelName ParameterValue:PipelineTest_01]]", p.StackName))
	again, err := w.app().launch(t.Context(), launchRequest{*p})
	if err != nil || again.StackId != arn {
		t.Errorf("a repetition gives %v, %v", again, err)
	}
	p.ExecutionArn = "another"
	if _, err := w.app().launch(t.Context(), launchRequest{*p}); err == nil || !strings.Contains(err.Error(), "Stack.NameTaken") {
		t.Errorf("another execution's stack: %v", err)
	}
	large := ready()
	large.objects["s3://bkt/conf/cluster.yaml"] = template + "# " + strings.Repeat("x", 51200)
	if _, err := large.app().launch(t.Context(), launchRequest{*p}); err != nil {
		t.Error(err)
	}
	if len(large.said) != 2 || large.said[0] != "TemplateURL https://s3.amazonaws.com/bkt/conf/cluster.yaml" {
		t.Errorf("a template that is too long to be sent along: %v", large.said)
	}
	for name, c := range map[string]struct{ template, file, say string }{
		"unknown":   {template, `{"KeyPair":"k","Nothing":"x"}`, "Nothing of s3://bkt/conf/cluster.json do not exist"},
		"missing":   {template, `{}`, "KeyPair of s3://bkt/conf/cluster.yaml have no value"},
		"twice":     {template, `[{"ParameterKey":"KeyPair","ParameterValue":"k"},{"ParameterKey":"KeyPair","ParameterValue":"l"}]`, "twice"},
		"no json":   {template, `KeyPair=k`, "invalid character"},
		"no yaml":   {"a: [", `{}`, "is no template"},
		"no output": {"Resources: {A: {Type: AWS::SNS::Topic}}", `{}`, "has no output EMRClusterID"},
	} {
		w := ready()
		w.objects["s3://bkt/conf/cluster.yaml"], w.objects["s3://bkt/conf/cluster.json"] = c.template, c.file
		if _, err := w.app().validate(t.Context(), request(goodInput())); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLocations(t *testing.T) {
	for s, want := range map[string]string{
		"s3://b-1/a/b.py": "s3://b-1/a/b.py", "s3a://bkt/k": "s3://bkt/k", "bkt/file.json": "s3://bkt/file.json",
		"https://s3.amazonaws.com/bkt/pre/fix/k.yaml": "s3://bkt/pre/fix/k.yaml", "https://s3-eu-west-1.amazonaws.com/bkt/k": "s3://bkt/k",
		"https://s3.eu-west-1.amazonaws.com/bkt/k": "s3://bkt/k", "https://bkt.s3.amazonaws.com/a/k": "s3://bkt/a/k",
		"https://my.bkt.s3.cn-north-1.amazonaws.com.cn/a%20b": "s3://my.bkt/a b", "http://127.0.0.1:4566/bkt/k": "s3://bkt/k",
		"": "", "s3://": "", "s3://UPPER/k": "", "ftp://bkt/k": "", "https://evil.com/bkt/k": "", "https://s3.amazonaws.com.evil.com/bkt/k": "",
		" s3://bkt/k": "", "https://s3.amazonaws.com/bkt/k?versionId=1": "",
	} {
		l, err := parseLocation(s)
		if got := l.String(); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q: %s, %v; want %q", s, got, err, want)
		}
	}
}

const stackMessage = "StackId='" + arn + "'\nTimestamp='2026-11-22T20:00:00.000Z'\nEventId='1'\nLogicalResourceId='emr-x'\nNamespace='000000000000'\nResourceProperties='{\n \"a\": \"b\"\n}'\nResourceStatus='CREATE_COMPLETE'\nResourceStatusReason=''\nResourceType='AWS::CloudFormation::Stack'\nStackName='emr-x'\nClientRequestToken='null'\n"

func notify(w *aws, t *testing.T) {
	t.Helper()
	var n notification
	if err := json.Unmarshal([]byte(`{"Records":[{"EventSource":"aws:sns","Sns":{"Message":`+quote(stackMessage)+`}}]}`), &n); err != nil {
		t.Fatal(err)
	}
	if _, err := w.app().stackEvents(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func quote(s string) string { b, _ := json.Marshal(s); return string(b) }

func TestNotification(t *testing.T) {
	got := stackNotification(stackMessage)
	if got["StackId"] != arn || got["ResourceStatus"] != "CREATE_COMPLETE" || got["StackName"] != "emr-x" || !strings.Contains(got["ResourceProperties"], `"a"`) {
		t.Errorf("%v", got)
	}
}

func TestAwaitLaunch(t *testing.T) {
	w := newAWS()
	w.stack = map[string]any{"StackId": arn, "StackStatus": "CREATE_IN_PROGRESS"}
	notify(w, t)
	w.expect(t) // nobody waits yet
	if _, err := w.app().await(t.Context(), awaitRequest{arn, "T"}); err != nil {
		t.Fatal(err)
	}
	notify(w, t)
	w.expect(t, "beat T", "beat T")
	w.stack["StackStatus"] = "CREATE_COMPLETE"
	w.stack["Outputs"] = []any{map[string]any{"OutputKey": "Other", "OutputValue": "x"}, map[string]any{"OutputKey": "EMRClusterID", "OutputValue": "j-1"}}
	notify(w, t)
	notify(w, t)
	w.expect(t, `success T {"ClusterId":"j-1","StackId":"`+arn+`"}`)
	if len(w.objects) != 0 {
		t.Errorf("left behind: %v", w.objects)
	}
	// The stack was there before the token: the function itself answers.
	if _, err := w.app().await(t.Context(), awaitRequest{arn, "U"}); err != nil {
		t.Fatal(err)
	}
	w.expect(t, `success U {"ClusterId":"j-1","StackId":"`+arn+`"}`)
	w.stack["StackStatus"] = "ROLLBACK_COMPLETE"
	w.events = []any{
		map[string]any{"LogicalResourceId": "emr-x", "PhysicalResourceId": arn, "ResourceStatus": "CREATE_FAILED", "ResourceStatusReason": "stack"},
		map[string]any{"LogicalResourceId": "Other", "ResourceStatus": "CREATE_FAILED", "ResourceStatusReason": "Resource creation cancelled"},
		map[string]any{"LogicalResourceId": "EMRCluster", "ResourceType": "AWS::EMR::Cluster", "ResourceStatus": "CREATE_FAILED", "ResourceStatusReason": "The supplied release label is invalid: emr-none."},
	}
	if _, err := w.app().await(t.Context(), awaitRequest{arn, "V"}); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "failure V Stack.CreateFailed: The stack is ROLLBACK_COMPLETE. EMRCluster (AWS::EMR::Cluster): The supplied release label is invalid: emr-none.")
}

func TestDelete(t *testing.T) {
	del := func(w *aws, level string) {
		t.Helper()
		if _, err := w.app().delete(t.Context(), deleteRequest{"emr-x", level, "T"}); err != nil {
			t.Fatal(err)
		}
	}
	w := newAWS()
	del(w, "delete") // never made
	w.expect(t, `success T {"Clusters":null,"StackId":"","Status":"DELETE_COMPLETE"}`)

	w.stack = map[string]any{"StackId": arn, "StackStatus": "CREATE_COMPLETE"}
	w.clusters["j-1"] = "WAITING"
	del(w, "delete")
	w.expect(t, "DeleteStack <nil>")
	notify(w, t)
	w.expect(t, "beat T")
	w.stack["StackStatus"] = "DELETE_FAILED"
	w.events = []any{map[string]any{"LogicalResourceId": "EMRCluster", "ResourceType": "AWS::EMR::Cluster", "ResourceStatus": "DELETE_FAILED", "ResourceStatusReason": "protected"}}
	notify(w, t)
	w.expect(t, "failure T Stack.DeleteFailed: The stack could not be deleted. EMRCluster (AWS::EMR::Cluster): protected")
	del(w, "force")
	w.expect(t, "SetTerminationProtection [j-1] false", "TerminateJobFlows [j-1]", "DeleteStack <nil>")
	w.stack["StackStatus"] = "DELETE_FAILED"
	del(w, "retain")
	w.expect(t, "DeleteStack [EMRCluster]")
	w.stack["StackStatus"] = "DELETE_COMPLETE"
	w.clusters["j-1"] = "WAITING" // the stack is gone, the cluster is not
	notify(w, t)
	w.expect(t, "failure T Stack.ClusterAlive: The stack is gone, yet its cluster j-1 is WAITING.")
	del(w, "force") // knows the cluster from before
	w.expect(t, "SetTerminationProtection [j-1] false", "TerminateJobFlows [j-1]", `success T {"Clusters":["j-1"],"StackId":"`+arn+`","Status":"DELETE_COMPLETE"}`)

	// It goes at once: the notification may have come before the function looks.
	w = newAWS()
	w.stack = map[string]any{"StackId": arn, "StackStatus": "ROLLBACK_COMPLETE"}
	w.onDelete = func() { w.stack["StackStatus"] = "DELETE_COMPLETE" }
	del(w, "delete")
	w.expect(t, "DeleteStack <nil>", `success T {"Clusters":null,"StackId":"`+arn+`","Status":"DELETE_COMPLETE"}`)

	// In the middle of a rollback the deletion is refused; its end is notified and asked again.
	w = newAWS()
	w.stack = map[string]any{"StackId": arn, "StackStatus": "ROLLBACK_IN_PROGRESS"}
	w.refuse["DeleteStack"] = awsapi.Errorf(400, "ValidationError", "in progress")
	del(w, "delete")
	w.expect(t)
	w.stack["StackStatus"] = "ROLLBACK_COMPLETE"
	notify(w, t)
	w.expect(t, "failure T Stack.Busy: The stack is ROLLBACK_COMPLETE; its deletion has to be asked for again.")
}

func TestStartStep(t *testing.T) {
	w := newAWS()
	in := startRequest{Token: "T", Execution: "e", ClusterId: "j-1", Step: Step{Name: "model " + strings.Repeat("ü!", 80), Args: []string{"spark-submit"}}}
	if _, err := w.app().startStep(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	name := strings.Fields(w.said[0])[1]
	if len(name) > 80 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
		t.Errorf("execution name %q", name)
	}
	if !strings.Contains(w.said[0], `"Token":"T"`) {
		t.Errorf("no token in %s", w.said[0])
	}
}

const driverLog = `26/11/22 20:00:00 WARN TaskSetManager: Lost task 0.0
Traceback (most recent call last):
  File "/tmp/broken.py", line 19, in <module>
    main(sys.argv)
  File "/tmp/broken.py", line 15, in main
    raise ValueError("no usable reading")
ValueError: no usable reading
26/11/22 20:00:01 INFO ShutdownHookManager: Shutdown hook called
`

func TestReportFailure(t *testing.T) {
	var z bytes.Buffer
	g := gzip.NewWriter(&z)
	g.Write([]byte(driverLog))
	g.Close()
	w := newAWS()
	w.clusters["j-1"] = "WAITING"
	w.objects["s3://bkt/logs/j-1/steps/s-1/stdout.gz"] = z.String() // where a Python driver's traceback lies
	w.objects["s3://bkt/logs/j-1/steps/s-1/stderr.gz"] = "26/11/22 INFO all is well\n"
	for _, c := range []struct{ error, cause, wantError, wantMessage string }{
		{"States.TaskFailed", `{"Step":{"Id":"s-1","Status":{"State":"FAILED","FailureDetails":{"Reason":"Unknown Error.","Message":"The program ended with exit code 1.","LogFile":"s3://bkt/logs/j-1/steps/s-1/stderr.gz"}}}}`, "EMR.StepFailed", "ValueError: no usable reading"},
		{"States.TaskFailed", `{"Id":"s-1","Status":{"State":"FAILED"}}`, "EMR.StepFailed", "ValueError: no usable reading"},
		{"States.TaskFailed", `{"Step":{"Id":"s-2","Status":{"State":"FAILED","FailureDetails":{"Message":"KeyError: 'x'"}}}}`, "EMR.StepFailed", "KeyError: 'x'"},
		{"States.TaskFailed", `{"Step":{"Id":"s-3","Status":{"State":"CANCELLED"}}}`, "EMR.StepCancelled", "The step is CANCELLED."},
		{"EMR.ClusterTerminated", `{"ClusterId":"j-1","State":"TERMINATED_WITH_ERRORS","StateChangeReason":{"Code":"BOOTSTRAP_FAILURE","Message":"non-zero return code"}}`, "EMR.ClusterTerminated", "The cluster is TERMINATED_WITH_ERRORS. non-zero return code"},
		{"States.Timeout", "", "EMR.StepTimedOut", "The step did not end in time and was cancelled."},
		{"EMR.AmazonElasticMapReduceException", "A job flow that is shutting down may not be modified.", "EMR.AmazonElasticMapReduceException", "A job flow that is shutting down may not be modified."},
		{"States.TaskFailed", "plain words", "EMR.StepNotRun", "plain words"},
	} {
		in := failureRequest{Token: "T", ClusterId: "j-1", Name: "model TRAINING"}
		in.Failure.Error, in.Failure.Cause = c.error, c.cause
		out, err := w.app().reportFailure(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		f := readFailure(*out)
		if out.Error != c.wantError || f.Message != c.wantMessage || f.Step != "model TRAINING" {
			t.Errorf("%s %s: %s %+v", c.error, c.cause, out.Error, f)
		}
		if want := "failure T " + out.Error + ": " + out.Cause; w.said[len(w.said)-1] != want {
			t.Errorf("told %s, want %s", w.said[len(w.said)-1], want)
		}
	}
}

func TestExceptionIn(t *testing.T) {
	for log, want := range map[string]string{
		driverLog: "ValueError: no usable reading",
		"Traceback (most recent call last):\n  File\npy4j.protocol.Py4JJavaError: An error\n\tat x\nCaused by: java.io.IOException: disk\n\tat y\nCaused by: java.lang.OutOfMemoryError: heap\n": "java.lang.OutOfMemoryError: heap",
		"  File \"x.py\", line 3\n    print 1\n          ^\nSyntaxError: Missing parentheses\n":                                                                                                  "SyntaxError: Missing parentheses",
		"all is well\n":           "",
		"ValueErrors: 3 of 100\n": "",
	} {
		if got := exceptionIn(log, false); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestManifestAndCard(t *testing.T) {
	w := ready()
	a := w.app()
	p, err := a.validate(t.Context(), request(goodInput()))
	if err != nil {
		t.Fatal(err)
	}
	w.objects[p.Modes[0].Model.Output+"/manifest.json"] = `{"rows": 100, "anomalies": 7, "kinds": {"dead": 7}, "sensors": []}`
	good := modeResult{Mode: "TRAINING", Status: "SUCCEEDED"}
	bad := modeResult{Mode: "week days", Status: "FAILED", Failure: &errorAndCause{"EMR.StepFailed", `{"Step":"model week days","ClusterId":"j-1","StepId":"s-2","State":"FAILED","Message":"ValueError: no","LogFile":"s3://bkt/l"}`}}
	in := manifestRequest{Plan: *p, Modes: []modeResult{good, bad}}
	in.Cluster.ClusterId, in.Cluster.StackId = "j-1", arn
	out, err := a.manifest(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if f := out.Failure; f == nil || f.Error != "EMR.StepFailed" || f.Cause != "week days: model week days: ValueError: no (step s-2, cluster j-1, log s3://bkt/l)" {
		t.Errorf("failure %+v", f)
	}
	if w.objects["s3://bkt/output/run-1/manifest.json"] == "" {
		t.Errorf("no manifest in %v", w.objects)
	}
	if w.objects["s3://bkt/output/latest.json"] != "" {
		t.Error("a failed execution became the latest")
	}
	body, _ := json.Marshal(map[string]any{"Execution": p.ExecutionArn, "Started": "2026-11-22T20:00:00Z", "Now": "2026-11-22T20:01:30Z",
		"State": map[string]any{"Plan": p, "Stack": map[string]any{"StackId": arn}, "Cluster": map[string]any{"StackId": arn, "ClusterId": "j-1"},
			"Results": map[string]any{"Published": out}, "Failure": out.Failure, "Deleted": map[string]any{"Status": "DELETE_COMPLETE"}}})
	var card cardRequest
	if err := json.Unmarshal(body, &card); err != nil {
		t.Fatal(err)
	}
	mail, err := a.card(t.Context(), card)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"has failed", p.ExecutionArn, "1m30s", "j-1", "s-2", "ValueError: no", "s3://bkt/l", "7 of 100 readings", "the stack is gone"} {
		if !strings.Contains(mail.Message, part) {
			t.Errorf("%q is missing in\n%s", part, mail.Message)
		}
	}
	if mail.Subject != "EMR pipeline failed: PipelineTest_01" {
		t.Error(mail.Subject)
	}

	// A step that ended well and left nothing has not succeeded.
	in.Modes = []modeResult{{Mode: "TRAINING", Status: "SUCCEEDED"}}
	delete(w.objects, p.Modes[0].Model.Output+"/manifest.json")
	if out, err = a.manifest(t.Context(), in); err != nil || out.Failure == nil || out.Failure.Error != "Output.Missing" {
		t.Errorf("%+v, %v", out, err)
	}
	// Refused input: nothing but the execution is known.
	mail, err = a.card(t.Context(), cardRequest{Execution: "arn:x:run", State: struct {
		Plan             *Plan
		Stack            *launchAnswer
		Cluster          *struct{ StackId, ClusterId string }
		Results          *struct{ Published Published }
		Failure          *errorAndCause
		Deletion, Forced *errorAndCause
		Deleted          json.RawMessage
	}{Failure: &errorAndCause{"Input.Invalid", `{"errorMessage":"ProcessingMode is empty","errorType":"Input.Invalid"}`}}})
	if err != nil || !strings.Contains(mail.Message, "ProcessingMode is empty") || !strings.Contains(mail.Message, "nothing had been made") {
		t.Errorf("%v %v", mail, err)
	}
}

func TestErrorNames(t *testing.T) {
	for want, err := range map[string]error{
		"Service.Unavailable":  fmt.Errorf("x: %w", awsapi.Errorf(400, "ThrottlingException", "Rate exceeded")),
		"Service.AccessDenied": awsapi.Errorf(403, "AccessDenied", "no"),
	} {
		if got := nameOf(err); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if nameOf(io.ErrUnexpectedEOF) != "Service.Unavailable" || nameOf(awsapi.Errorf(503, "X", "")) != "Service.Unavailable" {
		t.Error("a broken connection is worth another try")
	}
}

func TestSubject(t *testing.T) {
	if s := subject("ü\n" + strings.Repeat("x", 200)); len(s) != 99 || !strings.HasPrefix(s, "??x") {
		t.Error(s)
	}
}

func FuzzLocation(f *testing.F) {
	f.Add("https://s3.amazonaws.com/b/k")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := parseLocation(s)
		if err != nil {
			return
		}
		again, err := parseLocation(l.String())
		if err != nil && !strings.HasSuffix(l.Key, " ") || err == nil && again != l {
			t.Errorf("%q → %v → %v, %v", s, l, again, err)
		}
	})
}

func FuzzNotification(f *testing.F) {
	f.Add(stackMessage)
	f.Fuzz(func(t *testing.T, s string) { stackNotification(s) })
}

// TestHandlers: the template names the handlers that there are, and all of them, and gives each what it reads.
func TestHandlers(t *testing.T) {
	var doc struct {
		Resources map[string]struct {
			Type       string `yaml:"Type"`
			Properties struct {
				Handler string `yaml:"Handler"`
			} `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal(emr.Template(), &doc); err != nil {
		t.Fatal(err)
	}
	known := handlers(newAWS().app())
	named := map[string]bool{}
	for id, r := range doc.Resources {
		if r.Type != "AWS::Lambda::Function" {
			continue
		}
		named[r.Properties.Handler] = true
		if known[r.Properties.Handler] == nil {
			t.Errorf("%s has the handler %q, which is unknown", id, r.Properties.Handler)
		}
	}
	for h := range known {
		if !named[h] {
			t.Errorf("no function of the template has the handler %q", h)
		}
	}
}

// TestErrorForm: Lambda reports the name of an error when it gets it in this form.
func TestErrorForm(t *testing.T) {
	_, err := typed(func(context.Context, int) (int, error) { return 0, failf("Stack.NameTaken", "x %d", 1) })(t.Context(), 1)
	if e, ok := err.(messages.InvokeResponse_Error); !ok || e.Type != "Stack.NameTaken" || e.Message != "x 1" {
		t.Errorf("%#v", err)
	}
}
