package provider

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/oauth"
	"imapsync/secret"
)

// busyPatience is how long a test waits for a pass that holds the lock.
const busyPatience = 20 * time.Second

// keptTokens are the tokens of one provider in the store, sealed. The access
// token is among them because a job is a new process every minute: without it
// each would ask for a new one, and rotate the refresh token each time.
type keptTokens struct {
	*credentials
	provider   *db.Provider
	fence      db.Fence
	patience   time.Duration
	authorised bool // a person has just signed in

	refresh        secret.Value
	refreshVersion int64
	accessVersion  int64
}

type accessToken struct {
	Token         string    `json:"token"`
	Expiry        time.Time `json:"expiry"`
	RefreshExpiry time.Time `json:"refreshExpiry,omitzero"`
	Identity      string    `json:"identity"`
}

func (k *keptTokens) load(ctx context.Context) (t oauth.Tokens, err error) {
	var access secret.Value
	p := k.provider
	if k.chain.Has(secret.PlaceDB) {
		if t.Refresh, k.refreshVersion, err = k.store.OpenSecret(ctx, k.box, p.Tenant, db.RefreshTokenName(p.ID)); err == nil {
			access, k.accessVersion, err = k.store.OpenSecret(ctx, k.box, p.Tenant, db.AccessTokenName(p.ID))
		}
	} else {
		access, err = optional(k.chain.Get(ctx, p.Tenant, db.AccessTokenName(p.ID)))
	}
	if err == nil && k.refreshVersion == 0 {
		// What was put elsewhere by hand begins; what is rotated from it wins.
		t.Refresh, err = optional(k.chain.Get(ctx, p.Tenant, db.RefreshTokenName(p.ID)))
	}
	if err != nil {
		return oauth.Tokens{}, err
	}
	k.refresh = t.Refresh
	var kept accessToken
	if !access.IsZero() && json.Unmarshal([]byte(access.Reveal()), &kept) == nil {
		t.Access, t.Expiry, t.RefreshExpiry, t.Identity = secret.New(kept.Token), kept.Expiry, kept.RefreshExpiry, kept.Identity
	}
	return t, nil
}

// save stores tokens. A refresh token that replaces another may be the only one
// that still works, so it is stored through a restart of Postgres, and even for
// a run that was overtaken: then its version decides, and the pass ends.
func (k *keptTokens) save(ctx context.Context, t oauth.Tokens) error {
	p, now := k.provider, time.Now().UTC()
	text, err := json.Marshal(accessToken{t.Access.Reveal(), t.Expiry.UTC(), t.RefreshExpiry.UTC(), t.Identity})
	if err != nil {
		return err
	}
	access := secret.New(string(text))
	if !k.chain.Has(secret.PlaceDB) {
		return k.saveUnsealed(ctx, t, access)
	}
	var sealed []db.Secret
	seal := func(name string, version int64, value secret.Value) error {
		envelope, err := k.box.Seal(value, secret.AAD{Tenant: p.Tenant, Name: name, Version: version})
		sealed = append(sealed, db.Secret{Tenant: p.Tenant, Name: name, Version: version, Envelope: envelope, CreatedAt: now})
		return err
	}
	rotated := !t.Refresh.IsZero() && !t.Refresh.Equal(k.refresh)
	if rotated {
		err = seal(db.RefreshTokenName(p.ID), k.refreshVersion+1, t.Refresh)
	}
	if err := errors.Join(err, seal(db.AccessTokenName(p.ID), k.accessVersion+1, access)); err != nil {
		return err
	}
	times := k.times(t, now)
	err = k.put(ctx, k.fence, times, sealed)
	if errors.Is(err, db.ErrFenced) && rotated {
		return errors.Join(err, k.put(ctx, db.Fence{}, times, sealed))
	}
	if err != nil {
		return err
	}
	k.accessVersion++
	if rotated {
		k.refresh, k.refreshVersion = t.Refresh, k.refreshVersion+1
	}
	return nil
}

const putTries = 10

func (k *keptTokens) put(ctx context.Context, fence db.Fence, times db.TokenTimes, sealed []db.Secret) error {
	for try := 1; ; try++ {
		err := k.store.PutTokens(ctx, k.provider.Ref(), fence, times, sealed...)
		switch {
		case errors.Is(err, db.ErrExists) && try > 1 && k.stored(ctx, sealed):
			return nil // the answer to the last try was lost, not its effect
		case errors.Is(err, db.ErrExists):
			return &fault.Error{Class: fault.Ours, Code: "token_race", Err: errors.New("another process has stored newer tokens")}
		case !errors.Is(err, db.ErrUnreachable) || try == putTries:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// stored reports whether the newest versions are those of sealed.
func (k *keptTokens) stored(ctx context.Context, sealed []db.Secret) bool {
	for _, one := range sealed {
		want, err := k.box.Open(one.Envelope, secret.AAD{Tenant: one.Tenant, Name: one.Name, Version: one.Version})
		got, version, getErr := k.store.OpenSecret(ctx, k.box, one.Tenant, one.Name)
		if err != nil || getErr != nil || version != one.Version || !got.Equal(want) {
			return false
		}
	}
	return true
}

// lock takes the provider's lock for a renewal outside of a pass.
func (k *keptTokens) lock(ctx context.Context) (func(), error) {
	fence, unlock, err := lock(ctx, k.store, k.provider, k.patience)
	if err != nil {
		return nil, err
	}
	k.fence = fence
	return func() {
		k.fence = db.Fence{}
		unlock()
	}, nil
}

// saveUnsealed stores tokens where the database keeps no credentials. Only a refresh
// token that was rotated must be kept; an access token can be got anew.
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

// SignIn begins a person's sign-in to a mailbox, by the client that it returns. It
// makes sure before that what is granted can be kept.
func (s *Service) SignIn(ctx context.Context, p *db.Provider) (*oauth.Client, error) {
	c, err := s.credentials(nil)
	if err == nil {
		err = c.canKeep()
	}
	if err != nil {
		return nil, err
	}
	client, err := c.client(ctx, p)
	if err != nil {
		return nil, &TestError{p, true, err}
	}
	return client, nil
}

// KeepTokens stores what a person granted, under the provider's lock.
func (s *Service) KeepTokens(ctx context.Context, p *db.Provider, t oauth.Tokens, by string) error {
	c, err := s.credentials(nil)
	if err != nil {
		return err
	}
	k := &keptTokens{credentials: c, provider: p, patience: time.Minute, authorised: NeedsPerson(p)}
	unlock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := k.load(ctx); err != nil {
		return err
	}
	if err := k.save(ctx, t); err != nil {
		return err
	}
	return s.Store.WriteAudit(ctx, audit(p, by, "provider_authorised", db.Detail{"preset": p.OAuthPreset, "flow": p.OAuthFlow}))
}
