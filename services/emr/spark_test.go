package emr_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/emrapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/proc"
	"github.com/mayfly-run/mayfly/internal/wake"
	"github.com/mayfly-run/mayfly/services/emr"
	"github.com/mayfly-run/mayfly/services/s3"
	"github.com/mayfly-run/mayfly/spark"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/sqlite"
)

// TestMain makes the test binary its own supervisor, and the programs on its clusters.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "proc":
			os.Exit(proc.Main(os.Args[2:]))
		case "on-cluster":
			os.Exit(spark.Main(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

// installation is the Spark that `mayfly setup` has brought. CI always has one.
func installation(t *testing.T) *spark.Installation {
	t.Helper()
	if testing.Short() {
		t.Skip("real Spark is not for -short")
	}
	in, err := spark.Find(spark.Options{})
	if errors.Is(err, spark.ErrNotSetUp) && os.Getenv("CI") == "" && os.Getenv("MAYFLY_TEST_ALL") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// server is Mayfly with S3 and EMR only.
type server struct {
	change  []func(*emr.Config)
	watched *wake.Bus
	t       *testing.T
	dir     string
	port    string
	bus     wake.Bus
	gateway *gateway.Gateway
	emr     *emr.Service
	stop    func()
}

var caller = identity.Principal{Kind: identity.User, Account: gateway.DefaultAccount, Region: gateway.DefaultRegion, ARN: "arn:aws:iam::000000000000:root",
	Execution: "arn:aws:states:us-east-1:000000000000:execution:m:e"}

// start starts a server on the data in dir; change may turn its configuration.
func start(t *testing.T, dir, listen string, change ...func(*emr.Config)) *server {
	t.Helper()
	s := &server{t: t, dir: dir}
	var st store.Store
	st, err := sqlite.Open(t.Context(), filepath.Join(dir, "mayfly.db"))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	loop := durable.New(durable.Config{Store: st, Log: log})
	if s.gateway, err = gateway.New(t.Context(), gateway.Config{Store: st, Log: log}); err != nil {
		t.Fatal(err)
	}
	objects, err := s3.New(t.Context(), s3.Config{Store: st, Clock: clock.System{}, Log: log, DataDir: dir, Fatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", listen)
	for errors.Is(err, syscall.EADDRINUSE) && t.Context().Err() == nil { // a client of somebody's may have the port for a moment
		runtime.Gosched()
		listener, err = net.Listen("tcp", listen)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.port = listener.Addr().String()
	cfg := emr.Config{Store: st, Loop: loop, Clock: clock.System{}, Log: log, Calls: s.gateway, Issuer: s.gateway.Keys, Wake: &s.bus,
		DataDir: dir, Endpoint: func() string { return "http://" + s.port }}
	for _, f := range change {
		f(&cfg)
	}
	s.emr = emr.New(cfg)
	s.gateway.Register(objects.API(), s.emr.API())
	s.gateway.Extra(emr.Prefix, s.emr.Handler())
	if err := loop.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := &http.Server{Handler: s.gateway, ReadHeaderTimeout: time.Minute}
	go h.Serve(listener)
	s.stop = func() {
		h.Close()
		loop.Stop()
		st.Close()
	}
	return s
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func call[Out any](s *server, service, op string, in any) *Out {
	s.t.Helper()
	out, err := awscall.Typed[Out](s.t.Context(), s.gateway, awscall.Call{Principal: caller, Service: service, Operation: op}, in)
	if err != nil {
		s.t.Fatalf("%s: %v", op, err)
	}
	return out
}

func (s *server) put(key, body string) string {
	s.t.Helper()
	call[s3api.PutObjectOutput](s, "s3", "PutObject", &s3api.PutObjectInput{Bucket: "bucket", Key: key, Body: strings.NewReader(body)})
	return "s3://bucket/" + key
}

func (s *server) get(key string) string {
	s.t.Helper()
	out := call[s3api.GetObjectOutput](s, "s3", "GetObject", &s3api.GetObjectInput{Bucket: "bucket", Key: key})
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if strings.HasSuffix(key, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			s.t.Fatal(err)
		}
		if b, err = io.ReadAll(z); err != nil {
			s.t.Fatal(err)
		}
	}
	return string(b)
}

func (s *server) has(key string) bool {
	s.t.Helper()
	_, err := s.gateway.Invoke(s.t.Context(), awscall.Call{Principal: caller, Service: "s3", Operation: "HeadObject",
		Input: awsapi.ToDocument(&s3api.HeadObjectInput{Bucket: "bucket", Key: key})})
	return err == nil
}

// until waits for changes of ref until cond holds.
func (s *server) until(ref string, cond func() bool) {
	s.t.Helper()
	s.waits(s.t.Context(), ref, cond)
}

func (s *server) waits(ctx context.Context, ref string, cond func() bool) {
	s.t.Helper()
	changed := make(chan struct{}, 1)
	poke := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	bus := &s.bus
	if s.watched != nil {
		bus = s.watched // of the server that was started anew
	}
	defer bus.Watch(ref, poke)()
	for !cond() {
		select {
		case <-changed:
		case <-ctx.Done():
			s.t.Fatalf("%s did not change", ref)
		}
	}
}

// end terminates a cluster and waits until its processes are gone, also when the test has failed.
func (s *server) end(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.emr.Release(ctx, id, "the test is over"); err != nil {
		s.t.Logf("%s is left to whoever starts next: %v", id, err) // its server has been stopped
		return
	}
	s.waits(ctx, id, func() bool {
		out, err := s.gateway.Invoke(ctx, awscall.Call{Principal: caller, Service: "elasticmapreduce", Operation: "DescribeCluster", Input: map[string]any{"ClusterId": id}})
		if err != nil {
			return true // likewise
		}
		state := out["Cluster"].(map[string]any)["Status"].(map[string]any)["State"].(string)
		return strings.HasPrefix(state, "TERMINATED")
	})
}

func (s *server) cluster(id string) *emrapi.Cluster {
	return call[emrapi.DescribeClusterOutput](s, "elasticmapreduce", "DescribeCluster", &emrapi.DescribeClusterInput{ClusterId: id}).Cluster
}

func (s *server) untilState(id string, states ...string) *emrapi.Cluster {
	s.t.Helper()
	var c *emrapi.Cluster
	s.until(id, func() bool {
		c = s.cluster(id)
		for _, state := range states {
			if *c.Status.State == state {
				return true
			}
		}
		if strings.HasPrefix(*c.Status.State, "TERMINATED") {
			s.t.Fatalf("cluster is %s: %s %s", *c.Status.State, awsapi.Val(c.Status.StateChangeReason.Code), awsapi.Val(c.Status.StateChangeReason.Message))
		}
		return false
	})
	return c
}

func (s *server) step(id, step string) *emrapi.Step {
	return call[emrapi.DescribeStepOutput](s, "elasticmapreduce", "DescribeStep", &emrapi.DescribeStepInput{ClusterId: id, StepId: step}).Step
}

func (s *server) untilEnded(id, step string) *emrapi.Step {
	s.t.Helper()
	var st *emrapi.Step
	s.until(id+"/"+step, func() bool {
		st = s.step(id, step)
		switch *st.Status.State {
		case "PENDING", "RUNNING", "CANCEL_PENDING":
			return false
		}
		return true
	})
	return st
}

func (s *server) run(name string, nodes int64, change func(*emrapi.RunJobFlowInput)) string {
	s.t.Helper()
	in := &emrapi.RunJobFlowInput{
		Name: name, ReleaseLabel: awsapi.Ptr("emr-7.10.0"), LogUri: awsapi.Ptr("s3://bucket/logs/"), ServiceRole: awsapi.Ptr("EMR_DefaultRole"),
		JobFlowRole: awsapi.Ptr("EMR_EC2_DefaultRole"), Applications: []emrapi.Application{{Name: awsapi.Ptr("Spark")}},
		Instances: &emrapi.JobFlowInstancesConfig{KeepJobFlowAliveWhenNoSteps: awsapi.Ptr(true), InstanceGroups: []emrapi.InstanceGroupConfig{
			{InstanceRole: "MASTER", InstanceType: "m5.xlarge", InstanceCount: 1}, {InstanceRole: "CORE", InstanceType: "m5.xlarge", InstanceCount: nodes}}},
	}
	if change != nil {
		change(in)
	}
	out := call[emrapi.RunJobFlowOutput](s, "elasticmapreduce", "RunJobFlow", in)
	s.t.Cleanup(func() { s.end(*out.JobFlowId) })
	return *out.JobFlowId
}

func (s *server) add(id string, steps ...emrapi.StepConfig) []string {
	s.t.Helper()
	return call[emrapi.AddJobFlowStepsOutput](s, "elasticmapreduce", "AddJobFlowSteps", &emrapi.AddJobFlowStepsInput{JobFlowId: id, Steps: steps}).StepIds
}

func command(name string, args ...string) emrapi.StepConfig {
	return emrapi.StepConfig{Name: name, ActionOnFailure: awsapi.Ptr("CONTINUE"), HadoopJarStep: &emrapi.HadoopJarStepConfig{Jar: "command-runner.jar", Args: args}}
}

func (s *server) follow(id, step, file, query string) string {
	s.t.Helper()
	res, err := http.Get("http://" + s.port + emr.Prefix + id + "/steps/" + step + "/" + file + query)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode != 200 {
		s.t.Fatalf("follow %s: %s %s", file, res.Status, b)
	}
	return string(b)
}

const wordCount = `
import glob, os, sys
def open_to_others():
    """The listening sockets of the cluster's processes that are not on the loopback interface, of at least one that is."""
    if not os.path.isdir("/proc"):
        return True, []  # macOS does not tell without help
    sockets, listening, loopback = set(), [], 0
    for pid in os.listdir("/proc"):
        try:
            if pid.isdigit() and os.environ["EMR_CLUSTER_ID"] in open("/proc/%s/cmdline" % pid).read():
                sockets.update(os.readlink(fd) for fd in glob.glob("/proc/%s/fd/*" % pid) if os.path.islink(fd))
        except OSError:
            pass
    for table in "/proc/net/tcp", "/proc/net/tcp6":
        for line in open(table).readlines()[1:]:
            f = line.split()
            if f[3] == "0A" and "socket:[%s]" % f[9] in sockets:
                address = f[1].split(":")[0]
                if address == "0100007F" or address in ("0000000000000000FFFF00000100007F", "00000000000000000000000001000000"):
                    loopback += 1
                else:
                    listening.append(f[1])
    return loopback > 3, listening
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName("words").master("yarn").config("spark.executor.memory", "64g").getOrCreate()
words = spark.sparkContext.textFile(sys.argv[1]).flatMap(str.split).map(lambda w: (w, 1)).reduceByKey(lambda a, b: a + b)
rows = sorted(words.collect())
print(rows)
spark.createDataFrame(rows, "word string, n long").coalesce(1).write.csv(sys.argv[2], header=True)
import boto3
keys = [o["Key"] for o in boto3.client("s3").list_objects_v2(Bucket="bucket", Prefix="out/")["Contents"]]
print(len([k for k in keys if k.endswith(".csv")]), "file")
print(open_to_others())
`

func TestPipelineOnSpark(t *testing.T) {
	installation(t)
	dir := t.TempDir()
	s := start(t, dir, "127.0.0.1:0")
	defer func() { s.stop() }()
	call[s3api.CreateBucketOutput](s, "s3", "CreateBucket", &s3api.CreateBucketInput{Bucket: "bucket"})
	input := s.put("in/text.txt", "to be or not to be\n")
	program := s.put("code/words.py", wordCount)
	boot := s.put("code/boot.sh", "#!/bin/bash\necho booting $1; sudo echo as $(whoami); mkdir -p $HOME/made\n")

	id := s.run("pipeline", 2, func(in *emrapi.RunJobFlowInput) {
		in.BootstrapActions = []emrapi.BootstrapActionConfig{{Name: "boot", ScriptBootstrapAction: &emrapi.ScriptBootstrapActionConfig{Path: boot, Args: []string{"now"}}}}
	})
	if c := s.cluster(id); *c.Status.State != "STARTING" && *c.Status.State != "BOOTSTRAPPING" || c.Status.Timeline.ReadyDateTime != nil {
		t.Errorf("after RunJobFlow: %+v", c.Status)
	}
	c := s.untilState(id, "WAITING")
	t.Logf("WAITING after %v", c.Status.Timeline.ReadyDateTime.Sub(*c.Status.Timeline.CreationDateTime))
	if got := awsapi.Val(c.Status.StateChangeReason.Message); got != "Cluster ready to run steps." {
		t.Errorf("reason %q", got)
	}
	owned, err := s.emr.Live(t.Context())
	if err != nil || len(owned) != 1 || owned[0].Principal.Execution != caller.Execution {
		t.Errorf("live clusters: %+v %v", owned, err)
	}

	// The article's command line, as it is.
	yarn := []string{"spark-submit", "--deploy-mode", "client", "--master", "yarn", "--conf", "spark.yarn.submit.waitAppCompletion=true", program, input, "s3://bucket/out"}
	steps := s.add(id, command("words", yarn...), command("again", yarn...), command("shell", "bash", "-c", "echo $EMR_STEP_ID; aws s3 ls s3://bucket/out/ | grep -c csv"),
		command("pig", "pig-script", "x"), command("exit", "bash", "-c", "exit 3"))
	st := s.untilEnded(id, steps[0])
	if *st.Status.State != "COMPLETED" {
		t.Fatalf("step: %s %s\n%s\n%s", *st.Status.State, ToString(st.Status.FailureDetails), s.follow(id, steps[0], "stdout", "?offset=-3000"), s.follow(id, steps[0], "stderr", "?offset=-3000"))
	}
	t.Logf("first step took %v", st.Status.Timeline.EndDateTime.Sub(*st.Status.Timeline.StartDateTime))
	want := "[('be', 2), ('not', 1), ('or', 1), ('to', 2)]\n1 file\n(True, [])\n"
	if got := s.follow(id, steps[0], "stdout", ""); !strings.HasPrefix(got, want) {
		t.Errorf("stdout %q", got)
	}
	if got := s.get(fmt.Sprintf("logs/%s/steps/%s/stdout.gz", id, steps[0])); !strings.HasPrefix(got, want) {
		t.Errorf("stdout.gz %q", got)
	}
	if got := s.get(fmt.Sprintf("logs/%s/steps/%s/controller.gz", id, steps[0])); !strings.Contains(got, "--master yarn becomes spark://127.0.0.1:") ||
		!strings.Contains(got, "in the program: spark.executor.memory 64g becomes") {
		t.Errorf("controller %q", got)
	}
	if st.Config.Args[4] != "yarn" {
		t.Errorf("the step's arguments were changed: %q", st.Config.Args)
	}
	st = s.untilEnded(id, steps[1])
	f := st.Status.FailureDetails
	if *st.Status.State != "FAILED" || f == nil || *f.Reason != "Output directory already exists." ||
		!strings.Contains(*f.Message, "[PATH_ALREADY_EXISTS] Path s3://bucket/out already exists") ||
		*f.LogFile != fmt.Sprintf("s3://bucket/logs/%s/steps/%s/stdout.gz", id, steps[1]) {
		t.Errorf("second step %s: %+v\n%s", *st.Status.State, ToString(f), s.follow(id, steps[1], "stderr", "?offset=-4000"))
	}
	if st = s.untilEnded(id, steps[2]); *st.Status.State != "COMPLETED" || s.follow(id, steps[2], "stdout", "") != steps[2]+"\n1\n" {
		t.Errorf("shell step %s: %q %q", *st.Status.State, s.follow(id, steps[2], "stdout", ""), s.follow(id, steps[2], "stderr", ""))
	}
	if st = s.untilEnded(id, steps[3]); *st.Status.State != "FAILED" || *st.Status.FailureDetails.Message != "Mayfly does not have Pig: the command pig-script cannot be run" {
		t.Errorf("pig step %s: %v", *st.Status.State, ToString(st.Status.FailureDetails))
	}
	if st = s.untilEnded(id, steps[4]); *st.Status.State != "FAILED" || *st.Status.FailureDetails.Message != "The program ended with exit code 3." {
		t.Errorf("exit step %s: %v", *st.Status.State, ToString(st.Status.FailureDetails))
	}
	s.untilState(id, "WAITING")
	list := call[emrapi.ListStepsOutput](s, "elasticmapreduce", "ListSteps", &emrapi.ListStepsInput{ClusterId: id}).Steps
	if len(list) != 5 || *list[0].Id != steps[4] || *list[4].Id != steps[0] {
		t.Errorf("steps are not listed newest first: %+v", list)
	}

	// A worker ends: Spark takes the one that replaces it.
	s.kill(id, "spark", "worker-0")
	s.until(id, func() bool { return len(s.instances(id, "TERMINATED")) == 1 && len(s.instances(id, "RUNNING")) == 3 })

	// What scripts on a cluster find on their PATH.
	steps = s.add(id, command("hadoop", "bash", "-ec", "hadoop fs -cat "+input+" s3a"+input[2:]+" s3n"+input[2:]+"; sudo -E pip --version | cut -d' ' -f1; python3 -c 'import sys, numpy; print(sys.prefix)'"),
		command("sql", "spark-sql", "-e", "select count(*) + 40 from csv.`s3://bucket/out`"), command("yum", "bash", "-c", "sudo yum install -y gcc"))
	prefix := filepath.Join(dir, "emr", id, "python")
	if st = s.untilEnded(id, steps[0]); s.follow(id, steps[0], "stdout", "") != strings.Repeat("to be or not to be\n", 3)+"pip\n"+prefix+"\n" {
		t.Errorf("hadoop step %s: %q\n%s", *st.Status.State, s.follow(id, steps[0], "stdout", ""), s.follow(id, steps[0], "stderr", ""))
	}
	if st = s.untilEnded(id, steps[1]); !strings.HasSuffix(s.follow(id, steps[1], "stdout", ""), "45\n") {
		t.Errorf("sql step %s: %q\n%s", *st.Status.State, s.follow(id, steps[1], "stdout", ""), s.follow(id, steps[1], "stderr", "?offset=-3000"))
	}
	if st = s.untilEnded(id, steps[2]); *st.Status.State != "FAILED" || !strings.Contains(*st.Status.FailureDetails.Message, "'yum install -y gcc' is refused") {
		t.Errorf("yum step %s: %s", *st.Status.State, ToString(st.Status.FailureDetails))
	}

	// A server that is started anew adopts the running step and the cluster.
	steps = s.add(id, command("waits", "bash", "-c", "echo once; while [ ! -e "+filepath.Join(dir, "go")+" ]; do sleep 0.02; done; echo done"))
	s.until(id+"/"+steps[0], func() bool { return *s.step(id, steps[0]).Status.State == "RUNNING" })
	for s.follow(id, steps[0], "stdout", "") == "" { // until the program is there
	}
	port := s.port
	s.stop()
	s = start(t, dir, port)
	if got := *s.step(id, steps[0]).Status.State; got != "RUNNING" {
		t.Errorf("after the restart the step is %s", got)
	}
	os.WriteFile(filepath.Join(dir, "go"), nil, 0o600)
	if st = s.untilEnded(id, steps[0]); *st.Status.State != "COMPLETED" || s.follow(id, steps[0], "stdout", "") != "once\ndone\n" {
		t.Errorf("adopted step %s: %q", *st.Status.State, s.follow(id, steps[0], "stdout", ""))
	}
	s.untilState(id, "WAITING")

	// A step that is cancelled, and one that ends with its cluster.
	steps = s.add(id, command("sleeps", "sleep", "600"), command("sleeps too", "sleep", "600"), command("never", "true"))
	s.until(id+"/"+steps[0], func() bool { return *s.step(id, steps[0]).Status.State == "RUNNING" })
	info := call[emrapi.CancelStepsOutput](s, "elasticmapreduce", "CancelSteps", &emrapi.CancelStepsInput{ClusterId: id, StepIds: steps[:1]}).CancelStepsInfoList
	if len(info) != 1 || *info[0].Status != "SUBMITTED" {
		t.Errorf("cancel: %+v", info)
	}
	if st = s.untilEnded(id, steps[0]); *st.Status.State != "CANCELLED" {
		t.Errorf("cancelled step is %s", *st.Status.State)
	}
	s.until(id+"/"+steps[1], func() bool { return *s.step(id, steps[1]).Status.State == "RUNNING" })
	call[emrapi.TerminateJobFlowsOutput](s, "elasticmapreduce", "TerminateJobFlows", &emrapi.TerminateJobFlowsInput{JobFlowIds: []string{id}})
	c = s.untilState(id, "TERMINATED")
	if awsapi.Val(c.Status.StateChangeReason.Code) != "USER_REQUEST" || c.Status.Timeline.EndDateTime == nil {
		t.Errorf("ended: %+v", c.Status)
	}
	if a, b := *s.step(id, steps[1]).Status.State, *s.step(id, steps[2]).Status.State; a != "INTERRUPTED" || b != "CANCELLED" {
		t.Errorf("steps of the ended cluster: %s %s", a, b)
	}
	noProcessesOf(t, dir)
	if left, _ := filepath.Glob(filepath.Join(dir, "emr", id, "credentials.json")); left != nil {
		t.Errorf("secrets are left: %v", left)
	}
}

// ToString shows failure details.
func ToString(f *emrapi.FailureDetails) string {
	if f == nil {
		return "none"
	}
	return awsapi.Val(f.Reason) + " | " + awsapi.Val(f.Message) + " | " + awsapi.Val(f.LogFile)
}

// noProcessesOf looks for processes that name the data directory in their command line.
func noProcessesOf(t *testing.T, dir string) {
	t.Helper()
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range found {
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(dir)) {
			t.Errorf("a process is left: %s %q", path, bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
		}
	}
}

// TestProgramsThatFail shows what DescribeStep tells of programs that go wrong, and of one that does not.
func TestProgramsThatFail(t *testing.T) {
	installation(t)
	dir := t.TempDir()
	s := start(t, dir, "127.0.0.1:0")
	defer func() { s.stop() }()
	call[s3api.CreateBucketOutput](s, "s3", "CreateBucket", &s3api.CreateBucketInput{Bucket: "bucket"})
	id := s.run("fails", 2, func(in *emrapi.RunJobFlowInput) {
		in.LogUri, in.StepConcurrencyLevel = nil, awsapi.Ptr(int64(2))
		in.Configurations = []emrapi.Configuration{{Classification: awsapi.Ptr("spark-defaults"), Properties: map[string]string{"spark.cores.max": "1"}}}
	})
	begin := "from pyspark.sql import SparkSession\nspark = SparkSession.builder.getOrCreate()\n"
	cases := []struct{ name, program, state, reason, message string }{
		{"syntax", "this is no python\n", "FAILED", "Unknown Error.", "SyntaxError: invalid syntax"},
		{"missing", "", "FAILED", "Input path does not exist.", "java.io.FileNotFoundException: No such file or directory: s3://bucket/missing.py"},
		{"input", begin + "spark.read.csv('s3://bucket/none')\n", "FAILED", "Input path does not exist.",
			"pyspark.errors.exceptions.captured.AnalysisException: [PATH_NOT_FOUND] Path does not exist: s3://bucket/none. SQLSTATE: 42K03"},
		{"bucket", begin + "spark.sparkContext.textFile('s3://nowhere/x').count()\n", "FAILED", "Input path does not exist.",
			"software.amazon.awssdk.services.s3.model.NoSuchBucketException: The specified bucket does not exist"},
		{"worker", begin + "spark.sparkContext.parallelize([0]).map(lambda x: 1 / x).collect()\n", "FAILED", "Unknown Error.", "ZeroDivisionError: division by zero"},
		{"caught", "import sys\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    sys.exit(0)\n", "COMPLETED", "", ""},
	}
	var steps []emrapi.StepConfig
	for _, c := range cases {
		if c.program != "" {
			s.put(c.name+".py", c.program)
		}
		steps = append(steps, command(c.name, "spark-submit", "s3://bucket/"+c.name+".py"))
	}
	ids := s.add(id, steps...)
	for i, c := range cases {
		st := s.untilEnded(id, ids[i])
		f := st.Status.FailureDetails
		if f == nil {
			f = &emrapi.FailureDetails{}
		}
		if *st.Status.State != c.state || awsapi.Val(f.Reason) != c.reason || !strings.HasPrefix(awsapi.Val(f.Message), c.message) {
			t.Errorf("%s: %s %s\n%s\n%s", c.name, *st.Status.State, ToString(f), s.follow(id, ids[i], "stdout", "?offset=-3000"), s.follow(id, ids[i], "stderr", "?offset=-1500"))
		}
	}
	// A cluster outlives its server: the test ends it while the server is there.
	call[emrapi.TerminateJobFlowsOutput](s, "elasticmapreduce", "TerminateJobFlows", &emrapi.TerminateJobFlowsInput{JobFlowIds: []string{id}})
	s.untilState(id, "TERMINATED")
	noProcessesOf(t, dir)
}
