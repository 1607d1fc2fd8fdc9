package sandbox

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-run/mayfly/internal/clock"
)

// PythonBootstrap is the runtime of Python functions: a program for the interpreter.
//
//go:embed bootstrap.py
var PythonBootstrap []byte

// MaxResponse is how long a function's answer may be.
const MaxResponse = 6291556

// Spec says what an instance runs.
type Spec struct {
	ID      string // names the instance within RunDir
	RunDir  string // where the instances of this server keep their files
	Root    string // the code: the working folder
	Command []string
	Env     []string // without AWS_LAMBDA_RUNTIME_API and TMPDIR, which the instance adds
	Note    string   // kept in the instance's file; Sweep hands it back
	Memory  int64    // bytes that the program may use; 0: no limit
	Init    time.Duration
	Clock   clock.Clock
	Log     func(line string) // gets each line of output, in order
}

// Invocation is one event for the function.
type Invocation struct {
	RequestID     string
	ARN           string
	Payload       []byte
	ClientContext string // JSON
	Trace         string
	Timeout       time.Duration
}

// Result is what came of an invocation.
type Result struct {
	Payload  []byte
	Error    string        // "Unhandled" or "", as in X-Amz-Function-Error
	TimedOut bool          // …because the time was over
	Duration time.Duration // of the invocation alone
	Init     time.Duration // of the start before it; 0 for a warm instance
	Memory   int64         // the most that was used, in bytes; 0 where it cannot be known
	Dead     bool          // the instance takes no more invocations
}

// Instance is one running process with its Runtime API.
type Instance struct {
	spec     Spec
	cmd      *exec.Cmd
	lock     *os.File
	server   *http.Server
	out      *collector
	started  time.Time
	next     chan *call
	ready    chan struct{} // closed when the runtime asks for its first invocation
	readyNow sync.Once
	readyAt  time.Time
	exited   chan struct{}
	exit     error
	used     bool

	mu        sync.Mutex
	current   *call
	initError []byte
	tooMuch   bool // ended because of its memory
}

type call struct {
	Invocation
	deadline time.Time
	done     chan answer // has room for one
}

type answer struct {
	payload []byte
	err     string
}

// Start starts an instance. Its code is loading when Start returns.
func Start(spec Spec) (*Instance, error) {
	dir := filepath.Join(spec.RunDir, spec.ID)
	tmp := filepath.Join(dir, "tmp")
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return nil, err
	}
	i := &Instance{spec: spec, next: make(chan *call), ready: make(chan struct{}), exited: make(chan struct{})}
	ok := false
	defer func() {
		if !ok {
			if i.server != nil {
				i.server.Close()
			}
			if i.lock != nil {
				i.lock.Close()
			}
			os.RemoveAll(dir)
		}
	}()
	var err error
	if i.lock, err = os.OpenFile(filepath.Join(dir, "instance"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(i.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("lock instance %s: %w", spec.ID, err)
	}
	if err := i.write(0); err != nil { // the note outlives even a crash in the midst of the start
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i.server = &http.Server{Handler: i.api(), ReadHeaderTimeout: 10 * time.Second}
	go i.server.Serve(listener)

	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	i.out = newCollector(out, spec.Log)
	i.cmd = exec.Command(spec.Command[0], spec.Command[1:]...)
	i.cmd.Dir = spec.Root
	i.cmd.Env = append(spec.Env, "AWS_LAMBDA_RUNTIME_API="+listener.Addr().String(), "TMPDIR="+tmp, "HOME="+tmp)
	i.cmd.Stdout, i.cmd.Stderr = in, in
	i.cmd.ExtraFiles = []*os.File{i.lock}
	i.cmd.SysProcAttr = attributes()
	i.started = spec.Clock.Now()
	if err := spawn(i.cmd); err != nil {
		out.Close()
		return nil, err
	}
	if err := i.write(i.cmd.Process.Pid); err != nil {
		i.kill()
		i.cmd.Wait()
		out.Close()
		return nil, err
	}
	ok = true
	go i.out.run()
	go i.wait()
	return i, nil
}

// record is what an instance's file holds.
type record struct {
	Pid  int    `json:"pid"`
	Note string `json:"note"`
}

func (i *Instance) write(pid int) error {
	b, err := json.Marshal(record{pid, i.spec.Note})
	if err == nil {
		_, err = i.lock.WriteAt(b, 0)
	}
	if err == nil {
		err = i.lock.Truncate(int64(len(b)))
	}
	return err
}

func (i *Instance) wait() {
	err := i.cmd.Wait()
	i.kill() // what it left running
	i.mu.Lock()
	i.exit = err
	i.mu.Unlock()
	i.server.Close()
	i.lock.Close()
	os.RemoveAll(filepath.Join(i.spec.RunDir, i.spec.ID))
	close(i.exited)
}

func (i *Instance) kill() { syscall.Kill(-i.cmd.Process.Pid, syscall.SIGKILL) }

// Stop ends the instance's processes and returns when they have ended.
func (i *Instance) Stop() {
	select {
	case <-i.exited:
		return
	default:
		i.kill()
	}
	<-i.exited
	i.out.finish()
}

// Exited is closed when the process has ended.
func (i *Instance) Exited() <-chan struct{} { return i.exited }

// Invoke gives the function one invocation and waits for what comes of it. Invocations of an instance must not overlap. When
// ctx ends the instance is ended, and the error is ctx's.
func (i *Instance) Invoke(ctx context.Context, in Invocation) (Result, error) {
	c := &call{Invocation: in, done: make(chan answer, 1)}
	var r Result
	alarm := make(chan struct{})
	timer := i.spec.Clock.AfterFunc(i.spec.Init, func() { close(alarm) })
	select {
	case <-i.ready:
		timer.Stop()
	case <-i.exited:
		timer.Stop()
		return i.ended(r, c), nil
	case <-ctx.Done():
		timer.Stop()
		i.Stop()
		return Result{}, ctx.Err()
	case <-alarm:
		i.Stop()
		r.Init = i.spec.Clock.Now().Sub(i.started)
		return i.timedOut(r, c), nil
	}
	if !i.used {
		i.used = true
		r.Init = i.readyAt.Sub(i.started)
	}
	start := i.spec.Clock.Now()
	c.deadline = start.Add(in.Timeout)
	alarm = make(chan struct{})
	timer = i.spec.Clock.AfterFunc(in.Timeout, func() { close(alarm) })
	defer timer.Stop()
	i.mu.Lock()
	i.current = c
	i.mu.Unlock()
	defer func() {
		i.mu.Lock()
		i.current = nil
		i.mu.Unlock()
	}()
	stopWatching := i.watchMemory()
	defer stopWatching()
	next := i.next
	for {
		select {
		case next <- c:
			next = nil // handed over
		case a := <-c.done:
			r.Payload, r.Error = a.payload, a.err
			r.Duration = i.spec.Clock.Now().Sub(start)
			r.Memory = peakMemory(i.cmd.Process.Pid)
			i.out.drain()
			return r, nil
		case <-i.exited:
			r.Duration = i.spec.Clock.Now().Sub(start)
			select {
			case a := <-c.done: // it answered and ended
				r.Payload, r.Error, r.Dead = a.payload, a.err, true
				i.out.finish()
				return r, nil
			default:
			}
			return i.ended(r, c), nil
		case <-alarm:
			r.Duration = in.Timeout
			r.Memory = peakMemory(i.cmd.Process.Pid)
			i.Stop()
			return i.timedOut(r, c), nil
		case <-ctx.Done():
			i.Stop()
			return Result{}, ctx.Err()
		}
	}
}

// ended is the result of an invocation whose process ended.
func (i *Instance) ended(r Result, c *call) Result {
	i.out.finish()
	r.Dead, r.Error = true, "Unhandled"
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.initError != nil {
		r.Payload = withRequestID(i.initError, c.RequestID)
		return r
	}
	why := "exited without providing a reason"
	var exit *exec.ExitError
	switch {
	case i.tooMuch:
		r.Memory = i.spec.Memory
		why = "exited with error: signal: killed"
	case errors.As(i.exit, &exit):
		why = "exited with error: " + exit.String()
	}
	r.Payload = Failure("Runtime.ExitError", c.RequestID, "Runtime "+why)
	return r
}

func (i *Instance) timedOut(r Result, c *call) Result {
	i.out.finish()
	r.Dead, r.TimedOut, r.Error = true, true, "Unhandled"
	r.Payload = Failure("Sandbox.Timedout", c.RequestID, fmt.Sprintf("Task timed out after %.2f seconds", c.Timeout.Seconds()))
	return r
}

// Failure is the payload of an error that is not the function's own.
func Failure(kind, requestID, message string) []byte {
	b, _ := json.Marshal(struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{kind, "RequestId: " + requestID + " Error: " + message})
	return b
}

// withRequestID puts the invocation's id into what the runtime said before it had one.
func withRequestID(payload []byte, id string) []byte {
	var doc map[string]json.RawMessage
	if json.Unmarshal(payload, &doc) != nil || doc["requestId"] == nil {
		return payload
	}
	doc["requestId"], _ = json.Marshal(id)
	b, err := json.Marshal(doc)
	if err != nil {
		return payload
	}
	return b
}

// watchMemory ends the process when it uses more than it may.
func (i *Instance) watchMemory() (stop func()) {
	if i.spec.Memory == 0 {
		return func() {}
	}
	const every = 200 * time.Millisecond
	var mu sync.Mutex
	stopped := false
	var look func()
	look = func() {
		mu.Lock()
		defer mu.Unlock()
		if stopped {
			return
		}
		if memory(i.cmd.Process.Pid) > i.spec.Memory {
			i.mu.Lock()
			i.tooMuch = true
			i.mu.Unlock()
			i.kill()
			return
		}
		i.spec.Clock.AfterFunc(every, look)
	}
	i.spec.Clock.AfterFunc(every, look)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
	}
}

// api is the Lambda Runtime API.
func (i *Instance) api() http.Handler {
	const prefix = "/2018-06-01/runtime"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+prefix+"/invocation/next", func(w http.ResponseWriter, r *http.Request) {
		i.readyNow.Do(func() {
			i.readyAt = i.spec.Clock.Now()
			close(i.ready)
		})
		select {
		case c := <-i.next:
			h := w.Header()
			h.Set("Content-Type", "application/json")
			h.Set("Lambda-Runtime-Aws-Request-Id", c.RequestID)
			h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(c.deadline.UnixMilli(), 10))
			h.Set("Lambda-Runtime-Invoked-Function-Arn", c.ARN)
			if c.Trace != "" {
				h.Set("Lambda-Runtime-Trace-Id", c.Trace)
			}
			if c.ClientContext != "" {
				h.Set("Lambda-Runtime-Client-Context", c.ClientContext)
			}
			w.Write(c.Payload)
		case <-r.Context().Done():
		case <-i.exited:
		}
	})
	mux.HandleFunc("POST "+prefix+"/invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) {
		i.take(w, r, "")
	})
	mux.HandleFunc("POST "+prefix+"/invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) {
		i.take(w, r, "Unhandled")
	})
	mux.HandleFunc("POST "+prefix+"/init/error", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(io.LimitReader(r.Body, MaxResponse))
		if err != nil {
			refuse(w, http.StatusBadRequest, "InvalidRequest", err.Error())
			return
		}
		i.mu.Lock()
		i.initError = b
		i.mu.Unlock()
		accepted(w)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "NotFound", "Mayfly's Runtime API has no "+r.Method+" "+r.URL.Path)
	})
	return mux
}

// take takes the answer to the current invocation.
func (i *Instance) take(w http.ResponseWriter, r *http.Request, failed string) {
	b, err := io.ReadAll(io.LimitReader(r.Body, MaxResponse+1))
	if err != nil {
		refuse(w, http.StatusBadRequest, "InvalidRequest", err.Error())
		return
	}
	i.mu.Lock()
	c := i.current
	i.mu.Unlock()
	if c == nil || c.RequestID != r.PathValue("id") {
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
		return
	}
	if len(b) > MaxResponse {
		size, _ := io.Copy(io.Discard, r.Body)
		a := answer{err: "Unhandled"}
		a.payload, _ = json.Marshal(map[string]string{
			"errorType":    "Function.ResponseSizeTooLarge",
			"errorMessage": fmt.Sprintf("Response payload size (%d bytes) exceeded maximum allowed payload size (%d bytes).", int64(len(b))+size, MaxResponse),
		})
		c.answer(a)
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "Exceeded maximum allowed payload size")
		return
	}
	// A response that broke off while it was streamed says so in its trailer.
	if t := r.Trailer.Get("Lambda-Runtime-Function-Error-Type"); t != "" {
		failed = "Unhandled"
	}
	c.answer(answer{b, failed})
	accepted(w)
}

func (c *call) answer(a answer) {
	select {
	case c.done <- a:
	default: // the first one counts
	}
}

func accepted(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, `{"status":"OK"}`+"\n")
}

func refuse(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"errorType": kind, "errorMessage": message})
}

// Sweep ends what instances of an earlier server left running, and returns their notes. It must not run beside instances.
func Sweep(ctx context.Context, runDir string) (notes []string, err error) {
	entries, err := os.ReadDir(runDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var errs []error
	for _, e := range entries {
		dir := filepath.Join(runDir, e.Name())
		r, err := end(ctx, filepath.Join(dir, "instance"))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if r.Note != "" {
			notes = append(notes, r.Note)
		}
		errs = append(errs, os.RemoveAll(dir))
	}
	return notes, errors.Join(append(errs, err)...)
}

func end(ctx context.Context, path string) (r record, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return r, err
	}
	_ = json.Unmarshal(b, &r) // a file that was cut short names nobody
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		return r, nil // nobody lives
	}
	if r.Pid > 1 {
		syscall.Kill(-r.Pid, syscall.SIGKILL)
	}
	locked := make(chan error, 1)
	go func() { locked <- syscall.Flock(int(f.Fd()), syscall.LOCK_EX) }()
	select {
	case err := <-locked:
		return r, err
	case <-ctx.Done():
		return r, fmt.Errorf("a process of the instance in %s does not end: %w", filepath.Dir(path), ctx.Err())
	}
}

// maxLine is how long a line of output is before it is cut into several.
const maxLine = 256 << 10

// collector reads an instance's output.
type collector struct {
	file *os.File
	log  func(string)
	done chan struct{}

	mu   sync.Mutex
	line []byte
	buf  []byte
	eof  bool
}

func newCollector(f *os.File, log func(string)) *collector {
	return &collector{file: f, log: log, done: make(chan struct{}), buf: make([]byte, 32<<10)}
}

func (c *collector) run() {
	defer close(c.done)
	defer c.file.Close()
	rc, err := c.file.SyscallConn()
	if err != nil {
		return
	}
	rc.Read(func(fd uintptr) bool {
		c.pump(int(fd))
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.eof
	})
}

// pump takes what lies in the pipe, which does not block.
func (c *collector) pump(fd int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.eof {
		n, err := unix.Read(fd, c.buf)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return
		case err != nil || n == 0:
			c.eof = true
			c.flush()
		default:
			c.add(c.buf[:n])
		}
	}
}

func (c *collector) add(b []byte) {
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		switch {
		case end >= 0:
			c.line = append(c.line, b[:end]...)
			b = b[end+1:]
			c.log(strings.ToValidUTF8(string(c.line), "\uFFFD"))
			c.line = c.line[:0]
		default:
			c.line = append(c.line, b...)
			b = nil
		}
		if len(c.line) > maxLine {
			c.flush()
		}
	}
}

func (c *collector) flush() {
	if len(c.line) > 0 {
		c.log(strings.ToValidUTF8(string(c.line), "\uFFFD"))
		c.line = c.line[:0]
	}
}

// drain takes all that was written up to now, the last line also without its end.
func (c *collector) drain() {
	if rc, err := c.file.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) { c.pump(int(fd)) })
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
}

// finish waits for the end of the output after the end of the process. A process that ran away may hold the pipe: it
// is not waited for.
func (c *collector) finish() {
	c.drain()
	c.file.SetReadDeadline(time.Unix(1, 0))
	<-c.done
}
