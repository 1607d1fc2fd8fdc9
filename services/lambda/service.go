package lambda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/services/lambda/sandbox"
	"github.com/mayfly-run/mayfly/store"
)

// Config is what the service needs.
type Config struct {
	Store    store.Store
	Loop     *durable.Loop
	Clock    clock.Clock
	Log      *slog.Logger
	Calls    awscall.Caller
	Issuer   identity.Issuer
	DataDir  string        // the service keeps its files in a folder "lambda" of it
	Endpoint func() string // base URL of the endpoint, as functions shall call it
	// Python is the interpreter of python3.x functions, one that finds boto3. Empty: such functions are refused with a
	// sentence that says how to get it.
	Python string
	// Idle is how long an instance is kept warm without work; 0 means 5 minutes.
	Idle time.Duration
	// Instances bounds how many processes there are at once; 0 means 8 for each processor, at least 32. Beyond it,
	// invocations wait.
	Instances int
	// Retries are the pauses before an asynchronous invocation that failed is tried again; nil means AWS's two, after
	// one and two minutes.
	Retries []time.Duration
}

// Service serves Lambda. Use New.
type Service struct {
	Config
	invocations *durable.Entities[invocation, invocationInput, invocationFact, invocationRun]
	ctx         context.Context // ends with Stop
	cancel      context.CancelFunc
	running     sync.WaitGroup // invocations and instances
	links       linker

	mu        sync.Mutex
	pools     map[store.Key]*pool
	instances int
	waiting   []*waiter
	stopped   bool

	unpacking sync.Mutex
}

// New makes the service and registers its kind of entities with the loop. Call Recover before the loop starts.
func New(cfg Config) *Service {
	if cfg.Idle == 0 {
		cfg.Idle = 5 * time.Minute
	}
	if cfg.Instances == 0 {
		cfg.Instances = max(32, 8*runtime.GOMAXPROCS(0))
	}
	if cfg.Retries == nil {
		cfg.Retries = []time.Duration{time.Minute, 2 * time.Minute}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &Service{Config: cfg, pools: map[store.Key]*pool{}, links: newLinker()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.invocations = durable.Register(cfg.Loop, s.kind())
	return s
}

// API lists the operations.
func (s *Service) API() *awscall.Service {
	a := awscall.NewService("lambda")
	awscall.Handle(a, "CreateFunction", s.CreateFunction)
	awscall.Handle(a, "GetFunction", s.GetFunction)
	awscall.Handle(a, "GetFunctionConfiguration", s.GetFunctionConfiguration)
	awscall.Handle(a, "UpdateFunctionCode", s.UpdateFunctionCode)
	awscall.Handle(a, "UpdateFunctionConfiguration", s.UpdateFunctionConfiguration)
	awscall.Handle(a, "DeleteFunction", s.DeleteFunction)
	awscall.Handle(a, "ListFunctions", s.ListFunctions)
	awscall.Handle(a, "ListVersionsByFunction", s.ListVersionsByFunction)
	awscall.Handle(a, "Invoke", s.Invoke)
	awscall.Handle(a, "AddPermission", s.AddPermission)
	awscall.Handle(a, "RemovePermission", s.RemovePermission)
	awscall.Handle(a, "GetPolicy", s.GetPolicy)
	awscall.Handle(a, "TagResource", s.TagResource)
	awscall.Handle(a, "UntagResource", s.UntagResource)
	awscall.Handle(a, "ListTags", s.ListTags)
	awscall.Handle(a, "PutFunctionConcurrency", s.PutFunctionConcurrency)
	awscall.Handle(a, "GetFunctionConcurrency", s.GetFunctionConcurrency)
	awscall.Handle(a, "DeleteFunctionConcurrency", s.DeleteFunctionConcurrency)
	awscall.Handle(a, "GetFunctionUrlConfig", s.GetFunctionUrlConfig)
	awscall.Handle(a, "ListFunctionUrlConfigs", s.ListFunctionUrlConfigs)
	awscall.Handle(a, "GetFunctionEventInvokeConfig", s.GetFunctionEventInvokeConfig)
	awscall.Handle(a, "ListFunctionEventInvokeConfigs", s.ListFunctionEventInvokeConfigs)
	awscall.Handle(a, "GetAlias", s.GetAlias)
	awscall.Handle(a, "ListAliases", s.ListAliases)
	awscall.Handle(a, "ListEventSourceMappings", s.ListEventSourceMappings)
	return a
}

func (s *Service) dir(name ...string) string {
	return filepath.Join(append([]string{s.DataDir, "lambda"}, name...)...)
}

// Recover ends what an earlier server left running, takes back its credentials, and removes code that no function has. It
// runs before the loop starts, so that no function of before lives when anything is dispatched again.
func (s *Service) Recover(ctx context.Context) error {
	for _, dir := range []string{"code", "task", "run", "runtime"} {
		if err := os.MkdirAll(s.dir(dir), 0o700); err != nil {
			return fmt.Errorf("make folders: %w", err)
		}
	}
	sweep, cancel := context.WithCancel(ctx)
	timer := s.Clock.AfterFunc(10*time.Second, cancel)
	keys, err := sandbox.Sweep(sweep, s.dir("run"))
	timer.Stop()
	cancel()
	for _, key := range keys {
		if e := s.Issuer.Revoke(ctx, key); e != nil {
			err = errors.Join(err, fmt.Errorf("revoke an instance's key: %w", e))
		}
	}
	if err != nil {
		return fmt.Errorf("end functions of before: %w", err)
	}
	if err := os.WriteFile(s.bootstrap(), sandbox.PythonBootstrap, 0o600); err != nil {
		return fmt.Errorf("write the Python runtime: %w", err)
	}
	return s.collectCode(ctx)
}

func (s *Service) bootstrap() string { return s.dir("runtime", "bootstrap.py") }

// Stop ends all instances. Invocations that they serve are broken off: what asked for them asks again after the next
// start. Call it after the loop has stopped.
func (s *Service) Stop() {
	s.mu.Lock()
	s.stopped = true
	var idle []*instance
	for _, p := range s.pools {
		idle = append(idle, p.idle...)
		p.idle = nil
	}
	s.mu.Unlock()
	s.cancel()
	for _, i := range idle {
		s.end(i)
	}
	s.running.Wait()
}
