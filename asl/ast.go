package asl

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/asl/jsonpath"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Pos is a place in the text of a definition; both count from 1, columns in bytes.
type Pos struct{ Line, Column int }

// QueryLanguage is how a state selects and changes data.
type QueryLanguage string

const (
	JSONPath QueryLanguage = "JSONPath"
	JSONata  QueryLanguage = "JSONata"
)

// StateMachine is a parsed definition. It does not change after Parse and may be shared.
type StateMachine struct {
	Block
	Comment, Version string
	TimeoutSeconds   int64 // 0: none
	QueryLanguage    QueryLanguage
	Text             []byte // the definition as it was given

	blocks map[string]*Block
}

// BlockAt is the States block with this pointer, nil when there is none.
func (m *StateMachine) BlockAt(pointer string) *Block { return m.blocks[pointer] }

// State is the state with this name, which is unique in all of the machine; nil when there is none.
func (m *StateMachine) State(name string) State {
	for _, b := range m.blocks {
		if s := b.States[name]; s != nil {
			return s
		}
	}
	return nil
}

// Block is one StartAt with its States: of the machine, a branch or an item processor. Variables belong to a block.
type Block struct {
	Pointer string // where it stands: "" for the machine, "/States/P/Branches[0]", "/States/M/ItemProcessor"
	Pos     Pos
	StartAt string
	Order   []string // the names as they are written
	States  map[string]State
}

// State is one of *TaskState, *PassState, *WaitState, *ChoiceState, *ParallelState, *MapState, *SucceedState and
// *FailState.
type State interface {
	// Base is what all states have.
	Base() *Common
}

// Common is what all states have. Fields that a type does not allow are zero.
type Common struct {
	Name, Type, Comment string
	Pos                 Pos
	Pointer             string // "/States/NAME", below the pointer of its block
	QueryLanguage       QueryLanguage
	Next                string // "" where End is true, and in Choice, Succeed and Fail
	End                 bool
	InputPath           PathField
	OutputPath          PathField
	Assign              *Template // nil: none
	Output              *Template // JSONata; nil: the result, or the input of a state that has none
	ReadsContext        bool      // an expression may read the context object
}

// Base returns c.
func (c *Common) Base() *Common { return c }

// Work is what the states have that do something which may fail: Task, Parallel, Map.
type Work struct {
	Parameters     *Template // JSONata: Arguments; of a Map: ItemSelector
	ResultSelector *Template
	ResultPath     ResultPath
	Retry          []Retrier
	Catch          []Catcher
}

// WorkOf is the Work of a Task, Parallel or Map; nil for other states.
func WorkOf(s State) *Work {
	switch s := s.(type) {
	case *TaskState:
		return &s.Work
	case *ParallelState:
		return &s.Work
	case *MapState:
		return &s.Work
	}
	return nil
}

// Inner are the blocks within a state: the branches of a Parallel, the processor of a Map.
func Inner(s State) []*Block {
	switch s := s.(type) {
	case *ParallelState:
		return s.Branches
	case *MapState:
		return []*Block{s.Processor}
	}
	return nil
}

// TaskState calls something.
type TaskState struct {
	Common
	Work
	Resource             string
	Credentials          *Template // {"RoleArn": …}; nil: none
	TimeoutSeconds       int64     // 0: none
	HeartbeatSeconds     int64     // 0: none
	TimeoutSecondsPath   *jsonpath.Path
	HeartbeatSecondsPath *jsonpath.Path
	Timeout, Heartbeat   *Template // JSONata expressions; nil: the constants
}

// PassState passes its input on, or a Result.
type PassState struct {
	Common
	Parameters *Template
	Result     jsonvalue.Value // absent: none
	ResultPath ResultPath
}

// WaitState has exactly one of its four fields.
type WaitState struct {
	Common
	Seconds       *int64
	Timestamp     *time.Time
	SecondsPath   *jsonpath.Path
	TimestampPath *jsonpath.Path

	SecondsQuery, TimestampQuery *Template // JSONata expressions
}

// ChoiceState goes on by the first rule that matches.
type ChoiceState struct {
	Common
	Choices []ChoiceRule
	Default string // "": none
}

// ChoiceRule is a rule or a part of one. And, Or, Not or Operator is set.
type ChoiceRule struct {
	Pos      Pos
	Pointer  string
	And, Or  []ChoiceRule
	Not      *ChoiceRule
	Variable *jsonpath.Path
	Operator string          // "StringEquals", "NumericLessThanPath", "IsPresent", …
	Operand  jsonvalue.Value // the constant
	Path     *jsonpath.Path  // the operand of a …Path operator
	Next     string          // at the top only
	Comment  string
	Assign   *Template // at the top only; nil: none

	Condition *Template // JSONata, in place of all operators
	Output    *Template // JSONata; nil: the input
}

// ParallelState runs branches side by side.
type ParallelState struct {
	Common
	Work
	Branches []*Block
}

// MapState runs its processor for each item.
type MapState struct {
	Common
	Work
	Processor          *Block
	ItemsPath          *jsonpath.Path // nil: the effective input
	MaxConcurrency     int64          // 0: as many as the engine likes
	MaxConcurrencyPath *jsonpath.Path
	Distributed        *Distributed // nil: inline
	Items              *Template    // JSONata; nil: the input
	Concurrency        *Template    // JSONata: MaxConcurrency as an expression
	Iterator           bool         // the old form: Iterator for ItemProcessor
}

// SucceedState ends its block well.
type SucceedState struct{ Common }

// FailState ends its block with a failure.
type FailState struct {
	Common
	Error, Cause         string
	ErrorPath, CausePath *Expression

	ErrorQuery, CauseQuery *Template // JSONata expressions
}

// PathField is InputPath or OutputPath: absent means $, null means {}.
type PathField struct {
	Null bool
	Path *jsonpath.Path // nil: absent, or Null
}

// ResultPath says where a result goes in the state's input: absent means that it replaces the input ("$"), null that
// it is dropped.
type ResultPath struct {
	Null  bool
	Text  string           // "" when absent
	Steps []jsonvalue.Step // empty: the whole
}

// Retrier is an entry of Retry, with AWS's defaults filled in.
type Retrier struct {
	Pos             Pos
	ErrorEquals     []string
	IntervalSeconds int64
	MaxAttempts     int64
	BackoffRate     float64
	MaxDelaySeconds int64 // 0: none
	FullJitter      bool
	Comment         string
}

// Catcher is an entry of Catch.
type Catcher struct {
	Pos         Pos
	ErrorEquals []string
	Next        string
	ResultPath  ResultPath
	Assign      *Template
	Output      *Template // JSONata; nil: the error output
	Comment     string
}

// Names of errors that the language itself gives.
const (
	ErrAll                = "States.ALL"
	ErrTaskFailed         = "States.TaskFailed"
	ErrTimeout            = "States.Timeout"
	ErrHeartbeatTimeout   = "States.HeartbeatTimeout"
	ErrPermissions        = "States.Permissions"
	ErrRuntime            = "States.Runtime"
	ErrDataLimitExceeded  = "States.DataLimitExceeded"
	ErrBranchFailed       = "States.BranchFailed"
	ErrIntrinsicFailure   = "States.IntrinsicFailure"
	ErrParameterPath      = "States.ParameterPathFailure"
	ErrResultPathMatch    = "States.ResultPathMatchFailure"
	ErrItemReaderFailed   = "States.ItemReaderFailed"
	ErrResultWriterFailed = "States.ResultWriterFailed"
	ErrQueryEvaluation    = "States.QueryEvaluationError"
	ErrExceedTolerated    = "States.ExceedToleratedFailureThreshold"
)

// Failure is how a state fails: a value of the history, matched by Retry and Catch. An empty Error or Cause is one
// that was not given.
type Failure struct {
	Error string `json:"error,omitempty"`
	Cause string `json:"cause,omitempty"`
	// Evaluation is set where it was the evaluation of JSONata in a state that failed, which AWS shows as an event of
	// its own. It is not kept: who hears of the failure first makes that event.
	Evaluation *Evaluation `json:"-"`
}

// Severity of a Diagnostic.
type Severity string

const (
	SeverityError   Severity = "ERROR"
	SeverityWarning Severity = "WARNING"
)

// Diagnostic is one thing that is wrong with a definition.
type Diagnostic struct {
	Pos      Pos
	Pointer  string // AWS's location: "/States/Wait/Timestamp", "/" for the whole; "": none
	Code     string // AWS's: "SCHEMA_VALIDATION_FAILED", …
	Severity Severity
	Message  string
}

// String is the diagnostic as CreateStateMachine says it. AWS: what has no location is "at null".
func (d Diagnostic) String() string {
	return d.Code + ": " + d.Message + " at " + cmp.Or(d.Pointer, "null")
}

// appendPointer appends names and indexes to a pointer. AWS escapes nothing in its locations.
func appendPointer(pointer string, parts ...any) string {
	var b strings.Builder
	b.WriteString(pointer)
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b.WriteByte('/')
			b.WriteString(p)
		case int:
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(p))
			b.WriteByte(']')
		}
	}
	return b.String()
}
