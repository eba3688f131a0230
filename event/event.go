// Package event is what imapsync gives to others: the INBOUND_EMAIL_RECEIVED
// event, its JSON (schema.json), its identity, the JetStream stream it stands on
// and the object store of its blobs. It is for whoever consumes events, and
// links neither a parser nor charset tables; package publish makes them.
//
//	nc, err := nats.Connect("nats://127.0.0.1:4222")
//	sub, err := event.Subscribe(ctx, nc, event.SubscribeOptions{Durable: "tickets"})
//	for rec, err := range sub.Events(ctx) { …; err = rec.Ack(ctx) }
//
// Invariants: an event is published once for as long as the stream keeps it;
// the blobs an event names are stored before it and outlive it; every call is
// bounded by its context.
package event

import "time"

// Event is one mail that arrived, as it stands on the stream. All times are
// UTC; fields marked omitempty are absent, never null, when there is nothing
// to say.
type Event struct {
	ID        string    `json:"id"` // UUID v5, the same for the same mail of the same provider
	Type      string    `json:"eventType"`
	Timestamp time.Time `json:"timestamp"`
	Payload   Payload   `json:"payload"`

	// Key is the identity of the mail (publish.Identify); it is the end of the subject
	// and so not in the JSON.
	Key string `json:"-"`
}

// Payload names whose mail it is.
type Payload struct {
	TenantID   string    `json:"tenantId"`
	Tenant     string    `json:"tenant"`
	OccurredAt time.Time `json:"occurredAt"`
	ProviderID string    `json:"providerId"`
	EmailData  EmailData `json:"emailData"`
}

// EmailData is the mail itself. From.Email is always a valid address, To,
// Subject and Body are always there.
type EmailData struct {
	ID         string    `json:"id"`       // Message-ID without brackets, or imap-hash- and the key
	Provider   string    `json:"provider"` // "imap"
	ProviderID string    `json:"providerId,omitempty"`
	Tenant     string    `json:"tenant,omitempty"`
	ReceivedAt time.Time `json:"receivedAt,omitzero"` // INTERNALDATE, else the Date header

	From    Address   `json:"from"`
	To      []Address `json:"to"`
	Cc      []Address `json:"cc,omitempty"`
	Bcc     []Address `json:"bcc,omitempty"`
	ReplyTo []Address `json:"replyTo,omitempty"`
	Subject string    `json:"subject"`

	Body        Body         `json:"body"`
	Attachments []Attachment `json:"attachments,omitempty"`

	ThreadID   string   `json:"threadId,omitempty"`
	References []string `json:"references,omitempty"`
	InReplyTo  string   `json:"inReplyTo,omitempty"`

	// Headers maps lower-case names to values; those of a header that stands
	// more than once are joined by newlines, in the order of the mail.
	Headers map[string]string `json:"headers,omitempty"`

	MessageSize int64    `json:"messageSize,omitempty"` // bytes, RFC822.SIZE
	Importance  string   `json:"importance"`            // low, normal, high
	Sensitivity string   `json:"sensitivity"`           // normal, personal, private, company-confidential
	RawMIME     *RawMIME `json:"rawMime,omitempty"`

	IngressSkipReasons []SkipReason `json:"ingressSkipReasons,omitempty"`

	IMAP              *IMAP  `json:"imap,omitempty"`
	InboundDefaultsID string `json:"inboundDefaultsId,omitempty"`
	SameMessageIDAs   string `json:"sameMessageIdAs,omitempty"` // id of the event before it with this Message-ID

	AutoSubmitted string    `json:"autoSubmitted"` // no, auto-generated, auto-replied (RFC 3834)
	IsBounce      bool      `json:"isBounce"`
	IsList        bool      `json:"isList"`
	Recipient     string    `json:"recipient,omitempty"` // Delivered-To or the like
	Security      string    `json:"security,omitempty"`  // smime-signed, pgp-encrypted, …
	Bounce        *Bounce   `json:"bounce,omitempty"`
	Calendar      *Calendar `json:"calendar,omitempty"`
	Reply         *Reply    `json:"reply,omitempty"`
	Defects       []Defect  `json:"defects,omitempty"`
}

// Address is one mailbox.
type Address struct {
	Email string `json:"email"`
	Name  string `json:"name,omitempty"`
}

// Body is the whole text. When a defect says body_truncated, the whole of it
// is in the blob named here.
type Body struct {
	Text     string `json:"text"`
	HTML     string `json:"html,omitempty"`
	TextBlob *Blob  `json:"textBlob,omitempty"` // UTF-8, only when Text is cut
	HTMLBlob *Blob  `json:"htmlBlob,omitempty"` // UTF-8, only when HTML is cut
}

// Attachment is a file in the mail; Size is never 0.
type Attachment struct {
	ID          string `json:"id"` // its part path, e.g. "2.1"
	Name        string `json:"name"`
	ContentType string `json:"contentType"`
	Size        int64  `json:"size"` // decoded bytes
	ContentID   string `json:"contentId,omitempty"`
	IsInline    bool   `json:"isInline"`
	SHA256      string `json:"sha256"` // hex, of the decoded bytes
	Blob        *Blob  `json:"blob,omitempty"`
	Content     []byte `json:"content,omitempty"` // base64 in JSON; only of small ones, when asked for
}

// Blob names an object in the object store; its key ends in the SHA-256 of
// its bytes.
type Blob struct {
	Store  string `json:"store"` // "nats"
	Bucket string `json:"bucket"`
	Key    string `json:"key"`            // <tenant>/<provider>/<sha256>
	Size   int64  `json:"size,omitempty"` // bytes, where no field beside it says so
}

// RawMIME names the mail as it came.
type RawMIME struct {
	Blob Blob `json:"blob"`
}

// SkipReason says what of the mail is not in the event, and why.
type SkipReason struct {
	Type           string `json:"type"`   // attachment, raw_mime
	Reason         string `json:"reason"` // one of the Skip constants
	AttachmentID   string `json:"attachmentId,omitempty"`
	AttachmentName string `json:"attachmentName,omitempty"`
	Size           int64  `json:"size"` // what it has
	Cap            int64  `json:"cap"`  // what is allowed
}

// Reasons of a SkipReason.
const (
	SkipAttachmentBytes = "attachment_over_max_bytes"
	SkipAttachmentCount = "attachment_count_exceeded"
	SkipAttachmentTotal = "attachment_total_bytes_exceeded"
	SkipRawMIMEBytes    = "raw_mime_over_max_bytes"
)

// IMAP says where on the server the mail was found.
type IMAP struct {
	Folder       string    `json:"folder"`
	UID          uint32    `json:"uid"`
	UIDValidity  uint64    `json:"uidValidity"`
	InternalDate time.Time `json:"internalDate,omitzero"`

	// UIDValidityText is UIDValidity in digits where that is above 2^53, which a reader
	// of JSON that counts in floating point rounds.
	UIDValidityText string `json:"uidValidityText,omitempty"`
}

// Bounce is what a delivery status notification says (RFC 3464).
type Bounce struct {
	FinalRecipient    string `json:"finalRecipient,omitempty"`
	Action            string `json:"action,omitempty"`
	Status            string `json:"status,omitempty"`
	Diagnostic        string `json:"diagnostic,omitempty"`
	OriginalMessageID string `json:"originalMessageId,omitempty"`
}

// Calendar is the method and the identity of an invitation (RFC 5546).
type Calendar struct {
	Method string `json:"method,omitempty"`
	UID    string `json:"uid,omitempty"`
}

// Reply is the new part of a reply, without the quote.
type Reply struct {
	Text       string `json:"text"`
	Strategy   string `json:"strategy,omitempty"`
	Confidence string `json:"confidence"` // high, medium, low
}

// Defect is one thing that was wrong with the mail, or that did not fit.
type Defect struct {
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}

// Defects that publishing adds to those of the parser.
const (
	DefectDate            = "date_missing"         // no readable Date header; receivedAt is INTERNALDATE
	DefectReceivedAt      = "received_at_unknown"  // neither Date nor INTERNALDATE; receivedAt is the time of publishing
	DefectEmptyAttachment = "attachment_empty"     // a part without bytes is not an attachment
	DefectMessageIDReused = "message_id_reused"    // another mail had the same Message-ID
	DefectBodyTruncated   = "body_truncated"       // the whole of it is in body.textBlob or body.htmlBlob
	DefectSubject         = "subject_truncated"    // the whole of these is in rawMime:
	DefectHeaders         = "headers_truncated"    //
	DefectRecipients      = "recipients_truncated" //
	DefectReferences      = "references_truncated" //
	DefectReply           = "reply_truncated"      //
	DefectFields          = "fields_truncated"     //
	DefectAttachments     = "attachments_truncated"
	DefectSkipReasons     = "skip_reasons_truncated"
	DefectDefects         = "defects_truncated"
)
