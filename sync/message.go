package sync

import (
	"bytes"
	"errors"
	"fmt"
	"time"

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
	again      bool       // the stream has lost it: publish it though it is known
	headerOnly bool       // too large to be downloaded
	missed     *time.Time // when a pass before this one did not find it
	absent     bool       // the server does not show it
	expunged   bool       // and there is evidence that it is gone
	known      bool       // published before, under whatever UID
	done       bool       // committed

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

// summary is what is remembered of a message once its memory is given back.
type summary struct {
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
