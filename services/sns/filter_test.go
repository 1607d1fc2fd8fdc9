package sns

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/snsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
)

func load(t testing.TB, file string, into any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// attributesOf writes a document's members as message attributes.
func attributesOf(t *testing.T, doc map[string]any) map[string]snsapi.MessageAttributeValue {
	out := map[string]snsapi.MessageAttributeValue{}
	for k, v := range doc {
		a := snsapi.MessageAttributeValue{DataType: "String"}
		switch v := v.(type) {
		case string:
			a.StringValue = &v
		case float64:
			a.DataType, a.StringValue = "Number", awsapi.Ptr(strconv.FormatFloat(v, 'g', -1, 64))
		case []any:
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			a.DataType, a.StringValue = "String.Array", awsapi.Ptr(string(b))
		default:
			t.Fatalf("%T is no attribute", v)
		}
		out[k] = a
	}
	return out
}

func TestFilters(t *testing.T) {
	var cases []struct {
		Policy    json.RawMessage
		Body      bool
		Gets, Not []map[string]any
	}
	load(t, "filters.json", &cases)
	for _, c := range cases {
		scope := scopeAttributes
		if c.Body {
			scope = scopeBody
		}
		f, err := parseFilter(string(c.Policy), scope)
		if err != nil || f == nil {
			t.Errorf("%s: %v", c.Policy, err)
			continue
		}
		judge := func(doc map[string]any, want bool) {
			message, attributes := "no JSON", map[string]snsapi.MessageAttributeValue{}
			if c.Body {
				b, err := json.Marshal(doc)
				if err != nil {
					t.Fatal(err)
				}
				message = string(b)
			} else {
				attributes = attributesOf(t, doc)
			}
			if f.accepts(message, attributes) != want {
				t.Errorf("%s of %v: accepted %v", c.Policy, doc, !want)
			}
		}
		for _, doc := range c.Gets {
			judge(doc, true)
		}
		for _, doc := range c.Not {
			judge(doc, false)
		}
	}
}

func TestRefusedFilters(t *testing.T) {
	var cases []struct{ Policy, Scope, Reason string }
	load(t, "refused_filters.json", &cases)
	for _, c := range cases {
		if _, err := parseFilter(c.Policy, c.Scope); err == nil || err.Error() != c.Reason {
			t.Errorf("%s: %v, want %s", c.Policy, err, c.Reason)
		}
	}
}

// FuzzFilter: a policy is refused, or judges any message without a panic.
func FuzzFilter(f *testing.F) {
	var cases []struct {
		Policy json.RawMessage
		Gets   []json.RawMessage
	}
	load(f, "filters.json", &cases)
	for _, c := range cases {
		f.Add(string(c.Policy), string(c.Gets[0]))
	}
	f.Fuzz(func(t *testing.T, policy, message string) {
		for _, scope := range []string{scopeAttributes, scopeBody} {
			if filter, err := parseFilter(policy, scope); err == nil && filter != nil {
				filter.accepts(message, map[string]snsapi.MessageAttributeValue{"a": {DataType: "String.Array", StringValue: &message}})
			}
		}
	})
}

// A subscriber gets what its policy lets through, also after the policy was changed.
func TestFilteredSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := open(t, "")
		topic := w.newTopic(t)
		sub := w.subscribe(t, topic, "sqs", "arn:aws:sqs:us-east-1:000000000000:q", map[string]string{"RawMessageDelivery": "true", "FilterPolicyScope": "MessageBody", "FilterPolicy": `{"k":["yes"]}`})
		for _, m := range []string{`{"k":"yes"}`, `{"k":"no"}`, "yes"} {
			w.say(t, topic, m)
		}
		if _, err := w.SetSubscriptionAttributes(ctx(t), &snsapi.SetSubscriptionAttributesInput{SubscriptionArn: sub, AttributeName: "FilterPolicy", AttributeValue: awsapi.Ptr("{}")}); err != nil {
			t.Fatal(err)
		}
		w.say(t, topic, "all")
		synctest.Wait()
		var got []string
		for _, c := range w.made() {
			got = append(got, c.Input["MessageBody"].(string))
		}
		if len(got) != 2 || !strings.Contains(fmt.Sprint(got), `{"k":"yes"}`) || !strings.Contains(fmt.Sprint(got), "all") {
			t.Errorf("the queue got %q", got)
		}
		endpoint := "arn:aws:sqs:us-east-1:000000000000:q"
		_, err := w.Subscribe(ctx(t), &snsapi.SubscribeInput{TopicArn: topic, Protocol: "sqs", Endpoint: &endpoint, Attributes: map[string]string{"RawMessageDelivery": "false"}})
		if err == nil || !strings.Contains(err.Error(), "Subscription already exists with different attributes") {
			t.Errorf("other attributes: %v", err)
		}
	})
}

// What a function refuses, or cannot take for hours, ends in the subscription's queue of dead letters, once.
func TestDeadLetters(t *testing.T) {
	for name, refused := range map[string]error{"refused": awsapi.Errorf(403, "AccessDeniedException", "no"), "away": fmt.Errorf("away")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := open(t, "")
				buried := 0
				w.fail = func(n int) error {
					if c := w.calls[n-1]; c.Service == "lambda" {
						return refused
					}
					if buried++; buried == 1 {
						return fmt.Errorf("the queue is away too")
					}
					return nil
				}
				topic := w.newTopic(t)
				w.subscribe(t, topic, "lambda", "arn:aws:lambda:us-east-1:000000000000:function:f", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead"}`})
				w.say(t, topic, "hear me")
				time.Sleep(24 * time.Hour)
				tries := 0
				var last awscall.Call
				for _, c := range w.made() {
					if c.Service == "lambda" {
						if tries++; c.Principal.Service != "sns.amazonaws.com" || c.Principal.Source != topic {
							t.Errorf("the function is invoked by %+v", c.Principal)
						}
					}
					last = c
				}
				if want := map[string]int{"refused": 1, "away": attempts}[name]; tries != want || buried != 2 {
					t.Errorf("%d tries of the function and %d of the queue, want %d and 2", tries, buried, want)
				}
				if body, _ := last.Input["MessageBody"].(string); last.Input["QueueUrl"] != "http://127.0.0.1:4566/000000000000/dead" || !strings.Contains(body, `"hear me"`) {
					t.Errorf("the last call is %+v", last)
				}
			})
		})
	}
}

// A notification is signed so that the certificate at its URL verifies it; the certificate stays over a restart.
func TestSignatures(t *testing.T) {
	for version, hash := range map[string]crypto.Hash{"1": crypto.SHA1, "2": crypto.SHA256} {
		synctest.Test(t, func(t *testing.T) {
			w := open(t, "")
			topic := w.newTopic(t)
			if _, err := w.SetTopicAttributes(ctx(t), &snsapi.SetTopicAttributesInput{TopicArn: topic, AttributeName: "SignatureVersion", AttributeValue: &version}); err != nil {
				t.Fatal(err)
			}
			w.subscribe(t, topic, "sqs", "arn:aws:sqs:us-east-1:000000000000:q", nil)
			w.say(t, topic, "true words")
			synctest.Wait()
			n := map[string]string{}
			if err := json.Unmarshal([]byte(w.made()[0].Input["MessageBody"].(string)), &n); err != nil {
				t.Fatal(err)
			}
			w.signs = nil // as after a restart
			answer := httptest.NewRecorder()
			w.Handler().ServeHTTP(answer, httptest.NewRequest("GET", strings.TrimPrefix(n["SigningCertURL"], "http://127.0.0.1:4566"), nil))
			block, _ := pem.Decode(answer.Body.Bytes())
			if block == nil {
				t.Fatalf("%s answers %d %s", n["SigningCertURL"], answer.Code, answer.Body)
			}
			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			text := ""
			for _, k := range []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"} {
				text += k + "\n" + n[k] + "\n"
			}
			sum1, sum2 := sha1.Sum([]byte(text)), sha256.Sum256([]byte(text))
			digest := map[string][]byte{"1": sum1[:], "2": sum2[:]}[version]
			signature, err := base64.StdEncoding.DecodeString(n["Signature"])
			if err != nil || n["SignatureVersion"] != version {
				t.Fatalf("version %s: %v", n["SignatureVersion"], err)
			}
			if err := rsa.VerifyPKCS1v15(certificate.PublicKey.(*rsa.PublicKey), hash, digest, signature); err != nil {
				t.Errorf("version %s: %v", version, err)
			}
		})
	}
}
