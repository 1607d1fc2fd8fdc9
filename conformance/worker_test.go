package conformance

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/mayfly-run/mayfly/internal/clock"
)

// TestWorker: the runner completes callbacks and activities as recorded, also a task that is started again, and says when it
// is not told how.
func TestWorker(t *testing.T) {
	const queue = "https://sqs.us-east-1.amazonaws.com/000000000000/q"
	callback := `{"StartAt":"S","States":{"S":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","Parameters":{"QueueUrl":"` + queue +
		`","MessageBody":{"TaskToken.$":"$$.Task.Token"}},"Retry":[{"ErrorEquals":["Again"],"IntervalSeconds":1}],"End":true}}}`
	activity := `{"StartAt":"S","States":{"S":{"Type":"Task","Resource":"arn:aws:states:us-east-1:000000000000:activity:a","Catch":[{"ErrorEquals":["E"],"Next":"P"}],"End":true},"P":{"Type":"Pass","End":true}}}`
	setup := []Step{{Service: "sqs", Operation: "CreateQueue", Params: map[string]any{"QueueName": "q"}, Returns: map[string]string{"QueueUrl": queue}},
		{Service: "stepfunctions", Operation: "CreateActivity", Params: map[string]any{"name": "a"}}}
	again := map[string]any{"submitted": map[string]any{}, "throw": map[string]any{"error": "Again"}}
	url, services := serve(t, nil)
	r := &Runner{Endpoint: &Endpoint{URL: url, Account: "000000000000", Region: "us-east-1", HTTP: http.DefaultClient}, RunID: fmt.Sprint(os.Getpid()), Jobs: 1, Clock: clock.System{}, Timeout: 10, Services: services}
	for _, c := range []struct {
		name, definition string
		answers          []any
		expect           map[string]any
		skipped          bool
	}{
		{"callback", callback, []any{map[string]any{"return": map[string]any{"a": "b"}}}, map[string]any{"status": "SUCCEEDED", "output": map[string]any{"a": "b"}}, false},
		{"callback again", callback, []any{again, map[string]any{"return": "x"}}, map[string]any{"status": "SUCCEEDED", "output": `"x"`}, false},
		{"activity", activity, []any{map[string]any{"throw": map[string]any{"error": "E", "cause": "C"}}}, map[string]any{"status": "SUCCEEDED", "output": map[string]any{"Error": "E", "Cause": "C"}}, false},
		{"unknown", callback, nil, map[string]any{"status": "SUCCEEDED"}, true},
	} {
		x := Case{Area: "worker", Name: c.name, Kind: "execution", Definition: text(c.definition), RoleARN: "arn:aws:iam::000000000000:role/r", Setup: setup, Expect: c.expect, ExternalWorker: true}
		if c.answers != nil {
			x.Mocks = map[string][]any{"S": c.answers}
		}
		if o := r.Run([]Case{x})[0]; o.Err != "" || o.Result == c.skipped || (o.Skipped != "") != c.skipped {
			t.Errorf("%s: %+v", c.name, o)
		}
	}
}
