package parse

import (
	"bytes"
	"unicode/utf8"
)

// cleanString returns s as valid UTF-8 without control characters: the form of
// everything that is one line (names, subjects, ids).
func cleanString(s string) string {
	if isClean(s) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\t' || c == '\n':
			b = append(b, ' ')
		case c < ' ' || c == 0x7f:
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r >= 0xa0 { // RuneError stands for invalid bytes
				b = utf8.AppendRune(b, r)
			}
			i += n - 1
		}
	}
	return string(b)
}

// isClean reports what cleanString leaves as it is.
func isClean(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f:
			return false
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r < 0xa0 || r == utf8.RuneError && n == 1 {
				return false
			}
			i += n - 1
		}
	}
	return true
}

// cleanText appends src to dst as valid UTF-8 with LF line ends and without
// NUL: the form of everything that is many lines.
func cleanText(dst, src []byte) []byte {
	if !utf8.Valid(src) {
		src = bytes.ToValidUTF8(src, []byte("\uFFFD"))
	}
	hasNUL := bytes.IndexByte(src, 0) >= 0
	for len(src) > 0 {
		i := bytes.IndexByte(src, '\r')
		chunk := src
		if i >= 0 {
			chunk = src[:i]
		}
		if hasNUL {
			for _, c := range chunk {
				if c != 0 {
					dst = append(dst, c)
				}
			}
		} else {
			dst = append(dst, chunk...)
		}
		if i < 0 {
			break
		}
		src = src[i+1:]
		for len(src) > 0 && src[0] == '\r' { // \r\r\n
			src = src[1:]
		}
		if len(src) == 0 || src[0] != '\n' {
			dst = append(dst, '\n')
		}
	}
	return dst
}

// shorten cuts s to at most n bytes, at a character.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// cut is shorten for bytes.
func cut(b []byte, n int) []byte {
	if len(b) <= n {
		return b
	}
	for n > 0 && !utf8.RuneStart(b[n]) {
		n--
	}
	return b[:max(0, n)]
}
