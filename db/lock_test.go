package db

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
)

func testLocks(t *testing.T, store *Store) *Locks {
	t.Helper()
	locks, err := store.OpenLocks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(locks.Close)
	return locks
}

func take(t *testing.T, locks *Locks, providerID string) (*Lock, bool) {
	t.Helper()
	lock, ok, err := locks.TryLock(t.Context(), testTenant, providerID, uuid.NewString(), now())
	if err != nil {
		t.Fatal(err)
	}
	return lock, ok
}

func TestLockIsExclusiveWithinAndBetweenProcesses(t *testing.T) {
	store := testStore(t)
	here, there := testLocks(t, store), testLocks(t, store)
	id := uuid.NewString()
	lock, ok := take(t, here, id)
	if !ok {
		t.Fatal("a free lock was refused")
	}
	if _, ok := take(t, here, id); ok {
		t.Error("the same process took the lock twice")
	}
	if _, ok := take(t, there, id); ok {
		t.Error("another process took a held lock")
	}
	if _, ok := take(t, there, uuid.NewString()); !ok {
		t.Error("another provider's lock was refused")
	}
	lock.Unlock()
	second, ok := take(t, there, id)
	if !ok {
		t.Fatal("the lock was refused after Unlock")
	}
	if second.Fence.Epoch <= lock.Fence.Epoch {
		t.Errorf("epoch went from %d to %d, want it raised", lock.Fence.Epoch, second.Fence.Epoch)
	}
	there.Close()
	// The server notices the end of the connection a moment later.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, ok := take(t, here, id); ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the lock outlived its process")
		}
	}
}

func TestLockLostWithItsConnection(t *testing.T) {
	store := testStore(t)
	locks := testLocks(t, store)
	id := uuid.NewString()
	lock, ok := take(t, locks, id)
	if !ok {
		t.Fatal("a free lock was refused")
	}
	_, err := store.pool.ExecContext(t.Context(), `
		SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database =
			(SELECT oid FROM pg_database WHERE datname = current_database())`)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-lock.Lost():
	case <-time.After(keepAlive + time.Minute):
		t.Fatal("the keeper did not notice that the lock connection died")
	}
	lock.Unlock() // must not hang or panic
	if _, ok := take(t, locks, id); !ok {
		t.Error("the lock could not be taken over a new connection")
	}
}

func TestFenceStopsARunThatWasOvertaken(t *testing.T) {
	store := testStore(t)
	p := addProvider(t, store, "support")
	locks := testLocks(t, store)
	old, _ := take(t, locks, p.ID)
	old.Unlock() // its process is stopped here and wakes up later
	current, _ := take(t, locks, p.ID)
	commit := Commit{State: &FolderState{Folder: "INBOX", UIDValidity: 1, LastUID: 7}, At: now(),
		Messages: []Message{{UID: 7, EventKey: "k7", Outcome: Published, ProcessedAt: now()}}}
	if _, err := store.Commit(t.Context(), old.Fence, commit); !errors.Is(err, ErrFenced) {
		t.Fatalf("commit of the overtaken run: %v, want ErrFenced", err)
	}
	if err := store.SetFolder(t.Context(), old.Fence, commit.State); !errors.Is(err, ErrFenced) {
		t.Errorf("cursor of the overtaken run: %v, want ErrFenced", err)
	}
	if err := store.FinishPass(t.Context(), old.Fence, p, Pass{Run: Run{EndedAt: now()}}); !errors.Is(err, ErrFenced) {
		t.Errorf("end of the overtaken run: %v, want ErrFenced", err)
	}
	states, err := store.FolderStates(t.Context(), Ref{p.Tenant, p.ID})
	if err != nil || len(states) != 0 {
		t.Errorf("the overtaken run wrote %v (%v)", states, err)
	}
	if _, err := store.Commit(t.Context(), current.Fence, commit); err != nil {
		t.Errorf("commit of the current run: %v", err)
	}
}

func TestOpenErrorsAreClassedAndCarryNoPassword(t *testing.T) {
	for name, tt := range map[string]struct {
		url  string
		want error
	}{
		"nobody listens": {"postgres://u:hunter2@127.0.0.1:1/x?sslmode=disable", ErrUnreachable},
		"not a URL":      {"postgres://u:hunter2@[::1/x", ErrConfig},
		"unknown option": {"postgres://u:hunter2@127.0.0.1:1/x?sslmode=sometimes", ErrConfig},
	} {
		t.Run(name, func(t *testing.T) {
			_, openErr := Open(t.Context(), Options{URL: tt.url})
			_, migrateErr := MigrationStatus(t.Context(), Options{URL: tt.url})
			for _, err := range []error{openErr, migrateErr} {
				if !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if err != nil && containsPassword(err) {
					t.Errorf("the error carries the password: %v", err)
				}
			}
		})
	}
}
