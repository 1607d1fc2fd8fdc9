package emr_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/services/emr"
	"github.com/mayfly-run/mayfly/spark"
	"github.com/mayfly-run/mayfly/spark/sparktest"
)

// serverToKill names the folder and the port of the server that TestServerToKill is in a process of its own.
const serverToKill = "MAYFLY_TEST_SERVER_TO_KILL"

func installed(t *testing.T, file string) func(*emr.Config) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := &spark.Installation{}
	if err := json.Unmarshal(b, in); err != nil {
		t.Fatal(err)
	}
	return func(c *emr.Config) { c.Spark = func() (*spark.Installation, error) { return in, nil } }
}

// TestServerToKill is no test by itself: TestKilledServer starts it in another process, and kills that.
func TestServerToKill(t *testing.T) {
	dir := os.Getenv(serverToKill)
	if dir == "" {
		return
	}
	s := start(t, dir, "127.0.0.1:0", installed(t, filepath.Join(dir, "install.json")))
	id := s.run("killed", 2, nil)
	s.untilState(id, "WAITING")
	steps := s.add(id, command("runs", "sh", "-c", "echo once; while [ ! -e "+filepath.Join(dir, "go")+" ]; do sleep 0.01; done; echo done"),
		command("next", "echo", "next"))
	s.untilStep(id, steps[0], "RUNNING")
	s.soon("the program has not begun", func() bool { return s.follow(id, steps[0], "stdout", "") == "once\n" })
	fmt.Println("running", s.port, id, steps[0], steps[1])
	select {}
}

// TestKilledServer kills a server with SIGKILL in the middle of a step, and starts another one: a driver that lives is
// adopted, one that was killed too has FAILED, and no step runs twice.
func TestKilledServer(t *testing.T) {
	for _, c := range []struct {
		name  string
		kill  []string // the processes that are killed with the server
		state string   // of the step
		out   string
	}{
		{"the driver lives", nil, "COMPLETED", "once\ndone\n"},
		{"the driver is killed", []string{"steps/STEP/proc"}, "FAILED", "once\n"},
		{"a worker is killed", []string{"spark/worker-1"}, "COMPLETED", "once\ndone\n"},
		{"all are killed", []string{"steps/STEP/proc", "spark/worker-0", "spark/worker-1", "spark/master"}, "", "once\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			b, _ := json.Marshal(sparktest.Installation(t))
			if err := os.WriteFile(filepath.Join(dir, "install.json"), b, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0], "-test.run=^TestServerToKill$")
			cmd.Env = append(os.Environ(), serverToKill+"="+dir)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var port, id, step, next string
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if n, _ := fmt.Sscanf(lines.Text(), "running %s %s %s %s", &port, &id, &step, &next); n == 4 {
					break
				}
			}
			cmd.Process.Kill()
			cmd.Wait()
			if id == "" {
				t.Fatal("the server did not come so far")
			}
			for _, name := range c.kill { // the supervisor: what it has started dies with it
				var who struct{ PID int }
				b, err := os.ReadFile(filepath.Join(dir, "emr", id, strings.Replace(name, "STEP", step, 1), "pid.json"))
				if err != nil || json.Unmarshal(b, &who) != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if err := syscall.Kill(who.PID, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			s := start(t, dir, port, installed(t, filepath.Join(dir, "install.json")))
			defer func() { s.stop() }()
			if c.state == "" { // the master, too
				got := s.untilState(id, "TERMINATED_WITH_ERRORS")
				// Either is true, and which of them is seen first is chance.
				text := awsapi.Val(got.Status.StateChangeReason.Message)
				if awsapi.Val(got.Status.StateChangeReason.Code) != "INSTANCE_FAILURE" ||
					!strings.HasPrefix(text, "The master node was terminated: Spark's master ended") &&
						!strings.HasPrefix(text, "All core and task nodes were terminated: Spark's worker-") {
					t.Errorf("reason %s", text)
				}
				if state := *s.step(id, step).Status.State; state != "INTERRUPTED" && state != "FAILED" {
					t.Errorf("the step is %s", state)
				}
			} else {
				os.WriteFile(filepath.Join(dir, "go"), nil, 0o600)
				st := s.untilEnded(id, step)
				if *st.Status.State != c.state || c.state == "FAILED" && !strings.Contains(*st.Status.FailureDetails.Message, "The step's process was lost") {
					t.Errorf("the step is %s: %s", *st.Status.State, ToString(st.Status.FailureDetails))
				}
				if st := s.untilEnded(id, next); *st.Status.State != "COMPLETED" {
					t.Errorf("the next step is %s", *st.Status.State)
				}
				s.untilState(id, "WAITING")
				s.terminate(id)
			}
			if got := s.follow(id, step, "stdout", ""); got != c.out {
				t.Errorf("the step wrote %q", got)
			}
			noProcessesOf(t, dir)
		})
	}
}
