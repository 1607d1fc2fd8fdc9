package engine

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/store"
)

// Redrive is a request to continue a closed execution.
type Redrive struct {
	ARN        string
	Token      string // the caller's; a repeated one is answered as the first was
	RequestKey string // of the call; may be empty
	Definition []byte // takes the place of the former one; nil: the same
}

// RedriveExecution continues an execution where it failed, and returns when that was. store.ErrNotFound: there is none.
// ExecutionNotRedrivable says why it cannot go on.
func (e *Engine) RedriveExecution(ctx context.Context, x Redrive) (time.Time, error) {
	es, err := e.entities(x.ARN)
	if err != nil || es != e.standard {
		return time.Time{}, store.ErrNotFound
	}
	if err := e.room(x.ARN); err != nil {
		return time.Time{}, err
	}
	in := execution.Redrive{Token: x.Token}
	if x.Definition != nil {
		if in.Digest, err = e.bind(ctx, x.Definition); err != nil {
			return time.Time{}, err
		}
	}
	r, err := durable.Reply[execution.Reply](es.Do(ctx, id(x.ARN), durable.Input[execution.Input]{
		By: identity.From(ctx), RequestKey: x.RequestKey, Body: execution.Input{Redrive: &in}}))
	if err == nil && r.Stale {
		err = store.ErrNotFound
	}
	return r.Redriven, err
}

// Edit is what a changed definition would mean for a closed execution.
type Edit struct {
	Differences []execution.Difference
	Obstacles   []string // why the execution could not go on with it; none: it can
}

// CheckEdit compares an execution's definition with a changed one.
func (e *Engine) CheckEdit(ctx context.Context, arn string, definition []byte) (*Edit, error) {
	es, err := e.entities(arn)
	if err != nil {
		return nil, store.ErrNotFound
	}
	after, err := parse(definition)
	if err != nil {
		return nil, err
	}
	var edit Edit
	var digest string
	now := e.cfg.Clock.Now()
	err = es.View(ctx, id(arn), func(s *execution.Snapshot) {
		digest = s.Identity.Digest
		if s.Status == "" {
			return
		}
		if reason := e.cfg.Limits.Redrivable(s, now); reason != "" {
			edit.Obstacles = append(edit.Obstacles, reason)
			return
		}
		edit.Obstacles = execution.Obstacles(s, after)
	})
	switch {
	case err != nil:
		return nil, err
	case digest == "":
		return nil, store.ErrNotFound
	}
	before := e.machine(digest)
	if before == nil {
		return nil, fmt.Errorf("definition %s of %s cannot be read", digest, arn)
	}
	edit.Differences = execution.Differences(before, after)
	return &edit, nil
}

// Moment is where an execution was when it entered a state.
type Moment struct {
	Event        int64 // its …StateEntered
	Block, State string
	Input        jsonvalue.Value
	Vars         map[string]jsonvalue.Value // all that the state saw, its own block's and those around it
}

// Moment finds in an execution's journal when it entered a state: the event with that number, or the last entry of the
// state with that name. store.ErrNotFound: it never did.
func (e *Engine) Moment(ctx context.Context, arn string, event int64, state string) (*Moment, error) {
	es, err := e.entities(arn)
	if err != nil {
		return nil, store.ErrNotFound
	}
	var found *Moment
	s := &execution.Snapshot{}
	for r, err := range es.Records(ctx, id(arn), 0) {
		if err != nil {
			return nil, fmt.Errorf("read the journal of %s: %w", arn, err)
		}
		for _, f := range r.Facts {
			execution.Apply(s, f)
			if f.Event == nil || event != 0 && f.Event.ID != event {
				continue
			}
			d, ok := f.Event.Details.(*history.Entered)
			fr := s.Frames[f.Frame]
			if !ok || fr == nil || event == 0 && d.Name != state {
				continue
			}
			found = &Moment{Event: f.Event.ID, Block: fr.Block, State: d.Name, Input: d.Input, Vars: variables(s, f.Frame)}
		}
	}
	if found == nil {
		return nil, store.ErrNotFound
	}
	return found, nil
}

// variables are all that a frame sees: inner ones hide outer ones.
func variables(s *execution.Snapshot, a execution.Addr) map[string]jsonvalue.Value {
	out := map[string]jsonvalue.Value{}
	if p, ok := a.Parent(); ok {
		out = variables(s, p)
	}
	if f := s.Frames[a]; f != nil {
		maps.Copy(out, f.Vars)
	}
	return out
}

// HasState reports whether a definition has a state in a block, and refuses one that is not valid.
func HasState(definition []byte, block, state string) (bool, error) {
	m, err := parse(definition)
	if err != nil {
		return false, err
	}
	b := m.BlockAt(block)
	return b != nil && b.States[state] != nil, nil
}
