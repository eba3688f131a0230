package devenv_test

import (
	"net/url"
	"testing"

	"imapsync/internal/devenv"
)

// What a server has answered to be committed is there when its standby takes over,
// twice in a row; clients find it behind the same proxy.
func TestStandbyHasEveryCommit(t *testing.T) {
	primary, raw := devenv.TestPostgresServer(t, migrate, devenv.PostgresReplicated())
	proxy := devenv.TestProxy(t, primary.Addr(), nil)
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = proxy.Addr()
	conn := open(t, u.String())
	for took := range 2 {
		standby, err := primary.StartStandby(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { standby.Close() })
		exec(t, conn, "INSERT INTO mail VALUES (1)")
		if err := primary.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := standby.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
		proxy.Target(standby.Addr())
		if got := count(t, conn, "mail"); got != took+1 {
			t.Errorf("%d mails, want %d", got, took+1)
		}
		primary = standby
	}
}
