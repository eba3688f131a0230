package sync

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
	"imapsync/publish"
)

// newMail is a mail of a date.
func newMail(n int, date time.Time) []byte {
	return fmt.Appendf(nil, "From: Ann <ann@example.org>\r\nTo: support@example.com\r\nSubject: dated %05d\r\n"+
		"Message-ID: <%d.%s@example.org>\r\nDate: %s\r\n\r\nBody %d.\r\n", n, n, uuid.NewString(), date.Format(time.RFC1123Z), n)
}

// received adds mail of a date that the server received then.
func (env *scriptedEnv) received(folder string, date time.Time) uint32 {
	env.n++
	return env.srv.Mailbox(folder).AppendAt(string(newMail(env.n, date)), date)
}

// replaceBox puts other mail in the place of a folder, under the UIDVALIDITY that every
// folder of a scripted server begins with.
func (env *scriptedEnv) replaceBox(folder string, mail ...imapserver.Message) *imapserver.Mailbox {
	env.srv.RemoveMailbox(folder)
	box := env.srv.Mailbox(folder)
	for _, m := range mail {
		box.AppendAt(string(m.Raw), m.Date)
	}
	return box
}

func (env *scriptedEnv) passed() Result {
	env.t.Helper()
	res := env.pass()
	if res.Err != nil {
		env.t.Fatal(res.Err)
	}
	return res
}

// set changes settings, as a person does between two passes.
func (env *scriptedEnv) set(change func(p *db.Provider)) {
	env.t.Helper()
	change(env.provider)
	must(env.t, env.store.UpdateProvider(env.t.Context(), env.provider, nil, db.Audit{Tenant: testTenant, At: time.Now()}))
}

// ledger counts the rows of the provider.
func (env *scriptedEnv) ledger() (rows int) {
	env.t.Helper()
	env.exec(`SELECT $1::uuid`) // opens the pool
	must(env.t, env.pool.QueryRow(`SELECT count(*) FROM imap_messages WHERE provider_id = $1`, env.provider.ID).Scan(&rows))
	return rows
}

// counted is how many mails were published.
func (env *scriptedEnv) counted() (n int) {
	env.t.Helper()
	env.exec(`SELECT $1::uuid`) // opens the pool
	must(env.t, env.pool.QueryRow(`SELECT published FROM imap_sync_state WHERE provider_id = $1`, env.provider.ID).Scan(&n))
	return n
}

// once fails the test unless all mail of a folder is on the stream, each once.
func (env *scriptedEnv) once(folders ...string) {
	env.t.Helper()
	if missing := env.missing(folders...); len(missing) > 0 {
		env.t.Errorf("not on the stream: %q", missing)
	}
}

func inbox(p *db.Provider) { p.Folders, p.MaxEmailsPerSync = db.FolderNames{"INBOX"}, 500 }

// TestFailure27_AnotherUserName: UIDVALIDITY is the second of creation with many
// servers, so that two accounts have the same.
func TestFailure27_AnotherUserName(t *testing.T) {
	t.Parallel()
	lately := time.Now().Add(-time.Hour)
	for _, tt := range []struct {
		start string
		other bool // UIDVALIDITY
		want  int  // of 3 old and read mails of the other account
	}{
		{"all", false, 3}, {"all", true, 3}, {"none", false, 0}, {"recent", true, 2},
	} {
		t.Run(fmt.Sprintf("%s, other UIDVALIDITY %t", tt.start, tt.other), func(t *testing.T) {
			t.Parallel()
			env := newSharedServers(t).start(t, imapserver.TLS, inbox)
			if res := env.passed(); res.Counts.Published != 4 {
				t.Fatalf("before: %+v", res.Counts)
			}
			env.srv.Username = "other"
			box := env.replaceBox("INBOX")
			if tt.other {
				box.SetUIDValidity(7)
			}
			for day := range 3 {
				box.MarkSeen(env.received("INBOX", lately.AddDate(-1, 0, day)))
			}
			env.set(func(p *db.Provider) { p.Username, p.Start, p.MaxEmailsPerSync = "other", tt.start, 2 })
			rep := env.report()
			if rep.Waiting != 3 || rep.Handled+rep.Before != 0 {
				t.Errorf("reconcile before the pass: %+v, want 3 that wait", rep)
			}
			got := 0
			for range 3 {
				got += env.passed().Counts.Published
			}
			if got != tt.want {
				t.Errorf("%d published, want %d", got, tt.want)
			}
			env.received("INBOX", time.Now())
			if res := env.passed(); res.Counts.Published != 1 {
				t.Errorf("new mail: %+v, want it published", res.Counts)
			}
			if rep := env.report(); rep.Handled != tt.want+1 || rep.Before != 3-tt.want || len(rep.Missing) != 0 {
				t.Errorf("reconcile: %+v", rep)
			}
		})
	}
}

// TestFailure27_MailBetweenTheChangeAndTheFirstPass: another user's folder is looked at
// for the first time when the settings name that user, not when a pass comes by.
func TestFailure27_MailBetweenTheChangeAndTheFirstPass(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"none", "recent", "all"} {
		t.Run(start, func(t *testing.T) {
			t.Parallel()
			env := newSharedServers(t).start(t, imapserver.TLS, inbox)
			env.passed()
			env.srv.Username = "other"
			env.replaceBox("INBOX")
			old := env.received("INBOX", env.clock.Now().Add(-time.Minute))
			env.set(func(p *db.Provider) { p.Username, p.Start, p.MaxEmailsPerSync = "other", start, 2 })
			env.later(time.Hour)
			for range 3 {
				env.received("INBOX", env.clock.Now())
			}
			env.set(func(p *db.Provider) { p.Name = "renamed" }) // no other user
			env.later(time.Minute)
			if start == "none" {
				env.srv.Play(imapserver.Named("fetch-date-nil"))
				if res := env.pass(); code(res) != "dates_unknown" {
					t.Errorf("%+v, want the folder not begun while it has no dates", res)
				}
				env.srv.Behave()
				env.later(time.Hour)
			}
			got := 0
			for range 3 {
				got += env.passed().Counts.Published
			}
			if want := 3 + map[string]int{"all": 1}[start]; got != want {
				t.Errorf("%d published, want %d; %d was there before", got, want, old)
			}
		})
	}
}

// TestFailure27_AccountChangedByAnotherProgram: when that was nobody has noted, and what
// was noted of a change before it is about another account.
func TestFailure27_AccountChangedByAnotherProgram(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) { inbox(p); p.Start = "none" })
	env.passed()
	env.srv.Username = "other"
	env.replaceBox("INBOX")
	env.set(func(p *db.Provider) { p.Username = "other" })
	env.passed()
	env.later(10 * 24 * time.Hour)
	env.srv.Username = "third"
	env.replaceBox("INBOX")
	env.received("INBOX", env.clock.Now().Add(-time.Hour))
	env.exec(`UPDATE imap_email_provider_config SET username = 'third' WHERE email_provider_id = $1`)
	env.provider.Username = "third"
	if res := env.passed(); res.Counts.Published != 0 {
		t.Errorf("%+v, want nothing of what was there", res.Counts)
	}
	env.received("INBOX", env.clock.Now())
	if res := env.passed(); res.Counts.Published != 1 {
		t.Errorf("new mail: %+v, want it published", res.Counts)
	}
}

// report compares INBOX with the ledger.
func (env *scriptedEnv) report() (rep FolderReport) {
	env.t.Helper()
	must(env.t, env.runner.Reconcile(env.t.Context(), env.provider, func(r FolderReport) { rep = r }))
	return rep
}

func TestFailure27_AnAccountAndBack(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, inbox)
	env.passed()
	first := env.srv.Mailbox("INBOX").Messages()
	for i, user := range []string{"other", "user", "other", "user"} {
		env.srv.Username = user
		env.replaceBox("INBOX")
		env.set(func(p *db.Provider) { p.Username = user })
		if user == "user" {
			env.replaceBox("INBOX", first...)
			env.received("INBOX", time.Now())
			first = env.srv.Mailbox("INBOX").Messages()
		} else if i == 0 {
			env.received("INBOX", time.Now().AddDate(0, -1, 0))
		}
		env.passed()
		env.once("INBOX")
	}
	if rep := env.report(); rep.Handled != 6 || len(rep.Missing) != 0 {
		t.Errorf("reconcile: %+v, want 6 handled", rep)
	}
}

// TestFailure27_RetriesAreOfTheirAccount: what is due in the quarantine of one account is
// not tried under its UID in another, though the numbering bears the same number.
func TestFailure27_RetriesAreOfTheirAccount(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, inbox)
	env.passed()
	validity := env.srv.Mailbox("INBOX").UIDValidity()
	env.exec(`INSERT INTO imap_quarantine (tenant, id, provider_id, folder, uid_validity, uid, state, stage, error_code, error, attempts,
			size, created_at, updated_at)
		SELECT tenant, gen_random_uuid(), provider_id, folder, uid_validity, 2, 'retry', 'fetch', 'no_body', 'x', 1, 7, now(), now()
		FROM imap_folder_state WHERE provider_id = $1`)
	env.srv.Username = "other"
	env.replaceBox("INBOX")
	for range 3 {
		env.received("INBOX", time.Now())
	}
	env.srv.Mailbox("INBOX").SetUIDValidity(validity)
	env.set(func(p *db.Provider) { p.Username = "other" })
	if res := env.passed(); res.Counts.Published != 3 || res.Counts.Total() != 3 {
		t.Errorf("%+v, want 3 published and no more", res.Counts)
	}
	env.once("INBOX")
	if q := env.quarantine(); len(q) != 1 || q[0].State != db.QuarantineDead || q[0].ErrorCode != db.NotFoundAnew {
		t.Errorf("%+v, want it left to a person", q)
	}
}

// TestFailure27_AServerThatMoved: all mail is there again, in another order, some of it
// lost, some new, with the time of the copying as INTERNALDATE.
func TestFailure27_AServerThatMoved(t *testing.T) {
	t.Parallel()
	shared := newSharedServers(t)
	for _, start := range []string{"all", "recent"} {
		t.Run(start, func(t *testing.T) {
			t.Parallel()
			env := shared.start(t, imapserver.TLS, func(p *db.Provider) { inbox(p); p.Start, p.MaxEmailsPerSync = start, 100 })
			box := env.srv.Mailbox("INBOX")
			ancient := 0
			if start == "recent" { // more than are taken at first
				box.Expunge()
				for n := range 130 {
					env.received("INBOX", time.Now().AddDate(-1, 0, 0).Add(time.Duration(n)*time.Minute))
				}
				ancient = 30
			}
			env.passed()
			for range 20 {
				env.append("INBOX", 1)
			}
			env.passed()
			mail := box.Messages()
			slices.Reverse(mail)
			rows := env.ledger()
			// What is not the account changes nothing.
			env.set(func(p *db.Provider) { p.TLSServerName = "LOCALHOST" })
			if res := env.passed(); res.Counts.Total() != 0 {
				t.Fatalf("another name in the certificate: %+v, want nothing", res.Counts)
			}
			moved := imapserver.Test(t, imapserver.Config{}, 0)
			env.srv = moved
			for i, m := range mail {
				if i%10 != 3 { // some were lost
					moved.Mailbox("INBOX").AppendAt(string(m.Raw), time.Now())
				}
			}
			for range 2 {
				env.received("INBOX", time.Now())
			}
			env.set(func(p *db.Provider) {
				p.Host, p.Port, p.CAPEM = moved.Host(), moved.Port(), string(moved.CertPEM())
			})
			res := env.passed()
			old := min(ancient-ancient/10, DefaultMaxOldUnknown)
			if want := 2 + old; res.Counts.Published != want || res.Counts.Duplicates != 0 {
				t.Errorf("after the move: %+v, want %d published", res.Counts, want)
			}
			if got := env.ledger(); got != rows+2+old {
				t.Errorf("%d rows in the ledger, want %d", got, rows+2+old)
			}
			if res := env.passed(); res.Counts.Total() != 0 {
				t.Errorf("once more: %+v, want nothing", res.Counts)
			}
			for subject, n := range env.onStream(env.provider) {
				if n != 1 {
					t.Errorf("%q is on the stream %d times", subject, n)
				}
			}
		})
	}
}

// TestFailure27_AServerThatMovedAndAddsAHeader: no size is what it was, so that only
// contents tell. What is known by them is not held, however much and old it is.
func TestFailure27_AServerThatMovedAndAddsAHeader(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) { inbox(p); p.Start = "all" })
	const old = 2*DefaultMaxOldUnknown + 20
	for n := range old {
		env.received("INBOX", time.Now().AddDate(0, -1, 0).Add(time.Duration(n)*time.Minute))
	}
	env.passed()
	mail := env.srv.Mailbox("INBOX").Messages()
	moved := imapserver.Test(t, imapserver.Config{}, 0)
	env.srv = moved
	for _, m := range mail {
		moved.Mailbox("INBOX").AppendAt("X-Moved: yes\r\n"+string(m.Raw), m.Date)
	}
	unknown := DefaultMaxOldUnknown + 5
	for range unknown {
		env.received("INBOX", time.Now().AddDate(0, 0, -10))
	}
	env.received("INBOX", time.Now())
	env.set(func(p *db.Provider) {
		p.Host, p.Port, p.CAPEM = moved.Host(), moved.Port(), string(moved.CertPEM())
	})
	published := 0
	for range 6 {
		published += env.passed().Counts.Published
	}
	if published != DefaultMaxOldUnknown+1 {
		t.Errorf("%d published, want %d old ones and the new one", published, DefaultMaxOldUnknown)
	}
	if st := env.state("INBOX"); int(st.Held) != unknown-DefaultMaxOldUnknown || st.Backlog != 0 || st.ResyncSince != nil {
		t.Errorf("%d held, backlog %d; want those held that are unknown, and no backlog", st.Held, st.Backlog)
	}
}

// TestFailure07_ShownAgain: a mail that was taken for expunged under the new numbering, and
// is known by its header when it is shown again, has one row.
func TestFailure07_ShownAgain(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, inbox)
	env.passed()
	box := env.srv.Mailbox("INBOX")
	box.SetUIDValidity(7)
	env.srv.Play(inInbox(imapserver.Named("body-refused-one")))
	env.passes(2, time.Minute)
	if n := len(env.quarantine()); n != 1 {
		t.Fatalf("%d in quarantine, want 1", n)
	}
	env.srv.Behave()
	env.remember()
	box.SetEmpty(true, false)
	for range 2 {
		env.later(20 * time.Minute)
		must(t, env.due())
		env.passed()
	}
	if n := len(env.quarantine()); n != 0 {
		t.Fatalf("%d in quarantine, want it taken for expunged", n)
	}
	box.SetEmpty(false, false)
	rows := env.ledger()
	env.later(time.Hour)
	env.passed()
	env.later(time.Hour)
	env.passed()
	env.once("INBOX")
	if got := env.ledger(); got != rows-1 {
		t.Errorf("%d rows in the ledger, want %d", got, rows-1)
	}
}

// TestFailure27_SettingsThatAreNotTheAccount change nothing.
func TestFailure27_SettingsThatAreNotTheAccount(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, inbox)
	env.passed()
	before := env.state("INBOX")
	env.set(func(p *db.Provider) { p.CAPEM += "\n"; p.CommandTimeoutMS += 10; p.Name += "x" })
	env.append("INBOX", 1)
	if res := env.passed(); res.Counts.Published != 1 {
		t.Errorf("%+v, want 1 published", res.Counts)
	}
	if after := env.state("INBOX"); after.RenumberedAt != nil || after.Account != before.Account {
		t.Errorf("%+v, want the same account", after)
	}
}

// TestFailure07_ReadMailOfTheGap: a mail that was moved in while nobody looked, read
// and ten days old, is as new as any.
func TestFailure07_ReadMailOfTheGap(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, inbox)
	env.exec(`UPDATE email_providers SET created_at = now() - interval '1 year' WHERE id = $1`)
	env.passed()
	env.exec(`UPDATE imap_folder_state SET first_look_at = now() - interval '30 days' WHERE provider_id = $1`)
	box := env.srv.Mailbox("INBOX")
	box.MarkSeen(env.received("INBOX", time.Now().AddDate(0, 0, -10)))
	box.Renumber()
	if res := env.passed(); res.Counts.Published != 1 {
		t.Errorf("%+v, want it published", res.Counts)
	}
	env.once("INBOX")
	if rep := env.report(); rep.Handled != 5 || rep.Before != 0 {
		t.Errorf("reconcile: %+v, want 5 handled", rep)
	}
}

// TestFailure07_NoDateIsNoOldDate: what neither the mail nor the server dates is not
// taken for older than the start.
func TestFailure07_NoDateIsNoOldDate(t *testing.T) {
	t.Parallel()
	shared := newSharedServers(t)
	blank := imapserver.Quirk{Stage: imapserver.Body, Do: func(x *imapserver.Exchange) error {
		return x.Each(func(r *imapserver.Response) {
			if strings.Contains(r.Head, "HEADER") {
				r.Body, r.Head = []byte("\r\n"), r.Head[:strings.LastIndex(r.Head, "{")]+"{2}\r\n"
			}
		})
	}}
	for name, headers := range map[string]bool{"no header comes": false, "no Date in it": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := shared.start(t, imapserver.TLS, func(p *db.Provider) { inbox(p); p.Start = "recent" })
			env.passed()
			box := env.srv.Mailbox("INBOX")
			box.Renumber()
			box.AppendAt("From: scanner@example.org\r\nMessage-ID: <scan@example.org>\r\nSubject: Scan\r\n\r\nscanned\r\n", time.Unix(0, 0).UTC())
			if !headers {
				env.srv.Play(blank)
			}
			env.passed()
			env.srv.Behave()
			env.passes(2, time.Hour)
			env.once("INBOX")
			if rep := env.report(); rep.Before != 0 || len(rep.Missing) != 0 {
				t.Errorf("reconcile: %+v, want nothing older than the start", rep)
			}
		})
	}
}

// TestFailure07_AlikeByTheirHeaders: what headers do not tell apart is told by content.
func TestFailure07_AlikeByTheirHeaders(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, inbox)
	genuine := newMail(1, time.Now())
	forged := []byte(strings.Replace(string(genuine), "Body 1.", "Fake 1.", 1))
	box := env.srv.Mailbox("INBOX")
	box.Expunge()
	box.Append(string(genuine))
	env.passed()
	// The forged one came in the gap, and stands first.
	box = env.replaceBox("INBOX", imapserver.Message{Raw: forged, Date: time.Now()}, imapserver.Message{Raw: genuine, Date: time.Now()})
	box.SetUIDValidity(9)
	if res := env.passed(); res.Counts.Published != 1 {
		t.Errorf("%+v, want the other mail published", res.Counts)
	}
	if rep := env.report(); rep.Handled+rep.Duplicates != 2 || len(rep.Missing) != 0 {
		t.Errorf("reconcile: %+v, want both handled", rep)
	}
}

// TestFailure07_ARowStandsForOneMessage: a row of the ledger that stood for one message is
// not taken for another of the same header and size, in whichever pass that is looked at.
func TestFailure07_ARowStandsForOneMessage(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	at := time.Now()
	letter := newMail(1, at)
	unnamed := []byte(regexp.MustCompile(`Message-ID: .*\r\n`).ReplaceAllString(string(letter), ""))
	// alike is a mail that nothing but its text tells from the letter.
	alike := func(letter []byte, n int) imapserver.Message {
		return imapserver.Message{Raw: []byte(strings.Replace(string(letter), "Body 1.", fmt.Sprintf("Mail %d.", n), 1)), Date: at}
	}
	other := func(n int) imapserver.Message { return imapserver.Message{Raw: newMail(n, at), Date: at} }
	for name, play := range map[string]func(env *scriptedEnv, box *imapserver.Mailbox){
		"several passes": func(env *scriptedEnv, box *imapserver.Mailbox) {
			box.AppendAt(string(alike(letter, 1).Raw), at)
			env.passed()
			env.set(func(p *db.Provider) { p.MaxEmailsPerSync = 2 })
			env.replaceBox("INBOX", alike(letter, 1), alike(letter, 2), other(3), other(4), alike(letter, 5)).SetUIDValidity(9)
		},
		"comes while the folder is gone through": func(env *scriptedEnv, box *imapserver.Mailbox) {
			box.AppendAt(string(alike(letter, 1).Raw), at)
			env.passed()
			env.set(func(p *db.Provider) { p.MaxEmailsPerSync = 2 })
			var mail []imapserver.Message
			for n := range headerWindow {
				mail = append(mail, other(n+10))
			}
			box = env.replaceBox("INBOX", append(mail, alike(letter, 1))...)
			box.SetUIDValidity(9)
			env.passed()
			box.AppendAt(string(alike(letter, 5).Raw), at.Add(time.Minute))
			env.passed()
			env.set(func(p *db.Provider) { p.MaxEmailsPerSync = 500 })
		},
		"the numbering never holds": func(env *scriptedEnv, box *imapserver.Mailbox) {
			box.AppendAt(string(alike(unnamed, 1).Raw), at)
			for n := range 6 {
				box.AppendAt(string(alike(unnamed, n+1).Raw), at) // the first is a copy
				box.SetUIDValidity(uint64(10 + n))
				if res := env.passed(); res.Counts.Published != 1 {
					env.t.Errorf("%+v, want the new mail published", res.Counts)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := l.start(t, imapserver.TLS, inbox)
			box := env.srv.Mailbox("INBOX")
			box.Expunge()
			play(env, box)
			for range 5 {
				env.passed()
			}
			mails := map[string]bool{}
			for _, m := range env.srv.Mailbox("INBOX").Messages() {
				mails[string(m.Raw)] = true
			}
			if got, want := env.counted(), len(mails); got != want {
				t.Errorf("%d mails published, want %d", got, want)
			}
		})
	}
}

// TestFailure07_NewestFirst: mail that came just before the change does not wait for all
// that stands below it.
func TestFailure07_NewestFirst(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, inbox)
	box := env.replaceBox("INBOX")
	for range newestFirst - 1 {
		env.received("INBOX", time.Now())
	}
	env.passed()
	known := box.Messages()
	env.set(func(p *db.Provider) { p.MaxEmailsPerSync = 2 })
	env.replaceBox("INBOX")
	for range headerWindow {
		env.received("INBOX", time.Now())
	}
	for _, m := range known {
		env.srv.Mailbox("INBOX").AppendAt(string(m.Raw), m.Date)
	}
	env.received("INBOX", time.Now())
	env.srv.Mailbox("INBOX").SetUIDValidity(9)
	newest := fmt.Sprintf("dated %05d", env.n)
	if env.passed(); slices.Contains(env.missing("INBOX"), newest) {
		t.Errorf("%q waits for the mail below it", newest)
	}
}

// TestFailure07_QuarantineMovesAlong: no entry dies of a renumbering, and the attempts
// it had count.
func TestFailure07_QuarantineMovesAlong(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, inbox)
	env.passed()
	uid := env.received("INBOX", time.Now())
	env.exec(`INSERT INTO imap_quarantine (tenant, id, provider_id, folder, uid_validity, uid, state, stage, error_code, error, attempts,
			charges, size, internal_date, next_attempt_at, created_at, updated_at)
		SELECT tenant, gen_random_uuid(), provider_id, folder, uid_validity, ` + fmt.Sprint(uid) + `, 'retry', 'fetch', 'no_body', 'x', 3,
			2, ` + fmt.Sprint(len(env.srv.Mailbox("INBOX").Messages()[4].Raw)) + `, '` + env.srv.Mailbox("INBOX").Messages()[4].Date.Format(time.RFC3339) + `',
			now() + interval '1 day', now(), now() FROM imap_folder_state WHERE provider_id = $1`)
	env.exec(`INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, uid, outcome, processed_at)
		SELECT tenant, provider_id, folder, uid_validity, uid, 'quarantined', now() FROM imap_quarantine WHERE provider_id = $1`)
	box := env.srv.Mailbox("INBOX")
	box.Expunge(1)
	box.Renumber()
	env.passed()
	list := env.quarantine()
	if len(list) != 1 || list[0].UID != uid-1 || list[0].UIDValidity != box.UIDValidity() || list[0].State != db.QuarantineRetry || list[0].Attempts != 3 || list[0].Charges != 2 {
		t.Fatalf("quarantine: %+v, want it under its new uid %d, as it was", list, uid-1)
	}
	if rep := env.report(); rep.Quarantined != 1 || rep.Handled != 3 {
		t.Errorf("reconcile: %+v", rep)
	}
	env.due()
	env.passed()
	env.once("INBOX")
	if list := env.quarantine(); len(list) != 0 {
		t.Errorf("quarantine: %+v, want it empty", list)
	}
}

// TestFailure07_AnEmptyStore: a store that is not mounted shows no message under
// whatever number, and all of them an hour later.
func TestFailure07_AnEmptyStore(t *testing.T) {
	t.Parallel()
	for _, forgets := range []bool{false, true} {
		t.Run(fmt.Sprintf("UIDNEXT 1: %t", forgets), func(t *testing.T) {
			t.Parallel()
			env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) { inbox(p); p.Start, p.MaxEmailsPerSync = "recent", 2 })
			env.passed()
			box := env.srv.Mailbox("INBOX")
			box.SetEmpty(true, forgets)
			for range 3 {
				env.passed()
			}
			box.SetEmpty(false, false)
			env.append("INBOX", 1)
			published := 0
			for range 3 {
				published += env.passed().Counts.Published
			}
			if published != 1 {
				t.Errorf("%d published once it is back, want the new one", published)
			}
		})
	}
}

// TestFailure31_UIDVALIDITYThatNeverHolds: the folder is read by place, slowly, and
// never paused.
func TestFailure31_UIDVALIDITYThatNeverHolds(t *testing.T) {
	t.Parallel()
	neverHolds(t, 1500, 200, 20)
}

// handled has the ledger know all mail of INBOX, as if it had been published.
func (env *scriptedEnv) handled(box *imapserver.Mailbox) {
	env.t.Helper()
	env.exec(`INSERT INTO imap_folder_state (tenant, provider_id, folder, uid_validity, settled_uid, last_uid, first_look_at)
		SELECT tenant, id, 'INBOX', ` + fmt.Sprint(box.UIDValidity()) + `, ` + fmt.Sprint(len(box.Messages())) + `, ` + fmt.Sprint(len(box.Messages())) + `, now()
		FROM email_providers WHERE id = $1`)
	for _, m := range box.Messages() {
		id := publish.Identify(m.Raw)
		_, err := env.pool.Exec(`INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, uid, event_key, message_id,
				fingerprint, outcome, size, processed_at, internal_date)
			VALUES ($1, $2, 'INBOX', $3, $4, $5, $6, $7, 'published', $8, now(), $9)`, testTenant, env.provider.ID,
			int64(box.UIDValidity()), m.UID, id.Key, id.MessageID, id.HeaderPrint, len(m.Raw), m.Date)
		must(env.t, err)
	}
}

func neverHolds(t *testing.T, size, headers, passes int) {
	env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) {
		inbox(p)
		p.Start, p.MaxEmailsPerSync, p.CommandTimeoutMS, p.LiteralTimeoutMS = "all", size, 60_000, 60_000
	})
	env.runner.Options.MaxHeaders = headers
	box := env.srv.Mailbox("INBOX")
	began := time.Now().AddDate(0, -1, 0)
	for n := range size - 4 {
		env.received("INBOX", began.Add(time.Duration(n)*time.Minute/2))
	}
	if size > 5000 {
		env.handled(box)
	} else if res := env.passed(); res.Counts.Published != size {
		t.Fatalf("before: %+v, want %d published", res.Counts, size)
	}
	box.SetRestless(true)
	env.set(func(p *db.Provider) { p.MaxEmailsPerSync = 50 })
	rows := env.ledger()
	for pass := range passes {
		if pass%5 == 0 {
			env.received("INBOX", time.Now())
			rows++
		}
		if pass == 7 { // read, old, and in the middle
			all := box.Messages()
			raw := string(newMail(90_000, began.Add(time.Hour)))
			at := size / 3
			all = slices.Insert(all, at, imapserver.Message{Raw: []byte(raw), Date: began.Add(time.Hour), Seen: true})
			box = env.replaceBox("INBOX", all...)
			box.SetUIDValidity(4_000_000_000)
			box.SetRestless(true)
			rows++
		}
		env.passed()
		if pass%5 == 1 {
			newest := box.Messages()[len(box.Messages())-1]
			subject, _ := letterParts(t, newest.Raw)
			if env.onStream(env.provider)[subject] != 1 {
				t.Fatalf("pass %d: %q is not on the stream after two passes", pass, subject)
			}
		}
	}
	if size <= 5000 {
		env.once("INBOX")
	}
	if got := env.ledger(); got != rows {
		t.Errorf("%d rows in the ledger, want %d", got, rows)
	}
	st := env.state("INBOX")
	if !st.Unstable {
		t.Errorf("%+v, want it to be unstable", st)
	}
	if rep := env.report(); rep.Handled != rep.OnServer || len(rep.Missing) != 0 {
		t.Errorf("reconcile: %+v, want all handled", rep)
	}
	// It comes to its senses.
	box.SetRestless(false)
	for range unstableAfter + 2 {
		env.received("INBOX", time.Now())
		env.passed()
	}
	if size <= 5000 {
		env.once("INBOX")
	}
	if st := env.state("INBOX"); st.Unstable || st.ResyncSince != nil {
		t.Errorf("%+v, want it to be read like any other", st)
	}
}

// TestFailure07_PrunedThenRenumbered: what has left the ledger is not published again,
// and what the server still shows does not leave it.
func TestFailure07_PrunedThenRenumbered(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, inbox)
	box := env.srv.Mailbox("INBOX")
	box.Expunge()
	for range 6 {
		env.received("INBOX", time.Now().AddDate(-3, 0, 0))
	}
	env.passed()
	gone := box.Messages()[:5]
	box.Expunge(5, 6, 7, 8, 9)
	env.passed()
	env.exec(`UPDATE imap_messages SET processed_at = processed_at - interval '2 years' WHERE provider_id = $1`)
	env.exec(`UPDATE imap_folder_state SET lowest_uid = 10, settled_uid = 10, first_look_at = now() - interval '4 years' WHERE provider_id = $1`)
	m, err := env.store.Maintain(t.Context(), time.Now(), db.Retention{Ledger: db.KeepLedger})
	must(t, err)
	if m.LedgerRows != 5 {
		t.Fatalf("%d rows pruned, want those of the mail that is gone", m.LedgerRows)
	}
	// A backup brings all of it back, in another order.
	all := slices.Concat(box.Messages(), gone)
	for i := range all {
		all[i].Date = time.Now().AddDate(-3, 0, 0)
	}
	env.replaceBox("INBOX", all...).SetUIDValidity(11)
	env.received("INBOX", time.Now())
	if res := env.passed(); res.Counts.Published != 1 {
		t.Errorf("%+v, want the new mail alone published", res.Counts)
	}
	for subject, n := range env.onStream(env.provider) {
		if n != 1 {
			t.Errorf("%q is on the stream %d times", subject, n)
		}
	}
}

// TestFailure07_SweepGoesOn: a renumbering that is cut short, by a budget or by a
// second one, goes on where it was.
func TestFailure07_SweepGoesOn(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) { inbox(p); p.MaxEmailsPerSync = 10 })
	for range 30 {
		env.received("INBOX", time.Now().AddDate(-1, 0, 0))
	}
	box := env.srv.Mailbox("INBOX")
	env.passed() // 10 of 34
	box.Renumber()
	env.passed()
	box.Renumber()
	env.received("INBOX", time.Now())
	env.passed()
	for range 3 {
		env.passed()
	}
	env.once("INBOX")
	if got := env.ledger(); got != 35 {
		t.Errorf("%d rows in the ledger, want 35", got)
	}
	if st := env.state("INBOX"); st.ResyncSince != nil || st.Held != 0 || st.Backlog != 0 {
		t.Errorf("%+v, want the search to have ended", st)
	}
	if diff := cmp.Diff(db.Counts{}, env.passed().Counts); diff != "" {
		t.Errorf("one more pass (-want +got):\n%s", diff)
	}
}

// TestFailure31_OddMailWhereNumberingNeverHolds: mail without any header, mail without
// Message-ID and mail of one Message-ID are known again, and the ledger does not grow.
func TestFailure31_OddMailWhereNumberingNeverHolds(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) { inbox(p); p.Start = "all" })
	env.folders = nil // mail like this is no letter
	box := env.srv.Mailbox("INBOX")
	lately := time.Now().Add(-time.Hour)
	for _, raw := range []string{
		"\r\n\r\nno header\r\n", "neither\r\n", "Subject: Alert\r\n\r\ndisk 1\r\n", "Subject: Alert\r\n\r\ndisk 2\r\n", "Subject: Alert\r\n\r\ndisk 1\r\n",
		"Message-ID: <scan@example.org>\r\n\r\none\r\n", "Message-ID: <scan@example.org>\r\n\r\ntwo\r\n",
	} {
		box.AppendAt(raw, lately)
	}
	env.passed()
	box.SetRestless(true)
	env.passes(5, time.Minute)
	rows := env.ledger()
	if res := env.passes(5, time.Minute); res.Err != nil || res.Counts.Total() != 0 {
		t.Errorf("%+v, want nothing new", res)
	}
	if got := env.ledger(); got != rows {
		t.Errorf("%d rows in the ledger, want %d as five passes before", got, rows)
	}
	if rep := env.report(); rep.Handled+rep.Duplicates != 11 {
		t.Errorf("reconcile: %+v, want all 11 handled", rep)
	}
}

// TestFailure31_PoisonWithoutSizeWhereNumberingNeverHolds: it has one entry in the
// quarantine, and is charged as any other.
func TestFailure31_PoisonWithoutSizeWhereNumberingNeverHolds(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, inbox)
	env.passed()
	env.srv.Mailbox("INBOX").SetRestless(true)
	env.passes(4, time.Minute)
	env.srv.Play(imapserver.Quirk{Stage: imapserver.Fetch, Do: func(x *imapserver.Exchange) error {
		return x.Each(func(r *imapserver.Response) {
			r.Head = strings.ReplaceAll(r.Head, "RFC822.SIZE ", "RFC822.SIZE 0 X-SIZE ")
		})
	}})
	poison := env.received("INBOX", time.Now())
	env.srv.Play(imapserver.Quirk{Stage: imapserver.Body, Do: func(x *imapserver.Exchange) error {
		x.Responses = slices.DeleteFunc(x.Responses, func(r imapserver.Response) bool {
			return r.UID != 0 && strings.Contains(x.Args, "BODY.PEEK[]") && strings.Contains(string(r.Body), fmt.Sprintf("dated %05d", env.n))
		})
		return nil
	}})
	env.passes(6, 20*time.Minute)
	if entries := env.quarantine(); len(entries) != 1 {
		t.Errorf("%d entries in the quarantine of uid %d, want 1: %+v", len(entries), poison, entries)
	}
}
