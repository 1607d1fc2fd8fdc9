package mapdata

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

func readerFailed(format string, args ...any) *Failure {
	return &Failure{asl.Failure{Error: asl.ErrItemReaderFailed, Cause: fmt.Sprintf(format, args...)}}
}

func writerFailed(format string, args ...any) *Failure {
	return &Failure{asl.Failure{Error: asl.ErrResultWriterFailed, Cause: fmt.Sprintf(format, args...)}}
}

// client makes S3 calls for a reader or a writer, and turns AWS's refusals into failures with its error name.
type client struct {
	calls     awscall.Caller
	principal identity.Principal
	failed    func(format string, args ...any) *Failure
	maxFile   int64   // Source.MaxFile
	text      *string // what each object holds, never compressed; nil: S3 is asked
}

// do makes a call. The answer is bound to out; a refusal is a *Failure.
func (c *client) do(ctx context.Context, operation string, in, out any) error {
	doc, err := c.calls.Invoke(ctx, awscall.Call{Principal: c.principal, Service: "s3", Operation: operation, Input: awsapi.ToDocument(in)})
	if err != nil {
		return c.refused(operation, err)
	}
	if err := awsapi.FromDocument(doc, out); err != nil {
		return fmt.Errorf("answer to s3 %s: %w", operation, err)
	}
	return nil
}

// refused is what an error of a call means. Throttling and errors on S3's side leave the outcome open: the caller repeats.
//
// The cause is spelt as the older AWS SDK for Java spells exceptions, which is what the other optimized integrations show.
func (c *client) refused(operation string, err error) error {
	var e *awsapi.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("s3 %s: %w", operation, err)
	}
	status := e.Status
	if status == 0 {
		status = 400
	}
	switch e.Code {
	case "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout":
		return fmt.Errorf("s3 %s: %w", operation, err)
	}
	if status >= 500 && e.Code != "NotImplemented" {
		return fmt.Errorf("s3 %s: %w", operation, err)
	}
	sum := sha256.Sum256([]byte(c.principal.Entity + operation + e.Code + e.Message)) // the same at each repetition
	return c.failed("%s (Service: Amazon S3; Status Code: %d; Error Code: %s; Request ID: %X; S3 Extended Request ID: %x; Proxy: null)",
		e.Message, status, e.Code, sum[:8], sum[8:32])
}

// object names an object to read.
type object struct {
	bucket, key    string
	version, owner string // "" for none
	payer          string
}

func (o object) String() string { return "s3://" + o.bucket + "/" + o.key }

// arguments reads the fields of Parameters or Arguments, all of them strings; allowed names those that may be given.
func arguments(v jsonvalue.Value, failed func(string, ...any) *Failure, allowed ...string) (map[string]string, error) {
	if v.Kind() != jsonvalue.KindObject {
		return nil, failed("Parameters must be an object, not %s", v.Kind())
	}
	got := map[string]string{}
	for name, m := range v.Members() {
		switch {
		case !slices.Contains(allowed, name):
			return nil, failed("The field %s is not supported here; the fields are %s", name, strings.Join(allowed, ", "))
		case m.Kind() == jsonvalue.KindNumber && name == "MaxKeys":
			got[name] = m.NumberText()
		case m.Kind() == jsonvalue.KindString:
			got[name] = m.Str()
		default:
			return nil, failed("The field %s must be a string, not %s", name, m.Kind())
		}
	}
	for _, name := range []string{"Bucket", "Key"} {
		if got[name] == "" && slices.Contains(allowed, name) {
			return nil, failed("The field %s is missing", name)
		}
	}
	return got, nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// remote reads ranges of one object, all of the same ETag: an object that is overwritten meanwhile is a failure, and never
// a mixture. It is its caller's to not read concurrently.
type remote struct {
	*client
	object
	etag string // "" until the first answer
	size int64  // -1 until the first answer
}

// read fills p from offset, in one call. At the end of the object it gives fewer bytes, with io.EOF.
func (r *remote) read(ctx context.Context, p []byte, offset int64) (int, error) {
	if r.size >= 0 && offset >= r.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if r.text != nil {
		r.size = int64(len(*r.text))
		n := copy(p, (*r.text)[min(offset, r.size):])
		if offset+int64(n) >= r.size {
			return n, io.EOF
		}
		return n, nil
	}
	in := &s3api.GetObjectInput{Bucket: r.bucket, Key: r.key, VersionId: optional(r.version), ExpectedBucketOwner: optional(r.owner),
		RequestPayer: optional(r.payer), IfMatch: optional(r.etag),
		Range: awsapi.Ptr("bytes=" + strconv.FormatInt(offset, 10) + "-" + strconv.FormatInt(offset+int64(len(p))-1, 10))}
	doc, err := r.calls.Invoke(ctx, awscall.Call{Principal: r.principal, Service: "s3", Operation: "GetObject", Input: awsapi.ToDocument(in)})
	var e *awsapi.Error
	switch {
	case errors.As(err, &e) && (e.Status == 416 || e.Code == "InvalidRange"):
		if r.size < 0 {
			r.size = offset // nothing is behind it: an empty object, or one that is not as long as it was
		}
		return 0, io.EOF
	case errors.As(err, &e) && e.Status == 412:
		return 0, r.failed("The object %s was changed while its items were read", r.object)
	case err != nil:
		return 0, r.refused("GetObject", err)
	}
	var out s3api.GetObjectOutput
	if err := awsapi.FromDocument(doc, &out); err != nil {
		return 0, fmt.Errorf("answer to s3 GetObject: %w", err)
	}
	if out.Body == nil {
		return 0, fmt.Errorf("s3 GetObject %s: the answer has no body", r.object)
	}
	defer out.Body.Close()
	size := offset + awsapi.Val(out.ContentLength)
	if out.ContentRange != nil {
		_, total, _ := strings.Cut(*out.ContentRange, "/")
		n, err := strconv.ParseInt(total, 10, 64)
		if err != nil || !strings.HasPrefix(*out.ContentRange, "bytes "+strconv.FormatInt(offset, 10)+"-") {
			return 0, fmt.Errorf("s3 GetObject %s: asked for %s, answered %q", r.object, *in.Range, *out.ContentRange)
		}
		size = n
	} else if offset > 0 {
		return 0, fmt.Errorf("s3 GetObject %s: the range %s was not applied", r.object, *in.Range)
	}
	if r.maxFile > 0 && size > r.maxFile {
		return 0, r.failed("The object %s has %d bytes; the largest that can be read has %d", r.object, size, r.maxFile)
	}
	r.etag, r.size = awsapi.Val(out.ETag), size
	want := min(int64(len(p)), size-offset)
	n, err := io.ReadFull(out.Body, p[:want])
	if err != nil {
		return 0, fmt.Errorf("read %s at %d: %w", r.object, offset, err)
	}
	if offset+int64(n) == size {
		return n, io.EOF
	}
	return n, nil
}
