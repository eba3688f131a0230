package devenv_test

import (
	"database/sql"
	"testing"

	"imapsync/internal/devenv"
)

// The pooler is there to show what it does to session locks: two clients that
// come one after the other get the same session, and so the same lock.
func TestPgBouncerSharesSessions(t *testing.T) {
	direct := devenv.TestPostgres(t, migrate)
	pooled := devenv.TestPgBouncer(t, direct)
	lockTwice := func(url, key string) (second bool) {
		t.Helper()
		var clients [2]*sql.DB
		for i := range clients {
			clients[i] = open(t, url)
			clients[i].SetMaxOpenConns(1)
			if err := clients[i].PingContext(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, client := range clients {
			// binary_parameters has lib/pq send this as one message, which is
			// one transaction to the pooler.
			if err := client.QueryRowContext(t.Context(), "SELECT pg_try_advisory_lock($1::bigint)", key).Scan(&second); err != nil {
				t.Fatal(err)
			}
		}
		return second
	}
	if lockTwice(direct+"&binary_parameters=yes", "1") {
		t.Error("two direct clients got the same lock")
	}
	if !lockTwice(pooled+"&binary_parameters=yes", "2") {
		t.Error("two pooled clients did not share a session: the pooler does not pool transactions")
	}
}
