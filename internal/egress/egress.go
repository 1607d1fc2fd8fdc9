// Package egress is how the server calls what is neither AWS nor Mayfly's: the APIs of HTTP tasks, and the token servers of
// their connections. https may go anywhere, plain http only where the setting allows it, and no redirect is followed:
// another host must not get the credentials of the first.
package egress

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Plain says where plain http may go.
type Plain string

const (
	Nowhere  Plain = "none"     // https only, as on AWS
	Loopback Plain = "loopback" // this machine, by the address that is dialled and not by its name
	Anywhere Plain = "all"
)

// headerLimit bounds what a server may say before its body.
const headerLimit = 64 << 10

// New makes a client. It has no time limit of its own: the context of a request has.
func New(plain Plain) *http.Client {
	secure := http.DefaultTransport.(*http.Transport).Clone()
	secure.MaxResponseHeaderBytes = headerLimit
	open := secure.Clone()
	open.Proxy = nil // a proxy would hide the address
	if plain != Anywhere {
		dialer := &net.Dialer{Timeout: 30 * time.Second, ControlContext: onlyLoopback}
		open.DialContext = dialer.DialContext
	}
	return &http.Client{Transport: transport{plain, secure, open},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Check says why a URL could not be called whatever its host resolves to; nil when it could be.
func Check(plain Plain, u *url.URL) error {
	switch {
	case u.Host == "":
		return fmt.Errorf("%q is no URL with a host", u.Redacted())
	case u.User != nil:
		return fmt.Errorf("a URL with a user is not called; credentials belong into a connection")
	case u.Scheme == "https", u.Scheme == "http" && plain != Nowhere:
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("only https is called, as on AWS; the setting plain-http allows more")
	}
	return fmt.Errorf("%q is neither https nor http", u.Scheme)
}

type transport struct {
	plain        Plain
	secure, open *http.Transport
}

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := Check(t.plain, r.URL); err != nil {
		return nil, err
	}
	if r.URL.Scheme == "https" {
		return t.secure.RoundTrip(r)
	}
	return t.open.RoundTrip(r)
}

// CloseIdleConnections lets http.Client's method of that name reach both transports.
func (t transport) CloseIdleConnections() {
	t.secure.CloseIdleConnections()
	t.open.CloseIdleConnections()
}

func onlyLoopback(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err == nil && at.Addr().Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("plain http goes to this machine only, and %s is another; the setting plain-http allows more", address)
}
