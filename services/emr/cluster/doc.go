// Package cluster is the pure core of an EMR cluster: its states and reasons, the queue of its steps, what a failed step
// does, when it ends by itself. It is carried by package durable; the shell (services/emr) starts the processes.
//
// A cluster lives through STARTING, BOOTSTRAPPING, RUNNING and WAITING, TERMINATING, and TERMINATED or
// TERMINATED_WITH_ERRORS. Commands reach into the world and come back as inputs: Reserve (a lease of the machine, or the
// reason to wait for one), Provision (nodes, credentials), Bootstrap (bootstrap actions, then Spark), RunStep, Replace (a
// worker that has ended, with new nodes), TearDown; Watch comes back when the master or a worker has ended, and CancelStep
// only hastens the end of a RunStep. What comes back late, to a step that has ended or a cluster that ends, changes nothing.
//
// Invariants: nothing starts before the lease is there; steps start in the order in which they were added; never more of
// them run than the concurrency level says; a step that has ended keeps its state; whatever the path, TearDown precedes
// the end.
package cluster
