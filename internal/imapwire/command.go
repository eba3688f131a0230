package imapwire

import (
	"bytes"
	"regexp"
	"strings"
)

// command is a command the server has not completed. It never holds an
// argument of LOGIN or AUTHENTICATE.
type command struct {
	tag  string
	name string // "LOGIN", "UID FETCH", …
	arg  string // STATUS: the mailbox as sent

	// UID SEARCH
	uids     bool // of a range of UIDs, and nothing else
	listed   bool // what it found has come
	found    bool // and is not nothing
	unlisted bool // an answer came that does not list it

	// UID FETCH
	uid      uint32 // the only UID asked for, 0 when several
	wantSize bool
	wantBody bool
	section  string // between the brackets of BODY.PEEK[…]
}

// commandLine collects an outgoing line until it is known what it asks. Of a
// line with credentials only tag and name are kept.
type commandLine struct {
	line   []byte
	words  int
	secret bool
	mark   []byte // the end of the line, as far as it may become the mark of a literal: {n+}
	lit    int64  // bytes of an outgoing literal to skip
	more   bool   // the line continues a command after a literal
}

const maxCommandLine = 64 << 10

// sent notes what p asks for, and returns the bytes to send in its place: they
// differ where a mailbox goes by another name on the server, and in an empty answer
// within a SASL exchange, an empty line (RFC 3501 section 6.2.2): go-imap writes
// "=", which is for an initial response only. Callers hold mu.
func (w *Conn) sent(p []byte) []byte {
	if string(p) == "=\r\n" && w.awaited("AUTHENTICATE") != nil {
		p = p[1:]
	}
	send := w.unalias(p)
	for c := &w.cmd; len(p) > 0; {
		if c.lit > 0 {
			n := min(c.lit, int64(len(p)))
			c.lit -= n
			p = p[n:]
			continue
		}
		i := bytes.IndexByte(p, '\n') + 1
		if i == 0 {
			i = len(p)
		}
		w.keep(p[:i])
		if p[i-1] == '\n' {
			w.endCommandLine()
		}
		p = p[i:]
	}
	return send
}

// keep adds a chunk of an outgoing line, up to the command's name if that takes
// credentials, and follows it for the mark of a literal. That may come in several
// chunks: were it missed, the literal, which may be a password, would be taken for a
// command.
func (w *Conn) keep(chunk []byte) {
	c := &w.cmd
	if len(c.line) == 0 && w.awaited("AUTHENTICATE") != nil {
		c.secret = true
	}
	for _, b := range chunk {
		if b == '{' || strings.IndexByte("0123456789+-} \r\n", b) < 0 {
			c.mark = nil
		}
		if b == '{' || c.mark != nil {
			c.mark = append(c.mark, b)
		}
		if c.secret || c.more || len(c.line) >= maxCommandLine {
			continue
		}
		c.line = append(c.line, b)
		if c.words < 2 && (b == ' ' || b == '\n') {
			if c.words++; c.words == 2 {
				_, name, _ := bytes.Cut(bytes.TrimSpace(c.line), []byte(" "))
				c.secret = fold(name, "LOGIN") || fold(name, "AUTHENTICATE")
			}
		}
	}
}

// awaited is the named command, if one is outstanding.
func (w *Conn) awaited(name string) *command {
	for i := range w.pending {
		if w.pending[i].name == name {
			return &w.pending[i]
		}
	}
	return nil
}

func (w *Conn) awaits(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.awaited(name) != nil
}

// endCommandLine takes in a finished outgoing line.
func (w *Conn) endCommandLine() {
	c := w.cmd
	n, sync, literal := literalMark(bytes.TrimRight(c.mark, "\r\n"))
	w.cmd = commandLine{line: c.line[:0], lit: n, more: literal} // the next is kept in the same memory
	if sync {
		w.contWanted++
	}
	if c.more {
		return
	}
	if w.awaited("AUTHENTICATE") != nil {
		w.contWanted++ // a SASL response; the client waits for the next challenge
		return
	}
	line := bytes.TrimSpace(c.line)
	if fold(line, "DONE") {
		w.idling = false
		w.answered()
		return
	}
	tag, rest, _ := bytes.Cut(line, []byte(" "))
	name, args, _ := bytes.Cut(rest, []byte(" "))
	cmd := command{tag: string(tag)}
	if fold(name, "UID") {
		name, args, _ = bytes.Cut(args, []byte(" "))
		cmd.name = "UID "
	}
	cmd.name += strings.ToUpper(string(name))
	switch cmd.name {
	case "UID FETCH":
		cmd.parseFetch(args)
	case "UID SEARCH":
		cmd.uids = uidRange.Match(args)
	case "STATUS":
		if i := bytes.LastIndexByte(args, '('); i > 0 {
			cmd.arg = string(bytes.TrimSpace(args[:i]))
		}
	case "IDLE", "AUTHENTICATE":
		w.contWanted++
	case "LOGOUT":
		w.leaving = true
	}
	if len(w.pending) == 0 {
		w.answered()
	}
	w.maxTag = max(w.maxTag, tagNumber(tag))
	w.pending = append(w.pending, cmd)
}

var uidRange = regexp.MustCompile(`^UID [0-9]+(:[0-9]+)?$`)

// parseFetch reads the set and the items of a FETCH, as go-imap writes them for a
// poller: `7,9 (UID BODY.PEEK[HEADER])`, never a part of a section.
func (cmd *command) parseFetch(args []byte) {
	set, items, _ := strings.Cut(string(args), " ")
	cmd.uid, _ = number([]byte(set))
	cmd.wantSize = strings.Contains(items, "RFC822.SIZE")
	_, section, wantBody := strings.Cut(items, "BODY.PEEK[")
	cmd.wantBody = wantBody
	cmd.section, _, _ = strings.Cut(section, "]")
}

// tagNumber is the number in a tag of go-imap's, T12; 0 for any other.
func tagNumber(tag []byte) int64 {
	if len(tag) == 0 || tag[0] != 'T' {
		return 0
	}
	n, _ := number64(tag[1:])
	return n
}
