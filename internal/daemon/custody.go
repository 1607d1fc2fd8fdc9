package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/mayfly-run/mayfly/custody"
	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/services/cloudformation"
	"github.com/mayfly-run/mayfly/services/emr"
	"github.com/mayfly-run/mayfly/services/states"
	"github.com/mayfly-run/mayfly/store"
)

// LedgerPath answers what was made on behalf of executions and what custody decided about it, the oldest first, as a JSON
// list. ?execution=ARN asks for what that execution, or one below it, has made.
const LedgerPath = "/_mayfly/custody"

// newCustody joins custody with those who know what lives: it reads them through functions and knows none of them.
func (s *Server) newCustody(p *parts, stacks *cloudformation.Service, clusters *emr.Service) *custody.Custody {
	return custody.New(custody.Config{
		Store: s.store, Loop: p.loop, Clock: s.clock, Log: s.log, Calls: p.gateway, Wake: p.wake,
		Stacks: func(ctx context.Context) ([]custody.Holding, error) {
			owned, err := stacks.Owned(ctx)
			var out []custody.Holding
			for _, o := range owned {
				out = append(out, heldStack(o))
			}
			return out, err
		},
		Clusters: func(ctx context.Context) ([]custody.Holding, error) {
			live, err := clusters.Live(ctx)
			var out []custody.Holding
			for _, o := range live {
				out = append(out, heldCluster(o))
			}
			return out, err
		},
		Execution: func(ctx context.Context, arn string) (custody.Execution, error) {
			d, err := p.engine.Describe(ctx, arn)
			if errors.Is(err, store.ErrNotFound) {
				return custody.Execution{}, custody.ErrNoExecution
			}
			if err != nil {
				return custody.Execution{}, err
			}
			return custody.Execution{Status: string(d.Status), Parent: d.Parent}, nil
		},
		EndCluster: clusters.Release,
	})
}

func heldStack(o cloudformation.Owned) custody.Holding {
	return custody.Holding{Kind: custody.KindStack, ID: o.ID, Name: o.Name, Account: o.Account, Region: o.Region, Status: o.Status, By: o.By, Tags: o.Tags, Clusters: o.Clusters}
}

func heldCluster(o emr.Owned) custody.Holding {
	return custody.Holding{Kind: custody.KindCluster, ID: o.ID, Name: o.Name, Account: o.Principal.Account, Region: o.Principal.Region, Status: o.State, By: o.Principal, Tags: o.Tags}
}

// stackBooked and clusterBooked are what the first and the last record of a stack and a cluster send to custody.
func (p *parts) stackBooked(o cloudformation.Owned) []durable.Send {
	if o.Status == "DELETE_COMPLETE" {
		return p.custody.Over(heldStack(o))
	}
	return p.custody.Began(heldStack(o))
}

func (p *parts) clusterBooked(o emr.Owned) []durable.Send {
	if o.Ended {
		return p.custody.Over(heldCluster(o))
	}
	return p.custody.Began(heldCluster(o))
}

// closed is what the record that closes an execution sends. An Express one lives on a loop of its own, which leases are not
// on: the reaper looks after those.
func (p *parts) closed(x *execution.Snapshot) []durable.Send {
	if x.Identity.Express {
		return nil
	}
	return p.custody.Closed(x.Identity.ARN)
}

// changed is what a record that changes an execution's status sends. AWS: there are no such events of Express executions.
func (p *parts) changed(limits *execution.Limits) func(*execution.Snapshot, *history.Event) []durable.Send {
	return func(x *execution.Snapshot, ev *history.Event) []durable.Send {
		if x.Identity.Express {
			return nil
		}
		event := states.StatusChange(x, ev, limits)
		return []durable.Send{p.events.Send(event.Member("id").Str(), event.String())}
	}
}

// observe logs what its machine wants logged, and calls for a round of the reaper when an execution has ended.
func (p *parts) observe(x *execution.Snapshot, facts []execution.Fact) {
	p.machines.Observe(x, facts)
	p.counted.Observe(x, facts)
	if x.Closed() {
		p.custody.Ended()
	}
}

// ledger serves LedgerPath.
func (p *parts) ledger(w http.ResponseWriter, r *http.Request) {
	entries, err := p.custody.Ledger(r.Context(), r.URL.Query().Get("execution"))
	if err != nil {
		http.Error(w, "the ledger cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(entries)
}
