package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"reflect"
	"strings"
	"sync"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

const maxPut = 5 << 30 // bytes in one PutObject, UploadPart or copy

// received are bytes that have arrived and are durable, or will be with the row that names them.
type received struct {
	Blob   blob
	Inline []byte // when Blob.Row
	MD5    []byte
	Sums   map[string]string // base64 by algorithm
}

func (r received) etag() string { return hex.EncodeToString(r.MD5) }

// claims are what the sender says of the bytes.
type claims struct {
	Length *int64
	MD5    *string           // base64
	Sums   map[string]string // base64 by algorithm
}

// trailers is a body whose checksums come behind it (aws-chunked with a trailer): asked when it has been read to its end.
type trailers interface {
	Trailer(name string) string
}

// claimsOf reads the checksum members of an input.
func claimsOf(in any, length *int64, contentMD5 *string) (claims, error) {
	c := claims{Length: length, MD5: contentMD5, Sums: map[string]string{}}
	v := reflect.ValueOf(in).Elem()
	for i := range v.NumField() {
		alg, ok := strings.CutPrefix(v.Type().Field(i).Name, "Checksum")
		value, isText := v.Field(i).Interface().(*string)
		if !ok || !isText || value == nil || alg == "Algorithm" || alg == "Type" || alg == "Mode" {
			continue
		}
		h := newChecksum(alg)
		if h == nil {
			return c, notImplemented("The checksum algorithm " + alg)
		}
		if b, err := base64.StdEncoding.DecodeString(strings.SplitN(*value, "-", 2)[0]); err != nil || len(b) != h.Size() {
			return c, invalid("InvalidRequest", "Value for x-amz-checksum-%s header is invalid.", strings.ToLower(alg))
		}
		c.Sums[alg] = *value
	}
	if len(c.Sums) > 1 {
		return c, invalid("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
	}
	if c.MD5 != nil {
		if b, err := base64.StdEncoding.DecodeString(*c.MD5); err != nil || len(b) != md5.Size {
			return c, invalid("InvalidDigest", "The Content-MD5 you specified was invalid.")
		}
	}
	if c.Length != nil && *c.Length > maxPut {
		return c, tooLarge(*c.Length)
	}
	return c, nil
}

func tooLarge(n int64) error {
	return withFields(invalid("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size"),
		"ProposedSize", fmt.Sprint(n), "MaxSizeAllowed", fmt.Sprint(int64(maxPut)))
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// receive reads the body to its end, checks it against what is claimed and makes it durable. Beside MD5 it computes the
// checksums that are claimed and those of algorithms.
func (s *Service) receive(ctx context.Context, body io.Reader, c claims, algorithms ...string) (received, error) {
	if body == nil {
		body = bytes.NewReader(nil)
	}
	sum := md5.New()
	sums := map[string]hash.Hash{}
	for _, alg := range algorithms {
		sums[alg] = newChecksum(alg)
	}
	for alg := range c.Sums {
		if sums[alg] == nil {
			sums[alg] = newChecksum(alg)
		}
	}
	w := s.disk.create()
	defer w.abandon()
	to := []io.Writer{w, sum}
	for _, h := range sums {
		to = append(to, h)
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	n, err := io.CopyBuffer(io.MultiWriter(to...), onlyReader{io.LimitReader(body, maxPut+1)}, *buf)
	if err == nil && c.Length != nil && n != *c.Length {
		err = io.ErrUnexpectedEOF
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return received{}, invalid("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
	case err != nil:
		return received{}, err
	case n > maxPut:
		return received{}, tooLarge(n)
	}
	r := received{MD5: sum.Sum(nil), Sums: map[string]string{}}
	for alg, h := range sums {
		r.Sums[alg] = base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	if t, ok := body.(trailers); ok {
		for _, alg := range []string{algCRC32, algCRC32C, algCRC64NVME, algSHA1, algSHA256} {
			if v := t.Trailer("x-amz-checksum-" + strings.ToLower(alg)); v != "" && r.Sums[alg] != "" {
				c.Sums[alg] = v
			}
		}
	}
	if err := c.check(r); err != nil {
		return received{}, err
	}
	if r.Blob, err = w.finish(); err != nil {
		return received{}, fmt.Errorf("keep object bytes: %w", err)
	}
	r.Inline = w.buf
	return r, nil
}

// onlyReader hides WriterTo, so that the buffer is used.
type onlyReader struct{ io.Reader }

func (c claims) check(r received) error {
	if c.MD5 != nil && base64.StdEncoding.EncodeToString(r.MD5) != *c.MD5 {
		return withFields(invalid("BadDigest", "The Content-MD5 you specified did not match what we received."),
			"ExpectedDigest", *c.MD5, "CalculatedDigest", base64.StdEncoding.EncodeToString(r.MD5))
	}
	for alg, v := range c.Sums {
		if r.Sums[alg] != v {
			return badChecksum(alg)
		}
	}
	return nil
}

func badChecksum(alg string) *awsapi.Error {
	return invalid("BadDigest", "The %s you specified did not match the calculated checksum.", alg)
}

// algorithm is the checksum to keep: the one that came with the bytes, or was asked for, or S3's own default.
func (c claims) algorithm(asked *string) (string, error) {
	for alg := range c.Sums {
		return alg, nil
	}
	if asked == nil {
		return algCRC64NVME, nil
	}
	if newChecksum(*asked) == nil {
		return "", notImplemented("The checksum algorithm " + *asked)
	}
	return *asked, nil
}

// showChecksum sets the checksum members of an output.
func showChecksum(out any, c *checksum) {
	if c == nil || c.Value == "" {
		return
	}
	v := reflect.ValueOf(out).Elem()
	v.FieldByName("Checksum" + c.Algorithm).Set(reflect.ValueOf(&c.Value))
	if f := v.FieldByName("ChecksumType"); f.IsValid() {
		f.Set(reflect.ValueOf(&c.Type))
	}
}

// assign copies the members of from that to has by the same name and type, unless they are absent.
func assign(to, from any) {
	dst, src := reflect.ValueOf(to).Elem(), reflect.ValueOf(from).Elem()
	for i := range src.NumField() {
		if src.Field(i).IsZero() {
			continue
		}
		if f := dst.FieldByName(src.Type().Field(i).Name); f.IsValid() && f.Type() == src.Field(i).Type() {
			f.Set(src.Field(i))
		}
	}
}

// digest reads bytes to their end for their ETag and checksum.
func digest(body io.Reader, alg string) (etag string, c *checksum, err error) {
	sum, h := md5.New(), newChecksum(alg)
	if _, err := io.Copy(io.MultiWriter(sum, h), body); err != nil {
		return "", nil, err
	}
	return hex.EncodeToString(sum.Sum(nil)), &checksum{alg, base64.StdEncoding.EncodeToString(h.Sum(nil)), fullObject}, nil
}
