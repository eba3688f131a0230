package imapwire

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// untaggedStatus passes on BYE and the codes that the client reads (RFC 3501
// section 7.1). An untagged NO or BAD is a warning, remembered alone.
func (w *Conn) untaggedStatus(st statusLine) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch st.typ {
	case "BYE":
		if w.leaving {
			return nil
		}
		w.note(st, "")
	case "NO", "BAD":
		w.note(st, "")
		return nil
	case "PREAUTH":
		return nil
	case "OK":
		if !hasNumber(st.code) && !fold(st.code, "CAPABILITY") && !fold(st.code, "CLOSED") {
			return nil
		}
	}
	w.out = append(w.out, "* "...)
	w.emitStatus(st)
	return nil
}

// hasNumber reports whether a response code is one that tells the client a number.
func hasNumber(code []byte) bool {
	return fold(code, "UIDNEXT") || fold(code, "UIDVALIDITY")
}

// note remembers a status. Callers hold mu.
func (w *Conn) note(st statusLine, command string) {
	if w.status.Command == "LOGIN" || w.status.Command == "AUTHENTICATE" {
		return // the login was refused: what else was sent along is so too
	}
	w.status = Status{
		Type:    st.typ,
		Code:    strings.ToUpper(w.cleanText(st.code)),
		Args:    w.cleanText(st.args),
		Text:    w.cleanText(st.text),
		Command: command,
	}
}

// emitStatus writes a status line from its type on. Callers hold mu.
func (w *Conn) emitStatus(st statusLine) {
	w.out = append(w.out, st.typ...)
	switch {
	case fold(st.code, "CAPABILITY"):
		w.out = append(w.out, " [CAPABILITY"...)
		w.emitCapabilities(st.args)
		w.out = append(w.out, ']')
	case hasNumber(st.code):
		if item, value, ok := statusItem(st.code, st.args); ok {
			w.out = fmt.Appendf(w.out, " [%s %s]", item, value)
		}
	case isAtom(st.code) && !fold(st.code, "COPYUID") && !fold(st.code, "APPENDUID") && !fold(st.code, "PERMANENTFLAGS"):
		w.out = fmt.Appendf(w.out, " [%s]", bytes.ToUpper(st.code))
	}
	if st.typ != "OK" && len(st.text) > 0 {
		if text := w.cleanText(st.text); text != "" {
			w.out = append(w.out, ' ')
			if text[0] == '[' || text[0] == '(' {
				w.out = append(w.out, ' ') // else it reads as a code
			}
			w.out = append(w.out, text...)
		}
	} else {
		w.out = append(w.out, " done"...)
	}
	w.out = append(w.out, "\r\n"...)
}

// emitCapabilities writes the capabilities (RFC 3501 section 7.2.1) that are
// atoms. IMAP4rev2 beside IMAP4rev1 must not count before
// ENABLE (RFC 9051 appendix E); go-imap would at once send names in UTF-8.
func (w *Conn) emitCapabilities(b []byte) {
	rev1 := false
	for word, rest := cutWord(b); word != nil; word, rest = cutWord(rest) {
		rev1 = rev1 || fold(word, "IMAP4REV1")
	}
	for word, rest := cutWord(b); word != nil; word, rest = cutWord(rest) {
		if isAtom(word) && !(rev1 && fold(word, "IMAP4REV2")) {
			w.out = append(append(w.out, ' '), word...)
		}
	}
}

// statusLine is a status response, its parts still in the socket buffer.
type statusLine struct {
	typ  string
	code []byte
	args []byte
	text []byte
}

var bracketed = regexp.MustCompile(`^\[([^]"]|"[^"]*")*\]`)

// parseStatus reads `OK [CODE args] text`. A bracket that never closes, or a
// code that is no word, counts as text.
func parseStatus(b []byte) (st statusLine, ok bool) {
	word, rest := cutWord(b)
	for _, typ := range [...]string{"OK", "NO", "BAD", "BYE", "PREAUTH"} {
		if fold(word, typ) {
			st.typ = typ
		}
	}
	if st.typ == "" {
		return st, false
	}
	st.text = bytes.TrimSpace(rest)
	if len(st.text) == 0 || st.text[0] != '[' {
		return st, true
	}
	end := len(bracketed.Find(st.text)) - 1
	if end < 0 {
		end = bytes.IndexByte(st.text, ']') // an odd number of quotes
	}
	if end < 0 {
		return st, true
	}
	code, args := st.text[1:end], []byte(nil)
	if i := bytes.IndexAny(code, " ="); i >= 0 {
		code, args = code[:i], bytes.TrimSpace(code[i+1:])
	}
	if isAtom(code) {
		st.code, st.args, st.text = code, args, bytes.TrimSpace(st.text[end+1:])
	}
	return st, true
}
