package db

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"imapsync/internal/devenv"
)

// seed makes n providers of the tenant, each with state, folders and mail.
func seed(t testing.TB, store *Store, tenant string, n int) {
	t.Helper()
	for _, stmt := range []string{
		`INSERT INTO email_providers (tenant, id, provider_type, provider_name, mailbox, status)
			SELECT $1::text::uuid, md5($1::text || i)::uuid, 'imap', 'Desk ' || i, 'desk' || i || '@example.com',
				CASE WHEN i % 10 = 0 THEN 'error' ELSE 'connected' END FROM generate_series(1, $2::int) i`,
		`INSERT INTO imap_email_provider_config (tenant, email_provider_id, host, port, username)
			SELECT $1::text::uuid, md5($1::text || i)::uuid, 'imap' || i % 7 || '.example.com', 993, 'desk' FROM generate_series(1, $2::int) i`,
		`INSERT INTO imap_sync_state (tenant, provider_id, last_success_at, consecutive_failures)
			SELECT $1::text::uuid, md5($1::text || i)::uuid, now(), CASE WHEN i % 20 = 0 THEN 5 WHEN i % 10 = 0 THEN 1 ELSE 0 END FROM generate_series(1, $2::int) i`,
		`INSERT INTO imap_folder_state (tenant, provider_id, folder, uid_validity, backlog, backlog_since)
			SELECT $1::text::uuid, md5($1::text || i)::uuid, 'INBOX', 1, 3, now() - interval '5 minutes' FROM generate_series(1, $2::int) i`,
		`INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, uid, outcome, event_key, processed_at)
			SELECT $1::text::uuid, md5($1::text || i)::uuid, 'INBOX', 1, m, 'published', 'k' || m, now() - m * interval '150 minutes' - interval '1 minute'
			FROM generate_series(1, $2::int) i, generate_series(0, 11) m`,
		`INSERT INTO imap_quarantine (tenant, id, provider_id, folder, uid_validity, uid, state, stage, error_code, error, created_at, updated_at)
			SELECT $1::text::uuid, md5('q' || $1::text || i)::uuid, md5($1::text || i)::uuid, 'INBOX', 1, 99, CASE WHEN i % 2 = 0 THEN 'dead' ELSE 'discarded' END,
				'parse', 'x', 'x', now(), now() FROM generate_series(1, $2::int) i`,
	} {
		if _, err := store.pool.ExecContext(t.Context(), stmt, tenant, n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.pool.ExecContext(t.Context(), `ANALYZE`); err != nil {
		t.Fatal(err)
	}
}

func TestOverviews(t *testing.T) {
	store := testStore(t)
	other := uuid.NewString()
	seed(t, store, testTenant, 20)
	seed(t, store, other, 3)
	f := OverviewFilter{Tenant: testTenant, Limit: 5, Offset: 10}
	list, err := store.PageProviders(t.Context(), f, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 5 || list[0].Name != "Desk 19" {
		t.Fatalf("%d providers, the first is %q", len(list), list[0].Name)
	}
	for _, o := range list {
		if o.Tenant != testTenant {
			t.Errorf("%s is of tenant %s", o.Name, o.Tenant)
		}
	}
	even := list[1] // Desk 2
	if even.Name != "Desk 2" || even.Backlog != 3 || even.Oldest == nil || even.Quarantined != 1 || even.State != StateConnected || even.Day() != 10 || even.Hours[23] != 1 {
		t.Errorf("%s: backlog %d, oldest %v, quarantined %d, state %s, hours %v", even.Name, even.Backlog, even.Oldest, even.Quarantined, even.State, even.Hours)
	}
	if odd := list[0]; odd.Quarantined != 0 {
		t.Errorf("what was given up counts: %d", odd.Quarantined)
	}
	counts, err := store.StateCounts(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{StateConnected: 18, StateReconnecting: 1, StateError: 1}, counts); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		f    OverviewFilter
		want int
	}{
		{OverviewFilter{Limit: 100}, 23},
		{OverviewFilter{Tenant: other, Limit: 100}, 3},
		{OverviewFilter{State: StateError, Limit: 100}, 1},
		{OverviewFilter{Text: "DESK20@", Limit: 100}, 1},
		{OverviewFilter{Text: "imap3.", Limit: 100}, 4},
		{OverviewFilter{Text: "%", Limit: 100}, 0},
		{OverviewFilter{Text: "_", Limit: 100}, 0},
		{OverviewFilter{Text: `\`, Limit: 100}, 0},
	} {
		list, err := store.PageProviders(t.Context(), tt.f, time.Now())
		if err != nil || len(list) != tt.want {
			t.Errorf("%+v: %d providers, want %d (%v)", tt.f, len(list), tt.want, err)
		}
	}
	tenants, err := store.Tenants(t.Context(), 10)
	if err != nil || len(tenants) != 2 {
		t.Errorf("tenants %q, %v", tenants, err)
	}
}

// BenchmarkOverview lists a page out of ten thousand providers.
func BenchmarkOverview(b *testing.B) {
	store, err := Open(b.Context(), Options{URL: devenv.TestPostgres(b, migrate)})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	seed(b, store, testTenant, 10_000)
	for b.Loop() {
		f := OverviewFilter{Text: "desk", Limit: 24, Offset: 4800}
		if list, err := store.PageProviders(b.Context(), f, time.Now()); err != nil || len(list) != 24 {
			b.Fatal(len(list), err)
		}
		if _, err := store.StateCounts(b.Context(), f); err != nil {
			b.Fatal(err)
		}
	}
}
