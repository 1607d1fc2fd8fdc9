// Package identity says who acts: a person with a key, or something that Mayfly itself runs on somebody's behalf.
//
// A Principal travels with every call, is stored with what the call makes, and is used by what that later does:
// execution → invocation → CreateStack → stack operation → RunJobFlow. That chain is how custody knows which
// execution a cluster belongs to, with nothing asked of the pipeline's author.
package identity

import (
	"context"
	"errors"
)

// Kind is what sort of actor a Principal is.
type Kind string

const (
	User           Kind = "user"            // a person or program with a key of its own
	Execution      Kind = "execution"       // an execution's Task states
	Invocation     Kind = "invocation"      // a Lambda function's code while it serves one invocation
	StackOperation Kind = "stack-operation" // CloudFormation, creating or deleting resources
	Cluster        Kind = "cluster"         // programs on a cluster
	Service        Kind = "service"         // Mayfly's own parts, e.g. the reaper
)

// Principal is who makes a call. It is stored with what the call makes.
type Principal struct {
	Kind    Kind   `json:"kind"`
	Account string `json:"account"` // 12 digits
	Region  string `json:"region"`
	// ARN is what GetCallerIdentity answers.
	ARN string `json:"arn"`
	// Entity names the actor itself: an execution's ARN, an invocation's request id, a stack's id, a cluster's id.
	Entity string `json:"entity,omitempty"`
	// Execution is the ARN of the execution on whose behalf all of this happens: the nearest one in the chain.
	// Empty for what a person's own call started.
	Execution string `json:"execution,omitempty"`
	// Service is the AWS service that makes the call itself, "sns.amazonaws.com", and Source the ARN of what makes it do so.
	// A resource's policy judges them; empty for all that calls with a role or a key.
	Service string `json:"service,omitempty"`
	Source  string `json:"source,omitempty"`
}

// On is p acting as another entity on the same behalf.
func (p Principal) On(kind Kind, entity, arn string) Principal {
	p.Kind, p.Entity, p.ARN = kind, entity, arn
	p.Service, p.Source = "", ""
	return p
}

// Credentials are an access key that the gateway recognises as one Principal.
type Credentials struct {
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
	SessionToken    string `json:"sessionToken,omitempty"`
}

// Issuer makes credentials for what Mayfly runs: function instances, clusters, stack operations.
// The gateway's key ring is the implementation.
type Issuer interface {
	// Issue makes durable credentials for p: they are known again after a restart, until revoked.
	Issue(ctx context.Context, p Principal) (Credentials, error)
	// Rebind says for whom the key acts from now on; a function instance serves one invocation at a time.
	// It is kept in memory only: instances end with the server.
	Rebind(accessKeyID string, p Principal)
	// Revoke forgets the key. An unknown key is no error.
	Revoke(ctx context.Context, accessKeyID string) error
}

// ErrUnknownKey says that an access key was never issued here, or was revoked.
var ErrUnknownKey = errors.New("unknown access key")

type ctxKey int

const (
	principalKey ctxKey = iota
	requestKey
)

// With returns a context that carries p.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey, p)
}

// From is the principal that ctx carries; the zero Principal when there is none.
func From(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey).(Principal)
	return p
}

// WithRequest returns a context that carries the request id of the call.
func WithRequest(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestKey, id)
}

// Request is the request id that ctx carries, or "".
func Request(ctx context.Context) string {
	id, _ := ctx.Value(requestKey).(string)
	return id
}
