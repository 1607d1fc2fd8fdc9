package mapdata

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

const million = 1_000_000

// BenchmarkRead reads 1,000,000 items from services/s3, 250 at a time as the engine does. peak-MB is the heap in use at its
// greatest, over what there was before.
func BenchmarkRead(b *testing.B) {
	row := func(i int) string { return fmt.Sprintf(`{"id":%d,"name":"customer %d","amount":%d.25}`, i, i, i%1000) }
	for _, c := range []struct {
		name, key string
		config    ReaderConfig
		content   func() []byte
	}{
		{"JSON", "k", ReaderConfig{InputType: "JSON"}, func() []byte {
			var w bytes.Buffer
			for i := range million {
				w.WriteString("[,"[min(i, 1):][:1])
				w.WriteString(row(i))
			}
			return append(w.Bytes(), ']')
		}},
		{"JSONL", "k", ReaderConfig{InputType: "JSONL"}, func() []byte {
			var w bytes.Buffer
			for i := range million {
				w.WriteString(row(i) + "\n")
			}
			return w.Bytes()
		}},
		{"JSONL.gz", "k.gz", ReaderConfig{InputType: "JSONL"}, func() []byte {
			var w bytes.Buffer
			for i := range million {
				w.WriteString(row(i) + "\n")
			}
			return w.Bytes()
		}},
		{"CSV", "k", ReaderConfig{InputType: "CSV", CSVHeaderLocation: "FIRST_ROW"}, func() []byte {
			w := bytes.NewBufferString("id,name,amount\n")
			for i := range million {
				fmt.Fprintf(w, "%d,customer %d,%d.25\n", i, i, i%1000)
			}
			return w.Bytes()
		}},
		{"PARQUET", "k", ReaderConfig{InputType: "PARQUET"}, func() []byte {
			type customer struct {
				ID     int64   `parquet:"id"`
				Name   string  `parquet:"name"`
				Amount float64 `parquet:"amount"`
			}
			var out bytes.Buffer
			w := parquet.NewGenericWriter[customer](&out, parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(200_000))
			for i := range million {
				if _, err := w.Write([]customer{{int64(i), fmt.Sprint("customer ", i), float64(i%1000) + .25}}); err != nil {
					b.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
			return out.Bytes()
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b)
			w.bucket("bkt")
			w.put("bkt", c.key, c.content())
			src := Source{Principal: principal, Resource: "arn:aws:states:::s3:getObject", Config: c.config,
				Arguments: jsonvalue.Object(jsonvalue.M("Bucket", jsonvalue.Str("bkt")), jsonvalue.M("Key", jsonvalue.Str(c.key)))}
			heap := func() float64 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return float64(m.HeapInuse) / (1 << 20)
			}
			runtime.GC()
			before, peak := heap(), 0.0
			for b.Loop() {
				r, err := Open(b.Context(), w.gate, src, "")
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for done := false; !done; {
					var items []Item
					if items, _, done, err = r.Next(b.Context(), 250); err != nil {
						b.Fatal(err)
					}
					if n += len(items); n%50_000 == 0 {
						peak = max(peak, heap())
					}
				}
				r.Close()
				if n != million {
					b.Fatalf("%d items", n)
				}
			}
			b.ReportMetric(float64(b.N)*million/b.Elapsed().Seconds(), "items/s")
			b.ReportMetric(peak-before, "peak-MB")
		})
	}
}
