package egress

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		plain Plain
		url   string
		want  string // of the refusal; "" when it may be called
	}{
		{Nowhere, "https://example.com/a", ""},
		{Nowhere, "http://127.0.0.1/a", "only https"},
		{Loopback, "http://127.0.0.1/a", ""},
		{Loopback, "http://example.com/a", ""}, // decided when it is dialled
		{Anywhere, "http://example.com/a", ""},
		{Anywhere, "ftp://example.com/a", "neither https nor http"},
		{Anywhere, "https:///a", "no URL with a host"},
		{Anywhere, "https://user:secret@example.com/a", "a URL with a user"},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		switch err := Check(c.plain, u); {
		case c.want == "" && err != nil:
			t.Errorf("%s %s: %v", c.plain, c.url, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret")):
			t.Errorf("%s %s: %v; want %s", c.plain, c.url, err, c.want)
		}
	}
}

func TestLoopbackIsTheAddress(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/", http.StatusFound)
		}
		io.WriteString(w, "here")
	}))
	defer s.Close()
	c := New(Loopback)
	defer c.CloseIdleConnections()
	for path, status := range map[string]int{"/": 200, "/moved": 302} {
		res, err := c.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != status {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	// An address of another machine is refused before a byte is sent, so the network need not know it.
	if _, err := c.Get("http://192.0.2.1:9/"); err == nil || !strings.Contains(err.Error(), "goes to this machine only") {
		t.Errorf("another machine: %v", err)
	}
	if _, err := New(Nowhere).Get(s.URL); err == nil || !strings.Contains(err.Error(), "only https") {
		t.Errorf("plain http: %v", err)
	}
}
