package states

import (
	"testing"

	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// TestWritten tables how a value is shown after states have been left, for an input of [1, 2].
func TestWritten(t *testing.T) {
	exit := func(typ history.Type, output string) *history.Event {
		return &history.Event{Type: typ, Details: &history.Exited{Output: jsonvalue.MustParse(output)}}
	}
	for _, c := range []struct {
		what   string
		events []*history.Event
		value  string
		want   string
	}{
		{"the input", nil, `[1,2]`, `[1, 2]`},
		{"another value", nil, `[2,1]`, `[2,1]`},
		{"a Parallel that passes it on", []*history.Event{exit(history.ParallelStateExited, `[[1,2],7]`)}, `[[1,2],7]`, `[[1, 2],7]`},
		{"one in another", []*history.Event{exit(history.ParallelStateExited, `[[1,2]]`), exit(history.ParallelStateExited, `[[[1,2]],[1,2]]`)}, `[[[1,2]],[1,2]]`, `[[[1, 2]],[1, 2]]`},
		{"a Parallel that makes its own", []*history.Event{exit(history.ParallelStateExited, `[7]`)}, `[1,2]`, `[1,2]`},
		{"a Map", []*history.Event{exit(history.MapStateExited, `[1,2]`)}, `[1,2]`, `[1,2]`},
		{"a Parallel after a Task", []*history.Event{exit(history.TaskStateExited, `[1,2]`), exit(history.ParallelStateExited, `[[1,2]]`)}, `[[1,2]]`, `[[1,2]]`},
		{"a Pass", []*history.Event{exit(history.PassStateExited, `[1,2]`)}, `[1,2]`, `[1, 2]`},
	} {
		w := newWritten(&engine.Description{Input: jsonvalue.MustParse(`[1, 2]`), Text: `[1, 2]`})
		for _, e := range c.events {
			w.next(e)
		}
		if got := w.text(jsonvalue.MustParse(c.value)); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}
