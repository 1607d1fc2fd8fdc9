package states_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/services/states"
)

func TestStatusChange(t *testing.T) {
	started := time.Date(2026, 11, 22, 10, 0, 0, 250e6, time.UTC)
	x := &execution.Snapshot{Identity: execution.Identity{ARN: prefix + "execution:m:x", Name: "x", MachineARN: prefix + "stateMachine:m", Region: "us-east-1"},
		Status: execution.Failed, Started: started, Stopped: started.Add(5 * time.Second), Input: jsonvalue.MustParse(`{"a":1}`),
		Failure: &asl.Failure{Error: "E", Cause: "c"}, LastEvent: 9}
	common := `"executionArn":"` + prefix + `execution:m:x","stateMachineArn":"` + prefix + `stateMachine:m","stateMachineVersionArn":null,"stateMachineAliasArn":null,"name":"x",`
	begin := func(second string) string {
		return `"detail-type":"Step Functions Execution Status Change","source":"aws.states","account":"000000000000","time":"2026-11-22T10:00:0` + second +
			`Z","region":"us-east-1","resources":["` + prefix + `execution:m:x"],"detail":{` + common
	}
	data := `"input":"{\"a\":1}","output":null,"inputDetails":{"included":true},"outputDetails":null,`
	for _, c := range []struct {
		ev   history.Event
		want string
	}{
		{history.Event{ID: 1, Type: history.ExecutionStarted, At: started}, begin("0") + `"status":"RUNNING","startDate":1795341600250,"stopDate":null,` + data +
			`"error":null,"cause":null,"redriveCount":0,"redriveDate":null,"redriveStatus":"NOT_REDRIVABLE","redriveStatusReason":"Execution is RUNNING and cannot be redriven"}}`},
		{history.Event{ID: 9, Type: history.ExecutionFailed, At: x.Stopped}, begin("5") + `"status":"FAILED","startDate":1795341600250,"stopDate":1795341605250,` + data +
			`"error":"E","cause":"c","redriveCount":0,"redriveDate":null,"redriveStatus":"REDRIVABLE","redriveStatusReason":null}}`},
	} {
		got := states.StatusChange(x, &c.ev, &execution.DefaultLimits).String()
		head := got[:strings.Index(got, `"detail-type"`)]
		if got[len(head):] != c.want {
			t.Errorf("\n%s\n%s", got, c.want)
		}
		if again := states.StatusChange(x, &c.ev, &execution.DefaultLimits).String(); again != got || len(head) != len(`{"version":"0","id":"`)+36+2 {
			t.Errorf("%s, then %s", head, again)
		}
	}
	// Sizes count as the event has them: escaped.
	x.Status, x.Failure = execution.Succeeded, nil
	end := history.Event{ID: 9, Type: history.ExecutionSucceeded, At: x.Stopped}
	for _, c := range []struct {
		in, out int
		want    string // what is included of input and output
	}{
		{100 << 10, 100 << 10, "true true"}, {150 << 10, 150 << 10, "false true"}, {10, 249 << 10, "true false"}, {249 << 10, 10, "false true"},
	} {
		x.Input, x.Output = jsonvalue.Str(strings.Repeat("x", c.in)), jsonvalue.Str(strings.Repeat("x", c.out))
		d := states.StatusChange(x, &end, &execution.DefaultLimits).Member("detail")
		got := fmt.Sprint(d.Member("inputDetails").Member("included").Bool(), " ", d.Member("outputDetails").Member("included").Bool())
		if got != c.want || (d.Member("output").Kind() == jsonvalue.KindNull) != strings.HasSuffix(c.want, "false") {
			t.Errorf("%d and %d bytes: %s", c.in, c.out, got)
		}
	}
}
