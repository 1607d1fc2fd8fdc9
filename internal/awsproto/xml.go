package awsproto

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// element is a parsed XML element. Namespaces are dropped: no AWS document needs them to be told apart.
type element struct {
	name     string
	attrs    map[string]string
	text     string
	chars    []byte // of text, while it is read
	children []*element
}

const maxXMLDepth = 64

func parseXML(b []byte) (*element, error) {
	dec := xml.NewDecoder(bytes.NewReader(b))
	var root *element
	var stack []*element
	for {
		t, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			e := &element{name: t.Name.Local}
			for _, a := range t.Attr {
				if e.attrs == nil {
					e.attrs = map[string]string{}
				}
				e.attrs[a.Name.Local] = a.Value
			}
			switch {
			case len(stack) == maxXMLDepth:
				return nil, fmt.Errorf("deeper than %d elements", maxXMLDepth)
			case len(stack) > 0:
				p := stack[len(stack)-1]
				p.children = append(p.children, e)
			case root != nil:
				return nil, fmt.Errorf("more than one root")
			default:
				root = e
			}
			stack = append(stack, e)
		case xml.EndElement:
			e := stack[len(stack)-1]
			e.text, e.chars = string(e.chars), nil
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) > 0 { // comments part it: adding to a string would take quadratic time
				e := stack[len(stack)-1]
				e.chars = append(e.chars, t...)
			}
		case xml.Directive:
			return nil, fmt.Errorf("document types are not accepted")
		}
	}
	if root == nil {
		return nil, fmt.Errorf("no element")
	}
	return root, nil
}

func (e *element) child(name string) *element {
	for _, c := range e.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// xmlName is a member's element.
func xmlName(m *awsapi.Ref) string {
	switch {
	case m.To.Type == "list" && flattened(m) && m.To.Member.LocationName != "":
		return m.To.Member.LocationName
	case m.LocationName != "":
		return m.LocationName
	case m.QueryName != "":
		return m.QueryName
	}
	return m.Name
}

func xmlStructure(s *awsapi.Shape, e *element) (map[string]any, error) {
	out := map[string]any{}
	for _, m := range s.Members {
		if m.Location != "" {
			continue
		}
		name := xmlName(m)
		if m.XMLAttribute {
			if _, local, ok := strings.Cut(name, ":"); ok {
				name = local
			}
			if v, ok := e.attrs[name]; ok {
				out[m.Name] = v
			}
			continue
		}
		if flattened(m) && (m.To.Type == "list" || m.To.Type == "map") {
			var found []*element
			for _, c := range e.children {
				if c.name == name {
					found = append(found, c)
				}
			}
			if found == nil {
				continue
			}
			v, err := xmlItems(m.To, found)
			if err != nil {
				return nil, err
			}
			out[m.Name] = v
			continue
		}
		c := e.child(name)
		if c == nil {
			continue
		}
		v, err := fromXML(m, c)
		if err != nil {
			return nil, err
		}
		out[m.Name] = v
	}
	return out, nil
}

// xmlItems reads the elements of a list or the entries of a map.
func xmlItems(s *awsapi.Shape, items []*element) (any, error) {
	if s.Type == "map" {
		out := map[string]any{}
		for _, it := range items {
			k, ve := it.child(orElse(s.Key.LocationName, "key")), it.child(orElse(s.Value.LocationName, "value"))
			if k == nil || ve == nil {
				return nil, fmt.Errorf("an entry of %s has no key or value", s.Name)
			}
			v, err := fromXML(s.Value, ve)
			if err != nil {
				return nil, err
			}
			out[k.text] = v
		}
		return out, nil
	}
	out := make([]any, len(items))
	for i, it := range items {
		v, err := fromXML(s.Member, it)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func fromXML(r *awsapi.Ref, e *element) (any, error) {
	switch r.To.Type {
	case "structure":
		return xmlStructure(r.To, e)
	case "list", "map":
		return xmlItems(r.To, e.children)
	}
	v, err := parseScalar(r.To, e.text, iso8601)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.name, err)
	}
	return v, nil
}

// xmlWriter writes documents without indentation.
type xmlWriter struct{ bytes.Buffer }

func (w *xmlWriter) open(name string, attrs ...string) {
	w.WriteByte('<')
	w.WriteString(name)
	for i := 0; i+1 < len(attrs); i += 2 {
		w.WriteByte(' ')
		w.WriteString(attrs[i])
		w.WriteString(`="`)
		_ = xml.EscapeText(w, []byte(attrs[i+1]))
		w.WriteByte('"')
	}
	w.WriteByte('>')
}

func (w *xmlWriter) close(name string) { w.WriteString("</"); w.WriteString(name); w.WriteByte('>') }

func (w *xmlWriter) leaf(name, text string) {
	w.open(name)
	_ = xml.EscapeText(w, []byte(text))
	w.close(name)
}

// members writes those members of a structure that are in the body.
func (w *xmlWriter) members(s *awsapi.Shape, doc map[string]any) {
	for _, m := range s.Members {
		v, ok := doc[m.Name]
		if !ok || v == nil || m.Location != "" || m.XMLAttribute {
			continue
		}
		w.value(xmlName(m), m, v)
	}
}

// value writes one member under its name.
func (w *xmlWriter) value(name string, r *awsapi.Ref, v any) {
	s := r.To
	switch x := v.(type) {
	case map[string]any:
		if s.Type == "map" {
			entry := name
			if !flattened(r) {
				entry = "entry"
				w.open(name)
			}
			for _, k := range sortedKeys(x) {
				w.open(entry)
				w.leaf(orElse(s.Key.LocationName, "key"), k)
				w.value(orElse(s.Value.LocationName, "value"), s.Value, x[k])
				w.close(entry)
			}
			if !flattened(r) {
				w.close(name)
			}
			return
		}
		var attrs []string
		if r.XMLNamespace != nil {
			attrs = namespace(r.XMLNamespace)
		} else if s.XMLNamespace != nil {
			attrs = namespace(s.XMLNamespace)
		}
		for _, m := range s.Members {
			if text, ok := x[m.Name].(string); ok && m.XMLAttribute {
				attrs = append(attrs, xmlName(m), text)
			}
		}
		w.open(name, attrs...)
		w.members(s, x)
		w.close(name)
	case []any:
		if flattened(r) {
			for _, e := range x {
				w.value(name, s.Member, e)
			}
			return
		}
		w.open(name)
		for _, e := range x {
			w.value(orElse(s.Member.LocationName, "member"), s.Member, e)
		}
		w.close(name)
	case nil:
	default:
		text, ok := formatScalar(s, v, iso8601)
		if !ok {
			panic(fmt.Sprintf("awsproto: %T for %s", v, s.Name))
		}
		w.leaf(name, text)
	}
}

func namespace(n *awsapi.XMLNamespace) []string {
	if n.Prefix != "" {
		return []string{"xmlns:" + n.Prefix, n.URI}
	}
	return []string{"xmlns", n.URI}
}
