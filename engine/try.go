package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/integration/mapdata"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/maprun"
)

// Inspection is what a call sent and got; package integration says more.
type Inspection = integration.Inspection

// Try does the work of one task once, outside of any execution, as TestState wants it: nothing of it is recorded. The
// task must be done with the answer of one call. inspect may be nil.
func (e *Engine) Try(ctx context.Context, id execution.Identity, state string, r execution.Resource, args jsonvalue.Value, role string, inspect *Inspection) (jsonvalue.Value, *asl.Failure, error) {
	if r.Kind == execution.Activity || r.Pattern.Submits() {
		return jsonvalue.Value{}, nil, fmt.Errorf("try %s: it is not done with one call", r.ARN)
	}
	result, err := e.cfg.Integrations.Start(ctx, integration.Task{Execution: id.ARN, Attempt: 1, State: state, Resource: r, Input: args,
		RoleARN: role, Principal: principal(&execution.Snapshot{Identity: id}), RequestKey: "try/" + rand.Text(), Inspect: inspect})
	switch {
	case err != nil:
		return jsonvalue.Value{}, nil, fmt.Errorf("try %s: %w", r.ARN, err)
	case result.Running:
		return jsonvalue.Value{}, nil, fmt.Errorf("try %s: a running job, though nothing waits for it", r.ARN)
	}
	return result.Output, result.Failure, nil
}

// Mapped is what a distributed Map makes of its items.
type Mapped struct {
	Items   jsonvalue.Value // an array, or an object where members are mapped over
	Inputs  jsonvalue.Value // an array: each item after ItemSelector
	Batches jsonvalue.Value // an array: the inputs of the children; absent without ItemBatcher
}

// maxMapped bounds the bytes of each part of Mapped: a short text of CSV can make many large items.
const maxMapped = 8 << 20

// TryMap makes the inputs of the children of a distributed Map, as TestState wants it: nothing is read from S3, and nothing
// is started. text is what the ItemReader's object holds, where the distribution has one. What was made before a failure is
// given with it.
func (e *Engine) TryMap(ctx context.Context, v *asl.Visit, effective jsonvalue.Value, d asl.Distribution, text string) (Mapped, *asl.Failure, error) {
	m, err := tryMap(ctx, v, effective, d, text)
	var failed *mapdata.Failure
	if errors.As(err, &failed) {
		return m, &failed.Failure, nil
	}
	return m, nil, err
}

func tryMap(ctx context.Context, v *asl.Visit, effective jsonvalue.Value, d asl.Distribution, text string) (m Mapped, err error) {
	var reader mapdata.Reader
	if r := d.Reader; r != nil {
		reader, err = mapdata.OpenText(text, r.Arguments.Member("Bucket").Str(), r.Arguments.Member("Key").Str(), readerConfig(r))
	} else {
		reader, err = mapdata.Open(ctx, nil, mapdata.Source{Items: d.Items}, "")
	}
	if err != nil {
		return m, err
	}
	defer reader.Close()
	var read []mapdata.Item
	var values []jsonvalue.Value
	var members []jsonvalue.Member
	for size, all := 0, false; !all; {
		var some []mapdata.Item
		if some, _, all, err = reader.Next(ctx, page); err != nil {
			return m, err
		}
		for _, item := range some {
			if size += item.Value.Size(); size > maxMapped {
				return m, mappedTooLarge("items")
			}
			values, members = append(values, item.Value), append(members, jsonvalue.M(item.Key, item.Value))
		}
		read = append(read, some...)
	}
	m.Items = jsonvalue.Array(values...)
	if len(read) > 0 && read[0].Keyed {
		m.Items = jsonvalue.Object(members...)
	}
	children := func(v *asl.Visit, batch *asl.Batching, of []mapdata.Item) (inputs []jsonvalue.Value, err error) {
		spec := &maprun.Spec{}
		spec.State, spec.Input, spec.Batch = v.State.Base().Name, effective, batch
		b, s := &batcher{visit: v, spec: spec, payload: v.Limits.Payload}, &items{held: of, all: true}
		for size := 0; ; {
			child, ok, err := b.next(ctx, s, page)
			if err != nil || !ok {
				return inputs, err
			}
			if size += child.Input.Size(); size > maxMapped {
				return nil, mappedTooLarge("inputs of the children")
			}
			inputs = append(inputs, child.Input)
		}
	}
	inputs, err := children(v, nil, read)
	if err != nil {
		return m, err
	}
	m.Inputs = jsonvalue.Array(inputs...)
	if d.Batch == nil {
		return m, nil
	}
	// Selected already: an ItemSelector may give something else each time.
	plain, selected := *v, make([]mapdata.Item, len(inputs))
	plain.State = &asl.MapState{Common: *v.State.Base()}
	for i, input := range inputs {
		selected[i] = mapdata.Item{Index: int64(i), Value: input}
	}
	batches, err := children(&plain, d.Batch, selected)
	if err != nil {
		return m, err
	}
	m.Batches = jsonvalue.Array(batches...)
	return m, nil
}

func mappedTooLarge(what string) error {
	return &mapdata.Failure{Failure: asl.Failure{Error: asl.ErrDataLimitExceeded, Cause: fmt.Sprintf("The %s have more than %d bytes, which is the most that a test takes", what, maxMapped)}}
}
