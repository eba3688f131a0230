package db

import (
	"errors"
	"fmt"
	"testing"

	"imapsync/internal/devenv"
)

func TestPoolerIsFoundAndLockURLHelps(t *testing.T) {
	direct := devenv.TestPostgres(t, migrate)
	pooled := devenv.TestPgBouncer(t, direct)
	store := openStore(t, Options{URL: pooled})
	if _, err := store.OpenLocks(t.Context()); !errors.Is(err, ErrPooler) {
		t.Fatalf("locks through PgBouncer: %v, want ErrPooler", err)
	}
	store = openStore(t, Options{URL: pooled, LockURL: direct})
	locks := testLocks(t, store)
	p := addProvider(t, store, "pooled")
	lock, ok := take(t, locks, p.ID)
	if !ok {
		t.Fatal("lock over the direct connection was refused")
	}
	state := &FolderState{Folder: "INBOX", UIDValidity: 1, LastUID: 1, SettledUID: 1}
	_, err := store.Commit(t.Context(), lock.Fence, Commit{State: state, At: now(),
		Messages: []Message{{UID: 1, EventKey: "k1", Outcome: Published, ProcessedAt: now()}}})
	if err != nil {
		t.Errorf("commit through PgBouncer: %v", err)
	}
}

// A prepared statement would be in a session that others use too, and would fail
// once a migration has changed its tables under a process that goes on.
func TestNothingIsPrepared(t *testing.T) {
	direct := devenv.TestPostgres(t, migrate)
	for name, opts := range map[string]Options{"direct": {URL: direct}, "pooled": {URL: devenv.TestPgBouncer(t, direct), LockURL: direct}} {
		opts.MaxConns = 1
		store := openStore(t, opts)
		p := addProvider(t, store, name)
		lock, _ := take(t, testLocks(t, store), p.ID)
		for uid := range uint32(8) {
			if _, err := store.pool.ExecContext(t.Context(), fmt.Sprintf(`ALTER TABLE imap_messages ALTER message_id TYPE varchar(%d)`, 3000+uid)); err != nil {
				t.Fatal(err)
			}
			key := string(rune('a' + uid))
			if known, err := store.KnownMessages(t.Context(), Ref{p.Tenant, p.ID}, []string{key}, nil, nil); err != nil || len(known) > 0 {
				t.Fatal(known, err)
			}
			state := &FolderState{Folder: "INBOX", UIDValidity: 1, LastUID: uid + 1, SettledUID: uid + 1, InFlight: []int64{int64(uid) + 2}}
			counts, err := store.Commit(t.Context(), lock.Fence, Commit{State: state, At: now(),
				Messages: []Message{{UID: uid + 1, EventKey: key, Outcome: Published}}})
			if err != nil || counts.Published != 1 {
				t.Fatal(counts, err)
			}
		}
		var prepared int
		if err := store.pool.GetContext(t.Context(), &prepared, `SELECT count(*) FROM pg_prepared_statements`); err != nil || prepared != 0 {
			t.Errorf("%s: %d statements are prepared (%v)", name, prepared, err)
		}
	}
}
