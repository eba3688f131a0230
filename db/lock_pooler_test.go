package db

import (
	"errors"
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
