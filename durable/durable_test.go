package durable_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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
		for i := 0; a.Steps < c.limit; i++ {
			if i == env.Budget {
				d.More = true
				return d, nil
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
		got.Moves = slices.Clone(a.Moves)
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
