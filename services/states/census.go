package states

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/store"
)

// census counts what quotas and gauges ask for, in memory: it follows the rows that are written.
type census struct {
	mu     sync.Mutex
	rows   map[store.Key]bool
	counts map[counted]int64
}

// counted is a kind of rows in a place; versions and aliases are counted by their state machine's name.
type counted struct {
	kind  string
	place engine.Place
	name  string
}

var countedKinds = []string{machineKind, activityKind, versionKind, aliasKind}

// load counts what the store holds.
func (c *census) load(ctx context.Context, s store.Store) error {
	for _, kind := range countedKinds {
		q := store.Query{Service: service, Kind: kind, Limit: 1000, KeysOnly: true}
		for {
			found, err := s.List(ctx, q)
			if err != nil {
				return fmt.Errorf("count rows of kind %s: %w", kind, err)
			}
			for _, f := range found {
				c.apply([]store.RowChange{{Key: f.Key}})
				q.After = f.Cursor
			}
			if len(found) < q.Limit {
				break
			}
		}
	}
	return nil
}

// apply follows rows that were written.
func (c *census) apply(rows []store.RowChange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rows == nil {
		c.rows, c.counts = map[store.Key]bool{}, map[counted]int64{}
	}
	for _, r := range rows {
		if r.Key.Service != service || !slices.Contains(countedKinds, r.Key.Kind) || c.rows[r.Key] == !r.Delete {
			continue
		}
		of := counted{kind: r.Key.Kind, place: engine.Place{Account: r.Key.Account, Region: r.Key.Region}}
		if machine, _, qualified := strings.Cut(r.Key.ID, ":"); qualified {
			of.name = machine
		}
		if r.Delete {
			delete(c.rows, r.Key)
			c.counts[of]--
		} else {
			c.rows[r.Key] = true
			c.counts[of]++
		}
		if c.counts[of] == 0 {
			delete(c.counts, of)
		}
	}
}

// count is how many rows of a kind are in the place of a resource.
func (c *census) count(kind string, r resource) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[counted{kind: kind, place: engine.Place{Account: r.account, Region: r.region}}]
}

// all is a copy of the counts.
func (c *census) all() map[counted]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}
