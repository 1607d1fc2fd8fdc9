package execution

import (
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// visit is what the expressions of the frame's state see.
func (t *turn) visit(a Addr, f *Frame) *asl.Visit {
	st := t.state(f, f.State)
	v := &asl.Visit{State: st, Entered: f.Entered, Input: f.Input, Now: t.env.Now, Random: t.random, Limits: t.c.Limits.Data, Usage: t.measure(a, f),
		Vars: func(name string) (jsonvalue.Value, bool) { return t.s.lookup(a, name) }}
	if st.Base().ReadsContext {
		v.Context = t.contextObject(f, st, "")
	}
	return v
}

// contextObject is $$ in JSONPath, $states.context in JSONata. AWS: its members come in this order.
func (t *turn) contextObject(f *Frame, st asl.State, token string) jsonvalue.Value {
	id := t.s.Identity
	state := []jsonvalue.Member{
		jsonvalue.M("Name", jsonvalue.Str(f.State)),
		jsonvalue.M("EnteredTime", timestamp(f.EnteredAt)),
	}
	if asl.WorkOf(st) != nil {
		state = append(state, jsonvalue.M("RetryCount", jsonvalue.Int(f.Retried)))
	}
	execution := []jsonvalue.Member{
		jsonvalue.M("Id", jsonvalue.Str(id.ARN)),
		jsonvalue.M("Input", t.s.Input),
		jsonvalue.M("StartTime", timestamp(t.s.Started)),
		jsonvalue.M("Name", jsonvalue.Str(id.Name)),
		jsonvalue.M("RoleArn", jsonvalue.Str(id.RoleARN)),
		jsonvalue.M("RedriveCount", jsonvalue.Int(t.s.RedriveCount)),
	}
	if t.s.RedriveCount > 0 {
		execution = append(execution, jsonvalue.M("RedriveTime", timestamp(t.s.RedriveDate)))
	}
	members := []jsonvalue.Member{
		jsonvalue.M("Execution", jsonvalue.Object(execution...)),
		jsonvalue.M("StateMachine", jsonvalue.Object(
			jsonvalue.M("Id", jsonvalue.Str(id.MachineARN)),
			jsonvalue.M("Name", jsonvalue.Str(id.MachineName)),
		)),
		jsonvalue.M("State", jsonvalue.Object(state...)),
	}
	if token != "" {
		members = append(members, jsonvalue.M("Task", jsonvalue.Object(jsonvalue.M("Token", jsonvalue.Str(token)))))
	}
	return jsonvalue.Object(members...)
}

// timestamp is a time as the context object has it: milliseconds, without a fraction when it is zero.
func timestamp(at time.Time) jsonvalue.Value {
	layout := "2006-01-02T15:04:05.000Z"
	if at.Nanosecond()/int(time.Millisecond) == 0 {
		layout = "2006-01-02T15:04:05Z"
	}
	return jsonvalue.Str(at.UTC().Format(layout))
}
