package spark_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/proc"
	"github.com/mayfly-run/mayfly/spark"
	"github.com/mayfly-run/mayfly/spark/sparktest"
)

// bench is a machine on which setup runs without the network.
type bench struct {
	t     *testing.T
	calls string
	said  []string
	o     spark.Options
	each  func(text string)
}

const abc = "4.0.1 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad a.jar\n"

func newBench(t *testing.T) *bench {
	spark.SetJars(t, abc)
	spark.SetArchiveWait(t, 1)
	return &bench{t: t, calls: sparktest.Programs(t), o: spark.Options{CacheDir: t.TempDir()}}
}

// setup runs it once, and returns what it started: "venv pip ivy".
func (b *bench) setup() (*spark.Installation, string, error) {
	b.t.Helper()
	if err := os.WriteFile(b.calls, nil, 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.said = nil
	in, err := spark.Setup(b.t.Context(), b.o, func(p spark.Progress) {
		b.said = append(b.said, p.Text)
		if b.each != nil {
			b.each(p.Text)
		}
		if p.Fraction < 0 || p.Fraction > 1 {
			b.t.Errorf("%v %s", p.Fraction, p.Text)
		}
	})
	calls, _ := os.ReadFile(b.calls)
	return in, strings.Join(strings.Fields(string(calls)), " "), err
}

func (b *bench) ready(want string) *spark.Installation {
	b.t.Helper()
	in, calls, err := b.setup()
	if err != nil || calls != want || b.said[len(b.said)-1] != "Spark 4.0.1 is ready" {
		b.t.Fatalf("started %q, want %q: %v\n%s", calls, want, err, strings.Join(b.said, "\n"))
	}
	found, err := spark.Find(b.o)
	if err != nil || found.Dir != in.Dir {
		b.t.Fatalf("found %+v %v", found, err)
	}
	return in
}

func (b *bench) fails(want string) string {
	b.t.Helper()
	_, calls, err := b.setup()
	if err == nil || !strings.Contains(err.Error(), want) {
		b.t.Fatalf("%v, want %s", err, want)
	}
	if _, err := spark.Find(b.o); !errors.Is(err, spark.ErrNotSetUp) {
		b.t.Errorf("half a setup is found: %v", err)
	}
	return calls
}

func archives(in *spark.Installation) (names []string) {
	found, _ := filepath.Glob(filepath.Join(in.Archives, "*"))
	for _, path := range found {
		names = append(names, filepath.Base(path))
	}
	return names
}

var allArchives = []string{"driver.jsa", "executor.jsa", "master.jsa", "worker.jsa"}

func TestSetup(t *testing.T) {
	b := newBench(t)
	in := b.ready("venv pip ivy")
	if !slices.Equal(archives(in), allArchives) {
		t.Errorf("archives %v", archives(in))
	}
	if jars, _ := filepath.Glob(filepath.Join(in.Jars, "*")); len(jars) != 1 || filepath.Base(jars[0]) != "a.jar" {
		t.Errorf("jars %v", jars)
	}
	if left, _ := filepath.Glob(filepath.Join(in.Dir, "scratch")); left != nil {
		t.Errorf("left: %v", left)
	}
	for _, text := range []string{"downloading pyspark-4.0.1.tar.gz (434.2 MB)", "checking the jars", "training: running a program"} {
		if !slices.Contains(b.said, text) {
			t.Errorf("%q was not said", text)
		}
	}
	b.ready("") // nothing is done twice

	// Another build of Java: only the archives are made again.
	if err := os.WriteFile(filepath.Join(os.Getenv("JAVA_HOME"), "release"), []byte("IMPLEMENTOR=another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := spark.Find(b.o); !errors.Is(err, spark.ErrNotSetUp) {
		t.Errorf("archives of another Java are used: %v", err)
	}
	if again := b.ready(""); again.Archives == in.Archives || !slices.Equal(archives(again), allArchives) {
		t.Errorf("archives %s %v", again.Archives, archives(again))
	}
}

// TestSetupResumes stops setup at each stage, and goes on from there.
func TestSetupResumes(t *testing.T) {
	b := newBench(t)
	os.WriteFile(b.calls+".broken", nil, 0o600)
	if calls := b.fails("pip could not install the Python packages (exit status 1): ERROR: no network"); calls != "venv pip" {
		t.Errorf("started %q", calls)
	}
	os.Remove(b.calls + ".broken")
	t.Setenv("IVY_BRINGS", "abd")
	if calls := b.fails("a.jar is not what it should be: its SHA-256 is"); calls != "pip ivy" {
		t.Errorf("started %q", calls)
	}
	t.Setenv("IVY_BRINGS", "abc")
	b.ready("ivy")
}

func TestSetupOfSparkHome(t *testing.T) {
	b := newBench(t)
	b.o.SparkHome = sparktest.Home(t)
	if in := b.ready("venv pip ivy"); in.Home != b.o.SparkHome || in.Version != "4.0.1" {
		t.Errorf("home %s, version %s", in.Home, in.Version)
	}
	b.o.SparkHome = ""
	if _, err := spark.Find(b.o); !errors.Is(err, spark.ErrNotSetUp) {
		t.Errorf("the installation for a SPARK_HOME is found without one: %v", err)
	}
}

// TestSetupAfterAKill finds the training cluster and driver of a setup that was killed, and ends them.
func TestSetupAfterAKill(t *testing.T) {
	b := newBench(t)
	first := b.ready("venv pip ivy")
	os.WriteFile(filepath.Join(os.Getenv("JAVA_HOME"), "release"), nil, 0o600) // so that there is a training again
	var left []*proc.Process
	for _, name := range []string{"driver", "cluster/master", "cluster/worker-0"} {
		p, err := proc.Start(proc.Spec{Dir: filepath.Join(first.Dir, "scratch", name), Args: []string{"/bin/sleep", "600"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Stop(context.WithoutCancel(t.Context()), 0); p.Close() })
		left = append(left, p)
	}
	b.ready("")
	for _, p := range left {
		if s, err := p.Wait(t.Context()); err != nil || s.Signal != "killed" {
			t.Errorf("%s: %v %v", p.Dir(), s, err)
		}
	}
}

// TestSparkHomeOfTheEnvironment is used when nothing else is there and Mayfly runs its version.
func TestSparkHomeOfTheEnvironment(t *testing.T) {
	b := newBench(t)
	home := sparktest.Home(t)
	t.Setenv("SPARK_HOME", home)
	if in := b.ready("venv pip ivy"); in.Home != home {
		t.Errorf("home %s", in.Home)
	}
	b = newBench(t)
	other := t.TempDir()
	os.MkdirAll(filepath.Join(other, "jars"), 0o700)
	os.WriteFile(filepath.Join(other, "jars", "spark-core_2.12-3.5.1.jar"), nil, 0o600)
	t.Setenv("SPARK_HOME", other)
	brought := b.ready("venv pip ivy")
	if brought.Home == other {
		t.Error("Spark 3.5.1 is used")
	}
	t.Setenv("SPARK_HOME", home)
	if in := b.ready(""); in.Home != brought.Home {
		t.Errorf("what was set up is forgotten for %s", in.Home)
	}
}

// TestSetupOfAnotherVersion keeps versions beside one another.
func TestSetupOfAnotherVersion(t *testing.T) {
	b := newBench(t)
	spark.SetJars(t, abc+strings.Replace(abc, "4.0.1", "4.3.0", 1))
	first := b.ready("venv pip ivy")
	b.o.Version = "4.3.0"
	in, calls, err := b.setup()
	if err != nil || in.Version != "4.3.0" || in.Dir == first.Dir || calls != "venv pip ivy" {
		t.Errorf("%+v %q %v", in, calls, err)
	}
	list, _ := os.ReadFile(filepath.Join(in.Dir, "requirements.txt"))
	if !strings.Contains(string(list), "pyspark==4.3.0\n") || !strings.Contains(string(list), "boto3==") {
		t.Errorf("requirements:\n%s", list)
	}
}

// TestArchivesOnceMore has Java write no archive at first, as happens under heavy load, or never.
func TestArchivesOnceMore(t *testing.T) {
	for _, c := range []struct {
		name, said string
		heals      bool
		archives   []string
	}{
		{"the second time", "training once more: Java wrote no archive for master, worker, driver, executor", true, allArchives},
		{"never", "no archive for master, worker, driver, executor: Java wrote none in two tries; starts take longer", false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			var flag string
			b.each = func(text string) {
				found, _ := filepath.Glob(filepath.Join(b.o.CacheDir, "spark-*"))
				flag = filepath.Join(found[0], "without-archives")
				switch {
				case text == "training: starting a cluster" && !slices.Contains(b.said, c.said):
					os.WriteFile(flag, nil, 0o600)
				case strings.HasPrefix(text, "training once more") && c.heals:
					os.Remove(flag)
				}
			}
			in := b.ready("venv pip ivy")
			if !slices.Contains(b.said, c.said) || !slices.Equal(archives(in), c.archives) {
				t.Errorf("archives %v, said:\n%s", archives(in), strings.Join(b.said, "\n"))
			}
		})
	}
}
