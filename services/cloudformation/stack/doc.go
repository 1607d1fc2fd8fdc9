// Package stack is the core of a CloudFormation stack: an entity of package durable that decides, and nothing else. It
// evaluates the template, orders resources by their graph, answers each result with the next commands, rolls back,
// deletes in reverse order, updates in place or by replacement, computes change sets, and says each of its events once,
// with strictly increasing times.
//
// What it does not do: it makes no call and knows no resource type; Types says the little that it must know of one, and
// its commands are carried out elsewhere. What it draws from Env is in its facts.
//
// The life of an operation:
//
//	create  work → CREATE_COMPLETE, or failed → rollback → ROLLBACK_COMPLETE (or CREATE_FAILED, or deleted)
//	update  work → cleanup → UPDATE_COMPLETE, or failed → undo → undo-cleanup → UPDATE_ROLLBACK_COMPLETE
//	delete  remove → DELETE_COMPLETE or DELETE_FAILED
//
// Invariants: a resource has at most one command under way; what a create command has made is known (its physical id)
// before anything is decided about it, so a rollback deletes it; a stack is DELETE_COMPLETE only when no resource of it
// is left but those that were to be kept.
package stack
