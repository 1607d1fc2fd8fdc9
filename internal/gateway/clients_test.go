package gateway_test

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/services/ec2"
	"github.com/mayfly-run/mayfly/services/iam"
	"github.com/mayfly-run/mayfly/services/logs"
	"github.com/mayfly-run/mayfly/services/s3"
	"github.com/mayfly-run/mayfly/services/sns"
	"github.com/mayfly-run/mayfly/services/sqs"
	"github.com/mayfly-run/mayfly/services/sts"
	"github.com/mayfly-run/mayfly/spark"
	"github.com/mayfly-run/mayfly/store/memory"
)

// serve starts a gateway with the small services.
func serve(t *testing.T, keys ...identity.Credentials) string {
	t.Helper()
	st := memory.New()
	g, err := gateway.New(t.Context(), gateway.Config{Store: st, Credentials: keys})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	endpoint := func() string { return server.URL }
	var clk clock.System
	loop := durable.New(durable.Config{Store: st, Clock: clk, Log: g.Log})
	objects, err := s3.New(t.Context(), s3.Config{Store: st, Clock: clk, Log: g.Log, DataDir: t.TempDir(), Fatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	g.Register(
		objects.API(),
		sqs.New(sqs.Config{Store: st, Clock: clk, Endpoint: endpoint}).API(),
		sns.New(sns.Config{Store: st, Loop: loop, Clock: clk, Log: g.Log, Calls: g, Endpoint: endpoint, MailDir: t.TempDir()}).API(),
		iam.New(iam.Config{Store: st, Clock: clk, Keys: g.Keys}).API(),
		sts.New(sts.Config{Keys: g.Keys, Calls: g, Clock: clk}).API(),
		ec2.New(ec2.Config{Store: st, Clock: clk}).API(),
		logs.New(logs.Config{Store: st, Clock: clk}).API(),
	)
	if err := loop.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loop.Stop)
	return server.URL
}

// python finds an interpreter with boto3: that of mayfly setup, or one on the PATH. The test is skipped without one, and fails
// in CI.
func python(t *testing.T) string {
	t.Helper()
	if in, err := spark.Find(spark.Options{}); err == nil {
		return in.Python
	}
	if p, err := exec.LookPath("python3"); err == nil && exec.Command(p, "-c", "import boto3").Run() == nil {
		return p
	}
	if os.Getenv("CI") == "true" || os.Getenv("MAYFLY_TEST_ALL") != "" {
		t.Fatal("python3 with boto3 is missing: run mayfly setup")
	}
	t.Skip("python3 with boto3 is missing: run mayfly setup")
	return ""
}

func runPython(t *testing.T, script, endpoint string) {
	t.Helper()
	out, err := exec.Command(python(t), script, endpoint).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "done" {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestBoto3(t *testing.T) { runPython(t, "testdata/clients.py", serve(t)) }

func TestBoto3Signed(t *testing.T) {
	runPython(t, "testdata/signed.py", serve(t, identity.Credentials{AccessKeyID: "AKIAUSER", SecretAccessKey: "s3cr3t/+"}))
}
