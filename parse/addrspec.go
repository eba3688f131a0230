package parse

import (
	"bytes"
	"net/netip"
	"strings"
)

// validAddress returns an addr-spec that is syntactically valid, made from
// what a sender wrote for one.
func validAddress(v []byte) (string, bool) {
	v = bytes.Trim(v, " \t\r\n<>'\"")
	if hasPrefixFold(v, "mailto:") {
		v = v[len("mailto:"):]
	}
	at := bytes.LastIndexByte(v, '@')
	if at <= 0 || at == len(v)-1 || len(v) > 998 {
		return "", false
	}
	if bytes.IndexByte(v, '(') >= 0 && v[0] != '"' {
		v = []byte(stripComments(string(v)))
	}
	s := cleanString(decodeWords(v, ""))
	at = strings.LastIndexByte(s, '@')
	if at <= 0 {
		return "", false
	}
	local, domain := strings.TrimSpace(s[:at]), strings.TrimSpace(s[at+1:])
	domain, ok := validDomain(domain)
	if !ok {
		return "", false
	}
	if len(local) > 1 && local[0] == '"' && local[len(local)-1] == '"' {
		local = unescape(local[1 : len(local)-1])
	}
	if local == "" {
		return "", false
	}
	if !isDotAtom(local) {
		local = quoteString(local)
	}
	if local == s[:at] && domain == s[at+1:] {
		return s, true
	}
	return local + "@" + domain, true
}

func validDomain(d string) (string, bool) {
	if strings.HasPrefix(d, "[") && strings.HasSuffix(d, "]") {
		_, err := netip.ParseAddr(d[1 : len(d)-1])
		return d, err == nil
	}
	for strings.Contains(d, "..") {
		d = strings.ReplaceAll(d, "..", ".")
	}
	d = strings.Trim(d, ".'>")
	return d, isDotAtom(d)
}

// isDotAtom reports RFC 5322 dot-atom-text, with the UTF-8 of RFC 6532.
func isDotAtom(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") || strings.ContainsRune(s, '\uFFFD') {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || strings.IndexByte("()<>[]:;@\\,\"", c) >= 0 {
			return false
		}
	}
	return true
}

func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

var quoting = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// quoteString makes s a quoted string (RFC 5322 section 3.2.4).
func quoteString(s string) string { return `"` + quoting.Replace(s) + `"` }

// unquoteLocal gives an address as net/mail does: the local part bare.
func unquoteLocal(email string) string {
	at := strings.LastIndexByte(email, '@')
	if email[0] != '"' || at < 2 {
		return email
	}
	return unescape(email[1:at-1]) + email[at:]
}

func stripComments(s string) string {
	if strings.IndexByte(s, '(') < 0 {
		return s
	}
	var b strings.Builder
	depth := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '(':
			depth++
		case c == ')':
			depth = max(0, depth-1)
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}
