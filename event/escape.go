package event

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// This file is the one place that knows how a string stands in JSON: as
// encoding/json writes it without HTML escaping, byte for byte.

// controls says what follows the backslash for each byte below 0x20: itself, or
// u for \u00xx.
const controls = "uuuuuuuubtnufruuuuuuuuuuuuuuuuuu"

// lineSeparator is the first byte of U+2028 and U+2029 (e2 80 a8, e2 80 a9),
// which are escaped too, and of other characters, which are not.
const lineSeparator = 0xe2

// special returns where the first byte of s from i on stands that JSON may
// write otherwise, and len(s) when there is none. It takes eight bytes at a
// time: most of a mail stands as it is.
func special(s string, i int) int {
	const ones, lows, highs = 0x0101010101010101, 0x7f7f7f7f7f7f7f7f, 0x8080808080808080
	for ; i+8 <= len(s); i += 8 {
		x := binary.LittleEndian.Uint64([]byte(s[i : i+8]))
		// The high bit of a byte says what it is not; no sum carries
		// into the next byte. To flip 0x02 puts the quote, 0x22, beside the
		// controls, and leaves those among themselves.
		plain := (x^ones*0x02)&lows + ones*(0x80-0x21) // no control, no quote
		plain &= (x^ones*'\\')&lows + lows             // no backslash
		plain |= x                                     // none of these is above 0x7f
		other := x ^ ones*lineSeparator
		if m := ^(plain & (other&lows + lows | other)) & highs; m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c == lineSeparator {
			break
		}
	}
	return i
}

// separates reports whether s begins with U+2028 or U+2029.
func separates(s string) bool {
	return len(s) > 2 && s[0] == lineSeparator && s[1] == 0x80 && s[2]&^1 == 0xa8
}

// appendString appends s as a JSON string, in quotes.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if !utf8.ValidString(s) {
		start := 0
		for i, r := range s {
			if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd") { // a bad byte, not U+FFFD itself
				dst = append(appendEscaped(dst, s[start:i]), `\ufffd`...)
				start = i + 1
			}
		}
		s = s[start:]
	}
	return append(appendEscaped(dst, s), '"')
}

// appendEscaped appends s, which is valid UTF-8, as it stands in a JSON string.
func appendEscaped(dst []byte, s string) []byte {
	start := 0
	for i := special(s, 0); i < len(s); i = special(s, i) {
		c, width := s[i], 1
		if c == lineSeparator {
			width = 3
			if !separates(s[i:]) {
				i += width
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch {
		case c == lineSeparator:
			dst = append(dst, '\\', 'u', '2', '0', '2', '0'+s[i+2]&0xf)
		case c >= ' ':
			dst = append(dst, '\\', c)
		case controls[c] == 'u':
			dst = append(dst, '\\', 'u', '0', '0', '0'+c>>4, "0123456789abcdef"[c&0xf])
		default:
			dst = append(dst, '\\', controls[c])
		}
		i += width
		start = i
	}
	return append(dst, s[start:]...)
}

// jsonLen returns how long s is inside a JSON string, without the quotes. Of
// bad UTF-8 it is the most that it can be.
func jsonLen(s string) int {
	n := len(s)
	for i := special(s, 0); i < len(s); i = special(s, i+1) {
		switch c := s[i]; {
		case c == lineSeparator:
			if separates(s[i:]) {
				n += 3
			}
		case c < ' ' && controls[c] == 'u':
			n += 5
		default:
			n++
		}
	}
	if !utf8.ValidString(s) {
		n += 5 * len(s) // each bad byte becomes \ufffd
	}
	return n
}
