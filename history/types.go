package history

// Type is the type of an event, as the API spells it.
type Type string

// The 62 types of events.
const (
	ExecutionStarted   Type = "ExecutionStarted"
	ExecutionSucceeded Type = "ExecutionSucceeded"
	ExecutionFailed    Type = "ExecutionFailed"
	ExecutionAborted   Type = "ExecutionAborted"
	ExecutionTimedOut  Type = "ExecutionTimedOut"
	ExecutionRedriven  Type = "ExecutionRedriven"

	TaskStateEntered     Type = "TaskStateEntered"
	TaskStateExited      Type = "TaskStateExited"
	TaskStateAborted     Type = "TaskStateAborted"
	PassStateEntered     Type = "PassStateEntered"
	PassStateExited      Type = "PassStateExited"
	WaitStateEntered     Type = "WaitStateEntered"
	WaitStateExited      Type = "WaitStateExited"
	WaitStateAborted     Type = "WaitStateAborted"
	ChoiceStateEntered   Type = "ChoiceStateEntered"
	ChoiceStateExited    Type = "ChoiceStateExited"
	SucceedStateEntered  Type = "SucceedStateEntered"
	SucceedStateExited   Type = "SucceedStateExited"
	FailStateEntered     Type = "FailStateEntered"
	ParallelStateEntered Type = "ParallelStateEntered"
	ParallelStateExited  Type = "ParallelStateExited"
	ParallelStateAborted Type = "ParallelStateAborted"
	MapStateEntered      Type = "MapStateEntered"
	MapStateExited       Type = "MapStateExited"
	MapStateAborted      Type = "MapStateAborted"

	ParallelStateStarted   Type = "ParallelStateStarted"
	ParallelStateSucceeded Type = "ParallelStateSucceeded"
	ParallelStateFailed    Type = "ParallelStateFailed"
	MapStateStarted        Type = "MapStateStarted"
	MapStateSucceeded      Type = "MapStateSucceeded"
	MapStateFailed         Type = "MapStateFailed"
	MapIterationStarted    Type = "MapIterationStarted"
	MapIterationSucceeded  Type = "MapIterationSucceeded"
	MapIterationFailed     Type = "MapIterationFailed"
	MapIterationAborted    Type = "MapIterationAborted"
	MapRunStarted          Type = "MapRunStarted"
	MapRunSucceeded        Type = "MapRunSucceeded"
	MapRunFailed           Type = "MapRunFailed"
	MapRunAborted          Type = "MapRunAborted"
	MapRunRedriven         Type = "MapRunRedriven"

	TaskScheduled    Type = "TaskScheduled"
	TaskStarted      Type = "TaskStarted"
	TaskStartFailed  Type = "TaskStartFailed"
	TaskSubmitted    Type = "TaskSubmitted"
	TaskSubmitFailed Type = "TaskSubmitFailed"
	TaskSucceeded    Type = "TaskSucceeded"
	TaskFailed       Type = "TaskFailed"
	TaskTimedOut     Type = "TaskTimedOut"

	LambdaFunctionScheduled      Type = "LambdaFunctionScheduled"
	LambdaFunctionScheduleFailed Type = "LambdaFunctionScheduleFailed"
	LambdaFunctionStarted        Type = "LambdaFunctionStarted"
	LambdaFunctionStartFailed    Type = "LambdaFunctionStartFailed"
	LambdaFunctionSucceeded      Type = "LambdaFunctionSucceeded"
	LambdaFunctionFailed         Type = "LambdaFunctionFailed"
	LambdaFunctionTimedOut       Type = "LambdaFunctionTimedOut"

	ActivityScheduled      Type = "ActivityScheduled"
	ActivityScheduleFailed Type = "ActivityScheduleFailed"
	ActivityStarted        Type = "ActivityStarted"
	ActivitySucceeded      Type = "ActivitySucceeded"
	ActivityFailed         Type = "ActivityFailed"
	ActivityTimedOut       Type = "ActivityTimedOut"

	EvaluationFailed Type = "EvaluationFailed"
)

// form is the shape that a type's details have: the member of the API's event and an empty value of the Go type.
// A type without details has the zero form.
type form struct {
	member string
	make   func() Details
}

func of[D any, P interface {
	*D
	Details
}](member string) form {
	return form{member, func() Details { return P(new(D)) }}
}

var forms = map[Type]form{
	ExecutionStarted:   of[ExecutionStart]("executionStartedEventDetails"),
	ExecutionSucceeded: of[Output]("executionSucceededEventDetails"),
	ExecutionFailed:    of[Failure]("executionFailedEventDetails"),
	ExecutionAborted:   of[Failure]("executionAbortedEventDetails"),
	ExecutionTimedOut:  of[Failure]("executionTimedOutEventDetails"),
	ExecutionRedriven:  of[Redrive]("executionRedrivenEventDetails"),

	TaskStateEntered:     of[Entered]("stateEnteredEventDetails"),
	PassStateEntered:     of[Entered]("stateEnteredEventDetails"),
	WaitStateEntered:     of[Entered]("stateEnteredEventDetails"),
	ChoiceStateEntered:   of[Entered]("stateEnteredEventDetails"),
	SucceedStateEntered:  of[Entered]("stateEnteredEventDetails"),
	FailStateEntered:     of[Entered]("stateEnteredEventDetails"),
	ParallelStateEntered: of[Entered]("stateEnteredEventDetails"),
	MapStateEntered:      of[Entered]("stateEnteredEventDetails"),
	TaskStateExited:      of[Exited]("stateExitedEventDetails"),
	PassStateExited:      of[Exited]("stateExitedEventDetails"),
	WaitStateExited:      of[Exited]("stateExitedEventDetails"),
	ChoiceStateExited:    of[Exited]("stateExitedEventDetails"),
	SucceedStateExited:   of[Exited]("stateExitedEventDetails"),
	ParallelStateExited:  of[Exited]("stateExitedEventDetails"),
	MapStateExited:       of[Exited]("stateExitedEventDetails"),
	TaskStateAborted:     {},
	WaitStateAborted:     {},
	ParallelStateAborted: {},
	MapStateAborted:      {},

	ParallelStateStarted:   {},
	ParallelStateSucceeded: {},
	ParallelStateFailed:    {},
	MapStateStarted:        of[Length]("mapStateStartedEventDetails"),
	MapStateSucceeded:      {},
	MapStateFailed:         {},
	MapIterationStarted:    of[Iteration]("mapIterationStartedEventDetails"),
	MapIterationSucceeded:  of[Iteration]("mapIterationSucceededEventDetails"),
	MapIterationFailed:     of[Iteration]("mapIterationFailedEventDetails"),
	MapIterationAborted:    of[Iteration]("mapIterationAbortedEventDetails"),
	MapRunStarted:          of[MapRun]("mapRunStartedEventDetails"),
	MapRunSucceeded:        {},
	MapRunFailed:           of[Failure]("mapRunFailedEventDetails"),
	MapRunAborted:          {},
	MapRunRedriven:         of[MapRunRedrive]("mapRunRedrivenEventDetails"),

	TaskScheduled:    of[TaskSchedule]("taskScheduledEventDetails"),
	TaskStarted:      of[TaskStart]("taskStartedEventDetails"),
	TaskStartFailed:  of[TaskFailure]("taskStartFailedEventDetails"),
	TaskSubmitted:    of[TaskOutput]("taskSubmittedEventDetails"),
	TaskSubmitFailed: of[TaskFailure]("taskSubmitFailedEventDetails"),
	TaskSucceeded:    of[TaskOutput]("taskSucceededEventDetails"),
	TaskFailed:       of[TaskFailure]("taskFailedEventDetails"),
	TaskTimedOut:     of[TaskFailure]("taskTimedOutEventDetails"),

	LambdaFunctionScheduled:      of[FunctionSchedule]("lambdaFunctionScheduledEventDetails"),
	LambdaFunctionScheduleFailed: of[Failure]("lambdaFunctionScheduleFailedEventDetails"),
	LambdaFunctionStarted:        {},
	LambdaFunctionStartFailed:    of[Failure]("lambdaFunctionStartFailedEventDetails"),
	LambdaFunctionSucceeded:      of[Output]("lambdaFunctionSucceededEventDetails"),
	LambdaFunctionFailed:         of[Failure]("lambdaFunctionFailedEventDetails"),
	LambdaFunctionTimedOut:       of[Failure]("lambdaFunctionTimedOutEventDetails"),

	ActivityScheduled:      of[ActivitySchedule]("activityScheduledEventDetails"),
	ActivityScheduleFailed: of[Failure]("activityScheduleFailedEventDetails"),
	ActivityStarted:        of[ActivityStart]("activityStartedEventDetails"),
	ActivitySucceeded:      of[Output]("activitySucceededEventDetails"),
	ActivityFailed:         of[Failure]("activityFailedEventDetails"),
	ActivityTimedOut:       of[Failure]("activityTimedOutEventDetails"),

	EvaluationFailed: of[Evaluation]("evaluationFailedEventDetails"),
}

// Terminal reports whether an event of this type ends an execution.
func (t Type) Terminal() bool {
	switch t {
	case ExecutionSucceeded, ExecutionFailed, ExecutionAborted, ExecutionTimedOut:
		return true
	}
	return false
}
