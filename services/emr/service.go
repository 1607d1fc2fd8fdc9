package emr

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/wake"
	"github.com/mayfly-run/mayfly/services/emr/cluster"
	"github.com/mayfly-run/mayfly/services/emr/host"
	"github.com/mayfly-run/mayfly/spark"
	"github.com/mayfly-run/mayfly/store"
)

// Config is what the service needs.
type Config struct {
	Store    store.Store
	Loop     *durable.Loop
	Clock    clock.Clock
	Log      *slog.Logger
	Calls    awscall.Caller  // S3: programs, scripts, logs
	Issuer   identity.Issuer // keys of clusters
	Wake     *wake.Bus
	DataDir  string
	Endpoint func() string
	// Custody returns what is sent when a cluster begins and when it has ended, with that record. It is pure; nil: nothing.
	Custody func(Owned) []durable.Send
	// Spark finds the installation when a cluster starts; spark.Find with default options when nil.
	Spark func() (*spark.Installation, error)
	// Budget is what all clusters together may use of this machine; DefaultBudget() when zero.
	Budget host.Budget
	// LogInterval is how often logs that grow are copied to LogUri; 30 s when zero.
	LogInterval time.Duration
}

// DefaultBudget leaves a quarter of the memory to the rest of the machine. Cores are counted four times: the memory of a
// cluster that waits for steps is taken, its cores are not.
func DefaultBudget() host.Budget {
	cores, memory := spark.Machine()
	return host.Budget{Cores: 4 * cores, MemoryMB: memory / 4 * 3}
}

// Service serves EMR.
type Service struct {
	Config
	host     *host.Host
	clusters *durable.Entities[cluster.State, cluster.Input, cluster.Fact, cluster.Command]

	mu   sync.Mutex
	live map[string]*live // by cluster id: what this process holds of it
}

// New makes the service and registers its kind with the loop.
func New(cfg Config) *Service {
	if cfg.Spark == nil {
		cfg.Spark = func() (*spark.Installation, error) { return spark.Find(spark.Options{}) }
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Wake == nil {
		cfg.Wake = &wake.Bus{}
	}
	if cfg.Budget == (host.Budget{}) {
		cfg.Budget = DefaultBudget()
	}
	if cfg.LogInterval <= 0 {
		cfg.LogInterval = 30 * time.Second
	}
	cores, _ := spark.Machine()
	s := &Service{Config: cfg, live: map[string]*live{}, host: host.New(cfg.Budget, cores)}
	s.clusters = durable.Register(cfg.Loop, durable.Kind[cluster.State, cluster.Input, cluster.Fact, cluster.Command]{
		Name:         kind,
		Core:         cluster.Core{},
		New:          func(store.ID) *cluster.State { return &cluster.State{} },
		Dispatch:     s.dispatch,
		Project:      project,
		Sends:        s.sends,
		Timer:        func(string) cluster.Input { return cluster.Input{IdleTimer: &struct{}{}} },
		Committed:    s.committed,
		Opened:       s.opened,
		MarshalState: func(st *cluster.State) ([]byte, error) { return json.Marshal(st) },
		UnmarshalState: func(_ store.ID, b []byte) (*cluster.State, error) {
			st := &cluster.State{}
			return st, json.Unmarshal(b, st)
		},
	})
	return s
}

const (
	kind    = "cluster"
	service = "elasticmapreduce"
)

// EntityID is the id under which package durable knows a cluster.
func EntityID(clusterID string) store.ID { return store.ID(kind + "/" + clusterID) }

// API lists the operations.
func (s *Service) API() *awscall.Service {
	a := awscall.NewService(service)
	awscall.Handle(a, "RunJobFlow", s.RunJobFlow)
	awscall.Handle(a, "AddJobFlowSteps", s.AddJobFlowSteps)
	awscall.Handle(a, "CancelSteps", s.CancelSteps)
	awscall.Handle(a, "TerminateJobFlows", s.TerminateJobFlows)
	awscall.Handle(a, "DescribeCluster", s.DescribeCluster)
	awscall.Handle(a, "DescribeStep", s.DescribeStep)
	awscall.Handle(a, "ListClusters", s.ListClusters)
	awscall.Handle(a, "ListSteps", s.ListSteps)
	awscall.Handle(a, "ListInstances", s.ListInstances)
	awscall.Handle(a, "ListInstanceGroups", s.ListInstanceGroups)
	awscall.Handle(a, "ListInstanceFleets", s.ListInstanceFleets)
	awscall.Handle(a, "ListBootstrapActions", s.ListBootstrapActions)
	awscall.Handle(a, "SetTerminationProtection", s.SetTerminationProtection)
	awscall.Handle(a, "SetKeepJobFlowAliveWhenNoSteps", s.SetKeepJobFlowAliveWhenNoSteps)
	awscall.Handle(a, "SetVisibleToAllUsers", s.SetVisibleToAllUsers)
	awscall.Handle(a, "ModifyCluster", s.ModifyCluster)
	awscall.Handle(a, "PutAutoTerminationPolicy", s.PutAutoTerminationPolicy)
	awscall.Handle(a, "GetAutoTerminationPolicy", s.GetAutoTerminationPolicy)
	awscall.Handle(a, "RemoveAutoTerminationPolicy", s.RemoveAutoTerminationPolicy)
	awscall.Handle(a, "AddTags", s.AddTags)
	awscall.Handle(a, "RemoveTags", s.RemoveTags)
	awscall.Handle(a, "ListReleaseLabels", s.ListReleaseLabels)
	awscall.Handle(a, "DescribeReleaseLabel", s.DescribeReleaseLabel)
	return a
}

// Owned is what custody needs to know of a cluster.
type Owned struct {
	ID, Name, State string
	Ended           bool
	Principal       identity.Principal // who asked for it
	Tags            map[string]string
	Created         time.Time
}

// Live lists the clusters of all accounts that have not ended.
func (s *Service) Live(ctx context.Context) ([]Owned, error) {
	var out []Owned
	for id, err := range s.Store.OpenEntities(ctx, kind) {
		if err != nil {
			return nil, err
		}
		err := s.clusters.View(ctx, id, func(st *cluster.State) {
			if st.State == "" || st.Ended() {
				return
			}
			out = append(out, owned(st))
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	}
	return out, nil
}

func owned(st *cluster.State) Owned {
	o := Owned{ID: st.Spec.ID, Name: st.Spec.Request.Name, State: st.State, Ended: st.Ended(), Principal: st.Spec.Principal, Created: st.Created, Tags: map[string]string{}}
	for _, t := range st.Settings.Tags {
		o.Tags[awsapi.Val(t.Key)] = awsapi.Val(t.Value)
	}
	return o
}

// sends tells custody of a cluster that begins or has ended.
func (s *Service) sends(_ store.ID, st *cluster.State, facts []cluster.Fact) []durable.Send {
	if s.Custody == nil || !slices.ContainsFunc(facts, func(f cluster.Fact) bool { return f.Created != nil || f.Moved != nil && st.Ended() }) {
		return nil
	}
	return s.Custody(owned(st))
}

// Release ends a cluster that nobody owns any more, in spite of termination protection. An unknown or ended one is no
// error. reason becomes part of the cluster's state change reason.
func (s *Service) Release(ctx context.Context, clusterID, reason string) error {
	_, err := s.clusters.Do(ctx, EntityID(clusterID), durable.Input[cluster.Input]{
		By:   identity.From(ctx),
		Body: cluster.Input{Terminate: &cluster.Terminate{Force: true, Message: reason}},
	})
	return err
}

// summary is the row of a cluster, for lists.
type summary struct {
	ID        string             `json:"id"`
	Name      string             `json:"name"`
	ARN       string             `json:"arn"`
	State     string             `json:"state"`
	Code      string             `json:"code,omitempty"`
	Message   string             `json:"message,omitempty"`
	Created   time.Time          `json:"created"`
	Ready     time.Time          `json:"ready,omitzero"`
	End       time.Time          `json:"end,omitzero"`
	Principal identity.Principal `json:"principal"`
}

func project(_ store.ID, st *cluster.State, facts []cluster.Fact) []store.RowChange {
	changed := false
	for _, f := range facts {
		changed = changed || f.Created != nil || f.Moved != nil
	}
	if !changed {
		return nil
	}
	p := st.Spec.Principal
	value, _ := json.Marshal(summary{st.Spec.ID, st.Spec.Request.Name, st.Spec.ARN, st.State, st.Code, st.Message,
		st.Created, st.Ready, st.End, p})
	return []store.RowChange{{
		Key:   store.Key{Account: p.Account, Region: p.Region, Service: service, Kind: kind, ID: st.Spec.ID},
		Value: value,
		Index: []store.IndexEntry{{Name: "created", Sort: st.Created.UTC().Format("2006-01-02T15:04:05.000000000")}},
	}}
}

// committed tells those who wait that something has changed.
func (s *Service) committed(id store.ID, st *cluster.State, facts []cluster.Fact) {
	for _, f := range facts {
		switch {
		case f.Created != nil || f.Moved != nil || f.Settings != nil || f.NodesLost != nil || f.WorkerUp != nil:
			if st.Ended() {
				s.host.Release(st.Spec.ID)
			}
			s.Wake.Changed(st.Spec.ID)
		case f.StepMoved != nil:
			s.Wake.Changed(st.Spec.ID + "/" + f.StepMoved.ID)
		case f.Added != nil:
			s.Wake.Changed(st.Spec.ID)
		}
	}
}

// dir is a cluster's folder.
func (s *Service) dir(clusterID string, more ...string) string {
	return filepath.Join(append([]string{s.DataDir, "emr", clusterID}, more...)...)
}
