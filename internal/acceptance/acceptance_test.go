package acceptance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/daemon"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/launch"
	"github.com/mayfly-run/mayfly/spark"
)

// root is the repository's folder.
var root = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

func mayfly() string { return filepath.Join(root, "bin", "mayfly") }

// needed skips a test where the built program or Spark is missing; where everything must run, that is a failure.
func needed(t *testing.T) *spark.Installation {
	t.Helper()
	built(t)
	in, err := spark.Find(spark.Options{})
	if err != nil {
		missing(t, "Spark is not set up: run make setup (%v)", err)
	}
	return in
}

// built is needed for tests that start the program, but no Spark.
func built(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the built program; make test runs it")
	}
	if _, err := os.Stat(mayfly()); err != nil {
		missing(t, "bin/mayfly is not built: run make build")
	}
}

func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" || os.Getenv("MAYFLY_TEST_ALL") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// port is one that nothing listens on.
func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// server is a `mayfly serve` that a test may kill.
type server struct {
	t      testing.TB
	listen string
	dir    string
	cmd    *exec.Cmd
	log    *os.File
}

// serve starts a server and waits until it answers. At the end of the test it is stopped, and nothing of it may be left.
func serve(t testing.TB, listen string) *server {
	t.Helper()
	s := &server{t: t, listen: listen, dir: filepath.Join(t.TempDir(), "data")}
	log, err := os.Create(filepath.Join(t.TempDir(), "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	s.log = log
	s.start()
	t.Cleanup(func() {
		s.stop()
		log.Close()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("the server's log ends with:\n%s", b[max(0, len(b)-6000):])
		}
	})
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(mayfly(), "serve", "--listen", s.listen, "--data-dir", s.dir)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for try := 0; ; try++ {
		if _, err := daemon.Ask(context.Background(), s.listen); err == nil {
			return
		} else if try == 600 {
			s.t.Fatalf("the server does not answer: %v", err)
		}
		wait(50 * time.Millisecond)
	}
}

func (s *server) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.cmd.Wait() // killed
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the server ended with: %v", err)
	}
}

func (s *server) endpoint() string { return "http://" + s.listen }

// wait is for polling what runs in other processes.
func wait(d time.Duration) {
	done := make(chan struct{})
	clock.System{}.AfterFunc(d, func() { close(done) })
	<-done
}

// processes are those, zombies aside, whose command line or environment names a folder.
func processes(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Skip("no /proc to count processes in")
	}
	var out []string
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue // gone
		}
		environ, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if bytes.Contains(line, []byte(dir)) || bytes.Contains(environ, []byte(dir)) {
			out = append(out, fmt.Sprintf("%d %s", pid, strings.ReplaceAll(string(line[:min(len(line), 300)]), "\x00", " ")))
		}
	}
	return out
}

// none waits until no process of a folder is left, but for those that the test allows.
func none(t testing.TB, dir string, allowed func(string) bool) {
	t.Helper()
	var left []string
	for range 200 {
		left = left[:0]
		for _, p := range processes(t, dir) {
			if allowed == nil || !allowed(p) {
				left = append(left, p)
			}
		}
		if len(left) == 0 {
			return
		}
		wait(100 * time.Millisecond)
	}
	t.Errorf("processes are left:\n%s", strings.Join(left, "\n"))
}

// run calls `mayfly run` on a server of its own and returns what it printed for programs.
func run(t *testing.T, args ...string) (s launch.Summary, code int) {
	t.Helper()
	needed(t)
	dir := filepath.Join(t.TempDir(), "data")
	listen := port(t)
	t.Cleanup(func() {
		if out, err := exec.Command(mayfly(), "stop", "--data-dir", dir).CombinedOutput(); err != nil {
			t.Errorf("mayfly stop: %v\n%s", err, out)
		}
		none(t, dir, nil)
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(dir, "server.log"))
			t.Logf("the server's log ends with:\n%s", b[max(0, len(b)-6000):])
		}
	})
	cmd := exec.CommandContext(t.Context(), mayfly(), append([]string{"run", "--listen", listen, "--data-dir", dir, "--output", "json"}, args...)...)
	var out, progress bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &progress
	err := cmd.Run()
	t.Logf("mayfly run %s:\n%s", strings.Join(args, " "), progress.String())
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatalf("mayfly run printed no summary: %v\n%s", err, out.String())
	}
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	// The server is asked, not the summary: nothing may be left.
	left(t, "http://"+listen)
	return s, cmd.ProcessState.ExitCode()
}

// left fails when a cluster lives, or a stack besides the pipeline's own, which people deploy.
func left(t *testing.T, endpoint string) {
	t.Helper()
	calls := caller(endpoint)
	ctx := t.Context()
	clusters, err := calls(ctx, "elasticmapreduce", "ListClusters", map[string]any{"ClusterStates": []any{"STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"}})
	if err != nil {
		t.Fatal(err)
	}
	if l, _ := clusters["Clusters"].([]any); len(l) > 0 {
		t.Errorf("clusters live: %v", l)
	}
	stacks, err := calls(ctx, "cloudformation", "DescribeStacks", map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stacks["Stacks"].([]any) {
		if name := s.(map[string]any)["StackName"]; name != "mayfly-pipeline" && name != "step-pipeline" {
			t.Errorf("the stack %v is left", name)
		}
	}
}

var client = &http.Client{Timeout: time.Minute}

// raw is a request as it stands on the wire. Of its headers, "Host" is the host that is meant, and "Service" the one whose
// signature is pretended: servers without credentials do not check it.
type raw struct {
	method, path string // POST and / when empty
	headers      map[string]string
	body         string
}

// send sends a raw request and reads the answer.
func (s *server) send(t testing.TB, r raw) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), cmp.Or(r.method, http.MethodPost), s.endpoint()+cmp.Or(r.path, "/"), strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range r.headers {
		switch k {
		case "Host":
			req.Host = v
		case "Service":
			req.Header.Set("X-Amz-Date", "20260101T000000Z")
			req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/"+v+"/aws4_request, SignedHeaders=host, Signature=0")
		default:
			req.Header.Set(k, v)
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// query is a call in the query protocol, and target one in JSON.
func query(service, body string) raw {
	return raw{headers: map[string]string{"Service": service, "Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}, body: body}
}

func target(service, operation, body string) raw {
	return raw{headers: map[string]string{"Service": service, "X-Amz-Target": operation, "Content-Type": "application/x-amz-json-1.0"}, body: body}
}

// remote calls a server as any client does.
func remote(endpoint string) awscall.Caller {
	return &awscall.Remote{Endpoint: endpoint, Region: "us-east-1", Credentials: awscall.Static(identity.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}), HTTP: client}
}

// caller is remote as a function.
func caller(endpoint string) func(ctx context.Context, service, operation string, in map[string]any) (map[string]any, error) {
	calls := remote(endpoint)
	return func(ctx context.Context, service, operation string, in map[string]any) (map[string]any, error) {
		return calls.Invoke(ctx, awscall.Call{Service: service, Operation: operation, Input: in})
	}
}
