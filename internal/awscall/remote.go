package awscall

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsproto"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/sigv4"
)

// Remote calls an endpoint over HTTP: AWS itself, or a Mayfly. It speaks through the same codec as the gateway.
type Remote struct {
	// Endpoint is the base URL of all services; empty for AWS's own endpoints.
	Endpoint string
	// Region of calls whose principal has none.
	Region string
	// Credentials sign the calls. Nil: calls are not signed.
	Credentials func(context.Context) (identity.Credentials, error)
	HTTP        *http.Client // http.DefaultClient when nil
	Clock       clock.Clock  // the system's when nil
}

// Static gives always the same credentials.
func Static(c identity.Credentials) func(context.Context) (identity.Credentials, error) {
	return func(context.Context) (identity.Credentials, error) { return c, nil }
}

// maxAttempts of a call that AWS throttles or that fails on AWS's side, as the SDKs do by default.
const maxAttempts = 3

// Invoke makes the call. Its request key becomes the operation's client token, where it has one.
func (r *Remote) Invoke(ctx context.Context, c Call) (map[string]any, error) {
	m := awsapi.Load(c.Service)
	if m == nil {
		return nil, awsapi.Errorf(400, "UnknownServiceException", "There is no model of the service %s.", c.Service)
	}
	op := m.Operations[c.Operation]
	if op == nil {
		return nil, awsapi.Errorf(400, "UnknownOperationException", "There is no model of the operation %s of %s.", c.Operation, m.Metadata.ServiceFullName)
	}
	doc, err := awsproto.Normalize(m, op, WithToken(op, c))
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		out, stream, err := r.once(ctx, c, m, op, doc)
		if err == nil || stream || attempt == maxAttempts || !transient(err) {
			return out, err
		}
		if err := r.pause(ctx, time.Duration(attempt)*200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func (r *Remote) once(ctx context.Context, c Call, m *awsapi.Model, op *awsapi.Operation, doc map[string]any) (out map[string]any, stream bool, err error) {
	region := c.Principal.Region
	if region == "" {
		region = r.Region
	}
	req, body, stream, err := awsproto.NewRequest(ctx, m, op, doc, r.endpoint(m, op, region))
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("User-Agent", "mayfly")
	if r.Credentials != nil {
		creds, err := r.Credentials(ctx)
		if err != nil {
			return nil, stream, fmt.Errorf("credentials for %s %s: %w", c.Service, c.Operation, err)
		}
		sigv4.Sign(req, creds, signingRegion(m, region), m.SigningName(), body, stream, r.clock().Now())
	}
	client := r.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, stream, fmt.Errorf("call %s %s: %w", c.Service, c.Operation, err)
	}
	out, err = awsproto.ReadResponse(m, op, resp)
	return out, stream, err
}

func (r *Remote) clock() clock.Clock {
	if r.Clock == nil {
		return clock.System{}
	}
	return r.Clock
}

func (r *Remote) endpoint(m *awsapi.Model, op *awsapi.Operation, region string) string {
	if r.Endpoint != "" {
		return r.Endpoint
	}
	prefix := ""
	if op.Endpoint != nil {
		prefix = op.Endpoint.HostPrefix
	}
	if m.Name() == "iam" {
		return "https://" + m.Metadata.GlobalEndpoint
	}
	return "https://" + prefix + m.Metadata.EndpointPrefix + "." + region + ".amazonaws.com"
}

// signingRegion: AWS: IAM has one endpoint, signed for us-east-1.
func signingRegion(m *awsapi.Model, region string) string {
	if m.Name() == "iam" {
		return "us-east-1"
	}
	return region
}

// WithToken fills the operation's client token from the request key, so that AWS knows a repetition.
func WithToken(op *awsapi.Operation, c Call) map[string]any {
	if op.Input == nil {
		return c.Input
	}
	for _, m := range op.Input.To.Members {
		if !m.IdempotencyToken || c.Input[m.Name] != nil {
			continue
		}
		sum := sha256.Sum256([]byte(c.RequestKey))
		if c.RequestKey == "" {
			_, _ = rand.Read(sum[:])
		}
		in := make(map[string]any, len(c.Input)+1)
		for k, v := range c.Input {
			in[k] = v
		}
		in[m.Name] = fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
		return in
	}
	return c.Input
}

func transient(err error) bool {
	var e *awsapi.Error
	if errors.As(err, &e) {
		switch e.Code {
		case "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown":
			return true
		}
		return e.Status >= 500
	}
	return errors.Is(err, io.ErrUnexpectedEOF)
}

func (r *Remote) pause(ctx context.Context, d time.Duration) error {
	done := make(chan struct{})
	t := r.clock().AfterFunc(d, func() { close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		t.Stop()
		return ctx.Err()
	}
}
