package engine_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/cputime"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/store/memory"
	"github.com/mayfly-run/mayfly/store/sqlite"
)

// BenchmarkThreePass starts executions of three Pass states with an input of 1 KB, in process and durably: the start is
// answered when the execution has ended and its record is on the disk.
func BenchmarkThreePass(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			st, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "mayfly.db"))
			if err != nil {
				b.Fatal(err)
			}
			defer st.Close()
			loop := durable.New(durable.Config{Store: st})
			e, err := engine.New(b.Context(), engine.Config{Store: st, Loop: loop, Integrations: &fake{}})
			if err != nil {
				b.Fatal(err)
			}
			if err := loop.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			defer loop.Stop()
			defer e.Stop()
			input := jsonvalue.MustParse(`{"text":"` + strings.Repeat("x", 1000) + `"}`)
			var n atomic.Int64
			b.ReportAllocs()
			defer cputime.Report(b, "op", 1)()
			b.SetParallelism(max(1, callers/2))
			one := func() {
				name := fmt.Sprint(n.Add(1))
				x := engine.Execution{Identity: execution.Identity{ARN: arn(name), Name: name, MachineARN: machine, MachineName: "M"}, Definition: []byte(threePass), Input: input}
				if _, err := e.CreateExecution(b.Context(), x); err != nil {
					b.Error(err)
				}
			}
			if callers == 1 {
				for b.Loop() {
					one()
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					one()
				}
			})
		})
	}
}

var items = flag.Int("items", 20_000, "items of BenchmarkMapRun")

// BenchmarkMapRun runs distributed Maps with children of one Pass state, on the disk. A large one: -benchtime 1x -items 1000000.
func BenchmarkMapRun(b *testing.B) {
	for _, child := range []string{"EXPRESS", "STANDARD"} {
		b.Run(child, func(b *testing.B) {
			st, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "mayfly.db"))
			if err != nil {
				b.Fatal(err)
			}
			defer st.Close()
			loop := durable.New(durable.Config{Store: st})
			express := durable.New(durable.Config{Store: memory.NewForgetting()})
			limits := execution.DefaultLimits
			limits.Data.Payload = 0 // the items are inline
			e, err := engine.New(b.Context(), engine.Config{Store: st, Loop: loop, ExpressLoop: express, Integrations: &fake{}, Limits: limits})
			if err != nil {
				b.Fatal(err)
			}
			for _, l := range []*durable.Loop{express, loop} {
				if err := l.Start(b.Context()); err != nil {
					b.Fatal(err)
				}
				defer l.Stop()
			}
			if err := e.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			defer e.Stop()
			input := list(*items)
			b.ReportAllocs()
			defer cputime.Report(b, "item", *items)()
			for n := 0; b.Loop(); n++ {
				name := fmt.Sprint("x", n)
				if _, err := e.CreateExecution(b.Context(), request(name, mapOver(child, "", onePass), input)); err != nil {
					b.Fatal(err)
				}
				for {
					d, err := e.Describe(b.Context(), arn(name))
					if err != nil {
						b.Fatal(err)
					}
					if d.Status == execution.Succeeded {
						break
					}
					time.Sleep(time.Millisecond)
				}
			}
			b.ReportMetric(float64(*items*b.N)/b.Elapsed().Seconds(), "items/s")
		})
	}
}
