// Package cluster is the pure core of an EMR cluster: its states and reasons, the queue of its steps, what a failed step
// does, when it ends by itself. It is carried by package durable; the shell (services/emr) starts the processes.
//
// A cluster lives through STARTING, BOOTSTRAPPING, RUNNING and WAITING, TERMINATING, and TERMINATED or
// TERMINATED_WITH_ERRORS. Four commands reach into the world and come back as inputs: Provision (nodes, credentials),
// Bootstrap (bootstrap actions, then Spark), RunStep, TearDown; Watch comes back when Spark has died, and CancelStep only
// hastens the end of a RunStep. What comes back late, to a step that has ended or a cluster that ends, changes nothing.
//
// Invariants: steps start in the order in which they were added; never more of them run than the concurrency level says;
// a step that has ended keeps its state; whatever the path, TearDown precedes the end.
package cluster
