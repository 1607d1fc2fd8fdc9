package durable_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/store"
)

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		key := store.Key{Service: "bank", Kind: "account", ID: "a"}
		var shut atomic.Bool // the bank
		shut.Store(true)
		w.fail = func(string, int) error {
			if shut.Load() {
				return errors.New("closed")
			}
			return nil
		}
		gate := make(chan struct{}, 1<<10)
		w.store = &slowStore{w.store, gate}
		l, e := w.open()
		forget := func(want error) {
			t.Helper()
			err := e.Forget(t.Context(), "account/a", []store.RowChange{{Key: key, Delete: true}}, nil)
			if !errors.Is(err, want) {
				t.Errorf("forget: %v, want %v", err, want)
			}
		}
		for range cap(gate) - 8 {
			gate <- struct{}{}
		}
		forget(nil) // there is none
		if err := w.store.Commit(t.Context(), store.Batch{Rows: []store.RowChange{{Key: key}}}); err != nil {
			t.Fatal(err)
		}
		do(t, e, "account/a", order{Do: "deposit", Amount: 5})
		forget(durable.ErrOpen)
		do(t, e, "account/a", order{Do: "transfer", Name: "rent", To: "account/b", Amount: 2})
		do(t, e, "account/a", order{Do: "end"})
		forget(durable.ErrOpen) // closed, and the bank has not answered

		// What was decided while the store had not yet refused stands on what was there before.
		for len(gate) > 0 {
			<-gate
		}
		refused := make(chan error)
		go func() {
			refused <- e.Forget(t.Context(), "account/a", nil, func(a *account) bool { return a.Ended })
		}()
		synctest.Wait()
		seen := make(chan error)
		go func() { seen <- e.View(t.Context(), "account/a", func(*account) {}) }()
		synctest.Wait()
		deposited := make(chan any)
		go func() { deposited <- do(t, e, "account/a", order{Do: "deposit", Amount: 1}) }()
		synctest.Wait()
		for range cap(gate) - 8 {
			gate <- struct{}{}
		}
		if err := <-seen; err != nil {
			t.Errorf("view: %v", err)
		}
		if err := <-refused; !errors.Is(err, durable.ErrOpen) {
			t.Errorf("forget: %v", err)
		}
		if reply := <-deposited; reply != "balance 4" {
			t.Errorf("reply %v", reply)
		}

		shut.Store(false)
		time.Sleep(time.Minute) // of the bubble: the bank answers, the money arrives
		balance(t, e, "account/b", 2)
		err := e.Forget(t.Context(), "account/a", []store.RowChange{{Key: key, Delete: true}}, func(a *account) bool { return a.Balance != 4 })
		if err != nil {
			t.Error(err)
		}
		balance(t, e, "account/a", 4) // it was to stay
		if _, err := w.store.Get(t.Context(), key); err != nil {
			t.Errorf("row: %v", err)
		}
		forget(nil)
		gone := func() {
			t.Helper()
			if err := e.View(t.Context(), "account/a", func(*account) {}); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("view: %v", err)
			}
		}
		gone()
		if _, err := w.store.Get(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("row: %v", err)
		}
		l.Stop()
		l, e = w.open()
		gone()
		if reply := do(t, e, "account/a", order{Do: "deposit", Amount: 7}); reply != "balance 7" {
			t.Errorf("reply %v", reply)
		}
		l.Stop()
		l, e = w.open()
		balance(t, e, "account/a", 7)
		balance(t, e, "account/b", 2)
		l.Stop()
	})
}
