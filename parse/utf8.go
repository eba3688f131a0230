package parse

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// cleanString returns s as valid UTF-8 without control characters: the form of
// everything that is one line (names, subjects, ids).
func cleanString(s string) string {
	if isPrintable(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0:
			return -1
		}
		return r // RuneError stands for invalid bytes
	}, s)
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
func shorten[T string | []byte](s T, n int) T {
	if len(s) <= n {
		return s
	}
	n = max(n, 0)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
