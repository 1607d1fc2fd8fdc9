package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/maprun"
	"github.com/mayfly-run/mayfly/store"
)

// MapRunKind is the kind of entities that map runs are: store.ID "maprun/ARN".
const MapRunKind = "maprun"

// byExecution is the list of an execution's map runs. Sort is its ARN and the start, between blanks.
const byExecution = "execution"

const (
	starters  = 1000    // children that one command starts at once
	maxReport = 1000    // children in one report to their map run
	maxBytes  = 1 << 20 // of outputs and inputs in it
)

type runEntities = durable.Entities[maprun.Run, maprun.Input, maprun.Fact, maprun.Command]

// mapRuns is the shell of map runs. What it keeps in memory may be lost: ended children that were not yet reported are
// found again at the next start, and Express children are started again by the command that has not ended.
type mapRuns struct {
	e  *Engine
	es *runEntities

	mu      sync.Mutex
	reports map[string]*report        // by map run
	awaited map[string][]chan error   // Express children that a Launch waits for, by ARN: their report is durable
	streams map[string]*items         // by map run
	open    map[string]bool           // found open at the start
	running map[Place]map[string]bool // open runs
	waiting map[Place]map[string]bool // runs that wait until there are fewer
}

// report collects ended children while the last report is being committed.
type report struct {
	done []maprun.Done
	arns []string
	busy bool
}

func newMapRuns(e *Engine) *mapRuns {
	m := &mapRuns{e: e, reports: map[string]*report{}, awaited: map[string][]chan error{}, streams: map[string]*items{}, open: map[string]bool{}, running: map[Place]map[string]bool{}, waiting: map[Place]map[string]bool{}}
	m.es = durable.Register(e.cfg.Loop, durable.Kind[maprun.Run, maprun.Input, maprun.Fact, maprun.Command]{
		Name:      MapRunKind,
		Core:      runCore{},
		New:       func(store.ID) *maprun.Run { return &maprun.Run{} },
		Dispatch:  m.dispatch,
		Project:   projectRun,
		Committed: m.observe,
		Parallel:  maxCalls, // a Launch of Express children lasts as long as they do
		Opened: func(_ context.Context, id store.ID, r *maprun.Run) *maprun.Input {
			m.mu.Lock()
			m.open[runOf(id)] = true
			m.mu.Unlock()
			m.opened(runOf(id), true)
			return nil
		},
		MarshalState: func(r *maprun.Run) ([]byte, error) { return json.Marshal(r) },
		UnmarshalState: func(_ store.ID, b []byte) (*maprun.Run, error) {
			r := &maprun.Run{}
			return r, json.Unmarshal(b, r)
		},
	})
	return m
}

// runCore puts the pure core into the loop's terms.
type runCore struct{}

func (runCore) Apply(r *maprun.Run, f maprun.Fact) { maprun.Apply(r, f) }

func (runCore) Decide(r *maprun.Run, in durable.Input[maprun.Input], env durable.Env) (durable.Decision[maprun.Fact, maprun.Command], error) {
	d, err := maprun.Decide(r, in.Body, env.Now)
	out := durable.Decision[maprun.Fact, maprun.Command]{Facts: d.Facts, Commands: d.Commands, Reply: d.Reply, Closed: d.Closed}
	if d.Done != nil {
		out.Sends = []durable.Send{{To: id(r.Spec.Parent), ID: fmt.Sprintf("%s/%d", d.Done.Run, d.Done.Redrives), Body: execution.Input{Map: d.Done}}}
	}
	return out, err
}

// opened keeps count of the runs of an account and Region.
func (m *mapRuns) opened(run string, open bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	place := placeOf(run)
	if m.running[place] == nil {
		m.running[place], m.waiting[place] = map[string]bool{}, map[string]bool{}
	}
	delete(m.waiting[place], run)
	if m.running[place][run] = true; !open {
		delete(m.running[place], run)
	}
}

// full reports whether a new run has to wait. AWS: with MapRunStarted in the history.
func (m *mapRuns) full(run string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	place, most := placeOf(run), m.e.cfg.Limits.MapRuns
	open := m.running[place]
	if most == 0 || int64(len(open)) < most || open[run] {
		return false
	}
	m.waiting[place][run] = true
	return true
}

func runID(arn string) store.ID { return store.ID(MapRunKind + "/" + arn) }
func runOf(id store.ID) string  { return strings.TrimPrefix(string(id), MapRunKind+"/") }

// MapRunRow is a map run in a list.
type MapRunRow struct {
	ARN        string    `json:"arn"`
	Execution  string    `json:"execution"`
	MachineARN string    `json:"machineArn"` // "…:stateMachine:NAME/LABEL"
	Started    time.Time `json:"started"`
	Stopped    time.Time `json:"stopped,omitzero"`
	Cursor     string    `json:"-"`
}

func projectRun(id store.ID, r *maprun.Run, facts []maprun.Fact) []store.RowChange {
	show := false
	for _, f := range facts {
		show = show || f.Started != nil || f.Closed != nil || f.Redriven != nil
	}
	if !show {
		return nil
	}
	s := r.Spec
	value, err := json.Marshal(MapRunRow{ARN: s.Run, Execution: s.Parent, MachineARN: s.Child.MachineARN, Started: r.Started, Stopped: r.Stopped})
	if err != nil {
		panic(fmt.Sprintf("row of %s: %v", id, err)) // strings and times always encode
	}
	return []store.RowChange{{Key: mapRunKey(s.Run), Value: value,
		Index: []store.IndexEntry{{Name: byExecution, Sort: s.Parent + " " + sortable(r.Started)}}}}
}

func mapRunKey(arn string) store.Key {
	return store.Key{Account: field(arn, 4), Region: field(arn, 3), Service: "states", Kind: MapRunKind, ID: arn}
}

// ListMapRuns lists the map runs of an execution, newest first. After is the Cursor of the last row seen.
func (e *Engine) ListMapRuns(ctx context.Context, execution, after string, limit int) ([]MapRunRow, error) {
	q := store.Query{Account: field(execution, 4), Region: field(execution, 3), Service: "states", Kind: MapRunKind,
		Index: byExecution, SortPrefix: execution + " ", Descending: true, After: after, Limit: limit}
	return listed(ctx, e.cfg.Store, q, func(r *MapRunRow) *string { return &r.Cursor })
}

// MapRun is what is known of a map run.
type MapRun struct {
	ARN, Execution, MachineARN, Label string
	Express                           bool
	Status                            execution.Status
	Started, Stopped                  time.Time
	Concurrency                       int64
	Tolerance                         asl.Tolerance
	Items, Executions                 maprun.Counts
	Redrives                          int64
	Redriven                          time.Time
	Failure                           *asl.Failure
}

// MapRun reads a map run: store.ErrNotFound when there is none.
func (e *Engine) MapRun(ctx context.Context, arn string) (*MapRun, error) {
	var d MapRun
	err := e.runs.es.View(ctx, runID(arn), func(r *maprun.Run) {
		d = MapRun{ARN: arn, Execution: r.Spec.Parent, MachineARN: r.Spec.Child.MachineARN, Label: r.Spec.Label, Express: r.Spec.Express, Status: r.Status,
			Started: r.Started, Stopped: r.Stopped, Concurrency: r.Concurrency, Tolerance: r.Tolerance, Items: r.Items, Executions: r.Executions,
			Redrives: r.Redrives, Redriven: r.RedrivenAt, Failure: r.Failure}
	})
	if err != nil {
		return nil, err
	}
	return &d, nil
}

// ErrClosed: the map run has ended.
var ErrClosed = errors.New("the map run has ended")

// UpdateMapRun changes a running map run. store.ErrNotFound: there is none. ErrClosed: it has ended.
func (e *Engine) UpdateMapRun(ctx context.Context, arn string, u maprun.Update) error {
	if err := e.runs.es.View(ctx, runID(arn), func(*maprun.Run) {}); err != nil {
		return err
	}
	r, err := durable.Reply[maprun.Reply](e.runs.es.Do(ctx, runID(arn), durable.Input[maprun.Input]{By: identity.From(ctx), Body: maprun.Input{Update: &u}}))
	if err == nil && r.Stale {
		err = ErrClosed
	}
	return err
}

// PendingRedrive is the status of children that a redrive has not come to yet.
const PendingRedrive execution.Status = "PENDING_REDRIVE"

// ListChildren lists the Standard children of a map run, newest first; status "" is any, and redriven nil as well. After
// is the Cursor of the last row seen.
func (e *Engine) ListChildren(ctx context.Context, run string, status execution.Status, redriven *bool, after string, limit int) ([]Row, error) {
	var again maprun.Set
	if err := e.runs.es.View(ctx, runID(run), func(r *maprun.Run) { again = slices.Clone(r.Again) }); err != nil {
		return nil, err
	}
	listed := status
	if status == PendingRedrive {
		listed = ""
	}
	out := []Row{}
	for len(out) < limit {
		rows, err := e.ListExecutions(ctx, run, listed, after, limit)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			after = r.Cursor
			if again.Has(r.Child) {
				r.Status = PendingRedrive
			}
			if (status == "" || r.Status == status) && (redriven == nil || *redriven == (r.Redrives > 0)) && len(out) < limit {
				out = append(out, r)
			}
		}
		if len(rows) < limit {
			break
		}
	}
	return out, nil
}

// create starts a map run on behalf of an execution. Repeated, it changes nothing.
func (m *mapRuns) create(ctx context.Context, parent store.ID, c execution.StartMap) error {
	es, err := m.e.entities(arnOf(parent))
	if err != nil {
		return err
	}
	spec := &maprun.Spec{StartMap: c, Parent: arnOf(parent), MaxOutput: m.e.cfg.Limits.Data.Payload, MaxOpen: m.e.cfg.Limits.MapConcurrency}
	err = es.View(ctx, parent, func(s *execution.Snapshot) {
		x := s.Identity
		name, _, _ := strings.Cut(x.MachineName, "/")
		spec.Child = execution.Identity{Express: c.Express, MachineARN: x.Machine() + "/" + c.Label, MachineName: name + "/" + c.Label,
			RoleARN: x.RoleARN, Digest: x.Digest, Region: x.Region, By: x.By, Parent: x.ARN, MapRun: c.Run, TestCase: x.TestCase}
	})
	if err != nil {
		return err
	}
	if m.full(c.Run) {
		return fmt.Errorf("%s waits: %d map runs are open in its account and Region", c.Run, m.e.cfg.Limits.MapRuns) // asked again after a pause
	}
	return m.tell(ctx, c.Run, maprun.Input{Start: spec})
}

// redrive continues a map run. Repeated, it changes nothing.
func (m *mapRuns) redrive(ctx context.Context, parent store.ID, c execution.RedriveMap) error {
	es, err := m.e.entities(arnOf(parent))
	if err != nil {
		return err
	}
	in := maprun.Redrive{Redrives: c.Redrives}
	if err := es.View(ctx, parent, func(s *execution.Snapshot) { in.Digest = s.Identity.Digest }); err != nil {
		return err
	}
	return m.tell(ctx, c.Run, maprun.Input{Redrive: &in})
}

// behalf is who reads a run's items and writes its results: its execution.
func (m *mapRuns) behalf(ctx context.Context, r *maprun.Run) (who identity.Principal, err error) {
	es, err := m.e.entities(r.Spec.Parent)
	if err != nil {
		return who, err
	}
	err = es.View(ctx, id(r.Spec.Parent), func(s *execution.Snapshot) { who = principal(s) })
	return who, err
}

func (m *mapRuns) tell(ctx context.Context, run string, in maprun.Input) error {
	_, err := m.es.Do(ctx, runID(run), durable.Input[maprun.Input]{Body: in})
	return err
}

// view reads what of a run the shell works with: nothing of it changes any more, but for what is copied here.
func (m *mapRuns) view(ctx context.Context, run string) (r maprun.Run, err error) {
	err = m.es.View(ctx, runID(run), func(s *maprun.Run) {
		r = *s
		r.Open, r.Lost, r.Again, r.Sizes, r.Final, r.Redone = nil, nil, nil, nil, nil, nil
	})
	return r, err
}

// openOf tells which of some children are open.
func (m *mapRuns) openOf(ctx context.Context, run string, first int64, numbers []int64) (open map[int64]bool, r maprun.Run, err error) {
	open = map[int64]bool{}
	err = m.es.View(ctx, runID(run), func(s *maprun.Run) {
		clear(open)
		r = *s
		for _, n := range numbers {
			if _, ok := s.Open[first+n]; ok {
				open[first+n] = true
			}
		}
		r.Open, r.Lost, r.Again, r.Sizes, r.Final, r.Redone = nil, nil, nil, nil, nil, nil
	})
	return open, r, err
}

// child is the identity of a child by its number: names follow from the run, so that none is made twice. An Express one
// that a redrive of the run starts again is another execution of that name.
func child(s *maprun.Spec, n, redrives int64) execution.Identity {
	x := s.Child
	x.Child = n
	x.Name = childName(s.Run, n, "name")
	base := strings.Join(strings.SplitN(s.Run, ":", 6)[:5], ":")
	if x.Express {
		x.Again = redrives
		x.ARN = base + ":express:" + x.MachineName + ":" + x.Name + ":" + childName(s.Run, n, fmt.Sprint("express/", redrives))
	} else {
		x.ARN = base + ":execution:" + x.MachineName + ":" + x.Name
	}
	return x
}

// childName is a UUID of version 8: 32 bits of the run, the number, and what tells names of one child apart. In the order of
// their numbers, since lists by name then grow at one place, and not all over the disk.
func childName(run string, n int64, what string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%s", run, n, what))
	of := sha256.Sum256([]byte(run))
	b := slices.Concat(of[:4], sum[4:16])
	binary.BigEndian.PutUint16(b[4:], uint16(n>>24))
	binary.BigEndian.PutUint16(b[6:], 0x8000|uint16(n>>12&0xfff))
	binary.BigEndian.PutUint16(b[8:], 0x8000|uint16(n&0xfff)<<2|uint16(b[9]&3))
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// dispatch carries out one command of a map run.
func (m *mapRuns) dispatch(ctx context.Context, id store.ID, key string, c maprun.Command) (*maprun.Input, error) {
	run := runOf(id)
	switch {
	case c.Read != nil:
		return m.read(ctx, run, key, *c.Read)
	case c.Launch != nil:
		return nil, m.launch(ctx, run, *c.Launch)
	case c.Redo != nil:
		return nil, m.redo(ctx, run, key, *c.Redo)
	case c.Abort != nil:
		r, err := m.view(ctx, run)
		if err != nil || r.Redrives != c.Abort.Redrives {
			return nil, err
		}
		return nil, m.abort(ctx, run, c.Abort.Children)
	case c.Finish != nil:
		return m.finish(ctx, run, *c.Finish)
	}
	return nil, fmt.Errorf("command of %s is of no known kind", id)
}

// launch starts children. One of a run that fails or has ended meanwhile is stopped at once, so that a redrive finds it.
func (m *mapRuns) launch(ctx context.Context, run string, c maprun.Launch) error {
	numbers := make([]int64, len(c.Children))
	for i := range numbers {
		numbers[i] = int64(i)
	}
	open, r, err := m.openOf(ctx, run, c.First, numbers)
	if err != nil {
		return err
	}
	if r.Spec.Express {
		inputs := map[int64]maprun.Child{}
		for i, x := range c.Children {
			if n := c.First + int64(i); open[n] {
				inputs[n] = x
			}
		}
		return m.express(ctx, &r, inputs)
	}
	block, startAt, err := m.processor(&r.Spec)
	if err != nil {
		return err
	}
	err = each(len(c.Children), func(i int) error {
		return m.begin(ctx, m.e.standard, child(&r.Spec, c.First+int64(i), r.Redrives), block, startAt, c.Children[i])
	})
	if err != nil {
		return err
	}
	if open, r, err = m.openOf(ctx, run, c.First, numbers); err != nil || r.Status == execution.Running && r.Failure == nil {
		return err
	}
	var stop []int64
	for i := range c.Children {
		if n := c.First + int64(i); r.Failure != nil || !open[n] {
			stop = append(stop, n)
		}
	}
	return m.abort(ctx, run, stop)
}

// processor is where the children begin.
func (m *mapRuns) processor(s *maprun.Spec) (block, startAt string, err error) {
	st, err := m.state(s)
	if err != nil {
		return "", "", err
	}
	return st.Processor.Pointer, st.Processor.StartAt, nil
}

func (m *mapRuns) state(s *maprun.Spec) (*asl.MapState, error) {
	machine := m.e.machine(s.Child.Digest)
	if machine == nil {
		return nil, fmt.Errorf("definition %s of %s cannot be read", s.Child.Digest, s.Run)
	}
	if b := machine.BlockAt(s.Block); b != nil {
		if st, ok := b.States[s.State].(*asl.MapState); ok && st.Distributed != nil {
			return st, nil
		}
	}
	return nil, fmt.Errorf("%s: no distributed Map %q in block %q", s.Run, s.State, s.Block)
}

// begin starts one child; one that was started before is left alone.
func (m *mapRuns) begin(ctx context.Context, es *entities, x execution.Identity, block, startAt string, c maprun.Child) error {
	x.Items = c.Items
	_, err := es.Do(ctx, id(x.ARN), durable.Input[execution.Input]{By: x.By, Body: execution.Input{
		Start: &execution.Start{Identity: x, Input: c.Input, Block: block, StartAt: startAt}}})
	var refused *awsapi.Error
	if errors.As(err, &refused) && refused.Code == "ExecutionAlreadyExists" {
		return nil
	}
	return err
}

// express runs Express children and returns when the ends of all of them are in the run's journal.
func (m *mapRuns) express(ctx context.Context, r *maprun.Run, inputs map[int64]maprun.Child) error {
	if m.e.express == nil {
		return fmt.Errorf("%s: Express children need a loop of their own", r.Spec.Run)
	}
	block, startAt, err := m.processor(&r.Spec)
	if err != nil {
		return err
	}
	waits := make([]chan error, 0, len(inputs))
	numbers := make([]int64, 0, len(inputs))
	m.mu.Lock()
	for n := range inputs {
		ch := make(chan error, 1)
		x := child(&r.Spec, n, r.Redrives).ARN
		m.awaited[x] = append(m.awaited[x], ch)
		waits, numbers = append(waits, ch), append(numbers, n)
	}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		for _, n := range numbers {
			x := child(&r.Spec, n, r.Redrives).ARN
			m.awaited[x] = slices.DeleteFunc(m.awaited[x], func(ch chan error) bool { return slices.Contains(waits, ch) })
			if len(m.awaited[x]) == 0 {
				delete(m.awaited, x)
			}
		}
		m.mu.Unlock()
	}()
	failing := r.Status != execution.Running || r.Failure != nil
	err = each(len(numbers), func(i int) error {
		x := child(&r.Spec, numbers[i], r.Redrives)
		if failing {
			m.ended(r.Spec.Run, x.ARN, maprun.Done{N: x.Child, Status: execution.Aborted})
			return nil
		}
		return m.begin(ctx, m.e.express, x, block, startAt, inputs[numbers[i]])
	})
	if err != nil {
		return err
	}
	if !failing { // it may have failed meanwhile, and its Abort may have come too early
		now, err := m.view(ctx, r.Spec.Run)
		if err != nil {
			return err
		}
		if now.Status != execution.Running || now.Failure != nil {
			if err := m.abort(ctx, r.Spec.Run, numbers); err != nil {
				return err
			}
		}
	}
	for _, ch := range waits {
		select {
		case err := <-ch:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// each runs f for 0 to n-1, several at once, and returns the first error.
func each(n int, f func(int) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	next := 0
	for range min(n, starters) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				mu.Lock()
				i := next
				next++
				stop := first != nil || i >= n
				mu.Unlock()
				if stop {
					return
				}
				if err := f(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		}()
	}
	wg.Wait()
	return first
}

// abort stops children. One that was never started is stopped by its Launch.
func (m *mapRuns) abort(ctx context.Context, run string, numbers []int64) error {
	r, err := m.view(ctx, run)
	if err != nil {
		return err
	}
	return each(len(numbers), func(i int) error {
		_, err := m.e.do(ctx, child(&r.Spec, numbers[i], r.Redrives).ARN, execution.Input{Stop: &execution.Stop{}})
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
}

// redo redrives Standard children and starts Express ones again.
func (m *mapRuns) redo(ctx context.Context, run, key string, c maprun.Redo) error {
	open, r, err := m.openOf(ctx, run, 0, c.Children)
	if err != nil {
		return err
	}
	if r.Spec.Express {
		inputs, err := m.inputs(ctx, run, open)
		if err != nil {
			return err
		}
		return m.express(ctx, &r, inputs)
	}
	err = each(len(c.Children), func(i int) error {
		n := c.Children[i]
		if !open[n] {
			return nil
		}
		return m.redoOne(ctx, &r, n, fmt.Sprintf("%s/%d", key, n))
	})
	if err != nil {
		return err
	}
	if r, err = m.view(ctx, run); err != nil || r.Status == execution.Running && r.Failure == nil {
		return err
	}
	return m.abort(ctx, run, c.Children)
}

// redoOne redrives one child. One that has ended well, or that cannot be redriven, is reported as it is.
func (m *mapRuns) redoOne(ctx context.Context, r *maprun.Run, n int64, token string) error {
	x := child(&r.Spec, n, r.Redrives)
	reply, err := durable.Reply[execution.Reply](m.e.standard.Do(ctx, id(x.ARN), durable.Input[execution.Input]{
		Body: execution.Input{Redrive: &execution.Redrive{Token: token, Digest: r.Spec.Child.Digest}}}))
	switch {
	case err == nil && !reply.Stale:
		return nil
	case err == nil:
		return fmt.Errorf("child %s was never started", x.ARN)
	}
	var refused *awsapi.Error
	if !errors.As(err, &refused) {
		return err
	}
	return m.e.standard.View(ctx, id(x.ARN), func(s *execution.Snapshot) {
		if s.Closed() && !s.Stopped.After(r.RedrivenAt) {
			d := doneOf(s, m.wantsInput(r))
			d.Final = d.Status != execution.Succeeded
			m.ended(r.Spec.Run, x.ARN, d)
		}
	})
}

// inputs finds what some children were launched with in the journal.
func (m *mapRuns) inputs(ctx context.Context, run string, wanted map[int64]bool) (map[int64]maprun.Child, error) {
	found := map[int64]maprun.Child{}
	for rec, err := range m.es.Records(ctx, runID(run), 0) {
		if err != nil {
			return nil, err
		}
		for _, c := range rec.Commands {
			if c.Launch == nil {
				continue
			}
			for i, x := range c.Launch.Children {
				if n := c.Launch.First + int64(i); wanted[n] {
					found[n] = x
				}
			}
		}
	}
	if len(found) != len(wanted) {
		return nil, fmt.Errorf("%s: %d of %d children are not in the journal", run, len(wanted)-len(found), len(wanted))
	}
	return found, nil
}

// wantsInput reports whether results hold the children's inputs.
func (m *mapRuns) wantsInput(r *maprun.Run) bool { return r.Spec.Writer != nil }

func doneOf(s *execution.Snapshot, input bool) maprun.Done {
	d := maprun.Done{N: s.Identity.Child, Status: s.Status, Output: s.Output, Failure: s.Failure, Started: s.Started, Stopped: s.Stopped, Redrives: s.RedriveCount + s.Identity.Again}
	if input {
		d.Input = s.Input
	}
	return d
}

// committed hears of children that have ended.
func (m *mapRuns) committed(s *execution.Snapshot, facts []execution.Fact) {
	if s.Identity.MapRun == "" || !s.Closed() {
		return
	}
	for _, f := range facts {
		if f.Event != nil && f.Event.Type.Terminal() {
			m.ended(s.Identity.MapRun, s.Identity.ARN, doneOf(s, true))
			return
		}
	}
}

// ended reports a child's end to its run: at once, or with others when a report is under way.
func (m *mapRuns) ended(run, arn string, d maprun.Done) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.reports[run]
	if r == nil {
		r = &report{}
		m.reports[run] = r
	}
	r.done, r.arns = append(r.done, d), append(r.arns, arn)
	if !r.busy {
		if r.busy = m.e.begin(); r.busy {
			go m.report(run, r)
		} else {
			delete(m.reports, run) // the next start finds them
		}
	}
}

// report commits ended children until there are no more.
func (m *mapRuns) report(run string, r *report) {
	defer m.e.polling.Done()
	input := -1
	for {
		m.mu.Lock()
		k, size := 0, 0
		for k < len(r.done) && k < maxReport && (k == 0 || size < maxBytes) {
			size += r.done[k].Output.Size() + r.done[k].Input.Size()
			k++
		}
		if k == 0 {
			delete(m.reports, run)
			m.mu.Unlock()
			return
		}
		batch, arns := r.done[:k:k], r.arns[:k:k]
		r.done, r.arns = r.done[k:], r.arns[k:]
		m.mu.Unlock()
		var err error
		if input < 0 {
			var v maprun.Run
			if v, err = m.view(m.e.ctx, run); err == nil {
				input = 0
				if m.wantsInput(&v) {
					input = 1
				}
			}
		}
		if input == 0 {
			for i := range batch {
				batch[i].Input = jsonvalue.Value{}
			}
		}
		if err == nil {
			err = m.tell(m.e.ctx, run, maprun.Input{Done: batch})
		}
		if err != nil && m.e.ctx.Err() == nil {
			m.e.cfg.Log.Warn("ended children could not be recorded", "map_run", run, "children", k, "err", err)
		}
		m.mu.Lock()
		for _, arn := range arns {
			for _, ch := range m.awaited[arn] {
				ch <- err
			}
			delete(m.awaited, arn)
		}
		m.mu.Unlock()
	}
}

// start looks for children that ended while nobody could report it.
func (m *mapRuns) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for run := range m.open {
		m.e.polling.Add(1)
		go func() {
			defer m.e.polling.Done()
			if err := m.recover(m.e.ctx, run); err != nil && m.e.ctx.Err() == nil {
				m.e.cfg.Log.Error("the children of a map run could not be read", "map_run", run, "err", err)
			}
		}()
	}
	clear(m.open)
}

func (m *mapRuns) recover(ctx context.Context, run string) error {
	var open []int64
	var r maprun.Run
	if err := m.es.View(ctx, runID(run), func(s *maprun.Run) { open, r = s.OpenChildren(), *s }); err != nil {
		return err
	}
	if r.Spec.Express {
		return nil // their commands start them again
	}
	for _, n := range open {
		err := m.e.standard.View(ctx, id(child(&r.Spec, n, r.Redrives).ARN), func(s *execution.Snapshot) {
			if s.Closed() { // one that is about to be redriven is known by its time
				m.ended(run, s.Identity.ARN, doneOf(s, true))
			}
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) { // not there: its Launch is under way
			return err
		}
	}
	return nil
}

// observe forgets what is kept for a run that has ended, and tells who watches it.
func (m *mapRuns) observe(id store.ID, r *maprun.Run, facts []maprun.Fact) {
	for _, f := range facts {
		switch {
		case f.Redriven != nil:
			m.opened(runOf(id), true)
		case f.Started != nil:
			m.opened(runOf(id), true)
			m.e.cfg.Log.Info("map run started", "map_run", runOf(id), "execution", r.Spec.Parent)
		case f.Closed != nil:
			m.opened(runOf(id), false)
			m.forget(runOf(id))
			m.e.cfg.Log.Info("map run closed", "map_run", runOf(id), "status", string(f.Closed.Status), "children", r.Next, "took", f.Closed.At.Sub(r.Started))
			m.e.cfg.Wake.Changed(runOf(id))
		}
	}
}

// ProcessorDefinition is the definition of a map run's children.
func (e *Engine) ProcessorDefinition(ctx context.Context, run string) (string, error) {
	r, err := e.runs.view(ctx, run)
	if err != nil {
		return "", err
	}
	st, err := e.runs.state(&r.Spec)
	if err != nil {
		return "", err
	}
	m := e.machine(r.Spec.Child.Digest)
	text, err := jsonvalue.Parse(m.Text)
	if err != nil {
		return "", fmt.Errorf("definition %s: %w", r.Spec.Child.Digest, err)
	}
	found, ok := blockAt(text, "", st.Processor.Pointer)
	if !ok {
		return "", fmt.Errorf("definition %s has no block %s", r.Spec.Child.Digest, st.Processor.Pointer)
	}
	return found.String(), nil
}

// blockAt finds a block of a definition by its pointer.
func blockAt(v jsonvalue.Value, at, pointer string) (jsonvalue.Value, bool) {
	if at == pointer {
		return v, true
	}
	for name, st := range v.Member("States").Members() {
		here := at + "/States/" + name
		if !strings.HasPrefix(pointer, here+"/") {
			continue
		}
		for i := range st.Member("Branches").Len() {
			if b, ok := blockAt(st.Member("Branches").Index(i), fmt.Sprintf("%s/Branches[%d]", here, i), pointer); ok {
				return b, true
			}
		}
		for _, field := range []string{"ItemProcessor", "Iterator"} {
			if b, ok := st.Get(field); ok {
				if b, ok := blockAt(b, here+"/"+field, pointer); ok {
					return b, true
				}
			}
		}
	}
	return jsonvalue.Value{}, false
}
