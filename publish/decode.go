package publish

import (
	"bytes"
	"encoding/base64"
	"io"
)

// encoding is a Content-Transfer-Encoding that can be taken off.
type encoding int

const (
	asItStands encoding = iota // and every other: uuencode is left alone
	inBase64
	inQuotedPrintable
)

func transferEncoding(v []byte) encoding {
	t, _ := token(v)
	switch {
	case foldedEqual(t, "base64"):
		return inBase64
	case foldedEqual(t, "quoted-printable"):
		return inQuotedPrintable
	}
	return asItStands
}

// decoded is how many bytes are decoded at a time.
const decoded = 16 << 10

// decode writes the decoded bytes of body, a few at a time.
func decode(e encoding, body []byte, to io.Writer) {
	switch e {
	case inBase64:
		var d base64Decoder
		buf := make([]byte, 0, min(len(body), decoded))
		for len(body) > 0 {
			n := len(body)
			if n > decoded {
				n = decoded
				if i := bytes.LastIndexByte(body[:n], '\n'); i >= 0 {
					n = i + 1 // as a rule of whole groups
				}
			}
			_, _ = to.Write(d.append(buf[:0], body[:n]))
			body = body[n:]
		}
		_, _ = to.Write(d.end(buf[:0]))
	case inQuotedPrintable:
		decodeQuotedPrintable(body, to)
	default:
		_, _ = to.Write(body)
	}
}

// base64Decoder decodes base64 (RFC 4648 section 4) with anything in between:
// what is not of the alphabet is left out, and padding ends a group wherever it
// stands.
type base64Decoder struct {
	bits uint32
	n    int // characters in bits
}

// append appends what src decodes to.
func (d *base64Decoder) append(dst, src []byte) []byte {
	if d.n == 0 { // most often there is nothing in between
		if out, err := base64.StdEncoding.AppendDecode(dst, src); err == nil {
			return out
		}
	}
	for _, c := range src {
		v := sixBits(c)
		switch {
		case c == '=':
			dst = d.end(dst)
		case v < 64:
			d.bits = d.bits<<6 | uint32(v)
			if d.n++; d.n == 4 {
				dst = append(dst, byte(d.bits>>16), byte(d.bits>>8), byte(d.bits))
				d.bits, d.n = 0, 0
			}
		}
	}
	return dst
}

// end appends what there is of a group: six bits are no byte.
func (d *base64Decoder) end(dst []byte) []byte {
	switch d.n {
	case 2:
		dst = append(dst, byte(d.bits>>4))
	case 3:
		dst = append(dst, byte(d.bits>>10), byte(d.bits>>2))
	}
	d.bits, d.n = 0, 0
	return dst
}

func sixBits(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c - 'A'
	case 'a' <= c && c <= 'z':
		return c - 'a' + 26
	case '0' <= c && c <= '9':
		return c - '0' + 52
	case c == '+':
		return 62
	case c == '/':
		return 63
	}
	return 0xff
}

// decodeQuotedPrintable decodes RFC 2045 section 6.7: blanks at the end of a line
// are transport's, its line end is LF, and what is no escape stands for itself.
func decodeQuotedPrintable(body []byte, to io.Writer) {
	buf := make([]byte, 0, min(len(body), decoded))
	for len(body) > 0 {
		line, rest, ended := bytes.Cut(body, []byte("\n"))
		body = rest
		if ended {
			line = trimBlanks(line)
		}
		line, soft := bytes.CutSuffix(line, []byte("="))
		for len(line) > 0 {
			n := bytes.IndexByte(line, '=')
			if n < 0 {
				n = len(line)
			}
			n = min(n, decoded)
			buf, line = append(buf, line[:n]...), line[n:]
			if len(line) > 0 && line[0] == '=' {
				var c byte
				c, line = unescape(line)
				buf = append(buf, c)
			}
			if len(buf) >= decoded {
				_, _ = to.Write(buf)
				buf = buf[:0]
			}
		}
		if ended && !soft {
			buf = append(buf, '\n')
		}
	}
	_, _ = to.Write(buf)
}

// unescape splits the byte that text begins with off it: an escape, if it is one.
func unescape(text []byte) (c byte, rest []byte) {
	if len(text) > 2 && text[0] == '=' && unhex(text[1]) < 16 && unhex(text[2]) < 16 {
		return unhex(text[1])<<4 | unhex(text[2]), text[3:]
	}
	return text[0], text[1:]
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}
