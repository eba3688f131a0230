package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"

	"imapsync/parse"
)

// Key returns the identity of a mail: 32 lower-case hex characters, the first
// 16 bytes of
//
//	SHA-256("v1|" + messageID + "|" + Fingerprint(m))
//
// where messageID is the Message-ID trimmed of white space, one pair of angle
// brackets taken off, and what follows its last @ in lower case. It is the
// same in whatever folder the mail stands and under whatever UID, so a copy, a
// move or a second delivery is the same mail; and another mail that carries
// the same Message-ID is not.
func Key(m *parse.Message) string {
	return key(normalMessageID(m.MessageID), Fingerprint(m))
}

// HeaderKey returns the Key of a mail of which only the header was read and
// parsed. It needs a Message-ID: without one ok is false, and the key takes
// the whole mail.
func HeaderKey(header *parse.Message) (k string, ok bool) {
	id := normalMessageID(header.MessageID)
	if id == "" {
		return "", false
	}
	return key(id, headerFingerprint(header)), true
}

// identity is Key, of a mail whose attachments are measured.
func identity(m *parse.Message, files []file) string {
	id := normalMessageID(m.MessageID)
	if id == "" {
		return key("", wholeFingerprint(m, files))
	}
	return key(id, headerFingerprint(m))
}

func key(messageID, fingerprint string) string {
	sum := sha256.Sum256([]byte("v1|" + messageID + "|" + fingerprint))
	return hex.EncodeToString(sum[:16])
}

// Fingerprint tells mails apart that share a Message-ID. It is the lower-case
// hex, 64 characters, of
//
//	SHA-256(date + "|" + from)
//
// with date the Date header as it stands, runs of white space made one space,
// and from the address of From, what follows its last @ in lower case. For a
// mail without Message-ID it is
//
//	SHA-256(field(from) field(date) field(subject) field(to) field(cc) field(body))
//
// where field(s) is the length of s in bytes in decimal, a colon and s; to and
// cc are their addresses, in order, lower case after @, joined by commas; and
// body is the hex of SHA-256 over the decoded HTML, or the decoded text when
// there is none, followed by the 32 bytes of each attachment's SHA-256.
func Fingerprint(m *parse.Message) string {
	if normalMessageID(m.MessageID) != "" {
		return headerFingerprint(m) // no attachment needs to be read
	}
	return wholeFingerprint(m, measure(m, Limits{}))
}

func wholeFingerprint(m *parse.Message, files []file) string {
	body := sha256.New()
	if m.HTML != "" {
		_, _ = io.WriteString(body, m.HTML)
	} else {
		_, _ = io.WriteString(body, m.Text)
	}
	for _, f := range files {
		_, _ = body.Write(f.sum[:])
	}
	h := sha256.New()
	field(h, normalAddress(m.From.Email))
	field(h, oneSpace(m.DateHeader))
	field(h, m.Subject)
	field(h, addressList(m.To))
	field(h, addressList(m.Cc))
	field(h, hex.EncodeToString(body.Sum(nil)))
	return hex.EncodeToString(h.Sum(nil))
}

func headerFingerprint(m *parse.Message) string {
	sum := sha256.Sum256([]byte(oneSpace(m.DateHeader) + "|" + normalAddress(m.From.Email)))
	return hex.EncodeToString(sum[:])
}

func field(h hash.Hash, s string) { _, _ = fmt.Fprintf(h, "%d:%s", len(s), s) }

func oneSpace(s string) string { return strings.Join(strings.Fields(s), " ") }

func addressList(list []parse.Address) string {
	emails := make([]string, len(list))
	for i, a := range list {
		emails[i] = normalAddress(a.Email)
	}
	return strings.Join(emails, ",")
}

func normalMessageID(id string) string {
	id = strings.TrimSpace(id)
	if strings.HasPrefix(id, "<") && strings.HasSuffix(id, ">") && len(id) > 1 {
		id = strings.TrimSpace(id[1 : len(id)-1])
	}
	return normalAddress(id)
}

// normalAddress lowers the domain: hosts fold case (RFC 5321 section 2.4),
// local parts do not.
func normalAddress(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return s
	}
	domain := s[at+1:]
	lower := strings.ToLower(domain)
	if lower == domain {
		return s
	}
	return s[:at+1] + lower
}

// v1Key is the event key that version 1 gave to a mail with this header, empty
// where there is no Message-ID: then the key took the whole mail.
func v1Key(raw []byte) string {
	k, _ := HeaderKey(parse.Parse(raw, parse.Limits{}))
	return k
}
