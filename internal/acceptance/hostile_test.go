package acceptance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestHostileRequests sends what no client sends: bodies that are cut short, endless, deep or no text, headers without end,
// contents of other types. Each is answered with a 4xx that says why, and the server lives on and stays small.
func TestHostileRequests(t *testing.T) {
	built(t)
	s := serve(t, port(t))
	const list = "X-Amz-Target: AWSStepFunctions.ListStateMachines\r\nContent-Type: application/x-amz-json-1.0\r\n"
	const create = "X-Amz-Target: AWSStepFunctions.CreateStateMachine\r\nContent-Type: application/x-amz-json-1.0\r\n"
	long := func(headers, body string) string {
		return "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	}
	for name, c := range map[string]struct{ request, part string }{
		"half a body":            {"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + list + "Content-Length: 1000\r\n\r\n{\"maxResults\":", "400"},
		"a body of half a chunk": {"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + list + "Transfer-Encoding: chunked\r\n\r\nff\r\n{\"max", "400"},
		"no chunk at all":        {"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + list + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
		"two lengths":            {"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + list + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", "400"},
		"no HTTP":                {"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "400"},
		"a huge header":          {"POST / HTTP/1.1\r\nHost: x\r\nX-Filler: " + strings.Repeat("x", 3<<20) + "\r\n\r\n", "431"},
		"many headers":           {"POST / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-Filler: x\r\n", 200_000) + "\r\n", "431"},
		"deep arrays":            {long(list, strings.Repeat("[", 1<<20)), "SerializationException"},
		"deep objects":           {long(list, strings.Repeat(`{"a":`, 200_000)), "SerializationException"},
		"deep objects, complete": {long(list, strings.Repeat(`{"a":`, 200_000)+"1"+strings.Repeat("}", 200_000)), "SerializationException"},
		"an array":               {long(list, `[]`), "SerializationException"},
		"a string":               {long(list, `"x"`), "SerializationException"},
		"no UTF-8":               {long(create, "{\"name\":\"\xff\xfe\",\"definition\":\"{}\",\"roleArn\":\"r\"}"), "400"},
		"a number for a name":    {long(create, `{"name":5,"definition":"{}","roleArn":"`+role+`"}`), "SerializationException"},
		"a list for a name":      {long(create, `{"name":["a"],"definition":"{}","roleArn":"`+role+`"}`), "SerializationException"},
		"a text for a number":    {long(list, `{"maxResults":"many"}`), "SerializationException"},
		"a number beyond all":    {long(list, `{"maxResults":1e400}`), "SerializationException"},
		"a fraction":             {long(list, `{"maxResults":1.5}`), "SerializationException"},
		"a NUL in a name":        {long(create, `{"name":"a\u0000b","definition":"{}","roleArn":"`+role+`"}`), "InvalidName"},
		"what follows the body":  {long(list, `{} {}`), "SerializationException"},
		"a form for JSON":        {long("X-Amz-Target: AWSStepFunctions.ListStateMachines\r\nContent-Type: application/x-www-form-urlencoded\r\n", "Action=ListStateMachines"), "400"},
		"CBOR":                   {long("X-Amz-Target: AWSStepFunctions.ListStateMachines\r\nContent-Type: application/cbor\r\nSmithy-Protocol: rpc-v2-cbor\r\n", "\xa0"), "400"},
		"a query of escapes":     {long("Content-Type: application/x-www-form-urlencoded\r\n", "Action=ListTopics&Version=2010-03-31&x=%zz"), "MethodNotAllowed"},
		"a list without end":     {long("Content-Type: application/x-www-form-urlencoded\r\n", "Action=Publish&Version=2010-03-31&Message=x&TopicArn=arn:aws:sns:us-east-1:000000000000:t&MessageAttributes.entry.999999999.Name=a"), "Topic does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if answer := s.speak(t, strings.NewReader(c.request)); !strings.HasPrefix(answer, "HTTP/1.1 4") || !strings.Contains(answer, c.part) {
				t.Errorf("answered %.400q, want a 4xx with %s", answer, c.part)
			}
		})
	}
	t.Run("a gigabyte", func(t *testing.T) {
		body := io.MultiReader(strings.NewReader("POST / HTTP/1.1\r\nHost: x\r\n"+list+"Content-Length: 1073741824\r\n\r\n"), io.LimitReader(repeat("["), 1<<30))
		if answer := s.speak(t, body); answer != "" && !strings.HasPrefix(answer, "HTTP/1.1 413") { // or the line is cut
			t.Errorf("answered %.400q", answer)
		}
	})
	t.Cleanup(func() { s.small(t, 300) })
}

// speak sends bytes and reads the answer.
func (s *server) speak(t *testing.T, request io.Reader) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, request) // the server may hang up: what it says tells
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.Proto + " " + resp.Status + " " + fmt.Sprint(resp.Header) + " " + string(b)
}

// repeat is a reader of one text again and again.
type repeat string

func (r repeat) Read(p []byte) (n int, err error) {
	for n < len(p) {
		n += copy(p[n:], r)
	}
	return n, nil
}

// small checks that the server has never had more megabytes of memory than most.
func (s *server) small(t *testing.T, most int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Skipf("no /proc here: %v", err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the server had %d MB at most", kilobytes>>10)
	if kilobytes>>10 > most {
		t.Errorf("the server took %d MB, and %d are the most", kilobytes>>10, most)
	}
}

// TestHostileDefinitions runs definitions that few characters make endless or huge, two at once. Each execution fails with
// the error of AWS, and the server answers others meanwhile and stays small.
func TestHostileDefinitions(t *testing.T) {
	built(t)
	s := serve(t, port(t))
	calls := caller(s.endpoint())
	deep := strings.Repeat("[", 200) + `"` + strings.Repeat("x", 100_000) + `"` + strings.Repeat("]", 200)
	text := `{"x":"` + strings.Repeat("x", 200_000) + `"}`
	lists := `{"a":[[` + strings.Repeat("1,", 50_000) + `1]],"b":[` + strings.Repeat("2,", 50_000) + `2]}`
	pass := func(fields string) string {
		return `{"StartAt":"A","States":{"A":{"Type":"Pass",` + fields + `,"End":true}}}`
	}
	query := func(expression string) string {
		return `{"QueryLanguage":"JSONata",` + pass(`"Output":"{% ` + expression + ` %}"`)[1:]
	}
	turns := make(chan struct{}, 2) // at once on any machine, as the memory of all together is looked at
	for name, c := range map[string]struct{ definition, input, err, part string }{
		"a gigabyte by States.Format":  {pass(`"Parameters":{"a.$":"States.Format('` + strings.Repeat("{}", 5000) + `'` + strings.Repeat(",$.x", 5000) + `)"}`), text, "States.IntrinsicFailure", "size"},
		"a gigabyte by States.Array":   {pass(`"Parameters":{"a.$":"States.Array(` + strings.Repeat("$.x,", 5000) + `$.x)"}`), text, "States.IntrinsicFailure", "size"},
		"a gigabyte by a template":     {pass(`"Parameters":{"a":[` + strings.Repeat(`{"b.$":"$.x"},`, 5000) + `0]}`), text, "States.DataLimitExceeded", "size"},
		"a gigabyte by ArrayRange":     {pass(`"Parameters":{"a.$":"States.ArrayRange(0,1000000000,1)"}`), "{}", "States.IntrinsicFailure", "1000"},
		"a gigabyte by $pad":           {query(`$pad('', 1000000000)`), "{}", "States.QueryEvaluationError", "memory limit"},
		"a gigabyte by $range":         {query(`$range(0, 1000000000, 1)`), "{}", "States.QueryEvaluationError", "memory limit"},
		"a gigabyte by ..":             {query(`[0..1000000000]`), "{}", "States.QueryEvaluationError", ""},
		"a gigabyte by doubling":       {query(`$reduce([1..60], function($s, $i){$s & $s}, 'double')`), "{}", "States.QueryEvaluationError", "memory limit"},
		"a gigabyte by $string":        {query(`($s := $pad('', 1000000); $string($map([1..10000], function(){$s})))`), "{}", "States.QueryEvaluationError", "memory limit"},
		"a gigabyte by $replace":       {query(`$replace($pad('', 100000, 'a'), /a+/, $pad('', 1000000, '$0'))`), "{}", "States.QueryEvaluationError", "memory limit"},
		"endless recursion":            {query(`($f := function($n){1 + $f($n)}; $f(1))`), "{}", "States.QueryEvaluationError", "Stack overflow"},
		"an endless loop":              {query(`($f := function($n){$f($n)}; $f(1))`), "{}", "States.QueryEvaluationError", "infinite loop"},
		"a regular expression":         {query(`$contains($pad('', 1000000, 'a'), /(a+)+(a*)*` + strings.Repeat("(a{0,900})", 6) + `b/)`), "{}", "States.QueryEvaluationError", "timeout"},
		"a regular expression, nested": {query(`$contains($pad('', 1000000, 'a'), /^(a+)+$/) ? $error('done') : 1`), "{}", "States.QueryEvaluationError", "done"},
		"a path explosion":             {pass(`"InputPath":"$..*..*"`), deep, "States.Runtime", "too many values"},
		"a filter of all with all":     {pass(`"InputPath":"$.a[?(@ anyof $.b)]"`), lists, "States.Runtime", "too many values"},
		"expressions again and again":  {`{"QueryLanguage":"JSONata",` + pass(`"Output":[` + strings.Repeat(`"{% $count($map([1..800000], function($x){1})) %}",`, 1000) + `0]`)[1:], "{}", "States.QueryEvaluationError", "timeout"},
		"an endless chain of states":   {`{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"},"B":{"Type":"Choice","Choices":[{"Variable":"$","IsPresent":true,"Next":"A"}],"Default":"C"},"C":{"Type":"Succeed"}}}`, `"` + strings.Repeat("x", 20_000) + `"`, "States.Runtime", "maximum number of history events"},
		"a value that doubles":         {`{"StartAt":"A","States":{"A":{"Type":"Pass","Parameters":{"a.$":"$","b.$":"$"},"Next":"B"},"B":{"Type":"Choice","Choices":[{"Variable":"$","IsPresent":true,"Next":"A"}],"Default":"C"},"C":{"Type":"Succeed"}}}`, "{}", "States.DataLimitExceeded", "size"},
		"variables that grow":          {`{"QueryLanguage":"JSONata","StartAt":"A","States":{"A":{"Type":"Pass","Assign":{"v":"{% $exists($v) ? [$v, $v] : 'x' %}"},"Next":"B"},"B":{"Type":"Choice","Choices":[{"Condition":"{% true %}","Next":"A"}],"Default":"C"},"C":{"Type":"Succeed"}}}`, "{}", "States.DataLimitExceeded", "size"},
		"maps in maps":                 {`{"StartAt":"A","States":{"A":{"Type":"Map","ItemsPath":"$.b","ItemSelector":{"b.$":"$.b"},"End":true,"ItemProcessor":{"StartAt":"M","States":{"M":{"Type":"Map","ItemsPath":"$.b","End":true,"ItemProcessor":{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}}}}}}}`, lists, "States.Runtime", "maximum number of history events"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			turns <- struct{}{}
			defer func() { <-turns }()
			m, err := calls(t.Context(), "states", "CreateStateMachine", map[string]any{"name": strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
					return r
				}
				return '-'
			}, name), "definition": c.definition, "roleArn": role})
			if err != nil {
				t.Fatal(err)
			}
			e, err := calls(t.Context(), "states", "StartExecution", map[string]any{"stateMachineArn": m["stateMachineArn"], "input": c.input})
			if err != nil {
				t.Fatal(err)
			}
			arn := e["executionArn"].(string)
			if status := s.end(t, arn, 120*time.Second); status != "FAILED" {
				t.Fatalf("the execution is %s", status)
			}
			d, err := calls(t.Context(), "states", "DescribeExecution", map[string]any{"executionArn": arn})
			if err != nil {
				t.Fatal(err)
			}
			cause, _ := d["cause"].(string)
			if d["error"] != c.err || !strings.Contains(cause, c.part) {
				t.Errorf("the error is %v: %.300s; want %s with %q", d["error"], cause, c.err, c.part)
			}
		})
	}
	t.Cleanup(func() { s.small(t, 2000) })
}
