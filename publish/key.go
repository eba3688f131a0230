package publish

import (
	"bytes"
	"cmp"
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
	content := s.print()
	id.Key = shortSum("v2|", id.MessageID, id.HeaderPrint, content[:])
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
	id := Identity{MessageID: normalID(h.messageID.first()), Dated: h.date.first() != nil}
	b := make([]byte, 0, 512)
	b = appendField(b, h.date.list, false)
	b = appendField(b, h.from.list, false)
	b = appendField(b, h.subject.list, true)
	if id.MessageID != "" {
		id.HeaderPrint = hexSum(b)
	}
	b = appendField(b, h.to.list, false)
	b = appendField(b, h.cc.list, false)
	whole := hexSum(b)
	id.HeaderPrint = cmp.Or(id.HeaderPrint, whole)
	if h.nameless() {
		var l leafSum
		l.begin(true)
		l.text(h.block)
		whole = string(l.end(nil))
	}
	id.HeaderKey = shortSum("v2h|", id.MessageID, whole, nil)
	return id
}

// Telling reports whether the header says which mail it is: it has both a Message-ID
// and a Date. A scanner that gives all of its mail one Message-ID and no Date makes
// many of one header.
func (id *Identity) Telling() bool { return id.MessageID != "" && id.Dated }

// KeyByHeader is the event key of a mail that goes out by its header, of so many bytes
// on the server: where the header does not tell which mail it is, they count too.
func (id *Identity) KeyByHeader(size int64) string {
	if id.Telling() {
		return id.HeaderKey
	}
	return id.SizedHeaderKey(size)
}

// SizedHeaderKey is the event key of a mail that goes out by its header where another
// mail has that header.
func (id *Identity) SizedHeaderKey(size int64) string {
	return shortSum("v2h|", id.HeaderKey, strconv.FormatInt(size, 10), nil)
}

// appendField appends what of a header is hashed: a field's length in decimal, a
// colon and its values, a line each; with their encoded words undone if words is set.
func appendField(b []byte, values [][]byte, words bool) []byte {
	text := make([]byte, 0, 256)
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
	return append(append(b, ':'), text...)
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

// shortSum is the key of a version, an id and prints.
func shortSum(version, id, header string, content []byte) string {
	b := append(append(append(append(make([]byte, 0, 512), version...), id...), '|'), header...)
	if content != nil {
		b = append(append(b, '|'), content...)
	}
	return hexSum(b)[:32]
}

// normalID lowers the domain: hosts fold case (RFC 5321 section 2.4), local
// parts do not.
func normalID(v []byte) string {
	id := appendOneSpace(make([]byte, 0, 256), v)
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
