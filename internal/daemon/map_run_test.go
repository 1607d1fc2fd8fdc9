package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/mayfly-run/mayfly/internal/clock"
)

// TestKillWhileMapping kills the server with SIGKILL while a map run reads a CSV file and runs a child for each row. At the
// end each row has one child, and the ResultWriter's files hold each of them once.
func TestKillWhileMapping(t *testing.T) {
	rows, kills := 3000, 4
	if testing.Short() {
		rows, kills = 600, 1
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, dir := l.Addr().String(), t.TempDir()
	l.Close()
	seed := uint64(clock.System{}.Now().UnixNano())
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	server := victim(t, dir, address)
	defer func() { server.Process.Kill(); server.Wait() }()
	object := func(method, path, body string) string {
		t.Helper()
		req, _ := http.NewRequest(method, "http://"+address+path, strings.NewReader(body))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%s %s: %s %s %v", method, path, res.Status, text, err)
		}
		return string(text)
	}
	call := func(operation string, in map[string]any) map[string]any {
		t.Helper()
		body, _ := json.Marshal(in)
		req, _ := http.NewRequest("POST", "http://"+address, bytes.NewReader(body))
		req.Header.Set("X-Amz-Target", "AWSStepFunctions."+operation)
		req.Header.Set("Content-Type", "application/x-amz-json-1.0")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var out map[string]any
		text, _ := io.ReadAll(res.Body)
		if err := json.Unmarshal(text, &out); err != nil || res.StatusCode != 200 {
			t.Fatalf("%s: %s %s", operation, res.Status, text)
		}
		return out
	}
	object("PUT", "/rows", "")
	var csv strings.Builder
	csv.WriteString("n\n")
	for i := range rows {
		fmt.Fprintln(&csv, i)
	}
	object("PUT", "/rows/in.csv", csv.String())
	machine := call("CreateStateMachine", map[string]any{"name": "map", "roleArn": "arn:aws:iam::000000000000:role/r", "definition": `{"StartAt":"Each","States":{"Each":{"Type":"Map","Label":"each",
	  "ItemReader":{"Resource":"arn:aws:states:::s3:getObject","ReaderConfig":{"InputType":"CSV","CSVHeaderLocation":"FIRST_ROW"},"Parameters":{"Bucket":"rows","Key":"in.csv"}},
	  "ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},"StartAt":"Row","States":{"Row":{"Type":"Pass","End":true}}},
	  "ResultWriter":{"Resource":"arn:aws:states:::s3:putObject","Parameters":{"Bucket":"rows","Prefix":"out"}},"End":true}}}`})["stateMachineArn"]
	execution := call("StartExecution", map[string]any{"stateMachineArn": machine})["executionArn"]
	succeeded := func() (run string, n int) {
		t.Helper()
		for {
			if runs := call("ListMapRuns", map[string]any{"executionArn": execution})["mapRuns"].([]any); len(runs) > 0 {
				run = runs[0].(map[string]any)["mapRunArn"].(string)
				counts := call("DescribeMapRun", map[string]any{"mapRunArn": run})["itemCounts"].(map[string]any)
				return run, int(counts["succeeded"].(float64))
			}
		}
	}
	for k := range kills {
		at := rows * (k + 1) / (kills + 2)
		at += draw.IntN(rows / (kills + 2))
		for _, n := succeeded(); n < at; _, n = succeeded() {
		}
		server.Process.Signal(syscall.SIGKILL)
		server.Wait()
		server = victim(t, dir, address)
	}
	var d map[string]any
	for d == nil || d["status"] == "RUNNING" {
		d = call("DescribeExecution", map[string]any{"executionArn": execution})
	}
	run, n := succeeded()
	if d["status"] != "SUCCEEDED" || n != rows {
		t.Fatalf("%d of %d rows: %v", n, rows, d)
	}
	var output struct {
		MapRunArn           string
		ResultWriterDetails struct{ Bucket, Key string }
	}
	if err := json.Unmarshal([]byte(d["output"].(string)), &output); err != nil || output.MapRunArn != run {
		t.Fatalf("%v: %v", d["output"], err)
	}
	var manifest struct {
		ResultFiles struct {
			SUCCEEDED       []struct{ Key string }
			FAILED, PENDING []any
		}
	}
	if err := json.Unmarshal([]byte(object("GET", "/rows/"+output.ResultWriterDetails.Key, "")), &manifest); err != nil || len(manifest.ResultFiles.FAILED)+len(manifest.ResultFiles.PENDING) > 0 {
		t.Fatalf("%+v: %v", manifest, err)
	}
	seen, names := map[string]bool{}, map[string]bool{}
	for _, f := range manifest.ResultFiles.SUCCEEDED {
		var results []struct{ Output, Name, Status string }
		if err := json.Unmarshal([]byte(object("GET", "/rows/"+f.Key, "")), &results); err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if seen[r.Output] || names[r.Name] || r.Status != "SUCCEEDED" {
				t.Errorf("%+v comes twice, or has not succeeded", r)
			}
			seen[r.Output], names[r.Name] = true, true
		}
	}
	if len(seen) != rows {
		t.Errorf("%d results of %d rows", len(seen), rows)
	}
}
