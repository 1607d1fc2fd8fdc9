package execution_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// TestUnfitArguments: a task with arguments that do not fit is never scheduled, and nothing catches that.
func TestUnfitArguments(t *testing.T) {
	m, _ := asl.Parse([]byte(`{"StartAt":"Q","States":{"Q":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage","Parameters":{"Queue.$":"$.q"},
		"Retry":[{"ErrorEquals":["States.ALL"]}],"Catch":[{"ErrorEquals":["States.ALL"],"Next":"C"}],"End":true},"C":{"Type":"Pass","End":true}}}`), asl.ParseOptions{})
	asked := ""
	core := execution.Core{Limits: execution.DefaultLimits, Machine: func(string) *asl.StateMachine { return m },
		Arguments: func(r execution.Resource, args jsonvalue.Value) error {
			asked = r.Service + ":" + r.API + args.String()
			return errors.New(`The field "Queue" is not supported by Step Functions`)
		}}
	s := &execution.Snapshot{}
	d, err := core.Decide(s, execution.Input{Start: &execution.Start{Input: jsonvalue.MustParse(`{"q":"u"}`)}}, execution.Env{Now: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, f := range d.Facts {
		if f.Event != nil {
			types = append(types, string(f.Event.Type))
		}
	}
	if got := strings.Join(types, " "); got != "ExecutionStarted TaskStateEntered ExecutionFailed" || len(d.Commands) > 0 {
		t.Errorf("%s, %d commands", got, len(d.Commands))
	}
	want := `An error occurred while executing the state 'Q' (entered at the event id #2). The Parameters '{"Queue":"u"}' could not be used to start the Task: [The field "Queue" is not supported by Step Functions]`
	if got := fmt.Sprint(s.Failure.Error, " ", s.Failure.Cause); got != "States.Runtime "+want || asked != `sqs:sendMessage{"Queue":"u"}` {
		t.Errorf("%s\nwant %s\nasked %s", got, want, asked)
	}
}
