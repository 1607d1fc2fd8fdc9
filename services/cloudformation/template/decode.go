package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Error is why a template is refused, in AWS's words where they are known.
type Error string

func (e Error) Error() string { return string(e) }

func errorf(format string, args ...any) error { return Error(fmt.Sprintf(format, args...)) }

// Warning is something that AWS accepts in silence and that is seldom meant.
type Warning struct {
	Line    int
	Message string
}

const maxDepth = 200 // of nested values; deeper templates are refused

// decode reads a JSON or YAML document as a tree of nodes. JSON keeps its own reader, because YAML knows neither its
// surrogate pairs nor tabs.
func decode(body []byte) (*yaml.Node, error) {
	if !utf8.Valid(body) {
		return nil, errorf("Template format error: the template is not valid UTF-8.")
	}
	trimmed := bytes.TrimLeft(body, "\ufeff \t\r\n")
	if len(trimmed) == 0 {
		return nil, errorf("Template format error: unsupported structure.")
	}
	if trimmed[0] == '{' || trimmed[0] == '[' {
		return decodeJSON(body, len(body)-len(trimmed))
	}
	dec := yaml.NewDecoder(bytes.NewReader(trimmed))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		return nil, yamlError(body)
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, yamlError(body)
		}
		return nil, errorf("Template format error: YAML not well-formed. (line %d, column 1)", more.Line)
	}
	if len(doc.Content) != 1 {
		return nil, errorf("Template format error: unsupported structure.")
	}
	return doc.Content[0], nil
}

// yamlError says where the document stops being YAML: the first line whose end no shorter document has wrong. The parser's
// own error often names where the surrounding block began, and never a column.
func yamlError(body []byte) error {
	lines := strings.SplitAfter(string(body), "\n")
	line := sort.Search(len(lines)-1, func(i int) bool {
		var n yaml.Node
		return yaml.Unmarshal([]byte(strings.Join(lines[:i+1], "")), &n) != nil
	})
	text := lines[line]
	return errorf("Template format error: YAML not well-formed. (line %d, column %d)", line+1, 1+len(text)-len(strings.TrimLeft(text, " \t")))
}

func decodeJSON(body []byte, start int) (*yaml.Node, error) {
	dec := json.NewDecoder(bytes.NewReader(body[start:]))
	dec.UseNumber()
	n, err := jsonNode(dec, 0)
	if err == nil {
		var extra json.Token
		if extra, err = dec.Token(); errors.Is(err, io.EOF) {
			return n, nil
		} else if err == nil {
			err = fmt.Errorf("unexpected %v after the document", extra)
		}
	}
	var e Error
	if errors.As(err, &e) {
		return nil, e
	}
	at := int64(start) + dec.InputOffset()
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at = int64(start) + syntax.Offset
	}
	before := string(body[:min(at, int64(len(body)))])
	line := 1 + strings.Count(before, "\n")
	column := len(before) - (strings.LastIndex(before, "\n") + 1)
	return nil, errorf("Template format error: JSON not well-formed. (line %d, column %d)", line, max(column, 1))
}

func jsonNode(dec *json.Decoder, depth int) (*yaml.Node, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch v := tok.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		if v == '[' {
			n = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		}
		for dec.More() {
			c, err := jsonNode(dec, depth+1) // in an object: the key, which the decoder checks to be a string
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, c)
			if n.Kind == yaml.MappingNode {
				c, err := jsonNode(dec, depth+1)
				if err != nil {
					return nil, err
				}
				n.Content = append(n.Content, c)
			}
		}
		_, err := dec.Token()
		return n, err
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v}, nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: v.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)}, nil
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}, nil
	}
}

var errTooDeep = errorf("Template format error: the template is nested deeper than %d levels.", maxDepth)

// reader turns nodes into values and collects warnings on the way.
type reader struct{ warnings []Warning }

// A field is one entry of a mapping, in the document's order.
type field struct {
	name string
	node *yaml.Node
}

// fields lists a mapping's entries. Of a key that occurs twice the last one counts, in the place of the first.
//
// AWS: its parser takes the last; the sample's template relies on that.
func (r *reader) fields(n *yaml.Node, path string) ([]field, error) {
	if n.Kind != yaml.MappingNode {
		return nil, errorf("Template format error: %s must be an object.", where(path))
	}
	out := make([]field, 0, len(n.Content)/2)
	at := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			return nil, errorf("Template format error: YAML not well-formed. (line %d, column %d)", key.Line, key.Column)
		}
		if key.Tag == "!!merge" {
			return nil, errorf("Template format error: YAML hash merges (<<) are not supported. (line %d, column %d)", key.Line, key.Column)
		}
		f := field{key.Value, n.Content[i+1]}
		if j, dup := at[f.name]; dup {
			r.warnings = append(r.warnings, Warning{key.Line, fmt.Sprintf("%s occurs twice in %s; the last one counts", strconv.Quote(f.name), where(path))})
			out[j] = f
			continue
		}
		at[f.name] = len(out)
		out = append(out, f)
	}
	return out, nil
}

func where(path string) string {
	if path == "" {
		return "the template"
	}
	return "[" + path + "]"
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// value reads any value; short forms become long ones.
func (r *reader) value(n *yaml.Node, path string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return nil, errorf("Template error: YAML aliases are not allowed in CloudFormation templates")
	}
	if tag := n.Tag; strings.HasPrefix(tag, "!") && !strings.HasPrefix(tag, "!!") && tag != "!" {
		return r.shortForm(n, tag[1:], path, depth)
	}
	switch n.Kind {
	case yaml.MappingNode:
		fields, err := r.fields(n, path)
		if err != nil {
			return nil, err
		}
		m := make(map[string]any, len(fields))
		for _, f := range fields {
			if m[f.name], err = r.value(f.node, path+"/"+f.name, depth+1); err != nil {
				return nil, err
			}
		}
		return m, nil
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			var err error
			if list[i], err = r.value(c, path+"/"+strconv.Itoa(i), depth+1); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	switch n.Tag {
	case "!!null":
		return nil, errorf("Template format error: [%s] 'null' values are not allowed in templates", path)
	case "!!bool":
		return strings.EqualFold(n.Value, "true"), nil
	case "!!int", "!!float":
		if jsonNumber.MatchString(n.Value) {
			return json.Number(n.Value), nil
		}
	case "!!str", "!!timestamp", "!": // AWS: a date such as a policy's Version stays the string that it was.
	default:
		return nil, errorf("Template format error: YAML tag %s is not supported. (line %d, column %d)", n.Tag, n.Line, n.Column)
	}
	return n.Value, nil
}

func (r *reader) shortForm(n *yaml.Node, name, path string, depth int) (any, error) {
	long := name
	if name != "Ref" && name != "Condition" {
		long = "Fn::" + name
	}
	if !supported(long) && long != "Condition" {
		return nil, unsupportedFunction(long)
	}
	plain := *n
	plain.Tag = map[yaml.Kind]string{yaml.MappingNode: "!!map", yaml.SequenceNode: "!!seq", yaml.ScalarNode: "!!str"}[n.Kind]
	arg, err := r.value(&plain, path+"/"+long, depth+1)
	if err != nil {
		return nil, err
	}
	if s, ok := arg.(string); ok && long == "Fn::GetAtt" {
		resource, attribute, ok := strings.Cut(s, ".")
		if !ok {
			return nil, errGetAtt
		}
		arg = []any{resource, attribute}
	}
	return map[string]any{long: arg}, nil
}
