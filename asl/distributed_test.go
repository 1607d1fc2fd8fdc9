package asl

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// mapped is a machine with one Map in distributed mode; fields are what it has besides its processor.
func mapped(config, fields string) string {
	return `{"StartAt":"M","States":{"M":{"Type":"Map","ItemProcessor":{"ProcessorConfig":` + config + `,"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}},` + fields + `"End":true}}}`
}

func TestDistributedDiagnostics(t *testing.T) {
	const standard = `{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"}`
	const get = `"ItemReader":{"Resource":"arn:aws:states:::s3:getObject","Parameters":{"Bucket":"b","Key":"k"},"ReaderConfig":`
	for _, c := range []struct {
		config, fields string
		express        bool
		want           string // "": accepted; otherwise a part of the first diagnostic
	}{
		{standard, ``, false, ""},
		{`{"Mode":"DISTRIBUTED","ExecutionType":"EXPRESS"}`, ``, false, ""},
		{standard, ``, true, "Express state machine does not support Map state in Distributed mode at /States/M/ItemProcessor/ProcessorConfig"},
		{`{"Mode":"DISTRIBUTED"}`, ``, false, "These fields are required: [ExecutionType] at /States/M/ItemProcessor/ProcessorConfig"},
		{`{"Mode":"DISTRIBUTED","ExecutionType":"FAST"}`, ``, false, "Value should be one of the following: [STANDARD, EXPRESS]"},
		{`{"Mode":"SPREAD"}`, ``, false, "Value should be one of the following"},
		{`{"Mode":"INLINE"}`, `"Label":"a",`, false, "Field 'Label' is not supported by a Map state in Inline mode"},
		{`{"Mode":"INLINE","ExecutionType":"STANDARD"}`, ``, false, "Field 'ExecutionType' is not supported"},
		{standard, `"Label":"` + strings.Repeat("a", 40) + `",`, false, ""},
		{standard, `"Label":"` + strings.Repeat("a", 41) + `",`, false, CodeInvalidLabel},
		{standard, `"Label":"",`, false, CodeInvalidLabel},
		{standard, `"Label":"a b",`, false, CodeInvalidLabel},
		{standard, `"Label":"a:b",`, false, CodeInvalidLabel},
		{standard, `"ToleratedFailurePercentage":100,"ToleratedFailureCount":7,`, false, ""},
		{standard, `"ToleratedFailurePercentage":101,`, false, "Maximum value is 100 at /States/M/ToleratedFailurePercentage"},
		{standard, `"ToleratedFailureCount":1,"ToleratedFailureCountPath":"$.n",`, false, "Only one of these fields may be set: [ToleratedFailureCount, ToleratedFailureCountPath]"},
		{standard, `"ItemBatcher":{"BatchInput":{}},`, false, "One of these fields is required: [MaxItemsPerBatch"},
		{standard, `"ItemBatcher":{"MaxInputBytesPerBatch":262145},`, false, "Maximum value is 262144"},
		{standard, `"ItemBatcher":{"MaxItemsPerBatch":0},`, false, "Minimum value is 1"},
		{standard, get + `{"InputType":"JSON","ItemsPointer":"/a","MaxItems":3}},`, false, ""},
		{standard, get + `{"InputType":"CSV","CSVHeaderLocation":"GIVEN","CSVHeaders":["a"],"CSVDelimiter":"TAB"}},`, false, ""},
		{standard, get + `{"InputType":"CSV","CSVHeaderLocation":"GIVEN"}},`, false, "These fields are required: [CSVHeaders]"},
		{standard, get + `{"InputType":"CSV"}},`, false, "These fields are required: [CSVHeaderLocation]"},
		{standard, get + `{"InputType":"XML"}},`, false, "Value should be one of the following: [CSV, JSON, JSONL, PARQUET, MANIFEST]"},
		{standard, get + `{"ManifestType":"S3_INVENTORY"}},`, false, ""},
		{standard, get + `{}},`, false, "These fields are required: [InputType]"},
		{standard, `"ItemReader":{"Resource":"arn:aws:states:::s3:putObject","Parameters":{}},`, false, "Value should be one of the following"},
		{standard, `"ItemReader":{"Resource":"arn:aws:states:::s3:listObjectsV2","Parameters":{"Bucket":"b"}},`, false, ""},
		{standard, `"ItemReader":{"Resource":"arn:aws:states:::s3:listObjectsV2","Parameters":{"Bucket":"b"},"ReaderConfig":{"Transformation":"LOAD_AND_FLATTEN"}},`, false, "These fields are required: [InputType]"},
		{standard, `"ResultWriter":{"Resource":"arn:aws:states:::s3:putObject","Parameters":{"Bucket":"b"},"WriterConfig":{"Transformation":"FLATTEN","OutputType":"JSONL"}},`, false, ""},
		{standard, `"ResultWriter":{"WriterConfig":{"Transformation":"COMPACT","OutputType":"JSON"}},`, false, ""},
		{standard, `"ResultWriter":{},`, false, "Value cannot be empty"},
		{standard, `"ResultWriter":{"Resource":"arn:aws:states:::s3:putObject"},`, false, "These fields are required: ["},
		{standard, `"ResultWriter":{"WriterConfig":{"OutputType":"XML"}},`, false, "Value should be one of the following: [JSON, JSONL]"},
	} {
		m, diagnostics := Parse([]byte(mapped(c.config, c.fields)), ParseOptions{Express: c.express})
		if c.want == "" {
			if m == nil || len(diagnostics) > 0 {
				t.Errorf("%s %s: %v", c.config, c.fields, diagnostics)
			}
			continue
		}
		if m != nil || !slices.ContainsFunc(diagnostics, func(d Diagnostic) bool { return strings.Contains(d.String(), c.want) }) {
			t.Errorf("%s %s: %v; want %s", c.config, c.fields, diagnostics, c.want)
		}
	}
}

func TestDuplicateLabel(t *testing.T) {
	one := func(name, next string) string {
		return fmt.Sprintf(`"%s":{"Type":"Map","Label":"same","ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},"StartAt":"P%s","States":{"P%s":{"Type":"Pass","End":true}}},%s}`, name, name, name, next)
	}
	_, diagnostics := Parse([]byte(`{"StartAt":"A","States":{`+one("A", `"Next":"B"`)+`,`+one("B", `"End":true`)+`}}`), ParseOptions{})
	if len(diagnostics) != 1 || diagnostics[0].Code != CodeDuplicateLabel || diagnostics[0].Pointer != "/States/B/Label" {
		t.Error(diagnostics)
	}
}

// TestDistribute evaluates the fields of a distributed Map.
func TestDistribute(t *testing.T) {
	const standard = `{"Mode":"DISTRIBUTED","ExecutionType":"EXPRESS"}`
	const runtime = "An error occurred while executing the state 'M' (entered at the event id #2). "
	for _, c := range []struct{ fields, input, want, cause string }{
		{``, `[1]`, `{"express":true}`, ""},
		{`"ToleratedFailureCountPath":"$.n","ToleratedFailurePercentagePath":"$.p",`, `{"n":"3","p":1.5}`, `{"express":true,"tolerance":{"count":3,"percent":1.5}}`, ""},
		{`"ToleratedFailureCountPath":"$.n",`, `{"n":1.5}`, ``, `The ToleratedFailureCountPath field refers to value 1.5 which is not a valid integer: $.n`},
		{`"ToleratedFailureCountPath":"$.n",`, `{"n":-1}`, ``, `ToleratedFailureCount cannot be negative.`},
		{`"ToleratedFailurePercentagePath":"$.n",`, `{"n":100.5}`, ``, `ToleratedFailurePercentage must be between 0 and 100.`},
		{`"ItemBatcher":{"MaxItemsPerBatchPath":"$.n","BatchInput":{"x.$":"$.n"}},`, `{"n":4}`, `{"express":true,"batch":{"maxItems":4,"input":{"x":4}}}`, ""},
		{`"ItemReader":{"Resource":"arn:aws:states:::s3:getObject","Parameters":{"Bucket.$":"$.b","Key":"k"},"ReaderConfig":{"InputType":"JSON","MaxItemsPath":"$.n"}},`, `{"b":"B","n":-2}`,
			`{"express":true,"reader":{"inputType":"JSON","resource":"arn:aws:states:::s3:getObject","arguments":{"Bucket":"B","Key":"k"},"maxItems":-2}}`, ""},
		{`"ResultWriter":{"Resource":"arn:aws:states:::s3:putObject","Parameters":{"Bucket.$":"$.b"}},`, `{"b":"B"}`,
			`{"express":true,"writer":{"resource":"arn:aws:states:::s3:putObject","arguments":{"Bucket":"B"}}}`, ""},
	} {
		m, diagnostics := Parse([]byte(mapped(standard, c.fields)), ParseOptions{})
		if m == nil {
			t.Fatal(c.fields, diagnostics)
		}
		input := jsonvalue.MustParse(c.input)
		v := &Visit{State: m.States["M"], Entered: 2, Input: input, Limits: DefaultLimits}
		d, f := v.Distribute(input)
		if c.cause != "" {
			if f == nil || f.Error != ErrRuntime || f.Cause != runtime+c.cause {
				t.Errorf("%s: %v; want %s", c.fields, f, c.cause)
			}
			continue
		}
		got, err := jsonvalue.From(asTree(t, d))
		if f != nil || err != nil || !jsonvalue.Equal(got, jsonvalue.MustParse(c.want)) {
			t.Errorf("%s: %s %v %v; want %s", c.fields, got, f, err, c.want)
		}
	}
}

func asTree(t *testing.T, v any) (tree any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &tree)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tree
}
