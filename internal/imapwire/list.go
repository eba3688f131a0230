package imapwire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// tokens walks over a gathered response.
type tokens struct {
	b []byte
	i int
}

func (t *tokens) blanks() {
	for t.i < len(t.b) && (t.b[t.i] == ' ' || t.b[t.i] == '\t') {
		t.i++
	}
}

func (t *tokens) peek() byte {
	if t.i < len(t.b) {
		return t.b[t.i]
	}
	return 0
}

// str reads a quoted string (unescaped), a literal, or a bare word.
func (t *tokens) str() ([]byte, bool) {
	t.blanks()
	switch t.peek() {
	case 0, '(', ')':
		return nil, false
	case '"':
		return t.quoted()
	case '{':
		end := bytes.IndexByte(t.b[t.i:], '\n')
		if end < 0 {
			break
		}
		n, _, ok := literalMark(t.b[t.i : t.i+end])
		from := t.i + end + 1
		if !ok || n > int64(len(t.b)-from) {
			break
		}
		t.i = from + int(n)
		return t.b[from:t.i], true
	}
	from := t.i
	for t.i < len(t.b) && !strings.ContainsRune(" \t()\r\n", rune(t.b[t.i])) {
		t.i++
	}
	return t.b[from:t.i], t.i > from
}

// quoted reads a quoted string. Without a closing quote, it is none.
func (t *tokens) quoted() ([]byte, bool) {
	escaped := false
	for i := t.i + 1; i < len(t.b); i++ {
		switch t.b[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			s := t.b[t.i+1 : i]
			t.i = i + 1
			if escaped {
				s = unescape(s)
			}
			return s, true
		}
	}
	return nil, false
}

// skip passes over one value of any syntax, lists included.
func (t *tokens) skip() bool {
	for depth := 0; ; {
		t.blanks()
		switch c := t.peek(); {
		case c == '(':
			depth++
			t.i++
		case c == ')' && depth > 0:
			depth--
			t.i++
		default:
			if _, ok := t.str(); !ok {
				return false
			}
		}
		if depth == 0 {
			return true
		}
	}
}

func unescape(s []byte) []byte {
	u := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		u = append(u, s[i])
	}
	return u
}

// list passes on `LIST (attributes) delimiter name`, each part made regular.
func (w *Conn) list(rest []byte) error {
	b, err := w.gather(rest)
	if err != nil {
		return err
	}
	t := tokens{b: b}
	t.blanks()
	start := len(w.out)
	w.out = append(w.out, "* LIST ("...)
	if t.peek() == '(' {
		t.i++
		for first := true; ; {
			attr, ok := t.str()
			if !ok {
				break
			}
			if len(attr) < 2 || attr[0] != '\\' || !isAtom(attr[1:]) {
				continue
			}
			if !first {
				w.out = append(w.out, ' ')
			}
			w.out, first = append(w.out, attr...), false
		}
		if t.blanks(); t.peek() == ')' {
			t.i++
		}
	}
	w.out = append(w.out, ") "...)
	t.blanks()
	bare := t.peek() != '"' && t.peek() != '{'
	delim, ok := t.str()
	if !ok {
		w.out = w.out[:start]
		return nil
	}
	if _, n := utf8.DecodeRune(delim); n == 0 || n != len(delim) || bare && fold(delim, "NIL") || delim[0] < 0x20 {
		w.out = append(w.out, "NIL "...)
	} else {
		w.out = append(appendQuoted(w.out, string(delim)), ' ')
	}
	t.blanks()
	name := bytes.TrimSpace(t.b[t.i:]) // a bare name may hold blanks, and a quote that never closes is part of it
	if c := t.peek(); c == '"' || c == '{' {
		if s, ok := t.str(); ok {
			name = s
		}
	} else if i := bytes.Index(name, []byte(" (")); i > 0 {
		name = name[:i]
	}
	if len(name) == 0 {
		w.out = w.out[:start]
		return nil
	}
	w.lastList = append(w.lastList[:0], name...)
	w.emitMailbox(name)
	w.out = append(w.out, "\r\n"...)
	return nil
}

// mailboxStatus passes on `STATUS name (items)` with the items that a poller
// reads and that fit their type. Whatever way the server spells the mailbox, the
// client gets the name it asked for: it compares byte by byte.
func (w *Conn) mailboxStatus(rest []byte) error {
	b, err := w.gather(rest)
	if err != nil {
		return err
	}
	t := tokens{b: b}
	t.blanks()
	var name []byte
	if c := t.peek(); c == '"' || c == '{' {
		name, _ = t.str()
	} else if i := bytes.IndexByte(b[t.i:], '('); i > 0 { // a bare name may hold blanks
		name = bytes.TrimSpace(b[t.i : t.i+i])
		t.i += i
	}
	if name == nil {
		return nil
	}
	w.out = append(w.out, "* STATUS "...)
	switch asked := w.askedStatus(name); {
	case asked != "":
		w.out = append(w.out, asked...)
	case sameMailbox(name, w.lastList):
		w.emitMailbox(w.lastList)
	default:
		w.emitMailbox(name)
	}
	w.out = append(w.out, " ("...)
	first := true
	if t.blanks(); t.peek() == '(' {
		t.i++
	}
	for {
		item, ok := t.str()
		if !ok {
			break
		}
		t.blanks()
		if t.peek() == '(' {
			if !t.skip() {
				break
			}
			continue
		}
		value, ok := t.str()
		if !ok {
			break
		}
		switch {
		case fold(item, "HIGHESTMODSEQ"):
			if _, ok := number64(value); !ok {
				continue
			}
		case fold(item, "MESSAGES"), fold(item, "UIDNEXT"), fold(item, "UIDVALIDITY"), fold(item, "UNSEEN"):
			if _, ok := number(value); !ok {
				continue
			}
		default:
			continue
		}
		if !first {
			w.out = append(w.out, ' ')
		}
		first = false
		w.out = append(append(appendUpper(w.out, item), ' '), value...)
	}
	w.out = append(w.out, ")\r\n"...)
	return nil
}

// askedStatus is the argument of the outstanding STATUS that name answers: the
// same name if there is one, else one that only differs in spelling.
func (w *Conn) askedStatus(name []byte) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, same := range [...]func(a, b []byte) bool{bytes.Equal, sameMailbox} {
		for i := range w.pending {
			if w.pending[i].name != "STATUS" {
				continue
			}
			t := tokens{b: []byte(w.pending[i].arg)}
			if arg, ok := t.str(); ok && same(arg, name) {
				return w.pending[i].arg
			}
		}
	}
	return ""
}

// id passes on what names the server's software; go-imap ends the connection on
// a NIL value.
func (w *Conn) id(rest []byte) error {
	b, err := w.gather(rest)
	if err != nil {
		return err
	}
	t := tokens{b: b}
	t.blanks()
	w.out = append(w.out, "* ID ("...)
	if t.peek() == '(' {
		t.i++
	}
	first := true
	for {
		key, ok := t.str()
		if !ok {
			break
		}
		t.blanks()
		bare := t.peek() != '"' && t.peek() != '{'
		value, ok := t.str()
		if !ok {
			break
		}
		if bare || !fold(key, "NAME") && !fold(key, "VERSION") && !fold(key, "VENDOR") {
			continue
		}
		if !first {
			w.out = append(w.out, ' ')
		}
		first = false
		w.out = append(appendQuoted(w.out, strings.ToLower(string(key))), ' ')
		w.out = appendQuoted(w.out, strings.ToValidUTF8(string(value), ""))
	}
	w.out = append(w.out, ")\r\n"...)
	return nil
}

// unexpectedEOF turns an end of the stream inside a response into what it is.
func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
