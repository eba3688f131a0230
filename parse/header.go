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

// get returns the value of the first field of the first of the names that
// there is, or nil.
func (f fields) get(names ...string) []byte {
	for _, name := range names {
		if i := f.index(name); i >= 0 {
			return bytes.TrimSpace(f[i].value)
		}
	}
	return nil
}

// token is the first word of a field in lower case.
func (f fields) token(name string) string { return token(string(f.get(name))) }

// splitHeader reads the header block at the start of b and returns its fields
// and where the body begins. It stops at a line for which stop is true (a
// boundary of a multipart around it) even when no blank line came before.
func splitHeader(b []byte, limit int, stop func(line []byte) bool, ds *defects) (fs fields, body int) {
	pos := 0
	open := false // the last line read was a field that may be continued
	value := 0    // where that field's value begins
	for pos < len(b) {
		next := len(b)
		if i := bytes.IndexByte(b[pos:], '\n'); i >= 0 {
			next = pos + i + 1
		}
		line := b[pos:next]
		text := trimLineEnd(line)
		if len(text) == 0 {
			if stop == nil && len(fs) == 0 {
				if rest := bytes.TrimLeft(b[next:], "\r\n"); looksLikeField(rest) {
					pos = len(b) - len(rest) // blank lines before the mail
					continue
				}
			}
			return fs, next
		}
		if pos > limit {
			ds.add("header_too_long", "the header is cut at its limit")
			if i := bytes.Index(b[pos:], []byte("\n\n")); i >= 0 {
				return fs, pos + i + 2
			}
			if i := bytes.Index(b[pos:], []byte("\n\r\n")); i >= 0 {
				return fs, pos + i + 3
			}
			return fs, len(b)
		}
		if pos+len(text) > limit {
			ds.add("header_too_long", "the header is cut at its limit")
			text = text[:max(1, limit-pos)]
		}
		switch {
		case text[0] == '-' && stop != nil && stop(text):
			return fs, pos
		case text[0] == ' ' || text[0] == '\t':
			if open {
				fs[len(fs)-1].value = b[value : pos+len(text)]
			}
		default:
			colon := fieldColon(text)
			switch {
			case len(fs) >= maxFields:
				ds.add("header_too_long", "fields beyond "+strconv.Itoa(maxFields)+" are left out")
				open = false
			case colon > 0:
				if fs == nil {
					most := 24
					if stop != nil {
						most = 4 // of a part
					}
					fs = make(fields, 0, most)
				}
				value = pos + colon + 1
				fs = append(fs, field{name: bytes.TrimRight(text[:colon], " \t"), value: b[value : pos+len(text)]})
				open = true
			case pos == 0 && (bytes.HasPrefix(text, []byte("From ")) || bytes.HasPrefix(text, []byte(">From "))):
				open = false
			case foldedColon(text, b[next:]) > 0:
				value = next + foldedColon(text, b[next:])
				end := len(b)
				if i := bytes.IndexByte(b[value:], '\n'); i >= 0 {
					end = value + i + 1
				}
				fs = append(fs, field{name: text, value: bytes.TrimRight(b[value:min(end, max(value, limit))], "\r\n")})
				pos, open = end, true
				continue
			default:
				ds.add("header_stray_line", string(text[:min(len(text), 80)]))
				open = false
			}
		}
		pos = next
	}
	return fs, len(b)
}

func trimLineEnd(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line
}

// fieldColon returns the place of the colon that ends a field name, or -1.
func fieldColon(line []byte) int {
	for i, c := range line {
		switch {
		case c == ':':
			return i
		case c == ' ' || c == '\t':
			rest := bytes.TrimLeft(line[i:], " \t")
			if len(rest) > 0 && rest[0] == ':' {
				return len(line) - len(rest)
			}
			return -1
		case c <= ' ' || c >= 0x7f:
			return -1
		}
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
