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
	// Subscription is a new or renewed pending subscription, kept together with the mail that asks for its confirmation.
	Subscription *subscription `json:"subscription,omitempty"`
}

// target is one subscriber at the time of publishing.
type target struct {
	Subscription string `json:"subscription"` // ARN
	Protocol     string `json:"protocol"`
	Endpoint     string `json:"endpoint"`
	Raw          bool   `json:"raw,omitempty"`
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
		Target int `json:"target"`
	}
	state struct {
		*publication
		open  map[int]bool
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
		for i := range f.Published.Targets {
			s.open[i] = true
		}
	case f.Delivered != nil:
		delete(s.open, *f.Delivered)
	case f.Failed != nil:
		if s.tries[f.Failed.Target]++; f.Failed.Permanent {
			delete(s.open, f.Failed.Target)
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
		d.Commands = append(d.Commands, command{Target: *b.Retry})
	case b.Result != nil && s.open[b.Result.Target]:
		r := *b.Result
		if r.Error == "" {
			note(fact{Delivered: &r.Target})
			break
		}
		tries := s.tries[r.Target] + 1
		r.Permanent = r.Permanent || tries >= attempts
		note(fact{Failed: &r})
		if !r.Permanent {
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
			if err := s.deliver(ctx, key, &p, p.Targets[c.Target]); err != nil {
				if ctx.Err() != nil {
					return nil, err
				}
				r.Error = err.Error()
				var refused *awsapi.Error
				r.Permanent = errors.As(err, &refused) && refused.Status < 500 || errors.Is(err, errRejected)
				s.Log.WarnContext(ctx, "notification not delivered", "message", p.ID, "topic", p.Topic, "protocol", p.Targets[c.Target].Protocol, "gaveUp", r.Permanent, "err", err)
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
	call := awscall.Call{Principal: p.By, RequestKey: key}
	switch t.Protocol {
	case "sqs":
		a := strings.Split(t.Endpoint, ":")
		call.Principal.Region = a[3]
		call.Service, call.Operation = "sqs", "SendMessage"
		in := map[string]any{"QueueUrl": s.Endpoint() + "/" + a[4] + "/" + a[5], "MessageBody": p.text(t.Protocol)}
		if t.Raw {
			if attributes := documents(p.Attributes); len(attributes) > 0 {
				in["MessageAttributes"] = attributes
			}
		} else {
			in["MessageBody"] = s.envelope(p, t)
		}
		call.Input = in
	case "lambda":
		event, err := json.Marshal(map[string]any{"Records": []any{map[string]any{
			"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": t.Subscription, "Sns": s.notification(p, t, true),
		}}})
		if err != nil {
			return err
		}
		call.Service, call.Operation = "lambda", "Invoke"
		call.Input = map[string]any{"FunctionName": t.Endpoint, "InvocationType": "Event", "Payload": event}
	case "email", "email-json":
		return s.mail(ctx, p, t)
	default:
		return fmt.Errorf("%w: protocol %s", errRejected, t.Protocol)
	}
	_, err := s.Calls.Invoke(ctx, call)
	return err
}

func documents(attributes map[string]snsapi.MessageAttributeValue) map[string]any {
	out := map[string]any{}
	for k, v := range attributes {
		out[k] = awsapi.ToDocument(v)
	}
	return out
}

// notification is the message as its receivers see it. AWS: Lambda spells the URL and the attributes otherwise than the
// envelope that queues and mails get.
func (s *Service) notification(p *publication, t target, lambda bool) map[string]any {
	unsubscribe := "UnsubscribeURL"
	if lambda {
		unsubscribe = "UnsubscribeUrl"
	}
	n := map[string]any{
		"Type": "Notification", "MessageId": p.ID, "TopicArn": p.Topic, "Message": p.text(t.Protocol),
		"Timestamp": p.At.UTC().Format("2006-01-02T15:04:05.000Z"), unsubscribe: s.link("Unsubscribe", "SubscriptionArn", t.Subscription),
	}
	if p.Subject != "" {
		n["Subject"] = p.Subject
	} else if lambda {
		n["Subject"] = nil
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
	return n
}

func (s *Service) envelope(p *publication, t target) string {
	b, _ := json.MarshalIndent(s.notification(p, t, false), "", "  ") // strings and maps of them
	return string(b)
}
