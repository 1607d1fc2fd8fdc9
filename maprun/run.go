package maprun

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// The bounds of one record.
const (
	MaxLaunch      = 1000    // children that are read at once
	MaxLaunchBytes = 1 << 20 // of their inputs
	maxStop        = 2000    // children in one Abort or Redo
)

// Spec is what a run is from its first record on.
type Spec struct {
	execution.StartMap
	Parent string             `json:"parent"` // the execution whose state it is
	Child  execution.Identity `json:"child"`  // what all children have in common; ARN and Name are made per child
	// MaxOutput bounds the bytes of all outputs where they become the state's output; 0: not at all.
	MaxOutput int `json:"maxOutput,omitempty"`
	// MaxOpen is how many children may be open at once; 0: any number.
	MaxOpen int64 `json:"maxOpen,omitempty"`
}

// Collects reports whether the children's outputs become the state's output.
func (s *Spec) Collects() bool { return s.Writer == nil || s.Writer.Resource == "" }

// Counts tells items or executions by status. Each of them is counted once.
type Counts struct {
	Pending        int64 `json:"pending,omitempty"`
	Running        int64 `json:"running,omitempty"`
	Succeeded      int64 `json:"succeeded,omitempty"`
	Failed         int64 `json:"failed,omitempty"`
	TimedOut       int64 `json:"timedOut,omitempty"`
	Aborted        int64 `json:"aborted,omitempty"`
	PendingRedrive int64 `json:"pendingRedrive,omitempty"`

	ResultsWritten        int64 `json:"resultsWritten,omitempty"`        // beside the others
	FailuresNotRedrivable int64 `json:"failuresNotRedrivable,omitempty"` // of those that have failed
}

// Total is all of them.
func (c Counts) Total() int64 {
	return c.Pending + c.Running + c.Succeeded + c.Failed + c.TimedOut + c.Aborted + c.PendingRedrive
}

func (c *Counts) of(status execution.Status) *int64 {
	switch status {
	case execution.Succeeded:
		return &c.Succeeded
	case execution.TimedOut:
		return &c.TimedOut
	case execution.Aborted:
		return &c.Aborted
	}
	return &c.Failed
}

// Run is all that is known of a map run after a record. It changes through Apply only.
type Run struct {
	Spec        Spec             `json:"spec"`
	Status      execution.Status `json:"status,omitempty"` // RUNNING, SUCCEEDED, FAILED, ABORTED; "" before the start
	Started     time.Time        `json:"started,omitzero"`
	Stopped     time.Time        `json:"stopped,omitzero"`
	Concurrency int64            `json:"concurrency,omitempty"` // as it was asked for; 0: the most
	Tolerance   asl.Tolerance    `json:"tolerance,omitzero"`

	Cursor  string `json:"cursor,omitempty"` // where reading goes on
	AllRead bool   `json:"allRead,omitempty"`
	Reading int64  `json:"reading,omitempty"` // a Read is under way, for up to so many children
	Known   int64  `json:"known,omitempty"`   // how many items there are, before all are read; -1: not known
	Next    int64  `json:"next,omitempty"`    // the number of the next child

	Items      Counts `json:"items"`
	Executions Counts `json:"executions"`

	Open  map[int64]int64 `json:"open,omitempty"`  // running children with their numbers of items
	Lost  Set             `json:"lost,omitempty"`  // ended, and not well: what a redrive starts again
	Again Set             `json:"again,omitempty"` // to be started again by the redrive that is under way
	Sizes map[int64]int64 `json:"sizes,omitempty"` // of Lost and Again, where it is not one item
	Final Set             `json:"final,omitempty"` // of Lost: a redrive was refused

	Redone Set `json:"redone,omitempty"` // started again since the last redrive

	Outputs   int64        `json:"outputs,omitempty"` // bytes
	Failure   *asl.Failure `json:"failure,omitempty"` // why the run fails, or has failed
	Finishing bool         `json:"finishing,omitempty"`

	Redrives   int64     `json:"redrives,omitempty"`
	RedrivenAt time.Time `json:"redrivenAt,omitzero"`
}

// Closed reports whether the run has ended.
func (r *Run) Closed() bool { return r.Status != "" && r.Status != execution.Running }

// Limit is how many children may be open now.
func (r *Run) Limit() int64 {
	most := r.Spec.MaxOpen
	if most == 0 {
		most = math.MaxInt64
	}
	if r.Concurrency <= 0 || r.Concurrency > most {
		return most
	}
	return r.Concurrency
}

// OpenChildren lists the numbers of the open children.
func (r *Run) OpenChildren() []int64 { return slices.Sorted(maps.Keys(r.Open)) }

// Exceeded reports whether more has failed than is tolerated. AWS: failed and timed out items count, against all items.
func (r *Run) Exceeded() bool {
	bad := r.Items.Failed + r.Items.TimedOut
	switch t := r.Tolerance; {
	case bad == 0:
		return false
	case t.Count == 0 && t.Percent == 0:
		return true
	case t.Count > 0 && bad > t.Count:
		return true
	case t.Percent > 0 && (r.AllRead || r.Known >= 0):
		return float64(bad)*100 > t.Percent*float64(r.Items.Total())
	}
	return false
}

// size is how many items a child that has ended badly was given.
func (r *Run) size(n int64) int64 {
	if k, ok := r.Sizes[n]; ok {
		return k
	}
	return 1
}

// before reports whether d is how a child ended before it was started again.
func (r *Run) before(d Done) bool {
	return r.Redone.Has(d.N) && d.Status != execution.Succeeded && !d.Final && !d.Stopped.IsZero() && d.Stopped.Before(r.RedrivenAt)
}

// Child is what a child is started with.
type Child struct {
	Input jsonvalue.Value `json:"input"`
	Items int64           `json:"items"`
}

// Done is a child that has ended.
type Done struct {
	N        int64            `json:"n"`
	Status   execution.Status `json:"status"`
	Output   jsonvalue.Value  `json:"output,omitzero"`
	Dropped  int64            `json:"dropped,omitempty"` // bytes of an output that was not kept
	Failure  *asl.Failure     `json:"failure,omitempty"`
	Input    jsonvalue.Value  `json:"input,omitzero"` // where the results need it, or a redrive
	Started  time.Time        `json:"started,omitzero"`
	Stopped  time.Time        `json:"stopped,omitzero"`
	Redrives int64            `json:"redrives,omitempty"`
	Final    bool             `json:"final,omitempty"` // a redrive of it was refused: it stays as it was
}
