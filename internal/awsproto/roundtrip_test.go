package awsproto

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// generator draws documents from shapes.
type generator struct {
	*rand.Rand
	header bool // the value goes into a header, a path or a query
}

var words = []string{"a", "ü", "two words", "x/y", "<&>", "1+1=2", "100%", "\"q\"", "日本"}

func (g generator) value(r *awsapi.Ref, depth int) any {
	s := r.To
	switch s.Type {
	case "structure":
		doc := map[string]any{}
		for _, m := range s.Members {
			if s.Union && len(doc) > 0 {
				break
			}
			if m.To.EventStream {
				continue
			}
			required := s.Requires(m.Name) || m.Location == "uri"
			if !required && (depth > 5 || g.IntN(3) == 0) {
				continue
			}
			in := g
			in.header = m.Location != ""
			if v := in.value(m, depth+1); v != nil {
				doc[m.Name] = v
			}
		}
		return doc
	case "list":
		if depth > 6 {
			return nil
		}
		list := make([]any, 1+g.IntN(2))
		for i := range list {
			v := g.value(s.Member, depth+1)
			if v == nil {
				return nil
			}
			// An empty structure cannot be told from an absent one in the query protocols.
			if m, ok := v.(map[string]any); ok && len(m) == 0 {
				return nil
			}
			list[i] = v
		}
		return list
	case "map":
		if depth > 6 {
			return nil
		}
		doc := map[string]any{}
		for range 1 + g.IntN(2) {
			k := fmt.Sprintf("key%d", g.IntN(100))
			if len(s.Key.To.Enum) > 0 {
				k = s.Key.To.Enum[g.IntN(len(s.Key.To.Enum))]
			}
			v := g.value(s.Value, depth+1)
			if v == nil {
				return nil
			}
			if m, ok := v.(map[string]any); ok && len(m) == 0 {
				return nil
			}
			doc[k] = v
		}
		return doc
	case "string", "character":
		if len(s.Enum) > 0 {
			return s.Enum[g.IntN(len(s.Enum))]
		}
		if g.header {
			return fmt.Sprintf("text%d", g.IntN(1000))
		}
		return words[g.IntN(len(words))] + "\n" + words[g.IntN(len(words))]
	case "boolean":
		return g.IntN(2) == 0
	case "integer":
		return int64(g.Int32())
	case "long":
		return g.Int64()
	case "float", "double":
		return float64(g.IntN(1000)) / 8
	case "timestamp":
		t := time.Unix(1_700_000_000+int64(g.IntN(1e8)), 0).UTC()
		if !g.header {
			t = t.Add(time.Duration(g.IntN(1000)) * time.Millisecond)
		}
		if s.TimestampFormat == rfc822 {
			t = t.Truncate(time.Second)
		}
		return t
	case "blob":
		b := make([]byte, 1+g.IntN(20))
		for i := range b {
			b[i] = byte(g.Uint32())
		}
		return b
	}
	panic(s.Type)
}

// prune drops empty structures and maps, which only JSON can tell from absent ones.
func prune(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range x {
			if p := prune(e); p != nil {
				out[k] = p
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = prune(e)
		}
		return out
	case io.Reader:
		b, err := io.ReadAll(x)
		if err != nil {
			return err
		}
		return b
	}
	return v
}

// skipped are the operations that these tests leave out, with the reason.
func skipped(op *awsapi.Operation) string {
	switch {
	case op.Output != nil && strings.Contains(op.Name, "SelectObjectContent"), op.Name == "InvokeWithResponseStream", op.Name == "StartLiveTail", op.Name == "GetLogObject":
		return "event streams are not served"
	}
	return ""
}

func eachOperation(t *testing.T, f func(t *testing.T, m *awsapi.Model, op *awsapi.Operation, g generator)) {
	for _, name := range awsapi.Services() {
		m := awsapi.Load(name)
		t.Run(name, func(t *testing.T) {
			for _, n := range Operations(m) {
				op := m.Operations[n]
				if skipped(op) != "" {
					continue
				}
				for seed := range uint64(4) {
					f(t, m, op, generator{Rand: rand.New(rand.NewPCG(seed, uint64(len(n))))})
				}
			}
		})
	}
}

// TestRequests sends a random document of every operation's input and reads it back.
func TestRequests(t *testing.T) {
	eachOperation(t, func(t *testing.T, m *awsapi.Model, op *awsapi.Operation, g generator) {
		want := map[string]any{}
		if op.Input != nil {
			want = g.value(op.Input, 0).(map[string]any)
			if s := op.Input.To; s.MemberNamed("ContentLength") != nil {
				delete(want, "ContentLength")
			}
			delete(want, "ContentMD5")
			if s := op.Input.To; s.MemberNamed(s.Payload) != nil && s.MemberNamed(s.Payload).To.Type == "string" {
				want[s.Payload] = "payload"
			}
		}
		send := want
		if op.Input != nil {
			if p := op.Input.To.MemberNamed(op.Input.To.Payload); p != nil && p.IsStream() {
				want[p.Name] = []byte("streamed")
				send = map[string]any{}
				for k, v := range want {
					send[k] = v
				}
				send[p.Name] = io.Reader(bytes.NewReader(want[p.Name].([]byte)))
			}
		}
		r, _, _, err := NewRequest(t.Context(), m, op, send, "http://127.0.0.1:4566")
		if err != nil {
			t.Fatalf("%s: %v", op.Name, err)
		}
		// A server sees what was written, not what was meant.
		var wire bytes.Buffer
		if err := r.Write(&wire); err != nil {
			t.Fatal(err)
		}
		text := wire.String()
		r = readRequest(t, wire.Bytes())
		q, err := Open(m, r, 1<<20)
		if err != nil {
			t.Fatalf("%s: %v\n%s", op.Name, err, text)
		}
		if q.Operation != op {
			t.Fatalf("%s was read as %s\n%s", op.Name, q.Operation.Name, text)
		}
		got, err := q.Decode()
		if err != nil {
			t.Fatalf("%s: %v\n%s", op.Name, err, text)
		}
		delete(got, "ContentLength")
		if diff := cmp.Diff(prune(want), prune(got)); diff != "" {
			t.Errorf("%s: (-sent +read)\n%s\n%s", op.Name, diff, text)
		}
	})
}

// TestAnswers writes a random document of every operation's output and reads it back.
func TestAnswers(t *testing.T) {
	eachOperation(t, func(t *testing.T, m *awsapi.Model, op *awsapi.Operation, g generator) {
		want := map[string]any{}
		if op.Output != nil {
			s := op.Output.To
			want = g.value(op.Output, 0).(map[string]any)
			for _, r := range s.Members {
				if r.Location == "statusCode" {
					want[r.Name] = int64(200)
				}
			}
			delete(want, "ContentRange")
			if p := s.MemberNamed(s.Payload); p != nil && (p.To.Type == "string" || p.To.Type == "blob") {
				want[p.Name] = []byte("payload")
				if p.To.Type == "string" {
					want[p.Name] = "payload"
				}
			}
			if n := want["ContentLength"]; n != nil {
				want["ContentLength"] = int64(len("payload"))
			}
		}
		send := map[string]any{}
		for k, v := range want {
			send[k] = v
		}
		if op.Output != nil {
			if p := op.Output.To.MemberNamed(op.Output.To.Payload); p != nil && p.IsStream() {
				send[p.Name] = io.NopCloser(strings.NewReader("payload"))
			}
		}
		r := httptest.NewRequest(op.HTTP.Method, "/", http.NoBody)
		q := &Request{Model: m, Operation: op, http: r, protocol: m.Metadata.Protocol}
		w := httptest.NewRecorder()
		if err := q.Respond(w, send, "id"); err != nil {
			t.Fatalf("%s: %v", op.Name, err)
		}
		resp := w.Result()
		resp.Request = r
		text := w.Body.String()
		got, err := ReadResponse(m, op, resp)
		if err != nil {
			t.Fatalf("%s: %v\n%s", op.Name, err, text)
		}
		for _, extra := range []string{"ContentLength", "ContentType"} {
			if want[extra] == nil {
				delete(got, extra)
			}
		}
		if diff := cmp.Diff(prune(want), prune(got)); diff != "" {
			t.Errorf("%s: (-sent +read)\n%s\n%s %v", op.Name, diff, text, resp.Header)
		}
	})
}

func readRequest(t *testing.T, wire []byte) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
	if err != nil {
		t.Fatalf("%v\n%s", err, wire)
	}
	return r
}
