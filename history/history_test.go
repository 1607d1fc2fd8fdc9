package history_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// TestTypes checks that all 62 types are there and that an event of each survives the journal.
func TestTypes(t *testing.T) {
	n := 0
	for typ, d := range history.Types() {
		n++
		fill(reflect.ValueOf(d))
		e := history.Event{ID: 7, Previous: 3, At: time.UnixMicro(1700000000123456).UTC(), Type: typ, Details: d}
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		var back history.Event
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		if e.Line() != back.Line() {
			t.Errorf("%s: came back as\n%s\nnot\n%s", typ, back.Line(), e.Line())
		}
		if diff := cmp.Diff(e.Tree(true, jsonvalue.Value.String), back.Tree(true, jsonvalue.Value.String)); diff != "" {
			t.Errorf("%s: %s", typ, diff)
		}
		if d != nil && len(e.Tree(true, jsonvalue.Value.String)) != 5 {
			t.Errorf("%s: the API's event has %d members", typ, len(e.Tree(true, jsonvalue.Value.String)))
		}
	}
	if n != 62 {
		t.Errorf("%d types, want 62", n)
	}
}

// fill sets every field of the details, so that a lost one is noticed.
func fill(v reflect.Value) {
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return
	}
	v = reflect.Indirect(v)
	for i := range v.NumField() {
		switch f := v.Field(i); x := f.Addr().Interface().(type) {
		case *string:
			*x = "text with \"quotes\" " + v.Type().Field(i).Name
		case **string:
			s := "why"
			*x = &s
		case *int64:
			*x = int64(i + 2)
		case *jsonvalue.Value:
			*x = jsonvalue.MustParse(`{"a":[1.50,"x"]}`)
		default:
			fill(f.Addr())
		}
	}
}

func TestLine(t *testing.T) {
	e := history.Event{ID: 3, Previous: 2, Type: history.TaskScheduled, Details: &history.TaskSchedule{
		Resource:   history.Resource{ResourceType: "lambda", Resource: "invoke"},
		Region:     "us-east-1",
		Parameters: jsonvalue.MustParse(`{"Payload":1}`), Timeout: 5}}
	want := `3 ← 2  TaskScheduled  resourceType=lambda resource=invoke region=us-east-1 parameters={"Payload":1} timeoutInSeconds=5`
	if got := e.Line(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestTree checks the API's form: data as text with its details beside it, and nothing of it when it is not wanted.
func TestTree(t *testing.T) {
	e := history.Event{ID: 4, Previous: 3, At: time.Unix(5, 0), Type: history.PassStateExited, Details: &history.Exited{
		Name: "P", Output: jsonvalue.MustParse(`{"a":1}`), Assigned: jsonvalue.MustParse(`{"v":[1]}`)}}
	want := map[string]any{"id": int64(4), "previousEventId": int64(3), "timestamp": time.Unix(5, 0), "type": "PassStateExited",
		"stateExitedEventDetails": map[string]any{"name": "P", "output": `{"a":1}`, "outputDetails": map[string]any{"truncated": false},
			"assignedVariables": map[string]any{"v": "[1]"}, "assignedVariablesDetails": map[string]any{"truncated": false}}}
	if diff := cmp.Diff(want, e.Tree(true, jsonvalue.Value.String)); diff != "" {
		t.Error(diff)
	}
	bare, _ := json.Marshal(e.Tree(false, jsonvalue.Value.String))
	if strings.Contains(string(bare), "[1]") || strings.Contains(string(bare), `\"a\"`) {
		t.Errorf("data is shown though it was not wanted: %s", bare)
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	for _, bad := range []string{`{"i":1,"y":"NoSuchType"}`, `{"i":1,"y":"ExecutionStarted"}`, `[]`, `{"i":1,"y":"TaskScheduled","d":7}`} {
		var e history.Event
		if err := json.Unmarshal([]byte(bad), &e); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}
