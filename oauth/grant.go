package oauth

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"imapsync/secret"
)

// Tokens are what an authorization server gave.
type Tokens struct {
	Access        secret.Value
	Expiry        time.Time
	Refresh       secret.Value // zero for flows without one
	RefreshExpiry time.Time    // as the server says; zero when it does not
	Identity      string       // of the settings they were got with, see Client.Identity
}

// assumedLife is how long a token is taken to live when the server does not
// say; a server that refuses it earlier has it renewed.
const assumedLife = time.Hour

// Identity names the settings that tokens belong to. Other settings, other
// tokens.
func (c *Client) Identity() string { return c.identity }

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
		return Tokens{}, wrong("token_type", fmt.Errorf("the server gave a token of another type than Bearer"))
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
