package launch

import (
	"encoding/json"
	"fmt"
	"time"
)

// The answers of API calls are documents; these read their members, with the zero value for what is absent.

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil:
		return ""
	case int64:
		return fmt.Sprint(v)
	case json.Number:
		return v.String()
	}
	return fmt.Sprint(v)
}

func integer(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case int:
		return int64(v)
	case float64:
		return int64(v)
	case json.Number:
		n, _ := v.Int64()
		return n
	}
	return 0
}

func list(v any) []any { l, _ := v.([]any); return l }

func object(v any) map[string]any { m, _ := v.(map[string]any); return m }

func instant(v any) time.Time { t, _ := v.(time.Time); return t }

// at walks members by name.
func at(v any, path ...string) any {
	for _, p := range path {
		v = object(v)[p]
	}
	return v
}
