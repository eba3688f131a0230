package provider

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/internal/devenv"
	"imapsync/oauth"
	"imapsync/secret"
)

func migrate(ctx context.Context, url string) error {
	_, err := db.Migrate(ctx, db.Options{URL: url}, slog.New(slog.DiscardHandler))
	return err
}

// tokenHouse is a provider with tokens, and runs of it one after another.
type tokenHouse struct {
	t     *testing.T
	store *db.Store
	locks *db.Locks
	c     *credentials
	p     *db.Provider
}

func newTokenHouse(t *testing.T, databaseURL string) *tokenHouse {
	t.Helper()
	h := &tokenHouse{t: t, p: &db.Provider{
		Settings: db.Settings{
			Tenant: db.DefaultTenant, ID: uuid.NewString(), Name: "a", Mailbox: "a@example.com",
			Host: "imap.example.com", Port: 993, TLS: db.TLSImplicit, AuthType: db.AuthOAuth2, Username: "a", MaxEmailsPerSync: 1,
			Start: "all", CreatedAt: time.Now(),
		},
		State: db.State{Status: db.StatusConfiguring},
	}}
	var err error
	h.store, err = db.Open(t.Context(), db.Options{URL: databaseURL})
	h.must(err)
	t.Cleanup(func() { h.store.Close() })
	key, err := secret.GenerateKey()
	h.must(err)
	keyFile := filepath.Join(t.TempDir(), "key")
	h.must(os.WriteFile(keyFile, []byte(key.Reveal()+"\n"), 0o600))
	box := secret.NewLazyBox(func() (*secret.KeyRing, error) { return secret.ReadKeyFile(keyFile) })
	h.c, err = (&Service{Store: h.store, Box: box, LookupEnv: os.LookupEnv}).credentials(nil)
	h.must(err)
	h.must(h.store.AddProvider(t.Context(), h.p, nil, audit(h.p, "test", "provider_created", nil)))
	h.locks, err = h.store.OpenLocks(t.Context())
	h.must(err)
	t.Cleanup(h.locks.Close)
	return h
}

func (h *tokenHouse) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// run begins a run: what it loads is what is stored then.
func (h *tokenHouse) run() *keptTokens {
	h.t.Helper()
	lock, ok, err := h.locks.TryLock(h.t.Context(), h.p.Tenant, h.p.ID, uuid.NewString(), time.Now())
	h.must(err)
	if !ok {
		h.t.Fatal("the lock is busy")
	}
	lock.Unlock() // the fence is what counts here
	k := &keptTokens{credentials: h.c, provider: h.p, fence: lock.Fence}
	_, err = k.load(h.t.Context())
	h.must(err)
	return k
}

// stored is the refresh token in force.
func (h *tokenHouse) stored() string {
	h.t.Helper()
	value, _, err := h.store.OpenSecret(h.t.Context(), h.c.box, h.p.Tenant, db.RefreshTokenName(h.p.ID))
	h.must(err)
	return value.Reveal()
}

func tokensWith(refresh string) oauth.Tokens {
	return oauth.Tokens{Access: secret.New("access " + refresh), Refresh: secret.New(refresh), Expiry: time.Now().Add(time.Hour)}
}

// Row 3, under fire: a run that was overtaken while it renewed a token holds
// the only one that still works. It is stored, and the run ends; but it never
// goes over a newer one.
func TestFailure03_OvertakenWhileRenewing(t *testing.T) {
	t.Parallel()
	h := newTokenHouse(t, devenv.TestPostgres(t, migrate))
	slow, fast := h.run(), h.run()
	if err := slow.save(t.Context(), tokensWith("one")); !errors.Is(err, db.ErrFenced) {
		t.Errorf("the run that was overtaken: %v, want ErrFenced", err)
	}
	if got := h.stored(); got != "one" {
		t.Errorf("stored %q: the token of the run that was overtaken is lost", got)
	}
	if err := fast.save(t.Context(), tokensWith("two")); err == nil {
		t.Error("two runs stored the same version")
	}

	slow, fast = h.run(), h.run()
	h.must(fast.save(t.Context(), tokensWith("three")))
	if err := slow.save(t.Context(), tokensWith("four")); !errors.Is(err, db.ErrFenced) {
		t.Errorf("the run that was overtaken: %v, want ErrFenced", err)
	}
	if got := h.stored(); got != "three" {
		t.Errorf("stored %q over the newer one", got)
	}
}

// Row 3: Postgres restarts while the new token is on its way.
func TestFailure03_PostgresRestartsWhileRenewing(t *testing.T) {
	t.Parallel()
	pg, url := devenv.TestPostgresServer(t, migrate)
	h := newTokenHouse(t, url)
	k := h.run()
	h.must(pg.Stop())
	started := make(chan error, 1)
	time.AfterFunc(1500*time.Millisecond, func() { started <- pg.Start(context.WithoutCancel(t.Context())) })
	h.must(k.save(t.Context(), tokensWith("one")))
	h.must(<-started)
	if got := h.stored(); got != "one" {
		t.Errorf("stored %q: the token is lost", got)
	}
}
