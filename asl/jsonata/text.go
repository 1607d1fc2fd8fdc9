package jsonata

import (
	"math"
	"strconv"
	"strings"
)

// numberText is f as JavaScript writes it.
func numberText(f float64) string {
	abs := math.Abs(f)
	switch {
	case f == 0:
		return "0"
	case f != f:
		return "NaN"
	case math.IsInf(f, 0):
		return strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+") + "inity"
	case abs >= 1e21 || abs < 1e-6:
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
		return mantissa + "e" + exponent[:1] + strings.TrimLeft(exponent[1:], "0")
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// textOptions say how a value is written: as $string does, or as in an error.
type textOptions struct {
	indent    bool
	round     bool // numbers to 15 digits
	functions bool // as {} rather than ""
	most      int  // bytes after which nothing more is written; 0: no limit
	e         *evaluator
	depth     int
}

// text is what $string makes of v.
func (e *evaluator) text(v value) string { return e.format(v, false) }

func (e *evaluator) format(v value, indent bool) string {
	switch v := v.(type) {
	case nil, *function:
		return ""
	case string:
		return v
	case float64:
		if math.IsInf(v, 0) || v != v {
			fail("D3001", v)
		}
	}
	return string(appendText(nil, v, textOptions{indent: indent, round: true, e: e}))
}

// write accounts for n bytes of text.
func (o textOptions) write(n int) {
	if o.e != nil {
		o.e.grow(n)
	}
}

func appendText(b []byte, v value, o textOptions) []byte {
	if o.most > 0 && len(b) > o.most {
		return b
	}
	if o.e != nil {
		o.e.step(1)
	}
	o.write(8)
	line := func(b []byte, depth int) []byte {
		if o.indent {
			o.write(2 * depth)
			b = append(b, '\n')
			for range depth {
				b = append(b, "  "...)
			}
		}
		return b
	}
	inner := o
	if inner.depth++; inner.depth > 2000 {
		throw(&Error{Code: "D1011"})
	}
	switch v := v.(type) {
	case nil, null:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case float64:
		if math.IsInf(v, 0) || v != v {
			if o.round && v == v {
				fail("D1001", v)
			}
			return append(b, "null"...)
		}
		if o.round && v != math.Trunc(v) {
			v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 15, 64), 64)
		}
		return append(b, numberText(v)...)
	case string:
		o.write(len(v))
		return appendQuoted(b, v)
	case *array:
		if v.outer {
			return appendText(b, v.items[0], o)
		}
		b = append(b, '[')
		for i, x := range v.elements() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendText(line(b, inner.depth), x, inner)
		}
		if v.len() > 0 {
			b = line(b, o.depth)
		}
		return append(b, ']')
	case *object:
		b = append(b, '{')
		first := true
		for k, x := range v.members {
			if x == nil {
				continue
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			o.write(len(k))
			b = append(appendQuoted(line(b, inner.depth), k), ':')
			if o.indent {
				b = append(b, ' ')
			}
			b = appendText(b, x, inner)
		}
		if !first {
			b = line(b, o.depth)
		}
		return append(b, '}')
	}
	if o.functions {
		return append(b, "{}"...)
	}
	return append(b, `""`...)
}

func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		default:
			if j := strings.IndexByte("\b\f\n\r\t", c); j >= 0 {
				b = append(b, '\\', "bfnrt"[j])
			} else {
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
		}
	}
	return append(b, '"')
}
