package stack

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/identity"
)

var update = flag.Bool("update", false, "rewrite the expected stories")

// types: a change of a property whose name begins with "Fixed" replaces; "FixedName" names.
type types struct{}

func (types) NameOf(string) string { return "FixedName" }

func (types) Replaces(_ string, changed []string, _, _ map[string]json.RawMessage) bool {
	return slices.ContainsFunc(changed, func(p string) bool { return strings.HasPrefix(p, "Fixed") })
}

// world is a stack's core with a stand-in for AWS: what a resource does is in its properties.
//
//	Fail: create | update | delete     the verb fails, until "mend"
//	Wait: N                            N polls until a creation is over
//	Hold: true                         a creation does not answer before "release"
type world struct {
	t       *testing.T
	now     time.Time
	journal [][]byte // the facts of each record
	state   *State
	inputs  int
	pending []Command
	held    []Command
	timers  map[string]time.Time
	alive   map[string]bool
	polls   map[string]int
	made    int
	mended  bool
	crash   bool // fold the state anew from the journal after each record
	out     strings.Builder
	done    map[string]Done // receipts
	choose  func(n int) int // which of n commands answers next; nil: the first
}

func newWorld(t *testing.T, crash bool) *world {
	return &world{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), state: &State{}, timers: map[string]time.Time{},
		alive: map[string]bool{}, polls: map[string]int{}, crash: crash, done: map[string]Done{}}
}

var core = Core{types{}}

func (w *world) give(in Input) (any, error) {
	w.t.Helper()
	w.inputs++
	b, err := json.Marshal(in)
	if err != nil {
		w.t.Fatal(err)
	}
	in = Input{}
	if err := json.Unmarshal(b, &in); err != nil {
		w.t.Fatal(err)
	}
	by := identity.Principal{Kind: identity.User, Account: "000000000000", Region: "us-east-1", ARN: "arn:aws:iam::000000000000:user/ann", Execution: "arn:exec"}
	d, err := core.Decide(w.state, durable.Input[Input]{At: w.now, By: by, Body: in}, durable.Env{Now: w.now, Seed: uint64(w.inputs)})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range d.Facts {
		b, err := json.Marshal(f)
		if err != nil {
			w.t.Fatal(err)
		}
		w.journal = append(w.journal, b)
		if e := f.Event; e != nil {
			fmt.Fprintf(&w.out, "%-8s %-40s %s", e.Logical, e.Status, e.Physical)
			if e.Reason != "" {
				fmt.Fprintf(&w.out, " | %s", e.Reason)
			}
			w.out.WriteString("\n")
		}
	}
	w.pending = append(w.pending, d.Commands...)
	for _, tm := range d.SetTimers {
		w.timers[tm.Name] = tm.Due
	}
	for _, name := range d.ClearTimers {
		delete(w.timers, name)
	}
	folded := w.fold()
	live := *w.state
	live.parsed = nil
	if diff := cmp.Diff(dump(folded), dump(&live)); diff != "" {
		w.t.Fatalf("the journal folds to another state:\n%s", diff)
	}
	if w.crash {
		w.state = folded
	}
	if d.Err != nil {
		fmt.Fprintf(&w.out, "refused: %v\n", d.Err)
	}
	return d.Reply, d.Err
}

func dump(s *State) string {
	b, _ := json.MarshalIndent(s, "", " ")
	return string(b)
}

func (w *world) fold() *State {
	s := &State{}
	for _, b := range w.journal {
		var f Fact
		if err := json.Unmarshal(b, &f); err != nil {
			w.t.Fatal(err)
		}
		core.Apply(s, f)
	}
	return s
}

// answer is what AWS makes of a command; the same request gets the same answer.
func (w *world) answer(c Command) Done {
	key := fmt.Sprint(c.Verb, c.Seq)
	if d, ok := w.done[key]; ok {
		return d
	}
	var p struct {
		Fail string
		Wait json.Number
	}
	if err := json.Unmarshal(c.Props, &p); err != nil {
		w.t.Fatal(err)
	}
	wait, _ := p.Wait.Int64()
	d := Done{Key: c.Key, Seq: c.Seq}
	switch {
	case c.Verb == "poll":
		w.polls[c.Physical]++
		switch {
		case int64(w.polls[c.Physical]) < wait:
			d.Waiting = true
		case p.Fail == "wait":
			d.Failed = "it never came up"
		}
	case p.Fail == c.Verb && !w.mended:
		d.Failed = "no " + c.Verb
	case c.Verb == "create":
		w.made++
		d.Physical = fmt.Sprintf("%s-%d", strings.ToLower(c.Logical), w.made)
		d.Attrs = map[string]string{"Arn": "arn:" + d.Physical}
		w.alive[d.Physical] = true
		d.Waiting = wait > 0
	case c.Verb == "delete":
		delete(w.alive, c.Physical)
	}
	w.done[key] = d
	return d
}

// step answers one command.
func (w *world) step() {
	i := 0
	if w.choose != nil {
		i = w.choose(len(w.pending))
	}
	c := w.pending[i]
	w.pending = slices.Delete(w.pending, i, i+1)
	if c.Verb == "publish" {
		fmt.Fprintf(&w.out, "published %d to %v\n", len(c.Events), c.Topics)
		w.give(Input{Published: true})
		return
	}
	if c.Verb == "create" && strings.Contains(string(c.Props), `"Hold"`) {
		w.held = append(w.held, c)
		return
	}
	d := w.answer(c)
	w.give(Input{Done: &d})
	if w.crash { // dispatched a second time: the answer is the same, and changes nothing
		w.give(Input{Done: &d})
	}
}

// run answers commands, and lets time pass, until nothing is left to do.
func (w *world) run() {
	for turns := 0; ; turns++ {
		if turns > 2000 {
			w.t.Fatalf("the story does not end:\n%s", w.out.String())
		}
		if len(w.pending) > 0 {
			w.step()
			continue
		}
		names := slices.Sorted(maps.Keys(w.timers))
		if len(names) == 0 || names[0] == "timeout" && len(w.held) == 0 {
			return
		}
		name := names[0]
		w.now = w.now.Add(5 * time.Second)
		if w.now.Before(w.timers[name]) {
			w.now = w.timers[name]
		}
		delete(w.timers, name)
		if key, ok := strings.CutPrefix(name, "poll/"); ok {
			w.give(Input{Poll: &key})
		} else {
			w.give(Input{TimedOut: true})
		}
	}
}

func (w *world) tell(line string, part func(string) string) {
	f := strings.Fields(line)
	fmt.Fprintf(&w.out, "> %s\n", line)
	def := func(name string) Definition {
		d := Definition{Template: part(name)}
		for _, kv := range f[2:] {
			if k, v, ok := strings.Cut(kv, "="); ok && k == "topic" {
				d.NotificationARNs = []string{v}
			} else if ok && k != "on-failure" && k != "timeout" && k != "type" {
				d.Parameters = append(d.Parameters, Parameter{Key: k, Value: v})
			}
		}
		return d
	}
	option := func(name string) string {
		for _, kv := range f {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				return v
			}
		}
		return ""
	}
	const id = "arn:stack"
	switch f[0] {
	case "create":
		in := &Create{ID: id, Name: "story", Account: "000000000000", Region: "us-east-1", Def: def(f[1]), OnFailure: option("on-failure")}
		if option("timeout") != "" {
			in.Timeout = 5
		}
		w.give(Input{Create: in})
	case "update":
		w.give(Input{Update: &Update{Def: def(f[1]), DisableRollback: option("on-failure") == "DO_NOTHING"}})
	case "delete":
		retain := slices.DeleteFunc(slices.Clone(f[1:]), func(s string) bool { return s == "&" })
		w.give(Input{Delete: &Delete{Retain: retain}})
	case "protect":
		on := f[1] == "on"
		w.give(Input{Protect: &on})
	case "review":
		typ := option("type")
		w.give(Input{Review: &Review{StackID: id, Name: "story", Account: "000000000000", Region: "us-east-1", ID: "arn:cs/" + f[1], ChangeSet: f[1], Type: typ, Def: def(f[1])}})
		if c := w.state.ChangeSets[f[1]]; c != nil {
			fmt.Fprintf(&w.out, "change set %s %s %s\n", c.Status, c.Execution, c.Reason)
			for _, ch := range c.Changes {
				fmt.Fprintf(&w.out, "  %s %s %s %s %v\n", ch.Action, ch.Logical, ch.Physical, ch.Replacement, ch.Properties)
			}
		}
	case "execute":
		w.give(Input{Execute: &Execute{ChangeSet: f[1]}})
	case "discard":
		w.give(Input{Discard: f[1]})
	case "mend":
		w.mended = true
	case "continue":
		w.give(Input{Continue: &Continue{Skip: f[1:]}})
	case "cancel-update":
		w.give(Input{CancelUpdate: true})
	case "release":
		for _, c := range w.held {
			d := w.answer(c)
			w.give(Input{Done: &d})
		}
		w.held = nil
	default:
		w.t.Fatalf("what is %q?", line)
	}
	if f[len(f)-1] != "&" {
		w.run()
	}
}

func (w *world) end() string {
	s := w.state
	fmt.Fprintf(&w.out, "stack %s\n", s.Status)
	for _, r := range s.Current() {
		fmt.Fprintf(&w.out, "  %s %s %s %s\n", r.Logical, r.Status, r.Physical, r.Props)
	}
	for _, o := range s.Outputs {
		fmt.Fprintf(&w.out, "  output %s=%s\n", o.Name, o.Value)
	}
	fmt.Fprintf(&w.out, "alive %v\n", slices.Sorted(maps.Keys(w.alive)))
	return w.out.String()
}

func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("stories: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			part := func(name string) string {
				for _, f := range ar.Files {
					if f.Name == name {
						return string(f.Data)
					}
				}
				t.Fatalf("no %s", name)
				return ""
			}
			var told [2]string
			for i, crash := range []bool{false, true} {
				w := newWorld(t, crash)
				for _, line := range strings.Split(strings.TrimSpace(part("script")), "\n") {
					w.tell(line, part)
				}
				told[i] = w.end()
				last := time.Time{}
				for _, b := range w.journal {
					var f Fact
					if err := json.Unmarshal(b, &f); err != nil {
						t.Fatal(err)
					}
					if f.Event == nil {
						continue
					}
					if !f.Event.Time.After(last) {
						t.Errorf("event %d is not later than the one before", f.Event.Seq)
					}
					last = f.Event.Time
				}
			}
			if told[0] != told[1] {
				t.Errorf("with crashes the story is another:\n%s", cmp.Diff(told[0], told[1]))
			}
			if *update {
				files := slices.DeleteFunc(ar.Files, func(f txtar.File) bool { return f.Name == "want" })
				ar.Files = append(files, txtar.File{Name: "want", Data: []byte(told[0])})
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(part("want"), told[0]); diff != "" {
				t.Error(diff)
			}
		})
	}
}
