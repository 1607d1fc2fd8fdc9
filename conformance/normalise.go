package conformance

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

var (
	uuidForm = regexp.MustCompile(`[a-fA-F0-9]{8}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{12}`)
	uuidHead = regexp.MustCompile(`^` + uuidForm.String())
	isoForm  = regexp.MustCompile(`(?:[1-9]\d{3}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)` +
		`|(?:[1-9]\d(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d` +
		`(?:\.\d{1,9})?(?:Z|[+-][01]\d:?([0-5]\d)?)`)
	isoHead   = regexp.MustCompile(`^(?:` + isoForm.String() + `)`)
	arnForm   = regexp.MustCompile(`^arn:(aws[a-zA-Z-]*)?:([a-zA-Z0-9-_.]+)?:([^:]+)?:(\d{12})?:(.*)`)
	timeKey   = regexp.MustCompile(`(?i)timestamp`)
	numbered  = regexp.MustCompile(`<([^<>:]*?):(\d+)>|<([^<>]*?_)(\d+)(idx)>`)
	causeJSON = regexp.MustCompile(`^.*'(\{.*\})'`)
	pathToken = regexp.MustCompile(`^(?:\.\.([\w\-]+|\*)|\.([\w\-]+|\*)|\[(\d+|\*)\])`)
	resultTwo = regexp.MustCompile(`execution(?:Succeeded|Failed|Aborted|TimedOut)EventDetails(\..*)$`)
	dateKeys  = map[string]bool{"creationDate": true, "startDate": true, "stopDate": true, "updateDate": true, "redriveDate": true}
)

func fixed(path, replacement string) Transformer {
	no := false
	return Transformer{Kind: "jsonpath", Path: path, Replacement: replacement, Reference: &no}
}

// standardTransformers apply to every case, before its own.
var standardTransformers = []Transformer{
	fixed("$..SdkHttpMetadata..Date", "date"),
	fixed("$..SdkResponseMetadata..RequestId", "RequestId"),
	fixed("$..X-Amzn-Trace-Id", "X-Amzn-Trace-Id"),
	fixed("$..x-amz-crc32", "x-amz-crc32"),
	fixed("$..x-amzn-RequestId", "x-amzn-RequestId"),
	fixed("$..x-amzn-requestid", "x-amzn-requestid"),
	{Kind: "function", Function: "transform_stepfunctions_cause_details", Replacement: "json-input"},
	{Kind: "regex", Pattern: "Extended Request ID: [a-zA-Z0-9-/=+]+", Replacement: "Extended Request ID: <extended_request_id>"},
	{Kind: "regex", Pattern: "Request ID: [a-zA-Z0-9-]+", Replacement: "Request ID: <request_id>"},
}

// standard is an expectation with the standard replacements: some recordings are older than they are.
func standard(doc any) any {
	doc = clone(doc)
	for _, t := range standardTransformers {
		if t.Kind == "jsonpath" {
			for _, p := range find(doc, t.Path) {
				p.set(t.Replacement)
			}
		}
	}
	return doc
}

// added lists what AWS has added to its answers, and when: an older recording cannot have it.
var added = []struct{ since, path string }{
	{"2023-11-15", "$..redriveCount"}, {"2023-11-15", "$..redriveStatus"}, {"2023-11-15", "$..redriveStatusReason"},
	{"2023-11-15", "$..RedriveCount"}, {"2023-11-15", "$..RedriveStatus"}, {"2023-11-15", "$..RedriveStatusReason"},
	{"2024-07-25", "$..encryptionConfiguration"},
}

// skips are the paths that are not compared: what is younger than the recording, durations, and lengths that follow from
// the names that this run has made.
func (c *Case) skips() []string {
	out := []string{"$..billedDurationInMilliseconds", "$..Content-Length"}
	for _, a := range added {
		if c.recorded() < a.since {
			out = append(out, a.path)
		}
	}
	return out
}

// place is where a value stands: a member of an object or an element of a list.
type place struct {
	object map[string]any
	list   []any
	key    string
	index  int
}

func (p place) get() any {
	if p.object != nil {
		return p.object[p.key]
	}
	return p.list[p.index]
}

func (p place) set(v any) {
	if p.object != nil {
		p.object[p.key] = v
	} else {
		p.list[p.index] = v
	}
}

// find selects places by the small JSONPath dialect that the cases use.
func find(doc any, path string) []place {
	rest := strings.TrimPrefix(path, "$")
	places := []place{{object: map[string]any{"$": doc}, key: "$"}}
	for rest != "" {
		m := pathToken.FindStringSubmatch(rest)
		if m == nil {
			return nil
		}
		rest = rest[len(m[0]):]
		var next []place
		for _, p := range places {
			v := p.get()
			switch {
			case m[1] != "":
				deep(v, m[1], &next)
			case m[2] != "":
				if o, ok := v.(map[string]any); ok {
					for _, k := range sorted(o) {
						if m[2] == "*" || k == m[2] {
							next = append(next, place{object: o, key: k})
						}
					}
				} else if l, ok := v.([]any); ok && m[2] == "*" {
					for i := range l {
						next = append(next, place{list: l, index: i})
					}
				}
			default:
				l, _ := v.([]any)
				for i := range l {
					if m[3] == "*" || m[3] == strconv.Itoa(i) {
						next = append(next, place{list: l, index: i})
					}
				}
			}
		}
		places = next
	}
	return places
}

func deep(v any, name string, out *[]place) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range sorted(v) {
			if name == "*" || k == name {
				*out = append(*out, place{object: v, key: k})
			}
			deep(v[k], name, out)
		}
	case []any:
		for _, x := range v {
			deep(x, name, out)
		}
	}
}

func sorted(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

type gone struct{}

// drop removes what the paths select.
func drop(doc any, paths []string) any {
	doc = clone(doc)
	for _, p := range paths {
		if p == "$.*" || p == "$..*" {
			return map[string]any{}
		}
		for _, at := range find(doc, p) {
			at.set(gone{})
		}
	}
	return sweep(doc)
}

func sweep(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if _, dead := x.(gone); dead {
				delete(v, k)
			} else {
				v[k] = sweep(x)
			}
		}
		return v
	case []any:
		out := v[:0]
		for _, x := range v {
			if _, dead := x.(gone); !dead {
				out = append(out, sweep(x))
			}
		}
		return out
	}
	return v
}

// parseEmbedded makes values of texts that begin with '{' and are JSON, not inside lists of lists.
func parseEmbedded(o map[string]any) {
	for k, x := range o {
		switch x := x.(type) {
		case []any:
			for _, item := range x {
				if m, ok := item.(map[string]any); ok {
					parseEmbedded(m)
				}
			}
		case map[string]any:
			parseEmbedded(x)
		case string:
			if strings.HasPrefix(x, "{") {
				var v any
				if decode([]byte(x), &v) == nil {
					o[k] = v
				}
			}
		}
	}
}

// walk visits members depth first, in the order of their keys; visit says whether it took the member.
func walk(o map[string]any, visit func(o map[string]any, k string, v any) bool) {
	for _, k := range sorted(o) {
		if visit(o, k, o[k]) {
			continue
		}
		switch x := o[k].(type) {
		case []any:
			for _, item := range x {
				if m, ok := item.(map[string]any); ok {
					walk(m, visit)
				}
			}
		case map[string]any:
			walk(x, visit)
		}
	}
}

type normaliser struct {
	transformers    []Transformer
	account, region string
	subs            []func(string) string
	seen            map[string]bool
	count           map[string]int
}

func (n *normaliser) run(doc map[string]any) map[string]any {
	doc = clone(doc).(map[string]any)
	n.subs, n.seen, n.count = nil, map[string]bool{}, map[string]int{}
	walk(doc, func(o map[string]any, k string, v any) bool {
		if _, isText := v.(string); dateKeys[k] && !isText && v != nil {
			o[k] = "datetime"
			return true
		}
		return false
	})
	parseEmbedded(doc)
	for _, t := range standardTransformers {
		n.apply(doc, t)
	}
	for _, t := range n.transformers {
		n.apply(doc, t)
	}
	for _, t := range mapRuns(doc) {
		n.apply(doc, t)
	}
	n.regex(regexp.QuoteMeta(n.account), "111111111111")
	n.regex(regexp.QuoteMeta(n.region), "<region>")
	n.regex("arn:aws:", "arn:<partition>:")
	n.keyValues(doc, "uuid", true, func(k string, v any) (string, bool) {
		s, ok := v.(string)
		return s, ok && strings.HasSuffix(strings.ToLower(k), "id") && uuidHead.MatchString(s)
	})
	n.regex(isoForm.String(), "date")
	n.keyValues(doc, "timestamp", false, func(k string, v any) (string, bool) {
		if !timeKey.MatchString(k) && k != "creationTime" && k != "ingestionTime" {
			return "", false
		}
		s := plainText(v)
		return s, !isoHead.MatchString(s)
	})
	out := map[string]any{}
	for k, v := range doc {
		text := dump(v)
		for _, sub := range n.subs {
			text = sub(text)
		}
		var x any
		if err := decode([]byte(text), &x); err != nil {
			x = map[string]any{"unparsable-after-normalising": text}
		}
		out[k] = x
	}
	return out
}

func plainText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return dump(v)
}

func (n *normaliser) regex(pattern, replacement string) bool {
	rx, err := regexp.Compile(pattern)
	if err != nil {
		return false
	}
	if strings.Contains(replacement, `\`) {
		replacement = regexp.MustCompile(`\\(\d+)`).ReplaceAllString(strings.ReplaceAll(replacement, "$", "$$"), "$${$1}")
		n.subs = append(n.subs, func(s string) string { return rx.ReplaceAllString(s, replacement) })
	} else {
		n.subs = append(n.subs, func(s string) string { return rx.ReplaceAllLiteralString(s, replacement) })
	}
	return true
}

func (n *normaliser) text(old, replacement string) {
	if old != "" {
		n.subs = append(n.subs, func(s string) string { return strings.ReplaceAll(s, old, replacement) })
	}
}

// refer replaces every occurrence of a value by a numbered placeholder.
func (n *normaliser) refer(v any, name string) {
	s, ok := v.(string)
	if s = strings.ReplaceAll(s, `"`, `\"`); !ok || s == "" || n.seen[s] {
		return
	}
	n.seen[s] = true
	n.count[name]++
	n.text(s, fmt.Sprintf("<%s:%d>", name, n.count[name]))
}

func (n *normaliser) keyValues(doc map[string]any, name string, reference bool, match func(k string, v any) (string, bool)) {
	walk(doc, func(o map[string]any, k string, v any) bool {
		m, ok := match(k, v)
		if !ok {
			return false
		}
		if reference {
			n.refer(m, name)
		} else if s, isText := v.(string); isText {
			o[k] = strings.ReplaceAll(s, m, name)
		} else {
			o[k] = name
		}
		return true
	})
}

func (n *normaliser) apply(doc map[string]any, t Transformer) {
	switch t.Kind {
	case "regex":
		if !n.regex(t.Pattern, t.Replacement) {
			n.regex(regexp.QuoteMeta(t.Pattern), t.Replacement)
		}
	case "text":
		n.text(t.Text, t.Replacement)
	case "jsonpath":
		paths := []string{t.Path}
		if m := resultTwo.FindStringSubmatch(t.Path); m != nil && doc["result"] != nil {
			paths = append(paths, "$.result"+m[1]) // the same value stands in the summary of the execution
		}
		for _, path := range paths {
			for _, p := range find(doc, path) {
				if t.reference(false) {
					n.refer(p.get(), t.Replacement)
				} else {
					p.set(t.Replacement)
				}
			}
		}
	case "key":
		n.keyValues(doc, t.Replacement, t.reference(true), func(k string, v any) (string, bool) {
			if k != t.Key || v == nil || v == "" {
				return "", false
			}
			return plainText(v), true
		})
	case "function":
		fn := map[string]func(string, any) (string, bool){"resource_name": resourceName, "transform_stepfunctions_cause_details": causeDetails}[t.Function]
		if fn != nil {
			n.keyValues(doc, t.Replacement, t.reference(true), fn)
		}
	case "sort_variable_references":
		for _, p := range find(doc, "$..variableReferences") {
			o, _ := p.get().(map[string]any)
			for _, names := range o {
				if l, ok := names.([]any); ok {
					sort.Slice(l, func(i, j int) bool { return plainText(l[i]) < plainText(l[j]) })
				}
			}
		}
	}
}

func resourceName(_ string, v any) (string, bool) {
	s, _ := v.(string)
	m := arnForm.FindStringSubmatch(s)
	if m == nil {
		return "", false
	}
	res := m[5]
	switch {
	case strings.HasPrefix(res, "<") && strings.HasSuffix(res, ">"):
		return "", false
	case strings.Contains(res, "/"):
		return res[strings.LastIndexByte(res, '/')+1:], true
	case strings.HasPrefix(res, "function:"):
		res, _, _ = strings.Cut(strings.ReplaceAll(res, "function:", ""), "$")
		return strings.TrimRight(res, ":"), true
	}
	return res[strings.LastIndexByte(res, ':')+1:], true
}

func causeDetails(k string, v any) (string, bool) {
	s, _ := v.(string)
	if k != "cause" {
		return "", false
	}
	m := causeJSON.FindStringSubmatch(s)
	if m == nil {
		return "", false
	}
	var x any
	return m[1], decode([]byte(m[1]), &x) == nil
}

var mapRunARN = regexp.MustCompile(`"mapRunArn": "([^"]+)"`)

func mapRuns(doc any) []Transformer {
	var out []Transformer
	seen := map[string]bool{}
	i := 0
	for _, m := range mapRunARN.FindAllStringSubmatch(dump(doc), -1) {
		if seen[m[1]] {
			continue
		}
		seen[m[1]] = true
		tail := strings.Split(m[1][strings.LastIndexByte(m[1], '/')+1:], ":")
		if len(tail) > 1 {
			out = append(out, Transformer{Kind: "text", Text: tail[1], Replacement: fmt.Sprintf("<MapRunArnPart1_%didx>", i)})
		}
		if uuidHead.MatchString(tail[0]) {
			out = append(out, Transformer{Kind: "text", Text: tail[0], Replacement: fmt.Sprintf("<MapRunArnPart0_%didx>", i)})
		}
		i++
	}
	return out
}

// renumber counts the numbers inside placeholders from 1 in order of appearance.
func renumber(v any) any {
	seen, counts := map[string]string{}, map[string]int{}
	text := numbered.ReplaceAllStringFunc(dump(v), func(s string) string {
		if _, ok := seen[s]; !ok {
			m := numbered.FindStringSubmatch(s)
			name := m[1]
			if m[3] != "" {
				name = m[3]
			}
			counts[name]++
			seen[s] = fmt.Sprintf("<%s:#%d>", name, counts[name])
		}
		return seen[s]
	})
	var out any
	if decode([]byte(text), &out) != nil {
		return v
	}
	return out
}
