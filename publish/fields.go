package publish

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"imapsync/event"
	"imapsync/parse"
)

// A length is what one text of a mail may be long. Mail that keeps to the RFCs is
// far below; the rest is cut, with a defect.
type length struct {
	bytes int  // as it stands
	json  int  // in JSON, when the event does not fit the broker
	whole bool // half an id is another id: one that is too long goes
}

//nolint:gochecknoglobals // constants in all but syntax
var (
	idLength     = length{998, 400, true} // msg-ids, addresses: a line (RFC 5322 section 2.1.1)
	nameLength   = length{1 * kib, 200, false}
	tokenLength  = length{255, 100, false} // content types, part ids, status codes
	noteLength   = length{4 * kib, 500, false}
	folderLength = length{math.MaxInt, 1 * kib, false}
)

const (
	maxSubjectBytes = 8 * kib
	maxDetailBytes  = 500
	maxSkipReasons  = 100
	maxDefects      = 100
)

// bound cuts every field to what it may be long, and the lists that a consumer
// does not need whole. What still adds up to too much is fit's.
func (data *emailData) bound() {
	cut := false
	clip := func(s *string, most length) {
		if len(*s) > most.bytes {
			*s = shortened(*s, most, clipped(*s, most.bytes))
			cut = true
		}
	}
	if len(data.From.Email) > idLength.bytes {
		data.From.Email = parse.UnknownSender
		cut = true
	}
	tooLong := func(a event.Address) bool { return len(a.Email) > idLength.bytes }
	dropped := 0
	for _, list := range []*[]event.Address{&data.To, &data.Cc, &data.Bcc, &data.ReplyTo} {
		all := len(*list)
		*list = slices.DeleteFunc(*list, tooLong)
		dropped += all - len(*list)
		for i := range *list {
			clip(&(*list)[i].Name, nameLength)
		}
	}
	if dropped > 0 {
		data.defect(event.DefectRecipients, strconv.Itoa(dropped)+" too long")
	}
	if len(data.Subject) > maxSubjectBytes {
		data.defect(event.DefectSubject, strconv.Itoa(len(data.Subject))+" bytes")
		data.Subject = clipped(data.Subject, maxSubjectBytes)
	}
	tooLongID := func(id string) bool { return len(id) > idLength.bytes }
	if slices.ContainsFunc(data.References, tooLongID) {
		kept := slices.DeleteFunc(slices.Clone(data.References), tooLongID)
		data.defect(event.DefectReferences, strconv.Itoa(len(data.References)-len(kept))+" too long")
		data.References = kept
	}
	data.texts(clip)
	for i := range data.Attachments {
		a := &data.Attachments[i]
		a.ID = clipped(a.ID, idLength.bytes)
		clip(&a.Name, nameLength)
		clip(&a.ContentType, tokenLength)
		clip(&a.ContentID, idLength)
	}
	for i := range data.IngressSkipReasons {
		clip(&data.IngressSkipReasons[i].AttachmentID, tokenLength)
		clip(&data.IngressSkipReasons[i].AttachmentName, tokenLength)
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
		d.Code = clipped(d.Code, tokenLength.bytes)
		d.Detail = clipped(d.Detail, maxDetailBytes)
	}
	if n := len(data.Defects); n > maxDefects {
		more := event.Defect{Code: event.DefectDefects, Detail: strconv.Itoa(n-maxDefects+1) + " more"}
		data.Defects = slices.Concat(data.Defects[:maxDefects/2], []event.Defect{more}, data.Defects[n-maxDefects/2+1:])
	}
}

// shortened is a text that was cut, or nothing where it must be whole.
func shortened(s string, most length, cut string) string {
	if most.whole && len(cut) < len(s) {
		return ""
	}
	return cut
}

// clipped returns at most limit bytes of s, whole runes only.
func clipped(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.Clone(front(s, limit)) // let go of the rest
}

func front(s string, limit int) string {
	if limit >= len(s) {
		return s
	}
	limit = max(limit, 0)
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
