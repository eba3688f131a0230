package parse

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// mediaType is a Content-Type or, with minor empty, a Content-Disposition.
type mediaType struct {
	major, minor string // lower case
	params       []param
}

// param is one parameter, its RFC 2231 pieces joined, its value decoded.
type param struct{ name, value string }

func (m mediaType) String() string {
	if m.minor == "" {
		return m.major
	}
	return m.major + "/" + m.minor
}

func (m mediaType) is(major string, minors ...string) bool {
	return m.major == major && slices.Contains(minors, m.minor)
}

func (m mediaType) param(name string) string {
	for i := range m.params {
		if m.params[i].name == name {
			return m.params[i].value
		}
	}
	return ""
}

// contentType returns the type of a part, or that of its place when it names
// none (RFC 2045 section 5.2, RFC 2046 section 5.1.5).
func contentType(p *part, ds *defects) mediaType {
	v := p.head.get("content-type")
	if v != nil {
		t := parseMediaType(v)
		if t.major != "" && t.minor != "" {
			return t
		}
		ds.add("content_type_invalid", string(v[:min(len(v), 80)]))
		switch {
		case t.major == "multipart":
			t.minor = "mixed"
			return t
		case t.major != "": // a type without a subtype: nobody knows how to show it
			t.major, t.minor = "application", "octet-stream"
			return t
		}
		return mediaType{major: "text", minor: "plain", params: t.params}
	}
	if p.parent != nil && p.parent.typ.is("multipart", "digest") {
		return mediaType{major: "message", minor: "rfc822"}
	}
	return mediaType{major: "text", minor: "plain"}
}

// parseMediaType reads "type/subtype; name=value…" as leniently as can be:
// it has no error, only what could be read.
func parseMediaType(v []byte) mediaType {
	v = unfold(v)
	head, params, found := bytes.Cut(v, []byte(";"))
	head = bytes.TrimSpace(head)
	if isAssignment(head) { // the type itself is missing
		head, params = nil, v
	} else if !found { // "text/plain charset=utf-8": the semicolon is missing
		if i := bytes.IndexAny(head, " \t"); i >= 0 && bytes.IndexByte(head, '=') > i {
			head, params = head[:i], head[i+1:]
		}
	}
	head, _, _ = bytes.Cut(head, []byte("("))
	major, minor, _ := strings.Cut(string(bytes.Trim(head, " \t\"'")), "/")
	return mediaType{major: token(major), minor: token(minor), params: parseParams(params)}
}

// parseDisposition reads a Content-Disposition. What is neither inline nor
// attachment counts as attachment (RFC 2183 section 2.8).
func parseDisposition(v []byte) mediaType {
	m := parseMediaType(v)
	m.minor = ""
	head, _, _ := bytes.Cut(v, []byte(";"))
	if m.major != "inline" && len(bytes.TrimSpace(head)) > 0 && !isAssignment(head) {
		m.major = "attachment"
	}
	return m
}

// isAssignment reports "name=value" where a type should be.
func isAssignment(head []byte) bool {
	name, _, ok := bytes.Cut(head, []byte("="))
	name = bytes.TrimSpace(name)
	return ok && len(name) > 0 && len(token(string(name))) == len(name)
}

// token returns the leading RFC 2045 token of s in lower case.
func token(s string) string {
	s = strings.TrimSpace(s)
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("()<>@,;:\\\"/[]?=", c) >= 0 {
			s = s[:i]
			break
		}
	}
	return strings.ToLower(s)
}

// maxParams is how many parameters of one field are kept, the pieces of
// RFC 2231 apart.
const maxParams = 100

// piece is one parameter as it stands, before RFC 2231 continuations are joined.
type piece struct {
	name    string
	number  int // that of the continuation, else plain or extended
	at      int
	encoded bool // text is percent-encoded
	text    []byte
}

const (
	extended = -2 // name*=charset'language'text
	plain    = -1
)

func parseParams(v []byte) []param {
	pieces := make([]piece, 0, 4)
	whole := 0 // those that are no continuation
	for len(v) > 0 {
		v = bytes.TrimLeft(v, " \t;")
		end := bytes.IndexAny(v, "=;")
		if end < 0 {
			break
		}
		if v[end] == ';' {
			v = v[end+1:]
			continue
		}
		name, section, starred := strings.Cut(strings.ToLower(string(bytes.TrimSpace(v[:end]))), "*")
		p := piece{name: name, number: plain, at: len(pieces)}
		p.text, v = paramValue(v[end+1:])
		if starred {
			p.encoded = section == "" || strings.HasSuffix(section, "*")
			if n, err := strconv.Atoi(strings.TrimSuffix(section, "*")); err == nil && n >= 0 {
				p.number = n
			} else if p.encoded {
				p.number = extended
			}
		}
		if p.number < 0 {
			whole++
		}
		if p.name != "" && (p.number >= 0 || whole <= maxParams) {
			pieces = append(pieces, p)
		}
	}
	slices.SortFunc(pieces, func(a, b piece) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.number, b.number), cmp.Compare(a.at, b.at))
	})
	// Of two with one name and number the first counts.
	pieces = slices.CompactFunc(pieces, func(a, b piece) bool { return a.name == b.name && a.number == b.number })
	var params []param
	for len(pieces) > 0 {
		name, n := pieces[0].name, 1
		for n < len(pieces) && pieces[n].name == name {
			n++
		}
		params = append(params, param{name, joinPieces(pieces[:n])})
		pieces = pieces[n:]
	}
	return params
}

// paramValue reads one value and returns what follows it.
func paramValue(v []byte) (value, rest []byte) {
	v = bytes.TrimLeft(v, " \t")
	if quote, inside := bytes.CutPrefix(v, []byte{'"'}); inside {
		out := make([]byte, 0, 64)
		for i := 0; i < len(quote); i++ {
			switch c := quote[i]; {
			case c == '\\' && i+1 < len(quote) && (quote[i+1] == '"' || quote[i+1] == '\\'):
				i++
				out = append(out, quote[i])
			case c == '"':
				_, rest, _ = bytes.Cut(quote[i+1:], []byte(";"))
				return out, rest
			default:
				out = append(out, c)
			}
		}
		v = quote // never closed: the value ends at the next semicolon
	}
	value, rest, _ = bytes.Cut(v, []byte(";"))
	return bytes.TrimSpace(value), rest
}

// joinPieces returns the value of one parameter, whose pieces are in the order
// of their numbers: the continuations up to where one is missing, else the
// extended form, else the plain one.
func joinPieces(pieces []piece) string {
	if first := slices.IndexFunc(pieces, func(p piece) bool { return p.number >= 0 }); first >= 0 {
		pieces = pieces[first:]
	} else {
		pieces = pieces[:1]
	}
	first := pieces[0].number
	if first > 1 { // some mailers count from one
		return ""
	}
	var value []byte
	charset, encoded := "", false
	for i, p := range pieces {
		if p.number != first+i {
			break
		}
		if !p.encoded {
			value = append(value, p.text...)
			continue
		}
		encoded = true
		if f := bytes.SplitN(p.text, []byte("'"), 3); i == 0 && len(f) == 3 { // charset'language'text
			charset, p.text = string(f[0]), f[2]
		}
		value = appendEscaped(value, p.text, '%')
	}
	if !encoded {
		return decodeWords(value, "")
	}
	return cleanString(decodeCharset(value, charset))
}
