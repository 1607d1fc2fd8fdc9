package jsonata

func (e *evaluator) path(n *node, input value, env *frame) value {
	stream, ok := input.(*array)
	if !ok || n.steps[0].kind == kindVariable {
		stream = newSequence(input)
	}
	var result, tuples *array
	bindsVariables := false
	for i, step := range n.steps {
		bindsVariables = bindsVariables || step.tuples
		switch {
		case i == 0 && step.consArray:
			result, _ = e.eval(step, stream, env).(*array)
		case bindsVariables:
			tuples = e.tupleStep(step, stream, tuples, env)
		default:
			result = e.mapStep(step, stream, env, i == len(n.steps)-1)
		}
		if !bindsVariables && (result == nil || result.len() == 0) {
			break
		}
		if step.focus == "" && !bindsVariables {
			stream = result
		}
	}
	if bindsVariables {
		result = tuples
		if !n.tuples {
			result = newSequence()
			for _, t := range tuples.items {
				result.push(t.(*tuple).context)
			}
		}
	}
	if n.keepSingleton && result != nil {
		if result.constructed && !result.sequence {
			result = newSequence(result)
		}
		if result.sequence {
			result.keepSingleton = true
		}
	}
	if n.group != nil {
		if bindsVariables {
			return e.group(n.group, tuples, env)
		}
		if result == nil {
			return e.group(n.group, nil, env)
		}
		return e.group(n.group, result, env)
	}
	if result == nil {
		return nil
	}
	return result
}

// mapStep applies a step to every item and flattens what comes out by one level.
func (e *evaluator) mapStep(n *node, input *array, env *frame, last bool) *array {
	if n.kind == kindSort {
		return e.stages(n.stages, e.orderBy(n, input, env), env)
	}
	items := e.elements(input)
	results := make([]value, 0, len(items))
	for _, item := range items {
		v := e.eval(n, item, env)
		for _, s := range n.stages {
			v = e.filter(s.filter, v, env)
		}
		if v != nil {
			results = append(results, v)
		}
	}
	e.room(len(results))
	if last && len(results) == 1 {
		if a, ok := results[0].(*array); ok && !a.sequence {
			return a
		}
	}
	out := newSequence()
	for _, v := range results {
		if a, ok := v.(*array); ok && !a.constructed {
			inner := a.elements()
			e.room(len(inner))
			out.items = append(out.items, inner...)
		} else {
			out.push(v)
		}
	}
	return out
}

func (e *evaluator) stages(stages []stage, input *array, env *frame) *array {
	for _, s := range stages {
		if s.filter != nil {
			input = e.filter(s.filter, input, env)
			continue
		}
		for i, x := range input.elements() {
			if t, ok := x.(*tuple); ok {
				t.bind(s.index, float64(i))
			}
		}
	}
	return input
}

// tupleStep is a step of a path that binds variables: every item carries what was bound on the way to it.
func (e *evaluator) tupleStep(n *node, input, tuples *array, env *frame) *array {
	if n.kind == kindSort {
		result := tuples
		if tuples != nil {
			result = e.orderBy(n, tuples, env)
		} else {
			result = &array{sequence: true, tuples: true}
			for i, v := range e.orderBy(n, input, env).elements() {
				t := &tuple{context: v}
				if n.index != "" {
					t.bind(n.index, float64(i))
				}
				result.push(t)
			}
		}
		return e.stages(n.stages, result, env)
	}
	if tuples == nil {
		tuples = &array{}
		for _, v := range input.elements() {
			tuples.push(&tuple{context: v})
		}
	}
	result := &array{sequence: true, tuples: true}
	for _, x := range tuples.items {
		from := x.(*tuple)
		v := e.eval(n, from.context, env.with(from.clone()))
		if v == nil {
			continue
		}
		list, ok := v.(*array)
		if !ok {
			list = newArray(v)
		}
		for i, item := range list.elements() {
			e.room(2 + len(from.names))
			t := from.clone()
			if inner, ok := item.(*tuple); ok && list.tuples {
				t.context = inner.context
				for j, name := range inner.names {
					t.bind(name, inner.values[j])
				}
			} else {
				if n.focus != "" {
					t.bind(n.focus, item)
				} else {
					t.context = item
				}
				if n.index != "" {
					t.bind(n.index, float64(i))
				}
				if n.ancestor != nil {
					t.bind(n.ancestor.label, from.context)
				}
			}
			result.push(t)
		}
	}
	return e.stages(n.stages, result, env)
}

// filter keeps the items that the predicate selects, by position or by truth.
func (e *evaluator) filter(predicate *node, input value, env *frame) *array {
	in := asFilterInput(input)
	items := e.elements(in)
	result := &array{sequence: true, tuples: in.tuples}
	position := func(f float64) int {
		i := floorInt(f)
		if i < 0 {
			i += len(items)
		}
		return i
	}
	if f, ok := predicate.literal.(float64); ok && predicate.kind == kindLiteral {
		if i := position(f); i >= 0 && i < len(items) && items[i] != nil {
			if a, ok := items[i].(*array); ok {
				return a
			}
			result.push(items[i])
		}
		return result
	}
	for i, item := range items {
		context, scope := item, env
		if t, ok := item.(*tuple); ok {
			context, scope = t.context, env.with(t.clone())
		}
		v := e.eval(predicate, context, scope)
		if numeric(v) {
			v = newArray(v)
		}
		e.stepOver(v)
		if list, ok := v.(*array); ok && allNumbers(list) {
			e.step(list.len())
			for _, x := range list.elements() {
				if position(x.(float64)) == i {
					e.room(1)
					result.push(item)
				}
			}
		} else if e.truth(v) {
			e.room(1)
			result.push(item)
		}
	}
	return result
}

// asFilterInput is asArray, but undefined is an item too: a predicate is evaluated for it, and nothing is kept.
func asFilterInput(v value) *array {
	if v == nil {
		return newSequence(nil)
	}
	return asArray(v)
}

func allNumbers(a *array) bool {
	for _, x := range a.elements() {
		if !numeric(x) {
			return false
		}
	}
	return true
}

func allStrings(a *array) bool {
	for _, x := range a.elements() {
		if _, ok := x.(string); !ok {
			return false
		}
	}
	return true
}

// group builds an object: the values of items with the same key are evaluated together.
func (e *evaluator) group(n *node, input value, env *frame) value {
	type member struct {
		key  string
		pair int
		data value
	}
	in := asFilterInput(input)
	items := e.elements(in)
	if len(items) == 0 && !in.tuples {
		items = []value{nil}
	}
	var groups []member
	byKey := map[string]int{}
	for _, item := range items {
		context, scope := item, env
		if t, ok := item.(*tuple); ok {
			context, scope = t.context, env.with(t.clone())
		}
		for i, p := range n.pairs {
			v := e.eval(p.key, context, scope)
			if v == nil {
				continue
			}
			key, ok := v.(string)
			if !ok {
				throw(&Error{Code: "T1003", Position: n.pos, Value: v})
			}
			if key == "_jsonata_lambda" || key == "_jsonata_function" {
				throw(&Error{Code: "D1013", Position: n.pos, Value: key})
			}
			e.stepOver(key)
			at, found := byKey[key]
			if !found {
				e.room(2)
				byKey[key] = len(groups)
				groups = append(groups, member{key, i, item})
				continue
			}
			if groups[at].pair != i {
				throw(&Error{Code: "D1009", Position: n.pos, Value: key})
			}
			groups[at].data = e.appendInPlace(groups[at].data, item)
		}
	}
	e.grow(containerBytes)
	result := newObject()
	for _, g := range groups {
		context, scope := g.data, env
		if in.tuples {
			merged := e.mergeTuples(g.data)
			context, scope = merged.context, env.with(merged)
		}
		if a, ok := context.(*grouped); ok {
			context = newArray(a.items...)
		}
		if v := e.eval(n.pairs[g.pair].value, context, scope); v != nil {
			result.set(g.key, v)
		}
	}
	return result
}

// grouped collects the items of one key, so that many of them take linear time.
type grouped struct{ items []value }

func (e *evaluator) appendInPlace(to, v value) value {
	g, ok := to.(*grouped)
	if !ok {
		if to == nil {
			return v
		}
		g = &grouped{}
		if a, ok := to.(*array); ok {
			g.items = append(g.items, a.elements()...)
		} else {
			g.items = append(g.items, to)
		}
	}
	if a, ok := v.(*array); ok {
		e.room(a.len())
		g.items = append(g.items, a.elements()...)
	} else if v != nil {
		e.room(1)
		g.items = append(g.items, v)
	}
	return g
}

// mergeTuples is one tuple for all of a group: what they bind is appended.
func (e *evaluator) mergeTuples(data value) *tuple {
	g, ok := data.(*grouped)
	if !ok {
		return data.(*tuple)
	}
	merged := g.items[0].(*tuple).clone()
	for _, x := range g.items[1:] {
		t := x.(*tuple)
		merged.context = e.appendInPlace(merged.context, t.context)
		for i, name := range t.names {
			var before value
			for j := range merged.names {
				if merged.names[j] == name {
					before = merged.values[j]
				}
			}
			merged.bind(name, e.appendInPlace(before, t.values[i]))
		}
	}
	for i, v := range merged.values {
		if g, ok := v.(*grouped); ok {
			merged.values[i] = newArray(g.items...)
		}
	}
	return merged
}

// orderBy sorts by the terms; what has no value for a term goes to the end.
func (e *evaluator) orderBy(n *node, input *array, env *frame) *array {
	of := func(t term, item value) value {
		if t1, ok := item.(*tuple); ok {
			return e.eval(t.expr, t1.context, env.with(t1.clone()))
		}
		return e.eval(t.expr, item, env)
	}
	sorted := e.sort(input.elements(), func(a, b value) bool {
		for _, t := range n.terms {
			x, y := of(t, a), of(t, b)
			if x == nil && y == nil {
				continue
			}
			if x == nil || y == nil {
				return x == nil
			}
			for _, v := range []value{x, y} {
				if l := typeLetter(v); l != 's' && l != 'n' {
					throw(&Error{Code: "T2008", Position: n.pos, Value: v})
				}
			}
			if typeLetter(x) != typeLetter(y) {
				throw(&Error{Code: "T2007", Position: n.pos, Value: x, Value2: y})
			}
			e.stepOver(x, y)
			if order := compareValues(x, y); order != 0 {
				return order > 0 != t.descending
			}
		}
		return false
	})
	return &array{items: sorted, tuples: input.tuples, sequence: len(sorted) <= 1 && input.sequence}
}

// sort is a stable merge sort; after reports whether a belongs behind b.
func (e *evaluator) sort(items []value, after func(a, b value) bool) []value {
	if len(items) <= 1 {
		return items
	}
	e.room(len(items))
	middle := len(items) / 2
	left, right := e.sort(items[:middle], after), e.sort(items[middle:], after)
	out := make([]value, 0, len(items))
	for len(left) > 0 && len(right) > 0 {
		e.step(1)
		if after(left[0], right[0]) {
			out, right = append(out, right[0]), right[1:]
		} else {
			out, left = append(out, left[0]), left[1:]
		}
	}
	return append(append(out, left...), right...)
}
