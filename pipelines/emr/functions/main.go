// Command functions is the program of all of the pipeline's Lambda functions: the handler's name, which Lambda gives in
// _HANDLER, says which of them it is.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
)

func main() {
	name := os.Getenv("_HANDLER")
	h, ok := handlers(newApp())[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "no function has the handler name %q\n", name)
		os.Exit(1)
	}
	lambda.Start(h)
}

// app is what the functions share.
type app struct {
	calls                                       awscall.Caller
	bucket, stackRole, stackTopic, innerMachine string
}

func newApp() *app {
	remote := &awscall.Remote{
		Endpoint: os.Getenv("AWS_ENDPOINT_URL"), Region: os.Getenv("AWS_REGION"), Clock: clock.System{},
		Credentials: awscall.Static(identity.Credentials{
			AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: os.Getenv("AWS_SESSION_TOKEN"),
		}),
	}
	return &app{
		calls: remote, bucket: os.Getenv("BUCKET"), stackRole: os.Getenv("STACK_ROLE"),
		stackTopic: os.Getenv("STACK_TOPIC"), innerMachine: os.Getenv("INNER_MACHINE"),
	}
}

func handlers(a *app) map[string]any {
	return map[string]any{
		"validate": typed(a.validate), "launch": typed(a.launch), "await": typed(a.await), "stack-events": typed(a.stackEvents),
		"delete": typed(a.delete), "start-step": typed(a.startStep), "report-failure": typed(a.reportFailure),
		"manifest": typed(a.manifest), "card": typed(a.card),
	}
}

// failure is an error with a name that Retry and Catch can match. Names are the pipeline's contract: README lists them.
type failure struct{ Name, Message string }

func (f *failure) Error() string { return f.Name + ": " + f.Message }

func failf(name, format string, args ...any) error {
	return &failure{name, fmt.Sprintf(format, args...)}
}

// typed gives errors the form in which Lambda reports their name.
func typed[In, Out any](f func(context.Context, In) (Out, error)) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (Out, error) {
		out, err := f(ctx, in)
		if err != nil {
			var named *failure
			if !errors.As(err, &named) {
				named = &failure{nameOf(err), err.Error()}
			}
			return out, messages.InvokeResponse_Error{Type: named.Name, Message: named.Message}
		}
		return out, nil
	}
}

// transient are the codes of answers that may be other ones soon.
var transient = []string{"Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded",
	"SlowDown", "ServiceUnavailable", "InternalFailure", "InternalError", "InternalServerError", "InternalServerException", "RequestTimeout"}

// nameOf classifies what went wrong with a call: Service.Unavailable is worth another try, all else is not.
func nameOf(err error) string {
	var api *awsapi.Error
	if !errors.As(err, &api) || api.Status >= 500 || slices.Contains(transient, api.Code) {
		return "Service.Unavailable"
	}
	return "Service." + api.Code
}

// call makes one API call; its error says which.
func (a *app) call(ctx context.Context, service, operation string, in map[string]any) (map[string]any, error) {
	out, err := a.calls.Invoke(ctx, awscall.Call{Service: service, Operation: operation, Input: in})
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", service, operation, err)
	}
	return out, nil
}

// refused says that err is an API error whose code or message has one of the parts.
func refused(err error, parts ...string) bool {
	var api *awsapi.Error
	if !errors.As(err, &api) {
		return false
	}
	for _, p := range parts {
		if api.Code == p || strings.Contains(api.Message, p) {
			return true
		}
	}
	return false
}

// The members of an answer, with the zero value for what is absent.

func at(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

func text(v any, path ...string) string {
	s, _ := at(v, path...).(string)
	return s
}

func list(v any, path ...string) []any {
	l, _ := at(v, path...).([]any)
	return l
}
