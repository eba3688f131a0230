package parse

import (
	"bytes"
	"encoding/binary"
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
	begin := len(dst)
	for {
		text, rest, found := bytes.Cut(src, []byte("\r"))
		dst = append(dst, text...)
		if !found {
			break
		}
		src = bytes.TrimLeft(rest, "\r") // \r\r\n
		if !bytes.HasPrefix(src, []byte("\n")) {
			dst = append(dst, '\n')
		}
	}
	if bytes.IndexByte(dst[begin:], 0) >= 0 {
		dst = append(dst[:begin], bytes.ReplaceAll(dst[begin:], []byte{0}, nil)...)
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

// isPrintable reports ASCII without control characters: what is clean as it is.
func isPrintable[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

func isASCII(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// equalFold compares with an ASCII word without regard to case.
func equalFold(b []byte, want string) bool {
	return len(b) == len(want) && bytes.EqualFold(b, []byte(want))
}

// hasPrefixFold is strings.HasPrefix for a lower-case ASCII prefix.
func hasPrefixFold(b []byte, want string) bool {
	return len(b) >= len(want) && equalFold(b[:len(want)], want)
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func containsAny(s string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

func hasAnyPrefix(s string, words ...string) bool {
	for _, w := range words {
		if strings.HasPrefix(s, w) {
			return true
		}
	}
	return false
}
