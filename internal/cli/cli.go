// Package cli is the command line: one file per command. A command parses, calls what does the work and prints; data goes
// to stdout and progress to stderr. It decides nothing that a program using the APIs could not decide as well.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mayfly-run/mayfly/internal/daemon"
	"github.com/mayfly-run/mayfly/internal/proc"
	"github.com/mayfly-run/mayfly/spark"
)

// version is set by the build (see Makefile).
var version = ""

// Version is this program's version.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

// exitError ends the program with a code; its text, if any, is printed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// app is what the commands share.
type app struct {
	out, err io.Writer
	getenv   func(string) string

	config string // --config
	output string // --output
}

// Main runs the command line and returns the exit code.
func Main(args []string) int {
	// The supervisor of a child process, started by the server: no flags, and signals of its own.
	if len(args) > 0 && args[0] == "proc" {
		return proc.Main(args[1:])
	}
	// spark-submit and its like, called by scripts on a cluster.
	if len(args) > 0 && args[0] == "on-cluster" {
		return spark.Main(args[1:])
	}
	// The first signal ends things in order, the second at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	a := &app{out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if text := exit.Error(); text != "" {
			fmt.Fprintln(a.err, "mayfly: "+text)
		}
		return exit.code
	}
	fmt.Fprintln(a.err, "mayfly: "+err.Error())
	return 1
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "mayfly",
		Short: "Step Functions, EMR with real Spark, and the AWS APIs around them, on one machine",
		Long: "Mayfly runs analytics pipelines on clusters that live as long as the work: AWS Step Functions, EMR with real\n" +
			"Apache Spark, and the AWS APIs around them, on one endpoint. Point any AWS client at it:\n\n" +
			"    mayfly serve &\n    export AWS_ENDPOINT_URL=http://127.0.0.1:4566\n    aws stepfunctions list-state-machines",
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != "text" && a.output != "json" {
				return &exitError{2, fmt.Errorf("--output is text or json, not %q", a.output)}
			}
			return nil
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &exitError{2, fmt.Errorf("%w; see %s --help", err, c.CommandPath())}
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.config, "config", "", "settings file (MAYFLY_CONFIG; mayfly.yaml where there is one)")
	flags.StringVarP(&a.output, "output", "o", "text", "form of the output: text or json")
	root.AddCommand(a.run(), a.serve(), a.stop(), a.setup(), a.doctor(), a.validate(), a.execution(), a.showConfig(), a.showVersion())
	return root
}

// settingFlags gives the command flags for the named settings; without names, for all.
func settingFlags(c *cobra.Command, names ...string) {
	for _, s := range daemon.Names() {
		if len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		help := s.Help
		if s.Value != "" {
			help += " (default " + s.Value + ")"
		}
		c.Flags().String(s.Name, "", help)
	}
}

// settings puts together what is in force for a command.
func (a *app) settings(c *cobra.Command) (daemon.Settings, []daemon.Setting, error) {
	given := map[string]string{}
	for _, s := range daemon.Names() {
		if f := c.Flags().Lookup(s.Name); f != nil && f.Changed {
			given[s.Name] = f.Value.String()
		}
	}
	file, must := a.config, true
	if file == "" {
		file = a.getenv("MAYFLY_CONFIG")
	}
	if file == "" {
		file, must = "mayfly.yaml", false
	}
	s, inForce, err := daemon.Load(given, a.getenv, file, must)
	if err != nil {
		return s, nil, &exitError{2, err}
	}
	return s, inForce, nil
}

// json prints a value for programs.
func (a *app) json(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func (a *app) showVersion() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		if a.output == "json" {
			return a.json(map[string]string{"version": Version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
		}
		fmt.Fprintf(a.out, "mayfly %s (%s, %s/%s)\n", Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	}}
}

func (a *app) showConfig() *cobra.Command {
	c := &cobra.Command{
		Use: "config", Short: "Print the settings in force and where each comes from", Args: cobra.NoArgs,
		Long: "Each setting has one name: --data-dir, the environment's MAYFLY_DATA_DIR and data-dir in the settings file are the\n" +
			"same. A flag outweighs the environment, and that the file.",
		RunE: func(c *cobra.Command, _ []string) error {
			_, inForce, err := a.settings(c)
			if err != nil {
				return err
			}
			for i, s := range inForce {
				if s.Secret && s.Value != "" {
					inForce[i].Value = "(set)"
				}
			}
			if a.output == "json" {
				doc := map[string]any{}
				for _, s := range inForce {
					doc[s.Name] = map[string]string{"value": s.Value, "origin": s.Origin}
				}
				return a.json(doc)
			}
			for _, s := range inForce {
				value := s.Value
				if value == "" {
					value = "-"
				}
				fmt.Fprintf(a.out, "%-14s %-22s %-32s %s\n", s.Name, value, s.Origin, s.Help)
			}
			return nil
		},
	}
	settingFlags(c)
	return c
}

// logger writes the server's log to w.
func logger(s daemon.Settings, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(strings.ToUpper(s.LogLevel))) // the settings have checked it
	o := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
