package execution_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/internal/scenario"
)

// TestRandomWalks gives each story's machine a random sequence of what may come (and of what may not: repeated, late and
// stale inputs), and checks the invariants after each: events are numbered without gaps and name earlier ones as their
// previous event, exactly one ends the execution and it is the last, a closed execution holds no task and no timer, the
// folded journal is the state, and the same state, input and world give the same decision. At the end everything is answered, and the execution must close.
func TestRandomWalks(t *testing.T) {
	seeds := 20
	if testing.Short() {
		seeds = 5
	}
	var all []string // the definitions of all stories: any may come with a redrive
	machines := map[string]*asl.StateMachine{}
	scenario.Walk(t, "testdata/histories", func(t *testing.T, s *scenario.Scenario) {
		for _, part := range []string{"definition.json", "definition2.json"} {
			text := s.Part(part)
			machine, diags := asl.Parse([]byte(text), asl.ParseOptions{})
			if text != "" && machine == nil {
				t.Fatal(diags)
			}
			if text != "" {
				machines[text] = machine
				all = append(all, text)
			}
		}
	})
	if t.Failed() {
		return
	}
	scenario.Walk(t, "testdata/histories", func(t *testing.T, s *scenario.Scenario) {
		first := s.Part("definition.json")
		own := slices.DeleteFunc([]string{first, s.Part("definition2.json")}, func(s string) bool { return s == "" })
		for seed := range seeds {
			w := &walk{t: t, seed: uint64(seed), r: rand.New(rand.NewPCG(uint64(seed), 7)), own: own, all: all, s: &execution.Snapshot{},
				timers: map[string]time.Time{}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
			w.core = execution.Core{Limits: execution.Limits{Events: 200, Data: asl.DefaultLimits}, Machine: func(digest string) *asl.StateMachine { return machines[digest] },
				Token: func(_ string, id execution.TaskID) string { return fmt.Sprint(id) }}
			input := s.Part("input.json")
			if input == "" {
				input = "{}"
			}
			w.do(execution.Input{Start: &execution.Start{Input: jsonvalue.MustParse(input), Identity: execution.Identity{ARN: "x", Digest: first, Region: "r"}}})
			for range 30 {
				w.step(true)
			}
			for i := 0; !w.s.Closed(); i++ {
				if i > 2000 {
					t.Fatalf("seed %d: it never ends: %+v", seed, execution.Expect(w.s))
				}
				w.step(false)
			}
			if len(w.timers) > 0 {
				t.Fatalf("seed %d: closed with timers %v", seed, w.timers)
			}
		}
	})
}

type walk struct {
	t       *testing.T
	seed    uint64
	own     []string // the story's definitions
	all     []string
	r       *rand.Rand
	core    execution.Core
	s       *execution.Snapshot
	timers  map[string]time.Time
	now     time.Time
	journal [][]byte
	events  int64
	ended   bool
	more    bool
	rarely  bool // the journal is folded now and then only
}

// step gives one input; a wild one may be anything, a tame one answers what is open.
func (w *walk) step(wild bool) {
	if w.more && (!wild || w.r.IntN(2) == 0) { // other inputs may come first
		w.more = false
		w.do(execution.Input{Continue: &execution.Continue{}})
		return
	}
	if wild && w.r.IntN(4) == 0 { // what was not asked for
		task := execution.TaskID(w.r.IntN(int(w.s.Issued) + 2))
		out := execution.Outcome{Output: jsonvalue.Int(1)}
		w.do([]execution.Input{
			{Done: &execution.TaskDone{Task: task, ByToken: true, Outcome: out}},
			{Beat: &execution.Beat{Task: task}}, {Timer: &execution.TimerFired{Name: "task/1"}}, {Resumed: &execution.Resumed{}},
			{Progress: &execution.TaskProgress{Task: task, Handle: []byte("p")}}, {Work: &execution.WorkTaken{Task: task}}, {Continue: &execution.Continue{}},
			{Submitted: &execution.TaskSubmitted{Task: task, Resource: "arn:aws:states:::states:startExecution.sync", Output: jsonvalue.Null, Handle: []byte("h")}},
			{Stop: stopSometimes(w.r)}, {Broken: &execution.Broken{Cause: "a bug"}}, {Redrive: &execution.Redrive{Token: fmt.Sprint(w.r.IntN(5))}}, {Redrive: &execution.Redrive{}},
			{Redrive: &execution.Redrive{Digest: w.own[w.r.IntN(len(w.own))]}}, {Redrive: &execution.Redrive{Digest: w.all[w.r.IntN(len(w.all))]}},
		}[w.r.IntN(14)])
		return
	}
	open := execution.Expect(w.s)
	if len(open) == 0 {
		return
	}
	e := open[w.r.IntN(len(open))]
	switch e.What {
	case "done":
		o := execution.Outcome{Output: jsonvalue.Int(int64(w.r.IntN(9)))}
		if w.r.IntN(3) == 0 {
			o = execution.Outcome{Failure: &asl.Failure{Error: []string{"Oops", "Throttled", "Broken", "States.TaskFailed", ""}[w.r.IntN(5)]}}
		}
		w.do(execution.Input{Done: &execution.TaskDone{Task: e.Task, Outcome: o, ByToken: w.r.IntN(2) == 0, Unsubmitted: w.s.Tasks[e.Task].Phase == execution.Started}})
	case "submitted":
		w.do(execution.Input{Submitted: &execution.TaskSubmitted{Task: e.Task, Resource: w.s.Tasks[e.Task].Resource, Output: jsonvalue.Int(1), Handle: []byte("h")}})
	case "map":
		in := &execution.MapDone{Run: e.Run.ARN, Redrives: e.Run.Redrives, Output: jsonvalue.Array(jsonvalue.Int(1))}
		switch w.r.IntN(6) {
		case 0:
			in.Output, in.Failure = jsonvalue.Value{}, &asl.Failure{Error: asl.ErrExceedTolerated}
		case 1:
			in.Output, in.Failure = jsonvalue.Value{}, &asl.Failure{Error: asl.ErrRuntime}
		case 2:
			in.Output, in.TooLarge = jsonvalue.Value{}, true
		case 3:
			in.Redrives++ // of another time: nothing changes
		}
		w.do(execution.Input{Map: in})
	case "work":
		w.do(execution.Input{Work: &execution.WorkTaken{Task: e.Task}})
	case "beat":
		w.now = w.now.Add(time.Duration(w.r.IntN(5000)) * time.Millisecond)
		w.do(execution.Input{Beat: &execution.Beat{Task: e.Task}})
	case "timer":
		if due, ok := w.timers[e.Timer.Name]; !ok || !due.Equal(e.Timer.Due) {
			w.t.Fatalf("seed %d: timer %s is due at %v, the loop knows %v", w.seed, e.Timer.Name, e.Timer.Due, due)
		}
		if e.Timer.Due.After(w.now) {
			w.now = e.Timer.Due
		}
		delete(w.timers, e.Timer.Name)
		w.do(execution.Input{Timer: &execution.TimerFired{Name: e.Timer.Name}})
		for name, due := range w.timers { // others are late now, and fire too
			if !due.After(w.now) {
				delete(w.timers, name)
				w.do(execution.Input{Timer: &execution.TimerFired{Name: name}})
			}
		}
	case "continue":
		if w.more {
			return
		}
		w.t.Fatalf("seed %d: a frame can go on, and nobody said More", w.seed)
	case "stop":
		if !wild && len(open) == 1 {
			w.t.Fatalf("seed %d: only a stop would end it", w.seed)
		}
	}
}

func stopSometimes(r *rand.Rand) *execution.Stop {
	return &execution.Stop{Error: "Stopped", Cause: fmt.Sprint(r.IntN(3))}
}

func (w *walk) do(in execution.Input) {
	w.t.Helper()
	closed := w.s.Closed()
	env := execution.Env{Now: w.now, Seed: w.r.Uint64(), Budget: 1 + w.r.IntN(5)}
	twin := &execution.Snapshot{}
	if b, err := json.Marshal(w.s); err != nil || json.Unmarshal(b, twin) != nil {
		w.t.Fatalf("seed %d: the state cannot be written and read: %v", w.seed, err)
	}
	d, err := w.core.Decide(w.s, in, env)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.r.IntN(4) == 0 { // the same state, input and world: the same decision
		again, err := w.core.Decide(twin, in, env)
		one, _ := json.Marshal(d)
		two, _ := json.Marshal(again)
		if err != nil || !bytes.Equal(one, two) {
			w.t.Fatalf("seed %d: decided again, it is another decision (%v):\n%s\n%s", w.seed, err, one, two)
		}
	}
	w.more = w.more || d.More
	if w.s.Closed() {
		w.more = false
	}
	for _, f := range d.Facts {
		e := f.Event
		if e == nil {
			continue
		}
		if w.events++; e.ID != w.events || e.Previous >= e.ID {
			w.t.Fatalf("seed %d: event %s is number %d", w.seed, e.Line(), w.events)
		}
		if e.Type == history.ExecutionRedriven && w.ended {
			w.ended = false
		}
		if w.ended {
			w.t.Fatalf("seed %d: %s after the end", w.seed, e.Line())
		}
		w.ended = e.Type.Terminal()
	}
	if w.ended != w.s.Closed() || d.Closed != w.s.Closed() || closed && len(d.Facts) > 0 && in.Redrive == nil {
		w.t.Fatalf("seed %d: closed is %v, %v, %v", w.seed, w.ended, w.s.Closed(), d.Closed)
	}
	if w.s.Closed() && len(w.s.Tasks) > 0 {
		w.t.Fatalf("seed %d: closed with tasks %v", w.seed, w.s.Tasks)
	}
	for _, n := range d.ClearTimers {
		delete(w.timers, n)
	}
	for _, x := range d.SetTimers {
		w.timers[x.Name] = x.Due
	}
	b, err := json.Marshal(d.Facts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.journal = append(w.journal, b)
	if w.rarely && w.r.IntN(6) > 0 && !w.s.Closed() {
		return
	}
	folded := &execution.Snapshot{}
	for _, b := range w.journal {
		var facts []execution.Fact
		if err := json.Unmarshal(b, &facts); err != nil {
			w.t.Fatal(err)
		}
		for _, f := range facts {
			execution.Apply(folded, f)
		}
	}
	live, _ := json.Marshal(w.s)
	again, _ := json.Marshal(folded)
	if !bytes.Equal(live, again) {
		w.t.Fatalf("seed %d: the folded journal is not the state:\n%s\n%s", w.seed, live, again)
	}
	if w.r.IntN(5) == 0 { // a crash
		w.s = folded
	}
}
