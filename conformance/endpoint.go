package conformance

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Endpoint is what the cases run against.
type Endpoint struct {
	URL     string
	Account string
	Region  string
	HTTP    *http.Client
}

// callError is what the endpoint refused a call with.
type callError struct {
	Code    string
	Message any // nil when the answer had none
	Status  int
}

func (e *callError) Error() string {
	return fmt.Sprintf("%s: %v (HTTP %d)", e.Code, e.Message, e.Status)
}

const unsupported = "Unsupported" // the code of what this transport cannot send

const lostBytes = "<bytes>" // stands for the body of an object that the recording has not kept

var jsonServices = map[string]struct{ target, version, scope string }{
	"stepfunctions":  {"AWSStepFunctions", "1.0", "states"},
	"sqs":            {"AmazonSQS", "1.0", "sqs"},
	"dynamodb":       {"DynamoDB_20120810", "1.0", "dynamodb"},
	"secretsmanager": {"secretsmanager", "1.1", "secretsmanager"},
	"logs":           {"Logs_20140328", "1.1", "logs"},
	"events":         {"AWSEvents", "1.1", "events"},
}

var queryServices = map[string]string{"sns": "2010-03-31", "iam": "2010-05-08"}

func (e *Endpoint) send(method, path string, body []byte, headers map[string]string, scope string) (*http.Response, []byte, error) {
	req, err := http.NewRequest(method, e.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	const date = "20260101T000000Z"
	req.Header.Set("X-Amz-Date", date)
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=test/%s/%s/%s/aws4_request, SignedHeaders=host;x-amz-date, Signature=%064d", date[:8], e.Region, scope, 0))
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := e.HTTP.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	return resp, data, err
}

// call makes one call and returns its answer as a document.
func (e *Endpoint) call(service, operation string, params map[string]any) (map[string]any, error) {
	if s, ok := jsonServices[service]; ok {
		body, err := json.Marshal(params)
		if err != nil {
			return nil, err
		}
		resp, data, err := e.send("POST", "/", body, map[string]string{"X-Amz-Target": s.target + "." + operation, "Content-Type": "application/x-amz-json-" + s.version}, s.scope)
		if err != nil {
			return nil, err
		}
		out := map[string]any{}
		if len(bytes.TrimSpace(data)) > 0 {
			if err := decode(data, &out); err != nil {
				return nil, &callError{Code: "NotJSON", Message: string(data[:min(200, len(data))]), Status: resp.StatusCode}
			}
		}
		if resp.StatusCode >= 300 {
			code := plainText(out["__type"])
			code = code[strings.LastIndexByte(code, '#')+1:]
			msg, ok := out["message"]
			if !ok {
				msg = out["Message"]
			}
			return nil, &callError{Code: code, Message: msg, Status: resp.StatusCode}
		}
		return out, nil
	}
	if version, ok := queryServices[service]; ok {
		form := url.Values{"Action": {operation}, "Version": {version}}
		flatten(params, "", form)
		resp, data, err := e.send("POST", "/", []byte(form.Encode()), map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}, service)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 300 {
			return nil, &callError{Code: element(data, "Code"), Message: element(data, "Message"), Status: resp.StatusCode}
		}
		out := map[string]any{}
		for _, m := range xmlText.FindAllStringSubmatch(string(data), -1) {
			out[m[1]] = m[2]
		}
		return out, nil
	}
	switch service {
	case "s3":
		return e.s3(operation, params)
	case "lambda":
		return e.lambda(operation, params)
	}
	return nil, &callError{Code: unsupported, Message: "no transport for " + service}
}

var xmlText = regexp.MustCompile(`<(\w+)>([^<>]*)</\w+>`)

func element(data []byte, name string) string {
	_, rest, _ := strings.Cut(string(data), "<"+name+">")
	v, _, _ := strings.Cut(rest, "</"+name+">")
	return v
}

func flatten(v any, prefix string, out url.Values) {
	switch v := v.(type) {
	case map[string]any:
		for i, k := range sorted(v) {
			if strings.HasSuffix(prefix, "Attributes") {
				out.Set(fmt.Sprintf("%s.entry.%d.key", prefix, i+1), k)
				out.Set(fmt.Sprintf("%s.entry.%d.value", prefix, i+1), plainText(v[k]))
				continue
			}
			p := k
			if prefix != "" {
				p = prefix + "." + k
			}
			flatten(v[k], p, out)
		}
	case []any:
		for i, x := range v {
			flatten(x, fmt.Sprintf("%s.member.%d", prefix, i+1), out)
		}
	case nil:
	default:
		out.Set(prefix, plainText(v))
	}
}

var s3Headers = map[string]string{"AcceptRanges": "accept-ranges", "ContentType": "content-type", "ETag": "etag",
	"ServerSideEncryption": "x-amz-server-side-encryption", "ChecksumCRC32": "x-amz-checksum-crc32", "ChecksumType": "x-amz-checksum-type"}

func (e *Endpoint) s3(operation string, p map[string]any) (map[string]any, error) {
	verb := map[string]string{"CreateBucket": "PUT", "PutObject": "PUT", "GetObject": "GET", "DeleteBucket": "DELETE"}[operation]
	if verb == "" {
		return nil, &callError{Code: unsupported, Message: "no transport for s3 " + operation}
	}
	path := "/" + url.PathEscape(plainText(p["Bucket"]))
	if key, ok := p["Key"].(string); ok {
		path += "/" + strings.ReplaceAll(url.PathEscape(key), "%2F", "/")
	}
	var body []byte
	switch b := p["Body"].(type) {
	case string:
		if b == lostBytes {
			return nil, &callError{Code: unsupported, Message: "the case has lost the bytes of the object"}
		}
		body = []byte(b)
	case map[string]any:
		body, _ = base64.StdEncoding.DecodeString(plainText(b["base64"]))
	}
	headers := map[string]string{"x-amz-checksum-mode": "ENABLED"}
	if verb == "PUT" {
		headers = map[string]string{"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
	}
	resp, data, err := e.send(verb, path, body, headers, "s3")
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, &callError{Code: element(data, "Code"), Message: element(data, "Message"), Status: resp.StatusCode}
	}
	out := map[string]any{}
	if verb != "GET" {
		return out, nil
	}
	for k, h := range s3Headers {
		if v := resp.Header.Get(h); v != "" {
			out[k] = v
		}
	}
	meta := map[string]any{}
	for h := range resp.Header {
		if name, ok := strings.CutPrefix(strings.ToLower(h), "x-amz-meta-"); ok {
			meta[name] = resp.Header.Get(h)
		}
	}
	out["Body"], out["ContentLength"], out["LastModified"], out["Metadata"] = string(data), json.Number(fmt.Sprint(len(data))), "datetime", meta
	return out, nil
}

func (e *Endpoint) lambda(operation string, p map[string]any) (map[string]any, error) {
	verb, path, body := "DELETE", "/2015-03-31/functions/"+plainText(p["FunctionName"]), []byte(nil)
	switch operation {
	case "CreateFunction":
		verb, path = "POST", "/2015-03-31/functions"
		body, _ = json.Marshal(p)
	case "GetFunction":
		verb = "GET"
	}
	resp, data, err := e.send(verb, path, body, map[string]string{"Content-Type": "application/json"}, "lambda")
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, &callError{Code: "Lambda", Message: string(data[:min(200, len(data))]), Status: resp.StatusCode}
	}
	out := map[string]any{}
	if len(bytes.TrimSpace(data)) > 0 {
		err = decode(data, &out)
	}
	return out, err
}

// NewEndpoint is the endpoint at a base URL such as http://127.0.0.1:4566.
func NewEndpoint(base string) *Endpoint {
	return &Endpoint{URL: strings.TrimRight(base, "/"), Account: "000000000000", Region: "us-east-1", HTTP: &http.Client{Timeout: 2 * time.Minute}}
}
