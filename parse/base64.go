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
			for len(src) >= 8 {
				a, b, c, d := v[src[0]], v[src[1]], v[src[2]], v[src[3]]
				e, f, g, h := v[src[4]], v[src[5]], v[src[6]], v[src[7]]
				if (a|b|c|d|e|f|g|h)&0xc0 != 0 {
					break
				}
				o := out[w : w+6 : w+6]
				o[0] = a<<2 | b>>4
				o[1] = b<<4 | c>>2
				o[2] = c<<6 | d
				o[3] = e<<2 | f>>4
				o[4] = f<<4 | g>>2
				o[5] = g<<6 | h
				w += 6
				src = src[8:]
			}
			if len(src) == 0 {
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
