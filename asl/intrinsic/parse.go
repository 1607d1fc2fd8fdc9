package intrinsic

import (
	"fmt"
	"iter"
	"strings"

	"github.com/mayfly-run/mayfly/asl/jsonpath"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// MaxNesting is how deep AWS lets calls stand in calls.
const MaxNesting = 10

// Call is a parsed call. It does not change and may be shared.
type Call struct {
	text string
	fn   *function
	args []arg
}

// arg is a call, a path, a string literal (still escaped) or another constant.
type arg struct {
	text     string
	call     *Call
	path     *jsonpath.Path
	literal  string
	constant jsonvalue.Value // absent: a string literal
}

// String is the call as it was written.
func (c *Call) String() string { return c.text }

// Name is the function's name: "States.Format".
func (c *Call) Name() string { return c.fn.name }

// ReturnsString reports whether the result is a string, or may be one: ErrorPath and CausePath allow no other.
func (c *Call) ReturnsString() bool { return c.fn.str }

// Paths yields all paths among the arguments, at any depth.
func (c *Call) Paths() iter.Seq[*jsonpath.Path] {
	return func(yield func(*jsonpath.Path) bool) { c.paths(yield) }
}

func (c *Call) paths(yield func(*jsonpath.Path) bool) bool {
	for _, a := range c.args {
		if a.path != nil && !yield(a.path) || a.call != nil && !a.call.paths(yield) {
			return false
		}
	}
	return true
}

// Parse reads a call that is the whole text; blanks may follow it.
func Parse(text string) (*Call, error) {
	if len(text) > 64<<10 {
		return nil, fmt.Errorf("a call of %d bytes is too long", len(text))
	}
	p := &parser{s: text}
	c, err := p.call(1)
	if err != nil {
		return nil, err
	}
	p.blanks()
	if p.at < len(p.s) {
		return nil, p.errorf("unexpected %q after the call", p.s[p.at:])
	}
	return c, nil
}

type parser struct {
	s  string
	at int
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("column %d: "+format, append([]any{p.at + 1}, args...)...)
}

func (p *parser) peek() byte {
	if p.at < len(p.s) {
		return p.s[p.at]
	}
	return 0
}

func (p *parser) blanks() {
	for c := p.peek(); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = p.peek() {
		p.at++
	}
}

func (p *parser) call(depth int) (*Call, error) {
	start := p.at
	if depth > MaxNesting {
		return nil, p.errorf("calls nest deeper than %d", MaxNesting)
	}
	for c := p.peek(); c == '.' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'; c = p.peek() {
		p.at++
	}
	fn := functions[p.s[start:p.at]]
	if fn == nil {
		return nil, p.errorf("no function is named %q", p.s[start:p.at])
	}
	if p.peek() != '(' {
		return nil, p.errorf("( must follow %s", fn.name)
	}
	p.at++
	c := &Call{fn: fn}
	for p.blanks(); p.peek() != ')' || len(c.args) > 0; p.blanks() {
		a, err := p.arg(depth)
		if err != nil {
			return nil, err
		}
		c.args = append(c.args, a)
		p.blanks()
		if p.peek() != ',' {
			break
		}
		p.at++
	}
	if p.peek() != ')' {
		return nil, p.errorf(") is missing")
	}
	p.at++
	if n := len(c.args); n < fn.min || fn.max >= 0 && n > fn.max {
		return nil, p.errorf("%s does not take %d arguments", fn.name, n)
	}
	if fn.numeric {
		for i, a := range c.args {
			if a.call == nil && a.path == nil && a.constant.Kind() != jsonvalue.KindNumber {
				return nil, p.errorf("argument %d of %s must be a number", i+1, fn.name)
			}
		}
	}
	c.text = p.s[start:p.at]
	return c, nil
}

func (p *parser) arg(depth int) (a arg, err error) {
	start := p.at
	switch c := p.peek(); {
	case c == '\'':
		a.literal, err = p.literal()
	case c == '$':
		path, n, e := jsonpath.ParsePrefix(p.s[p.at:])
		if e != nil {
			return a, p.errorf("%v", e)
		}
		a.path = path
		p.at += n
	case strings.HasPrefix(p.s[p.at:], "States."):
		a.call, err = p.call(depth + 1)
	default:
		for p.at < len(p.s) && strings.IndexByte(",) \t\r\n", p.s[p.at]) < 0 {
			p.at++
		}
		switch word := p.s[start:p.at]; word {
		case "true", "false":
			a.constant = jsonvalue.Bool(word == "true")
		case "null":
			a.constant = jsonvalue.Null
		default:
			n, ok := jsonvalue.Number(word)
			if !ok {
				p.at = start
				return a, p.errorf("%q is no argument", word)
			}
			a.constant = n
		}
	}
	a.text = p.s[start:p.at]
	return a, err
}

// literal reads a string in quotes and returns what stands between them, escapes and all.
func (p *parser) literal() (string, error) {
	p.at++
	start := p.at
	for p.at < len(p.s) {
		switch p.s[p.at] {
		case '\'':
			s := p.s[start:p.at]
			p.at++
			return s, nil
		case '\\':
			if p.at+1 >= len(p.s) || strings.IndexByte(`'{}\`, p.s[p.at+1]) < 0 {
				return "", p.errorf(`a backslash in a literal escapes only ' { } and \`)
			}
			p.at++
		}
		p.at++
	}
	return "", p.errorf("a quote is missing")
}

func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
