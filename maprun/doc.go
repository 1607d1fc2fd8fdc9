// Package maprun is the pure core of a map run: the children of one distributed Map state as an entity of their own.
//
// A run reads items from a cursor on, a bounded number at a time, gives each child of them a number, and has at most as
// many children open as its concurrency allows. Children are ordinary executions; what comes back of them is counted and
// kept in the journal, in records of bounded size, and nowhere else: the state holds counters, the numbers of open
// children, and a set of those that a redrive would start again. So a run of a million children is as small as one of ten.
//
// Invariants: no clock, no I/O, no randomness. Each number is launched once, ends at most once for each launch or
// redrive, and is counted in exactly one status. The parent execution hears of the end once for each redrive.
package maprun
