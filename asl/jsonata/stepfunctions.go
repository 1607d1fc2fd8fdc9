package jsonata

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"math"
)

// added are the functions of Step Functions. AWS: numbers that are no integers are rounded down.
var added = []definition{
	{"partition", "<an:a<a>>", defined(partition)},
	{"range", "<nnn:a<n>>", defined(numberRange)},
	{"hash", "<s-s:s>", defined(hash)},
	{"random", "<n?:n>", func(c *call) value {
		if seed, ok := c.arg(0).(float64); ok {
			return float64(mix(uint64(int64(floorInt(seed))))>>11) / (1 << 53)
		}
		return c.fraction()
	}},
	{"uuid", "<:s>", func(c *call) value {
		high, low := c.random(), c.random()
		high, low = high&^0xF000|0x4000, low&^(3<<62)|2<<62 // version 4
		return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", high>>32, high>>16&0xFFFF, high&0xFFFF, low>>48, low&(1<<48-1))
	}},
	{"parse", "<s-:x>", defined(parseJSON)},
}

func partition(c *call) value {
	size := floorInt(c.num(1))
	if size < 1 {
		throw(&Error{Code: "T0410", Token: "partition", Value: c.arg(1), Index: 2})
	}
	items, result := c.list(0), newArray()
	for len(items) > 0 {
		n := min(size, len(items))
		c.room(n + 1)
		c.grow(containerBytes)
		result.push(newArray(items[:n:n]...))
		items = items[n:]
	}
	return result
}

// maxRange is how many numbers $range gives. AWS: one more is too much memory.
const maxRange = 360_145

func numberRange(c *call) value {
	from, to, by := math.Floor(c.num(0)), math.Floor(c.num(1)), math.Floor(c.num(2))
	if by == 0 {
		throw(&Error{Code: "T0410", Token: "range", Value: c.arg(2), Index: 3})
	}
	result := newSequence() // AWS: of one element it is that element (recorded: intrinsic_functions test_array_range)
	if size := math.Floor((to-from)/by) + 1; size > maxRange || size != size {
		fail("D2016", maxRange*8.0)
	} else if size > 0 {
		c.room(int(size))
		for i := range int(size) {
			result.push(from + float64(i)*by)
		}
	}
	return result
}

func hash(c *call) value {
	data := []byte(c.str(0))
	c.grow(len(data))
	switch c.str(1) {
	case "MD5":
		sum := md5.Sum(data)
		return hex.EncodeToString(sum[:])
	case "SHA-1":
		sum := sha1.Sum(data)
		return hex.EncodeToString(sum[:])
	case "SHA-256":
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:])
	case "SHA-384":
		sum := sha512.Sum384(data)
		return hex.EncodeToString(sum[:])
	case "SHA-512":
		sum := sha512.Sum512(data)
		return hex.EncodeToString(sum[:])
	}
	throw(&Error{Code: "T0410", Token: "hash", Value: c.arg(1), Index: 2})
	return nil
}
