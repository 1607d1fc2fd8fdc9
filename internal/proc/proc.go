package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/mayfly-run/mayfly/internal/clock"
)

// Spec says what to run.
type Spec struct {
	Dir     string   `json:"-"`       // the process's own folder; made when it is missing
	Args    []string `json:"args"`    // the program and its arguments; the program is looked up in Env's PATH
	Env     []string `json:"env"`     // the whole environment
	WorkDir string   `json:"workDir"` // Dir when empty
	Stdout  string   `json:"stdout"`  // files that are appended to; Dir/stdout and Dir/stderr when empty
	Stderr  string   `json:"stderr"`
}

// Status is how a program ended.
type Status struct {
	// Code is the exit code; 128 plus the signal when one ended it, 127 when it could not be started, -1 when lost.
	Code   int    `json:"code"`
	Signal string `json:"signal,omitempty"` // "terminated", "killed", … when a signal ended it
	Error  string `json:"error,omitempty"`  // why it could not be started
	// Lost: the program's supervisor was killed, or the machine went down, before a status was written.
	Lost    bool          `json:"lost,omitempty"`
	Started time.Time     `json:"started"`
	Ended   time.Time     `json:"ended"`
	CPU     time.Duration `json:"cpu"` // user and system time of the program and of the children it waited for
}

func (s Status) String() string {
	switch {
	case s.Lost:
		return "lost"
	case s.Error != "":
		return s.Error
	case s.Signal != "":
		return "signal: " + s.Signal
	}
	return fmt.Sprintf("exit code %d", s.Code)
}

// ErrNotStarted: the program of this folder has never run.
var ErrNotStarted = errors.New("process was never started")

// identity is who the supervisor is; written before the program starts.
type identity struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // as the kernel tells it; compared for equality only
	Boot  string `json:"boot"`
}

const (
	specFile   = "spec.json"
	pidFile    = "pid.json"
	statusFile = "status.json"
	aliveFile  = "alive" // the FIFO
)

// Process is a program under a supervisor.
type Process struct {
	dir    string
	alive  *os.File
	done   chan struct{}
	gone   chan struct{} // closed by Close
	closed sync.Once

	mu     sync.Mutex
	status Status
}

// Start runs spec's program, or opens its folder when it was started before. The program and its supervisor go on
// when the caller ends.
func Start(spec Spec) (*Process, error) {
	if len(spec.Args) == 0 {
		return nil, errors.New("start process: no program")
	}
	dir, err := filepath.Abs(spec.Dir)
	if err != nil {
		return nil, err
	}
	if p, err := Open(dir); !errors.Is(err, ErrNotStarted) {
		return p, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for _, at := range []struct {
		path *string
		or   string
	}{{&spec.WorkDir, dir}, {&spec.Stdout, filepath.Join(dir, "stdout")}, {&spec.Stderr, filepath.Join(dir, "stderr")}} {
		if *at.path == "" {
			*at.path = at.or
		}
	}
	if err := writeJSON(filepath.Join(dir, specFile), spec); err != nil {
		return nil, err
	}
	fifo := filepath.Join(dir, aliveFile)
	if err := syscall.Mkfifo(fifo, 0o600); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make %s: %w", fifo, err)
	}
	// Opened for both directions so that opening does not wait for the other end. The supervisor inherits it, so there
	// is no moment between the fork and its death at which the FIFO has no writer.
	writer, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer writer.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	log, err := os.OpenFile(filepath.Join(dir, "supervisor"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	self, err := executable()
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: self, Args: []string{os.Args[0], "proc", dir}, Dir: dir, Env: []string{"GOMAXPROCS=1", "GOTRACEBACK=single"},
		Stdin: null, Stdout: null, Stderr: log, ExtraFiles: []*os.File{writer},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	go cmd.Wait() // only to reap it: what it has to say is in the folder
	return watch(dir)
}

// executable is this very program, even when its file has been replaced since.
func executable() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

// Open finds the program that was started in dir, whether it lives, has ended or was lost.
func Open(dir string) (*Process, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	_, noPID := os.Stat(filepath.Join(dir, pidFile))
	p, err := watch(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotStarted
	}
	if err != nil {
		return nil, err
	}
	if noPID == nil {
		return p, nil
	}
	// No pid yet: a supervisor that has just been forked, or one that never was.
	if p.waitFor(func() bool { _, err := os.Stat(filepath.Join(dir, pidFile)); return err == nil }) {
		return p, nil
	}
	p.Close()
	if _, err := os.Stat(filepath.Join(dir, pidFile)); err == nil {
		return watch(dir)
	}
	return nil, ErrNotStarted
}

// waitFor looks every few milliseconds until cond holds; it reports false when the supervisor ended before.
func (p *Process) waitFor(cond func() bool) bool {
	for {
		if cond() {
			return true
		}
		select {
		case <-p.done:
			return cond()
		case <-after(3 * time.Millisecond):
		}
	}
}

func after(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	clock.System{}.AfterFunc(d, func() { close(c) })
	return c
}

// watch opens the FIFO and waits for its end in the background.
func watch(dir string) (*Process, error) {
	alive, err := os.OpenFile(filepath.Join(dir, aliveFile), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	p := &Process{dir: dir, alive: alive, done: make(chan struct{}), gone: make(chan struct{})}
	if ended(alive) {
		p.finish()
		return p, nil
	}
	go func() {
		if _, err := io.Copy(io.Discard, alive); err != nil {
			return // closed: nobody watches any more
		}
		p.finish()
	}()
	return p, nil
}

// ended says whether the FIFO has no writer, without waiting.
func ended(alive *os.File) bool {
	c, err := alive.SyscallConn()
	if err != nil {
		return false
	}
	none := false
	_ = c.Read(func(fd uintptr) bool {
		n, err := syscall.Read(int(fd), make([]byte, 1))
		none = n == 0 && err == nil
		return true
	})
	return none
}

// finish reads how the program ended.
func (p *Process) finish() {
	status := Status{}
	if err := readJSON(filepath.Join(p.dir, statusFile), &status); err != nil {
		status = Status{Code: -1, Lost: true}
		endLost(p.dir)
	}
	p.mu.Lock()
	p.status = status
	p.mu.Unlock()
	close(p.done)
}

// endLost ends what a killed supervisor left running in its session.
func endLost(dir string) {
	var id identity
	if readJSON(filepath.Join(dir, pidFile), &id) != nil || id.Boot != bootID() {
		return
	}
	if start, ok := startTime(id.PID); ok && start != id.Start {
		return // the pid, and with it the session, belongs to somebody else by now
	}
	signalAll(id.PID, syscall.SIGKILL)
}

// Dir is the process's folder.
func (p *Process) Dir() string { return p.dir }

// Done is closed when the program has ended or was lost.
func (p *Process) Done() <-chan struct{} { return p.done }

// Status is how the program ended; false while it runs.
func (p *Process) Status() (Status, bool) {
	select {
	case <-p.done:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.status, true
	default:
		return Status{}, false
	}
}

// Wait returns when the program has ended, or with the error of ctx.
func (p *Process) Wait(ctx context.Context) (Status, error) {
	select {
	case <-p.done:
		s, _ := p.Status()
		return s, nil
	case <-p.gone:
		return Status{}, os.ErrClosed
	case <-ctx.Done():
		return Status{}, context.Cause(ctx)
	}
}

// Terminate asks every process of the program to end (SIGTERM).
func (p *Process) Terminate() error { return p.signal(syscall.SIGTERM) }

// Kill ends every process of the program (SIGKILL). The supervisor stays to write the status.
func (p *Process) Kill() error { return p.signal(syscall.SIGUSR1) }

// signal is a request to the supervisor, which knows its descendants and cannot be mistaken for another process:
// it lives, and its pid is its own, as long as the FIFO has a writer.
func (p *Process) signal(sig syscall.Signal) error {
	var id identity
	if !p.waitFor(func() bool { return readJSON(filepath.Join(p.dir, pidFile), &id) == nil }) {
		return nil
	}
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := syscall.Kill(id.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal supervisor %d: %w", id.PID, err)
	}
	return nil
}

// Stop ends the program: SIGTERM, and SIGKILL when it still runs after grace. It returns when the program has ended.
func (p *Process) Stop(ctx context.Context, grace time.Duration) (Status, error) {
	if grace > 0 {
		if err := p.Terminate(); err != nil {
			return Status{}, err
		}
		select {
		case <-p.done:
		case <-ctx.Done():
		case <-after(grace):
		}
	}
	if err := p.Kill(); err != nil {
		return Status{}, err
	}
	return p.Wait(ctx)
}

// Close stops watching; the program goes on.
func (p *Process) Close() { p.closed.Do(func() { close(p.gone); p.alive.Close() }) }

// writeJSON writes v so that the file is whole or absent, also after a power cut.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
