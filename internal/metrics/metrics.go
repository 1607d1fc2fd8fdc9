// Package metrics keeps counters and histograms and writes them in Prometheus's text form (version 0.0.4). Each has one
// label, and the number of its values is bounded: what comes after the first thousand is counted under "other".
//
// It is here in place of Prometheus's own client, as its part that is needed is shorter than the list of what that brings.
package metrics

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// MaxValues is how many values of a label one family tells apart.
const MaxValues = 1000

// Other is the value of all the others.
const Other = "other"

// ContentType of what Write writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Buckets are the upper bounds of histograms, in seconds.
var Buckets = []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 14400, 86400}

// Registry is a set of families. The zero value is ready.
type Registry struct {
	mu       sync.Mutex
	families []*family
}

type family struct {
	registry          *Registry
	name, help, label string
	histogram         bool
	series            map[string]*series
}

type series struct {
	count   uint64
	sum     float64
	buckets []uint64 // of histograms: how many fell into each, and not below it
}

// Counter counts. Histogram counts durations.
type (
	Counter   struct{ f *family }
	Histogram struct{ f *family }
)

func (r *Registry) add(name, help, label string, histogram bool) *family {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &family{registry: r, name: name, help: help, label: label, histogram: histogram, series: map[string]*series{}}
	r.families = append(r.families, f)
	return f
}

// Counter makes a family of counters; the name should end in _total.
func (r *Registry) Counter(name, help, label string) Counter {
	return Counter{r.add(name, help, label, false)}
}

// Histogram makes a family of histograms; the name should end in _seconds.
func (r *Registry) Histogram(name, help, label string) Histogram {
	return Histogram{r.add(name, help, label, true)}
}

// of is the series of a value of the label. The registry is locked.
func (f *family) of(value string) *series {
	s := f.series[value]
	if s == nil && len(f.series) >= MaxValues {
		value = Other
		s = f.series[value]
	}
	if s == nil {
		s = &series{}
		if f.histogram {
			s.buckets = make([]uint64, len(Buckets))
		}
		f.series[value] = s
	}
	return s
}

// Inc adds one.
func (c Counter) Inc(value string) {
	c.f.registry.mu.Lock()
	defer c.f.registry.mu.Unlock()
	c.f.of(value).count++
}

// Observe counts a duration.
func (h Histogram) Observe(value string, d time.Duration) {
	h.f.registry.mu.Lock()
	defer h.f.registry.mu.Unlock()
	s := h.f.of(value)
	s.count++
	s.sum += d.Seconds()
	if i, _ := slices.BinarySearch(Buckets, d.Seconds()); i < len(Buckets) {
		s.buckets[i]++
	}
}

// Write writes all families in the order in which they were made, each with its values sorted.
func (r *Registry) Write(out io.Writer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := bufio.NewWriter(out)
	for _, f := range r.families {
		kind := "counter"
		if f.histogram {
			kind = "histogram"
		}
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", f.name, help.Replace(f.help), f.name, kind)
		values := make([]string, 0, len(f.series))
		for v := range f.series {
			values = append(values, v)
		}
		slices.Sort(values)
		for _, v := range values {
			s, label := f.series[v], f.label+`="`+quoted.Replace(v)+`"`
			if !f.histogram {
				fmt.Fprintf(w, "%s{%s} %d\n", f.name, label, s.count)
				continue
			}
			below := uint64(0)
			for i, n := range s.buckets {
				below += n
				fmt.Fprintf(w, "%s_bucket{%s,le=\"%s\"} %d\n", f.name, label, number(Buckets[i]), below)
			}
			fmt.Fprintf(w, "%s_bucket{%s,le=\"+Inf\"} %d\n%s_sum{%s} %s\n%s_count{%s} %d\n", f.name, label, s.count, f.name, label, number(s.sum), f.name, label, s.count)
		}
	}
	return w.Flush()
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

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
