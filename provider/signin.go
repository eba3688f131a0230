package provider

import (
	"context"
	"fmt"
	"time"

	"imapsync/db"
	"imapsync/oauth"
)

// SignIn is a person's sign-in to a mailbox under way: its client begins a login
// or a device's, Keep stores what was granted.
type SignIn struct {
	*oauth.Client

	credentials *credentials
	provider    *db.Provider
}

// SignIn makes sure that what is granted can be kept, before a person signs in
// for nothing.
func (s *Service) SignIn(ctx context.Context, p *db.Provider) (*SignIn, error) {
	c, err := s.credentials(CredentialInput{})
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
	return &SignIn{client, c, p}, nil
}

// Keep stores what a person granted, under the provider's lock.
func (si *SignIn) Keep(ctx context.Context, t oauth.Tokens, by string) error {
	return si.credentials.keepTokens(ctx, si.provider, t, by)
}

// FinishSignIn ends a login that was begun at another time: answer is the
// address that the browser was sent back to.
func (s *Service) FinishSignIn(ctx context.Context, p *db.Provider, login *oauth.Login, answer, by string) error {
	c, err := s.credentials(CredentialInput{})
	if err != nil {
		return err
	}
	tokens, err := login.Finish(ctx, answer)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return c.keepTokens(ctx, p, tokens, by)
}

func (c *credentials) keepTokens(ctx context.Context, p *db.Provider, t oauth.Tokens, by string) error {
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
	return c.store.WriteAudit(ctx, audit(p, by, "provider_authorised", db.Detail{"preset": p.OAuthPreset, "flow": p.OAuthFlow}))
}
