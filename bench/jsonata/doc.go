// Package jsonata compares Mayfly's JSONata with the official implementation in a JavaScript engine that is embedded in a Go
// program, which is what one would do without Mayfly's. It is a module of its own, so that nothing of it is built into Mayfly.
//
// `make bench-compare` in the root brings the npm package jsonata and runs the benchmarks.
package jsonata
