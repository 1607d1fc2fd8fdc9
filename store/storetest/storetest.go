// Package storetest is what every store must pass: the promises of package store one by one, and random operations
// compared with the store in memory.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

// Open opens an empty store. Reopen closes it and opens what it left behind; it is nil for a store that keeps nothing.
// The test closes what it was given last; clean removes the rest.
type Open func() (s store.Store, reopen func() store.Store, clean func())

// Run runs all of it.
func Run(t *testing.T, open Open) {
	t.Run("Records", func(t *testing.T) { with(t, open, testRecords) })
	t.Run("Forget", func(t *testing.T) { with(t, open, testForget) })
	t.Run("Rows", func(t *testing.T) { with(t, open, testRows) })
	t.Run("Listing", func(t *testing.T) { with(t, open, testListing) })
	t.Run("Whole", func(t *testing.T) { with(t, open, testWhole) })
	t.Run("Order", func(t *testing.T) { with(t, open, testOrder) })
	t.Run("Race", func(t *testing.T) { with(t, open, testRace) })
	t.Run("Secret", func(t *testing.T) { testSecret(t, open) })
	t.Run("Closed", func(t *testing.T) { testClosed(t, open) })
	t.Run("Model", func(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { model(rt, open) }) })
}

func with(t *testing.T, open Open, f func(t *testing.T, s store.Store)) {
	s, _, clean := open()
	defer clean()
	defer s.Close()
	f(t, s)
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func commit(t failer, s store.Store, b store.Batch) {
	t.Helper()
	if err := s.Commit(context.Background(), b); err != nil {
		t.Fatalf("commit %+v: %v", b, err)
	}
}

func refuse(t failer, s store.Store, b store.Batch, want error) {
	t.Helper()
	if err := s.Commit(context.Background(), b); !errors.Is(err, want) {
		t.Fatalf("commit %+v: got %v, want %v", b, err, want)
	}
}

func collect[T any](t failer, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var out []T
	for v, err := range seq {
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		out = append(out, v)
	}
	return out
}

func same(t failer, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

var epoch = time.Date(2026, 2, 3, 4, 5, 6, 789012345, time.UTC)

func record(id store.ID, number uint64) *store.Record {
	return &store.Record{
		Entity: id, Number: number, Input: fmt.Sprint("in", number), At: epoch.Add(time.Duration(number) * time.Second),
		Body: fmt.Appendf(nil, "body %d", number), Version: 1,
	}
}

func testRecords(t *testing.T, s store.Store) {
	ctx := t.Context()
	commit(t, s, store.Batch{Record: record("k/a", 1)})
	commit(t, s, store.Batch{Record: record("k/a/b", 1)})
	commit(t, s, store.Batch{Record: record("other/a", 1)})
	refuse(t, s, store.Batch{Record: record("k/a", 1)}, store.ErrConflict)
	refuse(t, s, store.Batch{Record: record("k/a", 3)}, store.ErrConflict)
	refuse(t, s, store.Batch{Record: record("k/new", 2)}, store.ErrConflict)
	commit(t, s, store.Batch{Record: record("k/a", 2), Snapshot: []byte("two")})
	commit(t, s, store.Batch{Record: record("k/a", 3), Closed: true})
	same(t, "journal", collect(t, s.Journal(ctx, "k/a", 0)), []store.Record{*record("k/a", 1), *record("k/a", 2), *record("k/a", 3)})
	same(t, "rest of the journal", collect(t, s.Journal(ctx, "k/a", 2)), []store.Record{*record("k/a", 3)})
	same(t, "no journal", collect(t, s.Journal(ctx, "k/new", 0)), []store.Record{})
	same(t, "open", collect(t, s.OpenEntities(ctx, "k")), []store.ID{"k/a/b"})
	state, number, err := s.Snapshot(ctx, "k/a")
	if string(state) != "two" || number != 2 || err != nil {
		t.Errorf("snapshot %q %d %v", state, number, err)
	}
	if _, _, err := s.Snapshot(ctx, "k/a/b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no snapshot: %v", err)
	}
	commit(t, s, store.Batch{Record: record("k/a", 4)})
	same(t, "reopened", collect(t, s.OpenEntities(ctx, "k")), []store.ID{"k/a", "k/a/b"})
	newer := record("k/a", 5)
	newer.Epoch = 7
	commit(t, s, store.Batch{Record: newer})
	refuse(t, s, store.Batch{Record: record("k/a", 6)}, store.ErrFenced)
}

func testForget(t *testing.T, s store.Store) {
	ctx := t.Context()
	commit(t, s, store.Batch{Forget: "k/unknown"})
	commit(t, s, store.Batch{Record: record("k/a", 1), Snapshot: []byte("one"), Rows: []store.RowChange{{Key: key("a"), Value: []byte("1")}}})
	refuse(t, s, store.Batch{Forget: "k/a"}, store.ErrConflict) // it is open
	timer, message := store.Timer{Entity: "k/a", Name: "t", Due: epoch}, store.Message{Key: "k/a/2/0", Entity: "k/a", Record: 2}
	commit(t, s, store.Batch{Record: record("k/a", 2), Closed: true, SetTimers: []store.Timer{timer}, Outbox: []store.Message{message}})
	commit(t, s, store.Batch{Record: record("k/a/2", 1), Outbox: []store.Message{{Key: "k/a/2/1/0", Entity: "k/a/2", Record: 1}}})
	refuse(t, s, store.Batch{Forget: "k/a"}, store.ErrConflict)
	commit(t, s, store.Batch{ClearTimers: []store.Timer{timer}})
	refuse(t, s, store.Batch{Forget: "k/a"}, store.ErrConflict)
	commit(t, s, store.Batch{Done: []string{message.Key}})
	refuse(t, s, store.Batch{Forget: "k/a", Record: record("k/a", 3)}, store.ErrConflict)
	for n := uint64(3); n < 700; n++ { // more than is removed at once
		commit(t, s, store.Batch{Record: record("k/a", n), Closed: true})
	}
	commit(t, s, store.Batch{Forget: "k/a", Rows: []store.RowChange{{Key: key("a"), Delete: true}}})
	for range 2 {
		same(t, "journal", collect(t, s.Journal(ctx, "k/a", 0)), []store.Record{})
		same(t, "open", collect(t, s.OpenEntities(ctx, "k")), []store.ID{"k/a/2"})
		if _, _, err := s.Snapshot(ctx, "k/a"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("snapshot: %v", err)
		}
		if _, err := s.Get(ctx, key("a")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("row: %v", err)
		}
		commit(t, s, store.Batch{Forget: "k/a"})
	}
	refuse(t, s, store.Batch{Record: record("k/a", 700)}, store.ErrConflict)
	commit(t, s, store.Batch{Record: record("k/a", 1)}) // the name is free
	same(t, "new journal", collect(t, s.Journal(ctx, "k/a", 0)), []store.Record{*record("k/a", 1)})
}

func key(id string) store.Key {
	return store.Key{Account: "000000000000", Region: "us-east-1", Service: "sns", Kind: "topic", ID: id}
}

func testRows(t *testing.T, s store.Store) {
	ctx := t.Context()
	if _, err := s.Get(ctx, key("a")); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("no row: %v", err)
	}
	put := func(id, value string, version int64) store.Batch {
		return store.Batch{Rows: []store.RowChange{{Key: key(id), Value: []byte(value), IfVersion: version}}}
	}
	commit(t, s, put("a", "1", store.Absent))
	refuse(t, s, put("a", "2", store.Absent), store.ErrConflict)
	first, err := s.Get(ctx, key("a"))
	if err != nil || string(first.Value) != "1" || first.Key != key("a") || first.Version <= 0 {
		t.Fatalf("row %+v, %v", first, err)
	}
	commit(t, s, put("a", "2", first.Version))
	refuse(t, s, put("a", "3", first.Version), store.ErrConflict)
	commit(t, s, put("a", "3", store.AnyVersion))
	commit(t, s, store.Batch{Rows: []store.RowChange{{Key: key("a"), Delete: true}}})
	commit(t, s, store.Batch{Rows: []store.RowChange{{Key: key("a"), Delete: true}}})
	refuse(t, s, put("a", "4", first.Version), store.ErrConflict)
	commit(t, s, put("a", "4", store.Absent))
	again, err := s.Get(ctx, key("a"))
	if err != nil || again.Version <= first.Version {
		t.Errorf("a row made anew has version %d after %d: %v", again.Version, first.Version, err)
	}
}

func testListing(t *testing.T, s store.Store) {
	ctx := t.Context()
	put := func(account, region, id string, index ...store.IndexEntry) {
		k := key(id)
		k.Account, k.Region = account, region
		commit(t, s, store.Batch{Rows: []store.RowChange{{Key: k, Value: []byte(id), Index: index}}})
	}
	at := func(sort string) store.IndexEntry { return store.IndexEntry{Name: "time", Sort: sort} }
	put("1", "r", "a", at("3"))
	put("1", "r", "a/b", at("1"))
	put("1", "r", "b", at("2"), at("4"))
	put("1", "s", "c", at("0"))
	put("2", "r", "d", at("2"))
	put("1", "r", "gone", at("9"))
	put("1", "r", "gone")
	put("1", "r", "\xff")
	list := func(q store.Query) string {
		t.Helper()
		q.Service, q.Kind = "sns", "topic"
		all, err := s.List(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		var ids, paged []string
		for _, f := range all {
			ids = append(ids, f.Key.ID)
		}
		q.Limit = 2
		for {
			page, err := s.List(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range page {
				paged = append(paged, f.Key.ID)
			}
			if len(page) < 2 {
				break
			}
			q.After = page[1].Cursor
		}
		same(t, fmt.Sprintf("pages of %+v", q), paged, ids)
		return strings.Join(ids, " ")
	}
	for _, c := range []struct {
		q    store.Query
		want string
	}{
		{store.Query{}, "a a/b b gone \xff c d"},
		{store.Query{Account: "1", Region: "r"}, "a a/b b gone \xff"},
		{store.Query{Account: "1", Region: "r", Descending: true}, "\xff gone b a/b a"},
		{store.Query{Account: "1", Region: "r", Prefix: "a"}, "a a/b"},
		{store.Query{Prefix: "\xff"}, "\xff"},
		{store.Query{Region: "r", Prefix: "d"}, "d"},
		{store.Query{Account: "1", Region: "r", Index: "time"}, "a/b b a b"},
		{store.Query{Account: "1", Region: "r", Index: "time", Descending: true}, "b a b a/b"},
		{store.Query{Index: "time"}, "a/b b a b c d"},
		{store.Query{Index: "time", SortPrefix: "2"}, "b d"},
		{store.Query{Index: "none"}, ""},
	} {
		if got := list(c.q); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.q, got, c.want)
		}
	}
	if _, err := s.List(ctx, store.Query{Service: "sns", Kind: "topic", After: "?"}); !errors.Is(err, store.ErrCursor) {
		t.Errorf("bad cursor: %v", err)
	}
}

// testWhole checks that of a batch which fails its conditions nothing is left.
func testWhole(t *testing.T, s store.Store) {
	commit(t, s, store.Batch{Receipts: []store.Receipt{{Key: "r", Answer: []byte("yes")}}})
	before := dump(t, s)
	refuse(t, s, store.Batch{
		Record:    record("k/a", 1),
		Rows:      []store.RowChange{{Key: key("a"), Value: []byte("1")}},
		SetTimers: []store.Timer{{Entity: "k/a", Name: "t", Due: epoch}},
		Receipts:  []store.Receipt{{Key: "q"}, {Key: "r"}},
		Outbox:    []store.Message{{Key: "k/a/1/0", Entity: "k/a", Record: 1}},
	}, store.ErrConflict)
	same(t, "after a refused batch", dump(t, s), before)
}

// testOrder checks that batches take effect, and are reported, in the order of the CommitAsync calls.
func testOrder(t *testing.T, s store.Store) {
	const n = 500
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		s.CommitAsync(store.Batch{Record: record("k/a", uint64(i+1))}, func(err error) {
			defer wg.Done()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("record %d: %v", i+1, err)
			}
			order = append(order, i)
		})
	}
	wg.Wait()
	if len(order) != n || !slices.IsSorted(order) {
		t.Errorf("reported in the order %v", order)
	}
	if got := len(collect(t, s.Journal(t.Context(), "k/a", 0))); got != n {
		t.Errorf("%d records, want %d", got, n)
	}
}

// testRace checks that of many who take the same number one gets it.
func testRace(t *testing.T, s store.Store) {
	const writers, numbers = 8, 20
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := map[uint64]int{}
	for range writers {
		wg.Go(func() {
			for n := uint64(1); n <= numbers; {
				err := s.Commit(t.Context(), store.Batch{Record: record("k/a", n)})
				switch {
				case err == nil:
					mu.Lock()
					won[n]++
					mu.Unlock()
				case !errors.Is(err, store.ErrConflict):
					t.Error(err)
					return
				}
				n++
			}
		})
	}
	wg.Wait()
	for n := uint64(1); n <= numbers; n++ {
		if won[n] != 1 {
			t.Errorf("record %d was won by %d writers", n, won[n])
		}
	}
}

func testSecret(t *testing.T, open Open) {
	s, reopen, clean := open()
	defer clean()
	a, err := s.Secret(t.Context(), "a", 32)
	if err != nil || len(a) != 32 {
		t.Fatalf("secret %x, %v", a, err)
	}
	b, _ := s.Secret(t.Context(), "b", 32)
	if reopen != nil {
		s = reopen()
	}
	defer s.Close()
	again, err := s.Secret(t.Context(), "a", 32)
	if err != nil || string(again) != string(a) || string(a) == string(b) {
		t.Errorf("secrets a %x, b %x, a again %x, %v", a, b, again, err)
	}
}

func testClosed(t *testing.T, open Open) {
	s, _, clean := open()
	defer clean()
	done := make(chan error, 1)
	s.CommitAsync(store.Batch{Record: record("k/a", 1)}, func(err error) { done <- err })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("what was queued before Close: %v", err)
	}
	if err := s.Commit(t.Context(), store.Batch{Record: record("k/a", 2)}); err == nil {
		t.Error("commit after Close succeeded")
	}
}

// everything is all that a store can tell.
type everything struct {
	Rows, Keys []store.Found
	ByIndex    []store.Found
	Journals   map[store.ID][]store.Record
	Snapshots  map[store.ID]string
	Open       []store.ID
	Timers     []store.Timer
	Outbox     []store.Message
	Receipts   map[string]store.Receipt
}

var (
	ids   = []store.ID{"k/a", "k/b", "k/a/b", "l/a", "k/é\x00z"}
	names = []string{"x", "y", "é\x00z"}
)

func dump(t failer, s store.Store) everything {
	t.Helper()
	ctx := context.Background()
	e := everything{Journals: map[store.ID][]store.Record{}, Snapshots: map[store.ID]string{}, Receipts: map[string]store.Receipt{}}
	// Versions are a store's own affair; that they decide is for the operations to show.
	list := func(q store.Query) []store.Found {
		all, err := s.List(ctx, q)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		for i := range all {
			all[i].Version = 0
		}
		return all
	}
	e.Rows = list(store.Query{Service: "sns", Kind: "topic"})
	e.Keys = append(list(store.Query{Service: "sns", Kind: "topic", KeysOnly: true}), list(store.Query{Service: "sns", Kind: "topic", Index: "time", KeysOnly: true})...)
	for _, k := range e.Keys {
		if k.Value != nil {
			t.Fatalf("%v was to be listed without its value", k.Key)
		}
	}
	e.ByIndex = list(store.Query{Service: "sns", Kind: "topic", Index: "time"})
	for _, id := range ids {
		e.Journals[id] = collect(t, s.Journal(ctx, id, 0))
		if b, n, err := s.Snapshot(ctx, id); err == nil {
			e.Snapshots[id] = fmt.Sprint(n, " ", string(b))
		}
	}
	e.Open = append(collect(t, s.OpenEntities(ctx, "k")), collect(t, s.OpenEntities(ctx, "l"))...)
	e.Timers = collect(t, s.Timers(ctx))
	slices.SortFunc(e.Timers, func(a, b store.Timer) int {
		return strings.Compare(string(a.Entity)+"|"+a.Name, string(b.Entity)+"|"+b.Name)
	})
	e.Outbox = collect(t, s.Outbox(ctx))
	for _, n := range names {
		if r, err := s.Receipt(ctx, n); err == nil {
			e.Receipts[n] = r
		}
	}
	return e
}

// model draws batches and sends them to the store and to the one in memory: each must answer alike and hold the same.
func model(t *rapid.T, open Open) {
	s, reopen, clean := open()
	defer clean()
	defer func() { s.Close() }()
	m := memory.New()
	defer m.Close()
	numbers := map[store.ID]uint64{}
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		if reopen != nil && rapid.IntRange(0, 9).Draw(t, "reopen") == 0 {
			s = reopen()
		}
		b := drawBatch(t, numbers)
		mine, theirs := b, b
		mine.Rows, theirs.Rows = slices.Clone(b.Rows), slices.Clone(b.Rows)
		for i := range b.Rows {
			if b.Rows[i].IfVersion > 0 { // the version of the row as it stands in each, or of none
				mine.Rows[i].IfVersion = versionOf(m, b.Rows[i].Key)
				theirs.Rows[i].IfVersion = versionOf(s, b.Rows[i].Key)
			}
		}
		want := m.Commit(context.Background(), mine)
		if got := s.Commit(context.Background(), theirs); !errors.Is(got, want) {
			t.Fatalf("commit %+v: got %v, want %v", b, got, want)
		}
		if want == nil && b.Record != nil {
			numbers[b.Record.Entity] = b.Record.Number
		}
		if want == nil {
			delete(numbers, b.Forget)
		}
	}
	same(t, "the store differs from the model", dump(t, s), dump(t, m))
	if reopen != nil {
		s = reopen()
		same(t, "the reopened store differs from the model", dump(t, s), dump(t, m))
	}
}

func versionOf(s store.Store, k store.Key) int64 {
	r, err := s.Get(context.Background(), k)
	if err != nil {
		return 1<<62 - 1
	}
	return r.Version
}

func drawBatch(t *rapid.T, numbers map[store.ID]uint64) store.Batch {
	var b store.Batch
	maybe := func(what string) bool { return rapid.Bool().Draw(t, what) }
	id := rapid.SampledFrom(ids)
	name := rapid.SampledFrom(names)
	bytes := rapid.SliceOfN(rapid.Byte(), 0, 40)
	when := rapid.Custom(func(t *rapid.T) time.Time {
		return epoch.Add(time.Duration(rapid.Int64Range(-1e18, 1e18).Draw(t, "offset")))
	})
	if maybe("record") {
		r := record(id.Draw(t, "entity"), 0)
		r.Number = numbers[r.Entity] + uint64(rapid.SampledFrom([]int{1, 1, 1, 0, 2}).Draw(t, "number"))
		r.At, r.Body, r.Version = when.Draw(t, "at"), bytes.Draw(t, "body"), rapid.Uint8().Draw(t, "version")
		r.Epoch = rapid.Uint64Range(0, 2).Draw(t, "epoch")
		b.Record = r
		b.Closed = maybe("closed")
		if maybe("snapshot") {
			b.Snapshot = append(bytes.Draw(t, "snapshot"), 's')
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "rows") {
		c := store.RowChange{Key: key(name.Draw(t, "row")), IfVersion: rapid.SampledFrom([]int64{store.AnyVersion, store.Absent, 1}).Draw(t, "if")}
		c.Key.Region = rapid.SampledFrom([]string{"", "eu", "us"}).Draw(t, "region")
		if c.Delete = maybe("delete"); !c.Delete {
			c.Value = bytes.Draw(t, "value")
			for _, sort := range rapid.SliceOfNDistinct(name, 0, 2, rapid.ID).Draw(t, "index") {
				c.Index = append(c.Index, store.IndexEntry{Name: "time", Sort: sort})
			}
		}
		b.Rows = append(b.Rows, c)
	}
	for range rapid.IntRange(0, 2).Draw(t, "timers") {
		timer := store.Timer{Entity: id.Draw(t, "entity"), Name: name.Draw(t, "timer"), Due: when.Draw(t, "due")}
		if maybe("clear") {
			b.ClearTimers = append(b.ClearTimers, timer)
		} else {
			b.SetTimers = append(b.SetTimers, timer)
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "receipts") == 0 {
		r := store.Receipt{Key: name.Draw(t, "receipt"), Answer: bytes.Draw(t, "answer")}
		if maybe("expires") {
			r.Expires = time.Date(9999, 1, 1, 0, 0, 0, rapid.IntRange(0, 1e9-1).Draw(t, "nanos"), time.UTC)
		}
		b.Receipts = append(b.Receipts, r)
	}
	for range rapid.IntRange(0, 2).Draw(t, "messages") {
		of := id.Draw(t, "entity")
		b.Outbox = append(b.Outbox, store.Message{
			Key: string(of) + "/" + name.Draw(t, "message"), Entity: of, Record: rapid.Uint64Range(1, 9).Draw(t, "record"), Body: bytes.Draw(t, "body"),
		})
	}
	if maybe("done") {
		b.Done = append(b.Done, string(id.Draw(t, "entity"))+"/"+name.Draw(t, "done"))
	}
	if maybe("forget") {
		b.Forget = id.Draw(t, "entity")
	}
	return b
}
