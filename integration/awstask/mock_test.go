package awstask

import (
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// TestCheckMock tables mocked results: what is said of each in STRICT, and, where it differs, in PRESENT.
func TestCheckMock(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	for _, c := range []struct{ resource, result, strict, present string }{
		// What no model describes.
		{"arn:aws:lambda:us-east-1:1:function:f", `"text"`, "", ""},
		{"arn:aws:states:us-east-1:1:activity:a", `[1]`, "", ""},
		{"arn:aws:states:::sqs:sendMessage.waitForTaskToken", `7`, "", ""},
		{"arn:aws:states:::http:invoke", `{"StatusCode":"x"}`, "", ""},
		{"arn:aws:states:::apigateway:invoke", `1`, "", ""},
		{"arn:aws:states:::eks:call", `{"Cluster":1}`, "", ""},
		{"arn:aws:states:::eks:runJob.sync", `{"Cluster":1}`, "", ""},
		{"arn:aws:states:::aws-sdk:sqs:deleteMessage", `"no output"`, "", ""},
		// A result is an object, and what the API does not have is ignored.
		{"arn:aws:states:::events:putEvents", `[]`, "The mocked result must be an object", "The mocked result must be an object"},
		{"arn:aws:states:::events:putEvents", `null`, "The mocked result must be an object", "The mocked result must be an object"},
		{"arn:aws:states:::events:putEvents", `{"entries":[{"EventId":1}]}`, "", ""},
		{"arn:aws:states:::events:putEvents", `{"FailedEntryCount":"0"}`, "Field 'FailedEntryCount' must be a number", "Field 'FailedEntryCount' must be a number"},
		{"arn:aws:states:::events:putEvents", `{"Entries":{}}`, "Field 'Entries' must be an array", "Field 'Entries' must be an array"},
		{"arn:aws:states:::events:putEvents", `{"Entries":["x"]}`, "Field 'Entries' must be an object", "Field 'Entries' must be an object"},
		{"arn:aws:states:::events:putEvents", `{"Entries":null}`, "", ""},
		// lambda:invoke has any Payload; the SDK's Invoke has text.
		{"arn:aws:states:::lambda:invoke", `{"Payload":[{"a":1}]}`, "", ""},
		{"arn:aws:states:::lambda:invoke", `{"ExecutedVersion":1}`, "Field 'ExecutedVersion' must be a string", "Field 'ExecutedVersion' must be a string"},
		{"arn:aws:states:::lambda:invoke", `{"ExecutedVersion":""}`, "Field 'ExecutedVersion' is smaller than the minimum length", "Field 'ExecutedVersion' is smaller than the minimum length"},
		{"arn:aws:states:::aws-sdk:lambda:invoke", `{"Payload":{"a":1}}`, "Field 'Payload' must be a string", "Field 'Payload' must be a string"},
		{"arn:aws:states:::aws-sdk:lambda:invoke", `{"Payload":"{\"a\":1}"}`, "", ""},
		{"arn:aws:states:::aws-sdk:lambda:getFunction", `{"Configuration":{"Timeout":0}}`, "Field 'Timeout' is less than the minimum value", "Field 'Timeout' is less than the minimum value"},
		{"arn:aws:states:::aws-sdk:lambda:getFunction", `{"Configuration":{"Runtime":"cobol"}}`, "Field 'Runtime' is not an expected value", "Field 'Runtime' is not an expected value"},
		{"arn:aws:states:::aws-sdk:lambda:getFunction", `{"Configuration":{"Environment":{"Variables":{"a":1}}}}`, "Field 'Variables' must be a string", "Field 'Variables' must be a string"},
		{"arn:aws:states:::aws-sdk:lambda:getFunction", `{"Configuration":[]}`, "Field 'Configuration' must be an object", "Field 'Configuration' must be an object"},
		{"arn:aws:states:::aws-sdk:lambda:getFunction", `{"Tags":[]}`, "Field 'Tags' must be an object", "Field 'Tags' must be an object"},
		// A job's result is that of the API that is polled.
		{"arn:aws:states:::states:startExecution", `{"ExecutionArn":"a"}`, "Required field 'StartDate' is missing", ""},
		{"arn:aws:states:::states:startExecution", `{"ExecutionArn":"","StartDate":"d"}`, "Field 'ExecutionArn' is smaller than the minimum length", "Field 'ExecutionArn' is smaller than the minimum length"},
		{"arn:aws:states:::states:startExecution", `{"ExecutionArn":"` + long(257) + `","StartDate":"d"}`, "Field 'ExecutionArn' exceeds the maximum length", "Field 'ExecutionArn' exceeds the maximum length"},
		{"arn:aws:states:::states:startExecution.sync", `{"ExecutionArn":"a","StartDate":"d"}`, "Required field 'StateMachineArn' is missing", ""},
		{"arn:aws:states:::states:startExecution.sync", `{"ExecutionArn":"a","StateMachineArn":"m","StartDate":"d","Status":"DONE"}`, "Field 'Status' is not an expected value", "Field 'Status' is not an expected value"},
		{"arn:aws:states:::states:startExecution.sync", `{"ExecutionArn":"a","StateMachineArn":"m","StartDate":"d","Status":"SUCCEEDED","Output":{}}`, "Field 'Output' must be a string", "Field 'Output' must be a string"},
		{"arn:aws:states:::states:startExecution.sync:2", `{"ExecutionArn":"a","StateMachineArn":"m","StartDate":"d","Status":"SUCCEEDED","Output":{}}`, "", ""},
		{"arn:aws:states:::states:startExecution.sync:2", `{"Output":1,"InputDetails":{"Included":"yes"}}`, "Required field 'ExecutionArn' is missing", "Field 'Included' must be a boolean"},
		{"arn:aws:states:::elasticmapreduce:addStep", `{"StepId":"s-1"}`, "", ""},
		{"arn:aws:states:::elasticmapreduce:addStep.sync", `{"Step":{"Status":{"State":"FINISHED"}}}`, "Field 'State' is not an expected value", "Field 'State' is not an expected value"},
		{"arn:aws:states:::elasticmapreduce:createCluster.sync", `{"Cluster":{"NormalizedInstanceHours":"1"}}`, "Field 'NormalizedInstanceHours' must be a number", "Field 'NormalizedInstanceHours' must be a number"},
		{"arn:aws:states:::glue:startJobRun.sync", `{"JobRun":{"Attempt":true}}`, "Field 'Attempt' must be a number", "Field 'Attempt' must be a number"},
		{"arn:aws:states:::batch:submitJob", `{"JobName":"j"}`, "Required field 'JobId' is missing", ""},
		{"arn:aws:states:::batch:submitJob.sync", `{"Jobs":[{"Status":"ASLEEP"}]}`, "Required field 'JobName' is missing", "Field 'Status' is not an expected value"},
		{"arn:aws:states:::ecs:runTask.sync", `{"Tasks":[{"StartedAt":1}]}`, "Field 'StartedAt' must be a string", "Field 'StartedAt' must be a string"},
		{"arn:aws:states:::athena:startQueryExecution.sync", `{"QueryExecution":{"Statistics":{"DataScannedInBytes":"9"}}}`, "Field 'DataScannedInBytes' must be a number", "Field 'DataScannedInBytes' must be a number"},
		{"arn:aws:states:::codebuild:startBuild.sync", `{"Builds":[{"BuildNumber":"1"}]}`, "Field 'BuildNumber' must be a number", "Field 'BuildNumber' must be a number"},
		{"arn:aws:states:::sagemaker:createTrainingJob.sync", `{"TrainingJobName":"n"}`, "Required field 'TrainingJobArn' is missing", ""},
		{"arn:aws:states:::bedrock:invokeModel", `{"Body":{"completion":"x"},"ContentType":"application/json"}`, "", ""},
		{"arn:aws:states:::bedrock:invokeModel", `{"Body":{},"ContentType":1}`, "Field 'ContentType' must be a string", "Field 'ContentType' must be a string"},
		{"arn:aws:states:::bedrock:invokeModel", `{"Body":[]}`, "Required field 'ContentType' is missing", ""},
		// Structures within structures, lists, maps, unions, bytes.
		{"arn:aws:states:::dynamodb:getItem", `{"Item":{"id":{"S":1}}}`, "Field 'S' must be a string", "Field 'S' must be a string"},
		{"arn:aws:states:::dynamodb:getItem", `{"Item":{"l":{"L":[{"M":{"x":{"BOOL":"true"}}}]}}}`, "Field 'BOOL' must be a boolean", "Field 'BOOL' must be a boolean"},
		{"arn:aws:states:::dynamodb:getItem", `{"Item":{"l":{"SS":["a",1]}}}`, "Field 'SS' must be a string", "Field 'SS' must be a string"},
		{"arn:aws:states:::aws-sdk:dynamodb:describeTable", `{"Table":{"TableSizeBytes":1.5e3,"ItemCount":-1}}`, "", ""},
		{"arn:aws:states:::aws-sdk:kms:encrypt", `{"CiphertextBlob":"` + long(8192) + `"}`, "", ""},
		{"arn:aws:states:::aws-sdk:kms:encrypt", `{"CiphertextBlob":"` + long(8196) + `"}`, "Field 'CiphertextBlob' exceeds the maximum length", "Field 'CiphertextBlob' exceeds the maximum length"},
		{"arn:aws:states:::aws-sdk:kms:encrypt", `{"EncryptionAlgorithm":"ROT13"}`, "Field 'EncryptionAlgorithm' is not an expected value", "Field 'EncryptionAlgorithm' is not an expected value"},
		{"arn:aws:states:::aws-sdk:s3:getObject", `{"Body":{"a":1}}`, "Field 'Body' must be a string", "Field 'Body' must be a string"},
		{"arn:aws:states:::aws-sdk:s3:getObject", `{"LastModified":1764103483}`, "Field 'LastModified' must be a string", "Field 'LastModified' must be a string"},
		{"arn:aws:states:::aws-sdk:s3:getObject", `{"DeleteMarker":"false"}`, "Field 'DeleteMarker' must be a boolean", "Field 'DeleteMarker' must be a boolean"},
		{"arn:aws:states:::aws-sdk:s3:getObject", `{"Metadata":{"k":1}}`, "Field 'Metadata' must be a string", "Field 'Metadata' must be a string"},
		{"arn:aws:states:::aws-sdk:s3:listObjectsV2", `{"Contents":[{"Size":"1"}]}`, "Field 'Size' must be a number", "Field 'Size' must be a number"},
		{"arn:aws:states:::aws-sdk:secretsmanager:getSecretValue", `{"VersionId":"short"}`, "Field 'VersionId' is smaller than the minimum length", "Field 'VersionId' is smaller than the minimum length"},
		{"arn:aws:states:::aws-sdk:sns:publish", `{"MessageId":{}}`, "Field 'MessageId' must be a string", "Field 'MessageId' must be a string"},
		{"arn:aws:states:::aws-sdk:sqs:receiveMessage", `{"Messages":[{"Attributes":{"SentTimestamp":1}}]}`, "Field 'Attributes' must be a string", "Field 'Attributes' must be a string"},
		{"arn:aws:states:::aws-sdk:ec2:describeKeyPairs", `{"KeyPairs":[{"KeyType":"dsa"}]}`, "Field 'KeyType' is not an expected value", "Field 'KeyType' is not an expected value"},
		{"arn:aws:states:::aws-sdk:sfn:describeExecution", `{"Status":"RUNNING","StartDate":true}`, "Required field 'ExecutionArn' is missing", "Field 'StartDate' must be a string"},
		{"arn:aws:states:::aws-sdk:emr:listSteps", `{"Steps":[{"Config":{"Args":[1]}}]}`, "Field 'Args' must be a string", "Field 'Args' must be a string"},
	} {
		r, err := execution.ParseResource(c.resource)
		if err != nil {
			t.Fatal(err)
		}
		for strict, want := range map[bool]string{true: c.strict, false: c.present} {
			if why, known := CheckMock(r, jsonvalue.MustParse(c.result), strict); why != want || !known {
				t.Errorf("%s %.80s (strict %v):\n got %q (known %v)\nwant %q", c.resource, c.result, strict, why, known, want)
			}
		}
	}
	for _, resource := range []string{"arn:aws:states:::aws-sdk:backup:listBackupJobs", "arn:aws:states:::aws-sdk:sagemaker:listHubs"} {
		r, err := execution.ParseResource(resource)
		if err != nil {
			t.Fatal(err)
		}
		if why, known := CheckMock(r, jsonvalue.MustParse(`{"X":1}`), true); why != "" || known {
			t.Errorf("%s: %q, known %v", resource, why, known)
		}
	}
}
