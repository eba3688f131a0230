package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/internal/imapsession"
	"imapsync/oauth"
	"imapsync/secret"
)

// Timeouts bound what a server may cost in time. Zero takes the default.
type Timeouts struct {
	Connect time.Duration // TCP, and the TLS handshake; 10 s
	Command time.Duration // silence while a command is outstanding; 30 s
	Literal time.Duration // silence in a message body; 60 s
	Pass    time.Duration // one pass over a provider; 15 min
}

// of are the provider's own, then those of the run, then the defaults.
func (t Timeouts) of(p *db.Provider) Timeouts {
	own := func(ms int) time.Duration { return time.Duration(max(0, ms)) * time.Millisecond }
	return Timeouts{
		Connect: cmp.Or(own(p.ConnectTimeoutMS), t.Connect, 10*time.Second),
		Command: cmp.Or(own(p.CommandTimeoutMS), t.Command, 30*time.Second),
		Literal: cmp.Or(own(p.LiteralTimeoutMS), t.Literal, 60*time.Second),
		Pass:    cmp.Or(own(p.PassTimeoutMS), t.Pass, 15*time.Minute),
	}
}

// Credential is what a session logs in with: a password, or, when Tokens is
// set, an access token.
type Credential struct {
	Password secret.Value
	Tokens   *oauth.Source
}

// SessionOptions are what a session needs beside the provider's settings.
type SessionOptions struct {
	Credential      Credential
	Timeouts        Timeouts
	MaxMessageBytes int64 // largest body that will be asked for
	Version         string
	Survey          bool // the state of the provider's folders is asked for next

	dialer *imapsession.Dialer // nil: nothing is remembered of the server
}

// sessionOptions are those of a provider's passes, but for the credential.
func (r *Runner) sessionOptions(p *db.Provider) SessionOptions {
	return SessionOptions{Timeouts: r.Options.Timeouts, MaxMessageBytes: r.maxMessageBytes(p), dialer: &r.dialer}
}

// maxMessageBytes is the provider's own limit, else that of the run.
func (r *Runner) maxMessageBytes(p *db.Provider) int64 {
	return cmp.Or(p.MaxMessageBytes, r.Options.MaxMessageBytes)
}

func (ps *pass) maxMessageBytes() int64 { return ps.runner.maxMessageBytes(ps.provider) }

// AccountOf is a provider as a session knows it.
func AccountOf(p *db.Provider, opts SessionOptions) imapsession.Account {
	t := opts.Timeouts.of(p)
	return imapsession.Account{
		Server: imapsession.Server{
			Host: p.Host, Port: p.Port, TLS: imapsession.TLSMode(p.TLS), CAPEM: p.CAPEM, TLSServerName: p.TLSServerName,
		},
		Username: username(p), Token: p.AuthType == db.AuthOAuth2, EagerLogin: p.EagerLogin,
		Folders: p.Folders, Survey: opts.Survey, MaxMessageBytes: opts.MaxMessageBytes,
		Timeouts: imapsession.Timeouts{Connect: t.Connect, Command: t.Command, Literal: t.Literal},
	}
}

// username is whose mailbox is opened. Microsoft tells it from who signed in: a
// shared mailbox is opened with the token of a member, whose name the username
// is, and named by its own address. Elsewhere the token and the name are of one
// account, which may go by another name than the address.
func username(p *db.Provider) string {
	if p.AuthType == db.AuthOAuth2 && p.OAuthPreset == db.PresetMicrosoft {
		return p.Mailbox
	}
	return p.Username
}

// Connect dials, secures and logs in. The session ends when ctx does. A token
// is renewed before the server is spoken to; one that was thought good and is
// refused is renewed and tried once more, on a new connection.
func Connect(ctx context.Context, p *db.Provider, opts SessionOptions) (*imapsession.Session, error) {
	dialer := opts.dialer
	if dialer == nil {
		dialer = &imapsession.Dialer{Version: opts.Version}
	}
	account, tokens := AccountOf(p, opts), opts.Credential.Tokens
	account.Token = tokens != nil
	account.Login = func(ctx context.Context) (secret.Value, error) {
		if tokens == nil {
			return opts.Credential.Password, nil
		}
		token, err := tokens.Token(ctx)
		if err != nil {
			return secret.Value{}, fmt.Errorf("token: %w", err)
		}
		return token, nil
	}
	s, err := dialer.Open(ctx, account)
	_, noToken := errors.AsType[*oauth.Error](err)
	if class, _ := Classify(err); err == nil || tokens == nil || noToken || class != fault.Auth {
		return s, err
	}
	switch renewed, renewErr := tokens.Renew(ctx); {
	case renewErr != nil:
		return nil, fmt.Errorf("token: %w", renewErr)
	case !renewed:
		return nil, err
	}
	return dialer.Open(ctx, account)
}
