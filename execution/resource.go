package execution

import (
	"fmt"
	"strings"
)

// Pattern is how a Task waits for what it started.
type Pattern string

const (
	RequestResponse Pattern = ""                  // done with the answer
	Sync            Pattern = ".sync"             // done when the job has ended
	Sync2           Pattern = ".sync:2"           // the same; the output is JSON
	Callback        Pattern = ".waitForTaskToken" // done when somebody brings the token back
)

// Submits reports whether the answer to the call is only the start of the task.
func (p Pattern) Submits() bool { return p != RequestResponse }

// Kind is the sort of resource that a Task names.
type Kind int

const (
	Service  Kind = iota // arn:aws:states:::lambda:invoke, arn:aws:states:::aws-sdk:s3:getObject.waitForTaskToken
	Function             // arn:aws:lambda:REGION:ACCOUNT:function:NAME, the old form
	Activity             // arn:aws:states:REGION:ACCOUNT:activity:NAME
)

// Resource is a Task's Resource, taken apart.
type Resource struct {
	ARN     string
	Kind    Kind
	Service string // "lambda", "aws-sdk:s3"; only of a Service
	API     string // "invoke"; only of a Service
	Pattern Pattern
}

// ParseResource takes a Resource apart. It does not know which services exist.
func ParseResource(arn string) (Resource, error) {
	r := Resource{ARN: arn}
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" {
		return r, fmt.Errorf("%q is no ARN", arn)
	}
	switch {
	case parts[2] == "lambda" && strings.HasPrefix(parts[5], "function:"):
		r.Kind = Function
		return r, nil
	case parts[2] == "states" && strings.HasPrefix(parts[5], "activity:"):
		r.Kind = Activity
		return r, nil
	case parts[2] != "states": // AWS: an integration may name Region and account (Developer Guide, "Task workflow state")
		return r, fmt.Errorf("%q names neither a function, an activity nor an integration", arn)
	}
	rest := parts[5]
	for _, p := range []Pattern{Sync2, Sync, Callback} {
		if s, ok := strings.CutSuffix(rest, string(p)); ok {
			rest, r.Pattern = s, p
			break
		}
	}
	i := strings.LastIndexByte(rest, ':')
	if i <= 0 || i == len(rest)-1 || strings.Contains(rest, ".") {
		return r, fmt.Errorf("%q does not name a service and an action", arn)
	}
	r.Service, r.API = rest[:i], rest[i+1:]
	return r, nil
}

// name is the resource as events spell it: "invoke.waitForTaskToken".
func (r Resource) name() string { return r.API + string(r.Pattern) }

// subject is the task as AWS's sentences about sizes spell it.
func (r Resource) subject() string {
	if r.Kind == Service {
		return r.Service
	}
	return r.ARN
}
