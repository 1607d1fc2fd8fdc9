// Package metricstest reads Prometheus's text form (version 0.0.4) as strictly as its rules are written, for tests.
package metricstest

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Family is a metric with its series.
type Family struct {
	Name, Help, Type string
	Series           map[string]float64 // by what stands before the value: the name with suffix and labels
}

var (
	name   = `[a-zA-Z_:][a-zA-Z0-9_:]*`
	label  = `[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"`
	sample = regexp.MustCompile(`^((` + name + `)(?:\{(` + label + `(?:,` + label + `)*)\})?) (\S+)$`)
	one    = regexp.MustCompile(label)
	head   = regexp.MustCompile(`^# (HELP|TYPE) (` + name + `) (.*)$`)
	bucket = regexp.MustCompile(`,?le="([^"]*)"`)
	units  = regexp.MustCompile(`_(seconds|bytes)$`)
)

// Parse reads an exposition. It refuses what a scraper would, and names that are not as Prometheus wants them: counters end
// in _total and nothing else does, histograms have a unit, and each family's samples stand together below its HELP and TYPE.
func Parse(text string) (map[string]*Family, error) {
	families := map[string]*Family{}
	var f *Family
	if !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("the last line does not end")
	}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		bad := func(why string) error { return fmt.Errorf("line %d: %s: %s", i+1, why, line) }
		if h := head.FindStringSubmatch(line); h != nil {
			switch {
			case h[1] == "HELP" && families[h[2]] != nil:
				return nil, bad("a second HELP")
			case h[1] == "HELP":
				f = &Family{Name: h[2], Help: h[3], Series: map[string]float64{}}
				families[f.Name] = f
			case f == nil || f.Name != h[2] || f.Type != "":
				return nil, bad("TYPE not below its HELP")
			case !slices.Contains([]string{"counter", "gauge", "histogram"}, h[3]):
				return nil, bad("unknown type")
			default:
				f.Type = h[3]
			}
			continue
		}
		s := sample.FindStringSubmatch(line)
		if s == nil {
			return nil, bad("no sample")
		}
		if f == nil || f.Type == "" || f.base(s[2]) != f.Name {
			return nil, bad("not of the family above")
		}
		v, err := strconv.ParseFloat(s[4], 64)
		if err != nil {
			return nil, bad(err.Error())
		}
		var names []string
		for _, l := range one.FindAllString(s[3], -1) {
			n, _, _ := strings.Cut(l, "=")
			names = append(names, n)
		}
		if sorted := slices.Sorted(slices.Values(names)); len(slices.Compact(sorted)) != len(names) {
			return nil, bad("a label twice")
		}
		if _, twice := f.Series[s[1]]; twice {
			return nil, bad("a series twice")
		}
		if f.Type != "gauge" && (v < 0 || math.IsNaN(v)) {
			return nil, bad("less than nothing")
		}
		f.Series[s[1]] = v
	}
	for _, f := range families {
		if err := f.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return families, nil
}

func (f *Family) base(sample string) string {
	if f.Type == "histogram" {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(sample, suffix); ok {
				return base
			}
		}
		return ""
	}
	return sample
}

func (f *Family) check() error {
	switch total := strings.HasSuffix(f.Name, "_total"); {
	case f.Help == "" || f.Type == "":
		return fmt.Errorf("no HELP or no TYPE")
	case total != (f.Type == "counter"):
		return fmt.Errorf("counters and only they end in _total")
	case f.Type == "histogram" && !units.MatchString(f.Name):
		return fmt.Errorf("a histogram without a unit")
	case f.Type != "histogram":
		return nil
	}
	type histogram struct {
		last, bound, inf float64
		buckets          int
	}
	all := map[string]*histogram{}
	inOrder := map[string][][2]float64{}
	for series, v := range f.Series {
		if le := bucket.FindStringSubmatch(series); strings.HasPrefix(series, f.Name+"_bucket") {
			if le == nil {
				return fmt.Errorf("%s has no bound", series)
			}
			bound, err := strconv.ParseFloat(le[1], 64)
			if err != nil {
				return err
			}
			key := strings.TrimSuffix(strings.TrimPrefix(strings.Replace(series, le[0], "", 1), f.Name+"_bucket"), "{}")
			inOrder[key] = append(inOrder[key], [2]float64{bound, v})
		}
	}
	for key, buckets := range inOrder {
		slices.SortFunc(buckets, func(a, b [2]float64) int {
			if a[0] < b[0] {
				return -1
			}
			return 1
		})
		h := &histogram{}
		all[key] = h
		for _, b := range buckets {
			if b[1] < h.last {
				return fmt.Errorf("%s: bucket %g holds less than those below it", key, b[0])
			}
			h.last, h.bound = b[1], b[0]
		}
		count, counted := f.Series[f.Name+"_count"+key]
		_, summed := f.Series[f.Name+"_sum"+key]
		if !counted || !summed || !math.IsInf(h.bound, 1) || h.last != count {
			return fmt.Errorf("%s: +Inf, _count and _sum do not fit", key)
		}
	}
	if n := len(f.Series); n > 0 && len(all) == 0 {
		return fmt.Errorf("%d samples without buckets", n)
	}
	return nil
}
