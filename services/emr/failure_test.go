package emr

import (
	"os"
	"strings"
	"testing"
)

// TestFailureOf reads testdata/failures.txt: for each case the ends of stdout and stderr, and what DescribeStep shows.
func TestFailureOf(t *testing.T) {
	b, err := os.ReadFile("testdata/failures.txt")
	if err != nil {
		t.Fatal(err)
	}
	cases := strings.Split(string(b), "=== ")[1:]
	if len(cases) < 8 {
		t.Fatalf("only %d cases were found", len(cases))
	}
	for _, c := range cases {
		name, c, _ := strings.Cut(c, "\n")
		part := map[string]string{}
		for _, p := range strings.Split(c, "--- ")[1:] {
			key, text, _ := strings.Cut(p, "\n")
			part[key] = strings.TrimSuffix(text, "\n")
		}
		t.Run(name, func(t *testing.T) {
			message, file := failureOf(part["stdout"], part["stderr"])
			got := reasonOf(message) + "\n" + message + "\n" + file
			if want := strings.TrimSpace(part["shown"]); got != want {
				t.Errorf("shown:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func FuzzFailureOf(f *testing.F) {
	f.Add("Traceback (most recent call last):\nValueError: x\n", "Caused by: a.B: c\n")
	f.Fuzz(func(t *testing.T, stdout, stderr string) {
		if m, _ := failureOf(stdout, stderr); len(m) > maxMessage+len("…") {
			t.Errorf("%d bytes", len(m))
		}
	})
}
