package imapwire

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Mailbox names travel in modified UTF-7 (RFC 3501 section 5.1.3). Servers also
// send raw UTF-8, Latin-1 and bare ampersands, on which go-imap ends the
// connection. The wire gives the client a well-formed spelling of such a name,
// and puts the server's own back where the client uses it.

var mutf7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// maxAliases bounds the names kept per connection.
const maxAliases = 10_000

// emitMailbox appends a mailbox name for the client.
func (w *Conn) emitMailbox(raw []byte) {
	name := canonicalMailbox(raw)
	if name != string(raw) {
		w.mu.Lock()
		if w.alias == nil {
			w.alias = make(map[string]string)
		}
		if _, taken := w.alias[name]; !taken && len(w.alias) < maxAliases {
			w.alias[name] = string(raw)
		}
		w.mu.Unlock()
	}
	w.out = appendQuoted(w.out, name)
}

// unalias returns a whole SELECT, EXAMINE or STATUS command with the mailbox
// spelled as the server spells it; anything else as it is. Callers hold mu.
func (w *Conn) unalias(p []byte) []byte {
	if len(w.alias) == 0 || len(w.cmd.line) > 0 || w.cmd.more || bytes.Count(p, []byte("\n")) != 1 {
		return p
	}
	tag, rest, _ := bytes.Cut(p, []byte(" "))
	cmd, args, _ := bytes.Cut(rest, []byte(" "))
	if !fold(cmd, "SELECT") && !fold(cmd, "EXAMINE") && !fold(cmd, "STATUS") {
		return p
	}
	d := decoder{b: args}
	name, ok := d.str()
	if !ok {
		return p
	}
	raw, ok := w.alias[string(name)]
	if !ok {
		return p
	}
	send := append([]byte(nil), tag...)
	send = append(append(append(send, ' '), cmd...), ' ')
	send = appendQuoted(send, raw)
	return append(send, args[d.i:]...)
}

// canonicalMailbox is raw in well-formed modified UTF-7.
func canonicalMailbox(raw []byte) string {
	plain := true
	for _, c := range raw {
		if c < 0x20 || c > 0x7e || c == '&' {
			plain = false
			break
		}
	}
	if plain {
		return string(raw)
	}
	name, ok := decodeMailbox(raw)
	if !ok {
		if name = string(raw); !utf8.ValidString(name) {
			runes := make([]rune, len(raw))
			for i, c := range raw {
				runes[i] = rune(c) // ISO 8859-1, the likeliest
			}
			name = string(runes)
		}
	}
	return encodeMailbox(name)
}

// decodeMailbox decodes modified UTF-7, with raw UTF-8 let through.
func decodeMailbox(raw []byte) (string, bool) {
	if !utf8.Valid(raw) {
		return "", false
	}
	var b strings.Builder
	for s := string(raw); s != ""; {
		i := strings.IndexByte(s, '&')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		shift, rest, ok := strings.Cut(s[i+1:], "-")
		if !ok {
			return "", false
		}
		s = rest
		if shift == "" {
			b.WriteByte('&')
			continue
		}
		u, err := mutf7.DecodeString(shift)
		if err != nil || len(u) == 0 || len(u)%2 != 0 {
			return "", false
		}
		units := make([]uint16, len(u)/2)
		for i := range units {
			units[i] = uint16(u[2*i])<<8 | uint16(u[2*i+1])
		}
		for _, r := range utf16.Decode(units) {
			if r == utf8.RuneError {
				return "", false
			}
			b.WriteRune(r)
		}
	}
	return b.String(), true
}

// encodeMailbox encodes modified UTF-7 as go-imap does, so that what the client
// sends for the name is what is found again.
func encodeMailbox(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); {
		if c := name[i]; 0x20 <= c && c <= 0x7e {
			b.WriteByte(c)
			if c == '&' {
				b.WriteByte('-')
			}
			i++
			continue
		}
		start := i
		for i < len(name) && (name[i] < 0x20 || name[i] > 0x7e) {
			i++
		}
		var u []byte
		for _, unit := range utf16.Encode([]rune(name[start:i])) {
			u = append(u, byte(unit>>8), byte(unit))
		}
		b.WriteString("&" + mutf7.EncodeToString(u) + "-")
	}
	return b.String()
}

// sameMailbox reports whether two names as they travel mean one mailbox, by any
// reasonable reading: case, quoting and encoding aside.
func sameMailbox(a, b []byte) bool {
	if bytes.EqualFold(a, b) {
		return true
	}
	return strings.EqualFold(canonicalMailbox(a), canonicalMailbox(b))
}
