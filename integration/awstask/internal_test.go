package awstask

import (
	"testing"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

func TestJavaDouble(t *testing.T) {
	for f, want := range map[float64]string{1763855000.123: "1.763855000123E9", 1763855000: "1.763855E9", 2e9: "2.0E9", 12.5: "12.5", 0: "0.0", -1e7: "-1.0E7", 1e-4: "1.0E-4"} {
		if got := javaDouble(f); got != want {
			t.Errorf("%v is %s, expected %s", f, got, want)
		}
	}
}

// TestOrder: what states see is sorted by name at every depth, and what was streamed comes last.
func TestOrder(t *testing.T) {
	for _, c := range []struct {
		service, operation string
		doc                map[string]any
		want               string
	}{
		{"s3", "GetObject", map[string]any{"Body": []byte("b"), "ETag": "e", "ContentLength": int64(1), "AcceptRanges": "bytes"},
			`{"AcceptRanges":"bytes","ContentLength":1,"ETag":"e","Body":"b"}`},
		{"elasticmapreduce", "DescribeStep", map[string]any{"Step": map[string]any{"Name": "n", "Id": "s", "Status": map[string]any{"State": "FAILED", "FailureDetails": map[string]any{}}}},
			`{"Step":{"Id":"s","Name":"n","Status":{"FailureDetails":{},"State":"FAILED"}}}`},
	} {
		v, err := style{}.fromDocument(output(awsapi.Load(c.service).Operations[c.operation]), c.doc)
		if got := v.String(); err != nil || got != c.want {
			t.Errorf("%s: %s, %v; want %s", c.operation, got, err, c.want)
		}
	}
}
