package maprun_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/maprun"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// inline is the spec of a run over n items of its state's own data.
func inline(n int, change func(*maprun.Spec)) *maprun.Spec {
	items := make([]jsonvalue.Value, n)
	for i := range items {
		items[i] = jsonvalue.Int(int64(i))
	}
	s := &maprun.Spec{Parent: "arn:x", MaxOutput: 1000}
	s.Run, s.Items = "arn:run", jsonvalue.Array(items...)
	if change != nil {
		change(s)
	}
	return s
}

// script is a run with what it has asked for.
type script struct {
	t    *testing.T
	r    maprun.Run
	last maprun.Decision
}

func (s *script) give(in maprun.Input) maprun.Decision {
	s.t.Helper()
	d, err := maprun.Decide(&s.r, in, start)
	if err != nil {
		s.t.Fatal(err)
	}
	s.last = d
	return d
}

func children(n int) (out []maprun.Child) {
	for range n {
		out = append(out, maprun.Child{Input: jsonvalue.Int(1), Items: 1})
	}
	return out
}

func ok(n int64) maprun.Done {
	return maprun.Done{N: n, Status: execution.Succeeded, Output: jsonvalue.Int(n)}
}

func bad(n int64) maprun.Done { return maprun.Done{N: n, Status: execution.Failed} }

// commands are the names of what a decision asks for.
func commands(d maprun.Decision) (names []string) {
	for _, c := range d.Commands {
		v := reflect.ValueOf(c)
		for i := range v.NumField() {
			if !v.Field(i).IsNil() {
				names = append(names, v.Type().Field(i).Name)
			}
		}
	}
	return names
}

func TestDecide(t *testing.T) {
	read := func(n int, all bool) maprun.Input {
		return maprun.Input{Read: &maprun.Read{Children: children(n), Cursor: "c", All: all}}
	}
	done := func(d ...maprun.Done) maprun.Input { return maprun.Input{Done: d} }
	finished := maprun.Input{Finished: &maprun.Finished{Output: jsonvalue.Null}}
	again := maprun.Input{Finished: &maprun.Finished{Output: jsonvalue.Null, Redrives: 1}}
	number := func(n int64) *int64 { return &n }
	percent := func(n float64) *float64 { return &n }
	for name, c := range map[string]struct {
		spec   func(*maprun.Spec)
		inputs []maprun.Input
		wants  [][]string // the commands of each input, the start's first
		status execution.Status
	}{
		"all well":         {nil, []maprun.Input{read(3, true), done(ok(0), ok(2)), done(ok(1)), finished}, [][]string{{"Read"}, {"Launch"}, nil, {"Finish"}, nil}, execution.Succeeded},
		"reads on":         {nil, []maprun.Input{read(2, false), read(1, true)}, [][]string{{"Read"}, {"Launch", "Read"}, {"Launch"}}, execution.Running},
		"waits for room":   {func(s *maprun.Spec) { s.Concurrency = 2 }, []maprun.Input{read(2, false), done(ok(0))}, [][]string{{"Read"}, {"Launch"}, {"Read"}}, execution.Running},
		"no items":         {nil, []maprun.Input{read(0, true), finished}, [][]string{{"Read"}, {"Finish"}, nil}, execution.Succeeded},
		"twice the same":   {nil, []maprun.Input{read(1, true), done(ok(0), ok(0)), done(ok(0)), finished, finished}, [][]string{{"Read"}, {"Launch"}, {"Finish"}, nil, nil, nil}, execution.Succeeded},
		"fails":            {nil, []maprun.Input{read(3, true), done(bad(1)), done(ok(0), maprun.Done{N: 2, Status: execution.Aborted})}, [][]string{{"Read"}, {"Launch"}, {"Abort"}, nil}, execution.Failed},
		"fails, reading":   {nil, []maprun.Input{read(1, false), done(bad(0)), read(2, false)}, [][]string{{"Read"}, {"Launch", "Read"}, nil, nil}, execution.Failed},
		"cannot read":      {nil, []maprun.Input{{Read: &maprun.Read{Failure: &asl.Failure{Error: asl.ErrItemReaderFailed}}}}, [][]string{{"Read"}, nil}, execution.Failed},
		"tolerates one":    {func(s *maprun.Spec) { s.Tolerance.Count = 1 }, []maprun.Input{read(3, true), done(bad(1), ok(0)), done(ok(2)), finished}, [][]string{{"Read"}, {"Launch"}, nil, {"Finish"}, nil}, execution.Succeeded},
		"tolerates, but":   {func(s *maprun.Spec) { s.Tolerance.Count = 1 }, []maprun.Input{read(3, true), done(bad(1), bad(0))}, [][]string{{"Read"}, {"Launch"}, {"Abort"}}, execution.Running},
		"a third":          {func(s *maprun.Spec) { s.Tolerance.Percent = 34 }, []maprun.Input{read(3, true), done(bad(1))}, [][]string{{"Read"}, {"Launch"}, nil}, execution.Running},
		"more than a part": {func(s *maprun.Spec) { s.Tolerance.Percent = 33 }, []maprun.Input{read(3, true), done(bad(1))}, [][]string{{"Read"}, {"Launch"}, {"Abort"}}, execution.Running},
		"either of both": {func(s *maprun.Spec) { s.Tolerance = asl.Tolerance{Count: 1, Percent: 100} }, []maprun.Input{read(3, true), done(bad(1), bad(0))},
			[][]string{{"Read"}, {"Launch"}, {"Abort"}}, execution.Running},
		"raised":          {nil, []maprun.Input{{Update: &maprun.Update{Count: number(2)}}, read(3, true), done(bad(0), bad(1)), done(ok(2)), finished}, [][]string{{"Read"}, nil, {"Launch"}, nil, {"Finish"}, nil}, execution.Succeeded},
		"raised in parts": {nil, []maprun.Input{{Update: &maprun.Update{Percent: percent(67)}}, read(3, true), done(bad(0), bad(1)), done(ok(2)), finished}, [][]string{{"Read"}, nil, {"Launch"}, nil, {"Finish"}, nil}, execution.Succeeded},
		"lowered": {func(s *maprun.Spec) { s.Tolerance.Count = 2 }, []maprun.Input{read(3, true), done(bad(0), bad(1)), {Update: &maprun.Update{Count: number(0), Percent: percent(1)}}},
			[][]string{{"Read"}, {"Launch"}, nil, {"Abort"}}, execution.Running},
		"wider":    {func(s *maprun.Spec) { s.Concurrency = 1 }, []maprun.Input{read(1, false), {Update: &maprun.Update{Concurrency: number(2)}}}, [][]string{{"Read"}, {"Launch"}, {"Read"}}, execution.Running},
		"stopped":  {nil, []maprun.Input{read(2, true), {Stop: &maprun.Stop{}}, done(ok(0))}, [][]string{{"Read"}, {"Launch"}, {"Abort"}, nil}, execution.Aborted},
		"too late": {nil, []maprun.Input{read(2, true), {Stop: &maprun.Stop{Redrives: 1}}}, [][]string{{"Read"}, {"Launch"}, nil}, execution.Running},
		"redriven": {nil, []maprun.Input{read(2, true), done(bad(0), ok(1)), {Redrive: &maprun.Redrive{}}, {Redrive: &maprun.Redrive{}}, {Stop: &maprun.Stop{}}, done(ok(0)), finished, again},
			[][]string{{"Read"}, {"Launch"}, nil, {"Redo"}, nil, nil, {"Finish"}, nil, nil}, execution.Succeeded},
		"redriven, and refused": {nil, []maprun.Input{read(2, true), done(bad(0), ok(1)), {Redrive: &maprun.Redrive{}}, done(maprun.Done{N: 0, Status: execution.Failed, Final: true}), {Redrive: &maprun.Redrive{Redrives: 1}}},
			[][]string{{"Read"}, {"Launch"}, nil, {"Redo"}, nil, nil}, execution.Failed},
		"an end of before the redrive": {nil, []maprun.Input{read(1, true), done(bad(0)), {Redrive: &maprun.Redrive{}}, done(maprun.Done{N: 0, Status: execution.Aborted, Stopped: start.Add(-time.Second)}),
			done(maprun.Done{N: 0, Status: execution.Succeeded, Stopped: start.Add(-time.Second)})}, [][]string{{"Read"}, {"Launch"}, nil, {"Redo"}, nil, {"Finish"}}, execution.Running},
		"the writer fails": {func(s *maprun.Spec) { s.Writer = &asl.Writing{Resource: asl.WriteObject} }, []maprun.Input{read(1, true), done(ok(0)), {Finished: &maprun.Finished{Failure: &asl.Failure{Error: asl.ErrResultWriterFailed}}},
			{Redrive: &maprun.Redrive{}}, again}, [][]string{{"Read"}, {"Launch"}, {"Finish"}, nil, {"Finish"}, nil}, execution.Succeeded},
		"written though it fails": {func(s *maprun.Spec) { s.Writer = &asl.Writing{Resource: asl.WriteObject} }, []maprun.Input{read(1, true), done(bad(0)), finished}, [][]string{{"Read"}, {"Launch"}, {"Finish"}, nil}, execution.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{t: t}
			for i, in := range append([]maprun.Input{{Start: inline(3, c.spec)}}, c.inputs...) {
				if got := commands(s.give(in)); !slices.Equal(got, c.wants[i]) {
					t.Errorf("input %d asks for %v; want %v", i, got, c.wants[i])
				}
			}
			if s.r.Status != c.status || s.last.Closed != s.r.Closed() {
				t.Errorf("%s, want %s: %+v", s.r.Status, c.status, s.r)
			}
		})
	}
}

// TestRandom gives a run whatever may come, in any order, with crashes; the world carries out what it asks for. Every item
// ends in one child, each child is counted once, and the parent hears of each end once.
func TestRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(0, 40).Draw(t, "items")
		reader := rapid.Bool().Draw(t, "reader")
		spec := inline(total, func(s *maprun.Spec) {
			s.Concurrency = rapid.Int64Range(0, 6).Draw(t, "concurrency")
			s.Tolerance = asl.Tolerance{Count: rapid.Int64Range(0, 9).Draw(t, "count"), Percent: float64(rapid.IntRange(0, 100).Draw(t, "percent"))}
			if reader {
				s.Items, s.Reader = jsonvalue.Value{}, &asl.Reading{}
			}
			if rapid.Bool().Draw(t, "writer") {
				s.Writer = &asl.Writing{Resource: asl.WriteObject}
			}
		})
		var r maprun.Run
		var journal [][]byte
		type child struct {
			items  int64
			status execution.Status // of the world: RUNNING until it ends
		}
		world := map[int64]*child{}
		position := map[string]int{"": 0} // of cursors
		launched := map[int64]bool{}
		var todo []maprun.Command
		most, wanted := int64(0), true
		give := func(in maprun.Input) {
			d, err := maprun.Decide(&r, in, start)
			if err != nil {
				t.Fatal(err)
			}
			todo = append(todo, d.Commands...)
			if d.Done != nil {
				if !wanted || d.Done.Redrives != r.Redrives || d.Done.Run != "arn:run" {
					t.Fatalf("the parent hears %+v, and waits: %v", d.Done, wanted)
				}
				wanted = false
			}
			b, err := json.Marshal(d.Facts)
			if err != nil {
				t.Fatal(err)
			}
			journal = append(journal, b)
			if most = max(most, r.Limit()); int64(len(r.Open)) > most {
				t.Fatalf("%d children are open, %d may be", len(r.Open), most)
			}
			var items int64
			for _, n := range r.Open {
				items += n
			}
			if r.Items.Running != items || r.Executions.Running != int64(len(r.Open)) {
				t.Fatalf("%d items run in %d children; counted %+v %+v", items, len(r.Open), r.Items, r.Executions)
			}
			for _, c := range []maprun.Counts{r.Items, r.Executions} {
				if c.Pending < 0 || c.Running < 0 || c.Succeeded < 0 || c.Failed < 0 || c.TimedOut < 0 || c.Aborted < 0 || c.PendingRedrive < 0 {
					t.Fatalf("counted %+v", c)
				}
			}
			if r.Next != r.Executions.Total()-r.Executions.Pending {
				t.Fatalf("%d children, counted %+v", r.Next, r.Executions)
			}
			if r.Lost.Len()+r.Again.Len() != r.Executions.Failed+r.Executions.TimedOut+r.Executions.Aborted+r.Executions.PendingRedrive {
				t.Fatalf("lost %d, again %d, counted %+v", r.Lost.Len(), r.Again.Len(), r.Executions)
			}
		}
		// carry does one command; tame ones never fail.
		carry := func(c maprun.Command, tame bool) {
			switch {
			case c.Read != nil:
				at := position[c.Read.Cursor]
				if !tame && rapid.IntRange(0, 19).Draw(t, "broken") == 0 {
					give(maprun.Input{Read: &maprun.Read{Failure: &asl.Failure{Error: asl.ErrItemReaderFailed}, Redrives: c.Read.Redrives}})
					return
				}
				in := &maprun.Read{Redrives: c.Read.Redrives}
				for int64(len(in.Children)) < c.Read.Max && at < total {
					size := min(rapid.IntRange(1, 3).Draw(t, "batch"), total-at)
					at += size
					in.Children = append(in.Children, maprun.Child{Items: int64(size), Input: jsonvalue.Int(int64(at))})
				}
				in.Cursor, in.All = time.Duration(at).String(), at == total
				position[in.Cursor] = at
				give(maprun.Input{Read: in})
			case c.Launch != nil:
				for i, x := range c.Launch.Children {
					n := c.Launch.First + int64(i)
					if launched[n] {
						t.Fatalf("child %d is launched twice", n)
					}
					launched[n] = true
					world[n] = &child{x.Items, execution.Running}
				}
			case c.Redo != nil:
				for _, n := range c.Redo.Children {
					if w := world[n]; w == nil {
						todo = append(todo, maprun.Command{Redo: &maprun.Redo{Children: []int64{n}}}) // its launch is still to come
					} else if w.status == execution.Succeeded || !tame && w.status != execution.Running && rapid.IntRange(0, 9).Draw(t, "refused") == 0 {
						give(maprun.Input{Done: []maprun.Done{{N: n, Status: w.status, Final: w.status != execution.Succeeded}}})
					} else {
						w.status = execution.Running
					}
				}
			case c.Abort != nil && c.Abort.Redrives == r.Redrives:
				for _, n := range c.Abort.Children {
					if w := world[n]; w != nil && w.status == execution.Running {
						w.status = execution.Aborted
						give(maprun.Input{Done: []maprun.Done{{N: n, Status: execution.Aborted}}})
					} else if w == nil {
						todo = append(todo, maprun.Command{Abort: &maprun.Abort{Children: []int64{n}, Redrives: c.Abort.Redrives}})
					}
				}
			case c.Finish != nil:
				f := &maprun.Finished{Output: jsonvalue.Null, Redrives: c.Finish.Redrives}
				if !tame && rapid.IntRange(0, 9).Draw(t, "unwritten") == 0 {
					f = &maprun.Finished{Failure: &asl.Failure{Error: asl.ErrResultWriterFailed}, Redrives: c.Finish.Redrives}
				}
				give(maprun.Input{Finished: f})
			}
		}
		end := func(tame bool) {
			var running []int64
			for n, w := range world {
				if w.status == execution.Running {
					running = append(running, n)
				}
			}
			if len(running) == 0 {
				return
			}
			slices.Sort(running)
			n := rapid.SampledFrom(running).Draw(t, "child")
			status := execution.Succeeded
			if !tame {
				status = rapid.SampledFrom([]execution.Status{execution.Succeeded, execution.Succeeded, execution.Succeeded, execution.Failed, execution.TimedOut, execution.Aborted}).Draw(t, "status")
			}
			world[n].status = status
			give(maprun.Input{Done: []maprun.Done{{N: n, Status: status}}})
		}
		one := func(tame bool) {
			if k := rapid.IntRange(0, 2*len(todo)+1).Draw(t, "which"); k < len(todo) {
				c := todo[k]
				todo = slices.Delete(todo, k, k+1)
				carry(c, tame)
			} else {
				end(tame)
			}
		}
		give(maprun.Input{Start: spec})
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			switch rapid.IntRange(0, 24).Draw(t, "what") {
			case 0:
				wanted = wanted && r.Status != execution.Running
				give(maprun.Input{Stop: &maprun.Stop{Redrives: r.Redrives}})
			case 1:
				if r.Status != execution.Succeeded {
					wanted = true
				}
				give(maprun.Input{Redrive: &maprun.Redrive{Redrives: r.Redrives}})
			case 2:
				n := rapid.Int64Range(0, 8).Draw(t, "n")
				give(maprun.Input{Update: &maprun.Update{Concurrency: &n, Count: &n}})
			case 3: // what nobody asked for
				give(maprun.Input{Done: []maprun.Done{{N: rapid.Int64Range(-1, 50).Draw(t, "stray") + 100, Status: execution.Failed}}})
				give(maprun.Input{Redrive: &maprun.Redrive{Redrives: r.Redrives + 1}})
			case 4: // a crash
				var folded maprun.Run
				for _, b := range journal {
					var facts []maprun.Fact
					if err := json.Unmarshal(b, &facts); err != nil {
						t.Fatal(err)
					}
					for _, f := range facts {
						maprun.Apply(&folded, f)
					}
				}
				live, _ := json.Marshal(r)
				again, _ := json.Marshal(folded)
				if string(live) != string(again) {
					t.Fatalf("the folded journal is not the state:\n%s\n%s", live, again)
				}
				var snapshot maprun.Run
				if err := json.Unmarshal(live, &snapshot); err != nil {
					t.Fatal(err)
				}
				r = snapshot
			default:
				one(false)
			}
		}
		for i := 0; r.Status == execution.Running; i++ {
			if i > 5000 {
				t.Fatalf("it never ends: %+v with %d commands", r, len(todo))
			}
			one(true)
		}
		if r.Status == execution.Succeeded {
			covered := int64(0)
			for n := range launched {
				covered += world[n].items
			}
			if covered != int64(total) || r.Items.Total() != int64(total) || r.Items.Pending+r.Items.Running+r.Items.PendingRedrive != 0 {
				t.Fatalf("%d of %d items have a child; counted %+v", covered, total, r.Items)
			}
		}
		if wanted && r.Status != execution.Aborted {
			t.Fatalf("the run is %s and the parent did not hear of it", r.Status)
		}
		if len(slices.Collect(maps.Keys(r.Open))) > 0 {
			t.Fatalf("ended with open children: %+v", r)
		}
	})
}

func TestSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s maprun.Set
		model := map[int64]bool{}
		for range rapid.IntRange(0, 50).Draw(t, "steps") {
			n := rapid.Int64Range(0, 300).Draw(t, "n")
			if rapid.Bool().Draw(t, "add") {
				s.Add(n)
				model[n] = true
			} else {
				s.Remove(n)
				delete(model, n)
			}
		}
		want := slices.Sorted(maps.Keys(model))
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var again maprun.Set
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatal(err)
		}
		for _, s := range []maprun.Set{s, again} {
			if got := slices.Collect(s.All()); !slices.Equal(got, want) || s.Len() != int64(len(want)) {
				t.Fatalf("%v, want %v", got, want)
			}
		}
	})
}
