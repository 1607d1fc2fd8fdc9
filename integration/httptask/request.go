package httptask

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// forbidden headers are refused in a state, as AWS lists them; so is what begins with a prefix of forbiddenPrefixes.
var forbidden = strings.Fields(`a-im accept-charset accept-datetime accept-encoding authorization cache-control connection
	content-encoding content-md5 date expect forwarded from host http2-settings if-match if-modified-since if-none-match if-range
	if-unmodified-since max-forwards origin pragma proxy-authorization referer server te trailer transfer-encoding upgrade via warning`)

var forbiddenPrefixes = []string{"x-forwarded-", "x-amz-", "x-amzn-"}

var methods = []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"}

// fields are what the arguments may have.
var fields = []string{"ApiEndpoint", "Method", "Authentication", "InvocationConfig", "Headers", "QueryParameters", "RequestBody", "Transform"}

// argumentError is what is wrong with the arguments, in AWS's words where they are known.
type argumentError string

func (e argumentError) Error() string { return string(e) }

func wrong(format string, args ...any) error { return argumentError(fmt.Sprintf(format, args...)) }

// request is a call before the connection has added to it.
type request struct {
	method     string
	endpoint   *url.URL
	connection string // ARN
	headers    []Pair
	query      []Pair
	body       jsonvalue.Value // absent: none
	form       bool            // URL_ENCODED
	arrays     string          // ArrayFormat
}

// CheckArguments says why no call can be made with a state's arguments; nil when nothing speaks against it.
func CheckArguments(args jsonvalue.Value) error {
	_, err := parse(args)
	return err
}

// parse reads the arguments of a state.
func parse(args jsonvalue.Value) (*request, error) {
	if args.Kind() != jsonvalue.KindObject {
		return nil, wrong("The arguments must be an object")
	}
	for name := range args.Members() {
		if !slices.Contains(fields, name) {
			return nil, wrong(`The field "%s" is not supported by Step Functions`, name)
		}
	}
	r := &request{method: args.Member("Method").Str(), body: args.Member("RequestBody"), arrays: "INDICES"}
	for _, name := range []string{"ApiEndpoint", "Method"} {
		switch v, ok := args.Get(name); {
		case !ok:
			return nil, wrong("The field '%s' is required but was missing", name)
		case v.Kind() != jsonvalue.KindString:
			return nil, wrong("The value for the field '%s' must be a STRING", name)
		}
	}
	if !slices.Contains(methods, r.method) {
		return nil, wrong("The value for the field 'Method' must be one of %s", strings.Join(methods, ", "))
	}
	u, err := url.Parse(args.Member("ApiEndpoint").Str())
	if err != nil || !u.IsAbs() || u.Host == "" {
		return nil, wrong("The value for the field 'ApiEndpoint' must be a valid URL")
	}
	r.endpoint = u
	invocation, authentication := args.Member("InvocationConfig"), args.Member("Authentication")
	for _, from := range []jsonvalue.Value{invocation, authentication} { // AWS prefers the first
		if r.connection == "" {
			r.connection = from.Member("ConnectionArn").Str()
		}
	}
	if r.connection == "" {
		return nil, wrong("The field 'InvocationConfig.ConnectionArn' is required but was missing")
	}
	if r.headers, err = pairs("Headers", args.Member("Headers"), false); err != nil {
		return nil, err
	}
	for _, h := range r.headers {
		name := strings.ToLower(h.Name)
		if slices.Contains(forbidden, name) || slices.ContainsFunc(forbiddenPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			return nil, wrong(`The header "%s" is not supported by Step Functions`, h.Name)
		}
	}
	if r.query, err = pairs("QueryParameters", args.Member("QueryParameters"), true); err != nil {
		return nil, err
	}
	return r, r.transform(args.Member("Transform"))
}

func (r *request) transform(v jsonvalue.Value) error {
	switch v.Kind() {
	case jsonvalue.KindAbsent, jsonvalue.KindNull:
		return nil
	case jsonvalue.KindObject:
	default:
		return wrong("The value for the field 'Transform' must be an object")
	}
	for name := range v.Members() {
		if name != "RequestBodyEncoding" && name != "RequestEncodingOptions" {
			return wrong(`The field "Transform.%s" is not supported by Step Functions`, name)
		}
	}
	switch encoding, given := v.Get("RequestBodyEncoding"); {
	case given && encoding.Str() == "URL_ENCODED":
		r.form = true
	case given && encoding.Str() != "NONE":
		return wrong("The value for the field 'Transform.RequestBodyEncoding' must be one of NONE, URL_ENCODED")
	}
	if format, given := v.Member("RequestEncodingOptions").Get("ArrayFormat"); given {
		if r.arrays = format.Str(); !slices.Contains([]string{"INDICES", "REPEAT", "COMMAS", "BRACKETS"}, r.arrays) {
			return wrong("The value for the field 'Transform.RequestEncodingOptions.ArrayFormat' must be one of INDICES, REPEAT, COMMAS, BRACKETS")
		}
	}
	return nil
}

// pairs reads headers or query parameters: an object of scalars and lists of them, a list of such objects and, for a
// query, its text.
func pairs(field string, v jsonvalue.Value, text bool) (out []Pair, err error) {
	switch v.Kind() {
	case jsonvalue.KindAbsent, jsonvalue.KindNull:
		return nil, nil
	case jsonvalue.KindString:
		if !text {
			break
		}
		for part := range strings.SplitSeq(strings.TrimPrefix(v.Str(), "?"), "&") {
			name, value, _ := strings.Cut(part, "=")
			n, err := url.QueryUnescape(name)
			w, err2 := url.QueryUnescape(value)
			if err != nil || err2 != nil {
				return nil, wrong("The value for the field '%s' is not a valid query", field)
			}
			if n != "" {
				out = append(out, Pair{n, w})
			}
		}
		return out, nil
	case jsonvalue.KindArray:
		for x := range v.Elements() {
			more, err := pairs(field, x, text)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
		return out, nil
	case jsonvalue.KindObject:
		for name, x := range v.Members() {
			values := []jsonvalue.Value{x}
			if x.Kind() == jsonvalue.KindArray {
				values = slices.Collect(x.Elements())
			}
			for _, value := range values {
				s, ok := scalar(value)
				if !ok {
					return nil, wrong("The value for the field '%s.%s' must be a STRING", field, name)
				}
				out = append(out, Pair{name, s})
			}
		}
		return out, nil
	}
	return nil, wrong("The value for the field '%s' must be an object", field)
}

// scalar is a value as text; ok is false for objects and lists.
func scalar(v jsonvalue.Value) (s string, ok bool) {
	switch v.Kind() {
	case jsonvalue.KindString:
		return v.Str(), true
	case jsonvalue.KindNull:
		return "", true
	case jsonvalue.KindNumber, jsonvalue.KindBool:
		return v.String(), true
	}
	return "", false
}

// overlay puts the pairs of the connection over those of the state: AWS: the connection's values win.
func overlay(state, connection []Pair, same func(a, b string) bool) []Pair {
	out := slices.DeleteFunc(slices.Clone(state), func(p Pair) bool {
		return slices.ContainsFunc(connection, func(c Pair) bool { return same(p.Name, c.Name) })
	})
	return append(out, connection...)
}

func equal(a, b string) bool { return a == b }

// built is a request as it is sent.
type built struct {
	method  string
	url     string
	headers []Pair
	body    []byte
	has     bool // a body
}

// build adds what the connection has; nil: nothing, as an inspection without secrets shows it.
func (r *request) build(c *Connection, region string) (*built, error) {
	if c == nil {
		c = &Connection{}
	}
	body, err := merge(r.body, c.Body)
	if err != nil {
		return nil, err
	}
	u := *r.endpoint
	if query := overlay(r.query, c.Query, equal); len(query) > 0 {
		var b strings.Builder
		b.WriteString(u.RawQuery)
		for _, p := range query {
			if b.Len() > 0 {
				b.WriteByte('&')
			}
			b.WriteString(escape(p.Name) + "=" + escape(p.Value))
		}
		u.RawQuery = b.String()
	}
	out := &built{method: r.method, url: u.String(), has: !body.IsZero()}
	if out.has {
		out.body = r.encode(body)
	}
	connection := c.Headers
	if c.Header.Name != "" {
		connection = append([]Pair{c.Header}, connection...)
	}
	out.headers = overlay(r.headers, connection, strings.EqualFold)
	if out.has && !slices.ContainsFunc(out.headers, func(p Pair) bool { return strings.EqualFold(p.Name, "Content-Type") }) {
		out.headers = append(out.headers, Pair{"Content-Type", "application/json; charset=UTF-8"})
	}
	out.headers = append(out.headers, Pair{"User-Agent", "Amazon|StepFunctions|HttpInvoke|" + region}, Pair{"Range", "bytes=0-262144"})
	return out, nil
}

func (b *built) http(ctx context.Context) (*http.Request, error) {
	var body *bytes.Reader
	r, err := http.NewRequestWithContext(ctx, b.method, b.url, nil)
	if b.has {
		body = bytes.NewReader(b.body)
		r, err = http.NewRequestWithContext(ctx, b.method, b.url, body)
	}
	if err != nil {
		return nil, err
	}
	own := map[string]bool{}
	for _, h := range b.headers {
		name := textproto.CanonicalMIMEHeaderKey(h.Name)
		if own[name] {
			r.Header.Add(name, h.Value)
		} else {
			r.Header.Set(name, h.Value)
		}
		own[name] = true
	}
	return r, nil
}

// merge puts the body parameters of a connection into the state's body. AWS: that works with objects only.
func merge(body jsonvalue.Value, params []Pair) (jsonvalue.Value, error) {
	if body.Kind() == jsonvalue.KindNull {
		body = jsonvalue.Value{}
	}
	if len(params) == 0 {
		return body, nil
	}
	if !body.IsZero() && body.Kind() != jsonvalue.KindObject {
		return body, wrong("The value for the field 'RequestBody' must be an object, as the connection has body parameters")
	}
	given := map[string]jsonvalue.Value{}
	for _, p := range params {
		given[p.Name] = jsonvalue.Str(p.Value)
	}
	var members []jsonvalue.Member
	if !body.IsZero() {
		for name, v := range body.Members() {
			if w, ok := given[name]; ok {
				v = w
				delete(given, name)
			}
			members = append(members, jsonvalue.M(name, v))
		}
	}
	for _, p := range params {
		if v, ok := given[p.Name]; ok {
			members = append(members, jsonvalue.M(p.Name, v))
			delete(given, p.Name)
		}
	}
	return jsonvalue.Object(members...), nil
}

// encode is the body as bytes: JSON, a text as it is, or a form.
func (r *request) encode(body jsonvalue.Value) []byte {
	switch {
	case body.Kind() == jsonvalue.KindString:
		return []byte(body.Str())
	case !r.form:
		return []byte(body.String())
	}
	var parts []string
	r.flatten("", body, &parts)
	return []byte(strings.Join(parts, "&"))
}

// flatten writes the members of a form: nested names stand in brackets, as AWS's example has them.
func (r *request) flatten(name string, v jsonvalue.Value, out *[]string) {
	if s, ok := scalar(v); ok {
		*out = append(*out, escape(name)+"="+escape(s))
		return
	}
	inner := func(key string) string {
		if name == "" {
			return key
		}
		return name + "[" + key + "]"
	}
	if v.Kind() == jsonvalue.KindObject {
		for key, x := range v.Members() {
			r.flatten(inner(key), x, out)
		}
		return
	}
	if r.arrays == "COMMAS" {
		var all []string
		for x := range v.Elements() {
			s, ok := scalar(x)
			if !ok {
				s = x.String()
			}
			all = append(all, escape(s))
		}
		*out = append(*out, escape(name)+"="+strings.Join(all, ","))
		return
	}
	i := 0
	for x := range v.Elements() {
		switch r.arrays {
		case "REPEAT":
			r.flatten(name, x, out)
		case "BRACKETS":
			r.flatten(inner(""), x, out)
		default:
			r.flatten(inner(strconv.Itoa(i)), x, out)
		}
		i++
	}
}

// escape is percent encoding; a blank is %20, as AWS sends it.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
