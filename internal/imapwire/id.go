package imapwire

import "strings"

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
