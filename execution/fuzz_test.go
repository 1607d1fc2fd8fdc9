package execution_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/execution"
)

// FuzzParseResource checks that no ARN makes it panic, and that what it accepts can be put together again.
func FuzzParseResource(f *testing.F) {
	for _, s := range []string{"arn:aws:states:::lambda:invoke.waitForTaskToken", "arn:aws:states:::aws-sdk:s3:getObject", "arn:aws:states:::states:startExecution.sync:2",
		"arn:aws:lambda:us-east-1:000000000000:function:f:live", "arn:aws:states:us-east-1:000000000000:activity:a", "", "arn:::::", "arn:aws:states:::.sync"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := execution.ParseResource(s)
		if err != nil || r.Kind != execution.Service {
			return
		}
		partition := strings.Split(s, ":")[1]
		if again := "arn:" + partition + ":states:::" + r.Service + ":" + r.API + string(r.Pattern); again != s {
			t.Errorf("%q is put together as %q", s, again)
		}
	})
}

// FuzzFold checks that folding facts that nobody has decided neither panics nor loses the state's form.
func FuzzFold(f *testing.F) {
	f.Add([]byte(`[{"e":{"i":1,"t":0,"y":"ExecutionStarted","d":{"input":{}}},"n":{"begun":{"identity":{},"startAt":"A"}}},
	 {"e":{"i":2,"t":0,"y":"ParallelStateEntered","d":{"name":"A"}}},{"n":{"forked":{"branches":[{"block":"b","startAt":"c"}],"input":1}}},
	 {"a":"/0","n":{"joined":{}}},{"n":{"halted":{"last":1}}},{"n":{"dropped":{}}},{"n":{"backoff":{"retrier":2,"until":"2026-01-01T00:00:00Z"}}}]`))
	f.Add([]byte(`[{"a":"/9","n":{"iterated":{"index":9,"input":1}}},{"a":"/9","n":{"joined":{}}},{"n":{"bound":{"items":[1],"max":1}}},{"n":{"completed":{"task":1}}}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var facts []execution.Fact
		if json.Unmarshal(b, &facts) != nil || strings.Contains(string(b), "retrier") && len(b) > 2000 {
			return
		}
		s := &execution.Snapshot{}
		for _, x := range facts {
			if x.Note != nil && x.Note.Backoff != nil && (x.Note.Backoff.Retrier < 0 || x.Note.Backoff.Retrier > 100) {
				return // a journal holds what Decide gave: an index of the definition
			}
			execution.Apply(s, x)
		}
		if _, err := json.Marshal(s); err != nil {
			t.Errorf("the state cannot be written: %v", err)
		}
	})
}
