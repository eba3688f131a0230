package parse

import (
	"bytes"
	"iter"
	"strconv"
)

// field is one header field as it stands: value still folded and encoded.
type field struct {
	name  []byte
	value []byte
}

type fields []field

// maxFields is how many fields of one header are kept.
const maxFields = 2000

// named yields the places of the fields of that name that are not empty.
func (f fields) named(name string) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range f {
			if equalFold(f[i].name, name) && len(bytes.TrimSpace(f[i].value)) > 0 && !yield(i) {
				return
			}
		}
	}
}

// index returns where the first field of that name stands, or -1.
func (f fields) index(name string) int {
	for i := range f.named(name) {
		return i
	}
	return -1
}

// get returns the value of the first field of that name, or nil.
func (f fields) get(name string) []byte {
	if i := f.index(name); i >= 0 {
		return bytes.TrimSpace(f[i].value)
	}
	return nil
}

// token is the first word of a field in lower case.
func (f fields) token(name string) string { return token(string(f.get(name))) }

// splitHeader reads the header block at the start of b and returns its fields
// and where the body begins. It stops at a line for which stop is true (a
// boundary of a multipart around it) even when no blank line came before.
func splitHeader(b []byte, limit int, stop func(line []byte) bool, ds *defects) (fs fields, body int) {
	fs = make(fields, 0, 24)
	if stop != nil { // of a part
		fs = make(fields, 0, 4)
	}
	value := -1 // where the value of the field begins that may be continued
	for pos := 0; pos < len(b); {
		next := len(b)
		if i := bytes.IndexByte(b[pos:], '\n'); i >= 0 {
			next = pos + i + 1
		}
		text := b[pos:next]
		for len(text) > 0 && (text[len(text)-1] == '\n' || text[len(text)-1] == '\r') {
			text = text[:len(text)-1]
		}
		if len(text) == 0 {
			rest := bytes.TrimLeft(b[next:], "\r\n")
			if stop != nil || len(fs) > 0 || !looksLikeField(rest) {
				return fs, next
			}
			pos = len(b) - len(rest) // blank lines before the mail
			continue
		}
		if pos+len(text) > limit {
			ds.add("header_too_long", "the header is cut at its limit")
			if pos > limit {
				return fs, blankLine(b, pos)
			}
			text = text[:max(1, limit-pos)]
		}
		switch colon := fieldColon(text); {
		case text[0] == '-' && stop != nil && stop(text):
			return fs, pos
		case text[0] == ' ' || text[0] == '\t':
			if value >= 0 {
				fs[len(fs)-1].value = b[value : pos+len(text)]
			}
		case len(fs) >= maxFields:
			ds.add("header_too_long", "fields beyond "+strconv.Itoa(maxFields)+" are left out")
			value = -1
		case colon > 0:
			value = pos + colon + 1
			fs = append(fs, field{name: bytes.TrimRight(text[:colon], " \t"), value: b[value : pos+len(text)]})
		case pos == 0 && bytes.HasPrefix(bytes.TrimPrefix(text, []byte(">")), []byte("From ")): // of an mbox
		case foldedColon(text, b[next:]) > 0:
			value = next + foldedColon(text, b[next:])
			line, _, _ := bytes.Cut(b[value:], []byte("\n"))
			next = min(len(b), value+len(line)+1)
			fs = append(fs, field{name: text, value: bytes.TrimRight(b[value:min(next, max(value, limit))], "\r\n")})
		default:
			ds.add("header_stray_line", string(text[:min(len(text), 80)]))
			value = -1
		}
		pos = next
	}
	return fs, len(b)
}

// blankLine returns where the line after the next blank one begins.
func blankLine(b []byte, pos int) int {
	for _, blank := range []string{"\n\n", "\n\r\n"} {
		if i := bytes.Index(b[pos:], []byte(blank)); i >= 0 {
			return pos + i + len(blank)
		}
	}
	return len(b)
}

// fieldColon returns the place of the colon that ends a field name, or -1.
func fieldColon(line []byte) int {
	i := 0
	for i < len(line) && line[i] > ' ' && line[i] < 0x7f && line[i] != ':' {
		i++
	}
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	if i < len(line) && line[i] == ':' {
		return i
	}
	return -1
}

// foldedColon returns how far the colon of a field reaches into the next line
// when the line broke before it ("From\n : a@b"), else 0.
func foldedColon(name, next []byte) int {
	rest := bytes.TrimLeft(next, " \t")
	if len(rest) == len(next) || len(rest) == 0 || rest[0] != ':' || len(name) > 80 || len(token(string(name))) != len(name) {
		return 0
	}
	return len(next) - len(rest) + 1
}

// looksLikeField reports whether the next line of b is a header field.
func looksLikeField(b []byte) bool {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return fieldColon(line) > 0
}

// unfold returns a field's value as one line of raw bytes.
func unfold(v []byte) []byte {
	v = bytes.TrimSpace(v)
	if bytes.IndexByte(v, '\n') < 0 && bytes.IndexByte(v, '\r') < 0 {
		return v
	}
	out := make([]byte, 0, len(v))
	for _, c := range v {
		if c != '\r' && c != '\n' {
			out = append(out, c)
		}
	}
	return out
}
