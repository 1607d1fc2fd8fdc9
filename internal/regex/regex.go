// Package regex holds regular expressions from outside within bounds. Matching takes time linear in the text, as Go's do, but
// the factor is the size of the expression, which few characters can make very large: a{0,1000}b{0,1000}. So the size is known
// as soon as an expression is parsed, one that is too large is refused, and memory for matching is taken at the first use.
package regex

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"sync"
)

// MaxSize is the largest expression that is taken, in instructions of its program.
const MaxSize = 20_000

// Regexp is a regular expression that has been parsed. It does not change and may be shared.
type Regexp struct {
	text string
	size int
	once sync.Once
	re   *regexp.Regexp
}

// Parse reads a regular expression in Go's syntax.
func Parse(text string) (*Regexp, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("a regular expression of %d bytes is too long", len(text))
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	r := &Regexp{text: text, size: size(tree)}
	if r.size > MaxSize {
		return nil, fmt.Errorf("the regular expression is too large: its repetitions make it %d steps long, and %d are the most", r.size, MaxSize)
	}
	return r, nil
}

// String is the expression as it was written.
func (r *Regexp) String() string { return r.text }

// Size is about how many instructions matching may take for each byte of the text.
func (r *Regexp) Size() int { return r.size }

// Get is the expression, ready to match.
func (r *Regexp) Get() *regexp.Regexp {
	r.once.Do(func() { r.re = regexp.MustCompile(r.text) })
	return r.re
}

// size counts the instructions of an expression with its repetitions written out; more than MaxSize is just more.
func size(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)/4
	for _, sub := range re.Sub {
		n = min(n+size(sub), MaxSize+1)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(1, re.Min+1, re.Max)
	}
	return min(n, MaxSize+1)
}
