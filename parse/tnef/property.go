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

// eachProperty walks a MAPI property list (MS-OXTNEF section 2.1.3.4); at is
// where the value lies in b.
func eachProperty(b []byte, f func(id, kind uint16, value []byte, at int)) {
	le := binary.LittleEndian
	pos := 4
	need := func(n int) bool { return n >= 0 && pos+n <= len(b) && pos+n >= pos }
	for need(4) {
		kind, id := le.Uint16(b[pos:]), le.Uint16(b[pos+2:])
		pos += 4
		if id >= 0x8000 { // a named property: its name comes first
			if !need(20) {
				return
			}
			named := le.Uint32(b[pos+16:])
			pos += 20
			if !need(4) {
				return
			}
			n := 0
			if named != 0 {
				n = pad4(int(le.Uint32(b[pos:])))
			}
			pos += 4
			if !need(n) {
				return
			}
			pos += n
		}
		count := 1
		variable := false
		switch kind &^ multiple {
		case typeString8, typeString, typeBinary, typeObject:
			variable = true
		}
		if variable || kind&multiple != 0 {
			if !need(4) {
				return
			}
			count = int(le.Uint32(b[pos:]))
			pos += 4
		}
		for range count {
			size := propertySize(kind &^ multiple)
			if variable {
				if !need(4) {
					return
				}
				size = int(le.Uint32(b[pos:]))
				pos += 4
			}
			if size <= 0 && !variable || !need(size) {
				return
			}
			value, at := b[pos:pos+size], pos
			if kind == typeObject && len(value) > 16 { // behind an interface identifier
				value, at = value[16:], at+16
			}
			f(id, kind, value, at)
			pos += pad4(size)
		}
	}
}

// propertySize is the length of a value of fixed length, 0 for any other.
func propertySize(kind uint16) int {
	switch kind {
	case 0x0002, 0x000b, 0x0003, 0x0004, 0x000a:
		return 4
	case 0x0005, 0x0006, 0x0007, 0x0014, 0x0040:
		return 8
	case 0x0048:
		return 16
	}
	return 0
}

func pad4(n int) int { return (n + 3) &^ 3 }
