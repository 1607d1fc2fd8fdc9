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
			for _, p := range paths(s) {
				if root, variable := p.Root(); root == jsonpath.RootVariable {
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

// paths are all paths in the fields of one state, inner blocks left out.
func paths(s State) []*jsonpath.Path {
	var out []*jsonpath.Path
	add := func(list ...*jsonpath.Path) {
		for _, p := range list {
			if p != nil {
				out = append(out, p)
			}
		}
	}
	template := func(list ...*Template) {
		for _, t := range list {
			if t != nil {
				out = slices.AppendSeq(out, t.Paths())
			}
		}
	}
	c := s.Base()
	add(c.InputPath.Path, c.OutputPath.Path)
	template(c.Assign)
	if w := WorkOf(s); w != nil {
		template(w.Parameters, w.ResultSelector)
		for _, k := range w.Catch {
			template(k.Assign)
		}
	}
	switch s := s.(type) {
	case *TaskState:
		template(s.Credentials)
		add(s.TimeoutSecondsPath, s.HeartbeatSecondsPath)
	case *PassState:
		template(s.Parameters)
	case *WaitState:
		add(s.SecondsPath, s.TimestampPath)
	case *MapState:
		add(s.ItemsPath, s.MaxConcurrencyPath)
		if s.Distributed != nil {
			p, t := s.Distributed.paths()
			add(p...)
			template(t...)
		}
	case *FailState:
		for _, e := range []*Expression{s.ErrorPath, s.CausePath} {
			if e != nil {
				out = slices.AppendSeq(out, e.Paths())
			}
		}
	case *ChoiceState:
		var rule func(r *ChoiceRule)
		rule = func(r *ChoiceRule) {
			add(r.Variable, r.Path)
			template(r.Assign)
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
	return out
}
