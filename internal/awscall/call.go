// Package awscall is the one caller of AWS APIs: every part that needs an AWS service calls it by name with a
// document, and configuration decides whether Mayfly answers in process or AWS does over HTTP.
//
// It does not know any operation's shape; package awsapi does.
package awscall

import (
	"context"

	"github.com/mayfly-run/mayfly/internal/identity"
)

// Call is one API call, before it has any wire form.
type Call struct {
	Principal identity.Principal
	// RequestKey makes the call repeatable: a service that has already answered this key gives the same answer and
	// changes nothing. Empty for calls that nobody repeats.
	RequestKey string
	Service    string // the signing name: "states", "elasticmapreduce", "s3", "cloudformation", …
	Operation  string // as the model spells it: "CreateStack"
	// Input holds the members by the model's names. Values are nil, bool, string, json.Number or any Go integer or
	// float, time.Time, []byte (blobs), io.Reader (streams), []any and map[string]any.
	Input map[string]any
}

// Caller makes calls. The error of a call that AWS would refuse is an *awsapi.Error.
// Output values are bool, string, int64, float64, time.Time, []byte, io.ReadCloser (streams), []any, map[string]any.
type Caller interface {
	Invoke(ctx context.Context, c Call) (map[string]any, error)
}
