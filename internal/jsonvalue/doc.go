// Package jsonvalue holds JSON as the language sees it: immutable values over their own compact text, with an index
// that makes members and elements cheap to find.
//
// encoding/json is not used for state data because it reorders keys, rewrites numbers (1.0 becomes 1, long integers
// lose digits) and copies everything at every step. Here the text is the value: a part of a document shares the bytes
// of the whole, Raw costs nothing, and an edit splices bytes.
//
// Invariants: a Value never changes after it was made and may be shared by goroutines; its text is compact and valid
// UTF-8, strings are escaped in one canonical way (so equal strings have equal text), keys are unique within an object
// and keep the order of their first appearance, number text is kept as it was written. The zero Value is absent, which
// is not null.
package jsonvalue
