package awstask

import (
	"encoding/json"
	"sync"
	"time"
)

// fresh is how long the answer to a glance is good: less than the pause between two polls of one task.
const fresh = 4 * time.Second

// glances are what was read from AWS a moment ago, so that all the tasks which wait for one cluster have one poller.
type glances struct {
	mu    sync.Mutex
	known map[string]*glance
}

type glance struct {
	answered chan struct{}
	at       time.Time // of the answer; zero while it is awaited
	doc      map[string]any
	err      error
}

// glance reads from AWS what others may have read just now; Mayfly itself is always asked anew.
func (c *call) glance(op string, in map[string]any) (map[string]any, error) {
	if !c.t.cfg.Remote(c.service) {
		return c.invoke(op, in, false)
	}
	text, err := json.Marshal([]any{c.service, op, c.principal().Region, c.task.RoleARN, in})
	if err != nil {
		return nil, err
	}
	all, now, key := &c.t.glances, c.t.cfg.Clock.Now(), string(text)
	all.mu.Lock()
	for k, g := range all.known {
		if !g.at.IsZero() && now.Sub(g.at) >= fresh {
			delete(all.known, k)
		}
	}
	g, known := all.known[key]
	if !known {
		g = &glance{answered: make(chan struct{})}
		if all.known == nil {
			all.known = map[string]*glance{}
		}
		all.known[key] = g
	}
	all.mu.Unlock()
	if known {
		select {
		case <-g.answered:
			return g.doc, g.err
		case <-c.ctx.Done():
			return nil, c.ctx.Err()
		}
	}
	g.doc, g.err = c.invoke(op, in, false)
	all.mu.Lock()
	g.at = c.t.cfg.Clock.Now()
	if g.err != nil {
		delete(all.known, key) // the next one asks for itself
	}
	all.mu.Unlock()
	close(g.answered)
	return g.doc, g.err
}
