package main

import (
	"errors"
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

// Row 3, under fire: a run that was overtaken while it renewed a token holds
// the only one that still works. It is stored, and the run ends; but it never
// goes over a newer one.
func TestFailure03_OvertakenWhileRenewing(t *testing.T) {
	ctx := t.Context()
	store, err := db.Open(ctx, db.Options{URL: devenv.TestPostgres(t, migrateAll)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	key, err := secret.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(key.Reveal()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := (&app{secretKeyFile: keyFile}).credentials(store)
	if err != nil {
		t.Fatal(err)
	}
	p := &db.Provider{
		Tenant: db.DefaultTenant, ID: uuid.NewString(), Name: "a", Mailbox: "a@example.com", Status: db.StatusConfiguring,
		Host: "imap.example.com", Port: 993, TLS: db.TLSImplicit, AuthType: db.AuthOAuth2, Username: "a", MaxEmailsPerSync: 1,
		Start: "all", CreatedAt: time.Now(),
	}
	if err := store.AddProvider(ctx, p, nil, audit(p, "provider_created", nil)); err != nil {
		t.Fatal(err)
	}
	locks, err := store.OpenLocks(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(locks.Close)
	run := func() *keptTokens {
		lock, ok, err := locks.TryLock(ctx, p.Tenant, p.ID, uuid.NewString(), time.Now())
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		lock.Unlock() // the fence is what counts here
		k := &keptTokens{credentials: c, provider: p, fence: lock.Fence}
		if _, err := k.load(ctx); err != nil {
			t.Fatal(err)
		}
		return k
	}
	tokens := func(refresh string) oauth.Tokens {
		return oauth.Tokens{Access: secret.New("access " + refresh), Refresh: secret.New(refresh), Expiry: time.Now().Add(time.Hour)}
	}
	stored := func() string {
		value, _, err := store.OpenSecretVersion(ctx, c.box, p.Tenant, db.RefreshTokenName(p.ID))
		if err != nil {
			t.Fatal(err)
		}
		return value.Reveal()
	}

	slow, fast := run(), run()
	if err := slow.save(ctx, tokens("one")); !errors.Is(err, db.ErrFenced) {
		t.Errorf("the run that was overtaken: %v, want ErrFenced", err)
	}
	if got := stored(); got != "one" {
		t.Errorf("stored %q: the token of the run that was overtaken is lost", got)
	}
	if err := fast.save(ctx, tokens("two")); err == nil {
		t.Error("two runs stored the same version")
	}

	slow, fast = run(), run()
	if err := fast.save(ctx, tokens("three")); err != nil {
		t.Fatal(err)
	}
	if err := slow.save(ctx, tokens("four")); !errors.Is(err, db.ErrFenced) {
		t.Errorf("the run that was overtaken: %v, want ErrFenced", err)
	}
	if got := stored(); got != "three" {
		t.Errorf("stored %q over the newer one", got)
	}
}
