package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
	"github.com/mayfly-run/mayfly/store/sqlite"
)

func start(t *testing.T, s Settings) *Server {
	t.Helper()
	srv, err := Start(context.Background(), s, "v1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

func TestServerLife(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Settings{Listen: "127.0.0.1:0", DataDir: dir})
	address := s.listener.Addr().String()
	h, err := Ask(context.Background(), address)
	if err != nil || h.Version != "v1" || h.DataDir != dir || h.PID != os.Getpid() || h.Endpoint != "http://"+address || h.MailDir != filepath.Join(dir, "mail") {
		t.Errorf("health: %+v %v", h, err)
	}
	if o, held, err := Holder(dir); err != nil || !held || o.PID != os.Getpid() || o.Listen != address {
		t.Errorf("holder: %+v %v %v", o, held, err)
	}
	// A second server names the first, by its directory or by its port, and changes nothing.
	_, err = Start(context.Background(), Settings{Listen: "127.0.0.1:0", DataDir: dir}, "v2", slog.New(slog.DiscardHandler))
	var locked *LockedError
	if !errors.As(err, &locked) || locked.Version != "v1" {
		t.Errorf("second server on the directory: %v", err)
	}
	_, err = Start(context.Background(), Settings{Listen: address, DataDir: t.TempDir()}, "v2", slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("second server on the port: %v", err)
	}
	s.Stop()
	if _, held, err := Holder(dir); held || err != nil {
		t.Errorf("still held after the end (%v)", err)
	}
	again := start(t, Settings{Listen: address, DataDir: dir})
	again.Stop()
}

func TestForeignServer(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	_, err := Start(context.Background(), Settings{Listen: other.Listener.Addr().String(), DataDir: t.TempDir()}, "v", slog.New(slog.DiscardHandler))
	var foreign *ErrForeign
	if !errors.As(err, &foreign) || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("%v", err)
	}
}

func TestFailEndsWait(t *testing.T) {
	s := start(t, Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir()})
	defer s.Stop()
	reason := errors.New("fsync: input/output error")
	s.fail(reason)
	s.fail(errors.New("a consequence"))
	if err := s.Wait(context.Background()); err != reason {
		t.Errorf("ended with %v", err)
	}
}

func TestListenerIsFreedWhenStartFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mayfly.db"), []byte("this is no database, but long enough to be looked at as one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(context.Background(), Settings{Listen: address, DataDir: dir}, "v", slog.New(slog.DiscardHandler)); err == nil {
		t.Fatal("started on a broken store")
	}
	if _, held, _ := Holder(dir); held {
		t.Error("the directory is still locked")
	}
	l, err = net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mayfly.yaml")
	if err := os.WriteFile(file, []byte("listen: 127.0.0.1:1\ndata-dir: from-file\nlog-format: json\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"MAYFLY_DATA_DIR": "from-env", "MAYFLY_LISTEN": "127.0.0.1:2"}
	s, inForce, err := Load(map[string]string{"listen": "127.0.0.1:3"}, func(k string) string { return env[k] }, file, true)
	if err != nil {
		t.Fatal(err)
	}
	if s.Listen != "127.0.0.1:3" || s.DataDir != "from-env" || s.LogFormat != "json" || s.LogLevel != "info" {
		t.Errorf("%+v", s)
	}
	origins := map[string]string{}
	for _, x := range inForce {
		origins[x.Name] = x.Origin
	}
	for name, want := range map[string]string{"listen": "flag --listen", "data-dir": "environment MAYFLY_DATA_DIR", "log-format": "file " + file, "log-level": "default"} {
		if origins[name] != want {
			t.Errorf("%s comes from %q, want %q", name, origins[name], want)
		}
	}
	none := func(string) string { return "" }
	for text, part := range map[string]string{
		"nonsense: 1": `no setting is named "nonsense"`, "log-level: loud": "none of", "listen: [1]": "not a plain value",
		"cores: many": `setting cores: "many" is no number`, "memory: 12 apples": `setting memory: "12 apples" is no size such as 12g`,
		"memory: 1g": "setting memory: the smallest cluster needs 2560 MiB, and 1g is 1024",
	} {
		os.WriteFile(file, []byte(text), 0o600)
		if _, _, err := Load(nil, none, file, true); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if s, _, err := Load(map[string]string{"cores": "3", "memory": "4g"}, none, "", false); err != nil {
		t.Error(err)
	} else if b, err := s.Budget(); err != nil || b.Cores != 3 || b.MemoryMB != 4096 {
		t.Errorf("budget %+v %v", b, err)
	}
	if _, _, err := Load(nil, none, file+".none", true); err == nil {
		t.Error("a settings file that must be there was not missed")
	}
	if _, _, err := Load(nil, none, file+".none", false); err != nil {
		t.Error(err)
	}
}

// TestGuardedStore: a commit that the disk refused ends the server; one whose condition does not hold is no news.
func TestGuardedStore(t *testing.T) {
	var told error
	broken := &brokenStore{Store: memory.New()}
	g := guarded{broken, func(err error) { told = err }}
	for _, err := range []error{nil, store.ErrConflict, fmt.Errorf("commit: %w", store.ErrFenced), sqlite.ErrClosed} {
		broken.err = err
		if got := g.Commit(context.Background(), store.Batch{}); got != err || told != nil {
			t.Errorf("%v: answered %v, told %v", err, got, told)
		}
	}
	broken.err = errors.New("disk I/O error")
	if err := g.Commit(context.Background(), store.Batch{}); err != broken.err || told != broken.err {
		t.Errorf("answered %v, told %v", err, told)
	}
	told = nil
	var answered error
	g.CommitAsync(store.Batch{}, func(err error) { answered = err })
	if answered != broken.err || told != broken.err {
		t.Errorf("asynchronously: answered %v, told %v", answered, told)
	}
}

type brokenStore struct {
	store.Store
	err error
}

func (b *brokenStore) Commit(context.Context, store.Batch) error   { return b.err }
func (b *brokenStore) CommitAsync(_ store.Batch, done func(error)) { done(b.err) }
