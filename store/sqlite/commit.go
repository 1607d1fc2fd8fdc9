package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/mayfly-run/mayfly/store"
)

// The bounds of one transaction, so that the first caller of a long queue does not wait for the last.
const (
	groupBatches = 1024
	groupBytes   = 8 << 20
	// graveRecords is how many records of forgotten entities one transaction removes: others do not wait long for it.
	graveRecords = 256
	// knownEntities bounds how many open entities the committer remembers by name; few closed ones are heard of again.
	knownEntities = 1 << 16
)

type queued struct {
	batch  store.Batch
	secret string // instead of a batch
	value  []byte
	done   func(error)
}

func (q queued) size() int {
	n := len(q.value) + len(q.batch.Snapshot)
	if q.batch.Record != nil {
		n += len(q.batch.Record.Body)
	}
	for _, r := range q.batch.Rows {
		n += len(r.Value)
	}
	for _, m := range q.batch.Outbox {
		n += len(m.Body)
	}
	return n
}

// Commit is CommitAsync and a wait.
func (s *Store) Commit(ctx context.Context, b store.Batch) error {
	done := make(chan error, 1)
	s.CommitAsync(b, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CommitAsync queues b for the committer.
func (s *Store) CommitAsync(b store.Batch, done func(error)) { s.enqueue(queued{batch: b, done: done}) }

func (s *Store) enqueue(q queued) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		go q.done(ErrClosed)
		return
	}
	s.queue = append(s.queue, q)
	s.mu.Unlock()
	s.wake.Signal()
}

// run commits what has queued up, group by group. After a failure it only reports it.
func (s *Store) run(c *committer) {
	defer close(s.ended)
	defer c.close()
	var broken error
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.closed && !(c.graves && broken == nil) {
			s.wake.Wait()
		}
		n, size := 0, 0
		for n < len(s.queue) && n < groupBatches && size < groupBytes {
			size += s.queue[n].size()
			n++
		}
		group := s.queue[:n:n]
		s.queue = s.queue[n:]
		s.mu.Unlock()
		if n == 0 && s.leaving() {
			return
		}
		var results []error
		if broken == nil {
			results, broken = c.commit(group)
		}
		for i, q := range group {
			if broken != nil {
				q.done(broken)
			} else {
				q.done(results[i])
			}
		}
	}
}

func (s *Store) leaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// known is what the committer remembers of an entity.
type known struct {
	id, last, epoch int64
	closed          bool
}

// committer writes on its own connection, with statements prepared once.
type committer struct {
	conn     *sql.Conn
	version  int64
	lastRow  int64 // no row has a greater number
	entities map[store.ID]known
	stmts    []*sql.Stmt

	findEntity, addEntity, closeEntity, addRecord, putSnapshot           *sql.Stmt
	rowVersion, putRow, findRow, deleteRow, clearIndex, addIndex         *sql.Stmt
	setTimer, clearTimer, hasReceipt, addReceipt, addMessage, endMessage *sql.Stmt
	addSecret, isBusy, bury, dropSnapshot, findGrave, empty, removeGrave *sql.Stmt

	graves bool // there may be entities that are forgotten and whose records still take room
}

func newCommitter(ctx context.Context, db *sql.DB, generation int64) (*committer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	const key = "service = ? AND kind = ? AND account = ? AND region = ? AND id = ?"
	c := &committer{conn: conn, version: generation << 32, entities: map[store.ID]known{}, graves: true}
	if err := conn.QueryRowContext(ctx, "SELECT coalesce(max(row), 0) FROM rows").Scan(&c.lastRow); err != nil {
		c.close()
		return nil, fmt.Errorf("find the last row: %w", err)
	}
	for _, s := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&c.findEntity, `SELECT id, closed, coalesce(number, 0), coalesce(epoch, 0) FROM entities LEFT JOIN records ON entity = id
			WHERE name = ? ORDER BY number DESC LIMIT 1`},
		{&c.addEntity, "INSERT INTO entities (name, kind, closed) VALUES (?, ?, ?)"},
		{&c.closeEntity, "UPDATE entities SET closed = ? WHERE id = ?"},
		{&c.addRecord, "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)"},
		{&c.putSnapshot, "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)"},
		{&c.rowVersion, "SELECT version FROM rows WHERE " + key},
		{&c.putRow, `INSERT INTO rows (service, kind, account, region, id, version, value) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET version = excluded.version, value = excluded.value RETURNING row`},
		{&c.findRow, "SELECT row FROM rows WHERE " + key},
		{&c.deleteRow, "DELETE FROM rows WHERE row = ?"},
		{&c.clearIndex, "DELETE FROM row_index WHERE row = ?"},
		{&c.addIndex, "INSERT OR REPLACE INTO row_index VALUES (?, ?, ?, ?, ?, ?, ?, ?)"},
		{&c.setTimer, "INSERT OR REPLACE INTO timers VALUES (?, ?, ?, ?)"},
		{&c.clearTimer, "DELETE FROM timers WHERE entity = ? AND name = ?"},
		{&c.hasReceipt, "SELECT count(*) FROM receipts WHERE key = ?"},
		{&c.addReceipt, "INSERT OR REPLACE INTO receipts VALUES (?, ?, ?, ?)"},
		{&c.addMessage, "INSERT OR REPLACE INTO outbox (key, entity, record, body) VALUES (?, ?, ?, ?)"},
		{&c.endMessage, "DELETE FROM outbox WHERE key = ?"},
		{&c.addSecret, "INSERT INTO meta VALUES (?, ?)"},
		{&c.isBusy, `SELECT EXISTS (SELECT 1 FROM timers WHERE entity = ?1) OR
			EXISTS (SELECT 1 FROM outbox WHERE key > ?2 AND key < ?3 AND entity = ?1)`},
		{&c.bury, "UPDATE entities SET name = char(0) || id, kind = '', closed = 0 WHERE id = ?"},
		{&c.dropSnapshot, "DELETE FROM snapshots WHERE entity = ?"},
		{&c.findGrave, "SELECT id FROM entities WHERE closed = 0 AND kind = '' LIMIT 1"},
		{&c.empty, "DELETE FROM records WHERE entity = ?1 AND number <= (SELECT min(number) FROM records WHERE entity = ?1) + ?2"},
		{&c.removeGrave, "DELETE FROM entities WHERE id = ?"},
	} {
		stmt, err := conn.PrepareContext(ctx, s.text)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("prepare %s: %w", s.text, err)
		}
		*s.to = stmt
		c.stmts = append(c.stmts, stmt)
	}
	return c, nil
}

func (c *committer) close() {
	for _, s := range c.stmts {
		s.Close()
	}
	c.conn.Close()
}

// commit writes a group in one transaction: the conditions of each batch are checked before it writes anything, so a
// batch that fails them leaves nothing behind and the others stand. The error is of the group: the disk's.
func (c *committer) commit(group []queued) (results []error, err error) {
	ctx := context.Background()
	if _, err := c.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	results = make([]error, len(group))
	for i, q := range group {
		if q.secret != "" {
			_, err = c.addSecret.Exec(q.secret, q.value)
		} else {
			results[i], err = c.apply(q.batch)
		}
		if err != nil {
			c.conn.ExecContext(ctx, "ROLLBACK")
			return nil, err
		}
	}
	if c.graves {
		if err := c.clear(); err != nil {
			c.conn.ExecContext(ctx, "ROLLBACK")
			return nil, fmt.Errorf("remove the records of a forgotten entity: %w", err)
		}
	}
	if _, err := c.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	if len(c.entities) > knownEntities {
		clear(c.entities)
	}
	return results, nil
}

// clear removes some records of an entity that was forgotten, and the entity with its last ones.
func (c *committer) clear() error {
	var id int64
	if err := c.findGrave.QueryRow().Scan(&id); errors.Is(err, sql.ErrNoRows) {
		c.graves = false
		return nil
	} else if err != nil {
		return err
	}
	res, err := c.empty.Exec(id, graveRecords-1)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); n == graveRecords || err != nil {
		return err
	}
	_, err = c.removeGrave.Exec(id)
	return err
}

func (c *committer) apply(b store.Batch) (condition, err error) {
	var entity, gone known
	if r := b.Record; r != nil {
		if entity, err = c.entity(r.Entity); err != nil {
			return nil, fmt.Errorf("find entity: %w", err)
		}
		if int64(r.Epoch) < entity.epoch {
			return store.ErrFenced, nil
		}
		if int64(r.Number) != entity.last+1 {
			return store.ErrConflict, nil
		}
	}
	if b.Forget != "" {
		if gone, err = c.entity(b.Forget); err != nil {
			return nil, fmt.Errorf("find entity: %w", err)
		}
		var busy bool
		if err := c.isBusy.QueryRow(string(b.Forget), string(b.Forget)+"/", string(b.Forget)+"0").Scan(&busy); err != nil {
			return nil, fmt.Errorf("look for what an entity waits for: %w", err)
		}
		if busy || gone.id != 0 && !gone.closed || b.Record != nil && b.Record.Entity == b.Forget {
			return store.ErrConflict, nil
		}
	}
	for _, row := range b.Rows {
		if row.IfVersion == store.AnyVersion {
			continue
		}
		have := store.Absent
		k := row.Key
		err := c.rowVersion.QueryRow(k.Service, k.Kind, k.Account, k.Region, k.ID).Scan(&have)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("check row: %w", err)
		}
		if have != row.IfVersion {
			return store.ErrConflict, nil
		}
	}
	for _, r := range b.Receipts {
		var n int
		if err := c.hasReceipt.QueryRow(r.Key).Scan(&n); err != nil {
			return nil, fmt.Errorf("check receipt: %w", err)
		}
		if n > 0 {
			return store.ErrConflict, nil
		}
	}
	return nil, c.write(b, entity, gone)
}

func (c *committer) entity(id store.ID) (known, error) {
	if e, ok := c.entities[id]; ok {
		return e, nil
	}
	var e known
	err := c.findEntity.QueryRow(string(id)).Scan(&e.id, &e.closed, &e.last, &e.epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return known{}, nil
	}
	return e, err
}

// write writes a batch whose conditions hold. A forgotten entity loses its name at once, and its records little by little:
// there may be many. Its grave stands among the open entities of no kind, where it is found again.
func (c *committer) write(b store.Batch, e, gone known) error {
	var failure error
	exec := func(stmt *sql.Stmt, args ...any) {
		if failure == nil {
			_, failure = stmt.Exec(args...)
		}
	}
	if r := b.Record; r != nil {
		if e.id == 0 {
			kind, _, _ := strings.Cut(string(r.Entity), "/")
			res, err := c.addEntity.Exec(string(r.Entity), kind, b.Closed)
			if err != nil {
				return fmt.Errorf("add entity: %w", err)
			}
			if e.id, err = res.LastInsertId(); err != nil {
				return err
			}
		} else if e.closed != b.Closed {
			exec(c.closeEntity, b.Closed, e.id)
		}
		at, nanos := split(r.At)
		exec(c.addRecord, e.id, int64(r.Number), int64(r.Epoch), at, nanos, r.Input, r.Version, r.Body)
		if b.Snapshot != nil {
			exec(c.putSnapshot, e.id, int64(r.Number), b.Snapshot)
		}
		if b.Closed || failure != nil {
			delete(c.entities, r.Entity)
		} else {
			c.entities[r.Entity] = known{e.id, int64(r.Number), int64(r.Epoch), false}
		}
	}
	if gone.id != 0 {
		exec(c.bury, gone.id)
		exec(c.dropSnapshot, gone.id)
		delete(c.entities, b.Forget)
		c.graves = true
	}
	for _, row := range b.Rows {
		if failure == nil {
			failure = c.row(row)
		}
	}
	for _, t := range b.ClearTimers {
		exec(c.clearTimer, string(t.Entity), t.Name)
	}
	for _, t := range b.SetTimers {
		due, nanos := split(t.Due)
		exec(c.setTimer, string(t.Entity), t.Name, due, nanos)
	}
	for _, r := range b.Receipts {
		var expires any
		var nanos int64
		if !r.Expires.IsZero() {
			expires, nanos = split(r.Expires)
		}
		exec(c.addReceipt, r.Key, r.Answer, expires, nanos)
	}
	for _, m := range b.Outbox {
		exec(c.addMessage, m.Key, string(m.Entity), int64(m.Record), m.Body)
	}
	for _, key := range b.Done {
		exec(c.endMessage, key)
	}
	if failure != nil {
		return fmt.Errorf("write batch: %w", failure)
	}
	return nil
}

func (c *committer) row(ch store.RowChange) error {
	k := ch.Key
	var row int64
	if ch.Delete {
		err := c.findRow.QueryRow(k.Service, k.Kind, k.Account, k.Region, k.ID).Scan(&row)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err == nil {
			_, err = c.deleteRow.Exec(row)
		}
		if err == nil {
			_, err = c.clearIndex.Exec(row)
		}
		return err
	}
	c.version++
	if err := c.putRow.QueryRow(k.Service, k.Kind, k.Account, k.Region, k.ID, c.version, ch.Value).Scan(&row); err != nil {
		return err
	}
	if row > c.lastRow { // a new one
		c.lastRow = row
	} else if _, err := c.clearIndex.Exec(row); err != nil {
		return err
	}
	for _, e := range ch.Index {
		if _, err := c.addIndex.Exec(k.Service, k.Kind, e.Name, k.Account, k.Region, e.Sort, k.ID, row); err != nil {
			return err
		}
	}
	return nil
}
