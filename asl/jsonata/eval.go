package jsonata

import "math"

// evaluator is one evaluation: its budget, and the calls that are under way.
type evaluator struct {
	env     Env
	builtin map[string]*function
	steps   int64
	depth   int
	deepest int // the depth from which deeper is asked
	widest  int // the size of a value from which wider is asked
	bytes   int64
	calls   []activeCall
	drawn   uint64 // how many random numbers were taken without Env.Random
}

func newEvaluator(env Env) *evaluator {
	e := &evaluator{env: env, builtin: builtins, deepest: env.Limits.Depth, widest: math.MaxInt}
	if env.Limits.Value > 0 {
		e.widest = env.Limits.Value
	}
	if u := env.Usage; u != nil {
		e.deepest, e.widest = min(e.deepest, u.Depth), min(e.widest, u.Value)
	}
	return e
}

// deeper notes a depth that was not reached before, and refuses one beyond the limit.
func (e *evaluator) deeper() {
	if e.depth > e.env.Limits.Depth {
		throw(&Error{Code: "D1011", Value: float64(e.env.Limits.Depth)})
	}
	e.deepest, e.env.Usage.Depth = e.depth, e.depth
}

// wider notes a size that no value had before, and refuses one beyond the limit.
func (e *evaluator) wider(size int) {
	if most := e.env.Limits.Value; most > 0 && size > most {
		fail("D2016", float64(most))
	}
	e.widest, e.env.Usage.Value = size, size
}

// activeCall says where errors are reported: at the outermost call, with the name of the innermost.
type activeCall struct {
	token    string
	pos      int
	operator bool // and, or: reports errors of its right side as its own
}

// locate adds to err what the calls under way tell.
func (e *evaluator) locate(err *Error) {
	for i := len(e.calls) - 1; i >= 0; i-- {
		c := e.calls[i]
		if err.Token == "" || c.operator {
			err.Token = c.token
		}
		if c.pos > 0 {
			err.Position = c.pos
		}
	}
}

func (e *evaluator) step(n int) {
	if e.steps += int64(n); e.steps > e.env.Limits.Steps {
		fail("D1012", float64(e.env.Limits.Steps))
	}
}

// stepOver accounts for reading through values.
func (e *evaluator) stepOver(values ...value) {
	for _, v := range values {
		switch v := v.(type) {
		case string:
			e.step(len(v) / 64)
		case *array:
			e.step(v.len() / 8)
			e.open(v)
		}
	}
}

// open accounts for the elements of an array that is about to be read for the first time.
func (e *evaluator) open(a *array) {
	if n := a.source.Len(); n > 0 {
		e.room(n)
	}
}

// elements are those of a.
func (e *evaluator) elements(a *array) []value {
	e.open(a)
	return a.elements()
}

// grow accounts for n bytes that are about to be made.
func (e *evaluator) grow(n int) {
	if e.bytes += int64(n); e.bytes > e.env.Limits.Bytes || n < 0 {
		fail("D2016", float64(e.env.Limits.Bytes))
	}
}

// fits refuses a value that is larger than one may be.
func (e *evaluator) fits(v value) {
	size := 0
	switch v := v.(type) {
	case string:
		size = len(v)
	case *array:
		size = 8 * len(v.items) // those of the input that nobody has looked at do not count
	}
	if size > e.widest {
		e.wider(size)
	}
}

// containerBytes is what an array or object costs. It also bounds how deep values can nest, as functions recurse into them.
const containerBytes = 256

// room accounts for n elements that are about to be made.
func (e *evaluator) room(n int) {
	e.step(1 + n/16)
	e.grow(n * 16)
}

func (e *evaluator) eval(n *node, input value, env *frame) value {
	e.step(1)
	if e.depth++; e.depth > e.deepest {
		e.deeper()
	}
	result := e.evalKind(n, input, env)
	for _, p := range n.predicates {
		result = e.filter(p.filter, result, env)
	}
	if n.group != nil && n.kind != kindPath {
		result = e.group(n.group, result, env)
	}
	e.depth--
	e.fits(result)
	if s, ok := result.(*array); ok && s.sequence && !s.tuples {
		if n.keepArray {
			s.keepSingleton = true
		}
		switch s.len() {
		case 0:
			return nil
		case 1:
			if !s.keepSingleton {
				return s.elements()[0]
			}
		}
	}
	return result
}

func (e *evaluator) evalKind(n *node, input value, env *frame) value {
	switch n.kind {
	case kindPath:
		return e.path(n, input, env)
	case kindName:
		e.step(len(n.text) / 64)
		return e.lookup(input, n.text)
	case kindLiteral:
		return n.literal
	case kindVariable:
		return e.variable(n.text, input, env)
	case kindBinary:
		return e.binary(n, input, env)
	case kindNegate:
		v := e.eval(n.left, input, env)
		if v == nil {
			return nil
		}
		if !numeric(v) {
			throw(&Error{Code: "D1002", Position: n.pos, Token: "-", Value: v})
		}
		return -v.(float64)
	case kindArray:
		return e.array(n, input, env)
	case kindObject:
		return e.group(n, input, env)
	case kindCondition:
		if e.truth(e.eval(n.left, input, env)) {
			return e.eval(n.right, input, env)
		}
		if n.other != nil {
			return e.eval(n.other, input, env)
		}
		return nil
	case kindBlock:
		var result value
		scope := &frame{outer: env}
		for _, x := range n.list {
			result = e.eval(x, input, scope)
		}
		return result
	case kindBind:
		v := e.eval(n.right, input, env)
		e.step(len(env.names) / 16)
		env.bind(n.left.text, v)
		return v
	case kindCall:
		return e.call(n, input, env, nil, false)
	case kindPartial:
		return e.partial(n, input, env)
	case kindLambda:
		return &function{node: n, input: input, env: env, signature: n.signature, arity: len(n.list)}
	case kindApply:
		return e.applyTo(n, input, env)
	case kindRegex:
		return &function{regex: n.regex, pos: n.pos, arity: 2}
	case kindTransform:
		return e.transformer(n, env)
	case kindWildcard:
		return e.wildcard(input)
	case kindDescendant:
		result := newSequence()
		if input != nil {
			e.descend(input, result)
		}
		return result
	case kindParent:
		v, _ := env.lookup(n.parent.label)
		return v
	}
	throw(&Error{Code: "S0201", Position: n.pos, Token: n.text})
	return nil
}

func (e *evaluator) variable(name string, input value, env *frame) value {
	if name == "" {
		if a, ok := input.(*array); ok && a.outer {
			return a.items[0]
		}
		return input
	}
	for f := env; f != nil; f = f.outer {
		e.step(len(f.names) / 16)
	}
	if v, ok := env.lookup(name); ok {
		return v
	}
	if f, ok := e.builtin[name]; ok {
		return f
	}
	return nil
}

func (e *evaluator) array(n *node, input value, env *frame) value {
	e.grow(containerBytes)
	result := newArray()
	for _, item := range n.list {
		v := e.eval(item, input, env)
		if list, ok := v.(*array); ok && item.kind != kindArray {
			items := list.elements()
			if len(result.items) == 0 {
				result.items = items[:len(items):len(items)] // shared; appending copies
				continue
			}
			e.room(len(items))
			result.items = append(result.items, items...)
		} else if v != nil {
			e.room(1)
			result.push(v)
		}
	}
	result.constructed = n.consArray
	return result
}

func (e *evaluator) binary(n *node, input value, env *frame) value {
	left := e.eval(n.left, input, env)
	if n.text == "and" || n.text == "or" {
		if e.truth(left) != (n.text == "and") {
			return n.text == "or"
		}
		e.calls = append(e.calls, activeCall{token: n.text, pos: n.pos, operator: true})
		result := e.truth(e.eval(n.right, input, env))
		e.calls = e.calls[:len(e.calls)-1]
		return result
	}
	right := e.eval(n.right, input, env)
	e.calls = append(e.calls, activeCall{token: n.text, pos: n.pos, operator: true})
	result := e.operate(n.text, left, right)
	e.calls = e.calls[:len(e.calls)-1]
	return result
}

func (e *evaluator) operate(op string, left, right value) value {
	e.stepOver(left, right)
	switch op {
	case "+", "-", "*", "/", "%":
		return arithmetic(op, left, right)
	case "=":
		return left != nil && right != nil && e.equal(left, right)
	case "!=":
		return left != nil && right != nil && !e.equal(left, right)
	case "<", "<=", ">", ">=":
		return compare(op, left, right)
	case "&":
		l, r := e.text(left), e.text(right)
		e.grow(len(l) + len(r))
		return l + r
	case "..":
		return e.rangeOf(left, right)
	case "in":
		if left == nil || right == nil {
			return false
		}
		items := asArray(right).elements()
		e.step(len(items))
		for _, x := range items {
			if text, ok := x.(string); ok {
				e.step(len(text) / 64)
			}
			if left == x {
				return true
			}
		}
		return false
	}
	throw(&Error{Code: "S0204", Token: op})
	return nil
}

func arithmetic(op string, left, right value) value {
	if left != nil && !numeric(left) {
		fail("T2001", left)
	}
	if right != nil && !numeric(right) {
		fail("T2002", right)
	}
	if left == nil || right == nil {
		return nil
	}
	x, y := left.(float64), right.(float64)
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "/":
		return x / y
	}
	return math.Mod(x, y)
}

func compare(op string, left, right value) value {
	comparable := func(v value) bool {
		l := typeLetter(v)
		return l == 'm' || l == 's' || l == 'n'
	}
	if !comparable(left) {
		fail("T2010", left)
	}
	if !comparable(right) {
		fail("T2010", right)
	}
	if left == nil || right == nil {
		return nil
	}
	if typeLetter(left) != typeLetter(right) {
		throw(&Error{Code: "T2009", Value: left, Value2: right})
	}
	order := compareValues(left, right)
	switch op {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}

// compareValues orders two numbers or two strings.
func compareValues(a, b value) int {
	if x, ok := a.(float64); ok {
		y, _ := b.(float64)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	x, _ := a.(string)
	y, _ := b.(string)
	return compareText(x, y)
}

func (e *evaluator) rangeOf(left, right value) value {
	integer := func(v value, code string) float64 {
		f, ok := v.(float64)
		if v != nil && (!ok || f != math.Trunc(f) || math.IsInf(f, 0)) {
			fail(code, v)
		}
		return f
	}
	from, to := integer(left, "T2003"), integer(right, "T2004")
	if left == nil || right == nil || from > to {
		return nil
	}
	size := to - from + 1
	if size > 1e7 {
		fail("D2014", size)
	}
	e.room(int(size))
	result := &array{sequence: true, items: make([]value, 0, int(size))}
	for x := from; len(result.items) < int(size); x++ {
		result.push(x)
	}
	return result
}

// lookup is the member of an object, or the members of the objects in an array.
func (e *evaluator) lookup(input value, key string) value {
	switch input := input.(type) {
	case *object:
		return input.get(key)
	case *array:
		result := newSequence()
		for _, x := range input.elements() {
			e.room(1)
			switch v := e.lookup(x, key).(type) {
			case nil:
			case *array:
				items := v.elements()
				e.room(len(items))
				result.items = append(result.items, items...)
			default:
				result.push(v)
			}
		}
		return result
	}
	return nil
}

func (e *evaluator) wildcard(input value) value {
	result := newSequence()
	add := func(v value) {
		e.room(1)
		if _, ok := v.(*array); ok {
			e.flatten(v, result)
		} else {
			result.push(v)
		}
	}
	if a, ok := input.(*array); ok && a.outer && len(a.items) > 0 {
		input = a.items[0]
	}
	switch input := input.(type) {
	case *array:
		for _, x := range input.elements() {
			add(x)
		}
	case *object:
		for _, x := range input.members {
			add(x)
		}
	}
	return result
}

func (e *evaluator) flatten(v value, into *array) {
	e.room(1)
	if list, ok := v.(*array); ok {
		for _, x := range list.elements() {
			e.flatten(x, into)
		}
		return
	}
	into.push(v)
}

func (e *evaluator) descend(v value, into *array) {
	e.room(1)
	switch v := v.(type) {
	case *array:
		for _, x := range v.elements() {
			e.descend(x, into)
		}
	case *object:
		into.push(v)
		for _, x := range v.members {
			e.descend(x, into)
		}
	default:
		into.push(v)
	}
}

// appendValues is $append: undefined is nothing, other values are arrays of themselves.
func (e *evaluator) appendValues(a, b value) value {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	x, y := asArray(a), asArray(b)
	e.room(x.len() + y.len())
	items := make([]value, 0, x.len()+y.len())
	// A concatenation of arrays is an array in JavaScript, no sequence.
	return &array{items: append(append(items, x.elements()...), y.elements()...)}
}
