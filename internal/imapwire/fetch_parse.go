package imapwire

import "bytes"

// fetchLine parses one line of the list. It stops at a literal, whose size it
// returns, or at the end.
func (w *Conn) fetchLine(b []byte) (n int64, literal bool, err error) {
	f := &w.fetch
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == ' ' || c == '\t':
			i++
		case f.closed:
			return 0, false, w.fetchError("text after the end of a FETCH response")
		case c == ')' && f.depth > 0:
			f.depth--
			f.value = f.depth > 0
			i++
		case c == ')' && f.value:
			return 0, false, w.fetchError("attribute without a value in a FETCH response")
		case c == ')':
			f.closed = true
			i++
		case !f.value:
			end := attNameEnd(b, i)
			if end == i || !isLetter(c) {
				return 0, false, w.fetchError("no attribute name in a FETCH response")
			}
			f.att = f.cmd.attribute(b[i:end])
			f.value = true
			i = end
		case c == '(':
			if f.depth++; f.depth > maxFetchDepth {
				return 0, false, &LimitError{What: "list", Got: maxFetchDepth + 1, Max: maxFetchDepth}
			}
			i++
		case c == '{' || c == '~' && i+1 < len(b) && b[i+1] == '{':
			if n, _, ok := literalMark(b[i:]); ok && bytes.LastIndexByte(b, '{') <= i+1 {
				return n, true, nil
			}
			i = w.fetchValue(b, i)
		default:
			i = w.fetchValue(b, i)
		}
	}
	return 0, false, nil
}

// fetchError is an error if the response has given the client a body already;
// otherwise the response is unreadable but harmless, and dropped. It does not
// quote the line, which may be mail.
func (w *Conn) fetchError(what string) error {
	if w.fetch.sent || w.fetch.hasBody {
		return &ProtocolError{What: what}
	}
	w.fetch.broken = true
	return nil
}

// attNameEnd is the end of an attribute's name, its section included:
// BODY[HEADER.FIELDS (TO)]<0>.
func attNameEnd(b []byte, i int) int {
	for inside := false; i < len(b); i++ {
		switch b[i] {
		case '[':
			inside = true
		case ']':
			inside = false
		case ' ', '(', ')', '"', '{':
			if !inside {
				return i
			}
		}
	}
	return i
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// fetchValue takes a quoted string or an atom at b[i:] as (part of) the value of
// the current attribute, and returns where it ends.
func (w *Conn) fetchValue(b []byte, i int) int {
	f := &w.fetch
	var s []byte
	quoted := false
	end := i
	if b[i] == '"' {
		t := tokens{b: b, i: i}
		if s, quoted = t.quoted(); quoted {
			end = t.i
		}
	}
	if !quoted {
		for end < len(b) && b[end] != ' ' && b[end] != ')' && (b[end] != '(' || end == i) {
			end++
		}
		s = b[i:end]
	}
	if f.depth > 0 {
		return end
	}
	f.value = false
	switch f.att {
	case attUID:
		if n, ok := number(s); ok && n > 0 {
			f.uid = n
		}
	case attSize:
		if n, ok := number64(s); ok {
			f.size = n
		}
	case attDate:
		if quoted && isDateTime(s) {
			f.date = append(append(append(f.date[:0], '"'), s...), '"')
		}
	case attBody:
		if (quoted || fold(s, "NIL")) && !f.hasBody && !f.sent {
			f.hasBody = true
			if quoted {
				f.body = append(f.body[:0], s...)
			}
		}
	}
	return end
}

// attribute says what a name in a response is to the command: the servers' older
// and sloppier names for a section count as the section.
func (cmd *command) attribute(name []byte) fetchAtt {
	switch {
	case fold(name, "UID"):
		return attUID
	case fold(name, "RFC822.SIZE"):
		return attSize
	case fold(name, "INTERNALDATE"):
		return attDate
	case !cmd.wantBody:
		return attOther
	case fold(name, "RFC822"):
		return cmd.isSection(nil, nil)
	case fold(name, "RFC822.HEADER"):
		return cmd.isSection([]byte("HEADER"), nil)
	case fold(name, "RFC822.TEXT"):
		return cmd.isSection([]byte("TEXT"), nil)
	}
	open, end := bytes.IndexByte(name, '['), bytes.LastIndexByte(name, ']')
	if open < 0 || end < open || !fold(name[:open], "BODY") && !fold(name[:open], "BODY.PEEK") {
		return attOther
	}
	return cmd.isSection(name[open+1:end], name[end+1:])
}

// isSection compares a section and its partial marker with those asked for. Of a
// list of header fields, only that there is one counts.
func (cmd *command) isSection(section, partial []byte) fetchAtt {
	word, _ := cutWord(section)
	asked, _, _ := bytes.Cut([]byte(cmd.section), []byte(" "))
	if !bytes.EqualFold(word, asked) {
		return attOther
	}
	offset := int64(0)
	if len(partial) > 0 {
		digits, _, _ := bytes.Cut(bytes.Trim(partial, "<>"), []byte("."))
		n, ok := number64(digits)
		if !ok {
			return attOther
		}
		offset = n
	}
	if offset != max(cmd.offset, 0) {
		return attOther // other bytes than those asked for
	}
	return attBody
}

// isDateTime accepts what go-imap reads as an INTERNALDATE; on anything else it
// ends the connection. `d-Mon-yyyy hh:mm:ss ±hhmm`, the day padded or not.
func isDateTime(b []byte) bool {
	b = bytes.TrimLeft(b, " ")
	i := bytes.IndexByte(b, '-')
	if i < 1 || i > 2 || len(b) != i+len("-Jan-2006 15:04:05 -0700") {
		return false
	}
	day, ok := number(b[:i])
	mon, b := b[i+1:i+4], b[i+4:]
	year, ok1 := number(b[1:5])
	hour, ok2 := number(b[6:8])
	minute, ok3 := number(b[9:11])
	second, ok4 := number(b[12:14])
	zone, ok5 := number(b[16:20])
	if !(ok && ok1 && ok2 && ok3 && ok4 && ok5) || b[0] != '-' || b[5] != ' ' || b[8] != ':' || b[11] != ':' || b[14] != ' ' || b[15] != '+' && b[15] != '-' {
		return false
	}
	days := uint32(31)
	switch {
	case fold(mon, "FEB"):
		days = 28
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			days = 29
		}
	case fold(mon, "APR"), fold(mon, "JUN"), fold(mon, "SEP"), fold(mon, "NOV"):
		days = 30
	case fold(mon, "JAN"), fold(mon, "MAR"), fold(mon, "MAY"), fold(mon, "JUL"), fold(mon, "AUG"), fold(mon, "OCT"), fold(mon, "DEC"):
	default:
		return false
	}
	return day >= 1 && day <= days && year >= 1000 && hour < 24 && minute < 60 && second < 60 && zone < 2400 && zone%100 < 60
}
