package sns

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"maps"
	"net/http"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/snsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// Config is what the service needs.
type Config struct {
	Store    store.Store
	Loop     *durable.Loop
	Clock    clock.Clock
	Log      *slog.Logger
	Calls    awscall.Caller
	Endpoint func() string // base URL of the endpoint: links in mails begin with it
	MailDir  string        // where mail is kept without a mail server
	SMTP     string        // smtp://[user:password@]host[:port]; empty: mail is kept
	From     string        // sender of mail; a name of Mayfly's own when empty
}

// TLS is the configuration of connections to the mail server.
func (Config) TLS(host string) *tls.Config {
	return &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
}

// Service serves SNS.
type Service struct {
	Config
	mu         sync.Mutex // one change of topics and subscriptions at a time
	signing    sync.Mutex
	signs      *signer // nil until the first signature
	deliveries *durable.Entities[state, input, fact, command]
}

// New makes the service and registers its kind with the loop.
func New(cfg Config) *Service {
	s := &Service{Config: cfg}
	s.deliveries = durable.Register(cfg.Loop, s.kind())
	return s
}

// API lists the operations.
func (s *Service) API() *awscall.Service {
	a := awscall.NewService("sns")
	awscall.Handle(a, "CreateTopic", s.CreateTopic)
	awscall.Handle(a, "DeleteTopic", s.DeleteTopic)
	awscall.Handle(a, "ListTopics", s.ListTopics)
	awscall.Handle(a, "GetTopicAttributes", s.GetTopicAttributes)
	awscall.Handle(a, "SetTopicAttributes", s.SetTopicAttributes)
	awscall.Handle(a, "Subscribe", s.Subscribe)
	awscall.Handle(a, "ConfirmSubscription", s.ConfirmSubscription)
	awscall.Handle(a, "Unsubscribe", s.Unsubscribe)
	awscall.Handle(a, "ListSubscriptions", s.ListSubscriptions)
	awscall.Handle(a, "ListSubscriptionsByTopic", s.ListSubscriptionsByTopic)
	awscall.Handle(a, "GetSubscriptionAttributes", s.GetSubscriptionAttributes)
	awscall.Handle(a, "SetSubscriptionAttributes", s.SetSubscriptionAttributes)
	awscall.Handle(a, "Publish", s.Publish)
	awscall.Handle(a, "PublishBatch", s.PublishBatch)
	awscall.Handle(a, "TagResource", s.TagResource)
	awscall.Handle(a, "UntagResource", s.UntagResource)
	awscall.Handle(a, "ListTagsForResource", s.ListTagsForResource)
	return a
}

const service = "sns"

type topic struct {
	Account    string            `json:"account"`
	Region     string            `json:"region"`
	Name       string            `json:"name"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	version    int64
}

func (t *topic) arn() string { return "arn:aws:sns:" + t.Region + ":" + t.Account + ":" + t.Name }

func (t *topic) row() store.RowChange {
	value, _ := json.Marshal(t) // strings and maps of them
	v := t.version
	if v == 0 {
		v = store.Absent
	}
	return store.RowChange{Key: store.Key{Account: t.Account, Region: t.Region, Service: service, Kind: "topic", ID: t.Name}, Value: value, IfVersion: v}
}

type subscription struct {
	Account    string            `json:"account"`
	Region     string            `json:"region"`
	Topic      string            `json:"topic"` // its name
	ID         string            `json:"id"`
	Protocol   string            `json:"protocol"`
	Endpoint   string            `json:"endpoint"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Token      string            `json:"token,omitempty"`    // while it waits for confirmation
	Followed   string            `json:"followed,omitempty"` // the token that confirmed it
}

func (s *subscription) topicARN() string {
	return "arn:aws:sns:" + s.Region + ":" + s.Account + ":" + s.Topic
}
func (s *subscription) arn() string { return s.topicARN() + ":" + s.ID }

func (s *subscription) shown() snsapi.Subscription {
	arn := s.arn()
	if s.Token != "" {
		arn = "PendingConfirmation" // AWS: listings say so, Subscribe says "pending confirmation"
	}
	return snsapi.Subscription{SubscriptionArn: &arn, Owner: &s.Account, Protocol: &s.Protocol, Endpoint: &s.Endpoint, TopicArn: awsapi.Ptr(s.topicARN())}
}

func (s *subscription) key() store.Key {
	return store.Key{Account: s.Account, Region: s.Region, Service: service, Kind: "subscription", ID: s.Topic + "/" + s.ID}
}

func (s *subscription) row() store.RowChange {
	value, _ := json.Marshal(s) // strings and maps of them
	return store.RowChange{Key: s.key(), Value: value}
}

// parse splits a topic's or a subscription's ARN.
func parse(arn string) (account, region, topic, sub string, err error) {
	p := strings.Split(arn, ":")
	if len(p) < 6 || len(p) > 7 || p[0] != "arn" || p[2] != "sns" || len(p[4]) != 12 {
		return "", "", "", "", awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not %d", len(p))
	}
	if len(p) == 7 {
		sub = p[6]
	}
	return p[4], p[3], p[5], sub, nil
}

func (s *Service) topic(ctx context.Context, arn string) (*topic, error) {
	account, region, name, _, err := parse(arn)
	if err != nil {
		return nil, err
	}
	row, err := s.Store.Get(ctx, store.Key{Account: account, Region: region, Service: service, Kind: "topic", ID: name})
	if errors.Is(err, store.ErrNotFound) {
		return nil, awsapi.Errorf(404, "NotFound", "Topic does not exist")
	}
	if err != nil {
		return nil, fmt.Errorf("read topic %s: %w", name, err)
	}
	t := &topic{version: row.Version}
	return t, json.Unmarshal(row.Value, t)
}

func (s *Service) subscription(ctx context.Context, arn string) (*subscription, error) {
	account, region, name, id, err := parse(arn)
	if err != nil || id == "" {
		return nil, awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: SubscriptionArn Reason: %s is no subscription", arn)
	}
	sub := &subscription{Account: account, Region: region, Topic: name, ID: id}
	row, err := s.Store.Get(ctx, sub.key())
	if errors.Is(err, store.ErrNotFound) {
		return nil, awsapi.Errorf(404, "NotFound", "Subscription does not exist")
	}
	if err != nil {
		return nil, fmt.Errorf("read subscription %s: %w", arn, err)
	}
	return sub, json.Unmarshal(row.Value, sub)
}

// subscriptions lists those of one topic, or of all topics of the caller's account and region.
func (s *Service) subscriptions(ctx context.Context, account, region, topicName string) ([]*subscription, error) {
	prefix := ""
	if topicName != "" {
		prefix = topicName + "/"
	}
	rows, err := s.Store.List(ctx, store.Query{Account: account, Region: region, Service: service, Kind: "subscription", Prefix: prefix})
	if err != nil {
		return nil, fmt.Errorf("list subscriptions: %w", err)
	}
	var out []*subscription
	for _, r := range rows {
		sub := &subscription{}
		if err := json.Unmarshal(r.Value, sub); err != nil {
			return nil, fmt.Errorf("subscription %s: %w", r.Key.ID, err)
		}
		out = append(out, sub)
	}
	return out, nil
}

var (
	topicName       = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)
	topicAttributes = []string{"DisplayName", "Policy", "DeliveryPolicy", "KmsMasterKeyId", "SignatureVersion", "TracingConfig"}
)

func checkTopicAttribute(name, value string) error {
	switch {
	case name == "SignatureVersion" && value != "" && value != "1" && value != "2":
		return awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: Attributes Reason: SignatureVersion: Invalid value [%s]. Must be 1 or 2.", value)
	case strings.HasPrefix(name, "Fifo") || name == "ContentBasedDeduplication":
		return awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: Attributes Reason: FIFO topics are not supported by Mayfly yet; leave out %s", name)
	case !slices.Contains(topicAttributes, name):
		return awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: AttributeName")
	}
	return nil
}

// CreateTopic makes a topic, or answers the one of that name.
func (s *Service) CreateTopic(ctx context.Context, in *snsapi.CreateTopicInput) (*snsapi.CreateTopicOutput, error) {
	if strings.HasSuffix(in.Name, ".fifo") {
		return nil, awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: Topic Name Reason: FIFO topics are not supported by Mayfly yet")
	}
	if !topicName.MatchString(in.Name) {
		return nil, awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: Topic Name")
	}
	for k, v := range in.Attributes {
		if err := checkTopicAttribute(k, v); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := identity.From(ctx)
	t := &topic{Account: p.Account, Region: p.Region, Name: in.Name, Attributes: in.Attributes, Tags: tagMap(in.Tags)}
	out := &snsapi.CreateTopicOutput{TopicArn: awsapi.Ptr(t.arn())}
	switch old, err := s.topic(ctx, t.arn()); {
	case awscall.Code(err) == "NotFound":
	case err != nil:
		return nil, err
	default:
		for k, v := range in.Attributes {
			if old.Attributes[k] != v {
				return nil, awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: Attributes Reason: Topic already exists with different attributes")
			}
		}
		if len(t.Tags) > 0 && !maps.Equal(t.Tags, old.Tags) {
			return nil, awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: Tags Reason: Topic already exists with different tags")
		}
		return out, nil
	}
	return out, awscall.Commit(ctx, s.Store, out, t.row())
}

// DeleteTopic removes a topic with its subscriptions; one that is gone is a success.
func (s *Service) DeleteTopic(ctx context.Context, in *snsapi.DeleteTopicInput) (*snsapi.DeleteTopicOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &snsapi.DeleteTopicOutput{}
	t, err := s.topic(ctx, in.TopicArn)
	if awscall.Code(err) == "NotFound" {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	subs, err := s.subscriptions(ctx, t.Account, t.Region, t.Name)
	if err != nil {
		return nil, err
	}
	rows := []store.RowChange{{Key: t.row().Key, Delete: true}}
	for _, sub := range subs {
		rows = append(rows, store.RowChange{Key: sub.key(), Delete: true})
	}
	return out, awscall.Commit(ctx, s.Store, out, rows...)
}

const page = 100

// paged cuts a listing: the token is the position, so that it is good after a restart too.
func paged[T any](all []T, token *string) ([]T, *string, error) {
	start := 0
	if token != nil && *token != "" {
		b, err := base64.RawURLEncoding.DecodeString(*token)
		if n, scanErr := fmt.Sscan(string(b), &start); err != nil || scanErr != nil || n != 1 || start < 0 || start > len(all) {
			return nil, nil, awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: NextToken")
		}
	}
	if end := start + page; end < len(all) {
		return all[start:end], awsapi.Ptr(base64.RawURLEncoding.EncodeToString(fmt.Append(nil, end))), nil
	}
	return all[start:], nil, nil
}

// ListTopics lists 100 topics at a time.
func (s *Service) ListTopics(ctx context.Context, in *snsapi.ListTopicsInput) (*snsapi.ListTopicsOutput, error) {
	p := identity.From(ctx)
	rows, err := s.Store.List(ctx, store.Query{Account: p.Account, Region: p.Region, Service: service, Kind: "topic"})
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	topics := []snsapi.Topic{}
	for _, r := range rows {
		topics = append(topics, snsapi.Topic{TopicArn: awsapi.Ptr((&topic{Account: r.Key.Account, Region: r.Key.Region, Name: r.Key.ID}).arn())})
	}
	out := &snsapi.ListTopicsOutput{}
	out.Topics, out.NextToken, err = paged(topics, in.NextToken)
	return out, err
}

// GetTopicAttributes returns the attributes of a topic with the counts of its subscriptions.
func (s *Service) GetTopicAttributes(ctx context.Context, in *snsapi.GetTopicAttributesInput) (*snsapi.GetTopicAttributesOutput, error) {
	t, err := s.topic(ctx, in.TopicArn)
	if err != nil {
		return nil, err
	}
	subs, err := s.subscriptions(ctx, t.Account, t.Region, t.Name)
	if err != nil {
		return nil, err
	}
	pending := 0
	for _, sub := range subs {
		if sub.Token != "" {
			pending++
		}
	}
	a := map[string]string{
		"TopicArn": t.arn(), "Owner": t.Account, "DisplayName": "",
		"SubscriptionsConfirmed": fmt.Sprint(len(subs) - pending), "SubscriptionsPending": fmt.Sprint(pending), "SubscriptionsDeleted": "0",
		"Policy": fmt.Sprintf(`{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow","Principal":{"AWS":"*"},"Action":["SNS:GetTopicAttributes","SNS:SetTopicAttributes","SNS:AddPermission","SNS:RemovePermission","SNS:DeleteTopic","SNS:Subscribe","SNS:ListSubscriptionsByTopic","SNS:Publish"],"Resource":%q,"Condition":{"StringEquals":{"AWS:SourceOwner":%q}}}]}`, t.arn(), t.Account),
	}
	maps.Copy(a, t.Attributes)
	return &snsapi.GetTopicAttributesOutput{Attributes: a}, nil
}

// SetTopicAttributes changes one attribute; an empty value removes it.
func (s *Service) SetTopicAttributes(ctx context.Context, in *snsapi.SetTopicAttributesInput) (*snsapi.SetTopicAttributesOutput, error) {
	if err := checkTopicAttribute(in.AttributeName, awsapi.Val(in.AttributeValue)); err != nil {
		return nil, err
	}
	out := &snsapi.SetTopicAttributesOutput{}
	return out, s.edit(ctx, in.TopicArn, out, func(t *topic) {
		if t.Attributes == nil {
			t.Attributes = map[string]string{}
		}
		if t.Attributes[in.AttributeName] = awsapi.Val(in.AttributeValue); awsapi.Val(in.AttributeValue) == "" {
			delete(t.Attributes, in.AttributeName)
		}
	})
}

func (s *Service) edit(ctx context.Context, arn string, out any, change func(*topic)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.topic(ctx, arn)
	if err != nil {
		return err
	}
	change(t)
	return awscall.Commit(ctx, s.Store, out, t.row())
}

// asResource turns a missing topic into what the tagging operations say of it.
func asResource(err error) error {
	if awscall.Code(err) == "NotFound" {
		return awsapi.Errorf(404, "ResourceNotFound", "Resource does not exist")
	}
	return err
}

func tagMap(tags []snsapi.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		m[t.Key] = t.Value
	}
	return m
}

// TagResource adds tags to a topic.
func (s *Service) TagResource(ctx context.Context, in *snsapi.TagResourceInput) (*snsapi.TagResourceOutput, error) {
	out := &snsapi.TagResourceOutput{}
	return out, asResource(s.edit(ctx, in.ResourceArn, out, func(t *topic) {
		if t.Tags == nil {
			t.Tags = map[string]string{}
		}
		maps.Copy(t.Tags, tagMap(in.Tags))
	}))
}

// UntagResource removes tags from a topic.
func (s *Service) UntagResource(ctx context.Context, in *snsapi.UntagResourceInput) (*snsapi.UntagResourceOutput, error) {
	out := &snsapi.UntagResourceOutput{}
	return out, asResource(s.edit(ctx, in.ResourceArn, out, func(t *topic) {
		for _, k := range in.TagKeys {
			delete(t.Tags, k)
		}
	}))
}

// ListTagsForResource returns a topic's tags.
func (s *Service) ListTagsForResource(ctx context.Context, in *snsapi.ListTagsForResourceInput) (*snsapi.ListTagsForResourceOutput, error) {
	t, err := s.topic(ctx, in.ResourceArn)
	if err != nil {
		return nil, asResource(err)
	}
	out := &snsapi.ListTagsForResourceOutput{Tags: []snsapi.Tag{}}
	for _, k := range slices.Sorted(maps.Keys(t.Tags)) {
		out.Tags = append(out.Tags, snsapi.Tag{Key: k, Value: t.Tags[k]})
	}
	return out, nil
}

// checkAttributes judges a subscription's attributes together; the error is the reason of an InvalidParameter.
func checkAttributes(protocol string, attributes map[string]string) error {
	for name, value := range attributes {
		switch name {
		case "RawMessageDelivery":
			if value != "true" && value != "false" {
				return refuse("RawMessageDelivery: Invalid value [%s]. Must be true or false.", value)
			}
			if value == "true" && protocol != "sqs" {
				return refuse("RawMessageDelivery: Delivery protocol [%s] does not support raw message delivery.", protocol)
			}
		case "FilterPolicy", "FilterPolicyScope":
		case "RedrivePolicy":
			if _, err := deadLetters(value); err != nil {
				return err
			}
		case "DeliveryPolicy", "SubscriptionRoleArn", "ReplayPolicy":
			if value != "" && value != "{}" {
				return refuse("%s is not supported by Mayfly yet", name)
			}
		default:
			return refuse("AttributeName")
		}
	}
	_, err := parseFilter(attributes["FilterPolicy"], attributes["FilterPolicyScope"])
	return err
}

// deadLetters is the queue of a redrive policy; "" for none.
func deadLetters(policy string) (queue string, err error) {
	var p struct{ DeadLetterTargetArn *string }
	if policy == "" {
		return "", nil
	}
	switch err := json.Unmarshal([]byte(policy), &p); {
	case err != nil:
		return "", refuse("RedrivePolicy: failed to parse JSON.")
	case p.DeadLetterTargetArn == nil && strings.TrimSpace(policy) == "{}":
		return "", nil
	case p.DeadLetterTargetArn == nil || checkEndpoint("sqs", *p.DeadLetterTargetArn) != nil:
		return "", refuse("RedrivePolicy: deadLetterTargetArn is an invalid arn")
	}
	return *p.DeadLetterTargetArn, nil
}

func checkEndpoint(protocol, endpoint string) error {
	bad := func(reason string) error {
		return awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: %s", reason)
	}
	a := strings.Split(endpoint, ":")
	switch protocol {
	case "email", "email-json":
		if m, err := mail.ParseAddress(endpoint); err != nil || m.Address != endpoint {
			return bad("Email address")
		}
	case "sqs":
		if len(a) != 6 || a[0] != "arn" || a[2] != "sqs" {
			return bad("SQS endpoint ARN")
		}
	case "lambda":
		if len(a) < 7 || a[0] != "arn" || a[2] != "lambda" || a[5] != "function" {
			return bad("Lambda endpoint ARN")
		}
	case "http", "https", "sms", "application", "firehose":
		return bad("Protocol Reason: " + protocol + " subscriptions are not supported by Mayfly yet: use email, email-json, sqs or lambda")
	default:
		return bad("Amazon SNS does not support this protocol string: " + protocol)
	}
	return nil
}

// Subscribe subscribes an endpoint to a topic. Queues and functions are confirmed at once, as on AWS within an account; an
// address by e-mail is pending until the link in its mail is followed.
func (s *Service) Subscribe(ctx context.Context, in *snsapi.SubscribeInput) (*snsapi.SubscribeOutput, error) {
	endpoint := awsapi.Val(in.Endpoint)
	if err := checkEndpoint(in.Protocol, endpoint); err != nil {
		return nil, err
	}
	if err := checkAttributes(in.Protocol, in.Attributes); err != nil {
		return nil, awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: Attributes Reason: %v", err)
	}
	if _, err := s.signer(ctx); err != nil { // to make the key takes a moment: it shall be there before the first message
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.topic(ctx, in.TopicArn)
	if err != nil {
		return nil, err
	}
	subs, err := s.subscriptions(ctx, t.Account, t.Region, t.Name)
	if err != nil {
		return nil, err
	}
	sub := &subscription{Account: t.Account, Region: t.Region, Topic: t.Name, ID: uuid.NewString(), Protocol: in.Protocol, Endpoint: endpoint, Attributes: in.Attributes}
	for _, old := range subs {
		if old.Protocol == in.Protocol && old.Endpoint == endpoint {
			for k, v := range in.Attributes {
				if old.Attributes[k] != v {
					return nil, awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: Attributes Reason: Subscription already exists with different attributes")
				}
			}
			if old.Token == "" { // AWS: the same subscription is answered
				return &snsapi.SubscribeOutput{SubscriptionArn: awsapi.Ptr(old.arn())}, nil
			}
			sub = old // AWS: a pending one gets another mail
		}
	}
	out := &snsapi.SubscribeOutput{SubscriptionArn: awsapi.Ptr(sub.arn())}
	if in.Protocol != "email" && in.Protocol != "email-json" {
		return out, awscall.Commit(ctx, s.Store, out, sub.row())
	}
	if sub.Token == "" {
		sub.Token = rand.Text() + rand.Text()
	}
	if !awsapi.Val(in.ReturnSubscriptionArn) {
		out.SubscriptionArn = awsapi.Ptr("pending confirmation")
	}
	p := &publication{ID: uuid.NewString(), Topic: t.arn(), At: s.Clock.Now(), By: identity.From(ctx), Subscription: sub,
		Targets: []target{{Subscription: sub.arn(), Protocol: "email", Endpoint: endpoint}}}
	_, err = s.deliveries.Do(ctx, store.ID(kind+"/"+p.ID), durable.Input[input]{By: p.By, RequestKey: awscall.RequestKey(ctx), Body: input{Publish: p}})
	return out, err
}

// ConfirmSubscription confirms by the token of the mail.
func (s *Service) ConfirmSubscription(ctx context.Context, in *snsapi.ConfirmSubscriptionInput) (*snsapi.ConfirmSubscriptionOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.topic(ctx, in.TopicArn)
	if err != nil {
		return nil, err
	}
	subs, err := s.subscriptions(ctx, t.Account, t.Region, t.Name)
	if err != nil {
		return nil, err
	}
	for _, sub := range subs { // a token is not empty: the model says so
		if in.Token == sub.Token || in.Token == sub.Followed {
			out := &snsapi.ConfirmSubscriptionOutput{SubscriptionArn: awsapi.Ptr(sub.arn())}
			if sub.Token == "" {
				return out, nil // followed twice
			}
			sub.Followed, sub.Token = sub.Token, ""
			return out, awscall.Commit(ctx, s.Store, out, sub.row())
		}
	}
	return nil, awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: Token")
}

// Unsubscribe ends a subscription; one that is gone is a success.
func (s *Service) Unsubscribe(ctx context.Context, in *snsapi.UnsubscribeInput) (*snsapi.UnsubscribeOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &snsapi.UnsubscribeOutput{}
	sub, err := s.subscription(ctx, in.SubscriptionArn)
	if awscall.Code(err) == "NotFound" {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	return out, awscall.Commit(ctx, s.Store, out, store.RowChange{Key: sub.key(), Delete: true})
}

// ListSubscriptions lists 100 subscriptions at a time.
func (s *Service) ListSubscriptions(ctx context.Context, in *snsapi.ListSubscriptionsInput) (*snsapi.ListSubscriptionsOutput, error) {
	p := identity.From(ctx)
	shown, next, err := s.shown(ctx, p.Account, p.Region, "", in.NextToken)
	return &snsapi.ListSubscriptionsOutput{Subscriptions: shown, NextToken: next}, err
}

// ListSubscriptionsByTopic lists 100 subscriptions of a topic at a time.
func (s *Service) ListSubscriptionsByTopic(ctx context.Context, in *snsapi.ListSubscriptionsByTopicInput) (*snsapi.ListSubscriptionsByTopicOutput, error) {
	t, err := s.topic(ctx, in.TopicArn)
	if err != nil {
		return nil, err
	}
	shown, next, err := s.shown(ctx, t.Account, t.Region, t.Name, in.NextToken)
	return &snsapi.ListSubscriptionsByTopicOutput{Subscriptions: shown, NextToken: next}, err
}

func (s *Service) shown(ctx context.Context, account, region, topicName string, token *string) ([]snsapi.Subscription, *string, error) {
	subs, err := s.subscriptions(ctx, account, region, topicName)
	if err != nil {
		return nil, nil, err
	}
	all := []snsapi.Subscription{}
	for _, sub := range subs {
		all = append(all, sub.shown())
	}
	return paged(all, token)
}

// GetSubscriptionAttributes returns the attributes of a subscription.
func (s *Service) GetSubscriptionAttributes(ctx context.Context, in *snsapi.GetSubscriptionAttributesInput) (*snsapi.GetSubscriptionAttributesOutput, error) {
	sub, err := s.subscription(ctx, in.SubscriptionArn)
	if err != nil {
		return nil, err
	}
	a := map[string]string{
		"SubscriptionArn": sub.arn(), "TopicArn": sub.topicARN(), "Owner": sub.Account, "Protocol": sub.Protocol, "Endpoint": sub.Endpoint,
		"PendingConfirmation": fmt.Sprint(sub.Token != ""), "ConfirmationWasAuthenticated": fmt.Sprint(sub.Followed == "" && sub.Token == ""), "RawMessageDelivery": "false",
	}
	if sub.Attributes["FilterPolicy"] != "" {
		a["FilterPolicyScope"] = scopeAttributes
	}
	maps.Copy(a, sub.Attributes)
	return &snsapi.GetSubscriptionAttributesOutput{Attributes: a}, nil
}

// SetSubscriptionAttributes changes one attribute.
func (s *Service) SetSubscriptionAttributes(ctx context.Context, in *snsapi.SetSubscriptionAttributesInput) (*snsapi.SetSubscriptionAttributesOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, err := s.subscription(ctx, in.SubscriptionArn)
	if err != nil {
		return nil, err
	}
	if sub.Attributes == nil {
		sub.Attributes = map[string]string{}
	}
	if sub.Attributes[in.AttributeName] = awsapi.Val(in.AttributeValue); sub.Attributes[in.AttributeName] == "" {
		delete(sub.Attributes, in.AttributeName)
	}
	if err := checkAttributes(sub.Protocol, sub.Attributes); err != nil {
		return nil, awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: %v", err)
	}
	out := &snsapi.SetSubscriptionAttributesOutput{}
	return out, awscall.Commit(ctx, s.Store, out, sub.row())
}

const maxMessage = 262144 // bytes of a message with its attributes

// Publish sends a message to the confirmed subscribers of a topic.
func (s *Service) Publish(ctx context.Context, in *snsapi.PublishInput) (*snsapi.PublishOutput, error) {
	arn := awsapi.Val(in.TopicArn)
	if arn == "" {
		arn = awsapi.Val(in.TargetArn)
	}
	if in.PhoneNumber != nil || strings.Contains(arn, ":endpoint/") {
		return nil, awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: PhoneNumber Reason: SMS and mobile push are not supported by Mayfly: publish to a topic")
	}
	if arn == "" {
		return nil, awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter")
	}
	id, err := s.publish(ctx, arn, awscall.RequestKey(ctx), snsapi.PublishBatchRequestEntry{Message: in.Message, Subject: in.Subject, MessageStructure: in.MessageStructure, MessageAttributes: in.MessageAttributes})
	if err != nil {
		return nil, err
	}
	return &snsapi.PublishOutput{MessageId: &id}, nil
}

// publish commits the message as a delivery and returns its id.
func (s *Service) publish(ctx context.Context, arn, requestKey string, e snsapi.PublishBatchRequestEntry) (string, error) {
	p := &publication{ID: uuid.NewString(), Message: e.Message, Subject: awsapi.Val(e.Subject), Attributes: e.MessageAttributes, At: s.Clock.Now(), By: identity.From(ctx)}
	size := len(e.Message)
	for k, v := range e.MessageAttributes {
		size += len(k) + len(v.DataType) + len(awsapi.Val(v.StringValue)) + len(v.BinaryValue)
	}
	switch {
	case e.Message == "":
		return "", awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: Empty message")
	case size > maxMessage:
		return "", awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: Message too long")
	case e.Subject != nil && (p.Subject == "" || utf8.RuneCountInString(p.Subject) > 100 || strings.ContainsAny(p.Subject, "\n\r")):
		return "", awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: Subject")
	}
	if awsapi.Val(e.MessageStructure) == "json" { // AWS: any other value is taken for a plain message
		parts := map[string]any{}
		if json.Unmarshal([]byte(e.Message), &parts) != nil {
			return "", awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: Message Structure - JSON message body failed to parse")
		}
		p.Structured = map[string]string{}
		for k, v := range parts {
			if text, ok := v.(string); ok {
				p.Structured[k] = text
			}
		}
		if _, ok := p.Structured["default"]; !ok {
			return "", awsapi.Errorf(400, "InvalidParameter", "Invalid parameter: Message Structure - No default entry in JSON message body")
		}
	}
	t, err := s.topic(ctx, arn)
	if err != nil {
		return "", err
	}
	p.Topic, p.Signature = t.arn(), t.Attributes["SignatureVersion"]
	subs, err := s.subscriptions(ctx, t.Account, t.Region, t.Name)
	if err != nil {
		return "", err
	}
	for _, sub := range subs {
		f, err := parseFilter(sub.Attributes["FilterPolicy"], sub.Attributes["FilterPolicyScope"])
		if err != nil {
			return "", fmt.Errorf("subscription %s: %w", sub.arn(), err)
		}
		if sub.Token != "" || f != nil && !f.accepts(p.text(sub.Protocol), p.Attributes) {
			continue
		}
		dead, err := deadLetters(sub.Attributes["RedrivePolicy"])
		if err != nil {
			return "", fmt.Errorf("subscription %s: %w", sub.arn(), err)
		}
		p.Targets = append(p.Targets, target{Subscription: sub.arn(), Protocol: sub.Protocol, Endpoint: sub.Endpoint,
			Raw: sub.Attributes["RawMessageDelivery"] == "true", DeadLetters: dead})
	}
	return durable.Reply[string](s.deliveries.Do(ctx, store.ID(kind+"/"+p.ID), durable.Input[input]{By: p.By, RequestKey: requestKey, Body: input{Publish: p}}))
}

// PublishBatch publishes up to ten messages.
func (s *Service) PublishBatch(ctx context.Context, in *snsapi.PublishBatchInput) (*snsapi.PublishBatchOutput, error) {
	switch n := len(in.PublishBatchRequestEntries); {
	case n == 0:
		return nil, awsapi.Errorf(400, "EmptyBatchRequest", "The batch request doesn't contain any entries.")
	case n > 10:
		return nil, awsapi.Errorf(400, "TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
	}
	seen := map[string]bool{}
	for _, e := range in.PublishBatchRequestEntries {
		if seen[e.Id] {
			return nil, awsapi.Errorf(400, "BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
		}
		seen[e.Id] = true
	}
	out := &snsapi.PublishBatchOutput{Successful: []snsapi.PublishBatchResultEntry{}, Failed: []snsapi.BatchResultErrorEntry{}}
	for _, e := range in.PublishBatchRequestEntries {
		key := awscall.RequestKey(ctx)
		if key != "" {
			key += "/" + e.Id
		}
		id, err := s.publish(ctx, in.TopicArn, key, e)
		var refused *awsapi.Error
		switch {
		case errors.As(err, &refused) && refused.Code != "NotFound":
			out.Failed = append(out.Failed, snsapi.BatchResultErrorEntry{Id: e.Id, Code: refused.Code, Message: &refused.Message, SenderFault: true})
		case err != nil:
			return nil, err
		default:
			out.Successful = append(out.Successful, snsapi.PublishBatchResultEntry{Id: awsapi.Ptr(e.Id), MessageId: &id})
		}
	}
	return out, nil
}

// Prefix is the path below which Handler answers the links of mails.
const Prefix = "/_mayfly/sns/"

func (s *Service) link(action string, params ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	return s.Endpoint() + Prefix + action + "?" + q.Encode()
}

// Handler answers the links of mails: GET Prefix+"ConfirmSubscription" and Prefix+"Unsubscribe". Whoever has the link may
// follow it, as on AWS.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, r *http.Request, done, arn string, err error) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		var refused *awsapi.Error
		switch {
		case errors.As(err, &refused):
			w.WriteHeader(refused.Status)
			done, arn = "Not done: "+refused.Message, ""
		case err != nil:
			s.Log.ErrorContext(r.Context(), "link failed", "path", r.URL.Path, "err", err)
			w.WriteHeader(http.StatusInternalServerError)
			done, arn = "Not done: the server has an error, its log says which", ""
		}
		fmt.Fprintf(w, "<!doctype html><title>Mayfly</title><p>%s</p><p>%s</p>\n", html.EscapeString(done), html.EscapeString(arn))
	}
	mux.HandleFunc("GET "+Prefix+"ConfirmSubscription", func(w http.ResponseWriter, r *http.Request) {
		out, err := s.ConfirmSubscription(r.Context(), &snsapi.ConfirmSubscriptionInput{TopicArn: r.FormValue("TopicArn"), Token: r.FormValue("Token")})
		arn := ""
		if err == nil {
			arn = awsapi.Val(out.SubscriptionArn)
		}
		answer(w, r, "Subscription confirmed. Your subscription's id is:", arn, err)
	})
	mux.HandleFunc("GET "+Prefix+"Unsubscribe", func(w http.ResponseWriter, r *http.Request) {
		_, err := s.Unsubscribe(r.Context(), &snsapi.UnsubscribeInput{SubscriptionArn: r.FormValue("SubscriptionArn")})
		answer(w, r, "Unsubscribed:", r.FormValue("SubscriptionArn"), err)
	})
	mux.HandleFunc("GET "+Prefix+"{certificate}", func(w http.ResponseWriter, r *http.Request) {
		sig, err := s.signer(r.Context())
		switch {
		case err != nil:
			s.Log.ErrorContext(r.Context(), "certificate not read", "err", err)
			w.WriteHeader(http.StatusInternalServerError)
		case r.PathValue("certificate") != sig.file():
			http.NotFound(w, r)
		default:
			w.Header().Set("Content-Type", "application/x-pem-file")
			_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: sig.Certificate}) // the client has left
		}
	})
	return mux
}
