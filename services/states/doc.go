// Package states serves the API of AWS Step Functions: state machines, executions, task tokens, activities, tags.
//
// Definitions are judged by package asl and executions are run by package engine; here are the rules of the API: names
// and ARNs, what is idempotent, AWS's error codes and sentences, pages.
//
// Invariants: a state machine, an activity and their tags are one row each, written by version; an execution's ARN
// follows from its request key where there is one, so that a repeated start finds the first; page tokens are made of
// what was listed last, so they outlive the server; what AWS does not have is registered as the service mayfly
// (extension.go), and changes no answer of AWS's operations.
//
// A version is a copy of its machine's row, and an alias a row that leads to versions; both change only together with the
// machine's row, so that no version goes while an alias comes to lead to it.
//
// TestState (test_state.go) visits one state with the core that executions use, and shows what Visit.See hears; what AWS
// refuses before stands in test_state_check.go.
package states
