package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"net/http"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/awsproto"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// Defaults of Config.
const (
	DefaultAccount = "000000000000"
	DefaultRegion  = "us-east-1"
	DefaultMaxBody = 2 << 20
)

// Config is what a gateway needs.
type Config struct {
	Store   store.Store
	Clock   clock.Clock
	Log     *slog.Logger
	Account string // whose resources are served; DefaultAccount when empty
	Region  string // of requests that name none
	// Credentials, when there are any, are the keys that are let in; every signature is checked then. Without them any
	// key and no key at all are the account's root user.
	Credentials []identity.Credentials
	// MaxBody bounds the bodies of requests that are read whole; DefaultMaxBody when 0. Services whose requests carry
	// files have bounds of their own.
	MaxBody int64
	// Lifted names shapes, by service, that may be longer than the API model says.
	Lifted map[string][]string
	// Health adds members to the answer of GET /_mayfly/health. May be nil.
	Health func() map[string]any
}

// Gateway is an http.Handler and an awscall.Caller. Use New, then Register and Extra before it serves.
type Gateway struct {
	Config
	Keys     *KeyRing
	mu       sync.RWMutex
	services map[string]*awscall.Service
	remote   map[string]awscall.Caller
	extras   []extra
}

type extra struct {
	prefix  string
	handler http.Handler
}

// New makes a gateway and reads the key ring.
func New(ctx context.Context, cfg Config) (*Gateway, error) {
	if cfg.Account == "" {
		cfg.Account = DefaultAccount
	}
	if cfg.Region == "" {
		cfg.Region = DefaultRegion
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = DefaultMaxBody
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	keys, err := NewKeyRing(ctx, cfg.Store, cfg.Clock)
	if err != nil {
		return nil, err
	}
	return &Gateway{Config: cfg, Keys: keys, services: map[string]*awscall.Service{}, remote: map[string]awscall.Caller{}}, nil
}

// Register adds services. A name that is taken is a mistake in the program and panics.
func (g *Gateway) Register(list ...*awscall.Service) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range list {
		if g.services[s.Name()] != nil {
			panic("gateway: " + s.Name() + " is registered twice")
		}
		g.services[s.Name()] = s
	}
}

// Forward sends the calls of a service elsewhere, usually to AWS itself, also when a service of that name is registered.
// They keep no receipts here: what makes a repetition harmless is the operation's client token.
func (g *Gateway) Forward(service string, to awscall.Caller) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remote[service] = to
}

// Extra serves paths that begin with prefix by a handler of its own, outside of AWS's protocols.
func (g *Gateway) Extra(prefix string, h http.Handler) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.extras = append(g.extras, extra{prefix, h})
}

// Services lists the names of the registered services, sorted.
func (g *Gateway) Services() []string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	names := make([]string, 0, len(g.services))
	for n := range g.services {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// service is where the calls of a service go: to the registered one, or elsewhere. Both are nil when there is neither.
func (g *Gateway) service(name string) (*awscall.Service, awscall.Caller) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if to := g.remote[name]; to != nil {
		return nil, to
	}
	return g.services[name], nil
}

// Implements reports whether calls of an operation are answered: here, or elsewhere.
func (g *Gateway) Implements(service, operation string) bool {
	s, remote := g.service(service)
	return remote != nil || s != nil && s.Has(operation)
}

// Invoke makes a call in process.
func (g *Gateway) Invoke(ctx context.Context, c awscall.Call) (map[string]any, error) {
	m := awsapi.Load(c.Service)
	if m == nil {
		return nil, unknownService(c.Service)
	}
	op := m.Operations[c.Operation]
	if op == nil {
		return nil, awsapi.Errorf(400, "UnknownOperationException", "The operation %s of %s is not known to Mayfly.", c.Operation, m.Metadata.ServiceFullName)
	}
	c.Input = awscall.WithToken(op, c) // as an SDK would
	return g.invoke(ctx, c, m, op, newRequestID())
}

// invoke is the path that every call takes.
func (g *Gateway) invoke(ctx context.Context, c awscall.Call, m *awsapi.Model, op *awsapi.Operation, request string) (out map[string]any, err error) {
	began := g.Clock.Now()
	if c.Principal.Account == "" {
		c.Principal.Account = g.Account
	}
	if c.Principal.Region == "" {
		c.Principal.Region = g.Region
	}
	defer func() { g.log(ctx, c, request, began, err) }()

	svc, to := g.service(c.Service)
	switch {
	case to != nil:
		return to.Invoke(ctx, c)
	case svc == nil:
		return nil, unknownService(c.Service)
	case !svc.Has(op.Name):
		return nil, notImplemented(m, op.Name)
	}
	if out, err := g.receipt(ctx, svc, c); out != nil || err != nil {
		return out, err
	}
	in, err := awsproto.Normalize(m, op, c.Input, g.Lifted[c.Service]...)
	if err != nil {
		return nil, err
	}
	ctx = identity.WithRequest(identity.With(ctx, c.Principal), request)
	out, err = g.handle(awscall.WithCall(ctx, c, began), svc, op.Name, in)
	if err != nil && c.RequestKey != "" && errors.Is(err, store.ErrConflict) {
		// A repetition may have run beside this call and have won.
		if out, rerr := g.receipt(ctx, svc, c); out != nil || rerr != nil {
			return out, rerr
		}
	}
	return out, err
}

// receipt is the answer that the call's request key has had; nil when there is none.
func (g *Gateway) receipt(ctx context.Context, svc *awscall.Service, c awscall.Call) (map[string]any, error) {
	if c.RequestKey == "" {
		return nil, nil
	}
	r, err := g.Store.Receipt(ctx, awscall.ReceiptKey(c))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the receipt of %s: %w", c.RequestKey, err)
	}
	return svc.Replay(c.Operation, r.Answer)
}

// handle runs the handler; a panic is its own error and nobody else's.
func (g *Gateway) handle(ctx context.Context, svc *awscall.Service, op string, in map[string]any) (out map[string]any, err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return svc.Invoke(ctx, op, in)
}

func unknownService(name string) error {
	text := "Mayfly does not have the service " + name + "."
	if awsapi.Load(name) != nil {
		text += " A server with --remote " + name + " sends its calls to AWS."
	}
	return awsapi.Errorf(400, "UnknownServiceException", "%s", text)
}

func notImplemented(m *awsapi.Model, op string) error {
	code := "UnknownOperationException"
	switch m.Metadata.Protocol {
	case "query", "ec2":
		code = "InvalidAction"
	case "rest-xml":
		code = "NotImplemented"
	}
	return awsapi.Errorf(400, code, "Mayfly does not implement the operation %s of %s.", op, m.Metadata.ServiceFullName)
}

func (g *Gateway) log(ctx context.Context, c awscall.Call, request string, began time.Time, err error) {
	level, code := slog.LevelDebug, ""
	if err != nil {
		if code = awscall.Code(err); code == "" && ctx.Err() == nil {
			level = slog.LevelError
		}
	}
	if !g.Log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("service", c.Service), slog.String("operation", c.Operation), slog.String("request", request),
		slog.String("principal", string(c.Principal.Kind)), slog.Duration("took", g.Clock.Now().Sub(began))}
	if c.Principal.Execution != "" {
		attrs = append(attrs, slog.String("execution", c.Principal.Execution))
	}
	switch {
	case err == nil:
	case code != "":
		attrs = append(attrs, slog.String("code", code))
	default:
		attrs = append(attrs, slog.Any("err", err))
	}
	g.Log.LogAttrs(ctx, level, "call", attrs...)
}

func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// root is who calls when no key says more.
func (g *Gateway) root(region string) identity.Principal {
	return identity.Principal{Kind: identity.User, Account: g.Account, Region: region, ARN: "arn:aws:iam::" + g.Account + ":root"}
}

func validRegion(s string) bool {
	return s != "" && len(s) <= 32 && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	}) < 0
}
