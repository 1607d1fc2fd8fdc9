package asl

// ParseOptions say what a definition is for.
type ParseOptions struct {
	Express bool
	// Resource judges the Resource of a Task: an error's text says why AWS would refuse it. nil: any ARN is accepted.
	Resource func(arn string) error
}

// Parse reads a definition. The machine is nil when a diagnostic is an error; warnings may come with a machine.
func Parse(text []byte, o ParseOptions) (*StateMachine, []Diagnostic) { panic("asl: not yet") }
