package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration/mapdata"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/maprun"
)

// How many items are read at once where batches do not say it: few as long as nobody knows how large they are.
const (
	firstPage = 16
	page      = 250
)

// unknown is the cursor of a stream that nobody can go on with.
const unknown = "?"

// items are those of a run from a cursor on, with what was read and not used yet.
type items struct {
	reader mapdata.Reader
	cursor string // before held, as long as none of it is taken
	after  string // behind held
	held   []mapdata.Item
	all    bool
	partly bool // some of what is held was taken
}

// peek is the next item; ok is false when there is none.
func (s *items) peek(ctx context.Context, max int) (item mapdata.Item, ok bool, err error) {
	for len(s.held) == 0 && !s.all {
		s.cursor = s.after
		if s.held, s.after, s.all, err = s.reader.Next(ctx, max); err != nil {
			return item, false, err
		}
	}
	if len(s.held) == 0 {
		s.cursor = s.after
		return item, false, nil
	}
	return s.held[0], true, nil
}

func (s *items) take() {
	s.held = s.held[1:]
	if s.partly = len(s.held) > 0; !s.partly {
		s.cursor = s.after
	}
}

// ended reports that nothing is left, as far as is known without reading on.
func (s *items) ended() bool { return s.all && len(s.held) == 0 }

// stream is the run's items from the cursor on: those at hand, when they stand there.
func (m *mapRuns) stream(ctx context.Context, r *maprun.Run, cursor string) (*items, error) {
	m.mu.Lock()
	s := m.streams[r.Spec.Run]
	delete(m.streams, r.Spec.Run)
	m.mu.Unlock()
	if s != nil && s.cursor == cursor {
		return s, nil
	}
	if s != nil {
		s.reader.Close()
	}
	src := mapdata.Source{Items: r.Spec.Items, MaxItems: m.e.cfg.Limits.MapItems}
	if d := r.Spec.Reader; d != nil {
		if d.MaxItems < 0 {
			return nil, &mapdata.Failure{Failure: asl.Failure{Error: asl.ErrItemReaderFailed, Cause: "field MaxItems must be positive"}}
		}
		if m.e.cfg.Calls == nil {
			return nil, without(asl.ErrItemReaderFailed)
		}
		who, err := m.behalf(ctx, r)
		if err != nil {
			return nil, err
		}
		src = mapdata.Source{Principal: who, Resource: d.Resource, Arguments: d.Arguments, Config: readerConfig(d), MaxItems: m.e.cfg.Limits.MapItems, MaxFile: m.e.cfg.Limits.MapFile}
	}
	reader, err := mapdata.Open(ctx, m.e.cfg.Calls, src, cursor)
	if err != nil {
		return nil, err
	}
	return &items{reader: reader, cursor: cursor, after: cursor}, nil
}

func readerConfig(d *asl.Reading) mapdata.ReaderConfig {
	c := d.ReaderConfig
	return mapdata.ReaderConfig{InputType: c.InputType, Transformation: c.Transformation, ManifestType: c.ManifestType, CSVHeaderLocation: c.CSVHeaderLocation,
		CSVHeaders: c.CSVHeaders, CSVDelimiter: c.CSVDelimiter, ItemsPointer: d.Pointer, MaxItems: d.MaxItems}
}

// without is the failure of an engine that can call nobody.
func without(name string) error {
	return &mapdata.Failure{Failure: asl.Failure{Error: name, Cause: "This engine was made without a way to call AWS services: only items of a state's own input can be mapped over"}}
}

// keep puts a stream aside for the next Read.
func (m *mapRuns) keep(run string, s *items) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams == nil { // the engine has stopped
		s.reader.Close()
		return
	}
	m.streams[run] = s
}

// stop forgets what is kept for all runs.
func (m *mapRuns) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.streams {
		s.reader.Close()
	}
	m.streams = nil
}

func (m *mapRuns) forget(run string) {
	m.mu.Lock()
	s := m.streams[run]
	delete(m.streams, run)
	m.mu.Unlock()
	if s != nil {
		s.reader.Close()
	}
}

// read makes the inputs of the next children.
func (m *mapRuns) read(ctx context.Context, run, key string, c maprun.ReadItems) (*maprun.Input, error) {
	r, err := m.view(ctx, run)
	if err != nil {
		return nil, err
	}
	if r.Status != execution.Running || r.Failure != nil || r.Redrives != c.Redrives {
		return &maprun.Input{Read: &maprun.Read{Cursor: r.Cursor, Redrives: c.Redrives}}, nil // nothing is started of it
	}
	out, s, err := m.readFrom(ctx, &r, key, c.Cursor, int(c.Max))
	var failed *mapdata.Failure
	if errors.As(err, &failed) {
		return &maprun.Input{Read: &maprun.Read{Failure: &failed.Failure, Redrives: c.Redrives}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the items of %s: %w", run, err)
	}
	if out.All {
		s.reader.Close()
	} else {
		m.keep(run, s)
	}
	out.Redrives = c.Redrives
	return &maprun.Input{Read: out}, nil
}

func (m *mapRuns) readFrom(ctx context.Context, r *maprun.Run, key, cursor string, most int) (out *maprun.Read, s *items, err error) {
	st, err := m.state(&r.Spec)
	if err != nil {
		return nil, nil, err
	}
	if s, err = m.stream(ctx, r, cursor); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			s.reader.Close()
		}
	}()
	seed := fnv.New64a()
	seed.Write([]byte(key))
	random := rand.New(rand.NewPCG(seed.Sum64(), 0))
	v := &asl.Visit{State: st, Entered: r.Spec.Entered, Input: r.Spec.Input, Context: r.Spec.Context, Now: m.e.cfg.Clock.Now(), Limits: m.e.cfg.Limits.Data, Random: random.Uint64,
		Vars: func(name string) (jsonvalue.Value, bool) { value, ok := r.Spec.Vars[name]; return value, ok }}
	b := &batcher{visit: v, spec: &r.Spec, payload: m.e.cfg.Limits.Data.Payload}
	out = &maprun.Read{}
	size := 0
	for len(out.Children) < most && (size < maprun.MaxLaunchBytes || len(s.held) > 0) { // a page is used up: cursors stand between pages
		room := most - len(out.Children)
		if n := len(out.Children); n == 0 {
			room = min(room, firstPage)
		} else {
			room = min(room, 1+max(0, maprun.MaxLaunchBytes-size)/(1+size/n))
		}
		child, ok, err := b.next(ctx, s, room)
		if err != nil {
			return nil, s, err
		}
		if !ok {
			break
		}
		size += child.Input.Size()
		out.Children = append(out.Children, child)
	}
	if s.partly {
		panic("engine: a page of items is used up in part: no cursor stands there")
	}
	// What follows is looked at now: that nothing does is known with the last children, and not after them. An error is the
	// next read's.
	_, _, ahead := s.peek(ctx, 1)
	out.Cursor, out.All = s.cursor, ahead == nil && s.ended()
	if ahead != nil {
		s.cursor = unknown // a stream is not gone on with after an error
	}
	return out, s, nil
}

// batcher makes the inputs of children from items.
type batcher struct {
	visit   *asl.Visit
	spec    *maprun.Spec
	payload int // bytes that a child's input may have; 0: any
	input   jsonvalue.Value
	last    struct { // the selected input of the item that peek gave
		index int64
		value jsonvalue.Value
		ok    bool
	}
}

// next is the input of the next child, from one item or a batch of them.
func (b *batcher) next(ctx context.Context, s *items, room int) (c maprun.Child, ok bool, err error) {
	batch := b.spec.Batch
	if batch == nil {
		v, ok, err := b.selected(ctx, s, min(room, page))
		if err != nil || !ok {
			return c, false, err
		}
		s.take()
		return maprun.Child{Input: v, Items: 1}, true, nil
	}
	most := int64(b.payload)
	if batch.MaxBytes > 0 {
		most = batch.MaxBytes
	}
	var members []jsonvalue.Member
	if !batch.Input.IsZero() {
		members = append(members, jsonvalue.M("BatchInput", batch.Input))
	}
	size := int64(jsonvalue.Object(append(slices.Clone(members), jsonvalue.M("Items", jsonvalue.Array()))...).Size())
	var values []jsonvalue.Value
	for batch.MaxItems == 0 || int64(len(values)) < batch.MaxItems {
		left := page
		if batch.MaxItems > 0 {
			left = int(min(batch.MaxItems-int64(len(values)), page))
		}
		if most > 0 {
			left = 1 // what does not fit must not have been read
		}
		v, ok, err := b.selected(ctx, s, left)
		if err != nil {
			return c, false, err
		}
		if !ok {
			break
		}
		more := int64(v.Size())
		if len(values) > 0 {
			more++ // the comma
		}
		if most > 0 && size+more > most {
			if len(values) == 0 {
				return c, false, &mapdata.Failure{Failure: asl.Failure{Error: asl.ErrItemReaderFailed,
					Cause: fmt.Sprintf("The item with the index %d and the size of %d bytes does not fit into a batch of %d bytes", s.held[0].Index, v.Size(), most)}}
			}
			break
		}
		size += more
		values = append(values, v)
		s.take()
	}
	if len(values) == 0 {
		return c, false, nil
	}
	members = append(members, jsonvalue.M("Items", jsonvalue.Array(values...)))
	return maprun.Child{Input: jsonvalue.Object(members...), Items: int64(len(values))}, true, nil
}

// selected is the next item after ItemSelector, evaluated once.
func (b *batcher) selected(ctx context.Context, s *items, max int) (v jsonvalue.Value, ok bool, err error) {
	item, ok, err := s.peek(ctx, max)
	if err != nil || !ok {
		return v, false, err
	}
	if b.last.ok && b.last.index == item.Index {
		return b.last.value, true, nil
	}
	v, f := b.visit.ItemInput(b.spec.Input, asl.MapItem{Index: item.Index, Value: item.Value, Key: item.Key, Keyed: item.Keyed, Source: item.Source})
	if f == nil && b.payload > 0 && v.Size() > b.payload {
		f = &asl.Failure{Error: asl.ErrDataLimitExceeded, Cause: "The state/task '" + b.spec.State + "' provided parameters with a size exceeding the maximum number of bytes service limit."}
	}
	if f != nil {
		return v, false, &mapdata.Failure{Failure: *f}
	}
	b.last.index, b.last.value, b.last.ok = item.Index, v, true
	return v, true, nil
}

// finish puts the results together.
func (m *mapRuns) finish(ctx context.Context, run string, c maprun.Finish) (*maprun.Input, error) {
	var r maprun.Run
	err := m.es.View(ctx, runID(run), func(s *maprun.Run) {
		r = *s
		r.Open, r.Lost, r.Again, r.Sizes, r.Final, r.Redone = nil, nil, nil, nil, nil, nil
	})
	if err != nil {
		return nil, err
	}
	out, err := m.results(ctx, &r)
	var failed *mapdata.Failure
	switch {
	case errors.As(err, &failed):
		out = maprun.Finished{Failure: &failed.Failure}
	case errors.Is(err, mapdata.ErrTooLarge):
		out = maprun.Finished{TooLarge: true}
	case err != nil:
		return nil, fmt.Errorf("finish %s: %w", run, err)
	}
	out.Redrives = c.Redrives
	return &maprun.Input{Finished: &out}, nil
}

func (m *mapRuns) results(ctx context.Context, r *maprun.Run) (out maprun.Finished, err error) {
	w := r.Spec.Writer
	switch {
	case w == nil:
		if most := int64(r.Spec.MaxOutput); most > 0 && r.Outputs+r.Executions.Succeeded+1 > most {
			return out, mapdata.ErrTooLarge
		}
		var done []maprun.Done
		for d, err := range m.ends(ctx, r) {
			if err != nil {
				return out, err
			}
			if d.Status == execution.Succeeded {
				done = append(done, d.Done)
			}
		}
		slices.SortFunc(done, func(a, b maprun.Done) int { return int(a.N - b.N) })
		out.Output = jsonvalue.ArrayOf(func(yield func(jsonvalue.Value) bool) {
			for _, d := range done {
				if !yield(d.Output) {
					return
				}
			}
		})
		return out, nil
	case w.Resource == "" && r.Spec.MaxOutput > 0 && r.Outputs > int64(r.Spec.MaxOutput):
		return out, mapdata.ErrTooLarge
	case w.Resource == "":
		out.Output, err = mapdata.Transform(w.Transformation, w.OutputType, m.records(ctx, r), r.Spec.MaxOutput)
		return out, err
	}
	if m.e.cfg.Calls == nil {
		return out, without(asl.ErrResultWriterFailed)
	}
	who, err := m.behalf(ctx, r)
	if err != nil {
		return out, err
	}
	written, err := mapdata.Write(ctx, m.e.cfg.Calls, mapdata.Destination{Principal: who, Resource: w.Resource, Arguments: w.Arguments,
		Transformation: w.Transformation, OutputType: w.OutputType, MapRunARN: r.Spec.Run, Redrives: r.Redrives}, m.records(ctx, r))
	if err != nil {
		return out, err
	}
	out.Written = written.Results
	out.Output = jsonvalue.Object(jsonvalue.M("MapRunArn", jsonvalue.Str(r.Spec.Run)), jsonvalue.M("ResultWriterDetails", jsonvalue.Object(
		jsonvalue.M("Bucket", jsonvalue.Str(written.Bucket)), jsonvalue.M("Key", jsonvalue.Str(written.Key)))))
	return out, nil
}

// ended is how a child has ended, after so many redrives of the run.
type ended struct {
	maprun.Done
	redrives int64
}

// ends yields how each child has ended, from the journal, in the order in which that was recorded. What a redrive has
// done again is left out.
func (m *mapRuns) ends(ctx context.Context, r *maprun.Run) iter.Seq2[ended, error] {
	return func(yield func(ended, error) bool) {
		last := map[int64]uint64{} // of children that did not end well, where some were redriven
		if r.Redrives > 0 {
			for rec, err := range m.es.Records(ctx, runID(r.Spec.Run), 0) {
				if err != nil {
					yield(ended{}, err)
					return
				}
				for _, f := range rec.Facts {
					for _, d := range f.Ended {
						if d.Status == execution.Succeeded {
							delete(last, d.N)
						} else {
							last[d.N] = rec.Number
						}
					}
				}
			}
		}
		redrives := int64(0)
		for rec, err := range m.es.Records(ctx, runID(r.Spec.Run), 0) {
			if err != nil {
				yield(ended{}, err)
				return
			}
			for _, f := range rec.Facts {
				if f.Redriven != nil {
					redrives++
				}
				for _, d := range f.Ended {
					if d.Status != execution.Succeeded && r.Redrives > 0 && last[d.N] != rec.Number {
						continue
					}
					if !yield(ended{d, redrives}, nil) {
						return
					}
				}
			}
		}
	}
}

// records are the results of all children, and of those that were never started: AWS calls them PENDING.
func (m *mapRuns) records(ctx context.Context, r *maprun.Run) iter.Seq2[mapdata.Result, error] {
	return func(yield func(mapdata.Result, error) bool) {
		for d, err := range m.ends(ctx, r) {
			if err != nil {
				yield(mapdata.Result{}, err)
				return
			}
			x := result(&r.Spec, d.Done)
			x.Redrives = d.redrives
			if !yield(x, nil) {
				return
			}
		}
		if r.AllRead {
			return
		}
		next := r.Next
		for cursor, all := r.Cursor, false; !all; {
			out, s, err := m.readFrom(ctx, r, "pending", cursor, maprun.MaxLaunch)
			var failed *mapdata.Failure
			if errors.As(err, &failed) {
				return // what cannot be read is why the run has failed
			}
			if err != nil {
				yield(mapdata.Result{}, err)
				return
			}
			for _, c := range out.Children {
				if !yield(result(&r.Spec, maprun.Done{N: next, Status: "PENDING", Input: c.Input}), nil) {
					s.reader.Close()
					return
				}
				next++
			}
			if cursor, all = out.Cursor, out.All; all {
				s.reader.Close()
			} else {
				m.keep(r.Spec.Run, s)
			}
		}
	}
}

func result(s *maprun.Spec, d maprun.Done) mapdata.Result {
	x := child(s, d.N, d.Redrives)
	out := mapdata.Result{N: d.N, ExecutionARN: x.ARN, Name: x.Name, StateMachineARN: x.MachineARN, Input: d.Input, Status: string(d.Status), Output: d.Output,
		StartDate: date(d.Started), StopDate: date(d.Stopped), RedriveCount: int(d.Redrives)}
	if d.Failure != nil {
		out.Error, out.Cause = d.Failure.Error, d.Failure.Cause
	}
	switch {
	case d.Status == execution.Succeeded:
		out.RedriveStatus, out.RedriveStatusReason = "NOT_REDRIVABLE", "Execution is SUCCEEDED and cannot be redriven"
	case d.Status != "PENDING":
		out.RedriveStatus = "REDRIVABLE_BY_MAP_RUN"
	}
	return out
}

func date(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05.000Z")
}
