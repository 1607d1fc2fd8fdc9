// Package acceptance tests the built program as its users use it: real Spark, the real AWS command line, servers that are
// killed. It has no code of its own; its tests need `make build setup` first and say so.
package acceptance
