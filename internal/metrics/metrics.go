// Package metrics keeps counters and histograms, asks for gauges, and writes them in Prometheus's text form (version 0.0.4). The
// number of series of a family is bounded: what comes after the first thousand is counted under "other".
//
// It is here in place of Prometheus's own client, as its part that is needed is shorter than the list of what that brings.
package metrics

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// MaxSeries is how many series one family tells apart.
const MaxSeries = 1000

// Other is the value of each label of all the others.
const Other = "other"

// ContentType of what Write writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// The upper bounds of histograms, in seconds and in bytes.
var (
	TimeBuckets = []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 14400, 86400}
	SizeBuckets = []float64{1 << 10, 1 << 14, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30, 1 << 32}
)

// Registry is a set of families. The zero value is ready.
type Registry struct {
	mu       sync.Mutex
	families []*family
}

type family struct {
	registry         *Registry
	name, help, kind string
	labels           []string
	bounds           []float64           // of a histogram
	series           map[string]*series  // by the label values, joined
	read             func(set SetSeries) // of a gauge
}

type series struct {
	values  []string
	count   uint64
	sum     float64  // of a gauge: its value
	buckets []uint64 // of histograms: how many fell into each, and not below it
}

// Counter counts. Times and Sizes are histograms of durations and of bytes.
type (
	Counter struct{ f *family }
	Times   struct{ f *family }
	Sizes   struct{ f *family }
)

// SetSeries tells the value of the series of a gauge that has these values of its labels.
type SetSeries func(value float64, labels ...string)

func (r *Registry) add(f family) *family {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.registry, f.series = r, map[string]*series{}
	r.families = append(r.families, &f)
	return &f
}

// Counter makes a family of counters; the name should end in _total.
func (r *Registry) Counter(name, help string, labels ...string) Counter {
	return Counter{r.add(family{name: name, help: help, kind: "counter", labels: labels})}
}

// Times makes a family of histograms; the name should end in _seconds.
func (r *Registry) Times(name, help string, labels ...string) Times {
	return Times{r.add(family{name: name, help: help, kind: "histogram", labels: labels, bounds: TimeBuckets})}
}

// Sizes makes a family of histograms; the name should end in _bytes.
func (r *Registry) Sizes(name, help string, labels ...string) Sizes {
	return Sizes{r.add(family{name: name, help: help, kind: "histogram", labels: labels, bounds: SizeBuckets})}
}

// Gauge makes a family of gauges, whose values read tells each time that they are written.
func (r *Registry) Gauge(name, help string, labels []string, read func(set SetSeries)) {
	r.add(family{name: name, help: help, kind: "gauge", labels: labels, read: read})
}

// of is the series with these values of the labels. The registry is locked.
func (f *family) of(values []string) *series {
	if len(values) != len(f.labels) {
		panic(fmt.Sprintf("metric %s has the labels %q, not the values %q", f.name, f.labels, values))
	}
	key := strings.Join(values, "\x00")
	s := f.series[key]
	if s == nil && len(f.series) >= MaxSeries {
		values = slices.Repeat([]string{Other}, len(values))
		key = strings.Join(values, "\x00")
		s = f.series[key]
	}
	if s == nil {
		s = &series{values: slices.Clone(values), buckets: make([]uint64, len(f.bounds))}
		f.series[key] = s
	}
	return s
}

// Inc adds one.
func (c Counter) Inc(labels ...string) { c.Add(1, labels...) }

// Add adds n.
func (c Counter) Add(n uint64, labels ...string) {
	c.f.registry.mu.Lock()
	defer c.f.registry.mu.Unlock()
	c.f.of(labels).count += n
}

// Observe counts a duration.
func (h Times) Observe(d time.Duration, labels ...string) { h.f.observe(d.Seconds(), labels) }

// Observe counts a number of bytes.
func (h Sizes) Observe(bytes int64, labels ...string) { h.f.observe(float64(bytes), labels) }

func (f *family) observe(v float64, labels []string) {
	f.registry.mu.Lock()
	defer f.registry.mu.Unlock()
	s := f.of(labels)
	s.count++
	s.sum += v
	if i, _ := slices.BinarySearch(f.bounds, v); i < len(f.bounds) {
		s.buckets[i]++
	}
}

// Write writes all families in the order in which they were made, each with its series sorted.
func (r *Registry) Write(out io.Writer) error {
	r.mu.Lock()
	families := slices.Clone(r.families)
	r.mu.Unlock()
	gauges := map[*family]map[string]*series{}
	for _, f := range families {
		if f.read != nil { // without the lock, as it may take that of others
			now := family{name: f.name, labels: f.labels, series: map[string]*series{}}
			f.read(func(v float64, labels ...string) { now.of(labels).sum += v }) // what is other adds up
			gauges[f] = now.series
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w := bufio.NewWriter(out)
	for _, f := range families {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", f.name, help.Replace(f.help), f.name, f.kind)
		all := f.series
		if f.read != nil {
			all = gauges[f]
		}
		for _, s := range slices.SortedFunc(maps.Values(all), func(a, b *series) int { return slices.Compare(a.values, b.values) }) {
			f.write(w, s)
		}
	}
	return w.Flush()
}

func (f *family) write(w io.Writer, s *series) {
	var labels []string
	for i, name := range f.labels {
		labels = append(labels, name+`="`+quoted.Replace(s.values[i])+`"`)
	}
	line := func(suffix, value string, more ...string) {
		set := ""
		if all := append(labels[:len(labels):len(labels)], more...); len(all) > 0 {
			set = "{" + strings.Join(all, ",") + "}"
		}
		fmt.Fprintf(w, "%s%s%s %s\n", f.name, suffix, set, value)
	}
	switch f.kind {
	case "gauge":
		line("", number(s.sum))
	case "counter":
		line("", strconv.FormatUint(s.count, 10))
	default:
		below := uint64(0)
		for i, n := range s.buckets {
			below += n
			line("_bucket", strconv.FormatUint(below, 10), `le="`+number(f.bounds[i])+`"`)
		}
		line("_bucket", strconv.FormatUint(s.count, 10), `le="+Inf"`)
		line("_sum", number(s.sum))
		line("_count", strconv.FormatUint(s.count, 10))
	}
}

// ServeHTTP implements http.Handler.
func (r *Registry) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", ContentType)
	_ = r.Write(w)
}

var (
	help   = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	quoted = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// number is +Inf where there is no bound.
func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
