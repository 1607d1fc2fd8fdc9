package execution

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Difference is one state, or the machine itself, that two definitions have differently.
type Difference struct {
	What    string // "added", "removed" or "changed"
	Pointer string // of the state; "/" is what the machine says outside of its states
}

// Differences compares two definitions state by state. A state that holds others counts as changed only by what it says
// itself.
func Differences(before, after *asl.StateMachine) (out []Difference) {
	old, fresh := describe(before), describe(after)
	for _, p := range old.order {
		switch v, ok := fresh.states[p]; {
		case !ok:
			out = append(out, Difference{"removed", p})
		case !jsonvalue.Equal(v, old.states[p]):
			out = append(out, Difference{"changed", p})
		}
	}
	for _, p := range fresh.order {
		if _, ok := old.states[p]; !ok {
			out = append(out, Difference{"added", p})
		}
	}
	return out
}

// description is a definition cut into its states.
type description struct {
	order  []string
	states map[string]jsonvalue.Value
}

func describe(m *asl.StateMachine) *description {
	d := &description{states: map[string]jsonvalue.Value{}}
	if v, err := jsonvalue.Parse(m.Text); err == nil {
		d.block("", v)
	}
	return d
}

func (d *description) block(pointer string, v jsonvalue.Value) {
	if pointer == "" {
		d.add("/", v, "States")
	} else {
		d.add(pointer, v, "States")
	}
	for name, st := range v.Member("States").Members() {
		p := pointer + "/States/" + name
		d.add(p, st, "Branches", "ItemProcessor", "Iterator")
		for i := range st.Member("Branches").Len() {
			d.block(p+"/Branches["+strconv.Itoa(i)+"]", st.Member("Branches").Index(i))
		}
		for _, name := range []string{"ItemProcessor", "Iterator"} {
			if b, ok := st.Get(name); ok {
				d.block(p+"/"+name, b)
			}
		}
	}
}

func (d *description) add(pointer string, v jsonvalue.Value, without ...string) {
	var members []jsonvalue.Member
	for name, value := range v.Members() {
		if !slices.Contains(without, name) {
			members = append(members, jsonvalue.M(name, value))
		}
	}
	d.order = append(d.order, pointer)
	d.states[pointer] = jsonvalue.Object(members...)
}

// Obstacles says why a closed execution could not go on with a definition: a sentence for each block or state that it
// stands in and that is not there.
func Obstacles(s *Snapshot, m *asl.StateMachine) (out []string) {
	var missing []string
	for _, a := range s.SortedFrames() {
		f := s.Frames[a]
		if f.Outcome != nil || slices.ContainsFunc(missing, func(p string) bool { return strings.HasPrefix(f.Block, p) }) {
			continue
		}
		name := f.State
		if name == "" {
			name = f.Next
		}
		where := f.Block
		if where == "" {
			where = "/"
		}
		block := m.BlockAt(f.Block)
		if block == nil {
			out = append(out, fmt.Sprintf("The execution stands in the block %s, which the new definition does not have", where))
			missing = append(missing, f.Block)
			continue
		}
		here := f.Block + "/States/" + name
		st := block.States[name]
		if st == nil {
			out = append(out, fmt.Sprintf("The execution stands in the state %s, which the new definition does not have", here))
			missing = append(missing, here+"/")
			continue
		}
		if m, ok := st.(*asl.MapState); f.Await.Run != nil && (!ok || m.Distributed == nil) {
			out = append(out, fmt.Sprintf("The execution stands in a map run of %s, which is no distributed Map in the new definition", here))
		} else if ok && f.Await.Join != nil && m.Distributed != nil {
			out = append(out, fmt.Sprintf("The execution stands in iterations of the inline Map %s, which is distributed in the new definition", here))
		}
		j := f.Await.Join
		if j == nil {
			continue
		}
		switch st := st.(type) {
		case *asl.ParallelState:
			if j.Items != nil {
				out = append(out, fmt.Sprintf("The execution stands in the Map %s, which is a Parallel in the new definition", here))
			} else if len(st.Branches) != j.Total {
				out = append(out, fmt.Sprintf("The execution stands in the Parallel %s with %d branches, which has %d in the new definition", here, j.Total, len(st.Branches)))
			}
		case *asl.MapState:
			if j.Items == nil {
				out = append(out, fmt.Sprintf("The execution stands in the Parallel %s, which is a Map in the new definition", here))
			}
		default:
			out = append(out, fmt.Sprintf("The execution stands in branches or iterations of %s, which is a %s in the new definition", here, st.Base().Type))
		}
	}
	return out
}
