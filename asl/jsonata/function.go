package jsonata

import "github.com/mayfly-run/mayfly/internal/regex"

// function is a function value: built in (native), a lambda with its closure (node, env, input), a regular expression, or
// another function of which some arguments are given (target).
type function struct {
	name      string
	signature *signature
	arity     int
	native    func(*call) value

	node  *node
	input value
	env   *frame

	regex *regex.Regexp
	pos   int

	target *function
	given  []value
	holes  []int
}

// call is one call of a native function.
type call struct {
	*evaluator
	args  []value
	input value
	scope *frame
}

// arg is argument i, undefined when it was not given.
func (c *call) arg(i int) value {
	if i < len(c.args) {
		return c.args[i]
	}
	return nil
}

func (c *call) str(i int) string { s, _ := c.arg(i).(string); return s }

func (c *call) num(i int) float64 { f, _ := c.arg(i).(float64); return f }

func (c *call) list(i int) []value { return c.elements(asArray(c.arg(i))) }

// call evaluates a function call; with piped, first is an argument before the others.
func (e *evaluator) call(n *node, input value, env *frame, first value, piped bool) value {
	callee := e.eval(n.left, input, env)
	name := procedureName(n.left)
	if callee == nil && n.left.kind == kindPath && e.variable(name, nil, env) != nil {
		throw(&Error{Code: "T1005", Position: n.pos, Token: name})
	}
	args := make([]value, 0, len(n.list)+1)
	if piped {
		args = append(args, first)
	}
	for _, a := range n.list {
		args = append(args, e.eval(a, input, env))
	}
	e.calls = append(e.calls, activeCall{token: name, pos: n.pos})
	result := e.apply(callee, args, input, env)
	e.calls = e.calls[:len(e.calls)-1]
	return result
}

func procedureName(n *node) string {
	if n.kind == kindPath {
		return n.steps[0].text
	}
	return n.text
}

// apply calls f, and then whatever calls stand at its end, without growing the stack.
func (e *evaluator) apply(f value, args []value, input value, env *frame) value {
	result := e.applyOnce(f, args, input, env)
	for {
		thunk, ok := result.(*function)
		if !ok || thunk.node == nil || !thunk.node.thunk {
			return result
		}
		next := thunk.node.left
		f = e.eval(next.left, thunk.input, thunk.env)
		args = make([]value, len(next.list))
		for i, a := range next.list {
			args[i] = e.eval(a, thunk.input, thunk.env)
		}
		if len(e.calls) > 0 && f != nil {
			e.calls[len(e.calls)-1] = activeCall{token: procedureName(next.left), pos: next.left.pos}
		}
		result = e.applyOnce(f, args, input, env)
	}
}

func (e *evaluator) applyOnce(callee value, args []value, input value, env *frame) value {
	f, ok := callee.(*function)
	if !ok {
		throw(&Error{Code: "T1006"})
	}
	e.step(1)
	if f.node == nil || f.signature != nil {
		e.stepOver(args...) // the work of what is built in, and of a signature, grows with the arguments
	}
	args = e.validate(f.signature, args, input)
	switch {
	case f.native != nil:
		return f.native(&call{evaluator: e, args: args, input: input, scope: env})
	case f.regex != nil:
		s, _ := at(args, 0).(string)
		return e.matchObject(e.firstMatch(f, s), s)
	case f.target != nil:
		all := append([]value(nil), f.given...)
		for i, hole := range f.holes {
			all[hole] = at(args, i)
		}
		return e.applyOnce(f.target, all, f.input, env)
	}
	scope := &frame{outer: f.env}
	for i, p := range f.node.list {
		scope.bind(p.text, at(args, i))
	}
	return e.eval(f.node.left, f.input, scope)
}

func at(args []value, i int) value {
	if i < len(args) {
		return args[i]
	}
	return nil
}

// invoke calls a function given as an argument, with as many of args as it takes (at least one).
func (c *call) invoke(f value, args ...value) value {
	if fn, ok := f.(*function); ok {
		args = args[:max(1, min(len(args), fn.arity))]
	}
	return c.apply(f, args, nil, c.scope)
}

func (e *evaluator) partial(n *node, input value, env *frame) value {
	f := &function{input: input}
	for i, a := range n.list {
		if a.kind == kindOperator {
			f.holes = append(f.holes, i)
			f.given = append(f.given, nil)
		} else {
			f.given = append(f.given, e.eval(a, input, env))
		}
	}
	callee := e.eval(n.left, input, env)
	name := procedureName(n.left)
	target, ok := callee.(*function)
	if !ok {
		code := "T1008"
		if callee == nil && n.left.kind == kindPath && e.variable(name, nil, env) != nil {
			code = "T1007"
		}
		throw(&Error{Code: code, Position: n.pos, Token: name})
	}
	f.target, f.arity = target, len(f.holes)
	return f
}

// applyTo is a ~> f: a call with a in front, or two functions made one.
func (e *evaluator) applyTo(n *node, input value, env *frame) value {
	left := e.eval(n.left, input, env)
	if n.right.kind == kindCall {
		return e.call(n.right, input, env, left, true)
	}
	right, ok := e.eval(n.right, input, env).(*function)
	if !ok {
		throw(&Error{Code: "T2006", Position: n.pos})
	}
	if first, ok := left.(*function); ok {
		return &function{arity: 1, native: func(c *call) value {
			return c.apply(right, []value{c.apply(first, []value{c.arg(0)}, nil, env)}, nil, env)
		}}
	}
	return e.apply(right, []value{left}, nil, env)
}

var transformSignature = mustSignature("<(oa):o>")

// transformer is the function of |pattern|update,delete|: it changes a copy of its argument.
func (e *evaluator) transformer(n *node, env *frame) value {
	return &function{arity: 1, signature: transformSignature, native: func(c *call) value {
		if c.arg(0) == nil {
			return nil
		}
		clone, ok := c.variable("clone", nil, env).(*function)
		if !ok {
			throw(&Error{Code: "T2013", Position: n.pos})
		}
		result := c.apply(clone, []value{c.arg(0)}, nil, env)
		for _, match := range asArray(c.eval(n.left, result, env)).elements() {
			target, isObject := match.(*object)
			if update := c.eval(n.right, match, env); update != nil {
				changes, ok := update.(*object)
				if !ok {
					throw(&Error{Code: "T2011", Position: n.right.pos, Value: update})
				}
				for k, v := range changes.members {
					c.room(1)
					if isObject {
						target.set(k, v)
					}
				}
			}
			if n.other == nil {
				continue
			}
			deletions := c.eval(n.other, match, env)
			names := asArray(deletions)
			if !allStrings(names) {
				throw(&Error{Code: "T2012", Position: n.other.pos, Value: deletions})
			}
			for _, name := range names.elements() {
				if isObject {
					c.step(target.len())
					target.remove(name.(string))
				}
			}
		}
		return result
	}}
}

// copyOf is a deep copy whose parts can be changed.
func (e *evaluator) copyOf(v value) value {
	e.room(1)
	switch v := v.(type) {
	case *array:
		e.grow(containerBytes)
		out := newArray()
		for _, x := range e.elements(v) {
			out.push(e.copyOf(x))
		}
		return out
	case *object:
		e.grow(containerBytes)
		out := newObject()
		for k, x := range v.members {
			e.grow(len(k) + 64)
			out.set(k, e.copyOf(x))
		}
		return out
	case *function:
		return ""
	}
	return v
}
