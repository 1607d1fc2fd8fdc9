package jsonpath

import (
	"strings"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/internal/regex"
)

// expr is a filter's condition.
type expr interface {
	accept(e *evaluation, current jsonvalue.Value) (bool, error)
}

type (
	orExpr     []expr
	andExpr    []expr
	notExpr    struct{ e expr }
	existsExpr struct{ operand }
	compare    struct {
		left, right operand
		op          string
		re          *regex.Regexp
	}
)

// operand is a path from @ or $, or a constant.
type operand struct {
	path     *Path
	current  bool // from @
	constant jsonvalue.Value
}

func (o operand) value(e *evaluation, current jsonvalue.Value) (jsonvalue.Value, error) {
	if o.path == nil {
		return o.constant, nil
	}
	from := e.root
	if o.current {
		from = current
	}
	v, err := e.whole(o.path, from)
	if err == errBudget {
		return v, err
	}
	if err != nil {
		return jsonvalue.Value{}, nil // absent
	}
	return v, nil
}

func (x orExpr) accept(e *evaluation, v jsonvalue.Value) (bool, error) {
	for _, y := range x {
		if ok, err := y.accept(e, v); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func (x andExpr) accept(e *evaluation, v jsonvalue.Value) (bool, error) {
	for _, y := range x {
		if ok, err := y.accept(e, v); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (x notExpr) accept(e *evaluation, v jsonvalue.Value) (bool, error) {
	ok, err := x.e.accept(e, v)
	return !ok, err
}

func (x existsExpr) accept(e *evaluation, v jsonvalue.Value) (bool, error) {
	got, err := x.value(e, v)
	if x.path == nil {
		return got.Bool(), err
	}
	if !x.path.definite {
		return got.Len() > 0, err
	}
	return !got.IsZero(), err
}

func (x compare) accept(e *evaluation, v jsonvalue.Value) (bool, error) {
	a, err := x.left.value(e, v)
	if err != nil {
		return false, err
	}
	b, err := x.right.value(e, v)
	if err != nil {
		return false, err
	}
	work := 1 + min(a.Size(), b.Size())/compared
	switch x.op {
	case "=~":
		work = 1 + a.Size()/matched*x.re.Size() + a.Size()%matched*x.re.Size()/matched
	case "in", "nin":
		work = searching(b, a)
	case "contains":
		work = searching(a, b) + a.Size()/compared
	case "size", "empty":
		work = 1 + a.Size()/compared
	case "anyof", "noneof", "subsetof":
		work = 1 + a.Len()*searching(b, jsonvalue.Value{}) + min(a.Len()*b.Size(), b.Len()*a.Size())/compared
	}
	if err := e.spend(work); err != nil {
		return false, err
	}
	switch x.op {
	case "==", "===", "!=", "!==":
		equal := !a.IsZero() && !b.IsZero() && jsonvalue.Equal(a, b)
		return equal == (x.op[0] == '='), nil
	case "=~":
		return a.Kind() == jsonvalue.KindString && x.re.Get().MatchString(a.Str()), nil
	case "in", "nin":
		return contains(b, a) == (x.op == "in"), nil
	case "contains":
		if a.Kind() == jsonvalue.KindString {
			return b.Kind() == jsonvalue.KindString && strings.Contains(a.Str(), b.Str()), nil
		}
		return contains(a, b), nil
	case "size":
		n, ok := b.Int()
		return ok && sizeOf(a) == n, nil
	case "empty":
		size := sizeOf(a)
		return size >= 0 && (size == 0) == b.Bool(), nil
	case "anyof", "noneof", "subsetof":
		any, all := false, true
		for m := range a.Elements() {
			if contains(b, m) {
				any = true
			} else {
				all = false
			}
		}
		if a.Kind() != jsonvalue.KindArray {
			return false, nil
		}
		switch x.op {
		case "anyof":
			return any, nil
		case "noneof":
			return !any, nil
		}
		return all, nil
	}
	if a.Kind() != b.Kind() {
		return false, nil
	}
	var c int
	switch a.Kind() {
	case jsonvalue.KindNumber:
		c = jsonvalue.CompareNumbers(a, b)
	case jsonvalue.KindString:
		c = strings.Compare(a.Str(), b.Str())
	default:
		return false, nil
	}
	switch x.op {
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	}
	return c >= 0, nil
}

// searching is the work of looking for v in a list or a text.
func searching(list, v jsonvalue.Value) int {
	return 1 + list.Len()/16 + min(list.Size(), list.Len()*v.Size()+v.Size())/compared
}

func contains(list, v jsonvalue.Value) bool {
	for m := range list.Elements() {
		if jsonvalue.Equal(m, v) {
			return true
		}
	}
	return false
}

func sizeOf(v jsonvalue.Value) int64 {
	switch v.Kind() {
	case jsonvalue.KindArray, jsonvalue.KindObject:
		return int64(v.Len())
	case jsonvalue.KindString:
		return int64(len([]rune(v.Str())))
	}
	return -1
}

func (p *parser) or() (expr, error) {
	if p.depth++; p.depth > 64 {
		return nil, p.errorf("nested too deeply")
	}
	defer func() { p.depth-- }()
	list := orExpr{}
	for {
		var terms andExpr
		for {
			t, err := p.term()
			if err != nil {
				return nil, err
			}
			terms = append(terms, t)
			p.blanks()
			if !strings.HasPrefix(p.s[p.at:], "&&") {
				break
			}
			p.at += 2
		}
		list = append(list, terms)
		p.blanks()
		if !strings.HasPrefix(p.s[p.at:], "||") {
			return list, nil
		}
		p.at += 2
	}
}

func (p *parser) term() (expr, error) {
	p.blanks()
	if p.peek() == '!' {
		p.at++
		if p.depth++; p.depth > 64 {
			return nil, p.errorf("nested too deeply")
		}
		defer func() { p.depth-- }()
		t, err := p.term()
		return notExpr{t}, err
	}
	if p.peek() == '(' {
		p.at++
		x, err := p.or()
		if err != nil {
			return nil, err
		}
		p.blanks()
		if p.peek() != ')' {
			return nil, p.errorf(") is missing in a filter")
		}
		p.at++
		return x, nil
	}
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	p.blanks()
	op := p.operator()
	if op == "" {
		return existsExpr{left}, nil
	}
	p.blanks()
	c := compare{left: left, op: op}
	if op == "=~" {
		c.re, err = p.regexp()
		return c, err
	}
	c.right, err = p.operand()
	return c, err
}

func (p *parser) operator() string {
	rest := p.s[p.at:]
	for _, op := range []string{"===", "!==", "==", "!=", "<=", ">=", "=~", "<", ">"} {
		if strings.HasPrefix(rest, op) {
			p.at += len(op)
			return op
		}
	}
	for _, op := range []string{"in", "nin", "contains", "size", "empty", "anyof", "noneof", "subsetof"} {
		if len(rest) > len(op) && strings.EqualFold(rest[:len(op)], op) && strings.IndexByte(" ['\"@$(", rest[len(op)]) >= 0 {
			p.at += len(op)
			return op
		}
	}
	return ""
}

func (p *parser) operand() (operand, error) {
	if p.depth++; p.depth > 64 {
		return operand{}, p.errorf("nested too deeply")
	}
	defer func() { p.depth-- }()
	switch c := p.peek(); {
	case c == '$':
		path, err := p.path(false)
		if err == nil && path.root != RootInput {
			err = p.errorf("a filter's paths begin with @ or $ alone")
		}
		return operand{path: path}, err
	case c == '@':
		start := p.at
		p.at++
		inner := &parser{s: p.s, at: p.at, depth: p.depth}
		tokens, err := inner.tokens()
		p.at, p.regexes = inner.at, p.regexes+inner.regexes
		if err != nil {
			return operand{}, err
		}
		path := &Path{text: p.s[start:p.at], tokens: tokens, definite: true}
		for _, t := range tokens {
			path.definite = path.definite && (t.kind == names || t.kind == indexes && len(t.indexes) == 1 || t.kind == function)
		}
		return operand{path: path, current: true}, nil
	case c == '\'' || c == '"':
		s, err := p.quoted()
		return operand{constant: jsonvalue.Str(s)}, err
	case c == '[':
		p.at++
		var list []jsonvalue.Value
		for {
			p.blanks()
			if p.peek() == ']' && len(list) == 0 {
				p.at++
				return operand{constant: jsonvalue.Array()}, nil
			}
			o, err := p.operand()
			if err != nil {
				return o, err
			}
			if o.path != nil {
				return o, p.errorf("a list holds constants only")
			}
			list = append(list, o.constant)
			p.blanks()
			c := p.peek()
			if c != ',' && c != ']' {
				return o, p.errorf("] is missing after a list")
			}
			p.at++
			if c == ']' {
				return operand{constant: jsonvalue.Array(list...)}, nil
			}
		}
	}
	start := p.at
	for p.at < len(p.s) && strings.IndexByte("+-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", p.s[p.at]) >= 0 {
		p.at++
	}
	switch word := p.s[start:p.at]; word {
	case "true", "false":
		return operand{constant: jsonvalue.Bool(word == "true")}, nil
	case "null":
		return operand{constant: jsonvalue.Null}, nil
	default:
		if n, ok := jsonvalue.Number(word); ok {
			return operand{constant: n}, nil
		}
		return operand{}, p.errorf("%q is no path and no constant", p.s[start:])
	}
}

func (p *parser) regexp() (*regex.Regexp, error) {
	if p.peek() != '/' {
		return nil, p.errorf("a pattern /…/ must follow =~")
	}
	p.at++
	start := p.at
	for p.at < len(p.s) && p.s[p.at] != '/' {
		if p.s[p.at] == '\\' {
			p.at++
		}
		p.at++
	}
	if p.at >= len(p.s) {
		return nil, p.errorf("/ is missing")
	}
	pattern := p.s[start:p.at]
	p.at++
	for p.peek() == 'i' || p.peek() == 's' || p.peek() == 'm' {
		pattern = "(?" + string(p.peek()) + ")" + pattern
		p.at++
	}
	re, err := regex.Parse("^(?:" + pattern + ")$")
	if err != nil {
		return nil, p.errorf("%v", err)
	}
	p.regexes += re.Size()
	return re, nil
}
