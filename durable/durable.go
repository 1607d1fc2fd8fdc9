// Package durable is the loop of all that outlives a request: executions, stack operations, clusters, leases,
// invocations, deliveries. Each kind brings a small pure core; the loop gives it one input at a time, commits what it
// decides, and only then carries out what it asked for.
//
// The path of an input: accepted and stamped with the time (never before the entity's last) → Decide → one record with
// facts, commands, timers, rows and the receipt, committed whole → the reply goes out, commands are dispatched. A command
// stays in the outbox until its result is committed, so after kill -9 it is dispatched again under the same request key:
// at least once, yet recorded once. Recovery folds facts; nothing is decided twice.
//
// What it does not do: it knows no AWS, no SQL and no meaning of any fact.
package durable

import (
	"context"
	"time"

	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// Core is the pure part of a kind: no clock, I/O, goroutine, randomness of its own, or map order.
// S is the entity's state, I its inputs, F its facts, C its commands; I, F and C are closed types that survive
// encoding/json (a sum type marshals itself with a tag).
type Core[S, I, F, C any] interface {
	// Apply folds one fact. It is total, and the only way in which s changes, live and in recovery.
	Apply(s *S, f F)
	// Decide answers one input. It folds each fact into s, through Apply, as it decides, so that what follows sees it.
	// An error or a panic is a bug: the loop commits nothing, drops s and folds it again from the journal.
	Decide(s *S, in Input[I], env Env) (Decision[F, C], error)
}

// Input is one thing that happened outside.
type Input[I any] struct {
	ID         string    // unique for the entity: a repeated one is answered with its first reply or dropped
	At         time.Time // stamped by the loop at acceptance
	By         identity.Principal
	RequestKey string // a repeated one is answered from its receipt; may be empty
	Body       I
}

// Env is what the world lends to a decision.
type Env struct {
	Now    time.Time // = Input.At
	Seed   uint64    // random, drawn once for this input; what is drawn from it must be in the facts
	Budget int       // how many steps the decision may take before it returns More
}

// Decision is what comes of one input: all of it is committed, or nothing.
type Decision[F, C any] struct {
	Facts       []F
	Commands    []C
	SetTimers   []Timer
	ClearTimers []string
	Sends       []Send // inputs for other entities
	Reply       any    // for the caller that waits; survives encoding/json where the input has a RequestKey
	Err         error  // an API error for the caller instead of Reply; facts, if any, are committed all the same
	More        bool   // the budget is spent: Kind.Continue follows; other inputs may come before it
	Closed      bool   // the entity has ended; it may still answer inputs
}

// Timer wakes its entity with Kind.Timer(Name) once Due has passed. Setting a name again moves it.
type Timer struct {
	Name string
	Due  time.Time
}

// Send is an input for another entity, delivered at least once with the same ID.
type Send struct {
	To   store.ID
	ID   string // empty: made from the sender's request key
	Body any    // the I of the receiver's kind
}

// Kind is one kind of entities with its shell.
type Kind[S, I, F, C any] struct {
	Name string // the part of store.ID before the first slash
	Core Core[S, I, F, C]
	New  func(id store.ID) *S // the state before the first record
	// Dispatch carries out one command after its commit; key is its request key, the same at each repetition. A
	// returned input is committed together with the mark that the command is done. An error leaves the command in the
	// outbox: it is dispatched again after a pause, and at the next start.
	Dispatch func(ctx context.Context, id store.ID, key string, c C) (*I, error)
	// Project returns the rows that show the entity after facts; nil func or result: none.
	Project func(id store.ID, s *S, facts []F) []store.RowChange
	// Sends returns messages that go with facts, beside those of the Decision: for what others keep of an entity that
	// its core need not know. It is pure. Nil func or result: none.
	Sends    func(id store.ID, s *S, facts []F) []Send
	Timer    func(name string) I
	Continue func() I // nil for kinds that never say More
	// Committed runs after each commit with the facts, on the entity's partition; it must not block. For wake-ups.
	// s may be ahead of facts already: use it to find out who to wake, and say nothing of it to the outside.
	Committed func(id store.ID, s *S, facts []F)
	// Opened runs at Start for each entity that is not closed, after recovery, and may return an input for it.
	Opened func(ctx context.Context, id store.ID, s *S) *I
	// Broken says what becomes of an entity whose Decide failed on an input, with an error or a panic: the returned
	// input is decided in its place, on the state as it was before. It may be nil, and may return nil: the input's
	// sender then gets the error, while a timer, a result or a message is tried again after a pause.
	Broken func(id store.ID, err error) *I
	// Parallel bounds how many commands of the kind are carried out at once; 0 means 1024.
	Parallel int
	// MarshalState and UnmarshalState let the loop keep snapshots; without them it always folds the whole journal.
	MarshalState   func(s *S) ([]byte, error)
	UnmarshalState func(id store.ID, b []byte) (*S, error)
}
