package durable_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/sqlite"
)

func onDisk(b *testing.B) (w *world, reopen func()) {
	path := filepath.Join(b.TempDir(), "bench.db")
	w = &world{t: b, calls: map[string]int{}}
	reopen = func() {
		if w.store != nil {
			w.store.Close()
		}
		s, err := sqlite.Open(context.Background(), path)
		if err != nil {
			b.Fatal(err)
		}
		w.store = s
	}
	reopen()
	b.Cleanup(func() { w.store.Close() })
	return w, reopen
}

// BenchmarkDo is one durable input after the other, from a number of callers.
func BenchmarkDo(b *testing.B) {
	for _, callers := range []int{1, 64, 1024} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			w, _ := onDisk(b)
			l, e := w.open()
			defer l.Stop()
			work := make(chan int)
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					n := 0
					for range work {
						n++
						id := store.ID(fmt.Sprintf("account/%d/%d", c, n/25))
						if _, err := e.Do(context.Background(), id, durable.Input[order]{Body: order{Do: "deposit", Amount: 1}}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ResetTimer()
			for i := range b.N {
				work <- i
			}
			close(work)
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "inputs/s")
		})
	}
}

// BenchmarkRecovery starts a loop over entities that are open, each with a timer: what a restart costs that nobody asks
// anything of, and one that looks at every entity (Opened).
func BenchmarkRecovery(b *testing.B) {
	const open = 100_000
	w, reopen := onDisk(b)
	var wg sync.WaitGroup
	for i := range open {
		wg.Add(1)
		id := store.ID(fmt.Sprint("account/", i))
		w.store.CommitAsync(store.Batch{
			Record:    &store.Record{Entity: id, Number: 1, At: time.Now(), Version: 1, Body: []byte(`{"f":[{"What":"deposited","Amount":1}]}`)},
			SetTimers: []store.Timer{{Entity: id, Name: "x", Due: time.Now().Add(time.Hour)}},
		}, func(err error) {
			if err != nil {
				b.Error(err)
			}
			wg.Done()
		})
	}
	wg.Wait()
	for _, opened := range []bool{false, true} {
		b.Run(fmt.Sprintf("opened=%v", opened), func(b *testing.B) {
			w.tweak = func(k *durable.Kind[account, order, fact, ask], c *durable.Config) {
				if opened {
					k.Opened = func(context.Context, store.ID, *account) *order { return nil }
				}
			}
			for b.Loop() {
				b.StopTimer()
				reopen()
				b.StartTimer()
				l, _ := w.open()
				b.StopTimer()
				l.Stop()
				b.StartTimer()
			}
		})
	}
}
