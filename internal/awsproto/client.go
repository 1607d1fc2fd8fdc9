package awsproto

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// NewRequest writes an operation's request for the endpoint, a base URL. The document has passed Normalize. body is what
// the request sends, for its signature; nil with stream for one that is passed on.
func NewRequest(ctx context.Context, m *awsapi.Model, op *awsapi.Operation, doc map[string]any, endpoint string) (r *http.Request, body []byte, stream bool, err error) {
	var in *awsapi.Shape
	if op.Input != nil {
		in = op.Input.To
	} else {
		in = &awsapi.Shape{Type: "structure"}
	}
	ref := &awsapi.Ref{To: in}
	base := strings.TrimRight(endpoint, "/")
	header := http.Header{}
	target := base + "/"
	method := http.MethodPost
	var reader io.Reader
	length := int64(-1)
	switch m.Metadata.Protocol {
	case "json":
		header.Set("Content-Type", "application/x-amz-json-"+m.Metadata.JSONVersion)
		header.Set("X-Amz-Target", m.Metadata.TargetPrefix+"."+op.Name)
		if m.Metadata.AWSQueryCompatible != nil {
			header.Set("X-Amzn-Query-Mode", "true")
		}
		body = appendJSON(nil, ref, doc)
	case "query", "ec2":
		header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		form := url.Values{"Action": {op.Name}, "Version": {m.Metadata.APIVersion}}
		if err := (dialect{ec2: m.Metadata.Protocol == "ec2"}).encode(form, "", ref, doc); err != nil {
			return nil, nil, false, fmt.Errorf("encode %s: %w", op.Name, err)
		}
		body = []byte(form.Encode())
	default:
		method = op.HTTP.Method
		var path string
		if path, err = restTarget(op, in, doc, header); err != nil {
			return nil, nil, false, err
		}
		target = base + path
		if m.Metadata.Protocol == "rest-json" && header.Get("Content-Type") == "" {
			// Labels that hold slashes and colons are escaped; Go's URL parser keeps the escaped form.
			header.Set("Content-Type", "application/json")
		}
		if n, ok := doc["ContentLength"].(int64); ok {
			length = n
		}
		header.Del("Content-Length")
		body, reader, err = restBody(m, ref, in, doc)
		if err != nil {
			return nil, nil, false, err
		}
		if op.HTTPChecksum != nil && op.HTTPChecksum.RequestChecksumRequired && reader == nil {
			sum := newHash("x-amz-checksum-crc32")
			sum.Write(body)
			header.Set("X-Amz-Checksum-Crc32", base64.StdEncoding.EncodeToString(sum.Sum(nil)))
		}
	}
	if stream = reader != nil; !stream {
		reader = bytes.NewReader(body)
	}
	if r, err = http.NewRequestWithContext(ctx, method, target, reader); err != nil {
		return nil, nil, false, fmt.Errorf("request %s: %w", op.Name, err)
	}
	if stream && length >= 0 {
		r.ContentLength = length
	}
	for k, v := range header {
		r.Header[k] = v
	}
	return r, body, stream, nil
}

// restTarget is path and query; headers are set on the way.
func restTarget(op *awsapi.Operation, in *awsapi.Shape, doc map[string]any, header http.Header) (string, error) {
	path, literal, _ := strings.Cut(op.HTTP.RequestURI, "?")
	query := url.Values{}
	for _, m := range in.Members {
		v, ok := doc[m.Name]
		if !ok || v == nil {
			continue
		}
		name := orElse(m.LocationName, m.Name)
		switch m.Location {
		case "uri":
			text, ok := formatScalar(m.To, v, iso8601)
			if !ok || text == "" {
				return "", fmt.Errorf("%s: empty or not text", m.Name)
			}
			path = strings.Replace(path, "{"+name+"}", escapeLabel(text, false), 1)
			path = strings.Replace(path, "{"+name+"+}", escapeLabel(text, true), 1)
		case "querystring":
			if list, ok := v.([]any); ok {
				for _, e := range list {
					text, _ := formatScalar(m.To.Member.To, e, iso8601)
					query.Add(name, text)
				}
				continue
			}
			if more, ok := v.(map[string]any); ok {
				for k, e := range more {
					text, _ := formatScalar(m.To.Value.To, e, iso8601)
					query.Set(k, text)
				}
				continue
			}
			text, _ := formatScalar(m.To, v, iso8601)
			query.Set(name, text)
		case "header":
			if text, ok := headerText(m, v); ok {
				header.Set(name, text)
			}
		case "headers":
			found, _ := v.(map[string]any)
			for k, e := range found {
				text, _ := e.(string)
				header.Set(name+k, cleanHeader(text))
			}
		}
	}
	if strings.Contains(path, "{") {
		return "", fmt.Errorf("a member of %s is missing", path)
	}
	parts := []string{}
	if literal != "" {
		parts = append(parts, literal)
	}
	if len(query) > 0 {
		// A plus sign is a space only to some readers, and signers.
		parts = append(parts, strings.ReplaceAll(query.Encode(), "+", "%20"))
	}
	if len(parts) > 0 {
		path += "?" + strings.Join(parts, "&")
	}
	return path, nil
}

// escapeLabel escapes all but the unreserved characters, and slashes in a label that may hold several segments.
func escapeLabel(s string, greedy bool) string {
	const hexUpper = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0, c == '/' && greedy:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hexUpper[c>>4], hexUpper[c&15]})
		}
	}
	return b.String()
}

// restBody is the request's body, held whole or as a stream.
func restBody(m *awsapi.Model, ref *awsapi.Ref, in *awsapi.Shape, doc map[string]any) ([]byte, io.Reader, error) {
	isJSON := m.Metadata.Protocol == "rest-json"
	if in.Payload != "" {
		p := in.MemberNamed(in.Payload)
		switch v := doc[p.Name].(type) {
		case nil:
			return nil, nil, nil
		case []byte:
			return v, nil, nil
		case string:
			return []byte(v), nil, nil
		case io.Reader:
			return nil, v, nil
		default:
			if isJSON {
				return appendJSON(nil, p, v), nil, nil
			}
			var x xmlWriter
			x.value(orElse(p.LocationName, p.Name), p, v)
			return x.Bytes(), nil, nil
		}
	}
	body := false
	for _, r := range in.Members {
		body = body || r.Location == ""
	}
	switch {
	case !body:
		return nil, nil, nil
	case isJSON:
		return appendJSON(nil, ref, doc), nil, nil
	}
	var x xmlWriter
	x.open(orElse(in.LocationName, in.Name), "xmlns", s3Space)
	x.members(in, doc)
	x.close(orElse(in.LocationName, in.Name))
	return x.Bytes(), nil, nil
}

// maxAnswer bounds an answer that is held whole.
const maxAnswer = 64 << 20

// ReadResponse reads an answer: the output, or an *awsapi.Error. A stream in the output is the response's own body, which
// the caller closes; otherwise the body is closed here.
func ReadResponse(m *awsapi.Model, op *awsapi.Operation, resp *http.Response) (map[string]any, error) {
	var out *awsapi.Shape
	if op.Output != nil {
		out = op.Output.To
	} else {
		out = &awsapi.Shape{Type: "structure"}
	}
	rest := strings.HasPrefix(m.Metadata.Protocol, "rest")
	if rest && resp.StatusCode < 300 {
		if p := out.MemberNamed(out.Payload); p != nil && p.IsStream() {
			doc, err := responseHeaders(out, resp)
			if err != nil {
				resp.Body.Close()
				return nil, err
			}
			doc[p.Name] = resp.Body
			return doc, nil
		}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", op.Name, err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("the answer of %s is larger than %d bytes", op.Name, maxAnswer)
	}
	if resp.StatusCode >= 300 {
		return nil, readError(m, resp, body)
	}
	doc, err := readAnswer(m, op, out, resp, body)
	if err != nil {
		return nil, fmt.Errorf("answer of %s: %w", op.Name, err)
	}
	return doc, nil
}

func readAnswer(m *awsapi.Model, op *awsapi.Operation, out *awsapi.Shape, resp *http.Response, body []byte) (map[string]any, error) {
	switch m.Metadata.Protocol {
	case "json":
		return jsonBody(&awsapi.Ref{To: out}, body)
	case "query", "ec2":
		if op.Output == nil || len(body) == 0 {
			return map[string]any{}, nil
		}
		root, err := parseXML(body)
		if err != nil {
			return nil, err
		}
		if m.Metadata.Protocol == "query" {
			if c := root.child(orElse(op.Output.ResultWrapper, op.Name+"Result")); c != nil {
				root = c
			}
		}
		return xmlStructure(out, root)
	}
	doc, err := responseHeaders(out, resp)
	if err != nil {
		return nil, err
	}
	if resp.Request != nil && resp.Request.Method == http.MethodHead {
		return doc, nil
	}
	if out.Payload != "" {
		p := out.MemberNamed(out.Payload)
		switch {
		case len(body) == 0:
		case p.To.Type == "blob":
			doc[p.Name] = body
		case p.To.Type == "string":
			doc[p.Name] = string(body)
		case len(bytes.TrimSpace(body)) == 0:
		case m.Metadata.Protocol == "rest-json":
			v, err := jsonBody(p, body)
			if err != nil {
				return nil, err
			}
			doc[p.Name] = v
		default:
			root, err := parseXML(body)
			if err != nil {
				return nil, err
			}
			if doc[p.Name], err = xmlStructure(p.To, root); err != nil {
				return nil, err
			}
		}
		return doc, nil
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return doc, nil
	}
	var more map[string]any
	if m.Metadata.Protocol == "rest-json" {
		if more, err = jsonBody(&awsapi.Ref{To: out}, body); err != nil {
			return nil, err
		}
	} else {
		root, err := parseXML(body)
		if err != nil {
			return nil, err
		}
		if op.Name == "GetBucketLocation" {
			if root.text != "" {
				doc["LocationConstraint"] = root.text
			}
			return doc, nil
		}
		if root.name == "Error" { // AWS: CompleteMultipartUpload may fail after its status went out
			return nil, xmlError(500, root)
		}
		if more, err = xmlStructure(out, root); err != nil {
			return nil, err
		}
	}
	for k, v := range more {
		doc[k] = v
	}
	return doc, nil
}

func responseHeaders(out *awsapi.Shape, resp *http.Response) (map[string]any, error) {
	doc := map[string]any{}
	for _, m := range out.Members {
		name := orElse(m.LocationName, m.Name)
		switch m.Location {
		case "statusCode":
			doc[m.Name] = int64(resp.StatusCode)
		case "header":
			text := resp.Header.Get(name)
			if strings.EqualFold(name, "content-length") && text == "" && resp.ContentLength >= 0 {
				text = strconv.FormatInt(resp.ContentLength, 10)
			}
			if text == "" {
				continue
			}
			v, err := headerValue(m, text)
			if err != nil {
				return nil, fmt.Errorf("header %s: %w", name, err)
			}
			doc[m.Name] = v
		case "headers":
			found := map[string]any{}
			for k, vs := range resp.Header {
				if rest, ok := strings.CutPrefix(strings.ToLower(k), strings.ToLower(name)); ok {
					found[rest] = strings.Join(vs, ",")
				}
			}
			if len(found) > 0 {
				doc[m.Name] = found
			}
		}
	}
	return doc, nil
}

func readError(m *awsapi.Model, resp *http.Response, body []byte) error {
	if strings.HasSuffix(m.Metadata.Protocol, "json") {
		var doc map[string]any
		_ = json.Unmarshal(body, &doc)
		text := func(names ...string) string {
			for _, n := range names {
				if s, ok := doc[n].(string); ok && s != "" {
					return s
				}
			}
			return ""
		}
		code := orElse(resp.Header.Get("X-Amzn-Errortype"), text("__type", "code", "Code"))
		code, _, _ = strings.Cut(code, ":")
		if i := strings.LastIndexByte(code, '#'); i >= 0 {
			code = code[i+1:]
		}
		e := awsapi.Errorf(resp.StatusCode, orElse(code, "UnknownError"), "%s", text("message", "Message", "errorMessage"))
		if shape := m.ErrorShape(e.Code); shape != nil {
			for _, r := range shape.Members {
				if v, ok := doc[jsonName(r)]; ok && v != nil && !strings.EqualFold(r.Name, "message") {
					if e.Fields == nil {
						e.Fields = map[string]any{}
					}
					e.Fields[r.Name] = v
				}
			}
		}
		return e
	}
	if root, err := parseXML(body); err == nil {
		for _, path := range [][]string{{"Error"}, {"Errors", "Error"}} {
			e := root
			for _, step := range path {
				if e = e.child(step); e == nil {
					break
				}
			}
			if e != nil {
				return xmlError(resp.StatusCode, e)
			}
		}
		return xmlError(resp.StatusCode, root)
	}
	// AWS: the answer to HEAD has no body; the status is all there is.
	code := map[int]string{404: "NotFound", 403: "Forbidden", 304: "NotModified", 412: "PreconditionFailed"}[resp.StatusCode]
	return awsapi.Errorf(resp.StatusCode, orElse(code, strconv.Itoa(resp.StatusCode)), "%s", http.StatusText(resp.StatusCode))
}

func xmlError(status int, e *element) *awsapi.Error {
	err := &awsapi.Error{Status: status, Code: "UnknownError"}
	for _, c := range e.children {
		switch c.name {
		case "Code":
			err.Code = strings.TrimSpace(c.text)
		case "Message":
			err.Message = c.text
		case "Type", "RequestId", "HostId":
		default:
			if len(c.children) == 0 {
				if err.Fields == nil {
					err.Fields = map[string]any{}
				}
				err.Fields[c.name] = c.text
			}
		}
	}
	return err
}
