package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/eventsapi"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

func newService(t *testing.T, client *http.Client) (*Service, store.Store, context.Context) {
	st := memory.New()
	t.Cleanup(func() { st.Close() })
	ctx := identity.With(t.Context(), identity.Principal{Account: "111111111111", Region: "eu-west-1"})
	return New(Config{Store: st, HTTP: client, Endpoint: func(u *url.URL) error {
		if u.Scheme != "https" && !strings.HasPrefix(u.Host, "127.") {
			return fmt.Errorf("not %s", u.Scheme)
		}
		return nil
	}}), st, ctx
}

func pair(name, value string, secret bool) api.ConnectionHeaderParameter {
	return api.ConnectionHeaderParameter{Key: &name, Value: &value, IsValueSecret: &secret}
}

func create(t *testing.T, s *Service, ctx context.Context, in *api.CreateConnectionInput) string {
	t.Helper()
	out, err := s.CreateConnection(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	return *out.ConnectionArn
}

func basicIn(name string) *api.CreateConnectionInput {
	return &api.CreateConnectionInput{Name: name, AuthorizationType: "BASIC", Description: awsapi.Ptr("d"), AuthParameters: &api.CreateConnectionAuthRequestParameters{
		BasicAuthParameters:      &api.CreateConnectionBasicAuthRequestParameters{Username: "ada", Password: "hidden-1"},
		InvocationHttpParameters: &api.ConnectionHttpParameters{HeaderParameters: []api.ConnectionHeaderParameter{pair("X-A", "seen", false), pair("X-B", "hidden-2", true)}}}}
}

func TestConnections(t *testing.T) {
	s, _, ctx := newService(t, nil)
	arn := create(t, s, ctx, basicIn("one"))
	if !strings.HasPrefix(arn, "arn:aws:events:eu-west-1:111111111111:connection/one/") {
		t.Error(arn)
	}
	d, err := s.DescribeConnection(ctx, &api.DescribeConnectionInput{Name: "one"})
	if err != nil {
		t.Fatal(err)
	}
	shown, _ := json.Marshal(d)
	if strings.Contains(string(shown), "hidden") || !strings.Contains(string(shown), `"Username":"ada"`) || !strings.Contains(string(shown), `"seen"`) ||
		*d.ConnectionState != "AUTHORIZED" || !strings.HasPrefix(*d.SecretArn, "arn:aws:secretsmanager:eu-west-1:111111111111:secret:events!connection/one/") {
		t.Errorf("%s", shown)
	}
	a, err := s.Authorize(ctx, "111111111111", arn, false)
	if err != nil || a.Header != (Pair{"Authorization", "Basic YWRhOmhpZGRlbi0x"}) || fmt.Sprint(a.Headers) != "[{X-A seen} {X-B hidden-2}]" || a.Renewable {
		t.Errorf("%+v %v", a, err)
	}
	// A changed password alone keeps the rest; a list is replaced whole.
	if _, err := s.UpdateConnection(ctx, &api.UpdateConnectionInput{Name: "one", AuthParameters: &api.UpdateConnectionAuthRequestParameters{
		BasicAuthParameters:      &api.UpdateConnectionBasicAuthRequestParameters{Password: awsapi.Ptr("x")},
		InvocationHttpParameters: &api.ConnectionHttpParameters{HeaderParameters: []api.ConnectionHeaderParameter{{Key: awsapi.Ptr("X-C")}}}}}); err != nil {
		t.Fatal(err)
	}
	if a, err = s.Authorize(ctx, "111111111111", arn, false); err != nil || a.Header.Value != "Basic YWRhOng=" || fmt.Sprint(a.Headers) != "[{X-C }]" {
		t.Errorf("%+v %v", a, err)
	}
	// Another type needs its own parameters, whole.
	_, err = s.UpdateConnection(ctx, &api.UpdateConnectionInput{Name: "one", AuthorizationType: awsapi.Ptr("API_KEY")})
	wants(t, err, "ValidationException", "AuthorizationType API_KEY needs ApiKeyAuthParameters, whole.")
	if _, err = s.UpdateConnection(ctx, &api.UpdateConnectionInput{Name: "one", AuthorizationType: awsapi.Ptr("API_KEY"), AuthParameters: &api.UpdateConnectionAuthRequestParameters{
		ApiKeyAuthParameters: &api.UpdateConnectionApiKeyAuthRequestParameters{ApiKeyName: awsapi.Ptr("x-key"), ApiKeyValue: awsapi.Ptr("k")}}}); err != nil {
		t.Fatal(err)
	}
	if a, err = s.Authorize(ctx, "111111111111", arn, false); err != nil || a.Header != (Pair{"x-key", "k"}) {
		t.Errorf("%+v %v", a, err)
	}
	for _, name := range []string{"three", "two", "twofold"} {
		create(t, s, ctx, basicIn(name))
	}
	var names []string
	in := &api.ListConnectionsInput{Limit: awsapi.Ptr[int64](2)}
	for pages := 0; pages < 3; pages++ {
		l, err := s.ListConnections(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range l.Connections {
			names = append(names, *c.Name)
		}
		if in.NextToken = l.NextToken; in.NextToken == nil {
			break
		}
	}
	if strings.Join(names, " ") != "one three two twofold" {
		t.Error(names)
	}
	if l, _ := s.ListConnections(ctx, &api.ListConnectionsInput{NamePrefix: awsapi.Ptr("two"), ConnectionState: awsapi.Ptr("AUTHORIZED")}); len(l.Connections) != 2 {
		t.Errorf("%+v", l)
	}
	if l, _ := s.ListConnections(ctx, &api.ListConnectionsInput{ConnectionState: awsapi.Ptr("DEAUTHORIZED")}); len(l.Connections) != 0 {
		t.Errorf("%+v", l)
	}
	if _, err := s.DeleteConnection(ctx, &api.DeleteConnectionInput{Name: "one"}); err != nil {
		t.Fatal(err)
	}
	_, err = s.Authorize(ctx, "111111111111", arn, false)
	refused(t, err, "ResourceNotFound")
	again := create(t, s, ctx, basicIn("one"))
	_, err = s.Authorize(ctx, "111111111111", arn, false) // the old ARN does not name the new one
	refused(t, err, "ResourceNotFound")
	_, err = s.Authorize(ctx, "222222222222", again, false)
	refused(t, err, "AccessDenied")
	_, err = s.Authorize(ctx, "111111111111", "arn:aws:s3:::b", false)
	refused(t, err, "ResourceNotFound")
}

func TestRefusals(t *testing.T) {
	s, _, ctx := newService(t, nil)
	create(t, s, ctx, basicIn("one"))
	_, err := s.CreateConnection(ctx, basicIn("one"))
	wants(t, err, "ResourceAlreadyExistsException", "Connection one already exists.")
	_, err = s.DescribeConnection(ctx, &api.DescribeConnectionInput{Name: "two"})
	wants(t, err, "ResourceNotFoundException", "Failed to describe the connection(s). Connection 'two' does not exist.")
	_, err = s.DeleteConnection(ctx, &api.DeleteConnectionInput{Name: "two"})
	wants(t, err, "ResourceNotFoundException", "")
	_, err = s.UpdateConnection(ctx, &api.UpdateConnectionInput{Name: "two"})
	wants(t, err, "ResourceNotFoundException", "")
	_, err = s.ListConnections(ctx, &api.ListConnectionsInput{NextToken: awsapi.Ptr("?")})
	wants(t, err, "ValidationException", "NextToken")
	bad := basicIn("two")
	bad.AuthorizationType = "API_KEY"
	_, err = s.CreateConnection(ctx, bad)
	wants(t, err, "ValidationException", "AuthorizationType API_KEY has no BasicAuthParameters.")
	bad = basicIn("two")
	bad.InvocationConnectivityParameters = &api.ConnectivityResourceParameters{}
	_, err = s.CreateConnection(ctx, bad)
	wants(t, err, "ValidationException", "InvocationConnectivityParameters: Mayfly has no private APIs")
	o := oauthIn("o", "http://192.0.2.1/")
	_, err = s.CreateConnection(ctx, o)
	wants(t, err, "ValidationException", "AuthorizationEndpoint: not http.")
}

func oauthIn(name, endpoint string) *api.CreateConnectionInput {
	return &api.CreateConnectionInput{Name: name, AuthorizationType: "OAUTH_CLIENT_CREDENTIALS", AuthParameters: &api.CreateConnectionAuthRequestParameters{
		OAuthParameters: &api.CreateConnectionOAuthRequestParameters{AuthorizationEndpoint: endpoint, HttpMethod: "POST",
			ClientParameters: &api.CreateConnectionOAuthClientRequestParameters{ClientID: "me", ClientSecret: "hidden"},
			OAuthHttpParameters: &api.ConnectionHttpParameters{BodyParameters: []api.ConnectionBodyParameter{{Key: awsapi.Ptr("scope"), Value: awsapi.Ptr("all")}},
				QueryStringParameters: []api.ConnectionQueryStringParameter{{Key: awsapi.Ptr("q"), Value: awsapi.Ptr("1")}}}}}}
}

type tokens struct {
	asked int
	fail  bool
	seen  string
}

func (k *tokens) RoundTrip(r *http.Request) (*http.Response, error) {
	k.asked++
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	k.seen = r.Method + " " + r.URL.RawQuery + " " + r.PostForm.Encode()
	w := httptest.NewRecorder()
	if k.fail {
		w.WriteHeader(403)
	}
	fmt.Fprintf(w, `{"access_token":"t%d","token_type":"bearer","expires_in":300}`, k.asked)
	return w.Result(), nil
}

func TestOAuth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &tokens{}
		s, _, ctx := newService(t, &http.Client{Transport: k})
		arn := create(t, s, ctx, oauthIn("o", "https://tokens.test/"))
		token := func(anew bool) string {
			t.Helper()
			a, err := s.Authorize(ctx, "111111111111", arn, anew)
			if err != nil || !a.Renewable {
				t.Fatalf("%+v %v", a, err)
			}
			return a.Header.Value
		}
		if got := token(false); got != "Bearer t1" || k.seen != "POST q=1 client_id=me&client_secret=hidden&grant_type=client_credentials&scope=all" {
			t.Errorf("%s %s", got, k.seen)
		}
		if got := token(false); got != "Bearer t1" { // kept
			t.Error(got)
		}
		if got := token(true); got != "Bearer t2" { // it was refused
			t.Error(got)
		}
		time.Sleep(271 * time.Second) // of the test's own clock; less than half a minute is left
		if got := token(false); got != "Bearer t3" {
			t.Error(got)
		}
		k.fail = true
		_, err := s.Authorize(ctx, "111111111111", arn, true)
		refused(t, err, "InvalidConnectionState")
		// One that cannot be authorized is made all the same, and says why; an update tries again.
		arn = create(t, s, ctx, oauthIn("p", "https://tokens.test/"))
		d, err := s.DescribeConnection(ctx, &api.DescribeConnectionInput{Name: "p"})
		if err != nil || *d.ConnectionState != "DEAUTHORIZED" || *d.StateReason != "the authorization endpoint answered 403 Forbidden" || d.LastAuthorizedTime != nil {
			t.Errorf("%+v %v", d, err)
		}
		_, err = s.Authorize(ctx, "111111111111", arn, false)
		refused(t, err, "InvalidConnectionState")
		k.fail = false
		if _, err := s.UpdateConnection(ctx, &api.UpdateConnectionInput{Name: "p"}); err != nil {
			t.Fatal(err)
		}
		if got := token(false); !strings.HasPrefix(got, "Bearer t") {
			t.Error(got)
		}
	})
}

func wants(t *testing.T, err error, code, message string) {
	t.Helper()
	var e *awsapi.Error
	if !errors.As(err, &e) || e.Code != code || !strings.HasPrefix(e.Message, message) {
		t.Errorf("got %v; want %s: %s", err, code, message)
	}
}

func refused(t *testing.T, err error, name string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) || r.Name != name || strings.Contains(r.Cause, "hidden") {
		t.Errorf("got %v; want %s", err, name)
	}
}
