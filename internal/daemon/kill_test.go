package daemon

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/proc"
)

// TestMain is also the server that TestKillWhilePutting kills.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "proc" { // the supervisor of what a server starts
		os.Exit(proc.Main(os.Args[2:]))
	}
	if dir := os.Getenv("MAYFLY_TEST_SERVE"); dir != "" {
		s, err := Start(context.Background(), Settings{Listen: os.Getenv("MAYFLY_TEST_LISTEN"), DataDir: dir}, "killed", slog.New(slog.DiscardHandler))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("ready")
		s.Wait(context.Background())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// victim is a server in a process of its own.
func victim(t *testing.T, dir, address string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MAYFLY_TEST_SERVE="+dir, "MAYFLY_TEST_LISTEN="+address)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 6); func() error { _, err := io.ReadFull(out, b); return err }() != nil {
		t.Fatal("the server did not start")
	}
	return cmd
}

// TestKillWhilePutting kills the server with SIGKILL while clients put, overwrite and delete objects. After each restart
// every object is one that was put under its key, and at least as new as the last one that was acknowledged.
func TestKillWhilePutting(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, dir := l.Addr().String(), t.TempDir()
	l.Close()
	seed := uint64(clock.System{}.Now().UnixNano())
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))

	const keys = 6
	var acked, tried [keys]int // generations; the body tells its own
	body := func(key, generation int) []byte {
		size := []int{10, 20 << 10, 300 << 10}[generation%3]
		return bytes.Repeat([]byte(fmt.Sprintf("%d/%08d\n", key, generation)), size/10)
	}
	do := func(method, path string, b []byte) (int, []byte, error) {
		req, err := http.NewRequest(method, "http://"+address+path, bytes.NewReader(b))
		if err != nil {
			return 0, nil, err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, nil, err
		}
		defer res.Body.Close()
		out, err := io.ReadAll(res.Body)
		return res.StatusCode, out, err
	}
	for round := range rounds {
		server := victim(t, dir, address)
		if round == 0 {
			if status, out, err := do("PUT", "/kill", nil); status != 200 {
				t.Fatal(status, string(out), err)
			}
		}
		for k := range keys {
			status, got, err := do("GET", fmt.Sprintf("/kill/k%d", k), nil)
			if err != nil || status != 200 && acked[k] > 0 {
				t.Fatalf("round %d: key %d acknowledged at generation %d: %d %v", round, k, acked[k], status, err)
			}
			if status != 200 {
				continue
			}
			var key, generation int
			if _, err := fmt.Sscanf(string(got[:min(len(got), 11)]), "%d/%d\n", &key, &generation); err != nil || key != k || generation < acked[k] || generation > tried[k] {
				t.Fatalf("round %d: key %d holds generation %d of key %d, want %d to %d (%v)", round, k, generation, key, acked[k], tried[k], err)
			}
			if md5.Sum(got) != md5.Sum(body(k, generation)) {
				t.Fatalf("round %d: key %d is damaged: %d bytes", round, k, len(got))
			}
			acked[k] = generation
		}
		// The kill comes in the midst of the puts, after a random number of them.
		left := atomic.Int64{}
		left.Store(int64(keys + draw.IntN(80)))
		var wait sync.WaitGroup
		for k := range keys {
			wait.Go(func() {
				for {
					tried[k]++
					status, _, err := do("PUT", fmt.Sprintf("/kill/k%d", k), body(k, tried[k]))
					if err != nil {
						return // killed
					}
					if status != 200 {
						t.Errorf("put: %d", status)
						return
					}
					acked[k] = tried[k]
					if left.Add(-1) == 0 {
						server.Process.Signal(syscall.SIGKILL)
					}
				}
			})
		}
		server.Wait()
		wait.Wait()
	}
	// The last restart sweeps: as many files as big objects.
	server := victim(t, dir, address)
	defer func() { server.Process.Kill(); server.Wait() }()
	big := 0
	for k := range keys {
		if _, got, err := do("GET", fmt.Sprintf("/kill/k%d", k), nil); err == nil && len(got) > 16<<10 {
			big++
		}
	}
	files := 0
	filepath.WalkDir(filepath.Join(dir, "s3"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.Contains(path, filepath.Join("s3", "tmp")) {
			files++
		}
		return nil
	})
	if files != big {
		t.Errorf("%d files for %d objects that have one", files, big)
	}
}
