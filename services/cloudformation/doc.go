// Package cloudformation serves CloudFormation's API: stacks, change sets, events, outputs, exports.
//
// A stack is an entity of package durable (package stack holds its core, package template the language, package
// resource the types). This package is the shell: it reads and checks templates before anything is begun, carries out the
// stack's commands through awscall on behalf of whoever asked for the operation, publishes events to the notification
// topics in their order, and answers questions from the entity's state and the rows that it projects.
//
// Invariants: a name belongs to at most one stack that is not deleted; a template, parameter or capability that is
// refused leaves nothing behind; what a stack's commands make belongs to the execution that asked for the operation.
//
// What it does not do: transforms (SAM, macros), nested stacks, custom resources, drift, stack sets, imports of existing
// resources, stack policies, rollback triggers; each is refused by name.
package cloudformation
