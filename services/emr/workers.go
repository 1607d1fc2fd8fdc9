package emr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/services/emr/cluster"
	"github.com/mayfly-run/mayfly/services/emr/host"
	"github.com/mayfly-run/mayfly/spark"
	"github.com/mayfly-run/mayfly/store"
)

// reserve takes the cluster's lease of this machine, or says why it has to wait.
func (s *Service) reserve(ctx context.Context, spec *cluster.Spec, since time.Time, wait bool) (*cluster.Input, error) {
	ask := host.Request{Cluster: spec.ID, Nodes: spec.Workers(), Since: since}
	var lease host.Lease
	var err error
	if wait {
		lease, err = s.host.Await(ctx, ask)
	} else {
		lease, err = s.host.Take(ask)
	}
	var full *host.Full
	switch {
	case err == nil:
		return &cluster.Input{Reserved: &cluster.Reserved{Lease: &lease}}, nil
	case !errors.As(err, &full):
		return nil, err
	case full.Never:
		return &cluster.Input{Reserved: &cluster.Reserved{Outcome: cluster.Outcome{Code: "VALIDATION_ERROR", Message: full.Error()}}}, nil
	}
	s.Log.InfoContext(ctx, "cluster waits", "cluster", spec.ID, "reason", full.Error())
	return &cluster.Input{Reserved: &cluster.Reserved{Waits: full.Error()}}, nil
}

// opened restores the lease of a cluster that an earlier server gave it, or its place among those who wait.
func (s *Service) opened(_ context.Context, _ store.ID, st *cluster.State) *cluster.Input {
	switch {
	case st.Spec.Lease != nil && !st.Ended():
		s.host.Restore(st.Spec.ID, *st.Spec.Lease)
	case st.State == cluster.Starting && st.Message != "":
		s.host.Queue(host.Request{Cluster: st.Spec.ID, Nodes: st.Spec.Workers(), Since: st.Created})
	}
	return nil
}

// watch returns when the cluster's master or a worker has ended. Meanwhile it copies the logs that grow.
func (s *Service) watch(ctx context.Context, l *live, spec *cluster.Spec, w *cluster.Watch) (*cluster.Input, error) {
	c, err := s.sparkOf(ctx, l, spec)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return died(err), nil
	}
	copying, stop := context.WithCancel(ctx)
	var copies sync.WaitGroup
	copies.Go(func() { s.keepCopying(copying, l, spec) })
	defer copies.Wait()
	defer stop()
	loss, err := c.Lost(ctx, w.Generations)
	switch {
	case err != nil:
		return nil, err
	case loss.Worker == spark.Master:
		return masterEnded(loss.Message), nil
	}
	s.Log.WarnContext(ctx, "worker ended", "cluster", spec.ID, "err", loss.Message)
	return &cluster.Input{WorkerLost: &cluster.WorkerLost{Worker: loss.Worker, Generation: loss.Generation, Message: loss.Message}}, nil
}

// died says why the cluster's Spark was not found again.
func died(err error) *cluster.Input {
	var ended *spark.MasterEnded
	if errors.As(err, &ended) {
		return masterEnded(ended.Error())
	}
	return &cluster.Input{Died: &cluster.Died{Message: "The cluster's Spark cannot be used any more: " + err.Error()}}
}

func masterEnded(reason string) *cluster.Input {
	return &cluster.Input{Died: &cluster.Died{Message: "The master node was terminated: " + reason}}
}

// replace makes new nodes ready, with the bootstrap actions, and starts the worker that stands for them.
// AWS: bootstrap actions run on nodes that are added later, too.
func (s *Service) replace(ctx context.Context, l *live, spec *cluster.Spec, r *cluster.Replace) error {
	fresh := some{}
	for _, node := range spec.NodesOf(r.Worker) {
		fresh[node.EC2ID] = true
	}
	if err := s.provisionNodes(spec, fresh); err != nil {
		return err
	}
	if err := s.bootstrapActions(ctx, l, spec, fresh); err != nil {
		return err
	}
	c, err := s.sparkOf(ctx, l, spec)
	if err != nil {
		return err
	}
	if err := c.Replace(ctx, r.Worker, r.Generation); err != nil {
		return err
	}
	s.tellWorker(spec, c, r.Worker)
	return nil
}

// tellNodes writes into the nodes' logs how they relate to processes.
func (s *Service) tellNodes(spec *cluster.Spec, c *spark.Cluster) {
	dir := s.dir(spec.ID, "nodes", spec.Master().EC2ID, "provision-node")
	s.controller(dir, "%s", machine(spec, c))
	for _, n := range configure(spec.Request.Configurations, host.Lease{}).notes {
		s.controller(dir, "%s", n)
	}
	for i := range c.Config.Workers {
		s.tellWorker(spec, c, i)
	}
}

// workerFile is in the folder of a node whose worker's log is copied as the node's: it holds the name of the worker's folder.
const workerFile = "worker"

func (s *Service) tellWorker(spec *cluster.Spec, c *spark.Cluster, worker int) {
	name := filepath.Base(c.WorkerDir(worker))
	var ids []string
	for _, node := range spec.NodesOf(worker) {
		ids = append(ids, node.EC2ID)
	}
	for i, id := range ids {
		dir := s.dir(spec.ID, "nodes", id)
		if len(ids) == 1 {
			s.controller(filepath.Join(dir, "provision-node"), "the worker process of this node is %s", name)
		} else {
			s.controller(filepath.Join(dir, "provision-node"), "%d nodes share the worker process %s: %s; its log is with the first of them", len(ids), name, strings.Join(ids, ", "))
		}
		if i == 0 {
			if err := writeFile(filepath.Join(dir, workerFile), []byte(name), 0o600); err != nil {
				s.Log.Warn("worker's log not found later", "cluster", spec.ID, "err", err)
			}
		}
	}
}

// machine is one line on how nodes and processes relate.
func machine(spec *cluster.Spec, c *spark.Cluster) string {
	cfg := c.Config
	return fmt.Sprintf("Spark %s on this machine (%s/%s): %s with %s and %d MiB each, %d MiB for a driver; %s for %s",
		c.Install.Version, runtime.GOOS, runtime.GOARCH, count(cfg.Workers, "worker process"), count(cfg.Cores, "core"), cfg.MemoryMB, cfg.DriverMB,
		map[bool]string{true: "it stands", false: "they stand"}[cfg.Workers == 1], count(spec.Workers(), "worker node"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "s") {
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// shown is what Handler tells of a cluster: how its nodes relate to processes of this machine.
type shown struct {
	Cluster string        `json:"cluster"`
	State   string        `json:"state"`
	Reason  string        `json:"reason,omitempty"`
	Nodes   int           `json:"nodes"`          // core and task nodes
	Text    string        `json:"text,omitempty"` // how they relate to worker processes
	Lease   *host.Lease   `json:"lease,omitempty"`
	Workers []shownWorker `json:"workers"`
}

type shownWorker struct {
	State    string   `json:"state"`              // RUNNING, STARTING, LOST
	Replaced int      `json:"replaced,omitempty"` // how often
	Nodes    []string `json:"nodes"`              // the EC2 ids that it stands for
}

func show(st *cluster.State) shown {
	out := shown{Cluster: st.Spec.ID, State: st.State, Reason: st.Message, Nodes: st.Spec.Workers(), Lease: st.Spec.Lease, Workers: []shownWorker{}}
	if l := out.Lease; l != nil {
		out.Text = fmt.Sprintf("%s (%s, %d MiB each) for %s", count(l.Workers, "worker"), count(l.Cores, "core"), l.MemoryMB, count(out.Nodes, "node"))
	}
	for i, w := range st.Workers {
		one := shownWorker{State: cluster.Running, Replaced: w.Generation, Nodes: []string{}}
		switch {
		case st.Ending(), w.Down:
			one.State = "LOST"
		case w.Starting, st.Ready.IsZero():
			one.State = cluster.Starting
		}
		for _, n := range st.Spec.NodesOf(i) {
			one.Nodes = append(one.Nodes, n.EC2ID)
		}
		out.Workers = append(out.Workers, one)
	}
	return out
}

// showHost and showCluster answer Handler's pages on who has what of this machine.
func (s *Service) showHost(w http.ResponseWriter) { writeJSON(w, s.host.State()) }

func (s *Service) showCluster(w http.ResponseWriter, r *http.Request, id string) {
	var out shown
	err := s.clusters.View(r.Context(), EntityID(id), func(st *cluster.State) { out = show(st) })
	if err != nil {
		http.NotFound(w, r)
		return
	}
	writeJSON(w, out)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who has gone away does not read it
}
