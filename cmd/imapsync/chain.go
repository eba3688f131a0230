package main

import (
	"context"
	"errors"
	"os"
	"time"

	"imapsync/db"
	"imapsync/oauth"
	"imapsync/secret"
)

// credentials finds what providers log in with, in the places of
// IMAPSYNC_SECRET_CHAIN. Without a store, nothing is in the database.
func (a *app) credentials(store *db.Store) (*credentials, error) {
	c := &credentials{store: store, box: a.box()}
	var err error
	c.chain, err = secret.NewChain(os.LookupEnv, secret.Stored{Get: c.stored, Put: c.storeNew})
	return c, err
}

// stored reads from the database.
func (c *credentials) stored(ctx context.Context, tenant, name string) (secret.Value, error) {
	if c.store == nil {
		return secret.Value{}, secret.ErrAbsent
	}
	value, err := c.store.OpenSecret(ctx, c.box, tenant, name)
	if errors.Is(err, db.ErrNotFound) {
		return secret.Value{}, secret.ErrAbsent
	}
	return value, err
}

// storeNew stores one new version in the database.
func (c *credentials) storeNew(ctx context.Context, tenant, name string, value secret.Value) error {
	sealed, err := c.store.SealSecret(ctx, c.box, tenant, name, value, time.Now().UTC())
	if err != nil {
		return err
	}
	return c.store.PutSecret(ctx, sealed)
}

// ready makes sure, before mailboxes are read, that the sealed credentials
// there are can be opened. Where there are none, no key is needed.
func (c *credentials) ready(ctx context.Context) error {
	if !c.chain.Has(secret.PlaceDB) {
		return nil
	}
	keyErr := c.box.Ready()
	if keyErr == nil {
		return nil
	}
	sealed, err := c.store.HasSecrets(ctx)
	if err != nil || !sealed {
		return err
	}
	return keyErr
}

// canKeep tells, before anybody types anything, why credentials could not be
// stored.
func (c *credentials) canKeep() error {
	if c.chain.Has(secret.PlaceDB) {
		return c.box.Ready()
	}
	return c.chain.CanPut()
}

// loadUnsealed reads tokens where the database keeps no credentials.
func (k *keptTokens) loadUnsealed(ctx context.Context) (oauth.Tokens, error) {
	var t oauth.Tokens
	var err error
	if t.Refresh, err = k.read(ctx, k.provider, db.RefreshTokenName(k.provider.ID)); err != nil && !errors.Is(err, secret.ErrAbsent) {
		return oauth.Tokens{}, err
	}
	k.refresh = t.Refresh
	access, err := k.read(ctx, k.provider, db.AccessTokenName(k.provider.ID))
	if err != nil && !errors.Is(err, secret.ErrAbsent) {
		return oauth.Tokens{}, err
	}
	setAccess(&t, access)
	return t, nil
}

// saveUnsealed stores tokens there. Only a refresh token that was rotated must
// be kept; an access token can be got anew.
func (k *keptTokens) saveUnsealed(ctx context.Context, t oauth.Tokens, access secret.Value) error {
	p := k.provider
	if !t.Refresh.IsZero() && !t.Refresh.Equal(k.refresh) {
		if err := k.chain.Put(ctx, p.Tenant, db.RefreshTokenName(p.ID), t.Refresh); err != nil {
			return err
		}
		k.refresh = t.Refresh
	}
	if k.chain.CanPut() == nil {
		if err := k.chain.Put(ctx, p.Tenant, db.AccessTokenName(p.ID), access); err != nil {
			return err
		}
	}
	return k.put(ctx, k.fence, k.times(t, time.Now().UTC()), nil)
}

func (k *keptTokens) times(t oauth.Tokens, now time.Time) db.TokenTimes {
	times := db.TokenTimes{Expiry: t.Expiry.UTC(), RefreshedAt: now}
	if !t.RefreshExpiry.IsZero() {
		times.RefreshExpiry = new(t.RefreshExpiry.UTC())
	}
	if k.authorised {
		times.AuthorisedAt = &now
	}
	return times
}
