package execution

import (
	"time"

	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Fact is what happened to one frame: a public event, a private note, or an event with what only we need to know of it.
type Fact struct {
	Frame Addr           `json:"a,omitempty"`
	Event *history.Event `json:"e,omitempty"`
	Note  *Note          `json:"n,omitempty"`
}

// Note is exactly one of its fields.
type Note struct {
	Begun     *Begun     `json:"begun,omitempty"`
	Moved     *Moved     `json:"moved,omitempty"`
	Waiting   *Waiting   `json:"waiting,omitempty"`
	Forked    *Forked    `json:"forked,omitempty"`
	Bound     *Bound     `json:"bound,omitempty"`
	Iterated  *Iterated  `json:"iterated,omitempty"`
	Joined    *Joined    `json:"joined,omitempty"`
	Halted    *Halted    `json:"halted,omitempty"`
	Dropped   *Dropped   `json:"dropped,omitempty"`
	Issued    *Issued    `json:"issued,omitempty"`
	Clocked   *Clocked   `json:"clocked,omitempty"`
	Handled   *Handled   `json:"handled,omitempty"`
	Held      *Held      `json:"held,omitempty"`
	Beaten    *Beaten    `json:"beaten,omitempty"`
	Completed *Completed `json:"completed,omitempty"`
	Backoff   *Backoff   `json:"backoff,omitempty"`
	Redriven  *Redriven  `json:"redriven,omitempty"`
	Reopened  *Reopened  `json:"reopened,omitempty"`
	Mapped    *Mapped    `json:"mapped,omitempty"`
	Unmapped  *Unmapped  `json:"unmapped,omitempty"`
	Remapped  *Remapped  `json:"remapped,omitempty"`
	Exceeded  *Exceeded  `json:"exceeded,omitempty"`
}

type (
	// Begun comes with ExecutionStarted.
	Begun struct {
		Identity Identity                   `json:"identity"`
		Deadline time.Time                  `json:"deadline,omitzero"`
		Block    string                     `json:"block,omitempty"`
		StartAt  string                     `json:"startAt"`
		Vars     map[string]jsonvalue.Value `json:"vars,omitempty"`
		Input    jsonvalue.Value            `json:"input,omitzero"` // of the first state, where it is not the execution's
	}
	// Moved comes with a …StateExited: where the frame goes; "" ends its block.
	Moved struct {
		Next string `json:"next,omitempty"`
	}
	// Waiting: a Wait state ends then.
	Waiting struct {
		Until time.Time `json:"until"`
		Long  bool      `json:"long,omitempty"` // beyond the longest time that the execution may be open
	}
	// Forked comes with ParallelStateStarted: the branches, all with the same input.
	Forked struct {
		Branches []Branch        `json:"branches"`
		Input    jsonvalue.Value `json:"input"`
	}
	// Branch is a block and where it starts.
	Branch struct {
		Block   string `json:"block"`
		StartAt string `json:"startAt"`
	}
	// Bound comes with MapStateStarted: the items of this attempt.
	Bound struct {
		Items []jsonvalue.Value `json:"items"`
		Max   int               `json:"max"`
	}
	// Iterated comes with MapIterationStarted, on the Map's frame.
	Iterated struct {
		Branch
		Index int             `json:"index"`
		Input jsonvalue.Value `json:"input"`
	}
	// Joined: this branch or iteration has ended well, and its parent has the output.
	Joined struct{}
	// Halted: a branch or iteration has failed, and all below this frame stands still. The frames are kept for redrive.
	Halted struct {
		Last int64 `json:"last"`
	}
	// Dropped: all below this frame is forgotten, as the state is retried or left.
	Dropped struct{}
	// Issued comes with …Scheduled.
	Issued struct {
		Task      TaskID `json:"task"`
		Resource  string `json:"resource"`
		Timeout   int64  `json:"timeout,omitempty"`
		Heartbeat int64  `json:"heartbeat,omitempty"`
		RoleARN   string `json:"roleArn,omitempty"`
	}
	// Clocked comes with …Started: from now on the task's time counts.
	Clocked struct {
		Task     TaskID    `json:"task"`
		Deadline time.Time `json:"deadline,omitzero"`
		BeatBy   time.Time `json:"beatBy,omitzero"`
	}
	// Handled: the integration knows the task by this handle. It comes with TaskSubmitted, or alone for progress.
	Handled struct {
		Task   TaskID    `json:"task"`
		Handle []byte    `json:"handle,omitempty"`
		BeatBy time.Time `json:"beatBy,omitzero"`
	}
	// Held: the task was completed before its submission was known.
	Held struct {
		Task    TaskID  `json:"task"`
		Outcome Outcome `json:"outcome"`
	}
	// Beaten: a heartbeat was seen. Not each is noted, so BeatBy leaves room for those that are not.
	Beaten struct {
		Task   TaskID    `json:"task"`
		BeatBy time.Time `json:"beatBy"`
	}
	// Completed comes with the event that ends the task.
	Completed struct {
		Task     TaskID          `json:"task"`
		Response jsonvalue.Value `json:"response,omitzero"` // Outcome.Response
	}
	// Backoff: this Retrier tries again then.
	Backoff struct {
		Retrier int       `json:"retrier"`
		Until   time.Time `json:"until"`
		Long    bool      `json:"long,omitempty"` // as in Waiting
	}
	// Redriven comes with ExecutionRedriven.
	Redriven struct {
		Deadline time.Time `json:"deadline,omitzero"`
		Token    string    `json:"token,omitempty"`
		Digest   string    `json:"digest,omitempty"` // of the definition that replaces the former
	}
	// Reopened: the frame goes on in the state that it was left in; its retries count anew.
	Reopened struct {
		Anew  bool `json:"anew,omitempty"`  // with none of its branches or iterations
		Enter bool `json:"enter,omitempty"` // by entering the state again: it is of another type now
	}
	// Mapped comes with MapRunStarted.
	Mapped struct {
		Run string `json:"run"`
	}
	// Unmapped comes with the end of a map run.
	Unmapped struct {
		Anew bool `json:"anew,omitempty"`
	}
	// Remapped comes with MapRunRedriven.
	Remapped struct{}
	// Exceeded: a visit of a state took more than AWS allows, under limits that let it.
	Exceeded struct {
		State   string `json:"state"`
		Entered int64  `json:"entered"` // its …StateEntered
		Limit   string `json:"limit"`   // as ParseLimits knows it
		Found   int64  `json:"found"`
	}
)
