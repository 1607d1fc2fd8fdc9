package jsonata

import (
	"encoding/base64"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

func lower(s string) string { return strings.ToLower(s) }
func upper(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "ß", "SS")) }

func substring(c *call) value {
	s, start := c.str(0), truncate(c.num(1))
	n := characters(s)
	c.grow(len(s))
	if n+start < 0 {
		start = 0
	}
	if c.arg(2) == nil {
		return cut(s, start, math.MaxInt)
	}
	length := c.num(2)
	if length <= 0 {
		return ""
	}
	end := truncate(float64(start) + length)
	if start < 0 {
		end = truncate(float64(n+start) + length)
	}
	return cut(s, start, end)
}

// truncate is f without its fraction, within the range of indexes.
func truncate(f float64) int { return floorInt(math.Trunc(f)) }

func substringBefore(c *call) value {
	before, _, _ := strings.Cut(c.str(0), c.str(1))
	if !strings.Contains(c.str(0), c.str(1)) {
		return c.str(0)
	}
	return before
}

func substringAfter(c *call) value {
	if _, after, found := strings.Cut(c.str(0), c.str(1)); found {
		return after
	}
	return c.str(0)
}

var blankRun = regexp.MustCompile(`[ \t\n\r]+`)

func trim(s string) string { return strings.Trim(blankRun.ReplaceAllString(s, " "), " ") }

func pad(c *call) value {
	s, fill, width := c.str(0), c.str(2), truncate(c.num(1))
	if fill == "" {
		fill = " "
	}
	missing := max(width, -width) - characters(s)
	if missing <= 0 {
		return s
	}
	if missing > math.MaxInt32 {
		fail("D2016", float64(c.env.Limits.Bytes))
	}
	c.grow(len(s) + missing*utf8.UTFMax)
	times := missing/characters(fill) + 1
	c.grow(times * len(fill))
	padding := cut(strings.Repeat(fill, times), 0, missing)
	if width > 0 {
		return s + padding
	}
	return padding + s
}

// limit is the argument that bounds how often something is done; code is the error of a negative one.
func (c *call) limit(i int, code string) float64 {
	if c.arg(i) == nil {
		return math.Inf(1)
	}
	n := c.num(i)
	if n < 0 {
		throw(&Error{Code: code, Value: n, Index: i + 1})
	}
	return n
}

func matchAll(c *call) value {
	s, limit, result := c.str(0), c.limit(2, "D3040"), newSequence()
	if limit <= 0 {
		return result
	}
	units, at := 0, 0 // how many UTF-16 units stand before byte at
	for m := c.matches(c.arg(1), s); m != nil && float64(result.len()) < limit; m = m.next() {
		c.grow(512 + 16*len(m.groups))
		if m.start >= at {
			units, at = units+utf16Len(s[at:m.start]), m.start
		}
		o := newObject()
		o.set("match", m.text)
		o.set("index", float64(units))
		o.set("groups", newArray(m.groups...))
		result.push(o)
	}
	return result
}

func contains(c *call) value {
	switch token := c.arg(1).(type) {
	case nil:
		return nil
	case string:
		return strings.Contains(c.str(0), token)
	default:
		return c.matches(token, c.str(0)) != nil
	}
}

func replace(c *call) value {
	s, limit := c.str(0), c.limit(3, "D3011")
	pattern, isText := c.arg(1).(string)
	if isText && pattern == "" {
		throw(&Error{Code: "D3010", Value: "", Index: 2})
	}
	if limit <= 0 || c.arg(1) == nil {
		return s
	}
	var out strings.Builder
	write := func(t string) {
		c.grow(len(t))
		out.WriteString(t)
	}
	count := 0.0
	if isText {
		replacement, ok := c.arg(2).(string)
		for ok && count < limit {
			before, after, found := strings.Cut(s, pattern)
			if !found {
				break
			}
			write(before)
			write(replacement)
			s = after
			count++
		}
		write(s)
		return out.String()
	}
	position := 0
	for m := c.matches(c.arg(1), s); m != nil && count < limit; m = m.next() {
		if m.start >= position {
			write(s[position:m.start])
		}
		if template, ok := c.arg(2).(string); ok {
			substitute(template, m, write)
		} else {
			with := c.apply(c.arg(2), []value{c.matchObject(m, s)}, nil, c.scope)
			text, ok := with.(string)
			if !ok {
				fail("D3012", with)
			}
			write(text)
		}
		position = min(m.start+len(m.text), len(s))
		count++
	}
	write(s[position:])
	return out.String()
}

// substitute fills $0, $1 … and $$ of a replacement. As many digits count as there are groups for.
func substitute(template string, m *matched, write func(string)) {
	for {
		before, rest, found := strings.Cut(template, "$")
		write(before)
		if !found {
			return
		}
		template = rest
		switch {
		case strings.HasPrefix(rest, "$"):
			write("$")
			template = rest[1:]
		case strings.HasPrefix(rest, "0"):
			write(m.text)
			template = rest[1:]
		default:
			most := max(1, len(strconv.Itoa(len(m.groups))))
			digits := 0
			for digits < most && digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
				digits++
			}
			if digits == 0 {
				write("$")
				continue
			}
			index, _ := strconv.Atoi(rest[:digits])
			if digits > 1 && index > len(m.groups) {
				digits--
				index, _ = strconv.Atoi(rest[:digits])
			}
			if index >= 1 && index <= len(m.groups) {
				text, _ := m.groups[index-1].(string)
				write(text)
			}
			template = rest[digits:]
		}
	}
}

func split(c *call) value {
	s, limit, result := c.str(0), c.limit(2, "D3020"), newArray()
	if limit <= 0 {
		return result
	}
	push := func(part string) {
		c.grow(32)
		result.push(part)
	}
	if separator, ok := c.arg(1).(string); ok || c.arg(1) == nil {
		limit = math.Floor(limit)
		for ok && float64(result.len()) < limit {
			before, after, found := strings.Cut(s, separator)
			if separator == "" && s != "" {
				_, size := utf8.DecodeRuneInString(s)
				before, after, found = s[:size], s[size:], size < len(s)
			}
			if separator == "" && s == "" {
				return result
			}
			push(before)
			if !found {
				return result
			}
			s = after
		}
		if !ok {
			push(s)
		}
		return result
	}
	start := 0
	for m := c.matches(c.arg(1), s); m != nil && float64(result.len()) < limit; m = m.next() {
		push(s[min(start, m.start):m.start])
		start = m.end
	}
	if float64(result.len()) < limit {
		push(s[start:])
	}
	return result
}

func join(c *call) value {
	var out strings.Builder
	for i, x := range c.list(0) {
		part, _ := x.(string)
		if i > 0 {
			part = c.str(1) + part
		}
		c.grow(len(part))
		out.WriteString(part)
	}
	return out.String()
}

// base64encode takes every UTF-16 unit for a byte, as the reference implementation does.
func base64encode(c *call) value {
	c.grow(2 * len(c.str(0)))
	var b []byte
	for _, r := range c.str(0) {
		b = append(b, byte(r))
	}
	return base64.StdEncoding.EncodeToString(b)
}

func base64decode(c *call) value {
	c.grow(len(c.str(0)))
	clean := strings.NewReplacer("-", "+", "_", "/", "=", "", "\n", "", " ", "").Replace(c.str(0))
	b, err := base64.RawStdEncoding.DecodeString(clean)
	if err != nil {
		throw(&Error{Code: "D3137", Message: "the argument of $base64decode is not base64"})
	}
	runes := make([]rune, len(b))
	for i, x := range b {
		runes[i] = rune(x)
	}
	return string(runes)
}

const (
	uriMarks    = "-_.!~*'()"
	uriReserved = ";/?:@&=+$,#"
)

func encoder(name, keep string) func(*call) value {
	return defined(func(c *call) value {
		s := c.str(0)
		if !utf8.ValidString(s) {
			throw(&Error{Code: "D3140", Token: name, Value: s})
		}
		c.grow(3 * len(s))
		var out strings.Builder
		for i := 0; i < len(s); i++ {
			if b := s[i]; b|0x20 >= 'a' && b|0x20 <= 'z' || b >= '0' && b <= '9' || strings.IndexByte(keep, b) >= 0 {
				out.WriteByte(b)
			} else {
				out.WriteString("%" + strings.ToUpper(strconv.FormatInt(0x100|int64(b), 16)[1:]))
			}
		}
		return out.String()
	})
}

func decoder(name, keep string) func(*call) value {
	return defined(func(c *call) value {
		s := c.str(0)
		var out []byte
		for i := 0; i < len(s); i++ {
			if s[i] != '%' {
				out = append(out, s[i])
				continue
			}
			b, err := strconv.ParseUint(s[i+1:min(i+3, len(s))], 16, 8)
			if err != nil || i+3 > len(s) {
				throw(&Error{Code: "D3140", Token: name, Value: s})
			}
			if strings.IndexByte(keep, byte(b)) >= 0 {
				out = append(out, s[i:i+3]...)
			} else {
				out = append(out, byte(b))
			}
			i += 2
		}
		c.grow(len(out))
		if !utf8.Valid(out) {
			throw(&Error{Code: "D3140", Token: name, Value: s})
		}
		return string(out)
	})
}
