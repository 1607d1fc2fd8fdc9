package mapdata

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/tools/txtar"

	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/services/s3"
	"github.com/mayfly-run/mayfly/store/memory"
)

var update = flag.Bool("update", false, "write golden files")

type fixedClock struct{ clock.System }

func (fixedClock) Now() time.Time { return time.Date(2026, 9, 23, 22, 58, 6, 123e6, time.UTC) }

// world is S3, really served in process.
type world struct {
	t    testing.TB
	gate *gateway.Gateway
	c    *client
}

func newWorld(t testing.TB) *world {
	t.Helper()
	st := memory.New()
	w := &world{t: t}
	var err error
	if w.gate, err = gateway.New(context.Background(), gateway.Config{Store: st, Clock: fixedClock{}}); err != nil {
		t.Fatal(err)
	}
	objects, err := s3.New(context.Background(), s3.Config{Store: st, Clock: fixedClock{}, DataDir: t.TempDir(), Fatal: func(err error) { t.Fatal(err) }})
	if err != nil {
		t.Fatal(err)
	}
	w.gate.Register(objects.API())
	w.c = &client{calls: w.gate, principal: principal, failed: readerFailed}
	return w
}

var principal = identity.Principal{Kind: identity.Execution, Account: "000000000000", Region: "us-east-1", Entity: "arn:aws:states:us-east-1:000000000000:execution:M:e"}

func (w *world) do(operation string, in, out any) {
	w.t.Helper()
	if err := w.c.do(context.Background(), operation, in, out); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) bucket(name string) {
	w.t.Helper()
	w.do("CreateBucket", &s3api.CreateBucketInput{Bucket: name}, &s3api.CreateBucketOutput{})
}

// put keeps an object, compressed as its key says.
func (w *world) put(bucket, key string, content []byte) {
	w.t.Helper()
	w.do("PutObject", &s3api.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(compressed(w.t, key, content))}, &s3api.PutObjectOutput{})
}

// clear removes a bucket and what is in it.
func (w *world) clear(bucket string) {
	w.t.Helper()
	var objects s3api.ListObjectsV2Output
	w.do("ListObjectsV2", &s3api.ListObjectsV2Input{Bucket: bucket}, &objects)
	for _, o := range objects.Contents {
		w.do("DeleteObject", &s3api.DeleteObjectInput{Bucket: bucket, Key: *o.Key}, &s3api.DeleteObjectOutput{})
	}
	w.do("DeleteBucket", &s3api.DeleteBucketInput{Bucket: bucket}, &s3api.DeleteBucketOutput{})
}

func compressed(t testing.TB, key string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var z io.WriteCloser
	switch {
	case strings.HasSuffix(key, ".gz"):
		z = gzip.NewWriter(&b)
	case strings.HasSuffix(key, ".zst"), strings.HasSuffix(key, ".zstd"):
		z, _ = zstd.NewWriter(&b)
	default:
		return content
	}
	if _, err := z.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// outcome is what a reading gave, as text: an item on each line, and how it ended.
func outcome(items []Item, err error) string {
	var b strings.Builder
	for _, i := range items {
		fmt.Fprintf(&b, "%d", i.Index)
		if i.Keyed {
			fmt.Fprintf(&b, " %q", i.Key)
		}
		fmt.Fprintf(&b, " %s %s\n", i.Source, i.Value)
	}
	var f *Failure
	if errors.As(err, &f) {
		fmt.Fprintf(&b, "%s: %s\n", f.Failure.Error, f.Cause)
	} else if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	}
	return b.String()
}

// read reads all, max at a time. With restart, every Next is of a new reader, at the cursor that the last one gave.
func read(calls awscall.Caller, src Source, max int, restart bool) (all []Item, err error) {
	ctx := context.Background()
	at := ""
	var r Reader
	for {
		if r == nil {
			if r, err = Open(ctx, calls, src, at); err != nil {
				return all, err
			}
		}
		items, next, done, err := r.Next(ctx, max)
		if err != nil {
			r.Close()
			return all, err
		}
		all = append(all, items...)
		at = next
		if restart || done {
			r.Close()
			r = nil
		}
		if done {
			// A reader at the end stays there.
			r, err := Open(ctx, calls, src, at)
			if err != nil {
				return all, err
			}
			defer r.Close()
			if more, _, again, err := r.Next(ctx, max); len(more) > 0 || !again || err != nil {
				return all, fmt.Errorf("after the end: %d items, done %v, %v", len(more), again, err)
			}
			return all, nil
		}
	}
}

// TestRead: each file holds a source, the objects that there are, and the items that come of it.
func TestRead(t *testing.T) {
	w := newWorld(t) // one for all: each takes syncs of the disk
	for _, path := range list(t, "testdata/read/*.txtar") {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var src Source
			buckets := map[string]bool{}
			defer func() {
				for name := range buckets {
					w.clear(name)
				}
			}()
			golden := -1
			for i, f := range a.Files {
				switch name := f.Name; {
				case name == "source.json":
					src = source(t, f.Data)
				case name == "items":
					golden = i
				default:
					data := f.Data
					if n, ok := strings.CutSuffix(name, " (quoted)"); ok { // what a text file cannot show
						s, err := strconv.Unquote(strings.TrimSpace(string(data)))
						if err != nil {
							t.Fatalf("%s: %v", name, err)
						}
						name, data = n, []byte(s)
					}
					bucket, key, _ := strings.Cut(name, "/")
					if !buckets[bucket] {
						w.bucket(bucket)
						buckets[bucket] = true
					}
					if key != "" {
						w.put(bucket, key, data)
					}
				}
			}
			items, err := read(w.gate, src, 1000, false)
			got := outcome(items, err)
			items, err = read(w.gate, src, 1, true)
			if diff := cmp.Diff(got, outcome(items, err)); diff != "" {
				t.Errorf("read with a restart after each item (-at once +with restarts):\n%s", diff)
			}
			items, err = read(w.gate, src, 2, false)
			if diff := cmp.Diff(got, outcome(items, err)); diff != "" {
				t.Errorf("read by twos (-at once +by twos):\n%s", diff)
			}
			if *update {
				if golden < 0 {
					a.Files = append(a.Files, txtar.File{Name: "items"})
					golden = len(a.Files) - 1
				}
				a.Files[golden].Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(a), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			if golden < 0 {
				t.Fatal("no items: run with -update")
			}
			if diff := cmp.Diff(string(a.Files[golden].Data), got); diff != "" {
				t.Errorf("items (-want +got):\n%s", diff)
			}
		})
	}
}

func list(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no files, %v", pattern, err)
	}
	return paths
}

func source(t testing.TB, b []byte) Source {
	t.Helper()
	var s struct {
		Resource  string
		Arguments jsonvalue.Value
		Items     jsonvalue.Value
		MaxItems  int64
		MaxFile   int64
		Config    struct {
			InputType, Transformation, ManifestType, CSVHeaderLocation, CSVDelimiter, ItemsPointer string
			CSVHeaders                                                                             []string
			MaxItems                                                                               int64
		}
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		t.Fatalf("source.json: %v", err)
	}
	if s.Resource != "" {
		s.Resource = "arn:aws:states:::s3:" + s.Resource
	}
	return Source{Principal: principal, Items: s.Items, MaxItems: s.MaxItems, MaxFile: s.MaxFile, Resource: s.Resource, Arguments: s.Arguments, Config: ReaderConfig{
		InputType: s.Config.InputType, Transformation: s.Config.Transformation, ManifestType: s.Config.ManifestType, CSVHeaderLocation: s.Config.CSVHeaderLocation,
		CSVHeaders: s.Config.CSVHeaders, CSVDelimiter: s.Config.CSVDelimiter, ItemsPointer: s.Config.ItemsPointer, MaxItems: s.Config.MaxItems}}
}

// TestWrite: each file holds a destination, the results, and the objects that come of them.
func TestWrite(t *testing.T) {
	w := newWorld(t)
	for _, path := range list(t, "testdata/write/*.txtar") {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			w.bucket("bkt")
			defer w.clear("bkt")
			to := Destination{Principal: principal, Resource: "arn:aws:states:::s3:putObject", MapRunARN: "arn:aws:states:us-east-1:000000000000:mapRun:M/L:4c1a"}
			limit := awsSizes
			var results []Result
			kept := a.Files[:0:0]
			for _, f := range a.Files {
				switch f.Name {
				case "destination.json":
					var d struct {
						Resource, Transformation, OutputType string
						Arguments                            jsonvalue.Value
						Part                                 int
						File                                 int64
					}
					if err := json.Unmarshal(f.Data, &d); err != nil {
						t.Fatal(err)
					}
					to.Arguments, to.Transformation, to.OutputType = d.Arguments, d.Transformation, d.OutputType
					if d.Resource != "" {
						to.Resource = d.Resource
					}
					if d.Part > 0 {
						limit = sizes{d.Part, d.File}
					}
					kept = append(kept, f)
				case "results.jsonl":
					for line := range bytes.Lines(f.Data) {
						var r Result
						if err := json.Unmarshal(line, &r); err != nil {
							t.Fatal(err)
						}
						results = append(results, r)
					}
					kept = append(kept, f)
				}
			}
			all := func(yield func(Result, error) bool) {
				for _, r := range results {
					if !yield(r, nil) {
						return
					}
				}
			}
			var got []txtar.File
			for range 2 { // repeated, it writes the same
				written, err := write(t.Context(), w.gate, to, all, limit)
				got = []txtar.File{{Name: "written", Data: []byte(fmt.Sprintf("%s %s %d\n%s", written.Bucket, written.Key, written.Results, outcome(nil, err)))}}
			}
			var objects s3api.ListObjectsV2Output
			w.do("ListObjectsV2", &s3api.ListObjectsV2Input{Bucket: "bkt"}, &objects)
			for _, o := range objects.Contents {
				var out s3api.GetObjectOutput
				w.do("GetObject", &s3api.GetObjectInput{Bucket: "bkt", Key: *o.Key}, &out)
				b, err := io.ReadAll(out.Body)
				if err != nil {
					t.Fatal(err)
				}
				out.Body.Close()
				if strings.HasSuffix(*o.Key, ".json") && !json.Valid(b) {
					t.Errorf("%s is not JSON: %s", *o.Key, b)
				}
				got = append(got, txtar.File{Name: *o.Key + " " + strconv.Itoa(len(b)), Data: append(b, '\n')})
			}
			var uploads s3api.ListMultipartUploadsOutput
			w.do("ListMultipartUploads", &s3api.ListMultipartUploadsInput{Bucket: "bkt"}, &uploads)
			if len(uploads.Uploads) > 0 {
				t.Errorf("%d uploads are left", len(uploads.Uploads))
			}
			state, err := Transform(to.Transformation, to.OutputType, all, 256<<10)
			got = append(got, txtar.File{Name: "as a state's output", Data: []byte(state.String() + "\n" + outcome(nil, err))})
			if size := state.Size(); err == nil && size > 0 {
				if _, err := Transform(to.Transformation, to.OutputType, all, size); err != nil {
					t.Errorf("the output of %d bytes does not fit into %d: %v", size, size, err)
				}
				if _, err := Transform(to.Transformation, to.OutputType, all, size-1); !errors.Is(err, ErrTooLarge) {
					t.Errorf("the output of %d bytes fits into one fewer: %v", size, err)
				}
			}
			out := &txtar.Archive{Comment: a.Comment, Files: append(kept, got...)}
			if *update {
				if err := os.WriteFile(path, txtar.Format(out), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(txtar.Format(a)), string(txtar.Format(out))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestWriteRedriven: a redrive writes what is new, and its manifest knows what is not.
func TestWriteRedriven(t *testing.T) {
	w := newWorld(t)
	w.bucket("bkt")
	to := Destination{Principal: principal, Resource: "arn:aws:states:::s3:putObject", MapRunARN: "arn:x:1", Arguments: jsonvalue.MustParse(`{"Bucket":"bkt","Prefix":"p"}`), Transformation: "COMPACT"}
	run := func(redrives int64, results ...Result) string {
		to.Redrives = redrives
		written, err := Write(t.Context(), w.gate, to, func(yield func(Result, error) bool) {
			for _, r := range results {
				if !yield(r, nil) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s %d", written.Key, written.Results)
		var out s3api.GetObjectOutput
		w.do("GetObject", &s3api.GetObjectInput{Bucket: "bkt", Key: written.Key}, &out)
		defer out.Body.Close()
		var m struct {
			ResultFiles map[string][]struct{ Key string }
		}
		if err := json.NewDecoder(out.Body).Decode(&m); err != nil {
			t.Fatal(err)
		}
		for _, kind := range resultKinds {
			for _, f := range m.ResultFiles[kind] {
				got += " " + f.Key
			}
		}
		return got
	}
	ok, failed := Result{Status: "SUCCEEDED", Output: jsonvalue.Int(1)}, Result{Status: "FAILED"}
	later := ok
	later.Redrives = 1
	latest := ok
	latest.Redrives = 2
	for i, c := range []struct{ got, want string }{
		{run(0, ok, failed, failed), "p/1/manifest.json 3 p/1/FAILED_0.json p/1/SUCCEEDED_0.json"},
		{run(1, ok, later, failed), "p/1/Redrive-1/manifest.json 3 p/1/Redrive-1/FAILED_0.json p/1/SUCCEEDED_0.json p/1/Redrive-1/SUCCEEDED_0.json"},
		{run(2, ok, later, latest), "p/1/Redrive-2/manifest.json 3 p/1/SUCCEEDED_0.json p/1/Redrive-1/SUCCEEDED_0.json p/1/Redrive-2/SUCCEEDED_0.json"},
		{run(4, ok, later, latest), "p/1/Redrive-4/manifest.json 3 p/1/Redrive-4/SUCCEEDED_0.json"}, // the third wrote nothing
	} {
		if c.got != c.want {
			t.Errorf("%d: %s, want %s", i, c.got, c.want)
		}
	}
}

// TestWriteFails: what goes wrong on the way leaves no unfinished upload.
func TestWriteFails(t *testing.T) {
	w := newWorld(t)
	w.bucket("bkt")
	to := Destination{Principal: principal, Resource: "arn:aws:states:::s3:putObject", MapRunARN: "arn:x:1", Arguments: jsonvalue.MustParse(`{"Bucket":"bkt"}`)}
	lost := errors.New("lost")
	_, err := write(t.Context(), w.gate, to, func(yield func(Result, error) bool) {
		r := Result{Status: "SUCCEEDED", Output: jsonvalue.Str(strings.Repeat("x", 6<<20))}
		_ = yield(r, nil) && yield(r, nil) && yield(Result{}, lost)
	}, sizes{5 << 20, 1 << 30})
	if !errors.Is(err, lost) {
		t.Fatalf("error %v", err)
	}
	var uploads s3api.ListMultipartUploadsOutput
	w.do("ListMultipartUploads", &s3api.ListMultipartUploadsInput{Bucket: "bkt"}, &uploads)
	var objects s3api.ListObjectsV2Output
	w.do("ListObjectsV2", &s3api.ListObjectsV2Input{Bucket: "bkt"}, &objects)
	if len(uploads.Uploads)+len(objects.Contents) > 0 {
		t.Errorf("%d uploads and %d objects are left", len(uploads.Uploads), len(objects.Contents))
	}
}

// TestWriteParts: a file larger than a part is the same bytes.
func TestWriteParts(t *testing.T) {
	w := newWorld(t)
	w.bucket("bkt")
	to := Destination{Principal: principal, Resource: "arn:aws:states:::s3:putObject", MapRunARN: "arn:x:1", Arguments: jsonvalue.MustParse(`{"Bucket":"bkt"}`), Transformation: "COMPACT"}
	big := jsonvalue.Str(strings.Repeat("x", 3<<20))
	_, err := write(t.Context(), w.gate, to, func(yield func(Result, error) bool) {
		for range 5 {
			if !yield(Result{Status: "SUCCEEDED", Output: big}, nil) {
				return
			}
		}
	}, sizes{5 << 20, 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for n := range 4 {
		key := fmt.Sprintf("1/SUCCEEDED_%d.json", n)
		var out s3api.GetObjectOutput
		if err := w.c.do(t.Context(), "GetObject", &s3api.GetObjectInput{Bucket: "bkt", Key: key}, &out); err != nil {
			break
		}
		b, err := io.ReadAll(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		out.Body.Close()
		v, err := jsonvalue.Parse(b)
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		names = append(names, fmt.Sprint(v.Len()))
		for e := range v.Elements() {
			if !jsonvalue.Equal(e, big) {
				t.Errorf("%s holds another value", key)
			}
		}
	}
	if want := []string{"2", "2", "1"}; !slices.Equal(names, want) {
		t.Errorf("results of the files %v, want %v", names, want)
	}
}

// TestChangedObject: an object that is overwritten between two calls is not read on.
func TestChangedObject(t *testing.T) {
	for _, kind := range []string{"JSON", "JSONL", "CSV"} {
		w := newWorld(t)
		w.bucket("bkt")
		rows := "1\n2\n3\n4\n"
		if kind == "JSON" {
			rows = "[1,2,3,4]"
		}
		w.put("bkt", "k", []byte(rows))
		src := Source{Principal: principal, Resource: "arn:aws:states:::s3:getObject", Arguments: jsonvalue.MustParse(`{"Bucket":"bkt","Key":"k"}`), Config: ReaderConfig{InputType: kind}}
		if kind == "CSV" {
			src.Config.CSVHeaderLocation = "FIRST_ROW"
		}
		r, err := Open(t.Context(), w.gate, src, "")
		if err != nil {
			t.Fatal(err)
		}
		_, at, _, err := r.Next(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		w.put("bkt", "k", []byte(strings.ReplaceAll(rows, "3", "33")))
		r, err = Open(t.Context(), w.gate, src, at)
		if err != nil {
			t.Fatal(err)
		}
		items, _, _, err := r.Next(t.Context(), 2)
		r.Close()
		if want := "States.ItemReaderFailed: The object s3://bkt/k was changed while its items were read\n"; outcome(items, err) != want {
			t.Errorf("%s: %s", kind, outcome(items, err))
		}
	}
}

// flaky fails some calls as a network does: before they were made, or within a body.
type flaky struct {
	awscall.Caller
	n int
}

var errNet = errors.New("connection reset")

func (f *flaky) Invoke(ctx context.Context, c awscall.Call) (map[string]any, error) {
	f.n++
	if f.n%5 == 0 {
		return nil, errNet
	}
	out, err := f.Caller.Invoke(ctx, c)
	if body, ok := out["Body"].(io.ReadCloser); ok && f.n%5 == 2 {
		out["Body"] = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(body, 5), broken{}), body}
	}
	return out, err
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errNet }

// TestFlakyNetwork: whatever fails on the way, each item comes once.
func TestFlakyNetwork(t *testing.T) {
	w := newWorld(t)
	w.bucket("bkt")
	var lines strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&lines, "{\"n\":%d}\n", i)
	}
	w.put("bkt", "d/a.jsonl", []byte(lines.String()))
	w.put("bkt", "d/b.jsonl.gz", []byte(lines.String()))
	w.put("bkt", "d/c.jsonl.zst", []byte(lines.String()))
	src := Source{Principal: principal, Resource: "arn:aws:states:::s3:listObjectsV2", Arguments: jsonvalue.MustParse(`{"Bucket":"bkt","Prefix":"d/"}`),
		Config: ReaderConfig{InputType: "JSONL", Transformation: "LOAD_AND_FLATTEN"}}
	calls := &flaky{Caller: w.gate}
	at, n, tries := "", int64(0), 0
	for done := false; !done; {
		if tries++; tries > 1000 {
			t.Fatalf("%d tries, %d items", tries, n)
		}
		r, err := Open(t.Context(), calls, src, at)
		if err != nil {
			t.Fatal(err)
		}
		for !done {
			var items []Item
			var next string
			items, next, done, err = r.Next(t.Context(), 999)
			var f *Failure
			if errors.As(err, &f) {
				t.Fatal(err)
			}
			if err != nil {
				done = false
				break
			}
			at = next
			for _, i := range items {
				if got, _ := i.Value.Member("n").Int(); i.Index != n || got != n%20000 {
					t.Fatalf("item %d is %s, index %d", n, i.Value, i.Index)
				}
				n++
			}
		}
		r.Close()
	}
	if n != 60000 {
		t.Errorf("%d items", n)
	}
}
