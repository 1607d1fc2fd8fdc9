package sqs

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/sqsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// Config is what the service needs.
type Config struct {
	Store    store.Store
	Clock    clock.Clock
	Endpoint func() string // base URL of the endpoint: queue URLs begin with it
}

// Service serves SQS.
type Service struct {
	Config
	sends  sync.RWMutex // shared by those that send, before mu; held where messages go with all others of a queue
	mu     sync.Mutex
	queues map[string]*queue // by account/region/name; nil until the first use
	serial uint64            // of the rows made since the start
}

// New makes the service. Queues and messages are read at the first call.
func New(cfg Config) *Service { return &Service{Config: cfg} }

// API lists the operations.
func (s *Service) API() *awscall.Service {
	a := awscall.NewService("sqs")
	awscall.Handle(a, "CreateQueue", s.CreateQueue)
	awscall.Handle(a, "DeleteQueue", s.DeleteQueue)
	awscall.Handle(a, "GetQueueUrl", s.GetQueueUrl)
	awscall.Handle(a, "ListQueues", s.ListQueues)
	awscall.Handle(a, "GetQueueAttributes", s.GetQueueAttributes)
	awscall.Handle(a, "SetQueueAttributes", s.SetQueueAttributes)
	awscall.Handle(a, "TagQueue", s.TagQueue)
	awscall.Handle(a, "UntagQueue", s.UntagQueue)
	awscall.Handle(a, "ListQueueTags", s.ListQueueTags)
	awscall.Handle(a, "PurgeQueue", s.PurgeQueue)
	awscall.Handle(a, "ListDeadLetterSourceQueues", s.ListDeadLetterSourceQueues)
	awscall.Handle(a, "SendMessage", s.SendMessage)
	awscall.Handle(a, "SendMessageBatch", s.SendMessageBatch)
	awscall.Handle(a, "ReceiveMessage", s.ReceiveMessage)
	awscall.Handle(a, "DeleteMessage", s.DeleteMessage)
	awscall.Handle(a, "DeleteMessageBatch", s.DeleteMessageBatch)
	awscall.Handle(a, "ChangeMessageVisibility", s.ChangeMessageVisibility)
	awscall.Handle(a, "ChangeMessageVisibilityBatch", s.ChangeMessageVisibilityBatch)
	return a
}

const service = "sqs"

func (s *Service) queueKey(r record) store.Key {
	return store.Key{Account: r.Account, Region: r.Region, Service: service, Kind: "queue", ID: r.Name}
}

func (s *Service) messageKey(q *queue, row string) store.Key {
	return store.Key{Account: q.Account, Region: q.Region, Service: service, Kind: "message", ID: q.Name + "/" + row}
}

func name(r record) string { return r.Account + "/" + r.Region + "/" + r.Name }

// load reads all queues and messages once. The caller holds mu.
func (s *Service) load(ctx context.Context) error {
	if s.queues != nil {
		return nil
	}
	queues := map[string]*queue{}
	rows, err := s.Store.List(ctx, store.Query{Service: service, Kind: "queue"})
	if err != nil {
		return fmt.Errorf("read queues: %w", err)
	}
	for _, row := range rows {
		var r record
		if err := json.Unmarshal(row.Value, &r); err != nil {
			return fmt.Errorf("queue %s: %w", row.Key.ID, err)
		}
		queues[name(r)] = newQueue(r, row.Version)
	}
	rows, err = s.Store.List(ctx, store.Query{Service: service, Kind: "message"})
	if err != nil {
		return fmt.Errorf("read messages: %w", err)
	}
	for _, row := range rows {
		var m stored
		if err := json.Unmarshal(row.Value, &m); err != nil {
			return fmt.Errorf("message %s: %w", row.Key.ID, err)
		}
		of, id, _ := strings.Cut(row.Key.ID, "/")
		if q := queues[row.Key.Account+"/"+row.Key.Region+"/"+of]; q != nil {
			q.add(&message{stored: m, row: id, visible: m.Visible})
		}
	}
	s.queues = queues
	return nil
}

// find is the queue that a URL names. AWS: only the path counts, so a URL made under another address works too.
// The caller holds mu.
func (s *Service) find(ctx context.Context, url string) (*queue, error) {
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	p := identity.From(ctx)
	parts := strings.Split(strings.TrimRight(url, "/"), "/")
	account := p.Account
	if n := len(parts); n > 1 && len(parts[n-2]) == 12 {
		account = parts[n-2]
	}
	q := s.queues[account+"/"+p.Region+"/"+parts[len(parts)-1]]
	if q == nil {
		return nil, awsapi.Errorf(400, "QueueDoesNotExist", "The specified queue does not exist.")
	}
	return q, nil
}

func (s *Service) url(r record) string { return s.Endpoint() + "/" + r.Account + "/" + r.Name }

var queueName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,80}$`)

// CreateQueue makes a standard queue. One with the same name and attributes is answered; other attributes are QueueNameExists.
func (s *Service) CreateQueue(ctx context.Context, in *sqsapi.CreateQueueInput) (*sqsapi.CreateQueueOutput, error) {
	if strings.HasSuffix(in.QueueName, ".fifo") {
		return nil, awsapi.Errorf(400, "UnsupportedOperation", "FIFO queues are not supported by Mayfly yet: use a standard queue instead of %s.", in.QueueName)
	}
	if !queueName.MatchString(in.QueueName) {
		return nil, awsapi.Errorf(400, "InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	}
	if err := checkAttributes(in.Attributes); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	if err := s.checkRedrive(in.Attributes); err != nil {
		return nil, err
	}
	p, now := identity.From(ctx), s.Clock.Now()
	r := record{Name: in.QueueName, Account: p.Account, Region: p.Region, Created: now, Modified: now, Attributes: in.Attributes, Tags: in.Tags}
	out := &sqsapi.CreateQueueOutput{QueueUrl: awsapi.Ptr(s.url(r))}
	if old := s.queues[name(r)]; old != nil {
		for k, v := range in.Attributes {
			if had, set := old.Attributes[k]; !set || had != v {
				if _, numeric := numbers[k]; numeric && strconv.Itoa(old.number(k)) == v {
					continue
				}
				return nil, awsapi.Errorf(400, "QueueNameExists", "A queue already exists with the same name and a different value for attribute %s", k)
			}
		}
		return out, nil
	}
	q := newQueue(r, 0)
	if err := s.put(ctx, q, r, out); err != nil {
		return nil, err
	}
	s.queues[name(r)] = q
	return out, nil
}

// put writes a queue's row and then its memory. The caller holds mu.
func (s *Service) put(ctx context.Context, q *queue, r record, out any) error {
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := awscall.Commit(ctx, s.Store, out, store.RowChange{Key: s.queueKey(r), Value: value}); err != nil {
		return err
	}
	q.record = r
	return nil
}

// DeleteQueue removes a queue with its messages.
func (s *Service) DeleteQueue(ctx context.Context, in *sqsapi.DeleteQueueInput) (*sqsapi.DeleteQueueOutput, error) {
	s.sends.Lock()
	defer s.sends.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.find(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	out := &sqsapi.DeleteQueueOutput{}
	if err := awscall.Commit(ctx, s.Store, out, append(s.deletions(q), store.RowChange{Key: s.queueKey(q.record), Delete: true})...); err != nil {
		return nil, err
	}
	delete(s.queues, name(q.record))
	q.wake()
	return out, nil
}

func (s *Service) deletions(q *queue) []store.RowChange {
	var rows []store.RowChange
	for _, m := range q.order {
		rows = append(rows, store.RowChange{Key: s.messageKey(q, m.row), Delete: true})
	}
	return rows
}

// PurgeQueue deletes the messages of a queue.
func (s *Service) PurgeQueue(ctx context.Context, in *sqsapi.PurgeQueueInput) (*sqsapi.PurgeQueueOutput, error) {
	s.sends.Lock()
	defer s.sends.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.find(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if err := s.Store.Commit(ctx, store.Batch{Rows: s.deletions(q)}); err != nil {
		return nil, err
	}
	q.messages, q.order = map[string]*message{}, nil
	return &sqsapi.PurgeQueueOutput{}, nil
}

// GetQueueUrl is the URL of a queue by its name.
func (s *Service) GetQueueUrl(ctx context.Context, in *sqsapi.GetQueueUrlInput) (*sqsapi.GetQueueUrlOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := in.QueueName
	if owner := awsapi.Val(in.QueueOwnerAWSAccountId); owner != "" {
		path = owner + "/" + path
	}
	q, err := s.find(ctx, path)
	if err != nil {
		return nil, err
	}
	return &sqsapi.GetQueueUrlOutput{QueueUrl: awsapi.Ptr(s.url(q.record))}, nil
}

// ListQueues lists queue URLs by name, at most 1,000 at a time.
func (s *Service) ListQueues(ctx context.Context, in *sqsapi.ListQueuesInput) (*sqsapi.ListQueuesOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	prefix := awsapi.Val(in.QueueNamePrefix)
	urls, next, err := s.list(ctx, in.MaxResults, in.NextToken, func(q *queue) bool { return strings.HasPrefix(q.Name, prefix) })
	return &sqsapi.ListQueuesOutput{QueueUrls: urls, NextToken: next}, err
}

func (s *Service) list(ctx context.Context, maxResults *int64, token *string, want func(*queue) bool) ([]string, *string, error) {
	p := identity.From(ctx)
	after, err := base64.RawURLEncoding.DecodeString(awsapi.Val(token))
	if err != nil {
		return nil, nil, awsapi.Errorf(400, "InvalidParameterValue", "Invalid or expired next token.")
	}
	most := 1000
	if maxResults != nil {
		most = int(*maxResults)
	}
	urls := []string{}
	for _, k := range slices.Sorted(maps.Keys(s.queues)) {
		q := s.queues[k]
		if q.Account != p.Account || q.Region != p.Region || q.Name <= string(after) || !want(q) {
			continue
		}
		if len(urls) == most {
			last := urls[most-1]
			return urls, awsapi.Ptr(base64.RawURLEncoding.EncodeToString([]byte(last[strings.LastIndexByte(last, '/')+1:]))), nil
		}
		urls = append(urls, s.url(q.record))
	}
	return urls, nil, nil
}

// ListDeadLetterSourceQueues lists the queues whose failed messages come to this one.
func (s *Service) ListDeadLetterSourceQueues(ctx context.Context, in *sqsapi.ListDeadLetterSourceQueuesInput) (*sqsapi.ListDeadLetterSourceQueuesOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	target, err := s.find(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	urls, next, err := s.list(ctx, in.MaxResults, in.NextToken, func(q *queue) bool {
		to, _, err := redrivePolicy(q.Attributes["RedrivePolicy"])
		return err == nil && to == target.arn()
	})
	return &sqsapi.ListDeadLetterSourceQueuesOutput{QueueUrls: urls, NextToken: next}, err
}

// GetQueueAttributes returns the attributes asked for; without names none, as on AWS.
func (s *Service) GetQueueAttributes(ctx context.Context, in *sqsapi.GetQueueAttributesInput) (*sqsapi.GetQueueAttributesOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.find(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	visible, delayed, inFlight := q.count(s.Clock.Now())
	all := map[string]string{
		"QueueArn":                              q.arn(),
		"CreatedTimestamp":                      strconv.FormatInt(q.Created.Unix(), 10),
		"LastModifiedTimestamp":                 strconv.FormatInt(q.Modified.Unix(), 10),
		"ApproximateNumberOfMessages":           strconv.Itoa(visible),
		"ApproximateNumberOfMessagesDelayed":    strconv.Itoa(delayed),
		"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(inFlight),
		"SqsManagedSseEnabled":                  "true",
	}
	for n := range numbers {
		all[n] = strconv.Itoa(q.number(n))
	}
	for _, n := range others {
		if v, ok := q.Attributes[n]; ok && v != "" {
			all[n] = v
		}
	}
	out := map[string]string{}
	for _, n := range in.AttributeNames {
		if n == "All" {
			return &sqsapi.GetQueueAttributesOutput{Attributes: all}, nil
		}
		if v, ok := all[n]; ok {
			out[n] = v
		}
	}
	return &sqsapi.GetQueueAttributesOutput{Attributes: out}, nil
}

// change rewrites a queue's row.
func (s *Service) change(ctx context.Context, url string, out any, edit func(*record) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.find(ctx, url)
	if err != nil {
		return err
	}
	r := q.record
	r.Attributes, r.Tags = maps.Clone(r.Attributes), maps.Clone(r.Tags)
	if r.Attributes == nil {
		r.Attributes = map[string]string{}
	}
	if r.Tags == nil {
		r.Tags = map[string]string{}
	}
	if err := edit(&r); err != nil {
		return err
	}
	return s.put(ctx, q, r, out)
}

// checkRedrive refuses a dead-letter queue that is not there. The caller holds mu.
func (s *Service) checkRedrive(attributes map[string]string) error {
	text := attributes["RedrivePolicy"]
	target, _, err := redrivePolicy(text)
	if err != nil || text == "" {
		return nil // the form is checked elsewhere
	}
	if a := strings.Split(target, ":"); len(a) != 6 || s.queues[a[4]+"/"+a[3]+"/"+a[5]] == nil {
		return awsapi.Errorf(400, "InvalidParameterValue", "Value %s for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.", text)
	}
	return nil
}

// SetQueueAttributes changes attributes; an empty policy removes it.
func (s *Service) SetQueueAttributes(ctx context.Context, in *sqsapi.SetQueueAttributesInput) (*sqsapi.SetQueueAttributesOutput, error) {
	if err := checkAttributes(in.Attributes); err != nil {
		return nil, err
	}
	out := &sqsapi.SetQueueAttributesOutput{}
	return out, s.change(ctx, in.QueueUrl, out, func(r *record) error {
		maps.Copy(r.Attributes, in.Attributes)
		r.Modified = s.Clock.Now()
		return s.checkRedrive(in.Attributes)
	})
}

// TagQueue adds tags.
func (s *Service) TagQueue(ctx context.Context, in *sqsapi.TagQueueInput) (*sqsapi.TagQueueOutput, error) {
	out := &sqsapi.TagQueueOutput{}
	return out, s.change(ctx, in.QueueUrl, out, func(r *record) error {
		maps.Copy(r.Tags, in.Tags)
		return nil
	})
}

// UntagQueue removes tags.
func (s *Service) UntagQueue(ctx context.Context, in *sqsapi.UntagQueueInput) (*sqsapi.UntagQueueOutput, error) {
	out := &sqsapi.UntagQueueOutput{}
	return out, s.change(ctx, in.QueueUrl, out, func(r *record) error {
		for _, k := range in.TagKeys {
			delete(r.Tags, k)
		}
		return nil
	})
}

// ListQueueTags returns a queue's tags.
func (s *Service) ListQueueTags(ctx context.Context, in *sqsapi.ListQueueTagsInput) (*sqsapi.ListQueueTagsOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.find(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &sqsapi.ListQueueTagsOutput{Tags: maps.Clone(q.Tags)}, nil
}

// rowID orders messages as they were accepted, also across restarts.
func (s *Service) rowID(now time.Time) string {
	s.serial++
	return fmt.Sprintf("%016x-%08x", now.UnixNano(), s.serial)
}

// compose makes a message that is not yet kept. The caller holds mu.
func (s *Service) compose(ctx context.Context, q *queue, e sqsapi.SendMessageBatchRequestEntry) (*message, error) {
	if err := checkMessage(e.MessageBody, e.MessageAttributes, q.number("MaximumMessageSize")); err != nil {
		return nil, err
	}
	delay := int64(q.number("DelaySeconds"))
	if e.DelaySeconds != nil {
		delay = *e.DelaySeconds
	}
	if delay < 0 || delay > 900 {
		return nil, awsapi.Errorf(400, "InvalidParameterValue", "Value %d for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.", delay)
	}
	now := s.Clock.Now()
	visible := now.Add(time.Duration(delay) * time.Second)
	return &message{row: s.rowID(now), visible: visible, stored: stored{
		ID: uuid.NewString(), Body: e.MessageBody, Attributes: e.MessageAttributes, System: e.MessageSystemAttributes,
		Sender: identity.From(ctx).ARN, Sent: now, Visible: visible,
	}}, nil
}

func (s *Service) row(q *queue, m *message) (store.RowChange, error) {
	value, err := json.Marshal(m.stored)
	return store.RowChange{Key: s.messageKey(q, m.row), Value: value, IfVersion: store.Absent}, err
}

// keep commits messages that are being sent, without mu, so that those of many callers are one commit. The caller holds mu and
// a share of sends: the queue stays.
func (s *Service) keep(ctx context.Context, out any, rows ...store.RowChange) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	return awscall.Commit(ctx, s.Store, out, rows...)
}

// SendMessage keeps one message.
func (s *Service) SendMessage(ctx context.Context, in *sqsapi.SendMessageInput) (*sqsapi.SendMessageOutput, error) {
	s.sends.RLock()
	defer s.sends.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.find(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	m, err := s.compose(ctx, q, sqsapi.SendMessageBatchRequestEntry{MessageBody: in.MessageBody, DelaySeconds: in.DelaySeconds,
		MessageAttributes: in.MessageAttributes, MessageSystemAttributes: in.MessageSystemAttributes})
	if err != nil {
		return nil, err
	}
	row, err := s.row(q, m)
	if err != nil {
		return nil, err
	}
	out := &sqsapi.SendMessageOutput{MessageId: &m.ID, MD5OfMessageBody: awsapi.Ptr(md5Hex([]byte(m.Body))), MD5OfMessageAttributes: md5OfAttributes(m.Attributes)}
	if err := s.keep(ctx, out, row); err != nil {
		return nil, err
	}
	q.add(m)
	return out, nil
}

// checkBatch refuses empty, oversized and ambiguous batches. what is what each entry asks for: "SendMessage".
func checkBatch(what string, ids []string) error {
	switch {
	case len(ids) == 0:
		return awsapi.Errorf(400, "EmptyBatchRequest", "There should be at least one %sBatchRequestEntry in the request.", what)
	case len(ids) > 10:
		return awsapi.Errorf(400, "TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent %d.", len(ids))
	}
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id] {
			return awsapi.Errorf(400, "BatchEntryIdsNotDistinct", "Id %s repeated.", id)
		}
		seen[id] = true
		if !queueName.MatchString(id) {
			return awsapi.Errorf(400, "InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
		}
	}
	return nil
}

// entryFailure is how a batch tells of an entry that was refused.
func entryFailure(id string, err error) (sqsapi.BatchResultErrorEntry, error) {
	var refused *awsapi.Error
	if !errors.As(err, &refused) {
		return sqsapi.BatchResultErrorEntry{}, err
	}
	return sqsapi.BatchResultErrorEntry{Id: id, SenderFault: true, Code: refused.Code, Message: &refused.Message}, nil
}

// SendMessageBatch keeps up to ten messages in one commit.
func (s *Service) SendMessageBatch(ctx context.Context, in *sqsapi.SendMessageBatchInput) (*sqsapi.SendMessageBatchOutput, error) {
	var ids []string
	for _, e := range in.Entries {
		ids = append(ids, e.Id)
	}
	if err := checkBatch("SendMessage", ids); err != nil {
		return nil, err
	}
	size := 0
	for _, e := range in.Entries {
		size += sizeOf(e.MessageBody, e.MessageAttributes)
	}
	if most := numbers["MaximumMessageSize"].high; size > most { // AWS: all entries together
		return nil, awsapi.Errorf(400, "BatchRequestTooLong", "Batch requests cannot be longer than %d bytes. You have sent %d bytes.", most, size)
	}
	s.sends.RLock()
	defer s.sends.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.find(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	out := &sqsapi.SendMessageBatchOutput{Successful: []sqsapi.SendMessageBatchResultEntry{}, Failed: []sqsapi.BatchResultErrorEntry{}}
	var rows []store.RowChange
	var made []*message
	for _, e := range in.Entries {
		m, err := s.compose(ctx, q, e)
		if err != nil {
			failure, err := entryFailure(e.Id, err)
			if err != nil {
				return nil, err
			}
			out.Failed = append(out.Failed, failure)
			continue
		}
		row, err := s.row(q, m)
		if err != nil {
			return nil, err
		}
		rows, made = append(rows, row), append(made, m)
		out.Successful = append(out.Successful, sqsapi.SendMessageBatchResultEntry{Id: e.Id, MessageId: m.ID,
			MD5OfMessageBody: md5Hex([]byte(m.Body)), MD5OfMessageAttributes: md5OfAttributes(m.Attributes)})
	}
	if err := s.keep(ctx, out, rows...); err != nil {
		return nil, err
	}
	for _, m := range made {
		q.add(m)
	}
	return out, nil
}

// ReceiveMessage hands out up to ten visible messages, waiting for the first at most WaitTimeSeconds.
func (s *Service) ReceiveMessage(ctx context.Context, in *sqsapi.ReceiveMessageInput) (*sqsapi.ReceiveMessageOutput, error) {
	most := int64(1)
	if in.MaxNumberOfMessages != nil {
		most = *in.MaxNumberOfMessages
	}
	if most < 1 || most > 10 {
		return nil, awsapi.Errorf(400, "InvalidParameterValue", "Value %d for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.", most)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var deadline time.Time
	for {
		q, err := s.find(ctx, in.QueueUrl)
		if err != nil {
			return nil, err
		}
		now := s.Clock.Now()
		if deadline.IsZero() {
			wait := int64(q.number("ReceiveMessageWaitTimeSeconds"))
			if in.WaitTimeSeconds != nil {
				wait = *in.WaitTimeSeconds
			}
			if wait < 0 || wait > 20 {
				return nil, awsapi.Errorf(400, "InvalidParameterValue", "Value %d for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.", wait)
			}
			deadline = now.Add(time.Duration(wait) * time.Second)
		}
		hidden := int64(q.number("VisibilityTimeout"))
		if in.VisibilityTimeout != nil {
			hidden = *in.VisibilityTimeout
		}
		if err := checkVisibility(hidden); err != nil {
			return nil, err
		}
		out := &sqsapi.ReceiveMessageOutput{}
		var due time.Time
		for int64(len(out.Messages)) < most {
			m, later := q.next(now)
			if due = later; m == nil {
				break
			}
			if kept, err := s.retire(ctx, q, m, now); err != nil {
				return nil, err
			} else if !kept {
				continue
			}
			m.received++
			if m.first.IsZero() {
				m.first = now
			}
			if m.visible = now.Add(time.Duration(hidden) * time.Second); hidden == 0 {
				m.visible = now.Add(time.Nanosecond)
			}
			q.hide(m, m.visible)
			out.Messages = append(out.Messages, s.deliver(in, q, m))
		}
		if len(out.Messages) > 0 || !now.Before(deadline) {
			return out, nil
		}
		if due.IsZero() || due.After(deadline) {
			due = deadline
		}
		if err := s.wait(ctx, q.changed, due.Sub(now)); err != nil {
			return nil, err
		}
	}
}

// wait lets go of mu until changed is closed, d has passed or ctx ends.
func (s *Service) wait(ctx context.Context, changed <-chan struct{}, d time.Duration) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	due := make(chan struct{})
	t := s.Clock.AfterFunc(d, func() { close(due) })
	defer t.Stop()
	select {
	case <-changed:
	case <-due:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// retire takes away a message that is too old, or was received too often and has a dead-letter queue; it reports whether
// the message stays. The caller holds mu.
func (s *Service) retire(ctx context.Context, q *queue, m *message, now time.Time) (stays bool, err error) {
	b := store.Batch{Rows: []store.RowChange{{Key: s.messageKey(q, m.row), Delete: true}}}
	if now.Sub(m.Sent) > time.Duration(q.number("MessageRetentionPeriod"))*time.Second {
		if err := s.Store.Commit(ctx, b); err != nil {
			return false, err
		}
		q.remove(m)
		return false, nil
	}
	target, most, err := redrivePolicy(q.Attributes["RedrivePolicy"])
	if err != nil || m.received < most {
		return true, nil
	}
	dead := s.queues[q.Account+"/"+q.Region+"/"+target[strings.LastIndexByte(target, ':')+1:]]
	if dead == nil {
		return true, nil // AWS: without its dead-letter queue a message stays where it is
	}
	moved := &message{stored: m.stored, row: s.rowID(now), visible: now}
	moved.From = q.arn()
	row, err := s.row(dead, moved)
	if err != nil {
		return false, err
	}
	b.Rows = append(b.Rows, row)
	if err := s.Store.Commit(ctx, b); err != nil {
		return false, err
	}
	q.remove(m)
	dead.add(moved)
	return false, nil
}

// deliver is a message as its receiver sees it, with the attributes that it asked for.
func (s *Service) deliver(in *sqsapi.ReceiveMessageInput, q *queue, m *message) sqsapi.Message {
	handle := base64.RawURLEncoding.EncodeToString([]byte(m.ID + "/" + rand.Text()))
	out := sqsapi.Message{MessageId: &m.ID, ReceiptHandle: &handle, Body: &m.Body, MD5OfBody: awsapi.Ptr(md5Hex([]byte(m.Body)))}
	system := map[string]string{
		"SenderId":                         m.Sender,
		"SentTimestamp":                    strconv.FormatInt(m.Sent.UnixMilli(), 10),
		"ApproximateReceiveCount":          strconv.Itoa(m.received),
		"ApproximateFirstReceiveTimestamp": strconv.FormatInt(m.first.UnixMilli(), 10),
	}
	if m.From != "" {
		system["DeadLetterQueueSourceArn"] = m.From
	}
	for k, v := range m.System {
		system[k] = awsapi.Val(v.StringValue)
	}
	for _, n := range append(slices.Clone(in.AttributeNames), in.MessageSystemAttributeNames...) {
		for k, v := range system {
			if n == "All" || n == k {
				if out.Attributes == nil {
					out.Attributes = map[string]string{}
				}
				out.Attributes[k] = v
			}
		}
	}
	for _, n := range in.MessageAttributeNames {
		for k, v := range m.Attributes {
			prefix, isPrefix := strings.CutSuffix(n, ".*")
			if n == "All" || n == k || isPrefix && strings.HasPrefix(k, prefix) {
				if out.MessageAttributes == nil {
					out.MessageAttributes = map[string]sqsapi.MessageAttributeValue{}
				}
				out.MessageAttributes[k] = v
			}
		}
	}
	out.MD5OfMessageAttributes = md5OfAttributes(out.MessageAttributes)
	return out
}

// held is the message that a receipt handle stands for; nil when it was deleted. The caller holds mu.
func (q *queue) held(handle string) (*message, error) {
	b, err := base64.RawURLEncoding.DecodeString(handle)
	id, _, ok := strings.Cut(string(b), "/")
	if err != nil || !ok {
		return nil, awsapi.Errorf(400, "ReceiptHandleIsInvalid", `The input receipt handle "%s" is not a valid receipt handle.`, handle)
	}
	return q.messages[id], nil
}

func (s *Service) drop(ctx context.Context, q *queue, handle string) error {
	m, err := q.held(handle)
	if err != nil || m == nil {
		return err // AWS: deleting a message that is gone is a success
	}
	if err := s.Store.Commit(ctx, store.Batch{Rows: []store.RowChange{{Key: s.messageKey(q, m.row), Delete: true}}}); err != nil {
		return err
	}
	q.remove(m)
	return nil
}

// DeleteMessage deletes a message by a receipt handle.
func (s *Service) DeleteMessage(ctx context.Context, in *sqsapi.DeleteMessageInput) (*sqsapi.DeleteMessageOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.find(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &sqsapi.DeleteMessageOutput{}, s.drop(ctx, q, in.ReceiptHandle)
}

// DeleteMessageBatch deletes up to ten messages.
func (s *Service) DeleteMessageBatch(ctx context.Context, in *sqsapi.DeleteMessageBatchInput) (*sqsapi.DeleteMessageBatchOutput, error) {
	out := &sqsapi.DeleteMessageBatchOutput{Successful: []sqsapi.DeleteMessageBatchResultEntry{}, Failed: []sqsapi.BatchResultErrorEntry{}}
	var ids []string
	for _, e := range in.Entries {
		ids = append(ids, e.Id)
	}
	return out, s.batch(ctx, "DeleteMessage", in.QueueUrl, ids, &out.Failed, func(q *queue, i int) error {
		err := s.drop(ctx, q, in.Entries[i].ReceiptHandle)
		if err == nil {
			out.Successful = append(out.Successful, sqsapi.DeleteMessageBatchResultEntry{Id: ids[i]})
		}
		return err
	})
}

// batch does each entry and collects what was refused.
func (s *Service) batch(ctx context.Context, what, url string, ids []string, failed *[]sqsapi.BatchResultErrorEntry, do func(q *queue, i int) error) error {
	if err := checkBatch(what, ids); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.find(ctx, url)
	if err != nil {
		return err
	}
	for i, id := range ids {
		if err := do(q, i); err != nil {
			failure, err := entryFailure(id, err)
			if err != nil {
				return err
			}
			*failed = append(*failed, failure)
		}
	}
	return nil
}

func checkVisibility(seconds int64) error {
	if seconds < 0 || seconds > 43200 {
		return awsapi.Errorf(400, "InvalidParameterValue", "Value %d for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided.", seconds)
	}
	return nil
}

// show changes when a received message becomes visible again. The caller holds mu.
func (s *Service) show(q *queue, handle string, seconds int64) error {
	if err := checkVisibility(seconds); err != nil {
		return err
	}
	m, err := q.held(handle)
	if err != nil {
		return err
	}
	now := s.Clock.Now()
	if m == nil || m.received == 0 || !m.visible.After(now) {
		return awsapi.Errorf(400, "MessageNotInflight", "Value %s for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.", handle)
	}
	q.hide(m, now.Add(time.Duration(seconds)*time.Second))
	return nil
}

// ChangeMessageVisibility moves the end of a message's hiding.
func (s *Service) ChangeMessageVisibility(ctx context.Context, in *sqsapi.ChangeMessageVisibilityInput) (*sqsapi.ChangeMessageVisibilityOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.find(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &sqsapi.ChangeMessageVisibilityOutput{}, s.show(q, in.ReceiptHandle, in.VisibilityTimeout)
}

// ChangeMessageVisibilityBatch does so for up to ten messages.
func (s *Service) ChangeMessageVisibilityBatch(ctx context.Context, in *sqsapi.ChangeMessageVisibilityBatchInput) (*sqsapi.ChangeMessageVisibilityBatchOutput, error) {
	out := &sqsapi.ChangeMessageVisibilityBatchOutput{Successful: []sqsapi.ChangeMessageVisibilityBatchResultEntry{}, Failed: []sqsapi.BatchResultErrorEntry{}}
	var ids []string
	for _, e := range in.Entries {
		ids = append(ids, e.Id)
	}
	return out, s.batch(ctx, "ChangeMessageVisibility", in.QueueUrl, ids, &out.Failed, func(q *queue, i int) error {
		err := s.show(q, in.Entries[i].ReceiptHandle, awsapi.Val(in.Entries[i].VisibilityTimeout))
		if err == nil {
			out.Successful = append(out.Successful, sqsapi.ChangeMessageVisibilityBatchResultEntry{Id: ids[i]})
		}
		return err
	})
}
