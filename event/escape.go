package event

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// This file is the one place that knows how a string stands in JSON: as
// encoding/json writes it without HTML escaping, byte for byte.

// controls says what follows the backslash for each byte below 0x20: itself, or
// u for \u00xx.
const controls = "uuuuuuuubtnufruuuuuuuuuuuuuuuuuu"

// special returns where from i on the first byte of s stands that JSON writes
// otherwise, and len(s) when there is none: a control, a quote, a backslash, a
// byte that is no UTF-8, or the first of U+2028 or U+2029. It takes eight bytes
// at a time: most of a mail stands as it is.
func special(s string, i int) int {
	const ones, lows, highs = 0x0101010101010101, 0x7f7f7f7f7f7f7f7f, 0x8080808080808080
	for i < len(s) {
		if i+8 <= len(s) {
			x := binary.LittleEndian.Uint64([]byte(s[i : i+8]))
			// The high bit of a byte says that it is none of these; no sum
			// carries into the next. To flip 0x02 puts the quote, 0x22, beside
			// the controls, and leaves those among themselves.
			plain := (x^ones*0x02)&lows + ones*(0x80-0x21) // no control, no quote
			plain &= (x^ones*'\\')&lows + lows             // no backslash
			found := (^plain | x) & highs                  // or not ASCII
			if found == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(found) / 8
		}
		switch c := s[i]; {
		case c < ' ' || c == '"' || c == '\\':
			return i
		case c < utf8.RuneSelf:
			i++
		default:
			end := foreign(s, i)
			if end < len(s) && s[end] >= utf8.RuneSelf {
				return end
			}
			i = end
		}
	}
	return i
}

// foreign returns the end of the runes above ASCII that stand in s from i on
// and are written as they are.
func foreign(s string, i int) int {
	for i < len(s) {
		c := s[i]
		switch {
		case c < utf8.RuneSelf:
			return i
		case 0xc2 <= c && c <= 0xdf && i+1 < len(s) && continues(s[i+1]): // Latin, Greek, Cyrillic, Hebrew, Arabic
			i += 2
		case 0xe3 <= c && c <= 0xec && i+2 < len(s) && continues(s[i+1]) && continues(s[i+2]): // Chinese, Japanese, Korean
			i += 3
		default:
			r, width := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && width == 1 || r == '\u2028' || r == '\u2029' {
				return i
			}
			i += width
		}
	}
	return i
}

// continues reports whether c is a byte of a rune that is not its first.
func continues(c byte) bool { return !utf8.RuneStart(c) }

// appendString appends s as a JSON string, in quotes.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := special(s, 0); i < len(s); i = special(s, start) {
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c := s[i]; {
		case c >= utf8.RuneSelf && separates(s[i:]):
			dst = append(dst, '\\', 'u', '2', '0', '2', '0'+s[i+2]&0xf)
			start = i + 3
		case c >= utf8.RuneSelf:
			dst = append(dst, `\ufffd`...)
		case c >= ' ':
			dst = append(dst, '\\', c)
		case controls[c] == 'u':
			dst = append(dst, '\\', 'u', '0', '0', '0'+c>>4, "0123456789abcdef"[c&0xf])
		default:
			dst = append(dst, '\\', controls[c])
		}
	}
	return append(append(dst, s[start:]...), '"')
}

// separates reports whether s, which is special, is U+2028 or U+2029 (e2 80 a8,
// e2 80 a9) and not a bad byte.
func separates(s string) bool {
	return len(s) > 2 && s[0] == 0xe2 && s[1] == 0x80 && s[2]&^1 == 0xa8
}

// jsonLen returns how long s is inside a JSON string, without the quotes. Of
// bad UTF-8 it is the most that it can be.
func jsonLen(s string) int {
	n, bad := len(s), false
	for i := special(s, 0); i < len(s); i = special(s, i+1) {
		switch c := s[i]; {
		case c >= utf8.RuneSelf && separates(s[i:]):
			n += 3
			i += 2
		case c >= utf8.RuneSelf:
			bad = true
		case c < ' ' && controls[c] == 'u':
			n += 5
		default:
			n++
		}
	}
	if bad {
		n += 5 * len(s) // each bad byte becomes \ufffd
	}
	return n
}
