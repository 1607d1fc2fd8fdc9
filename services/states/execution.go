package states

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/store"
)

func unsupportedType() error {
	return awsapi.Errorf(400, "StateMachineTypeNotSupported", "This operation is not supported by this type of state machine")
}

// input reads an execution's input of at most limit bytes: {} when there is none.
func input(text *string, limit int) (jsonvalue.Value, error) {
	if text == nil {
		return jsonvalue.Object(), nil
	}
	v, err := jsonvalue.ParseLimit([]byte(*text), limit)
	if err == nil {
		return v, nil
	}
	why := "Invalid execution input."
	if *text != "" {
		why = asl.JacksonSentence([]byte(*text), err)
	}
	return v, awsapi.Errorf(400, "InvalidExecutionInput", "Invalid State Machine Execution Input: '%s'", why)
}

// startable reads what an ARN stands for, which may name a test case of mocked results as in Step Functions Local: ARN#CASE.
func (s *Service) startable(ctx context.Context, text string) (target, error) {
	text, testCase, mocked := strings.Cut(text, "#")
	m, err := s.find(ctx, text, uuid(ctx, "route"))
	if m.testCase = testCase; err == nil && mocked && testCase == "" {
		err = invalid("The name of a test case must follow the # of %s#", text)
	}
	return m, err
}

// checkTestCase refuses a test case that there is not, or that mocks what calls nothing.
func (s *Service) checkTestCase(m *target) error {
	check := s.cfg.Mocks
	if check == nil {
		return invalid("Mayfly has no mocked results.")
	}
	machine, _ := asl.Parse([]byte(m.Definition), asl.ParseOptions{})
	err := check(m.Name, m.testCase, func(name string) error {
		state := machine.State(name)
		switch task, ok := state.(*asl.TaskState); {
		case state == nil:
			return fmt.Errorf("the definition has no state %q", name)
		case !ok:
			return fmt.Errorf("the state %q is no Task and calls nothing", name)
		default:
			if r, err := execution.ParseResource(task.Resource); err == nil && r.Kind == execution.Activity {
				return fmt.Errorf("the state %q waits for a worker of an activity, which a mock configuration cannot mock: leave it out of the test case and let a worker answer, or test the state alone with TestState", name)
			}
		}
		return nil
	})
	if err != nil {
		return invalid("%s", err)
	}
	return nil
}

// start is what StartExecution and StartSyncExecution share.
func (s *Service) start(ctx context.Context, m *target, name, in, trace *string) (engine.Execution, error) {
	x := engine.Execution{Definition: []byte(m.Definition), RequestKey: awscall.RequestKey(ctx)}
	if m.Deleting {
		return x, deleting(m.ARN)
	}
	n := uuid(ctx, "execution")
	if name != nil {
		if err := checkName(*name); err != nil {
			return x, err
		}
		n = *name
	}
	var err error
	if x.Input, err = input(in, s.limits().Data.Payload); err != nil {
		return x, err
	}
	x.Text = awsapi.Val(in)
	p := who(ctx)
	if m.testCase != "" {
		if err := s.checkTestCase(m); err != nil {
			return x, err
		}
	}
	x.Identity = execution.Identity{Name: n, Express: m.Type == express, MachineARN: m.ARN, MachineName: m.Name, RoleARN: m.RoleARN, By: p, VersionARN: m.versionARN(), AliasARN: m.aliasARN, TestCase: m.testCase, Settings: m.kept(),
		Parent: p.Execution, TraceHeader: awsapi.Val(trace), Region: p.Region, ARN: arn(p, "execution:"+m.Name+":"+n)}
	if m.Type == express {
		x.Identity.ARN = arn(p, "express:"+m.Name+":"+n+":"+uuid(ctx, "express"))
	}
	return x, nil
}

// StartExecution starts an execution. AWS: a Standard one is idempotent by its name while it runs, given the same input.
func (s *Service) StartExecution(ctx context.Context, in *api.StartExecutionInput) (*api.StartExecutionOutput, error) {
	m, err := s.startable(ctx, in.StateMachineArn)
	if err != nil {
		return nil, err
	}
	operation := "StartExecution"
	if m.Type == express {
		operation = startExpress
	}
	if err := s.throttle(ctx, operation); err != nil {
		return nil, err
	}
	x, err := s.start(ctx, &m, in.Name, in.Input, in.TraceHeader)
	if err != nil {
		return nil, err
	}
	started, err := s.cfg.Engine.CreateExecution(ctx, x)
	if err != nil {
		return nil, err
	}
	return &api.StartExecutionOutput{ExecutionArn: x.Identity.ARN, StartDate: started}, nil
}

// StartSyncExecution runs an Express execution and answers with its end.
func (s *Service) StartSyncExecution(ctx context.Context, in *api.StartSyncExecutionInput) (*api.StartSyncExecutionOutput, error) {
	m, err := s.startable(ctx, in.StateMachineArn)
	if err != nil {
		return nil, err
	}
	if m.Type != express {
		return nil, unsupportedType()
	}
	x, err := s.start(ctx, &m, in.Name, in.Input, in.TraceHeader)
	if err != nil {
		return nil, err
	}
	d, err := s.cfg.Engine.StartSync(ctx, x)
	if err != nil {
		return nil, err
	}
	_, memory := expressMemory(len(m.Definition), d.Input, d.Output)
	out := &api.StartSyncExecutionOutput{ExecutionArn: d.ARN, StateMachineArn: &d.MachineARN, Name: &d.Name, StartDate: d.Started, StopDate: d.Stopped,
		Status: string(d.Status), TraceHeader: optional(d.TraceHeader),
		BillingDetails: &api.BillingDetails{BilledMemoryUsedInMB: awsapi.Ptr(memory >> 20), BilledDurationInMilliseconds: awsapi.Ptr(billedDuration(d.Stopped.Sub(d.Started)).Milliseconds())}}
	out.Input, out.InputDetails = data(d.Input, d.Text, in.IncludedData)
	text, err := s.outputText(ctx, d)
	if err != nil {
		return nil, err
	}
	out.Output, out.OutputDetails = data(d.Output, text, in.IncludedData)
	out.Error, out.Cause = failure(d, in.IncludedData)
	return out, nil
}

// data is a value as the API shows it, with the note that it is there: as it was written, where it has blanks.
func data(v jsonvalue.Value, text string, included *string) (*string, *api.CloudWatchEventsExecutionDataDetails) {
	if v.IsZero() {
		return nil, nil
	}
	if awsapi.Val(included) == "METADATA_ONLY" {
		return nil, &api.CloudWatchEventsExecutionDataDetails{Included: awsapi.Ptr(false)}
	}
	return awsapi.Ptr(cmp.Or(text, v.String())), &api.CloudWatchEventsExecutionDataDetails{Included: awsapi.Ptr(true)}
}

func failure(d *engine.Description, included *string) (code, cause *string) {
	if d.Failure == nil || awsapi.Val(included) == "METADATA_ONLY" {
		return nil, nil
	}
	return optional(d.Failure.Error), optional(d.Failure.Cause)
}

// execution reads the Standard execution that an ARN names.
func (s *Service) execution(ctx context.Context, text string) (*engine.Description, error) {
	if _, err := parse(text, "execution"); err != nil {
		return nil, err
	}
	d, err := s.cfg.Engine.Describe(ctx, text)
	if errors.Is(err, store.ErrNotFound) {
		return nil, awsapi.Errorf(400, "ExecutionDoesNotExist", "Execution Does Not Exist: '%s'", text)
	}
	return d, err
}

// DescribeExecution tells all of a Standard execution but its history.
func (s *Service) DescribeExecution(ctx context.Context, in *api.DescribeExecutionInput) (*api.DescribeExecutionOutput, error) {
	d, err := s.execution(ctx, in.ExecutionArn)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeExecutionOutput{ExecutionArn: d.ARN, StateMachineArn: d.MachineARN, Name: &d.Name, Status: string(d.Status), StartDate: d.Started,
		TraceHeader: optional(d.TraceHeader), MapRunArn: optional(d.MapRun), StateMachineVersionArn: optional(d.VersionARN), StateMachineAliasArn: optional(d.AliasARN),
		RedriveCount: &d.RedriveCount, RedriveStatus: awsapi.Ptr("REDRIVABLE")}
	out.Input, out.InputDetails = data(d.Input, d.Text, in.IncludedData)
	text, err := s.outputText(ctx, d)
	if err != nil {
		return nil, err
	}
	out.Output, out.OutputDetails = data(d.Output, text, in.IncludedData)
	out.Error, out.Cause = failure(d, in.IncludedData)
	if !d.Stopped.IsZero() {
		out.StopDate = &d.Stopped
	}
	if !d.RedriveDate.IsZero() {
		out.RedriveDate = &d.RedriveDate
	}
	reason, err := s.notRedrivable(ctx, d)
	if err != nil {
		return nil, err
	}
	if reason != "" {
		out.RedriveStatus, out.RedriveStatusReason = awsapi.Ptr("NOT_REDRIVABLE"), &reason
	} else if d.MapRun != "" {
		out.RedriveStatus = awsapi.Ptr("REDRIVABLE_BY_MAP_RUN")
	}
	return out, nil
}

// ListExecutions lists the executions of a state machine, of a version or of an alias, newest first.
func (s *Service) ListExecutions(ctx context.Context, in *api.ListExecutionsInput) (*api.ListExecutionsOutput, error) {
	switch {
	case in.MapRunArn != nil && in.StateMachineArn == nil:
		return s.listChildren(ctx, in)
	case in.MapRunArn != nil:
		return nil, awsapi.Errorf(400, "ValidationException", "Only one of stateMachineArn and mapRunArn can be specified")
	case in.RedriveFilter != nil || awsapi.Val(in.StatusFilter) == string(engine.PendingRedrive):
		return nil, awsapi.Errorf(400, "ValidationException", "redriveFilter and the statusFilter PENDING_REDRIVE need a mapRunArn")
	case in.StateMachineArn == nil:
		return nil, awsapi.Errorf(400, "ValidationException", "Either stateMachineArn or mapRunArn must be specified")
	}
	m, err := s.find(ctx, *in.StateMachineArn, "")
	if err != nil {
		return nil, err
	}
	if m.Type == express {
		return nil, unsupportedType()
	}
	of := "executions " + *in.StateMachineArn + " " + awsapi.Val(in.StatusFilter)
	from, err := after(in.NextToken, of)
	if err != nil {
		return nil, err
	}
	size := pageSize(in.MaxResults)
	rows, err := s.cfg.Engine.ListExecutions(ctx, *in.StateMachineArn, execution.Status(awsapi.Val(in.StatusFilter)), from, size+1)
	if err != nil {
		return nil, err
	}
	return executions(rows, size, of), nil
}

// executions is a page of a list, of up to size rows; one more says that there is a next page.
func executions(rows []engine.Row, size int, of string) *api.ListExecutionsOutput {
	out := &api.ListExecutionsOutput{Executions: []api.ExecutionListItem{}}
	for i, r := range rows {
		if i == size {
			out.NextToken = pageToken{of, rows[i-1].Cursor}.String()
			break
		}
		item := api.ExecutionListItem{ExecutionArn: r.ARN, StateMachineArn: r.MachineARN, Name: r.Name, Status: string(r.Status), StartDate: r.Started,
			StateMachineVersionArn: optional(r.VersionARN), StateMachineAliasArn: optional(r.AliasARN), RedriveCount: &r.Redrives}
		if r.MapRun != "" {
			item.MapRunArn, item.ItemCount = &r.MapRun, &r.Items
		}
		if !r.Redriven.IsZero() {
			item.RedriveDate = &r.Redriven
		}
		if !r.Stopped.IsZero() {
			item.StopDate = &r.Stopped
		}
		out.Executions = append(out.Executions, item)
	}
	return out
}

// StopExecution aborts a Standard execution; for one that has ended it answers when that was.
func (s *Service) StopExecution(ctx context.Context, in *api.StopExecutionInput) (*api.StopExecutionOutput, error) {
	if _, err := s.execution(ctx, in.ExecutionArn); err != nil {
		return nil, err
	}
	stopped, err := s.cfg.Engine.StopExecution(ctx, in.ExecutionArn, awsapi.Val(in.Error), awsapi.Val(in.Cause))
	if err != nil {
		return nil, err
	}
	return &api.StopExecutionOutput{StopDate: stopped}, nil
}

// GetExecutionHistory pages through the events of a Standard execution, forwards or backwards. A page token is the number
// of the last event seen.
func (s *Service) GetExecutionHistory(ctx context.Context, in *api.GetExecutionHistoryInput) (*api.GetExecutionHistoryOutput, error) {
	d, err := s.execution(ctx, in.ExecutionArn)
	if err != nil {
		return nil, err
	}
	reverse := awsapi.Val(in.ReverseOrder)
	of := fmt.Sprintf("history %s %v", d.ARN, reverse)
	text, err := after(in.NextToken, of)
	if err != nil {
		return nil, err
	}
	size := int64(pageSize(in.MaxResults))
	first, last := int64(1), size // the events of this page
	if reverse {
		first, last = max(d.LastEvent-size+1, 1), d.LastEvent
	}
	if text != "" {
		seen, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, awsapi.Errorf(400, "InvalidToken", "Invalid Token: 'Invalid token'")
		}
		if first, last = seen+1, seen+size; reverse {
			first, last = max(seen-size, 1), seen-1
		}
	}
	out := &api.GetExecutionHistoryOutput{Events: []api.HistoryEvent{}}
	withData := in.IncludeExecutionData == nil || *in.IncludeExecutionData
	var more bool
	payload := newWritten(d)
	for e, err := range s.cfg.Engine.History(ctx, d.ARN) {
		if err != nil {
			return nil, fmt.Errorf("read the history of %s: %w", d.ARN, err)
		}
		if e.ID > last {
			more = true
			break
		}
		payload.next(e)
		if e.ID < first {
			continue
		}
		h, err := historyEvent(e, withData, payload.text)
		if err != nil {
			return nil, err
		}
		out.Events = append(out.Events, h)
	}
	if reverse {
		for i, j := 0, len(out.Events)-1; i < j; i, j = i+1, j-1 {
			out.Events[i], out.Events[j] = out.Events[j], out.Events[i]
		}
		more = first > 1
	}
	if n := len(out.Events); more && n > 0 {
		out.NextToken = pageToken{of, strconv.FormatInt(out.Events[n-1].Id, 10)}.String()
	}
	return out, nil
}

// written is how the payloads of a history are shown. AWS: the input keeps the blanks that it was written with as long as
// it is only passed on, and a Parallel joins the texts of its branches; what a Task or Map makes has none (recorded:
// scenarios test_map_state_legacy_config_inline, test_parallel_state_nested).
type written struct {
	texts map[string]string // as they were written, by what they are without blanks
	made  bool              // a state has made something new
}

func newWritten(d *engine.Description) *written {
	w := &written{texts: map[string]string{}}
	if d.Text != "" {
		w.texts[d.Input.String()] = d.Text
	}
	return w
}

func (w *written) next(e *history.Event) {
	switch e.Type {
	case history.TaskStateExited, history.MapStateExited:
		w.made = true
	case history.ParallelStateExited:
		w.join(e.Details.(*history.Exited).Output)
	}
}

// maxJoined is how many bytes of blanks and all are kept of a Parallel's output.
const maxJoined = 1 << 20

// join notes the output of a Parallel when it is made of texts that its branches passed on.
func (w *written) join(output jsonvalue.Value) {
	var parts []string
	known, size := false, 0
	for v := range output.Elements() {
		text, ok := w.texts[v.String()]
		parts, known = append(parts, cmp.Or(text, v.String())), known || ok
		size += len(parts[len(parts)-1])
	}
	if w.made = w.made || !known || size > maxJoined; !w.made {
		w.texts[output.String()] = "[" + strings.Join(parts, ",") + "]"
	}
}

func (w *written) text(v jsonvalue.Value) string {
	compact := v.String()
	if text, ok := w.texts[compact]; ok && !w.made {
		return text
	}
	return compact
}

// outputText is the output as the history shows it, "" without blanks.
func (s *Service) outputText(ctx context.Context, d *engine.Description) (string, error) {
	if d.Text == "" || d.Output.IsZero() || !strings.Contains(d.Output.String(), d.Input.String()) {
		return "", nil
	}
	payload := newWritten(d)
	for e, err := range s.cfg.Engine.History(ctx, d.ARN) {
		if err != nil {
			return "", fmt.Errorf("read the history of %s: %w", d.ARN, err)
		}
		payload.next(e)
	}
	return payload.text(d.Output), nil
}

func historyEvent(e *history.Event, withData bool, text func(jsonvalue.Value) string) (h api.HistoryEvent, err error) {
	if err := awsapi.FromDocument(e.Tree(withData, text), &h); err != nil {
		return h, fmt.Errorf("event %d, %s: %w", e.ID, e.Type, err)
	}
	return h, nil
}

// SendTaskSuccess ends a task well.
func (s *Service) SendTaskSuccess(ctx context.Context, in *api.SendTaskSuccessInput) (*api.SendTaskSuccessOutput, error) {
	output, err := jsonvalue.ParseLimit([]byte(in.Output), s.limits().Data.Payload)
	if err != nil {
		return nil, awsapi.Errorf(400, "InvalidOutput", "Invalid Output: '%s'", asl.JacksonSentence([]byte(in.Output), err))
	}
	if err := s.cfg.Engine.TaskSucceeded(ctx, in.TaskToken, output); err != nil {
		return nil, err
	}
	return &api.SendTaskSuccessOutput{}, nil
}

// SendTaskFailure fails a task.
func (s *Service) SendTaskFailure(ctx context.Context, in *api.SendTaskFailureInput) (*api.SendTaskFailureOutput, error) {
	if err := s.cfg.Engine.TaskFailed(ctx, in.TaskToken, awsapi.Val(in.Error), awsapi.Val(in.Cause)); err != nil {
		return nil, err
	}
	return &api.SendTaskFailureOutput{}, nil
}

// SendTaskHeartbeat says that a task goes on.
func (s *Service) SendTaskHeartbeat(ctx context.Context, in *api.SendTaskHeartbeatInput) (*api.SendTaskHeartbeatOutput, error) {
	if err := s.cfg.Engine.TaskHeartbeat(ctx, in.TaskToken); err != nil {
		return nil, err
	}
	return &api.SendTaskHeartbeatOutput{}, nil
}
