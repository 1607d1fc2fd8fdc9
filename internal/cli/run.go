package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/daemon"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/launch"
	"github.com/mayfly-run/mayfly/pipelines/emr"
	"github.com/mayfly-run/mayfly/spark"
)

func (a *app) run() *cobra.Command {
	var fail, modes, functions string
	var seed uint64
	var email string
	c := &cobra.Command{
		Use: "run", Short: "Run the pipeline that ships, from the launch of its cluster to its deletion", Args: cobra.NoArgs,
		Long: "Run checks the machine, brings Spark when it is not there, starts a server when none answers, generates traffic data,\n" +
			"deploys the pipeline through CloudFormation, starts it and shows it live. It ends with a summary, and with 0 only if the\n" +
			"execution succeeded and nothing is left. The server stays up: mayfly stop ends it.",
		RunE: func(c *cobra.Command, _ []string) error {
			settings, _, err := a.settings(c)
			if err != nil {
				return err
			}
			if fail != "" && !slices.Contains(emr.Parts, fail) {
				return &exitError{2, fmt.Errorf("--fail is one of %s, not %q", strings.Join(emr.Parts, ", "), fail)}
			}
			o := launch.Options{Fail: fail, Seed: seed, Email: email, Clock: clock.System{}, HTTP: &http.Client{Timeout: time.Minute}}
			for m := range strings.SplitSeq(modes, ",") {
				if m = strings.TrimSpace(m); m != "" {
					o.Modes = append(o.Modes, m)
				}
			}
			if len(o.Modes) == 0 {
				return &exitError{2, errors.New("--modes names no processing mode; give names separated by commas")}
			}
			h, started, err := a.ready(c, settings, functions)
			if err != nil {
				return err
			}
			if o.Functions, err = bundle(c.Context(), functions); err != nil {
				return err
			}
			o.Endpoint = h.Endpoint
			o.MailDir = h.MailDir
			o.Calls = remote(h.Endpoint, settings)
			d := a.display()
			o.Report = d.show
			summary, err := launch.New(o).Do(c.Context())
			d.close()
			if err != nil {
				return err
			}
			if a.output == "json" {
				if err := a.json(summary); err != nil {
					return err
				}
			} else {
				a.summary(summary, h, started)
			}
			if !summary.Succeeded() {
				return &exitError{code: 1}
			}
			return nil
		},
	}
	settingFlags(c)
	c.Flags().StringVar(&fail, "fail", "", "part that shall fail: "+strings.Join(emr.Parts, ", "))
	c.Flags().StringVar(&modes, "modes", strings.Join(emr.DefaultModes, ","), "processing modes, separated by commas")
	c.Flags().Uint64Var(&seed, "seed", 7, "seed of the generated traffic data")
	c.Flags().StringVar(&email, "email", "you@example.com", "address that hears of the end")
	c.Flags().StringVar(&functions, "functions", "", "program of the pipeline's functions; built beside mayfly, or with the go command, when empty")
	return c
}

// ready sees to it that Spark is there and a server of this program answers: one that runs is used, otherwise one is started
// in the background.
func (a *app) ready(c *cobra.Command, settings daemon.Settings, functions string) (h daemon.Health, started bool, err error) {
	ctx := c.Context()
	dir, err := filepath.Abs(settings.DataDir)
	if err != nil {
		return h, false, err
	}
	h, err = daemon.Ask(ctx, settings.Listen)
	var foreign *daemon.ErrForeign
	switch {
	case err == nil && h.Version != Version():
		return h, false, fmt.Errorf("%s is served by mayfly %s, and this is %s; end it with: mayfly stop --data-dir %s", settings.Listen, h.Version, Version(), h.DataDir)
	case err == nil && h.DataDir != dir:
		return h, false, fmt.Errorf("%s is served by a mayfly with the data in %s, not %s; end it with: mayfly stop --data-dir %s, or choose another address with --listen", settings.Listen, h.DataDir, dir, h.DataDir)
	case err == nil:
		return h, false, nil
	case errors.As(err, &foreign):
		return h, false, foreign
	}
	if err := lacking(ctx, settings, functions); err != nil {
		return h, false, err
	}
	p := a.progress()
	_, err = spark.Setup(ctx, sparkOptions(settings), func(step spark.Progress) { p.step(step.Fraction, step.Text) })
	p.close()
	if err != nil {
		return h, false, err
	}
	h, err = a.background(c, settings, dir)
	return h, true, err
}

// lacking says in one sentence each what of the machine a run needs and does not find, and how to get it.
func lacking(ctx context.Context, settings daemon.Settings, functions string) error {
	var lacks []string
	for _, f := range slices.Concat(machine(settings), software(ctx, settings), []finding{port(ctx, settings)}) {
		if f.Status != fail {
			continue
		}
		if f.Advice == "" {
			f.Advice, f.Text = f.Text, ""
		}
		if f.Check == "java" || f.Check == "python" {
			f.Text = "" // the advice says it all
		}
		lacks = append(lacks, strings.TrimPrefix(f.Text+": "+f.Advice, ": "))
	}
	if _, err := os.Stat(bootstrap(functions)); err != nil && functions == "" {
		if _, err := exec.LookPath("go"); err != nil {
			lacks = append(lacks, "the pipeline's functions are not built, and there is no Go to build them with: run make build, with Go 1.26 from https://go.dev/dl")
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return errors.New(strings.Join(lacks, "\nmayfly: "))
}

// bootstrap is the path of the functions' program: the given one, or the one that the build puts beside this program.
func bootstrap(functions string) string {
	if self, err := os.Executable(); functions == "" && err == nil {
		return filepath.Join(filepath.Dir(self), "functions", "bootstrap")
	}
	return functions
}

// background starts `mayfly serve` with the same settings in a session of its own and waits until it answers.
func (a *app) background(c *cobra.Command, settings daemon.Settings, dir string) (h daemon.Health, err error) {
	self, err := os.Executable()
	if err != nil {
		return h, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return h, err
	}
	path := filepath.Join(dir, "server.log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return h, err
	}
	defer log.Close()
	args := []string{"serve"}
	if a.config != "" {
		args = append(args, "--config", a.config)
	}
	for _, s := range daemon.Names() {
		if f := c.Flags().Lookup(s.Name); f != nil && f.Changed {
			args = append(args, "--"+s.Name, f.Value.String())
		}
	}
	cmd := exec.Command(self, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return h, fmt.Errorf("start the server: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		if h, err = daemon.Ask(c.Context(), settings.Listen); err == nil {
			return h, nil
		}
		select {
		case err := <-ended:
			return h, fmt.Errorf("the server ended at once (%v); %s says: %s", err, path, lastLine(path))
		default:
		}
		if err := pause(c.Context(), 50*time.Millisecond); err != nil {
			return h, err
		}
	}
}

func lastLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

// bundle is the functions' zip: of a given program, of the one that lies beside this program, or built on the spot.
func bundle(ctx context.Context, path string) ([]byte, error) {
	if _, err := os.Stat(bootstrap(path)); err != nil && path == "" {
		return emr.BuildFunctions(ctx, ".", runtime.GOOS, runtime.GOARCH)
	}
	program, err := os.ReadFile(bootstrap(path))
	if err != nil {
		return nil, fmt.Errorf("read the pipeline's functions: %w", err)
	}
	return emr.Bundle(program)
}

// remote calls the endpoint as any client does.
func remote(endpoint string, s daemon.Settings) awscall.Caller {
	keys := identity.Credentials{AccessKeyID: "mayfly", SecretAccessKey: "mayfly"}
	if s.AccessKey != "" {
		keys = identity.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey}
	}
	return &awscall.Remote{Endpoint: endpoint, Region: "us-east-1", Credentials: awscall.Static(keys)}
}

// display shows the run on stderr: redrawn on a terminal, one line for each change elsewhere, nothing for programs.
func (a *app) display() display {
	f, ok := a.err.(*os.File)
	if ok && term.IsTerminal(int(f.Fd())) && a.getenv("TERM") != "dumb" && a.output != "json" {
		size := func(pick func(w, h int) int) func() int {
			return func() int {
				w, h, err := term.GetSize(int(f.Fd()))
				if err != nil {
					w, h = 80, 24
				}
				return pick(w, h)
			}
		}
		return &live{out: a.err, color: a.getenv("NO_COLOR") == "",
			width: size(func(w, _ int) int { return w - 1 }), height: size(func(_, h int) int { return h })}
	}
	return &plain{out: a.err}
}

// summary tells what the run came to.
func (a *app) summary(s *launch.Summary, h daemon.Health, started bool) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(a.out, "%-13s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(a.out)
	line("status", "%s after %s", s.Status, seconds(s.Elapsed))
	line("execution", "%s", s.Execution)
	if s.RootCause != "" {
		line("root cause", "%s", s.RootCause)
	}
	if s.Error != "" {
		line("error", "%s", s.Error)
	}
	if s.Log != "" {
		line("log", "%s", s.Log)
	}
	percent := 100 * s.Time.Orchestration.Seconds() / max(s.Elapsed.Seconds(), 1e-9)
	line("time", "cluster start %s, Spark %s, cluster end %s, orchestration %s (%.1f %%)", seconds(s.Time.ClusterStart), seconds(s.Time.Spark), seconds(s.Time.ClusterEnd), seconds(s.Time.Orchestration), percent)
	for _, m := range s.Modes {
		line("mode", "%s", strings.TrimSpace(m.Mode+" "+m.Status+" "+m.Error))
		if m.Status != "SUCCEEDED" {
			continue
		}
		line("  output", "%s", m.Output)
		line("  anomalies", "%d", m.Anomalies)
		if len(m.Preview) > 0 {
			line("", "highway,station,sensor,day,minute,volume,speed,occupancy,fault,score")
		}
		for _, p := range m.Preview {
			line("", "%s", p)
		}
		if m.Quality != nil {
			line("  labels", "%s", m.Quality)
		}
	}
	if s.Manifest != "" {
		line("manifest", "%s", s.Manifest)
	}
	if h.MailDir == "" {
		line("mails", "by SMTP")
	} else {
		line("mails", "%d", len(s.Mails))
	}
	for _, m := range s.Mails {
		line("", "%s", near(m))
	}
	line("made", "%s", s.Made)
	line("left", "%s", s.Left)
	fmt.Fprintf(a.out, "\nThe same with the AWS command line:\n  export AWS_ENDPOINT_URL=%s AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1\n", h.Endpoint)
	fmt.Fprintf(a.out, "  aws stepfunctions get-execution-history --execution-arn %s\n", s.Execution)
	for _, id := range s.Stacks {
		fmt.Fprintf(a.out, "  aws cloudformation describe-stack-events --stack-name %s\n", id)
	}
	for _, c := range s.Clusters {
		fmt.Fprintf(a.out, "  aws emr list-steps --cluster-id %s\n", c.ID)
	}
	if s.Manifest != "" {
		fmt.Fprintf(a.out, "  aws s3 cp %s -\n", s.Manifest)
	}
	if started {
		fmt.Fprintf(a.out, "\nThe server runs on (process %d, log %s); %s ends it.\n", h.PID, near(filepath.Join(h.DataDir, "server.log")), stopCommand(os.Args[0], near(h.DataDir)))
	}
}

// stopCommand is what ends the server of a data directory, for a person who calls this program by name.
func stopCommand(name, dir string) string {
	if dir == ".mayfly" {
		return name + " stop"
	}
	return name + " stop --data-dir " + dir
}

// near is a path as one would write it here: relative to the folder that one is in, when it lies below.
func near(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if r, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(r) {
			return r
		}
	}
	return path
}
