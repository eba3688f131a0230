package imapwire

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Mailbox names travel in modified UTF-7 (RFC 3501 section 5.1.3). Servers also
// send raw UTF-8, Latin-1, bare ampersands and encodings of their own kind, on which
// go-imap ends the connection, or which it spells otherwise when it asks for them. The
// wire gives the client a well-formed spelling of such a name, and puts the server's
// own back where the client uses it.

var mutf7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// The names kept per connection, and the longest of them.
const (
	maxAliases   = 20_000
	maxAliasSize = 4 << 10
)

// emitMailbox writes a name as the client can read it, and remembers how the server
// spells it. Of those that read alike the later stay encoded, or get their bytes written
// out, so that each is asked for.
func (w *Conn) emitMailbox(raw []byte) {
	name := canonicalMailbox(raw)
	if strings.Contains(name, "&") && len(raw) <= maxAliasSize { // any other is spelled in one way
		w.mu.Lock()
		free := func(name string) bool {
			known, taken := w.alias[name]
			return !taken || known == string(raw)
		}
		if !free(name) {
			name = encodeMailbox(readableMailbox(raw))
		}
		if !free(name) {
			name = encodeMailbox(strings.Trim(strconv.QuoteToASCII(string(raw)), `"`))
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
		raw, ok = w.alias[canonicalMailbox(name)] // IMAP4rev2 has names in UTF-8
	}
	if !ok || raw == string(name) {
		return p
	}
	send := appendQuoted(fmt.Appendf(nil, "%s %s ", tag, cmd), raw)
	return append(send, args[d.i:]...)
}

// canonicalMailbox is raw in well-formed modified UTF-7. What encodes nothing but what
// stands for itself stays as it is: it must not be taken for the folder of that name.
func canonicalMailbox(raw []byte) string {
	if !bytes.ContainsFunc(raw, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '&' }) {
		return string(raw)
	}
	name, ok := decodeMailbox(raw)
	if encoded := encodeMailbox(name); ok && strings.Contains(encoded, "&") {
		return encoded
	}
	return encodeMailbox(readableMailbox(raw))
}

// readableMailbox is a name as it travels, with nothing decoded.
func readableMailbox(raw []byte) string {
	if utf8.Valid(raw) {
		return string(raw)
	}
	runes := make([]rune, len(raw))
	for i, c := range raw {
		runes[i] = rune(c) // ISO 8859-1, the likeliest
	}
	return string(runes)
}

// DecodeMailbox is a name as people write it, if it is one in modified UTF-7, as other
// programs show it.
func DecodeMailbox(name string) (string, bool) { return decodeMailbox([]byte(name)) }

var (
	shifted   = regexp.MustCompile("&[^-]*-?")
	unprinted = regexp.MustCompile("[^ -~]+")
)

// decodeMailbox decodes modified UTF-7, with raw UTF-8 let through.
func decodeMailbox(raw []byte) (name string, ok bool) {
	ok = utf8.Valid(raw)
	name = shifted.ReplaceAllStringFunc(string(raw), func(s string) string {
		s, closed := strings.CutSuffix(s[1:], "-")
		if closed && s == "" {
			return "&"
		}
		u, err := mutf7.DecodeString(s)
		if !closed || err != nil || len(u) == 0 || len(u)%2 != 0 {
			ok = false
			return ""
		}
		var units []uint16
		for unit := range slices.Chunk(u, 2) {
			units = append(units, binary.BigEndian.Uint16(unit))
		}
		text := string(utf16.Decode(units))
		ok = ok && !strings.ContainsRune(text, utf8.RuneError)
		return text
	})
	return name, ok
}

// encodeMailbox encodes modified UTF-7 as go-imap does, so that what the client
// sends for the name is what is found again.
func encodeMailbox(name string) string {
	return unprinted.ReplaceAllStringFunc(strings.ReplaceAll(name, "&", "&-"), func(s string) string {
		var u []byte
		for _, unit := range utf16.Encode([]rune(s)) {
			u = binary.BigEndian.AppendUint16(u, unit)
		}
		return "&" + mutf7.EncodeToString(u) + "-"
	})
}

// sameMailbox reports whether two names as they travel mean one mailbox, by any
// reasonable reading: case, quoting and encoding aside.
func sameMailbox(a, b []byte) bool {
	if bytes.EqualFold(a, b) {
		return true
	}
	return strings.EqualFold(canonicalMailbox(a), canonicalMailbox(b))
}
