package db

import (
	"os"
	"regexp"
	"testing"

	"imapsync/secret"
)

// What docs/security.md says of old versions: which stay, and the statement that
// removes them leaves what is read.
func TestOldVersionsOfSecrets(t *testing.T) {
	store := testStore(t)
	line, _ := newKey(t)
	box := boxOf(t, line)
	p := addProvider(t, store, "support")
	password, token := PasswordName(p.ID), RefreshTokenName(p.ID)
	for _, text := range []string{"first", "second", "third"} {
		for _, name := range []string{password, token} {
			sealed, err := store.SealSecret(t.Context(), box, p.Tenant, name, secret.New(text), now())
			switch {
			case err != nil:
			case name == password:
				err = store.UpdateProvider(t.Context(), p, []Secret{sealed}, Audit{Tenant: p.Tenant, At: now(), Action: "provider_changed"})
			default:
				err = store.PutTokens(t.Context(), Ref{p.Tenant, p.ID}, Fence{}, TokenTimes{Expiry: now(), RefreshedAt: now()}, sealed)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	kept := func(passwords, tokens int) {
		t.Helper()
		for name, want := range map[string]int{password: passwords, token: tokens} {
			var n int
			if err := store.pool.GetContext(t.Context(), &n, `SELECT count(*) FROM imap_secrets WHERE name = $1`, name); err != nil || n != want {
				t.Errorf("%s: %d versions, %v; want %d", name, n, err, want)
			}
			if got, _, err := store.OpenSecret(t.Context(), box, p.Tenant, name); err != nil || got.Reveal() != "third" {
				t.Errorf("%s: the newest is not what is read: %v", name, err)
			}
		}
	}
	kept(2, 2)
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```sql\n(DELETE FROM imap_secrets .*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("docs/security.md has no statement that removes old versions")
	}
	if _, err := store.pool.ExecContext(t.Context(), string(block[1])); err != nil {
		t.Fatal(err)
	}
	kept(1, 1)
}
