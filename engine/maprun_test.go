package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/maprun"
)

// mapOver is a machine with one distributed Map; fields are what the Map has besides its processor.
func mapOver(child, fields, states string) string {
	return `{"StartAt": "Each", "States": {"Each": {"Type": "Map", "Label": "each", "ItemProcessor": {
	  "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "` + child + `"}, ` + states + `}, ` + fields + ` "End": true}}}`
}

const onePass = `"StartAt": "One", "States": {"One": {"Type": "Pass", "End": true}}`

// pickyFails is a child that fails for items that say so.
const picky = `"StartAt": "Look", "States": {"Look": {"Type": "Choice", "Choices": [{"Variable": "$.bad", "IsPresent": true, "Next": "No"}], "Default": "Yes"},
  "Yes": {"Type": "Succeed"}, "No": {"Type": "Fail", "Error": "Bad", "Cause": "item"}}`

func (s *server) ended(t *testing.T, arn string) *engine.Description {
	t.Helper()
	for range 10000 {
		d, err := s.Describe(t.Context(), arn)
		if err != nil {
			t.Fatal(err)
		}
		if d.Status != execution.Running {
			return d
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s did not end", arn)
	return nil
}

// mapRun is the newest map run of an execution.
func (s *server) mapRun(t *testing.T, arn string) *engine.MapRun {
	t.Helper()
	rows, err := s.ListMapRuns(t.Context(), arn, "", 10)
	if err != nil || len(rows) == 0 {
		t.Fatalf("map runs of %s: %v %v", arn, rows, err)
	}
	r, err := s.MapRun(t.Context(), rows[0].ARN)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func list(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ",%d", i)
	}
	return "[" + strings.TrimPrefix(b.String(), ",") + "]"
}

func TestMapRuns(t *testing.T) {
	for _, c := range []struct {
		name, fields, states, input string
		status                      execution.Status
		output, failure             string
		executions, items           maprun.Counts
	}{
		{"plain", ``, onePass, `[1,2,3]`, execution.Succeeded, `[1,2,3]`, "", maprun.Counts{Succeeded: 3}, maprun.Counts{Succeeded: 3}},
		{"no items", ``, onePass, `[]`, execution.Succeeded, `[]`, "", maprun.Counts{}, maprun.Counts{}},
		{"many", ``, onePass, list(2500), execution.Succeeded, list(2500), "", maprun.Counts{Succeeded: 2500}, maprun.Counts{Succeeded: 2500}},
		{"one at a time", `"MaxConcurrency": 1,`, onePass, `["a","b"]`, execution.Succeeded, `["a","b"]`, "", maprun.Counts{Succeeded: 2}, maprun.Counts{Succeeded: 2}},
		{"members", ``, onePass, `{"a":1,"b":2}`, execution.Succeeded, `[{"Key":"a","Value":1},{"Key":"b","Value":2}]`, "", maprun.Counts{Succeeded: 2}, maprun.Counts{Succeeded: 2}},
		{"selector", `"ItemsPath": "$.l", "ItemSelector": {"v.$": "$$.Map.Item.Value", "i.$": "$$.Map.Item.Index", "s.$": "$$.Map.Item.Source", "x.$": "$.x"},`, onePass, `{"l":["a"],"x":7}`,
			execution.Succeeded, `[{"v":"a","i":0,"s":"STATE_DATA","x":7}]`, "", maprun.Counts{Succeeded: 1}, maprun.Counts{Succeeded: 1}},
		{"batches", `"ItemBatcher": {"MaxItemsPerBatch": 2, "BatchInput": {"b": 1}},`, onePass, `[1,2,3]`, execution.Succeeded,
			`[{"BatchInput":{"b":1},"Items":[1,2]},{"BatchInput":{"b":1},"Items":[3]}]`, "", maprun.Counts{Succeeded: 2}, maprun.Counts{Succeeded: 3}},
		{"bytes", `"ItemBatcher": {"MaxInputBytesPerBatch": 21},`, onePass, `["aaa","bbb","c"]`, execution.Succeeded,
			`[{"Items":["aaa"]},{"Items":["bbb","c"]}]`, "", maprun.Counts{Succeeded: 2}, maprun.Counts{Succeeded: 3}},
		{"a failure", `"MaxConcurrency": 1,`, picky, `[{},{"bad":1},{}]`, execution.Failed, ``, "States.ExceedToleratedFailureThreshold",
			maprun.Counts{Succeeded: 1, Failed: 1, Pending: 1}, maprun.Counts{Succeeded: 1, Failed: 1, Pending: 1}},
		{"a tolerated failure", `"ToleratedFailureCount": 1,`, picky, `[{},{"bad":1},{"n":2}]`, execution.Succeeded, `[{},{"n":2}]`, "", maprun.Counts{Succeeded: 2, Failed: 1}, maprun.Counts{Succeeded: 2, Failed: 1}},
		{"a tolerated percentage", `"ToleratedFailurePercentage": 50,`, picky, `[{"bad":1},{}]`, execution.Succeeded, `[{}]`, "", maprun.Counts{Succeeded: 1, Failed: 1}, maprun.Counts{Succeeded: 1, Failed: 1}},
		{"all tolerated", `"ToleratedFailurePercentage": 100,`, picky, `[{"bad":1}]`, execution.Succeeded, `[]`, "", maprun.Counts{Failed: 1}, maprun.Counts{Failed: 1}},
		{"large", ``, onePass, `["` + strings.Repeat("x", 150_000) + `","` + strings.Repeat("y", 100_000) + `"]`, execution.Succeeded,
			`["` + strings.Repeat("x", 150_000) + `","` + strings.Repeat("y", 100_000) + `"]`, "", maprun.Counts{Succeeded: 2}, maprun.Counts{Succeeded: 2}},
		{"too large", `"ItemSelector": {"all.$": "$"},`, onePass, `["` + strings.Repeat("x", 150_000) + `","b"]`, execution.Failed, ``, "States.DataLimitExceeded",
			maprun.Counts{Succeeded: 2}, maprun.Counts{Succeeded: 2}},
		{"a path that is not there", `"ItemSelector": {"v.$": "$.no"},`, onePass, `[1]`, execution.Failed, ``, "States.Runtime", maprun.Counts{Pending: 1}, maprun.Counts{Pending: 1}},
	} {
		for _, child := range []string{"STANDARD", "EXPRESS"} {
			t.Run(c.name+"/"+child, func(t *testing.T) {
				s := start(t, newStore(t), &fake{})
				defer s.stop()
				if _, err := s.CreateExecution(t.Context(), request("x", mapOver(child, c.fields, c.states), c.input)); err != nil {
					t.Fatal(err)
				}
				d := s.ended(t, arn("x"))
				got := ""
				if d.Failure != nil {
					got = d.Failure.Error
				}
				if d.Status != c.status || d.Output.String() != c.output && c.output != "" || got != c.failure {
					t.Errorf("%s %.200s %v\n%s", d.Status, d.Output, d.Failure, s.history(t, arn("x")))
				}
				r := s.mapRun(t, arn("x"))
				if r.Executions != c.executions || r.Items != c.items {
					t.Errorf("executions %+v items %+v", r.Executions, r.Items)
				}
				if child == "STANDARD" {
					rows, err := s.ListExecutions(t.Context(), r.ARN, "", "", 10000)
					if n := c.executions.Total() - c.executions.Pending; err != nil || int64(len(rows)) != n {
						t.Errorf("%d children in the list: %v", len(rows), err)
					}
				}
			})
		}
	}
}

var _ = synctest.Test
