package spark_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/proc"
	"github.com/mayfly-run/mayfly/spark"
	"github.com/mayfly-run/mayfly/spark/sparktest"
)

// TestLosses lets daemons of a cluster end, here and behind the back of a server that was down, and replaces workers.
func TestLosses(t *testing.T) {
	in := sparktest.Installation(t)
	cfg := spark.Config{Dir: filepath.Join(t.TempDir(), "cluster"), Workers: 2, Cores: 1, MemoryMB: 1024}
	t.Cleanup(func() { spark.Stop(t.Context(), cfg.Dir, 0) })
	launch := func() *spark.Cluster {
		t.Helper()
		c, err := spark.Launch(t.Context(), in, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	kill := func(name string) {
		t.Helper()
		p, err := proc.Open(filepath.Join(cfg.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if _, err := p.Stop(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	lost := func(c *spark.Cluster, want spark.Loss, generations ...int) {
		t.Helper()
		if got, err := c.Lost(t.Context(), generations); err != nil || got != want {
			t.Fatalf("lost %+v %v, want %+v", got, err, want)
		}
	}
	c := launch()
	kill("worker-1")
	lost(c, spark.Loss{Worker: 1, Message: "Spark's worker-1 ended: signal: killed"})

	// A server that starts anew sees the same, and the master and the other worker are adopted.
	c.Close()
	if _, err := c.Lost(t.Context(), nil); err != os.ErrClosed {
		t.Errorf("after Close: %v", err)
	}
	c = launch()
	lost(c, spark.Loss{Worker: 1, Message: "Spark's worker-1 ended: signal: killed"}, 0, 0)
	for range 2 { // a repeated command starts nothing twice
		if err := c.Replace(t.Context(), 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.WorkerDir(1); got != filepath.Join(cfg.Dir, "worker-1-1") {
		t.Errorf("the worker's folder is %s", got)
	}
	c.Close()
	c = launch() // with the worker that replaced the first one
	kill("worker-1-1")
	lost(c, spark.Loss{Worker: 1, Generation: 1, Message: "Spark's worker-1-1 ended: signal: killed"}, 0, 1)
	if err := c.Replace(t.Context(), 1, 0); err == nil || !strings.Contains(err.Error(), "it is at 1") {
		t.Errorf("an earlier generation: %v", err)
	}

	// Who has heard of a loss waits for the next one.
	heard := make(chan spark.Loss, 1)
	go func() {
		l, _ := c.Lost(t.Context(), []int{0, 2})
		heard <- l
	}()
	kill("worker-0")
	if got := <-heard; got.Worker != 0 || got.Generation != 0 {
		t.Errorf("lost %+v", got)
	}
	kill("master")
	lost(c, spark.Loss{Worker: spark.Master, Message: "Spark's master ended: signal: killed"}, 1, 2)
	c.Close()
	if _, err := spark.Launch(t.Context(), in, cfg); err == nil || !strings.HasPrefix(err.Error(), "Spark's master ended (signal: killed)") {
		t.Errorf("launch of a cluster without a master: %v", err)
	}
}
