// Package history holds the public history of an execution: the 62 types of events that AWS Step Functions knows, their
// details, and the forms in which people and programs read them.
//
// An Event is a fact that is never changed. Events are numbered from 1 without gaps; Previous names the event that
// caused it within its branch or iteration, 0 where nothing did. Whoever makes events (package execution) numbers them.
//
// Three forms: Event.Tree is what GetExecutionHistory answers; MarshalJSON is what the journal keeps; Event.Line is one
// line of text for golden files. The package has no clock and no I/O.
package history
