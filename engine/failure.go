package engine

import (
	"context"
	"fmt"

	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/store"
)

// TaskFailure is how a task of an execution failed.
type TaskFailure struct {
	Event        int64 // that tells of it
	Error, Cause string
	Response     jsonvalue.Value // what was answered with it; absent where nothing was
}

// TaskFailure finds a task's failure in an execution's journal: the event with that number, or with 0 the last one.
// store.ErrNotFound: there is none.
func (e *Engine) TaskFailure(ctx context.Context, arn string, event int64) (*TaskFailure, error) {
	es, err := e.entities(arn)
	if err != nil {
		return nil, store.ErrNotFound
	}
	var found *TaskFailure
	for r, err := range es.Records(ctx, id(arn), 0) {
		if err != nil {
			return nil, fmt.Errorf("read the journal of %s: %w", arn, err)
		}
		for _, f := range r.Facts {
			if f.Event == nil || f.Note == nil || f.Note.Completed == nil || event != 0 && f.Event.ID != event {
				continue
			}
			var d history.Failure
			switch x := f.Event.Details.(type) {
			case *history.TaskFailure:
				d = x.Failure
			case *history.Failure:
				d = *x
			default:
				continue
			}
			found = &TaskFailure{Event: f.Event.ID, Response: f.Note.Completed.Response}
			if d.Error != nil {
				found.Error = *d.Error
			}
			if d.Cause != nil {
				found.Cause = *d.Cause
			}
		}
	}
	if found == nil {
		return nil, store.ErrNotFound
	}
	return found, nil
}
