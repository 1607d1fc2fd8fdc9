package custody

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/wake"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

// world has executions, stacks and clusters, as custody sees them.
type world struct {
	t          *testing.T
	mu         sync.Mutex
	executions map[string]Execution
	stacks     map[string]*Holding
	clusters   map[string]*Holding
	protected  map[string]bool // clusters that resist their stack's deletion, and stacks that are protected
	calls      []string
	store      store.Store
	loop       *durable.Loop
	wake       *wake.Bus
	custody    *Custody
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, executions: map[string]Execution{}, stacks: map[string]*Holding{}, clusters: map[string]*Holding{}, protected: map[string]bool{}, store: memory.New()}
	w.start()
	return w
}

func (w *world) start() {
	log := slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	w.wake = &wake.Bus{}
	w.loop = durable.New(durable.Config{Store: w.store, Log: log})
	list := func(m map[string]*Holding) func(context.Context) ([]Holding, error) {
		return func(context.Context) ([]Holding, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			var out []Holding
			for _, h := range m {
				out = append(out, *h)
			}
			slices.SortFunc(out, func(a, b Holding) int { return strings.Compare(a.ID, b.ID) })
			return out, nil
		}
	}
	w.custody = New(Config{Store: w.store, Loop: w.loop, Log: log, Calls: w, Wake: w.wake, Stacks: list(w.stacks), Clusters: list(w.clusters),
		Execution: func(_ context.Context, arn string) (Execution, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if x, ok := w.executions[arn]; ok {
				return x, nil
			}
			return Execution{}, ErrNoExecution
		},
		EndCluster: func(_ context.Context, id, reason string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.calls = append(w.calls, "EndCluster "+id)
			delete(w.clusters, id)
			delete(w.protected, id)
			return nil
		}})
	if err := w.loop.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if err := w.custody.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stop() {
	w.custody.Stop()
	w.loop.Stop()
}

// Invoke is CloudFormation: a stack without a protected cluster is gone at once.
func (w *world) Invoke(_ context.Context, c awscall.Call) (map[string]any, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := fmt.Sprint(c.Input["StackName"])
	w.calls = append(w.calls, c.Operation+" "+id)
	if c.Principal.Kind != identity.Service || c.RequestKey == "" {
		w.t.Errorf("call %+v", c)
	}
	s := w.stacks[id]
	switch {
	case s == nil:
	case c.Operation == "UpdateTerminationProtection":
		delete(w.protected, id)
	case w.protected[id]:
		return nil, awsapi.Errorf(400, "ValidationError", "Stack [x] cannot be deleted while TerminationProtection is enabled")
	case slices.ContainsFunc(s.Clusters, func(c string) bool { return w.protected[c] }):
		s.Status = "DELETE_FAILED"
		w.wake.Changed(id)
	default:
		for _, c := range s.Clusters {
			delete(w.clusters, c)
		}
		delete(w.stacks, id)
		w.wake.Changed(id)
	}
	return nil, nil
}

func (w *world) set(f func()) {
	w.mu.Lock()
	f()
	w.mu.Unlock()
}

func by(kind identity.Kind, entity, execution string) identity.Principal {
	return identity.Principal{Kind: kind, Account: "000000000000", Region: "us-east-1", Entity: entity, Execution: execution}
}

// stackOf puts a stack with one cluster there, made for an execution.
func (w *world) stackOf(name, cluster, execution string) {
	w.stacks[name] = &Holding{Kind: KindStack, ID: name, Name: name, Account: "000000000000", Region: "us-east-1", Status: "CREATE_COMPLETE", By: by(identity.Invocation, "req", execution), Clusters: []string{cluster}}
	w.clusters[cluster] = &Holding{Kind: KindCluster, ID: cluster, Name: cluster, Account: "000000000000", Region: "us-east-1", Status: "WAITING", By: by(identity.StackOperation, name, execution)}
}

func (w *world) clusterOf(cluster, execution string) {
	w.clusters[cluster] = &Holding{Kind: KindCluster, ID: cluster, Name: cluster, Account: "000000000000", Region: "us-east-1", Status: "WAITING", By: by(identity.Execution, execution, execution)}
}

// ends ends an execution, as the engine tells it.
func (w *world) ends(arn, status string) {
	w.set(func() { w.executions[arn] = Execution{Status: status, Parent: w.executions[arn].Parent} })
	w.custody.Ended()
}

func (w *world) ledger() []string {
	w.t.Helper()
	entries, err := w.custody.Ledger(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, fmt.Sprintf("%s %s: %s: %s", e.Kind, e.ID, e.Action, e.Reason))
	}
	return out
}

// told delivers what a first or last record sends.
func (w *world) told(sends []durable.Send) {
	w.t.Helper()
	for _, s := range sends {
		if _, err := w.custody.leases.Do(w.t.Context(), s.To, durable.Input[input]{ID: s.ID, Body: s.Body.(input)}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func settle(d time.Duration) { // in the bubble's time
	time.Sleep(d)
	synctest.Wait()
}

func TestCustody(t *testing.T) {
	for _, test := range []struct {
		name  string
		story func(w *world)
		want  []string // calls
		book  []string // ledger
		left  []string
	}{
		{
			name: "a stack ends with its execution, the clusters in it through it",
			story: func(w *world) {
				w.set(func() { w.executions["x"] = Execution{Status: "RUNNING"}; w.stackOf("s", "j-1", "x") })
				settle(time.Minute)
				if len(w.calls) > 0 {
					w.t.Errorf("while it runs: %v", w.calls)
				}
				w.ends("x", "ABORTED")
			},
			want: []string{"DeleteStack s"},
			book: []string{"stack s: held: made on behalf of x", "cluster j-1: held: made on behalf of x", "stack s: delete-stack: x is ABORTED",
				"stack s: gone: the stack is no more", "cluster j-1: gone: the cluster is no more"},
		},
		{
			name: "a stack without a cluster is only attributed, until it holds one",
			story: func(w *world) {
				w.set(func() {
					w.executions["x"] = Execution{Status: "FAILED"}
					w.stackOf("s", "j-1", "x")
					w.stacks["s"].Clusters = nil
					delete(w.clusters, "j-1")
					w.stackOf("t", "j-2", "x")
					w.stacks["t"].Clusters = nil
					delete(w.clusters, "j-2")
				})
				settle(time.Minute)
				if len(w.calls) > 0 {
					w.t.Errorf("without a cluster: %v", w.calls)
				}
				w.set(func() { w.stacks["s"].Clusters = []string{"j-1"} })
			},
			want: []string{"DeleteStack s"},
			book: []string{"stack s: made: made on behalf of x", "stack t: made: made on behalf of x", "stack s: held: it holds j-1, made on behalf of x",
				"stack s: delete-stack: x is FAILED", "stack s: gone: the stack is no more"},
			left: []string{"t"},
		},
		{
			name: "what a person made has no lease",
			story: func(w *world) {
				w.set(func() { w.stackOf("s", "j-1", ""); w.clusterOf("j-2", "") })
			},
			left: []string{"j-1", "j-2", "s"},
		},
		{
			name: "executions above hold, those below do not",
			story: func(w *world) {
				w.set(func() {
					w.executions["outer"] = Execution{Status: "RUNNING"}
					w.executions["x"] = Execution{Status: "RUNNING", Parent: "outer"}
					w.executions["below"] = Execution{Status: "RUNNING", Parent: "x"}
					w.clusterOf("j-1", "x")
				})
				settle(20 * time.Second)
				w.ends("x", "SUCCEEDED")
				settle(time.Minute)
				if len(w.calls) > 0 {
					w.t.Errorf("while the outer one runs: %v", w.calls)
				}
				w.ends("outer", "TIMED_OUT")
			},
			want: []string{"EndCluster j-1"},
			book: []string{"cluster j-1: held: made on behalf of x", "cluster j-1: end-cluster: x is SUCCEEDED, outer is TIMED_OUT", "cluster j-1: gone: the cluster is no more"},
		},
		{
			name: "after a failed deletion the cluster is ended directly",
			story: func(w *world) {
				w.set(func() {
					w.executions["x"] = Execution{Status: "FAILED"}
					w.stackOf("s", "j-1", "x")
					w.protected["j-1"] = true
				})
			},
			want: []string{"DeleteStack s", "EndCluster j-1", "DeleteStack s"},
			book: []string{"stack s: held: made on behalf of x", "stack s: delete-stack: x is FAILED", "cluster j-1: held: made on behalf of x",
				"stack s: end-cluster: j-1 ended directly, because the deletion of its stack failed (DELETE_FAILED); x is FAILED", "stack s: delete-stack: x is FAILED",
				"stack s: gone: the stack is no more", "cluster j-1: gone: the cluster is no more"},
		},
		{
			name: "a stack's own protection is lifted",
			story: func(w *world) {
				w.set(func() {
					w.executions["x"] = Execution{Status: "FAILED"}
					w.stackOf("s", "j-1", "x")
					w.protected["s"] = true
				})
			},
			want: []string{"DeleteStack s", "UpdateTerminationProtection s", "DeleteStack s"},
			book: []string{"stack s: held: made on behalf of x", "stack s: delete-stack: x is FAILED", "cluster j-1: held: made on behalf of x", "stack s: gone: the stack is no more", "cluster j-1: gone: the cluster is no more"},
		},
		{
			name: "a tag opts out, for a stack with all that is in it",
			story: func(w *world) {
				w.set(func() {
					w.executions["x"] = Execution{Status: "FAILED"}
					w.stackOf("s", "j-1", "x")
					w.stacks["s"].Tags = map[string]string{Tag: TagOff}
					w.clusterOf("j-2", "x")
					w.clusters["j-2"].Tags = map[string]string{Tag: TagOff}
				})
				settle(time.Hour)
			},
			book: []string{"stack s: held: made on behalf of x", "stack s: kept: tag mayfly:custody=off; x is FAILED", "cluster j-1: held: made on behalf of x",
				"cluster j-2: held: made on behalf of x", "cluster j-2: kept: tag mayfly:custody=off; x is FAILED"},
			left: []string{"j-1", "j-2", "s"},
		},
		{
			name: "a cluster whose stack is gone is ended directly",
			story: func(w *world) {
				w.set(func() {
					w.executions["x"] = Execution{Status: "FAILED"}
					w.stackOf("s", "j-1", "x")
					delete(w.stacks, "s")
				})
			},
			want: []string{"EndCluster j-1"},
			book: []string{"cluster j-1: held: made on behalf of x", "cluster j-1: end-cluster: x is FAILED", "cluster j-1: gone: the cluster is no more"},
		},
		{
			name: "an execution that is not known any more holds nothing",
			story: func(w *world) {
				w.set(func() { w.clusterOf("j-1", "express") })
			},
			want: []string{"EndCluster j-1"},
			book: []string{"cluster j-1: held: made on behalf of express", "cluster j-1: end-cluster: express is not known any more", "cluster j-1: gone: the cluster is no more"},
		},
		{
			name: "a restart is no end; what ended meanwhile is found at the start",
			story: func(w *world) {
				w.set(func() { w.executions["x"] = Execution{Status: "RUNNING"}; w.clusterOf("j-1", "x") })
				settle(20 * time.Second)
				w.stop()
				w.start()
				settle(20 * time.Second)
				if len(w.calls) > 0 {
					w.t.Errorf("after the restart: %v", w.calls)
				}
				w.stop()
				w.set(func() { w.executions["x"] = Execution{Status: "FAILED"} })
				w.start()
			},
			want: []string{"EndCluster j-1"},
			book: []string{"cluster j-1: held: made on behalf of x", "cluster j-1: end-cluster: x is FAILED", "cluster j-1: gone: the cluster is no more"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				test.story(w)
				settle(2 * time.Minute)
				book := w.ledger()
				w.stop()
				w.store.Close()
				var left []string
				for id := range w.stacks {
					left = append(left, id)
				}
				for id := range w.clusters {
					left = append(left, id)
				}
				slices.Sort(left)
				if diff := cmp.Diff(test.want, w.calls); diff != "" {
					t.Errorf("calls: %s", diff)
				}
				slices.Sort(book)
				want := slices.Clone(test.book)
				slices.Sort(want)
				if diff := cmp.Diff(want, book); diff != "" {
					t.Errorf("ledger: %s", diff)
				}
				if diff := cmp.Diff(test.left, left); diff != "" {
					t.Errorf("left: %s", diff)
				}
			})
		})
	}
}

// What lives only between two rounds of the reaper is in the books all the same: the records of stacks and clusters tell.
func TestBooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		settle(time.Second) // past the first round
		w.set(func() {
			w.executions["outer"] = Execution{Status: "RUNNING"}
			w.executions["x"] = Execution{Status: "RUNNING", Parent: "outer"}
			w.executions["y"] = Execution{Status: "RUNNING"}
		})
		stack := Holding{Kind: KindStack, ID: "s", Name: "s", By: by(identity.Invocation, "req", "x")}
		inStack := Holding{Kind: KindCluster, ID: "j-1", Name: "c", By: by(identity.StackOperation, "s", "x")}
		persons := Holding{Kind: KindCluster, ID: "j-9", By: by(identity.User, "", "")}
		for _, h := range []Holding{stack, inStack, {Kind: KindStack, ID: "empty", By: by(identity.Execution, "y", "y")}} {
			w.told(w.custody.Began(h))
			w.told(w.custody.Began(h)) // a message may come twice
		}
		if sends := slices.Concat(w.custody.Began(persons), w.custody.Over(persons)); len(sends) > 0 {
			t.Errorf("a person's own cluster sends %v", sends)
		}
		if sends := w.custody.Closed("x"); len(sends) != 2 {
			t.Errorf("x releases %v, want the stack and its cluster", sends)
		}
		w.told(w.custody.Over(inStack))
		w.told(w.custody.Over(stack))
		for execution, want := range map[string][]string{
			"outer": {"stack s: made: made on behalf of x", "stack s: held: it holds j-1, made on behalf of x", "cluster j-1: held: made on behalf of x",
				"cluster j-1: gone: the cluster is no more", "stack s: gone: the stack is no more"},
			"y":      {"stack empty: made: made on behalf of y"},
			"nobody": nil,
		} {
			entries, err := w.custody.Ledger(t.Context(), execution)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range entries {
				got = append(got, fmt.Sprintf("%s %s: %s: %s", e.Kind, e.ID, e.Action, e.Reason))
			}
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("made by %s: %s", execution, diff)
			}
		}
		w.stop()
		w.store.Close()
	})
}

// The closing record of an execution releases the leases that it holds.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(func() {
			w.executions["outer"] = Execution{Status: "RUNNING"}
			w.executions["x"] = Execution{Status: "RUNNING", Parent: "outer"}
			w.clusterOf("j-1", "x")
		})
		settle(time.Second)
		if err := w.custody.Reap(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, arn := range []string{"x", "outer"} {
			sends := w.custody.Closed(arn)
			if len(sends) != 1 || sends[0].To != "lease/cluster/j-1" {
				t.Fatalf("%s releases %+v", arn, sends)
			}
			w.set(func() { w.executions[arn] = Execution{Status: "SUCCEEDED", Parent: w.executions[arn].Parent} })
			if _, err := w.custody.leases.Do(t.Context(), sends[0].To, durable.Input[input]{ID: sends[0].ID, Body: sends[0].Body.(input)}); err != nil {
				t.Fatal(err)
			}
			settle(2 * soon)
		}
		if !slices.Equal(w.calls, []string{"EndCluster j-1"}) {
			t.Errorf("calls %v", w.calls)
		}
		if got := w.custody.Closed("nobody"); got != nil {
			t.Errorf("an execution without leases sends %v", got)
		}
		w.stop()
		w.store.Close()
	})
}
