// Package gateway is the one way in: HTTP requests and in-process calls meet here, and take the same path through
// principal, request id, receipt, validation, handler and log.
//
// For HTTP it finds out which service a request is for, who signs it, and has package awsproto read and write the wire
// form. The key ring (an identity.Issuer) makes the credentials of what Mayfly runs, so that every later call is known to be
// on the same behalf. In process, Invoke is awscall.Caller.
//
// It knows no operation's meaning and keeps no state but the key ring's rows.
//
// Invariants: a key that Mayfly issued is always verified, and a revoked one is refused, never taken for a stranger's; other
// keys are checked when credentials are configured. A repeated request key is answered from its receipt. What is not
// implemented is a 4xx error of the service's protocol that names it.
package gateway
