package sync

import (
	"fmt"
	"testing"

	"imapsync/db"
	"imapsync/internal/devenv"
	"imapsync/internal/devenv/imapserver"
)

// What a server says after a login name is about that mailbox: others at the host are
// read all the same.
func TestFailure34_RefusedLoginsCloseNoHost(t *testing.T) {
	for name, said := range map[string]string{
		"in use":   "NO [INUSE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)",
		"quota":    "NO [OVERQUOTA] Account exceeded command or bandwidth limits",
		"words":    "NO Too many simultaneous connections, try again later",
		"password": "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newSharedServers(t)
			env := l.start(t, imapserver.TLS, func(p *db.Provider) { deadlines(p, patient) })
			var refused []*db.Provider
			for n := range 12 {
				refused = append(refused, env.on(env.srv, fmt.Sprintf("refused-%d", n), func(p *db.Provider) { deadlines(p, patient) }))
			}
			q := imapserver.Named("login-refused")
			q.Do = func(x *imapserver.Exchange) error { return x.Tagged(said) }
			env.srv.Play(q)
			if summary, _ := env.run(refused...); summary.Failed != len(refused) {
				t.Fatalf("%+v, want all refused", summary)
			}
			env.srv.Behave()
			if summary, _ := env.run(env.provider); summary.OK != 1 {
				t.Errorf("a mailbox that was never read: %+v, want it read", summary)
			}
		})
	}
}

// A host that turns connections away before anybody has logged in is left alone, by
// other runs too; whoever names a mailbox has it tried.
func TestFailure22_AHostThatTurnsAway(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	env := l.start(t, imapserver.TLS, func(p *db.Provider) { deadlines(p, patient) })
	good := env.on(env.srv, "good", nil)
	env.ok(good)
	q := imapserver.Named("greeting-bye")
	q.Once = false
	env.srv.Play(q)
	var away []*db.Provider
	for n := range maxTurnedAway {
		away = append(away, env.on(env.srv, fmt.Sprintf("away-%d", n), nil))
	}
	if summary, _ := env.run(away...); summary.Failed != maxTurnedAway {
		t.Fatalf("%+v, want all turned away", summary)
	}
	env.srv.Behave()
	other := newEnvOn(t, env.dbURL, env.natsURL)
	other.password = env.password
	if summary, _ := other.run(env.provider, good); summary.Deferred != 1 || summary.OK != 1 {
		t.Errorf("%+v, want the one that works read and the new one deferred", summary)
	}
	other = newEnvOn(t, env.dbURL, env.natsURL)
	other.password, other.runner.Options.Named = env.password, true
	if summary, _ := other.run(env.provider); summary.OK != 1 {
		t.Errorf("named: %+v, want it tried", summary)
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
