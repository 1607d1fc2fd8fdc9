package spark_test

import (
	"os"
	"testing"

	"github.com/mayfly-run/mayfly/internal/proc"
)

// TestMain makes the test binary its own supervisor.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "proc" {
		os.Exit(proc.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}
