package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/clock"
)

func benchServer(b *testing.B) (*Server, *http.Client) {
	s, err := Start(context.Background(), Settings{Listen: "127.0.0.1:0", DataDir: b.TempDir()}, "bench", slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Stop)
	return s, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}}
}

func send(b *testing.B, c *http.Client, method, url string, header map[string]string, body []byte) []byte {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := c.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		b.Fatalf("%s %s: %s %s (%v)", method, url, res.Status, out, err)
	}
	return out
}

func BenchmarkS3(b *testing.B) {
	s, c := benchServer(b)
	send(b, c, "PUT", s.Endpoint()+"/bench", nil, nil)
	small, large := bytes.Repeat([]byte("x"), 1<<10), bytes.Repeat([]byte("y"), 64<<20)
	var n atomic.Int64
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprintf("put-1KiB-%d-clients", clients), func(b *testing.B) {
			b.SetParallelism(clients)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					send(b, c, "PUT", fmt.Sprintf("%s/bench/k%d", s.Endpoint(), n.Add(1)), nil, small)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
	b.Run("put-64MiB", func(b *testing.B) {
		b.SetBytes(int64(len(large)))
		for b.Loop() {
			send(b, c, "PUT", s.Endpoint()+"/bench/large", nil, large)
		}
	})
	b.Run("get-64MiB", func(b *testing.B) {
		b.SetBytes(int64(len(large)))
		for b.Loop() {
			res, err := c.Get(s.Endpoint() + "/bench/large")
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, res.Body); n != int64(len(large)) || err != nil {
				b.Fatal(n, err)
			}
			res.Body.Close()
		}
	})
	b.Run("head", func(b *testing.B) {
		for b.Loop() {
			send(b, c, "HEAD", s.Endpoint()+"/bench/large", nil, nil)
		}
	})
}

// BenchmarkThreePassStates is a durable execution from StartExecution until DescribeExecution tells its end.
func BenchmarkThreePassStates(b *testing.B) {
	s, c := benchServer(b)
	call := func(op, body string) map[string]any {
		var out map[string]any
		text := send(b, c, "POST", s.Endpoint()+"/", map[string]string{"X-Amz-Target": "AWSStepFunctions." + op, "Content-Type": "application/x-amz-json-1.0"}, []byte(body))
		if err := json.Unmarshal(text, &out); err != nil {
			b.Fatal(err)
		}
		return out
	}
	definition := `{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"},"B":{"Type":"Pass","Next":"C"},"C":{"Type":"Pass","End":true}}}`
	quoted, _ := json.Marshal(definition)
	arn := call("CreateStateMachine", `{"name":"bench","roleArn":"arn:aws:iam::000000000000:role/r","definition":`+string(quoted)+`}`)["stateMachineArn"].(string)
	run := func() {
		execution := call("StartExecution", `{"stateMachineArn":"`+arn+`","input":"{}"}`)["executionArn"].(string)
		for {
			switch status := call("DescribeExecution", `{"executionArn":"`+execution+`"}`)["status"]; status {
			case "SUCCEEDED":
				return
			case "RUNNING":
			default:
				b.Fatal(status)
			}
		}
	}
	b.Run("one-client", func(b *testing.B) {
		var took []time.Duration
		now := clock.System{}.Now
		for b.Loop() {
			began := now()
			run()
			took = append(took, now().Sub(began))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	})
	b.Run("64-clients", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				call("StartExecution", `{"stateMachineArn":"`+arn+`","input":"{}"}`)
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "starts/s")
	})
}
