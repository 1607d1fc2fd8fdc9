package traffic

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden pins the bytes: the same seed gives the same files, on every machine.
func TestGolden(t *testing.T) {
	var got strings.Builder
	for _, seed := range []uint64{1, 7} {
		d, err := Generate(Default(seed))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{InputFile, TruthFile, EventsFile} {
			sum := sha256.Sum256(d.Files()[name])
			fmt.Fprintf(&got, "%s  seed %d %s\n", hex.EncodeToString(sum[:]), seed, name)
		}
	}
	const golden = "testdata/sha256.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the bytes changed:\n%swant:\n%s", got.String(), want)
	}
}

func TestData(t *testing.T) {
	c := Default(3)
	d, err := Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Readings) != c.Rows() || c.Rows() != 72576 {
		t.Fatalf("%d rows, want %d", len(d.Readings), c.Rows())
	}
	if Full(1).Rows() != 290304 {
		t.Errorf("the full size has %d rows", Full(1).Rows())
	}
	labels := map[Label]int{}
	var slow, moving int
	for _, r := range d.Readings {
		labels[r.Label]++
		if r.Volume < 0 || r.Speed < 0 || r.Occupancy < 0 || r.Occupancy > 1000 {
			t.Fatalf("no road and no sensor gives %+v", r)
		}
		if r.Label == Normal && r.Volume > 0 {
			moving++
			if r.Speed < 480 {
				slow++
			}
		}
	}
	if labels[Congestion] == 0 || len(d.Incidents) == 0 {
		t.Error("no incident is felt anywhere")
	}
	if slow*100 < moving {
		t.Errorf("the recurrent bottleneck is missing: %d slow rows of %d", slow, moving)
	}
	faults := 0
	for l, n := range labels {
		if l.IsFault() {
			faults += n
		}
	}
	if share := float64(faults) / float64(len(d.Readings)); share < 0.005 || share > 0.05 {
		t.Errorf("%.3f of the rows are faulty", share)
	}
	lines := bytes.Count(d.Truth(), []byte("\n"))
	if want := 1 + len(d.Readings) - labels[Normal]; lines != want {
		t.Errorf("%d lines of truth, want %d", lines, want)
	}
}

// TestFaultKinds makes sure that each kind occurs and changes the rows that it labels.
func TestFaultKinds(t *testing.T) {
	c := Default(1)
	c.FaultRate = 1
	broken, err := Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	c.FaultRate = 0
	clean, err := Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Label]int{}
	for i := range broken.Readings {
		b, k := broken.Readings[i], clean.Readings[i]
		changed := b.Volume != k.Volume || b.Speed != k.Speed || b.Occupancy != k.Occupancy
		if changed != b.Label.IsFault() {
			t.Fatalf("row %d: labelled %q, changed: %v", i, b.Label, changed)
		}
		seen[b.Label]++
	}
	for _, kind := range faultKinds {
		if seen[kind] < 100 {
			t.Errorf("%d rows of kind %s", seen[kind], kind)
		}
	}
}

func TestRefusedConfigs(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no highway": func(c *Config) { c.Highways = 0 }, "many highways": func(c *Config) { c.Highways = 7 },
		"no station": func(c *Config) { c.Stations = 0 }, "no lane": func(c *Config) { c.Lanes = 0 },
		"no day": func(c *Config) { c.Days = 0 }, "rate": func(c *Config) { c.FaultRate = math.NaN() },
	} {
		c := Default(1)
		change(&c)
		if _, err := Generate(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestExp(t *testing.T) {
	for x := -40.0; x < 3; x += 0.37 {
		if got, want := exp(x), math.Exp(x); math.Abs(got-want) > 1e-12*want {
			t.Errorf("exp(%v) = %v, want %v", x, got, want)
		}
	}
}
