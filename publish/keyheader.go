package publish

import "bytes"

// header holds the values of the fields that the key looks at, folded and
// encoded as they stand.
type header struct {
	messageID, date, from, subject, to, cc values
	contentType, transferEncoding          values

	block []byte // all of it
}

// values are those of all fields of one name, which most often is one.
type values struct {
	list [][]byte
	one  [1][]byte
}

func (v *values) add(value []byte) {
	if v.list == nil {
		v.list = v.one[:0]
	}
	v.list = append(v.list, value)
}

// first is the first value that is not blank.
func (v *values) first() []byte {
	for _, value := range v.list {
		if value = bytes.Trim(value, blanks); len(value) > 0 {
			return value
		}
	}
	return nil
}

// nameless reports whether the header says nothing of the mail.
func (h *header) nameless() bool {
	for _, v := range []*values{&h.messageID, &h.date, &h.from, &h.subject, &h.to, &h.cc} {
		if v.list != nil {
			return false
		}
	}
	return true
}

// keep notes the value of a field that the key looks at.
func (h *header) keep(name, value []byte) *values {
	var list *values
	switch {
	case foldedEqual(name, "message-id"):
		list = &h.messageID
	case foldedEqual(name, "date"):
		list = &h.date
	case foldedEqual(name, "from"):
		list = &h.from
	case foldedEqual(name, "subject"):
		list = &h.subject
	case foldedEqual(name, "to"):
		list = &h.to
	case foldedEqual(name, "cc"):
		list = &h.cc
	case foldedEqual(name, "content-type"):
		list = &h.contentType
	case foldedEqual(name, "content-transfer-encoding"):
		list = &h.transferEncoding
	default:
		return nil
	}
	list.add(value)
	return list
}

// foldedEqual compares with a name in lower case.
func foldedEqual(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i, c := range b {
		if lower(c) != name[i] {
			return false
		}
	}
	return true
}

// header reads the header block that begins at start, up to a blank line or to
// a boundary around it. body is where it ends. A line in it that is no field is
// at stray, which else is -1: what a reader takes such a line for, the begin of
// the text or nothing, the key cannot know. Without a blank line stray is body.
func (s *splitter) header(start int, mail bool) (h *header, body, stray int) {
	h, stray = &header{}, -1
	defer func() { h.block = s.raw[start:body] }()
	var list *values // where the field stands that may go on
	value := 0       // where its value begins
	note := func(at int) {
		if list = nil; stray < 0 {
			stray = at
		}
	}
	for pos := start; pos < len(s.raw); {
		next := s.lineEnd(pos)
		line := s.raw[pos:next]
		for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
			line = line[:len(line)-1]
		}
		colon := fieldName(line)
		switch {
		case len(line) == 0:
			return h, next, stray
		case s.delimits(line):
			note(pos)
			return h, pos, stray
		case bytes.IndexByte(line, '\r') >= 0:
			note(pos)
		case line[0] == ' ' || line[0] == '\t':
			if len(bytes.TrimLeft(line, blanks)) == 0 || pos == start {
				note(pos) // some take it for the blank line
			} else if list != nil {
				list.list[len(list.list)-1] = s.raw[value : pos+len(line)]
			}
		case colon > 0:
			value = pos + colon + 1
			list = h.keep(bytes.TrimRight(line[:colon], " \t"), s.raw[value:pos+len(line)])
		case mail && pos == start && s.isMbox(line, next):
		default:
			note(pos)
		}
		pos = next
	}
	if stray < 0 {
		stray = len(s.raw)
	}
	return h, len(s.raw), stray
}

func (s *splitter) delimits(line []byte) bool {
	level, _ := s.match(line)
	return level >= 0
}

// fieldName returns where the colon after the name of a field stands, else -1.
func fieldName(line []byte) int {
	i := 0
	for i < len(line) && line[i] > ' ' && line[i] < 0x7f && line[i] != ':' {
		i++
	}
	if i == 0 {
		return -1
	}
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	if i < len(line) && line[i] == ':' {
		return i
	}
	return -1
}

// isMbox reports whether the first line of a mail is the mark of an mbox file,
// which is the delivery's and not the mail's: a field follows it.
func (s *splitter) isMbox(line []byte, next int) bool {
	line = bytes.TrimPrefix(line, []byte(">"))
	return bytes.HasPrefix(line, []byte("From ")) && fieldName(s.raw[next:s.lineEnd(next)]) > 0
}

// undoWords returns v with its encoded words (RFC 2047) undone to the bytes that
// they stand for, whatever they say of their charset, and with nothing between
// two of them.
func undoWords(v []byte) []byte {
	if !bytes.Contains(v, []byte("=?")) {
		return v
	}
	out := make([]byte, 0, len(v))
	word := false // what stands before the blanks at v is an encoded word
	end := 0      // of the words at v, how far off the next one ends; looked for once each
	for at := 0; at < len(v); {
		gap := at
		for gap < len(v) && isBlank(v[gap]) {
			gap++
		}
		if text := beginOfWord(v, gap); text > 0 {
			if end < text {
				if end = bytes.Index(v[text:], []byte("?=")); end < 0 {
					return append(out, v[at:]...) // there is no word any more
				}
				end += text
			}
			if !word {
				out = append(out, v[at:gap]...)
			}
			out = appendWord(out, v[text:end], lower(v[text-2]))
			at, word = end+2, true
			continue
		}
		next := gap + 1
		for next < len(v) && !isBlank(v[next]) && v[next] != '=' {
			next++
		}
		next = min(next, len(v))
		out = append(out, v[at:next]...)
		at, word = next, false
	}
	return out
}

// maxCharset is how long the label of an encoded word may be.
const maxCharset = 75

// beginOfWord returns where the text of the encoded word at v[at:] begins, or 0
// when none begins there.
func beginOfWord(v []byte, at int) int {
	if !bytes.HasPrefix(v[at:], []byte("=?")) {
		return 0
	}
	label := v[at+2 : min(len(v), at+2+maxCharset)]
	n := bytes.IndexByte(label, '?')
	if n <= 0 || bytes.ContainsAny(label[:n], blanks) {
		return 0
	}
	text := at + 2 + n + 3
	if text > len(v) || v[text-1] != '?' {
		return 0
	}
	if e := lower(v[text-2]); e != 'b' && e != 'q' {
		return 0
	}
	return text
}

func appendWord(dst, text []byte, encoding byte) []byte {
	if encoding == 'b' {
		var d base64Decoder
		return d.end(d.append(dst, text))
	}
	for len(text) > 0 {
		var c byte
		if c, text = unescape(text); c == '_' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return dst
}
