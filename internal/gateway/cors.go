package gateway

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/awsproto"
)

// allowed answers what a bucket's CORS rules say of a request: the headers for the browser, or why it is refused. method
// and headers are those of the request that the page wants to make.
//
// AWS: the first rule counts whose origins, methods and headers all fit; without a rule the refusal is a 403.
func (g *Gateway) allowed(r *http.Request, origin, method string, headers []string) (http.Header, error) {
	refuse := func(why string) error {
		e := awsapi.Errorf(403, "AccessForbidden", "CORSResponse: %s", why)
		e.Fields = map[string]any{"Method": method, "ResourceType": "OBJECT"}
		if strings.Count(strings.Trim(r.URL.Path, "/"), "/") == 0 {
			e.Fields["ResourceType"] = "BUCKET"
		}
		return e
	}
	bucket := awsproto.Bucket(r)
	if bucket == "" {
		return nil, refuse("Bucket not found")
	}
	out, err := g.Invoke(r.Context(), awscall.Call{Principal: g.root(g.Region), Service: "s3", Operation: "GetBucketCors", Input: map[string]any{"Bucket": bucket}})
	switch awscall.Code(err) {
	case "NoSuchBucket":
		return nil, refuse("Bucket not found")
	case "NoSuchCORSConfiguration":
		return nil, refuse("CORS is not enabled for this bucket.")
	}
	if err != nil {
		return nil, err
	}
	rules, _ := out["CORSRules"].([]any)
	for _, rule := range rules {
		rule, _ := rule.(map[string]any)
		origins, ok := fits(texts(rule["AllowedOrigins"]), origin)
		methods, permitted := texts(rule["AllowedMethods"]), texts(rule["AllowedHeaders"])
		for i, h := range permitted {
			permitted[i] = strings.ToLower(h)
		}
		if !ok || !slices.Contains(methods, method) || slices.ContainsFunc(headers, func(h string) bool { _, ok := fits(permitted, h); return !ok }) {
			continue
		}
		h := http.Header{}
		h.Set("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
		h.Set("Access-Control-Allow-Origin", "*")
		if origins != "*" {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Allow-Credentials", "true")
		}
		h.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
		if len(headers) > 0 {
			h.Set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
		}
		if expose := texts(rule["ExposeHeaders"]); len(expose) > 0 {
			h.Set("Access-Control-Expose-Headers", strings.Join(expose, ", "))
		}
		if age, ok := rule["MaxAgeSeconds"].(int64); ok {
			h.Set("Access-Control-Max-Age", strconv.FormatInt(age, 10))
		}
		return h, nil
	}
	return nil, refuse("This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.")
}

func texts(v any) (out []string) {
	list, _ := v.([]any)
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// fits finds the pattern of a list, with at most one "*", that a text fits.
func fits(list []string, text string) (pattern string, ok bool) {
	for _, p := range list {
		before, after, wild := strings.Cut(p, "*")
		if text == p || wild && len(text) >= len(before)+len(after) && strings.HasPrefix(text, before) && strings.HasSuffix(text, after) {
			return p, true
		}
	}
	return "", false
}

// preflight answers a browser that asks whether a page of another origin may make a request.
func (g *Gateway) preflight(w http.ResponseWriter, r *http.Request, request string) {
	origin, method := r.Header.Get("Origin"), r.Header.Get("Access-Control-Request-Method")
	var headers []string
	for h := range strings.SplitSeq(r.Header.Get("Access-Control-Request-Headers"), ",") {
		if h = strings.ToLower(strings.TrimSpace(h)); h != "" {
			headers = append(headers, h)
		}
	}
	var h http.Header
	var err error
	switch {
	case origin == "":
		err = awsapi.Errorf(400, "BadRequest", "Insufficient information. Origin request header needed.")
	case method == "":
		err = awsapi.Errorf(400, "BadRequest", "Invalid Access-Control-Request-Method: null")
	default:
		h, err = g.allowed(r, origin, method, headers)
	}
	if err != nil {
		awsproto.Foreign(r, "s3").Fail(w, err, request)
		return
	}
	maps.Copy(w.Header(), h)
}
