package sns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/snsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// publication is a message on its way: what was published, by whom, and to whom it goes.
type publication struct {
	ID         string                                  `json:"id"` // MessageId
	Topic      string                                  `json:"topic"`
	Subject    string                                  `json:"subject,omitempty"`
	Message    string                                  `json:"message"`
	Structured map[string]string                       `json:"structured,omitempty"` // the message by protocol
	Attributes map[string]snsapi.MessageAttributeValue `json:"attributes,omitempty"`
	At         time.Time                               `json:"at"`
	By         identity.Principal                      `json:"by"`
	Targets    []target                                `json:"targets"`
	Signature  string                                  `json:"signature,omitempty"` // its version; empty is "1"
	// Subscription is a new or renewed pending subscription, kept together with the mail that asks for its confirmation.
	Subscription *subscription `json:"subscription,omitempty"`
}

// target is one subscriber at the time of publishing.
type target struct {
	Subscription string `json:"subscription"` // ARN
	Protocol     string `json:"protocol"`
	Endpoint     string `json:"endpoint"`
	Raw          bool   `json:"raw,omitempty"`
	DeadLetters  string `json:"deadLetters,omitempty"` // ARN of the queue for what cannot be delivered
}

// text is what a subscriber of a protocol gets.
func (p *publication) text(protocol string) string {
	if s, ok := p.Structured[protocol]; ok {
		return s
	}
	if s, ok := p.Structured["default"]; ok {
		return s
	}
	return p.Message
}

// The delivery's core. Exactly one field of input and fact is set.
type (
	input struct {
		Publish *publication `json:"publish,omitempty"`
		Result  *result      `json:"result,omitempty"`
		Retry   *int         `json:"retry,omitempty"` // target
	}
	result struct {
		Target    int    `json:"target"`
		Error     string `json:"error,omitempty"`
		Permanent bool   `json:"permanent,omitempty"`
	}
	fact struct {
		Published *publication `json:"published,omitempty"`
		Delivered *int         `json:"delivered,omitempty"`
		Failed    *result      `json:"failed,omitempty"`
	}
	command struct {
		Target int  `json:"target"`
		Dead   bool `json:"dead,omitempty"` // to the queue of dead letters
	}
	state struct {
		*publication
		open  map[int]bool
		dead  map[int]bool // given up on: on its way to the queue of dead letters
		tries map[int]int
	}
)

// attempts is how often a delivery is tried before SNS gives it up; the pause doubles from a second to five minutes.
const attempts = 12

type core struct{}

func (core) Apply(s *state, f fact) {
	switch {
	case f.Published != nil:
		s.publication, s.open, s.tries = f.Published, map[int]bool{}, map[int]int{}
		s.dead = map[int]bool{}
		for i := range f.Published.Targets {
			s.open[i] = true
		}
	case f.Delivered != nil:
		delete(s.open, *f.Delivered)
	case f.Failed != nil:
		i := f.Failed.Target
		switch s.tries[i]++; {
		case !f.Failed.Permanent:
		case s.Targets[i].DeadLetters != "" && !s.dead[i]:
			s.dead[i], s.tries[i] = true, 0
		default:
			delete(s.open, i)
		}
	}
}

func (c core) Decide(s *state, in durable.Input[input], env durable.Env) (durable.Decision[fact, command], error) {
	var d durable.Decision[fact, command]
	note := func(f fact) {
		c.Apply(s, f)
		d.Facts = append(d.Facts, f)
	}
	switch b := in.Body; {
	case b.Publish != nil:
		note(fact{Published: b.Publish})
		for i := range b.Publish.Targets {
			d.Commands = append(d.Commands, command{Target: i})
		}
		d.Reply = b.Publish.ID
	case b.Retry != nil && s.open[*b.Retry]:
		d.Commands = append(d.Commands, command{*b.Retry, s.dead[*b.Retry]})
	case b.Result != nil && s.open[b.Result.Target]:
		r := *b.Result
		if r.Error == "" {
			note(fact{Delivered: &r.Target})
			break
		}
		tries := s.tries[r.Target] + 1
		r.Permanent = r.Permanent || tries >= attempts
		note(fact{Failed: &r})
		switch {
		case r.Permanent && s.open[r.Target]:
			d.Commands = append(d.Commands, command{r.Target, true})
		case !r.Permanent:
			d.SetTimers = []durable.Timer{{Name: fmt.Sprint(r.Target), Due: env.Now.Add(min(time.Second<<(tries-1), 5*time.Minute))}}
		}
	}
	d.Closed = len(s.open) == 0
	return d, nil
}

const kind = "delivery"

func (s *Service) kind() durable.Kind[state, input, fact, command] {
	return durable.Kind[state, input, fact, command]{
		Name: kind,
		Core: core{},
		New:  func(store.ID) *state { return &state{publication: &publication{}} },
		Timer: func(name string) input {
			var i int
			_, _ = fmt.Sscan(name, &i)
			return input{Retry: &i}
		},
		Dispatch: func(ctx context.Context, id store.ID, key string, c command) (*input, error) {
			var p publication
			if err := s.deliveries.View(ctx, id, func(st *state) { p = *st.publication }); err != nil {
				return nil, err
			}
			r := &result{Target: c.Target}
			deliver := s.deliver
			if c.Dead {
				deliver = s.bury
			}
			if err := deliver(ctx, key, &p, p.Targets[c.Target]); err != nil {
				if ctx.Err() != nil {
					return nil, err
				}
				r.Error = err.Error()
				var refused *awsapi.Error
				r.Permanent = errors.As(err, &refused) && refused.Status < 500 || errors.Is(err, errRejected)
				s.Log.WarnContext(ctx, "notification not delivered", "message", p.ID, "topic", p.Topic, "protocol", p.Targets[c.Target].Protocol, "gaveUp", r.Permanent, "deadLetter", c.Dead, "err", err)
			}
			return &input{Result: r}, nil
		},
		Project: func(_ store.ID, _ *state, facts []fact) []store.RowChange {
			for _, f := range facts {
				if f.Published != nil && f.Published.Subscription != nil {
					return []store.RowChange{f.Published.Subscription.row()}
				}
			}
			return nil
		},
	}
}

// deliver brings a message to one subscriber. key is the same at each repetition.
func (s *Service) deliver(ctx context.Context, key string, p *publication, t target) error {
	switch t.Protocol {
	case "sqs":
		return s.queue(ctx, key, p, t, t.Endpoint)
	case "lambda":
		n, err := s.notification(ctx, p, t, true)
		if err != nil {
			return err
		}
		event, err := json.Marshal(map[string]any{"Records": []any{map[string]any{
			"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": t.Subscription, "Sns": n,
		}}})
		if err != nil {
			return err
		}
		by := p.By
		by.Service, by.Source = "sns.amazonaws.com", p.Topic
		_, err = s.Calls.Invoke(ctx, awscall.Call{Principal: by, RequestKey: key, Service: "lambda", Operation: "Invoke",
			Input: map[string]any{"FunctionName": t.Endpoint, "InvocationType": "Event", "Payload": event}})
		return err
	case "email", "email-json":
		return s.mail(ctx, p, t)
	}
	return fmt.Errorf("%w: protocol %s", errRejected, t.Protocol)
}

// bury keeps what could not be delivered in the subscription's queue of dead letters.
func (s *Service) bury(ctx context.Context, key string, p *publication, t target) error {
	return s.queue(ctx, key, p, t, t.DeadLetters)
}

// queue sends the message to an SQS queue.
func (s *Service) queue(ctx context.Context, key string, p *publication, t target, arn string) error {
	a := strings.Split(arn, ":")
	in := map[string]any{"QueueUrl": s.Endpoint() + "/" + a[4] + "/" + a[5], "MessageBody": p.text(t.Protocol)}
	if t.Raw {
		if attributes := documents(p.Attributes); len(attributes) > 0 {
			in["MessageAttributes"] = attributes
		}
	} else {
		body, err := s.envelope(ctx, p, t)
		if err != nil {
			return err
		}
		in["MessageBody"] = body
	}
	by := p.By
	by.Region = a[3]
	_, err := s.Calls.Invoke(ctx, awscall.Call{Principal: by, RequestKey: key, Service: "sqs", Operation: "SendMessage", Input: in})
	return err
}

func documents(attributes map[string]snsapi.MessageAttributeValue) map[string]any {
	out := map[string]any{}
	for k, v := range attributes {
		out[k] = awsapi.ToDocument(v)
	}
	return out
}

// notification is the message as its receivers see it. AWS: Lambda spells the URLs and the attributes otherwise than the
// envelope that queues and mails get.
func (s *Service) notification(ctx context.Context, p *publication, t target, lambda bool) (map[string]any, error) {
	url := "URL"
	if lambda {
		url = "Url"
	}
	n := map[string]any{
		"Type": "Notification", "MessageId": p.ID, "TopicArn": p.Topic, "Message": p.text(t.Protocol),
		"Timestamp": p.At.UTC().Format("2006-01-02T15:04:05.000Z"), "Unsubscribe" + url: s.link("Unsubscribe", "SubscriptionArn", t.Subscription),
		"SignatureVersion": "1",
	}
	if p.Signature != "" {
		n["SignatureVersion"] = p.Signature
	}
	if p.Subject != "" {
		n["Subject"] = p.Subject
	} else if lambda {
		n["Subject"] = nil
	}
	sig, err := s.signer(ctx)
	if err != nil {
		return nil, err
	}
	n["SigningCert"+url] = s.Endpoint() + Prefix + sig.file()
	if n["Signature"], err = sig.sign(n, p.Signature); err != nil {
		return nil, err
	}
	attributes := map[string]any{}
	for k, v := range p.Attributes {
		a := map[string]any{"Type": v.DataType}
		if v.BinaryValue != nil {
			a["Value"] = v.BinaryValue
		} else {
			a["Value"] = awsapi.Val(v.StringValue)
		}
		attributes[k] = a
	}
	if lambda || len(attributes) > 0 {
		n["MessageAttributes"] = attributes
	}
	return n, nil
}

func (s *Service) envelope(ctx context.Context, p *publication, t target) (string, error) {
	n, err := s.notification(ctx, p, t, false)
	if err != nil {
		return "", err
	}
	b, err := json.MarshalIndent(n, "", "  ")
	return string(b), err
}
