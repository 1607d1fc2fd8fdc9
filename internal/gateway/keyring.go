package gateway

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// Every key id that Mayfly makes has one of these prefixes, so that a revoked key is told from a stranger's.
const (
	sessionPrefix = "ASIAMAYFLY"
	userPrefix    = "AKIAMAYFLY"
)

// KeyRing knows the credentials that Mayfly issued. It is an identity.Issuer.
type KeyRing struct {
	store store.Store
	clock clock.Clock

	mu   sync.RWMutex
	keys map[string]issued
}

type issued struct {
	Credentials identity.Credentials `json:"credentials"`
	Principal   identity.Principal   `json:"principal"`
	Expires     time.Time            `json:"expires,omitzero"`
}

// NewKeyRing reads the ring from the store, and drops what has expired.
func NewKeyRing(ctx context.Context, s store.Store, c clock.Clock) (*KeyRing, error) {
	k := &KeyRing{store: s, clock: c, keys: map[string]issued{}}
	rows, err := s.List(ctx, store.Query{Service: "mayfly", Kind: "key"})
	if err != nil {
		return nil, fmt.Errorf("read the key ring: %w", err)
	}
	var expired []store.RowChange
	for _, r := range rows {
		var i issued
		if err := json.Unmarshal(r.Value, &i); err != nil {
			return nil, fmt.Errorf("read key %s: %w", r.Key.ID, err)
		}
		if !i.Expires.IsZero() && i.Expires.Before(c.Now()) {
			expired = append(expired, store.RowChange{Key: r.Key, Delete: true})
			continue
		}
		k.keys[i.Credentials.AccessKeyID] = i
	}
	if expired != nil {
		if err := s.Commit(ctx, store.Batch{Rows: expired}); err != nil {
			return nil, fmt.Errorf("drop expired keys: %w", err)
		}
	}
	return k, nil
}

func keyRow(id string) store.Key { return store.Key{Service: "mayfly", Kind: "key", ID: id} }

// Issue makes temporary credentials that last until they are revoked.
func (k *KeyRing) Issue(ctx context.Context, p identity.Principal) (identity.Credentials, error) {
	return k.issue(ctx, p, sessionPrefix, time.Time{})
}

// IssueUntil makes temporary credentials that end at a time.
func (k *KeyRing) IssueUntil(ctx context.Context, p identity.Principal, until time.Time) (identity.Credentials, error) {
	return k.issue(ctx, p, sessionPrefix, until)
}

// IssueUser makes a user's own access key, which has no session token.
func (k *KeyRing) IssueUser(ctx context.Context, p identity.Principal) (identity.Credentials, error) {
	return k.issue(ctx, p, userPrefix, time.Time{})
}

func (k *KeyRing) issue(ctx context.Context, p identity.Principal, prefix string, until time.Time) (identity.Credentials, error) {
	c := identity.Credentials{AccessKeyID: prefix + randomText(10), SecretAccessKey: randomSecret(30)}
	if prefix == sessionPrefix {
		c.SessionToken = randomSecret(96)
	}
	i := issued{Credentials: c, Principal: p, Expires: until}
	b, err := json.Marshal(i)
	if err != nil {
		return identity.Credentials{}, err
	}
	err = k.store.Commit(ctx, store.Batch{Rows: []store.RowChange{{Key: keyRow(c.AccessKeyID), Value: b, IfVersion: store.Absent}}})
	if err != nil {
		return identity.Credentials{}, fmt.Errorf("issue credentials for %s: %w", p.ARN, err)
	}
	k.mu.Lock()
	k.keys[c.AccessKeyID] = i
	k.mu.Unlock()
	return c, nil
}

// Rebind says for whom a key acts from now on, until the server ends.
func (k *KeyRing) Rebind(id string, p identity.Principal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i, ok := k.keys[id]; ok {
		i.Principal = p
		k.keys[id] = i
	}
}

// Revoke forgets a key.
func (k *KeyRing) Revoke(ctx context.Context, id string) error {
	k.mu.Lock()
	delete(k.keys, id)
	k.mu.Unlock()
	err := k.store.Commit(ctx, store.Batch{Rows: []store.RowChange{{Key: keyRow(id), Delete: true}}})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("revoke %s: %w", id, err)
	}
	return nil
}

// find is the key's entry; ErrUnknownKey for one that looks like ours and is not, or no longer, known.
func (k *KeyRing) find(id string) (issued, bool, error) {
	k.mu.RLock()
	i, ok := k.keys[id]
	k.mu.RUnlock()
	if ok {
		return i, true, nil
	}
	if strings.HasPrefix(id, sessionPrefix) || strings.HasPrefix(id, userPrefix) {
		return issued{}, false, identity.ErrUnknownKey
	}
	return issued{}, false, nil
}

func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return base32.StdEncoding.EncodeToString(b)[:n]
}

func randomSecret(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}
