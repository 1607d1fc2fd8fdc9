package asl

// Template is a payload template: JSON in which names that end in ".$" hold paths or intrinsic functions.
type Template struct{ node node }

type node interface{}

// Expression is a path or an intrinsic function.
type Expression struct{ text string }
