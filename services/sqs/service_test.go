package sqs

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/sqsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

func service1(st store.Store) *Service {
	return New(Config{Store: st, Clock: clock.System{}, Endpoint: func() string { return "http://127.0.0.1:4566" }})
}

func open(t *testing.T) store.Store {
	st := memory.New()
	t.Cleanup(func() { st.Close() })
	return st
}

func caller(t *testing.T) context.Context {
	return identity.With(t.Context(), identity.Principal{Account: "000000000000", Region: "us-east-1", ARN: "arn:aws:iam::000000000000:root"})
}

func must[T any](t *testing.T, v *T, err error) *T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func create(t *testing.T, s *Service, name string, attributes map[string]string) string {
	t.Helper()
	out, err := s.CreateQueue(caller(t), &sqsapi.CreateQueueInput{QueueName: name, Attributes: attributes})
	return *must(t, out, err).QueueUrl
}

func send(t *testing.T, s *Service, url, body string) {
	t.Helper()
	if _, err := s.SendMessage(caller(t), &sqsapi.SendMessageInput{QueueUrl: url, MessageBody: body}); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, s *Service, url string, wait int64) []sqsapi.Message {
	t.Helper()
	out, err := s.ReceiveMessage(caller(t), &sqsapi.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: awsapi.Ptr(int64(10)), WaitTimeSeconds: &wait, AttributeNames: []string{"All"}})
	return must(t, out, err).Messages
}

func bodies(ms []sqsapi.Message) string {
	var b []string
	for _, m := range ms {
		b = append(b, *m.Body)
	}
	return strings.Join(b, " ")
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if got := awscall.Code(err); got != code {
		t.Errorf("error %v, want the code %s", err, code)
	}
}

func TestMessagesAreHiddenUntilTheirTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service1(open(t))
		url := create(t, s, "work", map[string]string{"VisibilityTimeout": "10"})
		send(t, s, url, "a")
		send(t, s, url, "b")
		first := receive(t, s, url, 0)
		if got := bodies(first); got != "a b" {
			t.Fatalf("received %q, want a b in the order of sending", got)
		}
		if got := bodies(receive(t, s, url, 0)); got != "" {
			t.Errorf("received %q while hidden", got)
		}
		if _, err := s.DeleteMessage(caller(t), &sqsapi.DeleteMessageInput{QueueUrl: url, ReceiptHandle: *first[0].ReceiptHandle}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Second)
		again := receive(t, s, url, 0)
		if got := bodies(again); got != "b" {
			t.Fatalf("received %q after the time-out, want b alone", got)
		}
		if n := again[0].Attributes["ApproximateReceiveCount"]; n != "2" {
			t.Errorf("receive count %s, want 2", n)
		}
	})
}

func TestLongPollWakesWhenAMessageComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service1(open(t))
		url := create(t, s, "work", nil)
		began := time.Now()
		go func() {
			time.Sleep(3 * time.Second)
			send(t, s, url, "late")
		}()
		if got := bodies(receive(t, s, url, 20)); got != "late" || time.Since(began) != 3*time.Second {
			t.Errorf("received %q after %s", got, time.Since(began))
		}
		began = time.Now()
		if got := bodies(receive(t, s, url, 5)); got != "" || time.Since(began) != 5*time.Second {
			t.Errorf("an empty queue answered %q after %s", got, time.Since(began))
		}
		if _, err := s.SendMessage(caller(t), &sqsapi.SendMessageInput{QueueUrl: url, MessageBody: "delayed", DelaySeconds: awsapi.Ptr(int64(4))}); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		if got := bodies(receive(t, s, url, 20)); got != "delayed" || time.Since(began) != 4*time.Second {
			t.Errorf("received %q after %s, want delayed after 4 s", got, time.Since(began))
		}
	})
}

func TestMessagesOutliveTheService(t *testing.T) {
	st := open(t)
	url := create(t, service1(st), "work", nil)
	s := service1(st)
	send(t, s, url, "kept")
	if got := bodies(receive(t, s, url, 0)); got != "kept" {
		t.Fatal(got)
	}
	if got := bodies(receive(t, service1(st), url, 0)); got != "kept" {
		t.Errorf("after a restart the queue holds %q, want the message that was not deleted", got)
	}
}

func TestDeadLetterQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service1(open(t))
		dead := create(t, s, "dead", nil)
		url := create(t, s, "work", map[string]string{"VisibilityTimeout": "1", "RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":"2"}`})
		send(t, s, url, "poison")
		for range 2 {
			if got := bodies(receive(t, s, url, 0)); got != "poison" {
				t.Fatal(got)
			}
			time.Sleep(2 * time.Second)
		}
		if got := bodies(receive(t, s, url, 0)); got != "" {
			t.Errorf("received %q a third time", got)
		}
		got := receive(t, s, dead, 0)
		if bodies(got) != "poison" || got[0].Attributes["DeadLetterQueueSourceArn"] != "arn:aws:sqs:us-east-1:000000000000:work" {
			t.Errorf("the dead-letter queue holds %+v", got)
		}
	})
}

func TestBatchTellsOfEachEntry(t *testing.T) {
	s := service1(open(t))
	url := create(t, s, "work", nil)
	out, err := s.SendMessageBatch(caller(t), &sqsapi.SendMessageBatchInput{QueueUrl: url, Entries: []sqsapi.SendMessageBatchRequestEntry{
		{Id: "good", MessageBody: "x"}, {Id: "bad", MessageBody: "\x01"}}})
	if must(t, out, err); len(out.Successful) != 1 || out.Successful[0].Id != "good" || len(out.Failed) != 1 || out.Failed[0].Code != "InvalidMessageContents" {
		t.Errorf("%+v", out)
	}
	_, err = s.SendMessageBatch(caller(t), &sqsapi.SendMessageBatchInput{QueueUrl: url, Entries: []sqsapi.SendMessageBatchRequestEntry{{Id: "a", MessageBody: "x"}, {Id: "a", MessageBody: "x"}}})
	wantCode(t, err, "BatchEntryIdsNotDistinct")
	_, err = s.SendMessageBatch(caller(t), &sqsapi.SendMessageBatchInput{QueueUrl: url})
	wantCode(t, err, "EmptyBatchRequest")
}

func TestAttributeDigest(t *testing.T) {
	// Computed apart, by the algorithm of SQS's developer guide; clients verify it.
	got := md5OfAttributes(map[string]sqsapi.MessageAttributeValue{
		"n": {DataType: "Number", StringValue: awsapi.Ptr("1")},
		"b": {DataType: "Binary", BinaryValue: []byte{1, 2}},
	})
	if want := "d363733c49aca51ad4de1ebab905ec7c"; got == nil || *got != want {
		t.Errorf("digest %v, want %s", got, want)
	}
	if md5OfAttributes(nil) != nil {
		t.Error("no attributes have a digest")
	}
}

func TestRefusals(t *testing.T) {
	s := service1(open(t))
	url := create(t, s, "work", map[string]string{"DelaySeconds": "0"})
	for name, c := range map[string]struct {
		code string
		call func() error
	}{
		"a FIFO queue": {"UnsupportedOperation", func() error {
			_, err := s.CreateQueue(caller(t), &sqsapi.CreateQueueInput{QueueName: "x.fifo", Attributes: map[string]string{"FifoQueue": "true"}})
			return err
		}},
		"a name with a blank": {"InvalidParameterValue", func() error {
			_, err := s.CreateQueue(caller(t), &sqsapi.CreateQueueInput{QueueName: "a b"})
			return err
		}},
		"other attributes": {"QueueNameExists", func() error {
			_, err := s.CreateQueue(caller(t), &sqsapi.CreateQueueInput{QueueName: "work", Attributes: map[string]string{"DelaySeconds": "5"}})
			return err
		}},
		"an unknown attribute": {"InvalidAttributeName", func() error {
			_, err := s.SetQueueAttributes(caller(t), &sqsapi.SetQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"Nope": "1"}})
			return err
		}},
		"a value out of range": {"InvalidAttributeValue", func() error {
			_, err := s.SetQueueAttributes(caller(t), &sqsapi.SetQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"VisibilityTimeout": "99999"}})
			return err
		}},
		"no such queue": {"QueueDoesNotExist", func() error {
			_, err := s.SendMessage(caller(t), &sqsapi.SendMessageInput{QueueUrl: "http://x/000000000000/nope", MessageBody: "x"})
			return err
		}},
		"a message that is too long": {"InvalidParameterValue", func() error {
			_, err := s.SendMessage(caller(t), &sqsapi.SendMessageInput{QueueUrl: url, MessageBody: strings.Repeat("x", 1048577)})
			return err
		}},
		"a number that is none": {"InvalidParameterValue", func() error {
			_, err := s.SendMessage(caller(t), &sqsapi.SendMessageInput{QueueUrl: url, MessageBody: "x", MessageAttributes: map[string]sqsapi.MessageAttributeValue{"n": {DataType: "Number", StringValue: awsapi.Ptr("one")}}})
			return err
		}},
		"eleven attributes": {"InvalidParameterValue", func() error {
			many := map[string]sqsapi.MessageAttributeValue{}
			for i := range 11 {
				many[fmt.Sprint("a", i)] = sqsapi.MessageAttributeValue{DataType: "String", StringValue: awsapi.Ptr("x")}
			}
			_, err := s.SendMessage(caller(t), &sqsapi.SendMessageInput{QueueUrl: url, MessageBody: "x", MessageAttributes: many})
			return err
		}},
		"a batch that is too long": {"BatchRequestTooLong", func() error {
			half := strings.Repeat("x", 600_000)
			_, err := s.SendMessageBatch(caller(t), &sqsapi.SendMessageBatchInput{QueueUrl: url, Entries: []sqsapi.SendMessageBatchRequestEntry{{Id: "a", MessageBody: half}, {Id: "b", MessageBody: half}}})
			return err
		}},
		"no dead-letter queue": {"InvalidParameterValue", func() error {
			_, err := s.SetQueueAttributes(caller(t), &sqsapi.SetQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:none","maxReceiveCount":2}`}})
			return err
		}},
		"a handle of somebody else": {"ReceiptHandleIsInvalid", func() error {
			_, err := s.DeleteMessage(caller(t), &sqsapi.DeleteMessageInput{QueueUrl: url, ReceiptHandle: "!!"})
			return err
		}},
		"eleven messages": {"InvalidParameterValue", func() error {
			_, err := s.ReceiveMessage(caller(t), &sqsapi.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: awsapi.Ptr(int64(11))})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, c.call(), c.code) })
	}
	again := create(t, s, "work", map[string]string{"DelaySeconds": "0", "VisibilityTimeout": "30"})
	if again != url {
		t.Errorf("the same queue has the URLs %s and %s", url, again)
	}
}

func TestARepeatedSendIsKeptOnce(t *testing.T) {
	st := open(t)
	s := service1(st)
	url := create(t, s, "work", nil)
	ctx := awscall.WithCall(caller(t), awscall.Call{Service: "sqs", Operation: "SendMessage", RequestKey: "execution/x/1/0"}, time.Unix(1, 0))
	for range 2 {
		_, _ = s.SendMessage(ctx, &sqsapi.SendMessageInput{QueueUrl: url, MessageBody: "once"})
	}
	if got := bodies(receive(t, s, url, 0)); got != "once" {
		t.Errorf("the queue holds %q", got)
	}
}

// slow is a store whose commits wait for a sign once it is told to.
type slow struct {
	store.Store
	sign    chan struct{} // nil: no waiting
	waiting atomic.Int32
}

func (s *slow) Commit(ctx context.Context, b store.Batch) error {
	if s.sign != nil {
		s.waiting.Add(1)
		<-s.sign
	}
	return s.Store.Commit(ctx, b)
}

// TestMessagesOfManyAreKeptTogether: a commit may hold those of many callers, and none outlives its queue.
func TestMessagesOfManyAreKeptTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &slow{Store: memory.New()}
		defer disk.Close()
		s := service1(disk)
		url := create(t, s, "work", nil)
		sign := make(chan struct{})
		disk.sign = sign
		for i := range 5 {
			go func() {
				if _, err := s.SendMessage(caller(t), &sqsapi.SendMessageInput{QueueUrl: url, MessageBody: fmt.Sprint("m", i)}); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		if n := disk.waiting.Load(); n != 5 {
			t.Errorf("%d of 5 messages are on their way to the disk", n)
		}
		if got := receive(t, s, url, 0); len(got) != 0 {
			t.Errorf("%q were received before they were kept", bodies(got))
		}
		close(sign) // the deletion waits for those that are under way
		if _, err := s.DeleteQueue(caller(t), &sqsapi.DeleteQueueInput{QueueUrl: url}); err != nil {
			t.Error(err)
		}
		if rows, err := disk.List(t.Context(), store.Query{Service: service}); len(rows) != 0 || err != nil {
			t.Errorf("%d rows are left of the queue (%v)", len(rows), err)
		}
	})
}
