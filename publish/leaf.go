package publish

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"
)

// leaf counts one leaf: its type, the length of its bytes with the transfer
// encoding taken off, in decimal, and their SHA-256 in hex, a line each.
func (s *splitter) leaf(kind string, e encoding, body []byte) {
	s.looked += len(body)
	l := &s.sum
	l.begin(strings.HasPrefix(kind, "text/") || strings.HasPrefix(kind, "message/"))
	if e == asItStands && !l.isText {
		for line := range bytes.Lines(body) { // a line end of transport is LF in text and here
			if line, crlf := bytes.CutSuffix(line, []byte("\r\n")); crlf {
				l.count(line)
				l.count(lineEnd)
			} else {
				l.count(line)
			}
		}
	} else {
		decode(e, body, l)
	}
	s.line = append(append(s.line[:0], kind...), '\n')
	s.line = append(strconv.AppendInt(s.line, l.size, 10), '\n')
	s.line = append(l.end(s.line), '\n')
	s.leaves.Write(s.line)
}

// leafSum takes the bytes of a leaf as they come. A hash is quick with many bytes
// at once, and a line has few.
type leafSum struct {
	sum    hash.Hash
	size   int64
	few    []byte // not in sum yet
	isText bool

	// Of text: what comes to count when something follows it.
	lines int    // line ends
	blank []byte // blanks after them
	more  int    // blanks that are too many to be kept
}

func (l *leafSum) begin(text bool) {
	if l.sum == nil {
		l.sum, l.few = sha256.New(), make([]byte, 0, 512)
	}
	l.sum.Reset()
	l.size, l.few, l.isText, l.lines, l.blank, l.more = 0, l.few[:0], text, 0, l.blank[:0], 0
}

// Write takes the next bytes of a leaf.
func (l *leafSum) Write(p []byte) (int, error) {
	if l.isText {
		l.text(p)
	} else {
		l.count(p)
	}
	return len(p), nil
}

func (l *leafSum) count(p []byte) {
	l.size += int64(len(p))
	if len(l.few)+len(p) > cap(l.few) {
		l.sum.Write(l.few)
		l.few = l.few[:0]
	}
	if len(p) < cap(l.few) {
		l.few = append(l.few, p...)
	} else {
		l.sum.Write(p)
	}
}

// end returns the hash in hex.
func (l *leafSum) end(dst []byte) []byte {
	l.sum.Write(l.few)
	l.few = l.sum.Sum(l.few[:0])
	return hex.AppendEncode(dst, l.few)
}

var lineEnd = []byte("\n")

// maxBlanks is how many blanks in a row are told apart; of those beyond only
// the number counts.
const maxBlanks = 1000

// text takes text: its line ends are LF, blanks before them and empty lines at
// the end do not count.
func (l *leafSum) text(p []byte) {
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		said := trimBlanks(line)
		if len(said) > 0 {
			l.release()
			l.count(said)
		}
		if ended {
			l.lines++
			l.blank, l.more = l.blank[:0], 0
		} else {
			kept := line[len(said):]
			n := min(len(kept), maxBlanks-len(l.blank))
			l.blank = append(l.blank, kept[:n]...)
			l.more += len(kept) - n
		}
		p = rest
	}
}

func (l *leafSum) release() {
	for ; l.lines > 0; l.lines-- {
		l.count(lineEnd)
	}
	if len(l.blank) > 0 {
		l.count(l.blank)
	}
	if l.more > 0 {
		l.count(strconv.AppendInt(nil, int64(l.more), 10))
	}
	l.blank, l.more = l.blank[:0], 0
}

// trimBlanks takes off the blanks at the end.
func trimBlanks(b []byte) []byte {
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// mediaType is type/subtype in lower case, and the parameters that follow. What
// has no type is text (RFC 2045 section 5.2).
func mediaType(v []byte) (kind string, params []byte) {
	major, params := token(v)
	var minor []byte
	if rest, ok := bytes.CutPrefix(params, []byte("/")); ok {
		minor, params = token(rest)
	}
	switch {
	case len(major) == 0 || bytes.HasPrefix(params, []byte("=")): // a parameter at once
		return "text/plain", nil
	case len(minor) > 0:
	case foldedEqual(major, "multipart"):
		minor = []byte("mixed")
	case foldedEqual(major, "text"):
		minor = []byte("plain")
	}
	name := append(append(append(make([]byte, 0, 64), major...), '/'), minor...)
	for i, c := range name {
		name[i] = lower(c)
	}
	return string(name), params
}

// token splits an RFC 2045 token off v, with blanks around it.
func token(v []byte) (t, rest []byte) {
	v = bytes.TrimLeft(v, blanks+"\"'")
	n := 0
	for n < len(v) && v[n] > ' ' && v[n] < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, v[n]) < 0 {
		n++
	}
	return v[:n], bytes.TrimLeft(v[n:], blanks)
}

// boundary is the first parameter of that name, empty when there is none.
func boundary(v []byte) string {
	for len(v) > 0 {
		name, rest := token(bytes.TrimLeft(v, blanks+";"))
		value, assigned := bytes.CutPrefix(rest, []byte("="))
		if !assigned {
			_, v, _ = bytes.Cut(rest, []byte(";"))
			continue
		}
		var text []byte
		text, v = parameter(bytes.TrimLeft(value, blanks))
		if foldedEqual(name, "boundary") {
			return string(trimBlanks(text))
		}
	}
	return ""
}

// parameter splits the value of a parameter off v.
func parameter(v []byte) (text, rest []byte) {
	if quoted, ok := bytes.CutPrefix(v, []byte(`"`)); ok {
		text = make([]byte, 0, 80)
		for i := 0; i < len(quoted); i++ {
			switch c := quoted[i]; {
			case c == '"':
				_, rest, _ = bytes.Cut(quoted[i+1:], []byte(";"))
				return text, rest
			case c == '\\' && i+1 < len(quoted):
				i++
				text = append(text, quoted[i])
			case c != '\r' && c != '\n':
				text = append(text, c)
			}
		}
		v = quoted // never closed
	}
	text, rest, _ = bytes.Cut(v, []byte(";"))
	if i := bytes.IndexAny(text, blanks); i >= 0 {
		text = text[:i]
	}
	return text, rest
}
