package launch

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// history writes events as "id prev type name"; the time of event n is n seconds.
func history(lines string) []map[string]any {
	var out []map[string]any
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		f := strings.Fields(line)
		var id, prev int64
		fmt.Sscan(f[0], &id)
		fmt.Sscan(f[1], &prev)
		e := map[string]any{"id": id, "previousEventId": prev, "type": f[2], "timestamp": time.Unix(id, 0)}
		switch {
		case strings.HasSuffix(f[2], "StateEntered"):
			e["stateEnteredEventDetails"] = map[string]any{"name": f[3]}
		case f[2] == "MapIterationStarted":
			e["mapIterationStartedEventDetails"] = map[string]any{"name": "M", "index": int64(len(out))}
		case f[2] == "TaskFailed":
			e["taskFailedEventDetails"] = map[string]any{"error": f[3], "cause": "because"}
		}
		out = append(out, e)
	}
	return out
}

func draw(states []*State, indent string) string {
	var b strings.Builder
	for _, s := range states {
		fmt.Fprintf(&b, "%s%s %s %s %s\n", indent, s.Name, s.Type, s.Status, s.Duration(time.Unix(99, 0)))
		b.WriteString(draw(s.States, indent+"  "))
	}
	return b.String()
}

func TestTree(t *testing.T) {
	for name, c := range map[string]struct{ events, want string }{
		"a task that is retried and runs": {`
1 0 ExecutionStarted
2 0 PassStateEntered A
3 2 PassStateExited
4 3 TaskStateEntered B
5 4 TaskScheduled
6 5 TaskStarted
7 6 TaskFailed Boom
8 7 TaskScheduled`, "A Pass SUCCEEDED 1s\nB Task RUNNING 1m35s\n"},
		"a failure that is caught": {`
1 0 ExecutionStarted
2 0 TaskStateEntered B
3 2 TaskScheduled
4 3 TaskFailed Boom
5 4 TaskStateExited
6 5 FailStateEntered End
7 6 ExecutionFailed`, "B Task CAUGHT 3s\nEnd Fail FAILED 0s\n"},
		"a map with an iteration": {`
1 0 ExecutionStarted
2 0 MapStateEntered M
3 2 MapStateStarted
4 3 MapIterationStarted
5 4 PassStateEntered P
6 5 PassStateExited
7 6 TaskStateEntered Q
8 7 TaskScheduled
9 8 TaskSucceeded
10 9 TaskStateExited
11 10 MapIterationSucceeded
12 11 MapStateSucceeded
13 12 MapStateExited
14 13 SucceedStateEntered Z
15 14 SucceedStateExited`, "M Map SUCCEEDED 11s\n  #3 Iteration SUCCEEDED 7s\n    P Pass SUCCEEDED 1s\n    Q Task SUCCEEDED 3s\nZ Succeed SUCCEEDED 1s\n"},
		"a branch that is aborted when another fails": {`
1 0 ExecutionStarted
2 0 ParallelStateEntered P
3 2 ParallelStateStarted
4 3 WaitStateEntered W
5 3 FailStateEntered F
6 5 WaitStateAborted
7 6 ParallelStateFailed
8 7 ParallelStateExited
9 8 SucceedStateEntered Z
10 9 SucceedStateExited`, "P Parallel CAUGHT 6s\n  W Wait ABORTED 2s\n  F Fail FAILED 0s\nZ Succeed SUCCEEDED 1s\n"},
		"an execution that is stopped": {`
1 0 ExecutionStarted
2 0 WaitStateEntered W
3 2 ExecutionAborted`, "W Wait ABORTED 1s\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := draw(Tree(history(c.events)), ""); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}
