// Package lambda serves AWS Lambda: functions whose code comes as a zip, inline or in S3, run as child processes by
// package sandbox, with logs in CloudWatch Logs.
//
// A function's row holds its configuration and the digest of its code; the zip itself is an immutable file named by that
// digest, written and synced before the row is committed. Unpacked code and running instances are caches: they are made
// when they are needed.
//
// Invariants: an instance serves one invocation at a time, with credentials of its own that act, during it, on behalf
// of whoever invoked; an asynchronous invocation is an entity (package durable), so it survives kill -9 and may run
// again under the same request id; instances of an earlier server have ended before Recover returns.
//
// What it does not have, it refuses by name: other runtimes than provided.* and python3.*, images, layers, versions,
// aliases, VPCs, dead-letter queues. Tracing, ephemeral storage and architectures are accepted and have no effect:
// everything runs on this machine.
package lambda
