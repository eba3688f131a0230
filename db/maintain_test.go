package db

import (
	"strings"
	"testing"
	"time"
)

func TestMaintain(t *testing.T) {
	store := testStore(t)
	p := addProvider(t, store, "support")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	exec := func(query string, args ...any) {
		t.Helper()
		_, err := store.pool.ExecContext(t.Context(), query, args...)
		must(err)
	}
	number := func(query string) (n int) {
		t.Helper()
		must(store.pool.GetContext(t.Context(), &n, query))
		return n
	}
	at := time.Date(2026, 12, 15, 12, 0, 0, 0, time.UTC)
	due, err := store.maintenanceDue(t.Context(), at)
	must(err)
	m, err := store.Maintain(t.Context(), at, Retention{Runs: 90 * 24 * time.Hour, Ledger: 365 * 24 * time.Hour})
	must(err)
	if want := "imap_runs_202612 imap_runs_202701 imap_runs_202702"; strings.Join(m.Created, " ") != want || !due {
		t.Errorf("due %t, created %v, want %s", due, m.Created, want)
	}
	if due, err = store.maintenanceDue(t.Context(), at); err != nil || due {
		t.Errorf("due again at once: %t, %v", due, err)
	}

	// A year and more: the cursor stands at 50; 10 and 11 are in quarantine; the server
	// still shows those from 48 on.
	exec(`INSERT INTO imap_folder_state (tenant, provider_id, folder, uid_validity, settled_uid, last_uid, lowest_uid) VALUES ($1, $2, 'INBOX', 7, 50, 60, 48)`, p.Tenant, p.ID)
	exec(`INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, uid, outcome, processed_at)
		SELECT $1, $2, 'INBOX', 7, uid, CASE WHEN uid = 10 THEN 'quarantined' ELSE 'published' END,
			CASE WHEN uid > 40 AND uid <= 45 THEN $4::timestamptz ELSE $3::timestamptz END FROM generate_series(1, 60) AS uid`,
		p.Tenant, p.ID, at.AddDate(-2, 0, 0), at)
	exec(`INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, uid, outcome, processed_at) VALUES ($1, $2, 'INBOX', 6, 99, 'published', $3)`,
		p.Tenant, p.ID, at.AddDate(-2, 0, 0))
	exec(`INSERT INTO imap_quarantine (tenant, id, provider_id, folder, uid_validity, uid, state, stage, error_code, error, created_at, updated_at)
		SELECT $1, gen_random_uuid(), $2, 'INBOX', 7, uid, 'dead', 'parse', 'x', 'x', $3, $3 FROM generate_series(10, 11) AS uid`, p.Tenant, p.ID, at)
	exec(`INSERT INTO imap_runs (tenant, provider_id, id, started_at, ended_at, outcome) VALUES ($1, $2, gen_random_uuid(), $3, $3, 'ok')`, p.Tenant, p.ID, at)
	exec(`INSERT INTO imap_runs (tenant, provider_id, id, started_at, ended_at, outcome) VALUES ($1, $2, gen_random_uuid(), $3, $3, 'failed')`, p.Tenant, p.ID, at.AddDate(0, -6, 0))

	later := at.AddDate(0, 0, 1)
	m, err = store.Maintain(t.Context(), later, Retention{Runs: 90 * 24 * time.Hour, Ledger: 365 * 24 * time.Hour})
	must(err)
	// 1–47 without 10, 11 and the young 41–45, and the one under old numbering.
	if m.LedgerRows != 47-2-5+1 || m.RunRows != 1 || len(m.Created) != 0 {
		t.Errorf("%+v, want 41 rows of the ledger and one run given up", m)
	}
	if left := number(`SELECT count(*) FROM imap_messages WHERE uid > 50 OR uid IN (10, 11)`); left != 12 {
		t.Errorf("%d rows left of those that must stay, want 12", left)
	}
	states, err := store.FolderStates(t.Context(), Ref{p.Tenant, p.ID})
	must(err)
	if got := states["INBOX"]; got.StartUID != 47 || got.SettledUID != 50 || got.HorizonAt == nil || !got.HorizonAt.Equal(at.AddDate(-2, 0, 0)) {
		t.Errorf("%+v, want what is given up to be counted as not ours, and the horizon behind it", got)
	}
	runs, err := store.ListRuns(t.Context(), RunFilter{Tenant: p.Tenant, ProviderID: p.ID, Limit: 10})
	must(err)
	if len(runs) != 1 || runs[0].Provider != "support" {
		t.Errorf("runs %+v, want the young one", runs)
	}

	// Half a year on, the month's partition goes.
	m, err = store.Maintain(t.Context(), at.AddDate(0, 6, 0), Retention{Runs: 90 * 24 * time.Hour})
	must(err)
	if want := "imap_runs_202612 imap_runs_202701 imap_runs_202702"; strings.Join(m.Dropped, " ") != want {
		t.Errorf("dropped %v, want %s", m.Dropped, want)
	}
	if m.LedgerRows != 0 {
		t.Errorf("%d rows of the ledger given up, want all kept", m.LedgerRows)
	}

	// Another process at it: nothing is done.
	tx, err := store.pool.BeginTxx(t.Context(), nil)
	must(err)
	defer tx.Rollback()
	_, err = tx.ExecContext(t.Context(), `SELECT pg_advisory_xact_lock($1)`, int64(maintainKey))
	must(err)
	if m, err = store.Maintain(t.Context(), at.AddDate(1, 0, 0), Retention{}); err != nil || !m.Busy || len(m.Created) > 0 {
		t.Errorf("beside another: %+v, %v; want busy", m, err)
	}
}
