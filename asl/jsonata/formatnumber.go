package jsonata

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// numberSigns are the characters of a picture for $formatNumber, which options may replace.
type numberSigns map[string]string

func (s numberSigns) digit(ch string) bool {
	zero, r := []rune(s["zero-digit"])[0], []rune(ch)[0]
	return r >= zero && r <= zero+9
}

// active reports whether ch means something between prefix and suffix.
func (s numberSigns) active(ch string) bool {
	return s.digit(ch) || ch == s["decimal-separator"] || ch == s["exponent-separator"] || ch == s["grouping-separator"] ||
		ch == s["digit"] || ch == s["pattern-separator"]
}

func (s numberSigns) count(part string, optional bool) (n int) {
	for _, r := range part {
		if ch := string(r); s.digit(ch) || optional && ch == s["digit"] {
			n++
		}
	}
	return n
}

// numberPicture is one half of a picture: for positive or for negative numbers.
type numberPicture struct {
	text, prefix, suffix, activePart string
	mantissa, integer, fraction      string
	exponent                         string
	hasExponent                      bool
	minInteger, scaling              int
	minFraction, maxFraction, minExp int
	integerGroups, fractionGroups    []int
	regular                          int
}

func (s numberSigns) picture(text string) *numberPicture {
	p := &numberPicture{text: text}
	chars := strings.Split(text, "")
	outside := func(ch string) bool { return !s.active(ch) || ch == s["exponent-separator"] }
	first, last := 0, len(chars)
	for first < len(chars) && outside(chars[first]) {
		first++
	}
	for last > 0 && outside(chars[last-1]) {
		last--
	}
	if first < last {
		p.prefix, p.suffix = strings.Join(chars[:first], ""), strings.Join(chars[last:], "")
		p.activePart = strings.Join(chars[first:last], "")
	} else {
		p.activePart = text
	}
	p.mantissa = p.activePart
	if before, after, ok := strings.Cut(p.activePart, s["exponent-separator"]); ok {
		p.mantissa, p.exponent, p.hasExponent = before, after, true
	}
	p.integer, p.fraction = p.mantissa, p.suffix
	if before, after, ok := strings.Cut(p.mantissa, s["decimal-separator"]); ok {
		p.integer, p.fraction = before, after
	}
	return p
}

func (s numberSigns) validate(p *numberPicture) {
	code, group := "", s["grouping-separator"]
	refuse := func(bad bool, c string) {
		if bad {
			code = c
		}
	}
	point := strings.Index(p.text, s["decimal-separator"])
	percent, mille := strings.Count(p.text, s["percent"]), strings.Count(p.text, s["per-mille"])
	refuse(strings.Count(p.text, s["decimal-separator"]) > 1, "D3081")
	refuse(percent > 1, "D3082")
	refuse(mille > 1, "D3083")
	refuse(percent > 0 && mille > 0, "D3084")
	refuse(s.count(p.mantissa, true) == 0, "D3085")
	for _, r := range p.activePart {
		refuse(!s.active(string(r)), "D3086")
	}
	if point >= 0 {
		refuse(strings.HasSuffix(p.text[:point], group) || strings.HasPrefix(p.text[point+len(s["decimal-separator"]):], group), "D3087")
	} else {
		refuse(strings.HasSuffix(p.integer, group), "D3088")
	}
	refuse(strings.Contains(p.text, group+group), "D3089")
	if i := strings.Index(p.integer, s["digit"]); i >= 0 {
		refuse(s.count(p.integer[:i], false) > 0, "D3090")
	}
	if i := strings.LastIndex(p.fraction, s["digit"]); i >= 0 {
		refuse(s.count(p.fraction[i:], false) > 0, "D3091")
	}
	refuse(p.hasExponent && p.exponent != "" && percent+mille > 0, "D3092")
	refuse(p.hasExponent && (p.exponent == "" || s.count(p.exponent, false) < characters(p.exponent)), "D3093")
	if code != "" {
		throw(&Error{Code: code})
	}
}

func (s numberSigns) analyse(p *numberPicture) {
	group := s["grouping-separator"]
	for i, r := range p.integer {
		if string(r) == group {
			p.integerGroups = append(p.integerGroups, s.count(p.integer[i:], true))
		}
	}
	for i, r := range p.fraction {
		if string(r) == group {
			p.fractionGroups = append(p.fractionGroups, s.count(p.fraction[:i], true))
		}
	}
	p.regular = regularDistance(p.integerGroups)
	p.minInteger = s.count(p.integer, false)
	p.scaling = p.minInteger
	p.minFraction, p.maxFraction = s.count(p.fraction, false), s.count(p.fraction, true)
	if p.minInteger == 0 && p.maxFraction == 0 {
		if p.hasExponent {
			p.minFraction, p.maxFraction = 1, 1
		} else {
			p.minInteger = 1
		}
	}
	if p.hasExponent && p.minInteger == 0 && strings.Contains(p.integer, s["digit"]) {
		p.minInteger = 1
	}
	if p.minInteger == 0 && p.minFraction == 0 {
		p.minFraction = 1
	}
	p.minExp = s.count(p.exponent, false)
}

// digits writes f with this many places, in the picture's digits.
func (s numberSigns) digits(f float64, places int) string {
	zero := []rune(s["zero-digit"])[0]
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r - '0' + zero
		}
		return r
	}, strconv.FormatFloat(math.Abs(f), 'f', places, 64))
}

func formatNumber(c *call) value {
	signs := numberSigns{"decimal-separator": ".", "grouping-separator": ",", "exponent-separator": "e", "infinity": "Infinity",
		"minus-sign": "-", "NaN": "NaN", "percent": "%", "per-mille": "\u2030", "zero-digit": "0", "digit": "#", "pattern-separator": ";"}
	if options, ok := c.arg(2).(*object); ok {
		for k, v := range options.members {
			if text, ok := v.(string); ok && text != "" {
				signs[k] = text
			}
		}
	}
	f := c.num(0)
	numeric(f)
	texts := strings.Split(c.str(1), signs["pattern-separator"])
	if len(texts) > 2 {
		throw(&Error{Code: "D3080"})
	}
	c.grow(4*len(c.str(1)) + 400)
	c.picture(c.str(1))
	pictures := make([]*numberPicture, len(texts))
	for i, text := range texts {
		pictures[i] = signs.picture(text)
		signs.validate(pictures[i])
		signs.analyse(pictures[i])
	}
	p := pictures[0]
	prefix := p.prefix
	if f < 0 {
		if len(pictures) == 2 {
			p = pictures[1]
			prefix = p.prefix
		} else {
			prefix = signs["minus-sign"] + prefix
		}
	}
	return prefix + signs.format(p, f) + p.suffix
}

func (s numberSigns) format(p *numberPicture, f float64) string {
	switch {
	case strings.Contains(p.text, s["percent"]):
		f *= 100
	case strings.Contains(p.text, s["per-mille"]):
		f *= 1000
	}
	exponent := 0
	if p.minExp > 0 && f != 0 && !math.IsInf(f, 0) {
		largest, least := math.Pow10(p.scaling), math.Pow10(p.scaling-1)
		for ; math.Abs(f) < least; exponent-- {
			f *= 10
		}
		for ; math.Abs(f) > largest; exponent++ {
			f /= 10
		}
	}
	zero := s["zero-digit"]
	text := s.digits(round(f, p.maxFraction), p.maxFraction)
	whole, fraction, _ := strings.Cut(text, ".")
	pad := func(n int) string { return strings.Repeat(zero, max(0, n)) }
	for strings.HasPrefix(whole, zero) {
		whole = whole[len(zero):]
	}
	for strings.HasSuffix(fraction, zero) {
		fraction = fraction[:len(fraction)-len(zero)]
	}
	whole = pad(p.minInteger-characters(whole)) + whole
	fraction += pad(p.minFraction - characters(fraction))

	group := []rune(s["grouping-separator"])
	digits := []rune(whole)
	positions := slices.Clone(p.integerGroups)
	if p.regular > 0 {
		positions = nil
		for at := p.regular; at < len(digits); at += p.regular {
			positions = append(positions, at)
		}
	}
	slices.Sort(positions)
	slices.Reverse(positions) // from the left, so that the places from the right stay right
	inserted := 0
	for _, at := range positions {
		if place := characters(whole) - at; place >= 0 {
			digits = slices.Insert(digits, place+inserted, group...)
			inserted += len(group)
		}
	}
	out := string(digits)
	if fraction != "" && strings.Contains(p.text, s["decimal-separator"]) {
		places := []rune(fraction)
		for i, at := range p.fractionGroups {
			if at+i <= len(places) {
				places = slices.Insert(places, at+i, group...)
			}
		}
		out += s["decimal-separator"] + string(places)
	}
	if p.minExp > 0 {
		e := s.digits(float64(exponent), 0)
		out += s["exponent-separator"]
		if exponent < 0 {
			out += s["minus-sign"]
		}
		out += pad(p.minExp-characters(e)) + e
	}
	return out
}
