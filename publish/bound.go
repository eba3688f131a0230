package publish

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"imapsync/event"
	"imapsync/parse"
)

// What single fields may be long, in bytes. Mail that keeps to the RFCs is far
// below; the rest is cut, with a defect.
const (
	maxIDBytes      = 998 // msg-ids, addresses: a line (RFC 5322 section 2.1.1)
	maxNameBytes    = 1 * kib
	maxSubjectBytes = 8 * kib
	maxTokenBytes   = 255 // content types, part ids, status codes
	maxDetailBytes  = 500
	maxNoteBytes    = 4 * kib // diagnostics
	maxSkipReasons  = 100
	maxDefects      = 100
)

// bound cuts every single field to what it may be long, and the lists that a
// consumer does not need whole. What still adds up to too much is fit's.
func (data *emailData) bound() {
	cut := false
	clip := func(s *string, limit int) {
		if len(*s) > limit {
			*s = clipped(*s, limit)
			cut = true
		}
	}
	drop := func(s *string) { // half an id is another id
		if len(*s) > maxIDBytes {
			*s = ""
			cut = true
		}
	}
	if len(data.From.Email) > maxIDBytes {
		data.From.Email = parse.UnknownSender
		cut = true
	}
	clip(&data.From.Name, maxNameBytes)
	dropped := 0
	for _, list := range []*[]event.Address{&data.To, &data.Cc, &data.Bcc, &data.ReplyTo} {
		kept := (*list)[:0]
		for _, a := range *list {
			if len(a.Email) > maxIDBytes {
				dropped++
				continue
			}
			clip(&a.Name, maxNameBytes)
			kept = append(kept, a)
		}
		*list = kept
	}
	if dropped > 0 {
		data.defect(event.DefectRecipients, strconv.Itoa(dropped)+" too long")
	}
	if len(data.Subject) > maxSubjectBytes {
		data.defect(event.DefectSubject, strconv.Itoa(len(data.Subject))+" bytes")
		data.Subject = clipped(data.Subject, maxSubjectBytes)
	}
	long := 0
	for _, id := range data.References {
		if len(id) > maxIDBytes {
			long++
		}
	}
	if long > 0 {
		data.defect(event.DefectReferences, strconv.Itoa(long)+" too long")
		kept := make([]string, 0, len(data.References)-long)
		for _, id := range data.References {
			if len(id) <= maxIDBytes {
				kept = append(kept, id)
			}
		}
		data.References = kept
	}
	drop(&data.ThreadID)
	drop(&data.InReplyTo)
	drop(&data.Recipient)
	for i := range data.Attachments {
		a := &data.Attachments[i]
		clip(&a.ID, maxIDBytes)
		clip(&a.Name, maxNameBytes)
		clip(&a.ContentType, maxTokenBytes)
		drop(&a.ContentID)
	}
	clip(&data.Importance, maxTokenBytes)
	clip(&data.Sensitivity, maxTokenBytes)
	clip(&data.AutoSubmitted, maxTokenBytes)
	clip(&data.Security, maxTokenBytes)
	if b := data.Bounce; b != nil {
		drop(&b.FinalRecipient)
		drop(&b.OriginalMessageID)
		clip(&b.Action, maxTokenBytes)
		clip(&b.Status, maxTokenBytes)
		clip(&b.Diagnostic, maxNoteBytes)
	}
	if c := data.Calendar; c != nil {
		clip(&c.Method, maxTokenBytes)
		drop(&c.UID)
	}
	if r := data.Reply; r != nil {
		clip(&r.Strategy, maxTokenBytes)
		clip(&r.Confidence, maxTokenBytes)
	}
	for i := range data.IngressSkipReasons {
		r := &data.IngressSkipReasons[i]
		clip(&r.AttachmentID, maxTokenBytes)
		clip(&r.AttachmentName, maxTokenBytes)
	}
	if n := len(data.IngressSkipReasons); n > maxSkipReasons {
		data.defect(event.DefectSkipReasons, strconv.Itoa(n-maxSkipReasons)+" more")
		data.IngressSkipReasons = data.IngressSkipReasons[:maxSkipReasons]
	}
	if cut {
		data.defect(event.DefectFields, "")
	}
	data.boundDefects()
}

// boundDefects cuts the list from its middle: the first say what the mail is
// like, the last are of this package.
func (data *emailData) boundDefects() {
	for i := range data.Defects {
		d := &data.Defects[i]
		d.Code = clipped(d.Code, maxTokenBytes)
		d.Detail = clipped(d.Detail, maxDetailBytes)
	}
	if n := len(data.Defects); n > maxDefects {
		more := event.Defect{Code: event.DefectDefects, Detail: strconv.Itoa(n-maxDefects+1) + " more"}
		first, last := data.Defects[:maxDefects/2], data.Defects[n-maxDefects/2+1:]
		data.Defects = append(append(append([]event.Defect(nil), first...), more), last...)
	}
}

// clipped returns at most limit bytes of s, whole runes only.
func clipped(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	limit = max(limit, 0)
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return strings.Clone(s[:limit]) // let go of the rest
}
