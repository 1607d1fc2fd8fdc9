package spark_test

import (
	"os"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/spark"
)

var target = spark.Target{Master: "spark://m:1", Workers: 2, Cores: 1, MemoryMB: 1024, DriverMemoryMB: 2048}

func TestRewrite(t *testing.T) {
	b, err := os.ReadFile("testdata/rewrite.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, text := range strings.Split(string(b), "\n\n") {
		want := map[string][]string{}
		for line := range strings.Lines(text) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
				want[name] = append(want[name], strings.TrimSpace(value))
			}
		}
		if want["in"] == nil {
			continue
		}
		n++
		got := map[string][]string{"in": want["in"]}
		if s, err := spark.Rewrite(strings.Fields(want["in"][0]), target); err != nil {
			got["error"] = []string{err.Error()}
		} else {
			got["out"], got["heap"], got["note"] = []string{strings.Join(s.Args, " ")}, []string{s.DriverHeap}, s.Notes
		}
		for _, name := range []string{"out", "heap", "note", "error"} {
			if g, w := strings.Join(got[name], "\n"), strings.Join(want[name], "\n"); g != w {
				t.Errorf("%s\n%s:\n%s\nwant:\n%s", want["in"][0], name, g, w)
			}
		}
	}
	if n < 6 {
		t.Errorf("only %d cases were found", n)
	}
}

func FuzzRewrite(f *testing.F) {
	f.Add("--master\x00yarn\x00--conf\x00a=b\x00p.py\x00x")
	f.Fuzz(func(t *testing.T, line string) {
		s, err := spark.Rewrite(strings.Split(line, "\x00"), target)
		if err == nil && (len(s.Args) < 2 || s.Args[1] != target.Master) {
			t.Errorf("%q: %q", line, s.Args)
		}
	})
}
