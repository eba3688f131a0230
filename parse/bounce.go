package parse

import (
	"bytes"
	"cmp"
	"strings"
)

// reportLimit bounds what is read of a report or an invitation, in bytes.
const reportLimit = 256 << 10

// maxRecipients is how many recipients of a report are looked at.
const maxRecipients = 1000

// readBounce reads the delivery status of a bounce (RFC 3464) and the
// Message-ID of the mail that came back, else X-Failed-Recipients.
func readBounce(root *part, c *content) *Bounce {
	var b *Bounce
	for _, p := range c.leaves {
		if b == nil && p.typ.is("message", "delivery-status", "global-delivery-status") {
			b = deliveryStatus(p.start(reportLimit))
		}
	}
	if b == nil {
		if list, _, _ := addressList(root.head.get("x-failed-recipients"), "", 1); len(list) > 0 {
			b = &Bounce{FinalRecipient: list[0].Email, Action: "failed"}
		}
	}
	if b == nil {
		return nil
	}
	for _, p := range c.leaves {
		if p.typ.is("message", "rfc822", "global", "rfc822-headers", "global-headers") || p.typ.is("text", "rfc822-headers") {
			head, _ := splitHeader(p.start(reportLimit), reportLimit, nil, &defects{})
			if id := messageID(decodeWords(head.get("message-id"), "")); id != "" {
				b.OriginalMessageID = id
				break
			}
		}
	}
	return b
}

// start returns the decoded beginning of a leaf.
func (p *part) start(limit int) []byte {
	e, _ := transferEncoding(p.head.get("content-transfer-encoding"))
	return decodeTransfer(e, p.body[:min(len(p.body), 2*limit)], limit)
}

// deliveryStatus reads the groups of fields of a report and returns that of
// the first recipient who did not get the mail, else of the first recipient.
func deliveryStatus(b []byte) *Bounce {
	var first *Bounce
	for range maxRecipients {
		b = bytes.TrimLeft(b, " \t\r\n")
		head, n := splitHeader(b, reportLimit, nil, &defects{})
		if n == 0 {
			break
		}
		b = b[n:]
		one := Bounce{
			FinalRecipient: statusAddress(head),
			Action:         head.token("action"),
			Status:         statusCode(head),
			Diagnostic:     afterType(decodeWords(head.get("diagnostic-code"), "")),
		}
		switch {
		case one.Action == "failed":
			return &one
		case first == nil && one.FinalRecipient+one.Action+one.Status != "":
			first = &one
		}
	}
	return first
}

func statusAddress(head fields) string {
	v := cmp.Or(afterType(decodeWords(head.get("final-recipient"), "")), afterType(decodeWords(head.get("original-recipient"), "")))
	if email, ok := validAddress([]byte(v)); ok {
		return email
	}
	return v
}

// afterType drops the type before a semicolon: "rfc822; a@b", "smtp; 550 …".
func afterType(v string) string {
	if t, rest, ok := strings.Cut(v, ";"); ok && len(t) < 40 && strings.IndexByte(strings.TrimSpace(t), ' ') < 0 {
		return strings.TrimSpace(rest)
	}
	return v
}

// statusCode returns an RFC 3463 code without the comment behind it.
func statusCode(head fields) string {
	v := decodeWords(head.get("status"), "")
	return shorten(v[:len(v)-len(strings.TrimLeft(v, ".0123456789"))], 20)
}

// isBounce reports a mail that says another could not be delivered.
func isBounce(m *Message, root *part) bool {
	if m.Bounce != nil {
		switch m.Bounce.Action {
		case "delivered", "relayed", "expanded":
			return false
		}
		return true
	}
	if root.typ.is("multipart", "report") {
		switch strings.ToLower(root.typ.param("report-type")) {
		case "delivery-status":
			return true
		case "":
		default:
			return false // feedback-report, disposition-notification
		}
	}
	from := strings.ToLower(m.From.Email)
	if m.From.Email == UnknownSender {
		from = strings.ToLower(cmp.Or(m.FromLiteral, m.From.Name))
	}
	local, _, _ := strings.Cut(from, "@")
	switch {
	case hasAnyPrefix(local, "mailer-daemon", "mailer daemon", "mail-daemon"):
		return true
	case local == "postmaster" || strings.HasPrefix(local, "mail delivery"):
		return string(root.head.get("return-path")) == "<>" || isBounceSubject(m.Subject)
	}
	return false
}

func isBounceSubject(subject string) bool {
	return containsAny(strings.ToLower(subject),
		"undeliver", "delivery status notification", "delivery failure", "delivery failed", "mail delivery", "returned mail", "failure notice",
		"could not be delivered", "delivery has failed", "unzustellbar", "non remis", "no se puede entregar", "onbestelbaar")
}
