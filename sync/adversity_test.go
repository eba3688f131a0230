package sync

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv"
	"imapsync/internal/devenv/imapserver"
	"imapsync/parse"
)

// These are what an adversary, or bad luck, put together: two measures that
// are right alone and meet in one pass.

func appendN(box *imapserver.Mailbox, from, to int, subject string) {
	for n := from; n <= to; n++ {
		box.Append(string(mail(n, fmt.Sprintf("%s %d", subject, n))))
	}
}

// panicky panics on mail that says POISON.
func panicky(raw []byte, lim parse.Limits) *parse.Message {
	if bytes.Contains(raw, []byte("POISON")) {
		panic("index out of range")
	}
	return parse.Parse(raw, lim)
}

// cutAt closes the connection whenever the body of uid is asked for.
func cutAt(uid uint32) imapserver.Quirk {
	return imapserver.Quirk{Name: "cut", Stage: imapserver.Body, Do: (*imapserver.Exchange).Close, When: func(x *imapserver.Exchange) bool {
		for _, r := range x.Responses {
			if r.UID == uid {
				return true
			}
		}
		return false
	}}
}

// until runs passes, whatever each says, and compares the number of events.
func (env *testEnv) until(p *db.Provider, passes, want int) {
	env.t.Helper()
	for range passes {
		env.run(p)
	}
	if got := len(env.events()); got != want {
		env.t.Errorf("%d events after %d passes, want %d", got, passes, want)
	}
}

func TestFailure01_RetriesDoNotOverdrawTheBudget(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	must(t, d.Deliver("u", "INBOX", mail(1, "POISON")))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.MaxEmailsPerSync = 5 })
	env.runner.parse = panicky
	env.ok(p)
	must(t, d.Deliver("u", "INBOX", mails(2, 20)...))
	must(t, env.due())
	if res := env.ok(p); res.Counts.Published != 5 || res.Counts.Quarantined != 1 {
		t.Errorf("%+v, want 5 published beside the retry", res.Counts)
	}
}

func TestFailure07_RecognisedMailDoesNotOverdrawTheBudget(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { p.Folders = db.FolderNames{"INBOX", "Work"}; p.MaxEmailsPerSync = 50 })
	box := s.Mailbox("INBOX")
	appendN(box, 1, 80, "old")
	appendN(s.Mailbox("Work"), 1, 1, "work")
	env.until(p, 3, 81)
	box.Renumber()
	appendN(s.Mailbox("Work"), 2, 4, "work")
	env.until(p, 3, 84)
}

func TestFailure07_NumbersUsedAgainUnderOneUIDVALIDITY(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { p.MaxEmailsPerSync = 50 })
	box := s.Mailbox("INBOX")
	appendN(box, 1, 100, "old")
	env.until(p, 3, 100)
	box.Expunge()
	box.SetUIDNext(1)
	for n := 101; n <= 180; n++ {
		box.Append(string(newMail(n, time.Now())))
	}
	env.until(p, 6, 180)
	appendN(box, 181, 200, "later")
	env.until(p, 4, 200)
}

func TestFailure07_BacklogOutlivesAChangeOfNumbers(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { p.MaxEmailsPerSync = 50 })
	box := s.Mailbox("INBOX")
	var uids []uint32
	for n := range 200 {
		uids = append(uids, box.AppendAt(string(mail(n, "old")), time.Now().AddDate(0, -2, 0)))
	}
	box.MarkSeen(uids...)
	env.ok(p)
	box.Renumber()
	env.until(p, 8, 200)
}

func TestFailure07_OldUnreadMailStaysOld(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { p.Start = "none" })
	box := s.Mailbox("INBOX")
	for n := range 30 {
		box.AppendAt(string(mail(n, "old")), time.Now().AddDate(-1, 0, 0))
	}
	env.ok(p)
	box.Renumber()
	env.until(p, 2, 0)
}

func TestFailure07_PoisonInARenumberedFolder(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, nil)
	box := s.Mailbox("INBOX")
	appendN(box, 1, 30, "old")
	env.ok(p)
	appendN(box, 31, 40, "new")
	box.Renumber()
	s.Play(cutAt(3))
	env.until(p, 6, 40) // the one that costs the connection was published before
}

func TestFailure07_SearchRefusedInARenumberedFolder(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, nil)
	s.Play(imapserver.Quirk{Name: "no-search", Stage: imapserver.Search, Do: func(x *imapserver.Exchange) error { return x.Tagged("NO SEARCH is not allowed") }})
	box := s.Mailbox("INBOX")
	appendN(box, 1, 5, "old")
	env.ok(p)
	box.Renumber()
	appendN(box, 6, 8, "new")
	env.until(p, 3, 8)
}

func TestFailure07_QuarantineIsNotForgotten(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, nil)
	env.runner.parse = panicky
	box := s.Mailbox("INBOX")
	uid := box.AppendAt(string(mail(1, "POISON")), time.Now().AddDate(0, 0, -30))
	env.ok(p)
	box.MarkSeen(uid)
	box.Renumber()
	env.runner.parse = parse.Parse
	for range 3 {
		env.run(p)
	}
	list, err := env.store.ListQuarantine(t.Context(), db.QuarantineFilter{ProviderID: p.ID, Limit: 10})
	must(t, err)
	if len(list) != 1 || list[0].State != db.QuarantineRetry || list[0].UIDValidity != box.UIDValidity() {
		t.Errorf("quarantine: %+v, want the entry as it was", list)
	}
	must(t, env.due())
	env.until(p, 1, 1)
}

func TestFailure01_BackfillGoesAroundPoison(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { p.Start = "none" })
	box := s.Mailbox("INBOX")
	appendN(box, 1, 30, "old")
	env.ok(p)
	s.Play(cutAt(3))
	if res := env.runner.Backfill(t.Context(), p, Backfill{Since: time.Now().AddDate(0, 0, -3)}); res.Counts.Published != 29 || res.Counts.Quarantined != 1 {
		t.Errorf("%+v (%v), want 29 published and the one that costs the connection quarantined", res.Counts, res.Err)
	}
	fresh, err := env.store.Provider(t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID})
	must(t, err)
	if fresh.Status != db.StatusConnected {
		t.Errorf("the backfill left the provider %s", fresh.Status)
	}
}

func TestFailure01_RetriesOfAFolderThatIsGoneStarveNoOther(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { p.Folders = db.FolderNames{"INBOX", "Archive"} })
	env.runner.parse = panicky
	appendN(s.Mailbox("Archive"), 1, maxRetries, "POISON")
	s.Mailbox("INBOX")
	env.ok(p)
	s.Mailbox("INBOX").Append(string(mail(99, "POISON")))
	env.ok(p)
	s.RemoveMailbox("Archive")
	env.runner.parse = parse.Parse
	must(t, env.due())
	env.until(p, 2, 1)
}

func TestFailure10_AFolderThatIsMissingIsNoRefusedLogin(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { p.Folders = db.FolderNames{"INBOX", "Gone"} })
	s.Mailbox("INBOX")
	for range maxAuthFailures {
		s.PlayTimes(imapserver.Named("login-refused"), 1)
		fresh, err := env.store.Provider(t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID})
		must(t, err)
		env.run(fresh) // refused
		env.run(fresh) // served, but for the folder that is missing
	}
	fresh, err := env.store.Provider(t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID})
	must(t, err)
	if fresh.PausedAt != nil || fresh.LastSuccessAt == nil {
		t.Errorf("paused (%s) although logins went well in between", fresh.PauseReason)
	}
}

func TestFailure08_FewBytesInFlight(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.runner.Options.MaxInFlightBytes = 20_000
	s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { p.PassTimeoutMS, p.MaxEmailsPerSync = 20_000, 500 })
	appendN(s.Mailbox("INBOX"), 1, 300, "a")
	env.until(p, 1, 300)
}

func TestFailure08_SizesThatAreLies(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { p.MaxMessageBytes = 1 << 20 })
	s.Play(imapserver.Quirk{Name: "tiny", Stage: imapserver.Fetch, Do: func(x *imapserver.Exchange) error { return x.Replace("RFC822.SIZE ", "RFC822.SIZE 1 X-SIZE ") }})
	large := bytes.Repeat([]byte("0123456789abcdef\r\n"), 20_000)
	for n := range 12 {
		s.Mailbox("INBOX").Append(string(append(mail(n, "large"), large...)))
	}
	env.until(p, 3, 12) // the first FETCH of all ends at the limit; each comes by itself
}

// The first of the folders that failed gives a pass its code, whoever says what
// is wrong with it.
func TestCodeOfTheFirstFolderThatFailed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { p.Folders = db.FolderNames{"INBOX", "Missing", "Work"} })
	s.Mailbox("Work")
	later := func(x *imapserver.Exchange) error { return x.Tagged("NO [UNAVAILABLE] Later") }
	s.Play(imapserver.Quirk{Stage: imapserver.Status, Do: later})
	s.Play(imapserver.Quirk{Stage: imapserver.Select, Do: later})
	_, results := env.run(p)
	if _, code := Classify(results[0].Err); code != "unavailable" {
		t.Errorf("code %s of %v, want that of INBOX", code, results[0].Err)
	}
}
