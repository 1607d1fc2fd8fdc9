package jsonata

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// lexer cuts the source into tokens. Whether a slash divides or opens a regular expression depends on what stood before,
// which the parser knows.
type lexer struct {
	src string
	pos int
}

const (
	blanks        = " \t\n\r\v"
	operatorChars = ".[]{}(),@#;:?+-*/%|=<>^&!~"
)

var longOperators = []string{"..", ":=", "!=", ">=", "<=", "**", "~>", "?:", "??"}

func (l *lexer) at(i int) byte {
	if i >= 0 && i < len(l.src) {
		return l.src[i]
	}
	return 0
}

// next is the next token, nil at the end. After an operand (infix) a slash is the division.
func (l *lexer) next(infix bool) *node {
	l.skipBlanks()
	if l.pos >= len(l.src) {
		return nil
	}
	start, c := l.pos, l.src[l.pos]
	token := func(k kind, text string) *node { return &node{kind: k, text: text, pos: l.pos} }
	if c == '/' && !infix {
		l.pos++
		n := token(kindRegex, "")
		n.regex = l.regex()
		n.pos = l.pos
		return n
	}
	for _, op := range longOperators {
		if strings.HasPrefix(l.src[l.pos:], op) {
			l.pos += 2
			return token(kindOperator, op)
		}
	}
	switch {
	case strings.IndexByte(operatorChars, c) >= 0:
		l.pos++
		return token(kindOperator, string(c))
	case c == '"' || c == '\'':
		s := l.quoted(c)
		n := token(kindLiteral, s)
		n.literal = s
		return n
	case c >= '0' && c <= '9':
		return l.number()
	case c == '`':
		end := strings.IndexByte(l.src[start+1:], '`')
		if end < 0 {
			throw(&Error{Code: "S0105", Position: len(l.src)})
		}
		l.pos += end + 2
		return token(kindName, l.src[start+1:start+1+end])
	}
	for l.pos < len(l.src) && strings.IndexByte(blanks+operatorChars, l.src[l.pos]) < 0 {
		l.pos++
	}
	word := l.src[start:l.pos]
	literal := func(v value) *node {
		n := token(kindLiteral, word)
		n.literal = v
		return n
	}
	switch {
	case word[0] == '$':
		return token(kindVariable, word[1:])
	case word == "or" || word == "in" || word == "and":
		return token(kindOperator, word)
	case word == "true" || word == "false":
		return literal(word == "true")
	case word == "null":
		return literal(null{})
	}
	return token(kindName, word)
}

func (l *lexer) skipBlanks() {
	for {
		for l.pos < len(l.src) && strings.IndexByte(blanks, l.src[l.pos]) >= 0 {
			l.pos++
		}
		if !strings.HasPrefix(l.src[l.pos:], "/*") {
			return
		}
		end := strings.Index(l.src[l.pos+2:], "*/")
		if end < 0 {
			throw(&Error{Code: "S0106", Position: l.pos})
		}
		l.pos += end + 4
	}
}

// quoted reads a string literal. Halves of surrogate pairs that are alone keep their three bytes, so that functions which
// refuse them can.
func (l *lexer) quoted(quote byte) string {
	var b strings.Builder
	for l.pos++; l.pos < len(l.src); l.pos++ {
		switch c := l.src[l.pos]; c {
		case quote:
			l.pos++
			return b.String()
		case '\\':
			l.pos++
			if i := strings.IndexByte(`"\/bfnrt`, l.at(l.pos)); i >= 0 && l.pos < len(l.src) {
				b.WriteByte("\"\\/\b\f\n\r\t"[i])
			} else if l.at(l.pos) == 'u' {
				r := l.hex4(l.pos + 1)
				l.pos += 4
				if r >= 0xD800 && r < 0xDC00 && l.at(l.pos+1) == '\\' && l.at(l.pos+2) == 'u' {
					if low := l.hex4(l.pos + 3); low >= 0xDC00 && low < 0xE000 {
						r = (r-0xD800)<<10 + (low - 0xDC00) + 0x10000
						l.pos += 6
					}
				}
				b.WriteString(encodeRune(r))
			} else {
				_, size := utf8.DecodeRuneInString(l.src[l.pos:])
				throw(&Error{Code: "S0103", Position: l.pos, Token: l.src[l.pos : l.pos+size]})
			}
		default:
			b.WriteByte(c)
		}
	}
	throw(&Error{Code: "S0101", Position: l.pos})
	return ""
}

func (l *lexer) hex4(at int) rune {
	if at+4 <= len(l.src) {
		if u, err := strconv.ParseUint(l.src[at:at+4], 16, 32); err == nil {
			return rune(u)
		}
	}
	throw(&Error{Code: "S0104", Position: at - 1})
	return 0
}

// encodeRune is the UTF-8 form of r, also of the halves of surrogate pairs.
func encodeRune(r rune) string {
	if r >= 0xD800 && r < 0xE000 {
		return string([]byte{0xED, byte(0x80 | r>>6&0x3F), byte(0x80 | r&0x3F)})
	}
	return string(r)
}

func (l *lexer) number() *node {
	i, digits := l.pos, func(i int) int {
		for l.at(i) >= '0' && l.at(i) <= '9' {
			i++
		}
		return i
	}
	if l.at(i) == '0' {
		i++
	} else {
		i = digits(i)
	}
	if l.at(i) == '.' {
		if j := digits(i + 1); j > i+1 {
			i = j
		}
	}
	if l.at(i)|0x20 == 'e' {
		j := i + 1
		if l.at(j) == '+' || l.at(j) == '-' {
			j++
		}
		if k := digits(j); k > j {
			i = k
		}
	}
	text := l.src[l.pos:i]
	f, _ := strconv.ParseFloat(text, 64)
	if math.IsInf(f, 0) {
		throw(&Error{Code: "S0102", Position: l.pos, Token: text})
	}
	l.pos = i
	return &node{kind: kindLiteral, text: text, literal: f, pos: i}
}
