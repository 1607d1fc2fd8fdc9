package template

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Limits of AWS.
const (
	MaxBody      = 51_200    // of TemplateBody, bytes
	MaxObject    = 1_048_576 // of what TemplateURL names, bytes
	maxParameter = 200
	maxResource  = 500
	maxOutput    = 200
	maxMapping   = 200
	maxText      = 1024 // of Description, bytes
)

// Template is a parsed and checked template.
type Template struct {
	Description string
	Metadata    any
	Parameters  []Parameter
	Mappings    map[string]map[string]map[string]any
	Conditions  []Condition
	Resources   []Resource // in the document's order
	Outputs     []Output   // in the document's order
	Warnings    []Warning
	// Document is the whole template as values, short forms written long.
	Document map[string]any
}

// Condition is a named condition with its expression.
type Condition struct {
	Name string
	Expr any
}

// Resource is a declared resource, unevaluated.
type Resource struct {
	Name                string // the logical id
	Type                string
	Condition           string
	DependsOn           []string
	DeletionPolicy      string // Delete, Retain, RetainExceptOnCreate or Snapshot; empty: not said
	UpdateReplacePolicy string
	Properties          map[string]any
	Metadata            any
}

// Output is a declared output, unevaluated.
type Output struct {
	Name, Description, Condition string
	Value                        any
	Export                       any // the export's name; nil: not exported
}

// Resource finds a resource by its logical id.
func (t *Template) Resource(name string) (Resource, bool) {
	i := slices.IndexFunc(t.Resources, func(r Resource) bool { return r.Name == name })
	if i < 0 {
		return Resource{}, false
	}
	return t.Resources[i], true
}

// Parse reads a template and checks all that can be checked without parameter values.
func Parse(body []byte) (*Template, error) {
	root, err := decode(body)
	if err != nil {
		return nil, err
	}
	if root.Kind != yaml.MappingNode {
		return nil, errorf("Template format error: unsupported structure.")
	}
	r := &reader{}
	t := &Template{Mappings: map[string]map[string]map[string]any{}, Document: map[string]any{}}
	sections, err := r.fields(root, "")
	if err != nil {
		return nil, err
	}
	if err := t.checkSections(sections); err != nil {
		return nil, err
	}
	for _, s := range sections {
		if t.Document[s.name], err = r.value(s.node, "/"+s.name, 0); err != nil {
			return nil, err
		}
	}
	for _, s := range sections {
		var fields []field
		switch s.name {
		case "Parameters", "Mappings", "Conditions", "Resources", "Outputs":
			if s.node.Kind == yaml.ScalarNode && s.node.Value == "" {
				continue
			}
			if fields, err = (&reader{}).fields(s.node, "/"+s.name); err != nil {
				return nil, errorf("Template format error: '%s' must be an object.", s.name)
			}
		}
		section, _ := t.Document[s.name].(map[string]any)
		for _, f := range fields {
			if err := t.add(s.name, f.name, section[f.name]); err != nil {
				return nil, err
			}
		}
	}
	t.Metadata, t.Warnings = t.Document["Metadata"], r.warnings
	if len(t.Resources) == 0 {
		return nil, errorf("Template format error: At least one Resources member must be defined.")
	}
	if err := t.checkSize(); err != nil {
		return nil, err
	}
	return t, t.check()
}

func (t *Template) checkSections(sections []field) error {
	var unknown []string
	for _, s := range sections {
		switch s.name {
		case "AWSTemplateFormatVersion":
			if s.node.Value != "2010-09-09" {
				return errorf("Template format error: unsupported value for AWSTemplateFormatVersion.")
			}
		case "Description":
			if s.node.Kind != yaml.ScalarNode {
				return errorf("Template format error: every Description member must be a string.")
			}
			if len(s.node.Value) > maxText {
				return errorf("Template format error: 'Description' length is greater than %d.", maxText)
			}
			t.Description = s.node.Value
		case "Transform":
			return errorf("Template format error: Mayfly does not run transforms yet (Transform: %s). Deploy the transformed template instead.", transformName(s.node))
		case "Rules", "Hooks":
			return errorf("Template format error: Mayfly does not support the section %s.", s.name)
		case "Metadata", "Parameters", "Mappings", "Conditions", "Resources", "Outputs":
		default:
			unknown = append(unknown, s.name)
		}
	}
	if len(unknown) > 0 {
		return errorf("Invalid template property or properties [%s]", strings.Join(unknown, ", "))
	}
	return nil
}

func transformName(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return n.Value
	}
	var names []string
	for _, c := range n.Content {
		if c.Kind == yaml.ScalarNode {
			names = append(names, c.Value)
		}
	}
	return strings.Join(names, ", ")
}

func (t *Template) checkSize() error {
	for _, s := range []struct {
		what     string
		has, max int
	}{
		{"parameters", len(t.Parameters), maxParameter}, {"mappings", len(t.Mappings), maxMapping},
		{"resources", len(t.Resources), maxResource}, {"outputs", len(t.Outputs), maxOutput},
	} {
		if s.has > s.max {
			return errorf("Template format error: Number of %s, %d, is greater than maximum allowed, %d", s.what, s.has, s.max)
		}
	}
	return nil
}

var alphanumeric = regexp.MustCompile(`^[A-Za-z0-9]{1,255}$`)

// add reads one member of a section.
func (t *Template) add(section, name string, v any) error {
	noun := strings.TrimSuffix(section, "s")
	if !alphanumeric.MatchString(name) && section != "Conditions" {
		return errorf("Template format error: %s name %s is non alphanumeric.", noun, name)
	}
	m, isMap := v.(map[string]any)
	if !isMap && section != "Conditions" {
		return errorf("Template format error: [/%s/%s] must be an object.", section, name)
	}
	switch section {
	case "Parameters":
		p, err := newParameter(name, m)
		t.Parameters = append(t.Parameters, p)
		return err
	case "Mappings":
		t.Mappings[name] = map[string]map[string]any{}
		for key, v := range m {
			attrs, ok := v.(map[string]any)
			if !ok {
				return errorf("Template format error: Every Mappings attribute must be a String or a List.")
			}
			for _, v := range attrs {
				if _, ok := v.(map[string]any); ok {
					return errorf("Template format error: Every Mappings attribute must be a String or a List.")
				}
			}
			t.Mappings[name][key] = attrs
		}
		return nil
	case "Conditions":
		if !isMap {
			return errorf("Template format error: Every Conditions member must be a string or an object: %s.", name)
		}
		t.Conditions = append(t.Conditions, Condition{name, m})
		return nil
	case "Resources":
		r, err := newResource(name, m)
		t.Resources = append(t.Resources, r)
		return err
	default:
		o, err := newOutput(name, m)
		t.Outputs = append(t.Outputs, o)
		return err
	}
}

func newResource(name string, m map[string]any) (Resource, error) {
	r := Resource{Name: name, Properties: map[string]any{}, Metadata: m["Metadata"]}
	typ, ok := m["Type"]
	if !ok {
		return r, errorf("Template format error: [/Resources/%s] Every Resources object must contain a Type member.", name)
	}
	if r.Type, ok = typ.(string); !ok || r.Type == "" {
		return r, errorf("Template format error: [/Resources/%s/Type] 'Type' must be a string.", name)
	}
	for key, v := range sorted(m) {
		s, isString := v.(string)
		switch key {
		case "Type", "Metadata":
			continue
		case "Properties":
			if r.Properties, ok = v.(map[string]any); !ok {
				return r, errorf("Template format error: [/Resources/%s/Properties] must be an object.", name)
			}
			continue
		case "DependsOn":
			list, isList := v.([]any)
			if isString {
				list, isList = []any{s}, true
			}
			for _, d := range list {
				d, ok := d.(string)
				isList = isList && ok
				r.DependsOn = append(r.DependsOn, d)
			}
			if !isList {
				return r, errorf("Template format error: DependsOn must be a string or list of strings.")
			}
			continue
		case "Condition":
			r.Condition = s
		case "DeletionPolicy", "UpdateReplacePolicy":
			policies := []string{"Delete", "Retain", "Snapshot"}
			if key == "DeletionPolicy" {
				policies = append(policies, "RetainExceptOnCreate")
				r.DeletionPolicy = s
			} else {
				r.UpdateReplacePolicy = s
			}
			if !slices.Contains(policies, s) {
				return r, errorf("Template format error: Unrecognized %s %s for resource %s", key, text(v), name)
			}
			// Making a snapshot is nothing that we could do, and deleting instead would lose data.
			if s == "Snapshot" {
				return r, errorf("Template format error: Mayfly does not support %s Snapshot (resource %s).", key, name)
			}
		case "CreationPolicy", "UpdatePolicy":
			return r, errorf("Template format error: Mayfly does not support the resource attribute %s (resource %s).", key, name)
		default:
			return r, errorf("Invalid template resource property '%s'", key)
		}
		if !isString {
			return r, errorf("Template format error: [/Resources/%s/%s] must be a string.", name, key)
		}
	}
	return r, nil
}

func newOutput(name string, m map[string]any) (Output, error) {
	o := Output{Name: name}
	for key, v := range sorted(m) {
		switch key {
		case "Value":
			o.Value = v
		case "Description":
			o.Description = text(v)
		case "Condition":
			o.Condition = text(v)
		case "Export":
			export, _ := v.(map[string]any)
			if o.Export = export["Name"]; o.Export == nil || len(export) != 1 {
				return o, errorf("Template format error: Output %s is malformed. The Export section of every Outputs object must contain a Name member.", name)
			}
		default:
			return o, errorf("Template format error: Unrecognized output property %s of Output %s.", key, name)
		}
	}
	if o.Value == nil {
		return o, errorf("Template format error: Every Outputs member must contain a Value object")
	}
	return o, nil
}

// text is how a scalar is written where a string is wanted; other values are written as JSON.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool, json.Number:
		return fmt.Sprint(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("template value %T is no value: %v", v, err))
	}
	return string(b)
}
