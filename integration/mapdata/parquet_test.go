package mapdata

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

type parquetRow struct {
	ID     int64              `parquet:"id"`
	Name   *string            `parquet:"name,optional"`
	Double float64            `parquet:"double"`
	Float  float32            `parquet:"float"`
	Flag   bool               `parquet:"flag"`
	Small  uint32             `parquet:"small"`
	Tags   []string           `parquet:"tags,list"`
	Plain  []int32            `parquet:"plain"`
	Attrs  map[string]float64 `parquet:"attrs"`
	Born   int32              `parquet:"born,date"`
	At     int64              `parquet:"at,timestamp(microsecond)"`
	Price  int64              `parquet:"price,decimal(2:10)"`
	Bytes  []byte             `parquet:"bytes"`
	UUID   [16]byte           `parquet:"uuid,uuid"`
	Nested struct {
		X     *int32 `parquet:"x,optional"`
		Lines []struct {
			Text  string  `parquet:"text"`
			Words []int64 `parquet:"words,list"`
		} `parquet:"lines,list"`
	} `parquet:"nested"`
}

// parquetFile is a file of row groups of so many rows.
func parquetFile(t testing.TB, codec compress.Codec, groups ...int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[parquetRow](&b, parquet.Compression(codec), parquet.PageBufferSize(1000))
	n := 0
	for _, rows := range groups {
		for range rows {
			r := parquetRow{ID: int64(n), Double: float64(n) / 8, Float: 0.1, Flag: n%2 == 0, Small: math.MaxUint32 - uint32(n), Born: int32(n) - 1,
				At: 1790204286123456 + int64(n), Price: int64(n*5 - 7), Bytes: []byte{byte(n), 0xff, 0}}
			r.UUID[0], r.UUID[15] = byte(n), 0xab
			if n%3 > 0 {
				s := fmt.Sprintf("naïve %d", n)
				x := int32(-n)
				r.Name, r.Nested.X = &s, &x
				r.Attrs = map[string]float64{"k": float64(n)}
				r.Bytes = []byte("text")
			}
			for i := range n % 3 {
				r.Tags = append(r.Tags, fmt.Sprint("t", i))
				r.Plain = append(r.Plain, int32(i))
				r.Nested.Lines = append(r.Nested.Lines, struct {
					Text  string  `parquet:"text"`
					Words []int64 `parquet:"words,list"`
				}{fmt.Sprint("l", i), []int64{int64(i), int64(n)}[:i+n%2]})
			}
			if n == 4 {
				r.Double = math.NaN()
			}
			if _, err := w.Write([]parquetRow{r}); err != nil {
				t.Fatal(err)
			}
			n++
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func parquetSource() Source {
	return Source{Principal: principal, Resource: "arn:aws:states:::s3:getObject", Arguments: jsonvalue.MustParse(`{"Bucket":"bkt","Key":"k.parquet"}`), Config: ReaderConfig{InputType: "PARQUET"}}
}

// TestParquet: rows with all kinds of columns, under each codec, over several row groups, with and without restarts.
func TestParquet(t *testing.T) {
	w := newWorld(t)
	w.bucket("bkt")
	var got string
	for _, codec := range []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Gzip, &parquet.Zstd} {
		w.put("bkt", "k.parquet", parquetFile(t, codec, 3, 1, 4))
		items, err := read(w.gate, parquetSource(), 1000, false)
		once := outcome(items, err)
		if got == "" {
			got = once
		}
		if diff := cmp.Diff(got, once); diff != "" {
			t.Errorf("%s differs:\n%s", codec, diff)
		}
		items, err = read(w.gate, parquetSource(), 3, true)
		if diff := cmp.Diff(got, outcome(items, err)); diff != "" {
			t.Errorf("%s with restarts (-at once +with restarts):\n%s", codec, diff)
		}
	}
	w.put("bkt", "k.parquet", parquetFile(t, &parquet.Lz4Raw, 1))
	if items, err := read(w.gate, parquetSource(), 1000, false); len(items) > 0 || outcome(nil, err) != "States.ItemReaderFailed: The Parquet file s3://bkt/k.parquet is compressed with LZ4_RAW; GZIP, SNAPPY and ZSTD can be read\n" {
		t.Errorf("LZ4: %s", outcome(items, err))
	}
	const golden = "testdata/parquet.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestParquetMany: rows of many pages and row groups come once, in order, wherever reading begins.
func TestParquetMany(t *testing.T) {
	w := newWorld(t)
	w.bucket("bkt")
	w.put("bkt", "k.parquet", parquetFile(t, &parquet.Zstd, 1500, 700, 1))
	for _, max := range []int{1 << 20, 333} {
		items, err := read(w.gate, parquetSource(), max, max == 333)
		if err != nil || len(items) != 2201 {
			t.Fatalf("%d items, %v", len(items), err)
		}
		for i, item := range items {
			if id, _ := item.Value.Member("id").Int(); id != int64(i) || item.Index != int64(i) {
				t.Fatalf("item %d has index %d and id %d", i, item.Index, id)
			}
		}
	}
}

// TestParquetDamaged: a byte that is another one gives items or a failure, and never more.
func TestParquetDamaged(t *testing.T) {
	whole := parquetFile(t, &parquet.Snappy, 5)
	for i := 0; i < len(whole); i += 7 {
		b := bytes.Clone(whole)
		b[i] ^= 0x55
		items, err := read(shelf(b), parquetSource(), 1000, false)
		if f, ok := err.(*Failure); err != nil && !ok || len(items) > 5 {
			t.Fatalf("byte %d: %d items, %v, %v", i, len(items), f, err)
		}
	}
}
