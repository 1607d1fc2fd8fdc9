package mocktask

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestFiles loads each file of testdata/files; what is wrong with it stands beside it.
func TestFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/files/*.json")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		_, err := Load(name)
		got := "nothing is wrong\n"
		if err != nil {
			got = strings.ReplaceAll(err.Error(), "testdata/files/", "") + "\n"
		}
		golden := strings.TrimSuffix(name, ".json") + ".txt"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s:\n%s\nexpected:\n%s", name, got, want)
		}
	}
}

// real says that a call was made.
type real struct{}

func (real) Start(_ context.Context, t integration.Task) (integration.Result, error) {
	return integration.Result{}, errors.New("called " + t.State)
}
func (real) Poll(context.Context, integration.Job) (integration.Result, error) {
	return integration.Result{}, errors.New("polled")
}
func (real) Cancel(context.Context, integration.Job) error { return errors.New("cancelled") }
func (real) Watches(integration.Job) []string              { return []string{"real"} }

func TestStart(t *testing.T) {
	m, err := Load("testdata/files/good.json")
	if err != nil {
		t.Fatal(err)
	}
	i := m.Integration(real{})
	for _, c := range []struct {
		testCase, state, resource string
		start, retry              int64
		want                      string
	}{
		{"Declined", "Charge", "arn:aws:states:::lambda:invoke", 0, 0, "Lambda.TooManyRequestsException: busy"},
		{"Declined", "Charge", "arn:aws:states:::lambda:invoke", 1, 1, "Lambda.TooManyRequestsException: busy"},
		{"Declined", "Charge", "arn:aws:states:::lambda:invoke", 2, 2, `{"Payload":false}`},
		{"Declined", "Charge", "arn:aws:states:::lambda:invoke", 3, 0, "Lambda.TooManyRequestsException: busy"}, // a later visit
		{"Declined", "Charge", "arn:aws:states:::lambda:invoke", 7, 4, `States.Runtime: The mocked response "CardDeclined" has no number 4, which is needed for the state "Charge": add it to testdata/files/good.json.`},
		{"Declined", "Ship", "arn:aws:states:::lambda:invoke", 0, 0, "called Ship"},
		{"", "Charge", "arn:aws:states:::lambda:invoke", 0, 0, "called Charge"},
		{"Jobs", "Job", "arn:aws:states:::states:startExecution.sync", 0, 0, `submitted, then {"Status":"DONE"}`},
		{"Jobs", "Job", "arn:aws:states:::states:startExecution.sync", 1, 1, "submitted, then States.TaskFailed: {}"},
		{"Jobs", "Job", "arn:aws:states:::states:startExecution.sync", 2, 2, "StepFunctions.StateMachineDoesNotExistException: none"},
		{"Jobs", "Job", "arn:aws:states:::sqs:sendMessage.waitForTaskToken", 2, 2, "submitted, then StepFunctions.StateMachineDoesNotExistException: none"},
	} {
		r, err := execution.ParseResource(c.resource)
		if err != nil {
			t.Fatal(err)
		}
		task := integration.Task{State: c.state, Resource: r, Mock: integration.Mock{Machine: "Orders", TestCase: c.testCase, Start: c.start, Retry: c.retry}}
		result, err := i.Start(t.Context(), task)
		got := ""
		if err == nil && result.Running {
			job := integration.Job{Handle: result.Handle}
			if err := i.Cancel(t.Context(), job); err != nil || i.Watches(job) != nil {
				t.Error("a mocked job reached what is real: ", err)
			}
			got = "submitted, then "
			result, err = i.Poll(t.Context(), job)
		}
		switch {
		case err != nil:
			got += err.Error()
		case result.Failure != nil:
			got += fmt.Sprintf("%s: %s", result.Failure.Error, result.Failure.Cause)
		default:
			got += result.Output.String()
		}
		if got != c.want {
			t.Errorf("%+v:\n%s", c, got)
		}
	}
	if i.Watches(integration.Job{Handle: []byte(`{"step":"s"}`)}) == nil {
		t.Error("a real job is taken for a mocked one")
	}
}

func TestCheck(t *testing.T) {
	m, err := Load("testdata/files/good.json")
	if err != nil {
		t.Fatal(err)
	}
	fine := func(string) error { return nil }
	for _, c := range []struct {
		mocks             *Mocks
		machine, testCase string
		mockable          func(string) error
		want              string
	}{
		{m, "Orders", "Declined", fine, "<nil>"},
		{nil, "Orders", "Declined", fine, "this server has no mock configuration: start it with --mock-config FILE"},
		{m, "Order", "Declined", fine, `testdata/files/good.json has no state machine "Order", but Orders`},
		{m, "Orders", "Lost", fine, `testdata/files/good.json has no test case "Lost" of the state machine "Orders", but Declined, Jobs`},
		{m, "Orders", "Jobs", func(s string) error { return fmt.Errorf("no %s", s) }, `testdata/files/good.json, test case "Jobs" of the state machine "Orders": no Job`},
	} {
		if got := fmt.Sprint(c.mocks.Check(c.machine, c.testCase, c.mockable)); got != c.want {
			t.Errorf("%s %s: %s\nexpected %s", c.machine, c.testCase, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/files/*.json")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse("f", b)
		if (m == nil) == (err == nil) {
			t.Errorf("%v, %v", m, err)
		}
	})
}
