package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/internal/wake"
	"github.com/mayfly-run/mayfly/store"
)

// Kind is the kind of entities that executions are: store.ID "execution/ARN".
const Kind = "execution"

// Config is what an Engine needs.
type Config struct {
	Store        store.Store
	Loop         *durable.Loop
	ExpressLoop  *durable.Loop // on a memory store; nil: Express executions are refused
	Clock        clock.Clock
	Log          *slog.Logger
	Integrations integration.Integration
	Wake         *wake.Bus
	Limits       execution.Limits // zero: AWS's
	// Retention is how long an execution is kept after its end, with its map runs and their children; then its name can be
	// used again. 0: for ever.
	Retention time.Duration
	// Closed returns what is to be sent when an execution closes; it is committed with the closing record. It must be
	// pure. nil: nothing.
	Closed func(s *execution.Snapshot) []durable.Send
	// Changed returns what is to be sent of a change of an execution's status: its start, a redrive, its end, as the event
	// says. s is the execution after the whole record, which may hold more than one. It is committed with the record, and
	// must be pure. nil: nothing.
	Changed func(s *execution.Snapshot, ev *history.Event) []durable.Send
	// Observe is told of the committed facts of every execution, in order; it must not block. nil: nobody.
	Observe func(s *execution.Snapshot, facts []execution.Fact)
	// Arguments says why a task cannot be started with its arguments; package execution says more. nil: any can.
	Arguments func(r execution.Resource, args jsonvalue.Value) error
	// Calls read the items of Distributed Maps and write their results. nil: only what a state's input holds can be mapped
	// over.
	Calls awscall.Caller
}

// Engine runs executions. Make it with New before the loops start; call Start after they have, and Stop before they stop.
type Engine struct {
	cfg      Config
	core     execution.Core
	standard *entities
	express  *entities
	runs     *mapRuns
	retain   *retention
	key      []byte // of task tokens

	mu         sync.Mutex
	machines   map[string]*asl.StateMachine
	activities map[string]bool
	queues     map[string]*queue
	polls      map[string]map[execution.TaskID]*poll // by execution
	calls      map[taskRef]context.CancelCauseFunc
	waiters    map[string][]chan struct{} // of StartSync, by ARN
	open       map[Place]int64            // Standard executions, no children of map runs
	started    bool
	stopped    bool
	polling    sync.WaitGroup
	ctx        context.Context
	cancel     context.CancelCauseFunc
}

type entities = durable.Entities[execution.Snapshot, execution.Input, execution.Fact, execution.Command]

// taskRef names an attempt among all executions.
type taskRef struct {
	execution string
	task      execution.TaskID
}

// errStopped is why contexts end when the engine stops.
var errStopped = errors.New("the engine is stopping")

// New registers executions with the loops.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	key, err := cfg.Store.Secret(ctx, "task-tokens", 32)
	if err != nil {
		return nil, fmt.Errorf("read the key of task tokens: %w", err)
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Wake == nil {
		cfg.Wake = &wake.Bus{}
	}
	if cfg.Limits == (execution.Limits{}) {
		cfg.Limits = execution.DefaultLimits
	}
	e := &Engine{cfg: cfg, key: key, machines: map[string]*asl.StateMachine{}, activities: map[string]bool{},
		queues: map[string]*queue{}, polls: map[string]map[execution.TaskID]*poll{}, calls: map[taskRef]context.CancelCauseFunc{},
		waiters: map[string][]chan struct{}{}, open: map[Place]int64{}}
	e.ctx, e.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	e.core = execution.Core{Limits: cfg.Limits, Machine: e.machine, Token: e.token, Activity: e.hasActivity, Arguments: cfg.Arguments}
	e.standard = durable.Register(cfg.Loop, e.kind())
	e.runs = newMapRuns(e)
	e.retain = &retention{e: e, keep: cfg.Retention}
	if cfg.ExpressLoop != nil {
		e.express = durable.Register(cfg.ExpressLoop, e.kind())
	}
	return e, nil
}

// Start begins to poll open handles and to forget what is past its retention. Call it when the loops have started.
func (e *Engine) Start(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.started = true
	e.runs.start()
	e.retain.schedule(0)
	for _, open := range e.polls {
		for _, p := range open {
			e.arm(p, 0)
		}
	}
	return nil
}

// Stop ends polls, waiting workers and calls. It changes no execution.
func (e *Engine) Stop() {
	e.cancel(errStopped)
	e.mu.Lock()
	e.stopped = true
	e.retain.stop()
	for _, open := range e.polls {
		for _, p := range open {
			p.end()
		}
	}
	clear(e.polls)
	e.mu.Unlock()
	e.polling.Wait()
	e.runs.stop()
}

// begin says whether work in the background may begin; if so, polling.Done ends it.
func (e *Engine) begin() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return false
	}
	e.polling.Add(1)
	return true
}

// Execution is a request to start one.
type Execution struct {
	Identity   execution.Identity // all but Digest and Region, which follow from the rest; By is who asks
	Definition []byte
	Input      jsonvalue.Value
	Text       string // of Input as it was written; may be empty
	RequestKey string // of the call; may be empty
	// Block, StartAt, StateInput and Vars are for a start in the middle.
	Block, StartAt string
	StateInput     jsonvalue.Value // absent: Input
	Vars           map[string]jsonvalue.Value
}

// CreateExecution starts an execution and returns when its first record is durable. A Standard execution that is
// running under this ARN with the same input is answered with its start; any other is ExecutionAlreadyExists.
func (e *Engine) CreateExecution(ctx context.Context, x Execution) (started time.Time, err error) {
	es, err := e.entities(x.Identity.ARN)
	if err != nil {
		return time.Time{}, err
	}
	if !x.Identity.Express && x.Identity.MapRun == "" {
		if err := e.room(x.Identity.ARN); err != nil {
			return time.Time{}, err
		}
	}
	if x.Identity.Digest, err = e.bind(ctx, x.Definition); err != nil {
		return time.Time{}, err
	}
	if x.Identity.Region == "" {
		x.Identity.Region = field(x.Identity.ARN, 3)
	}
	if x.Text == x.Input.String() {
		x.Text = ""
	}
	r, err := durable.Reply[execution.Reply](es.Do(ctx, id(x.Identity.ARN), durable.Input[execution.Input]{
		By: x.Identity.By, RequestKey: x.RequestKey,
		Body: execution.Input{Start: &execution.Start{Identity: x.Identity, Input: x.Input, Text: x.Text, Block: x.Block, StartAt: x.StartAt, StateInput: x.StateInput, Vars: x.Vars}},
	}))
	return r.Started, err
}

// StartSync starts an Express execution and returns its closing state.
func (e *Engine) StartSync(ctx context.Context, x Execution) (*Description, error) {
	done := make(chan struct{})
	arn := x.Identity.ARN
	e.mu.Lock()
	e.waiters[arn] = append(e.waiters[arn], done)
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.waiters, arn)
		e.mu.Unlock()
	}()
	if _, err := e.CreateExecution(ctx, x); err != nil {
		return nil, err
	}
	select {
	case <-done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-e.ctx.Done():
		return nil, context.Cause(e.ctx)
	}
	return e.Describe(ctx, arn)
}

// Description is what is known of an execution.
type Description struct {
	execution.Identity
	Status           execution.Status
	Started, Stopped time.Time // Stopped is zero while it runs
	Input, Output    jsonvalue.Value
	Text             string       // of Input as it was written, where it has blanks
	Failure          *asl.Failure // with FAILED, TIMED_OUT and ABORTED
	LastEvent        int64
	OpenTasks        int
	RedriveCount     int64
	RedriveDate      time.Time // of the last one
	NotRedrivable    string    // AWS's reason; "" when it can be redriven now
}

// Describe reads an execution: store.ErrNotFound when there is none.
func (e *Engine) Describe(ctx context.Context, arn string) (*Description, error) {
	es, err := e.entities(arn)
	if err != nil {
		return nil, store.ErrNotFound
	}
	var d Description
	now := e.cfg.Clock.Now()
	err = es.View(ctx, id(arn), func(s *execution.Snapshot) {
		d = Description{Identity: s.Identity, Status: s.Status, Started: s.Started, Stopped: s.Stopped, Input: s.Input, Text: s.Text,
			Output: s.Output, Failure: s.Failure, LastEvent: s.LastEvent, OpenTasks: len(s.Tasks),
			RedriveCount: s.RedriveCount, RedriveDate: s.RedriveDate, NotRedrivable: e.cfg.Limits.Redrivable(s, now)}
	})
	if err == nil && d.Status == "" {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &d, nil
}

// Limits are those that executions have.
func (e *Engine) Limits() *execution.Limits { return &e.cfg.Limits }

// Definition is the text that an execution runs.
func (e *Engine) Definition(ctx context.Context, digest string) ([]byte, error) {
	r, err := e.cfg.Store.Get(ctx, definitionKey(digest))
	return r.Value, err
}

// DefinitionSize is how many bytes the text of a definition has that executions run.
func (e *Engine) DefinitionSize(digest string) int {
	if m := e.machine(digest); m != nil {
		return len(m.Text)
	}
	return 0
}

// Facts yields all that has happened in an execution, in order.
func (e *Engine) Facts(ctx context.Context, arn string) iter.Seq2[execution.Fact, error] {
	return func(yield func(execution.Fact, error) bool) {
		es, err := e.entities(arn)
		if err != nil {
			yield(execution.Fact{}, store.ErrNotFound)
			return
		}
		for r, err := range es.Records(ctx, id(arn), 0) {
			if err != nil {
				yield(execution.Fact{}, err)
				return
			}
			for _, f := range r.Facts {
				if !yield(f, nil) {
					return
				}
			}
		}
	}
}

// History yields an execution's public events in order.
func (e *Engine) History(ctx context.Context, arn string) iter.Seq2[*history.Event, error] {
	return func(yield func(*history.Event, error) bool) {
		for f, err := range e.Facts(ctx, arn) {
			if (err != nil || f.Event != nil) && !yield(f.Event, err) {
				return
			}
		}
	}
}

// StopExecution aborts an execution; for one that has ended it answers when that was. store.ErrNotFound: there is none.
func (e *Engine) StopExecution(ctx context.Context, arn, code, cause string) (time.Time, error) {
	r, err := e.do(ctx, arn, execution.Input{Stop: &execution.Stop{Error: code, Cause: cause}})
	if err == nil && r.Stale {
		err = store.ErrNotFound
	}
	return r.Stopped, err
}

// Row is an execution in a list.
type Row struct {
	ARN        string           `json:"arn"`
	Name       string           `json:"name"`
	MachineARN string           `json:"machineArn"`
	VersionARN string           `json:"versionArn,omitempty"`
	AliasARN   string           `json:"aliasArn,omitempty"`
	Parent     string           `json:"parent,omitempty"`
	MapRun     string           `json:"mapRun,omitempty"`
	Child      int64            `json:"child,omitempty"` // its number there
	Items      int64            `json:"items,omitempty"` // that it was given
	Status     execution.Status `json:"status"`
	Started    time.Time        `json:"started"`
	Stopped    time.Time        `json:"stopped,omitzero"`
	Redrives   int64            `json:"redrives,omitempty"`
	Redriven   time.Time        `json:"redriven,omitzero"`
	Cursor     string           `json:"-"`
}

// ListExecutions lists those of a machine, version or alias, newest first; status "" is any. After is the Cursor of the
// last row seen.
func (e *Engine) ListExecutions(ctx context.Context, arn string, status execution.Status, after string, limit int) ([]Row, error) {
	q := store.Query{Account: field(arn, 4), Region: field(arn, 3), Service: "states", Kind: Kind, Index: byMachine,
		SortPrefix: arn + " ", Descending: true, After: after, Limit: limit}
	if status != "" {
		q.Index, q.SortPrefix = byStatus, arn+" "+string(status)+" "
	}
	return listed(ctx, e.cfg.Store, q, func(r *Row) *string { return &r.Cursor })
}

// listed reads rows of a kind; cursor is where each keeps its Cursor.
func listed[T any](ctx context.Context, s store.Store, q store.Query, cursor func(*T) *string) ([]T, error) {
	found, err := s.List(ctx, q)
	if err != nil {
		return nil, err
	}
	rows := make([]T, len(found))
	for i, f := range found {
		if err := json.Unmarshal(f.Value, &rows[i]); err != nil {
			return nil, fmt.Errorf("read row %s: %w", f.Key.ID, err)
		}
		*cursor(&rows[i]) = f.Cursor
	}
	return rows, nil
}

// TaskSucceeded ends the task that the token names. Errors are AWS's: InvalidToken, TaskTimedOut.
func (e *Engine) TaskSucceeded(ctx context.Context, token string, output jsonvalue.Value) error {
	return e.byToken(ctx, token, func(task execution.TaskID) execution.Input {
		return execution.Input{Done: &execution.TaskDone{Task: task, ByToken: true, Outcome: execution.Outcome{Output: output}}}
	})
}

// TaskFailed fails the task that the token names; code and cause may be empty.
func (e *Engine) TaskFailed(ctx context.Context, token, code, cause string) error {
	return e.byToken(ctx, token, func(task execution.TaskID) execution.Input {
		return execution.Input{Done: &execution.TaskDone{Task: task, ByToken: true,
			Outcome: execution.Outcome{Failure: &asl.Failure{Error: code, Cause: cause}}}}
	})
}

// TaskHeartbeat notes that the task that the token names goes on.
func (e *Engine) TaskHeartbeat(ctx context.Context, token string) error {
	return e.byToken(ctx, token, func(task execution.TaskID) execution.Input {
		return execution.Input{Beat: &execution.Beat{Task: task}}
	})
}

func (e *Engine) byToken(ctx context.Context, token string, in func(execution.TaskID) execution.Input) error {
	arn, task, ok := e.readToken(token)
	if !ok {
		return awsapi.Errorf(400, "InvalidToken", "Invalid Token: 'Invalid token'")
	}
	r, err := e.do(ctx, arn, in(task))
	if errors.Is(err, store.ErrNotFound) || err == nil && r.Stale {
		return awsapi.Errorf(400, "TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
	}
	return err
}

func (e *Engine) do(ctx context.Context, arn string, in execution.Input) (execution.Reply, error) {
	es, err := e.entities(arn)
	if err != nil {
		return execution.Reply{}, store.ErrNotFound
	}
	return durable.Reply[execution.Reply](es.Do(ctx, id(arn), durable.Input[execution.Input]{By: identity.From(ctx), Body: in}))
}

// entities are those that the ARN belongs to: Standard executions, or Express ones.
func (e *Engine) entities(arn string) (*entities, error) {
	switch {
	case strings.HasPrefix(field(arn, 5), "execution:"):
		return e.standard, nil
	case strings.HasPrefix(field(arn, 5), "express:") && e.express != nil:
		return e.express, nil
	}
	return nil, fmt.Errorf("%q is not the ARN of an execution", arn)
}

// bind makes a definition known, here and after a restart, and returns its digest.
func (e *Engine) bind(ctx context.Context, text []byte) (string, error) {
	sum := sha256.Sum256(text)
	digest := hex.EncodeToString(sum[:])
	e.mu.Lock()
	known := e.machines[digest] != nil
	e.mu.Unlock()
	if known {
		return digest, nil
	}
	m, err := parse(text)
	if err != nil {
		return "", err
	}
	err = e.cfg.Store.Commit(ctx, store.Batch{Rows: []store.RowChange{{Key: definitionKey(digest), Value: text}}})
	if err != nil {
		return "", fmt.Errorf("store definition %s: %w", digest, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.machines[digest] = m
	return digest, nil
}

// machine is the definition with this digest: an execution never outlives its row.
func (e *Engine) machine(digest string) *asl.StateMachine {
	e.mu.Lock()
	m := e.machines[digest]
	e.mu.Unlock()
	if m != nil {
		return m
	}
	r, err := e.cfg.Store.Get(e.ctx, definitionKey(digest))
	if err == nil {
		m, err = parse(r.Value)
	}
	if err != nil {
		e.cfg.Log.Error("definition cannot be read", "digest", digest, "err", err)
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.machines[digest] = m
	return m
}

func parse(text []byte) (*asl.StateMachine, error) {
	m, diags := asl.Parse(text, asl.ParseOptions{})
	for _, d := range diags {
		if d.Severity == asl.SeverityError {
			return nil, awsapi.Errorf(400, "InvalidDefinition", "Invalid State Machine Definition: '%s'", d)
		}
	}
	return m, nil
}

func definitionKey(digest string) store.Key {
	return store.Key{Service: "states", Kind: "definition", ID: digest}
}

func id(arn string) store.ID { return store.ID(Kind + "/" + arn) }

func arnOf(id store.ID) string { return strings.TrimPrefix(string(id), Kind+"/") }

// field is part i of an ARN, the last one with all that follows.
func field(arn string, i int) string {
	parts := strings.SplitN(arn, ":", 6)
	if i >= len(parts) {
		return ""
	}
	return parts[i]
}
