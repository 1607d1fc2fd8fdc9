package s3

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"strings"
)

// The checksum algorithms, by AWS's names.
const (
	algCRC32     = "CRC32"
	algCRC32C    = "CRC32C"
	algCRC64NVME = "CRC64NVME"
	algSHA1      = "SHA1"
	algSHA256    = "SHA256"
)

const (
	fullObject = "FULL_OBJECT"
	composite  = "COMPOSITE"
)

// The CRC polynomials, bit-reversed as hash/crc32 and hash/crc64 want them.
const (
	polyCRC32     = crc32.IEEE
	polyCRC32C    = crc32.Castagnoli
	polyCRC64NVME = 0x9a6c9329ac4bc9b5
)

var (
	tableCRC32C    = crc32.MakeTable(crc32.Castagnoli)
	tableCRC64NVME = crc64.MakeTable(polyCRC64NVME)
)

// newChecksum is nil for an algorithm that S3 does not have.
func newChecksum(alg string) hash.Hash {
	switch alg {
	case algCRC32:
		return crc32.NewIEEE()
	case algCRC32C:
		return crc32.New(tableCRC32C)
	case algCRC64NVME:
		return crc64.New(tableCRC64NVME)
	case algSHA1:
		return sha1.New()
	case algSHA256:
		return sha256.New()
	}
	return nil
}

func isCRC(alg string) bool { return strings.HasPrefix(alg, "CRC") }

// checksum is what S3 remembers about the bytes of an object beside its ETag.
type checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"value"` // base64, with "-N" when composite
	Type      string `json:"type"`
}

// compositeChecksum is the checksum of the parts' checksums.
func compositeChecksum(alg string, parts []part) string {
	h := newChecksum(alg)
	for _, p := range parts {
		b, err := base64.StdEncoding.DecodeString(p.Checksum)
		if err != nil {
			return ""
		}
		h.Write(b)
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// combineChecksums is the CRC of all parts together, from the CRC of each.
func combineChecksums(alg string, parts []part) string {
	width, poly := uint(32), uint64(polyCRC32)
	switch alg {
	case algCRC32C:
		poly = polyCRC32C
	case algCRC64NVME:
		width, poly = 64, polyCRC64NVME
	}
	var sum uint64
	for _, p := range parts {
		b, err := base64.StdEncoding.DecodeString(p.Checksum)
		if err != nil || len(b) != int(width/8) {
			return ""
		}
		var c uint64
		for _, x := range b {
			c = c<<8 | uint64(x)
		}
		sum = crcShift(sum, uint64(p.Blob.Size), width, poly) ^ c
	}
	out := make([]byte, 8)
	binary.BigEndian.PutUint64(out, sum)
	return base64.StdEncoding.EncodeToString(out[8-width/8:])
}

// crcShift is the CRC of a message followed by n bytes, as far as the message has a part in it: crc·x^(8n) mod poly, all
// bit-reversed. The start and end values of the two CRCs cancel out.
func crcShift(crc, n uint64, width uint, poly uint64) uint64 {
	one := uint64(1) << (width - 1)
	mul := func(a, b uint64) (p uint64) {
		for m := one; ; m >>= 1 {
			if a&m != 0 {
				p ^= b
				if a&(m-1) == 0 {
					return p
				}
			} else if a&(m-1) == 0 {
				return p
			}
			if b&1 != 0 {
				b = b>>1 ^ poly
			} else {
				b >>= 1
			}
		}
	}
	power, square := one, one>>8 // x^0 and x^8
	for ; n != 0; n >>= 1 {
		if n&1 != 0 {
			power = mul(power, square)
		}
		square = mul(square, square)
	}
	return mul(power, crc)
}
