package jsonata

import "github.com/mayfly-run/mayfly/internal/regex"

// kind is what sort of expression a node is.
type kind uint8

const (
	kindEnd kind = iota // the end of the source, where an expression was expected
	kindName
	kindVariable
	kindLiteral // string, number, true, false, null: node.literal
	kindRegex
	kindOperator // an operator that stands where an operand should: and, or, in, ?
	kindWildcard
	kindDescendant
	kindParent
	kindBinary
	kindNegate
	kindArray
	kindObject
	kindSubscript // a[b], gone after resolve, like the four below
	kindGroupBy
	kindOrderBy
	kindFocus
	kindIndex
	kindCall
	kindPartial
	kindLambda
	kindCondition
	kindBlock
	kindBind
	kindApply
	kindTransform
	kindPath
	kindSort
)

var kindNames = map[kind]string{kindVariable: "variable", kindRegex: "regex", kindDescendant: "descendant", kindBinary: "binary",
	kindNegate: "unary", kindArray: "unary", kindObject: "unary", kindCall: "function", kindPartial: "partial", kindLambda: "lambda",
	kindCondition: "condition", kindBind: "bind", kindApply: "apply", kindTransform: "transform", kindSort: "sort"}

// node is an expression. The parser makes a plain tree of operators; resolve turns it into the tree that is evaluated, in
// which dots have become paths with steps, and subscripts, sortings and groupings belong to the step they follow.
type node struct {
	kind    kind
	pos     int
	text    string // the token: name, variable without $, operator
	literal value
	regex   *regex.Regexp

	left, right *node   // operands; condition: left ? right : other; transform: |left|right,other|; call: left is the procedure
	other       *node   // see left
	list        []*node // elements, arguments, expressions of a block, parameters
	pairs       []pair  // members of an object
	terms       []term  // order-by
	steps       []*node // path

	predicates []stage // filters of an expression that is no step
	stages     []stage // filters and index bindings of a step
	group      *node   // group-by clause: pairs

	keepArray     bool // followed by []
	keepSingleton bool // path: some step is followed by []
	consArray     bool // an array constructor whose arrays are not flattened into the result
	tuples        bool // the step binds variables, so that its path is evaluated over tuples
	thunk         bool // lambda: a call in tail position, to be made by the caller
	focus, index  string

	parent   *parentSlot   // %: what it refers to
	ancestor *parentSlot   // the step whose input is wanted by a %
	seeking  []*parentSlot // those inside that are not yet resolved

	signature *signature
}

type pair struct{ key, value *node }

type term struct {
	descending bool
	expr       *node
}

// stage is what happens to the result of a step: a filter, or the binding of the position to a variable.
type stage struct {
	filter *node
	index  string
}

// parentSlot ties a % to the step whose input it means: that step binds the variable named label.
type parentSlot struct {
	label string
	level int
}

// lastStep is the step that a clause after n applies to: n itself when it is no path.
func (n *node) lastStep() *node {
	if n.kind == kindPath {
		return n.steps[len(n.steps)-1]
	}
	return n
}

// clone copies a tree as the parser made it.
func (n *node) clone() *node {
	if n == nil {
		return nil
	}
	c := *n
	c.left, c.right, c.other = n.left.clone(), n.right.clone(), n.other.clone()
	c.list = make([]*node, len(n.list))
	for i, x := range n.list {
		c.list[i] = x.clone()
	}
	c.pairs = make([]pair, len(n.pairs))
	for i, p := range n.pairs {
		c.pairs[i] = pair{p.key.clone(), p.value.clone()}
	}
	c.terms = make([]term, len(n.terms))
	for i, t := range n.terms {
		c.terms[i] = term{t.descending, t.expr.clone()}
	}
	return &c
}

// visit calls f for n and every expression inside it, in both forms of the tree.
func (n *node) visit(f func(*node)) {
	if n == nil {
		return
	}
	f(n)
	n.left.visit(f)
	n.right.visit(f)
	n.other.visit(f)
	n.group.visit(f)
	for _, x := range n.list {
		x.visit(f)
	}
	for _, p := range n.pairs {
		p.key.visit(f)
		p.value.visit(f)
	}
	for _, t := range n.terms {
		t.expr.visit(f)
	}
	for _, s := range n.steps {
		s.visit(f)
	}
	for _, s := range n.predicates {
		s.filter.visit(f)
	}
	for _, s := range n.stages {
		s.filter.visit(f)
	}
}
