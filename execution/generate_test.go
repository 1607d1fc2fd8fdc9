package execution_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// TestGenerated makes state machines of all types of states in both query languages, which must be accepted, and walks
// through them at random, as TestRandomWalks does through those of the stories. Half of them are then spoilt in one place:
// they are refused with complete diagnostics, or they run, and an execution of the former may be redriven with them.
func TestGenerated(t *testing.T) {
	for seed := range uint64(500) {
		generated(t, nil, seed)
	}
}

// FuzzGenerated is TestGenerated with bytes that choose the machine, and a seed for the rest.
func FuzzGenerated(f *testing.F) {
	for seed := range uint64(20) {
		shape := make([]byte, 200)
		rand.NewChaCha8([32]byte{byte(seed)}).Read(shape)
		f.Add(shape, seed)
	}
	f.Fuzz(generated)
}

func generated(t *testing.T, shape []byte, seed uint64) {
	g := &generator{shape: shape, r: rand.New(rand.NewPCG(seed, 11))}
	g.jsonata = g.one(2)
	definition := g.block(0, g.jsonata)
	if g.jsonata {
		definition["QueryLanguage"] = "JSONata"
	}
	if g.one(8) {
		definition["TimeoutSeconds"] = g.number(1, 100)
	}
	machines := map[string]*asl.StateMachine{}
	text := encode(definition)
	m, diagnostics := asl.Parse([]byte(text), asl.ParseOptions{})
	if m == nil {
		t.Fatalf("%s\nis refused: %v", text, diagnostics)
	}
	machines[text] = m
	own := []string{text}
	if g.one(2) {
		other := encode(g.spoil(definition))
		m, diagnostics := asl.Parse([]byte(other), asl.ParseOptions{})
		for _, d := range diagnostics {
			if d.Pos.Line != 1 || d.Pos.Column < 1 || d.Pos.Column > len(other)+1 || (d.Code == asl.CodeMissingEnd) == strings.HasPrefix(d.Pointer, "/") || d.Message == "" || d.Code == "" || d.Severity == "" {
				t.Fatalf("%s\nis refused with an incomplete %+v", other, d)
			}
		}
		if m != nil {
			machines[other] = m
			own = append(own, other)
		} else if len(diagnostics) == 0 {
			t.Fatalf("%s\nis refused without a word", other)
		}
	}
	w := &walk{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 7)), rarely: true, own: own, all: own, s: &execution.Snapshot{},
		timers: map[string]time.Time{}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	limits := execution.Limits{Events: 120, ExpressEvents: 120, InlineConcurrency: g.number(1, 4), Data: asl.DefaultLimits}
	if g.one(4) {
		limits.Duration = time.Duration(g.number(1, 200)) * time.Second
	}
	if g.one(4) {
		limits.Data.Payload, limits.Data.Variable, limits.Data.Variables = g.number(20, 400), g.number(20, 400), g.number(20, 400)
	}
	w.core = execution.Core{Limits: limits, Machine: func(digest string) *asl.StateMachine { return machines[digest] },
		Token: func(_ string, id execution.TaskID) string { return fmt.Sprint(id) }}
	first := own[g.number(0, len(own)-1)]
	w.do(execution.Input{Start: &execution.Start{Input: jsonvalue.MustParse(encode(g.value(3))), Identity: execution.Identity{
		ARN: "arn:aws:states:r:1:execution:m:x", MachineARN: "arn:aws:states:r:1:stateMachine:m", MachineName: "m", Digest: first, Region: "r", Express: g.one(6)}}})
	for range 20 {
		w.step(true)
	}
	for i := 0; !w.s.Closed(); i++ {
		if i > 2000 {
			t.Fatalf("%s\nnever ends: %+v", first, execution.Expect(w.s))
		}
		w.step(false)
	}
	if len(w.timers) > 0 {
		t.Fatalf("%s\nclosed with timers %v", first, w.timers)
	}
	b, err := json.Marshal(w.s)
	again := &execution.Snapshot{}
	if err != nil || json.Unmarshal(b, again) != nil || execution.Digest(again) != execution.Digest(w.s) {
		t.Fatalf("%s\nis another state after it was written and read (%v)", b, err)
	}
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // it is made of maps, slices, strings and numbers
	}
	return string(b)
}

type object = map[string]any

// generator makes valid definitions.
type generator struct {
	shape   []byte // what is chosen, one byte each
	r       *rand.Rand
	jsonata bool // the machine
	states  int
	labels  int
}

func (g *generator) number(low, high int) int {
	if len(g.shape) == 0 {
		return low + g.r.IntN(high-low+1)
	}
	b := g.shape[0]
	g.shape = g.shape[1:]
	return low + int(b)%(high-low+1)
}

// one is true once in n times.
func (g *generator) one(n int) bool { return g.number(1, n) == n }

func (g *generator) of(choices ...string) string { return choices[g.number(0, len(choices)-1)] }

// block is StartAt and States: a chain whose states may also go elsewhere in it.
func (g *generator) block(depth int, jsonata bool) object {
	names := make([]string, g.number(1, 4))
	for i := range names {
		names[i] = fmt.Sprintf("S%d", g.states)
		g.states++
	}
	states := object{}
	for i, name := range names {
		s := object{}
		states[name] = s
		language := jsonata
		if !g.jsonata && g.one(4) {
			language = !jsonata
			s["QueryLanguage"] = map[bool]string{true: "JSONata", false: "JSONPath"}[language]
		}
		next := ""
		if i+1 < len(names) {
			next = names[i+1]
		}
		(&state{g, s, language, names, next, depth}).fill()
	}
	return object{"StartAt": names[0], "States": states}
}

// state is one state in the making.
type state struct {
	*generator
	s       object
	jsonata bool
	block   []string
	next    string // "": it ends the block
	depth   int
}

func (s *state) fill() {
	kinds := []string{"Pass", "Task", "Task", "Wait"}
	if s.depth < 3 && s.states < 25 {
		kinds = append(kinds, "Parallel", "Map", "Map")
	}
	if s.next != "" {
		kinds = append(kinds, "Choice", "Choice")
	} else {
		kinds = append(kinds, "Succeed", "Fail")
	}
	kind := s.of(kinds...)
	s.s["Type"] = kind
	if kind != "Choice" && kind != "Succeed" && kind != "Fail" {
		if s.next == "" {
			s.s["End"] = true
		} else {
			s.s["Next"] = s.next
		}
	}
	if s.jsonata {
		s.fillJSONata(kind)
	} else {
		s.fillJSONPath(kind)
	}
	if s.one(3) && kind != "Succeed" && kind != "Fail" {
		s.s["Assign"] = s.assign(s.result(kind))
	}
	switch kind {
	case "Task":
		s.s["Resource"] = s.of("arn:aws:states:::lambda:invoke", "arn:aws:states:::states:startExecution.sync", "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
			"arn:aws:lambda:r:1:function:f", "arn:aws:states:r:1:activity:a", "arn:aws:states:::aws-sdk:s3:getObject")
	case "Parallel":
		var branches []any
		for range s.number(1, 3) {
			branches = append(branches, s.generator.block(s.depth+1, s.generator.jsonata))
		}
		s.s["Branches"] = branches
	case "Map":
		b := s.generator.block(s.depth+1, s.generator.jsonata)
		if s.one(3) {
			b["ProcessorConfig"] = object{"Mode": "DISTRIBUTED", "ExecutionType": s.of("STANDARD", "EXPRESS")}
			if s.one(2) {
				s.labels++
				s.s["Label"] = fmt.Sprintf("L%d", s.labels)
			}
		}
		s.s["ItemProcessor"] = b
	}
	if kind == "Task" || kind == "Parallel" || kind == "Map" {
		s.work()
	}
}

// result is the member that $states has besides input and context, "" for none.
func (s *state) result(kind string) string {
	if kind == "Task" || kind == "Parallel" || kind == "Map" {
		return "result"
	}
	return ""
}

func (s *state) fillJSONata(kind string) {
	if s.one(3) && kind != "Fail" {
		s.s["Output"] = s.template(s.result(kind))
	}
	switch kind {
	case "Task":
		if s.one(2) {
			s.s["Arguments"] = s.template("")
		}
		if s.one(3) {
			s.s["TimeoutSeconds"] = s.either(s.number(20, 40), s.query(""))
		}
		if s.one(3) {
			s.s["HeartbeatSeconds"] = s.either(s.number(1, 10), s.query(""))
		}
		if s.one(8) {
			s.s["Credentials"] = object{"RoleArn": s.query("")}
		}
	case "Parallel":
		if s.one(3) {
			s.s["Arguments"] = s.template("")
		}
	case "Map":
		if s.one(2) {
			s.s["Items"] = s.of("{% [1..3] %}", "{% $states.input.a %}", s.query(""))
		}
		if s.one(3) {
			s.s["ItemSelector"] = s.either(s.template(""), object{"v": "{% $states.context.Map.Item.Value %}"})
		}
		if s.one(3) {
			s.s["MaxConcurrency"] = s.either(s.number(0, 3), s.query(""))
		}
	case "Wait":
		if s.one(2) {
			s.s["Seconds"] = s.either(s.number(0, 100), s.query(""))
		} else {
			s.s["Timestamp"] = s.of("2026-01-01T00:00:30Z", "{% $now() %}", s.query(""))
		}
	case "Fail":
		if s.one(2) {
			s.s["Error"] = s.of("Oops", "States.Timeout", s.query(""))
		}
		if s.one(2) {
			s.s["Cause"] = s.of("why", s.query(""))
		}
	case "Choice":
		var rules []any
		for range s.number(1, 3) {
			r := object{"Condition": s.either(s.query(""), s.of("{% true %}", "{% false %}", "{% $states.input.a > 1 %}", "{% $exists($states.input.b) %}")), "Next": s.of(s.block...)}
			if s.one(3) {
				r["Output"] = s.template("")
			}
			if s.one(3) {
				r["Assign"] = s.assign("")
			}
			rules = append(rules, r)
		}
		s.choices(rules)
	}
}

func (s *state) fillJSONPath(kind string) {
	if kind != "Fail" {
		for _, field := range []string{"InputPath", "OutputPath"} {
			if s.one(5) {
				s.s[field] = s.either(s.path(), nil)
			}
		}
	}
	if kind == "Pass" || kind == "Task" || kind == "Parallel" || kind == "Map" {
		if s.one(3) {
			s.s["ResultPath"] = s.either(s.of("$", "$.r", "$.a", "$.a[0]", "$.b.c", "$['x y']"), nil)
		}
	}
	if kind == "Task" || kind == "Parallel" || kind == "Map" {
		if s.one(4) {
			s.s["ResultSelector"] = s.template("")
		}
	}
	switch kind {
	case "Pass":
		if s.one(2) {
			s.s["Parameters"] = s.template("")
		} else if s.one(2) {
			s.s["Result"] = s.value(2)
		}
	case "Task":
		if s.one(2) {
			s.s["Parameters"] = s.template("")
		}
		if s.one(3) {
			s.s[s.of("TimeoutSecondsPath")] = s.path()
		} else if s.one(2) {
			s.s["TimeoutSeconds"] = s.number(20, 40)
		}
		if s.one(3) {
			s.s["HeartbeatSeconds"] = s.number(1, 10)
		} else if s.one(4) {
			s.s["HeartbeatSecondsPath"] = s.path()
		}
		if s.one(8) {
			s.s["Credentials"] = object{"RoleArn.$": s.path()}
		}
	case "Parallel":
		if s.one(3) {
			s.s["Parameters"] = s.template("")
		}
	case "Map":
		if s.one(2) {
			s.s["ItemsPath"] = s.of("$.a", "$", s.path())
		}
		if s.one(3) {
			s.s[s.of("ItemSelector", "Parameters")] = s.either(s.template(""), object{"v.$": "$$.Map.Item.Value"})
		}
		if s.one(4) {
			s.s["MaxConcurrencyPath"] = s.path()
		} else if s.one(2) {
			s.s["MaxConcurrency"] = s.number(0, 3)
		}
	case "Wait":
		switch s.number(0, 3) {
		case 0:
			s.s["Seconds"] = s.number(0, 100)
		case 1:
			s.s["SecondsPath"] = s.path()
		case 2:
			s.s["TimestampPath"] = s.path()
		case 3:
			s.s["Timestamp"] = s.of("2026-01-01T00:00:30Z", "2000-01-01T00:00:00+01:00")
		}
	case "Fail":
		if s.one(2) {
			s.s["ErrorPath"] = s.of(s.path(), "States.UUID()", "States.Format('{}', $.a)")
		} else if s.one(2) {
			s.s["Error"] = s.of("Oops", "States.Timeout", "")
		}
		if s.one(2) {
			s.s["CausePath"] = s.of(s.path(), "States.JsonToString($)")
		}
	case "Choice":
		var rules []any
		for range s.number(1, 3) {
			r := s.rule(2)
			r["Next"] = s.of(s.block...)
			if s.one(3) {
				r["Assign"] = s.assign("")
			}
			rules = append(rules, r)
		}
		s.choices(rules)
	}
}

// choices makes a Choice that can reach the next state.
func (s *state) choices(rules []any) {
	if s.one(4) {
		rules[s.number(0, len(rules)-1)].(object)["Next"] = s.next
	} else {
		s.s["Default"] = s.next
	}
	s.s["Choices"] = rules
}

func (s *state) rule(depth int) object {
	if depth > 0 && s.one(3) {
		if s.one(3) {
			return object{"Not": s.rule(depth - 1)}
		}
		var list []any
		for range s.number(1, 3) {
			list = append(list, s.rule(depth-1))
		}
		return object{s.of("And", "Or"): list}
	}
	r := object{"Variable": s.path()}
	switch s.number(0, 5) {
	case 0:
		r[s.of("IsPresent", "IsNull", "IsNumeric", "IsString", "IsBoolean", "IsTimestamp")] = s.one(2)
	case 1:
		r[s.of("NumericEquals", "NumericLessThan", "NumericGreaterThanEquals")] = s.number(-1, 3)
	case 2:
		r[s.of("StringEquals", "StringLessThan", "StringMatches")] = s.of("", "a", "*", `a\*`, "é")
	case 3:
		r["BooleanEquals"] = s.one(2)
	case 4:
		r[s.of("TimestampEquals", "TimestampLessThan")] = "2026-01-01T00:00:00Z"
	case 5:
		r[s.of("StringEqualsPath", "NumericLessThanEqualsPath", "BooleanEqualsPath", "TimestampGreaterThanPath")] = s.path()
	}
	return r
}

// work is Retry and Catch.
func (s *state) work() {
	names := func(last bool) []string {
		if last && s.one(2) {
			return []string{"States.ALL"}
		}
		return []string{s.of("Oops", "States.Timeout", "States.TaskFailed", "States.HeartbeatTimeout", "States.QueryEvaluationError", "States.DataLimitExceeded", "States.Runtime")}
	}
	if s.one(2) {
		var list []any
		n := s.number(1, 2)
		for i := range n {
			r := object{"ErrorEquals": names(i == n-1)}
			if s.one(2) {
				r["IntervalSeconds"], r["MaxAttempts"] = s.number(1, 3), s.number(0, 2)
			}
			if s.one(4) {
				r["BackoffRate"], r["MaxDelaySeconds"], r["JitterStrategy"] = 1.5, s.number(4, 9), s.of("FULL", "NONE")
			}
			list = append(list, r)
		}
		s.s["Retry"] = list
	}
	if s.one(2) {
		var list []any
		n := s.number(1, 2)
		for i := range n {
			c := object{"ErrorEquals": names(i == n-1), "Next": s.of(s.block...)}
			if s.one(3) {
				c["Assign"] = s.assign("errorOutput")
			}
			if s.one(2) {
				if s.jsonata {
					c["Output"] = s.template("errorOutput")
				} else {
					c["ResultPath"] = s.either(s.of("$", "$.e", "$.a[0]"), nil)
				}
			}
			list = append(list, c)
		}
		s.s["Catch"] = list
	}
}

// assign gives variables that no block around assigns.
func (s *state) assign(has string) object {
	out := object{}
	for i := range s.number(1, 2) {
		name := fmt.Sprintf("v%d%d", s.depth, i)
		switch {
		case s.jsonata:
			out[name] = s.either(s.query(has), s.value(1))
		case s.one(2):
			out[name+".$"] = s.expression()
		default:
			out[name] = s.value(1)
		}
	}
	return out
}

func (s *state) template(has string) any {
	if s.jsonata {
		if s.one(2) {
			return s.query(has)
		}
		return object{"x": s.query(has), "y": []any{s.value(1), s.query(has)}}
	}
	out := object{"x.$": s.expression(), "y": s.value(1)}
	if s.one(2) {
		out["z"] = []any{object{"w.$": s.path()}, 1}
	}
	return out
}

func (s *state) either(a, b any) any {
	if s.one(3) {
		return b
	}
	return a
}

func (s *state) path() string {
	return s.of("$", "$.a", "$.b", "$.b.c", "$.a[0]", "$.a[-1]", "$.a[*]", "$.a[0:2]", "$.a[0,1]", "$..x", "$['x y']", "$.b['a','b']", "$.a[?(@ > 1)]", "$.a[?(@.x)]", "$.a.length()",
		"$$", "$$.State.Name", "$$.State.EnteredTime", "$$.Execution.Input", "$$.Task.Token", "$$.Map.Item.Value", "$$.Map.Item.Index", "$v00", "$v01.x", "$v10", "$v20[0]", "$.r")
}

func (s *state) expression() string {
	if s.one(2) {
		return s.path()
	}
	p, q := s.path(), s.path()
	return s.of("States.Array("+p+","+q+")", "States.ArrayPartition("+p+",2)", "States.ArrayContains("+p+","+q+")", "States.ArrayRange(0,"+p+",1)", "States.ArrayGetItem("+p+",0)",
		"States.ArrayLength("+p+")", "States.ArrayUnique("+p+")", "States.Base64Encode("+p+")", "States.Base64Decode("+p+")", "States.Hash("+p+",'MD5')", "States.JsonMerge("+p+","+q+",false)",
		"States.MathRandom(0,9)", "States.MathAdd("+p+",1)", "States.StringSplit("+p+",',')", "States.UUID()", "States.Format('{}-{}',"+p+","+q+")", "States.StringToJson("+p+")",
		"States.JsonToString("+p+")", "States.StringToJson(States.JsonToString("+p+"))")
}

// query is a JSONata expression; has is what $states offers there.
func (s *state) query(has string) string {
	choices := []string{"$states.input", "$states.input.a", "$states.input.b.c", "$states.input.a[0]", "$states.input.a[$ > 1]", "$states.context.State.Name", "$states.context.Execution", "$states.context.Task.Token", "$states",
		"$sum($states.input.a)", "$count($states.input.a)", "$string($states.input)", "$parse($string($states.input))", "[1..3]", "1", "1/3", "1/0", "'text'", "true", "null", "$nothing", "$error('no')", "$uuid()", "$random()",
		"$now()", "$v00", "$v01.x", "$v10", "$partition([1..5], 2)", "$range(0, 4, 2)", "$hash('a', 'MD5')", "$map($states.input.a, function($x){$x})", "{'a': $states.input.a, 'b': {'c': 1}}", "$merge([$states.input, {'r': 1}])",
		"$states.input ~> |$|{'t': 1}|", "$states.input.*", "$states.input.**", "($f := function($n){$n = 0 ? 0 : $f($n - 1)}; $f(50))", "$type($states.input)"}
	if has != "" {
		choices = append(choices, "$states."+has, "$states."+has, "$states."+has+".Error", "[$states."+has+"]")
	}
	return "{% " + s.of(choices...) + " %}"
}

// value is any JSON.
func (g *generator) value(depth int) any {
	most := 6
	if depth > 0 {
		most = 10
	}
	switch g.number(0, most) {
	case 0:
		return nil
	case 1:
		return g.one(2)
	case 2, 3:
		return g.number(-1, 40)
	case 4:
		return g.of("", "a", "a,b", "é😂", `{"k":[1]}`, "2026-01-01T00:00:01Z", "arn:aws:iam::1:role/r", "YWJj", "$.a", "5")
	case 5:
		return 1.5
	case 6:
		return json.Number("1e30")
	case 7, 8:
		list := []any{}
		for range g.number(0, 4) {
			list = append(list, g.value(depth-1))
		}
		return list
	}
	o := object{}
	for _, name := range []string{"a", "b", "c", "x", "x y"} {
		if g.one(2) {
			o[name] = g.value(depth - 1)
		}
	}
	return o
}

// spoil is a copy in which one member is another.
func (g *generator) spoil(definition object) object {
	var copied object
	if err := json.Unmarshal([]byte(encode(definition)), &copied); err != nil {
		panic(err)
	}
	var objects []object
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case object:
			objects = append(objects, v)
			for _, name := range sorted(v) {
				walk(v[name])
			}
		case []any:
			for _, m := range v {
				walk(m)
			}
		}
	}
	walk(copied)
	o := objects[g.number(0, len(objects)-1)]
	names := append(sorted(o), "Next", "End", "Type", "QueryLanguage", "Retry", "Assign", "Colour")
	name := g.of(names...)
	switch g.number(0, 5) {
	case 0:
		delete(o, name)
	case 1:
		o[name] = g.of("S0", "S1", "S2", "Pass", "Choice", "JSONata", "JSONPath", "{% $states.result %}", "{% %}", "{%", "$.a[", "States.Nope()", "States.ALL", "$$.x", "\x00")
	default:
		o[name] = g.value(2)
	}
	return copied
}

func sorted(o object) []string { return slices.Sorted(maps.Keys(o)) }

// TestFullHistoryWaitsForNothing: however few events a history may have, the execution that it ends leaves no timer behind.
func TestFullHistoryWaitsForNothing(t *testing.T) {
	m, d := asl.Parse([]byte(`{"StartAt":"T","States":{"T":{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","TimeoutSeconds":9,"HeartbeatSeconds":3,"End":true}}}`), asl.ParseOptions{})
	if m == nil {
		t.Fatal(d)
	}
	closed := 0
	for events := range int64(8) {
		core := execution.Core{Limits: execution.Limits{Events: events + 1, ExpressEvents: events + 1, Data: asl.DefaultLimits}, Machine: func(string) *asl.StateMachine { return m }}
		s := &execution.Snapshot{}
		d, err := core.Decide(s, execution.Input{Start: &execution.Start{Input: jsonvalue.Int(1)}}, execution.Env{Now: time.Unix(1e9, 0)})
		if err != nil {
			t.Fatal(err)
		}
		if s.Closed() {
			closed++
			if len(d.SetTimers) > 0 || len(d.Commands) > 0 {
				t.Errorf("with %d events: %+v, %+v", events+1, d.SetTimers, d.Commands)
			}
		}
	}
	if closed == 0 {
		t.Error("none was closed")
	}
}

// TestEmptyMapIsWritten: a Map over no items stays a Map when its state is written and read, not a Parallel.
func TestEmptyMapIsWritten(t *testing.T) {
	b, err := json.Marshal(&execution.Join{Items: []jsonvalue.Value{}, Results: []jsonvalue.Value{}})
	var again execution.Join
	if err != nil || json.Unmarshal(b, &again) != nil || again.Items == nil {
		t.Errorf("%s is read as %+v (%v)", b, again, err)
	}
}
