package jsonata

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/internal/regex"
)

// regex reads a regular expression up to its closing slash and its flags.
func (l *lexer) regex() *regex.Regexp {
	start, depth := l.pos, 0
	for ; l.pos < len(l.src); l.pos++ {
		switch c := l.src[l.pos]; {
		case c == '\\':
			l.pos++ // whatever follows is part of the pattern
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0:
			depth--
		case c == '/' && depth == 0:
			if l.pos == start {
				throw(&Error{Code: "S0301", Position: l.pos})
			}
			pattern := l.src[start:l.pos]
			flags := ""
			for l.pos++; l.at(l.pos) == 'i' || l.at(l.pos) == 'm'; l.pos++ {
				flags += string(l.at(l.pos))
			}
			re, err := compileRegex(pattern, flags)
			var wrong *syntax.Error
			if errors.As(err, &wrong) {
				throw(&Error{Code: "S0303", Position: start, Value: pattern})
			}
			if err != nil {
				throw(&Error{Code: "S0303", Position: start, Message: "The regular expression is not supported: " + err.Error()})
			}
			return re
		}
	}
	throw(&Error{Code: "S0302", Position: len(l.src)})
	return nil
}

var unicodeEscape = regexp.MustCompile(`\\(?:u([0-9a-fA-F]{4})|.)`)

// compileRegex translates what JavaScript writes otherwise than Go.
func compileRegex(pattern, flags string) (*regex.Regexp, error) {
	pattern = unicodeEscape.ReplaceAllStringFunc(pattern, func(s string) string {
		switch {
		case len(s) == 6:
			return `\x{` + s[2:] + `}`
		case s == `\d`, s == `\D`, s == `\w`, s == `\W`, s == `\b`, s == `\B`:
			return s
		case strings.Contains("cehgijlmoqyuz_", s[1:]):
			return s[1:]
		}
		return s
	})
	pattern = strings.ReplaceAll(strings.ReplaceAll(pattern, `[^]`, `[\s\S]`), `[]`, `[^\x{0}-\x{10FFFF}]`)
	if flags != "" {
		pattern = "(?" + flags + ")" + pattern
	}
	return regex.Parse(pattern)
}

// matched is one match, with offsets in bytes.
type matched struct {
	text       string
	start, end int
	groups     []value
	next       func() *matched
}

func (e *evaluator) firstMatch(f *function, s string) *matched {
	re := f.regex.Get()
	e.step(1 + len(s)/16 + len(s)*f.regex.Size()/64)
	first := re.FindStringSubmatchIndex(s)
	if first == nil {
		return nil
	}
	var all [][]int
	var nth func(i int, at []int) *matched
	nth = func(i int, at []int) *matched {
		m := &matched{text: s[at[0]:at[1]], start: at[0], end: at[1]}
		for g := 2; g < len(at); g += 2 {
			if at[g] < 0 {
				m.groups = append(m.groups, nil)
			} else {
				m.groups = append(m.groups, s[at[g]:at[g+1]])
			}
		}
		m.next = func() *matched {
			if m.end >= len(s) {
				return nil
			}
			if all == nil {
				e.step(len(s)/4 + len(s)*f.regex.Size()/64)
				each := 2 + re.NumSubexp() // words of a match, each 16 bytes: no more are looked for than there is room for
				all = re.FindAllStringSubmatchIndex(s, int((e.env.Limits.Bytes-e.bytes)/int64(16*each))+1)
				e.room(len(all) * each)
			}
			zero := m.text == ""
			if !zero && i+1 < len(all) {
				zero = all[i+1][0] == all[i+1][1]
			}
			if zero {
				throw(&Error{Code: "D1004", Position: f.pos, Value: f.regex.String()})
			}
			if i+1 >= len(all) {
				return nil
			}
			return nth(i+1, all[i+1])
		}
		return m
	}
	return nth(0, first)
}

// matchObject is m as the object that matcher functions return.
func (e *evaluator) matchObject(m *matched, s string) value {
	if m == nil {
		return nil
	}
	e.grow(512 + 16*len(m.groups))
	e.step(len(s) / 64)
	o := newObject()
	o.set("match", m.text)
	o.set("start", float64(utf16Len(s[:m.start])))
	o.set("end", float64(utf16Len(s[:m.end])))
	o.set("groups", newArray(m.groups...))
	o.set("next", &function{native: func(c *call) value { return c.matchObject(m.next(), s) }})
	return o
}

// matches finds the first match of a regular expression or of a function that returns such objects.
func (c *call) matches(matcher value, s string) *matched {
	if f, ok := matcher.(*function); ok && f.regex != nil {
		return c.firstMatch(f, s)
	}
	return c.fromMatcher(c.apply(matcher, []value{s}, nil, c.scope), s)
}

func (c *call) fromMatcher(v value, s string) *matched {
	if !c.truth(v) {
		return nil
	}
	bad := func() { throw(&Error{Code: "T1010"}) }
	o, ok := v.(*object)
	if !ok {
		bad()
	}
	start, ok1 := o.get("start").(float64)
	end, ok2 := o.get("end").(float64)
	groups, ok3 := o.get("groups").(*array)
	next, ok4 := o.get("next").(*function)
	text, ok5 := o.get("match").(string)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		bad()
	}
	m := &matched{text: text, start: byteOffset(s, start), end: byteOffset(s, end), groups: groups.elements()}
	m.next = func() *matched { return c.fromMatcher(c.apply(next, nil, nil, c.scope), s) }
	return m
}

// byteOffset is where the UTF-16 unit with this index begins in s.
func byteOffset(s string, unit float64) int {
	n := 0.0
	for i, r := range s {
		if n >= unit {
			return i
		}
		if n++; r >= 0x10000 {
			n++
		}
	}
	return len(s)
}

func floorInt(f float64) int {
	switch {
	case f != f:
		return 0
	case f > 1<<53:
		return 1 << 53
	case f < -(1 << 53):
		return -(1 << 53)
	}
	i := int(f)
	if float64(i) > f {
		i--
	}
	return i
}

// cut is the code points from..to of s, counted as JavaScript's slice does.
func cut(s string, from, to int) string {
	n := utf8.RuneCountInString(s)
	clamp := func(i int) int {
		if i < 0 {
			i += n
		}
		return min(max(i, 0), n)
	}
	from, to = clamp(from), clamp(to)
	if from >= to {
		return ""
	}
	begin, i := len(s), 0
	for at := range s {
		if i == from {
			begin = at
		}
		if i == to {
			return s[begin:at]
		}
		i++
	}
	return s[begin:]
}
