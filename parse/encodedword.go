package parse

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// decodeWords returns a header value as one clean line: unfolded, RFC 2047
// words decoded, raw 8-bit bytes as UTF-8, else in the charset hint, else in
// windows-1252.
func decodeWords(v []byte, hint string) string {
	v = bytes.TrimSpace(v)
	if !bytes.Contains(v, []byte("=?")) {
		return rawString(v, hint)
	}
	v = unfold(v)
	var out strings.Builder
	out.Grow(len(v))
	var run []byte // decoded bytes of adjacent words of one charset
	var runCharset string
	flush := func() {
		if len(run) > 0 {
			out.WriteString(decodeCharset(run, runCharset))
			run = run[:0]
		}
	}
	last := len(v) - bytes.LastIndex(v, []byte("?=")) // bytes from the last end of a word on
	for len(v) > last {
		i := bytes.Index(v, []byte("=?"))
		if i < 0 {
			break
		}
		w, n := encodedWord(v[i:])
		if n == 0 {
			flush()
			out.WriteString(rawString(v[:i+2], hint))
			v = v[i+2:]
			continue
		}
		if between := v[:i]; len(run) == 0 || len(bytes.TrimSpace(between)) > 0 {
			flush()
			out.WriteString(rawBetween(between, hint))
		}
		if !strings.EqualFold(w.charset, runCharset) {
			flush()
			runCharset = w.charset
		}
		run = w.decode(run)
		v = v[i+n:]
	}
	flush()
	out.WriteString(rawBetween(v, hint))
	return strings.TrimSpace(cleanString(out.String()))
}

// rawString is a value without encoded words.
func rawString(v []byte, hint string) string {
	v = unfold(v)
	if isPrintable(v) {
		return string(v)
	}
	return strings.TrimSpace(cleanString(rawBetween(v, hint)))
}

// rawBetween decodes raw bytes of a header, its blanks kept.
func rawBetween(v []byte, hint string) string {
	if isASCII(v) || utf8.Valid(v) {
		return string(v)
	}
	if cs, ok := lookupCharset(hint); ok && cs.name != "utf-8" && cs.name != "us-ascii" {
		return decodeCharset(v, hint)
	}
	return decodeCharset(v, "windows-1252")
}

// word is one encoded word (RFC 2047 section 2).
type word struct {
	charset string
	q       bool
	text    []byte
}

// encodedWord reads the word at the start of v ("=?"), and how long it is; 0
// when there is none.
func encodedWord(v []byte) (w word, n int) {
	rest := v[2:]
	i := bytes.IndexByte(rest[:min(len(rest), 80)], '?')
	if i <= 0 || i+2 >= len(rest) || rest[i+2] != '?' {
		return w, 0
	}
	switch rest[i+1] {
	case 'q', 'Q':
		w.q = true
	case 'b', 'B':
	default:
		return w, 0
	}
	w.charset = string(rest[:i])
	rest = rest[i+3:]
	end := bytes.Index(rest, []byte("?="))
	if end < 0 {
		return w, 0
	}
	w.text = rest[:end]
	return w, 2 + i + 3 + end + 2
}

// decode appends the bytes the word stands for.
func (w word) decode(dst []byte) []byte {
	if !w.q {
		return appendBase64(dst, w.text)
	}
	return appendEscaped(dst, bytes.ReplaceAll(w.text, []byte("_"), []byte(" ")), '=')
}
