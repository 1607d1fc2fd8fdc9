// Package conformance runs recorded cases of AWS Step Functions against an endpoint and says how much of them the
// endpoint reproduces. The cases are data (see the README beside them); this package sends what was sent to AWS,
// brings the answers into the form in which the recordings are, and compares.
//
// Two strictness levels:
//
//   - result: status, output, error and cause of an execution; the outcome of a single call;
//   - history: the whole normalised event list of an execution; for single calls the whole normalised answer.
//
// It speaks HTTP with a small transport of its own rather than with Mayfly's codec, so that a fault of the codec shows.
//
// passing.txt lists the cases that pass; TestConformance fails when a listed one does not, so the list only grows.
package conformance
