package proc_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/proc"
)

// TestMain makes the test binary its own supervisor, and the parent that TestParentIsKilled kills.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "proc":
			os.Exit(proc.Main(os.Args[2:]))
		case "parent":
			if _, err := proc.Start(shell(os.Args[2], os.Args[3])); err != nil {
				panic(err)
			}
			os.Stdout.WriteString("started\n")
			select {} // until it is killed
		}
	}
	os.Exit(m.Run())
}

func shell(dir, script string) proc.Spec {
	return proc.Spec{Dir: dir, Args: []string{"sh", "-c", script}, Env: []string{"PATH=" + os.Getenv("PATH"), "GREETING=hello"}}
}

func start(t *testing.T, spec proc.Spec) *proc.Process {
	t.Helper()
	p, err := proc.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(context.WithoutCancel(t.Context()), 0); p.Close() })
	return p
}

func wait(t *testing.T, p *proc.Process) proc.Status {
	t.Helper()
	s, err := p.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// eventually waits for something that another process does; the test's own deadline ends it.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for !cond() {
		tick := make(chan struct{})
		clock.System{}.AfterFunc(5*time.Millisecond, func() { close(tick) })
		select {
		case <-tick:
		case <-t.Context().Done():
			t.Fatal(what)
		}
	}
}

func content(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// alive says whether pid is a process that has not ended.
func alive(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) {
		if _, noProc := os.Stat("/proc/self"); noProc != nil {
			return syscall.Kill(pid, 0) == nil
		}
		return false
	}
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func readPID(t *testing.T, path string) (pid int) {
	t.Helper()
	eventually(t, "no pid in "+path, func() bool {
		b, _ := os.ReadFile(path)
		var err error
		pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil
	})
	return pid
}

func TestExit(t *testing.T) {
	for _, c := range []struct{ name, script, stdout, stderr, status string }{
		{"success", `echo $GREETING; echo oops >&2`, "hello\n", "oops\n", "exit code 0"},
		{"failure", `exit 7`, "", "", "exit code 7"},
		{"signal", `kill -9 $$`, "", "", "signal: killed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := wait(t, start(t, shell(dir, c.script)))
			if s.String() != c.status || s.Ended.Before(s.Started) || s.Started.IsZero() {
				t.Errorf("status %+v, want %s", s, c.status)
			}
			if got := content(t, dir, "stdout"); got != c.stdout {
				t.Errorf("stdout %q, want %q", got, c.stdout)
			}
			if got := content(t, dir, "stderr"); got != c.stderr {
				t.Errorf("stderr %q, want %q", got, c.stderr)
			}
		})
	}
}

func TestNoSuchProgram(t *testing.T) {
	s := wait(t, start(t, proc.Spec{Dir: t.TempDir(), Args: []string{"no-such-program"}}))
	if s.Code != 127 || s.Error != "no-such-program: no such program" {
		t.Errorf("status %+v", s)
	}
}

func TestOpen(t *testing.T) {
	if _, err := proc.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, proc.ErrNotStarted) {
		t.Errorf("open of nothing: %v", err)
	}
	dir := t.TempDir()
	spec := shell(dir, `echo once; while [ ! -e go ]; do sleep 0.01; done; exit 3`)
	first := start(t, spec)
	first.Close()
	again := start(t, spec) // a repeated command: the program runs once
	opened, err := proc.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if _, ended := opened.Status(); ended {
		t.Error("ended before it was told to go")
	}
	os.WriteFile(filepath.Join(dir, "go"), nil, 0o600)
	for _, p := range []*proc.Process{again, opened} {
		if s := wait(t, p); s.Code != 3 {
			t.Errorf("status %+v", s)
		}
	}
	after, err := proc.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s := wait(t, after); s.Code != 3 {
		t.Errorf("status of the opened: %+v", s)
	}
	if got := content(t, dir, "stdout"); got != "once\n" {
		t.Errorf("stdout %q", got)
	}
}

func TestStopReachesTheWholeTree(t *testing.T) {
	for _, c := range []struct{ name, script, status string }{
		{"terminate", `sleep 600 & echo $! >child; wait`, "signal: terminated"},
		{"deaf", `trap "" TERM; (trap "" TERM; exec sleep 600) & echo $! >child; while :; do wait; done`, "signal: killed"},
		{"own session", `setsid sleep 600 & echo $! >child; wait`, "signal: terminated"},
		{"handler", `trap "exit 9" TERM; sleep 600 & echo $! >child; wait`, "exit code 9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := exec.LookPath("setsid"); err != nil && c.name == "own session" {
				t.Skip("no setsid on this system; there a program with a session of its own gets away (doc.go)")
			}
			dir := t.TempDir()
			p := start(t, shell(dir, c.script))
			child := readPID(t, filepath.Join(dir, "child"))
			s, err := p.Stop(t.Context(), 100*time.Millisecond)
			if err != nil || s.String() != c.status {
				t.Errorf("status %v (%v), want %s", s, err, c.status)
			}
			if alive(child) {
				t.Errorf("child %d lives", child)
			}
		})
	}
}

func TestLeftBehindEnds(t *testing.T) {
	dir := t.TempDir()
	s := wait(t, start(t, shell(dir, `(sleep 600 & echo $! >child); exit 0`)))
	if s.Code != 0 {
		t.Errorf("status %+v", s)
	}
	if child := readPID(t, filepath.Join(dir, "child")); alive(child) {
		t.Errorf("child %d lives", child)
	}
}

func TestParentIsKilled(t *testing.T) {
	dir := t.TempDir()
	script := `echo one; while [ ! -e go ]; do sleep 0.01; done; echo two; exit 5`
	parent := exec.Command(os.Args[0], "parent", dir, script)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	parent.Process.Kill()
	parent.Wait()
	p := start(t, shell(dir, script)) // what a new server does: it dispatches the command again
	if _, ended := p.Status(); ended {
		t.Fatal("the program ended with its parent")
	}
	os.WriteFile(filepath.Join(dir, "go"), nil, 0o600)
	if s := wait(t, p); s.Code != 5 {
		t.Errorf("status %+v", s)
	}
	if got := content(t, dir, "stdout"); got != "one\ntwo\n" {
		t.Errorf("stdout %q", got)
	}
}

func TestLost(t *testing.T) {
	dir := t.TempDir()
	p := start(t, shell(dir, `sleep 600 & echo $! >child; wait`))
	child := readPID(t, filepath.Join(dir, "child"))
	var id struct{ PID int }
	if err := json.Unmarshal([]byte(content(t, dir, "pid.json")), &id); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(id.PID, syscall.SIGKILL)
	if s := wait(t, p); !s.Lost || s.Code != -1 || s.String() != "lost" {
		t.Errorf("status %+v", s)
	}
	eventually(t, "the child of a lost program lives", func() bool { return !alive(child) })
	again := start(t, shell(dir, `echo twice`))
	if s := wait(t, again); !s.Lost {
		t.Errorf("a lost program was started again: %+v", s)
	}
}

// TestSomebodyElsesPID opens folders whose supervisor is gone and whose pid is somebody else's by now, as the start time or
// the boot id tell. Nobody is harmed; TestLost shows what happens to the supervisor's own.
func TestSomebodyElsesPID(t *testing.T) {
	own := t.TempDir()
	start(t, shell(own, `sleep 600`))
	readPIDFile := func(dir string) (id map[string]any) {
		if err := json.Unmarshal([]byte(content(t, dir, "pid.json")), &id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	eventually(t, "no supervisor", func() bool { _, err := os.Stat(filepath.Join(own, "pid.json")); return err == nil })
	for name, wrong := range map[string]string{"another start time": "start", "another boot": "boot"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			other := exec.Command("sh", "-c", `sleep 600 & echo $! >child; wait`)
			other.Dir, other.SysProcAttr = dir, &syscall.SysProcAttr{Setsid: true}
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			child := readPID(t, filepath.Join(dir, "child"))
			defer func() { syscall.Kill(-other.Process.Pid, syscall.SIGKILL); other.Wait() }()
			id := readPIDFile(own)
			id["pid"], id[wrong] = other.Process.Pid, "another"
			b, _ := json.Marshal(id)
			if err := os.WriteFile(filepath.Join(dir, "pid.json"), b, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(filepath.Join(dir, "alive"), 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := proc.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if s := wait(t, p); !s.Lost {
				t.Errorf("status %+v", s)
			}
			if !alive(child) {
				t.Error("a process of somebody else's session was ended")
			}
		})
	}
}

func TestNeverStarted(t *testing.T) {
	// The server was killed between making the folder and the fork.
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "alive"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := proc.Open(dir); !errors.Is(err, proc.ErrNotStarted) {
		t.Errorf("open: %v", err)
	}
	if s := wait(t, start(t, shell(dir, `exit 4`))); s.Code != 4 {
		t.Errorf("status %+v", s)
	}
}
