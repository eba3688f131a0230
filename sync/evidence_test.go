package sync

import (
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
)

// A store that is not mounted shows an empty folder for an hour. What was read before
// is not published again when it is back, and what came meanwhile is.
func TestFailure28_StoreEmptyForAnHour(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for name, forgets := range map[string]bool{"UIDNEXT stays": false, "UIDNEXT 1": true} {
		t.Run(name, func(t *testing.T) {
			env := l.start(t, imapserver.TLS, nil)
			inbox := env.srv.Mailbox("INBOX")
			env.append("INBOX", 6)
			env.settle()
			env.append("INBOX", 2)
			env.remember()
			inbox.SetEmpty(true, forgets)
			for range 6 {
				env.later(12 * time.Minute)
				env.append("INBOX", 1)
				env.pass()
			}
			inbox.SetEmpty(false, false)
			env.settle()
			if st := env.state("INBOX"); st.UIDValidity != inbox.UIDValidity() {
				t.Errorf("UIDVALIDITY %d, want %d", st.UIDValidity, inbox.UIDValidity())
			}
		})
	}
}

// A store that is empty before the first look is no empty mailbox.
func TestFailure28_StoreEmptyAtFirst(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	env.srv.Mailbox("INBOX").SetEmpty(true, true)
	for range 3 {
		env.pass()
		env.later(30 * time.Minute)
	}
	env.srv.Mailbox("INBOX").SetEmpty(false, false)
	env.settle()
}

// The ledger forgets what is a year old, and the stream long before. Numbered anew
// then, no old mail is published once more, and new mail is published.
func TestFailure07_LedgerPrunedThenRenumbered(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	env.append("INBOX", 20)
	env.settle()
	env.later(db.KeepLedger + 30*24*time.Hour)
	env.append("INBOX", 3)
	env.settle()
	m, err := env.store.Maintain(t.Context(), env.clock.Now(), db.Retention{Ledger: db.KeepLedger})
	must(t, err)
	t.Logf("%d rows of the ledger are gone", m.LedgerRows)
	env.purge()
	env.srv.Mailbox("INBOX").Renumber()
	env.append("INBOX", 1)
	published := 0 // the broker refuses for a while what it has forgotten: the stream would not tell
	for range 4 {
		env.later(time.Hour)
		res := env.pass()
		must(t, res.Err)
		published += res.Counts.Published
	}
	if published != 1 {
		t.Errorf("%d published, want the new mail alone", published)
	}
}
