package db

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"imapsync/internal/devenv"
	"imapsync/secret"
)

const testTenant = "00000000-0000-4000-8000-000000000001"

func migrate(ctx context.Context, url string) error {
	_, err := Migrate(ctx, Options{URL: url}, slog.New(slog.DiscardHandler))
	return err
}

func testStore(t *testing.T) *Store {
	t.Helper()
	return openStore(t, Options{URL: devenv.TestPostgres(t, migrate)})
}

func openStore(t *testing.T, opts Options) *Store {
	t.Helper()
	store, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// now is a time as Postgres keeps it: microseconds, UTC.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func addProvider(t testing.TB, store *Store, name string) *Provider {
	t.Helper()
	p := &Provider{
		Settings: Settings{
			Tenant: testTenant, ID: uuid.NewString(), Name: name, Mailbox: name + "@example.com", Active: true,
			AutoProcess: true, Host: "imap.example.com", Port: 993, TLS: TLSImplicit,
			AuthType: "password", Username: name, Folders: FolderNames{"INBOX", "Поддержка"}, MaxEmailsPerSync: 50,
			Start: "recent", ConnectTimeoutMS: 10000, CreatedAt: now(),
		},
		State: State{Status: StatusConfiguring},
	}
	audit := Audit{Tenant: p.Tenant, At: now(), Actor: "test", Action: "provider_created", ProviderID: p.ID}
	if err := store.AddProvider(t.Context(), p, nil, audit); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMigrateIsRepeatableAndChecked(t *testing.T) {
	url := devenv.TestPostgres(t, nil)
	store := openStore(t, Options{URL: url})
	if err := store.CheckSchema(t.Context()); !errors.Is(err, ErrSchema) {
		t.Fatalf("before migrate: %v, want ErrSchema", err)
	}
	errs := make(chan error, 3)
	for range 3 {
		go func() { errs <- migrate(context.WithoutCancel(t.Context()), url) }()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Fatalf("migrate beside two others: %v", err)
		}
	}
	if err := store.CheckSchema(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.pool.ExecContext(t.Context(), `INSERT INTO `+versionTable+` (version_id, is_applied) VALUES (99999, true)`); err != nil {
		t.Fatal(err)
	}
	if err := store.CheckSchema(t.Context()); !errors.Is(err, ErrSchema) {
		t.Fatalf("database newer than the binary: %v, want ErrSchema", err)
	}
}

func TestProviderRoundTrip(t *testing.T) {
	store := testStore(t)
	p := addProvider(t, store, "support")
	got, err := store.FindProvider(t.Context(), "support", "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, got, cmpopts.EquateApproxTime(time.Millisecond)); diff != "" {
		t.Errorf("provider differs (-want +got):\n%s", diff)
	}
	if _, err := store.FindProvider(t.Context(), "nobody", ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown name: %v, want ErrNotFound", err)
	}
	if _, err := store.FindProvider(t.Context(), p.ID, uuid.NewString()); !errors.Is(err, ErrNotFound) {
		t.Errorf("id in another tenant: %v, want ErrNotFound", err)
	}
	again := *p
	again.ID = uuid.NewString()
	if err := store.AddProvider(t.Context(), &again, nil, Audit{Tenant: p.Tenant, At: now()}); !errors.Is(err, ErrExists) {
		t.Errorf("same mailbox twice: %v, want ErrExists", err)
	}

	got.Port, got.TLS, got.Folders = 143, TLSStartTLS, nil
	if err := store.UpdateProvider(t.Context(), got, nil, Audit{Tenant: p.Tenant, At: now(), Action: "provider_changed"}); err != nil {
		t.Fatal(err)
	}
	changed, err := store.Provider(t.Context(), Ref{p.Tenant, p.ID})
	if err != nil {
		t.Fatal(err)
	}
	if changed.Port != 143 || changed.TLS != TLSStartTLS || len(changed.Folders) != 0 {
		t.Errorf("after update: port %d, tls %s, folders %q", changed.Port, changed.TLS, changed.Folders)
	}

	if err := store.RemoveProvider(t.Context(), Ref{p.Tenant, p.ID}, Audit{Tenant: p.Tenant, At: now(), Action: "provider_removed"}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Provider(t.Context(), Ref{p.Tenant, p.ID}); !errors.Is(err, ErrNotFound) {
		t.Errorf("after remove: %v, want ErrNotFound", err)
	}
	log, err := store.AuditLog(t.Context(), p.Tenant, "", 10)
	if err != nil || len(log) != 3 {
		t.Errorf("audit log has %d entries (%v), want 3", len(log), err)
	}
}

func TestProvidersDue(t *testing.T) {
	store := testStore(t)
	a, b, c := addProvider(t, store, "a"), addProvider(t, store, "b"), addProvider(t, store, "c")
	if err := store.PauseProvider(t.Context(), Ref{c.Tenant, c.ID}, PauseManual, Audit{Tenant: c.Tenant, At: now()}); err != nil {
		t.Fatal(err)
	}
	due := func(f DueFilter) map[string]bool {
		t.Helper()
		f.Now = now()
		refs, err := store.ProvidersDue(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for _, r := range refs {
			ids[r.ID] = true
		}
		return ids
	}
	if got := due(DueFilter{}); !got[a.ID] || !got[b.ID] || got[c.ID] {
		t.Errorf("due %v, want a and b, not the paused c", got)
	}
	if got := due(DueFilter{Tenant: uuid.NewString()}); len(got) != 0 {
		t.Errorf("due in another tenant: %v", got)
	}
	sharded := 0
	for i := range 3 {
		sharded += len(due(DueFilter{ShardIndex: i, ShardCount: 3}))
	}
	if sharded != 2 {
		t.Errorf("three shards hold %d providers together, want 2", sharded)
	}

	locks := testLocks(t, store)
	lock, ok, err := locks.TryLock(t.Context(), a.Tenant, a.ID, uuid.NewString(), now())
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	later := now().Add(time.Hour)
	err = store.FinishPass(t.Context(), lock.Fence, a, Pass{
		Run: Run{StartedAt: now(), EndedAt: now(), ErrorCode: "connect", Error: "no\x00 route \xff"}, NextAttemptAt: &later,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := due(DueFilter{}); got[a.ID] || !got[b.ID] {
		t.Errorf("due %v, want b alone while a backs off", got)
	}
	failed, err := store.Provider(t.Context(), Ref{a.Tenant, a.ID})
	if err != nil {
		t.Fatal(err)
	}
	if failed.Status != StatusError || failed.ErrorMessage != "no route \uFFFD" || failed.ConsecutiveFailures != 1 {
		t.Errorf("after a failure: status %s, message %q, failures %d", failed.Status, failed.ErrorMessage, failed.ConsecutiveFailures)
	}
	if err := store.ResumeProvider(t.Context(), Ref{c.Tenant, c.ID}, Audit{Tenant: c.Tenant, At: now()}); err != nil {
		t.Fatal(err)
	}
	if got := due(DueFilter{}); !got[c.ID] {
		t.Errorf("due %v, want c after resume", got)
	}
}

func TestSecretVersions(t *testing.T) {
	store := testStore(t)
	key, err := secret.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := secret.ParseKeys([]byte(key.Reveal()), "test")
	if err != nil {
		t.Fatal(err)
	}
	box := secret.NewBox(ring)
	name := PasswordName(uuid.NewString())
	if _, version, err := store.OpenSecret(t.Context(), box, testTenant, name); err != nil || version != 0 {
		t.Fatalf("before the first version: version %d (%v), want 0", version, err)
	}
	for _, password := range []string{"first \\ \"quoted\" пароль", "second"} {
		sealed, err := store.SealSecret(t.Context(), box, testTenant, name, secret.New(password), now())
		if err != nil {
			t.Fatal(err)
		}
		if err := store.PutSecret(t.Context(), sealed); err != nil {
			t.Fatal(err)
		}
		if err := store.PutSecret(t.Context(), sealed); !errors.Is(err, ErrExists) {
			t.Errorf("the same version twice: %v, want ErrExists", err)
		}
		got, _, err := store.OpenSecret(t.Context(), box, testTenant, name)
		if err != nil || got.Reveal() != password {
			t.Errorf("opened %v, want the newest version", err)
		}
	}
}
