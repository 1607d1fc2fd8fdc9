package judge

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/pipelines/emr/traffic"
)

// lines writes what the model program would for the readings that pick chooses.
func lines(d *traffic.Data, pick func(traffic.Reading) bool) string {
	var b strings.Builder
	for _, r := range d.Readings {
		if pick(r) {
			fmt.Fprintf(&b, "%d,%d,%d,%d,%d,%d,1,1,speed,9.00\n", r.Highway, r.Station, r.Sensor, r.Day, r.Minute, r.Volume)
		}
	}
	return b.String()
}

func TestJudge(t *testing.T) {
	d, err := traffic.Generate(traffic.Default(3))
	if err != nil {
		t.Fatal(err)
	}
	judge := func(days []int, pick func(traffic.Reading) bool) Verdict {
		t.Helper()
		v, err := Judge(d.Truth(), strings.NewReader(lines(d, pick)), days)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	perfect := judge(nil, func(r traffic.Reading) bool { return r.Label.IsFault() })
	if !perfect.Good() || perfect.Precision != 1 || perfect.Recall != 1 || perfect.DeadRuns == 0 || perfect.Faults == 0 {
		t.Errorf("the truth itself: %+v", perfect)
	}
	nothing := judge(nil, func(traffic.Reading) bool { return false })
	if nothing.Good() || nothing.Recall != 0 || nothing.DeadRunsFound != 0 {
		t.Errorf("nothing named: %+v", nothing)
	}
	everything := judge(nil, func(traffic.Reading) bool { return true })
	if everything.Good() || everything.Precision > 0.1 || everything.IncidentShare != 1 || everything.Recall != 1 {
		t.Errorf("everything named: %+v", everything)
	}
	congestion := judge(nil, func(r traffic.Reading) bool { return r.Label != traffic.Normal })
	if congestion.Good() || congestion.IncidentShare != 1 {
		t.Errorf("congestion taken for faults: %+v", congestion)
	}
	missed := false
	holes := judge(nil, func(r traffic.Reading) bool {
		if r.Label == traffic.Dead && r.Minute == 12*60 {
			missed = true
			return false
		}
		return r.Label.IsFault()
	})
	if missed && holes.DeadRunsFound >= holes.DeadRuns {
		t.Errorf("a run with a hole was counted as found: %+v", holes)
	}
	some := judge([]int{60, 61}, func(r traffic.Reading) bool { return r.Day <= 61 && r.Label.IsFault() })
	if !some.Good() || some.Faults >= perfect.Faults {
		t.Errorf("two days: %+v", some)
	}
}

func TestBadLines(t *testing.T) {
	for _, c := range [][2]string{{"h\n1,2,3\n", ""}, {"h\n1,x,3,4,dead\n", ""}, {"h\n", "1,2\n"}} {
		if _, err := Judge([]byte(c[0]), strings.NewReader(c[1]), nil); err == nil {
			t.Errorf("%q was read", c)
		}
	}
}
