package gateway

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/awsproto"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/sigv4"
)

// ServeHTTP answers one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/_mayfly/health" {
		g.health(w)
		return
	}
	g.mu.RLock()
	extras := g.extras
	g.mu.RUnlock()
	for _, e := range extras {
		if strings.HasPrefix(r.URL.Path, e.prefix) {
			e.handler.ServeHTTP(w, r)
			return
		}
	}
	request := newRequestID()
	w.Header().Set("Server", "Mayfly")
	sig, sigErr := sigv4.Parse(r)
	name := g.resolve(r, sig)
	m := awsapi.Load(name)
	if name == "s3" && r.Method == http.MethodOptions {
		g.preflight(w, r, request)
		return
	}
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	invited := false // by the bucket's CORS rules
	if origin := r.Header.Get("Origin"); name == "s3" && origin != "" {
		if h, err := g.allowed(r, origin, r.Method, nil); err == nil {
			maps.Copy(w.Header(), h)
			invited = true
		}
	}
	if foreignPage(r) && len(g.Credentials) == 0 && !(name == "s3" && (read || invited)) {
		q := awsproto.Foreign(r, name)
		q.Fail(w, awsapi.Errorf(403, "AccessDenied", "Mayfly answers no web page but its own. Configure credentials to allow signed requests from others."), request)
		return
	}
	if m == nil {
		q := awsproto.Foreign(r, name)
		q.Fail(w, unknownService(name), request)
		return
	}
	q, err := awsproto.Open(m, r, g.maxBody(name))
	if err != nil {
		q.Fail(w, err, request)
		return
	}
	if sigErr != nil {
		q.Fail(w, signatureError(m, sigErr), request)
		return
	}
	p, err := g.principal(r, q, sig)
	if err != nil {
		q.Fail(w, signatureError(m, err), request)
		return
	}
	doc, err := q.Decode()
	if err != nil {
		q.Fail(w, err, request)
		return
	}
	if name == "sqs" && doc["QueueUrl"] == nil && queuePath.MatchString(r.URL.Path) && q.Operation.Input.To.MemberNamed("QueueUrl") != nil {
		doc["QueueUrl"] = r.URL.Path // AWS: the query protocol may be spoken to the queue itself
	}
	if trace := r.Header.Get("X-Amzn-Trace-Id"); trace != "" && q.Operation.Input != nil && q.Operation.Input.To.MemberNamed("traceHeader") != nil {
		doc["traceHeader"] = trace // AWS: StartExecution and StartSyncExecution prefer the HTTP header to the body (API reference)
	}
	out, err := g.invoke(r.Context(), awscall.Call{Principal: p, Service: name, Operation: q.Operation.Name, Input: doc}, m, q.Operation, request)
	if err != nil {
		q.Fail(w, err, request)
		return
	}
	if err := q.Respond(w, out, request); err != nil && r.Context().Err() == nil {
		g.Log.DebugContext(r.Context(), "answer not sent", "service", name, "operation", q.Operation.Name, "request", request, "err", err)
		panic(http.ErrAbortHandler) // the client must not take half an object for a whole one
	}
}

var queuePath = regexp.MustCompile(`^/[0-9]{12}/[A-Za-z0-9_.-]+$`)

func (g *Gateway) maxBody(service string) int64 {
	switch service {
	case "lambda":
		return max(g.MaxBody, 72<<20) // AWS: 50 MB of zip, in base64
	case "s3":
		return max(g.MaxBody, 8<<20) // documents only: a thousand keys to delete, ten thousand parts to complete
	}
	if g.Lifted[service] != nil {
		return max(g.MaxBody, 128<<20)
	}
	return g.MaxBody
}

func (g *Gateway) health(w http.ResponseWriter) {
	doc := map[string]any{"status": "ok", "services": g.Services()}
	if g.Health != nil {
		for k, v := range g.Health() {
			doc[k] = v
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(doc)
}

// byTarget, byVersion and byPath find services without a signature.
var indexes = sync.OnceValue(func() (x struct{ target, version map[string]string }) {
	x.target, x.version = map[string]string{}, map[string]string{}
	for name, signs := range awsapi.Index() {
		if signs.Target != "" {
			x.target[signs.Target] = name
		}
		if signs.Version != "" {
			x.version[signs.Version] = name
		}
	}
	return x
})

var restPaths = []struct{ prefix, service string }{
	{"/2015-03-31/functions", "lambda"}, {"/2021-10-31/functions", "lambda"}, {"/2015-03-31/event-source-mappings", "lambda"}, {"/2017-03-31/tags/", "lambda"},
	{"/2018-10-31/layers", "lambda"}, {"/schedules", "scheduler"}, {"/schedule-groups", "scheduler"},
}

// resolve names the service that a request is for: by its target, its signature, the version of its query, its path; what
// remains is S3's.
func (g *Gateway) resolve(r *http.Request, sig *sigv4.Signature) string {
	if target, _, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok {
		if n := indexes().target[target]; n != "" {
			return n
		}
		if sig == nil {
			return strings.ToLower(target)
		}
	}
	if sig != nil {
		return sig.Service
	}
	if r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		body, err := io.ReadAll(io.LimitReader(r.Body, g.MaxBody+1))
		if err == nil {
			r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body))
			if q, err := url.ParseQuery(string(body)); err == nil {
				if n := indexes().version[q.Get("Version")]; n != "" {
					return n
				}
			}
		}
	}
	if q := r.URL.Query(); q.Has("Action") {
		if n := indexes().version[q.Get("Version")]; n != "" {
			return n
		}
	}
	for _, p := range restPaths {
		if strings.HasPrefix(r.URL.Path, p.prefix) {
			return p.service
		}
	}
	return "s3"
}

// open are the operations that carry their own proof and need no signature.
var open = map[string]bool{"sns ConfirmSubscription": true, "sns Unsubscribe": true}

var (
	errNoToken = errors.New("no signature")
	errToken   = errors.New("wrong session token")
)

// principal finds out who signs a request, and checks the signature where it has to be right.
func (g *Gateway) principal(r *http.Request, q *awsproto.Request, sig *sigv4.Signature) (identity.Principal, error) {
	if sig == nil {
		if len(g.Credentials) > 0 && !open[q.Model.Name()+" "+q.Operation.Name] {
			return identity.Principal{}, errNoToken
		}
		return g.root(g.Region), nil
	}
	region := g.Region
	if validRegion(sig.Region) {
		region = sig.Region
	}
	p, secret := g.root(region), ""
	i, ok, err := g.Keys.find(sig.AccessKeyID)
	switch {
	case err != nil:
		return p, err
	case ok:
		if !i.Expires.IsZero() && g.Clock.Now().After(i.Expires) {
			return p, sigv4.ErrExpired
		}
		if subtle.ConstantTimeCompare([]byte(i.Credentials.SessionToken), []byte(sig.SessionToken)) != 1 {
			return p, errToken
		}
		p, secret = i.Principal, i.Credentials.SecretAccessKey
		p.Region = region
	case len(g.Credentials) > 0:
		for _, c := range g.Credentials {
			if c.AccessKeyID == sig.AccessKeyID {
				secret = c.SecretAccessKey
			}
		}
		if secret == "" {
			return p, identity.ErrUnknownKey
		}
	default:
		return p, nil
	}
	payload := sigv4.PayloadHash(r, q.Body)
	if err := sig.Verify(r, secret, payload, g.Clock.Now()); err != nil {
		return p, err
	}
	if strings.HasPrefix(payload, sigv4.SignedChunks) {
		q.Signatures = sig.Chunks(secret)
	}
	if len(payload) == sha256.Size*2 && !sig.Presigned {
		if q.Streaming() {
			r.Body = &hashed{ReadCloser: r.Body, sum: sha256.New(), want: payload}
		} else if sigv4.Hash(q.Body) != payload {
			return p, errPayload
		}
	}
	return p, nil
}

var errPayload = awsapi.Errorf(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")

// hashed compares a streaming body with the hash that was signed: a wrong one is an error in place of io.EOF.
type hashed struct {
	io.ReadCloser
	sum  hash.Hash
	want string
}

func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	h.sum.Write(p[:n])
	if err == io.EOF && hex.EncodeToString(h.sum.Sum(nil)) != h.want {
		err = errPayload
	}
	return n, err
}

// signatureError words a refusal as the service does.
func signatureError(m *awsapi.Model, err error) error {
	var e *awsapi.Error
	if errors.As(err, &e) {
		return e
	}
	s3, query := m.Name() == "s3", m.Metadata.Protocol == "query" || m.Metadata.Protocol == "ec2"
	pick := func(forS3, forQuery, forJSON string) string {
		switch {
		case s3:
			return forS3
		case query:
			return forQuery
		}
		return forJSON
	}
	switch {
	case errors.Is(err, errNoToken):
		if s3 {
			return awsapi.Errorf(403, "AccessDenied", "Access Denied")
		}
		return awsapi.Errorf(403, pick("", "MissingAuthenticationToken", "MissingAuthenticationTokenException"), "Missing Authentication Token")
	case errors.Is(err, identity.ErrUnknownKey):
		if s3 {
			return awsapi.Errorf(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
		}
		return awsapi.Errorf(403, pick("", "InvalidClientTokenId", "UnrecognizedClientException"), "The security token included in the request is invalid.")
	case errors.Is(err, errToken):
		return awsapi.Errorf(403, pick("InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException"), "The security token included in the request is invalid.")
	case errors.Is(err, sigv4.ErrExpired):
		if s3 {
			return awsapi.Errorf(403, "AccessDenied", "Request has expired")
		}
		return awsapi.Errorf(403, pick("", "ExpiredToken", "ExpiredTokenException"), "The security token included in the request is expired")
	case errors.Is(err, sigv4.ErrSkewed):
		return awsapi.Errorf(403, pick("RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException"), "The difference between the request time and the current time is too large.")
	case errors.Is(err, sigv4.ErrMalformed):
		return awsapi.Errorf(400, pick("AuthorizationHeaderMalformed", "IncompleteSignature", "IncompleteSignatureException"), "%v", err)
	}
	return awsapi.Errorf(403, pick("SignatureDoesNotMatch", "SignatureDoesNotMatch", "InvalidSignatureException"),
		"The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}
