package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"imapsync/internal/fault"
	"imapsync/secret"
)

// Tokens are what an authorization server gave.
type Tokens struct {
	Access        secret.Value
	Expiry        time.Time
	Refresh       secret.Value // zero for flows without one
	RefreshExpiry time.Time    // as the server says; zero when it does not
	Identity      string       // of the settings they were got with, see Client
}

// assumedLife is how long a token is taken to live when the server does not
// say; a server that refuses it earlier has it renewed.
const assumedLife = time.Hour

// Refresh trades a refresh token for an access token (RFC 6749 section 6). What
// comes back holds the refresh token in force from now on: a new one, or the
// old where the server gave none. The old one may be dead: store the new.
func (c *Client) Refresh(ctx context.Context, refresh secret.Value) (Tokens, error) {
	return c.request(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh.Reveal()}}, refresh)
}

// Fetch gets an access token without a person: by the client's own credentials
// or by an assertion that a service account signs.
func (c *Client) Fetch(ctx context.Context) (Tokens, error) {
	if c.flow == ClientCredentials {
		return c.request(ctx, nil)
	}
	assertion, err := c.account.assertion(c.subject, c.conf.Endpoint.TokenURL, c.conf.Scopes, time.Now())
	if err != nil {
		return Tokens{}, wrong("service_account", err)
	}
	return c.request(ctx, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion.Reveal()},
	}, assertion)
}

// request asks the token endpoint, scopes always included: without them some
// servers hand out a token for something else. The client-credentials client
// sends any grant.
func (c *Client) request(ctx context.Context, params url.Values, hidden ...secret.Value) (Tokens, error) {
	conf := clientcredentials.Config{
		ClientID: c.conf.ClientID, ClientSecret: c.conf.ClientSecret, TokenURL: c.conf.Endpoint.TokenURL,
		Scopes: c.conf.Scopes, EndpointParams: params, AuthStyle: c.conf.Endpoint.AuthStyle,
	}
	if c.flow == ServiceAccount {
		conf.ClientID, conf.ClientSecret, conf.Scopes = "", "", nil // all of it is in the assertion
	}
	tok, err := conf.Token(c.with(ctx))
	if err != nil {
		return Tokens{}, c.classify(err, hidden...)
	}
	return c.tokens(tok)
}

func (c *Client) tokens(tok *oauth2.Token) (Tokens, error) {
	if !strings.EqualFold(tok.Type(), "Bearer") {
		return Tokens{}, wrong("token_type", errors.New("the server gave a token of another type than Bearer"))
	}
	now := time.Now()
	t := Tokens{Access: secret.New(tok.AccessToken), Expiry: tok.Expiry, Refresh: secret.New(tok.RefreshToken), Identity: c.identity}
	if t.Expiry.IsZero() {
		t.Expiry = now.Add(assumedLife)
	}
	if s, ok := tok.Extra("refresh_token_expires_in").(float64); ok && s > 0 && s < 1e10 {
		t.RefreshExpiry = now.Add(time.Duration(s) * time.Second)
	}
	return t, nil
}

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
	if e, ok := errors.AsType[*Error](err); ok && e.Class == fault.Transient && !s.tokens.Access.IsZero() && s.tokens.Expiry.Sub(now) > usable {
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
	var t Tokens
	var err error
	switch {
	case !s.client.flow.NeedsPerson():
		t, err = s.client.Fetch(ctx)
	case s.tokens.Refresh.IsZero():
		err = wrong("not_authorised", ErrNotAuthorised)
	default:
		t, err = s.client.Refresh(ctx, s.tokens.Refresh)
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
