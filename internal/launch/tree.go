package launch

import (
	"strings"
	"time"
)

// State is one visit of one state, as a person follows it: what it is called, how long it took, what stands below it.
type State struct {
	Name    string    `json:"name"`
	Type    string    `json:"type"`   // Task, Pass, Map, … ; Iteration for one item of a Map
	Status  string    `json:"status"` // RUNNING, SUCCEEDED, FAILED, CAUGHT, ABORTED
	Entered time.Time `json:"entered"`
	Exited  time.Time `json:"exited,omitzero"`
	Tries   int       `json:"tries,omitempty"` // how often its task was scheduled
	Error   string    `json:"error,omitempty"`
	Cause   string    `json:"cause,omitempty"`
	// Execution is the ARN of a nested execution that this state started, when its output tells.
	Execution string   `json:"execution,omitempty"`
	States    []*State `json:"states,omitempty"`
}

// Duration is how long the visit took, or has taken until now.
func (s *State) Duration(now time.Time) time.Duration {
	if s.Exited.IsZero() {
		return now.Sub(s.Entered)
	}
	return s.Exited.Sub(s.Entered)
}

// Tree makes the visits of an execution from its history: events as GetExecutionHistory answers them, oldest first.
// Branches and iterations stand below the Parallel or Map state that holds them.
func Tree(events []map[string]any) []*State {
	b := treeBuilder{at: map[int64]*State{}, root: &State{}}
	for _, e := range events {
		b.add(e)
	}
	return b.root.States
}

type treeBuilder struct {
	root *State
	at   map[int64]*State // event id → the visit or container that the event belongs to
	up   map[*State]*State
}

func (b *treeBuilder) parent(s *State) *State {
	if p, ok := b.up[s]; ok {
		return p
	}
	return b.root
}

func (b *treeBuilder) below(parent, s *State) {
	if b.up == nil {
		b.up = map[*State]*State{}
	}
	parent.States = append(parent.States, s)
	b.up[s] = parent
}

func (b *treeBuilder) add(e map[string]any) {
	id, prev := integer(e["id"]), integer(e["previousEventId"])
	kind := text(e["type"])
	when, _ := e["timestamp"].(time.Time)
	here := b.at[prev]
	if here == nil {
		here = b.root
	}
	switch {
	case strings.HasSuffix(kind, "StateEntered"):
		container := here
		if here.Type != "" && !here.Exited.IsZero() || here.Status == "CAUGHT" {
			container = b.parent(here)
		} else if here.Type != "" && here.Type != "Iteration" && here.Type != "Parallel" {
			container = b.parent(here)
		}
		s := &State{Name: text(detail(e, "stateEnteredEventDetails")["name"]), Type: strings.TrimSuffix(kind, "StateEntered"), Status: "RUNNING", Entered: when}
		if s.Type == "Fail" {
			s.Status, s.Exited = "FAILED", when
		}
		b.below(container, s)
		here = s
	case strings.HasSuffix(kind, "StateExited"):
		here.Exited = when
		if here.Status == "RUNNING" {
			here.Status = "SUCCEEDED"
		} else if here.Status == "FAILED" {
			here.Status = "CAUGHT"
		}
	case kind == "MapIterationStarted":
		container := here
		for container.Type != "Map" && container != b.root {
			container = b.parent(container)
		}
		s := &State{Name: "#" + text(detail(e, "mapIterationStartedEventDetails")["index"]), Type: "Iteration", Status: "RUNNING", Entered: when}
		b.below(container, s)
		here = s
	case strings.HasPrefix(kind, "MapIteration"):
		for here.Type != "Iteration" && here != b.root {
			here = b.parent(here)
		}
		here.Status, here.Exited = strings.ToUpper(strings.TrimPrefix(kind, "MapIteration")), when
		here = b.parent(here)
	case strings.HasPrefix(kind, "MapState") || strings.HasPrefix(kind, "ParallelState"):
		want := "Map"
		if strings.HasPrefix(kind, "Parallel") {
			want = "Parallel"
		}
		for here.Type != want && here != b.root {
			here = b.parent(here)
		}
		if strings.HasSuffix(kind, "Failed") {
			here.Status = "FAILED"
		}
	case kind == "TaskScheduled" || kind == "LambdaFunctionScheduled" || kind == "ActivityScheduled":
		here.Tries++
		here.Status = "RUNNING"
	case strings.HasSuffix(kind, "StateAborted"):
		// AWS: the event follows the one that ended the branches, so it need not belong to the state that it ends.
		if s := open(b.root, strings.TrimSuffix(kind, "StateAborted")); s != nil {
			s.Status, s.Exited = "ABORTED", when
		}
	case strings.HasPrefix(kind, "Execution"):
		if kind != "ExecutionStarted" && kind != "ExecutionSucceeded" {
			b.end(b.root, when)
		}
	default:
		for key, v := range e {
			d, ok := v.(map[string]any)
			if !ok || !strings.HasSuffix(key, "EventDetails") {
				continue
			}
			if strings.HasSuffix(kind, "Failed") || strings.HasSuffix(kind, "TimedOut") {
				here.Status, here.Error, here.Cause = "FAILED", text(d["error"]), text(d["cause"])
			}
			if out := text(d["output"]); strings.Contains(out, `"ExecutionArn"`) {
				here.Execution = after(out, `"ExecutionArn":"`)
			}
		}
	}
	b.at[id] = here
}

// open finds the innermost visit of a type that has not ended.
func open(s *State, kind string) *State {
	for _, c := range s.States {
		if found := open(c, kind); found != nil {
			return found
		}
		if c.Type == kind && c.Exited.IsZero() {
			return c
		}
	}
	return nil
}

// end closes what was open when the execution ended.
func (b *treeBuilder) end(s *State, when time.Time) {
	for _, c := range s.States {
		if c.Exited.IsZero() {
			c.Exited = when
			if c.Status == "RUNNING" {
				c.Status = "ABORTED"
			}
		}
		b.end(c, when)
	}
}

func detail(e map[string]any, key string) map[string]any {
	d, _ := e[key].(map[string]any)
	return d
}

func after(s, mark string) string {
	_, rest, ok := strings.Cut(s, mark)
	if !ok {
		return ""
	}
	v, _, _ := strings.Cut(rest, `"`)
	return v
}
