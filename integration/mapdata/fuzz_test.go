package mapdata

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/tools/txtar"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// shelf is as much of S3 as a reader needs, without the rest: one object, under each key.
type shelf []byte

func (s shelf) Invoke(_ context.Context, c awscall.Call) (map[string]any, error) {
	if c.Operation != "GetObject" {
		return nil, fmt.Errorf("unexpected %s", c.Operation)
	}
	var from, to int64
	if _, err := fmt.Sscanf(c.Input["Range"].(string), "bytes=%d-%d", &from, &to); err != nil {
		return nil, err
	}
	if from >= int64(len(s)) {
		return nil, awsapi.Errorf(416, "InvalidRange", "The requested range is not satisfiable")
	}
	to = min(to+1, int64(len(s)))
	return map[string]any{"Body": io.NopCloser(bytes.NewReader(s[from:to])), "ETag": `"e"`, "ContentLength": to - from,
		"ContentRange": fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(s))}, nil
}

// consistent reads an object at once and with a restart after every third item, and compares.
func consistent(t *testing.T, content []byte, key string, config ReaderConfig) ([]Item, error) {
	t.Helper()
	args := jsonvalue.Object(jsonvalue.M("Bucket", jsonvalue.Str("bkt")), jsonvalue.M("Key", jsonvalue.Str(key)))
	src := Source{Resource: "arn:aws:states:::s3:getObject", Arguments: args, Config: config}
	items, err := read(shelf(content), src, 1<<20, false)
	var f *Failure
	if err != nil && !errors.As(err, &f) {
		t.Fatalf("neither items nor a failure: %v", err)
	}
	if len(items) > 300 { // restarts would take the square of it
		return items, err
	}
	again, errAgain := read(shelf(content), src, 3, true)
	if once, later := outcome(items, err), outcome(again, errAgain); once != later {
		t.Fatalf("at once:\n%s\nwith restarts:\n%s", once, later)
	}
	for _, i := range items {
		if _, err := jsonvalue.Parse(i.Value.Raw()); err != nil {
			t.Fatalf("item %d is not JSON: %v", i.Index, err)
		}
	}
	return items, err
}

// seeds are the objects of the table's cases whose names begin so.
func seeds(f *testing.F, pattern string) {
	paths, err := filepath.Glob("testdata/read/" + pattern)
	if err != nil || len(paths) == 0 {
		f.Fatalf("%s: no seeds, %v", pattern, err)
	}
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			if strings.Contains(file.Name, "/") && !strings.Contains(file.Name, " ") {
				f.Add(file.Data)
			}
		}
	}
}

// FuzzJSON: the items are those of encoding/json, and what is read without a failure is JSON.
func FuzzJSON(f *testing.F) {
	seeds(f, "json_*.txtar")
	for _, s := range []string{`[1,2,{"a":[{}]},"x\\\"",[[]]]`, `{"a":1,"a":2}`, `["` + strings.Repeat(`\\`, 40000) + `"]`, "[1,2]\x00", `[1,"\ud800"]`, `[7E77077]`, "[\n\n]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		items, err := consistent(t, content, "k", ReaderConfig{InputType: "JSON"})
		if err != nil {
			return
		}
		text := bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
		if !json.Valid(text) {
			t.Fatalf("%q was read", content)
		}
		var want []any
		switch bytes.TrimSpace(text)[0] {
		case '[':
			if err := unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			if len(want) != len(items) {
				t.Fatalf("%d items, want %d", len(items), len(want))
			}
			for i := range want {
				var got any
				if err := unmarshal(items[i].Value.Raw(), &got); err != nil || fmt.Sprint(got) != fmt.Sprint(want[i]) {
					t.Fatalf("item %d is %v, want %v", i, got, want[i])
				}
			}
		default:
			d := json.NewDecoder(bytes.NewReader(text))
			_, _ = d.Token()
			n := 0
			for ; d.More(); n++ {
				name, _ := d.Token()
				var value json.RawMessage
				if err := d.Decode(&value); err != nil {
					t.Fatal(err)
				}
				if n >= len(items) || !items[n].Keyed || items[n].Key != name {
					t.Fatalf("member %d is %q", n, name)
				}
			}
			if n != len(items) {
				t.Fatalf("%d items, want %d", len(items), n)
			}
		}
	})
}

// unmarshal keeps the text of numbers: some are too large for a double.
func unmarshal(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(to)
}

// FuzzPointer: a pointer finds what it finds in the whole document.
func FuzzPointer(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,[2,3]]}}`), "/a/b/1")
	f.Add([]byte(`[[1],{"x/y":{"~":[5]}}]`), "/1/x~1y/~0")
	f.Add([]byte(`{"":[1]}`), "/")
	f.Fuzz(func(t *testing.T, content []byte, pointer string) {
		items, err := consistent(t, content, "k", ReaderConfig{InputType: "JSON", ItemsPointer: pointer})
		dup := false
		v, bad := jsonvalue.ParseWith(content, jsonvalue.Options{Duplicate: func(string, int) { dup = true }})
		if bad != nil || dup || pointer == "" {
			return
		}
		found := v
		for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
			step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
			if found.Kind() == jsonvalue.KindArray {
				i := -1
				if fmt.Sscan(step, &i); fmt.Sprint(i) != step {
					i = -1
				}
				found = found.Index(i)
			} else {
				found = found.Member(step)
			}
		}
		if err == nil && found.Len() != len(items) {
			t.Fatalf("%d items at %q, want those of %s", len(items), pointer, found)
		}
		if err != nil && strings.HasPrefix(pointer, "/") && (found.Kind() == jsonvalue.KindArray || found.Kind() == jsonvalue.KindObject) {
			t.Fatalf("%q is there: %v", pointer, err)
		}
	})
}

// FuzzJSONL: each line is an item, or the first that is not is named.
func FuzzJSONL(f *testing.F) {
	seeds(f, "jsonl*.txtar")
	f.Fuzz(func(t *testing.T, content []byte) {
		items, err := consistent(t, content, "k", ReaderConfig{InputType: "JSONL"})
		if err != nil {
			return
		}
		n := 0
		for line := range bytes.SplitSeq(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")), []byte("\n")) {
			if len(bytes.TrimSpace(line)) > 0 {
				n++
			}
		}
		if n != len(items) {
			t.Fatalf("%d items of %d lines", len(items), n)
		}
	})
}

// FuzzCSV: every item has each header, in one order.
func FuzzCSV(f *testing.F) {
	seeds(f, "csv_*.txtar")
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, delimiter := range []string{"COMMA", "PIPE", "SPACE"} {
			items, _ := consistent(t, content, "k", ReaderConfig{InputType: "CSV", CSVHeaderLocation: "FIRST_ROW", CSVDelimiter: delimiter})
			for _, i := range items {
				if i.Value.Len() != items[0].Value.Len() {
					t.Fatalf("item %d has %d members, and the first %d", i.Index, i.Value.Len(), items[0].Value.Len())
				}
				for _, m := range i.Value.Members() {
					if m.Kind() != jsonvalue.KindString {
						t.Fatalf("item %d: %s", i.Index, i.Value)
					}
				}
			}
			consistent(t, content, "k", ReaderConfig{InputType: "CSV", CSVHeaderLocation: "GIVEN", CSVHeaders: []string{"a", "b"}, CSVDelimiter: delimiter})
		}
	})
}

// FuzzQuoted: what is written with quotes comes back.
func FuzzQuoted(f *testing.F) {
	f.Add("a,b", "x\"y\"", "line\nline\n")
	f.Add("", " ", "\\")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		want := []string{a, b, c}
		var row strings.Builder
		for i, s := range want {
			s = strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\r", "")
			want[i] = s
			fmt.Fprintf(&row, `"%s",`, strings.NewReplacer(`"`, `""`, `\`, `\\`).Replace(s))
		}
		items, err := consistent(t, []byte(row.String()+"\nend\n"), "k", ReaderConfig{InputType: "CSV", CSVHeaderLocation: "GIVEN", CSVHeaders: []string{"a", "b", "c"}})
		if err != nil || len(items) != 2 {
			t.Fatalf("%d items, %v", len(items), err)
		}
		for i, name := range []string{"a", "b", "c"} {
			if got := items[0].Value.Member(name).Str(); got != want[i] {
				t.Fatalf("%s is %q, want %q", name, got, want[i])
			}
		}
	})
}

// FuzzManifest: manifests whose files are the manifest again.
func FuzzManifest(f *testing.F) {
	seeds(f, "inventory*.txtar")
	seeds(f, "athena*.txtar")
	f.Fuzz(func(t *testing.T, content []byte) {
		consistent(t, content, "k", ReaderConfig{ManifestType: "S3_INVENTORY"})
		consistent(t, content, "k", ReaderConfig{ManifestType: "ATHENA_DATA", InputType: "JSONL"})
		consistent(t, content, "k", ReaderConfig{ManifestType: "ATHENA_DATA", InputType: "CSV", CSVHeaderLocation: "FIRST_ROW"})
	})
}

// FuzzCompressed: what is no GZIP and no ZSTD is a failure.
func FuzzCompressed(f *testing.F) {
	for _, key := range []string{"k.gz", "k.zst"} {
		f.Add(compressed(f, key, []byte("1\n2\n\"three\"\n")))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		consistent(t, content, "k.gz", ReaderConfig{InputType: "JSONL"})
		consistent(t, content, "k.zst", ReaderConfig{InputType: "JSONL"})
	})
}

// FuzzParquet: a damaged file is a failure, and not a panic.
func FuzzParquet(f *testing.F) {
	f.Add(parquetFile(f, &parquet.Uncompressed, 2, 1))
	f.Fuzz(func(t *testing.T, content []byte) {
		consistent(t, content, "k", ReaderConfig{InputType: "PARQUET"})
	})
}

// FuzzCursor: a cursor of another hand is a failure, and not a panic.
func FuzzCursor(f *testing.F) {
	f.Add(`{"i":1,"o":8,"l":1,"r":1,"e":"\"e\""}`, "CSV")
	f.Add(`{"i":1,"o":3,"r":1,"m":true}`, "JSON")
	f.Add(`{"i":1,"o":-3}`, "JSONL")
	f.Add(`{"i":1,"r":5}`, "PARQUET")
	f.Fuzz(func(t *testing.T, at, kind string) {
		src := Source{Resource: "arn:aws:states:::s3:getObject", Arguments: jsonvalue.MustParse(`{"Bucket":"b","Key":"k"}`), Config: ReaderConfig{InputType: kind}}
		if kind == "CSV" {
			src.Config.CSVHeaderLocation = "FIRST_ROW"
		}
		for _, key := range []string{"k", "k.gz"} {
			r, err := Open(context.Background(), shelf(compressed(t, key, []byte("[1,2,3]\n[4]\n[5]\n"))), src, at)
			if err == nil {
				_, _, _, _ = r.Next(context.Background(), 100)
				r.Close()
			}
		}
	})
}
