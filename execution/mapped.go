package execution

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// RunRef is the map run that a distributed Map waits for, or that it waited for when it failed.
type RunRef struct {
	ARN      string `json:"arn"`
	Redrives int64  `json:"redrives,omitempty"`
	Ended    bool   `json:"ended,omitempty"`
	Anew     bool   `json:"anew,omitempty"` // with Ended: a redrive starts a new run
}

// StartMap starts a map run. It is answered by MapDone.
type StartMap struct {
	Run   string `json:"run"` // its ARN
	Label string `json:"label"`
	asl.Distribution
	// What ItemSelector sees, besides the item.
	Block   string                     `json:"block,omitempty"` // of the Map state
	State   string                     `json:"state"`
	Entered int64                      `json:"entered"`
	Input   jsonvalue.Value            `json:"input"` // effective
	Context jsonvalue.Value            `json:"context,omitzero"`
	Vars    map[string]jsonvalue.Value `json:"vars,omitempty"` // those that the state reads
}

// distribute starts the map run of a distributed Map.
func (t *turn) distribute(a Addr, f *Frame, st *asl.MapState) {
	v := t.visit(a, f)
	effective, fail := v.EffectiveInput()
	var most int64
	if fail == nil {
		most, fail = v.MaxConcurrency(effective)
	}
	var items jsonvalue.Value
	var length int
	if fail == nil {
		items, length, fail = v.DistributedItems(effective)
	}
	if fail != nil {
		t.fail(a, *fail, "")
		return
	}
	t.emit(a, history.MapStateStarted, &history.Length{Length: int64(length)}, nil)
	d, fail := v.Distribute(effective)
	if fail != nil {
		t.fail(a, *fail, "")
		return
	}
	d.Items, d.Concurrency = items, most
	label := st.Distributed.Label
	if label == "" { // AWS: one is made that is unique for the state
		sum := sha256.Sum256([]byte(t.s.Identity.MachineARN + f.Block + "/States/" + f.State))
		label = uuid([16]byte(sum[:16]))
	}
	c := &StartMap{Run: t.mapRunARN(label), Label: label, Distribution: d, Block: f.Block, State: f.State, Entered: f.Entered, Input: effective, Context: v.Context}
	for _, name := range t.m.VariableReferences()[f.State] {
		if value, ok := t.s.lookup(a, name); ok {
			if c.Vars == nil {
				c.Vars = map[string]jsonvalue.Value{}
			}
			c.Vars[name] = value
		}
	}
	t.emit(a, history.MapRunStarted, &history.MapRun{ARN: c.Run}, &Note{Mapped: &Mapped{Run: c.Run}})
	t.bound(true)
	t.d.Commands = append(t.d.Commands, Command{Map: c})
}

// mapRunARN names a new map run of this machine.
func (t *turn) mapRunARN(label string) string {
	var b [16]byte
	for i, n := range []uint64{t.random(), t.random()} {
		for k := range 8 {
			b[8*i+k] = byte(n >> (8 * k))
		}
	}
	parts := strings.SplitN(t.s.Identity.MachineARN, ":", 6)
	for len(parts) < 6 {
		parts = append(parts, "")
	}
	name, _, _ := strings.Cut(t.s.Identity.MachineName, "/") // of a child: the machine that it belongs to
	return strings.Join(parts[:5], ":") + ":mapRun:" + name + "/" + label + ":" + uuid(b)
}

// uuid is 16 bytes as a UUID of version 4.
func uuid(b [16]byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// mapDone takes the end of a map run.
func (t *turn) mapDone(in MapDone) {
	a, f := t.mapFrame(in.Run)
	if f == nil || f.Await.Run.Ended || f.Await.Run.Redrives != in.Redrives {
		t.d.Reply.Stale = true
		return
	}
	if in.Failure == nil {
		t.emit(a, history.MapRunSucceeded, nil, &Note{Unmapped: &Unmapped{Anew: true}})
		if in.TooLarge {
			t.fail(a, asl.Failure{Error: asl.ErrDataLimitExceeded, Cause: "The state/task '" + f.State + "' returned a result with a size exceeding the maximum number of bytes service limit."}, "")
			return
		}
		t.emit(a, history.MapStateSucceeded, nil, nil)
		exit, fail := t.visit(a, f).Finish(in.Output)
		t.leaveOrFail(a, exit, fail)
		return
	}
	anew := in.Failure.Error == asl.ErrDataLimitExceeded || in.Failure.Error == asl.ErrRuntime
	t.emit(a, history.MapRunFailed, failureDetails(*in.Failure), &Note{Unmapped: &Unmapped{Anew: anew}})
	t.fail(a, *in.Failure, "")
}

// mapFrame is the frame that waits for a map run, nil when there is none.
func (t *turn) mapFrame(run string) (Addr, *Frame) {
	for _, a := range t.s.SortedFrames() {
		if f := t.s.Frames[a]; f.Await.Run != nil && f.Await.Run.ARN == run {
			return a, f
		}
	}
	return "", nil
}

// remap redrives the map run of a frame.
func (t *turn) remap(a Addr, f *Frame) {
	run := f.Await.Run
	if most := t.c.Limits.MapRedrives; most > 0 && run.Redrives >= most { // AWS: then States.Runtime
		t.fail(a, t.runtime(f, fmt.Sprintf("The map run has been redriven %d times, which is the most.", run.Redrives)), "")
		return
	}
	t.emit(a, history.MapRunRedriven, &history.MapRunRedrive{ARN: run.ARN, Count: run.Redrives + 1}, &Note{Remapped: &Remapped{}})
	t.d.Commands = append(t.d.Commands, Command{RedriveMap: &RedriveMap{Run: run.ARN, Redrives: run.Redrives}})
}

func applyMapped(fr *Frame, n *Note) {
	switch run := fr.Await.Run; {
	case n.Mapped != nil:
		fr.Await = Await{Run: &RunRef{ARN: n.Mapped.Run}}
	case run == nil:
	case n.Unmapped != nil:
		fr.Await.Run = &RunRef{ARN: run.ARN, Redrives: run.Redrives, Ended: true, Anew: n.Unmapped.Anew}
	case n.Remapped != nil:
		fr.Await.Run = &RunRef{ARN: run.ARN, Redrives: run.Redrives + 1}
	}
}
