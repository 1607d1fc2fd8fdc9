package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/store"
)

// DefaultRetention is how long AWS keeps an ended execution, and its name taken.
const DefaultRetention = 90 * 24 * time.Hour

const (
	sweepEvery = time.Hour
	// sweepPage is how many rows a sweep reads at once, and sweepers how many entities it forgets at once: live commits share
	// their transactions, and shall not wait long.
	sweepPage = 256
	sweepers  = 16
	// maxAncestors is as deep as custody looks, too.
	maxAncestors = 100
)

// kindEnded are rows by which a sweep finds what has ended, the oldest first: the ID is the end and the ARN, with a blank
// between. An execution that was redriven has one for each of its ends; only the last one counts. The children of map runs
// have none: they go with the execution of their run.
const kindEnded = "ended"

func endedKey(s *execution.Snapshot) store.Key {
	return store.Key{Service: "states", Kind: kindEnded, ID: sortable(s.Stopped) + " " + s.Identity.ARN}
}

// retention forgets executions once they have been closed for as long as they are kept.
type retention struct {
	e     *Engine
	keep  time.Duration // 0: for ever
	timer clock.Timer
}

// schedule is called with e.mu held.
func (r *retention) schedule(d time.Duration) {
	if r.keep > 0 && !r.e.stopped {
		r.timer = r.e.cfg.Clock.AfterFunc(d, r.run)
	}
}

// stop is called with e.mu held. A sweep that is under way ends with the engine's context.
func (r *retention) stop() {
	if r.timer != nil {
		r.timer.Stop()
	}
}

func (r *retention) run() {
	if !r.e.begin() {
		return
	}
	defer r.e.polling.Done()
	n, err := r.sweep(r.e.ctx)
	if err != nil && r.e.ctx.Err() == nil {
		r.e.cfg.Log.Error("executions past their retention could not be forgotten", "again_in", sweepEvery, "err", err)
	}
	if n > 0 {
		r.e.cfg.Log.Info("executions forgotten", "count", n, "retention", r.keep)
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.schedule(sweepEvery)
}

// sweep forgets what has been closed for long enough, and says how many executions those were, children not counted. What
// cannot go yet, because something of it is under way, is left to the next sweep.
func (r *retention) sweep(ctx context.Context) (n int, err error) {
	before := sortable(r.e.cfg.Clock.Now().Add(-r.keep))
	q := store.Query{Service: "states", Kind: kindEnded, Limit: sweepPage}
	for {
		page, err := r.e.cfg.Store.List(ctx, q)
		if err != nil {
			return n, err
		}
		for _, f := range page {
			end, arn, _ := strings.Cut(f.Key.ID, " ")
			if end > before {
				return n, nil
			}
			q.After = f.Cursor
			gone, err := r.forget(ctx, f.Key, arn, end)
			if err != nil && !errors.Is(err, durable.ErrOpen) {
				return n, fmt.Errorf("forget %s: %w", arn, err)
			}
			if gone {
				n++
			}
		}
		if len(page) < sweepPage {
			return n, nil
		}
	}
}

// forget removes an execution if it ended then, and the map runs that it had until then with their children, and at last
// the row that told of it. The execution goes first, so that no redrive finds it with half of its children; after a crash
// the rest is found by its ARN, which another execution may have by then.
func (r *retention) forget(ctx context.Context, row store.Key, arn, end string) (gone bool, err error) {
	if err := r.needed(ctx, arn); err != nil {
		return false, err
	}
	told := []store.RowChange{{Key: row, Delete: true}}
	rows := []store.RowChange{{Key: executionKey(arn), Delete: true}}
	runs, err := r.e.ListMapRuns(ctx, arn, "", 1)
	if err != nil {
		return false, err
	}
	if len(runs) == 0 {
		rows = append(rows, told...)
	}
	another, redriven := false, false
	err = r.e.standard.Forget(ctx, id(arn), rows, func(s *execution.Snapshot) bool {
		gone = s.Status != execution.Running && sortable(s.Stopped) == end
		another, redriven = !gone, !gone && sortable(s.Started) <= end
		return gone
	})
	switch {
	case err != nil:
		return false, err
	case len(runs) == 0 && !another:
		return gone, nil
	case !redriven:
		if err := r.forgetRuns(ctx, arn, end); err != nil {
			return gone, err
		}
	}
	return gone, r.e.cfg.Store.Commit(ctx, store.Batch{Rows: told})
}

// needed is durable.ErrOpen while an execution that is above this one runs: what this one made may be its, and it is found
// through this one.
func (r *retention) needed(ctx context.Context, arn string) error {
	for depth := range maxAncestors {
		d, err := r.e.Describe(ctx, arn)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil
		case err != nil:
			return err
		case depth > 0 && d.Status == execution.Running:
			return durable.ErrOpen
		case d.Parent == "":
			return nil
		}
		arn = d.Parent
	}
	return nil
}

// forgetRuns removes the map runs of an execution that was forgotten, those of their children too.
func (r *retention) forgetRuns(ctx context.Context, arn, end string) error {
	after := ""
	for {
		runs, err := r.e.ListMapRuns(ctx, arn, after, sweepPage)
		if err != nil {
			return err
		}
		for _, run := range runs {
			after = run.Cursor
			if sortable(run.Started) > end {
				continue
			}
			if err := r.forgetChildren(ctx, run.ARN, end); err != nil {
				return err
			}
			rows := []store.RowChange{{Key: mapRunKey(run.ARN), Delete: true}}
			if err := r.e.runs.es.Forget(ctx, runID(run.ARN), rows, nil); err != nil {
				return err
			}
		}
		if len(runs) < sweepPage {
			return nil
		}
	}
}

func (r *retention) forgetChildren(ctx context.Context, run, end string) error {
	after := ""
	for {
		children, err := r.e.ListExecutions(ctx, run, "", after, sweepPage)
		if err != nil {
			return err
		}
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(sweepers)
		for _, c := range children {
			after = c.Cursor
			g.Go(func() error {
				if err := r.forgetRuns(ctx, c.ARN, end); err != nil {
					return err
				}
				return r.e.standard.Forget(ctx, id(c.ARN), []store.RowChange{{Key: executionKey(c.ARN), Delete: true}}, nil)
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if len(children) < sweepPage {
			return nil
		}
	}
}
