package sns

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/snsapi"
)

// AWS: the bounds of a filter policy: its bytes, its keys, and the product of the numbers of its values.
const (
	maxFilter       = 256 << 10
	maxFilterKeys   = 5
	maxFilterValues = 150
)

const (
	scopeAttributes = "MessageAttributes"
	scopeBody       = "MessageBody"
)

// filter says which messages a subscriber gets.
//
// AWS: all keys must be met, each by one of its conditions; a list in a message meets a condition by one of its members.
type filter struct {
	policy map[string]any
	body   bool // judges the message and not its attributes
}

// parseFilter reads a subscription's filter policy; nil for none. The error is a sentence.
func parseFilter(text, scope string) (*filter, error) {
	if scope != "" && scope != scopeAttributes && scope != scopeBody {
		return nil, refuse("FilterPolicyScope: Invalid value [%s]. Please use either MessageBody or MessageAttributes", scope)
	}
	if text == "" {
		return nil, nil
	}
	f := &filter{body: scope == scopeBody}
	switch err := json.Unmarshal([]byte(text), &f.policy); {
	case len(text) > maxFilter:
		return nil, refuse("FilterPolicy: Filter policy is larger than %d bytes", maxFilter)
	case err != nil || f.policy == nil:
		return nil, refuse("FilterPolicy: failed to parse JSON.")
	case len(f.policy) == 0:
		return nil, nil
	}
	keys := 0
	values, bad := f.check(f.policy, 1, &keys)
	switch {
	case bad != nil:
		return nil, bad
	case keys > maxFilterKeys:
		return nil, refuse("FilterPolicy: Filter policy can not have more than %d keys", maxFilterKeys)
	case values > maxFilterValues:
		return nil, refuse("FilterPolicy: Filter policy is too complex")
	}
	return f, nil
}

// refuse is the reason of an InvalidParameter.
var refuse = fmt.Errorf

// alternatives are the policies of "$or"; nil when the value is an ordinary list of conditions.
func alternatives(key string, value any) (out []map[string]any) {
	list, _ := value.([]any)
	if key != "$or" || len(list) < 2 {
		return nil
	}
	for _, v := range list {
		p, ok := v.(map[string]any)
		if !ok || len(p) == 0 {
			return nil
		}
		for k := range p {
			if slices.Contains(operators, k) {
				return nil
			}
		}
		out = append(out, p)
	}
	return out
}

// check refuses what AWS refuses, counts the keys and says how many combinations of values there are.
func (f *filter) check(policy map[string]any, depth int, keys *int) (values int, bad error) {
	values = 1
	for key, value := range policy {
		n := 0
		if either := alternatives(key, value); either != nil {
			for _, p := range either {
				m, bad := f.check(p, depth, keys)
				if bad != nil {
					return 0, bad
				}
				n += m
			}
			values = min(values*n, maxFilterValues+1)
			continue
		}
		switch v := value.(type) {
		case []any:
			*keys++
			if len(v) == 0 {
				return 0, refuse("FilterPolicy: Empty arrays are not allowed")
			}
			for _, c := range v {
				if bad := checkCondition(c); bad != nil {
					return 0, bad
				}
			}
			n = len(v) * depth
		case map[string]any:
			if !f.body {
				return 0, refuse("FilterPolicy: Filter policy scope MessageAttributes does not support nested filter policy")
			}
			if len(v) == 0 {
				return 0, refuse("FilterPolicy: Empty objects are not allowed")
			}
			if n, bad = f.check(v, depth+1, keys); bad != nil {
				return 0, bad
			}
		default:
			return 0, refuse("FilterPolicy: %q must be an object or an array", key)
		}
		values = min(values*n, maxFilterValues+1)
	}
	return values, nil
}

var operators = []string{"anything-but", "cidr", "equals-ignore-case", "exists", "numeric", "prefix", "suffix"}

func checkCondition(c any) error {
	if _, ok := c.([]any); ok {
		return refuse("FilterPolicy: Match value must be String, number, true, false, or null")
	}
	op, arg, ok := operator(c)
	if !ok {
		if _, ok := c.(map[string]any); ok {
			return refuse("FilterPolicy: Only one key allowed in match expression")
		}
		return nil
	}
	text, isText := arg.(string)
	switch op {
	case "exists":
		if _, ok := arg.(bool); !ok {
			return refuse("FilterPolicy: exists match pattern must be either true or false.")
		}
	case "prefix", "suffix", "equals-ignore-case":
		if !isText {
			return refuse("FilterPolicy: %s match pattern must be a string", op)
		}
	case "cidr":
		if _, err := netip.ParsePrefix(text); err != nil {
			return refuse("FilterPolicy: Malformed CIDR, %q", text)
		}
	case "numeric":
		return checkNumeric(arg)
	case "anything-but":
		list, isList := arg.([]any)
		if isList && len(list) == 0 {
			return refuse("FilterPolicy: Empty arrays are not allowed")
		}
		for _, v := range list {
			switch v.(type) {
			case string, float64:
			default:
				return refuse("FilterPolicy: Inside anything but list, start|null|boolean is not supported.")
			}
		}
		inner, _, nested := operator(arg)
		switch {
		case nested && (inner == "prefix" || inner == "suffix"):
			return checkCondition(arg)
		case nested:
			return refuse("FilterPolicy: Unsupported anything-but pattern: %s", inner)
		case !isList && !isText:
			if _, ok := arg.(float64); !ok {
				return refuse("FilterPolicy: Value of anything-but must be an array or single string/number value.")
			}
		}
	default:
		return refuse("FilterPolicy: Unrecognized match type %s", op)
	}
	return nil
}

func checkNumeric(arg any) error {
	list, ok := arg.([]any)
	if !ok || len(list) == 0 {
		return refuse("FilterPolicy: Value of numeric must be an array.")
	}
	if len(list) != 2 && len(list) != 4 {
		return refuse("FilterPolicy: Too many elements in numeric expression")
	}
	for i := 0; i < len(list); i += 2 {
		op, _ := list[i].(string)
		if !slices.Contains([]string{"=", "<", "<=", ">", ">="}, op) {
			return refuse("FilterPolicy: Unrecognized numeric range operator: %v", list[i])
		}
		if _, ok := list[i+1].(float64); !ok {
			return refuse("FilterPolicy: Value of %s must be numeric", op)
		}
	}
	if len(list) == 4 {
		lower, upper := list[0].(string), list[2].(string)
		if lower[0] != '>' || upper[0] != '<' {
			return refuse("FilterPolicy: Bad numeric range operator: %s", upper)
		}
		if list[1].(float64) >= list[3].(float64) {
			return refuse("FilterPolicy: Bottom must be less than top")
		}
	}
	return nil
}

// operator splits {"prefix": "a"}.
func operator(c any) (op string, arg any, ok bool) {
	m, _ := c.(map[string]any)
	for op, arg = range m {
	}
	return op, arg, len(m) == 1
}

// accepts reports whether the subscriber gets a message.
func (f *filter) accepts(message string, attributes map[string]snsapi.MessageAttributeValue) bool {
	doc := map[string]any{}
	if f.body {
		if json.Unmarshal([]byte(message), &doc) != nil {
			return false // AWS: what is no JSON object has nothing that a policy could accept
		}
		return match(f.policy, doc)
	}
	for name, a := range attributes {
		text := awsapi.Val(a.StringValue)
		switch kind, _, _ := strings.Cut(a.DataType, "."); {
		case a.DataType == "String.Array":
			var list []any
			if json.Unmarshal([]byte(text), &list) == nil {
				doc[name] = list
			}
		case kind == "String":
			doc[name] = text
		case kind == "Number":
			if n, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil {
				doc[name] = n
			}
		}
	}
	return match(f.policy, doc)
}

func match(policy, doc map[string]any) bool {
	for key, want := range policy {
		if either := alternatives(key, want); either != nil {
			if !slices.ContainsFunc(either, func(p map[string]any) bool { return match(p, doc) }) {
				return false
			}
			continue
		}
		have, present := doc[key]
		met := false
		if below, ok := want.(map[string]any); ok {
			found := objects(have)
			met = slices.ContainsFunc(found, func(d map[string]any) bool { return match(below, d) }) || len(found) == 0 && match(below, nil)
		} else {
			var values []any
			if present {
				values = scalars(have)
			}
			met = slices.ContainsFunc(want.([]any), func(c any) bool { return meets(c, values) })
		}
		if !met {
			return false
		}
	}
	return true
}

// objects are the objects of a value: itself, or those of a list.
func objects(v any) (out []map[string]any) {
	switch v := v.(type) {
	case map[string]any:
		return []map[string]any{v}
	case []any:
		for _, e := range v {
			out = append(out, objects(e)...)
		}
	}
	return out
}

// scalars are the values that conditions judge: itself, or the members of a list.
func scalars(v any) (out []any) {
	switch v := v.(type) {
	case map[string]any:
		return nil
	case []any:
		for _, e := range v {
			out = append(out, scalars(e)...)
		}
		return out
	}
	return []any{v}
}

func meets(condition any, values []any) bool {
	if op, arg, ok := operator(condition); ok && op == "exists" {
		return (len(values) > 0) == arg.(bool)
	}
	return slices.ContainsFunc(values, func(v any) bool { return holds(condition, v) })
}

// holds judges one scalar.
func holds(condition, v any) bool {
	op, arg, ok := operator(condition)
	if !ok {
		return condition == v
	}
	text, isText := v.(string)
	switch op {
	case "prefix":
		return isText && strings.HasPrefix(text, arg.(string))
	case "suffix":
		return isText && strings.HasSuffix(text, arg.(string))
	case "equals-ignore-case":
		return isText && strings.EqualFold(text, arg.(string))
	case "cidr":
		block, err := netip.ParsePrefix(arg.(string))
		addr, err2 := netip.ParseAddr(text)
		return err == nil && err2 == nil && block.Contains(addr)
	case "numeric":
		n, isNumber := v.(float64)
		return isNumber && inRange(arg.([]any), n)
	case "anything-but":
		if list, ok := arg.([]any); ok {
			return !slices.Contains(list, v)
		}
		return !holds(arg, v)
	}
	return false
}

func inRange(list []any, n float64) bool {
	for i := 0; i < len(list); i += 2 {
		bound, ok := list[i+1].(float64), false
		switch list[i] {
		case "=":
			ok = n == bound
		case "<":
			ok = n < bound
		case "<=":
			ok = n <= bound
		case ">":
			ok = n > bound
		case ">=":
			ok = n >= bound
		}
		if !ok {
			return false
		}
	}
	return true
}
