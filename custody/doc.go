// Package custody sees to it that no cluster outlives the executions it was made for, with nothing asked of a pipeline's
// author. Whatever an execution makes, directly or through a function and a stack, carries its Principal; a cluster, or a
// stack that holds one, has a lease here, an entity of package durable. The lease ends when its maker and all the
// executions above it have ended, in whatever way; executions below do not hold it, and what a person's own call made has
// none. Then the stack is deleted, and when that fails the clusters in it are ended directly, termination protection or
// not. Each decision is written to a ledger with its reason. A tag opts out: mayfly:custody=off.
//
// The first and the last record of each stack and cluster send word here (Began, Over), so the ledger also says what was made
// on whose behalf and what is left of it; a stack that holds no cluster is only entered.
//
// Two ways lead to the end of a lease. The closing record of an execution sends a release to the leases that it holds
// (Custody.Closed, given to the engine). And the reaper, at start and every 15 seconds, compares what lives with who owns
// it: it is the net that finds what was made a moment ago and what a crash has cut off.
//
// What it does not do: it ends nothing but clusters and stacks with clusters, and it knows no service's insides: what
// lives and which executions run are told to it by the functions in Config.
//
// Invariants: a lease that is released has an execution chain that has ended, all of it, as read after the release; a
// chain that cannot be read holds its lease; a decision is in the ledger before it is carried out.
package custody
