package sync

import (
	"fmt"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
)

// none starts behind all mail.
func none(folders ...string) func(p *db.Provider) {
	return func(p *db.Provider) { p.Folders, p.Start = folders, "none" }
}

// TestFailure18_UIDNEXTTooHighAtTheFirstLook: mail that gets UIDs below where the folder
// was begun, because the server had said that those were given out, is new.
func TestFailure18_UIDNEXTTooHighAtTheFirstLook(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for name, old := range map[string]int{"empty": 0, "with old mail": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := l.start(t, imapserver.TLS, none("INBOX"))
			box := env.replaceBox("INBOX")
			for range old {
				env.received("INBOX", time.Now().Add(-time.Hour))
			}
			tooHigh := func(x *imapserver.Exchange) error {
				return x.Replace(fmt.Sprintf("UIDNEXT %d", old+1), fmt.Sprintf("UIDNEXT %d", old+3))
			}
			env.srv.Play(imapserver.Quirk{Name: "status", Stage: imapserver.Status, Do: tooHigh})
			env.srv.Play(imapserver.Quirk{Name: "select", Stage: imapserver.Select, Do: tooHigh})
			env.passed()
			env.srv.Behave()
			if start := env.state("INBOX").StartUID; int(start) != old+2 {
				t.Fatalf("begun behind UID %d, want %d", start, old+2)
			}
			for range 3 { // so UIDNEXT does not go back
				env.received("INBOX", time.Now().Add(time.Minute))
			}
			env.later(5 * time.Minute)
			env.passed()
			env.later(time.Hour)
			env.passed()
			if n := env.counted(); n != 3 || env.state("INBOX").Surplus != 0 {
				t.Errorf("%d of %d published, want the 3 that came since", n, len(box.Messages()))
			}
		})
	}
}

// TestFailure25_AFolderThatIsMetLater: what a folder received since the mailbox is read is
// new, whenever the server shows the folder for the first time.
func TestFailure25_AFolderThatIsMetLater(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for name, tc := range map[string]struct {
		folders []string
		quirk   imapserver.Quirk
	}{
		"not listed": {[]string{"INBOX", "Sub/*"}, imapserver.Named("list-empty")},
		"refused": {[]string{"INBOX", "Sub/One"}, imapserver.Quirk{Name: "refused", Stage: imapserver.Select, Do: func(x *imapserver.Exchange) error {
			return x.Tagged("NO [UNAVAILABLE] not now")
		}, When: func(x *imapserver.Exchange) bool { return x.Mailbox != nil && x.Mailbox.Name == "Sub/One" }}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := l.start(t, imapserver.TLS, none(tc.folders...))
			env.replaceBox("INBOX")
			env.replaceBox("Sub/One")
			env.received("Sub/One", time.Now().Add(-time.Hour))
			env.srv.Play(tc.quirk)
			env.pass()
			env.later(2 * time.Hour)
			env.srv.Mailbox("Sub/One").AppendAt(string(newMail(90, env.runner.now())), env.runner.now())
			env.srv.Behave()
			env.passed()
			env.later(time.Hour)
			env.passed()
			if got := env.counted(); got != 1 {
				t.Errorf("%d published, want the one that came since", got)
			}
		})
	}
}
