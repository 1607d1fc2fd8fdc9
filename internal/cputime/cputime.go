// Package cputime reports the CPU time of benchmarks, which other work on the machine changes less than their duration.
package cputime

import (
	"syscall"
	"testing"
)

// Report begins to measure, and the func that it returns reports what this process has used since for one of each·b.N
// units, as cpu-ns/unit: client, engine, store and the collector's work together.
func Report(b *testing.B, unit string, each int) func() {
	before := used(b)
	return func() { b.ReportMetric(float64(used(b)-before)/float64(each*b.N), "cpu-ns/"+unit) }
}

func used(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
