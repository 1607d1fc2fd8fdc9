package launch

import (
	"fmt"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly/pipelines/emr/judge"
)

// Summary is what a run came to.
type Summary struct {
	Status    string        `json:"status"` // of the outer execution
	Execution string        `json:"execution"`
	Elapsed   time.Duration `json:"elapsed"` // from StartExecution to the end
	Time      Spent         `json:"time"`
	Modes     []Mode        `json:"modes,omitempty"`
	Mails     []string      `json:"mails"`           // where the mails of this run lie
	Made      Count         `json:"made"`            // by the execution and those below it, as custody's ledger tells
	Left      Count         `json:"left"`            // of these, still there
	Error     string        `json:"error,omitempty"` // of the execution
	Cause     string        `json:"cause,omitempty"`
	RootCause string        `json:"rootCause,omitempty"` // the exception line of the driver's log, or the stack's first failure
	Manifest  string        `json:"manifest,omitempty"`  // s3:// URL
	Log       string        `json:"log,omitempty"`       // s3:// URL of the failed step's log
	Stacks    []string      `json:"stacks,omitempty"`    // ARNs
	Clusters  []*Cluster    `json:"clusters,omitempty"`
}

// Count is how many clusters and stacks.
type Count struct {
	Clusters int `json:"clusters"`
	Stacks   int `json:"stacks"`
}

func (c Count) String() string {
	return plural(c.Clusters, "cluster") + ", " + plural(c.Stacks, "stack")
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Spent says where the time went. Orchestration is what is left when the times are taken away in which a cluster started or
// ended or a driver lived.
type Spent struct {
	ClusterStart  time.Duration `json:"clusterStart"`
	Spark         time.Duration `json:"spark"`
	ClusterEnd    time.Duration `json:"clusterEnd"`
	Orchestration time.Duration `json:"orchestration"`
}

// Mode is one processing mode's results.
type Mode struct {
	Mode      string         `json:"mode"`
	Status    string         `json:"status"`
	Output    string         `json:"output"` // s3:// URL
	Error     string         `json:"error,omitempty"`
	Anomalies int            `json:"anomalies"`
	Preview   []string       `json:"preview,omitempty"` // the first lines of the anomalies
	Quality   *judge.Verdict `json:"quality,omitempty"` // by the labels of the generated data
}

// Succeeded says that the run did what it was to do: the execution succeeded and nothing is left.
func (s *Summary) Succeeded() bool {
	return s.Status == "SUCCEEDED" && s.Left == (Count{})
}

// span is a stretch of time.
type span struct{ from, to time.Time }

// covered is how much of [from, to] the spans cover together.
func covered(from, to time.Time, spans []span) time.Duration {
	spans = slices.Clone(spans)
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	var sum time.Duration
	at := from
	for _, s := range spans {
		if s.to.After(to) {
			s.to = to
		}
		if s.from.Before(at) {
			s.from = at
		}
		if s.to.After(s.from) {
			sum += s.to.Sub(s.from)
			at = s.to
		}
	}
	return sum
}

// spent splits an execution's time. ends are the times in which clusters were being ended.
func spent(from, to time.Time, clusters []*Cluster, ends []span) Spent {
	var starts, drivers []span
	for _, c := range clusters {
		ready := c.Ready
		if ready.IsZero() {
			ready = c.Ended
		}
		if ready.IsZero() {
			ready = to
		}
		starts = append(starts, span{c.Created, ready})
		for _, s := range c.Steps {
			if !s.Started.IsZero() {
				end := s.Ended
				if end.IsZero() {
					end = to
				}
				drivers = append(drivers, span{s.Started, end})
			}
		}
	}
	all := slices.Concat(starts, drivers, ends)
	return Spent{
		ClusterStart: covered(from, to, starts), Spark: covered(from, to, drivers), ClusterEnd: covered(from, to, ends),
		Orchestration: to.Sub(from) - covered(from, to, all),
	}
}
