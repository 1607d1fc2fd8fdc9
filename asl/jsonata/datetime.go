package jsonata

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/regex"
)

// datePart is a literal or a marker such as [Y0001] of a date-time picture.
type datePart struct {
	literal   string
	component byte // 0: literal
	names     bool
	letters   letterCase
	zulu      bool // t: Z for no offset
	hasWidth  bool
	maxWidth  int // 0: not given
	digits    int // year: how many digits are kept; 0: all
	integer   *integerPicture
}

var defaultPresentation = map[byte]string{'Y': "1", 'M': "1", 'D': "1", 'd': "1", 'F': "n", 'W': "1", 'w': "1", 'X': "1", 'x': "1",
	'H': "1", 'h': "1", 'P': "n", 'm': "01", 's': "01", 'f': "1", 'Z': "01:01", 'z': "01:01", 'C': "n", 'E': "n"}

const isoPicture = "[Y0001]-[M01]-[D01]T[H01]:[m01]:[s01].[f001][Z01:01t]"

func analyseDate(picture string) (parts []*datePart) {
	literal := func(s string) {
		if s != "" {
			parts = append(parts, &datePart{literal: strings.ReplaceAll(s, "]]", "]")})
		}
	}
	for {
		before, rest, found := strings.Cut(picture, "[")
		literal(before)
		if !found {
			return parts
		}
		if strings.HasPrefix(rest, "[") {
			parts = append(parts, &datePart{literal: "["})
			picture = rest[1:]
			continue
		}
		marker, after, closed := strings.Cut(rest, "]")
		if !closed {
			throw(&Error{Code: "D3135"})
		}
		picture = after
		p := analyseMarker(strings.Join(strings.Fields(marker), ""))
		if n := len(parts); p.integer != nil && !p.names && p.component|0x20 != 'z' && n > 0 && parts[n-1].integer != nil {
			parts[n-1].integer.width = parts[n-1].integer.mandatory
		}
		parts = append(parts, p)
	}
}

func analyseMarker(marker string) *datePart {
	p := &datePart{}
	if marker == "" {
		fail("D3132", "")
	}
	p.component = marker[0]
	presentation, minWidth := marker[1:], 0
	if comma := strings.LastIndexByte(marker, ','); comma > 0 {
		least, most, _ := strings.Cut(marker[comma+1:], "-")
		minWidth, _ = strconv.Atoi(least)
		p.maxWidth, _ = strconv.Atoi(most)
		minWidth, p.maxWidth = min(max(minWidth, 0), 1000), min(max(p.maxWidth, 0), 1000)
		presentation = marker[1:comma]
	}
	modifier := ""
	if n := len(presentation); n > 1 && strings.IndexByte("atco", presentation[n-1]) >= 0 {
		presentation, modifier = presentation[:n-1], presentation[n-1:]
	}
	p.zulu = modifier == "t"
	if presentation == "" {
		presentation = defaultPresentation[p.component]
	}
	switch {
	case presentation == "":
		fail("D3132", marker[:1])
	case presentation[0] == 'n':
		p.names = true
	case strings.HasPrefix(presentation, "Nn"):
		p.names, p.letters = true, caseTitle
	case presentation[0] == 'N':
		p.names, p.letters = true, caseUpper
	case strings.IndexByte("YMDdFWwXxHhmsf", p.component) >= 0:
		if modifier != "" {
			presentation += ";" + modifier
		}
		p.integer = analyseInteger(presentation)
		p.integer.mandatory = max(p.integer.mandatory, minWidth)
		if p.component == 'Y' {
			if p.maxWidth > 0 {
				p.digits, p.integer.mandatory = p.maxWidth, p.maxWidth
			} else if n := p.integer.mandatory + p.integer.optional; n >= 2 {
				p.digits = n
			}
		}
	}
	if p.component|0x20 == 'z' {
		p.integer = analyseInteger(presentation)
	}
	return p
}

func millisOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// clampMillis keeps a time within what JavaScript's dates can hold.
func clampMillis(f float64) float64 {
	if math.Abs(f) > 8.64e15 || f != f {
		fail("D1001", f)
	}
	return f
}

const day = 24 * time.Hour

// firstWeek is the Monday of the first ISO week of a year or month: the week with its first Thursday.
func firstWeek(year int, month time.Month) time.Time {
	first := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
	weekday := (int(first.Weekday()) + 6) % 7 // from Monday
	if weekday > 3 {
		return first.AddDate(0, 0, 7-weekday)
	}
	return first.AddDate(0, 0, -weekday)
}

func weekSince(start, t time.Time) float64 {
	return math.Floor(float64(t.Truncate(day).Sub(start))/float64(7*day)) + 1
}

// component is the number that stands for a letter of a picture.
func component(t time.Time, letter byte) float64 {
	year, month := t.Year(), t.Month()
	switch letter {
	case 'Y':
		return float64(year)
	case 'M':
		return float64(month)
	case 'D':
		return float64(t.Day())
	case 'd':
		return float64(t.YearDay())
	case 'F':
		return float64((t.Weekday()+6)%7 + 1)
	case 'W':
		_, week := t.ISOWeek()
		return float64(week)
	case 'X':
		isoYear, _ := t.ISOWeek()
		return float64(isoYear)
	case 'w':
		if t.Before(firstWeek(year, month)) {
			return weekSince(firstWeek(year, month-1), t)
		}
		if !t.Before(firstWeek(year, month+1)) {
			return 1
		}
		return weekSince(firstWeek(year, month), t)
	case 'x':
		switch {
		case t.Before(firstWeek(year, month)):
			month--
		case !t.Before(firstWeek(year, month+1)):
			month++
		}
		return float64((month+11)%12 + 1)
	case 'H':
		return float64(t.Hour())
	case 'h':
		return float64((t.Hour()+11)%12 + 1)
	case 'P':
		return float64(t.Hour() / 12)
	case 'm':
		return float64(t.Minute())
	case 's':
		return float64(t.Second())
	case 'f':
		return float64(t.Nanosecond() / int(time.Millisecond))
	}
	return 0
}

// formatTime is $fromMillis: the picture and the zone, such as +0100, may be undefined.
func (e *evaluator) formatTime(millis int64, picture, zone value) value {
	text, ok := picture.(string)
	if !ok {
		text = isoPicture
	}
	hours, minutes := 0, 0
	if z, ok := zone.(string); ok {
		n := leadingInt(z)
		hours, minutes = int(math.Floor(float64(n)/100)), n%100
	}
	t := time.UnixMilli(millis).UTC().Add(time.Duration(60*hours+minutes) * time.Minute)
	e.grow(4 * len(text))
	e.picture(text)
	var out strings.Builder
	for _, p := range analyseDate(text) {
		if p.component == 0 {
			out.WriteString(p.literal)
		} else {
			out.WriteString(e.formatPart(p, t, hours, minutes))
		}
	}
	return out.String()
}

func leadingInt(s string) int {
	end := 0
	for end < len(s) && end < 9 && (s[end] >= '0' && s[end] <= '9' || end == 0 && (s[0] == '-' || s[0] == '+')) {
		end++
	}
	n, _ := strconv.Atoi(s[:end])
	return n
}

func (p *datePart) nameCase(s string) string {
	switch {
	case p.letters == caseUpper:
		s = strings.ToUpper(s)
	case p.letters == caseLower:
		s = strings.ToLower(s)
	}
	if p.maxWidth > 0 && len(s) > p.maxWidth {
		s = s[:p.maxWidth]
	}
	return s
}

func (e *evaluator) formatPart(p *datePart, t time.Time, hours, minutes int) string {
	n := component(t, p.component)
	switch p.component {
	case 'Z', 'z':
		return e.formatZone(p, hours, minutes)
	case 'C', 'E':
		return "ISO"
	case 'P':
		s := [2]string{"am", "pm"}[int(n)]
		if p.names && p.letters == caseUpper {
			s = strings.ToUpper(s)
		}
		return s
	case 'Y':
		if p.digits > 0 {
			n = math.Mod(n, math.Pow10(p.digits))
		}
	}
	if !p.names {
		if p.integer == nil {
			fail("D3132", string(p.component))
		}
		return p.integer.format(e, n)
	}
	switch p.component {
	case 'M', 'x':
		return p.nameCase(time.Month(n).String())
	case 'F':
		return p.nameCase(time.Weekday(int(n) % 7).String())
	}
	fail("D3133", string(p.component))
	return ""
}

func (e *evaluator) formatZone(p *datePart, hours, minutes int) string {
	offset := hours*100 + minutes
	if offset == 0 && p.zulu {
		return "Z"
	}
	var s string
	switch {
	case p.integer.regular > 0:
		s = p.integer.format(e, float64(offset))
	case p.integer.mandatory == 1 || p.integer.mandatory == 2:
		s = p.integer.format(e, float64(hours))
		if minutes != 0 {
			s += ":" + analyseInteger("00").format(e, float64(minutes))
		}
	case p.integer.mandatory == 3 || p.integer.mandatory == 4:
		s = p.integer.format(e, float64(offset))
	default:
		fail("D3134", float64(p.integer.mandatory))
	}
	if offset >= 0 {
		s = "+" + s
	}
	if p.component == 'z' {
		s = "GMT" + s
	}
	return s
}

var (
	isoTime = regexp.MustCompile(`^(\d{4})(-[01]\d)?(-[0-3]\d)?(T[0-2]\d:[0-5]\d:[0-5]\d)?(\.\d+)?([+-][0-2]\d:?[0-5]\d|Z)?$`)
)

func toMillis(c *call) value {
	if picture, ok := c.arg(1).(string); ok {
		return c.parseTime(c.str(0), picture)
	}
	m := isoTime.FindStringSubmatch(c.str(0))
	if m == nil {
		fail("D3110", c.str(0))
	}
	number := func(s string, otherwise int) int {
		if s == "" {
			return otherwise
		}
		n, _ := strconv.Atoi(s)
		return n
	}
	year, month, dayOfMonth := number(m[1], 0), number(strings.TrimPrefix(m[2], "-"), 1), number(strings.TrimPrefix(m[3], "-"), 1)
	hour, minute, second := 0, 0, 0
	if m[4] != "" {
		hour, minute, second = number(m[4][1:3], 0), number(m[4][4:6], 0), number(m[4][7:9], 0)
	}
	if month < 1 || month > 12 || dayOfMonth < 1 || dayOfMonth > 31 || hour > 24 {
		return math.NaN()
	}
	t := time.Date(year, time.Month(month), dayOfMonth, hour, minute, second, 0, time.UTC)
	millis := float64(t.UnixMilli())
	if m[5] != "" {
		millis += float64(number((m[5][1:] + "00")[:3], 0))
	}
	if z := strings.Replace(m[6], ":", "", 1); len(z) == 5 {
		offset := float64(number(z[1:3], 0)*60+number(z[3:], 0)) * 60000
		if z[0] == '-' {
			offset = -offset
		}
		millis -= offset
	}
	return millis
}

// pattern is a regular expression of what the part writes.
func (p *datePart) pattern() string {
	switch {
	case p.component == 0:
		return regexp.QuoteMeta(p.literal)
	case p.component|0x20 == 'z':
		s := "[-+][0-9]+"
		if p.component == 'z' {
			s = "GMT" + s
		}
		if p.integer.regular > 0 {
			s += regexp.QuoteMeta(string(p.integer.separators[0].character)) + "[0-9]+"
		}
		return s
	case p.component == 'f':
		return "[0-9]+"
	case p.integer != nil:
		return p.integer.pattern()
	}
	if strings.IndexByte("MxFP", p.component) < 0 {
		fail("D3133", string(p.component))
	}
	return "[a-zA-Z]+"
}

// parse is the number that text stands for, nil when it is not known.
func (p *datePart) parse(text string) value {
	switch {
	case p.component|0x20 == 'z':
		text = strings.TrimPrefix(strings.ToUpper(text), "GMT")
		hours, minutes := text, ""
		if p.integer.regular > 0 {
			hours, minutes, _ = strings.Cut(text, string(p.integer.separators[0].character))
		} else if len(text) > 3 {
			hours, minutes = text[:3], text[3:]
		}
		return float64(leadingInt(hours)*60 + leadingInt(minutes))
	case p.component == 'f':
		f, _ := strconv.ParseFloat("0."+text[:min(3, len(text))], 64)
		return f * 1000
	case p.integer != nil:
		return p.integer.parse(text)
	}
	short := func(name string) string {
		if p.maxWidth > 0 && len(name) > p.maxWidth {
			return name[:p.maxWidth]
		}
		return name
	}
	switch p.component {
	case 'M', 'x':
		for m := time.January; m <= time.December; m++ {
			if short(m.String()) == text {
				return float64(m)
			}
		}
	case 'F':
		for d := 1; d <= 7; d++ {
			if short(time.Weekday(d%7).String()) == text {
				return float64(d)
			}
		}
	case 'P':
		switch text {
		case "am", "AM":
			return 0.0
		case "pm", "PM":
			return 1.0
		}
	}
	return nil
}

func (e *evaluator) parseTime(text, picture string) value {
	e.picture(picture)
	parts := analyseDate(picture)
	e.step(len(text) + 16*len(picture))
	pattern := "(?i)^"
	for _, p := range parts {
		pattern += "(" + p.pattern() + ")"
	}
	re, err := regex.Parse(pattern + "$")
	if err != nil {
		throw(&Error{Code: "D3136"})
	}
	e.step(re.Size()/4 + len(text)*re.Size()/64)
	m := re.Get().FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	found := map[byte]float64{}
	for i, p := range parts {
		if p.component == 0 {
			continue
		}
		if f, ok := p.parse(m[i+1]).(float64); ok {
			found[p.component] = f
		}
	}
	if len(found) == 0 {
		return nil
	}
	return e.dateOf(found)
}

// dateOf puts a time together. Larger units that are missing are those of now, smaller ones the least; a gap is an error.
func (e *evaluator) dateOf(found map[byte]float64) value {
	given := func(letters string) bool { // as in the reference implementation, a zero does not count as given
		for i := range letters {
			if found[letters[i]] != 0 {
				return true
			}
		}
		return false
	}
	date, clock := "YMD", "Hmsf"
	switch {
	case !given("MxWwD") && given("d") && given("Y"):
		date = "Yd"
	case given("W") && given("X") && !given("YM"):
		date = "XWF"
	case given("x") && given("X") && given("w"):
		date = "XxwF"
	}
	if found['H'] == 0 && given("h") {
		clock = "Phmsf"
	}
	now := time.UnixMilli(millisOf(e.env.Now)).UTC()
	started, ended := false, false
	for _, letter := range []byte(date + clock) {
		if _, ok := found[letter]; ok {
			if started = true; ended {
				throw(&Error{Code: "D3136"})
			}
			continue
		}
		switch {
		case !started:
			found[letter] = component(now, letter)
		case strings.IndexByte("MDd", letter) >= 0:
			found[letter], ended = 1, true
		default:
			found[letter], ended = 0, true
		}
	}
	if date[0] == 'X' {
		throw(&Error{Code: "D3136"})
	}
	for letter, n := range found {
		if math.Abs(n) > 1e6 {
			throw(&Error{Code: "D3136", Token: string(letter)})
		}
	}
	month, dayOfMonth := max(found['M'], 1), found['D']
	if date == "Yd" {
		month, dayOfMonth = 1, found['d']
	}
	hour := found['H']
	if clock[0] == 'P' {
		hour = math.Mod(found['h'], 12) + 12*found['P']
	}
	t := time.Date(int(found['Y']), time.Month(month), int(dayOfMonth), int(hour), int(found['m']), int(found['s']), 0, time.UTC)
	zone := found['Z']
	if zone == 0 {
		zone = found['z']
	}
	return float64(t.UnixMilli()) + math.Floor(found['f']) - zone*60000
}
