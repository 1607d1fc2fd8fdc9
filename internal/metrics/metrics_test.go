package metrics

import (
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestText(t *testing.T) {
	var r Registry
	c := r.Counter("things_total", "Things\nof a \\kind.", "arn")
	h := r.Histogram("took_seconds", "How long.", "arn")
	r.Counter("never_total", "Nothing yet.", "arn")
	c.Inc("b")
	c.Inc(`a"\` + "\n")
	c.Inc("b")
	for _, d := range []time.Duration{0, time.Millisecond, 2 * time.Millisecond, 100 * time.Hour} {
		h.Observe("x", d)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, nil)
	got := w.Body.String()
	var b strings.Builder
	for i, le := range Buckets {
		n := "3"
		if i == 0 {
			n = "2" // a bound belongs to its bucket
		}
		b.WriteString(`took_seconds_bucket{arn="x",le="` + number(le) + `"} ` + n + "\n")
	}
	want := "# HELP things_total Things\\nof a \\\\kind.\n# TYPE things_total counter\nthings_total{arn=\"a\\\"\\\\\\n\"} 1\nthings_total{arn=\"b\"} 2\n" +
		"# HELP took_seconds How long.\n# TYPE took_seconds histogram\n" + b.String() +
		"took_seconds_bucket{arn=\"x\",le=\"+Inf\"} 4\ntook_seconds_sum{arn=\"x\"} 360000.003\ntook_seconds_count{arn=\"x\"} 4\n" +
		"# HELP never_total Nothing yet.\n# TYPE never_total counter\n"
	if got != want || w.Header().Get("Content-Type") != ContentType {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestBound: a label with values without end keeps a number of series with an end, and loses no count.
func TestBound(t *testing.T) {
	var r Registry
	c := r.Counter("things_total", "Things.", "arn")
	for i := range 3 * MaxValues {
		c.Inc(strconv.Itoa(i))
	}
	if n := len(c.f.series); n != MaxValues+1 || c.f.series[Other].count != 2*MaxValues {
		t.Errorf("%d series, %d others", n, c.f.series[Other].count)
	}
}
