package launch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
)

// answers gives one error after the other, and then an answer.
type answers []error

func (a *answers) Invoke(context.Context, awscall.Call) (map[string]any, error) {
	if len(*a) == 0 {
		return map[string]any{"ok": true}, nil
	}
	err := (*a)[0]
	*a = (*a)[1:]
	return nil, err
}

func TestARunOutlivesARestartOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := fmt.Errorf("call states DescribeExecution: %w", syscall.ECONNREFUSED)
		run := New(Options{Clock: clock.System{}, Poll: time.Second, Calls: &answers{refused, refused, refused}})
		if out, err := run.call(t.Context(), "states", "DescribeExecution", nil); err != nil || out["ok"] != true {
			t.Errorf("%v %v", out, err)
		}
		var gone answers
		for range 100 {
			gone = append(gone, refused)
		}
		run = New(Options{Clock: clock.System{}, Poll: time.Second, Calls: &gone})
		if _, err := run.call(t.Context(), "states", "DescribeExecution", nil); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a server that stays away: %v", err)
		}
		run = New(Options{Clock: clock.System{}, Poll: time.Second, Calls: &answers{awsapi.Errorf(400, "ExecutionDoesNotExist", "x"), nil}})
		if _, err := run.call(t.Context(), "states", "DescribeExecution", nil); !is(err, "ExecutionDoesNotExist") {
			t.Errorf("a refused call is not repeated: %v", err)
		}
	})
}

func TestAnInterruptedRunSaysWhatGoesOn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	boom := errors.New("boom")
	if err := interrupted(ctx, "arn:x", boom); err != boom {
		t.Errorf("a failure: %v", err)
	}
	cancel()
	if err := interrupted(ctx, "arn:x", nil); err != nil {
		t.Errorf("a run that was over: %v", err)
	}
	if err := interrupted(ctx, "arn:x", boom); err == nil || !strings.Contains(err.Error(), "goes on") || !strings.Contains(err.Error(), "stop-execution --execution-arn arn:x") {
		t.Errorf("an interruption: %v", err)
	}
}
