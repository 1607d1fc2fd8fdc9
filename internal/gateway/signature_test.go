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
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/sigv4"
	"github.com/mayfly-run/mayfly/services/s3"
	"github.com/mayfly-run/mayfly/services/sns"
	"github.com/mayfly-run/mayfly/services/sqs"
	"github.com/mayfly-run/mayfly/store/memory"
)

// fixed is a clock that stands.
type fixed time.Time

func (f fixed) Now() time.Time                                { return time.Time(f) }
func (fixed) AfterFunc(d time.Duration, f func()) clock.Timer { return clock.System{}.AfterFunc(d, f) }

var noon = fixed(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))

// TestSignatures: with credentials, a request is let in by its signature alone, in time, and unchanged; each protocol says
// so in AWS's words. Nothing of it stands in the log.
func TestSignatures(t *testing.T) {
	var log bytes.Buffer
	key := identity.Credentials{AccessKeyID: "AKIAUSER", SecretAccessKey: "very-secret"}
	st, clk := memory.New(), noon
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
		sigv4.Sign(r, key, "us-east-1", c.service, []byte(c.body), false, noon.Now().Add(when))
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
		sigv4.Presign("GET", u, key, "us-east-1", "s3", expires, noon.Now().Add(-age))
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

// TestSignedChunks: the published example of a body that is signed chunk by chunk is kept; with one byte of it changed, it is
// not.
func TestSignedChunks(t *testing.T) {
	at := fixed(time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC))
	key := identity.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	st := memory.New()
	g, err := gateway.New(t.Context(), gateway.Config{Store: st, Clock: at, Credentials: []identity.Credentials{key}})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := s3.New(t.Context(), s3.Config{Store: st, Clock: at, DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	g.Register(objects.API())
	if _, err := g.Invoke(t.Context(), awscall.Call{Service: "s3", Operation: "CreateBucket", Input: map[string]any{"Bucket": "examplebucket"}}); err != nil {
		t.Fatal(err)
	}
	a := strings.Repeat("a", 65536)
	body := "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" + a + "\r\n" +
		"400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" + a[:1024] + "\r\n" +
		"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n" +
		"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
	put := func(body string) (int, string) {
		r := httptest.NewRequest("PUT", "http://s3.amazonaws.com/examplebucket/chunkObject.txt", strings.NewReader(body))
		for k, v := range map[string]string{"x-amz-date": "20130524T000000Z", "x-amz-storage-class": "REDUCED_REDUNDANCY", "x-amz-trailer": "x-amz-checksum-crc32c",
			"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "Content-Encoding": "aws-chunked", "x-amz-decoded-content-length": "66560",
			"Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer,Signature=106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"} {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for name, change := range map[string][2]string{
		"the first chunk":  {"aaaa\r\n400;", "aaab\r\n400;"},
		"the second chunk": {"aaaa\r\n0;", "aaab\r\n0;"},
		"a signature":      {"=1c13", "=1c14"},
		"the last":         {"=2ca2", "=2ca3"},
		"the checksum":     {"sOO8/Q==", "sOO8/A=="},
		"the trailer's":    {":d81f", ":d810"},
		"no signature":     {";chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7", ""},
		"no trailing one":  {"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n", ""},
		"chunks exchanged": {"400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" + a[:1024] + "\r\n", ""},
	} {
		changed := strings.Replace(body, change[0], change[1], 1)
		if code, answer := put(changed); changed == body || code != 403 || !strings.Contains(answer, "SignatureDoesNotMatch") {
			t.Errorf("changed in %s: %d %s", name, code, answer)
		}
	}
	head := awscall.Call{Service: "s3", Operation: "HeadObject", Input: map[string]any{"Bucket": "examplebucket", "Key": "chunkObject.txt"}}
	if _, err := g.Invoke(t.Context(), head); awscall.Code(err) != "NoSuchKey" {
		t.Errorf("something is kept: %v", err)
	}
	if code, answer := put(body); code != 200 {
		t.Errorf("as it was signed: %d %s", code, answer)
	}
	if out, err := g.Invoke(t.Context(), head); err != nil || out["ContentLength"] != int64(66560) {
		t.Errorf("kept: %v %v", out, err)
	}
}
