package cli

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/launch"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// view is a run in the middle: launched, the first program running on its cluster.
func view() launch.View {
	t0 := time.Unix(1_700_000_000, 0).UTC()
	return launch.View{
		Phase: "run", Message: "preprocessing TRAINING runs on j-2AXXXXXXGAPLF", Fraction: 0.25, Elapsed: 83200 * time.Millisecond, At: t0.Add(20 * time.Second),
		Execution: "arn:aws:states:us-east-1:000000000000:execution:Outer:run-1", Status: "RUNNING",
		States: []*launch.State{
			{Name: "Validate input", Type: "Pass", Status: "SUCCEEDED", Entered: t0, Exited: t0.Add(5 * time.Millisecond)},
			{Name: "Launch cluster", Type: "Task", Status: "SUCCEEDED", Entered: t0, Exited: t0.Add(4200 * time.Millisecond), Tries: 2, Error: "EMR.ThrottlingException"},
			{Name: "Preprocessing", Type: "Task", Status: "RUNNING", Entered: t0.Add(5 * time.Second), States: []*launch.State{
				{Name: "Add step", Type: "Task", Status: "RUNNING", Entered: t0.Add(6 * time.Second)},
			}},
		},
		Clusters: []*launch.Cluster{{ID: "j-2AXXXXXXGAPLF", Name: "MayflyRun", State: "RUNNING", Reason: "Running step", Workers: "2 workers for 2 nodes", Steps: []*launch.Step{
			{ID: "s-1", Name: "preprocessing TRAINING", State: "RUNNING", Started: t0.Add(7 * time.Second), Tail: []string{"INFO read 120960 rows", "INFO k=3 cost=1234.5"}},
			{ID: "s-2", Name: "model TRAINING", State: "PENDING"},
		}}},
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestFrame(t *testing.T) {
	golden(t, "frame.txt", strings.Join(frame(view(), 100, false), "\n")+"\n")
}

func TestFrameIsClippedToTheTerminal(t *testing.T) {
	for _, line := range frame(view(), 20, true) {
		visible := line
		for strings.Contains(visible, "\x1b[") {
			before, rest, _ := strings.Cut(visible, "\x1b[")
			_, rest, _ = strings.Cut(rest, "m")
			visible = before + rest
		}
		if n := len([]rune(visible)); n > 20 {
			t.Errorf("%d characters wide: %q", n, line)
		}
	}
}

func TestPlainSaysEachChangeOnce(t *testing.T) {
	var b strings.Builder
	p := &plain{out: &b}
	v := view()
	p.show(v)
	p.show(v)
	v.Clusters[0].Steps[0].State = "FAILED"
	v.Clusters[0].Steps[0].Reason = "ValueError: no rows"
	p.show(v)
	golden(t, "plain.txt", b.String())
}

func TestLiveRedrawsInPlace(t *testing.T) {
	var b strings.Builder
	l := &live{out: &b, width: func() int { return 80 }, height: func() int { return 40 }}
	l.show(view())
	drawn := strings.Count(b.String(), "\n")
	b.Reset()
	l.show(view())
	if want := "\x1b[" + strconv.Itoa(drawn) + "A"; !strings.HasPrefix(b.String(), want) {
		t.Errorf("the second frame begins with %q, want %q", b.String()[:8], want)
	}
}

func TestStopCommand(t *testing.T) {
	for dir, want := range map[string]string{".mayfly": "bin/mayfly stop", "/tmp/d": "bin/mayfly stop --data-dir /tmp/d"} {
		if got := stopCommand("bin/mayfly", dir); got != want {
			t.Errorf("%s: %q, want %q", dir, got, want)
		}
	}
}
