package imapwire

import (
	"bytes"
	"strconv"
	"strings"
)

// isAtom accepts a non-empty run of printable ASCII that no IMAP syntax uses.
func isAtom(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`(){}%*"\[]`, c) >= 0 {
			return false
		}
	}
	return len(b) > 0
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// number reads a 32-bit number without allocating.
func number(b []byte) (uint32, bool) {
	if !isDigits(b) || len(b) > 10 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		n = n*10 + uint64(c-'0')
	}
	return uint32(n), n <= 1<<32-1
}

// number64 reads a non-negative 63-bit number.
func number64(b []byte) (int64, bool) {
	if !isDigits(b) || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		n = n*10 + int64(c-'0')
	}
	return n, true
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

// cutWord splits off the first run of non-blanks; nil at the end.
func cutWord(b []byte) (word, rest []byte) {
	b = bytes.TrimLeft(b, " \t")
	if len(b) == 0 {
		return nil, nil
	}
	i := bytes.IndexAny(b, " \t")
	if i < 0 {
		i = len(b)
	}
	// FETCH(UID 1): the list may follow at once.
	if j := bytes.IndexByte(b[:i], '('); j > 0 {
		i = j
	}
	return b[:i], b[i:]
}

func appendLiteralMark(b []byte, n int64) []byte {
	b = append(b, '{')
	b = strconv.AppendInt(b, n, 10)
	return append(b, "}\r\n"...)
}
