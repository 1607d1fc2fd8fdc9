package mapdata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// maxManifest bounds the manifest.json of an S3 inventory, which is read whole.
const maxManifest = 64 << 20

// files gives the objects whose records are the items, in order, io.EOF at the end. place names the last one given, so that
// reading can begin with it again.
type files interface {
	next(ctx context.Context) (object, ReaderConfig, error)
	place() place
}

// place is where in a sequence of files the reading is.
type place struct {
	Key string `json:"k,omitempty"` // of the last file: a listing's
	N   int64  `json:"n,omitempty"` // files before it: a manifest's
}

// one file.
type one struct {
	object
	config ReaderConfig
	given  bool
}

func (o *one) next(context.Context) (object, ReaderConfig, error) {
	if o.given {
		return object{}, ReaderConfig{}, io.EOF
	}
	o.given = true
	return o.object, o.config, nil
}
func (o *one) place() place { return place{} }

// listed are the objects of a listing. AWS: LOAD_AND_FLATTEN. What a console shows as a folder, an empty object whose key
// ends in a slash, has no records.
type listed struct {
	*listing
	config ReaderConfig
	begin  string // the file to begin with
}

func (l *listed) next(ctx context.Context) (object, ReaderConfig, error) {
	o := object{bucket: l.in.Bucket, key: l.begin, owner: awsapi.Val(l.in.ExpectedBucketOwner), payer: awsapi.Val(l.in.RequestPayer)}
	l.begin = ""
	for o.key == "" {
		found, err := l.listing.next(ctx)
		if err != nil {
			return object{}, ReaderConfig{}, err
		}
		if key := awsapi.Val(found.Key); !strings.HasSuffix(key, "/") || awsapi.Val(found.Size) > 0 {
			o.key = key
		}
	}
	return o, l.config, nil
}
func (l *listed) place() place { return place{Key: l.last} }

// inventory are the data files of an S3 inventory.
type inventory struct {
	manifest *remote
	skip     int64
	n        int64
	files    []object
	config   ReaderConfig
	loaded   bool
}

func (i *inventory) place() place { return place{N: i.n - 1} }

func (i *inventory) next(ctx context.Context) (object, ReaderConfig, error) {
	if !i.loaded {
		if err := i.load(ctx); err != nil {
			return object{}, ReaderConfig{}, err
		}
		if i.skip > int64(len(i.files)) {
			return object{}, ReaderConfig{}, i.manifest.failed("The manifest %s was changed while its items were read", i.manifest.object)
		}
		i.n, i.loaded = i.skip, true
	}
	if i.n == int64(len(i.files)) {
		return object{}, ReaderConfig{}, io.EOF
	}
	i.n++
	return i.files[i.n-1], i.config, nil
}

// load reads the manifest. AWS: its files must be CSV, which have no header; fileSchema names the columns.
func (i *inventory) load(ctx context.Context) error {
	s := openStream(i.manifest)
	defer s.close()
	if err := s.text(ctx); err != nil {
		return err
	}
	for err := error(nil); err != io.EOF; {
		if len(s.window()) > maxManifest {
			return i.manifest.failed("The manifest %s is larger than %d bytes", i.manifest.object, maxManifest)
		}
		if err = s.more(ctx); err != nil && err != io.EOF {
			return err
		}
	}
	var m struct {
		SourceBucket      string `json:"sourceBucket"`
		DestinationBucket string `json:"destinationBucket"`
		FileFormat        string `json:"fileFormat"`
		FileSchema        string `json:"fileSchema"`
		Files             []struct {
			Key string `json:"key"`
		} `json:"files"`
	}
	if err := json.Unmarshal(s.window(), &m); err != nil {
		var mismatch *json.UnmarshalTypeError
		if errors.As(err, &mismatch) {
			err = fmt.Errorf("%s at byte %d", mismatch.Value, mismatch.Offset)
		}
		return i.manifest.failed("The object %s is not the manifest of an S3 inventory: %v", i.manifest.object, err)
	}
	bucket := m.DestinationBucket[strings.LastIndexByte(m.DestinationBucket, ':')+1:]
	switch {
	case bucket == "" || m.FileSchema == "":
		return i.manifest.failed("The object %s is not the manifest of an S3 inventory: destinationBucket and fileSchema are to be given", i.manifest.object)
	case m.FileFormat != "CSV":
		return i.manifest.failed("The S3 inventory %s has the format %s; an inventory's format must be CSV", i.manifest.object, m.FileFormat)
	}
	var headers []string
	for h := range strings.SplitSeq(m.FileSchema, ",") {
		headers = append(headers, strings.TrimSpace(h))
	}
	i.config = ReaderConfig{InputType: "CSV", CSVHeaderLocation: "GIVEN", CSVHeaders: headers}
	for _, f := range m.Files {
		o := object{bucket: bucket, key: f.Key, payer: i.manifest.payer}
		if f.Key == "" {
			return i.manifest.failed("A file of the manifest %s has no key", i.manifest.object)
		}
		if bucket == i.manifest.bucket {
			o.owner = i.manifest.owner
		}
		i.files = append(i.files, o)
	}
	return nil
}

// unloaded are the files of an Athena UNLOAD: a manifest with one S3 URI on each line.
type unloaded struct {
	*stream
	config ReaderConfig
	skipTo int64
	n      int64
	open   bool
}

func (u *unloaded) place() place { return place{N: u.n - 1} }

func (u *unloaded) next(ctx context.Context) (object, ReaderConfig, error) {
	if !u.open {
		if err := u.text(ctx); err != nil {
			return object{}, ReaderConfig{}, err
		}
		u.open = true
	}
	for {
		text, n, err := u.line(ctx)
		if err == io.EOF && u.n < u.skipTo {
			return object{}, ReaderConfig{}, u.from.failed("The manifest %s was changed while its items were read", u.from.object)
		}
		if errors.Is(err, errTooLarge) {
			return object{}, ReaderConfig{}, u.from.failed("A line of the manifest %s is %v", u.from.object, err)
		}
		if err != nil {
			return object{}, ReaderConfig{}, err
		}
		uri := strings.Trim(strings.TrimSpace(string(text)), `"`)
		u.skip(n)
		if uri == "" {
			continue
		}
		u.n++
		if u.n <= u.skipTo {
			continue
		}
		rest, ok := strings.CutPrefix(uri, "s3://")
		bucket, key, _ := strings.Cut(rest, "/")
		if !ok || bucket == "" || key == "" {
			return object{}, ReaderConfig{}, u.from.failed("Line %d of the manifest %s is no S3 URI: %.200q", u.n, u.from.object, uri)
		}
		o := object{bucket: bucket, key: key, payer: u.from.payer}
		if bucket == u.from.bucket {
			o.owner = u.from.owner
		}
		return o, u.config, nil
	}
}
