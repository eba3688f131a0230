package devenv_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	_ "github.com/lib/pq"

	"imapsync/internal/devenv"
)

func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	conn, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func exec(t *testing.T, conn *sql.DB, stmt string) {
	t.Helper()
	if _, err := conn.ExecContext(t.Context(), stmt); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, conn *sql.DB, table string) (n int) {
	t.Helper()
	if err := conn.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func migrate(ctx context.Context, url string) error {
	conn, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.ExecContext(ctx, "CREATE TABLE mail (uid int)")
	return err
}

func TestPostgresDatabasesAreSeparate(t *testing.T) {
	began := time.Now()
	first := open(t, devenv.TestPostgres(t, migrate))
	t.Logf("first database after %v", time.Since(began))
	began = time.Now()
	second := open(t, devenv.TestPostgres(t, migrate))
	t.Logf("second database after %v", time.Since(began))
	exec(t, first, "INSERT INTO mail VALUES (1)")
	if got := count(t, first, "mail"); got != 1 {
		t.Errorf("first database: %d mails, want 1", got)
	}
	if got := count(t, second, "mail"); got != 0 {
		t.Errorf("second database: %d mails, want 0", got)
	}
	empty := open(t, devenv.TestPostgres(t, nil))
	if got := count(t, empty, "pg_tables WHERE schemaname = 'public'"); got != 0 {
		t.Errorf("database without migrations: %d tables, want 0", got)
	}
}

func TestPostgresComesBack(t *testing.T) {
	server, url := devenv.TestPostgresServer(t, migrate)
	conn := open(t, url)
	for i, down := range []func() error{server.Kill, server.Stop, server.Kill} {
		exec(t, conn, "INSERT INTO mail VALUES (1)")
		if err := down(); err != nil {
			t.Fatal(err)
		}
		if err := conn.PingContext(t.Context()); err == nil {
			t.Fatal("the server answers after it was stopped")
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		// Sessions from before may still be in the pool.
		for conn.PingContext(t.Context()) != nil {
			time.Sleep(time.Millisecond)
		}
		if got := count(t, conn, "mail"); got != i+1 {
			t.Fatalf("after restart %d: %d mails, want %d", i, got, i+1)
		}
	}
}
