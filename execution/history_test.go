package execution_test

import (
	"testing"

	"github.com/mayfly-run/mayfly/internal/scenario"
)

// TestHistories tells each story of testdata/histories. go test ./execution -run TestHistories -update writes them anew.
func TestHistories(t *testing.T) {
	scenario.Walk(t, "testdata/histories", func(t *testing.T, s *scenario.Scenario) {
		s.Golden(t, "history.txt", s.Run(t))
	})
}

// TestHistoriesWithCrashes tells each story with a crash and recovery after every record: the histories are the same.
func TestHistoriesWithCrashes(t *testing.T) {
	scenario.Walk(t, "testdata/histories", func(t *testing.T, s *scenario.Scenario) {
		s.CrashAlways = true
		s.Golden(t, "history.txt", s.Run(t))
	})
}
