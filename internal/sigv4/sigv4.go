// Package sigv4 reads, checks and makes AWS's request signatures: version 4 in the header or the query string, and S3's
// old version 2 in the query string, which boto3 still makes for presigned URLs.
//
// It knows no keys and no services' errors: the caller looks the secret up between Parse and Verify, and words what went
// wrong.
package sigv4

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/identity"
)

var (
	// ErrMalformed: the signature's own form is broken.
	ErrMalformed = errors.New("malformed signature")
	// ErrMismatch: the request was not signed with this secret, or was changed after.
	ErrMismatch = errors.New("the signature does not match")
	// ErrExpired: a presigned URL's time is over.
	ErrExpired = errors.New("the request has expired")
	// ErrSkewed: the request's date is too far from now.
	ErrSkewed = errors.New("the request's date is too far from the server's time")
)

const (
	algorithm = "AWS4-HMAC-SHA256"
	dateForm  = "20060102T150405Z"
	// MaxSkew is how far a signature's date may be from now.
	MaxSkew = 15 * time.Minute
	// Unsigned is the payload hash of a request whose body is not signed.
	Unsigned = "UNSIGNED-PAYLOAD"
	// SignedChunks begins the payload hash of a request whose body is signed chunk by chunk.
	SignedChunks = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	// maxExpires is the longest life of a presigned URL.
	maxExpires = 7 * 24 * time.Hour
)

// Signature is what a request says of its signer.
type Signature struct {
	AccessKeyID  string
	SessionToken string
	Region       string // "" in version 2
	Service      string // "s3" in version 2
	Presigned    bool

	v2        bool
	date      time.Time // of version 4; of version 2 the expiry
	day       string    // of the scope
	expires   time.Duration
	headers   []string // signed, lower case
	signature string
}

// Parse reads the signature of a request; nil when it has none.
func Parse(r *http.Request) (*Signature, error) {
	if auth := r.Header.Get("Authorization"); auth != "" {
		rest, ok := strings.CutPrefix(auth, algorithm)
		if !ok {
			return nil, fmt.Errorf("%w: unsupported authorization type", ErrMalformed)
		}
		return parseHeader(r, rest)
	}
	if !strings.Contains(r.URL.RawQuery, "ignature") {
		return nil, nil
	}
	q := r.URL.Query()
	switch {
	case q.Has("X-Amz-Signature"):
		return parseQuery(q)
	case q.Has("Signature") && q.Has("AWSAccessKeyId") && q.Has("Expires"):
		n, err := strconv.ParseInt(q.Get("Expires"), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: Expires", ErrMalformed)
		}
		return &Signature{AccessKeyID: q.Get("AWSAccessKeyId"), SessionToken: q.Get("x-amz-security-token"), Service: "s3",
			Presigned: true, v2: true, date: time.Unix(n, 0), signature: q.Get("Signature")}, nil
	}
	return nil, nil
}

func parseHeader(r *http.Request, rest string) (*Signature, error) {
	s := &Signature{SessionToken: r.Header.Get("X-Amz-Security-Token")}
	var scope string
	for _, part := range strings.Split(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			scope = value
		case "SignedHeaders":
			s.headers = strings.Split(value, ";")
		case "Signature":
			s.signature = value
		}
	}
	if err := s.scope(scope); err != nil {
		return nil, err
	}
	date := r.Header.Get("X-Amz-Date")
	if date == "" {
		date = r.Header.Get("Date")
	}
	return s, s.dated(date)
}

func parseQuery(q url.Values) (*Signature, error) {
	s := &Signature{SessionToken: q.Get("X-Amz-Security-Token"), Presigned: true, signature: q.Get("X-Amz-Signature"),
		headers: strings.Split(q.Get("X-Amz-SignedHeaders"), ";")}
	if q.Get("X-Amz-Algorithm") != algorithm {
		return nil, fmt.Errorf("%w: X-Amz-Algorithm", ErrMalformed)
	}
	if err := s.scope(q.Get("X-Amz-Credential")); err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(cmp.Or(q.Get("X-Amz-Expires"), "86400"))
	if s.expires = time.Duration(n) * time.Second; err != nil || n < 0 || s.expires > maxExpires {
		return nil, fmt.Errorf("%w: X-Amz-Expires", ErrMalformed)
	}
	return s, s.dated(q.Get("X-Amz-Date"))
}

// scope reads AKID/20261122/us-east-1/s3/aws4_request. An access key may hold slashes.
func (s *Signature) scope(text string) error {
	parts := strings.Split(text, "/")
	n := len(parts)
	if n < 5 || parts[n-1] != "aws4_request" || s.signature == "" {
		return fmt.Errorf("%w: Credential", ErrMalformed)
	}
	s.AccessKeyID = strings.Join(parts[:n-4], "/")
	s.day, s.Region, s.Service = parts[n-4], parts[n-3], parts[n-2]
	return nil
}

func (s *Signature) dated(text string) error {
	for _, form := range []string{dateForm, http.TimeFormat} {
		t, err := time.Parse(form, text)
		if err == nil {
			s.date = t
			if t.Format("20060102") != s.day {
				return fmt.Errorf("%w: the scope's date differs from the request's", ErrMalformed)
			}
			return nil
		}
	}
	return fmt.Errorf("%w: X-Amz-Date", ErrMalformed)
}

// PayloadHash is the body's hash that the request was signed with. For a request that does not say it, body is hashed;
// a streaming one has to say it.
func PayloadHash(r *http.Request, body []byte) string {
	if h := r.Header.Get("X-Amz-Content-Sha256"); h != "" {
		return h
	}
	return Hash(body)
}

// Hash is the hex SHA-256 of b.
func Hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Verify checks the signature with the key's secret. payload is PayloadHash's answer.
func (s *Signature) Verify(r *http.Request, secret, payload string, now time.Time) error {
	if s.v2 {
		if now.After(s.date) {
			return ErrExpired
		}
		if !equal(signatureV2(r, secret), s.signature) {
			return ErrMismatch
		}
		return nil
	}
	if s.Presigned {
		if now.After(s.date.Add(s.expires)) {
			return ErrExpired
		}
		if s.date.Sub(now) > MaxSkew {
			return ErrSkewed
		}
		if s.Service == "s3" && r.Header.Get("X-Amz-Content-Sha256") == "" {
			payload = Unsigned
		}
	} else if d := now.Sub(s.date); d > MaxSkew || d < -MaxSkew {
		return ErrSkewed
	}
	if !slices.Contains(s.headers, "host") {
		return fmt.Errorf("%w: the host is not signed", ErrMalformed)
	}
	text := canonicalRequest(r, s.Service, s.headers, payload)
	if !equal(sign(secret, s.date, s.day, s.Region, s.Service, text), s.signature) {
		return ErrMismatch
	}
	return nil
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func signingKey(secret, day, region, service string) []byte {
	return mac(mac(mac(mac([]byte("AWS4"+secret), day), region), service), "aws4_request")
}

func sign(secret string, date time.Time, day, region, service, canonical string) string {
	text := algorithm + "\n" + date.UTC().Format(dateForm) + "\n" + day + "/" + region + "/" + service + "/aws4_request\n" + Hash([]byte(canonical))
	return hex.EncodeToString(mac(signingKey(secret, day, region, service), text))
}

// Chunks checks the signatures in an aws-chunked body: each signs what it belongs to and the signature before it, the first
// the request's own.
type Chunks struct {
	key         []byte
	date, scope string
	last        string
}

// Chunks begins the check of the body of a request whose own signature was verified with that secret.
func (s *Signature) Chunks(secret string) *Chunks {
	return &Chunks{signingKey(secret, s.day, s.Region, s.Service), s.date.UTC().Format(dateForm), s.day + "/" + s.Region + "/" + s.Service + "/aws4_request", s.signature}
}

// Chunk checks the signature of the next chunk, whose bytes have that SHA-256.
func (c *Chunks) Chunk(signature string, sum []byte) error {
	return c.check(signature, "-PAYLOAD", Hash(nil)+"\n"+hex.EncodeToString(sum))
}

// Trailer checks the signature behind the trailers: their lines of name, colon and value.
func (c *Chunks) Trailer(signature, lines string) error {
	return c.check(signature, "-TRAILER", Hash([]byte(lines)))
}

func (c *Chunks) check(signature, kind, hashes string) error {
	want := hex.EncodeToString(mac(c.key, strings.Join([]string{algorithm + kind, c.date, c.scope, c.last, hashes}, "\n")))
	if !equal(want, signature) {
		return ErrMismatch
	}
	c.last = signature
	return nil
}

func canonicalRequest(r *http.Request, service string, headers []string, payload string) string {
	var b strings.Builder
	b.WriteString(r.Method)
	b.WriteByte('\n')
	b.WriteString(canonicalPath(r.URL, service))
	b.WriteByte('\n')
	b.WriteString(canonicalQuery(r.URL.RawQuery))
	b.WriteByte('\n')
	for _, h := range headers {
		b.WriteString(h)
		b.WriteByte(':')
		b.WriteString(headerText(r, h))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(strings.Join(headers, ";"))
	b.WriteByte('\n')
	b.WriteString(payload)
	return b.String()
}

func headerText(r *http.Request, name string) string {
	switch name {
	case "host":
		return cmp.Or(r.Host, r.URL.Host)
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	vs := r.Header.Values(name)
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(out, ",")
}

// canonicalPath: S3's is encoded once; that of the others, once more than it was sent.
func canonicalPath(u *url.URL, service string) string {
	p := u.EscapedPath()
	if p == "" {
		return "/"
	}
	if service == "s3" {
		plain, err := url.PathUnescape(p)
		if err != nil {
			plain = p
		}
		return escape(plain, true)
	}
	return escape(p, true)
}

func canonicalQuery(raw string) string {
	var pairs []string
	for raw != "" {
		var part string
		part, raw, _ = strings.Cut(raw, "&")
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		k, v = unescape(k), unescape(v)
		if k == "X-Amz-Signature" {
			continue
		}
		pairs = append(pairs, escape(k, false)+"="+escape(v, false))
	}
	slices.SortFunc(pairs, func(a, b string) int {
		ka, va, _ := strings.Cut(a, "=")
		kb, vb, _ := strings.Cut(b, "=")
		return cmp.Or(cmp.Compare(ka, kb), cmp.Compare(va, vb))
	})
	return strings.Join(pairs, "&")
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// escape is AWS's URI encoding: all but the unreserved characters, and slashes where they part a path.
func escape(s string, path bool) string {
	const hexUpper = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/' && path:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexUpper[c>>4])
			b.WriteByte(hexUpper[c&15])
		}
	}
	return b.String()
}

// Sign signs a request in its header. body is what it will send; nil for a stream, which is sent unsigned.
func Sign(r *http.Request, c identity.Credentials, region, service string, body []byte, stream bool, now time.Time) {
	payload := Unsigned
	if !stream {
		payload = Hash(body)
	}
	now = now.UTC()
	r.Header.Set("X-Amz-Date", now.Format(dateForm))
	if service == "s3" {
		r.Header.Set("X-Amz-Content-Sha256", payload)
	}
	if c.SessionToken != "" {
		r.Header.Set("X-Amz-Security-Token", c.SessionToken)
	}
	headers := []string{"host"}
	for k := range r.Header {
		if k = strings.ToLower(k); k == "content-type" || strings.HasPrefix(k, "x-amz-") {
			headers = append(headers, k)
		}
	}
	slices.Sort(headers)
	day := now.Format("20060102")
	signature := sign(c.SecretAccessKey, now, day, region, service, canonicalRequest(r, service, headers, payload))
	r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=%s, Signature=%s",
		algorithm, c.AccessKeyID, day, region, service, strings.Join(headers, ";"), signature))
}

// Presign adds a version 4 signature to the query string of u, for the method and with only the host signed.
func Presign(method string, u *url.URL, c identity.Credentials, region, service string, expires time.Duration, now time.Time) {
	now = now.UTC()
	day := now.Format("20060102")
	q := u.Query()
	q.Set("X-Amz-Algorithm", algorithm)
	q.Set("X-Amz-Credential", c.AccessKeyID+"/"+day+"/"+region+"/"+service+"/aws4_request")
	q.Set("X-Amz-Date", now.Format(dateForm))
	q.Set("X-Amz-Expires", strconv.Itoa(int(expires/time.Second)))
	q.Set("X-Amz-SignedHeaders", "host")
	if c.SessionToken != "" {
		q.Set("X-Amz-Security-Token", c.SessionToken)
	}
	u.RawQuery = q.Encode()
	r := &http.Request{Method: method, URL: u, Host: u.Host, Header: http.Header{}}
	payload := Unsigned
	if service != "s3" {
		payload = Hash(nil)
	}
	u.RawQuery += "&X-Amz-Signature=" + sign(c.SecretAccessKey, now, day, region, service, canonicalRequest(r, service, []string{"host"}, payload))
}

// subresources are the query parameters that version 2 signs.
var subresources = []string{"accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "encryption", "inventory", "lifecycle",
	"location", "logging", "metrics", "notification", "object-lock", "partNumber", "policy", "policyStatus", "publicAccessBlock",
	"replication", "requestPayment", "response-cache-control", "response-content-disposition", "response-content-encoding",
	"response-content-language", "response-content-type", "response-expires", "restore", "retention", "tagging", "torrent",
	"uploadId", "uploads", "versionId", "versioning", "versions", "website", "legal-hold", "select", "select-type", "intelligent-tiering", "ownershipControls"}

// signatureV2 is S3's old signature of a presigned URL. Headers that were moved into the query count as headers.
func signatureV2(r *http.Request, secret string) string {
	q := r.URL.Query()
	head := func(name string) string { return cmp.Or(q.Get(name), r.Header.Get(name)) }
	amz := map[string]string{}
	for k, vs := range r.Header {
		if k = strings.ToLower(k); strings.HasPrefix(k, "x-amz-") {
			amz[k] = strings.Join(vs, ",")
		}
	}
	for k, vs := range q {
		if l := strings.ToLower(k); strings.HasPrefix(l, "x-amz-") {
			amz[l] = vs[0]
		}
	}
	var names []string
	for k := range amz {
		names = append(names, k)
	}
	slices.Sort(names)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%s\n%s\n", r.Method, head("content-md5"), head("content-type"), q.Get("Expires"))
	for _, k := range names {
		fmt.Fprintf(&b, "%s:%s\n", k, strings.TrimSpace(amz[k]))
	}
	b.WriteString(r.URL.EscapedPath())
	sep := byte('?')
	subs := slices.Clone(subresources)
	slices.Sort(subs)
	for _, k := range subs {
		if vs, ok := q[k]; ok {
			b.WriteByte(sep)
			b.WriteString(k)
			if vs[0] != "" {
				b.WriteString("=" + vs[0])
			}
			sep = '&'
		}
	}
	h := hmac.New(sha1.New, []byte(secret))
	h.Write([]byte(b.String()))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}
