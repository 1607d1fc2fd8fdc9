package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/mayfly-run/mayfly/internal/clock"
)

// Main is the supervisor: the hidden command `mayfly proc DIR`. It returns the exit code of this process, which says
// nothing about the program's.
func Main(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: mayfly proc DIR (started by mayfly itself)")
		return 2
	}
	// The kernel ties the death signal of the program to the thread that started it.
	runtime.LockOSThread()
	if err := supervise(args[0]); err != nil {
		fmt.Fprintln(os.Stderr, "mayfly proc:", err)
		return 1
	}
	return 0
}

func supervise(dir string) error {
	syscall.CloseOnExec(3) // the FIFO: its writer is this process and nobody else
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
	signal.Ignore(syscall.SIGHUP)

	var spec Spec
	if err := readJSON(filepath.Join(dir, specFile), &spec); err != nil {
		return err
	}
	start, _ := startTime(os.Getpid())
	if err := writeJSON(filepath.Join(dir, pidFile), identity{PID: os.Getpid(), Start: start, Boot: bootID()}); err != nil {
		return err
	}
	if err := adoptOrphans(); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	status := Status{Started: clock.System{}.Now()}
	cmd, err := start1(spec)
	if err != nil {
		status.Code, status.Error = 127, err.Error()
	} else {
		forwarded := make(chan struct{})
		stop := make(chan struct{})
		go func() {
			defer close(forwarded)
			for {
				select {
				case sig := <-signals:
					if sig == syscall.SIGUSR1 {
						sig = syscall.SIGKILL
					}
					signalAll(os.Getpid(), sig.(syscall.Signal))
				case <-stop:
					return
				}
			}
		}()
		err := cmd.Wait()
		close(stop)
		<-forwarded
		state := cmd.ProcessState
		status.Code = state.ExitCode()
		status.CPU = state.UserTime() + state.SystemTime()
		if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			status.Code, status.Signal = 128+int(ws.Signal()), ws.Signal().String()
		} else if err != nil && status.Code == 0 {
			status.Code, status.Error = 1, err.Error()
		}
		endRest()
	}
	status.Ended = clock.System{}.Now()
	return writeJSON(filepath.Join(dir, statusFile), status)
}

// start1 starts the program with its files, environment and place.
func start1(spec Spec) (*exec.Cmd, error) {
	stdout, err := openAppend(spec.Stdout)
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	stderr := stdout
	if spec.Stderr != spec.Stdout {
		if stderr, err = openAppend(spec.Stderr); err != nil {
			return nil, err
		}
		defer stderr.Close()
	}
	path, err := lookPath(spec.Args[0], spec.Env, spec.WorkDir)
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: path, Args: spec.Args, Env: spec.Env, Dir: spec.WorkDir, Stdout: stdout, Stderr: stderr,
		SysProcAttr: programAttr()}
	return cmd, cmd.Start()
}

func openAppend(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// lookPath finds a program in the PATH of the environment that it will see, not of this process.
func lookPath(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, nil
	}
	for _, kv := range env {
		path, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, d := range filepath.SplitList(path) {
			file := filepath.Join(d, name)
			if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return file, nil
			}
		}
	}
	return "", fmt.Errorf("%s: no such program", name)
}

// endRest ends what the program left behind, and reaps it where the kernel gave it to this process.
func endRest() {
	for range 200 {
		for {
			var ws syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
			if pid <= 0 || (err != nil && !errors.Is(err, syscall.EINTR)) {
				break
			}
		}
		if signalAll(os.Getpid(), syscall.SIGKILL) == 0 {
			return
		}
		<-after(10 * time.Millisecond)
	}
}

// process is a line of the kernel's table.
type process struct {
	pid, parent, group, session int
	zombie                      bool
}

// signalAll sends sig to every process of the supervisor's session and to all its descendants, but not to itself,
// and returns how many there were.
func signalAll(supervisor int, sig syscall.Signal) int {
	table := processes()
	mine := map[int]bool{supervisor: true}
	for grew := true; grew; {
		grew = false
		for _, p := range table {
			if !mine[p.pid] && (mine[p.parent] || p.session == supervisor || p.group == supervisor) {
				mine[p.pid] = true
				grew = true
			}
		}
	}
	n := 0
	for _, p := range table {
		if mine[p.pid] && p.pid != supervisor && !p.zombie {
			n++
			_ = syscall.Kill(p.pid, sig) // ESRCH: ended by itself
		}
	}
	return n
}
