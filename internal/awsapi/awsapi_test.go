package awsapi_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/emrapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/awsapi/sqsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
)

func TestModels(t *testing.T) {
	want := map[string]struct {
		protocol   string
		operations int
	}{
		"states": {"json", 37}, "elasticmapreduce": {"json", 60}, "cloudformation": {"query", 90}, "sns": {"query", 42}, "sqs": {"json", 23},
		"lambda": {"rest-json", 85}, "iam": {"query", 176}, "sts": {"query", 11}, "s3": {"rest-xml", 105}, "logs": {"json", 113},
		"ec2": {"ec2", 24}, "ssm": {"json", 13}, "events": {"json", 57}, "scheduler": {"rest-json", 12}, "mayfly": {"json", 4},
		"athena": {"json", 70}, "batch": {"rest-json", 45}, "bedrock-runtime": {"rest-json", 2}, "bedrock": {"rest-json", 4},
		"codebuild": {"json", 59}, "databrew": {"rest-json", 44}, "dynamodb": {"json", 57}, "ecs": {"json", 77}, "eks": {"rest-json", 25},
		"emr-containers": {"rest-json", 23}, "emr-serverless": {"rest-json", 22}, "glue": {"json", 265}, "kms": {"json", 54},
		"mediaconvert": {"rest-json", 4}, "redshift-data": {"json", 11}, "sagemaker": {"json", 35}, "secretsmanager": {"json", 23},
	}
	if n := len(awsapi.Services()); n != len(want) {
		t.Errorf("%d models: %v", n, awsapi.Services())
	}
	for name, w := range want {
		m := awsapi.Load(name)
		if m == nil {
			t.Fatalf("no model of %s", name)
		}
		if m.Metadata.Protocol != w.protocol || len(m.Operations) != w.operations || m.Name() != name {
			t.Errorf("%s: %s with %d operations, want %+v", name, m.Metadata.Protocol, len(m.Operations), w)
		}
		if awsapi.Load(name) != m {
			t.Errorf("%s was read twice", name)
		}
	}
	if awsapi.Load("polly") != nil || awsapi.Load("../go") != nil {
		t.Error("a model that is not there")
	}
	if s := awsapi.Load("sqs").ErrorShape("AWS.SimpleQueueService.NonExistentQueue"); s == nil || s.Name != "QueueDoesNotExist" {
		t.Errorf("error by its wire name: %v", s)
	}
}

func TestBinding(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		in  any
		out any // a new one
		doc map[string]any
	}{
		{&statesapi.StartExecutionInput{StateMachineArn: "arn", Name: awsapi.Ptr("")}, &statesapi.StartExecutionInput{},
			map[string]any{"stateMachineArn": "arn", "name": ""}},
		{&statesapi.StartExecutionOutput{ExecutionArn: "e", StartDate: at}, &statesapi.StartExecutionOutput{}, map[string]any{"executionArn": "e", "startDate": at}},
		{&sqsapi.SendMessageInput{QueueUrl: "q", MessageBody: "b", DelaySeconds: awsapi.Ptr(int64(0)), MessageAttributes: map[string]sqsapi.MessageAttributeValue{
			"k": {DataType: "Binary", BinaryValue: []byte{0}}}}, &sqsapi.SendMessageInput{},
			map[string]any{"QueueUrl": "q", "MessageBody": "b", "DelaySeconds": int64(0), "MessageAttributes": map[string]any{"k": map[string]any{"DataType": "Binary", "BinaryValue": []byte{0}}}}},
		{&emrapi.RunJobFlowInput{Name: "c", Configurations: []emrapi.Configuration{{Classification: awsapi.Ptr("a"), Configurations: []emrapi.Configuration{{Properties: map[string]string{"k": "v"}}}}}, Tags: []emrapi.Tag{}, Instances: &emrapi.JobFlowInstancesConfig{InstanceCount: awsapi.Ptr(int64(3))}}, &emrapi.RunJobFlowInput{},
			map[string]any{"Name": "c", "Tags": []any{}, "Instances": map[string]any{"InstanceCount": int64(3)},
				"Configurations": []any{map[string]any{"Classification": "a", "Configurations": []any{map[string]any{"Properties": map[string]any{"k": "v"}}}}}}},
	} {
		doc := awsapi.ToDocument(c.in)
		if diff := cmp.Diff(c.doc, doc); diff != "" {
			t.Errorf("%T to a document (-want +got)\n%s", c.in, diff)
		}
		if err := awsapi.FromDocument(doc, c.out); err != nil {
			t.Errorf("%T: %v", c.in, err)
		}
		if diff := cmp.Diff(c.in, c.out); diff != "" {
			t.Errorf("%T and back (-want +got)\n%s", c.in, diff)
		}
	}
}

// TestStreams: a body passes as it is, unread, even when it is a struct itself.
func TestStreams(t *testing.T) {
	body := bytes.NewReader([]byte("body"))
	var in s3api.PutObjectInput
	if err := awsapi.FromDocument(map[string]any{"Bucket": "b", "Key": "k", "Body": body}, &in); err != nil || in.Body != io.Reader(body) {
		t.Fatal(in.Body, err)
	}
	if got := awsapi.ToDocument(in)["Body"]; got != body {
		t.Errorf("%T", got)
	}
	out := awsapi.ToDocument(&s3api.GetObjectOutput{Body: io.NopCloser(body)})
	if _, ok := out["Body"].(io.ReadCloser); !ok || len(out) != 1 {
		t.Errorf("%v", out)
	}
}

func TestBindingErrors(t *testing.T) {
	for text, doc := range map[string]map[string]any{
		"no member nope": {"nope": 1}, "name: int64 for string": {"name": int64(1)}, "tags: string for []": {"tags": "x"},
		"tags: 0: key: bool for string": {"tags": []any{map[string]any{"key": true}}},
	} {
		err := awsapi.FromDocument(doc, &statesapi.CreateStateMachineInput{})
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v: %v, want %s", doc, err, text)
		}
	}
	if s := fmt.Sprint(awsapi.Errorf(404, "NotThere", "no %s", "x")); s != "NotThere: no x" {
		t.Error(s)
	}
}
