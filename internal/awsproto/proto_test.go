package awsproto

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

var update = flag.Bool("update", false, "rewrite the expectations")

// TestWire: each file of testdata/wire holds the first line "service [status code message]", a request as a client sends it,
// and, after a line of dashes, what is read from it and the answer, with the operation's output (or the error) given in the
// first line. The requests were recorded from clients.
func TestWire(t *testing.T) {
	files, _ := filepath.Glob("testdata/wire/*.txt")
	if len(files) < 10 {
		t.Fatalf("%d cases", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			request, want, _ := strings.Cut(string(text), "\n-----\n")
			head, request, _ := strings.Cut(request, "\n")
			got := answer(t, head, request)
			if *update {
				if err := os.WriteFile(file, []byte(head+"\n"+request+"\n-----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func answer(t *testing.T, head, request string) string {
	t.Helper()
	service, rest, _ := strings.Cut(head, " ")
	heads, body, _ := strings.Cut(request, "\n\n")
	heads, body = strings.ReplaceAll(heads, "\n", "\r\n"), strings.TrimSuffix(body, "\n")
	if body != "" {
		heads += fmt.Sprintf("\r\nContent-Length: %d", len(body))
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(heads + "\r\n\r\n" + body)))
	if err != nil {
		t.Fatal(err)
	}
	m := awsapi.Load(service)
	w := httptest.NewRecorder()
	var out bytes.Buffer
	q, err := Open(m, r, 1<<20)
	var doc map[string]any
	if err == nil {
		if doc, err = q.Decode(); err == nil {
			if s := q.streams(); s != nil {
				b, rerr := io.ReadAll(doc[s.Name].(io.Reader))
				if err = rerr; err == nil {
					doc[s.Name] = bytes.NewReader(b)
				}
			}
		}
		if err == nil {
			doc, err = Normalize(m, q.Operation, doc)
		}
		fmt.Fprintf(&out, "%s ", q.Operation.Name)
		if err == nil {
			if s := q.streams(); s != nil {
				b, _ := io.ReadAll(doc[s.Name].(io.Reader))
				doc[s.Name] = "stream: " + string(b)
			}
			out.Write(plain(doc))
		}
		out.WriteByte('\n')
	}
	status, message, _ := strings.Cut(rest, " ")
	switch {
	case err != nil:
		q.Fail(w, err, "ID")
	case status != "" && status[0] == '{':
		v, perr := parseJSON([]byte(rest))
		if perr != nil {
			t.Fatal(perr)
		}
		o, perr := fromJSON(&awsapi.Ref{To: withoutLocations(q.Operation.Output.To)}, v)
		if perr != nil {
			t.Fatal(perr)
		}
		if err := q.Respond(w, o.(map[string]any), "ID"); err != nil {
			t.Fatal(err)
		}
	case status != "":
		var n int
		fmt.Sscan(status, &n)
		code, text, _ := strings.Cut(message, " ")
		q.Fail(w, awsapi.Errorf(n, code, "%s", text), "ID")
	default:
		if err := q.Respond(w, map[string]any{}, "ID"); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintf(&out, "%d\n", w.Code)
	h := w.Header().Clone()
	h.Del("Content-Length")
	_ = h.Write(&out)
	out.WriteString("\n" + w.Body.String() + "\n")
	return strings.ReplaceAll(out.String(), "\r\n", "\n")
}

// withoutLocations lets a case give every member of an output as JSON, by its own name.
func withoutLocations(s *awsapi.Shape) *awsapi.Shape {
	c := *s
	c.Members = nil
	for _, m := range s.Members {
		r := *m
		r.Location, r.LocationName = "", ""
		c.Members = append(c.Members, &r)
	}
	return &c
}

// plain is a document as JSON with sorted keys, whatever its shapes.
func plain(v any) []byte {
	switch x := v.(type) {
	case map[string]any:
		b := []byte{'{'}
		for i, k := range sortedKeys(x) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(appendString(b, k), ':'), plain(x[k])...)
		}
		return append(b, '}')
	case []any:
		b := []byte{'['}
		for i, e := range x {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, plain(e)...)
		}
		return append(b, ']')
	case string:
		return appendString(nil, x)
	case []byte:
		return appendString(nil, "base64 "+base64.StdEncoding.EncodeToString(x))
	}
	return fmt.Append(nil, v)
}

func TestValidation(t *testing.T) {
	long := strings.Repeat("x", 81)
	for _, c := range []struct {
		service, op string
		in          map[string]any
		code, text  string
	}{
		{"states", "StartExecution", map[string]any{}, "ValidationException",
			"1 validation error detected: Value null at 'stateMachineArn' failed to satisfy constraint: Member must not be null"},
		{"states", "StartExecution", map[string]any{"stateMachineArn": "a", "name": long}, "ValidationException",
			"1 validation error detected: Value '" + long + "' at 'name' failed to satisfy constraint: Member must have length less than or equal to 80"},
		{"states", "ListExecutions", map[string]any{"maxResults": 1001, "statusFilter": "DONE"}, "ValidationException",
			"2 validation errors detected: Value 'DONE' at 'statusFilter' failed to satisfy constraint: Member must satisfy enum value set: [SUCCEEDED, TIMED_OUT, PENDING_REDRIVE, ABORTED, FAILED, RUNNING]; Value '1001' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 1000"},
		{"cloudformation", "CreateStack", map[string]any{"StackName": "s", "Tags": []any{map[string]any{"Key": "k"}}}, "ValidationError",
			"1 validation error detected: Value null at 'tags.1.member.value' failed to satisfy constraint: Member must not be null"},
		{"states", "SendTaskSuccess", map[string]any{"taskToken": "", "output": 1}, "SerializationException", "NUMBER_VALUE can not be converted to a String"},
		{"states", "StartExecution", map[string]any{"stateMachineArn": "a", "Nmae": "x"}, "SerializationException", `StartExecutionInput has no member named "Nmae"`},
		{"cloudformation", "CreateStack", map[string]any{"StackName": "s", "Capabilities": []string{"FOO", "BAR"}}, "ValidationError",
			"1 validation error detected: Value '[FOO, BAR]' at 'capabilities' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [CAPABILITY_IAM, CAPABILITY_NAMED_IAM, CAPABILITY_AUTO_EXPAND]]"},
		{"lambda", "TagResource", map[string]any{"Resource": "arn:aws:lambda:us-east-1:000000000000:function:f", "Tags": map[string]string{"": "b"}}, "", ""},
		{"lambda", "UpdateFunctionConfiguration", map[string]any{"FunctionName": "f", "Environment": map[string]any{"Variables": map[string]any{"A": "secret"}}}, "ValidationException",
			"1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"},
		{"states", "CreateStateMachineAlias", map[string]any{"name": "12", "routingConfiguration": []any{map[string]any{"stateMachineVersionArn": "a", "weight": 100}}}, "ValidationException",
			`1 validation error detected: Value '12' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^(?=.*[a-zA-Z_\-\.])[a-zA-Z0-9_\-\.]+$`},
		{"states", "CreateStateMachineAlias", map[string]any{"name": "a", "routingConfiguration": []any{map[string]any{"stateMachineVersionArn": "a", "weight": 1}, map[string]any{"stateMachineVersionArn": "b", "weight": 2}, map[string]any{"stateMachineVersionArn": "c", "weight": 3}}}, "ValidationException",
			"1 validation error detected: Value '[RoutingConfigurationListItem(stateMachineVersionArn=a, weight=1), RoutingConfigurationListItem(stateMachineVersionArn=b, weight=2), RoutingConfigurationListItem(stateMachineVersionArn=c, weight=3)]' at 'routingConfiguration' failed to satisfy constraint: Member must have length less than or equal to 2"},
		{"sqs", "SendMessage", map[string]any{"MessageBody": "x"}, "MissingParameter", "The request must contain the parameter QueueUrl."},
		{"ec2", "CreateKeyPair", map[string]any{}, "MissingParameter", "The request must contain the parameter KeyName"},
		{"sns", "Publish", map[string]any{"Message": []any{"x"}}, "SerializationException", "Start of list found where not expected."},
	} {
		m := awsapi.Load(c.service)
		_, err := Normalize(m, m.Operations[c.op], c.in)
		var e *awsapi.Error
		if c.code == "" && err == nil {
			continue
		}
		if !errors.As(err, &e) || e.Code != c.code || e.Message != c.text {
			t.Errorf("%s %s %v:\ngot  %v\nwant %s: %s", c.service, c.op, c.in, err, c.code, c.text)
		}
	}
}

// TestPatterns lists the patterns that Go cannot check. The list may only shrink.
func TestPatterns(t *testing.T) {
	known := map[string]bool{}
	b, err := os.ReadFile("testdata/unchecked-patterns.txt")
	if err != nil && !*update {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		known[line] = true
	}
	var list []string
	total := 0
	for _, name := range awsapi.Services() {
		for n, s := range awsapi.Load(name).Shapes {
			if s.Pattern == "" {
				continue
			}
			total++
			if _, err := compile(s.Pattern); err != nil {
				line := name + " " + n
				list = append(list, line)
				if !known[line] && !*update {
					t.Errorf("%s: %q: %v", line, s.Pattern, err)
				}
			}
		}
	}
	if total < 100 || len(list) > total/10 {
		t.Errorf("%d of %d patterns cannot be checked", len(list), total)
	}
	if *update {
		doc := map[string]any{}
		for _, l := range list {
			doc[l] = true
		}
		if err := os.WriteFile("testdata/unchecked-patterns.txt", []byte(strings.Join(sortedKeys(doc), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	re := pattern(`[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*`)
	if re == nil || !re.MatchString("a😀\n") || re.MatchString("\x00") {
		t.Error("Java's escapes")
	}
}

func TestChunkedBodies(t *testing.T) {
	sum := func(s string) string {
		h := newHash("x-amz-checksum-crc32")
		io.WriteString(h, s)
		return base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	signed := "5;chunk-signature=" + strings.Repeat("0", 64) + "\r\nhello\r\n6;chunk-signature=x\r\n world\r\n0;chunk-signature=y\r\n"
	for _, c := range []struct{ name, body, trailer, length, want, code string }{
		{"signed", signed + "\r\n", "", "11", "hello world", ""},
		{"without the last line", strings.TrimSuffix(signed, "\r\n") + "\r\n", "", "", "hello world", ""},
		{"trailer", "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:" + sum("hello world") + "\r\n\r\n", "x-amz-checksum-crc32", "11", "hello world", ""},
		{"wrong checksum", "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:" + sum("x") + "\r\n\r\n", "x-amz-checksum-crc32", "11", "", "BadDigest"},
		{"no trailer", "1\r\na\r\n0\r\n\r\n", "x-amz-checksum-crc32", "", "", "MalformedTrailerError"},
		{"empty", "0\r\n\r\n", "", "0", "", ""},
		{"cut", "b\r\nhello", "", "11", "", "IncompleteBody"},
		{"cut before the end", "5\r\nhello\r\n", "", "", "", "IncompleteBody"},
		{"short", "5\r\nhello\r\n0\r\n\r\n", "", "6", "", "IncompleteBody"},
		{"no size", "zz\r\n", "", "", "", "InvalidChunkSizeError"},
		{"nothing", "", "", "", "", "IncompleteBody"},
	} {
		h := http.Header{}
		h.Set("X-Amz-Trailer", c.trailer)
		h.Set("X-Amz-Decoded-Content-Length", c.length)
		b, err := io.ReadAll(newChunked(strings.NewReader(c.body), h, nil))
		var e *awsapi.Error
		if errors.As(err, &e) != (c.code != "") || e != nil && e.Code != c.code || err == nil && string(b) != c.want {
			t.Errorf("%s: %q %v", c.name, b, err)
		}
	}
}

func TestBucketHosts(t *testing.T) {
	for host, want := range map[string]string{"b.localhost:4566": "b", "b.s3.localhost:4566": "b", "b.s3.us-east-1.amazonaws.com": "b", "my.dotted.s3-eu-west-1.amazonaws.com": "my.dotted",
		"127.0.0.1:4566": "", "localhost:4566": "", "sync-localhost": "", "[::1]:4566": "", "s3.localhost": ""} {
		if got := bucketHost(host); got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	for service, want := range map[string]string{"states": "413 application/x-amz-json-1.0", "sns": "413 text/xml;charset=UTF-8"} {
		body := &counter{r: strings.NewReader(strings.Repeat("x", 3<<20))}
		r := httptest.NewRequest("POST", "/", body)
		r.Header.Set("X-Amz-Target", "AWSStepFunctions.StartExecution")
		q, err := Open(awsapi.Load(service), r, 2<<20)
		w := httptest.NewRecorder()
		q.Fail(w, err, "ID")
		if got := fmt.Sprint(w.Code, " ", w.Header().Get("Content-Type")); got != want {
			t.Errorf("%s: %s", service, got)
		}
		if body.n != 3<<20 {
			t.Errorf("%s: %d bytes were read before the answer", service, body.n)
		}
	}
}

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// FuzzOpen: whatever comes in, there is an answer, and what was read passes or fails the model without a panic.
func FuzzOpen(f *testing.F) {
	files, _ := filepath.Glob("testdata/wire/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		request, _, _ := strings.Cut(string(text), "\n-----\n")
		head, request, _ := strings.Cut(request, "\n")
		service, _, _ := strings.Cut(head, " ")
		f.Add(service, request)
	}
	header := regexp.MustCompile(`(?i)\ncontent-length:[^\n]*`)
	f.Fuzz(func(t *testing.T, service, request string) {
		m := awsapi.Load(service)
		if m == nil {
			return
		}
		heads, body, _ := strings.Cut(request, "\n\n")
		heads = strings.ReplaceAll(header.ReplaceAllString(heads, ""), "\n", "\r\n") + fmt.Sprintf("\r\nContent-Length: %d", len(body))
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(heads + "\r\n\r\n" + body)))
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		q, err := Open(m, r, 1<<16)
		if err == nil {
			var doc map[string]any
			if doc, err = q.Decode(); err == nil {
				if doc, err = Normalize(m, q.Operation, doc); err == nil {
					if s := q.streams(); s != nil {
						_, err = io.Copy(io.Discard, doc[s.Name].(io.Reader))
					}
				}
			}
		}
		if err == nil {
			return
		}
		q.Fail(w, err, "ID")
		if w.Code < 400 || w.Code > 499 {
			t.Errorf("%d for %v", w.Code, err)
		}
	})
}
