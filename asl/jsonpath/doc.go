// Package jsonpath is the dialect of JSONPath that AWS Step Functions has: names, indexes (also from the end), slices,
// wildcards, deep scan, unions, filters, and length() and its like; rooted in the input ($), the context object ($$) or
// a variable ($name).
//
// A definite path names at most one value, and a missing one is an error with AWS's text. A path with a wildcard, scan,
// slice, filter or union of indexes is indefinite: its result is an array of all that it meets, which may be empty.
//
// A reference path, which ResultPath needs, is a definite path of names and indexes only; ParseReference reads one.
//
// Work is bounded: a path that visits more than a fixed number of values fails instead of running for ever.
package jsonpath
