package asl

import (
	"os"
	"path/filepath"
	"testing"
)

// shared is the folder with the public test data: MAYFLY_SHARED, or "shared" beside the checkout. Without it the test
// is skipped, and says so; in CI it fails.
func shared(t testing.TB, parts ...string) string {
	t.Helper()
	dir := os.Getenv("MAYFLY_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared")
	}
	path := filepath.Join(append([]string{dir}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the test data is missing: %v (set MAYFLY_SHARED)", err)
		}
		t.Skipf("the test data is missing: %v (set MAYFLY_SHARED)", err)
	}
	return path
}
