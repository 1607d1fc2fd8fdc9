package awsproto

import (
	"bufio"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// Streaming payload hashes announce an aws-chunked body.
const streamingHash = "STREAMING-"

// isChunked reports whether the body has the aws-chunked form.
func isChunked(h http.Header) bool {
	if strings.HasPrefix(h.Get("X-Amz-Content-Sha256"), streamingHash) {
		return true
	}
	for _, e := range strings.Split(h.Get("Content-Encoding"), ",") {
		if strings.TrimSpace(e) == "aws-chunked" {
			return true
		}
	}
	return false
}

// Signatures checks the signatures in an aws-chunked body, in their order.
type Signatures interface {
	Chunk(signature string, sha256 []byte) error
	Trailer(signature, lines string) error // each line is "name:value\n"
}

// chunked reads an aws-chunked body: each chunk with its size in hex and perhaps a signature, and after the last one
// the trailers that the header announced. A wrong signature or checksum is an error in place of what follows, io.EOF at
// the latest: nothing may come of the bytes before it.
type chunked struct {
	r        *bufio.Reader
	left     int64 // of the current chunk
	started  bool
	err      error
	trailers map[string]string // by lower-case name, after EOF
	sum      hash.Hash         // of the trailer's algorithm; nil for none
	sumName  string
	length   int64 // what x-amz-decoded-content-length says; -1 unknown
	read     int64

	signed    Signatures // nil: not to be checked
	signature string     // of the current chunk
	chunk     hash.Hash  // of the current chunk's bytes
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	nvme       = crc64.MakeTable(0x9a6c9329ac4bc9b5)
)

func newHash(header string) hash.Hash {
	switch header {
	case "x-amz-checksum-crc32":
		return crc32.NewIEEE()
	case "x-amz-checksum-crc32c":
		return crc32.New(castagnoli)
	case "x-amz-checksum-crc64nvme":
		return crc64.New(nvme)
	case "x-amz-checksum-sha1":
		return sha1.New()
	case "x-amz-checksum-sha256":
		return sha256.New()
	}
	return nil
}

func newChunked(r io.Reader, h http.Header, signed Signatures) *chunked {
	c := &chunked{r: bufio.NewReaderSize(r, 64<<10), trailers: map[string]string{}, length: -1, signed: signed, chunk: sha256.New()}
	if n, err := strconv.ParseInt(h.Get("X-Amz-Decoded-Content-Length"), 10, 64); err == nil && n >= 0 {
		c.length = n
	}
	for _, name := range strings.Split(strings.ToLower(h.Get("X-Amz-Trailer")), ",") {
		name = strings.TrimSpace(name)
		if sum := newHash(name); sum != nil {
			c.sum, c.sumName = sum, name
		}
	}
	return c
}

// Trailer is a trailing header's value once the body has been read to its end, or "".
func (c *chunked) Trailer(name string) string { return c.trailers[strings.ToLower(name)] }

var errChunk = awsapi.Errorf(400, "IncompleteBody", "The request body terminated unexpectedly")

func (c *chunked) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.left == 0 {
		if c.err = c.next(); c.err != nil {
			return 0, c.err
		}
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	c.read += int64(n)
	if c.sum != nil {
		c.sum.Write(p[:n])
	}
	if c.signed != nil {
		c.chunk.Write(p[:n])
	}
	if err == io.EOF {
		err = errChunk
	}
	c.err = err
	return n, err
}

// next reads the line before a chunk; io.EOF after the last chunk.
func (c *chunked) next() error {
	if c.started {
		if line, err := c.line(); err != nil || line != "" {
			return orError(err, errChunk)
		}
		if err := c.checkChunk(); err != nil {
			return err
		}
	}
	line, err := c.line()
	if err != nil {
		return orError(err, errChunk)
	}
	c.started = true
	size, extension, _ := strings.Cut(line, ";")
	c.signature, _ = strings.CutPrefix(extension, "chunk-signature=")
	n, err := strconv.ParseInt(strings.TrimSpace(size), 16, 64)
	if err != nil || n < 0 {
		return awsapi.Errorf(400, "InvalidChunkSizeError", "The chunk size %.40q is not valid", size)
	}
	if n > 0 {
		c.left = n
		return nil
	}
	return c.finish()
}

var errSignature = awsapi.Errorf(403, "SignatureDoesNotMatch",
	"The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")

// checkChunk checks the chunk that has been read.
func (c *chunked) checkChunk() error {
	if c.signed == nil {
		return nil
	}
	if c.signed.Chunk(c.signature, c.chunk.Sum(nil)) != nil {
		return errSignature
	}
	c.chunk.Reset()
	return nil
}

func (c *chunked) finish() error {
	if err := c.checkChunk(); err != nil {
		return err
	}
	var lines strings.Builder // of the trailers, as they are signed
	for range 64 {
		line, err := c.line()
		if err == io.EOF || err == nil && line == "" {
			if signature := c.trailers["x-amz-trailer-signature"]; c.signed != nil && lines.Len() > 0 && c.signed.Trailer(signature, lines.String()) != nil {
				return errSignature
			}
			return c.verify()
		}
		if err != nil {
			return err
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return awsapi.Errorf(400, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
		}
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if c.trailers[name] = value; name != "x-amz-trailer-signature" {
			lines.WriteString(name + ":" + value + "\n")
		}
	}
	return errChunk
}

func (c *chunked) verify() error {
	if c.length >= 0 && c.read != c.length {
		return errChunk
	}
	if c.sum != nil {
		want, ok := c.trailers[c.sumName]
		if !ok {
			return awsapi.Errorf(400, "MalformedTrailerError", "The trailer %s is missing", c.sumName)
		}
		if got := base64.StdEncoding.EncodeToString(c.sum.Sum(nil)); got != want {
			return awsapi.Errorf(400, "BadDigest", "The %s you specified did not match the calculated checksum.", strings.ToUpper(strings.TrimPrefix(c.sumName, "x-amz-checksum-")))
		}
	}
	return io.EOF
}

// line reads up to a line feed, without the line's end.
func (c *chunked) line() (string, error) {
	b, err := c.r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, io.EOF) && len(b) == 0 && c.left == 0 {
			if c.started {
				return "", io.EOF
			}
			return "", errChunk
		}
		if errors.Is(err, io.EOF) || errors.Is(err, bufio.ErrBufferFull) {
			return "", errChunk
		}
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

func orError(err, otherwise error) error {
	if err != nil && err != io.EOF {
		return err
	}
	return otherwise
}
