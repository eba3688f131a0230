package sync

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"imapsync/db"
	"imapsync/internal/devenv"
	"imapsync/internal/fault"
	"imapsync/parse"
	"imapsync/publish"
	"imapsync/secret"
)

// heldAgainst is what the database holds against a mailbox; "" is nothing.
func (env *testEnv) heldAgainst(p *db.Provider) string {
	env.t.Helper()
	got, err := env.store.Provider(context.WithoutCancel(env.t.Context()), db.Ref{Tenant: p.Tenant, ID: p.ID})
	must(env.t, err)
	if got.Status == db.StatusError || got.ErrorMessage != "" || got.PausedAt != nil || got.ConsecutiveFailures+got.AuthFailures > 0 ||
		got.LastErrorCode != "" || got.NextAttemptAt != nil {
		return fmt.Sprintf("%s %q %d %d %s %v", got.Status, got.ErrorMessage, got.ConsecutiveFailures, got.AuthFailures, got.LastErrorCode, got.NextAttemptAt)
	}
	return ""
}

// Whatever our own side does in the middle of a pass, the mailbox is charged with nothing,
// and the next pass goes on where this one ended.
func TestFailure33_OurOwnFaultInMidPass(t *testing.T) {
	t.Parallel()
	const n = severalChunks
	for name, tt := range map[string]struct {
		fault func(env *testEnv, ns *devenv.NATS, stop func())
		mend  func(env *testEnv, ns *devenv.NATS)
		code  string
	}{
		"stop": {
			fault: func(_ *testEnv, _ *devenv.NATS, stop func()) { stop() },
			code:  "stopped",
		},
		"NATS dies": {
			fault: func(_ *testEnv, ns *devenv.NATS, _ func()) { must(t, ns.Stop()) },
			mend: func(env *testEnv, ns *devenv.NATS) {
				must(t, ns.Start(context.WithoutCancel(t.Context())))
				soon(t, "NATS", env.nc.IsConnected)
			},
			code: "nats",
		},
		"the database takes no writes": {
			fault: func(env *testEnv, _ *devenv.NATS, _ func()) { env.readOnly(true) },
			mend:  func(env *testEnv, _ *devenv.NATS) { env.readOnly(false) },
			code:  "postgres_read_only",
		},
		"the lock is lost": {
			fault: func(env *testEnv, _ *devenv.NATS, _ func()) {
				env.cutLocks()
				time.Sleep(12 * time.Second) // much longer than from one sign of life to the next
			},
			code: "lock_lost",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbURL := devenv.TestPostgres(t, migrate)
			ns := devenv.TestNATSServer(t)
			env := newEnvOn(t, dbURL, ns.URL())
			env.t = t
			env.publisher(publish.PublisherOptions{AckTimeout: 300 * time.Millisecond, Patience: 2 * time.Second})
			_, p := env.mailbox(n)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			env.once(func() { tt.fault(env, ns, func() { cancel(ErrStopped) }) })
			env.results = nil
			summary, err := env.runner.Run(ctx, []db.Ref{{Tenant: p.Tenant, ID: p.ID}})
			if len(env.results) != 1 || summary.Unfinished != 1 || summary.Failed+summary.Partial+summary.OK > 0 {
				t.Fatalf("%+v, %v, results %+v; want one that is not finished", summary, err, env.results)
			}
			if class, code := Classify(env.results[0].Err); class != fault.Ours || code != tt.code {
				t.Errorf("%s %s: %v; want ours, %s", class, code, env.results[0].Err, tt.code)
			}
			if tt.mend != nil {
				tt.mend(env, ns)
			}
			if charged := env.heldAgainst(p); charged != "" {
				t.Errorf("the mailbox is charged: %s", charged)
			}
			env.runner.OnProgress = nil
			env.ok(p)
			env.each(p, n)
			if list, err := env.store.ListQuarantine(t.Context(), db.QuarantineFilter{Limit: 10}); err != nil || len(list) > 0 {
				t.Errorf("in quarantine: %v, %v", list, err)
			}
		})
	}
}

// readOnly has the database take writes or none. The sessions of the store that know it
// otherwise are ended and made anew; that of the lock stays.
func (env *testEnv) readOnly(on bool) {
	env.t.Helper()
	ctx := context.WithoutCancel(env.t.Context())
	conn, err := env.pool().Conn(ctx)
	must(env.t, err)
	defer conn.Close()
	for _, statement := range []string{
		`SET default_transaction_read_only = off`,
		fmt.Sprintf(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET default_transaction_read_only = %v', current_database()); END $$`, on),
	} {
		_, err := conn.ExecContext(ctx, statement)
		must(env.t, err)
	}
	soon(env.t, "new sessions", func() bool {
		_, err := conn.ExecContext(ctx, `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle' AND query !~ 'advisory'`)
		must(env.t, err)
		var g errgroup.Group
		for range 4 { // as many as the store has
			g.Go(func() error {
				if err := env.store.CheckWrites(ctx); errors.Is(err, db.ErrReadOnly) != on {
					return fmt.Errorf("not yet: %w", err)
				}
				return nil
			})
		}
		return g.Wait() == nil
	})
}

// Who cannot tell us a credential says nothing about the mailbox, unless it is the one
// credential that is not there.
func TestFailure33_CredentialsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	p := env.provider(d, "u", "p", nil)
	known := env.runner.Credential
	for _, tt := range []struct {
		err     error
		charged bool
	}{
		{fmt.Errorf("vault: %w", secret.ErrUnavailable), false},
		{fmt.Errorf("load: %w", db.ErrServer), false},
		{fault.New(fault.Ours, "secret", errors.New("no key")), false},
		{fmt.Errorf("password: %w", secret.ErrAbsent), true},
		{fmt.Errorf("password: %w", secret.ErrNotAuthentic), true},
	} {
		env.runner.Credential = func(context.Context, *db.Provider, db.Fence) (Credential, error) { return Credential{}, tt.err }
		summary, _ := env.run(p)
		if charged := env.heldAgainst(p) != ""; charged != tt.charged || summary.Failed > 0 != tt.charged || summary.Unfinished > 0 == tt.charged {
			t.Errorf("%v: charged %v, %+v", tt.err, charged, summary)
		}
		env.runner.Credential = known
		env.ok(p)
	}
}

// A bug that one provider meets is said, counted and stops no other, wherever it is.
func TestBugOfOneProviderStopsNoOther(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	for _, user := range []string{"bad", "good"} {
		must(t, d.AddUser(user, "p"))
		must(t, d.Deliver(user, "INBOX", mails(1, 3)...))
	}
	bad, good := env.provider(d, "bad", "p", nil), env.provider(d, "good", "p", nil)
	known := env.runner.Credential
	for name, credential := range map[string]func() error{
		"panic": func() error { panic("out of range") },
		"SQL":   func() error { return fmt.Errorf("load: %w", db.ErrStatement) },
		"other": func() error { return errors.New("nobody has thought of it") },
	} {
		env.runner.Credential = func(ctx context.Context, p *db.Provider, fence db.Fence) (Credential, error) {
			if p.ID == bad.ID {
				return Credential{}, credential()
			}
			return known(ctx, p, fence)
		}
		must(t, d.Deliver("good", "INBOX", mail(9, "more")))
		summary, results := env.run(bad, good)
		if name == "other" { // what a credential is like is that mailbox's own
			if summary.Bugs != 0 || summary.Failed != 1 {
				t.Errorf("%s: %+v", name, summary)
			}
			continue
		}
		if summary.Bugs != 1 || summary.OK != 1 || summary.Counts.Published == 0 {
			t.Errorf("%s: %+v, want one bug and the other served", name, summary)
		}
		for _, res := range results {
			if class, code := Classify(res.Err); res.Err != nil && (class != fault.Bug || code == "connection") {
				t.Errorf("%s: %s %s: %v", name, class, code, res.Err)
			}
			if name == "panic" && res.Err != nil && !strings.Contains(res.Err.Error(), "ours_test.go:") {
				t.Errorf("nobody knows where it was: %v", res.Err)
			}
		}
	}
}

// A backfill that was told to stop said "found 200, known 200, to read 0".
func TestBackfillToldToStop(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p", "Copy"))
	list := mails(1, 250)
	must(t, d.Deliver("u", "INBOX", list...))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.MaxEmailsPerSync = 1000 })
	env.ok(p)
	must(t, d.Deliver("u", "Copy", list...)) // known, by their headers
	stop := make(chan struct{})
	env.runner.Stop = stop
	env.once(func() { close(stop) })
	var counts []BackfillCount
	b := Backfill{Since: time.Now().AddDate(0, 0, -30), Folders: []string{"Copy", "INBOX"}, OnCount: func(c BackfillCount) { counts = append(counts, c) }}
	res := env.runner.Backfill(t.Context(), p, b)
	if !errors.Is(res.Err, ErrStopped) || len(counts) > 1 || len(counts) == 1 && counts[0].ToRead == 0 {
		t.Errorf("%v, counts %+v; want that it was told to stop, and no count that says that nothing is left", res.Err, counts)
	}
	if charged := env.heldAgainst(p); charged != "" {
		t.Errorf("the mailbox is charged: %s", charged)
	}
	env.runner.Stop, env.runner.OnProgress = make(chan struct{}), nil
	if res := env.runner.Backfill(t.Context(), p, b); res.Err != nil {
		t.Errorf("once more: %v", res.Err)
	}
	env.each(p, 250)
}

// --drain takes what is due in quarantine to the end, however much it is.
func TestDrainTakesRetriesThatAreDue(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	const n = 3 * maxRetries
	_, p := env.mailbox(n)
	env.runner.parse = func([]byte, parse.Limits) *parse.Message { panic("ugly") }
	env.ok(p)
	if list, err := env.store.ListQuarantine(t.Context(), db.QuarantineFilter{Limit: 1000}); err != nil || len(list) != n {
		t.Fatalf("%d in quarantine, want %d: %v", len(list), n, err)
	}
	must(t, env.due())
	env.runner.parse, env.runner.Options.Drain = nil, true
	fresh := env.rival()
	fresh.runner.Options.Drain = true
	fresh.ok(p)
	fresh.each(p, n)
}
