package conformance

import (
	"errors"
	"fmt"

	"github.com/mayfly-run/mayfly/internal/clock"
)

// work plays the worker outside of Step Functions that completes the tasks of a case with their tokens: each with what was
// recorded of its state, in the order of its starts. It sees the tokens where they were sent, in the history; those of
// activities it asks for.
func (r *Runner) work(c *Case, execution string) error {
	todo := 0
	for _, starts := range c.Mocks {
		todo += len(starts)
	}
	if todo == 0 {
		return skip("the case does not say what the worker outside of the endpoint answers")
	}
	done, starts := map[string]bool{}, map[string]int{}
	for limit := r.Clock.Now().Add(clock.Seconds(r.Timeout)); todo > len(done); r.pause(0.05) {
		if r.Clock.Now().After(limit) {
			return errors.New("the worker has waited in vain for a task to be submitted")
		}
		page, err := r.Endpoint.call("stepfunctions", "GetExecutionHistory", map[string]any{"executionArn": execution, "maxResults": 1000})
		if err != nil {
			return fmt.Errorf("GetExecutionHistory: %w", err)
		}
		events := map[string]map[string]any{}
		for _, x := range asList(page["events"]) {
			e := asObject(x)
			id := dump(e["id"])
			events[id] = e
			var token, state string
			switch {
			case done[id]:
				continue
			case e["type"] == "ActivityScheduled":
				if token, err = r.poll(c, e); err != nil {
					return err
				}
			case e["type"] != "TaskSubmitted":
				continue
			}
			for ; e != nil && state == ""; e = events[dump(e["previousEventId"])] {
				if e["type"] == "TaskScheduled" && token == "" { // those before are of earlier tries
					var sent any
					_ = decode([]byte(plainText(asObject(e["taskScheduledEventDetails"])["parameters"])), &sent) // no token is told below
					token = tokenIn(sent)
				}
				state, _ = asObject(e["stateEnteredEventDetails"])["name"].(string)
			}
			n := starts[state]
			if token == "" || n >= len(c.Mocks[state]) {
				return fmt.Errorf("event %s: the worker knows neither a token nor an answer for %q", id, state)
			}
			if err := r.answer(token, asObject(c.Mocks[state][n])); err != nil {
				return err
			}
			done[id], starts[state] = true, n+1
		}
	}
	return nil
}

// poll takes the task of an activity, by the name that the recorded worker had.
func (r *Runner) poll(c *Case, scheduled map[string]any) (token string, err error) {
	in := map[string]any{"activityArn": asObject(scheduled["activityScheduledEventDetails"])["resource"]}
	for _, e := range asList(c.Expect["events"]) {
		if name := asObject(asObject(e)["activityStartedEventDetails"])["workerName"]; name != nil {
			in["workerName"] = name
		}
	}
	task, err := r.Endpoint.call("stepfunctions", "GetActivityTask", in)
	if err != nil {
		return "", fmt.Errorf("GetActivityTask: %w", err)
	}
	token, _ = task["taskToken"].(string)
	return token, nil
}

// tokenIn finds what a task was told as TaskToken.
func tokenIn(v any) (token string) {
	switch v := v.(type) {
	case map[string]any:
		if token, _ = v["TaskToken"].(string); token != "" {
			return token
		}
		for _, x := range v {
			if token = tokenIn(x); token != "" {
				return token
			}
		}
	case []any:
		for _, x := range v {
			if token = tokenIn(x); token != "" {
				return token
			}
		}
	}
	return ""
}

// answer completes a task as it was recorded. A token in the recorded output stands for the task's own.
func (r *Runner) answer(token string, recorded map[string]any) error {
	in := map[string]any{"taskToken": token}
	operation := "SendTaskFailure"
	if output, ok := recorded["return"]; ok {
		operation = "SendTaskSuccess"
		if echo := tokenIn(output); echo != "" {
			var err error
			if output, err = replaced(output, map[string]string{echo: token}); err != nil {
				return err
			}
		}
		in["output"] = dump(output)
	} else {
		for k, v := range asObject(recorded["throw"]) {
			in[k] = v
		}
	}
	if _, err := r.Endpoint.call("stepfunctions", operation, in); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	return nil
}
