package jsonata

import (
	"errors"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Program is a compiled expression. It does not change and may be evaluated by several goroutines.
type Program struct {
	source string
	root   *node
	names  []string // of all variables that are not bound where they are used
}

// Env is what an evaluation may know of the world, and how much it may do.
type Env struct {
	Now           time.Time     // for $now and $millis
	Random        func() uint64 // for $random, $uuid and $shuffle; nil: a fixed series
	StepFunctions bool          // with $partition, $range, $hash, $random(seed), $uuid and $parse; without $eval
	// States are the members of the variable $states. They are read where they are, never copied into one object.
	States []jsonvalue.Member
	Limits Limits // zero fields have the values of DefaultLimits
	Used   *int64 // where the steps that were taken are added; nil: nowhere
	Usage  *Usage // is told how much the evaluation took, if it is not nil
}

// Limits are the budget of an evaluation.
type Limits struct {
	Steps int64 // expressions evaluated, and the work of functions in like units
	Depth int   // expressions inside one another, also through calls
	Bytes int64 // of text and elements made, in all
	Value int   // bytes of one text or array that is made, elements counting 8; 0: no limit but Bytes
}

// Usage is the most that evaluations have taken.
type Usage struct {
	Depth int // expressions inside one another
	Value int // bytes of one text or array, as in Limits
}

// DefaultLimits is about a second of work.
var DefaultLimits = Limits{Steps: 20_000_000, Depth: 5000, Bytes: 256 << 20}

// ErrUnsupportedResult is returned by Eval for a result that JSON cannot hold: a function, or a number that is not finite.
// In Step Functions such a number is a string: "Infinity", "-Infinity", "NaN".
var ErrUnsupportedResult = errors.New("the result of the expression is a function or a number that JSON cannot hold")

// maxSource is the longest expression that is compiled.
const maxSource = 1 << 20

// Compile reads an expression. Its errors are *Error.
func Compile(expr string) (p *Program, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = recovered(r, expr)
		}
	}()
	if len(expr) > maxSource {
		throw(&Error{Code: "D2016", Value: float64(maxSource)})
	}
	p = &Program{source: expr, root: parse(expr)}
	for name := range p.free {
		p.names = append(p.names, name)
	}
	slices.Sort(p.names)
	p.names = slices.Compact(p.names)
	return p, nil
}

// Eval evaluates the program on input, which may be absent, with variables by name without $. The result is absent when the
// expression yields nothing. Errors are *Error or ErrUnsupportedResult.
func (p *Program) Eval(input jsonvalue.Value, bindings map[string]jsonvalue.Value, env Env) (out jsonvalue.Value, err error) {
	env.Limits = env.Limits.orDefault()
	e := newEvaluator(env)
	if env.StepFunctions {
		e.builtin = stepFunctionsBuiltins
	}
	defer func() {
		if env.Used != nil {
			*env.Used += e.steps
		}
		if r := recover(); r != nil {
			if thrown, ok := r.(*Error); ok {
				e.locate(thrown)
			}
			out, err = jsonvalue.Value{}, recovered(r, p.source)
		}
	}()
	scope := &frame{}
	for name, v := range bindings {
		scope.bind(name, fromJSON(v))
	}
	if env.States != nil {
		states := newObject()
		for _, m := range env.States {
			if !m.Value.IsZero() {
				states.set(m.Name, fromJSON(m.Value))
			}
		}
		scope.bind("states", states)
	}
	root := fromJSON(input)
	scope.bind("$", root)
	if list, ok := root.(*array); ok {
		root = &array{sequence: true, outer: true, items: []value{list}}
	}
	result := e.eval(p.root, root, scope)
	if list, ok := result.(*array); ok && list.outer {
		result = list.items[0]
	}
	out, ok := e.toJSON(result, 0)
	if !ok {
		return jsonvalue.Value{}, ErrUnsupportedResult
	}
	return out, nil
}

func (l Limits) orDefault() Limits {
	if l.Steps <= 0 {
		l.Steps = DefaultLimits.Steps
	}
	if l.Depth <= 0 {
		l.Depth = DefaultLimits.Depth
	}
	if l.Bytes <= 0 {
		l.Bytes = DefaultLimits.Bytes
	}
	return l
}

// Variables are the names, without $, of variables that the program refers to and does not bind itself, sorted. Names of
// built-in functions are not among them.
func (p *Program) Variables() []string {
	var names []string
	for _, name := range p.names {
		if _, builtin := stepFunctionsBuiltins[name]; !builtin && builtins[name] == nil {
			names = append(names, name)
		}
	}
	return names
}

// Free are the names, without $, of all variables that the program refers to and does not bind itself, sorted: those of
// Variables, and built-in functions, which a variable of the same name would hide.
func (p *Program) Free() []string { return p.names }

// TopLevel are the places that read the context that the whole program is evaluated in, which Step Functions does not
// have: names that begin a path there, in the order of the source, and $$ wherever it stands. Later steps, predicates,
// sortings and groupings have a context of their own. Each name is given once.
func (p *Program) TopLevel() (found []string) {
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			found = append(found, name)
		}
	}
	p.root.visit(func(n *node) {
		if n.kind == kindVariable && n.text == "$" {
			add("$$")
		}
	})
	var walk func(n *node)
	walk = func(n *node) {
		if n == nil {
			return
		}
		switch n.kind {
		case kindName:
			add(n.text)
		case kindPath:
			walk(n.steps[0])
			return
		case kindTransform, kindSort:
			return
		}
		walk(n.left)
		walk(n.right)
		walk(n.other)
		if n.kind != kindLambda { // there they are parameters
			for _, x := range n.list {
				walk(x)
			}
		}
		for _, x := range n.pairs {
			walk(x.key)
			walk(x.value)
		}
	}
	walk(p.root)
	return found
}

// RegexSize is the size of all regular expressions in the program, in instructions.
func (p *Program) RegexSize() (size int) {
	p.root.visit(func(n *node) {
		if n.regex != nil {
			size += n.regex.Size()
		}
	})
	return size
}

// Reference is the use of a member of a variable, such as $states.input.
type Reference struct {
	Member   string // "" when the variable itself is used
	Position int
}

// References are the places where the free variable name is used, and which member of it. A member name in backquotes or
// quotes counts as well; a member that is computed does not, and gives "".
func (p *Program) References(name string) (found []Reference) {
	member := map[*node]string{}
	p.root.visit(func(n *node) {
		if n.kind == kindPath && len(n.steps) > 1 && n.steps[1].kind == kindName {
			member[n.steps[0]] = n.steps[1].text
		}
	})
	for used, n := range p.free {
		if used == name {
			found = append(found, Reference{member[n], utf16Len(p.source[:min(n.pos, len(p.source))])})
		}
	}
	return found
}

// free yields the variables that are not bound where they are used, with their node. A block sees what it binds from
// there on; a binding outside of all blocks is seen everywhere after it.
func (p *Program) free(yield func(string, *node) bool) {
	more := true
	var walk func(n *node, bound *names)
	walk = func(n *node, bound *names) {
		if n == nil || !more {
			return
		}
		switch n.kind {
		case kindVariable:
			if n.text != "" && n.text != "$" && !bound.has(n.text) {
				more = yield(n.text, n)
			}
		case kindBind:
			// A function may call itself by the name it is bound to.
			if n.right.kind == kindLambda {
				bound.add(n.left.text)
			}
			walk(n.right, bound)
			bound.add(n.left.text)
			return
		case kindBlock:
			bound = &names{outer: bound}
		case kindLambda:
			bound = &names{outer: bound}
			for _, param := range n.list {
				bound.add(param.text)
			}
			walk(n.left, bound)
			return
		case kindPath:
			bound = &names{outer: bound}
		}
		walk(n.left, bound)
		walk(n.right, bound)
		walk(n.other, bound)
		for _, x := range n.list {
			walk(x, bound)
		}
		for _, x := range n.pairs {
			walk(x.key, bound)
			walk(x.value, bound)
		}
		for _, x := range n.terms {
			walk(x.expr, bound)
		}
		for _, s := range n.steps {
			walk(s, bound)
		}
		for _, s := range n.predicates {
			walk(s.filter, bound)
		}
		for _, name := range []string{n.focus, n.index} {
			if name != "" {
				bound.add(name)
			}
		}
		for _, s := range n.stages {
			if s.index != "" {
				bound.add(s.index)
			}
			walk(s.filter, bound)
		}
		walk(n.group, bound)
	}
	walk(p.root, &names{})
}

// names are those that a scope binds, and the scopes around it.
type names struct {
	outer *names
	bound map[string]bool
}

func (s *names) has(name string) bool {
	for ; s != nil; s = s.outer {
		if s.bound[name] {
			return true
		}
	}
	return false
}

func (s *names) add(name string) {
	if s.bound == nil {
		s.bound = map[string]bool{}
	}
	s.bound[name] = true
}
