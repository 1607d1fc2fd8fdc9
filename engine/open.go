package engine

import (
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// Place is where quotas are counted.
type Place struct{ Account, Region string }

func placeOf(arn string) Place { return Place{field(arn, 4), field(arn, 3)} }

// Opened is what is open in a Place.
type Opened struct {
	Executions int64 // Standard ones, no children of map runs
	MapRuns    int64
	Waiting    int64 // map runs that wait for others to end
}

// Open tells what is open now, and knows each Place in which anything was since the start.
func (e *Engine) Open() map[Place]Opened {
	out := map[Place]Opened{}
	e.mu.Lock()
	for p, n := range e.open {
		out[p] = Opened{Executions: n}
	}
	e.mu.Unlock()
	e.runs.mu.Lock()
	defer e.runs.mu.Unlock()
	for p, runs := range e.runs.running {
		o := out[p]
		o.MapRuns, o.Waiting = int64(len(runs)), int64(len(e.runs.waiting[p]))
		out[p] = o
	}
	return out
}

// count follows how many executions are open.
func (e *Engine) count(s *execution.Snapshot, n int64) {
	if s.Identity.Express || s.Identity.MapRun != "" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open[placeOf(s.Identity.ARN)] += n
}

// room refuses one more execution where there are too many. AWS: a Standard one; the sentence is the API model's.
func (e *Engine) room(arn string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if most := e.cfg.Limits.Executions; most == 0 || e.open[placeOf(arn)] < most {
		return nil
	}
	return awsapi.Errorf(400, "ExecutionLimitExceeded", "The maximum number of running executions has been reached. Running executions must end or be stopped before a new execution can be started.")
}
