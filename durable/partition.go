package durable

import (
	"container/list"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

const (
	snapshotFacts = 256
	snapshotBytes = 1 << 20
	// keptAnswers bounds how many named inputs of an entity are remembered for dropping duplicates.
	keptAnswers = 4096
)

// input is an Input on its way through the loop, without the types of its kind.
type input struct {
	id         string
	named      bool   // id was chosen by the sender: duplicates are dropped, across restarts too
	label      string // Record.Input
	by         identity.Principal
	requestKey string
	body       any      // I
	done       []string // outbox messages that end with this input's record
	timer      string   // this is the timer of that name…
	gen        uint64   // …in this setting; 0: no timer
	due        time.Time
	more       bool // this is Kind.Continue
	opened     bool // ask Kind.Opened for the body
	view       func(state any)
	forget     *forgetting
	broken     error // this stands for an input whose decision failed with it
	// finish is called once, on the partition, after the commit. failed says that err means that nothing was decided
	// or committed, so that the input may be given again.
	finish func(reply any, err error)
	failed bool
}

type forgetting struct {
	rows []store.RowChange
	due  func(state any) bool // nil: whatever the state is
}

func (in *input) fail(err error) {
	in.failed = true
	in.finish(nil, err)
}

// answer is what a named input was told.
type answer struct {
	ID      string          `json:"id"`
	Reply   json.RawMessage `json:"r,omitempty"`
	Refused string          `json:"e,omitempty"`
	reply   any             // as it was given, in this process
	err     error
	live    bool // reply and err are set
}

func (a *answer) give() (any, error) {
	switch {
	case a.live:
		return a.reply, a.err
	case a.Refused != "":
		return nil, fmt.Errorf("%w: %s", ErrRepeated, a.Refused)
	case a.Reply != nil:
		return a.Reply, nil
	}
	return nil, nil
}

// entity is what the loop knows of one entity. Everything in it runs ahead of the commits.
type entity struct {
	id      store.ID
	ops     ops
	state   any // *S; nil: to be loaded
	number  uint64
	at      time.Time
	closed  bool
	answers map[string]*answer
	named   []string // the keys of answers, the oldest first
	facts   int      // since the snapshot
	bytes   int      // since the snapshot
	size    int      // bytes folded into state, for the cache

	pending    []*pending
	continuing bool     // a decision said More: one Continue is on its way
	suspended  bool     // what is pending must settle before the state can be loaded again
	failing    bool     // a pending commit failed: the ones after it fail with it and are decided again
	again      []*input // these
	undo       []undo
	queue      []*input // what waits for suspended to end
	elem       *list.Element
}

func (e *entity) idle() bool {
	return len(e.pending) == 0 && !e.continuing && !e.suspended && len(e.queue) == 0
}

type undo struct {
	key timerKey
	was timerState
}

// pending is a decision whose batch is on its way to the disk.
type pending struct {
	in         *input
	number     uint64
	out        outcome
	undo       []undo
	continuing bool // of the entity before it
	continues  bool // Continue follows it
	waiters    []waiter
}

// waiter is an input that was answered without a change, but on top of what is pending.
type waiter struct {
	in    *input
	reply any
	err   error
}

// partition decides for its share of the entities, one input at a time.
type partition struct {
	loop  *Loop
	ended chan struct{}

	mu     sync.Mutex
	wake   sync.Cond
	inbox  []func(*partition)
	closed bool

	entities map[store.ID]*entity
	open     list.List // of *entity, the most recently used first
	shut     list.List // the closed ones
	size     int
}

func newPartition(l *Loop) *partition {
	p := &partition{loop: l, ended: make(chan struct{}), entities: map[store.ID]*entity{}}
	p.wake.L = &p.mu
	return p
}

func (p *partition) post(f func(*partition)) {
	p.mu.Lock()
	p.inbox = append(p.inbox, f)
	p.mu.Unlock()
	p.wake.Signal()
}

func (p *partition) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wake.Signal()
}

func (p *partition) run() {
	defer close(p.ended)
	var batch []func(*partition)
	for {
		p.mu.Lock()
		for len(p.inbox) == 0 && !p.closed {
			p.wake.Wait()
		}
		batch, p.inbox = p.inbox, batch[:0]
		closed := p.closed
		p.mu.Unlock()
		if len(batch) == 0 && closed {
			for _, e := range p.entities {
				p.abandon(e, ErrStopped)
			}
			return
		}
		for i, f := range batch {
			f(p)
			batch[i] = nil
			p.loop.end()
		}
		p.evict()
	}
}

func (p *partition) entity(id store.ID) *entity {
	e := p.entities[id]
	if e == nil {
		e = &entity{id: id, ops: p.loop.kinds[id.Kind()]}
		p.entities[id] = e
	}
	p.touch(e)
	return e
}

// touch puts e at the front of its list.
func (p *partition) touch(e *entity) {
	to := &p.open
	if e.closed {
		to = &p.shut
	}
	if e.elem != nil {
		p.open.Remove(e.elem) // a list ignores the elements of others
		p.shut.Remove(e.elem)
	}
	e.elem = to.PushFront(e)
}

func (p *partition) forget(e *entity) {
	p.open.Remove(e.elem)
	p.shut.Remove(e.elem)
	p.resize(e, 0)
	delete(p.entities, e.id)
}

func (p *partition) resize(e *entity, size int) {
	p.size += size - e.size
	e.size = size
}

// abandon answers what waits for a turn that will not come.
func (p *partition) abandon(e *entity, err error) {
	queue := e.queue
	e.queue = nil
	for _, in := range queue {
		in.fail(err)
	}
}

// evict drops states from memory: of closed entities those beyond their share, and of all what is too much.
func (p *partition) evict() {
	c, n := &p.loop.cfg, len(p.loop.parts)
	tries := 64 // there may be many that cannot go
	for _, l := range []*list.List{&p.shut, &p.open} {
		for elem := l.Back(); elem != nil && tries > 0; {
			if len(p.entities) <= c.CacheEntities/n && p.size <= c.CacheBytes/n && (l == &p.open || l.Len() <= c.CacheClosed/n) {
				break
			}
			e := elem.Value.(*entity)
			elem = elem.Prev()
			if e.idle() {
				p.forget(e)
			} else {
				tries--
			}
		}
	}
}

// accept takes an input for the entity, now or when its turn comes.
func (p *partition) accept(id store.ID, in *input) {
	in.failed = false
	e := p.entity(id)
	e.queue = append(e.queue, in)
	p.pump(e)
}

// resume has the entity go on with a decision that said More before the restart.
func (p *partition) resume(id store.ID) {
	e := p.entity(id)
	e.continuing = true
	p.continued(e)
}

func (p *partition) continued(e *entity) {
	in := &input{label: "continue", more: true}
	in.finish = p.loop.insist(e.id, in, "continue")
	p.loop.post(e.id, func(p *partition) { p.accept(e.id, in) })
}

// pump takes the inputs whose turn it is.
func (p *partition) pump(e *entity) {
	for !e.suspended && len(e.queue) > 0 {
		in := e.queue[0]
		e.queue[0] = nil
		if e.queue = e.queue[1:]; len(e.queue) == 0 {
			e.queue = nil
		}
		p.step(e, in)
	}
	if e.number == 0 && e.idle() {
		p.forget(e)
	}
}

// step decides one input and sends its batch to the store.
func (p *partition) step(e *entity, in *input) {
	l := p.loop
	if err := l.failure(); err != nil {
		in.fail(err)
		return
	}
	if in.forget != nil && in.forget.due == nil {
		p.drop(e, in)
		return
	}
	if err := p.load(e); err != nil {
		in.fail(err)
		return
	}
	if in.forget != nil {
		if e.number > 0 && !in.forget.due(e.state) {
			p.answerAfterPending(e, in, nil, nil)
			return
		}
		p.drop(e, in)
		return
	}
	if in.view != nil {
		if e.number == 0 {
			p.answerAfterPending(e, in, nil, store.ErrNotFound)
			return
		}
		in.view(e.state)
		p.answerAfterPending(e, in, nil, nil)
		return
	}
	var undos []undo
	var clear []store.Timer
	if in.gen != 0 {
		key := timerKey{e.id, in.timer}
		was, ok := l.timers.take(key, in.gen)
		if !ok {
			in.finish(nil, nil) // moved or cleared meanwhile
			return
		}
		undos = append(undos, undo{key, was})
		clear = append(clear, store.Timer{Entity: e.id, Name: in.timer})
	}
	if in.more {
		clear = append(clear, store.Timer{Entity: e.id, Name: moreTimer})
	}
	if a := e.answers[in.id]; in.named && a != nil {
		if len(in.done) > 0 {
			p.commit(e, &pending{in: in}, store.Batch{Done: in.done})
			return
		}
		reply, err := a.give()
		p.answerAfterPending(e, in, reply, err)
		return
	}

	at := l.cfg.Clock.Now().Round(0)
	for _, t := range []time.Time{e.at, in.due} {
		if at.Before(t) {
			at = t
		}
	}
	env := Env{Now: at, Seed: l.cfg.Seed(), Budget: l.cfg.Budget}
	out, err := e.ops.decide(l.ctx, e.id, e.state, in, env)
	if err == nil {
		err = p.check(e, &out)
	}
	if err != nil {
		p.broken(e, in, undos, err)
		return
	}
	if in.opened && out.none {
		in.finish(nil, nil)
		return
	}

	if out.factCount == 0 && e.closed {
		out.closed = true // an input that changes nothing reopens nothing
	}
	pd := &pending{in: in, out: out, undo: undos, continuing: e.continuing}
	if in.more {
		e.continuing = false
	}
	if out.more && !e.continuing {
		e.continuing, pd.continues = true, true
	}
	batch := store.Batch{Rows: out.rows, ClearTimers: clear, Done: in.done}
	for _, name := range out.clearTimers {
		key := timerKey{e.id, name}
		pd.undo = append(pd.undo, undo{key, l.timers.clear(key)})
		batch.ClearTimers = append(batch.ClearTimers, store.Timer{Entity: e.id, Name: name})
	}
	for _, t := range out.setTimers {
		key := timerKey{e.id, t.Name}
		due := t.Due.Round(0)
		pd.undo = append(pd.undo, undo{key, l.timers.set(key, due)})
		batch.SetTimers = append(batch.SetTimers, store.Timer{Entity: e.id, Name: t.Name, Due: due})
	}
	if pd.continues {
		batch.SetTimers = append(batch.SetTimers, store.Timer{Entity: e.id, Name: moreTimer, Due: at})
	}
	if in.requestKey != "" && out.err == nil && in.broken == nil {
		batch.Receipts = []store.Receipt{{Key: receiptKey(e.id.Kind(), in.requestKey), Answer: out.answer, Expires: at.Add(store.ReceiptLife)}}
	}
	if in.named {
		p.remember(e, &answer{ID: in.id, Reply: out.answer, reply: out.reply, err: out.err, live: true})
	}

	if out.changes() || e.number > 0 && (in.named || out.closed != e.closed) {
		e.number++
		pd.number = e.number
		e.at = at
		e.closed = out.closed
		batch.Record = &store.Record{
			Entity: e.id, Number: e.number, Epoch: l.cfg.Epoch, Input: in.label, At: at, Body: out.body, Version: out.version,
		}
		batch.Closed = out.closed
		for i := range len(out.commands) + len(out.sends) {
			key := messageKey(e.id, e.number, i)
			batch.Outbox = append(batch.Outbox, store.Message{Key: key, Entity: e.id, Record: e.number})
		}
		e.facts += out.factCount
		e.bytes += len(out.body)
		p.resize(e, e.size+len(out.body))
		if e.facts >= snapshotFacts || e.bytes >= snapshotBytes {
			if b := p.snapshot(e); b != nil {
				batch.Snapshot = b
				p.resize(e, len(b))
			}
			e.facts, e.bytes = 0, 0
		}
		p.touch(e)
	}
	if batch.Record == nil && len(batch.Rows)+len(batch.ClearTimers)+len(batch.SetTimers)+len(batch.Receipts)+len(batch.Done) == 0 {
		p.answerAfterPending(e, in, out.reply, out.err)
		return
	}
	p.commit(e, pd, batch)
}

// drop forgets an entity, and the store judges whether that can be. What comes next is decided as if it had never been;
// should the store refuse, that is taken back like every decision.
func (p *partition) drop(e *entity, in *input) {
	p.reset(e)
	e.state = e.ops.fresh(e.id)
	p.resize(e, 0)
	p.touch(e)
	p.commit(e, &pending{in: in, continuing: e.continuing}, store.Batch{Forget: e.id, Rows: in.forget.rows})
}

// reset makes e an entity without records.
func (p *partition) reset(e *entity) {
	e.number, e.at, e.closed, e.answers, e.named, e.facts, e.bytes = 0, time.Time{}, false, nil, nil, 0, 0
}

// check finds what a decision asks for that cannot be done.
func (p *partition) check(e *entity, out *outcome) error {
	for i, s := range out.sends {
		to := p.loop.kinds[s.To.Kind()]
		if to == nil {
			return fmt.Errorf("send to %s: no such kind", s.To)
		}
		body, err := to.inputBody(s.Body)
		if err != nil {
			return fmt.Errorf("send to %s: %w", s.To, err)
		}
		out.sends[i].Body = body
	}
	if len(out.setTimers) > 0 && !e.ops.hasTimers() {
		return errors.New("the kind sets timers and has no Timer func")
	}
	if out.more && !e.ops.continues() {
		return errors.New("the decision says More and the kind has no Continue func")
	}
	return nil
}

func (p *partition) remember(e *entity, a *answer) {
	if e.answers == nil {
		e.answers = map[string]*answer{}
	}
	if e.answers[a.ID] == nil {
		e.named = append(e.named, a.ID)
	}
	e.answers[a.ID] = a
	if len(e.named) > keptAnswers {
		delete(e.answers, e.named[0])
		e.named = e.named[1:]
	}
}

// answerAfterPending finishes an input that changes nothing. What it was told may rest on what is not yet durable.
func (p *partition) answerAfterPending(e *entity, in *input, reply any, err error) {
	if n := len(e.pending); n > 0 {
		e.pending[n-1].waiters = append(e.pending[n-1].waiters, waiter{in, reply, err})
		return
	}
	in.finish(reply, err)
}

func (p *partition) commit(e *entity, pd *pending, batch store.Batch) {
	e.pending = append(e.pending, pd)
	p.loop.begin()
	p.loop.cfg.Store.CommitAsync(batch, func(err error) {
		p.loop.begin()
		p.post(func(p *partition) { p.committed(e, err) })
		p.loop.end()
	})
}

// committed goes on after the oldest pending batch of e: only now does anybody hear of it.
func (p *partition) committed(e *entity, err error) {
	l := p.loop
	pd := e.pending[0]
	e.pending[0] = nil
	e.pending = e.pending[1:]
	switch {
	case err == nil:
		if pd.out.factCount > 0 {
			p.announce(e, pd.out.facts)
		}
		reply, err := pd.out.reply, pd.out.err
		if a := e.answers[pd.in.id]; pd.number == 0 && pd.in.named && a != nil {
			reply, err = a.give()
		}
		if pd.in.broken != nil {
			reply, err = nil, pd.in.broken
		}
		pd.in.finish(reply, err)
		for _, w := range pd.waiters {
			w.in.finish(w.reply, w.err)
		}
		if pd.number > 0 {
			for i, c := range pd.out.commands {
				l.dispatchers[e.id.Kind()].start(job{id: e.id, key: messageKey(e.id, pd.number, i), command: c})
			}
			for i, s := range pd.out.sends {
				l.send(messageKey(e.id, pd.number, len(pd.out.commands)+i), s)
			}
		}
		if pd.continues && !l.leaving() {
			p.continued(e)
		}
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrFenced):
		e.undo = append(e.undo, pd.undo...)
		e.state = nil
		e.suspended = true
		if e.failing {
			e.again = append(e.again, pd.in)
		} else {
			e.failing = true
			e.continuing = pd.continuing
			pd.in.fail(fmt.Errorf("commit %s: %w", e.id, err))
		}
		for _, w := range pd.waiters {
			e.again = append(e.again, w.in)
		}
	default:
		err = fmt.Errorf("commit %s: %w", e.id, err)
		l.fatal(err)
		e.state = nil
		pd.in.fail(err)
		for _, w := range pd.waiters {
			w.in.fail(err)
		}
		p.abandon(e, err)
	}
	if e.suspended && len(e.pending) == 0 {
		for _, u := range slices.Backward(e.undo) {
			l.timers.restore(u.key, u.was)
		}
		e.queue = append(e.again, e.queue...)
		e.suspended, e.failing, e.again, e.undo = false, false, nil, nil
		p.pump(e)
	} else if e.number == 0 && e.idle() {
		p.forget(e)
	}
}

// announce tells the kind of committed facts. Where the state was dropped it shows what is durable.
func (p *partition) announce(e *entity, facts any) {
	dropped := e.state == nil
	if p.load(e) != nil {
		return
	}
	p.guard(e, func() { e.ops.committed(e.id, e.state, facts) })
	if dropped && e.suspended {
		e.state = nil
	}
}

// guard runs code of the kind that cannot be allowed to end the partition.
func (p *partition) guard(e *entity, f func()) {
	defer func() {
		if v := recover(); v != nil {
			p.loop.cfg.Log.Error("panic", "entity", e.id, "err", v)
		}
	}()
	f()
}

// broken handles an input that the core could not decide: the state is folded anew, and the kind may say what becomes
// of the entity.
func (p *partition) broken(e *entity, in *input, undos []undo, err error) {
	for _, u := range slices.Backward(undos) {
		p.loop.timers.restore(u.key, u.was)
	}
	e.state = nil
	e.suspended = len(e.pending) > 0
	err = fmt.Errorf("%s: input %s: %w", e.id, in.label, err)
	if in.broken == nil {
		p.loop.cfg.Log.Error("decision failed", "entity", e.id, "input", in.label, "err", err)
		var body any
		p.guard(e, func() { body = e.ops.broken(e.id, err) })
		if body != nil {
			instead := *in
			instead.body, instead.opened, instead.broken = body, false, err
			instead.finish = func(reply any, err error) {
				in.failed = instead.failed
				in.finish(reply, err)
			}
			e.queue = slices.Insert(e.queue, 0, &instead)
			return
		}
	}
	in.fail(err)
}

// load folds the entity's journal, from its snapshot on, when its state is not at hand.
func (p *partition) load(e *entity) error {
	if e.state != nil {
		return nil
	}
	l := p.loop
	ctx := context.Background() // a partition loads whatever it is asked for, also while the server leaves
	p.reset(e)
	size := 0
	state := e.ops.fresh(e.id)
	b, number, err := l.cfg.Store.Snapshot(ctx, e.id)
	switch {
	case err == nil:
		if s, err := p.restore(e, b); err == nil {
			state, e.number, size = s, number, len(b)
		} else {
			l.cfg.Log.Warn("snapshot is not readable, folding the whole journal", "entity", e.id, "err", err)
			e.at, e.closed, e.answers, e.named = time.Time{}, false, nil, nil
		}
	case !errors.Is(err, store.ErrNotFound):
		err = fmt.Errorf("read snapshot of %s: %w", e.id, err)
		l.fatal(err)
		return err
	}
	for r, err := range l.cfg.Store.Journal(ctx, e.id, e.number) {
		if err != nil {
			err = fmt.Errorf("read journal of %s: %w", e.id, err)
			l.fatal(err)
			return err
		}
		f, err := e.ops.fold(state, r)
		if err != nil {
			return fmt.Errorf("%s: record %d: %w", e.id, r.Number, err)
		}
		e.number, e.at, e.closed = r.Number, r.At, f.closed
		e.facts += f.facts
		e.bytes += len(r.Body)
		size += len(r.Body)
		if f.named {
			f.answer.ID = r.Input
			p.remember(e, &f.answer)
		}
	}
	e.state = state
	p.resize(e, size)
	p.touch(e)
	return nil
}

// envelope is what the loop itself needs in a snapshot; the state's bytes follow it.
type envelope struct {
	At      time.Time `json:"at"`
	Closed  bool      `json:"x,omitempty"`
	Answers []*answer `json:"a,omitempty"`
}

func (p *partition) snapshot(e *entity) []byte {
	state, err := e.ops.marshal(e.state)
	if state == nil && err == nil {
		return nil
	}
	env := envelope{At: e.at, Closed: e.closed}
	for _, id := range e.named {
		a := *e.answers[id]
		if a.live && a.err != nil {
			a.Refused = a.err.Error()
		}
		env.Answers = append(env.Answers, &a)
	}
	head, err2 := json.Marshal(env)
	if err = errors.Join(err, err2); err != nil {
		p.loop.cfg.Log.Warn("snapshot failed", "entity", e.id, "err", err)
		return nil
	}
	b := binary.AppendUvarint(make([]byte, 0, len(head)+len(state)+8), uint64(len(head)))
	return append(append(b, head...), state...)
}

func (p *partition) restore(e *entity, b []byte) (any, error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, errors.New("cut short")
	}
	var env envelope
	if err := json.Unmarshal(b[size:size+int(n)], &env); err != nil {
		return nil, err
	}
	state, err := e.ops.unmarshal(e.id, b[size+int(n):])
	if err != nil {
		return nil, err
	}
	e.at, e.closed = env.At, env.Closed
	for _, a := range env.Answers {
		p.remember(e, a)
	}
	return state, nil
}
