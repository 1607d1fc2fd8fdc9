package states

import (
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/metrics"
)

// Metrics counts what executions do, as CloudWatch's namespace AWS/States does, for Prometheus. Counters begin at 0 with the
// server; the times of a task count when the server saw its beginning.
type Metrics struct {
	executions map[history.Type]metrics.Counter
	throttled  metrics.Counter
	time       metrics.Histogram
	works      map[string]work

	mu   sync.Mutex
	open map[string]map[execution.TaskID]*taskTimes // by execution
}

// work is one of AWS's three sorts of tasks.
type work struct {
	counts               map[string]metrics.Counter // by the end of AWS's name
	schedule, run, whole metrics.Histogram
}

type taskTimes struct {
	resource           string
	scheduled, started time.Time
	deadline           time.Time
	beats              bool
}

// NewMetrics makes the families in a registry.
func NewMetrics(r *metrics.Registry) *Metrics {
	const machine, prefix = "state_machine_arn", "mayfly_states_"
	m := &Metrics{executions: map[history.Type]metrics.Counter{}, works: map[string]work{}, open: map[string]map[execution.TaskID]*taskTimes{}}
	for _, x := range []struct {
		t    history.Type
		what string
	}{{history.ExecutionStarted, "started"}, {history.ExecutionSucceeded, "succeeded"}, {history.ExecutionFailed, "failed"},
		{history.ExecutionAborted, "aborted"}, {history.ExecutionTimedOut, "timed_out"}, {history.ExecutionRedriven, "redriven"}} {
		m.executions[x.t] = r.Counter(prefix+"executions_"+x.what+"_total", "AWS/States "+string(x.t)+".", machine)
	}
	m.throttled = r.Counter(prefix+"execution_throttled_total", "AWS/States ExecutionThrottled. Mayfly throttles no execution, so there is no series.", machine)
	m.time = r.Histogram(prefix+"execution_time_seconds", "AWS/States ExecutionTime.", machine)
	for _, x := range []struct{ events, name, metric, label string }{
		{"Activity", "activity", "Activity", "activity_arn"},
		{"LambdaFunction", "lambda_function", "LambdaFunction", "lambda_function_arn"},
		{"Task", "service_integration", "ServiceIntegration", "service_integration_resource_arn"},
	} {
		w := work{counts: map[string]metrics.Counter{}}
		for _, e := range [][2]string{{"Scheduled", "scheduled"}, {"Started", "started"}, {"Succeeded", "succeeded"}, {"Failed", "failed"},
			{"TimedOut", "timed_out"}, {"HeartbeatTimedOut", "heartbeat_timed_out"}} {
			w.counts[e[0]] = r.Counter(prefix+x.name+"_"+e[1]+"_total", "AWS/States "+x.metric+e[0]+".", x.label)
		}
		w.schedule = r.Histogram(prefix+x.name+"_schedule_time_seconds", "AWS/States "+x.metric+"ScheduleTime: from scheduled to started.", x.label)
		w.run = r.Histogram(prefix+x.name+"_run_time_seconds", "AWS/States "+x.metric+"RunTime: from started to the end.", x.label)
		w.whole = r.Histogram(prefix+x.name+"_time_seconds", "AWS/States "+x.metric+"Time: from scheduled to the end.", x.label)
		m.works[x.events] = w
	}
	return m
}

// Observe takes the committed facts of executions; it is engine.Config.Observe, and does not block.
func (m *Metrics) Observe(x *execution.Snapshot, facts []execution.Fact) {
	m.mu.Lock()
	defer m.mu.Unlock()
	arn := x.Identity.ARN
	for _, f := range facts {
		if f.Event == nil {
			continue
		}
		if c, ok := m.executions[f.Event.Type]; ok {
			c.Inc(x.Identity.MachineARN)
			if f.Event.Type.Terminal() {
				m.time.Observe(x.Identity.MachineARN, f.Event.At.Sub(x.Started))
				delete(m.open, arn)
			}
		}
		if n := f.Note; n != nil {
			switch {
			case n.Issued != nil:
				if m.open[arn] == nil {
					m.open[arn] = map[execution.TaskID]*taskTimes{}
				}
				m.open[arn][n.Issued.Task] = &taskTimes{resource: n.Issued.Resource, scheduled: f.Event.At}
				m.task(f.Event, m.open[arn][n.Issued.Task], "Scheduled")
			case n.Clocked != nil:
				t := m.of(x, n.Clocked.Task)
				t.started, t.deadline, t.beats = f.Event.At, n.Clocked.Deadline, !n.Clocked.BeatBy.IsZero()
				m.task(f.Event, t, "Started")
			case n.Completed != nil:
				m.task(f.Event, m.of(x, n.Completed.Task), "")
				delete(m.open[arn], n.Completed.Task)
			}
		}
	}
}

// of is what is known of a task: of one that began before the server, what the snapshot still has.
func (m *Metrics) of(x *execution.Snapshot, id execution.TaskID) *taskTimes {
	if t := m.open[x.Identity.ARN][id]; t != nil {
		return t
	}
	t := &taskTimes{}
	if s := x.Tasks[id]; s != nil {
		t.resource = s.Resource
	}
	return t
}

// task counts an event of a task. how "" is its end, as the event's type says.
func (m *Metrics) task(ev *history.Event, t *taskTimes, how string) {
	for _, sort := range []string{"LambdaFunction", "Activity", "Task"} {
		rest, ok := strings.CutPrefix(string(ev.Type), sort)
		if !ok {
			continue
		}
		w, value := m.works[sort], t.resource
		if value == "" {
			value = "unknown" // it began before the server
			if r := resourceOf(ev.Details); r.ResourceType != "" {
				value = "arn:aws:states:::" + r.ResourceType + ":" + r.Resource
			}
		}
		switch {
		case how == "Started" && !t.scheduled.IsZero():
			w.schedule.Observe(value, t.started.Sub(t.scheduled))
		case how != "":
		case rest == "TimedOut":
			if how = rest; t.beats && (t.deadline.IsZero() || ev.At.Before(t.deadline)) { // the events do not tell which it was
				how = "HeartbeatTimedOut"
			}
		case strings.HasSuffix(rest, "Failed"): // StartFailed, SubmitFailed and ScheduleFailed too
			how = "Failed"
		default:
			how = rest
		}
		if c, ok := w.counts[how]; ok {
			c.Inc(value)
		}
		if how == "Scheduled" || how == "Started" {
			return
		}
		if !t.started.IsZero() {
			w.run.Observe(value, ev.At.Sub(t.started))
		}
		if !t.scheduled.IsZero() {
			w.whole.Observe(value, ev.At.Sub(t.scheduled))
		}
		return
	}
}

func resourceOf(d history.Details) history.Resource {
	switch d := d.(type) {
	case *history.TaskOutput:
		return d.Resource
	case *history.TaskFailure:
		return d.Resource
	}
	return history.Resource{}
}
