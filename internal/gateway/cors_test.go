package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/identity"
)

// ask makes a request by its parts: "METHOD path", headers as "Name: value" lines, and a body.
func ask(t *testing.T, endpoint, line, headers, body string) (*http.Response, string) {
	t.Helper()
	method, path, _ := strings.Cut(line, " ")
	r, err := http.NewRequestWithContext(t.Context(), method, endpoint+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for h := range strings.Lines(headers) {
		if k, v, ok := strings.Cut(strings.TrimSpace(h), ": "); ok {
			r.Header.Set(k, v)
		}
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// TestCORS: a page of another origin reaches a bucket whose rules name it, and nothing else.
func TestCORS(t *testing.T) {
	endpoint := serve(t)
	do := func(want int, line, headers, body string) (*http.Response, string) {
		t.Helper()
		resp, answer := ask(t, endpoint, line, headers, body)
		if resp.StatusCode != want {
			t.Errorf("%s %q: %d %s, want %d", line, headers, resp.StatusCode, answer, want)
		}
		return resp, answer
	}
	const page, preflight = "Origin: https://app.example", "Origin: https://app.example\nAccess-Control-Request-Method: "
	for _, b := range []string{"/open", "/plain"} {
		do(200, "PUT "+b, "", "")
	}
	do(200, "PUT /open?cors", "", `<CORSConfiguration><CORSRule><AllowedOrigin>https://*.example</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>`+
		`<AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>`)

	resp, _ := do(200, "OPTIONS /open/k", preflight+"PUT\nAccess-Control-Request-Headers: X-Amz-Date, x-amz-acl", "")
	for k, want := range map[string]string{"Access-Control-Allow-Origin": "https://app.example", "Access-Control-Allow-Methods": "PUT", "Access-Control-Allow-Credentials": "true",
		"Access-Control-Allow-Headers": "x-amz-date, x-amz-acl", "Access-Control-Expose-Headers": "ETag", "Access-Control-Max-Age": "60"} {
		if got := resp.Header.Get(k); got != want {
			t.Errorf("%s: %q, want %q", k, got, want)
		}
	}
	for line, c := range map[string][2]string{
		"OPTIONS /open/k":    {preflight + "DELETE", "This CORS request is not allowed"},
		"OPTIONS /open/l":    {preflight + "PUT\nAccess-Control-Request-Headers: authorization", "This CORS request is not allowed"},
		"OPTIONS /open":      {"Origin: https://app.else\nAccess-Control-Request-Method: PUT", "<ResourceType>BUCKET</ResourceType>"},
		"OPTIONS /plain/k":   {preflight + "PUT", "CORS is not enabled for this bucket."},
		"OPTIONS /missing/k": {preflight + "PUT", "Bucket not found"},
		"OPTIONS /":          {preflight + "POST", "Bucket not found"},
	} {
		if _, answer := do(403, line, c[0], ""); !strings.Contains(answer, "<Code>AccessForbidden</Code>") || !strings.Contains(answer, c[1]) {
			t.Errorf("%s: %s", line, answer)
		}
	}
	do(400, "OPTIONS /open/k", "Access-Control-Request-Method: PUT", "")
	do(400, "OPTIONS /open/k", page, "")

	if resp, _ := do(200, "PUT /open/k", page, "x"); resp.Header.Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("headers of the put: %v", resp.Header)
	}
	do(403, "PUT /plain/k", page, "x")
	do(403, "DELETE /open/k", page, "")
	do(403, "PUT /open/k", "Origin: https://app.else", "x")
	if _, answer := do(200, "GET /open/k", "", ""); answer != "x" {
		t.Errorf("the object is %q", answer)
	}
}

// TestHalfRequests: what names a part or a sub-resource is never taken for the plain operation.
func TestHalfRequests(t *testing.T) {
	endpoint := serve(t)
	ask(t, endpoint, "PUT /bkt", "", "")
	ask(t, endpoint, "PUT /bkt/k", "", "old")
	for line, want := range map[string]string{
		"PUT /bkt/k?partNumber=1":           "This operation does not accept partNumber without uploadId",
		"PUT /bkt/k?partNumber=1&uploadId=": "This operation does not accept partNumber without uploadId",
		"PUT /bkt/k?uploadId=u":             "MethodNotAllowed",
		"PUT /other?policyStatus":           "MethodNotAllowed",
		"PUT /bkt/k?torrent":                "MethodNotAllowed",
		"DELETE /bkt/k?acl":                 "MethodNotAllowed",
	} {
		if resp, answer := ask(t, endpoint, line, "", "new"); resp.StatusCode < 400 || !strings.Contains(answer, want) {
			t.Errorf("%s: %d %s", line, resp.StatusCode, answer)
		}
	}
	if _, answer := ask(t, endpoint, "GET /bkt/k", "", ""); answer != "old" {
		t.Errorf("the object is %q", answer)
	}
	if resp, _ := ask(t, endpoint, "HEAD /other", "", ""); resp.StatusCode != 404 {
		t.Errorf("a bucket was made: %d", resp.StatusCode)
	}
}

// TestUnsigned: with credentials, nothing unsigned is let in, whatever CORS says.
func TestUnsigned(t *testing.T) {
	endpoint := serve(t, identity.Credentials{AccessKeyID: "AKIAUSER", SecretAccessKey: "s3cr3t"})
	for _, line := range []string{"PUT /bkt", "GET /", "PUT /bkt/k"} {
		if resp, answer := ask(t, endpoint, line, "Origin: https://app.example", ""); resp.StatusCode != 403 || !strings.Contains(answer, "AccessDenied") {
			t.Errorf("%s: %d %s", line, resp.StatusCode, answer)
		}
	}
}
