package execution

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/asl"
)

// Limits are AWS's quotas on executions and on what belongs to them (docs/limits.md). The zero value of a field means no limit.
type Limits struct {
	Data asl.Limits

	Events          int64         // of a Standard execution's history
	ExpressEvents   int64         // AWS: none; it bounds memory
	Duration        time.Duration // of a Standard execution, as a whole
	ExpressDuration time.Duration
	HTTPDuration    time.Duration // of an HTTP task's call
	TestDuration    time.Duration // of a TestState
	RedriveWindow   time.Duration // after the end

	InlineConcurrency int   // iterations of an inline Map at once
	MapConcurrency    int64 // children of a map run at once
	MapRuns           int64 // open at once in an account and Region; more wait
	MapRedrives       int64 // of one map run
	MapItems          int64 // of one map run
	MapFile           int64 // bytes of a file that items are read from, also when it is decompressed
	Executions        int64 // Standard ones open at once in an account and Region; no children of map runs

	Definition int   // bytes
	Machines   int64 // in an account and Region
	Activities int64 // in an account and Region
	Versions   int   // of a state machine
	Aliases    int   // of a state machine
	Tags       int   // of a state machine or an activity
	Pollers    int   // workers that wait for one activity at once
	APIRates   int   // percent of AWS's rates of API calls; AWS: 100, but here calls are throttled only where it is asked for
}

const day = 24 * time.Hour

// DefaultLimits are AWS's.
var DefaultLimits = Limits{
	Data:   asl.DefaultLimits,
	Events: 25000, ExpressEvents: 1_000_000, Duration: 365 * day, ExpressDuration: 5 * time.Minute, HTTPDuration: time.Minute, TestDuration: 5 * time.Minute, RedriveWindow: 14 * day,
	InlineConcurrency: 40, MapConcurrency: 10_000, MapRuns: 1000, MapRedrives: 1000, MapItems: 100_000_000, MapFile: 10 << 30, Executions: 1_000_000,
	Definition: 1 << 20, Machines: 100_000, Activities: 100_000, Versions: 1000, Aliases: 100, Tags: 50, Pollers: 1000,
}

// RelaxedLimits let pass what AWS would end or refuse. What AWS only makes wait is as there: how many iterations, children
// and map runs go on at once. Data are bounded still: 64 MiB where AWS has 256 KiB.
var RelaxedLimits = Limits{
	Data:              asl.Limits{Payload: 64 << 20, Variable: 64 << 20, Variables: 256 << 20, IntrinsicString: 64 << 20},
	InlineConcurrency: DefaultLimits.InlineConcurrency, MapConcurrency: DefaultLimits.MapConcurrency, MapRuns: DefaultLimits.MapRuns,
	ExpressEvents: DefaultLimits.ExpressEvents, TestDuration: time.Hour, HTTPDuration: time.Hour,
	Definition: 16 << 20,
}

// A limit is one by the name that ParseLimits knows. The smallest value lets an execution still end.
type limit struct {
	least int64             // bytes, a number, or nanoseconds
	of    func(*Limits) any // *int, *int64 or *time.Duration
	bytes bool              // there must be one: bytes come from outside
}

var limits = map[string]limit{
	"payload":            {1 << 10, func(l *Limits) any { return &l.Data.Payload }, true},
	"variable":           {1 << 10, func(l *Limits) any { return &l.Data.Variable }, true},
	"variables":          {1 << 10, func(l *Limits) any { return &l.Data.Variables }, true},
	"intrinsic-text":     {1, func(l *Limits) any { return &l.Data.IntrinsicString }, true},
	"expression-depth":   {10, func(l *Limits) any { return &l.Data.Expression.Depth }, true},
	"expression-value":   {1 << 10, func(l *Limits) any { return &l.Data.Expression.Value }, true},
	"expression-bytes":   {1 << 10, func(l *Limits) any { return &l.Data.Expression.Bytes }, true},
	"expression-steps":   {1000, func(l *Limits) any { return &l.Data.Expression.Steps }, true},
	"history":            {2, func(l *Limits) any { return &l.Events }, false},
	"express-history":    {2, func(l *Limits) any { return &l.ExpressEvents }, false},
	"duration":           {int64(time.Second), func(l *Limits) any { return &l.Duration }, false},
	"express-duration":   {int64(time.Second), func(l *Limits) any { return &l.ExpressDuration }, false},
	"http-duration":      {int64(time.Second), func(l *Limits) any { return &l.HTTPDuration }, false},
	"test-duration":      {int64(time.Second), func(l *Limits) any { return &l.TestDuration }, false},
	"redrive-window":     {int64(time.Second), func(l *Limits) any { return &l.RedriveWindow }, false},
	"inline-concurrency": {1, func(l *Limits) any { return &l.InlineConcurrency }, false},
	"map-concurrency":    {1, func(l *Limits) any { return &l.MapConcurrency }, false},
	"map-runs":           {1, func(l *Limits) any { return &l.MapRuns }, false},
	"map-redrives":       {1, func(l *Limits) any { return &l.MapRedrives }, false},
	"map-items":          {1, func(l *Limits) any { return &l.MapItems }, false},
	"map-file":           {1 << 10, func(l *Limits) any { return &l.MapFile }, false},
	"executions":         {1, func(l *Limits) any { return &l.Executions }, false},
	"definition":         {1 << 10, func(l *Limits) any { return &l.Definition }, true},
	"machines":           {1, func(l *Limits) any { return &l.Machines }, false},
	"activities":         {1, func(l *Limits) any { return &l.Activities }, false},
	"versions":           {1, func(l *Limits) any { return &l.Versions }, false},
	"aliases":            {1, func(l *Limits) any { return &l.Aliases }, false},
	"tags":               {1, func(l *Limits) any { return &l.Tags }, false},
	"api-rates":          {1, func(l *Limits) any { return &l.APIRates }, false},
	"pollers":            {1, func(l *Limits) any { return &l.Pollers }, false},
}

// events is how many a history may have; 0: any number.
func (l *Limits) events(express bool) int64 {
	if express {
		return l.ExpressEvents
	}
	return l.Events
}

// LimitNames are the names that ParseLimits knows, sorted.
func LimitNames() []string { return slices.Sorted(maps.Keys(limits)) }

// ParseLimits reads limits as people set them: "aws" or "relaxed", and single ones after it, with commas between:
// "payload=1MiB,history=50000" changes AWS's, "relaxed,history=25000" the relaxed ones. Values are numbers, bytes with KiB, MiB or
// GiB, times such as 90s, 12h or 14d, and none.
func ParseLimits(text string) (Limits, error) {
	l := DefaultLimits
	for i, part := range strings.Split(text, ",") {
		name, value, single := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case !single && i == 0 && (name == "aws" || name == ""):
			continue
		case !single && i == 0 && name == "relaxed":
			l = RelaxedLimits
			continue
		}
		x, known := limits[name]
		if !known || !single {
			return l, fmt.Errorf("%q is no limit: say aws or relaxed, then name=value of %s", part, strings.Join(LimitNames(), ", "))
		}
		if err := x.set(&l, value); err != nil {
			return l, fmt.Errorf("%q: %w", part, err)
		}
	}
	return l, nil
}

func (x limit) set(l *Limits, text string) error {
	to, timed := x.of(l).(*time.Duration)
	var n int64
	var err error
	switch {
	case text == "none" && !x.bytes:
	case timed:
		n, err = parseTime(text)
		if err != nil || n < x.least {
			return fmt.Errorf("the value must be a time from %s on, such as 90s, 12h or 14d, or none", time.Duration(x.least))
		}
		*to = time.Duration(n)
		return nil
	default:
		if n, err = parseSize(text); err != nil || n < x.least {
			or := ", or none"
			if x.bytes {
				or = ", or a size such as 512KiB or 1MiB"
			}
			return fmt.Errorf("the value must be a number from %d on%s", x.least, or)
		}
	}
	switch to := x.of(l).(type) {
	case *int:
		*to = int(n)
	case *int64:
		*to = n
	case *time.Duration:
		*to = time.Duration(n)
	}
	return nil
}

// parseSize reads a count or a size, up to 1 TiB.
func parseSize(text string) (int64, error) {
	unit := int64(1)
	for name, bytes := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if number, ok := strings.CutSuffix(text, name); ok {
			text, unit = number, bytes
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil && n > 1<<40/unit {
		err = strconv.ErrRange
	}
	return n * unit, err
}

// parseTime reads a time, with d for days, up to a hundred years.
func parseTime(text string) (int64, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 64)
		if err == nil && n > 36500 {
			err = strconv.ErrRange
		}
		return n * int64(day), err
	}
	d, err := time.ParseDuration(text)
	return int64(d), err
}
