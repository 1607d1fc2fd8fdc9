package daemon

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/states-wire.txt")

// What differs from run to run, and what stands for it.
var varying = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`(Date|timestamp)":[0-9.]+(E[0-9]+)?`), `$1":TIME`},
	{regexp.MustCompile(`nextToken":"[^"]+"`), `nextToken":"TOKEN"`},
	{regexp.MustCompile(`arn:aws:states:us-east-1:000000000000:`), "~"},
}

// TestStatesWire sends what clients would not let through, and the neighbours of what has been recorded of AWS, in order to
// one server: testdata/states-wire.txt has each call and its answer. In it, ~ is the beginning of ARNs, TEXT*n is repeated
// text, and TOKEN is the last page token; a header may stand before the body.
func TestStatesWire(t *testing.T) {
	const file, arns = "testdata/states-wire.txt", "arn:aws:states:us-east-1:000000000000:"
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir()})
	defer s.Stop()
	repeat := regexp.MustCompile(`(\w)\*(\d+)`)
	token, calls := "", 0
	var got strings.Builder
	for line := range strings.Lines(string(golden)) {
		call, isCall := strings.CutPrefix(line, "> ")
		if !isCall {
			if !strings.HasPrefix(line, "< ") {
				got.WriteString(line)
			}
			continue
		}
		got.WriteString(line)
		operation, body, _ := strings.Cut(strings.TrimSpace(call), " ")
		header := ""
		if !strings.HasPrefix(body, "{") {
			if header, body, _ = strings.Cut(body, " {"); body != "" {
				body = "{" + body
			} else {
				header, body = "", header
			}
		}
		body = strings.NewReplacer("~", arns, "TOKEN", token).Replace(body)
		body = repeat.ReplaceAllStringFunc(body, func(m string) string {
			n := 0
			_, _ = fmt.Sscan(m[2:], &n)
			return strings.Repeat(m[:1], n)
		})
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.Endpoint(), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amz-Target", "AWSStepFunctions."+operation)
		req.Header.Set("Content-Type", "application/x-amz-json-1.0")
		if name, value, ok := strings.Cut(header, ":"); ok {
			req.Header.Set(name, value)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			NextToken string
			Type      string `json:"__type"`
			Message   string
		}
		if err := json.Unmarshal(b, &answer); err != nil {
			t.Fatalf("%s: %s: %v", line, b, err)
		}
		if answer.NextToken != "" {
			token = answer.NextToken
		}
		text := string(b)
		if answer.Type != "" {
			text = fmt.Sprintf("%d %s: %s", res.StatusCode, answer.Type, strings.ReplaceAll(answer.Message, "\n", `\n`))
		}
		for _, v := range varying {
			text = v.pattern.ReplaceAllString(text, v.with)
		}
		fmt.Fprintf(&got, "< %s\n", text)
		calls++
	}
	if calls < 100 {
		t.Errorf("only %d calls", calls)
	}
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, have := strings.Split(string(golden), "\n"), strings.Split(got.String(), "\n")
	for i := range min(len(want), len(have)) {
		if want[i] != have[i] {
			t.Fatalf("line %d, after %s\n got %s\nwant %s", i+1, have[max(i-1, 0)], have[i], want[i])
		}
	}
	if len(want) != len(have) {
		t.Errorf("%d lines, want %d: run with -update", len(have), len(want))
	}
}
