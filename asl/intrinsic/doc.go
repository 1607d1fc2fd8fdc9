// Package intrinsic parses and evaluates the States.* functions that payload templates may call.
//
// Parse checks names, numbers of arguments, escapes and nesting (at most 10 deep), so that a definition with a wrong
// call is refused at creation. Eval is pure: paths are resolved by the caller, random numbers come from the caller.
//
// A string literal stands in single quotes; the characters ' { } \ are escaped by a backslash and no other escape
// exists.
package intrinsic
