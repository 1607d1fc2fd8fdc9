// Package proc runs programs that outlive a request and the server itself: Spark's daemons, steps, bootstrap actions.
//
// Each program has a folder and a supervisor. The supervisor is this same binary, started as `mayfly proc DIR` in a
// session of its own. It writes who it is (pid, start time, boot id) before it starts the program, sends the program's
// output to files, and writes the exit status by fsync and rename. When the program has ended, whatever it left running
// ends too.
//
// The supervisor holds a FIFO of the folder open for as long as it lives. Its end of file is how the server learns of
// the end without polling, and how a server that was started anew tells a living program from a lost one, without
// trusting a pid. So for each folder exactly one of these holds:
//
//   - running: the FIFO has a writer;
//   - ended: status.json stands;
//   - lost: it was started (pid.json) and neither holds: the supervisor was killed or the machine went down;
//   - never started: no pid.json. Start may be called (again).
//
// Start on a folder that was started before only opens it, so that a command which is dispatched twice runs its program
// once. One process at a time may call Start for a folder.
//
// What it does not do: it gives no limits on memory or CPU, and it cannot hold a program that is root and wants away.
package proc
