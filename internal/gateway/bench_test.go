package gateway_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/store/memory"
)

// BenchmarkStartExecution is what the gateway adds to a call: reading, checking and writing, without socket and service.
func BenchmarkStartExecution(b *testing.B) {
	g, err := gateway.New(b.Context(), gateway.Config{Store: memory.New()})
	if err != nil {
		b.Fatal(err)
	}
	api := awscall.NewService("states")
	awscall.Handle(api, "StartExecution", func(context.Context, *statesapi.StartExecutionInput) (*statesapi.StartExecutionOutput, error) {
		return &statesapi.StartExecutionOutput{ExecutionArn: "arn:aws:states:us-east-1:000000000000:execution:m:n", StartDate: time.Unix(1, 0)}, nil
	})
	g.Register(api)
	const body = `{"stateMachineArn":"arn:aws:states:us-east-1:000000000000:stateMachine:m","input":"{\"a\":1}"}`
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("X-Amz-Target", "AWSStepFunctions.StartExecution")
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/states/aws4_request, SignedHeaders=host, Signature=x")
		r.Header.Set("X-Amz-Date", "20260101T000000Z")
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}
