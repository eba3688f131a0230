package publish

import "imapsync/event"

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
func sizeBound(ev *event.Event) int { return ruler(jsonLen).event(ev) }

// roughBound is sizeBound without a look at what the strings hold: most events
// are so small that this is enough to know.
func roughBound(ev *event.Event) int {
	return ruler(func(s string) int { return 6 * len(s) }).event(ev)
}

// ruler says how long a string is in JSON.
type ruler func(s string) int

func (length ruler) event(ev *event.Event) int {
	d := &ev.Payload.EmailData
	n := eventOverhead
	for _, s := range []string{
		ev.ID, ev.Type, ev.Payload.TenantID, ev.Payload.Tenant, ev.Payload.ProviderID,
		d.ID, d.Provider, d.ProviderID, d.Tenant, d.Subject, d.Body.Text, d.Body.HTML, d.ThreadID, d.InReplyTo,
		d.Importance, d.Sensitivity, d.InboundDefaultsID, d.AutoSubmitted, d.Recipient, d.Security,
	} {
		n += length(s)
	}
	n += length.address(d.From)
	for _, list := range [][]event.Address{d.To, d.Cc, d.Bcc, d.ReplyTo} {
		for _, a := range list {
			n += length.address(a)
		}
	}
	n += length.blob(d.Body.TextBlob) + length.blob(d.Body.HTMLBlob)
	for _, a := range d.Attachments {
		n += length.attachment(a)
	}
	for _, id := range d.References {
		n += length(id) + fieldOverhead
	}
	for name, value := range d.Headers {
		n += length(name) + length(value) + fieldOverhead
	}
	if d.RawMIME != nil {
		n += length.blob(&d.RawMIME.Blob)
	}
	for _, r := range d.IngressSkipReasons {
		n += length.skipReason(r)
	}
	if d.IMAP != nil {
		n += length(d.IMAP.Folder)
	}
	if b := d.Bounce; b != nil {
		n += bounceOverhead + length(b.FinalRecipient) + length(b.Action) + length(b.Status) + length(b.Diagnostic) + length(b.OriginalMessageID)
	}
	if c := d.Calendar; c != nil {
		n += calendarOverhead + length(c.Method) + length(c.UID)
	}
	if r := d.Reply; r != nil {
		n += replyOverhead + length(r.Text) + length(r.Strategy) + length(r.Confidence)
	}
	for _, defect := range d.Defects {
		n += length.defect(defect)
	}
	return n
}

func (length ruler) address(a event.Address) int {
	return pairOverhead + length(a.Email) + length(a.Name)
}

func (length ruler) defect(d event.Defect) int {
	return pairOverhead + length(d.Code) + length(d.Detail)
}

func (length ruler) skipReason(r event.SkipReason) int {
	return skipOverhead + length(r.Type) + length(r.Reason) + length(r.AttachmentID) + length(r.AttachmentName)
}

func (length ruler) attachment(a event.Attachment) int {
	return attachmentOverhead + length(a.ID) + length(a.Name) + length(a.ContentType) + length(a.ContentID) +
		length(a.SHA256) + length.blob(a.Blob) + (len(a.Content)+2)/3*4
}

func (length ruler) blob(b *event.Blob) int {
	if b == nil {
		return 0
	}
	return blobOverhead + length(b.Store) + length(b.Bucket) + length(b.Key)
}
