// Package judge compares the anomalies that the model program named with the truth that package traffic wrote.
//
// What counts: dead detectors are judged by runs, because a single row of zeros can be true; every other fault is judged
// row by row. True congestion that is named a fault is counted apart. It knows nothing of how faults were found.
package judge

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/pipelines/emr/traffic"
)

// Verdict says how good the anomalies are.
type Verdict struct {
	Anomalies     int     `json:"anomalies"`     // readings named
	Faults        int     `json:"faults"`        // readings that are faulty, without the dead
	Precision     float64 `json:"precision"`     // of the readings named (without the dead), the share that is faulty
	Recall        float64 `json:"recall"`        // of the faulty readings (without the dead), the share that was named
	IncidentShare float64 `json:"incidentShare"` // of the readings in true congestion, the share that was named
	DeadRuns      int     `json:"deadRuns"`      // detectors silent by day for half an hour or longer
	DeadRunsFound int     `json:"deadRunsFound"`
	// Kinds is the recall of each kind of fault.
	Kinds map[traffic.Label]float64 `json:"kinds"`
}

// Good reports whether the verdict meets what the detector promises.
func (v Verdict) Good() bool {
	return v.Precision >= 0.9 && v.Recall >= 0.9 && v.IncidentShare <= 0.15 && v.DeadRunsFound == v.DeadRuns
}

func (v Verdict) String() string {
	return fmt.Sprintf("precision %.3f, recall %.3f, %.1f %% of congestion named a fault, %d of %d dead detectors found", v.Precision, v.Recall, 100*v.IncidentShare, v.DeadRunsFound, v.DeadRuns)
}

type key struct{ sensor, day, minute int }

// A run of a dead detector counts by day, when traffic is certain.
const (
	dayBegins, dayEnds = 6 * 60, 21 * 60
	deadRun            = 6 // readings: half an hour
	interval           = 5
)

// Judge reads truth (_truth.csv) and anomalies (the model program's lines). Only the given days count, those of which the
// program's mode is about; nil: all.
func Judge(truth []byte, anomalies io.Reader, days []int) (Verdict, error) {
	v := Verdict{Kinds: map[traffic.Label]float64{}}
	covered := map[int]bool{}
	for _, d := range days {
		covered[d] = true
	}
	labels := map[key]traffic.Label{}
	s := bufio.NewScanner(bytes.NewReader(truth))
	for n := 0; s.Scan(); n++ {
		f := strings.Split(s.Text(), ",")
		if n == 0 {
			continue // headings
		}
		k, err := keyOf(f, 1, 2, 3)
		if err != nil || len(f) != 5 {
			return v, fmt.Errorf("truth, line %d: %q", n+1, s.Text())
		}
		if days == nil || covered[k.day] {
			labels[k] = traffic.Label(f[4])
		}
	}
	if err := s.Err(); err != nil {
		return v, err
	}

	named := map[key]bool{}
	s = bufio.NewScanner(anomalies)
	for n := 1; s.Scan(); n++ {
		f := strings.Split(s.Text(), ",")
		k, err := keyOf(f, 2, 3, 4)
		if err != nil {
			return v, fmt.Errorf("anomalies, line %d: %q", n, s.Text())
		}
		named[k] = true
	}
	if err := s.Err(); err != nil {
		return v, err
	}

	v.Anomalies = len(named)
	all, hit := map[traffic.Label]int{}, map[traffic.Label]int{}
	for k, l := range labels {
		all[l]++
		if named[k] {
			hit[l]++
		}
	}
	found := 0
	for l, n := range all {
		if l.IsFault() {
			v.Kinds[l] = share(hit[l], n)
		}
		if l.IsFault() && l != traffic.Dead {
			v.Faults += n
			found += hit[l]
		}
	}
	v.Precision = share(found, len(named)-hit[traffic.Dead])
	v.Recall = share(found, v.Faults)
	v.IncidentShare = 0
	if n := all[traffic.Congestion]; n > 0 {
		v.IncidentShare = float64(hit[traffic.Congestion]) / float64(n)
	}
	for k, l := range labels {
		if l != traffic.Dead || !byDay(k.minute) || dead(labels, before(k)) {
			continue
		}
		length, seen := 0, 0 // k begins a run
		for ; dead(labels, k); k.minute += interval {
			length++
			if named[k] {
				seen++
			}
		}
		if length >= deadRun {
			v.DeadRuns++
			if seen == length {
				v.DeadRunsFound++
			}
		}
	}
	return v, nil
}

func byDay(minute int) bool { return minute >= dayBegins && minute < dayEnds }

func before(k key) key { k.minute -= interval; return k }

func dead(labels map[key]traffic.Label, k key) bool {
	return byDay(k.minute) && labels[k] == traffic.Dead
}

// share is a of b; of nothing, all.
func share(a, b int) float64 {
	if b == 0 {
		return 1
	}
	return float64(a) / float64(b)
}

func keyOf(f []string, sensor, day, minute int) (key, error) {
	var k key
	for _, p := range []struct {
		at   int
		into *int
	}{{sensor, &k.sensor}, {day, &k.day}, {minute, &k.minute}} {
		if p.at >= len(f) {
			return k, io.ErrUnexpectedEOF
		}
		n, err := strconv.Atoi(f[p.at])
		if err != nil {
			return k, err
		}
		*p.into = n
	}
	return k, nil
}
