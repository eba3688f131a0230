package sync

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"imapsync/db"
	"imapsync/internal/imapsession"
	"imapsync/parse"
	"imapsync/publish"
)

// message is one UID on its way from the search to the ledger.
type message struct {
	imapsession.Listed
	past
	headerOnly bool // its body is not asked for
	absent     bool // the server does not show it
	expunged   bool // and there is evidence that it is gone
	known      bool // published before, under whatever UID
	whole      bool // its body came, as long as it should be
	judged     bool // the failure is the message's own
	putOff     bool // it may be the server's: the message is tried again as if it had not failed
	done       bool // committed

	sameAs string    // the id of the event before it that has the same Message-ID
	twin   *db.Known // known: what it is another copy of
	leader *message  // twin: it is in this pipeline and not in the ledger yet
	bodyOf string    // known: the key of the event that its header alone went out by

	raw     []byte
	parsed  *parse.Message // nil when no blobs go with the event
	event   *publish.Mail
	summary summary
	ack     *publish.Ack
	failure *failure
}

// past is what is known of a message from attempts before.
type past struct {
	entry    *db.Quarantine // as it stands in the quarantine; nil when it does not
	killed   int            // passes that were killed while handling it, since the last that was not
	failedOn int            // the connection of this pass on which it was asked for in vain
	released bool           // a person let it go out by its headers alone
	missed   *time.Time     // when a pass before this one did not find it
	again    string         // the stream has lost it: it is published once more, under this key
	believed bool           // what comes is its body, however short
}

// degraded reports whether the message has had its charges and goes out by its headers.
func (h past) degraded() bool {
	return h.entry != nil && h.entry.State == db.QuarantineRetry && h.entry.Charges >= maxCharges
}

// attempts is how often the message failed before.
func (h past) attempts() int {
	if h.entry == nil {
		return 0
	}
	return h.entry.Attempts
}

// charges is how often the fault was its own.
func (h past) charges() int {
	if h.entry == nil {
		return 0
	}
	return h.entry.Charges
}

// neverFailed is the connection of a message that did not fail in this pass.
const neverFailed = math.MaxInt

func newMessage(uid uint32) *message {
	return &message{Listed: imapsession.Listed{UID: uid}, past: past{failedOn: neverFailed}}
}

// anew is the message as it was before this attempt.
func (m *message) anew() *message {
	return &message{Listed: m.Listed, past: m.past}
}

func newMessages(uids []uint32) []*message {
	messages := make([]*message, len(uids))
	for i, uid := range uids {
		messages[i] = newMessage(uid)
	}
	return messages
}

// toPublish reports whether the message has an event that is to go out.
func (m *message) toPublish() bool { return m.event != nil && !m.known && m.failure == nil }

// byHeader reports whether its event has the key of its header alone.
func (m *message) byHeader() bool { return m.summary.key != "" && m.summary.key == m.summary.headerKey }

// summary is what is remembered of a message once its memory is given back.
type summary struct {
	publish.Identity
	key             string // its event key
	headerKey       string // that of its header alone
	sizedKey        string // that where another mail has its header
	subject, sender string
}

// identify says which mail it is, by all that was read of it.
func (s *summary) identify(m *message) {
	if m.headerOnly {
		s.Identity = publish.IdentifyHeader(m.raw)
	} else {
		s.Identity = publish.Identify(m.raw)
	}
	s.headerKey, s.sizedKey = s.KeyByHeader(m.Size), s.SizedHeaderKey(m.Size)
	s.key = cmp.Or(m.again, s.Key, s.headerKey)
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

// exchangeStub is what some servers put in place of a message they cannot convert.
const exchangeStub = "Retrieval using the IMAP4 protocol failed"

// maxStub is the size from which a body is no such text.
const maxStub = 8 << 10

// shortBody is the code of a body that is shorter than the server announced.
const shortBody = "short_body"

// checkBody looks at what came of a message. RFC822.SIZE is a hint, so a body that
// is short is believed in the end, and so is one of nothing but NUL and white space, as an
// ill disk gives it.
func checkBody(m *message) {
	switch {
	case m.failure != nil || m.absent:
	case m.headerOnly:
		if isBlank(m.raw) {
			m.fail("fetch", "no_body", errors.New("the server says OK and gives an empty header"))
		}
	case len(m.raw) == 0:
		m.fail("fetch", "no_body", errors.New("the server says OK and gives an empty body"))
	case isBlank(m.raw) && !m.believed:
		m.fail("fetch", "no_body", errors.New("the server gives a body of nothing but blanks"))
	case len(m.raw) < maxStub && bytes.Contains(m.raw, []byte(exchangeStub)):
		m.fail("fetch", "server_stub", errors.New("the server put an error text in place of the message"))
	case short(m.raw, m.Size) && !m.believed:
		m.fail("fetch", shortBody, fmt.Errorf("the body has %d bytes, the server announced %d", len(m.raw), m.Size))
	default:
		m.whole = !short(m.raw, m.Size) && !isBlank(m.raw)
	}
}

// isBlank reports whether a body has nothing in it.
func isBlank(raw []byte) bool { return len(bytes.Trim(raw, "\x00 \t\r\n")) == 0 }

// short reports whether a body is so much smaller than announced that another
// way to count lines does not explain it: by a tenth and half a KiB, or by half. Servers
// estimate sizes, so one that lacks less is short only when it looks cut off as well.
func short(raw []byte, announced int64) bool {
	got := int64(len(raw))
	return got < announced-announced/10-512 || got < announced/2 ||
		got+int64(bytes.Count(raw, []byte("\n"))) < announced && looksCut(raw)
}

// looksCut reports whether a body ends within a line, or with its header.
func looksCut(raw []byte) bool {
	body := bytes.TrimRight(raw, "\r\n")
	return !bytes.HasSuffix(raw, []byte("\n")) || !bytes.Contains(body, []byte("\n\n")) && !bytes.Contains(body, []byte("\n\r\n"))
}
