package lambda

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	golambda "github.com/aws/aws-lambda-go/lambda"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/lambdaapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

// The test binary is the Go function when its environment says so.
func TestMain(m *testing.M) {
	if os.Getenv("MAYFLY_TEST_FUNCTION") != "" {
		golambda.Start(func(_ context.Context, in map[string]any) (any, error) {
			if text, ok := in["fail"].(string); ok {
				return nil, errors.New(text)
			}
			return map[string]any{"in": in, "pid": os.Getpid(), "greeting": os.Getenv("GREETING")}, nil
		})
		return
	}
	os.Exit(m.Run())
}

// around is what the service sees of the rest of the world.
type around struct {
	mu      sync.Mutex
	objects map[string][]byte
	lines   map[string][]string // by log group
	calls   []string
	report  chan string // REPORT lines
	issued  map[string]identity.Principal
	bound   []identity.Principal
	revoked int
}

func (a *around) Invoke(_ context.Context, c awscall.Call) (map[string]any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, c.Service+" "+c.Operation)
	switch c.Operation {
	case "GetObject":
		b, ok := a.objects[c.Input["Bucket"].(string)+"/"+c.Input["Key"].(string)]
		if !ok {
			return nil, awsapi.Errorf(404, "NoSuchKey", "The specified key does not exist.")
		}
		return map[string]any{"Body": io.NopCloser(bytes.NewReader(b))}, nil
	case "CreateLogGroup", "CreateLogStream":
		return map[string]any{}, nil
	case "GetRole":
		name := c.Input["RoleName"].(string)
		service, path := "lambda.amazonaws.com", "/"
		switch name {
		case "missing":
			return nil, awsapi.Errorf(404, "NoSuchEntity", "The role with name missing cannot be found.")
		case "machine":
			service = "states.amazonaws.com"
		case "worker":
			path = "/service/"
		}
		return map[string]any{"Role": map[string]any{"RoleName": name, "Path": path, "RoleId": "AROA", "CreateDate": time.Time{}, "Arn": "arn:aws:iam::000000000000:role" + path + name,
			"AssumeRolePolicyDocument": url.PathEscape(`{"Statement":{"Effect":"Allow","Principal":{"Service":["ec2.amazonaws.com","` + service + `"]},"Action":"sts:AssumeRole"}}`)}}, nil
	case "PutLogEvents":
		group := c.Input["logGroupName"].(string)
		for _, e := range c.Input["logEvents"].([]any) {
			line := e.(map[string]any)["message"].(string)
			a.lines[group] = append(a.lines[group], line)
			if strings.HasPrefix(line, "REPORT") {
				a.report <- line
			}
		}
		return map[string]any{}, nil
	}
	return nil, fmt.Errorf("unexpected call %s", c.Operation)
}

func (a *around) Issue(_ context.Context, p identity.Principal) (identity.Credentials, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := fmt.Sprint("KEY", len(a.issued))
	a.issued[key] = p
	return identity.Credentials{AccessKeyID: key, SecretAccessKey: "secret", SessionToken: "session"}, nil
}

func (a *around) Rebind(key string, p identity.Principal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bound = append(a.bound, p)
}

func (a *around) Revoke(context.Context, string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked++
	return nil
}

// idleClock lets a test say when idle instances expire.
type idleClock struct {
	clock.System
	idle time.Duration
	mu   sync.Mutex
	due  []func()
}

func (c *idleClock) AfterFunc(d time.Duration, f func()) clock.Timer {
	if d != c.idle {
		return c.System.AfterFunc(d, f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = append(c.due, f)
	return never{}
}

type never struct{}

func (never) Stop() bool { return true }

func (c *idleClock) fire() {
	c.mu.Lock()
	due := c.due
	c.due = nil
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
}

type world struct {
	*around
	t     *testing.T
	store store.Store
	dir   string
	clock *idleClock
	tweak func(*Config)
}

func newWorld(t *testing.T) *world {
	st := memory.New()
	t.Cleanup(func() { st.Close() })
	return &world{
		around: &around{objects: map[string][]byte{}, lines: map[string][]string{}, report: make(chan string, 100), issued: map[string]identity.Principal{}},
		t:      t, store: st, dir: t.TempDir(), clock: &idleClock{idle: 77 * time.Minute},
	}
}

func (w *world) start() (s *Service, stop func()) {
	w.t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		w.t.Fatal("the tests need python3: ", err)
	}
	// A version manager's shim does not work without its user's home.
	if out, err := exec.Command(python, "-c", "import sys; print(sys.executable)").Output(); err == nil {
		python = strings.TrimSpace(string(out))
	}
	log := slog.New(slog.DiscardHandler)
	loop := durable.New(durable.Config{Store: w.store, Log: log})
	cfg := Config{
		Store: w.store, Loop: loop, Clock: w.clock, Log: log, Calls: w, Issuer: w, DataDir: w.dir,
		Endpoint: func() string { return "http://127.0.0.1:4566" }, Python: python, Idle: w.clock.idle,
		Retries: []time.Duration{time.Millisecond, time.Millisecond},
	}
	if w.tweak != nil {
		w.tweak(&cfg)
	}
	s = New(cfg)
	if err := s.Recover(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if err := loop.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			loop.Stop()
			s.Stop()
			if left, _ := os.ReadDir(filepath.Join(w.dir, "lambda", "run")); len(left) > 0 {
				w.t.Errorf("instances left behind: %v", left)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.revoked != len(w.issued) {
				w.t.Errorf("%d keys issued, %d revoked", len(w.issued), w.revoked)
			}
		})
	}
	w.t.Cleanup(stop)
	return s, stop
}

var alice = identity.Principal{
	Kind: identity.Execution, Account: "000000000000", Region: "us-east-1", ARN: "arn:alice", Entity: "e", Execution: "arn:execution",
}

func caller(t *testing.T) context.Context { return identity.With(t.Context(), alice) }

type entry struct {
	name, body string
	mode       fs.FileMode
}

func zipped(t testing.TB, entries ...entry) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(e.mode)
		f, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, e.body)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func goZip(t testing.TB) []byte {
	return zipped(t, entry{"bootstrap", "#!/bin/sh\nMAYFLY_TEST_FUNCTION=1 exec '" + os.Args[0] + "'\n", 0o755})
}

func pythonZip(t testing.TB, source string) []byte { return zipped(t, entry{"app.py", source, 0o644}) }

func create(t *testing.T, s *Service, name, runtime string, code []byte, tweak ...func(*lambdaapi.CreateFunctionInput)) *lambdaapi.FunctionConfiguration {
	t.Helper()
	in := &lambdaapi.CreateFunctionInput{
		FunctionName: name, Runtime: &runtime, Role: "arn:aws:iam::000000000000:role/service/worker", Handler: awsapi.Ptr("app.handler"),
		Code: &lambdaapi.FunctionCode{ZipFile: code}, Timeout: awsapi.Ptr(int64(30)), MemorySize: awsapi.Ptr(int64(512)),
	}
	for _, f := range tweak {
		f(in)
	}
	out, err := s.CreateFunction(caller(t), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func invoke(t *testing.T, s *Service, name, payload string) *lambdaapi.InvokeOutput {
	t.Helper()
	out, err := s.Invoke(caller(t), &lambdaapi.InvokeInput{FunctionName: name, Payload: []byte(payload), LogType: awsapi.Ptr("Tail")})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantCode(t *testing.T, err error, code, text string) {
	t.Helper()
	if awscall.Code(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want the code %s and %q", err, code, text)
	}
}

func TestPythonFunction(t *testing.T) {
	w := newWorld(t)
	s, _ := w.start()
	code := pythonZip(t, `
import os
def handler(event, context):
    print("working on", event["n"])
    if event["n"] < 0:
        raise ValueError("negative")
    return {k: os.environ.get(k) for k in ("AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_LAMBDA_FUNCTION_NAME", "GREETING", "_HANDLER")}
`)
	c := create(t, s, "f", "python3.12", code, func(in *lambdaapi.CreateFunctionInput) {
		in.Environment = &lambdaapi.Environment{Variables: map[string]string{"GREETING": "hi"}}
	})
	sum := sha256.Sum256(code)
	if *c.State != "Active" || *c.LastUpdateStatus != "Successful" || *c.CodeSha256 != base64.StdEncoding.EncodeToString(sum[:]) ||
		*c.FunctionArn != "arn:aws:lambda:us-east-1:000000000000:function:f" || *c.CodeSize != int64(len(code)) {
		t.Errorf("configuration %+v", c)
	}
	out := invoke(t, s, "f", `{"n":1}`)
	want := `{"AWS_ACCESS_KEY_ID": "KEY0", "AWS_SESSION_TOKEN": "session", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "AWS_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": "f", "GREETING": "hi", "_HANDLER": "app.handler"}`
	if string(out.Payload) != want || out.FunctionError != nil || *out.StatusCode != 200 || *out.ExecutedVersion != "$LATEST" {
		t.Errorf("answer %s %+v", out.Payload, out)
	}
	tail, _ := base64.StdEncoding.DecodeString(*out.LogResult)
	pattern := regexp.MustCompile(`^START RequestId: ([0-9a-f-]{36}) Version: \$LATEST\nworking on 1\nEND RequestId: ([0-9a-f-]{36})\nREPORT RequestId: [0-9a-f-]{36}\tDuration: [0-9.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 512 MB(\tMax Memory Used: \d+ MB)?\tInit Duration: [0-9.]+ ms\t\n$`)
	if !pattern.Match(tail) {
		t.Errorf("tail %q", tail)
	}
	if got := strings.Join(w.lines["/aws/lambda/f"], ""); got != string(tail) {
		t.Errorf("log %q, tail %q", got, tail)
	}
	// It acts on behalf of whoever invoked, while it does, and for itself afterwards.
	if len(w.bound) != 2 || w.bound[0].Execution != "arn:execution" || w.bound[0].Kind != identity.Invocation || w.bound[0].Entity == "" ||
		w.bound[0].ARN != "arn:aws:sts::000000000000:assumed-role/worker/f" || w.bound[1].Execution != "" {
		t.Errorf("bound to %+v", w.bound)
	}
	out = invoke(t, s, "f", `{"n":-1}`)
	var e struct {
		ErrorMessage, ErrorType, RequestID string
		StackTrace                         []string
	}
	if err := json.Unmarshal(out.Payload, &e); err != nil || *out.FunctionError != "Unhandled" || e.ErrorMessage != "negative" || e.ErrorType != "ValueError" || len(e.StackTrace) != 1 {
		t.Errorf("failure %s", out.Payload)
	}
	if len(w.issued) != 1 {
		t.Errorf("%d instances were started, want one", len(w.issued))
	}
}

func TestGoFunctionFromS3(t *testing.T) {
	w := newWorld(t)
	s, _ := w.start()
	w.objects["code/f.zip"] = goZip(t)
	fromS3 := func(key string) func(*lambdaapi.CreateFunctionInput) {
		return func(in *lambdaapi.CreateFunctionInput) {
			in.Code = &lambdaapi.FunctionCode{S3Bucket: awsapi.Ptr("code"), S3Key: &key}
		}
	}
	in := &lambdaapi.CreateFunctionInput{FunctionName: "f", Runtime: awsapi.Ptr("provided.al2023"), Handler: awsapi.Ptr("x"), Role: "arn:aws:iam::000000000000:role/r"}
	fromS3("none.zip")(in)
	_, err := s.CreateFunction(caller(t), in)
	wantCode(t, err, "InvalidParameterValueException", "S3 Error Code: NoSuchKey")
	create(t, s, "f", "provided.al2023", nil, fromS3("f.zip"))
	answer := func() (doc struct {
		In       map[string]any
		Pid      int
		Greeting string
	}) {
		t.Helper()
		out := invoke(t, s, "f", `{"a":1}`)
		if err := json.Unmarshal(out.Payload, &doc); err != nil || out.FunctionError != nil || doc.In["a"] != 1.0 {
			t.Errorf("answer %s", out.Payload)
		}
		return doc
	}
	first, second := answer(), answer()
	if first.Pid != second.Pid {
		t.Error("the second invocation was no warm start")
	}
	if _, err := s.UpdateFunctionConfiguration(caller(t), &lambdaapi.UpdateFunctionConfigurationInput{
		FunctionName: "f", Environment: &lambdaapi.Environment{Variables: map[string]string{"GREETING": "new"}},
	}); err != nil {
		t.Fatal(err)
	}
	third := answer()
	if third.Pid == first.Pid || third.Greeting != "new" {
		t.Errorf("after the change: %+v", third)
	}
	w.clock.fire()
	if fourth := answer(); fourth.Pid == third.Pid {
		t.Error("the idle instance did not expire")
	}
	if out := invoke(t, s, "f", `{"fail":"no luck"}`); string(out.Payload) != `{"errorMessage":"no luck","errorType":"errorString"}` || *out.FunctionError != "Unhandled" {
		t.Errorf("failure %s", out.Payload)
	}
}

func TestTimeoutAndFaults(t *testing.T) {
	w := newWorld(t)
	s, _ := w.start()
	create(t, s, "slow", "python3.12", pythonZip(t, "import time\ndef handler(e, c):\n    print('going')\n    time.sleep(600)"), func(in *lambdaapi.CreateFunctionInput) {
		in.Timeout = awsapi.Ptr(int64(1))
	})
	out := invoke(t, s, "slow", "{}")
	if !strings.Contains(string(out.Payload), `"errorType":"Sandbox.Timedout"`) || !strings.Contains(string(out.Payload), "Task timed out after 1.00 seconds") {
		t.Errorf("answer %s", out.Payload)
	}
	if log := strings.Join(w.lines["/aws/lambda/slow"], ""); !strings.Contains(log, "going\n") || !strings.Contains(log, " Task timed out after 1.00 seconds\nEND ") {
		t.Errorf("log %q", log)
	}
	for name, c := range map[string]struct {
		zip  []byte
		want string
	}{
		"none":       {zipped(t, entry{"other", "x", 0o644}), "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"},
		"plain":      {zipped(t, entry{"bootstrap", "#!/bin/sh\n", 0o644}), "fork/exec /var/task/bootstrap: permission denied"},
		"noprogram":  {zipped(t, entry{"bootstrap", "no program", 0o755}), "fork/exec /var/task/bootstrap: exec format error"},
		"endsatonce": {zipped(t, entry{"bootstrap", "#!/bin/sh\nexit 5\n", 0o755}), "Runtime exited with error: exit status 5"},
	} {
		create(t, s, name, "provided.al2023", c.zip)
		out := invoke(t, s, name, "{}")
		if awsapi.Val(out.FunctionError) != "Unhandled" || !strings.Contains(string(out.Payload), c.want) {
			t.Errorf("%s: %s", name, out.Payload)
		}
	}
}

func TestConcurrency(t *testing.T) {
	w := newWorld(t)
	w.tweak = func(c *Config) { c.Instances = 2 }
	s, _ := w.start()
	// Each invocation waits until as many as told are there.
	source := `
import os, time
def handler(event, context):
    open(os.path.join(event["dir"], context.aws_request_id), "w").close()
    while len(os.listdir(event["dir"])) < event["wait"]:
        time.sleep(0.01)
    return os.getpid()
`
	create(t, s, "a", "python3.12", pythonZip(t, source))
	create(t, s, "b", "python3.12", pythonZip(t, source))
	together := func(wait int, names ...string) map[string]bool {
		dir := t.TempDir()
		var mu sync.Mutex
		pids := map[string]bool{}
		var wg sync.WaitGroup
		for _, name := range names {
			wg.Go(func() {
				out := invoke(t, s, name, fmt.Sprintf(`{"dir":%q,"wait":%d}`, dir, wait))
				if out.FunctionError != nil {
					t.Errorf("%s: %s", name, out.Payload)
				}
				mu.Lock()
				defer mu.Unlock()
				pids[string(out.Payload)] = true
			})
		}
		wg.Wait()
		return pids
	}
	if pids := together(2, "a", "a"); len(pids) != 2 {
		t.Errorf("processes %v", pids)
	}
	together(1, "a", "b", "a", "b", "b", "a", "b", "a") // with room for two
	if _, err := s.PutFunctionConcurrency(caller(t), &lambdaapi.PutFunctionConcurrencyInput{FunctionName: "a"}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Invoke(caller(t), &lambdaapi.InvokeInput{FunctionName: "a"})
	wantCode(t, err, "TooManyRequestsException", "Rate Exceeded.")
	if _, err := s.DeleteFunctionConcurrency(caller(t), &lambdaapi.DeleteFunctionConcurrencyInput{FunctionName: "a"}); err != nil {
		t.Fatal(err)
	}
	together(1, "a")
}

func TestAsynchronous(t *testing.T) {
	w := newWorld(t)
	s, stop := w.start()
	dir := t.TempDir()
	create(t, s, "f", "python3.12", pythonZip(t, `
import os
def handler(event, context):
    with open(os.path.join(event["dir"], event["name"]), "a") as f:
        f.write(context.aws_request_id + "\n")
    with open(os.path.join(event["dir"], event["name"])) as f:
        tries = len(f.readlines())
    if tries < event["until"]:
        raise RuntimeError("not yet")
`))
	send := func(name string, until int) {
		t.Helper()
		out, err := s.Invoke(caller(t), &lambdaapi.InvokeInput{
			FunctionName: "f", InvocationType: awsapi.Ptr("Event"), Payload: fmt.Appendf(nil, `{"dir":%q,"name":%q,"until":%d}`, dir, name, until),
		})
		if err != nil || *out.StatusCode != 202 || out.Payload != nil {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	tries := func(name string, want int) {
		t.Helper()
		for range want {
			<-w.report
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		if err != nil || len(lines) != want || lines[0] != lines[want-1] {
			t.Errorf("%s: tried as %q, want %d times with one id", name, lines, want)
		}
	}
	send("first", 1)
	tries("first", 1)
	send("second", 2)
	tries("second", 2)
	send("never", 9)
	tries("never", 3)

	// One that was accepted runs after a restart.
	if _, err := s.PutFunctionConcurrency(caller(t), &lambdaapi.PutFunctionConcurrencyInput{FunctionName: "f"}); err != nil {
		t.Fatal(err)
	}
	send("later", 1)
	stop()
	s, _ = w.start()
	if _, err := s.DeleteFunctionConcurrency(caller(t), &lambdaapi.DeleteFunctionConcurrencyInput{FunctionName: "f"}); err != nil {
		t.Fatal(err)
	}
	tries("later", 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lines["/aws/lambda/f"]) == 0 || len(w.report) != 0 {
		t.Errorf("%d reports too many", len(w.report))
	}
	for i, p := range w.bound {
		if p.Entity != "" && p.Execution != "arn:execution" {
			t.Errorf("invocation %d acts for %+v", i, p)
		}
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	s, _ := w.start()
	ptr := awsapi.Ptr[string]
	for name, c := range map[string]struct {
		tweak func(*lambdaapi.CreateFunctionInput)
		text  string
	}{
		"runtime":   {func(in *lambdaapi.CreateFunctionInput) { in.Runtime = ptr("nodejs22.x") }, "the runtime nodejs22.x"},
		"image":     {func(in *lambdaapi.CreateFunctionInput) { in.PackageType = ptr("Image") }, "images"},
		"layers":    {func(in *lambdaapi.CreateFunctionInput) { in.Layers = []string{"arn:layer"} }, "layers"},
		"version":   {func(in *lambdaapi.CreateFunctionInput) { in.Publish = awsapi.Ptr(true) }, "versions"},
		"handler":   {func(in *lambdaapi.CreateFunctionInput) { in.Handler = nil }, "mandatory"},
		"no code":   {func(in *lambdaapi.CreateFunctionInput) { in.Code = &lambdaapi.FunctionCode{} }, "source for function code"},
		"no zip":    {func(in *lambdaapi.CreateFunctionInput) { in.Code.ZipFile = []byte("zip") }, "Could not unzip"},
		"reserved":  {func(in *lambdaapi.CreateFunctionInput) { in.Environment = env("AWS_REGION", "x") }, "Reserved keys used in this request: AWS_REGION"},
		"large env": {func(in *lambdaapi.CreateFunctionInput) { in.Environment = env("X", strings.Repeat("x", 4096)) }, "4KB"},
		"dead": {func(in *lambdaapi.CreateFunctionInput) {
			in.DeadLetterConfig = &lambdaapi.DeadLetterConfig{TargetArn: ptr("arn")}
		}, "dead-letter"},
		"vpc":           {func(in *lambdaapi.CreateFunctionInput) { in.VpcConfig = &lambdaapi.VpcConfig{SubnetIds: []string{"s"}} }, "VPCs"},
		"no role":       {func(in *lambdaapi.CreateFunctionInput) { in.Role = "arn:aws:iam::000000000000:role/missing" }, "The role defined for the function cannot be assumed by Lambda."},
		"another trust": {func(in *lambdaapi.CreateFunctionInput) { in.Role = "arn:aws:iam::000000000000:role/machine" }, "cannot be assumed by Lambda"},
		"another path":  {func(in *lambdaapi.CreateFunctionInput) { in.Role = "arn:aws:iam::000000000000:role/worker" }, "cannot be assumed by Lambda"},
		"json logs": {func(in *lambdaapi.CreateFunctionInput) {
			in.LoggingConfig = &lambdaapi.LoggingConfig{LogFormat: ptr("JSON")}
		}, "JSON"},
	} {
		in := &lambdaapi.CreateFunctionInput{
			FunctionName: "f", Runtime: ptr("python3.12"), Role: "arn:aws:iam::000000000000:role/r", Handler: ptr("app.handler"),
			Code: &lambdaapi.FunctionCode{ZipFile: pythonZip(t, "")},
		}
		c.tweak(in)
		_, err := s.CreateFunction(caller(t), in)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		wantCode(t, err, "InvalidParameterValueException", c.text)
	}
	out, err := s.ListFunctions(caller(t), &lambdaapi.ListFunctionsInput{})
	if err != nil || len(out.Functions) != 0 {
		t.Errorf("left behind: %+v, %v", out, err)
	}
	_, err = s.Invoke(caller(t), &lambdaapi.InvokeInput{FunctionName: "f"})
	wantCode(t, err, "ResourceNotFoundException", "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST")
	create(t, s, "f", "python3.12", pythonZip(t, ""))
	_, err = s.Invoke(caller(t), &lambdaapi.InvokeInput{FunctionName: "f", Payload: []byte("{")})
	wantCode(t, err, "InvalidRequestContentException", "Could not parse request body into json: Could not parse payload into json: ")
	_, err = s.Invoke(caller(t), &lambdaapi.InvokeInput{FunctionName: "f", Payload: make([]byte, maxEvent+1)})
	wantCode(t, err, "RequestTooLargeException", "too large")
	_, err = s.Invoke(caller(t), &lambdaapi.InvokeInput{FunctionName: "f", Qualifier: ptr("7")})
	wantCode(t, err, "ResourceNotFoundException", "function:f:7")
}

func env(k, v string) *lambdaapi.Environment {
	return &lambdaapi.Environment{Variables: map[string]string{k: v}}
}

func TestManagement(t *testing.T) {
	w := newWorld(t)
	s, stop := w.start()
	ctx := caller(t)
	c := create(t, s, "f", "python3.12", pythonZip(t, "1"), func(in *lambdaapi.CreateFunctionInput) { in.Tags = map[string]string{"a": "1"} })
	create(t, s, "g", "python3.12", pythonZip(t, "2"))
	_, err := s.CreateFunction(ctx, &lambdaapi.CreateFunctionInput{
		FunctionName: "f", Runtime: awsapi.Ptr("python3.12"), Role: "arn:aws:iam::000000000000:role/r", Handler: awsapi.Ptr("a.b"), Code: &lambdaapi.FunctionCode{ZipFile: pythonZip(t, "")},
	})
	wantCode(t, err, "ResourceConflictException", "Function already exist: f")
	for _, name := range []string{"f", "f:$LATEST", "function:f", "000000000000:function:f", *c.FunctionArn, *c.FunctionArn + ":$LATEST"} {
		if out, err := s.GetFunction(ctx, &lambdaapi.GetFunctionInput{FunctionName: name}); err != nil || *out.Configuration.FunctionName != "f" || out.Tags["a"] != "1" {
			t.Errorf("get %s: %+v, %v", name, out, err)
		}
	}
	page, err := s.ListFunctions(ctx, &lambdaapi.ListFunctionsInput{MaxItems: awsapi.Ptr(int64(1))})
	if err != nil || len(page.Functions) != 1 || page.NextMarker == nil {
		t.Fatalf("page %+v, %v", page, err)
	}
	page, err = s.ListFunctions(ctx, &lambdaapi.ListFunctionsInput{Marker: page.NextMarker})
	if err != nil || len(page.Functions) != 1 || *page.Functions[0].FunctionName != "g" || page.NextMarker != nil {
		t.Errorf("page %+v, %v", page, err)
	}
	_, err = s.UpdateFunctionCode(ctx, &lambdaapi.UpdateFunctionCodeInput{FunctionName: "f", ZipFile: pythonZip(t, "3"), RevisionId: awsapi.Ptr("old")})
	wantCode(t, err, "PreconditionFailedException", "RevisionId")
	u, err := s.UpdateFunctionCode(ctx, &lambdaapi.UpdateFunctionCodeInput{FunctionName: "f", ZipFile: pythonZip(t, "3"), RevisionId: c.RevisionId})
	if err != nil || *u.CodeSha256 == *c.CodeSha256 || *u.RevisionId == *c.RevisionId {
		t.Errorf("update %+v, %v", u, err)
	}

	if _, err := s.TagResource(ctx, &lambdaapi.TagResourceInput{Resource: *c.FunctionArn, Tags: map[string]string{"b": "2"}}); err != nil {
		t.Error(err)
	}
	if _, err := s.UntagResource(ctx, &lambdaapi.UntagResourceInput{Resource: *c.FunctionArn, TagKeys: []string{"a"}}); err != nil {
		t.Error(err)
	}
	if out, err := s.ListTags(ctx, &lambdaapi.ListTagsInput{Resource: *c.FunctionArn}); err != nil || len(out.Tags) != 1 || out.Tags["b"] != "2" {
		t.Errorf("tags %+v, %v", out, err)
	}

	_, err = s.GetFunctionUrlConfig(ctx, &lambdaapi.GetFunctionUrlConfigInput{FunctionName: "f"})
	wantCode(t, err, "ResourceNotFoundException", "The resource you requested does not exist.")
	_, err = s.GetFunctionUrlConfig(ctx, &lambdaapi.GetFunctionUrlConfigInput{FunctionName: "none"})
	wantCode(t, err, "ResourceNotFoundException", "Function not found")
	_, err = s.GetFunctionEventInvokeConfig(ctx, &lambdaapi.GetFunctionEventInvokeConfigInput{FunctionName: "f"})
	wantCode(t, err, "ResourceNotFoundException", "doesn't have an EventInvokeConfig")
	_, err = s.GetAlias(ctx, &lambdaapi.GetAliasInput{FunctionName: "f", Name: "live"})
	wantCode(t, err, "ResourceNotFoundException", "Cannot find alias arn: "+*c.FunctionArn+":live")

	_, err = s.GetPolicy(ctx, &lambdaapi.GetPolicyInput{FunctionName: "f"})
	wantCode(t, err, "ResourceNotFoundException", "The resource you requested does not exist.")
	add := &lambdaapi.AddPermissionInput{FunctionName: "f", StatementId: "sns", Action: "lambda:InvokeFunction", Principal: "sns.amazonaws.com", SourceArn: awsapi.Ptr("arn:topic")}
	want := `{"Sid":"sns","Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"` + *c.FunctionArn + `","Condition":{"ArnLike":{"AWS:SourceArn":"arn:topic"}}}`
	if out, err := s.AddPermission(ctx, add); err != nil || *out.Statement != want {
		t.Errorf("statement %+v, %v", out, err)
	}
	_, err = s.AddPermission(ctx, add)
	wantCode(t, err, "ResourceConflictException", "The statement id (sns) provided already exists.")
	if out, err := s.GetPolicy(ctx, &lambdaapi.GetPolicyInput{FunctionName: "f"}); err != nil || *out.Policy != `{"Version":"2012-10-17","Id":"default","Statement":[`+want+`]}` {
		t.Errorf("policy %+v, %v", out, err)
	}
	for service, code := range map[[2]string]string{
		{"sns.amazonaws.com", "arn:topic"}: "", {"sns.amazonaws.com", "arn:other"}: "AccessDeniedException", {"events.amazonaws.com", "arn:topic"}: "AccessDeniedException", {}: "",
	} {
		by := alice
		by.Service, by.Source = service[0], service[1]
		_, err := s.Invoke(identity.With(t.Context(), by), &lambdaapi.InvokeInput{FunctionName: "f", InvocationType: awsapi.Ptr("DryRun")})
		if awscall.Code(err) != code {
			t.Errorf("invoked by %v: %v", service, err)
		}
	}
	if _, err := s.RemovePermission(ctx, &lambdaapi.RemovePermissionInput{FunctionName: "f", StatementId: "sns"}); err != nil {
		t.Error(err)
	}
	_, err = s.RemovePermission(ctx, &lambdaapi.RemovePermissionInput{FunctionName: "f", StatementId: "sns"})
	wantCode(t, err, "ResourceNotFoundException", "Statement sns is not found")

	if _, err := s.DeleteFunction(ctx, &lambdaapi.DeleteFunctionInput{FunctionName: "f"}); err != nil {
		t.Error(err)
	}
	_, err = s.DeleteFunction(ctx, &lambdaapi.DeleteFunctionInput{FunctionName: "f"})
	wantCode(t, err, "ResourceNotFoundException", "")
	stop()
	w.start()
	if files, _ := os.ReadDir(filepath.Join(w.dir, "lambda", "code")); len(files) != 1 {
		t.Errorf("code that no function has is kept: %v", files)
	}
}

// TestCodeLink: GetFunction's link gives the zip, and no other link does.
func TestCodeLink(t *testing.T) {
	w := newWorld(t)
	s, _ := w.start()
	code := pythonZip(t, "1")
	create(t, s, "f", "python3.12", code)
	out, err := s.GetFunction(caller(t), &lambdaapi.GetFunctionInput{FunctionName: "f"})
	if err != nil {
		t.Fatal(err)
	}
	link, err := url.Parse(*out.Code.Location)
	if err != nil {
		t.Fatal(err)
	}
	get := func(change func(url.Values)) *httptest.ResponseRecorder {
		q := link.Query()
		change(q)
		answer := httptest.NewRecorder()
		s.Handler().ServeHTTP(answer, httptest.NewRequest("GET", link.Path+"?"+q.Encode(), nil))
		return answer
	}
	if answer := get(func(url.Values) {}); answer.Code != 200 || !bytes.Equal(answer.Body.Bytes(), code) {
		t.Errorf("answered %d", answer.Code)
	}
	past := "1"
	for name, change := range map[string]func(url.Values){
		"unsigned":  func(q url.Values) { q.Del("Signature") },
		"prolonged": func(q url.Values) { q.Set("Expires", "9999999999") },
		"over": func(q url.Values) {
			q.Set("Expires", past)
			q.Set("Signature", s.links.signature(strings.TrimSuffix(strings.TrimPrefix(link.Path, Prefix), ".zip"), past))
		},
	} {
		if answer := get(change); answer.Code != 403 {
			t.Errorf("%s: answered %d", name, answer.Code)
		}
	}
}

// TestRepeatedCall gives a call with a request key twice, as an execution does after a crash.
func TestRepeatedCall(t *testing.T) {
	w := newWorld(t)
	s, _ := w.start()
	ctx := awscall.WithCall(caller(t), awscall.Call{Service: "lambda", Operation: "CreateFunction", RequestKey: "execution/e/7/0"}, time.Now())
	in := &lambdaapi.CreateFunctionInput{
		FunctionName: "f", Runtime: awsapi.Ptr("python3.12"), Role: "arn:aws:iam::000000000000:role/r", Handler: awsapi.Ptr("app.handler"),
		Code: &lambdaapi.FunctionCode{ZipFile: pythonZip(t, "def handler(e, c): return c.aws_request_id")},
	}
	if _, err := s.CreateFunction(ctx, in); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateFunction(ctx, in); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the repetition that raced: %v", err) // the gateway answers from the receipt
	}
	ctx = awscall.WithCall(caller(t), awscall.Call{Service: "lambda", Operation: "Invoke", RequestKey: "execution/e/8/0"}, time.Now())
	var ids []string
	for range 2 {
		out, err := s.Invoke(ctx, &lambdaapi.InvokeInput{FunctionName: "f"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, string(out.Payload))
	}
	if ids[0] != ids[1] || len(ids[0]) != 38 {
		t.Errorf("request ids %v", ids)
	}
}

func TestUnzip(t *testing.T) {
	huge := zipped(t, entry{"a", strings.Repeat("x", 1000), 0o644}, entry{"b", strings.Repeat("x", 1000), 0o644})
	for name, c := range map[string]struct {
		zip   []byte
		limit int64
		want  string
	}{
		"fine":      {zipped(t, entry{"a/b.py", "x", 0o644}, entry{"./c", "y", 0o755}, entry{"d/", "", fs.ModeDir | 0o755}, entry{"a/l", "../c", fs.ModeSymlink | 0o777}), 100, ""},
		"slip":      {zipped(t, entry{"../evil", "x", 0o644}), 100, "leads out"},
		"slip deep": {zipped(t, entry{"a/../../evil", "x", 0o644}), 100, "leads out"},
		"backslash": {zipped(t, entry{`..\evil`, "x", 0o644}), 100, "leads out"},
		"absolute":  {zipped(t, entry{"/etc/evil", "x", 0o644}), 100, "leads out"},
		"link out":  {zipped(t, entry{"l", "../..", fs.ModeSymlink | 0o777}, entry{"l/evil", "x", 0o644}), 100, "leads out"},
		"link root": {zipped(t, entry{"l", "/etc", fs.ModeSymlink | 0o777}), 100, "leads out"},
		"too large": {huge, 1999, "Unzipped size must be smaller"},
		"just fits": {huge, 2000, ""},
		"cut":       {huge[:len(huge)-30], 5000, "Could not unzip"},
		"device":    {zipped(t, entry{"d", "", fs.ModeDevice | 0o644}), 100, "neither file"},
		"file dir":  {zipped(t, entry{"a", "x", 0o644}, entry{"a/b", "x", 0o644}), 100, "Could not unzip"},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "task")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			err := unzip(dir, c.zip, c.limit)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if entries, _ := os.ReadDir(parent); len(entries) != 1 {
				t.Errorf("written outside: %v", entries)
			}
		})
	}
}

func FuzzUnzip(f *testing.F) {
	f.Add(zipped(f, entry{"a/b.py", "x", 0o644}, entry{"l", "a", fs.ModeSymlink | 0o777}))
	f.Add(goZip(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "task")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		unzip(dir, b, 1<<20)
		var size int64
		filepath.WalkDir(parent, func(path string, d fs.DirEntry, err error) error {
			if info, e := d.Info(); e == nil && info.Mode().IsRegular() {
				size += info.Size()
			}
			return nil
		})
		if entries, _ := os.ReadDir(parent); len(entries) != 1 || size > 1<<20 {
			t.Errorf("%d entries, %d bytes", len(entries), size)
		}
	})
}
