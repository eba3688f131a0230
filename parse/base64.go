package parse

import "encoding/base64"

// base64Decoder decodes base64 with anything in between: junk, runs that were
// padded on their own and then joined, a truncated end. The standard decoder
// stops at the first of these.
type base64Decoder struct {
	run [1024]byte // characters of the alphabet that are not decoded yet
	n   int
}

func (d *base64Decoder) step(dst, src []byte, last bool) ([]byte, int) {
	src = wholeLines(src, last) // in nearly all mail they are whole groups
	if d.n == 0 {               // most often there is nothing in between
		if out, err := base64.StdEncoding.AppendDecode(dst, src); err == nil {
			return out, len(src)
		}
	}
	for _, c := range src {
		if c == '=' || d.n == len(d.run) {
			dst = d.flush(dst)
		}
		if isBase64[c] {
			d.run[d.n] = c
			d.n++
		}
	}
	if last {
		dst = d.flush(dst)
	}
	return dst, len(src)
}

// flush decodes what there is as if it ended here.
func (d *base64Decoder) flush(dst []byte) []byte {
	n := d.n
	if n%4 == 1 {
		n-- // six bits are no byte
	}
	d.n = 0
	dst, _ = base64.RawStdEncoding.AppendDecode(dst, d.run[:n])
	return dst
}

// isBase64 marks the alphabet (RFC 4648 section 4).
var isBase64 = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = true
	}
	return t
}()

// appendBase64 appends what src decodes to.
func appendBase64(dst, src []byte) []byte {
	dst, _ = (&base64Decoder{}).step(dst, src, true)
	return dst
}
