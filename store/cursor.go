package store

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
)

// Kind is the part of the ID before the first slash.
func (id ID) Kind() string {
	kind, _, _ := strings.Cut(string(id), "/")
	return kind
}

// Name is the part of the ID after the first slash.
func (id ID) Name() string {
	_, name, _ := strings.Cut(string(id), "/")
	return name
}

// ErrCursor answers a Query whose After was not made by List. It is the caller's mistake, not the disk's.
var ErrCursor = errors.New("malformed cursor")

// JoinCursor makes an opaque cursor from the position of a row, for the stores.
func JoinCursor(parts ...string) string {
	var b []byte
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// SplitCursor undoes JoinCursor of four parts: account, region, sort, id.
func SplitCursor(cursor string) ([]string, error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, ErrCursor
	}
	var parts []string
	for len(b) > 0 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return nil, ErrCursor
		}
		parts = append(parts, string(b[size:size+int(n)]))
		b = b[size+int(n):]
	}
	if len(parts) != 4 {
		return nil, ErrCursor
	}
	return parts, nil
}
