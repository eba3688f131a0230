package db

import (
	"fmt"
	"testing"

	"imapsync/internal/devenv"
)

// commits takes chunks through the store and gives how many of the statements of
// its connection are prepared by then.
func commits(t *testing.T, opts Options, chunks int) (prepared int) {
	t.Helper()
	opts.MaxConns = 1
	store := openStore(t, opts)
	p := addProvider(t, store, fmt.Sprint(chunks))
	lock, _ := take(t, testLocks(t, store), p.ID)
	for i := range chunks {
		key, uid := string(rune('a'+i)), uint32(i+1)
		if known, err := store.KnownMessages(t.Context(), Ref{p.Tenant, p.ID}, []string{key}, nil); err != nil || len(known) > 0 {
			t.Fatal(known, err)
		}
		state := &FolderState{Folder: "INBOX", UIDValidity: 1, LastUID: uid, SettledUID: uid, InFlight: InFlight{int64(uid) + 1}}
		counts, err := store.Commit(t.Context(), lock.Fence, Commit{State: state, At: now(),
			Messages: []Message{{UID: uid, EventKey: key, Outcome: Published}}})
		if err != nil || counts.Published != 1 {
			t.Fatal(counts, err)
		}
	}
	if err := store.pool.GetContext(t.Context(), &prepared, `SELECT count(*) FROM pg_prepared_statements`); err != nil {
		t.Fatal(err)
	}
	return prepared
}

func TestStatementsAreParsedOnce(t *testing.T) {
	url := devenv.TestPostgres(t, migrate)
	for chunks, want := range map[int]int{1: 0, prepareFrom + 1: 6} {
		if n := commits(t, Options{URL: url}, chunks); n != want {
			t.Errorf("after %d chunks %d statements are prepared, want %d", chunks, n, want)
		}
	}
}

func TestNothingIsPreparedBehindAPooler(t *testing.T) {
	direct := devenv.TestPostgres(t, migrate)
	if n := commits(t, Options{URL: devenv.TestPgBouncer(t, direct), LockURL: direct}, 2*prepareFrom); n != 0 {
		t.Errorf("%d statements are prepared in a session that others use too", n)
	}
}

// A migration changes tables under a process that goes on: what was prepared
// before fails once, and not for as long as the connection lives.
func TestStalePlansFailOnce(t *testing.T) {
	store := openStore(t, Options{URL: devenv.TestPostgres(t, migrate), MaxConns: 1})
	p := addProvider(t, store, "support")
	known := func() error {
		_, err := store.KnownMessages(t.Context(), Ref{p.Tenant, p.ID}, []string{"a"}, nil)
		return err
	}
	for range prepareFrom + 2 {
		if err := known(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.pool.ExecContext(t.Context(), `ALTER TABLE imap_messages ALTER message_id TYPE varchar(3000)`); err != nil {
		t.Fatal(err)
	}
	if err := known(); err == nil {
		t.Error("the old plan still does: this test shows nothing")
	}
	for range prepareFrom + 2 {
		if err := known(); err != nil {
			t.Fatal(err)
		}
	}
}
