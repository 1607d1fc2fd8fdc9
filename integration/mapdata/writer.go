package mapdata

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// ErrTooLarge: the output does not fit into a state.
var ErrTooLarge = errors.New("the results are larger than a state's output may be")

// sizes bound what is written. Tests make them smaller.
type sizes struct {
	part int   // of a multipart upload
	file int64 // AWS: 5 GB each; then the next number begins
}

var awsSizes = sizes{part: 8 << 20, file: 5 << 30}

// shape is how results become records: WriterConfig.
type shape struct{ transformation, outputType string }

func newShape(transformation, outputType string) (shape, error) {
	s := shape{transformation, outputType}
	switch transformation {
	case "":
		s.transformation = "NONE"
	case "NONE", "COMPACT", "FLATTEN":
	default:
		return s, writerFailed("WriterConfig.Transformation must be NONE, COMPACT or FLATTEN, not %q", transformation)
	}
	switch outputType {
	case "":
		s.outputType = "JSON"
	case "JSON", "JSONL":
	default:
		return s, writerFailed("WriterConfig.OutputType must be JSON or JSONL, not %q", outputType)
	}
	return s, nil
}

// records are what one result is written as. AWS: what has not succeeded is written as with NONE, whatever is asked for.
func (s shape) records(r Result) iter.Seq[jsonvalue.Value] {
	return func(yield func(jsonvalue.Value) bool) {
		switch {
		case s.transformation == "NONE" || r.Status != "SUCCEEDED":
			yield(r.record())
		case s.transformation == "FLATTEN" && r.Output.Kind() == jsonvalue.KindArray:
			for e := range r.Output.Elements() {
				if !yield(e) {
					return
				}
			}
		case r.Output.IsZero():
			yield(jsonvalue.Null)
		default:
			yield(r.Output)
		}
	}
}

// record is a child with all that is known of it. AWS: the members are in the order of their names; one that was never
// started has its input alone (recorded).
func (r Result) record() jsonvalue.Value {
	text := func(s string) jsonvalue.Value {
		if s == "" {
			return jsonvalue.Value{}
		}
		return jsonvalue.Str(s)
	}
	document := func(v jsonvalue.Value) jsonvalue.Value {
		if v.IsZero() {
			return v
		}
		return jsonvalue.Str(v.String())
	}
	included := jsonvalue.Object(jsonvalue.M("Included", jsonvalue.Bool(true)))
	if r.Status == "PENDING" {
		return jsonvalue.Object(jsonvalue.M("Input", document(r.Input)), jsonvalue.M("InputDetails", included), jsonvalue.M("Status", text(r.Status)))
	}
	return jsonvalue.Object(
		jsonvalue.M("Cause", text(r.Cause)),
		jsonvalue.M("Error", text(r.Error)),
		jsonvalue.M("ExecutionArn", text(r.ExecutionARN)),
		jsonvalue.M("Input", document(r.Input)),
		jsonvalue.M("InputDetails", included),
		jsonvalue.M("Name", text(r.Name)),
		jsonvalue.M("Output", document(r.Output)),
		jsonvalue.M("OutputDetails", included),
		jsonvalue.M("RedriveCount", jsonvalue.Int(int64(r.RedriveCount))),
		jsonvalue.M("RedriveStatus", text(r.RedriveStatus)),
		jsonvalue.M("RedriveStatusReason", text(r.RedriveStatusReason)),
		jsonvalue.M("StartDate", text(r.StartDate)),
		jsonvalue.M("StateMachineArn", text(r.StateMachineARN)),
		jsonvalue.M("Status", text(r.Status)),
		jsonvalue.M("StopDate", text(r.StopDate)))
}

// Write writes the files of a map run and then manifest.json. Repeated, it writes them anew; results yields every child in
// the order in which they ended, and can be ranged over once. It holds no more than one part of each kind of file.
//
// AWS, as captured: a redrive has the folder Redrive-N, whose manifest lists the files of what had succeeded before, too.
func Write(ctx context.Context, calls awscall.Caller, to Destination, results iter.Seq2[Result, error]) (Written, error) {
	return write(ctx, calls, to, results, awsSizes)
}

func write(ctx context.Context, calls awscall.Caller, to Destination, results iter.Seq2[Result, error], limit sizes) (_ Written, err error) {
	if to.Resource != "arn:aws:states:::s3:putObject" {
		return Written{}, writerFailed("The resource %s cannot be written to; a ResultWriter's is arn:aws:states:::s3:putObject", to.Resource)
	}
	s, err := newShape(to.Transformation, to.OutputType)
	if err != nil {
		return Written{}, err
	}
	a, err := arguments(to.Arguments, writerFailed, "Bucket", "Prefix", "ExpectedBucketOwner")
	if err != nil {
		return Written{}, err
	}
	c := &client{calls: calls, principal: to.Principal, failed: writerFailed}
	folder := to.MapRunARN[strings.LastIndexByte(to.MapRunARN, ':')+1:] + "/"
	if prefix := strings.TrimSuffix(a["Prefix"], "/"); prefix != "" {
		folder = prefix + "/" + folder
	}
	before := []jsonvalue.Value(nil)
	if to.Redrives > 0 {
		if before, err = c.succeededBefore(ctx, a, folder+redriven(to.Redrives-1)); err != nil {
			return Written{}, err
		}
		folder += redriven(to.Redrives)
	}
	kinds := map[string]*resultFiles{}
	for _, kind := range resultKinds {
		kinds[kind] = &resultFiles{client: c, bucket: a["Bucket"], owner: a["ExpectedBucketOwner"], name: folder + kind, shape: s, limit: limit}
	}
	defer func() {
		if err != nil {
			for _, f := range kinds {
				f.abort(context.WithoutCancel(ctx))
			}
		}
	}()
	written := Written{Bucket: a["Bucket"], Key: folder + "manifest.json"}
	for r, err := range results {
		if err != nil {
			return Written{}, err
		}
		written.Results++
		if before != nil && r.Status == "SUCCEEDED" && r.Redrives < to.Redrives {
			continue
		}
		f := kinds[r.kind()]
		for v := range s.records(r) {
			if err := f.add(ctx, v.Raw()); err != nil {
				return Written{}, err
			}
		}
	}
	files := make([]jsonvalue.Member, 0, len(resultKinds))
	for _, kind := range resultKinds {
		if err := kinds[kind].finish(ctx); err != nil {
			return Written{}, err
		}
		all := kinds[kind].written
		if kind == "SUCCEEDED" {
			all = append(before, all...)
		}
		files = append(files, jsonvalue.M(kind, jsonvalue.Array(all...)))
	}
	manifest := jsonvalue.Object(jsonvalue.M("DestinationBucket", jsonvalue.Str(a["Bucket"])), jsonvalue.M("MapRunArn", jsonvalue.Str(to.MapRunARN)),
		jsonvalue.M("ResultFiles", jsonvalue.Object(files...)))
	err = c.do(ctx, "PutObject", &s3api.PutObjectInput{Bucket: a["Bucket"], Key: written.Key, Body: bytes.NewReader(manifest.Raw()),
		ContentType: awsapi.Ptr("application/octet-stream"), ExpectedBucketOwner: optional(a["ExpectedBucketOwner"])}, &s3api.PutObjectOutput{})
	if err != nil {
		return Written{}, err
	}
	return written, nil
}

func redriven(n int64) string {
	if n == 0 {
		return ""
	}
	return "Redrive-" + strconv.FormatInt(n, 10) + "/"
}

// succeededBefore are the files of succeeded children that the manifest in a folder lists; nil when there is none.
func (c *client) succeededBefore(ctx context.Context, a map[string]string, folder string) ([]jsonvalue.Value, error) {
	var out s3api.GetObjectOutput
	err := c.do(ctx, "GetObject", &s3api.GetObjectInput{Bucket: a["Bucket"], Key: folder + "manifest.json", ExpectedBucketOwner: optional(a["ExpectedBucketOwner"])}, &out)
	var refused *Failure
	if errors.As(err, &refused) {
		return nil, nil // what then cannot be written says so itself
	}
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(io.LimitReader(out.Body, maxManifest))
	if err != nil {
		return nil, fmt.Errorf("read %smanifest.json: %w", folder, err)
	}
	manifest, err := jsonvalue.Parse(b)
	if err != nil {
		return nil, nil // somebody else's: everything is written again
	}
	files := []jsonvalue.Value{}
	for f := range manifest.Member("ResultFiles").Member("SUCCEEDED").Elements() {
		files = append(files, f)
	}
	return files, nil
}

var resultKinds = []string{"FAILED", "PENDING", "SUCCEEDED"} // as the manifest lists them

// kind is the file that a result goes into. AWS: what failed, timed out or was aborted is in one.
func (r Result) kind() string {
	switch r.Status {
	case "SUCCEEDED", "PENDING":
		return r.Status
	}
	return "FAILED"
}

// resultFiles writes records into KIND_0.json, KIND_1.json, …: each in one call while it is small, in parts otherwise.
type resultFiles struct {
	*client
	bucket, owner string
	name          string
	shape         shape
	limit         sizes
	written       []jsonvalue.Value // as the manifest shows them

	buffer []byte
	size   int64 // of the file so far, with the buffer
	begun  bool
	upload string
	parts  []s3api.CompletedPart
}

func (f *resultFiles) key() string {
	return f.name + "_" + strconv.Itoa(len(f.written)) + "." + strings.ToLower(f.shape.outputType)
}

func (f *resultFiles) put(b []byte) {
	f.buffer = append(f.buffer, b...)
	f.size += int64(len(b))
}

func (f *resultFiles) add(ctx context.Context, record []byte) error {
	if f.begun && f.size+int64(len(record))+2 > f.limit.file {
		if err := f.finish(ctx); err != nil {
			return err
		}
	}
	switch {
	case f.shape.outputType == "JSONL":
	case f.begun:
		f.put([]byte{','})
	default:
		f.put([]byte{'['})
	}
	f.begun = true
	f.put(record)
	if f.shape.outputType == "JSONL" {
		f.put([]byte{'\n'})
	}
	for len(f.buffer) >= f.limit.part {
		if err := f.part(ctx, f.buffer[:f.limit.part]); err != nil {
			return err
		}
		f.buffer = f.buffer[:copy(f.buffer, f.buffer[f.limit.part:])]
	}
	return nil
}

// part uploads a part of the file.
func (f *resultFiles) part(ctx context.Context, b []byte) error {
	key := f.key()
	if f.upload == "" {
		var out s3api.CreateMultipartUploadOutput
		if err := f.do(ctx, "CreateMultipartUpload", &s3api.CreateMultipartUploadInput{Bucket: f.bucket, Key: key, ExpectedBucketOwner: optional(f.owner)}, &out); err != nil {
			return err
		}
		f.upload, f.parts = awsapi.Val(out.UploadId), nil
	}
	number := int64(len(f.parts) + 1)
	var out s3api.UploadPartOutput
	if err := f.do(ctx, "UploadPart", &s3api.UploadPartInput{Bucket: f.bucket, Key: key, UploadId: f.upload, PartNumber: number,
		Body: bytes.NewReader(b), ExpectedBucketOwner: optional(f.owner)}, &out); err != nil {
		return err
	}
	f.parts = append(f.parts, s3api.CompletedPart{ETag: out.ETag, PartNumber: &number})
	return nil
}

// finish ends the file that is being written, if there is one.
func (f *resultFiles) finish(ctx context.Context) error {
	if !f.begun {
		return nil
	}
	if f.shape.outputType == "JSON" {
		f.put([]byte{']'})
	}
	key := f.key()
	var err error
	if f.upload == "" {
		err = f.do(ctx, "PutObject", &s3api.PutObjectInput{Bucket: f.bucket, Key: key, Body: io.Reader(bytes.NewReader(f.buffer)), ExpectedBucketOwner: optional(f.owner)}, &s3api.PutObjectOutput{})
	} else {
		if len(f.buffer) > 0 {
			err = f.part(ctx, f.buffer)
		}
		if err == nil {
			err = f.do(ctx, "CompleteMultipartUpload", &s3api.CompleteMultipartUploadInput{Bucket: f.bucket, Key: key, UploadId: f.upload,
				MultipartUpload: &s3api.CompletedMultipartUpload{Parts: f.parts}, ExpectedBucketOwner: optional(f.owner)}, &s3api.CompleteMultipartUploadOutput{})
		}
	}
	if err != nil {
		return err
	}
	f.written = append(f.written, jsonvalue.Object(jsonvalue.M("Key", jsonvalue.Str(key)), jsonvalue.M("Size", jsonvalue.Int(f.size))))
	f.buffer, f.size, f.begun, f.upload, f.parts = f.buffer[:0], 0, false, "", nil
	return nil
}

// abort gives up an upload that was begun, as well as that can be done.
func (f *resultFiles) abort(ctx context.Context) {
	if f.upload != "" {
		_ = f.do(ctx, "AbortMultipartUpload", &s3api.AbortMultipartUploadInput{Bucket: f.bucket, Key: f.key(), UploadId: f.upload, ExpectedBucketOwner: optional(f.owner)},
			&s3api.AbortMultipartUploadOutput{})
	}
}

// Transform is the output of a Map state whose ResultWriter has a WriterConfig and no Resource: what Write would put into
// its files, as one value in the order of the children: an array, or for JSONL a string of lines. max bounds its bytes (0: nothing does); more is ErrTooLarge.
func Transform(transformation, outputType string, results iter.Seq2[Result, error], max int) (jsonvalue.Value, error) {
	s, err := newShape(transformation, outputType)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	if max <= 0 {
		max = math.MaxInt32
	}
	type numbered struct {
		n int64
		v jsonvalue.Value
	}
	var all []numbered
	size := 2
	for r, err := range results {
		if err != nil {
			return jsonvalue.Value{}, err
		}
		for v := range s.records(r) {
			if size += v.Size() + 1; size > max+1 { // the last has no comma
				return jsonvalue.Value{}, ErrTooLarge
			}
			all = append(all, numbered{r.N, v})
		}
	}
	slices.SortStableFunc(all, func(a, b numbered) int { return cmp.Compare(a.n, b.n) })
	out := jsonvalue.ArrayOf(func(yield func(jsonvalue.Value) bool) {
		for _, x := range all {
			if !yield(x.v) {
				return
			}
		}
	})
	if s.outputType == "JSONL" {
		var b strings.Builder
		for _, x := range all {
			b.Write(x.v.Raw())
			b.WriteByte('\n')
		}
		out = jsonvalue.Str(b.String())
	}
	if out.Size() > max {
		return jsonvalue.Value{}, ErrTooLarge
	}
	return out, nil
}
