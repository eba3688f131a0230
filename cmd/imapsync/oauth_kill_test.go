package main

import (
	"io"
	"net"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"imapsync/internal/devenv"
)

// Row 3: killed after the rotated refresh token was stored and before the
// access token that came with it was used, the next run works.
func TestFailure03_KilledBetweenRefreshAndUse(t *testing.T) {
	t.Parallel()
	g := newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATS(t).URL())
	o := devenv.TestOAuth(t)
	g.dovecot = devenv.TestDovecot(t, devenv.DovecotOAuth(o))
	g.must(g.dovecot.AddUser("ann", "unused"))
	o.Set(func(s *devenv.OAuthSettings) { s.User, s.Lifetime = "ann", time.Second }) // due with every pass
	var silent atomic.Bool
	proxy := devenv.TestProxy(t, net.JoinHostPort(g.dovecot.Host, strconv.Itoa(g.dovecot.TLSPort)), func(answer []byte) []byte {
		if silent.Load() {
			return nil
		}
		return answer
	})
	g.run(exitOK, "provider", "add", "--name", "ann", "--mailbox", "ann@example.com", "--username", "ann", "--host", "127.0.0.1",
		"--port", strconv.Itoa(proxy.Port()), "--ca-file", g.dovecot.CAFile, "--start", "all", "--auth", "oauth2",
		"--oauth-preset", "custom", "--oauth-client-id", o.ClientID, "--oauth-authorize-url", o.URL+"/authorize",
		"--oauth-token-url", o.URL+"/token", "--oauth-scopes", "imap")
	g.signIn(o, "provider", "auth", "ann", "--no-browser", "--no-test")
	version := func() (n int) {
		g.must(g.pool.QueryRowContext(t.Context(), `SELECT max(version) FROM imap_secrets WHERE name LIKE 'imap_refresh_token_%'`).Scan(&n))
		return n
	}
	for kills := range 3 {
		before := version()
		silent.Store(true)
		p := g.start("run", "--provider", "ann")
		for end := time.Now().Add(patience); version() == before; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("no token was stored")
			}
		}
		p.signal(syscall.SIGKILL)
		p.wait()
		silent.Store(false)
		g.deliver("ann", "INBOX", 1, "")
		g.run(exitOK, "run", "--provider", "ann")
		if got := version(); got != before+2 {
			t.Errorf("kill %d: %d versions were stored, want one by the run that was killed and one by the next", kills, got-before)
		}
	}
	var published int
	g.must(g.pool.QueryRowContext(t.Context(), `SELECT published FROM imap_sync_state`).Scan(&published))
	if published != 3 {
		t.Errorf("published %d, want 3", published)
	}
}

// signIn runs `imapsync provider auth` and is the person.
func (g *ground) signIn(o *devenv.OAuth, args ...string) {
	g.t.Helper()
	cmd := exec.CommandContext(g.t.Context(), "imapsync", args...)
	cmd.Env = g.env
	stdin, err := cmd.StdinPipe()
	g.must(err)
	told, err := cmd.StderrPipe()
	g.must(err)
	g.must(cmd.Start())
	g.must((&script{oauth: o}).beTheBrowser(g.t.Context(), args, told, stdin))
	rest, err := io.ReadAll(told)
	g.must(err)
	if err := cmd.Wait(); err != nil {
		g.t.Fatalf("provider auth: %v\n%s", err, rest)
	}
}
