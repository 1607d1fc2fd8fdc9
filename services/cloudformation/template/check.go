package template

import (
	"slices"
	"strings"
)

// walk visits every call of an intrinsic function in v. With conditions, only the branches of Fn::If that are taken.
func (t *Template) walk(v any, conditions map[string]bool, visit func(fn string, arg any) error) error {
	fn, arg, err := intrinsic(v)
	if err != nil {
		return err
	}
	if fn != "" {
		if err := visit(fn, arg); err != nil {
			return err
		}
		if list, ok := arg.([]any); ok && fn == "Fn::If" && conditions != nil && len(list) == 3 {
			name, _ := list[0].(string)
			if conditions[name] {
				arg = list[1]
			} else {
				arg = list[2]
			}
		}
		return t.walk(arg, conditions, visit)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, e := range sorted(v) {
			if err := t.walk(e, conditions, visit); err != nil {
				return err
			}
		}
	case []any:
		for _, e := range v {
			if err := t.walk(e, conditions, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// names lists what one call refers to: names of parameters, resources and pseudo parameters. attribute is set for
// Fn::GetAtt and ${A.b}.
func (t *Template) names(fn string, arg any, found func(name, attribute string) error) error {
	switch fn {
	case "Ref":
		name, ok := arg.(string)
		if !ok {
			return errRef
		}
		return found(name, "")
	case "Fn::GetAtt":
		resource, attribute, err := t.getAttArgs(arg, nil)
		if err != nil {
			return err
		}
		return found(resource, attribute)
	case "Fn::Sub":
		s, vars, err := subParts(arg)
		if err != nil {
			return err
		}
		for _, m := range subVariable.FindAllStringSubmatch(s, -1) {
			name := strings.TrimSpace(m[1])
			if strings.HasPrefix(name, "!") {
				continue
			}
			if _, own := vars[name]; own {
				continue
			}
			if !subName.MatchString(name) {
				return errSubVar
			}
			resource, attribute, _ := strings.Cut(name, ".")
			if err := found(resource, attribute); err != nil {
				return err
			}
		}
	}
	return nil
}

// resourceRefs lists the resources that v refers to.
func (t *Template) resourceRefs(v any, conditions map[string]bool) []string {
	var out []string
	// An error was found by check, before.
	_ = t.walk(v, conditions, func(fn string, arg any) error {
		return t.names(fn, arg, func(name, _ string) error {
			if _, ok := t.Resource(name); ok {
				out = append(out, name)
			}
			return nil
		})
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// check finds what is wrong in a template whatever its parameters are.
func (t *Template) check() error {
	isParameter, isCondition := map[string]bool{}, map[string]bool{}
	for _, p := range t.Parameters {
		isParameter[p.Name] = true
	}
	for _, c := range t.Conditions {
		isCondition[c.Name] = true
	}
	for _, r := range t.Resources {
		if isParameter[r.Name] {
			return errorf("Template format error: Duplicate name %s: a parameter and a resource have it.", r.Name)
		}
	}
	// references checks one block's expression and gathers what it refers to in vain.
	references := func(v any, resources bool) (missing []string, err error) {
		err = t.walk(v, nil, func(fn string, arg any) error {
			if fn == "Fn::If" {
				list, ok := arg.([]any)
				if !ok || len(list) != 3 {
					return errIf
				}
				name, ok := list[0].(string)
				if !ok {
					return errIf
				}
				if !isCondition[name] {
					return errorf("Template error: unresolved condition dependency %s in Fn::If", name)
				}
			}
			if fn == "Fn::FindInMap" {
				if list, ok := arg.([]any); !ok || len(list) != 3 {
					return errMap
				} else if name, ok := list[0].(string); ok && t.Mappings[name] == nil {
					return errorf("Template error: Mapping named '%s' is not present in the 'Mappings' section of template.", name)
				}
			}
			return t.names(fn, arg, func(name, attribute string) error {
				_, isResource := t.Resource(name)
				switch {
				case fn == "Fn::GetAtt" && !isResource:
					return errorf("Template error: instance of Fn::GetAtt references undefined resource %s", name)
				case isPseudo(name):
					if !slices.Contains(pseudoParameters, name) {
						missing = append(missing, name)
					}
				case isResource && !resources, !isResource && !isParameter[name], attribute != "" && !isResource:
					missing = append(missing, name)
				}
				return nil
			})
		})
		slices.Sort(missing)
		return slices.Compact(missing), err
	}
	for _, c := range t.Conditions {
		missing, err := references(c.Expr, false)
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			return errorf("Template format error: Unresolved dependencies [%s]. Cannot reference resources in the Conditions block of the template", strings.Join(missing, ", "))
		}
		if err := t.checkConditionNames(c.Expr, isCondition); err != nil {
			return err
		}
	}
	var missing []string
	for _, r := range t.Resources {
		m, err := references(r.Properties, true)
		if err != nil {
			return err
		}
		missing = append(missing, m...)
		for _, d := range r.DependsOn {
			if _, ok := t.Resource(d); !ok {
				missing = append(missing, d)
			}
		}
		if r.Condition != "" && !isCondition[r.Condition] {
			return errorf("Template format error: Unresolved condition dependency %s in the Resources block of the template", r.Condition)
		}
	}
	if slices.Sort(missing); len(missing) > 0 {
		return errorf("Template format error: Unresolved resource dependencies [%s] in the Resources block of the template", strings.Join(slices.Compact(missing), ", "))
	}
	for _, o := range t.Outputs {
		m, err := references(map[string]any{"v": o.Value, "e": o.Export}, true)
		if err != nil {
			return err
		}
		if len(m) > 0 {
			return errorf("Template format error: Unresolved resource dependencies [%s] in the Outputs block of the template", strings.Join(m, ", "))
		}
		if o.Condition != "" && !isCondition[o.Condition] {
			return errorf("Template format error: Unresolved condition dependency %s in the Outputs block of the template", o.Condition)
		}
	}
	return t.checkCycles()
}

// checkConditionNames finds {"Condition": "X"} without an X.
func (t *Template) checkConditionNames(v any, isCondition map[string]bool) error {
	switch v := v.(type) {
	case map[string]any:
		if name, ok := v["Condition"].(string); ok && len(v) == 1 && !isCondition[name] {
			return errorf("Template format error: Unresolved condition dependency %s in the Conditions block of the template", name)
		}
		for _, e := range sorted(v) {
			if err := t.checkConditionNames(e, isCondition); err != nil {
				return err
			}
		}
	case []any:
		for _, e := range v {
			if err := t.checkConditionNames(e, isCondition); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkCycles removes whatever can be made, again and again; what remains needs itself.
func (t *Template) checkCycles() error {
	needs := map[string][]string{}
	for _, r := range t.Resources {
		needs[r.Name] = append(t.resourceRefs(r.Properties, nil), r.DependsOn...)
	}
	for {
		var ready []string
		for name, ns := range needs {
			if !slices.ContainsFunc(ns, func(n string) bool { _, open := needs[n]; return open }) {
				ready = append(ready, name)
			}
		}
		if len(ready) == 0 {
			break
		}
		for _, name := range ready {
			delete(needs, name)
		}
	}
	if len(needs) == 0 {
		return nil
	}
	// Of those, only the ones that something remaining needs lie on a cycle or between two.
	for {
		used := map[string]bool{}
		for _, ns := range needs {
			for _, n := range ns {
				used[n] = true
			}
		}
		before := len(needs)
		for name := range needs {
			if !used[name] {
				delete(needs, name)
			}
		}
		if len(needs) == before {
			break
		}
	}
	var names []string
	for name := range sorted(needs) {
		names = append(names, name)
	}
	return errorf("Circular dependency between resources: [%s]", strings.Join(names, ", "))
}
