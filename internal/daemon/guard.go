package daemon

import (
	"context"
	"errors"

	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/sqlite"
)

// guarded is a store that tells when it can be trusted no more: a commit that failed for another reason than a condition
// of its batch. The store answers nothing but that error from then on, and the server ends with it.
type guarded struct {
	store.Store
	fatal func(error)
}

func (g guarded) Commit(ctx context.Context, b store.Batch) error {
	err := g.Store.Commit(ctx, b)
	if ctx.Err() == nil {
		g.look(err)
	}
	return err
}

func (g guarded) CommitAsync(b store.Batch, done func(error)) {
	g.Store.CommitAsync(b, func(err error) {
		g.look(err)
		done(err)
	})
}

func (g guarded) look(err error) {
	if err == nil || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrFenced) || errors.Is(err, sqlite.ErrClosed) {
		return
	}
	g.fatal(err)
}
