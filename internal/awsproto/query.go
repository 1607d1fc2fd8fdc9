package awsproto

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// form is a query request's parameters as a tree: "Tags.member.1.Key" is four levels deep.
type form struct {
	value    string
	set      bool
	children map[string]*form
}

// maxFormDepth is deeper than any shape.
const maxFormDepth = 40

func parseForm(text string) (*form, error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, awsapi.Errorf(400, "MalformedQueryString", "The query string is malformed: %v", err)
	}
	root := &form{}
	for k, vs := range values {
		steps := strings.Split(k, ".")
		if len(steps) > maxFormDepth {
			return nil, awsapi.Errorf(400, "MalformedQueryString", "The parameter name %.100s is too deep", k)
		}
		f := root
		for _, step := range steps {
			if f.children == nil {
				f.children = map[string]*form{}
			}
			next := f.children[step]
			if next == nil {
				next = &form{}
				f.children[step] = next
			}
			f = next
		}
		f.value, f.set = vs[0], true
	}
	return root, nil
}

func (f *form) at(name string) *form {
	if f == nil {
		return nil
	}
	return f.children[name]
}

// items are the children named 1, 2, … in order; gaps are closed, as AWS does.
func (f *form) items() []*form {
	if f == nil {
		return nil
	}
	type item struct {
		n int
		f *form
	}
	var list []item
	for k, c := range f.children {
		if n, err := strconv.Atoi(k); err == nil && n > 0 {
			list = append(list, item{n, c})
		}
	}
	slices.SortFunc(list, func(a, b item) int { return a.n - b.n })
	out := make([]*form, len(list))
	for i, it := range list {
		out[i] = it.f
	}
	return out
}

// dialect is one of the two query protocols.
type dialect struct{ ec2 bool }

// name is how a member is called in a request.
func (d dialect) name(m *awsapi.Ref) string {
	switch {
	case m.QueryName != "":
		return m.QueryName
	case d.ec2:
		name := orElse(m.LocationName, m.Name)
		return strings.ToUpper(name[:1]) + name[1:]
	case m.LocationName != "":
		return m.LocationName
	case flattened(m) && m.To.Type == "list" && m.To.Member.LocationName != "":
		return m.To.Member.LocationName
	}
	return m.Name
}

func flattened(r *awsapi.Ref) bool { return r.Flattened || r.To.Flattened }

func orElse(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// decode reads the value of a ref from its place in the form; nil when nothing is there.
func (d dialect) decode(r *awsapi.Ref, f *form) (any, error) {
	if f == nil {
		return nil, nil
	}
	s := r.To
	switch s.Type {
	case "structure":
		if !f.set && len(f.children) == 0 {
			return nil, nil
		}
		return d.structure(s, f)
	case "list":
		at := f
		if !d.ec2 && !flattened(r) {
			name := orElse(s.Member.LocationName, "member")
			// Some clients leave the member's name out, or use the default one.
			if f.at(name) != nil {
				at = f.at(name)
			} else if f.at("member") != nil {
				at = f.at("member")
			}
		}
		items := at.items()
		if items == nil && !f.set {
			return nil, nil
		}
		// AWS: "Tags=" is an empty list.
		out := make([]any, 0, len(items))
		for _, it := range items {
			v, err := d.decode(s.Member, it)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case "map":
		at := f
		if !flattened(r) && f.at("entry") != nil {
			at = f.at("entry")
		}
		out := map[string]any{}
		for _, it := range at.items() {
			k := it.at(orElse(s.Key.LocationName, "key"))
			if k == nil {
				return nil, awsapi.Errorf(400, "MalformedInput", "An entry of %s has no key", r.Name)
			}
			v, err := d.decode(s.Value, it.at(orElse(s.Value.LocationName, "value")))
			if err != nil {
				return nil, err
			}
			if v != nil {
				out[k.value] = v
			}
		}
		if len(out) == 0 && !f.set {
			return nil, nil
		}
		return out, nil
	}
	if !f.set {
		return nil, nil
	}
	if f.value == "" && s.Type != "string" && s.Type != "blob" {
		return nil, nil
	}
	v, err := parseScalar(s, f.value, iso8601)
	if err != nil {
		return nil, awsapi.Errorf(400, "MalformedInput", "%s: %v", r.Name, err)
	}
	return v, nil
}

func (d dialect) structure(s *awsapi.Shape, f *form) (map[string]any, error) {
	out := map[string]any{}
	for _, m := range s.Members {
		at := f.at(d.name(m))
		if at == nil {
			at = f.at(m.Name) // AWS: an empty flattened list comes under the member's name
		}
		v, err := d.decode(m, at)
		if err != nil {
			return nil, err
		}
		if v != nil {
			out[m.Name] = v
		}
	}
	return out, nil
}

// encode writes a value under its prefix, for requests that we send.
func (d dialect) encode(out url.Values, prefix string, r *awsapi.Ref, v any) error {
	s := r.To
	switch x := v.(type) {
	case nil:
		return nil
	case map[string]any:
		if s.Type == "map" {
			if !flattened(r) {
				prefix += ".entry"
			}
			for i, k := range sortedKeys(x) {
				at := fmt.Sprintf("%s.%d.", prefix, i+1)
				out.Set(at+orElse(s.Key.LocationName, "key"), k)
				if err := d.encode(out, at+orElse(s.Value.LocationName, "value"), s.Value, x[k]); err != nil {
					return err
				}
			}
			return nil
		}
		for _, m := range s.Members {
			if err := d.encode(out, join(prefix, d.name(m)), m, x[m.Name]); err != nil {
				return err
			}
		}
		return nil
	case []any:
		if len(x) == 0 {
			out.Set(prefix, "")
			return nil
		}
		if !d.ec2 && !flattened(r) {
			prefix += "." + orElse(s.Member.LocationName, "member")
		}
		for i, e := range x {
			if err := d.encode(out, fmt.Sprintf("%s.%d", prefix, i+1), s.Member, e); err != nil {
				return err
			}
		}
		return nil
	}
	text, ok := formatScalar(s, v, iso8601)
	if !ok {
		return fmt.Errorf("%s: %T for a %s", prefix, v, s.Type)
	}
	out.Set(prefix, text)
	return nil
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
