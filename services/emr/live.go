package emr

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/proc"
	"github.com/mayfly-run/mayfly/services/emr/cluster"
	"github.com/mayfly-run/mayfly/services/emr/host"
	"github.com/mayfly-run/mayfly/spark"
	"github.com/mayfly-run/mayfly/store"
)

// live is what this process holds of a cluster: nothing that its folder does not hold too.
type live struct {
	// tearing is held for reading by every command that starts something, and for writing by TearDown, so that nothing is
	// started behind its back.
	tearing sync.RWMutex
	ctx     context.Context // ends when the teardown begins
	cancel  context.CancelFunc

	launch sync.Mutex
	spark  *spark.Cluster

	logs logCopies
}

func (s *Service) hold(id string) *live {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.live[id]
	if l == nil {
		l = &live{}
		l.ctx, l.cancel = context.WithCancel(context.Background())
		s.live[id] = l
	}
	return l
}

const endedFile = "ended" // stands when the cluster is being torn down: nothing may be started any more

// dispatch carries out one command of a cluster. Each can be repeated: what it started is found again.
func (s *Service) dispatch(ctx context.Context, entity store.ID, _ string, c cluster.Command) (*cluster.Input, error) {
	id := strings.TrimPrefix(string(entity), kind+"/")
	l := s.hold(id)
	if c.TearDown != nil {
		return s.tearDown(ctx, id, l, c.TearDown)
	}
	l.tearing.RLock()
	defer l.tearing.RUnlock()
	if _, err := os.Stat(s.dir(id, endedFile)); err == nil {
		return nil, nil
	}
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()

	var spec cluster.Spec
	var step cluster.Step
	var created time.Time
	err := s.clusters.View(both, entity, func(st *cluster.State) {
		spec, created = st.Spec, st.Created
		spec.Request.Tags = st.Settings.Tags
		spec.Request.StepConcurrencyLevel = awsapi.Ptr(int64(st.Settings.Concurrency))
		if c.RunStep != nil {
			if found := st.Step(c.RunStep.ID); found != nil {
				step = *found
			}
		}
	})
	var in *cluster.Input
	if err == nil {
		switch {
		case c.Reserve != nil:
			in, err = s.reserve(both, &spec, created, c.Reserve.Wait)
		case c.Provision != nil:
			in = &cluster.Input{Provisioned: &cluster.Outcome{}}
			if err = s.provision(both, &spec); err != nil {
				in.Provisioned = &cluster.Outcome{Code: "INTERNAL_ERROR", Message: err.Error()}
			}
		case c.Bootstrap != nil:
			in = &cluster.Input{Bootstrapped: &cluster.Outcome{}}
			if err = s.bootstrap(both, l, &spec); err != nil {
				in.Bootstrapped = outcome(err)
			}
		case c.Watch != nil:
			in, err = s.watch(both, l, &spec, c.Watch)
		case c.Replace != nil:
			in = &cluster.Input{Replaced: &cluster.Replaced{Worker: c.Replace.Worker, Generation: c.Replace.Generation}}
			if err = s.replace(both, l, &spec, c.Replace); err != nil {
				in.Replaced.Outcome = *outcome(err)
			}
		case c.RunStep != nil:
			in, err = s.runStep(both, l, &spec, &step)
		case c.CancelStep != nil:
			err = s.cancelStep(id, c.CancelStep)
		}
	}
	switch {
	case l.ctx.Err() != nil:
		return nil, nil // the cluster ends: nobody waits for the answer
	case ctx.Err() != nil:
		return nil, context.Cause(ctx) // the server ends: the command is repeated by the next one
	case in != nil:
		if err != nil {
			s.Log.WarnContext(ctx, "cluster's command failed", "cluster", id, "err", err)
		}
		return in, nil
	}
	return nil, err
}

// sparkConfig is the cluster as package spark starts it.
func (s *Service) sparkConfig(spec *cluster.Spec) (spark.Config, error) {
	key, err := s.credentials(spec.ID)
	if err != nil {
		return spark.Config{}, err
	}
	var lease host.Lease
	if spec.Lease != nil {
		lease = *spec.Lease
	}
	defaults := configure(spec.Request.Configurations, lease).defaults
	defaults["spark.pyspark.python"] = s.dir(spec.ID, "python", "bin", "python3")
	for _, kv := range s.awsEnvironment(spec, key) {
		name, value, _ := strings.Cut(kv, "=")
		defaults["spark.executorEnv."+name] = value
	}
	return spark.Config{
		Dir: s.dir(spec.ID, "spark"), Workers: lease.Workers, Cores: lease.Cores, MemoryMB: lease.MemoryMB, DriverMB: lease.DriverMB,
		Storage: &spark.Storage{Endpoint: s.Endpoint(), Region: spec.Principal.Region,
			AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey, SessionToken: key.SessionToken},
		Defaults: defaults,
	}, nil
}

// sparkOf is the cluster's Spark: launched, or adopted after a restart.
func (s *Service) sparkOf(ctx context.Context, l *live, spec *cluster.Spec) (*spark.Cluster, error) {
	l.launch.Lock()
	defer l.launch.Unlock()
	if l.spark != nil {
		return l.spark, nil
	}
	in, err := s.Spark()
	if err != nil {
		return nil, err
	}
	cfg, err := s.sparkConfig(spec)
	if err != nil {
		return nil, err
	}
	l.spark, err = spark.Launch(ctx, in, cfg)
	return l.spark, err
}

// endGrace is how long processes have between SIGTERM and SIGKILL when their cluster ends.
const endGrace = 3 * time.Second

// tearDown ends every process of the cluster, saves the logs of the steps that were interrupted, and forgets its key.
func (s *Service) tearDown(ctx context.Context, id string, l *live, t *cluster.TearDown) (*cluster.Input, error) {
	if err := os.MkdirAll(s.dir(id), 0o700); err != nil {
		return nil, err
	}
	if err := writeFile(s.dir(id, endedFile), nil, 0o600); err != nil {
		return nil, err
	}
	l.cancel()
	l.tearing.Lock()
	defer l.tearing.Unlock()
	if l.spark != nil {
		l.spark.Close()
	}
	started, err := filepath.Glob(s.dir(id, "steps", "*", "proc"))
	if err != nil {
		return nil, err
	}
	bootstrapping, err := filepath.Glob(s.dir(id, "nodes", "*", "bootstrap-actions", "*", "proc"))
	if err != nil {
		return nil, err
	}
	var wait sync.WaitGroup
	errs := make([]error, len(started)+len(bootstrapping)+1)
	for i, dir := range append(started, bootstrapping...) {
		wait.Go(func() {
			p, err := proc.Open(dir)
			if errors.Is(err, proc.ErrNotStarted) {
				return
			}
			if err == nil {
				_, err = p.Stop(ctx, endGrace)
				p.Close()
			}
			errs[i] = err
		})
	}
	wait.Wait()
	errs[len(errs)-1] = spark.Stop(ctx, s.dir(id, "spark"), endGrace)
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("end the processes of %s: %w", id, err)
	}
	var spec cluster.Spec
	if err := s.clusters.View(ctx, EntityID(id), func(st *cluster.State) { spec = st.Spec }); err != nil {
		return nil, err
	}
	for _, step := range t.Interrupted {
		s.controller(s.dir(id, "steps", step), "the step ends with its cluster")
	}
	s.copyLogs(ctx, l, &spec, "", true)
	if key, err := s.credentials(id); err == nil {
		if err := s.Issuer.Revoke(ctx, key.AccessKeyID); err != nil {
			return nil, err
		}
	}
	// The logs stay; secrets and what only processes needed go.
	gone := []string{s.dir(id, credentialsFile), s.dir(id, "python"), s.dir(id, "bin"), s.dir(id, "spark", "conf"),
		s.dir(id, "spark", "cluster.json"), s.dir(id, "spark", "warehouse")}
	for _, pattern := range []string{s.dir(id, "spark", "worker-*", "work"), s.dir(id, "nodes", "*", "home")} {
		found, _ := filepath.Glob(pattern)
		gone = append(gone, found...)
	}
	for _, path := range gone {
		if err := os.RemoveAll(path); err != nil {
			s.Log.WarnContext(ctx, "cluster's files not removed", "cluster", id, "err", err)
		}
	}
	s.mu.Lock()
	delete(s.live, id)
	s.mu.Unlock()
	return &cluster.Input{TornDown: &struct{}{}}, nil
}
