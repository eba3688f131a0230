package parse

import (
	"io"
	"sync/atomic"
	"time"
)

// Message is what one mail says, in the terms of the event. Every string is
// valid UTF-8 without NUL, whatever the sender wrote.
type Message struct {
	MessageID  string   // msg-id without angle brackets; "" when the mail has none
	InReplyTo  string   // first msg-id of In-Reply-To, without angle brackets
	References []string // cleaned, deduplicated, at most 100: the first and the newest
	ThreadID   string   // first of References, else InReplyTo, else ""

	Subject string
	From    Address // Email is always a valid address; UnknownSender when the mail names none
	// FromLiteral is what From holds in the place of an address when it names
	// none, e.g. "MAILER-DAEMON"; else "".
	FromLiteral string
	To          []Address
	Cc          []Address
	Bcc         []Address
	ReplyTo     []Address

	DateHeader string    // the Date header as it stands, unfolded
	Date       time.Time // UTC; zero when the header is absent or unreadable

	Text        string // decoded text/plain parts; made from HTML when there are none
	HTML        string // decoded text/html parts
	Attachments []Attachment
	Headers     []Header // decoded and unfolded, in the order of the mail

	Importance    string // "low", "normal" or "high"
	Sensitivity   string // "normal", "personal", "private" or "company-confidential"
	AutoSubmitted string // "no", "auto-generated" or "auto-replied" (RFC 3834)
	// AutoSubmittedConfidence tells what AutoSubmitted rests on: "high" for a
	// header, "low" for the wording of the subject alone, "" when it is "no".
	AutoSubmittedConfidence string
	IsBounce                bool
	IsList                  bool
	Recipient               string    // Delivered-To, X-Original-To or the like; "" when none
	Bounce                  *Bounce   // nil unless a delivery status (RFC 3464) or X-Failed-Recipients was read
	Calendar                *Calendar // nil unless a text/calendar part was read
	Reply                   *Reply    // nil unless the new part was told apart from the quote
	Security                string    // "", "smime-signed", "smime-encrypted", "pgp-signed", "pgp-encrypted"

	Defects []Defect // what was wrong with the mail, in the order it was found
}

// UnknownSender stands in From when the mail names no valid sender.
const UnknownSender = "unknown-sender@imapsync.invalid"

// Address is one mailbox (RFC 5322 section 3.4). Email is an addr-spec.
type Address struct {
	Name  string
	Email string
}

// Header is one header field; Name keeps the sender's spelling.
type Header struct {
	Name  string
	Value string
}

// Attachment is a file in the mail. Its bytes stay encoded in the raw mail
// until Open is called.
type Attachment struct {
	ID          string // stable within the mail: its part path, e.g. "2.1"
	Name        string // never empty: made from the type when the mail names none
	ContentType string // lower-case type/subtype
	ContentID   string // without angle brackets
	IsInline    bool   // shown inside the HTML by a cid: link

	open func() io.Reader
	keep *atomic.Bool
}

// Open returns the decoded bytes as a stream. It may be called many times and
// from several goroutines as long as the raw mail is kept. It never fails:
// what cannot be decoded is passed on as it is.
func (a Attachment) Open() io.Reader { return a.open() }

// Keep is for who opens a file twice: one of up to 1 MiB of base64 is decoded
// once, and stays so for as long as the message. Others are decoded each time,
// which bounds memory.
func (a Attachment) Keep() { a.keep.Store(true) }

// Bounce is what a delivery status notification says (RFC 3464).
type Bounce struct {
	FinalRecipient    string
	Action            string // "failed", "delayed", "delivered", "relayed" or "expanded"
	Status            string // e.g. "5.1.1" (RFC 3463)
	Diagnostic        string
	OriginalMessageID string
}

// Calendar is the method and the identity of an invitation (RFC 5546).
type Calendar struct {
	Method string // upper case, e.g. "REQUEST"
	UID    string
}

// Reply is the new part of a reply, without the quote and the signature.
type Reply struct {
	Text       string
	Strategy   string // which rule found the border
	Confidence string // "high", "medium" or "low"
}

// Defect is one thing that was wrong with the mail. The mail goes out all the
// same.
type Defect struct {
	Code   string // snake_case, e.g. "from_missing"
	Detail string
}
