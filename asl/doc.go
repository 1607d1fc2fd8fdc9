// Package asl is the Amazon States Language: it parses and validates definitions, and evaluates the data of one state.
//
// Parse gives all diagnostics at once, each with position, location, AWS's code and, where AWS's own sentence is known,
// that sentence. The schema is closed: a field that a state does not have is refused.
//
// Visit evaluates one visit of a state step by step: InputPath, Parameters, ResultSelector, ResultPath, OutputPath, or
// Arguments and Output; Assign, the rules of a Choice, the end of a Wait, what a Map asks for. What goes wrong with data is
// a Failure: a value for the history, with AWS's text, never a Go error. Visit.See hears of each value on the way.
//
// The package is pure: no I/O, clock, goroutine or randomness of its own; time and random numbers are arguments. It runs
// nothing and knows no history: package execution decides what happens next.
//
// A state is in one of two query languages, JSONPath or JSONata, and Visit is the one door to both: what its methods do
// depends on the state's. JSONata programs are compiled once, as the definition is parsed.
package asl
