// Package launch puts the shipped pipeline (pipelines/emr) on an endpoint, runs it and follows it: what `mayfly run`
// does. It speaks to the endpoint as any client would, through the AWS APIs, so the same steps work by hand. What AWS does not
// tell it reads from Mayfly: the end of a running driver's log, the kept mails, and custody's ledger, from which it counts.
//
// It draws nothing: it gives Views while the run goes on and a Summary at the end, and package cli shows them.
package launch
