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
	l := leafSum{sum: sha256.New(), few: s.few[:0]}
	s.looked += len(body)
	switch text := strings.HasPrefix(kind, "text/") || strings.HasPrefix(kind, "message/"); {
	case text:
		decode(e, body, l.text)
	case e == asItStands:
		for line := range bytes.Lines(body) { // a line end of transport is LF in text and here
			if line, crlf := bytes.CutSuffix(line, []byte("\r\n")); crlf {
				l.write(line)
				l.write(lineEnd)
			} else {
				l.write(line)
			}
		}
	default:
		decode(e, body, l.write)
	}
	line := append(make([]byte, 0, 128), kind...)
	line = append(strconv.AppendInt(append(line, '\n'), l.size, 10), '\n')
	s.leaves.Write(append(l.end(line), '\n'))
}

// leafSum takes the bytes of a leaf as they come. A hash is quick with many bytes
// at once, and a line has few.
type leafSum struct {
	sum  hash.Hash
	size int64
	few  []byte // not in sum yet

	// Of text: what comes to count when something follows it.
	lines int    // line ends
	blank []byte // blanks after them
	more  int    // blanks that are too many to be kept
}

func (l *leafSum) write(p []byte) {
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
	var sum [sha256.Size]byte
	return hex.AppendEncode(dst, l.sum.Sum(sum[:0]))
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
			l.write(said)
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
		l.write(lineEnd)
	}
	if len(l.blank) > 0 {
		l.write(l.blank)
	}
	if l.more > 0 {
		l.write(strconv.AppendInt(nil, int64(l.more), 10))
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
	minor := ""
	if rest, ok := bytes.CutPrefix(params, []byte("/")); ok {
		minor, params = token(rest)
	}
	switch {
	case major == "" || bytes.HasPrefix(params, []byte("=")): // a parameter at once
		return "text/plain", nil
	case minor != "":
	case major == "multipart":
		minor = "mixed"
	case major == "text":
		minor = "plain"
	}
	return major + "/" + minor, params
}

// token splits an RFC 2045 token off v, in lower case, with blanks around it.
func token(v []byte) (t string, rest []byte) {
	v = bytes.TrimLeft(v, blanks+"\"'")
	n := 0
	for n < len(v) && v[n] > ' ' && v[n] < 0x7f && bytes.IndexByte([]byte(`()<>@,;:\"/[]?=`), v[n]) < 0 {
		n++
	}
	low := make([]byte, n)
	for i := range low {
		low[i] = lower(v[i])
	}
	return string(low), bytes.TrimLeft(v[n:], blanks)
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
		if name == "boundary" {
			return string(trimBlanks(text))
		}
	}
	return ""
}

// parameter splits the value of a parameter off v.
func parameter(v []byte) (text, rest []byte) {
	if quoted, ok := bytes.CutPrefix(v, []byte(`"`)); ok {
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
		v, text = quoted, nil // never closed
	}
	text, rest, _ = bytes.Cut(v, []byte(";"))
	if i := bytes.IndexAny(text, blanks); i >= 0 {
		text = text[:i]
	}
	return text, rest
}
