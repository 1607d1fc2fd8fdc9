package host

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSize(t *testing.T) {
	for _, c := range []struct {
		nodes   int
		free    Budget
		machine int
		want    Lease // no workers: it does not fit
	}{
		{2, Budget{8, 18000}, 2, Lease{2, 1, 1616, 2000}},
		{1, Budget{8, 18000}, 2, Lease{1, 2, 3488, 2000}},
		{20, Budget{8, 18000}, 2, Lease{2, 1, 1616, 2000}}, // twenty nodes share two workers
		{2, Budget{1, 18000}, 2, Lease{1, 1, 3488, 2000}},  // the last core
		{2, Budget{8, 6000}, 2, Lease{1, 2, 1024, 1024}},
		{2, Budget{0, 18000}, 2, Lease{}},
		{2, Budget{8, 2559}, 2, Lease{}},
		{0, Budget{1, 2560}, 8, Lease{1, 1, 1024, 1024}},
		{3, Budget{32, 196608}, 8, Lease{3, 2, 8192, 21845}},
	} {
		got, ok := size(c.nodes, c.free, c.machine)
		if got != c.want || ok != (c.want.Workers > 0) {
			t.Errorf("%d nodes of %v on %d cores: %+v %v, want %+v", c.nodes, c.free, c.machine, got, ok, c.want)
		}
	}
}

// ask is a request of a cluster; younger ones have later letters.
func ask(id string, nodes int) Request {
	return Request{id, nodes, time.Unix(int64(id[0]), 0)}
}

func TestTurns(t *testing.T) {
	h := New(Budget{2, 6000}, 2)
	must := func(id string, want Lease) {
		t.Helper()
		if l, err := h.Take(ask(id, 1)); err != nil || l != want {
			t.Fatalf("%s: %+v %v", id, l, err)
		}
	}
	must("a", Lease{1, 2, 1024, 1024})
	must("a", Lease{1, 2, 1024, 1024}) // the same again
	_, err := h.Take(ask("b", 1))
	var full *Full
	if want := "Waiting for capacity of this machine: 2 cores and 2560 MiB of 2 cores and 6000 MiB are held by a."; !errors.As(err, &full) || full.Never || err.Error() != want {
		t.Fatalf("%v\nwant %s", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan string, 3)
	wait := func(ctx context.Context, id string, place int) {
		go func() {
			_, err := h.Await(ctx, ask(id, 1))
			got <- fmt.Sprint(id, " ", err)
		}()
		for len(h.State().Waiting) < place { // until it stands in the queue
		}
	}
	h.Queue(ask("c", 1)) // as after a restart, before the older one
	wait(ctx, "b", 2)
	wait(t.Context(), "c", 2)
	if s := h.State(); s.Waiting[0] != "b" {
		t.Errorf("%+v", s)
	}
	if _, err := h.Take(ask("d", 1)); err == nil || err.Error() != "Waiting for capacity of this machine: 2 cores and 2560 MiB of 2 cores and 6000 MiB are held by a; clusters that wait before this one: 2." {
		t.Errorf("%v", err)
	}
	cancel()
	if g := <-got; g != "b context canceled" {
		t.Error(g)
	}
	h.Release("a")
	if g := <-got; g != "c <nil>" {
		t.Error(g)
	}
	h.Release("d") // it gives up its place
	if s := h.State(); len(s.Leases) != 1 || s.Leases[0].Cluster != "c" || len(s.Waiting) != 0 || s.Used != (Budget{2, 2560}) {
		t.Errorf("%+v", s)
	}
}

func TestTooSmall(t *testing.T) {
	h := New(Budget{4, 2000}, 4)
	_, err := h.Take(ask("a", 1))
	var full *Full
	if want := "The smallest cluster needs 1 core and 2560 MiB, and clusters may have 4 cores and 2000 MiB of this machine: raise --cores or --memory of mayfly serve."; !errors.As(err, &full) || !full.Never || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// TestRestored gives back what was taken before a restart, also when the budget has shrunk.
func TestRestored(t *testing.T) {
	h := New(Budget{1, 3000}, 2)
	h.Restore("old", Lease{2, 1, 1616, 2000})
	if _, err := h.Take(ask("new", 1)); err == nil {
		t.Error("more than the budget was given")
	}
	h.Release("old")
	if _, err := h.Take(ask("new", 1)); err != nil {
		t.Error(err)
	}
}

// TestNeverMore takes and gives back at random: what is held never exceeds the budget, and who can be served is.
func TestNeverMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := Budget{rapid.IntRange(1, 64).Draw(t, "cores"), rapid.IntRange(2560, 100000).Draw(t, "memory")}
		h := New(total, rapid.IntRange(1, 16).Draw(t, "machine"))
		var held []string
		for i := range rapid.IntRange(1, 30).Draw(t, "length") {
			if len(held) > 0 && rapid.Bool().Draw(t, "release") {
				h.Release(held[0])
				held = held[1:]
				continue
			}
			id := fmt.Sprint(i)
			l, err := h.Take(Request{id, rapid.IntRange(0, 20).Draw(t, "nodes"), time.Unix(int64(i), 0)})
			if err == nil {
				held = append(held, id)
				if l.Workers < 1 || l.Cores < 1 || l.MemoryMB < minWorkerMB || l.DriverMB < minDriverMB {
					t.Fatalf("lease %+v", l)
				}
			} else if h.Release(id); len(held) == 0 {
				t.Fatalf("an empty host of %v refused: %v", total, err)
			}
			s := h.State()
			if s.Used.Cores > total.Cores || s.Used.MemoryMB > total.MemoryMB || len(s.Leases) != len(held) {
				t.Fatalf("%+v", s)
			}
		}
	})
}
