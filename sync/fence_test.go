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

// rival is a second house on the servers of the first, as another process has.
func (h *house) rival() *house {
	h.t.Helper()
	other := newHouseOn(h.t, h.dbURL, h.natsURL)
	other.password = h.password
	return other
}

// pool connects to the database past the store.
func (h *house) pool() *sql.DB {
	h.t.Helper()
	pool, err := sql.Open("postgres", h.dbURL)
	must(h.t, err)
	pool.SetMaxIdleConns(0) // the server may be restarted
	h.t.Cleanup(func() { pool.Close() })
	return pool
}

// cutLocks ends the connections that hold locks in the house's database, and
// returns once they are gone.
func (h *house) cutLocks() {
	h.t.Helper()
	_, err := h.pool().Exec(`SELECT pg_terminate_backend(pid, 10000) FROM pg_locks
		WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	must(h.t, err)
}

// cursors are the folders' settled_uid and last_uid.
func (h *house) cursors(p *db.Provider) map[string][2]uint32 {
	h.t.Helper()
	states, err := h.store.FolderStates(h.t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID})
	must(h.t, err)
	at := map[string][2]uint32{}
	for name, st := range states {
		at[name] = [2]uint32{st.SettledUID, st.LastUID}
	}
	return at
}

// ledger counts the rows of a provider that say published.
func (h *house) ledger(p *db.Provider) int {
	h.t.Helper()
	list, err := h.store.PublishedSince(h.t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID}, time.Time{})
	must(h.t, err)
	return len(list)
}

// each fails the test unless exactly n different events are on the stream, each
// once, and the ledger has as many.
func (h *house) each(p *db.Provider, n int) {
	h.t.Helper()
	keys := map[string]int{}
	for _, ev := range h.events() {
		keys[ev.Key]++
	}
	for key, times := range keys {
		if times > 1 {
			h.t.Errorf("event %s is on the stream %d times", key, times)
		}
	}
	if rows := h.ledger(p); len(keys) != n || rows != n {
		h.t.Errorf("%d different events on the stream and %d in the ledger, want %d", len(keys), rows, n)
	}
}

// mailbox is a provider with n mails in INBOX.
func (h *house) mailbox(n int) (*devenv.Dovecot, *db.Provider) {
	h.t.Helper()
	d := devenv.TestDovecot(h.t)
	must(h.t, d.AddUser("u", "p"))
	must(h.t, d.Deliver("u", "INBOX", mails(1, n)...))
	return d, h.provider(d, "u", "p", func(p *db.Provider) { p.MaxEmailsPerSync = 10 * n })
}

// once has do called at the first sign of progress: some is committed and some
// is on its way, and the pass stands still meanwhile.
func (h *house) once(do func()) {
	called := false
	h.runner.OnProgress = func(Progress) {
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
	h := newHouse(t)
	d, p := h.mailbox(500)
	other := h.rival()
	var after map[string][2]uint32
	h.once(func() {
		h.cutLocks()
		must(t, d.Deliver("u", "INBOX", mails(501, 520)...))
		other.ok(p)
		after = other.cursors(p)
	})
	_, results, err := h.tryRun(p)
	// On a machine that is slow, what asks for a sign of life is there first.
	slow := time.Since(began) > 4*time.Second && errors.Is(results[0].Err, errLockLost)
	if err != nil || !errors.Is(results[0].Err, db.ErrFenced) && !slow {
		t.Errorf("the overtaken run: %v, %+v; want ErrFenced", err, results)
	}
	if diff := cmp.Diff(after, h.cursors(p)); diff != "" {
		t.Errorf("the overtaken run moved the cursor:\n%s", diff)
	}
	h.each(p, 520)
	now, err := h.store.Provider(t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID})
	must(t, err)
	if now.Status != db.StatusConnected || now.LastError != "" {
		t.Errorf("the overtaken run wrote its end over the other's: status %s, error %q", now.Status, now.LastError)
	}
}

// The lock's connection is cut and nobody takes over: the keeper notices.
func TestFailure06_LockConnectionCut(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, p := h.mailbox(300)
	h.once(func() {
		h.cutLocks()
		time.Sleep(12 * time.Second) // much longer than from one sign of life to the next
	})
	_, results, err := h.tryRun(p)
	if _, code := Classify(results[0].Err); err != nil || code != "lock_lost" {
		t.Errorf("the run without its lock: %v, %v; want lock_lost", err, results[0].Err)
	}
	h.runner.OnProgress = nil
	h.ok(p) // with a lock connection made anew
	h.each(p, 300)
}

// Postgres dies with a commit half written: it waits for a row at its very end.
func TestFailure02_PostgresKilledInMidCommit(t *testing.T) {
	t.Parallel()
	pg, dbURL := devenv.TestPostgresServer(t, migrate)
	h := newHouseOn(t, dbURL, devenv.TestNATS(t).URL())
	_, p := h.mailbox(100)
	tx, err := h.pool().Begin()
	must(t, err)
	_, err = tx.Exec(`SELECT FROM email_providers WHERE id = $1 FOR UPDATE`, p.ID)
	must(t, err)
	watch := h.pool()
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
	_, _, err = h.tryRun(p)
	must(t, <-killed)
	if !errors.Is(err, db.ErrUnreachable) {
		t.Errorf("Postgres killed in the middle of a commit: %v, want ErrUnreachable", err)
	}
	must(t, pg.Start(t.Context()))
	if rows, at := h.ledger(p), h.cursors(p)["INBOX"]; rows != 0 || at[0] != 0 {
		t.Errorf("after the restart: %d rows, cursor %v; want nothing of the commit", rows, at)
	}
	if n := len(h.events()); n != 100 {
		t.Errorf("%d events were on the stream by then, want 100", n)
	}
	res := h.ok(p)
	if res.Counts.Published != 100 || res.Counts.Quarantined != 0 {
		t.Errorf("the next run: %+v, want 100 published", res.Counts)
	}
	h.each(p, 100)
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
	h := newHouseOn(t, u.String(), devenv.TestNATS(t).URL())
	h.dbURL = direct
	_, p := h.mailbox(severalChunks)
	h.once(func() { armed.Store(true) }) // the next is that of the second chunk
	_, _, err = h.tryRun(p)
	if !errors.Is(err, db.ErrUnreachable) {
		t.Errorf("the answer to COMMIT is lost: %v, want ErrUnreachable", err)
	}
	if rows, at := h.ledger(p), h.cursors(p)["INBOX"]; rows != 2*chunkMessages || at[0] != 2*chunkMessages {
		t.Errorf("%d rows, cursor %v; want %d: it was committed", rows, at, 2*chunkMessages)
	}
	h.ok(p)
	h.each(p, severalChunks)
}

// A failover: the server ends its sessions in order and another answers at the
// same address. A process that lives on needs no restart.
func TestFailure02_PostgresFailsOver(t *testing.T) {
	t.Parallel()
	pg, dbURL := devenv.TestPostgresServer(t, migrate)
	h := newHouseOn(t, dbURL, devenv.TestNATS(t).URL())
	d, p := h.mailbox(300)
	h.once(func() {
		must(t, pg.Stop())
		must(t, pg.Start(context.WithoutCancel(t.Context())))
	})
	h.tryRun(p) // it may go on as if nothing had happened, or end
	must(t, d.Deliver("u", "INBOX", mails(301, 310)...))
	var failures []string
	for range 5 { // connections of the pool that died unseen are found out
		if _, results, err := h.tryRun(p); err != nil || results[0].Err != nil {
			failures = append(failures, errors.Join(err, results[0].Err).Error())
			continue
		}
		break
	}
	if len(failures) > 1 {
		t.Errorf("runs after the failover: %s", strings.Join(failures, "\n"))
	}
	h.each(p, 310)
}
