package conformance

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/mayfly-run/mayfly/internal/daemon"
)

// serve starts a server, and says which services the cases may use. All that has been recorded is mocked for executions that
// ask for it.
func serve(t *testing.T, cases []Case) (url string, offered map[string]bool) {
	t.Helper()
	config, err := MockConfig(cases)
	if err != nil {
		t.Fatal(err)
	}
	mocks := filepath.Join(t.TempDir(), "mocks.json")
	if err := os.WriteFile(mocks, config, 0o666); err != nil {
		t.Fatal(err)
	}
	offered = map[string]bool{"s3": true, "iam": true, "logs": true, "sqs": true, "sns": true}
	settings := daemon.Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir(), MockConfig: mocks}
	if python, err := exec.LookPath("python3"); err == nil {
		settings.Python, offered["lambda"] = python, true
	}
	s, err := daemon.Start(t.Context(), settings, "test", slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s.Endpoint(), offered
}
