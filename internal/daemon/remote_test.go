package daemon

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
)

func awsEnvironment(t *testing.T) {
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIDREMOTE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(k, v)
	}
}

// TestRemote sends one service's calls to another server, as to AWS, and a task's calls to a service that Mayfly lacks.
func TestRemote(t *testing.T) {
	awsEnvironment(t)
	far := start(t, Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir()})
	defer far.Stop()
	near := start(t, Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir(), Remote: "sqs", RemoteEndpoint: far.Endpoint()})
	defer near.Stop()
	who := identity.Principal{Kind: identity.User, Account: "000000000000", Region: "eu-west-1"}
	in := map[string]any{"QueueName": "q"}
	out, err := near.parts.gateway.Invoke(t.Context(), awscall.Call{Principal: who, Service: "sqs", Operation: "CreateQueue", Input: in})
	if err != nil {
		t.Fatal(err)
	}
	if url, _ := out["QueueUrl"].(string); !strings.HasPrefix(url, far.Endpoint()) {
		t.Errorf("the queue is at %s, not at %s", url, far.Endpoint())
	}
	list, err := far.parts.gateway.Invoke(t.Context(), awscall.Call{Principal: who, Service: "sqs", Operation: "ListQueues"})
	if urls, _ := list["QueueUrls"].([]any); err != nil || len(urls) != 1 {
		t.Errorf("the far server has %v, %v", list, err)
	}
	_, err = near.parts.gateway.Invoke(t.Context(), awscall.Call{Principal: who, Service: "sqs", Operation: "GetQueueUrl", Input: map[string]any{"QueueName": "none"}})
	if code := awscall.Code(err); code != "QueueDoesNotExist" && code != "AWS.SimpleQueueService.NonExistentQueue" {
		t.Errorf("an error of the far server arrives as %v", err)
	}
}

func TestRemoteTask(t *testing.T) {
	awsEnvironment(t)
	seen := make(chan string, 1)
	aws := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen <- r.Header.Get("X-Amz-Target") + " " + r.Header.Get("Authorization") + " " + string(body)
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, _ = io.WriteString(w, `{"Item":{"id":{"S":"1"},"n":{"N":"7"}}}`)
	}))
	defer aws.Close()
	s := start(t, Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir(), Remote: "dynamodb", RemoteEndpoint: aws.URL})
	defer s.Stop()
	call := func(op string, in map[string]any) map[string]any {
		t.Helper()
		out, err := s.parts.gateway.Invoke(t.Context(), awscall.Call{Service: "states", Operation: op, Input: in})
		if err != nil {
			t.Fatalf("%s: %v", op, err)
		}
		return out
	}
	machine := call("CreateStateMachine", map[string]any{"name": "m", "roleArn": "arn:aws:iam::000000000000:role/r", "type": "EXPRESS",
		"definition": `{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::aws-sdk:dynamodb:getItem",
			"Parameters":{"TableName":"t","Key":{"id":{"S":"1"}}},"ResultSelector":{"n.$":"$.Item.n.N"},"End":true}}}`})
	out := call("StartSyncExecution", map[string]any{"stateMachineArn": machine["stateMachineArn"]})
	if out["status"] != "SUCCEEDED" || out["output"] != `{"n":"7"}` {
		t.Errorf("%v", out)
	}
	request := <-seen
	if !strings.HasPrefix(request, "DynamoDB_20120810.GetItem AWS4-HMAC-SHA256 Credential=AKIDREMOTE/") || !strings.Contains(request, "/us-east-1/dynamodb/") {
		t.Errorf("the call was %s", request)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(request[strings.Index(request, "{"):]), &body); err != nil || body["TableName"] != "t" {
		t.Errorf("the body was %s", request)
	}
}

func TestRemoteOfNoModel(t *testing.T) {
	_, err := Start(context.Background(), Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir(), Remote: "polly"}, "v", slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), `"polly"`) || !strings.Contains(err.Error(), "dynamodb") {
		t.Errorf("%v", err)
	}
}
