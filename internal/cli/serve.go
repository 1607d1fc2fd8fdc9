package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/daemon"
)

func (a *app) serve() *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "Serve the AWS APIs in the foreground", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, _, err := a.settings(c)
			if err != nil {
				return err
			}
			log := logger(settings, a.err)
			s, err := daemon.Start(c.Context(), settings, Version(), log)
			if err != nil {
				return err
			}
			log.Info("ready", "endpoint", s.Endpoint(), "version", Version(), "data", settings.DataDir)
			if err := s.Wait(c.Context()); err != nil {
				return fmt.Errorf("the server ends, because what it is told could not be kept: %w", err)
			}
			log.Info("ending")
			s.Stop()
			return nil
		},
	}
	settingFlags(c)
	return c
}

func (a *app) stop() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use: "stop", Short: "End the server of a data directory", Args: cobra.NoArgs,
		Long: "Stop ends the server that holds the data directory and returns when it is gone. Executions, clusters and stacks go on\n" +
			"at the next start.",
		RunE: func(c *cobra.Command, _ []string) error {
			settings, _, err := a.settings(c)
			if err != nil {
				return err
			}
			dir, err := filepath.Abs(settings.DataDir)
			if err != nil {
				return err
			}
			owner, stopped, err := stop(c.Context(), dir, timeout)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(map[string]any{"stopped": stopped, "pid": owner.PID, "dataDir": dir})
			}
			if !stopped {
				fmt.Fprintf(a.err, "no server holds %s\n", dir)
				return nil
			}
			fmt.Fprintf(a.out, "stopped mayfly %s (process %d)\n", owner.Version, owner.PID)
			return nil
		},
	}
	settingFlags(c, "data-dir")
	c.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for its end")
	return c
}

// stop signals the holder of the data directory and waits until it has let go.
func stop(ctx context.Context, dir string, timeout time.Duration) (owner daemon.Owner, stopped bool, err error) {
	owner, held, err := daemon.Holder(dir)
	if err != nil || !held {
		return owner, false, err
	}
	if owner.PID <= 0 {
		return owner, false, fmt.Errorf("the holder of %s has not named itself yet; try again", dir)
	}
	if err := syscall.Kill(owner.PID, syscall.SIGTERM); err != nil {
		return owner, false, fmt.Errorf("end process %d: %w", owner.PID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		switch now, held, err := daemon.Holder(dir); {
		case err != nil:
			return owner, false, err
		case !held || now.PID != owner.PID && now.PID != 0:
			return owner, true, nil
		}
		if err := pause(ctx, 20*time.Millisecond); errors.Is(err, context.DeadlineExceeded) {
			return owner, false, fmt.Errorf("process %d did not end within %s; its log says why", owner.PID, timeout)
		} else if err != nil {
			return owner, false, err
		}
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	woken := make(chan struct{})
	t := clock.System{}.AfterFunc(d, func() { close(woken) })
	defer t.Stop()
	select {
	case <-woken:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
