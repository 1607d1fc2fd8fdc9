package jsonata

import "math"

var builtins, stepFunctionsBuiltins map[string]*function

func mustSignature(text string) *signature {
	s, err := parseSignature(text)
	if err != nil {
		panic(err)
	}
	return s
}

type definition struct {
	name, signature string
	native          func(*call) value
}

// The tables are filled here, not where they are declared: $eval evaluates with them.
func init() {
	table := func(into map[string]*function, definitions []definition) map[string]*function {
		for _, d := range definitions {
			s := mustSignature(d.signature)
			arity := len(s.params)
			switch d.name { // as many as JavaScript counts
			case "string":
				arity = 1
			case "zip":
				arity = 0
			}
			into[d.name] = &function{name: d.name, signature: s, native: d.native, arity: arity}
		}
		return into
	}
	builtins = table(map[string]*function{}, standard)
	stepFunctionsBuiltins = table(table(map[string]*function{}, standard), added)
	delete(stepFunctionsBuiltins, "eval")
}

// defined is a function that answers nothing for an undefined first argument.
func defined(f func(*call) value) func(*call) value {
	return func(c *call) value {
		if c.arg(0) == nil {
			return nil
		}
		return f(c)
	}
}

func ofText(f func(string) string) func(*call) value {
	return defined(func(c *call) value {
		c.grow(len(c.str(0)))
		return f(c.str(0))
	})
}

func ofNumber(f func(float64) float64) func(*call) value {
	return defined(func(c *call) value { return f(c.num(0)) })
}

// fold combines numbers; without any there is nothing.
func fold(f func(a, b float64) float64) func(*call) value {
	return defined(func(c *call) value {
		items := c.list(0)
		if len(items) == 0 {
			return nil
		}
		c.step(len(items))
		total, _ := items[0].(float64)
		for _, x := range items[1:] {
			n, _ := x.(float64)
			total = f(total, n)
		}
		return total
	})
}

func add(a, b float64) float64 { return a + b }

var standard = []definition{
	{"sum", "<a<n>:n>", defined(func(c *call) value {
		if total := fold(add)(c); total != nil {
			return total
		}
		return 0.0
	})},
	{"count", "<a:n>", func(c *call) value { return float64(len(c.list(0))) }},
	{"max", "<a<n>:n>", fold(math.Max)},
	{"min", "<a<n>:n>", fold(math.Min)},
	{"average", "<a<n>:n>", defined(func(c *call) value {
		if total, ok := fold(add)(c).(float64); ok {
			return total / float64(len(c.list(0)))
		}
		return nil
	})},

	{"string", "<x-b?:s>", defined(func(c *call) value { return c.format(c.arg(0), c.truth(c.arg(1))) })},
	{"substring", "<s-nn?:s>", defined(substring)},
	{"substringBefore", "<s-s:s>", defined(substringBefore)},
	{"substringAfter", "<s-s:s>", defined(substringAfter)},
	{"lowercase", "<s-:s>", ofText(lower)},
	{"uppercase", "<s-:s>", ofText(upper)},
	{"length", "<s-:n>", defined(func(c *call) value { return float64(characters(c.str(0))) })},
	{"trim", "<s-:s>", ofText(trim)},
	{"pad", "<s-ns?:s>", defined(pad)},
	{"match", "<s-f<s:o>n?:a<o>>", defined(matchAll)},
	{"contains", "<s-(sf):b>", defined(contains)},
	{"replace", "<s-(sf)(sf)n?:s>", defined(replace)},
	{"split", "<s-(sf)n?:a<s>>", defined(split)},
	{"join", "<a<s>s?:s>", defined(join)},
	{"base64encode", "<s-:s>", defined(base64encode)},
	{"base64decode", "<s-:s>", defined(base64decode)},
	{"encodeUrlComponent", "<s-:s>", encoder("encodeUrlComponent", uriMarks)},
	{"encodeUrl", "<s-:s>", encoder("encodeUrl", uriMarks+uriReserved)},
	{"decodeUrlComponent", "<s-:s>", decoder("decodeUrlComponent", "")},
	{"decodeUrl", "<s-:s>", decoder("decodeUrl", uriReserved)},

	{"formatNumber", "<n-so?:s>", defined(formatNumber)},
	{"formatBase", "<n-n?:s>", defined(formatBase)},
	{"formatInteger", "<n-s:s>", defined(formatInteger)},
	{"parseInteger", "<s-s:n>", defined(parseInteger)},
	{"number", "<(nsb)-:n>", defined(number)},
	{"floor", "<n-:n>", ofNumber(math.Floor)},
	{"ceil", "<n-:n>", ofNumber(math.Ceil)},
	{"round", "<n-n?:n>", defined(func(c *call) value { return round(c.num(0), floorInt(c.num(1))) })},
	{"abs", "<n-:n>", ofNumber(math.Abs)},
	{"sqrt", "<n-:n>", defined(func(c *call) value {
		if c.num(0) < 0 {
			fail("D3060", c.num(0))
		}
		return math.Sqrt(c.num(0))
	})},
	{"power", "<n-n:n>", defined(func(c *call) value {
		result := math.Pow(c.num(0), c.num(1))
		if result-result != 0 {
			throw(&Error{Code: "D3061", Value: c.num(0), Value2: c.num(1)})
		}
		return result
	})},
	{"random", "<:n>", func(c *call) value { return c.fraction() }},

	{"boolean", "<x-:b>", defined(func(c *call) value { return c.truth(c.arg(0)) })},
	{"not", "<x-:b>", defined(func(c *call) value { return !c.truth(c.arg(0)) })},
	{"exists", "<x:b>", func(c *call) value { return c.arg(0) != nil }},
	{"type", "<x:s>", defined(func(c *call) value {
		return map[byte]string{'l': "null", 'n': "number", 's': "string", 'b': "boolean", 'a': "array", 'f': "function",
			'o': "object"}[typeLetter(c.arg(0))]
	})},
	{"error", "<s?:x>", func(c *call) value {
		message := c.str(0)
		if message == "" {
			message = "$error() function evaluated"
		}
		throw(&Error{Code: "D3137", Message: message})
		return nil
	}},
	{"assert", "<bs?:x>", func(c *call) value {
		if !c.truth(c.arg(0)) {
			message := c.str(1)
			if message == "" {
				message = "$assert() statement failed"
			}
			throw(&Error{Code: "D3141", Message: message})
		}
		return nil
	}},

	{"map", "<af>", defined(mapItems)},
	{"zip", "<a+>", zip},
	{"filter", "<af>", defined(filterItems)},
	{"single", "<af?>", defined(single)},
	{"reduce", "<afj?:j>", defined(reduce)},
	{"sift", "<o-f?:o>", sift},
	{"each", "<o-f:a>", each},
	{"keys", "<x-:a<s>>", keys},
	{"lookup", "<x-s:x>", func(c *call) value { return c.lookup(c.arg(0), c.str(1)) }},
	{"append", "<xx:a>", func(c *call) value { return c.appendValues(c.arg(0), c.arg(1)) }},
	{"spread", "<x-:a<o>>", func(c *call) value { return c.spread(c.arg(0)) }},
	{"merge", "<a<o>:o>", defined(merge)},
	{"reverse", "<a:a>", defined(reverse)},
	{"sort", "<af?:a>", defined(sortItems)},
	{"shuffle", "<a:a>", defined(shuffle)},
	{"distinct", "<x:x>", defined(distinct)},
	{"clone", "<(oa)-:o>", defined(func(c *call) value { return c.copyOf(c.arg(0)) })},
	{"eval", "<sx?:x>", defined(evaluate)},

	{"now", "<s?s?:s>", func(c *call) value { return c.formatTime(millisOf(c.env.Now), c.arg(0), c.arg(1)) }},
	{"millis", "<:n>", func(c *call) value { return float64(millisOf(c.env.Now)) }},
	{"toMillis", "<s-s?:n>", defined(toMillis)},
	{"fromMillis", "<n-s?s?:s>", defined(func(c *call) value {
		return c.formatTime(int64(clampMillis(c.num(0))), c.arg(1), c.arg(2))
	})},
}
