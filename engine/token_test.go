package engine_test

import (
	"encoding/base64"
	"testing"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// FuzzToken checks that nobody can make up a token.
func FuzzToken(f *testing.F) {
	f.Add("")
	f.Add("AQ")
	f.Add(base64.RawURLEncoding.EncodeToString([]byte("\x01\x01arn:aws:states:us-east-1:000000000000:execution:M:x0123456789abcdef")))
	var s *server
	f.Fuzz(func(t *testing.T, token string) {
		if s == nil {
			s = start(t, newStore(t), &fake{})
			t.Cleanup(func() { s.stop(); s = nil })
		}
		if err := s.TaskSucceeded(t.Context(), token, jsonvalue.Null); code(err) != "InvalidToken" {
			t.Errorf("%q: %v", token, err)
		}
	})
}
