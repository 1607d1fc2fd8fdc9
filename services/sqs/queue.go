package sqs

import (
	"container/heap"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi/sqsapi"
)

// record is a queue's row.
type record struct {
	Name       string            `json:"name"`
	Account    string            `json:"account"`
	Region     string            `json:"region"`
	Created    time.Time         `json:"created"`
	Modified   time.Time         `json:"modified"`
	Attributes map[string]string `json:"attributes"` // those that were set
	Tags       map[string]string `json:"tags,omitempty"`
}

func (r record) arn() string { return "arn:aws:sqs:" + r.Region + ":" + r.Account + ":" + r.Name }

// stored is a message's row.
type stored struct {
	ID         string                                        `json:"id"`
	Body       string                                        `json:"body"`
	Attributes map[string]sqsapi.MessageAttributeValue       `json:"attributes,omitempty"`
	System     map[string]sqsapi.MessageSystemAttributeValue `json:"system,omitempty"`
	Sender     string                                        `json:"sender"`
	Sent       time.Time                                     `json:"sent"`
	Visible    time.Time                                     `json:"visible"`        // sent, later by the delay
	From       string                                        `json:"from,omitempty"` // the ARN of the queue that it was moved from
}

// message is a message in memory.
type message struct {
	stored
	row      string    // the id of its row: orders messages as they were sent
	visible  time.Time // hidden until then
	received int
	first    time.Time // when it was received first
	gone     bool
	at       int // in the heap
}

// queue is a queue in memory: its messages in the order in which they become visible.
type queue struct {
	record
	version  int64
	messages map[string]*message // by message id
	order    byVisible
	changed  chan struct{} // closed and replaced when a message may have become visible
}

func newQueue(r record, version int64) *queue {
	return &queue{record: r, version: version, messages: map[string]*message{}, changed: make(chan struct{})}
}

func (q *queue) add(m *message) {
	q.messages[m.ID] = m
	heap.Push(&q.order, m)
	q.wake()
}

func (q *queue) hide(m *message, until time.Time) {
	m.visible = until
	heap.Fix(&q.order, m.at)
	q.wake()
}

func (q *queue) remove(m *message) {
	delete(q.messages, m.ID)
	heap.Remove(&q.order, m.at)
}

func (q *queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// next is the message that has been visible longest, and otherwise when the next one becomes visible (zero: never).
func (q *queue) next(now time.Time) (*message, time.Time) {
	if len(q.order) == 0 {
		return nil, time.Time{}
	}
	if m := q.order[0]; !m.visible.After(now) {
		return m, time.Time{}
	}
	return nil, q.order[0].visible
}

// count is how many messages are visible, delayed, and hidden because they were received.
func (q *queue) count(now time.Time) (visible, delayed, inFlight int) {
	for _, m := range q.order {
		switch {
		case !m.visible.After(now):
			visible++
		case m.received == 0:
			delayed++
		default:
			inFlight++
		}
	}
	return
}

type byVisible []*message

func (h byVisible) Len() int { return len(h) }
func (h byVisible) Less(i, j int) bool {
	if !h[i].visible.Equal(h[j].visible) {
		return h[i].visible.Before(h[j].visible)
	}
	return h[i].row < h[j].row
}
func (h byVisible) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *byVisible) Push(x any) {
	m := x.(*message)
	m.at = len(*h)
	*h = append(*h, m)
}
func (h *byVisible) Pop() any {
	old := *h
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return m
}
