package parse

import (
	"bytes"
	"slices"
	"strings"
)

// addressList reads the mailboxes of one header field (RFC 5322 section 3.4)
// as mail really writes them: unquoted commas in names, comments for names,
// groups, semicolons between, addresses without brackets, brackets without an
// end, whole addresses inside encoded words. Only syntactically valid
// addresses come back; literal is what the brackets held instead when there is
// none at all ("MAILER-DAEMON"), and invalid whether anything was left out.
func addressList(v []byte, hint string, limit int) (list []Address, literal string, invalid bool) {
	s := &addressScanner{v: unfold(v), hint: hint, limit: limit}
	s.scan()
	if len(s.list) == 0 && bytes.Contains(s.v, []byte("=?")) {
		if d := decodeWords(s.v, hint); strings.IndexByte(d, '@') >= 0 && !strings.Contains(d, "=?") {
			inWords := &addressScanner{v: []byte(d), limit: limit}
			if inWords.scan(); len(inWords.list) > 0 {
				s = inWords
			}
		}
	}
	if len(s.list) > 0 {
		s.literal = ""
	}
	return s.list, s.literal, s.invalid
}

type addressScanner struct {
	v     []byte
	pos   int
	hint  string
	limit int
	list  []Address

	phrase   []byte // words so far, one blank between
	addr     []byte // candidate without brackets
	angle    []byte // what stood in <>
	hasAngle bool
	comment  []byte
	pending  []byte // phrase of a chunk without an address
	literal  string
	invalid  bool
	glued    bool // no blank since the last word

	noQuotes   bool // a quoted string was not closed: quotes are plain from there
	noComments bool // likewise for comments; both keep the scan linear
}

func (s *addressScanner) scan() {
	for s.pos < len(s.v) && len(s.list) < s.limit {
		switch c := s.v[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.glued = false
		case ',', ';':
			s.emit(c == ';')
		case '"':
			if !s.noQuotes {
				if text, n := quoted(s.v[s.pos:]); n > 0 {
					s.pos += n
					if s.pos < len(s.v) && s.v[s.pos] == '@' && s.addr == nil { // "john doe"@example.com
						rest := plainRun(s.v[s.pos:])
						s.addr = slices.Concat(text, rest)
						s.pos += len(rest)
					} else {
						s.word(text)
					}
					continue
				}
				s.noQuotes = true
			}
		case '(':
			if !s.noComments {
				if text, n := comment(s.v[s.pos:]); n > 0 {
					s.pos += n
					if len(s.comment) == 0 {
						s.comment = text
					}
					continue
				}
				s.noComments = true
			}
		case '<':
			s.bracket()
			continue
		case '>', ')':
		case ':':
			if len(s.addr) > 0 && s.addr[0] == '@' { // obsolete route
				s.addr = nil
			}
			if !s.hasAngle && s.addr == nil { // the name of a group
				s.phrase = s.phrase[:0]
				s.pending = nil
			}
		default:
			a := plainRun(s.v[s.pos:])
			s.pos += len(a)
			s.atom(a)
			continue
		}
		s.pos++
	}
	if len(s.list) < s.limit {
		s.emit(true)
	}
}

// atom takes a run of plain characters: a word of a name or an address.
func (s *addressScanner) atom(a []byte) {
	if bytes.IndexByte(a, '@') >= 0 && s.addr == nil && !bytes.HasPrefix(a, []byte("=?")) {
		s.addr = bytes.Clone(a)
		if a[0] == '@' && len(s.phrase) > 0 { // "john @ example.com"
			i := bytes.LastIndexByte(s.phrase, ' ') + 1
			s.addr = slices.Concat(s.phrase[i:], a)
			s.phrase = bytes.TrimRight(s.phrase[:i], " ")
		}
		s.glued = true
		return
	}
	if s.addr != nil && !s.hasAngle && s.addr[len(s.addr)-1] == '@' {
		s.addr = append(s.addr, a...)
		return
	}
	s.word(a)
}

func (s *addressScanner) word(w []byte) {
	if len(s.phrase) > 0 && !s.glued {
		s.phrase = append(s.phrase, ' ')
	}
	s.phrase = append(s.phrase, w...)
	s.glued = true
}

// bracket reads <addr>, to the next comma or the end when it is not closed.
func (s *addressScanner) bracket() {
	for s.pos < len(s.v) && (s.v[s.pos] == '<' || isSpace(s.v[s.pos])) {
		s.pos++
	}
	rest := s.v[s.pos:]
	end := bytes.IndexAny(rest, "<>")
	if end < 0 {
		end = len(rest)
	}
	if q := bytes.IndexByte(rest[:end], '"'); q >= 0 && !s.noQuotes { // <"a>b"@c>
		_, n := quoted(rest[q:])
		if n == 0 {
			s.noQuotes = true
		} else if q+n > end {
			if e := bytes.IndexByte(rest[q+n:], '>'); e >= 0 {
				end = q + n + e
			}
		}
	}
	if end == len(rest) || rest[end] != '>' { // not closed
		if c := bytes.IndexByte(rest[:end], ','); c >= 0 {
			end = c
		}
	}
	inside := rest[:end]
	s.pos += end
	if len(inside) > 0 && inside[0] == '@' { // obsolete route
		if i := bytes.LastIndexByte(inside, ':'); i >= 0 {
			inside = inside[i+1:]
		}
	}
	if s.hasAngle && bytes.IndexByte(s.angle, '@') >= 0 {
		// A second address without a comma between.
		if bytes.IndexByte(inside, '@') < 0 {
			return
		}
		s.emit(true)
	}
	s.angle, s.hasAngle = inside, true
	s.glued = false
}

// emit ends a mailbox. final is false at a comma, where a chunk without an
// address is the beginning of the next one's name.
func (s *addressScanner) emit(final bool) {
	defer func() {
		s.phrase, s.addr, s.angle, s.hasAngle, s.comment, s.glued = s.phrase[:0], nil, nil, false, nil, false
	}()
	candidate := s.addr
	name := s.phrase
	if s.hasAngle && (len(s.angle) > 0 || candidate == nil) {
		if candidate != nil && len(name) == 0 { // a@b <a@b>
			name = candidate
		}
		candidate = s.angle
	}
	email, ok := validAddress(candidate)
	if !ok && bytes.IndexByte(s.comment, '@') >= 0 { // Name,(<a@b>)
		if email, ok = validAddress(s.comment); ok {
			s.comment = nil
		}
	}
	if !ok && s.hasAngle && s.addr != nil {
		email, ok = validAddress(s.addr)
	}
	if !ok {
		s.invalid = s.invalid || len(candidate) > 0
		if lit := decodeWords(candidate, s.hint); s.literal == "" && s.hasAngle && !strings.ContainsAny(lit, " \t") {
			s.literal = lit
		}
		if final {
			s.pending = nil
		} else if len(name) > 0 && !s.hasAngle {
			if len(s.pending) > 0 {
				s.pending = append(s.pending, ", "...)
			}
			s.pending = append(s.pending, name...)
		}
		return
	}
	if len(s.pending) > 0 {
		if s.hasAngle {
			if len(name) > 0 {
				s.pending = append(s.pending, ", "...)
			}
			name = append(s.pending, name...)
		}
		s.pending = nil
	}
	if len(name) == 0 {
		name = s.comment
	}
	s.list = append(s.list, Address{Name: displayName(name, s.hint), Email: email})
}

func displayName(v []byte, hint string) string {
	name := decodeWords(v, hint)
	if len(name) > 1 && (name[0] == '\'' || name[0] == '"') && name[len(name)-1] == name[0] {
		name = name[1 : len(name)-1]
	}
	return strings.TrimSpace(name)
}

// quoted reads the quoted string v begins with; n is 0 when it is not closed.
func quoted(v []byte) (text []byte, n int) {
	for i := 1; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '"':
			return []byte(unescape(string(v[1:i]))), i + 1
		}
	}
	return nil, 0
}

// comment reads the comment v begins with; n is 0 when it is not closed.
func comment(v []byte) (text []byte, n int) {
	depth := 0
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return v[1:i], i + 1
			}
		}
	}
	return nil, 0
}

// plainRun returns the leading run of characters that are no delimiter.
func plainRun(v []byte) []byte {
	for i, c := range v {
		switch c {
		case ' ', '\t', '\r', '\n', ',', ';', '"', '(', ')', '<', '>', ':':
			return v[:i]
		}
	}
	return v
}
