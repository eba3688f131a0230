package sync

import (
	"context"
	"fmt"

	"imapsync/db"
	"imapsync/internal/imapsession"
	"imapsync/oauth"
)

// connect takes the connection that the last pass left, if it still lives, or
// makes one. survey says that the folders' state is asked for next.
func (ps *pass) connect(ctx context.Context, survey bool) error {
	s, err := ps.resume(ctx)
	if err != nil {
		return err
	}
	if ps.kept = s != nil; !ps.kept {
		if s, err = ps.logIn(ctx, survey); err != nil {
			return err
		}
	}
	ps.session = s
	return nil
}

// resume takes the connection that the last pass left. It is nil when there is
// none, when it has died, or when it would outlive its token.
func (ps *pass) resume(ctx context.Context) (*imapsession.Session, error) {
	s := ps.runner.sessions.Get(ps.ref, AccountOf(ps.provider, ps.runner.sessionOptions(ps.provider)))
	if s == nil {
		return nil, nil //nolint:nilnil // none is no failure
	}
	if ps.tokenDue() {
		s.Close()
		return nil, nil //nolint:nilnil // as above
	}
	if err := s.Resume(ctx); err != nil {
		s.Close()
		ps.log.Info("disconnect", "host", ps.provider.Host, "error", err.Error())
		return nil, context.Cause(ctx)
	}
	return s, nil
}

func (ps *pass) logIn(ctx context.Context, survey bool) (*imapsession.Session, error) {
	opts := ps.runner.sessionOptions(ps.provider)
	opts.Survey = survey
	var err error
	if opts.Credential, err = ps.runner.Credential(ctx, ps.provider, ps.fence); err != nil {
		return nil, CredentialError(err)
	}
	began := ps.runner.now()
	s, err := Connect(ctx, ps.provider, opts)
	if err != nil {
		return nil, err
	}
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
	if ps.runner.Options.Keep {
		ps.runner.sessions.Put(ps.ref, ps.session)
	} else {
		ps.session.Close()
	}
}

// One folder may cost so many connections, so that it does not starve the
// others, and one pass so many.
const (
	maxFolderReconnects = 5
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
