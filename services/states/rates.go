package states

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/identity"
)

// rate is a token bucket: how many calls fit, and how many more each second.
type rate struct{ size, refill float64 }

// AWS: Developer guide, "Quotas related to API action throttling": in its three large Regions and in the others.
var (
	largeRegions = []string{"us-east-1", "us-west-2", "eu-west-1"}
	rates        = map[string][2]rate{
		"StartExecution": {{1300, 300}, {800, 150}}, "RedriveExecution": {{1300, 300}, {800, 150}}, "StopExecution": {{1000, 200}, {500, 25}},
		"DescribeExecution": {{300, 15}, {250, 10}}, "GetExecutionHistory": {{400, 20}, {400, 20}}, "ListExecutions": {{200, 5}, {100, 2}},
		"GetActivityTask": {{3000, 500}, {1500, 300}}, "SendTaskSuccess": {{3000, 500}, {1500, 300}}, "SendTaskFailure": {{3000, 500}, {1500, 300}},
		"SendTaskHeartbeat": {{3000, 500}, {1500, 300}}, "DescribeStateMachine": {{200, 20}, {200, 20}}, "ListStateMachines": {{100, 5}, {100, 5}},
		"ListActivities": {{100, 10}, {100, 5}}, "TestState": {{50, 10}, {50, 10}}, "DescribeActivity": {{200, 1}, {200, 1}}, "DescribeMapRun": {{200, 1}, {200, 1}},
		"DescribeStateMachineAlias": {{200, 1}, {200, 1}}, "DescribeStateMachineForExecution": {{200, 1}, {200, 1}}, "TagResource": {{200, 1}, {200, 1}}, "UntagResource": {{200, 1}, {200, 1}},
	}
	otherRate   = rate{100, 1}
	expressRate = rate{6000, 6000}
)

const (
	startSync    = "StartSyncExecution" // AWS: as many as there is capacity for
	startExpress = "StartExecution (EXPRESS)"
)

// rateOf is the rate of calls of an operation in a Region; ok is false when there is none.
func rateOf(operation, region string) (r rate, ok bool) {
	switch in, listed := rates[operation]; {
	case operation == startSync:
		return r, false
	case operation == startExpress:
		return expressRate, true
	case !listed:
		return otherRate, true
	case slices.Contains(largeRegions, region):
		return in[0], true
	default:
		return in[1], true
	}
}

// buckets hold what calls may still be made.
type buckets struct {
	mu  sync.Mutex
	all map[bucketOf]*bucket
}

type bucketOf struct {
	operation string
	place     engine.Place
}

type bucket struct {
	rate
	left float64
	at   time.Time // of left
}

// take reports whether one more call may be made now.
func (b *buckets) take(of bucketOf, r rate, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = map[bucketOf]*bucket{}
	}
	x := b.all[of]
	if x == nil {
		x = &bucket{rate: r, left: r.size, at: now}
		b.all[of] = x
	}
	if passed := now.Sub(x.at); passed > 0 {
		x.left, x.at = min(x.size, x.left+passed.Seconds()*x.refill), now
	}
	if x.left < 1 {
		return false
	}
	x.left--
	return true
}

// each tells of the buckets that were used.
func (b *buckets) each(f func(of bucketOf, r rate)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for of, x := range b.all {
		f(of, x.rate)
	}
}

// throttle refuses a call when there are too many, where the limits want that. What the engine does itself for an execution,
// such as to look whether a job has ended, is no call on AWS either, but for a start.
func (s *Service) throttle(ctx context.Context, operation string) error {
	percent, p := s.limits().APIRates, who(ctx)
	start := operation == "StartExecution" || operation == startExpress
	r, ok := rateOf(operation, p.Region)
	if percent == 0 || !ok || p.Kind == identity.Execution && !start {
		return nil
	}
	r = rate{max(1, r.size*float64(percent)/100), r.refill * float64(percent) / 100}
	if s.buckets.take(bucketOf{operation, engine.Place{Account: p.Account, Region: p.Region}}, r, s.cfg.Clock.Now()) {
		return nil
	}
	if s.throttled != nil {
		s.throttled(operation)
	}
	return awsapi.Errorf(400, "ThrottlingException", "Rate exceeded")
}
