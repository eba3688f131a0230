package publish

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"imapsync/event"
	"imapsync/parse"
)

// maxExact is the largest number up to which every whole number is one of JavaScript's.
const maxExact = 1 << 53

// Delivery is what is known of a mail beside its bytes.
type Delivery struct {
	Tenant            string
	ProviderID        string
	InboundDefaultsID string

	Folder       string
	UID          uint32
	UIDValidity  uint64
	InternalDate time.Time // when the server received it; zero when unknown
	Size         int64     // bytes, RFC822.SIZE; 0 takes the length of Raw

	OccurredAt time.Time // now, by the caller's clock

	// Raw is the mail as it came, nil when it was not downloaded. It is kept
	// as a blob when KeepRaw is set, and when the event cannot hold all of it.
	Raw     []byte
	KeepRaw bool

	// Key is the event key, where it is known already or is not Identify's of
	// Raw, as of a mail whose header alone was read.
	Key string

	SameMessageIDAs string             // the id of the event before it with this Message-ID; "" for none
	Skipped         []event.SkipReason // what was not even downloaded
	Defects         []event.Defect     // what went wrong before parsing
}

// Mail is the event of one mail, ready to be published. The event must not be
// changed any more.
type Mail struct {
	*event.Event

	// Lost says that the stream has lost this event: it is published past the
	// broker's window of message ids, which would take it for a duplicate. That
	// the stream has no such subject still decides.
	Lost bool `json:"-"`

	tenant, provider, key string

	json []byte // of the event; nil when it is not at hand
	puts []put  // the blobs that the event names
}

// New returns the event of one mail. It is pure: the blobs it names are put by
// Publisher.StoreBlobs.
func New(m *parse.Message, d Delivery, lim Limits) *Mail {
	lim = lim.withDefaults()
	files := measure(m, lim)
	k := d.Key
	if k == "" {
		k = Identify(d.Raw).Key
	}
	occurred, internal := utc(d.OccurredAt), utc(d.InternalDate)
	ev := &event.Event{
		ID: event.ID(d.Tenant, d.ProviderID, k), Type: event.Type, Timestamp: occurred, Key: k,
		Payload: event.Payload{TenantID: d.Tenant, Tenant: d.Tenant, OccurredAt: occurred, ProviderID: d.ProviderID},
	}
	data := (*emailData)(&ev.Payload.EmailData)
	*data = emailData(emailDataOf(m, files, d))
	data.ID = emailID(m, k)
	data.ProviderID, data.Tenant = d.ProviderID, d.Tenant
	data.InboundDefaultsID = d.InboundDefaultsID
	for i := range data.Attachments {
		a := &data.Attachments[i]
		a.Blob = blob(d, lim, a.SHA256, 0)
	}
	data.IMAP = &event.IMAP{Folder: d.Folder, UID: d.UID, UIDValidity: d.UIDValidity, InternalDate: internal}
	if d.UIDValidity > maxExact {
		data.IMAP.UIDValidityText = strconv.FormatUint(d.UIDValidity, 10)
	}
	data.ReceivedAt = internal
	if data.ReceivedAt.IsZero() {
		data.ReceivedAt = utc(m.Date)
	}
	if data.ReceivedAt.IsZero() {
		data.ReceivedAt = occurred
		data.defect(event.DefectReceivedAt, "neither the mail nor the server says when")
	}
	if data.SameMessageIDAs = d.SameMessageIDAs; d.SameMessageIDAs != "" {
		data.defect(event.DefectMessageIDReused, "")
	}
	if d.KeepRaw {
		data.keepRaw(d, lim)
	}
	mail := &Mail{Event: ev, tenant: d.Tenant, provider: d.ProviderID, key: k}
	mail.fit(d, lim)
	mail.nameBlobs(m, slices.DeleteFunc(files, func(f file) bool { return f.size == 0 || f.over != "" }), d.Raw)
	return mail
}

// EmailDataFrom returns the emailData of a mail that came from no server: the
// same as in the event, but that blobs are absent and nothing is cut to fit a
// broker.
func EmailDataFrom(m *parse.Message, raw []byte, lim Limits) event.EmailData {
	data := emailDataOf(m, measure(m, lim.withDefaults()), Delivery{Raw: raw})
	data.ID = emailID(m, Identify(raw).Key)
	data.ReceivedAt = utc(m.Date)
	return data
}

// emailData is event.EmailData while it is made.
type emailData event.EmailData

// emailDataOf maps the message; what depends on the delivery is New's.
func emailDataOf(m *parse.Message, files []file, d Delivery) event.EmailData {
	made := event.EmailData{
		Provider:    "imap",
		From:        address(m.From),
		To:          addresses(m.To),
		Cc:          optional(addresses(m.Cc)),
		Bcc:         optional(addresses(m.Bcc)),
		ReplyTo:     optional(addresses(m.ReplyTo)),
		Subject:     m.Subject,
		Body:        event.Body{Text: m.Text, HTML: m.HTML},
		ThreadID:    m.ThreadID,
		References:  m.References,
		InReplyTo:   m.InReplyTo,
		Headers:     headers(m.Headers),
		MessageSize: d.Size,
		Importance:  cmp.Or(m.Importance, "normal"),
		Sensitivity: cmp.Or(m.Sensitivity, "normal"),

		AutoSubmitted: cmp.Or(m.AutoSubmitted, "no"),
		IsBounce:      m.IsBounce,
		IsList:        m.IsList,
		Recipient:     m.Recipient,
		Security:      m.Security,

		IngressSkipReasons: append([]event.SkipReason(nil), d.Skipped...),
		Defects:            append([]event.Defect(nil), d.Defects...),
	}
	data := (*emailData)(&made)
	if data.MessageSize == 0 {
		data.MessageSize = int64(len(d.Raw))
	}
	if m.Bounce != nil {
		data.Bounce = new(event.Bounce(*m.Bounce))
	}
	if m.Calendar != nil {
		data.Calendar = new(event.Calendar(*m.Calendar))
	}
	if m.Reply != nil {
		data.Reply = new(event.Reply(*m.Reply))
	}
	for _, defect := range m.Defects {
		data.Defects = append(data.Defects, event.Defect(defect))
	}
	if utc(m.Date).IsZero() && !data.hasDefect("date_") {
		data.defect(event.DefectDate, "")
	}
	data.attach(files)
	data.bound()
	return made
}

// texts visits every single text of the mail, with what it may be long.
func (data *emailData) texts(visit func(s *string, most length)) {
	visit(&data.From.Name, nameLength)
	for _, id := range []*string{&data.ThreadID, &data.InReplyTo, &data.Recipient} {
		visit(id, idLength)
	}
	for _, token := range []*string{&data.Importance, &data.Sensitivity, &data.AutoSubmitted, &data.Security, &data.SameMessageIDAs} {
		visit(token, tokenLength)
	}
	if data.IMAP != nil {
		visit(&data.IMAP.Folder, folderLength)
	}
	if b := data.Bounce; b != nil {
		visit(&b.FinalRecipient, idLength)
		visit(&b.OriginalMessageID, idLength)
		visit(&b.Action, tokenLength)
		visit(&b.Status, tokenLength)
		visit(&b.Diagnostic, noteLength)
	}
	if c := data.Calendar; c != nil {
		visit(&c.Method, tokenLength)
		visit(&c.UID, idLength)
	}
	if r := data.Reply; r != nil {
		visit(&r.Strategy, tokenLength)
		visit(&r.Confidence, tokenLength)
	}
}

// keepRaw names the raw mail as a blob, or says why there is none.
func (data *emailData) keepRaw(d Delivery, lim Limits) {
	switch {
	case data.RawMIME != nil || len(d.Raw) == 0:
	case int64(len(d.Raw)) > lim.RawMIMEBytes:
		reason := event.SkipReason{Type: "raw_mime", Reason: event.SkipRawMIMEBytes, Size: int64(len(d.Raw)), Cap: lim.RawMIMEBytes}
		for _, r := range data.IngressSkipReasons {
			if r.Type == reason.Type {
				return
			}
		}
		data.IngressSkipReasons = append([]event.SkipReason{reason}, data.IngressSkipReasons...)
	default:
		sum := sha256.Sum256(d.Raw)
		data.RawMIME = &event.RawMIME{Blob: *blob(d, lim, hex.EncodeToString(sum[:]), int64(len(d.Raw)))}
	}
}

func blob(d Delivery, lim Limits, sum string, size int64) *event.Blob {
	return &event.Blob{Store: "nats", Bucket: lim.Bucket, Key: BlobKey(d.Tenant, d.ProviderID, sum), Size: size}
}

// BlobKey returns the name of a blob: the lower-case hex SHA-256 of its bytes
// under tenant and provider.
func BlobKey(tenant, provider, sha256 string) string {
	return tenant + "/" + provider + "/" + sha256
}

func (data *emailData) defect(code, detail string) {
	data.Defects = append(data.Defects, event.Defect{Code: code, Detail: detail})
}

func (data *emailData) hasDefect(prefix string) bool {
	for _, d := range data.Defects {
		if strings.HasPrefix(d.Code, prefix) {
			return true
		}
	}
	return false
}

func emailID(m *parse.Message, k string) string {
	if m.MessageID == "" || len(m.MessageID) > idLength.bytes {
		return "imap-hash-" + k
	}
	return m.MessageID
}

// headers folds the list into a map. Values of one name are joined in order.
func headers(list []parse.Header) map[string]string {
	if len(list) == 0 {
		return nil
	}
	h := make(map[string]string, len(list))
	repeated := map[string][]string{}
	for _, field := range list {
		name := strings.ToLower(field.Name)
		first, seen := h[name]
		switch {
		case !seen:
			h[name] = field.Value
		case repeated[name] == nil:
			repeated[name] = []string{first, field.Value}
		default:
			repeated[name] = append(repeated[name], field.Value)
		}
	}
	for name, values := range repeated {
		h[name] = strings.Join(values, "\n")
	}
	return h
}

// addresses never returns nil: to is always there.
func addresses(list []parse.Address) []event.Address {
	out := make([]event.Address, len(list))
	for i, a := range list {
		out[i] = address(a)
	}
	return out
}

// optional makes an empty list nil, as it comes back from JSON.
func optional(list []event.Address) []event.Address {
	if len(list) == 0 {
		return nil
	}
	return list
}

func address(a parse.Address) event.Address { return event.Address{Email: a.Email, Name: a.Name} }

// utc returns t in UTC, in whole milliseconds; the zero time when RFC 3339 has
// no way to write it.
func utc(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Millisecond)
	if year := t.Year(); year < 1 || year > 9999 {
		return time.Time{}
	}
	return t
}
