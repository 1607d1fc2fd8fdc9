package durable

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// The versions of a record's body. A reader knows all of them; a writer uses the newest that pays.
const (
	plainJSON   = 1
	flatedJSON  = 2       // plainJSON, deflated: equal payloads are stored once
	deflateFrom = 2 << 10 // below this, deflating costs more than it saves
	maxBody     = 1 << 30 // no body inflates beyond this
)

// body is what a record holds: what the decision brought about, in a form that outlives this version of the program.
type body[F, C any] struct {
	Facts    []F                 `json:"f,omitempty"`
	Commands []C                 `json:"c,omitempty"` // their ordinals continue in Sends
	Sends    []sentBody          `json:"s,omitempty"`
	By       *identity.Principal `json:"by,omitempty"`
	Answer   json.RawMessage     `json:"r,omitempty"` // the reply to an input that may be repeated
	Refused  string              `json:"e,omitempty"` // the text of its error
	Named    bool                `json:"n,omitempty"` // Record.Input is an id to drop duplicates by
	Closed   bool                `json:"x,omitempty"`
}

type sentBody struct {
	To   store.ID        `json:"to"`
	ID   string          `json:"id,omitempty"`
	Body json.RawMessage `json:"b"`
}

var (
	deflaters = sync.Pool{New: func() any { w, _ := flate.NewWriter(nil, flate.BestSpeed); return w }}
	inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}
)

// encode writes v as compact JSON without HTML escapes, deflated when it is long.
func encode(v any) ([]byte, uint8, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, 0, err
	}
	plain := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if len(plain) < deflateFrom {
		return plain, plainJSON, nil
	}
	var small bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&small)
	w.Write(plain) // a bytes.Buffer does not fail
	w.Close()
	if small.Len() >= len(plain) {
		return plain, plainJSON, nil
	}
	return small.Bytes(), flatedJSON, nil
}

// decode undoes encode.
func decode(b []byte, version uint8, v any) error {
	switch version {
	case plainJSON:
	case flatedJSON:
		r := inflaters.Get().(io.ReadCloser)
		defer inflaters.Put(r)
		if err := r.(flate.Resetter).Reset(bytes.NewReader(b), nil); err != nil {
			return err
		}
		plain, err := io.ReadAll(io.LimitReader(r, maxBody))
		if err != nil {
			return fmt.Errorf("inflate: %w", err)
		}
		b = plain
	default:
		return fmt.Errorf("body version %d was written by a newer Mayfly", version)
	}
	return json.Unmarshal(b, v)
}
