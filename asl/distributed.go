package asl

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/asl/jsonpath"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Distributed is what a Map state in distributed mode has beyond an inline one. It does not change after Parse.
type Distributed struct {
	Express  bool   // the children are Express executions
	Label    string // "": one is made
	Reader   *ItemReader
	Batcher  *ItemBatcher
	Writer   *ResultWriter
	Failures Amount // ToleratedFailureCount
	Percent  Amount // ToleratedFailurePercentage
}

// Amount is a number that a definition gives as a constant or by a path.
type Amount struct {
	Constant float64
	Path     *jsonpath.Path // nil: Constant
	Template *Template      // a JSONata expression; nil: none
	Given    bool           // the definition has it, in one of these forms
	field    string         // as AWS's sentences name it, without "Path"
}

// ItemReader says where the items are.
type ItemReader struct {
	Resource  string
	Arguments *Template // Parameters, or Arguments in JSONata
	Config    ReaderConfig
	MaxItems  Amount // 0: all
	Pointer   *Template
}

// ReaderConfig is the constant part of ItemReader.ReaderConfig; an empty field was not given.
type ReaderConfig struct {
	InputType         string   `json:"inputType,omitempty"`
	Transformation    string   `json:"transformation,omitempty"`
	ManifestType      string   `json:"manifestType,omitempty"`
	CSVHeaderLocation string   `json:"csvHeaderLocation,omitempty"`
	CSVHeaders        []string `json:"csvHeaders,omitempty"`
	CSVDelimiter      string   `json:"csvDelimiter,omitempty"`
}

// ItemBatcher puts several items into the input of one child.
type ItemBatcher struct {
	MaxItems, MaxBytes Amount
	Input              *Template // BatchInput; nil: none
}

// ResultWriter says where results go.
type ResultWriter struct {
	Resource       string // "": into the state's output
	Arguments      *Template
	Transformation string // NONE, COMPACT, FLATTEN; "" without WriterConfig
	OutputType     string // JSON, JSONL
}

// The resources of ItemReader and ResultWriter.
const (
	ReadObject  = "arn:aws:states:::s3:getObject"
	ListObjects = "arn:aws:states:::s3:listObjectsV2"
	WriteObject = "arn:aws:states:::s3:putObject"
)

const (
	maxBatchBytes = 262144 // AWS: MaxInputBytesPerBatch
	maxLabel      = 40
	// labelRefuses are the characters that no label may have, besides blanks and control characters.
	labelRefuses = "?*<>{}[]:;,\\|^~$#%&`\""
)

// distributed reads what is left of a Map state in distributed mode; k is its ProcessorConfig.
func (p *parser) distributed(o, k object) *Distributed {
	d := &Distributed{Failures: o.amount("ToleratedFailureCount", 0, 1<<53, true), Percent: o.amount("ToleratedFailurePercentage", 0, 100, false)}
	k.required("ExecutionType")
	d.Express = k.choice("ExecutionType", "STANDARD", "EXPRESS") == "EXPRESS"
	if p.o.Express {
		p.schema(k.v, k.pointer, "Express state machine does not support Map state in Distributed mode")
	}
	if v := o.kind("Label", jsonvalue.KindString); !v.IsZero() {
		d.Label = p.label(v, o.at("Label"))
	}
	if v := o.kind("ItemReader", jsonvalue.KindObject); !v.IsZero() {
		d.Reader = p.itemReader(object{p, v, o.at("ItemReader")})
	}
	if v := o.kind("ItemBatcher", jsonvalue.KindObject); !v.IsZero() {
		b := object{p, v, o.at("ItemBatcher")}
		b.closed([]string{"MaxItemsPerBatch", "MaxInputBytesPerBatch", "BatchInput"}, p.either([]string{"MaxItemsPerBatchPath", "MaxInputBytesPerBatchPath"}, nil))
		d.Batcher = &ItemBatcher{MaxItems: b.amount("MaxItemsPerBatch", 1, 1<<53, true), MaxBytes: b.amount("MaxInputBytesPerBatch", 1, maxBatchBytes, true), Input: b.template("BatchInput")}
		if !d.Batcher.MaxItems.Given && !d.Batcher.MaxBytes.Given {
			p.schema(v, b.pointer, "One of these fields is required: [MaxItemsPerBatch, MaxItemsPerBatchPath, MaxInputBytesPerBatch, MaxInputBytesPerBatchPath]")
		}
	}
	if v := o.kind("ResultWriter", jsonvalue.KindObject); !v.IsZero() {
		d.Writer = p.resultWriter(object{p, v, o.at("ResultWriter")})
	}
	return d
}

func (p *parser) label(v jsonvalue.Value, pointer string) string {
	label := v.Str()
	switch n := utf8.RuneCountInString(label); {
	case n == 0:
		p.fail(v, pointer, CodeInvalidLabel, "Label cannot be empty")
	case n > maxLabel:
		p.fail(v, pointer, CodeInvalidLabel, "Label cannot exceed %d characters", maxLabel)
	}
	if i := strings.IndexFunc(label, func(r rune) bool {
		return strings.ContainsRune(labelRefuses, r) || unicode.IsSpace(r) || unicode.IsControl(r)
	}); i >= 0 {
		r, _ := utf8.DecodeRuneInString(label[i:])
		p.fail(v, pointer, CodeInvalidLabel, "Label contains invalid character: %q", r)
	}
	if p.labels == nil {
		p.labels = map[string]bool{}
	}
	if p.labels[label] {
		p.fail(v, pointer, CodeDuplicateLabel, "Duplicate Label name: %s", label)
	}
	p.labels[label] = true
	return label
}

func (p *parser) itemReader(o object) *ItemReader {
	arguments := p.either([]string{"Parameters"}, []string{"Arguments"})
	o.closed([]string{"Resource", "ReaderConfig"}, arguments)
	o.required("Resource")
	r := &ItemReader{Resource: o.str("Resource"), Arguments: o.template(arguments[0])}
	if v := o.v.Member("Resource"); !v.IsZero() && r.Resource != ReadObject && r.Resource != ListObjects {
		p.schema(v, o.at("Resource"), "Value should be one of the following: [%s, %s]", ReadObject, ListObjects)
	}
	if r.Arguments == nil {
		o.required(arguments...)
	}
	v := o.kind("ReaderConfig", jsonvalue.KindObject)
	if v.IsZero() {
		if r.Resource == ReadObject {
			p.schema(o.v, o.pointer, "These fields are required: [ReaderConfig]")
		}
		return r
	}
	k := object{p, v, o.at("ReaderConfig")}
	k.closed([]string{"InputType", "Transformation", "ManifestType", "CSVHeaderLocation", "CSVHeaders", "CSVDelimiter", "ItemsPointer", "MaxItems"}, p.either([]string{"MaxItemsPath"}, nil))
	c := &r.Config
	c.InputType = k.choice("InputType", "CSV", "JSON", "JSONL", "PARQUET", "MANIFEST")
	c.Transformation = k.choice("Transformation", "NONE", "LOAD_AND_FLATTEN")
	c.ManifestType = k.choice("ManifestType", "S3_INVENTORY", "ATHENA_DATA")
	c.CSVHeaderLocation = k.choice("CSVHeaderLocation", "FIRST_ROW", "GIVEN")
	c.CSVDelimiter = k.choice("CSVDelimiter", "COMMA", "PIPE", "SEMICOLON", "SPACE", "TAB")
	for h := range k.kind("CSVHeaders", jsonvalue.KindArray).Elements() {
		if h.Kind() != jsonvalue.KindString {
			p.schema(h, k.at("CSVHeaders"), "Expected value of type [STRING]")
		}
		c.CSVHeaders = append(c.CSVHeaders, h.Str())
	}
	if !k.v.Member("ItemsPointer").IsZero() {
		k.kind("ItemsPointer", jsonvalue.KindString)
		r.Pointer = k.template("ItemsPointer")
	}
	r.MaxItems = k.amount("MaxItems", 0, 100_000_000, true)
	switch {
	case r.Resource == ReadObject && c.InputType == "" && c.ManifestType != "S3_INVENTORY":
		p.schema(v, k.pointer, "These fields are required: [InputType]")
	case c.ManifestType == "S3_INVENTORY" && c.InputType != "" && c.InputType != "MANIFEST":
		p.schema(v, k.pointer, "Only one of these fields may be set: [InputType, ManifestType]")
	case r.Resource == ListObjects && c.Transformation == "LOAD_AND_FLATTEN" && c.InputType == "":
		p.schema(v, k.pointer, "These fields are required: [InputType]")
	case c.InputType == "CSV" && c.CSVHeaderLocation == "" && c.ManifestType == "":
		p.schema(v, k.pointer, "These fields are required: [CSVHeaderLocation]")
	case c.CSVHeaderLocation == "GIVEN" && len(c.CSVHeaders) == 0:
		p.schema(v, k.pointer, "These fields are required: [CSVHeaders]")
	case c.CSVHeaderLocation != "GIVEN" && len(c.CSVHeaders) > 0:
		p.schema(v, k.pointer, "The field 'CSVHeaders' needs the CSVHeaderLocation GIVEN")
	}
	return r
}

func (p *parser) resultWriter(o object) *ResultWriter {
	arguments := p.either([]string{"Parameters"}, []string{"Arguments"})
	o.closed([]string{"Resource", "WriterConfig"}, arguments)
	w := &ResultWriter{Resource: o.str("Resource"), Arguments: o.template(arguments[0])}
	if v := o.v.Member("Resource"); !v.IsZero() && w.Resource != WriteObject {
		p.schema(v, o.at("Resource"), "Value should be one of the following: [%s]", WriteObject)
	}
	config := o.kind("WriterConfig", jsonvalue.KindObject)
	switch {
	case w.Resource != "" && w.Arguments == nil:
		o.required(arguments...)
	case w.Resource == "" && w.Arguments != nil:
		p.schema(o.v, o.pointer, "These fields are required: [Resource]")
	case w.Resource == "" && config.IsZero():
		p.schema(o.v, o.pointer, "Value cannot be empty")
	}
	if !config.IsZero() {
		k := object{p, config, o.at("WriterConfig")}
		k.closed([]string{"Transformation", "OutputType"})
		w.Transformation = k.choice("Transformation", "NONE", "COMPACT", "FLATTEN")
		w.OutputType = k.choice("OutputType", "JSON", "JSONL")
		if config.Len() == 0 {
			p.schema(config, k.pointer, "Value cannot be empty")
		}
	}
	return w
}

// choice is a string member that has one of some values.
func (o object) choice(name string, values ...string) string {
	v := o.kind(name, jsonvalue.KindString)
	if !v.IsZero() && !slices.Contains(values, v.Str()) {
		o.p.schema(v, o.at(name), "Value should be one of the following: [%s]", strings.Join(values, ", "))
		return ""
	}
	return v.Str()
}

// amount reads NAME or NAMEPath, or the expression NAME.
func (o object) amount(name string, low, high float64, whole bool) Amount {
	a := Amount{field: name, Template: o.expression(name), Given: !o.v.Member(name).IsZero() || !o.v.Member(name+"Path").IsZero()}
	if o.p.language == JSONPath {
		a.Path = o.path(name + "Path")
		o.oneOf(false, name, name+"Path")
	}
	if a.Template != nil {
		return a
	}
	v := o.v.Member(name)
	if v.IsZero() {
		return a
	}
	if v = o.kind(name, jsonvalue.KindNumber); v.IsZero() {
		return a
	}
	a.Constant = v.Float()
	_, integer := v.Int()
	switch {
	case whole && !integer:
		o.p.schema(v, o.at(name), "Expected value of type [INTEGER]")
	case a.Constant < low:
		o.p.schema(v, o.at(name), "Minimum value is %v", low)
	case a.Constant > high:
		o.p.schema(v, o.at(name), "Maximum value is %v", high)
	}
	return a
}

// Distribution is what a Map state in distributed mode asks for, evaluated: all but the inputs of its children.
type Distribution struct {
	Express     bool            `json:"express,omitempty"`
	Items       jsonvalue.Value `json:"items,omitzero"` // an array or object; absent with a Reader
	Reader      *Reading        `json:"reader,omitempty"`
	Batch       *Batching       `json:"batch,omitempty"`
	Writer      *Writing        `json:"writer,omitempty"`
	Concurrency int64           `json:"concurrency,omitempty"` // 0: as many as may be
	Tolerance   Tolerance       `json:"tolerance,omitzero"`
}

// Reading is an ItemReader, evaluated.
type Reading struct {
	ReaderConfig
	Resource  string          `json:"resource"`
	Arguments jsonvalue.Value `json:"arguments"`
	Pointer   string          `json:"pointer,omitempty"`
	MaxItems  int64           `json:"maxItems,omitempty"` // 0: all; AWS: a negative one fails as the reading begins
}

// Batching is an ItemBatcher, evaluated; a bound of 0 is none.
type Batching struct {
	MaxItems int64           `json:"maxItems,omitempty"`
	MaxBytes int64           `json:"maxBytes,omitempty"`
	Input    jsonvalue.Value `json:"input,omitzero"` // absent: none
}

// Writing is a ResultWriter, evaluated.
type Writing struct {
	Resource       string          `json:"resource,omitempty"`
	Arguments      jsonvalue.Value `json:"arguments,omitzero"`
	Transformation string          `json:"transformation,omitempty"`
	OutputType     string          `json:"outputType,omitempty"`
}

// Tolerance says how many items of a map run may fail. A bound of 0 is none beside another one; both 0: no item may.
type Tolerance struct {
	Count   int64   `json:"count,omitempty"`
	Percent float64 `json:"percent,omitempty"`
}

// DistributedItems are the items of a distributed Map as it is entered, absent with an ItemReader, and how many there
// are. AWS: ItemsPath counts for nothing beside an ItemReader (recorded: scenarios
// test_map_item_reader_base_json_with_items_path), and MapStateStarted then has length 0.
func (v *Visit) DistributedItems(effective jsonvalue.Value) (items jsonvalue.Value, length int, f *Failure) {
	m := v.State.(*MapState)
	if m.Distributed.Reader != nil {
		return jsonvalue.Value{}, 0, nil
	}
	items = effective
	if v.jsonata() {
		if m.Items != nil {
			if items, f = m.Items.eval(v, v.Input); f != nil {
				return items, 0, f
			}
		}
	} else if m.ItemsPath != nil {
		if items, f = v.plainPath(m.ItemsPath, effective); f != nil {
			return items, 0, f
		}
	}
	if items.Kind() != jsonvalue.KindObject {
		if _, f = v.Items(effective); f != nil {
			return items, 0, f
		}
	} else if !v.jsonata() {
		v.see(AfterItemsPath, items)
	}
	return items, items.Len(), nil
}

// Distribute evaluates the rest of a distributed Map. AWS: it fails after MapStateStarted (recorded: scenarios
// test_map_state_tolerated_failure_count_path).
func (v *Visit) Distribute(effective jsonvalue.Value) (d Distribution, f *Failure) {
	s := v.State.(*MapState).Distributed
	d.Express = s.Express
	percent, f := v.amount(s.Percent, effective, false)
	if f == nil && (percent < 0 || percent > 100) {
		f = v.wrong(s.Percent.field, "ToleratedFailurePercentage must be between 0 and 100.")
	}
	if f != nil {
		return d, f
	}
	count, f := v.amount(s.Failures, effective, true)
	if f == nil && count < 0 {
		f = v.wrong(s.Failures.field, "ToleratedFailureCount cannot be negative.")
	}
	if f != nil {
		return d, f
	}
	d.Tolerance = Tolerance{Count: int64(count), Percent: percent}
	if r := s.Reader; r != nil {
		d.Reader = &Reading{ReaderConfig: r.Config, Resource: r.Resource}
		most, f := v.amount(r.MaxItems, effective, true)
		if f != nil {
			return d, f
		}
		d.Reader.MaxItems = int64(most)
		if d.Reader.Arguments, f = v.parameters(r.Arguments, effective); f != nil {
			return d, f
		}
		if r.Pointer != nil {
			pointer, f := v.parameters(r.Pointer, effective)
			if f != nil {
				return d, f
			}
			d.Reader.Pointer = plain(pointer)
		}
	}
	if b := s.Batcher; b != nil {
		d.Batch = &Batching{}
		for _, x := range []struct {
			amount Amount
			to     *int64
			high   float64
		}{{b.MaxItems, &d.Batch.MaxItems, 1 << 53}, {b.MaxBytes, &d.Batch.MaxBytes, maxBatchBytes}} {
			n, f := v.amount(x.amount, effective, true)
			if f == nil && (x.amount.Path != nil || x.amount.Template != nil) && (n < 1 || n > x.high) {
				f = v.wrong(x.amount.field, "%s must be between 1 and %.0f.", x.amount.field, x.high)
			}
			if f != nil {
				return d, f
			}
			*x.to = int64(n)
		}
		if b.Input != nil {
			if d.Batch.Input, f = v.parameters(b.Input, effective); f != nil {
				return d, f
			}
		}
	}
	if w := s.Writer; w != nil {
		d.Writer = &Writing{Resource: w.Resource, Transformation: w.Transformation, OutputType: w.OutputType}
		if w.Arguments != nil {
			if d.Writer.Arguments, f = v.parameters(w.Arguments, effective); f != nil {
				return d, f
			}
		}
	}
	return d, nil
}

// amount evaluates a number.
func (v *Visit) amount(a Amount, effective jsonvalue.Value, whole bool) (float64, *Failure) {
	var value jsonvalue.Value
	switch {
	case a.Path != nil:
		var f *Failure
		if value, f = v.plainPath(a.Path, effective); f != nil {
			return 0, f
		}
	case a.Template != nil:
		value, f := v.typed(a.Template, jsonvalue.KindNumber)
		if _, integer := value.Int(); f == nil && whole && !integer {
			f = v.notWhole(a.field, value)
		}
		return value.Float(), f
	default:
		return a.Constant, nil
	}
	n := number(value)
	_, integer := n.Int()
	switch {
	case n.Kind() == jsonvalue.KindNumber && (integer || !whole):
		return n.Float(), nil
	case whole:
		return 0, v.runtime("The %sPath field refers to value %s which is not a valid integer: %s", a.field, value, a.Path)
	}
	return 0, v.runtime("The %sPath field refers to value %s which is not a valid float: %s", a.field, value, a.Path)
}

// MapItem is one item of a Map, as its context object shows it.
type MapItem struct {
	Index  int64
	Value  jsonvalue.Value
	Key    string // with Keyed: the member's name, where an object is mapped over
	Keyed  bool
	Source string // "STATE_DATA", "S3://bucket/key"
}

// ItemInput is the input of one iteration, or of a child of a distributed Map before batching: ItemSelector (or Parameters)
// applied with $$.Map.Item, or the item itself. AWS: an object's member is {"Key": …, "Value": …}.
func (v *Visit) ItemInput(effective jsonvalue.Value, item MapItem) (jsonvalue.Value, *Failure) {
	t := v.State.(*MapState).Parameters
	if t == nil {
		if item.Keyed {
			return jsonvalue.Object(jsonvalue.M("Key", jsonvalue.Str(item.Key)), jsonvalue.M("Value", item.Value)), nil
		}
		return item.Value, nil
	}
	members := []jsonvalue.Member{jsonvalue.M("Index", jsonvalue.Int(item.Index)), jsonvalue.M("Value", item.Value)}
	if item.Keyed {
		members = append(members, jsonvalue.M("Key", jsonvalue.Str(item.Key)))
	}
	if item.Source != "" {
		members = append(members, jsonvalue.M("Source", jsonvalue.Str(item.Source)))
	}
	w := *v
	context := v.Context
	if context.Kind() != jsonvalue.KindObject {
		context = emptyObject
	}
	w.Context, _ = context.SetPath([]jsonvalue.Step{jsonvalue.Key("Map"), jsonvalue.Key("Item")}, jsonvalue.Object(members...))
	input, f := w.parameters(t, effective)
	if f == nil {
		v.see(AfterItemSelector, input)
	}
	return input, f
}

// paths are all that the fields read; some are nil.
func (d *Distributed) paths() (out []*jsonpath.Path, templates []*Template) {
	for _, a := range []Amount{d.Failures, d.Percent} {
		out, templates = append(out, a.Path), append(templates, a.Template)
	}
	if r := d.Reader; r != nil {
		out, templates = append(out, r.MaxItems.Path), append(templates, r.MaxItems.Template, r.Arguments, r.Pointer)
	}
	if b := d.Batcher; b != nil {
		out = append(out, b.MaxItems.Path, b.MaxBytes.Path)
		templates = append(templates, b.MaxItems.Template, b.MaxBytes.Template, b.Input)
	}
	if w := d.Writer; w != nil {
		templates = append(templates, w.Arguments)
	}
	return out, templates
}
