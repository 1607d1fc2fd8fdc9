package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/conformance"
	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/internal/wake"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

// recordedWorld answers tasks as a recorded case's mocks say. It outlives the servers. Each answer has its time, counted
// from the first call under its request key, so that the order of concurrent tasks does not hang on who asks how often.
type recordedWorld struct {
	mocks map[string][]any

	mu    sync.Mutex
	bus   *wake.Bus // of the present server
	seen  map[string]int
	tasks map[string]*recordedTask // by request key
}

type recordedTask struct {
	due  time.Time
	mock map[string]any // nil: what it was given
}

func (w *recordedWorld) task(t integration.Task) *recordedTask {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.tasks[t.RequestKey]
	if x == nil {
		x = &recordedTask{due: time.Now().Add(time.Duration(t.Attempt) * time.Millisecond)}
		if mocks := w.mocks[t.State]; len(mocks) > 0 {
			x.mock, _ = mocks[min(w.seen[t.State], len(mocks)-1)].(map[string]any)
		}
		w.seen[t.State]++
		w.tasks[t.RequestKey] = x
		time.AfterFunc(time.Until(x.due), func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.bus.Changed(t.RequestKey)
		})
	}
	return x
}

// outcome is what a task comes to; ok is false for one that never ends by itself.
func (x *recordedTask) outcome(input jsonvalue.Value) (r integration.Result, ok bool) {
	if v, found := x.mock["return"]; found {
		return integration.Result{Output: value(v)}, true
	}
	if f, found := x.mock["throw"].(map[string]any); found {
		code, _ := f["error"].(string)
		cause, _ := f["cause"].(string)
		return integration.Result{Failure: &asl.Failure{Error: code, Cause: cause}}, x.mock["timed_out"] == nil && f["timed_out"] == nil
	}
	return integration.Result{Output: input}, x.mock["none"] == nil
}

func value(x any) jsonvalue.Value {
	b, err := json.Marshal(x)
	if err != nil {
		panic(err)
	}
	return jsonvalue.MustParse(string(b))
}

func (w *recordedWorld) Start(ctx context.Context, t integration.Task) (integration.Result, error) {
	x := w.task(t)
	_, throws := x.mock["throw"]
	if submitted, given := x.mock["submitted"]; t.Resource.Pattern.Submits() && (given || !throws) {
		if !given {
			submitted = map[string]any{}
		}
		return integration.Result{Running: true, Output: value(submitted), Handle: []byte(t.RequestKey)}, nil
	}
	r, ok := x.outcome(t.Input)
	wait := time.Until(x.due)
	if !ok {
		wait = 1 << 62
	}
	select {
	case <-time.After(wait):
		return r, nil
	case <-ctx.Done():
		return integration.Result{}, context.Cause(ctx)
	}
}

func (w *recordedWorld) Poll(_ context.Context, j integration.Job) (integration.Result, error) {
	w.mu.Lock()
	x := w.tasks[string(j.Handle)]
	w.mu.Unlock()
	if r, ok := x.outcome(jsonvalue.Null); ok && !time.Now().Before(x.due) {
		return r, nil
	}
	return integration.Result{Running: true}, nil
}

func (w *recordedWorld) Cancel(context.Context, integration.Job) error { return nil }
func (w *recordedWorld) Watches(j integration.Job) []string            { return []string{string(j.Handle)} }

// mortal is a store as one server sees it that dies after some records: what it commits later is lost.
type mortal struct {
	store.Store
	committed *atomic.Uint64 // records, of all lives
	mu        sync.Mutex
	left      int           // records
	died      chan struct{} // closed with the last
}

var errDead = errors.New("the server is dead")

// pass reports whether the batch is still committed.
func (m *mortal) pass(b store.Batch) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left == 0 {
		return false
	}
	if b.Record != nil {
		m.left--
		m.committed.Add(1)
	}
	return true
}

// done ends the life after the batch.
func (m *mortal) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left == 0 {
		select {
		case <-m.died:
		default:
			close(m.died)
		}
	}
}

func (m *mortal) Commit(ctx context.Context, b store.Batch) error {
	if !m.pass(b) {
		return errDead
	}
	defer m.done()
	return m.Store.Commit(ctx, b)
}

// Secret is the same in all worlds: task tokens stand in histories.
func (m *mortal) Secret(context.Context, string, int) ([]byte, error) { return make([]byte, 32), nil }

func (m *mortal) CommitAsync(b store.Batch, done func(error)) {
	if !m.pass(b) {
		done(errDead)
		return
	}
	m.Store.CommitAsync(b, func(err error) {
		done(err)
		m.done()
	})
}

// immortal is enough records for any case.
const immortal = 1 << 30

// lateEnough is after all times that the recordings name: Wait states that wait for one do not wait here.
var lateEnough = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)

// mapRun is the ARN of a map run, which ends in a random name: its children's records come in any order.
var mapRun = regexp.MustCompile(`(:mapRun:[^:]*:)[0-9a-f-]+`)

// run runs a case to its end, with servers that live for so many records, and returns its history and their number.
func (c *recordedCase) run(t *testing.T, records int) (string, int) {
	time.Sleep(time.Until(lateEnough)) // of the bubble's clock
	st := memory.New()
	defer st.Close()
	w := &recordedWorld{mocks: c.Mocks, seen: map[string]int{}, tasks: map[string]*recordedTask{}}
	lives, last, allow := 0, int64(-1), records
	var committed atomic.Uint64
	for {
		lives++
		life := &mortal{Store: st, committed: &committed, left: allow, died: make(chan struct{})}
		bus, closed := &wake.Bus{}, make(chan struct{})
		w.mu.Lock()
		w.bus = bus
		w.mu.Unlock()
		// A record for each state that is entered, so that there is much to die after. Nothing is random, so that there is
		// only the crash to make a difference; but map runs have names of their own.
		drawn := committed.Load()
		seed := func() uint64 {
			if !strings.Contains(c.text, "DISTRIBUTED") {
				return 1
			}
			return atomic.AddUint64(&drawn, 1)
		}
		loop := durable.New(durable.Config{Store: life, Budget: 1, Seed: seed, Log: slog.New(slog.DiscardHandler)})
		e, err := engine.New(t.Context(), engine.Config{Store: life, Loop: loop, Integrations: w, Wake: bus,
			Observe: func(x *execution.Snapshot, facts []execution.Fact) { // children of a Distributed Map too
				if x.Identity.ARN == arn("x") && slices.ContainsFunc(facts, func(f execution.Fact) bool { return f.Event != nil && f.Event.Type.Terminal() }) {
					close(closed)
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		running := true
		for _, step := range []func() error{
			func() error { return loop.Start(t.Context()) },
			func() error { return e.Start(t.Context()) },
			func() error {
				x, err := e.Describe(t.Context(), arn("x"))
				if errors.Is(err, store.ErrNotFound) {
					_, err = e.CreateExecution(t.Context(), request("x", c.text, c.input))
				} else if err == nil {
					running = x.Status == execution.Running
				}
				return err
			},
		} {
			if err := step(); errors.Is(err, errDead) {
				break // its first record was one of the start's own
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if running {
			select {
			case <-life.died:
			case <-closed:
			case <-time.After(24 * time.Hour):
				t.Error("the execution does not go on")
			}
		}
		e.Stop()
		loop.Stop()
		var b strings.Builder
		ended, events := false, int64(0)
		for ev, err := range e.History(t.Context(), arn("x")) {
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			if err == nil {
				ended, events = ev.Type.Terminal(), ev.ID
				fmt.Fprintln(&b, mapRun.ReplaceAllString(ev.Line(), "$1"))
			}
		}
		if ended || t.Failed() {
			return b.String(), lives
		}
		if allow = records; events == last { // a record without an event: the next life is one longer
			allow = records + 1
		}
		last = events
	}
}

type recordedCase struct {
	conformance.Case
	text, input string
}

// recordedCases are the recorded executions that need nothing but their mocks.
func recordedCases(t *testing.T) (out []recordedCase) {
	dir := os.Getenv("MAYFLY_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared")
	}
	all, err := conformance.Load(filepath.Join(dir, "asl-cases"))
	if err != nil || len(all) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the recorded cases are missing: %v (set MAYFLY_SHARED)", err)
		}
		t.Skipf("the recorded cases are missing: %v (set MAYFLY_SHARED)", err)
	}
	for _, c := range all {
		if c.Kind != "execution" || c.Type == "EXPRESS" || c.Stop != nil || c.MocksIncomplete || slices.Contains(c.Needs, "activity") {
			continue
		}
		r := recordedCase{c, string(c.Definition), "{}"}
		if c.Input != nil {
			r.input = *c.Input
		}
		_, diagnostics := asl.Parse([]byte(r.text), asl.ParseOptions{})
		if slices.ContainsFunc(diagnostics, func(d asl.Diagnostic) bool { return d.Severity == asl.SeverityError }) {
			continue // of a part of the language that is not here yet
		}
		if _, err := jsonvalue.Parse([]byte(r.input)); err == nil {
			out = append(out, r)
		}
	}
	return out
}

// TestRecordedCrashes runs each recorded execution twice: undisturbed, and with a server that dies after each record and
// is followed by another on the same store. The histories are the same.
func TestRecordedCrashes(t *testing.T) {
	cases := recordedCases(t)
	lives := 0
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			var want, got string
			synctest.Test(t, func(t *testing.T) { want, _ = c.run(t, immortal) })
			synctest.Test(t, func(t *testing.T) {
				n := 0
				got, n = c.run(t, 1)
				lives += n
			})
			if got != want {
				t.Errorf("with crashes:\n%s\nwithout:\n%s", got, want)
			}
		})
	}
	t.Logf("%d executions, %d servers", len(cases), lives)
	if len(cases) < 400 || 2*lives < 3*len(cases) {
		t.Errorf("only %d executions and %d servers: this shows nothing", len(cases), lives)
	}
}
