package gateway_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/sigv4"
	"github.com/mayfly-run/mayfly/services/s3"
	"github.com/mayfly-run/mayfly/services/sns"
	"github.com/mayfly-run/mayfly/services/sqs"
	"github.com/mayfly-run/mayfly/store/memory"
)

// noon is a clock that stands.
type noon struct{ clock.System }

func (noon) Now() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// TestSignatures: with credentials, a request is let in by its signature alone, in time, and unchanged; each protocol says
// so in AWS's words. Nothing of it stands in the log.
func TestSignatures(t *testing.T) {
	var log bytes.Buffer
	key := identity.Credentials{AccessKeyID: "AKIAUSER", SecretAccessKey: "very-secret"}
	st, clk := memory.New(), noon{}
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g, err := gateway.New(t.Context(), gateway.Config{Store: st, Clock: clk, Log: logger, Credentials: []identity.Credentials{key}})
	if err != nil {
		t.Fatal(err)
	}
	endpoint := func() string { return "http://127.0.0.1:4566" }
	objects, err := s3.New(t.Context(), s3.Config{Store: st, Clock: clk, DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	loop := durable.New(durable.Config{Store: st, Log: logger})
	g.Register(objects.API(), sqs.New(sqs.Config{Store: st, Clock: clk, Endpoint: endpoint}).API(),
		sns.New(sns.Config{Store: st, Loop: loop, Clock: clk, Log: logger, Calls: g, Endpoint: endpoint, MailDir: t.TempDir()}).API())

	type request struct{ service, method, path, body string }
	topics := request{"sns", "POST", "/", "Action=CreateTopic&Version=2010-03-31&Name=hidden-words"}
	queues := request{"sqs", "POST", "/", `{"QueueName":"hidden-words"}`}
	put := request{"s3", "PUT", "/bkt/k", "hidden-words"}
	send := func(c request, when time.Duration, change func(*http.Request)) (int, string) {
		r := httptest.NewRequest(c.method, endpoint()+c.path, strings.NewReader(c.body))
		switch c.service {
		case "sns":
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		case "sqs":
			r.Header.Set("Content-Type", "application/x-amz-json-1.0")
			r.Header.Set("X-Amz-Target", "AmazonSQS.CreateQueue")
		}
		sigv4.Sign(r, key, "us-east-1", c.service, []byte(c.body), false, noon{}.Now().Add(when))
		if change != nil {
			change(r)
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	other := func(r *http.Request) {
		b, _ := io.ReadAll(r.Body) // from memory
		r.Body = io.NopCloser(bytes.NewReader(bytes.Replace(b, []byte("hidden"), []byte("Hidden"), 1)))
	}
	unsigned := func(r *http.Request) { r.Header.Del("Authorization") }
	stranger := func(r *http.Request) {
		r.Header.Set("Authorization", strings.ReplaceAll(r.Header.Get("Authorization"), "AKIAUSER", "AKIAELSE"))
	}
	forged := func(r *http.Request) {
		a := r.Header.Get("Authorization")
		r.Header.Set("Authorization", a[:len(a)-4]+strings.Map(func(c rune) rune { return '0' + (c+1)%10 }, a[len(a)-4:]))
	}
	torn := func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAUSER") }
	retargeted := func(r *http.Request) { r.Host = "elsewhere:4566" }
	const late, early = 16 * time.Minute, -16 * time.Minute
	if code, answer := send(request{"s3", "PUT", "/bkt", ""}, 0, nil); code != 200 {
		t.Fatal(code, answer)
	}
	for name, c := range map[string]struct {
		request
		when   time.Duration
		change func(*http.Request)
		code   string // "" for 200
	}{
		"good, query": {topics, 14 * time.Minute, nil, ""}, "good, json": {queues, -14 * time.Minute, nil, ""}, "good, s3": {put, 0, nil, ""},
		"late, query": {topics, late, nil, "SignatureDoesNotMatch"}, "late, json": {queues, late, nil, "InvalidSignatureException"}, "late, s3": {put, late, nil, "RequestTimeTooSkewed"},
		"early, query": {topics, early, nil, "SignatureDoesNotMatch"}, "early, json": {queues, early, nil, "InvalidSignatureException"}, "early, s3": {put, early, nil, "RequestTimeTooSkewed"},
		"changed, query": {topics, 0, other, "SignatureDoesNotMatch"}, "changed, json": {queues, 0, other, "InvalidSignatureException"}, "changed, s3": {put, 0, other, "XAmzContentSHA256Mismatch"},
		"forged, query": {topics, 0, forged, "SignatureDoesNotMatch"}, "forged, json": {queues, 0, forged, "InvalidSignatureException"}, "forged, s3": {put, 0, forged, "SignatureDoesNotMatch"},
		"for another host": {put, 0, retargeted, "SignatureDoesNotMatch"},
		"unsigned, query":  {topics, 0, unsigned, "MissingAuthenticationToken"}, "unsigned, json": {queues, 0, unsigned, "MissingAuthenticationTokenException"}, "unsigned, s3": {put, 0, unsigned, "AccessDenied"},
		"a stranger's, query": {topics, 0, stranger, "InvalidClientTokenId"}, "a stranger's, json": {queues, 0, stranger, "UnrecognizedClientException"}, "a stranger's, s3": {put, 0, stranger, "InvalidAccessKeyId"},
		"torn, query": {topics, 0, torn, "IncompleteSignature"}, "torn, s3": {put, 0, torn, "AuthorizationHeaderMalformed"},
	} {
		code, answer := send(c.request, c.when, c.change)
		if (c.code == "") != (code == 200) || !strings.Contains(answer, c.code) || code >= 500 {
			t.Errorf("%s: %d %s, want %q", name, code, answer, c.code)
		}
	}

	presigned := func(expires time.Duration, age time.Duration, change func(url.Values)) (int, string) {
		u, _ := url.Parse(endpoint() + "/bkt/k")
		sigv4.Presign("GET", u, key, "us-east-1", "s3", expires, noon{}.Now().Add(-age))
		q := u.Query()
		if change != nil {
			change(q)
			u.RawQuery = q.Encode()
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest("GET", u.String(), nil))
		return w.Code, w.Body.String()
	}
	for name, c := range map[string]struct {
		expires, age time.Duration
		change       func(url.Values)
		status       int
		part         string
	}{
		"in time":        {time.Minute, 59 * time.Second, nil, 200, "hidden-words"},
		"over":           {time.Minute, 61 * time.Second, nil, 403, "Request has expired"},
		"not yet":        {time.Minute, -16 * time.Minute, nil, 403, "RequestTimeTooSkewed"},
		"prolonged":      {time.Minute, time.Hour, func(q url.Values) { q.Set("X-Amz-Expires", "7200") }, 403, "SignatureDoesNotMatch"},
		"beyond a week":  {time.Minute, 0, func(q url.Values) { q.Set("X-Amz-Expires", "604801") }, 400, "X-Amz-Expires"},
		"another header": {time.Minute, 0, func(q url.Values) { q.Set("response-content-type", "text/html") }, 403, "SignatureDoesNotMatch"},
	} {
		if code, answer := presigned(c.expires, c.age, c.change); code != c.status || !strings.Contains(answer, c.part) {
			t.Errorf("presigned, %s: %d %s, want %d %s", name, code, answer, c.status, c.part)
		}
	}

	if !strings.Contains(log.String(), "operation=CreateTopic") {
		t.Error("the log tells of no call")
	}
	for _, secret := range []string{"very-secret", "hidden-words", "Signature="} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}
