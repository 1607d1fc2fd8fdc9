package states

import (
	"context"
	"fmt"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

func invalidTest(format string, args ...any) error {
	return awsapi.Errorf(400, "ValidationException", format, args...)
}

// checkMock refuses a mock that the state cannot have.
func (t *stateTest) checkMock(context.Context) (err error) {
	mock, kind := t.in.Mock, t.visit.State.Base().Type
	switch {
	case mock == nil:
		return t.checkUnmocked()
	case (mock.Result == nil) == (mock.ErrorOutput == nil):
		return invalidTest("A test mock should have only one of the following fields: [result, errorOutput].")
	case awsapi.Val(t.in.RevealSecrets):
		return invalidTest("TestState does not support RevealSecrets when a mock is specified.")
	case asl.WorkOf(t.visit.State) == nil:
		return invalidTest("State type '%s' is not supported when a mock is specified", kind)
	case mock.Result == nil:
		return t.checkOrigin()
	}
	if t.mock, err = jsonvalue.ParseLimit([]byte(*mock.Result), t.service.limits().Data.Payload); err != nil {
		return invalidTest("Mocked result must be valid JSON")
	}
	array := t.mock.Kind() == jsonvalue.KindArray
	switch st := t.visit.State.(type) {
	case *asl.TaskState:
		return t.checkFields()
	case *asl.ParallelState:
		switch {
		case !array:
			return invalidTest("Mocked result must be an array.")
		case t.mock.Len() != len(st.Branches):
			return invalidTest("Mocked result must contain the same number of items as number of Parallel branches.")
		}
	case *asl.MapState:
		// AWS: a ResultWriter without a Resource leaves the results in the output (Developer guide, input-output-resultwriter).
		if d := st.Distributed; d != nil && d.Writer != nil && d.Writer.Resource != "" {
			if t.mock.Kind() != jsonvalue.KindObject {
				return invalidTest("Mocked result must be a JSON object.")
			}
			return nil
		}
		if !array {
			return invalidTest("Mocked result must be an array.")
		}
		return t.checkFailures(t.mock.Len())
	}
	return nil
}

// checkUnmocked refuses what needs a mock.
func (t *stateTest) checkUnmocked() error {
	work := asl.WorkOf(t.visit.State) != nil
	_, task := t.visit.State.(*asl.TaskState)
	switch {
	case t.config.MapIterationFailureCount != nil:
		return invalidTest("TestState does not support MapIterationFailureCount when a mock is not specified.")
	case t.in.Context != nil:
		return invalidTest("TestState does not support Context when a mock is not specified.")
	case work && !task:
		return awsapi.Errorf(400, "InvalidDefinition", "TestState API does not support Map or Parallel states. Supported state types include: [Task, Wait, Pass, Succeed, Fail, Choice]")
	case task && awsapi.Val(t.in.RoleArn) == "":
		return invalidTest("RoleArn must be specified when testing a Task state")
	case task && (t.resource.Kind == execution.Activity || t.resource.Pattern.Submits()):
		// AWS: a validation exception (Developer guide, test-state-isolation); the sentence is ours.
		return invalidTest("TestState API does not support Activity tasks and Task states with a '.sync' or '.waitForTaskToken' service integration pattern when a mock is not specified.")
	}
	return nil
}

// checkOrigin refuses a mocked error of a state that is not there.
func (t *stateTest) checkOrigin() error {
	name := t.config.ErrorCausedByState
	if _, task := t.visit.State.(*asl.TaskState); name == nil || task {
		return nil
	}
	for _, b := range asl.Inner(t.visit.State) {
		if ok, _ := within(b, *name); ok {
			return nil
		}
	}
	return invalidTest("ErrorCausedByState must name a state within the %s state, but there is none with the name '%s'", t.visit.State.Base().Type, *name)
}

// checkFailures refuses more failed iterations than there are. AWS: neither more than the mocked results (recorded:
// test_map_iteration_failure_count_exceeds_mock_result_items) nor than the items (test-state-isolation).
func (t *stateTest) checkFailures(iterations int) error {
	if awsapi.Val(t.config.MapIterationFailureCount) > int64(iterations) {
		return invalidTest("Map iteration failure count must be less than or equal to the number of Map iterations")
	}
	return nil
}

// checkFields compares a mocked result with what the task's API answers.
func (t *stateTest) checkFields() error {
	mode := awsapi.Val(t.in.Mock.FieldValidationMode)
	if mode == "NONE" || t.service.cfg.CheckMock == nil {
		return nil
	}
	why, known := t.service.cfg.CheckMock(t.resource, t.mock, mode != "PRESENT")
	if !known {
		t.service.cfg.Log.Warn("mocked result is not checked: mayfly has no model of the API", "resource", t.resource.ARN)
	}
	if why != "" {
		return invalidTest("Mock result schema validation error: %s", why)
	}
	return nil
}

// contextFields are the fields that a context may have, with the kinds of their values; KindAbsent: any.
var contextFields = map[string]map[string]jsonvalue.Kind{
	"Execution": {"Id": jsonvalue.KindString, "Input": jsonvalue.KindAbsent, "Name": jsonvalue.KindString, "RoleArn": jsonvalue.KindString,
		"StartTime": jsonvalue.KindString, "RedriveCount": jsonvalue.KindNumber, "RedriveTime": jsonvalue.KindString},
	"StateMachine": {"Id": jsonvalue.KindString, "Name": jsonvalue.KindString},
	"State":        {"Name": jsonvalue.KindString, "EnteredTime": jsonvalue.KindString, "RetryCount": jsonvalue.KindNumber},
	"Task":         {"Token": jsonvalue.KindString},
}

func (t *stateTest) checkContext(context.Context) error {
	if t.in.Context == nil {
		return nil
	}
	bad := func(format string, args ...any) error {
		return invalidTest("Invalid Context object provided: %s", fmt.Sprintf(format, args...))
	}
	c, err := jsonvalue.ParseLimit([]byte(*t.in.Context), t.service.limits().Data.Payload)
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
		for field, value := range part.Members() {
			kind, ok := fields[field]
			switch {
			case !ok:
				return bad("Field '%s' is not allowed", field)
			case kind != jsonvalue.KindAbsent && value.Kind() != kind && value.Kind() != jsonvalue.KindNull:
				return bad("Field '%s' must be a %s", field, kind)
			}
		}
		if name == "Task" && !t.resource.Pattern.Submits() {
			return bad("Context object contains 'Task' when state is not a Task state with a '.sync' or '.waitForTaskToken' service integration pattern")
		}
	}
	t.visit.Context = c
	return nil
}
