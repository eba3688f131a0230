// Package imapwire is a net.Conn under go-imap's client: see Conn. It knows
// nothing of accounts and imports the standard library only.
package imapwire

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// Conn is the net.Conn between the socket (TLS already on it) and go-imap's
// client. The client's parser ends the connection on the first byte it does not
// expect, waits for ever, and takes half a literal for a whole one; a poller
// that meets the same bad line would meet it again on every run. So the wire
// reads what the server says leniently, and hands the client a small dialect
// that its parser is known to accept: what a poller never needs is left out,
// what it needs is spelled anew. Bytes of a literal go from the socket to the
// caller's buffer untouched.
//
// Invariants:
//   - the last byte of a body is held back until the FETCH response that carries
//     it has been read to its end and its UID is certain, so a body that reaches
//     its announced length is whole and belongs to that UID;
//   - no read waits longer than Limits says while a command is outstanding, and neither
//     a drip nor noise without end keeps an answer from its end;
//   - memory is bounded by Limits, whatever the server announces;
//   - nothing of a LOGIN or AUTHENTICATE command is kept, and registered secrets
//     never appear in a status text or an error.
//
// It speaks for one poller: responses to SORT, THREAD, NAMESPACE, QUOTA, ACL and
// METADATA are dropped, and of a FETCH only UID, RFC822.SIZE, INTERNALDATE and
// one body section survive.
type Conn struct {
	net.Conn // the socket
	lim      Limits

	// Reading side, under readMu. The client reads from one goroutine at a time until a
	// literal breaks off, then from two (its reader, and whoever discards the literal).
	readMu  sync.Mutex
	in      []byte // in[r:e] came from the socket and was not looked at yet
	r, e    int
	out     []byte // out[o:] is ready for the client
	o       int
	pass    int64 // bytes of a literal still to be handed through
	greeted bool
	acc     []byte   // one response with its literals, see gathered
	nums    []uint32 // one SEARCH response; nums[numsAt:] is still to be emitted
	numsAt  int
	fetch   fetchResponse
	weight  weight
	uidOf   map[uint32]uint32 // sequence number → UID in the selected mailbox
	end     error             // what Read returns from now on

	mu         sync.Mutex
	pending    []command
	maxTag     int64
	cmd        commandLine       // the outgoing line being parsed
	contWanted int               // continuation requests the client waits for
	alias      map[string]string // the client's spelling of a mailbox → the server's
	idling     bool              // IDLE acknowledged, DONE not sent
	leaving    bool              // LOGOUT was sent
	inLiteral  bool
	inSearch   bool // in the numbers of a search
	waiting    bool // a socket read is under way since waitFrom
	waitFrom   time.Time
	waited     time.Duration // in all, for the body under way or the answer before it
	useful     int64         // bytes of that answer that were worth waiting for
	body       int64         // size of the body under way, 0 for none
	closed     bool
	preauth    bool
	keepUIDs   bool
	uids       []uint32 // kept
	secrets    []string
	status     Status
	err        error
}

// Limits bounds what a server may cost. A zero field takes its default.
type Limits struct {
	Command     time.Duration // silence while a command is outstanding, and a third of what an answer may take; 30 s
	Literal     time.Duration // silence in a literal, and what a body may take beside its size by Rate; 60 s
	Rate        int64         // bytes a second of a body, or of an answer that is of use; 16 KiB
	Idle        time.Duration // silence in IDLE; 10 min. At rest there is no limit
	Line        int           // bytes of one line without its literals; 1 MiB
	SearchNums  int           // numbers in one SEARCH response, or UIDs that are listed; 2,000,000
	LiteralSize int64         // bytes announced for one literal; 64 MiB
	Buffer      int           // bytes of a literal kept in memory while its UID is unknown; 256 KiB
	Responses   int           // responses between two that end a command, those of use and others apart; 500,000
	Noise       int64         // bytes of those that are of no use; 128 MiB
}

// DefaultRate is the Rate of Limits that name none.
const DefaultRate = 16 << 10

// Body is how long a body of n bytes may take in all.
func (lim Limits) Body(n int64) time.Duration {
	lim = lim.withDefaults()
	return lim.Literal + lim.atRate(n)
}

func (lim Limits) atRate(n int64) time.Duration {
	return time.Duration(float64(n) / float64(lim.Rate) * float64(time.Second))
}

func (lim Limits) withDefaults() Limits {
	return Limits{
		Command:     cmp.Or(lim.Command, 30*time.Second),
		Literal:     cmp.Or(lim.Literal, 60*time.Second),
		Idle:        cmp.Or(lim.Idle, 10*time.Minute),
		Line:        cmp.Or(lim.Line, 1<<20),
		SearchNums:  cmp.Or(lim.SearchNums, 2_000_000),
		LiteralSize: cmp.Or(lim.LiteralSize, 64<<20),
		Buffer:      cmp.Or(lim.Buffer, 256<<10),
		Rate:        cmp.Or(lim.Rate, DefaultRate),
		Responses:   cmp.Or(lim.Responses, 500_000),
		Noise:       cmp.Or(lim.Noise, 128<<20),
	}
}

// bufferSize is that of the socket buffer; a literal read into less than half of it goes
// through it.
const bufferSize = 32 << 10

// New is the filter over conn, whose server has yet to greet. It takes over
// conn's read deadline.
func New(conn net.Conn, lim Limits) *Conn {
	return &Conn{
		Conn:  conn,
		lim:   lim.withDefaults(),
		in:    make([]byte, bufferSize),
		uidOf: make(map[uint32]uint32),
		alias: make(map[string]string),
	}
}

// Redact registers a secret (a password, a token): wherever the server repeats it,
// in the clear, quoted or in base64, it is replaced. Call it before logging in.
func (w *Conn) Redact(secret string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets = append(w.secrets, secretForms(secret)...)
}

// Err is the first I/O, limit or protocol error, nil while the connection is
// sound and after an orderly LOGOUT or Close.
func (w *Conn) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// LastStatus is the last BYE, NO or BAD, the zero status when there was none.
// The BYE that answers our LOGOUT does not count.
func (w *Conn) LastStatus() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// Closed reports whether the socket was closed from this side.
func (w *Conn) Closed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

// Preauth reports whether the server greeted as if somebody had logged in.
func (w *Conn) Preauth() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.preauth
}

// KeepUIDs has the UIDs that a FETCH of nothing else shows kept here, and not handed
// to the client, which takes a thousand times their memory and, where they come in
// disorder, quadratic time.
func (w *Conn) KeepUIDs() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keepUIDs = true
}

// KeptUIDs are the UIDs since KeepUIDs, ascending, each once.
func (w *Conn) KeptUIDs() []uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	uids := w.uids
	w.keepUIDs, w.uids = false, nil
	slices.Sort(uids)
	return slices.Compact(uids)
}

// Read hands the client the next repaired bytes.
func (w *Conn) Read(p []byte) (int, error) {
	w.readMu.Lock()
	defer w.readMu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for {
		switch {
		case w.o < len(w.out):
			n := copy(p, w.out[w.o:])
			w.o += n
			return n, nil
		case w.end != nil:
			return 0, w.end
		case w.pass > 0:
			n, err := w.passLiteral(p)
			if err != nil {
				w.fail(err)
			}
			if n > 0 {
				return n, nil
			}
			continue
		}
		w.out, w.o = w.out[:0], 0
		if cap(w.out) > 4*bufferSize {
			w.out = nil
		}
		if err := w.step(); err != nil {
			w.fail(err)
		}
	}
}

// passLiteral hands through bytes of the literal under way, at most pass of them.
func (w *Conn) passLiteral(p []byte) (n int, err error) {
	if int64(len(p)) > w.pass {
		p = p[:w.pass]
	}
	if w.r == w.e {
		if len(p) >= len(w.in)/2 {
			n, err = w.readSocket(p)
			w.pass -= int64(n)
			return n, err
		}
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
	n = copy(p, w.in[w.r:w.e])
	w.r += n
	w.pass -= int64(n)
	return n, nil
}

// fail ends the stream: reads and Err give err.
func (w *Conn) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = err
	if errors.Is(err, io.EOF) && (w.pass > 0 || w.fetch.open || w.r < w.e) {
		w.end = io.ErrUnexpectedEOF
	}
	if w.closed || w.err != nil {
		return
	}
	w.err = w.end
	if errors.Is(err, io.EOF) && w.leaving {
		w.err = nil // the server hung up on request
	} else if errors.Is(err, io.EOF) && w.owed() {
		w.err = io.ErrUnexpectedEOF
	}
}

// owed reports whether the server owes an answer. Callers hold mu.
func (w *Conn) owed() bool { return len(w.pending) > 0 || !w.greeted }

// fill reads more of the stream into in, which grows up to the line limit.
func (w *Conn) fill() error {
	if w.r == w.e {
		w.r, w.e = 0, 0
		if len(w.in) > bufferSize {
			w.in = make([]byte, bufferSize)
		}
	} else if w.e == len(w.in) {
		if w.r > 0 {
			w.e = copy(w.in, w.in[w.r:w.e])
			w.r = 0
		} else {
			w.in = slices.Grow(w.in, len(w.in))[:2*len(w.in)]
		}
	}
	n, err := w.readSocket(w.in[w.e:])
	w.e += n
	if n > 0 {
		return nil
	}
	return err
}

// readSocket is one read of the socket under the deadline of the moment. Only
// time spent waiting here counts: a slow consumer is not a slow server.
func (w *Conn) readSocket(p []byte) (int, error) {
	w.mu.Lock()
	w.waiting, w.waitFrom = true, time.Now()
	w.rearm()
	w.mu.Unlock()

	n, err := w.Conn.Read(p)

	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = false
	if !w.idling && (w.owed() || w.body > 0) {
		w.waited += time.Since(w.waitFrom)
	}
	if w.inSearch {
		w.useful += int64(n)
	}
	if n > 0 {
		return n, nil // an error beside data comes again with the next read
	}
	most, bounded := w.most()
	silent := time.Since(w.waitFrom) >= w.patience()
	switch late := errors.Is(err, os.ErrDeadlineExceeded); {
	case late && (silent || !bounded):
		err = fmt.Errorf("server too slow: no progress for %v: %w", w.patience(), err)
	case late && w.body > 0:
		err = &Error{Slow: true, Text: fmt.Sprintf("server too slow: a body of %d bytes did not come within %v", w.body, most.Round(time.Millisecond))}
	case late:
		err = fmt.Errorf("server too slow: no end of the answer within %v: %w", most.Round(time.Millisecond), err)
	case err == nil:
		err = io.ErrNoProgress
	}
	return 0, err
}

// patience is how long the server may be silent now; 0 is for ever. Callers hold mu.
func (w *Conn) patience() time.Duration {
	switch {
	case w.inLiteral:
		return w.lim.Literal
	case w.idling:
		return w.lim.Idle
	case w.owed():
		return w.lim.Command
	}
	return 0
}

// most is how long the body under way, or else the answer that is owed, may take in all.
// Callers hold mu.
func (w *Conn) most() (d time.Duration, bounded bool) {
	switch {
	case w.body > 0:
		return w.lim.Body(w.body), true
	case w.idling || !w.owed():
		return 0, false
	case !w.greeted:
		return w.lim.Command, true
	}
	return 3*w.lim.Command + w.lim.atRate(w.useful), true
}

// rearm sets the deadline of the read under way. Callers hold mu.
func (w *Conn) rearm() {
	if !w.waiting {
		return
	}
	var deadline time.Time
	if d := w.patience(); d > 0 {
		deadline = w.waitFrom.Add(d)
	}
	if most, bounded := w.most(); bounded {
		if end := w.waitFrom.Add(most - w.waited); deadline.IsZero() || end.Before(deadline) {
			deadline = end
		}
	}
	_ = w.Conn.SetReadDeadline(deadline) // fails on a closed socket only, as will the read
}

// progress starts the server's silence afresh: a line ended or a command began.
// Callers hold mu.
func (w *Conn) progress() {
	if w.waiting {
		w.waitFrom = time.Now()
	}
	w.rearm()
}

// answered starts the time of an answer afresh: the one before has ended, or a command
// began that waits behind none. Callers hold mu.
func (w *Conn) answered() {
	w.waited, w.useful, w.body = 0, 0, 0
	w.progress()
}

// literal switches between the deadlines of a literal and of a line, and starts
// the server's time afresh.
func (w *Conn) literal(in bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inLiteral = in
	w.progress()
}

// beginLiteral begins a body of n bytes, which has a time of its own.
func (w *Conn) beginLiteral(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inLiteral = true
	w.answered()
	w.body = n
	w.rearm()
}

// endLiteral ends a body.
func (w *Conn) endLiteral() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inLiteral = false
	w.answered()
}

// Write sends what the client says, taking note of the command.
func (w *Conn) Write(p []byte) (int, error) {
	w.mu.Lock()
	send := w.sent(p)
	w.progress()
	w.mu.Unlock()

	n, err := w.Conn.Write(send)
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.err == nil && !w.closed {
			w.err = err
		}
		return min(n, len(p)), err
	}
	return len(p), nil
}

// Close closes the socket. Errors that follow from it are not recorded.
func (w *Conn) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	return w.Conn.Close()
}

// SetReadDeadline does nothing: go-imap sets none while it waits and fixed ones
// elsewhere, and the wire keeps its own.
func (w *Conn) SetReadDeadline(time.Time) error { return nil }

// SetDeadline sets the write deadline only, see SetReadDeadline; go-imap's 30 s
// are fine for that.
func (w *Conn) SetDeadline(t time.Time) error { return w.SetWriteDeadline(t) }
