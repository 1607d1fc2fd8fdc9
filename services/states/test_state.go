package states

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
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

// stateTest is one call of TestState.
type stateTest struct {
	in       *api.TestStateInput
	config   api.TestStateConfiguration
	service  *Service
	machine  *asl.StateMachine
	visit    asl.Visit
	resource execution.Resource // of a Task
	mock     jsonvalue.Value    // the mocked result; absent: none
	vars     jsonvalue.Value    // an object
	inputs   []jsonvalue.Value  // of a Map's iterations
	id       execution.Identity
	seen     api.InspectionData
	out      api.TestStateOutput
}

// TestState visits one state, with a mock or with the real call of a task, and tells the data after each step as the visit
// makes it. Nothing is recorded.
func (s *Service) TestState(ctx context.Context, in *api.TestStateInput) (*api.TestStateOutput, error) {
	t := &stateTest{in: in, config: awsapi.Val(in.StateConfiguration), service: s}
	for _, step := range []func(context.Context) error{t.parse, t.checkMock, t.checkContext, t.prepare, t.run} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	if t.inspects() {
		if t.vars.Len() > 0 {
			t.seen.Variables = shown(t.vars)
		}
		t.out.InspectionData = &t.seen
	}
	return &t.out, nil
}

func (t *stateTest) inspects() bool {
	level := awsapi.Val(t.in.InspectionLevel)
	return level == "DEBUG" || level == "TRACE"
}

// parse reads the definition: a machine with the name of one of its states, or a state alone.
func (t *stateTest) parse(context.Context) (err error) {
	o, name := t.service.options(""), testedName
	o.Lacks = nil // a mock lacks nothing, and a call says so itself
	if t.in.StateName == nil {
		o.State = name
	} else {
		name = *t.in.StateName
	}
	if t.machine, err = t.service.definition(t.in.Definition, o); err != nil {
		return err
	}
	if t.visit.State = t.machine.States[name]; t.visit.State == nil { // a state alone may hold another of its name
		t.visit.State = t.machine.State(name)
	}
	if t.visit.State == nil {
		return invalidTest("State not found in definition")
	}
	if task, ok := t.visit.State.(*asl.TaskState); ok {
		if t.resource, err = execution.ParseResource(task.Resource); err != nil {
			return awsapi.Errorf(400, "InvalidDefinition", "Invalid State Machine Definition: '%s'", err.Error())
		}
	}
	return nil
}

// within reports whether a block, or one within, has a state with this name, and in the iterations of which Map it is.
func within(b *asl.Block, name string) (ok bool, around *asl.MapState) {
	if b.States[name] != nil {
		return true, nil
	}
	for _, st := range b.States {
		for _, inner := range asl.Inner(st) {
			if ok, around = within(inner, name); ok {
				if m, is := st.(*asl.MapState); is && around == nil {
					around = m
				}
				return true, around
			}
		}
	}
	return false, nil
}

// prepare reads the input and the variables, and makes the context object.
func (t *stateTest) prepare(ctx context.Context) (err error) {
	v := &t.visit
	if v.Input, err = input(t.in.Input, t.service.limits().Data.Payload); err != nil {
		return err
	}
	if len(awsapi.Val(t.config.MapItemReaderData)) > t.service.limits().Data.Payload {
		return invalidTest("1 validation error detected: Value at 'stateConfiguration.mapItemReaderData' failed to satisfy constraint: Member must have length less than or equal to %d", t.service.limits().Data.Payload)
	}
	t.vars = jsonvalue.Object()
	if t.in.Variables != nil {
		if t.vars, err = jsonvalue.ParseLimit([]byte(*t.in.Variables), t.service.limits().Data.Variables); err != nil || t.vars.Kind() != jsonvalue.KindObject {
			return invalidTest("Variables must be a JSON object")
		}
	}
	v.Vars = func(name string) (jsonvalue.Value, bool) { return t.vars.Get(name) }
	v.Now, v.Random, v.Limits = t.service.cfg.Clock.Now(), rand.Uint64, t.service.limits().Data
	p := who(ctx)
	machine, name := uuid(ctx, "test machine"), uuid(ctx, "test")
	t.id = execution.Identity{ARN: arn(p, "express:"+machine+":"+name), Name: name, MachineARN: arn(p, "stateMachine:"+machine), MachineName: machine,
		RoleARN: awsapi.Val(t.in.RoleArn), Express: true, Region: p.Region, By: p}
	if v.Context.IsZero() {
		v.Context = t.context(uuid(ctx, "test token"))
	}
	if t.inspects() {
		v.See = t.see
	}
	t.seen.Input = shown(v.Input)
	return nil
}

// context is $$ of a test. AWS: the state is called "StateName" whatever its name (recorded: test_state_with_variables);
// within a Map the iteration is the first, of the input (Developer guide, test-state-isolation).
func (t *stateTest) context(token string) jsonvalue.Value {
	at, role := jsonvalue.Str(t.visit.Now.UTC().Format("2006-01-02T15:04:05.000Z")), jsonvalue.Null
	if t.id.RoleARN != "" {
		role = jsonvalue.Str(t.id.RoleARN)
	}
	state := []jsonvalue.Member{jsonvalue.M("Name", jsonvalue.Str(testedName)), jsonvalue.M("EnteredTime", at)}
	if asl.WorkOf(t.visit.State) != nil {
		state = append(state, jsonvalue.M("RetryCount", jsonvalue.Int(t.retries())))
	}
	members := []jsonvalue.Member{
		jsonvalue.M("Execution", jsonvalue.Object(jsonvalue.M("Id", jsonvalue.Str(t.id.ARN)), jsonvalue.M("Input", t.visit.Input),
			jsonvalue.M("Name", jsonvalue.Str(t.id.Name)), jsonvalue.M("RoleArn", role), jsonvalue.M("StartTime", at))),
		jsonvalue.M("StateMachine", jsonvalue.Object(jsonvalue.M("Id", jsonvalue.Str(t.id.MachineARN)), jsonvalue.M("Name", jsonvalue.Str(t.id.MachineName)))),
		jsonvalue.M("State", jsonvalue.Object(state...))}
	if t.resource.Pattern.Submits() {
		members = append(members, jsonvalue.M("Task", jsonvalue.Object(jsonvalue.M("Token", jsonvalue.Str(token)))))
	}
	if _, m := within(&t.machine.Block, t.visit.State.Base().Name); m != nil {
		item := []jsonvalue.Member{jsonvalue.M("Index", jsonvalue.Int(0)), jsonvalue.M("Value", t.visit.Input)}
		if m.Distributed != nil && m.Distributed.Reader == nil {
			item = append(item, jsonvalue.M("Source", jsonvalue.Str("STATE_DATA")))
		}
		members = append(members, jsonvalue.M("Map", jsonvalue.Object(jsonvalue.M("Item", jsonvalue.Object(item...)))))
	}
	return jsonvalue.Object(members...)
}

// retries is how often the Retrier that knows the error has been used already. AWS: a RetryCount in the context counts too
// (Developer guide, test-state-isolation).
func (t *stateTest) retries() int64 {
	if n := t.config.RetrierRetryCount; n != nil {
		return *n
	}
	n, _ := t.visit.Context.Member("State").Member("RetryCount").Int()
	return n
}

// see keeps what the visit has made, but for what AWS does not show (recorded: test_base_inspection_level_debug,
// test_io_parallel_state_mock_success, test_state_map_context_object).
func (t *stateTest) see(step asl.Step, value jsonvalue.Value) {
	switch st := t.visit.State.(type) {
	case *asl.PassState:
		if step == asl.AfterInputPath && !st.Result.IsZero() {
			return
		}
	case *asl.ParallelState:
		if step != asl.AfterResultSelector && step != asl.AfterResultPath {
			return
		}
	case *asl.MapState:
		if step == asl.StepResult {
			return
		}
	}
	if step == asl.AfterItemSelector {
		t.inputs = append(t.inputs, value)
		return
	}
	d := &t.seen
	*map[asl.Step]**string{
		asl.AfterInputPath: &d.AfterInputPath, asl.AfterParameters: &d.AfterParameters, asl.AfterArguments: &d.AfterArguments,
		asl.AfterItemsPath: &d.AfterItemsPath, asl.StepResult: &d.Result,
		asl.AfterResultSelector: &d.AfterResultSelector, asl.AfterResultPath: &d.AfterResultPath,
	}[step] = shown(value)
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

// run visits the state.
func (t *stateTest) run(ctx context.Context) error {
	v := &t.visit
	switch st := v.State.(type) {
	case *asl.FailState:
		t.fail(v.FailWith())
	case *asl.WaitState:
		until, f := v.WaitUntil(v.Now)
		if most := t.limit(); f == nil && most > 0 && until.Sub(v.Now) > most {
			f = &asl.Failure{Error: asl.ErrTimeout}
		}
		if f != nil {
			t.fail(*f)
			return nil
		}
		if err := t.pause(ctx, until.Sub(v.Now)); err != nil {
			return err
		}
		t.leave(v.Leave())
	case *asl.TaskState:
		call, f := v.Call()
		result, err := t.mock, error(nil)
		if f == nil && t.in.Mock == nil {
			result, f, err = t.call(ctx, call)
		}
		return t.end(result, f, err)
	case *asl.ParallelState:
		_, f := v.BranchInput()
		return t.end(t.mock, f, nil)
	case *asl.MapState:
		f, err := t.iterate(ctx, st)
		return t.end(t.mock, f, err)
	default:
		t.leave(v.Leave())
	}
	return nil
}

// limit is how long a test may run; 0: for ever.
func (t *stateTest) limit() time.Duration { return t.service.limits().TestDuration }

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

// call does a task's work.
func (t *stateTest) call(ctx context.Context, c asl.Call) (jsonvalue.Value, *asl.Failure, error) {
	limit := t.limit()
	if c.Timeout > 0 && (limit == 0 || c.Timeout < limit) {
		limit = c.Timeout
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := errors.New("the test took too long")
	if limit > 0 {
		timer := t.service.cfg.Clock.AfterFunc(limit, func() { cancel(late) })
		defer timer.Stop()
	}
	inspect := t.inspection()
	result, f, err := t.service.cfg.Engine.Try(ctx, t.id, testedName, t.resource, c.Arguments, c.RoleARN, inspect)
	t.inspected(inspect)
	if errors.Is(context.Cause(ctx), late) {
		return result, &asl.Failure{Error: asl.ErrTimeout}, nil
	}
	return result, f, err
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

// iterate makes the inputs of a Map's iterations; none is run.
func (t *stateTest) iterate(ctx context.Context, st *asl.MapState) (*asl.Failure, error) {
	v := &t.visit
	effective, f := v.EffectiveInput()
	if f != nil {
		return f, nil
	}
	if st.Distributed != nil {
		return t.distribute(ctx, st, effective)
	}
	items, f := v.Items(effective)
	for i := 0; f == nil && i < len(items); i++ {
		_, f = v.ItemInput(effective, asl.MapItem{Index: int64(i), Value: items[i]})
	}
	if f != nil {
		return f, nil
	}
	t.seeInputs(st)
	return t.concurrency(effective), t.checkFailures(len(items))
}

// distribute does so for a distributed Map, and fails when more iterations are said to have failed than may.
func (t *stateTest) distribute(ctx context.Context, st *asl.MapState, effective jsonvalue.Value) (*asl.Failure, error) {
	v := &t.visit
	items, _, f := v.DistributedItems(effective)
	if f == nil {
		f = t.concurrency(effective)
	}
	var d asl.Distribution
	if f == nil {
		d, f = v.Distribute(effective)
	}
	if f != nil {
		return f, nil
	}
	d.Items = items
	if d.Reader != nil && t.config.MapItemReaderData == nil {
		// AWS: the input stands for what would be read (Developer guide, test-state-isolation). One that has no items
		// says nothing of them.
		list, none := v.Items(effective)
		if none != nil {
			return t.tolerance(st, d, -1), nil
		}
		d.Reader, d.Items = nil, jsonvalue.Array(list...)
	}
	m, f, err := t.service.cfg.Engine.TryMap(ctx, v, effective, d, awsapi.Val(t.config.MapItemReaderData))
	if d.Reader != nil && !m.Items.IsZero() {
		if st.ItemsPath != nil {
			t.seen.AfterItemsPath = shown(m.Items)
		}
		// AWS: "only applicable to JSON inputs (not JSONata)" (test-state-isolation).
		if d.Reader.Pointer != "" && st.QueryLanguage == asl.JSONPath {
			t.seen.AfterItemsPointer = shown(m.Items)
		}
	}
	if f != nil || err != nil {
		return f, err
	}
	t.seeInputs(st)
	if !m.Batches.IsZero() {
		t.seen.AfterItemBatcher = shown(m.Batches)
	}
	if err := t.checkFailures(m.Items.Len()); err != nil {
		return nil, err
	}
	return t.tolerance(st, d, m.Items.Len()), nil
}

func (t *stateTest) concurrency(effective jsonvalue.Value) *asl.Failure {
	most, f := t.visit.MaxConcurrency(effective)
	if f == nil {
		t.seen.MaxConcurrency = &most
	}
	return f
}

func (t *stateTest) seeInputs(st *asl.MapState) {
	if st.Parameters != nil {
		t.seen.AfterItemSelector = shown(jsonvalue.Array(t.inputs...))
	}
}

// tolerance says how many items may fail, and fails when more of them are said to have. AWS: without a threshold, and with
// a mocked error, they count for nothing here (recorded: test_map_state_failure_count[DEBUG-BASE_MAP_STATE]). items: how many
// there are, or -1.
func (t *stateTest) tolerance(st *asl.MapState, d asl.Distribution, items int) *asl.Failure {
	failed, over := int64(0), false
	if t.in.Mock.Result != nil {
		failed = awsapi.Val(t.config.MapIterationFailureCount)
	}
	if st.Distributed.Failures.Given {
		t.seen.ToleratedFailureCount = &d.Tolerance.Count
		over = failed > d.Tolerance.Count
	}
	if st.Distributed.Percent.Given {
		t.seen.ToleratedFailurePercentage = &d.Tolerance.Percent
		if items < 0 && t.mock.Kind() == jsonvalue.KindArray {
			items = t.mock.Len()
		}
		over = over || items >= 0 && float64(failed)*100 > d.Tolerance.Percent*float64(items)
	}
	if over {
		return &asl.Failure{Error: asl.ErrExceedTolerated, Cause: "The specified tolerated failure threshold was exceeded"}
	}
	return nil
}

// end takes the end of a Task, Parallel or Map.
func (t *stateTest) end(result jsonvalue.Value, f *asl.Failure, err error) error {
	if err != nil {
		return err
	}
	if mock := t.in.Mock; f == nil && mock != nil && mock.ErrorOutput != nil {
		f = &asl.Failure{Error: awsapi.Val(mock.ErrorOutput.Error), Cause: awsapi.Val(mock.ErrorOutput.Cause)}
	}
	if f != nil {
		t.fail(*f)
		return nil
	}
	t.leave(t.visit.Finish(result))
	return nil
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
		t.vars, _ = t.vars.SetPath([]jsonvalue.Step{jsonvalue.Key(a.Name)}, a.Value) // an object takes any member
	}
	t.out.Output, t.out.NextState, t.out.Status = shown(exit.Output), optional(exit.Next), &status
}

// fail takes a failure of the state: by a Retrier, a Catcher, or nothing.
func (t *stateTest) fail(f asl.Failure) {
	t.out.Error, t.out.Cause, t.out.Status = optional(f.Error), optional(f.Cause), awsapi.Ptr("FAILED")
	w := asl.WorkOf(t.visit.State)
	if w == nil {
		return
	}
	details := &api.InspectionErrorDetails{}
	if i, _ := asl.MatchRetrier(w.Retry, f, nil); i >= 0 { // AWS shows it when its attempts are used up, too
		t.seen.ErrorDetails = details
		details.RetryIndex = awsapi.Ptr(int64(i))
		if used := t.retries(); used < w.Retry[i].MaxAttempts {
			delay := w.Retry[i].Delay(int(used), rand.Float64())
			details.RetryBackoffIntervalSeconds = awsapi.Ptr(int64(math.Ceil(delay.Seconds())))
			t.out.Status = awsapi.Ptr("RETRIABLE")
			return
		}
	}
	i := asl.MatchCatcher(w.Catch, f)
	if i < 0 {
		return
	}
	exit, worse := t.visit.Caught(&w.Catch[i], f)
	if worse != nil {
		t.out.Error, t.out.Cause = optional(worse.Error), optional(worse.Cause)
		return
	}
	t.seen.ErrorDetails = details
	details.CatchIndex = awsapi.Ptr(int64(i))
	t.exit(exit, "CAUGHT_ERROR")
}
