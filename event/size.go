package event

import "unicode/utf8"

// fieldOverhead is what JSON puts around one string of a list or map: quotes,
// colon or comma, more quotes.
const fieldOverhead = 6

// The JSON of each struct with all its fields empty is shorter than these;
// TestSizeBound holds them to it.
const (
	eventOverhead      = 700
	attachmentOverhead = 160
	blobOverhead       = 90
	skipOverhead       = 150
	bounceOverhead     = 110
	calendarOverhead   = 40
	replyOverhead      = 60
	pairOverhead       = 30 // Address, Defect
)

// sizeBound returns how long an event's JSON is at most, in bytes, and is
// little above what it really is. Counting is several times cheaper than
// marshalling.
func sizeBound(ev *Event) int {
	d := &ev.Payload.EmailData
	n := eventOverhead
	for _, s := range []string{
		ev.ID, ev.Type, ev.Payload.TenantID, ev.Payload.Tenant, ev.Payload.ProviderID,
		d.ID, d.Provider, d.ProviderID, d.Tenant, d.Subject, d.Body.Text, d.Body.HTML, d.ThreadID, d.InReplyTo,
		d.Importance, d.Sensitivity, d.InboundDefaultsID, d.AutoSubmitted, d.Recipient, d.Security,
	} {
		n += jsonLen(s)
	}
	n += addressLen(d.From)
	for _, list := range [][]Address{d.To, d.Cc, d.Bcc, d.ReplyTo} {
		for _, a := range list {
			n += addressLen(a)
		}
	}
	n += blobLen(d.Body.TextBlob) + blobLen(d.Body.HTMLBlob)
	for _, a := range d.Attachments {
		n += attachmentLen(a)
	}
	for _, id := range d.References {
		n += jsonLen(id) + fieldOverhead
	}
	for name, value := range d.Headers {
		n += jsonLen(name) + jsonLen(value) + fieldOverhead
	}
	if d.RawMIME != nil {
		n += blobLen(&d.RawMIME.Blob)
	}
	for _, r := range d.IngressSkipReasons {
		n += skipReasonLen(r)
	}
	if d.IMAP != nil {
		n += jsonLen(d.IMAP.Folder)
	}
	if b := d.Bounce; b != nil {
		n += bounceOverhead + jsonLen(b.FinalRecipient) + jsonLen(b.Action) + jsonLen(b.Status) + jsonLen(b.Diagnostic) + jsonLen(b.OriginalMessageID)
	}
	if c := d.Calendar; c != nil {
		n += calendarOverhead + jsonLen(c.Method) + jsonLen(c.UID)
	}
	if r := d.Reply; r != nil {
		n += replyOverhead + jsonLen(r.Text) + jsonLen(r.Strategy) + jsonLen(r.Confidence)
	}
	for _, defect := range d.Defects {
		n += defectLen(defect)
	}
	return n
}

func addressLen(a Address) int { return pairOverhead + jsonLen(a.Email) + jsonLen(a.Name) }

func defectLen(d Defect) int { return pairOverhead + jsonLen(d.Code) + jsonLen(d.Detail) }

func skipReasonLen(r SkipReason) int {
	return skipOverhead + jsonLen(r.Type) + jsonLen(r.Reason) + jsonLen(r.AttachmentID) + jsonLen(r.AttachmentName)
}

func attachmentLen(a Attachment) int {
	return attachmentOverhead + jsonLen(a.ID) + jsonLen(a.Name) + jsonLen(a.ContentType) + jsonLen(a.ContentID) +
		jsonLen(a.SHA256) + blobLen(a.Blob) + (len(a.Content)+2)/3*4
}

func blobLen(b *Blob) int {
	if b == nil {
		return 0
	}
	return blobOverhead + jsonLen(b.Store) + jsonLen(b.Bucket) + jsonLen(b.Key)
}

// jsonLen returns how long s is inside a JSON string as encoding/json writes
// it without HTML escaping.
func jsonLen(s string) int {
	n := len(s)
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 0x80:
			// U+2028 and U+2029 (e2 80 a8, e2 80 a9) are written as \u2028.
			if c == 0xe2 && i+2 < len(s) && s[i+1] == 0x80 && s[i+2]&^1 == 0xa8 {
				n += 3
			}
		case c == '"' || c == '\\':
			n++
		case c < 0x20:
			if c == '\n' || c == '\r' || c == '\t' || c == '\b' || c == '\f' {
				n++
			} else {
				n += 5
			}
		}
	}
	if !utf8.ValidString(s) {
		n += 5 * len(s) // each bad byte becomes \ufffd
	}
	return n
}
