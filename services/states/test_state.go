package states

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// testedName is what AWS calls the state that it tests.
const testedName = "StateName"

// longestTest is how long AWS lets a test run.
const longestTest = 5 * time.Minute

func invalidTest(format string, args ...any) error {
	return awsapi.Errorf(400, "ValidationException", format, args...)
}

// stateTest is one call of TestState.
type stateTest struct {
	in      *api.TestStateInput
	service *Service
	raw     jsonvalue.Value // the state as it was given
	mock    jsonvalue.Value // the mocked result; absent: none
	visit   asl.Visit
	vars    map[string]jsonvalue.Value
	order   []string // of vars
	id      execution.Identity
	seen    api.InspectionData
	out     api.TestStateOutput
}

// TestState visits one state, with a mock or with the real call of a task, and tells the data after each step. Nothing
// is recorded. It uses the data steps of package asl in the order in which an execution does.
func (s *Service) TestState(ctx context.Context, in *api.TestStateInput) (*api.TestStateOutput, error) {
	t := &stateTest{in: in, service: s}
	// What can be seen in the text is checked first: a mock that does not fit needs no valid expressions.
	for _, check := range []func() error{t.find, t.checkMock, t.checkContext, t.parse} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	if err := t.run(ctx); err != nil {
		return nil, err
	}
	if level := awsapi.Val(in.InspectionLevel); level == "DEBUG" || level == "TRACE" {
		if len(t.order) > 0 {
			t.seen.Variables = shown(t.variables())
		}
		t.out.InspectionData = &t.seen
	}
	return &t.out, nil
}

// find finds the state in the text of the definition.
func (t *stateTest) find() error {
	root, err := jsonvalue.Parse([]byte(t.in.Definition))
	if err != nil || root.Kind() != jsonvalue.KindObject {
		return t.service.checkDefinition(t.in.Definition, "")
	}
	if t.raw = root; t.in.StateName != nil {
		if t.raw = stateNamed(root, *t.in.StateName); t.raw.IsZero() {
			return invalidTest("State not found in definition")
		}
	}
	return nil
}

// stateNamed is the state of a block, or of a block within, with this name.
func stateNamed(block jsonvalue.Value, name string) jsonvalue.Value {
	states := block.Member("States")
	if found, ok := states.Get(name); ok {
		return found
	}
	for _, state := range states.Members() {
		inner := []jsonvalue.Value{state.Member("ItemProcessor"), state.Member("Iterator")}
		if b := state.Member("Branches"); b.Kind() == jsonvalue.KindArray {
			inner = slices.AppendSeq(inner, b.Elements())
		}
		for _, b := range inner {
			if found := stateNamed(b, name); !found.IsZero() {
				return found
			}
		}
	}
	return jsonvalue.Value{}
}

// checkMock refuses a mock that the state cannot have, and a state that must have one.
func (t *stateTest) checkMock() error {
	mock, config := t.in.Mock, t.in.StateConfiguration
	kind := t.raw.Member("Type").Str()
	if mock == nil {
		switch {
		case config != nil && config.MapIterationFailureCount != nil:
			return invalidTest("TestState does not support MapIterationFailureCount when a mock is not specified.")
		case t.in.Context != nil:
			return invalidTest("TestState does not support Context when a mock is not specified.")
		case kind == "Map" || kind == "Parallel":
			return awsapi.Errorf(400, "InvalidDefinition", "TestState API does not support Map or Parallel states. Supported state types include: [Task, Wait, Pass, Succeed, Fail, Choice]")
		case kind == "Task" && awsapi.Val(t.in.RoleArn) == "":
			return invalidTest("RoleArn must be specified when testing a Task state")
		}
		return nil
	}
	switch {
	case (mock.Result == nil) == (mock.ErrorOutput == nil):
		return invalidTest("A test mock should have only one of the following fields: [result, errorOutput].")
	case awsapi.Val(t.in.RevealSecrets):
		return invalidTest("TestState does not support RevealSecrets when a mock is specified.")
	case kind == "Pass" || kind == "Wait" || kind == "Choice" || kind == "Succeed" || kind == "Fail":
		return invalidTest("State type '%s' is not supported when a mock is specified", kind)
	case mock.Result == nil:
		return nil
	}
	var err error
	if t.mock, err = jsonvalue.ParseLimit([]byte(*mock.Result), asl.DefaultLimits.Payload); err != nil {
		return invalidTest("Mocked result must be valid JSON")
	}
	array := t.mock.Kind() == jsonvalue.KindArray
	_, writer := t.raw.Get("ResultWriter")
	switch {
	case kind == "Map" && writer && t.mock.Kind() != jsonvalue.KindObject:
		return invalidTest("Mocked result must be a JSON object.")
	case kind == "Map" && !writer && !array, kind == "Parallel" && !array:
		return invalidTest("Mocked result must be an array.")
	case kind == "Parallel" && t.mock.Len() != t.raw.Member("Branches").Len():
		return invalidTest("Mocked result must contain the same number of items as number of Parallel branches.")
	case kind == "Map" && array && config != nil && awsapi.Val(config.MapIterationFailureCount) > int64(t.mock.Len()):
		return invalidTest("Map iteration failure count must be less than or equal to the number of Map iterations")
	case kind == "Task":
		return t.checkFields()
	}
	return nil
}

// checkFields compares a mocked result with what the task's API answers.
func (t *stateTest) checkFields() error {
	mode := awsapi.Val(t.in.Mock.FieldValidationMode)
	r, err := execution.ParseResource(t.raw.Member("Resource").Str())
	if err != nil || mode == "NONE" || t.service.cfg.CheckMock == nil {
		return nil // a Resource that is none is found with the definition
	}
	why, known := t.service.cfg.CheckMock(r, t.mock, mode != "PRESENT")
	if !known {
		t.service.cfg.Log.Warn("mocked result is not checked: mayfly has no model of the API", "resource", r.ARN)
	}
	if why != "" {
		return invalidTest("Mock result schema validation error: %s", why)
	}
	return nil
}

// contextFields are the fields that a context may have.
var contextFields = map[string][]string{
	"Execution":    {"Id", "Input", "Name", "RoleArn", "StartTime", "RedriveCount", "RedriveTime"},
	"StateMachine": {"Id", "Name"},
	"State":        {"Name", "EnteredTime", "RetryCount"},
	"Task":         {"Token"},
}

func (t *stateTest) checkContext() error {
	if t.in.Context == nil {
		return nil
	}
	bad := func(format string, args ...any) error {
		return invalidTest("Invalid Context object provided: %s", fmt.Sprintf(format, args...))
	}
	c, err := jsonvalue.ParseLimit([]byte(*t.in.Context), asl.DefaultLimits.Payload)
	if err != nil || c.Kind() != jsonvalue.KindObject {
		return bad("Context object must be a JSON object")
	}
	for name, part := range c.Members() {
		fields, ok := contextFields[name]
		switch {
		case name == "Map":
			return bad("'Map' field is not supported when mocking a Context object")
		case !ok:
			return bad("Field '%s' is not allowed", name)
		case part.Kind() != jsonvalue.KindObject:
			return bad("Field '%s' must be an object", name)
		}
		for field := range part.Members() {
			if !slices.Contains(fields, field) {
				return bad("Field '%s' is not allowed", field)
			}
		}
		if r, err := execution.ParseResource(t.raw.Member("Resource").Str()); name == "Task" && (err != nil || !r.Pattern.Submits()) {
			return bad("Context object contains 'Task' when state is not a Task state with a '.sync' or '.waitForTaskToken' service integration pattern")
		}
	}
	t.visit.Context = c
	return nil
}

// parse reads the definition. A state alone is put into a machine where all that it goes to exists.
func (t *stateTest) parse() error {
	text, prefix := t.in.Definition, ""
	if t.in.StateName == nil {
		text, prefix = aroundState(t.raw), "/States/"+testedName
	}
	m, diagnostics := asl.Parse([]byte(text), t.service.options(""))
	var wrong []string
	for _, d := range diagnostics {
		if d.Severity == asl.SeverityError {
			if d.Pointer = strings.TrimPrefix(d.Pointer, prefix); d.Pointer == "" {
				d.Pointer = "/"
			}
			wrong = append(wrong, d.String())
		}
	}
	if wrong != nil {
		return awsapi.Errorf(400, "InvalidDefinition", "Invalid State Machine Definition: '%s'", strings.Join(wrong[:min(len(wrong), 20)], ", "))
	}
	name := testedName
	if t.in.StateName != nil {
		name = *t.in.StateName
	}
	t.visit.State = parsedState(&m.Block, name)
	return nil
}

func aroundState(state jsonvalue.Value) string {
	members := []jsonvalue.Member{jsonvalue.M(testedName, state)}
	known := map[string]bool{testedName: true}
	end := jsonvalue.Object(jsonvalue.M("Type", jsonvalue.Str("Succeed")))
	target := func(v jsonvalue.Value) {
		if name := v.Str(); v.Kind() == jsonvalue.KindString && !known[name] {
			known[name] = true
			members = append(members, jsonvalue.M(name, end))
		}
	}
	target(state.Member("Next"))
	target(state.Member("Default"))
	for _, list := range []string{"Choices", "Catch"} {
		if l := state.Member(list); l.Kind() == jsonvalue.KindArray {
			for x := range l.Elements() {
				target(x.Member("Next"))
			}
		}
	}
	return jsonvalue.Object(jsonvalue.M("StartAt", jsonvalue.Str(testedName)), jsonvalue.M("States", jsonvalue.Object(members...))).String()
}

func parsedState(b *asl.Block, name string) asl.State {
	if st := b.States[name]; st != nil {
		return st
	}
	for _, st := range b.States {
		var inner []*asl.Block
		switch st := st.(type) {
		case *asl.ParallelState:
			inner = st.Branches
		case *asl.MapState:
			inner = []*asl.Block{st.Processor}
		}
		for _, x := range inner {
			if found := parsedState(x, name); found != nil {
				return found
			}
		}
	}
	return nil
}

// prepare reads the input and the variables, and makes the context object.
func (t *stateTest) prepare(ctx context.Context) error {
	v := &t.visit
	var err error
	if v.Input, err = input(t.in.Input, asl.DefaultLimits.Payload); err != nil {
		return err
	}
	if c := t.in.StateConfiguration; c != nil && len(awsapi.Val(c.MapItemReaderData)) > asl.DefaultLimits.Payload {
		return invalidTest("1 validation error detected: Value at 'stateConfiguration.mapItemReaderData' failed to satisfy constraint: Member must have length less than or equal to %d", asl.DefaultLimits.Payload)
	}
	t.vars = map[string]jsonvalue.Value{}
	if t.in.Variables != nil {
		vars, err := jsonvalue.ParseLimit([]byte(*t.in.Variables), asl.DefaultLimits.Variables)
		if err != nil || vars.Kind() != jsonvalue.KindObject {
			return invalidTest("Variables must be a JSON object")
		}
		for name, value := range vars.Members() {
			t.assign(name, value)
		}
	}
	v.Vars = func(name string) (jsonvalue.Value, bool) { x, ok := t.vars[name]; return x, ok }
	v.Now, v.Random, v.Limits = t.service.cfg.Clock.Now(), rand.Uint64, asl.DefaultLimits
	p := who(ctx)
	machine, name := uuid(ctx, "test machine"), uuid(ctx, "test")
	t.id = execution.Identity{ARN: arn(p, "express:"+machine+":"+name), Name: name, MachineARN: arn(p, "stateMachine:"+machine), MachineName: machine,
		RoleARN: awsapi.Val(t.in.RoleArn), Express: true, Region: p.Region, By: p}
	if v.Context.IsZero() {
		v.Context = t.context(v.Now)
	}
	t.seen.Input = shown(v.Input)
	return nil
}

// context is $$ of a test. AWS: the state is called "StateName" whatever its name (recorded: test_state_with_variables).
func (t *stateTest) context(now time.Time) jsonvalue.Value {
	at, role := jsonvalue.Str(now.UTC().Format("2006-01-02T15:04:05.000Z")), jsonvalue.Null
	if t.id.RoleARN != "" {
		role = jsonvalue.Str(t.id.RoleARN)
	}
	state := []jsonvalue.Member{jsonvalue.M("Name", jsonvalue.Str(testedName)), jsonvalue.M("EnteredTime", at)}
	if asl.WorkOf(t.visit.State) != nil {
		state = append(state, jsonvalue.M("RetryCount", jsonvalue.Int(t.retries())))
	}
	return jsonvalue.Object(
		jsonvalue.M("Execution", jsonvalue.Object(jsonvalue.M("Id", jsonvalue.Str(t.id.ARN)), jsonvalue.M("Input", t.visit.Input),
			jsonvalue.M("Name", jsonvalue.Str(t.id.Name)), jsonvalue.M("RoleArn", role), jsonvalue.M("StartTime", at))),
		jsonvalue.M("StateMachine", jsonvalue.Object(jsonvalue.M("Id", jsonvalue.Str(t.id.MachineARN)), jsonvalue.M("Name", jsonvalue.Str(t.id.MachineName)))),
		jsonvalue.M("State", jsonvalue.Object(state...)))
}

// retries is how often the Retrier that knows the error has been used already.
func (t *stateTest) retries() int64 {
	if c := t.in.StateConfiguration; c != nil {
		return awsapi.Val(c.RetrierRetryCount)
	}
	return 0
}

func (t *stateTest) assign(name string, value jsonvalue.Value) {
	if _, ok := t.vars[name]; !ok {
		t.order = append(t.order, name)
	}
	t.vars[name] = value
}

func (t *stateTest) variables() jsonvalue.Value {
	members := make([]jsonvalue.Member, len(t.order))
	for i, name := range t.order {
		members[i] = jsonvalue.M(name, t.vars[name])
	}
	return jsonvalue.Object(members...)
}

// shown is a value in an answer. AWS: a test writes a space after each comma and colon (recorded: computed lists too).
func shown(v jsonvalue.Value) *string {
	var b strings.Builder
	quoted, escaped := false, false
	for _, c := range []byte(v.String()) {
		b.WriteByte(c)
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == ':'):
			b.WriteByte(' ')
		}
	}
	return awsapi.Ptr(b.String())
}

// paths reports whether the state is one of JSONPath. AWS: of the data of one in JSONata less is shown, as there is less
// between its steps.
func (t *stateTest) paths() bool { return t.visit.State.Base().QueryLanguage == asl.JSONPath }

// run visits the state.
func (t *stateTest) run(ctx context.Context) error {
	v := &t.visit
	if _, ok := v.State.(*asl.FailState); ok {
		if t.paths() {
			t.seen.AfterInputPath = shown(v.Input) // AWS shows it, though a Fail has none
		}
		t.fail(v.FailWith())
		return nil
	}
	effective, f := v.EffectiveInput()
	if f != nil {
		t.fail(*f)
		return nil
	}
	_, parallel := v.State.(*asl.ParallelState)
	pass, _ := v.State.(*asl.PassState)
	if t.paths() && !parallel && (pass == nil || pass.Result.IsZero()) { // AWS leaves it out there
		t.seen.AfterInputPath = shown(effective)
	}
	switch st := v.State.(type) {
	case *asl.TaskState:
		return t.task(ctx, st, effective)
	case *asl.ParallelState:
		args, f := v.Arguments(effective)
		if f != nil {
			t.fail(*f)
			return nil
		}
		if st.Parameters != nil && t.paths() {
			t.seen.AfterParameters = shown(args)
		}
		t.end(t.mock, nil)
	case *asl.MapState:
		return t.mapState(ctx, st, effective)
	case *asl.PassState:
		if t.paths() {
			t.pass(st, effective)
		} else {
			t.leave(v.Leave())
		}
	case *asl.WaitState:
		until, f := v.WaitUntil(effective, v.Now)
		switch {
		case f != nil:
			t.fail(*f)
		case until.Sub(v.Now) > longestTest:
			t.fail(asl.Failure{Error: asl.ErrTimeout})
		default:
			if err := t.pause(ctx, until.Sub(v.Now)); err != nil {
				return err
			}
			t.leave(v.Leave())
		}
	default:
		t.leave(v.Leave())
	}
	return nil
}

// pause waits as a Wait state does.
func (t *stateTest) pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	done := make(chan struct{})
	timer := t.service.cfg.Clock.AfterFunc(d, func() { close(done) })
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *stateTest) pass(st *asl.PassState, effective jsonvalue.Value) {
	exit, f := t.visit.Leave()
	result := st.Result
	if !result.IsZero() {
		t.seen.Result = shown(result)
	} else if result = effective; st.Parameters != nil {
		// A Pass without its paths leaves with what Parameters made.
		plain := *st
		plain.ResultPath, plain.OutputPath, plain.Assign = asl.ResultPath{}, asl.PathField{}, nil
		w := t.visit
		w.State = &plain
		made, bad := w.Leave()
		if bad != nil {
			t.fail(*bad)
			return
		}
		result = made.Output
	}
	if st.Result.IsZero() {
		t.seen.AfterParameters = shown(result)
	}
	t.seen.AfterResultSelector = shown(result)
	if placed, bad := t.placed(result); bad == nil {
		t.seen.AfterResultPath = shown(placed)
	}
	t.leave(exit, f)
}

// placed is a selected result after ResultPath, before OutputPath: that of a Pass with nothing else.
func (t *stateTest) placed(result jsonvalue.Value) (jsonvalue.Value, *asl.Failure) {
	at := asl.ResultPath{}
	if p, ok := t.visit.State.(*asl.PassState); ok {
		at = p.ResultPath
	} else if w := asl.WorkOf(t.visit.State); w != nil {
		at = w.ResultPath
	}
	w := t.visit
	w.State = &asl.PassState{Common: asl.Common{Name: testedName, Type: "Pass"}, Result: result, ResultPath: at}
	exit, f := w.Leave()
	return exit.Output, f
}

func (t *stateTest) task(ctx context.Context, st *asl.TaskState, effective jsonvalue.Value) error {
	v := &t.visit
	r, err := execution.ParseResource(st.Resource)
	if err != nil {
		return awsapi.Errorf(400, "InvalidDefinition", "Invalid State Machine Definition: '%s'", err.Error())
	}
	if t.in.Mock == nil && (r.Kind == execution.Activity || r.Pattern.Submits()) {
		return awsapi.Errorf(400, "InvalidDefinition", "TestState API does not support Activity tasks and Task states with a '.sync' or '.waitForTaskToken' service integration pattern when a mock is not specified.")
	}
	limits, f := v.Timeouts(effective)
	var args, credentials jsonvalue.Value
	if f == nil {
		args, f = v.Arguments(effective)
	}
	if f == nil {
		switch {
		case t.paths():
			t.seen.AfterParameters = shown(args)
		case st.Parameters != nil:
			t.seen.AfterArguments = shown(args)
		}
		credentials, f = v.Credentials(effective)
	}
	if f != nil {
		t.fail(*f)
		return nil
	}
	if t.in.Mock != nil {
		t.end(t.mock, nil)
		return nil
	}
	limit := longestTest
	if limits.Timeout > 0 {
		limit = min(limit, limits.Timeout)
	}
	call, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := errors.New("the test took too long")
	timer := t.service.cfg.Clock.AfterFunc(limit, func() { cancel(late) })
	defer timer.Stop()
	inspect := t.inspection()
	result, failure, err := t.service.cfg.Engine.Try(call, t.id, testedName, r, args, credentials.Member("RoleArn").Str(), inspect)
	t.inspected(inspect)
	switch {
	case errors.Is(context.Cause(call), late):
		t.end(result, &asl.Failure{Error: asl.ErrTimeout})
	case err != nil:
		return err
	default:
		t.end(result, failure)
	}
	return nil
}

// inspection asks for what goes over the wire. AWS: TRACE shows it of HTTP tasks, and revealSecrets what the connection added.
func (t *stateTest) inspection() *engine.Inspection {
	if awsapi.Val(t.in.InspectionLevel) != "TRACE" {
		return nil
	}
	return &engine.Inspection{Secrets: awsapi.Val(t.in.RevealSecrets)}
}

func (t *stateTest) inspected(i *engine.Inspection) {
	if i == nil {
		return
	}
	if x := i.Sent; x.Method != "" {
		t.seen.Request = &api.InspectionDataRequest{Protocol: &x.Protocol, Method: &x.Method, Url: &x.URL, Headers: &x.Headers, Body: optional(x.Body)}
	}
	if x := i.Got; x.StatusCode != "" {
		t.seen.Response = &api.InspectionDataResponse{Protocol: &x.Protocol, StatusCode: &x.StatusCode, StatusMessage: &x.StatusMessage, Headers: &x.Headers, Body: optional(x.Body)}
	}
}

func (t *stateTest) mapState(ctx context.Context, st *asl.MapState, effective jsonvalue.Value) error {
	d, f, err := t.mapItems(ctx, st, effective)
	if err != nil {
		return err
	}
	if f != nil {
		t.fail(*f)
		return nil
	}
	if d != nil {
		if f := t.tolerance(d); f != nil {
			t.fail(*f)
			return nil
		}
	}
	t.end(t.mock, nil)
	return nil
}

// mapItems makes the inputs of the iterations, and tells what was seen on the way. The distribution is that of a distributed
// Map.
func (t *stateTest) mapItems(ctx context.Context, st *asl.MapState, effective jsonvalue.Value) (*asl.Distribution, *asl.Failure, error) {
	v := &t.visit
	if st.Distributed == nil {
		items, f := v.Items(effective)
		if f != nil {
			return nil, f, nil
		}
		t.seeItems(st, jsonvalue.Array(items...))
		inputs := make([]jsonvalue.Value, len(items))
		for i, item := range items {
			if inputs[i], f = v.ItemInput(effective, i, item); f != nil {
				return nil, f, nil
			}
		}
		t.seeInputs(st, jsonvalue.Array(inputs...))
		return nil, t.concurrency(effective), nil
	}
	items, _, f := v.DistributedItems(effective)
	if f != nil {
		return nil, f, nil
	}
	if !items.IsZero() {
		t.seeItems(st, items)
	}
	if f = t.concurrency(effective); f != nil {
		return nil, f, nil
	}
	d, f := v.Distribute(effective)
	if f != nil {
		return nil, f, nil
	}
	d.Items = items
	text := ""
	if d.Reader != nil {
		c := t.in.StateConfiguration
		if c == nil || c.MapItemReaderData == nil {
			return &d, nil, nil // nothing is known of the items
		}
		text = *c.MapItemReaderData
	}
	m, f, err := t.service.cfg.Engine.TryMap(ctx, v, effective, d, text)
	if d.Reader != nil && !m.Items.IsZero() {
		t.seeItems(st, m.Items)
		// AWS: test-state-isolation, "only applicable to JSON inputs (not JSONata)".
		if d.Reader.Pointer != "" && t.paths() {
			t.seen.AfterItemsPointer = shown(m.Items)
		}
	}
	t.seeInputs(st, m.Inputs)
	if !m.Batches.IsZero() {
		t.seen.AfterItemBatcher = shown(m.Batches)
	}
	return &d, f, err
}

func (t *stateTest) concurrency(effective jsonvalue.Value) *asl.Failure {
	most, f := t.visit.MaxConcurrency(effective)
	if f == nil {
		t.seen.MaxConcurrency = &most
	}
	return f
}

func (t *stateTest) seeItems(st *asl.MapState, items jsonvalue.Value) {
	if st.ItemsPath != nil {
		t.seen.AfterItemsPath = shown(items)
	}
}

func (t *stateTest) seeInputs(st *asl.MapState, inputs jsonvalue.Value) {
	if st.Parameters != nil && !inputs.IsZero() {
		t.seen.AfterItemSelector = shown(inputs)
	}
}

// tolerance says how many items may fail, and fails when more of them are said to have. AWS: without a threshold they
// count for nothing here (recorded: test_map_state_failure_count[DEBUG-BASE_MAP_STATE]).
func (t *stateTest) tolerance(d *asl.Distribution) *asl.Failure {
	given := func(name string) bool { return !t.raw.Member(name).IsZero() || !t.raw.Member(name+"Path").IsZero() }
	failed, over := int64(0), false
	if c := t.in.StateConfiguration; c != nil && t.in.Mock.Result != nil {
		failed = awsapi.Val(c.MapIterationFailureCount)
	}
	if given("ToleratedFailureCount") {
		t.seen.ToleratedFailureCount = &d.Tolerance.Count
		over = failed > d.Tolerance.Count
	}
	if given("ToleratedFailurePercentage") {
		t.seen.ToleratedFailurePercentage = &d.Tolerance.Percent
		over = over || float64(failed)*100 > d.Tolerance.Percent*float64(t.mock.Len())
	}
	if over {
		return &asl.Failure{Error: asl.ErrExceedTolerated, Cause: "The specified tolerated failure threshold was exceeded"}
	}
	return nil
}

// end takes the end of a Task, Parallel or Map.
func (t *stateTest) end(result jsonvalue.Value, f *asl.Failure) {
	if mock := t.in.Mock; mock != nil && mock.ErrorOutput != nil {
		f = &asl.Failure{Error: awsapi.Val(mock.ErrorOutput.Error), Cause: awsapi.Val(mock.ErrorOutput.Cause)}
	}
	if f != nil {
		t.fail(*f)
		return
	}
	v := &t.visit
	if _, ok := v.State.(*asl.TaskState); ok {
		t.seen.Result = shown(result)
	}
	if !t.paths() {
		t.leave(v.Finish(result))
		return
	}
	if selected, f := t.selected(result); f == nil {
		t.seen.AfterResultSelector = shown(selected)
		if placed, f := t.placed(selected); f == nil {
			t.seen.AfterResultPath = shown(placed)
		}
	}
	t.leave(v.Finish(result))
}

// selected is a result after ResultSelector: that of a task with nothing else.
func (t *stateTest) selected(result jsonvalue.Value) (jsonvalue.Value, *asl.Failure) {
	w := t.visit
	w.State = &asl.ParallelState{Common: asl.Common{Name: testedName, Type: "Parallel"}, Work: asl.Work{ResultSelector: asl.WorkOf(t.visit.State).ResultSelector}}
	exit, f := w.Finish(result)
	return exit.Output, f
}

// leave takes the exit of the state.
func (t *stateTest) leave(exit asl.Exit, f *asl.Failure) {
	if f != nil {
		t.fail(*f)
		return
	}
	t.exit(exit, "SUCCEEDED")
}

func (t *stateTest) exit(exit asl.Exit, status string) {
	for _, a := range exit.Assign {
		t.assign(a.Name, a.Value)
	}
	t.out.Output, t.out.NextState, t.out.Status = shown(exit.Output), optional(exit.Next), &status
}

// fail takes a failure of the state: by a Retrier, a Catcher, or nothing.
func (t *stateTest) fail(f asl.Failure) {
	f.Cause = withoutPlace(f.Cause)
	t.out.Error, t.out.Cause, t.out.Status = optional(f.Error), optional(f.Cause), awsapi.Ptr("FAILED")
	w := asl.WorkOf(t.visit.State)
	if w == nil {
		return
	}
	details := &api.InspectionErrorDetails{}
	if i, ok := asl.MatchRetrier(w.Retry, f, nil); ok {
		t.seen.ErrorDetails = details
		details.RetryIndex = awsapi.Ptr(int64(i))
		if used := t.retries(); used < w.Retry[i].MaxAttempts {
			delay := w.Retry[i].Delay(int(used), rand.Float64())
			details.RetryBackoffIntervalSeconds = awsapi.Ptr(int64(math.Ceil(delay.Seconds())))
			t.out.Status = awsapi.Ptr("RETRIABLE")
			return
		}
	}
	for i := range w.Catch {
		if asl.MatchCatcher(w.Catch[i:i+1], f) == nil {
			continue
		}
		exit, worse := t.visit.Caught(&w.Catch[i], f)
		if worse != nil {
			t.out.Error, t.out.Cause = optional(worse.Error), optional(withoutPlace(worse.Cause))
			return
		}
		t.seen.ErrorDetails = details
		details.CatchIndex = awsapi.Ptr(int64(i))
		t.exit(exit, "CAUGHT_ERROR")
		return
	}
}

// withoutPlace drops the words that name the state and its event. AWS: a test has no events (recorded:
// test_state_map_context_object).
func withoutPlace(cause string) string {
	if rest, ok := strings.CutPrefix(cause, "An error occurred while executing the state '"); ok {
		if _, after, found := strings.Cut(rest, "). "); found {
			return after
		}
	}
	return cause
}
