package durable

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/store"
)

var (
	// ErrStopped answers inputs that come before Start or after Stop; nothing of them was recorded.
	ErrStopped = errors.New("the server is stopping")
	// ErrOpen: an entity cannot be forgotten, because it is not closed, or something that it asked for is not done yet.
	ErrOpen = errors.New("the entity is open")
	// ErrRepeated answers a repeated input id whose first answer is not known any more.
	ErrRepeated = errors.New("the input was answered before")
)

// Config is what a Loop needs of the world. Store is the only field without a default.
type Config struct {
	Store store.Store
	Clock clock.Clock
	Log   *slog.Logger
	// Fatal is told once, in a goroutine of its own, why the loop cannot go on: the disk cannot be trusted. The server
	// ends with it. From then on the loop answers every input with that reason.
	Fatal func(error)
	// Partitions is how many goroutines decide; 0 means twice GOMAXPROCS, at least 8.
	Partitions int
	// CacheEntities and CacheBytes (of journal) bound the states in memory; 0 means 65536 and 256 MiB. Only what has
	// nothing pending is evicted, the closed ones first.
	CacheEntities int
	CacheBytes    int
	// CacheClosed bounds the closed ones among them, which are seldom asked for again; 0 means 4096.
	CacheClosed int
	Budget      int           // Env.Budget; 0 means 1000
	Seed        func() uint64 // draws Env.Seed; nil means at random
	Epoch       uint64        // of the records
}

// Loop runs the entities of every registered kind. New, then Register for each kind, then Start; Stop at the end.
type Loop struct {
	cfg    Config
	kinds  map[string]ops
	parts  []*partition
	timers *timerQueue
	hash   maphash.Seed
	ctx    context.Context // of dispatches; cancelled by Stop
	cancel context.CancelFunc

	mu       sync.Mutex
	quiet    sync.Cond // busy fell to zero
	busy     int       // posted functions, pending commits, running dispatches
	started  bool
	stopping bool
	failed   error

	dispatchers map[string]*dispatcher
}

// New makes a loop that does nothing before Start.
func New(cfg Config) *Loop {
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Partitions <= 0 {
		cfg.Partitions = max(8, 2*runtime.GOMAXPROCS(0))
	}
	if cfg.CacheEntities <= 0 {
		cfg.CacheEntities = 1 << 16
	}
	if cfg.CacheBytes <= 0 {
		cfg.CacheBytes = 256 << 20
	}
	if cfg.CacheClosed <= 0 {
		cfg.CacheClosed = 1 << 12
	}
	if cfg.Budget <= 0 {
		cfg.Budget = 1000
	}
	if cfg.Seed == nil {
		cfg.Seed = rand.Uint64
	}
	l := &Loop{cfg: cfg, kinds: map[string]ops{}, hash: maphash.MakeSeed(), dispatchers: map[string]*dispatcher{}}
	l.quiet.L = &l.mu
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.timers = newTimerQueue(cfg.Clock, l.fired)
	for range cfg.Partitions {
		l.parts = append(l.parts, newPartition(l))
	}
	return l
}

func (l *Loop) register(o ops) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := o.name()
	switch {
	case l.started:
		panic("durable: kind " + name + " is registered after Start")
	case name == "" || strings.Contains(name, "/"):
		panic("durable: kind " + strconv.Quote(name) + " cannot be a name")
	case l.kinds[name] != nil:
		panic("durable: kind " + name + " is registered twice")
	}
	l.kinds[name] = o
	l.dispatchers[name] = &dispatcher{loop: l, ops: o}
}

// Start recovers what the store holds and returns when every entity can be reached: timers are set, the outbox is being
// dispatched again, and Opened has run for what is not closed.
func (l *Loop) Start(ctx context.Context) error {
	l.mu.Lock()
	if l.started {
		l.mu.Unlock()
		panic("durable: Start twice")
	}
	l.started = true
	l.mu.Unlock()
	for _, p := range l.parts {
		go p.run()
	}
	var resumed []store.ID
	for t, err := range l.cfg.Store.Timers(ctx) {
		if err != nil {
			return fmt.Errorf("read timers: %w", err)
		}
		if l.kinds[t.Entity.Kind()] == nil {
			l.cfg.Log.Warn("timer of an unknown kind", "entity", t.Entity, "timer", t.Name)
			continue
		}
		if t.Name == moreTimer {
			resumed = append(resumed, t.Entity)
			continue
		}
		l.timers.set(timerKey{t.Entity, t.Name}, t.Due)
	}
	again, err := l.readOutbox(ctx)
	if err != nil {
		return fmt.Errorf("read outbox: %w", err)
	}
	for _, id := range resumed { // after the outbox is read: what they bring about is dispatched once
		l.post(id, func(p *partition) { p.resume(id) })
	}
	var opened sync.WaitGroup
	for name, o := range l.kinds {
		if !o.opens() {
			continue
		}
		for id, err := range l.cfg.Store.OpenEntities(ctx, name) {
			if err != nil {
				return fmt.Errorf("read open entities of kind %s: %w", name, err)
			}
			opened.Add(1)
			l.post(id, func(p *partition) {
				defer opened.Done()
				p.accept(id, &input{label: "opened", opened: true, finish: l.logged("open", id)})
			})
		}
	}
	opened.Wait()
	l.timers.start()
	for _, f := range again {
		f()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Stop refuses further inputs, cancels the dispatches, and returns when all that was accepted is committed and all is
// quiet. What was not finished stays in the outbox for the next Start.
func (l *Loop) Stop() {
	l.mu.Lock()
	l.stopping = true
	started := l.started
	l.mu.Unlock()
	l.timers.stop()
	l.cancel()
	if !started {
		return
	}
	l.mu.Lock()
	for l.busy > 0 {
		l.quiet.Wait()
	}
	l.mu.Unlock()
	for _, p := range l.parts {
		p.close()
	}
	for _, p := range l.parts {
		<-p.ended
	}
}

// leaving says whether nothing new should begin.
func (l *Loop) leaving() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopping || l.failed != nil
}

func (l *Loop) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// fatal ends the loop: what was decided but not committed is lost, as it would be by kill -9, and nobody heard of it.
func (l *Loop) fatal(err error) {
	l.mu.Lock()
	first := l.failed == nil
	if first {
		l.failed = err
	}
	l.mu.Unlock()
	if !first {
		return
	}
	l.timers.stop()
	l.cancel()
	l.cfg.Log.Error("the store failed", "err", err)
	if l.cfg.Fatal != nil {
		go l.cfg.Fatal(err)
	}
}

func (l *Loop) begin() {
	l.mu.Lock()
	l.busy++
	l.mu.Unlock()
}

func (l *Loop) end() {
	l.mu.Lock()
	if l.busy--; l.busy == 0 {
		l.quiet.Broadcast()
	}
	l.mu.Unlock()
}

func (l *Loop) partition(id store.ID) *partition {
	return l.parts[maphash.String(l.hash, string(id))%uint64(len(l.parts))]
}

// post has f run on the partition of id.
func (l *Loop) post(id store.ID, f func(p *partition)) {
	l.begin()
	l.partition(id).post(f)
}

// submit posts an input from outside, unless the loop is not open to them.
func (l *Loop) submit(id store.ID, in *input) error {
	l.mu.Lock()
	switch {
	case l.failed != nil:
		err := l.failed
		l.mu.Unlock()
		return err
	case !l.started || l.stopping:
		l.mu.Unlock()
		return ErrStopped
	}
	l.busy++
	l.mu.Unlock()
	l.partition(id).post(func(p *partition) { p.accept(id, in) })
	return nil
}

// fired is the timer queue's way to the partitions.
func (l *Loop) fired(key timerKey, gen uint64, due time.Time) {
	in := &input{label: "timer/" + key.name, timer: key.name, gen: gen, due: due}
	in.finish = l.insist(key.entity, in, "timer")
	l.post(key.entity, func(p *partition) { p.accept(key.entity, in) })
}

// insist is the finish of an input that nobody waits for: when it failed it is given again after a pause.
func (l *Loop) insist(id store.ID, in *input, what string) func(any, error) {
	pause := firstPause
	return func(_ any, err error) {
		if err == nil || !in.failed || l.leaving() {
			return
		}
		l.cfg.Log.Error("input failed", "entity", id, "input", in.label, "what", what, "again_in", pause, "err", err)
		l.cfg.Clock.AfterFunc(pause, func() {
			if !l.leaving() {
				l.post(id, func(p *partition) { p.accept(id, in) })
			}
		})
		pause = min(pause*2, longestPause)
	}
}

func (l *Loop) logged(what string, id store.ID) func(any, error) {
	return func(_ any, err error) {
		if err != nil && !l.leaving() {
			l.cfg.Log.Error("input failed", "entity", id, "what", what, "err", err)
		}
	}
}

// messageKey is the request key of a command or message.
func messageKey(id store.ID, number uint64, ordinal int) string {
	return string(id) + "/" + strconv.FormatUint(number, 10) + "/" + strconv.Itoa(ordinal)
}

// readOutbox makes a function of each message that carries it out again.
func (l *Loop) readOutbox(ctx context.Context) ([]func(), error) {
	var again []func()
	var commands []any
	var sends []Send
	var entity store.ID
	var number uint64
	for m, err := range l.cfg.Store.Outbox(ctx) {
		if err != nil {
			return nil, err
		}
		o := l.kinds[m.Entity.Kind()]
		if o == nil {
			l.cfg.Log.Warn("outbox message of an unknown kind", "key", m.Key)
			continue
		}
		if m.Entity != entity || m.Record != number { // messages of a record follow each other
			entity, number, commands, sends = m.Entity, m.Record, nil, nil
			for r, err := range l.cfg.Store.Journal(ctx, entity, number-1) {
				if err != nil {
					return nil, err
				}
				if commands, sends, err = o.messages(r); err != nil {
					return nil, fmt.Errorf("%s: record %d: %w", entity, number, err)
				}
				break
			}
		}
		ordinal, err := strconv.Atoi(m.Key[strings.LastIndexByte(m.Key, '/')+1:])
		switch {
		case err == nil && ordinal < len(commands):
			j := job{id: m.Entity, key: m.Key, command: commands[ordinal]}
			again = append(again, func() { l.dispatchers[m.Entity.Kind()].start(j) })
		case err == nil && ordinal < len(commands)+len(sends):
			send := sends[ordinal-len(commands)]
			again = append(again, func() { l.send(m.Key, send) })
		default:
			return nil, fmt.Errorf("outbox message %s is not in its record", m.Key)
		}
	}
	return again, nil
}

// send delivers a message to another entity; its record and the mark that it was delivered are one batch.
func (l *Loop) send(key string, s Send) {
	if l.leaving() {
		return
	}
	in := &input{id: s.ID, named: s.ID != "", label: s.ID, body: s.Body, done: []string{key}}
	if !in.named {
		in.id, in.label = key, key
	}
	in.finish = l.insist(s.To, in, "message")
	l.post(s.To, func(p *partition) { p.accept(s.To, in) })
}
