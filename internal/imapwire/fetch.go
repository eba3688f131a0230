package imapwire

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
// Limits.Buffer; beyond that the response is an error.
type fetchResponse struct {
	open    bool // a body is being streamed
	cmd     command
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
func (w *Conn) beginFetch(seq uint32, line []byte) error {
	f := &w.fetch
	*f = fetchResponse{seq: seq, size: -1, date: f.date[:0], body: f.body[:0]}
	if cap(f.body) > 4*bufferSize {
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
func (w *Conn) afterBody() error {
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
func (w *Conn) fetchLines(line []byte) error {
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

// beginBody starts on a body of n bytes. With stream, its bytes but the last are
// handed through next; without, it is in memory.
func (w *Conn) beginBody(n int64) (stream bool, err error) {
	f := &w.fetch
	if n > w.lim.LiteralSize {
		return false, &LimitError{What: "literal", Got: n, Max: w.lim.LiteralSize}
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
			return false, &ProtocolError{What: "body of " + strconv.FormatInt(n, 10) + " bytes came before its UID"}
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
func (w *Conn) emitFetchHead(uid uint32) {
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
func (w *Conn) emitSizeAndDate() {
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
func (w *Conn) endFetch() error {
	f := &w.fetch
	f.open = false
	if !f.closed {
		return w.fetchError("FETCH response without an end")
	}
	if f.sent {
		if f.guess != 0 && f.uid != 0 && f.uid != f.guess {
			return &ProtocolError{What: "body taken for UID " + strconv.Itoa(int(f.guess)) + " belongs to UID " + strconv.Itoa(int(f.uid))}
		}
		if f.guess != 0 && f.uid == 0 && w.uidOf[f.seq] != f.guess {
			return &ProtocolError{What: "body without a UID"}
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
