package acceptance

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What real clients trip over on servers that follow only AWS's documentation.
func TestClientTraps(t *testing.T) {
	needed(t)
	s := serve(t, port(t))
	calls := caller(s.endpoint())
	post := func(t *testing.T, host, service, body string, headers map[string]string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.endpoint()+"/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		req.Header.Set("X-Amz-Date", "20260101T000000Z")
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
		for k, v := range headers {
			req.Header.Set(k, v)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(b)
	}

	t.Run("StartSyncExecution goes to a host of its own", func(t *testing.T) {
		made, err := calls(t.Context(), "states", "CreateStateMachine", map[string]any{"name": "express", "type": "EXPRESS", "definition": onePass, "roleArn": role})
		if err != nil {
			t.Fatal(err)
		}
		resp, answer := post(t, "sync-"+s.listen, "states", fmt.Sprintf(`{"stateMachineArn":%q,"input":"{\"a\":1}"}`, made["stateMachineArn"]),
			map[string]string{"X-Amz-Target": "AWSStepFunctions.StartSyncExecution", "Content-Type": "application/x-amz-json-1.0"})
		if resp.StatusCode != 200 || !strings.Contains(answer, `"SUCCEEDED"`) {
			t.Errorf("answered %d %s", resp.StatusCode, answer)
		}
	})
	t.Run("lists arrive empty as a key without an index", func(t *testing.T) {
		resp, answer := post(t, s.listen, "cloudformation", "Action=DeleteStack&Version=2010-05-15&StackName=none&RetainResources=", nil)
		if resp.StatusCode != 200 {
			t.Errorf("answered %d %s", resp.StatusCode, answer)
		}
		resp, answer = post(t, s.listen, "cloudformation", "Action=CreateStack&Version=2010-05-15&StackName=empty&Tags=&Parameters=&TemplateBody="+`{"Resources":{"T":{"Type":"AWS::SNS::Topic"}}}`, nil)
		if resp.StatusCode != 200 || !strings.Contains(answer, "<StackId>") {
			t.Errorf("answered %d %s", resp.StatusCode, answer)
		}
	})
	t.Run("whether a stack exists is told in words", func(t *testing.T) {
		resp, answer := post(t, s.listen, "cloudformation", "Action=DescribeStacks&Version=2010-05-15&StackName=none", nil)
		if resp.StatusCode != 400 || !strings.Contains(answer, "<Code>ValidationError</Code>") || !strings.Contains(answer, "Stack with id none does not exist") {
			t.Errorf("answered %d %s", resp.StatusCode, answer)
		}
	})
	t.Run("a template of S3 is ours, whatever its host", func(t *testing.T) {
		if _, err := calls(t.Context(), "s3", "CreateBucket", map[string]any{"Bucket": "templates"}); err != nil {
			t.Fatal(err)
		}
		if _, err := calls(t.Context(), "s3", "PutObject", map[string]any{"Bucket": "templates", "Key": "t.json", "Body": strings.NewReader(goodless)}); err != nil {
			t.Fatal(err)
		}
		for i, url := range []string{s.endpoint() + "/templates/t.json", "https://s3.amazonaws.com/templates/t.json", "https://templates.s3.us-east-1.amazonaws.com/t.json"} {
			if _, err := calls(t.Context(), "cloudformation", "CreateStack", map[string]any{"StackName": fmt.Sprintf("from-url-%d", i), "TemplateURL": url}); err != nil {
				t.Errorf("%s: %v", url, err)
			}
		}
	})
	t.Run("the times of a stack's events increase strictly", func(t *testing.T) {
		var resources []string
		for i := range 8 {
			resources = append(resources, fmt.Sprintf(`"T%d":{"Type":"AWS::SNS::Topic"}`, i))
		}
		if _, err := calls(t.Context(), "cloudformation", "CreateStack", map[string]any{"StackName": "eight", "TemplateBody": `{"Resources":{` + strings.Join(resources, ",") + `}}`}); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			out, err := calls(t.Context(), "cloudformation", "DescribeStacks", map[string]any{"StackName": "eight"})
			if err != nil {
				t.Fatal(err)
			}
			if out["Stacks"].([]any)[0].(map[string]any)["StackStatus"] == "CREATE_COMPLETE" {
				break
			}
			wait(50 * time.Millisecond)
		}
		out, err := calls(t.Context(), "cloudformation", "DescribeStackEvents", map[string]any{"StackName": "eight"})
		if err != nil {
			t.Fatal(err)
		}
		events := out["StackEvents"].([]any)
		if len(events) < 2+3*8 {
			t.Errorf("%d events", len(events))
		}
		for i := 1; i < len(events); i++ {
			newer, older := events[i-1].(map[string]any)["Timestamp"].(time.Time), events[i].(map[string]any)["Timestamp"].(time.Time)
			if !newer.After(older) {
				t.Errorf("event %d is of %s, the one before it of %s", i, newer, older)
			}
		}
	})
	t.Run("SQS speaks two protocols, and names old errors in the new one", func(t *testing.T) {
		resp, answer := post(t, s.listen, "sqs", `{"QueueUrl":"http://x/000000000000/none"}`, map[string]string{"X-Amz-Target": "AmazonSQS.ReceiveMessage", "Content-Type": "application/x-amz-json-1.0", "x-amzn-query-mode": "true"})
		if resp.StatusCode != 400 || resp.Header.Get("x-amzn-query-error") != "AWS.SimpleQueueService.NonExistentQueue;Sender" || !strings.Contains(answer, "QueueDoesNotExist") {
			t.Errorf("answered %d %q %s", resp.StatusCode, resp.Header.Get("x-amzn-query-error"), answer)
		}
		resp, answer = post(t, s.listen, "sqs", "Action=CreateQueue&Version=2012-11-05&QueueName=q", nil)
		if resp.StatusCode != 200 || !strings.Contains(answer, "<QueueUrl>"+s.endpoint()+"/000000000000/q</QueueUrl>") {
			t.Errorf("answered %d %s", resp.StatusCode, answer)
		}
	})
	t.Run("a wrong checksum is refused", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.endpoint()+"/templates/sum", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("x-amz-checksum-crc32", "AAAAAA==")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 400 || !strings.Contains(string(b), "BadDigest") {
			t.Errorf("answered %d %s", resp.StatusCode, b)
		}
	})
}
