package asl

import (
	"strings"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// operators are the comparisons of Choice rules, with the kind that a constant must have. Those with hasPath exist
// with "Path" at the end too; then the operand is a path.
var operators = map[string]struct {
	kind    jsonvalue.Kind
	hasPath bool
}{
	"StringEquals": {jsonvalue.KindString, true}, "StringLessThan": {jsonvalue.KindString, true}, "StringGreaterThan": {jsonvalue.KindString, true},
	"StringLessThanEquals": {jsonvalue.KindString, true}, "StringGreaterThanEquals": {jsonvalue.KindString, true}, "StringMatches": {jsonvalue.KindString, false},
	"NumericEquals": {jsonvalue.KindNumber, true}, "NumericLessThan": {jsonvalue.KindNumber, true}, "NumericGreaterThan": {jsonvalue.KindNumber, true},
	"NumericLessThanEquals": {jsonvalue.KindNumber, true}, "NumericGreaterThanEquals": {jsonvalue.KindNumber, true},
	"TimestampEquals": {jsonvalue.KindString, true}, "TimestampLessThan": {jsonvalue.KindString, true}, "TimestampGreaterThan": {jsonvalue.KindString, true},
	"TimestampLessThanEquals": {jsonvalue.KindString, true}, "TimestampGreaterThanEquals": {jsonvalue.KindString, true},
	"BooleanEquals": {jsonvalue.KindBool, true},
	"IsNull":        {jsonvalue.KindBool, false}, "IsPresent": {jsonvalue.KindBool, false}, "IsNumeric": {jsonvalue.KindBool, false},
	"IsString": {jsonvalue.KindBool, false}, "IsBoolean": {jsonvalue.KindBool, false}, "IsTimestamp": {jsonvalue.KindBool, false},
}

// choose finds the rule by which a Choice goes on.
func (v *Visit) choose(s *ChoiceState, input jsonvalue.Value) (next string, assign *Template, f *Failure) {
	for i := range s.Choices {
		r := &s.Choices[i]
		ok, f := v.holds(r, input)
		if f != nil {
			return "", nil, f
		}
		if ok {
			return r.Next, r.Assign, nil
		}
	}
	if s.Default == "" {
		return "", nil, v.noChoice()
	}
	return s.Default, s.Assign, nil
}

// noChoice is the failure of a Choice that has no way out. AWS: it is no States.NoChoiceMatched, as the language says, and
// nothing catches it.
func (v *Visit) noChoice() *Failure {
	return v.runtime("Failed to transition out of the state. The state does not point to a next state.")
}

func (v *Visit) holds(r *ChoiceRule, input jsonvalue.Value) (bool, *Failure) {
	switch {
	case r.And != nil:
		for i := range r.And {
			if ok, f := v.holds(&r.And[i], input); !ok || f != nil {
				return false, f
			}
		}
		return true, nil
	case r.Or != nil:
		for i := range r.Or {
			if ok, f := v.holds(&r.Or[i], input); ok || f != nil {
				return ok, f
			}
		}
		return false, nil
	case r.Not != nil:
		ok, f := v.holds(r.Not, input)
		return !ok && f == nil, f
	}
	value, err := v.path(r.Variable, input)
	if r.Operator == "IsPresent" {
		present := err == nil && (r.Variable.Definite() || value.Len() > 0)
		return present == r.Operand.Bool(), nil
	}
	if err != nil {
		return false, v.runtime("Invalid path '%s': The choice state's condition path references an invalid value.", r.Variable)
	}
	operand := r.Operand
	if r.Path != nil {
		if operand, err = v.path(r.Path, input); err != nil {
			return false, v.runtime("Invalid path '%s': The choice state's condition path references an invalid value.", r.Path)
		}
	}
	return compare(strings.TrimSuffix(r.Operator, "Path"), value, operand), nil
}

// compare applies an operator; values of another kind than it expects never match.
func compare(operator string, value, operand jsonvalue.Value) bool {
	kind := value.Kind()
	switch operator {
	case "IsNull":
		return (kind == jsonvalue.KindNull) == operand.Bool()
	case "IsNumeric":
		return (kind == jsonvalue.KindNumber) == operand.Bool()
	case "IsString":
		return (kind == jsonvalue.KindString) == operand.Bool()
	case "IsBoolean":
		return (kind == jsonvalue.KindBool) == operand.Bool()
	case "IsTimestamp":
		_, ok := parseTimestamp(value.Str())
		return (kind == jsonvalue.KindString && ok) == operand.Bool()
	case "BooleanEquals":
		return kind == jsonvalue.KindBool && operand.Kind() == kind && value.Bool() == operand.Bool()
	case "StringMatches":
		return kind == jsonvalue.KindString && wildcard(operand.Str(), value.Str())
	}
	if kind != operand.Kind() {
		return false
	}
	var c int
	var relation string
	switch {
	case strings.HasPrefix(operator, "String") && kind == jsonvalue.KindString:
		c, relation = strings.Compare(value.Str(), operand.Str()), operator[len("String"):]
	case strings.HasPrefix(operator, "Numeric") && kind == jsonvalue.KindNumber:
		c, relation = jsonvalue.CompareNumbers(value, operand), operator[len("Numeric"):]
	case strings.HasPrefix(operator, "Timestamp") && kind == jsonvalue.KindString:
		a, ok := parseTimestamp(value.Str())
		b, ok2 := parseTimestamp(operand.Str())
		if !ok || !ok2 {
			return false
		}
		c, relation = a.Compare(b), operator[len("Timestamp"):]
	}
	switch relation {
	case "Equals":
		return c == 0
	case "LessThan":
		return c < 0
	case "GreaterThan":
		return c > 0
	case "LessThanEquals":
		return c <= 0
	case "GreaterThanEquals":
		return c >= 0
	}
	return false
}

// wildcard matches s against a pattern in which * stands for any text and a backslash takes the next character as it
// is. It takes time in proportion to both lengths, whatever the pattern.
func wildcard(pattern, s string) bool {
	var parts []string // the texts between the stars
	var part strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch {
		case pattern[i] == '\\' && i+1 < len(pattern):
			i++
			part.WriteByte(pattern[i])
		case pattern[i] == '*':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(pattern[i])
		}
	}
	last := part.String()
	if len(parts) == 0 {
		return s == last
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1:] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, last)
}
