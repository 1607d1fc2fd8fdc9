package acceptance

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// What real clients trip over on servers that follow only AWS's documentation.
func TestClientTraps(t *testing.T) {
	in := needed(t)
	s := serve(t, port(t))
	calls := caller(s.endpoint())
	send := func(t *testing.T, r raw, status int, parts ...string) *http.Response {
		t.Helper()
		resp, answer := s.send(t, r)
		for _, part := range parts {
			if !strings.Contains(answer, part) {
				t.Errorf("the answer does not say %q", part)
			}
		}
		if resp.StatusCode != status || t.Failed() {
			t.Errorf("answered %d %s", resp.StatusCode, answer)
		}
		return resp
	}

	t.Run("StartSyncExecution goes to a host of its own", func(t *testing.T) {
		made, err := calls(t.Context(), "states", "CreateStateMachine", map[string]any{"name": "express", "type": "EXPRESS", "definition": onePass, "roleArn": role})
		if err != nil {
			t.Fatal(err)
		}
		r := target("states", "AWSStepFunctions.StartSyncExecution", fmt.Sprintf(`{"stateMachineArn":%q,"input":"{\"a\":1}"}`, made["stateMachineArn"]))
		r.headers["Host"] = "sync-" + s.listen
		send(t, r, 200, `"SUCCEEDED"`)
	})
	t.Run("lists arrive empty as a key without an index", func(t *testing.T) {
		send(t, query("cloudformation", "Action=DeleteStack&Version=2010-05-15&StackName=none&RetainResources="), 200)
		send(t, query("cloudformation", "Action=CreateStack&Version=2010-05-15&StackName=empty&Tags=&Parameters=&TemplateBody="+goodless), 200, "<StackId>")
	})
	t.Run("whether a stack exists is told in words", func(t *testing.T) {
		send(t, query("cloudformation", "Action=DescribeStacks&Version=2010-05-15&StackName=none"), 400, "<Code>ValidationError</Code>", "Stack with id none does not exist")
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
		r := target("sqs", "AmazonSQS.ReceiveMessage", `{"QueueUrl":"http://x/000000000000/none"}`)
		r.headers["x-amzn-query-mode"] = "true"
		if resp := send(t, r, 400, "QueueDoesNotExist"); resp.Header.Get("x-amzn-query-error") != "AWS.SimpleQueueService.NonExistentQueue;Sender" {
			t.Errorf("the old name is %q", resp.Header.Get("x-amzn-query-error"))
		}
		send(t, query("sqs", "Action=CreateQueue&Version=2012-11-05&QueueName=q"), 200, "<QueueUrl>"+s.endpoint()+"/000000000000/q</QueueUrl>")
		r = query("sqs", "Action=SendMessage&Version=2012-11-05&MessageBody=hello") // to the queue's own URL
		r.path = "/000000000000/q"
		send(t, r, 200, "<MD5OfMessageBody>5d41402abc4b2a76b9719d911017c592</MD5OfMessageBody>")
	})
	t.Run("the command line reaches queues by --endpoint-url", func(t *testing.T) {
		aws := func(want string, args ...string) {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), in.AWS(), append([]string{"--endpoint-url", s.endpoint(), "--region", "us-east-1", "--output", "text", "sqs"}, args...)...)
			cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null")
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
				t.Errorf("aws sqs %v: %v\n%s", args, err, out)
			}
		}
		url := s.endpoint() + "/000000000000/cli"
		aws(url, "create-queue", "--queue-name", "cli")
		aws("5d41402abc4b2a76b9719d911017c592", "send-message", "--queue-url", url, "--message-body", "hello")
		aws("hello", "receive-message", "--queue-url", url)
	})
	t.Run("a change set without changes fails in words", func(t *testing.T) {
		if _, err := calls(t.Context(), "cloudformation", "CreateChangeSet", map[string]any{"StackName": "eight", "ChangeSetName": "same", "UsePreviousTemplate": true}); err != nil {
			t.Fatal(err)
		}
		out, err := calls(t.Context(), "cloudformation", "DescribeChangeSet", map[string]any{"StackName": "eight", "ChangeSetName": "same"})
		if err != nil || out["Status"] != "FAILED" || !strings.Contains(fmt.Sprint(out["StatusReason"]), "The submitted information didn't contain changes.") {
			t.Errorf("%v: %v %v", err, out["Status"], out["StatusReason"])
		}
	})
	t.Run("a wrong checksum is refused, of either kind", func(t *testing.T) {
		for header, value := range map[string]string{"x-amz-checksum-crc32": "AAAAAA==", "Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="} {
			send(t, raw{"PUT", "/templates/sum", map[string]string{header: value}, "hello"}, 400, "BadDigest")
		}
		send(t, raw{"HEAD", "/templates/sum", nil, ""}, 404)
		send(t, raw{"PUT", "/templates/sum", map[string]string{"Content-MD5": "XUFAKrxLKna5cZ2REBfFkg==", "Expect": "100-continue"}, "hello"}, 200)
	})
	t.Run("a bucket may stand in the host", func(t *testing.T) {
		_, port, _ := strings.Cut(s.listen, ":")
		for _, host := range []string{"templates.localhost:" + port, "templates.s3.localhost:" + port, "templates.s3.us-east-1.amazonaws.com"} {
			send(t, raw{"GET", "/sum", map[string]string{"Host": host, "Service": "s3"}, ""}, 200, "hello")
		}
	})
}
