package cluster_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/emrapi"
	"github.com/mayfly-run/mayfly/services/emr/cluster"
	"github.com/mayfly-run/mayfly/services/emr/host"
)

var update = flag.Bool("update", false, "rewrite the golden stories")

// world is a cluster with a clock, its timers and the record of what it did.
type world struct {
	t      testing.TB
	s      *cluster.State
	facts  []cluster.Fact
	now    time.Time
	timers map[string]time.Time
	seed   uint64
	out    strings.Builder
	open   map[string]bool // commands that have not come back: "provision", "run NAME", "teardown"
}

func newWorld(t testing.TB) *world {
	return &world{t: t, s: &cluster.State{}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), timers: map[string]time.Time{}, open: map[string]bool{}}
}

func (w *world) say(format string, args ...any) { fmt.Fprintf(&w.out, "  "+format+"\n", args...) }

func (w *world) name(id string) string {
	if st := w.s.Step(id); st != nil {
		return st.Config.Name
	}
	return id
}

func (w *world) id(name string) string {
	for _, st := range w.s.Steps {
		if st.Config.Name == name {
			return st.ID
		}
	}
	return "s-" + name
}

// give decides one input and tells what came of it.
func (w *world) give(in cluster.Input) {
	w.seed++
	d, err := cluster.Core{}.Decide(w.s, durable.Input[cluster.Input]{At: w.now, Body: in}, durable.Env{Now: w.now, Seed: w.seed})
	if err != nil {
		w.t.Fatal(err)
	}
	w.facts = append(w.facts, d.Facts...)
	for _, f := range d.Facts {
		switch {
		case f.Created != nil:
			w.say("cluster STARTING")
		case f.Moved != nil:
			w.say("cluster %s %s", f.Moved.State, strings.TrimSpace(f.Moved.Code+" "+f.Moved.Message))
		case f.StepMoved != nil:
			w.say("step %s %s", w.name(f.StepMoved.ID), f.StepMoved.State)
		case f.Settings != nil:
			w.say("settings changed")
		case f.Leased != nil:
			w.say("leased %d workers", f.Leased.Workers)
		case f.NodesLost != nil:
			w.say("worker %d lost with its nodes, %d new ones: %s", f.NodesLost.Worker, len(f.NodesLost.New), f.NodesLost.Message)
		case f.WorkerUp != nil:
			w.say("worker %d up", f.WorkerUp.Worker)
		case f.IdleSince != nil && !f.IdleSince.IsZero():
			w.say("idle")
		}
		for _, st := range f.Added {
			w.say("step %s PENDING", st.Config.Name)
		}
	}
	for _, c := range d.Commands {
		name := ""
		switch {
		case c.Reserve != nil:
			name = "reserve"
			if c.Reserve.Wait {
				name = "wait for a lease"
			}
		case c.Replace != nil:
			name = fmt.Sprintf("replace worker %d by generation %d", c.Replace.Worker, c.Replace.Generation)
		case c.Provision != nil:
			name = "provision"
		case c.Bootstrap != nil:
			name = "bootstrap"
		case c.Watch != nil:
			name = fmt.Sprint("watch ", c.Watch.Generations)
		case c.RunStep != nil:
			name = "run " + w.name(c.RunStep.ID)
		case c.CancelStep != nil:
			name = fmt.Sprintf("cancel %s kill=%v", w.name(c.CancelStep.ID), c.CancelStep.Kill)
		case c.TearDown != nil:
			name = "teardown"
			for _, id := range c.TearDown.Interrupted {
				name += " " + w.name(id)
			}
		}
		w.say("do: %s", name)
		w.open[strings.Join(strings.Fields(name)[:min(2, len(strings.Fields(name)))], " ")] = true
	}
	for _, timer := range d.SetTimers {
		w.timers[timer.Name] = timer.Due
		w.say("timer %s in %v", timer.Name, timer.Due.Sub(w.now))
	}
	for _, name := range d.ClearTimers {
		delete(w.timers, name)
	}
	if infos, ok := d.Reply.([]emrapi.CancelStepsInfo); ok {
		for _, i := range infos {
			w.say("reply %s %s %s", w.name(*i.StepId), *i.Status, awsapi.Val(i.Reason))
		}
	}
	if d.Err != nil {
		w.say("refused %v", d.Err)
	}
	if d.Closed != w.s.Ended() {
		w.t.Errorf("closed %v, state %s", d.Closed, w.s.State)
	}
}

func steps(words []string) (out []emrapi.StepConfig) {
	for _, word := range words {
		name, action, ok := strings.Cut(word, ":")
		st := emrapi.StepConfig{Name: name, HadoopJarStep: &emrapi.HadoopJarStepConfig{Jar: "command-runner.jar"}}
		if ok {
			st.ActionOnFailure = &action
		}
		out = append(out, st)
	}
	return out
}

// line carries out one line of a story.
func (w *world) line(line string) {
	words := strings.Fields(line)
	verb, rest := words[0], words[1:]
	arg := func(name string) (string, bool) {
		for i, r := range rest {
			if v, ok := strings.CutPrefix(r, name+"="); ok {
				rest = slices.Delete(slices.Clone(rest), i, i+1)
				return v, true
			}
		}
		return "", false
	}
	number := func(name string) *int64 {
		if v, ok := arg(name); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				w.t.Fatal(err)
			}
			return &n
		}
		return nil
	}
	boolean := func(name string) *bool {
		if v, ok := arg(name); ok {
			b := v == "true"
			return &b
		}
		return nil
	}
	switch verb {
	case "create":
		set := cluster.Settings{Concurrency: 1, KeepAlive: awsapi.Val(boolean("keepAlive")), Protected: awsapi.Val(boolean("protected")), IdleSeconds: awsapi.Val(number("idle"))}
		if n := number("concurrency"); n != nil {
			set.Concurrency = int(*n)
		}
		spec := cluster.Spec{ID: "j-1", Groups: []cluster.Group{{Role: "MASTER", Instances: make([]cluster.Instance, 1)}, {Role: "CORE"}}}
		for i := range 3 {
			spec.Groups[1].Instances = append(spec.Groups[1].Instances, cluster.Instance{EC2ID: fmt.Sprint("i-", i)})
		}
		w.give(cluster.Input{Create: &cluster.Create{Spec: spec, Settings: set, Steps: steps(rest)}})
	case "leased":
		w.give(cluster.Input{Reserved: &cluster.Reserved{Lease: &host.Lease{Workers: 2, Cores: 1, MemoryMB: 1024, DriverMB: 1024}}})
	case "full":
		w.give(cluster.Input{Reserved: &cluster.Reserved{Waits: "Waiting for capacity."}})
	case "never":
		w.give(cluster.Input{Reserved: &cluster.Reserved{Outcome: cluster.Outcome{Code: "VALIDATION_ERROR", Message: "Too small."}}})
	case "lost", "replaced", "unreplaced":
		var worker, generation int
		if n, err := fmt.Sscan(strings.Join(rest, " "), &worker, &generation); n != 2 {
			w.t.Fatal(err)
		}
		switch verb {
		case "lost":
			w.give(cluster.Input{WorkerLost: &cluster.WorkerLost{Worker: worker, Generation: generation, Message: "Gone."}})
		case "replaced":
			w.give(cluster.Input{Replaced: &cluster.Replaced{Worker: worker, Generation: generation}})
		default:
			w.give(cluster.Input{Replaced: &cluster.Replaced{Worker: worker, Generation: generation, Outcome: cluster.Outcome{Code: "BOOTSTRAP_FAILURE", Message: "Bad."}}})
		}
	case "nodes":
		for _, g := range w.s.Spec.Groups {
			for _, n := range append(slices.Clone(g.Gone), g.Instances...) {
				w.say("%s %s", g.Role, strings.TrimSpace(fmt.Sprintf("%.3s %s %s %s", n.EC2ID, n.State, n.Code, n.Message)))
			}
		}
	case "add":
		w.give(cluster.Input{AddSteps: &cluster.AddSteps{Steps: steps(rest)}})
	case "provisioned":
		w.give(cluster.Input{Provisioned: &cluster.Outcome{}})
	case "bootstrapped":
		o := cluster.Outcome{}
		if len(rest) > 0 {
			o = cluster.Outcome{Code: rest[0], Message: strings.Join(rest[1:], " ")}
		}
		w.give(cluster.Input{Bootstrapped: &o})
	case "ok":
		w.give(cluster.Input{StepEnded: &cluster.StepEnded{ID: w.id(rest[0])}})
	case "fail":
		w.give(cluster.Input{StepEnded: &cluster.StepEnded{ID: w.id(rest[0]), Failure: &cluster.Failure{Reason: "Unknown Error."}}})
	case "cancel", "kill":
		c := &cluster.Cancel{Kill: verb == "kill"}
		for _, name := range rest {
			c.Steps = append(c.Steps, w.id(name))
		}
		w.give(cluster.Input{Cancel: c})
	case "terminate":
		w.give(cluster.Input{Terminate: &cluster.Terminate{}})
	case "release":
		w.give(cluster.Input{Terminate: &cluster.Terminate{Force: true, Message: "Released"}})
	case "died":
		w.give(cluster.Input{Died: &cluster.Died{Message: "The master node was terminated: gone"}})
	case "torndown":
		w.give(cluster.Input{TornDown: &struct{}{}})
	case "change":
		c := &cluster.Change{KeepAlive: boolean("keepAlive"), Protected: boolean("protected"), IdleSeconds: number("idle")}
		if n := number("concurrency"); n != nil {
			c.Concurrency = awsapi.Ptr(int(*n))
		}
		if v, ok := arg("tag"); ok {
			c.AddTags = []emrapi.Tag{{Key: &v, Value: &v}}
		}
		w.give(cluster.Input{Change: c})
	case "advance":
		d, err := time.ParseDuration(rest[0])
		if err != nil {
			w.t.Fatal(err)
		}
		w.now = w.now.Add(d)
		for name, due := range w.timers {
			if !due.After(w.now) {
				delete(w.timers, name)
				w.give(cluster.Input{IdleTimer: &struct{}{}})
			}
		}
	default:
		w.t.Fatalf("no such line: %q", line)
	}
}

// folded checks that the facts, through JSON, give the state that was decided.
func (w *world) folded() {
	b, err := json.Marshal(w.facts)
	if err != nil {
		w.t.Fatal(err)
	}
	var facts []cluster.Fact
	if err := json.Unmarshal(b, &facts); err != nil {
		w.t.Fatal(err)
	}
	again := &cluster.State{}
	for _, f := range facts {
		cluster.Core{}.Apply(again, f)
	}
	want, _ := json.Marshal(w.s)
	got, _ := json.Marshal(again)
	if !reflect.DeepEqual(want, got) {
		w.t.Errorf("folding gives\n%s\nand deciding gave\n%s", got, want)
	}
}

func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d stories: %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t)
			for line := range strings.Lines(string(b)) {
				line = strings.TrimRight(line, "\n")
				if strings.HasPrefix(line, " ") {
					continue // what came of it, told again
				}
				w.out.WriteString(line + "\n")
				if line != "" && !strings.HasPrefix(line, "#") {
					w.line(line)
				}
			}
			w.folded()
			if *update {
				if err := os.WriteFile(path, []byte(w.out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := w.out.String(); got != string(b) && !*update {
				t.Errorf("the story goes differently now (-update rewrites it):\n%s", got)
			}
		})
	}
}

// TestWalks gives clusters random inputs and looks at the invariants of doc.go after each.
func TestWalks(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		w.line(fmt.Sprintf("create keepAlive=%v protected=%v concurrency=%d idle=%d a b:CANCEL_AND_WAIT c:CONTINUE", rapid.Bool().Draw(rt, "keepAlive"),
			rapid.Bool().Draw(rt, "protected"), rapid.IntRange(1, 3).Draw(rt, "concurrency"), rapid.SampledFrom([]int{0, 60}).Draw(rt, "idle")))
		ended := map[string]string{}
		names := []string{"a", "b", "c", "d", "e"}
		for range rapid.IntRange(1, 40).Draw(rt, "length") {
			before := w.s.State
			line := rapid.SampledFrom([]string{"leased", "full", "provisioned", "bootstrapped", "lost 0 0", "lost 1 0", "lost 1 1", "replaced 0 1", "replaced 1 1", "unreplaced 1 1", "bootstrapped BOOTSTRAP_FAILURE x", "ok", "ok", "fail", "cancel", "kill", "add d:CONTINUE",
				"terminate", "release", "died", "torndown", "change protected=false", "change keepAlive=false", "change concurrency=2", "advance 45s"}).Draw(rt, "line")
			switch line {
			case "ok", "fail", "cancel", "kill":
				line += " " + rapid.SampledFrom(names).Draw(rt, "step")
			case "lost 0 0", "lost 1 0", "lost 1 1": // come when there are workers
				if len(w.s.Workers) == 0 {
					continue
				}
			case "provisioned": // comes only as an answer
				if w.s.Spec.Lease == nil {
					continue
				}
			case "torndown": // comes only as an answer
				if !w.open["teardown"] && !w.s.Ending() {
					continue
				}
			}
			w.line(line)
			running := 0
			for i, st := range w.s.Steps {
				if was, ok := ended[st.ID]; ok && was != st.State {
					rt.Fatalf("step %s went from %s to %s", st.Config.Name, was, st.State)
				}
				if st.Ended() {
					ended[st.ID] = st.State
				}
				if st.State == cluster.Running {
					running++
					for _, earlier := range w.s.Steps[:i] {
						if earlier.State == cluster.Pending {
							rt.Fatalf("step %s overtook %s", st.Config.Name, earlier.Config.Name)
						}
					}
				}
				if w.s.Ending() && !st.Ended() {
					rt.Fatalf("step %s is %s in a cluster that is %s", st.Config.Name, st.State, w.s.State)
				}
			}
			if w.s.State == cluster.Waiting && running > 0 || w.s.State == cluster.Waiting && !w.s.Settings.KeepAlive {
				rt.Fatalf("the cluster is waiting with %d steps running", running)
			}
			for n, worker := range w.s.Workers {
				for _, node := range w.s.Spec.NodesOf(n) {
					if gone := node.State == cluster.Terminated; gone != worker.Down || worker.Starting && node.State != cluster.Bootstrapping {
						rt.Fatalf("worker %d is %+v and its node %+v", n, worker, node)
					}
				}
			}
			if (w.open["provision"] || w.open["bootstrap"]) && w.s.Spec.Lease == nil {
				rt.Fatalf("the cluster started without a lease")
			}
			if w.s.Ended() && before != cluster.Terminating && before != w.s.State {
				rt.Fatalf("the cluster went from %s to %s", before, w.s.State)
			}
		}
		w.folded()
	})
}
