package httptask

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Pair is a name with its value; order counts.
type Pair struct{ Name, Value string }

// Connection is what an EventBridge connection adds to a request.
type Connection struct {
	Renewable            bool // another Header may be had, when this one is refused
	Header               Pair // that proves who calls
	Headers, Query, Body []Pair
}

// Refusal is why a connection cannot be used. Name is AWS's, after "Events.ConnectionResource.".
type Refusal struct{ Name, Cause string }

func (r *Refusal) Error() string { return r.Name + ": " + r.Cause }

// Config is what the integration needs.
type Config struct {
	// Limit is how long a call may last, MaxBody how many bytes an answer may have.
	Limit   time.Duration // 0: for ever
	MaxBody int
	// Client makes the calls; it decides which endpoints may be called, and follows no redirects.
	Client *http.Client
	// Endpoint says why an endpoint could never be called; nil when it could be.
	Endpoint func(*url.URL) error
	// Connection reads a connection for a caller; anew asks for other credentials than those that were refused. What the
	// caller can handle is a *Refusal.
	Connection func(ctx context.Context, p identity.Principal, arn string, anew bool) (*Connection, error)
}

// Tasks is integration.Integration for http:invoke.
type Tasks struct{ cfg Config }

// New makes the integration.
func New(cfg Config) *Tasks { return &Tasks{cfg} }

var _ integration.Integration = (*Tasks)(nil)

// Poll implements integration.Integration: a call is done when it is answered.
func (t *Tasks) Poll(context.Context, integration.Job) (integration.Result, error) {
	return integration.Result{Running: true}, nil
}

// Cancel implements integration.Integration: the engine cuts the call off itself.
func (t *Tasks) Cancel(context.Context, integration.Job) error { return nil }

// Watches implements integration.Integration.
func (t *Tasks) Watches(integration.Job) []string { return nil }

func failed(code, format string, args ...any) integration.Result {
	return integration.Result{Failure: &asl.Failure{Error: code, Cause: fmt.Sprintf(format, args...)}}
}

// Start makes the call.
func (t *Tasks) Start(ctx context.Context, task integration.Task) (integration.Result, error) {
	bad := func(err error) (integration.Result, error) {
		return failed(asl.ErrRuntime, "The Parameters '%s' could not be used to start the Task: [%s]", task.Input, err), nil
	}
	r, err := parse(task.Input)
	if err == nil {
		err = t.cfg.Endpoint(r.endpoint)
	}
	if err != nil {
		return bad(err)
	}
	if t.cfg.Limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t.cfg.Limit, errTime(t.cfg.Limit))
		defer cancel()
	}
	for anew := false; ; anew = true {
		c, err := t.cfg.Connection(ctx, task.Principal, r.connection, anew)
		var refused *Refusal
		if errors.As(err, &refused) {
			return failed("Events.ConnectionResource."+refused.Name, "%s", refused.Cause), nil
		}
		if err != nil {
			return integration.Result{}, fmt.Errorf("connection %s: %w", r.connection, err)
		}
		b, err := r.build(c, task.Principal.Region)
		if err != nil {
			return bad(err)
		}
		res, got, err := t.call(ctx, b)
		if err != nil {
			return integration.Result{}, err
		}
		if got.status == http.StatusUnauthorized && c.Renewable && !anew {
			continue // AWS: a token that is refused is fetched anew
		}
		if i := task.Inspect; i != nil {
			if !i.Secrets {
				if b, err = r.build(nil, task.Principal.Region); err != nil {
					return bad(err)
				}
			}
			i.Sent.Protocol, i.Sent.Method, i.Sent.URL, i.Sent.Headers, i.Sent.Body = r.endpoint.Scheme, b.method, b.url, listed(b.headers), string(b.body)
			if got.status != 0 {
				i.Got.Protocol, i.Got.StatusCode, i.Got.StatusMessage = r.endpoint.Scheme, strconv.Itoa(got.status), got.text
				i.Got.Headers, i.Got.Body = listed(got.headers), string(got.body)
			}
		}
		return res, nil
	}
}

// errTime is why a call ends that has lasted for so long.
type errTime time.Duration

func (e errTime) Error() string {
	return fmt.Sprintf("no answer within %g seconds", time.Duration(e).Seconds())
}

// answer is what came back; the zero answer: nothing that could be read.
type answer struct {
	status  int
	text    string
	headers []Pair // by name
	body    []byte
}

// call sends a request and reads the answer. An error means that the task or the server ends.
func (t *Tasks) call(ctx context.Context, b *built) (integration.Result, answer, error) {
	broken := func(err error) (integration.Result, answer, error) {
		cause := context.Cause(ctx)
		if late, ok := cause.(errTime); ok {
			err = late
		} else if cause != nil {
			return integration.Result{}, answer{}, cause
		}
		var e *url.Error
		if errors.As(err, &e) { // without the URL: the query may hold the connection's secrets
			err = e.Err
		}
		return failed("States.Http.Socket", "%s", err), answer{}, nil
	}
	req, err := b.http(ctx)
	if err != nil {
		return failed(asl.ErrRuntime, "The request cannot be sent: it is malformed."), answer{}, nil
	}
	res, err := t.cfg.Client.Do(req)
	if err != nil {
		return broken(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, int64(t.cfg.MaxBody)+1))
	if err != nil {
		return broken(err)
	}
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	kind, _, _ := strings.Cut(media, "/")
	switch {
	case len(body) > t.cfg.MaxBody:
		return failed(asl.ErrDataLimitExceeded, "The state/task 'http' returned a result with a size exceeding the maximum number of bytes service limit."), answer{}, nil
	case media == "application/octet-stream", kind == "image", kind == "video", kind == "audio":
		return failed(asl.ErrRuntime, "The response has the content type %s, which HTTP tasks do not support.", media), answer{}, nil
	case !utf8.Valid(body):
		return failed(asl.ErrRuntime, "The response cannot be read as text."), answer{}, nil
	}
	got := answer{status: res.StatusCode, text: statusText(res), body: body}
	for _, name := range slices.Sorted(maps.Keys(res.Header)) {
		for _, value := range res.Header[name] {
			got.headers = append(got.headers, Pair{strings.ToLower(name), strings.ToValidUTF8(value, "\uFFFD")})
		}
	}
	if got.status/100 == 2 {
		return integration.Result{Output: got.value(media)}, got, nil
	}
	// AWS: the cause is the status's text, and no more.
	f := failed("States.Http.StatusCode."+strconv.Itoa(got.status), "%s", got.text)
	f.Response = got.value(media)
	return f, got, nil
}

// value is the answer as the state gets it, its names sorted as AWS sorts them.
func (a answer) value(media string) jsonvalue.Value {
	var headers []jsonvalue.Member
	for i := 0; i < len(a.headers); {
		name := a.headers[i].Name
		var list []jsonvalue.Value
		for ; i < len(a.headers) && a.headers[i].Name == name; i++ {
			list = append(list, jsonvalue.Str(a.headers[i].Value))
		}
		headers = append(headers, jsonvalue.M(name, jsonvalue.Array(list...)))
	}
	content := jsonvalue.Str(string(a.body))
	if media == "application/json" || strings.HasSuffix(media, "+json") {
		if v, err := jsonvalue.Parse(a.body); err == nil {
			content = v
		}
	}
	return jsonvalue.Object(jsonvalue.M("Headers", jsonvalue.Object(headers...)), jsonvalue.M("ResponseBody", content),
		jsonvalue.M("StatusCode", jsonvalue.Int(int64(a.status))), jsonvalue.M("StatusText", jsonvalue.Str(a.text)))
}

// listed is how TestState shows headers.
func listed(headers []Pair) string {
	all := make([]string, len(headers))
	for i, h := range headers {
		all[i] = h.Name + ": " + h.Value
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func statusText(res *http.Response) string {
	text := strings.TrimSpace(strings.TrimPrefix(res.Status, strconv.Itoa(res.StatusCode)))
	if text == "" {
		text = http.StatusText(res.StatusCode)
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
