package jsonpath

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Root is where a path begins.
type Root int

const (
	RootInput    Root = iota // $
	RootContext              // $$
	RootVariable             // $name
)

// Path is a parsed path. It does not change and may be shared.
type Path struct {
	text     string
	root     Root
	variable string
	tokens   []token
	definite bool
	regexes  int
}

type tokenKind int

const (
	names tokenKind = iota
	indexes
	slice
	wildcard
	filter
	scan // the token after it applies at every depth
	function
)

type token struct {
	kind     tokenKind
	names    []string
	indexes  []int
	from, to *int
	filter   expr
	function string
}

// String is the path as it was written.
func (p *Path) String() string { return p.text }

// Root tells where the path begins, with the variable's name for RootVariable.
func (p *Path) Root() (Root, string) { return p.root, p.variable }

// Definite reports whether the path names at most one value.
func (p *Path) Definite() bool { return p.definite }

// Whole reports whether the path is only its root: $, $$ or $name.
func (p *Path) Whole() bool { return len(p.tokens) == 0 }

// First is the name that the first token selects, "" when it is none: the field of the context object that is used.
func (p *Path) First() string {
	if len(p.tokens) > 0 && p.tokens[0].kind == names && len(p.tokens[0].names) == 1 {
		return p.tokens[0].names[0]
	}
	return ""
}

// compiled is the path as AWS writes it into its sentences: $['a'][0].
func (p *Path) compiled() string {
	var b strings.Builder
	b.WriteString(p.rootText())
	for _, t := range p.tokens {
		b.WriteString(t.String())
	}
	return b.String()
}

func (p *Path) rootText() string {
	switch p.root {
	case RootContext:
		return "$$"
	case RootVariable:
		return "$" + p.variable
	}
	return "$"
}

func (t token) String() string {
	switch t.kind {
	case names:
		var quoted []string
		for _, n := range t.names {
			quoted = append(quoted, "'"+n+"'")
		}
		return "[" + strings.Join(quoted, ",") + "]"
	case indexes:
		var list []string
		for _, i := range t.indexes {
			list = append(list, strconv.Itoa(i))
		}
		return "[" + strings.Join(list, ",") + "]"
	case slice:
		s := "["
		if t.from != nil {
			s += strconv.Itoa(*t.from)
		}
		s += ":"
		if t.to != nil {
			s += strconv.Itoa(*t.to)
		}
		return s + "]"
	case wildcard:
		return "[*]"
	case filter:
		return "[?]"
	case scan:
		return ".."
	}
	return "." + t.function + "()"
}

// Parse reads a path.
func Parse(text string) (*Path, error) {
	if len(text) > 16<<10 {
		return nil, fmt.Errorf("a path of %d bytes is too long", len(text))
	}
	p := &parser{s: text}
	path, err := p.path(true)
	if err != nil {
		return nil, err
	}
	if p.at < len(p.s) {
		return nil, p.errorf("unexpected %q", p.s[p.at:])
	}
	return path, nil
}

// MustParse is Parse of a path that is known to be valid.
func MustParse(text string) *Path {
	p, err := Parse(text)
	if err != nil {
		panic(err)
	}
	return p
}

// ParseReference reads a reference path: $ with names and indexes only.
func ParseReference(text string) ([]jsonvalue.Step, error) {
	p, err := Parse(text)
	if err != nil {
		return nil, err
	}
	if p.root != RootInput {
		return nil, fmt.Errorf("a reference path begins with $ alone")
	}
	steps := []jsonvalue.Step{}
	for _, t := range p.tokens {
		switch {
		case t.kind == names && len(t.names) == 1:
			steps = append(steps, jsonvalue.Key(t.names[0]))
		case t.kind == indexes && len(t.indexes) == 1 && t.indexes[0] >= 0:
			steps = append(steps, jsonvalue.At(t.indexes[0]))
		default:
			return nil, fmt.Errorf("a reference path has names and indexes only, no %s", t)
		}
	}
	return steps, nil
}

// RegexSize is the size of all regular expressions in the path, in instructions.
func (p *Path) RegexSize() int { return p.regexes }

type parser struct {
	s       string
	at      int
	depth   int
	regexes int // instructions of all regular expressions so far
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
	for p.peek() == ' ' {
		p.at++
	}
}

// IsIdentifier reports whether s can name a variable.
func IsIdentifier(s string) bool {
	for i, r := range s {
		if !identifierRune(r, i == 0) {
			return false
		}
	}
	return s != ""
}

func identifierRune(r rune, first bool) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.Is(unicode.Nl, r) || !first && (unicode.IsDigit(r) || unicode.In(r, unicode.Mn, unicode.Mc, unicode.Pc))
}

// path reads from $ to where no token follows. At the top everything must belong to the path; in a filter or an
// intrinsic function's arguments blanks, operators, commas and parentheses end it.
func (p *parser) path(top bool) (*Path, error) {
	start, regexes := p.at, p.regexes
	if p.peek() != '$' {
		return nil, p.errorf("a path begins with $")
	}
	p.at++
	path := &Path{definite: true}
	switch c := p.peek(); {
	case c == '$':
		p.at++
		path.root = RootContext
	case c != 0 && c != '.' && c != '[':
		from := p.at
		for p.at < len(p.s) {
			r, n := utf8.DecodeRuneInString(p.s[p.at:])
			if !identifierRune(r, p.at == from) {
				break
			}
			p.at += n
		}
		if path.variable = p.s[from:p.at]; path.variable == "" {
			if top {
				return nil, p.errorf("unexpected %q after $", p.s[p.at:])
			}
		} else {
			path.root = RootVariable
		}
	}
	tokens, err := p.tokens()
	if err != nil {
		return nil, err
	}
	path.tokens, path.text, path.regexes = tokens, p.s[start:p.at], p.regexes-regexes
	for i, t := range tokens {
		last := i == len(tokens)-1
		switch t.kind {
		case names:
			path.definite = path.definite && (len(t.names) == 1 || last)
		case indexes:
			path.definite = path.definite && len(t.indexes) == 1
		case slice, wildcard, filter, scan:
			path.definite = false
		case function:
			path.definite = true // it makes one value of however many
		}
	}
	return path, nil
}

func (p *parser) tokens() ([]token, error) {
	var out []token
	for {
		switch p.peek() {
		case '.':
			p.at++
			if p.peek() == '.' {
				p.at++
				out = append(out, token{kind: scan})
				if p.peek() == '[' {
					continue
				}
			}
			if p.peek() == '[' { // "$.[0]" is common and means "$[0]"
				continue
			}
			if p.peek() == '*' {
				p.at++
				out = append(out, token{kind: wildcard})
				continue
			}
			name, err := p.name()
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(p.s[p.at:], "()") {
				if !isFunction(name) {
					return nil, p.errorf("no function is named %q", name)
				}
				p.at += 2
				if c := p.peek(); c == '.' || c == '[' {
					return nil, p.errorf("nothing may follow a function")
				}
				return append(out, token{kind: function, function: name}), nil
			}
			out = append(out, token{kind: names, names: []string{name}})
		case '[':
			t, err := p.bracket()
			if err != nil {
				return nil, err
			}
			out = append(out, t)
		default:
			if len(out) > 0 && out[len(out)-1].kind == scan {
				return nil, p.errorf("a path cannot end with ..")
			}
			return out, nil
		}
	}
}

func isFunction(name string) bool {
	switch name {
	case "length", "size", "min", "max", "avg", "sum", "keys":
		return true
	}
	return false
}

// name reads a name after a dot. A backslash takes the next character as it is.
func (p *parser) name() (string, error) {
	var b strings.Builder
	start := p.at
	for p.at < len(p.s) {
		c := p.s[p.at]
		if c == '\\' && p.at+1 < len(p.s) {
			_, n := utf8.DecodeRuneInString(p.s[p.at+1:])
			b.WriteString(p.s[p.at+1 : p.at+1+n])
			p.at += 1 + n
			continue
		}
		if strings.IndexByte(".[]()'\",{}<>=!&|?*+;^~`%#\\ \t\r\n", c) >= 0 || c < 0x20 {
			break
		}
		b.WriteByte(c)
		p.at++
	}
	if p.at == start {
		if p.at == len(p.s) {
			return "", p.errorf("a path cannot end with a dot")
		}
		return "", p.errorf("a name cannot begin with %q", p.s[p.at:p.at+1])
	}
	return b.String(), nil
}

func (p *parser) bracket() (token, error) {
	p.at++
	p.blanks()
	switch c := p.peek(); {
	case c == '*':
		p.at++
		return token{kind: wildcard}, p.close()
	case c == '\'' || c == '"':
		t := token{kind: names}
		for {
			s, err := p.quoted()
			if err != nil {
				return t, err
			}
			t.names = append(t.names, s)
			p.blanks()
			if p.peek() != ',' {
				return t, p.close()
			}
			p.at++
			p.blanks()
			if c := p.peek(); c != '\'' && c != '"' {
				return t, p.errorf("a name in quotes must follow")
			}
		}
	case c == '?':
		p.at++
		p.blanks()
		if p.peek() != '(' {
			return token{}, p.errorf("( must follow [?")
		}
		p.at++
		e, err := p.or()
		if err != nil {
			return token{}, err
		}
		p.blanks()
		if p.peek() != ')' {
			return token{}, p.errorf(") is missing in a filter")
		}
		p.at++
		return token{kind: filter, filter: e}, p.close()
	}
	// index, union of indexes, or slice
	first, err := p.integer()
	if err != nil {
		return token{}, err
	}
	p.blanks()
	if p.peek() == ':' {
		p.at++
		p.blanks()
		to, err := p.integer()
		if err != nil {
			return token{}, err
		}
		return token{kind: slice, from: first, to: to}, p.close()
	}
	if first == nil {
		return token{}, p.errorf("an index, a name in quotes, * or ?( must follow [")
	}
	t := token{kind: indexes, indexes: []int{*first}}
	for p.peek() == ',' {
		p.at++
		p.blanks()
		i, err := p.integer()
		if err != nil {
			return t, err
		}
		if i == nil {
			return t, p.errorf("an index must follow a comma")
		}
		t.indexes = append(t.indexes, *i)
		p.blanks()
	}
	return t, p.close()
}

func (p *parser) close() error {
	p.blanks()
	if p.peek() != ']' {
		return p.errorf("] is missing")
	}
	p.at++
	return nil
}

// integer reads an optional integer: nil when there is none.
func (p *parser) integer() (*int, error) {
	start := p.at
	if p.peek() == '-' {
		p.at++
	}
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		p.at++
	}
	if p.at == start {
		return nil, nil
	}
	i, err := strconv.ParseInt(p.s[start:p.at], 10, 32)
	if err != nil {
		return nil, p.errorf("%q is no index", p.s[start:p.at])
	}
	n := int(i)
	return &n, nil
}

func (p *parser) quoted() (string, error) {
	quote := p.peek()
	p.at++
	var b strings.Builder
	for p.at < len(p.s) {
		c := p.s[p.at]
		p.at++
		switch {
		case c == quote:
			return b.String(), nil
		case c == '\\' && p.at < len(p.s):
			_, n := utf8.DecodeRuneInString(p.s[p.at:])
			b.WriteString(p.s[p.at : p.at+n])
			p.at += n
		default:
			b.WriteByte(c)
		}
	}
	return "", p.errorf("a quote is missing")
}
