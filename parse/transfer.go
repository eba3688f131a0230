package parse

import (
	"bytes"
	"io"
)

// encoding is a Content-Transfer-Encoding (RFC 2045 section 6).
type encoding int

const (
	identity encoding = iota // 7bit, 8bit, binary and whatever is unknown
	base64Encoding
	quotedPrintable
	uuEncoding
	yEncoding
)

// transferEncoding reads a Content-Transfer-Encoding; known is false when it
// names one that nobody knows.
func transferEncoding(v []byte) (e encoding, known bool) {
	switch name := token(string(v)); name {
	case "", "7bit", "8bit", "binary", "7-bit", "8-bit", "none", "7bits", "8bits":
		return identity, true
	case "base64", "base-64", "b", "x-base64":
		return base64Encoding, true
	case "quoted-printable", "quotedprintable", "quoted_printable", "qp", "q":
		return quotedPrintable, true
	case "x-uuencode", "uuencode", "x-uue", "uue", "x-uu":
		return uuEncoding, true
	case "x-yenc", "yenc", "x-yencode":
		return yEncoding, true
	}
	return identity, false
}

// chunk is how many encoded bytes are decoded at a time.
const chunk = 16 << 10

// decoder streams the decoded form of src. step appends the decoded form of
// the beginning of src to dst and tells how much of src it used: all of it
// when last is set, at least one byte otherwise.
type decoder struct {
	src  []byte
	out  []byte // decoded, not yet read
	buf  []byte
	step func(dst, src []byte, last bool) ([]byte, int)
}

// newDecoder returns the decoded bytes of body as a stream without an error.
func newDecoder(e encoding, body []byte) io.Reader {
	d := &decoder{src: body}
	switch e {
	case base64Encoding:
		d.step = (&base64Decoder{}).step
	case quotedPrintable:
		d.step = stepQuotedPrintable
	case uuEncoding:
		d.step = (&uuState{}).step
	case yEncoding:
		d.step = (&yencState{}).step
	default:
		return bytes.NewReader(body)
	}
	return d
}

func (d *decoder) fill() bool {
	for len(d.out) == 0 {
		if len(d.src) == 0 {
			return false
		}
		n := min(len(d.src), chunk)
		if d.buf == nil {
			d.buf = make([]byte, 0, n+16)
		}
		var used int
		d.buf, used = d.step(d.buf[:0], d.src[:n], n == len(d.src))
		d.src = d.src[used:]
		d.out = d.buf
	}
	return true
}

func (d *decoder) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if !d.fill() {
		return 0, io.EOF
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// WriteTo spares io.Copy its buffer.
func (d *decoder) WriteTo(w io.Writer) (total int64, err error) {
	for d.fill() {
		n, err := w.Write(d.out)
		total += int64(n)
		d.out = d.out[n:]
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// decodeTransfer decodes the text in body, at most about limit bytes of it.
// The result may be body itself.
func decodeTransfer(e encoding, body []byte, limit int) []byte {
	if e == identity {
		return body[:min(len(body), limit)]
	}
	d := newDecoder(e, body).(*decoder)
	if len(body) <= limit {
		out, _ := d.step(make([]byte, 0, len(body)+16), body, true)
		return out
	}
	var out []byte
	for len(out) < limit && d.fill() {
		out = append(out, d.out...)
		d.out = nil
	}
	return out[:min(len(out), limit)]
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

// stepQuotedPrintable decodes RFC 2045 section 6.7. What is no valid escape
// stands for itself; blanks before a line end are kept, as most mailers mean
// them.
func stepQuotedPrintable(dst, src []byte, last bool) ([]byte, int) {
	if !last {
		if i := bytes.LastIndexByte(src, '\n'); i >= 0 {
			src = src[:i+1]
		} else if i := bytes.LastIndexByte(src, '='); i > len(src)-4 && i > 0 {
			src = src[:i]
		}
	}
	used := len(src)
	for len(src) > 0 {
		line, end := src, 0
		if i := bytes.IndexByte(src, '\n'); i >= 0 {
			line, end = src[:i], 1
			src = src[i+1:]
		} else {
			src = nil
		}
		if end == 1 && len(line) > 0 && line[len(line)-1] == '\r' {
			line, end = line[:len(line)-1], 2
		}
		if end > 0 && bytes.IndexByte(line, '=') >= 0 {
			if soft := bytes.TrimRight(line, " \t"); soft[len(soft)-1] == '=' {
				line = soft
			}
		}
		for {
			i := bytes.IndexByte(line, '=')
			if i < 0 {
				dst = append(dst, line...)
				break
			}
			dst = append(dst, line[:i]...)
			line = line[i:]
			if len(line) >= 3 {
				if hi, lo := unhex(line[1]), unhex(line[2]); hi < 16 && lo < 16 {
					dst = append(dst, hi<<4|lo)
					line = line[3:]
					continue
				}
			}
			if len(line) == 1 { // soft line break
				end = 0
				break
			}
			dst = append(dst, '=')
			line = line[1:]
		}
		switch end {
		case 1:
			dst = append(dst, '\n')
		case 2:
			dst = append(dst, '\r', '\n')
		}
	}
	return dst, used
}

// stepLineEnds turns CRLF into LF: an attached mail is passed on with the line
// ends of a file.
func stepLineEnds(dst, src []byte, last bool) ([]byte, int) {
	if !last && src[len(src)-1] == '\r' && len(src) > 1 {
		src = src[:len(src)-1]
	}
	used := len(src)
	for {
		i := bytes.Index(src, []byte("\r\n"))
		if i < 0 {
			return append(dst, src...), used
		}
		dst = append(dst, src[:i]...)
		src = src[i+1:]
	}
}
