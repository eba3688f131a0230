package publish

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// Identity says which mail some bytes are: the same in whatever folder they
// stand and under whatever UID, so that a copy, a move, a second delivery and
// a folder that was numbered anew are the same mail, and two mails that differ
// in anything a person can see are two. How it is made is frozen: a key that
// moved would publish a mail a second time. It shares nothing with package
// parse, for reading may get better.
type Identity struct {
	// MessageID is the first Message-ID, trimmed of white space, one pair of
	// angle brackets taken off, what follows its last @ in lower case. Its
	// bytes are the sender's: they may be no UTF-8.
	MessageID string
	// Dated says that there is a Date header.
	Dated bool
	// HeaderPrint is the lower-case hex SHA-256 of Date, From and Subject, and
	// of To and Cc where there is no Message-ID.
	HeaderPrint string
	// Key is the event key: 32 lower-case hex characters, the first 16 bytes of
	//
	//	SHA-256("v2|" + MessageID + "|" + HeaderPrint + "|" + content print)
	//
	// It is empty when only the header was read.
	Key string
	// HeaderKey is the event key of a mail that goes out by its header alone:
	// that of
	//
	//	SHA-256("v2h|" + MessageID + "|" + header print, To and Cc included)
	//
	// with the header as a text in place of its print where it has none of these.
	HeaderKey string
	// V1Key is what version 1 made of the header. Only IdentifyHeader gives it:
	// it is for rows that version 1 wrote, in a folder that is numbered anew.
	// It is empty where there is no Message-ID.
	V1Key string
}

// Identify reads a whole mail. It is a total function: any bytes have a key.
// It takes time in proportion to their number and keeps no copy of them.
func Identify(raw []byte) Identity {
	s := newSplitter(raw)
	top := s.walk()
	id := top.identity()
	id.Key = shortSum("v2|" + id.MessageID + "|" + id.HeaderPrint + "|" + s.print())
	return id
}

// IdentifyHeader reads a header block alone, and says of it what Identify says
// of the whole mail, but for the key.
func IdentifyHeader(header []byte) Identity {
	top, _, _ := newSplitter(header).header(0, true)
	id := top.identity()
	id.V1Key = v1Key(header)
	return id
}

func (h *header) identity() Identity {
	id := Identity{MessageID: normalID(first(h.messageID)), Dated: first(h.date) != nil}
	whole := h.print(true)
	id.HeaderPrint = whole
	if id.MessageID != "" {
		id.HeaderPrint = h.print(false)
	}
	if h.nameless() {
		l := leafSum{sum: sha256.New()}
		l.text(h.block)
		whole = string(l.end(nil))
	}
	id.HeaderKey = shortSum("v2h|" + id.MessageID + "|" + whole)
	return id
}

// print is the header print: SHA-256 over each of its fields as its length in
// decimal, a colon and its values, a line each.
func (h *header) print(recipients bool) string {
	b, text := make([]byte, 0, 512), make([]byte, 0, 256)
	add := func(values [][]byte, words bool) {
		text = text[:0]
		for i, v := range values {
			if i > 0 {
				text = append(text, '\n')
			}
			if words {
				v = undoWords(v)
			}
			text = appendOneSpace(text, v)
		}
		b = strconv.AppendInt(b, int64(len(text)), 10)
		b = append(append(b, ':'), text...)
	}
	add(h.date, false)
	add(h.from, false)
	add(h.subject, true)
	if recipients {
		add(h.to, false)
		add(h.cc, false)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func shortSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

// first is the first value that is not blank.
func first(values [][]byte) []byte {
	for _, v := range values {
		if v = bytes.Trim(v, blanks); len(v) > 0 {
			return v
		}
	}
	return nil
}

// normalID lowers the domain: hosts fold case (RFC 5321 section 2.4), local
// parts do not.
func normalID(v []byte) string {
	id := bytes.Trim(appendOneSpace(nil, v), " ")
	if len(id) > 1 && id[0] == '<' && id[len(id)-1] == '>' {
		id = bytes.Trim(id[1:len(id)-1], " ")
	}
	for i := bytes.LastIndexByte(id, '@') + 1; i > 0 && i < len(id); i++ {
		id[i] = lower(id[i])
	}
	return string(id)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// blanks are all that is white space: to Unicode's the key is blind.
const blanks = " \t\r\n"

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// appendOneSpace appends v with each run of white space made one space, those
// at its ends left off.
func appendOneSpace(dst, v []byte) []byte {
	begin := len(dst)
	for i, c := range v {
		switch {
		case !isBlank(c):
			dst = append(dst, c)
		case len(dst) > begin && i+1 < len(v) && !isBlank(v[i+1]):
			dst = append(dst, ' ')
		}
	}
	return dst
}
