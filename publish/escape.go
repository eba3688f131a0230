package publish

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// This file is the one place that knows how long a string is in JSON.

// controls says what follows the backslash for each byte below 0x20: itself, or
// u for \u00xx.
const controls = "uuuuuuuubtnufruuuuuuuuuuuuuuuuuu"

// special has the high bit of each byte of x set that may not stand in a string
// as it is: controls, quote, backslash, and all that is not ASCII.
func special(x uint64) uint64 {
	const ones, lows, highs = 0x0101010101010101, 0x7f7f7f7f7f7f7f7f, 0x8080808080808080
	// No sum carries into the next byte. To flip 0x02 puts the quote, 0x22,
	// beside the controls, and leaves those among themselves.
	plain := (x^ones*0x02)&lows + ones*(0x80-0x21) // no control, no quote
	plain &= (x^ones*'\\')&lows + lows             // no backslash
	return (^plain | x) & highs
}

// eight returns the bytes of s from i on, of which there are eight.
func eight(s string, i int) uint64 { return binary.LittleEndian.Uint64([]byte(s[i : i+8])) }

// beyondASCII returns the end of the runes above ASCII that stand in s from i on
// and are written as they are.
func beyondASCII(s string, i int) int {
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

// separates reports whether s, at which beyondASCII stopped, begins with U+2028 or
// U+2029 (e2 80 a8, e2 80 a9), and not with a bad byte.
func separates(s string) bool {
	return len(s) > 2 && s[0] == 0xe2 && s[1] == 0x80 && s[2]&^1 == 0xa8
}

// jsonLen returns how long s is inside a JSON string, without the quotes. Of
// bad UTF-8 it is the most that it can be.
func jsonLen(s string) int {
	n, bad := len(s), false
	for i := 0; i < len(s); {
		if i+8 <= len(s) {
			found := special(eight(s, i))
			if found == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(found) / 8
		}
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			i = beyondASCII(s, i)
			switch {
			case i == len(s) || s[i] < utf8.RuneSelf:
			case separates(s[i:]):
				n += 3
				i += 3
			default:
				bad = true
				i++
			}
			continue
		case c == '"' || c == '\\':
			n++
		case c >= ' ':
		case controls[c] == 'u':
			n += 5
		default:
			n++
		}
		i++
	}
	if bad {
		n += 5 * len(s) // each bad byte becomes \ufffd
	}
	return n
}
