package awsproto

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// Normalize checks a document against the operation's input and gives every value its canonical type. It collects all
// violations into one error, worded and coded as the service's protocol does. A member that the model does not have is
// an error too: only in-process callers can bring one, and silence would hide their mistake. The shapes in lifted may be
// longer than the model says.
func Normalize(m *awsapi.Model, op *awsapi.Operation, doc map[string]any, lifted ...string) (map[string]any, error) {
	if op.Input == nil {
		for name := range doc {
			return nil, badType(fmt.Sprintf("%s has no member %q", op.Name, name))
		}
		return map[string]any{}, nil
	}
	c := checker{lax: m.Metadata.Protocol == "rest-xml", lifted: lifted}
	v := c.value(op.Input, doc, "")
	if c.bad != nil {
		return nil, c.bad
	}
	if len(c.problems) > 0 {
		return nil, invalid(m, c.problems)
	}
	return v.(map[string]any), nil
}

// problem is one violated constraint.
type problem struct {
	path    string // 'tags.1.member.key'
	value   string // as the text shows it; "" for sensitive ones
	must    string
	missing bool
}

// invalid words the problems as the service does.
func invalid(m *awsapi.Model, ps []problem) error {
	switch p := ps[0]; {
	case m.Name() == "ec2", m.Name() == "sqs":
		// AWS: EC2 and SQS name one parameter at a time, spelt as the request spells it.
		name := strings.ReplaceAll(p.path, ".member", "")
		name = strings.ToUpper(name[:1]) + name[1:]
		if p.missing {
			dot := ""
			if m.Name() == "sqs" {
				dot = "."
			}
			return awsapi.Errorf(400, "MissingParameter", "The request must contain the parameter %s%s", name, dot)
		}
		return awsapi.Errorf(400, "InvalidParameterValue", "Value (%s) for parameter %s is invalid. %s", strings.Trim(p.value, "'"), name, p.must)
	case m.Metadata.Protocol == "rest-xml":
		return awsapi.Errorf(400, "InvalidRequest", "Missing required parameter: %s", p.path)
	}
	texts := make([]string, len(ps))
	for i, p := range ps {
		value := "Value"
		if p.value != "" {
			value += " " + p.value
		}
		texts[i] = fmt.Sprintf("%s at '%s' failed to satisfy constraint: %s", value, p.path, p.must)
	}
	noun := "errors"
	if len(ps) == 1 {
		noun = "error"
	}
	code := "ValidationException"
	if m.Metadata.Protocol == "query" {
		code = "ValidationError"
	}
	return awsapi.Errorf(400, code, "%d validation %s detected: %s", len(ps), noun, strings.Join(texts, "; "))
}

// maxProblems bounds the text of an error.
const maxProblems = 20

type checker struct {
	lax      bool // only what is required: S3 words the rest itself
	lifted   []string
	problems []problem
	bad      error // a value of a wrong type: nothing else is looked at
}

func badType(text string) error { return awsapi.Errorf(400, "SerializationException", "%s", text) }

func (c *checker) fail(text string) any {
	if c.bad == nil {
		c.bad = badType(text)
	}
	return nil
}

func (c *checker) violates(s *awsapi.Shape, path, value, must string) {
	if c.lax || len(c.problems) >= maxProblems {
		return
	}
	if s.Sensitive {
		value = ""
	}
	c.problems = append(c.problems, problem{path: path, value: value, must: must})
}

func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (c *checker) value(r *awsapi.Ref, v any, path string) any {
	s := r.To
	if c.bad != nil {
		return nil
	}
	switch s.Type {
	case "structure":
		doc, ok := asMap(v)
		if !ok {
			return c.fail(expected(v, path, "structure or map"))
		}
		return c.structure(s, doc, path)
	case "list":
		list, ok := asList(v)
		if !ok {
			return c.fail(expected(v, path, "list"))
		}
		c.size(s, len(list), path, func() string { return show(r, list) })
		out := make([]any, len(list))
		for i, e := range list {
			at := join(path, strconv.Itoa(i+1)+".member")
			if e == nil {
				c.missing(at)
				continue
			}
			if isScalar(s.Member.To) {
				out[i] = c.inside(func() any { return c.value(s.Member, e, at) }, path, func() string { return brief(list) }, "Member must satisfy constraint: [")
				continue
			}
			out[i] = c.value(s.Member, e, at)
		}
		return out
	case "map":
		doc, ok := asMap(v)
		if !ok {
			return c.fail(expected(v, path, "structure or map"))
		}
		c.size(s, len(doc), path, func() string { return brief(doc) })
		out := make(map[string]any, len(doc))
		for k, e := range doc {
			if e == nil {
				continue
			}
			show := func() string { return brief(doc) }
			c.inside(func() any { c.str(s.Key.To, k, path); return nil }, path, show, "Map keys must satisfy constraint: [")
			if isScalar(s.Value.To) {
				out[k] = c.inside(func() any { return c.value(s.Value, e, path) }, path, show, "Map value must satisfy constraint: [")
				continue
			}
			out[k] = c.value(s.Value, e, join(path, k+".member"))
		}
		return out
	}
	return c.scalar(r, v, path)
}

// inside checks a scalar inside a list or map. AWS: such a violation names the whole list or map once, with the element's
// constraints in brackets, as in "Value '[X]' at 'capabilities' failed to satisfy constraint: Member must satisfy constraint: […]".
func (c *checker) inside(check func() any, path string, show func() string, words string) any {
	before := len(c.problems)
	v := check()
	if len(c.problems) == before {
		return v
	}
	var musts []string
	value := ""
	for _, p := range c.problems[before:] {
		musts = append(musts, p.must)
		if p.value != "" {
			value = "'" + show() + "'"
		}
	}
	c.problems = c.problems[:before]
	p := problem{path: path, value: value, must: words + strings.Join(musts, ", ") + "]"}
	if before > 0 && c.problems[before-1] == p {
		return v
	}
	c.problems = append(c.problems, p)
	return v
}

func (c *checker) structure(s *awsapi.Shape, doc map[string]any, path string) any {
	out := make(map[string]any, len(doc))
	known := 0
	for _, m := range s.Members {
		v, ok := doc[m.Name]
		if ok {
			known++
		}
		if !ok || v == nil {
			if s.Requires(m.Name) {
				c.missing(join(path, lowerFirst(m.Name)))
			}
			continue
		}
		out[m.Name] = c.value(m, v, join(path, lowerFirst(m.Name)))
	}
	if known < len(doc) {
		var unknown []string
		for name := range doc {
			if s.MemberNamed(name) == nil {
				unknown = append(unknown, name)
			}
		}
		slices.Sort(unknown)
		at := s.Name
		if path != "" {
			at = path
		}
		return c.fail(fmt.Sprintf("%s has no member named %q", at, unknown[0]))
	}
	if s.Union && known != 1 {
		c.violates(s, path, "", "exactly one member of the union must be set")
	}
	return out
}

func (c *checker) missing(path string) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, problem{path: path, value: "null", must: "Member must not be null", missing: true})
	}
}

func (c *checker) size(s *awsapi.Shape, n int, path string, show func() string) {
	if s.Min != nil {
		if lo, _ := s.Min.Int64(); int64(n) < lo {
			c.violates(s, path, "'"+show()+"'", "Member must have length greater than or equal to "+s.Min.String())
		}
	}
	if s.Max != nil {
		if hi, _ := s.Max.Int64(); int64(n) > hi && !slices.Contains(c.lifted, s.Name) {
			c.violates(s, path, "'"+show()+"'", "Member must have length less than or equal to "+s.Max.String())
		}
	}
}

func (c *checker) str(s *awsapi.Shape, v, path string) {
	if c.lax {
		return
	}
	show := func() string { return shorten(v) }
	if s.Min != nil || s.Max != nil {
		c.size(s, units(v), path, show)
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		c.violates(s, path, "'"+show()+"'", "Member must satisfy enum value set: ["+strings.Join(s.Enum, ", ")+"]")
	}
	if s.Pattern != "" && len(v) <= 65536 {
		if re := pattern(s.Pattern); re != nil && !re.MatchString(v) {
			c.violates(s, path, "'"+show()+"'", "Member must satisfy regular expression pattern: "+s.Pattern)
		}
	}
}

// units counts as Java does, in UTF-16.
func units(s string) int {
	n := 0
	for _, r := range s {
		if n++; r > 0xFFFF {
			n++
		}
	}
	return n
}

func (c *checker) scalar(r *awsapi.Ref, v any, path string) any {
	s := r.To
	switch s.Type {
	case "string", "character":
		switch x := v.(type) {
		case string:
			c.str(s, x, path)
			return x
		}
		if rv := reflect.ValueOf(v); rv.Kind() == reflect.String && reflect.TypeOf(v) != reflect.TypeFor[json.Number]() {
			c.str(s, rv.String(), path)
			return rv.String()
		}
		return c.fail(cannot(v, "a String", path))
	case "boolean":
		if b, ok := v.(bool); ok {
			return b
		}
		return c.fail(cannot(v, "a Boolean", path))
	case "integer", "long":
		n, ok := asInt(v)
		if !ok || s.Type == "integer" && int64(int32(n)) != n {
			noun := "an Integer"
			if s.Type == "long" {
				noun = "a Long"
			}
			return c.fail(cannot(v, noun, path))
		}
		c.within(s, float64(n), strconv.FormatInt(n, 10), path)
		return n
	case "float", "double":
		f, ok := asFloat(v)
		if !ok {
			return c.fail(cannot(v, "a Double", path))
		}
		c.within(s, f, strconv.FormatFloat(f, 'g', -1, 64), path)
		return f
	case "timestamp":
		switch x := v.(type) {
		case time.Time:
			return x.UTC()
		case string:
			if t, err := parseTime(x, iso8601); err == nil {
				return t
			}
		default:
			if f, ok := asFloat(v); ok {
				if t, err := epoch(f); err == nil {
					return t
				}
			}
		}
		return c.fail(cannot(v, "a Timestamp", path))
	case "blob":
		if r.IsStream() {
			switch x := v.(type) {
			case io.Reader:
				return x
			case string:
				return strings.NewReader(x)
			case []byte:
				return strings.NewReader(string(x))
			}
			return c.fail(cannot(v, "a stream", path))
		}
		var b []byte
		switch x := v.(type) {
		case []byte:
			b = x
		case string:
			b = []byte(x)
		default:
			return c.fail(cannot(v, "a Blob", path))
		}
		c.size(s, len(b), path, func() string { return "blob" })
		return b
	}
	return c.fail("unknown type " + s.Type)
}

func (c *checker) within(s *awsapi.Shape, f float64, show, path string) {
	if s.Min != nil {
		if lo, _ := s.Min.Float64(); f < lo {
			c.violates(s, path, "'"+show+"'", "Member must have value greater than or equal to "+s.Min.String())
		}
	}
	if s.Max != nil {
		if hi, _ := s.Max.Float64(); f > hi {
			c.violates(s, path, "'"+show+"'", "Member must have value less than or equal to "+s.Max.String())
		}
	}
}

func asMap(v any) (map[string]any, bool) {
	if m, ok := v.(map[string]any); ok {
		return m, true
	}
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.Map, reflect.Struct, reflect.Pointer:
		if _, ok := v.(time.Time); ok {
			return nil, false
		}
		m, ok := awsapi.ToTree(v).(map[string]any)
		return m, ok
	}
	return nil, false
}

func asList(v any) ([]any, bool) {
	if l, ok := v.([]any); ok {
		return l, true
	}
	if reflect.ValueOf(v).Kind() == reflect.Slice {
		l, ok := awsapi.ToTree(v).([]any)
		return l, ok
	}
	return nil, false
}

func asInt(v any) (int64, bool) {
	switch x := v.(type) {
	case int64:
		return x, true
	case int:
		return int64(x), true
	case json.Number:
		if n, err := x.Int64(); err == nil {
			return n, true
		}
		f, err := x.Float64()
		return int64(f), err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53
	case float64:
		return int64(x), x == math.Trunc(x) && math.Abs(x) < 1<<53
	}
	switch t := awsapi.ToTree(v).(type) {
	case int64:
		return t, true
	}
	return 0, false
}

func asFloat(v any) (float64, bool) {
	switch x := v.(type) {
	case float64:
		return x, true
	case int64:
		return float64(x), true
	case json.Number:
		f, err := x.Float64()
		return f, err == nil
	case string: // AWS: JSON has no other form for these
		switch x {
		case "NaN", "Infinity", "-Infinity":
			f, err := strconv.ParseFloat(x, 64)
			return f, err == nil
		}
		return 0, false
	}
	switch t := awsapi.ToTree(v).(type) {
	case int64:
		return float64(t), true
	case float64:
		return t, true
	}
	return 0, false
}

// kindName is how AWS's JSON reader calls what it found.
func kindName(v any) string {
	switch x := v.(type) {
	case bool:
		if x {
			return "TRUE_VALUE"
		}
		return "FALSE_VALUE"
	case string:
		return "STRING_VALUE"
	case json.Number, int, int64, float64, int32, float32:
		return "NUMBER_VALUE"
	}
	switch reflect.ValueOf(v).Kind() {
	case reflect.Map, reflect.Struct:
		return "Start of structure or map"
	case reflect.Slice:
		return "Start of list"
	}
	return fmt.Sprintf("%T", v)
}

func cannot(v any, noun, _ string) string {
	k := kindName(v)
	if strings.HasPrefix(k, "Start") {
		return k + " found where not expected."
	}
	return k + " can not be converted to " + noun
}

func expected(v any, path, noun string) string {
	if k := kindName(v); strings.HasPrefix(k, "Start") {
		return k + " found where not expected."
	}
	return "Expected " + noun + " or null"
}

func shorten(s string) string {
	if len(s) > 512 {
		return s[:512] + "..."
	}
	return s
}

// show writes a list as AWS's services in Java do: its structures are Name(member=value, member=value). Recorded in
// sfn_api_aliasing.json (test_error_create_alias_invalid_router_configs).
func show(r *awsapi.Ref, list []any) string {
	e := r.To.Member.To
	if e.Type != "structure" {
		return brief(list)
	}
	parts := make([]string, 0, len(list))
	for i, v := range list {
		if i == 16 {
			parts = append(parts, "...")
			break
		}
		doc, _ := asMap(v)
		var members []string
		for _, m := range e.Members {
			if x, ok := doc[m.Name]; ok {
				members = append(members, m.Name+"="+brief(x))
			}
		}
		parts = append(parts, e.Name+"("+strings.Join(members, ", ")+")")
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func brief(v any) string {
	switch x := v.(type) {
	case []any:
		parts := make([]string, 0, len(x))
		for i, e := range x {
			if i == 16 {
				parts = append(parts, "...")
				break
			}
			parts = append(parts, brief(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		parts := make([]string, 0, len(x))
		for k, e := range x {
			parts = append(parts, k+"="+brief(e))
		}
		slices.Sort(parts)
		return shorten("{" + strings.Join(parts, ", ") + "}")
	case string:
		return shorten(x)
	}
	return shorten(fmt.Sprint(v))
}

var patterns sync.Map // string → *matcher, nil for those that Go cannot express

func pattern(p string) *matcher {
	if re, ok := patterns.Load(p); ok {
		return re.(*matcher)
	}
	re, _ := compile(p)
	patterns.Store(p, re)
	return re
}

// matcher is a Java pattern: the whole value must match, and what stands in front must, or must not, lie ahead.
type matcher struct {
	whole, ahead, notAhead *regexp.Regexp
}

func (m *matcher) MatchString(v string) bool {
	return m.whole.MatchString(v) && (m.ahead == nil || m.ahead.MatchString(v)) && (m.notAhead == nil || !m.notAhead.MatchString(v))
}

// look takes one look-ahead off the front of a pattern: "(?=a)b" is a and b.
func look(p string) (ahead, rest string, negative, ok bool) {
	p = strings.TrimPrefix(p, "^")
	negative = strings.HasPrefix(p, "(?!")
	if !negative && !strings.HasPrefix(p, "(?=") {
		return "", p, false, false
	}
	depth, class := 0, false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return p[3:i], p[i+1:], negative, true
			}
		}
	}
	return "", p, false, false
}

var (
	astral  = regexp.MustCompile(`\\u[dD]800\\u[dD][cC]00-\\u[dD][bB][fF][fF]\\u[dD][fF][fF][fF]`)
	escape4 = regexp.MustCompile(`\\u([0-9a-fA-F]{4})`)
	repeat  = regexp.MustCompile(`\{(\d+)(?:,(\d*))?\}`)
	// Java's POSIX classes, within brackets or alone.
	posix = strings.NewReplacer(`[\p{Alnum}`, `[[:alnum:]`, `\p{Alnum}`, `[[:alnum:]]`, `[\p{Print}`, `[[:print:]`, `\p{Print}`, `[[:print:]]`)
)

// compile translates a Java pattern that must match the whole value. Look-around has no translation but at the front:
// such a pattern is not checked, and TestPatterns lists which ones those are.
func compile(p string) (m *matcher, err error) {
	m = &matcher{}
	if ahead, rest, negative, ok := look(p); ok {
		re, err := translate("^(?:" + ahead + ")")
		if err != nil {
			return nil, err
		}
		if p = rest; negative {
			m.notAhead = re
		} else {
			m.ahead = re
		}
	}
	if m.whole, err = translate("^(?:" + p + ")$"); err != nil {
		return nil, err
	}
	return m, nil
}

func translate(p string) (*regexp.Regexp, error) {
	// Go limits counts to 1000; the shapes that need more have a length constraint as well.
	p = repeat.ReplaceAllStringFunc(p, func(s string) string {
		m := repeat.FindStringSubmatch(s)
		lo, _ := strconv.Atoi(m[1])
		hi, err := strconv.Atoi(m[2])
		switch {
		case lo > 1000:
			return "+"
		case err == nil && hi > 1000:
			return fmt.Sprintf("{%d,}", lo)
		}
		return s
	})
	p = astral.ReplaceAllString(p, `\x{10000}-\x{10FFFF}`)
	p = escape4.ReplaceAllString(p, `\x{$1}`)
	return regexp.Compile(posix.Replace(p))
}
