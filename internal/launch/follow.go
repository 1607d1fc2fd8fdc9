package launch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// follow reports the execution until it ends and returns its last description.
func (r *Run) follow(ctx context.Context, arn string) (map[string]any, error) {
	r.view.Execution = arn
	for {
		d, err := r.call(ctx, "states", "DescribeExecution", map[string]any{"executionArn": arn})
		if err != nil {
			return nil, err
		}
		events, err := r.history(ctx, arn)
		if err != nil {
			return nil, err
		}
		r.view.Status, r.view.States = text(d["status"]), Tree(events)
		booked, err := r.booked(ctx, arn)
		if err != nil {
			return nil, err
		}
		if err := r.clusters(ctx, booked); err != nil {
			return nil, err
		}
		if err := r.nested(ctx, r.view.States, booked); err != nil {
			return nil, err
		}
		ended := text(d["status"]) != "RUNNING"
		r.view.Fraction = fraction(r.view.Clusters, len(r.Modes), ended)
		r.report("run", "%s", r.doing())
		if ended {
			return d, nil
		}
		if err := r.pause(ctx, r.Poll); err != nil {
			return nil, err
		}
	}
}

// doing names what the run waits for at the moment.
func (r *Run) doing() string {
	for _, c := range r.view.Clusters {
		for _, s := range c.Steps {
			if s.State == "RUNNING" {
				return s.Name + " runs on " + c.ID
			}
		}
	}
	for _, s := range slices.Backward(r.view.States) {
		if s.Exited.IsZero() {
			return s.Name
		}
	}
	return strings.ToLower(r.view.Status)
}

func (r *Run) history(ctx context.Context, arn string) ([]map[string]any, error) {
	var events []map[string]any
	in := map[string]any{"executionArn": arn, "maxResults": int64(1000), "includeExecutionData": true}
	for {
		out, err := r.call(ctx, "states", "GetExecutionHistory", in)
		if err != nil {
			return nil, err
		}
		for _, e := range list(out["events"]) {
			events = append(events, object(e))
		}
		next := text(out["nextToken"])
		if next == "" {
			return events, nil
		}
		in["nextToken"] = next
	}
}

// nested hangs the inner executions below the states that started them: an inner execution has one of the run's clusters in
// its input, and stands under the callback state that was open when it began.
func (r *Run) nested(ctx context.Context, states []*State, booked []item) error {
	inner := r.outputs["InnerStateMachineArn"]
	if inner == "" {
		return nil
	}
	out, err := r.call(ctx, "states", "ListExecutions", map[string]any{"stateMachineArn": inner, "maxResults": int64(100)})
	if err != nil {
		return err
	}
	for _, x := range list(out["executions"]) {
		began := instant(at(x, "startDate"))
		if began.Before(r.started) {
			continue
		}
		arn := text(at(x, "executionArn"))
		holder := waiting(states, func(s *State) bool {
			return s.Type == "Task" && !began.Before(s.Entered) && (s.Exited.IsZero() || !began.After(s.Exited))
		})
		if holder == nil || holder.Execution != "" && holder.Execution != arn {
			continue
		}
		seen, over := r.over[arn]
		if !over {
			events, err := r.history(ctx, arn)
			if err != nil {
				return err
			}
			seen = innerRun{startedOn(events), Tree(events)}
			if text(at(x, "status")) != "RUNNING" {
				r.over[arn] = seen
			}
		}
		if slices.ContainsFunc(booked, func(b item) bool { return b.id == seen.cluster }) { // not of another run
			holder.Execution, holder.States = arn, seen.states
		}
	}
	return nil
}

// innerRun is what was seen of an inner execution.
type innerRun struct {
	cluster string
	states  []*State
}

// startedOn is the cluster that an inner execution's input names.
func startedOn(events []map[string]any) string {
	if len(events) == 0 {
		return ""
	}
	var in struct{ ClusterId string }
	_ = json.Unmarshal([]byte(text(detail(events[0], "executionStartedEventDetails")["input"])), &in) // not ours otherwise
	return in.ClusterId
}

// waiting finds the innermost visit that fits.
func waiting(states []*State, fits func(*State) bool) *State {
	for _, s := range states {
		if found := waiting(s.States, fits); found != nil {
			return found
		}
		if fits(s) {
			return s
		}
	}
	return nil
}

// clusters describes the clusters that the execution has made, the oldest first.
func (r *Run) clusters(ctx context.Context, booked []item) error {
	var found []*Cluster
	for _, b := range booked {
		if b.kind != "cluster" {
			continue
		}
		out, err := r.call(ctx, "elasticmapreduce", "DescribeCluster", map[string]any{"ClusterId": b.id})
		if err != nil {
			return err
		}
		c := out["Cluster"]
		cluster := &Cluster{
			ID: b.id, Name: text(at(c, "Name")), State: text(at(c, "Status", "State")), Reason: text(at(c, "Status", "StateChangeReason", "Message")),
			Created: instant(at(c, "Status", "Timeline", "CreationDateTime")),
			Ready:   instant(at(c, "Status", "Timeline", "ReadyDateTime")),
			Ended:   instant(at(c, "Status", "Timeline", "EndDateTime")),
			Workers: r.workers(ctx, b.id),
		}
		if err := r.steps(ctx, cluster); err != nil {
			return err
		}
		found = append(found, cluster)
	}
	r.view.Clusters = found
	return nil
}

// item is a stack or cluster that the execution has made, as custody's ledger tells.
type item struct {
	kind, id string // stack or cluster
	gone     bool
}

// booked reads custody's ledger: what the execution, with all below it, has made, each once.
func (r *Run) booked(ctx context.Context, arn string) ([]item, error) {
	var body []byte
	err := r.patiently(ctx, func() (err error) {
		body, err = r.get(ctx, r.Endpoint+"/_mayfly/custody?execution="+url.QueryEscape(arn), 16<<20)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read custody's ledger: %w", err)
	}
	var entries []struct{ Kind, ID, Action string }
	if err := json.Unmarshal(body, &entries); err != nil {
		return nil, fmt.Errorf("read custody's ledger: %w", err)
	}
	var items []item
	for _, e := range entries {
		i := slices.IndexFunc(items, func(x item) bool { return x.kind == e.Kind && x.id == e.ID })
		if i < 0 {
			i = len(items)
			items = append(items, item{kind: e.Kind, id: e.ID})
		}
		items[i].gone = items[i].gone || e.Action == "gone"
	}
	return items, nil
}

func (r *Run) steps(ctx context.Context, c *Cluster) error {
	out, err := r.call(ctx, "elasticmapreduce", "ListSteps", map[string]any{"ClusterId": c.ID})
	if err != nil {
		return err
	}
	for _, s := range slices.Backward(list(out["Steps"])) { // newest first
		step := &Step{
			ID: text(at(s, "Id")), Name: text(at(s, "Name")), State: text(at(s, "Status", "State")),
			Created: instant(at(s, "Status", "Timeline", "CreationDateTime")),
			Started: instant(at(s, "Status", "Timeline", "StartDateTime")),
			Ended:   instant(at(s, "Status", "Timeline", "EndDateTime")),
			Reason:  text(at(s, "Status", "FailureDetails", "Message")),
			Log:     text(at(s, "Status", "FailureDetails", "LogFile")),
		}
		if step.State == "RUNNING" || step.State == "FAILED" {
			step.Tail = r.tail(ctx, c.ID, step.ID, 3)
		}
		c.Steps = append(c.Steps, step)
	}
	return nil
}

// workers says how the nodes of a cluster relate to processes of the machine; on an endpoint that has no such page, nothing.
func (r *Run) workers(ctx context.Context, cluster string) string {
	var page struct{ Text string }
	body, err := r.get(ctx, r.Endpoint+"/_mayfly/emr/"+url.PathEscape(cluster), 1<<20)
	if err != nil || json.Unmarshal(body, &page) != nil {
		return ""
	}
	return page.Text
}

// tail reads the last lines of a step's stderr from Mayfly; on an endpoint that has no such page there is none.
func (r *Run) tail(ctx context.Context, cluster, step string, lines int) []string {
	u := fmt.Sprintf("%s/_mayfly/emr/%s/steps/%s/stderr?offset=-4096", r.Endpoint, url.PathEscape(cluster), url.PathEscape(step))
	body, err := r.get(ctx, u, 64<<10)
	if err != nil {
		return nil
	}
	all := strings.Split(strings.TrimRight(string(body), "\n"), "\n")
	return all[max(0, len(all)-lines):]
}
