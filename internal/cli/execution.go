package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	own "github.com/mayfly-run/mayfly/internal/awsapi/mayflyapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/daemon"
	"github.com/mayfly-run/mayfly/internal/identity"
)

func (a *app) execution() *cobra.Command {
	c := &cobra.Command{
		Use: "execution", Short: "Redrive executions, run them from any state, and say why or where they broke",
		Long: "These commands do what the AWS command line cannot: continue a failed execution with a changed definition, start a new\n" +
			"one where another stood, tell what a failed HTTP task was answered, and say where a run would have broken on AWS. They need a\n" +
			"running server. docs/extensions.md describes the operations behind them.",
	}
	c.AddCommand(a.redrive(), a.runFrom(), a.failure(), a.limits())
	return c
}

// server is a caller of the server at the address that the settings name.
func (a *app) server(c *cobra.Command) (awscall.Caller, error) {
	settings, _, err := a.settings(c)
	if err != nil {
		return nil, err
	}
	h, err := daemon.Ask(c.Context(), settings.Listen)
	var foreign *daemon.ErrForeign
	switch {
	case errors.As(err, &foreign):
		return nil, foreign
	case err != nil:
		return nil, fmt.Errorf("no server answers at %s; start one with: mayfly serve, or name its address with --listen", settings.Listen)
	}
	return remote(h.Endpoint, settings), nil
}

// call makes a call in the region of the execution that it is about.
func call[Out any](ctx context.Context, calls awscall.Caller, service, operation, arn string, in any) (*Out, error) {
	k := awscall.Call{Service: service, Operation: operation}
	if part := strings.Split(arn, ":"); len(part) > 3 {
		k.Principal = identity.Principal{Region: part[3]}
	}
	return awscall.Typed[Out](ctx, calls, k, in)
}

func (a *app) limits() *cobra.Command {
	c := &cobra.Command{
		Use: "limits EXECUTION-ARN", Short: "Say where an execution would have broken on AWS", Args: cobra.ExactArgs(1),
		Long: "Limits holds an execution against AWS's limits on data, history, time and redrives (docs/limits.md). It is for servers that\n" +
			"run with --limits relaxed, or with others than AWS's, which let such executions go on. The exit code is 1 when AWS would\n" +
			"have ended or refused it, or run fewer iterations at once.",
		RunE: func(c *cobra.Command, args []string) error {
			calls, err := a.server(c)
			if err != nil {
				return err
			}
			out, err := call[own.CheckLimitsOutput](c.Context(), calls, "mayfly", "CheckLimits", args[0], &own.CheckLimitsInput{ExecutionArn: args[0]})
			if err != nil {
				return err
			}
			if a.output == "json" {
				if err := a.json(out); err != nil {
					return err
				}
			} else {
				for _, b := range out.Breaks {
					state := "-"
					if b.State != nil {
						state = *b.State
					}
					fmt.Fprintf(a.out, "event %d  %s  %s  %s\n", b.EventId, state, b.Limit, b.Message)
				}
				if out.Truncated {
					fmt.Fprintln(a.out, "and more")
				}
			}
			if len(out.Breaks) > 0 {
				return &exitError{code: 1}
			}
			fmt.Fprintln(a.err, "within AWS's limits")
			return nil
		},
	}
	settingFlags(c, "listen", "access-key", "secret-key")
	return c
}

func (a *app) redrive() *cobra.Command {
	var definition string
	var dry bool
	c := &cobra.Command{
		Use: "redrive EXECUTION-ARN", Short: "Continue a failed execution where it failed, with a changed definition if you like", Args: cobra.ExactArgs(1),
		Long: "Redrive continues an execution that failed, was stopped or timed out, in the states where it stood. With --definition it goes\n" +
			"on with that one, which must have all those states; what differs is printed, and with --dry-run nothing else happens.\n" +
			"The state machine itself is not changed. The exit code is 1 when the execution cannot be redriven.",
		RunE: func(c *cobra.Command, args []string) error {
			if dry && definition == "" {
				return &exitError{2, errors.New("--dry-run compares definitions: give one with --definition")}
			}
			var text []byte
			if definition != "" {
				var err error
				if text, err = readInput(definition); err != nil {
					return err
				}
			}
			calls, err := a.server(c)
			if err != nil {
				return err
			}
			out := &own.RedriveExecutionOutput{}
			if definition == "" {
				r, err := call[statesapi.RedriveExecutionOutput](c.Context(), calls, "states", "RedriveExecution", args[0], &statesapi.RedriveExecutionInput{ExecutionArn: args[0]})
				if err != nil {
					return err
				}
				out.RedriveDate = &r.RedriveDate
			} else {
				out, err = call[own.RedriveExecutionOutput](c.Context(), calls, "mayfly", "RedriveExecution", args[0],
					&own.RedriveExecutionInput{ExecutionArn: args[0], Definition: string(text), DryRun: &dry})
				if err != nil {
					return err
				}
			}
			if a.output == "json" {
				err = a.json(out)
			} else {
				for _, d := range out.Differences {
					fmt.Fprintf(a.out, "%-8s %s\n", d.What, d.Pointer)
				}
				for _, o := range out.Obstacles {
					fmt.Fprintf(a.out, "%-8s %s\n", "obstacle", o)
				}
				if out.RedriveDate != nil {
					fmt.Fprintf(a.out, "redriven %s\n", out.RedriveDate.UTC().Format(time.RFC3339Nano))
				} else if len(out.Obstacles) == 0 {
					fmt.Fprintln(a.out, "nothing is in the way")
				}
			}
			if err == nil && len(out.Obstacles) > 0 {
				return &exitError{code: 1}
			}
			return err
		},
	}
	settingFlags(c, "listen", "access-key", "secret-key")
	c.Flags().StringVar(&definition, "definition", "", "file with the changed definition; - is the standard input")
	c.Flags().BoolVar(&dry, "dry-run", false, "only compare the definitions and look for what is in the way")
	return c
}

func (a *app) failure() *cobra.Command {
	var event int64
	c := &cobra.Command{
		Use: "failure EXECUTION-ARN", Short: "Show how a task failed, and what an HTTP API answered with it", Args: cobra.ExactArgs(1),
		Long: "Failure shows the last failure of a task in the execution's history, or the one that --event names: its error and cause, as\n" +
			"the state machine saw them, and of an HTTP task the whole answer, which AWS throws away.",
		RunE: func(c *cobra.Command, args []string) error {
			in := own.DescribeTaskFailureInput{ExecutionArn: args[0]}
			if c.Flags().Changed("event") {
				in.EventId = &event
			}
			calls, err := a.server(c)
			if err != nil {
				return err
			}
			out, err := call[own.DescribeTaskFailureOutput](c.Context(), calls, "mayfly", "DescribeTaskFailure", args[0], &in)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(out)
			}
			fmt.Fprintf(a.out, "event    %d\nerror    %s\ncause    %s\n", out.EventId, awsapi.Val(out.Error), awsapi.Val(out.Cause))
			if out.Response != nil {
				fmt.Fprintf(a.out, "response %s\n", *out.Response)
			}
			return nil
		},
	}
	settingFlags(c, "listen", "access-key", "secret-key")
	c.Flags().Int64Var(&event, "event", 0, "number of the event that tells of the failure")
	return c
}

func (a *app) runFrom() *cobra.Command {
	var in own.RunFromInput
	var state, name, input, variables, definition string
	var event int64
	c := &cobra.Command{
		Use: "run-from EXECUTION-ARN", Short: "Start a new execution at a state of another, with the input and variables that it had there", Args: cobra.ExactArgs(1),
		Long: "Run-from finds in the execution's history when it entered the state (the last time, or the event that --event names) and starts\n" +
			"a new execution there. Input and variables may be given anew, and the definition may be another. A state inside of a\n" +
			"Parallel or Map is run to the end of its branch or iteration.",
		RunE: func(c *cobra.Command, args []string) error {
			in.ExecutionArn = args[0]
			for _, f := range []struct {
				flag, value string
				to          **string
				file        bool
			}{{"state", state, &in.State, false}, {"name", name, &in.Name, false}, {"input", input, &in.Input, false}, {"variables", variables, &in.Variables, false}, {"definition", definition, &in.Definition, true}} {
				if !c.Flags().Changed(f.flag) {
					continue
				}
				if f.file {
					text, err := readInput(f.value)
					if err != nil {
						return err
					}
					f.value = string(text)
				}
				*f.to = &f.value
			}
			if c.Flags().Changed("event") {
				in.EventId = &event
			}
			if (in.State == nil) == (in.EventId == nil) {
				return &exitError{2, errors.New("give either --state or --event")}
			}
			calls, err := a.server(c)
			if err != nil {
				return err
			}
			out, err := call[own.RunFromOutput](c.Context(), calls, "mayfly", "RunFrom", args[0], &in)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(out)
			}
			fmt.Fprintf(a.out, "execution %s\nstate     %s/States/%s\ninput     %s\nvariables %s\n", out.ExecutionArn, out.Block, out.State, out.Input, out.Variables)
			return nil
		},
	}
	settingFlags(c, "listen", "access-key", "secret-key")
	c.Flags().StringVar(&state, "state", "", "name of the state")
	c.Flags().Int64Var(&event, "event", 0, "number of the event that entered the state")
	c.Flags().StringVar(&name, "name", "", "name of the new execution (default random)")
	c.Flags().StringVar(&input, "input", "", "JSON in place of the recorded input")
	c.Flags().StringVar(&variables, "variables", "", "JSON object with values in place of recorded variables")
	c.Flags().StringVar(&definition, "definition", "", "file with another definition; - is the standard input")
	return c
}
