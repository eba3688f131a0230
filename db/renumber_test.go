package db

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDuplicatesTakeOverTheirRows: in a folder that was numbered anew a duplicate has the
// row that stood for it, also where it waited in the quarantine meanwhile, and a copy of it
// another one.
func TestDuplicatesTakeOverTheirRows(t *testing.T) {
	store := testStore(t)
	p := addProvider(t, store, "support")
	lock, _ := take(t, testLocks(t, store), p.ID)
	at := now()
	message := func(uid uint32, key, id string, o Outcome) Message {
		return Message{UID: uid, EventKey: key, MessageID: id, Fingerprint: "f", Outcome: o, Size: 100, ProcessedAt: at}
	}
	commit := func(state *FolderState, want Counts, messages ...Message) {
		t.Helper()
		counts, err := store.Commit(t.Context(), lock.Fence, Commit{State: state, At: at, Messages: messages})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, counts); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
	}
	commit(&FolderState{Folder: "INBOX", UIDValidity: 1}, Counts{Published: 2, Duplicates: 2},
		message(1, "a", "a@b", Published), message(2, "a", "a@b", Duplicate), message(3, "c", "", Published), message(4, "c", "", Duplicate))
	anew := &FolderState{Folder: "INBOX", UIDValidity: 2, RenumberedAt: &at}
	commit(anew, Counts{Quarantined: 1}, message(11, "", "", Quarantined))
	commit(anew, Counts{Duplicates: 5}, message(11, "a", "a@b", Duplicate), message(12, "a", "a@b", Duplicate),
		message(13, "a", "a@b", Duplicate), message(14, "c", "", Duplicate), message(15, "c", "", Duplicate))
	rows, err := selectAll[Message](t.Context(), store, "rows", `SELECT uid_validity, uid, event_key, outcome FROM imap_messages ORDER BY uid`)
	if err != nil {
		t.Fatal(err)
	}
	row := func(uid uint32, key string, o Outcome) Message {
		return Message{UIDValidity: 2, UID: uid, EventKey: key, Outcome: o}
	}
	want := []Message{
		row(11, "a", Published), row(12, "a", Duplicate), row(13, "a", Duplicate), row(14, "c", Published), row(15, "c", Duplicate),
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
