package judge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/pipelines/emr/traffic"
	"github.com/mayfly-run/mayfly/spark"
)

const programs = "../programs"

// installed is the Python and Spark that `mayfly setup` has made; there is no test of the programs without it.
func installed(t *testing.T) *spark.Installation {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: the programs are tested with the Python and Spark of `mayfly setup`")
	}
	in, err := spark.Find(spark.Options{})
	if err != nil {
		t.Fatalf("%v (run `mayfly setup`)", err)
	}
	return in
}

func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(stderr.String()))
	}
	return string(out)
}

func tail(s string) string { return s[max(0, len(s)-6000):] }

func TestPython(t *testing.T) {
	in := installed(t)
	cmd := exec.CommandContext(t.Context(), in.Python, "-W", "error::RuntimeWarning", "programs_test.py")
	cmd.Dir = programs
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("\nOK")) || bytes.Contains(out, []byte("Ran 0 tests")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestDetector judges the detector on seeds that it was not tuned on (those were 1 to 20).
func TestDetector(t *testing.T) {
	in := installed(t)
	for seed := uint64(101); seed <= 105; seed++ {
		for _, c := range []traffic.Config{traffic.Default(seed), traffic.Full(seed)} {
			d, err := traffic.Generate(c)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := d.Write(dir); err != nil {
				t.Fatal(err)
			}
			for _, mode := range []string{"TRAINING", "WEEKDAYS"} {
				var days []int
				for _, r := range d.Readings {
					if mode == "TRAINING" || r.Weekday != 0 && r.Weekday != 6 {
						if !slices.Contains(days, r.Day) {
							days = append(days, r.Day)
						}
					}
				}
				out := run(t, []string{"PYTHONDONTWRITEBYTECODE=1"}, in.Python, "testdata/detect.py", programs, filepath.Join(dir, traffic.InputFile), mode)
				v, err := Judge(d.Truth(), strings.NewReader(out), days)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("seed %d, %d readings, %s: %s", seed, c.Rows(), mode, v)
				if !v.Good() || v.Faults == 0 {
					t.Errorf("seed %d, %d readings, %s: %+v", seed, c.Rows(), mode, v)
				}
			}
		}
	}
}

// TestSpark runs both programs on real Spark and compares with the detector without it.
func TestSpark(t *testing.T) {
	in := installed(t)
	d, err := traffic.Generate(traffic.Default(7))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	input, first, second := filepath.Join(dir, "data"), filepath.Join(dir, "out/preprocessing"), filepath.Join(dir, "out/model")
	if err := d.Write(input); err != nil {
		t.Fatal(err)
	}
	env := []string{"PYSPARK_PYTHON=" + in.Python, "SPARK_HOME=" + in.Home, "JAVA_HOME=" + filepath.Dir(filepath.Dir(in.Java.Bin())), "SPARK_LOCAL_IP=127.0.0.1"}
	submit := func(program string, args ...string) string {
		t.Helper()
		return run(t, env, filepath.Join(in.Home, "bin/spark-submit"), append([]string{"--master", "local[2]", "--conf", "spark.ui.enabled=false",
			"--conf", "spark.driver.host=127.0.0.1", "--driver-memory", "1g", filepath.Join(programs, program)}, args...)...)
	}
	read := func(parts ...string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(parts...))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	submit("preprocessing.py", input, "5", "WEEKDAYS", first)
	var chosen struct {
		K       int
		Rows    int
		Centres [][]float64
		Days    []int
	}
	if err := json.Unmarshal([]byte(read(first, "manifest.json")), &chosen); err != nil {
		t.Fatal(err)
	}
	if chosen.K < 2 || len(chosen.Centres) != chosen.K || len(chosen.Days) != 5 || chosen.Rows != 36*5*288 {
		t.Errorf("preprocessing: %+v", chosen)
	}
	table := read(first, "table.csv")
	if n := strings.Count(table, "\n"); n != 2+1+2+3+4+5 {
		t.Errorf("the table has %d lines", n)
	}
	submit("model.py", input, first, "WEEKDAYS", second)
	var manifest struct {
		Rows, Anomalies int
		Days            []int
	}
	if err := json.Unmarshal([]byte(read(second, "manifest.json")), &manifest); err != nil {
		t.Fatal(err)
	}
	parts, err := filepath.Glob(filepath.Join(second, "scores/part-*"))
	if err != nil || len(parts) == 0 {
		t.Fatalf("no scores: %v", err)
	}
	scores := 0
	for _, p := range parts {
		scores += strings.Count(read(p), "\n")
	}
	anomalies := read(second, "anomalies/part-00000")
	if scores != chosen.Rows || manifest.Rows != chosen.Rows || strings.Count(anomalies, "\n") != manifest.Anomalies {
		t.Errorf("%d scores, %d lines of anomalies, manifest %+v", scores, strings.Count(anomalies, "\n"), manifest)
	}
	want := run(t, []string{"PYTHONDONTWRITEBYTECODE=1"}, in.Python, "testdata/detect.py", programs, filepath.Join(input, traffic.InputFile), "WEEKDAYS")
	if !slices.Equal(sorted(anomalies), sorted(want)) {
		t.Error("Spark names other anomalies than the detector does alone")
	}
	v, err := Judge(d.Truth(), strings.NewReader(anomalies), manifest.Days)
	if err != nil || !v.Good() {
		t.Errorf("%+v, %v", v, err)
	}

	// Again to the same place: a retry must not fail because something is there. The table is the same to the byte.
	submit("preprocessing.py", input, "5", "WEEKDAYS", first)
	if read(first, "table.csv") != table {
		t.Error("the same seed gave another table")
	}
	// What was made for one mode is not taken for another.
	cmd := exec.CommandContext(t.Context(), filepath.Join(in.Home, "bin/spark-submit"), "--master", "local[1]", "--conf", "spark.ui.enabled=false",
		filepath.Join(programs, "model.py"), input, first, "TRAINING", second)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "ValueError: "+fmt.Sprintf("%s was made for the mode WEEKDAYS, not for TRAINING", first)) {
		t.Errorf("the wrong mode: %v\n%s", err, tail(string(out)))
	}
}

func sorted(lines string) []string {
	out := strings.Split(strings.TrimSpace(lines), "\n")
	slices.Sort(out)
	return out
}
