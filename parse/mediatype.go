package parse

import (
	"bytes"
	"slices"
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
	var m mediaType
	if len(v) == 0 {
		return m
	}
	v = unfold(v)
	head, rest := v, []byte(nil)
	if i := bytes.IndexByte(v, ';'); i >= 0 {
		head, rest = v[:i], v[i+1:]
	}
	switch {
	case isAssignment(head):
		head = nil // the type itself is missing
	case rest != nil:
		v = rest
	default:
		v = nil
		// "text/plain charset=utf-8": the semicolon is missing.
		if j := bytes.IndexAny(bytes.TrimSpace(head), " \t"); j >= 0 && bytes.IndexByte(head, '=') > j {
			head = bytes.TrimSpace(head)
			head, v = head[:j], head[j+1:]
		}
	}
	if i := bytes.IndexByte(head, '('); i >= 0 {
		head = head[:i]
	}
	major, minor, _ := strings.Cut(string(bytes.Trim(head, " \t\"'")), "/")
	m.major = token(major)
	m.minor = token(minor)
	m.params = parseParams(v)
	return m
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
