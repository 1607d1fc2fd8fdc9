package lambda

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/services/lambda/sandbox"
	"github.com/mayfly-run/mayfly/store"
)

// initLimit is how long a function may take to load.
const initLimit = time.Minute

// pool holds the instances of one function.
type pool struct {
	current string // function.Instances: others are outdated
	busy    int
	idle    []*instance // the most recently used last
}

// instance is a process with its credentials and its log stream.
type instance struct {
	*sandbox.Instance
	key     store.Key
	current string
	creds   identity.Credentials
	log     *logStream
	expiry  clock.Timer
	since   time.Time // idle since
}

// principal is the function acting on p's behalf during an invocation; a zero p: on nobody's.
func (f *function) principal(p identity.Principal, request string) identity.Principal {
	p.Account, p.Region = f.Account, f.Region
	role := f.Role[strings.LastIndexByte(f.Role, '/')+1:]
	return p.On(identity.Invocation, request, "arn:aws:sts::"+f.Account+":assumed-role/"+role+"/"+f.Name)
}

func (s *Service) service(f *function) identity.Principal {
	return identity.Principal{
		Kind: identity.Service, Account: f.Account, Region: f.Region, ARN: "arn:aws:iam::" + f.Account + ":root", Entity: "lambda",
	}
}

var errStopping = errors.New("the Lambda service is stopping")

// acquire takes a warm instance or starts one. A returned *awsapi.Error is AWS's for a call that is one too many.
func (s *Service) acquire(ctx context.Context, f *function) (*instance, error) {
	key := f.key()
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return nil, errStopping
	}
	p := s.pools[key]
	if p == nil {
		p = &pool{}
		s.pools[key] = p
	}
	old := s.refresh(p, f.Instances)
	if f.Concurrency != nil && p.busy >= int(*f.Concurrency) {
		s.mu.Unlock()
		s.endAll(old)
		return nil, &awsapi.Error{Status: 429, Code: "TooManyRequestsException", Message: "Rate Exceeded.", Fields: map[string]any{"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"}}
	}
	p.busy++
	for len(p.idle) > 0 {
		i := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		i.expiry.Stop()
		select {
		case <-i.Exited(): // it died in its sleep
			old = append(old, i)
			continue
		default:
		}
		s.mu.Unlock()
		s.endAll(old)
		return i, nil
	}
	s.mu.Unlock()
	s.endAll(old)
	i, err := s.room(ctx, f)
	if i != nil {
		return i, nil
	}
	if err == nil {
		if i, err = s.launch(ctx, f); err == nil {
			return i, nil
		}
		s.leave()
	}
	s.mu.Lock()
	s.unbusy(key, p)
	s.mu.Unlock()
	return nil, err
}

// refresh takes the outdated idle instances out of p. The caller holds mu and ends them.
func (s *Service) refresh(p *pool, current string) (old []*instance) {
	p.current = current
	p.idle = slices.DeleteFunc(p.idle, func(i *instance) bool {
		if i.current == current {
			return false
		}
		old = append(old, i)
		return true
	})
	return old
}

// outdated ends the idle instances of f's earlier forms.
func (s *Service) outdated(f *function) {
	s.mu.Lock()
	var old []*instance
	if p := s.pools[f.key()]; p != nil {
		old = s.refresh(p, f.Instances)
		s.tidy(f.key(), p)
	}
	s.mu.Unlock()
	s.endAll(old)
}

func (s *Service) unbusy(key store.Key, p *pool) {
	p.busy--
	s.tidy(key, p)
}

func (s *Service) tidy(key store.Key, p *pool) {
	if p.busy == 0 && len(p.idle) == 0 && s.pools[key] == p {
		delete(s.pools, key)
	}
}

func (s *Service) endAll(all []*instance) {
	for _, i := range all {
		s.end(i)
	}
}

// waiter is an invocation that waits for an instance: one of its function that another invocation leaves, or nil, which is
// room for a new one.
type waiter struct {
	key     store.Key
	current string
	ready   chan *instance // has room for one
}

// room waits until one more instance may be started, or until one of the function is free; an idle one of another
// function gives way.
func (s *Service) room(ctx context.Context, f *function) (*instance, error) {
	s.mu.Lock()
	if s.instances < s.Instances {
		s.instances++
		s.mu.Unlock()
		return nil, nil
	}
	var oldest *instance
	for _, p := range s.pools {
		if len(p.idle) > 0 && (oldest == nil || p.idle[0].since.Before(oldest.since)) {
			oldest = p.idle[0]
		}
	}
	w := &waiter{f.key(), f.Instances, make(chan *instance, 1)}
	s.waiting = append(s.waiting, w)
	if oldest != nil {
		p := s.pools[oldest.key]
		p.idle = p.idle[1:]
		s.tidy(oldest.key, p)
	}
	s.mu.Unlock()
	if oldest != nil {
		oldest.expiry.Stop()
		s.end(oldest)
	}
	select {
	case i := <-w.ready:
		return i, nil
	case <-ctx.Done():
		s.mu.Lock()
		at := slices.Index(s.waiting, w)
		if at >= 0 {
			s.waiting = slices.Delete(s.waiting, at, at+1)
		}
		s.mu.Unlock()
		if at < 0 { // it was given to us just now
			if i := <-w.ready; i != nil {
				s.end(i)
			} else {
				s.leave()
			}
		}
		return nil, ctx.Err()
	}
}

// leave makes room for another instance.
func (s *Service) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) > 0 {
		s.waiting[0].ready <- nil
		s.waiting = s.waiting[1:]
		return
	}
	s.instances--
}

// release gives an instance back after an invocation.
func (s *Service) release(f *function, i *instance, dead bool) {
	// What the function does between invocations it does for itself.
	s.Issuer.Rebind(i.creds.AccessKeyID, f.principal(identity.Principal{}, ""))
	s.mu.Lock()
	p := s.pools[i.key]
	keep := !dead && !s.stopped && p.current == i.current
	at := -1
	if keep {
		at = slices.IndexFunc(s.waiting, func(w *waiter) bool { return w.key == i.key && w.current == i.current })
		keep = at >= 0 || len(s.waiting) == 0
	}
	switch {
	case at >= 0:
		s.waiting[at].ready <- i
		s.waiting = slices.Delete(s.waiting, at, at+1)
	case keep:
		i.since = s.Clock.Now()
		i.expiry = s.Clock.AfterFunc(s.Idle, func() { s.expire(i) })
		p.idle = append(p.idle, i)
	}
	s.unbusy(i.key, p)
	s.mu.Unlock()
	if !keep {
		s.end(i)
	}
}

func (s *Service) expire(i *instance) {
	s.mu.Lock()
	p := s.pools[i.key]
	at := -1
	if p != nil {
		at = slices.Index(p.idle, i)
	}
	if at < 0 {
		s.mu.Unlock()
		return // it is busy again, or gone
	}
	p.idle = slices.Delete(p.idle, at, at+1)
	s.tidy(i.key, p)
	s.mu.Unlock()
	s.end(i)
}

// end ends an instance that nobody uses any more, and forgets its key.
func (s *Service) end(i *instance) {
	i.Stop()
	i.log.flush()
	if err := s.Issuer.Revoke(context.WithoutCancel(s.ctx), i.creds.AccessKeyID); err != nil {
		s.Log.Warn("key of an ended function not revoked", "function", i.key.ID, "err", err)
	}
	s.leave()
}

// fault is a function that could not be started: its own mistake, as its caller sees it.
type fault struct{ kind, message string }

func (f *fault) Error() string { return f.kind + ": " + f.message }

// launch starts an instance of f.
func (s *Service) launch(ctx context.Context, f *function) (*instance, error) {
	root, err := s.task(f)
	if err != nil {
		return nil, err
	}
	var command []string
	env := map[string]string{}
	if pythonRuntime.MatchString(f.Runtime) {
		if s.Python == "" {
			return nil, s.checkRuntime(f.Runtime)
		}
		command = []string{s.Python, "-u", s.bootstrap()}
		env["AWS_EXECUTION_ENV"] = "AWS_Lambda_" + f.Runtime
		env["PYTHONDONTWRITEBYTECODE"] = "1" // AWS: the folder of the code is read-only
		env["PYTHONPATH"] = root
	} else {
		entry := filepath.Join(root, "bootstrap")
		info, err := os.Stat(entry)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && info.IsDir():
			return nil, &fault{"Runtime.InvalidEntrypoint", "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"}
		case err != nil:
			return nil, err
		case info.Mode().Perm()&0o111 == 0:
			return nil, &fault{"Runtime.InvalidEntrypoint", "fork/exec /var/task/bootstrap: permission denied"}
		}
		command = []string{entry}
	}
	creds, err := s.Issuer.Issue(ctx, f.principal(identity.Principal{}, ""))
	if err != nil {
		return nil, fmt.Errorf("issue a key for %s: %w", f.Name, err)
	}
	id := uuid.New()
	log := s.newLogStream(f, id)
	for k, v := range map[string]string{
		"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", "LANG": "en_US.UTF-8", "TZ": ":UTC",
		"LAMBDA_TASK_ROOT": root, "LAMBDA_RUNTIME_DIR": s.dir("runtime"), "_HANDLER": f.Handler,
		"AWS_REGION": f.Region, "AWS_DEFAULT_REGION": f.Region, "AWS_ENDPOINT_URL": s.Endpoint(), "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_ACCESS_KEY_ID": creds.AccessKeyID, "AWS_SECRET_ACCESS_KEY": creds.SecretAccessKey, "AWS_SESSION_TOKEN": creds.SessionToken,
		"AWS_LAMBDA_FUNCTION_NAME": f.Name, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.FormatInt(f.Memory, 10),
		"AWS_LAMBDA_LOG_GROUP_NAME": log.group, "AWS_LAMBDA_LOG_STREAM_NAME": log.name, "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
	} {
		env[k] = v
	}
	for k, v := range f.Environment {
		env[k] = v
	}
	var list []string
	for k, v := range env {
		if v != "" || k != "AWS_SESSION_TOKEN" {
			list = append(list, k+"="+v)
		}
	}
	slices.Sort(list)
	process, err := sandbox.Start(sandbox.Spec{
		ID: hex.EncodeToString(id[:]), RunDir: s.dir("run"), Root: root, Command: command, Env: list, Note: creds.AccessKeyID,
		Memory: f.Memory << 20, Init: max(initLimit, time.Duration(f.Timeout)*time.Second), Clock: s.Clock, Log: log.line,
	})
	if err != nil {
		if e := s.Issuer.Revoke(context.WithoutCancel(ctx), creds.AccessKeyID); e != nil {
			err = errors.Join(err, e)
		}
		var exec *fs.PathError
		if errors.As(err, &exec) && exec.Op == "fork/exec" {
			return nil, &fault{"Runtime.InvalidEntrypoint", "fork/exec /var/task/bootstrap: " + exec.Err.Error()}
		}
		return nil, fmt.Errorf("start %s: %w", f.Name, err)
	}
	return &instance{Instance: process, key: f.key(), current: f.Instances, creds: creds, log: log}, nil
}
