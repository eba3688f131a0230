package imapwire

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// decoder reads the values of a response one after the other (RFC 3501 section
// 9), leniently. A literal stands in it as it travels: {n}, a newline, n bytes.
type decoder struct {
	b []byte
	i int
}

// peek passes over blanks and returns the next byte, 0 at the end.
func (d *decoder) peek() byte {
	for d.i < len(d.b) && (d.b[d.i] == ' ' || d.b[d.i] == '\t') {
		d.i++
	}
	if d.i < len(d.b) {
		return d.b[d.i]
	}
	return 0
}

// take passes over c, if it comes next.
func (d *decoder) take(c byte) bool {
	if d.peek() != c {
		return false
	}
	d.i++
	return true
}

// bare reports whether what comes next is neither quoted nor a literal.
func (d *decoder) bare() bool {
	c := d.peek()
	return c != '"' && c != '{'
}

// str reads a quoted string (unescaped), a literal, or a bare word.
func (d *decoder) str() ([]byte, bool) {
	switch d.peek() {
	case 0, '(', ')':
		return nil, false
	case '"':
		return d.quoted()
	case '{':
		if mark, after, ok := bytes.Cut(d.b[d.i:], []byte{'\n'}); ok {
			if n, _, ok := literalMark(mark); ok && n <= int64(len(after)) {
				d.i = len(d.b) - len(after) + int(n)
				return after[:n], true
			}
		}
	}
	s := d.b[d.i:]
	s = s[:before(s, " \t()\r\n")]
	d.i += len(s)
	return s, len(s) > 0
}

// before is how many bytes come before the first of chars, or the end.
func before(b []byte, chars string) int {
	if i := bytes.IndexAny(b, chars); i >= 0 {
		return i
	}
	return len(b)
}

// value reads a quoted string or, up to a blank or a bracket, anything else.
func (d *decoder) value() (s []byte, quoted bool) {
	if d.b[d.i] == '"' {
		if s, ok := d.quoted(); ok {
			return s, true
		}
	}
	s = d.b[d.i:]
	s = s[:1+before(s[1:], " ()")]
	d.i += len(s)
	return s, false
}

// attribute reads the name of a FETCH attribute, its section included:
// BODY[HEADER.FIELDS (TO)]<0>.
func (d *decoder) attribute() []byte {
	from := d.i
	for inside := false; d.i < len(d.b); d.i++ {
		switch d.b[d.i] {
		case '[':
			inside = true
		case ']':
			inside = false
		case ' ', '(', ')', '"', '{':
			if !inside {
				return d.b[from:d.i]
			}
		}
	}
	return d.b[from:]
}

// quoted reads a quoted string. Without a closing quote, it is none.
func (d *decoder) quoted() ([]byte, bool) {
	escaped := false
	for i := d.i + 1; i < len(d.b); i++ {
		switch d.b[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			s := d.b[d.i+1 : i]
			d.i = i + 1
			if escaped {
				s = escapes.ReplaceAll(s, []byte("$1"))
			}
			return s, true
		}
	}
	return nil, false
}

var escapes = regexp.MustCompile(`(?s)\\(.)`)

// list calls each for the values of a list, bracketed or not, until it says no.
func (d *decoder) list(each func() bool) {
	d.take('(')
	for each() {
	}
	d.take(')')
}

// skip passes over one value of any syntax, lists included.
func (d *decoder) skip() bool {
	for depth := 0; ; {
		if d.take('(') {
			depth++
		} else if depth > 0 && d.take(')') {
			depth--
		} else if _, ok := d.str(); !ok {
			return false
		}
		if depth == 0 {
			return true
		}
	}
}

// literal reports whether the line ends in a literal of n bytes that comes next.
// One with a tilde is binary (RFC 3516).
func (d *decoder) literal() (n int64, ok bool) {
	c, rest := d.peek(), d.b[d.i:]
	if c != '{' && !bytes.HasPrefix(rest, []byte("~{")) || bytes.LastIndexByte(rest, '{') > 1 {
		return 0, false
	}
	n, _, ok = literalMark(rest)
	return n, ok
}

// literalMark recognises a line that ends in {n}, {n+}, {n-} or ~{n}: with sync,
// the sender waits for a continuation.
func literalMark(line []byte) (n int64, sync, ok bool) {
	line, sync = bytes.TrimRight(line, " "), true
	if len(line) < 3 || line[len(line)-1] != '}' {
		return 0, false, false
	}
	line = line[:len(line)-1]
	if c := line[len(line)-1]; c == '+' || c == '-' {
		line, sync = line[:len(line)-1], false
	}
	i := len(line)
	for i > 0 && '0' <= line[i-1] && line[i-1] <= '9' {
		i--
	}
	if i == len(line) || i == 0 || line[i-1] != '{' {
		return 0, false, false
	}
	for _, c := range line[i:] {
		if n > (1<<62)/10 {
			return 1 << 62, sync, true
		}
		n = n*10 + int64(c-'0')
	}
	return n, sync, true
}

// cutWord splits off the first run of non-blanks; nil at the end. A list may
// follow it at once: FETCH(UID 1).
func cutWord(b []byte) (word, rest []byte) {
	b = bytes.TrimLeft(b, " \t")
	if len(b) == 0 {
		return nil, nil
	}
	i := before(b, " \t")
	if j := bytes.IndexByte(b[:i], '('); j > 0 {
		i = j
	}
	return b[:i], b[i:]
}

func number(b []byte) (uint32, bool) {
	n, ok := number64(b)
	return uint32(n), ok && n <= 1<<32-1
}

// number64 reads a non-negative number of up to 18 digits. An error of strconv's
// would cost memory for every word that is none.
func number64(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// maxDigits bounds a number that is read.
const maxDigits = 40

// number63 reads a non-negative number; of one that does not fit, the low 63 bits, which
// still tell it from others: 0, which means that there is none, becomes 1.
func number63(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > maxDigits {
		return 0, false
	}
	over := false
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		over = over || n > (1<<63-1-uint64(c-'0'))/10
		n = (n*10 + uint64(c-'0')) & (1<<63 - 1)
	}
	if over {
		n = max(n, 1)
	}
	return n, true
}

// isAtom accepts a non-empty run of printable ASCII that no IMAP syntax uses.
func isAtom(b []byte) bool {
	return len(b) > 0 && !bytes.ContainsFunc(b, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){}%*"\[]`, r) })
}

// fold reports whether b is upper, ignoring the case of ASCII letters in b. A
// letter that only folds to ASCII is longer than it.
func fold(b []byte, upper string) bool {
	return len(b) == len(upper) && strings.EqualFold(string(b), upper)
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// separate appends the blank between the items of a list, and gives out.
func (w *Conn) separate() []byte {
	if w.out[len(w.out)-1] != '(' {
		w.out = append(w.out, ' ')
	}
	return w.out
}

func (w *Conn) emitNumbered(n uint32, what string) {
	w.out = append(w.out, "* "...)
	w.out = strconv.AppendUint(w.out, uint64(n), 10)
	w.out = append(w.out, what...)
}

// appendQuoted appends s as a quoted string, or as a literal where that needs one.
func appendQuoted(b []byte, s string) []byte {
	if strings.ContainsAny(s, "\r\n\x00") {
		return append(appendLiteralMark(b, int64(len(s))), s...)
	}
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

func appendLiteralMark(b []byte, n int64) []byte {
	return fmt.Appendf(b, "{%d}\r\n", n)
}
