package imapwire

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fetchResponse is a FETCH response (RFC 3501 section 7.4.2) while it is read.
// Its parts reach the client in an order that go-imap can use, UID first, and
// only if it answers the FETCH that is outstanding.
//
// A body is streamed when the UID is known before it. When the server puts the
// UID behind the body, the UID is taken from the command (if that asks for one
// message) or from what the same sequence number was before, the body is
// streamed all the same, and its last byte waits until the UID that follows has
// confirmed the guess. Without a guess the body waits in memory, up to
// Limits.Buffer; beyond that the response is an error.
type fetchResponse struct {
	open    bool    // a body is being streamed
	cmd     command // the FETCH that is outstanding; nameless without
	seq     uint32
	uid     uint32 // as stated in this response
	guess   uint32 // as streamed, when not stated yet
	size    int64  // RFC822.SIZE, 0 unknown
	change  bool   // it tells flags: it may be a change of them, which nobody asked for
	date    []byte // INTERNALDATE with quotes, empty unknown
	body    []byte // a body kept in memory
	hasBody bool   // body is valid
	nilBody bool   // the server says that there is none
	sent    bool   // the head of the response went to the client, with the body
	held    byte   // the body's last byte
	odd     bool   // it has attributes that nobody knows
}

// maxFetchDepth bounds the nesting of an attribute's value.
const maxFetchDepth = 1000

// beginFetch reads a FETCH response, up to its body if that is streamed.
func (w *Conn) beginFetch(seq uint32, line []byte) error {
	f := &w.fetch
	*f = fetchResponse{seq: seq, date: f.date[:0], body: f.body[:0]}
	if cap(f.body) > 4*bufferSize {
		f.body = nil
	}
	w.mu.Lock()
	if c := w.awaited("UID FETCH"); c != nil {
		f.cmd = *c
	}
	w.mu.Unlock()

	d := &decoder{b: line}
	if d.peek() == 0 { // its items may stand on the next
		if next, err := w.peekLine(); err != nil || len(next) == 0 || next[0] == '*' || !isLeftover(bytes.TrimLeft(next, " (")) {
			return unexpectedEOF(err)
		} else if err := w.nextLine(d); err != nil {
			return err
		}
	}
	if !d.take('(') {
		return w.drop(line)
	}
	return w.fetchItems(d)
}

// afterBody goes on behind a body whose bytes but the last were handed through.
func (w *Conn) afterBody() error {
	b, err := w.some()
	if err != nil {
		return err
	}
	w.fetch.held = b[0]
	w.r++
	w.endLiteral()
	d := &decoder{}
	if err := w.nextLine(d); err != nil {
		return err
	}
	return w.fetchItems(d)
}

// fetchItems reads items to the end of the response, or to the body.
func (w *Conn) fetchItems(d *decoder) error {
	f := &w.fetch
	for {
		switch c := d.peek(); {
		case c == 0 && d.i == len(d.b):
			if goesOn, err := w.goesOn(); err != nil || !goesOn {
				return err
			}
			if err := w.nextLine(d); err != nil {
				return err
			}
			continue
		case c == ')':
			for d.take(')') { // some servers close twice
			}
			if d.peek() == 0 {
				return w.endFetch()
			}
			if !isLeftover(d.b[d.i:]) {
				return w.fetchError("text after the end of a FETCH response", d.b)
			}
			continue
		case !isLetter(c):
			return w.fetchError("no attribute name in a FETCH response", d.b)
		}
		name := d.attribute()
		f.change = f.change || fold(name, "FLAGS")
		f.odd = f.odd || !isFetchAttribute(name)
		isBody := f.cmd.wantBody && f.cmd.asksFor(name) && !f.hasBody && !f.sent
		var err error
		switch n, literal := d.literal(); {
		case d.peek() == 0, d.peek() == ')': // no value
			if f.odd && (f.sent || f.hasBody) {
				return w.fetchError("attribute without a value in a FETCH response", nil)
			}
		case d.peek() == '(':
			err = w.skipList(d)
		case literal && isBody:
			var stream bool
			if stream, err = w.beginBody(n); stream {
				return nil
			}
			if err == nil {
				err = w.nextLine(d)
			}
		case literal:
			err = w.skipLiteral(n, d)
		default:
			f.set(name, isBody, d)
		}
		if err != nil {
			return err
		}
	}
}

// goesOn reports whether a response whose line is over, and not closed, goes on in the
// next: Xeams and others put items on lines of their own, or forget the parenthesis.
// Where it does not, the response is over. One that had a body is then whole only if
// nothing stood behind the body that may be mail, it has not the end of the response in
// it, and another response follows.
func (w *Conn) goesOn() (bool, error) {
	f := &w.fetch
	body := f.sent || f.hasBody
	if f.odd && body {
		return false, w.fetchError("FETCH response without an end", nil)
	}
	line, err := w.peekLine()
	switch {
	case err != nil:
		return false, unexpectedEOF(err)
	case isLeftover(line):
		return true, nil
	case body && (f.tookEnd() || !w.isResponse(line)):
		return false, w.fetchError("FETCH response without an end", nil)
	}
	return false, w.endFetch()
}

// tookEnd reports whether a body ends as one does of which more bytes were announced than
// it has: in the parenthesis that closes the response.
func (f *fetchResponse) tookEnd() bool {
	last := f.held
	if f.hasBody && len(f.body) > 0 {
		last = f.body[len(f.body)-1]
	}
	return last == ')' || last == '\r'
}

// fetchAttributes are the names of attributes of a FETCH response that servers are known
// to send (RFC 3501 section 7.4.2 and its extensions); fetchSections are how those begin
// that go on in brackets, or as a server likes.
const (
	fetchAttributes = "FLAGS UID RFC822 RFC822.SIZE RFC822.HEADER RFC822.TEXT INTERNALDATE ENVELOPE BODY BODYSTRUCTURE " +
		"MODSEQ EMAILID THREADID SAVEDATE PREVIEW ANNOTATION"
	fetchSections = "BODY[ BODY.PEEK[ BODY.SIZE[ BINARY[ BINARY.PEEK[ BINARY.SIZE[ X-"
)

// isFetchAttribute reports whether a name is one of those.
func isFetchAttribute(name []byte) bool {
	for known := range strings.SplitSeq(fetchAttributes, " ") {
		if fold(name, known) {
			return true
		}
	}
	for begin := range strings.SplitSeq(fetchSections, " ") {
		if len(name) >= len(begin) && fold(name[:len(begin)], begin) {
			return true
		}
	}
	return false
}

// isLeftover reports whether a line is nothing but known items of a FETCH response and
// parentheses.
func isLeftover(line []byte) bool {
	d := &decoder{b: line}
	for {
		for d.take(')') {
		}
		if c := d.peek(); c == 0 {
			return d.i == len(line) && len(bytes.TrimSpace(line)) > 0
		} else if !isLetter(c) || !isFetchAttribute(d.attribute()) {
			return false
		}
		if _, literal := d.literal(); literal {
			return true
		}
		if c := d.peek(); c == '(' {
			if !d.skip() {
				return false
			}
		} else if c != 0 && c != ')' {
			d.value()
		}
	}
}

var otherResponse = regexp.MustCompile(`(?i)^\* +([0-9]+ +(FETCH|EXISTS|EXPUNGE|RECENT)|OK|NO|BAD|BYE|FLAGS|VANISHED|CAPABILITY|SEARCH|STATUS|LIST)\b`)

// isResponse reports whether a line begins a response for certain: a line of mail may
// have an asterisk, too.
func (w *Conn) isResponse(line []byte) bool {
	tag, _, _ := bytes.Cut(line, []byte(" "))
	w.mu.Lock()
	defer w.mu.Unlock()
	return otherResponse.Match(line) || slices.ContainsFunc(w.pending, func(c command) bool { return fold(tag, c.tag) })
}

// skipList passes over a list and the literals in it.
func (w *Conn) skipList(d *decoder) error {
	for depth := 0; ; {
		switch n, literal := d.literal(); {
		case d.peek() == 0:
			return nil // the response has no end
		case d.take('('):
			if depth++; depth > maxFetchDepth {
				return overLimitf("server sent a list nested over the limit of %d levels", maxFetchDepth)
			}
		case d.take(')'):
			if depth--; depth == 0 {
				return nil
			}
		case literal:
			if err := w.skipLiteral(n, d); err != nil {
				return err
			}
		default:
			d.value()
		}
	}
}

// fetchError is an error if the response has given the client a body already;
// otherwise the response is harmless, and dropped with what is left of it, of
// which line is read. It does not quote the line, which may be mail.
func (w *Conn) fetchError(what string, line []byte) error {
	if w.fetch.sent || w.fetch.hasBody {
		return w.protocolError(what, nil)
	}
	return w.drop(line)
}

// beginBody starts on a body of n bytes. With stream, its bytes but the last are
// handed through next; without, it is in memory.
func (w *Conn) beginBody(n int64) (stream bool, err error) {
	f := &w.fetch
	if n > w.lim.LiteralSize {
		return false, overLimit("literal", n, w.lim.LiteralSize)
	}
	if n == 0 {
		f.hasBody = true
		return false, nil
	}
	if f.uid == 0 {
		f.guess = cmp.Or(w.uidOf[f.seq], f.cmd.uid)
	}
	uid := cmp.Or(f.uid, f.guess)
	if uid == 0 {
		if n > int64(w.lim.Buffer) {
			return false, w.protocolError(fmt.Sprintf("body of %d bytes came before its UID", n), nil)
		}
		w.beginLiteral(n)
		defer w.endLiteral()
		err = w.read(n, func(b []byte) { f.body = append(f.body, b...) })
		f.hasBody = err == nil
		return false, err
	}
	w.emitFetchHead(uid)
	w.emitBodyHead(n)
	f.sent, f.open = true, true
	w.pass = n - 1
	w.beginLiteral(n)
	w.weight.answer = true
	return true, nil
}

// emitFetchHead writes a response up to its body.
func (w *Conn) emitFetchHead(uid uint32) {
	f := &w.fetch
	w.emitNumbered(f.seq, " FETCH (")
	if uid > 0 {
		w.out = append(w.out, "UID "...)
		w.out = append(strconv.AppendUint(w.out, uint64(uid), 10), ' ')
	}
	if f.size > 0 {
		w.out = append(w.out, "RFC822.SIZE "...)
		w.out = append(strconv.AppendInt(w.out, f.size, 10), ' ')
	}
	if len(f.date) > 0 {
		w.out = append(w.out, "INTERNALDATE "...)
		w.out = append(append(w.out, f.date...), ' ')
	}
}

func (w *Conn) emitBodyHead(n int64) {
	w.out = append(append(w.out, "BODY["...), w.fetch.cmd.section...)
	w.out = appendLiteralMark(append(w.out, "] "...), n)
}

// endFetch passes on what of a response is still owed, or all or nothing of it.
func (w *Conn) endFetch() error {
	f := &w.fetch
	f.open = false
	if f.sent {
		if f.guess != 0 && f.uid != 0 && f.uid != f.guess {
			return w.protocolError(fmt.Sprintf("body taken for UID %d belongs to UID %d", f.guess, f.uid), nil)
		}
		if f.guess != 0 && f.uid == 0 && w.uidOf[f.seq] != f.guess {
			return w.protocolError("body without a UID", nil)
		}
		w.out = append(append(w.out, f.held), ")\r\n"...) // size and date are not asked for with a body
	} else if taken, err := w.keepUID(); taken || err != nil {
		return err
	} else if f.answers() {
		w.weight.answer = true
		w.emitFetchHead(cmp.Or(f.uid, w.uidOf[f.seq]))
		if f.nilBody {
			w.out = append(append(w.out, "BODY["...), f.cmd.section...)
			w.out = append(w.out, "] NIL)"...)
		} else if f.cmd.wantBody {
			w.emitBodyHead(int64(len(f.body)))
			w.out = append(append(w.out, f.body...), ')')
		} else {
			w.out[len(w.out)-1] = ')'
		}
		w.out = append(w.out, "\r\n"...)
	}
	if f.uid > 0 && f.seq > 0 {
		if len(w.uidOf) >= 10_000 {
			clear(w.uidOf)
		}
		w.uidOf[f.seq] = f.uid
	}
	return nil
}

// keepUID takes a response for itself, if the UIDs of its FETCH are to be kept, and keeps
// the UID that it has. The last UID that there is leaves no number for UIDNEXT: see search.
func (w *Conn) keepUID() (taken bool, err error) {
	f := &w.fetch
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.keepUIDs || f.cmd.name == "" || f.cmd.wantBody || f.cmd.wantSize:
		return false, nil
	case f.uid == 0 || f.uid == 1<<32-1:
	case len(w.uids) == w.lim.SearchNums:
		return true, overLimitf("server listed more than %d uids", w.lim.SearchNums)
	default:
		w.uids = append(w.uids, f.uid)
		w.weight.kept = true
	}
	return true, nil
}

// answers reports whether a response has what the outstanding FETCH asks for: a change
// of flags, which servers slip in, has not, and go-imap would take it for the message.
func (f *fetchResponse) answers() bool {
	switch {
	case f.cmd.name == "", f.uid == 0 && !f.hasBody:
		return false
	case f.cmd.wantBody:
		return f.hasBody
	case f.cmd.wantSize:
		return f.size > 0 || len(f.date) > 0 || !f.change
	}
	return f.uid > 0
}

// maxSize is the largest RFC822.SIZE that is one (RFC 3501 section 9).
const maxSize = 1<<32 - 1

// set takes what comes next as the value of an attribute.
func (f *fetchResponse) set(name []byte, isBody bool, d *decoder) {
	s, quoted := d.value()
	switch {
	case fold(name, "UID"):
		if n, ok := number(s); ok && n > 0 {
			f.uid = n
		}
	case fold(name, "RFC822.SIZE"):
		if n, ok := number64(s); ok && n <= maxSize {
			f.size = n
		}
	case fold(name, "INTERNALDATE"):
		if quoted && isDateTime(s) {
			f.date = append(append(append(f.date[:0], '"'), s...), '"')
		}
	case isBody && quoted:
		f.hasBody, f.body = true, append(f.body[:0], s...)
	case isBody && fold(s, "NIL"):
		f.hasBody, f.nilBody = true, true
	}
}

// asksFor reports whether a name in a response is the section that the command
// asks for: the servers' older and sloppier names for it count too.
func (cmd *command) asksFor(name []byte) bool {
	switch {
	case fold(name, "RFC822"):
		return cmd.section == ""
	case fold(name, "RFC822.HEADER"):
		return cmd.section == "HEADER"
	}
	open, end := bytes.IndexByte(name, '['), bytes.LastIndexByte(name, ']')
	if open < 0 || end < open || !fold(name[:open], "BODY") && !fold(name[:open], "BODY.PEEK") {
		return false
	}
	section, _ := cutWord(name[open+1 : end])
	if !fold(section, cmd.section) {
		return false
	}
	offset, _, _ := bytes.Cut(bytes.Trim(name[end+1:], "<>"), []byte("."))
	n, ok := number64(offset)
	return end+1 == len(name) || ok && n == 0 // else other bytes than those asked for
}

// isDateTime accepts what go-imap reads as an INTERNALDATE, by its own layout; on
// anything else it ends the connection. A year of few digits is a server's zero.
func isDateTime(b []byte) bool {
	t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", string(b))
	return err == nil && t.Year() >= 1000
}
