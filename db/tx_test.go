package db

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lib/pq"

	"imapsync/internal/devenv"
)

// A client that falls silent in a transaction must not hold its rows for ever.
func TestTransactionsAreBound(t *testing.T) {
	store, err := Open(t.Context(), Options{URL: devenv.TestPostgres(t, nil), MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var within, after string
	show := `SHOW idle_in_transaction_session_timeout`
	if err := store.inTx(t.Context(), func(tx *txn) error { return tx.GetContext(t.Context(), &within, show) }); err != nil {
		t.Fatal(err)
	}
	if err := store.pool.GetContext(t.Context(), &after, show); err != nil {
		t.Fatal(err)
	}
	if within != "10s" || after != "0" {
		t.Errorf("within the transaction %s, after it %s; want 10s and 0", within, after)
	}
	if err := wrap(t.Context(), &pq.Error{Code: "25P03"}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("the end of such a transaction is %v, want ErrUnreachable", err)
	}
}

// A pass locks the state row of its provider first, and the ledger before the
// quarantine: with others in another order one of two would end as a deadlock.
func TestNothingDeadlocksWithAPass(t *testing.T) {
	store := testStore(t)
	locks := testLocks(t, store)
	for name, change := range map[string]func(*Provider, Audit) error{
		"change": func(p *Provider, a Audit) error { return store.UpdateProvider(t.Context(), p, nil, a) },
		"pause": func(p *Provider, a Audit) error {
			return store.PauseProvider(t.Context(), Ref{p.Tenant, p.ID}, PauseManual, a)
		},
		"resume": func(p *Provider, a Audit) error { return store.ResumeProvider(t.Context(), Ref{p.Tenant, p.ID}, a) },
		"remove": func(p *Provider, a Audit) error { return store.RemoveProvider(t.Context(), Ref{p.Tenant, p.ID}, a) },
		"tokens": func(p *Provider, a Audit) error {
			return store.PutTokens(t.Context(), Ref{p.Tenant, p.ID}, Fence{}, TokenTimes{Expiry: a.At, RefreshedAt: a.At, AuthorisedAt: &a.At})
		},
		"quarantine": func(p *Provider, a Audit) error {
			list, err := store.ListQuarantine(t.Context(), QuarantineFilter{ProviderID: p.ID, Limit: 1})
			if err != nil {
				return err
			}
			return store.SetQuarantineState(t.Context(), &list[0], QuarantineReleased, a)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := addProvider(t, store, name)
			lock, _ := take(t, locks, p.ID)
			step := Commit{
				State: &FolderState{Folder: "INBOX", UIDValidity: 1}, At: now(),
				Messages: []Message{{UID: 1, Outcome: Quarantined}}, Failures: []Quarantine{{UID: 1, State: QuarantineRetry}},
			}
			if _, err := store.Commit(t.Context(), lock.Fence, step); err != nil {
				t.Fatal(err)
			}
			changed := make(chan error, 1)
			err := store.behind(t.Context(), lock.Fence, func(tx *txn) error {
				writeMessages(t.Context(), tx, lock.Fence, step)
				go func() {
					changed <- change(p, Audit{Tenant: p.Tenant, At: now(), Actor: "test", Action: name, ProviderID: p.ID})
				}()
				time.Sleep(300 * time.Millisecond) // it locks what it locks before it waits
				writeQuarantine(t.Context(), tx, lock.Fence, step)
				writeFolder(t.Context(), tx, lock.Fence, step.State)
				mirrorCursor(t.Context(), tx, lock.Fence, step)
				finishProvider(t.Context(), tx, p, Pass{Run: Run{EndedAt: now(), ErrorCode: "connect", Error: "no route"}})
				return tx.err
			})
			if err != nil {
				t.Errorf("the pass: %v", err)
			}
			if err := <-changed; err != nil {
				t.Errorf("what came meanwhile: %v", err)
			}
		})
	}
}

// TestTokensBesideChange holds that tokens stored without a fence, by the test of a
// mailbox, do not meet a change of its settings in a deadlock.
func TestTokensBesideChange(t *testing.T) {
	store := testStore(t)
	locks := testLocks(t, store)
	p := addProvider(t, store, "tokens")
	take(t, locks, p.ID)
	stored := make(chan error, 1)
	err := store.inTx(t.Context(), func(tx *txn) error {
		tx.exec(t.Context(), "make due", `UPDATE imap_sync_state SET next_attempt_at = NULL WHERE tenant = $1 AND provider_id = $2`, p.Tenant, p.ID)
		tx.exec(t.Context(), "lock config", `UPDATE imap_email_provider_config SET updated_at = now() WHERE tenant = $1 AND email_provider_id = $2`, p.Tenant, p.ID)
		go func() {
			stored <- store.PutTokens(t.Context(), Ref{p.Tenant, p.ID}, Fence{}, TokenTimes{Expiry: now(), RefreshedAt: now()})
		}()
		time.Sleep(300 * time.Millisecond) // it locks what it locks before it waits
		writeSettings(t.Context(), tx, p, now())
		return tx.err
	})
	if err != nil {
		t.Errorf("the change: %v", err)
	}
	if err := <-stored; err != nil {
		t.Errorf("the tokens: %v", err)
	}
}

// TestTransactionInterrupted holds that a transaction whose context ends says so,
// wherever it was: interrupted is an exit code of its own.
func TestTransactionInterrupted(t *testing.T) {
	store := testStore(t)
	for name, in := range map[string]string{"before the commit": "SELECT 1", "in a statement": "SELECT pg_sleep(60)"} {
		ctx, cancel := context.WithCancel(t.Context())
		err := store.inTx(ctx, func(tx *txn) error {
			if in == "SELECT 1" {
				cancel()
				<-ctx.Done()
				time.Sleep(50 * time.Millisecond) // database/sql rolls back by itself
				return nil
			}
			time.AfterFunc(50*time.Millisecond, cancel)
			tx.exec(ctx, "sleep", in)
			return tx.err
		})
		if cancel(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
	}
}
