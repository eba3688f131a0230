package sync

import (
	"fmt"
	"testing"

	"imapsync/db"
	"imapsync/internal/devenv"
)

func TestFailure10_RefusedLoginsAtAHostAreRationed(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("good", "p"))
	must(t, d.Deliver("good", "INBOX", mails(1, 1)...))
	env.runner.Options.Workers = 1
	var wrong []*db.Provider
	for n := range maxHostAuth {
		name := fmt.Sprintf("wrong%d", n)
		wrong = append(wrong, env.provider(d, name, "x", nil))
	}
	extra := env.provider(d, "extra", "x", nil)
	good := env.provider(d, "good", "p", nil)
	env.ok(good)
	summary, _ := env.run(append(wrong, extra, good)...)
	if summary.Failed != maxHostAuth || summary.Deferred != 1 || summary.OK != 1 {
		t.Errorf("%+v, want %d failed, the next deferred, the one that works served", summary, maxHostAuth)
	}
	// Another process knows of it too.
	other := newEnvOn(t, env.dbURL, env.natsURL)
	other.password = env.password
	if summary, _ := other.run(extra); summary.Deferred != 1 {
		t.Errorf("another run: %+v, want the provider deferred", summary)
	}
}

func TestFailure21_BytesPerDayEndAPass(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	must(t, d.Deliver("u", "INBOX", mails(1, 400)...))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.MaxEmailsPerSync, p.MaxBytesPerDay = 1000, 30_000 })
	res := env.ok(p)
	if res.Bytes < 30_000 || res.Bytes > 60_000 || res.Left == 0 {
		t.Errorf("took %d bytes, %d left; want to end soon after 30,000", res.Bytes, res.Left)
	}
	p, err := env.store.Provider(t.Context(), res.Ref)
	must(t, err)
	if again := env.ok(p); again.Bytes != 0 {
		t.Errorf("took %d bytes more on the same day", again.Bytes)
	}
}

func TestFailure10_TransientFailuresNeverPause(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	p := env.provider(nil, "u", "p", func(p *db.Provider) { p.Host, p.Port, p.TLS = "127.0.0.1", 1, db.TLSImplicit })
	for range maxAuthFailures + 2 {
		env.run(p)
	}
	p, err := env.store.Provider(t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID})
	must(t, err)
	if p.PausedAt != nil || p.AuthFailures != 0 || p.ConsecutiveFailures != maxAuthFailures+2 {
		t.Errorf("paused %v, auth failures %d, failures %d", p.PausedAt, p.AuthFailures, p.ConsecutiveFailures)
	}
}
