package mapdata

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"math"

	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// maxAnswer bounds the bytes of the items that one Next gives, but for one item.
const maxAnswer = 4 << 20

// cursor is a Reader's place, as text.
type cursor struct {
	Index int64 `json:"i"` // items given
	Done  bool  `json:"d,omitempty"`
	place
	mark
}

func (c cursor) String() string {
	b, _ := json.Marshal(c)
	return string(b)
}

// Open starts reading at a cursor that a Reader of the same Source gave, "" for the beginning. Nothing is read before Next.
func Open(ctx context.Context, calls awscall.Caller, src Source, from string) (Reader, error) {
	var at cursor
	if from != "" {
		if err := json.Unmarshal([]byte(from), &at); err != nil || at.Index < 0 || at.Offset < 0 || at.N < 0 || at.Row < 0 {
			return nil, readerFailed("The cursor %.200q is not one of this reader", from)
		}
	}
	limit, err := most(src.Config, src.MaxItems)
	if err != nil {
		return nil, err
	}
	if src.Resource == "" {
		return openInline(src.Items, at, limit)
	}
	c := &client{calls: calls, principal: src.Principal, failed: readerFailed, maxFile: src.MaxFile}
	config := src.Config
	switch src.Resource {
	case "arn:aws:states:::s3:listObjectsV2":
		return openListing(c, src, config, at, limit)
	case "arn:aws:states:::s3:getObject":
	default:
		return nil, readerFailed("The resource %s cannot be read from; an ItemReader's are arn:aws:states:::s3:getObject and arn:aws:states:::s3:listObjectsV2", src.Resource)
	}
	a, err := arguments(src.Arguments, readerFailed, "Bucket", "Key", "VersionId", "ExpectedBucketOwner", "RequestPayer")
	if err != nil {
		return nil, err
	}
	o := object{bucket: a["Bucket"], key: a["Key"], version: a["VersionId"], owner: a["ExpectedBucketOwner"], payer: a["RequestPayer"]}
	if config.Transformation != "" && config.Transformation != "NONE" {
		return nil, readerFailed("ReaderConfig.Transformation %s is only for arn:aws:states:::s3:listObjectsV2", config.Transformation)
	}
	r := &reader{client: c, at: at, limit: limit, ended: at.Done}
	switch {
	case config.ManifestType == "S3_INVENTORY", config.ManifestType == "" && config.InputType == "MANIFEST":
		if config.InputType != "" && config.InputType != "MANIFEST" {
			return nil, readerFailed("ReaderConfig.InputType %s cannot be given beside ManifestType S3_INVENTORY", config.InputType)
		}
		r.files = &inventory{manifest: &remote{client: c, object: o, size: -1}, skip: at.N}
	case config.ManifestType == "ATHENA_DATA":
		switch config.InputType {
		case "CSV", "JSONL", "PARQUET":
		default:
			return nil, readerFailed("ReaderConfig.ManifestType ATHENA_DATA needs InputType CSV, JSONL or PARQUET, not %q", config.InputType)
		}
		if _, err := c.records(object{}, config, mark{}); err != nil {
			return nil, err
		}
		r.files = &unloaded{stream: openStream(&remote{client: c, object: o, size: -1}), config: config, skipTo: at.N}
	case config.ManifestType != "":
		return nil, readerFailed("ReaderConfig.ManifestType must be S3_INVENTORY or ATHENA_DATA, not %q", config.ManifestType)
	default:
		if _, err := c.records(o, config, mark{}); err != nil {
			return nil, err
		}
		r.files = &one{object: o, config: config}
	}
	return r, nil
}

// OpenText reads what the object bucket/key holds from a text: by the rules of its InputType where that is CSV, JSON or
// JSONL. Of all else (a listing, a manifest, Parquet) the text is a JSON array or object of the items.
func OpenText(text, bucket, key string, config ReaderConfig) (Reader, error) {
	limit, err := most(config, 0)
	if err != nil {
		return nil, err
	}
	readable := config.InputType == "CSV" || config.InputType == "JSON" || config.InputType == "JSONL"
	if !readable || config.ManifestType != "" {
		config = ReaderConfig{InputType: "JSON", ItemsPointer: config.ItemsPointer}
	}
	c := &client{failed: readerFailed, text: &text}
	o := object{bucket: bucket, key: key}
	if _, err := c.records(o, config, mark{}); err != nil {
		return nil, err
	}
	return &reader{client: c, limit: limit, files: &one{object: o, config: config}}, nil
}

// most is how many items are read.
func most(config ReaderConfig, limit int64) (int64, error) {
	if limit == 0 {
		limit = math.MaxInt64
	}
	switch {
	case config.MaxItems < 0:
		return 0, readerFailed("field MaxItems must be positive") // AWS: recorded
	case config.MaxItems > 0:
		return min(config.MaxItems, limit), nil
	}
	return limit, nil
}

func openListing(c *client, src Source, config ReaderConfig, at cursor, limit int64) (Reader, error) {
	switch config.Transformation {
	case "", "NONE":
		if config.InputType != "" || config.ManifestType != "" {
			return nil, readerFailed("ReaderConfig.InputType and ManifestType are not for arn:aws:states:::s3:listObjectsV2, unless Transformation is LOAD_AND_FLATTEN")
		}
		l, err := newListing(c, src.Arguments, at.Key)
		if err != nil {
			return nil, err
		}
		return &reader{client: c, at: at, limit: limit, ended: at.Done, listing: l, source: "s3://" + l.in.Bucket}, nil
	case "LOAD_AND_FLATTEN":
		if _, err := c.records(object{}, config, mark{}); err != nil {
			return nil, err
		}
		l, err := newListing(c, src.Arguments, at.Key)
		if err != nil {
			return nil, err
		}
		return &reader{client: c, at: at, limit: limit, ended: at.Done, files: &listed{listing: l, config: config, begin: at.Key}}, nil
	}
	return nil, readerFailed("ReaderConfig.Transformation must be NONE or LOAD_AND_FLATTEN, not %q", config.Transformation)
}

// records opens a file.
func (c *client) records(o object, config ReaderConfig, at mark) (records, error) {
	from := &remote{client: c, object: o, etag: at.ETag, size: -1}
	if config.ItemsPointer != "" && config.InputType != "JSON" {
		return nil, c.failed("ReaderConfig.ItemsPointer is only for InputType JSON")
	}
	switch config.InputType {
	case "JSON":
		return newJSON(from, config.ItemsPointer, at), nil
	case "JSONL":
		return newLines(from, at), nil
	case "CSV":
		return newCSV(from, config, at)
	case "PARQUET":
		if o.version != "" {
			return nil, c.failed("A VersionId cannot be given for InputType PARQUET")
		}
		return newParquet(from, at), nil
	}
	return nil, c.failed("ReaderConfig.InputType must be CSV, JSON, JSONL, PARQUET or MANIFEST, not %q", config.InputType)
}

// reader reads the records of one or more files, or a listing.
type reader struct {
	*client
	at      cursor
	limit   int64
	source  string
	listing *listing // its objects are the items
	files   files    // or these files' records are
	current records
	ended   bool  // all is read
	err     error // given by every later Next
}

func (r *reader) Close() error {
	if r.current != nil {
		r.current.close()
		r.current = nil
	}
	if u, ok := r.files.(*unloaded); ok {
		u.close()
	}
	return nil
}

func (r *reader) Next(ctx context.Context, max int) ([]Item, string, bool, error) {
	if r.err != nil {
		return nil, "", false, r.err
	}
	var items []Item
	size := 0
	for len(items) < max && size < maxAnswer && !r.ended && r.at.Index < r.limit {
		rec, err := r.next(ctx)
		if err == io.EOF {
			r.ended = true
			break
		}
		if err != nil {
			r.err = err
			if len(items) == 0 {
				return nil, "", false, err
			}
			break // what was read is good; the next call tells
		}
		items = append(items, Item{Index: r.at.Index, Key: rec.key, Keyed: rec.keyed, Value: rec.value, Source: r.source})
		r.at.Index++
		size += rec.value.Size()
	}
	if r.current != nil {
		r.at.mark = r.current.mark()
	}
	r.at.Done = r.ended || r.err == nil && r.at.Index >= r.limit
	return items, r.at.String(), r.at.Done, nil
}

func (r *reader) next(ctx context.Context) (record, error) {
	if r.listing != nil {
		rec, err := metadata{r.listing}.next(ctx)
		r.at.Key = r.listing.last
		return rec, err
	}
	for {
		if r.current == nil {
			o, config, err := r.files.next(ctx)
			if err != nil {
				return record{}, err
			}
			p := r.files.place()
			if p != r.at.place {
				r.at.mark = mark{} // of another file
			}
			r.at.place = p
			if r.current, err = r.records(o, config, r.at.mark); err != nil {
				return record{}, err
			}
			r.source = o.String()
		}
		rec, err := r.current.next(ctx)
		if err != io.EOF {
			return rec, err
		}
		r.at.mark = r.current.mark() // until another file begins
		r.current.close()
		r.current = nil
		if _, ok := r.files.(*one); ok {
			return record{}, io.EOF
		}
	}
}

// inline items are the elements of an array or the members of an object.
type inline struct {
	pull   func() (record, bool)
	stop   func()
	at     cursor
	limit  int64
	source string
}

func openInline(v jsonvalue.Value, at cursor, limit int64) (Reader, error) {
	var all iter.Seq[record]
	switch v.Kind() {
	case jsonvalue.KindArray:
		all = func(yield func(record) bool) {
			for e := range v.Elements() {
				if !yield(record{value: e}) {
					return
				}
			}
		}
	case jsonvalue.KindObject:
		all = func(yield func(record) bool) {
			for name, m := range v.Members() {
				if !yield(record{key: name, keyed: true, value: m}) {
					return
				}
			}
		}
	default:
		return nil, readerFailed("Attempting to map over non-iterable node.")
	}
	i := &inline{at: at, limit: limit, source: "STATE_DATA"}
	i.pull, i.stop = iter.Pull(all)
	for range at.Index {
		if _, ok := i.pull(); !ok {
			break
		}
	}
	return i, nil
}

func (i *inline) Close() error { i.stop(); return nil }

func (i *inline) Next(_ context.Context, max int) ([]Item, string, bool, error) {
	var items []Item
	done := i.at.Index >= i.limit
	for len(items) < max && !done {
		rec, ok := i.pull()
		if done = !ok; done {
			break
		}
		items = append(items, Item{Index: i.at.Index, Key: rec.key, Keyed: rec.keyed, Value: rec.value, Source: i.source})
		i.at.Index++
		done = i.at.Index >= i.limit
	}
	return items, i.at.String(), done, nil
}
