package mapdata

import (
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// listing are the objects of a bucket below a prefix, in the order of their keys, page by page.
type listing struct {
	*client
	in    s3api.ListObjectsV2Input
	page  []s3api.Object
	last  string // the key behind which reading goes on
	ended bool
}

func newListing(c *client, args jsonvalue.Value, after string) (*listing, error) {
	a, err := arguments(args, c.failed, "Bucket", "Prefix", "Delimiter", "StartAfter", "MaxKeys", "ExpectedBucketOwner", "RequestPayer")
	if err != nil {
		return nil, err
	}
	l := &listing{client: c, last: after, in: s3api.ListObjectsV2Input{Bucket: a["Bucket"], Prefix: optional(a["Prefix"]), Delimiter: optional(a["Delimiter"]),
		StartAfter: optional(a["StartAfter"]), ExpectedBucketOwner: optional(a["ExpectedBucketOwner"]), RequestPayer: optional(a["RequestPayer"])}}
	if text, ok := a["MaxKeys"]; ok {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return nil, c.failed("The field MaxKeys must be a positive integer, not %s", text)
		}
		l.in.MaxKeys = &n // of a page: all pages are read
	}
	return l, nil
}

// next gives an object of the listing, io.EOF at the end.
func (l *listing) next(ctx context.Context) (s3api.Object, error) {
	for len(l.page) == 0 {
		if l.ended {
			return s3api.Object{}, io.EOF
		}
		in := l.in
		if l.last != "" {
			in.StartAfter = &l.last
		}
		var out s3api.ListObjectsV2Output
		if err := l.do(ctx, "ListObjectsV2", &in, &out); err != nil {
			return s3api.Object{}, err
		}
		l.page, l.ended = out.Contents, !awsapi.Val(out.IsTruncated)
		switch n := len(out.CommonPrefixes); {
		case l.ended:
		case len(l.page) == 0 && n == 0:
			return s3api.Object{}, l.failed("S3 says that the listing of %s goes on, and gives no object", l.in.Bucket)
		case n > 0: // keys below a delimiter are not items, but reading goes on behind them
			l.last = max(l.last, awsapi.Val(out.CommonPrefixes[n-1].Prefix))
		}
	}
	o := l.page[0]
	l.page = l.page[1:]
	l.last = max(l.last, awsapi.Val(o.Key))
	return o, nil
}

// shown is an object as an item. AWS: recorded, with the time in seconds as Java writes a double.
func shown(o s3api.Object) jsonvalue.Value {
	var modified jsonvalue.Value
	if o.LastModified != nil {
		modified, _ = jsonvalue.Number(javaDouble(float64(o.LastModified.Unix())))
	}
	text := func(s *string) jsonvalue.Value {
		if s == nil {
			return jsonvalue.Value{}
		}
		return jsonvalue.Str(*s)
	}
	return jsonvalue.Object(jsonvalue.M("Etag", text(o.ETag)), jsonvalue.M("Key", text(o.Key)), jsonvalue.M("LastModified", modified),
		jsonvalue.M("Size", jsonvalue.Int(awsapi.Val(o.Size))), jsonvalue.M("StorageClass", text(o.StorageClass)))
}

// javaDouble is Double.toString: 1.790204286E9.
func javaDouble(f float64) string {
	if a := max(f, -f); f == 0 || a >= 1e-3 && a < 1e7 {
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	n, _ := strconv.Atoi(exponent)
	return mantissa + "E" + strconv.Itoa(n)
}

// metadata are the objects of a listing as items.
type metadata struct{ *listing }

func (m metadata) next(ctx context.Context) (record, error) {
	o, err := m.listing.next(ctx)
	return record{value: shown(o)}, err
}
