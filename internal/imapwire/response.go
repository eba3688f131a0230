package imapwire

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
)

// step reads the next response, or the next piece of one, and puts what the
// client shall see of it into out. It may put nothing there.
func (w *Conn) step() error {
	if w.numsAt < len(w.nums) {
		w.emitNums()
		return nil
	}
	if err := w.response(); err != nil {
		return err
	}
	return w.weigh()
}

func (w *Conn) response() error {
	if !w.greeted {
		return w.greeting()
	}
	if w.fetch.open {
		return w.afterBody()
	}
	switch word, err := w.startsSearch(); {
	case err != nil:
		return err
	case word == "SEARCH":
		return w.search()
	case word == "ESEARCH":
		return w.esearch()
	}
	line, err := w.line()
	if err != nil {
		return err
	}
	switch {
	case len(bytes.TrimSpace(line)) == 0:
		return nil
	case line[0] == '+':
		w.continuation(line)
		return nil
	case line[0] == '*' && (len(line) == 1 || line[1] == ' '):
		return w.untagged(bytes.TrimLeft(line[1:], " "))
	}
	return w.tagged(line)
}

// line is the next line without its ending. It is valid until more is read.
func (w *Conn) line() ([]byte, error) {
	line, err := w.peekLine()
	if err != nil {
		return nil, err
	}
	n := bytes.IndexByte(w.in[w.r:w.e], '\n') + 1
	w.r += n
	w.weight.size += int64(n)
	w.literal(false)
	return line, nil
}

// peekLine is the line that line will return.
func (w *Conn) peekLine() ([]byte, error) {
	seen := 0
	for {
		if i := bytes.IndexByte(w.in[w.r+seen:w.e], '\n'); i >= 0 {
			return bytes.TrimRight(w.in[w.r:w.r+seen+i], "\r\n"), nil
		}
		seen = w.e - w.r
		if seen > w.lim.Line {
			return nil, overLimit("line", int64(seen), int64(w.lim.Line))
		}
		if err := w.fill(); err != nil {
			return nil, err
		}
	}
}

func (w *Conn) discard(n int64) error {
	if n > w.lim.LiteralSize {
		return overLimit("literal", n, w.lim.LiteralSize)
	}
	w.weight.size += n
	w.literal(true)
	defer w.literal(false)
	return w.read(n, func([]byte) {})
}

// read hands n bytes of a literal to use, piece by piece.
func (w *Conn) read(n int64, use func([]byte)) error {
	for n > 0 {
		b, err := w.some()
		if err != nil {
			return err
		}
		b = b[:min(n, int64(len(b)))]
		use(b)
		w.r += len(b)
		n -= int64(len(b))
	}
	return nil
}

// some is at least one byte of the response under way.
func (w *Conn) some() ([]byte, error) {
	if w.r == w.e {
		if err := w.fill(); err != nil {
			return nil, unexpectedEOF(err)
		}
	}
	return w.in[w.r:w.e], nil
}

// gathered has a response read once it is whole, its literals as they travel:
// {n}, a newline, the n bytes. Literals count against the line limit.
func (w *Conn) gathered(line []byte, read func(*decoder)) error {
	for w.acc = append(w.acc[:0], line...); ; w.acc = append(w.acc, line...) {
		n, _, ok := literalMark(line)
		if !ok {
			read(&decoder{b: w.acc})
			return nil
		}
		if n+int64(len(w.acc)) > int64(w.lim.Line) {
			return overLimit("line", n+int64(len(w.acc)), int64(w.lim.Line))
		}
		w.acc = append(w.acc, '\n')
		err := w.read(n, func(b []byte) { w.acc = append(w.acc, b...) })
		if err != nil {
			return err
		}
		if line, err = w.line(); err != nil {
			return unexpectedEOF(err)
		}
	}
}

// drop skips a response that the client must not see, with its literals.
func (w *Conn) drop(line []byte) error {
	for d := (&decoder{b: line}); ; {
		n, _, ok := literalMark(d.b)
		if !ok {
			return nil
		}
		if err := w.skipLiteral(n, d); err != nil {
			return err
		}
	}
}

// skipLiteral passes over a literal and goes on behind it.
func (w *Conn) skipLiteral(n int64, d *decoder) error {
	if err := w.discard(n); err != nil {
		return err
	}
	return w.nextLine(d)
}

func (w *Conn) nextLine(d *decoder) error {
	line, err := w.line()
	*d = decoder{b: line}
	return unexpectedEOF(err)
}

// greeting reads the first line (RFC 3501 section 7.1): OK, PREAUTH or BYE. An ill proxy
// says NO or BAD: that is noted, too.
func (w *Conn) greeting() error {
	line, err := w.line()
	if err != nil {
		if what := Speaks(w.in[w.r:w.e]); what != "" { // no line, and there will be none
			return &Error{Text: "protocol: not an IMAP greeting", Speaks: what}
		}
		return err
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return nil
	}
	rest, ok := bytes.CutPrefix(line, []byte("* "))
	st, known := parseStatus(rest)
	if !ok || !known {
		err := w.protocolError("not an IMAP greeting", line)
		err.Speaks = Speaks(line)
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if st.typ == "BYE" || st.typ == "NO" || st.typ == "BAD" {
		w.note(st, "")
	}
	if st.typ == "NO" || st.typ == "BAD" {
		return &Error{Text: "protocol: not an IMAP greeting"}
	}
	w.greeted = true
	w.progress()
	w.preauth = st.typ == "PREAUTH"
	w.out = append(w.out, "* "...)
	w.emitStatus(st)
	return nil
}

// greetings are how servers of other protocols begin.
var greetings = []struct {
	speaks string
	begins *regexp.Regexp
}{
	{"TLS", regexp.MustCompile(`^[\x15\x16]\x03[\x00-\x04]`)}, // a record (RFC 8446 section 5.1)
	{"POP3", regexp.MustCompile(`^[+]OK|^-ERR`)},
	{"SMTP", regexp.MustCompile(`^[245][0-9][0-9][ -]`)}, // FTP and NNTP begin so, too
	{"ManageSieve", regexp.MustCompile(`(?i)^"IMPL`)},
	{"SSH", regexp.MustCompile(`^SSH-`)},
	{"HTTP", regexp.MustCompile(`^HTTP/|^<!?[A-Za-z]`)},
}

// Speaks names the protocol that a server speaks by its first bytes, when it is one of
// those that are found on a port that was mistaken for IMAP's; "" for any other.
func Speaks(b []byte) string {
	for _, g := range greetings {
		if g.begins.Match(b) {
			return g.speaks
		}
	}
	return ""
}

// Greet puts a greeting in front of the stream, for a connection whose server
// has greeted already (STARTTLS). The client then asks for capabilities anew.
func (w *Conn) Greet() {
	w.greeted = true
	w.out = append(w.out, "* OK ready\r\n"...)
}

// continuation passes `+` on when the client waits for one: go-imap ends the
// connection on any other.
func (w *Conn) continuation(line []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.contWanted == 0 {
		return
	}
	w.contWanted--
	w.out = append(w.out, "+ "...)
	switch text := bytes.TrimSpace(line[1:]); {
	case w.awaited("IDLE") != nil:
		w.idling = true
		w.progress()
	case w.awaited("AUTHENTICATE") != nil:
		if _, err := base64.StdEncoding.DecodeString(string(text)); err == nil {
			w.out = append(w.out, text...)
		} // else "+ Ready", "+ go ahead": an empty challenge in prose
	}
	w.out = append(w.out, "\r\n"...)
}

// tagged passes on the completion of an outstanding command. One for a command
// that was completed before is dropped; any other line is beyond repair.
func (w *Conn) tagged(line []byte) error {
	tag, rest, _ := bytes.Cut(line, []byte(" "))
	w.mu.Lock()
	i := slices.IndexFunc(w.pending, func(c command) bool { return fold(tag, c.tag) })
	if i < 0 {
		n := tagNumber(tag)
		stale := n > 0 && n <= w.maxTag
		fetching := w.awaited("UID FETCH") != nil
		w.mu.Unlock()
		if stale {
			return nil
		}
		if fetching && isLeftover(line) {
			return w.drop(line)
		}
		if fetching { // behind a body longer than announced, this would be mail
			return w.protocolError(fmt.Sprintf("unexpected line of %d bytes", len(line)), nil)
		}
		return w.protocolError("unexpected line", line)
	}
	defer w.mu.Unlock()
	cmd := w.pending[i]
	w.pending = slices.Delete(w.pending, i, i+1)
	w.contWanted = 0
	switch cmd.name {
	case "IDLE":
		w.idling = false
	case "SELECT", "EXAMINE", "UNSELECT", "CLOSE":
		clear(w.uidOf)
	}
	w.answered()
	w.weight = weight{}
	st, ok := parseStatus(bytes.TrimLeft(rest, " "))
	if !ok || st.typ == "BYE" || st.typ == "PREAUTH" {
		st = statusLine{typ: "BAD", text: rest} // the command failed in words of the server's own
	}
	if st.typ != "OK" {
		w.note(st, cmd.name)
	} else if cmd.unlisted || cmd.uids && !cmd.listed {
		st = statusLine{typ: "NO", text: []byte("the server says OK and does not list what it found")}
	}
	w.out = append(append(w.out, cmd.tag...), ' ')
	w.emitStatus(st)
	return nil
}

// untagged handles a response that starts with an asterisk; line is what follows.
func (w *Conn) untagged(line []byte) error {
	word, rest := cutWord(line)
	if num, ok := number(word); ok {
		word, rest := cutWord(rest)
		switch {
		case fold(word, "FETCH"):
			return w.beginFetch(num, rest)
		case fold(word, "EXPUNGE"):
			clear(w.uidOf) // the numbers above it have shifted
			w.emitNumbered(num, " EXPUNGE\r\n")
		case fold(word, "EXISTS"):
			w.emitNumbered(num, " EXISTS\r\n")
		case fold(word, "RECENT"):
			w.emitNumbered(num, " RECENT\r\n")
		default:
			return w.drop(line)
		}
		return nil
	}
	switch {
	case fold(word, "LIST"):
		return w.gathered(rest, w.list)
	case fold(word, "STATUS"):
		return w.gathered(rest, w.mailboxStatus)
	case fold(word, "CAPABILITY"):
		w.out = append(w.out, "* CAPABILITY"...)
		w.emitCapabilities(rest)
		w.out = append(w.out, "\r\n"...)
		return nil
	case fold(word, "ID"):
		return w.gathered(rest, w.id)
	case fold(word, "VANISHED"):
		clear(w.uidOf)
		return nil
	}
	if st, ok := parseStatus(line); ok {
		return w.untaggedStatus(st)
	}
	return w.drop(line)
}

// unexpectedEOF turns an end of the stream inside a response into what it is.
func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
