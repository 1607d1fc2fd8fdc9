package sqlite_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/sqlite"
	"github.com/mayfly-run/mayfly/store/storetest"
)

func open(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func() (store.Store, func() store.Store, func()) {
		dir, err := os.MkdirTemp(t.TempDir(), "store")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "a b?%.db")
		s := open(t, path)
		reopen := func() store.Store {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			s = open(t, path)
			return s
		}
		return s, reopen, func() { os.RemoveAll(dir) }
	})
}

// TestIndexOfRowsWithUsedNumbers: SQLite gives the number of the last row again once that is deleted.
func TestIndexOfRowsWithUsedNumbers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path)
	put := func(id, sort string) {
		t.Helper()
		c := store.RowChange{Key: store.Key{Service: "s", Kind: "k", ID: id}, Delete: sort == "", Index: []store.IndexEntry{{Name: "i", Sort: sort}}}
		if err := s.Commit(t.Context(), store.Batch{Rows: []store.RowChange{c}}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want ...string) {
		t.Helper()
		var got []string
		rows, err := s.List(t.Context(), store.Query{Service: "s", Kind: "k", Index: "i"})
		for _, r := range rows {
			got = append(got, r.Key.ID)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("the index lists %v, want %v (%v)", got, want, err)
		}
	}
	put("a", "1")
	put("b", "2")
	put("b", "")
	put("c", "3")
	put("c", "0")
	expect("c", "a")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	put("c", "4")
	put("a", "5")
	expect("c", "a")
	s.Close()
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	open(t, path).Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version = 999"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	_, err = sqlite.Open(context.Background(), path)
	if err == nil || !strings.Contains(err.Error(), "newer Mayfly") {
		t.Errorf("opened: %v", err)
	}
}

func TestNoStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(context.Background(), path); err == nil {
		t.Error("a file of text was opened as a store")
	}
	if _, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "no", "dir.db")); err == nil {
		t.Error("a store in no folder was opened")
	}
}

// TestKill kills a process that writes, again and again, and looks for every write that it had acknowledged: it prints
// one line for each. Each writer's next record builds on its last, so a torn batch would be seen as well.
func TestKill(t *testing.T) {
	const rounds, writers = 8, 16
	path := filepath.Join(t.TempDir(), "kill.db")
	acknowledged := map[string]uint64{}
	total := 0
	for round := range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKillChild$")
		cmd.Env = append(os.Environ(), "MAYFLY_KILL_STORE="+path, "MAYFLY_KILL_WRITERS="+strconv.Itoa(writers))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stop := 50 + rand.IntN(1500) // lines
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if id, number, ok := strings.Cut(lines.Text(), " "); ok && strings.HasPrefix(id, "writer/") {
				if v, err := strconv.ParseUint(number, 10, 64); err == nil { // the kill may cut the last line
					acknowledged[id] = max(acknowledged[id], v)
					total++
				}
			}
			if n == stop {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()

		s := open(t, path)
		for id, want := range acknowledged {
			var got uint64
			for r, err := range s.Journal(t.Context(), store.ID(id), 0) {
				if err != nil {
					t.Fatal(err)
				}
				if got++; r.Number != got {
					t.Fatalf("round %d: %s: record %d after %d", round, id, r.Number, got-1)
				}
			}
			row, err := s.Get(t.Context(), store.Key{Service: "kill", ID: id})
			// The kill may have come between commit and report, and may have cut a number short.
			if got < want || err != nil || string(row.Value) != strconv.FormatUint(got, 10) {
				t.Fatalf("round %d: %s: %d records and row %s (%v), acknowledged %d", round, id, got, row.Value, err, want)
			}
		}
		s.Close()
	}
	if len(acknowledged) != writers || total < rounds*50 {
		t.Errorf("only %d writes of %d writers were acknowledged", total, len(acknowledged))
	}
}

// TestKillChild is the process that TestKill kills.
func TestKillChild(t *testing.T) {
	path := os.Getenv("MAYFLY_KILL_STORE")
	if path == "" {
		return // it is no test of its own
	}
	writers, _ := strconv.Atoi(os.Getenv("MAYFLY_KILL_WRITERS"))
	s := open(t, path)
	for w := range writers {
		go func() {
			id := fmt.Sprint("writer/", w)
			number := uint64(1)
			for r, err := range s.Journal(context.Background(), store.ID(id), 0) {
				if err != nil {
					t.Error(err)
				}
				number = r.Number + 1
			}
			for ; ; number++ {
				err := s.Commit(context.Background(), store.Batch{
					Record: &store.Record{Entity: store.ID(id), Number: number, Body: make([]byte, 300)},
					Rows:   []store.RowChange{{Key: store.Key{Service: "kill", ID: id}, Value: []byte(strconv.FormatUint(number, 10))}},
				})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(2)
				}
				fmt.Printf("%s %d\n", id, number)
			}
		}()
	}
	select {} // the parent kills it; without a parent, writing to its pipe does
}

// TestBrokenIsForGood makes a write fail as a bad disk does, and checks that the store never acknowledges anything after it.
func TestBrokenIsForGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path)
	defer s.Close()
	put := func() error {
		return s.Commit(t.Context(), store.Batch{Rows: []store.RowChange{{Key: store.Key{ID: "a"}, Value: []byte("1")}}})
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TRIGGER broken BEFORE UPDATE ON rows BEGIN SELECT RAISE(ABORT, 'disk failed'); END"); err != nil {
		t.Fatal(err)
	}
	first := put()
	if first == nil || errors.Is(first, store.ErrConflict) {
		t.Fatalf("the failing commit: %v", first)
	}
	if _, err := db.Exec("DROP TRIGGER broken"); err != nil {
		t.Fatal(err)
	}
	if err := put(); err == nil || err.Error() != first.Error() {
		t.Errorf("after the failure: %v, want %v", err, first)
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, callers := range []int{1, 64, 1024} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			s := open(b, filepath.Join(b.TempDir(), "bench.db"))
			defer s.Close()
			work := make(chan int)
			var wg sync.WaitGroup
			body := make([]byte, 300)
			for c := range callers {
				wg.Go(func() {
					number, entity := uint64(0), 0
					for range work {
						if number++; number > 25 {
							number, entity = 1, entity+1
						}
						err := s.Commit(context.Background(), store.Batch{Record: &store.Record{
							Entity: store.ID(fmt.Sprintf("bench/%d/%d", c, entity)), Number: number, Body: body,
						}})
						if err != nil {
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
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}
