package custody

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/wake"
	"github.com/mayfly-run/mayfly/store"
)

// Tag with the value TagOff on a cluster or stack says that custody leaves it alone.
const (
	Tag    = "mayfly:custody"
	TagOff = "off"
)

// ReapEvery is the pause between two rounds of the reaper that nothing else has called for.
const ReapEvery = 15 * time.Second

// soon is the least pause between two rounds that something has called for.
const soon = 500 * time.Millisecond

// Holding is a stack or cluster that lives.
type Holding struct {
	Kind            string // KindStack or KindCluster
	ID, Name        string
	Account, Region string
	Status          string
	By              identity.Principal // who asked for it
	Tags            map[string]string
	Clusters        []string // of a stack
}

// Execution is what custody must know of one.
type Execution struct {
	Status string // RUNNING, or how it ended
	Parent string // the execution on whose behalf it runs
}

// ErrNoExecution says that there is no such execution any more.
var ErrNoExecution = errors.New("no such execution")

// Config is what custody needs of the world.
type Config struct {
	Store store.Store
	Loop  *durable.Loop
	Clock clock.Clock
	Log   *slog.Logger
	Calls awscall.Caller
	Wake  *wake.Bus
	// Stacks lists the stacks that are not deleted, Clusters the clusters that have not ended.
	Stacks, Clusters func(context.Context) ([]Holding, error)
	// Execution reads an execution, or answers ErrNoExecution.
	Execution func(ctx context.Context, arn string) (Execution, error)
	// EndCluster ends a cluster in spite of termination protection. One that has ended, or is unknown, is no error.
	EndCluster func(ctx context.Context, clusterID, reason string) error
}

// Custody is the reaper with the leases.
type Custody struct {
	cfg    Config
	leases *durable.Entities[lease, input, fact, command]

	mu      sync.Mutex
	held    map[string]map[store.ID]bool // leases by each execution that holds them, as far as was seen
	watches map[store.ID]func()
	timer   clock.Timer
	next    time.Time // of the timer
	running bool
	again   bool
	started bool
	stopped bool
	rounds  sync.WaitGroup
	ctx     context.Context
	cancel  context.CancelFunc
}

// New registers leases with the loop; it must be called before the loop starts.
func New(cfg Config) *Custody {
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Wake == nil {
		cfg.Wake = &wake.Bus{}
	}
	c := &Custody{cfg: cfg, held: map[string]map[store.ID]bool{}, watches: map[store.ID]func(){}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.leases = durable.Register(cfg.Loop, durable.Kind[lease, input, fact, command]{
		Name:      "lease",
		Core:      core{},
		New:       func(store.ID) *lease { return &lease{} },
		Dispatch:  c.dispatch,
		Project:   project,
		Committed: c.committed,
	})
	return c
}

func leaseID(kind, id string) store.ID { return store.ID("lease/" + kind + "/" + id) }

const service = "custody"

func project(id store.ID, l *lease, facts []fact) []store.RowChange {
	var rows []store.RowChange
	for _, f := range facts {
		if f.Entry == nil {
			continue
		}
		b, err := json.Marshal(f.Entry)
		if err != nil {
			panic(fmt.Sprintf("ledger of %s: %v", id, err))
		}
		key := fmt.Sprintf("%s/%06d", id, f.Entry.Sequence)
		rows = append(rows, store.RowChange{Key: store.Key{Service: service, Kind: "ledger", ID: key}, Value: b,
			Index: []store.IndexEntry{{Name: "time", Sort: f.Entry.At.Format("2006-01-02T15:04:05.000000000")}}})
	}
	return rows
}

// Ledger lists what was made on behalf of executions and what was decided about it, the oldest first. With the ARN of an
// execution it is what that one, or one below it, has made.
func (c *Custody) Ledger(ctx context.Context, execution string) ([]Entry, error) {
	found, err := c.cfg.Store.List(ctx, store.Query{Service: service, Kind: "ledger", Index: "time"})
	if err != nil {
		return nil, err
	}
	out := make([]Entry, 0, len(found))
	below := map[string]bool{"": true} // by owner
	for _, f := range found {
		var e Entry
		if err := json.Unmarshal(f.Value, &e); err != nil {
			return nil, fmt.Errorf("ledger %s: %w", f.Key.ID, err)
		}
		owner := e.Owner
		if execution == "" {
			owner = ""
		}
		is, known := below[owner]
		if !known {
			ch, err := c.chain(ctx, owner)
			if err != nil {
				return nil, fmt.Errorf("executions above %s: %w", owner, err)
			}
			is = slices.Contains(ch.all, execution)
			below[owner] = is
		}
		if is {
			out = append(out, e)
		}
	}
	return out, nil
}

// Began is what the first record of a stack or cluster sends: the books on it are opened. It is pure.
func (c *Custody) Began(h Holding) []durable.Send {
	if h.By.Execution == "" {
		return nil // a person made it
	}
	out := []durable.Send{{To: leaseID(h.Kind, h.ID), ID: "made", Body: input{Made: &seen{Kind: h.Kind, ID: h.ID, Name: h.Name, Account: h.Account, Region: h.Region,
		Owner: h.By.Execution, Clusters: h.Clusters}}}}
	if h.Kind == KindCluster && h.By.Kind == identity.StackOperation {
		out = append(out, durable.Send{To: leaseID(KindStack, h.By.Entity), ID: "holds/" + h.ID, Body: input{Holds: h.ID}})
	}
	return out
}

// Over is what the last record of a stack or cluster sends. It is pure.
func (c *Custody) Over(h Holding) []durable.Send {
	if h.By.Execution == "" {
		return nil
	}
	return []durable.Send{{To: leaseID(h.Kind, h.ID), ID: "over", Body: input{Gone: true}}}
}

// committed watches what is being ended, so that a deletion that fails is answered at once.
func (c *Custody) committed(id store.ID, _ *lease, facts []fact) {
	for _, f := range facts {
		if o := f.Opened; o != nil {
			c.mu.Lock()
			c.hold(o.Owner, id)
			c.mu.Unlock()
		}
		switch f.Phase {
		case "ending":
			_, name, _ := strings.Cut(strings.TrimPrefix(string(id), "lease/"), "/")
			c.mu.Lock()
			if c.watches[id] == nil {
				c.watches[id] = c.cfg.Wake.Watch(name, c.Kick)
			}
			c.mu.Unlock()
		case "over":
			c.mu.Lock()
			if stop := c.watches[id]; stop != nil {
				stop()
				delete(c.watches, id)
			}
			for _, leases := range c.held {
				delete(leases, id)
			}
			c.mu.Unlock()
		}
	}
}

// hold notes that an execution holds a lease; c.mu is held.
func (c *Custody) hold(execution string, id store.ID) {
	if c.held[execution] == nil {
		c.held[execution] = map[store.ID]bool{}
	}
	c.held[execution][id] = true
}

// Closed is what an execution's closing record sends: the release of the leases that it holds. A lease that is only just
// being opened is not among them; Ended calls for a round of the reaper.
func (c *Custody) Closed(execution string) []durable.Send {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []durable.Send
	for id := range c.held[execution] {
		out = append(out, durable.Send{To: id, ID: "released/" + execution, Body: input{Released: execution}})
	}
	delete(c.held, execution)
	return out
}

// Ended says that an execution has ended: what it held, and nobody has seen yet, is looked for soon.
func (c *Custody) Ended() { c.Kick() }

// Start makes the first round and goes on every ReapEvery. Call it when the loop and the executions have started.
func (c *Custody) Start(context.Context) error {
	c.mu.Lock()
	c.started = true
	c.mu.Unlock()
	c.schedule(0)
	return nil
}

// Stop ends the rounds and returns when none runs.
func (c *Custody) Stop() {
	c.mu.Lock()
	c.stopped = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	c.cancel()
	c.rounds.Wait()
}

// Kick calls for a round soon.
func (c *Custody) Kick() { c.schedule(soon) }

// schedule has the next round begin after d, or earlier when that was asked for already.
func (c *Custody) schedule(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.started || c.stopped {
		return
	}
	if c.running {
		c.again = c.again || d < ReapEvery
		return
	}
	due := c.cfg.Clock.Now().Add(d)
	if c.timer != nil {
		if !due.Before(c.next) {
			return
		}
		c.timer.Stop()
	}
	c.next = due
	c.timer = c.cfg.Clock.AfterFunc(d, c.round)
}

func (c *Custody) round() {
	c.mu.Lock()
	if c.stopped || c.running {
		c.mu.Unlock()
		return
	}
	c.running, c.again, c.timer = true, false, nil
	c.rounds.Add(1)
	c.mu.Unlock()
	if err := c.Reap(c.ctx); err != nil && c.ctx.Err() == nil {
		c.cfg.Log.Error("custody round failed", "err", err)
	}
	c.mu.Lock()
	c.running = false
	next := ReapEvery
	if c.again {
		next = soon
	}
	c.mu.Unlock()
	c.schedule(next)
	c.rounds.Done()
}

// Reap compares what lives with who owns it, once, and decides about each.
func (c *Custody) Reap(ctx context.Context) error {
	var open []store.ID
	for id, err := range c.cfg.Store.OpenEntities(ctx, "lease") {
		if err != nil {
			return fmt.Errorf("read leases: %w", err)
		}
		open = append(open, id)
	}
	stacks, err := c.cfg.Stacks(ctx)
	if err != nil {
		return fmt.Errorf("list stacks: %w", err)
	}
	clusters, err := c.cfg.Clusters(ctx)
	if err != nil {
		return fmt.Errorf("list clusters: %w", err)
	}
	lives := map[store.ID]bool{}
	stackLives := map[string]bool{}
	for _, h := range stacks {
		lives[leaseID(h.Kind, h.ID)] = true
		stackLives[h.ID] = true
	}
	for _, h := range clusters {
		lives[leaseID(h.Kind, h.ID)] = true
	}
	chains := map[string]chain{}
	off := map[string]bool{} // stacks that opt out, with all that is in them
	var errs []error
	for _, h := range append(stacks, clusters...) {
		optOut := strings.EqualFold(h.Tags[Tag], TagOff)
		off[h.ID] = optOut
		inStack := h.Kind == KindCluster && h.By.Kind == identity.StackOperation
		if h.By.Execution == "" {
			continue // a person made it
		}
		ch, known := chains[h.By.Execution]
		if !known {
			if ch, err = c.chain(ctx, h.By.Execution); err != nil {
				errs = append(errs, fmt.Errorf("executions of %s: %w", h.ID, err))
				continue // what cannot be read holds
			}
			chains[h.By.Execution] = ch
		}
		id := leaseID(h.Kind, h.ID)
		c.mu.Lock()
		for _, arn := range ch.open {
			c.hold(arn, id)
		}
		c.mu.Unlock()
		s := &seen{Kind: h.Kind, ID: h.ID, Name: h.Name, Account: h.Account, Region: h.Region, Owner: h.By.Execution, Status: h.Status, Clusters: h.Clusters,
			Covered: inStack && stackLives[h.By.Entity], Off: optOut || inStack && off[h.By.Entity], Ended: len(ch.open) == 0, Why: ch.why}
		if _, err := c.leases.Do(ctx, id, durable.Input[input]{Body: input{Seen: s}}); err != nil {
			errs = append(errs, fmt.Errorf("lease of %s: %w", h.ID, err))
		}
	}
	for _, id := range open {
		if !lives[id] {
			if _, err := c.leases.Do(ctx, id, durable.Input[input]{Body: input{Gone: true}}); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", id, err))
			}
		}
	}
	return errors.Join(errs...)
}

// chain is an execution and all above it.
type chain struct {
	all  []string // from the execution upward
	open []string // those that run
	why  string   // how they have ended
}

const maxChain = 100

func (c *Custody) chain(ctx context.Context, arn string) (chain, error) {
	var ch chain
	var said []string
	met := map[string]bool{}
	for arn != "" && !met[arn] && len(met) < maxChain {
		met[arn] = true
		ch.all = append(ch.all, arn)
		x, err := c.cfg.Execution(ctx, arn)
		if errors.Is(err, ErrNoExecution) {
			said = append(said, arn+" is not known any more")
			break
		}
		if err != nil {
			return ch, err
		}
		if x.Status == "RUNNING" || x.Status == "PENDING_REDRIVE" {
			ch.open = append(ch.open, arn)
		}
		said = append(said, arn+" is "+x.Status)
		arn = x.Parent
	}
	ch.why = strings.Join(said, ", ")
	return ch, nil
}

// dispatch carries out what a lease has decided.
func (c *Custody) dispatch(ctx context.Context, id store.ID, key string, cmd command) (*input, error) {
	p := identity.Principal{Kind: identity.Service, Account: cmd.Account, Region: cmd.Region, Entity: "custody",
		ARN: fmt.Sprintf("arn:aws:sts::%s:assumed-role/mayfly/custody", cmd.Account)}
	ctx = identity.With(ctx, p)
	invoke := func(op string, in map[string]any) error {
		_, err := c.cfg.Calls.Invoke(ctx, awscall.Call{Principal: p, RequestKey: key + "/" + op, Service: "cloudformation", Operation: op, Input: in})
		return err
	}
	if cmd.Verb == "check" {
		c.Kick()
		return nil, nil
	}
	for _, cluster := range cmd.Clusters {
		c.cfg.Log.Info("cluster ended by custody", "cluster", cluster, "lease", id, "reason", cmd.Reason)
		if err := c.cfg.EndCluster(ctx, cluster, "ended by custody: "+cmd.Reason); err != nil {
			return c.refused(ctx, err)
		}
	}
	if cmd.Verb == "delete-stack" {
		c.cfg.Log.Info("stack deleted by custody", "stack", cmd.ID, "reason", cmd.Reason)
		err := invoke("DeleteStack", map[string]any{"StackName": cmd.ID})
		if err != nil && strings.Contains(err.Error(), "TerminationProtection") {
			if err = invoke("UpdateTerminationProtection", map[string]any{"StackName": cmd.ID, "EnableTerminationProtection": false}); err == nil {
				_, err = c.cfg.Calls.Invoke(ctx, awscall.Call{Principal: p, RequestKey: key + "/again", Service: "cloudformation", Operation: "DeleteStack", Input: map[string]any{"StackName": cmd.ID}})
			}
		}
		if err != nil {
			return c.refused(ctx, err)
		}
	}
	return &input{Done: &finished{}}, nil
}

// refused turns what a service refuses into a result; anything else is tried again.
func (c *Custody) refused(ctx context.Context, err error) (*input, error) {
	var e *awsapi.Error
	if ctx.Err() != nil || !errors.As(err, &e) || e.Status >= 500 {
		return nil, err
	}
	c.Kick()
	return &input{Done: &finished{Refused: e.Error()}}, nil
}
