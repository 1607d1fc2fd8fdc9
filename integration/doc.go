// Package integration is the contract of Task states: how a task's work is started, looked after and cancelled. The
// engine knows nothing of what is behind a Resource; package integration/awstask, and others like it, do.
//
// Waiting is data: what a running job is known by is a Handle, kept with the execution, and not a goroutine. A handle is
// polled at once when something it watches changes, at every start of the server, and otherwise now and then. Its result
// is always read from the service that owns the job.
package integration

import (
	"context"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Task is one attempt of a Task state whose work is to be started.
type Task struct {
	Execution  string // ARN
	Attempt    execution.TaskID
	State      string
	Resource   execution.Resource
	Input      jsonvalue.Value // the arguments
	Token      string          // the task token; also of .sync tasks, which may be ended early by it
	RoleARN    string          // of Credentials, "" for the machine's own role
	Principal  identity.Principal
	RequestKey string      // the same at each repetition
	Deadline   time.Time   // zero: none
	Inspect    *Inspection // what TestState wants to see of an HTTP call; nil: nothing
	Mock       Mock
}

// Mock is the test case of mocked results that an execution runs; zero for all others.
type Mock struct {
	Machine, TestCase string
	Start             int64 // which start of the state this is, from 0
	Retry             int64 // which retry of this visit, from 0 for none
}

// Inspection is what went over the wire, as TestState shows it at the level TRACE. HTTP tasks alone fill it in.
type Inspection struct {
	Secrets bool // asked for: what the connection added is shown too
	Sent    struct{ Protocol, Method, URL, Headers, Body string }
	Got     struct{ Protocol, StatusCode, StatusMessage, Headers, Body string }
}

// Job is a started task, as Poll and Cancel are told of it.
type Job struct {
	Execution  string
	Attempt    execution.TaskID
	Resource   execution.Resource
	RoleARN    string
	Principal  identity.Principal
	RequestKey string // of Cancel: the same at each repetition
	Handle     []byte
}

// Result is what is known of a task.
type Result struct {
	// Running: the job goes on. Output is then the answer to its start (of Start only).
	Running bool
	Output  jsonvalue.Value
	Failure *asl.Failure // the task has failed; nil and not Running: it is done
	// Response is what was answered with the Failure. It is kept beside the history: no state sees it.
	Response jsonvalue.Value
	Handle   []byte        // what Poll and Cancel need; nil: unchanged, and for callbacks that nothing polls
	Again    time.Duration // when to poll next without a wake-up; 0: the engine's own pace
}

// Integration does the work of Task states. Its methods may be called again for the same task: a repeated Start with the
// same RequestKey must not do anything twice where that can be helped. An error means that the outcome is not known, and
// the call is repeated after a pause; a failure of the task is a Result.
type Integration interface {
	Start(ctx context.Context, t Task) (Result, error)
	Poll(ctx context.Context, j Job) (Result, error)
	// Cancel ends the job, as well as that can be done. A job that has ended is no error.
	Cancel(ctx context.Context, j Job) error
	// Watches are the refs of the wake bus at whose change the job should be polled.
	Watches(j Job) []string
}
