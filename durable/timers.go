package durable

import (
	"container/heap"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/store"
)

// moreTimer is the name of the row that remembers a decision which said More, until its Continue is committed.
const moreTimer = "\x00more"

// longestSleep bounds how long the queue relies on the clock's monotonic time, which stands still in a suspended machine.
const longestSleep = time.Minute

type timerKey struct {
	entity store.ID
	name   string
}

// timerState is what stands under a key: a generation says which setting of the name it is.
type timerState struct {
	due   time.Time
	gen   uint64 // 0: no such timer
	fired bool   // handed out and not yet answered
}

type timerItem struct {
	key timerKey
	timerState
	index int // in the heap; -1 when fired
}

// timerQueue holds every timer of the loop. It runs ahead of the commits, as decisions do; whoever takes a decision back
// restores what it changed.
type timerQueue struct {
	mu    sync.Mutex
	clock clock.Clock
	fire  func(key timerKey, gen uint64, due time.Time)
	items map[timerKey]*timerItem
	heap  timerHeap
	gen   uint64
	alarm clock.Timer
	at    time.Time // when alarm rings; zero: not set
	on    bool
}

func newTimerQueue(c clock.Clock, fire func(timerKey, uint64, time.Time)) *timerQueue {
	return &timerQueue{clock: c, fire: fire, items: map[timerKey]*timerItem{}}
}

func (q *timerQueue) start() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.on = true
	q.arm()
}

func (q *timerQueue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.on = false
	if q.alarm != nil {
		q.alarm.Stop()
	}
}

// set puts a timer and returns what stood there.
func (q *timerQueue) set(key timerKey, due time.Time) timerState {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gen++
	return q.replace(key, timerState{due: due, gen: q.gen})
}

// clear removes a timer and returns what stood there.
func (q *timerQueue) clear(key timerKey) timerState {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.replace(key, timerState{})
}

// restore puts back what set, clear or take returned.
func (q *timerQueue) restore(key timerKey, s timerState) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.replace(key, s)
}

// take consumes a fired timer; it reports false when the timer has been moved or cleared since it fired.
func (q *timerQueue) take(key timerKey, gen uint64) (timerState, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if it := q.items[key]; it == nil || it.gen != gen || !it.fired {
		return timerState{}, false
	}
	return q.replace(key, timerState{}), true
}

func (q *timerQueue) replace(key timerKey, s timerState) timerState {
	it := q.items[key]
	var was timerState
	if it != nil {
		was = it.timerState
		if it.index >= 0 {
			heap.Remove(&q.heap, it.index)
		}
		delete(q.items, key)
	}
	if s.gen != 0 {
		it = &timerItem{key: key, timerState: s, index: -1}
		q.items[key] = it
		if !s.fired {
			heap.Push(&q.heap, it)
			q.arm()
		}
	}
	return was
}

// arm sets the alarm to the earliest timer, unless it rings before that anyhow.
func (q *timerQueue) arm() {
	if !q.on || len(q.heap) == 0 {
		return
	}
	due := q.heap[0].due
	if !q.at.IsZero() && !due.Before(q.at) {
		return
	}
	now := q.clock.Now()
	wait := min(max(due.Sub(now), 0), longestSleep)
	if q.alarm != nil {
		q.alarm.Stop()
	}
	q.at = now.Add(wait)
	q.alarm = q.clock.AfterFunc(wait, q.ring)
}

func (q *timerQueue) ring() {
	type shot struct {
		key timerKey
		gen uint64
		due time.Time
	}
	var shots []shot
	q.mu.Lock()
	q.at = time.Time{}
	now := q.clock.Now()
	for q.on && len(q.heap) > 0 && !q.heap[0].due.After(now) {
		it := heap.Pop(&q.heap).(*timerItem)
		it.fired = true
		shots = append(shots, shot{it.key, it.gen, it.due})
	}
	q.arm()
	q.mu.Unlock()
	for _, s := range shots {
		q.fire(s.key, s.gen, s.due)
	}
}

type timerHeap []*timerItem

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	it := x.(*timerItem)
	it.index = len(*h)
	*h = append(*h, it)
}
func (h *timerHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	it.index = -1
	return it
}
