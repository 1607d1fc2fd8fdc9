package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/sqlite"
)

// grace is how long requests that are being answered may go on when the server ends.
const grace = 2 * time.Second

// Server is a running server. Start makes one.
type Server struct {
	settings Settings
	version  string
	log      *slog.Logger
	clock    clock.Clock
	started  time.Time

	lock     *Lock
	listener net.Listener
	store    store.Store
	parts    *parts
	http     *http.Server
	served   chan struct{}
	cut      context.CancelFunc // ends the contexts of requests

	failOnce sync.Once
	failed   chan struct{}
	reason   error
}

// Start builds and starts all parts and returns when requests are answered. version is this program's.
func Start(ctx context.Context, settings Settings, version string, log *slog.Logger) (started *Server, err error) {
	dir, err := filepath.Abs(settings.DataDir)
	if err != nil {
		return nil, err
	}
	settings.DataDir = dir
	s := &Server{settings: settings, version: version, log: log, clock: clock.System{}, failed: make(chan struct{}), served: make(chan struct{})}
	s.started = s.clock.Now()
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.lock, err = Acquire(dir, Owner{PID: os.Getpid(), Version: version, Listen: settings.Listen}); err != nil {
		return nil, err
	}
	if s.listener, err = net.Listen("tcp", settings.Listen); err != nil {
		return nil, s.taken(ctx, err)
	}
	if err := s.lock.Name(Owner{PID: os.Getpid(), Version: version, Listen: s.listener.Addr().String()}); err != nil {
		return nil, err
	}
	st, err := sqlite.Open(ctx, filepath.Join(dir, "mayfly.db"))
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	s.store = guarded{st, s.fail}
	if s.parts, err = s.build(ctx); err != nil {
		return nil, err
	}
	if err := s.parts.start(ctx); err != nil {
		return nil, err
	}
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	s.cut = cut
	s.http = &http.Server{
		BaseContext: func(net.Listener) context.Context { return requests },
		Handler:     s.parts.gateway, ReadHeaderTimeout: time.Minute, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 1 << 20,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.served)
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("serve HTTP: %w", err))
		}
	}()
	return s, nil
}

// taken explains why the port could not be bound.
func (s *Server) taken(ctx context.Context, bind error) error {
	if !errors.Is(bind, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: %w", s.settings.Listen, bind)
	}
	h, err := Ask(ctx, s.settings.Listen)
	var foreign *ErrForeign
	switch {
	case err == nil:
		return fmt.Errorf("%s is taken by mayfly %s with the data in %s (process %d); end it with: mayfly stop --data-dir %s, or choose another address with --listen",
			s.settings.Listen, h.Version, h.DataDir, h.PID, h.DataDir)
	case errors.As(err, &foreign):
		return foreign
	}
	return fmt.Errorf("%s is taken by another program; choose another address with --listen", s.settings.Listen)
}

// Endpoint is the base URL that clients use.
func (s *Server) Endpoint() string {
	host, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil {
		return "http://" + s.settings.Listen
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// health is what GET HealthPath answers beside status and services.
func (s *Server) health() map[string]any {
	h := map[string]any{
		"version": s.version, "pid": os.Getpid(), "dataDir": s.settings.DataDir, "endpoint": s.Endpoint(), "started": s.started.Format(time.RFC3339),
	}
	if s.settings.SMTP == "" {
		h["mailDir"] = s.mailDir()
	}
	return h
}

func (s *Server) mailDir() string { return filepath.Join(s.settings.DataDir, "mail") }

// fail ends the server with a reason: what cannot be kept is not acknowledged.
func (s *Server) fail(err error) {
	s.failOnce.Do(func() {
		s.reason = err
		close(s.failed)
	})
}

// Wait returns when ctx ends (nil) or when the server cannot go on (the reason).
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.failed:
		return s.reason
	}
}

// Stop ends the server in order: requests, services, loops, store, lock. What is not finished is taken up at the next start.
func (s *Server) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil { // long polls, mostly
		s.log.Debug("requests cut off", "err", err)
		s.cut()
		s.http.Close()
	}
	<-s.served
	s.close()
}

// close undoes what Start has done so far.
func (s *Server) close() {
	if s.parts != nil {
		s.parts.stop()
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.log.Error("close the store", "err", err)
		}
	}
	if s.listener != nil {
		s.listener.Close()
	}
	if s.lock != nil {
		s.lock.Release()
	}
}
