// Package sandbox runs a function's code: one child process that takes one invocation at a time from a Runtime API of its
// own on the loopback interface, as on AWS. It knows nothing of functions, accounts or logs.
//
// An instance's processes are a group of their own and end with it: at Stop, after a time-out, when they exceed their
// memory, and when the server dies (on Linux at once; everywhere at the next start, by Sweep). A file that the processes
// hold locked for as long as one of them lives tells Sweep whom to end, so no process that merely has the same pid is
// ever hit.
//
// It is no prison: the code runs as the user who runs Mayfly and can do what he can.
package sandbox
