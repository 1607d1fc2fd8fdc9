package awscall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/store"
)

// Service is the set of operations that one of Mayfly's services answers, by the model's names.
type Service struct {
	name string
	ops  map[string]operation
	// Admit, if it is not nil, hears of each call before it is carried out, and may refuse it. Set it before the service serves.
	Admit func(ctx context.Context, operation string) error
}

type operation struct {
	invoke func(context.Context, map[string]any) (map[string]any, error)
	replay func([]byte) (map[string]any, error)
}

// NewService makes an empty service. The name is the SigV4 signing name, e.g. "elasticmapreduce".
func NewService(name string) *Service {
	return &Service{name: name, ops: map[string]operation{}}
}

// Name is the signing name.
func (s *Service) Name() string { return s.name }

// Operations lists what is registered, sorted.
func (s *Service) Operations() []string { return slices.Sorted(maps.Keys(s.ops)) }

// Has reports whether the operation is registered.
func (s *Service) Has(op string) bool { _, ok := s.ops[op]; return ok }

// Handle registers a typed handler. A second handler of the same operation, or an operation that the model does not
// have, is a mistake in the program and panics.
func Handle[In, Out any](s *Service, op string, f func(context.Context, *In) (*Out, error)) {
	if s.Has(op) {
		panic("awscall: " + s.name + " " + op + " is registered twice")
	}
	m := awsapi.Load(s.name)
	if m == nil || m.Operations[op] == nil {
		panic("awscall: no model of " + s.name + " " + op)
	}
	s.ops[op] = operation{
		invoke: func(ctx context.Context, doc map[string]any) (map[string]any, error) {
			in := new(In)
			if err := awsapi.FromDocument(doc, in); err != nil {
				return nil, fmt.Errorf("bind %s %s: %w", s.name, op, err)
			}
			out, err := f(ctx, in)
			if err != nil {
				return nil, err
			}
			return awsapi.ToDocument(out), nil
		},
		replay: func(answer []byte) (map[string]any, error) {
			out := new(Out)
			if err := json.Unmarshal(answer, out); err != nil {
				return nil, fmt.Errorf("receipt of %s %s: %w", s.name, op, err)
			}
			return awsapi.ToDocument(out), nil
		},
	}
}

// Invoke runs a registered operation on a document that has passed the model.
func (s *Service) Invoke(ctx context.Context, op string, doc map[string]any) (map[string]any, error) {
	o, ok := s.ops[op]
	if !ok {
		return nil, awsapi.Errorf(400, "UnknownOperationException", "The operation %s of %s is not implemented by Mayfly.", op, s.name)
	}
	if s.Admit != nil {
		if err := s.Admit(ctx, op); err != nil {
			return nil, err
		}
	}
	return o.invoke(ctx, doc)
}

// Replay is the answer that a receipt holds.
func (s *Service) Replay(op string, answer []byte) (map[string]any, error) {
	return s.ops[op].replay(answer)
}

type scopeKey struct{}

type scope struct {
	receipt string // the receipt's key, "" when the call has no request key
	request string
	now     time.Time
}

// ReceiptKey names the receipt of a call.
func ReceiptKey(c Call) string { return c.Service + "/" + c.Operation + "/" + c.RequestKey }

// WithCall prepares ctx for the handler of c. The gateway calls it.
func WithCall(ctx context.Context, c Call, now time.Time) context.Context {
	s := scope{request: c.RequestKey, now: now}
	if c.RequestKey != "" {
		s.receipt = ReceiptKey(c)
	}
	return context.WithValue(ctx, scopeKey{}, s)
}

// RequestKey is the request key of the call that ctx belongs to, or "". Handlers pass it on to durable inputs.
func RequestKey(ctx context.Context) string {
	s, _ := ctx.Value(scopeKey{}).(scope)
	return s.request
}

// Receipted adds the call's receipt with its answer to the batch, when the call has a request key. A handler that changes
// rows calls it last, before the commit; a repetition of the call is then answered from the receipt without the handler.
// When two repetitions race, the store refuses the second batch with store.ErrConflict: the handler returns that, wrapped or
// not, and the gateway answers from the receipt.
func Receipted(ctx context.Context, b *store.Batch, out any) error {
	s, _ := ctx.Value(scopeKey{}).(scope)
	if s.receipt == "" {
		return nil
	}
	answer, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("receipt %s: %w", s.receipt, err)
	}
	b.Receipts = append(b.Receipts, store.Receipt{Key: s.receipt, Answer: answer, Expires: s.now.Add(store.ReceiptLife)})
	return nil
}

// Commit writes rows together with the call's receipt: all that most handlers need of the store.
func Commit(ctx context.Context, st store.Store, out any, rows ...store.RowChange) error {
	b := store.Batch{Rows: rows}
	if err := Receipted(ctx, &b, out); err != nil {
		return err
	}
	return st.Commit(ctx, b)
}

// Typed calls an operation with generated structs in and out.
func Typed[Out any](ctx context.Context, calls Caller, c Call, in any) (*Out, error) {
	c.Input = awsapi.ToDocument(in)
	doc, err := calls.Invoke(ctx, c)
	if err != nil {
		return nil, err
	}
	out := new(Out)
	if err := awsapi.FromDocument(doc, out); err != nil {
		return nil, fmt.Errorf("bind the answer of %s %s: %w", c.Service, c.Operation, err)
	}
	return out, nil
}

// Code is the API error code of err, or "".
func Code(err error) string {
	var e *awsapi.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
