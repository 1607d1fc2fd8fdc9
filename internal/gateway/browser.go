package gateway

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// foreignPage reports whether a web page of somebody else makes the request. Mayfly runs programs for whoever may call it, and
// without configured credentials that is everyone who reaches the port. A page in the user's browser reaches it: a form sent to
// 127.0.0.1 needs no permission, and a name of the page's own may resolve there. Browsers say where a request comes from in
// headers that a page cannot set; AWS's clients send none of them.
func foreignPage(r *http.Request) bool {
	origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	if origin == "" && site == "" {
		return false
	}
	if !localName(r.Host) {
		return true
	}
	if site != "" {
		return site != "same-origin" && site != "none"
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host != r.Host
}

// localName reports whether a host is one that nobody on the internet can own: an address, a name without a dot, or
// below localhost.
func localName(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(strings.ToLower(host), "[]")
	return net.ParseIP(host) != nil || !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost")
}
