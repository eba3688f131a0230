package imapwire

import (
	"bytes"
	"strconv"
	"strings"
)

// command is a command the server has not completed. It never holds an
// argument of LOGIN or AUTHENTICATE.
type command struct {
	tag  string
	name string // "LOGIN", "UID FETCH", …
	arg  string // STATUS: the mailbox as sent

	// UID FETCH and FETCH
	uid      uint32 // the only UID asked for, 0 when several
	byUID    bool
	wantSize bool
	wantBody bool
	section  string // between the brackets of BODY[…], upper case
	offset   int64  // of a partial fetch, -1 without
	label    string // the section as go-imap expects it back: BODY[HEADER], BODY[]<0>
}

// commandLine collects an outgoing line until it is known what it asks. Of a
// line with credentials only tag and name are kept.
type commandLine struct {
	line   []byte
	words  int
	secret bool
	lit    int64 // bytes of an outgoing literal to skip
	more   bool  // the line continues a command after a literal
}

const maxCommandLine = 64 << 10

// sent notes what p asks for, and returns the bytes to send in its place: they
// differ only where a mailbox goes by another name on the server. Callers hold mu.
func (w *Conn) sent(p []byte) []byte {
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
			w.endCommandLine(p[:i])
		}
		p = p[i:]
	}
	return send
}

// keep adds a chunk of an outgoing line, up to the command's name if that takes
// credentials.
func (w *Conn) keep(chunk []byte) {
	c := &w.cmd
	if len(c.line) == 0 && w.answering("AUTHENTICATE") {
		c.secret = true
	}
	for i, b := range chunk {
		if c.secret || c.more || len(c.line) >= maxCommandLine {
			return
		}
		if c.words == 2 {
			c.line = append(c.line, chunk[i:]...)
			return
		}
		c.line = append(c.line, b)
		if b == ' ' || b == '\n' {
			if c.words++; c.words == 2 {
				_, name, _ := bytes.Cut(bytes.TrimSpace(c.line), []byte(" "))
				c.secret = fold(name, "LOGIN") || fold(name, "AUTHENTICATE")
			}
		}
	}
}

// answering reports whether the named command is outstanding.
func (w *Conn) answering(name string) bool {
	for i := range w.pending {
		if w.pending[i].name == name {
			return true
		}
	}
	return false
}

// endCommandLine takes in a finished outgoing line whose last chunk is tail.
func (w *Conn) endCommandLine(tail []byte) {
	c := &w.cmd
	defer func() {
		clear(c.line)
		c.line, c.words, c.secret = c.line[:0], 0, false
	}()
	if n, sync, ok := literalMark(trimEOL(tail)); ok {
		c.lit = n
		if sync {
			w.contWanted++
		}
		defer func() { c.more = true }()
	} else {
		defer func() { c.more = false }()
	}
	if c.more {
		return
	}
	if w.answering("AUTHENTICATE") {
		w.contWanted++ // a SASL response; the client waits for the next challenge
		return
	}
	line := bytes.TrimSpace(c.line)
	if fold(line, "DONE") {
		w.idling = false
		return
	}
	tag, rest, _ := bytes.Cut(line, []byte(" "))
	name, args, _ := bytes.Cut(rest, []byte(" "))
	cmd := command{tag: string(tag), offset: -1}
	if fold(name, "UID") {
		name, args, _ = bytes.Cut(args, []byte(" "))
		cmd.byUID = true
		cmd.name = "UID "
	}
	cmd.name += strings.ToUpper(string(name))
	switch cmd.name {
	case "FETCH", "UID FETCH":
		cmd.parseFetch(args)
	case "STATUS":
		if i := bytes.LastIndexByte(args, '('); i > 0 {
			cmd.arg = string(bytes.TrimSpace(args[:i]))
		}
	case "IDLE", "AUTHENTICATE":
		w.contWanted++
	case "LOGOUT":
		w.leaving = true
	}
	w.maxTag = max(w.maxTag, tagNumber(tag))
	w.pending = append(w.pending, cmd)
}

// parseFetch reads the set and the items of a FETCH: `7,9 (UID BODY.PEEK[]<0.10>)`.
func (cmd *command) parseFetch(args []byte) {
	set, items, _ := bytes.Cut(args, []byte(" "))
	if n, err := strconv.ParseUint(string(set), 10, 32); err == nil && cmd.byUID {
		cmd.uid = uint32(n)
	}
	s := strings.ToUpper(string(items))
	before, section, found := strings.Cut(s, "BODY.PEEK[")
	if !found {
		before, section, found = strings.Cut(s, "BODY[")
	}
	cmd.wantSize = strings.Contains(before, "RFC822.SIZE")
	if !found {
		return
	}
	section, after, _ := strings.Cut(section, "]")
	cmd.wantBody, cmd.section, cmd.label = true, section, "BODY["+section+"]"
	cmd.wantSize = cmd.wantSize || strings.Contains(after, "RFC822.SIZE")
	if partial, ok := strings.CutPrefix(after, "<"); ok {
		partial, _, _ = strings.Cut(partial, ">")
		offset, _, _ := strings.Cut(partial, ".")
		if n, err := strconv.ParseInt(offset, 10, 64); err == nil {
			cmd.offset = n
			cmd.label += "<" + offset + ">"
		}
	}
}

// tagNumber is the number in a tag of go-imap's, T12; 0 for any other.
func tagNumber(tag []byte) uint64 {
	if len(tag) < 2 || tag[0] != 'T' {
		return 0
	}
	n, err := strconv.ParseUint(string(tag[1:]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
