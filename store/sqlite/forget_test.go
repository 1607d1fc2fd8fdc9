package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/store"
)

// TestRecordsOfTheForgottenGo: also when the process ends between their pieces.
func TestRecordsOfTheForgottenGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path)
	commit := func(b store.Batch) {
		t.Helper()
		if err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	for n := uint64(1); n <= 2000; n++ {
		s.CommitAsync(store.Batch{Closed: true, Record: &store.Record{Entity: "k/a", Number: n, At: time.Unix(0, 0), Body: []byte("x")}}, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	commit(store.Batch{Forget: "k/a"})
	count := func() (records, entities int) {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.QueryRow("SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM entities)").Scan(&records, &entities); err != nil {
			t.Fatal(err)
		}
		s = open(t, path)
		return records, entities
	}
	if records, _ := count(); records == 2000 {
		t.Errorf("no record is gone")
	}
	for range 10 { // each removes a piece beside its own work
		commit(store.Batch{Rows: []store.RowChange{{Key: store.Key{ID: "r"}, Value: []byte("1")}}})
	}
	commit(store.Batch{Record: &store.Record{Entity: "k/a", Number: 1, At: time.Unix(0, 0)}})
	if records, entities := count(); records != 1 || entities != 1 {
		t.Errorf("%d records of %d entities are left, want one of one", records, entities)
	}
	s.Close()
}
