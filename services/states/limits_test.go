package states_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	own "github.com/mayfly-run/mayfly/internal/awsapi/mayflyapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
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
		text = append(text, fmt.Sprintf("%d %s %s %d > %d", b.EventId, cmp.Or(awsapi.Val(b.State), "-"), b.Limit, b.Found, b.Allowed))
	}
	return text
}

// sequence is a machine of n Pass states, each of which sets a variable of its own to its input.
func sequence(n int) string {
	var states []string
	for i := range n {
		next := fmt.Sprintf(`"Next":"S%d"`, i+1)
		if i == n-1 {
			next = `"End":true`
		}
		states = append(states, fmt.Sprintf(`"S%d":{"Type":"Pass","Assign":{"v%d.$":"$"},%s}`, i, i, next))
	}
	return `{"StartAt":"S0","States":{` + strings.Join(states, ",") + `}}`
}

func query(expression string) string {
	return `{"QueryLanguage":"JSONata","StartAt":"Q","States":{"Q":{"Type":"Pass","Output":"{% ` + expression + ` %}","End":true}}}`
}

// TestCheckLimits: what breaks AWS's limits goes on where they are relaxed, and the report says where; under AWS's limits the
// same run ends there, and the report has nothing to say of it.
func TestCheckLimits(t *testing.T) {
	text := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	for _, c := range []struct {
		name, limits, definition, input string
		longer                          func(t *testing.T, s *server, execution string) error
		want                            []string
		aws                             string // how it ends there: status, error
	}{
		{"data in events", "relaxed", double, text(200_000), nil,
			[]string{"5 Double PAYLOAD 400015 > 262144", "5 Double VARIABLE 400007 > 262144", "7 Call PAYLOAD 400038 > 262144", "9 Call PAYLOAD 400038 > 262144"},
			"FAILED States.DataLimitExceeded"},
		{"little data", "relaxed", double, text(1000), nil, nil, "SUCCEEDED"},
		{"data on the way", "relaxed", `{"StartAt":"A","States":{"A":{"Type":"Pass","Parameters":{"two.$":"States.Array($, $)","n":1},"OutputPath":"$.n","End":true}}}`, text(200_000), nil,
			[]string{"2 A PAYLOAD 400021 > 262144"}, "FAILED States.DataLimitExceeded"},
		{"all variables", "variables=1GiB", sequence(44), text(250_000), nil,
			[]string{"84 S41 VARIABLES 10500084 > 10485760", "86 S42 VARIABLES 10750086 > 10485760", "88 S43 VARIABLES 11000088 > 10485760"}, "FAILED States.DataLimitExceeded"},
		{"text for a function", "relaxed", `{"StartAt":"A","States":{"A":{"Type":"Pass","Parameters":{"h.$":"States.Hash($, 'MD5')"},"End":true}}}`, text(20_000), nil,
			[]string{"2 A INTRINSIC_TEXT 20000 > 10000"}, "FAILED States.IntrinsicFailure"},
		{"a deep expression", "expression-depth=1000", query(`($f := function($n){$n = 0 ? 0 : 1 + $f($n - 1)}; $f(60))`), `{}`, nil,
			[]string{"2 Q EXPRESSION_DEPTH 185 > 100"}, "FAILED States.QueryEvaluationError"},
		{"a large expression", "relaxed", query(`$count([1..900000])`), `{}`, nil, []string{"2 Q EXPRESSION_VALUE 7200000 > 6990256"}, "FAILED States.QueryEvaluationError"},
		{"a long history", "history=none", long, `{"n":0}`, nil, []string{"25001 Enough HISTORY 25001 > 25000"}, "FAILED States.Runtime"},
		{"a long time", "duration=none", strings.Replace(wait, "600", "34560000", 1), `{}`, func(*testing.T, *server, string) error { time.Sleep(400 * 24 * time.Hour); return nil },
			[]string{"3 W DURATION 34560000 > 31536000"}, "TIMED_OUT"},
		{"many iterations", "inline-concurrency=100", `{"StartAt":"M","States":{"M":{"Type":"Map","ItemsPath":"$","ItemProcessor":` + wait + `,"End":true}}}`,
			"[0" + strings.Repeat(",0", 49) + "]", func(*testing.T, *server, string) error { time.Sleep(time.Hour); return nil }, []string{"44 M INLINE_CONCURRENCY 41 > 40"}, "SUCCEEDED"},
		{"a late redrive", "redrive-window=30d", `{"StartAt":"F","States":{"F":{"Type":"Fail"}}}`, `{}`, func(t *testing.T, s *server, x string) error {
			time.Sleep(20 * 24 * time.Hour)
			_, err := s.RedriveExecution(t.Context(), &api.RedriveExecutionInput{ExecutionArn: x})
			return err
		}, []string{"4 - REDRIVE_WINDOW 1728000 > 1209600"}, "ExecutionNotRedrivable"},
		{"many redrives", "relaxed", strings.NewReplacer("_", `"ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},"StartAt":"F","States":{"F":{"Type":"Fail"}}}`).
			Replace(`{"StartAt":"M","States":{"M":{"Type":"Map",_,"End":true}}}`), `[1]`, func(t *testing.T, s *server, x string) error {
			for range 1001 {
				must(s.RedriveExecution(t.Context(), &api.RedriveExecutionInput{ExecutionArn: x}))(t)
				synctest.Wait()
			}
			return nil
		}, []string{"5009 M MAP_REDRIVES 1001 > 1000"}, "FAILED States.Runtime"},
		{"a slow API", "relaxed", `{"StartAt":"H","States":{"H":{"Type":"Task","Resource":"arn:aws:states:::http:invoke","Parameters":{},"End":true}}}`, `{}`,
			func(*testing.T, *server, string) error { time.Sleep(time.Hour); return nil }, []string{"5 H HTTP_DURATION 90 > 60"}, ""}, // there the call ends (package httptask)
		{"a long definition", "relaxed", strings.Replace(pass, `"StartAt"`, `"Comment":`+text(1<<20)+`,"StartAt"`, 1), `{}`, nil, []string{"1 - DEFINITION 1048663 > 1048576"}, "ValidationException"},
	} {
		run := func(t *testing.T, s *server) (d *api.DescribeExecutionOutput, err error) {
			m, err := s.CreateStateMachine(t.Context(), &api.CreateStateMachineInput{Name: "m", Definition: c.definition, RoleArn: role})
			if err != nil {
				return nil, err
			}
			x := must(s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: m.StateMachineArn, Input: &c.input}))(t).ExecutionArn
			synctest.Wait()
			if c.longer != nil {
				err = c.longer(t, s, x)
				synctest.Wait()
			}
			return must(s.DescribeExecution(t.Context(), &api.DescribeExecutionInput{ExecutionArn: x}))(t), err
		}
		t.Run(c.name, func(t *testing.T) {
			withLimits(t, c.limits, func(t *testing.T, s *server) {
				d, err := run(t, s)
				if err != nil {
					t.Fatal(err)
				}
				if got := s.breaks(t, d.ExecutionArn); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
					t.Errorf("%s: %s", d.Status, strings.Join(got, "\n"))
				}
			})
			if c.aws == "" {
				return
			}
			withLimits(t, "aws", func(t *testing.T, s *server) {
				d, err := run(t, s)
				got := awscall.Code(err)
				if err == nil {
					got = strings.TrimSpace(d.Status + " " + awsapi.Val(d.Error))
				}
				if got != c.aws {
					t.Errorf("on AWS: %s", got)
				}
				if d == nil {
					return
				}
				if got := s.breaks(t, d.ExecutionArn); got != nil {
					t.Errorf("on AWS: %s", strings.Join(got, "\n"))
				}
			})
		})
	}
}

func TestCheckLimitsOfNothing(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		_, err := s.CheckLimits(t.Context(), &own.CheckLimitsInput{ExecutionArn: prefix + "execution:m:x"})
		fails(t, err, "ExecutionDoesNotExist", "")
	})
}
