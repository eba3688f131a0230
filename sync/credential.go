package sync

import (
	"context"
	"errors"
	"fmt"

	"imapsync/db"
	"imapsync/oauth"
	"imapsync/secret"
)

// Credential is what a session logs in with: a password, or, when Tokens is
// set, an access token.
type Credential struct {
	Password secret.Value
	Tokens   *oauth.Source
}

// Connect dials, secures and logs in. The session ends when ctx does: its
// socket is closed, so that nothing can hang on it. A token is renewed before
// the server is spoken to; one that was thought good and is refused is renewed
// and tried once more, on a new connection.
func Connect(ctx context.Context, p *db.Provider, opts SessionOptions) (*Session, error) {
	if opts.Credential.Tokens == nil {
		return open(ctx, p, opts, opts.Credential.Password)
	}
	tokens := opts.Credential.Tokens
	token, err := tokens.Token(ctx)
	if err != nil {
		return nil, tokenError(p, err)
	}
	s, err := open(ctx, p, opts, token)
	if class, _ := Classify(err); err == nil || class != Auth {
		return s, err
	}
	refused := err
	switch renewed, err := tokens.Renew(ctx); {
	case err != nil:
		return nil, tokenError(p, err)
	case !renewed:
		return nil, refused
	}
	if token, err = tokens.Token(ctx); err != nil {
		return nil, tokenError(p, err)
	}
	return open(ctx, p, opts, token)
}

// tokenError says what to do where a person has to.
func tokenError(p *db.Provider, err error) error {
	_, code := Classify(err)
	byPerson := p.OAuthFlow == db.FlowCode || p.OAuthFlow == db.FlowDevice
	if byPerson && (code == "invalid_grant" || code == "not_authorised") {
		return fmt.Errorf("token: %w: sign in: imapsync provider auth %s", err, p.ID)
	}
	return fmt.Errorf("token: %w", err)
}

// oauthClass gives the class and the code of an error of package oauth.
func oauthClass(e *oauth.Error) (Class, string) {
	switch e.Kind {
	case oauth.Refused:
		return Auth, e.Code
	case oauth.Wrong:
		return Config, e.Code
	case oauth.Unavailable:
	}
	if e.Code == "throttled" || e.Code == "unavailable" {
		return Transient, "token_" + e.Code // not the mail server: its host is not to be left alone for it
	}
	return Transient, e.Code
}

// credentialError classes what went wrong before anybody was spoken to.
func credentialError(err error) error {
	if _, ok := errors.AsType[*oauth.Error](err); ok || errors.Is(err, db.ErrUnreachable) || errors.Is(err, db.ErrFenced) ||
		errors.Is(err, secret.ErrUnavailable) {
		return err
	}
	return config("secret", fmt.Errorf("credential: %w", err))
}
