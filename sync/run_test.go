package sync

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/internal/devenv"
	"imapsync/internal/fault"
)

func TestRunPublishesEachMessageOnce(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("support", "geheim", "Поддержка", "Clients/ACME"))
	must(t, d.Deliver("support", "INBOX", mails(1, 500)...))
	must(t, d.Deliver("support", "Поддержка", mails(501, 800)...))
	must(t, d.Deliver("support", "Clients/ACME", mails(801, 1000)...))
	p := env.provider(d, "support", "geheim", func(p *db.Provider) {
		p.Folders = db.FolderNames{"INBOX", "Поддержка", "Clients/ACME"}
		p.MaxEmailsPerSync = 1000
	})
	res := env.ok(p)
	if res.Counts.Published != 1000 || res.Left != 0 {
		t.Errorf("first pass: %+v, want 1000 published and none left", res)
	}
	if got := len(env.events()); got != 1000 {
		t.Errorf("%d events on the stream, want 1000", got)
	}
	if res := env.ok(p); res.Counts.Total() != 0 {
		t.Errorf("second pass: %+v, want nothing", res.Counts)
	}
	must(t, d.Deliver("support", "Поддержка", mails(1001, 1003)...))
	if res := env.ok(p); res.Counts.Published != 3 {
		t.Errorf("after three more: %+v, want 3 published", res.Counts)
	}
}

func TestBudgetIsSharedAndTakesAllInTheEnd(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p", "A", "B"))
	must(t, d.Deliver("u", "INBOX", mails(1, 80)...))
	must(t, d.Deliver("u", "A", mails(81, 230)...))
	must(t, d.Deliver("u", "B", mails(231, 235)...))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.Folders = db.FolderNames{"A", "B", "INBOX"} })
	for pass := range 5 {
		want := min(50, 235-50*pass)
		if res := env.ok(p); res.Counts.Published != want || res.Left != 235-50*pass-want {
			t.Fatalf("pass %d: published %d, left %d; want %d and %d", pass, res.Counts.Published, res.Left, want, 235-50*pass-want)
		}
		if pass == 0 {
			if first := env.events()[0]; first.Payload.EmailData.IMAP.Folder != "INBOX" {
				t.Errorf("the first event is from %s, want INBOX", first.Payload.EmailData.IMAP.Folder)
			}
		}
	}
	if got := len(env.events()); got != 235 {
		t.Errorf("%d events, want 235", got)
	}
}

func TestDrainTakesAllInOneRun(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	must(t, d.Deliver("u", "INBOX", mails(1, 120)...))
	p := env.provider(d, "u", "p", nil)
	env.runner.Options.Drain = true
	if res := env.ok(p); res.Counts.Published != 120 || res.Left != 0 {
		t.Errorf("drained: %+v, want 120 published", res)
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	d := devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	must(t, d.Append("u", "INBOX", time.Now().AddDate(0, 0, -90), mails(1, 3)...))
	must(t, d.Append("u", "INBOX", time.Now().AddDate(0, 0, -2), mails(4, 8)...))
	for start, want := range map[string]int{"all": 8, "none": 0, "recent": 4, "since:30d": 5, "since:2199-01-01": 0} {
		t.Run(start, func(t *testing.T) {
			env := newEnv(t)
			p := env.provider(d, "u", "p", func(p *db.Provider) { p.Start, p.MaxEmailsPerSync = start, 4 })
			env.runner.Options.Drain = true
			if res := env.ok(p); res.Counts.Published != want {
				t.Errorf("published %d, want %d", res.Counts.Published, want)
			}
			must(t, d.Append("u", "INBOX", time.Now(), mail(9, "later")))
			if res := env.ok(p); res.Counts.Published != 1 {
				t.Errorf("mail that came later: %+v, want 1 published", res.Counts)
			}
		})
		// Each start sees the same mailbox, but for the mail that came later.
		must(t, expungeLast(d, "u"))
	}
}

func TestOneFailureStopsNothingElse(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("good", "p", "Extra"))
	must(t, d.AddUser("bad", "p"))
	must(t, d.Deliver("good", "INBOX", mails(1, 2)...))
	must(t, d.Deliver("good", "Extra", mails(3, 4)...))
	good := env.provider(d, "good", "p", func(p *db.Provider) { p.Folders = db.FolderNames{"INBOX", "Missing", "Extra"} })
	bad := env.provider(d, "bad", "wrong", nil)
	nobody := env.provider(d, "nobody", "p", func(p *db.Provider) { p.Port = 1 })
	untrusted := env.provider(d, "untrusted", "p", func(p *db.Provider) { p.CAPEM = "" })
	summary, results := env.run(good, bad, nobody, untrusted)
	if summary.Failed != 3 || summary.Partial != 1 || summary.Counts.Published != 4 {
		t.Errorf("summary %+v, want 3 failed, 1 partial, 4 published", summary)
	}
	codes := map[string]string{}
	for _, res := range results {
		_, codes[res.Provider.Name] = Classify(res.Err)
	}
	want := map[string]string{"good": "folder_missing", "bad": "authenticationfailed", "nobody": "connect", "untrusted": "tls_unknown_ca"}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Errorf("codes (-want +got):\n%s", diff)
	}
	after, err := env.store.Provider(t.Context(), db.Ref{Tenant: bad.Tenant, ID: bad.ID})
	must(t, err)
	if after.Status != db.StatusError || after.ErrorMessage == "" || after.NextAttemptAt == nil {
		t.Errorf("the failed provider: status %s, message %q, next %v", after.Status, after.ErrorMessage, after.NextAttemptAt)
	}
}

func TestFailure10_ThreeAuthFailuresPause(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	p := env.provider(d, "u", "wrong", nil)
	for range 3 {
		env.run(p)
		var err error
		p, err = env.store.Provider(t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID})
		must(t, err)
	}
	if p.PausedAt == nil || p.PauseReason != db.PauseAuthFailure {
		t.Errorf("after three refusals: paused %v, reason %q", p.PausedAt, p.PauseReason)
	}
}

func TestFailure25_CopyInAnotherFolderIsADuplicate(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p", "A"))
	same := mails(1, 3)
	must(t, d.Deliver("u", "INBOX", append(same, same[0])...))
	must(t, d.Deliver("u", "A", same...))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.Folders = db.FolderNames{"INBOX", "A"} })
	if res := env.ok(p); res.Counts.Published != 3 || res.Counts.Duplicates != 4 {
		t.Errorf("%+v, want 3 published and 4 duplicates", res.Counts)
	}
}

func TestStartTLSAndPlain(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t, devenv.DovecotConfig("disable_plaintext_auth = no"))
	must(t, d.AddUser("a", `quo"ted \ пароль`))
	must(t, d.AddUser("b", "p"))
	must(t, d.Deliver("a", "INBOX", mails(1, 1)...))
	must(t, d.Deliver("b", "INBOX", mails(2, 2)...))
	a := env.provider(d, "a", `quo"ted \ пароль`, func(p *db.Provider) { p.Port, p.TLS = d.StartTLSPort, db.TLSStartTLS })
	b := env.provider(d, "b", "p", func(p *db.Provider) { p.Port, p.TLS = d.PlainPort, db.TLSNone })
	env.ok(a)
	env.ok(b)
	if got := len(env.events()); got != 2 {
		t.Errorf("%d events, want 2", got)
	}
}

func TestBusyProviderIsSkipped(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	p := env.provider(d, "u", "p", nil)
	other, err := env.store.OpenLocks(t.Context())
	must(t, err)
	defer other.Close()
	if _, ok, err := other.TryLock(t.Context(), p.Tenant, p.ID, uuid.NewString(), time.Now()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	summary, results := env.run(p)
	if summary.Busy != 1 || !results[0].Busy {
		t.Errorf("%+v, want busy", summary)
	}
}

func TestStopFinishesTheChunkInHand(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	must(t, d.Deliver("u", "INBOX", mails(1, 2000)...))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.MaxEmailsPerSync = 2000 })
	stop := make(chan struct{})
	env.runner.Stop = stop
	stopped := false
	env.runner.OnProgress = func(Progress) {
		if !stopped {
			stopped = true
			close(stop)
		}
	}
	res := env.ok(p)
	if n := res.Counts.Published; n == 0 || n == 2000 {
		t.Fatalf("published %d before the stop, want some and not all", n)
	}
	states, err := env.store.FolderStates(t.Context(), res.Ref)
	must(t, err)
	if st := states["INBOX"]; len(st.InFlight) != 0 || int(st.SettledUID) != res.Counts.Published {
		t.Errorf("cursor %+v, want settled at %d and nothing in flight", st, res.Counts.Published)
	}
	env.runner.Stop = make(chan struct{})
	env.ok(p)
	if got := len(env.events()); got != 2000 {
		t.Errorf("%d events, want 2000", got)
	}
}

func TestFailure02_NATSGoneMovesNoCursor(t *testing.T) {
	t.Parallel()
	d, ns := devenv.TestDovecot(t), devenv.TestNATS(t, devenv.NATSMaxPayload(1<<20))
	env := newEnvOn(t, devenv.TestPostgres(t, migrate), ns.URL())
	must(t, d.AddUser("u", "p"))
	must(t, d.Deliver("u", "INBOX", mails(1, 5)...))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.PassTimeoutMS = 8000 })
	must(t, ns.Stop())
	_, results, err := env.tryRun(p)
	if err == nil && (len(results) != 1 || results[0].Err == nil) {
		t.Fatalf("the pass went well without a broker: %+v", results)
	}
	states, serr := env.store.FolderStates(t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID})
	must(t, serr)
	if st := states["INBOX"]; st != nil && st.SettledUID != 0 {
		t.Errorf("the cursor moved to %d without acknowledgement", st.SettledUID)
	}
	must(t, ns.Start(t.Context()))
	h2 := newEnvOn(t, env.dbURL, ns.URL())
	h2.password = env.password
	if res := h2.ok(p); res.Counts.Published != 5 {
		t.Errorf("after the broker came back: %+v, want 5 published", res.Counts)
	}
}

func TestClassifyJoined(t *testing.T) {
	err := errors.Join(errors.New("x"), config("folder_missing", errors.New("y")))
	if class, code := Classify(err); class != fault.Config || code != "folder_missing" {
		t.Errorf("got %s %s", class, code)
	}
}

// expungeLast removes the newest message of INBOX.
func expungeLast(d *devenv.Dovecot, user string) error {
	c, err := d.Login(user)
	if err != nil {
		return err
	}
	defer c.Close()
	sel, err := c.Select("INBOX", nil).Wait()
	if err != nil {
		return err
	}
	if err := c.Store(seqSet(sel.NumMessages), &deleted, nil).Close(); err != nil {
		return err
	}
	_, err = c.Expunge().Collect()
	return err
}
