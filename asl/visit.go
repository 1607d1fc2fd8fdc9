package asl

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/asl/intrinsic"
	"github.com/mayfly-run/mayfly/asl/jsonata"
	"github.com/mayfly-run/mayfly/asl/jsonpath"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Limits are AWS's quotas on data. The zero value of a field means no limit.
type Limits struct {
	Payload         int // bytes of a state's input, arguments, result, output (262144)
	Variable        int // bytes of one variable, and of all values of one Assign (262144)
	Variables       int // bytes of all variables of an execution (10 MiB); who keeps them checks it
	IntrinsicString int // bytes that hashes and Base64 take (10000)

	Expression jsonata.Limits // of one JSONata expression; its zero fields have the defaults of that package
}

// Usage is the most that evaluations have taken of what Limits bound. A history does not show all of it.
type Usage struct {
	Payload, Variable int // bytes
	Intrinsic         intrinsic.Usage
	Expression        jsonata.Usage
}

// DefaultLimits are AWS's. An expression may be 100 levels deep: as deep as AWS takes sums, brackets, parentheses, chains
// of ~> and recursion; and it takes [1..873782], and no number more.
var DefaultLimits = Limits{Payload: 262144, Variable: 262144, Variables: 10 << 20, IntrinsicString: 10000, Expression: jsonata.Limits{Depth: 100, Value: 6_990_256}}

// Step names a value that a visit makes on its way from input to output, as TestState's answers do. What a query language
// or a state does not have, nobody hears of.
type Step string

const (
	AfterInputPath      Step = "afterInputPath"
	AfterParameters     Step = "afterParameters"
	AfterArguments      Step = "afterArguments"    // JSONata's AfterParameters
	AfterItemsPath      Step = "afterItemsPath"    // also where ItemsPath is not given, as with AfterInputPath
	AfterItemSelector   Step = "afterItemSelector" // once for each item
	StepResult          Step = "result"
	AfterResultSelector Step = "afterResultSelector"
	AfterResultPath     Step = "afterResultPath"
)

// Visit is one visit of a state in either query language: what its expressions see. Make one per state entered, and change Context or Random
// as the visit goes on (a retry counts up, a task gets its token).
type Visit struct {
	State   State
	Entered int64                                     // number of the StateEntered event, for AWS's sentences; 0: there is none, and they name no place
	Input   jsonvalue.Value                           // as it came in
	Context jsonvalue.Value                           // the context object, $$
	Vars    func(name string) (jsonvalue.Value, bool) // variables at entry, read outward; nil: none
	Now     time.Time                                 // for $now and $millis
	Random  func() uint64                             // for States.UUID, States.MathRandom, $uuid and $random; nil: the first two fail
	Limits  Limits
	Usage   *Usage                      // nil: is not measured
	See     func(Step, jsonvalue.Value) // hears of each value between input and output as it is made; nil: nobody

	has  string // JSONata: the member that $states has besides input and context
	made int    // bytes that the expressions of the present template have given
	used int64  // steps that the expressions of the visit have taken
}

// Exit is what a state leaves behind.
type Exit struct {
	Output jsonvalue.Value
	Assign []Assignment // in the order of the definition
	Next   string       // "": the block ends
}

// Assignment is a variable with its new value, which is seen from the next state on.
type Assignment struct {
	Name  string          `json:"name"`
	Value jsonvalue.Value `json:"value"`
}

// Timeouts of a task; zero: none given.
type Timeouts struct{ Timeout, Heartbeat time.Duration }

// Call is what a Task asks for.
type Call struct {
	Arguments jsonvalue.Value
	RoleARN   string // "": the machine's
	Timeouts
}

var emptyObject = jsonvalue.Object()

// EffectiveInput applies InputPath. It comes first for every state but Fail. In JSONata it is the input.
func (v *Visit) EffectiveInput() (jsonvalue.Value, *Failure) {
	effective, f := v.pathField(v.State.Base().InputPath, v.Input)
	if f == nil && !v.jsonata() {
		v.see(AfterInputPath, effective)
	}
	return effective, f
}

func (v *Visit) see(step Step, value jsonvalue.Value) {
	if v.See != nil {
		v.See(step, value)
	}
}

func (v *Visit) pathField(f PathField, input jsonvalue.Value) (jsonvalue.Value, *Failure) {
	switch {
	case f.Null:
		return emptyObject, nil
	case f.Path == nil:
		return input, nil
	}
	return v.plainPath(f.Path, input)
}

// plainPath evaluates the path of a field that AWS does not name in its sentence.
func (v *Visit) plainPath(p *jsonpath.Path, input jsonvalue.Value) (jsonvalue.Value, *Failure) {
	value, err := v.path(p, input)
	if err != nil {
		return value, v.runtime("Invalid path '%s' : %s", p, err)
	}
	return value, nil
}

func (v *Visit) parameters(t *Template, effective jsonvalue.Value) (jsonvalue.Value, *Failure) {
	if t == nil {
		return effective, nil
	}
	args, f := t.eval(v, effective)
	if f == nil && v.tooLarge(args) || f != nil && f.Error == ErrDataLimitExceeded {
		f = &Failure{Error: ErrDataLimitExceeded, Cause: "The state/task '" + v.State.Base().Name + "' provided parameters with a size exceeding the maximum number of bytes service limit."}
	}
	return args, f
}

// tooLarge reports whether a payload is larger than one may be.
func (v *Visit) tooLarge(x jsonvalue.Value) bool {
	if v.Usage != nil {
		v.Usage.Payload = max(v.Usage.Payload, x.Size())
	}
	return v.Limits.Payload > 0 && x.Size() > v.Limits.Payload
}

// Call does the data steps of a Task before its work.
func (v *Visit) Call() (c Call, f *Failure) {
	t := v.State.(*TaskState)
	effective, f := v.EffectiveInput()
	if f == nil {
		c.Timeouts, f = v.timeouts(t, effective)
	}
	if f == nil {
		c.Arguments, f = v.arguments(&t.Work, effective)
	}
	if f == nil {
		c.RoleARN, f = v.role(t, effective)
	}
	return c, f
}

// BranchInput is the input of each branch of a Parallel.
func (v *Visit) BranchInput() (jsonvalue.Value, *Failure) {
	effective, f := v.EffectiveInput()
	if f != nil {
		return effective, f
	}
	return v.arguments(&v.State.(*ParallelState).Work, effective)
}

func (v *Visit) arguments(w *Work, effective jsonvalue.Value) (jsonvalue.Value, *Failure) {
	args, f := v.parameters(w.Parameters, effective)
	switch {
	case f != nil:
	case !v.jsonata():
		v.see(AfterParameters, args)
	case w.Parameters != nil:
		v.see(AfterArguments, args)
	}
	return args, f
}

func (v *Visit) role(t *TaskState, effective jsonvalue.Value) (string, *Failure) {
	if t.Credentials == nil {
		return "", nil
	}
	credentials, f := t.Credentials.eval(v, effective)
	role := credentials.Member("RoleArn")
	if f == nil && v.jsonata() && role.Kind() != jsonvalue.KindString {
		f = v.evaluation("Credentials/RoleArn", "The Credentials/RoleArn field must be a string, but was '%s' for value: %s", role.Kind(), role)
	}
	return role.Str(), f
}

// timeouts come from constants, paths or expressions.
func (v *Visit) timeouts(t *TaskState, effective jsonvalue.Value) (Timeouts, *Failure) {
	timeout, f := v.seconds("TimeoutSeconds", t.TimeoutSeconds, t.TimeoutSecondsPath, t.Timeout, effective)
	if f != nil {
		return Timeouts{}, f
	}
	heartbeat, f := v.seconds("HeartbeatSeconds", t.HeartbeatSeconds, t.HeartbeatSecondsPath, t.Heartbeat, effective)
	return Timeouts{time.Duration(timeout) * time.Second, time.Duration(heartbeat) * time.Second}, f
}

// maxSeconds is the longest time-out that AWS knows.
const maxSeconds = 99_999_999

func (v *Visit) seconds(field string, constant int64, p *jsonpath.Path, t *Template, effective jsonvalue.Value) (int64, *Failure) {
	switch {
	case t != nil:
		return v.whole(field, t, 0, maxSeconds)
	case p == nil:
		return constant, nil
	}
	value, f := v.plainPath(p, effective)
	if f != nil {
		return 0, f
	}
	n, ok := number(value).Int()
	if !ok || n <= 0 || n > maxSeconds {
		return 0, v.runtime("The %sPath parameter does not reference a positive integer: %s == %s", field, p, plain(value))
	}
	return n, nil
}

// number is what a path that must give a number has found. AWS: a text that is a number counts as one (recorded: assign
// MAP_STATE_REFERENCE_IN_TOLERATED_FAILURE_PATH).
func number(v jsonvalue.Value) jsonvalue.Value {
	if v.Kind() == jsonvalue.KindString {
		v, _ = jsonvalue.Number(v.Str())
	}
	return v
}

// plain is a value in AWS's sentences: strings stand without quotes.
func plain(v jsonvalue.Value) string {
	if v.Kind() == jsonvalue.KindString {
		return v.Str()
	}
	return v.String()
}

// Items are the items of an inline Map.
func (v *Visit) Items(effective jsonvalue.Value) ([]jsonvalue.Value, *Failure) {
	m := v.State.(*MapState)
	items, path := effective, "$"
	if v.jsonata() {
		var f *Failure
		if m.Items != nil {
			items, f = v.typed(m.Items, jsonvalue.KindArray)
		} else if items.Kind() != jsonvalue.KindArray {
			f = v.evaluation("", "Map state input must be an array but was: %s", items)
		}
		if f != nil {
			return nil, f
		}
	} else if m.ItemsPath != nil {
		path = m.ItemsPath.String()
		if strings.HasPrefix(path, "$$") { // AWS names the path within the context object (recorded: test_state_map_context_object)
			path = path[1:]
		}
		var f *Failure
		if items, f = v.plainPath(m.ItemsPath, effective); f != nil {
			return nil, f
		}
	}
	if items.Kind() != jsonvalue.KindArray {
		return nil, v.runtime("Reference path \"%s\" must point to array.", path)
	}
	if !v.jsonata() {
		v.see(AfterItemsPath, items)
	}
	list := make([]jsonvalue.Value, 0, items.Len())
	for item := range items.Elements() {
		list = append(list, item)
	}
	return list, nil
}

const maxConcurrency = 1<<31 - 1

// MaxConcurrency is that of a Map, from a constant, a path or an expression; 0: not limited.
func (v *Visit) MaxConcurrency(effective jsonvalue.Value) (int64, *Failure) {
	m := v.State.(*MapState)
	switch {
	case m.Concurrency != nil:
		return v.whole("MaxConcurrency", m.Concurrency, 0, maxConcurrency)
	case m.MaxConcurrencyPath == nil:
		return m.MaxConcurrency, nil
	}
	value, f := v.plainPath(m.MaxConcurrencyPath, effective)
	if f != nil {
		return 0, f
	}
	n, ok := number(value).Int()
	if !ok {
		return 0, v.runtime("The MaxConcurrencyPath field refers to value %s which is not a valid integer: %s", value, m.MaxConcurrencyPath)
	}
	if n < 0 {
		return 0, v.runtime("The MaxConcurrencyPath field refers to value %s which is a negative integer: %s", value, m.MaxConcurrencyPath)
	}
	return n, nil
}

// WaitUntil is when a Wait that was entered at this time ends; a time in the past ends it at once.
func (v *Visit) WaitUntil(entered time.Time) (time.Time, *Failure) {
	w := v.State.(*WaitState)
	effective, f := v.EffectiveInput()
	if f != nil {
		return time.Time{}, f
	}
	switch {
	case w.SecondsQuery != nil:
		n, f := v.whole("Seconds", w.SecondsQuery, 0, maxSeconds)
		return entered.Add(time.Duration(n) * time.Second), f
	case w.TimestampQuery != nil:
		value, f := v.typed(w.TimestampQuery, jsonvalue.KindString)
		if f != nil {
			return time.Time{}, f
		}
		until, ok := parseTimestamp(value.Str())
		switch {
		case !ok:
			return until, v.evaluation("Timestamp", "The Timestamp field cannot be parsed as an ISO-8601 extended offset date-time format string: %s", value.Str())
		case until.Sub(entered) > maxSeconds*time.Second:
			return until, v.evaluation("Timestamp", "Wait state delay is too long.")
		}
		return until, nil
	case w.Seconds != nil:
		return entered.Add(time.Duration(*w.Seconds) * time.Second), nil
	case w.Timestamp != nil:
		return *w.Timestamp, nil
	case w.SecondsPath != nil:
		value, err := v.path(w.SecondsPath, effective)
		if err != nil || value.Kind() == jsonvalue.KindNull {
			return time.Time{}, v.runtime("The SecondsPath parameter does not reference an input value: %s", w.SecondsPath)
		}
		n, err := strconv.ParseInt(plain(value), 10, 64)
		switch {
		case err != nil:
			return time.Time{}, v.runtime("The SecondsPath parameter cannot be parsed as a long value: %s == %s", w.SecondsPath, plain(value))
		case n < 0:
			return time.Time{}, v.runtime("The SecondsPath parameter references a negative value: %s == %d", w.SecondsPath, n)
		case n > maxSeconds:
			return time.Time{}, v.runtime("Wait state delay is too long.")
		}
		return entered.Add(time.Duration(n) * time.Second), nil
	}
	value, err := v.path(w.TimestampPath, effective)
	if err != nil || value.Kind() == jsonvalue.KindNull {
		return time.Time{}, v.runtime("The TimestampPath parameter does not reference an input value: %s", w.TimestampPath)
	}
	until, ok := parseTimestamp(value.Str())
	if !ok {
		return time.Time{}, v.runtime("The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format string: %s == %s", w.TimestampPath, plain(value))
	}
	if until.Sub(entered) > maxSeconds*time.Second {
		return time.Time{}, v.runtime("Wait state delay is too long.")
	}
	return until, nil
}

// parseTimestamp reads an ISO-8601 extended offset date-time: T and an offset are required, seconds are not. There are two
// digits of the hour and nine decimals at most, which time.Parse does not mind.
func parseTimestamp(s string) (time.Time, bool) {
	if _, decimals, _ := strings.Cut(s, "."); len(s) < 14 || s[13] != ':' || strings.IndexFunc(decimals, notDigit) > 9 {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil && !strings.Contains(s, ",") {
			return t, true
		}
	}
	return time.Time{}, false
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

// Leave does all data steps of a Pass, Choice or Succeed, and those of a Wait after its end.
func (v *Visit) Leave() (Exit, *Failure) {
	c := v.State.Base()
	if v.jsonata() {
		if s, ok := v.State.(*ChoiceState); ok {
			return v.decide(s)
		}
		return v.put(c.Output, c.Assign, v.Input, c.Next)
	}
	effective, f := v.EffectiveInput()
	if f != nil {
		return Exit{}, f
	}
	switch s := v.State.(type) {
	case *PassState:
		result, f := v.parameters(s.Parameters, effective)
		if f != nil {
			return Exit{}, f
		}
		if s.Result.IsZero() {
			v.see(AfterParameters, result)
		} else {
			result = s.Result
			v.see(StepResult, result)
		}
		return v.exit(result, result, &s.ResultPath, c.Assign, c.Next)
	case *ChoiceState:
		next, assign, f := v.choose(s, effective)
		if f != nil {
			return Exit{}, f
		}
		return v.exit(effective, effective, nil, assign, next)
	case *WaitState, *SucceedState:
		return v.exit(effective, effective, nil, c.Assign, c.Next)
	}
	panic("asl: Leave of a " + c.Type + " state")
}

// exit takes a result through Assign, ResultPath (nil: the state has none) and OutputPath. Assign sees the raw result, not
// the selected one.
func (v *Visit) exit(raw, selected jsonvalue.Value, at *ResultPath, assign *Template, next string) (Exit, *Failure) {
	e := Exit{Output: selected, Next: next}
	var f *Failure
	if at != nil {
		v.see(AfterResultSelector, selected)
	}
	if assign != nil {
		if e.Assign, f = v.assign(assign, raw); f != nil {
			return Exit{}, f
		}
	}
	if at != nil {
		if e.Output, f = v.place(selected, at); f != nil {
			return Exit{}, f
		}
		v.see(AfterResultPath, e.Output)
	}
	if e.Output, f = v.pathField(v.State.Base().OutputPath, e.Output); f != nil {
		return Exit{}, f
	}
	return e, v.checkOutput(e.Output)
}

func (v *Visit) checkOutput(output jsonvalue.Value) *Failure {
	if v.tooLarge(output) {
		return v.tooMuch()
	}
	return nil
}

func (v *Visit) tooMuch() *Failure {
	return &Failure{Error: ErrDataLimitExceeded, Cause: "The state/task '" + v.State.Base().Name + "' returned a result with a size exceeding the maximum number of bytes service limit."}
}

// place puts a result into the state's input.
func (v *Visit) place(result jsonvalue.Value, at *ResultPath) (jsonvalue.Value, *Failure) {
	switch {
	case at.Null:
		return v.Input, nil
	case len(at.Steps) == 0:
		return result, nil
	}
	output, err := v.Input.SetPath(at.Steps, result)
	if err != nil {
		return output, v.failure(ErrResultPathMatch, "Unable to apply ReferencePath %s to input %s", at.Text, v.Input)
	}
	return output, nil
}

func (v *Visit) assign(t *Template, input jsonvalue.Value) ([]Assignment, *Failure) {
	values, f := t.eval(v, input)
	if f != nil && f.Error == ErrDataLimitExceeded {
		f = TooManyVariables(v.State)
	}
	if f != nil {
		return nil, f
	}
	var list []Assignment
	total := 0
	for name, value := range values.Members() {
		total += value.Size()
		if v.Usage != nil {
			v.Usage.Variable = max(v.Usage.Variable, total)
		}
		if v.Limits.Variable > 0 && total > v.Limits.Variable {
			return nil, TooManyVariables(v.State)
		}
		list = append(list, Assignment{name, value})
	}
	return list, nil
}

// TooManyVariables is the failure of a state that assigns more than the limits of variables allow.
func TooManyVariables(s State) *Failure {
	return &Failure{Error: ErrDataLimitExceeded, Cause: "The state/task '" + s.Base().Name + "' assigned variables with a size exceeding the maximum number of bytes service limit."}
}

// Finish takes the result of a Task, Parallel or Map through ResultSelector, Assign, ResultPath and OutputPath, or through
// Assign and Output.
func (v *Visit) Finish(result jsonvalue.Value) (Exit, *Failure) {
	v.see(StepResult, result)
	if t, ok := v.State.(*TaskState); ok && v.tooLarge(result) {
		return Exit{}, &Failure{Error: ErrDataLimitExceeded, Cause: "The state/task '" + resultName(t.Resource) + "' returned a result with a size exceeding the maximum number of bytes service limit."}
	}
	if c := v.State.Base(); v.jsonata() {
		return v.with(hasResult).put(c.Output, c.Assign, result, c.Next)
	}
	w := WorkOf(v.State)
	selected := result
	if w.ResultSelector != nil {
		var f *Failure
		if selected, f = w.ResultSelector.eval(v, result); f != nil {
			return Exit{}, f
		}
	}
	c := v.State.Base()
	return v.exit(result, selected, &w.ResultPath, c.Assign, c.Next)
}

// resultName is how AWS calls a task whose result is too large: by its service, or by the ARN of a function.
// Recorded in error_handling.json (…_data_limit_exceeded_on_large_utf8_response).
func resultName(resource string) string {
	part := strings.Split(resource, ":")
	if len(part) > 6 && part[2] == "states" && part[5] != "activity" {
		return part[5]
	}
	return resource
}

// Caught leaves the state by a Catcher.
func (v *Visit) Caught(c *Catcher, f Failure) (Exit, *Failure) {
	output := f.Output()
	if v.jsonata() {
		return v.with(hasError).put(c.Output, c.Assign, output, c.Next)
	}
	e := Exit{Next: c.Next}
	var bad *Failure
	if c.Assign != nil {
		if e.Assign, bad = v.assign(c.Assign, output); bad != nil {
			return Exit{}, bad
		}
	}
	if e.Output, bad = v.place(output, &c.ResultPath); bad != nil {
		return Exit{}, bad
	}
	return e, v.checkOutput(e.Output)
}

// Output is the error output that a Catcher passes on: {"Error": …, "Cause": …}. AWS: what was not given is null
// (recorded: callback test_sqs_failure_in_wait_for_task_tok_no_error_field).
func (f Failure) Output() jsonvalue.Value {
	text := func(s string) jsonvalue.Value {
		if s == "" {
			return jsonvalue.Null
		}
		return jsonvalue.Str(s)
	}
	return jsonvalue.Object(jsonvalue.M("Error", text(f.Error)), jsonvalue.M("Cause", text(f.Cause)))
}

// FailWith is the failure of a Fail state. When its paths cannot be read, that failure comes instead.
func (v *Visit) FailWith() Failure {
	s := v.State.(*FailState)
	if !v.jsonata() {
		v.see(AfterInputPath, v.Input) // AWS shows it, though a Fail has none (recorded: test_base_inspection_level_debug)
	}
	out := Failure{Error: s.Error, Cause: s.Cause}
	for _, q := range []struct {
		t  *Template
		to *string
	}{{s.ErrorQuery, &out.Error}, {s.CauseQuery, &out.Cause}} {
		if q.t == nil {
			continue
		}
		value, f := v.typed(q.t, jsonvalue.KindString)
		if f != nil {
			return *f
		}
		*q.to = value.Str()
	}
	for _, p := range []struct {
		field string
		e     *Expression
		to    *string
	}{{"ErrorPath", s.ErrorPath, &out.Error}, {"CausePath", s.CausePath, &out.Cause}} {
		if p.e == nil {
			continue
		}
		value, f := v.expression(p.e, p.field, v.Input)
		if f != nil {
			return *f
		}
		if value.Kind() != jsonvalue.KindString {
			return *v.runtime("The JSONPath '%s' specified for the field '%s' must refer to a string, but was %s", p.e, p.field, value.Kind())
		}
		*p.to = value.Str()
	}
	return out
}

// matches reports whether one of the names stands for the failure.
// AWS: nothing catches States.Runtime; States.TaskFailed stands for every error but States.Timeout and
// States.DataLimitExceeded (Developer guide, "Handling errors"). The guide says that States.ALL does not catch the latter
// either; the recording error_handling test_service_task_lambada_catch_state_all_data_limit_exceeded… shows that it does.
func matches(names []string, f Failure) bool {
	if f.Error == ErrRuntime {
		return false
	}
	for _, name := range names {
		switch {
		case name == f.Error && name != "":
			return true
		case name == ErrAll:
			return true
		case f.Error == ErrDataLimitExceeded:
		case name == ErrTaskFailed && f.Error != ErrTimeout && f.Error != ErrHeartbeatTimeout:
			return true
		case name == ErrTimeout && f.Error == ErrHeartbeatTimeout:
			return true
		}
	}
	return false
}

// MatchRetrier finds the first Retrier that names the error, -1 when there is none. ok is false then, and when its attempts
// are used up: used counts the retries that each of them has granted in this visit (nil: none yet).
func MatchRetrier(retry []Retrier, f Failure, used []int) (index int, ok bool) {
	for i := range retry {
		if matches(retry[i].ErrorEquals, f) {
			return i, i >= len(used) && retry[i].MaxAttempts > 0 || i < len(used) && int64(used[i]) < retry[i].MaxAttempts
		}
	}
	return -1, false
}

// Delay is the pause before a retry, the first being number 0; random is in [0,1) and counts with jitter only.
func (r *Retrier) Delay(retry int, random float64) time.Duration {
	seconds := float64(r.IntervalSeconds) * math.Pow(r.BackoffRate, float64(retry))
	if r.MaxDelaySeconds > 0 {
		seconds = min(seconds, float64(r.MaxDelaySeconds))
	}
	seconds = min(seconds, maxSeconds)
	if r.FullJitter {
		seconds *= random
	}
	return time.Duration(seconds * float64(time.Second))
}

// MatchCatcher finds the first Catcher that names the error, -1 when there is none.
func MatchCatcher(catch []Catcher, f Failure) int {
	return slices.IndexFunc(catch, func(c Catcher) bool { return matches(c.ErrorEquals, f) })
}
