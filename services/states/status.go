package states

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// eventData is how much input and output a status-change event takes, escaped as in the event. AWS: 248 KiB.
const eventData = 248 << 10

// StatusChange is the event "Step Functions Execution Status Change" in EventBridge's form, of the history event that changed
// the status; x is the execution after the record that has it. It is pure, so it may go to the outbox with that record
// (engine.Config.Changed); its id is the same at each repetition. AWS: Standard executions only, times in milliseconds; an
// input that is too large together with the output is left out, and so is an output that is too large.
func StatusChange(x *execution.Snapshot, ev *history.Event, limits *execution.Limits) jsonvalue.Value {
	id := x.Identity
	status, stopped, redrive := execution.Running, jsonvalue.Null, ""
	var output jsonvalue.Value
	failure := asl.Failure{}
	if ev.Type.Terminal() {
		status, output = x.Status, x.Output
		stopped = millis(x.Stopped)
		redrive = limits.Redrivable(x, x.Stopped)
		if x.Failure != nil {
			failure = *x.Failure
		}
	} else {
		redrive = "Execution is RUNNING and cannot be redriven"
	}
	redrivable := jsonvalue.Str("NOT_REDRIVABLE")
	if redrive == "" {
		redrivable = jsonvalue.Str("REDRIVABLE")
	}
	in, inDetails := eventText(x.Input)
	out, outDetails := eventText(output)
	if out.Size() > eventData {
		out, outDetails = jsonvalue.Null, included(false)
	}
	if in.Size()+out.Size() > eventData {
		in, inDetails = jsonvalue.Null, included(false)
	}
	redriven := jsonvalue.Null
	if !x.RedriveDate.IsZero() {
		redriven = millis(x.RedriveDate)
	}
	return jsonvalue.Object(
		jsonvalue.M("version", jsonvalue.Str("0")),
		jsonvalue.M("id", jsonvalue.Str(eventID(id.ARN, ev.ID))),
		jsonvalue.M("detail-type", jsonvalue.Str("Step Functions Execution Status Change")),
		jsonvalue.M("source", jsonvalue.Str("aws.states")),
		jsonvalue.M("account", jsonvalue.Str(strings.SplitN(id.ARN, ":", 6)[4])),
		jsonvalue.M("time", jsonvalue.Str(ev.At.UTC().Format(time.RFC3339))),
		jsonvalue.M("region", jsonvalue.Str(id.Region)),
		jsonvalue.M("resources", jsonvalue.Array(jsonvalue.Str(id.ARN))),
		jsonvalue.M("detail", jsonvalue.Object(
			jsonvalue.M("executionArn", jsonvalue.Str(id.ARN)),
			jsonvalue.M("stateMachineArn", jsonvalue.Str(id.MachineARN)),
			jsonvalue.M("stateMachineVersionArn", textOrNull(id.VersionARN)),
			jsonvalue.M("stateMachineAliasArn", textOrNull(id.AliasARN)),
			jsonvalue.M("name", jsonvalue.Str(id.Name)),
			jsonvalue.M("status", jsonvalue.Str(string(status))),
			jsonvalue.M("startDate", millis(x.Started)),
			jsonvalue.M("stopDate", stopped),
			jsonvalue.M("input", in),
			jsonvalue.M("output", out),
			jsonvalue.M("inputDetails", inDetails),
			jsonvalue.M("outputDetails", outDetails),
			jsonvalue.M("error", textOrNull(failure.Error)),
			jsonvalue.M("cause", textOrNull(failure.Cause)),
			jsonvalue.M("redriveCount", jsonvalue.Int(x.RedriveCount)),
			jsonvalue.M("redriveDate", redriven),
			jsonvalue.M("redriveStatus", redrivable),
			jsonvalue.M("redriveStatusReason", textOrNull(redrive)))))
}

func millis(t time.Time) jsonvalue.Value { return jsonvalue.Int(t.UnixMilli()) }

func textOrNull(s string) jsonvalue.Value {
	if s == "" {
		return jsonvalue.Null
	}
	return jsonvalue.Str(s)
}

// eventText is data as the event carries it: a text, or null where there is none.
func eventText(v jsonvalue.Value) (text, details jsonvalue.Value) {
	if v.IsZero() {
		return jsonvalue.Null, jsonvalue.Null
	}
	return jsonvalue.Str(v.String()), included(true)
}

func included(b bool) jsonvalue.Value {
	return jsonvalue.Object(jsonvalue.M("included", jsonvalue.Bool(b)))
}

// eventID names an event of an execution, in the form of a UUID.
func eventID(arn string, event int64) string {
	b := sha256.Sum256(fmt.Appendf(nil, "%s %d", arn, event))
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
