package emr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/proc"
	"github.com/mayfly-run/mayfly/services/emr/cluster"
	"github.com/mayfly-run/mayfly/services/emr/host"
	"github.com/mayfly-run/mayfly/spark"
)

// cancelFile stands in the folder of a step that is to be cancelled.
const cancelFile = "cancel"

// refusal is why a step's program cannot be run at all.
type refusal struct{ message string }

func (r *refusal) Error() string { return r.message }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// runStep runs a step's program to its end, or waits for the one that an earlier server has started.
func (s *Service) runStep(ctx context.Context, l *live, spec *cluster.Spec, st *cluster.Step) (*cluster.Input, error) {
	if st.ID == "" || st.Ended() {
		return nil, nil
	}
	dir := s.dir(spec.ID, "steps", st.ID)
	done := func(f *cluster.Failure) (*cluster.Input, error) {
		s.copyLogs(ctx, l, spec, "steps/"+st.ID+"/", true)
		return &cluster.Input{StepEnded: &cluster.StepEnded{ID: st.ID, Failure: f}}, nil
	}
	p, err := proc.Open(filepath.Join(dir, "proc"))
	switch {
	case err == nil:
		s.controller(dir, "the step's process was started by an earlier server and is adopted")
	case errors.Is(err, proc.ErrNotStarted):
		p, err = s.startStep(ctx, l, spec, st, dir)
		if ctx.Err() != nil {
			if p != nil {
				p.Close()
			}
			return nil, context.Cause(ctx)
		}
		if err != nil {
			s.controller(dir, "the step cannot be run: %v", err)
			appendLine(filepath.Join(dir, "stderr"), err.Error())
			return done(&cluster.Failure{Reason: reasonOf(err.Error()), Message: err.Error(), LogFile: logFile(spec, st.ID, "stderr")})
		}
		if p == nil {
			return done(nil) // there was nothing to run, or the step was cancelled before
		}
	default:
		return nil, err
	}
	defer p.Close()
	if how, err := os.ReadFile(filepath.Join(dir, cancelFile)); err == nil {
		if err := endProcess(p, string(how)); err != nil {
			return nil, err
		}
	}
	status, err := p.Wait(ctx)
	if err != nil {
		return nil, err
	}
	s.controller(dir, "the program has ended: %v, %.1f s of CPU", status, status.CPU.Seconds())
	switch {
	case status.Lost:
		return done(&cluster.Failure{Reason: "Unknown Error.", Message: "The step's process was lost: it was killed together with what watched it, or the machine was restarted.", LogFile: logFile(spec, st.ID, "stderr")})
	case status.Code == 0:
		return done(nil)
	}
	message, file := failureOf(tail(filepath.Join(dir, "stdout"), 256<<10), tail(filepath.Join(dir, "stderr"), 256<<10))
	if message == "" {
		message = "The program ended with " + status.String() + "."
	}
	return done(&cluster.Failure{Reason: reasonOf(message), Message: message, LogFile: logFile(spec, st.ID, file)})
}

// startStep starts the step's program; nil without an error when there is nothing to run.
func (s *Service) startStep(ctx context.Context, l *live, spec *cluster.Spec, st *cluster.Step, dir string) (*proc.Process, error) {
	work := filepath.Join(dir, "work")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return nil, err
	}
	for _, name := range []string{"controller", "stdout", "stderr"} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		f.Close()
	}
	if _, err := os.Stat(filepath.Join(dir, cancelFile)); err == nil {
		return nil, nil
	}
	h := st.Config.HadoopJarStep
	s.controller(dir, "step %s (%s): %s %s", st.ID, st.Config.Name, h.Jar, strings.Join(h.Args, " "))
	c, err := s.sparkOf(ctx, l, spec)
	if err != nil {
		return nil, fmt.Errorf("the cluster's Spark is gone: %w", err)
	}
	s.controller(dir, "%s", machine(spec, c))
	if n := awsapi.Val(spec.Request.StepConcurrencyLevel); n > 1 {
		s.controller(dir, "up to %d steps run at once, and the memory of a driver was counted once", n)
	}
	for _, n := range configure(spec.Request.Configurations, host.Lease{}).notes {
		s.controller(dir, "%s", n)
	}
	cmd, err := s.program(ctx, spec, st, c, work)
	if err != nil || cmd.Args == nil {
		return nil, err
	}
	for _, n := range cmd.Notes {
		s.controller(dir, "%s", n)
	}
	env, err := s.environment(spec, c.Install, spec.Master())
	if err != nil {
		return nil, err
	}
	env = append(env, "EMR_STEP_ID="+st.ID, "MAYFLY_CONTROLLER="+filepath.Join(dir, "controller"),
		fmt.Sprintf("MAYFLY_WORKER=%d %d", c.Config.Cores, c.Config.MemoryMB))
	env = append(env, cmd.Env...)
	env = append(env, "PYSPARK_PYTHON="+s.dir(spec.ID, "python", "bin", "python3"))
	s.controller(dir, "starting %s", filepath.Base(cmd.Args[0]))
	return proc.Start(proc.Spec{Dir: filepath.Join(dir, "proc"), Args: cmd.Args, Env: env, WorkDir: work,
		Stdout: filepath.Join(dir, "stdout"), Stderr: filepath.Join(dir, "stderr")})
}

// elsewhere are programs of EMR that Mayfly does not have; the step fails and says so.
var elsewhere = map[string]string{
	"hive-script": "Hive", "hive": "Hive", "pig-script": "Pig", "pig": "Pig", "hadoop-streaming": "Hadoop streaming",
	"presto-cli": "Presto", "trino-cli": "Trino", "s3-dist-cp": "s3-dist-cp", "yarn": "YARN", "pyspark": "the interactive pyspark",
	"spark-shell": "the interactive spark-shell", "run-example": "Spark's examples", "spark-example": "Spark's examples", "hbase": "HBase", "flink": "Flink",
}

// program is the command of a step; its Args are nil when there is nothing to run.
func (s *Service) program(ctx context.Context, spec *cluster.Spec, st *cluster.Step, c *spark.Cluster, work string) (spark.Command, error) {
	h := st.Config.HadoopJarStep
	switch jar := h.Jar[strings.LastIndexByte(h.Jar, '/')+1:]; {
	case jar == "command-runner.jar" && !strings.Contains(h.Jar, "://"):
		if len(h.Args) == 0 {
			return spark.Command{}, refuse("command-runner.jar was given no command")
		}
		name := h.Args[0]
		switch {
		case name == "spark-submit" || name == "spark-sql" || name == "hadoop" || name == "hdfs":
			cmd, err := c.Program(name, h.Args[1:])
			if err != nil {
				return cmd, refuse("%v", err)
			}
			return cmd, nil
		case name == "state-pusher-script": // AWS: "Setup Hadoop Debugging" has no effect of its own
			return spark.Command{}, nil
		case elsewhere[name] != "":
			return spark.Command{}, refuse("Mayfly does not have %s: the command %s cannot be run", elsewhere[name], name)
		}
		return spark.Command{Args: slices.Clone(h.Args)}, nil
	case jar == "script-runner.jar":
		if len(h.Args) == 0 {
			return spark.Command{}, refuse("script-runner.jar was given no script")
		}
		script := filepath.Join(work, filepath.Base(h.Args[0]))
		if err := s.download(ctx, principal(spec), h.Args[0], script); err != nil {
			return spark.Command{}, refuse("%s could not be downloaded: %v", h.Args[0], err)
		}
		return spark.Command{Args: append([]string{script}, h.Args[1:]...)}, nil
	}
	return spark.Command{}, refuse("Mayfly runs command-runner.jar and script-runner.jar; the custom jar %s cannot be run", h.Jar)
}

// cancelStep asks a step's program to end. The step's own command reports the end.
func (s *Service) cancelStep(clusterID string, c *cluster.CancelStep) error {
	how := "SEND_INTERRUPT"
	if c.Kill {
		how = "TERMINATE_PROCESS"
	}
	dir := s.dir(clusterID, "steps", c.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, cancelFile), []byte(how), 0o600); err != nil {
		return err
	}
	s.controller(dir, "the step is to be cancelled (%s)", how)
	p, err := proc.Open(filepath.Join(dir, "proc"))
	if errors.Is(err, proc.ErrNotStarted) {
		return nil // runStep looks for the file
	}
	if err != nil {
		return err
	}
	defer p.Close()
	return endProcess(p, how)
}

func endProcess(p *proc.Process, how string) error {
	if how == "TERMINATE_PROCESS" {
		return p.Kill()
	}
	return p.Terminate()
}

func logFile(spec *cluster.Spec, stepID, name string) string {
	uri := strings.TrimSuffix(awsapi.Val(spec.Request.LogUri), "/")
	if uri == "" {
		return ""
	}
	return fmt.Sprintf("%s/%s/steps/%s/%s.gz", uri, spec.ID, stepID, name)
}

// tail is the end of a file, at most n bytes of it.
func tail(path string, n int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		f.Seek(max(0, size-n), io.SeekStart)
	}
	b, _ := io.ReadAll(io.LimitReader(f, n))
	return string(b)
}
