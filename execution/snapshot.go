package execution

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Status of an execution; "" before it is started.
type Status string

const (
	Running   Status = "RUNNING"
	Succeeded Status = "SUCCEEDED"
	Failed    Status = "FAILED"
	TimedOut  Status = "TIMED_OUT"
	Aborted   Status = "ABORTED"
)

// Identity is what an execution is from its first record on.
type Identity struct {
	ARN     string `json:"arn"`
	Name    string `json:"name"`
	Express bool   `json:"express,omitempty"`

	MachineARN  string `json:"machineArn"` // without version or alias
	MachineName string `json:"machineName"`
	VersionARN  string `json:"versionArn,omitempty"`
	AliasARN    string `json:"aliasArn,omitempty"`
	RoleARN     string `json:"roleArn"`
	Digest      string `json:"digest"` // of the definition that it runs
	// Settings are those of the machine at the start, as its service keeps them; the children of a map run have their
	// parent's.
	Settings string `json:"settings,omitempty"`

	Region      string             `json:"region"`
	By          identity.Principal `json:"by"`               // who started it
	Parent      string             `json:"parent,omitempty"` // the execution on whose behalf it was started
	TraceHeader string             `json:"trace,omitempty"`
	TestCase    string             `json:"testCase,omitempty"` // of mocked results; "" for all that is real

	MapRun string `json:"mapRun,omitempty"` // the map run that it is a child of
	Child  int64  `json:"child,omitempty"`  // its number there, from 0
	Items  int64  `json:"items,omitempty"`  // how many items it was given
	Again  int64  `json:"again,omitempty"`  // of an Express child: the redrive of its map run that started it
}

// Machine is the ARN of the state machine; a child of a map run has MachineARN with a label.
func (x Identity) Machine() string {
	arn, _, _ := strings.Cut(x.MachineARN, "/")
	return arn
}

// Snapshot is all that is known of an execution after a record. It changes through Apply only.
type Snapshot struct {
	Identity  Identity         `json:"identity"`
	Status    Status           `json:"status,omitempty"`
	Started   time.Time        `json:"started,omitzero"`
	Stopped   time.Time        `json:"stopped,omitzero"`
	Deadline  time.Time        `json:"deadline,omitzero"` // of the machine's TimeoutSeconds
	Input     jsonvalue.Value  `json:"input,omitzero"`
	Text      string           `json:"text,omitempty"` // of Input as it was written, where it has blanks
	Output    jsonvalue.Value  `json:"output,omitzero"`
	Failure   *asl.Failure     `json:"failure,omitempty"`
	LastEvent int64            `json:"lastEvent,omitempty"`
	Long      bool             `json:"long,omitempty"`   // it has waited for what may never come
	Issued    TaskID           `json:"issued,omitempty"` // the last task's id
	Frames    map[Addr]*Frame  `json:"frames,omitempty"`
	Tasks     map[TaskID]*Task `json:"tasks,omitempty"`
	Starts    map[string]int64 `json:"starts,omitempty"` // with a TestCase: the tasks that each state has started

	RedriveCount  int64          `json:"redriveCount,omitempty"`
	RedriveDate   time.Time      `json:"redriveDate,omitzero"`    // of the last one
	RedriveTokens []RedriveToken `json:"redriveTokens,omitempty"` // the last ones
}

// RedriveToken is the caller's token of a redrive.
type RedriveToken struct {
	Token string    `json:"token"`
	At    time.Time `json:"at"`
}

// Closed reports whether the execution has ended.
func (s *Snapshot) Closed() bool { return s.Status != "" && s.Status != Running }

// Addr is the address of a frame: "" for the machine itself, and the parent's address, a slash and the index of branch
// or item for the others.
type Addr string

// Root is the address of the machine's own frame.
const Root Addr = ""

func (a Addr) child(index int) Addr { return a + "/" + Addr(strconv.Itoa(index)) }

// Parent is the address of the frame that waits for this one; ok is false at the root.
func (a Addr) Parent() (p Addr, ok bool) {
	i := strings.LastIndexByte(string(a), '/')
	if i < 0 {
		return "", false
	}
	return a[:i], true
}

func (a Addr) below(b Addr) bool { return strings.HasPrefix(string(a), string(b)+"/") }

// compareAddr orders addresses by their numbers: a parent before its children, 2 before 10.
func compareAddr(a, b Addr) int {
	x, y := strings.Split(string(a), "/"), strings.Split(string(b), "/")
	return slices.CompareFunc(x, y, func(s, t string) int {
		return cmp.Or(cmp.Compare(len(s), len(t)), strings.Compare(s, t))
	})
}

// Frame is a running States block: the machine, a branch or an iteration.
type Frame struct {
	Block     string                     `json:"block"` // the pointer of its asl.Block
	Index     int                        `json:"index,omitempty"`
	State     string                     `json:"state,omitempty"` // the state it is in; "" between two
	Next      string                     `json:"next,omitempty"`  // the state to enter
	Entered   int64                      `json:"entered,omitempty"`
	EnteredAt time.Time                  `json:"enteredAt,omitzero"`
	Before    int64                      `json:"before,omitempty"` // the event before Entered
	Last      int64                      `json:"last,omitempty"`   // the previousEventId of its next event
	Input     jsonvalue.Value            `json:"input,omitzero"`   // of State or Next; after the end, the output
	Vars      map[string]jsonvalue.Value `json:"vars,omitempty"`
	Retries   []int                      `json:"retries,omitempty"` // granted by each Retrier in this visit
	Retried   int64                      `json:"retried,omitempty"` // all of them: State.RetryCount
	Await     Await                      `json:"await,omitzero"`
	Outcome   *Outcome                   `json:"outcome,omitempty"` // set when the block has ended
}

// Await is what a frame waits for; the zero Await means that it can go on.
type Await struct {
	Task  TaskID    `json:"task,omitempty"`
	Until time.Time `json:"until,omitzero"` // a Wait state ends
	Again time.Time `json:"again,omitzero"` // a retry begins
	Join  *Join     `json:"join,omitempty"`
	Run   *RunRef   `json:"run,omitempty"`
}

func (a Await) none() bool {
	return a.Task == 0 && a.Until.IsZero() && a.Again.IsZero() && a.Join == nil && a.Run == nil
}

// Join waits for branches or iterations.
type Join struct {
	Total   int               `json:"total"`
	Next    int               `json:"next"`           // the first that has not been started
	Open    int               `json:"open"`           // running now
	Max     int               `json:"max"`            // how many may run at once
	Items   []jsonvalue.Value `json:"items,omitzero"` // nil: a Parallel, whose branches have no items
	Results []jsonvalue.Value `json:"results"`
}

// Outcome is how a task or a block ended: with an output, or with a failure.
type Outcome struct {
	Output  jsonvalue.Value `json:"output,omitzero"`
	Failure *asl.Failure    `json:"failure,omitempty"`
	// Response is what was answered with a task's failure, for people who look for the reason: no state sees it.
	Response jsonvalue.Value `json:"response,omitzero"`
}

// TaskID names one attempt of one Task state within its execution.
type TaskID int64

// Phase is how far a task has come.
type Phase string

const (
	Scheduled Phase = "scheduled" // asked for; a worker has not taken it yet
	Started   Phase = "started"
	Submitted Phase = "submitted" // the job has been started, or the token is on its way
)

// Task is one attempt of a Task state that has not ended.
type Task struct {
	Frame     Addr            `json:"frame"`
	Resource  string          `json:"resource"`
	Phase     Phase           `json:"phase"`
	IssuedAt  time.Time       `json:"issuedAt"`
	Timeout   int64           `json:"timeout,omitempty"`   // seconds
	Heartbeat int64           `json:"heartbeat,omitempty"` // seconds
	Deadline  time.Time       `json:"deadline,omitzero"`
	BeatBy    time.Time       `json:"beatBy,omitzero"`
	RoleARN   string          `json:"roleArn,omitempty"`
	Input     jsonvalue.Value `json:"input,omitzero"`   // of an activity: what its worker is told
	Handle    []byte          `json:"handle,omitempty"` // what the integration needs to poll and cancel
	Held      *Outcome        `json:"held,omitempty"`   // a completion that came before TaskSubmitted
	Start     int64           `json:"start,omitempty"`  // with a TestCase: which of its state's it is, from 0
}

// SortedTasks lists the open tasks in the order in which they were issued.
func (s *Snapshot) SortedTasks() []TaskID { return slices.Sorted(maps.Keys(s.Tasks)) }

// SortedFrames lists the frames, each before those below it.
func (s *Snapshot) SortedFrames() []Addr {
	return slices.SortedFunc(maps.Keys(s.Frames), compareAddr)
}

// lookup reads a variable outward from a frame.
func (s *Snapshot) lookup(a Addr, name string) (jsonvalue.Value, bool) {
	for ok := true; ok; a, ok = a.Parent() {
		if f := s.Frames[a]; f != nil {
			if v, found := f.Vars[name]; found {
				return v, true
			}
		}
	}
	return jsonvalue.Value{}, false
}

// subtree lists the frames below a, in order.
func (s *Snapshot) subtree(a Addr) []Addr {
	var out []Addr
	for b := range s.Frames {
		if b.below(a) {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, compareAddr)
	return out
}
