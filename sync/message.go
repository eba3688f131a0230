package sync

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"time"

	"imapsync/db"
	"imapsync/internal/imapsession"
	"imapsync/parse"
	"imapsync/publish"
)

// message is one UID on its way from the search to the ledger.
type message struct {
	imapsession.Listed
	attempts   int        // before this one
	killed     int        // passes that were killed while handling it
	retry      bool       // it comes from the quarantine
	released   bool       // a person let it go out by its headers alone
	headerOnly bool       // too large to be downloaded
	missed     *time.Time // when a pass before this one did not find it
	absent     bool       // the server does not show it
	expunged   bool       // and there is evidence that it is gone
	known      bool       // published before, under whatever UID
	done       bool       // committed

	again  string    // the stream has lost it: it is published once more, under this key
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

func newMessage(uid uint32) *message { return &message{Listed: imapsession.Listed{UID: uid}} }

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
func (m *message) byHeader() bool { return m.summary.key != "" && m.summary.key == m.summary.HeaderKey }

// summary is what is remembered of a message once its memory is given back.
type summary struct {
	publish.Identity
	key             string // its event key
	subject, sender string
}

// identify says which mail it is, by all that was read of it.
func (s *summary) identify(m *message) {
	if m.headerOnly {
		s.Identity = publish.IdentifyHeader(m.raw)
	} else {
		s.Identity = publish.Identify(m.raw)
	}
	s.key = cmp.Or(m.again, s.Key, s.HeaderKey)
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

// checkBody looks at a body that came. RFC822.SIZE is a hint, so a body that is
// short is believed when it comes out the same again and again.
func checkBody(m *message) {
	switch {
	case m.failure != nil || m.absent || m.headerOnly:
	case len(m.raw) == 0:
		m.fail("fetch", "no_body", errors.New("the server says OK and gives an empty body"))
	case len(m.raw) < maxStub && bytes.Contains(m.raw, []byte(exchangeStub)):
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
