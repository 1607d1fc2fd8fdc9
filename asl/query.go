package asl

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly/asl/jsonata"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// query is a JSONata expression in a field of a state. It is compiled once, as the definition is parsed.
type query struct {
	field   string // where it stands in the state, as AWS names it: "Arguments/Payload", "Choices[0]/Condition"
	text    string // without the delimiters and the blanks beside them
	program *jsonata.Program
}

// Codes of diagnostics that only JSONata has, as AWS names them.
const (
	CodeInvalidJSONata     = "INVALID_JSONATA_EXPRESSION"
	CodeUnsupportedJSONata = "UNSUPPORTED_JSONATA_EXPRESSION"
)

const openQuery, closeQuery = "{%", "%}"

// isQuery reports whether a string is an expression. AWS: what stands outside of the delimiters, even a blank, makes it
// an ordinary string (recorded: outputdecl test_base_cases[BASE_LITERALS]).
func isQuery(s string) bool { return strings.HasPrefix(s, openQuery) }

// What $states has besides input and context, by where an expression stands.
const (
	hasNothing = ""
	hasResult  = "result"
	hasError   = "errorOutput"
)

// query compiles the expression that stands at a place of the definition, nil when it cannot be one.
func (p *parser) query(v jsonvalue.Value, pointer, has string) *query {
	text, closed := strings.CutSuffix(strings.TrimPrefix(v.Str(), openQuery), closeQuery)
	if !closed || len(v.Str()) < len(openQuery+closeQuery) {
		p.fail(v, pointer, CodeInvalidJSONata, "The expression begins with '%s' and does not end with '%s'", openQuery, closeQuery)
		return nil
	}
	q := &query{field: strings.TrimPrefix(pointer, p.here+"/"), text: strings.TrimSpace(text)}
	program, err := jsonata.Compile(q.text)
	if err != nil {
		message := err.Error()
		var wrong *jsonata.Error
		if errors.As(err, &wrong) {
			message = wrong.Message // AWS leaves out the code
		}
		p.fail(v, pointer, CodeInvalidJSONata, "%s", message)
		return nil
	}
	for _, name := range program.TopLevel() {
		if name == "$$" {
			p.fail(v, pointer, CodeUnsupportedJSONata, "Reference to '$$' is not supported.")
		} else {
			p.fail(v, pointer, CodeUnsupportedJSONata, "Reference to '%s' at the top level is not supported.", name)
		}
	}
	var missing []string
	for _, r := range program.References("states") {
		if m := r.Member; m != "" && m != "input" && m != "context" && m != has && !slices.Contains(missing, m) {
			missing = append(missing, m)
			p.fail(v, pointer, CodeUnsupportedJSONata, "Field '$states.%s' does not exist.", m)
		}
	}
	q.program = program
	return q
}

// queries compiles a template of JSONata: any JSON in which strings may be expressions. dynamic: some are.
func (p *parser) queries(v jsonvalue.Value, pointer, has string) (node templateNode, dynamic bool) {
	switch v.Kind() {
	case jsonvalue.KindArray:
		out := make(arrayNode, 0, v.Len())
		for m := range v.Elements() {
			n, d := p.queries(m, appendPointer(pointer, len(out)), has)
			out, dynamic = append(out, n), dynamic || d
		}
		node = out
	case jsonvalue.KindObject:
		out := make(objectNode, 0, v.Len())
		for name, m := range v.Members() {
			n, d := p.queries(m, appendPointer(pointer, name), has)
			out, dynamic = append(out, memberNode{name, n}), dynamic || d
		}
		node = out
	case jsonvalue.KindString:
		if isQuery(v.Str()) {
			if q := p.query(v, pointer, has); q != nil {
				return q, true
			}
		}
	}
	if !dynamic {
		return constantNode{v}, false
	}
	return node, true
}

// expression is the member when it is a JSONata expression, which only states of that language have. Another value is
// read as what it is.
func (o object) expression(name string) *Template {
	if v := o.v.Member(name); o.p.language == JSONata && v.Kind() == jsonvalue.KindString && isQuery(v.Str()) {
		return o.template(name)
	}
	return nil
}

// query is the expression that a whole template is, nil when it is something else.
func (t *Template) query() *query {
	q, _ := t.root.(*query)
	return q
}

// Variables are the names, without $, of the variables that the expressions of the template read.
func (t *Template) variables(yield func(string) bool) {
	for p := range t.Paths() {
		if name, ok := variableOf(p); ok && !yield(name) {
			return
		}
	}
	t.eachQuery(func(q *query) bool {
		for _, name := range q.program.Variables() {
			if name != "states" && !yield(name) {
				return false
			}
		}
		return true
	})
}

// readsContext reports whether an expression of the template may read the context object.
func (t *Template) readsContext() bool {
	reads := false
	t.eachQuery(func(q *query) bool {
		for _, r := range q.program.References("states") {
			reads = reads || r.Member == "context" || r.Member == ""
		}
		return !reads
	})
	return reads
}

func (t *Template) eachQuery(yield func(*query) bool) {
	var walk func(templateNode) bool
	walk = func(n templateNode) bool {
		switch n := n.(type) {
		case *query:
			return yield(n)
		case arrayNode:
			for _, m := range n {
				if !walk(m) {
					return false
				}
			}
		case objectNode:
			for _, m := range n {
				if !walk(m.node) {
					return false
				}
			}
		}
		return true
	}
	if t.root != nil {
		walk(t.root)
	}
}

// eval evaluates the expression. input is the member of $states that v.has names.
func (q *query) eval(v *Visit, input jsonvalue.Value) (jsonvalue.Value, *Failure) {
	states := []jsonvalue.Member{jsonvalue.M("input", v.Input), jsonvalue.M("context", v.Context)}
	if v.has != hasNothing {
		states = append(states, jsonvalue.M(v.has, input))
	}
	var bindings map[string]jsonvalue.Value
	if v.Vars != nil {
		for _, name := range q.program.Free() {
			if value, ok := v.Vars(name); ok {
				if bindings == nil {
					bindings = map[string]jsonvalue.Value{}
				}
				bindings[name] = value
			}
		}
	}
	limits := v.Limits.Expression
	if limits.Steps <= 0 {
		limits.Steps = jsonata.DefaultLimits.Steps
	}
	limits.Steps = max(1, min(limits.Steps, maxExpressions*limits.Steps-v.used))
	out, err := q.program.Eval(jsonvalue.Value{}, bindings, jsonata.Env{Now: v.Now, Random: v.Random, StepFunctions: true, Limits: limits, States: states, Usage: v.expressionUsage(), Used: &v.used})
	switch {
	case errors.Is(err, jsonata.ErrUnsupportedResult):
		return out, q.failure(v, "returned an unsupported result type.")
	case err != nil:
		return out, q.failure(v, "threw an error during evaluation"+q.thrown(v, err))
	case out.IsZero():
		return out, q.failure(v, "returned nothing (undefined).")
	}
	return out, v.gave(out)
}

func (v *Visit) expressionUsage() *jsonata.Usage {
	if v.Usage == nil {
		return nil
	}
	return &v.Usage.Expression
}

// maxExpressions is how often all expressions of a visit together may spend what one of them may.
const maxExpressions = 5

// thrown is how AWS goes on after "threw an error during evaluation": with code and text of the error, or, when a budget
// is spent, with a text of its own.
func (q *query) thrown(v *Visit, err error) string {
	var e *jsonata.Error
	if errors.As(err, &e) {
		switch e.Code {
		case "D1011":
			if most := v.Limits.Expression.Depth; most > 0 {
				return fmt.Sprintf(": Stack overflow error: Check for non-terminating recursive function. Consider rewriting as tail-recursive. Depth=%d max=%d", most+1, most)
			}
			return ": Stack overflow error: Check for non-terminating recursive function. Consider rewriting as tail-recursive."
		case "D1012":
			return ": Expression evaluation timeout: Check for infinite loop"
		case "D2015", "D2016":
			return ": Expression evaluation memory limit exceeded: Check for excessive memory usage"
		}
	}
	return ". " + err.Error()
}

func (q *query) failure(v *Visit, how string) *Failure {
	return v.evaluation(q.field, "The JSONata expression '%s' specified for the field '%s' %s", q.text, q.field, how)
}

// Evaluation says which field of the state it was whose evaluation failed; "" is none.
type Evaluation struct{ Location string }

// evaluation is the failure of a state that JSONata itself causes.
func (v *Visit) evaluation(field, format string, args ...any) *Failure {
	f := v.failure(ErrQueryEvaluation, format, args...)
	f.Evaluation = &Evaluation{field}
	return f
}

// typed evaluates a template whose value must be of a kind.
func (v *Visit) typed(t *Template, kind jsonvalue.Kind) (jsonvalue.Value, *Failure) {
	value, f := t.eval(v, v.Input)
	if f == nil && value.Kind() != kind {
		if q := t.query(); q != nil {
			return value, q.failure(v, fmt.Sprintf("returned an unexpected result type. Expected '%s', but was '%s' for value: %s", kind, value.Kind(), value))
		}
		return value, v.evaluation("", "Expected '%s', but was '%s' for value: %s", kind, value.Kind(), value)
	}
	return value, f
}

// whole evaluates a template that must give an integer from low to high.
func (v *Visit) whole(field string, t *Template, low, high int64) (int64, *Failure) {
	value, f := v.typed(t, jsonvalue.KindNumber)
	if f != nil {
		return 0, f
	}
	n, ok := value.Int()
	if !ok {
		return 0, v.notWhole(field, value)
	}
	if n < low || n > high {
		return 0, v.evaluation(field, "%s must be between %d and %d but was: %s", field, low, high, value)
	}
	return n, nil
}

func (v *Visit) notWhole(field string, value jsonvalue.Value) *Failure {
	return v.evaluation(field, "The %s field cannot be parsed as an integer: %s", field, value)
}

// wrong is the failure of a field with a value that it may not have: each language has its own.
func (v *Visit) wrong(field, format string, args ...any) *Failure {
	if v.jsonata() {
		return v.evaluation(field, format, args...)
	}
	return v.runtime(format, args...)
}

func (v *Visit) jsonata() bool { return v.State.Base().QueryLanguage == JSONata }

// with is the visit as an expression sees it to which $states has one member more.
func (v *Visit) with(has string) *Visit {
	w := *v
	w.has = has
	return &w
}

// put is the exit of a state of JSONata: its Output and Assign see the same, Output replaces what otherwise is passed on.
func (v *Visit) put(output, assign *Template, value jsonvalue.Value, next string) (Exit, *Failure) {
	e := Exit{Output: value, Next: next}
	var f *Failure
	if assign != nil {
		if e.Assign, f = v.assign(assign, value); f != nil {
			return Exit{}, f
		}
	}
	if output != nil {
		if e.Output, f = output.eval(v, value); f != nil {
			return Exit{}, f
		}
	}
	return e, v.checkOutput(e.Output)
}

// decide finds the rule by which a Choice of JSONata goes on, and what it passes on.
func (v *Visit) decide(s *ChoiceState) (Exit, *Failure) {
	for i := range s.Choices {
		r := &s.Choices[i]
		holds, f := v.typed(r.Condition, jsonvalue.KindBool)
		if f != nil {
			return Exit{}, f
		}
		if holds.Bool() {
			return v.put(r.Output, r.Assign, v.Input, r.Next)
		}
	}
	if s.Default == "" {
		return Exit{}, v.noChoice()
	}
	return v.put(s.Output, s.Assign, v.Input, s.Default)
}
