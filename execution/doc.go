// Package execution is the pure core of Step Functions: what is known of an execution (Snapshot), what can happen to it
// (Input), what comes of that (Decision), and how it is folded (Apply).
//
// Decide answers one outside input: it evaluates states until each of them waits for something outside, and returns
// facts, commands and timers. Facts are public history events and private notes; Apply is the only way in which a
// Snapshot changes, live and in recovery, so folding the facts of a journal gives the same Snapshot, and nothing is
// evaluated twice.
//
// Invariants: no clock, no I/O, no goroutine, no randomness but the seed in Env, no map order. Events are numbered from
// 1 without gaps. A closed execution has no tasks and no timers. Each attempt of a task has an id of its own; what comes
// for another id changes nothing.
//
// Read next: testdata/histories, where each file tells an execution as a story; then decide.go.
package execution
