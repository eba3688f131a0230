package parse

import (
	"cmp"
	"strings"
)

// readEnvelope fills the fields of m that stand in the mail's own header.
func readEnvelope(m *Message, root *part, hint string, lim Limits, ds *defects) {
	h := root.head
	m.Headers = make([]Header, len(h))
	for i, f := range h {
		m.Headers[i] = Header{Name: cleanString(string(f.name)), Value: decodeWords(f.value, hint)}
	}
	value := func(name string) string { // read without the hint: ids and dates are ASCII
		switch i := h.index(name); {
		case i < 0:
			return ""
		case isASCII(h[i].value):
			return m.Headers[i].Value
		default:
			return decodeWords(h[i].value, "")
		}
	}

	if i := h.index("subject"); i >= 0 {
		m.Subject = m.Headers[i].Value
	}
	m.MessageID = messageID(value("message-id"))
	if ids := messageIDs(value("in-reply-to")); len(ids) > 0 {
		m.InReplyTo = ids[0]
	}
	var refs []string
	for i := range h.named("references") {
		refs = append(refs, messageIDs(decodeWords(h[i].value, ""))...)
	}
	m.References = dedupe(refs)
	m.ThreadID = m.InReplyTo
	if len(m.References) > 0 {
		m.ThreadID = m.References[0]
	}

	m.DateHeader = value("date")
	switch t, ok := parseDate(m.DateHeader); {
	case ok:
		m.Date = t
	case m.DateHeader == "":
		ds.add("date_missing", "no Date header")
	default:
		ds.add("date_invalid", m.DateHeader)
	}

	list := func(name string) []Address {
		a, _ := addresses(h, name, hint, lim, ds)
		return a
	}
	from, literal := addresses(h, "from", hint, lim, ds)
	if len(from) > 0 {
		m.From = from[0]
	} else {
		raw := decodeWords(h.get("from"), hint)
		name, _, _ := strings.Cut(raw, "<")
		m.From = Address{Name: strings.Trim(name, " \t\""), Email: UnknownSender}
		m.FromLiteral = literal
		if raw == "" {
			ds.add("from_missing", "no From header")
		} else {
			ds.add("from_invalid", raw)
		}
	}
	m.To, m.Cc, m.Bcc, m.ReplyTo = list("to"), list("cc"), list("bcc"), list("reply-to")
}

// addresses reads all fields of one name as one list.
func addresses(h fields, name, hint string, lim Limits, ds *defects) (out []Address, literal string) {
	for i := range h.named(name) {
		a, l, invalid := addressList(h[i].value, hint, lim.Addresses-len(out))
		if invalid && name != "from" {
			ds.add("address_invalid", name+": "+decodeWords(h[i].value[:min(len(h[i].value), 200)], hint))
		}
		literal = cmp.Or(literal, l)
		out = append(out, a...)
		if len(out) >= lim.Addresses {
			ds.add("too_many_addresses", name)
			break
		}
	}
	return out, literal
}

// maxReferences is how many ids of a long thread are kept.
const maxReferences = 100

// messageIDs reads the msg-ids of a field (RFC 5322 section 3.6.4): those in
// angle brackets, else the words that look like one.
func messageIDs(v string) (ids []string) {
	before, v, angled := strings.Cut(v, "<")
	if !angled {
		for word := range strings.FieldsSeq(before) {
			if word = cleanID(strings.Trim(word, ",;")); strings.IndexByte(word, '@') > 0 {
				ids = append(ids, word)
			}
		}
	}
	for angled {
		end := strings.IndexAny(v, "<>")
		if end < 0 {
			end = len(v)
		}
		if id := cleanID(v[:end]); id != "" {
			ids = append(ids, id)
		}
		_, v, angled = strings.Cut(v[end:], "<")
	}
	return ids
}

// messageID reads a Message-ID: what stands in the first angle brackets, else
// the whole value.
func messageID(v string) string {
	if ids := messageIDs(v); len(ids) > 0 && strings.IndexByte(v, '<') >= 0 {
		return ids[0]
	}
	return cleanID(v)
}

// cleanID strips brackets, blanks and controls.
func cleanID(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || r == '<' || r == '>' {
			return -1
		}
		return r
	}, s)
	return shorten(s, 998)
}

// dedupe drops repeated ids and caps the list, keeping the first, which names
// the thread, and the newest, which stand last.
func dedupe(ids []string) []string {
	if len(ids) > 1 {
		seen := make(map[string]bool, len(ids))
		out := ids[:0]
		for _, id := range ids {
			if !seen[id] {
				seen[id] = true
				out = append(out, id)
			}
		}
		ids = out
	}
	if len(ids) > maxReferences {
		ids = append(ids[:1], ids[len(ids)-maxReferences+1:]...)
	}
	return ids
}
