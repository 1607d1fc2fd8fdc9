package awstask

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// badParameter is an argument that does not fit the API's model.
type badParameter struct{ why string }

func (e *badParameter) Error() string { return e.why }

// toDocument makes a call's input of a state's arguments: names in PascalCase become the model's, objects and lists in
// the place of text become JSON, text in the place of bytes its bytes.
func toDocument(shape *awsapi.Shape, v jsonvalue.Value) (map[string]any, error) {
	if shape == nil {
		return map[string]any{}, nil
	}
	switch v.Kind() {
	case jsonvalue.KindObject:
	case jsonvalue.KindNull, jsonvalue.KindAbsent:
		return map[string]any{}, nil
	default:
		return nil, &badParameter{"The arguments must be an object"}
	}
	x, err := toTree(&awsapi.Ref{To: shape}, v, "")
	if err != nil {
		return nil, err
	}
	return x.(map[string]any), nil
}

func toTree(ref *awsapi.Ref, v jsonvalue.Value, path string) (any, error) {
	wrong := func(want string) error {
		return &badParameter{fmt.Sprintf("The value for the field '%s' must be %s", path, want)}
	}
	s := ref.To
	switch s.Type {
	case "structure":
		if s.Document {
			return v.Any(), nil
		}
		if v.Kind() != jsonvalue.KindObject {
			return nil, wrong("an object")
		}
		out := map[string]any{}
		for name, member := range v.Members() {
			m := memberNamed(s, name)
			if m == nil {
				return nil, unsupported(name)
			}
			if member.Kind() == jsonvalue.KindNull {
				continue
			}
			x, err := toTree(m, member, join(path, name))
			if err != nil {
				return nil, err
			}
			out[m.Name] = x
		}
		return out, nil
	case "list":
		if v.Kind() != jsonvalue.KindArray {
			return nil, wrong("an array")
		}
		out := make([]any, 0, v.Len())
		for e := range v.Elements() {
			x, err := toTree(s.Member, e, path+"["+strconv.Itoa(len(out))+"]")
			if err != nil {
				return nil, err
			}
			out = append(out, x)
		}
		return out, nil
	case "map":
		if v.Kind() != jsonvalue.KindObject {
			return nil, wrong("an object")
		}
		out := map[string]any{}
		for name, member := range v.Members() {
			x, err := toTree(s.Value, member, join(path, name))
			if err != nil {
				return nil, err
			}
			out[name] = x
		}
		return out, nil
	case "string", "character":
		return text(v), nil
	case "blob":
		if ref.IsStream() { // AWS: a streamed body is JSON, also a text (recorded: services test_s3_put_object)
			return io.Reader(bytes.NewReader(v.Raw())), nil
		}
		return []byte(text(v)), nil
	case "boolean":
		switch {
		case v.Kind() == jsonvalue.KindBool:
			return v.Bool(), nil
		case v.Kind() == jsonvalue.KindString && (v.Str() == "true" || v.Str() == "false"):
			return v.Str() == "true", nil
		}
		return nil, wrong("a boolean")
	case "integer", "long", "short", "byte":
		if i, ok := number(v).Int(); ok {
			return i, nil
		}
		return nil, wrong("an integer")
	case "float", "double":
		if n := number(v); n.Kind() == jsonvalue.KindNumber {
			return n.Float(), nil
		}
		return nil, wrong("a number")
	case "timestamp":
		if n := number(v); n.Kind() == jsonvalue.KindNumber {
			f := n.Float()
			return time.UnixMicro(int64(f * 1e6)).UTC(), nil
		}
		at, err := time.Parse(time.RFC3339Nano, v.Str())
		if err != nil {
			return nil, wrong("a timestamp")
		}
		return at, nil
	}
	return nil, wrong("of a type that Mayfly knows, not " + s.Type)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// text is a value in the place of text: a string itself, everything else as JSON.
func text(v jsonvalue.Value) string {
	if v.Kind() == jsonvalue.KindString {
		return v.Str()
	}
	return v.String()
}

// number is a number, also one that is written as a string.
func number(v jsonvalue.Value) jsonvalue.Value {
	if v.Kind() == jsonvalue.KindString {
		if n, ok := jsonvalue.Number(v.Str()); ok {
			return n
		}
	}
	return v
}

// unsupported is what AWS says of a field that the API does not have, or that is not written in PascalCase.
func unsupported(name string) error {
	return &badParameter{fmt.Sprintf(`The field "%s" is not supported by Step Functions`, name)}
}

// memberNamed finds a member by its name in PascalCase. AWS: also where the API itself writes it otherwise.
func memberNamed(s *awsapi.Shape, name string) *awsapi.Ref {
	if name == "" || unicode.IsLower(rune(name[0])) {
		return nil
	}
	if m := s.MemberNamed(name); m != nil {
		return m
	}
	for _, m := range s.Members {
		if pascal(m.Name) == name {
			return m
		}
	}
	for _, m := range s.Members { // EC2: KeyNames is spelt as the model, "Filters" too; ETag and Etag are the same
		if strings.EqualFold(m.Name, name) {
			return m
		}
	}
	return nil
}

// style is how an integration writes answers.
type style struct {
	millis bool // times as milliseconds since 1970, as the old SDK does; else ISO 8601
}

// maxStream bounds what is read of a streaming answer: more than this is too large for a state anyhow.
const maxStream = 1 << 20

// fromDocument makes a state's result of a call's output: names in PascalCase, sorted.
func (st style) fromDocument(shape *awsapi.Shape, doc map[string]any) (jsonvalue.Value, error) {
	if shape == nil {
		return jsonvalue.Object(), nil
	}
	return st.fromTree(&awsapi.Ref{To: shape}, doc)
}

func (st style) fromTree(ref *awsapi.Ref, x any) (jsonvalue.Value, error) {
	s := ref.To
	switch x := x.(type) {
	case nil:
		return jsonvalue.Null, nil
	case io.ReadCloser:
		defer x.Close()
		b, err := io.ReadAll(io.LimitReader(x, maxStream))
		if err != nil {
			return jsonvalue.Value{}, fmt.Errorf("read %s: %w", ref.Name, err)
		}
		return bytesValue(b), nil
	case []byte:
		return bytesValue(x), nil
	case time.Time:
		if st.millis {
			return jsonvalue.Int(x.UnixMilli()), nil
		}
		layout := "2006-01-02T15:04:05.000Z"
		if x.Nanosecond() == 0 {
			layout = "2006-01-02T15:04:05Z"
		}
		return jsonvalue.Str(x.UTC().Format(layout)), nil
	case []any:
		out := make([]jsonvalue.Value, len(x))
		for i, e := range x {
			var member *awsapi.Ref
			if s != nil && s.Member != nil {
				member = s.Member
			} else {
				member = &awsapi.Ref{}
			}
			v, err := st.fromTree(member, e)
			if err != nil {
				return v, err
			}
			out[i] = v
		}
		return jsonvalue.Array(out...), nil
	case map[string]any:
		var members []jsonvalue.Member
		put := func(name string, ref *awsapi.Ref, x any) error {
			v, err := st.fromTree(ref, x)
			members = append(members, jsonvalue.M(name, v))
			return err
		}
		if s != nil && s.Type == "structure" {
			for _, m := range byName(s) {
				if e, ok := x[m.Name]; ok && e != nil {
					if err := put(pascal(m.Name), m, e); err != nil {
						return jsonvalue.Value{}, err
					}
				}
			}
			return jsonvalue.Object(members...), nil
		}
		value := &awsapi.Ref{}
		if s != nil && s.Value != nil {
			value = s.Value
		}
		for _, name := range slices.Sorted(maps.Keys(x)) {
			if err := put(name, value, x[name]); err != nil {
				return jsonvalue.Value{}, err
			}
		}
		return jsonvalue.Object(members...), nil
	}
	v, err := jsonvalue.From(x)
	if err != nil {
		return v, fmt.Errorf("member %s: %w", ref.Name, err)
	}
	return v, nil
}

// byName are the members of a structure in the order in which states see them. AWS: sorted by name, what is streamed last
// (recorded: services test_s3_get_object, test_s3_put_object, test_put_events_malformed_detail).
func byName(s *awsapi.Shape) []*awsapi.Ref {
	members := slices.Clone(s.Members)
	slices.SortFunc(members, func(a, b *awsapi.Ref) int {
		if a.IsStream() != b.IsStream() {
			if a.IsStream() {
				return 1
			}
			return -1
		}
		return strings.Compare(pascal(a.Name), pascal(b.Name))
	})
	return members
}

// bytesValue is what a state sees of bytes: text where they are text.
func bytesValue(b []byte) jsonvalue.Value {
	if utf8.Valid(b) {
		return jsonvalue.Str(string(b))
	}
	return jsonvalue.Str(base64.StdEncoding.EncodeToString(b))
}
