package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/internal/wake"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

// fake is an integration whose jobs end when the test says so.
type fake struct {
	mu      sync.Mutex
	starts  []integration.Task
	keys    map[string]int // starts by request key
	done    map[string]integration.Result
	cancels []string
	polls   int
	pollErr error
	start   func(ctx context.Context, t integration.Task) (integration.Result, error)
}

func (f *fake) Start(ctx context.Context, t integration.Task) (integration.Result, error) {
	f.mu.Lock()
	f.starts = append(f.starts, t)
	if f.keys == nil {
		f.keys = map[string]int{}
	}
	f.keys[t.RequestKey]++
	start := f.start
	f.mu.Unlock()
	if start != nil {
		return start(ctx, t)
	}
	if t.Resource.Pattern.Submits() {
		return integration.Result{Running: true, Output: jsonvalue.MustParse(`{"Job":"j"}`), Handle: []byte("job-" + t.State)}, nil
	}
	return integration.Result{Output: t.Input}, nil
}

func (f *fake) Poll(ctx context.Context, j integration.Job) (integration.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.polls++
	if f.pollErr != nil {
		return integration.Result{}, f.pollErr
	}
	if r, ok := f.done[string(j.Handle)]; ok {
		return r, nil
	}
	return integration.Result{Running: true}, nil
}

func (f *fake) Cancel(ctx context.Context, j integration.Job) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancels = append(f.cancels, string(j.Handle))
	return nil
}

func (f *fake) Watches(j integration.Job) []string { return []string{string(j.Handle)} }

func (f *fake) finish(handle string, r integration.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done == nil {
		f.done = map[string]integration.Result{}
	}
	f.done[handle] = r
}

// newStore is a store that ends with the test.
func newStore(t *testing.T) store.Store {
	st := memory.New()
	t.Cleanup(func() { st.Close() })
	return st
}

// server is a running engine on a store that outlives it.
type server struct {
	*engine.Engine
	loop, express *durable.Loop
	bus           *wake.Bus
}

func start(t *testing.T, st store.Store, f *fake) *server {
	t.Helper()
	return startKeeping(t, st, f, 0)
}

// startKeeping starts a server with a retention.
func startKeeping(t *testing.T, st store.Store, f *fake, retention time.Duration) *server {
	t.Helper()
	s := &server{bus: &wake.Bus{}}
	s.loop = durable.New(durable.Config{Store: st})
	s.express = durable.New(durable.Config{Store: newStore(t)})
	var err error
	s.Engine, err = engine.New(t.Context(), engine.Config{Store: st, Loop: s.loop, ExpressLoop: s.express, Integrations: f, Wake: s.bus, Retention: retention})
	if err != nil {
		t.Fatal(err)
	}
	s.ActivityCreated(activity)
	for _, start := range []func(context.Context) error{s.loop.Start, s.express.Start, s.Start} {
		if err := start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *server) stop() {
	s.Stop()
	s.loop.Stop()
	s.express.Stop()
}

const (
	machine  = "arn:aws:states:us-east-1:000000000000:stateMachine:M"
	activity = "arn:aws:states:us-east-1:000000000000:activity:paint"
)

func arn(name string) string {
	return "arn:aws:states:us-east-1:000000000000:execution:M:" + name
}

func request(name, definition, input string) engine.Execution {
	return engine.Execution{Identity: execution.Identity{ARN: arn(name), Name: name, MachineARN: machine, MachineName: "M",
		RoleARN: "arn:aws:iam::000000000000:role/r"}, Definition: []byte(definition), Input: jsonvalue.MustParse(input)}
}

func (s *server) history(t *testing.T, arn string) string {
	t.Helper()
	var b strings.Builder
	for e, err := range s.History(t.Context(), arn) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s ", e.Type)
	}
	return strings.TrimSpace(b.String())
}

func (s *server) status(t *testing.T, arn string) execution.Status {
	t.Helper()
	d, err := s.Describe(t.Context(), arn)
	if err != nil {
		t.Fatal(err)
	}
	return d.Status
}

const threePass = `{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"},"B":{"Type":"Pass","Next":"C"},"C":{"Type":"Pass","End":true}}}`

func task(resource, more string) string {
	return `{"StartAt":"Work","States":{"Work":{"Type":"Task","Resource":"` + resource + `"` + more + `,"End":true}}}`
}

func code(err error) string {
	var e *awsapi.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

func TestStartDescribeListStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, newStore(t), &fake{})
		defer s.stop()
		ctx := t.Context()
		wait := `{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":60,"End":true}}}`
		if _, err := s.CreateExecution(ctx, request("a", threePass, `{"x":1}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		first, err := s.CreateExecution(ctx, request("b", wait, `{"x":1}`))
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.CreateExecution(ctx, request("b", wait, `{ "x": 1.0 }`))
		if err != nil || !again.Equal(first) {
			t.Errorf("a repeated start: %v, %v, want %v", again, err, first)
		}
		if _, err := s.CreateExecution(ctx, request("b", wait, `{"x":2}`)); code(err) != "ExecutionAlreadyExists" {
			t.Errorf("the same name with another input: %v", err)
		}
		if _, err := s.CreateExecution(ctx, request("a", threePass, `{"x":1}`)); code(err) != "ExecutionAlreadyExists" {
			t.Errorf("the name of a closed execution: %v", err)
		}
		if _, err := s.CreateExecution(ctx, request("c", `{"StartAt":1}`, `{}`)); code(err) != "InvalidDefinition" {
			t.Errorf("a bad definition: %v", err)
		}
		if _, err := s.Describe(ctx, arn("c")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("describe what was refused: %v", err)
		}
		d, err := s.Describe(ctx, arn("a"))
		if err != nil || d.Status != execution.Succeeded || d.Output.String() != `{"x":1}` || d.LastEvent != 8 || d.Stopped.IsZero() {
			t.Errorf("described as %+v, %v", d, err)
		}
		list := func(status execution.Status, after string, limit int) (names string, cursor string) {
			rows, err := s.ListExecutions(ctx, machine, status, after, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				names += r.Name + ":" + string(r.Status) + " "
				cursor = r.Cursor
			}
			return names, cursor
		}
		if names, _ := list("", "", 0); names != "b:RUNNING a:SUCCEEDED " {
			t.Errorf("listed %s", names)
		}
		names, cursor := list("", "", 1)
		if rest, _ := list("", cursor, 1); names != "b:RUNNING " || rest != "a:SUCCEEDED " {
			t.Errorf("pages %s and %s", names, rest)
		}
		if names, _ := list(execution.Running, "", 0); names != "b:RUNNING " {
			t.Errorf("running: %s", names)
		}
		stopped, err := s.StopExecution(ctx, arn("b"), "Why", "because")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if twice, err := s.StopExecution(ctx, arn("b"), "", ""); err != nil || !twice.Equal(stopped) {
			t.Errorf("stopped again: %v, %v, want %v", twice, err, stopped)
		}
		if names, _ := list(execution.Aborted, "", 0); names != "b:ABORTED " {
			t.Errorf("aborted: %s", names)
		}
		if got := s.history(t, arn("b")); got != "ExecutionStarted WaitStateEntered ExecutionAborted" {
			t.Errorf("history %s", got)
		}
		if _, err := s.StopExecution(ctx, arn("nobody"), "", ""); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("stop what is not there: %v", err)
		}
	})
}

// TestSyncJob follows a job that is polled, woken up, and survives a restart.
func TestSyncJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, f := newStore(t), &fake{}
		s := start(t, st, f)
		if _, err := s.CreateExecution(t.Context(), request("a", task("arn:aws:states:::elasticmapreduce:addStep.sync", ""), `{}`)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.mu.Lock()
		f.pollErr = errors.New("throttled") // a failing describe fails no task
		f.mu.Unlock()
		time.Sleep(3 * time.Minute)
		s.stop()
		f.mu.Lock()
		polls := f.polls
		f.pollErr = nil
		f.mu.Unlock()
		if polls < 6 || polls > 40 {
			t.Errorf("%d polls in three minutes", polls)
		}
		s = start(t, st, f)
		defer s.stop()
		synctest.Wait()
		f.mu.Lock()
		if f.polls != polls+1 {
			t.Errorf("%d polls at the start, want one", f.polls-polls)
		}
		f.mu.Unlock()
		f.finish("job-Work", integration.Result{Output: jsonvalue.MustParse(`{"ok":true}`)})
		s.bus.Changed("job-Work") // the job has ended: it is polled now
		synctest.Wait()
		if got := s.status(t, arn("a")); got != execution.Succeeded {
			t.Errorf("status %s", got)
		}
		if len(f.starts) != 1 {
			t.Errorf("started %d times", len(f.starts))
		}
		want := "ExecutionStarted TaskStateEntered TaskScheduled TaskStarted TaskSubmitted TaskSucceeded TaskStateExited ExecutionSucceeded"
		if got := s.history(t, arn("a")); got != want {
			t.Errorf("history %s", got)
		}
	})
}

func TestStopCancelsJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		s := start(t, newStore(t), f)
		defer s.stop()
		if _, err := s.CreateExecution(t.Context(), request("a", task("arn:aws:states:::elasticmapreduce:createCluster.sync", ""), `{}`)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := s.StopExecution(t.Context(), arn("a"), "", ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(f.cancels) != 1 || f.cancels[0] != "job-Work" {
			t.Errorf("cancelled %v", f.cancels)
		}
		polls := f.polls
		time.Sleep(time.Hour)
		if f.polls != polls {
			t.Error("what has ended is still polled")
		}
	})
}

// TestTimeoutEndsTheCall checks that a call whose task has timed out is let go.
func TestTimeoutEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		f := &fake{start: func(ctx context.Context, _ integration.Task) (integration.Result, error) {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return integration.Result{}, ctx.Err()
		}}
		s := start(t, newStore(t), f)
		defer s.stop()
		if _, err := s.CreateExecution(t.Context(), request("a", task("arn:aws:states:::lambda:invoke", `,"TimeoutSeconds":5`), `{}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		select {
		case err := <-ended:
			if err == nil || !strings.Contains(err.Error(), "ended") {
				t.Errorf("the call ended with %v", err)
			}
		default:
			t.Error("the call goes on")
		}
		if len(f.starts) != 1 || s.status(t, arn("a")) != execution.Failed {
			t.Errorf("%d starts, %s", len(f.starts), s.status(t, arn("a")))
		}
	})
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, f := newStore(t), &fake{}
		s := start(t, st, f)
		ctx := t.Context()
		def := task("arn:aws:states:::sqs:sendMessage.waitForTaskToken", `,"HeartbeatSeconds":60,"Parameters":{"Token.$":"$$.Task.Token"}`)
		for _, name := range []string{"a", "b"} {
			if _, err := s.CreateExecution(ctx, request(name, def, `{}`)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		tokens := map[string]string{}
		for _, x := range f.starts {
			if x.Input.Member("Token").Str() != x.Token || x.Token == "" {
				t.Errorf("the token in the arguments is %q, not %q", x.Input.Member("Token").Str(), x.Token)
			}
			tokens[x.Execution] = x.Token
		}
		s.stop()
		s = start(t, st, f) // a token is good after a restart
		defer s.stop()
		time.Sleep(50 * time.Second)
		if err := s.TaskHeartbeat(ctx, tokens[arn("a")]); err != nil {
			t.Error(err)
		}
		time.Sleep(40 * time.Second)
		if err := s.TaskSucceeded(ctx, tokens[arn("a")], jsonvalue.MustParse(`{"n":1}`)); err != nil {
			t.Error(err)
		}
		if got := s.status(t, arn("a")); got != execution.Succeeded {
			t.Errorf("a is %s", got)
		}
		if err := s.TaskFailed(ctx, tokens[arn("a")], "Late", ""); code(err) != "TaskTimedOut" {
			t.Errorf("a second answer: %v", err)
		}
		if got := s.status(t, arn("b")); got != execution.Failed { // no heartbeat
			t.Errorf("b is %s", got)
		}
		bad := tokens[arn("b")]
		for _, tok := range []string{"", "x", bad[:len(bad)-1], "B" + bad[1:], strings.Replace(bad, bad[5:9], "AAAA", 1)} {
			if err := s.TaskSucceeded(ctx, tok, jsonvalue.Null); code(err) != "InvalidToken" {
				t.Errorf("token %q: %v", tok, err)
			}
		}
	})
}

func TestActivities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, f := newStore(t), &fake{}
		s := start(t, st, f)
		ctx := t.Context()
		if _, _, ok, err := s.ActivityTask(ctx, activity, "early"); ok || err != nil { // a minute passes
			t.Fatalf("a task out of nothing: %v %v", ok, err)
		}
		type got struct{ token, input, worker string }
		tasks := make(chan got, 3)
		worker := func(s *server, name string) {
			token, input, ok, err := s.ActivityTask(ctx, activity, name)
			if err != nil || !ok {
				tasks <- got{worker: name, input: fmt.Sprint(err)}
				return
			}
			tasks <- got{token, input.String(), name}
		}
		go worker(s, "w1")
		synctest.Wait()
		def := task(activity, `,"TimeoutSeconds":100`)
		if _, err := s.CreateExecution(ctx, request("a", def, `{"wall":1}`)); err != nil {
			t.Fatal(err)
		}
		w1 := <-tasks
		if w1.input != `{"wall":1}` || w1.token == "" {
			t.Errorf("the worker got %+v", w1)
		}
		if _, err := s.CreateExecution(ctx, request("b", def, `{"wall":2}`)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.stop()
		s = start(t, st, f) // what nobody has taken is offered again
		defer s.stop()
		go worker(s, "w2")
		w2 := <-tasks
		if w2.input != `{"wall":2}` {
			t.Errorf("the worker got %+v", w2)
		}
		if err := s.TaskSucceeded(ctx, w1.token, jsonvalue.MustParse(`"blue"`)); err != nil {
			t.Error(err)
		}
		if err := s.TaskFailed(ctx, w2.token, "NoPaint", "empty"); err != nil {
			t.Error(err)
		}
		if got := s.history(t, arn("a")); got != "ExecutionStarted TaskStateEntered ActivityScheduled ActivityStarted ActivitySucceeded TaskStateExited ExecutionSucceeded" {
			t.Errorf("history %s", got)
		}
		s.ActivityDeleted(activity)
		if _, err := s.CreateExecution(ctx, request("c", def, `{}`)); err != nil {
			t.Fatal(err)
		}
		d, err := s.Describe(ctx, arn("c"))
		if err != nil || d.Failure == nil || d.Failure.Error != asl.ErrRuntime {
			t.Errorf("a task of a deleted activity: %+v %v", d, err)
		}
	})
}

func TestExpress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, newStore(t), &fake{})
		defer s.stop()
		x := request("e", task("arn:aws:states:::lambda:invoke", ""), `{"n":1}`)
		x.Identity.ARN = "arn:aws:states:us-east-1:000000000000:express:M:e:uuid"
		x.Identity.Express = true
		d, err := s.StartSync(t.Context(), x)
		if err != nil || d.Status != execution.Succeeded || d.Output.String() != `{"n":1}` {
			t.Errorf("%+v, %v", d, err)
		}
		x.Identity.ARN += "2"
		x.Definition = []byte(`{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":900,"End":true}}}`)
		d, err = s.StartSync(t.Context(), x)
		if err != nil || d.Status != execution.TimedOut || d.Stopped.Sub(d.Started) != 5*time.Minute {
			t.Errorf("%+v, %v", d, err)
		}
	})
}

// TestStartIsRepeated kills the server between the commit and the answer of a call: the call is made again under the
// same request key, and recorded once.
func TestStartIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStore(t)
		f := &fake{start: func(ctx context.Context, _ integration.Task) (integration.Result, error) {
			<-ctx.Done()
			return integration.Result{}, ctx.Err()
		}}
		s := start(t, st, f)
		if _, err := s.CreateExecution(t.Context(), request("a", task("arn:aws:states:::lambda:invoke", ""), `{"n":1}`)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.stop()
		f.mu.Lock()
		f.start = nil
		f.mu.Unlock()
		s = start(t, st, f)
		defer s.stop()
		synctest.Wait()
		if got := s.status(t, arn("a")); got != execution.Succeeded {
			t.Errorf("status %s", got)
		}
		if len(f.starts) != 2 || len(f.keys) != 1 {
			t.Errorf("%d starts under %v", len(f.starts), f.keys)
		}
	})
}

// TestClosedSends checks that what is to be sent of changes, and at the end, is sent once, with its record: also when one
// record begins and ends an execution.
func TestClosedSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStore(t)
		loop := durable.New(durable.Config{Store: st})
		e, err := engine.New(t.Context(), engine.Config{Store: st, Loop: loop, Integrations: &fake{},
			Closed: func(s *execution.Snapshot) []durable.Send {
				return []durable.Send{{To: "lease/x", Body: string(s.Status)}}
			},
			Changed: func(s *execution.Snapshot, ev *history.Event) []durable.Send {
				return []durable.Send{{To: "lease/y", Body: s.Identity.Name + " " + string(ev.Type)}}
			}})
		if err != nil {
			t.Fatal(err)
		}
		leases := durable.Register(loop, durable.Kind[[]string, string, string, string]{Name: "lease", Core: leaseCore{},
			New: func(store.ID) *[]string { return &[]string{} }})
		if err := loop.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer loop.Stop()
		if _, err := e.CreateExecution(t.Context(), request("a", threePass, `{}`)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var got []string
		if err := leases.View(t.Context(), "lease/x", func(s *[]string) { got = append(got, *s...) }); err != nil {
			t.Fatal(err)
		}
		if err := leases.View(t.Context(), "lease/y", func(s *[]string) { got = append(got, *s...) }); err != nil {
			t.Fatal(err)
		}
		slices.Sort(got) // messages of one record come in any order
		if fmt.Sprint(got) != "[SUCCEEDED a ExecutionStarted a ExecutionSucceeded]" {
			t.Errorf("sent %v", got)
		}
	})
}

type leaseCore struct{}

func (leaseCore) Apply(s *[]string, f string) { *s = append(*s, f) }
func (c leaseCore) Decide(s *[]string, in durable.Input[string], _ durable.Env) (durable.Decision[string, string], error) {
	c.Apply(s, in.Body)
	return durable.Decision[string, string]{Facts: []string{in.Body}}, nil
}

// TestRowIsJSON keeps the row's form readable for others.
func TestRowIsJSON(t *testing.T) {
	b, err := json.Marshal(engine.Row{ARN: "a", Status: execution.Running})
	if err != nil || !strings.Contains(string(b), `"status":"RUNNING"`) {
		t.Errorf("%s %v", b, err)
	}
}
