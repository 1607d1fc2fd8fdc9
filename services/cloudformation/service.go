package cloudformation

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/cfnapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/wake"
	"github.com/mayfly-run/mayfly/services/cloudformation/resource"
	"github.com/mayfly-run/mayfly/services/cloudformation/stack"
	"github.com/mayfly-run/mayfly/store"
)

// Config is what the service needs of the world.
type Config struct {
	Store store.Store
	Loop  *durable.Loop
	Clock clock.Clock
	Log   *slog.Logger
	Calls awscall.Caller
	Wake  *wake.Bus
	// Custody returns what is sent when a stack begins and when it is deleted, with that record. It is pure; nil: nothing.
	Custody func(Owned) []durable.Send
	// Endpoint is Mayfly's own base URL: a TemplateURL below it names an object in Mayfly's S3.
	Endpoint func() string
}

// Service answers CloudFormation's API.
type Service struct {
	cfg    Config
	stacks *durable.Entities[stack.State, stack.Input, stack.Fact, stack.Command]

	naming sync.Mutex // held from looking at a name to taking it

	mu      sync.Mutex
	watches map[watch]func() // how to end each
	tries   map[string]int   // of commands that failed
}

type watch struct {
	id       store.ID
	key, ref string
}

// New registers the stacks with the loop; it must be called before the loop starts.
func New(cfg Config) *Service {
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Wake == nil {
		cfg.Wake = &wake.Bus{}
	}
	s := &Service{cfg: cfg, watches: map[watch]func(){}, tries: map[string]int{}}
	s.stacks = durable.Register(cfg.Loop, durable.Kind[stack.State, stack.Input, stack.Fact, stack.Command]{
		Name:     "stack",
		Core:     stack.Core{Types: resource.Rules{}},
		New:      func(store.ID) *stack.State { return &stack.State{} },
		Dispatch: s.dispatch,
		Project:  project,
		Sends:    s.sends,
		Timer: func(name string) stack.Input {
			if key, ok := strings.CutPrefix(name, "poll/"); ok {
				return stack.Input{Poll: &key}
			}
			return stack.Input{TimedOut: true}
		},
		Committed:    s.committed,
		Opened:       s.opened,
		MarshalState: func(st *stack.State) ([]byte, error) { return json.Marshal(st) },
		UnmarshalState: func(_ store.ID, b []byte) (*stack.State, error) {
			st := &stack.State{}
			err := json.Unmarshal(b, st)
			return st, err
		},
	})
	return s
}

// API registers what is served.
func (s *Service) API() *awscall.Service {
	svc := awscall.NewService("cloudformation")
	awscall.Handle(svc, "CreateStack", s.CreateStack)
	awscall.Handle(svc, "UpdateStack", s.UpdateStack)
	awscall.Handle(svc, "CancelUpdateStack", s.CancelUpdateStack)
	awscall.Handle(svc, "ContinueUpdateRollback", s.ContinueUpdateRollback)
	awscall.Handle(svc, "DeleteStack", s.DeleteStack)
	awscall.Handle(svc, "DescribeStacks", s.DescribeStacks)
	awscall.Handle(svc, "ListStacks", s.ListStacks)
	awscall.Handle(svc, "DescribeStackEvents", s.DescribeStackEvents)
	awscall.Handle(svc, "DescribeStackResource", s.DescribeStackResource)
	awscall.Handle(svc, "DescribeStackResources", s.DescribeStackResources)
	awscall.Handle(svc, "ListStackResources", s.ListStackResources)
	awscall.Handle(svc, "GetTemplate", s.GetTemplate)
	awscall.Handle(svc, "GetTemplateSummary", s.GetTemplateSummary)
	awscall.Handle(svc, "ValidateTemplate", s.ValidateTemplate)
	awscall.Handle(svc, "CreateChangeSet", s.CreateChangeSet)
	awscall.Handle(svc, "DescribeChangeSet", s.DescribeChangeSet)
	awscall.Handle(svc, "ExecuteChangeSet", s.ExecuteChangeSet)
	awscall.Handle(svc, "DeleteChangeSet", s.DeleteChangeSet)
	awscall.Handle(svc, "ListChangeSets", s.ListChangeSets)
	awscall.Handle(svc, "ListExports", s.ListExports)
	awscall.Handle(svc, "ListImports", s.ListImports)
	awscall.Handle(svc, "UpdateTerminationProtection", s.UpdateTerminationProtection)
	return svc
}

func entity(stackID string) store.ID { return store.ID("stack/" + stackID) }

// Record is the row that shows a stack.
type Record struct {
	Stack api.Stack
	// By is who made it.
	By identity.Principal
	// Clusters are the ids of the EMR clusters that it holds or may still hold.
	Clusters []string `json:",omitempty"`
	Imports  []string `json:",omitempty"`
}

const serviceName = "cloudformation"

func project(_ store.ID, s *stack.State, facts []stack.Fact) []store.RowChange {
	if s.ID == "" {
		return nil
	}
	key := func(kind, id string) store.Key {
		return store.Key{Account: s.Account, Region: s.Region, Service: serviceName, Kind: kind, ID: id}
	}
	put := func(k store.Key, v any) store.RowChange {
		b, err := json.Marshal(v)
		if err != nil {
			panic(fmt.Sprintf("row %v: %v", k, err))
		}
		return store.RowChange{Key: k, Value: b}
	}
	rows := []store.RowChange{put(key("stack", s.ID), record(s))}
	for _, f := range facts {
		switch {
		case f.Born != nil:
			rows = append(rows, put(key("name", s.Name), s.ID))
			if s.By.Execution != "" {
				rows = append(rows, put(store.Key{Service: serviceName, Kind: "owned", ID: s.ID}, key("stack", s.ID)))
			}
		case f.Event != nil:
			rows = append(rows, put(key("event", fmt.Sprintf("%s/%010d", s.ID, f.Event.Seq)), f.Event))
			if f.Event.Type == stack.StackType && f.Event.Status == stack.DeleteComplete {
				rows = append(rows, store.RowChange{Key: key("name", s.Name), Delete: true},
					store.RowChange{Key: store.Key{Service: serviceName, Kind: "owned", ID: s.ID}, Delete: true})
			}
		}
	}
	return rows
}

func record(s *stack.State) Record {
	r := Record{Stack: describe(s), By: s.By}
	for name := range s.Def.Imports {
		r.Imports = append(r.Imports, name)
	}
	for _, k := range s.Order {
		res := s.Resources[k]
		if res.Type == "AWS::EMR::Cluster" && res.Physical != "" && res.Status != stack.DeleteComplete && res.Status != "DELETE_SKIPPED" {
			r.Clusters = append(r.Clusters, res.Physical)
		}
	}
	return r
}

func opt[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func parameters(ps []stack.Parameter) []api.Parameter {
	var out []api.Parameter
	for _, p := range ps {
		v := p.Value
		if p.NoEcho {
			v = "****"
		}
		out = append(out, api.Parameter{ParameterKey: &p.Key, ParameterValue: &v})
	}
	return out
}

func tags(ts []stack.Tag) []api.Tag {
	var out []api.Tag
	for _, t := range ts {
		out = append(out, api.Tag{Key: t.Key, Value: t.Value})
	}
	return out
}

func describe(s *stack.State) api.Stack {
	out := api.Stack{
		StackId: &s.ID, StackName: s.Name, Description: opt(s.Def.Description), Parameters: parameters(s.Def.Parameters),
		CreationTime: s.Created, LastUpdatedTime: stamp(s.Updated), DeletionTime: stamp(s.Deleted), StackStatus: s.Status, StackStatusReason: opt(s.Reason),
		DisableRollback: awsapi.Ptr(s.OnFailure == "DO_NOTHING"), NotificationARNs: s.Def.NotificationARNs, Capabilities: s.Def.Capabilities,
		RoleARN: opt(s.Def.RoleARN), Tags: tags(s.Def.Tags), EnableTerminationProtection: awsapi.Ptr(s.Protected), TimeoutInMinutes: opt(int64(s.Timeout)),
		RollbackConfiguration: &api.RollbackConfiguration{}, DriftInformation: &api.StackDriftInformation{StackDriftStatus: "NOT_CHECKED"},
	}
	for _, o := range s.Outputs {
		out.Outputs = append(out.Outputs, api.Output{OutputKey: &o.Name, OutputValue: &o.Value, Description: opt(o.Description), ExportName: opt(o.Export)})
	}
	if c := executing(s); c != nil {
		out.ChangeSetId = &c.ID
	}
	return out
}

// executing is the change set that was executed last.
func executing(s *stack.State) (last *stack.ChangeSet) {
	for _, c := range s.SortedChangeSets() {
		if strings.HasPrefix(c.Execution, "EXECUTE_") {
			last = c
		}
	}
	return last
}

// maxTries is how often a command is carried out before an error that may pass becomes the resource's failure.
const maxTries = 8

func (s *Service) dispatch(ctx context.Context, _ store.ID, key string, c stack.Command) (*stack.Input, error) {
	if c.Verb == "publish" {
		return s.publish(ctx, key, c)
	}
	done, err := resource.Run(ctx, s.cfg.Calls, key, c)
	s.mu.Lock()
	s.tries[key]++
	tries := s.tries[key]
	if err == nil || tries >= maxTries {
		delete(s.tries, key)
	}
	s.mu.Unlock()
	if err != nil {
		if ctx.Err() != nil || tries < maxTries {
			return nil, fmt.Errorf("%s %s of %s: %w", c.Verb, c.Logical, c.StackName, err)
		}
		done.Failed = resource.Reason(key, err)
	}
	return &stack.Input{Done: &done}, nil
}

// publish sends events to the notification topics, one after the other.
func (s *Service) publish(ctx context.Context, key string, c stack.Command) (*stack.Input, error) {
	for i, e := range c.Events {
		for j, topic := range c.Topics {
			_, err := s.cfg.Calls.Invoke(ctx, awscall.Call{Principal: c.By, RequestKey: fmt.Sprintf("%s/%d/%d", key, i, j), Service: "sns", Operation: "Publish",
				Input: map[string]any{"TopicArn": topic, "Subject": "AWS CloudFormation Notification", "Message": notification(c, e)}})
			if err == nil {
				continue
			}
			if ctx.Err() != nil || resource.Transient(err) {
				return nil, fmt.Errorf("publish to %s: %w", topic, err)
			}
			// The topic is gone, or refuses: a notification never holds up its stack.
			s.cfg.Log.Warn("stack event not published", "stack", c.StackID, "topic", topic, "err", err)
		}
	}
	return &stack.Input{Published: true}, nil
}

// notification is the text of a stack event as AWS publishes it.
func notification(c stack.Command, e stack.Event) string {
	props := "null"
	if len(e.Props) > 0 {
		props = string(e.Props)
	}
	token := "null"
	if e.Token != "" {
		token = e.Token
	}
	account := c.By.Account
	var b strings.Builder
	for _, kv := range [][2]string{
		{"StackId", c.StackID}, {"Timestamp", e.Time.Format("2006-01-02T15:04:05.000Z")}, {"EventId", e.ID}, {"LogicalResourceId", e.Logical},
		{"Namespace", account}, {"PhysicalResourceId", e.Physical}, {"PrincipalId", e.Principal}, {"ResourceProperties", props},
		{"ResourceStatus", e.Status}, {"ResourceStatusReason", e.Reason}, {"ResourceType", e.Type}, {"StackName", c.StackName}, {"ClientRequestToken", token},
	} {
		fmt.Fprintf(&b, "%s='%s'\n", kv[0], kv[1])
	}
	return b.String()
}

// committed wakes who waits for the stack, and has the stack woken by what it waits for.
func (s *Service) committed(id store.ID, _ *stack.State, facts []stack.Fact) {
	changed := false
	for _, f := range facts {
		changed = changed || f.Event != nil
		if f.Put != nil {
			s.watch(id, f.Put)
		}
	}
	if changed {
		stackID := strings.TrimPrefix(string(id), "stack/")
		s.cfg.Wake.Changed(stackID)
		s.cfg.Wake.Changed(stackName(stackID))
	}
}

func (s *Service) watch(id store.ID, r *stack.Resource) {
	ref := ""
	if r.Work != nil && r.Work.Waiting {
		ref = r.Work.Wake
	}
	w := watch{id, r.Key, ref}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, is := s.watches[w]; is && ref != "" {
		return
	}
	for old, stop := range s.watches {
		if old.id == id && old.key == r.Key {
			stop()
			delete(s.watches, old)
		}
	}
	if ref == "" {
		return
	}
	key := r.Key
	look := func() {
		if err := s.stacks.Tell(id, durable.Input[stack.Input]{Body: stack.Input{Poll: &key}}); err != nil && !errors.Is(err, durable.ErrStopped) {
			s.cfg.Log.Warn("stack not woken", "stack", id, "err", err)
		}
	}
	s.watches[w] = s.cfg.Wake.Watch(ref, look)
	go look() // it may have changed before it was watched
}

// opened looks at everything that a stack waited for when the server ended.
func (s *Service) opened(_ context.Context, id store.ID, st *stack.State) *stack.Input {
	waits := false
	for _, k := range st.Order {
		if r := st.Resources[k]; r.Work != nil && r.Work.Waiting {
			waits = true
			s.watch(id, r)
		}
	}
	if !waits {
		return nil
	}
	all := ""
	return &stack.Input{Poll: &all}
}

// newID makes a random id, or one that the request key gives, so that a repeated call means the same stack.
func newID(ctx context.Context, of string) string {
	var b [16]byte
	if key := awscall.RequestKey(ctx); key != "" {
		h := sha256.Sum256([]byte(of + "\x00" + key))
		copy(b[:], h[:])
	} else if _, err := rand.Read(b[:]); err != nil {
		panic(err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// who is the caller.
func who(ctx context.Context) identity.Principal {
	p := identity.From(ctx)
	if p.Account == "" {
		p.Account = "000000000000"
	}
	if p.Region == "" {
		p.Region = "us-east-1"
	}
	return p
}

func (s *Service) key(ctx context.Context, kind, id string) store.Key {
	p := who(ctx)
	return store.Key{Account: p.Account, Region: p.Region, Service: serviceName, Kind: kind, ID: id}
}

// find is the id of the stack that a name or id means; "" when there is none. A name means the stack that is not
// deleted, an id also one that is.
func (s *Service) find(ctx context.Context, nameOrID string) (string, error) {
	if strings.HasPrefix(nameOrID, "arn:") {
		_, err := s.cfg.Store.Get(ctx, s.key(ctx, "stack", nameOrID))
		if errors.Is(err, store.ErrNotFound) {
			return "", nil
		}
		return nameOrID, err
	}
	row, err := s.cfg.Store.Get(ctx, s.key(ctx, "name", nameOrID))
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var id string
	return id, json.Unmarshal(row.Value, &id)
}

func invalid(format string, args ...any) error {
	return awsapi.Errorf(400, "ValidationError", format, args...)
}

func noStackWithID(name string) error { return invalid("Stack with id %s does not exist", name) }
func noStack(name string) error       { return invalid("Stack [%s] does not exist", name) }

// view shows a stack's state; missing says what to answer when there is none.
func (s *Service) view(ctx context.Context, name string, missing func(string) error, f func(*stack.State) error) error {
	id, err := s.find(ctx, name)
	if err != nil {
		return err
	}
	if id == "" {
		return missing(name)
	}
	var inner error
	err = s.stacks.View(ctx, entity(id), func(st *stack.State) { inner = f(st) })
	if errors.Is(err, store.ErrNotFound) {
		return missing(name)
	}
	if err != nil {
		return err
	}
	return inner
}

// records lists the stacks of the caller's account and region.
func (s *Service) records(ctx context.Context) ([]Record, error) {
	p := who(ctx)
	found, err := s.cfg.Store.List(ctx, store.Query{Account: p.Account, Region: p.Region, Service: serviceName, Kind: "stack"})
	if err != nil {
		return nil, err
	}
	out := make([]Record, len(found))
	for i, f := range found {
		if err := json.Unmarshal(f.Value, &out[i]); err != nil {
			return nil, fmt.Errorf("row of %s: %w", f.Key.ID, err)
		}
	}
	return out, nil
}

// give hands a stack an input of the call that ctx belongs to.
func (s *Service) give(ctx context.Context, stackID string, in stack.Input) (any, error) {
	return s.stacks.Do(ctx, entity(stackID), durable.Input[stack.Input]{By: who(ctx), RequestKey: awscall.RequestKey(ctx), Body: in})
}

// Owned is what custody needs to know of a stack: one that holds clusters, or may yet, with who made it.
type Owned struct {
	Account, Region  string
	ID, Name, Status string
	By               identity.Principal
	Tags             map[string]string
	Clusters         []string
	Created          time.Time
	Protected        bool
}

// Owned lists the stacks of every account and region that are not deleted and were made on behalf of an execution.
func (s *Service) Owned(ctx context.Context) ([]Owned, error) {
	var out []Owned
	found, err := s.cfg.Store.List(ctx, store.Query{Service: serviceName, Kind: "owned"})
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		var k store.Key
		if err := json.Unmarshal(f.Value, &k); err != nil {
			return nil, fmt.Errorf("row of %s: %w", f.Key.ID, err)
		}
		row, err := s.cfg.Store.Get(ctx, k)
		if err != nil {
			return nil, err
		}
		var r Record
		if err := json.Unmarshal(row.Value, &r); err != nil {
			return nil, fmt.Errorf("row of %s: %w", k.ID, err)
		}
		out = append(out, owned(k.Account, k.Region, r))
	}
	return out, nil
}

func owned(account, region string, r Record) Owned {
	o := Owned{Account: account, Region: region, ID: awsapi.Val(r.Stack.StackId), Name: r.Stack.StackName, Status: r.Stack.StackStatus, By: r.By, Clusters: r.Clusters,
		Created: r.Stack.CreationTime, Protected: awsapi.Val(r.Stack.EnableTerminationProtection), Tags: map[string]string{}}
	for _, t := range r.Stack.Tags {
		o.Tags[t.Key] = t.Value
	}
	return o
}

// sends tells custody of a stack that begins or is deleted.
func (s *Service) sends(_ store.ID, st *stack.State, facts []stack.Fact) []durable.Send {
	if s.cfg.Custody == nil || !slices.ContainsFunc(facts, func(f stack.Fact) bool {
		return f.Born != nil || f.Event != nil && f.Event.Type == stack.StackType && f.Event.Status == stack.DeleteComplete
	}) {
		return nil
	}
	return s.cfg.Custody(owned(st.Account, st.Region, record(st)))
}
