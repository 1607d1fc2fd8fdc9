package maprun

import (
	"encoding/base64"
	"encoding/json"
	"iter"
	"math/bits"
)

// Set is a set of children, by number: a bit each, as JSON in base64.
type Set []uint64

// Has reports whether n is in the set.
func (s Set) Has(n int64) bool {
	i := int(n / 64)
	return n >= 0 && i < len(s) && s[i]&(1<<(n%64)) != 0
}

// Add puts n into the set.
func (s *Set) Add(n int64) {
	for int64(len(*s)) <= n/64 {
		*s = append(*s, 0)
	}
	(*s)[n/64] |= 1 << (n % 64)
}

// Remove takes n out of the set.
func (s *Set) Remove(n int64) {
	if s.Has(n) {
		(*s)[n/64] &^= 1 << (n % 64)
	}
	for len(*s) > 0 && (*s)[len(*s)-1] == 0 {
		*s = (*s)[:len(*s)-1]
	}
}

// Len counts the set.
func (s Set) Len() (n int64) {
	for _, w := range s {
		n += int64(bits.OnesCount64(w))
	}
	return n
}

// All yields the numbers in order.
func (s Set) All() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i, w := range s {
			for ; w != 0; w &= w - 1 {
				if !yield(int64(i)*64 + int64(bits.TrailingZeros64(w))) {
					return
				}
			}
		}
	}
}

// MarshalJSON writes the words, the lowest first, each of eight bytes in little-endian order.
func (s Set) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, 8*len(s))
	for _, w := range s {
		for k := range 8 {
			b = append(b, byte(w>>(8*k)))
		}
	}
	return json.Marshal(base64.RawStdEncoding.EncodeToString(b))
}

// UnmarshalJSON undoes MarshalJSON.
func (s *Set) UnmarshalJSON(text []byte) error {
	var t string
	if err := json.Unmarshal(text, &t); err != nil {
		return err
	}
	b, err := base64.RawStdEncoding.DecodeString(t)
	if err != nil {
		return err
	}
	*s = nil
	for i, c := range b {
		if i%8 == 0 {
			*s = append(*s, 0)
		}
		(*s)[i/8] |= uint64(c) << (8 * (i % 8))
	}
	return nil
}
