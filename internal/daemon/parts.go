package daemon

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/mayfly-run/mayfly/custody"
	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/integration/awstask"
	"github.com/mayfly-run/mayfly/integration/httptask"
	"github.com/mayfly-run/mayfly/integration/mocktask"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/internal/metrics"
	"github.com/mayfly-run/mayfly/internal/wake"
	"github.com/mayfly-run/mayfly/services/cloudformation"
	"github.com/mayfly-run/mayfly/services/ec2"
	"github.com/mayfly-run/mayfly/services/emr"
	"github.com/mayfly-run/mayfly/services/events"
	"github.com/mayfly-run/mayfly/services/iam"
	"github.com/mayfly-run/mayfly/services/lambda"
	"github.com/mayfly-run/mayfly/services/logs"
	"github.com/mayfly-run/mayfly/services/s3"
	"github.com/mayfly-run/mayfly/services/sns"
	"github.com/mayfly-run/mayfly/services/sqs"
	"github.com/mayfly-run/mayfly/services/states"
	"github.com/mayfly-run/mayfly/services/sts"
	"github.com/mayfly-run/mayfly/spark"
	"github.com/mayfly-run/mayfly/store/memory"
)

// MetricsPath answers what executions do, in Prometheus's text form.
const MetricsPath = "/_mayfly/metrics"

// parts are what runs on the store.
type parts struct {
	gateway   *gateway.Gateway
	wake      *wake.Bus
	loop      *durable.Loop // of all that survives a restart
	express   *durable.Loop // of Express executions, which do not
	engine    *engine.Engine
	machines  *states.Service
	counted   *states.Metrics
	functions *lambda.Service
	custody   *custody.Custody
	events    *events.Deliveries
	stops     []func() // in the order of starting
}

// build makes every part and joins them; nothing runs yet.
func (s *Server) build(ctx context.Context) (*parts, error) {
	p := &parts{wake: &wake.Bus{}}
	registry := &metrics.Registry{}
	p.counted = states.NewMetrics(registry, func(digest string) int { return p.engine.DefinitionSize(digest) })
	p.loop = durable.New(durable.Config{Store: s.store, Clock: s.clock, Log: s.log, Fatal: s.fail})
	p.express = durable.New(durable.Config{Store: memory.NewForgetting(), Clock: s.clock, Log: s.log, Fatal: s.fail,
		CacheEntities: 1 << 13, CacheClosed: 1 << 13}) // its store forgets the closed ones

	cfg := gateway.Config{Store: s.store, Clock: s.clock, Log: s.log, Health: s.health}
	limits, err := execution.ParseLimits(s.settings.Limits)
	if err != nil {
		return nil, fmt.Errorf("setting limits: %w", err)
	}
	retention, err := s.settings.keep()
	if err != nil {
		return nil, err
	}
	cfg.MaxBody, cfg.Lifted = lifted(limits)
	if s.settings.AccessKey != "" {
		cfg.Credentials = []identity.Credentials{{AccessKeyID: s.settings.AccessKey, SecretAccessKey: s.settings.SecretKey}}
	}
	if p.gateway, err = gateway.New(ctx, cfg); err != nil {
		return nil, err
	}
	objects, err := s3.New(ctx, s3.Config{Store: s.store, Clock: s.clock, Log: s.log, DataDir: s.settings.DataDir, Fatal: s.fail})
	if err != nil {
		return nil, fmt.Errorf("start s3: %w", err)
	}
	topics := sns.New(sns.Config{
		Store: s.store, Loop: p.loop, Clock: s.clock, Log: s.log, Calls: p.gateway, Endpoint: s.Endpoint,
		MailDir: s.mailDir(), SMTP: s.settings.SMTP, From: s.settings.SMTPFrom,
	})
	p.functions = lambda.New(lambda.Config{
		Store: s.store, Loop: p.loop, Clock: s.clock, Log: s.log, Calls: p.gateway, Issuer: p.gateway.Keys,
		DataDir: s.settings.DataDir, Endpoint: s.Endpoint, Python: s.python(),
	})
	budget, err := s.settings.Budget()
	if err != nil {
		return nil, err
	}
	clusters := emr.New(emr.Config{
		Store: s.store, Loop: p.loop, Clock: s.clock, Log: s.log, Calls: p.gateway, Issuer: p.gateway.Keys, Wake: p.wake,
		DataDir: s.settings.DataDir, Endpoint: s.Endpoint, Custody: p.clusterBooked, Budget: budget,
		Spark: func() (*spark.Installation, error) { return spark.Find(s.spark()) },
	})
	stacks := cloudformation.New(cloudformation.Config{
		Store: s.store, Loop: p.loop, Clock: s.clock, Log: s.log, Calls: p.gateway, Wake: p.wake, Endpoint: s.Endpoint, Custody: p.stackBooked,
	})
	p.custody = s.newCustody(p, stacks, clusters)
	elsewhere, aws, err := s.remote(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range elsewhere {
		s.log.Warn("calls go to AWS", "service", name)
		p.gateway.Forward(name, aws)
	}
	connections, calls := s.newHTTP(limits)
	real := integration.Router{Integration: awstask.New(awstask.Config{Calls: p.gateway, Clock: s.clock, Implemented: p.gateway.Implements,
		Remote: func(service string) bool { return slices.Contains(elsewhere, service) }}),
		ByService: map[string]integration.Integration{"http": calls}}
	var mocks *mocktask.Mocks
	if s.settings.MockConfig != "" {
		if mocks, err = mocktask.Load(s.settings.MockConfig); err != nil {
			return nil, err
		}
	}
	tasks := mocks.Integration(real)
	if p.events, err = events.NewDeliveries(events.DeliveryConfig{Loop: p.loop, Calls: p.gateway, Log: s.log, Endpoint: s.Endpoint, Queue: s.settings.StatusEvents}); err != nil {
		return nil, fmt.Errorf("setting status-events: %w", err)
	}
	var changed func(*execution.Snapshot, *history.Event) []durable.Send
	if s.settings.StatusEvents != "" {
		changed = p.changed(&limits)
	}
	if p.engine, err = engine.New(ctx, engine.Config{
		Store: s.store, Loop: p.loop, ExpressLoop: p.express, Clock: s.clock, Log: s.log, Integrations: tasks, Wake: p.wake, Limits: limits, Retention: retention,
		Closed: p.closed, Changed: changed, Observe: p.observe, Calls: p.gateway,
		Arguments: func(r execution.Resource, args jsonvalue.Value) error {
			if r.Service == "http" {
				return httptask.CheckArguments(args)
			}
			return awstask.CheckArguments(r, args)
		},
	}); err != nil {
		return nil, fmt.Errorf("start the engine: %w", err)
	}
	p.machines = states.New(states.Config{Store: s.store, Engine: p.engine, Clock: s.clock, Log: s.log, Calls: p.gateway, Resource: awstask.Judge,
		Lacks: func(arn string) string { return awstask.Lacks(arn, p.gateway.Implements) }, CheckMock: awstask.CheckMock, Mocks: mocks.Check})

	machines := p.machines.API()
	p.machines.Measure(registry, machines)
	p.gateway.Register(
		objects.API(),
		topics.API(),
		p.functions.API(),
		machines,
		p.machines.Extensions(),
		clusters.API(),
		stacks.API(),
		sqs.New(sqs.Config{Store: s.store, Clock: s.clock, Endpoint: s.Endpoint}).API(),
		logs.New(logs.Config{Store: s.store, Clock: s.clock}).API(),
		iam.New(iam.Config{Store: s.store, Clock: s.clock, Keys: p.gateway.Keys}).API(),
		sts.New(sts.Config{Keys: p.gateway.Keys, Calls: p.gateway, Clock: s.clock}).API(),
		ec2.New(ec2.Config{Store: s.store, Clock: s.clock}).API(),
		connections.API(),
	)
	p.gateway.Extra(sns.Prefix, topics.Handler())
	p.gateway.Extra(lambda.Prefix, p.functions.Handler())
	p.gateway.Extra(emr.Prefix, clusters.Handler())
	p.gateway.Extra(MetricsPath, registry)
	p.gateway.Extra(LedgerPath, http.HandlerFunc(p.ledger))
	return p, nil
}

// lifted is what requests may be, where limits let more in than AWS's: how large, and which shapes the model does not bound.
func lifted(l execution.Limits) (maxBody int64, shapes map[string][]string) {
	aws, shapes := execution.DefaultLimits, map[string][]string{}
	add := func(service string, names ...string) { shapes[service] = append(shapes[service], names...) }
	maxBody = gateway.DefaultMaxBody
	if l.Data.Payload > aws.Data.Payload {
		maxBody = max(maxBody, 2*int64(l.Data.Payload)) // texts within texts are escaped
		add("states", "SensitiveData", "SensitiveDataJobInput")
		add("mayfly", "Data")
	}
	if l.Definition > aws.Definition {
		maxBody = max(maxBody, 2*int64(l.Definition))
		add("states", "Definition")
		add("mayfly", "Definition")
	}
	return maxBody, shapes
}

// python is the interpreter of Python functions: the one of the settings, or that which mayfly setup brought, with boto3.
func (s *Server) python() string {
	if s.settings.Python != "" {
		return s.settings.Python
	}
	in, err := spark.Find(s.spark())
	if err != nil {
		return ""
	}
	return in.Python
}

// spark says which Spark the settings mean.
func (s *Server) spark() spark.Options {
	return spark.Options{Version: s.settings.SparkVersion, CacheDir: s.settings.CacheDir, SparkHome: s.settings.SparkHome}
}

// start recovers what the store holds: what ran before is ended or adopted before anything is dispatched again.
func (p *parts) start(ctx context.Context) error {
	for _, step := range []struct {
		what  string
		start func(context.Context) error
		stop  func() // runs when the server ends, in the reverse order
	}{
		{"functions", p.functions.Recover, p.functions.Stop},
		{"activities and execution logs", p.machines.Start, p.machines.Stop},
		{"the loop of Express executions", p.express.Start, p.express.Stop},
		{"the loop", p.loop.Start, p.loop.Stop},
		{"executions", p.engine.Start, p.engine.Stop},
		{"deliveries of events", p.events.Start, p.events.Stop},
		{"deletions of state machines", p.machines.Resume, nil},
		{"leases", p.custody.Start, p.custody.Stop},
	} {
		if step.stop != nil {
			p.stops = append(p.stops, step.stop)
		}
		if err := step.start(ctx); err != nil {
			return fmt.Errorf("recover %s: %w", step.what, err)
		}
	}
	return nil
}

// stop ends what was started, the last first.
func (p *parts) stop() {
	for i := len(p.stops) - 1; i >= 0; i-- {
		p.stops[i]()
	}
	p.stops = nil
}
