package httptask

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

func TestRequests(t *testing.T) {
	text, err := os.ReadFile("testdata/requests.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name       string
		Arguments  json.RawMessage
		Connection *Connection
		URL, Body  string
		Headers    []string
		Error      string
	}
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) == 0 {
		t.Fatal(len(cases), err)
	}
	for _, c := range cases {
		args, err := jsonvalue.Parse(c.Arguments)
		if err != nil {
			t.Fatal(err)
		}
		var b *built
		r, err := parse(args)
		if err == nil {
			b, err = r.build(c.Connection, "eu-west-1")
		}
		if err != nil || c.Error != "" {
			if err == nil || err.Error() != c.Error {
				t.Errorf("%s: error %v", c.Name, err)
			}
			continue
		}
		if b.url != c.URL || string(b.body) != c.Body || b.has != (c.Body != "") {
			t.Errorf("%s: %s\n%s", c.Name, b.url, b.body)
		}
		if got := listed(b.headers); c.Headers != nil && got != "["+strings.Join(c.Headers, ", ")+"]" {
			t.Errorf("%s: %s", c.Name, got)
		}
	}
}

// fixed answers every request with the same.
type fixed func(*http.Request) (*http.Response, error)

func (f fixed) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func tasks(rt http.RoundTripper) *Tasks {
	return New(Config{Limit: time.Minute, MaxBody: 256 << 10, Client: &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, Endpoint: func(*url.URL) error { return nil },
		Connection: func(_ context.Context, _ identity.Principal, arn string, anew bool) (*Connection, error) {
			if arn == "none" {
				return nil, &Refusal{"ResourceNotFound", "no such connection"}
			}
			token := "old"
			if anew {
				token = "new"
			}
			return &Connection{Renewable: arn == "oauth", Header: Pair{"Authorization", "Bearer " + token}, Query: []Pair{{"key", "secret"}}}, nil
		}})
}

func task(connection string) integration.Task {
	args, _ := jsonvalue.Parse([]byte(`{"ApiEndpoint":"https://api.test/x","Method":"POST","RequestBody":{"a":1},"Authentication":{"ConnectionArn":"` + connection + `"}}`))
	return integration.Task{Input: args, Principal: identity.Principal{Account: "1", Region: "r"}}
}

func TestAnswers(t *testing.T) {
	json := http.Header{"Content-Type": {"application/json; charset=utf-8"}, "X-Two": {"1", "2"}}
	for _, c := range []struct {
		name     string
		status   string
		code     int
		header   http.Header
		body     string
		output   string
		failure  string
		response string
	}{
		{"json", "200 OK", 200, json, `{"b":1.0,"a":[]}`,
			`{"Headers":{"content-type":["application/json; charset=utf-8"],"x-two":["1","2"]},"ResponseBody":{"b":1.0,"a":[]},"StatusCode":200,"StatusText":"OK"}`, "", ""},
		{"broken json is text", "201 Created", 201, http.Header{"Content-Type": {"application/json"}}, `{`,
			`{"Headers":{"content-type":["application/json"]},"ResponseBody":"{","StatusCode":201,"StatusText":"Created"}`, "", ""},
		{"text, no reason", "204 ", 204, nil, "", `{"Headers":{},"ResponseBody":"","StatusCode":204,"StatusText":"No Content"}`, "", ""},
		{"a failure keeps its body", "404 Not Found", 404, http.Header{"Content-Type": {"application/problem+json"}}, `{"why":"gone"}`, "",
			"States.Http.StatusCode.404: Not Found",
			`{"Headers":{"content-type":["application/problem+json"]},"ResponseBody":{"why":"gone"},"StatusCode":404,"StatusText":"Not Found"}`},
		{"a redirect is not followed", "302 Found", 302, http.Header{"Location": {"https://elsewhere/"}}, "", "",
			"States.Http.StatusCode.302: Found", `{"Headers":{"location":["https://elsewhere/"]},"ResponseBody":"","StatusCode":302,"StatusText":"Found"}`},
		{"an image", "200 OK", 200, http.Header{"Content-Type": {"image/png"}}, "x", "", "States.Runtime: The response has the content type image/png, which HTTP tasks do not support.", ""},
		{"bytes", "200 OK", 200, http.Header{"Content-Type": {"application/octet-stream"}}, "x", "", "States.Runtime: The response has the content type application/octet-stream, which HTTP tasks do not support.", ""},
		{"no text", "200 OK", 200, nil, "\xff", "", "States.Runtime: The response cannot be read as text.", ""},
		{"too large", "200 OK", 200, nil, strings.Repeat("x", 256<<10+1), "", "States.DataLimitExceeded: The state/task 'http' returned a result with a size exceeding the maximum number of bytes service limit.", ""},
	} {
		result, err := tasks(&http.Transport{DialContext: server(t, c.code, c.status, c.header, c.body)}).Start(t.Context(), plainTask())
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := ""
		if f := result.Failure; f != nil {
			got = f.Error + ": " + f.Cause
		}
		output, response := "", ""
		if !result.Output.IsZero() {
			output = result.Output.String()
		}
		if !result.Response.IsZero() {
			response = result.Response.String()
		}
		if got != c.failure || output != c.output || response != c.response {
			t.Errorf("%s:\n%s\n%s\n%s", c.name, got, output, response)
		}
	}
}

// plainTask calls without TLS, to the server of this test.
func plainTask() integration.Task {
	t := task("basic")
	t.Input, _ = jsonvalue.Parse([]byte(strings.Replace(t.Input.String(), "https:", "http:", 1)))
	return t
}

// server answers one connection in its own words, and returns how to reach it.
func server(t *testing.T, code int, status string, header http.Header, body string) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			buf := make([]byte, 64<<10)
			if _, err := server.Read(buf); err != nil {
				return
			}
			res := &http.Response{Status: status, StatusCode: code, ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1, Close: true}
			_ = res.Write(withoutClose{server})
		}()
		return client, nil
	}
}

// withoutClose drops the header that the answer's own Write adds.
type withoutClose struct{ io.Writer }

func (w withoutClose) Write(b []byte) (int, error) {
	if _, err := w.Writer.Write([]byte(strings.Replace(string(b), "Connection: close\r\n", "", 1))); err != nil {
		return 0, err
	}
	return len(b), nil
}

func TestSockets(t *testing.T) {
	refused := fixed(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
	r, err := tasks(refused).Start(t.Context(), task("basic"))
	if err != nil || r.Failure.Error != "States.Http.Socket" || r.Failure.Cause != "connection refused" {
		t.Errorf("%+v %v", r.Failure, err) // and nothing of the URL, which has a secret in its query
	}
	r, err = tasks(refused).Start(t.Context(), task("none"))
	if err != nil || r.Failure.Error != "Events.ConnectionResource.ResourceNotFound" {
		t.Errorf("%+v %v", r.Failure, err)
	}
	silent := fixed(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	synctest.Test(t, func(t *testing.T) {
		r, err := tasks(silent).Start(t.Context(), task("basic"))
		if err != nil || r.Failure.Error != "States.Http.Socket" || r.Failure.Cause != "no answer within 60 seconds" {
			t.Errorf("%+v %v", r.Failure, err)
		}
	})
	leaving, leave := context.WithCancelCause(t.Context())
	stopped := errors.New("the server is leaving")
	leave(stopped)
	if r, err := tasks(silent).Start(leaving, task("basic")); err != stopped {
		t.Errorf("leaving is a failure: %+v %v", r.Failure, err)
	}
}

// TestToken: a refused OAuth token is fetched anew, once; other credentials are not.
func TestToken(t *testing.T) {
	for connection, want := range map[string][]string{"oauth": {"Bearer old", "Bearer new"}, "basic": {"Bearer old"}} {
		var seen []string
		rt := fixed(func(r *http.Request) (*http.Response, error) {
			seen = append(seen, r.Header.Get("Authorization"))
			return &http.Response{Status: "401 Unauthorized", StatusCode: 401, Header: http.Header{}, Body: http.NoBody}, nil
		})
		r, err := tasks(rt).Start(t.Context(), task(connection))
		if err != nil || r.Failure.Error != "States.Http.StatusCode.401" || strings.Join(seen, ",") != strings.Join(want, ",") {
			t.Errorf("%s: %q %+v %v", connection, seen, r.Failure, err)
		}
	}
}

func TestInspection(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	defer s.Close()
	for _, secrets := range []bool{false, true} {
		x := plainTask()
		x.Input, _ = jsonvalue.Parse([]byte(strings.Replace(x.Input.String(), "http://api.test", s.URL, 1)))
		x.Inspect = &integration.Inspection{Secrets: secrets}
		if _, err := tasks(http.DefaultTransport).Start(t.Context(), x); err != nil {
			t.Fatal(err)
		}
		sent, got := x.Inspect.Sent, x.Inspect.Got
		if sent.Protocol != "http" || sent.Method != "POST" || sent.Body != `{"a":1}` || strings.Contains(sent.URL+sent.Headers, "secret") != secrets || strings.Contains(sent.Headers, "Bearer old") != secrets {
			t.Errorf("secrets %v: %+v", secrets, sent)
		}
		if got.StatusCode != "200" || got.StatusMessage != "OK" || got.Body != "hello" || !strings.Contains(got.Headers, "content-length: 5, ") {
			t.Errorf("%+v", got)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(`{"ApiEndpoint":"https://e/?a=%41","Method":"POST","Authentication":{"ConnectionArn":"c"},"Headers":{"A":"b"},"QueryParameters":"a=b","RequestBody":{"a":[1,{"b":null}]},"Transform":{"RequestBodyEncoding":"URL_ENCODED"}}`)
	f.Add(`{"ApiEndpoint":"https://e/","Method":"GET","InvocationConfig":{"ConnectionArn":"c"},"QueryParameters":[{"a":[1,2]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		args, err := jsonvalue.Parse([]byte(text))
		if err != nil {
			return
		}
		r, err := parse(args)
		if err != nil {
			return
		}
		if b, err := r.build(&Connection{Body: []Pair{{"a", "b"}}}, "r"); err == nil {
			if _, err := b.http(t.Context()); err != nil && !strings.Contains(err.Error(), "parse") && !strings.Contains(err.Error(), "invalid") {
				t.Errorf("%v", err)
			}
		}
	})
}
