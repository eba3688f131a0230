package sync

import (
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
)

// A server's fault never pauses a mailbox; a refusal that only a person can mend does,
// after three passes; one that says nothing either way is tried ever more rarely.
func TestFailure35_WhatARefusedLoginMeans(t *testing.T) {
	const passes = maxAuthFailures + 1
	for said, code := range map[string]string{
		"NO LOGIN processing failed.":  "serverbug",
		"NO Internal server error":     "serverbug",
		"NO LDAP server unreachable":   "unavailable",
		"NO Mailbox is being migrated": "unavailable",
		"NO":                           "login_unclear",
		"NO [ALERT] Application-specific password required: https://x.example/185": "login_refused",
		"NO [WEBALERT https://x.example/busy] Web login required.":                 "login_refused",
		"NO LOGIN User name or passwd rejected":                                    "login_refused",
	} {
		t.Run(said, func(t *testing.T) {
			t.Parallel()
			env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) { deadlines(p, patient) })
			q := imapserver.Named("login-refused")
			q.Do = func(x *imapserver.Exchange) error { return x.Tagged(said) }
			env.srv.Play(q)
			for range passes {
				env.run(env.provider)
			}
			p, err := env.store.Provider(t.Context(), env.provider.Ref())
			must(t, err)
			paused := p.PausedAt != nil
			if p.LastErrorCode != code || paused != (code == "login_refused") {
				t.Errorf("code %s, paused %v; want %s", p.LastErrorCode, paused, code)
			}
			if paused {
				return
			}
			env.srv.Behave()
			env.settle()
		})
	}
	if most := backoff(100, maxUnclear); most < maxUnclear/2 || most > maxUnclear {
		t.Errorf("the longest wait is %s", most)
	}
	for failures := range 12 {
		err := transient("login_unclear", nil)
		if a, b := new(Runner).retryAfter(err, failures+1), 30*time.Second<<failures; a < min(b, maxUnclear)/2 {
			t.Errorf("after %d failures: %s", failures+1, a)
		}
	}
}
