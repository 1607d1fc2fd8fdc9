package metrics_test

import (
	"math"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly/internal/metrics"
	"github.com/mayfly-run/mayfly/internal/metrics/metricstest"
)

func TestText(t *testing.T) {
	var r metrics.Registry
	c := r.Counter("things_total", "Things\nof a \\kind.", "arn", "version")
	h := r.Times("took_seconds", "How long.", "arn")
	s := r.Sizes("made_bytes", "How much.")
	r.Counter("never_total", "Nothing yet.", "arn")
	open := 0.0
	r.Gauge("open", "How many.", []string{"place"}, func(set metrics.SetSeries) {
		open++
		set(open, "b")
		set(math.Inf(1), "a")
	})
	c.Inc("b", "")
	c.Inc(`a"\`+"\n", "1")
	c.Inc("b", "")
	for _, d := range []time.Duration{0, time.Millisecond, 2 * time.Millisecond, 100 * time.Hour} {
		h.Observe(d, "x")
	}
	s.Observe(64 << 20)
	r.Write(httptest.NewRecorder()) // a gauge is read each time
	w := httptest.NewRecorder()
	r.ServeHTTP(w, nil)
	got := w.Body.String()
	buckets := func(name, labels string, bounds []float64, value func(le float64) string) string {
		var b strings.Builder
		for _, le := range bounds {
			b.WriteString(name + "_bucket{" + labels + `le="` + strconv.FormatFloat(le, 'g', -1, 64) + `"} ` + value(le) + "\n")
		}
		return b.String()
	}
	want := "# HELP things_total Things\\nof a \\\\kind.\n# TYPE things_total counter\nthings_total{arn=\"a\\\"\\\\\\n\",version=\"1\"} 1\nthings_total{arn=\"b\",version=\"\"} 2\n" +
		"# HELP took_seconds How long.\n# TYPE took_seconds histogram\n" +
		buckets("took_seconds", `arn="x",`, metrics.TimeBuckets, func(le float64) string {
			if le == .001 {
				return "2" // a bound belongs to its bucket
			}
			return "3"
		}) +
		"took_seconds_bucket{arn=\"x\",le=\"+Inf\"} 4\ntook_seconds_sum{arn=\"x\"} 360000.003\ntook_seconds_count{arn=\"x\"} 4\n" +
		"# HELP made_bytes How much.\n# TYPE made_bytes histogram\n" +
		buckets("made_bytes", "", metrics.SizeBuckets, func(le float64) string {
			if le < 64<<20 {
				return "0"
			}
			return "1"
		}) +
		"made_bytes_bucket{le=\"+Inf\"} 1\nmade_bytes_sum 6.7108864e+07\nmade_bytes_count 1\n" +
		"# HELP never_total Nothing yet.\n# TYPE never_total counter\n" +
		"# HELP open How many.\n# TYPE open gauge\nopen{place=\"a\"} +Inf\nopen{place=\"b\"} 2\n"
	if got != want || w.Header().Get("Content-Type") != metrics.ContentType {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	families, err := metricstest.Parse(got)
	if err != nil || len(families) != 5 || families["took_seconds"].Series[`took_seconds_count{arn="x"}`] != 4 {
		t.Errorf("%v, %v", families, err)
	}
}

// TestBound: labels with values without end keep a number of series with an end, and lose no count.
func TestBound(t *testing.T) {
	var r metrics.Registry
	c := r.Counter("things_total", "Things.", "arn", "version")
	for i := range 3 * metrics.MaxSeries {
		c.Inc(strconv.Itoa(i), "")
	}
	r.Gauge("open", "Open.", []string{"arn"}, func(set metrics.SetSeries) {
		for i := range 2 * metrics.MaxSeries {
			set(2, strconv.Itoa(i))
		}
	})
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	f, err := metricstest.Parse(b.String())
	if err != nil {
		t.Fatal(err)
	}
	got := []float64{float64(len(f["things_total"].Series)), f["things_total"].Series[`things_total{arn="other",version="other"}`], float64(len(f["open"].Series)), f["open"].Series[`open{arn="other"}`]}
	if diff := cmp.Diff([]float64{metrics.MaxSeries + 1, 2 * metrics.MaxSeries, metrics.MaxSeries + 1, 2 * metrics.MaxSeries}, got); diff != "" {
		t.Error(diff)
	}
}

// TestStrict: the reader of tests refuses what a scraper would.
func TestStrict(t *testing.T) {
	const good = "# HELP a_total A.\n# TYPE a_total counter\n"
	for _, text := range []string{
		"a_total 1\n", good + "a_total 1", good + "b_total 1\n", good + "a_total{x=\"\n\"} 1\n", good + "a_total{x=\"1\",x=\"2\"} 1\n", good + "a_total 1\na_total 2\n",
		good + "a_total -1\n", good + good, "# HELP a A.\n# TYPE a counter\na 1\n", "# HELP a_seconds A.\n# TYPE a_seconds histogram\na_seconds_bucket{le=\"1\"} 2\na_seconds_bucket{le=\"+Inf\"} 1\na_seconds_sum 1\na_seconds_count 1\n",
		"# HELP a A.\n# TYPE a histogram\n", "# TYPE a gauge\na 1\n", good + "a_total{1x=\"\"} 1\n", good + "a_total  1\n",
	} {
		if _, err := metricstest.Parse(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if _, err := metricstest.Parse(good + "a_total{x=\"\\\\\\n\",y=\"\"} 1\n"); err != nil {
		t.Error(err)
	}
}
