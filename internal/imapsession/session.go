package imapsession

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapsync/internal/imapwire"
)

// Session is an authenticated IMAP connection. It is not for concurrent use.
type Session struct {
	client  *imapclient.Client
	wire    *imapwire.Conn
	caps    imap.CapSet
	id      *imapclient.IDCommand
	stop    func() bool // ends the watch on the context
	ctx     context.Context
	to      endpoint
	buffers *Buffers // memory for large bodies; nil: fresh each time
	now     func() time.Time
	opened  time.Time

	pipelined  bool                                 // the server keeps what is sent along with another command
	asked      map[string]*imapclient.StatusCommand // under way since the login
	askedList  func() listing                       // under way since the login
	listed     bool                                 // the server's spelling of every name is known
	prefetched *prefetched                          // answers that came with EXAMINE

	answered time.Time // when it was last known to live, between passes
	idling   *imapclient.IdleCommand
	messages atomic.Uint32 // in the open folder, as the server said unasked
	arrived  chan struct{} // capacity 1: there are more than before
}

func newSession(ctx context.Context, w *imapwire.Conn, d *Dialer) *Session {
	s := &Session{wire: w, buffers: d.Buffers, now: d.clock(), arrived: make(chan struct{}, 1)}
	s.opened = s.now().UTC()
	s.bind(ctx)
	s.client = imapclient.New(s.wire, &imapclient.Options{UnilateralDataHandler: s.unasked()})
	return s
}

// Pipelined reports whether what is sent along with another command is kept.
func (s *Session) Pipelined() bool { return s.pipelined }

// Opened is when the connection was made: a look before that was on another one.
func (s *Session) Opened() time.Time { return s.opened }

// Exists is how many messages the open folder has, as the server said last: when it
// was opened, or since.
func (s *Session) Exists() int64 {
	if box := s.client.Mailbox(); box != nil {
		return int64(box.NumMessages)
	}
	return 0
}

// Capabilities lists what the server offers after login, sorted.
func (s *Session) Capabilities() []string {
	var list []string
	for c := range s.caps {
		list = append(list, string(c))
	}
	slices.Sort(list)
	return list
}

// Alive reports whether another command may be sent.
func (s *Session) Alive() bool {
	select {
	case <-s.client.Closed():
		return false
	default:
		return s.ctx.Err() == nil && s.wire.Err() == nil && !s.wire.Closed()
	}
}

// logoutPatience is how long it may take to say goodbye.
const logoutPatience = 2 * time.Second

// Close logs out, without waiting for an answer, and closes the socket.
func (s *Session) Close() {
	if s.Alive() && s.client.State() != imap.ConnStateNotAuthenticated {
		done := make(chan struct{})
		go func() {
			defer close(done)
			if s.idling != nil {
				_ = s.idling.Close() // DONE: nothing else may be said before
			}
			s.client.Logout() // said, not waited for: the answer would cost a round trip and change nothing
		}()
		select {
		case <-done:
		case <-time.After(logoutPatience):
		}
	}
	s.stop()
	_ = s.wire.Close() // frees go-imap's reader, which Client.Close would wait for
}

// knownAlive is how long after its last answer a connection needs no NOOP.
const knownAlive = 5 * time.Second

// rest unties a session from its pass, and reports whether it may be used again.
func (s *Session) rest() bool {
	if !s.Alive() || !s.stop() {
		return false
	}
	s.bind(context.Background())
	s.answered = s.now()
	return true
}

// Resume ties a session that rested to a pass, if the server still answers.
func (s *Session) Resume(ctx context.Context) error {
	if !s.stop() {
		return fmt.Errorf("noop: %w", context.Canceled)
	}
	s.bind(ctx)
	if s.now().Sub(s.answered) < knownAlive && s.Alive() {
		return nil
	}
	if err := s.client.Noop().Wait(); err != nil {
		return fmt.Errorf("noop: %w", s.cause(err))
	}
	return nil
}

// bind ends the session with ctx: its socket is closed, so that nothing can hang on it.
func (s *Session) bind(ctx context.Context) {
	s.ctx = ctx
	s.stop = context.AfterFunc(ctx, func() { s.wire.Conn.Close() })
}

// maxKept bounds the connections held open between passes, unless Pool.Max is more.
const maxKept = 1000

// Pool holds logged-in connections between the passes of one process, one a
// key. A session in it belongs to nobody; who takes it out uses it alone.
type Pool[K comparable] struct {
	Max int // set before the first Put

	mu   sync.Mutex
	idle map[K]*Session
}

// Get takes the session of a key out, if one is held that was made for the
// account as it is now. It may have died meanwhile: Resume tells.
func (p *Pool[K]) Get(key K, a Account) *Session {
	s := p.remove(key)
	if s != nil && s.to != a.endpoint() {
		s.Close()
		return nil
	}
	return s
}

// Put holds a session until it is wanted again. It closes one that is not
// sound, and one too many.
func (p *Pool[K]) Put(key K, s *Session) {
	if !s.rest() {
		s.Close()
		return
	}
	p.mu.Lock()
	surplus := p.idle[key]
	if surplus == nil && len(p.idle) >= max(p.Max, maxKept) {
		surplus = s
	} else if p.idle == nil {
		p.idle = map[K]*Session{key: s}
	} else {
		p.idle[key] = s
	}
	p.mu.Unlock()
	if surplus != nil {
		surplus.Close()
	}
}

// Drop closes the session of a key, if one is held.
func (p *Pool[K]) Drop(key K) {
	if s := p.remove(key); s != nil {
		s.Close()
	}
}

func (p *Pool[K]) remove(key K) *Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.idle[key]
	delete(p.idle, key)
	return s
}

// Close logs out of every connection that is held, all at once, and waits no longer
// than a server has for its goodbye.
func (p *Pool[K]) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range idle {
		wg.Go(s.Close)
	}
	wg.Wait()
}
