package states

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	own "github.com/mayfly-run/mayfly/internal/awsapi/mayflyapi"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/store"
)

// maxBreaks bounds the answer of CheckLimits.
const maxBreaks = 1000

// CheckLimits says where an execution, whose server may have relaxed limits, would have broken on AWS: at the first place
// for sure, at the others if it had come so far. It reads the history, so it knows nothing of the arguments of intrinsic
// functions.
func (s *Service) CheckLimits(ctx context.Context, in *own.CheckLimitsInput) (*own.CheckLimitsOutput, error) {
	if _, err := parse(in.ExecutionArn, "execution"); err != nil {
		return nil, err
	}
	d, err := s.cfg.Engine.Describe(ctx, in.ExecutionArn)
	if errors.Is(err, store.ErrNotFound) {
		return nil, awsapi.Errorf(400, "ExecutionDoesNotExist", "Execution Does Not Exist: '%s'", in.ExecutionArn)
	}
	if err != nil {
		return nil, err
	}
	c := limitCheck{limits: execution.DefaultLimits, states: map[int64]string{}, variables: map[string]int{}}
	for e, err := range s.cfg.Engine.History(ctx, d.ARN) {
		if err != nil {
			return nil, fmt.Errorf("read the history of %s: %w", d.ARN, err)
		}
		c.event(e, d.Started)
	}
	out := &own.CheckLimitsOutput{Breaks: c.breaks, Truncated: len(c.breaks) > maxBreaks}
	if out.Breaks == nil {
		out.Breaks = []own.Break{}
	}
	out.Breaks = out.Breaks[:min(len(out.Breaks), maxBreaks)]
	return out, nil
}

// limitCheck compares the events of one execution with AWS's limits.
type limitCheck struct {
	limits    execution.Limits
	states    map[int64]string // event → the state that it belongs to
	variables map[string]int   // bytes of the values; names of inner scopes count as one
	late      bool
	breaks    []own.Break
}

// maxOpen is how long an execution may run. AWS: a year.
const maxOpen = 365 * 24 * time.Hour

func (c *limitCheck) event(e *history.Event, began time.Time) {
	tree := e.Tree(true, jsonvalue.Value.String)
	var details map[string]any
	for name, v := range tree {
		if strings.HasSuffix(name, "EventDetails") {
			details, _ = v.(map[string]any)
		}
	}
	state := c.states[e.Previous]
	if name, ok := details["name"].(string); ok && strings.HasSuffix(string(e.Type), "StateEntered") {
		state = name
	}
	c.states[e.ID] = state
	exceeds := func(limit, what string, found, allowed int64) {
		if allowed > 0 && found > allowed && len(c.breaks) <= maxBreaks {
			b := own.Break{EventId: e.ID, State: optional(state), Limit: limit, Found: found, Allowed: allowed}
			b.Message = fmt.Sprintf("%s: %s has %d bytes, AWS allows %d.", e.Type, what, found, allowed)
			switch limit {
			case "HISTORY":
				b.Message = fmt.Sprintf("The history goes on beyond event %d, where AWS ends the execution.", allowed)
			case "DURATION":
				b.Message = "The execution is open for more than a year, after which AWS ends it."
			}
			c.breaks = append(c.breaks, b)
		}
	}
	payload := int64(c.limits.Data.Payload)
	passedOn := strings.HasSuffix(string(e.Type), "StateEntered") || e.Type == history.ExecutionSucceeded // the state before has left it
	for _, what := range []string{"input", "parameters", "output"} {
		if text, ok := details[what].(string); ok && !passedOn {
			exceeds("PAYLOAD", "the "+what, int64(len(text)), payload)
		}
	}
	assigned, _ := details["assignedVariables"].(map[string]any)
	total := 0
	for _, name := range slices.Sorted(maps.Keys(assigned)) {
		text, _ := assigned[name].(string)
		c.variables[name] = len(text)
		total += len(text)
		exceeds("VARIABLE", "the variable "+name, int64(len(text)), int64(c.limits.Data.Variable))
	}
	if len(assigned) > 1 {
		exceeds("VARIABLE", "what Assign sets", int64(total), int64(c.limits.Data.Variable))
	}
	if total > 0 {
		all := 0
		for _, n := range c.variables {
			all += n
		}
		exceeds("VARIABLES", "all variables together", int64(all), int64(c.limits.Data.Variables))
	}
	if e.ID == c.limits.Events+1 {
		exceeds("HISTORY", "", e.ID, c.limits.Events)
	}
	if open := e.At.Sub(began); open > maxOpen && !c.late {
		c.late = true
		exceeds("DURATION", "", int64(open/time.Second), int64(maxOpen/time.Second))
	}
}
