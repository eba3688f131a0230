package sync

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/internal/imapsession"
	"imapsync/parse"
	"imapsync/publish"
)

// TestWaitingIsBounded holds that what waits to be sent is bounded by the budget of
// raw mail: the JSON of an event that is much longer than its mail is written
// when it goes out, and of any other nothing but that is kept.
func TestWaitingIsBounded(t *testing.T) {
	f := &folderPass{pass: &pass{
		runner:   &Runner{parse: parse.Parse},
		provider: &db.Provider{Settings: db.Settings{Tenant: uuid.NewString(), ID: uuid.NewString()}},
	}}
	const head = "From: a@example.com\r\nMessage-ID: <1@example.com>\r\nContent-Type: "
	for name, c := range map[string]struct {
		mail         string
		event, blobs bool
	}{
		"text":     {head + "text/plain\r\n\r\n" + strings.Repeat("text\r\n", 4000), false, false},
		"controls": {head + "text/plain\r\n\r\n" + strings.Repeat("\x01\x01\x01\x01\r\n", 4000), true, false},
		"file":     {head + "application/pdf\r\n\r\nPDF", false, true},
	} {
		m := &message{Listed: imapsession.Listed{UID: 1}, raw: []byte(c.mail)}
		f.parse(m)
		if m.failure != nil || !m.toPublish() || m.summary.key == "" || m.summary.MessageID != "1@example.com" {
			t.Errorf("%s: %+v", name, m)
		}
		if (m.event.Event != nil) != c.event || m.event.HasBlobs() != c.blobs || (m.parsed != nil) != c.blobs {
			t.Errorf("%s: event %v, blobs %v, parsed %v", name, m.event.Event != nil, m.event.HasBlobs(), m.parsed != nil)
		}
	}
}

// A message that fails while its event is made, at a file of it, is one that a person
// finds in the quarantine by what its headers say.
func TestFailedMessageIsNamed(t *testing.T) {
	f := &folderPass{log: slog.New(slog.DiscardHandler), pass: &pass{
		runner: &Runner{parse: func([]byte, parse.Limits) *parse.Message {
			return &parse.Message{
				MessageID: "1@example.com", Subject: "Invoice", From: parse.Address{Email: "a@example.com"},
				Attachments: make([]parse.Attachment, 1), // that cannot be opened
			}
		}},
		provider: &db.Provider{Settings: db.Settings{Tenant: uuid.NewString(), ID: uuid.NewString()}},
	}}
	m := &message{Listed: imapsession.Listed{UID: 1}, raw: []byte("Message-ID: <1@example.com>\r\n\r\n")}
	f.parse(m)
	if !f.bug.Load() || m.failure == nil || !strings.Contains(m.failure.err.Error(), "message.go:") {
		t.Errorf("a panic is no bug, or nobody knows where: %v", m.failure)
	}
	id := publish.Identify(m.raw)
	if want := (summary{Identity: id, key: id.Key, headerKey: id.KeyByHeader(0), sizedKey: id.SizedHeaderKey(0), subject: "Invoice", sender: "a@example.com"}); m.failure == nil || m.summary != want {
		t.Errorf("failure %v, %+v; want %+v", m.failure, m.summary, want)
	}
}

// A message waits ever longer for its next attempt, but not for the death of a pass.
func TestRetryWait(t *testing.T) {
	for stage, want := range map[string][]time.Duration{
		"fetch": {time.Minute, 4 * time.Minute, 16 * time.Minute, 64 * time.Minute},
		"crash": {killedWait, killedWait, killedWait, killedWait},
	} {
		m := &message{failure: &failure{stage: stage}}
		for i := range want {
			if got := retryWait(m, i+1); got != want[i] {
				t.Errorf("%s, attempt %d: %s, want %s", stage, i+1, got, want[i])
			}
		}
	}
}
