package mapdata

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// AWS: a row group has at most 256 MB, the footer 5 MB.
const (
	maxFooter   = 5 << 20
	maxRowGroup = 256 << 20
)

// parquetRecords are the rows of a Parquet file, read by ranges.
type parquetRecords struct {
	from   *remote
	at     mark // Row counts rows
	file   *parquet.File
	group  int // the row group being read
	rows   parquet.Rows
	buffer []parquet.Row
	ready  []parquet.Row
	ctx    context.Context // of the call in progress, for ReadAt
	err    error           // of S3, as it was before the library wrapped it
}

func newParquet(from *remote, at mark) *parquetRecords {
	return &parquetRecords{from: from, at: at}
}

func (p *parquetRecords) mark() mark { p.at.ETag = p.from.etag; return p.at }

func (p *parquetRecords) close() {
	if p.rows != nil {
		p.rows.Close()
	}
}

// ReadAt reads a range of the object.
func (p *parquetRecords) ReadAt(b []byte, offset int64) (int, error) {
	for n := 0; ; {
		m, err := p.from.read(p.ctx, b[n:min(len(b), n+maxBlock)], offset+int64(n))
		if n += m; n == len(b) {
			return n, nil
		}
		if err != nil {
			if err != io.EOF {
				p.err = err
			}
			return n, err
		}
	}
}

func (p *parquetRecords) next(ctx context.Context) (rec record, err error) {
	p.ctx = ctx
	defer func() {
		// The library panics at some files that are not what their footers say.
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
		var f *Failure
		switch {
		case p.err != nil:
			err = p.err
		case err == nil, err == io.EOF, errors.As(err, &f):
		default:
			err = p.from.failed("The object %s is not a valid Parquet file: %v, at row %d", p.from.object, err, p.at.Row)
		}
	}()
	if p.file == nil {
		if err := p.open(); err != nil {
			return record{}, err
		}
	}
	for len(p.ready) == 0 {
		if err := p.fill(); err != nil {
			return record{}, err
		}
	}
	v, err := rowValue(p.file.Root(), p.ready[0])
	if err != nil {
		return record{}, err
	}
	p.ready = p.ready[1:]
	p.at.Row++
	return record{value: v}, nil
}

func (p *parquetRecords) open() error {
	var tail [8]byte
	// The first read tells the size.
	if _, err := p.from.read(p.ctx, tail[:4], 0); err != nil && err != io.EOF {
		p.err = err
		return err
	}
	size := p.from.size
	if size < 12 {
		return p.from.failed("The object %s is not a Parquet file: it has %d bytes", p.from.object, size)
	}
	if _, err := p.ReadAt(tail[:], size-8); err != nil {
		return err
	}
	if n := binary.LittleEndian.Uint32(tail[:4]); string(tail[4:]) == "PAR1" && (n > maxFooter || int64(n) > size-12) {
		return p.from.failed("The footer of the Parquet file %s has %d bytes; the largest that can be read has %d", p.from.object, n, maxFooter)
	}
	f, err := parquet.OpenFile(p, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.FileReadMode(parquet.ReadModeSync))
	if err != nil {
		return err
	}
	columns := len(f.Schema().Columns())
	if columns == 0 {
		return p.from.failed("The Parquet file %s has no columns", p.from.object)
	}
	// Each column is read through a buffer of its own: 32 MiB in all, unless the columns are very many.
	f, err = parquet.OpenFile(p, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.FileReadMode(parquet.ReadModeSync),
		parquet.ReadBufferSize(max(16<<10, min(1<<20, 32<<20/columns))))
	if err != nil {
		return err
	}
	for i, g := range f.Metadata().RowGroups {
		if g.TotalByteSize > maxRowGroup {
			return p.from.failed("Row group %d of the Parquet file %s has %d bytes; the largest that can be read has %d", i, p.from.object, g.TotalByteSize, maxRowGroup)
		}
		for _, c := range g.Columns {
			switch c.MetaData.Codec {
			case format.Uncompressed, format.Snappy, format.Gzip, format.Zstd:
			default: // AWS reads no other; and the library's LZ4 was seen to give wrong values
				return p.from.failed("The Parquet file %s is compressed with %s; GZIP, SNAPPY and ZSTD can be read", p.from.object, c.MetaData.Codec)
			}
		}
	}
	p.file, p.group = f, -1
	return nil
}

// fill reads some rows, from where the mark is.
func (p *parquetRecords) fill() error {
	if p.rows == nil {
		groups, before := p.file.RowGroups(), int64(0)
		p.group = -1
		for i, g := range groups {
			if n := g.NumRows(); p.at.Row < before+n {
				p.group = i
				break
			} else {
				before += n
			}
		}
		if p.group < 0 {
			return io.EOF
		}
		p.rows = groups[p.group].Rows()
		if skip := p.at.Row - before; skip > 0 {
			if err := p.rows.SeekToRow(skip); err != nil {
				return err
			}
		}
		p.buffer = make([]parquet.Row, 64)
	}
	n, err := p.rows.ReadRows(p.buffer)
	p.ready = p.buffer[:n]
	if err != nil && err != io.EOF {
		return err
	}
	if n == 0 {
		p.rows.Close()
		p.rows = nil
		if end := p.endOfGroup(); p.at.Row < end {
			return fmt.Errorf("row group %d ends before its last row", p.group)
		}
	}
	return nil
}

func (p *parquetRecords) endOfGroup() (end int64) {
	for _, g := range p.file.RowGroups()[:p.group+1] {
		end += g.NumRows()
	}
	return end
}

// rowValue assembles a row from the values of its columns, by their repetition and definition levels.
func rowValue(root *parquet.Column, row parquet.Row) (jsonvalue.Value, error) {
	columns := make([][]parquet.Value, 0, len(row))
	row.Range(func(_ int, values []parquet.Value) bool {
		columns = append(columns, values)
		return true
	})
	a := assembly{}
	v := a.group(root, columns, 0, 0)
	return v, a.err
}

type assembly struct{ err error }

// leaves counts the columns below a node.
func leaves(c *parquet.Column) int {
	if c.Leaf() {
		return 1
	}
	n := 0
	for _, child := range c.Columns() {
		n += leaves(child)
	}
	return n
}

// group is an object of the fields of a node, whose columns these are.
func (a *assembly) group(c *parquet.Column, columns [][]parquet.Value, rep, def int) jsonvalue.Value {
	members := make([]jsonvalue.Member, 0, len(c.Columns()))
	for _, child := range c.Columns() {
		n := leaves(child)
		if n > len(columns) {
			a.err = fmt.Errorf("the row has no value of %s", child.Name())
			return jsonvalue.Null
		}
		members = append(members, jsonvalue.M(child.Name(), a.node(child, columns[:n], rep, def)))
		columns = columns[n:]
	}
	return jsonvalue.Object(members...)
}

// node is the value of a node within one instance of its parent, whose levels are rep and def.
func (a *assembly) node(c *parquet.Column, columns [][]parquet.Value, rep, def int) jsonvalue.Value {
	if a.err != nil || len(columns) == 0 || len(columns[0]) == 0 {
		return jsonvalue.Null
	}
	switch {
	case c.Optional():
		if def++; columns[0][0].DefinitionLevel() < def {
			return jsonvalue.Null
		}
	case c.Repeated():
		rep++
		if def++; columns[0][0].DefinitionLevel() < def {
			return jsonvalue.Array()
		}
		return jsonvalue.ArrayOf(func(yield func(jsonvalue.Value) bool) {
			for rest := columns; len(rest[0]) > 0; {
				one := make([][]parquet.Value, len(rest))
				after := make([][]parquet.Value, len(rest))
				for i, values := range rest {
					n := 1
					for n < len(values) && values[n].RepetitionLevel() > rep {
						n++
					}
					n = min(n, len(values))
					one[i], after[i] = values[:n], values[n:]
				}
				if !yield(a.plain(c, one, rep, def)) {
					return
				}
				rest = after
			}
		})
	}
	return a.plain(c, columns, rep, def)
}

// plain is the value of a node that is there. Lists and maps appear as what they stand for.
func (a *assembly) plain(c *parquet.Column, columns [][]parquet.Value, rep, def int) jsonvalue.Value {
	if c.Leaf() {
		return a.scalar(c.Type(), columns[0][0])
	}
	children := c.Columns()
	if len(children) == 1 && children[0].Repeated() && isList(c) {
		list := a.node(children[0], columns, rep, def)
		if item := children[0]; !item.Leaf() && len(item.Columns()) == 1 {
			name := item.Columns()[0].Name()
			return jsonvalue.ArrayOf(func(yield func(jsonvalue.Value) bool) {
				for e := range list.Elements() {
					if !yield(e.Member(name)) {
						return
					}
				}
			})
		}
		return list
	}
	if len(children) == 1 && children[0].Repeated() && isMap(c) && len(children[0].Columns()) == 2 {
		key, value := children[0].Columns()[0].Name(), children[0].Columns()[1].Name()
		var members []jsonvalue.Member
		for e := range a.node(children[0], columns, rep, def).Elements() {
			name := e.Member(key)
			text := name.Str()
			if name.Kind() != jsonvalue.KindString {
				text = name.String()
			}
			members = append(members, jsonvalue.M(text, e.Member(value)))
		}
		return jsonvalue.Object(members...)
	}
	return a.group(c, columns, rep, def)
}

func isList(c *parquet.Column) bool {
	t := c.Type()
	if l := t.LogicalType(); l != nil {
		_, ok := l.Value.(*format.ListType)
		return ok
	}
	ct := t.ConvertedType()
	return ct != nil && *ct == deprecated.List
}

func isMap(c *parquet.Column) bool {
	t := c.Type()
	if l := t.LogicalType(); l != nil {
		_, ok := l.Value.(*format.MapType)
		return ok
	}
	ct := t.ConvertedType()
	return ct != nil && (*ct == deprecated.Map || *ct == deprecated.MapKeyValue)
}

// scalar is a leaf's value: dates and times as ISO 8601, decimals as exact numbers, bytes as text where they are UTF-8 and
// as Base64 otherwise.
func (a *assembly) scalar(t parquet.Type, v parquet.Value) jsonvalue.Value {
	if v.IsNull() {
		return jsonvalue.Null
	}
	var logical format.LogicalTypeValue
	if l := t.LogicalType(); l != nil {
		logical = l.Value
	}
	var integer *big.Int
	switch v.Kind() {
	case parquet.Boolean:
		return jsonvalue.Bool(v.Boolean())
	case parquet.Int32:
		integer = big.NewInt(int64(v.Int32()))
	case parquet.Int64:
		integer = big.NewInt(v.Int64())
	case parquet.Int96:
		return jsonvalue.Str(int96(v.Int96()).Format(isoNano))
	case parquet.Float:
		n, _ := jsonvalue.From(v.Float())
		if n.IsZero() {
			return jsonvalue.Null
		}
		return n
	case parquet.Double:
		return jsonvalue.Float(v.Double())
	}
	switch l := logical.(type) {
	case *format.DecimalType:
		if integer == nil {
			integer = new(big.Int).SetBytes(v.ByteArray())
			if b := v.ByteArray(); len(b) > 0 && b[0]&0x80 != 0 {
				integer.Sub(integer, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
			}
		}
		return a.decimal(integer, int(l.Scale))
	case *format.DateType:
		return jsonvalue.Str(time.Unix(0, 0).UTC().AddDate(0, 0, int(v.Int32())).Format(time.DateOnly))
	case *format.TimestampType:
		if integer != nil {
			s := unitTime(integer.Int64(), l.Unit).Format(isoNano)
			if !l.IsAdjustedToUTC {
				s = strings.TrimSuffix(s, "Z")
			}
			return jsonvalue.Str(s)
		}
	case *format.TimeType:
		if integer != nil {
			return jsonvalue.Str(unitTime(integer.Int64(), l.Unit).Format("15:04:05.999999999"))
		}
	case *format.IntType:
		if integer != nil && !l.IsSigned && integer.Sign() < 0 {
			bits := uint(32)
			if v.Kind() == parquet.Int64 {
				bits = 64
			}
			integer.Add(integer, new(big.Int).Lsh(big.NewInt(1), bits))
		}
	case *format.UUIDType:
		if b := v.ByteArray(); len(b) == 16 {
			return jsonvalue.Str(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
		}
	}
	if integer != nil {
		n, _ := jsonvalue.Number(integer.String())
		return n
	}
	if b := v.ByteArray(); utf8.Valid(b) {
		return jsonvalue.Str(string(b))
	} else {
		return jsonvalue.Str(base64.StdEncoding.EncodeToString(b))
	}
}

const isoNano = "2006-01-02T15:04:05.999999999Z07:00"

func (a *assembly) decimal(unscaled *big.Int, scale int) jsonvalue.Value {
	if scale < 0 || scale > 1000 {
		a.err = fmt.Errorf("a decimal has the scale %d", scale)
		return jsonvalue.Null
	}
	digits := new(big.Int).Abs(unscaled).String()
	if scale > 0 {
		if pad := scale + 1 - len(digits); pad > 0 {
			digits = strings.Repeat("0", pad) + digits
		}
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if unscaled.Sign() < 0 {
		digits = "-" + digits
	}
	n, _ := jsonvalue.Number(digits)
	return n
}

func unitTime(n int64, unit format.TimeUnit) time.Time {
	switch unit.Value.(type) {
	case *format.MilliSeconds:
		return time.UnixMilli(n).UTC()
	case *format.MicroSeconds:
		return time.UnixMicro(n).UTC()
	}
	return time.Unix(n/1e9, n%1e9).UTC()
}

// int96 is a time as Impala and older Spark write it: nanoseconds of the day, and the Julian day.
func int96(i deprecated.Int96) time.Time {
	const julianEpoch = 2440588
	nanos := int64(i[0]) | int64(i[1])<<32
	return time.Unix((int64(i[2])-julianEpoch)*86400, nanos).UTC()
}
