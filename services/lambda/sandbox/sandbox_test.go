package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/services/lambda/sandbox"
)

// The test binary is the function, when its environment says so, and a server that dies.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("MAYFLY_TEST_FUNCTION") != "":
		lambda.Start(function)
	case os.Getenv("MAYFLY_TEST_SERVER") != "":
		dyingServer()
	}
	os.Exit(m.Run())
}

type event struct {
	Do   string
	Text string
}

func function(ctx context.Context, e event) (any, error) {
	switch e.Do {
	case "echo":
		lc, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		fmt.Println("hello", e.Text)
		fmt.Fprint(os.Stderr, "no end of line")
		return map[string]any{"text": e.Text, "id": lc.AwsRequestID, "arn": lc.InvokedFunctionArn, "soon": time.Until(deadline) < time.Minute}, nil
	case "fail":
		return nil, errors.New(e.Text)
	case "panic":
		panic(e.Text)
	case "exit":
		os.Exit(7)
	case "large":
		return strings.Repeat("x", sandbox.MaxResponse), nil
	case "hang":
		child := exec.Command("sleep", "1000")
		child.Start()
		fmt.Println("child", child.Process.Pid)
		select {}
	case "hog":
		b := make([]byte, 300<<20)
		for i := range b {
			b[i] = 1
		}
		time.Sleep(time.Minute)
		return len(b), nil
	}
	return nil, fmt.Errorf("what is %q?", e.Do)
}

type logs struct {
	mu    sync.Mutex
	lines []string
}

func (l *logs) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

func start(t *testing.T, dir string, spec sandbox.Spec) (*sandbox.Instance, *logs) {
	t.Helper()
	l := &logs{}
	spec.RunDir, spec.Log, spec.Clock = dir, l.add, clock.System{}
	if spec.ID == "" {
		spec.ID = "i"
	}
	if spec.Root == "" {
		spec.Root = t.TempDir()
		spec.Command = []string{os.Args[0]}
		spec.Env = append(spec.Env, "MAYFLY_TEST_FUNCTION=1", "PATH="+os.Getenv("PATH"))
	}
	spec.Init = time.Minute
	i, err := sandbox.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Stop)
	return i, l
}

func invoke(t *testing.T, i *sandbox.Instance, payload string, timeout time.Duration) sandbox.Result {
	t.Helper()
	r, err := i.Invoke(t.Context(), sandbox.Invocation{RequestID: "req", ARN: "arn:f", Payload: []byte(payload), Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil && !zombie(pid) }

func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(b), ") Z ")
}

func TestGo(t *testing.T) {
	dir := t.TempDir()
	i, l := start(t, dir, sandbox.Spec{})
	r := invoke(t, i, `{"Do":"echo","Text":"wörld"}`, 30*time.Second)
	if got := string(r.Payload); r.Error != "" || !strings.Contains(got, `"text":"wörld"`) || !strings.Contains(got, `"id":"req"`) || !strings.Contains(got, `"soon":true`) {
		t.Errorf("result %s %+v", got, r)
	}
	if got := l.String(); got != "hello wörld\nno end of line" {
		t.Errorf("logs %q", got)
	}
	if r.Init <= 0 || r.Dead {
		t.Errorf("first result %+v", r)
	}
	r = invoke(t, i, `{"Do":"fail","Text":"no luck"}`, 30*time.Second)
	if got := string(r.Payload); r.Error != "Unhandled" || got != `{"errorMessage":"no luck","errorType":"errorString"}` || r.Init != 0 {
		t.Errorf("failure %s %+v", got, r)
	}
	r = invoke(t, i, `{"Do":"large"}`, 30*time.Second)
	if !strings.Contains(string(r.Payload), "Function.ResponseSizeTooLarge") || r.Error == "" {
		t.Errorf("large answer: %.100s %v", r.Payload, r.Error)
	}
	i.Stop()
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEnds(t *testing.T) {
	for _, c := range []struct{ do, want string }{
		{"exit", `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: req Error: Runtime exited with error: exit status 7"}`},
		{"panic", `"errorMessage":"boo"`},
		{"hog", `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: req Error: Runtime exited with error: signal: killed"}`},
		{"hang", `{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: req Error: Task timed out after 1.00 seconds"}`},
	} {
		t.Run(c.do, func(t *testing.T) {
			timeout := 30 * time.Second
			if c.do == "hang" {
				timeout = time.Second
			}
			i, l := start(t, t.TempDir(), sandbox.Spec{Memory: 200 << 20})
			r := invoke(t, i, fmt.Sprintf(`{"Do":%q,"Text":"boo"}`, c.do), timeout)
			if got := string(r.Payload); !strings.Contains(got, c.want) || r.Error != "Unhandled" || r.TimedOut != (c.do == "hang") {
				t.Errorf("result %s %+v", got, r)
			}
			i.Stop()
			var pid int
			if n, _ := fmt.Sscanf(l.String(), "child %d", &pid); n == 1 && alive(pid) {
				t.Errorf("the function's child %d lives", pid)
			} else if c.do == "hang" && n == 0 {
				t.Errorf("no child: %q", l.String())
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	i, _ := start(t, t.TempDir(), sandbox.Spec{})
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, err := i.Invoke(ctx, sandbox.Invocation{RequestID: "r", Payload: []byte(`{"Do":"hang"}`), Timeout: time.Minute}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	<-i.Exited()
}

func python(t *testing.T, source, handler string) (*sandbox.Instance, *logs) {
	t.Helper()
	interpreter, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("the tests need python3: ", err)
	}
	root := t.TempDir()
	boot := filepath.Join(t.TempDir(), "bootstrap.py")
	if err := os.WriteFile(boot, sandbox.PythonBootstrap, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "app.py"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, t.TempDir(), sandbox.Spec{
		Root: root, Command: []string{interpreter, boot},
		Env: []string{
			"PATH=" + os.Getenv("PATH"), "_HANDLER=" + handler, "LAMBDA_TASK_ROOT=" + root, "AWS_LAMBDA_FUNCTION_NAME=f", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
			"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128", "AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/f", "AWS_LAMBDA_LOG_STREAM_NAME=s",
			"PYTHONDONTWRITEBYTECODE=1", "PYENV_ROOT=" + os.Getenv("PYENV_ROOT"), "REAL_HOME=" + os.Getenv("HOME"),
		},
	})
}

func TestPython(t *testing.T) {
	i, l := python(t, `
import decimal, logging
count = 0
def handler(event, context):
    global count
    count += 1
    print("seen", event)
    logging.warning("careful")
    left = context.get_remaining_time_in_millis()
    return {"count": count, "half": decimal.Decimal("0.5"), "ü": event["ü"], "id": context.aws_request_id, "left": 0 < left <= 30000, "arn": context.invoked_function_arn, "mb": context.memory_limit_in_mb}
def bad(event, context):
    return object()
`, "app.handler")
	r := invoke(t, i, `{"ü":["é"]}`, 30*time.Second)
	want := `{"count": 1, "half": 0.5, "ü": ["é"], "id": "req", "left": true, "arn": "arn:f", "mb": "128"}`
	if got := string(r.Payload); got != want || r.Error != "" {
		t.Errorf("result %s, want %s", got, want)
	}
	if got := l.String(); !strings.Contains(got, "seen {'ü': ['é']}\n[WARNING]\t") || !strings.HasSuffix(got, "Z\treq\tcareful") {
		t.Errorf("logs %q", got)
	}
	if r := invoke(t, i, `{"ü":2}`, 30*time.Second); !strings.Contains(string(r.Payload), `"count": 2`) || r.Init != 0 {
		t.Errorf("warm result %s %+v", r.Payload, r)
	}
	r = invoke(t, i, `{}`, 30*time.Second)
	var doc struct {
		ErrorMessage, ErrorType, RequestID string
		StackTrace                         []string
	}
	if err := json.Unmarshal(r.Payload, &doc); err != nil || r.Error != "Unhandled" || doc.ErrorMessage != "'ü'" || doc.ErrorType != "KeyError" ||
		doc.RequestID != "req" || len(doc.StackTrace) != 1 || !strings.Contains(doc.StackTrace[0], "app.py\", line 10, in handler") {
		t.Errorf("error %s (%v)", r.Payload, err)
	}
	if got := l.String(); !strings.Contains(got, "[ERROR] KeyError: 'ü'\nTraceback (most recent call last):\n  File ") {
		t.Errorf("logs %q", got)
	}
}

func TestPythonFaults(t *testing.T) {
	for _, c := range []struct{ name, source, handler, want string }{
		{"marshal", "def handler(e, c): return object()", "app.handler",
			`{"errorMessage": "Unable to marshal response: Object of type object is not JSON serializable", "errorType": "Runtime.MarshalError", "requestId": "req", "stackTrace": []}`},
		{"import", "import nothing_of_this_name", "app.handler",
			`{"errorMessage":"Unable to import module 'app': No module named 'nothing_of_this_name'","errorType":"Runtime.ImportModuleError","requestId":"req","stackTrace":[]}`},
		{"module", "", "other.handler",
			`{"errorMessage":"Unable to import module 'other': No module named 'other'","errorType":"Runtime.ImportModuleError","requestId":"req","stackTrace":[]}`},
		{"handler", "", "app.handler",
			`{"errorMessage":"Handler 'handler' missing on module 'app'","errorType":"Runtime.HandlerNotFound","requestId":"req","stackTrace":[]}`},
		{"syntax", "def handler(:", "app.handler", `"stackTrace":["  File \"/var/task/app.py\" Line 1\n    def handler(:"]`},
		{"name", "", "handler", `"errorType":"Runtime.MalformedHandlerName"`},
		{"raises", "raise ValueError('at import')", "app.handler", `"errorMessage":"at import","errorType":"ValueError"`},
		{"exit", "import sys; sys.exit(3)", "app.handler",
			`{"errorType":"Runtime.ExitError","errorMessage":"RequestId: req Error: Runtime exited with error: exit status 3"}`},
		{"ends", "import os\ndef handler(e, c): os._exit(0)", "app.handler",
			`{"errorType":"Runtime.ExitError","errorMessage":"RequestId: req Error: Runtime exited without providing a reason"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, _ := python(t, c.source, c.handler)
			r := invoke(t, i, `{}`, 30*time.Second)
			if got := string(r.Payload); !strings.Contains(got, c.want) || r.Error != "Unhandled" {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestSweep lets a server start an instance and die; what the instance left running is found and ended.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), "MAYFLY_TEST_SERVER="+dir)
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	var child int
	if _, err := fmt.Fscanf(out, "child %d\n", &child); err != nil {
		t.Fatal(err)
	}
	server.Process.Kill()
	server.Wait()
	notes, err := sandbox.Sweep(t.Context(), dir)
	if err != nil || len(notes) != 1 || notes[0] != "my note" {
		t.Errorf("notes %v, %v", notes, err)
	}
	if alive(child) {
		t.Errorf("the child %d lives", child)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if notes, err := sandbox.Sweep(t.Context(), filepath.Join(dir, "never")); err != nil || notes != nil {
		t.Errorf("nothing to sweep: %v, %v", notes, err)
	}
}

func dyingServer() {
	dir := os.Getenv("MAYFLY_TEST_SERVER")
	i, err := sandbox.Start(sandbox.Spec{
		ID: "i", RunDir: dir, Root: dir, Command: []string{os.Args[0]}, Env: append(os.Environ(), "MAYFLY_TEST_FUNCTION=1"), Note: "my note",
		Init: time.Minute, Clock: clock.System{}, Log: func(line string) { fmt.Println(line) },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	i.Invoke(context.Background(), sandbox.Invocation{RequestID: "r", Payload: []byte(`{"Do":"hang"}`), Timeout: time.Minute})
	os.Exit(3)
}
