package maprun

import (
	"errors"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Input is one thing that happened outside: exactly one of its fields.
type Input struct {
	Start    *Spec     `json:"start,omitempty"`
	Read     *Read     `json:"read,omitempty"`
	Done     []Done    `json:"done,omitempty"`
	Finished *Finished `json:"finished,omitempty"`
	Update   *Update   `json:"update,omitempty"`
	Stop     *Stop     `json:"stop,omitempty"`
	Redrive  *Redrive  `json:"redrive,omitempty"`
}

type (
	// Read answers the command of that name.
	Read struct {
		Children []Child      `json:"children,omitempty"`
		Cursor   string       `json:"cursor,omitempty"`
		All      bool         `json:"all,omitempty"` // there are no more items
		Failure  *asl.Failure `json:"failure,omitempty"`
		Redrives int64        `json:"redrives,omitempty"` // as in ReadItems
	}
	// Finished answers Finish.
	Finished struct {
		Output   jsonvalue.Value `json:"output,omitzero"`
		Written  int64           `json:"written,omitempty"`  // records of the ResultWriter
		TooLarge bool            `json:"tooLarge,omitempty"` // the outputs do not fit into a state
		Failure  *asl.Failure    `json:"failure,omitempty"`
		Redrives int64           `json:"redrives,omitempty"` // as in Finish
	}
	// Update is UpdateMapRun; nil: unchanged.
	Update struct {
		Concurrency *int64   `json:"concurrency,omitempty"`
		Count       *int64   `json:"count,omitempty"`
		Percent     *float64 `json:"percent,omitempty"`
	}
	// Stop aborts the run with its parent, unless it has been redriven more often than that since.
	Stop struct {
		Redrives int64 `json:"redrives,omitempty"`
	}
	// Redrive continues a run that has been redriven so many times before. When it comes before the Stop that preceded it,
	// the run just goes on.
	Redrive struct {
		Redrives int64  `json:"redrives,omitempty"`
		Digest   string `json:"digest,omitempty"` // of the definition that the parent has now
	}
)

// Fact is what happened: exactly one of its fields.
type Fact struct {
	Started   *Started    `json:"started,omitempty"`
	Asked     *Asked      `json:"asked,omitempty"`
	Launched  *Launched   `json:"launched,omitempty"`
	Relaunch  []int64     `json:"relaunched,omitempty"`
	Ended     []Done      `json:"ended,omitempty"`
	Failing   *Failing    `json:"failing,omitempty"`
	Finishing *Finishing  `json:"finishing,omitempty"`
	Updated   *Update     `json:"updated,omitempty"`
	Closed    *Closed     `json:"closed,omitempty"`
	Redriven  *RedrivenAt `json:"redriven,omitempty"`
}

type (
	// Started begins the run.
	Started struct {
		Spec Spec      `json:"spec"`
		At   time.Time `json:"at"`
	}
	// Asked: items are being read, for up to Max children.
	Asked struct {
		Max int64 `json:"max"`
	}
	// Launched: items were read, and children started of them. Their numbers follow each other.
	Launched struct {
		Cursor string  `json:"cursor,omitempty"`
		All    bool    `json:"all,omitempty"`
		Count  int64   `json:"count,omitempty"`
		Sizes  []int64 `json:"sizes,omitempty"` // items of each; none: one each
	}
	// Failing: the run will fail once all open children have ended.
	Failing struct {
		Failure asl.Failure `json:"failure"`
	}
	// Finishing: all children have ended, and the results are put together.
	Finishing struct{}
	// Closed ends the run. Open children count as aborted.
	Closed struct {
		Status  execution.Status `json:"status"`
		Failure *asl.Failure     `json:"failure,omitempty"`
		Written int64            `json:"written,omitempty"`
		At      time.Time        `json:"at"`
	}
	// RedrivenAt reopens the run.
	RedrivenAt struct {
		At     time.Time `json:"at"`
		Digest string    `json:"digest,omitempty"`
	}
)

// Command is what a run asks of the world: exactly one of its fields.
type Command struct {
	Read   *ReadItems `json:"read,omitempty"`
	Launch *Launch    `json:"launch,omitempty"`
	Redo   *Redo      `json:"redo,omitempty"`
	Abort  *Abort     `json:"abort,omitempty"`
	Finish *Finish    `json:"finish,omitempty"`
}

type (
	// ReadItems asks for up to Max children of the items from Cursor on. It is answered by Read.
	ReadItems struct {
		Cursor   string `json:"cursor,omitempty"`
		Max      int64  `json:"max"`
		Redrives int64  `json:"redrives,omitempty"` // of the run
	}
	// Launch starts children. Each of them comes back in Input.Done.
	Launch struct {
		First    int64   `json:"first"`
		Children []Child `json:"children"`
	}
	// Redo redrives children: Standard ones continue where they failed, Express ones start again. Each of them comes back
	// in Input.Done.
	Redo struct {
		Children []int64 `json:"children"`
	}
	// Abort stops children that have been launched.
	Abort struct {
		Children []int64 `json:"children"`
		Redrives int64   `json:"redrives,omitempty"` // of the run: after another one nothing is stopped
	}
	// Finish puts the results together. It is answered by Finished.
	Finish struct {
		Redrives int64 `json:"redrives,omitempty"` // of the run
	}
)

// Reply is what the sender of an input learns.
type Reply struct {
	Stale bool `json:"stale,omitempty"` // the run is not in a state for this: nothing has changed
}

// Decision is what comes of one input.
type Decision struct {
	Facts    []Fact
	Commands []Command
	Done     *execution.MapDone // for the parent
	Reply    Reply
	Closed   bool
}

// turn is one decision in the making.
type turn struct {
	r   *Run
	d   Decision
	now time.Time
}

// Decide answers one input. It folds each fact into r through Apply as it decides. An error is a bug.
func Decide(r *Run, in Input, now time.Time) (Decision, error) {
	t := &turn{r: r, now: now.Truncate(time.Microsecond).UTC()}
	if in.Start != nil && r.Status == "" {
		t.fact(Fact{Started: &Started{Spec: *in.Start, At: t.now}})
		t.goOn()
	} else if r.Status == "" {
		return t.d, errors.New("the map run was never started")
	} else {
		t.input(in)
	}
	t.d.Closed = r.Closed()
	return t.d, nil
}

func (t *turn) input(in Input) {
	r := t.r
	running := r.Status == execution.Running
	switch {
	case in.Redrive != nil:
		if r.Status == execution.Succeeded || in.Redrive.Redrives != r.Redrives {
			t.d.Reply.Stale = true
			return
		}
		t.fact(Fact{Redriven: &RedrivenAt{At: t.now, Digest: in.Redrive.Digest}})
		t.goOn()
	case !running:
		t.d.Reply.Stale = true
	case in.Stop != nil && in.Stop.Redrives != r.Redrives:
		t.d.Reply.Stale = true
	case in.Stop != nil:
		open := r.OpenChildren()
		t.fact(Fact{Closed: &Closed{Status: execution.Aborted, At: t.now}})
		t.abort(open)
	case in.Update != nil:
		t.fact(Fact{Updated: in.Update})
		t.goOn()
	case in.Read != nil:
		t.read(*in.Read)
	case in.Finished != nil && r.Finishing && in.Finished.Redrives == r.Redrives:
		t.finished(*in.Finished)
	case in.Done != nil:
		ended := make([]Done, 0, len(in.Done))
		seen := map[int64]bool{}
		outputs := r.Outputs
		for _, d := range in.Done {
			if _, open := r.Open[d.N]; !open || seen[d.N] || r.before(d) {
				continue
			}
			seen[d.N] = true
			if outputs += int64(d.Output.Size()); r.Spec.Collects() && r.Spec.MaxOutput > 0 && outputs > int64(r.Spec.MaxOutput) {
				d.Output, d.Dropped = jsonvalue.Value{}, int64(d.Output.Size()) // nobody would read it
			}
			ended = append(ended, d)
		}
		if len(ended) == 0 {
			t.d.Reply.Stale = true
			return
		}
		t.fact(Fact{Ended: ended})
		t.goOn()
	default:
		t.d.Reply.Stale = true
	}
}

func (t *turn) read(in Read) {
	r := t.r
	switch {
	case r.Reading == 0 || in.Redrives != r.Redrives: // nobody waits for it any more
		t.d.Reply.Stale = true
		return
	case in.Failure != nil:
		t.fact(Fact{Launched: &Launched{Cursor: r.Cursor}})
		if r.Failure == nil {
			t.failing(*in.Failure)
		}
	case r.Failure != nil: // nothing is started any more; what was read is read again after a redrive
		t.fact(Fact{Launched: &Launched{Cursor: r.Cursor}})
	default:
		l := &Launched{Cursor: in.Cursor, All: in.All, Count: int64(len(in.Children))}
		plain := true
		for _, c := range in.Children {
			plain = plain && c.Items == 1
			l.Sizes = append(l.Sizes, c.Items)
		}
		if plain {
			l.Sizes = nil
		}
		first := r.Next
		t.fact(Fact{Launched: l})
		if l.Count > 0 {
			t.d.Commands = append(t.d.Commands, Command{Launch: &Launch{First: first, Children: in.Children}})
		}
	}
	t.goOn()
}

// goOn does whatever the run is ready for.
func (t *turn) goOn() {
	r := t.r
	if r.Failure == nil && r.Exceeded() {
		t.failing(asl.Failure{Error: asl.ErrExceedTolerated, Cause: "The specified tolerated failure threshold was exceeded"})
	}
	if r.Failure == nil && len(r.Again) > 0 {
		var again []int64
		for n := range r.Again.All() {
			if room := t.room() - int64(len(again)); room <= 0 || len(again) == maxStop {
				break
			}
			again = append(again, n)
		}
		if len(again) > 0 {
			t.fact(Fact{Relaunch: again})
			t.d.Commands = append(t.d.Commands, Command{Redo: &Redo{Children: again}})
		}
	}
	if room := min(t.room(), MaxLaunch); r.Failure == nil && room > 0 && len(r.Again) == 0 && !r.AllRead && r.Reading == 0 {
		t.fact(Fact{Asked: &Asked{Max: room}})
		t.d.Commands = append(t.d.Commands, Command{Read: &ReadItems{Cursor: r.Cursor, Max: room, Redrives: r.Redrives}})
	}
	if len(r.Open) > 0 || r.Reading > 0 || r.Finishing || r.Failure == nil && !r.AllRead {
		return
	}
	if r.Failure != nil && (r.Spec.Collects() || r.Executions.Total() == 0) {
		t.close(execution.Failed, r.Failure, Finished{Failure: r.Failure})
		return
	}
	t.fact(Fact{Finishing: &Finishing{}})
	t.d.Commands = append(t.d.Commands, Command{Finish: &Finish{Redrives: r.Redrives}})
}

// room is how many children may be started beyond those for which items are being read.
func (t *turn) room() int64 { return t.r.Limit() - int64(len(t.r.Open)) - t.r.Reading }

// failing stops what runs; the run fails when all has ended.
func (t *turn) failing(f asl.Failure) {
	t.fact(Fact{Failing: &Failing{Failure: f}})
	t.abort(t.r.OpenChildren())
}

func (t *turn) abort(open []int64) {
	for len(open) > 0 {
		n := min(len(open), maxStop)
		t.d.Commands = append(t.d.Commands, Command{Abort: &Abort{Children: open[:n:n], Redrives: t.r.Redrives}})
		open = open[n:]
	}
}

func (t *turn) finished(in Finished) {
	switch failure := t.r.Failure; {
	case failure != nil: // it had failed before; what could be written was
		in.Failure = failure
		t.close(execution.Failed, failure, in)
	case in.Failure != nil:
		t.close(execution.Failed, in.Failure, in)
	default:
		t.close(execution.Succeeded, nil, in)
	}
}

func (t *turn) close(status execution.Status, failure *asl.Failure, in Finished) {
	t.fact(Fact{Closed: &Closed{Status: status, Failure: failure, Written: in.Written, At: t.now}})
	t.d.Done = &execution.MapDone{Run: t.r.Spec.Run, Redrives: t.r.Redrives, Output: in.Output, Failure: failure, TooLarge: in.TooLarge}
}

func (t *turn) fact(f Fact) {
	t.d.Facts = append(t.d.Facts, f)
	Apply(t.r, f)
}

// Apply folds one fact into r. It is total.
func Apply(r *Run, f Fact) {
	switch {
	case f.Started != nil:
		s := f.Started
		*r = Run{Spec: s.Spec, Status: execution.Running, Started: s.At, Concurrency: s.Spec.Concurrency, Tolerance: s.Spec.Tolerance, Known: -1, Open: map[int64]int64{}}
		if s.Spec.Reader == nil {
			r.Known = int64(s.Spec.Items.Len())
			r.Items.Pending = r.Known
			r.Executions.Pending = r.batches(r.Known)
		}
	case f.Asked != nil:
		r.Reading = f.Asked.Max
	case f.Launched != nil:
		l := f.Launched
		r.Reading, r.Cursor, r.AllRead = 0, l.Cursor, r.AllRead || l.All
		for i := range l.Count {
			size := int64(1)
			if l.Sizes != nil {
				size = l.Sizes[i]
			}
			r.open(r.Next, size)
			r.Next++
			if r.Known >= 0 {
				r.Items.Pending = max(0, r.Items.Pending-size)
			}
		}
		if r.Executions.Pending = r.batches(r.Items.Pending); r.AllRead {
			r.Items.Pending, r.Executions.Pending = 0, 0
		}
	case f.Relaunch != nil:
		for _, n := range f.Relaunch {
			size := r.size(n)
			r.Again.Remove(n)
			delete(r.Sizes, n)
			r.Redone.Add(n)
			r.Items.PendingRedrive -= size
			r.Executions.PendingRedrive--
			r.open(n, size)
		}
	case f.Ended != nil:
		for _, d := range f.Ended {
			r.ended(d)
		}
	case f.Failing != nil:
		r.Failure = &f.Failing.Failure
	case f.Finishing != nil:
		r.Finishing = true
	case f.Updated != nil:
		u := f.Updated
		if u.Concurrency != nil {
			r.Concurrency = *u.Concurrency
		}
		if u.Count != nil {
			r.Tolerance.Count = *u.Count
		}
		if u.Percent != nil {
			r.Tolerance.Percent = *u.Percent
		}
	case f.Closed != nil:
		c := f.Closed
		for _, n := range r.OpenChildren() {
			r.ended(Done{N: n, Status: execution.Aborted})
		}
		r.Status, r.Failure, r.Stopped, r.Reading, r.Finishing = c.Status, c.Failure, c.At, 0, false
		r.Items.ResultsWritten, r.Executions.ResultsWritten = c.Written, c.Written
	case f.Redriven != nil:
		r.Status, r.Failure, r.Stopped, r.Reading, r.Finishing = execution.Running, nil, time.Time{}, 0, false
		r.Redrives++
		r.Redone = nil
		r.RedrivenAt = f.Redriven.At
		if f.Redriven.Digest != "" {
			r.Spec.Child.Digest = f.Redriven.Digest
		}
		again := Set(nil)
		for n := range r.Lost.All() {
			if !r.Final.Has(n) {
				again.Add(n)
			}
		}
		for _, c := range []*Counts{&r.Items, &r.Executions} {
			c.PendingRedrive += c.Failed + c.TimedOut + c.Aborted
			c.Failed, c.TimedOut, c.Aborted = 0, 0, 0
		}
		for n := range r.Final.All() { // they stay failed
			r.Items.PendingRedrive -= r.size(n)
			r.Executions.PendingRedrive--
			r.Items.Failed += r.size(n)
			r.Executions.Failed++
		}
		for n := range again.All() {
			r.Lost.Remove(n)
			r.Again.Add(n)
		}
	}
}

// batches is how many children n items make, as far as that can be known before they are read.
func (r *Run) batches(n int64) int64 {
	if b := r.Spec.Batch; b != nil && b.MaxItems > 0 {
		return (n + b.MaxItems - 1) / b.MaxItems
	}
	return n
}

func (r *Run) open(n, size int64) {
	if r.Open == nil {
		r.Open = map[int64]int64{}
	}
	r.Open[n] = size
	r.Items.Running += size
	r.Executions.Running++
}

func (r *Run) ended(d Done) {
	size, ok := r.Open[d.N]
	if !ok {
		return
	}
	delete(r.Open, d.N)
	r.Items.Running -= size
	r.Executions.Running--
	*r.Items.of(d.Status) += size
	*r.Executions.of(d.Status)++
	r.Outputs += int64(d.Output.Size()) + d.Dropped
	if d.Status == execution.Succeeded {
		return
	}
	r.Lost.Add(d.N)
	if size != 1 {
		if r.Sizes == nil {
			r.Sizes = map[int64]int64{}
		}
		r.Sizes[d.N] = size
	}
	if d.Final {
		r.Final.Add(d.N)
		r.Items.FailuresNotRedrivable += size
		r.Executions.FailuresNotRedrivable++
	}
}
