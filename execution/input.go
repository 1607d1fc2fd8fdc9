package execution

import (
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Input is one thing that happened outside: exactly one of its fields.
type Input struct {
	Start     *Start         `json:"start,omitempty"`
	Submitted *TaskSubmitted `json:"submitted,omitempty"`
	Progress  *TaskProgress  `json:"progress,omitempty"`
	Done      *TaskDone      `json:"done,omitempty"`
	Beat      *Beat          `json:"beat,omitempty"`
	Timer     *TimerFired    `json:"timer,omitempty"`
	Work      *WorkTaken     `json:"work,omitempty"`
	Stop      *Stop          `json:"stop,omitempty"`
	Continue  *Continue      `json:"continue,omitempty"`
	Resumed   *Resumed       `json:"resumed,omitempty"`
	Broken    *Broken        `json:"broken,omitempty"`
	Redrive   *Redrive       `json:"redrive,omitempty"`
	Map       *MapDone       `json:"map,omitempty"`
}

type (
	// Start begins the execution. StartAt, Block, StateInput and Vars are for a start in the middle; usually they are
	// empty.
	Start struct {
		Identity Identity                   `json:"identity"`
		Input    jsonvalue.Value            `json:"input"`
		Text     string                     `json:"text,omitempty"` // of Input as it was written, where it has blanks
		Block    string                     `json:"block,omitempty"`
		StartAt  string                     `json:"startAt,omitempty"`
		Vars     map[string]jsonvalue.Value `json:"vars,omitempty"`
		// StateInput is the first state's; absent: Input.
		StateInput jsonvalue.Value `json:"stateInput,omitzero"`
	}
	// TaskSubmitted: the call that starts a job or sends a token away was answered.
	TaskSubmitted struct {
		Task     TaskID          `json:"task"`
		Resource string          `json:"resource"`
		Output   jsonvalue.Value `json:"output"`
		Handle   []byte          `json:"handle,omitempty"`
	}
	// TaskProgress: the integration wants to remember something new of the task.
	TaskProgress struct {
		Task   TaskID `json:"task"`
		Handle []byte `json:"handle,omitempty"`
	}
	// TaskDone: the task has ended. ByToken: somebody brought its token back.
	TaskDone struct {
		Task    TaskID  `json:"task"`
		Outcome Outcome `json:"outcome"`
		ByToken bool    `json:"byToken,omitempty"`
		// Unsubmitted: it was the call that starts the job that failed.
		Unsubmitted bool `json:"unsubmitted,omitempty"`
	}
	// Beat is a heartbeat.
	Beat struct {
		Task TaskID `json:"task"`
	}
	// TimerFired: a timer's time has come. All that is due by then is done, whatever its name.
	TimerFired struct {
		Name string `json:"name"`
	}
	// WorkTaken: a worker asks for the activity's task.
	WorkTaken struct {
		Task   TaskID `json:"task"`
		Worker string `json:"worker,omitempty"`
	}
	// Stop aborts the execution.
	Stop struct {
		Error string `json:"error,omitempty"`
		Cause string `json:"cause,omitempty"`
	}
	// Continue goes on after a Decision that said More.
	Continue struct{}
	// Resumed: the server was away; heartbeats get a full interval from now on.
	Resumed struct{}
	// Broken: an input could not be decided because of a bug. It ends the execution, and only this one.
	Broken struct {
		Cause string `json:"cause"`
	}
	// Redrive continues a closed execution where it failed.
	Redrive struct {
		Token  string `json:"token,omitempty"`  // the caller's: a repeated one is answered as the first was
		Digest string `json:"digest,omitempty"` // of a changed definition to go on with
	}
	// MapDone: a map run has ended.
	MapDone struct {
		Run      string          `json:"run"`
		Redrives int64           `json:"redrives,omitempty"`
		Output   jsonvalue.Value `json:"output,omitzero"`
		Failure  *asl.Failure    `json:"failure,omitempty"`
		// TooLarge: all went well, but the outputs do not fit into a state's output.
		TooLarge bool `json:"tooLarge,omitempty"`
	}
)

// Reply is what the sender of an input learns. Which fields are set depends on the input.
type Reply struct {
	Stale   bool            `json:"stale,omitempty"`  // the task has ended, or never was: the input changed nothing
	Exists  bool            `json:"exists,omitempty"` // Start: it had been started before
	Stopped time.Time       `json:"stopped,omitzero"` // Stop: when it ended, then or before
	Input   jsonvalue.Value `json:"input,omitzero"`   // WorkTaken: what the worker is to do
	Taken   bool            `json:"taken,omitempty"`  // WorkTaken: this worker has it
	Started time.Time       `json:"started,omitzero"` // Start: when

	Redriven time.Time `json:"redriven,omitzero"` // Redrive: when
	Refused  string    `json:"refused,omitempty"` // Redrive: why not
}

// Command is what an execution asks of the world: exactly one of its fields.
type Command struct {
	Start      *StartTask  `json:"start,omitempty"`
	Cancel     *CancelTask `json:"cancel,omitempty"`
	Map        *StartMap   `json:"map,omitempty"`
	StopMap    *StopMap    `json:"stopMap,omitempty"`
	RedriveMap *RedriveMap `json:"redriveMap,omitempty"`
}

type (
	// StartTask begins a task's work. It is answered by TaskSubmitted or TaskDone.
	StartTask struct {
		Task     TaskID          `json:"task"`
		State    string          `json:"state"`
		Resource string          `json:"resource"`
		Input    jsonvalue.Value `json:"input"`
		RoleARN  string          `json:"roleArn,omitempty"`
		Deadline time.Time       `json:"deadline,omitzero"`
	}
	// CancelTask ends what a task started, as well as that can be done. It outlives the execution and is not answered.
	CancelTask struct {
		Task     TaskID `json:"task"`
		Resource string `json:"resource"`
		Handle   []byte `json:"handle,omitempty"`
		RoleARN  string `json:"roleArn,omitempty"`
	}
	// StopMap aborts a map run. It outlives the execution and is not answered.
	StopMap struct {
		Run      string `json:"run"`
		Redrives int64  `json:"redrives,omitempty"`
	}
	// RedriveMap continues a map run that has been redriven so many times before. It is answered by MapDone.
	RedriveMap struct {
		Run      string `json:"run"`
		Redrives int64  `json:"redrives,omitempty"`
	}
)

// Timer wakes the execution with TimerFired once Due has passed.
type Timer struct {
	Name string    `json:"name"`
	Due  time.Time `json:"due"`
}

// Decision is what comes of one input.
type Decision struct {
	Facts       []Fact
	Commands    []Command
	SetTimers   []Timer
	ClearTimers []string
	Reply       Reply
	More        bool // the budget is spent: Continue is to follow
	Closed      bool // the execution has ended
}

// Env is what the world lends to a decision.
type Env struct {
	Now    time.Time
	Seed   uint64 // for jitter, States.UUID and States.MathRandom
	Budget int    // how many states may be entered before the decision says More; one with a large input counts more; 0: 1000
}

// largeInput is how many bytes of input make a state count once more against the budget: the facts of one decision are kept in
// memory until they are committed, and each state puts its input and output there.
const largeInput = 16 << 10
