package template

import (
	"iter"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Parameter is a declared parameter.
type Parameter struct {
	Name, Type, Description string
	Default                 *string
	AllowedValues           []string
	AllowedPattern          string
	ConstraintDescription   string
	NoEcho                  bool
	MinLength, MaxLength    *int
	MinValue, MaxValue      *big.Rat

	pattern *regexp.Regexp
}

// Value is a bound parameter: its text, and what Ref gives.
type Value struct {
	Text string
	Ref  any // string or []any of strings
}

// Values holds bound parameters by name.
type Values map[string]Value

var parameterTypes = map[string]bool{ // true: a list
	"String": false, "Number": false, "CommaDelimitedList": true, "List<Number>": true, "List<String>": true,
	"AWS::EC2::KeyPair::KeyName": false,
}

// awsTypes are the types that AWS checks against what exists; each also as List<…>.
var awsTypes = []string{
	"AWS::EC2::AvailabilityZone::Name", "AWS::EC2::Image::Id", "AWS::EC2::Instance::Id", "AWS::EC2::SecurityGroup::GroupName",
	"AWS::EC2::SecurityGroup::Id", "AWS::EC2::Subnet::Id", "AWS::EC2::Volume::Id", "AWS::EC2::VPC::Id", "AWS::Route53::HostedZone::Id",
}

func isParameterType(t string) bool {
	_, ok := parameterTypes[t]
	return ok || slices.Contains(awsTypes, elementType(t))
}

// elementType is T for List<T>, else the type itself.
func elementType(t string) string {
	if s, ok := strings.CutPrefix(t, "List<"); ok {
		return strings.TrimSuffix(s, ">")
	}
	return t
}

func (p *Parameter) isList() bool {
	return parameterTypes[p.Type] || strings.HasPrefix(p.Type, "List<")
}

func newParameter(name string, m map[string]any) (Parameter, error) {
	p := Parameter{Name: name}
	typ, ok := m["Type"]
	if !ok {
		return p, errorf("Template format error: Every Parameters object must contain a Type member.")
	}
	p.Type = text(typ)
	if !isParameterType(p.Type) {
		return p, errorf("Template format error: Unrecognized parameter type: %s", p.Type)
	}
	bad := func(key string) error {
		return errorf("Template format error: Invalid value for %s of parameter %s.", key, name)
	}
	for key, v := range sorted(m) {
		if _, isMap := v.(map[string]any); isMap {
			return p, errorf("Template format error: Every %s member must be a string.", key)
		}
		s := text(v)
		switch key {
		case "Type":
		case "Description":
			p.Description = s
		case "ConstraintDescription":
			p.ConstraintDescription = s
		case "Default":
			if list, ok := v.([]any); ok {
				s = join(list, ",")
			}
			p.Default = &s
		case "NoEcho":
			p.NoEcho = strings.EqualFold(s, "true")
		case "AllowedPattern":
			var err error
			if p.pattern, err = regexp.Compile(`^(?:` + s + `)$`); err != nil {
				return p, bad(key)
			}
			p.AllowedPattern = s
		case "AllowedValues":
			list, ok := v.([]any)
			if !ok {
				return p, errorf("Template format error: Every AllowedValues member must be a list.")
			}
			for _, v := range list {
				p.AllowedValues = append(p.AllowedValues, text(v))
			}
		case "MinLength", "MaxLength":
			n, err := strconv.Atoi(s)
			if err != nil {
				return p, bad(key)
			}
			if key == "MinLength" {
				p.MinLength = &n
			} else {
				p.MaxLength = &n
			}
		case "MinValue", "MaxValue":
			n := number(s)
			if n == nil {
				return p, bad(key)
			}
			if key == "MinValue" {
				p.MinValue = n
			} else {
				p.MaxValue = n
			}
		default:
			return p, errorf("Invalid template parameter property '%s'", key)
		}
	}
	if p.Default != nil {
		if err := p.check(*p.Default); err != nil {
			return p, err
		}
	}
	return p, nil
}

// maxNumber bounds the digits of a number, so that 1e999999999 costs nothing.
const maxNumber = 40

func number(s string) *big.Rat {
	s = strings.TrimSpace(s)
	if len(s) > maxNumber || !jsonNumber.MatchString(strings.TrimPrefix(s, "+")) {
		return nil
	}
	if _, exp, ok := strings.Cut(strings.ToLower(s), "e"); ok {
		if n, err := strconv.Atoi(exp); err != nil || n > 300 || n < -300 {
			return nil
		}
	}
	n, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil
	}
	return n
}

func (p *Parameter) elements(s string) []string {
	if !p.isList() {
		return []string{s}
	}
	if strings.TrimSpace(s) == "" {
		return nil
	}
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// check says whether the declaration allows the value.
func (p *Parameter) check(s string) error {
	fail := func(format string, args ...any) error {
		if p.ConstraintDescription != "" {
			return errorf("Parameter %s failed to satisfy constraint: %s", p.Name, p.ConstraintDescription)
		}
		return errorf("Parameter '%s' "+format, append([]any{p.Name}, args...)...)
	}
	for _, e := range p.elements(s) {
		if elementType(p.Type) == "Number" {
			n := number(e)
			switch {
			case n == nil:
				return errorf("Parameter '%s' must be a number.", p.Name)
			case p.MinValue != nil && n.Cmp(p.MinValue) < 0:
				return fail("must be a number not less than %s", p.MinValue.RatString())
			case p.MaxValue != nil && n.Cmp(p.MaxValue) > 0:
				return fail("must be a number not greater than %s", p.MaxValue.RatString())
			}
		}
		if p.AllowedValues != nil && !slices.Contains(p.AllowedValues, e) {
			return fail("must be one of AllowedValues")
		}
		if p.pattern != nil && !p.pattern.MatchString(e) {
			return fail("must match pattern %s", p.AllowedPattern)
		}
		length := utf8.RuneCountInString(e)
		switch {
		case p.MinLength != nil && length < *p.MinLength:
			return fail("must contain at least %d characters", *p.MinLength)
		case p.MaxLength != nil && length > *p.MaxLength:
			return fail("must contain at most %d characters", *p.MaxLength)
		}
	}
	if len(s) > 4096 {
		return errorf("Parameter '%s' must contain at most 4096 characters", p.Name)
	}
	return nil
}

// Exists says whether AWS has a thing of an AWS-specific parameter type, such as AWS::EC2::KeyPair::KeyName.
type Exists func(parameterType, value string) (bool, error)

// Bind gives each parameter its value. exists may be nil: then AWS-specific types are not looked up.
func (t *Template) Bind(given map[string]string, exists Exists) (Values, error) {
	declared := map[string]bool{}
	var missing, unknown []string
	for _, p := range t.Parameters {
		declared[p.Name] = true
		if _, ok := given[p.Name]; !ok && p.Default == nil {
			missing = append(missing, p.Name)
		}
	}
	for name := range sorted(given) {
		if !declared[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return nil, errorf("Parameters: [%s] do not exist in the template", strings.Join(unknown, ", "))
	}
	if len(missing) > 0 {
		return nil, errorf("Parameters: [%s] must have values", strings.Join(missing, ", "))
	}
	values := Values{}
	for _, p := range t.Parameters {
		s, ok := given[p.Name]
		if !ok {
			s = *p.Default
		}
		if err := p.check(s); err != nil {
			return nil, err
		}
		v := Value{Text: s, Ref: s}
		if elements := p.elements(s); p.isList() {
			list := make([]any, len(elements))
			for i, e := range elements {
				list[i] = e
			}
			v.Ref = list
		}
		if exists != nil && strings.Contains(p.Type, "AWS::") {
			for _, e := range p.elements(s) {
				if ok, err := exists(elementType(p.Type), e); err != nil {
					return nil, err
				} else if !ok {
					return nil, errorf("Parameter validation failed: parameter value %s for parameter name %s does not exist", e, p.Name)
				}
			}
		}
		values[p.Name] = v
	}
	return values, nil
}

func join(list []any, sep string) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = text(v)
	}
	return strings.Join(parts, sep)
}

// sorted yields a map in the order of its keys, so that the same template always fails with the same sentence.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
