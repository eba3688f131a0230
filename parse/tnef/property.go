package tnef

import "encoding/binary"

// Types of a property (MS-OXCDATA section 2.11.1).
const (
	typeString8 = 0x001e // in the code page of the stream
	typeString  = 0x001f // UTF-16
	typeBinary  = 0x0102
	typeObject  = 0x000d
	multiple    = 0x1000 // set in the type of a list of values
)

// eachProperty walks a MAPI property list (MS-OXTNEF section 2.1.3.4) until it
// ends or is broken; at is where the value lies in b.
func eachProperty(b []byte, f func(id, kind uint16, value []byte, at int)) {
	c := &cursor{b: b, at: 4} // behind the count of properties
	for !c.broken {
		kind, id := uint16(c.number(2)), uint16(c.number(2))
		if id >= 0x8000 { // a named property: its name comes first
			c.take(16)
			if hasName, n := c.number(4) != 0, c.number(4); hasName {
				c.take(pad4(n))
			}
		}
		size, variable := propertySize(kind &^ multiple)
		count := 1
		if variable || kind&multiple != 0 {
			count = c.number(4)
		}
		for range count {
			if variable {
				size = c.number(4)
			}
			at := c.at
			value := c.take(size)
			if c.broken || size == 0 && !variable {
				return
			}
			if kind == typeObject && len(value) > 16 { // behind an interface identifier
				value, at = value[16:], at+16
			}
			f(id, kind, value, at)
			c.at += pad4(size) - size
		}
	}
}

// propertySize is the length of a value, 0 of a type that is not known.
func propertySize(kind uint16) (size int, variable bool) {
	switch kind {
	case typeString8, typeString, typeBinary, typeObject:
		return 0, true
	case 0x0002, 0x000b, 0x0003, 0x0004, 0x000a:
		return 4, false
	case 0x0005, 0x0006, 0x0007, 0x0014, 0x0040:
		return 8, false
	case 0x0048:
		return 16, false
	}
	return 0, false
}

func pad4(n int) int { return (n + 3) &^ 3 }

// cursor reads b from at on. Once broken it gives nothing any more.
type cursor struct {
	b      []byte
	at     int
	broken bool
}

func (c *cursor) take(n int) []byte {
	if c.broken = c.broken || n < 0 || n > len(c.b)-c.at; c.broken {
		return nil
	}
	c.at += n
	return c.b[c.at-n : c.at]
}

// number reads n bytes, little-endian.
func (c *cursor) number(n int) int {
	var b [8]byte
	copy(b[:], c.take(n))
	return int(binary.LittleEndian.Uint64(b[:]))
}
