package lambda

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/store"
)

// An asynchronous invocation is an entity: accepted, tried up to three times, and ended. Its name is the request id, which
// every try has.
type (
	// invocation is its state.
	invocation struct {
		Event    event
		Accepted time.Time
		Failures int
		Ended    string // how
	}
	// invocationInput is one of its members.
	invocationInput struct {
		Accept  *event            `json:"accept,omitempty"`
		Outcome *invocationResult `json:"outcome,omitempty"`
		Again   bool              `json:"again,omitempty"`
	}
	invocationResult struct {
		Error string `json:"error,omitempty"` // the function's; empty: it succeeded
		Gone  bool   `json:"gone,omitempty"`  // there is no such function any more
	}
	// invocationFact is one of its members.
	invocationFact struct {
		Accepted *accepted `json:"accepted,omitempty"`
		Failed   string    `json:"failed,omitempty"`
		Ended    string    `json:"ended,omitempty"`
	}
	accepted struct {
		Event event     `json:"event"`
		At    time.Time `json:"at"`
	}
	// invocationRun is the one command: try it.
	invocationRun struct {
		Try int `json:"try"`
	}
	invocationCore struct{ pauses []time.Duration }
)

// AWS: an event that could not be delivered in six hours is given up.
const maxEventAge = 6 * time.Hour

// Apply folds one fact.
func (invocationCore) Apply(s *invocation, f invocationFact) {
	switch {
	case f.Accepted != nil:
		s.Event, s.Accepted = f.Accepted.Event, f.Accepted.At
	case f.Failed != "":
		s.Failures++
	case f.Ended != "":
		s.Ended = f.Ended
	}
}

// Decide answers one input.
func (c invocationCore) Decide(s *invocation, in durable.Input[invocationInput], env durable.Env) (d durable.Decision[invocationFact, invocationRun], err error) {
	note := func(f invocationFact) {
		c.Apply(s, f)
		d.Facts = append(d.Facts, f)
	}
	switch b := in.Body; {
	case s.Ended != "":
	case b.Accept != nil && s.Accepted.IsZero():
		note(invocationFact{Accepted: &accepted{*b.Accept, env.Now}})
		d.Commands = append(d.Commands, invocationRun{})
	case b.Again:
		d.Commands = append(d.Commands, invocationRun{s.Failures})
	case b.Outcome == nil:
	case b.Outcome.Gone:
		note(invocationFact{Ended: "function deleted"})
	case b.Outcome.Error == "":
		note(invocationFact{Ended: "succeeded"})
	default:
		note(invocationFact{Failed: b.Outcome.Error})
		n := s.Failures
		if n > len(c.pauses) || env.Now.Add(c.pauses[n-1]).Sub(s.Accepted) > maxEventAge {
			note(invocationFact{Ended: "failed"})
			break
		}
		d.SetTimers = append(d.SetTimers, durable.Timer{Name: "again", Due: env.Now.Add(c.pauses[n-1])})
	}
	d.Closed = s.Ended != ""
	return d, nil
}

func (s *Service) kind() durable.Kind[invocation, invocationInput, invocationFact, invocationRun] {
	return durable.Kind[invocation, invocationInput, invocationFact, invocationRun]{
		Name:     "invocation",
		Core:     invocationCore{s.Retries},
		New:      func(store.ID) *invocation { return &invocation{} },
		Timer:    func(string) invocationInput { return invocationInput{Again: true} },
		Dispatch: s.deliver,
		Committed: func(id store.ID, st *invocation, facts []invocationFact) {
			for _, f := range facts {
				if f.Ended != "" && f.Ended != "succeeded" {
					s.Log.Warn("asynchronous invocation given up", "function", st.Event.Function, "request", id.Name(), "why", f.Ended, "attempts", st.Failures)
				}
			}
		},
	}
}

// enqueue accepts an asynchronous invocation.
func (s *Service) enqueue(ctx context.Context, ev event) error {
	_, err := s.invocations.Do(ctx, store.ID("invocation/"+ev.Request), durable.Input[invocationInput]{
		By: ev.Caller, Body: invocationInput{Accept: &ev},
	})
	if err != nil {
		return fmt.Errorf("accept invocation %s: %w", ev.Request, err)
	}
	return nil
}

// deliver makes one try. An error that is not the function's leaves the command in the outbox, so it is tried again.
func (s *Service) deliver(ctx context.Context, id store.ID, key string, _ invocationRun) (*invocationInput, error) {
	var ev event
	if err := s.invocations.View(ctx, id, func(st *invocation) { ev = st.Event }); err != nil {
		return nil, err
	}
	k, err := resolve(ctx, ev.Function, nil)
	if err != nil {
		return nil, err
	}
	f, _, err := s.get(ctx, k)
	if awscall.Code(err) == "ResourceNotFoundException" {
		return &invocationInput{Outcome: &invocationResult{Gone: true}}, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := s.run(ctx, f, ev)
	var api *awsapi.Error
	if errors.As(err, &api) && api.Status != 429 {
		return &invocationInput{Outcome: &invocationResult{Error: api.Error()}}, nil
	}
	if err != nil {
		return nil, err
	}
	out := &invocationResult{}
	if r.Error != "" {
		out.Error = string(r.Payload[:min(len(r.Payload), 4096)])
	}
	return &invocationInput{Outcome: out}, nil
}
