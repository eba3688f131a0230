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
		d.step = stepLines((&uuDecoder{}).line)
	case yEncoding:
		d.step = stepLines((&yencDecoder{}).line)
	default:
		return bytes.NewReader(body)
	}
	return d
}

func (d *decoder) fill() bool {
	for len(d.out) == 0 && len(d.src) > 0 {
		n := min(len(d.src), chunk)
		if d.buf == nil {
			d.buf = make([]byte, 0, n+16)
		}
		var used int
		d.buf, used = d.step(d.buf[:0], d.src[:n], n == len(d.src))
		d.src = d.src[used:]
		d.out = d.buf
	}
	return len(d.out) > 0
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

// stepLines is the step of an encoding whose lines stand for themselves.
func stepLines(decode func(dst, line []byte) []byte) func(dst, src []byte, last bool) ([]byte, int) {
	return func(dst, src []byte, last bool) ([]byte, int) {
		src = wholeLines(src, last)
		for line := range bytes.Lines(src) {
			dst = decode(dst, bytes.TrimRight(line, "\r\n"))
		}
		return dst, len(src)
	}
}

// wholeLines leaves out a line at the end that src has only the begin of.
func wholeLines(src []byte, last bool) []byte {
	if i := bytes.LastIndexByte(src, '\n'); i >= 0 && !last {
		return src[:i+1]
	}
	return src
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
