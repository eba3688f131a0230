package imapwire

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error says that the server exceeded a cap of Limits, or sent what no repair
// makes sense of.
type Error struct {
	Limit  bool
	Slow   bool   // a body took too long in all
	Text   string // secrets redacted
	Speaks string // of a greeting that is not IMAP: see Speaks
}

func (e *Error) Error() string { return e.Text }

func overLimit(what string, got, limit int64) error {
	return overLimitf("server sent a %s of %d bytes, over the limit of %d", what, got, limit)
}

func overLimitf(format string, args ...any) error {
	return &Error{Limit: true, Text: fmt.Sprintf(format, args...)}
}

// protocolError quotes the beginning of line, if there is anything to show.
func (w *Conn) protocolError(what string, line []byte) *Error {
	text := "protocol: " + what
	if excerpt := w.Excerpt(line); excerpt != "" {
		text = fmt.Sprintf("%s: %q", text, excerpt)
	}
	return &Error{Text: text}
}

// Status is what the server last said about itself or about a command: an
// untagged BYE, NO or BAD, or a tagged NO or BAD (RFC 3501 section 7.1).
type Status struct {
	Type    string // "BYE", "NO", "BAD"; "" when there was none
	Code    string // response code in upper case without brackets, may be ""
	Args    string // what followed the code inside the brackets
	Text    string // valid UTF-8 without control characters, secrets redacted
	Command string // the command it answers; "" when untagged
}

func (s Status) String() string {
	parts := []string{s.Type}
	if s.Code != "" {
		parts = append(parts, "["+strings.TrimSpace(s.Code+" "+s.Args)+"]")
	}
	if s.Text != "" {
		parts = append(parts, s.Text)
	}
	return strings.Join(parts, " ")
}

// maxStatusText bounds what is kept of a status text, in bytes.
const maxStatusText = 1000

const redacted = "[redacted]"

// secretForms lists the spellings in which a server may echo a secret: as it is,
// escaped in a quoted string, and inside base64 at each of the three alignments
// (less the characters that neighbouring bytes take part in).
func secretForms(secret string) []string {
	if secret == "" {
		return nil
	}
	forms := []string{secret}
	if q := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(secret); q != secret {
		forms = append(forms, q)
	}
	for pad := range 3 {
		enc := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", pad) + secret))
		from, to := 0, len(enc)
		if pad > 0 {
			from = pad + 1
		}
		if (pad+len(secret))%3 != 0 {
			to--
		}
		if to-from >= 4 {
			forms = append(forms, enc[from:to])
		}
	}
	return forms
}

// cleanText is b as it may be shown: secrets replaced, no control characters,
// valid UTF-8, bounded. Callers hold mu.
func (w *Conn) cleanText(b []byte) string {
	s := string(b)
	for _, secret := range w.secrets {
		s = replaceFold(s, secret, redacted)
	}
	if len(s) > maxStatusText {
		s = s[:maxStatusText]
	}
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// Excerpt is the beginning of a line that made no sense, as it may be shown.
func (w *Conn) Excerpt(line []byte) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.cleanText(line) // all of it: half a secret is not known for one
	if len(s) > 120 {
		s = strings.ToValidUTF8(s[:120], "") + "…"
	}
	return s
}

// replaceFold replaces every occurrence of old in s whatever the case of its
// ASCII letters.
func replaceFold(s, old, by string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if i+len(old) <= len(s) && strings.EqualFold(s[i:i+len(old)], old) {
			b.WriteString(by)
			i += len(old)
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}
