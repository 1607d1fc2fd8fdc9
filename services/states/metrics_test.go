package states_test

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/internal/metrics"
	"github.com/mayfly-run/mayfly/internal/metrics/metricstest"
	"github.com/mayfly-run/mayfly/services/states"
)

func TestMetrics(t *testing.T) {
	var r metrics.Registry
	m := states.NewMetrics(&r, func(digest string) int { return len(digest) << 20 })
	x := &execution.Snapshot{Identity: execution.Identity{ARN: "x", MachineARN: "m"}, Started: time.Unix(100, 0)}
	at := func(seconds int64, typ history.Type, n *execution.Note, d history.Details) execution.Fact {
		return execution.Fact{Event: &history.Event{Type: typ, At: time.Unix(100+seconds, 0), Details: d}, Note: n}
	}
	issued := func(id execution.TaskID, resource string) *execution.Note {
		return &execution.Note{Issued: &execution.Issued{Task: id, Resource: resource}}
	}
	clocked := func(id execution.TaskID, deadline, beat int64) *execution.Note {
		c := &execution.Clocked{Task: id}
		if deadline > 0 {
			c.Deadline = time.Unix(100+deadline, 0)
		}
		if beat > 0 {
			c.BeatBy = time.Unix(100+beat, 0)
		}
		return &execution.Note{Clocked: c}
	}
	done := func(id execution.TaskID) *execution.Note {
		return &execution.Note{Completed: &execution.Completed{Task: id}}
	}
	const queue, function, activity = "arn:aws:states:::sqs:sendMessage", "arn:aws:lambda:::function:f", "arn:aws:states:::activity:a"
	m.Observe(x, []execution.Fact{at(0, history.ExecutionStarted, nil, nil), at(0, history.TaskStateEntered, nil, nil),
		at(0, history.TaskScheduled, issued(1, queue), nil), at(0, history.TaskStarted, clocked(1, 0, 0), nil)})
	m.Observe(x, []execution.Fact{at(2, history.TaskSucceeded, done(1), nil), at(2, history.LambdaFunctionScheduled, issued(2, function), nil),
		at(2, history.LambdaFunctionStarted, clocked(2, 0, 0), nil), at(3, history.LambdaFunctionFailed, done(2), nil)})
	// An activity that waits 4 s for a worker and misses a heartbeat, and one that misses its deadline.
	m.Observe(x, []execution.Fact{at(3, history.ActivityScheduled, issued(3, activity), nil), at(7, history.ActivityStarted, clocked(3, 60, 20), nil),
		at(20, history.ActivityTimedOut, done(3), nil), at(20, history.ActivityScheduled, issued(4, activity), nil), at(20, history.ActivityStarted, clocked(4, 60, 70), nil),
		at(60, history.ActivityTimedOut, done(4), nil)})
	// A job that began before this server.
	m.Observe(x, []execution.Fact{at(61, history.TaskFailed, done(9), &history.TaskFailure{Resource: history.Resource{ResourceType: "elasticmapreduce", Resource: "addStep.sync"}}),
		at(90, history.ExecutionFailed, nil, nil)})
	x.Identity.MachineARN, x.Identity.VersionARN, x.Identity.AliasARN = "n", "arn:n:2", "arn:n:prod"
	m.Observe(x, []execution.Fact{at(0, history.ExecutionStarted, nil, nil), at(1, history.ExecutionTimedOut, nil, nil), at(2, history.ExecutionRedriven, nil, nil)})
	x.RedriveCount = 1
	m.Observe(x, []execution.Fact{at(3, history.ExecutionAborted, nil, nil)})
	m.Observe(&execution.Snapshot{Identity: execution.Identity{ARN: "y", MachineARN: "e", Express: true, Digest: "fifteen megabyt"}, Started: time.Unix(100, 0), Input: jsonvalue.Str("xx"), Output: jsonvalue.Int(7)},
		[]execution.Fact{at(0, history.ExecutionStarted, nil, nil), at(0, history.PassStateEntered, nil, nil), at(0, history.PassStateEntered, nil, nil), at(1, history.ExecutionSucceeded, nil, nil)})

	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := metricstest.Parse(b.String()); err != nil {
		t.Error(err)
	}
	var got []string
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "_bucket") {
			got = append(got, strings.TrimPrefix(strings.TrimSpace(line), "mayfly_states_"))
		}
	}
	want := fmt.Sprintf(`executions_started_total{state_machine_arn="e",version="",alias=""} 1
executions_started_total{state_machine_arn="m",version="",alias=""} 1
executions_started_total{state_machine_arn="n",version="2",alias="prod"} 1
executions_succeeded_total{state_machine_arn="e",version="",alias=""} 1
executions_failed_total{state_machine_arn="m",version="",alias=""} 1
executions_aborted_total{state_machine_arn="n",version="2",alias="prod"} 1
redriven_executions_aborted_total{state_machine_arn="n",version="2",alias="prod"} 1
executions_timed_out_total{state_machine_arn="n",version="2",alias="prod"} 1
executions_redriven_total{state_machine_arn="n",version="2",alias="prod"} 1
state_transitions_total{state_machine_arn="e",version="",alias=""} 2
state_transitions_total{state_machine_arn="m",version="",alias=""} 1
execution_time_seconds_sum{state_machine_arn="e",version="",alias=""} 1
execution_time_seconds_count{state_machine_arn="e",version="",alias=""} 1
execution_time_seconds_sum{state_machine_arn="m",version="",alias=""} 90
execution_time_seconds_count{state_machine_arn="m",version="",alias=""} 1
execution_time_seconds_sum{state_machine_arn="n",version="2",alias="prod"} 4
execution_time_seconds_count{state_machine_arn="n",version="2",alias="prod"} 2
express_execution_billed_duration_seconds_sum{state_machine_arn="e",version="",alias=""} 1
express_execution_billed_duration_seconds_count{state_machine_arn="e",version="",alias=""} 1
express_execution_memory_bytes_sum{state_machine_arn="e",version="",alias=""} 6.8157445e+07
express_execution_memory_bytes_count{state_machine_arn="e",version="",alias=""} 1
express_execution_billed_memory_bytes_sum{state_machine_arn="e",version="",alias=""} 1.34217728e+08
express_execution_billed_memory_bytes_count{state_machine_arn="e",version="",alias=""} 1
activity_scheduled_total{activity_arn="%[1]s"} 2
activity_started_total{activity_arn="%[1]s"} 2
activity_timed_out_total{activity_arn="%[1]s"} 1
activity_heartbeat_timed_out_total{activity_arn="%[1]s"} 1
activity_schedule_time_seconds_sum{activity_arn="%[1]s"} 4
activity_schedule_time_seconds_count{activity_arn="%[1]s"} 2
activity_run_time_seconds_sum{activity_arn="%[1]s"} 53
activity_run_time_seconds_count{activity_arn="%[1]s"} 2
activity_time_seconds_sum{activity_arn="%[1]s"} 57
activity_time_seconds_count{activity_arn="%[1]s"} 2
lambda_function_scheduled_total{lambda_function_arn="%[2]s"} 1
lambda_function_started_total{lambda_function_arn="%[2]s"} 1
lambda_function_failed_total{lambda_function_arn="%[2]s"} 1
lambda_function_schedule_time_seconds_sum{lambda_function_arn="%[2]s"} 0
lambda_function_schedule_time_seconds_count{lambda_function_arn="%[2]s"} 1
lambda_function_run_time_seconds_sum{lambda_function_arn="%[2]s"} 1
lambda_function_run_time_seconds_count{lambda_function_arn="%[2]s"} 1
lambda_function_time_seconds_sum{lambda_function_arn="%[2]s"} 1
lambda_function_time_seconds_count{lambda_function_arn="%[2]s"} 1
service_integration_scheduled_total{service_integration_resource_arn="%[3]s"} 1
service_integration_started_total{service_integration_resource_arn="%[3]s"} 1
service_integration_succeeded_total{service_integration_resource_arn="%[3]s"} 1
service_integration_failed_total{service_integration_resource_arn="arn:aws:states:::elasticmapreduce:addStep.sync"} 1
service_integration_schedule_time_seconds_sum{service_integration_resource_arn="%[3]s"} 0
service_integration_schedule_time_seconds_count{service_integration_resource_arn="%[3]s"} 1
service_integration_run_time_seconds_sum{service_integration_resource_arn="%[3]s"} 2
service_integration_run_time_seconds_count{service_integration_resource_arn="%[3]s"} 1
service_integration_time_seconds_sum{service_integration_resource_arn="%[3]s"} 2
service_integration_time_seconds_count{service_integration_resource_arn="%[3]s"} 1`, activity, function, queue)
	if g := strings.Join(got, "\n"); g != want {
		t.Errorf("got\n%s", g)
	}
}

// TestGauges: what there is, and how much there may be, is read anew each time.
func TestGauges(t *testing.T) {
	withLimits(t, "map-runs=1,executions=none,machines=7", func(t *testing.T, s *server) {
		ctx := t.Context()
		var r metrics.Registry
		calls := s.API()
		s.Measure(&r, calls)
		scrape := func(want map[string]float64) {
			t.Helper()
			var b strings.Builder
			if err := r.Write(&b); err != nil {
				t.Fatal(err)
			}
			families, err := metricstest.Parse(b.String())
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]float64{}
			for _, f := range families {
				for name, v := range f.Series {
					got[strings.NewReplacer("mayfly_states_", "", `{account="000000000000",region="us-east-1"}`, "").Replace(name)] = v
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
		limits := map[string]float64{"open_executions_limit": math.Inf(1), "open_map_runs_limit": 1, "state_machines_limit": 7, "activities_limit": 100_000}
		with := func(more map[string]float64) map[string]float64 {
			all := maps.Clone(limits)
			maps.Copy(all, more)
			return all
		}
		scrape(limits)

		m := s.create(t, "m", mapped, "STANDARD")
		v := must(s.PublishStateMachineVersion(ctx, &api.PublishStateMachineVersionInput{StateMachineArn: m}))(t).StateMachineVersionArn
		for _, name := range []string{"a", "b"} {
			must(s.CreateStateMachineAlias(ctx, &api.CreateStateMachineAliasInput{Name: name, RoutingConfiguration: []api.RoutingConfigurationListItem{{StateMachineVersionArn: v, Weight: 100}}}))(t)
			must(s.StartExecution(ctx, &api.StartExecutionInput{StateMachineArn: m, Name: &name, Input: awsapi.Ptr("[1]")}))(t)
			synctest.Wait()
		}
		must(s.CreateActivity(ctx, &api.CreateActivityInput{Name: "a"}))(t)
		if _, err := calls.Invoke(ctx, "ListActivities", map[string]any{}); err != nil {
			t.Fatal(err)
		}
		of := `{state_machine_arn="` + m + `"}`
		scrape(with(map[string]float64{"state_machines": 1, "activities": 1, "versions" + of: 1, "aliases" + of: 2, "open_executions": 2, "open_map_runs": 1, "map_run_backlog": 1,
			`api_requests_total{api_name="ListActivities"}`: 1}))

		for range 2 {
			must(s.SendTaskSuccess(ctx, &api.SendTaskSuccessInput{TaskToken: <-s.echo.tokens, Output: "1"}))(t)
			synctest.Wait()
		}
		must(s.DeleteStateMachineAlias(ctx, &api.DeleteStateMachineAliasInput{StateMachineAliasArn: m + ":b"}))(t)
		must(s.DeleteActivity(ctx, &api.DeleteActivityInput{ActivityArn: prefix + "activity:a"}))(t)
		scrape(with(map[string]float64{"state_machines": 1, "versions" + of: 1, "aliases" + of: 1, "open_executions": 0, "open_map_runs": 0, "map_run_backlog": 0,
			`api_requests_total{api_name="ListActivities"}`: 1}))
	})
}
