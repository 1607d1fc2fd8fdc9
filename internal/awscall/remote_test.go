package awscall_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/awsproto"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/sigv4"
)

var creds = identity.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret", SessionToken: "session"}

// endpoint answers one service with the server's half of the codec, after checking the signature.
func endpoint(t *testing.T, service string, answer func(op string, in map[string]any) (map[string]any, error)) *awscall.Remote {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := awsapi.Load(service)
		sig, err := sigv4.Parse(r)
		if err != nil {
			t.Errorf("%s: %v", service, err)
		}
		q, err := awsproto.Open(m, r, 1<<20)
		if err != nil {
			q.Fail(w, err, "id")
			return
		}
		if err := sig.Verify(r, creds.SecretAccessKey, sigv4.PayloadHash(r, q.Body), clock.System{}.Now()); err != nil {
			t.Errorf("%s %s: %v", service, q.Operation.Name, err)
		}
		in, err := q.Decode()
		if err != nil {
			q.Fail(w, err, "id")
			return
		}
		out, err := answer(q.Operation.Name, in)
		if err != nil {
			q.Fail(w, err, "id")
			return
		}
		if err := q.Respond(w, out, "id"); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return &awscall.Remote{Endpoint: s.URL, Region: "us-east-1", Credentials: awscall.Static(creds), Clock: clock.System{}}
}

func invoke(t *testing.T, r *awscall.Remote, service, op string, in map[string]any) (map[string]any, error) {
	t.Helper()
	return r.Invoke(t.Context(), awscall.Call{Service: service, Operation: op, Input: in})
}

// TestRoundTrip: what goes in comes out at the other side, in each protocol, signed.
func TestRoundTrip(t *testing.T) {
	when := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		service, op string
		in, out     map[string]any
	}{
		{"states", "StartExecution", map[string]any{"stateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:M", "input": `{"a":"ü"}`},
			map[string]any{"executionArn": "arn:x", "startDate": when}},
		{"elasticmapreduce", "TerminateJobFlows", map[string]any{"JobFlowIds": []any{"j-1", "j-2"}}, map[string]any{}},
		{"cloudformation", "CreateStack", map[string]any{"StackName": "a", "Capabilities": []any{"CAPABILITY_IAM"}, "TimeoutInMinutes": int64(5),
			"Parameters": []any{map[string]any{"ParameterKey": "k", "ParameterValue": "v & <w>"}}}, map[string]any{"StackId": "arn:y"}},
		{"cloudformation", "DescribeStacks", map[string]any{"StackName": "a"}, map[string]any{"Stacks": []any{map[string]any{
			"StackName": "a", "StackStatus": "CREATE_COMPLETE", "CreationTime": when, "Outputs": []any{map[string]any{"OutputKey": "K", "OutputValue": "V"}}}}}},
		{"ec2", "CreateKeyPair", map[string]any{"KeyName": "k"}, map[string]any{"KeyName": "k", "KeyMaterial": "m"}},
		{"lambda", "GetFunction", map[string]any{"FunctionName": "f"}, map[string]any{"Configuration": map[string]any{"FunctionName": "f", "Timeout": int64(3)}}},
		{"s3", "ListObjectsV2", map[string]any{"Bucket": "bkt", "Prefix": "a b/", "MaxKeys": int64(1)}, map[string]any{"Contents": []any{map[string]any{"Key": "a b/c", "Size": int64(4)}}, "KeyCount": int64(1)}},
		{"s3", "HeadObject", map[string]any{"Bucket": "bkt", "Key": "a/b c+d~é"}, map[string]any{"ContentType": "text/x", "Metadata": map[string]any{"m": "1"}}},
	} {
		t.Run(c.service+" "+c.op, func(t *testing.T) {
			r := endpoint(t, c.service, func(op string, in map[string]any) (map[string]any, error) {
				if op != c.op {
					t.Errorf("it was %s", op)
				}
				if d := cmp.Diff(c.in, in); d != "" {
					t.Errorf("input (-sent +got):\n%s", d)
				}
				return c.out, nil
			})
			out, err := invoke(t, r, c.service, c.op, c.in)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.out, out); d != "" {
				t.Errorf("output (-sent +got):\n%s", d)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	var got string
	r := endpoint(t, "s3", func(op string, in map[string]any) (map[string]any, error) {
		if op == "GetObject" {
			return map[string]any{"Body": io.NopCloser(strings.NewReader(got)), "ContentLength": int64(len(got))}, nil
		}
		b, err := io.ReadAll(in["Body"].(io.Reader))
		got = string(b)
		return map[string]any{"ETag": `"e"`}, err
	})
	for _, body := range []any{[]byte("bytes"), bytes.NewReader([]byte("bytes")), strings.NewReader("bytes"), io.MultiReader(strings.NewReader("by"), strings.NewReader("tes"))} {
		got = ""
		out, err := invoke(t, r, "s3", "PutObject", map[string]any{"Bucket": "bkt", "Key": "k", "Body": body, "ContentLength": int64(5)})
		if err != nil || got != "bytes" || out["ETag"] != `"e"` {
			t.Errorf("%T: %q %v %v", body, got, out, err)
		}
	}
	out, err := invoke(t, r, "s3", "GetObject", map[string]any{"Bucket": "bkt", "Key": "k"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(out["Body"].(io.ReadCloser))
	if err != nil || string(b) != "bytes" {
		t.Errorf("%q %v", b, err)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		service, op string
		in          map[string]any
		err         *awsapi.Error
	}{
		{"states", "DescribeExecution", map[string]any{"executionArn": "arn:aws:states:us-east-1:000000000000:execution:M:x"}, awsapi.Errorf(400, "ExecutionDoesNotExist", "Execution does not exist")},
		{"elasticmapreduce", "DescribeCluster", map[string]any{"ClusterId": "j-1"}, awsapi.Errorf(400, "InvalidRequestException", "Cluster id 'j-1' is not valid.")},
		{"cloudformation", "DescribeStacks", map[string]any{"StackName": "a"}, awsapi.Errorf(400, "ValidationError", "Stack with id a does not exist")},
		{"ec2", "CreateKeyPair", map[string]any{"KeyName": "k"}, awsapi.Errorf(400, "InvalidKeyPair.Duplicate", "there")},
		{"lambda", "GetFunction", map[string]any{"FunctionName": "f"}, awsapi.Errorf(404, "ResourceNotFoundException", "no f")},
		{"s3", "GetObject", map[string]any{"Bucket": "bkt", "Key": "k"}, awsapi.Errorf(404, "NoSuchKey", "The specified key does not exist.")},
		{"s3", "HeadObject", map[string]any{"Bucket": "bkt", "Key": "k"}, awsapi.Errorf(404, "NotFound", "Not Found")},
	} {
		r := endpoint(t, c.service, func(string, map[string]any) (map[string]any, error) { return nil, c.err })
		_, err := invoke(t, r, c.service, c.op, c.in)
		var e *awsapi.Error
		if !errors.As(err, &e) || e.Code != c.err.Code || e.Message != c.err.Message || e.Status != c.err.Status {
			t.Errorf("%s %s: %+v, want %+v", c.service, c.op, err, c.err)
		}
	}
	r := endpoint(t, "states", func(string, map[string]any) (map[string]any, error) { t.Error("it was sent"); return nil, nil })
	for name, in := range map[string]map[string]any{"missing": {}, "unknown": {"executionArn": "a", "nothing": "x"}} {
		if _, err := invoke(t, r, "states", "DescribeExecution", in); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := invoke(t, r, "states", "NoSuch", nil); err == nil {
		t.Error("an unknown operation")
	}
	if _, err := invoke(t, r, "nothing", "NoSuch", nil); err == nil {
		t.Error("an unknown service")
	}
}

// instant runs what is to come at once.
type instant struct{ clock.System }

func (instant) AfterFunc(_ time.Duration, f func()) clock.Timer {
	return clock.System{}.AfterFunc(0, f)
}

func TestAgain(t *testing.T) {
	var n atomic.Int64
	status := 500
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) < 3 {
			w.WriteHeader(status)
			return
		}
		io.WriteString(w, `{"executionArn":"arn:x"}`)
	}))
	defer s.Close()
	r := &awscall.Remote{Endpoint: s.URL, Region: "us-east-1", Clock: instant{}}
	in := map[string]any{"stateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:M"}
	if _, err := invoke(t, r, "states", "StartExecution", in); err != nil || n.Load() != 3 {
		t.Errorf("%d tries, %v", n.Load(), err)
	}
	n.Store(0)
	status = 400
	if _, err := invoke(t, r, "states", "StartExecution", in); err == nil || n.Load() != 1 {
		t.Errorf("a refusal: %d tries, %v", n.Load(), err)
	}
	s.Close()
	if _, err := invoke(t, r, "states", "StartExecution", in); err == nil {
		t.Error("nobody there, and no error")
	}
}
