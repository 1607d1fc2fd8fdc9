package durable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// ops is a Kind without its types, as the loop sees it. States are *S, bodies I, commands C and facts []F.
type ops interface {
	name() string
	fresh(id store.ID) any
	decide(ctx context.Context, id store.ID, state any, in *input, env Env) (outcome, error)
	fold(state any, r store.Record) (folded, error)
	messages(r store.Record) (commands []any, sends []Send, err error)
	inputBody(body any) (any, error)
	dispatch(ctx context.Context, id store.ID, key string, command any) (any, error)
	committed(id store.ID, state, facts any)
	broken(id store.ID, err error) any
	opens() bool
	hasTimers() bool
	continues() bool
	parallel() int
	marshal(state any) ([]byte, error)
	unmarshal(id store.ID, b []byte) (any, error)
}

// outcome is a Decision without its types, ready for the store.
type outcome struct {
	none        bool // nothing was to be decided
	facts       any
	factCount   int
	commands    []any
	sends       []Send
	setTimers   []Timer
	clearTimers []string
	rows        []store.RowChange
	reply       any
	answer      json.RawMessage // reply, where it is kept
	err         error
	more        bool
	closed      bool
	body        []byte
	version     uint8
}

// changes says whether there is anything to record.
func (o *outcome) changes() bool {
	return o.factCount+len(o.commands)+len(o.sends)+len(o.setTimers)+len(o.clearTimers) > 0 || o.more
}

type folded struct {
	facts  int
	closed bool
	named  bool
	answer answer
}

// Entities are the entities of one kind.
type Entities[S, I, F, C any] struct {
	loop *Loop
	kind Kind[S, I, F, C]
}

// Register adds a kind to the loop, before Start.
func Register[S, I, F, C any](l *Loop, k Kind[S, I, F, C]) *Entities[S, I, F, C] {
	e := &Entities[S, I, F, C]{l, k}
	l.register(e)
	return e
}

// Do gives the entity an input and returns its reply once all of the decision is durable. An entity exists from its
// first record on. After ctx has ended the input may still be decided. An input whose RequestKey or ID was answered
// before this process began is answered with a json.RawMessage: use Reply to read either form.
func (e *Entities[S, I, F, C]) Do(ctx context.Context, id store.ID, in Input[I]) (any, error) {
	if in.RequestKey != "" {
		if reply, err := e.receipt(ctx, in.RequestKey); !errors.Is(err, store.ErrNotFound) {
			return reply, err
		}
	}
	reply, err := e.wait(ctx, id, &input{
		id: in.ID, named: in.ID != "", label: in.ID, by: in.By, requestKey: in.RequestKey, body: in.Body,
	})
	if in.RequestKey != "" && errors.Is(err, store.ErrConflict) { // its twin may have come first, to another entity
		if reply, err := e.receipt(ctx, in.RequestKey); !errors.Is(err, store.ErrNotFound) {
			return reply, err
		}
	}
	return reply, err
}

func receiptKey(kind, key string) string { return "durable/" + kind + "/" + key }

func (e *Entities[S, I, F, C]) receipt(ctx context.Context, key string) (any, error) {
	r, err := e.loop.cfg.Store.Receipt(ctx, receiptKey(e.kind.Name, key))
	if err != nil {
		return nil, err
	}
	return json.RawMessage(r.Answer), nil
}

// Reply turns what Do returned into a T, also where it was kept as JSON.
func Reply[T any](reply any, err error) (T, error) {
	var t T
	if err != nil {
		return t, err
	}
	switch v := reply.(type) {
	case nil:
		return t, nil
	case T:
		return v, nil
	case json.RawMessage:
		if len(v) == 0 {
			return t, nil
		}
		err := json.Unmarshal(v, &t)
		return t, err
	}
	return t, fmt.Errorf("reply is a %T, not a %T", reply, t)
}

type reply struct {
	value any
	err   error
}

func (e *Entities[S, I, F, C]) wait(ctx context.Context, id store.ID, in *input) (any, error) {
	if id.Kind() != e.kind.Name {
		return nil, fmt.Errorf("%s is not of kind %s", id, e.kind.Name)
	}
	ch := make(chan reply, 1)
	in.finish = func(v any, err error) { ch <- reply{v, err} }
	if err := e.loop.submit(id, in); err != nil {
		return nil, err
	}
	select {
	case r := <-ch:
		return r.value, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Tell gives the entity an input without waiting for what it brings about. It is lost when the server ends before the
// commit, and its error is only logged.
func (e *Entities[S, I, F, C]) Tell(id store.ID, in Input[I]) error {
	if id.Kind() != e.kind.Name {
		return fmt.Errorf("%s is not of kind %s", id, e.kind.Name)
	}
	return e.loop.submit(id, &input{
		id: in.ID, named: in.ID != "", label: in.ID, by: in.By, requestKey: in.RequestKey, body: in.Body,
		finish: e.loop.logged("tell", id),
	})
}

// View runs f with the entity's state, and returns when what f saw is durable; it is store.ErrNotFound when the entity
// has no record. f must not keep or change the state, and f runs again when what it saw was taken back.
func (e *Entities[S, I, F, C]) View(ctx context.Context, id store.ID, f func(*S)) error {
	var mu sync.Mutex
	gone := false // nobody waits for f any more
	_, err := e.wait(ctx, id, &input{label: "view", view: func(state any) {
		mu.Lock()
		defer mu.Unlock()
		if !gone {
			f(state.(*S))
		}
	}})
	mu.Lock() // f, if it is running, ends first: the caller may use what it wrote
	gone = true
	mu.Unlock()
	return err
}

// Forget removes a closed entity with its journal, and changes rows with it, in one batch; what comes later finds an entity
// without records. Where there is none the rows are changed all the same. due, if it is not nil, looks at the state first
// and may leave everything as it is; it must not keep or change the state, and looks again when what it saw was taken back.
// ErrOpen: the entity is not closed, or has a timer, a command or a message under way.
func (e *Entities[S, I, F, C]) Forget(ctx context.Context, id store.ID, rows []store.RowChange, due func(*S) bool) error {
	f := &forgetting{rows: rows}
	if due != nil {
		f.due = func(state any) bool { return due(state.(*S)) }
	}
	_, err := e.wait(ctx, id, &input{label: "forget", forget: f})
	if errors.Is(err, store.ErrConflict) {
		return ErrOpen
	}
	return err
}

// Recorded is what one input brought about.
type Recorded[F, C any] struct {
	Number   uint64
	Input    string
	At       time.Time
	By       identity.Principal
	Facts    []F
	Commands []C
}

// Records yields the entity's committed records in order, from the first with a number greater than after.
func (e *Entities[S, I, F, C]) Records(ctx context.Context, id store.ID, after uint64) iter.Seq2[Recorded[F, C], error] {
	return func(yield func(Recorded[F, C], error) bool) {
		for r, err := range e.loop.cfg.Store.Journal(ctx, id, after) {
			var b body[F, C]
			if err == nil {
				err = decode(r.Body, r.Version, &b)
			}
			if err != nil {
				yield(Recorded[F, C]{}, fmt.Errorf("%s: record %d: %w", id, r.Number, err))
				return
			}
			out := Recorded[F, C]{Number: r.Number, Input: r.Input, At: r.At, Facts: b.Facts, Commands: b.Commands}
			if b.By != nil {
				out.By = *b.By
			}
			if !yield(out, nil) {
				return
			}
		}
	}
}

func (e *Entities[S, I, F, C]) name() string          { return e.kind.Name }
func (e *Entities[S, I, F, C]) fresh(id store.ID) any { return e.kind.New(id) }
func (e *Entities[S, I, F, C]) opens() bool           { return e.kind.Opened != nil }
func (e *Entities[S, I, F, C]) hasTimers() bool       { return e.kind.Timer != nil }
func (e *Entities[S, I, F, C]) continues() bool       { return e.kind.Continue != nil }

func (e *Entities[S, I, F, C]) parallel() int {
	if e.kind.Parallel > 0 {
		return e.kind.Parallel
	}
	return 1024
}

// decide runs the core and puts what it decided into the form of the store.
func (e *Entities[S, I, F, C]) decide(ctx context.Context, id store.ID, state any, in *input, env Env) (out outcome, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	s := state.(*S)
	typed := Input[I]{ID: in.id, At: env.Now, By: in.by, RequestKey: in.requestKey}
	switch {
	case in.broken != nil:
		typed.Body = in.body.(I)
	case in.opened:
		b := e.kind.Opened(ctx, id, s)
		if b == nil {
			return outcome{none: true}, nil
		}
		typed.Body = *b
	case in.more:
		typed.Body = e.kind.Continue()
	case in.gen != 0:
		typed.Body = e.kind.Timer(in.timer)
	default:
		typed.Body = in.body.(I)
	}
	d, err := e.kind.Core.Decide(s, typed, env)
	if err != nil {
		return outcome{}, err
	}
	if e.kind.Sends != nil && len(d.Facts) > 0 {
		d.Sends = slices.Concat(d.Sends, e.kind.Sends(id, s, d.Facts))
	}
	out = outcome{
		facts: d.Facts, factCount: len(d.Facts), sends: d.Sends, setTimers: d.SetTimers, clearTimers: d.ClearTimers,
		reply: d.Reply, err: d.Err, more: d.More, closed: d.Closed,
	}
	for _, c := range d.Commands {
		out.commands = append(out.commands, c)
	}
	b := body[F, C]{Facts: d.Facts, Commands: d.Commands, Named: in.named, Closed: d.Closed}
	if in.by != (identity.Principal{}) {
		b.By = &in.by
	}
	if in.named || in.requestKey != "" {
		if out.answer, err = json.Marshal(d.Reply); err != nil {
			return outcome{}, fmt.Errorf("reply: %w", err)
		}
	}
	if in.named {
		b.Answer = out.answer
		if d.Err != nil {
			b.Refused = d.Err.Error()
		}
	}
	for _, send := range d.Sends {
		raw, err := json.Marshal(send.Body)
		if err != nil {
			return outcome{}, fmt.Errorf("send to %s: %w", send.To, err)
		}
		b.Sends = append(b.Sends, sentBody{send.To, send.ID, raw})
	}
	if out.body, out.version, err = encode(b); err != nil {
		return outcome{}, err
	}
	if e.kind.Project != nil && len(d.Facts) > 0 {
		out.rows = e.kind.Project(id, s, d.Facts)
	}
	return out, nil
}

func (e *Entities[S, I, F, C]) fold(state any, r store.Record) (f folded, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	var b body[F, C]
	if err := decode(r.Body, r.Version, &b); err != nil {
		return folded{}, err
	}
	for _, fact := range b.Facts {
		e.kind.Core.Apply(state.(*S), fact)
	}
	return folded{len(b.Facts), b.Closed, b.Named, answer{Reply: b.Answer, Refused: b.Refused}}, nil
}

func (e *Entities[S, I, F, C]) messages(r store.Record) ([]any, []Send, error) {
	var b body[F, C]
	if err := decode(r.Body, r.Version, &b); err != nil {
		return nil, nil, err
	}
	var commands []any
	for _, c := range b.Commands {
		commands = append(commands, c)
	}
	var sends []Send
	for _, s := range b.Sends {
		to := e.loop.kinds[s.To.Kind()]
		if to == nil {
			return nil, nil, fmt.Errorf("send to %s: no such kind", s.To)
		}
		body, err := to.inputBody(s.Body)
		if err != nil {
			return nil, nil, fmt.Errorf("send to %s: %w", s.To, err)
		}
		sends = append(sends, Send{s.To, s.ID, body})
	}
	return commands, sends, nil
}

func (e *Entities[S, I, F, C]) inputBody(body any) (any, error) {
	switch v := body.(type) {
	case I:
		return v, nil
	case *I:
		return *v, nil
	case json.RawMessage:
		var i I
		if err := json.Unmarshal(v, &i); err != nil {
			return nil, err
		}
		return i, nil
	}
	return nil, fmt.Errorf("body is a %T, not a %T", body, *new(I))
}

func (e *Entities[S, I, F, C]) dispatch(ctx context.Context, id store.ID, key string, command any) (any, error) {
	if e.kind.Dispatch == nil {
		return nil, fmt.Errorf("kind %s has commands and no Dispatch func", e.kind.Name)
	}
	in, err := e.kind.Dispatch(ctx, id, key, command.(C))
	if err != nil || in == nil {
		return nil, err
	}
	return *in, nil
}

func (e *Entities[S, I, F, C]) committed(id store.ID, state, facts any) {
	if e.kind.Committed != nil {
		s, _ := state.(*S)
		e.kind.Committed(id, s, facts.([]F))
	}
}

func (e *Entities[S, I, F, C]) broken(id store.ID, err error) any {
	if e.kind.Broken == nil {
		return nil
	}
	if in := e.kind.Broken(id, err); in != nil {
		return *in
	}
	return nil
}

func (e *Entities[S, I, F, C]) marshal(state any) ([]byte, error) {
	if e.kind.MarshalState == nil || e.kind.UnmarshalState == nil {
		return nil, nil
	}
	return e.kind.MarshalState(state.(*S))
}

func (e *Entities[S, I, F, C]) unmarshal(id store.ID, b []byte) (any, error) {
	if e.kind.UnmarshalState == nil {
		return nil, errors.New("the kind keeps no snapshots")
	}
	return e.kind.UnmarshalState(id, b)
}
