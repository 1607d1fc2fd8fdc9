// Package clock is the only place that knows the time of day. Everything else takes a Clock, so that tests and the
// simulator can bring their own.
package clock

import "time"

// Clock tells the time and wakes its callers.
type Clock interface {
	Now() time.Time
	// AfterFunc runs f in a goroutine of its own once d has passed.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is a pending AfterFunc.
type Timer interface {
	// Stop prevents f from running; it reports false when f has started or was stopped before.
	Stop() bool
}

// System is the machine's own clock.
type System struct{}

// Now returns the time in UTC.
func (System) Now() time.Time { return time.Now().UTC() }

// AfterFunc is time.AfterFunc.
func (System) AfterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }

// Seconds is a duration of s seconds.
func Seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
