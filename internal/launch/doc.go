// Package launch puts the shipped pipeline (pipelines/emr) on an endpoint, runs it and follows it: what `mayfly run`
// does. It speaks to the endpoint as any client would, through the AWS APIs alone, so the same steps work by hand.
//
// It draws nothing: it gives Views while the run goes on and a Summary at the end, and package cli shows them.
package launch
