package jsonata

import (
	"slices"
	"strconv"
	"strings"
)

// parser reads operators by their binding power, as Pratt described it: prefix reads what may begin an expression, infix
// what may continue one.
type parser struct {
	lexer
	token  *node // the one under the cursor; its kind is kindEnd at the end
	nested int
	copied int // nodes of the operands that ?: and ?? use twice
}

// maxNesting is how deep expressions may nest in the source.
const maxNesting = 500

// maxCopied bounds what ?: and ?? add to the tree.
const maxCopied = 100_000

var bindingPower = map[string]int{".": 75, "[": 80, "{": 70, "(": 80, "@": 80, "#": 80, "?": 20, "+": 50, "-": 50, "*": 60, "/": 60,
	"%": 60, "=": 40, "<": 40, ">": 40, "^": 40, ":=": 10, "!=": 40, "<=": 40, ">=": 40, "~>": 40, "?:": 40, "??": 40, "and": 30,
	"or": 25, "in": 40, "&": 50}

func parse(src string) *node {
	p := &parser{lexer: lexer{src: src}}
	p.advance("", false)
	n := p.expression(0)
	if p.token.kind != kindEnd {
		throw(&Error{Code: "S0201", Position: p.token.pos, Token: p.token.text})
	}
	n = (&resolver{}).resolve(n)
	if n.kind == kindParent || n.seeking != nil {
		throw(&Error{Code: "S0217", Position: n.pos, Token: n.kindName()})
	}
	return n
}

func (n *node) kindName() string {
	switch n.kind {
	case kindParent:
		return "parent"
	case kindPath:
		return "path"
	case kindBlock:
		return "block"
	case kindLiteral:
		switch n.literal.(type) {
		case string:
			return "string"
		case float64:
			return "number"
		}
		return "value"
	}
	return kindNames[n.kind]
}

// is reports whether the token is this operator.
func (p *parser) is(op string) bool { return p.token.kind == kindOperator && p.token.text == op }

// advance takes the next token; the present one must be the operator want, if that is given. infix: an operand is behind us.
func (p *parser) advance(want string, infix bool) {
	if want != "" && !p.is(want) {
		code := "S0202"
		if p.token.kind == kindEnd {
			code = "S0203"
		}
		throw(&Error{Code: code, Position: p.token.pos, Token: p.token.text, Value: want})
	}
	p.token = p.next(infix)
	if p.token == nil {
		p.token = &node{kind: kindEnd, text: "(end)", pos: len(p.src)}
	} else if p.is("!") || p.is("~") {
		throw(&Error{Code: "S0204", Position: p.token.pos, Token: p.token.text})
	}
}

func (p *parser) expression(power int) *node {
	if p.nested++; p.nested > maxNesting {
		throw(&Error{Code: "D1011", Position: p.token.pos})
	}
	t := p.token
	p.advance("", true)
	left := p.prefix(t)
	for p.token.kind == kindOperator && bindingPower[p.token.text] > power {
		t = p.token
		p.advance("", false)
		left = p.infix(t, left)
	}
	p.nested--
	return left
}

// sequence reads expressions with commas between them, up to the closing operator.
func (p *parser) sequence(closing string, item func() *node) (items []*node) {
	for !p.is(closing) {
		items = append(items, item())
		if !p.is(",") {
			break
		}
		p.advance(",", false)
		if p.is(closing) { // a comma promises another
			items = append(items, item())
		}
	}
	p.advance(closing, true)
	return items
}

func (p *parser) prefix(t *node) *node {
	if t.kind != kindOperator {
		return t
	}
	switch t.text {
	case "and", "or", "in":
		return t // may be names
	case "-":
		t.kind, t.left = kindNegate, p.expression(70)
	case "*":
		t.kind = kindWildcard
	case "**":
		t.kind = kindDescendant
	case "%":
		t.kind = kindParent
	case "(":
		t.kind = kindBlock
		for !p.is(")") {
			t.list = append(t.list, p.expression(0))
			if !p.is(";") {
				break
			}
			p.advance(";", false)
		}
		p.advance(")", true)
	case "[":
		t.kind = kindArray
		t.list = p.sequence("]", func() *node {
			item := p.expression(0)
			if p.is("..") {
				r := &node{kind: kindBinary, text: "..", pos: p.token.pos, left: item}
				p.advance("..", false)
				r.right = p.expression(0)
				return r
			}
			return item
		})
	case "{":
		t.kind = kindObject
		t.pairs = p.members()
	case "|":
		t.kind = kindTransform
		t.left = p.expression(0)
		p.advance("|", false)
		t.right = p.expression(0)
		if p.is(",") {
			p.advance(",", false)
			t.other = p.expression(0)
		}
		p.advance("|", false)
	default:
		throw(&Error{Code: "S0211", Position: t.pos, Token: t.text})
	}
	return t
}

func (p *parser) members() (pairs []pair) {
	p.sequence("}", func() *node {
		key := p.expression(0)
		p.advance(":", false)
		pairs = append(pairs, pair{key, p.expression(0)})
		return nil
	})
	return pairs
}

func (p *parser) infix(t, left *node) *node {
	t.left = left
	switch t.text {
	case "(":
		p.call(t)
		return t
	case "[":
		if p.is("]") {
			step := left
			for step.kind == kindSubscript {
				step = step.left
			}
			step.keepArray = true
			p.advance("]", false)
			return left
		}
		t.kind, t.right = kindSubscript, p.expression(0)
		p.advance("]", true)
	case "{":
		t.kind, t.pairs = kindGroupBy, p.members()
	case "^":
		t.kind = kindOrderBy
		p.advance("(", false)
		p.sequence(")", func() *node {
			var x term
			if p.is("<") || p.is(">") {
				x.descending = p.is(">")
				p.advance("", false)
			}
			x.expr = p.expression(0)
			t.terms = append(t.terms, x)
			return nil
		})
	case ":=":
		if left.kind != kindVariable {
			throw(&Error{Code: "S0212", Position: left.pos, Token: left.text})
		}
		t.kind, t.right = kindBind, p.expression(bindingPower[":="]-1)
	case "@", "#":
		t.kind = kindFocus
		if t.text == "#" {
			t.kind = kindIndex
		}
		t.right = p.expression(bindingPower[t.text])
		if t.right.kind != kindVariable {
			throw(&Error{Code: "S0214", Position: t.right.pos, Token: t.text})
		}
	case "?":
		t.kind, t.right = kindCondition, p.expression(0)
		if p.is(":") {
			p.advance(":", false)
			t.other = p.expression(0)
		}
	case "?:":
		t.kind, t.left, t.right = kindCondition, p.copy(left), left
		t.other = p.expression(0)
	case "??":
		exists := &node{kind: kindVariable, text: "exists"}
		t.kind, t.left, t.right = kindCondition, &node{kind: kindCall, left: exists, list: []*node{p.copy(left)}}, left
		t.other = p.expression(0)
	case "~>":
		t.kind, t.right = kindApply, p.expression(bindingPower["~>"])
	default:
		t.kind, t.right = kindBinary, p.expression(bindingPower[t.text])
	}
	return t
}

// copy is a second tree like n. Copies inside copies double, so there is an end to them.
func (p *parser) copy(n *node) *node {
	n.visit(func(*node) { p.copied++ })
	if p.copied > maxCopied {
		throw(&Error{Code: "D1011", Position: n.pos})
	}
	return n.clone()
}

// call reads the arguments of t, which may turn out to be a function definition.
func (p *parser) call(t *node) {
	t.kind = kindCall
	t.list = p.sequence(")", func() *node {
		if p.is("?") {
			t.kind = kindPartial
			hole := p.token
			p.advance("?", false)
			return hole
		}
		return p.expression(0)
	})
	if t.left.kind != kindName || t.left.text != "function" && t.left.text != "λ" {
		return
	}
	for i, arg := range t.list {
		if arg.kind != kindVariable {
			throw(&Error{Code: "S0208", Position: arg.pos, Token: arg.text, Value: float64(i + 1)})
		}
	}
	t.kind = kindLambda
	if p.is("<") {
		var text strings.Builder
		text.WriteByte('<')
		start, depth := p.token.pos, 1
		for depth > 0 && !p.is("{") && p.token.kind != kindEnd {
			p.advance("", false)
			switch {
			case p.is(">"):
				depth--
			case p.is("<"):
				depth++
			}
			text.WriteString(p.token.text)
		}
		p.advance(">", false)
		var err *Error
		if t.signature, err = parseSignature(text.String()); err != nil {
			err.Position += start
			throw(err)
		}
	}
	p.advance("{", false)
	t.left = p.expression(0)
	p.advance("}", false)
}

// resolver turns the tree of operators into the one that is evaluated.
type resolver struct{ parents int }

func (r *resolver) all(list []*node) []*node {
	for i, n := range list {
		list[i] = r.resolve(n)
	}
	return list
}

func (r *resolver) resolve(n *node) *node {
	if n == nil {
		return nil
	}
	result := r.resolveKind(n)
	if n.keepArray {
		result.keepArray = true
	}
	return result
}

func (r *resolver) resolveKind(n *node) *node {
	switch n.kind {
	case kindEnd:
		throw(&Error{Code: "S0207", Position: n.pos, Token: n.text})
	case kindName:
		return &node{kind: kindPath, pos: n.pos, steps: []*node{n}, keepSingleton: n.keepArray}
	case kindOperator:
		switch n.text {
		case "and", "or", "in":
			n.kind = kindName
			return r.resolve(n)
		case "?":
			return n
		}
		throw(&Error{Code: "S0201", Position: n.pos, Token: n.text})
	case kindParent:
		n.parent = &parentSlot{label: "!" + strconv.Itoa(r.parents), level: 1}
		r.parents++
	case kindBinary:
		if n.text == "." {
			return r.dot(n)
		}
		n.left, n.right = r.resolve(n.left), r.resolve(n.right)
		n.seek(n.left, n.right)
	case kindSubscript:
		return r.subscript(n)
	case kindGroupBy:
		result := r.resolve(n.left)
		if result.group != nil {
			throw(&Error{Code: "S0210", Position: n.pos})
		}
		for i, p := range n.pairs {
			n.pairs[i] = pair{r.resolve(p.key), r.resolve(p.value)}
		}
		result.group = &node{kind: kindObject, pos: n.pos, pairs: n.pairs}
		return result
	case kindOrderBy:
		result := asPath(r.resolve(n.left))
		sort := &node{kind: kindSort, pos: n.pos, terms: n.terms}
		for i := range sort.terms {
			sort.terms[i].expr = r.resolve(sort.terms[i].expr)
			sort.seek(sort.terms[i].expr)
		}
		result.steps = append(result.steps, sort)
		result.resolveParents()
		return result
	case kindFocus:
		result := r.resolve(n.left)
		step := result.lastStep()
		if step.stages != nil || step.predicates != nil {
			throw(&Error{Code: "S0215", Position: n.pos})
		}
		if step.kind == kindSort {
			throw(&Error{Code: "S0216", Position: n.pos})
		}
		step.keepArray = step.keepArray || n.keepArray
		step.focus, step.tuples = n.right.text, true
		return result
	case kindIndex:
		result := r.resolve(n.left)
		step := result.lastStep()
		if result.kind != kindPath {
			result = asPath(result)
			step.stages, step.predicates = step.predicates, nil
		}
		if step.stages == nil {
			step.index = n.right.text
		} else {
			step.stages = append(step.stages, stage{index: n.right.text})
		}
		step.tuples = true
		return result
	case kindApply:
		n.left, n.right = r.resolve(n.left), r.resolve(n.right)
		n.keepArray = n.left.keepArray || n.right.keepArray
	case kindBind:
		n.right = r.resolve(n.right)
		n.seek(n.right)
	case kindNegate:
		n.left = r.resolve(n.left)
		if f, ok := n.left.literal.(float64); ok && n.left.kind == kindLiteral {
			n.left.literal = -f
			return n.left
		}
		n.seek(n.left)
	case kindArray:
		n.seek(r.all(n.list)...)
	case kindObject:
		for i, p := range n.pairs {
			n.pairs[i] = pair{r.resolve(p.key), r.resolve(p.value)}
			n.seek(n.pairs[i].key, n.pairs[i].value)
		}
	case kindCall, kindPartial:
		n.seek(r.all(n.list)...)
		n.left = r.resolve(n.left)
	case kindLambda:
		n.left = tailCall(r.resolve(n.left))
	case kindCondition:
		n.left, n.right, n.other = r.resolve(n.left), r.resolve(n.right), r.resolve(n.other)
		n.seek(n.left, n.right, n.other)
	case kindTransform:
		n.left, n.right, n.other = r.resolve(n.left), r.resolve(n.right), r.resolve(n.other)
	case kindBlock:
		n.seek(r.all(n.list)...)
		for _, x := range n.list {
			if x.consArray || x.kind == kindPath && x.steps[0].consArray {
				n.consArray = true
			}
		}
	}
	return n
}

func asPath(n *node) *node {
	if n.kind == kindPath {
		return n
	}
	return &node{kind: kindPath, steps: []*node{n}}
}

func (r *resolver) dot(n *node) *node {
	first := r.resolve(n.left)
	path := asPath(first)
	if first.kind == kindParent {
		path.seeking = []*parentSlot{first.parent}
	}
	fresh := 0 // steps that have not been looked at: those of a path before this dot have
	if first.kind == kindPath {
		fresh = len(path.steps)
	}
	rest := r.resolve(n.right)
	if rest.kind == kindPath {
		path.steps = append(path.steps, rest.steps...)
	} else {
		if rest.predicates != nil {
			rest.stages, rest.predicates = rest.predicates, nil
		}
		path.steps = append(path.steps, rest)
	}
	for _, step := range path.steps[fresh:] {
		if step.kind == kindLiteral {
			name, ok := step.literal.(string)
			if !ok {
				throw(&Error{Code: "S0213", Position: step.pos, Value: step.literal})
			}
			step.kind, step.text = kindName, name
		}
		path.keepSingleton = path.keepSingleton || step.keepArray
	}
	for _, step := range []*node{path.steps[0], path.lastStep()} {
		step.consArray = step.consArray || step.kind == kindArray
	}
	path.resolveParents()
	return path
}

func (r *resolver) subscript(n *node) *node {
	result := r.resolve(n.left)
	step := result.lastStep()
	if step.group != nil {
		throw(&Error{Code: "S0209", Position: n.pos})
	}
	filter := r.resolve(n.right)
	for _, slot := range filter.seeking {
		if slot.level == 1 {
			step.offerParent(slot)
		} else {
			slot.level--
		}
	}
	if filter.seeking != nil {
		step.seek(filter)
	}
	if result.kind == kindPath {
		step.stages = append(step.stages, stage{filter: filter})
	} else {
		step.predicates = append(step.predicates, stage{filter: filter})
	}
	return result
}

// seek hands the unresolved % of parts up to n.
func (n *node) seek(parts ...*node) {
	for _, part := range parts {
		if part == nil {
			continue
		}
		n.seeking = append(n.seeking, part.seeking...)
		if part.kind == kindParent {
			n.seeking = append(n.seeking, part.parent)
		}
	}
}

// offerParent lets slot refer to n, if n is as many steps back as it asks for.
func (n *node) offerParent(slot *parentSlot) {
	switch n.kind {
	case kindName, kindWildcard:
		if slot.level--; slot.level == 0 {
			if n.ancestor != nil {
				slot.label = n.ancestor.label
			}
			n.ancestor, n.tuples = slot, true
		}
	case kindParent:
		slot.level++
	case kindBlock:
		if len(n.list) > 0 {
			n.tuples = true
			n.list[len(n.list)-1].offerParent(slot)
		}
	case kindPath:
		n.tuples = true
		for i := len(n.steps) - 1; i >= 0 && (slot.level > 0 || i == len(n.steps)-1); i-- {
			n.steps[i].offerParent(slot)
		}
	default:
		throw(&Error{Code: "S0217", Position: n.pos, Token: n.kindName()})
	}
}

// resolveParents finds, for every % in the last step, the step before it that it means.
func (n *node) resolveParents() {
	last := n.lastStep()
	slots := slices.Clone(last.seeking)
	if last.kind == kindParent {
		slots = append(slots, last.parent)
	}
	for _, slot := range slots {
		for i := len(n.steps) - 2; slot.level > 0; {
			if i < 0 {
				n.seeking = append(n.seeking, slot)
				break
			}
			step := n.steps[i]
			i--
			for i >= 0 && step.focus != "" && n.steps[i].focus != "" { // contiguous focus steps have one parent
				step = n.steps[i]
				i--
			}
			step.offerParent(slot)
		}
	}
}

// tailCall wraps the calls that end a function body, so that the caller makes them after the body is left.
func tailCall(n *node) *node {
	switch n.kind {
	case kindCall:
		if n.predicates == nil {
			return &node{kind: kindLambda, pos: n.pos, thunk: true, left: n}
		}
	case kindCondition:
		n.right = tailCall(n.right)
		if n.other != nil {
			n.other = tailCall(n.other)
		}
	case kindBlock:
		if last := len(n.list) - 1; last >= 0 {
			n.list[last] = tailCall(n.list[last])
		}
	}
	return n
}
