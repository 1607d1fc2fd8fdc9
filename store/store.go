// Package store is the durable contract: everything that Mayfly must know again after kill -9 is committed through
// it, in batches that happen whole or not at all. It knows nothing of executions, clusters or AWS.
//
// Two sorts of owners use it:
//
//   - entities (package durable): an append-only journal of records, one for each outside input, with the rows, timers,
//     receipts and outbox messages that the record brings about;
//   - plain services, whose state is rows: a topic, a role, an object's index entry.
//
// Invariants: a batch that returned nil survives kill -9; a record's number is taken once (ErrConflict); rows are only
// written with the version that was read, where one is given; an error other than ErrConflict and ErrFenced means that
// the disk cannot be trusted, and the server ends with it.
package store

import (
	"context"
	"errors"
	"iter"
	"time"
)

var (
	// ErrNotFound: no such row, receipt or snapshot.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the record's number is taken, a row has another version, or a receipt exists already.
	ErrConflict = errors.New("conflict")
	// ErrFenced: a newer epoch owns the partition.
	ErrFenced = errors.New("fenced")
)

// ID names an entity: its kind, a slash, and its own name ("execution/arn:aws:states:…").
type ID string

// Key names a row.
type Key struct {
	Account, Region string // empty for what is global (Region) or the server's own (both)
	Service, Kind   string // "sns", "topic"
	ID              string // unique within the other four
}

// Row is a piece of a service's state: JSON, or whatever bytes its service chose.
type Row struct {
	Key     Key
	Value   []byte
	Version int64 // grows with each write of the row
}

// AnyVersion as RowChange.IfVersion writes whatever stands there; Absent only where no row stands.
const (
	AnyVersion int64 = 0
	Absent     int64 = -1
)

// RowChange puts or deletes one row.
type RowChange struct {
	Key       Key
	Value     []byte
	Delete    bool
	IfVersion int64 // AnyVersion, Absent, or the version that was read; otherwise ErrConflict
	// Index lists where else the row can be found: each entry is an ordered list within (Account, Region, Service,
	// Kind) by name. A put replaces all entries of the row.
	Index []IndexEntry
}

// IndexEntry puts a row on an ordered list. Sort is compared as bytes; equal ones are ordered by the row's ID.
type IndexEntry struct{ Name, Sort string }

// Query asks for rows of one Service and Kind, in the order of (Account, Region, ID), or with Index of (Account, Region,
// Sort, ID). An empty Account or Region asks for all of them.
type Query struct {
	Account, Region, Service, Kind string
	Prefix                         string // of the ID; only without Index
	Index                          string // list by this index instead of by ID
	SortPrefix                     string // of IndexEntry.Sort; only with Index
	Descending                     bool
	After                          string // the cursor of the last row seen: exclusive
	Limit                          int    // 0: all
	KeysOnly                       bool   // leave the values unread
}

// Found is a row of a listing with the cursor that continues after it.
type Found struct {
	Row
	Cursor string
}

// Record is one entity's answer to one outside input.
type Record struct {
	Entity  ID
	Number  uint64 // from 1, without gaps
	Epoch   uint64
	Input   string // the input's id, for dropping duplicates
	At      time.Time
	Body    []byte // facts and commands, as package durable writes them
	Version uint8
}

// Timer is a wake-up that an entity asked for. (Entity, Name) is unique: setting it again moves it.
type Timer struct {
	Entity ID
	Name   string
	Due    time.Time
}

// Message is an outbox entry: a command or an input for another entity, repeated until it is done.
type Message struct {
	Key    string // the request key: entity, record number, ordinal, with slashes between; unique
	Entity ID     // who asked
	Record uint64
	Body   []byte
}

// ReceiptLife is how long the receipt of a command's call is kept. A command is only repeated while it lies in the outbox of
// an open entity, and the longest that an execution may run is a year.
const ReceiptLife = 366 * 24 * time.Hour

// Receipt remembers the answer to a request key.
type Receipt struct {
	Key     string // scope and key, e.g. "elasticmapreduce/execution/arn…/7/0"
	Answer  []byte
	Expires time.Time // zero: never
}

// Batch is committed whole, or not at all. Conditions look at what stands before the batch; within it ClearTimers come
// before SetTimers, and Done after Outbox. A record without its predecessor is an ErrConflict too, so whatever was
// decided on top of a record that failed fails with it.
type Batch struct {
	Record      *Record // nil when only rows change
	Rows        []RowChange
	SetTimers   []Timer
	ClearTimers []Timer // by Entity and Name
	Receipts    []Receipt
	Outbox      []Message
	Done        []string // keys of outbox messages that need not be repeated
	Snapshot    []byte   // replaces the entity's snapshot as of Record.Number; a cache, may be dropped
	Closed      bool     // the entity of Record has ended: OpenEntities omits it until a record without Closed reopens it
	// Forget names an entity whose journal and snapshot go; afterwards it is as if it had never been. One that is not
	// closed, or has a timer or a message in the outbox, is an ErrConflict, and so is one that has a Record in the same
	// batch. Forgetting what does not exist changes nothing.
	Forget ID
}

// Store is what the engines bring: sqlite, memory, later postgres.
type Store interface {
	// Commit returns when the batch is durable. Concurrent batches are grouped; they take effect in the order of
	// the calls' arrival at the store.
	Commit(ctx context.Context, b Batch) error
	// CommitAsync queues the batch and calls done from the committer's goroutine when it is durable or has failed.
	// Batches take effect in the order of the CommitAsync calls.
	CommitAsync(b Batch, done func(error))

	Get(ctx context.Context, k Key) (Row, error)
	List(ctx context.Context, q Query) ([]Found, error)
	// Journal yields the entity's records in order, from the first with a number greater than after.
	Journal(ctx context.Context, entity ID, after uint64) iter.Seq2[Record, error]
	// Snapshot is the newest snapshot of the entity and the record number that it includes.
	Snapshot(ctx context.Context, entity ID) (state []byte, number uint64, err error)
	// OpenEntities lists the entities of a kind that are not closed, in the order of their IDs.
	OpenEntities(ctx context.Context, kind string) iter.Seq2[ID, error]
	Timers(ctx context.Context) iter.Seq2[Timer, error]
	Outbox(ctx context.Context) iter.Seq2[Message, error]
	Receipt(ctx context.Context, key string) (Receipt, error)
	// Secret is a random value made once per name and kept: the key of task tokens, for example.
	Secret(ctx context.Context, name string, size int) ([]byte, error)
	Close() error
}
