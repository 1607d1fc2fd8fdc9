package awstask

import (
	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// old is how the optimized integrations write times.
var old = style{millis: true}

func init() {
	actions["sns:publish"] = action{service: "sns", calls: []string{"Publish"}, start: publish}
	actions["sqs:sendMessage"] = action{service: "sqs", calls: []string{"SendMessage"}, start: sendMessage}
	actions["events:putEvents"] = action{service: "events", calls: []string{"PutEvents"}, start: putEvents}
}

func publish(c *call) (integration.Result, error) { return c.plain("Publish", old) }

// sendMessage sends one message. AWS: a message without a body is refused by SQS, not by the model (recorded:
// error_handling test_send_message_empty_body).
func sendMessage(c *call) (integration.Result, error) {
	if k := c.task.Input.Member("MessageBody").Kind(); k == jsonvalue.KindAbsent || k == jsonvalue.KindNull {
		return integration.Result{}, awsapi.Errorf(400, "MissingParameter", "The request must contain the parameter MessageBody.")
	}
	return c.plain("SendMessage", old)
}

// putEvents fails when any entry does. AWS: the cause is the whole answer.
func putEvents(c *call) (integration.Result, error) {
	r, err := c.plain("PutEvents", old)
	if err != nil {
		return r, err
	}
	if n, _ := r.Output.Member("FailedEntryCount").Int(); n > 0 {
		return failed(&asl.Failure{Error: "EventBridge.FailedEntry", Cause: jsonvalue.Object(
			jsonvalue.M("Entries", r.Output.Member("Entries")), jsonvalue.M("FailedEntryCount", jsonvalue.Int(n))).String()}), nil
	}
	return r, nil
}
