package sandbox

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// attributes makes a group of its own that ends with the server. The signal is sent when the thread that started the
// process ends, so all are started by a thread that never does.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

type start struct {
	cmd  *exec.Cmd
	done chan error
}

var starts = sync.OnceValue(func() chan start {
	ch := make(chan start)
	go func() {
		runtime.LockOSThread()
		for s := range ch {
			s.done <- s.cmd.Start()
		}
	}()
	return ch
})

func spawn(cmd *exec.Cmd) error {
	s := start{cmd, make(chan error, 1)}
	starts() <- s
	return <-s.done
}

// memory is what the process uses now.
func memory(pid int) int64 { return status(pid, "VmRSS:") }

// peakMemory is the most that the process has used.
func peakMemory(pid int) int64 { return status(pid, "VmHWM:") }

func status(pid int, field string) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte(field)); ok {
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))), 10, 64)
			return n << 10
		}
	}
	return 0
}
