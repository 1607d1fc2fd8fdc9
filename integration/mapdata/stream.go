package mapdata

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

const (
	firstBlock = 64 << 10
	maxBlock   = 4 << 20
	// maxItem is how large one item may be. AWS: 8 MB, when an ItemSelector makes the child's input small enough.
	maxItem = 8 << 20
)

// stream is the content of an object, decompressed, through a window that slides over it. The window is buf[pos:]; it
// begins at offset base+pos of the content.
type stream struct {
	from *remote
	// compressed content is read by unpack, which reads packed.
	unpack io.Reader
	close  func()

	buf   []byte
	pos   int
	base  int64
	eof   bool
	block int
}

// packed is what a decompressor reads: the object in order. The context is that of the call in progress.
type packed struct {
	from   *remote
	ctx    context.Context
	offset int64
	block  int
	left   []byte
	buf    []byte
	eof    bool
	err    error // of S3, as it was before a decompressor wrapped it
}

func (p *packed) Read(b []byte) (int, error) {
	for len(p.left) == 0 {
		if p.eof {
			return 0, io.EOF
		}
		if cap(p.buf) < p.block {
			p.buf = make([]byte, p.block)
		}
		n, err := p.from.read(p.ctx, p.buf[:p.block], p.offset)
		if err != nil && err != io.EOF {
			p.err = err
			return 0, err
		}
		p.offset += int64(n)
		p.left, p.eof = p.buf[:n], err == io.EOF
		p.block = min(2*p.block, maxBlock)
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

// openStream starts at the beginning. Files are compressed when their names say so (AWS: .gz and .zstd; we take .zst too).
func openStream(from *remote) *stream {
	s := &stream{from: from, block: firstBlock, close: func() {}}
	name := strings.ToLower(from.key)
	p := &packed{from: from, block: firstBlock}
	switch {
	case from.text != nil:
	case strings.HasSuffix(name, ".gz"), strings.HasSuffix(name, ".gzip"):
		s.unpack = &lazy{packed: p, open: func() (io.Reader, error) { return gzip.NewReader(p) }, format: "GZIP"}
	case strings.HasSuffix(name, ".zst"), strings.HasSuffix(name, ".zstd"):
		s.unpack = &lazy{packed: p, open: func() (io.Reader, error) {
			d, err := zstd.NewReader(p, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(64<<20))
			if err == nil {
				s.close = d.Close
			}
			return d, err
		}, format: "ZSTD"}
	}
	return s
}

// lazy opens a decompressor at the first read, when there is a context.
type lazy struct {
	*packed
	open   func() (io.Reader, error)
	r      io.Reader
	format string
}

func (l *lazy) read(ctx context.Context, b []byte) (int, error) {
	l.ctx = ctx
	var n int
	var err error
	if l.r == nil {
		l.r, err = l.open()
		if err == io.EOF && l.offset == 0 {
			return 0, io.EOF // an empty object
		}
	}
	if err == nil {
		n, err = l.r.Read(b)
	}
	switch {
	case l.packed.err != nil:
		return 0, l.packed.err
	case err != nil && err != io.EOF:
		return 0, l.from.failed("The object %s is not valid %s: %v", l.from.object, l.format, err)
	}
	return n, err
}

func (s *stream) window() []byte { return s.buf[s.pos:] }

func (s *stream) offset() int64 { return s.base + int64(s.pos) }

// more makes the window longer, and gives io.EOF when it cannot. What stands before the window is dropped.
func (s *stream) more(ctx context.Context) error {
	if s.eof {
		return io.EOF
	}
	have := len(s.buf) - s.pos
	if s.pos > 0 {
		copy(s.buf, s.buf[s.pos:])
		s.base += int64(s.pos)
		s.buf, s.pos = s.buf[:have], 0
	}
	if cap(s.buf)-have < s.block {
		grown := make([]byte, have, max(have+s.block, 2*have))
		copy(grown, s.buf)
		s.buf = grown
	}
	room := s.buf[have:min(cap(s.buf), have+s.block)]
	var n int
	var err error
	if l, ok := s.unpack.(*lazy); ok {
		for n == 0 && err == nil {
			n, err = l.read(ctx, room)
		}
	} else {
		n, err = s.from.read(ctx, room, s.base+int64(have))
	}
	if err != nil && err != io.EOF {
		return err
	}
	s.buf, s.eof = s.buf[:have+n], err == io.EOF
	if most := s.from.maxFile; s.unpack != nil && most > 0 && s.base+int64(len(s.buf)) > most {
		return s.from.failed("The object %s has more than %d bytes when decompressed", s.from.object, most)
	}
	s.block = min(2*s.block, maxBlock)
	if n == 0 {
		return io.EOF
	}
	return nil
}

// seek moves the window to begin at offset. Compressed content can only be read up to there.
func (s *stream) seek(ctx context.Context, offset int64) error {
	if s.unpack != nil && offset < s.base {
		return s.from.failed("The object %s cannot be read from byte %d: what is before it was longer then", s.from.object, offset)
	}
	if end := s.base + int64(len(s.buf)); s.unpack == nil && (offset > end || offset < s.base) {
		s.buf, s.pos, s.base, s.eof = s.buf[:0], 0, offset, false
		return nil
	}
	for offset > s.base+int64(len(s.buf)) {
		s.pos = len(s.buf)
		if err := s.more(ctx); err == io.EOF {
			return s.from.failed("The object %s ends before byte %d, where reading is to go on", s.from.object, offset)
		} else if err != nil {
			return err
		}
	}
	s.pos = int(offset - s.base)
	return nil
}

// peek makes the window hold n bytes where there are that many.
func (s *stream) peek(ctx context.Context, n int) ([]byte, error) {
	for len(s.window()) < n {
		if err := s.more(ctx); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
	}
	return s.window(), nil
}

// text skips a byte order mark at the beginning, and refuses what is not UTF-8.
func (s *stream) text(ctx context.Context) error {
	w, err := s.peek(ctx, 4)
	if err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(w, []byte("\xef\xbb\xbf")):
		s.pos += 3
	case bytes.HasPrefix(w, []byte("\xff\xfe")), bytes.HasPrefix(w, []byte("\xfe\xff")):
		return s.from.failed("The object %s is UTF-16; items are read from UTF-8", s.from.object)
	case bytes.HasPrefix(w, []byte("\x1f\x8b")), bytes.HasPrefix(w, []byte("\x28\xb5\x2f\xfd")):
		return s.from.failed("The object %s is compressed, and its name does not say so: let it end in .gz or .zstd", s.from.object)
	}
	return nil
}

// line is the next line without its end, in place until the next call; io.EOF when there is none. n counts its bytes with
// the end, for skip.
func (s *stream) line(ctx context.Context) (text []byte, n int, err error) {
	seen := 0
	for {
		if i := bytes.IndexByte(s.window()[seen:], '\n'); i >= 0 {
			n = seen + i + 1
			return bytes.TrimSuffix(s.window()[:n-1], []byte("\r")), n, nil
		}
		seen = len(s.window())
		if seen > maxItem {
			return nil, 0, errTooLarge
		}
		if err := s.more(ctx); err == io.EOF && seen > 0 {
			return bytes.TrimSuffix(s.window(), []byte("\r")), seen, nil
		} else if err != nil {
			return nil, 0, err
		}
	}
}

func (s *stream) skip(n int) { s.pos += n }
