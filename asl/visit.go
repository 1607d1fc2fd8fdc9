package asl

import (
	"time"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Limits are AWS's quotas on data. The zero value of a field means no limit.
type Limits struct {
	Payload         int // bytes of a state's input, arguments, result, output (262144)
	Variable        int // bytes of one variable, and of all values of one Assign (262144)
	Variables       int // bytes of all variables of an execution (10 MiB)
	IntrinsicString int // bytes that hashes and Base64 take (10000)
}

// DefaultLimits are AWS's.
var DefaultLimits = Limits{Payload: 262144, Variable: 262144, Variables: 10 << 20, IntrinsicString: 10000}

// Visit is one visit of a state: what its expressions see. Make one per state entered, and change Context or Random
// as the visit goes on (a retry counts up, a task gets its token).
type Visit struct {
	State   State
	Entered int64                                     // number of the StateEntered event, for AWS's sentences
	Input   jsonvalue.Value                           // as it came in
	Context jsonvalue.Value                           // the context object, $$
	Vars    func(name string) (jsonvalue.Value, bool) // variables at entry, read outward; nil: none
	Random  func() uint64                             // for States.UUID and States.MathRandom; nil: they fail
	Limits  Limits
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

// EffectiveInput applies InputPath. It comes first for every state but Fail.
func (v *Visit) EffectiveInput() (jsonvalue.Value, *Failure) { panic("asl: not yet") }

// Arguments applies Parameters of a Task or Parallel to the effective input: what the task or each branch gets.
func (v *Visit) Arguments(effective jsonvalue.Value) (jsonvalue.Value, *Failure) {
	panic("asl: not yet")
}

// Credentials are those of a Task ({"RoleArn": …}), absent when it has none.
func (v *Visit) Credentials(effective jsonvalue.Value) (jsonvalue.Value, *Failure) {
	panic("asl: not yet")
}

// Timeouts are those of a Task, from constants or paths.
func (v *Visit) Timeouts(effective jsonvalue.Value) (Timeouts, *Failure) { panic("asl: not yet") }

// Items are the items of an inline Map.
func (v *Visit) Items(effective jsonvalue.Value) ([]jsonvalue.Value, *Failure) { panic("asl: not yet") }

// MaxConcurrency is that of a Map, from a constant or a path; 0: not limited.
func (v *Visit) MaxConcurrency(effective jsonvalue.Value) (int64, *Failure) { panic("asl: not yet") }

// ItemInput is the input of one iteration: ItemSelector (or Parameters) applied with $$.Map.Item, or the item itself.
func (v *Visit) ItemInput(effective jsonvalue.Value, index int, item jsonvalue.Value) (jsonvalue.Value, *Failure) {
	panic("asl: not yet")
}

// WaitUntil is when a Wait that was entered at this time ends; a time in the past ends it at once.
func (v *Visit) WaitUntil(effective jsonvalue.Value, entered time.Time) (time.Time, *Failure) {
	panic("asl: not yet")
}

// Leave does all data steps of a Pass, Choice or Succeed, and those of a Wait after its end.
func (v *Visit) Leave() (Exit, *Failure) { panic("asl: not yet") }

// Finish takes the result of a Task, Parallel or Map through ResultSelector, Assign, ResultPath and OutputPath.
func (v *Visit) Finish(result jsonvalue.Value) (Exit, *Failure) { panic("asl: not yet") }

// Caught leaves the state by a Catcher.
func (v *Visit) Caught(c *Catcher, f Failure) (Exit, *Failure) { panic("asl: not yet") }

// FailWith is the failure of a Fail state. When its paths cannot be read, that failure comes instead.
func (v *Visit) FailWith() Failure { panic("asl: not yet") }

// MatchRetrier finds the first Retrier that names the error. ok is false when there is none, or when its attempts are
// used up: used counts the retries that each of them has granted in this visit.
func MatchRetrier(retry []Retrier, f Failure, used []int) (index int, ok bool) {
	panic("asl: not yet")
}

// Delay is the pause before a retry, the first being number 0; random is in [0,1) and counts with jitter only.
func (r *Retrier) Delay(retry int, random float64) time.Duration { panic("asl: not yet") }

// MatchCatcher finds the first Catcher that names the error, nil when there is none.
func MatchCatcher(catch []Catcher, f Failure) *Catcher { panic("asl: not yet") }
