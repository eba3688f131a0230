package main

import (
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"imapsync/internal/devenv"
)

// A run needs no more of PostgreSQL than docs/security.md grants to its role.
func TestLeastPrivilege(t *testing.T) {
	g := newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATS(t).URL())
	g.mailbox("support", nil, g.tls()...)
	g.deliver("support", "INBOX", 3, "")

	text, err := os.ReadFile("../../docs/security.md")
	g.must(err)
	block := regexp.MustCompile("(?ms)^```sql\n(CREATE ROLE .*?)^```$").FindSubmatch(text)
	if block == nil {
		t.Fatal("docs/security.md grants nothing")
	}
	_, err = g.pool.Exec(string(block[1]))
	g.must(err)
	t.Cleanup(func() {
		if _, err := g.pool.Exec("DROP OWNED BY imapsync_job; DROP ROLE imapsync_job"); err != nil {
			t.Error(err)
		}
	})
	_, err = g.pool.Exec("ALTER ROLE imapsync_job PASSWORD 'job'")
	g.must(err)
	u, err := url.Parse(g.databaseURL)
	g.must(err)
	u.User = url.UserPassword("imapsync_job", "job")
	as := func(args ...string) string {
		t.Helper()
		code, output := g.startWith([]string{"DATABASE_URL=" + u.String()}, args...).wait()
		if code != exitOK {
			t.Errorf("imapsync %v: exit %d\n%s", args, code, output)
		}
		return output
	}
	if output := as("run"); !strings.Contains(output, "maintain_failed") {
		t.Errorf("a run makes partitions, though it may not:\n%s", output)
	}
	g.each(3)
	g.run(exitOK, "maintain") // by the owner
	if output := as("run"); strings.Contains(output, "maintain_failed") {
		t.Errorf("maintenance was done, and still fails:\n%s", output)
	}
	as("provider", "pause", "support")
	as("provider", "resume", "support")
	as("status")
	as("reconcile", "support")
	as("verify")
	as("provider", "rm", "support", "--yes")
}
