package jsonata

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// numeral is how an integer picture (of XPath's format-integer) writes numbers.
type numeral uint8

const (
	numeralDecimal numeral = iota
	numeralLetters
	numeralRoman
	numeralWords
	numeralUnknown
)

type letterCase uint8

const (
	caseLower letterCase = iota
	caseUpper
	caseTitle
)

// integerPicture is an analysed picture, such as "#,##0;o".
type integerPicture struct {
	numeral    numeral
	letters    letterCase
	ordinal    bool
	zero       rune
	mandatory  int // digits
	optional   int
	regular    int // distance of the grouping separators, when they are regular
	separators []separator
	token      string
	width      int // how many digits are read, when others follow at once
}

type separator struct {
	position  int // digits to the right
	character rune
}

var digitGroups = []rune{0x30, 0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6,
	0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620,
	0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10}

func analyseInteger(picture string) *integerPicture {
	p := &integerPicture{token: picture, zero: '0'}
	if i := strings.LastIndexByte(picture, ';'); i >= 0 {
		p.token, p.ordinal = picture[:i], strings.HasPrefix(picture[i+1:], "o")
	}
	switch p.token {
	case "A", "I", "W":
		p.letters = caseUpper
	case "Ww":
		p.letters = caseTitle
	}
	switch p.token {
	case "A", "a":
		p.numeral = numeralLetters
	case "I", "i":
		p.numeral = numeralRoman
	case "W", "Ww", "w":
		p.numeral = numeralWords
	default:
		p.analyseDigits()
	}
	return p
}

func (p *integerPicture) analyseDigits() {
	position, zero := 0, rune(-1)
	signs := []rune(p.token)
	slices.Reverse(signs)
	for _, r := range signs {
		group := slices.IndexFunc(digitGroups, func(g rune) bool { return r >= g && r <= g+9 })
		switch {
		case group >= 0:
			if zero >= 0 && zero != digitGroups[group] {
				throw(&Error{Code: "D3131"})
			}
			zero = digitGroups[group]
			p.mandatory++
			position++
		case r == '#':
			p.optional++
			position++
		default:
			p.separators = append(p.separators, separator{position, r})
		}
	}
	if p.mandatory == 0 {
		p.numeral = numeralUnknown
		return
	}
	p.zero = zero
	positions := make([]int, len(p.separators))
	for i, s := range p.separators {
		positions[i] = s.position
		if s.character != p.separators[0].character {
			return
		}
	}
	p.regular = regularDistance(positions)
}

// regularDistance is d when the positions are d, 2d, 3d …, else 0.
func regularDistance(positions []int) int {
	if len(positions) == 0 {
		return 0
	}
	d := positions[0]
	for _, n := range positions[1:] {
		for n != 0 {
			d, n = n, d%n
		}
	}
	for i := range positions {
		if !slices.Contains(positions, (i+1)*d) {
			return 0
		}
	}
	return d
}

// format writes a whole number.
func (p *integerPicture) format(e *evaluator, f float64) string {
	sign := ""
	if f < 0 {
		sign, f = "-", -f
	}
	if math.IsInf(f, 0) || f != f {
		fail("D1001", f)
	}
	var s string
	switch p.numeral {
	case numeralLetters:
		s = letterNumeral(f)
	case numeralRoman:
		e.grow(int(min(f/1000, math.MaxInt32)))
		s = romanNumeral(f)
	case numeralWords:
		s = words(f, p.ordinal)
	case numeralUnknown:
		fail("D3130", p.token)
	default:
		return sign + p.digits(e, f)
	}
	switch {
	case p.letters == caseUpper:
		s = strings.ToUpper(s)
	case p.letters == caseLower:
		s = strings.ToLower(s)
	}
	return sign + s
}

func (p *integerPicture) digits(e *evaluator, f float64) string {
	text := numberText(f)
	e.grow(p.mandatory)
	if missing := p.mandatory - len(text); missing > 0 {
		text = strings.Repeat("0", missing) + text
	}
	digits := []rune(text)
	for i := range digits {
		digits[i] += p.zero - '0'
	}
	insert := func(position int, r rune) {
		if at := len(digits) - position; at >= 0 {
			digits = slices.Insert(digits, at, r)
		}
	}
	if p.regular > 0 {
		for n, i := (len(digits)-1)/p.regular, 0; i < n; i++ {
			insert((i+1)*p.regular+i, p.separators[0].character)
		}
	} else {
		for i, s := range p.separators {
			insert(s.position+i, s.character)
		}
	}
	if p.ordinal {
		suffix := map[rune]string{'1': "st", '2': "nd", '3': "rd"}[digits[len(digits)-1]]
		if suffix == "" || len(digits) > 1 && digits[len(digits)-2] == '1' {
			suffix = "th"
		}
		return string(digits) + suffix
	}
	return string(digits)
}

func letterNumeral(f float64) string {
	var s []byte
	for ; f > 0; f = math.Floor((f - 1) / 26) {
		s = append(s, 'A'+byte(math.Mod(f-1, 26)))
	}
	slices.Reverse(s)
	return string(s)
}

var romanNumerals = []struct {
	value float64
	text  string
}{{900, "CM"}, {500, "D"}, {400, "CD"}, {100, "C"}, {90, "XC"}, {50, "L"}, {40, "XL"}, {10, "X"}, {9, "IX"}, {5, "V"}, {4, "IV"}, {1, "I"}}

func romanNumeral(f float64) string {
	s := strings.Repeat("M", int(f/1000))
	f = math.Mod(f, 1000)
	for _, r := range romanNumerals {
		for f >= r.value {
			s, f = s+r.text, f-r.value
		}
	}
	return s
}

var (
	few = strings.Fields("Zero One Two Three Four Five Six Seven Eight Nine Ten Eleven Twelve Thirteen Fourteen Fifteen Sixteen " +
		"Seventeen Eighteen Nineteen")
	fewth = strings.Fields("Zeroth First Second Third Fourth Fifth Sixth Seventh Eighth Ninth Tenth Eleventh Twelfth Thirteenth " +
		"Fourteenth Fifteenth Sixteenth Seventeenth Eighteenth Nineteenth")
	decades    = strings.Fields("Twenty Thirty Forty Fifty Sixty Seventy Eighty Ninety Hundred")
	magnitudes = strings.Fields("Thousand Million Billion Trillion")
	wordValues = map[string]float64{}
	// wordPattern matches numbers in words, and nothing that stands before or after them.
	wordPattern string
)

func init() {
	for i := range few {
		wordValues[strings.ToLower(few[i])], wordValues[strings.ToLower(fewth[i])] = float64(i), float64(i)
	}
	for i, w := range decades {
		w = strings.ToLower(w)
		wordValues[w], wordValues[w[:len(w)-1]+"ieth"] = float64(i+2)*10, float64(i+2)*10
	}
	wordValues["hundredth"] = 100
	for i, w := range magnitudes {
		w = strings.ToLower(w)
		wordValues[w], wordValues[w+"th"] = math.Pow10(3*(i+1)), math.Pow10(3*(i+1))
	}
	all := slices.Sorted(maps.Keys(wordValues))
	slices.Reverse(all) // sixteen before six
	wordPattern = "(?:" + strings.Join(all, "|") + "|and|[-, ])+"
}

// words is a number in English, in title case.
func words(f float64, ordinal bool) string {
	var spell func(f float64, follows, ordinal bool) string
	rest := func(f float64, ordinal bool) string {
		if f > 0 {
			return spell(f, true, ordinal)
		}
		if ordinal {
			return "th"
		}
		return ""
	}
	spell = func(f float64, follows, ordinal bool) string {
		joint, comma := "", ""
		if follows {
			joint, comma = " and ", ", "
		}
		switch {
		case f <= 19:
			if ordinal {
				return joint + fewth[int(f)]
			}
			return joint + few[int(f)]
		case f < 100:
			ten := decades[int(f)/10-2]
			if unit := math.Mod(f, 10); unit > 0 {
				return joint + ten + "-" + spell(unit, false, ordinal)
			}
			if ordinal {
				return joint + ten[:len(ten)-1] + "ieth"
			}
			return joint + ten
		case f < 1000:
			return comma + few[int(f)/100] + " Hundred" + rest(math.Mod(f, 100), ordinal)
		}
		size := min(int(math.Log10(f)/3), len(magnitudes))
		factor := math.Pow10(3 * size)
		count := math.Floor(f / factor)
		return comma + spell(count, false, false) + " " + magnitudes[size-1] + rest(f-count*factor, ordinal)
	}
	return spell(f, false, ordinal)
}

var wordBreak = regexp.MustCompile(`,\s|\sand\s|[\s\\-]`)

func wordsValue(text string) value {
	parts := []float64{0}
	for _, word := range wordBreak.Split(text, -1) {
		v, ok := wordValues[word]
		if !ok {
			return nil
		}
		last := &parts[len(parts)-1]
		switch {
		case v >= 100:
			*last *= v
		case *last >= 1000:
			parts = append(parts, v)
		default:
			*last += v
		}
	}
	total := 0.0
	for _, v := range parts {
		total += v
	}
	return total
}

// pattern is a regular expression of what the picture writes.
func (p *integerPicture) pattern() string {
	switch p.numeral {
	case numeralLetters:
		return "[A-Za-z]+"
	case numeralRoman:
		return "[MDCLXVImdclxvi]+"
	case numeralWords:
		return wordPattern
	case numeralUnknown:
		fail("D3130", p.token)
	}
	s := "[0-9]+"
	if p.width > 0 {
		s = "[0-9]{" + strconv.Itoa(min(p.width, 1000)) + "}"
	}
	if p.ordinal {
		s += "(?:th|st|nd|rd)"
	}
	return s
}

// parse reads what the picture writes; nil when it is no number.
func (p *integerPicture) parse(s string) value {
	switch p.numeral {
	case numeralLetters:
		total := 0.0
		for _, r := range strings.ToUpper(s) {
			total = total*26 + float64(r-'A'+1)
		}
		return total
	case numeralRoman:
		units := map[rune]float64{'M': 1000, 'D': 500, 'C': 100, 'L': 50, 'X': 10, 'V': 5, 'I': 1}
		total, largest := 0.0, 1.0
		numerals := []rune(strings.ToUpper(s))
		slices.Reverse(numerals)
		for _, r := range numerals {
			if v := units[r]; v < largest {
				total -= v
			} else {
				largest = v
				total += v
			}
		}
		return total
	case numeralWords:
		return wordsValue(strings.ToLower(s))
	case numeralUnknown:
		fail("D3130", p.token)
	}
	if p.ordinal && len(s) >= 2 {
		s = s[:len(s)-2]
	}
	if p.regular > 0 {
		s = strings.ReplaceAll(s, ",", "")
	}
	for _, sep := range p.separators {
		s = strings.ReplaceAll(s, string(sep.character), "")
	}
	digits := strings.Map(func(r rune) rune { return r - p.zero + '0' }, s)
	end := 0
	for end < len(digits) && (digits[end] >= '0' && digits[end] <= '9' || end == 0 && digits[end] == '-') {
		end++
	}
	f, err := strconv.ParseFloat(digits[:end], 64)
	if err != nil {
		return nil
	}
	return f
}

// picture accounts for the work that a picture makes, which grows faster than its length. It is a few characters as a rule.
func (e *evaluator) picture(text string) {
	e.step(len(text))
	e.step(min(len(text), 1<<20) * min(len(text), 1<<20) / 64)
}

func formatInteger(c *call) value {
	c.picture(c.str(1))
	return analyseInteger(c.str(1)).format(c.evaluator, math.Floor(c.num(0)))
}

func parseInteger(c *call) value {
	c.picture(c.str(1))
	c.step(len(c.str(0)) / 64 * (1 + min(len(c.str(1)), 1<<20)))
	return analyseInteger(c.str(1)).parse(c.str(0))
}
