package resource

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// convert makes of a template's value what the API's model wants: "true" becomes true, 4 becomes "4". A member that the
// model does not have is refused by name.
func convert(s *awsapi.Shape, v any, path string) (any, error) {
	wrong := func(want string) error {
		return failf("Value of property %s must be %s", strings.TrimPrefix(path, "."), want)
	}
	switch s.Type {
	case "structure":
		m, ok := v.(map[string]any)
		if !ok {
			return nil, wrong("an object")
		}
		out := make(map[string]any, len(m))
		for k, e := range m {
			ref := s.MemberNamed(k)
			if ref == nil {
				return nil, failf("Encountered unsupported property %s", strings.TrimPrefix(path+"."+k, "."))
			}
			c, err := convert(ref.To, e, path+"."+k)
			if err != nil {
				return nil, err
			}
			out[k] = c
		}
		return out, nil
	case "map":
		m, ok := v.(map[string]any)
		if !ok {
			return nil, wrong("an object")
		}
		out := make(map[string]any, len(m))
		for k, e := range m {
			c, err := convert(s.Value.To, e, path+"."+k)
			if err != nil {
				return nil, err
			}
			out[k] = c
		}
		return out, nil
	case "list":
		l, ok := v.([]any)
		if !ok {
			if strs, ok := v.([]string); ok {
				for _, e := range strs {
					l = append(l, e)
				}
			} else {
				l = []any{v}
			}
		}
		out := make([]any, len(l))
		for i, e := range l {
			c, err := convert(s.Member.To, e, path+"."+strconv.Itoa(i))
			if err != nil {
				return nil, err
			}
			out[i] = c
		}
		return out, nil
	case "boolean":
		switch strings.ToLower(text(v)) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, wrong("a boolean")
	case "integer", "long":
		n := json.Number(strings.TrimSpace(text(v)))
		if i, err := n.Int64(); err == nil {
			return i, nil
		}
		if f, err := n.Float64(); err == nil && f == float64(int64(f)) {
			return int64(f), nil
		}
		return nil, wrong("of type Integer")
	case "float", "double":
		f, err := strconv.ParseFloat(strings.TrimSpace(text(v)), 64)
		if err != nil {
			return nil, wrong("of type Number")
		}
		return f, nil
	case "blob":
		switch v := v.(type) {
		case []byte:
			return v, nil
		case string:
			b, err := base64.StdEncoding.DecodeString(v)
			if err != nil {
				return nil, wrong("base64")
			}
			return b, nil
		}
		return nil, wrong("base64")
	}
	switch v.(type) {
	case map[string]any, []any:
		return nil, wrong("of type String")
	}
	return text(v), nil
}
