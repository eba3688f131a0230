package sync

import (
	"context"
	"fmt"
	"sync"
	"time"

	"imapsync/db"
)

// maxKept bounds the connections held open between passes.
const maxKept = 1000

// sessions holds logged-in connections between the passes of one process, one
// a provider. A session in it belongs to nobody; who takes it out uses it alone.
type sessions struct {
	mu   sync.Mutex
	idle map[db.Ref]keptSession
	max  int
}

type keptSession struct {
	*Session
	to endpoint
}

// endpoint is what a connection was made with: when a setting changes, the old
// connection is of no use.
type endpoint struct {
	host, username, mailbox, auth, ca, serverName string
	port                                          int
	tls                                           db.TLSMode
	maxMessageBytes                               int64
}

func endpointOf(p *db.Provider) endpoint {
	return endpoint{p.Host, p.Username, p.Mailbox, p.AuthType, p.CAPEM, p.TLSServerName, p.Port, p.TLS, p.MaxMessageBytes}
}

// take returns the provider's session if one is held, made with the settings
// of now. It may have died meanwhile: resume tells.
func (k *sessions) take(p *db.Provider) *Session {
	ref := db.Ref{Tenant: p.Tenant, ID: p.ID}
	k.mu.Lock()
	held, ok := k.idle[ref]
	delete(k.idle, ref)
	k.mu.Unlock()
	switch {
	case !ok:
		return nil
	case held.to != endpointOf(p):
		held.Close()
		return nil
	}
	return held.Session
}

// put holds a session until the provider's next pass. It closes one that is
// not sound, and one too many.
func (k *sessions) put(p *db.Provider, s *Session) {
	if !s.rest() {
		s.Close()
		return
	}
	ref := db.Ref{Tenant: p.Tenant, ID: p.ID}
	k.mu.Lock()
	old, doubled := k.idle[ref]
	full := !doubled && len(k.idle) >= max(k.max, maxKept)
	if !full {
		if k.idle == nil {
			k.idle = map[db.Ref]keptSession{}
		}
		k.idle[ref] = keptSession{s, endpointOf(p)}
	}
	k.mu.Unlock()
	if doubled {
		old.Close()
	}
	if full {
		s.Close()
	}
}

// drop closes the provider's session, if one is held.
func (k *sessions) drop(ref db.Ref) {
	k.mu.Lock()
	held, ok := k.idle[ref]
	delete(k.idle, ref)
	k.mu.Unlock()
	if ok {
		held.Close()
	}
}

// CloseSessions logs out of every connection kept between passes, all at once,
// and waits no longer than a server has for its goodbye.
func (r *Runner) CloseSessions() {
	r.sessions.mu.Lock()
	idle := r.sessions.idle
	r.sessions.idle = nil
	r.sessions.mu.Unlock()
	var wg sync.WaitGroup
	for _, held := range idle {
		wg.Go(held.Close)
	}
	wg.Wait()
}

// knownAlive is how long after its last answer a connection needs no NOOP.
const knownAlive = 5 * time.Second

// rest unties a session from the pass that used it. It reports whether the
// session may be used again.
func (s *Session) rest() bool {
	if !s.alive() || !s.stop() {
		return false
	}
	s.bind(context.Background())
	s.answered = time.Now()
	return true
}

// resume ties a session that rested to a pass, and makes sure that the server
// still answers.
func (s *Session) resume(ctx context.Context) error {
	if !s.stop() {
		return fmt.Errorf("noop: %w", context.Canceled)
	}
	s.bind(ctx)
	if time.Since(s.answered) < knownAlive && s.alive() {
		return nil
	}
	if err := s.client.Noop().Wait(); err != nil {
		return fmt.Errorf("noop: %w", s.cause(err))
	}
	return nil
}

// bind ends the session with ctx: its socket is closed, so that nothing can
// hang on it.
func (s *Session) bind(ctx context.Context) {
	s.ctx = ctx
	s.stop = context.AfterFunc(ctx, func() { s.wire.conn.Close() })
}
