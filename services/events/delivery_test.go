package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

// queue answers the calls for one body with its errors, one after the other, and then takes it.
type queue struct {
	errs  map[string][]error
	calls []string
}

func (q *queue) Invoke(_ context.Context, c awscall.Call) (map[string]any, error) {
	in := c.Input
	body := in["MessageBody"].(string)
	q.calls = append(q.calls, fmt.Sprint(c.Service, " ", c.Operation, " ", c.Principal.Service, " ", in["QueueUrl"], " ", body, " ", c.RequestKey != ""))
	if e := q.errs[body]; len(e) > 0 {
		q.errs[body] = e[1:]
		return nil, e[0]
	}
	return map[string]any{}, nil
}

// TestDeliveries: an event is brought until it is taken or refused, also over an end of the server, and then forgotten.
func TestDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New()
		defer st.Close()
		q := &queue{errs: map[string][]error{
			`"late"`:    {errors.New("the queue is away"), awsapi.Errorf(503, "ServiceUnavailable", "not now")},
			`"refused"`: {awsapi.Errorf(400, "AWS.SimpleQueueService.NonExistentQueue", "no such queue")},
		}}
		var log strings.Builder
		run := func(queue string, send ...string) {
			t.Helper()
			loop := durable.New(durable.Config{Store: st, Log: slog.New(slog.DiscardHandler)})
			d, err := NewDeliveries(DeliveryConfig{Loop: loop, Calls: q, Log: slog.New(slog.NewTextHandler(&log, nil)),
				Endpoint: func() string { return "http://here" }, Queue: queue})
			if err == nil {
				err = errors.Join(loop.Start(t.Context()), d.Start(t.Context()))
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range send {
				s := d.Send(id, `"`+id+`"`)
				if _, err := d.entities.Do(t.Context(), s.To, durable.Input[deliveryInput]{ID: s.ID, Body: s.Body.(deliveryInput)}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			d.Stop()
			loop.Stop()
		}
		const arn = "arn:aws:sqs:us-east-1:000000000000:changes"
		run(arn, "late")
		if len(q.calls) != 1 {
			t.Fatalf("calls before the end: %v", q.calls)
		}
		run(arn)
		run(arn)
		run(arn, "good", "refused")
		slices.Sort(q.calls)
		call := func(body string) string {
			return "sqs SendMessage events.amazonaws.com http://here/000000000000/changes \"" + body + "\" true"
		}
		if want := []string{call("good"), call("late"), call("late"), call("late"), call("refused")}; !slices.Equal(q.calls, want) {
			t.Errorf("calls:\n%s", strings.Join(q.calls, "\n"))
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "event=refused") {
			t.Errorf("the log says %s", &log)
		}
		q.errs[`"left"`] = []error{errors.New("the queue is away")}
		run(arn, "left")
		run("") // the setting is gone
		if !strings.Contains(log.String(), "event=left") {
			t.Errorf("the log says %s", &log)
		}
		for m, err := range st.Outbox(t.Context()) {
			t.Errorf("left in the outbox: %v %v", m, err)
		}
		for _, id := range []store.ID{"event/late", "event/good", "event/refused", "event/left"} {
			for r, err := range st.Journal(t.Context(), id, 0) {
				t.Errorf("left of %s: %v %v", id, r, err)
			}
		}
	})
}
