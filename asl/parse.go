package asl

import (
	"cmp"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/asl/jsonpath"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// ParseOptions say what a definition is for.
type ParseOptions struct {
	Express bool
	// Resource judges the Resource of a Task: an error's text says why AWS would refuse it. nil: any ARN is accepted.
	Resource func(arn string) error
	// Lacks is a sentence that says what the engine lacks for a Resource, "" when nothing: a warning. nil: nothing.
	Lacks func(arn string) string
	// Substitutions tells that this is a template of CloudFormation, in whose place of a Resource "${Name}" may stand.
	Substitutions bool
	// State says that the text is one state without a machine around it, and is its name: where it goes to is not looked for.
	State string
}

// Codes of diagnostics, as AWS names them.
const (
	CodeInvalidJSON     = "INVALID_JSON_DESCRIPTION"
	CodeSchema          = "SCHEMA_VALIDATION_FAILED"
	CodeMissingEnd      = "MISSING_END_STATE"
	CodeDuplicateName   = "DUPLICATE_STATE_NAME"
	CodeInvalidName     = "INVALID_STATE_NAME"
	CodeDuplicateLabel  = "DUPLICATE_LABEL_NAME"
	CodeInvalidLabel    = "INVALID_LABEL_NAME"
	CodeMissingTarget   = "MISSING_TRANSITION_TARGET"
	CodeNoDollar        = "NO_DOLLAR"
	CodeNoPath          = "NO_PATH"
	CodeResultIsStatic  = "PASS_RESULT_IS_STATIC"
	CodeTooDeeplyNested = "TOO_DEEPLY_NESTED"
	CodeUnsupported     = "UNSUPPORTED_RESOURCE" // not AWS's: a warning that the engine cannot do this task yet
)

const (
	maxStateName = 80
	maxRegexes   = 1 << 20 // instructions of all regular expressions together, which are kept with the machine
	maxNesting   = 100     // States blocks within one another; AWS does not publish its number
)

// Parse reads a definition. The machine is nil when a diagnostic is an error; warnings may come with a machine.
func Parse(text []byte, o ParseOptions) (*StateMachine, []Diagnostic) {
	p := &parser{text: text, o: o, names: map[string]bool{}, machine: &StateMachine{Text: text, QueryLanguage: JSONPath, blocks: map[string]*Block{}}}
	root, err := jsonvalue.ParseWith(text, jsonvalue.Options{Positions: true, Duplicate: func(name string, offset int) {
		p.report(Diagnostic{Pos: p.pos(offset), Pointer: "/", Code: CodeInvalidJSON, Severity: SeverityError, Message: fmt.Sprintf("Duplicate field '%s'", name)})
	}})
	switch {
	case err != nil:
		offset := 0
		if e, ok := err.(*jsonvalue.SyntaxError); ok {
			offset = e.Offset
		}
		p.report(Diagnostic{Pos: p.pos(offset), Pointer: "/", Code: CodeInvalidJSON, Severity: SeverityError, Message: JacksonText(text, err)})
	case root.Kind() != jsonvalue.KindObject:
		p.report(Diagnostic{Pos: p.pos(0), Pointer: "/", Code: CodeInvalidJSON, Severity: SeverityError, Message: "Definition must be a valid JSON object"})
	case o.State != "":
		p.alone(root)
	default:
		p.top(root)
	}
	slices.SortStableFunc(p.diags, func(a, b Diagnostic) int {
		if whole := a.Pointer == ""; whole != (b.Pointer == "") { // AWS: what has no location comes last
			return map[bool]int{true: 1, false: -1}[whole]
		}
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
	if slices.ContainsFunc(p.diags, func(d Diagnostic) bool { return d.Severity == SeverityError }) {
		return nil, p.diags
	}
	return p.machine, p.diags
}

type parser struct {
	text    []byte
	newline []int // offsets after each newline
	o       ParseOptions
	diags   []Diagnostic
	machine *StateMachine
	names   map[string]bool
	depth   int
	labels  map[string]bool
	regexes int               // instructions of all regular expressions
	outer   []map[string]bool // variables that the blocks around assign

	language QueryLanguage // of the state that is being read
	here     string        // its pointer
}

func (p *parser) pos(offset int) Pos {
	if p.newline == nil {
		p.newline = []int{0}
		for i, c := range p.text {
			if c == '\n' {
				p.newline = append(p.newline, i+1)
			}
		}
	}
	line := sort.SearchInts(p.newline, offset+1)
	return Pos{line, offset - p.newline[line-1] + 1}
}

func (p *parser) report(d Diagnostic) {
	if d.Pointer == "" && d.Code != CodeMissingEnd { // AWS: that alone has no location
		d.Pointer = "/"
	}
	if len(p.diags) < 1000 {
		p.diags = append(p.diags, d)
	}
}

func (p *parser) fail(at jsonvalue.Value, pointer, code, format string, args ...any) {
	p.report(Diagnostic{Pos: p.pos(at.Offset()), Pointer: pointer, Code: code, Severity: SeverityError, Message: fmt.Sprintf(format, args...)})
}

func (p *parser) schema(at jsonvalue.Value, pointer, format string, args ...any) {
	p.fail(at, pointer, CodeSchema, format, args...)
}

// object is a JSON object of the definition that is read by its schema.
type object struct {
	p       *parser
	v       jsonvalue.Value
	pointer string
}

func (o object) at(name string) string {
	if o.pointer == "" || o.pointer == "/" {
		return "/" + name
	}
	return o.pointer + "/" + name
}

func (o object) root() string {
	if o.pointer == "" {
		return "/"
	}
	return o.pointer
}

// closed reports all fields that are not in one of the lists. AWS: the location is that of the object, not of the field.
func (o object) closed(lists ...[]string) {
	for key := range o.v.Keyed() {
		name := key.Str()
		if slices.ContainsFunc(lists, func(l []string) bool { return slices.Contains(l, name) }) {
			continue
		}
		switch {
		case o.p.language == JSONPath && slices.Contains(jsonataFields, name):
			o.p.otherLanguage(o, key, JSONata)
		case o.p.language == JSONata && slices.Contains(jsonpathFields, name):
			o.p.otherLanguage(o, key, JSONPath)
		case slices.Contains(distributedFields, name):
			o.p.schema(key, o.root(), "Field '%s' is not supported by a Map state in Inline mode", name)
		default:
			o.p.schema(key, o.root(), "Field '%s' is not supported", name)
		}
	}
}

// otherLanguage reports a field that only the other query language has. AWS: the location is that of the object, and a state
// that may not have its language hears of that alone.
func (p *parser) otherLanguage(o object, key jsonvalue.Value, other QueryLanguage) {
	if p.machine.QueryLanguage == JSONata && p.language == JSONPath {
		return
	}
	p.schema(key, o.root(), "The QueryLanguage is set to '%s', but field '%s' is only supported for the '%s' QueryLanguage", p.language, key.Str(), other)
}

// either is the list of fields for the query language of the state that is being read.
func (p *parser) either(jsonpath, jsonata []string) []string {
	if p.language == JSONata {
		return jsonata
	}
	return jsonpath
}

// required reports the fields that are missing.
func (o object) required(names ...string) {
	var missing []string
	for _, n := range names {
		if o.v.Member(n).IsZero() {
			missing = append(missing, n)
		}
	}
	if missing != nil {
		o.p.schema(o.v, o.root(), "These fields are required: [%s]", strings.Join(missing, ", "))
	}
}

// oneOf reports when more than one of the fields is there, or none and need is set.
func (o object) oneOf(need bool, names ...string) {
	n := 0
	for _, name := range names {
		if !o.v.Member(name).IsZero() {
			n++
		}
	}
	if n > 1 {
		o.p.schema(o.v, o.root(), "Only one of these fields may be set: [%s]", strings.Join(names, ", "))
	}
	if n == 0 && need {
		o.p.schema(o.v, o.root(), "One of these fields is required: [%s]", strings.Join(names, ", "))
	}
}

// kind is the member when it is there and of the kind; another kind is reported.
func (o object) kind(name string, k jsonvalue.Kind) jsonvalue.Value {
	v := o.v.Member(name)
	if !v.IsZero() && v.Kind() != k {
		o.p.schema(v, o.at(name), "Expected value of type [%s]", strings.ToUpper(k.String()))
		return jsonvalue.Value{}
	}
	return v
}

func (o object) str(name string) string { return o.kind(name, jsonvalue.KindString).Str() }

// objects are the objects of an array, with their places in it; what else is there is reported.
func (o object) objects(name string) iter.Seq2[int, object] {
	return func(yield func(int, object) bool) {
		i := -1
		for v := range o.v.Member(name).Elements() {
			i++
			e := object{o.p, v, fmt.Sprintf("%s[%d]", o.at(name), i)}
			if v.Kind() != jsonvalue.KindObject {
				o.p.schema(v, e.pointer, "Expected value of type [OBJECT]")
			} else if !yield(i, e) {
				return
			}
		}
	}
}

func (o object) integer(name string, otherwise, low, high int64) int64 {
	v := o.v.Member(name)
	if v.IsZero() {
		return otherwise
	}
	n, ok := v.Int()
	switch {
	case !ok:
		o.p.schema(v, o.at(name), "Expected value of type [INTEGER]")
	case n < low:
		o.p.schema(v, o.at(name), "Minimum value is %d", low)
	case n > high:
		o.p.schema(v, o.at(name), "Maximum value is %d", high)
	default:
		return n
	}
	return otherwise
}

func (o object) path(name string) *jsonpath.Path {
	v := o.kind(name, jsonvalue.KindString)
	if v.IsZero() {
		return nil
	}
	path, err := jsonpath.Parse(v.Str())
	if err != nil {
		o.p.schema(v, o.at(name), "Value is not a valid JSONPath: %v", err)
	}
	return path
}

func (o object) pathField(name string) PathField {
	if o.v.Member(name).Kind() == jsonvalue.KindNull {
		return PathField{Null: true}
	}
	return PathField{Path: o.path(name)}
}

func (o object) resultPath() ResultPath {
	const name = "ResultPath"
	if o.v.Member(name).Kind() == jsonvalue.KindNull {
		return ResultPath{Null: true}
	}
	v := o.kind(name, jsonvalue.KindString)
	if v.IsZero() {
		return ResultPath{}
	}
	steps, err := jsonpath.ParseReference(v.Str())
	if err != nil {
		o.p.schema(v, o.at(name), "Value is not a Reference Path: %v", err)
	}
	return ResultPath{Text: v.Str(), Steps: steps}
}

// template reads a payload template of the state's query language. It is an object as a rule, but any JSON is taken. has
// is what $states offers there besides input and context.
func (o object) template(name string, has ...string) *Template {
	v := o.v.Member(name)
	if v.IsZero() {
		return nil
	}
	if o.p.language == JSONata {
		t := &Template{source: v}
		if node, dynamic := o.p.queries(v, o.at(name), strings.Join(has, "")); dynamic {
			t.root = node
		} else {
			t.source = jsonvalue.MustParse(v.String()) // without the definition's bytes
		}
		return t
	}
	o.p.lookForDollar(name, v, o.at(name))
	return compileTemplate(v, func(field string, at jsonvalue.Value, err error) {
		if err == errRepeated {
			o.p.schema(at, o.at(name), "The field '%s' is given twice, with and without '.$'", strings.TrimSuffix(field, ".$"))
			return
		}
		o.p.schema(at, o.at(name), "The value for the field '%s' must be a valid JSONPath or a valid intrinsic function call", field)
	})
}

// lookForDollar warns of constants that look like paths.
func (p *parser) lookForDollar(name string, v jsonvalue.Value, pointer string) {
	switch v.Kind() {
	case jsonvalue.KindArray:
		for m := range v.Elements() {
			if m.Kind() != jsonvalue.KindString {
				p.lookForDollar("", m, pointer)
			}
		}
	case jsonvalue.KindObject:
		for name, m := range v.Members() {
			p.lookForDollar(name, m, pointer)
		}
	case jsonvalue.KindString:
		s := v.Str()
		if !strings.HasSuffix(name, ".$") && (looksLikePath(s) || strings.HasPrefix(s, "States.") && strings.HasSuffix(s, ")")) {
			p.report(Diagnostic{Pos: p.pos(v.Offset()), Pointer: pointer, Code: CodeNoDollar, Severity: SeverityWarning,
				Message: fmt.Sprintf("The value of the field '%s' looks like a path, but the name of the field does not end in '.$'", name)})
		}
	}
}

func looksLikePath(s string) bool { return strings.HasPrefix(s, "$.") || strings.HasPrefix(s, "$$.") }

// lookForPath warns of a constant that looks like a path, where a field NAMEPath would read one.
func (o object) lookForPath(name string) {
	if v := o.v.Member(name); o.p.language == JSONPath && looksLikePath(v.Str()) {
		o.p.report(Diagnostic{Pos: o.p.pos(v.Offset()), Pointer: o.at(name), Code: CodeNoPath, Severity: SeverityWarning,
			Message: fmt.Sprintf("The value of the field '%s' looks like a path, but the name of the field does not end with 'Path'", name)})
	}
}

func (o object) assign(has ...string) *Template {
	v := o.kind("Assign", jsonvalue.KindObject)
	if v.IsZero() {
		return nil
	}
	for key := range v.Keyed() {
		name := key.Str()
		if o.p.language == JSONPath {
			name = strings.TrimSuffix(name, ".$")
		}
		switch {
		case name == "states":
			o.p.schema(key, o.at("Assign"), "The variable name 'states' is reserved")
		case !jsonpath.IsIdentifier(name) || utf8.RuneCountInString(name) > 80:
			o.p.schema(key, o.at("Assign"), "'%s' is not a valid variable name", name)
		case slices.ContainsFunc(o.p.outer[:max(0, len(o.p.outer)-1)], func(names map[string]bool) bool { return names[name] }):
			o.p.schema(key, o.at("Assign"), "The variable '%s' is assigned in an outer scope and cannot be assigned here", name)
		}
	}
	return o.template("Assign", has...)
}

var (
	// The fields that only one query language has, wherever they stand.
	jsonataFields  = []string{"Arguments", "Output", "Items", "Condition"}
	jsonpathFields = []string{"InputPath", "OutputPath", "Parameters", "ResultSelector", "ResultPath", "Result", "ItemsPath", "ItemsPointerPath",
		"TimeoutSecondsPath", "HeartbeatSecondsPath", "SecondsPath", "TimestampPath", "MaxConcurrencyPath", "ErrorPath", "CausePath",
		"ToleratedFailureCountPath", "ToleratedFailurePercentagePath", "MaxItemsPath", "MaxItemsPerBatchPath", "MaxInputBytesPerBatchPath",
		"Variable", "And", "Or", "Not"}

	distributedFields = []string{"ItemReader", "ItemBatcher", "ResultWriter", "Label"}
	toleranceFields   = []string{"ToleratedFailureCount", "ToleratedFailurePercentage"}
	tolerancePaths    = []string{"ToleratedFailureCountPath", "ToleratedFailurePercentagePath"}

	commonFields = []string{"Type", "Comment", "QueryLanguage"}
	flowFields   = []string{"Next", "End"}
	pathFields   = []string{"InputPath", "OutputPath"}
	outputFields = []string{"Output"}
	workFields   = []string{"ResultSelector", "ResultPath", "Retry", "Catch", "Parameters", "Assign"}
	workQueries  = []string{"Retry", "Catch", "Assign"}
	typeNames    = []string{"Task", "Wait", "Pass", "Succeed", "Fail", "Choice", "Parallel", "Map"}
)

func (p *parser) top(v jsonvalue.Value) {
	o := object{p, v, ""}
	o.required("States", "StartAt")
	o.closed([]string{"Comment", "Version", "StartAt", "States", "TimeoutSeconds", "QueryLanguage"})
	m := p.machine
	m.Comment, m.Version = o.str("Comment"), o.choice("Version", "1.0")
	m.TimeoutSeconds = o.integer("TimeoutSeconds", 0, 1, maxSeconds)
	m.QueryLanguage = o.language(JSONPath)
	p.block(o, &m.Block)
}

// alone reads a state without a machine.
func (p *parser) alone(v jsonvalue.Value) {
	m, name := p.machine, p.o.State
	p.outer = append(p.outer, assigned(jsonvalue.Object(jsonvalue.M(name, v))))
	m.Block = Block{Pos: p.pos(v.Offset()), StartAt: name, Order: []string{name}, States: map[string]State{}}
	m.States[name] = p.state(name, object{p, v, ""})
}

// language is the QueryLanguage of an object, or otherwise when it has none. AWS: whatever is not the text JSONPath is
// read as JSONata.
func (o object) language(otherwise QueryLanguage) QueryLanguage {
	const name = "QueryLanguage"
	v := o.v.Member(name)
	switch l := QueryLanguage(v.Str()); {
	case v.IsZero():
		return otherwise
	case l == JSONPath:
		return l
	}
	o.choice(name, string(JSONPath), string(JSONata))
	return JSONata
}

// block reads StartAt and States of o.
func (p *parser) block(o object, b *Block) {
	*b = Block{Pointer: o.pointer, Pos: p.pos(o.v.Offset()), StartAt: o.str("StartAt"), States: map[string]State{}}
	p.machine.blocks[b.Pointer] = b
	states := o.kind("States", jsonvalue.KindObject)
	if states.IsZero() {
		return
	}
	if p.depth++; p.depth > maxNesting {
		p.fail(o.v, o.root(), CodeTooDeeplyNested, "States are nested deeper than %d", maxNesting)
		p.depth--
		return
	}
	defer func() { p.depth-- }()
	if states.Len() == 0 {
		p.schema(states, o.at("States"), "Value cannot be empty")
		return
	}
	p.outer = append(p.outer, assigned(states))
	defer func() { p.outer = p.outer[:len(p.outer)-1] }()
	for key, v := range states.Keyed() {
		name := key.Str()
		pointer := o.at("States") + "/" + name
		if n := utf8.RuneCountInString(name); n == 0 || n > maxStateName {
			p.fail(key, pointer, CodeInvalidName, "A state name has 1 to %d characters", maxStateName)
		}
		if p.names[name] {
			p.fail(key, pointer, CodeDuplicateName, "Duplicate State name: %s", name)
		}
		p.names[name] = true
		if v.Kind() != jsonvalue.KindObject {
			p.schema(v, pointer, "Expected value of type [OBJECT]")
			continue
		}
		b.Order = append(b.Order, name)
		b.States[name] = p.state(name, object{p, v, pointer})
	}
	p.flow(o, b, states)
}

// assigned are the variables that the states of a block assign, inner blocks left out.
func assigned(states jsonvalue.Value) map[string]bool {
	names := map[string]bool{}
	add := func(v jsonvalue.Value) {
		for name := range v.Member("Assign").Members() {
			names[strings.TrimSuffix(name, ".$")] = true
		}
	}
	for _, s := range states.Members() {
		add(s)
		for _, list := range []string{"Choices", "Catch"} {
			for m := range s.Member(list).Elements() {
				add(m)
			}
		}
	}
	return names
}

// edge is a transition that the definition names.
type edge struct {
	at      jsonvalue.Value
	pointer string
	to      string
}

// edges are all transitions out of a state, whatever its type and query language.
func (o object) edges() []edge {
	var out []edge
	add := func(o object, field string) {
		if v := o.v.Member(field); v.Kind() == jsonvalue.KindString {
			out = append(out, edge{v, o.at(field), v.Str()})
		}
	}
	add(o, "Next")
	add(o, "Default")
	for _, list := range []string{"Choices", "Catch"} {
		i := 0
		for m := range o.v.Member(list).Elements() {
			add(object{o.p, m, fmt.Sprintf("%s[%d]", o.at(list), i)}, "Next")
			i++
		}
	}
	return out
}

// flow checks that transitions lead somewhere, that every state can be reached, and that the machine can end. AWS: it is
// enough that one of the machine's own states ends, reached or not; where none does, no state is said to be out of reach;
// branches and iterations may go round for ever.
func (p *parser) flow(o object, b *Block, states jsonvalue.Value) {
	named := make(map[string]jsonvalue.Value, states.Len())
	for name, v := range states.Members() {
		named[name] = v
	}
	missing := func(e edge) {
		p.fail(e.at, e.pointer, CodeMissingTarget, "Missing 'Next' target: %s", e.to)
	}
	start := o.v.Member("StartAt")
	if start.Kind() == jsonvalue.KindString && named[b.StartAt].IsZero() {
		missing(edge{start, o.at("StartAt"), b.StartAt})
	}
	targets := map[string][]string{}
	ends := b != &p.machine.Block
	for name, v := range states.Members() {
		t := v.Member("Type").Str()
		ends = ends || v.Member("End").Bool() || t == "Succeed" || t == "Fail" || !slices.Contains(typeNames, t)
		for _, e := range (object{p, v, o.at("States") + "/" + name}).edges() {
			if named[e.to].IsZero() {
				missing(e)
			}
			targets[name] = append(targets[name], e.to)
		}
	}
	if !ends {
		p.fail(states, "", CodeMissingEnd, "Workflow has no terminal state")
		return
	}
	if start.Kind() != jsonvalue.KindString {
		return
	}
	reached := map[string]bool{b.StartAt: true}
	for queue := []string{b.StartAt}; len(queue) > 0; queue = queue[1:] {
		for _, to := range targets[queue[0]] {
			if !reached[to] {
				reached[to] = true
				queue = append(queue, to)
			}
		}
	}
	for key := range states.Keyed() {
		if name := key.Str(); !reached[name] {
			p.fail(key, o.at("States")+"/"+name, CodeMissingTarget, "State \"%s\" is not reachable.", name)
		}
	}
}

// state reads a state. AWS: the states of branches and iterations have the query language of the machine, not that of the
// state around them.
func (p *parser) state(name string, o object) State {
	language, here := p.language, p.here
	defer func() { p.language, p.here = language, here }()
	p.language, p.here = o.language(p.machine.QueryLanguage), o.pointer
	if p.machine.QueryLanguage == JSONata && p.language == JSONPath {
		p.schema(o.v.Member("QueryLanguage"), o.pointer, "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine")
	}
	s := p.stateOf(name, o)
	paths, templates := reads(s)
	for _, t := range templates {
		paths = slices.AppendSeq(paths, t.Paths())
		t.eachQuery(func(q *query) bool { p.regexes += q.program.RegexSize(); return true })
	}
	for _, path := range paths {
		p.regexes += path.RegexSize()
	}
	if p.regexes > maxRegexes {
		p.schema(o.v, o.pointer, "The regular expressions of the definition are too large together: their repetitions make them %d steps long, and %d are the most", p.regexes, maxRegexes)
	}
	s.Base().ReadsContext = slices.ContainsFunc(paths, func(p *jsonpath.Path) bool { root, _ := p.Root(); return root == jsonpath.RootContext }) ||
		slices.ContainsFunc(templates, (*Template).readsContext)
	return s
}

func (p *parser) stateOf(name string, o object) State {
	c := Common{Name: name, Pos: p.pos(o.v.Offset()), Pointer: o.pointer, QueryLanguage: p.language, Type: o.str("Type"), Comment: o.str("Comment")}
	if o.v.Member("Type").IsZero() {
		o.required("Type")
		return &PassState{Common: c}
	}
	if !slices.Contains(typeNames, c.Type) {
		p.schema(o.v.Member("Type"), o.at("Type"), "The field 'Type' should have one of these values: [%s]", strings.Join(typeNames, ", "))
		return &PassState{Common: c}
	}
	if c.Type != "Choice" && c.Type != "Succeed" && c.Type != "Fail" {
		c.Next = o.str("Next")
		c.End = o.kind("End", jsonvalue.KindBool).Bool()
		switch {
		case c.End && c.Next != "":
			p.schema(o.v, o.pointer, "Only one of these fields may be set: [Next, End]")
		case !c.End && o.v.Member("Next").IsZero():
			p.schema(o.v, o.pointer, "One of these fields is required: [Next, End]")
		}
	}
	has := hasNothing
	if c.Type == "Task" || c.Type == "Parallel" || c.Type == "Map" {
		has = hasResult
	}
	if c.Type != "Fail" {
		if p.language == JSONata {
			c.Output = o.template("Output", has)
		} else {
			c.InputPath, c.OutputPath = o.pathField("InputPath"), o.pathField("OutputPath")
		}
		if c.Type != "Succeed" {
			c.Assign = o.assign(has)
		}
	}
	switch c.Type {
	case "Task":
		return p.task(c, o)
	case "Pass":
		o.closed(commonFields, flowFields, []string{"Assign"}, p.either([]string{"InputPath", "OutputPath", "Parameters", "Result", "ResultPath"}, outputFields))
		if p.language == JSONata {
			return &PassState{Common: c}
		}
		s := &PassState{Common: c, Parameters: o.template("Parameters"), Result: o.v.Member("Result"), ResultPath: o.resultPath()}
		if !s.Result.IsZero() {
			p.staticResult("Result", s.Result, o.at("Result"))
			s.Result = jsonvalue.MustParse(s.Result.String()) // without the definition's bytes
		}
		return s
	case "Wait":
		return p.wait(c, o)
	case "Choice":
		return p.choice(c, o)
	case "Succeed":
		o.closed(commonFields, p.either(pathFields, outputFields))
		return &SucceedState{c}
	case "Fail":
		o.lookForPath("Error")
		o.lookForPath("Cause")
		s := &FailState{Common: c, Error: o.str("Error"), Cause: o.str("Cause"), ErrorQuery: o.expression("Error"), CauseQuery: o.expression("Cause")}
		o.closed(commonFields, []string{"Error", "Cause"}, p.either([]string{"ErrorPath", "CausePath"}, nil))
		if p.language == JSONPath {
			o.oneOf(false, "Error", "ErrorPath")
			o.oneOf(false, "Cause", "CausePath")
			s.ErrorPath, s.CausePath = o.stringExpression("ErrorPath"), o.stringExpression("CausePath")
		}
		return s
	case "Parallel":
		o.closed(commonFields, flowFields, p.either(pathFields, []string{"Output", "Arguments"}), p.either(workFields, workQueries), []string{"Branches"})
		o.required("Branches")
		s := &ParallelState{Common: c, Work: p.work(o)}
		branches := o.kind("Branches", jsonvalue.KindArray)
		if !branches.IsZero() && branches.Len() == 0 {
			p.schema(branches, o.at("Branches"), "Value cannot be empty")
		}
		for _, b := range o.objects("Branches") {
			b.required("States", "StartAt")
			b.closed([]string{"StartAt", "States", "Comment"})
			s.Branches = append(s.Branches, &Block{})
			p.block(b, s.Branches[len(s.Branches)-1])
		}
		return s
	}
	return p.mapState(c, o)
}

// staticResult warns of paths in a Result, which AWS takes as they are.
func (p *parser) staticResult(name string, v jsonvalue.Value, pointer string) {
	if strings.HasSuffix(name, ".$") || v.Kind() == jsonvalue.KindString && looksLikePath(v.Str()) {
		p.report(Diagnostic{Pos: p.pos(v.Offset()), Pointer: pointer, Code: CodeResultIsStatic, Severity: SeverityWarning,
			Message: fmt.Sprintf("The Result of a Pass state is static: the field '%s' is not evaluated", name)})
		return
	}
	for name, m := range v.Members() {
		p.staticResult(name, m, pointer)
	}
	for m := range v.Elements() {
		p.staticResult(name, m, pointer)
	}
}

func (o object) stringExpression(name string) *Expression {
	v := o.kind(name, jsonvalue.KindString)
	if v.IsZero() {
		return nil
	}
	e, err := ParseExpression(v.Str())
	if err != nil || e.call != nil && !e.call.ReturnsString() {
		o.p.schema(v, o.at(name), "The value for the field '%s' must be a valid JSONPath or a valid intrinsic function call that returns a string", name)
		return nil
	}
	return e
}

var (
	activityARN  = regexp.MustCompile(`^arn:[^:]+:states:[^:]+:[^:]+:activity:`)
	substitution = regexp.MustCompile(`\$\{[\w.:-]+\}`) // as DefinitionSubstitutions and Fn::Sub name it
)

func (p *parser) task(c Common, o object) State {
	o.closed(commonFields, flowFields, []string{"Resource", "Credentials", "TimeoutSeconds", "HeartbeatSeconds"}, p.either(workFields, workQueries),
		p.either([]string{"InputPath", "OutputPath", "TimeoutSecondsPath", "HeartbeatSecondsPath"}, []string{"Output", "Arguments"}))
	o.required("Resource")
	s := &TaskState{Common: c, Work: p.work(o), Resource: o.str("Resource"), Timeout: o.expression("TimeoutSeconds"), Heartbeat: o.expression("HeartbeatSeconds")}
	if s.Timeout == nil {
		s.TimeoutSeconds = o.integer("TimeoutSeconds", 0, 1, maxSeconds)
	}
	if s.Heartbeat == nil {
		s.HeartbeatSeconds = o.integer("HeartbeatSeconds", 0, 1, maxSeconds)
	}
	if p.language == JSONPath {
		s.TimeoutSecondsPath, s.HeartbeatSecondsPath = o.path("TimeoutSecondsPath"), o.path("HeartbeatSecondsPath")
		o.oneOf(false, "TimeoutSeconds", "TimeoutSecondsPath")
		o.oneOf(false, "HeartbeatSeconds", "HeartbeatSecondsPath")
	}
	if s.TimeoutSeconds > 0 && s.HeartbeatSeconds >= s.TimeoutSeconds {
		p.schema(o.v.Member("HeartbeatSeconds"), o.at("HeartbeatSeconds"), "HeartbeatSeconds must be smaller than TimeoutSeconds")
	}
	if v := o.kind("Credentials", jsonvalue.KindObject); !v.IsZero() {
		fields := p.either([]string{"RoleArn", "RoleArn.$"}, []string{"RoleArn"})
		if !slices.ContainsFunc(fields, func(name string) bool { return !v.Member(name).IsZero() }) {
			p.schema(v, o.at("Credentials"), "The field 'RoleArn' is required but was missing")
		} else {
			object{p, v, o.at("Credentials")}.closed(fields)
		}
		if r := v.Member("RoleArn"); !r.IsZero() && r.Kind() != jsonvalue.KindString {
			p.schema(r, o.at("Credentials")+"/RoleArn", "Expected value of type [STRING]")
		}
		s.Credentials = o.template("Credentials")
	}
	if r := o.v.Member("Resource"); r.Kind() == jsonvalue.KindString {
		at := o.at("Resource")
		service := strings.Contains(s.Resource, ":states:") && !activityARN.MatchString(s.Resource)
		switch {
		case p.o.Substitutions && substitution.MatchString(s.Resource):
		case !strings.HasPrefix(s.Resource, "arn:") || strings.Count(s.Resource, ":") < 5:
			p.schema(r, at, "Value is not a valid resource ARN")
		case p.o.Express && service && strings.HasSuffix(s.Resource, ".waitForTaskToken"):
			// AWS: two blanks before "at", recorded in sfn_api_express.json (test_illegal_callbacks)
			p.schema(r, at, "Express state machine does not support '.waitForTaskToken' service integration ")
		case p.o.Express && service && (strings.HasSuffix(s.Resource, ".sync") || strings.HasSuffix(s.Resource, ".sync:2")):
			p.schema(r, at, "Express state machine does not support '.sync' service integration")
		case p.o.Express && activityARN.MatchString(s.Resource):
			p.schema(r, at, "Express state machine does not support Activity ARN")
		case p.o.Resource != nil:
			if err := p.o.Resource(s.Resource); err != nil {
				p.schema(r, at, "%v", err)
			}
		}
		if p.o.Lacks != nil {
			if sentence := p.o.Lacks(s.Resource); sentence != "" {
				p.report(Diagnostic{Pos: p.pos(r.Offset()), Pointer: at, Code: CodeUnsupported, Severity: SeverityWarning, Message: sentence})
			}
		}
	}
	return s
}

func (p *parser) wait(c Common, o object) State {
	o.closed(commonFields, flowFields, []string{"Seconds", "Timestamp", "Assign"}, p.either([]string{"InputPath", "OutputPath", "SecondsPath", "TimestampPath"}, outputFields))
	s := &WaitState{Common: c, SecondsQuery: o.expression("Seconds"), TimestampQuery: o.expression("Timestamp")}
	if p.language == JSONata {
		o.oneOf(true, "Seconds", "Timestamp")
	} else {
		o.oneOf(true, "Seconds", "Timestamp", "SecondsPath", "TimestampPath")
		s.SecondsPath, s.TimestampPath = o.path("SecondsPath"), o.path("TimestampPath")
	}
	if !o.v.Member("Seconds").IsZero() && s.SecondsQuery == nil {
		n := o.integer("Seconds", 0, 0, maxSeconds)
		s.Seconds = &n
	}
	if v := o.kind("Timestamp", jsonvalue.KindString); !v.IsZero() && s.TimestampQuery == nil {
		t, ok := parseTimestamp(v.Str())
		if !ok {
			p.schema(v, o.at("Timestamp"), "String does not match RFC3339 timestamp")
		}
		s.Timestamp = &t
	}
	return s
}

func (p *parser) choice(c Common, o object) State {
	o.closed(commonFields, p.either(pathFields, outputFields), []string{"Choices", "Default", "Assign"})
	o.required("Choices")
	s := &ChoiceState{Common: c, Default: o.str("Default")}
	if v := o.v.Member("Default"); v.Kind() == jsonvalue.KindString && s.Default == "" {
		p.schema(v, o.at("Default"), "Value cannot be empty")
	}
	choices := o.kind("Choices", jsonvalue.KindArray)
	if !choices.IsZero() && choices.Len() == 0 {
		p.schema(choices, o.at("Choices"), "Value cannot be empty")
	}
	for v := range choices.Elements() {
		s.Choices = append(s.Choices, p.rule(object{p, v, fmt.Sprintf("%s[%d]", o.at("Choices"), len(s.Choices))}, true, 0))
	}
	return s
}

func (p *parser) rule(o object, top bool, depth int) ChoiceRule {
	r := ChoiceRule{Pos: p.pos(o.v.Offset()), Pointer: o.pointer}
	if o.v.Kind() != jsonvalue.KindObject {
		p.schema(o.v, o.pointer, "Expected value of type [OBJECT]")
		return r
	}
	r.Comment = o.str("Comment")
	fields := []string{"Comment"}
	if top {
		fields = append(fields, "Next", "Assign")
		o.required("Next")
		r.Next = o.str("Next")
		r.Assign = o.assign()
	}
	if p.language == JSONata {
		return p.condition(r, o)
	}
	var found []string
	for key := range o.v.Keyed() {
		name := key.Str()
		base, isPath := strings.CutSuffix(name, "Path")
		op, ok := operators[base]
		if name == "And" || name == "Or" || name == "Not" || ok && (!isPath || op.hasPath) {
			found = append(found, name)
		}
	}
	switch {
	case len(found) == 0 && !o.v.Member("Condition").IsZero():
		o.closed(fields, []string{"Variable"})
		return r
	case len(found) == 0:
		p.schema(o.v, o.pointer, "A rule needs And, Or, Not, or a Variable with a comparison operator")
		o.closed(fields, []string{"Variable"})
		return r
	case len(found) > 1:
		p.schema(o.v, o.pointer, "A rule can have only one of these fields: [%s]", strings.Join(found, ", "))
	}
	name := found[0]
	fields = append(fields, found...)
	switch name {
	case "And", "Or":
		o.closed(fields)
		list := o.kind(name, jsonvalue.KindArray)
		rules := []ChoiceRule{}
		for v := range list.Elements() {
			rules = append(rules, p.rule(object{p, v, fmt.Sprintf("%s[%d]", o.at(name), len(rules))}, false, depth+1))
		}
		if len(rules) == 0 && !list.IsZero() {
			p.schema(list, o.at(name), "Value cannot be empty")
		}
		if name == "And" {
			r.And = rules
		} else {
			r.Or = rules
		}
		return r
	case "Not":
		o.closed(fields)
		inner := p.rule(object{p, o.v.Member(name), o.at(name)}, false, depth+1)
		r.Not = &inner
		return r
	}
	o.closed(fields, []string{"Variable"})
	o.required("Variable")
	r.Operator, r.Variable = name, o.path("Variable")
	if strings.HasSuffix(name, "Path") {
		r.Path = o.path(name)
		return r
	}
	operand := o.kind(name, operators[name].kind)
	if operand.IsZero() {
		return r
	}
	if operators[name].hasPath {
		o.lookForPath(name)
	}
	if strings.HasPrefix(name, "Timestamp") {
		if _, ok := parseTimestamp(operand.Str()); !ok {
			p.schema(operand, o.at(name), "String does not match RFC3339 timestamp")
		}
	}
	r.Operand = jsonvalue.MustParse(operand.String())
	return r
}

// condition reads a rule of JSONata, whose operators are all in the Condition.
func (p *parser) condition(r ChoiceRule, o object) ChoiceRule {
	o.closed([]string{"Comment", "Next", "Assign", "Output", "Condition"})
	o.required("Condition")
	r.Output = o.template("Output")
	v := o.v.Member("Condition")
	if r.Condition = o.expression("Condition"); r.Condition == nil && !v.IsZero() {
		o.kind("Condition", jsonvalue.KindBool)
		r.Condition = o.template("Condition")
	}
	return r
}

func (p *parser) mapState(c Common, o object) State {
	o.oneOf(true, "ItemProcessor", "Iterator")
	s := &MapState{Common: c, Work: p.work(o), Processor: &Block{}, Concurrency: o.expression("MaxConcurrency")}
	if s.Concurrency == nil {
		s.MaxConcurrency = o.integer("MaxConcurrency", 0, 0, maxConcurrency)
	}
	if p.language == JSONata {
		if v := o.v.Member("Items"); v.Kind() != jsonvalue.KindObject && o.expression("Items") == nil {
			o.kind("Items", jsonvalue.KindArray)
		}
		s.Items = o.template("Items")
	} else {
		o.oneOf(false, "ItemSelector", "Parameters")
		o.oneOf(false, "MaxConcurrency", "MaxConcurrencyPath")
		s.ItemsPath, s.MaxConcurrencyPath = o.path("ItemsPath"), o.path("MaxConcurrencyPath")
	}
	if t := o.template("ItemSelector"); t != nil {
		s.Parameters = t
	}
	name := "ItemProcessor"
	if o.v.Member(name).IsZero() {
		name, s.Iterator = "Iterator", true
	}
	b := object{p, o.kind(name, jsonvalue.KindObject), o.at(name)}
	k := object{p, b.v.Member("ProcessorConfig"), b.at("ProcessorConfig")}
	fields := [][]string{commonFields, flowFields, toleranceFields, {"ItemProcessor", "Iterator", "ItemSelector", "MaxConcurrency"}, p.either(workFields, workQueries),
		p.either([]string{"InputPath", "OutputPath", "ItemsPath", "MaxConcurrencyPath"}, []string{"Output", "Items"}), p.either(tolerancePaths, nil)}
	if k.v.Member("Mode").Str() == "DISTRIBUTED" {
		fields = append(fields, distributedFields)
		s.Distributed = p.distributed(o, k)
	} else {
		// The language allows thresholds on any Map. AWS: they are of Distributed Map.
		o.amount("ToleratedFailureCount", 0, 1<<53, true)
		o.amount("ToleratedFailurePercentage", 0, 100, false)
		for _, f := range slices.Concat(toleranceFields, tolerancePaths) {
			if v := o.v.Member(f); !v.IsZero() {
				p.report(Diagnostic{Pos: p.pos(v.Offset()), Pointer: o.at(f), Code: CodeUnsupported, Severity: SeverityWarning,
					Message: fmt.Sprintf("The field '%s' has no effect on a Map state in Inline mode", f)})
			}
		}
	}
	o.closed(fields...)
	if b.v.IsZero() {
		return s
	}
	b.closed([]string{"ProcessorConfig", "StartAt", "States", "Comment"})
	b.required("States", "StartAt")
	if config := b.kind("ProcessorConfig", jsonvalue.KindObject); !config.IsZero() {
		k.closed([]string{"Mode", "ExecutionType"})
		if mode := k.choice("Mode", "INLINE", "DISTRIBUTED"); s.Distributed == nil && (mode == "INLINE" || config.Member("Mode").IsZero()) {
			if e := config.Member("ExecutionType"); !e.IsZero() {
				p.schema(e, k.at("ExecutionType"), "Field 'ExecutionType' is not supported")
			}
		}
	}
	if s.Distributed != nil { // AWS: its children are executions of their own and see no variables from outside
		outer := p.outer
		p.outer = nil
		defer func() { p.outer = outer }()
	}
	p.block(b, s.Processor)
	return s
}

// work reads what Task, Parallel and Map share.
func (p *parser) work(o object) Work {
	var w Work
	if p.language == JSONata {
		w.Parameters = o.template("Arguments")
	} else {
		w = Work{Parameters: o.template("Parameters"), ResultSelector: o.template("ResultSelector"), ResultPath: o.resultPath()}
	}
	retries := o.kind("Retry", jsonvalue.KindArray).Len()
	for i, r := range o.objects("Retry") {
		r.closed([]string{"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy", "Comment"})
		rate := 2.0
		if b := r.kind("BackoffRate", jsonvalue.KindNumber); !b.IsZero() {
			if rate = b.Float(); rate < 1 {
				p.schema(b, r.at("BackoffRate"), "Minimum value is 1.0")
			}
		}
		x := Retrier{Pos: p.pos(r.v.Offset()), ErrorEquals: r.errorEquals(i == retries-1), BackoffRate: rate, Comment: r.str("Comment"),
			IntervalSeconds: r.integer("IntervalSeconds", 1, 1, maxSeconds), MaxAttempts: r.integer("MaxAttempts", 3, 0, maxSeconds), MaxDelaySeconds: r.integer("MaxDelaySeconds", 0, 1, 31622400)}
		if x.MaxDelaySeconds > 0 && x.MaxDelaySeconds <= x.IntervalSeconds {
			p.schema(r.v.Member("MaxDelaySeconds"), r.at("MaxDelaySeconds"), "MaxDelaySeconds must be greater than IntervalSeconds")
		}
		x.FullJitter = r.choice("JitterStrategy", "FULL", "NONE") == "FULL"
		w.Retry = append(w.Retry, x)
	}
	catches := o.kind("Catch", jsonvalue.KindArray).Len()
	for i, k := range o.objects("Catch") {
		k.closed([]string{"ErrorEquals", "Next", "Assign", "Comment"}, p.either([]string{"ResultPath"}, outputFields))
		k.required("Next")
		x := Catcher{Pos: p.pos(k.v.Offset()), ErrorEquals: k.errorEquals(i == catches-1), Next: k.str("Next"), Assign: k.assign(hasError), Comment: k.str("Comment")}
		if p.language == JSONata {
			x.Output = k.template("Output", hasError)
		} else {
			x.ResultPath = k.resultPath()
		}
		w.Catch = append(w.Catch, x)
	}
	return w
}

func (o object) errorEquals(last bool) []string {
	const name = "ErrorEquals"
	o.required(name)
	v := o.kind(name, jsonvalue.KindArray)
	if v.IsZero() {
		return nil
	}
	if v.Len() == 0 {
		o.p.schema(v, o.at(name), "Value cannot be empty")
	}
	var names []string
	for m := range v.Elements() {
		if m.Kind() != jsonvalue.KindString {
			o.p.schema(m, o.at(name), "Expected value of type [STRING]")
		}
		names = append(names, m.Str())
	}
	if slices.Contains(names, ErrAll) && (len(names) > 1 || !last) {
		o.p.schema(v, o.at(name), "States.ALL must appear alone and in the last entry")
	}
	return names
}
