package daemon

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/metrics/metricstest"
)

// TestHTTPTask calls an API with a connection, from EventBridge's CreateConnection to what a failure leaves behind.
func TestHTTPTask(t *testing.T) {
	var seen []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = append(seen, r.Method+" "+r.URL.String()+" "+r.Header.Get("X-Key")+" "+r.UserAgent()+" "+string(body))
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/bad" {
			w.WriteHeader(409)
		}
		io.WriteString(w, `{"hello":"world"}`)
	}))
	defer api.Close()
	s := start(t, Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir()})
	defer s.Stop()
	call := func(target string, in map[string]any) map[string]any {
		t.Helper()
		body, _ := json.Marshal(in)
		req, _ := http.NewRequest("POST", s.Endpoint(), bytes.NewReader(body))
		req.Header.Set("X-Amz-Target", target)
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		if strings.Contains(string(text), "secret-value") && in["revealSecrets"] == nil {
			t.Errorf("%s tells a secret: %s", target, text)
		}
		var out map[string]any
		if err := json.Unmarshal(text, &out); err != nil || res.StatusCode != 200 {
			t.Fatalf("%s: %s %s", target, res.Status, text)
		}
		return out
	}
	connection := call("AWSEvents.CreateConnection", map[string]any{"Name": "c", "AuthorizationType": "API_KEY",
		"AuthParameters": map[string]any{"ApiKeyAuthParameters": map[string]any{"ApiKeyName": "X-Key", "ApiKeyValue": "secret-value"}}})["ConnectionArn"].(string)
	call("AWSEvents.DescribeConnection", map[string]any{"Name": "c"})
	state := func(path string) string {
		b, _ := json.Marshal(map[string]any{"Type": "Task", "Resource": "arn:aws:states:::http:invoke", "End": true, "Parameters": map[string]any{
			"ApiEndpoint": api.URL + path, "Method": "POST", "Authentication": map[string]any{"ConnectionArn": connection}, "RequestBody.$": "$"}})
		return string(b)
	}
	run := func(name, path string) (string, map[string]any) {
		t.Helper()
		machine := call("AWSStepFunctions.CreateStateMachine", map[string]any{"name": name, "type": "STANDARD", "roleArn": "arn:aws:iam::000000000000:role/r",
			"definition": `{"StartAt":"Call","States":{"Call":` + state(path) + `}}`})["stateMachineArn"]
		arn := call("AWSStepFunctions.StartExecution", map[string]any{"stateMachineArn": machine, "input": `{"a":1}`})["executionArn"].(string)
		for {
			if d := call("AWSStepFunctions.DescribeExecution", map[string]any{"executionArn": arn}); d["status"] != "RUNNING" {
				return arn, d
			}
		}
	}
	if _, d := run("good", "/good"); d["status"] != "SUCCEEDED" || !strings.Contains(d["output"].(string), `"ResponseBody":{"hello":"world"},"StatusCode":200,"StatusText":"OK"}`) {
		t.Errorf("%v", d)
	}
	if want := `POST /good secret-value Amazon|StepFunctions|HttpInvoke|us-east-1 {"a":1}`; len(seen) != 1 || seen[0] != want {
		t.Errorf("%q", seen)
	}
	arn, d := run("bad", "/bad")
	if d["error"] != "States.Http.StatusCode.409" || d["cause"] != "Conflict" {
		t.Errorf("%v", d)
	}
	f := call("Mayfly.DescribeTaskFailure", map[string]any{"executionArn": arn})
	if f["error"] != "States.Http.StatusCode.409" || f["cause"] != "Conflict" || f["eventId"] != 5.0 || !strings.Contains(f["response"].(string), `"ResponseBody":{"hello":"world"},"StatusCode":409`) {
		t.Errorf("%v", f)
	}
	res, err := http.Get(s.Endpoint() + MetricsPath)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(res.Body)
	res.Body.Close()
	families, err := metricstest.Parse(string(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	for series, want := range map[string]float64{`executions_succeeded_total{state_machine_arn="arn:aws:states:us-east-1:000000000000:stateMachine:good",version="",alias=""}`: 1,
		`service_integration_failed_total{service_integration_resource_arn="arn:aws:states:::http:invoke"}`: 1,
		`state_machines{account="000000000000",region="us-east-1"}`:                                         2,
		`open_executions{account="000000000000",region="us-east-1"}`:                                        0,
		`api_requests_total{api_name="StartExecution"}`:                                                     2} {
		name, _, _ := strings.Cut("mayfly_states_"+series, "{")
		if f := families[name]; f == nil || f.Series["mayfly_states_"+series] != want {
			t.Errorf("no %s %g in\n%s", series, want, text)
		}
	}
	for _, reveal := range []bool{false, true} {
		in := map[string]any{"definition": state("/bad"), "roleArn": "arn:aws:iam::000000000000:role/r", "inspectionLevel": "TRACE", "input": `{}`}
		if reveal {
			in["revealSecrets"] = true
		}
		out := call("AWSStepFunctions.TestState", in)
		text, _ := json.Marshal(out["inspectionData"])
		if out["error"] != "States.Http.StatusCode.409" || strings.Contains(string(text), "X-Key: secret-value") != reveal ||
			!strings.Contains(string(text), `"statusCode":"409"`) || !strings.Contains(string(text), `"body":"{\"hello\":\"world\"}"`) {
			t.Errorf("reveal %v: %v", reveal, out)
		}
	}
}
