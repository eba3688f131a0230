package sync

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imapsync/db"
	"imapsync/internal/devenv"
)

// rival is a second one on the servers of the first, as another process has.
func (env *testEnv) rival() *testEnv {
	env.t.Helper()
	other := newEnvOn(env.t, env.dbURL, env.natsURL)
	other.password = env.password
	return other
}

// pool connects to the database past the store.
func (env *testEnv) pool() *sql.DB {
	env.t.Helper()
	pool, err := sql.Open("postgres", env.dbURL)
	must(env.t, err)
	pool.SetMaxIdleConns(0) // the server may be restarted
	env.t.Cleanup(func() { pool.Close() })
	return pool
}

// cutLocks ends the connections that hold locks in its database, and
// returns once they are gone.
func (env *testEnv) cutLocks() {
	env.t.Helper()
	_, err := env.pool().Exec(`SELECT pg_terminate_backend(pid, 10000) FROM pg_locks
		WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	must(env.t, err)
}

// cursors are the folders' settled_uid and last_uid.
func (env *testEnv) cursors(p *db.Provider) map[string][2]uint32 {
	env.t.Helper()
	states, err := env.store.FolderStates(env.t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID})
	must(env.t, err)
	at := map[string][2]uint32{}
	for name, st := range states {
		at[name] = [2]uint32{st.SettledUID, st.LastUID}
	}
	return at
}

// ledger counts the rows of a provider that say published.
func (env *testEnv) ledger(p *db.Provider) int {
	env.t.Helper()
	list, err := env.store.PublishedEvents(env.t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID}, time.Time{})
	must(env.t, err)
	return len(list)
}

// each fails the test unless exactly n different events are on the stream, each
// once, and the ledger has as many.
func (env *testEnv) each(p *db.Provider, n int) {
	env.t.Helper()
	keys := map[string]int{}
	for _, ev := range env.events() {
		keys[ev.Key]++
	}
	for key, times := range keys {
		if times > 1 {
			env.t.Errorf("event %s is on the stream %d times", key, times)
		}
	}
	if rows := env.ledger(p); len(keys) != n || rows != n {
		env.t.Errorf("%d different events on the stream and %d in the ledger, want %d", len(keys), rows, n)
	}
}

// mailbox is a provider with n mails in INBOX.
func (env *testEnv) mailbox(n int) (*devenv.Dovecot, *db.Provider) {
	env.t.Helper()
	d := devenv.TestDovecot(env.t)
	must(env.t, d.AddUser("u", "p"))
	must(env.t, d.Deliver("u", "INBOX", mails(1, n)...))
	return d, env.provider(d, "u", "p", func(p *db.Provider) { p.MaxEmailsPerSync = 10 * n })
}

// once has do called at the first sign of progress: some is committed and some
// is on its way, and the pass stands still meanwhile.
func (env *testEnv) once(do func()) {
	called := false
	env.runner.OnProgress = func(Progress) {
		if !called {
			called = true
			do()
		}
	}
}

// The lock's connection is cut, another run takes the provider and serves it to
// the end, and then the first one goes on.
func TestFailure06_OvertakenRunIsFenced(t *testing.T) {
	t.Parallel()
	began := time.Now()
	env := newEnv(t)
	d, p := env.mailbox(500)
	other := env.rival()
	var after map[string][2]uint32
	env.once(func() {
		env.cutLocks()
		must(t, d.Deliver("u", "INBOX", mails(501, 520)...))
		other.ok(p)
		after = other.cursors(p)
	})
	_, results, err := env.tryRun(p)
	// On a machine that is slow, what asks for a sign of life is there first.
	slow := time.Since(began) > 4*time.Second && errors.Is(results[0].Err, errLockLost)
	if err != nil || !errors.Is(results[0].Err, db.ErrFenced) && !slow {
		t.Errorf("the overtaken run: %v, %+v; want ErrFenced", err, results)
	}
	if diff := cmp.Diff(after, env.cursors(p)); diff != "" {
		t.Errorf("the overtaken run moved the cursor:\n%s", diff)
	}
	env.each(p, 520)
	now, err := env.store.Provider(t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID})
	must(t, err)
	if now.Status != db.StatusConnected || now.LastError != "" {
		t.Errorf("the overtaken run wrote its end over the other's: status %s, error %q", now.Status, now.LastError)
	}
}

// The lock's connection is cut and nobody takes over: the keeper notices.
func TestFailure06_LockConnectionCut(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	_, p := env.mailbox(300)
	env.once(func() {
		env.cutLocks()
		time.Sleep(12 * time.Second) // much longer than from one sign of life to the next
	})
	_, results, err := env.tryRun(p)
	if _, code := Classify(results[0].Err); err != nil || code != "lock_lost" {
		t.Errorf("the run without its lock: %v, %v; want lock_lost", err, results[0].Err)
	}
	env.runner.OnProgress = nil
	env.ok(p) // with a lock connection made anew
	env.each(p, 300)
}

// Postgres dies with a commit half written: it waits for a row at its very end.
func TestFailure02_PostgresKilledInMidCommit(t *testing.T) {
	t.Parallel()
	pg, dbURL := devenv.TestPostgresServer(t, migrate)
	env := newEnvOn(t, dbURL, devenv.TestNATS(t).URL())
	_, p := env.mailbox(100)
	tx, err := env.pool().Begin()
	must(t, err)
	_, err = tx.Exec(`SELECT FROM email_providers WHERE id = $1 FOR UPDATE`, p.ID)
	must(t, err)
	watch := env.pool()
	killed := make(chan error, 1)
	go func() {
		for range 1000 {
			var waits bool
			err := watch.QueryRow(`SELECT count(*) > 0 FROM pg_locks WHERE NOT granted`).Scan(&waits)
			if err != nil || waits {
				killed <- errors.Join(err, pg.Kill())
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		killed <- errors.New("no commit came to wait")
	}()
	_, _, err = env.tryRun(p)
	must(t, <-killed)
	if !errors.Is(err, db.ErrUnreachable) {
		t.Errorf("Postgres killed in the middle of a commit: %v, want ErrUnreachable", err)
	}
	must(t, pg.Start(t.Context()))
	if rows, at := env.ledger(p), env.cursors(p)["INBOX"]; rows != 0 || at[0] != 0 {
		t.Errorf("after the restart: %d rows, cursor %v; want nothing of the commit", rows, at)
	}
	if n := len(env.events()); n != 100 {
		t.Errorf("%d events were on the stream by then, want 100", n)
	}
	res := env.ok(p)
	if res.Counts.Published != 100 || res.Counts.Quarantined != 0 {
		t.Errorf("the next run: %+v, want 100 published", res.Counts)
	}
	env.each(p, 100)
}

// The database has committed, and dies before it says so.
func TestFailure02_CommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	direct := devenv.TestPostgres(t, migrate)
	u, err := url.Parse(direct)
	must(t, err)
	var armed atomic.Bool
	var proxy *devenv.Proxy
	proxy = devenv.TestProxy(t, u.Host, func(answer []byte) []byte {
		if armed.Load() && bytes.Contains(answer, []byte("COMMIT\x00")) {
			armed.Store(false)
			go proxy.Cut()
			return nil
		}
		return answer
	})
	u.Host = proxy.Addr()
	env := newEnvOn(t, u.String(), devenv.TestNATS(t).URL())
	env.dbURL = direct
	_, p := env.mailbox(severalChunks)
	env.once(func() { armed.Store(true) }) // the next is that of the second chunk
	_, _, err = env.tryRun(p)
	if !errors.Is(err, db.ErrUnreachable) {
		t.Errorf("the answer to COMMIT is lost: %v, want ErrUnreachable", err)
	}
	if rows, at := env.ledger(p), env.cursors(p)["INBOX"]; rows != 2*chunkMessages || at[0] != 2*chunkMessages {
		t.Errorf("%d rows, cursor %v; want %d: it was committed", rows, at, 2*chunkMessages)
	}
	env.ok(p)
	env.each(p, severalChunks)
}

// A failover: the server ends its sessions in order and another answers at the
// same address. A process that lives on needs no restart.
func TestFailure02_PostgresFailsOver(t *testing.T) {
	t.Parallel()
	pg, dbURL := devenv.TestPostgresServer(t, migrate)
	env := newEnvOn(t, dbURL, devenv.TestNATS(t).URL())
	d, p := env.mailbox(300)
	env.once(func() {
		must(t, pg.Stop())
		must(t, pg.Start(context.WithoutCancel(t.Context())))
	})
	env.tryRun(p) // it may go on as if nothing had happened, or end
	must(t, d.Deliver("u", "INBOX", mails(301, 310)...))
	var failures []string
	for range 5 { // connections of the pool that died unseen are found out
		if _, results, err := env.tryRun(p); err != nil || results[0].Err != nil {
			failures = append(failures, errors.Join(err, results[0].Err).Error())
			continue
		}
		break
	}
	if len(failures) > 1 {
		t.Errorf("runs after the failover: %s", strings.Join(failures, "\n"))
	}
	env.each(p, 310)
}
