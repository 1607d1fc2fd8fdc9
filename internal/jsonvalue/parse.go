package jsonvalue

import (
	"bytes"
	"fmt"
	"math"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deep Parse lets arrays and objects nest.
const MaxDepth = 1000

// Options bound and shape a parse. The zero Options are those of Parse.
type Options struct {
	MaxBytes  int  // 0: 1 GiB
	MaxDepth  int  // 0: MaxDepth
	Positions bool // remember where each value stood in the source (Value.Offset)
	// Duplicate is called for the second and later members of the same name in an object, with the offset of the name.
	// Without it they are accepted in silence. The last value counts either way.
	Duplicate func(name string, offset int)
}

// SyntaxError says where a text stops being JSON.
type SyntaxError struct {
	Offset int
	Text   string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at offset %d", e.Text, e.Offset) }

// Parse reads one JSON document. The bytes are copied.
func Parse(b []byte) (Value, error) { return ParseWith(b, Options{}) }

// ParseLimit is Parse for at most max bytes.
func ParseLimit(b []byte, max int) (Value, error) { return ParseWith(b, Options{MaxBytes: max}) }

// MustParse is Parse of a text that is known to be JSON.
func MustParse(s string) Value {
	v, err := Parse([]byte(s))
	if err != nil {
		panic(fmt.Sprintf("jsonvalue: %q: %v", s, err))
	}
	return v
}

// ParseWith reads one JSON document with options.
func ParseWith(b []byte, o Options) (Value, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	if o.MaxDepth == 0 {
		o.MaxDepth = MaxDepth
	}
	if len(b) > o.MaxBytes || len(b) >= math.MaxUint32 {
		return Value{}, &SyntaxError{o.MaxBytes, fmt.Sprintf("more than %d bytes", o.MaxBytes)}
	}
	p := parser{src: b, o: o, out: make([]byte, 0, len(b)), tape: make([]tok, 0, 8+len(b)/12)}
	p.space()
	if err := p.value(0); err != nil {
		return Value{}, err
	}
	p.space()
	if p.at < len(b) {
		return Value{}, p.unexpected("after the document")
	}
	d := &document{raw: p.out, tape: p.tape, offsets: p.offsets}
	v := Value{d: d}
	if p.dup {
		v = withoutDuplicates(v, o.Positions)
	}
	return v, nil
}

type parser struct {
	src     []byte
	at      int
	out     []byte
	tape    []tok
	offsets []uint32
	o       Options
	dup     bool
}

func (p *parser) unexpected(where string) error {
	if p.at >= len(p.src) {
		return &SyntaxError{p.at, "unexpected end of the text " + where}
	}
	r, _ := utf8.DecodeRune(p.src[p.at:])
	return &SyntaxError{p.at, fmt.Sprintf("unexpected character %q %s", r, where)}
}

func (p *parser) space() {
	for p.at < len(p.src) {
		switch p.src[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

func (p *parser) push(k Kind) int {
	p.tape = append(p.tape, tok{start: uint32(len(p.out)), kind: k})
	if p.o.Positions {
		p.offsets = append(p.offsets, uint32(p.at))
	}
	return len(p.tape) - 1
}

func (p *parser) pop(i int) {
	p.tape[i].end, p.tape[i].next = uint32(len(p.out)), uint32(len(p.tape))
}

func (p *parser) value(depth int) error {
	if p.at >= len(p.src) {
		return p.unexpected("where a value should be")
	}
	switch c := p.src[p.at]; {
	case c == '{' || c == '[':
		if depth >= p.o.MaxDepth {
			return &SyntaxError{p.at, fmt.Sprintf("nested deeper than %d", p.o.MaxDepth)}
		}
		if c == '{' {
			return p.object(depth)
		}
		return p.array(depth)
	case c == '"':
		i := p.push(KindString)
		if err := p.str(i); err != nil {
			return err
		}
		p.pop(i)
		return nil
	case c == '-' || c >= '0' && c <= '9':
		end := scanNumber(p.src, p.at)
		if end < 0 {
			return p.unexpected("in a number")
		}
		i := p.push(KindNumber)
		p.out = append(p.out, p.src[p.at:end]...)
		p.at = end
		p.pop(i)
		return nil
	}
	for _, w := range [...]struct {
		text string
		kind Kind
	}{{"true", KindBool}, {"false", KindBool}, {"null", KindNull}} {
		if bytes.HasPrefix(p.src[p.at:], []byte(w.text)) {
			i := p.push(w.kind)
			p.out = append(p.out, w.text...)
			p.at += len(w.text)
			p.pop(i)
			return nil
		}
	}
	return p.unexpected("where a value should be")
}

func (p *parser) array(depth int) error {
	i := p.push(KindArray)
	p.at++
	p.out = append(p.out, '[')
	p.space()
	if p.at < len(p.src) && p.src[p.at] == ']' {
		p.at++
	} else {
		for {
			if err := p.value(depth + 1); err != nil {
				return err
			}
			p.tape[i].n++
			p.space()
			if p.at >= len(p.src) || p.src[p.at] != ',' && p.src[p.at] != ']' {
				return p.unexpected("after an array element")
			}
			c := p.src[p.at]
			p.at++
			if c == ']' {
				break
			}
			p.out = append(p.out, ',')
			p.space()
		}
	}
	p.out = append(p.out, ']')
	p.pop(i)
	return nil
}

func (p *parser) object(depth int) error {
	i := p.push(KindObject)
	p.at++
	p.out = append(p.out, '{')
	p.space()
	if p.at < len(p.src) && p.src[p.at] == '}' {
		p.at++
	} else {
		var seen map[string]struct{}
		for {
			if p.at >= len(p.src) || p.src[p.at] != '"' {
				return p.unexpected("where a member's name should be")
			}
			k, offset := p.push(KindString), p.at
			if err := p.str(k); err != nil {
				return err
			}
			p.pop(k)
			if p.repeated(i, k, &seen) {
				p.dup = true
				if p.o.Duplicate != nil {
					p.o.Duplicate(unescape(p.out[p.tape[k].start:p.tape[k].end]), offset)
				}
			}
			p.space()
			if p.at >= len(p.src) || p.src[p.at] != ':' {
				return p.unexpected("after a member's name")
			}
			p.at++
			p.out = append(p.out, ':')
			p.space()
			if err := p.value(depth + 1); err != nil {
				return err
			}
			p.tape[i].n++
			p.space()
			if p.at >= len(p.src) || p.src[p.at] != ',' && p.src[p.at] != '}' {
				return p.unexpected("after a member")
			}
			c := p.src[p.at]
			p.at++
			if c == '}' {
				break
			}
			p.out = append(p.out, ',')
			p.space()
		}
	}
	p.out = append(p.out, '}')
	p.pop(i)
	return nil
}

// repeated reports whether the key token k stands in the object i already. Small objects are searched, large ones get
// a set, so that a hostile object costs no square of its size.
func (p *parser) repeated(i, k int, seen *map[string]struct{}) bool {
	key := p.out[p.tape[k].start:p.tape[k].end]
	n := int(p.tape[i].n)
	if *seen == nil {
		at := i + 1
		if n < 16 {
			for ; n > 0; n-- {
				t := &p.tape[at]
				if t.end-t.start == uint32(len(key)) && bytes.Equal(p.out[t.start:t.end], key) {
					return true
				}
				at = int(p.tape[at+1].next)
			}
			return false
		}
		*seen = make(map[string]struct{}, 64)
		for ; n > 0; n-- {
			(*seen)[string(p.out[p.tape[at].start:p.tape[at].end])] = struct{}{}
			at = int(p.tape[at+1].next)
		}
	}
	if _, ok := (*seen)[string(key)]; ok {
		return true
	}
	(*seen)[string(key)] = struct{}{}
	return false
}

// str copies the string at p.at in canonical form: only quotes, backslashes and control characters stay escaped.
func (p *parser) str(i int) error {
	p.out = append(p.out, '"')
	p.at++
	for {
		run := p.at
		for p.at < len(p.src) {
			c := p.src[p.at]
			if c < 0x20 || c == '"' || c == '\\' {
				break
			}
			if c < utf8.RuneSelf {
				p.at++
				continue
			}
			r, n := utf8.DecodeRune(p.src[p.at:])
			if r == utf8.RuneError && n == 1 {
				return &SyntaxError{p.at, "invalid UTF-8 in a string"}
			}
			p.at += n
		}
		p.out = append(p.out, p.src[run:p.at]...)
		if p.at >= len(p.src) {
			return p.unexpected("in a string")
		}
		switch c := p.src[p.at]; c {
		case '"':
			p.at++
			p.out = append(p.out, '"')
			return nil
		case '\\':
			r, n := unescapeOne(p.src[p.at:])
			if n == 0 {
				return &SyntaxError{p.at, "invalid escape in a string"}
			}
			p.at += n
			before := len(p.out)
			p.out = appendRune(p.out, r)
			if p.out[before] == '\\' {
				p.tape[i].escaped = true
			}
		default:
			return &SyntaxError{p.at, fmt.Sprintf("unescaped control character %q in a string", c)}
		}
	}
}

// unescapeOne decodes the escape at the start of b; n is 0 when it is invalid. A lone surrogate is U+FFFD.
func unescapeOne(b []byte) (r rune, n int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, ok := hex4(b)
		if !ok {
			return 0, 0
		}
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
			if low, ok := hex4(b[6:]); ok {
				if d := utf16.DecodeRune(r, low); d != utf8.RuneError {
					return d, 12
				}
			}
		}
		return utf8.RuneError, 6
	}
	return 0, 0
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 6 {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func appendRune(out []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	switch r {
	case '"', '\\':
		return append(out, '\\', byte(r))
	case '\b':
		return append(out, '\\', 'b')
	case '\f':
		return append(out, '\\', 'f')
	case '\n':
		return append(out, '\\', 'n')
	case '\r':
		return append(out, '\\', 'r')
	case '\t':
		return append(out, '\\', 't')
	}
	if r < 0x20 {
		return append(out, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
	}
	return utf8.AppendRune(out, r)
}

// appendString writes s as canonical JSON text.
func appendString(out []byte, s string) []byte {
	out = append(out, '"')
	if isPlain(s) {
		out = append(out, s...)
	} else {
		for _, r := range s {
			out = appendRune(out, r)
		}
	}
	return append(out, '"')
}

// unescape decodes canonical string text.
func unescape(raw []byte) string {
	raw = raw[1 : len(raw)-1]
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return string(append(out, raw...))
		}
		out = append(out, raw[:i]...)
		r, n := unescapeOne(raw[i:])
		out = utf8.AppendRune(out, r)
		raw = raw[i+n:]
	}
	return string(out)
}

// scanNumber is the end of the JSON number at b[at:], -1 when there is none.
func scanNumber(b []byte, at int) int {
	digits := func() bool {
		from := at
		for at < len(b) && b[at] >= '0' && b[at] <= '9' {
			at++
		}
		return at > from
	}
	if at < len(b) && b[at] == '-' {
		at++
	}
	if at < len(b) && b[at] == '0' {
		at++
		if at < len(b) && b[at] >= '0' && b[at] <= '9' {
			return -1
		}
	} else if !digits() {
		return -1
	}
	if at < len(b) && b[at] == '.' {
		at++
		if !digits() {
			return -1
		}
	}
	if at < len(b) && (b[at] == 'e' || b[at] == 'E') {
		at++
		if at < len(b) && (b[at] == '+' || b[at] == '-') {
			at++
		}
		if !digits() {
			return -1
		}
	}
	return at
}

// indexCompact builds the index of text that is known to be valid, compact and canonical, without recursion.
func indexCompact(raw []byte) []tok {
	tape := make([]tok, 0, 4+len(raw)/12)
	var open []uint32 // tokens of the arrays and objects around
	key := false      // the next string is a member's name
	value := func() {
		if len(open) > 0 {
			tape[open[len(open)-1]].n++
		}
	}
	for at := 0; at < len(raw); {
		start := uint32(at)
		switch c := raw[at]; c {
		case '{', '[':
			value()
			k := KindObject
			if c == '[' {
				k = KindArray
			}
			open = append(open, uint32(len(tape)))
			tape = append(tape, tok{start: start, kind: k})
			key = c == '{'
			at++
		case '}', ']':
			at++
			t := &tape[open[len(open)-1]]
			t.end, t.next = uint32(at), uint32(len(tape))
			open = open[:len(open)-1]
			key = false
		case ',':
			at++
			key = tape[open[len(open)-1]].kind == KindObject
		case ':':
			at++
			key = false
		case '"':
			escaped := false
			at++
			for raw[at] != '"' {
				if raw[at] == '\\' {
					escaped = true
					at++
				}
				at++
			}
			at++
			if !key {
				value()
			}
			tape = append(tape, tok{start: start, end: uint32(at), next: uint32(len(tape) + 1), kind: KindString, escaped: escaped})
		default:
			value()
			k := KindNumber
			switch c {
			case 't', 'f':
				k = KindBool
			case 'n':
				k = KindNull
			}
			for at < len(raw) && raw[at] != ',' && raw[at] != '}' && raw[at] != ']' {
				at++
			}
			tape = append(tape, tok{start: start, end: uint32(at), next: uint32(len(tape) + 1), kind: k})
		}
	}
	return tape
}

// withoutDuplicates rewrites a document in which a name appears twice in an object: the last value counts, at the
// place of the first.
func withoutDuplicates(v Value, positions bool) Value {
	d := &document{}
	old := v.d.tape
	var write func(i uint32)
	put := func(i uint32) uint32 {
		d.tape = append(d.tape, tok{start: uint32(len(d.raw)), kind: old[i].kind, escaped: old[i].escaped})
		if positions {
			d.offsets = append(d.offsets, v.d.offsets[i])
		}
		return uint32(len(d.tape) - 1)
	}
	done := func(n uint32) {
		d.tape[n].end, d.tape[n].next = uint32(len(d.raw)), uint32(len(d.tape))
	}
	write = func(i uint32) {
		t := old[i]
		n := put(i)
		switch t.kind {
		case KindObject:
			last := map[string]uint32{}
			var order []string
			first := map[string]uint32{}
			for at, left := i+1, t.n; left > 0; left-- {
				name := string(v.d.raw[old[at].start:old[at].end])
				if _, ok := first[name]; !ok {
					first[name] = at
					order = append(order, name)
				}
				last[name] = at + 1
				at = old[at+1].next
			}
			d.raw = append(d.raw, '{')
			for j, name := range order {
				if j > 0 {
					d.raw = append(d.raw, ',')
				}
				k := put(first[name])
				d.raw = append(d.raw, name...)
				done(k)
				d.raw = append(d.raw, ':')
				write(last[name])
			}
			d.raw = append(d.raw, '}')
			d.tape[n].n = uint32(len(order))
		case KindArray:
			d.raw = append(d.raw, '[')
			for at, left := i+1, t.n; left > 0; left-- {
				if left < t.n {
					d.raw = append(d.raw, ',')
				}
				write(at)
				at = old[at].next
			}
			d.raw = append(d.raw, ']')
			d.tape[n].n = t.n
		default:
			d.raw = append(d.raw, v.d.raw[t.start:t.end]...)
		}
		done(n)
	}
	write(0)
	return Value{d: d}
}
