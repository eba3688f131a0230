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

// connect takes the connection that the last pass left, if it still lives, or
// makes one. survey says that the folders' state is asked for next.
func (ps *pass) connect(ctx context.Context, survey bool) error {
	s := ps.resume(ctx)
	if ps.kept = s != nil; !ps.kept {
		var err error
		if s, err = ps.logIn(ctx, survey); err != nil {
			return err
		}
	}
	ps.session = s
	return nil
}

// resume takes the connection that the last pass left. It is nil when there is
// none, when it has died, or when it would outlive its token.
func (ps *pass) resume(ctx context.Context) *imapsession.Session {
	s := ps.runner.sessions.Get(ps.ref, ps.runner.account(ps.provider))
	if s == nil {
		return nil
	}
	if ps.tokenDue() || ps.wantsConnection() {
		s.Close()
		return nil
	}
	if err := s.Resume(ctx); err != nil {
		s.Close()
		ps.log.Info("disconnect", "host", ps.provider.Host, "error", err.Error())
		return nil
	}
	return s
}

// wantsConnection reports whether a look on another connection is evidence that a
// folder waits for.
func (ps *pass) wantsConnection() bool {
	now := ps.runner.now()
	for _, st := range ps.states {
		if wantsConnection(st, now) {
			return true
		}
	}
	for _, list := range ps.retries {
		for _, q := range list {
			if q.ErrorCode == notShown && missedBefore(&q.UpdatedAt, now, now) {
				return true
			}
		}
	}
	return false
}

func (ps *pass) logIn(ctx context.Context, survey bool) (*imapsession.Session, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	credential, err := ps.runner.Credential(ctx, ps.provider, ps.fence)
	if err != nil {
		return nil, CredentialError(err)
	}
	account := ps.runner.account(ps.provider)
	account.Survey = survey
	began := ps.runner.now()
	s, err := Connect(ctx, &ps.runner.dialer, account, credential)
	if err != nil {
		return nil, err
	}
	ps.logins++
	ps.log.Debug("connect", "host", ps.provider.Host, "port", ps.provider.Port, "tls", ps.provider.TLS,
		"duration_ms", ps.runner.since(began).Milliseconds())
	return s, nil
}

// tokenDue reports whether the token that the provider logged in with is to be
// renewed. A connection that is kept would outlive it, and with it the refresh
// token, which dies unused.
func (ps *pass) tokenDue() bool {
	end := ps.provider.TokenExpiresAt
	return ps.provider.AuthType == db.AuthOAuth2 && end != nil && ps.runner.until(*end) <= oauth.Early
}

// release ends the pass's connection, or keeps it for the next pass.
func (ps *pass) release() {
	if ps.runner.keep {
		ps.runner.sessions.Put(ps.ref, ps.session)
	} else {
		ps.session.Close()
	}
}

// One folder may cost so many connections, so that it does not starve the
// others, and one pass so many.
const (
	maxFolderReconnects = 8
	maxReconnects       = 20
)

// reconnect replaces a session that died in the middle of a pass.
func (ps *pass) reconnect(ctx context.Context) error {
	if ps.reconnects++; ps.reconnects > maxReconnects {
		return transient("connection", fmt.Errorf("the connection was lost %d times in one pass", ps.reconnects))
	}
	ps.session.Close()
	ps.log.Info("reconnect", "attempt", ps.reconnects)
	return ps.connect(ctx, false)
}

// Timeouts bound what a server may cost in time. Zero takes the default.
type Timeouts struct {
	imapsession.Timeouts

	Pass time.Duration // one pass over a provider; 15 min
}

// of are the provider's own, then those of the run.
func (t Timeouts) of(p *db.Provider) Timeouts {
	own := func(ms int) time.Duration { return time.Duration(max(0, ms)) * time.Millisecond }
	t.Connect = cmp.Or(own(p.ConnectTimeoutMS), t.Connect)
	t.Command = cmp.Or(own(p.CommandTimeoutMS), t.Command)
	t.Literal = cmp.Or(own(p.LiteralTimeoutMS), t.Literal)
	t.Pass = cmp.Or(own(p.PassTimeoutMS), t.Pass, 15*time.Minute)
	return t
}

// body is how long the body of a message may take at most; 0 when there is none.
func (t Timeouts) body(size int64) time.Duration {
	if size == 0 {
		return 0
	}
	return t.Body(size)
}

// Credential is what a session logs in with: a password, or, when Tokens is
// set, an access token.
type Credential struct {
	Password secret.Value
	Tokens   *oauth.Source
}

// maxMessageBytes is the provider's own limit, else that of the run.
func (r *Runner) maxMessageBytes(p *db.Provider) int64 {
	return cmp.Or(p.MaxMessageBytes, r.Options.MaxMessageBytes)
}

func (ps *pass) maxMessageBytes() int64 { return ps.runner.maxMessageBytes(ps.provider) }

// AccountOf is a provider as a session knows it, by its settings alone.
func AccountOf(p *db.Provider) imapsession.Account {
	return imapsession.Account{
		Server: imapsession.Server{
			Host: p.Host, Port: p.Port, TLS: imapsession.TLSMode(p.TLS), CAPEM: p.CAPEM, TLSServerName: p.TLSServerName,
		},
		Username: username(p), Token: p.AuthType == db.AuthOAuth2, EagerLogin: p.EagerLogin,
		Folders: p.Folders, Timeouts: Timeouts{}.of(p).Timeouts,
	}
}

// account is AccountOf with what the run bounds.
func (r *Runner) account(p *db.Provider) imapsession.Account {
	account := AccountOf(p)
	account.Timeouts, account.MaxMessageBytes = r.Options.Timeouts.of(p).Timeouts, r.maxMessageBytes(p)
	return account
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
func Connect(ctx context.Context, dialer *imapsession.Dialer, account imapsession.Account, credential Credential) (*imapsession.Session, error) {
	tokens := credential.Tokens
	account.Login = func(ctx context.Context) (secret.Value, error) {
		if tokens == nil {
			return credential.Password, nil
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
