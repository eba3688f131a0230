package imapwire

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// list passes on `LIST (attributes) delimiter name` (RFC 3501 section 7.2.2),
// each part made regular.
func (w *Conn) list(d *decoder) {
	start := len(w.out)
	w.out = append(w.out, "* LIST ("...)
	if d.peek() == '(' {
		d.list(func() bool {
			attr, ok := d.str()
			if len(attr) > 1 && attr[0] == '\\' && isAtom(attr[1:]) {
				w.out = append(w.separate(), attr...)
			}
			return ok
		})
	}
	w.out = append(w.out, ") "...)
	bare := d.bare()
	delimiter, ok := d.str()
	if !ok {
		w.out = w.out[:start]
		return
	}
	if _, n := utf8.DecodeRune(delimiter); n == 0 || n != len(delimiter) || bare && fold(delimiter, "NIL") || delimiter[0] < 0x20 {
		w.out = append(w.out, "NIL "...)
	} else {
		w.out = append(appendQuoted(w.out, string(delimiter)), ' ')
	}
	bare = d.bare()
	name := bytes.TrimSpace(d.b[d.i:]) // a bare name may hold blanks, and a quote that never closes is part of it
	if !bare {
		if s, ok := d.str(); ok {
			name = s
		}
	} else if i := bytes.Index(name, []byte(" (")); i > 0 {
		name = name[:i]
	}
	if len(name) == 0 {
		w.out = w.out[:start]
		return
	}
	w.emitMailbox(name)
	w.out = append(w.out, "\r\n"...)
	w.weight.answer = w.awaits("LIST")
}

// id passes on what names the server's software (RFC 2971 section 3.2); go-imap
// ends the connection on a NIL value.
func (w *Conn) id(d *decoder) {
	w.out = append(w.out, "* ID ("...)
	d.list(func() bool {
		key, ok := d.str()
		if !ok {
			return false
		}
		bare := d.bare()
		value, ok := d.str()
		if ok && !bare && (fold(key, "NAME") || fold(key, "VERSION") || fold(key, "VENDOR")) {
			w.out = append(appendQuoted(w.separate(), strings.ToLower(string(key))), ' ')
			w.out = appendQuoted(w.out, strings.ToValidUTF8(string(value), ""))
		}
		return ok
	})
	w.out = append(w.out, ")\r\n"...)
}
