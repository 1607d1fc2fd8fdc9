// Package scenario tells executions as stories: a file with a definition, an input, a script of outside events, and the
// history that comes of it. The runner is the pure core alone, in one goroutine, on a virtual clock; it checks after
// each record that folding the journal gives the live state.
//
// A file is a txtar archive. The text before the first part says what the story is about. Its parts:
//
//	-- definition.json --  the state machine
//	-- input.json --       {} when absent
//	-- script --           one outside event a line
//	-- history.txt --      what is expected; written by -update
//
// The script knows:
//
//	task ok JSON | task fail ERROR CAUSE…   the oldest task ends; with @NAME after task: that state's
//	task submit JSON                        its job is started; bytes:N for JSON is a string of that length
//	task submitfail ERROR CAUSE…            its job could not be started
//	token ok JSON | token fail ERROR CAUSE… somebody brings its token back
//	beat                                    a heartbeat
//	work WORKER                             a worker takes it
//	map ok JSON | map fail ERROR CAUSE…     the map run that was started last ends; toolarge for ok JSON
//	advance 30s                             time passes; timers fire
//	crash                                   the state is lost and folded again
//	resume                                  the server is back after a crash
//	stop ERROR CAUSE…                       StopExecution
//	redrive [TOKEN | PART]                  RedriveExecution, with a client token or the definition of that part
//	budget N | limits TEXT                  states per decision; as execution.ParseLimits reads them
package scenario

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Scenario is one story.
type Scenario struct {
	Path    string
	Comment string
	names   []string
	parts   map[string]string
	// CrashAlways folds the state anew after each record, as if the server had crashed there.
	CrashAlways bool
}

// Load reads a story.
func Load(path string) (*Scenario, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &Scenario{Path: path, parts: map[string]string{}}
	name := ""
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(strings.TrimSpace(rest), " --") {
			name = strings.TrimSuffix(strings.TrimSpace(rest), " --")
			s.names = append(s.names, name)
			s.parts[name] = ""
			continue
		}
		if name == "" {
			s.Comment += line
		} else {
			s.parts[name] += line
		}
	}
	return s, nil
}

// Walk runs f for each story in dir.
func Walk(t *testing.T, dir string, f func(t *testing.T, s *Scenario)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no stories in %s (%v)", dir, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			s, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			f(t, s)
		})
	}
}

// Part is the text of a part, "" when there is none.
func (s *Scenario) Part(name string) string { return s.parts[name] }

// Golden compares a part with got, or writes it with -update.
func (s *Scenario) Golden(t *testing.T, part, got string) {
	t.Helper()
	want, known := s.parts[part]
	if want == got {
		return
	}
	if !*update {
		t.Errorf("%s: %s differs (-want +got):\n%s", s.Path, part, cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
		return
	}
	if !known {
		s.names = append(s.names, part)
	}
	s.parts[part] = got
	var b strings.Builder
	b.WriteString(s.Comment)
	for _, n := range s.names {
		fmt.Fprintf(&b, "-- %s --\n%s", n, s.parts[n])
	}
	if err := os.WriteFile(s.Path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// start is when every story begins.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// run is a story being told.
type run struct {
	t       *testing.T
	s       *Scenario
	core    execution.Core
	state   *execution.Snapshot
	journal [][]byte // each record's facts
	timers  map[string]time.Time
	now     time.Time
	budget  int
	seed    uint64
	out     strings.Builder
	// resources of tasks, also of those that have ended
	resources map[execution.TaskID]string
}

// Run tells the story and returns its history.
func (s *Scenario) Run(t *testing.T) string {
	t.Helper()
	machines := map[string]*asl.StateMachine{}
	for name, text := range s.parts {
		if !strings.HasPrefix(name, "definition") {
			continue
		}
		machine, diags := asl.Parse([]byte(text), asl.ParseOptions{})
		for _, d := range diags {
			if d.Severity == asl.SeverityError {
				t.Fatalf("%s: %v", s.Path, d)
			}
		}
		machines[name] = machine
	}
	r := &run{t: t, s: s, state: &execution.Snapshot{}, timers: map[string]time.Time{}, now: start, resources: map[execution.TaskID]string{}}
	r.core = execution.Core{Limits: execution.DefaultLimits, Machine: func(digest string) *asl.StateMachine { return machines[digest] },
		Token:    func(_ string, id execution.TaskID) string { return fmt.Sprintf("token-%d", id) },
		Activity: func(arn string) bool { return !strings.HasSuffix(arn, ":deleted") }}
	input := s.parts["input.json"]
	if input == "" {
		input = "{}"
	}
	v, err := jsonvalue.Parse([]byte(input))
	if err != nil {
		t.Fatalf("%s: input: %v", s.Path, err)
	}
	lines := slices.Collect(strings.Lines(s.parts["script"]))
	for len(lines) > 0 && (strings.HasPrefix(lines[0], "budget") || strings.HasPrefix(lines[0], "limits")) {
		r.line(strings.TrimSpace(lines[0]))
		lines = lines[1:]
	}
	r.do(execution.Input{Start: &execution.Start{Input: v, Identity: execution.Identity{
		ARN: "arn:aws:states:us-east-1:000000000000:execution:Story:run", Name: "run",
		MachineARN: "arn:aws:states:us-east-1:000000000000:stateMachine:Story", MachineName: "Story",
		RoleARN: "arn:aws:iam::000000000000:role/story", Digest: "definition.json", Region: "us-east-1"}}})
	for _, l := range lines {
		if l = strings.TrimSpace(l); l != "" && l[0] != '#' {
			r.line(l)
		}
	}
	fmt.Fprintf(&r.out, "%s", r.state.Status)
	for _, e := range execution.Expect(r.state) {
		if e.What != "stop" {
			fmt.Fprintf(&r.out, " · %s", e.What)
			if e.Task != 0 {
				fmt.Fprintf(&r.out, " %d", e.Task)
			}
		}
	}
	r.out.WriteByte('\n')
	if r.state.Closed() && (len(r.timers) > 0 || len(r.state.Tasks) > 0) {
		t.Errorf("%s: closed with timers %v and tasks %v", s.Path, r.timers, r.state.Tasks)
	}
	return r.out.String()
}

func (r *run) line(l string) {
	r.t.Helper()
	word, rest, _ := strings.Cut(l, " ")
	if word != "advance" && word != "crash" && word != "budget" && word != "limits" {
		fmt.Fprintf(&r.out, "> %s\n", l)
	}
	switch word {
	case "advance":
		d, err := time.ParseDuration(rest)
		if err != nil {
			r.t.Fatalf("%s: %q: %v", r.s.Path, l, err)
		}
		r.advance(r.now.Add(d))
	case "crash":
		r.state = r.fold()
	case "resume":
		r.do(execution.Input{Resumed: &execution.Resumed{}})
	case "stop":
		e, cause, _ := strings.Cut(rest, " ")
		r.do(execution.Input{Stop: &execution.Stop{Error: e, Cause: cause}})
	case "redrive":
		in := execution.Redrive{Token: rest}
		if r.s.parts[rest] != "" {
			in = execution.Redrive{Digest: rest}
		}
		r.do(execution.Input{Redrive: &in})
	case "budget":
		r.budget = r.number(rest)
	case "limits":
		limits, err := execution.ParseLimits(rest)
		if err != nil {
			r.t.Fatalf("%s: %v", l, err)
		}
		r.core.Limits = limits
	case "map":
		in := &execution.MapDone{}
		for _, e := range execution.Expect(r.state) {
			if e.What == "map" {
				in.Run, in.Redrives = e.Run.ARN, e.Run.Redrives
			}
		}
		how, arg, _ := strings.Cut(rest, " ")
		switch how {
		case "ok":
			in.Output = r.value(arg)
		case "toolarge":
			in.TooLarge = true
		case "fail":
			e, cause, _ := strings.Cut(arg, " ")
			in.Failure = &asl.Failure{Error: e, Cause: cause}
		default:
			r.t.Fatalf("%s: unknown line %q", r.s.Path, l)
		}
		r.do(execution.Input{Map: in})
	case "beat":
		id, _ := r.pick(rest)
		r.do(execution.Input{Beat: &execution.Beat{Task: id}})
	case "work":
		id, worker := r.pick(rest)
		r.do(execution.Input{Work: &execution.WorkTaken{Task: id, Worker: worker}})
	case "task", "token":
		id, rest := r.pick(rest)
		how, arg, _ := strings.Cut(rest, " ")
		switch how {
		case "ok":
			r.do(execution.Input{Done: &execution.TaskDone{Task: id, ByToken: word == "token", Outcome: execution.Outcome{Output: r.value(arg)}}})
		case "fail", "submitfail":
			e, cause, _ := strings.Cut(arg, " ")
			r.do(execution.Input{Done: &execution.TaskDone{Task: id, ByToken: word == "token", Unsubmitted: how == "submitfail",
				Outcome: execution.Outcome{Failure: &asl.Failure{Error: e, Cause: cause}}}})
		case "submit":
			r.do(execution.Input{Submitted: &execution.TaskSubmitted{Task: id, Resource: r.resource(id), Output: r.value(arg), Handle: []byte(fmt.Sprint("handle-", id))}})
		default:
			r.t.Fatalf("%s: unknown line %q", r.s.Path, l)
		}
	default:
		r.t.Fatalf("%s: unknown line %q", r.s.Path, l)
	}
}

func (r *run) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		r.t.Fatalf("%s: %v", r.s.Path, err)
	}
	return n
}

func (r *run) value(s string) jsonvalue.Value {
	if n, ok := strings.CutPrefix(s, "bytes:"); ok {
		return jsonvalue.Str(strings.Repeat("x", r.number(n)))
	}
	v, err := jsonvalue.Parse([]byte(s))
	if err != nil {
		r.t.Fatalf("%s: %q: %v", r.s.Path, s, err)
	}
	return v
}

func (r *run) resource(id execution.TaskID) string {
	if task := r.state.Tasks[id]; task != nil {
		r.resources[id] = task.Resource
	}
	return r.resources[id]
}

// pick takes the task that a line means: @State, #id, or the oldest.
func (r *run) pick(rest string) (execution.TaskID, string) {
	ids := r.state.SortedTasks()
	if len(rest) > 1 && (rest[0] == '@' || rest[0] == '#') {
		name, rest, _ := strings.Cut(rest, " ")
		if name[0] == '#' {
			return execution.TaskID(r.number(name[1:])), rest
		}
		for _, id := range ids {
			if r.state.Frames[r.state.Tasks[id].Frame].State == name[1:] {
				return id, rest
			}
		}
		r.t.Fatalf("%s: no task %s", r.s.Path, name)
	}
	if len(ids) == 0 {
		r.t.Fatalf("%s: no task is open for %q", r.s.Path, rest)
	}
	return ids[0], rest
}

func (r *run) advance(to time.Time) {
	for {
		name, due := "", to
		for n, at := range r.timers {
			if at.Before(due) || (name == "" || n < name) && at.Equal(due) {
				name, due = n, at
			}
		}
		if name == "" {
			break
		}
		if due.After(r.now) {
			r.now = due
		}
		delete(r.timers, name)
		r.do(execution.Input{Timer: &execution.TimerFired{Name: name}})
	}
	r.now = to
}

// do gives one input to the core, as package durable would.
func (r *run) do(in execution.Input) {
	r.t.Helper()
	for more := true; more; in = (execution.Input{Continue: &execution.Continue{}}) {
		r.seed++
		d, err := r.core.Decide(r.state, roundTrip(r.t, in), execution.Env{Now: r.now, Seed: r.seed, Budget: r.budget})
		if err != nil {
			r.t.Fatalf("%s: %v", r.s.Path, err)
		}
		b, err := json.Marshal(d.Facts)
		if err != nil {
			r.t.Fatalf("%s: %v", r.s.Path, err)
		}
		r.journal = append(r.journal, b)
		for _, f := range d.Facts {
			if f.Event != nil {
				fmt.Fprintf(&r.out, "%6s  %s\n", r.now.Sub(start), f.Event.Line())
			}
		}
		for _, c := range d.Commands {
			if c.Start != nil {
				r.resources[c.Start.Task] = c.Start.Resource
			}
			if c.Cancel != nil {
				fmt.Fprintf(&r.out, "        cancel task %d (%s)\n", c.Cancel.Task, c.Cancel.Resource[strings.LastIndexByte(c.Cancel.Resource, ':')+1:])
			}
		}
		if d.Reply.Refused != "" {
			fmt.Fprintf(&r.out, "        refused: %s\n", d.Reply.Refused)
		}
		if !d.Reply.Redriven.IsZero() && len(d.Facts) == 0 {
			fmt.Fprintf(&r.out, "        redriven at %s\n", d.Reply.Redriven.Sub(start))
		}
		if d.Reply.Stale {
			r.out.WriteString("        stale: nothing changes\n")
		}
		for _, n := range d.ClearTimers {
			delete(r.timers, n)
		}
		for _, x := range d.SetTimers {
			r.timers[x.Name] = x.Due
		}
		r.check()
		if r.s.CrashAlways {
			r.state = r.fold()
		}
		more = d.More
	}
}

// fold makes the state anew from the journal.
func (r *run) fold() *execution.Snapshot {
	s := &execution.Snapshot{}
	for _, b := range r.journal {
		var facts []execution.Fact
		if err := json.Unmarshal(b, &facts); err != nil {
			r.t.Fatalf("%s: read the journal: %v", r.s.Path, err)
		}
		for _, f := range facts {
			execution.Apply(s, f)
		}
	}
	return s
}

// check is the invariant that recovery rests on: the journal, folded, is the state; and so is a kept snapshot.
func (r *run) check() {
	r.t.Helper()
	live, folded := mustJSON(r.t, r.state), mustJSON(r.t, r.fold())
	if !bytes.Equal(live, folded) {
		r.t.Fatalf("%s: after record %d the folded journal is not the state:\n%s", r.s.Path, len(r.journal), cmp.Diff(string(live), string(folded)))
	}
	kept := roundTrip(r.t, *r.state)
	if execution.Digest(r.state) != execution.Digest(r.fold()) || execution.Digest(&kept) != execution.Digest(r.state) {
		r.t.Fatalf("%s: after record %d the digests differ", r.s.Path, len(r.journal))
	}
}

func roundTrip[T any](t *testing.T, v T) T {
	var out T
	if err := json.Unmarshal(mustJSON(t, v), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func mustJSON(t *testing.T, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
