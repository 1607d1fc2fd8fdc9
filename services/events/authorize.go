package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	api "github.com/mayfly-run/mayfly/internal/awsapi/eventsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
)

// Pair is a name with its value; order counts.
type Pair struct{ Name, Value string }

// Authorization is what a connection adds to a request.
type Authorization struct {
	Renewable            bool   // another Header may be had, when this one is refused
	Header               Pair   // that proves who calls
	Headers, Query, Body []Pair // InvocationHttpParameters
}

// Refusal is why a connection cannot be used. Name is AWS's, after "Events.ConnectionResource.".
type Refusal struct{ Name, Cause string }

func (r *Refusal) Error() string { return r.Name + ": " + r.Cause }

// Authorize reads the secrets of a connection for a caller of an account. anew asks for another OAuth token than the one
// that was refused. Errors of type *Refusal are the caller's to handle; others leave it open.
func (s *Service) Authorize(ctx context.Context, account, arn string, anew bool) (*Authorization, error) {
	p, name, ok := nameOf(arn)
	if !ok {
		return nil, &Refusal{"ResourceNotFound", fmt.Sprintf("%q is not the ARN of a connection.", arn)}
	}
	if p.Account != account {
		return nil, &Refusal{"AccessDenied", "The connection " + arn + " belongs to another account."}
	}
	c, err := s.connection(ctx, p, name)
	switch {
	case awscall.Code(err) != "", err == nil && c.ARN != arn:
		return nil, &Refusal{"ResourceNotFound", "Connection '" + arn + "' does not exist."}
	case err != nil:
		return nil, err
	case c.State != authorized:
		why := ""
		if c.Reason != nil {
			why = ": " + *c.Reason
		}
		return nil, &Refusal{"InvalidConnectionState", "Connection " + name + " is in state " + c.State + why + ". UpdateConnection authorizes it anew."}
	}
	secret, err := s.secrets(ctx, p, name)
	if err != nil {
		return nil, err
	}
	a := &Authorization{Renewable: c.Type == oauth}
	switch c.Type {
	case basic:
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(*secret.BasicAuthParameters.Username, *secret.BasicAuthParameters.Password)
		a.Header = Pair{"Authorization", r.Header.Get("Authorization")}
	case apiKey:
		a.Header = Pair{*secret.ApiKeyAuthParameters.ApiKeyName, *secret.ApiKeyAuthParameters.ApiKeyValue}
	case oauth:
		t, err := s.token(ctx, arn, secret.OAuthParameters, anew)
		if err != nil {
			return nil, &Refusal{"InvalidConnectionState", "Connection " + name + " could not be authorized: " + err.Error()}
		}
		a.Header = Pair{"Authorization", t.kind + " " + t.value}
	}
	a.Headers, a.Query, a.Body = pairs(secret.InvocationHttpParameters)
	return a, nil
}

func pairs(p *api.ConnectionHttpParameters) (headers, query, body []Pair) {
	if p == nil {
		return nil, nil, nil
	}
	add := func(to *[]Pair, name, value *string) {
		if name != nil {
			v := ""
			if value != nil {
				v = *value
			}
			*to = append(*to, Pair{*name, v})
		}
	}
	for _, h := range p.HeaderParameters {
		add(&headers, h.Key, h.Value)
	}
	for _, q := range p.QueryStringParameters {
		add(&query, q.Key, q.Value)
	}
	for _, b := range p.BodyParameters {
		add(&body, b.Key, b.Value)
	}
	return headers, query, body
}

// token is an OAuth access token. It is kept in memory only: after a restart the token server is asked again.
type token struct {
	kind, value string
	until       time.Time // zero: until it is refused
}

const (
	tokenTime  = 10 * time.Second // for the token server to answer
	tokenLimit = 64 << 10
	tokenSlack = 30 * time.Second // before its end a token is not used any more
)

func (s *Service) keep(arn string, t token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.value == "" {
		delete(s.tokens, arn)
		return
	}
	s.tokens[arn] = t
}

func (s *Service) token(ctx context.Context, arn string, o *api.UpdateConnectionOAuthRequestParameters, anew bool) (token, error) {
	s.mu.Lock()
	t := s.tokens[arn]
	s.mu.Unlock()
	if t.value != "" && !anew && (t.until.IsZero() || s.cfg.Clock.Now().Before(t.until.Add(-tokenSlack))) {
		return t, nil
	}
	t, err := s.fetch(ctx, o)
	if err == nil {
		s.keep(arn, t)
	}
	return t, err
}

// fetch asks the token server. AWS: the client's id and secret go as a form, with the OAuthHttpParameters; those win. The
// error says nothing of what was sent or answered, as either may hold secrets.
func (s *Service) fetch(ctx context.Context, o *api.UpdateConnectionOAuthRequestParameters) (token, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTime)
	defer cancel()
	u, err := url.Parse(*o.AuthorizationEndpoint)
	if err != nil {
		return token{}, errors.New("the authorization endpoint is no URL")
	}
	headers, query, body := pairs(o.OAuthHttpParameters)
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {*o.ClientParameters.ClientID}, "client_secret": {*o.ClientParameters.ClientSecret}}
	for _, b := range body {
		form.Set(b.Name, b.Value)
	}
	q := u.Query()
	for _, p := range query {
		q.Set(p.Name, p.Value)
	}
	var content io.Reader
	if *o.HttpMethod == http.MethodGet {
		for name, values := range form {
			q[name] = values
		}
	} else {
		content = strings.NewReader(form.Encode())
	}
	u.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(ctx, *o.HttpMethod, u.String(), content)
	if err != nil {
		return token{}, errors.New("the authorization endpoint cannot be called")
	}
	r.Header.Set("Accept", "application/json")
	if content != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range headers {
		r.Header.Set(h.Name, h.Value)
	}
	res, err := s.cfg.HTTP.Do(r)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) { // without the URL, which may hold secrets
			err = e.Err
		}
		return token{}, fmt.Errorf("the authorization endpoint did not answer: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, tokenLimit))
	if err != nil {
		return token{}, fmt.Errorf("the authorization endpoint's answer broke off: %w", err)
	}
	if res.StatusCode/100 != 2 {
		return token{}, fmt.Errorf("the authorization endpoint answered %s", res.Status)
	}
	var answer struct {
		Token   string  `json:"access_token"`
		Kind    string  `json:"token_type"`
		Expires float64 `json:"expires_in"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Token == "" {
		return token{}, errors.New("the authorization endpoint's answer has no access_token")
	}
	t := token{kind: cmp.Or(answer.Kind, "Bearer"), value: answer.Token}
	if strings.EqualFold(t.kind, "bearer") {
		t.kind = "Bearer"
	}
	if answer.Expires > 0 {
		t.until = s.cfg.Clock.Now().Add(time.Duration(min(answer.Expires, 1e6) * float64(time.Second)))
	}
	return t, nil
}
