package states_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/metrics"
	"github.com/mayfly-run/mayfly/internal/metrics/metricstest"
)

// TestRates: buckets by operation, account and Region, which fill again; what the engine does for an execution takes nothing.
func TestRates(t *testing.T) {
	withLimits(t, "api-rates=10", func(t *testing.T, s *server) {
		var r metrics.Registry
		calls := s.API()
		s.Measure(&r, calls)
		in := func(p identity.Principal) context.Context { return identity.With(t.Context(), p) }
		here := in(identity.Principal{Account: "1", Region: "us-east-1"})
		call := func(ctx context.Context, operation string, doc map[string]any, times int) (refused int) {
			t.Helper()
			for range times {
				switch _, err := calls.Invoke(ctx, operation, doc); {
				case err == nil:
				case !strings.HasPrefix(err.Error(), "ThrottlingException: Rate exceeded"):
					t.Fatal(err)
				default:
					refused++
				}
			}
			return refused
		}
		list := func(ctx context.Context, times int) int {
			return call(ctx, "ListStateMachines", map[string]any{}, times)
		}
		if n := list(here, 12); n != 2 { // AWS: 100, and 5 a second
			t.Errorf("%d of 12 refused", n)
		}
		if n := list(in(identity.Principal{Account: "2", Region: "us-east-1"}), 10); n != 0 {
			t.Errorf("another account: %d refused", n)
		}
		time.Sleep(4 * time.Second)
		if n := list(here, 4); n != 2 {
			t.Errorf("after 4 seconds: %d of 4 refused", n)
		}
		if n := list(in(identity.Principal{Kind: identity.Execution, Account: "1", Region: "us-east-1"}), 20); n != 0 {
			t.Errorf("the engine's own: %d refused", n)
		}

		create := func(name, kind string) map[string]any {
			out, err := calls.Invoke(here, "CreateStateMachine", map[string]any{"name": name, "definition": pass, "roleArn": role, "type": kind})
			if err != nil {
				t.Fatal(err)
			}
			return map[string]any{"stateMachineArn": out["stateMachineArn"]}
		}
		if n := call(here, "StartExecution", create("s", "STANDARD"), 140); n != 10 {
			t.Errorf("%d of 140 starts refused", n)
		}
		e := create("e", "EXPRESS")
		if n := call(here, "StartExecution", e, 601); n != 1 {
			t.Errorf("%d of 601 starts of Express executions refused", n)
		}
		if n := call(here, "StartSyncExecution", e, 700); n != 0 {
			t.Errorf("%d synchronous ones refused", n)
		}

		var b strings.Builder
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		f, err := metricstest.Parse(b.String())
		if err != nil {
			t.Fatal(err)
		}
		for series, want := range map[string]float64{`api_requests_total{api_name="ListStateMachines"}`: 46, `api_throttled_total{api_name="ListStateMachines"}`: 4, `api_throttled_total{api_name="StartExecution"}`: 10,
			`api_bucket_size{api_name="ListStateMachines",account="1",region="us-east-1"}`: 10, `api_refill_rate{api_name="ListStateMachines",account="1",region="us-east-1"}`: .5} {
			name, _, _ := strings.Cut("mayfly_states_"+series, "{")
			if got := f[name].Series["mayfly_states_"+series]; got != want {
				t.Errorf("%s %g, not %g", series, got, want)
			}
		}
	})
	test(t, func(t *testing.T, s *server) { // not throttled by default
		calls := s.API()
		for range 1000 {
			if _, err := calls.Invoke(t.Context(), "DescribeActivity", map[string]any{"activityArn": prefix + "activity:a"}); err == nil || strings.HasPrefix(err.Error(), "Throttling") {
				t.Fatal(err)
			}
		}
	})
}
