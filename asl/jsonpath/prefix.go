package jsonpath

// ParsePrefix reads the path at the start of text, which something else may follow: the argument of a function.
// It returns the number of bytes read.
func ParsePrefix(text string) (*Path, int, error) {
	p := &parser{s: text}
	path, err := p.path(false)
	return path, p.at, err
}
