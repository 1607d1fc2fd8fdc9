package logs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/logsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// Config is what the service needs.
type Config struct {
	Store store.Store
	Clock clock.Clock
}

// Service serves CloudWatch Logs.
type Service struct {
	Config
	mu     sync.Mutex
	serial uint64
}

// New makes the service.
func New(cfg Config) *Service { return &Service{Config: cfg} }

// API lists the operations.
func (s *Service) API() *awscall.Service {
	a := awscall.NewService("logs")
	awscall.Handle(a, "CreateLogGroup", s.CreateLogGroup)
	awscall.Handle(a, "DeleteLogGroup", s.DeleteLogGroup)
	awscall.Handle(a, "DescribeLogGroups", s.DescribeLogGroups)
	awscall.Handle(a, "PutRetentionPolicy", s.PutRetentionPolicy)
	awscall.Handle(a, "DeleteRetentionPolicy", s.DeleteRetentionPolicy)
	awscall.Handle(a, "CreateLogStream", s.CreateLogStream)
	awscall.Handle(a, "DeleteLogStream", s.DeleteLogStream)
	awscall.Handle(a, "DescribeLogStreams", s.DescribeLogStreams)
	awscall.Handle(a, "PutLogEvents", s.PutLogEvents)
	awscall.Handle(a, "GetLogEvents", s.GetLogEvents)
	awscall.Handle(a, "FilterLogEvents", s.FilterLogEvents)
	awscall.Handle(a, "TagResource", s.TagResource)
	awscall.Handle(a, "UntagResource", s.UntagResource)
	awscall.Handle(a, "ListTagsForResource", s.ListTagsForResource)
	awscall.Handle(a, "TagLogGroup", s.TagLogGroup)
	awscall.Handle(a, "UntagLogGroup", s.UntagLogGroup)
	awscall.Handle(a, "ListTagsLogGroup", s.ListTagsLogGroup)
	return a
}

type group struct {
	Name      string            `json:"name"`
	Created   time.Time         `json:"created"`
	Retention int64             `json:"retention,omitempty"` // days; 0: for ever
	KMS       string            `json:"kms,omitempty"`
	Class     string            `json:"class,omitempty"`
	Tags      map[string]string `json:"tags,omitempty"`
	version   int64
}

type stream struct {
	Name     string    `json:"name"`
	Created  time.Time `json:"created"`
	First    int64     `json:"first,omitempty"` // ms
	Last     int64     `json:"last,omitempty"`
	Ingested int64     `json:"ingested,omitempty"`
	Bytes    int64     `json:"bytes,omitempty"`
	version  int64
}

// chunk is what one PutLogEvents call brought.
type chunk struct {
	Ingested int64   `json:"ingested"`
	Events   []event `json:"events"`
}

type event struct {
	At      int64  `json:"at"` // ms
	Message string `json:"message"`

	stream   string
	id       string // unique, in the order of arrival
	ingested int64
}

const service = "logs"

func key(ctx context.Context, kind, id string) store.Key {
	p := identity.From(ctx)
	return store.Key{Account: p.Account, Region: p.Region, Service: service, Kind: kind, ID: id}
}

func groupARN(ctx context.Context, name string) string {
	p := identity.From(ctx)
	return "arn:aws:logs:" + p.Region + ":" + p.Account + ":log-group:" + name
}

// groupName reads a name or an ARN, with or without ":*" at its end.
func groupName(names ...*string) string {
	for _, n := range names {
		if v := awsapi.Val(n); v != "" {
			if _, rest, ok := strings.Cut(v, ":log-group:"); ok {
				v = strings.TrimSuffix(rest, ":*")
			}
			return v
		}
	}
	return ""
}

var (
	noGroup  = awsapi.Errorf(400, "ResourceNotFoundException", "The specified log group does not exist.")
	noStream = awsapi.Errorf(400, "ResourceNotFoundException", "The specified log stream does not exist.")
)

func (s *Service) group(ctx context.Context, name string) (*group, error) {
	g := &group{}
	v, err := s.get(ctx, key(ctx, "group", name), g, noGroup)
	g.version = v
	return g, err
}

func (s *Service) stream(ctx context.Context, group, name string) (*stream, error) {
	st := &stream{}
	v, err := s.get(ctx, key(ctx, "stream", group+":"+name), st, noStream)
	st.version = v
	return st, err
}

func (s *Service) get(ctx context.Context, k store.Key, into any, missing *awsapi.Error) (int64, error) {
	row, err := s.Store.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return 0, missing
	}
	if err != nil {
		return 0, fmt.Errorf("read %s %s: %w", k.Kind, k.ID, err)
	}
	return row.Version, json.Unmarshal(row.Value, into)
}

func (s *Service) rows(ctx context.Context, kind, prefix string) ([]store.Found, error) {
	k := key(ctx, kind, "")
	rows, err := s.Store.List(ctx, store.Query{Account: k.Account, Region: k.Region, Service: service, Kind: kind, Prefix: prefix})
	if err != nil {
		return nil, fmt.Errorf("list %ss: %w", kind, err)
	}
	return rows, nil
}

func put(k store.Key, v any, version int64) store.RowChange {
	value, _ := json.Marshal(v) // plain structs
	if version == 0 {
		version = store.Absent
	}
	return store.RowChange{Key: k, Value: value, IfVersion: version}
}

// CreateLogGroup makes a group.
func (s *Service) CreateLogGroup(ctx context.Context, in *logsapi.CreateLogGroupInput) (*logsapi.CreateLogGroupOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.group(ctx, in.LogGroupName); err == nil {
		return nil, awsapi.Errorf(400, "ResourceAlreadyExistsException", "The specified log group already exists")
	} else if err != error(noGroup) {
		return nil, err
	}
	out := &logsapi.CreateLogGroupOutput{}
	return out, awscall.Commit(ctx, s.Store, out, put(key(ctx, "group", in.LogGroupName),
		group{Name: in.LogGroupName, Created: s.Clock.Now(), KMS: awsapi.Val(in.KmsKeyId), Class: awsapi.Val(in.LogGroupClass), Tags: in.Tags}, 0))
}

// DeleteLogGroup removes a group with its streams and events.
func (s *Service) DeleteLogGroup(ctx context.Context, in *logsapi.DeleteLogGroupInput) (*logsapi.DeleteLogGroupOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.group(ctx, in.LogGroupName); err != nil {
		return nil, err
	}
	out := &logsapi.DeleteLogGroupOutput{}
	return out, s.remove(ctx, out, key(ctx, "group", in.LogGroupName), in.LogGroupName+":")
}

// remove deletes a row and the streams and chunks whose ids begin with prefix.
func (s *Service) remove(ctx context.Context, out any, k store.Key, prefix string) error {
	changes := []store.RowChange{{Key: k, Delete: true}}
	for _, kind := range []string{"stream", "chunk"} {
		rows, err := s.rows(ctx, kind, prefix)
		if err != nil {
			return err
		}
		for _, r := range rows {
			changes = append(changes, store.RowChange{Key: r.Key, Delete: true})
		}
	}
	return awscall.Commit(ctx, s.Store, out, changes...)
}

// cut returns a page of a listing; the token is the name of the last one seen.
func cut[T any](all []T, name func(T) string, token *string, limit *int64, most int) ([]T, *string) {
	if limit != nil {
		most = int(*limit)
	}
	after := awsapi.Val(token)
	start := 0
	if after != "" {
		start = len(all)
		for i, x := range all {
			if name(x) == after {
				start = i + 1
			}
		}
	}
	if end := start + most; end < len(all) {
		return all[start:end], awsapi.Ptr(name(all[end-1]))
	}
	return all[start:], nil
}

// DescribeLogGroups lists groups by name, 50 at a time.
func (s *Service) DescribeLogGroups(ctx context.Context, in *logsapi.DescribeLogGroupsInput) (*logsapi.DescribeLogGroupsOutput, error) {
	if in.LogGroupNamePrefix != nil && in.LogGroupNamePattern != nil {
		return nil, awsapi.Errorf(400, "InvalidParameterException", "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	rows, err := s.rows(ctx, "group", awsapi.Val(in.LogGroupNamePrefix))
	if err != nil {
		return nil, err
	}
	groups := []logsapi.LogGroup{}
	for _, r := range rows {
		var g group
		if err := json.Unmarshal(r.Value, &g); err != nil {
			return nil, fmt.Errorf("log group %s: %w", r.Key.ID, err)
		}
		if !strings.Contains(strings.ToLower(g.Name), strings.ToLower(awsapi.Val(in.LogGroupNamePattern))) {
			continue
		}
		streams, err := s.streams(ctx, g.Name, "")
		if err != nil {
			return nil, err
		}
		size := int64(0)
		for _, st := range streams {
			size += st.Bytes
		}
		shown := logsapi.LogGroup{LogGroupName: &g.Name, CreationTime: awsapi.Ptr(g.Created.UnixMilli()), Arn: awsapi.Ptr(groupARN(ctx, g.Name) + ":*"),
			LogGroupArn: awsapi.Ptr(groupARN(ctx, g.Name)), MetricFilterCount: awsapi.Ptr(int64(0)), StoredBytes: &size, LogGroupClass: awsapi.Ptr(cmp.Or(g.Class, "STANDARD"))}
		if g.Retention > 0 {
			shown.RetentionInDays = &g.Retention
		}
		if g.KMS != "" {
			shown.KmsKeyId = &g.KMS
		}
		groups = append(groups, shown)
	}
	out := &logsapi.DescribeLogGroupsOutput{}
	out.LogGroups, out.NextToken = cut(groups, func(g logsapi.LogGroup) string { return *g.LogGroupName }, in.NextToken, in.Limit, 50)
	return out, nil
}

// retentions are the days that AWS allows.
var retentions = []int64{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

func (s *Service) edit(ctx context.Context, name string, out any, change func(*group)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(ctx, name)
	if err != nil {
		return err
	}
	if g.Tags == nil {
		g.Tags = map[string]string{}
	}
	change(g)
	return awscall.Commit(ctx, s.Store, out, put(key(ctx, "group", name), g, g.version))
}

// PutRetentionPolicy says for how many days events are kept.
func (s *Service) PutRetentionPolicy(ctx context.Context, in *logsapi.PutRetentionPolicyInput) (*logsapi.PutRetentionPolicyOutput, error) {
	if !slices.Contains(retentions, in.RetentionInDays) {
		return nil, awsapi.Errorf(400, "InvalidParameterException", "1 validation error detected: Value '%d' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: %v", in.RetentionInDays, retentions)
	}
	out := &logsapi.PutRetentionPolicyOutput{}
	return out, s.edit(ctx, in.LogGroupName, out, func(g *group) { g.Retention = in.RetentionInDays })
}

// DeleteRetentionPolicy keeps events for ever.
func (s *Service) DeleteRetentionPolicy(ctx context.Context, in *logsapi.DeleteRetentionPolicyInput) (*logsapi.DeleteRetentionPolicyOutput, error) {
	out := &logsapi.DeleteRetentionPolicyOutput{}
	return out, s.edit(ctx, in.LogGroupName, out, func(g *group) { g.Retention = 0 })
}

// TagResource adds tags to a group, named by its ARN.
func (s *Service) TagResource(ctx context.Context, in *logsapi.TagResourceInput) (*logsapi.TagResourceOutput, error) {
	out := &logsapi.TagResourceOutput{}
	return out, s.edit(ctx, groupName(&in.ResourceArn), out, func(g *group) { maps.Copy(g.Tags, in.Tags) })
}

// UntagResource removes tags from a group, named by its ARN.
func (s *Service) UntagResource(ctx context.Context, in *logsapi.UntagResourceInput) (*logsapi.UntagResourceOutput, error) {
	out := &logsapi.UntagResourceOutput{}
	return out, s.edit(ctx, groupName(&in.ResourceArn), out, without(in.TagKeys))
}

// ListTagsForResource returns the tags of a group, named by its ARN.
func (s *Service) ListTagsForResource(ctx context.Context, in *logsapi.ListTagsForResourceInput) (*logsapi.ListTagsForResourceOutput, error) {
	g, err := s.group(ctx, groupName(&in.ResourceArn))
	return &logsapi.ListTagsForResourceOutput{Tags: g.Tags}, err
}

// TagLogGroup is the older form of TagResource.
func (s *Service) TagLogGroup(ctx context.Context, in *logsapi.TagLogGroupInput) (*logsapi.TagLogGroupOutput, error) {
	out := &logsapi.TagLogGroupOutput{}
	return out, s.edit(ctx, in.LogGroupName, out, func(g *group) { maps.Copy(g.Tags, in.Tags) })
}

// UntagLogGroup is the older form of UntagResource.
func (s *Service) UntagLogGroup(ctx context.Context, in *logsapi.UntagLogGroupInput) (*logsapi.UntagLogGroupOutput, error) {
	out := &logsapi.UntagLogGroupOutput{}
	return out, s.edit(ctx, in.LogGroupName, out, without(in.Tags))
}

// ListTagsLogGroup is the older form of ListTagsForResource.
func (s *Service) ListTagsLogGroup(ctx context.Context, in *logsapi.ListTagsLogGroupInput) (*logsapi.ListTagsLogGroupOutput, error) {
	g, err := s.group(ctx, in.LogGroupName)
	return &logsapi.ListTagsLogGroupOutput{Tags: g.Tags}, err
}

func without(keys []string) func(*group) {
	return func(g *group) {
		for _, k := range keys {
			delete(g.Tags, k)
		}
	}
}

// CreateLogStream makes a stream.
func (s *Service) CreateLogStream(ctx context.Context, in *logsapi.CreateLogStreamInput) (*logsapi.CreateLogStreamOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.group(ctx, in.LogGroupName); err != nil {
		return nil, err
	}
	if _, err := s.stream(ctx, in.LogGroupName, in.LogStreamName); err == nil {
		return nil, awsapi.Errorf(400, "ResourceAlreadyExistsException", "The specified log stream already exists")
	} else if err != error(noStream) {
		return nil, err
	}
	out := &logsapi.CreateLogStreamOutput{}
	return out, awscall.Commit(ctx, s.Store, out, put(key(ctx, "stream", in.LogGroupName+":"+in.LogStreamName), stream{Name: in.LogStreamName, Created: s.Clock.Now()}, 0))
}

// DeleteLogStream removes a stream with its events.
func (s *Service) DeleteLogStream(ctx context.Context, in *logsapi.DeleteLogStreamInput) (*logsapi.DeleteLogStreamOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.group(ctx, in.LogGroupName); err != nil {
		return nil, err
	}
	id := in.LogGroupName + ":" + in.LogStreamName
	if _, err := s.stream(ctx, in.LogGroupName, in.LogStreamName); err != nil {
		return nil, err
	}
	out := &logsapi.DeleteLogStreamOutput{}
	return out, s.remove(ctx, out, key(ctx, "stream", id), id+":")
}

func (s *Service) streams(ctx context.Context, group, prefix string) ([]stream, error) {
	rows, err := s.rows(ctx, "stream", group+":"+prefix)
	if err != nil {
		return nil, err
	}
	out := make([]stream, len(rows))
	for i, r := range rows {
		if err := json.Unmarshal(r.Value, &out[i]); err != nil {
			return nil, fmt.Errorf("log stream %s: %w", r.Key.ID, err)
		}
	}
	return out, nil
}

// DescribeLogStreams lists the streams of a group by name or by their last event, 50 at a time.
func (s *Service) DescribeLogStreams(ctx context.Context, in *logsapi.DescribeLogStreamsInput) (*logsapi.DescribeLogStreamsOutput, error) {
	name := groupName(in.LogGroupName, in.LogGroupIdentifier)
	if _, err := s.group(ctx, name); err != nil {
		return nil, err
	}
	byTime := awsapi.Val(in.OrderBy) == "LastEventTime"
	if byTime && in.LogStreamNamePrefix != nil {
		return nil, awsapi.Errorf(400, "InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	streams, err := s.streams(ctx, name, awsapi.Val(in.LogStreamNamePrefix))
	if err != nil {
		return nil, err
	}
	if byTime {
		slices.SortStableFunc(streams, func(a, b stream) int { return cmp.Compare(a.Last, b.Last) })
	}
	if awsapi.Val(in.Descending) {
		slices.Reverse(streams)
	}
	streams, next := cut(streams, func(st stream) string { return st.Name }, in.NextToken, in.Limit, 50)
	out := &logsapi.DescribeLogStreamsOutput{LogStreams: []logsapi.LogStream{}, NextToken: next}
	for _, st := range streams {
		shown := logsapi.LogStream{LogStreamName: awsapi.Ptr(st.Name), CreationTime: awsapi.Ptr(st.Created.UnixMilli()),
			Arn: awsapi.Ptr(groupARN(ctx, name) + ":log-stream:" + st.Name), StoredBytes: awsapi.Ptr(int64(0))} // AWS: no longer counted per stream
		if st.Ingested > 0 {
			shown.FirstEventTimestamp, shown.LastEventTimestamp, shown.LastIngestionTime = &st.First, &st.Last, &st.Ingested
			shown.UploadSequenceToken = awsapi.Ptr("mayfly")
		}
		out.LogStreams = append(out.LogStreams, shown)
	}
	return out, nil
}

const (
	batchBytes  = 1048576 // of a PutLogEvents call; each event counts 26 bytes more than its text
	batchEvents = 10000
	eventCost   = 26
)

// PutLogEvents keeps events in the order of their times.
func (s *Service) PutLogEvents(ctx context.Context, in *logsapi.PutLogEventsInput) (*logsapi.PutLogEventsOutput, error) {
	c, size := chunk{Ingested: s.Clock.Now().UnixMilli()}, 0
	for i, e := range in.LogEvents {
		if i > 0 && e.Timestamp < in.LogEvents[i-1].Timestamp {
			return nil, awsapi.Errorf(400, "InvalidParameterException", "Log events in a single PutLogEvents request must be in chronological order.")
		}
		size += len(e.Message) + eventCost
		c.Events = append(c.Events, event{At: e.Timestamp, Message: e.Message})
	}
	if size > batchBytes {
		return nil, awsapi.Errorf(400, "InvalidParameterException", "Upload too large: %d bytes exceeds limit of %d", size, batchBytes)
	}
	if len(c.Events) > batchEvents {
		return nil, awsapi.Errorf(400, "InvalidParameterException", "Too many log events: %d exceeds limit of %d", len(c.Events), batchEvents)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(ctx, in.LogGroupName)
	if err != nil {
		return nil, err
	}
	st, err := s.stream(ctx, in.LogGroupName, in.LogStreamName)
	if err != nil {
		return nil, err
	}
	if len(c.Events) == 0 {
		return nil, awsapi.Errorf(400, "InvalidParameterException", "1 validation error detected: Value '[]' at 'logEvents' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	if first := c.Events[0].At; st.First == 0 || first < st.First {
		st.First = first
	}
	st.Last, st.Ingested, st.Bytes = max(st.Last, c.Events[len(c.Events)-1].At), c.Ingested, st.Bytes+int64(size)
	s.serial++
	id := in.LogGroupName + ":" + in.LogStreamName
	rows := []store.RowChange{
		put(key(ctx, "stream", id), st, st.version),
		put(key(ctx, "chunk", fmt.Sprintf("%s:%016x%08x", id, s.Clock.Now().UnixNano(), s.serial)), c, 0),
	}
	expired, err := s.expired(ctx, id, g.Retention)
	if err != nil {
		return nil, err
	}
	out := &logsapi.PutLogEventsOutput{NextSequenceToken: awsapi.Ptr("mayfly")} // AWS: no longer looked at
	return out, awscall.Commit(ctx, s.Store, out, append(rows, expired...)...)
}

// expired deletes the oldest chunks of a stream once their last event is older than the group keeps events.
func (s *Service) expired(ctx context.Context, id string, days int64) ([]store.RowChange, error) {
	if days == 0 {
		return nil, nil
	}
	k := key(ctx, "chunk", "")
	rows, err := s.Store.List(ctx, store.Query{Account: k.Account, Region: k.Region, Service: service, Kind: "chunk", Prefix: id + ":", Limit: 16})
	if err != nil {
		return nil, fmt.Errorf("list chunks: %w", err)
	}
	var out []store.RowChange
	for _, r := range rows {
		var c chunk
		if err := json.Unmarshal(r.Value, &c); err != nil {
			return nil, fmt.Errorf("chunk %s: %w", r.Key.ID, err)
		}
		if c.Events[len(c.Events)-1].At < s.since(days) {
			out = append(out, store.RowChange{Key: r.Key, Delete: true})
		}
	}
	return out, nil
}

func (s *Service) since(days int64) int64 {
	if days == 0 {
		return 0
	}
	return s.Clock.Now().Add(-time.Duration(days) * 24 * time.Hour).UnixMilli()
}

// read returns the events of a stream in the order of time, then of arrival.
func (s *Service) read(ctx context.Context, g *group, name string, start, end *int64) ([]event, error) {
	prefix := g.Name + ":" + name + ":"
	rows, err := s.rows(ctx, "chunk", prefix)
	if err != nil {
		return nil, err
	}
	since := max(s.since(g.Retention), awsapi.Val(start))
	var out []event
	for _, r := range rows {
		var c chunk
		if err := json.Unmarshal(r.Value, &c); err != nil {
			return nil, fmt.Errorf("chunk %s: %w", r.Key.ID, err)
		}
		for i, e := range c.Events {
			if e.At < since || end != nil && e.At >= *end {
				continue
			}
			e.stream, e.ingested, e.id = name, c.Ingested, fmt.Sprintf("%s%05d", strings.TrimPrefix(r.Key.ID, prefix), i)
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, order)
	return out, nil
}

func order(a, b event) int {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.id, b.id), cmp.Compare(a.stream, b.stream))
}

// A token is a direction and the event that it stands at.
func token(direction string, e event) *string {
	return awsapi.Ptr(fmt.Sprintf("%s/%d/%s", direction, e.At, e.id))
}

func position(text string) (direction string, e event, err error) {
	p := strings.SplitN(text, "/", 3)
	if len(p) == 3 && (p[0] == "f" || p[0] == "b") {
		if e.At, err = strconv.ParseInt(p[1], 10, 64); err == nil {
			e.id = p[2]
			return p[0], e, nil
		}
	}
	return "", e, awsapi.Errorf(400, "InvalidParameterException", "The specified nextToken is invalid.")
}

// GetLogEvents reads a stream forwards or backwards. AWS: at an end the token that came is returned, so that a reader knows.
func (s *Service) GetLogEvents(ctx context.Context, in *logsapi.GetLogEventsInput) (*logsapi.GetLogEventsOutput, error) {
	g, err := s.group(ctx, groupName(in.LogGroupName, in.LogGroupIdentifier))
	if err != nil {
		return nil, err
	}
	if _, err := s.stream(ctx, g.Name, in.LogStreamName); err != nil {
		return nil, err
	}
	all, err := s.read(ctx, g, in.LogStreamName, in.StartTime, in.EndTime)
	if err != nil {
		return nil, err
	}
	most := 10000
	if in.Limit != nil {
		most = int(*in.Limit)
	}
	lo, hi := max(0, len(all)-most), len(all) // without a token the newest
	here := event{}
	switch {
	case in.NextToken != nil:
		direction, e, err := position(*in.NextToken)
		if err != nil {
			return nil, err
		}
		here = e
		at, found := slices.BinarySearchFunc(all, e, func(x, y event) int { return cmp.Or(cmp.Compare(x.At, y.At), cmp.Compare(x.id, y.id)) })
		if direction == "f" {
			if found {
				at++
			}
			lo, hi = at, min(len(all), at+most)
		} else {
			lo, hi = max(0, at-most), at
		}
	case awsapi.Val(in.StartFromHead):
		lo, hi = 0, min(len(all), most)
	}
	out := &logsapi.GetLogEventsOutput{Events: []logsapi.OutputLogEvent{}, NextForwardToken: token("f", here), NextBackwardToken: token("b", here)}
	for _, e := range all[lo:hi] {
		out.Events = append(out.Events, logsapi.OutputLogEvent{Timestamp: awsapi.Ptr(e.At), Message: awsapi.Ptr(e.Message), IngestionTime: awsapi.Ptr(e.ingested)})
	}
	if lo < hi {
		out.NextForwardToken, out.NextBackwardToken = token("f", all[hi-1]), token("b", all[lo])
	}
	return out, nil
}

// FilterLogEvents searches the streams of a group.
func (s *Service) FilterLogEvents(ctx context.Context, in *logsapi.FilterLogEventsInput) (*logsapi.FilterLogEventsOutput, error) {
	match, err := pattern(awsapi.Val(in.FilterPattern))
	if err != nil {
		return nil, err
	}
	if in.LogStreamNames != nil && in.LogStreamNamePrefix != nil {
		return nil, awsapi.Errorf(400, "InvalidParameterException", "LogStreamNames and LogStreamNamePrefix are mutually exclusive parameters.")
	}
	g, err := s.group(ctx, groupName(in.LogGroupName, in.LogGroupIdentifier))
	if err != nil {
		return nil, err
	}
	names := in.LogStreamNames
	if names == nil {
		streams, err := s.streams(ctx, g.Name, awsapi.Val(in.LogStreamNamePrefix))
		if err != nil {
			return nil, err
		}
		for _, st := range streams {
			names = append(names, st.Name)
		}
	}
	var all []event
	for _, name := range names {
		if in.LogStreamNames != nil {
			if _, err := s.stream(ctx, g.Name, name); err != nil {
				return nil, err
			}
		}
		events, err := s.read(ctx, g, name, in.StartTime, in.EndTime)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if match(e.Message) {
				all = append(all, e)
			}
		}
	}
	slices.SortStableFunc(all, order)
	most := 10000
	if in.Limit != nil {
		most = int(*in.Limit)
	}
	if in.NextToken != nil {
		_, here, err := position(*in.NextToken)
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(e event) bool { return cmp.Or(cmp.Compare(e.At, here.At), cmp.Compare(e.id, here.id)) <= 0 })
	}
	out := &logsapi.FilterLogEventsOutput{Events: []logsapi.FilteredLogEvent{}, SearchedLogStreams: []logsapi.SearchedLogStream{}}
	if len(all) > most {
		all = all[:most]
		out.NextToken = token("f", all[most-1])
	}
	for _, e := range all {
		out.Events = append(out.Events, logsapi.FilteredLogEvent{LogStreamName: awsapi.Ptr(e.stream), Timestamp: awsapi.Ptr(e.At), Message: awsapi.Ptr(e.Message),
			IngestionTime: awsapi.Ptr(e.ingested), EventId: awsapi.Ptr(e.id)})
	}
	return out, nil
}

// pattern compiles a filter pattern of words. AWS: all plain words must stand in the message, one of those with a question
// mark, and none of those with a minus.
func pattern(text string) (func(string) bool, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") || strings.HasPrefix(text, "%") {
		return nil, awsapi.Errorf(400, "InvalidParameterException", "Invalid filter pattern: JSON, space-delimited and regular-expression patterns are not supported by Mayfly; use words.")
	}
	var all, any, none []string
	for text != "" {
		into := &all
		switch text[0] {
		case '?':
			into, text = &any, text[1:]
		case '-':
			into, text = &none, text[1:]
		}
		var word string
		if strings.HasPrefix(text, `"`) {
			quoted, err := strconv.QuotedPrefix(text)
			if err == nil {
				word, err = strconv.Unquote(quoted)
			}
			if err != nil {
				return nil, awsapi.Errorf(400, "InvalidParameterException", "Invalid filter pattern: a quotation mark is not closed.")
			}
			text = text[len(quoted):]
		} else {
			end := strings.IndexAny(text, " \t")
			if end < 0 {
				end = len(text)
			}
			word, text = text[:end], text[end:]
		}
		if word != "" {
			*into = append(*into, word)
		}
		text = strings.TrimSpace(text)
	}
	return func(message string) bool {
		has := func(word string) bool { return strings.Contains(message, word) }
		return !slices.ContainsFunc(none, has) && (len(any) == 0 || slices.ContainsFunc(any, has)) &&
			!slices.ContainsFunc(all, func(w string) bool { return !has(w) })
	}, nil
}
