// Package wake lets one part say that something changed, so that whoever waits for it looks now and not at its next
// poll. It carries no data: what changed is always read from the owner. Nothing is kept: after a restart every
// waiter looks once by itself, so a lost wake-up costs one poll interval at most.
package wake

import "sync"

// Bus connects those who change things with those who wait. The zero Bus is ready to use.
type Bus struct {
	mu      sync.Mutex
	next    int
	waiters map[string]map[int]func()
}

// Changed runs every function that watches ref, each in a goroutine of its own. A ref is an ARN, or an id as its
// owner spells it: a cluster's id, "CLUSTER/STEP", an execution's ARN, a stack's id.
func (b *Bus) Changed(ref string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.waiters[ref] {
		go f()
	}
}

// Watch has f run at each change of ref until stop is called. f must not block.
func (b *Bus) Watch(ref string, f func()) (stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiters == nil {
		b.waiters = map[string]map[int]func(){}
	}
	if b.waiters[ref] == nil {
		b.waiters[ref] = map[int]func(){}
	}
	b.next++
	id := b.next
	b.waiters[ref][id] = f
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.waiters[ref], id)
		if len(b.waiters[ref]) == 0 {
			delete(b.waiters, ref)
		}
	}
}
