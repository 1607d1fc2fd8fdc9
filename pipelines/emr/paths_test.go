package emr

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// world runs a machine on the pure core with a virtual clock: what each task ends with is a table.
type world struct {
	t      *testing.T
	core   execution.Core
	state  *execution.Snapshot
	now    time.Time
	timers map[string]time.Time
	queue  []execution.Command
	began  map[string]int // how often a state's task was started
	ended  map[string]int // how often it ended well
	cancel []string
	inputs map[string]jsonvalue.Value // the last one
	// answer says how a task ends; "" as its error: well. "never": no answer comes.
	answer func(state string, n int) (output, failure string)
}

const never = "never"

func newWorld(t *testing.T, m *asl.StateMachine, answer func(string, int) (string, string)) *world {
	return &world{t: t, state: &execution.Snapshot{}, now: time.Unix(1e9, 0).UTC(), timers: map[string]time.Time{}, answer: answer,
		began: map[string]int{}, ended: map[string]int{}, inputs: map[string]jsonvalue.Value{},
		core: execution.Core{Limits: execution.DefaultLimits, Machine: func(string) *asl.StateMachine { return m },
			Token: func(_ string, id execution.TaskID) string { return fmt.Sprintf("token-%d", id) }}}
}

func (w *world) do(in execution.Input) {
	w.t.Helper()
	d, err := w.core.Decide(w.state, in, execution.Env{Now: w.now, Seed: uint64(w.now.UnixNano())})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range d.ClearTimers {
		delete(w.timers, n)
	}
	for _, x := range d.SetTimers {
		w.timers[x.Name] = x.Due
	}
	for _, c := range d.Commands {
		if c.Cancel != nil {
			w.cancel = append(w.cancel, c.Cancel.Resource)
		}
	}
	w.queue = append(w.queue, d.Commands...)
	if d.More {
		w.do(execution.Input{Continue: &execution.Continue{}})
	}
}

// run starts the machine and goes on until it ends.
func (w *world) run(input string) *execution.Snapshot {
	w.t.Helper()
	w.do(execution.Input{Start: &execution.Start{Input: jsonvalue.MustParse(input), Identity: execution.Identity{
		ARN: "arn:aws:states:us-east-1:000000000000:execution:M:run", Name: "run", MachineName: "M",
		MachineARN: "arn:aws:states:us-east-1:000000000000:stateMachine:M", Digest: "d", Region: "us-east-1"}}})
	for n := 0; !w.state.Closed(); n++ {
		if n > 20000 {
			w.t.Fatalf("it does not end: %v", w.began)
		}
		if len(w.queue) > 0 {
			c := w.queue[0]
			w.queue = w.queue[1:]
			if c.Start != nil {
				w.task(c.Start)
			}
			continue
		}
		if len(w.timers) == 0 {
			w.t.Fatal("it waits for nothing")
		}
		next := slices.SortedFunc(maps.Keys(w.timers), func(a, b string) int { return w.timers[a].Compare(w.timers[b]) })[0]
		if due := w.timers[next]; due.After(w.now) {
			w.now = due
		}
		delete(w.timers, next)
		w.do(execution.Input{Timer: &execution.TimerFired{Name: next}})
	}
	return w.state
}

func (w *world) task(c *execution.StartTask) {
	w.began[c.State]++
	w.inputs[c.State] = c.Input
	output, failure := w.answer(c.State, w.began[c.State])
	r, err := execution.ParseResource(c.Resource)
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Pattern.Submits() {
		w.do(execution.Input{Submitted: &execution.TaskSubmitted{Task: c.Task, Resource: c.Resource, Output: jsonvalue.MustParse(`{}`)}})
	}
	if failure == never {
		return
	}
	o := execution.Outcome{}
	if failure != "" {
		name, cause, _ := strings.Cut(failure, ": ")
		o.Failure = &asl.Failure{Error: name, Cause: cause}
	} else {
		o.Output = jsonvalue.MustParse(output)
		w.ended[c.State]++
	}
	w.do(execution.Input{Done: &execution.TaskDone{Task: c.Task, Outcome: o, ByToken: r.Pattern == execution.Callback}})
}

// good is what the tasks of the outer machine give when all is well.
func good(state string) string {
	payload := map[string]string{
		"ValidateInput": `{"StackName":"emr-x","Output":"s3://bkt/output/run","Modes":[{"Mode":"A","Preprocessing":{"Name":"p"},"Model":{"Name":"m"}},{"Mode":"B","Preprocessing":{"Name":"p"},"Model":{"Name":"m"}}]}`,
		"LaunchCluster": `{"StackId":"arn:stack"}`, "PublishManifest": `{"Manifest":"s3://bkt/m","Modes":[]}`, "ComposeCard": `{"Subject":"s","Message":"m"}`,
	}[state]
	if payload != "" {
		return `{"StatusCode":200,"Payload":` + payload + `}`
	}
	return map[string]string{"AwaitLaunch": `{"StackId":"arn:stack","ClusterId":"j-1"}`, "Notify": `{"MessageId":"1"}`}[state] + map[bool]string{true: `{"Status":"DELETE_COMPLETE"}`}[strings.Contains("DeleteStack ForceDeletion RetainResources", state)] +
		map[bool]string{true: `{"Step":{"Id":"s-1"}}`}[state == "Preprocessing" || state == "Model"]
}

var outerTasks = []string{"ValidateInput", "LaunchCluster", "AwaitLaunch", "Preprocessing", "Model", "PublishManifest",
	"DeleteStack", "ForceDeletion", "RetainResources", "ComposeCard", "Notify"}

// TestEveryWayOut breaks every pair of tasks in every way, and looks whether the cluster is gone in the end and whether the
// execution tells the truth.
func TestEveryWayOut(t *testing.T) {
	m := machine(t, "machines/outer.asl.json")
	ways := []string{"Boom: it broke", "Lambda.Unknown: the function died", never, "States.Timeout"}
	runs := 0
	for _, a := range append([]string{""}, outerTasks...) {
		for _, b := range outerTasks {
			for _, how := range ways {
				for _, once := range []bool{false, true} {
					name := fmt.Sprintf("%s+%s %s once=%v", a, b, how, once)
					if once && how != never && how != ways[1] {
						continue // a retry mends only these
					}
					var w *world
					w = newWorld(t, m, func(state string, n int) (string, string) {
						if (state == a || state == b) && (!once || n == 1) {
							return "", how
						}
						if state == "PublishManifest" && strings.Contains(w.inputs[state].String(), `"Status":"FAILED"`) {
							return `{"Payload":{"Manifest":"m","Modes":[],"Failure":{"Error":"EMR.StepFailed","Cause":"A: no"}}}`, ""
						}
						return good(state), ""
					})
					end := w.run(`{"any":"input"}`)
					runs++
					gone := w.ended["DeleteStack"] + w.ended["ForceDeletion"] + w.ended["RetainResources"]
					if w.began["LaunchCluster"] > 0 && w.began["DeleteStack"] == 0 {
						t.Errorf("%s: the deletion was passed by: %v", name, w.began)
					}
					if w.began["DeleteStack"] > 0 && gone == 0 && w.began["RetainResources"] == 0 {
						t.Errorf("%s: the deletion gave up early: %v", name, w.began)
					}
					if w.began["LaunchCluster"] > 0 && gone == 0 && end.Status == execution.Succeeded {
						t.Errorf("%s: succeeded with a stack left", name)
					}
					// Only the mail may fail and leave a success a success; and what a retry has mended.
					if end.Status == execution.Succeeded {
						for _, s := range outerTasks[:8] {
							if w.began[s] > 0 && w.ended[s] == 0 {
								t.Errorf("%s: succeeded although %s never did", name, s)
							}
						}
					}
					if end.Status == execution.Failed && (end.Failure == nil || end.Failure.Error == "" || end.Failure.Error == asl.ErrRuntime) {
						t.Errorf("%s: ends with %+v", name, end.Failure)
					}
					if end.Status == execution.TimedOut {
						t.Errorf("%s: the whole timed out before its parts", name)
					}
				}
			}
		}
	}
	if runs < 700 {
		t.Errorf("only %d ways were tried", runs)
	}
}

func TestOuterHappyPath(t *testing.T) {
	w := newWorld(t, machine(t, "machines/outer.asl.json"), func(s string, _ int) (string, string) { return good(s), "" })
	end := w.run(`{}`)
	if end.Status != execution.Succeeded {
		t.Fatalf("%s %+v", end.Status, end.Failure)
	}
	if w.began["Preprocessing"] != 2 || w.began["Model"] != 2 {
		t.Errorf("two modes: %v", w.began)
	}
	var out map[string]any
	if err := json.Unmarshal(end.Output.Raw(), &out); err != nil || out["Manifest"] != "s3://bkt/m" || out["ClusterId"] != "j-1" {
		t.Errorf("output %s", end.Output)
	}
	if strings.Contains(end.Output.String(), "token") {
		t.Error("a token is in the output")
	}
}

// TestModeFails: the other mode runs all the same, and the first cause is told.
func TestModeFails(t *testing.T) {
	w := newWorld(t, machine(t, "machines/outer.asl.json"), func(s string, n int) (string, string) {
		switch {
		case s == "Preprocessing" && n == 1:
			return "", "EMR.StepFailed: no"
		case s == "PublishManifest":
			return `{"Payload":{"Manifest":"m","Modes":[],"Failure":{"Error":"EMR.StepFailed","Cause":"A: no"}}}`, ""
		}
		return good(s), ""
	})
	end := w.run(`{}`)
	if end.Status != execution.Failed || *end.Failure != (asl.Failure{Error: "EMR.StepFailed", Cause: "A: no"}) {
		t.Errorf("%s %+v", end.Status, end.Failure)
	}
	if w.began["Preprocessing"] != 2 || w.began["Model"] != 1 || w.ended["DeleteStack"] != 1 || w.ended["Notify"] != 1 {
		t.Errorf("%v", w.began)
	}
	sent := w.inputs["PublishManifest"].String()
	if !strings.Contains(sent, `"Mode":"A","Status":"FAILED","Failure":{"Error":"EMR.StepFailed","Cause":"no"}`) || !strings.Contains(sent, `"Mode":"B","Status":"SUCCEEDED"`) {
		t.Errorf("the manifest was told %s", sent)
	}
}

// TestDeletionForced: the work is done, the stack went by force; that is no success.
func TestDeletionForced(t *testing.T) {
	w := newWorld(t, machine(t, "machines/outer.asl.json"), func(s string, n int) (string, string) {
		if s == "DeleteStack" {
			return "", "Stack.DeleteFailed: the cluster is protected"
		}
		return good(s), ""
	})
	end := w.run(`{}`)
	if end.Status != execution.Failed || end.Failure.Error != "Stack.DeleteFailed" || w.ended["ForceDeletion"] != 1 || w.began["RetainResources"] != 0 {
		t.Errorf("%s %+v %v", end.Status, end.Failure, w.began)
	}
}

// TestSlowPoll: notifications that never come cost time, not the run.
func TestSlowPoll(t *testing.T) {
	w := newWorld(t, machine(t, "machines/outer.asl.json"), func(s string, n int) (string, string) {
		if (s == "AwaitLaunch" || s == "DeleteStack") && n < 4 {
			return "", never
		}
		return good(s), ""
	})
	end := w.run(`{}`)
	if end.Status != execution.Succeeded || w.began["AwaitLaunch"] != 4 || w.began["DeleteStack"] != 4 {
		t.Errorf("%s %+v %v", end.Status, end.Failure, w.began)
	}
}

const stepInput = `{"Token":"TOKEN","ClusterId":"j-1","Name":"model A","Args":["spark-submit","x"]}`

func inner(t *testing.T, answers map[string]func(n int) (string, string)) (*world, *execution.Snapshot) {
	w := newWorld(t, machine(t, "machines/inner.asl.json"), func(s string, n int) (string, string) {
		if f := answers[s]; f != nil {
			return f(n)
		}
		return map[string]string{
			"CheckCluster": `{"Cluster":{"Id":"j-1","Status":{"State":"WAITING","StateChangeReason":{}}}}`,
			"AddStep":      `{"Step":{"Id":"s-1","Status":{"State":"COMPLETED"}}}`, "Beat": `{}`, "ReportSuccess": `{}`,
			"ReportFailure": `{"Payload":{"Error":"EMR.StepFailed","Cause":"{}"}}`, "ReportFailurePlainly": `{}`,
		}[s], ""
	})
	return w, w.run(stepInput)
}

func fails(with string) func(int) (string, string) {
	return func(int) (string, string) { return "", with }
}

func TestInner(t *testing.T) {
	w, end := inner(t, nil)
	if end.Status != execution.Succeeded || w.ended["ReportSuccess"] != 1 {
		t.Errorf("%s %+v", end.Status, end.Failure)
	}
	var told struct{ TaskToken, Output string }
	if err := json.Unmarshal(w.inputs["ReportSuccess"].Raw(), &told); err != nil || told.TaskToken != "TOKEN" || told.Output != `{"Step":{"Id":"s-1","Status":{"State":"COMPLETED"}}}` {
		t.Errorf("told %s", w.inputs["ReportSuccess"])
	}

	w, end = inner(t, map[string]func(int) (string, string){"AddStep": fails(`States.TaskFailed: {"Step":{}}`)})
	if end.Status != execution.Failed || end.Failure.Error != "EMR.StepFailed" || w.ended["ReportFailure"] != 1 {
		t.Errorf("a failed step: %s %+v", end.Status, end.Failure)
	}
	if sent := w.inputs["ReportFailure"].String(); !strings.Contains(sent, `{\"Step\":{}}`) || !strings.Contains(sent, `"Token":"TOKEN"`) {
		t.Errorf("the function was told %s", sent)
	}

	w, end = inner(t, map[string]func(int) (string, string){"AddStep": fails("States.TaskFailed: x"), "ReportFailure": fails("Boom")})
	if end.Status != execution.Failed || w.ended["ReportFailurePlainly"] != 1 {
		t.Errorf("without its function: %s %v", end.Status, w.began)
	}

	for _, state := range []string{"TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS"} {
		w, end = inner(t, map[string]func(int) (string, string){"CheckCluster": func(int) (string, string) {
			return `{"Cluster":{"Id":"j-1","Status":{"State":"` + state + `","StateChangeReason":{"Code":"STEP_FAILURE"}}}}`, ""
		}})
		if w.began["AddStep"] != 0 || w.ended["ReportFailure"] != 1 || !strings.Contains(w.inputs["ReportFailure"].String(), "EMR.ClusterTerminated") || w.now.Sub(time.Unix(1e9, 0)) > time.Minute {
			t.Errorf("cluster %s: %s %v", state, end.Status, w.began)
		}
	}

	// A step that never ends: beats, and its time-out.
	w, end = inner(t, map[string]func(int) (string, string){"AddStep": fails(never)})
	if end.Status != execution.Failed || w.ended["ReportFailure"] != 1 || w.ended["Beat"] < 100 || len(w.cancel) == 0 {
		t.Errorf("endless: %s %v %v", end.Status, w.began, w.cancel)
	}

	// Nobody waits any more: the step is cancelled within a minute.
	w, end = inner(t, map[string]func(int) (string, string){"AddStep": fails(never), "Beat": fails("Sfn.TaskTimedOutException: Task Timed Out")})
	if end.Status != execution.Failed || end.Failure.Error != "Pipeline.NobodyWaits" || w.began["ReportFailure"] != 0 ||
		!slices.ContainsFunc(w.cancel, func(r string) bool { return strings.Contains(r, "addStep") }) || w.now.Sub(time.Unix(1e9, 0)) > time.Minute {
		t.Errorf("nobody waits: %s %+v %v", end.Status, end.Failure, w.cancel)
	}

	// A beat that fails is not the end.
	w, end = inner(t, map[string]func(int) (string, string){"Beat": fails("Sfn.SfnException: Rate exceeded"), "AddStep": fails(never)})
	if w.began["Beat"] < 100 || w.ended["ReportFailure"] != 1 {
		t.Errorf("throttled beats: %s %v", end.Status, w.began)
	}

	w, end = inner(t, map[string]func(int) (string, string){
		"CheckCluster": func(n int) (string, string) {
			if n < 4 {
				return "", "Emr.EmrException: Rate exceeded"
			}
			return `{"Cluster":{"Id":"j-1","Status":{"State":"RUNNING","StateChangeReason":{}}}}`, ""
		},
	})
	if end.Status != execution.Succeeded || w.began["CheckCluster"] != 4 {
		t.Errorf("throttled: %s %v", end.Status, w.began)
	}
}

// TestInnerEveryWayOut: whatever fails, the outer machine hears of it, or nobody waits.
func TestInnerEveryWayOut(t *testing.T) {
	tasks := []string{"CheckCluster", "AddStep", "Beat", "ReportSuccess", "ReportFailure", "ReportFailurePlainly"}
	for _, a := range tasks {
		for _, b := range tasks {
			for _, how := range []string{"Boom: it broke", never, "States.TaskFailed: x"} {
				w, end := inner(t, map[string]func(int) (string, string){a: fails(how), b: fails(how)})
				tried := w.began["ReportSuccess"] + w.began["ReportFailure"] + w.began["ReportFailurePlainly"]
				if !end.Closed() || tried == 0 {
					t.Errorf("%s+%s %s: %s, nobody was told: %v", a, b, how, end.Status, w.began)
				}
				if end.Status == execution.Succeeded && w.ended["ReportSuccess"] == 0 {
					t.Errorf("%s+%s %s: succeeded untold", a, b, how)
				}
			}
		}
	}
}
