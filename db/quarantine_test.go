package db

import (
	"errors"
	"testing"

	"github.com/google/uuid"
)

// What is found may be let go or thrown away: without an id it is nothing, and not
// whatever came last.
func TestFindQuarantine(t *testing.T) {
	store := testStore(t)
	p := addProvider(t, store, "support")
	lock, _ := take(t, testLocks(t, store), p.ID)
	_, err := store.Commit(t.Context(), lock.Fence, Commit{
		State: &FolderState{Folder: "INBOX", UIDValidity: 1}, At: now(),
		Messages: []Message{{UID: 1, Outcome: Quarantined}}, Failures: []Quarantine{{UID: 1, State: QuarantineDead}},
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := store.ListQuarantine(t.Context(), QuarantineFilter{ProviderID: p.ID, Limit: 2})
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	id := list[0].ID
	if q, err := store.FindQuarantine(t.Context(), id, p.Tenant); err != nil || q.ID != id {
		t.Errorf("by its id: %+v, %v", q, err)
	}
	for _, absent := range []struct{ id, tenant string }{{"", ""}, {"", p.Tenant}, {uuid.NewString(), ""}, {id, DefaultTenant}} {
		if q, err := store.FindQuarantine(t.Context(), absent.id, absent.tenant); !errors.Is(err, ErrNotFound) {
			t.Errorf("id %q, tenant %q: %+v, %v; want ErrNotFound", absent.id, absent.tenant, q, err)
		}
	}
}
