package imapwire

import (
	"strconv"
	"strings"
)

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

func appendUpper(dst, b []byte) []byte {
	for _, c := range b {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

func appendLiteralMark(b []byte, n int64) []byte {
	b = append(b, '{')
	b = strconv.AppendInt(b, n, 10)
	return append(b, "}\r\n"...)
}
