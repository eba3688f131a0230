package imapwire

import (
	"bytes"
	"strconv"
	"strings"
)

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
		w.weight.answer = true
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
		if item, value, known := statusItem(item, value); ok && known {
			w.out = append(append(append(w.separate(), item...), ' '), value...)
		}
		return ok
	})
	w.out = append(w.out, ")\r\n"...)
}

// statusItem is an item as the client is given it; false for what it does not read, or
// cannot. UIDVALIDITY goes by the name of HIGHESTMODSEQ, which nobody asks for: it is the
// client's only number that is wide enough. Servers that count milliseconds have more
// than 32 bits.
func statusItem(item, value []byte) (as string, v []byte, ok bool) {
	switch {
	case fold(item, "UIDVALIDITY"):
		n, ok := number63(value)
		return "HIGHESTMODSEQ", strconv.AppendUint(nil, n, 10), ok
	case fold(item, "MESSAGES"), fold(item, "UIDNEXT"), fold(item, "UNSEEN"):
		_, ok = number(value)
	}
	return strings.ToUpper(string(item)), value, ok
}

// askedStatus is the argument of the outstanding STATUS that name answers: the same
// name, or the server's own spelling of it, if there is one, else one that only differs
// in spelling.
func (w *Conn) askedStatus(name []byte) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	own := func(arg, name []byte) bool {
		raw, ok := w.alias[canonicalMailbox(arg)]
		return raw == string(name) || !ok && bytes.Equal(arg, name)
	}
	for _, same := range [...]func(a, b []byte) bool{own, sameMailbox} {
		for i := range w.pending {
			d := decoder{b: []byte(w.pending[i].arg)}
			if arg, ok := d.str(); ok && w.pending[i].name == "STATUS" && same(arg, name) {
				return w.pending[i].arg
			}
		}
	}
	return ""
}
