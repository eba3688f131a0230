package db

import (
	"errors"
	"slices"
	"testing"
	"time"

	"imapsync/secret"
)

func TestTokensAreStoredBehindTheFence(t *testing.T) {
	store := testStore(t)
	p := addProvider(t, store, "support")
	key, err := secret.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := secret.ParseKeys([]byte(key.Reveal()), "key")
	if err != nil {
		t.Fatal(err)
	}
	box := secret.NewBox(ring)
	lock, ok := take(t, testLocks(t, store), p.ID)
	if !ok {
		t.Fatal("the lock is busy")
	}
	defer lock.Unlock()
	name, ref := RefreshTokenName(p.ID), Ref{p.Tenant, p.ID}
	put := func(fence Fence, version int64, text string) error {
		sealed := Secret{Tenant: p.Tenant, Name: name, Version: version, CreatedAt: time.Now()}
		var err error
		if sealed.Envelope, err = box.Seal(secret.New(text), secret.AAD{Tenant: p.Tenant, Name: name, Version: version}); err != nil {
			t.Fatal(err)
		}
		return store.PutTokens(t.Context(), ref, fence, TokenTimes{Expiry: time.Now(), RefreshedAt: time.Now()}, sealed)
	}
	for i, text := range []string{"one", "two", "three"} {
		if err := put(lock.Fence, int64(i+1), text); err != nil {
			t.Fatal(err)
		}
	}
	value, version, err := store.OpenSecret(t.Context(), box, p.Tenant, name)
	if err != nil || version != 3 || value.Reveal() != "three" {
		t.Errorf("newest: version %d, %v", version, err)
	}
	var kept []int64
	if err := store.pool.SelectContext(t.Context(), &kept, `SELECT version FROM imap_secrets WHERE tenant = $1 AND name = $2 ORDER BY version`, p.Tenant, name); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(kept, []int64{2, 3}) {
		t.Errorf("kept versions %v, want the newest and the one before", kept)
	}
	stale := lock.Fence
	stale.Epoch += 7
	if err := put(stale, 4, "of a run that lost its lock"); !errors.Is(err, ErrFenced) {
		t.Errorf("behind the fence: %v, want ErrFenced", err)
	}
	if err := put(Fence{}, 3, "again"); !errors.Is(err, ErrExists) {
		t.Errorf("the same version again: %v, want ErrExists", err)
	}
}
