package acceptance

import (
	"io"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"strings"
	"testing"
)

// body is the text of a kept mail.
func body(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := mail.ReadMessage(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRun(t *testing.T) {
	s, code := run(t)
	if code != 0 || s.Status != "SUCCEEDED" {
		t.Fatalf("exit code %d, status %s: %s %s", code, s.Status, s.Error, s.Cause)
	}
	if s.Made.Clusters != 1 || s.Made.Stacks != 1 || s.Left.Clusters != 0 || s.Left.Stacks != 0 {
		t.Errorf("made %+v, left %+v", s.Made, s.Left)
	}
	if len(s.Modes) != 2 {
		t.Fatalf("modes %+v, want two", s.Modes)
	}
	for _, m := range s.Modes {
		if m.Status != "SUCCEEDED" || m.Anomalies == 0 || len(m.Preview) == 0 || m.Quality == nil {
			t.Errorf("mode %+v", m)
			continue
		}
		if m.Quality.Precision < 0.9 || m.Quality.Recall < 0.9 || m.Quality.IncidentShare > 0.15 {
			t.Errorf("mode %s: %s", m.Mode, m.Quality)
		}
	}
	if len(s.Clusters) != 1 || len(s.Clusters[0].Steps) != 4 {
		t.Errorf("clusters %+v, want one with two steps for each mode", s.Clusters)
	}
	if len(s.Mails) != 1 {
		t.Errorf("mails %v, want one", s.Mails)
	}
	if s.Time.Spark <= 0 || s.Time.ClusterStart <= 0 || s.Time.Orchestration < 0 {
		t.Errorf("time %+v", s.Time)
	}
}

// Each part fails by what it is given; the stack is gone all the same, and a mail tells the real cause.
func TestRunFails(t *testing.T) {
	for part, want := range map[string]string{
		"preprocessing": "Error", "model": "Error", "launch": "release label is invalid", "delete": "",
	} {
		t.Run(part, func(t *testing.T) {
			s, code := run(t, "--fail", part, "--modes", "TRAINING")
			if code != 1 || s.Status != "FAILED" {
				t.Fatalf("exit code %d, status %s", code, s.Status)
			}
			if s.Left.Clusters != 0 || s.Left.Stacks != 0 || s.Made.Stacks != 1 {
				t.Errorf("made %+v, left %+v", s.Made, s.Left)
			}
			if s.RootCause == "" || !strings.Contains(s.RootCause, want) || strings.Contains(strings.ToLower(s.RootCause), "step failed") {
				t.Errorf("the root cause is %q", s.RootCause)
			}
			if len(s.Mails) == 0 {
				t.Fatal("no mail")
			}
			// A stack's failure is told with its resource's type, a step's as the driver's log has it.
			cause := s.RootCause
			if part == "launch" || part == "delete" {
				_, cause, _ = strings.Cut(cause, ": ")
			}
			text := strings.Join(strings.Fields(body(t, s.Mails[len(s.Mails)-1])), " ")
			if cause = strings.Join(strings.Fields(cause), " "); !strings.Contains(text, cause[:min(100, len(cause))]) {
				t.Errorf("the mail does not tell the root cause %q:\n%s", cause, text)
			}
		})
	}
}
