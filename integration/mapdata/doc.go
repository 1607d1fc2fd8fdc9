// Package mapdata reads the items of a Distributed Map state and writes its results, by calls of AWS APIs alone.
//
// It keeps nothing: a Reader goes on from an opaque cursor, so what was read before need not be read again after a restart,
// and holds no more than one block of the data at a time. It decides nothing about a map run either; package maprun does.
//
// An error that is a *Failure fails the Map state. Any other error means that the outcome is not known: the call is repeated.
package mapdata

import (
	"context"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Source says where items come from.
type Source struct {
	Principal identity.Principal // who reads: the execution, with the machine's role
	// Items are given inline when Resource is empty: an array, or an object whose members are the items.
	Items     jsonvalue.Value
	Resource  string          // "arn:aws:states:::s3:getObject", "…:s3:listObjectsV2"; empty: Items
	Arguments jsonvalue.Value // Parameters or Arguments, evaluated: {"Bucket":…,"Key":…}
	Config    ReaderConfig
	MaxItems  int64 // of the map run; a greater MaxItems counts as this. 0: any number
	MaxFile   int64 // bytes of one file, also when it is decompressed; 0: any number
}

// ReaderConfig is ItemReader.ReaderConfig, evaluated. An empty string is a field that was not given.
type ReaderConfig struct {
	InputType         string   `json:"inputType,omitempty"`         // CSV, JSON, JSONL, PARQUET, MANIFEST
	Transformation    string   `json:"transformation,omitempty"`    // NONE, LOAD_AND_FLATTEN
	ManifestType      string   `json:"manifestType,omitempty"`      // S3_INVENTORY, ATHENA_DATA
	CSVHeaderLocation string   `json:"csvHeaderLocation,omitempty"` // FIRST_ROW, GIVEN
	CSVHeaders        []string `json:"csvHeaders,omitempty"`
	CSVDelimiter      string   `json:"csvDelimiter,omitempty"` // COMMA, PIPE, SEMICOLON, SPACE, TAB
	ItemsPointer      string   `json:"itemsPointer,omitempty"` // a JSON Pointer
	MaxItems          int64    `json:"maxItems,omitempty"`     // 0: all
}

// Item is one item. Index counts from 0 over the whole source.
type Item struct {
	Index  int64
	Key    string // the member's name, when an object is mapped over
	Keyed  bool   // Key is given
	Value  jsonvalue.Value
	Source string // AWS's Map.Item.Source: "STATE_DATA", "s3://bucket/key", "s3://bucket"
}

// Reader reads items in order. It is used by one goroutine.
type Reader interface {
	// Next gives up to max items, with the cursor that goes on after them; done says that there are no more. It may give
	// fewer than max, and none when done.
	Next(ctx context.Context, max int) (items []Item, cursor string, done bool, err error)
	Close() error
}

// Failure is why a Map state fails: States.ItemReaderFailed or States.ResultWriterFailed with AWS's cause.
type Failure struct{ asl.Failure }

func (f *Failure) Error() string { return f.Failure.Error + ": " + f.Cause }

// Destination is ResultWriter, evaluated.
type Destination struct {
	Principal      identity.Principal
	Resource       string          // "arn:aws:states:::s3:putObject"
	Arguments      jsonvalue.Value // {"Bucket":…,"Prefix":…}
	Transformation string          // NONE, COMPACT, FLATTEN; empty: NONE
	OutputType     string          // JSON, JSONL; empty: JSON
	MapRunARN      string          // its last part (the UUID) names the folder below Prefix
	Redrives       int64           // of the run: each has a folder of its own below that one
}

// Result is one child of a map run, as the files show it.
type Result struct {
	N                   int64 // the child's number
	ExecutionARN        string
	Name                string
	StateMachineARN     string
	Input               jsonvalue.Value
	Status              string          // SUCCEEDED, FAILED, TIMED_OUT, ABORTED, or PENDING: never started
	Output              jsonvalue.Value // absent unless SUCCEEDED
	Error, Cause        string
	StartDate, StopDate string // ISO 8601 with milliseconds; empty: none
	RedriveCount        int
	RedriveStatus       string
	RedriveStatusReason string
	Redrives            int64 // that the run had had when the child ended
}

// Written says what was written.
type Written struct {
	Bucket, Key string // of manifest.json
	Results     int64  // written records
}
