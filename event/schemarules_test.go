package event

import "slices"

// shared are the definitions that no struct of ours has.
func shared() properties {
	return properties{
		{"time", &node{
			Type: "string", Format: "date-time", Pattern: `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,3})?Z$`,
			Description: "RFC 3339, UTC, Z.",
		}},
		{"token", &node{Type: "string", Pattern: `^[!-~]{1,128}$`, Not: &node{Pattern: `[.*>]`}}},
		{"sha256", &node{Type: "string", Pattern: `^[0-9a-f]{64}$`}},
	}
}

// eventID is a UUID of version 5.
const eventID = `^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`

// rules say what the types cannot: what a field means, and which values it has.
func rules() map[string]func(*node) {
	return map[string]func(*node){
		"Event": func(n *node) {
			n.ID, n.Title = "https://imapsync.invalid/schema/inbound-email-received.v1.json", Type
			n.Description = "One mail that arrived in a mailbox, as published to mail.inbound.v1.<tenant>.<provider>.<event key> on the stream " + StreamName +
				". Optional properties are absent, never null. Consumers ignore properties they do not know: later versions of v1 add some."
		},
		"Event.id": both(pattern(eventID),
			says("UUID v5, the same whenever the same mail of the same provider is published.")),
		"EmailData.sameMessageIdAs": both(pattern(eventID),
			says("The id of the event before it, of the same mailbox, that has the same Message-ID and is another mail.")),
		"Event.eventType":         always(Type),
		"Event.timestamp":         says("When the event was made."),
		"Payload.tenantId":        is("token", ""),
		"Payload.tenant":          is("token", "The same as tenantId."),
		"Payload.occurredAt":      says("When the event was made."),
		"Payload.providerId":      is("token", "The id of the mailbox it arrived in."),
		"Payload.emailData":       needs("providerId", "tenant", "receivedAt", "imap"),
		"EmailData.id":            both(filled, says("Message-ID without angle brackets, or imap-hash- and the event key when the mail has none.")),
		"EmailData.provider":      always("imap"),
		"EmailData.providerId":    is("token", ""),
		"EmailData.tenant":        is("token", ""),
		"EmailData.receivedAt":    says("When the server received the mail (INTERNALDATE); the Date header when that is not known. Both absent: a defect says so and this is the time of publishing."),
		"EmailData.from":          says("unknown-sender@imapsync.invalid, with a defect, when the mail names nobody."),
		"EmailData.threadId":      says("The first of references, else inReplyTo."),
		"EmailData.references":    says("Message-IDs without angle brackets, oldest first."),
		"EmailData.headers":       says("Lower-case names; values of a repeated header are joined by newlines, in order."),
		"EmailData.messageSize":   says("Bytes of the whole mail (RFC822.SIZE)."),
		"EmailData.importance":    one("low", "normal", "high"),
		"EmailData.sensitivity":   one("normal", "personal", "private", "company-confidential"),
		"EmailData.rawMime":       says("The mail as it came."),
		"EmailData.autoSubmitted": one("no", "auto-generated", "auto-replied"),
		"EmailData.recipient":     says("Who it was delivered to (Delivered-To, X-Original-To or the like)."),
		"EmailData.security":      one("smime-signed", "smime-encrypted", "pgp-signed", "pgp-encrypted"),
		"Address.email":           pattern(`^.+@.+$`),
		"Body.text":               says("The text/plain parts, or text made from the HTML; the whole of it, quotes included."),
		"Body.html":               says("As the sender wrote it: to be sanitised before it is shown."),
		"Body.textBlob":           both(needs("size"), says("The whole text, UTF-8, when a defect body_truncated says that text is cut.")),
		"Body.htmlBlob":           both(needs("size"), says("The whole HTML, UTF-8, when a defect body_truncated says that html is cut.")),
		"Attachment.id":           both(filled, says("Its part path within the mail.")),
		"Attachment.name":         filled,
		"Attachment.contentType":  filled,
		"Attachment.size":         both(above(0), says("Decoded bytes.")),
		"Attachment.isInline":     says("Shown inside the HTML by a cid: link."),
		"Attachment.sha256":       is("sha256", "Of the decoded bytes."),
		"Attachment.content":      says("The decoded bytes, only for small attachments and only when the publisher was told to."),
		"Blob.store":              always("nats"),
		"Blob.bucket":             filled,
		"Blob.key":                both(pattern(`^[^/]+/[^/]+/[0-9a-f]{64}$`), says("<tenant>/<provider>/<sha256 of the bytes>")),
		"SkipReason.type":         one("attachment", "raw_mime"),
		"SkipReason.reason":       one(SkipAttachmentBytes, SkipAttachmentCount, SkipAttachmentTotal, SkipRawMIMEBytes),
		"IMAP.folder":             filled,
		"Reply.text":              says("The new text, without the quoted part. body is always there beside it."),
		"Reply.confidence":        one("high", "medium", "low"),
		"Defect.code":             pattern(`^[a-z0-9_]+$`),
	}
}

func both(a, b func(*node)) func(*node) { return func(n *node) { a(n); b(n) } }

func says(text string) func(*node) { return func(n *node) { n.Description = text } }

func filled(n *node) { n.MinLength = 1 }

func pattern(p string) func(*node) { return func(n *node) { n.Pattern = p } }

func above(least int64) func(*node) { return func(n *node) { n.Minimum = new(least + 1) } }

func needs(names ...string) func(*node) {
	return func(n *node) { n.Required = slices.Concat(n.Required, names) }
}

func always(value string) func(*node) { return func(n *node) { *n = node{Const: value} } }

func one(of ...string) func(*node) { return func(n *node) { *n = node{Enum: of} } }

func is(definition, text string) func(*node) {
	return func(n *node) { *n = node{Ref: "#/$defs/" + definition, Description: text} }
}
