package execution

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/asl"
)

// Limits are AWS's quotas; the zero value of a field means no limit.
type Limits struct {
	Events            int64 // of a history (25000)
	InlineConcurrency int   // iterations of an inline Map at once (40); 0: 40
	Data              asl.Limits
}

// DefaultLimits are AWS's.
var DefaultLimits = Limits{Events: 25000, InlineConcurrency: 40, Data: asl.DefaultLimits}

// RelaxedLimits let pass what AWS would not: histories of any length, and 64 MiB where AWS has 256 KiB. The arguments of
// intrinsic functions stay as AWS has them, which no history tells.
var RelaxedLimits = Limits{InlineConcurrency: 40, Data: asl.Limits{Payload: 64 << 20, Variable: 64 << 20, Variables: 256 << 20, IntrinsicString: asl.DefaultLimits.IntrinsicString}}

// limits are the single ones by the names that ParseLimits knows. The smallest value keeps an execution able to end.
var limits = map[string]struct {
	least int64
	set   func(*Limits, int64)
}{
	"history":            {2, func(l *Limits, n int64) { l.Events = n }},
	"inline-concurrency": {1, func(l *Limits, n int64) { l.InlineConcurrency = int(n) }},
	"payload":            {1 << 10, func(l *Limits, n int64) { l.Data.Payload = int(n) }},
	"variable":           {1 << 10, func(l *Limits, n int64) { l.Data.Variable = int(n) }},
	"variables":          {1 << 10, func(l *Limits, n int64) { l.Data.Variables = int(n) }},
	"intrinsic-text":     {1, func(l *Limits, n int64) { l.Data.IntrinsicString = int(n) }},
}

// ParseLimits reads limits as people set them: "aws" or "relaxed", and single ones after it, with commas between:
// "payload=1MiB,history=50000" changes AWS's, "relaxed,history=25000" the relaxed ones. Sizes are bytes, KiB, MiB or GiB.
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
		limit, known := limits[name]
		if !known || !single {
			return l, fmt.Errorf("%q is no limit: say aws or relaxed, then name=value of %s", part, strings.Join(slices.Sorted(maps.Keys(limits)), ", "))
		}
		n, err := parseSize(value)
		if err != nil || n < limit.least {
			return l, fmt.Errorf("%q: the value must be a number from %d on, or a size such as 512KiB or 1MiB", part, limit.least)
		}
		limit.set(&l, n)
	}
	return l, nil
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
