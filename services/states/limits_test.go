package states_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	own "github.com/mayfly-run/mayfly/internal/awsapi/mayflyapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/services/states"
	"github.com/mayfly-run/mayfly/store/memory"
)

// withLimits runs a test against a service with limits.
func withLimits(t *testing.T, limits execution.Limits, f func(t *testing.T, s *server)) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New()
		defer st.Close()
		loop := durable.New(durable.Config{Store: st})
		e, err := engine.New(t.Context(), engine.Config{Store: st, Loop: loop, Integrations: echo{}, Limits: limits})
		if err != nil {
			t.Fatal(err)
		}
		if err := loop.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer loop.Stop()
		defer e.Stop()
		f(t, &server{Service: states.New(states.Config{Store: st, Engine: e})})
	})
}

const (
	// double puts two copies of its input into an array and a variable.
	double = `{"StartAt":"Small","States":{"Small":{"Type":"Pass","Next":"Double"},
  "Double":{"Type":"Pass","Parameters":{"two.$":"States.Array($, $)"},"Assign":{"v.$":"$.two"},"Next":"Call"},
  "Call":{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","Parameters":{"FunctionName":"f","Payload.$":"$.two"},"ResultPath":null,"OutputPath":null,"End":true}}}`
	// long makes 25,203 events.
	long = `{"StartAt":"Count","States":{"Count":{"Type":"Pass","Parameters":{"n.$":"States.MathAdd($.n, 1)"},"Next":"Enough"},
  "Enough":{"Type":"Choice","Choices":[{"Variable":"$.n","NumericLessThan":6300,"Next":"Count"}],"Default":"End"},"End":{"Type":"Succeed"}}}`
)

func (s *server) breaks(t *testing.T, arn string) (text []string) {
	t.Helper()
	for _, b := range must(s.CheckLimits(t.Context(), &own.CheckLimitsInput{ExecutionArn: arn}))(t).Breaks {
		text = append(text, fmt.Sprintf("%d %s %s %d > %d", b.EventId, awsapi.Val(b.State), b.Limit, b.Found, b.Allowed))
	}
	return text
}

func TestRelaxedLimits(t *testing.T) {
	large := `"` + strings.Repeat("x", 200_000) + `"`
	run := func(t *testing.T, s *server, definition, input string) *api.DescribeExecutionOutput {
		arn := s.create(t, "m", definition, "STANDARD") // again: the same one
		x := must(s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: arn, Input: &input}))(t)
		synctest.Wait()
		return must(s.DescribeExecution(t.Context(), &api.DescribeExecutionInput{ExecutionArn: x.ExecutionArn}))(t)
	}
	withLimits(t, execution.DefaultLimits, func(t *testing.T, s *server) {
		if d := run(t, s, double, large); d.Status != "FAILED" || *d.Error != "States.DataLimitExceeded" {
			t.Errorf("as on AWS: %s", d.Status)
		}
	})
	withLimits(t, execution.RelaxedLimits, func(t *testing.T, s *server) {
		d := run(t, s, double, large)
		if d.Status != "SUCCEEDED" {
			t.Fatalf("%s: %s", d.Status, *d.Error)
		}
		want := []string{"5 Double PAYLOAD 400015 > 262144", "5 Double VARIABLE 400007 > 262144", "7 Call PAYLOAD 400038 > 262144", "9 Call PAYLOAD 400038 > 262144"}
		if got := s.breaks(t, d.ExecutionArn); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s", strings.Join(got, "\n"))
		}
		if d := run(t, s, double, large[:1000]+`"`); d.Status != "SUCCEEDED" || s.breaks(t, d.ExecutionArn) != nil {
			t.Errorf("small data: %s %v", d.Status, s.breaks(t, d.ExecutionArn))
		}
		s.create(t, "long", long, "STANDARD")
		x := must(s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: prefix + "stateMachine:long", Input: awsapi.Ptr(`{"n": 0}`)}))(t)
		synctest.Wait()
		if got := s.breaks(t, x.ExecutionArn); len(got) != 1 || !strings.HasSuffix(got[0], "HISTORY 25001 > 25000") {
			t.Errorf("a long history: %v", got)
		}
		_, err := s.CheckLimits(t.Context(), &own.CheckLimitsInput{ExecutionArn: d.ExecutionArn + "x"})
		fails(t, err, "ExecutionDoesNotExist", "")
	})
}
