package spark_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/proc"
	"github.com/mayfly-run/mayfly/spark"
)

// installation is the Spark that `mayfly setup` has brought. CI always has one.
func installation(t *testing.T) *spark.Installation {
	t.Helper()
	if testing.Short() {
		t.Skip("real Spark is not for -short")
	}
	in, err := spark.Find(spark.Options{Version: os.Getenv("MAYFLY_TEST_SPARK")}) // empty: the default
	if errors.Is(err, spark.ErrNotSetUp) && os.Getenv("CI") == "" && os.Getenv("MAYFLY_TEST_ALL") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return in
}

const program = `
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print("sum", spark.sparkContext.parallelize(range(100), 4).map(lambda x: x * 2).sum())
spark.range(1000).createOrReplaceTempView("t")
print("rows", spark.sql("select count(*) c from t where id % 2 = 0").first().c, sys.argv[1:])
print("executors", spark.conf.get("spark.master"))
`

func TestCluster(t *testing.T) {
	in := installation(t)
	dir := t.TempDir()
	cfg := spark.Config{Dir: filepath.Join(dir, "cluster"), Workers: 2, Cores: 1, MemoryMB: 1024}
	t.Cleanup(func() { spark.Stop(t.Context(), cfg.Dir, 0) })
	begin := clock.System{}.Now()
	c, err := spark.Launch(t.Context(), in, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("master and 2 workers after %v", clock.System{}.Now().Sub(begin))
	res, err := http.Get(c.WebUI + "/json/")
	if err != nil {
		t.Fatal(err)
	}
	state, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if !strings.Contains(string(state), `"aliveworkers" : 2`) {
		t.Errorf("master's state: %s", state)
	}

	// A server that was started anew adopts what lives.
	url := c.URL
	c.Close()
	c, err = spark.Launch(t.Context(), in, cfg)
	if err != nil || c.URL != url {
		t.Fatalf("adopted %v: %v", c, err)
	}
	defer c.Close()

	file := filepath.Join(dir, "program.py")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		cmd, err := c.Driver([]string{"--master", "yarn", "--deploy-mode", "cluster", "--executor-memory", "9g", file, "an", "argument"})
		if err != nil {
			t.Fatal(err)
		}
		home := filepath.Join(dir, "step", string(rune('0'+i)))
		begin = clock.System{}.Now()
		p, err := proc.Start(proc.Spec{Dir: home, Args: cmd.Args, Env: append(cmd.Env, "PATH="+os.Getenv("PATH"), "HOME="+home)})
		if err != nil {
			t.Fatal(err)
		}
		status, err := p.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out, _ := os.ReadFile(filepath.Join(home, "stdout"))
		want := "sum 9900\nrows 500 ['an', 'argument']\nexecutors " + c.URL + "\n"
		if status.Code != 0 || string(out) != want {
			log, _ := os.ReadFile(filepath.Join(home, "stderr"))
			t.Fatalf("%v, output %q, log:\n%s", status, out, log)
		}
		t.Logf("step after %v, %v of CPU", clock.System{}.Now().Sub(begin), status.CPU)
	}

	begin = clock.System{}.Now()
	if err := spark.Stop(t.Context(), cfg.Dir, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if loss, err := c.Lost(t.Context(), nil); err != nil || loss.Worker != spark.Master {
		t.Errorf("after the end: %+v %v", loss, err)
	}
	t.Logf("stopped after %v", clock.System{}.Now().Sub(begin))
	if _, err := spark.Launch(t.Context(), in, cfg); err == nil || !strings.Contains(err.Error(), "master ended") {
		t.Errorf("a stopped cluster was launched again: %v", err)
	}
}
