package awsproto

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// route is one REST operation's place.
type route struct {
	op       *awsapi.Operation
	segments []segment
	literals []param  // of the template's query: present, or equal to a value
	required []string // query parameters and headers of required members
	headers  []string
}

type segment struct {
	text   string
	label  bool
	greedy bool
}

type param struct{ name, value string }

// routes are a model's, made once.
type routes struct {
	byMethod  map[string][]*route
	resources map[string]bool // the sub-resources that any of them names in the query
}

var routeCache sync.Map // *awsapi.Model → *routes

func routesOf(m *awsapi.Model) *routes {
	if r, ok := routeCache.Load(m); ok {
		return r.(*routes)
	}
	table := &routes{map[string][]*route{}, map[string]bool{}}
	for _, op := range m.Operations {
		r := newRoute(op)
		table.byMethod[op.HTTP.Method] = append(table.byMethod[op.HTTP.Method], r)
		for _, p := range r.literals {
			if p.value == "" {
				table.resources[p.name] = true
			}
		}
	}
	for _, list := range table.byMethod {
		slices.SortFunc(list, func(a, b *route) int { return strings.Compare(a.op.Name, b.op.Name) })
	}
	routeCache.Store(m, table)
	return table
}

func newRoute(op *awsapi.Operation) *route {
	r := &route{op: op}
	path, query, _ := strings.Cut(op.HTTP.RequestURI, "?")
	for _, s := range splitPath(path) {
		switch {
		case strings.HasPrefix(s, "{") && strings.HasSuffix(s, "+}"):
			r.segments = append(r.segments, segment{text: s[1 : len(s)-2], label: true, greedy: true})
		case strings.HasPrefix(s, "{"):
			r.segments = append(r.segments, segment{text: s[1 : len(s)-1], label: true})
		default:
			r.segments = append(r.segments, segment{text: s})
		}
	}
	for _, p := range strings.Split(query, "&") {
		if p != "" {
			name, value, _ := strings.Cut(p, "=")
			r.literals = append(r.literals, param{name, value})
		}
	}
	if op.Input != nil {
		for _, name := range op.Input.To.Required {
			switch m := op.Input.To.MemberNamed(name); m.Location {
			case "querystring":
				r.required = append(r.required, orElse(m.LocationName, m.Name))
			case "header":
				r.headers = append(r.headers, orElse(m.LocationName, m.Name))
			}
		}
	}
	return r
}

// splitPath cuts "/a/b/" into a and b; a path of only slashes has no segments.
func splitPath(p string) []string {
	p = strings.TrimPrefix(p, "/")
	if p == "" {
		return nil
	}
	return strings.Split(p, "/")
}

// match gives the labels' values, still escaped, and whether the path fits.
func (r *route) match(path string) (map[string]string, bool) {
	rest := strings.TrimPrefix(path, "/")
	var labels map[string]string
	for _, s := range r.segments {
		if s.greedy {
			if rest == "" {
				return nil, false
			}
			labels[s.text] = rest
			return labels, true
		}
		if rest == "" {
			return nil, false
		}
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		if !s.label {
			if part != s.text {
				return nil, false
			}
			continue
		}
		if part == "" {
			return nil, false
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[s.text] = part
	}
	return labels, rest == ""
}

// find is the operation of a REST request with its labels; nil when there is none.
//
// AWS: several operations share method and path (PutObject, UploadPart, CopyObject): the one wins whose sub-resource and
// whose required query parameters and headers are all there.
func find(m *awsapi.Model, method, path string, query url.Values, header func(string) string) (*awsapi.Operation, map[string]string) {
	var best *route
	var bestLabels map[string]string
	bestScore := -1
	for _, r := range routesOf(m).byMethod[method] {
		score := 0
		for _, p := range r.literals {
			vs, ok := query[p.name]
			if !ok || p.value != "" && vs[0] != p.value {
				score = -1
				break
			}
			score += 8
		}
		if score < 0 {
			continue
		}
		needed, missing := len(r.required)+len(r.headers), 0
		for _, name := range r.required {
			if !query.Has(name) {
				missing++
			}
		}
		for _, name := range r.headers {
			if header(name) == "" {
				missing++
			}
		}
		if missing > 0 && r.literals == nil {
			continue
		}
		if score += needed - 2*missing; score < 0 {
			continue
		}
		labels, ok := r.match(path)
		if !ok {
			continue
		}
		for _, s := range r.segments {
			if !s.label {
				score += 2
			}
		}
		if score > bestScore {
			best, bestScore, bestLabels = r, score, labels
		}
	}
	if best == nil || best.strays(m, query) {
		return nil, nil
	}
	for k, v := range bestLabels {
		u, err := url.PathUnescape(v)
		if err != nil {
			return nil, nil
		}
		bestLabels[k] = u
	}
	return best.op, bestLabels
}

// strays reports whether the query names a sub-resource that is not this route's: "PUT /b?policyStatus" makes no bucket.
func (r *route) strays(m *awsapi.Model, query url.Values) bool {
	for name := range query {
		if routesOf(m).resources[name] && !slices.Contains(r.literals, param{name: name}) {
			return true
		}
	}
	return false
}

// halfPart refuses a put that has one half of a part's address: taken for a plain put, it would replace the object.
func halfPart(op *awsapi.Operation, query url.Values) error {
	switch part := query.Has("partNumber"); {
	case op.HTTP.Method != http.MethodPut:
	case part && query.Get("uploadId") == "":
		e := awsapi.Errorf(400, "InvalidArgument", "This operation does not accept partNumber without uploadId")
		e.Fields = map[string]any{"ArgumentName": "partNumber", "ArgumentValue": "partNumber"}
		return e
	case !part && query.Has("uploadId"):
		return awsapi.Errorf(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	}
	return nil
}

// Bucket is the bucket that an S3 request is for; "" when it is for none.
func Bucket(r *http.Request) string {
	if b := bucketHost(r.Host); b != "" {
		return b
	}
	b, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return b
}

// bucketHost is the bucket of a virtual-hosted S3 address: BUCKET.localhost, BUCKET.s3.REGION.DOMAIN, BUCKET.s3-… or
// BUCKET.s3.localhost; "" for any other host.
func bucketHost(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	host = strings.ToLower(host)
	for _, mark := range []string{".s3.", ".s3-"} {
		if i := strings.Index(host, mark); i > 0 {
			return host[:i]
		}
	}
	if b, ok := strings.CutSuffix(host, ".localhost"); ok && b != "s3" && !strings.HasPrefix(b, "sync-") {
		return b
	}
	return ""
}
