package states

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/engine"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/store"
)

// Config is what a Service needs.
type Config struct {
	Store  store.Store
	Engine *engine.Engine
	Clock  clock.Clock
	Log    *slog.Logger
	Calls  awscall.Caller // for log groups; nil: destinations are not looked up
	// Resource judges the Resource of a Task at creation: an error's text says why AWS would refuse it. nil: any ARN.
	Resource func(arn string) error
	// Lacks is a sentence that says what Mayfly lacks for a Resource, "" when nothing. nil: nothing.
	Lacks func(arn string) string
	// Mocks says why no execution of a state machine, by its name, can run a test case of mocked results; mockable is asked
	// for each state that the case names. nil: there are none.
	Mocks func(machine, testCase string, mockable func(state string) error) error
	// CheckMock says why a task cannot have a mocked result, for TestState; known is false when there is no model of what
	// the task calls. nil: any result.
	CheckMock func(r execution.Resource, result jsonvalue.Value, strict bool) (why string, known bool)
}

// Service is the API. Make it with New, call Start before the loops start.
type Service struct {
	cfg    Config
	logs   executionLogs
	census census

	buckets   buckets
	throttled func(operation string) // nil: nobody counts
}

// New makes the service.
func New(cfg Config) *Service {
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg, logs: executionLogs{machines: map[string]destination{}}}
}

// Start tells the engine of the activities that there are, counts what quotas count, and learns which machines are logged.
func (s *Service) Start(ctx context.Context) error {
	found, err := s.cfg.Store.List(ctx, store.Query{Service: service, Kind: knownActivity})
	if err != nil {
		return fmt.Errorf("list activities: %w", err)
	}
	for _, f := range found {
		s.cfg.Engine.ActivityCreated(f.Key.ID)
	}
	if err := s.census.load(ctx, s.cfg.Store); err != nil {
		return err
	}
	return s.loadLogging(ctx)
}

// API registers the operations.
func (s *Service) API() *awscall.Service {
	a := awscall.NewService(service)
	a.Admit = func(ctx context.Context, operation string) error {
		if operation == "StartExecution" {
			return nil // its rate depends on what is started
		}
		return s.throttle(ctx, operation)
	}
	awscall.Handle(a, "CreateStateMachine", s.CreateStateMachine)
	awscall.Handle(a, "UpdateStateMachine", s.UpdateStateMachine)
	awscall.Handle(a, "DescribeStateMachine", s.DescribeStateMachine)
	awscall.Handle(a, "DescribeStateMachineForExecution", s.DescribeStateMachineForExecution)
	awscall.Handle(a, "ListStateMachines", s.ListStateMachines)
	awscall.Handle(a, "DeleteStateMachine", s.DeleteStateMachine)
	awscall.Handle(a, "ValidateStateMachineDefinition", s.ValidateStateMachineDefinition)
	awscall.Handle(a, "TestState", s.TestState)
	awscall.Handle(a, "PublishStateMachineVersion", s.PublishStateMachineVersion)
	awscall.Handle(a, "ListStateMachineVersions", s.ListStateMachineVersions)
	awscall.Handle(a, "DeleteStateMachineVersion", s.DeleteStateMachineVersion)
	awscall.Handle(a, "CreateStateMachineAlias", s.CreateStateMachineAlias)
	awscall.Handle(a, "UpdateStateMachineAlias", s.UpdateStateMachineAlias)
	awscall.Handle(a, "DescribeStateMachineAlias", s.DescribeStateMachineAlias)
	awscall.Handle(a, "ListStateMachineAliases", s.ListStateMachineAliases)
	awscall.Handle(a, "DeleteStateMachineAlias", s.DeleteStateMachineAlias)
	awscall.Handle(a, "StartExecution", s.StartExecution)
	awscall.Handle(a, "StartSyncExecution", s.StartSyncExecution)
	awscall.Handle(a, "DescribeExecution", s.DescribeExecution)
	awscall.Handle(a, "ListExecutions", s.ListExecutions)
	awscall.Handle(a, "StopExecution", s.StopExecution)
	awscall.Handle(a, "RedriveExecution", s.RedriveExecution)
	awscall.Handle(a, "GetExecutionHistory", s.GetExecutionHistory)
	awscall.Handle(a, "DescribeMapRun", s.DescribeMapRun)
	awscall.Handle(a, "ListMapRuns", s.ListMapRuns)
	awscall.Handle(a, "UpdateMapRun", s.UpdateMapRun)
	awscall.Handle(a, "SendTaskSuccess", s.SendTaskSuccess)
	awscall.Handle(a, "SendTaskFailure", s.SendTaskFailure)
	awscall.Handle(a, "SendTaskHeartbeat", s.SendTaskHeartbeat)
	awscall.Handle(a, "CreateActivity", s.CreateActivity)
	awscall.Handle(a, "DescribeActivity", s.DescribeActivity)
	awscall.Handle(a, "ListActivities", s.ListActivities)
	awscall.Handle(a, "DeleteActivity", s.DeleteActivity)
	awscall.Handle(a, "GetActivityTask", s.GetActivityTask)
	awscall.Handle(a, "TagResource", s.TagResource)
	awscall.Handle(a, "UntagResource", s.UntagResource)
	awscall.Handle(a, "ListTagsForResource", s.ListTagsForResource)
	return a
}

const (
	service       = "states"
	machineKind   = "stateMachine"
	activityKind  = "activity"
	knownActivity = "knownActivity" // rows of no account: the ARNs of all activities
	created       = "created"       // index: by time of creation
)

// limits are those of the engine.
func (s *Service) limits() *execution.Limits { return s.cfg.Engine.Limits() }

// who is the account and region that a call belongs to.
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

// arn makes the ARN of a resource in the caller's account.
func arn(p identity.Principal, resource string) string {
	return "arn:aws:states:" + p.Region + ":" + p.Account + ":" + resource
}

// resource is an ARN taken apart.
type resource struct {
	arn             string
	account, region string
	kind            string   // "stateMachine", "execution", …
	names           []string // what stands after it
}

func invalidARN(format string, args ...any) error {
	return awsapi.Errorf(400, "InvalidArn", "Invalid Arn: '%s'", fmt.Sprintf(format, args...))
}

// parse reads an ARN of one of the kinds.
func parse(text string, kinds ...string) (resource, error) {
	part := strings.Split(text, ":")
	if part[0] != "arn" {
		return resource{}, invalidARN("Invalid ARN prefix: %s", text)
	}
	if len(part) < 7 || part[2] != service {
		return resource{}, invalidARN("Invalid ARN: %s", text)
	}
	r := resource{arn: text, region: part[3], account: part[4], kind: part[5], names: part[6:]}
	for _, k := range kinds {
		if k == r.kind && r.names[0] != "" {
			return r, nil
		}
	}
	return r, invalidARN("Resource type not valid in this context: %s", r.kind)
}

// label takes the label of a distributed Map off the name: "name/label".
func (r resource) label() (machine, label string, ok bool) { return strings.Cut(r.names[0], "/") }

// unlabelled refuses ARNs with a label. AWS: the reason is API_DOES_NOT_SUPPORT_LABELED_ARNS (API model).
func (r resource) unlabelled() error {
	if _, _, ok := r.label(); ok && r.kind == machineKind {
		e := awsapi.Errorf(400, "ValidationException", "This operation does not support ARNs with the label of a Map state: '%s'", r.arn)
		e.Fields = map[string]any{"reason": "API_DOES_NOT_SUPPORT_LABELED_ARNS"}
		return e
	}
	return nil
}

// key is the row of a state machine or an activity.
func (r resource) key() store.Key {
	return store.Key{Account: r.account, Region: r.region, Service: service, Kind: r.kind, ID: r.names[0]}
}

// arnOf is the ARN of the state machine, version or alias in a row.
func arnOf(k store.Key) string {
	return "arn:aws:states:" + k.Region + ":" + k.Account + ":" + machineKind + ":" + k.ID
}

// checkName refuses names that AWS does not take.
func checkName(name string) error {
	for _, c := range name {
		if c <= 0x20 || c >= 0x7f && c <= 0x9f || c == 0xfffe || c == 0xffff || c == 0x10ffff || strings.ContainsRune("<>{}[]?*\"#%\\^|~`$&,;:/", c) {
			return awsapi.Errorf(400, "InvalidName", "Invalid Name: '%s'", name)
		}
	}
	if name == "" || len(name) > 80 {
		return awsapi.Errorf(400, "InvalidName", "Invalid Name: '%s'", name)
	}
	return nil
}

var roleARN = regexp.MustCompile(`^arn:[a-z-]+:iam::[0-9]{12}:role/.+`)

// checkRole refuses what is no role's ARN. Whether there is such a role is not asked.
func checkRole(text string) error {
	if !roleARN.MatchString(text) {
		return awsapi.Errorf(400, "InvalidArn", "Invalid Role Arn: '%s'", text)
	}
	return nil
}

// load reads a row; the version is 0 when there is none.
func load[T any](ctx context.Context, s *Service, k store.Key) (value T, version int64, err error) {
	r, err := s.cfg.Store.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return value, 0, nil
	}
	if err != nil {
		return value, 0, fmt.Errorf("read %s %s: %w", k.Kind, k.ID, err)
	}
	if err := json.Unmarshal(r.Value, &value); err != nil {
		return value, 0, fmt.Errorf("read %s %s: %w", k.Kind, k.ID, err)
	}
	return value, r.Version, nil
}

// save writes a row that was read with this version (0: that was not there), with the call's receipt.
func (s *Service) save(ctx context.Context, k store.Key, value any, at time.Time, version int64, answer any, more ...store.RowChange) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write %s %s: %w", k.Kind, k.ID, err)
	}
	if version == 0 {
		version = store.Absent
	}
	sort := fmt.Sprintf("%020d", at.UnixMicro())
	batch := store.Batch{Rows: []store.RowChange{{Key: k, Value: b, IfVersion: version, Index: []store.IndexEntry{{Name: created, Sort: sort}}}}}
	batch.Rows = append(batch.Rows, more...)
	return s.commit(ctx, batch, answer)
}

func (s *Service) commit(ctx context.Context, b store.Batch, answer any) error {
	if err := awscall.Receipted(ctx, &b, answer); err != nil {
		return err
	}
	return s.write(ctx, b)
}

func (s *Service) write(ctx context.Context, b store.Batch) error {
	if err := s.cfg.Store.Commit(ctx, b); err != nil {
		return err
	}
	s.census.apply(b.Rows)
	return nil
}

// again repeats f while somebody else changes the same row. A conflict that stays is a repeated call's receipt.
func again(f func() error) (err error) {
	for range 10 {
		if err = f(); !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	return err
}

// uuid is a random one, or the one that belongs to the call's request key: a repeated call makes the same.
func uuid(ctx context.Context, purpose string) string {
	var b [16]byte
	if key := awscall.RequestKey(ctx); key != "" {
		sum := sha256.Sum256([]byte(purpose + "/" + key))
		copy(b[:], sum[:])
	} else {
		_, _ = rand.Read(b[:]) // never fails
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// pageToken is where a listing goes on. Of names the listing: a token is good for the one that made it only.
type pageToken struct {
	Of    string `json:"o"`
	After string `json:"a"`
}

func (t pageToken) String() *string {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings always encode
	}
	s := base64.RawURLEncoding.EncodeToString(b)
	return &s
}

// after reads a page token of the listing.
func after(token *string, of string) (string, error) {
	if token == nil || *token == "" {
		return "", nil
	}
	var t pageToken
	b, err := base64.RawURLEncoding.DecodeString(*token)
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil || t.Of != of {
		return "", awsapi.Errorf(400, "InvalidToken", "Invalid Token: 'Invalid token'")
	}
	return t.After, nil
}

// pageSize is how many items a call asks for: 100 when it does not say.
func pageSize(n *int64) int {
	if awsapi.Val(n) == 0 {
		return 100
	}
	return int(min(*n, 1000))
}

// list reads a page of the account's rows, newest first.
func list[T any](ctx context.Context, s *Service, kind string, maxResults *int64, token *string) (items []T, next *string, err error) {
	p := who(ctx)
	return page[T](ctx, s, store.Query{Account: p.Account, Region: p.Region, Kind: kind, Index: created, Descending: true}, maxResults, token)
}

// page reads a page of the rows that a query finds.
func page[T any](ctx context.Context, s *Service, q store.Query, maxResults *int64, token *string) (items []T, next *string, err error) {
	of := strings.TrimSpace(q.Kind + " " + q.SortPrefix)
	if q.After, err = after(token, of); err != nil {
		return nil, nil, err
	}
	size := pageSize(maxResults)
	q.Service, q.Limit = service, size+1
	found, err := s.cfg.Store.List(ctx, q)
	if err != nil {
		return nil, nil, fmt.Errorf("list %s: %w", q.Kind, err)
	}
	if len(found) > size {
		found = found[:size]
		next = pageToken{of, found[size-1].Cursor}.String()
	}
	for _, f := range found {
		var v T
		if err := json.Unmarshal(f.Value, &v); err != nil {
			return nil, nil, fmt.Errorf("read %s %s: %w", q.Kind, f.Key.ID, err)
		}
		items = append(items, v)
	}
	return items, next, nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
