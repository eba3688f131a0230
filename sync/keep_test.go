package sync

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
)

// scripted adds a mailbox of a server that lies on demand.
func (env *testEnv) scripted(config imapserver.Config, change func(*db.Provider)) (*imapserver.Server, *db.Provider) {
	env.t.Helper()
	s, err := imapserver.Start(config)
	must(env.t, err)
	env.t.Cleanup(func() { s.Close() })
	p := env.provider(nil, "scripted", s.Password, func(p *db.Provider) {
		p.Username, p.Host, p.Port, p.TLS, p.CAPEM = s.Username, s.Host(), s.Port(), db.TLSImplicit, string(s.CertPEM())
		if change != nil {
			change(p)
		}
	})
	return s, p
}

func TestKeepsConnectionBetweenPasses(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, nil)
	env.runner.keep = true
	for n := range 5 {
		s.Mailbox("INBOX").Append(string(mail(n, "kept")))
		if res := env.ok(p); res.Counts.Published != 1 {
			t.Fatalf("pass %d: %+v, want 1 published", n, res.Counts)
		}
	}
	if got := s.Connections(); got != 1 {
		t.Errorf("%d connections for 5 passes, want 1", got)
	}

	// A connection that died meanwhile is replaced, and so is one to where the
	// provider no longer is.
	ref := db.Ref{Tenant: p.Tenant, ID: p.ID}
	kept := env.runner.sessions.Get(ref, env.runner.account(p))
	env.runner.sessions.Put(ref, kept)
	s.Disconnect()
	soon(t, "the client sees the end", func() bool { return !kept.Alive() })
	s.Mailbox("INBOX").Append(string(mail(9, "after it died")))
	if res := env.ok(p); res.Counts.Published != 1 || s.Connections() != 2 {
		t.Errorf("%+v and %d connections, want 1 published by a second one", res.Counts, s.Connections())
	}
	p.MaxMessageBytes = 1 << 20
	must(t, env.store.UpdateProvider(t.Context(), p, nil, db.Audit{Tenant: p.Tenant, Actor: "test"}))
	env.ok(p)
	if got := s.Connections(); got != 3 {
		t.Errorf("%d connections after a setting changed, want 3", got)
	}
	env.runner.sessions.Close()
	soon(t, "LOGOUT", func() bool {
		commands := s.Commands()
		return strings.HasSuffix(commands[len(commands)-1].Line, "LOGOUT")
	})
}

func TestKeptConnectionThatHangsIsReplaced(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { p.CommandTimeoutMS = 500 })
	env.runner.keep = true
	var later atomic.Int64 // by how much the session's clock is ahead
	env.runner.dialer.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	env.ok(p)
	later.Store(int64(time.Minute)) // it answered long ago
	s.Play(imapserver.Named("noop-hang"))
	s.Mailbox("INBOX").Append(string(mail(1, "mail")))
	if res := env.ok(p); res.Counts.Published != 1 {
		t.Errorf("%+v, want 1 published", res.Counts)
	}
}

// A connection that the server ended a moment after it had answered costs no
// folder its pass.
func TestKeptConnectionThatDiesUnseen(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, nil)
	env.runner.keep = true
	env.ok(p)
	s.PlayTimes(imapserver.Quirk{Name: "gone", Stage: imapserver.Status, Do: (*imapserver.Exchange).Close}, 1)
	s.Mailbox("INBOX").Append(string(mail(1, "mail")))
	if res := env.ok(p); res.Counts.Published != 1 || s.Connections() != 2 {
		t.Errorf("%+v over %d connections, want 1 published by the second", res.Counts, s.Connections())
	}
}
