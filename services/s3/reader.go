package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/store"
)

// span is a run of an object's bytes.
type span struct{ offset, length int64 }

func (r span) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", r.offset, r.offset+r.length-1, size)
}

// parseRange reads a Range header. ok is false when the whole object is meant: S3, like HTTP, passes over what it does not
// understand, and it serves no multiple ranges.
func parseRange(header string, size int64) (r span, ok bool, err error) {
	spec, found := strings.CutPrefix(strings.TrimSpace(header), "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if !found || !dash || strings.Contains(spec, ",") {
		return span{}, false, nil
	}
	bad := withFields(awsapi.Errorf(416, "InvalidRange", "The requested range is not satisfiable"),
		"RangeRequested", header, "ActualObjectSize", strconv.FormatInt(size, 10))
	number := func(s string) (int64, bool) {
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		return n, err == nil && n >= 0
	}
	if first == "" {
		n, ok := number(last)
		if !ok {
			return span{}, false, nil
		}
		if n == 0 || size == 0 {
			return span{}, false, bad
		}
		n = min(n, size)
		return span{size - n, n}, true, nil
	}
	from, ok := number(first)
	if !ok {
		return span{}, false, nil
	}
	to := size - 1
	if last != "" {
		n, ok := number(last)
		if !ok || n < from {
			return span{}, false, nil
		}
		to = min(to, n)
	}
	if from >= size {
		return span{}, false, bad
	}
	return span{from, to - from + 1}, true, nil
}

// reader gives out a span of an object. Its files cannot go before it is closed.
type reader struct {
	disk     *disk
	pinned   []blob
	segments []segment
	file     *os.File // of segments[0], once it is open
	close    sync.Once
}

// segment is a part of a blob that is still to be read.
type segment struct {
	blob           blob
	data           []byte // of a row
	offset, length int64
}

// pin reads the object of a key, with its bytes as far as they are rows, and keeps its files from going: unpin them, or
// close the reader made of them. The object is nil when there is none.
func (s *Service) pin(ctx context.Context, bucket, key string) (*object, map[string][]byte, error) {
	s.disk.reading.RLock()
	defer s.disk.reading.RUnlock()
	for range retries {
		o, _, err := s.object(ctx, bucket, key)
		if err != nil || o == nil {
			return nil, nil, err
		}
		inline, err := s.rowBytes(ctx, o.blobs())
		if errors.Is(err, store.ErrNotFound) {
			continue // overwritten between the two reads
		}
		if err != nil {
			return nil, nil, err
		}
		s.disk.pin(o.blobs())
		return o, inline, nil
	}
	return nil, nil, errBusy
}

func (s *Service) rowBytes(ctx context.Context, blobs []blob) (map[string][]byte, error) {
	inline := map[string][]byte{}
	for _, b := range blobs {
		if b.Row {
			r, err := s.Store.Get(ctx, row(kindBytes, b.Name))
			if err != nil {
				return nil, fmt.Errorf("bytes of an object: %w", err)
			}
			inline[b.Name] = r.Value
		}
	}
	return inline, nil
}

func (s *Service) reader(o *object, inline map[string][]byte, want span) *reader {
	r := &reader{disk: s.disk, pinned: o.blobs()}
	offset := want.offset
	left := want.length
	for _, p := range o.Parts {
		if offset >= p.Blob.Size {
			offset -= p.Blob.Size
			continue
		}
		n := min(left, p.Blob.Size-offset)
		if n <= 0 {
			break
		}
		r.segments = append(r.segments, segment{p.Blob, inline[p.Blob.Name], offset, n})
		left -= n
		offset = 0
	}
	return r
}

// next makes segments[0] readable; io.EOF when none is left.
func (r *reader) next() error {
	for len(r.segments) > 0 && r.segments[0].length == 0 {
		r.segments = r.segments[1:]
		if r.file != nil {
			r.file.Close()
			r.file = nil
		}
	}
	if len(r.segments) == 0 {
		return io.EOF
	}
	seg := r.segments[0]
	if seg.blob.Row || r.file != nil {
		return nil
	}
	f, err := os.Open(r.disk.path(seg.blob.Name))
	if err != nil {
		return err
	}
	if _, err := f.Seek(seg.offset, io.SeekStart); err != nil {
		f.Close()
		return err
	}
	r.file = f
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.next(); err != nil {
		return 0, err
	}
	seg := &r.segments[0]
	if int64(len(p)) > seg.length {
		p = p[:seg.length]
	}
	var n int
	var err error
	if seg.blob.Row {
		n = copy(p, seg.data[seg.offset:])
	} else {
		n, err = r.file.Read(p)
	}
	seg.offset += int64(n)
	seg.length -= int64(n)
	if err == io.EOF && seg.length > 0 {
		err = io.ErrUnexpectedEOF
	} else if err == io.EOF {
		err = nil
	}
	return n, err
}

// WriteTo lets the kernel send files where it can.
func (r *reader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if err := r.next(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		seg := &r.segments[0]
		var n int64
		if seg.blob.Row {
			var m int
			m, err = w.Write(seg.data[seg.offset : seg.offset+seg.length])
			n = int64(m)
		} else if n, err = io.Copy(w, io.LimitReader(r.file, seg.length)); err == nil && n < seg.length {
			err = io.ErrUnexpectedEOF
		}
		total += n
		seg.offset += n
		seg.length -= n
		if err != nil {
			return total, err
		}
	}
}

func (r *reader) Close() error {
	r.close.Do(func() {
		if r.file != nil {
			r.file.Close()
		}
		r.segments = nil
		r.disk.unpin(r.pinned)
	})
	return nil
}
