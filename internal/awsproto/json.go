package awsproto

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// parseJSON reads one JSON document.
func parseJSON(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("text after the document")
	}
	return v, nil
}

// jsonBody reads a structure's JSON form. AWS: members that the model does not have are passed over.
func jsonBody(r *awsapi.Ref, b []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return map[string]any{}, nil
	}
	v, err := parseJSON(b)
	if err != nil {
		return nil, badType("The request body is not valid JSON: " + err.Error())
	}
	if v == nil {
		return map[string]any{}, nil
	}
	doc, err := fromJSON(r, v)
	if err != nil {
		return nil, err
	}
	return doc.(map[string]any), nil
}

// jsonName is a member's key. AWS: only the REST protocol renames members.
func jsonName(m *awsapi.Ref) string {
	if m.LocationName != "" && m.QueryName == "" {
		return m.LocationName
	}
	return m.Name
}

func fromJSON(r *awsapi.Ref, v any) (any, error) {
	s := r.To
	switch s.Type {
	case "structure":
		in, ok := v.(map[string]any)
		if !ok {
			return nil, badType(expected(v, "", "structure or map"))
		}
		out := make(map[string]any, len(in))
		for _, m := range s.Members {
			x, ok := in[jsonName(m)]
			if !ok || x == nil || m.Location != "" {
				continue
			}
			y, err := fromJSON(m, x)
			if err != nil {
				return nil, err
			}
			out[m.Name] = y
		}
		return out, nil
	case "list":
		in, ok := v.([]any)
		if !ok {
			return nil, badType(expected(v, "", "list"))
		}
		out := make([]any, len(in))
		for i, x := range in {
			if x == nil {
				continue
			}
			y, err := fromJSON(s.Member, x)
			if err != nil {
				return nil, err
			}
			out[i] = y
		}
		return out, nil
	case "map":
		in, ok := v.(map[string]any)
		if !ok {
			return nil, badType(expected(v, "", "structure or map"))
		}
		out := make(map[string]any, len(in))
		for k, x := range in {
			if x == nil {
				continue
			}
			y, err := fromJSON(s.Value, x)
			if err != nil {
				return nil, err
			}
			out[k] = y
		}
		return out, nil
	case "blob":
		text, ok := v.(string)
		if !ok {
			return nil, badType(cannot(v, "a Blob", ""))
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, badType("the value of a blob is not base64")
		}
		return b, nil
	}
	c := checker{lax: true}
	out := c.scalar(r, v, "")
	return out, c.bad
}

// appendJSON writes a value in the model's order of members.
func appendJSON(b []byte, r *awsapi.Ref, v any) []byte {
	s := r.To
	switch x := v.(type) {
	case map[string]any:
		b = append(b, '{')
		first := true
		comma := func() {
			if !first {
				b = append(b, ',')
			}
			first = false
		}
		if s.Type == "map" {
			keys := make([]string, 0, len(x))
			for k := range x {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			for _, k := range keys {
				if x[k] == nil {
					continue
				}
				comma()
				b = append(appendString(b, k), ':')
				b = appendJSON(b, s.Value, x[k])
			}
		} else {
			for _, m := range s.Members {
				e, ok := x[m.Name]
				if !ok || e == nil || m.Location != "" {
					continue
				}
				comma()
				b = append(appendString(b, jsonName(m)), ':')
				b = appendJSON(b, m, e)
			}
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, e := range x {
			if i > 0 {
				b = append(b, ',')
			}
			if e == nil {
				b = append(b, "null"...)
			} else {
				b = appendJSON(b, s.Member, e)
			}
		}
		return append(b, ']')
	case string:
		return appendString(b, x)
	case bool:
		return strconv.AppendBool(b, x)
	case int64:
		return strconv.AppendInt(b, x, 10)
	case int:
		return strconv.AppendInt(b, int64(x), 10)
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return appendString(b, formatFloat(x))
		}
		return append(b, formatFloat(x)...)
	case time.Time:
		if f := timeFormat(s, unix); f != unix {
			return appendString(b, formatTime(x, f))
		}
		return append(b, formatEpoch(x)...)
	case []byte:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, x)
		return append(b, '"')
	case nil:
		return append(b, "null"...)
	}
	panic(fmt.Sprintf("awsproto: %T for %s", v, s.Name))
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string, without escaping what only HTML would mind.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, s[start:i]...), `\ufffd`...)
				i++
				start = i
				continue
			}
			i += n
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
