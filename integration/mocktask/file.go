package mocktask

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Mocks are what a file says.
type Mocks struct {
	file     string
	machines map[string]map[string]map[string]response // by state machine, test case and state
}

// response is what the starts of a state give.
type response struct {
	name   string
	ranges []answer // in the order of the file
}

type answer struct {
	first, last int64
	outcome     execution.Outcome
}

func (r *response) at(n int64) (execution.Outcome, bool) {
	for _, a := range r.ranges {
		if a.first <= n && n <= a.last {
			return a.outcome, true
		}
	}
	return execution.Outcome{}, false
}

const maxFile = 64 << 20

// Load reads and checks a file. The error names everything that is wrong with it, each with its line.
func Load(path string) (*Mocks, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the mock configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the mock configuration %s: %w", path, err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("the mock configuration %s is larger than %d bytes", path, maxFile)
	}
	return parse(path, b)
}

// reader collects what is wrong with a file.
type reader struct {
	file  string
	text  []byte
	wrong []error
}

func parse(path string, text []byte) (*Mocks, error) {
	r := &reader{file: path, text: text}
	doc, err := jsonvalue.ParseWith(text, jsonvalue.Options{Positions: true, Duplicate: func(name string, offset int) {
		if len(r.wrong) < maxProblems {
			r.wrong = append(r.wrong, fmt.Errorf("%s:%d: %q stands there twice", path, line(text, offset), name))
		}
	}})
	if err != nil {
		var syntax *jsonvalue.SyntaxError
		at := 0
		if errors.As(err, &syntax) {
			at = syntax.Offset
		}
		return nil, fmt.Errorf("%s:%d: this is not JSON: %w", path, line(text, at), err)
	}
	m := &Mocks{file: path, machines: map[string]map[string]map[string]response{}}
	r.members(doc, "the file", "StateMachines", "MockedResponses")
	responses := map[string]response{}
	for name, v := range r.object(doc, "MockedResponses") {
		responses[name] = r.response(name, v)
	}
	for machine, v := range r.object(doc, "StateMachines") {
		cases := map[string]map[string]response{}
		r.members(v, "state machine "+strconv.Quote(machine), "TestCases")
		for name, v := range r.object(v, "TestCases") {
			states := map[string]response{}
			for state, v := range r.children(v, "test case "+strconv.Quote(name)) {
				known, ok := responses[v.Str()]
				switch {
				case v.Kind() != jsonvalue.KindString:
					r.say(v, "state %q of test case %q needs the name of a response in MockedResponses", state, name)
				case !ok:
					r.say(v, "state %q of test case %q: MockedResponses has no response %q; add it, or correct the name", state, name, v.Str())
				}
				states[state] = known
			}
			cases[name] = states
		}
		m.machines[machine] = cases
	}
	if len(r.wrong) > 0 {
		return nil, errors.Join(r.wrong...)
	}
	return m, nil
}

func line(text []byte, offset int) int {
	return 1 + bytes.Count(text[:min(max(offset, 0), len(text))], []byte("\n"))
}

const maxProblems = 20

func (r *reader) say(at jsonvalue.Value, format string, args ...any) {
	if len(r.wrong) < maxProblems {
		r.wrong = append(r.wrong, fmt.Errorf("%s:%d: %s", r.file, line(r.text, at.Offset()), fmt.Sprintf(format, args...)))
	}
}

// children are the members of what must be an object.
func (r *reader) children(v jsonvalue.Value, what string) func(func(string, jsonvalue.Value) bool) {
	if v.Kind() != jsonvalue.KindObject {
		r.say(v, "%s must be a JSON object, not %s", what, v.Kind())
		return func(func(string, jsonvalue.Value) bool) {}
	}
	return v.Members()
}

func (r *reader) object(v jsonvalue.Value, name string) func(func(string, jsonvalue.Value) bool) {
	m, ok := v.Get(name)
	if !ok {
		return func(func(string, jsonvalue.Value) bool) {}
	}
	return r.children(m, name)
}

// members refuses members of other names.
func (r *reader) members(v jsonvalue.Value, what string, allowed ...string) {
	for name, m := range r.children(v, what) {
		if !slices.Contains(allowed, name) {
			r.say(m, "%s cannot have a member %q, only %s", what, name, strings.Join(allowed, " and "))
		}
	}
}

func (r *reader) response(name string, v jsonvalue.Value) response {
	out := response{name: name}
	for key, v := range r.children(v, "response "+strconv.Quote(name)) {
		where := fmt.Sprintf("response %q, %q", name, key)
		low, high, isRange := strings.Cut(key, "-")
		a := answer{}
		var err, err2 error
		a.first, err = strconv.ParseInt(low, 10, 32)
		if a.last = a.first; isRange {
			a.last, err2 = strconv.ParseInt(high, 10, 32)
		}
		if err != nil || err2 != nil || a.first < 0 || a.last < a.first {
			r.say(v, "%s: responses are numbered from 0, as in \"0\" or \"1-3\"", where)
			continue
		}
		if i := slices.IndexFunc(out.ranges, func(b answer) bool { return a.first <= b.last && b.first <= a.last }); i >= 0 {
			r.say(v, "%s: number %d stands there twice", where, max(a.first, out.ranges[i].first))
		}
		r.members(v, where, "Return", "Throw")
		result, returns := v.Get("Return")
		thrown, throws := v.Get("Throw")
		switch {
		case returns == throws:
			r.say(v, "%s needs either Return or Throw", where)
		case returns:
			a.outcome.Output = result
		default:
			r.members(thrown, where+", Throw", "Error", "Cause")
			a.outcome.Failure = &asl.Failure{Error: r.str(thrown, "Error", where), Cause: r.str(thrown, "Cause", where)}
		}
		out.ranges = append(out.ranges, a)
	}
	if len(out.ranges) == 0 {
		r.say(v, "response %q is empty: give it a \"0\" with Return or Throw", name)
	}
	return out
}

func (r *reader) str(v jsonvalue.Value, name, where string) string {
	m, ok := v.Get(name)
	if !ok {
		return ""
	}
	if m.Kind() != jsonvalue.KindString {
		r.say(m, "%s: %s must be a string", where, name)
		return ""
	}
	return m.Str()
}

// Check says why an execution cannot run a test case; nil when it can. States are those of the definition: a mocked one
// that is not there, or calls nothing, is a mistake in the file.
func (m *Mocks) Check(machine, testCase string, mockable func(state string) error) error {
	if m == nil {
		return errors.New("this server has no mock configuration: start it with --mock-config FILE")
	}
	cases, ok := m.machines[machine]
	if !ok {
		return fmt.Errorf("%s has no state machine %q, but %s", m.file, machine, names(m.machines))
	}
	states, ok := cases[testCase]
	if !ok {
		return fmt.Errorf("%s has no test case %q of the state machine %q, but %s", m.file, testCase, machine, names(cases))
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		if err := mockable(state); err != nil {
			return fmt.Errorf("%s, test case %q of the state machine %q: %w", m.file, testCase, machine, err)
		}
	}
	return nil
}

func names[V any](m map[string]V) string {
	list := slices.Sorted(maps.Keys(m))
	switch {
	case len(list) == 0:
		return "none at all"
	case len(list) > 10:
		return strings.Join(list[:10], ", ") + " …"
	}
	return strings.Join(list, ", ")
}
