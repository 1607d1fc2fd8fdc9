package jsonata

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// shift is f times ten to the power of places, by its decimal text: 1.005 becomes 100.5 and not a little less.
func shift(f float64, places int) float64 {
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	n, _ := strconv.Atoi(exponent)
	result, _ := strconv.ParseFloat(mantissa+"e"+strconv.Itoa(n+places), 64)
	return result
}

// round rounds to a number of decimal places, halves to the even neighbour.
func round(f float64, places int) float64 {
	places = max(-400, min(places, 400))
	if places != 0 {
		f = shift(f, places)
	}
	f = math.RoundToEven(f)
	if places != 0 {
		f = shift(f, -places)
	}
	return f + 0 // no negative zero
}

func formatBase(c *call) value {
	radix := 10.0
	if c.arg(1) != nil {
		radix = round(c.num(1), 0)
	}
	if radix < 2 || radix > 36 {
		fail("D3100", radix)
	}
	f := round(c.num(0), 0)
	if math.Abs(f) >= 1<<63 {
		return numberText(f)
	}
	return strconv.FormatInt(int64(f), int(radix))
}

var (
	decimal  = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?([Ee][-+]?[0-9]+)?$`)
	prefixed = regexp.MustCompile(`^0([xX][0-9A-Fa-f]+|[oO][0-7]+|[bB][0-1]+)$`)
)

func number(c *call) value {
	switch v := c.arg(0).(type) {
	case float64:
		return v
	case bool:
		if v {
			return 1.0
		}
		return 0.0
	case string:
		if decimal.MatchString(v) {
			if f, err := strconv.ParseFloat(v, 64); err == nil {
				return f
			}
		} else if prefixed.MatchString(v) {
			base := map[byte]float64{'x': 16, 'o': 8, 'b': 2}[v[1]|0x20]
			f := 0.0
			for _, digit := range v[2:] {
				d, _ := strconv.ParseInt(string(digit), 16, 8)
				f = f*base + float64(d)
			}
			return f
		}
	}
	throw(&Error{Code: "D3030", Value: c.arg(0), Index: 1})
	return nil
}
