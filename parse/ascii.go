package parse

import (
	"bytes"
	"encoding/binary"
	"strings"
)

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
		if c >= 0x80 {
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
