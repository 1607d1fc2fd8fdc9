package asl

import (
	"maps"
	"slices"

	"github.com/mayfly-run/mayfly/asl/jsonpath"
)

// VariableReferences are the variables that each state reads, by the state's name; states that read none are absent.
func (m *StateMachine) VariableReferences() map[string][]string {
	out := map[string][]string{}
	for _, b := range m.blocks {
		for name, s := range b.States {
			used := map[string]bool{}
			paths, templates := reads(s)
			for _, p := range paths {
				if variable, ok := variableOf(p); ok {
					used[variable] = true
				}
			}
			for _, t := range templates {
				for variable := range t.variables {
					used[variable] = true
				}
			}
			if len(used) > 0 {
				out[name] = slices.Sorted(maps.Keys(used))
			}
		}
	}
	return out
}

func variableOf(p *jsonpath.Path) (string, bool) {
	root, variable := p.Root()
	return variable, root == jsonpath.RootVariable
}

// reads are all paths and templates in the fields of one state, inner blocks left out.
func reads(s State) (paths []*jsonpath.Path, templates []*Template) {
	add := func(list ...*jsonpath.Path) {
		for _, p := range list {
			if p != nil {
				paths = append(paths, p)
			}
		}
	}
	template := func(list ...*Template) {
		for _, t := range list {
			if t != nil {
				templates = append(templates, t)
			}
		}
	}
	c := s.Base()
	add(c.InputPath.Path, c.OutputPath.Path)
	template(c.Assign, c.Output)
	if w := WorkOf(s); w != nil {
		template(w.Parameters, w.ResultSelector)
		for _, k := range w.Catch {
			template(k.Assign, k.Output)
		}
	}
	switch s := s.(type) {
	case *TaskState:
		template(s.Credentials, s.Timeout, s.Heartbeat)
		add(s.TimeoutSecondsPath, s.HeartbeatSecondsPath)
	case *PassState:
		template(s.Parameters)
	case *WaitState:
		template(s.SecondsQuery, s.TimestampQuery)
		add(s.SecondsPath, s.TimestampPath)
	case *MapState:
		template(s.Items, s.Concurrency)
		add(s.ItemsPath, s.MaxConcurrencyPath)
		if s.Distributed != nil {
			p, t := s.Distributed.paths()
			add(p...)
			template(t...)
		}
	case *FailState:
		template(s.ErrorQuery, s.CauseQuery)
		for _, e := range []*Expression{s.ErrorPath, s.CausePath} {
			if e != nil {
				paths = slices.AppendSeq(paths, e.Paths())
			}
		}
	case *ChoiceState:
		var rule func(r *ChoiceRule)
		rule = func(r *ChoiceRule) {
			add(r.Variable, r.Path)
			template(r.Condition, r.Assign, r.Output)
			for i := range r.And {
				rule(&r.And[i])
			}
			for i := range r.Or {
				rule(&r.Or[i])
			}
			if r.Not != nil {
				rule(r.Not)
			}
		}
		for i := range s.Choices {
			rule(&s.Choices[i])
		}
	}
	return paths, templates
}
