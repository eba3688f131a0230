package parse

import (
	"bytes"
	"encoding/base64"
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
	switch token(string(v)) {
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
	if len(p) > 0 && !d.fill() {
		return 0, io.EOF
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// WriteTo spares io.Copy its buffer.
func (d *decoder) WriteTo(w io.Writer) (total int64, err error) {
	for err == nil && d.fill() {
		var n int
		n, err = w.Write(d.out)
		total += int64(n)
		d.out = d.out[n:]
	}
	return total, err
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

// wholeLines leaves out a line at the end that src has only the begin of.
func wholeLines(src []byte, last bool) []byte {
	if i := bytes.LastIndexByte(src, '\n'); i >= 0 && !last {
		return src[:i+1]
	}
	return src
}

// base64Decoder decodes base64 with anything in between: junk, runs that were
// padded on their own and then joined, a truncated end. The standard decoder
// stops at the first of these.
type base64Decoder struct {
	run [1024]byte // characters of the alphabet that are not decoded yet
	n   int
}

// base64Alphabet is that of RFC 4648 section 4.
const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

var inBase64 = func() (in [256]bool) {
	for _, c := range []byte(base64Alphabet) {
		in[c] = true
	}
	return in
}()

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
		if inBase64[c] {
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

// appendBase64 appends what src decodes to.
func appendBase64(dst, src []byte) []byte {
	dst, _ = (&base64Decoder{}).step(dst, src, true)
	return dst
}

// stepQuotedPrintable decodes RFC 2045 section 6.7. What is no valid escape
// stands for itself; blanks before a line end are kept, as most mailers mean
// them.
func stepQuotedPrintable(dst, src []byte, last bool) ([]byte, int) {
	src = wholeLines(src, last)
	if i := bytes.LastIndexByte(src, '='); !last && src[len(src)-1] != '\n' && i > len(src)-4 && i > 0 {
		src = src[:i] // not through an escape
	}
	for line := range bytes.Lines(src) {
		text, ended := bytes.CutSuffix(line, []byte("\n"))
		if ended {
			text = bytes.TrimSuffix(text, []byte("\r"))
		}
		end := line[len(text):]
		if soft := bytes.TrimRight(text, " \t"); ended && bytes.HasSuffix(soft, []byte("=")) {
			text = soft
		}
		if hard, soft := bytes.CutSuffix(text, []byte("=")); soft {
			text, end = hard, nil
		}
		dst = append(appendEscaped(dst, text, '='), end...)
	}
	return dst, len(src)
}

// appendEscaped appends src, its escapes undone: mark and two hexadecimal
// digits are one byte.
func appendEscaped(dst, src []byte, mark byte) []byte {
	for {
		i := bytes.IndexByte(src, mark)
		if i < 0 {
			return append(dst, src...)
		}
		dst = append(dst, src[:i]...)
		src = src[i+1:]
		if len(src) >= 2 && unhex(src[0]) < 16 && unhex(src[1]) < 16 {
			dst, src = append(dst, unhex(src[0])<<4|unhex(src[1])), src[2:]
		} else {
			dst = append(dst, mark)
		}
	}
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

// uuDecoder decodes the lines between "begin 644 name" and "end" (POSIX uuencode).
type uuDecoder struct{ begun, ended bool }

func (d *uuDecoder) line(dst, line []byte) []byte {
	switch {
	case d.ended:
	case !d.begun:
		rest, begins := bytes.CutPrefix(line, []byte("begin "))
		mode, _, named := bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" "))
		d.begun = begins && named && len(mode) >= 3 && len(mode) <= 4 && len(bytes.Trim(mode, "01234567")) == 0
	case len(line) == 0 || string(line) == "end":
		d.ended = len(line) > 0
	default:
		return uuLine(dst, line)
	}
	return dst
}

func uuLine(dst, line []byte) []byte {
	want := int(line[0]-' ') & 63
	line = line[1:]
	for want > 0 && len(line) > 0 {
		var q [4]byte
		for i := range q {
			if i < len(line) {
				q[i] = (line[i] - ' ') & 63
			}
		}
		line = line[min(4, len(line)):]
		three := [3]byte{q[0]<<2 | q[1]>>4, q[1]<<4 | q[2]>>2, q[2]<<6 | q[3]}
		n := min(want, 3)
		dst = append(dst, three[:n]...)
		want -= n
	}
	return dst
}

// yencDecoder decodes the lines between =ybegin and =yend (yEnc 1.3).
type yencDecoder struct{ begun, ended bool }

func (d *yencDecoder) line(dst, line []byte) []byte {
	switch {
	case d.ended || bytes.HasPrefix(line, []byte("=ypart ")):
	case bytes.HasPrefix(line, []byte("=ybegin ")):
		d.begun = true
	case !d.begun:
	case bytes.HasPrefix(line, []byte("=yend")):
		d.ended = true
	default:
		for i := 0; i < len(line); i++ {
			c := line[i]
			if c == '=' && i+1 < len(line) {
				i++
				c = line[i] - 64
			}
			dst = append(dst, c-42)
		}
	}
	return dst
}
