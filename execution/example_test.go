package execution_test

import (
	"fmt"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// One decision answers one input: here the start, which goes on until the Wait, and then the Wait's end.
func Example() {
	machine, _ := asl.Parse([]byte(`{"StartAt": "Rest", "States": {
		"Rest": {"Type": "Wait", "Seconds": 60, "Next": "Done"},
		"Done": {"Type": "Succeed"}}}`), asl.ParseOptions{})
	core := execution.Core{Machine: func(string) *asl.StateMachine { return machine }}
	s := &execution.Snapshot{}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

	for _, in := range []execution.Input{
		{Start: &execution.Start{Input: jsonvalue.MustParse(`{"n":1}`)}},
		{Timer: &execution.TimerFired{Name: "frame"}},
	} {
		d, err := core.Decide(s, in, execution.Env{Now: now})
		if err != nil {
			panic(err)
		}
		for _, f := range d.Facts {
			if f.Event != nil {
				fmt.Println(f.Event.Line())
			}
		}
		fmt.Println(s.Status, d.SetTimers)
		now = now.Add(time.Minute)
	}
	// Output:
	// 1 ← 0  ExecutionStarted  input={"n":1}
	// 2 ← 0  WaitStateEntered  name=Rest input={"n":1}
	// RUNNING [{frame 2026-01-01 00:01:00 +0000 UTC}]
	// 3 ← 2  WaitStateExited  name=Rest output={"n":1}
	// 4 ← 3  SucceedStateEntered  name=Done input={"n":1}
	// 5 ← 4  SucceedStateExited  name=Done output={"n":1}
	// 6 ← 5  ExecutionSucceeded  output={"n":1}
	// SUCCEEDED []
}
