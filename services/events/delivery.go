package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// Deliveries bring events to an SQS queue, as a rule of EventBridge with that target would: each is an entity until the queue has
// it. Whoever makes an event sends it here with the record that caused it (Send), so none is lost; one may come twice, with
// the same id.
type Deliveries struct {
	cfg      DeliveryConfig
	entities *durable.Entities[delivery, deliveryInput, deliveryFact, deliver]
	done     chan store.ID
	ended    chan struct{}
	cancel   context.CancelFunc
}

// DeliveryConfig is what Deliveries need.
type DeliveryConfig struct {
	Loop     *durable.Loop
	Calls    awscall.Caller
	Log      *slog.Logger
	Endpoint func() string // of this server, which queue URLs begin with
	Queue    string        // ARN of the SQS queue; empty: what is still on its way is given up
}

type (
	delivery struct {
		event string // JSON
		ended bool
	}
	deliveryInput struct { // one of its members
		Event string `json:"event,omitempty"`
		Ended bool   `json:"ended,omitempty"`
	}
	deliveryFact = deliveryInput
	deliver      struct{}
	deliveryCore struct{}
)

func (deliveryCore) Apply(s *delivery, f deliveryFact) {
	if f.Event != "" {
		s.event = f.Event
	}
	s.ended = s.ended || f.Ended
}

func (c deliveryCore) Decide(s *delivery, in durable.Input[deliveryInput], _ durable.Env) (d durable.Decision[deliveryFact, deliver], err error) {
	if !s.ended && (in.Body.Ended || s.event == "") {
		d.Facts = []deliveryFact{in.Body}
		c.Apply(s, in.Body)
		if in.Body.Event != "" {
			d.Commands = []deliver{{}}
		}
	}
	d.Closed = s.ended
	return d, nil
}

// NewDeliveries registers the kind on the loop, before that starts.
func NewDeliveries(cfg DeliveryConfig) (*Deliveries, error) {
	if p := strings.Split(cfg.Queue, ":"); cfg.Queue != "" && (len(p) != 6 || p[0] != "arn" || p[2] != "sqs" || p[5] == "") {
		return nil, fmt.Errorf("%q is not the ARN of an SQS queue, such as arn:aws:sqs:us-east-1:000000000000:changes", cfg.Queue)
	}
	d := &Deliveries{cfg: cfg, done: make(chan store.ID, 1024), ended: make(chan struct{})}
	d.entities = durable.Register(cfg.Loop, durable.Kind[delivery, deliveryInput, deliveryFact, deliver]{
		Name: "event", Core: deliveryCore{}, New: func(store.ID) *delivery { return &delivery{} }, Dispatch: d.dispatch,
		Committed: func(id store.ID, _ *delivery, facts []deliveryFact) {
			if len(facts) > 0 && facts[len(facts)-1].Ended {
				select {
				case d.done <- id:
				default: // it stays, closed
				}
			}
		},
	})
	return d, nil
}

// Start forgets what has been delivered, until Stop.
func (d *Deliveries) Start(ctx context.Context) error {
	ctx, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(d.ended)
		for {
			select {
			case <-ctx.Done():
				return
			case id := <-d.done:
				if err := d.entities.Forget(ctx, id, nil, nil); err != nil && ctx.Err() == nil {
					d.cfg.Log.WarnContext(ctx, "a delivered event is not forgotten", "event", id.Name(), "err", err)
				}
			}
		}
	}()
	return nil
}

// Stop ends what Start began.
func (d *Deliveries) Stop() {
	d.cancel()
	<-d.ended
}

// Send is the message that hands over an event, JSON in EventBridge's form, with the id that stands in it.
func (d *Deliveries) Send(id, event string) durable.Send {
	return durable.Send{To: store.ID("event/" + id), ID: "event", Body: deliveryInput{Event: event}}
}

// dispatch gives the queue the event. AWS: a target that refuses is not tried again; one that fails is.
func (d *Deliveries) dispatch(ctx context.Context, id store.ID, key string, _ deliver) (*deliveryInput, error) {
	if d.cfg.Queue == "" {
		d.cfg.Log.WarnContext(ctx, "event not delivered: no queue is set any more", "event", id.Name())
		return &deliveryInput{Ended: true}, nil
	}
	var event string
	if err := d.entities.View(ctx, id, func(s *delivery) { event = s.event }); err != nil {
		return nil, err
	}
	arn := strings.Split(d.cfg.Queue, ":")
	_, err := d.cfg.Calls.Invoke(ctx, awscall.Call{
		Principal: identity.Principal{Kind: identity.Service, Account: arn[4], Region: arn[3], ARN: "events.amazonaws.com", Service: "events.amazonaws.com"}, RequestKey: key,
		Service: "sqs", Operation: "SendMessage", Input: map[string]any{"QueueUrl": d.cfg.Endpoint() + "/" + arn[4] + "/" + arn[5], "MessageBody": event}})
	var refused *awsapi.Error
	if errors.As(err, &refused) && refused.Status < 500 {
		d.cfg.Log.WarnContext(ctx, "event not delivered", "event", id.Name(), "queue", d.cfg.Queue, "err", err)
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("deliver event %s: %w", id.Name(), err)
	}
	return &deliveryInput{Ended: true}, nil
}
