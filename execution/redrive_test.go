package execution_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
)

// TestRedrivable: AWS's reasons, the first that holds.
func TestRedrivable(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for _, c := range []struct {
		status execution.Status
		took   time.Duration
		events int64
		after  time.Duration
		want   string
	}{
		{execution.Running, 0, 1, 0, "Execution is RUNNING and cannot be redriven"},
		{execution.Succeeded, day, 25000, 99 * day, "Execution is SUCCEEDED and cannot be redriven"},
		{execution.Failed, day, 24998, 14 * day, ""},
		{execution.Aborted, 365*day - 1, 10, day, ""},
		{execution.TimedOut, 0, 3, 0, ""},
		{execution.Failed, day, 24999, day, "Execution history event limit exceeded"},
		{execution.TimedOut, 365 * day, 10, 20 * day, "Execution has exceeded the max execution time"},
		{execution.Failed, day, 10, 14*day + 1, "Execution redrivable period exceeded"},
	} {
		s := &execution.Snapshot{Status: c.status, Started: began, Stopped: began.Add(c.took), LastEvent: c.events}
		if got := execution.DefaultLimits.Redrivable(s, s.Stopped.Add(c.after)); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestRedriveTokens: the last ten tokens are known, no more.
func TestRedriveTokens(t *testing.T) {
	m, _ := asl.Parse([]byte(`{"StartAt":"F","States":{"F":{"Type":"Fail"}}}`), asl.ParseOptions{})
	core := execution.Core{Limits: execution.DefaultLimits, Machine: func(string) *asl.StateMachine { return m }}
	s := &execution.Snapshot{}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	decide := func(in execution.Input) execution.Decision {
		t.Helper()
		d, err := core.Decide(s, in, execution.Env{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := decide(execution.Input{Redrive: &execution.Redrive{}}); !d.Reply.Stale {
		t.Error("redriven before it began")
	}
	decide(execution.Input{Start: &execution.Start{}})
	redrive := func(token int) bool {
		d := decide(execution.Input{Redrive: &execution.Redrive{Token: fmt.Sprint("token ", token)}})
		return len(d.Facts) > 0
	}
	for i := range 11 {
		if !redrive(i) {
			t.Errorf("token %d was known", i)
		}
	}
	if redrive(1) || redrive(10) {
		t.Error("one of the last ten was not known")
	}
	if !redrive(0) {
		t.Error("the eleventh was known")
	}
	if s.RedriveCount != 12 || len(s.RedriveTokens) != 10 {
		t.Errorf("%d redrives, %d tokens", s.RedriveCount, len(s.RedriveTokens))
	}
}

func TestDifferences(t *testing.T) {
	const old = `{"StartAt":"P","Comment":"c","States":{
	  "P":{"Type":"Parallel","Branches":[{"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}},{"StartAt":"B","States":{"B":{"Type":"Pass","End":true}}}],"Next":"M"},
	  "M":{"Type":"Map","ItemProcessor":{"StartAt":"C","States":{"C":{"Type":"Pass","End":true}}},"End":true}}}`
	for _, c := range []struct{ text, want string }{
		{old, "[]"},
		{`{"States":{
	      "M":{"Type":"Map","ItemProcessor":{"States":{"C":{"End":true,"Type":"Pass"}},"StartAt":"C"},"End":true},
	      "P":{"Type":"Parallel","Branches":[{"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}},{"StartAt":"B","States":{"B":{"Type":"Pass","End":true}}}],"Next":"M"}},"Comment":"c","StartAt":"P"}`, "[]"},
		{`{"StartAt":"P","TimeoutSeconds":5,"Comment":"c","States":{
	      "P":{"Type":"Parallel","Branches":[{"StartAt":"A","States":{"A":{"Type":"Pass","End":true,"Result":1}}}],"Next":"M"},
	      "M":{"Type":"Map","MaxConcurrency":2,"ItemProcessor":{"StartAt":"C","States":{"C":{"Type":"Pass","Next":"D"},"D":{"Type":"Succeed"}}},"End":true}}}`,
			"[{changed /} {changed /States/P/Branches[0]/States/A} {removed /States/P/Branches[1]} {removed /States/P/Branches[1]/States/B} {changed /States/M} " +
				"{changed /States/M/ItemProcessor/States/C} {added /States/M/ItemProcessor/States/D}]"},
	} {
		before, _ := asl.Parse([]byte(old), asl.ParseOptions{})
		after, diags := asl.Parse([]byte(c.text), asl.ParseOptions{})
		if after == nil {
			t.Fatal(diags)
		}
		if got := fmt.Sprint(execution.Differences(before, after)); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
