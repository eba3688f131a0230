package parse

import (
	"encoding/binary"
	"slices"
)

// base64Value maps a byte to its six bits, 0x40 for '=', 0x80 for the rest.
var base64Value = func() (t [256]byte) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range t {
		t[i] = 0x80
	}
	for i := range alphabet {
		t[alphabet[i]] = byte(i)
	}
	t['='] = 0x40
	return t
}()

// noBase64 marks in base64Groups what is no character of the alphabet; the
// decoded bits are all above it.
const noBase64 = 1

// base64Groups maps the characters of a group, each by a table of its own, to
// their bits of the three bytes in the top of a word.
var base64Groups = func() (t [4][256]uint32) {
	for c, x := range base64Value {
		for i := range t {
			if t[i][c] = uint32(x) << (26 - 6*i); x >= 0x40 {
				t[i][c] = noBase64
			}
		}
	}
	return t
}()

// base64State decodes base64 with anything in between: line ends, junk, runs
// that were padded on their own and then joined, a truncated end. The standard
// decoder stops at the first of these.
type base64State struct {
	bits uint32
	n    int // characters in bits, 0 to 3
}

func (s *base64State) step(dst, src []byte, last bool) ([]byte, int) {
	used := len(src)
	dst = slices.Grow(dst, len(src)/4*3+6)
	out := dst[:cap(dst)]
	w := len(dst)
	v := &base64Value
	for len(src) > 0 {
		if s.n == 0 {
			n, written := wholeGroups(out[w:], src)
			w += written
			if src = src[n:]; len(src) == 0 {
				break
			}
		}
		switch x := v[src[0]]; {
		case x < 0x40:
			s.bits = s.bits<<6 | uint32(x)
			if s.n++; s.n == 4 {
				out[w], out[w+1], out[w+2] = byte(s.bits>>16), byte(s.bits>>8), byte(s.bits)
				w += 3
				s.bits, s.n = 0, 0
			}
		case x == 0x40:
			w += s.flush(out[w:])
		}
		src = src[1:]
	}
	if last {
		w += s.flush(out[w:])
	}
	return out[:w], used
}

// wholeGroups decodes groups of four characters and skips line ends, up to the
// first byte that is neither. It returns how much it read and wrote. It stores
// whole words, so a byte or two behind what it wrote may change.
func wholeGroups(out, src []byte) (n, w int) {
	read, room := len(src), len(out)
	t0, t1, t2, t3 := &base64Groups[0], &base64Groups[1], &base64Groups[2], &base64Groups[3]
	for {
		for len(src) >= 8 && len(out) >= 8 {
			x := t0[src[0]] | t1[src[1]] | t2[src[2]] | t3[src[3]]
			y := t0[src[4]] | t1[src[5]] | t2[src[6]] | t3[src[7]]
			if (x|y)&noBase64 != 0 {
				break
			}
			binary.BigEndian.PutUint64(out, uint64(x)<<32|uint64(y)<<8)
			src, out = src[8:], out[6:]
		}
		if len(src) >= 4 && len(out) >= 4 {
			if x := t0[src[0]] | t1[src[1]] | t2[src[2]] | t3[src[3]]; x&noBase64 == 0 {
				binary.BigEndian.PutUint32(out, x)
				src, out = src[4:], out[3:]
			}
		}
		before := len(src)
		for len(src) > 0 && (src[0] == '\n' || src[0] == '\r') {
			src = src[1:]
		}
		if len(src) == before {
			return read - len(src), room - len(out)
		}
	}
}

// flush writes what an unfinished group of characters holds.
func (s *base64State) flush(out []byte) (w int) {
	switch s.n {
	case 2:
		out[0] = byte(s.bits >> 4)
		w = 1
	case 3:
		out[0], out[1] = byte(s.bits>>10), byte(s.bits>>2)
		w = 2
	}
	s.bits, s.n = 0, 0
	return w
}
