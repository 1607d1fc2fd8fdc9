package mapdata

import (
	"bytes"
	"context"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// maxHeader bounds the header of a CSV file. AWS: 10 KiB.
const maxHeader = 10 << 10

var delimiters = map[string]byte{"": ',', "COMMA": ',', "PIPE": '|', "SEMICOLON": ';', "SPACE": ' ', "TAB": '\t'}

// csvRecords are the rows of a delimited file, as objects of strings.
type csvRecords struct {
	*stream
	delimiter byte
	headers   []string
	given     bool
	order     []int // of the columns in an item
	at        mark
	open      bool
	names     []string // the headers as JSON, each with its colon
	fields    [][]byte // of the row, until the next one
	item      []byte
}

func newCSV(from *remote, config ReaderConfig, at mark) (*csvRecords, error) {
	d, ok := delimiters[config.CSVDelimiter]
	if !ok {
		return nil, from.failed("ReaderConfig.CSVDelimiter must be COMMA, PIPE, SEMICOLON, SPACE or TAB, not %q", config.CSVDelimiter)
	}
	c := &csvRecords{stream: openStream(from), delimiter: d, at: at}
	switch config.CSVHeaderLocation {
	case "FIRST_ROW":
		if config.CSVHeaders != nil {
			return nil, from.failed("ReaderConfig.CSVHeaders are only for CSVHeaderLocation GIVEN")
		}
	case "GIVEN":
		c.given = true
		if len(config.CSVHeaders) == 0 {
			return nil, from.failed("ReaderConfig.CSVHeaderLocation GIVEN needs CSVHeaders")
		}
		if err := c.setHeaders(config.CSVHeaders); err != nil {
			return nil, err
		}
	default:
		return nil, from.failed("ReaderConfig.CSVHeaderLocation must be FIRST_ROW or GIVEN, not %q", config.CSVHeaderLocation)
	}
	return c, nil
}

func (c *csvRecords) setHeaders(headers []string) error {
	seen := make(map[string]bool, len(headers))
	size := 0
	for _, h := range headers {
		if seen[h] {
			return c.from.failed("CSV headers cannot contain duplicates.") // AWS: recorded
		}
		seen[h] = true
		size += len(h) + 1
	}
	if size > maxHeader {
		return c.from.failed("The CSV headers of the object %s have more than %d bytes", c.from.object, maxHeader)
	}
	c.headers, c.order = headers, hashOrder(headers)
	for _, h := range headers {
		c.names = append(c.names, jsonvalue.Str(h).String()+":")
	}
	return nil
}

func (c *csvRecords) mark() mark { c.at.ETag = c.from.etag; return c.at }
func (c *csvRecords) close()     { c.stream.close() }

func (c *csvRecords) next(ctx context.Context) (record, error) {
	if !c.open {
		if err := c.start(ctx); err != nil {
			return record{}, err
		}
		c.open = true
	}
	if err := c.row(ctx); err != nil {
		return record{}, err
	}
	c.at.Row++
	c.at.Offset = c.offset()
	// AWS: fields beyond the headers are skipped, missing ones are empty strings; everything is a string.
	c.item = append(c.item[:0], '{')
	for i, column := range c.order {
		if i > 0 {
			c.item = append(c.item, ',')
		}
		c.item = append(c.item, c.names[column]...)
		var field []byte
		if column < len(c.fields) {
			field = c.fields[column]
		}
		if bytes.IndexFunc(field, notPlain) < 0 {
			c.item = append(append(append(c.item, '"'), field...), '"')
		} else {
			c.item = append(c.item, jsonvalue.Str(string(field)).Raw()...)
		}
	}
	v, err := jsonvalue.Parse(append(c.item, '}'))
	return record{value: v}, err
}

// notPlain reports that a character has to be escaped in JSON, or is none.
func notPlain(r rune) bool { return r < 0x20 || r == '"' || r == '\\' || r == utf8.RuneError }

func (c *csvRecords) start(ctx context.Context) error {
	if c.given && c.at.Offset > 0 {
		return c.seek(ctx, c.at.Offset)
	}
	if err := c.text(ctx); err != nil {
		return err
	}
	line := c.at.Line
	if !c.given {
		err := c.row(ctx)
		if err == io.EOF {
			return c.from.failed("The object %s is empty: its first row is to hold the CSV headers", c.from.object)
		}
		if err != nil {
			return err
		}
		headers := make([]string, len(c.fields))
		for i, f := range c.fields {
			headers[i] = strings.ToValidUTF8(string(f), "\ufffd")
		}
		if err := c.setHeaders(headers); err != nil {
			return err
		}
	}
	if c.at.Offset > 0 {
		c.at.Line = line
		return c.seek(ctx, c.at.Offset)
	}
	return nil
}

// row reads the next row into c.fields.
func (c *csvRecords) row(ctx context.Context) error {
	for {
		w := c.window()
		fields, n, lines, ok := parseRow(c.fields[:0], w, c.delimiter, c.eof)
		c.fields = fields
		if ok {
			c.skip(n)
			c.at.Line += lines
			return nil
		}
		if c.eof {
			if len(w) == 0 {
				return io.EOF
			}
			return c.from.failed("Line %d of the object %s begins a quoted field that does not end", c.at.Line+1, c.from.object)
		}
		if len(w) > maxItem {
			return c.from.failed("The row at line %d of the object %s is %v", c.at.Line+1, c.from.object, errTooLarge)
		}
		if err := c.more(ctx); err != nil && err != io.EOF {
			return err
		}
	}
}

// parseRow splits the first row of w into fields; n are its bytes with the line's end, lines the lines it takes. ok is false
// when the row may go on behind w. whole says that nothing does.
//
// AWS (input-output-itemreader): quotes around a field let it hold delimiters and newlines, a doubled quote is one quote, a
// backslash escapes a backslash, a quote or the delimiter, and disappears before anything else. An empty line is a row of
// one empty field. Recorded: single quotes and white space stay.
func parseRow(fields [][]byte, w []byte, delimiter byte, whole bool) (_ [][]byte, n int, lines int64, ok bool) {
	if len(w) == 0 {
		return fields, 0, 0, false
	}
	at := 0
	for {
		field, end, newlines, ok := parseField(w[at:], delimiter, whole)
		if !ok {
			return fields, 0, 0, false
		}
		fields = append(fields, field)
		lines += newlines
		at += end
		switch {
		case at == len(w):
			return fields, at, lines, whole
		case w[at] == delimiter:
			at++
			if at == len(w) {
				return append(fields, nil), at, lines, whole
			}
		case w[at] == '\n':
			return fields, at + 1, lines + 1, true
		case w[at] == '\r' && at+1 < len(w):
			if w[at+1] == '\n' {
				at++
			}
			return fields, at + 1, lines + 1, true
		default: // a carriage return, and what follows is not there yet
			return fields, at + 1, lines + 1, whole
		}
	}
}

// parseField takes the field at the beginning of w, in place where it can; n are its bytes. It ends before a delimiter, the
// end of a line, or w.
func parseField(w []byte, delimiter byte, whole bool) (field []byte, n int, lines int64, ok bool) {
	special := func(c byte) bool { return c == delimiter || c == '\n' || c == '\r' || c == '"' || c == '\\' }
	for n < len(w) && !special(w[n]) {
		n++
	}
	if n == len(w) {
		return w, n, 0, whole
	}
	if c := w[n]; c != '"' && c != '\\' {
		return w[:n], n, 0, true
	}
	out := append([]byte(nil), w[:n]...)
	quoted := false
	for n < len(w) {
		c := w[n]
		last := n+1 == len(w)
		switch {
		case c == '\\':
			if last && !whole {
				return nil, 0, 0, false
			}
			// What is escaped stands for itself; but a line's end is one.
			if !last && (w[n+1] == '\\' || w[n+1] == '"' && (quoted || len(out) > 0) || w[n+1] == delimiter) {
				n++
				out = append(out, w[n])
			}
		case c == '"' && quoted:
			if last && !whole {
				return nil, 0, 0, false
			}
			if !last && w[n+1] == '"' {
				n++
				out = append(out, '"')
			} else {
				quoted = false
			}
		case c == '"' && len(bytes.TrimLeft(out, " \t")) == 0:
			out, quoted = out[:0], true
		case quoted && c == '\r' && !last && w[n+1] == '\n':
			// AWS reads line by line: a line's end within quotes is one newline.
		case quoted:
			if c == '\n' {
				lines++
			}
			out = append(out, c)
		case c == delimiter || c == '\n' || c == '\r':
			return out, n, lines, true
		default:
			out = append(out, c)
		}
		n++
	}
	return out, n, lines, whole && !quoted
}

// hashOrder is the order in which AWS shows the columns of a CSV item: that of a java.util.HashMap of the headers. Recorded:
// 0,True,{} comes as 0,{},True, and id|text|blank as blank,id,text.
func hashOrder(headers []string) []int {
	buckets := uint32(16)
	for float64(len(headers)) > 0.75*float64(buckets) {
		buckets *= 2
	}
	slots := make([][]int, buckets)
	for i, name := range headers {
		h := uint32(0)
		for _, u := range utf16.Encode([]rune(name)) {
			h = 31*h + uint32(u)
		}
		b := (h ^ h>>16) & (buckets - 1)
		slots[b] = append(slots[b], i)
	}
	order := make([]int, 0, len(headers))
	for _, s := range slots {
		order = append(order, s...)
	}
	return order
}
