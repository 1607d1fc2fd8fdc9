package states

import (
	"strconv"
	"testing"

	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
)

func TestRoute(t *testing.T) {
	for _, c := range []struct{ a, b, low, high int64 }{{100, 0, 10000, 10000}, {0, 100, 0, 0}, {70, 30, 6800, 7200}, {1, 99, 50, 160}} {
		routing := []api.RoutingConfigurationListItem{{StateMachineVersionArn: "a", Weight: c.a}, {StateMachineVersionArn: "b", Weight: c.b}}
		var n int64
		for seed := range 10000 {
			to := route(routing, strconv.Itoa(seed))
			if again := route(routing, strconv.Itoa(seed)); again != to {
				t.Fatalf("seed %d leads to %s and to %s", seed, to, again)
			}
			if to == "a" {
				n++
			}
		}
		if n < c.low || n > c.high {
			t.Errorf("weights %d and %d: %d of 10000 to the first", c.a, c.b, n)
		}
	}
}
