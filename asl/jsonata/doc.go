// Package jsonata is the query and transformation language JSONata, as far as the reference implementation 2.2 defines it,
// with the functions that Step Functions adds and takes away.
//
// A program is compiled once (a Pratt parser, then a resolver that makes paths of dots and finds what each % means) and may
// then be evaluated by any number of goroutines. Evaluation walks the tree. Input is read lazily: arrays and objects that
// are only passed on keep their text, and so their number text and the order of their keys; a number that is computed with
// is a double, as in JavaScript.
//
// The package is pure: no clock, no randomness of its own, no I/O. What $now, $millis, $random, $uuid and $shuffle answer
// comes from Env. Every evaluation has a budget of steps, depth and size, after which it fails with D1012, D1011 or D2015.
//
// Inside the package errors travel as panics of *Error; Compile and Eval are the only places that recover them. Regular
// expressions are Go's, which need time linear in the text: lookaround and backreferences are refused with S0303.
//
//	p, err := jsonata.Compile("$sum(orders.(price * quantity))")
//	out, err := p.Eval(input, nil, jsonata.Env{})
package jsonata
