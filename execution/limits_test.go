package execution

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
		"none":             `"none" is no limit`,
		"payload":          "history, inline-concurrency, intrinsic-text, payload, variable, variables",
		"aws,relaxed":      `"relaxed" is no limit`,
		"size=1":           `"size=1" is no limit`,
		"payload=1":        "from 1024 on",
		"payload=-1MiB":    "from 1024 on",
		"payload=many":     `"payload=many"`,
		"payload=9999TiB":  "1MiB",
		"payload=99999GiB": "1MiB",
		"history=1":        "from 2 on",
	} {
		if _, err := ParseLimits(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
