package db

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/lib/pq"
)

func TestInFlightIsKept(t *testing.T) {
	store := testStore(t)
	p := addProvider(t, store, "support")
	ref := Ref{p.Tenant, p.ID}
	lock, _ := take(t, testLocks(t, store), p.ID)
	read := func() pq.Int64Array {
		t.Helper()
		states, err := store.FolderStates(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		return states["INBOX"].InFlight
	}
	var thousand pq.Int64Array
	for uid := range int64(1000) {
		thousand = append(thousand, 4_000_000_000+uid)
	}
	for name, want := range map[string]pq.Int64Array{
		"none":          nil,
		"the highest":   {math.MaxUint32},
		"a run":         thousand,
		"killed before": {7, 7, 7, 8, 8},
		"not in order":  {9, 10, 3, 4},
	} {
		if err := store.SetFolder(t.Context(), lock.Fence, &FolderState{Folder: "INBOX", UIDValidity: 1, InFlight: want}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, read(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	storage, err := selectOne[string](t.Context(), store, "storage", `
		SELECT attstorage FROM pg_attribute WHERE attrelid = 'imap_folder_state'::regclass AND attname = 'in_flight'`)
	if err != nil || storage != "e" {
		t.Errorf("storage %q (%v), want e: a list is written with every step, and to compress it costs more", storage, err)
	}
	if err := store.ClearInFlight(t.Context(), lock.Fence, "INBOX", nil); err != nil || len(read()) != 0 {
		t.Errorf("cleared: %v (%v)", read(), err)
	}

	// A version before kept up to 32 UIDs in one element: the first of them.
	_, err = store.pool.ExecContext(t.Context(), `UPDATE imap_folder_state SET in_flight = ARRAY[7 | (5::bigint << 32), 4294967295 | (1::bigint << 62), 9]`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(pq.Int64Array{7, math.MaxUint32, 9}, read()); diff != "" {
		t.Errorf("packed (-want +got):\n%s", diff)
	}
}
