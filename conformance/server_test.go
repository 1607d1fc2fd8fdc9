package conformance

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration/awstask"
	"github.com/mayfly-run/mayfly/integration/mocktask"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/wake"
	"github.com/mayfly-run/mayfly/services/iam"
	"github.com/mayfly-run/mayfly/services/lambda"
	"github.com/mayfly-run/mayfly/services/logs"
	"github.com/mayfly-run/mayfly/services/s3"
	"github.com/mayfly-run/mayfly/services/sns"
	"github.com/mayfly-run/mayfly/services/sqs"
	"github.com/mayfly-run/mayfly/services/states"
	"github.com/mayfly-run/mayfly/store/memory"
)

// serve joins the parts that the cases need, as the daemon does, on a store in memory.
// All that has been recorded is mocked for executions that ask for it.
func serve(t *testing.T, cases []Case) (url string, offered map[string]bool) {
	t.Helper()
	ctx := t.Context()
	st := memory.New()
	clock := clock.System{}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	expressStore := memory.NewForgetting()
	loop := durable.New(durable.Config{Store: st, Log: log})
	express := durable.New(durable.Config{Store: expressStore})
	bus := &wake.Bus{}
	g, err := gateway.New(ctx, gateway.Config{Store: st, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(g.ServeHTTP))
	endpoint := func() string { return server.URL }
	config, err := MockConfig(cases)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "mocks.json")
	if err := os.WriteFile(file, config, 0o666); err != nil {
		t.Fatal(err)
	}
	mocks, err := mocktask.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	var machines *states.Service
	observe := func(x *execution.Snapshot, facts []execution.Fact) { machines.Observe(x, facts) }
	e, err := engine.New(ctx, engine.Config{Store: st, Log: log, Loop: loop, ExpressLoop: express, Wake: bus, Observe: observe, Calls: g, Integrations: mocks.Integration(awstask.New(awstask.Config{Calls: g}))})
	if err != nil {
		t.Fatal(err)
	}
	machines = states.New(states.Config{Store: st, Engine: e, Calls: g, Resource: awstask.Judge, CheckMock: awstask.CheckMock, Mocks: mocks.Check})
	objects, err := s3.New(ctx, s3.Config{Store: st, Clock: clock, Log: log, DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	g.Register(machines.API(), objects.API(), iam.New(iam.Config{Store: st, Clock: clock}).API(), logs.New(logs.Config{Store: st, Clock: clock}).API(),
		sqs.New(sqs.Config{Store: st, Clock: clock, Endpoint: endpoint}).API(),
		sns.New(sns.Config{Store: st, Clock: clock, Log: log, Loop: loop, Calls: g, Endpoint: endpoint, MailDir: t.TempDir()}).API())
	offered = map[string]bool{"s3": true, "iam": true, "logs": true, "sqs": true, "sns": true}
	var functions *lambda.Service
	if python, err := exec.LookPath("python3"); err == nil {
		functions = lambda.New(lambda.Config{Store: st, Clock: clock, Log: log, Loop: loop, Calls: g, Issuer: g.Keys, DataDir: t.TempDir(), Endpoint: endpoint, Python: python})
		g.Register(functions.API())
		offered["lambda"] = true
	}
	starts := []func(context.Context) error{}
	if functions != nil {
		starts = append(starts, functions.Recover)
	}
	for _, start := range append(starts, machines.Start, loop.Start, express.Start, e.Start) {
		if err := start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		server.Close()
		e.Stop()
		loop.Stop()
		express.Stop()
		machines.Stop()
		if functions != nil {
			functions.Stop()
		}
		st.Close()
		expressStore.Close()
	})
	return strings.TrimSuffix(server.URL, "/"), offered
}
