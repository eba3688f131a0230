package imapwire

import "bytes"

// mailboxStatus passes on `STATUS name (items)` (RFC 3501 section 7.2.4) with
// the items that a poller reads and that fit their type. The client gets the name
// that it asked for, however the server spells it: it compares byte by byte.
func (w *Conn) mailboxStatus(d *decoder) {
	var name []byte
	if !d.bare() {
		name, _ = d.str()
	} else if i := bytes.IndexByte(d.b[d.i:], '('); i > 0 { // a bare name may hold blanks
		name = bytes.TrimSpace(d.b[d.i : d.i+i])
		d.i += i
	}
	if name == nil {
		return
	}
	w.out = append(w.out, "* STATUS "...)
	if asked := w.askedStatus(name); asked != "" {
		w.out = append(w.out, asked...)
	} else {
		w.emitMailbox(name)
	}
	w.out = append(w.out, " ("...)
	d.list(func() bool {
		item, ok := d.str()
		if !ok {
			return false
		}
		if d.peek() == '(' {
			return d.skip()
		}
		value, ok := d.str()
		if ok && isStatusItem(item, value) {
			w.out = append(append(append(w.separate(), bytes.ToUpper(item)...), ' '), value...)
		}
		return ok
	})
	w.out = append(w.out, ")\r\n"...)
}

// isStatusItem reports whether the client reads an item, and can read its value.
func isStatusItem(item, value []byte) (ok bool) {
	switch {
	case fold(item, "HIGHESTMODSEQ"):
		_, ok = number64(value)
	case fold(item, "MESSAGES"), fold(item, "UIDNEXT"), fold(item, "UIDVALIDITY"), fold(item, "UNSEEN"):
		_, ok = number(value)
	}
	return ok
}

// askedStatus is the argument of the outstanding STATUS that name answers: the
// same name if there is one, else one that only differs in spelling.
func (w *Conn) askedStatus(name []byte) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, same := range [...]func(a, b []byte) bool{bytes.Equal, sameMailbox} {
		for i := range w.pending {
			d := decoder{b: []byte(w.pending[i].arg)}
			if arg, ok := d.str(); ok && w.pending[i].name == "STATUS" && same(arg, name) {
				return w.pending[i].arg
			}
		}
	}
	return ""
}
