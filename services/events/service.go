package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/eventsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// Config is what the service needs.
type Config struct {
	Store store.Store
	Clock clock.Clock
	HTTP  *http.Client // asks token servers
	// Endpoint says why an authorization endpoint could never be called; nil when it could be.
	Endpoint func(*url.URL) error
}

// Service serves connections.
type Service struct {
	cfg    Config
	mu     sync.Mutex
	tokens map[string]token // by ARN
}

// New makes the service.
func New(cfg Config) *Service {
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	return &Service{cfg: cfg, tokens: map[string]token{}}
}

// API lists the operations.
func (s *Service) API() *awscall.Service {
	a := awscall.NewService(service)
	awscall.Handle(a, "CreateConnection", s.CreateConnection)
	awscall.Handle(a, "DescribeConnection", s.DescribeConnection)
	awscall.Handle(a, "UpdateConnection", s.UpdateConnection)
	awscall.Handle(a, "DeleteConnection", s.DeleteConnection)
	awscall.Handle(a, "ListConnections", s.ListConnections)
	return a
}

const (
	service    = "events"
	kind       = "connection"
	secretKind = "connectionSecret"

	basic  = "BASIC"
	apiKey = "API_KEY"
	oauth  = "OAUTH_CLIENT_CREDENTIALS"

	authorized   = "AUTHORIZED"
	deauthorized = "DEAUTHORIZED"
)

// connection is what everybody may see.
type connection struct {
	ARN         string                                `json:"arn"`
	SecretARN   string                                `json:"secretArn"`
	Name        string                                `json:"name"`
	Description *string                               `json:"description,omitempty"`
	Type        string                                `json:"type"`
	State       string                                `json:"state"`
	Reason      *string                               `json:"reason,omitempty"`
	KMS         *string                               `json:"kms,omitempty"`
	Shown       *api.ConnectionAuthResponseParameters `json:"shown"`
	Created     time.Time                             `json:"created"`
	Modified    time.Time                             `json:"modified"`
	Authorized  *time.Time                            `json:"authorized,omitempty"`
	version     int64
}

// parameters are the secrets: all that Create and Update were given.
type parameters = api.UpdateConnectionAuthRequestParameters

func invalid(format string, args ...any) error {
	return awsapi.Errorf(400, "ValidationException", format, args...)
}

func key(p identity.Principal, kind, name string) store.Key {
	return store.Key{Account: p.Account, Region: p.Region, Service: service, Kind: kind, ID: name}
}

// connection reads one. AWS: the sentence is the same in all operations.
func (s *Service) connection(ctx context.Context, p identity.Principal, name string) (*connection, error) {
	row, err := s.cfg.Store.Get(ctx, key(p, kind, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, awsapi.Errorf(400, "ResourceNotFoundException", "Failed to describe the connection(s). Connection '%s' does not exist.", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read connection %s: %w", name, err)
	}
	c := &connection{version: row.Version}
	return c, json.Unmarshal(row.Value, c)
}

func (s *Service) secrets(ctx context.Context, p identity.Principal, name string) (*parameters, error) {
	row, err := s.cfg.Store.Get(ctx, key(p, secretKind, name))
	if err != nil {
		return nil, fmt.Errorf("read the secrets of connection %s: %w", name, err)
	}
	out := &parameters{}
	return out, json.Unmarshal(row.Value, out)
}

// put writes both rows. version 0: it is new.
func (s *Service) put(ctx context.Context, c *connection, secret *parameters, out any) error {
	p := identity.From(ctx)
	shown, err := json.Marshal(c)
	if err != nil {
		return err
	}
	hidden, err := json.Marshal(secret)
	if err != nil {
		return err
	}
	change := store.RowChange{Key: key(p, kind, c.Name), Value: shown, IfVersion: c.version}
	if c.version == 0 {
		change.IfVersion = store.Absent
	}
	b := store.Batch{Rows: []store.RowChange{change, {Key: key(p, secretKind, c.Name), Value: hidden}}}
	if err := awscall.Receipted(ctx, &b, out); err != nil {
		return err
	}
	return s.cfg.Store.Commit(ctx, b)
}

// CreateConnection makes one, and authorizes it.
func (s *Service) CreateConnection(ctx context.Context, in *api.CreateConnectionInput) (*api.CreateConnectionOutput, error) {
	if in.InvocationConnectivityParameters != nil {
		return nil, noPrivate("InvocationConnectivityParameters")
	}
	p := identity.From(ctx)
	if _, err := s.connection(ctx, p, in.Name); err == nil {
		return nil, awsapi.Errorf(400, "ResourceAlreadyExistsException", "Connection %s already exists.", in.Name)
	} else if awscall.Code(err) == "" {
		return nil, err
	}
	secret := &parameters{}
	if err := convert(in.AuthParameters, secret); err != nil {
		return nil, err
	}
	now := s.cfg.Clock.Now()
	id := uuid.NewString()
	c := &connection{ARN: "arn:aws:events:" + p.Region + ":" + p.Account + ":connection/" + in.Name + "/" + id,
		SecretARN: "arn:aws:secretsmanager:" + p.Region + ":" + p.Account + ":secret:events!connection/" + in.Name + "/" + uuid.NewString() + "-" + id[:6],
		Name:      in.Name, Description: in.Description, Type: in.AuthorizationType, KMS: in.KmsKeyIdentifier, Created: now, Modified: now}
	if err := s.settle(ctx, c, secret); err != nil {
		return nil, err
	}
	out := &api.CreateConnectionOutput{ConnectionArn: &c.ARN, ConnectionState: &c.State, CreationTime: &c.Created, LastModifiedTime: &c.Modified}
	return out, s.put(ctx, c, secret, out)
}

// UpdateConnection changes what it is given. AWS: with another AuthorizationType the former's parameters go.
func (s *Service) UpdateConnection(ctx context.Context, in *api.UpdateConnectionInput) (*api.UpdateConnectionOutput, error) {
	if in.InvocationConnectivityParameters != nil {
		return nil, noPrivate("InvocationConnectivityParameters")
	}
	p := identity.From(ctx)
	c, err := s.connection(ctx, p, in.Name)
	if err != nil {
		return nil, err
	}
	secret, err := s.secrets(ctx, p, in.Name)
	if err != nil {
		return nil, err
	}
	if in.Description != nil {
		c.Description = in.Description
	}
	if in.KmsKeyIdentifier != nil {
		c.KMS = in.KmsKeyIdentifier
	}
	if in.AuthorizationType != nil && *in.AuthorizationType != c.Type {
		c.Type = *in.AuthorizationType
		secret = &parameters{InvocationHttpParameters: secret.InvocationHttpParameters}
	}
	if a := in.AuthParameters; a != nil { // members that are given replace the former, each within its structure; lists whole
		if a.InvocationHttpParameters != nil {
			secret.InvocationHttpParameters = nil
		}
		if a.OAuthParameters != nil && a.OAuthParameters.OAuthHttpParameters != nil && secret.OAuthParameters != nil {
			secret.OAuthParameters.OAuthHttpParameters = nil
		}
		if err := convert(a, secret); err != nil {
			return nil, err
		}
	}
	c.Modified = s.cfg.Clock.Now()
	if err := s.settle(ctx, c, secret); err != nil {
		return nil, err
	}
	out := &api.UpdateConnectionOutput{ConnectionArn: &c.ARN, ConnectionState: &c.State, CreationTime: &c.Created,
		LastModifiedTime: &c.Modified, LastAuthorizedTime: c.Authorized}
	return out, s.put(ctx, c, secret, out)
}

// DeleteConnection removes one with its secrets.
func (s *Service) DeleteConnection(ctx context.Context, in *api.DeleteConnectionInput) (*api.DeleteConnectionOutput, error) {
	p := identity.From(ctx)
	c, err := s.connection(ctx, p, in.Name)
	if err != nil {
		return nil, err
	}
	out := &api.DeleteConnectionOutput{ConnectionArn: &c.ARN, ConnectionState: awsapi.Ptr("DELETING"), CreationTime: &c.Created,
		LastModifiedTime: &c.Modified, LastAuthorizedTime: c.Authorized}
	b := store.Batch{Rows: []store.RowChange{{Key: key(p, kind, in.Name), Delete: true, IfVersion: c.version}, {Key: key(p, secretKind, in.Name), Delete: true}}}
	if err := awscall.Receipted(ctx, &b, out); err != nil {
		return nil, err
	}
	s.keep(c.ARN, token{})
	return out, s.cfg.Store.Commit(ctx, b)
}

// DescribeConnection shows one, without its secrets.
func (s *Service) DescribeConnection(ctx context.Context, in *api.DescribeConnectionInput) (*api.DescribeConnectionOutput, error) {
	c, err := s.connection(ctx, identity.From(ctx), in.Name)
	if err != nil {
		return nil, err
	}
	return &api.DescribeConnectionOutput{ConnectionArn: &c.ARN, Name: &c.Name, Description: c.Description, ConnectionState: &c.State,
		StateReason: c.Reason, AuthorizationType: &c.Type, SecretArn: &c.SecretARN, KmsKeyIdentifier: c.KMS, AuthParameters: c.Shown,
		CreationTime: &c.Created, LastModifiedTime: &c.Modified, LastAuthorizedTime: c.Authorized}, nil
}

// ListConnections lists them by name, 100 at a time.
func (s *Service) ListConnections(ctx context.Context, in *api.ListConnectionsInput) (*api.ListConnectionsOutput, error) {
	p := identity.From(ctx)
	limit := 100
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	out := &api.ListConnectionsOutput{Connections: []api.Connection{}}
	q := store.Query{Account: p.Account, Region: p.Region, Service: service, Kind: kind, Prefix: awsapi.Val(in.NamePrefix), After: awsapi.Val(in.NextToken), Limit: limit}
	for {
		rows, err := s.cfg.Store.List(ctx, q)
		if errors.Is(err, store.ErrCursor) {
			return nil, invalid("NextToken is none that ListConnections gave.")
		}
		if err != nil {
			return nil, fmt.Errorf("list connections: %w", err)
		}
		for _, r := range rows {
			var c connection
			if err := json.Unmarshal(r.Value, &c); err != nil {
				return nil, fmt.Errorf("connection %s: %w", r.Key.ID, err)
			}
			q.After = r.Cursor
			if in.ConnectionState != nil && c.State != *in.ConnectionState {
				continue
			}
			out.Connections = append(out.Connections, api.Connection{ConnectionArn: &c.ARN, Name: &c.Name, ConnectionState: &c.State, StateReason: c.Reason,
				AuthorizationType: &c.Type, CreationTime: &c.Created, LastModifiedTime: &c.Modified, LastAuthorizedTime: c.Authorized})
			if len(out.Connections) == limit {
				out.NextToken = &q.After
				return out, nil
			}
		}
		if len(rows) < limit {
			return out, nil
		}
	}
}

// noPrivate refuses what would need a network of AWS's.
func noPrivate(field string) error {
	return invalid("%s: Mayfly has no private APIs behind VPC Lattice. Leave it out; endpoints of this machine and its network are called directly.", field)
}

// settle checks the parameters, makes what is shown of them, and authorizes.
func (s *Service) settle(ctx context.Context, c *connection, secret *parameters) error {
	if secret.ConnectivityParameters != nil {
		return noPrivate("ConnectivityParameters")
	}
	a, o, k := secret.BasicAuthParameters, secret.OAuthParameters, secret.ApiKeyAuthParameters
	for _, m := range []struct {
		kind, name string
		given      bool
		whole      bool
	}{
		{basic, "BasicAuthParameters", a != nil, a != nil && a.Username != nil && a.Password != nil},
		{apiKey, "ApiKeyAuthParameters", k != nil, k != nil && k.ApiKeyName != nil && k.ApiKeyValue != nil},
		{oauth, "OAuthParameters", o != nil, o != nil && o.AuthorizationEndpoint != nil && o.HttpMethod != nil && o.ClientParameters != nil &&
			o.ClientParameters.ClientID != nil && o.ClientParameters.ClientSecret != nil},
	} {
		switch {
		case c.Type == m.kind && !m.whole:
			return invalid("AuthorizationType %s needs %s, whole.", m.kind, m.name)
		case c.Type != m.kind && m.given:
			return invalid("AuthorizationType %s has no %s.", c.Type, m.name)
		}
	}
	c.Shown = &api.ConnectionAuthResponseParameters{}
	if err := convert(secret, c.Shown); err != nil { // the shape has no place for passwords, keys and client secrets
		return err
	}
	hide(c.Shown.InvocationHttpParameters)
	if c.Shown.OAuthParameters != nil {
		hide(c.Shown.OAuthParameters.OAuthHttpParameters)
	}
	c.State, c.Reason = authorized, nil
	if c.Type == oauth {
		u, err := url.Parse(*o.AuthorizationEndpoint)
		if err == nil {
			err = s.cfg.Endpoint(u)
		}
		if err != nil {
			return invalid("AuthorizationEndpoint: %s.", err)
		}
		t, err := s.fetch(ctx, o)
		if err != nil {
			c.State, c.Reason = deauthorized, awsapi.Ptr(err.Error())
		}
		s.keep(c.ARN, t)
	}
	if c.State == authorized {
		c.Authorized = &c.Modified
	}
	return nil
}

// hide takes the secret values out of what is shown.
func hide(p *api.ConnectionHttpParameters) {
	if p == nil {
		return
	}
	for i := range p.HeaderParameters {
		if h := &p.HeaderParameters[i]; awsapi.Val(h.IsValueSecret) {
			h.Value = nil
		}
	}
	for i := range p.QueryStringParameters {
		if q := &p.QueryStringParameters[i]; awsapi.Val(q.IsValueSecret) {
			q.Value = nil
		}
	}
	for i := range p.BodyParameters {
		if b := &p.BodyParameters[i]; awsapi.Val(b.IsValueSecret) {
			b.Value = nil
		}
	}
}

// convert copies what two shapes have in common.
func convert(from, to any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

// nameOf is the name in a connection's ARN, whose account and region are p's; ok is false for what is no such ARN.
func nameOf(arn string) (p identity.Principal, name string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != service {
		return p, "", false
	}
	path := strings.Split(parts[5], "/")
	if len(path) != 3 || path[0] != "connection" {
		return p, "", false
	}
	return identity.Principal{Region: parts[3], Account: parts[4]}, path[1], true
}
