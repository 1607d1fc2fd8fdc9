package states

import (
	"cmp"
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

// CheckLimits says where an execution, whose server may have other limits than AWS, would have broken there: at the first
// place for sure, at the others if it had come so far. It folds the journal: the history, and what was noted where a state
// took more than AWS allows and no event tells.
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
	definition, err := s.cfg.Engine.Definition(ctx, d.Digest)
	if err != nil {
		return nil, fmt.Errorf("read the definition of %s: %w", d.ARN, err)
	}
	c := limitCheck{aws: execution.DefaultLimits, told: map[toldOf]bool{}}
	c.exceeds(1, "", "DEFINITION", int64(len(definition)), int64(c.aws.Definition), "The definition has %d bytes, AWS allows %d.")
	for f, err := range s.cfg.Engine.Facts(ctx, d.ARN) {
		if err != nil {
			return nil, fmt.Errorf("read the journal of %s: %w", d.ARN, err)
		}
		c.fact(f)
	}
	slices.SortStableFunc(c.breaks, func(a, b own.Break) int { return cmp.Compare(a.EventId, b.EventId) })
	out := &own.CheckLimitsOutput{Breaks: c.breaks, Truncated: len(c.breaks) > maxBreaks}
	if out.Breaks == nil {
		out.Breaks = []own.Break{}
	}
	out.Breaks = out.Breaks[:min(len(out.Breaks), maxBreaks)]
	return out, nil
}

// limitCheck compares one execution with AWS's limits.
type limitCheck struct {
	aws    execution.Limits
	s      execution.Snapshot // so far
	told   map[toldOf]bool
	breaks []own.Break
}

// toldOf is what is told once: of one visit of a state, or, where entered is 0, of the execution.
type toldOf struct {
	limit   string
	entered int64
}

// exceeds tells of an event beyond a limit; the sentence has verbs for what was found and what is allowed.
func (c *limitCheck) exceeds(event int64, state, limit string, found, allowed int64, sentence string) {
	if found > allowed && len(c.breaks) <= maxBreaks {
		c.breaks = append(c.breaks, own.Break{EventId: event, State: optional(state), Limit: limit, Found: found, Allowed: allowed,
			Message: fmt.Sprintf(sentence, found, allowed)})
	}
}

// once is exceeds, but for what was told already.
func (c *limitCheck) once(entered, event int64, state, limit string, found, allowed int64, sentence string) {
	of := toldOf{limit, entered}
	if found > allowed && !c.told[of] {
		c.told[of] = true
		c.exceeds(event, state, limit, found, allowed, sentence)
	}
}

func (c *limitCheck) fact(f execution.Fact) {
	var state string // that the fact belongs to
	var entered int64
	where := func() {
		if fr := c.s.Frames[f.Frame]; fr != nil && fr.State != "" {
			state, entered = fr.State, fr.Entered
		}
	}
	where()
	if f.Event != nil {
		c.before(f, state)
	}
	execution.Apply(&c.s, f)
	where()
	if f.Event != nil {
		c.event(f.Event, state, entered)
	}
	if fr := c.s.Frames[f.Frame]; fr != nil && fr.Await.Join != nil && f.Event != nil && f.Event.Type == history.MapIterationStarted {
		c.once(entered, f.Event.ID, state, "INLINE_CONCURRENCY", int64(fr.Await.Join.Open), int64(c.aws.InlineConcurrency),
			"%d iterations are open at once; AWS runs %d, and others as those end.")
	}
	if f.Note != nil && f.Note.Exceeded != nil {
		c.exceeded(f.Note.Exceeded)
	}
}

// before judges an event by what was before it.
func (c *limitCheck) before(f execution.Fact, state string) {
	switch e := f.Event; e.Type {
	case history.ExecutionRedriven:
		seconds := int64(time.Second)
		c.exceeds(e.ID, "", "REDRIVE_WINDOW", int64(e.At.Sub(c.s.Stopped))/seconds, int64(c.aws.RedriveWindow)/seconds,
			"The execution is redriven %d seconds after its end, AWS allows %d.")
		c.once(0, e.ID, "", "HISTORY", c.s.LastEvent, c.aws.Events-2, "The execution is redriven with %d events, AWS allows %d.")
	case history.TaskSucceeded, history.TaskFailed:
		if f.Note == nil || f.Note.Completed == nil || c.s.Tasks[f.Note.Completed.Task] == nil {
			break
		}
		task := c.s.Tasks[f.Note.Completed.Task]
		if r, err := execution.ParseResource(task.Resource); err == nil && r.Service == "http" {
			c.exceeds(e.ID, state, "HTTP_DURATION", int64(e.At.Sub(task.IssuedAt)/time.Second), int64(c.aws.HTTPDuration/time.Second),
				"The call took %d seconds, AWS allows %d.")
		}
	}
}

func (c *limitCheck) event(e *history.Event, state string, entered int64) {
	var details map[string]any
	for name, v := range e.Tree(true, jsonvalue.Value.String) {
		if strings.HasSuffix(name, "EventDetails") {
			details, _ = v.(map[string]any)
		}
	}
	passedOn := strings.HasSuffix(string(e.Type), "StateEntered") || e.Type == history.ExecutionSucceeded // the state before has left it
	for _, what := range []string{"input", "parameters", "output"} {
		if text, ok := details[what].(string); ok && !passedOn {
			c.bytes(e, state, entered, "PAYLOAD", "the "+what, len(text), c.aws.Data.Payload)
		}
	}
	assigned, _ := details["assignedVariables"].(map[string]any)
	total := 0
	for _, name := range slices.Sorted(maps.Keys(assigned)) {
		text, _ := assigned[name].(string)
		total += len(text)
		c.bytes(e, state, entered, "VARIABLE", "the variable "+name, len(text), c.aws.Data.Variable)
	}
	if len(assigned) > 1 {
		c.bytes(e, state, entered, "VARIABLE", "what Assign sets", total, c.aws.Data.Variable)
	}
	if e.ID > c.aws.Events {
		c.once(0, e.ID, state, "HISTORY", e.ID, c.aws.Events, "The history goes on with event %d beyond event %d, where AWS ends the execution.")
	}
	if d, ok := e.Details.(*history.MapRunRedrive); ok {
		c.exceeds(e.ID, state, "MAP_REDRIVES", d.Count, c.aws.MapRedrives, "The map run is redriven %d times, AWS allows %d.")
	}
	if e.Type != history.ExecutionTimedOut {
		c.once(0, e.ID, state, "DURATION", int64(e.At.Sub(c.s.Started)/time.Second), int64(c.aws.Duration/time.Second),
			"The execution is open for %d seconds; AWS ends it after %d.")
	}
}

// bytes tells of a datum of an event that is too large.
func (c *limitCheck) bytes(e *history.Event, state string, entered int64, limit, what string, found, allowed int) {
	if found > allowed {
		c.told[toldOf{limit, entered}] = true
	}
	c.exceeds(e.ID, state, limit, int64(found), int64(allowed), string(e.Type)+": "+what+" has %d bytes, AWS allows %d.")
}

// exceeded tells of what no event shows.
func (c *limitCheck) exceeded(n *execution.Exceeded) {
	for _, x := range []struct {
		limit, code, sentence string
		allowed               int
	}{
		{"payload", "PAYLOAD", "A value that the state makes on its way has %d bytes, AWS allows %d.", c.aws.Data.Payload},
		{"variable", "VARIABLE", "What Assign sets has %d bytes, AWS allows %d.", c.aws.Data.Variable},
		{"variables", "VARIABLES", "All variables together have %d bytes, AWS allows %d.", c.aws.Data.Variables},
		{"intrinsic-text", "INTRINSIC_TEXT", "The argument of an intrinsic function has %d bytes, AWS allows %d.", c.aws.Data.IntrinsicString},
		{"expression-depth", "EXPRESSION_DEPTH", "A JSONata expression goes %d levels deep, AWS allows %d.", c.aws.Data.Expression.Depth},
		{"expression-value", "EXPRESSION_VALUE", "A JSONata expression makes a value of %d bytes, AWS allows %d.", c.aws.Data.Expression.Value},
	} {
		if x.limit == n.Limit {
			c.once(n.Entered, n.Entered, n.State, x.code, n.Found, int64(x.allowed), x.sentence)
		}
	}
}
