package memory_test

import (
	"testing"

	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
	"github.com/mayfly-run/mayfly/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func() (store.Store, func() store.Store, func()) {
		return memory.New(), nil, func() {}
	})
}

func TestForgettingDropsWhatIsClosed(t *testing.T) {
	s := memory.NewForgetting()
	defer s.Close()
	record := func(id store.ID, n uint64, closed bool) {
		t.Helper()
		if err := s.Commit(t.Context(), store.Batch{Record: &store.Record{Entity: id, Number: n, Body: []byte("x")}, Closed: closed}); err != nil {
			t.Fatal(err)
		}
	}
	record("execution/open", 1, false)
	record("execution/done", 1, false)
	record("execution/done", 2, true)
	for id, want := range map[store.ID]int{"execution/open": 1, "execution/done": 0} {
		n := 0
		for _, err := range s.Journal(t.Context(), id, 0) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != want {
			t.Errorf("%s has %d records, want %d", id, n, want)
		}
	}
}
