package jsonpath

// Path is a parsed path.
type Path struct {
	text string
}

// String is the path as it was written.
func (p *Path) String() string { return p.text }
