// Package host shares this machine's cores and memory among the clusters that live on it. Each cluster takes a lease
// before its first process starts, and gives it back when its last one has ended.
//
// A cluster gets one worker process per node while there are cores for it and a third of the memory that is free, so that
// the next one finds room. When little is left, its nodes share workers; when not even the smallest cluster fits, it
// waits its turn. What is promised never exceeds the budget.
//
// Leases are kept by their clusters and restored at the start; this package keeps nothing itself.
package host

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Budget is an amount of cores and memory.
type Budget struct {
	Cores    int `json:"cores"`
	MemoryMB int `json:"memoryMB"`
}

func (b Budget) String() string {
	if b.Cores == 1 {
		return fmt.Sprintf("1 core and %d MiB", b.MemoryMB)
	}
	return fmt.Sprintf("%d cores and %d MiB", b.Cores, b.MemoryMB)
}

// Lease is what one cluster may use.
type Lease struct {
	Workers  int `json:"workers"`  // worker processes; nodes share them when there are more nodes
	Cores    int `json:"cores"`    // of each worker
	MemoryMB int `json:"memoryMB"` // of each worker, for its executors
	DriverMB int `json:"driverMB"` // for the driver of a step
}

// What a cluster needs at least, in MiB: heaps of the daemons, of a driver, of a worker's executor.
const (
	daemonMB    = 256
	minDriverMB = 1024
	minWorkerMB = 1024
	maxWorkerMB = 8192
)

// Least is the smallest cluster: a master, a worker with one core, a driver.
func Least() Budget { return Lease{1, 1, minWorkerMB, minDriverMB}.Cost() }

// Cost is what the lease takes from the budget.
func (l Lease) Cost() Budget {
	return Budget{l.Workers * l.Cores, daemonMB + l.DriverMB + l.Workers*(daemonMB+l.MemoryMB)}
}

// Host knows the budget, who holds what of it, and who waits.
type Host struct {
	total Budget
	cores int // of the machine: no cluster has use for more

	mu      sync.Mutex
	held    map[string]Lease
	waiting []*waiter // the oldest first
}

// Request is who asks for a lease. The older cluster comes first.
type Request struct {
	Cluster string
	Nodes   int // core and task nodes
	Since   time.Time
}

type waiter struct {
	Request
	served chan struct{}
}

// New is a host that nobody uses yet.
func New(total Budget, machineCores int) *Host {
	return &Host{total: total, cores: max(1, machineCores), held: map[string]Lease{}}
}

// Restore notes a lease that was taken before a restart, also when the budget has become smaller since.
func (h *Host) Restore(id string, l Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[id] = l
}

// Full says why a cluster has to wait.
type Full struct {
	Never  bool // the budget is too small for any cluster
	reason string
}

func (f *Full) Error() string { return f.reason }

// Take leases what a cluster gets now. The error is a *Full when it has to wait: its place is kept then, for Await. A
// cluster that holds a lease gets the same one again.
func (h *Host) Take(r Request) (Lease, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if least := Least(); h.total.Cores < least.Cores || h.total.MemoryMB < least.MemoryMB {
		return Lease{}, &Full{Never: true, reason: fmt.Sprintf(
			"The smallest cluster needs %v, and clusters may have %v of this machine: raise --cores or --memory of mayfly serve.", least, h.total)}
	}
	w := h.queue(r)
	h.serve()
	if l, ok := h.held[r.Cluster]; ok {
		return l, nil
	}
	reason := fmt.Sprintf("Waiting for capacity of this machine: %v of %v are held by %s", h.used(), h.total, strings.Join(slices.Sorted(maps.Keys(h.held)), ", "))
	if n := slices.Index(h.waiting, w); n > 0 {
		reason += fmt.Sprintf("; clusters that wait before this one: %d", n)
	}
	return Lease{}, &Full{reason: reason + "."}
}

// Queue keeps the place of a cluster that waited before a restart. Nobody is served before the next call.
func (h *Host) Queue(r Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queue(r)
}

// queue finds or makes the place of a cluster that holds nothing.
func (h *Host) queue(r Request) *waiter {
	if _, ok := h.held[r.Cluster]; ok {
		return nil
	}
	i, found := slices.BinarySearchFunc(h.waiting, r, func(w *waiter, r Request) int {
		return cmp.Or(w.Since.Compare(r.Since), cmp.Compare(w.Cluster, r.Cluster))
	})
	if !found {
		h.waiting = slices.Insert(h.waiting, i, &waiter{r, make(chan struct{})})
	}
	return h.waiting[i]
}

// Await returns the lease when it is the cluster's turn. When ctx ends, its place is lost.
func (h *Host) Await(ctx context.Context, r Request) (Lease, error) {
	h.mu.Lock()
	w := h.queue(r)
	h.serve()
	h.mu.Unlock()
	if w != nil {
		select {
		case <-w.served:
		case <-ctx.Done():
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if l, ok := h.held[r.Cluster]; ok {
		return l, nil
	}
	h.leave(r.Cluster)
	return Lease{}, context.Cause(ctx)
}

// Release gives a cluster's lease back, or its place.
func (h *Host) Release(cluster string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, cluster)
	h.leave(cluster)
}

func (h *Host) leave(cluster string) {
	h.waiting = slices.DeleteFunc(h.waiting, func(w *waiter) bool { return w.Cluster == cluster })
	h.serve()
}

// serve gives leases to those who wait, in their order, as far as they fit.
func (h *Host) serve() {
	for len(h.waiting) > 0 {
		w := h.waiting[0]
		l, ok := size(w.Nodes, h.free(), h.cores)
		if !ok {
			return
		}
		h.held[w.Cluster] = l
		h.waiting = h.waiting[1:]
		close(w.served)
	}
}

func (h *Host) used() (b Budget) {
	for _, l := range h.held {
		c := l.Cost()
		b.Cores += c.Cores
		b.MemoryMB += c.MemoryMB
	}
	return b
}

func (h *Host) free() Budget {
	used := h.used()
	return Budget{h.total.Cores - used.Cores, h.total.MemoryMB - used.MemoryMB}
}

// Held is a lease with the cluster that holds it.
type Held struct {
	Cluster string `json:"cluster"`
	Lease
}

// State is who holds what.
type State struct {
	Total   Budget   `json:"total"`
	Used    Budget   `json:"used"`
	Leases  []Held   `json:"leases"`
	Waiting []string `json:"waiting"`
}

// State shows the host.
func (h *Host) State() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := State{Total: h.total, Used: h.used(), Leases: []Held{}, Waiting: []string{}}
	for id, l := range h.held {
		s.Leases = append(s.Leases, Held{id, l})
	}
	slices.SortFunc(s.Leases, func(a, b Held) int { return cmp.Compare(a.Cluster, b.Cluster) })
	for _, w := range h.waiting {
		s.Waiting = append(s.Waiting, w.Cluster)
	}
	return s
}

// size divides what is free for a cluster of so many worker nodes; false when not even the smallest cluster fits.
func size(nodes int, free Budget, machineCores int) (Lease, bool) {
	least := Least()
	cores, memory := min(machineCores, free.Cores), max(least.MemoryMB, free.MemoryMB/3)
	if cores < least.Cores || free.MemoryMB < memory {
		return Lease{}, false
	}
	l := Lease{DriverMB: max(minDriverMB, memory/3)}
	rest := memory - daemonMB - l.DriverMB
	l.Workers = min(max(1, nodes), cores, rest/(daemonMB+minWorkerMB))
	l.Cores = cores / l.Workers
	l.MemoryMB = min(maxWorkerMB, rest/l.Workers-daemonMB)
	return l, true
}
