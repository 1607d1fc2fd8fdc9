package conformance

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/clock"
)

var (
	update   = flag.Bool("update", false, "add what passes now to passing.txt")
	report   = flag.String("report", "", "write the table of areas to this file")
	endpoint = flag.String("endpoint", "", "run against this endpoint instead of one in this process")
	only     = flag.String("only", "", "run only cases whose area or name contains this text")
	diff     = flag.Bool("diff", false, "print what differs from AWS")
	jobs     = flag.Int("jobs", 8, "how many cases run at once")
)

func shared(t *testing.T) string {
	dir := os.Getenv("MAYFLY_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared")
	}
	dir = filepath.Join(dir, "asl-cases")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the recorded cases are missing: %v (set MAYFLY_SHARED)", err)
		}
		t.Skipf("the recorded cases are missing: %v (set MAYFLY_SHARED)", err)
	}
	return dir
}

// levels of passing, as passing.txt writes them.
const (
	byResult  = "result"
	byHistory = "history"
)

func level(o Outcome) string {
	switch {
	case o.Skipped != "" || o.Err != "" || !o.Result:
		return ""
	case o.HasHistory && o.History:
		return byHistory
	}
	return byResult
}

// TestConformance runs the recorded cases that are in scope. Those in passing.txt must pass, at the level that stands
// there; what else passes is added with -update.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute: not with -short")
	}
	cases, err := Load(shared(t))
	if err != nil {
		t.Fatal(err)
	}
	var mine []Case
	waits := map[string]map[string]int{} // area → reason → count
	total := map[string]int{}
	for _, c := range cases {
		total[c.Area]++
		if *only == "" || strings.Contains(c.Area+"/"+c.Name, *only) {
			mine = append(mine, c)
		}
	}
	r := &Runner{Endpoint: &Endpoint{URL: *endpoint, Account: "000000000000", Region: "us-east-1", HTTP: http.DefaultClient}, RunID: fmt.Sprint(os.Getpid()),
		Jobs: *jobs, Clock: clock.System{}, Timeout: 20, Services: map[string]bool{"s3": true, "iam": true, "logs": true, "sqs": true, "sns": true, "lambda": true}}
	if *endpoint == "" {
		r.Endpoint.URL, r.Services = serve(t, cases)
		r.Mocked = true
	}
	old := readPassing(t)
	outcomes := r.Run(mine)
	again(r, mine, outcomes, old)
	passing := maps.Clone(old)
	results, histories, scope := map[string]int{}, map[string]int{}, map[string]int{}
	misses := map[string]string{} // area/name → what is missed
	for _, o := range outcomes {
		id := o.Area + "/" + o.Name
		now := level(o)
		if o.Skipped != "" {
			count(waits, o.Area, o.Skipped)
		} else {
			scope[o.Area]++
		}
		if now != "" {
			results[o.Area]++
			if now == byHistory || !o.HasHistory {
				histories[o.Area]++
			}
		}
		switch {
		case o.Skipped != "":
		case now == "":
			misses[id] = byResult
		case now == byResult && o.HasHistory:
			misses[id] = byHistory
		}
		switch was := old[id]; {
		case was == byHistory && now != byHistory, was == byResult && now == "":
			t.Errorf("%s passed (%s) and does not any more: skipped %q, error %q\n%s", id, was, o.Skipped, o.Err, strings.Join(o.Diff, "\n"))
		case *diff && now != byHistory && (o.HasHistory || now == ""):
			t.Logf("%s: %q skipped %q, error %q\n%s", id, now, o.Skipped, o.Err, strings.Join(o.Diff, "\n"))
		}
		if now == byHistory || now != "" && passing[id] == "" {
			passing[id] = now
		}
	}
	if *update {
		writePassing(t, passing)
	}
	table := tableOf(total, scope, results, histories, waits) + missed(t, misses)
	t.Log("\n" + table)
	if *report != "" {
		if err := os.MkdirAll(filepath.Dir(*report), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(*report, []byte(header+table), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if *only == "" && len(outcomes) < 500 {
		t.Errorf("only %d cases ran", len(outcomes))
	}
}

// again runs what seems to be lost once more, one after the other: some recordings give a function a second from its cold
// start to its answer, which a busy machine cannot.
func again(r *Runner, cases []Case, outcomes []Outcome, old map[string]string) {
	var lost []Case
	var at []int
	for i, o := range outcomes {
		if was := old[o.Area+"/"+o.Name]; was != "" && level(o) != byHistory && level(o) != was {
			at = append(at, i)
			lost = append(lost, cases[slices.IndexFunc(cases, func(c Case) bool { return c.Area == o.Area && c.Name == o.Name })])
		}
	}
	second := *r
	second.Jobs, second.RunID = 1, r.RunID+"b"
	for i, o := range second.Run(lost) {
		outcomes[at[i]] = o
	}
}

func count(m map[string]map[string]int, area, why string) {
	if m[area] == nil {
		m[area] = map[string]int{}
	}
	m[area][why]++
}

const header = `# Conformance

What AWS Step Functions answered, run against Mayfly: ` + "`make conformance`" + ` writes this page. A case passes by result when status,
output, error and cause of its executions, or the outcomes of its calls, are those of AWS; by history when the whole
normalised history, or the whole answers, are. Cases that need what Mayfly does not have yet are counted, not run. Where a worker outside
of Step Functions completed a task, the runner plays it; what was recorded between two accounts runs within one.

`

func tableOf(total, scope, results, histories map[string]int, waits map[string]map[string]int) string {
	var b strings.Builder
	b.WriteString("| area | cases | run | by result | by history | not run, because |\n| --- | ---: | ---: | ---: | ---: | --- |\n")
	var sum [5]int
	for _, area := range slices.Sorted(maps.Keys(total)) {
		var why []string
		for _, w := range slices.Sorted(maps.Keys(waits[area])) {
			why = append(why, fmt.Sprintf("%s %d", w, waits[area][w]))
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %s |\n", area, total[area], scope[area], results[area], histories[area], strings.Join(why, ", "))
		for i, m := range []map[string]int{total, scope, results, histories} {
			sum[i] += m[area]
		}
	}
	fmt.Fprintf(&b, "| **all** | %d | %d | %d | %d | |\n", sum[0], sum[1], sum[2], sum[3])
	return b.String()
}

// missed tables the misses with the reasons that stand in misses.txt: lines of area/name, a tab, the reason.
func missed(t *testing.T, misses map[string]string) string {
	if len(misses) == 0 {
		return ""
	}
	text, err := os.ReadFile("misses.txt")
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if id, why, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok {
			reasons[id] = why
		}
	}
	var b strings.Builder
	b.WriteString("\nRun, and not as AWS answered:\n\n| case | missed by | because |\n| --- | --- | --- |\n")
	for _, id := range slices.Sorted(maps.Keys(misses)) {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", id, misses[id], cmp.Or(reasons[id], "**not explained yet**"))
	}
	return b.String()
}

const passingFile = "passing.txt"

// readPassing reads lines of level, blank, area/name.
func readPassing(t *testing.T) map[string]string {
	b, err := os.ReadFile(passingFile)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if l, id, ok := strings.Cut(line, " "); ok && !strings.HasPrefix(line, "#") {
			out[strings.TrimSpace(id)] = l
		}
	}
	return out
}

func writePassing(t *testing.T, passing map[string]string) {
	var b bytes.Buffer
	b.WriteString("# The recorded cases that pass, with the level: the list only grows (go test ./conformance -run TestConformance -update).\n")
	for _, id := range slices.Sorted(maps.Keys(passing)) {
		fmt.Fprintf(&b, "%-7s %s\n", passing[id], id)
	}
	if err := os.WriteFile(passingFile, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}
