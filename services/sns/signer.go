package sns

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/mayfly-run/mayfly/store"
)

// signer signs what subscribers get, as SNS does, with a key of this server's own: who verifies it takes the certificate
// from SigningCertURL, which is below the server's endpoint and not at Amazon's.
type signer struct {
	Key         []byte `json:"key"`         // PKCS #8
	Certificate []byte `json:"certificate"` // X.509
	key         *rsa.PrivateKey
}

// signer is the server's one, made at the first use.
func (s *Service) signer(ctx context.Context) (*signer, error) {
	s.signing.Lock()
	defer s.signing.Unlock()
	if s.signs != nil {
		return s.signs, nil
	}
	k := store.Key{Service: service, Kind: "signer", ID: "signer"}
	row, err := s.Store.Get(ctx, k)
	var made signer
	switch {
	case err == nil:
		err = json.Unmarshal(row.Value, &made)
	case errors.Is(err, store.ErrNotFound):
		if made, err = s.newSigner(); err == nil {
			value, _ := json.Marshal(made) // bytes
			err = s.Store.Commit(ctx, store.Batch{Rows: []store.RowChange{{Key: k, Value: value, IfVersion: store.Absent}}})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the key that signs notifications: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(made.Key)
	if err != nil {
		return nil, fmt.Errorf("the key that signs notifications: %w", err)
	}
	made.key = key.(*rsa.PrivateKey)
	s.signs = &made
	return s.signs, nil
}

func (s *Service) newSigner() (signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return signer{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return signer{}, err
	}
	now := s.Clock.Now()
	about := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "sns.mayfly"}, NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(20, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature}
	certificate, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		return signer{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return signer{Key: der, Certificate: certificate}, err
}

// file is the name under which the certificate is served.
func (k *signer) file() string {
	sum := sha256.Sum256(k.Certificate)
	return fmt.Sprintf("SimpleNotificationService-%x.pem", sum[:16])
}

// sign signs a notification by the members that it has. AWS: version 1 is SHA-1, version 2 SHA-256, over the names and
// values of these members, a line each.
func (k *signer) sign(n map[string]any, version string) (string, error) {
	var b strings.Builder
	for _, name := range []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"} {
		if v, ok := n[name].(string); ok {
			b.WriteString(name + "\n" + v + "\n")
		}
	}
	hash, sum := crypto.SHA1, sha1.Sum([]byte(b.String()))
	digest := sum[:]
	if version == "2" {
		sum := sha256.Sum256([]byte(b.String()))
		hash, digest = crypto.SHA256, sum[:]
	}
	signature, err := rsa.SignPKCS1v15(nil, k.key, hash, digest)
	return base64.StdEncoding.EncodeToString(signature), err
}
