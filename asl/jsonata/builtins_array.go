package jsonata

import (
	"math"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

func mapItems(c *call) value {
	result := newSequence()
	for i, x := range c.list(0) {
		c.room(1)
		if v := c.invoke(c.arg(1), x, float64(i), c.arg(0)); v != nil {
			result.push(v)
		}
	}
	return result
}

func filterItems(c *call) value {
	result := newSequence()
	for i, x := range c.list(0) {
		c.room(1)
		if c.truth(c.invoke(c.arg(1), x, float64(i), c.arg(0))) {
			result.push(x)
		}
	}
	return result
}

func single(c *call) value {
	var result value
	found := false
	for i, x := range c.list(0) {
		if c.arg(1) != nil && !c.truth(c.invoke(c.arg(1), x, float64(i), c.arg(0))) {
			continue
		}
		if found {
			throw(&Error{Code: "D3138", Index: i})
		}
		result, found = x, true
	}
	if !found {
		throw(&Error{Code: "D3139"})
	}
	return result
}

func reduce(c *call) value {
	f, ok := c.arg(1).(*function)
	if !ok || f.arity < 2 {
		throw(&Error{Code: "D3050", Index: 1})
	}
	items, result, first := c.list(0), c.arg(2), 0
	if result == nil && len(items) > 0 {
		result, first = items[0], 1
	}
	for i := first; i < len(items); i++ {
		result = c.invoke(f, result, items[i], float64(i), c.arg(0))
	}
	return result
}

func zip(c *call) value {
	shortest := math.MaxInt
	for _, a := range c.args {
		list, ok := a.(*array)
		if !ok {
			return newArray()
		}
		shortest = min(shortest, list.len())
	}
	result := newArray()
	if len(c.args) == 0 {
		return result
	}
	for i := range shortest {
		c.room(len(c.args) + 1)
		c.grow(containerBytes)
		row := newArray()
		for _, a := range c.args {
			row.push(a.(*array).elements()[i])
		}
		result.push(row)
	}
	return result
}

func sift(c *call) value {
	o, ok := c.arg(0).(*object)
	if !ok {
		return nil
	}
	result := newObject()
	for k, v := range o.members {
		c.room(2)
		if c.truth(c.invoke(c.arg(1), v, k, o)) {
			result.set(k, v)
		}
	}
	if result.len() == 0 {
		return nil
	}
	return result
}

func each(c *call) value {
	result := newSequence()
	if o, ok := c.arg(0).(*object); ok {
		for k, v := range o.members {
			c.room(1)
			if x := c.invoke(c.arg(1), v, k, o); x != nil {
				result.push(x)
			}
		}
	}
	return result
}

func keys(c *call) value {
	result, seen := newSequence(), map[string]bool{}
	var collect func(value)
	collect = func(v value) {
		c.room(1)
		switch v := v.(type) {
		case *array:
			for _, x := range v.elements() {
				collect(x)
			}
		case *object:
			for _, k := range v.names() {
				c.room(1)
				if !seen[k] {
					seen[k] = true
					result.push(k)
				}
			}
		}
	}
	collect(c.arg(0))
	return result
}

func (e *evaluator) spread(v value) value {
	switch v := v.(type) {
	case *array:
		result := newSequence()
		for _, x := range v.elements() {
			switch y := e.spread(x).(type) {
			case nil:
			case *array:
				e.room(y.len())
				result.items = append(result.items, y.elements()...)
			default:
				e.room(1)
				result.push(y)
			}
		}
		return result
	case *object:
		result := newSequence()
		for k, x := range v.members {
			e.grow(containerBytes)
			o := newObject()
			o.set(k, x)
			result.push(o)
		}
		return result
	}
	return v
}

func merge(c *call) value {
	result := newObject()
	for _, x := range c.list(0) {
		if o, ok := x.(*object); ok {
			for k, v := range o.members {
				c.room(2)
				result.set(k, v)
			}
		}
	}
	return result
}

func reverse(c *call) value {
	items := c.list(0)
	if len(items) <= 1 {
		return c.arg(0)
	}
	c.room(len(items))
	result := &array{items: make([]value, len(items))}
	for i, x := range items {
		result.items[len(items)-1-i] = x
	}
	return result
}

func sortItems(c *call) value {
	list := asArray(c.arg(0))
	if list.len() <= 1 {
		return list
	}
	after := func(a, b value) bool { return c.truth(c.invoke(c.arg(1), a, b)) }
	if c.arg(1) == nil {
		if !allNumbers(list) && !allStrings(list) {
			throw(&Error{Code: "D3070", Index: 1})
		}
		after = func(a, b value) bool {
			c.stepOver(a, b)
			return compareValues(a, b) > 0
		}
	}
	return &array{items: c.sort(list.elements(), after)}
}

func shuffle(c *call) value {
	items := append([]value(nil), c.list(0)...)
	if len(items) <= 1 {
		return c.arg(0)
	}
	c.room(len(items))
	for i := len(items) - 1; i > 0; i-- {
		j := int(c.fraction() * float64(i+1))
		items[i], items[j] = items[j], items[i]
	}
	return newArray(items...)
}

func distinct(c *call) value {
	list, ok := c.arg(0).(*array)
	if !ok || list.len() <= 1 {
		return c.arg(0)
	}
	result, seen := &array{sequence: list.sequence}, map[value]bool{}
	for _, x := range list.elements() {
		c.room(1)
		switch x.(type) {
		case bool, float64, string, null: // these can be looked up
			c.stepOver(x)
			if seen[x] {
				continue
			}
			seen[x] = true
		default:
			known := false
			for _, y := range result.items {
				known = known || c.equal(x, y)
			}
			if known {
				continue
			}
		}
		result.push(x)
	}
	return result
}

// evaluate is $eval.
func evaluate(c *call) (result value) {
	source := c.str(0)
	input := c.input
	if c.arg(1) != nil {
		input = c.arg(1)
		if list, ok := input.(*array); ok && !list.sequence {
			input = &array{sequence: true, outer: true, items: []value{list}}
		}
	}
	calls, depth := len(c.calls), c.depth
	guard := func(code string) {
		if r := recover(); r != nil {
			if e, ok := r.(*Error); ok && e.Code != "D1012" && e.Code != "D2016" {
				e = recovered(r, source)
				c.calls, c.depth = c.calls[:calls], depth
				throw(&Error{Code: code, Value: e.Message})
			}
			panic(r)
		}
	}
	var root *node
	func() {
		defer guard("D3120")
		c.room(len(source))
		root = parse(source)
	}()
	defer guard("D3121")
	return c.eval(root, input, c.scope)
}

// random is the next of Env.Random, or of a fixed series.
func (e *evaluator) random() uint64 {
	if e.env.Random != nil {
		return e.env.Random()
	}
	e.drawn++
	return mix(e.drawn)
}

// mix is the output function of SplitMix64.
func mix(n uint64) uint64 {
	z := n * 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// fraction is a random number from 0 up to, but not, 1.
func (e *evaluator) fraction() float64 { return float64(e.random()>>11) / (1 << 53) }

func parseJSON(c *call) value {
	c.grow(len(c.str(0)))
	v, err := jsonvalue.Parse([]byte(c.str(0)))
	if err != nil {
		throw(&Error{Code: "D3120", Value: err.Error(), Message: "Unable to parse the argument of $parse() as JSON: " + err.Error()})
	}
	return fromJSON(v)
}
