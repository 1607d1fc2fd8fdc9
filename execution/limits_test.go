package execution_test

import (
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// TestVariablesLimit: all variables of an execution together have a limit; one that is assigned anew counts once, and a
// Catcher that assigns too much does not catch.
func TestVariablesLimit(t *testing.T) {
	const definition = `{"QueryLanguage":"JSONata","StartAt":"A","States":{
	 "A":{"Type":"Pass","Assign":{"x":"1234"},"Next":"B"},
	 "B":{"Type":"Pass","Assign":{"x":"12345678"},"Next":"C"},
	 "C":{"Type":"Parallel","Branches":[{"StartAt":"I","States":{"I":{"Type":"Pass","Assign":{"y":"12345678"},"End":true}}}],
	      "Catch":[{"ErrorEquals":["States.ALL"],"Assign":{"z":"123456789"},"Next":"D"}],"Next":"D"},
	 "D":{"Type":"Succeed"}}}`
	m, d := asl.Parse([]byte(definition), asl.ParseOptions{})
	if m == nil {
		t.Fatal(d)
	}
	for limit, want := range map[int]string{20: "", 19: "C", 9: "B", 5: "A", 0: ""} {
		core := execution.Core{Limits: execution.Limits{Data: asl.Limits{Variables: limit}}, Machine: func(string) *asl.StateMachine { return m }}
		s := &execution.Snapshot{}
		if _, err := core.Decide(s, execution.Input{Start: &execution.Start{Input: jsonvalue.Object()}}, execution.Env{Now: time.Unix(1, 0)}); err != nil {
			t.Fatal(err)
		}
		switch {
		case want == "" && s.Status != execution.Succeeded:
			t.Errorf("limit %d: %s %v", limit, s.Status, s.Failure)
		case want != "" && (s.Failure == nil || s.Failure.Error != asl.ErrDataLimitExceeded || s.Failure.Cause != asl.TooManyVariables(m.States[want]).Cause):
			t.Errorf("limit %d: %s %v, want a failure of %s", limit, s.Status, s.Failure, want)
		}
	}
}
