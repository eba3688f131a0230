package sync

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"imapsync/event"
	"imapsync/internal/imapsession"
	"imapsync/parse"
	"imapsync/publish"
)

// message is one UID on its way from the search to the ledger.
type message struct {
	imapsession.Listed
	attempts   int  // before this one
	killed     int  // passes that were killed while handling it
	retry      bool // it comes from the quarantine
	released   bool // a person let it go out by its headers alone
	headerOnly bool // too large to be downloaded
	looked     bool // its size is known, or why not
	raw        []byte
	parsed     *parse.Message
	event      *publish.Mail // nil when it is sealed and no blobs go with it
	sealed     *publish.Sealed
	brief      brief
	ack        *publish.Ack
	known      bool // published before, under whatever UID
	again      bool // the stream has lost it: publish it though it is known
	expunged   bool
	done       bool // committed
	failure    *failure
}

// toPublish reports whether the message has an event that is to go out.
func (m *message) toPublish() bool { return m.hasEvent() && !m.known && m.failure == nil }

func (m *message) hasEvent() bool { return m.event != nil || m.sealed != nil }

// brief is what is remembered of a message once its memory is given back.
type brief struct {
	key, messageID, subject, sender string
}

// failure is why a message could not be handled.
type failure struct {
	stage string
	code  string
	err   error
}

func (m *message) fail(stage, code string, err error) {
	if m.failure == nil {
		m.failure = &failure{stage, code, err}
	}
}

// defectReleased marks an event that a person let out of the quarantine.
const defectReleased = "released_from_quarantine"

// exchangeStub is what some servers put in place of a message they cannot
// convert.
const exchangeStub = "Retrieval using the IMAP4 protocol failed"

// judge looks at a body that came. RFC822.SIZE is a hint, so a body that is
// short is believed when it comes out the same again and again.
func (f *folderPass) judge(m *message) {
	switch {
	case m.failure != nil || m.expunged || m.headerOnly:
	case len(m.raw) == 0 && m.Size > 0:
		m.fail("fetch", "no_body", errors.New("the server says OK and gives an empty body"))
	case len(m.raw) < 8<<10 && containsStub(m.raw):
		m.fail("fetch", "server_stub", errors.New("the server put an error text in place of the message"))
	case short(int64(len(m.raw)), m.Size) && m.attempts < 2:
		m.fail("fetch", "short_body", fmt.Errorf("the body has %d bytes, the server announced %d", len(m.raw), m.Size))
	}
}

// short reports whether a body is so much smaller than announced that another
// way to count lines does not explain it: by a tenth and half a KiB, or by half.
func short(got, announced int64) bool {
	return got < announced-announced/10-512 || got < announced/2
}

// parse makes the event of a message and seals it. What has no blobs needs
// nothing else of what was made on the way. A panic in it is that message's
// failure.
func (f *folderPass) parse(m *message, reused bool) {
	defer func() {
		if v := recover(); v != nil {
			m.fail("parse", "panic", fmt.Errorf("panic: %v", v))
		}
	}()
	if m.parsed == nil {
		m.parsed = f.runner.parse(m.raw, parse.Limits{})
		m.brief.messageID, m.brief.subject = strings.Clone(m.parsed.MessageID), strings.Clone(m.parsed.Subject)
		m.brief.sender = strings.Clone(m.parsed.From.Email)
	}
	d := publish.Delivery{
		Tenant: f.provider.Tenant, ProviderID: f.provider.ID, InboundDefaultsID: f.provider.DefaultsID,
		Folder: f.status.Name, UID: m.UID, UIDValidity: f.status.UIDValidity, InternalDate: m.InternalDate,
		Size: m.Size, OccurredAt: time.Now().UTC(), Raw: m.raw, KeepRaw: len(m.parsed.Attachments) > 0,
		MessageIDReused: reused,
	}
	if m.headerOnly {
		d.KeepRaw = false
		d.Skipped = []event.SkipReason{{Type: "raw_mime", Reason: event.SkipRawMIMEBytes, Size: m.Size, Cap: f.maxMessageBytes()}}
	}
	if m.released {
		d.Skipped = nil
		d.Defects = []event.Defect{{Code: defectReleased, Detail: "the body could not be handled; the message was released from quarantine by its headers"}}
	}
	m.event = publish.New(m.parsed, d, f.limits)
	m.event.Lost = m.again
	m.brief.key = m.event.Key
	sealed, err := publish.Seal(m.event)
	switch {
	case err != nil:
		m.fail("publish", "seal", err)
	case sealed.Size() > len(m.raw)+sealedSpare:
		m.sealed = nil // until it is sent
	default:
		if m.sealed = sealed; !m.event.HasBlobs() {
			m.parsed, m.event = nil, nil
		}
	}
}

// sealedSpare is how many bytes longer than its mail an event may be and wait
// sealed. The budget of bytes in flight counts mail; what JSON escapes may be
// six times as long, and a reply stands in it twice.
const sealedSpare = 8 << 10

// giveBack returns the memory of a message that is on its way to the broker.
func (f *folderPass) giveBack(m *message) {
	if m.failure != nil {
		return // its raw mail may be kept for a person
	}
	raw := m.raw
	m.raw, m.parsed, m.event, m.sealed = nil, nil, nil, nil
	f.runner.buffers.Put(raw)
}
