package mapdata

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

var (
	errTooLarge = fmt.Errorf("larger than %d bytes", maxItem)
	errEnds     = errors.New("the text ends within a value")
)

// mark is where the reading of one object goes on.
type mark struct {
	Offset int64  `json:"o,omitempty"` // in the decompressed content
	Line   int64  `json:"l,omitempty"` // lines before Offset
	Row    int64  `json:"r,omitempty"` // records before it
	Keyed  bool   `json:"m,omitempty"` // the records are members of an object
	ETag   string `json:"e,omitempty"`
}

// record is an item before it has an index.
type record struct {
	key   string
	keyed bool
	value jsonvalue.Value
}

// records gives the records of one object in order, io.EOF at the end. Its mark goes on behind the last one given.
type records interface {
	next(ctx context.Context) (record, error)
	mark() mark
	close()
}

// jsonRecords are the elements of an array or the members of an object within a JSON document, read without holding it.
type jsonRecords struct {
	*stream
	pointer string
	at      mark
	open    bool
	done    bool
}

func newJSON(from *remote, pointer string, at mark) *jsonRecords {
	return &jsonRecords{stream: openStream(from), pointer: pointer, at: at}
}

func (j *jsonRecords) mark() mark { j.at.ETag = j.from.etag; return j.at }
func (j *jsonRecords) close()     { j.stream.close() }

func (j *jsonRecords) bad(err error) error {
	var f *Failure
	switch {
	case errors.As(err, &f):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, errEnds):
		return j.from.failed("The object %s is not valid JSON: the text ends at byte %d, within the items", j.from.object, j.base+int64(len(j.buf)))
	case errors.Is(err, errTooLarge):
		return j.from.failed("Item %d of the object %s, at byte %d, is %v", j.at.Row, j.from.object, j.offset(), err)
	}
	var syntax *jsonvalue.SyntaxError
	if errors.As(err, &syntax) {
		return j.from.failed("The object %s is not valid JSON: %s at byte %d, in item %d", j.from.object, syntax.Text, j.offset()+int64(syntax.Offset), j.at.Row)
	}
	return err
}

// unexpected is the failure of a character that JSON does not have there.
func (j *jsonRecords) unexpected(want string) error {
	r, _ := utf8.DecodeRune(j.window())
	return j.from.failed("The object %s is not valid JSON: %q at byte %d, where %s should be", j.from.object, r, j.offset(), want)
}

func (j *jsonRecords) next(ctx context.Context) (record, error) {
	r, err := j.read(ctx)
	if err != nil && !(err == io.EOF && j.done) {
		return record{}, j.bad(err)
	}
	return r, err
}

func (j *jsonRecords) read(ctx context.Context) (record, error) {
	if !j.open {
		if err := j.start(ctx); err != nil {
			return record{}, err
		}
		j.open = true
	}
	if j.done {
		return record{}, io.EOF
	}
	c, err := j.space(ctx)
	if err != nil {
		return record{}, err
	}
	end := byte(']')
	if j.at.Keyed {
		end = '}'
	}
	if c == end {
		j.skip(1)
		j.done = true
		if j.pointer == "" {
			switch _, err := j.space(ctx); {
			case err == nil:
				return record{}, j.unexpected("the end of the document")
			case err != io.EOF:
				return record{}, err
			}
		}
		return record{}, io.EOF
	}
	if j.at.Row > 0 {
		if c != ',' {
			return record{}, j.unexpected("a comma or the end of the items")
		}
		j.skip(1)
		if c, err = j.space(ctx); err != nil {
			return record{}, err
		}
		if c == end {
			return record{}, j.unexpected("an item")
		}
	}
	var r record
	if j.at.Keyed {
		name, err := j.name(ctx)
		if err != nil {
			return record{}, err
		}
		r.key, r.keyed = name, true
	}
	if r.value, err = j.value(ctx); err != nil {
		return record{}, err
	}
	j.at.Row++
	j.at.Offset = j.offset()
	return r, nil
}

// start finds the items: what the pointer points to, or the place where reading was left.
func (j *jsonRecords) start(ctx context.Context) error {
	if j.at.Offset > 0 {
		return j.seek(ctx, j.at.Offset)
	}
	if err := j.text(ctx); err != nil {
		return err
	}
	c, err := j.space(ctx)
	if err == io.EOF {
		return j.from.failed("The object %s is empty: it is to hold a JSON array or object", j.from.object)
	}
	if err != nil {
		return err
	}
	if j.pointer != "" {
		if c, err = j.find(ctx); err != nil {
			return err
		}
	}
	switch c {
	case '[':
	case '{':
		j.at.Keyed = true
	default:
		// AWS: recorded by those who tried; a scalar at the pointer fails in the same words.
		if _, err := j.value(ctx); err != nil {
			return err
		}
		return j.from.failed("Attempting to map over non-iterable node.")
	}
	j.skip(1)
	return nil
}

// find goes to the value that the JSON Pointer (RFC 6901) names, and gives its first character. Of repeated names the first
// counts.
func (j *jsonRecords) find(ctx context.Context) (byte, error) {
	missing := j.from.failed("The provided ReaderConfig.ItemsPointer does not match any valid path in the JSON structure.")
	if !strings.HasPrefix(j.pointer, "/") {
		return 0, j.from.failed("ReaderConfig.ItemsPointer is to be a JSON Pointer, as /a/b/0, and not %q", j.pointer)
	}
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	for step := range strings.SplitSeq(j.pointer[1:], "/") {
		step = unescape.Replace(step)
		c, err := j.space(ctx)
		if err != nil {
			return 0, err
		}
		if c != '{' && c != '[' {
			return 0, missing
		}
		array := c == '['
		index, err := strconv.ParseUint(step, 10, 63)
		if array && (err != nil || len(step) > 1 && step[0] == '0') {
			return 0, missing
		}
		j.skip(1)
		for i := uint64(0); ; i++ {
			if c, err = j.space(ctx); err != nil {
				return 0, err
			}
			if i == 0 && (c == ']' && array || c == '}' && !array) {
				return 0, missing
			}
			name := ""
			if !array {
				if name, err = j.name(ctx); err != nil {
					return 0, err
				}
			}
			if array && i == index || !array && name == step {
				break
			}
			if err = j.pass(ctx); err != nil {
				return 0, err
			}
			if c, err = j.space(ctx); err != nil {
				return 0, err
			}
			switch {
			case c == ',':
				j.skip(1)
			case c == ']' && array || c == '}' && !array:
				return 0, missing
			default:
				return 0, j.unexpected("a comma")
			}
		}
	}
	return j.space(ctx)
}

// space skips white space and gives the character behind it.
func (j *jsonRecords) space(ctx context.Context) (byte, error) {
	for {
		w := j.window()
		for i, c := range w {
			if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
				j.skip(i)
				return c, nil
			}
		}
		j.skip(len(w))
		if err := j.more(ctx); err != nil {
			return 0, err
		}
	}
}

// name reads a member's name and the colon, and goes to the value.
func (j *jsonRecords) name(ctx context.Context) (string, error) {
	if j.window()[0] != '"' {
		return "", j.unexpected("a member's name")
	}
	v, err := j.value(ctx)
	if err != nil {
		return "", err
	}
	c, err := j.space(ctx)
	if err != nil {
		return "", err
	}
	if c != ':' {
		return "", j.unexpected("a colon")
	}
	j.skip(1)
	_, err = j.space(ctx)
	return v.Str(), err
}

// value reads the value at the window's beginning.
func (j *jsonRecords) value(ctx context.Context) (jsonvalue.Value, error) {
	n, err := j.extent(ctx, true)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	if n == 0 {
		return jsonvalue.Value{}, j.unexpected("a value")
	}
	v, err := jsonvalue.ParseLimit(j.window()[:n], maxItem)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	j.skip(n)
	return v, nil
}

// pass skips the value at the window's beginning. It is only looked at for where it ends.
func (j *jsonRecords) pass(ctx context.Context) error {
	n, err := j.extent(ctx, false)
	if err == nil {
		j.skip(n)
	}
	return err
}

// extent finds where the value at the window's beginning ends. Unless it is to be kept, the window follows.
func (j *jsonRecords) extent(ctx context.Context, keep bool) (int, error) {
	n, depth, quoted := 0, 0, false
	for {
		w := j.window()
		for n < len(w) {
			c := w[n]
			if quoted {
				i := bytes.IndexAny(w[n:], "\"\\")
				if i < 0 {
					n = len(w)
					break
				}
				if n += i; w[n] == '\\' {
					if n+1 == len(w) {
						break // what is escaped comes with the next block
					}
					n += 2
					continue
				}
				quoted = false
				if n++; depth == 0 {
					return n, nil
				}
				continue
			}
			switch c {
			case '"':
				if depth == 0 && n > 0 {
					return n, nil
				}
				quoted = true
			case '{', '[':
				depth++
			case '}', ']':
				if depth == 0 {
					return n, nil
				}
				if depth--; depth == 0 {
					return n + 1, nil
				}
			case ',', ':', ' ', '\t', '\n', '\r':
				if depth == 0 {
					return n, nil
				}
			}
			n++
		}
		if !keep {
			j.skip(n)
			n = 0
		} else if n > maxItem {
			return 0, errTooLarge
		}
		if err := j.more(ctx); err == io.EOF {
			if depth > 0 || quoted || n < len(j.window()) {
				return 0, errEnds
			}
			return n, nil
		} else if err != nil {
			return 0, err
		}
	}
}

// lineRecords are the lines of a JSON Lines file. Lines of white space alone are no items.
type lineRecords struct {
	*stream
	at   mark
	open bool
}

func newLines(from *remote, at mark) *lineRecords {
	return &lineRecords{stream: openStream(from), at: at}
}

func (l *lineRecords) mark() mark { l.at.ETag = l.from.etag; return l.at }
func (l *lineRecords) close()     { l.stream.close() }

func (l *lineRecords) next(ctx context.Context) (record, error) {
	if !l.open {
		begin := l.text
		if l.at.Offset > 0 {
			begin = func(ctx context.Context) error { return l.seek(ctx, l.at.Offset) }
		}
		if err := begin(ctx); err != nil {
			return record{}, err
		}
		l.open = true
	}
	for {
		text, n, err := l.line(ctx)
		if err == errTooLarge {
			return record{}, l.from.failed("Line %d of the object %s is %v", l.at.Line+1, l.from.object, err)
		}
		if err != nil {
			return record{}, err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			l.skip(n)
			l.at.Line++
			l.at.Offset = l.offset()
			continue
		}
		v, err := jsonvalue.ParseLimit(text, maxItem)
		if err != nil {
			return record{}, l.from.failed("Line %d of the object %s is not valid JSON: %v", l.at.Line+1, l.from.object, err)
		}
		l.skip(n)
		l.at.Line++
		l.at.Row++
		l.at.Offset = l.offset()
		return record{value: v}, nil
	}
}
