package jsonata

import "strings"

// signature is the types of a function's parameters, such as <s-nn?:s>.
type signature struct{ params []param }

type param struct {
	kind     byte   // s n b l o a f j x, or ( for a choice
	accepts  string // the type letters that match; m is a missing value
	subtype  string // of the elements of an array
	context  bool   // -: the context value stands in when the argument is left out
	optional bool
	repeated bool // +
}

var pluralTypes = map[string]string{"a": "arrays", "b": "booleans", "f": "functions", "n": "numbers", "o": "objects", "s": "strings"}

// parseSignature reads text. The position of an error is relative to its beginning.
func parseSignature(text string) (*signature, *Error) {
	s := &signature{}
	closing := func(from int, open, shut byte) int {
		depth := 1
		for i := from + 1; i < len(text); i++ {
			switch text[i] {
			case shut:
				if depth--; depth == 0 {
					return i
				}
			case open:
				depth++
			}
		}
		return len(text)
	}
	previous := func() *param {
		if len(s.params) == 0 {
			return &param{}
		}
		return &s.params[len(s.params)-1]
	}
	for i := 1; i < len(text) && text[i] != ':'; i++ {
		c := text[i]
		switch c {
		case 's', 'n', 'b', 'l', 'o':
			s.params = append(s.params, param{kind: c, accepts: string(c) + "m"})
		case 'a', 'x':
			s.params = append(s.params, param{kind: c, accepts: "asnblfom"})
		case 'f':
			s.params = append(s.params, param{kind: c, accepts: "f"})
		case 'j':
			s.params = append(s.params, param{kind: c, accepts: "asnblom"})
		case '-':
			previous().context, previous().optional = true, true
		case '?':
			previous().optional = true
		case '+':
			previous().repeated = true
		case '(':
			end := closing(i, '(', ')')
			choice := text[i+1 : end]
			if strings.Contains(choice, "<") {
				return nil, &Error{Code: "S0402", Position: i, Value: choice}
			}
			s.params = append(s.params, param{kind: c, accepts: choice + "m"})
			i = end
		case '<':
			p := previous()
			if p.kind != 'a' && p.kind != 'f' {
				return nil, &Error{Code: "S0401", Position: i, Value: string(p.kind)}
			}
			end := closing(i, '<', '>')
			p.subtype = text[i+1 : end]
			i = end
		}
	}
	return s, nil
}

func typeLetter(v value) byte {
	switch v.(type) {
	case nil:
		return 'm'
	case null:
		return 'l'
	case bool:
		return 'b'
	case float64:
		return 'n'
	case string:
		return 's'
	case *array:
		return 'a'
	case *function:
		return 'f'
	}
	return 'o'
}

// maxMatch is how many ways of spreading arguments over parameters are tried.
const maxMatch = 10_000

// match spreads the type letters over params[at:]; counts gets how many each takes.
func match(params []param, letters string, whole bool, counts []int, fuel *int) bool {
	if *fuel--; *fuel < 0 {
		return false // several + after one another can be spread in too many ways
	}
	if len(params) == 0 {
		return letters == "" || !whole
	}
	p, least, most := params[0], 1, 1
	if p.optional {
		least = 0
	}
	if p.repeated {
		most = len(letters)
	}
	n := 0
	for n < most && n < len(letters) && strings.IndexByte(p.accepts, letters[n]) >= 0 {
		n++
	}
	for ; n >= least; n-- {
		if match(params[1:], letters[n:], whole, counts[1:], fuel) {
			counts[0] = n
			return true
		}
	}
	return false
}

// validate checks arguments and puts the context value and one-element arrays where the signature wants them.
func (e *evaluator) validate(s *signature, args []value, context value) []value {
	if s == nil {
		return args
	}
	letters := make([]byte, len(args), len(args)+4)
	for i, a := range args {
		letters[i] = typeLetter(a)
	}
	var few [8]int
	counts := few[:]
	if len(s.params) > len(few) {
		counts = make([]int, len(s.params))
	}
	fuel := maxMatch
	matches := match(s.params, string(letters), true, counts, &fuel)
	e.step((len(s.params) + maxMatch - fuel) / 16)
	if !matches {
		s.refuse(args, string(letters))
	}
	out := make([]value, 0, len(s.params))
	next := 0
	for i, p := range s.params {
		if counts[i] == 0 {
			if p.context {
				if strings.IndexByte(p.accepts, typeLetter(context)) < 0 {
					throw(&Error{Code: "T0411", Value: context, Index: next + 1})
				}
				out = append(out, context)
				continue
			}
			out = append(out, at(args, next))
			next++
			continue
		}
		for range counts[i] {
			arg := at(args, next)
			if p.kind == 'a' && arg != nil {
				arg = p.array(arg, string(typeLetter(arg)), next)
			}
			out = append(out, arg)
			next++
		}
	}
	return out
}

// array is the argument as an array of the subtype.
func (p param) array(arg value, letter string, at int) value {
	list, isArray := arg.(*array)
	ok := true
	if p.subtype != "" {
		if !isArray {
			ok = letter == p.subtype
		} else if items := list.elements(); len(items) > 0 {
			first := typeLetter(items[0])
			ok = first == p.subtype[0]
			for _, x := range items {
				ok = ok && typeLetter(x) == first
			}
		}
	}
	if !ok {
		throw(&Error{Code: "T0412", Value: arg, Index: at + 1, Type: pluralTypes[p.subtype]})
	}
	if !isArray {
		return newArray(arg)
	}
	return list
}

// refuse blames the first argument that does not fit.
func (s *signature) refuse(args []value, letters string) {
	good := 0
	counts := make([]int, len(s.params))
	for i := range s.params {
		fuel := maxMatch
		if !match(s.params[:i+1], letters, false, counts, &fuel) {
			break
		}
		good = 0
		for _, n := range counts[:i+1] {
			good += n
		}
	}
	var bad value
	if good < len(args) {
		bad = args[good]
	}
	throw(&Error{Code: "T0410", Value: bad, Index: good + 1})
}
