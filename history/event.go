package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Event is one entry of an execution's history.
type Event struct {
	ID, Previous int64
	At           time.Time
	Type         Type
	Details      Details // of the Go type that belongs to Type; nil for types without details
}

// Details are what a type of event tells: one of the types in this file.
type Details interface {
	members() iter.Seq2[string, any]
}

type (
	// ExecutionStart is the details of ExecutionStarted.
	ExecutionStart struct {
		Input      jsonvalue.Value `json:"input,omitzero"`
		Text       string          `json:"text,omitempty"` // the input as it was written, where it has blanks
		RoleARN    string          `json:"roleArn,omitempty"`
		AliasARN   string          `json:"stateMachineAliasArn,omitempty"`
		VersionARN string          `json:"stateMachineVersionArn,omitempty"`
	}
	// Output is the details of what succeeded: an execution, a function, an activity.
	Output struct {
		Output jsonvalue.Value `json:"output,omitzero"`
	}
	// Failure is the details of what failed without naming a resource.
	Failure struct {
		Error *string `json:"error,omitempty"`
		Cause *string `json:"cause,omitempty"`
	}
	// Redrive is the details of ExecutionRedriven.
	Redrive struct {
		Count int64 `json:"redriveCount"`
	}
	// Entered is the details of all …StateEntered.
	Entered struct {
		Name  string          `json:"name"`
		Input jsonvalue.Value `json:"input,omitzero"`
	}
	// Exited is the details of all …StateExited. Assigned is an object: variable to value, absent when nothing was.
	Exited struct {
		Name     string          `json:"name"`
		Output   jsonvalue.Value `json:"output,omitzero"`
		Assigned jsonvalue.Value `json:"assignedVariables,omitzero"`
	}
	// Length is the details of MapStateStarted.
	Length struct {
		Length int64 `json:"length"`
	}
	// Iteration is the details of all MapIteration….
	Iteration struct {
		Name  string `json:"name"`
		Index int64  `json:"index"`
	}
	// MapRun is the details of MapRunStarted.
	MapRun struct {
		ARN string `json:"mapRunArn"`
	}
	// MapRunRedrive is the details of MapRunRedriven.
	MapRunRedrive struct {
		ARN   string `json:"mapRunArn"`
		Count int64  `json:"redriveCount"`
	}
	// Resource names an integration as events do: type "lambda" and resource "invoke.waitForTaskToken".
	Resource struct {
		ResourceType string `json:"resourceType"`
		Resource     string `json:"resource"`
	}
	// TaskSchedule is the details of TaskScheduled. The numbers are seconds, 0 when there is no limit.
	TaskSchedule struct {
		Resource
		Region     string          `json:"region"`
		Parameters jsonvalue.Value `json:"parameters,omitzero"`
		Timeout    int64           `json:"timeoutInSeconds,omitempty"`
		Heartbeat  int64           `json:"heartbeatInSeconds,omitempty"`
		RoleARN    string          `json:"taskCredentialsRoleArn,omitempty"`
	}
	// TaskStart is the details of TaskStarted.
	TaskStart struct{ Resource }
	// TaskOutput is the details of TaskSubmitted and TaskSucceeded.
	TaskOutput struct {
		Resource
		Output jsonvalue.Value `json:"output,omitzero"`
	}
	// TaskFailure is the details of a task that failed or timed out.
	TaskFailure struct {
		Resource
		Failure
	}
	// FunctionSchedule is the details of LambdaFunctionScheduled.
	FunctionSchedule struct {
		Resource string          `json:"resource"`
		Input    jsonvalue.Value `json:"input,omitzero"`
		Timeout  int64           `json:"timeoutInSeconds,omitempty"`
		RoleARN  string          `json:"taskCredentialsRoleArn,omitempty"`
	}
	// ActivitySchedule is the details of ActivityScheduled.
	ActivitySchedule struct {
		Resource  string          `json:"resource"`
		Input     jsonvalue.Value `json:"input,omitzero"`
		Timeout   int64           `json:"timeoutInSeconds,omitempty"`
		Heartbeat int64           `json:"heartbeatInSeconds,omitempty"`
	}
	// ActivityStart is the details of ActivityStarted.
	ActivityStart struct {
		Worker string `json:"workerName,omitempty"`
	}
	// Evaluation is the details of EvaluationFailed.
	Evaluation struct {
		Failure
		State    string `json:"state"`
		Location string `json:"location,omitempty"`
	}
)

// data is a payload: the API shows it as text with a member beside it that says whether it was cut. Mayfly never cuts.
type data struct{ jsonvalue.Value }

type yield = func(string, any) bool

// put gives one member to the reader, leaving out what is absent.
func put(y yield, name string, v any) bool {
	switch v := v.(type) {
	case string:
		if v == "" {
			return true
		}
	case *string:
		if v == nil {
			return true
		}
		return y(name, *v)
	case data:
		if v.IsZero() {
			return true
		}
	}
	return y(name, v)
}

// seconds is a limit that is left out when there is none.
func seconds(y yield, name string, n int64) bool { return n == 0 || y(name, n) }

func (d *ExecutionStart) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) {
		_ = put(y, "input", data{d.Input}) && put(y, "roleArn", d.RoleARN) &&
			put(y, "stateMachineAliasArn", d.AliasARN) && put(y, "stateMachineVersionArn", d.VersionARN)
	}
}

func (d *Output) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) { put(y, "output", data{d.Output}) }
}

func (d *Failure) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) { _ = put(y, "error", d.Error) && put(y, "cause", d.Cause) }
}

func (d *Redrive) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) { y("redriveCount", d.Count) }
}

func (d *Entered) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) { _ = y("name", d.Name) && put(y, "input", data{d.Input}) }
}

func (d *Exited) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) {
		if !y("name", d.Name) || !put(y, "output", data{d.Output}) || d.Assigned.IsZero() {
			return
		}
		assigned := map[string]any{}
		for name, v := range d.Assigned.Members() {
			assigned[name] = v.String()
		}
		_ = y("assignedVariables", assigned) && y("assignedVariablesDetails", map[string]any{"truncated": false})
	}
}

func (d *Length) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) { y("length", d.Length) }
}

func (d *Iteration) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) { _ = y("name", d.Name) && y("index", d.Index) }
}

func (d *MapRun) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) { y("mapRunArn", d.ARN) }
}

func (d *MapRunRedrive) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) { _ = y("mapRunArn", d.ARN) && y("redriveCount", d.Count) }
}

func (d *Resource) put(y yield) bool {
	return y("resourceType", d.ResourceType) && y("resource", d.Resource)
}

func (d *TaskSchedule) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) {
		_ = d.put(y) && y("region", d.Region) && y("parameters", d.Parameters.String()) &&
			seconds(y, "timeoutInSeconds", d.Timeout) && seconds(y, "heartbeatInSeconds", d.Heartbeat) &&
			credentials(y, d.RoleARN)
	}
}

func credentials(y yield, role string) bool {
	return role == "" || y("taskCredentials", map[string]any{"roleArn": role})
}

func (d *TaskStart) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) { d.put(y) }
}

func (d *TaskOutput) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) { _ = d.put(y) && put(y, "output", data{d.Output}) }
}

func (d *TaskFailure) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) {
		_ = d.put(y) && put(y, "error", d.Error) && put(y, "cause", d.Cause)
	}
}

func (d *FunctionSchedule) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) {
		_ = y("resource", d.Resource) && put(y, "input", data{d.Input}) &&
			seconds(y, "timeoutInSeconds", d.Timeout) && credentials(y, d.RoleARN)
	}
}

func (d *ActivitySchedule) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) {
		_ = y("resource", d.Resource) && put(y, "input", data{d.Input}) &&
			seconds(y, "timeoutInSeconds", d.Timeout) && seconds(y, "heartbeatInSeconds", d.Heartbeat)
	}
}

func (d *ActivityStart) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) { put(y, "workerName", d.Worker) }
}

func (d *Evaluation) members() iter.Seq2[string, any] {
	return func(y func(string, any) bool) {
		_ = put(y, "error", d.Error) && put(y, "cause", d.Cause) && y("state", d.State) && put(y, "location", d.Location)
	}
}

// Tree is the event as GetExecutionHistory answers it, by the model's names. Without data, inputs, outputs, errors and
// causes are left out, as includeExecutionData=false asks. text is how payloads are shown.
func (e *Event) Tree(withData bool, text func(jsonvalue.Value) string) map[string]any {
	tree := map[string]any{"id": e.ID, "previousEventId": e.Previous, "timestamp": e.At, "type": string(e.Type)}
	if e.Details == nil {
		return tree
	}
	details := map[string]any{}
	for name, v := range e.Details.members() {
		switch v := v.(type) {
		case data:
			if withData {
				details[name], details[name+"Details"] = text(v.Value), map[string]any{"truncated": false}
			}
			continue
		}
		if !withData && (name == "error" || name == "cause" || name == "parameters" || strings.HasPrefix(name, "assigned")) {
			if name == "parameters" {
				details[name] = "" // required by the model
			}
			continue
		}
		details[name] = v
	}
	tree[forms[e.Type].member] = details
	return tree
}

// Line is the event on one line, without its time: id, previous id, type and details in the order of the API.
//
//	3 ← 2  TaskScheduled  resourceType=lambda resource=invoke region=us-east-1 parameters={"Payload":1}
func (e *Event) Line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d ← %d  %s", e.ID, e.Previous, e.Type)
	if e.Details == nil {
		return b.String()
	}
	sep := "  "
	for name, v := range e.Details.members() {
		if strings.HasSuffix(name, "Details") {
			continue
		}
		text := fmt.Sprint(v)
		switch v := v.(type) {
		case data:
			text = v.String()
		case map[string]any:
			text = mustJSON(v)
		case string:
			if strings.ContainsAny(v, " \n\t\"=") && !strings.HasPrefix(v, "{") {
				text = mustJSON(v)
			}
		}
		b.WriteString(sep + name + "=" + text)
		sep = " "
	}
	return b.String()
}

func mustJSON(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // maps and strings always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// stored is the journal's form of an event.
type stored struct {
	ID       int64           `json:"i"`
	Previous int64           `json:"p"` // left out when 0
	At       int64           `json:"t"` // microseconds since 1970
	Type     Type            `json:"y"`
	Details  json.RawMessage `json:"d"` // left out where there are none
}

// MarshalJSON writes the journal's form.
func (e Event) MarshalJSON() ([]byte, error) {
	var buf bytes.Buffer
	b := append(buf.AvailableBuffer(), `{"i":`...)
	b = strconv.AppendInt(b, e.ID, 10)
	if e.Previous != 0 {
		b = strconv.AppendInt(append(b, `,"p":`...), e.Previous, 10)
	}
	b = strconv.AppendInt(append(b, `,"t":`...), e.At.UnixMicro(), 10)
	b = append(append(append(b, `,"y":"`...), e.Type...), '"')
	buf.Write(b)
	if e.Details != nil {
		buf.WriteString(`,"d":`)
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false) // payloads keep their text
		if err := enc.Encode(e.Details); err != nil {
			return nil, fmt.Errorf("encode details of %s: %w", e.Type, err)
		}
	}
	buf.WriteByte('}')
	return buf.Bytes(), nil
}

// UnmarshalJSON reads the journal's form.
func (e *Event) UnmarshalJSON(b []byte) error {
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	f, known := forms[s.Type]
	if !known {
		return fmt.Errorf("event %d has unknown type %q", s.ID, s.Type)
	}
	*e = Event{ID: s.ID, Previous: s.Previous, At: time.UnixMicro(s.At).UTC(), Type: s.Type}
	if f.make == nil {
		return nil
	}
	e.Details = f.make()
	if s.Details == nil {
		return fmt.Errorf("event %d of type %s has no details", s.ID, s.Type)
	}
	return json.Unmarshal(s.Details, e.Details)
}

// Types yields all 62 types with an empty value of their details; nil for types that have none.
func Types() iter.Seq2[Type, Details] {
	return func(yield func(Type, Details) bool) {
		for t, f := range forms {
			var d Details
			if f.make != nil {
				d = f.make()
			}
			if !yield(t, d) {
				return
			}
		}
	}
}
