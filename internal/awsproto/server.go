package awsproto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// Request is an HTTP request whose service is known. Its protocol is known too, so Fail always answers in the form
// that the client reads, even when the operation is not known.
type Request struct {
	Model     *awsapi.Model
	Operation *awsapi.Operation // nil when Open failed to find it
	// Body is what was sent, read whole; nil for a streaming operation, whose body the handler reads.
	Body []byte
	// Signatures are checked in an aws-chunked body; set it before Decode. nil: they are not.
	Signatures Signatures

	http     *http.Request
	protocol string // json, query, ec2, rest-json, rest-xml
	form     *form
	labels   map[string]string
	query    url.Values
}

// Open finds the operation of a request and reads its body, up to limit bytes, unless the operation streams it. The
// Request is never nil; the error is for Fail.
func Open(m *awsapi.Model, r *http.Request, limit int64) (*Request, error) {
	q := &Request{Model: m, http: r, protocol: m.Metadata.Protocol}
	if m.Metadata.AWSQueryCompatible != nil && r.Header.Get("X-Amz-Target") == "" {
		q.protocol = "query"
	}
	switch q.protocol {
	case "json":
		_, name, ok := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		if err := q.readBody(limit); err != nil {
			return q, err
		}
		if q.Operation = m.Operations[name]; q.Operation == nil {
			if !ok {
				return q, q.unknown("without X-Amz-Target")
			}
			return q, q.unknown(name)
		}
	case "query", "ec2":
		if err := q.readBody(limit); err != nil {
			return q, err
		}
		text := r.URL.RawQuery
		if r.Method == http.MethodPost && len(q.Body) > 0 {
			if text != "" {
				text += "&"
			}
			text += string(q.Body)
		}
		f, err := parseForm(text)
		if err != nil {
			return q, err
		}
		q.form = f
		action := f.at("Action")
		if action == nil {
			return q, awsapi.Errorf(400, "MissingAction", "Missing Action")
		}
		if q.Operation = m.Operations[action.value]; q.Operation == nil {
			return q, q.unknown(action.value)
		}
	default:
		path := r.URL.EscapedPath()
		if m.Metadata.Protocol == "rest-json" {
			path = strings.TrimRight(path, "/")
		} else if b := bucketHost(r.Host); b != "" {
			path = "/" + b + path
		}
		q.query = r.URL.Query()
		q.Operation, q.labels = find(m, r.Method, path, q.query, r.Header.Get)
		if q.Operation == nil {
			_ = q.readBody(limit)
			if m.Metadata.Protocol == "rest-xml" {
				return q, awsapi.Errorf(405, "MethodNotAllowed", "The specified method is not allowed against this resource: %s %s", r.Method, r.URL.Path)
			}
			return q, q.unknown(r.Method + " " + r.URL.Path)
		}
		if err := halfPart(q.Operation, q.query); err != nil && m.Name() == "s3" {
			return q, err
		}
		if q.streams() == nil {
			if err := q.readBody(limit); err != nil {
				return q, err
			}
		}
	}
	return q, nil
}

// unknown is the error for an operation that the model does not have. AWS: JSON services say UnknownOperationException,
// query services InvalidAction.
func (q *Request) unknown(name string) error {
	text := fmt.Sprintf("The operation %s of %s is not known to Mayfly.", name, q.Model.Metadata.ServiceFullName)
	switch q.protocol {
	case "query", "ec2":
		return awsapi.Errorf(400, "InvalidAction", "%s", text)
	}
	return awsapi.Errorf(400, "UnknownOperationException", "%s", text)
}

// streams is the member that is the request's unread body, or nil.
func (q *Request) streams() *awsapi.Ref {
	if q.Operation == nil || q.Operation.Input == nil {
		return nil
	}
	s := q.Operation.Input.To
	if m := s.MemberNamed(s.Payload); m != nil && m.IsStream() {
		return m
	}
	return nil
}

// Streaming reports whether the operation's body is left for its handler.
func (q *Request) Streaming() bool { return q.streams() != nil }

// Protocol names the wire form, for logs.
func (q *Request) Protocol() string { return q.protocol }

func (q *Request) readBody(limit int64) error {
	b, err := io.ReadAll(io.LimitReader(q.http.Body, limit+1))
	if err != nil {
		return awsapi.Errorf(400, "RequestAborted", "The request body could not be read: %v", err)
	}
	if int64(len(b)) > limit {
		switch q.protocol {
		case "rest-xml":
			return awsapi.Errorf(400, "MaxMessageLengthExceeded", "Your request was too big: the limit is %d bytes.", limit)
		case "rest-json":
			return awsapi.Errorf(413, "RequestTooLargeException", "Request must be smaller than %d bytes for the operation", limit)
		}
		return awsapi.Errorf(413, "RequestEntityTooLargeException", "Request size exceeded the limit of %d bytes", limit)
	}
	q.Body = b
	return nil
}

// drainLimit is how much of a body that nobody wanted is still read, so that the client comes to listen.
const drainLimit = 256 << 20

// Drain reads the rest of the request's body. A client that is still sending when the answer comes may wait for seconds
// (the 3-second stall of S3A), or report a broken pipe in place of the error.
func (q *Request) Drain() {
	if q.http.Body == nil {
		return
	}
	if n, err := io.CopyN(io.Discard, q.http.Body, drainLimit); n == drainLimit && err == nil {
		q.http.Close = true
	}
}

// Decode reads the operation's input.
func (q *Request) Decode() (map[string]any, error) {
	in := q.Operation.Input
	switch q.protocol {
	case "json":
		if in == nil {
			return map[string]any{}, nil
		}
		return jsonBody(in, q.Body)
	case "query", "ec2":
		if in == nil {
			return map[string]any{}, nil
		}
		d := dialect{ec2: q.protocol == "ec2"}
		return d.structure(in.To, q.form)
	}
	if in == nil {
		return map[string]any{}, nil
	}
	return q.decodeREST(in.To)
}

func (q *Request) malformed(where string, err error) error {
	if q.protocol == "rest-xml" {
		return awsapi.Errorf(400, "InvalidArgument", "%s: %v", where, err)
	}
	return badType(where + ": " + err.Error())
}

func (q *Request) decodeREST(s *awsapi.Shape) (map[string]any, error) {
	doc := map[string]any{}
	body := false
	for _, m := range s.Members {
		name := orElse(m.LocationName, m.Name)
		switch m.Location {
		case "uri":
			text, ok := q.labels[name]
			if !ok {
				continue
			}
			v, err := parseScalar(m.To, text, iso8601)
			if err != nil {
				return nil, q.malformed(name, err)
			}
			doc[m.Name] = v
		case "querystring":
			if err := q.queryMember(doc, m, name); err != nil {
				return nil, err
			}
		case "header":
			text := q.header(name)
			if text == "" {
				continue
			}
			v, err := headerValue(m, text)
			if err != nil {
				return nil, q.malformed(name, err)
			}
			doc[m.Name] = v
		case "headers":
			found := map[string]any{}
			for k, vs := range q.http.Header {
				if rest, ok := strings.CutPrefix(strings.ToLower(k), strings.ToLower(name)); ok {
					found[rest] = strings.Join(vs, ",")
				}
			}
			if len(found) > 0 {
				doc[m.Name] = found
			}
		default:
			body = true
		}
	}
	if isChunked(q.http.Header) {
		if sum := checksumTrailer(q.http.Header); sum != "" && s.MemberNamed("ChecksumAlgorithm") != nil && doc["ChecksumAlgorithm"] == nil {
			doc["ChecksumAlgorithm"] = sum
		}
	}
	if s.Payload == "" {
		if !body {
			return doc, nil
		}
		text, err := q.plainBody()
		if err != nil || len(text) == 0 {
			return doc, err
		}
		if q.protocol == "rest-json" {
			more, err := jsonBody(q.Operation.Input, text)
			if err != nil {
				return nil, err
			}
			for k, v := range more {
				doc[k] = v
			}
			return doc, nil
		}
		more, err := q.xmlBody(s, text)
		if err != nil {
			return nil, err
		}
		for k, v := range more {
			doc[k] = v
		}
		return doc, nil
	}
	m := s.MemberNamed(s.Payload)
	if m.IsStream() {
		if isChunked(q.http.Header) {
			c := newChunked(q.http.Body, q.http.Header, q.Signatures)
			if c.length >= 0 && s.MemberNamed("ContentLength") != nil {
				doc["ContentLength"] = c.length
			}
			doc[m.Name] = io.Reader(c)
		} else {
			doc[m.Name] = io.Reader(q.http.Body)
		}
		return doc, nil
	}
	text, err := q.plainBody()
	if err != nil {
		return nil, err
	}
	switch m.To.Type {
	case "blob":
		if len(text) > 0 {
			doc[m.Name] = text
		}
	case "string":
		doc[m.Name] = string(text)
	default:
		if len(bytes.TrimSpace(text)) == 0 {
			return doc, nil
		}
		var v map[string]any
		if q.protocol == "rest-json" {
			v, err = jsonBody(m, text)
		} else {
			v, err = q.xmlBody(m.To, text)
		}
		if err != nil {
			return nil, err
		}
		doc[m.Name] = v
	}
	return doc, nil
}

// plainBody is the body that was read, without the aws-chunked form.
func (q *Request) plainBody() ([]byte, error) {
	if !isChunked(q.http.Header) {
		return q.Body, nil
	}
	return io.ReadAll(newChunked(bytes.NewReader(q.Body), q.http.Header, q.Signatures))
}

func checksumTrailer(h http.Header) string {
	for _, name := range strings.Split(strings.ToLower(h.Get("X-Amz-Trailer")), ",") {
		if name = strings.TrimSpace(name); newHash(name) != nil {
			return strings.ToUpper(strings.TrimPrefix(name, "x-amz-checksum-"))
		}
	}
	return ""
}

func (q *Request) xmlBody(s *awsapi.Shape, text []byte) (map[string]any, error) {
	root, err := parseXML(text)
	if err == nil {
		var doc map[string]any
		if doc, err = xmlStructure(s, root); err == nil {
			return doc, nil
		}
	}
	return nil, awsapi.Errorf(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema (%v)", err)
}

func (q *Request) header(name string) string {
	switch strings.ToLower(name) {
	case "content-length":
		if q.http.ContentLength >= 0 {
			return strconv.FormatInt(q.http.ContentLength, 10)
		}
		return ""
	case "content-encoding":
		// aws-chunked is the form of this one request, not of the object.
		var rest []string
		for _, e := range strings.Split(q.http.Header.Get(name), ",") {
			if e = strings.TrimSpace(e); e != "" && e != "aws-chunked" {
				rest = append(rest, e)
			}
		}
		return strings.Join(rest, ",")
	}
	return q.http.Header.Get(name)
}

func headerValue(m *awsapi.Ref, text string) (any, error) {
	if m.To.Type == "list" {
		var list []any
		for _, part := range strings.Split(text, ",") {
			v, err := parseScalar(m.To.Member.To, strings.TrimSpace(part), rfc822)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
	return parseScalar(m.To, text, rfc822)
}

func (q *Request) queryMember(doc map[string]any, m *awsapi.Ref, name string) error {
	switch m.To.Type {
	case "list":
		vs, ok := q.query[name]
		if !ok {
			return nil
		}
		list := make([]any, len(vs))
		for i, text := range vs {
			v, err := parseScalar(m.To.Member.To, text, iso8601)
			if err != nil {
				return q.malformed(name, err)
			}
			list[i] = v
		}
		doc[m.Name] = list
	case "map":
		found := map[string]any{}
		for k, vs := range q.query {
			found[k] = vs[0]
		}
		doc[m.Name] = found
	default:
		vs, ok := q.query[name]
		if !ok || vs[0] == "" && m.To.Type != "string" {
			return nil
		}
		v, err := parseScalar(m.To, vs[0], iso8601)
		if err != nil {
			return q.malformed(name, err)
		}
		doc[m.Name] = v
	}
	return nil
}

// Respond writes the operation's output. Streams are closed.
func (q *Request) Respond(w http.ResponseWriter, out map[string]any, requestID string) error {
	q.requestID(w, requestID)
	op := q.Operation
	switch q.protocol {
	case "json":
		w.Header().Set("Content-Type", "application/x-amz-json-"+q.Model.Metadata.JSONVersion)
		body := []byte("{}")
		if op.Output != nil {
			body = appendJSON(nil, op.Output, out)
		} else if q.Model.Metadata.JSONVersion == "1.1" {
			body = nil // AWS: no output shape, no body
		}
		return q.send(w, 200, body)
	case "query", "ec2":
		return q.send(w, 200, q.queryAnswer(w, op, out, requestID))
	}
	return q.respondREST(w, op, out)
}

func (q *Request) queryAnswer(w http.ResponseWriter, op *awsapi.Operation, out map[string]any, requestID string) []byte {
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	var x xmlWriter
	x.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	root := op.Name + "Response"
	x.open(root, "xmlns", q.space())
	if q.protocol == "ec2" {
		x.leaf("requestId", requestID)
		if op.Output != nil {
			x.members(op.Output.To, out)
		} else {
			x.leaf("return", "true")
		}
	} else {
		if op.Output != nil {
			wrapper := orElse(op.Output.ResultWrapper, op.Name+"Result")
			x.open(wrapper)
			x.members(op.Output.To, out)
			x.close(wrapper)
		}
		x.open("ResponseMetadata")
		x.leaf("RequestId", requestID)
		x.close("ResponseMetadata")
	}
	x.close(root)
	return x.Bytes()
}

// space is the namespace of query answers; the model of SQS no longer has one.
func (q *Request) space() string {
	if q.Model.Name() == "sqs" {
		return "http://queue.amazonaws.com/doc/" + q.Model.Metadata.APIVersion + "/"
	}
	return q.Model.Metadata.XMLNamespace
}

func (q *Request) requestID(w http.ResponseWriter, id string) {
	if q.Model.Name() == "s3" {
		w.Header().Set("x-amz-request-id", id)
		w.Header().Set("x-amz-id-2", id)
		return
	}
	w.Header().Set("x-amzn-RequestId", id)
}

// send writes a body that is held whole.
func (q *Request) send(w http.ResponseWriter, status int, body []byte) error {
	q.Drain()
	if q.http.Close {
		w.Header().Set("Connection", "close")
	}
	if status != 204 && status != 304 {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	if q.http.Method == http.MethodHead || len(body) == 0 {
		return nil
	}
	_, err := w.Write(body)
	return err
}

// s3Space is the namespace of S3's documents; the model names it for requests only.
const s3Space = "http://s3.amazonaws.com/doc/2006-03-01/"

// s3Roots are the root elements of S3's answers, which the model does not tell. AWS: the examples of the API reference.
var s3Roots = map[string]string{
	"ListBuckets": "ListAllMyBucketsResult", "ListObjects": "ListBucketResult", "ListObjectsV2": "ListBucketResult",
	"ListObjectVersions": "ListVersionsResult", "CreateMultipartUpload": "InitiateMultipartUploadResult",
	"CompleteMultipartUpload": "CompleteMultipartUploadResult", "ListMultipartUploads": "ListMultipartUploadsResult",
	"ListParts": "ListPartsResult", "DeleteObjects": "DeleteResult", "GetObjectTagging": "Tagging",
	"GetBucketTagging": "Tagging", "GetBucketAcl": "AccessControlPolicy", "GetObjectAcl": "AccessControlPolicy",
	"GetBucketCors": "CORSConfiguration", "GetBucketVersioning": "VersioningConfiguration",
	"GetBucketLifecycleConfiguration": "LifecycleConfiguration", "GetBucketWebsite": "WebsiteConfiguration",
	"GetBucketLogging": "BucketLoggingStatus", "GetBucketRequestPayment": "RequestPaymentConfiguration",
	"GetBucketNotificationConfiguration": "NotificationConfiguration", "GetObjectAttributes": "GetObjectAttributesOutput",
	"GetBucketAccelerateConfiguration": "AccelerateConfiguration",
}

func (q *Request) respondREST(w http.ResponseWriter, op *awsapi.Operation, out map[string]any) error {
	status := op.HTTP.ResponseCode
	if status == 0 {
		status = 200
	}
	if op.Output == nil {
		return q.send(w, status, nil)
	}
	s := op.Output.To
	body := false
	for _, m := range s.Members {
		v, ok := out[m.Name]
		name := orElse(m.LocationName, m.Name)
		switch m.Location {
		case "header":
			if !ok || v == nil {
				continue
			}
			if text, ok := headerText(m, v); ok {
				w.Header().Set(name, text)
			}
		case "headers":
			found, _ := v.(map[string]any)
			for k, v := range found {
				if text, ok := v.(string); ok {
					// AWS: lower case, which Header.Set would change.
					w.Header()[strings.ToLower(name)+strings.ToLower(k)] = []string{text}
				}
			}
		case "statusCode":
			if n, ok := v.(int64); ok && n >= 100 {
				status = int(n)
			}
		default:
			body = true
		}
	}
	if out["ContentRange"] != nil && status == 200 && q.Model.Name() == "s3" {
		status = 206
	}
	if s.Payload != "" {
		m := s.MemberNamed(s.Payload)
		return q.sendPayload(w, status, m, out[m.Name])
	}
	if q.http.Method == http.MethodHead {
		q.Drain()
		w.WriteHeader(status)
		return nil
	}
	if !body || status == 204 {
		return q.send(w, status, nil)
	}
	if q.protocol == "rest-json" {
		w.Header().Set("Content-Type", "application/json")
		return q.send(w, status, appendJSON(nil, op.Output, out))
	}
	w.Header().Set("Content-Type", "application/xml")
	var x xmlWriter
	x.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	if op.Name == "GetBucketLocation" {
		// AWS: the answer is the constraint itself, empty for us-east-1.
		x.open("LocationConstraint", "xmlns", s3Space)
		text, _ := out["LocationConstraint"].(string)
		x.WriteString(text)
		x.close("LocationConstraint")
	} else {
		root := orElse(s3Roots[op.Name], orElse(s.LocationName, s.Name))
		x.open(root, "xmlns", s3Space)
		x.members(s, out)
		x.close(root)
	}
	return q.send(w, status, x.Bytes())
}

func headerText(m *awsapi.Ref, v any) (string, bool) {
	if list, ok := v.([]any); ok {
		parts := make([]string, len(list))
		for i, e := range list {
			parts[i], _ = formatScalar(m.To.Member.To, e, rfc822)
		}
		return strings.Join(parts, ","), len(parts) > 0
	}
	text, ok := formatScalar(m.To, v, rfc822)
	return cleanHeader(text), ok
}

// cleanHeader keeps a value on one line.
func cleanHeader(s string) string {
	if !strings.ContainsAny(s, "\r\n\x00") {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == 0 {
			return ' '
		}
		return r
	}, s)
}

func (q *Request) sendPayload(w http.ResponseWriter, status int, m *awsapi.Ref, v any) error {
	switch x := v.(type) {
	case nil:
		return q.send(w, status, nil)
	case io.ReadCloser:
		defer x.Close()
		return q.stream(w, status, x)
	case io.Reader:
		return q.stream(w, status, x)
	case []byte:
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/json") // AWS: what Lambda's Invoke says of its payload
		}
		return q.send(w, status, x)
	case string:
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/json") // a bucket's policy
		}
		return q.send(w, status, []byte(x))
	}
	if q.protocol == "rest-json" {
		w.Header().Set("Content-Type", "application/json")
		return q.send(w, status, appendJSON(nil, m, v))
	}
	w.Header().Set("Content-Type", "application/xml")
	var x xmlWriter
	x.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	root := orElse(m.LocationName, m.Name)
	x.open(root, "xmlns", s3Space)
	x.members(m.To, v.(map[string]any))
	x.close(root)
	return q.send(w, status, x.Bytes())
}

func (q *Request) stream(w http.ResponseWriter, status int, body io.Reader) error {
	q.Drain()
	w.WriteHeader(status)
	if q.http.Method == http.MethodHead {
		return nil
	}
	_, err := io.Copy(w, body)
	return err
}

// Fail writes an error in the protocol's form. An error that is not an *awsapi.Error is Mayfly's own fault: the caller
// sees only that.
func (q *Request) Fail(w http.ResponseWriter, err error, requestID string) {
	var e *awsapi.Error
	if !errors.As(err, &e) {
		e = awsapi.Errorf(500, "InternalFailure", "The request processing has failed because of an unknown error, exception or failure.")
	}
	shape := q.Model.ErrorShape(e.Code)
	code, status := e.Code, e.Status
	if status == 0 {
		status = 400
		if shape != nil && shape.Error != nil && shape.Error.HTTPStatusCode != 0 {
			status = shape.Error.HTTPStatusCode
		}
	}
	q.requestID(w, requestID)
	sender := "Sender"
	if status >= 500 {
		sender = "Receiver"
	}
	switch q.protocol {
	case "json", "rest-json":
		if shape != nil {
			code = shape.Name
		}
		if q.protocol == "rest-json" {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("x-amzn-ErrorType", code)
		} else {
			w.Header().Set("Content-Type", "application/x-amz-json-"+q.Model.Metadata.JSONVersion)
		}
		if q.Model.Metadata.AWSQueryCompatible != nil {
			wire := code
			if shape != nil && shape.Error != nil && shape.Error.Code != "" {
				wire = shape.Error.Code
			}
			w.Header().Set("x-amzn-query-error", wire+";"+sender)
			code = "com.amazonaws.sqs#" + code
		}
		_ = q.send(w, status, jsonError(q.protocol, shape, e, code, status))
	case "query", "ec2":
		if shape != nil && shape.Error != nil && shape.Error.Code != "" {
			code = shape.Error.Code
		}
		w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
		var x xmlWriter
		x.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
		if q.protocol == "ec2" {
			x.open("Response")
			x.open("Errors")
			x.open("Error")
			x.leaf("Code", code)
			x.leaf("Message", e.Message)
			x.close("Error")
			x.close("Errors")
			x.leaf("RequestID", requestID)
			x.close("Response")
		} else {
			x.open("ErrorResponse", "xmlns", q.space())
			x.open("Error")
			x.leaf("Type", sender)
			x.leaf("Code", code)
			x.leaf("Message", e.Message)
			x.fields(shape, e.Fields)
			x.close("Error")
			x.leaf("RequestId", requestID)
			x.close("ErrorResponse")
		}
		_ = q.send(w, status, x.Bytes())
	default:
		if shape != nil && shape.Error != nil && shape.Error.Code != "" {
			code = shape.Error.Code
		}
		if q.http.Method == http.MethodHead || status == 304 {
			q.Drain()
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Content-Type", "application/xml")
		var x xmlWriter
		x.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
		x.open("Error")
		x.leaf("Code", code)
		x.leaf("Message", e.Message)
		x.fields(nil, e.Fields)
		if e.Fields["Resource"] == nil {
			x.leaf("Resource", q.http.URL.Path)
		}
		x.leaf("RequestId", requestID)
		x.leaf("HostId", requestID)
		x.close("Error")
		_ = q.send(w, status, x.Bytes())
	}
}

// fields writes what an error says beside code and message.
func (x *xmlWriter) fields(shape *awsapi.Shape, fields map[string]any) {
	for _, k := range sortedKeys(fields) {
		if shape != nil {
			if m := shape.MemberNamed(k); m != nil {
				x.value(xmlName(m), m, fields[k])
				continue
			}
		}
		x.leaf(k, fmt.Sprint(fields[k]))
	}
}

func jsonError(protocol string, shape *awsapi.Shape, e *awsapi.Error, code string, status int) []byte {
	b := append([]byte(`{"__type":`), appendString(nil, code)...)
	message := "message"
	if shape != nil {
		if m := shape.MemberNamed("Message"); m != nil {
			message = "Message"
		}
		for _, m := range shape.Members {
			v, ok := e.Fields[m.Name]
			if !ok && m.Name == "Type" && protocol == "rest-json" {
				// AWS: Lambda's errors say whose fault it was.
				v, ok = "User", true
				if status >= 500 {
					v = "Service"
				}
			}
			if !ok || m.Location != "" || strings.EqualFold(m.Name, "message") {
				continue
			}
			b = append(append(append(b, ','), appendString(nil, jsonName(m))...), ':')
			b = appendJSON(b, m, awsapi.ToTree(v))
		}
	}
	b = append(append(append(b, ','), appendString(nil, message)...), ':')
	return append(appendString(b, e.Message), '}')
}

// Operations lists the model's operations, sorted.
func Operations(m *awsapi.Model) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for n := range m.Operations {
			if !yield(n) {
				return
			}
		}
	})
}

// Foreign is a request for a service without a model, only good for Fail: its protocol is guessed from its form. AWS: of
// the services with neither target nor form, few speak XML.
func Foreign(r *http.Request, service string) *Request {
	m := &awsapi.Model{Metadata: awsapi.Metadata{Protocol: "rest-json", JSONVersion: "1.0"}}
	ct := r.Header.Get("Content-Type")
	switch {
	case r.Header.Get("X-Amz-Target") != "":
		m.Metadata.Protocol = "json"
		if strings.HasSuffix(ct, "1.1") {
			m.Metadata.JSONVersion = "1.1"
		}
	case strings.HasPrefix(ct, "application/x-www-form-urlencoded"):
		m.Metadata.Protocol = "query"
	case slices.Contains([]string{"s3", "cloudfront", "route53", "s3control", "s3-outposts", "s3express"}, service):
		m.Metadata.Protocol = "rest-xml"
	}
	return &Request{Model: m, http: r, protocol: m.Metadata.Protocol}
}
