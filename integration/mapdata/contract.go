package mapdata

import (
	"context"
	"errors"
	"iter"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

var errLater = errors.New("Mayfly cannot read from and write to S3 here yet")

// Open starts reading at a cursor that a Reader of the same Source gave, "" for the beginning.
func Open(ctx context.Context, calls awscall.Caller, src Source, cursor string) (Reader, error) {
	if src.Resource == "" {
		return openInline(src.Items, cursor)
	}
	return nil, &Failure{asl.Failure{Error: asl.ErrItemReaderFailed, Cause: errLater.Error()}}
}

// Write writes the files of a map run and then manifest.json. Repeated, it writes them anew; results yields every child in
// the order of the items, and can be ranged over once.
func Write(ctx context.Context, calls awscall.Caller, to Destination, results iter.Seq2[Result, error]) (Written, error) {
	return Written{}, &Failure{asl.Failure{Error: asl.ErrResultWriterFailed, Cause: errLater.Error()}}
}

// Transform is the output of a Map state whose ResultWriter has a WriterConfig and no Resource: what Write would put into
// its files, as one value. max bounds its bytes; more is ErrTooLarge.
func Transform(transformation, outputType string, results iter.Seq2[Result, error], max int) (jsonvalue.Value, error) {
	return jsonvalue.Value{}, &Failure{asl.Failure{Error: asl.ErrResultWriterFailed, Cause: errLater.Error()}}
}

// ErrTooLarge: the output does not fit into a state.
var ErrTooLarge = errors.New("the results are larger than a state's output may be")
