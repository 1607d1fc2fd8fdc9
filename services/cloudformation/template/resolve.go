package template

import (
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Context is what intrinsic functions see.
type Context struct {
	Values             Values
	Conditions         map[string]bool
	Account, Region    string
	StackID, StackName string
	NotificationARNs   []string
	// Ref and GetAtt answer for resources; nil where no resource may be named (Conditions).
	Ref    func(resource string) (any, error)
	GetAtt func(resource, attribute string) (any, error)
	// Import answers Fn::ImportValue.
	Import func(export string) (string, bool)
}

const (
	Partition = "aws"
	urlSuffix = "amazonaws.com"
)

// noValue is what Ref AWS::NoValue gives: the property or element that holds it is left out.
type noValue struct{}

var functions = []string{"Fn::And", "Fn::Base64", "Fn::Cidr", "Fn::Equals", "Fn::FindInMap", "Fn::GetAZs", "Fn::GetAtt", "Fn::If",
	"Fn::ImportValue", "Fn::Join", "Fn::Not", "Fn::Or", "Fn::Select", "Fn::Split", "Fn::Sub", "Ref"}

func supported(fn string) bool { return slices.Contains(functions, fn) }

func unsupportedFunction(fn string) error {
	return errorf("Template error: Encountered unsupported function: %s Supported functions are: [%s]", fn, strings.Join(functions, ", "))
}

var (
	errGetAtt = errorf("Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute")
	errSub    = errorf("Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first argument, and an optional second argument to specify a mapping of values to replace in the string")
	errSubVar = errorf("Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, periods, and colons")
	errJoin   = errorf("Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined.")
	errSplit  = errorf("Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a function that returns a string to be split.")
	errSelect = errorf("Template error: Fn::Select requires a list argument with two elements: an integer index and a list")
	errMap    = errorf("Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value")
	errIf     = errorf("Template error: Fn::If requires a list argument with three elements: the name of a condition and two values")
	errEquals = errorf("Template error: every Fn::Equals object requires a list of 2 string parameters.")
	errNot    = errorf("Template error: every Fn::Not object requires one boolean parameter.")
	errRef    = errorf("Template error: every Ref object must have a single String value.")
	errImport = errorf("Template error: the attribute in Fn::ImportValue must be a string and must not depend on any resources, imported values, or Fn::GetAZs")
	errCidr   = errorf("Template error: Fn::Cidr requires an IP block, a count between 1 and 256 and optional cidr bits")
	errBase64 = errorf("Template error: every Fn::Base64 object must have a String-typed value.")
	errAZs    = errorf("Template error: every Fn::GetAZs object must have a single String value.")
)

// intrinsic says which function a value is a call of, if any.
func intrinsic(v any) (fn string, arg any, err error) {
	m, ok := v.(map[string]any)
	if !ok {
		return "", nil, nil
	}
	for key, v := range sorted(m) {
		if key != "Ref" && !strings.HasPrefix(key, "Fn::") {
			continue
		}
		if len(m) > 1 {
			if key == "Ref" { // An ordinary property may have that name.
				return "", nil, nil
			}
			return "", nil, errorf("Template error: %s must be the only key of its object", key)
		}
		if !supported(key) {
			return "", nil, unsupportedFunction(key)
		}
		return key, v, nil
	}
	return "", nil, nil
}

// Resolve evaluates every intrinsic function in v. What is AWS::NoValue is left out; a value that is nothing but
// AWS::NoValue resolves to nil.
func (t *Template) Resolve(v any, c *Context) (any, error) {
	out, err := t.eval(v, c)
	if _, none := out.(noValue); none {
		return nil, err
	}
	return out, err
}

func (t *Template) eval(v any, c *Context) (any, error) {
	fn, arg, err := intrinsic(v)
	if err != nil {
		return nil, err
	}
	if fn != "" {
		return t.call(fn, arg, c)
	}
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, e := range sorted(v) {
			r, err := t.eval(e, c)
			if err != nil {
				return nil, err
			}
			if _, none := r.(noValue); !none {
				out[key] = r
			}
		}
		return out, nil
	case []any:
		out := make([]any, 0, len(v))
		for _, e := range v {
			r, err := t.eval(e, c)
			if err != nil {
				return nil, err
			}
			if _, none := r.(noValue); !none {
				out = append(out, r)
			}
		}
		return out, nil
	}
	return v, nil
}

// evalText evaluates to the text of a scalar; false: it is something else.
func (t *Template) evalText(v any, c *Context) (string, bool, error) {
	r, err := t.eval(v, c)
	if err != nil {
		return "", false, err
	}
	switch r.(type) {
	case string, bool, json.Number:
		return text(r), true, nil
	}
	return "", false, nil
}

func (t *Template) call(fn string, arg any, c *Context) (any, error) {
	switch fn {
	case "Ref":
		name, ok := arg.(string)
		if !ok {
			return nil, errRef
		}
		return t.ref(name, c)
	case "Fn::GetAtt":
		resource, attribute, err := t.getAttArgs(arg, c)
		if err != nil {
			return nil, err
		}
		if c.GetAtt == nil {
			return nil, errorf("Template error: Fn::GetAtt of %s cannot be used here", resource)
		}
		return c.GetAtt(resource, attribute)
	case "Fn::Sub":
		return t.sub(arg, c)
	case "Fn::If":
		list, ok := arg.([]any)
		if !ok || len(list) != 3 {
			return nil, errIf
		}
		name, ok := list[0].(string)
		if !ok {
			return nil, errIf
		}
		value, ok := c.Conditions[name]
		if !ok {
			return nil, errorf("Template error: unresolved condition dependency %s in Fn::If", name)
		}
		if value {
			return t.eval(list[1], c)
		}
		return t.eval(list[2], c)
	case "Fn::Equals", "Fn::And", "Fn::Or", "Fn::Not":
		return t.condition(map[string]any{fn: arg}, c, nil)
	case "Fn::Base64":
		s, ok, err := t.evalText(arg, c)
		if err == nil && !ok {
			err = errBase64
		}
		return base64.StdEncoding.EncodeToString([]byte(s)), err
	case "Fn::GetAZs":
		region, ok, err := t.evalText(arg, c)
		if err == nil && !ok {
			err = errAZs
		}
		if region == "" {
			region = c.Region
		}
		return []any{region + "a", region + "b", region + "c"}, err
	case "Fn::ImportValue":
		name, ok, err := t.evalText(arg, c)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, errImport
		}
		if c.Import != nil {
			if v, ok := c.Import(name); ok {
				return v, nil
			}
		}
		return nil, errorf("No export named %s found.", name)
	}
	// The others take a list whose elements are evaluated.
	v, err := t.eval(arg, c)
	if err != nil {
		return nil, err
	}
	args, _ := v.([]any)
	switch fn {
	case "Fn::Join":
		if len(args) != 2 {
			return nil, errJoin
		}
		sep, isText := args[0].(string)
		list, isList := args[1].([]any)
		if !isText || !isList || !scalars(list) {
			return nil, errJoin
		}
		return join(list, sep), nil
	case "Fn::Split":
		if len(args) != 2 || !scalars(args) || text(args[0]) == "" {
			return nil, errSplit
		}
		var out []any
		for _, s := range strings.Split(text(args[1]), text(args[0])) {
			out = append(out, s)
		}
		return out, nil
	case "Fn::Select":
		if len(args) != 2 {
			return nil, errSelect
		}
		i, err := strconv.Atoi(text(args[0]))
		list, ok := args[1].([]any)
		if err != nil || !ok {
			return nil, errSelect
		}
		if i < 0 || i >= len(list) {
			return nil, errorf("Template error: Fn::Select cannot select nonexistent value at index %d", i)
		}
		return list[i], nil
	case "Fn::FindInMap":
		return t.findInMap(args)
	case "Fn::Cidr":
		return cidr(args)
	}
	return nil, unsupportedFunction(fn)
}

func scalars(list []any) bool {
	return !slices.ContainsFunc(list, func(v any) bool {
		switch v.(type) {
		case string, bool, json.Number:
			return false
		}
		return true
	})
}

func (t *Template) getAttArgs(arg any, c *Context) (resource, attribute string, err error) {
	if s, ok := arg.(string); ok {
		resource, attribute, _ = strings.Cut(s, ".")
	} else if list, ok := arg.([]any); ok && len(list) == 2 {
		resource, _ = list[0].(string)
		if attribute, ok = list[1].(string); !ok && c != nil {
			if attribute, _, err = t.evalText(list[1], c); err != nil {
				return "", "", err
			}
		} else if !ok {
			attribute = "?" // not known before it is evaluated
		}
	}
	if resource == "" || attribute == "" {
		return "", "", errGetAtt
	}
	return resource, attribute, nil
}

func isPseudo(name string) bool { return strings.HasPrefix(name, "AWS::") }

var pseudoParameters = []string{"AWS::AccountId", "AWS::NoValue", "AWS::NotificationARNs", "AWS::Partition", "AWS::Region", "AWS::StackId", "AWS::StackName", "AWS::URLSuffix"}

func (t *Template) ref(name string, c *Context) (any, error) {
	switch name {
	case "AWS::AccountId":
		return c.Account, nil
	case "AWS::Region":
		return c.Region, nil
	case "AWS::StackId":
		return c.StackID, nil
	case "AWS::StackName":
		return c.StackName, nil
	case "AWS::Partition":
		return Partition, nil
	case "AWS::URLSuffix":
		return urlSuffix, nil
	case "AWS::NoValue":
		return noValue{}, nil
	case "AWS::NotificationARNs":
		list := make([]any, len(c.NotificationARNs))
		for i, a := range c.NotificationARNs {
			list[i] = a
		}
		return list, nil
	}
	if v, ok := c.Values[name]; ok {
		return v.Ref, nil
	}
	if _, ok := t.Resource(name); ok && c.Ref != nil {
		return c.Ref(name)
	}
	return nil, errorf("Template format error: Unresolved dependencies [%s]. Cannot reference resources in the Conditions block of the template", name)
}

var subVariable = regexp.MustCompile(`\$\{([^}]*)\}`)

// subParts splits the arguments of Fn::Sub: its text and its own variables.
func subParts(arg any) (string, map[string]any, error) {
	if s, ok := arg.(string); ok {
		return s, nil, nil
	}
	list, ok := arg.([]any)
	if !ok || len(list) != 2 {
		return "", nil, errSub
	}
	s, isText := list[0].(string)
	vars, isMap := list[1].(map[string]any)
	if !isText || !isMap {
		return "", nil, errSub
	}
	return s, vars, nil
}

var subName = regexp.MustCompile(`^[A-Za-z0-9_.:]+$`)

func (t *Template) sub(arg any, c *Context) (any, error) {
	s, vars, err := subParts(arg)
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	last := 0
	for _, at := range subVariable.FindAllStringSubmatchIndex(s, -1) {
		out.WriteString(s[last:at[0]])
		last = at[1]
		name := strings.TrimSpace(s[at[2]:at[3]])
		if literal, ok := strings.CutPrefix(name, "!"); ok {
			out.WriteString("${" + literal + "}")
			continue
		}
		v, err := t.subValue(name, vars, c)
		if err != nil {
			return nil, err
		}
		switch v := v.(type) {
		case string, bool, json.Number:
			out.WriteString(text(v))
		case []any:
			if !scalars(v) {
				return nil, errSub
			}
			out.WriteString(join(v, ","))
		default:
			return nil, errSub
		}
	}
	out.WriteString(s[last:])
	return out.String(), nil
}

func (t *Template) subValue(name string, vars map[string]any, c *Context) (any, error) {
	if v, ok := vars[name]; ok {
		return t.eval(v, c)
	}
	if resource, attribute, ok := strings.Cut(name, "."); ok {
		return t.call("Fn::GetAtt", []any{resource, attribute}, c)
	}
	return t.ref(name, c)
}

func (t *Template) findInMap(args []any) (any, error) {
	if len(args) != 3 || !scalars(args) {
		return nil, errMap
	}
	name, key, attribute := text(args[0]), text(args[1]), text(args[2])
	m, ok := t.Mappings[name]
	if !ok {
		return nil, errorf("Template error: Mapping named '%s' is not present in the 'Mappings' section of template.", name)
	}
	v, ok := m[key][attribute]
	if !ok {
		return nil, errorf("Template error: Unable to get mapping for %s::%s::%s", name, key, attribute)
	}
	return v, nil
}

func cidr(args []any) (any, error) {
	if len(args) < 2 || len(args) > 3 || !scalars(args) {
		return nil, errCidr
	}
	block, err := netip.ParsePrefix(text(args[0]))
	count, err2 := strconv.Atoi(text(args[1]))
	if err != nil || err2 != nil || count < 1 || count > 256 {
		return nil, errCidr
	}
	bits := 8 // host bits of each part; AWS: the default for IPv4
	if block.Addr().Is6() {
		bits = 64
	}
	if len(args) == 3 {
		if bits, err = strconv.Atoi(text(args[2])); err != nil {
			return nil, errCidr
		}
	}
	length := block.Addr().BitLen() - bits
	if bits < 1 || length < block.Bits() {
		return nil, errCidr
	}
	size := new(big.Int).Lsh(big.NewInt(1), uint(bits))
	next := new(big.Int).SetBytes(block.Masked().Addr().AsSlice())
	out := make([]any, count)
	for i := range out {
		b := make([]byte, block.Addr().BitLen()/8)
		if next.BitLen() > len(b)*8 {
			return nil, errCidr
		}
		addr, _ := netip.AddrFromSlice(next.FillBytes(b))
		if !block.Contains(addr) {
			return nil, errCidr
		}
		out[i] = netip.PrefixFrom(addr, length).String()
		next.Add(next, size)
	}
	return out, nil
}

// EvaluateConditions evaluates every condition; c needs no resources.
func (t *Template) EvaluateConditions(c *Context) (map[string]bool, error) {
	plain := *c
	plain.Ref, plain.GetAtt, plain.Conditions = nil, nil, map[string]bool{}
	for _, cond := range t.Conditions {
		v, err := t.named(cond.Name, &plain, map[string]bool{})
		if err != nil {
			return nil, err
		}
		plain.Conditions[cond.Name] = v
	}
	return plain.Conditions, nil
}

func (t *Template) named(name string, c *Context, open map[string]bool) (bool, error) {
	if v, ok := c.Conditions[name]; ok {
		return v, nil
	}
	i := slices.IndexFunc(t.Conditions, func(c Condition) bool { return c.Name == name })
	if i < 0 {
		return false, errorf("Template format error: Unresolved condition dependency %s in the Conditions block of the template", name)
	}
	if open[name] {
		return false, errorf("Template error: Circular dependency in the Conditions block of the template: %s", name)
	}
	open[name] = true
	defer delete(open, name)
	return t.condition(t.Conditions[i].Expr, c, open)
}

// condition evaluates one condition function.
func (t *Template) condition(expr any, c *Context, open map[string]bool) (bool, error) {
	if m, ok := expr.(map[string]any); ok && len(m) == 1 {
		if name, ok := m["Condition"].(string); ok {
			if open == nil {
				open = map[string]bool{}
			}
			return t.named(name, c, open)
		}
	}
	fn, arg, err := intrinsic(expr)
	if err != nil {
		return false, err
	}
	list, _ := arg.([]any)
	switch fn {
	case "Fn::Equals":
		if len(list) != 2 {
			return false, errEquals
		}
		var side [2]string
		for i, v := range list {
			r, err := t.eval(v, c)
			if err != nil {
				return false, err
			}
			side[i] = text(r)
		}
		return side[0] == side[1], nil
	case "Fn::Not":
		if len(list) != 1 {
			return false, errNot
		}
		v, err := t.condition(list[0], c, open)
		return !v, err
	case "Fn::And", "Fn::Or":
		if len(list) < 2 || len(list) > 10 {
			return false, errorf("Template error: every %s object requires a list of at least 2 and at most 10 boolean parameters.", fn)
		}
		result := fn == "Fn::And"
		for _, e := range list {
			v, err := t.condition(e, c, open)
			if err != nil {
				return false, err
			}
			if fn == "Fn::And" {
				result = result && v
			} else {
				result = result || v
			}
		}
		return result, nil
	case "":
		if s := text(expr); s == "true" || s == "false" {
			return s == "true", nil
		}
	default:
		v, ok, err := t.evalText(expr, c)
		if err != nil {
			return false, err
		}
		if ok && (v == "true" || v == "false") {
			return v == "true", nil
		}
	}
	return false, errorf("Template format error: Conditions can only be boolean operations on parameters and other conditions")
}

// Active is what there is once the conditions are known.
type Active struct {
	Resource
	Needs []string // the logical ids that must exist before it, in order
}

// Active lists the resources whose condition holds, with what each needs: its references in branches that are taken,
// and DependsOn.
func (t *Template) Active(c *Context) ([]Active, error) {
	on := map[string]bool{}
	for _, r := range t.Resources {
		on[r.Name] = r.Condition == "" || c.Conditions[r.Condition]
	}
	var out []Active
	for _, r := range t.Resources {
		if !on[r.Name] {
			continue
		}
		var needs, missing []string
		for _, name := range t.resourceRefs(r.Properties, c.Conditions) {
			if !on[name] {
				missing = append(missing, name)
			}
			needs = append(needs, name)
		}
		if len(missing) > 0 {
			return nil, errorf("Template format error: Unresolved resource dependencies [%s] in the Resources block of the template", strings.Join(missing, ", "))
		}
		for _, name := range r.DependsOn {
			if on[name] { // AWS: a resource that its condition leaves out is no obstacle.
				needs = append(needs, name)
			}
		}
		slices.Sort(needs)
		out = append(out, Active{r, slices.Compact(needs)})
	}
	return out, nil
}

// Evaluated is an output with its value.
type Evaluated struct {
	Name, Value, Description, Export string
}

// ResolveOutputs evaluates the outputs whose condition holds.
func (t *Template) ResolveOutputs(c *Context) ([]Evaluated, error) {
	var out []Evaluated
	for _, o := range t.Outputs {
		if o.Condition != "" && !c.Conditions[o.Condition] {
			continue
		}
		v, err := t.Resolve(o.Value, c)
		if err != nil {
			return nil, err
		}
		if list, ok := v.([]any); ok && scalars(list) {
			v = join(list, ",")
		}
		e := Evaluated{Name: o.Name, Description: o.Description}
		switch v.(type) {
		case string, bool, json.Number:
			e.Value = text(v)
		default:
			return nil, errorf("Template format error: The Value field of every Outputs member must evaluate to a String.")
		}
		if o.Export != nil {
			name, ok, err := t.evalText(o.Export, c)
			if err != nil {
				return nil, err
			}
			if !ok || name == "" {
				return nil, errorf("Template format error: Output %s is malformed. The Name field of every Export member must evaluate to a non-empty String.", o.Name)
			}
			e.Export = name
		}
		out = append(out, e)
	}
	return out, nil
}

// Imports lists the exports that the template imports, with the parameters and conditions of c. No resource is needed
// for that: AWS lets an export's name depend on none.
func (t *Template) Imports(c *Context) ([]string, error) {
	plain := *c
	plain.Ref, plain.GetAtt, plain.Import = nil, nil, nil
	var names []string
	collect := func(v any) error {
		return t.walk(v, c.Conditions, func(fn string, arg any) error {
			if fn != "Fn::ImportValue" {
				return nil
			}
			name, ok, err := t.evalText(arg, &plain)
			if err != nil || !ok {
				return errImport
			}
			names = append(names, name)
			return nil
		})
	}
	for _, r := range t.Resources {
		if r.Condition == "" || c.Conditions[r.Condition] {
			if err := collect(r.Properties); err != nil {
				return nil, err
			}
		}
	}
	for _, o := range t.Outputs {
		if o.Condition == "" || c.Conditions[o.Condition] {
			if err := collect(map[string]any{"v": o.Value, "e": o.Export}); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
