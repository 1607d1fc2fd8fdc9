package launch

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/clock"
)

func TestSpentCountsWhatOverlapsOnce(t *testing.T) {
	t0 := time.Unix(1000, 0)
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	clusters := []*Cluster{{Created: at(1), Ready: at(4), Ended: at(20), Steps: []*Step{
		{Started: at(5), Ended: at(10)},
		{Started: at(9), Ended: at(12)}, // beside the first
		{},                              // never started
	}}}
	got := spent(t0, at(20), clusters, []span{{at(15), at(18)}})
	want := Spent{ClusterStart: 3 * time.Second, Spark: 7 * time.Second, ClusterEnd: 3 * time.Second, Orchestration: 7 * time.Second}
	if got != want {
		t.Errorf("spent %+v, want %+v", got, want)
	}
}

func TestSpentOfAClusterThatNeverGotReady(t *testing.T) {
	t0 := time.Unix(1000, 0)
	got := spent(t0, t0.Add(10*time.Second), []*Cluster{{Created: t0.Add(time.Second), Ended: t0.Add(6 * time.Second)}}, nil)
	if got.ClusterStart != 5*time.Second || got.Orchestration != 5*time.Second {
		t.Errorf("spent %+v", got)
	}
}

func TestARunThatLeavesSomethingHasNotSucceeded(t *testing.T) {
	s := Summary{Status: "SUCCEEDED", Made: Count{1, 1}}
	if !s.Succeeded() {
		t.Error("a clean run has not succeeded")
	}
	s.Left.Clusters = 1
	if s.Succeeded() {
		t.Error("a run that leaves a cluster has succeeded")
	}
}

func TestWhatWasMadeIsCountedFromTheLedger(t *testing.T) {
	const arn = "arn:aws:states:us-east-1:000000000000:execution:M:a b"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/_mayfly/custody" || r.URL.Query().Get("execution") != arn {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, `[{"kind":"stack","id":"s","action":"made"},{"kind":"stack","id":"s","action":"held"},{"kind":"cluster","id":"j-1","action":"held"},
			{"kind":"cluster","id":"j-1","action":"gone"},{"kind":"stack","id":"t","action":"made"},{"kind":"stack","id":"t","action":"gone"},
			{"kind":"cluster","id":"j-2","action":"held"},{"kind":"cluster","id":"j-2","action":"end-cluster"}]`)
	}))
	defer server.Close()
	run := New(Options{Clock: clock.System{}, Endpoint: server.URL, HTTP: server.Client()})
	booked, err := run.booked(t.Context(), arn)
	if err != nil {
		t.Fatal(err)
	}
	if made, left := count(booked); made != (Count{Clusters: 2, Stacks: 2}) || left != (Count{Clusters: 1, Stacks: 1}) {
		t.Errorf("made %+v, left %+v", made, left)
	}
	if _, err := run.booked(t.Context(), "another"); err == nil {
		t.Error("a ledger that cannot be read counts as empty")
	}
}
