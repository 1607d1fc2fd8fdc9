// Package memory is a store that forgets: for Express executions, for tests, and as the model that the other stores are
// compared with. It keeps every promise of package store except to survive the process.
package memory

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mayfly-run/mayfly/store"
)

// ErrClosed answers what comes after Close.
var ErrClosed = errors.New("store is closed")

type journal struct {
	records   []store.Record
	closed    bool
	snapshot  []byte
	snapshotN uint64
}

type row struct {
	store.Row
	index []store.IndexEntry
}

type timerKey struct {
	entity store.ID
	name   string
}

type message struct {
	store.Message
	order uint64
}

type queued struct {
	batch store.Batch
	done  func(error)
}

// Store is a store.Store in memory. Use New.
type Store struct {
	mu       sync.RWMutex
	version  int64
	order    uint64
	entities map[store.ID]*journal
	rows     map[store.Key]*row
	timers   map[timerKey]store.Timer
	outbox   map[string]message
	receipts map[string]store.Receipt
	secrets  map[string][]byte
	forgets  bool // closed entities

	queueMu sync.Mutex
	queue   []queued
	more    chan struct{} // holds one token while queue may be non-empty
	closed  bool
	ended   chan struct{}
}

var _ store.Store = (*Store)(nil)

// New makes an empty store, whose committer runs until Close.
func New() *Store { return start(false) }

// NewForgetting makes one that drops an entity's records once it is closed: for what nobody asks about after its end,
// so that a server may run any number of such entities. An input that comes later finds an entity without records.
func NewForgetting() *Store { return start(true) }

func start(forgets bool) *Store {
	s := &Store{
		forgets:  forgets,
		entities: map[store.ID]*journal{},
		rows:     map[store.Key]*row{},
		timers:   map[timerKey]store.Timer{},
		outbox:   map[string]message{},
		receipts: map[string]store.Receipt{},
		secrets:  map[string][]byte{},
		more:     make(chan struct{}, 1),
		ended:    make(chan struct{}),
	}
	go s.commitLoop()
	return s
}

// Close ends the committer after what was queued.
func (s *Store) Close() error {
	s.queueMu.Lock()
	already := s.closed
	s.closed = true
	s.queueMu.Unlock()
	if !already {
		close(s.more)
	}
	<-s.ended
	return nil
}

// Commit is CommitAsync and a wait.
func (s *Store) Commit(ctx context.Context, b store.Batch) error {
	done := make(chan error, 1)
	s.CommitAsync(b, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CommitAsync queues b for the committer.
func (s *Store) CommitAsync(b store.Batch, done func(error)) {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	if s.closed {
		go done(ErrClosed)
		return
	}
	s.queue = append(s.queue, queued{b, done})
	select {
	case s.more <- struct{}{}:
	default:
	}
}

func (s *Store) commitLoop() {
	defer close(s.ended)
	for open := true; open; {
		_, open = <-s.more
		s.queueMu.Lock()
		queue := s.queue
		s.queue = nil
		s.queueMu.Unlock()
		for _, q := range queue {
			q.done(s.apply(q.batch))
		}
	}
}

// apply checks every condition against what stands before the batch, then writes; so nothing is ever half done.
func (s *Store) apply(b store.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := b.Record; r != nil {
		var last, epoch uint64
		if j := s.entities[r.Entity]; j != nil {
			last = uint64(len(j.records))
			epoch = j.records[last-1].Epoch
		}
		if r.Epoch < epoch {
			return store.ErrFenced
		}
		if r.Number != last+1 {
			return store.ErrConflict
		}
	}
	if b.Forget != "" && (b.Record != nil && b.Record.Entity == b.Forget || s.busy(b.Forget)) {
		return store.ErrConflict
	}
	for _, c := range b.Rows {
		have := s.rows[c.Key]
		switch {
		case c.IfVersion == store.AnyVersion:
		case c.IfVersion == store.Absent && have == nil:
		case have != nil && have.Version == c.IfVersion:
		default:
			return store.ErrConflict
		}
	}
	for _, r := range b.Receipts {
		if _, ok := s.receipts[r.Key]; ok {
			return store.ErrConflict
		}
	}

	if r := b.Record; r != nil {
		j := s.entities[r.Entity]
		if j == nil {
			j = &journal{}
			s.entities[r.Entity] = j
		}
		c := *r
		c.Body = bytes.Clone(r.Body)
		c.At = r.At.UTC()
		j.records = append(j.records, c)
		j.closed = b.Closed
		if b.Snapshot != nil {
			j.snapshot, j.snapshotN = bytes.Clone(b.Snapshot), r.Number
		}
		if b.Closed && s.forgets {
			delete(s.entities, r.Entity)
		}
	}
	delete(s.entities, b.Forget)
	for _, c := range b.Rows {
		if c.Delete {
			delete(s.rows, c.Key)
			continue
		}
		s.version++
		s.rows[c.Key] = &row{store.Row{Key: c.Key, Value: bytes.Clone(c.Value), Version: s.version}, slices.Clone(c.Index)}
	}
	for _, t := range b.ClearTimers {
		delete(s.timers, timerKey{t.Entity, t.Name})
	}
	for _, t := range b.SetTimers {
		t.Due = t.Due.UTC()
		s.timers[timerKey{t.Entity, t.Name}] = t
	}
	for _, r := range b.Receipts {
		r.Answer = bytes.Clone(r.Answer)
		if !r.Expires.IsZero() {
			r.Expires = r.Expires.UTC()
		}
		s.receipts[r.Key] = r
	}
	for _, m := range b.Outbox {
		s.order++
		m.Body = bytes.Clone(m.Body)
		s.outbox[m.Key] = message{m, s.order}
	}
	for _, key := range b.Done {
		delete(s.outbox, key)
	}
	return nil
}

// busy says whether an entity cannot be forgotten yet.
func (s *Store) busy(id store.ID) bool {
	if j := s.entities[id]; j != nil && !j.closed {
		return true
	}
	for k := range s.timers {
		if k.entity == id {
			return true
		}
	}
	for _, m := range s.outbox {
		if m.Entity == id {
			return true
		}
	}
	return false
}

// Get reads one row.
func (s *Store) Get(ctx context.Context, k store.Key) (store.Row, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.rows[k]
	if r == nil {
		return store.Row{}, store.ErrNotFound
	}
	return clone(r.Row), nil
}

func clone(r store.Row) store.Row {
	r.Value = bytes.Clone(r.Value)
	return r
}

// List lists rows in the order of Query.
func (s *Store) List(ctx context.Context, q store.Query) ([]store.Found, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	type hit struct {
		row    *row
		cursor []string
	}
	var hits []hit
	var after []string
	if q.After != "" {
		var err error
		if after, err = store.SplitCursor(q.After); err != nil {
			return nil, err
		}
	}
	add := func(r *row, sort string) {
		k := r.Key
		hits = append(hits, hit{r, []string{k.Account, k.Region, sort, k.ID}})
	}
	for k, r := range s.rows {
		switch {
		case k.Service != q.Service || k.Kind != q.Kind:
		case q.Account != "" && k.Account != q.Account, q.Region != "" && k.Region != q.Region:
		case q.Index == "":
			if strings.HasPrefix(k.ID, q.Prefix) {
				add(r, "")
			}
		default:
			for _, e := range r.index {
				if e.Name == q.Index && strings.HasPrefix(e.Sort, q.SortPrefix) {
					add(r, e.Sort)
				}
			}
		}
	}
	slices.SortFunc(hits, func(a, b hit) int {
		if q.Descending {
			a, b = b, a
		}
		return slices.Compare(a.cursor, b.cursor)
	})
	var out []store.Found
	for _, h := range hits {
		if after != nil {
			c := slices.Compare(h.cursor, after)
			if q.Descending && c >= 0 || !q.Descending && c <= 0 {
				continue
			}
		}
		found := h.row.Row
		if q.KeysOnly {
			found.Value = nil
		}
		out = append(out, store.Found{Row: clone(found), Cursor: store.JoinCursor(h.cursor...)})
		if len(out) == q.Limit {
			break
		}
	}
	return out, nil
}

// Journal yields records as they stand when it is first asked.
func (s *Store) Journal(ctx context.Context, entity store.ID, after uint64) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		s.mu.RLock()
		var records []store.Record
		if j := s.entities[entity]; j != nil && after < uint64(len(j.records)) {
			records = j.records[after:len(j.records):len(j.records)]
		}
		s.mu.RUnlock()
		for _, r := range records {
			if err := ctx.Err(); err != nil {
				yield(store.Record{}, err)
				return
			}
			r.Body = bytes.Clone(r.Body)
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Snapshot returns the entity's newest snapshot.
func (s *Store) Snapshot(ctx context.Context, entity store.ID) ([]byte, uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	j := s.entities[entity]
	if j == nil || j.snapshot == nil {
		return nil, 0, store.ErrNotFound
	}
	return bytes.Clone(j.snapshot), j.snapshotN, nil
}

// OpenEntities lists what is not closed.
func (s *Store) OpenEntities(ctx context.Context, kind string) iter.Seq2[store.ID, error] {
	return func(yield func(store.ID, error) bool) {
		s.mu.RLock()
		var ids []store.ID
		for id, j := range s.entities {
			if !j.closed && id.Kind() == kind {
				ids = append(ids, id)
			}
		}
		s.mu.RUnlock()
		slices.Sort(ids)
		each(ctx, ids, yield)
	}
}

// Timers lists all timers, the earliest first.
func (s *Store) Timers(ctx context.Context) iter.Seq2[store.Timer, error] {
	return func(yield func(store.Timer, error) bool) {
		s.mu.RLock()
		timers := slices.SortedFunc(maps.Values(s.timers), func(a, b store.Timer) int {
			return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Entity, b.Entity), cmp.Compare(a.Name, b.Name))
		})
		s.mu.RUnlock()
		each(ctx, timers, yield)
	}
}

// Outbox lists the messages in the order in which they were committed.
func (s *Store) Outbox(ctx context.Context) iter.Seq2[store.Message, error] {
	return func(yield func(store.Message, error) bool) {
		s.mu.RLock()
		sorted := slices.SortedFunc(maps.Values(s.outbox), func(a, b message) int { return cmp.Compare(a.order, b.order) })
		s.mu.RUnlock()
		messages := make([]store.Message, len(sorted))
		for i, m := range sorted {
			messages[i] = m.Message
			messages[i].Body = bytes.Clone(m.Body)
		}
		each(ctx, messages, yield)
	}
}

func each[T any](ctx context.Context, all []T, yield func(T, error) bool) {
	for _, v := range all {
		if err := ctx.Err(); err != nil {
			yield(*new(T), err)
			return
		}
		if !yield(v, nil) {
			return
		}
	}
}

// Receipt finds the answer to a request key.
func (s *Store) Receipt(ctx context.Context, key string) (store.Receipt, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.receipts[key]
	if !ok {
		return store.Receipt{}, store.ErrNotFound
	}
	r.Answer = bytes.Clone(r.Answer)
	return r, nil
}

// Secret makes the value on first use.
func (s *Store) Secret(ctx context.Context, name string, size int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secrets[name] == nil {
		b := make([]byte, size)
		rand.Read(b)
		s.secrets[name] = b
	}
	return bytes.Clone(s.secrets[name]), nil
}
