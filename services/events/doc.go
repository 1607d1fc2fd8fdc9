// Package events serves the connections of Amazon EventBridge: what HTTP tasks sign their requests with. Buses, rules and
// destinations are not here; Deliveries bring the events of Mayfly itself to one queue.
//
// A connection is two rows: what everybody may see, and its secrets. No answer and no log line is made from the second;
// Authorize alone reads it, for the HTTP task that is about to call. On AWS the secrets lie in Secrets Manager, under the
// SecretArn that a connection shows; here that ARN is only a name.
//
// AWS authorizes an OAuth connection after the call that made it was answered; here the token server is asked before the
// answer, so that a state AUTHORIZING is never seen.
package events
