package execution_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/cputime"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// BenchmarkTransition measures one transition in a long chain, with states of 1 KB and 200 KB: a Pass with ResultPath,
// entered and left.
func BenchmarkTransition(b *testing.B) {
	transitions(b, "JSONPath", `"Result":{"n":%d},"ResultPath":"$.result"`)
}

// BenchmarkTransitionJSONata is the same in JSONata: a Pass that counts in a variable.
func BenchmarkTransitionJSONata(b *testing.B) {
	transitions(b, "JSONata", `"Assign":{"result":"{%% $states.input.a.b[1] + %d %%}"}`)
}

func transitions(b *testing.B, language, fields string) {
	for _, size := range []int{1 << 10, 200 << 10} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			const states = 500
			var def strings.Builder
			fmt.Fprintf(&def, `{"QueryLanguage":%q,"StartAt":"S0","States":{`, language)
			for i := range states {
				next := fmt.Sprintf(`"Next":"S%d"`, i+1)
				if i == states-1 {
					next = `"End":true`
				}
				fmt.Fprintf(&def, `%s"S%d":{"Type":"Pass",`+fields+`,%s}`, map[bool]string{true: ",", false: ""}[i > 0], i, i, next)
			}
			def.WriteString("}}")
			m, diags := asl.Parse([]byte(def.String()), asl.ParseOptions{})
			if m == nil {
				b.Fatal(diags)
			}
			core := execution.Core{Limits: execution.DefaultLimits, Machine: func(string) *asl.StateMachine { return m }}
			input := jsonvalue.MustParse(`{"a":{"b":[1,2,3]},"text":"` + strings.Repeat("x", size-40) + `"}`)
			b.ReportAllocs()
			n := 0
			defer cputime.Report(b, "op", 1)()
			for b.Loop() {
				if n++; (n-1)%states != 0 {
					continue
				}
				s := &execution.Snapshot{}
				d, err := core.Decide(s, execution.Input{Start: &execution.Start{Input: input}}, execution.Env{Now: time.Unix(1, 0), Budget: 1 << 20})
				if err != nil || !d.Closed || s.Status != execution.Succeeded {
					b.Fatal(err, s.Status, s.Failure)
				}
			}
		})
	}
}

// BenchmarkFold measures recovery: reading the facts of a record of three Pass states and folding them.
func BenchmarkFold(b *testing.B) {
	m, _ := asl.Parse([]byte(`{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"},"B":{"Type":"Pass","Next":"C"},"C":{"Type":"Pass","End":true}}}`), asl.ParseOptions{})
	core := execution.Core{Machine: func(string) *asl.StateMachine { return m }}
	d, err := core.Decide(&execution.Snapshot{}, execution.Input{Start: &execution.Start{Input: jsonvalue.MustParse(`{"a":1}`)}}, execution.Env{Now: time.Unix(1, 0)})
	if err != nil {
		b.Fatal(err)
	}
	journal, err := json.Marshal(d.Facts)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var facts []execution.Fact
		if err := json.Unmarshal(journal, &facts); err != nil {
			b.Fatal(err)
		}
		s := &execution.Snapshot{}
		for _, f := range facts {
			execution.Apply(s, f)
		}
		if !s.Closed() {
			b.Fatal(s.Status)
		}
	}
}
