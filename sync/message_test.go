package sync

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/internal/imapsession"
	"imapsync/parse"
)

// TestWaitsSealed holds that what waits to be sent is bounded by the budget of
// raw mail: an event that is much longer than its mail is written when it goes
// out, and one with blobs is kept for them.
func TestWaitsSealed(t *testing.T) {
	f := &folderPass{pass: &pass{
		runner:   &Runner{parse: parse.Parse},
		provider: &db.Provider{Settings: db.Settings{Tenant: uuid.NewString(), ID: uuid.NewString()}},
	}}
	const head = "From: a@example.com\r\nMessage-ID: <1@example.com>\r\nContent-Type: "
	for name, c := range map[string]struct {
		mail          string
		sealed, event bool
	}{
		"text":     {head + "text/plain\r\n\r\n" + strings.Repeat("text\r\n", 4000), true, false},
		"controls": {head + "text/plain\r\n\r\n" + strings.Repeat("\x01\x01\x01\x01\r\n", 4000), false, true},
		"file":     {head + "application/pdf\r\n\r\nPDF", true, true},
	} {
		m := &message{Listed: imapsession.Listed{UID: 1}, raw: []byte(c.mail)}
		f.parse(m, false)
		if m.failure != nil || !m.toPublish() || m.summary.key == "" || m.summary.messageID != "1@example.com" {
			t.Errorf("%s: %+v", name, m)
		}
		if (m.sealed != nil) != c.sealed || (m.event != nil) != c.event || (m.parsed != nil) != c.event {
			t.Errorf("%s: sealed %v, event %v, parsed %v", name, m.sealed != nil, m.event != nil, m.parsed != nil)
		}
		if m.sealed != nil && m.sealed.Size() > len(m.raw)+sealedSpare {
			t.Errorf("%s: %d bytes for a mail of %d", name, m.sealed.Size(), len(m.raw))
		}
	}
}
