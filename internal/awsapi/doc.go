// Package awsapi holds what AWS publishes of its APIs: the models (operations, shapes, constraints, errors) as data, the
// Go types of the operations that Mayfly serves, generated from them, and the error that callers see.
//
// The models are cut from botocore's (see models/NOTICE) by internal/awsapi/gen, without documentation; that of the service
// mayfly, which is Mayfly's own (docs/extensions.md), is gen/mayfly.json. Wire forms are in awsproto; this package knows only which members a shape has, what they may be, and how a document tree
// (map[string]any, as in awscall.Call) is bound to a generated struct and back.
//
// Invariants: nothing here is written by hand that the model says; a required scalar is a plain value and an optional one
// a pointer, so that absent and zero are never mixed up; a list or map is absent when nil.
package awsapi

//go:generate go run ./gen
