package sync

import (
	"bytes"
	"strconv"
)

// fetchResponse is a FETCH response while it is read. Its parts reach the client
// in an order that go-imap can use, UID first, and only if it answers the FETCH
// that is outstanding.
//
// A body is streamed when the UID is known before it. When the server puts the
// UID behind the body, the UID is taken from the command (if that asks for one
// message) or from what the same sequence number was before, the body is
// streamed all the same, and its last byte waits until the UID that follows has
// confirmed the guess. Without a guess the body waits in memory, up to
// wireLimits.Buffer; beyond that the response is an error.
type fetchResponse struct {
	open    bool // a body is being streamed
	cmd     wireCommand
	wanted  bool // a FETCH is outstanding
	seq     uint32
	uid     uint32 // as stated in this response
	guess   uint32 // as streamed, when not stated yet
	size    int64  // RFC822.SIZE, -1 unknown
	date    []byte // INTERNALDATE with quotes, empty unknown
	body    []byte // a body kept in memory
	hasBody bool   // body is valid
	sent    bool   // the head of the response went to the client, with the body
	held    byte   // the body's last byte
	withUID bool   // sent included …
	hadSize bool
	hadDate bool

	// The parser, across the lines of one response.
	att    fetchAtt // the attribute whose value comes next
	value  bool
	depth  int
	closed bool
	broken bool // unreadable, and nothing of it was passed on
}

type fetchAtt byte

const (
	attOther fetchAtt = iota
	attUID
	attSize
	attDate
	attBody // the section that the command asks for
)

// maxFetchDepth bounds the nesting of an attribute's value.
const maxFetchDepth = 1000

// beginFetch reads a FETCH response, up to its body if that is streamed.
func (w *wire) beginFetch(seq uint32, line []byte) error {
	f := &w.fetch
	*f = fetchResponse{seq: seq, size: -1, date: f.date[:0], body: f.body[:0]}
	if cap(f.body) > 4*wireBuffer {
		f.body = nil
	}
	w.mu.Lock()
	for i := range w.pending {
		if c := &w.pending[i]; c.name == "UID FETCH" || c.name == "FETCH" {
			f.cmd, f.wanted = *c, true
			break
		}
	}
	w.mu.Unlock()

	line = bytes.TrimLeft(line, " ")
	if len(line) == 0 || line[0] != '(' {
		return w.drop(line)
	}
	return w.fetchLines(line[1:])
}

// afterBody goes on behind a body whose bytes but the last were handed through.
func (w *wire) afterBody() error {
	for w.r == w.e {
		if err := w.fill(); err != nil {
			return unexpectedEOF(err)
		}
	}
	w.fetch.held = w.in[w.r]
	w.r++
	w.literal(false)
	line, err := w.line()
	if err != nil {
		return unexpectedEOF(err)
	}
	return w.fetchLines(line)
}

// fetchLines parses from line to the end of the response, or to the body.
func (w *wire) fetchLines(line []byte) error {
	f := &w.fetch
	for {
		n, literal, err := w.fetchLine(line)
		if err != nil {
			return err
		}
		if f.broken {
			return w.drop(line)
		}
		if !literal {
			return w.endFetch()
		}
		if f.att == attBody && f.depth == 0 && !f.hasBody && !f.sent {
			f.value = false
			stream, err := w.beginBody(n)
			if stream || err != nil {
				return err
			}
		} else if err := w.discard(n); err != nil {
			return err
		}
		f.value = f.depth > 0
		if line, err = w.line(); err != nil {
			return unexpectedEOF(err)
		}
	}
}

// fetchLine parses one line of the list. It stops at a literal, whose size it
// returns, or at the end.
func (w *wire) fetchLine(b []byte) (n int64, literal bool, err error) {
	f := &w.fetch
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == ' ' || c == '\t':
			i++
		case f.closed:
			return 0, false, w.fetchError("text after the end of a FETCH response")
		case c == ')' && f.depth > 0:
			f.depth--
			f.value = f.depth > 0
			i++
		case c == ')' && f.value:
			return 0, false, w.fetchError("attribute without a value in a FETCH response")
		case c == ')':
			f.closed = true
			i++
		case !f.value:
			end := attNameEnd(b, i)
			if end == i || !isLetter(c) {
				return 0, false, w.fetchError("no attribute name in a FETCH response")
			}
			f.att = f.cmd.attribute(b[i:end])
			f.value = true
			i = end
		case c == '(':
			if f.depth++; f.depth > maxFetchDepth {
				return 0, false, &limitError{What: "list", Got: maxFetchDepth + 1, Max: maxFetchDepth}
			}
			i++
		case c == '{' || c == '~' && i+1 < len(b) && b[i+1] == '{':
			if n, _, ok := literalMark(b[i:]); ok && bytes.LastIndexByte(b, '{') <= i+1 {
				return n, true, nil
			}
			i = w.fetchValue(b, i)
		default:
			i = w.fetchValue(b, i)
		}
	}
	return 0, false, nil
}

// fetchError is an error if the response has given the client a body already;
// otherwise the response is unreadable but harmless, and dropped. It does not
// quote the line, which may be mail.
func (w *wire) fetchError(what string) error {
	if w.fetch.sent || w.fetch.hasBody {
		return &protocolError{What: what}
	}
	w.fetch.broken = true
	return nil
}

// attNameEnd is the end of an attribute's name, its section included:
// BODY[HEADER.FIELDS (TO)]<0>.
func attNameEnd(b []byte, i int) int {
	for inside := false; i < len(b); i++ {
		switch b[i] {
		case '[':
			inside = true
		case ']':
			inside = false
		case ' ', '(', ')', '"', '{':
			if !inside {
				return i
			}
		}
	}
	return i
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// fetchValue takes a quoted string or an atom at b[i:] as (part of) the value of
// the current attribute, and returns where it ends.
func (w *wire) fetchValue(b []byte, i int) int {
	f := &w.fetch
	var s []byte
	quoted := false
	end := i
	if b[i] == '"' {
		t := tokens{b: b, i: i}
		if s, quoted = t.quoted(); quoted {
			end = t.i
		}
	}
	if !quoted {
		for end < len(b) && b[end] != ' ' && b[end] != ')' && (b[end] != '(' || end == i) {
			end++
		}
		s = b[i:end]
	}
	if f.depth > 0 {
		return end
	}
	f.value = false
	switch f.att {
	case attUID:
		if n, ok := number(s); ok && n > 0 {
			f.uid = n
		}
	case attSize:
		if n, ok := number64(s); ok {
			f.size = n
		}
	case attDate:
		if quoted && isDateTime(s) {
			f.date = append(append(append(f.date[:0], '"'), s...), '"')
		}
	case attBody:
		if (quoted || fold(s, "NIL")) && !f.hasBody && !f.sent {
			f.hasBody = true
			if quoted {
				f.body = append(f.body[:0], s...)
			}
		}
	}
	return end
}

// attribute says what a name in a response is to the command: the servers' older
// and sloppier names for a section count as the section.
func (cmd *wireCommand) attribute(name []byte) fetchAtt {
	switch {
	case fold(name, "UID"):
		return attUID
	case fold(name, "RFC822.SIZE"):
		return attSize
	case fold(name, "INTERNALDATE"):
		return attDate
	case !cmd.wantBody:
		return attOther
	case fold(name, "RFC822"):
		return cmd.isSection(nil, nil)
	case fold(name, "RFC822.HEADER"):
		return cmd.isSection([]byte("HEADER"), nil)
	case fold(name, "RFC822.TEXT"):
		return cmd.isSection([]byte("TEXT"), nil)
	}
	open, end := bytes.IndexByte(name, '['), bytes.LastIndexByte(name, ']')
	if open < 0 || end < open || !fold(name[:open], "BODY") && !fold(name[:open], "BODY.PEEK") {
		return attOther
	}
	return cmd.isSection(name[open+1:end], name[end+1:])
}

// isSection compares a section and its partial marker with those asked for. Of a
// list of header fields, only that there is one counts.
func (cmd *wireCommand) isSection(section, partial []byte) fetchAtt {
	word, _ := cutWord(section)
	asked, _, _ := bytes.Cut([]byte(cmd.section), []byte(" "))
	if !bytes.EqualFold(word, asked) {
		return attOther
	}
	offset := int64(0)
	if len(partial) > 0 {
		digits, _, _ := bytes.Cut(bytes.Trim(partial, "<>"), []byte("."))
		n, ok := number64(digits)
		if !ok {
			return attOther
		}
		offset = n
	}
	if offset != max(cmd.offset, 0) {
		return attOther // other bytes than those asked for
	}
	return attBody
}

// beginBody starts on a body of n bytes. With stream, its bytes but the last are
// handed through next; without, it is in memory.
func (w *wire) beginBody(n int64) (stream bool, err error) {
	f := &w.fetch
	if n > w.lim.LiteralSize {
		return false, &limitError{What: "literal", Got: n, Max: w.lim.LiteralSize}
	}
	if n == 0 {
		f.hasBody = true
		return false, nil
	}
	uid := f.uid
	if uid == 0 && f.cmd.byUID {
		if uid = w.uidOf[f.seq]; uid == 0 {
			uid = f.cmd.uid
		}
		f.guess = uid
	}
	if uid == 0 && f.cmd.byUID {
		if n > int64(w.lim.Buffer) {
			return false, &protocolError{What: "body of " + strconv.FormatInt(n, 10) + " bytes came before its UID"}
		}
		w.literal(true)
		defer w.literal(false)
		for int64(len(f.body)) < n {
			if w.r == w.e {
				if err := w.fill(); err != nil {
					return false, unexpectedEOF(err)
				}
			}
			k := min(int(n)-len(f.body), w.e-w.r)
			f.body = append(f.body, w.in[w.r:w.r+k]...)
			w.r += k
		}
		f.hasBody = true
		return false, nil
	}
	w.emitFetchHead(uid)
	w.out = append(w.out, f.cmd.label...)
	w.out = appendLiteralMark(append(w.out, ' '), n)
	f.sent, f.open = true, true
	w.pass = n - 1
	w.literal(true)
	return true, nil
}

// emitFetchHead writes a response up to its body.
func (w *wire) emitFetchHead(uid uint32) {
	f := &w.fetch
	w.emitNumbered(f.seq, " FETCH (")
	if uid > 0 {
		w.out = append(w.out, "UID "...)
		w.out = append(strconv.AppendUint(w.out, uint64(uid), 10), ' ')
		f.withUID = true
	}
	w.emitSizeAndDate()
}

// emitSizeAndDate writes those of the two that are known and were not sent, each
// with a blank behind it.
func (w *wire) emitSizeAndDate() {
	f := &w.fetch
	if f.size >= 0 && !f.hadSize {
		w.out = append(w.out, "RFC822.SIZE "...)
		w.out = append(strconv.AppendInt(w.out, f.size, 10), ' ')
		f.hadSize = true
	}
	if len(f.date) > 0 && !f.hadDate {
		w.out = append(w.out, "INTERNALDATE "...)
		w.out = append(append(w.out, f.date...), ' ')
		f.hadDate = true
	}
}

// endFetch passes on what of a response is still owed, or all or nothing of it.
func (w *wire) endFetch() error {
	f := &w.fetch
	f.open = false
	if !f.closed {
		return w.fetchError("FETCH response without an end")
	}
	if f.sent {
		if f.guess != 0 && f.uid != 0 && f.uid != f.guess {
			return &protocolError{What: "body taken for UID " + strconv.Itoa(int(f.guess)) + " belongs to UID " + strconv.Itoa(int(f.uid))}
		}
		if f.guess != 0 && f.uid == 0 && w.uidOf[f.seq] != f.guess {
			return &protocolError{What: "body without a UID"}
		}
		w.out = append(append(w.out, f.held), ' ')
		w.emitSizeAndDate()
		w.out[len(w.out)-1] = ')'
		w.out = append(w.out, "\r\n"...)
	} else if f.answers() {
		uid := f.uid
		if uid == 0 {
			uid = w.uidOf[f.seq]
		}
		w.emitFetchHead(uid)
		if f.cmd.wantBody {
			w.out = append(append(w.out, f.cmd.label...), ' ')
			w.out = appendLiteralMark(w.out, int64(len(f.body)))
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

// answers reports whether a response has what the outstanding FETCH asks for: a
// change of flags, which servers slip in, has not, and go-imap would take it for
// the message.
func (f *fetchResponse) answers() bool {
	switch {
	case !f.wanted:
		return false
	case f.cmd.byUID && f.uid == 0 && !f.hasBody:
		return false
	case f.cmd.wantBody:
		return f.hasBody
	case f.cmd.wantSize:
		return f.size >= 0
	}
	return f.uid > 0
}

// isDateTime accepts what go-imap reads as an INTERNALDATE; on anything else it
// ends the connection. `d-Mon-yyyy hh:mm:ss ±hhmm`, the day padded or not.
func isDateTime(b []byte) bool {
	b = bytes.TrimLeft(b, " ")
	i := bytes.IndexByte(b, '-')
	if i < 1 || i > 2 || len(b) != i+len("-Jan-2006 15:04:05 -0700") {
		return false
	}
	day, ok := number(b[:i])
	mon, b := b[i+1:i+4], b[i+4:]
	year, ok1 := number(b[1:5])
	hour, ok2 := number(b[6:8])
	minute, ok3 := number(b[9:11])
	second, ok4 := number(b[12:14])
	zone, ok5 := number(b[16:20])
	if !(ok && ok1 && ok2 && ok3 && ok4 && ok5) || b[0] != '-' || b[5] != ' ' || b[8] != ':' || b[11] != ':' || b[14] != ' ' || b[15] != '+' && b[15] != '-' {
		return false
	}
	days := uint32(31)
	switch {
	case fold(mon, "FEB"):
		days = 28
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			days = 29
		}
	case fold(mon, "APR"), fold(mon, "JUN"), fold(mon, "SEP"), fold(mon, "NOV"):
		days = 30
	case fold(mon, "JAN"), fold(mon, "MAR"), fold(mon, "MAY"), fold(mon, "JUL"), fold(mon, "AUG"), fold(mon, "OCT"), fold(mon, "DEC"):
	default:
		return false
	}
	return day >= 1 && day <= days && year >= 1000 && hour < 24 && minute < 60 && second < 60 && zone < 2400 && zone%100 < 60
}
