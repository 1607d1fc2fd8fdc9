package states

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/internal/metrics"
	"github.com/mayfly-run/mayfly/store"
)

// Metrics counts what executions do, as CloudWatch's namespace AWS/States does, for Prometheus (docs/metrics.md). Counters begin
// at 0 with the server; the times of a task count when the server saw its beginning.
type Metrics struct {
	executions, redriven map[history.Type]metrics.Counter
	transitions          metrics.Counter
	time, billed         metrics.Times
	memory, billedMemory metrics.Sizes
	definition           func(digest string) int
	works                map[string]work

	mu   sync.Mutex
	open map[string]map[execution.TaskID]*taskTimes // by execution
}

// work is one of AWS's three sorts of tasks.
type work struct {
	counts               map[string]metrics.Counter // by the end of AWS's name
	schedule, run, whole metrics.Times
}

type taskTimes struct {
	resource           string
	scheduled, started time.Time
	deadline           time.Time
	beats              bool
}

// metricPrefix begins the name of each series.
const metricPrefix = "mayfly_states_"

// NewMetrics makes the families in a registry; definition tells how many bytes one has.
func NewMetrics(r *metrics.Registry, definition func(digest string) int) *Metrics {
	m := &Metrics{executions: map[history.Type]metrics.Counter{}, redriven: map[history.Type]metrics.Counter{}, definition: definition,
		works: map[string]work{}, open: map[string]map[execution.TaskID]*taskTimes{}}
	of := []string{"state_machine_arn", "version", "alias"}
	for _, x := range []struct {
		t    history.Type
		what string
	}{{history.ExecutionStarted, "Started"}, {history.ExecutionSucceeded, "Succeeded"}, {history.ExecutionFailed, "Failed"},
		{history.ExecutionAborted, "Aborted"}, {history.ExecutionTimedOut, "TimedOut"}, {history.ExecutionRedriven, "Redriven"}} {
		m.executions[x.t] = r.Counter(metricPrefix+"executions_"+snake(x.what)+"_total", "AWS/States Executions"+x.what+".", of...)
		if x.t.Terminal() {
			m.redriven[x.t] = r.Counter(metricPrefix+"redriven_executions_"+snake(x.what)+"_total", "AWS/States RedrivenExecutions"+x.what+".", of...)
		}
	}
	r.Counter(metricPrefix+"execution_throttled_total", "AWS/States ExecutionThrottled. Mayfly throttles no execution, so there is no series.", of...)
	m.transitions = r.Counter(metricPrefix+"state_transitions_total", "AWS/States ConsumedCapacity of the service metric StateTransition: states that were entered.", of...)
	m.time = r.Times(metricPrefix+"execution_time_seconds", "AWS/States ExecutionTime.", of...)
	m.billed = r.Times(metricPrefix+"express_execution_billed_duration_seconds", "AWS/States ExpressExecutionBilledDuration.", of...)
	m.memory = r.Sizes(metricPrefix+"express_execution_memory_bytes", "AWS/States ExpressExecutionMemory, as AWS says to estimate it: 50 MB, the definition and the data.", of...)
	m.billedMemory = r.Sizes(metricPrefix+"express_execution_billed_memory_bytes", "AWS/States ExpressExecutionBilledMemory: ExpressExecutionMemory in chunks of 64 MB.", of...)
	for _, x := range []struct{ events, name, many, metric, label string }{
		{"Activity", "activity", "Activities", "Activity", "activity_arn"},
		{"LambdaFunction", "lambda_function", "LambdaFunctions", "LambdaFunction", "lambda_function_arn"},
		{"Task", "service_integration", "ServiceIntegrations", "ServiceIntegration", "service_integration_resource_arn"},
	} {
		w := work{counts: map[string]metrics.Counter{}}
		for _, e := range []string{"Scheduled", "Started", "Succeeded", "Failed", "TimedOut", "HeartbeatTimedOut"} {
			w.counts[e] = r.Counter(metricPrefix+x.name+"_"+snake(e)+"_total", "AWS/States "+x.many+e+".", x.label)
		}
		w.schedule = r.Times(metricPrefix+x.name+"_schedule_time_seconds", "AWS/States "+x.metric+"ScheduleTime: from scheduled to started.", x.label)
		w.run = r.Times(metricPrefix+x.name+"_run_time_seconds", "AWS/States "+x.metric+"RunTime: from started to the end.", x.label)
		w.whole = r.Times(metricPrefix+x.name+"_time_seconds", "AWS/States "+x.metric+"Time: from scheduled to the end.", x.label)
		m.works[x.events] = w
	}
	return m
}

// snake writes TimedOut as timed_out.
func snake(name string) string {
	var b strings.Builder
	for i, c := range name {
		if unicode.IsUpper(c) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// Measure makes the families that tell, each time they are read, what there is and how much there may be, and counts the calls
// of an API.
func (s *Service) Measure(r *metrics.Registry, a *awscall.Service) {
	calls := r.Counter(metricPrefix+"api_requests_total", "AWS/States ConsumedCapacity of APIName: calls.", "api_name")
	throttled := r.Counter(metricPrefix+"api_throttled_total", "AWS/States ThrottledEvents of APIName, where calls are throttled.", "api_name")
	s.throttled = func(operation string) { throttled.Inc(operation) }
	admit := a.Admit
	a.Admit = func(ctx context.Context, operation string) error {
		calls.Inc(operation)
		return admit(ctx, operation)
	}
	for _, x := range []struct {
		name, aws string
		read      func(rate) float64
	}{{"api_bucket_size", "ProvisionedBucketSize", func(r rate) float64 { return r.size }}, {"api_refill_rate", "ProvisionedRefillRate", func(r rate) float64 { return r.refill }}} {
		r.Gauge(metricPrefix+x.name, "AWS/States "+x.aws+" of APIName, where calls are throttled.", []string{"api_name", "account", "region"}, func(set metrics.SetSeries) {
			s.buckets.each(func(of bucketOf, r rate) { set(x.read(r), of.operation, of.place.Account, of.place.Region) })
		})
	}

	place := []string{"account", "region"}
	gauge := func(name, aws string, read func(o engine.Opened) int64) {
		r.Gauge(metricPrefix+name, "AWS/States "+aws+".", place, func(set metrics.SetSeries) {
			for p, o := range s.cfg.Engine.Open() {
				set(float64(read(o)), p.Account, p.Region)
			}
		})
	}
	bound := func(name, aws string, most int64) {
		r.Gauge(metricPrefix+name, aws+".", nil, func(set metrics.SetSeries) {
			if most == 0 {
				set(math.Inf(1))
				return
			}
			set(float64(most))
		})
	}
	gauge("open_executions", "OpenExecutionCount", func(o engine.Opened) int64 { return o.Executions })
	bound("open_executions_limit", "AWS/States OpenExecutionLimit", s.limits().Executions)
	gauge("open_map_runs", "ApproximateOpenMapRunCount", func(o engine.Opened) int64 { return o.MapRuns })
	bound("open_map_runs_limit", "AWS/States OpenMapRunLimit", s.limits().MapRuns)
	gauge("map_run_backlog", "ApproximateMapRunBacklogSize: map runs that wait for others to end", func(o engine.Opened) int64 { return o.Waiting })

	for _, x := range []struct{ kind, name, aws string }{{versionKind, "versions", "VersionCount"}, {aliasKind, "aliases", "AliasCount"}} {
		r.Gauge(metricPrefix+x.name, "AWS/States "+x.aws+".", []string{"state_machine_arn"}, func(set metrics.SetSeries) {
			for of, n := range s.census.all() {
				if of.kind == x.kind {
					set(float64(n), arnOf(store.Key{Account: of.place.Account, Region: of.place.Region, ID: of.name}))
				}
			}
		})
	}
	for _, x := range []struct {
		kind, name, aws string
		most            int64
	}{{machineKind, "state_machines", "AWS/Usage StateMachineCount", s.limits().Machines}, {activityKind, "activities", "AWS/Usage ActivityCount", s.limits().Activities}} {
		r.Gauge(metricPrefix+x.name, x.aws+".", place, func(set metrics.SetSeries) {
			for of, n := range s.census.all() {
				if of.kind == x.kind {
					set(float64(n), of.place.Account, of.place.Region)
				}
			}
		})
		bound(x.name+"_limit", "The quota of "+x.aws, x.most)
	}
}

// Observe takes the committed facts of executions; it is engine.Config.Observe, and does not block.
func (m *Metrics) Observe(x *execution.Snapshot, facts []execution.Fact) {
	m.mu.Lock()
	defer m.mu.Unlock()
	arn := x.Identity.ARN
	of := []string{x.Identity.MachineARN, qualifier(x.Identity.VersionARN), qualifier(x.Identity.AliasARN)}
	entered := uint64(0)
	for _, f := range facts {
		if f.Event == nil {
			continue
		}
		if strings.HasSuffix(string(f.Event.Type), "StateEntered") {
			entered++
		}
		if c, ok := m.executions[f.Event.Type]; ok {
			c.Inc(of...)
			if f.Event.Type.Terminal() {
				m.ended(x, f.Event, of)
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
	if entered > 0 {
		m.transitions.Add(entered, of...)
	}
}

// qualifier is what an ARN of a version or an alias ends in.
func qualifier(arn string) string { return arn[strings.LastIndexByte(arn, ':')+1:] }

func (m *Metrics) ended(x *execution.Snapshot, e *history.Event, of []string) {
	took := e.At.Sub(x.Started)
	m.time.Observe(took, of...)
	if c, ok := m.redriven[e.Type]; ok && x.RedriveCount > 0 {
		c.Inc(of...)
	}
	if x.Identity.Express {
		memory, billed := expressMemory(m.definition(x.Identity.Digest), x.Input, x.Output)
		m.billed.Observe(billedDuration(took), of...)
		m.memory.Observe(memory, of...)
		m.billedMemory.Observe(billed, of...)
	}
}

// billedDuration is what of an Express execution's time AWS bills: steps of 100 ms.
func billedDuration(took time.Duration) time.Duration {
	const unit = 100 * time.Millisecond
	return max((took+unit-1)/unit, 1) * unit
}

// expressMemory is how many bytes an Express execution takes, and how many of them are billed. AWS's pricing page estimates 50 MB,
// the definition, and the data, and bills chunks of 64 MB.
func expressMemory(definition int, input, output jsonvalue.Value) (used, billed int64) {
	const base, chunk = 50 << 20, 64 << 20
	used = int64(base + definition + input.Size() + output.Size())
	return used, (used + chunk - 1) / chunk * chunk
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
			w.schedule.Observe(t.started.Sub(t.scheduled), value)
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
			w.run.Observe(ev.At.Sub(t.started), value)
		}
		if !t.scheduled.IsZero() {
			w.whole.Observe(ev.At.Sub(t.scheduled), value)
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
