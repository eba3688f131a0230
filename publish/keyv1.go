package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"imapsync/parse"
)

// v1Key is the event key that version 1 gave to a mail with this header: the first
// 16 bytes of SHA-256("v1|" + Message-ID + "|" + SHA-256(Date + "|" + From)). It is
// empty where there is no Message-ID: then the key took in the whole mail.
func v1Key(raw []byte) string {
	m := parse.Parse(raw, parse.Limits{})
	id := strings.TrimSpace(m.MessageID)
	if strings.HasPrefix(id, "<") && strings.HasSuffix(id, ">") && len(id) > 1 {
		id = strings.TrimSpace(id[1 : len(id)-1])
	}
	if id = lowerDomain(id); id == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(strings.Fields(m.DateHeader), " ") + "|" + lowerDomain(m.From.Email)))
	return shortSum("v1|", id, hex.EncodeToString(sum[:]), nil)
}

func lowerDomain(s string) string {
	at := strings.LastIndexByte(s, '@') + 1
	if at == 0 {
		return s
	}
	return s[:at] + strings.ToLower(s[at:])
}
