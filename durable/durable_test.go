package durable_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

// The kind of these tests is an account that moves money: a transfer asks the bank (a command), sends the money to the
// other account (a message), and is given up by a timer when the bank does not answer.
type (
	account struct {
		Balance int
		Moves   []string
		Open    map[string]int // transfers that wait for the bank
		Steps   int
		Ended   bool
	}
	order struct {
		Do     string // deposit, transfer, cleared, expired, walk, end, panic, refuse, name, opened
		To     store.ID
		Name   string
		Amount int
	}
	fact struct {
		What   string
		Name   string
		Amount int
		To     store.ID
	}
	ask struct {
		Name   string
		Amount int
	}
	bank struct{ limit int }
)

func (bank) Apply(a *account, f fact) {
	switch f.What {
	case "deposited":
		a.Balance += f.Amount
	case "asked":
		if a.Open == nil {
			a.Open = map[string]int{}
		}
		a.Open[f.Name] = f.Amount
		a.Balance -= f.Amount
	case "sent":
		delete(a.Open, f.Name)
	case "expired":
		delete(a.Open, f.Name)
		a.Balance += f.Amount
	case "walked":
		a.Steps++
	case "ended":
		a.Ended = true
	}
	a.Moves = append(a.Moves, f.What+" "+f.Name)
}

func (c bank) Decide(a *account, in durable.Input[order], env durable.Env) (durable.Decision[fact, ask], error) {
	var d durable.Decision[fact, ask]
	note := func(f fact) { c.Apply(a, f); d.Facts = append(d.Facts, f) }
	o := in.Body
	switch o.Do {
	case "deposit":
		note(fact{What: "deposited", Name: o.Name, Amount: o.Amount})
		d.Reply = fmt.Sprint("balance ", a.Balance)
	case "transfer":
		if a.Balance < o.Amount {
			d.Err = errors.New("insufficient")
			return d, nil
		}
		note(fact{What: "asked", Name: o.Name, Amount: o.Amount, To: o.To})
		d.Commands = append(d.Commands, ask{o.Name + " " + string(o.To), o.Amount})
		d.SetTimers = append(d.SetTimers, durable.Timer{Name: o.Name, Due: env.Now.Add(time.Minute)})
		d.Reply = "asked"
	case "cleared":
		amount, ok := a.Open[o.Name]
		if !ok {
			return d, nil
		}
		note(fact{What: "sent", Name: o.Name})
		d.ClearTimers = append(d.ClearTimers, o.Name)
		d.Sends = append(d.Sends, durable.Send{To: o.To, Body: order{Do: "deposit", Name: o.Name, Amount: amount}})
	case "expired":
		if amount, ok := a.Open[o.Name]; ok {
			note(fact{What: "expired", Name: o.Name, Amount: amount})
		}
	case "walk":
		for i := 0; a.Steps < c.limit && !a.Ended; i++ {
			if i == env.Budget {
				d.More = true
				break
			}
			note(fact{What: "walked"})
		}
	case "end":
		note(fact{What: "ended"})
	case "panic":
		note(fact{What: "never"})
		panic("oh")
	case "refuse":
		note(fact{What: "refused"})
		d.Err = errors.New("no")
	case "name":
		note(fact{What: "named", Name: o.Name})
	case "opened":
		note(fact{What: "opened"})
	}
	d.Closed = a.Ended
	return d, nil
}

type accounts = durable.Entities[account, order, fact, ask]

// world is what outlives a loop: the store, and the bank's own memory.
type world struct {
	t     testing.TB
	store store.Store
	mu    sync.Mutex
	calls map[string]int
	fail  func(key string, call int) error // decides what a dispatch answers
	tweak func(*durable.Kind[account, order, fact, ask], *durable.Config)
	fatal atomic.Pointer[error]
}

func newWorld(t testing.TB) *world {
	s := memory.New()
	t.Cleanup(func() { s.Close() })
	return &world{t: t, store: s, calls: map[string]int{}}
}

func (w *world) open() (*durable.Loop, *accounts) {
	w.t.Helper()
	cfg := durable.Config{
		Store: w.store, Log: slog.New(slog.DiscardHandler), Budget: 10, Partitions: 4,
		Fatal: func(err error) { w.fatal.Store(&err) },
	}
	kind := durable.Kind[account, order, fact, ask]{
		Name: "account", Core: bank{limit: 95}, New: func(store.ID) *account { return &account{} },
		Dispatch: func(ctx context.Context, id store.ID, key string, c ask) (*order, error) {
			w.mu.Lock()
			w.calls[key]++
			call := w.calls[key]
			w.mu.Unlock()
			if w.fail != nil {
				if err := w.fail(key, call); err != nil {
					return nil, err
				}
			}
			name, to, _ := strings.Cut(c.Name, " ")
			return &order{Do: "cleared", Name: name, To: store.ID(to)}, ctx.Err()
		},
		Timer:        func(name string) order { return order{Do: "expired", Name: name} },
		Continue:     func() order { return order{Do: "walk"} },
		MarshalState: func(a *account) ([]byte, error) { return json.Marshal(a) },
		UnmarshalState: func(id store.ID, b []byte) (*account, error) {
			a := new(account)
			return a, json.Unmarshal(b, a)
		},
	}
	if w.tweak != nil {
		w.tweak(&kind, &cfg)
	}
	l := durable.New(cfg)
	e := durable.Register(l, kind)
	if err := l.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	return l, e
}

func do(t testing.TB, e *accounts, id store.ID, o order) any {
	t.Helper()
	reply, err := e.Do(t.Context(), id, durable.Input[order]{Body: o})
	if err != nil {
		t.Fatalf("%s: %+v: %v", id, o, err)
	}
	return reply
}

func look(t testing.TB, e *accounts, id store.ID) account {
	t.Helper()
	var got account
	err := e.View(t.Context(), id, func(a *account) {
		got = *a
		got.Moves, got.Open = slices.Clone(a.Moves), maps.Clone(a.Open)
	})
	if err != nil {
		t.Fatalf("view %s: %v", id, err)
	}
	return got
}

func balance(t testing.TB, e *accounts, id store.ID, want int) {
	t.Helper()
	if got := look(t, e, id).Balance; got != want {
		t.Errorf("%s has %d, want %d", id, got, want)
	}
}

func TestTransferAcrossRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l, e := w.open()
		if got := do(t, e, "account/a", order{Do: "deposit", Amount: 100}); got != "balance 100" {
			t.Errorf("reply %v", got)
		}
		do(t, e, "account/a", order{Do: "transfer", Name: "x", To: "account/b", Amount: 30})
		synctest.Wait()
		balance(t, e, "account/a", 70)
		balance(t, e, "account/b", 30)
		if _, err := e.Do(t.Context(), "account/a", durable.Input[order]{Body: order{Do: "transfer", Amount: 99}}); err == nil || err.Error() != "insufficient" {
			t.Errorf("error %v", err)
		}
		if err := e.View(t.Context(), "account/none", func(*account) {}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("view of nothing: %v", err)
		}
		before := look(t, e, "account/a")
		l.Stop()
		if _, err := e.Do(t.Context(), "account/a", durable.Input[order]{}); !errors.Is(err, durable.ErrStopped) {
			t.Errorf("after Stop: %v", err)
		}
		l, e = w.open()
		defer l.Stop()
		if after := look(t, e, "account/a"); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("folded %v, was %v", after, before)
		}
		var facts []string
		for r, err := range e.Records(t.Context(), "account/a", 0) {
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Facts {
				facts = append(facts, fmt.Sprint(r.Number, " ", f.What))
			}
		}
		if got, want := fmt.Sprint(facts), "[1 deposited 2 asked 3 sent]"; got != want {
			t.Errorf("facts %s, want %s", got, want)
		}
		if len(w.calls) != 1 || w.calls["account/a/2/0"] != 1 {
			t.Errorf("calls %v", w.calls)
		}
	})
}

// crashing is a store whose process dies around the n-th commit: before it, or after it without anybody hearing of it.
type crashing struct {
	store.Store
	mu     sync.Mutex
	left   int
	late   bool // the batch is still committed
	failed bool
}

var errCrash = errors.New("crash")

func (c *crashing) CommitAsync(b store.Batch, done func(error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.failed {
		if c.left--; c.left > 0 {
			c.Store.CommitAsync(b, done)
			return
		}
		if c.late {
			c.Store.CommitAsync(b, func(error) {})
		}
	}
	c.failed = true
	c.Store.CommitAsync(store.Batch{}, func(error) { done(errCrash) }) // reported in its turn
}

// TestCrashAtEveryCommit lets the server die at each commit of a story, before and after it, and goes on after a restart:
// no money is lost or made, and every transfer ends.
func TestCrashAtEveryCommit(t *testing.T) {
	for _, late := range []bool{false, true} {
		crashes := 0
		for at := 1; ; at++ {
			survived := false
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				c := &crashing{Store: w.store, left: at, late: late}
				w.store = c
				l, e := w.open()
				again := func() {
					l.Stop()
					c.mu.Lock()
					c.failed, c.left = false, 1<<30
					c.mu.Unlock()
					w.fatal.Store(nil)
					l, e = w.open()
				}
				// Each input has an id, so that its sender may repeat it.
				send := func(id store.ID, name string, o order) any {
					in := durable.Input[order]{ID: name, Body: o}
					got, err := durable.Reply[string](e.Do(t.Context(), id, in))
					if errors.Is(err, errCrash) {
						again()
						got, err = durable.Reply[string](e.Do(t.Context(), id, in))
					}
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					return got
				}
				settle := func() {
					for range 20 {
						synctest.Wait()
						if w.fatal.Load() != nil {
							again()
						}
						time.Sleep(100 * time.Millisecond)
					}
				}
				if got := send("account/a", "1", order{Do: "deposit", Amount: 100}); got != "balance 100" {
					t.Errorf("reply %q", got)
				}
				settle()
				for i := range 3 {
					if got := send("account/a", fmt.Sprint("t", i), order{Do: "transfer", Name: fmt.Sprint("t", i), To: "account/b", Amount: 10}); got != "asked" {
						t.Errorf("reply %q", got)
					}
				}
				settle()
				send("account/a", "walk", order{Do: "walk"})
				settle()
				settle()
				survived = !c.failed && c.left > 0 && c.left < 1<<29
				again()
				defer func() { l.Stop() }()
				a, b := look(t, e, "account/a"), look(t, e, "account/b")
				if a.Balance != 70 || b.Balance != 30 || len(a.Open) != 0 || a.Steps != 95 {
					t.Errorf("crash at %d (late %v): a %+v, b %+v", at, late, a, b)
				}
				for m, err := range w.store.Outbox(t.Context()) {
					t.Errorf("crash at %d: left in the outbox: %v, %v", at, m, err)
				}
				for m, err := range w.store.Timers(t.Context()) {
					t.Errorf("crash at %d: left timer: %v, %v", at, m, err)
				}
			})
			if t.Failed() || survived {
				break
			}
			crashes = at
		}
		if crashes < 15 {
			t.Errorf("only %d commits were crashed", crashes)
		}
	}
}

func TestRepeatedInputs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l, e := w.open()
		give := func(id store.ID, in durable.Input[order]) string {
			t.Helper()
			got, err := durable.Reply[string](e.Do(t.Context(), id, in))
			if err != nil {
				return "error: " + err.Error()
			}
			return got
		}
		named := durable.Input[order]{ID: "one", Body: order{Do: "deposit", Amount: 5}}
		keyed := durable.Input[order]{RequestKey: "key", Body: order{Do: "deposit", Amount: 5}}
		refused := durable.Input[order]{ID: "no", Body: order{Do: "refuse"}}
		for range 3 {
			if got := give("account/a", named); got != "balance 5" {
				t.Errorf("named: %s", got)
			}
			if got := give("account/a", keyed); got != "balance 10" {
				t.Errorf("keyed: %s", got)
			}
			if got := give("account/another", keyed); got != "balance 10" {
				t.Errorf("keyed, to another entity: %s", got)
			}
			if got := give("account/a", refused); !strings.HasSuffix(got, "no") || !strings.HasPrefix(got, "error") {
				t.Errorf("refused: %s", got)
			}
			l.Stop()
			l, e = w.open()
		}
		if a := look(t, e, "account/a"); a.Balance != 10 || len(a.Moves) != 3 {
			t.Errorf("state %+v", a)
		}
		// The same two at once: neither is decided twice.
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { give("account/a", durable.Input[order]{ID: "two", Body: order{Do: "deposit", Amount: 1}}) })
			wg.Go(func() {
				give("account/a", durable.Input[order]{RequestKey: "two", Body: order{Do: "deposit", Amount: 1}})
			})
		}
		wg.Wait()
		balance(t, e, "account/a", 12)
		l.Stop()
	})
}

func TestFailingDispatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail = func(key string, call int) error {
			if call == 2 {
				panic("bank")
			}
			if call < 5 {
				return errors.New("bank is closed")
			}
			return nil
		}
		l, e := w.open()
		do(t, e, "account/a", order{Do: "deposit", Amount: 10})
		start := time.Now()
		do(t, e, "account/a", order{Do: "transfer", Name: "x", To: "account/b", Amount: 10})
		time.Sleep(30 * time.Second)
		balance(t, e, "account/b", 10)
		if w.calls["account/a/2/0"] != 5 || len(w.calls) != 1 {
			t.Errorf("calls %v since %v", w.calls, start)
		}

		// At Stop a command that does not end is left in the outbox.
		w.fail = func(string, int) error { return errors.New("for good") }
		do(t, e, "account/b", order{Do: "transfer", Name: "y", To: "account/a", Amount: 10})
		synctest.Wait()
		l.Stop()
		w.fail = nil
		l, e = w.open()
		synctest.Wait()
		balance(t, e, "account/a", 10)
		if n := w.calls["account/b/2/0"]; n < 2 {
			t.Errorf("%d calls", n)
		}
		l.Stop()
	})
}

func TestTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail = func(string, int) error { return errors.New("no bank") }
		l, e := w.open()
		do(t, e, "account/a", order{Do: "deposit", Amount: 10})
		do(t, e, "account/a", order{Do: "transfer", Name: "x", To: "account/b", Amount: 4})
		time.Sleep(59 * time.Second)
		balance(t, e, "account/a", 6)
		time.Sleep(time.Second)
		synctest.Wait()
		balance(t, e, "account/a", 10)
		// One that becomes due while the server is down fires at its start; its time is not before it was due.
		do(t, e, "account/a", order{Do: "transfer", Name: "y", To: "account/b", Amount: 4})
		due := time.Now().Add(time.Minute)
		l.Stop()
		time.Sleep(time.Hour)
		l, e = w.open()
		synctest.Wait()
		balance(t, e, "account/a", 10)
		var at time.Time
		for r, err := range e.Records(t.Context(), "account/a", 0) {
			if err != nil || r.At.Before(at) {
				t.Errorf("record %d at %v after %v: %v", r.Number, r.At, at, err)
			}
			at = r.At
		}
		if at.Before(due) {
			t.Errorf("fired at %v, due %v", at, due)
		}
		// Setting a name again moves it: the same transfer started twice expires at the later time.
		do(t, e, "account/a", order{Do: "transfer", Name: "z", To: "account/b", Amount: 1})
		time.Sleep(40 * time.Second)
		do(t, e, "account/a", order{Do: "transfer", Name: "z", To: "account/b", Amount: 1})
		time.Sleep(40 * time.Second)
		if a := look(t, e, "account/a"); len(a.Open) != 1 {
			t.Errorf("expired too early: %+v", a)
		}
		time.Sleep(21 * time.Second)
		if a := look(t, e, "account/a"); len(a.Open) != 0 {
			t.Errorf("did not expire: %+v", a)
		}
		l.Stop()
		for timer, err := range w.store.Timers(t.Context()) {
			t.Errorf("left timer: %+v, %v", timer, err)
		}
	})
}

func TestPanicChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l, e := w.open()
		do(t, e, "account/a", order{Do: "deposit", Amount: 10})
		before := look(t, e, "account/a")
		// Among inputs whose commits are still on their way.
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				o := order{Do: "deposit", Amount: 1}
				if i%3 == 0 {
					o = order{Do: "panic"}
				}
				_, err := e.Do(t.Context(), "account/a", durable.Input[order]{Body: o})
				var p *durable.PanicError
				if panicked := errors.As(err, &p); panicked != (o.Do == "panic") {
					t.Errorf("%s: %v", o.Do, err)
				}
			})
		}
		wg.Wait()
		a := look(t, e, "account/a")
		if a.Balance != before.Balance+20 || slices.Contains(a.Moves, "never ") {
			t.Errorf("state %+v", a)
		}
		l.Stop()
	})
}

func TestBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tweak = func(k *durable.Kind[account, order, fact, ask], _ *durable.Config) {
			k.Broken = func(id store.ID, err error) *order { return &order{Do: "end"} }
			k.Timer = func(string) order { return order{Do: "panic"} }
		}
		w.fail = func(string, int) error { return errors.New("no") }
		l, e := w.open()
		do(t, e, "account/a", order{Do: "deposit", Amount: 10})
		if _, err := e.Do(t.Context(), "account/a", durable.Input[order]{Body: order{Do: "panic"}}); err == nil || !strings.Contains(err.Error(), "oh") {
			t.Errorf("error %v", err)
		}
		if a := look(t, e, "account/a"); !a.Ended || a.Balance != 10 {
			t.Errorf("state %+v", a)
		}
		do(t, e, "account/b", order{Do: "deposit", Amount: 10})
		do(t, e, "account/b", order{Do: "transfer", Name: "x", To: "account/a", Amount: 1})
		time.Sleep(time.Minute)
		synctest.Wait()
		if a := look(t, e, "account/b"); !a.Ended {
			t.Errorf("state %+v", a)
		}
		l.Stop()
		for timer, err := range w.store.Timers(t.Context()) {
			t.Errorf("left timer: %+v, %v", timer, err)
		}
	})
}

// TestConflict lets a row's condition fail one decision while others on top of it are on their way: they are decided
// again without it.
func TestConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		row := func(name string) store.Key { return store.Key{Service: "bank", Kind: "name", ID: name} }
		w.tweak = func(k *durable.Kind[account, order, fact, ask], _ *durable.Config) {
			k.Project = func(id store.ID, s *account, facts []fact) (rows []store.RowChange) {
				for _, f := range facts {
					if f.What == "named" {
						rows = append(rows, store.RowChange{Key: row(f.Name), Value: []byte(id), IfVersion: store.Absent})
					}
				}
				return rows
			}
		}
		l, e := w.open()
		for _, id := range []store.ID{"account/a", "account/b"} {
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					o, want := order{Do: "deposit", Amount: 1}, error(nil)
					if i%5 == 0 {
						o = order{Do: "name", Name: fmt.Sprint("taken", i)}
						if id == "account/b" {
							want = store.ErrConflict
						}
					}
					if _, err := e.Do(t.Context(), id, durable.Input[order]{Body: o}); !errors.Is(err, want) {
						t.Errorf("%s: %+v: %v, want %v", id, o, err, want)
					}
				})
				wg.Go(func() { _ = e.View(t.Context(), id, func(*account) {}) })
			}
			wg.Wait()
			balance(t, e, id, 16)
		}
		if r, err := w.store.Get(t.Context(), row("taken5")); err != nil || string(r.Value) != "account/a" {
			t.Errorf("row %s, %v", r.Value, err)
		}
		if a := look(t, e, "account/b"); len(a.Moves) != 16 {
			t.Errorf("state %+v", a)
		}
		l.Stop()
		l, e = w.open()
		balance(t, e, "account/b", 16)
		l.Stop()
	})
}

// TestClosedEntitiesLeaveMemory: but for a few, they are read again when somebody asks.
func TestClosedEntitiesLeaveMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		loads := map[store.ID]int{}
		w.tweak = func(k *durable.Kind[account, order, fact, ask], c *durable.Config) {
			c.CacheClosed, c.Partitions = 10, 1
			k.New = func(id store.ID) *account { loads[id]++; return &account{} }
		}
		l, e := w.open()
		id := func(i int) store.ID { return store.ID(fmt.Sprint("account/", i)) }
		for i := range 300 {
			do(t, e, id(i), order{Do: "deposit", Amount: i})
			if i%3 > 0 {
				do(t, e, id(i), order{Do: "end"})
			}
		}
		for i := range 300 {
			balance(t, e, id(i), i)
		}
		l.Stop()
		again := 0
		for i := range 300 {
			if i%3 == 0 && loads[id(i)] != 1 {
				t.Errorf("%s is open and was loaded %d times", id(i), loads[id(i)])
			}
			again += loads[id(i)] - 1
		}
		if again < 190 {
			t.Errorf("%d of 200 closed entities were loaded again", again)
		}
	})
}

func TestSnapshotsAndEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tweak = func(_ *durable.Kind[account, order, fact, ask], c *durable.Config) { c.CacheEntities = 4 }
		l, e := w.open()
		for round := range 300 {
			for i := range 12 {
				id := store.ID(fmt.Sprint("account/", i))
				in := durable.Input[order]{Body: order{Do: "deposit", Amount: 1}}
				if round == 10 {
					in.ID = "tenth"
				}
				if _, err := e.Do(t.Context(), id, in); err != nil {
					t.Fatal(err)
				}
			}
		}
		l.Stop()
		if _, n, err := w.store.Snapshot(t.Context(), "account/3"); n != 256 || err != nil {
			t.Errorf("snapshot of record %d, %v", n, err)
		}
		folds := 0
		w.tweak = func(k *durable.Kind[account, order, fact, ask], _ *durable.Config) {
			k.UnmarshalState = func(id store.ID, b []byte) (*account, error) {
				folds++
				if id == "account/5" {
					return nil, errors.New("unreadable")
				}
				a := new(account)
				return a, json.Unmarshal(b, a)
			}
		}
		l, e = w.open()
		for i := range 12 {
			id := store.ID(fmt.Sprint("account/", i))
			reply, err := durable.Reply[string](e.Do(t.Context(), id, durable.Input[order]{ID: "tenth", Body: order{Do: "deposit"}}))
			if reply != "balance 11" || err != nil {
				t.Errorf("the repeated input was answered %q, %v", reply, err)
			}
			if a := look(t, e, id); a.Balance != 300 || len(a.Moves) != 300 {
				t.Errorf("%s: balance %d, %d moves", id, a.Balance, len(a.Moves))
			}
		}
		if folds != 12 {
			t.Errorf("%d snapshots were read", folds)
		}
		l.Stop()
	})
}

func TestOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var mu sync.Mutex
		var seen []store.ID
		w.tweak = func(k *durable.Kind[account, order, fact, ask], _ *durable.Config) {
			k.Opened = func(_ context.Context, id store.ID, a *account) *order {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, id)
				if a.Balance == 2 {
					return &order{Do: "opened"}
				}
				return nil
			}
		}
		l, e := w.open()
		for i := range 4 {
			do(t, e, store.ID(fmt.Sprint("account/", i)), order{Do: "deposit", Amount: i})
		}
		do(t, e, "account/3", order{Do: "end"})
		do(t, e, "account/3", order{Do: "walk"}) // a closed one still answers
		l.Stop()
		l, e = w.open()
		slices.Sort(seen)
		if got := fmt.Sprint(seen); got != "[account/0 account/1 account/2]" {
			t.Errorf("opened %v", got)
		}
		synctest.Wait()
		if got := look(t, e, "account/2").Moves; !slices.Contains(got, "opened ") {
			t.Errorf("moves %v", got)
		}
		l.Stop()
	})
}

// TestCommittedAfterCommit checks that nobody hears of what is not durable.
func TestCommittedAfterCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		heard := make(chan string, 100)
		slow := &slowStore{Store: w.store, gate: make(chan struct{})}
		w.store = slow
		w.tweak = func(k *durable.Kind[account, order, fact, ask], _ *durable.Config) {
			k.Committed = func(_ store.ID, _ *account, facts []fact) { heard <- "committed " + facts[0].What }
		}
		l, e := w.open()
		for range 2 {
			go func() {
				e.Do(t.Context(), "account/a", durable.Input[order]{Body: order{Do: "deposit", Amount: 1}})
				heard <- "replied"
			}()
			synctest.Wait()
		}
		go func() {
			_ = e.View(t.Context(), "account/a", func(a *account) {})
			heard <- "viewed"
		}()
		synctest.Wait()
		if len(heard) != 0 {
			t.Fatalf("heard %q before the commit", <-heard)
		}
		close(slow.gate)
		synctest.Wait()
		if len(heard) != 5 {
			t.Errorf("heard %d things", len(heard))
		}
		if first := <-heard; first != "committed deposited" {
			t.Errorf("heard %q first", first)
		}
		l.Stop()
	})
}

type slowStore struct {
	store.Store
	gate chan struct{}
}

func (s *slowStore) CommitAsync(b store.Batch, done func(error)) {
	s.Store.CommitAsync(b, func(err error) {
		<-s.gate
		done(err)
	})
}

func TestFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.store = &crashing{Store: w.store, left: 2}
		l, e := w.open()
		do(t, e, "account/a", order{Do: "deposit", Amount: 1})
		for range 3 {
			if _, err := e.Do(t.Context(), "account/a", durable.Input[order]{Body: order{Do: "deposit"}}); !errors.Is(err, errCrash) {
				t.Errorf("error %v", err)
			}
		}
		synctest.Wait()
		if err := w.fatal.Load(); err == nil || !errors.Is(*err, errCrash) {
			t.Errorf("the server was not told: %v", err)
		}
		l.Stop()
	})
}

func TestLongBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l, e := w.open()
		name := strings.Repeat("<payload> ", 20_000)
		do(t, e, "account/a", order{Do: "name", Name: name})
		l.Stop()
		for r, err := range w.store.Journal(t.Context(), "account/a", 0) {
			if err != nil || len(r.Body) > len(name)/20 {
				t.Errorf("%d bytes, %v", len(r.Body), err)
			}
		}
		l, e = w.open()
		if a := look(t, e, "account/a"); a.Moves[0] != "named "+name {
			t.Error("the name came back changed")
		}
		l.Stop()
	})
}

// TestEndlessDecision checks that an entity which always wants to go on can still be looked at and ended, also after a
// restart.
func TestEndlessDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tweak = func(k *durable.Kind[account, order, fact, ask], c *durable.Config) {
			k.Core = bank{limit: 1 << 30}
			k.MarshalState = nil
		}
		l, e := w.open()
		do(t, e, "account/a", order{Do: "walk"})
		for look(t, e, "account/a").Steps < 100 {
		}
		l.Stop()
		l, e = w.open()
		before := look(t, e, "account/a").Steps
		for look(t, e, "account/a").Steps < before+100 {
		}
		do(t, e, "account/a", order{Do: "end"})
		synctest.Wait()
		if a := look(t, e, "account/a"); !a.Ended || a.Steps < 200 || a.Steps > 1<<20 {
			t.Errorf("ended %v after %d steps", a.Ended, a.Steps)
		}
		l.Stop()
		for timer, err := range w.store.Timers(t.Context()) {
			t.Errorf("left timer: %+v, %v", timer, err)
		}
	})
}
