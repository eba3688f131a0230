package sync

import (
	"imapsync/internal/imapsession"
	"imapsync/publish"
)

// message is one UID on its way from the search to the ledger.
type message struct {
	imapsession.Listed
	attempts   int  // before this one
	killed     int  // passes that were killed while handling it
	retry      bool // it comes from the quarantine
	released   bool // a person let it go out by its headers alone
	again      bool // the stream has lost it: publish it though it is known
	looked     bool // its size is known, or why not
	headerOnly bool // too large to be downloaded
	expunged   bool
	known      bool // published before, under whatever UID
	done       bool // committed

	raw     []byte
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
