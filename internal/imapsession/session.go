package imapsession

import (
	"context"
	"slices"
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

	pipelined  bool                                 // the server keeps what is sent along with another command
	asked      map[string]*imapclient.StatusCommand // under way since the login
	askedList  *listing                             // under way since the login
	prefetched *prefetched                          // answers that came with EXAMINE

	answered time.Time // when it was last known to live, between passes
	idling   *imapclient.IdleCommand
	messages atomic.Uint32 // in the open folder, as the server said unasked
	arrived  chan struct{} // capacity 1: there are more than before
}

func newSession(ctx context.Context, w *imapwire.Conn, d *Dialer) *Session {
	s := &Session{wire: w, buffers: d.Buffers, now: d.clock(), arrived: make(chan struct{}, 1)}
	s.bind(ctx)
	s.client = imapclient.New(s.wire, &imapclient.Options{UnilateralDataHandler: s.unasked()})
	return s
}

// Pipelined reports whether what is sent along with another command is kept.
func (s *Session) Pipelined() bool { return s.pipelined }

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
