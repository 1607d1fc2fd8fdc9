package cluster

import (
	"slices"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi/emrapi"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/services/emr/host"
)

// The states of a cluster.
const (
	Starting             = "STARTING"
	Bootstrapping        = "BOOTSTRAPPING"
	Running              = "RUNNING"
	Waiting              = "WAITING"
	Terminating          = "TERMINATING"
	Terminated           = "TERMINATED"
	TerminatedWithErrors = "TERMINATED_WITH_ERRORS"
)

// The states of a step, beside Running.
const (
	Pending       = "PENDING"
	CancelPending = "CANCEL_PENDING"
	Completed     = "COMPLETED"
	Cancelled     = "CANCELLED"
	Failed        = "FAILED"
	Interrupted   = "INTERRUPTED"
)

// What a failed step does.
const (
	Continue         = "CONTINUE"
	CancelAndWait    = "CANCEL_AND_WAIT"
	TerminateCluster = "TERMINATE_CLUSTER"
	terminateJobFlow = "TERMINATE_JOB_FLOW" // its old name
)

// Spec is what a cluster was asked to be, with the identifiers that it was given.
type Spec struct {
	ID        string                 `json:"id"`
	ARN       string                 `json:"arn"`
	Principal identity.Principal     `json:"principal"` // who asked for it
	Request   emrapi.RunJobFlowInput `json:"request"`   // without its steps
	Fleets    bool                   `json:"fleets,omitempty"`
	Groups    []Group                `json:"groups"`
	// Lease is what it may use of this machine; nil before it was given.
	Lease *host.Lease `json:"lease,omitempty"`
}

// Group is an instance group or fleet.
type Group struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Role      string     `json:"role"` // MASTER, CORE, TASK
	Type      string     `json:"type"`
	Market    string     `json:"market"`
	Bid       string     `json:"bid,omitempty"`
	Instances []Instance `json:"instances"`
	Gone      []Instance `json:"gone,omitempty"` // those that were replaced
}

// Instance is a node.
type Instance struct {
	ID    string `json:"id"`    // ci-…
	EC2ID string `json:"ec2Id"` // i-…
	IP    string `json:"ip"`

	// What follows is of nodes whose life is not their cluster's: those that replace others, and those that are gone.
	State   string    `json:"state,omitempty"` // Bootstrapping, Running or Terminated; "": the cluster's
	Code    string    `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Ready   time.Time `json:"ready,omitzero"`
	End     time.Time `json:"end,omitzero"`
}

// Master is the master node.
func (s *Spec) Master() Instance {
	for _, g := range s.Groups {
		if g.Role == "MASTER" && len(g.Instances) > 0 {
			return g.Instances[0]
		}
	}
	return Instance{}
}

// Workers counts the core and task nodes.
func (s *Spec) Workers() (n int) {
	for _, g := range s.Groups {
		if g.Role != "MASTER" {
			n += len(g.Instances)
		}
	}
	return n
}

// nodes gives f the core and task nodes, in their order.
func (s *Spec) nodes(f func(g *Group, n *Instance, i int)) {
	i := 0
	for g := range s.Groups {
		if s.Groups[g].Role == "MASTER" {
			continue
		}
		for n := range s.Groups[g].Instances {
			f(&s.Groups[g], &s.Groups[g].Instances[n], i)
			i++
		}
	}
}

// Settings are what can be changed while the cluster lives.
type Settings struct {
	KeepAlive   bool         `json:"keepAlive"`
	Protected   bool         `json:"protected"`
	Visible     bool         `json:"visible"`
	Concurrency int          `json:"concurrency"`
	IdleSeconds int64        `json:"idleSeconds,omitempty"` // auto-termination policy; 0: none
	HasPolicy   bool         `json:"hasPolicy,omitempty"`
	Tags        []emrapi.Tag `json:"tags,omitempty"`
}

// Step is a step and what became of it.
type Step struct {
	ID      string            `json:"id"`
	Config  emrapi.StepConfig `json:"config"`
	State   string            `json:"state"`
	Created time.Time         `json:"created"`
	Start   time.Time         `json:"start,omitzero"`
	End     time.Time         `json:"end,omitzero"`
	Failure *Failure          `json:"failure,omitempty"`
}

// Action is what its failure does.
func (s *Step) Action() string {
	if a := s.Config.ActionOnFailure; a != nil && *a != "" {
		if *a == terminateJobFlow {
			return TerminateCluster
		}
		return *a
	}
	return TerminateCluster // AWS: the default of the API; the AWS CLI sends CONTINUE
}

// Ended says whether the step's state is its last.
func (s *Step) Ended() bool {
	switch s.State {
	case Completed, Cancelled, Failed, Interrupted:
		return true
	}
	return false
}

// Failure says why a step failed, as DescribeStep shows it.
type Failure struct {
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	LogFile string `json:"logFile,omitempty"`
}

// State is all that is known of a cluster.
type State struct {
	Spec     Spec      `json:"spec"`
	Settings Settings  `json:"settings"`
	State    string    `json:"state"` // "" before its first record
	Code     string    `json:"code,omitempty"`
	Message  string    `json:"message,omitempty"`
	Final    string    `json:"final,omitempty"` // what TERMINATING leads to
	Created  time.Time `json:"created"`
	Ready    time.Time `json:"ready,omitzero"`
	End      time.Time `json:"end,omitzero"`
	Workers  []Worker  `json:"workers,omitempty"` // the processes that stand for its nodes
	Steps    []*Step   `json:"steps,omitempty"`
	Idle     time.Time `json:"idle,omitzero"`      // since when nothing runs or waits to run
	LastStep string    `json:"lastStep,omitempty"` // the state of the step that ended last
	AnyFail  bool      `json:"anyFail,omitempty"`
}

// change lets f change the core and task nodes. Who has a copy of the spec keeps what it saw.
func (s *State) change(f func(g *Group, n *Instance, i int)) {
	s.Spec.Groups = slices.Clone(s.Spec.Groups)
	for i := range s.Spec.Groups {
		g := &s.Spec.Groups[i]
		g.Instances, g.Gone = slices.Clone(g.Instances), slices.Clip(g.Gone)
	}
	s.Spec.nodes(f)
}

// Worker is a worker process. It stands for every node whose number leaves its own as the remainder of the division by
// the number of workers.
type Worker struct {
	Generation int  `json:"generation,omitempty"` // how often it was replaced
	Starting   bool `json:"starting,omitempty"`   // it was replaced, and is not there yet
	Down       bool `json:"down,omitempty"`       // it is not replaced any more
}

// NodesOf lists the nodes that worker number n stands for.
func (s *Spec) NodesOf(n int) (out []Instance) {
	if s.Lease == nil {
		return nil
	}
	s.nodes(func(_ *Group, node *Instance, i int) {
		if i%s.Lease.Workers == n {
			out = append(out, *node)
		}
	})
	return out
}

// Generations are those of the workers, in their order.
func (s *State) Generations() (out []int) {
	for _, w := range s.Workers {
		out = append(out, w.Generation)
	}
	return out
}

// Step finds a step by its id.
func (s *State) Step(id string) *Step {
	for _, st := range s.Steps {
		if st.ID == id {
			return st
		}
	}
	return nil
}

// Ended says whether the cluster has ended.
func (s *State) Ended() bool { return s.State == Terminated || s.State == TerminatedWithErrors }

// Ending says whether the cluster ends or has ended.
func (s *State) Ending() bool { return s.State == Terminating || s.Ended() }

// up says whether steps can run.
func (s *State) up() bool { return s.State == Running || s.State == Waiting }

// Input is one of its fields.
type Input struct {
	Create       *Create     `json:"create,omitempty"`
	AddSteps     *AddSteps   `json:"addSteps,omitempty"`
	Cancel       *Cancel     `json:"cancel,omitempty"`
	Terminate    *Terminate  `json:"terminate,omitempty"`
	Change       *Change     `json:"change,omitempty"`
	Reserved     *Reserved   `json:"reserved,omitempty"`
	Provisioned  *Outcome    `json:"provisioned,omitempty"`
	Bootstrapped *Outcome    `json:"bootstrapped,omitempty"`
	StepEnded    *StepEnded  `json:"stepEnded,omitempty"`
	Died         *Died       `json:"died,omitempty"`
	WorkerLost   *WorkerLost `json:"workerLost,omitempty"`
	Replaced     *Replaced   `json:"replaced,omitempty"`
	TornDown     *struct{}   `json:"tornDown,omitempty"`
	IdleTimer    *struct{}   `json:"idleTimer,omitempty"`
}

// Create makes the cluster. Steps that come with it follow.
type Create struct {
	Spec     Spec                `json:"spec"`
	Settings Settings            `json:"settings"`
	Steps    []emrapi.StepConfig `json:"steps,omitempty"`
	Reply    any                 `json:"reply,omitempty"` // the answer to the caller
}

// AddSteps appends steps to the queue. The reply is the list of their ids.
type AddSteps struct {
	Steps []emrapi.StepConfig `json:"steps"`
}

// Cancel asks for steps to be cancelled. The reply is a []emrapi.CancelStepsInfo.
type Cancel struct {
	Steps []string `json:"steps"`
	Kill  bool     `json:"kill,omitempty"` // SIGKILL instead of SIGTERM
}

// Terminate ends the cluster at somebody's request.
type Terminate struct {
	Message string `json:"message,omitempty"` // "Terminated by user request" when empty
	Force   bool   `json:"force,omitempty"`   // in spite of termination protection: custody's way
}

// Change sets what is not nil.
type Change struct {
	KeepAlive   *bool        `json:"keepAlive,omitempty"`
	Protected   *bool        `json:"protected,omitempty"`
	Visible     *bool        `json:"visible,omitempty"`
	Concurrency *int         `json:"concurrency,omitempty"`
	IdleSeconds *int64       `json:"idleSeconds,omitempty"` // -1: no policy
	AddTags     []emrapi.Tag `json:"addTags,omitempty"`
	RemoveTags  []string     `json:"removeTags,omitempty"`
}

// Reserved is how Reserve ended: with a lease, with the sentence that says why the cluster has to wait, or not at all.
type Reserved struct {
	Lease *host.Lease `json:"lease,omitempty"`
	Waits string      `json:"waits,omitempty"`
	Outcome
}

// Outcome is how Provision or Bootstrap ended; Code is empty when it succeeded.
type Outcome struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

// StepEnded is how RunStep ended: Failure is nil when the program succeeded.
type StepEnded struct {
	ID      string   `json:"id"`
	Failure *Failure `json:"failure,omitempty"`
}

// Died says in a sentence that Spark's master is gone, or that Spark cannot be used any more.
type Died struct {
	Message string `json:"message"`
}

// WorkerLost says that a worker's process has ended.
type WorkerLost struct {
	Worker     int    `json:"worker"`
	Generation int    `json:"generation,omitempty"`
	Message    string `json:"message"`
}

// Replaced is how Replace ended.
type Replaced struct {
	Worker     int `json:"worker"`
	Generation int `json:"generation"`
	Outcome
}

// Fact is one of its fields.
type Fact struct {
	Created   *Created    `json:"created,omitempty"`
	Moved     *Moved      `json:"moved,omitempty"`
	Added     []Step      `json:"added,omitempty"`
	StepMoved *StepMoved  `json:"stepMoved,omitempty"`
	Settings  *Settings   `json:"settings,omitempty"`
	Leased    *host.Lease `json:"leased,omitempty"`
	NodesLost *NodesLost  `json:"nodesLost,omitempty"`
	WorkerUp  *WorkerUp   `json:"workerUp,omitempty"`
	IdleSince *time.Time  `json:"idleSince,omitempty"` // zero: not idle any more
}

// Created is the first fact.
type Created struct {
	Spec     Spec      `json:"spec"`
	Settings Settings  `json:"settings"`
	At       time.Time `json:"at"`
}

// Moved is a change of the cluster's state or its reason.
type Moved struct {
	State   string    `json:"state"`
	Code    string    `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
	Final   string    `json:"final,omitempty"`
	At      time.Time `json:"at"`
}

// StepMoved is a change of a step's state.
type StepMoved struct {
	ID      string    `json:"id"`
	State   string    `json:"state"`
	Failure *Failure  `json:"failure,omitempty"`
	At      time.Time `json:"at"`
}

// NodesLost ends the nodes that a worker stood for. New ones take their places; without any, the places stay empty.
type NodesLost struct {
	Worker int `json:"worker"`
	Outcome
	New []Instance `json:"new,omitempty"`
	At  time.Time  `json:"at"`
}

// WorkerUp says that a worker that was replaced is there.
type WorkerUp struct {
	Worker int       `json:"worker"`
	At     time.Time `json:"at"`
}

// Command is one of its fields.
type Command struct {
	Reserve    *Reserve    `json:"reserve,omitempty"`
	Provision  *struct{}   `json:"provision,omitempty"`
	Bootstrap  *struct{}   `json:"bootstrap,omitempty"`
	Watch      *Watch      `json:"watch,omitempty"`
	Replace    *Replace    `json:"replace,omitempty"`
	RunStep    *RunStep    `json:"runStep,omitempty"`
	CancelStep *CancelStep `json:"cancelStep,omitempty"`
	TearDown   *TearDown   `json:"tearDown,omitempty"`
}

// Reserve takes a lease of the machine, or waits for one.
type Reserve struct {
	Wait bool `json:"wait,omitempty"`
}

// Watch waits for the end of the master, or of a worker that is at least of the given generation.
type Watch struct {
	Generations []int `json:"generations,omitempty"`
}

// Replace makes the nodes that a worker stands for ready and starts its next process.
type Replace struct {
	Worker     int `json:"worker"`
	Generation int `json:"generation"`
}

// RunStep runs a step's program to its end.
type RunStep struct {
	ID string `json:"id"`
}

// CancelStep ends a step's program.
type CancelStep struct {
	ID   string `json:"id"`
	Kill bool   `json:"kill,omitempty"`
}

// TearDown ends every process of the cluster. Interrupted are the steps that were running.
type TearDown struct {
	Interrupted []string `json:"interrupted,omitempty"`
}
