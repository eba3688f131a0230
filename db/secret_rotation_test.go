package db

import (
	"fmt"
	"strings"
	"testing"

	"imapsync/secret"
)

// boxOf returns a box over keys in the given order, and their ring file's text.
func boxOf(t *testing.T, lines ...string) *secret.Box {
	t.Helper()
	ring, err := secret.ParseKeys([]byte(strings.Join(lines, "\n")), "keys")
	if err != nil {
		t.Fatal(err)
	}
	return secret.NewBox(ring)
}

func newKey(t *testing.T) (line, id string) {
	t.Helper()
	key, err := secret.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ = strings.Cut(key.Reveal(), ":")
	return key.Reveal(), id
}

func TestResealSecretsInBatches(t *testing.T) {
	store := testStore(t)
	if found, err := store.HasSecrets(t.Context()); found || err != nil {
		t.Errorf("HasSecrets of nothing: %v, %v", found, err)
	}
	oldLine, oldID := newKey(t)
	newLine, newID := newKey(t)
	lostLine, lostID := newKey(t)
	old, both := boxOf(t, oldLine), boxOf(t, newLine, oldLine)
	put := func(box *secret.Box, name, text string) {
		t.Helper()
		sealed, err := store.SealSecret(t.Context(), box, testTenant, name, secret.New(text), now())
		if err == nil {
			err = store.PutSecret(t.Context(), sealed)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 7 {
		put(old, fmt.Sprintf("name-%d", i), fmt.Sprintf("first-%d", i))
		put(old, fmt.Sprintf("name-%d", i), fmt.Sprintf("second-%d", i))
	}
	put(boxOf(t, lostLine), "name-lost", "lost")
	put(both, "name-new", "new")

	// Broken off after the first batch, and begun again.
	if r, err := store.ResealSecrets(t.Context(), both, Secret{}, 5); err != nil || r.Sealed != 5 || r.Done {
		t.Fatalf("first batch: %+v, %v", r, err)
	}
	counts, err := store.SecretKeys(t.Context())
	if err != nil || counts[oldID] != 9 || counts[newID] != 6 || counts[lostID] != 1 {
		t.Errorf("keys after the first batch: %v, %v", counts, err)
	}
	var sealed, already, failed, batches int
	for after := (Secret{}); ; {
		r, err := store.ResealSecrets(t.Context(), both, after, 5)
		if err != nil {
			t.Fatal(err)
		}
		sealed, already, failed, batches = sealed+r.Sealed, already+r.Already, failed+len(r.Failed), batches+1
		if after = r.Last; r.Done {
			break
		}
	}
	if sealed != 9 || already != 6 || failed != 1 || batches != 4 {
		t.Errorf("%d sealed, %d already, %d failed in %d batches; want 9, 6, 1 in 4", sealed, already, failed, batches)
	}
	alone := boxOf(t, newLine)
	for i := range 7 {
		got, version, err := store.OpenSecret(t.Context(), alone, testTenant, fmt.Sprintf("name-%d", i))
		if err != nil || version != 2 || got.Reveal() != fmt.Sprintf("second-%d", i) {
			t.Errorf("name-%d by the new key alone: version %d, %v", i, version, err)
		}
	}
	if found, err := store.HasSecrets(t.Context()); !found || err != nil {
		t.Errorf("HasSecrets: %v, %v", found, err)
	}
}
