package execution

import (
	orelse "cmp"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/asl/jsonata"
)

func TestParseLimits(t *testing.T) {
	with := func(l Limits, change func(*Limits)) Limits { change(&l); return l }
	for text, want := range map[string]Limits{
		"":                    DefaultLimits,
		"aws":                 DefaultLimits,
		"relaxed":             RelaxedLimits,
		"payload=1MiB":        with(DefaultLimits, func(l *Limits) { l.Data.Payload = 1 << 20 }),
		"aws, variables=2GiB": with(DefaultLimits, func(l *Limits) { l.Data.Variables = 2 << 30 }),
		"relaxed,history=25000,inline-concurrency=4": with(RelaxedLimits, func(l *Limits) { l.Events, l.InlineConcurrency = 25000, 4 }),
		"variable=512KiB,intrinsic-text=100000":      with(DefaultLimits, func(l *Limits) { l.Data.Variable, l.Data.IntrinsicString = 512<<10, 100000 }),
		"duration=400d,express-duration=1h30m":       with(DefaultLimits, func(l *Limits) { l.Duration, l.ExpressDuration = 400*day, 90*time.Minute }),
		"redrive-window=none,tags=none,map-runs=7":   with(DefaultLimits, func(l *Limits) { l.RedriveWindow, l.Tags, l.MapRuns = 0, 0, 7 }),
	} {
		got, err := ParseLimits(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
	for text, want := range map[string]string{
		"none":               `"none" is no limit`,
		"payload":            strings.Join(LimitNames(), ", "),
		"aws,relaxed":        `"relaxed" is no limit`,
		"size=1":             `"size=1" is no limit`,
		"payload=1":          "from 1024 on",
		"payload=-1MiB":      "from 1024 on",
		"payload=many":       `"payload=many"`,
		"payload=none":       "or a size such as 512KiB",
		"payload=9999TiB":    "1MiB",
		"payload=99999GiB":   "1MiB",
		"history=1":          "from 2 on, or none",
		"duration=100":       "such as 90s, 12h or 14d",
		"duration=1ms":       "from 1s on",
		"duration=99999999d": "such as 90s",
		"duration=-3d":       "from 1s on",
	} {
		if _, err := ParseLimits(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestLimitNames: each field has a name of its own, and each name changes it.
func TestLimitNames(t *testing.T) {
	all := DefaultLimits
	for _, name := range LimitNames() {
		text := "77777"
		if _, timed := limits[name].of(&all).(*time.Duration); timed {
			text = "77777s"
		}
		before := all
		if err := limits[name].set(&all, text); err != nil || all == before {
			t.Errorf("%s=%s: %v, changes %v", name, text, err, all != before)
		}
	}
	const s = 77777 * time.Second
	want := Limits{Events: 77777, ExpressEvents: 77777, Duration: s, ExpressDuration: s, HTTPDuration: s, TestDuration: s, RedriveWindow: s, InlineConcurrency: 77777, MapConcurrency: 77777,
		MapRuns: 77777, MapRedrives: 77777, MapItems: 77777, MapFile: 77777, Executions: 77777, Definition: 77777, Machines: 77777, Activities: 77777, Versions: 77777, Aliases: 77777, Tags: 77777, Pollers: 77777, APIRates: 77777,
		Data: asl.Limits{Payload: 77777, Variable: 77777, Variables: 77777, IntrinsicString: 77777}}
	want.Data.Expression.Steps, want.Data.Expression.Depth, want.Data.Expression.Bytes, want.Data.Expression.Value = 77777, 77777, 77777, 77777
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
}

// TestLimitsInDocs: docs/limits.md lists every limit with its values.
func TestLimitsInDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	aws, relaxed := Limits{}, Limits{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		name, isLimit := strings.CutPrefix(cells[0], "| `")
		if name = strings.TrimSuffix(name, "`"); !isLimit || len(cells) != 5 {
			continue
		}
		names = append(names, name)
		for i, l := range []*Limits{&aws, &relaxed} {
			if err := limits[name].set(l, cells[i+1]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff(LimitNames(), names); diff != "" {
		t.Fatal(diff)
	}
	for _, c := range []struct{ inDocs, inCode Limits }{{aws, DefaultLimits}, {relaxed, RelaxedLimits}} {
		own, x := jsonata.DefaultLimits, &c.inCode.Data.Expression // zero: the package's own
		x.Steps, x.Depth, x.Bytes, x.Value = orelse.Or(x.Steps, own.Steps), orelse.Or(x.Depth, own.Depth), orelse.Or(x.Bytes, own.Bytes), orelse.Or(x.Value, int(own.Bytes))
		if diff := cmp.Diff(c.inCode, c.inDocs); diff != "" {
			t.Error(diff)
		}
	}
}
