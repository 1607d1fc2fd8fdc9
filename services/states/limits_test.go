package states_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	own "github.com/mayfly-run/mayfly/internal/awsapi/mayflyapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/store/memory"
)

// withLimits runs a test against a service with limits, as ParseLimits reads them.
func withLimits(t *testing.T, text string, f func(t *testing.T, s *server)) {
	t.Helper()
	restarted(t, text, f)
}

// restarted runs tests one after the other, each with a service of its own on the same store.
func restarted(t *testing.T, text string, tests ...func(t *testing.T, s *server)) {
	t.Helper()
	limits, err := execution.ParseLimits(text)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		st := memory.New()
		defer st.Close()
		for _, f := range tests {
			s := startWith(t, st, limits)
			f(t, s)
			synctest.Wait()
			s.stop()
		}
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
	withLimits(t, "aws", func(t *testing.T, s *server) {
		if d := run(t, s, double, large); d.Status != "FAILED" || *d.Error != "States.DataLimitExceeded" {
			t.Errorf("as on AWS: %s", d.Status)
		}
	})
	withLimits(t, "relaxed", func(t *testing.T, s *server) {
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
