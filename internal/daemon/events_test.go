package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/awscall"
)

// TestStatusEvents asks for the status changes of executions in a queue, and gets those of Standard ones.
func TestStatusEvents(t *testing.T) {
	const queue = "arn:aws:sqs:us-east-1:000000000000:changes"
	s := start(t, Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir(), StatusEvents: queue})
	defer s.Stop()
	call := func(service, op string, in map[string]any) map[string]any {
		t.Helper()
		out, err := s.parts.gateway.Invoke(t.Context(), awscall.Call{Service: service, Operation: op, Input: in})
		if err != nil {
			t.Fatalf("%s: %v", op, err)
		}
		return out
	}
	url := call("sqs", "CreateQueue", map[string]any{"QueueName": "changes"})["QueueUrl"]
	for _, m := range []struct{ name, kind string }{{"e", "EXPRESS"}, {"s", "STANDARD"}} {
		machine := call("states", "CreateStateMachine", map[string]any{"name": m.name, "roleArn": "arn:aws:iam::000000000000:role/r", "type": m.kind,
			"definition": `{"StartAt":"A","States":{"A":{"Type":"Fail","Error":"E"}}}`})
		call("states", "StartExecution", map[string]any{"stateMachineArn": machine["stateMachineArn"], "name": "x"})
	}
	var got []string
	more := func(n int) {
		t.Helper()
		for len(got) < n {
			messages, _ := call("sqs", "ReceiveMessage", map[string]any{"QueueUrl": url, "WaitTimeSeconds": 20, "MaxNumberOfMessages": 10})["Messages"].([]any)
			if len(messages) == 0 {
				t.Fatalf("only these came: %v", got)
			}
			for _, m := range messages {
				var e struct {
					Source, Region string
					Detail         struct {
						ExecutionArn, Status string
						RedriveCount         int
					}
				}
				if err := json.Unmarshal([]byte(m.(map[string]any)["Body"].(string)), &e); err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprintln(e.Source, e.Region, e.Detail.ExecutionArn, e.Detail.Status, e.Detail.RedriveCount))
			}
		}
	}
	const x = "arn:aws:states:us-east-1:000000000000:execution:s:x"
	more(2)
	call("states", "RedriveExecution", map[string]any{"executionArn": x})
	more(4)
	slices.Sort(got)
	want := []string{}
	for _, w := range []string{"FAILED 0", "FAILED 1", "RUNNING 0", "RUNNING 1"} {
		want = append(want, "aws.states us-east-1 "+x+" "+w+"\n")
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestStatusEventsOfNoQueue(t *testing.T) {
	_, err := Start(context.Background(), Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir(), StatusEvents: "changes"}, "v", slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "setting status-events") || !strings.Contains(err.Error(), "arn:aws:sqs:") {
		t.Errorf("%v", err)
	}
}
