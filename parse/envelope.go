package parse

import (
	"cmp"
	"math"
	"strings"
)

// readEnvelope fills the fields of m that stand in the mail's own header.
func readEnvelope(m *Message, root *part, hint string, lim Limits, ds *defects) {
	h := root.head
	m.Headers = headerList(h, hint)
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
	if ids := messageIDs(value("in-reply-to"), 1); len(ids) > 0 {
		m.InReplyTo = ids[0]
	}
	var refs []string
	for i := range h.named("references") {
		refs = append(refs, messageIDs(decodeWords(h[i].value, ""), math.MaxInt)...)
	}
	m.References = dedupe(refs)
	if len(m.References) > 0 {
		m.ThreadID = m.References[0]
	} else {
		m.ThreadID = m.InReplyTo
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

// headerList decodes every field.
func headerList(h fields, hint string) []Header {
	list := make([]Header, len(h))
	for i, f := range h {
		list[i] = Header{Name: cleanString(string(f.name)), Value: decodeWords(f.value, hint)}
	}
	return list
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
