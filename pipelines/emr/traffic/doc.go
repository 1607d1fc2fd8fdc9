// Package traffic makes labelled traffic-sensor data from a seed: what the shipped pipeline runs on when nobody has
// data at hand, and what its detector is judged by.
//
// A corridor is simulated as a cell-transmission model: a triangular relation of flow and density, a recurrent
// bottleneck, an entrance queue, demand with weekday peaks, and incidents that take capacity away for a while. Loop
// detectors look at it every five minutes, lane by lane, and some of them are broken for some hours of a day. So there
// are two sorts of unusual rows, and only one of them is a sensor fault: congestion behind an incident is true.
//
// The bytes depend on the Config alone: not on the Go version, the processor or the time. That is why the package has
// its own random numbers, its own exponential function, and a conversion around each product that is added to (the
// language lets a compiler fuse x*y+z, but never across a conversion).
package traffic
