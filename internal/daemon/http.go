package daemon

import (
	"cmp"
	"context"
	"errors"
	"net/url"

	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration/httptask"
	"github.com/mayfly-run/mayfly/internal/egress"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/services/events"
)

// newHTTP makes what HTTP tasks need: connections, and the integration that calls with them. Neither knows the other.
func (s *Server) newHTTP(limits execution.Limits) (*events.Service, *httptask.Tasks) {
	plain := egress.Plain(cmp.Or(s.settings.PlainHTTP, string(egress.Loopback)))
	client := egress.New(plain)
	endpoint := func(u *url.URL) error { return egress.Check(plain, u) }
	connections := events.New(events.Config{Store: s.store, Clock: s.clock, HTTP: client, Endpoint: endpoint})
	tasks := httptask.New(httptask.Config{Limit: limits.HTTPDuration, MaxBody: limits.Data.Payload, Client: client, Endpoint: endpoint,
		Connection: func(ctx context.Context, p identity.Principal, arn string, anew bool) (*httptask.Connection, error) {
			a, err := connections.Authorize(ctx, p.Account, arn, anew)
			var refused *events.Refusal
			if errors.As(err, &refused) {
				return nil, &httptask.Refusal{Name: refused.Name, Cause: refused.Cause}
			}
			if err != nil {
				return nil, err
			}
			return &httptask.Connection{Renewable: a.Renewable, Header: httptask.Pair(a.Header), Headers: list(a.Headers), Query: list(a.Query), Body: list(a.Body)}, nil
		}})
	return connections, tasks
}

func list(in []events.Pair) []httptask.Pair {
	out := make([]httptask.Pair, len(in))
	for i, p := range in {
		out[i] = httptask.Pair(p)
	}
	return out
}
