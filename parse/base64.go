package parse

import "slices"

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
// first byte that is neither. It returns how much it read and wrote.
func wholeGroups(out, src []byte) (n, w int) {
	v := &base64Value
	for {
		for ; len(src)-n >= 8; n += 8 {
			s := src[n : n+8 : n+8]
			a, b, c, d, e, f, g, h := v[s[0]], v[s[1]], v[s[2]], v[s[3]], v[s[4]], v[s[5]], v[s[6]], v[s[7]]
			if (a|b|c|d|e|f|g|h)&0xc0 != 0 {
				break
			}
			o := out[w : w+6 : w+6]
			o[0], o[1], o[2] = a<<2|b>>4, b<<4|c>>2, c<<6|d
			o[3], o[4], o[5] = e<<2|f>>4, f<<4|g>>2, g<<6|h
			w += 6
		}
		if len(src)-n >= 4 {
			s := src[n : n+4 : n+4]
			if a, b, c, d := v[s[0]], v[s[1]], v[s[2]], v[s[3]]; (a|b|c|d)&0xc0 == 0 {
				o := out[w : w+3 : w+3]
				o[0], o[1], o[2] = a<<2|b>>4, b<<4|c>>2, c<<6|d
				w += 3
				n += 4
			}
		}
		begin := n
		for n < len(src) && (src[n] == '\n' || src[n] == '\r') {
			n++
		}
		if n == begin {
			return n, w
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
