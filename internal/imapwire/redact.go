package imapwire

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

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
	s := w.cleanText(line[:min(len(line), 4*maxStatusText)])
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
