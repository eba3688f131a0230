package sync

import (
	"fmt"
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

// Nor is its old mail ours where the start says otherwise: it is held, and new mail goes
// on. An empty folder beside others that are not is one that mail is moved to.
func TestFailure28_StoreEmptyAtFirstHoldsOldMail(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for _, tt := range []struct {
		start   string
		account bool // it is another user's, and one before was read
		want    int
	}{{"none", false, 0}, {"since:30d", false, 1}, {"recent", false, 3}, {"none", true, 0}, {"recent", true, 3}} {
		t.Run(fmt.Sprintf("%s, other account %t", tt.start, tt.account), func(t *testing.T) {
			t.Parallel()
			want := tt.want
			env := l.start(t, imapserver.TLS, func(p *db.Provider) { inbox(p); p.Start, p.MaxEmailsPerSync = tt.start, 3 })
			if tt.account {
				env.received("INBOX", env.clock.Now().AddDate(-1, 0, 0))
				env.passes(3, time.Minute)
				want += len(env.onStream(env.provider))
				env.srv.Username = "other"
				env.set(func(p *db.Provider) { p.Username = "other" })
			}
			box := env.replaceBox("INBOX")
			for range 5 {
				env.received("INBOX", env.clock.Now().AddDate(-1, 0, 0))
			}
			env.received("INBOX", env.clock.Now().AddDate(0, 0, -3))
			box.SetEmpty(true, true)
			env.passed()
			env.later(time.Hour)
			box.SetEmpty(false, false)
			env.received("INBOX", env.clock.Now().Add(-10*time.Minute)) // while it was away
			env.passes(4, time.Minute)
			if st := env.state("INBOX"); int(st.Held) != 6-tt.want || st.Backlog != 0 {
				t.Errorf("%d held, backlog %d, want %d and none", st.Held, st.Backlog, 6-tt.want)
			}
			if n := len(env.onStream(env.provider)); n != want+1 {
				t.Errorf("%d published, want %d and the new one", n, want)
			}
			env.later(25 * time.Hour)
			env.received("INBOX", env.clock.Now().AddDate(-1, 0, 0)) // moved there
			if res := env.passed(); res.Counts.Published != 1 {
				t.Errorf("%+v, want what is moved there a day later published", res.Counts)
			}
		})
	}
	t.Run("one folder", func(t *testing.T) {
		t.Parallel()
		env := l.start(t, imapserver.TLS, func(p *db.Provider) { p.Start = "none" })
		env.replaceBox("Other")
		env.passed()
		env.received("Other", env.clock.Now().AddDate(-1, 0, 0))
		if res := env.passed(); res.Counts.Published != 1 {
			t.Errorf("%+v, want the mail published", res.Counts)
		}
	})
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
