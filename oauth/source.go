package oauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imapsync/secret"
)

// Early is how long before its end an access token is renewed: a pass that
// begins with it should end with it.
const Early = 5 * time.Minute

// usable is how much life a token must have left to be used while the server
// that would renew it is away.
const usable = 30 * time.Second

// Keep is where a mailbox's tokens stay between runs.
type Keep struct {
	// Load returns what is stored; zero Tokens when nothing is.
	Load func(ctx context.Context) (Tokens, error)
	// Save stores tokens for good before it returns. The version before them
	// is kept.
	Save func(ctx context.Context, t Tokens) error
	// Lock keeps others from renewing at the same time. It is nil where the
	// caller holds the provider's lock already.
	Lock func(ctx context.Context) (unlock func(), err error)
}

// Source hands out the access tokens of one mailbox. It serves one session at a
// time and is not for concurrent use.
type Source struct {
	client *Client
	keep   Keep
	tokens Tokens
	loaded bool
	fresh  bool // the access token came from the server within this source's life
}

// NewSource returns a source over what is kept.
func (c *Client) NewSource(keep Keep) *Source { return &Source{client: c, keep: keep} }

// Token returns an access token with at least five minutes to live, or, when
// the server is away, one that still lives.
func (s *Source) Token(ctx context.Context) (secret.Value, error) {
	if err := s.load(ctx); err != nil {
		return secret.Value{}, err
	}
	now := time.Now()
	if !s.tokens.Access.IsZero() && s.tokens.Expiry.Sub(now) > Early {
		return s.tokens.Access, nil
	}
	err := s.renew(ctx)
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == Unavailable && !s.tokens.Access.IsZero() && s.tokens.Expiry.Sub(now) > usable {
		return s.tokens.Access, nil
	}
	if err != nil {
		return secret.Value{}, err
	}
	return s.tokens.Access, nil
}

// Renew gets another access token in place of one that the mail server refused.
// It returns false when the refused one had just come from the server: another
// would be refused as well.
func (s *Source) Renew(ctx context.Context) (bool, error) {
	if s.fresh {
		return false, nil
	}
	if err := s.load(ctx); err != nil {
		return false, err
	}
	if err := s.renew(ctx); err != nil {
		return false, err
	}
	return true, nil
}

func (s *Source) load(ctx context.Context) error {
	if s.loaded {
		return nil
	}
	t, err := s.keep.Load(ctx)
	if err != nil {
		return err
	}
	if t.Identity != s.client.identity {
		t.Access = secret.Value{} // got with other settings
	}
	s.tokens, s.loaded = t, true
	return nil
}

// lingering is how long a token on its way is waited for when the run ends: the
// server may have ended the old one already.
const lingering = 3 * time.Second

// renew gets new tokens, stores them, and only then lets them be used.
func (s *Source) renew(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if s.keep.Lock != nil {
		unlock, err := s.keep.Lock(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		before := s.tokens.Access
		s.loaded = false
		if err := s.load(ctx); err != nil {
			return err
		}
		if !s.tokens.Access.IsZero() && !s.tokens.Access.Equal(before) && time.Until(s.tokens.Expiry) > Early {
			return nil // whoever held the lock has renewed it
		}
	}
	ctx, cancel := linger(ctx)
	defer cancel()
	if s.client.flow.NeedsPerson() && s.tokens.Refresh.IsZero() {
		return &Error{Kind: Wrong, Code: "not_authorised", Err: ErrNotAuthorised}
	}
	var t Tokens
	var err error
	if s.client.flow.NeedsPerson() {
		t, err = s.client.Refresh(ctx, s.tokens.Refresh)
	} else {
		t, err = s.client.Fetch(ctx)
	}
	if err != nil {
		return err
	}
	if t.RefreshExpiry.IsZero() && t.Refresh.Equal(s.tokens.Refresh) {
		t.RefreshExpiry = s.tokens.RefreshExpiry
	}
	if err := s.keep.Save(ctx, t); err != nil {
		return fmt.Errorf("store tokens: %w", err)
	}
	s.tokens, s.fresh = t, true
	return nil
}

// linger is ctx that ends a little later.
func linger(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*requestPatience)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(lingering, cancel) })
	return longer, func() { stop(); cancel() }
}
