// Package sqlite is the store on one machine's disk: one file in write-ahead mode, one committer that groups what has
// queued up into a transaction with one fsync.
//
// Invariants: a commit that was acknowledged survives kill -9 and, as far as the disk keeps its promises, a power cut;
// after an error that is no condition's failure the store answers nothing but that error, because after a failed fsync
// nobody knows what the file holds. A file of a newer schema is refused.
//
// It does not lock the data directory; the daemon does.
package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/store"
)

// schemaVersion is the newest schema that this program knows.
const schemaVersion = 1

//go:embed schema.sql
var schema string

// ErrClosed answers what comes after Close.
var ErrClosed = errors.New("store is closed")

// Store is a store.Store in a file. Use Open.
type Store struct {
	write *sql.DB // one connection, the committer's
	read  *sql.DB
	stmts sync.Map // of the texts that are read with, each prepared once

	mu     sync.Mutex
	wake   sync.Cond
	queue  []queued
	closed bool
	ended  chan struct{}

	secrets sync.Mutex
}

var _ store.Store = (*Store)(nil)

// Open opens the store in the file at path, and makes it where there is none.
func Open(ctx context.Context, path string) (*Store, error) {
	dsn := func(more string) string {
		return "file:" + (&url.URL{Path: path}).EscapedPath() +
			"?_pragma=busy_timeout(10000)&_pragma=temp_store(memory)&_time_format=sqlite" + more
	}
	write, err := sql.Open("sqlite", dsn("&_pragma=cache_size(-32768)&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=wal_autocheckpoint(4000)&_pragma=journal_size_limit(67108864)&_txlock=immediate"))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	write.SetMaxOpenConns(1)
	s := &Store{write: write, ended: make(chan struct{})}
	s.wake.L = &s.mu
	generation, err := prepare(ctx, write)
	if err == nil {
		s.read, err = sql.Open("sqlite", dsn("&_pragma=cache_size(-8192)&_pragma=query_only(1)"))
	}
	if err != nil {
		write.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	s.read.SetMaxOpenConns(max(4, 2*runtime.GOMAXPROCS(0)))
	s.read.SetMaxIdleConns(max(4, 2*runtime.GOMAXPROCS(0)))
	c, err := newCommitter(ctx, write, generation)
	if err != nil {
		s.read.Close()
		write.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	go s.run(c)
	return s, nil
}

// prepare brings the schema up to date and counts this opening; row versions begin with that count, so that none is ever
// used twice.
func prepare(ctx context.Context, db *sql.DB) (generation int64, err error) {
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return 0, err
	}
	if mode != "wal" {
		return 0, fmt.Errorf("the file system does not do write-ahead logging (journal mode %s)", mode)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	var version int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return 0, err
	}
	switch {
	case version > schemaVersion:
		return 0, fmt.Errorf("schema version %d was written by a newer Mayfly (this one knows %d)", version, schemaVersion)
	case version == 0:
		if _, err := tx.ExecContext(ctx, schema); err != nil {
			return 0, fmt.Errorf("make the schema: %w", err)
		}
		if _, err := tx.ExecContext(ctx, "PRAGMA user_version = "+strconv.Itoa(schemaVersion)); err != nil {
			return 0, err
		}
	}
	err = tx.QueryRowContext(ctx, `INSERT INTO meta VALUES ('generation', 1)
		ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value`).Scan(&generation)
	if err != nil {
		return 0, err
	}
	now, _ := split(clock.System{}.Now())
	if _, err := tx.ExecContext(ctx, "DELETE FROM receipts WHERE expires < ?", now); err != nil {
		return 0, err
	}
	return generation, tx.Commit()
}

// Close commits what is queued and closes the file.
func (s *Store) Close() error {
	s.mu.Lock()
	already := s.closed
	s.closed = true
	s.mu.Unlock()
	s.wake.Signal()
	<-s.ended
	if already {
		return nil
	}
	return errors.Join(s.read.Close(), s.write.Close())
}

// split stores a time so that it is the same again, whatever its year.
func split(t time.Time) (micros, nanos int64) {
	return t.UnixMicro(), int64(t.Nanosecond() % 1000)
}

func join(micros, nanos int64) time.Time {
	return time.UnixMicro(micros).Add(time.Duration(nanos)).UTC()
}

// failed turns SQL's word for nothing into the store's.
func failed(what string, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// statement is the prepared form of a text that stays the same: preparing costs more than most reads.
func (s *Store) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	if have, ok := s.stmts.Load(text); ok {
		return have.(*sql.Stmt), nil
	}
	made, err := s.read.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	have, twice := s.stmts.LoadOrStore(text, made)
	if twice {
		made.Close()
	}
	return have.(*sql.Stmt), nil
}

// one reads one row of a text that stays the same.
func (s *Store) one(ctx context.Context, what, text string, args []any, to ...any) error {
	stmt, err := s.statement(ctx, text)
	if err == nil {
		err = stmt.QueryRowContext(ctx, args...).Scan(to...)
	}
	return failed(what, err)
}

// Get reads one row.
func (s *Store) Get(ctx context.Context, k store.Key) (store.Row, error) {
	r := store.Row{Key: k}
	err := s.one(ctx, "read row", `SELECT value, version FROM rows WHERE service = ? AND kind = ? AND account = ? AND region = ? AND id = ?`,
		[]any{k.Service, k.Kind, k.Account, k.Region, k.ID}, &r.Value, &r.Version)
	if err != nil {
		return store.Row{}, err
	}
	return r, nil
}

// List lists rows in the order of Query.
func (s *Store) List(ctx context.Context, q store.Query) ([]store.Found, error) {
	var b strings.Builder
	var args []any
	where := func(sql string, values ...any) {
		b.WriteString(sql)
		args = append(args, values...)
	}
	value := func(of string) string {
		if q.KeysOnly {
			return "NULL"
		}
		return of + ".value"
	}
	order := []string{"i.account", "i.region", "i.id"}
	if q.Index == "" {
		b.WriteString("SELECT i.account, i.region, '', i.id, " + value("i") + ", i.version FROM rows i WHERE i.service = ? AND i.kind = ?")
		args = append(args, q.Service, q.Kind)
	} else {
		order = []string{"i.account", "i.region", "i.sort", "i.id"}
		b.WriteString("SELECT i.account, i.region, i.sort, i.id, " + value("r") + `, r.version FROM row_index i JOIN rows r ON r.row = i.row
			WHERE i.service = ? AND i.kind = ? AND i.name = ?`)
		args = append(args, q.Service, q.Kind, q.Index)
	}
	if q.Account != "" {
		where(" AND i.account = ?", q.Account)
	}
	if q.Region != "" {
		where(" AND i.region = ?", q.Region)
	}
	column, prefix := "i.id", q.Prefix
	if q.Index != "" {
		column, prefix = "i.sort", q.SortPrefix
	}
	// Within one account and region a cursor is a lower bound of the index itself, and must be the only one: SQLite
	// seeks to one bound and filters by the others, so with the prefix as well a page would begin at the prefix.
	seek := ""
	if q.After != "" && q.Account != "" && q.Region != "" && q.Index == "" && !q.Descending {
		at, err := store.SplitCursor(q.After)
		if err != nil {
			return nil, err
		}
		if at[0] == q.Account && at[1] == q.Region && at[3] >= prefix {
			seek = at[3]
		}
	}
	if seek != "" {
		where(" AND i.id > ?", seek)
		q.After = ""
	}
	if prefix != "" {
		if seek == "" {
			where(" AND "+column+" >= ?", prefix)
		}
		if end := successor(prefix); end != "" {
			where(" AND "+column+" < ?", end)
		}
	}
	compare, direction := ">", ""
	if q.Descending {
		compare, direction = "<", " DESC"
	}
	if q.After != "" {
		at, err := store.SplitCursor(q.After)
		if err != nil {
			return nil, err
		}
		if q.Index == "" {
			where(" AND (i.account, i.region, i.id) "+compare+" (?, ?, ?)", at[0], at[1], at[3])
		} else {
			where(" AND (i.account, i.region, i.sort, i.id) "+compare+" (?, ?, ?, ?)", at[0], at[1], at[2], at[3])
		}
	}
	b.WriteString(" ORDER BY " + strings.Join(order, direction+", ") + direction)
	if q.Limit > 0 {
		where(" LIMIT ?", q.Limit)
	}
	rows, err := s.read.QueryContext(ctx, b.String(), args...)
	if err != nil {
		return nil, failed("list rows", err)
	}
	defer rows.Close()
	var out []store.Found
	for rows.Next() {
		f := store.Found{Row: store.Row{Key: store.Key{Service: q.Service, Kind: q.Kind}}}
		var sort string
		if err := rows.Scan(&f.Key.Account, &f.Key.Region, &sort, &f.Key.ID, &f.Value, &f.Version); err != nil {
			return nil, failed("list rows", err)
		}
		f.Cursor = store.JoinCursor(f.Key.Account, f.Key.Region, sort, f.Key.ID)
		out = append(out, f)
	}
	return out, failed("list rows", rows.Err())
}

// successor is the first string after all that begin with prefix; "" when there is none.
func successor(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}

// sequence reads a listing in pages, so that no read transaction stays open while its reader works: the write-ahead
// log could not be trimmed behind it.
func sequence[T any](ctx context.Context, page func(last *T) ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var last *T
		for {
			some, err := page(last)
			if err != nil {
				yield(*new(T), err)
				return
			}
			for _, v := range some {
				if err := ctx.Err(); err != nil {
					yield(*new(T), err)
					return
				}
				if !yield(v, nil) {
					return
				}
			}
			if len(some) < pageSize {
				return
			}
			last = &some[len(some)-1]
		}
	}
}

// The bound of a page stands in the text: SQLite plans a statement anew when a bound parameter of LIMIT changes.
const (
	pageSize = 512
	aPage    = " LIMIT 512"
)

// query reads one page.
func query[T any](ctx context.Context, s *Store, what string, scan func(*sql.Rows) (T, error), text string, args ...any) ([]T, error) {
	stmt, err := s.statement(ctx, text)
	if err != nil {
		return nil, failed(what, err)
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, failed(what, err)
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, failed(what, err)
		}
		out = append(out, v)
	}
	return out, failed(what, rows.Err())
}

// Journal yields the entity's records.
func (s *Store) Journal(ctx context.Context, entity store.ID, after uint64) iter.Seq2[store.Record, error] {
	return sequence(ctx, func(last *store.Record) ([]store.Record, error) {
		if last != nil {
			after = last.Number
		}
		return query(ctx, s, "read journal", func(rows *sql.Rows) (store.Record, error) {
			r := store.Record{Entity: entity}
			var at, nanos int64
			err := rows.Scan(&r.Number, &r.Epoch, &at, &nanos, &r.Input, &r.Version, &r.Body)
			r.At = join(at, nanos)
			return r, err
		}, `SELECT r.number, r.epoch, r.at, r.at_nanos, r.input, r.version, r.body FROM records r
			WHERE r.entity = (SELECT id FROM entities WHERE name = ?) AND r.number > ? ORDER BY r.number`+aPage,
			string(entity), int64(after))
	})
}

// Snapshot returns the entity's newest snapshot.
func (s *Store) Snapshot(ctx context.Context, entity store.ID) (state []byte, number uint64, err error) {
	err = s.one(ctx, "read snapshot", `SELECT s.state, s.number FROM snapshots s WHERE s.entity = (SELECT id FROM entities WHERE name = ?)`,
		[]any{string(entity)}, &state, &number)
	if err != nil {
		return nil, 0, err
	}
	return state, number, nil
}

// OpenEntities lists what is not closed.
func (s *Store) OpenEntities(ctx context.Context, kind string) iter.Seq2[store.ID, error] {
	return sequence(ctx, func(last *store.ID) ([]store.ID, error) {
		after := ""
		if last != nil {
			after = string(*last)
		}
		return query(ctx, s, "list entities", func(rows *sql.Rows) (id store.ID, err error) {
			err = rows.Scan(&id)
			return id, err
		}, "SELECT name FROM entities WHERE closed = 0 AND kind = ? AND name > ? ORDER BY name"+aPage, kind, after)
	})
}

// Timers lists all timers, by entity and name.
func (s *Store) Timers(ctx context.Context) iter.Seq2[store.Timer, error] {
	return sequence(ctx, func(last *store.Timer) ([]store.Timer, error) {
		var at store.Timer
		if last != nil {
			at = *last
		}
		return query(ctx, s, "list timers", func(rows *sql.Rows) (t store.Timer, err error) {
			var due, nanos int64
			err = rows.Scan(&t.Entity, &t.Name, &due, &nanos)
			t.Due = join(due, nanos)
			return t, err
		}, "SELECT entity, name, due, due_nanos FROM timers WHERE (entity, name) > (?, ?) ORDER BY entity, name"+aPage,
			string(at.Entity), at.Name)
	})
}

// Outbox lists the messages in the order in which they were committed.
func (s *Store) Outbox(ctx context.Context) iter.Seq2[store.Message, error] {
	position := int64(-1)
	return sequence(ctx, func(last *store.Message) ([]store.Message, error) {
		if last == nil {
			position = -1
		}
		return query(ctx, s, "list outbox", func(rows *sql.Rows) (m store.Message, err error) {
			err = rows.Scan(&position, &m.Key, &m.Entity, &m.Record, &m.Body)
			return m, err
		}, "SELECT position, key, entity, record, body FROM outbox WHERE position > ? ORDER BY position"+aPage, position)
	})
}

// Receipt finds the answer to a request key.
func (s *Store) Receipt(ctx context.Context, key string) (store.Receipt, error) {
	r := store.Receipt{Key: key}
	var expires sql.NullInt64
	var nanos int64
	err := s.one(ctx, "read receipt", "SELECT answer, expires, expires_nanos FROM receipts WHERE key = ?", []any{key}, &r.Answer, &expires, &nanos)
	if err != nil {
		return store.Receipt{}, err
	}
	if expires.Valid {
		r.Expires = join(expires.Int64, nanos)
	}
	return r, nil
}

// Secret makes the value on first use.
func (s *Store) Secret(ctx context.Context, name string, size int) ([]byte, error) {
	s.secrets.Lock()
	defer s.secrets.Unlock()
	var b []byte
	err := s.read.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = ?", "secret/"+name).Scan(&b)
	if err == nil {
		return b, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return nil, failed("read secret", err)
	}
	b = make([]byte, size)
	rand.Read(b)
	done := make(chan error, 1)
	s.enqueue(queued{secret: "secret/" + name, value: b, done: func(err error) { done <- err }})
	if err := <-done; err != nil {
		return nil, fmt.Errorf("keep secret %s: %w", name, err)
	}
	return b, nil
}
