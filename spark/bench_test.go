package spark_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mayfly-run/mayfly/internal/proc"
	"github.com/mayfly-run/mayfly/spark"
)

// launch starts a cluster of two workers for a benchmark.
func launch(b *testing.B, in *spark.Installation, dir string) *spark.Cluster {
	b.Helper()
	cfg := spark.Config{Dir: dir, Workers: 2, Cores: 1, MemoryMB: 1024}
	c, err := spark.Launch(b.Context(), in, cfg)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkLaunch is from nothing to a master with two workers that have registered.
func BenchmarkLaunch(b *testing.B) {
	in, err := spark.Find(spark.Options{})
	if err != nil {
		b.Skip(err)
	}
	dir := b.TempDir()
	for i := range b.N {
		c := launch(b, in, filepath.Join(dir, fmt.Sprint(i)))
		b.StopTimer()
		c.Close()
		spark.Stop(b.Context(), c.Config.Dir, 0)
		b.StartTimer()
	}
}

// BenchmarkStep is a small PySpark program (a session, an RDD, a query) on a warm cluster.
func BenchmarkStep(b *testing.B) {
	in, err := spark.Find(spark.Options{})
	if err != nil {
		b.Skip(err)
	}
	dir := b.TempDir()
	c := launch(b, in, filepath.Join(dir, "cluster"))
	defer spark.Stop(b.Context(), c.Config.Dir, 0)
	defer c.Close()
	file := filepath.Join(dir, "program.py")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		b.Fatal(err)
	}
	cpu := 0.0
	b.ResetTimer()
	for i := range b.N {
		cmd, err := c.Driver([]string{file})
		if err != nil {
			b.Fatal(err)
		}
		home := filepath.Join(dir, "step", fmt.Sprint(i))
		p, err := proc.Start(proc.Spec{Dir: home, Args: cmd.Args, Env: append(cmd.Env, "PATH="+os.Getenv("PATH"), "HOME="+home)})
		if err != nil {
			b.Fatal(err)
		}
		status, err := p.Wait(b.Context())
		if err != nil || status.Code != 0 {
			b.Fatal(status, err)
		}
		cpu += status.CPU.Seconds()
	}
	b.ReportMetric(cpu/float64(b.N), "driver-cpu-s/op")
}
