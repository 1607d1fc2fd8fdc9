package conformance

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// deepJSON reads JSON texts wherever they stand.
func deepJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = deepJSON(x)
		}
	case []any:
		for i, x := range v {
			v[i] = deepJSON(x)
		}
	case string:
		if v != "" && strings.ContainsAny(v[:1], `{["`) {
			var x any
			if decode([]byte(v), &x) == nil {
				return deepJSON(x)
			}
		}
	}
	return v
}

func jsonOutputs(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if s, ok := x.(string); ok && k == "output" {
				var parsed any
				if decode([]byte(s), &parsed) == nil {
					v[k] = parsed
				}
				continue
			}
			v[k] = jsonOutputs(x)
		}
	case []any:
		for i, x := range v {
			v[i] = jsonOutputs(x)
		}
	}
	return v
}

func byText(l []any) {
	sort.SliceStable(l, func(i, j int) bool { return dump(l[i]) < dump(l[j]) })
}

// parallelUnordered gives the events of a Parallel state no ids and sorts them, as the recording did: at each further end
// what lies between the last sorted batch and that end was lost.
func parallelUnordered(events []any) []any {
	events = clone(events).([]any)
	start, inside := -1, false
	var batch []any
	for i := 0; i < len(events); i++ {
		e := events[i].(map[string]any)
		switch kind, _ := e["type"].(string); {
		case kind == "ParallelStateSucceeded" || kind == "ParallelStateAborted" || kind == "ParallelStateExited" || kind == "ParallelStateFailed":
			if start >= 0 {
				byText(batch)
				events = slices.Concat(events[:start], batch, events[i:])
			}
			inside = false
		case kind == "ParallelStateStarted":
			inside, batch, start = true, nil, i+1
		case inside:
			e["id"], e["previousEventId"] = []any{0}, 0
			batch = append(batch, e)
		}
	}
	return events
}

func sortUnnumbered(events []any) []any {
	var out, run []any
	flush := func() {
		byText(run)
		out, run = append(out, run...), nil
	}
	for _, x := range events {
		e := x.(map[string]any)
		if id := dump(e["id"]); id == "[0]" || id == "0" {
			e["id"] = 0
			run = append(run, e)
			continue
		}
		flush()
		out = append(out, e)
	}
	flush()
	return out
}

// forest is the events as trees of causes, for cases in which branches ran at the same time.
func forest(events []any) any {
	kids := map[string][]any{}
	for _, x := range events {
		p := dump(x.(map[string]any)["previousEventId"])
		kids[p] = append(kids[p], x)
	}
	var below func(id string, depth int) []any
	below = func(id string, depth int) []any {
		out := []any{}
		if depth > 400 {
			return out
		}
		for _, x := range kids[id] {
			e := x.(map[string]any)
			if dump(e["id"]) == id {
				continue
			}
			body := map[string]any{}
			for k, v := range e {
				if k != "id" && k != "previousEventId" {
					body[k] = v
				}
			}
			out = append(out, map[string]any{"event": body, "then": below(dump(e["id"]), depth+1)})
		}
		byText(out)
		return out
	}
	return below("0", 0)
}

var (
	lastPart  = regexp.MustCompile(`[.\]]`)
	ofHistory = regexp.MustCompile(`events|EventDetails`)
)

// resultSkips are the paths as they apply to {status, output, error, cause}.
func resultSkips(paths []string) []string {
	var out []string
	for _, p := range paths {
		parts := lastPart.Split(p, -1)
		last := parts[len(parts)-1]
		switch {
		case (last == "output" || last == "error" || last == "cause") && (strings.Contains(p, "execution") || p == "$.."+last):
			out = append(out, "$."+last)
		case p == "$..events" || p == "$.*":
			out = append(out, "$.output", "$.error", "$.cause")
		case !ofHistory.MatchString(p):
			out = append(out, p)
		}
	}
	return out
}

// judge compares what the endpoint gave for an execution with what AWS gave.
func (c *Case) judge(got map[string]any) Outcome {
	expect := standard(c.Expect).(map[string]any)
	kinds := map[string]bool{}
	for _, t := range c.Transformers {
		kinds[t.Kind] = true
	}
	want, have := map[string]any{}, map[string]any{}
	result, _ := got["result"].(map[string]any)
	for _, k := range []string{"status", "output", "error", "cause"} {
		if v, ok := expect[k]; ok {
			want[k] = v
		}
		v, ok := result[k]
		if _, wanted := want[k]; ok && (wanted || c.Kind != "execution" || expect["events"] != nil) {
			have[k] = v
		} else if wanted && c.Kind == "execution" && expect["events"] == nil {
			have[k] = nil
		}
	}
	paths := c.skips()
	w, h := renumber(want), renumber(have)
	if len(paths) > 0 {
		rp := resultSkips(paths)
		w, h = drop(w, rp), drop(h, rp)
	}
	w, h = deepJSON(w), deepJSON(h)
	o := Outcome{Result: equal(w, h)}
	if !o.Result {
		o.Diff = append(o.Diff, difference("result", w, h)...)
	}
	switch {
	case expect["events"] != nil:
		history, _ := got["history"].(map[string]any)
		a := asList(asObject(renumber(drop(map[string]any{"events": expect["events"]}, paths)))["events"])
		b := asList(asObject(renumber(drop(map[string]any{"events": history["events"]}, paths)))["events"])
		if kinds["json_strings"] {
			a, b = asList(jsonOutputs(a)), asList(jsonOutputs(b))
		}
		if kinds["parallel_unordered"] {
			a, b = sortUnnumbered(a), sortUnnumbered(parallelUnordered(b))
		}
		o.HasHistory, o.History = true, equal(a, b)
		if !o.History && c.Concurrent && !kinds["parallel_unordered"] {
			o.History = equal(renumber(forest(a)), renumber(forest(b)))
		}
		if !o.History {
			o.Diff = append(o.Diff, difference("events", a, b)...)
		}
	case expect["response"] != nil:
		a := renumber(drop(map[string]any{"r": expect["response"]}, paths))
		b := renumber(drop(map[string]any{"r": got["response"]}, paths))
		o.HasHistory, o.History = true, equal(a, b)
		if !o.History {
			o.Diff = append(o.Diff, difference("response", a, b)...)
		}
	}
	return o
}

func asList(v any) []any            { l, _ := v.([]any); return l }
func asObject(v any) map[string]any { m, _ := v.(map[string]any); return m }

// difference says where b differs from a, in at most a dozen lines.
func difference(path string, a, b any) []string {
	var out []string
	differ(path, a, b, &out)
	return out
}

func differ(path string, a, b any, out *[]string) {
	if len(*out) >= 12 || equal(a, b) {
		return
	}
	if x, ok := a.(map[string]any); ok {
		if y, ok := b.(map[string]any); ok {
			all := map[string]any{}
			for k := range x {
				all[k] = nil
			}
			for k := range y {
				all[k] = nil
			}
			for _, k := range sorted(all) {
				v, inA := x[k]
				w, inB := y[k]
				switch {
				case !inB:
					*out = append(*out, fmt.Sprintf("%s.%s: missing, expected %s", path, k, brief(v)))
				case !inA:
					*out = append(*out, fmt.Sprintf("%s.%s: unexpected %s", path, k, brief(w)))
				default:
					differ(path+"."+k, v, w, out)
				}
			}
			return
		}
	}
	if x, ok := a.([]any); ok {
		if y, ok := b.([]any); ok {
			if len(x) != len(y) {
				*out = append(*out, fmt.Sprintf("%s: %d items expected, %d got (%s / %s)", path, len(x), len(y), types(x), types(y)))
			}
			for i := range min(len(x), len(y)) {
				differ(fmt.Sprintf("%s[%d]", path, i), x[i], y[i], out)
			}
			return
		}
	}
	*out = append(*out, fmt.Sprintf("%s: expected %s got %s", path, brief(a), brief(b)))
}

func types(l []any) string {
	var names []string
	for _, x := range l {
		if t, ok := asObject(x)["type"].(string); ok {
			names = append(names, t)
		}
	}
	return brief(strings.Join(names, " "))
}

func brief(v any) string {
	s := plainText(v)
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}
