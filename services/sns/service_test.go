package sns

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/snsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

// world is a service with what stands around it. calls records what it asked of others; fail answers them.
type world struct {
	*Service
	store store.Store
	dir   string
	loop  *durable.Loop
	mu    sync.Mutex
	calls []awscall.Call
	fail  func(n int) error
}

func (w *world) Invoke(_ context.Context, c awscall.Call) (map[string]any, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, c)
	if w.fail != nil {
		return nil, w.fail(len(w.calls))
	}
	return map[string]any{}, nil
}

func (w *world) made() []awscall.Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]awscall.Call(nil), w.calls...)
}

// start opens the service on a store; smtp is the mail server, "" for none.
func start(t *testing.T, st store.Store, smtp string) *world {
	t.Helper()
	w := &world{store: st, dir: t.TempDir()}
	w.loop = durable.New(durable.Config{Store: st, Log: slog.New(slog.DiscardHandler)})
	w.Service = New(Config{Store: st, Loop: w.loop, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Calls: w,
		Endpoint: func() string { return "http://127.0.0.1:4566" }, MailDir: w.dir, SMTP: smtp})
	if err := w.loop.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func open(t *testing.T, smtp string) *world {
	st := memory.New()
	w := start(t, st, smtp)
	t.Cleanup(func() {
		w.loop.Stop()
		st.Close()
	})
	return w
}

func ctx(t *testing.T) context.Context {
	return identity.With(t.Context(), identity.Principal{Account: "000000000000", Region: "us-east-1", ARN: "arn:aws:iam::000000000000:root", Execution: "arn:the-execution"})
}

func (w *world) newTopic(t *testing.T) string {
	t.Helper()
	out, err := w.CreateTopic(ctx(t), &snsapi.CreateTopicInput{Name: "alerts"})
	if err != nil {
		t.Fatal(err)
	}
	return *out.TopicArn
}

func (w *world) subscribe(t *testing.T, topic, protocol, endpoint string, attributes map[string]string) string {
	t.Helper()
	out, err := w.Subscribe(ctx(t), &snsapi.SubscribeInput{TopicArn: topic, Protocol: protocol, Endpoint: &endpoint, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return *out.SubscriptionArn
}

func (w *world) say(t *testing.T, topic, message string) string {
	t.Helper()
	out, err := w.Publish(ctx(t), &snsapi.PublishInput{TopicArn: &topic, Message: message, Subject: awsapi.Ptr("Hear")})
	if err != nil {
		t.Fatal(err)
	}
	return *out.MessageId
}

func TestQueuesAndFunctionsGetTheMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, "")
		topic := w.newTopic(t)
		w.subscribe(t, topic, "sqs", "arn:aws:sqs:us-east-1:000000000000:work", nil)
		w.subscribe(t, topic, "sqs", "arn:aws:sqs:us-east-1:000000000000:raw", map[string]string{"RawMessageDelivery": "true"})
		w.subscribe(t, topic, "lambda", "arn:aws:lambda:us-east-1:000000000000:function:f", nil)
		id := w.say(t, topic, "it happened")
		synctest.Wait()
		got := map[string]string{}
		for _, c := range w.made() {
			if c.Principal.Execution != "arn:the-execution" || c.RequestKey == "" {
				t.Errorf("%s %s is called without the publisher's principal or a request key: %+v", c.Service, c.Operation, c)
			}
			switch c.Service {
			case "sqs":
				got[c.Input["QueueUrl"].(string)] = c.Input["MessageBody"].(string)
			case "lambda":
				got[c.Input["FunctionName"].(string)] = string(c.Input["Payload"].([]byte))
			}
		}
		if body := got["http://127.0.0.1:4566/000000000000/raw"]; body != "it happened" {
			t.Errorf("raw delivery brought %q", body)
		}
		var envelope struct{ Type, MessageId, TopicArn, Subject, Message string }
		if err := json.Unmarshal([]byte(got["http://127.0.0.1:4566/000000000000/work"]), &envelope); err != nil || envelope.MessageId != id || envelope.Message != "it happened" || envelope.Subject != "Hear" || envelope.TopicArn != topic {
			t.Errorf("the queue got %+v, %v", envelope, err)
		}
		var event struct {
			Records []struct {
				EventSource string
				Sns         struct{ MessageId, Message string }
			}
		}
		if err := json.Unmarshal([]byte(got["arn:aws:lambda:us-east-1:000000000000:function:f"]), &event); err != nil || len(event.Records) != 1 || event.Records[0].Sns.MessageId != id || event.Records[0].EventSource != "aws:sns" {
			t.Errorf("the function got %+v, %v", event, err)
		}
	})
}

func TestDeliveryIsRepeatedUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, "")
		w.fail = func(n int) error {
			if n < 4 {
				return errors.New("the queue is away")
			}
			return nil
		}
		topic := w.newTopic(t)
		w.subscribe(t, topic, "sqs", "arn:aws:sqs:us-east-1:000000000000:work", nil)
		w.say(t, topic, "x")
		time.Sleep(time.Hour)
		if n := len(w.made()); n != 4 {
			t.Errorf("%d tries, want 3 that fail and one that succeeds", n)
		}
	})
}

func TestARefusedDeliveryIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, "")
		w.fail = func(int) error { return awsapi.Errorf(400, "QueueDoesNotExist", "The specified queue does not exist.") }
		topic := w.newTopic(t)
		w.subscribe(t, topic, "sqs", "arn:aws:sqs:us-east-1:000000000000:gone", nil)
		w.say(t, topic, "x")
		time.Sleep(time.Hour)
		if n := len(w.made()); n != 1 {
			t.Errorf("%d tries of what is refused, want 1", n)
		}
	})
}

func TestADeliverySurvivesTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New()
		defer st.Close()
		w := start(t, st, "")
		w.fail = func(int) error { return errors.New("the queue is away") }
		topic := w.newTopic(t)
		w.subscribe(t, topic, "sqs", "arn:aws:sqs:us-east-1:000000000000:work", nil)
		w.say(t, topic, "x")
		synctest.Wait()
		w.loop.Stop()
		again := start(t, st, "")
		defer again.loop.Stop()
		time.Sleep(time.Minute)
		if n := len(again.made()); n != 1 {
			t.Errorf("after the restart %d deliveries, want 1", n)
		}
	})
}

// kept is the mails in a folder by subject.
func kept(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.eml"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m, err := mail.ReadMessage(strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if err != nil {
			t.Fatal(err)
		}
		out[m.Header.Get("Subject")] = m.Header.Get("To") + "\n" + string(body)
	}
	return out
}

func TestMailComesAfterTheLinkIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, "")
		topic := w.newTopic(t)
		if arn := w.subscribe(t, topic, "email", "ops@example.com", nil); arn != "pending confirmation" {
			t.Errorf("Subscribe answers %q, want pending confirmation", arn)
		}
		w.say(t, topic, "too early")
		synctest.Wait()
		mails := kept(t, w.dir)
		confirmation := mails["AWS Notification - Subscription Confirmation"]
		_, link, found := strings.Cut(confirmation, "http://127.0.0.1:4566")
		if len(mails) != 1 || !found || !strings.HasPrefix(confirmation, "ops@example.com\n") {
			t.Fatalf("kept mails: %v", mails)
		}
		for range 2 { // a link may be followed twice
			rec := httptest.NewRecorder()
			req := httptest.NewRequestWithContext(ctx(t), http.MethodGet, strings.TrimSpace(link), nil)
			if w.Handler().ServeHTTP(rec, req); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), topic) {
				t.Fatalf("the link answers %d %s", rec.Code, rec.Body)
			}
		}
		w.say(t, topic, "it failed: größer")
		synctest.Wait()
		if got := kept(t, w.dir)["Hear"]; !strings.HasPrefix(got, "ops@example.com\nit failed: größer\r\n") {
			t.Errorf("the mail is %q", got)
		}
	})
}

func TestAWrongLinkConfirmsNothing(t *testing.T) {
	w := open(t, "")
	topic := w.newTopic(t)
	w.subscribe(t, topic, "email", "ops@example.com", nil)
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(ctx(t), http.MethodGet, Prefix+"ConfirmSubscription?Token=x&TopicArn="+topic, nil))
	if rec.Code != http.StatusBadRequest {
		t.Errorf("a wrong token is answered with %d", rec.Code)
	}
	out, err := w.GetTopicAttributes(ctx(t), &snsapi.GetTopicAttributesInput{TopicArn: topic})
	if err != nil || out.Attributes["SubscriptionsPending"] != "1" || out.Attributes["SubscriptionsConfirmed"] != "0" {
		t.Errorf("%v %v", out, err)
	}
}

func TestARepeatedPublishIsOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, "")
		topic := w.newTopic(t)
		w.subscribe(t, topic, "sqs", "arn:aws:sqs:us-east-1:000000000000:work", nil)
		c := awscall.WithCall(ctx(t), awscall.Call{Service: "sns", Operation: "Publish", RequestKey: "execution/x/1/0"}, time.Unix(1, 0))
		ids := map[string]bool{}
		for range 3 {
			out, err := w.Publish(c, &snsapi.PublishInput{TopicArn: &topic, Message: "once"})
			if err != nil {
				t.Fatal(err)
			}
			ids[*out.MessageId] = true
		}
		synctest.Wait()
		if n := len(w.made()); n != 1 || len(ids) != 1 {
			t.Errorf("%d deliveries with %d ids, want one", n, len(ids))
		}
	})
}

// postbox is a real SMTP server that keeps what it gets, and refuses the first mail for a while.
type postbox struct {
	mu    sync.Mutex
	mails []string
	came  chan struct{}
	busy  int
}

func (p *postbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{box: p}, nil }

type session struct {
	box *postbox
	to  string
}

func (s *session) Mail(string, *smtp.MailOptions) error      { return nil }
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error { s.to = to; return nil }
func (s *session) Reset()                                    {}
func (s *session) Logout() error                             { return nil }
func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if s.box.busy > 0 {
		s.box.busy--
		return &smtp.SMTPError{Code: 451, Message: "try again later"}
	}
	s.box.mails = append(s.box.mails, s.to+"\n"+string(b))
	s.box.came <- struct{}{}
	return err
}

func TestMailGoesOutBySMTP(t *testing.T) {
	box := &postbox{came: make(chan struct{}, 8), busy: 1}
	server := smtp.NewServer(box)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	w := open(t, "smtp://"+l.Addr().String())
	topic := w.newTopic(t)
	w.subscribe(t, topic, "email", "ops@example.com", nil)
	<-box.came // the second try: the server was busy
	box.mu.Lock()
	defer box.mu.Unlock()
	if len(box.mails) != 1 || !strings.HasPrefix(box.mails[0], "ops@example.com\n") || !strings.Contains(box.mails[0], "Message-ID: <") {
		t.Errorf("the server has %q", box.mails)
	}
	if files := kept(t, w.dir); len(files) != 0 {
		t.Errorf("mail is kept besides being sent: %v", files)
	}
}

func TestRefusals(t *testing.T) {
	w := open(t, "")
	topic := w.newTopic(t)
	subscribe := func(protocol, endpoint string, attributes map[string]string) func() error {
		return func() error {
			_, err := w.Subscribe(ctx(t), &snsapi.SubscribeInput{TopicArn: topic, Protocol: protocol, Endpoint: &endpoint, Attributes: attributes})
			return err
		}
	}
	publish := func(in snsapi.PublishInput) func() error {
		return func() error { _, err := w.Publish(ctx(t), &in); return err }
	}
	gone := "arn:aws:sns:us-east-1:000000000000:gone"
	for name, c := range map[string]struct {
		code, part string
		call       func() error
	}{
		"http":                   {"InvalidParameter", "not supported", subscribe("https", "https://x.example", nil)},
		"no address":             {"InvalidParameter", "Email address", subscribe("email", "nobody", nil)},
		"a bad filter policy":    {"InvalidParameter", "Attributes Reason: FilterPolicy: failed to parse JSON", subscribe("sqs", "arn:aws:sqs:us-east-1:000000000000:q", map[string]string{"FilterPolicy": "{"})},
		"no queue of the dead":   {"InvalidParameter", "deadLetterTargetArn is an invalid arn", subscribe("sqs", "arn:aws:sqs:us-east-1:000000000000:q", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sns:us-east-1:000000000000:t"}`})},
		"a delivery policy":      {"InvalidParameter", "DeliveryPolicy is not supported", subscribe("sqs", "arn:aws:sqs:us-east-1:000000000000:q", map[string]string{"DeliveryPolicy": `{"a":["b"]}`})},
		"raw mail":               {"InvalidParameter", "raw message", subscribe("email", "a@b.example", map[string]string{"RawMessageDelivery": "true"})},
		"no topic":               {"NotFound", "Topic does not exist", publish(snsapi.PublishInput{TopicArn: &gone, Message: "x"})},
		"an empty message":       {"InvalidParameter", "Empty message", publish(snsapi.PublishInput{TopicArn: &topic})},
		"a long message":         {"InvalidParameter", "Message too long", publish(snsapi.PublishInput{TopicArn: &topic, Message: strings.Repeat("x", maxMessage+1)})},
		"a subject of two lines": {"InvalidParameter", "Subject", publish(snsapi.PublishInput{TopicArn: &topic, Message: "x", Subject: awsapi.Ptr("a\nb")})},
		"a phone":                {"InvalidParameter", "SMS", publish(snsapi.PublishInput{PhoneNumber: awsapi.Ptr("+49"), Message: "x"})},
		"no default":             {"InvalidParameter", "No default entry", publish(snsapi.PublishInput{TopicArn: &topic, Message: `{"email":"x"}`, MessageStructure: awsapi.Ptr("json")})},
		"a FIFO topic": {"InvalidParameter", "FIFO", func() error {
			_, err := w.CreateTopic(ctx(t), &snsapi.CreateTopicInput{Name: "x.fifo"})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.call()
			if awscall.Code(err) != c.code || !strings.Contains(err.Error(), c.part) {
				t.Errorf("error %v, want %s with %q", err, c.code, c.part)
			}
		})
	}
}
